/* What the files of src/doctor share: the rules, facts about a network and its data, looks at a training. Rules are functions of such
 * facts alone, so that they can be applied again to what a run has written. */
#ifndef SOMA_SRC_DOCTOR_H
#define SOMA_SRC_DOCTOR_H

#include <soma/doctor.h>

#include "base/base.h"

/* ---- Rules (rules.c). The order is that of the table -------------------------------------------------------------------------- */

typedef enum soma__rule {
#define RULE(id, ...) SOMA__RULE_##id,
#include "doctor/rules.def"
#undef RULE
    SOMA__RULES
} soma__rule;

/* ---- What a layer does (facts.c) ------------------------------------------------------------------------------------------------ */

typedef enum soma__kind {
    SOMA__KIND_OTHER,     /* unknown: rules keep away from it */
    SOMA__KIND_WEIGHTS,   /* linear, convolution: a linear map with weights */
    SOMA__KIND_LINEAR,    /* linear without weights: flatten, average pooling, dropout, padding */
    SOMA__KIND_NORM,      /* normalisation */
    SOMA__KIND_RELU,      /* 0 over a half line: ReLU, ReLU6 */
    SOMA__KIND_SATURATES, /* sigmoid, tanh and their kin: flat at both ends */
    SOMA__KIND_CURVE,     /* other activations */
    SOMA__KIND_SOFTMAX,
    SOMA__KIND_EMBEDDING,
    SOMA__KIND_RECURRENT, /* RNN, LSTM, GRU, attention */
    SOMA__KIND_POOL,      /* maximum: neither linear nor saturating */
    SOMA__KIND_BLOCK      /* has children */
} soma__kind;

typedef struct soma__layer_facts {
    char path[96], type[32];
    soma__kind kind;
    bool batch_norm;
    int from;                /* the layer whose output it takes; -1: the network's input, or something computed in between */
    int64_t units, per_unit; /* of the output: channels or features, values each */
    double mean, std, largest; /* of the output */
    double zero;             /* share of exact zeros */
    double dead;             /* ReLU: share of units that gave only zeros, in this look and the two before it */
    double saturated;        /* SATURATES: share of outputs within 2.5 % of either end of the range */
    int64_t bad;             /* NaN and Inf */
    soma_module *module;     /* NULL in facts read from a file */
} soma__layer_facts;

typedef struct soma__param_facts {
    char name[96];
    int ndim;
    int64_t n;
    double weight, grad, update; /* root mean squares; NaN: none */
    double spread;           /* standard deviation of the weights */
    bool has_grad, in_optim;
} soma__param_facts;

/* One look. */
typedef struct soma__look {
    int64_t step, epoch;     /* from 1; 0: before the training */
    double loss, loss_spread; /* mean of the steps since the last look, and their deviation over it. NaN: not known */
    double lr, grad_norm;
    double clip;             /* the limit of the norm; 0: none */
    double penalty;          /* of the loss differentiated, the share that is no loss; 0: none */
    double waiting;          /* share of the time since the last look spent waiting for data */
    int64_t batch;           /* samples */
    int n_layers, n_params, room_layers, room_params;
    soma__layer_facts *layers; /* in the order of their running, leaves and blocks */
    soma__param_facts *params;
    int output;              /* the leaf that made the network's output; -1: none did */
} soma__look;
void soma__look_free(soma__look *l);
soma_status soma__look_add_layer(soma__look *l, const soma__layer_facts *f);
soma_status soma__look_add_param(soma__look *l, const soma__param_facts *f);

/* Collects layers in a forward pass of `net` through its hook; the caller's own hook is called too. */
typedef struct soma__listener {
    soma__look *look;
    soma_module *net;
    soma_forward_hook before;
    void *before_user;
    const void **made;       /* outputs by layer, to find out who takes what */
    int room_made;
    struct soma__unit_log **units; /* which units have shown life lately; NULL: not kept */
    bool failed;
} soma__listener;
void soma__unit_log_free(struct soma__unit_log *first);
void soma__listen_begin(soma__listener *s, soma_module *net, soma__look *look);
void soma__listen_end(soma__listener *s);
/* Fills look->params from the network's parameters and their gradients. */
soma_status soma__look_params(soma__look *look, soma_module *net, soma_optim *opt);
soma__kind soma__kind_of(const soma_module *m);
/* "3 (ReLU)". */
void soma__layer_name(const soma__layer_facts *f, char *out, size_t size);

