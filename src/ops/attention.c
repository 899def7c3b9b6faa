/* Attention and positions: composites. */
#include "ops/attention.h"

#include <math.h>
#include <stdio.h>

/* ---- Scaled dot-product attention -------------------------------------------------------------------------------------- */

enum { Q, K, V, MASK };
enum { DROPOUT_P, IS_CAUSAL, SCALE, ENABLE_GQA };

soma_tensor *soma__attention_later(int64_t from, int64_t l, int64_t s) {
    return soma_lt(soma_unsqueeze(soma_arange((double)from, (double)(from + l), 1, SOMA_I64), 1), soma_arange(0, (double)s, 1, SOMA_I64));
}

/* Heads of key and value, each repeated for its group of queries: [..., H, S, E] -> [..., H n, S, E]. */
static soma_tensor *repeated(soma_tensor *t, int64_t n) {
    if (n == 1)
        return t;
    int64_t shape[SOMA_MAX_DIMS + 1];
    int ndim = soma_ndim(t) + 1;
    t = soma_unsqueeze(t, -3);
    for (int i = 0; i < ndim && t; i++)
        shape[i] = soma_size(t, i);
    shape[ndim - 3] = n;
    t = soma_expand(t, ndim, shape);
    return soma_flatten(t, ndim - 4, ndim - 3);
}

static bool fail_inputs(const soma_args *a, const char *why) {
    char q[SOMA__SHAPE_TEXT], k[SOMA__SHAPE_TEXT], v[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "query is %s, key is %s, value is %s: %s", soma__tensor_text(a->in[Q], q), soma__tensor_text(a->in[K], k),
              soma__tensor_text(a->in[V], v), why);
    return false;
}

/* Number of queries' heads that share one of key's and value's; 0 with the error recorded. */
static int64_t group_of(const soma_args *a) {
    const soma_tensor *q = a->in[Q], *k = a->in[K], *v = a->in[V];
    const char *why = NULL;
    if (q->ndim < 2 || k->ndim < 2 || v->ndim < 2)
        why = "each needs [..., steps, features]";
    else if (q->shape[q->ndim - 1] != k->shape[k->ndim - 1])
        why = "query and key must have the same number of features";
    else if (k->shape[k->ndim - 2] != v->shape[v->ndim - 2])
        why = "key and value must have the same number of steps";
    else if (a->attrs[ENABLE_GQA].value.i == 0)
        return 1;
    else if (q->ndim < 3 || k->ndim != q->ndim || v->ndim != q->ndim || q->ndim > SOMA_MAX_DIMS - 1)
        why = "grouped queries need [..., heads, steps, features]";
    else if (k->shape[k->ndim - 3] != v->shape[v->ndim - 3] || k->shape[k->ndim - 3] == 0 || q->shape[q->ndim - 3] % k->shape[k->ndim - 3] != 0)
        why = "query's heads must be a multiple of key's and value's";
    else
        return q->shape[q->ndim - 3] / k->shape[k->ndim - 3];
    fail_inputs(a, why);
    return 0;
}

static bool mask_fits(const soma_tensor *mask, const soma_meta *scores) {
    bool ok = mask->ndim <= scores->ndim;
    for (int i = 1; ok && i <= mask->ndim; i++) {
        int64_t have = mask->shape[mask->ndim - i], want = scores->shape[scores->ndim - i];
        ok = have == want || have == 1;
    }
    if (ok)
        return true;
    char m[SOMA__SHAPE_TEXT], s[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "attn_mask is %s, which does not broadcast to the scores %s", soma__tensor_text(mask, m),
              soma__shape_text(scores->ndim, scores->shape, s, sizeof s));
    return false;
}

/* Softmax over the keys that `mask` lets through; a query that may see none gets zeros, not NaN. */
static soma_tensor *masked_softmax(soma_tensor *scores, soma_tensor *mask) {
    int64_t last = -1;
    soma_tensor *none = soma_logical_not(soma_any(mask, 1, &last, true));
    scores = soma_masked_fill(scores, soma_logical_not(soma_logical_or(mask, none)), -INFINITY);
    return soma_masked_fill(soma_softmax(scores, -1), none, 0);
}

