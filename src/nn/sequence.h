/* What the sequence layers share: their states, as their words read them, and the memory of decoding step by step. */
#ifndef SOMA_SRC_NN_SEQUENCE_H
#define SOMA_SRC_NN_SEQUENCE_H

#include "nn/nn.h"

typedef struct soma__nn_embedding_state {
    int64_t known;          /* 1: the input decides nothing, so that the table could be made at once */
    int64_t num, dim, padding_idx;
    bool pad;
    double max_norm, norm_type, std;
    int mode;               /* EmbeddingBag: soma_bag */
} soma__nn_embedding_state;
typedef struct soma__nn_rnn_state {
    int64_t in, hidden;
    int mode;               /* soma__rnn_mode */
    bool cell;
    soma_nn_rnn_opts o;
} soma__nn_rnn_state;
typedef struct soma__nn_attention_state {
    int64_t embed, heads;
    soma_nn_attention_opts o;
} soma__nn_attention_state;
typedef struct soma__nn_transformer_state {
    int64_t d, heads, layers;   /* layers: of a stack, which is the one child */
    bool decoder, norm;         /* norm: a stack ends with one */
    soma_nn_transformer_opts o; /* defaults filled in */
} soma__nn_transformer_state;
typedef struct soma__nn_position_state {
    int64_t features, steps;
    double std;
} soma__nn_position_state;
typedef struct soma__nn_time_conv_state {
    int64_t in, out, window, pad;
} soma__nn_time_conv_state;

extern const soma_module_class soma__nn_embedding_class, soma__nn_embedding_bag_class, soma__nn_rnn_class, soma__nn_lstm_class,
    soma__nn_gru_class, soma__nn_attention_class, soma__nn_encoder_layer_class, soma__nn_decoder_layer_class,
    soma__nn_encoder_class, soma__nn_decoder_class, soma__nn_transformer_class,
    soma__nn_sinusoidal_class, soma__nn_learned_position_class, soma__nn_over_time_class, soma__nn_time_conv_class;

/* ---- Decoding step by step (cache.c) ---- */

/* What one module remembers. Tensors are references of the memory's own. */
typedef struct soma__nn_memory {
    const soma_module *m;
    soma_tensor *a, *b;     /* keys and values [N, H, room, E], or states */
    int64_t steps;          /* so far */
} soma__nn_memory;
/* The memory of `m` in the soma_nn_forward_cached that runs; NULL when none does, or with an error. */
soma__nn_memory *soma__nn_memory_of(const soma_module *m);

#endif
