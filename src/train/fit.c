/* The fit loop: epochs, validation, the best model, early stopping, checkpoints, resume. What happens in a step is in
 * step.c. All that decides what comes next is in soma__fit_state, which a checkpoint holds, so that a run that was stopped
 * ends in the same bits. */
#include "data/dataset.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool improves(soma__fit_run *f, const soma_epoch *e) {
    if (!f->val) return true; /* nothing to choose by: the latest */
    bool by_loss = f->o.keep_best_by == 1 || f->task == SOMA_REGRESS || isnan(e->val_accuracy);
    double value = by_loss ? -e->val_loss : e->val_accuracy;
    if (isnan(value)) return false;
    double best = f->state.best_value;
    if (!isnan(best) && (value < best || (value == best && !(e->val_loss < f->state.best_tie)))) return false;
    f->state.best_value = value;
    f->state.best_tie = e->val_loss;
    return true;
}

static void count_patience(soma__fit_run *f, const soma_epoch *e) {
    double loss = f->val ? e->val_loss : e->train_loss;
    if (isnan(f->state.patience_loss) || loss < f->state.patience_loss - f->o.min_delta) {
        f->state.patience_loss = loss;
        f->state.bad_epochs = 0;
    } else {
        f->state.bad_epochs++;
    }
}

static bool out_of_patience(const soma__fit_run *f) {
    return f->o.patience > 0 && f->state.bad_epochs >= f->o.patience;
}

/* ---- Checkpoints --------------------------------------------------------------------------------------- */

/* Weights that are not finite are never written over good ones. */
static soma_status check_weights(const soma__fit_run *f) {
    char name[128];
    soma__nan_param(f->net, false, name, sizeof(name));
    if (!name[0]) return soma_error();
    return soma_fail(
        SOMA_ENAN,
        "training stopped at epoch %lld, step %lld: NaN or Inf first appeared in %s, after the update of step %lld; "
        "try a lower learning rate, or clip the gradients' norm",
        (long long)f->state.epoch, (long long)f->state.step, name, (long long)f->state.total_step);
}

static soma_status save_checkpoint(soma__fit_run *f) {
    if (!f->o.run_dir || f->saved_step == f->state.total_step) return SOMA_OK;
    soma_status status = check_weights(f);
    if (status != SOMA_OK) return status;
    char *path = NULL;
    f->state.log_lines = f->log.lines;
    soma__score_get(&f->score, f->state.score);
    status = soma__checkpoint_rotate(f->o.run_dir, f->net, f->opt, f->train, f->o.meta, f->o.n_meta, &f->state, f->history,
                                     &f->extra, &path);
    if (status == SOMA_OK) {
        f->saved_step = f->state.total_step;
        if (f->o.callbacks.on_checkpoint && f->o.callbacks.on_checkpoint(f->o.callbacks.user, path) != 0) f->stop = true;
    }
    soma__free(path);
    return status;
}

static soma_status stopped(soma__fit_run *f) {
    soma_status status = save_checkpoint(f);
    if (status != SOMA_OK) return status;
    return soma_fail(SOMA_ESTOPPED, "training was asked to stop after step %lld of epoch %lld%s%s", (long long)f->state.step,
                     (long long)f->state.epoch, f->o.run_dir ? "; it can be resumed from " : "",
                     f->o.run_dir ? f->o.run_dir : "");
}

/* ---- Steps --------------------------------------------------------------------------------------------- */

static soma_progress progress_of(const soma__fit_run *f) {
    int64_t left = f->steps - f->state.step, epochs = f->epochs - f->state.epoch;
    double seconds = (double)(left + epochs * f->steps) * f->step_seconds + (double)(epochs + 1) * f->val_seconds;
    return (soma_progress){
        .epoch = f->state.epoch,
        .epochs = f->epochs,
        .step = f->state.step,
        .steps = f->steps,
        .total_step = f->state.total_step,
        .loss = soma__score_loss(&f->score),
        .accuracy = soma__score_accuracy(&f->score),
        .batch_loss = f->batch_loss,
        .lr = f->lr,
        .grad_norm = f->grad_norm,
        .samples_per_second = f->sample_seconds > 0 ? 1 / f->sample_seconds : NAN,
        .seconds_left = seconds,
    };
}

static soma_status log_step(soma__fit_run *f, const soma_progress *p) {
    if (f->log_every <= 0 || f->state.total_step % f->log_every) return SOMA_OK;
    soma_progress line = *p;
    line.loss = f->state.since_log / f->state.since_samples;
    f->state.since_log = f->state.since_samples = 0;
    return soma__log_step(&f->log, &line);
}

