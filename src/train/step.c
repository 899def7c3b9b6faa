/* One step of a training: the batches that it is made of, and the update. Nothing here depends on time or on the number of threads, except the figures about speed. */
#include "nn/nn.h"
#include "train/train.h"

#include <soma/autograd.h>

#include <math.h>
#include <time.h>

double soma__clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A network that ends in fewer outputs than there are classes fails late and obscurely; one with more trains in silence. */
static soma_status check_outputs(soma__fit_run *f, const soma_tensor *prediction) {
    f->checked = true;
    if (f->task != SOMA_CLASSIFY || !soma__loss_needs_classes(f->loss)) return SOMA_OK;
    int classes = soma_data_classes(soma_loader_dataset(f->train));
    int64_t outputs = soma_ndim(prediction) >= 2 ? soma_size(prediction, 1) : 0;
    if (soma_ndim(prediction) == 2 && outputs == classes) return SOMA_OK;
    char shape[SOMA__SHAPE_TEXT];
    return soma_fail(SOMA_ESHAPE,
                     "the network's output has shape %s, but the data has %d classes: it must end in %d outputs a sample, "
                     "\"%slinear %d\"",
                     soma__shape_text(soma_ndim(prediction), soma_shape(prediction), shape, sizeof(shape)), classes, classes,
                     soma_ndim(prediction) > 2 ? "flatten, " : "", classes);
}

static void note_speed(soma__fit_run *f, int64_t samples) {
    double now = soma__clock(), took = now - f->last_step;
    f->last_step = now;
    /* The mean of all steps at first, later of about the last hundred. */
    double weight = SOMA_MAX(1.0 / (double)++f->timed_steps, 0.01);
    f->step_seconds += weight * (took - f->step_seconds);
    f->sample_seconds += weight * (took / (double)SOMA_MAX(samples, 1) - f->sample_seconds);
    f->state.seconds = now - f->started;
}

/* ---- One batch ----------------------------------------------------------------------------------------- */

static soma_tensor *loss_of(soma__fit_run *f, soma_tensor *prediction, const soma__mixed *m) {
    soma_tensor *loss = f->loss(f->train_user, prediction, m->y);
    if (!loss || !m->other) return loss;
    soma_tensor *other = f->loss(f->train_user, prediction, m->other);
    return soma_add(soma_mul_scalar(loss, m->share), soma_mul_scalar(other, 1 - m->share));
}

soma_tensor *soma__fit_loss(soma__fit_run *f, const soma_batch *b, soma__mixed *mixed, soma_tensor **prediction, soma_tensor **total) {
    *mixed = (soma__mixed){.x = b->x, .y = b->y, .share = 1};
    *prediction = *total = NULL;
    if (f->o.mixup > 0 && soma__mix(b, f->o.mixup, mixed) != SOMA_OK) return NULL;
    *prediction = soma_nn_forward(f->net, mixed->x);
    if (*prediction && !f->checked && check_outputs(f, *prediction) != SOMA_OK) return NULL;
    soma_tensor *loss = loss_of(f, *prediction, mixed), *activity = soma__activity_take(&f->activity);
    if (!loss && soma_error() == SOMA_OK) soma_fail(SOMA_EINVAL, "the loss function gave no result");
    *total = loss && soma_loader_reconstructs(f->train) ? soma__nn_objective(f->net, b->x, loss) : loss;
    if (loss && activity) *total = soma_add(*total, activity);
    if (loss && (f->o.l1 > 0 || f->o.l2 > 0)) *total = soma_add(*total, soma_penalty(f->net, f->o.l1, f->o.l2));
    return soma_error() == SOMA_OK ? loss : NULL;
}

soma_status soma__fit_backward(soma__fit_run *f, const soma_batch *b, soma_tensor *total) {
    return soma_backward(f->accumulate > 1 ? soma_mul_scalar(total, (double)b->count) : total);
}

