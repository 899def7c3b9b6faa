/* Words of descriptions: fully connected layers. */
#include "nn/nn.h"

enum { LINEAR_OUT, LINEAR_NOBIAS };
static soma_module *linear_make(const soma__nn_value *v) {
    return soma_nn_linear(0, v[LINEAR_OUT].i[0], .no_bias = v[LINEAR_NOBIAS].given);
}
static bool linear_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(linear);
    v[LINEAR_OUT] = soma__nn_int(true, s->out);
    v[LINEAR_NOBIAS].given = s->no_bias;
    return true;
}

SOMA__WORD_MAKE(bilinear, soma_nn_bilinear(0, 0, v[LINEAR_OUT].i[0], .no_bias = v[LINEAR_NOBIAS].given))
static bool bilinear_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(bilinear);
    v[LINEAR_OUT] = soma__nn_int(true, s->out);
    v[LINEAR_NOBIAS].given = s->no_bias;
    return true;
}

const soma__nn_word soma__nn_words_linear[] = {
    {.word = "linear", .cls = &soma__nn_linear_class, .make = linear_make, .read = linear_read, .takes_activation = true,
     .may_tie = true,
     .help = "fully connected layer over the last dimension",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "features", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_FLAG, "nobias", "", false, 0, 0})},
    {.word = "bilinear", .cls = &soma__nn_bilinear_class, .make = bilinear_make, .read = bilinear_read, .takes_activation = true, .inputs = 2,
     .help = "x1 A x2 + b, of two inputs with the same rows",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "features", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_FLAG, "nobias", "", false, 0, 0})},
    {.word = NULL},
};
