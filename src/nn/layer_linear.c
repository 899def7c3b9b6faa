/* Linear: weight [out, in] and bias [out], named and filled as PyTorch's. */
#include "nn/nn.h"

#include <math.h>

static bool made(soma_module *m) {
    const soma__nn_linear_state *s = m->state;
    return soma__nn_slot(m, "weight") && (s->no_bias || soma__nn_slot(m, "bias"));
}

static int64_t in_of_weight(soma_module *m, int ndim, const int64_t *shape) {
    const soma__nn_linear_state *s = m->state;
    return ndim == 2 && shape[0] == s->out ? shape[1] : -1;
}

static soma_status make(soma_module *m, int64_t in) {
    soma__nn_linear_state *s = m->state;
    soma__nn_new_param(m, "weight", SOMA_SHAPE(s->out, in));
    if (!s->no_bias)
        soma__nn_new_param(m, "bias", SOMA_SHAPE(s->out));
    if (!soma__failed())
        s->in = in;
    return soma__ctx()->error;
}

/* kaiming_uniform with a = sqrt(5) is the uniform distribution in ±1/sqrt(in). */
static void reset(soma_module *m) {
    soma_tensor *weight = soma__nn_slot(m, "weight"), *bias = soma__nn_slot(m, "bias");
    if (!weight)
        return;
    double bound = soma_size(weight, 1) > 0 ? 1.0 / sqrt((double)soma_size(weight, 1)) : 0;
    soma_init_uniform_(weight, -bound, bound);
    if (bias)
        soma_init_uniform_(bias, -bound, bound);
}

static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) {
    if (!soma__nn_one_input(m, in, n, 1, 0))
        return NULL;
    int64_t features = soma_size(in[0], -1);
    if (!made(m)) {
        if (features < 1) {
            soma_fail(SOMA_ESHAPE, "the input has no features");
            return NULL;
        }
        if (soma__nn_materialise(m, &soma__nn_linear_lazy, features, true) != SOMA_OK)
            return NULL;
    }
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (soma_ndim(weight) != 2 || soma_size(weight, 1) != features) {
        char x[SOMA__SHAPE_TEXT], w[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "input %s does not fit weight %s",
                  soma__shape_text(soma_ndim(in[0]), soma_shape(in[0]), x, sizeof x),
                  soma__shape_text(soma_ndim(weight), soma_shape(weight), w, sizeof w));
        return NULL;
    }
    return soma_linear(in[0], weight, soma__nn_slot(m, "bias"));
}

const soma_module_class soma__nn_linear_class = {
    .size = sizeof(soma_module_class), .name = "Linear", .state_bytes = sizeof(soma__nn_linear_state),
    .forward = forward, .describe = soma__nn_describe_word, .reset = reset,
};
const soma__nn_lazy soma__nn_linear_lazy = {&soma__nn_linear_class, in_of_weight, make, made};

soma_module *soma_nn_linear_ex(int64_t in, int64_t out, const soma_nn_linear_opts *opts) {
    if (!soma__nn_size_ok("Linear", "in", in, true) || !soma__nn_size_ok("Linear", "out", out, false))
        return NULL;
    soma_module *m = soma_nn_module_new(&soma__nn_linear_class);
    if (!m)
        return NULL;
    *(soma__nn_linear_state *)m->state = (soma__nn_linear_state){in, out, opts && opts->no_bias};
    if (in > 0 && soma__nn_materialise(m, &soma__nn_linear_lazy, in, true) != SOMA_OK) {
        soma_nn_free(m);
        return NULL;
    }
    return m;
}
