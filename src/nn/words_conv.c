/* Words of descriptions: convolutions. */
#include "nn/nn.h"

#include <string.h>

enum { CONV_OUT, CONV_WINDOW, CONV_STRIDE, CONV_PAD, CONV_DILATION, CONV_GROUPS, CONV_NOBIAS, CONV_SAME, CONV_OUTPAD = CONV_SAME };

static void put(int dims, const soma__nn_value *v, int64_t ordinary, int64_t *out) {
    for (int i = 0; i < dims; i++)
        out[i] = v->given ? v->i[i] : ordinary;
}

static soma_module *any_make(int dims, bool transposed, const soma__nn_value *v) {
    soma__nn_conv_state s = {.out = v[CONV_OUT].i[0], .dims = dims, .transposed = transposed,
                             .groups = v[CONV_GROUPS].given ? v[CONV_GROUPS].i[0] : 1, .no_bias = v[CONV_NOBIAS].given,
                             .same = !transposed && v[CONV_SAME].given};
    put(dims, &v[CONV_WINDOW], 1, s.kernel);
    put(dims, &v[CONV_STRIDE], 1, s.stride);
    put(dims, &v[CONV_PAD], 0, s.padding);
    put(dims, &v[CONV_DILATION], 1, s.dilation);
    if (transposed)
        put(dims, &v[CONV_OUTPAD], 0, s.output_padding);
    return soma__nn_conv_new(&s);
}

static bool conv_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(conv);
    v[CONV_OUT] = soma__nn_int(true, s->out);
    v[CONV_WINDOW] = soma__nn_ints(s->dims, s->kernel, 0);
    v[CONV_STRIDE] = soma__nn_ints(s->dims, s->stride, 1);
    if (!s->same)
        v[CONV_PAD] = soma__nn_ints(s->dims, s->padding, 0);
    v[CONV_DILATION] = soma__nn_ints(s->dims, s->dilation, 1);
    v[CONV_GROUPS] = soma__nn_int(s->groups != 1, s->groups);
    v[CONV_NOBIAS].given = s->no_bias;
    if (s->transposed)
        v[CONV_OUTPAD] = soma__nn_ints(s->dims, s->output_padding, 0);
    else
        v[CONV_SAME].given = s->same;
    return true;
}

SOMA__WORD_MAKE(conv1d, any_make(1, false, v))
SOMA__WORD_MAKE(conv2d, any_make(2, false, v))
SOMA__WORD_MAKE(conv3d, any_make(3, false, v))
SOMA__WORD_MAKE(conv_transpose1d, any_make(1, true, v))
SOMA__WORD_MAKE(conv_transpose2d, any_make(2, true, v))
SOMA__WORD_MAKE(conv_transpose3d, any_make(3, true, v))

#define COMMON(kind)                                                                                                          \
    {SOMA__ARG_INT, NULL, "channels", true, SOMA__SIZE_FROM(1)}, {kind, NULL, "window", true, SOMA__SIZE_FROM(1)},            \
        {kind, "stride", "stride", false, SOMA__SIZE_FROM(1)}, {kind, "pad", "padding", false, SOMA__SIZE_FROM(0)},           \
        {kind, "dilation", "dilation", false, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, "groups", "groups", false, SOMA__SIZE_FROM(1)}, \
    {                                                                                                                         \
        SOMA__ARG_FLAG, "nobias", "", false, 0, 0                                                                             \
    }
#define CONV(id, kind)                                                                                                        \
    .cls = &soma__nn_##id##_class, .make = id##_make, .read = conv_read, .takes_activation = true,                            \
    .args = SOMA__ARGS(COMMON(kind), {SOMA__ARG_FLAG, "same", "", false, 0, 0})
#define TRANSPOSED(id, kind)                                                                                                  \
    .cls = &soma__nn_##id##_class, .make = id##_make, .read = conv_read, .takes_activation = true, .may_tie = true,           \
    .args = SOMA__ARGS(COMMON(kind), {kind, "outpad", "rows", false, SOMA__SIZE_FROM(0)})

const soma__nn_word soma__nn_words_conv[] = {
    {.word = "conv", CONV(conv2d, SOMA__ARG_PAIR),
     .help = "2-d convolution; without `pad` or `same` the output is smaller than the input, as in PyTorch"},
    {.word = "conv1d", CONV(conv1d, SOMA__ARG_INT), .help = "1-d convolution of [N, C, L]"},
    {.word = "conv3d", CONV(conv3d, SOMA__ARG_TRIPLE), .help = "3-d convolution of [N, C, D, H, W]"},
    {.word = "convtranspose", TRANSPOSED(conv_transpose2d, SOMA__ARG_PAIR),
     .help = "transposed 2-d convolution, which enlarges: (H - 1) stride - 2 padding + dilation (window - 1) + outpad + 1 rows"},
    {.word = "convtranspose1d", TRANSPOSED(conv_transpose1d, SOMA__ARG_INT), .help = "transposed 1-d convolution of [N, C, L]"},
    {.word = "convtranspose3d", TRANSPOSED(conv_transpose3d, SOMA__ARG_TRIPLE), .help = "transposed 3-d convolution of [N, C, D, H, W]"},
    {.word = NULL},
};