typedef struct attention {
    soma_tensor *q, *k, *v, *mask; /* k: [..., E, S], q scaled */
    bool causal;
    double p;
} attention;

/* For queries [from, to). */
static soma_tensor *attend(const attention *a, int64_t from, int64_t to) {
    bool all = from == 0 && to == soma_size(a->q, -2);
    soma_tensor *scores = soma_matmul(all ? a->q : soma_slice(a->q, -2, from, to, 1), a->k), *mask = a->mask, *weights;
    if (!scores)
        return NULL;
    if (mask && !all && mask->ndim > 1 && soma_size(mask, -2) > 1)
        mask = soma_slice(mask, -2, from, to, 1);
    if (a->causal) /* every query sees the first key at least */
        weights = soma_softmax(soma_masked_fill(scores, soma__attention_later(from, to - from, soma_size(scores, -1)), -INFINITY), -1);
    else if (mask && mask->dtype == SOMA_BOOL)
        weights = masked_softmax(scores, mask);
    else
        weights = soma_softmax(mask ? soma_add(scores, mask) : scores, -1);
    return soma_matmul(soma_dropout(weights, a->p, a->p != 0), a->v);
}

/* Without gradients and dropout the scores need not stand all at once: a few queries at a time. */
enum { SCORES_AT_ONCE = 1 << 22 };
static soma_tensor *in_parts(const attention *a, int64_t rows, int64_t part) {
    int64_t n = (rows + part - 1) / part;
    soma_tensor **parts = soma__calloc((size_t)n, sizeof *parts), *out = NULL;
    for (int64_t i = 0; parts && i < n; i++) {
        soma_scope scope = soma_scope_begin();
        parts[i] = attend(a, i * part, SOMA_MIN((i + 1) * part, rows));
        if (parts[i])
            soma_escape(parts[i]);
        soma_scope_end(scope);
    }
    if (parts && !soma__failed())
        out = soma_cat(parts, (int)n, -2);
    soma__free(parts);
    return out;
}

static bool recorded(const soma_args *a) {
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i] && a->in[i]->requires_grad)
            return soma_grad_enabled();
    return false;
}

/* Scores' shape [..., L, S] without computing them; the mask must broadcast to it. */
static bool scores_shape(const attention *a, soma_meta *m) {
    *m = (soma_meta){.ndim = SOMA_MAX(a->q->ndim, a->k->ndim)};
    for (int i = 3; i <= m->ndim; i++) {
        int64_t p = i <= a->q->ndim ? a->q->shape[a->q->ndim - i] : 1, q = i <= a->k->ndim ? a->k->shape[a->k->ndim - i] : 1;
        m->shape[m->ndim - i] = p == 1 ? q : p;
    }
    m->shape[m->ndim - 2] = a->q->shape[a->q->ndim - 2];
    m->shape[m->ndim - 1] = a->k->shape[a->k->ndim - 1];
    return !a->mask || mask_fits(a->mask, m);
}

static bool attention_compose(soma_args *a) {
    soma_tensor *q = a->in[Q], *mask = a->in[MASK];
    double scale = a->attrs[SCALE].value.f;
    int64_t group = group_of(a), features = q->ndim > 0 ? q->shape[q->ndim - 1] : 0;
    attention t = {.mask = mask, .causal = a->attrs[IS_CAUSAL].value.i != 0, .p = a->attrs[DROPOUT_P].value.f};
    if (group == 0)
        return false;
    if (mask && t.causal) {
        soma_fail(SOMA_EINVAL, "attn_mask and is_causal exclude each other; put the triangle into the mask");
        return false;
    }
    if (mask && mask->dtype != SOMA_BOOL && mask->dtype != q->dtype)
        t.mask = soma_to(mask, (soma_dtype)q->dtype);
    scale = scale == 0 ? 1 / sqrt((double)SOMA_MAX(features, 1)) : scale;
    t.k = repeated(a->in[K], group);
    t.v = repeated(a->in[V], group);
    if (!soma__failed() && q->dtype == SOMA_F32 && !mask && t.p == 0 && soma__attention_fuses(q, t.k, t.v))
        return soma__return(a, soma__attention_fused(q, t.k, t.v, t.causal, scale));
    t.q = soma_mul_scalar(q, scale);
    t.k = soma_transpose(t.k, -1, -2);
    soma_meta scores;
    if (soma__failed() || !scores_shape(&t, &scores))
        return false;
    int64_t rows = scores.shape[scores.ndim - 2], total = soma__numel(scores.ndim, scores.shape);
    int64_t part = total > SCORES_AT_ONCE ? SOMA_MAX(16, SCORES_AT_ONCE / (total / rows)) : rows;
    return soma__return(a, part < rows && t.p == 0 && !recorded(a) ? in_parts(&t, rows, part) : attend(&t, 0, rows));
}