static soma_status after_step(soma__fit_run *f) {
    soma_progress p = progress_of(f);
    soma_status status = log_step(f, &p);
    if (status != SOMA_OK) return status;
    const soma_callbacks *c = &f->o.callbacks;
    if (c->on_step && c->on_step(c->user, &p) != 0) f->stop = true;
    if (c->should_stop && c->should_stop(c->user)) f->stop = true;
    if (soma_error() != SOMA_OK) return soma_error();
    if (f->state.step >= f->steps) return SOMA_OK; /* the epoch's end does the rest */
    if (f->o.checkpoint_every > 0 && f->state.total_step % f->o.checkpoint_every == 0) status = save_checkpoint(f);
    if (status == SOMA_OK && f->stop) status = stopped(f);
    return status;
}

/* ---- Epochs -------------------------------------------------------------------------------------------- */

static soma_status validate(soma__fit_run *f, soma_epoch *e) {
    if (!f->val) return SOMA_OK;
    double start = soma__clock();
    soma_metrics m;
    soma_status status = soma_loader_seek(f->val, f->state.epoch - 1, 0);
    if (status == SOMA_OK) status = soma_evaluate(f->net, f->val, f->loss, f->o.loss_user, &m);
    if (status != SOMA_OK) return status;
    e->val_loss = m.loss;
    e->val_accuracy = f->task == SOMA_REGRESS ? m.r2 : m.accuracy;
    soma_metrics_free(&m);
    f->val_seconds = soma__clock() - start;
    if (isfinite(e->val_loss)) return SOMA_OK;
    status = check_weights(f);
    return status != SOMA_OK
               ? status
               : soma_fail(SOMA_ENAN,
                           "the validation loss of epoch %lld is not finite, while the training loss is %g and all "
                           "weights are finite: look for NaN or huge values in the validation data",
                           (long long)f->state.epoch, e->train_loss);
}

/* What is written in which order matters: a run that is killed between any two of these goes on from the checkpoint before,
 * and comes to the same files again. */
static soma_status record_epoch(soma__fit_run *f, soma_epoch *e) {
    e->best = improves(f, e);
    count_patience(f, e);
    soma_status status = SOMA_OK;
    if (e->best && f->o.run_dir) status = check_weights(f);
    if (status == SOMA_OK && e->best && f->o.run_dir)
        status = soma__run_save_model(f->o.run_dir, f->net, f->o.meta, f->o.n_meta);
    if (status == SOMA_OK) status = soma__log_epoch(&f->log, e);
    if (status == SOMA_OK) status = soma__history_add(f->history, e);
    return status;
}

static soma_status end_epoch(soma__fit_run *f) {
    soma__fit_state *s = &f->state;
    double train_seconds = s->seconds;
    soma_epoch e = {.epoch = s->epoch,
                    .steps = s->total_step,
                    .train_loss = soma__score_loss(&f->score),
                    .train_accuracy = soma__score_accuracy(&f->score),
                    .val_loss = NAN,
                    .val_accuracy = NAN,
                    .lr = f->lr,
                    .samples_per_second = train_seconds > 0 ? f->score.count / train_seconds : NAN};
    soma_status status = soma__fit_average_show(f);
    if (status == SOMA_OK) status = validate(f, &e);
    if (status == SOMA_OK) soma_sched_metric(f->o.sched, f->val ? e.val_loss : e.train_loss);
    e.seconds = soma__clock() - f->started;
    if (status == SOMA_OK) status = record_epoch(f, &e);
    if (status == SOMA_OK) status = soma__fit_average_hide(f);
    if (status != SOMA_OK) return status;
    s->epoch++;
    s->step = 0;
    s->seconds = 0;
    soma__score_clear(&f->score);
    f->history->stopped_early = out_of_patience(f);
    const soma_callbacks *c = &f->o.callbacks;
    bool last = s->epoch > f->epochs || f->history->stopped_early;
    if (last || f->stop || f->o.checkpoint_every <= 0 || s->total_step % f->o.checkpoint_every == 0)
        status = save_checkpoint(f);
    if (status == SOMA_OK) soma__observe_epoch(f, &e);
    if (status == SOMA_OK && c->on_epoch && c->on_epoch(c->user, &e) != 0) f->stop = true;
    if (status == SOMA_OK && f->stop && !last) status = stopped(f);
    return status;
}

