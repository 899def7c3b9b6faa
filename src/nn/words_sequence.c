/* Words of descriptions: sequences. The batch comes first, [batch, steps, features], unless `timefirst` says otherwise. */
#include "nn/sequence.h"

#include "ops/rnn.h"

/* ---- Tokens ---- */

enum { EMB_NUM, EMB_DIM, EMB_PAD, EMB_STD };
static soma_module *embedding_make(const soma__nn_value *v) {
    return soma_nn_embedding(v[EMB_NUM].i[0], v[EMB_DIM].i[0], .pad = v[EMB_PAD].given, .padding_idx = v[EMB_PAD].i[0], .std = v[EMB_STD].r);
}
static bool embedding_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(embedding);
    v[EMB_NUM] = soma__nn_int(true, s->num);
    v[EMB_DIM] = soma__nn_int(true, s->dim);
    v[EMB_PAD] = soma__nn_int(s->pad, s->padding_idx);
    v[EMB_STD].given = s->std != 1;
    v[EMB_STD].r = s->std;
    return s->max_norm == 0;
}

enum { BAG_NUM, BAG_DIM, BAG_SUM, BAG_MAX, BAG_PAD };
static soma_module *bag_make(const soma__nn_value *v) {
    return soma_nn_embedding_bag(v[BAG_NUM].i[0], v[BAG_DIM].i[0], .pad = v[BAG_PAD].given, .padding_idx = v[BAG_PAD].i[0],
                                 .mode = v[BAG_SUM].given ? SOMA_BAG_SUM : v[BAG_MAX].given ? SOMA_BAG_MAX : SOMA_BAG_MEAN);
}
static bool bag_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(embedding);
    v[BAG_NUM] = soma__nn_int(true, s->num);
    v[BAG_DIM] = soma__nn_int(true, s->dim);
    v[BAG_SUM].given = s->mode == SOMA_BAG_SUM;
    v[BAG_MAX].given = s->mode == SOMA_BAG_MAX;
    v[BAG_PAD] = soma__nn_int(s->pad, s->padding_idx);
    return s->max_norm == 0;
}

/* ---- Recurrence ---- */

enum { RNN_HIDDEN, RNN_LAYERS, RNN_BIDIRECTIONAL, RNN_LAST, RNN_DROPOUT, RNN_NOBIAS, RNN_TIMEFIRST, RNN_RELU };
static soma_nn_rnn_opts rnn_opts(const soma__nn_value *v) {
    return (soma_nn_rnn_opts){.num_layers = v[RNN_LAYERS].i[0], .bidirectional = v[RNN_BIDIRECTIONAL].given, .last = v[RNN_LAST].given,
                              .dropout = v[RNN_DROPOUT].r, .no_bias = v[RNN_NOBIAS].given, .batch_first = !v[RNN_TIMEFIRST].given,
                              .relu = v[RNN_RELU].given, .size = sizeof(soma_nn_rnn_opts)};
}
static bool rnn_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(rnn);
    v[RNN_HIDDEN] = soma__nn_int(true, s->hidden);
    v[RNN_LAYERS] = soma__nn_int(s->o.num_layers != 1, s->o.num_layers);
    v[RNN_BIDIRECTIONAL].given = s->o.bidirectional;
    v[RNN_LAST].given = s->o.last;
    v[RNN_DROPOUT].given = s->o.dropout != 0;
    v[RNN_DROPOUT].r = s->o.dropout;
    v[RNN_NOBIAS].given = s->o.no_bias;
    v[RNN_TIMEFIRST].given = !s->o.batch_first;
    v[RNN_RELU].given = s->mode == SOMA__RNN_RELU;
    return true;
}
static soma_module *rnn_make(const soma__nn_value *v) {
    soma_nn_rnn_opts o = rnn_opts(v);
    return soma_nn_rnn_ex(0, v[RNN_HIDDEN].i[0], &o);
}
static soma_module *lstm_make(const soma__nn_value *v) {
    soma_nn_rnn_opts o = rnn_opts(v);
    return soma_nn_lstm_ex(0, v[RNN_HIDDEN].i[0], &o);
}
static soma_module *gru_make(const soma__nn_value *v) {
    soma_nn_rnn_opts o = rnn_opts(v);
    return soma_nn_gru_ex(0, v[RNN_HIDDEN].i[0], &o);
}

/* ---- Attention ---- */

