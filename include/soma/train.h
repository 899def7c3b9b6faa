/* soma: the training loop, metrics, history, runs and checkpoints. */
#ifndef SOMA_TRAIN_H
#define SOMA_TRAIN_H

#include <soma/data.h>
#include <soma/nn.h>
#include <soma/optim.h>
#include <soma/io.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Metrics ------------------------------------------------------------------------------------------------------- */

/* Classification: confusion[t * classes + p] samples of true class t were called p. Definitions are scikit-learn's: a precision,
 * recall or F1 with a denominator of 0 is 0; the macro averages run over the classes that occur. What cannot be told is NaN. */
typedef struct soma_metrics {
    soma_task task;
    int64_t count;
    double loss;                          /* mean over the samples */
    double accuracy, top5;                /* classification: shares 0 … 1 */
    int classes;
    int64_t *confusion;                   /* classes * classes; owned */
    double *precision, *recall, *f1;      /* a class each, 0 where undefined; owned */
    double macro_precision, macro_recall, macro_f1;
    double mae, rmse, r2;                 /* regression */
    size_t size;
} soma_metrics;
SOMA_API void soma_metrics_free(soma_metrics *m);
/* From predictions: classes (classification) or values (regression). `out` is overwritten; free it with soma_metrics_free. R² is
 * 1 - SSE / SST; of equal targets it is 1 when the predictions are exact, else 0. */
SOMA_API soma_status soma_metrics_classes(const int64_t *truth, const int64_t *predicted, int64_t n, int classes, soma_metrics *out);
SOMA_API soma_status soma_metrics_values(const double *truth, const double *predicted, int64_t n, soma_metrics *out);

/* ---- Loss by name ---------------------------------------------------------------------------------------------------- */

/* prediction, target (as the loader gives it) -> 0-d loss. */
typedef soma_tensor *(*soma_loss_fn)(void *user, soma_tensor *prediction, soma_tensor *target);
/* What turns the outputs of a network that was trained with a loss into probabilities. */
typedef enum soma_link { SOMA_LINK_NONE, SOMA_LINK_SIGMOID, SOMA_LINK_SOFTMAX, SOMA_LINK_EXP } soma_link;
typedef struct soma_loss_info {
    const char *name, *op;   /* "huber", "huber_loss": the operator has the formula */
    const char *doc;         /* one line: when to use it */
    const char *output;      /* what the network must end in */
    const char *options;     /* members of soma_loss_opts that it reads, "delta"; "" for none */
    bool classes, numbers;   /* the data that it takes: classes, numbers (regression) */
    bool per_class;          /* the network needs an output for each class; others also do with one output for two classes */
    soma_link link;
    double threshold;        /* from here on one output says class 1 */
    soma_loss_fn fn;         /* its `user` is NULL or a soma_loss_opts */
} soma_loss_info;
SOMA_API int soma_loss_count(void);
SOMA_API const soma_loss_info *soma_loss_get(int i);  /* NULL when i is out of range. Static */
/* By the name, "mse", or name and options, "huber delta=2"; NULL when there is none; no error is recorded. */
SOMA_API const soma_loss_info *soma_loss_find(const char *text);
/* The same; NULL and SOMA_ENOTFOUND when there is none. Losses that compare numbers also take classes as targets: a network of one output
 * is compared with the class number, one of several with a 1 in the place of the class and 0 elsewhere; hinges with 1 and -1. */
SOMA_API soma_loss_fn soma_loss_by_name(const char *name);
/* "huber delta=2" -> the function, and its options in *opts. NULL and SOMA_EINVAL or SOMA_ENOTFOUND. */
SOMA_API soma_loss_fn soma_loss_parse(const char *text, soma_loss_opts *opts);

/* ---- Evaluation ---------------------------------------------------------------------------------------------------------- */

/* Runs the network over one epoch of `loader` in eval mode, without recording; loss NULL: as in soma_fit. Free *out with
 * soma_metrics_free. */
SOMA_API soma_status soma_evaluate(soma_module *net, soma_loader *loader, soma_loss_fn loss, void *user, soma_metrics *out);

/* Batch norm's running statistics anew, as the mean over one pass of `loader` in train mode: after soma_average_copy_to or _swap, since
 * averaged weights have other statistics. As torch.optim.swa_utils.update_bn. */
SOMA_API soma_status soma_swa_update_bn(soma_module *net, soma_loader *loader);

