/* Batch norm's statistics for weights that were not trained with them: those of an average, which are no average of theirs. */
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