enum { ATT_HEADS, ATT_CAUSAL, ATT_ROTARY, ATT_DROPOUT, ATT_NOBIAS, ATT_TIMEFIRST, ATT_KDIM, ATT_VDIM };
static soma_module *attention_make(const soma__nn_value *v) {
    return soma_nn_attention(0, v[ATT_HEADS].i[0], .causal = v[ATT_CAUSAL].given, .rotary = v[ATT_ROTARY].given, .dropout = v[ATT_DROPOUT].r,
                             .no_bias = v[ATT_NOBIAS].given, .batch_first = !v[ATT_TIMEFIRST].given, .kdim = v[ATT_KDIM].i[0],
                             .vdim = v[ATT_VDIM].i[0]);
}
static bool attention_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(attention);
    v[ATT_HEADS] = soma__nn_int(true, s->heads);
    v[ATT_CAUSAL].given = s->o.causal;
    v[ATT_ROTARY].given = s->o.rotary;
    v[ATT_DROPOUT].given = s->o.dropout != 0;
    v[ATT_DROPOUT].r = s->o.dropout;
    v[ATT_NOBIAS].given = s->o.no_bias;
    v[ATT_TIMEFIRST].given = !s->o.batch_first;
    v[ATT_KDIM] = soma__nn_int(s->o.kdim != 0, s->o.kdim);
    v[ATT_VDIM] = soma__nn_int(s->o.vdim != 0, s->o.vdim);
    return true;
}

enum { TR_D, TR_HEADS, TR_FEEDFORWARD, TR_DROPOUT, TR_GELU, TR_NORMFIRST, TR_CAUSAL, TR_ROTARY, TR_TIMEFIRST, TR_LAYERS, TR_NORM,
       TR_ENCODER_LAYERS = TR_LAYERS, TR_DECODER_LAYERS };
static soma_nn_transformer_opts transformer_opts(const soma__nn_value *v) {
    return (soma_nn_transformer_opts){.dim_feedforward = v[TR_FEEDFORWARD].i[0],
                                      .dropout = !v[TR_DROPOUT].given ? 0 : v[TR_DROPOUT].r == 0 ? -1 : v[TR_DROPOUT].r,
                                      .gelu = v[TR_GELU].given, .norm_first = v[TR_NORMFIRST].given, .causal = v[TR_CAUSAL].given,
                                      .rotary = v[TR_ROTARY].given, .batch_first = !v[TR_TIMEFIRST].given, .size = sizeof(soma_nn_transformer_opts)};
}
static bool transformer_put(const soma__nn_transformer_state *s, soma__nn_value *v) {
    v[TR_D] = soma__nn_int(true, s->d);
    v[TR_HEADS] = soma__nn_int(true, s->heads);
    v[TR_FEEDFORWARD] = soma__nn_int(s->o.dim_feedforward != 2048, s->o.dim_feedforward);
    v[TR_DROPOUT].given = s->o.dropout != 0.1;
    v[TR_DROPOUT].r = s->o.dropout;
    v[TR_GELU].given = s->o.gelu;
    v[TR_NORMFIRST].given = s->o.norm_first;
    v[TR_CAUSAL].given = s->o.causal;
    v[TR_ROTARY].given = s->o.rotary;
    v[TR_TIMEFIRST].given = !s->o.batch_first;
    return true;
}
static bool transformer_read(soma_module *m, soma__nn_value *v) { return transformer_put(m->state, v); }
static bool stack_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(transformer);
    v[TR_LAYERS] = soma__nn_int(true, s->layers);
    v[TR_NORM].given = s->norm;
    return s->layers > 0 && transformer_put(s, v);
}
static bool both_read(soma_module *m, soma__nn_value *v) {
    const soma__nn_transformer_state *encoder = m->children[0]->state, *decoder = m->children[1]->state;
    v[TR_ENCODER_LAYERS] = soma__nn_int(encoder->layers != 6, encoder->layers);
    v[TR_DECODER_LAYERS] = soma__nn_int(decoder->layers != 6, decoder->layers);
    return transformer_put(decoder, v);
}
#define TRANSFORMER_MAKE(id, ...)                                                                                              \
    static soma_module *id##_make(const soma__nn_value *v) {                                                                   \
        soma_nn_transformer_opts o = transformer_opts(v);                                                                      \
        int64_t d = v[TR_D].i[0], heads = v[TR_HEADS].i[0];                                                                    \
        return __VA_ARGS__;                                                                                                    \
    }
TRANSFORMER_MAKE(transformer, soma_nn_transformer_encoder_layer_ex(d, heads, &o))
TRANSFORMER_MAKE(decoder_layer, soma_nn_transformer_decoder_layer_ex(d, heads, &o))
TRANSFORMER_MAKE(encoder, soma_nn_transformer_encoder(v[TR_LAYERS].i[0], d, heads, v[TR_NORM].given, &o))
TRANSFORMER_MAKE(decoder, soma_nn_transformer_decoder(v[TR_LAYERS].i[0], d, heads, v[TR_NORM].given, &o))
TRANSFORMER_MAKE(both, soma_nn_transformer(d, heads, v[TR_ENCODER_LAYERS].i[0], v[TR_DECODER_LAYERS].i[0], &o))

