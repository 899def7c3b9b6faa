/* Models by name: words that stand for the description they are written with. */
#include "nn/nn.h"

static void lenet_expand(const soma__nn_value *v, soma__text *t) {
    soma__text_add(t,
                   "conv 6 5 pad 2 tanh, avgpool 2, conv 16 5 tanh, avgpool 2, conv 120 5 tanh, flatten, linear 84 tanh, linear %lld",
                   (long long)(v[0].given ? v[0].i[0] : 10));
}

#define CLASSES {SOMA__ARG_INT, "classes", "classes", false, SOMA__SIZE_FROM(1)}

const soma__nn_word soma__nn_words_model[] = {
    {.word = "lenet", .expand = lenet_expand, .help = "LeNet-5 for 28 x 28 images (LeCun et al. 1998)", .args = {CLASSES}},
    {.word = NULL},
};
