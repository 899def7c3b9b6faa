/* The words of network descriptions. The tables are the only place that knows them: parsing, describing, messages and
 * docs/network.md are made from them. One file an area (words_*.c); `make` and `read` are inverse to each other. */
#include "nn/nn.h"

#include <string.h>

/* In the order of the manual. */
static const soma__nn_word *const tables[] = {
    soma__nn_words_linear, soma__nn_words_conv, soma__nn_words_pool,  soma__nn_words_norm,  soma__nn_words_drop,
    soma__nn_words_act,    soma__nn_words_shape, soma__nn_words_resample, soma__nn_words_block, soma__nn_words_sequence,
    soma__nn_words_model,
};

const soma__nn_word *soma__nn_word_at(int i) {
    for (size_t k = 0; k < SOMA_LEN(tables); k++)
        for (const soma__nn_word *w = tables[k]; w->word; w++)
            if (i-- == 0)
                return w;
    return NULL;
}

const soma__nn_word *soma__nn_find_word(const char *word) {
    for (size_t k = 0; k < SOMA_LEN(tables); k++)
        for (const soma__nn_word *w = tables[k]; w->word; w++)
            if (strcmp(w->word, word) == 0)
                return w;
    return NULL;
}

int soma__nn_n_args(const soma__nn_word *w) {
    int n = 0;
    while (w->args && n < SOMA__NN_MAX_ARGS && w->args[n].kind != SOMA__ARG_END)
        n++;
    return n;
}

bool soma__nn_nothing_read(soma_module *m, soma__nn_value *v) {
    (void)m;
    (void)v;
    return true;
}

const char *soma__nn_suggest_word(const char *word) {
    /* What other frameworks call them. */
    static const char *const others[][2] = {
        {"dense", "linear"}, {"fc", "linear"}, {"conv2d", "conv"}, {"deconv", "convtranspose"}, {"convtranspose2d", "convtranspose"},
        {"bn", "batchnorm"}, {"batchnorm2d", "batchnorm"},
        {"batchnorm1d", "batchnorm"}, {"batchnorm3d", "batchnorm"}, {"maxpool2d", "maxpool"}, {"avgpool2d", "avgpool"},
        {"pool", "maxpool"}, {"swish", "silu"}, {"globalavgpool", "gap"}, {"adaptiveavgpool2d", "adaptiveavgpool"},
        {"leaky_relu", "leakyrelu"}, {"heaviside", "step"}, {"view", "reshape"}, {"inception", "parallel"}, {"mha", "attention"},
        {"embed", "embedding"}, {"skip", "residual"}, {"transformerdecoder", "decoder"}, {"transformerencoder", "encoder"},
        {"transformerdecoderlayer", "decoderlayer"}, {"seq2seq", "encoderdecoder"},
    };
    const char *names[512];
    int n = 0;
    for (size_t i = 0; i < SOMA_LEN(others); i++)
        if (strcmp(others[i][0], word) == 0)
            return others[i][1];
    for (const soma__nn_word *w; n < (int)SOMA_LEN(names) && (w = soma__nn_word_at(n)) != NULL; n++)
        names[n] = w->word;
    return soma__nearest(word, names, n);
}
