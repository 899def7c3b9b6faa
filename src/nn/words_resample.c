/* Words of descriptions: other resolutions, padding. */
#include "nn/nn.h"

/* scale, size, the modes but the first, align */
enum { SCALE, SIZE, MODES, ALIGN = MODES + 5 };

static soma_module *upsample_make(const soma__nn_value *v) {
    soma_nn_upsample_opts o = {.scale = v[SCALE].r, .align_corners = v[ALIGN].given, .size_of = sizeof o};
    int modes = 0;
    for (int i = 0; i < 5; i++) {
        if (!v[MODES + i].given)
            continue;
        modes++;
        o.mode = soma__nn_upsample_mode(i + 1);
    }
    if (modes > 1 || v[SIZE].n > 3) {
        soma_fail(SOMA_EINVAL, "upsample: %s", modes > 1 ? "there can be one mode" : "there are at most three sizes");
        return NULL;
    }
    for (int i = 0; i < v[SIZE].n; i++)
        o.size[i] = v[SIZE].i[i];
    return soma_nn_upsample_ex(&o);
}

static bool upsample_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(resample);
    int n = 0;
    while (n < 3 && s->size[n] > 0)
        n++;
    v[SCALE] = soma__nn_real(s->scale != 0, s->scale);
    if (n > 0)
        v[SIZE] = soma__nn_ints(n, s->size, 0);
    if (s->mode > 0)
        v[MODES + s->mode - 1].given = true;
    v[ALIGN].given = s->align;
    return true;
}

/* One number pads an image on all four sides; a list is PyTorch's: left, right, top, bottom … */
static soma_module *pad(const soma__nn_value *v, soma_module *(*make)(int n, const int64_t *pad)) {
    const int64_t x = v[0].i[0];
    return v[0].n == 1 ? make(4, (const int64_t[]){x, x, x, x}) : make(v[0].n, v[0].i);
}

static bool pad_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(pad);
    bool equal = s->n == 4;
    for (int i = 0; i < s->n; i++)
        equal = equal && s->pad[i] == s->pad[0];
    v[0] = soma__nn_ints(equal ? 1 : s->n, s->pad, INT64_MIN);
    v[1] = soma__nn_real(s->value != 0, s->value);
    return true;
}

static soma_module *constant_make(const soma__nn_value *v) {
    const int64_t x = v[0].i[0];
    return v[0].n == 1 ? soma_nn_constant_pad(4, (const int64_t[]){x, x, x, x}, v[1].r) : soma_nn_constant_pad(v[0].n, v[0].i, v[1].r);
}
SOMA__WORD_MAKE(reflection, pad(v, soma_nn_reflection_pad))
SOMA__WORD_MAKE(replication, pad(v, soma_nn_replication_pad))
SOMA__WORD_MAKE(circular, pad(v, soma_nn_circular_pad))

#define FLAG(word) {SOMA__ARG_FLAG, word, "", false, 0, 0}
#define PAD(low) {SOMA__ARG_LIST, NULL, "sizes", true, low, (double)SOMA__NN_MAX_SIZE}

const soma__nn_word soma__nn_words_resample[] = {
    {.word = "upsample", .cls = &soma__nn_upsample_class, .make = upsample_make, .read = upsample_read,
     .help = "so many times as large, or to a size; the nearest value unless another mode is given; `align`: corners meet (align_corners)",
     .args = SOMA__ARGS({SOMA__ARG_REAL, NULL, "scale", false, 1e-6, 1e6},
              {SOMA__ARG_LIST, "size", "sizes", false, SOMA__SIZE_FROM(1)},
              FLAG("exact"), FLAG("linear"), FLAG("bilinear"), FLAG("trilinear"), FLAG("bicubic"), FLAG("align"))},
    {.word = "zeropad", .cls = &soma__nn_constant_pad_class, .make = constant_make, .read = pad_read,
     .help = "zeros (or another value) around images; several numbers: left x right, x top x bottom, x front x back; negative ones cut",
     .args = SOMA__ARGS(PAD(-(double)SOMA__NN_MAX_SIZE), {SOMA__ARG_REAL, "value", "value", false, SOMA__REAL_ANY})},
    {.word = "reflectionpad", .cls = &soma__nn_reflection_pad_class, .make = reflection_make, .read = pad_read,
     .help = "the same with the image reflected at its borders", .args = SOMA__ARGS(PAD(0))},
    {.word = "replicationpad", .cls = &soma__nn_replication_pad_class, .make = replication_make, .read = pad_read,
     .help = "the same with the border's values", .args = SOMA__ARGS(PAD(0))},
    {.word = "circularpad", .cls = &soma__nn_circular_pad_class, .make = circular_make, .read = pad_read,
     .help = "the same with the values from the other side", .args = SOMA__ARGS(PAD(0))},
    {.word = NULL},
};
