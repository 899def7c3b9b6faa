/* Words of descriptions: layers that only rearrange. */
#include "nn/nn.h"

SOMA__WORD_MAKE(flatten, soma_nn_flatten())

const soma__nn_word soma__nn_words_shape[] = {
    {.word = "flatten", .cls = &soma__nn_flatten_class, .make = flatten_make, .read = soma__nn_nothing_read,
     .help = "all dimensions but the first become one"},
    {.word = NULL},
};
