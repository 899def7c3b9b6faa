/* Embedding and EmbeddingBag: a table with a row for each token. */
#include "nn/sequence.h"

#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

/* ---- What both share ---------------------------------------------------------------------------------------------- */

/* Tokens may come as floats, which is what loaders of tables give. In a run that only infers shapes there are no values. */
static soma_tensor *tokens_of(soma_tensor *x) {
    return soma_dtype_is_float(soma_dtype_of(x)) ? soma_to(x, SOMA_I64) : x;
}

/* Scales down the rows that are used and longer than max_norm, without recording. */
static void renorm(soma_tensor *weight, soma_tensor *tokens, const soma__nn_embedding_state *s) {
    if (s->max_norm <= 0 || soma__ctx()->shapes_only || soma__failed())
        return;
    soma_dtype dtype = soma_dtype_of(weight);
    size_t size = soma_dtype_size(dtype);
    int64_t rows = soma_size(weight, 0), n = soma_numel(tokens);
    int64_t *used = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *used);
    if (!used || soma_to_array(tokens, used, n, SOMA_I64) != SOMA_OK)
        n = 0;
    for (int64_t i = 0; i < n; i++) {
        if (used[i] < 0 || used[i] >= rows)
            continue; /* the look-up will say so */
        char *row = (char *)soma_data(weight) + (size_t)(used[i] * soma_stride(weight, 0)) * size;
        size_t step = (size_t)soma_stride(weight, 1) * size;
        double sum = 0, most = 0;
        for (int64_t k = 0; k < s->dim; k++) {
            double v = fabs(soma__load(row + (size_t)k * step, dtype));
            sum += isinf(s->norm_type) ? 0 : pow(v, s->norm_type);
            most = fmax(most, v);
        }
        double norm = isinf(s->norm_type) ? most : pow(sum, 1 / s->norm_type);
        if (!(norm > s->max_norm))
            continue;
        for (int64_t k = 0; k < s->dim; k++)
            soma__store(row + (size_t)k * step, dtype, soma__load(row + (size_t)k * step, dtype) * (s->max_norm / (norm + 1e-7)));
    }
    soma_touch(weight);
    soma__free(used);
}

/* [...] -> [..., dim]. The padding row's gradient is cut off. */
static soma_tensor *rows_of(soma_module *m, soma_tensor *tokens) {
    const soma__nn_embedding_state *s = m->state;
    soma_tensor *weight = soma__nn_slot(m, "weight");
    int64_t shape[SOMA_MAX_DIMS];
    int ndim = soma_ndim(tokens);
    if (ndim + 1 > SOMA_MAX_DIMS) {
        soma_fail(SOMA_ESHAPE, "an input of %d dimensions leaves no room for the features", ndim);
        return NULL;
    }
    memcpy(shape, soma_shape(tokens), (size_t)ndim * sizeof *shape);
    shape[ndim] = s->dim;
    renorm(weight, tokens, s);
    soma_tensor *rows = soma_index_select(weight, 0, soma_reshape(tokens, 1, (const int64_t[]){-1}));
    rows = soma_reshape(rows, ndim + 1, shape);
    if (s->pad && rows && soma_requires_grad(rows))
        rows = soma_where(soma_unsqueeze(soma_eq(tokens, soma_scalar_int(s->padding_idx)), -1), soma_detach(rows), rows);
    return rows;
}

static void reset(soma_module *m) {
    const soma__nn_embedding_state *s = m->state;
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (!weight)
        return;
    soma_init_normal_(weight, 0, s->std);
    if (s->pad)
        soma_init_constant_(soma_select(weight, 0, s->padding_idx), 0);
}

static soma_module *table_new(const soma_module_class *cls, soma__nn_embedding_state s) {
    if (!soma__nn_size_ok(cls->name, "num_embeddings", s.num, false) || !soma__nn_size_ok(cls->name, "embedding_dim", s.dim, false))
        return NULL;
    s.padding_idx += s.padding_idx < 0 ? s.num : 0;
    if (s.pad && (s.padding_idx < 0 || s.padding_idx >= s.num)) {
        soma_fail(SOMA_EINVAL, "%s: padding_idx %lld is out of range for %lld rows", cls->name, (long long)s.padding_idx, (long long)s.num);
        return NULL;
    }
    s.std = s.std == 0 ? 1 : s.std;
    s.norm_type = s.norm_type == 0 ? 2 : s.norm_type;
    soma_module *m = soma_nn_module_new(cls);
    if (!m)
        return NULL;
    *(soma__nn_embedding_state *)m->state = s;
    soma_owner owner = soma__owner_set(SOMA_OWNER_PARAM);
    soma_scope scope = soma_scope_begin();
    if (soma__nn_new_param(m, "weight", SOMA_SHAPE(s.num, s.dim)))
        reset(m);
    soma_scope_end(scope);
    soma__owner_set(owner);
    if (!soma__failed())
        return m;
    soma_nn_free(m);
    return NULL;
}

/* ---- Embedding ------------------------------------------------------------------------------------------------------- */

static soma_tensor *embedding_forward(soma_module *m, soma_tensor *const *in, int n) {
    return soma__nn_one_input(m, in, n, 0, 0) ? rows_of(m, tokens_of(in[0])) : NULL;
}

const soma_module_class soma__nn_embedding_class = {
    .size = sizeof(soma_module_class), .name = "Embedding", .state_bytes = sizeof(soma__nn_embedding_state),
    .forward = embedding_forward, .describe = soma__nn_describe_word, .reset = reset,
};