typedef struct attention_case {
    int nq, nk, nmask;
    int64_t q[4], k[4], v[4], mask[4];
    int kind;                       /* of the mask: 1 bool, 2 float */
    bool causal, gqa;
    double p, scale;
} attention_case;

static bool attention_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const attention_case c[] = {
        {3, 3, 0, {2, 4, 3}, {2, 5, 3}, {2, 5, 2}, {0}, 0, false, false, 0, 0},
        {4, 4, 0, {2, 2, 3, 4}, {2, 2, 3, 4}, {2, 2, 3, 4}, {0}, 0, true, false, 0, 0},
        {4, 4, 2, {1, 2, 4, 3}, {1, 2, 4, 3}, {1, 2, 4, 3}, {4, 4}, 1, false, false, 0, 0},
        {4, 4, 4, {2, 2, 3, 2}, {2, 2, 4, 2}, {2, 2, 4, 3}, {2, 1, 1, 4}, 1, false, false, 0, 0.7},
        {3, 3, 3, {2, 3, 4}, {2, 4, 4}, {2, 4, 4}, {2, 3, 4}, 2, false, false, 0, 0},
        {2, 2, 0, {3, 4}, {5, 4}, {5, 4}, {0}, 0, true, false, 0, -0.5},
        {4, 4, 0, {2, 4, 3, 2}, {2, 2, 3, 2}, {2, 2, 3, 2}, {0}, 0, true, true, 0, 0},
        {3, 3, 0, {2, 3, 4}, {2, 3, 4}, {2, 3, 4}, {0}, 0, false, false, 0.5, 0},
        {3, 3, 0, {2, 0, 4}, {2, 3, 4}, {2, 3, 4}, {0}, 0, false, false, 0, 0},
        {3, 3, 0, {1, 19, 16}, {1, 33, 16}, {1, 33, 5}, {0}, 0, false, false, 0, 0},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    const attention_case *at = &c[i];
    *s = (soma_sample){.n_in = at->nmask ? 4 : 3, .n_attrs = 4,
                       .attrs = {SOMA_FLOAT("dropout_p", at->p), SOMA_BOOLEAN("is_causal", at->causal), SOMA_FLOAT("scale", at->scale),
                                 SOMA_BOOLEAN("enable_gqa", at->gqa)}};
    s->in[Q] = soma__sample(dtype, -1.5, 1.5, 3, at->nq, at->q);
    s->in[K] = soma__sample(dtype, -1.5, 1.5, 4, at->nk, at->k);
    s->in[V] = soma__sample(dtype, -1.5, 1.5, 5, at->nk, at->v);
    if (at->nmask)
        s->in[MASK] = soma__sample(at->kind == 1 ? SOMA_BOOL : dtype, -2, 2, 6, at->nmask, at->mask);
    if (i % 3 == 1)
        s->in[K] = soma__strided(s->in[K]);
    if (i % 3 == 2)
        s->in[V] = soma__strided(s->in[V]);
    return true;
}

