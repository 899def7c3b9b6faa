/* Words of descriptions: activations. */
#include "nn/nn.h"

SOMA__WORD_MAKE(identity, soma_nn_identity())
SOMA__WORD_MAKE(relu, soma_nn_relu())
SOMA__WORD_MAKE(gelu, soma_nn_gelu())
SOMA__WORD_MAKE(silu, soma_nn_silu())
SOMA__WORD_MAKE(softplus, soma_nn_softplus())
SOMA__WORD_MAKE(sigmoid, soma_nn_sigmoid())
SOMA__WORD_MAKE(tanh, soma_nn_tanh())
SOMA__WORD_MAKE(leakyrelu, soma_nn_leaky_relu(v[0].r))
SOMA__WORD_MAKE(elu, soma_nn_elu(v[0].r))
SOMA__WORD_MAKE(hardtanh, soma_nn_hardtanh(v[0].given ? v[0].r : -1, v[1].given ? v[1].r : 1))
SOMA__WORD_MAKE(step, soma_nn_step(v[0].r))
SOMA__WORD_MAKE(softmax, soma_nn_softmax(v[0].given ? v[0].i[0] : -1))
SOMA__WORD_MAKE(logsoftmax, soma_nn_log_softmax(v[0].given ? v[0].i[0] : -1))

static bool real_read(soma_module *m, soma__nn_value *v, double ordinary) {
    SOMA__STATE(act);
    v[0] = soma__nn_real(s->a != ordinary, s->a);
    return true;
}
static bool leakyrelu_read(soma_module *m, soma__nn_value *v) { return real_read(m, v, 0.01); }
static bool elu_read(soma_module *m, soma__nn_value *v) { return real_read(m, v, 1); }
static bool step_read(soma_module *m, soma__nn_value *v) { return real_read(m, v, 0); }
static bool hardtanh_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    bool given = s->a != -1 || s->b != 1;
    v[0] = soma__nn_real(given, s->a);
    v[1] = soma__nn_real(given, s->b);
    return true;
}
static bool dim_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    v[0] = soma__nn_int(s->dim != -1, s->dim);
    return true;
}

const soma__nn_word soma__nn_words_act[] = {
    {.word = "relu", .cls = &soma__nn_relu_class, .make = relu_make, .read = soma__nn_nothing_read, .activation = true, .help = "max(x, 0)"},
    {.word = "leakyrelu", .cls = &soma__nn_leaky_relu_class, .make = leakyrelu_make, .read = leakyrelu_read, .activation = true,
     .help = "x, below 0 slope x (0.01 unless given)", .args = {{SOMA__ARG_REAL, NULL, "slope", false, SOMA__REAL_ANY}}},
    {.word = "elu", .cls = &soma__nn_elu_class, .make = elu_make, .read = elu_read, .activation = true,
     .help = "x, below 0 alpha (exp(x) - 1) (1 unless given)", .args = {{SOMA__ARG_REAL, NULL, "alpha", false, SOMA__REAL_ANY}}},
    {.word = "gelu", .cls = &soma__nn_gelu_class, .make = gelu_make, .read = soma__nn_nothing_read, .activation = true,
     .help = "x times the normal distribution function of x"},
    {.word = "silu", .cls = &soma__nn_silu_class, .make = silu_make, .read = soma__nn_nothing_read, .activation = true,
     .help = "x sigmoid(x)"},
    {.word = "softplus", .cls = &soma__nn_softplus_class, .make = softplus_make, .read = soma__nn_nothing_read, .activation = true,
     .help = "log(1 + exp(x))"},
    {.word = "sigmoid", .cls = &soma__nn_sigmoid_class, .make = sigmoid_make, .read = soma__nn_nothing_read, .activation = true,
     .help = "1 / (1 + exp(-x))"},
    {.word = "tanh", .cls = &soma__nn_tanh_class, .make = tanh_make, .read = soma__nn_nothing_read, .activation = true,
     .help = "hyperbolic tangent"},
    {.word = "hardtanh", .cls = &soma__nn_hardtanh_class, .make = hardtanh_make, .read = hardtanh_read, .activation = true,
     .help = "x, limited to a range (-1 to 1 unless given)",
     .args = {{SOMA__ARG_REAL, NULL, "low", false, SOMA__REAL_ANY}, {SOMA__ARG_REAL, NULL, "high", false, SOMA__REAL_ANY}}},
    {.word = "step", .cls = &soma__nn_step_class, .make = step_make, .read = step_read, .activation = true,
     .help = "1 from the threshold on (0 unless given), else 0; has no gradient",
     .args = {{SOMA__ARG_REAL, NULL, "threshold", false, SOMA__REAL_ANY}}},
    {.word = "softmax", .cls = &soma__nn_softmax_class, .make = softmax_make, .read = dim_read, .activation = true,
     .help = "positive values with sum 1 along a dimension (the last unless given)",
     .args = {{SOMA__ARG_INT, NULL, "dim", false, -8, 7}}},
    {.word = "logsoftmax", .cls = &soma__nn_log_softmax_class, .make = logsoftmax_make, .read = dim_read, .activation = true,
     .help = "logarithm of softmax", .args = {{SOMA__ARG_INT, NULL, "dim", false, -8, 7}}},
    {.word = "identity", .cls = &soma__nn_identity_class, .make = identity_make, .read = soma__nn_nothing_read, .activation = true,
     .help = "x"},
    {.word = NULL},
};