soma_module *soma_nn_embedding_ex(int64_t num, int64_t dim, const soma_nn_embedding_opts *opts) {
    soma_nn_embedding_opts none = {0};
    const soma_nn_embedding_opts *o = opts ? opts : &none;
    return table_new(&soma__nn_embedding_class, (soma__nn_embedding_state){num, dim, o->padding_idx, o->pad, o->max_norm, o->norm_type, o->std, 0});
}

/* ---- EmbeddingBag ---------------------------------------------------------------------------------------------------- */

/* Bags of different sizes side by side [B, longest], what lies behind a bag's end marked in *there (bool) as not there. */
static soma_tensor *rectangle(soma_tensor *tokens, soma_tensor *offsets, soma_tensor **weights, soma_tensor **there) {
    int64_t n = soma_numel(tokens), bags = soma_numel(offsets), longest = 0;
    int64_t *begin = soma__alloc((size_t)(bags + 1) * sizeof *begin);
    if (!begin || soma_to_array(offsets, begin, bags, SOMA_I64) != SOMA_OK) {
        soma__free(begin);
        return NULL;
    }
    begin[bags] = n;
    for (int64_t b = 0; b < bags; b++) {
        if (begin[b] < 0 || begin[b] > begin[b + 1] || begin[b] > n || (b == 0 && begin[0] != 0)) {
            soma_fail(SOMA_EINVAL, "offset %lld at position [%lld] must not be below the one before or above the %lld tokens, and the first must be 0",
                      (long long)begin[b], (long long)b, (long long)n);
            soma__free(begin);
            return NULL;
        }
        longest = SOMA_MAX(longest, begin[b + 1] - begin[b]);
    }
    soma_tensor *place = soma_zeros(SOMA_SHAPE(bags, longest), SOMA_I64);
    *there = soma_zeros(SOMA_SHAPE(bags, longest), SOMA_BOOL);
    for (int64_t b = 0; b < bags && place && *there; b++) {
        for (int64_t i = 0; i < begin[b + 1] - begin[b]; i++) {
            ((int64_t *)soma_data(place))[b * longest + i] = begin[b] + i;
            ((uint8_t *)soma_data(*there))[b * longest + i] = 1;
        }
    }
    soma__free(begin);
    place = soma_reshape(place, 1, (const int64_t[]){-1});
    if (*weights)
        *weights = soma_reshape(soma_index_select(*weights, 0, place), SOMA_SHAPE(bags, longest));
    return soma_reshape(soma_index_select(tokens, 0, place), SOMA_SHAPE(bags, longest));
}

/* Counts along dimension 1 that are at least 1, in the dtype of `like`. */
static soma_tensor *counts(soma_tensor *there, soma_tensor *like) {
    int64_t dim = 1;
    return soma_clamp(soma_sum(soma_to(there, soma_dtype_of(like)), 1, &dim, true), 1, INFINITY);
}

static soma_tensor *bag_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_embedding_state *s = m->state;
    bool flat = n > 0 && soma_ndim(in[0]) == 1;
    int most = flat ? 3 : 2, at = flat ? 2 : 1;
    if (n < (flat ? 2 : 1) || n > most || (!flat && soma_ndim(in[0]) != 2)) {
        soma_fail(SOMA_EINVAL, "EmbeddingBag takes [bags, tokens], or [tokens] and offsets [bags], each with weights of the tokens if wanted");
        return NULL;
    }
    soma_tensor *weights = n > at ? in[at] : NULL, *tokens = tokens_of(in[0]), *there = NULL;
    if (weights && (s->mode != SOMA_BAG_SUM || !soma__same_shape(weights, in[0]))) {
        soma_fail(SOMA_EINVAL, "EmbeddingBag: weights of tokens are for mode sum, and have the tokens' shape");
        return NULL;
    }
    if (flat)
        tokens = rectangle(tokens, in[1], &weights, &there);
    if (s->pad) {
        soma_tensor *real = soma_ne(tokens, soma_scalar_int(s->padding_idx));
        there = there ? soma_logical_and(there, real) : real;
    }
    soma_tensor *rows = tokens ? rows_of(m, tokens) : NULL;
    if (!rows)
        return NULL;
    int64_t dim = 1;
    if (soma_size(rows, 1) == 0)
        return soma_sum(rows, 1, &dim, false);
    if (weights)
        rows = soma_mul(rows, soma_unsqueeze(weights, -1));
    soma_tensor *gone = there ? soma_unsqueeze(soma_logical_not(there), -1) : NULL;
    if (s->mode == SOMA_BAG_MAX) {
        rows = gone ? soma_masked_fill(rows, gone, -INFINITY) : rows;
        soma_tensor *largest = soma_amax(rows, 1, &dim, false);
        return gone ? soma_masked_fill(largest, soma_all(gone, 1, &dim, false), 0) : largest;
    }
    rows = gone ? soma_masked_fill(rows, gone, 0) : rows;
    if (s->mode == SOMA_BAG_SUM)
        return soma_sum(rows, 1, &dim, false);
    return gone ? soma_div(soma_sum(rows, 1, &dim, false), counts(there, rows)) : soma_mean(rows, 1, &dim, false);
}

const soma_module_class soma__nn_embedding_bag_class = {
    .size = sizeof(soma_module_class), .name = "EmbeddingBag", .state_bytes = sizeof(soma__nn_embedding_state),
    .forward = bag_forward, .describe = soma__nn_describe_word, .reset = reset,
};

soma_module *soma_nn_embedding_bag_ex(int64_t num, int64_t dim, const soma_nn_embedding_bag_opts *opts) {
    soma_nn_embedding_bag_opts none = {0};
    const soma_nn_embedding_bag_opts *o = opts ? opts : &none;
    return table_new(&soma__nn_embedding_bag_class,
                     (soma__nn_embedding_state){num, dim, o->padding_idx, o->pad, o->max_norm, o->norm_type, 0, (int)o->mode});
}