/* ---- Positions, time ---- */

SOMA__WORD_MAKE(position, soma_nn_sinusoidal_position())
enum { POS_STEPS, POS_STD };
SOMA__WORD_MAKE(learned, soma_nn_learned_position(v[POS_STEPS].i[0], 0, v[POS_STD].r))
static bool learned_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(position);
    v[POS_STEPS] = soma__nn_int(true, s->steps);
    v[POS_STD].given = s->std != 0.02;
    v[POS_STD].r = s->std;
    return true;
}

enum { TIME_MEAN, TIME_MAX, TIME_LAST };
static soma_module *over_time_make(const soma__nn_value *v) {
    return soma_nn_over_time(v[TIME_LAST].given ? SOMA_TIME_LAST : v[TIME_MAX].given ? SOMA_TIME_MAX : SOMA_TIME_MEAN);
}
static bool over_time_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(position);
    v[TIME_MAX].given = s->steps == SOMA_TIME_MAX;
    v[TIME_LAST].given = s->steps == SOMA_TIME_LAST;
    return true;
}

enum { TC_OUT, TC_WINDOW, TC_PAD };
static soma_module *time_conv_make(const soma__nn_value *v) {
    return soma_nn_time_conv(0, v[TC_OUT].i[0], v[TC_WINDOW].i[0], v[TC_PAD].i[0]);
}
static bool time_conv_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(time_conv);
    v[TC_OUT] = soma__nn_int(true, s->out);
    v[TC_WINDOW] = soma__nn_int(true, s->window);
    v[TC_PAD] = soma__nn_int(s->pad != 0, s->pad);
    return true;
}

/* ---- Models by name ---- */

static long long either(const soma__nn_value *v, long long ordinary) { return v->given ? (long long)v->i[0] : ordinary; }

static const char *real_or(const soma__nn_value *v, double ordinary, char out[32]) { return soma__nn_write_real(v->given ? v->r : ordinary, out); }

enum { TEXT_TOKENS, TEXT_CLASSES, TEXT_FEATURES, TEXT_UNITS, TEXT_DROPOUT };
static void textcnn_expand(const soma__nn_value *v, soma__text *t) {
    long long maps = either(&v[TEXT_UNITS], 100);
    char p[32];
    soma__text_add(t, "embedding %lld %lld pad 0, parallel(", either(&v[TEXT_TOKENS], 0), either(&v[TEXT_FEATURES], 300));
    for (int window = 3; window <= 5; window++) /* padded, so that the shortest sentence has a place for each window */
        soma__text_add(t, "%stimeconv %lld %d pad %d relu, overtime max", window > 3 ? " | " : "", maps, window, window - 1);
    soma__text_add(t, "), dropout %s, linear %lld", real_or(&v[TEXT_DROPOUT], 0.5, p), either(&v[TEXT_CLASSES], 2));
}
static void bilstm_expand(const soma__nn_value *v, soma__text *t) {
    char p[32], q[32];
    const char *dropout = real_or(&v[TEXT_DROPOUT], 0.5, p);
    soma__text_add(t, "embedding %lld %lld pad 0, dropout %s, lstm %lld bidirectional, overtime max, dropout %s, linear %lld", either(&v[TEXT_TOKENS], 0),
                   either(&v[TEXT_FEATURES], 300), dropout, either(&v[TEXT_UNITS], 128), real_or(&v[TEXT_DROPOUT], 0.5, q), either(&v[TEXT_CLASSES], 2));
}

enum { GPT_TOKENS, GPT_CONTEXT, GPT_FEATURES, GPT_LAYERS, GPT_HEADS, GPT_DROPOUT };
static void gpt_expand(const soma__nn_value *v, soma__text *t) {
    long long d = either(&v[GPT_FEATURES], 128), tokens = either(&v[GPT_TOKENS], 0);
    char p[32];
    const char *dropout = real_or(&v[GPT_DROPOUT], 0.1, p);
    soma__text_add(t, "embedding %lld %lld std 0.02 as wte, learnedposition %lld as wpe, dropout %s, ", tokens, d, either(&v[GPT_CONTEXT], 128), dropout);
    soma__text_add(t, "repeat %lld (transformer %lld heads %lld feedforward %lld dropout %s gelu normfirst causal), ", either(&v[GPT_LAYERS], 4), d,
                   either(&v[GPT_HEADS], 4), 4 * d, dropout);
    soma__text_add(t, "layernorm, linear %lld nobias tied wte", tokens);
}