static soma_status run_epoch(soma__fit_run *f) {
    soma_nn_train(f->net, true);
    f->last_step = soma__clock();
    f->batch_end = f->last_step;
    f->started = f->last_step - f->state.seconds;
    for (soma_batch b = {.size = sizeof(b)}; soma_loader_next(f->train, &b);) {
        soma_status status = soma__fit_batch(f, &b);
        if (status == SOMA_OK && f->group < f->accumulate && b.index + 1 < soma_loader_batches(f->train)) continue;
        if (status == SOMA_OK) status = soma__fit_update(f, &b);
        if (status == SOMA_OK) status = after_step(f);
        if (status != SOMA_OK) return status;
    }
    if (soma_error() != SOMA_OK) return soma_error();
    if (f->group > 0) { /* the last batch was left out as unreadable */
        soma_status status = soma__fit_update(f, NULL);
        f->state.step = f->steps;
        if (status == SOMA_OK) status = after_step(f);
        if (status != SOMA_OK) return status;
    }
    if (f->score.count == 0)
        return soma_fail(SOMA_EINVAL, "fit: the training loader gives no batch (%s)",
                         soma_data_describe(soma_loader_dataset(f->train)));
    return end_epoch(f);
}

/* ---- Start --------------------------------------------------------------------------------------------- */

/* Strengths are numbers from 0 on; label smoothing belongs to one loss. */
static soma_status check_options(const soma__fit_run *f) {
    const soma_fit_opts *o = &f->o;
    const struct {
        const char *name;
        double value, most;
    } all[] = {
        {"accumulate", (double)o->accumulate, INFINITY}, {"clip_norm", o->clip_norm, INFINITY},   {"clip_value", o->clip_value, INFINITY},
        {"l1", o->l1, INFINITY},                         {"l2", o->l2, INFINITY},                 {"prox_l1", o->prox_l1, INFINITY},
        {"prox_l2", o->prox_l2, INFINITY},               {"max_norm", o->max_norm, INFINITY},     {"grad_noise", o->grad_noise, INFINITY},
        {"ema_decay", o->ema_decay, 1},                  {"swa_start", (double)o->swa_start, INFINITY},
        {"label_smoothing", o->label_smoothing, 1},      {"mixup", o->mixup, INFINITY},           {"activity_l1", o->activity_l1, INFINITY},
        {"activity_kl", o->activity_kl, INFINITY},       {"activity_rho", o->activity_rho, 1},
    };
    for (size_t i = 0; i < SOMA_LEN(all); i++)
        if (!(all[i].value >= 0 && all[i].value <= all[i].most))
            return soma_fail(SOMA_EINVAL, "fit: %s is %g; it must be %s", all[i].name, all[i].value, all[i].most > 1 ? "at least 0" : "from 0 to 1");
    if (soma_optim_find(soma_optim_name(f->opt))->closure && (o->accumulate > 1 || o->clip_norm > 0 || o->clip_value > 0 || o->grad_noise > 0))
        return soma_fail(SOMA_EINVAL, "fit: %s evaluates gradients itself: it does not go with accumulation, clipping and noise",
                         soma_optim_name(f->opt));
    const soma_loss_info *info = soma__loss_info(f->loss);
    if (o->label_smoothing > 0 && (!info || strcmp(info->name, "cross_entropy") != 0))
        return soma_fail(SOMA_EINVAL, "fit: label smoothing goes with the loss cross_entropy, not with %s", info ? info->name : "one of your own");
    return soma__loss_fits(f->loss, f->task);
}

static soma_status check_arguments(const soma__fit_run *f) {
    if (!f->net || !f->opt || !f->train)
        return soma_fail(SOMA_EINVAL, "fit: needs a network, an optimiser and a training loader");
    if (f->o.resume && !f->o.run_dir)
        return soma_fail(SOMA_EINVAL, "fit: resume needs run_dir, the folder of the run to go on with");
    if (f->o.epochs < 0) return soma_fail(SOMA_EINVAL, "fit: epochs is %lld; it must be at least 1", (long long)f->o.epochs);
    soma_dataset *d = soma_loader_dataset(f->train);
    if (f->task == SOMA_UNLABELLED)
        return soma_fail(SOMA_EINVAL, "fit: the training data has no labels: %s", soma_data_describe(d));
    if (f->val && soma_loader_task(f->val) != f->task)
        return soma_fail(SOMA_EINVAL, "fit: training and validation data are of different kinds: %s; %s",
                         soma_data_describe(d), soma_data_describe(soma_loader_dataset(f->val)));
    return SOMA_OK;
}

static soma_status write_config(const soma__fit_run *f) {
    if (!f->o.config_json) return SOMA_OK;
    char *path = soma__path_join(f->o.run_dir, "config.json");
    if (!path) return soma_error();
    soma_status status = soma_write_file(path, f->o.config_json, strlen(f->o.config_json));
    soma__free(path);
    return status;
}

