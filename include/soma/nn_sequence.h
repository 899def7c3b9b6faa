/* soma: modules for sequences: embeddings, recurrent layers, attention, transformers, positions; decoding step by step. Names, defaults,
 * layouts and names of parameters are those of torch.nn, so weights can be exchanged.
 *
 * x is [steps, batch, features] as in PyTorch unless `batch_first`; layers that are made from network descriptions have the batch
 * first. A bool mask of a module is true where something is left out, as in torch.nn (the operator
 * soma_scaled_dot_product_attention has it the other way round, as torch.nn.functional). */
#ifndef SOMA_NN_SEQUENCE_H
#define SOMA_NN_SEQUENCE_H

#include <soma/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Embeddings ------------------------------------------------------------------------------------------------------- */

typedef struct soma_nn_embedding_opts {
    bool pad;            /* row `padding_idx` starts as zeros and gets no gradient */
    int64_t padding_idx; /* may count from the end */
    double max_norm;     /* rows that are used and longer are scaled down to it, in place; 0: never */
    double norm_type;    /* p of that norm; 0: 2 */
    double std;          /* of the normal distribution that fills the table; 0: 1, as PyTorch */
    size_t size;
} soma_nn_embedding_opts;
#define soma_nn_embedding(num, ...) soma__nn_embedding(num, __VA_ARGS__, .size = sizeof(soma_nn_embedding_opts))
#define soma__nn_embedding(num, dim, ...) soma_nn_embedding_ex((num), (dim), &(soma_nn_embedding_opts){__VA_ARGS__})
/* weight [num, dim]. Whole numbers [...] -> [..., dim]; floats count as the whole numbers they hold, because loaders of tables
 * give floats. A number outside is an error that says which and where. */
SOMA_API soma_module *soma_nn_embedding_ex(int64_t num, int64_t dim, const soma_nn_embedding_opts *opts);

typedef enum soma_bag { SOMA_BAG_MEAN, SOMA_BAG_SUM, SOMA_BAG_MAX } soma_bag;
typedef struct soma_nn_embedding_bag_opts {
    soma_bag mode;       /* mean, as PyTorch's default */
    bool pad;            /* entries equal to `padding_idx` do not count */
    int64_t padding_idx;
    double max_norm, norm_type;
    size_t size;
} soma_nn_embedding_bag_opts;
#define soma_nn_embedding_bag(num, ...) soma__nn_embedding_bag(num, __VA_ARGS__, .size = sizeof(soma_nn_embedding_bag_opts))
#define soma__nn_embedding_bag(num, dim, ...) soma_nn_embedding_bag_ex((num), (dim), &(soma_nn_embedding_bag_opts){__VA_ARGS__})
/* Inputs: [B, N], bags of N numbers; or [N] and offsets i64 [B], where each bag begins. A third input holds a weight for each
 * number (mode sum). -> [B, dim]; an empty bag gives 0. */
SOMA_API soma_module *soma_nn_embedding_bag_ex(int64_t num, int64_t dim, const soma_nn_embedding_bag_opts *opts);

/* ---- Recurrent layers ---------------------------------------------------------------------------------------------------- */

typedef struct soma_nn_rnn_opts {
    int64_t num_layers;  /* 0: 1 */
    bool no_bias, batch_first, bidirectional;
    bool relu;           /* RNN: relu in place of tanh */
    bool last;           /* the output is the last layer's final state [batch, H] (both directions': [batch, 2 H]) */
    double dropout;      /* between layers, in training */
    size_t size;
} soma_nn_rnn_opts;
/* Parameters weight_ih_l0 [G H, in], weight_hh_l0 [G H, H], bias_ih_l0, bias_hh_l0 [G H], then "_reverse" and further layers, uniform in
 * ±1/sqrt(H). x [steps, batch, in] -> [steps, batch, H], both directions side by side; [steps, in] without a batch. */
#define soma_nn_rnn(in, ...) soma__nn_rnn(in, __VA_ARGS__, .size = sizeof(soma_nn_rnn_opts))
#define soma__nn_rnn(in, hidden, ...) soma_nn_rnn_ex((in), (hidden), &(soma_nn_rnn_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_rnn_ex(int64_t in, int64_t hidden, const soma_nn_rnn_opts *opts);
#define soma_nn_lstm(in, ...) soma__nn_lstm(in, __VA_ARGS__, .size = sizeof(soma_nn_rnn_opts))
#define soma__nn_lstm(in, hidden, ...) soma_nn_lstm_ex((in), (hidden), &(soma_nn_rnn_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_lstm_ex(int64_t in, int64_t hidden, const soma_nn_rnn_opts *opts);
#define soma_nn_gru(in, ...) soma__nn_gru(in, __VA_ARGS__, .size = sizeof(soma_nn_rnn_opts))
#define soma__nn_gru(in, hidden, ...) soma_nn_gru_ex((in), (hidden), &(soma_nn_rnn_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_gru_ex(int64_t in, int64_t hidden, const soma_nn_rnn_opts *opts);
/* One step: weight_ih, weight_hh, bias_ih, bias_hh; x [batch, in] -> h [batch, H]. */
SOMA_API soma_module *soma_nn_rnn_cell(int64_t in, int64_t hidden, bool no_bias, bool relu);
SOMA_API soma_module *soma_nn_lstm_cell(int64_t in, int64_t hidden, bool no_bias);
SOMA_API soma_module *soma_nn_gru_cell(int64_t in, int64_t hidden, bool no_bias);