/* With several batches a step, each counts as much as it has samples; soma__fit_update divides by their sum. */
soma_status soma__fit_batch(soma__fit_run *f, const soma_batch *b) {
    soma__mixed mixed = {.y = b->y};
    soma_tensor *prediction, *total, *loss;
    f->rng = soma_rng_get();
    soma__observe_before(f, b);
    if (f->o.sched && f->group == 0) soma_sched_apply(f->o.sched, f->opt, f->state.total_step);
    f->lr = soma_optim_lr(f->opt, 0);
    bool captured = !f->watched && soma__fit_captured(f, b, &loss, &prediction); /* an observer wants the layers to run */
    if (!captured) loss = soma__fit_loss(f, b, &mixed, &prediction, &total);
    if (!loss) return soma_error();
    double number = soma_item(loss);
    if (soma_error() != SOMA_OK) return soma_error();
    if (!isfinite(number)) return soma__nan_find(f, b);
    if (f->watched && total != loss) f->penalty = 1 - number / soma_item(total);
    soma_status status = captured ? SOMA_OK : soma__fit_backward(f, b, total);
    if (status == SOMA_OK) status = soma__score_add(&f->score, prediction, mixed.y, number, b->count);
    if (status != SOMA_OK) return status;
    f->group++;
    f->group_samples += (double)b->count;
    f->group_loss += number * (double)b->count;
    f->batch_end = soma__clock();
    return SOMA_OK;
}

/* ---- The step ------------------------------------------------------------------------------------------ */

static soma_status divide_gradients(soma__fit_run *f) {
    int n = soma_nn_named(f->net, false, NULL, 0);
    soma_named *named = n > 0 ? soma__alloc((size_t)n * sizeof(*named)) : NULL;
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    if (named) n = soma_nn_named(f->net, false, named, n);
    for (int i = 0; named && i < n && soma_error() == SOMA_OK; i++)
        if (soma_grad(named[i].tensor)) soma_mul_(soma_grad(named[i].tensor), soma_scalar(1 / f->group_samples));
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    soma__free(named);
    return soma_error();
}

/* A gradient that is not finite is SOMA_ENAN from the norm; its place is found by the caller. */
static soma_status prepare_gradients(soma__fit_run *f) {
    const soma_fit_opts *o = &f->o;
    f->grad_norm = NAN;
    if (f->accumulate > 1 && divide_gradients(f) != SOMA_OK) return soma_error();
    soma__observe_gradients(f);
    if (o->clip_value > 0) soma_clip_grad_value(f->opt, o->clip_value);
    if (o->clip_norm > 0) f->grad_norm = soma_clip_grad_norm(f->opt, o->clip_norm);
    if (o->grad_noise > 0) soma_add_grad_noise(f->opt, sqrt(o->grad_noise / pow(1 + (double)f->state.total_step, 0.55)));
    return soma_error();
}

/* For optimisers that evaluate the loss several times: the same batch with the same random numbers. */
typedef struct again {
    soma__fit_run *f;
    const soma_batch *b;
} again;

static double evaluate_again(void *user) {
    again *a = user;
    soma__mixed mixed;
    soma_tensor *prediction, *total;
    soma_rng_set(a->f->rng);
    if (!soma__fit_loss(a->f, a->b, &mixed, &prediction, &total)) return NAN;
    double value = soma_item(total);
    soma_backward(total);
    return value;
}

static soma_status update_weights(soma__fit_run *f, const soma_batch *b) {
    const soma_fit_opts *o = &f->o;
    bool closure = b && soma_optim_find(soma_optim_name(f->opt))->closure;
    soma_status status = closure ? soma_optim_step_closure(f->opt, evaluate_again, &(again){f, b}, NULL) : soma_optim_step(f->opt);
    if (status == SOMA_OK && (o->prox_l1 > 0 || o->prox_l2 > 0)) status = soma_proximal_step(f->opt, o->prox_l1, o->prox_l2);
    if (status == SOMA_OK && o->max_norm > 0) status = soma_max_norm(f->opt, o->max_norm);
    if (status == SOMA_OK) status = soma__fit_average_update(f);
    return status;
}

soma_status soma__fit_update(soma__fit_run *f, const soma_batch *b) {
    soma_status status = prepare_gradients(f);
    if (status == SOMA_ENAN && b) {
        soma_error_clear();
        return soma__nan_find(f, b);
    }
    if (status == SOMA_OK) status = update_weights(f, b);
    if (status != SOMA_OK) return status;
    f->batch_loss = f->group_loss / f->group_samples;
    f->state.step++;
    f->state.total_step++;
    f->state.since_log += f->group_loss;
    f->state.since_samples += f->group_samples;
    double began = f->last_step;
    note_speed(f, (int64_t)f->group_samples);
    soma__observe_after(f, f->last_step - began);
    f->batch_end = soma__clock();
    f->group = 0;
    f->group_samples = f->group_loss = 0;
    return SOMA_OK;
}
