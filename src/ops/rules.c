/* Shape rules and gradient helpers that many operators share. */
#include "ops/op.h"

#include <string.h>

bool soma__shape_same(soma_args *a, soma_meta *out) {
    for (int i = 0; i < a->op->outputs; i++) {
        out[i].ndim = a->in[0]->ndim;
        memcpy(out[i].shape, a->in[0]->shape, sizeof out[i].shape);
    }
    return true;
}

bool soma__shape_broadcast(soma_args *a, soma_meta *out) {
    if (!soma__broadcast(a->op->name, a->in, a->n_in, &out[0]))
        return false;
    for (int i = 1; i < a->op->outputs; i++) {
        out[i].ndim = out[0].ndim;
        memcpy(out[i].shape, out[0].shape, sizeof out[i].shape);
    }
    return true;
}

soma_tensor *soma__sum_to(soma_tensor *g, const soma_meta *meta) {
    if (!g)
        return NULL;
    int64_t dims[SOMA_MAX_DIMS];
    int n = 0, shift = g->ndim - meta->ndim;
    for (int i = 0; i < g->ndim; i++)
        if (i < shift || (meta->shape[i - shift] == 1 && g->shape[i] != 1))
            dims[n++] = i;
    if (n > 0)
        g = soma_sum(g, n, dims, true);
    if (g && g->ndim != meta->ndim)
        g = soma_reshape(g, meta->ndim, meta->shape);
    return soma_to(g, meta->dtype);
}
