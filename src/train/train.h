/* What the files of src/train share: running scores, the history file, the run folder, checkpoints with the state of a fit. */
#ifndef SOMA_SRC_TRAIN_H
#define SOMA_SRC_TRAIN_H

#include <soma/capture.h>
#include <soma/train.h>

#include "base/base.h"

/* ---- Running scores (score.c) -----------------------------------------------------------------------------
 * What an epoch's figures are made of. All of it is plain sums over samples in the order they came, so a score that was saved in
 * a checkpoint and read back goes on to the same bits. */
enum { SOMA__SCORE_NUMBERS = 9 };
typedef struct soma__score {
    soma_task task;
    int classes;              /* size of confusion; 0: not counted */
    int64_t *confusion;       /* borrowed; NULL: not counted */
    double threshold;         /* networks with one output: class 1 from here on */
    double count, loss_sum;   /* samples; sum of loss * samples */
    double correct, top5;     /* samples */
    double values, mean, m2;  /* regression: targets so far, their mean and sum of squared deviations (Welford 1962) */
    double sse, sae;          /* regression: sums of squared and absolute errors */
} soma__score;
/* Starts again, keeping task, threshold and confusion (whose counts stay). */
void soma__score_clear(soma__score *s);
/* One batch: prediction [B, C], [B, 1] or as the target; `loss` is the mean over its `count` samples. */
soma_status soma__score_add(soma__score *s, soma_tensor *prediction, soma_tensor *target, double loss, int64_t count);
double soma__score_loss(const soma__score *s);
double soma__score_accuracy(const soma__score *s); /* regression: R² */
double soma__r2(double sse, double sst);
void soma__score_get(const soma__score *s, double out[SOMA__SCORE_NUMBERS]);
void soma__score_set(soma__score *s, const double in[SOMA__SCORE_NUMBERS]);
/* Everything that can be told from the sums; the confusion matrix is copied. */
soma_status soma__score_metrics(const soma__score *s, soma_metrics *out);

/* The score above which a network with one output says class 1: 0 for a loss of raw scores, else 0.5. */
double soma__loss_threshold(soma_loss_fn loss);
/* NULL: the task's own loss. */
soma_loss_fn soma__loss_or_default(soma_loss_fn loss, soma_task task);
/* True for losses that need as many outputs as there are classes. */
bool soma__loss_needs_classes(soma_loss_fn loss);
/* The entry of a loss by name; NULL for the caller's own. */
const soma_loss_info *soma__loss_info(soma_loss_fn loss);
/* SOMA_EINVAL when the loss cannot take such data. */
soma_status soma__loss_fits(soma_loss_fn loss, soma_task task);

/* ---- The run folder (run.c) ---------------------------------------------------------------------------- */

/* Makes the folder and those above it unless they are there. One that holds a run already is SOMA_ESTATE, unless `overwrite`, which
 * removes that run's files. */
soma_status soma__run_open(const char *dir, bool overwrite);
/* Removes what an interrupted write has left behind. */
void soma__run_tidy(const char *dir);
/* The network with its weights, description and `meta` as dir/model.safetensors. */
soma_status soma__run_save_model(const char *dir, soma_module *net, const soma_pair *meta, int n_meta);

/* ---- The history file (history.c) ---------------------------------------------------------------------- */

typedef struct soma__log_file {
    int fd;           /* -1: not open; all calls do nothing */
    int64_t lines;    /* in the file */
    char *path;
} soma__log_file;
/* Opens dir/metrics.jsonl for appending and cuts it to its first `keep` lines. */
soma_status soma__log_open(soma__log_file *f, const char *dir, int64_t keep);
soma_status soma__log_epoch(soma__log_file *f, const soma_epoch *e);
soma_status soma__log_step(soma__log_file *f, const soma_progress *p);
void soma__log_close(soma__log_file *f);
soma_status soma__history_add(soma_history *h, const soma_epoch *e);

/* ---- Checkpoints (checkpoint.c) ------------------------------------------------------------------------ */

/* What soma_fit knows besides weights, optimiser, random numbers and loader: `numbers` is all of it but the history. */
typedef struct soma__fit_state {
    int64_t epoch;             /* of the epoch under way, from 1 */
    int64_t step;              /* done in that epoch */
    int64_t total_step;        /* done in all */
    int64_t log_lines;         /* metrics.jsonl had so many */
    int64_t bad_epochs;        /* since the validation loss improved */
    double best_value;         /* what the best model is chosen by; NaN: none yet */
    double best_tie;           /* its loss, which decides between equal values */
    double patience_loss;      /* lowest loss, for early stopping; NaN: none yet */
    double seconds;            /* spent in the epoch under way */
    double since_log;          /* summed loss since the last line of the history file */
    double since_samples;
    double score[SOMA__SCORE_NUMBERS];
} soma__fit_state;
/* What has state beside network and optimiser; any of it NULL. */
typedef struct soma__fit_extra {
    soma_sched *sched;
    soma_average *ema, *swa;
} soma__fit_extra;
soma_status soma__checkpoint_write(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader, const soma_pair *meta,
                                   int n_meta, const soma__fit_state *state, const soma_history *history, const soma__fit_extra *extra);
/* `state` and `history` may be NULL; a file without them is then no error. */
soma_status soma__checkpoint_read(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader,
                                  soma__fit_state *state, soma_history *history, const soma__fit_extra *extra);
/* Writes the checkpoint of step `total_step` into the run folder and removes all but the newest two. `out` gets the path. */
soma_status soma__checkpoint_rotate(const char *dir, soma_module *net, soma_optim *opt, soma_loader *loader, const soma_pair *meta,
                                    int n_meta, const soma__fit_state *state, const soma_history *history,
                                    const soma__fit_extra *extra, char **out);

