/* Words of descriptions: normalisation. */
#include "nn/nn.h"

SOMA__WORD_MAKE(batchnorm, soma_nn_batch_norm(0))
SOMA__WORD_MAKE(layernorm, soma_nn_layer_norm(0))

const soma__nn_word soma__nn_words_norm[] = {
    {.word = "batchnorm", .cls = &soma__nn_batch_norm_class, .make = batchnorm_make, .read = soma__nn_nothing_read, .takes_activation = true,
     .help = "batch normalisation of the channels, with running statistics"},
    {.word = "layernorm", .cls = &soma__nn_layer_norm_class, .make = layernorm_make, .read = soma__nn_nothing_read,
     .help = "layer normalisation over the last dimension"},
    {.word = NULL},
};