#define TEXT_ARGS(units)                                                                                                     \
    {SOMA__ARG_INT, NULL, "tokens", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, "classes", "classes", false, SOMA__SIZE_FROM(1)}, \
    {SOMA__ARG_INT, "features", "features", false, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, units, "units", false, SOMA__SIZE_FROM(1)}, \
    {SOMA__ARG_REAL, "dropout", "probability", false, 0, 1}

#define TRANSFORMER_ARGS(...)                                                                                                \
    {{SOMA__ARG_INT, NULL, "features", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, "heads", "heads", true, 1, 65536},         \
     {SOMA__ARG_INT, "feedforward", "features", false, SOMA__SIZE_FROM(1)}, {SOMA__ARG_REAL, "dropout", "probability", false, 0, 1}, \
     {SOMA__ARG_FLAG, "gelu", "", false, 0, 0}, {SOMA__ARG_FLAG, "normfirst", "", false, 0, 0},                              \
     {SOMA__ARG_FLAG, "causal", "", false, 0, 0}, {SOMA__ARG_FLAG, "rotary", "", false, 0, 0},                               \
     {SOMA__ARG_FLAG, "timefirst", "", false, 0, 0}, __VA_ARGS__}
static const soma__nn_arg layer_args[] = TRANSFORMER_ARGS({SOMA__ARG_END, NULL, NULL, false, 0, 0});
static const soma__nn_arg stack_args[] = TRANSFORMER_ARGS({SOMA__ARG_INT, "layers", "layers", true, 1, 1024},
                                                          {SOMA__ARG_FLAG, "norm", "", false, 0, 0}, {SOMA__ARG_END, NULL, NULL, false, 0, 0});
static const soma__nn_arg both_args[] = TRANSFORMER_ARGS({SOMA__ARG_INT, "encoderlayers", "layers", false, 1, 1024},
                                                         {SOMA__ARG_INT, "decoderlayers", "layers", false, 1, 1024},
                                                         {SOMA__ARG_END, NULL, NULL, false, 0, 0});

#define RNN_ARGS                                                                                                             \
    {SOMA__ARG_INT, NULL, "features", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, "layers", "layers", false, 1, 1024},        \
    {SOMA__ARG_FLAG, "bidirectional", "", false, 0, 0}, {SOMA__ARG_FLAG, "last", "", false, 0, 0},                           \
    {SOMA__ARG_REAL, "dropout", "probability", false, 0, 1}, {SOMA__ARG_FLAG, "nobias", "", false, 0, 0},                    \
    {SOMA__ARG_FLAG, "timefirst", "", false, 0, 0}

