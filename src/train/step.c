/* One step of a training. Nothing here depends on time or on the number of threads, except the figures about speed. */
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

/* Clips when asked to. A gradient that is not finite is SOMA_ENAN from there; its place is found by the caller. */
static soma_status clip(soma__fit_run *f) {
    f->grad_norm = NAN;
    if (!(f->o.clip_norm > 0)) return SOMA_OK;
    f->grad_norm = soma_clip_grad_norm(f->opt, f->o.clip_norm);
    return soma_error();
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

soma_status soma__fit_step(soma__fit_run *f, const soma_batch *b) {
    f->rng = soma_rng_get();
    if (f->o.sched) soma_sched_apply(f->o.sched, f->opt, f->state.total_step);
    f->lr = soma_optim_lr(f->opt, 0);
    soma_tensor *prediction = soma_nn_forward(f->net, b->x);
    if (prediction && !f->checked && check_outputs(f, prediction) != SOMA_OK) return soma_error();
    soma_tensor *loss = f->loss(f->o.loss_user, prediction, b->y);
    if (!loss) return soma_error() != SOMA_OK ? soma_error() : soma_fail(SOMA_EINVAL, "the loss function gave no result");
    f->batch_loss = soma_item(loss);
    if (soma_error() != SOMA_OK) return soma_error();
    if (!isfinite(f->batch_loss)) return soma__nan_find(f, b);
    soma_status status = soma_backward(loss);
    if (status == SOMA_OK) status = clip(f);
    if (status == SOMA_ENAN) {
        soma_error_clear();
        return soma__nan_find(f, b);
    }
    if (status == SOMA_OK) status = soma_optim_step(f->opt);
    if (status == SOMA_OK) status = soma__score_add(&f->score, prediction, b->y, f->batch_loss, b->count);
    if (status != SOMA_OK) return status;
    f->state.step++;
    f->state.total_step++;
    f->state.since_log += f->batch_loss * (double)b->count;
    f->state.since_samples += (double)b->count;
    note_speed(f, b->count);
    return SOMA_OK;
}