/* ---- Where NaN came from (nan.c) ----------------------------------------------------------------------- */

bool soma__all_finite(const soma_tensor *t);
/* The first parameter or buffer with an element that is not finite, or the last parameter with such a gradient; "" for none. */
void soma__nan_param(soma_module *net, bool grad, char *out, size_t size);

/* ---- Mixed samples (mix.c) ----------------------------------------------------------------------------- */

typedef struct soma__mixed {
    soma_tensor *x, *y;
    soma_tensor *other;        /* classes of the samples mixed in; NULL: y has it all */
    double share;              /* of y, at least 1/2 */
} soma__mixed;
/* The batch mixed with itself in another order, drawn from the context's next stream. */
soma_status soma__mix(const soma_batch *b, double alpha, soma__mixed *out);

/* ---- Activity penalties (activity.c) ------------------------------------------------------------------- */

/* Collects, through a forward hook, the penalty of the outputs of activation layers in training; that of the network's own output is left
 * out. */
typedef struct soma__activity {
    double l1, kl, rho;
    soma_module *net;
    soma_tensor *sum, *last, *last_of; /* references; NULL: none. `last` is the penalty of the output `last_of` */
    soma_forward_hook before;  /* the caller's */
    void *before_user;
} soma__activity;
void soma__activity_begin(soma__activity *a, soma_module *net);
void soma__activity_end(soma__activity *a);
/* What the last forward has collected, as a tensor of the current scope; NULL: nothing (or an error). */
soma_tensor *soma__activity_take(soma__activity *a);

/* ---- A training under way (fit.c, step.c) -------------------------------------------------------------- */

typedef struct soma__fit_run {
    soma_module *net;
    soma_optim *opt;
    soma_loader *train, *val;
    soma_history *history;
    soma_fit_opts o;
    soma_task task;
    soma_loss_fn loss;
    soma_loss_opts smooth;      /* the loss's options with label smoothing, for training */
    void *train_user;           /* the loss's user in training */
    soma__activity activity;
    int64_t epochs, log_every;
    int64_t steps;              /* in an epoch */
    int64_t accumulate;         /* batches a step */
    int64_t group;              /* of them done */
    double group_samples, group_loss;
    soma__fit_extra extra;
    soma_average *shown;        /* what the network holds for the moment; NULL: its own weights */
    soma__score score;          /* of the epoch under way */
    soma__fit_state state;
    soma__log_file log;
    int64_t saved_step;         /* total_step of the newest checkpoint; -1: none */
    bool stop;                  /* a callback or should_stop asked for the end */
    bool checked;               /* the first prediction fitted the classes */
    double started;             /* clock, less what the epoch had taken before a resume */
    double last_step;           /* clock at the last step's end */
    int64_t timed_steps;        /* of this process */
    double step_seconds, sample_seconds; /* running means of them */
    double val_seconds;         /* of the last validation */
    double lr, grad_norm, batch_loss;
    soma_rng rng;               /* before this batch's forward */
    bool watched;               /* the observer looks at this step */
    double penalty;             /* of its loss; see soma_watch */
    double batch_end, waited;   /* clock at the last batch's end; seconds that this step waited for batches */
    soma_capture *capture;      /* NULL: none */
} soma__fit_run;
/* The observer (observe.c). `before` at a batch's begin: the step's first decides whether it is watched. */
soma_status soma__observe_start(soma__fit_run *f);
void soma__observe_before(soma__fit_run *f, const soma_batch *b);
void soma__observe_gradients(soma__fit_run *f);
void soma__observe_after(soma__fit_run *f, double seconds);
void soma__observe_epoch(soma__fit_run *f, const soma_epoch *e);
void soma__observe_nan(soma__fit_run *f, const char *where);
/* The captured step (captured.c). */
void soma__fit_capture_begin(soma__fit_run *f);
void soma__fit_capture_end(soma__fit_run *f);
/* Forward, loss and backward of a batch; false: not captured, and nothing has happened. With an error pending the loss is NULL. */
bool soma__fit_captured(soma__fit_run *f, const soma_batch *b, soma_tensor **loss, soma_tensor **prediction);
/* Averages of the weights (averages.c): made and freed; after an update; in the network's place at an epoch's end, and back. */
soma_status soma__fit_averages_begin(soma__fit_run *f);
void soma__fit_averages_end(soma__fit_run *f);
soma_status soma__fit_average_update(soma__fit_run *f);
soma_status soma__fit_average_show(soma__fit_run *f);
soma_status soma__fit_average_hide(soma__fit_run *f);
double soma__clock(void);       /* seconds, monotonic */
/* Mixing, forward and loss of one batch. `total` gets what to differentiate: loss and penalties. The loss itself is returned, NULL on error. */
soma_tensor *soma__fit_loss(soma__fit_run *f, const soma_batch *b, soma__mixed *mixed, soma_tensor **prediction, soma_tensor **total);
soma_status soma__fit_backward(soma__fit_run *f, const soma_batch *b, soma_tensor *total);
/* One batch: forward, loss, backward, scores. */
soma_status soma__fit_batch(soma__fit_run *f, const soma_batch *b);
/* The step that the batches since the last one make: clipping, noise, update, proximal step, limits. `b` is the last batch, NULL when it is gone. */
soma_status soma__fit_update(soma__fit_run *f, const soma_batch *b);
/* Runs the batch once more and records SOMA_ENAN with the place where the first NaN or Inf stands. */
soma_status soma__nan_find(soma__fit_run *f, const soma_batch *b);

#endif
