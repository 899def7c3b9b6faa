/* The words of network descriptions. This table is the only place that knows them: parsing, describing, messages and
 * docs/network.md are made from it. `make` and `read` are inverse to each other. */
#include "nn/nn.h"

#include <string.h>

#define STATE(type) const soma__nn_##type##_state *s = m->state

/* ---- Layers with parameters ---- */

enum { LINEAR_OUT, LINEAR_NOBIAS };
static soma_module *linear_make(const soma__nn_value *v) {
    return soma_nn_linear(0, v[LINEAR_OUT].i[0], .no_bias = v[LINEAR_NOBIAS].given);
}
static bool linear_read(soma_module *m, soma__nn_value *v) {
    STATE(linear);
    v[LINEAR_OUT] = (soma__nn_value){true, {s->out, s->out}, 0};
    v[LINEAR_NOBIAS].given = s->no_bias;
    return true;
}

enum { CONV_OUT, CONV_WINDOW, CONV_STRIDE, CONV_PAD, CONV_SAME, CONV_DILATION, CONV_GROUPS, CONV_NOBIAS };
static soma_module *conv_make(const soma__nn_value *v) {
    soma_nn_conv2d_opts o = {.groups = v[CONV_GROUPS].i[0], .padding_same = v[CONV_SAME].given, .no_bias = v[CONV_NOBIAS].given,
                             .size = sizeof o};
    for (int i = 0; i < 2; i++) {
        o.stride[i] = v[CONV_STRIDE].i[i];
        o.padding[i] = v[CONV_PAD].i[i];
        o.dilation[i] = v[CONV_DILATION].i[i];
    }
    soma_module *m = soma_nn_conv2d_ex(0, v[CONV_OUT].i[0], v[CONV_WINDOW].i[0], v[CONV_WINDOW].i[1], &o);
    if (m) /* "pad 1x0": in the options a second 0 would repeat the first */
        ((soma__nn_conv2d_state *)m->state)->o.padding[1] = v[CONV_PAD].i[1];
    return m;
}
static soma__nn_value pair(const int64_t *values, int64_t ordinary) {
    return (soma__nn_value){values[0] != ordinary || values[1] != ordinary, {values[0], values[1]}, 0};
}
static bool conv_read(soma_module *m, soma__nn_value *v) {
    STATE(conv2d);
    v[CONV_OUT] = (soma__nn_value){true, {s->out, s->out}, 0};
    v[CONV_WINDOW] = (soma__nn_value){true, {s->kernel[0], s->kernel[1]}, 0};
    v[CONV_STRIDE] = pair(s->o.stride, 1);
    if (!s->o.padding_same)
        v[CONV_PAD] = pair(s->o.padding, 0);
    v[CONV_SAME].given = s->o.padding_same;
    v[CONV_DILATION] = pair(s->o.dilation, 1);
    v[CONV_GROUPS] = (soma__nn_value){s->o.groups != 1, {s->o.groups, s->o.groups}, 0};
    v[CONV_NOBIAS].given = s->o.no_bias;
    return true;
}

static soma_module *batchnorm_make(const soma__nn_value *v) {
    (void)v;
    return soma_nn_batch_norm(0);
}
static soma_module *layernorm_make(const soma__nn_value *v) {
    (void)v;
    return soma_nn_layer_norm(0);
}
static bool nothing_read(soma_module *m, soma__nn_value *v) {
    (void)m;
    (void)v;
    return true;
}

/* ---- Pooling ---- */