const soma__nn_word soma__nn_words_sequence[] = {
    {.word = "embedding", .cls = &soma__nn_embedding_class, .make = embedding_make, .read = embedding_read,
     .help = "a row of features for each token; `pad` names a token whose row stays 0; `std` is that of the first values (1 unless given)",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "tokens", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, NULL, "features", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "pad", "token", false, SOMA__SIZE_FROM(0)}, {SOMA__ARG_REAL, "std", "deviation", false, 1e-12, 1e12})},
    {.word = "embeddingbag", .cls = &soma__nn_embedding_bag_class, .make = bag_make, .read = bag_read,
     .help = "the mean (sum, max) of the rows of all tokens: [batch, tokens] to [batch, features]",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "tokens", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, NULL, "features", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_FLAG, "sum", "", false, 0, 0}, {SOMA__ARG_FLAG, "max", "", false, 0, 0},
              {SOMA__ARG_INT, "pad", "token", false, SOMA__SIZE_FROM(0)})},
    {.word = "position", .cls = &soma__nn_sinusoidal_class, .make = position_make, .read = soma__nn_nothing_read,
     .help = "adds to each step sines that say where it is"},
    {.word = "learnedposition", .cls = &soma__nn_learned_position_class, .make = learned_make, .read = learned_read,
     .help = "adds to each step a row of weights of its own, for at most so many steps; `std` is that of the first values (0.02 unless given)",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "steps", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_REAL, "std", "deviation", false, 1e-12, 1e12})},
    {.word = "rnn", .cls = &soma__nn_rnn_class, .make = rnn_make, .read = rnn_read,
     .help = "recurrent layer with tanh or relu; `last` gives the final state in place of every step",
     .args = SOMA__ARGS(RNN_ARGS, {SOMA__ARG_FLAG, "relu", "", false, 0, 0})},
    {.word = "lstm", .cls = &soma__nn_lstm_class, .make = lstm_make, .read = rnn_read,
     .help = "long short-term memory; `last` gives the final state in place of every step", .args = SOMA__ARGS(RNN_ARGS)},
    {.word = "gru", .cls = &soma__nn_gru_class, .make = gru_make, .read = rnn_read,
     .help = "gated recurrent unit; `last` gives the final state in place of every step", .args = SOMA__ARGS(RNN_ARGS)},
    {.word = "attention", .cls = &soma__nn_attention_class, .make = attention_make, .read = attention_read, .inputs = 3,
     .help = "multi-head attention of the steps to each other, or of two inputs (query, memory) or three (query, key, value); `causal`: to those "
             "before only; `rotary` positions",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "heads", true, 1, 65536}, {SOMA__ARG_FLAG, "causal", "", false, 0, 0},
                        {SOMA__ARG_FLAG, "rotary", "", false, 0, 0},
              {SOMA__ARG_REAL, "dropout", "probability", false, 0, 1}, {SOMA__ARG_FLAG, "nobias", "", false, 0, 0},
              {SOMA__ARG_FLAG, "timefirst", "", false, 0, 0}, {SOMA__ARG_INT, "kdim", "features", false, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "vdim", "features", false, SOMA__SIZE_FROM(1)})},
    {.word = "transformer", .cls = &soma__nn_encoder_layer_class, .make = transformer_make, .read = transformer_read,
     .help = "transformer encoder layer: attention and two linear layers (2048 between them unless given), each with dropout (0.1 unless "
             "given), a shortcut and layer normalisation (before it with `normfirst`)",
     .args = layer_args},
    {.word = "decoderlayer", .cls = &soma__nn_decoder_layer_class, .make = decoder_layer_make, .read = transformer_read, .inputs = 2,
     .help = "transformer decoder layer, of a target and a memory: the same with attention of the target to the memory in between",
     .args = layer_args},
    {.word = "encoder", .cls = &soma__nn_encoder_class, .make = encoder_make, .read = stack_read,
     .help = "stack of transformer encoder layers, with `norm` a layer normalisation at the end",
     .args = stack_args},
    {.word = "decoder", .cls = &soma__nn_decoder_class, .make = decoder_make, .read = stack_read, .inputs = 2,
     .help = "stack of transformer decoder layers, of a target and a memory; with `norm` a layer normalisation at the end",
     .args = stack_args},
    {.word = "encoderdecoder", .cls = &soma__nn_transformer_class, .make = both_make, .read = both_read, .inputs = 2,
     .help = "transformer, of a source and a target: an encoder and a decoder, 6 layers each unless given, each with `norm`; `causal` is the "
             "target's",
     .args = both_args},
    {.word = "overtime", .cls = &soma__nn_over_time_class, .make = over_time_make, .read = over_time_read,
     .help = "one row of all steps: their mean, largest values, or the last",
     .args = SOMA__ARGS({SOMA__ARG_FLAG, "mean", "", false, 0, 0}, {SOMA__ARG_FLAG, "max", "", false, 0, 0}, {SOMA__ARG_FLAG, "last", "", false, 0, 0})},
    {.word = "timeconv", .cls = &soma__nn_time_conv_class, .make = time_conv_make, .read = time_conv_read, .takes_activation = true,
     .help = "convolution along the steps, [batch, steps, features] to [batch, steps, channels]",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "channels", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, NULL, "window", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "pad", "padding", false, SOMA__SIZE_FROM(0)})},
    {.word = "textcnn", .expand = textcnn_expand, .args = SOMA__ARGS(TEXT_ARGS("maps")),
     .help = "convolutions of 3, 4 and 5 words and the largest value of each (Kim 2014), for [batch, steps] of tokens, 0 being padding"},
    {.word = "bilstm", .expand = bilstm_expand, .args = SOMA__ARGS(TEXT_ARGS("hidden")),
     .help = "an LSTM in both directions and the largest value of each unit, for [batch, steps] of tokens, 0 being padding"},
    {.word = "gpt", .expand = gpt_expand,
     .help = "a language model as GPT-2 (Radford et al. 2019), small: [batch, steps] of tokens to the logits of the next ones",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "tokens", true, SOMA__SIZE_FROM(1)}, {SOMA__ARG_INT, "context", "steps", false, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_INT, "features", "features", false, 1, 65536}, {SOMA__ARG_INT, "layers", "layers", false, 1, 1000},
              {SOMA__ARG_INT, "heads", "heads", false, 1, 65536}, {SOMA__ARG_REAL, "dropout", "probability", false, 0, 1})},
    {.word = NULL},
};
