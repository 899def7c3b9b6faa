/* Words of descriptions: pooling. */
#include "nn/nn.h"

/* window, stride, pad, ceil, then what the kind has: dilation; excludepad and divisor; power */
enum { WINDOW, STRIDE, PAD, CEIL, DILATION, PLACES, EXCLUDE_PAD = DILATION, DIVISOR };

static soma_nn_pool_opts opts(int dims, const soma__nn_value *v) {
    soma_nn_pool_opts o = {.ceil_mode = v[CEIL].given, .size = sizeof o};
    for (int i = 0; i < dims; i++) {
        o.stride[i] = v[STRIDE].i[i];
        o.padding[i] = v[PAD].i[i] == 0 && i > 0 ? -1 : v[PAD].i[i];
    }
    return o;
}

static soma_module *max_make(int dims, const soma__nn_value *v) {
    soma_nn_pool_opts o = opts(dims, v);
    for (int i = 0; i < dims; i++)
        o.dilation[i] = v[DILATION].i[i];
    o.return_indices = v[PLACES].given;
    return soma_nn_max_pool_ex(dims, v[WINDOW].i, &o);
}

static soma_module *avg_make(int dims, const soma__nn_value *v) {
    soma_nn_pool_opts o = opts(dims, v);
    o.count_exclude_pad = v[EXCLUDE_PAD].given;
    o.divisor_override = dims > 1 ? v[DIVISOR].i[0] : 0;
    return soma_nn_avg_pool_ex(dims, v[WINDOW].i, &o);
}

static void common_read(const soma__nn_pool_state *s, soma__nn_value *v) {
    v[WINDOW] = soma__nn_ints(s->dims, s->kernel, 0);
    v[STRIDE] = soma__nn_ints(s->dims, s->stride, 0);
    v[STRIDE].given = false;
    for (int i = 0; i < s->dims; i++)
        v[STRIDE].given = v[STRIDE].given || s->stride[i] != s->kernel[i];
    v[PAD] = soma__nn_ints(s->dims, s->padding, 0);
    v[CEIL].given = s->ceil;
}

static bool max_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(pool);
    common_read(s, v);
    v[DILATION] = soma__nn_ints(s->dims, s->dilation, 1);
    v[PLACES].given = s->places;
    return true;
}

static bool avg_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(pool);
    common_read(s, v);
    v[EXCLUDE_PAD].given = s->exclude_pad;
    if (s->dims > 1)
        v[DIVISOR] = soma__nn_int(s->divisor != 0, s->divisor);
    return true;
}

/* power, window, stride, ceil */
static soma_module *lp_make(int dims, const soma__nn_value *v) {
    soma_nn_pool_opts o = {.ceil_mode = v[3].given, .size = sizeof o};
    for (int i = 0; i < dims; i++)
        o.stride[i] = v[2].i[i];
    return soma_nn_lp_pool_ex(dims, v[0].r, v[1].i, &o);
}

static bool lp_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(pool);
    soma__nn_value common[SOMA__NN_MAX_ARGS] = {0};
    common_read(s, common);
    v[0] = soma__nn_real(true, s->p);
    v[1] = common[WINDOW];
    v[2] = common[STRIDE];
    v[3] = common[CEIL];
    return true;
}

static bool gap_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(pool);
    (void)v;
    return s->kernel[0] == 1 && s->kernel[1] == 1;
}

static bool size_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(pool);
    v[0] = soma__nn_ints(s->dims, s->kernel, 0);
    return true;
}

static const int64_t ones[] = {1, 1};
SOMA__WORD_MAKE(max_pool1d, max_make(1, v))
SOMA__WORD_MAKE(max_pool2d, max_make(2, v))
SOMA__WORD_MAKE(max_pool3d, max_make(3, v))
SOMA__WORD_MAKE(avg_pool1d, avg_make(1, v))
SOMA__WORD_MAKE(avg_pool2d, avg_make(2, v))
SOMA__WORD_MAKE(avg_pool3d, avg_make(3, v))
SOMA__WORD_MAKE(unpool, soma_nn_max_unpool())
SOMA__WORD_MAKE(lp_pool1d, lp_make(1, v))
SOMA__WORD_MAKE(lp_pool2d, lp_make(2, v))
SOMA__WORD_MAKE(gap, soma_nn_adaptive_avg_pool_ex(2, ones))
SOMA__WORD_MAKE(gmp, soma_nn_adaptive_max_pool_ex(2, ones))
SOMA__WORD_MAKE(adaptive_avg_pool1d, soma_nn_adaptive_avg_pool_ex(1, v[0].i))
SOMA__WORD_MAKE(adaptive_avg_pool2d, soma_nn_adaptive_avg_pool_ex(2, v[0].i))
SOMA__WORD_MAKE(adaptive_avg_pool3d, soma_nn_adaptive_avg_pool_ex(3, v[0].i))
SOMA__WORD_MAKE(adaptive_max_pool1d, soma_nn_adaptive_max_pool_ex(1, v[0].i))
SOMA__WORD_MAKE(adaptive_max_pool2d, soma_nn_adaptive_max_pool_ex(2, v[0].i))
SOMA__WORD_MAKE(adaptive_max_pool3d, soma_nn_adaptive_max_pool_ex(3, v[0].i))

