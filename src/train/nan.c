/* Where a NaN or an infinity first stood. The batch is run once more with the same random numbers, and looked at in the
 * order in which numbers flow: input, target, parameters, each layer's output, the loss, the gradients from the loss
 * backwards. */
#include "nn/nn.h"
#include "train/train.h"

#include <soma/autograd.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static int64_t count_bad(const soma_tensor *t, int64_t *first) {
    int64_t n = soma_numel(t), bad = 0;
    soma_dtype dtype = soma_dtype_of(t);
    *first = -1;
    if (!soma_dtype_is_float(dtype)) return 0;
    bool direct = dtype == SOMA_F32 && soma_is_contiguous(t);
    double *copy = direct ? NULL : soma__alloc((size_t)n * sizeof(double));
    if (!direct && (!copy || soma_to_array(t, copy, n, SOMA_F64) != SOMA_OK)) {
        soma__free(copy);
        return 0;
    }
    const float *values = direct ? soma_data(t) : NULL;
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(direct ? (double)values[i] : copy[i])) continue;
        if (!bad++) *first = i;
    }
    soma__free(copy);
    return bad;
}

bool soma__all_finite(const soma_tensor *t) {
    int64_t first = 0;
    return count_bad(t, &first) == 0;
}

void soma__nan_param(soma_module *net, bool grad, char *out, size_t size) {
    int n = soma_nn_named(net, !grad, NULL, 0);
    soma_named *named = n > 0 ? soma__alloc((size_t)n * sizeof(*named)) : NULL;
    out[0] = 0;
    if (named && soma_nn_named(net, !grad, named, n) != n) n = 0;
    for (int i = 0; named && i < n; i++) {
        const soma_tensor *t = grad ? soma_grad(named[n - 1 - i].tensor) : named[i].tensor;
        if (!t || soma__all_finite(t)) continue;
        snprintf(out, size, "%s", grad ? named[n - 1 - i].name : named[i].name);
        break;
    }
    soma__free(named);
}

typedef struct search {
    bool found;
    soma_forward_hook hook; /* the one in place */
    void *hook_user;
    char where[256];
} search;

static void look(void *user, soma_module *m, const char *path, soma_tensor *const *in, int n, soma_tensor *out) {
    search *s = user;
    int64_t first = 0, bad = s->found || !out ? 0 : count_bad(out, &first);
    if (s->hook) s->hook(s->hook_user, m, path, in, n, out);
    if (!bad) return;
    char shape[SOMA__SHAPE_TEXT];
    s->found = true;
    snprintf(s->where, sizeof(s->where), "in the output of layer %s (%s): %lld of its %lld numbers, shape %s", path,
             soma_nn_class(m)->name, (long long)bad, (long long)soma_numel(out),
             soma__shape_text(soma_ndim(out), soma_shape(out), shape, sizeof(shape)));
}

/* Which sample of the batch the element `at` of `t` belongs to, by its id. */
static const char *sample_name(const soma__fit_run *f, const soma_batch *b, const soma_tensor *t, int64_t at) {
    int64_t rows = soma_ndim(t) ? soma_size(t, 0) : 0, row = rows > 0 ? at / (soma_numel(t) / rows) : 0;
    const char *id = b->samples && row < b->count ? soma_data_id(soma_loader_dataset(f->train), b->samples[row]) : NULL;
    return id ? id : "?";
}

static bool in_data(const soma__fit_run *f, const soma_batch *b, search *s) {
    const soma_tensor *both[2] = {b->x, b->y};
    for (int i = 0; i < 2 && !s->found; i++) {
        int64_t first = 0;
        if (!both[i] || !count_bad(both[i], &first)) continue;
        s->found = true;
        snprintf(s->where, sizeof(s->where), "in the %s of sample %s", i ? "target" : "input",
                 sample_name(f, b, both[i], first));
    }
    return s->found;
}

/* The network and the loss once more, then backward; every gradient that was there is dropped first. */
static void in_computation(soma__fit_run *f, const soma_batch *b, search *s) {
    soma_rng_set(f->rng);
    soma_nn_zero_grad(f->net);
    s->hook = f->net->hook; /* put back below */
    s->hook_user = f->net->hook_user;
    soma_nn_set_hook(f->net, look, s);
    soma__mixed mixed;
    soma_tensor *prediction, *total, *loss = soma__fit_loss(f, b, &mixed, &prediction, &total);
    soma_nn_set_hook(f->net, s->hook, s->hook_user);
    if (s->found || !loss) return;
    if (!soma__all_finite(loss)) {
        s->found = true;
        snprintf(s->where, sizeof(s->where), "in the loss itself; the network's output is finite");
        return;
    }
    char name[128];
    soma_backward(total);
    soma__nan_param(f->net, true, name, sizeof(name));
    s->found = name[0] != 0;
    if (s->found) snprintf(s->where, sizeof(s->where), "in the gradient of %s", name);
    soma_nn_zero_grad(f->net);
}

soma_status soma__nan_find(soma__fit_run *f, const soma_batch *b) {
    search s = {0};
    char name[128] = "";
    soma_scope scope = soma_scope_begin();
    bool data = in_data(f, b, &s);
    if (!data) soma__nan_param(f->net, false, name, sizeof(name));
    if (!data && name[0]) {
        s.found = true;
        snprintf(s.where, sizeof(s.where), "in %s, after the update of step %lld", name, (long long)f->state.total_step);
    }
    if (!s.found) in_computation(f, b, &s);
    soma_scope_end(scope);
    if (soma_error() != SOMA_OK) return soma_error();
    soma__observe_nan(f, s.found ? s.where : "in the loss");
    return soma_fail(SOMA_ENAN, "training stopped at epoch %lld, step %lld: NaN or Inf first appeared %s; %s",
                     (long long)f->state.epoch, (long long)f->state.step + 1,
                     s.found ? s.where : "in the loss (a second run of the batch stays finite)",
                     data ? "mend or leave out that sample" : "try a lower learning rate, or clip the gradients' norm");
}
