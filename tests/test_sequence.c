/* Sequence modules against PyTorch (tests/golden/sequence.txt.gz, made by tools/golden_sequence.py): outputs and gradients of inputs and
 * all parameters. Then what must hold beside: decoding with a cache, causality, tied weights, words, messages. */
#include "nn_help.h"

#include "nn/sequence.h"

#include <math.h>

static double largest_difference(soma_tensor *a, soma_tensor *b) {
    return soma_item(soma_amax(soma_abs(soma_sub(a, b)), SOMA_ALL, false));
}

/* ---- The golden file ---- */

static char *golden, *next_line;

static int load(void **state) {
    (void)state;
    soma_bytes file;
    if (soma_read_file("tests/golden/sequence.txt.gz", true, 0, &file) != SOMA_OK)
        return -1;
    golden = malloc(file.size + 1);
    memcpy(golden, file.data, file.size);
    golden[file.size] = 0;
    soma_bytes_free(&file);
    return 0;
}

static int unload(void **state) {
    (void)state;
    free(golden);
    return 0;
}

/* Goes to the lines of a case. */
static void seek(const char *name) {
    char wanted[80];
    int n = snprintf(wanted, sizeof wanted, "case %s\n", name);
    for (next_line = golden; next_line && strncmp(next_line, wanted, (size_t)n) != 0;) {
        next_line = strchr(next_line, '\n');
        next_line = next_line ? next_line + 1 : NULL;
    }
    if (!next_line)
        fail_msg("there is no golden case '%s'", name);
    next_line += n;
}

static const char *current = "";

static void compare(const char *what, soma_tensor *got) {
    size_t n = strlen(what);
    if (strncmp(next_line, what, n) != 0 || next_line[n] != ' ')
        fail_msg("%s: expected '%s', the file has '%.30s'", current, what, next_line);
    if (!got)
        fail_msg("%s: %s is missing: %s", current, what, soma_error_message());
    char *at = next_line + n, *end = strchr(next_line, '\n');
    int64_t count = soma_numel(got);
    double *v = malloc((size_t)(count + 1) * sizeof *v);
    assert_int_equal(soma_to_array(got, v, count, SOMA_F64), SOMA_OK);
    for (int64_t i = 0; i < count; i++) {
        double want = strtod(at, &at);
        if (!(fabs(v[i] - want) <= 1e-9 * (1 + fabs(want))))
            fail_msg("%s: %s, element %lld is %.15g, PyTorch's is %.15g", current, what, (long long)i, v[i], want);
    }
    while (*at == ' ')
        at++;
    if (at != end)
        fail_msg("%s: %s has %lld elements, PyTorch's has more", current, what, (long long)count);
    free(v);
    next_line = end + 1;
}

