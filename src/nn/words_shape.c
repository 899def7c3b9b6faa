/* Words of descriptions: layers that only rearrange. */
#include "nn/nn.h"

SOMA__WORD_MAKE(flatten, soma_nn_flatten_dims(v[0].given ? (int)v[0].i[0] : 1, v[1].given ? (int)v[1].i[0] : -1))
SOMA__WORD_MAKE(reshape, soma_nn_reshape(v[0].n, v[0].i))
SOMA__WORD_MAKE(unflatten, soma_nn_unflatten(v[1].given ? (int)v[1].i[0] : 1, v[0].n, v[0].i))
SOMA__WORD_MAKE(shuffle, soma_nn_pixel_shuffle(v[0].i[0]))
SOMA__WORD_MAKE(unshuffle, soma_nn_pixel_unshuffle(v[0].i[0]))

static bool flatten_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(shape);
    v[0] = soma__nn_int(s->first != 1, s->first);
    v[1] = soma__nn_int(s->last != -1, s->last);
    return true;
}
static bool sizes_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(shape);
    v[0] = soma__nn_ints(s->n, s->sizes, 0);
    v[1] = soma__nn_int(m->cls == &soma__nn_unflatten_class && s->first != 1, s->first);
    return s->n > 0;
}
static bool factor_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(shape);
    v[0] = soma__nn_int(true, s->first);
    return true;
}

#define SIZES {SOMA__ARG_LIST, NULL, "sizes", true, -1, (double)SOMA__NN_MAX_SIZE}
#define FACTOR {SOMA__ARG_INT, NULL, "factor", true, 1, 32768}

const soma__nn_word soma__nn_words_shape[] = {
    {.word = "flatten", .cls = &soma__nn_flatten_class, .make = flatten_make, .read = flatten_read,
     .help = "all dimensions but the first become one, or those from one dimension to another",
     .args = SOMA__ARGS({SOMA__ARG_INT, "from", "dim", false, -8, 7}, {SOMA__ARG_INT, "to", "dim", false, -8, 7})},
    {.word = "reshape", .cls = &soma__nn_reshape_class, .make = reshape_make, .read = sizes_read,
     .help = "all dimensions but the first get these sizes; one may be -1, which stands for what is left", .args = SOMA__ARGS(SIZES)},
    {.word = "unflatten", .cls = &soma__nn_unflatten_class, .make = unflatten_make, .read = sizes_read,
     .help = "one dimension (the second unless given) becomes several", .args = SOMA__ARGS(SIZES, {SOMA__ARG_INT, "dim", "dim", false, -8, 7})},
    {.word = "pixelshuffle", .cls = &soma__nn_shuffle_class, .make = shuffle_make, .read = factor_read,
     .help = "[N, C r r, H, W] to [N, C, H r, W r]: channels become pixels", .args = SOMA__ARGS(FACTOR)},
    {.word = "pixelunshuffle", .cls = &soma__nn_unshuffle_class, .make = unshuffle_make, .read = factor_read,
     .help = "the inverse of pixelshuffle", .args = SOMA__ARGS(FACTOR)},
    {.word = NULL},
};