static bool attention_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const char *const messages[] = {"query and key must have the same number of features",
                                           "attn_mask is [3, 3] f32, which does not broadcast to the scores [2, 4, 5]",
                                           "attn_mask and is_causal exclude each other", "key and value must have the same number of steps",
                                           "query's heads must be a multiple of key's and value's"};
    if (i >= (int)SOMA_LEN(messages) || !attention_samples(0, dtype, s))
        return false;
    s->error = messages[i];
    s->status = i == 2 ? SOMA_EINVAL : SOMA_ESHAPE;
    if (i == 0)
        s->in[Q] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(2, 4, 4));
    if (i == 1 || i == 2) {
        s->in[MASK] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(3, 3));
        s->n_in = 4;
    }
    if (i == 2)
        s->attrs[IS_CAUSAL].value.i = 1;
    if (i == 3)
        s->in[V] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(2, 4, 4));
    if (i == 4) {
        s->attrs[ENABLE_GQA].value.i = 1;
        s->in[Q] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(3, 4, 3));
    }
    return true;
}

static const soma_op attention_op = {
    .name = "scaled_dot_product_attention", .family = "attention", .onnx = "Attention",
    .doc = "softmax(query key^T scale + attn_mask) value over the last two dimensions (Vaswani et al. 2017). A bool mask is true where a key takes "
           "part, a float mask is added. A query that a bool mask lets see no key gives 0, as in PyTorch from 2.5 on (NaN before). Time grows with L "
           "S. In f32 without mask and dropout memory does not (Dao et al. 2022); else it does when gradients are recorded, and without them the scores "
           "stand a part at a time",
    .in = {{.name = "query"}, {.name = "key"}, {.name = "value"}, {.name = "attn_mask", .dtypes = SOMA_FLOATS | SOMA_BIT(SOMA_BOOL),
                                                                   .optional = true, .apart = true}},
    .n_in = 4, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("dropout_p", 0, "probability that a weight becomes 0; whenever above 0, also outside training"),
                        SOMA_DEF_BOOL("is_causal", false, "query i sees keys 0 to i"),
                        SOMA_DEF_FLOAT("scale", 0, "factor on the scores; 0: 1 / sqrt(features)"),
                        SOMA_DEF_BOOL("enable_gqa", false, "each head of key and value serves a group of query's heads")),
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .compose = attention_compose, .backward = SOMA_COMPOSED, .random = true,
    .samples = attention_samples, .errors = attention_errors,
};

soma_tensor *soma_scaled_dot_product_attention_ex(soma_tensor *q, soma_tensor *k, soma_tensor *v, const soma_attention_opts *opts) {
    soma_attention_opts none = {0};
    opts = opts ? opts : &none;
    soma_attr attrs[] = {SOMA_FLOAT("dropout_p", opts->dropout_p), SOMA_BOOLEAN("is_causal", opts->is_causal), SOMA_FLOAT("scale", opts->scale),
                         SOMA_BOOLEAN("enable_gqa", opts->enable_gqa)};
    return SOMA__RUN(&attention_op, attrs, q, k, v, opts->mask);
}

/* ---- Positions ----------------------------------------------------------------------------------------------------------- */

/* Angles [steps, features / 2]: position times base^(-2 i / features), i in the order of pairs; in f64, so that far positions stay exact. */
static soma_tensor *angles(int64_t steps, int64_t features, int64_t offset, double base) {
    soma_tensor *i = soma_arange(0, (double)((features + 1) / 2), 1, SOMA_F64);
    soma_tensor *frequency = soma_exp(soma_mul_scalar(i, -2 * log(base) / (double)SOMA_MAX(features, 1)));
    return soma_mul(soma_unsqueeze(soma_arange((double)offset, (double)(offset + steps), 1, SOMA_F64), 1), frequency);
}