static soma_module *maxpool_make(const soma__nn_value *v) { return soma_nn_max_pool2d(v[0].i[0], v[1].i[0], v[2].i[0]); }
static soma_module *avgpool_make(const soma__nn_value *v) { return soma_nn_avg_pool2d(v[0].i[0], v[1].i[0], v[2].i[0]); }
static bool pool_read(soma_module *m, soma__nn_value *v) {
    STATE(pool);
    v[0] = (soma__nn_value){true, {s->kernel, s->kernel}, 0};
    v[1] = (soma__nn_value){s->stride != s->kernel, {s->stride, s->stride}, 0};
    v[2] = (soma__nn_value){s->padding != 0, {s->padding, s->padding}, 0};
    return true;
}
static soma_module *gap_make(const soma__nn_value *v) {
    (void)v;
    return soma_nn_adaptive_avg_pool2d(1, 1);
}
static bool gap_read(soma_module *m, soma__nn_value *v) {
    STATE(out);
    (void)v;
    return s->out[0] == 1 && s->out[1] == 1;
}
static soma_module *adaptive_make(const soma__nn_value *v) { return soma_nn_adaptive_avg_pool2d(v[0].i[0], v[0].i[1]); }
static bool adaptive_read(soma_module *m, soma__nn_value *v) {
    STATE(out);
    v[0] = (soma__nn_value){true, {s->out[0], s->out[1]}, 0};
    return true;
}

/* ---- Without parameters ---- */

#define PLAIN(id, call)                                                        \
    static soma_module *id##_make(const soma__nn_value *v) {                   \
        (void)v;                                                               \
        return call;                                                           \
    }
PLAIN(flatten, soma_nn_flatten())
PLAIN(identity, soma_nn_identity())
PLAIN(relu, soma_nn_relu())
PLAIN(gelu, soma_nn_gelu())
PLAIN(silu, soma_nn_silu())
PLAIN(softplus, soma_nn_softplus())
PLAIN(sigmoid, soma_nn_sigmoid())
PLAIN(tanh, soma_nn_tanh())
PLAIN(dropout, soma_nn_dropout(v[0].given ? v[0].r : 0.5))
PLAIN(leakyrelu, soma_nn_leaky_relu(v[0].r))
PLAIN(elu, soma_nn_elu(v[0].r))
PLAIN(hardtanh, soma_nn_hardtanh(v[0].given ? v[0].r : -1, v[1].given ? v[1].r : 1))
PLAIN(step, soma_nn_step(v[0].r))
PLAIN(softmax, soma_nn_softmax(v[0].given ? v[0].i[0] : -1))
PLAIN(logsoftmax, soma_nn_log_softmax(v[0].given ? v[0].i[0] : -1))

static bool dropout_read(soma_module *m, soma__nn_value *v) {
    STATE(act);
    v[0] = (soma__nn_value){true, {0, 0}, s->a};
    return true;
}
static bool real_read(soma_module *m, soma__nn_value *v, double ordinary) {
    STATE(act);
    v[0] = (soma__nn_value){s->a != ordinary, {0, 0}, s->a};
    return true;
}
static bool leakyrelu_read(soma_module *m, soma__nn_value *v) { return real_read(m, v, 0.01); }
static bool elu_read(soma_module *m, soma__nn_value *v) { return real_read(m, v, 1); }
static bool step_read(soma_module *m, soma__nn_value *v) { return real_read(m, v, 0); }
static bool hardtanh_read(soma_module *m, soma__nn_value *v) {
    STATE(act);
    bool given = s->a != -1 || s->b != 1;
    v[0] = (soma__nn_value){given, {0, 0}, s->a};
    v[1] = (soma__nn_value){given, {0, 0}, s->b};
    return true;
}
static bool dim_read(soma_module *m, soma__nn_value *v) {
    STATE(act);
    v[0] = (soma__nn_value){s->dim != -1, {s->dim, s->dim}, 0};
    return true;
}

/* ---- The table ---- */

#define SIZE_FROM(low) .min = (low), .max = (double)SOMA__NN_MAX_SIZE
#define REAL_ANY .min = -1e30, .max = 1e30

