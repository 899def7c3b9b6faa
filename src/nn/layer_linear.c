/* Linear: weight [out, in] and bias [out], named and filled as PyTorch's. */
#include "nn/nn.h"

#include "ops/op.h"

#include <math.h>

static bool made(soma_module *m) {
    const soma__nn_linear_state *s = m->state;
    return (m->tied || soma__nn_slot(m, "weight")) && (s->no_bias || soma__nn_slot(m, "bias"));
}

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const soma__nn_linear_state *s = m->state;
    *in = ndim == 2 ? shape[1] : 0;
    return ndim == 2 && shape[0] == s->out;
}

static soma_status make(soma_module *m, const int64_t *in) {
    soma__nn_linear_state *s = m->state;
    if (!m->tied)
        soma__nn_new_param(m, "weight", SOMA_SHAPE(s->out, in[0]));
    if (!s->no_bias)
        soma__nn_new_param(m, "bias", SOMA_SHAPE(s->out));
    if (!soma__failed())
        s->in = in[0];
    return soma__ctx()->error;
}

/* kaiming_uniform with a = sqrt(5) is the uniform distribution in ±1/sqrt(in). */
static void reset(soma_module *m) {
    const soma__nn_linear_state *s = m->state;
    soma_tensor *weight = soma__nn_slot(m, "weight"), *bias = soma__nn_slot(m, "bias");
    double bound = s->in > 0 ? 1.0 / sqrt((double)s->in) : 0;
    if (weight)
        soma_init_uniform_(weight, -bound, bound);
    if (bias)
        soma_init_uniform_(bias, -bound, bound);
}

/* `relu`: not NULL when it is to come behind. */
static soma_tensor *run_with(soma_module *m, soma_tensor *const *in, int n, void *relu) {
    const soma__nn_linear_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 1, 0))
        return NULL;
    int64_t features = soma_size(in[0], -1);
    if (!made(m) && features < 1) {
        soma_fail(SOMA_ESHAPE, "the input has no features");
        return NULL;
    }
    soma_module *from;
    soma_tensor *weight = soma__nn_ready(m, &features) ? soma__nn_weight(m, &from) : NULL;
    if (weight && from && from->cls == m->cls) /* the way back: [in, out] of the other layer */
        weight = soma_transpose(weight, 0, 1);
    if (!weight)
        return NULL;
    if (soma_ndim(weight) != 2 || soma_size(weight, 1) != features || (from && soma_size(weight, 0) != s->out)) {
        soma__nn_fail_fit(in[0], weight);
        return NULL;
    }
    return (relu ? soma__linear_relu : soma_linear)(in[0], weight, soma__nn_slot(m, "bias"));
}

static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) { return run_with(m, in, n, NULL); }

soma_tensor *soma__nn_linear_relu(soma_module *m, soma_tensor *x) { return soma__nn_run(m, &x, 1, run_with, m, NULL, 0); }

const soma_module_class soma__nn_linear_class = {
    .size = sizeof(soma_module_class), .name = "Linear", .state_bytes = sizeof(soma__nn_linear_state),
    .forward = forward, .describe = soma__nn_describe_word, .reset = reset,
};
static const soma__nn_lazy lazy = {
    .cls = &soma__nn_linear_class, .sizes_of = sizes_of, .make = make, .made = made,
};

soma_module *soma_nn_linear_ex(int64_t in, int64_t out, const soma_nn_linear_opts *opts) {
    if (!soma__nn_size_ok("Linear", "in", in, true) || !soma__nn_size_ok("Linear", "out", out, false))
        return NULL;
    soma_module *m = soma__nn_lazy_new(&lazy);
    if (m)
        *(soma__nn_linear_state *)m->state = (soma__nn_linear_state){in, out, opts && opts->no_bias};
    return soma__nn_settled(m);
}