static bool rotary_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    int64_t offset = a->attrs[0].value.i;
    double base = a->attrs[1].value.f;
    bool interleaved = a->attrs[2].value.i != 0;
    char text[SOMA__SHAPE_TEXT];
    if (x->ndim < 2 || x->shape[x->ndim - 1] % 2 != 0) {
        soma_fail(SOMA_ESHAPE, "x is %s, expected [..., steps, features] with an even number of features", soma__tensor_text(x, text));
        return false;
    }
    if (!(base > 0)) {
        soma_fail(SOMA_EINVAL, "base must be above 0, not %g", base);
        return false;
    }
    int64_t steps = x->shape[x->ndim - 2], n = x->shape[x->ndim - 1], half = n / 2;
    soma_tensor *angle = angles(steps, n, offset, base);
    soma_tensor *cosine = soma_to(soma_cos(angle), (soma_dtype)x->dtype), *sine = soma_to(soma_sin(angle), (soma_dtype)x->dtype);
    soma_tensor *first = interleaved ? soma_slice(x, -1, 0, n, 2) : soma_slice(x, -1, 0, half, 1);
    soma_tensor *second = interleaved ? soma_slice(x, -1, 1, n, 2) : soma_slice(x, -1, half, n, 1);
    soma_tensor *turned[] = {soma_sub(soma_mul(first, cosine), soma_mul(second, sine)), soma_add(soma_mul(second, cosine), soma_mul(first, sine))};
    return soma__return(a, interleaved ? soma_reshape(soma_stack(turned, 2, -1), x->ndim, x->shape) : soma_cat(turned, 2, -1));
}

static bool rotary_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int n; int64_t shape[4], offset; double base; bool interleaved; } c[] = {
        {2, {3, 4}, 0, 10000, false}, {3, {2, 5, 6}, 2, 100, true}, {4, {1, 2, 3, 2}, 0, 10, false},
        {2, {0, 4}, 0, 10000, true},  {3, {2, 1, 8}, 7, 500, true}, {4, {2, 2, 3, 4}, 1, 10000, false},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    *s = (soma_sample){.n_in = 1, .n_attrs = 3, .in = {soma__sample(dtype, -2, 2, 9, c[i].n, c[i].shape)},
                       .attrs = {SOMA_INT("offset", c[i].offset), SOMA_FLOAT("base", c[i].base), SOMA_BOOLEAN("interleaved", c[i].interleaved)}};
    if (i % 2)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}

static bool rotary_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2 || !rotary_samples(0, dtype, s))
        return false;
    s->status = i == 0 ? SOMA_ESHAPE : SOMA_EINVAL;
    s->error = i == 0 ? "x is [2, 3] f32, expected [..., steps, features] with an even number of features" : "base must be above 0, not -1";
    if (i == 0)
        s->in[0] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(2, 3));
    else
        s->attrs[1].value.f = -1;
    return true;
}

static const soma_op rotary_op = {
    .name = "rotary_embedding", .family = "attention", .onnx = "RotaryEmbedding",
    .doc = "turns pairs of features of x [..., steps, features] by (offset + step) base^(-2 i / features), so that products of queries and keys "
           "depend on their distance (Su et al. 2021)",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("offset", 0, "position of the first step"),
                        SOMA_DEF_FLOAT("base", 10000, "the slowest pair turns once in about 2 pi base steps"),
                        SOMA_DEF_BOOL("interleaved", false, "pairs lie side by side; else the second halves are the pairs' other parts")),
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .compose = rotary_compose, .backward = SOMA_COMPOSED, .samples = rotary_samples,
    .errors = rotary_errors,
};

extern soma_op_list soma__attention_ops;
soma_op_list soma__attention_ops = {&attention_op, &rotary_op, NULL};

soma_tensor *soma_rotary_embedding(soma_tensor *x, int64_t offset, double base, bool interleaved) {
    soma_attr attrs[] = {SOMA_INT("offset", offset), SOMA_FLOAT("base", base == 0 ? 10000 : base), SOMA_BOOLEAN("interleaved", interleaved)};
    return SOMA__RUN(&rotary_op, attrs, x);
}

soma_tensor *soma_sinusoidal_positions(int64_t steps, int64_t features, int64_t offset, double base, soma_dtype dtype) {
    if (soma__failed())
        return NULL;
    if (steps < 0 || features < 1) {
        soma_fail(SOMA_EINVAL, "soma_sinusoidal_positions: %lld steps of %lld features", (long long)steps, (long long)features);
        return NULL;
    }
    soma_tensor *angle = angles(steps, features, offset, base == 0 ? 10000 : base);
    soma_tensor *both = soma_flatten(soma_stack((soma_tensor *const[]){soma_sin(angle), soma_cos(angle)}, 2, -1), 1, 2);
    return soma_to(soma_slice(both, 1, 0, features, 1), dtype);
}