const soma__nn_word soma__nn_words[] = {
    {.word = "conv", .cls = &soma__nn_conv2d_class, .make = conv_make, .read = conv_read, .takes_activation = true,
     .help = "2-d convolution; without `pad` or `same` the output is smaller than the input, as in PyTorch",
     .args = {{SOMA__ARG_INT, NULL, "channels", true, SIZE_FROM(1)},
              {SOMA__ARG_PAIR, NULL, "window", true, SIZE_FROM(1)},
              {SOMA__ARG_PAIR, "stride", "stride", false, SIZE_FROM(1)},
              {SOMA__ARG_PAIR, "pad", "padding", false, SIZE_FROM(0)},
              {SOMA__ARG_FLAG, "same", "", false, 0, 0},
              {SOMA__ARG_PAIR, "dilation", "dilation", false, SIZE_FROM(1)},
              {SOMA__ARG_INT, "groups", "groups", false, SIZE_FROM(1)},
              {SOMA__ARG_FLAG, "nobias", "", false, 0, 0}}},
    {.word = "linear", .cls = &soma__nn_linear_class, .make = linear_make, .read = linear_read, .takes_activation = true,
     .help = "fully connected layer over the last dimension",
     .args = {{SOMA__ARG_INT, NULL, "features", true, SIZE_FROM(1)}, {SOMA__ARG_FLAG, "nobias", "", false, 0, 0}}},
    {.word = "batchnorm", .cls = &soma__nn_batch_norm_class, .make = batchnorm_make, .read = nothing_read, .takes_activation = true,
     .help = "batch normalisation of the channels, with running statistics"},
    {.word = "layernorm", .cls = &soma__nn_layer_norm_class, .make = layernorm_make, .read = nothing_read,
     .help = "layer normalisation over the last dimension"},
    {.word = "maxpool", .cls = &soma__nn_max_pool2d_class, .make = maxpool_make, .read = pool_read,
     .help = "largest value of each window; the stride is the window's size unless given",
     .args = {{SOMA__ARG_INT, NULL, "window", true, SIZE_FROM(1)},
              {SOMA__ARG_INT, "stride", "stride", false, SIZE_FROM(1)},
              {SOMA__ARG_INT, "pad", "padding", false, SIZE_FROM(0)}}},
    {.word = "avgpool", .cls = &soma__nn_avg_pool2d_class, .make = avgpool_make, .read = pool_read,
     .help = "mean of each window; the stride is the window's size unless given",
     .args = {{SOMA__ARG_INT, NULL, "window", true, SIZE_FROM(1)},
              {SOMA__ARG_INT, "stride", "stride", false, SIZE_FROM(1)},
              {SOMA__ARG_INT, "pad", "padding", false, SIZE_FROM(0)}}},
    {.word = "gap", .cls = &soma__nn_adaptive_avg_pool2d_class, .make = gap_make, .read = gap_read,
     .help = "global average pooling: one number a channel, [N, C, 1, 1]"},
    {.word = "adaptiveavgpool", .cls = &soma__nn_adaptive_avg_pool2d_class, .make = adaptive_make, .read = adaptive_read,
     .help = "average pooling to a plane of the given size",
     .args = {{SOMA__ARG_PAIR, NULL, "size", true, SIZE_FROM(1)}}},
    {.word = "flatten", .cls = &soma__nn_flatten_class, .make = flatten_make, .read = nothing_read,
     .help = "all dimensions but the first become one"},
    {.word = "dropout", .cls = &soma__nn_dropout_class, .make = dropout_make, .read = dropout_read,
     .help = "in training, zeroes values with this probability (0.5 unless given)",
     .args = {{SOMA__ARG_REAL, NULL, "probability", false, 0, 1}}},
    {.word = "relu", .cls = &soma__nn_relu_class, .make = relu_make, .read = nothing_read, .activation = true, .help = "max(x, 0)"},
    {.word = "leakyrelu", .cls = &soma__nn_leaky_relu_class, .make = leakyrelu_make, .read = leakyrelu_read, .activation = true,
     .help = "x, below 0 slope x (0.01 unless given)", .args = {{SOMA__ARG_REAL, NULL, "slope", false, REAL_ANY}}},
    {.word = "elu", .cls = &soma__nn_elu_class, .make = elu_make, .read = elu_read, .activation = true,
     .help = "x, below 0 alpha (exp(x) - 1) (1 unless given)", .args = {{SOMA__ARG_REAL, NULL, "alpha", false, REAL_ANY}}},
    {.word = "gelu", .cls = &soma__nn_gelu_class, .make = gelu_make, .read = nothing_read, .activation = true,
     .help = "x times the normal distribution function of x"},
    {.word = "silu", .cls = &soma__nn_silu_class, .make = silu_make, .read = nothing_read, .activation = true,
     .help = "x sigmoid(x)"},
    {.word = "softplus", .cls = &soma__nn_softplus_class, .make = softplus_make, .read = nothing_read, .activation = true,
     .help = "log(1 + exp(x))"},
    {.word = "sigmoid", .cls = &soma__nn_sigmoid_class, .make = sigmoid_make, .read = nothing_read, .activation = true,
     .help = "1 / (1 + exp(-x))"},
    {.word = "tanh", .cls = &soma__nn_tanh_class, .make = tanh_make, .read = nothing_read, .activation = true,
     .help = "hyperbolic tangent"},
    {.word = "hardtanh", .cls = &soma__nn_hardtanh_class, .make = hardtanh_make, .read = hardtanh_read, .activation = true,
     .help = "x, limited to a range (-1 to 1 unless given)",
     .args = {{SOMA__ARG_REAL, NULL, "low", false, REAL_ANY}, {SOMA__ARG_REAL, NULL, "high", false, REAL_ANY}}},
    {.word = "step", .cls = &soma__nn_step_class, .make = step_make, .read = step_read, .activation = true,
     .help = "1 from the threshold on (0 unless given), else 0; has no gradient",
     .args = {{SOMA__ARG_REAL, NULL, "threshold", false, REAL_ANY}}},
    {.word = "softmax", .cls = &soma__nn_softmax_class, .make = softmax_make, .read = dim_read, .activation = true,
     .help = "positive values with sum 1 along a dimension (the last unless given)",
     .args = {{SOMA__ARG_INT, NULL, "dim", false, -8, 7}}},
    {.word = "logsoftmax", .cls = &soma__nn_log_softmax_class, .make = logsoftmax_make, .read = dim_read, .activation = true,
     .help = "logarithm of softmax", .args = {{SOMA__ARG_INT, NULL, "dim", false, -8, 7}}},
    {.word = "identity", .cls = &soma__nn_identity_class, .make = identity_make, .read = nothing_read, .activation = true,
     .help = "x"},
    {.word = "residual", .cls = &soma__nn_residual_class, .body = SOMA__BODY_RESIDUAL,
     .help = "x + f(x), where f is the layers in the parentheses"},
    {.word = "repeat", .body = SOMA__BODY_REPEAT, .help = "the layers in the parentheses, written so many times",
     .args = {{SOMA__ARG_INT, NULL, "times", true, 1, 4096}}},
};
const int soma__nn_n_words = (int)SOMA_LEN(soma__nn_words);