static soma_tensor *sines(double shift, double step, double factor, int ndim, const int64_t *shape) {
    int64_t n = 1;
    for (int i = 0; i < ndim; i++)
        n *= shape[i];
    double *v = malloc((size_t)(n + 1) * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = sin(shift + step * (double)i) * factor;
    soma_tensor *t = soma_from_array(v, ndim, shape, SOMA_F64);
    free(v);
    return t;
}

static soma_tensor *given(int k, int ndim, const int64_t *shape) { return soma_requires_grad_(sines(k, 0.1, 1, ndim, shape), true); }

/* Parameters become f64, in the order of soma_nn_named, which is PyTorch's. */
static void prepare(soma_module *m) {
    soma_named all[64];
    int n = soma_nn_named(m, false, all, 64);
    check_ok();
    assert_true(n > 0 && n <= 64);
    for (int i = 0; i < n; i++) {
        soma_module *at = m;
        const char *name = all[i].name;
        for (const char *dot; (dot = strchr(name, '.')); name = dot + 1) {
            soma_module *down = NULL;
            for (int k = 0; k < at->n_children; k++)
                if (strlen(at->children[k]->name) == (size_t)(dot - name) && strncmp(at->children[k]->name, name, (size_t)(dot - name)) == 0)
                    down = at->children[k];
            assert_non_null(down);
            at = down;
        }
        soma_nn_add_param(at, name, sines(i + 1, 0.37, 0.3, soma_ndim(all[i].tensor), soma_shape(all[i].tensor)));
    }
    check_ok();
}

static void compare_all(soma_module *m, soma_tensor *const *out, int n_out, soma_tensor *const *in, int n_in) {
    check_ok();
    soma_tensor *total = NULL;
    for (int i = 0; i < n_out; i++) {
        compare("out", out[i]);
        soma_tensor *k = soma_reshape(soma_arange(0, (double)soma_numel(out[i]), 1, SOMA_F64), soma_ndim(out[i]), soma_shape(out[i]));
        soma_tensor *w = soma_add_scalar(soma_mul_scalar(soma_cos(soma_add_scalar(soma_mul_scalar(k, 1.7), 1)), 0.25), 0.5);
        soma_tensor *part = soma_sum(soma_mul(out[i], w), SOMA_ALL, false);
        total = total ? soma_add(total, part) : part;
    }
    soma_backward(total);
    check_ok();
    for (int i = 0; i < n_in; i++)
        compare("in", soma_grad(in[i]));
    soma_named all[64];
    int n = soma_nn_named(m, false, all, 64);
    for (int i = 0; i < n; i++) {
        char what[100];
        soma_tensor *g = soma_grad(all[i].tensor);
        snprintf(what, sizeof what, "param %s", all[i].name);
        compare(what, g ? g : soma_zeros(soma_ndim(all[i].tensor), soma_shape(all[i].tensor), SOMA_F64));
    }
    soma_nn_free(m);
}

static void begin(const char *name, soma_module *m) {
    current = name;
    if (!m)
        fail_msg("%s: %s", name, soma_error_message());
    seek(name);
    prepare(m);
}

/* ---- Recurrent layers ---- */

typedef soma_module *(*maker)(int64_t in, int64_t hidden, const soma_nn_rnn_opts *o);

static void recurrent(const char *kind, const char *variant, maker make, soma_nn_rnn_opts o, bool states, bool lengths, bool unbatched) {
    soma_scope scope = soma_scope_begin();
    char name[40];
    snprintf(name, sizeof name, "%s %s", kind, variant);
    bool lstm = kind[0] == 'L';
    soma_module *m = make(3, 4, &o);
    begin(name, m);
    soma_tensor *in[3], *out[3], *x;
    int n = 0;
    if (unbatched)
        x = given(0, SOMA_SHAPE(5, 3));
    else if (o.batch_first)
        x = given(0, SOMA_SHAPE(3, 5, 3));
    else
        x = given(0, SOMA_SHAPE(5, 2, 3));
    in[n++] = x;
    for (int k = 0; states && k < (lstm ? 2 : 1); k++)
        in[n++] = given(k + 1, SOMA_SHAPE(4, 3, 4));
    out[0] = soma_nn_recur(m, x, .h0 = states ? in[1] : NULL, .c0 = states && lstm ? in[2] : NULL,
                           .lengths = lengths ? soma_from_array((const int64_t[]){5, 2, 4}, SOMA_SHAPE(3), SOMA_I64) : NULL, .hn = &out[1], .cn = &out[2]);
    compare_all(m, out, lstm ? 3 : 2, in, n);
    soma_scope_end(scope);
}

static void test_recurrent(void **state) {
    (void)state;
    static const struct { const char *name; maker make; } kinds[] = {{"RNN", soma_nn_rnn_ex}, {"LSTM", soma_nn_lstm_ex}, {"GRU", soma_nn_gru_ex}};
    for (size_t i = 0; i < SOMA_LEN(kinds); i++) {
        soma_nn_rnn_opts none = {0}, deep = {.num_layers = 2, .bidirectional = true, .batch_first = true}, nobias = {.num_layers = 2, .no_bias = true};
        recurrent(kinds[i].name, "plain", kinds[i].make, none, false, false, false);
        recurrent(kinds[i].name, "deep", kinds[i].make, deep, true, false, false);
        recurrent(kinds[i].name, "nobias", kinds[i].make, nobias, false, false, false);
        recurrent(kinds[i].name, "lengths", kinds[i].make, deep, true, true, false);
        recurrent(kinds[i].name, "unbatched", kinds[i].make, none, false, false, true);
    }
    recurrent("RNN", "relu", soma_nn_rnn_ex, (soma_nn_rnn_opts){.relu = true}, false, false, false);
}

/* With and without a gradient different memory is used; small batches, large ones and few steps go different ways: the same bits. */
static void test_recurrent_without_gradient(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 3}, {3, 20}, {9, 5}, {40, 7}}; /* batch, steps */
    soma_scope scope = soma_scope_begin();
    for (int i = 0; i < 12; i++) {
        const int64_t batch = sizes[i / 3][0], steps = sizes[i / 3][1];
        soma_nn_rnn_opts o = {.batch_first = i % 2, .bidirectional = true};
        soma_module *m = i % 3 == 0 ? soma_nn_lstm_ex(6, 50, &o) : i % 3 == 1 ? soma_nn_gru_ex(6, 50, &o) : soma_nn_rnn_ex(6, 50, &o);
        soma_tensor *x = soma_randn(SOMA_SHAPE(o.batch_first ? batch : steps, o.batch_first ? steps : batch, 6), SOMA_F32), *y[2], *h[2], *c[2];
        soma_tensor *lengths = i > 5 ? soma_randint(0, steps + 1, SOMA_SHAPE(batch), SOMA_I64) : NULL;
        for (int k = 0; k < 2; k++) {
            const bool was = soma_set_grad_enabled(k == 0);
            y[k] = soma_nn_recur(m, x, .lengths = lengths, .hn = &h[k], .cn = &c[k]);
            soma_set_grad_enabled(was);
        }
        assert_true(largest_difference(y[0], y[1]) == 0 && largest_difference(h[0], h[1]) == 0);
        assert_true(i % 3 != 0 || largest_difference(c[0], c[1]) == 0);
        soma_nn_free(m);
    }
    assert_int_equal(soma_error(), SOMA_OK);
    soma_scope_end(scope);
}

static void test_cells(void **state) {
    (void)state;
    static const char *const names[] = {"RNNCell", "LSTMCell", "GRUCell"};
    for (int i = 0; i < 3; i++) {
        soma_scope scope = soma_scope_begin();
        soma_module *m = i == 0 ? soma_nn_rnn_cell(3, 4, false, false) : i == 1 ? soma_nn_lstm_cell(3, 4, false) : soma_nn_gru_cell(3, 4, false);
        begin(names[i], m);
        soma_tensor *in[] = {given(0, SOMA_SHAPE(2, 3)), given(1, SOMA_SHAPE(2, 4)), given(2, SOMA_SHAPE(2, 4))}, *out[2];
        out[0] = soma_nn_recur(m, in[0], .h0 = in[1], .c0 = i == 1 ? in[2] : NULL, .cn = &out[1]);
        compare_all(m, out, i == 1 ? 2 : 1, in, i == 1 ? 3 : 2);
        soma_scope_end(scope);
    }
}