/* ---- Fit -------------------------------------------------------------------------------------------------------------------- */

typedef struct soma_epoch {
    int64_t epoch;                 /* from 1 */
    int64_t steps;                 /* so far, all epochs */
    double train_loss, train_accuracy, val_loss, val_accuracy; /* NaN where there is none; regression: accuracy is R² */
    double lr, seconds, samples_per_second;
    bool best;
} soma_epoch;
typedef struct soma_progress {
    int64_t epoch, epochs;         /* epoch from 1 */
    int64_t step, steps;           /* in this epoch, from 1 */
    int64_t total_step;            /* in all, from 1 */
    double loss, accuracy;         /* running means of this epoch */
    double batch_loss, lr, grad_norm;
    double samples_per_second, seconds_left;
} soma_progress;
/* What to call, any of it NULL. A nonzero return stops the training (SOMA_ESTOPPED, nothing lost). */
typedef struct soma_callbacks {
    void *user;
    int (*on_step)(void *user, const soma_progress *p);
    int (*on_epoch)(void *user, const soma_epoch *e);
    int (*on_checkpoint)(void *user, const char *path);
    /* Polled after every step: true ends the training after saving a checkpoint (Ctrl-C). */
    bool (*should_stop)(void *user);
} soma_callbacks;

/* One step of a training as an observer sees it. */
typedef struct soma_watch {
    soma_module *net;
    soma_optim *opt;
    int64_t epoch, step, batch;    /* step in all, from 1; samples in the batch */
    double loss, lr;               /* loss of the step; NaN before it is known */
    double penalty;                /* share of what is minimised that is penalty and not loss */
    double clip_norm;              /* soma_fit_opts.clip_norm */
    double seconds, waited;        /* of the step; of them, waiting for the batch. NaN before the step's end */
    size_t size;
} soma_watch;
/* Looks at a training, as the doctor does (<soma/doctor.h>). Members may be NULL. They must change nothing of what they see, and draw no
 * random numbers; an error that they leave ends the training. */
typedef struct soma_observer {
    void *user;
    /* The training begins, or goes on after `step` steps; the run folder is open. run_dir may be NULL. */
    void (*on_start)(void *user, const char *run_dir, int64_t step);
    bool (*wants)(void *user, int64_t step);             /* whether before, gradients and after are to be called for this step */
    void (*before)(void *user, const soma_watch *w);     /* the first forward of the step comes next */
    void (*gradients)(void *user, const soma_watch *w);  /* they are computed, and not yet clipped */
    void (*after)(void *user, const soma_watch *w);      /* the weights are updated */
    void (*on_step)(void *user, const soma_watch *w);    /* every step, at its end */
    void (*on_epoch)(void *user, const soma_epoch *e);
    void (*on_nan)(void *user, const soma_watch *w, const char *where); /* "in the gradient of 0.weight" */
    size_t size;
} soma_observer;

