/* Embedding and EmbeddingBag: a table with a row for each token. */
#include "nn/sequence.h"

#include "tensor/tensor.h"

#include <math.h>

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

static void reset(soma_module *m) {
    const soma__nn_embedding_state *s = m->state;
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (!weight)
        return;
    soma_init_normal_(weight, 0, s->std);
    if (s->pad)
        soma_init_constant_(soma_select(weight, 0, s->padding_idx), 0);
}

static bool made(soma_module *m) { return soma__nn_slot(m, "weight") != NULL; }

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const soma__nn_embedding_state *s = m->state;
    *in = 1;
    return ndim == 2 && shape[0] == s->num && shape[1] == s->dim;
}

static soma_status make(soma_module *m, const int64_t *in) {
    const soma__nn_embedding_state *s = m->state;
    (void)in;
    soma__nn_new_param(m, "weight", SOMA_SHAPE(s->num, s->dim));
    return soma__ctx()->error;
}

static const soma__nn_lazy lazies[] = {
    {.cls = &soma__nn_embedding_class, .sizes_of = sizes_of, .make = make, .made = made},
    {.cls = &soma__nn_embedding_bag_class, .sizes_of = sizes_of, .make = make, .made = made},
};

/* The table, made now if it was not yet; NULL with the error recorded. */
static soma_tensor *table_of(soma_module *m) {
    return soma__nn_ready(m, &(int64_t){1}) ? soma__nn_slot(m, "weight") : NULL;
}

static soma_module *table_new(const soma__nn_lazy *lazy, soma__nn_embedding_state s) {
    const soma_module_class *cls = lazy->cls;
    if (!soma__nn_size_ok(cls->name, "num_embeddings", s.num, false) || !soma__nn_size_ok(cls->name, "embedding_dim", s.dim, false))
        return NULL;
    s.padding_idx += s.padding_idx < 0 ? s.num : 0;
    if (s.pad && (s.padding_idx < 0 || s.padding_idx >= s.num)) {
        soma_fail(SOMA_EINVAL, "%s: padding_idx %lld is out of range for %lld rows", cls->name, (long long)s.padding_idx, (long long)s.num);
        return NULL;
    }
    s.std = s.std == 0 ? 1 : s.std;
    s.norm_type = s.norm_type == 0 ? 2 : s.norm_type;
    soma_module *m = soma__nn_lazy_new(lazy);
    if (m)
        *(soma__nn_embedding_state *)m->state = s;
    return soma__nn_settled(m);
}

/* ---- Embedding ------------------------------------------------------------------------------------------------------- */

static soma_tensor *embedding_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_embedding_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 0, 0))
        return NULL;
    soma_tensor *weight = table_of(m), *tokens = tokens_of(in[0]);
    if (!weight)
        return NULL;
    renorm(weight, tokens, s);
    return soma_embedding(weight, tokens, s->pad ? s->padding_idx : SOMA_NO_INDEX);
}

const soma_module_class soma__nn_embedding_class = {
    .size = sizeof(soma_module_class), .name = "Embedding", .state_bytes = sizeof(soma__nn_embedding_state),
    .forward = embedding_forward, .describe = soma__nn_describe_word, .reset = reset,
};

soma_module *soma_nn_embedding_ex(int64_t num, int64_t dim, const soma_nn_embedding_opts *opts) {
    soma_nn_embedding_opts none = {0};
    const soma_nn_embedding_opts *o = opts ? opts : &none;
    return table_new(&lazies[0], (soma__nn_embedding_state){1, num, dim, o->padding_idx, o->pad, o->max_norm, o->norm_type, o->std, 0});
}

/* ---- EmbeddingBag ---- */

static soma_tensor *bag_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_embedding_state *s = m->state;
    static const char *const modes[] = {[SOMA_BAG_MEAN] = "mean", [SOMA_BAG_SUM] = "sum", [SOMA_BAG_MAX] = "max"};
    bool flat = n > 0 && soma_ndim(in[0]) == 1;
    if (n < (flat ? 2 : 1) || n > (flat ? 3 : 2)) {
        soma_fail(SOMA_EINVAL, "EmbeddingBag takes [bags, tokens], or [tokens] and offsets [bags], each with weights of the tokens if wanted");
        return NULL;
    }
    soma_tensor *weight = table_of(m), *tokens = tokens_of(in[0]), *out = NULL;
    if (!weight)
        return NULL;
    renorm(weight, tokens, s);
    soma_attr attrs[] = {SOMA_STRING("mode", modes[s->mode]), SOMA_INT("padding_idx", s->pad ? s->padding_idx : SOMA_NO_INDEX)};
    soma_call("embedding_bag", (soma_tensor *[]){weight, tokens, flat ? in[1] : NULL, flat ? (n > 2 ? in[2] : NULL) : n > 1 ? in[1] : NULL}, 4,
              attrs, 2, &out, 1);
    return out;
}

const soma_module_class soma__nn_embedding_bag_class = {
    .size = sizeof(soma_module_class), .name = "EmbeddingBag", .state_bytes = sizeof(soma__nn_embedding_state),
    .forward = bag_forward, .describe = soma__nn_describe_word, .reset = reset,
};

soma_module *soma_nn_embedding_bag_ex(int64_t num, int64_t dim, const soma_nn_embedding_bag_opts *opts) {
    soma_nn_embedding_bag_opts none = {0};
    const soma_nn_embedding_bag_opts *o = opts ? opts : &none;
    return table_new(&lazies[1],
                     (soma__nn_embedding_state){1, num, dim, o->padding_idx, o->pad, o->max_norm, o->norm_type, 0, (int)o->mode});
}