const soma__nn_word *soma__nn_find_word(const char *word) {
    for (int i = 0; i < soma__nn_n_words; i++)
        if (strcmp(soma__nn_words[i].word, word) == 0)
            return &soma__nn_words[i];
    return NULL;
}

const char *soma__nn_suggest_word(const char *word) {
    /* What other frameworks call them. */
    static const char *const others[][2] = {
        {"dense", "linear"}, {"fc", "linear"}, {"conv2d", "conv"}, {"bn", "batchnorm"}, {"batchnorm2d", "batchnorm"},
        {"batchnorm1d", "batchnorm"}, {"maxpool2d", "maxpool"}, {"avgpool2d", "avgpool"}, {"pool", "maxpool"}, {"swish", "silu"},
        {"globalavgpool", "gap"}, {"adaptiveavgpool2d", "adaptiveavgpool"}, {"leaky_relu", "leakyrelu"}, {"threshold", "step"},
    };
    const char *names[64];
    for (size_t i = 0; i < SOMA_LEN(others); i++)
        if (strcmp(others[i][0], word) == 0)
            return others[i][1];
    int n = SOMA_MIN(soma__nn_n_words, (int)SOMA_LEN(names));
    for (int i = 0; i < n; i++)
        names[i] = soma__nn_words[i].word;
    return soma__nearest(word, names, n);
}