static soma_status resume(soma__fit_run *f) {
    char path[4096];
    soma_status status = soma_checkpoint_newest(f->o.run_dir, path, sizeof(path));
    if (status == SOMA_OK) status = soma__checkpoint_read(path, f->net, f->opt, f->train, &f->state, f->history, &f->extra);
    if (status != SOMA_OK) return status;
    soma__score_set(&f->score, f->state.score);
    f->saved_step = f->state.total_step;
    for (int64_t i = 0; i < f->history->n; i++)
        if (f->history->epochs[i].best) f->history->best = i;
    f->history->stopped_early = out_of_patience(f);
    soma__run_tidy(f->o.run_dir);
    return SOMA_OK;
}

static soma_status open_run(soma__fit_run *f) {
    if (!f->o.run_dir) return SOMA_OK;
    soma_status status = f->o.resume ? resume(f) : soma__run_open(f->o.run_dir, f->o.overwrite);
    if (status == SOMA_OK) status = write_config(f);
    if (status == SOMA_OK) status = soma__log_open(&f->log, f->o.run_dir, f->state.log_lines);
    return status;
}

/* A run has a checkpoint from the start, so that a kill in its first steps leaves one too. */
static soma_status first_checkpoint(soma__fit_run *f) {
    return f->o.run_dir && f->saved_step < 0 ? save_checkpoint(f) : SOMA_OK;
}

static soma_status train(soma__fit_run *f) {
    soma_status status = open_run(f);
    if (status == SOMA_OK) status = first_checkpoint(f);
    if (status == SOMA_OK) status = soma__observe_start(f);
    while (status == SOMA_OK && f->state.epoch <= f->epochs && !f->history->stopped_early) status = run_epoch(f);
    soma__log_close(&f->log);
    if (status == SOMA_OK) status = soma__fit_average_show(f); /* the run's last checkpoint has the own weights */
    return status;
}

/* Label smoothing is for training alone: validation measures the loss itself. */
static void set_loss(soma__fit_run *f) {
    f->train_user = f->o.loss_user;
    f->activity = (soma__activity){.l1 = f->o.activity_l1, .kl = f->o.activity_kl, .rho = f->o.activity_rho};
    if (!(f->o.label_smoothing > 0)) return;
    const soma_loss_opts *own = f->o.loss_user;
    if (own) memcpy(&f->smooth, own, own->size ? SOMA_MIN(own->size, sizeof(f->smooth)) : sizeof(f->smooth));
    f->smooth.size = sizeof(f->smooth);
    f->smooth.label_smoothing = f->o.label_smoothing;
    f->train_user = &f->smooth;
}

soma_status soma_fit_ex(soma_module *net, soma_optim *opt, soma_loader *train_loader, soma_loader *val,
                        soma_history *history, const soma_fit_opts *opts) {
    soma_history own = {.best = -1};
    if (history) *history = own;
    if (soma_error() != SOMA_OK) return soma_error();
    soma__fit_run f = {.net = net,
                       .opt = opt,
                       .train = train_loader,
                       .val = val,
                       .history = history ? history : &own,
                       .saved_step = -1,
                       .log = {.fd = -1},
                       .grad_norm = NAN,
                       .lr = NAN};
    if (opts) memcpy(&f.o, opts, opts->size ? SOMA_MIN(opts->size, sizeof(f.o)) : sizeof(f.o));
    if (train_loader) f.task = soma_loader_task(train_loader);
    f.loss = soma__loss_or_default(f.o.loss, f.task);
    soma_status status = check_arguments(&f);
    if (status == SOMA_OK) status = check_options(&f);
    if (status != SOMA_OK) return status;
    set_loss(&f);
    f.epochs = f.o.epochs ? f.o.epochs : 1;
    f.log_every = f.o.log_every ? f.o.log_every : 50;
    f.accumulate = f.o.accumulate ? f.o.accumulate : 1;
    f.steps = (soma_loader_batches(train_loader) + f.accumulate - 1) / f.accumulate;
    f.score = (soma__score){.task = f.task, .threshold = soma__loss_threshold(f.loss)};
    f.state = (soma__fit_state){.epoch = 1, .best_value = NAN, .best_tie = NAN, .patience_loss = NAN};
    bool training = soma_nn_training(net);
    soma_scope scope = soma_scope_begin();
    soma__activity_begin(&f.activity, net);
    soma__fit_capture_begin(&f);
    status = soma__fit_averages_begin(&f);
    if (status == SOMA_OK) status = train(&f);
    soma__fit_averages_end(&f);
    soma__fit_capture_end(&f);
    soma__activity_end(&f.activity);
    soma_scope_end(scope);
    soma_nn_train(net, training);
    if (!history) soma_history_free(&own);
    return status;
}
