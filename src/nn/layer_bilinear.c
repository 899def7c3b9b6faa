/* Bilinear: x1 A x2 + b for two inputs; weight [out, in1, in2] and bias [out], named and filled as PyTorch's. */
#include "nn/nn.h"

#include <math.h>
#include <string.h>

typedef soma__nn_bilinear_state state;

static bool made(soma_module *m) {
    const state *s = m->state;
    return soma__nn_slot(m, "weight") && (s->no_bias || soma__nn_slot(m, "bias"));
}

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const state *s = m->state;
    in[0] = ndim == 3 ? shape[1] : 0;
    in[1] = ndim == 3 ? shape[2] : 0;
    return ndim == 3 && shape[0] == s->out;
}

static soma_status make(soma_module *m, const int64_t *in) {
    state *s = m->state;
    soma__nn_new_param(m, "weight", SOMA_SHAPE(s->out, in[0], in[1]));
    if (!s->no_bias)
        soma__nn_new_param(m, "bias", SOMA_SHAPE(s->out));
    if (!soma__failed())
        memcpy(s->in, in, sizeof s->in);
    return soma__ctx()->error;
}

static void reset(soma_module *m) {
    const state *s = m->state;
    soma_tensor *weight = soma__nn_slot(m, "weight"), *bias = soma__nn_slot(m, "bias");
    double bound = s->in[0] > 0 ? 1 / sqrt((double)s->in[0]) : 0;
    if (weight)
        soma_init_uniform_(weight, -bound, bound);
    if (bias)
        soma_init_uniform_(bias, -bound, bound);
}

/* (x1 A) for all outputs in one product, then the sum over x2. */
static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) {
    const state *s = m->state;
    if (n != 2 || soma_ndim(in[0]) < 1 || soma_ndim(in[0]) != soma_ndim(in[1])) {
        soma_fail(SOMA_EINVAL, "Bilinear takes two inputs with the same number of dimensions");
        return NULL;
    }
    int last = soma_ndim(in[0]) - 1;
    int64_t sizes[2] = {soma_size(in[0], -1), soma_size(in[1], -1)}, shape[SOMA_MAX_DIMS], rows = 1;
    if (!soma__nn_ready(m, sizes))
        return NULL;
    soma_tensor *weight = soma__nn_slot(m, "weight"), *bias = soma__nn_slot(m, "bias");
    for (int i = 0; i < last; i++) {
        if (soma_size(in[0], i) != soma_size(in[1], i))
            soma_fail(SOMA_ESHAPE, "the inputs have %lld and %lld rows", (long long)soma_size(in[0], i), (long long)soma_size(in[1], i));
        rows *= shape[i] = soma_size(in[0], i);
    }
    for (int i = 0; i < 2 && !soma__failed(); i++)
        if (soma_size(weight, 1 + i) != sizes[i])
            soma__nn_fail_fit(in[i], weight);
    if (soma__failed())
        return NULL;
    shape[last] = s->out;
    soma_tensor *a = soma_reshape(soma_permute(weight, SOMA_DIMS(1, 0, 2)), 2, (const int64_t[]){sizes[0], s->out * sizes[1]});
    soma_tensor *y = soma_matmul(soma_reshape(in[0], 2, (const int64_t[]){rows, sizes[0]}), a);
    y = soma_mul(soma_reshape(y, 3, (const int64_t[]){rows, s->out, sizes[1]}),
                 soma_reshape(in[1], 3, (const int64_t[]){rows, 1, sizes[1]}));
    y = soma_reshape(soma_sum(y, SOMA_DIMS(2), false), last + 1, shape);
    return bias ? soma_add(y, bias) : y;
}

const soma_module_class soma__nn_bilinear_class = {
    .size = sizeof(soma_module_class), .name = "Bilinear", .state_bytes = sizeof(state), .forward = forward, .reset = reset,
    .describe = soma__nn_describe_word,
};
static const soma__nn_lazy lazy = {
    .cls = &soma__nn_bilinear_class, .n_open = 2, .sizes_of = sizes_of, .make = make, .made = made,
};

soma_module *soma_nn_bilinear_ex(int64_t in1, int64_t in2, int64_t out, const soma_nn_linear_opts *opts) {
    if (!soma__nn_size_ok("Bilinear", "in1", in1, true) || !soma__nn_size_ok("Bilinear", "in2", in2, true) ||
        !soma__nn_size_ok("Bilinear", "out", out, false))
        return NULL;
    soma_module *m = soma__nn_lazy_new(&lazy);
    if (m)
        *(state *)m->state = (state){{in1, in2}, out, opts && opts->no_bias};
    return soma__nn_settled(m);
}
