/* Words of descriptions: dropout and noise. */
#include "nn/nn.h"

#define P (v[0].given ? v[0].r : 0.5)
SOMA__WORD_MAKE(dropout, soma_nn_dropout(P))
SOMA__WORD_MAKE(dropout1d, soma_nn_dropout1d(P))
SOMA__WORD_MAKE(dropout2d, soma_nn_dropout2d(P))
SOMA__WORD_MAKE(dropout3d, soma_nn_dropout3d(P))
SOMA__WORD_MAKE(alpha_dropout, soma_nn_alpha_dropout(P))
SOMA__WORD_MAKE(feature_alpha_dropout, soma_nn_feature_alpha_dropout(P))
SOMA__WORD_MAKE(noise, soma_nn_noise(v[0].r))

static bool act_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    v[0] = soma__nn_real(true, s->a);
    return true;
}
static bool drop_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(drop);
    v[0] = soma__nn_real(true, s->a);
    return true;
}

#define DROP(id) .cls = &soma__nn_##id##_class, .make = id##_make, .args = SOMA__ARGS({SOMA__ARG_REAL, NULL, "probability", false, 0, 1})

const soma__nn_word soma__nn_words_drop[] = {
    {.word = "dropout", DROP(dropout), .read = act_read, .help = "in training, zeroes values with this probability (0.5 unless given)"},
    {.word = "dropout1d", DROP(dropout1d), .read = drop_read, .help = "the same for whole channels of [N, C, L]"},
    {.word = "dropout2d", DROP(dropout2d), .read = drop_read, .help = "the same for whole channels of [N, C, H, W]"},
    {.word = "dropout3d", DROP(dropout3d), .read = drop_read, .help = "the same for whole channels of [N, C, D, H, W]"},
    {.word = "alphadropout", DROP(alpha_dropout), .read = drop_read, .help = "dropout that keeps the mean and variance of what SELU makes"},
    {.word = "featurealphadropout", DROP(feature_alpha_dropout), .read = drop_read, .help = "the same for whole channels"},
    {.word = "noise", .cls = &soma__nn_noise_class, .make = noise_make, .read = drop_read,
     .help = "in training, adds normal noise of this standard deviation (denoising autoencoders)",
     .args = SOMA__ARGS({SOMA__ARG_REAL, NULL, "deviation", true, 0, 1e30})},
    {.word = NULL},
};