/* ---- The doctor (doctor.c) ------------------------------------------------------------------------------------------------------ */

struct soma_doctor {
    bool silent[SOMA__RULES];
    double threshold[SOMA__RULES];
    soma_finding *found;
    int n, room;
    soma_finding_fn on_finding;
    void *user;
    struct soma__course *course; /* of the training under way */
    int fd;                      /* of the log; -1: none */
    char *log_path;
};
/* The threshold that is in force. */
double soma__limit(const soma_doctor *d, soma__rule rule);
typedef struct soma__case {
    const char *layer;       /* NULL: none */
    int64_t step;
    double value;            /* NaN: none */
    double sure;             /* 0 to 1; 0 says 1 */
    bool weak;               /* one step less grave */
    const char *picture;
    const char *flag, *code; /* NULL: the rule's */
} soma__case;
/* Adds a finding, or counts it again. The text is the evidence. */
void soma__found(soma_doctor *d, soma__rule rule, const soma__case *c, const char *format, ...) SOMA_PRINTF(4, 5);
/* A row of bars, one a value, linear from 0 (or the least) to the largest; `log`: of logarithms. */
void soma__bars(const double *values, int n, bool log, char *out, size_t size);

/* ---- Before a training ------------------------------------------------------------------------------------------------------------ */

typedef struct soma__check {
    soma_doctor *d;
    soma_module *net;
    soma_optim *opt;
    soma_loader *train, *val;
    soma_check_opts o;
    soma_task task;
    const soma_loss_info *loss; /* NULL: the caller's own */
    soma_loss_fn loss_fn;
    int classes;
    soma__look look;
    double first_loss;
    double target_mean, target_std, target_low, target_high;
    double common;           /* share of the most frequent class */
    int64_t outputs;         /* numbers a sample that the network gives */
} soma__check;
/* What trying out changes: buffers, gradients, random numbers, and with `weights` the parameters. put_back works also with an error pending, and
 * after a keep that has failed. */
typedef struct soma__kept {
    soma_named *named;
    soma_tensor **copy, **grad;
    int n;
    soma_rng rng;
} soma__kept;
bool soma__keep_state(soma_module *net, bool weights, soma__kept *k);
void soma__put_back(soma__kept *k);
/* Ends the loader's epoch, and with it the scope of its last batch, and puts it back to this place. */
soma_status soma__check_rewind(soma__check *c, int64_t epoch, int64_t batch);
soma_status soma__check_data(soma__check *c);      /* data.c: samples, labels, overlap, batches */
soma_status soma__check_start(soma__check *c);     /* start.c: one batch forward and backward */
void soma__check_structure(soma__check *c);        /* structure.c: layers, loss, output */
soma_status soma__check_overfit(soma__check *c);   /* overfit.c */

/* ---- During a training (course.c: rules; watch.c: the observer; log.c: the file) ------------------------------------------------- */

struct soma__course *soma__course_new(void);
void soma__course_free(struct soma__course *c);
void soma__course_look(soma_doctor *d, const soma__look *look);
void soma__course_epoch(soma_doctor *d, const soma_epoch *e);
/* `where` says what was not finite first. */
void soma__course_nan(soma_doctor *d, int64_t step, double lr, const char *where);
/* Opens the run's doctor.jsonl, with what it has of the first `step` steps, which is read. */
soma_status soma__log_begin(soma_doctor *d, const char *run_dir, int64_t step);
/* Lines of steps up to `keep`; *end is where they end. */
soma_status soma__doctor_read_bytes(soma_doctor *d, const char *name, const void *data, size_t size, int64_t keep, size_t *end);
/* A finding as it was written. */
void soma__found_again(soma_doctor *d, const soma_finding *f);
void soma__log_nan(soma_doctor *d, int64_t step, double lr, const char *where);
void soma__log_look(soma_doctor *d, const soma__look *look);
void soma__log_epoch_line(soma_doctor *d, const soma_epoch *e);

#endif
