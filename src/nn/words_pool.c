/* Words of descriptions: pooling. */
#include "nn/nn.h"

static soma_module *maxpool_make(const soma__nn_value *v) { return soma_nn_max_pool2d(v[0].i[0], v[1].i[0], v[2].i[0]); }
static soma_module *avgpool_make(const soma__nn_value *v) { return soma_nn_avg_pool2d(v[0].i[0], v[1].i[0], v[2].i[0]); }
static bool pool_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(pool);
    v[0] = soma__nn_int(true, s->kernel);
    v[1] = soma__nn_int(s->stride != s->kernel, s->stride);
    v[2] = soma__nn_int(s->padding != 0, s->padding);
    return true;
}
static soma_module *gap_make(const soma__nn_value *v) {
    (void)v;
    return soma_nn_adaptive_avg_pool2d(1, 1);
}
static bool gap_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(out);
    (void)v;
    return s->out[0] == 1 && s->out[1] == 1;
}
static soma_module *adaptive_make(const soma__nn_value *v) { return soma_nn_adaptive_avg_pool2d(v[0].i[0], v[0].i[1]); }
static bool adaptive_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(out);
    v[0] = soma__nn_ints(2, s->out, 0);
    return true;
}

const soma__nn_word soma__nn_words_pool[] = {
    {.word = "maxpool", .cls = &soma__nn_max_pool2d_class, .make = maxpool_make, .read = pool_read,
     .help = "largest value of each window; the stride is the window's size unless given",
     .args = {{SOMA__ARG_INT, NULL, "window", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "stride", "stride", false, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "pad", "padding", false, SOMA__SIZE_FROM(0)}}},
    {.word = "avgpool", .cls = &soma__nn_avg_pool2d_class, .make = avgpool_make, .read = pool_read,
     .help = "mean of each window; the stride is the window's size unless given",
     .args = {{SOMA__ARG_INT, NULL, "window", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "stride", "stride", false, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "pad", "padding", false, SOMA__SIZE_FROM(0)}}},
    {.word = "gap", .cls = &soma__nn_adaptive_avg_pool2d_class, .make = gap_make, .read = gap_read,
     .help = "global average pooling: one number a channel, [N, C, 1, 1]"},
    {.word = "adaptiveavgpool", .cls = &soma__nn_adaptive_avg_pool2d_class, .make = adaptive_make, .read = adaptive_read,
     .help = "average pooling to a plane of the given size",
     .args = {{SOMA__ARG_PAIR, NULL, "size", true, SOMA__SIZE_FROM(1)}}},
    {.word = NULL},
};