typedef struct soma_fit_opts {
    int64_t epochs;                 /* 0: 1 */
    soma_loss_fn loss;              /* NULL: cross-entropy for classification, MSE for regression */
    void *loss_user;                /* for losses by name: NULL, or their options, a soma_loss_opts */
    soma_sched *sched;              /* NULL: constant; not owned */
    double clip_norm;               /* 0: none */
    int64_t patience;               /* stop when the validation loss has not improved for so many epochs; 0: never */
    double min_delta;
    soma_callbacks callbacks;
    const char *run_dir;            /* NULL: nothing is written */
    int64_t checkpoint_every;       /* steps; 0: at each epoch's end. The last two are kept */
    const char *config_json;        /* kept in the run folder as config.json; NULL: none */
    const soma_pair *meta;          /* goes into the model file's metadata (class names, input, normalisation) */
    int n_meta;
    bool resume;                    /* go on from the run folder's newest whole checkpoint */
    int64_t keep_best_by;           /* 0: highest validation accuracy (regression: lowest loss), 1: lowest validation loss */
    int64_t log_every;              /* steps from one step line of metrics.jsonl to the next; 0: 50; negative: none */
    bool overwrite;                 /* replace the run that run_dir holds; without it (or resume) that is SOMA_ESTATE */
    int64_t accumulate;             /* batches whose mean gradient makes one step; 0: 1. The last group of an epoch may have fewer.
                                       Steps (checkpoints, schedule, history) count these groups */
    double clip_value;              /* limit of each element of the gradients; 0: none. Comes before clip_norm */
    double l1, l2;                  /* soma_penalty, added to the loss (not to the reported one) */
    double prox_l1, prox_l2;        /* soma_proximal_step after each step: l1 really zeroes weights */
    double max_norm;                /* soma_max_norm after each step; 0: none */
    double grad_noise;              /* eta of soma_add_grad_noise with deviation sqrt(eta / (1 + t)^0.55), after clipping; 0: none */
    double label_smoothing;         /* cross_entropy, in training but not in validation */
    double mixup;                   /* alpha: pairs of samples are mixed, the share drawn from Beta(alpha, alpha); 0: none. Zhang et al.
                                       2018. Accuracy in training counts the sample that has the larger share */
    double activity_l1;             /* times the sum of |a| over the outputs of hidden activation layers, a sample, is added to the loss */
    double ema_decay;               /* soma_ema with this decay after each step; 0: none. Validation, the run's model and the network at
                                       the end then have the average; checkpoints have both */
    int64_t swa_start;              /* from this epoch on, soma_swa at each epoch's end, with batch norm's statistics; 0: none */
    soma_observer observer;         /* all NULL: none */
    double activity_kl, activity_rho; /* weight of soma_kl_sparsity of these outputs, which must be in 0 ... 1, and its rho (0: 0.05) */
    bool capture;                   /* forward, loss and backward are captured (soma/capture.h): the same bits, faster. For networks and losses whose C
                                       code does the same at every batch, as all of soma's do; those that look at values run as without */
    size_t size;
} soma_fit_opts;
/* The run folder: config.json; model.safetensors, the best epoch's network (without validation the last one's), with its
 * description and `meta`; checkpoint-STEP.safetensors, the last two; and metrics.jsonl, one JSON object a line, appended and flushed:
 *     {"kind":"step","epoch":1,"step":50,"loss":L,"accuracy":A,"lr":R,"grad_norm":G,"samples_per_second":S}
 *     {"kind":"epoch","epoch":1,"step":938,"train_loss":L,"train_accuracy":A,"val_loss":L,"val_accuracy":A,"lr":R,"best":true,
 *      "seconds":T,"samples_per_second":S}
 * "step" counts from 1 over all epochs; a step line's loss is the mean since the line before, its accuracy the epoch's so far; what
 * there is none of is null; regression has R² for accuracy. A resumed run cuts off the lines that are newer than its checkpoint, and
 * ends with the same file as a run that was never stopped, but for seconds and samples_per_second. */
typedef struct soma_history {
    soma_epoch *epochs;
    int64_t n;
    int64_t best;                   /* place in epochs, -1 when there is none */
    bool stopped_early;
} soma_history;
/* Trains `net` with `opt` on `train`, validating on `val` (NULL: none) after each epoch. On SOMA_ENAN the message says in which
 * layer or gradient the first NaN stood. Free *history with soma_history_free; it is filled also when stopped. With validation, the
 * network ends with the weights of the best epoch in the run's model.safetensors, and the last epoch's in memory. */
#define soma_fit(net, opt, train, val, ...) soma__fit(net, opt, train, val, __VA_ARGS__, .size = sizeof(soma_fit_opts))
#define soma__fit(net, opt, train, val, history, ...) \
    soma_fit_ex((net), (opt), (train), (val), (history), &(soma_fit_opts){__VA_ARGS__})
SOMA_API soma_status soma_fit_ex(soma_module *net, soma_optim *opt, soma_loader *train, soma_loader *val, soma_history *history,
                                 const soma_fit_opts *opts);
SOMA_API void soma_history_free(soma_history *h);

/* ---- Checkpoints ---------------------------------------------------------------------------------------------------------------- */

/* Weights, optimiser, random numbers, loader position, `meta`: all that a run needs to end in the same bits. */
SOMA_API SOMA_MUST_CHECK soma_status soma_checkpoint_save(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader,
                                                          const soma_pair *meta, int n_meta);
/* Everything is checked before anything is changed. */
SOMA_API SOMA_MUST_CHECK soma_status soma_checkpoint_load(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader);
/* The newest whole checkpoint of a run folder, in `out`; SOMA_ENOTFOUND when there is none. */
SOMA_API SOMA_MUST_CHECK soma_status soma_checkpoint_newest(const char *run_dir, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