typedef struct soma_nn_recur_opts {
    soma_tensor *h0, *c0;   /* [layers * directions, batch, H], of cells [batch, H]; NULL: zeros */
    soma_tensor *lengths;   /* i64 [batch]: steps that count, in any order. What lies beyond does not touch the state, and the output is 0
                               there: as with torch's pack_padded_sequence and pad_packed_sequence */
    soma_tensor **hn, **cn; /* the states after the last step; NULL: not wanted */
    size_t size;
} soma_nn_recur_opts;
/* soma_nn_forward of a recurrent layer or cell, with states: soma_nn_recur(lstm, x, .h0 = h, .c0 = c, .hn = &h, .cn = &c). */
#define soma_nn_recur(m, ...) soma__nn_recur(m, __VA_ARGS__, .size = sizeof(soma_nn_recur_opts))
#define soma__nn_recur(m, x, ...) soma_nn_recur_ex((m), (x), &(soma_nn_recur_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_nn_recur_ex(soma_module *m, soma_tensor *x, const soma_nn_recur_opts *opts);

/* ---- Attention ------------------------------------------------------------------------------------------------------------ */

typedef struct soma_nn_attention_opts {
    double dropout;      /* of the weights, in training */
    bool no_bias, batch_first;
    int64_t kdim, vdim;  /* features of key and value; 0: as query's */
    bool causal;         /* step i attends to steps 0 ... i, without a mask being given */
    bool rotary;         /* queries and keys are turned by their positions (soma_rotary_embedding) */
    size_t size;
} soma_nn_attention_opts;
/* MultiheadAttention of Vaswani et al. 2017: in_proj_weight [3 E, E] (or q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias,
 * out_proj.weight, out_proj.bias. Inputs: x, attending to itself; query and memory; or query, key and value. */
#define soma_nn_attention(embed, ...) soma__nn_attention(embed, __VA_ARGS__, .size = sizeof(soma_nn_attention_opts))
#define soma__nn_attention(embed, heads, ...) soma_nn_attention_ex((embed), (heads), &(soma_nn_attention_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_attention_ex(int64_t embed_dim, int64_t num_heads, const soma_nn_attention_opts *opts);
typedef struct soma_nn_attend_opts {
    soma_tensor *key, *value;        /* NULL: the query; value NULL: the key */
    soma_tensor *key_padding_mask;   /* bool [batch, S], true: this key is padding; or float, added */
    soma_tensor *attn_mask;          /* bool [L, S] or [batch * heads, L, S], true: not allowed; or float, added */
    bool is_causal;
    soma_tensor **weights;           /* the attention, averaged over heads [batch, L, S]; NULL: not wanted */
    size_t size;
} soma_nn_attend_opts;
#define soma_nn_attend(m, ...) soma__nn_attend_macro(m, __VA_ARGS__, .size = sizeof(soma_nn_attend_opts))
#define soma__nn_attend_macro(m, query, ...) soma_nn_attend_ex((m), (query), &(soma_nn_attend_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_nn_attend_ex(soma_module *m, soma_tensor *query, const soma_nn_attend_opts *opts);

/* ---- Transformers ----------------------------------------------------------------------------------------------------------- */

typedef struct soma_nn_transformer_opts {
    int64_t dim_feedforward; /* 0: 2048 */
    double dropout;          /* 0: 0.1, negative: none */
    bool gelu;               /* between the linear layers, in place of relu */
    bool batch_first, norm_first;
    bool causal;             /* self-attention looks back only, without a mask being given */
    bool rotary;             /* self-attention with rotary positions */
    size_t size;
} soma_nn_transformer_opts;
/* TransformerEncoderLayer: self_attn, linear1, linear2, norm1, norm2. With norm_first x + f(norm(x)), else norm(x + f(x)). */
#define soma_nn_transformer_encoder_layer(d, ...) soma__nn_transformer_encoder_layer(d, __VA_ARGS__, .size = sizeof(soma_nn_transformer_opts))
#define soma__nn_transformer_encoder_layer(d, heads, ...) soma_nn_transformer_encoder_layer_ex((d), (heads), &(soma_nn_transformer_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_transformer_encoder_layer_ex(int64_t d_model, int64_t heads, const soma_nn_transformer_opts *opts);
/* TransformerDecoderLayer: besides multihead_attn over the memory, and norm3. Inputs: x and memory. */
#define soma_nn_transformer_decoder_layer(d, ...) soma__nn_transformer_decoder_layer(d, __VA_ARGS__, .size = sizeof(soma_nn_transformer_opts))
#define soma__nn_transformer_decoder_layer(d, heads, ...) soma_nn_transformer_decoder_layer_ex((d), (heads), &(soma_nn_transformer_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_transformer_decoder_layer_ex(int64_t d_model, int64_t heads, const soma_nn_transformer_opts *opts);
/* TransformerEncoder and TransformerDecoder: `layers.0` ..., each filled on its own, and `norm` when `final_norm`. */
SOMA_API soma_module *soma_nn_transformer_encoder(int64_t layers, int64_t d_model, int64_t heads, bool final_norm, const soma_nn_transformer_opts *opts);
SOMA_API soma_module *soma_nn_transformer_decoder(int64_t layers, int64_t d_model, int64_t heads, bool final_norm, const soma_nn_transformer_opts *opts);
/* Transformer: encoder and decoder (6 layers each when 0) with final norms. Inputs: source, target. `causal` is the target's. With masks,
 * run its children "encoder" and "decoder" with soma_nn_transform. */