/* ---- Embeddings ---- */

static soma_tensor *tokens(bool flat) {
    static const int64_t t[] = {1, 0, 4, 2, 2, 0};
    return flat ? soma_from_array(t, SOMA_SHAPE(6), SOMA_I64) : soma_from_array(t, SOMA_SHAPE(2, 3), SOMA_I64);
}

static void test_embeddings(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *plain[] = {soma_nn_embedding(5, 3), soma_nn_embedding(5, 3, .pad = true, .padding_idx = 2), soma_nn_embedding(5, 3, .max_norm = 0.3)};
    static const char *const names[] = {"Embedding", "Embedding pad", "Embedding max_norm"};
    for (int i = 0; i < 3; i++) {
        begin(names[i], plain[i]);
        soma_tensor *y = soma_nn_forward(plain[i], tokens(false));
        compare_all(plain[i], &y, 1, NULL, 0);
    }
    static const struct { const char *name; soma_bag mode; } modes[] = {{"mean", SOMA_BAG_MEAN}, {"sum", SOMA_BAG_SUM}, {"max", SOMA_BAG_MAX}};
    for (int i = 0; i < 9; i++) {
        char name[40];
        int kind = i / 3;
        snprintf(name, sizeof name, "EmbeddingBag %s%s", kind == 0 ? "" : kind == 1 ? "pad " : "offsets ", modes[i % 3].name);
        soma_module *m = soma_nn_embedding_bag(5, 3, .mode = modes[i % 3].mode, .pad = kind == 1);
        begin(name, m);
        soma_tensor *in[] = {tokens(kind == 2), soma_from_array((const int64_t[]){0, 2, 2}, SOMA_SHAPE(3), SOMA_I64)};
        soma_tensor *y = soma_nn_forward_n(m, in, kind == 2 ? 2 : 1);
        compare_all(m, &y, 1, NULL, 0);
    }
    soma_module *m = soma_nn_embedding_bag(5, 3, .mode = SOMA_BAG_SUM);
    begin("EmbeddingBag weights", m);
    soma_tensor *in[] = {tokens(false), given(0, SOMA_SHAPE(2, 3))}, *y = soma_nn_forward_n(m, in, 2);
    compare_all(m, &y, 1, in + 1, 1);
    m = soma_nn_embedding(5, 3);
    assert_null(soma_nn_forward(m, soma_from_array((const int64_t[]){1, 7}, SOMA_SHAPE(2), SOMA_I64)));
    check_error(SOMA_EINVAL, "7 at position [1]");
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* ---- Attention ---- */

static soma_tensor *pad_mask(void) {
    return soma_from_array((const uint8_t[]){0, 0, 0, 1, 1, 0, 0, 0, 0, 1}, SOMA_SHAPE(2, 5), SOMA_BOOL);
}
static soma_tensor *causal_mask(int64_t n) { return soma_triu(soma_ones(SOMA_SHAPE(n, n), SOMA_BOOL), 1); }

static soma_module *mha(void) { return soma_nn_attention(6, 2, .batch_first = true); }

static void test_attention(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *in[3], *out[2];
    soma_module *m = mha();
    begin("MHA self", m);
    in[0] = given(0, SOMA_SHAPE(2, 5, 6));
    out[0] = soma_nn_attend(m, in[0], .weights = &out[1]);
    compare_all(m, out, 2, in, 1);

    m = soma_nn_attention(6, 2);
    begin("MHA first", m);
    in[0] = given(0, SOMA_SHAPE(4, 2, 6)), in[1] = given(1, SOMA_SHAPE(5, 2, 6)), in[2] = given(2, SOMA_SHAPE(5, 2, 6));
    out[0] = soma_nn_attend(m, in[0], .key = in[1], .value = in[2], .weights = &out[1]);
    compare_all(m, out, 2, in, 3);

    m = soma_nn_attention(6, 2, .batch_first = true, .no_bias = true);
    begin("MHA nobias", m);
    in[0] = given(0, SOMA_SHAPE(2, 5, 6)), in[1] = given(1, SOMA_SHAPE(2, 5, 6)), in[2] = given(2, SOMA_SHAPE(2, 5, 6));
    out[0] = soma_nn_forward_n(m, in, 3);
    compare_all(m, out, 1, in, 3);

    m = mha();
    begin("MHA pad", m);
    in[0] = given(0, SOMA_SHAPE(2, 5, 6));
    out[0] = soma_nn_attend(m, in[0], .key_padding_mask = pad_mask(), .weights = &out[1]);
    compare_all(m, out, 2, in, 1);

    for (int own = 0; own < 3; own++) { /* the triangle as a mask, by the call, by the layer */
        m = own == 2 ? soma_nn_attention(6, 2, .batch_first = true, .causal = true) : mha();
        begin("MHA causal", m);
        in[0] = given(0, SOMA_SHAPE(2, 5, 6));
        out[0] = soma_nn_attend(m, in[0], .attn_mask = own == 0 ? causal_mask(5) : NULL, .key_padding_mask = pad_mask(), .is_causal = own == 1);
        compare_all(m, out, 1, in, 1);
    }

    for (int kind = 0; kind < 2; kind++) { /* padding as bool and as float; torch 1.13 misreads the latter, newer ones add it */
        m = mha();
        begin("MHA float", m);
        in[0] = given(0, SOMA_SHAPE(2, 5, 6));
        soma_tensor *pad = kind == 0 ? pad_mask() : soma_masked_fill(soma_zeros(SOMA_SHAPE(2, 5), SOMA_F64), pad_mask(), -INFINITY);
        out[0] = soma_nn_attend(m, in[0], .attn_mask = sines(0.5, 0.3, 1, SOMA_SHAPE(5, 5)), .key_padding_mask = pad);
        compare_all(m, out, 1, in, 1);
    }

    m = mha();
    begin("MHA heads", m);
    in[0] = given(0, SOMA_SHAPE(2, 4, 6)), in[1] = given(1, SOMA_SHAPE(2, 5, 6)), in[2] = given(2, SOMA_SHAPE(2, 5, 6));
    out[0] = soma_nn_attend(m, in[0], .key = in[1], .value = in[2],
                            .attn_mask = soma_gt(soma_reshape(soma_sin(soma_arange(0, 80, 1, SOMA_F64)), SOMA_SHAPE(4, 4, 5)), soma_scalar(0.8)));
    compare_all(m, out, 1, in, 3);

    m = soma_nn_attention(6, 2, .batch_first = true, .kdim = 3, .vdim = 4);
    begin("MHA kdim", m);
    in[0] = given(0, SOMA_SHAPE(2, 5, 6)), in[1] = given(1, SOMA_SHAPE(2, 5, 3)), in[2] = given(2, SOMA_SHAPE(2, 5, 4));
    out[0] = soma_nn_forward_n(m, in, 3);
    compare_all(m, out, 1, in, 3);

    m = mha();
    begin("MHA unbatched", m);
    in[0] = given(0, SOMA_SHAPE(5, 6));
    out[0] = soma_nn_attend(m, in[0], .weights = &out[1]);
    compare_all(m, out, 2, in, 1);
    soma_scope_end(scope);
}

/* Long sequences without gradients are done in parts, with the same result. */
static void test_long_attention(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    static const int64_t n = 1500;
    soma_tensor *q = soma_requires_grad_(soma_randn(SOMA_SHAPE(2, 2, n, 8), SOMA_F32), true), *k = soma_randn(SOMA_SHAPE(2, 2, n, 8), SOMA_F32);
    soma_tensor *masks[] = {NULL, soma_gt(soma_rand(SOMA_SHAPE(n, n), SOMA_F32), soma_scalar(0.5)), soma_randn(SOMA_SHAPE(2, 1, 1, n), SOMA_F32), NULL};
    for (int i = 0; i < 4; i++) {
        soma_scope inner = soma_scope_begin();
        soma_tensor *whole = soma_scaled_dot_product_attention(q, k, k, .mask = masks[i], .is_causal = i == 3);
        soma_set_grad_enabled(false);
        soma_memory_reset_peak();
        int64_t before = soma_memory_stats().current;
        soma_tensor *parts = soma_scaled_dot_product_attention(q, k, k, .mask = masks[i], .is_causal = i == 3);
        assert_true(soma_memory_stats().peak - before < 4 * 4 * n * n * 4 || i == 1); /* far from the scores and their softmax as a whole */
        assert_true(largest_difference(whole, parts) < 1e-5);
        soma_set_grad_enabled(true);
        check_ok();
        soma_scope_end(inner);
    }
    soma_scope_end(scope);
}

/* ---- Transformers ---- */

static void test_transformers(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *in[2], *y;
    for (int first = 0; first < 2; first++) {
        soma_module *m = soma_nn_transformer_encoder_layer(6, 2, .dim_feedforward = 7, .dropout = -1, .gelu = true, .batch_first = true, .norm_first = first);
        begin(first ? "Encoder normfirst" : "Encoder", m);
        in[0] = given(0, SOMA_SHAPE(2, 5, 6));
        y = soma_nn_transform(m, in[0], .mask = causal_mask(5), .key_padding_mask = pad_mask());
        compare_all(m, &y, 1, in, 1);
        m = soma_nn_transformer_decoder_layer(6, 2, .dim_feedforward = 7, .dropout = -1, .batch_first = true, .norm_first = first);
        begin(first ? "Decoder normfirst" : "Decoder", m);
        in[0] = given(0, SOMA_SHAPE(2, 4, 6)), in[1] = given(1, SOMA_SHAPE(2, 5, 6));
        y = soma_nn_transform(m, in[0], .memory = in[1], .mask = causal_mask(4), .memory_key_padding_mask = pad_mask());
        compare_all(m, &y, 1, in, 2);
    }
    soma_nn_transformer_opts o = {.dim_feedforward = 7, .dropout = -1};
    soma_module *m = soma_nn_transformer_encoder(2, 6, 2, true, &o);
    begin("Encoder stack", m);
    in[0] = given(0, SOMA_SHAPE(5, 2, 6));
    y = soma_nn_transform(m, in[0], .mask = causal_mask(5));
    compare_all(m, &y, 1, in, 1);
    m = soma_nn_transformer_decoder(2, 6, 2, false, &o);
    begin("Decoder stack", m);
    in[0] = given(0, SOMA_SHAPE(4, 2, 6)), in[1] = given(1, SOMA_SHAPE(5, 2, 6));
    y = soma_nn_forward_n(m, in, 2);
    compare_all(m, &y, 1, in, 2);
    o.batch_first = o.causal = true;
    m = soma_nn_transformer(6, 2, 1, 2, &o);
    begin("Transformer", m);
    in[0] = given(0, SOMA_SHAPE(2, 5, 6)), in[1] = given(1, SOMA_SHAPE(2, 4, 6));
    y = soma_nn_forward_n(m, in, 2);
    compare_all(m, &y, 1, in, 2);
    soma_scope_end(scope);
}

/* ---- Step by step ---- */

/* Words of layers of two inputs are PyTorch's modules, and equal the constructed ones bit by bit; so does the network that is written out and
 * read again. */
static void test_words_of_two_inputs(void **state) {
    (void)state;
    soma_nn_transformer_opts first = {.dim_feedforward = 7, .dropout = -1}, causal = {.dim_feedforward = 7, .dropout = -1, .batch_first = true, .causal = true};
    soma_nn_attention_opts kdim = {.batch_first = true, .kdim = 3, .vdim = 4};
    const struct {
        const char *golden, *text;
        soma_module *built;
        int64_t a[3], b[3], c[3];
    } cases[] = {
        {"Bilinear", "bilinear 4", soma_nn_bilinear(5, 6, 4), {2, 3, 5}, {2, 3, 6}, {0}},
        {"Bilinear", "bilinear 4(input 0 | input 1)", soma_nn_bilinear(5, 6, 4), {2, 3, 5}, {2, 3, 6}, {0}},
        {"Decoder alone", "decoderlayer 6 heads 2 feedforward 7 dropout 0 timefirst(input 0 | input 1)",
         soma_nn_transformer_decoder_layer_ex(6, 2, &first), {4, 2, 6}, {5, 2, 6}, {0}},
        {"Decoder stack", "decoder 6 heads 2 feedforward 7 dropout 0 timefirst layers 2", soma_nn_transformer_decoder(2, 6, 2, false, &first),
         {4, 2, 6}, {5, 2, 6}, {0}},
        {"Transformer", "encoderdecoder 6 heads 2 feedforward 7 dropout 0 causal encoderlayers 1 decoderlayers 2", soma_nn_transformer(6, 2, 1, 2, &causal),
         {2, 5, 6}, {2, 4, 6}, {0}},
        {"MHA kdim", "attention 2 kdim 3 vdim 4(input 0 | input 1 | input 2)", soma_nn_attention_ex(6, 2, &kdim), {2, 5, 6}, {2, 5, 3}, {2, 5, 4}},
    };
    for (size_t i = 0; i < SOMA_LEN(cases); i++) {
        soma_scope scope = soma_scope_begin();
        int n = cases[i].c[0] ? 3 : 2;
        soma_tensor *in[3] = {given(0, 3, cases[i].a), given(1, 3, cases[i].b), n > 2 ? given(2, 3, cases[i].c) : NULL};
        soma_module *m = parse(cases[i].text);
        soma_nn_to(m, SOMA_F64);
        assert_int_equal(soma_nn_named(m, true, NULL, 0), 0);
        assert_int_equal(soma_nn_build_n(m, in, n), SOMA_OK);
        soma_nn_to(cases[i].built, SOMA_F64);
        begin(cases[i].golden, m);
        begin(cases[i].golden, cases[i].built);
        soma_tensor *y = soma_nn_forward_n(m, in, n), *want = soma_nn_forward_n(cases[i].built, in, n);
        check_ok();
        assert_true(largest_difference(y, want) == 0);
        char text[300], path[300];
        assert_true(soma_nn_describe(m, text, sizeof text) < sizeof text);
        assert_string_equal(text, cases[i].text);
        snprintf(path, sizeof path, "%s", temporary("two.safetensors"));
        assert_int_equal(soma_nn_save(m, path), SOMA_OK);
        soma_module *again = soma_nn_open(path); /* rounded to f32 */
        soma_nn_to(again, SOMA_F64);
        check_ok();
        assert_true(largest_difference(soma_nn_forward_n(again, in, n), want) < 1e-4);
        soma_nn_free(again);
        again = parse(text);
        soma_nn_to(again, SOMA_F64);
        assert_int_equal(soma_nn_load(again, path), SOMA_OK);
        assert_true(largest_difference(soma_nn_forward_n(again, in, n), want) == 0);
        remove(path);
        soma_nn_free(again);
        soma_nn_free(m);
        compare_all(cases[i].built, &want, 1, in, n);
        soma_scope_end(scope);
    }
}

/* Two inputs through nested blocks; what does not fit is named; the summary; filling; nothing is made by the text alone. */
static void test_networks_of_two_inputs(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    static const char text[] = "decoder 8 heads 2 feedforward 9 dropout 0 causal layers 2 norm(input 1, embedding 7 8, position"
                               " | input 0, embedding 6 8 as source, position, encoder 8 heads 2 feedforward 9 dropout 0 layers 1), linear 7";
    soma_module *m = parse(text);
    char out[4000];
    soma_nn_describe(m, out, sizeof out);
    assert_string_equal(out, text);
    soma_tensor *in[] = {soma_zeros(SOMA_SHAPE(3, 5), SOMA_I64), soma_ones(SOMA_SHAPE(3, 4), SOMA_I64)};
    assert_true(soma_nn_summary_n(m, in, 2, out, sizeof out) < sizeof out);
    check_ok();
    assert_non_null(strstr(out, "[3, 5]"));
    assert_non_null(strstr(out, "[3, 4, 7]"));
    assert_non_null(soma_nn_get(m, "0.layer.layers.1.multihead_attn.in_proj_weight"));
    assert_non_null(soma_nn_get(m, "0.1.source.weight"));
    soma_tensor *y = soma_nn_forward_n(m, in, 2);
    check_ok();
    assert_int_equal(soma_size(y, 2), 7);
    soma_backward(soma_sum(y, SOMA_ALL, false));
    assert_non_null(soma_grad(soma_nn_get(m, "0.1.source.weight")));
    assert_null(soma_nn_forward(m, in[0]));
    check_error(SOMA_EINVAL, "there is no input 1: 1 is given");
    soma_cache *cache = soma_nn_cache_new();
    assert_null(soma_nn_forward_cached(m, cache, in[0]));
    check_error(SOMA_EUNSUPPORTED, "step by step");
    soma_nn_cache_free(cache);
    soma_nn_free(m);

    m = parse("bilinear 3(input 0, tanh | (tanh))"); /* the second branch's first layer takes one input */
    assert_null(soma_nn_forward_n(m, (soma_tensor *[]){soma_ones(SOMA_SHAPE(2, 2), SOMA_F32), soma_ones(SOMA_SHAPE(2, 2), SOMA_F32)}, 2));
    check_error(SOMA_EINVAL, "in 0.1.0 (Tanh): Tanh takes one input, not 2");
    soma_nn_free(m);
    m = parse("linear 3");
    assert_null(soma_nn_forward_n(m, (soma_tensor *[]){soma_ones(SOMA_SHAPE(2, 2), SOMA_F32), soma_ones(SOMA_SHAPE(2, 2), SOMA_F32)}, 2));
    check_error(SOMA_EINVAL, "in 0 (Linear): Linear takes one input, not 2");
    soma_nn_free(m);

    /* a branch for each and one input for all of them; residual blocks and parallel ones around */
    m = soma_nn_seq(soma_nn_parallel(soma_nn_branches(soma_nn_bilinear(0, 0, 3), soma_nn_linear(0, 4), soma_nn_tanh()), soma_nn_input(0)), soma_nn_relu());
    soma_nn_describe(m, out, sizeof out);
    assert_string_equal(out, "parallel(bilinear 3(linear 4 | tanh) | input 0), relu");
    assert_int_equal(soma_size(soma_nn_forward(m, soma_ones(SOMA_SHAPE(2, 5), SOMA_F32)), 1), 8);
    soma_nn_free(m);
    assert_null(soma_nn_branches(soma_nn_linear(2, 2), NULL));
    check_error(SOMA_EINVAL, "NULL");
    assert_null(soma_nn_branches(NULL, soma_nn_tanh()));
    check_error(SOMA_EINVAL, "Branches");
    assert_null(soma_nn_input(-1));
    check_error(SOMA_EINVAL, "at least 0");

    /* a Transformer fills its matrices by Glorot's rule also when they wait: bound sqrt(6 / (8 + 9)) of linear1, where a Linear's own is 1 / sqrt(8) */
    m = parse("encoderdecoder 8 heads 2 feedforward 9 encoderlayers 1 decoderlayers 1");
    soma_tensor *x = soma_ones(SOMA_SHAPE(1, 2, 8), SOMA_F32);
    assert_int_equal(soma_nn_build_n(m, (soma_tensor *[]){x, x}, 2), SOMA_OK);
    double largest = soma_item(soma_amax(soma_abs(soma_nn_get(m, "0.decoder.layers.0.linear1.weight")), SOMA_ALL, false));
    assert_true(largest > 1 / sqrt(8) && largest < sqrt(6.0 / 17));
    soma_nn_free(m);
    soma_scope_end(scope);
}

static void test_two_inputs_memory(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_ones(SOMA_SHAPE(1, 2, 4), SOMA_F32);
    for (int64_t k = 1; k < 5000; k++) {
        soma_memory_fail_at(k);
        soma_module *m = soma_nn_parse("decoder 4 heads 2 feedforward 3 layers 1(input 0 | bilinear 4(input 1 | input 1, linear 3))");
        soma_tensor *y = soma_nn_forward_n(m, (soma_tensor *[]){x, x}, 2);
        soma_memory_fail_at(0);
        soma_nn_free(m);
        if (y) {
            check_ok();
            assert_true(k > 100);
            break;
        }
        check_error(SOMA_ENOMEM, "");
    }
    soma_scope_end(scope);
}

static const char *const decoders[] = {
    "embedding 11 8 as wte, learnedposition 12, repeat 2 (transformer 8 heads 2 feedforward 16 dropout 0 gelu normfirst causal), layernorm, linear 11 nobias tied wte",
    "embedding 11 8, transformer 8 heads 2 feedforward 16 dropout 0 causal rotary, linear 11",
    "embedding 11 8, position, residual(attention 4 causal nobias), linear 11",
    "embedding 11 8, lstm 6 layers 2, linear 11",
    "embedding 11 8, gru 6, rnn 5 relu, linear 11",
};

static void test_cache(void **state) {
    (void)state;
    soma_seed(5);
    for (size_t i = 0; i < SOMA_LEN(decoders); i++) {
        soma_scope scope = soma_scope_begin();
        soma_module *m = parse(decoders[i]);
        soma_nn_train(m, false);
        soma_tensor *x = soma_randint(0, 11, SOMA_SHAPE(2, 9), SOMA_I64), *whole = soma_nn_forward(m, x);
        check_ok();
        static const int64_t cuts[][5] = {{0, 1, 2, 3, 9}, {0, 4, 5, 9, 9}, {0, 9, 9, 9, 9}};
        for (int c = 0; c < 3; c++) {
            soma_cache *cache = soma_nn_cache_new();
            for (int k = 0; k < 4; k++) {
                int64_t from = cuts[c][k], to = cuts[c][k + 1];
                if (from == to)
                    continue;
                soma_tensor *part = soma_nn_forward_cached(m, cache, soma_slice(x, 1, from, to, 1));
                check_ok();
                assert_int_equal(soma_nn_cache_steps(cache), to);
                assert_true(largest_difference(part, soma_slice(whole, 1, from, to, 1)) < 1e-5);
            }
            soma_nn_cache_free(cache);
        }
        soma_nn_free(m);
        soma_scope_end(scope);
    }
}

/* The output of step t does not depend on later steps, in value or gradient. */
static void test_causal(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        soma_scope scope = soma_scope_begin();
        soma_module *m = parse(kind == 0 ? "transformer 8 heads 2 feedforward 16 dropout 0 causal" : kind == 1 ? "attention 2 causal rotary" : "lstm 8");
        soma_tensor *x = soma_requires_grad_(soma_randn(SOMA_SHAPE(1, 6, 8), SOMA_F32), true);
        soma_tensor *y = soma_nn_forward(m, x);
        soma_backward(soma_sum(soma_square(soma_select(y, 1, 3)), SOMA_ALL, false));
        check_ok();
        soma_tensor *g = soma_abs(soma_grad(x));
        assert_true(soma_item(soma_sum(soma_slice(g, 1, 4, 6, 1), SOMA_ALL, false)) == 0);
        for (int64_t t = 0; t < 4; t++)
            assert_true(soma_item(soma_sum(soma_select(g, 1, t), SOMA_ALL, false)) > 0);
        soma_nn_free(m);
        soma_scope_end(scope);
    }
}

