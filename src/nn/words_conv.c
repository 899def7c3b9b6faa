/* Words of descriptions: convolutions. */
#include "nn/nn.h"

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
static bool conv_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(conv2d);
    v[CONV_OUT] = soma__nn_int(true, s->out);
    v[CONV_WINDOW] = soma__nn_ints(2, s->kernel, 0);
    v[CONV_STRIDE] = soma__nn_ints(2, s->o.stride, 1);
    if (!s->o.padding_same)
        v[CONV_PAD] = soma__nn_ints(2, s->o.padding, 0);
    v[CONV_SAME].given = s->o.padding_same;
    v[CONV_DILATION] = soma__nn_ints(2, s->o.dilation, 1);
    v[CONV_GROUPS] = soma__nn_int(s->o.groups != 1, s->o.groups);
    v[CONV_NOBIAS].given = s->o.no_bias;
    return true;
}

const soma__nn_word soma__nn_words_conv[] = {
    {.word = "conv", .cls = &soma__nn_conv2d_class, .make = conv_make, .read = conv_read, .takes_activation = true,
     .help = "2-d convolution; without `pad` or `same` the output is smaller than the input, as in PyTorch",
     .args = {{SOMA__ARG_INT, NULL, "channels", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_PAIR, NULL, "window", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_PAIR, "stride", "stride", false, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_PAIR, "pad", "padding", false, SOMA__SIZE_FROM(0)},
              {SOMA__ARG_FLAG, "same", "", false, 0, 0},
              {SOMA__ARG_PAIR, "dilation", "dilation", false, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "groups", "groups", false, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_FLAG, "nobias", "", false, 0, 0}}},
    {.word = NULL},
};
