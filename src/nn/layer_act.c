/* Layers without parameters: activations, dropout, identity. */
#include "nn/nn.h"

#include <math.h>

#define ACT(id, operation)                                                                                      \
    static soma_tensor *id##_forward(soma_module *m, soma_tensor *const *in, int n) {                           \
        const soma__nn_act_state *s = m->state;                                                                 \
        (void)s;                                                                                                \
        return soma__nn_one_input(m, in, n, 0, 0) ? (operation) : NULL;                                         \
    }
ACT(relu, soma_relu(in[0]))
ACT(leaky_relu, soma_leaky_relu(in[0], s->a))
ACT(elu, soma_elu(in[0], s->a))
ACT(gelu, soma_gelu(in[0]))
ACT(silu, soma_silu(in[0]))
ACT(softplus, soma_softplus(in[0]))
ACT(sigmoid, soma_sigmoid(in[0]))
ACT(tanh, soma_tanh(in[0]))
ACT(hardtanh, soma_hardtanh(in[0], s->a, s->b))
ACT(step, soma_step(in[0], s->a))
ACT(softmax, soma_softmax(in[0], s->dim))
ACT(log_softmax, soma_log_softmax(in[0], s->dim))
ACT(identity, in[0])
ACT(dropout, soma_dropout(in[0], s->a, soma__nn_learns(m)))

#define CLASS(id, shown)                                                                                        \
    const soma_module_class soma__nn_##id##_class = {                                                           \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(soma__nn_act_state),            \
        .forward = id##_forward, .describe = soma__nn_describe_word,                                            \
    };
CLASS(relu, "ReLU")
CLASS(leaky_relu, "LeakyReLU")
CLASS(elu, "ELU")
CLASS(gelu, "GELU")
CLASS(silu, "SiLU")
CLASS(softplus, "Softplus")
CLASS(sigmoid, "Sigmoid")
CLASS(tanh, "Tanh")
CLASS(hardtanh, "Hardtanh")
CLASS(step, "Step")
CLASS(softmax, "Softmax")
CLASS(log_softmax, "LogSoftmax")
CLASS(identity, "Identity")
CLASS(dropout, "Dropout")

static soma_module *act_new(const soma_module_class *cls, double a, double b, int64_t dim) {
    if (isnan(a) || isnan(b)) {
        soma_fail(SOMA_EINVAL, "%s: an argument is NaN", cls->name);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(cls);
    if (m)
        *(soma__nn_act_state *)m->state = (soma__nn_act_state){a, b, dim};
    return m;
}

soma_module *soma_nn_dropout(double p) {
    if (!(p >= 0 && p <= 1)) {
        soma_fail(SOMA_EINVAL, "Dropout: the probability must be from 0 to 1, not %g", p);
        return NULL;
    }
    return act_new(&soma__nn_dropout_class, p, 0, 0);
}

soma_module *soma_nn_identity(void) { return act_new(&soma__nn_identity_class, 0, 0, 0); }
soma_module *soma_nn_relu(void) { return act_new(&soma__nn_relu_class, 0, 0, 0); }
soma_module *soma_nn_leaky_relu(double slope) { return act_new(&soma__nn_leaky_relu_class, slope == 0 ? 0.01 : slope, 0, 0); }
soma_module *soma_nn_elu(double alpha) { return act_new(&soma__nn_elu_class, alpha == 0 ? 1 : alpha, 0, 0); }
soma_module *soma_nn_gelu(void) { return act_new(&soma__nn_gelu_class, 0, 0, 0); }
soma_module *soma_nn_silu(void) { return act_new(&soma__nn_silu_class, 0, 0, 0); }
soma_module *soma_nn_softplus(void) { return act_new(&soma__nn_softplus_class, 0, 0, 0); }
soma_module *soma_nn_sigmoid(void) { return act_new(&soma__nn_sigmoid_class, 0, 0, 0); }
soma_module *soma_nn_tanh(void) { return act_new(&soma__nn_tanh_class, 0, 0, 0); }

soma_module *soma_nn_hardtanh(double min, double max) {
    if (min == 0 && max == 0) {
        min = -1;
        max = 1;
    }
    if (!(min < max)) {
        soma_fail(SOMA_EINVAL, "Hardtanh: the lower bound %g must be below the upper bound %g", min, max);
        return NULL;
    }
    return act_new(&soma__nn_hardtanh_class, min, max, 0);
}

soma_module *soma_nn_step(double threshold) { return act_new(&soma__nn_step_class, threshold, 0, 0); }
soma_module *soma_nn_softmax(int64_t dim) { return act_new(&soma__nn_softmax_class, 0, 0, dim); }
soma_module *soma_nn_log_softmax(int64_t dim) { return act_new(&soma__nn_log_softmax_class, 0, 0, dim); }
