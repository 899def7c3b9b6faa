/* soma: the doctor. It looks at a training before it begins (soma_check) and while it goes on (soma_doctor_observer), and says what is
 * wrong, by which numbers, why it matters, what the likely causes are and what to try first. */
#ifndef SOMA_DOCTOR_H
#define SOMA_DOCTOR_H

#include <soma/train.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Rules ------------------------------------------------------------------------------------------------------------------ */

typedef enum soma_severity {
    SOMA_HINT,      /* works, could be better */
    SOMA_WARNING,   /* likely to cost accuracy or time */
    SOMA_FAULT      /* will not learn what it should ("error" in texts) */
} soma_severity;

/* One rule, static. Texts are English sentences without line breaks. */
typedef struct soma_rule_info {
    const char *name;        /* "dead-units" */
    soma_severity severity;  /* at most; a weak case may be reported one step lower */
    bool training;           /* needs a training under way; else a rule of soma_check */
    bool effect;             /* shows what a fault leads to, rather than the fault: comes after findings that name one */
    const char *what, *why;
    const char *causes;      /* the likeliest first, "; " between them */
    const char *flag, *code; /* the smallest change to try: options of `soma train`, a line of C */
    double threshold;        /* NaN: the rule is yes or no */
    const char *unit;        /* what the threshold counts */
    const char *source;      /* where the threshold comes from */
} soma_rule_info;
SOMA_API int soma_rule_count(void);
SOMA_API const soma_rule_info *soma_rule_get(int i);           /* NULL when i is out of range */
SOMA_API const soma_rule_info *soma_rule_find(const char *name); /* NULL when there is none; no error is recorded */

/* ---- Findings --------------------------------------------------------------------------------------------------------------- */

typedef struct soma_finding {
    const soma_rule_info *rule;
    soma_severity severity;
    char layer[128];         /* path and type, "2 (ReLU)", or a parameter; "" for the network, the data or the run as a whole */
    int64_t first, last;     /* steps of the training, from 1; 0: before it */
    int64_t times;           /* how often it was seen */
    double value;            /* what was compared with the rule's threshold; NaN: nothing */
    double weight;           /* how grave and how sure: severity and a share of 1 */
    char evidence[400];      /* the numbers, a sentence */
    char picture[128];       /* a few values as a row of bars, UTF-8; "" for none */
    char flag[160], code[200]; /* as in the rule, with this case's numbers */
    size_t size;
} soma_finding;
typedef void (*soma_finding_fn)(void *user, const soma_finding *finding);

typedef struct soma_doctor soma_doctor;
SOMA_API soma_doctor *soma_doctor_new(void);
SOMA_API void soma_doctor_free(soma_doctor *d);
/* The rule is not applied. SOMA_ENOTFOUND names the nearest rule. */
SOMA_API soma_status soma_doctor_silence(soma_doctor *d, const char *rule);
/* Another threshold; NaN puts the rule's own back. SOMA_EINVAL for a rule without one. */
SOMA_API soma_status soma_doctor_tune(soma_doctor *d, const char *rule, double threshold);
/* Called when a finding is new, or has become graver. NULL: none. */
SOMA_API void soma_doctor_on_finding(soma_doctor *d, soma_finding_fn fn, void *user);
/* How many findings there are; the i-th, gravest and surest first; NULL from the end on. Valid until the doctor looks again. */
SOMA_API int soma_doctor_count(const soma_doctor *d);
SOMA_API const soma_finding *soma_doctor_get(const soma_doctor *d, int i);
/* "error", "warning", "hint". */
SOMA_API const char *soma_severity_name(soma_severity s);
/* The finding as lines of text (what, evidence, why, causes, what to try); `brief`: one line. Returns the length, as snprintf. */
SOMA_API size_t soma_finding_text(const soma_finding *f, bool brief, char *out, size_t size);
/* The same as a JSON object on one line. */
SOMA_API size_t soma_finding_json(const soma_finding *f, char *out, size_t size);

/* ---- Before a training ------------------------------------------------------------------------------------------------------- */

typedef struct soma_check_opts {
    soma_loss_fn loss;       /* NULL: as soma_fit */
    void *loss_user;
    const char *net;         /* the description, for proposals; NULL: none are made of it */
    int64_t samples;         /* of each data set to look at; 0: 2000 */
    bool overfit;            /* also: can the network learn 16 samples by heart? Takes some seconds */
    size_t size;
} soma_check_opts;
/* Looks at the network, loss, optimiser (may be NULL) and a sample of the data (`val` may be NULL); findings are added to `d`. Runs a
 * forward and a backward pass over one batch, and leaves weights, buffers, gradients, random numbers and loaders as they were. An error
 * of the network itself (shapes that do not fit) is returned as such. */
#define soma_check(d, net, opt, train, ...) soma__check(d, net, opt, train, __VA_ARGS__, .size = sizeof(soma_check_opts))
#define soma__check(d, net, opt, train, val, ...) soma_check_ex((d), (net), (opt), (train), (val), &(soma_check_opts){__VA_ARGS__})
SOMA_API soma_status soma_check_ex(soma_doctor *d, soma_module *net, soma_optim *opt, soma_loader *train, soma_loader *val,
                                   const soma_check_opts *opts);

/* ---- During a training -------------------------------------------------------------------------------------------------------- */

/* What to put into soma_fit_opts.observer. The doctor looks closely (activations, gradients, updates) at steps 1, 2, 4, 8, 16 and then at every
 * 32nd, and at each epoch: its choice depends on the step's number alone, and it changes no result. With a run_dir each look is appended to
 * its doctor.jsonl, a line of JSON; findings of a soma_check before come first. A resumed run goes on with what the file has. */
SOMA_API soma_observer soma_doctor_observer(soma_doctor *d);
/* Applies the rules to what an earlier training has written: `path` is its doctor.jsonl. */
SOMA_API SOMA_MUST_CHECK soma_status soma_doctor_read(soma_doctor *d, const char *path);

#ifdef __cplusplus
}
#endif
#endif