SOMA_API soma_module *soma_nn_transformer(int64_t d_model, int64_t heads, int64_t encoder_layers, int64_t decoder_layers,
                                          const soma_nn_transformer_opts *opts);
typedef struct soma_nn_transform_opts {
    soma_tensor *mask, *key_padding_mask;               /* of self-attention: PyTorch's src_mask or tgt_mask, and so on */
    soma_tensor *memory, *memory_mask, *memory_key_padding_mask; /* decoders */
    bool is_causal;
    size_t size;
} soma_nn_transform_opts;
#define soma_nn_transform(m, ...) soma__nn_transform(m, __VA_ARGS__, .size = sizeof(soma_nn_transform_opts))
#define soma__nn_transform(m, x, ...) soma_nn_transform_ex((m), (x), &(soma_nn_transform_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_nn_transform_ex(soma_module *m, soma_tensor *x, const soma_nn_transform_opts *opts);

/* ---- Positions and time -------------------------------------------------------------------------------------------------------- */

/* x [batch, steps, features] + the sines of Vaswani et al. 2017 (soma_sinusoidal_positions). */
SOMA_API soma_module *soma_nn_sinusoidal_position(void);
/* x [batch, steps, features] + weight[0 ... steps-1]; weight [max_steps, features], normal with this deviation (0: 0.02). */
SOMA_API soma_module *soma_nn_learned_position(int64_t max_steps, int64_t features, double std);
typedef enum soma_over_time { SOMA_TIME_MEAN, SOMA_TIME_MAX, SOMA_TIME_LAST } soma_over_time;
/* x [batch, steps, features] -> [batch, features]. */
SOMA_API soma_module *soma_nn_over_time(soma_over_time how);
/* Conv1d along the steps: x [batch, steps, in] -> [batch, steps + 2 padding - window + 1, out]; weight [out, in, window], bias [out]. */
SOMA_API soma_module *soma_nn_time_conv(int64_t in, int64_t out, int64_t window, int64_t padding);

/* ---- Step by step ----------------------------------------------------------------------------------------------------------------- */

/* What a network remembers of the steps so far: keys and values of causal attention, states of recurrent layers, positions. */
typedef struct soma_cache soma_cache;
SOMA_API soma_cache *soma_nn_cache_new(void);
SOMA_API void soma_nn_cache_free(soma_cache *cache); /* NULL is ignored */
SOMA_API void soma_nn_cache_clear(soma_cache *cache);
SOMA_API int64_t soma_nn_cache_steps(const soma_cache *cache);
/* The outputs for the next steps x, equal to those of a forward of the whole sequence up to rounding. Batch first; eval mode is
 * the caller's affair; nothing is recorded for gradients. Attention must be causal, recurrent layers run forward only. */
SOMA_API soma_tensor *soma_nn_forward_cached(soma_module *m, soma_cache *cache, soma_tensor *x);

typedef struct soma_generate_opts {
    double temperature;   /* 0: 1; negative: always the likeliest token */
    int64_t top_k;        /* only the k likeliest; 0: all */
    double top_p;         /* only the likeliest that together have this probability (Holtzman et al. 2020); 0: all */
    int64_t context;      /* the network sees at most so many tokens; 0: all (a learned position sets a limit) */
    size_t size;
} soma_generate_opts;
/* Draws `n` tokens one after another from a network [batch, steps] -> logits [batch, steps, classes]: writes them behind `prompt`
 * (`n_prompt` > 0 tokens; `tokens` has room for n_prompt + n). In eval mode, with a cache; random numbers from the context's stream. */
#define soma_nn_generate(m, tokens, n_prompt, ...) soma__nn_generate(m, tokens, n_prompt, __VA_ARGS__, .size = sizeof(soma_generate_opts))
#define soma__nn_generate(m, tokens, n_prompt, n, ...) soma_nn_generate_ex((m), (tokens), (n_prompt), (n), &(soma_generate_opts){__VA_ARGS__})
SOMA_API soma_status soma_nn_generate_ex(soma_module *m, int64_t *tokens, int64_t n_prompt, int64_t n, const soma_generate_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
