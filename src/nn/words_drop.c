/* Words of descriptions: dropout. */
#include "nn/nn.h"

SOMA__WORD_MAKE(dropout, soma_nn_dropout(v[0].given ? v[0].r : 0.5))

static bool dropout_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    v[0] = soma__nn_real(true, s->a);
    return true;
}

const soma__nn_word soma__nn_words_drop[] = {
    {.word = "dropout", .cls = &soma__nn_dropout_class, .make = dropout_make, .read = dropout_read,
     .help = "in training, zeroes values with this probability (0.5 unless given)",
     .args = {{SOMA__ARG_REAL, NULL, "probability", false, 0, 1}}},
    {.word = NULL},
};