#define ARG(kind, word, name, low) {kind, word, name, false, SOMA__SIZE_FROM(low)}
#define FLAG(word) {SOMA__ARG_FLAG, word, "", false, 0, 0}
#define COMMON(kind)                                                                                                      \
    {kind, NULL, "window", true, SOMA__SIZE_FROM(1)}, ARG(kind, "stride", "stride", 1), ARG(kind, "pad", "padding", 0), FLAG("ceil")
#define MAX(id, kind)                                                                                                     \
    .cls = &soma__nn_##id##_class, .make = id##_make, .read = max_read,                                                   \
    .args = SOMA__ARGS(COMMON(kind), ARG(kind, "dilation", "dilation", 1), FLAG("places"))
#define AVG(id, kind)                                                                                                     \
    .cls = &soma__nn_##id##_class, .make = id##_make, .read = avg_read,                                                   \
    .args = SOMA__ARGS(COMMON(kind), FLAG("excludepad"), ARG(SOMA__ARG_INT, "divisor", "number", 1))
#define LP(id, kind)                                                                                                      \
    .cls = &soma__nn_##id##_class, .make = id##_make, .read = lp_read,                                                    \
    .args = SOMA__ARGS({SOMA__ARG_REAL, NULL, "power", true, 1e-3, 1e3}, {kind, NULL, "window", true, SOMA__SIZE_FROM(1)},          \
             ARG(kind, "stride", "stride", 1), FLAG("ceil"))
#define ADAPTIVE(id, kind)                                                                                                \
    .cls = &soma__nn_##id##_class, .make = id##_make, .read = size_read, .args = SOMA__ARGS({kind, NULL, "size", true, SOMA__SIZE_FROM(1)})

const soma__nn_word soma__nn_words_pool[] = {
    {.word = "maxpool", MAX(max_pool2d, SOMA__ARG_PAIR),
     .help = "largest value of each window; the stride is the window's size unless given; `ceil`: a window that reaches over the end counts"},
    {.word = "maxpool1d", MAX(max_pool1d, SOMA__ARG_INT), .help = "the same for [N, C, L]"},
    {.word = "maxpool3d", MAX(max_pool3d, SOMA__ARG_TRIPLE), .help = "the same for [N, C, D, H, W]"},
    {.word = "maxunpool", .cls = &soma__nn_max_unpool_class, .make = unpool_make, .read = soma__nn_nothing_read, .may_tie = true,
     .must_tie = true,
     .help = "puts values back where the maxpool of this name, which must say `places`, found them; zeros elsewhere. As large as its input"},
    {.word = "avgpool", AVG(avg_pool2d, SOMA__ARG_PAIR),
     .help = "mean of each window; the stride is the window's size unless given; `excludepad`: padding does not count"},
    {.word = "avgpool1d", .cls = &soma__nn_avg_pool1d_class, .make = avg_pool1d_make, .read = avg_read, .help = "the same for [N, C, L]",
     .args = SOMA__ARGS(COMMON(SOMA__ARG_INT), FLAG("excludepad"))},
    {.word = "avgpool3d", AVG(avg_pool3d, SOMA__ARG_TRIPLE), .help = "the same for [N, C, D, H, W]"},
    {.word = "lppool", LP(lp_pool2d, SOMA__ARG_PAIR), .help = "(sum of x^POWER over each window)^(1/POWER)"},
    {.word = "lppool1d", LP(lp_pool1d, SOMA__ARG_INT), .help = "the same for [N, C, L]"},
    {.word = "gap", .cls = &soma__nn_adaptive_avg_pool2d_class, .make = gap_make, .read = gap_read,
     .help = "global average pooling: one number a channel, [N, C, 1, 1]"},
    {.word = "gmp", .cls = &soma__nn_adaptive_max_pool2d_class, .make = gmp_make, .read = gap_read,
     .help = "global max pooling: one number a channel, [N, C, 1, 1]"},
    {.word = "adaptiveavgpool", ADAPTIVE(adaptive_avg_pool2d, SOMA__ARG_PAIR), .help = "average pooling to a plane of the given size"},
    {.word = "adaptiveavgpool1d", ADAPTIVE(adaptive_avg_pool1d, SOMA__ARG_INT), .help = "the same for [N, C, L]"},
    {.word = "adaptiveavgpool3d", ADAPTIVE(adaptive_avg_pool3d, SOMA__ARG_TRIPLE), .help = "the same for [N, C, D, H, W]"},
    {.word = "adaptivemaxpool", ADAPTIVE(adaptive_max_pool2d, SOMA__ARG_PAIR), .help = "max pooling to a plane of the given size"},
    {.word = "adaptivemaxpool1d", ADAPTIVE(adaptive_max_pool1d, SOMA__ARG_INT), .help = "the same for [N, C, L]"},
    {.word = "adaptivemaxpool3d", ADAPTIVE(adaptive_max_pool3d, SOMA__ARG_TRIPLE), .help = "the same for [N, C, D, H, W]"},
    {.word = NULL},
};
