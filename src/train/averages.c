/* Averages of the weights in training; batch norm's statistics for weights that were not trained with them. */
#include "train/train.h"

#include "nn/nn.h"

#include <string.h>

typedef struct found {
    soma__nn_norm_state *state;
    bool cumulative;
} found;

/* Batch norms below `m`; with `list` they start anew and take the plain mean over all batches to come. */
static int start(soma_module *m, found *list, int n) {
    if (m->cls == &soma__nn_batch_norm_class && ((soma__nn_norm_state *)m->state)->track) {
        soma__nn_norm_state *s = m->state;
        if (list) {
            list[n] = (found){s, s->cumulative};
            s->cumulative = true;
            soma_init_constant_(soma__nn_slot(m, "running_mean"), 0);
            soma_init_constant_(soma__nn_slot(m, "running_var"), 1);
            soma_init_constant_(soma__nn_slot(m, "num_batches_tracked"), 0);
        }
        n++;
    }
    for (int i = 0; i < m->n_children; i++)
        n = start(m->children[i], list, n);
    return n;
}

soma_status soma_swa_update_bn(soma_module *net, soma_loader *loader) {
    if (soma_error() != SOMA_OK) return soma_error();
    if (!net || !loader) return soma_fail(SOMA_EINVAL, "soma_swa_update_bn: needs a network and a loader");
    int n = start(net, NULL, 0);
    if (n == 0) return SOMA_OK;
    found *list = soma__alloc((size_t)n * sizeof(*list));
    if (!list) return soma_error();
    bool training = soma_nn_training(net), grad = soma_set_grad_enabled(false);
    start(net, list, 0);
    soma_nn_train(net, true);
    for (soma_batch b = {.size = sizeof(b)}; soma_loader_next(loader, &b);)
        soma_nn_forward(net, b.x);
    for (int i = 0; i < n; i++) list[i].state->cumulative = list[i].cumulative;
    soma_nn_train(net, training);
    soma_set_grad_enabled(grad);
    soma__free(list);
    return soma_error();
}

/* ---- In soma_fit --------------------------------------------------------------------------------------- */

soma_status soma__fit_averages_begin(soma__fit_run *f) {
    f->extra.sched = f->o.sched;
    if (f->o.ema_decay > 0) f->extra.ema = soma_ema(f->net, .decay = f->o.ema_decay);
    if (f->o.swa_start > 0) f->extra.swa = soma_swa(f->net);
    return soma_error();
}

void soma__fit_averages_end(soma__fit_run *f) {
    soma_average_free(f->extra.ema);
    soma_average_free(f->extra.swa);
    f->extra.ema = f->extra.swa = NULL;
}

soma_status soma__fit_average_update(soma__fit_run *f) {
    return f->extra.ema ? soma_average_update(f->extra.ema) : soma_error();
}

/* A pass over the training data that leaves no trace in loader and random numbers. */
static soma_status refresh_statistics(soma__fit_run *f) {
    int64_t epoch = 0, batch = 0;
    soma_rng rng = soma_rng_get();
    soma_loader_tell(f->train, &epoch, &batch);
    soma_status status = soma_loader_seek(f->train, 0, 0);
    if (status == SOMA_OK) status = soma_swa_update_bn(f->net, f->train);
    if (status == SOMA_OK) status = soma_loader_seek(f->train, epoch, batch);
    soma_rng_set(rng);
    return status;
}

/* At an epoch's end the mean takes the epoch in; after the last epoch it is only shown. */
soma_status soma__fit_average_show(soma__fit_run *f) {
    bool ended = f->state.step == 0, mean = f->extra.swa && f->state.epoch - ended >= f->o.swa_start;
    soma_status status = soma_error();
    f->shown = mean ? f->extra.swa : f->extra.ema;
    if (status == SOMA_OK && mean && !ended) status = soma_average_update(f->extra.swa);
    if (status == SOMA_OK && f->shown) status = soma_average_swap(f->shown);
    if (status == SOMA_OK && mean && !ended) status = refresh_statistics(f);
    return status;
}

soma_status soma__fit_average_hide(soma__fit_run *f) {
    soma_average *shown = f->shown;
    f->shown = NULL;
    return shown ? soma_average_swap(shown) : soma_error();
}