static void test_generate(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(3);
    soma_module *m = parse(decoders[0]);
    int64_t a[30] = {1, 2, 3}, b[30] = {1, 2, 3}, best[12] = {1, 2, 3};
    assert_int_equal(soma_nn_generate(m, best, 3, 9, .temperature = -1), SOMA_OK);
    for (int64_t have = 3; have < 12; have++) { /* as the whole forward would choose */
        soma_nn_train(m, false);
        soma_tensor *y = soma_nn_forward(m, soma_from_array(best, SOMA_SHAPE(1, have), SOMA_I64));
        soma_nn_train(m, true);
        assert_int_equal(best[have], soma_item_int(soma_argmax(soma_select(soma_select(y, 0, 0), 0, -1), 0, false)));
    }
    soma_rng rng = soma_rng_get();
    assert_int_equal(soma_nn_generate(m, a, 3, 27, .temperature = 0.8, .top_k = 4, .context = 12), SOMA_OK); /* beyond the 12 positions */
    soma_rng_set(rng);
    assert_int_equal(soma_nn_generate(m, b, 3, 27, .temperature = 0.8, .top_k = 4, .context = 12), SOMA_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_true(soma_nn_training(m));
    int64_t c[30] = {1, 2, 3};
    assert_int_equal(soma_nn_generate(m, c, 3, 9, .top_p = 1e-9), SOMA_OK); /* the likeliest alone */
    assert_memory_equal(c, best, sizeof best);
    assert_int_equal(soma_nn_generate(m, a, 3, 27), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "step 12 is beyond the 12 positions that were learned");
    assert_int_equal(soma_nn_generate(m, a, 0, 27), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "at least one token");
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* ---- Words, files, messages ---- */

static void test_words(void **state) {
    (void)state;
    static const char *const texts[] = {
        "embedding 11 8 pad 0 std 0.5, lstm 6 layers 2 bidirectional dropout 0.25, overtime max, linear 3",
        "embedding 11 8, gru 6 bidirectional last nobias, linear 3",
        "embedding 11 8, rnn 6 relu, overtime last, linear 3",
        "embeddingbag 11 8 max pad 3, linear 3",
        "embedding 11 8, position, attention 2 causal rotary dropout 0.1 nobias, overtime, linear 3",
        "embedding 11 8, learnedposition 20 std 0.5, transformer 8 heads 2 feedforward 12 dropout 0 gelu normfirst causal, overtime, linear 3",
        "embedding 11 8, transformer 8 heads 4, overtime, linear 3",
        "textcnn 11 classes 3 features 8 maps 4",
        "bilstm 11 classes 3 features 8 hidden 4 dropout 0.25",
    };
    const char *path = temporary("sequence.safetensors");
    for (size_t i = 0; i < SOMA_LEN(texts); i++) {
        soma_scope scope = soma_scope_begin();
        soma_module *m = parse(texts[i]);
        char text[600];
        soma_nn_describe(m, text, sizeof text);
        if (strncmp(texts[i], "embedding", 9) == 0) /* models by name are written out */
            assert_string_equal(text, texts[i]);
        assert_int_equal(soma_nn_build(m, SOMA_SHAPE(2, 7)), SOMA_OK);
        soma_nn_train(m, false);
        soma_tensor *x = soma_randint(0, 11, SOMA_SHAPE(4, 7), SOMA_I64), *y = soma_nn_forward(m, x);
        check_ok();
        assert_int_equal(soma_ndim(y), 2);
        assert_int_equal(soma_size(y, 1), 3);
        soma_tensor *same = soma_nn_forward(m, soma_to(x, SOMA_F32)); /* tokens as a loader gives them */
        assert_true(largest_difference(y, same) == 0);
        assert_int_equal(soma_nn_save(m, path), SOMA_OK);
        soma_module *opened = soma_nn_open(path);
        check_ok();
        assert_true(largest_difference(y, soma_nn_forward(opened, x)) == 0);
        soma_nn_summary(m, SOMA_SHAPE(2, 7), text, sizeof text);
        check_ok();
        soma_nn_free(opened);
        soma_nn_free(m);
        soma_scope_end(scope);
    }
    unlink(path);
}

static void test_messages(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = soma_nn_lstm(3, 4);
    assert_null(soma_nn_forward(m, soma_zeros(SOMA_SHAPE(5, 2, 4), SOMA_F32)));
    check_error(SOMA_ESHAPE, "input [5, 2, 4] does not fit weight [16, 3]");
    assert_null(soma_nn_recur(m, soma_zeros(SOMA_SHAPE(5, 2, 3), SOMA_F32), .h0 = soma_zeros(SOMA_SHAPE(2, 4), SOMA_F32)));
    check_error(SOMA_ESHAPE, "h0 is [2, 4], expected [1, 2, 4]");
    assert_null(soma_nn_attend(m, soma_zeros(SOMA_SHAPE(5, 2, 3), SOMA_F32)));
    check_error(SOMA_EINVAL, "LSTM is not attention");
    soma_nn_free(m);
    m = mha();
    assert_null(soma_nn_attend(m, soma_zeros(SOMA_SHAPE(2, 5, 6), SOMA_F32), .key_padding_mask = soma_zeros(SOMA_SHAPE(2, 4), SOMA_BOOL)));
    check_error(SOMA_ESHAPE, "key_padding_mask is [2, 4], expected [batch, S]");
    soma_cache *cache = soma_nn_cache_new();
    assert_null(soma_nn_forward_cached(m, cache, soma_zeros(SOMA_SHAPE(2, 1, 6), SOMA_F32)));
    check_error(SOMA_EUNSUPPORTED, "step by step attention must be causal");
    soma_nn_cache_free(cache);
    soma_nn_free(m);
    assert_null(soma_nn_attention(6, 4));
    check_error(SOMA_ESHAPE, "6 features cannot be divided among 4 heads");
    assert_null(soma_nn_embedding(5, 3, .pad = true, .padding_idx = 5));
    check_error(SOMA_EINVAL, "padding_idx 5 is out of range for 5 rows");
    soma_scope_end(scope);
}

/* Dropout between layers is drawn in training only, and the same for a seed. */
static void test_dropout(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = soma_nn_gru(3, 4, .num_layers = 2, .dropout = 0.5);
    soma_tensor *x = soma_ones(SOMA_SHAPE(5, 2, 3), SOMA_F32);
    soma_seed(1);
    soma_tensor *a = soma_nn_forward(m, x);
    soma_seed(1);
    soma_tensor *b = soma_nn_forward(m, x), *c = soma_nn_forward(m, x);
    soma_nn_train(m, false);
    soma_tensor *d = soma_nn_forward(m, x), *e = soma_nn_forward(m, x);
    assert_true(largest_difference(a, b) == 0 && largest_difference(a, c) > 0 && largest_difference(d, e) == 0);
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* Memory that ends at any place gives an error and nothing worse. */
static void test_memory(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(decoders); i++) {
        bool done = false;
        for (int64_t k = 1; !done; k += k < 40 ? 1 : 17) {
            assert_true(k < 4000);
            soma_scope scope = soma_scope_begin();
            soma_tensor *x = soma_zeros(SOMA_SHAPE(2, 4), SOMA_I64);
            int64_t tokens[8] = {1};
            soma_memory_fail_at(k);
            soma_module *m = soma_nn_parse(decoders[i]);
            soma_tensor *y = soma_nn_forward(m, x);
            if (y)
                soma_backward(soma_sum(y, SOMA_ALL, false));
            done = m && soma_nn_generate(m, tokens, 1, 5) == SOMA_OK;
            soma_memory_fail_at(0);
            if (!done)
                check_error(SOMA_ENOMEM, "");
            soma_nn_free(m);
            soma_scope_end(scope);
        }
    }
}

/* The dtype of a whole network. */
static void test_dtype(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    for (size_t i = 0; i < SOMA_LEN(decoders); i++) {
        soma_module *m = parse(decoders[i]);
        assert_int_equal(soma_nn_to(m, SOMA_F64), SOMA_OK); /* sizes still open */
        soma_tensor *y = soma_nn_forward(m, soma_zeros(SOMA_SHAPE(2, 4), SOMA_I64));
        check_ok();
        assert_int_equal(soma_dtype_of(y), SOMA_F64);
        soma_nn_free(m);
    }
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_recurrent), TEST(test_recurrent_without_gradient), TEST(test_cells), TEST(test_embeddings), TEST(test_attention),
        TEST(test_long_attention), TEST(test_transformers),
        TEST(test_words_of_two_inputs), TEST(test_networks_of_two_inputs), TEST(test_two_inputs_memory), TEST(test_cache),
        TEST(test_causal), TEST(test_generate), TEST(test_words), TEST(test_messages), TEST(test_dropout), TEST(test_memory), TEST(test_dtype),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
