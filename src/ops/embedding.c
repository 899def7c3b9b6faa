/* Rows of a table by number: embedding, and embedding_bag, which reduces groups of them. The gradient of the table comes from index_select;
 * what is not to get one is detached there. */
#include "ops/op.h"

#include <string.h>

#define INDEX_DTYPES (SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32))

/* ---- Parts ------------------------------------------------------------------------------------------------------------ */

static bool table_of(const soma_tensor *weight) { return weight->ndim == 2 || soma__expected(weight, "weight", "[rows, features]"); }

/* padding_idx from the front; -1 when there is none. */
static bool padding_row(soma_args *a, int at, int64_t *row) {
    const int64_t rows = a->in[0]->shape[0], given = soma__attr_int(a, at);
    *row = given == SOMA_NO_INDEX ? -1 : given < 0 ? given + rows : given;
    if (given == SOMA_NO_INDEX || (*row >= 0 && *row < rows))
        return true;
    soma_fail(SOMA_EINVAL, "%s: padding_idx is %lld, but weight has %lld rows", a->op->name, (long long)given, (long long)rows);
    return false;
}

/* How often each index occurs, for each of them. */
static soma_tensor *occurrences(soma_tensor *index, const soma_tensor *weight) {
    const int64_t n = soma_numel(index);
    soma_tensor *count = soma_zeros(SOMA_SHAPE(weight->shape[0]), (soma_dtype)weight->dtype),
                *one = soma_ones(SOMA_SHAPE(n), (soma_dtype)weight->dtype);
    return soma_index_select(soma_index_add(count, 0, index, one), 0, index);
}

/* Rows [n, features]; that of `padding` without a gradient, and gradients divided by the index's number of occurrences if wanted. */
static soma_tensor *rows_of(soma_tensor *weight, soma_tensor *index, int64_t padding, bool by_freq) {
    soma_tensor *rows = soma_index_select(weight, 0, index);
    if (!rows || !soma_requires_grad(rows))
        return rows;
    if (by_freq) {
        soma_tensor *fixed = soma_detach(rows), *c = soma_unsqueeze(occurrences(index, weight), 1);
        rows = soma_add(fixed, soma_div(soma_sub(rows, fixed), c));
    }
    if (padding >= 0)
        rows = soma_where(soma_unsqueeze(soma_eq(index, soma_scalar_int(padding)), 1), soma_detach(rows), rows);
    return rows;
}

/* ---- embedding -------------------------------------------------------------------------------------------------------- */

static bool embedding_compose(soma_args *a) {
    soma_tensor *weight = a->in[0], *index = a->in[1];
    int64_t padding, shape[SOMA_MAX_DIMS];
    if (!table_of(weight) || !padding_row(a, 0, &padding))
        return false;
    if (index->ndim == SOMA_MAX_DIMS)
        return soma__expected(index, "indices", "at most 7 dimensions");
    memcpy(shape, index->shape, sizeof shape);
    shape[index->ndim] = weight->shape[1];
    soma_tensor *rows = rows_of(weight, soma_reshape(index, 1, (const int64_t[]){index->numel}), padding, soma__attr_int(a, 1) != 0);
    return soma__return(a, soma_reshape(rows, index->ndim + 1, shape));
}

SOMA__LINES(embedding, "[5,3] i[4]<5", "s[6,4] I[2,3]<6", "[5,2] i[6]=0,2,2,4,2,1 padding_idx=2 ~",
            "[5,2] si[6]=0,2,2,4,2,1 padding_idx=-1 scale_grad_by_freq=true ~", "[4,3] i[]<4", "[4,3] i[0]<4", "[1,1] i[2,1,2]<1",
            "s[7,2] si[3,2]<7 scale_grad_by_freq=true ~",
            "[5,3] i[3]=0,5,1 !EINVAL embedding: index_select: index 5 at position [1] is out of range",
            "[5] i[3]=0,1,1 !ESHAPE embedding: weight is [5] f32, expected [rows, features]",
            "[5,3] i[3]=0,1,1 padding_idx=5 !EINVAL padding_idx is 5, but weight has 5 rows",
            "[5,3] [3] !EDTYPE input 'indices' has dtype f32")

static const soma_op embedding_op = {
    SOMA__COMPOSITE(embedding),
    .family = "index",
    .onnx = "Gather",
    .doc =
        "Rows of weight [rows, features] by number: indices [...] become [..., features]. The row padding_idx gets no gradient; "
        "scale_grad_by_freq divides a row's gradient by how often it was taken. PyTorch's max_norm, which writes into weight, is not here: "
        "use renorm on the weight.",
    .in = {{.name = "weight"}, {.name = "indices", .dtypes = INDEX_DTYPES, .apart = true}},
    .n_in = 2,
    .outputs = 1,
    .attrs = SOMA_ATTRS(
        SOMA_DEF_INT("padding_idx", SOMA_NO_INDEX, "row that gets no gradient; negative counts from the end; not given: none"),
        SOMA_DEF_BOOL("scale_grad_by_freq", false, "divide gradients by the number of times a row is taken")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
    .no_grad_in = 1u << 1,
};

soma_tensor *soma_embedding(soma_tensor *weight, soma_tensor *indices, int64_t padding_idx) {
    const soma_attr attrs[] = {SOMA_INT("padding_idx", padding_idx), SOMA_BOOLEAN("scale_grad_by_freq", false)};
    return SOMA__RUN(&embedding_op, attrs, weight, indices);
}

/* ---- embedding_bag ---------------------------------------------------------------------------------------------------- */

enum { WEIGHT, INDICES, OFFSETS, PER_SAMPLE };
enum { MODE, INCLUDE_LAST, PADDING, BY_FREQ };

typedef struct bags {
    int64_t n, count;  /* indices, bags */
    soma_tensor *of;   /* [n]: bag of each index */
    soma_tensor *used; /* [count, 1]: indices that count */
    int64_t padding;
} bags;

static int64_t int_at(const soma_tensor *t, int64_t i) {
    return soma__load_int((const char *)t->data + i * t->stride[t->ndim - 1] * (int64_t)soma_dtype_size((soma_dtype)t->dtype),
                          (soma_dtype)t->dtype);
}

static bool check_offsets(const soma_tensor *offsets, int64_t n) {
    for (int64_t b = 0; offsets->data && b < offsets->numel; b++) {
        const int64_t v = int_at(offsets, b), before = b ? int_at(offsets, b - 1) : 0;
        if (b == 0 ? v != 0 : v < before || v > n) {
            soma_fail(SOMA_EINVAL, "embedding_bag: offset %lld at position [%lld], expected to start at 0 and rise to at most %lld",
                      (long long)v, (long long)b, (long long)n);
            return false;
        }
    }
    return true;
}

/* Bags of a flat list of indices: rows of a matrix, or from offset to offset. */
static bool divide(soma_args *a, soma_tensor *index, bags *b) {
    const soma_tensor *given = a->in[INDICES], *offsets = a->in[OFFSETS];
    const int64_t last = offsets && soma__attr_int(a, INCLUDE_LAST);
    b->n = given->numel;
    b->count = offsets ? offsets->numel - last : given->shape[0];
    if (offsets && !check_offsets(offsets, b->n))
        return false;
    if (b->count < 1 && b->n > 0) {
        soma_fail(SOMA_EINVAL, "embedding_bag: %lld indices and no bag: offsets has only the last offset", (long long)b->n);
        return false;
    }
    b->of = soma__index_row(b->n);
    b->used = soma_zeros(SOMA_SHAPE(b->count, 1), (soma_dtype)a->in[WEIGHT]->dtype);
    if (!b->of || !b->used || !b->of->data || !index->data)
        return b->of && b->used;
    int64_t bag = offsets ? -1 : 0;
    for (int64_t i = 0, next = 0; i < b->n; i++) {
        if (offsets)
            for (; next < b->count && int_at(offsets, next) <= i; next++)
                bag = next;
        else
            bag = i / SOMA_MAX(given->shape[1], 1);
        ((int64_t *)b->of->data)[i] = bag;
        char *p = (char *)b->used->data + bag * (int64_t)soma_dtype_size((soma_dtype)b->used->dtype);
        if (int_at(index, i) != b->padding)
            soma__store(p, (soma_dtype)b->used->dtype, soma__load(p, (soma_dtype)b->used->dtype) + 1);
    }
    return true;
}

/* For each bag and feature the row of the largest element: n, the row of zeros behind them, when the bag has none. */
static soma_tensor *largest(const soma_tensor *rows, soma_tensor *index, const bags *b) {
    const int64_t features = rows->shape[1];
    soma_tensor *wide = soma_contiguous(soma_to(soma_detach((soma_tensor *)rows), SOMA_F64)),
                *best = soma_full(SOMA_SHAPE(b->count, features), (double)b->n, SOMA_I64);
    if (!best || !best->data || !wide || !wide->data || !b->of->data)
        return best;
    const double *x = wide->data;
    int64_t *to = best->data;
    for (int64_t i = 0; i < b->n; i++)
        for (int64_t f = 0; f < features && int_at(index, i) != b->padding; f++) {
            int64_t *at = to + ((const int64_t *)b->of->data)[i] * features + f;
            if (*at == b->n || x[i * features + f] > x[*at * features + f])
                *at = i;
        }
    return best;
}

static bool bag_inputs(soma_args *a) {
    const soma_tensor *index = a->in[INDICES], *offsets = a->in[OFFSETS], *per = a->in[PER_SAMPLE];
    const char *mode = a->attrs[MODE].value.s;
    if (!table_of(a->in[WEIGHT]))
        return false;
    if (index->ndim != (offsets ? 1 : 2))
        return soma__expected(index, "indices", offsets ? "[n] with offsets" : "[bags, n] without offsets");
    if (offsets && (offsets->ndim != 1 || offsets->numel < 1))
        return soma__expected(offsets, "offsets", "[bags], at least one");
    if (strcmp(mode, "sum") != 0 && strcmp(mode, "mean") != 0 && strcmp(mode, "max") != 0) {
        soma_fail(SOMA_EINVAL, "embedding_bag: mode is '%s', expected sum, mean or max", mode);
        return false;
    }
    if (per && strcmp(mode, "sum") != 0) {
        soma_fail(SOMA_EINVAL, "embedding_bag: per_sample_weights are for mode 'sum', not '%s'", mode);
        return false;
    }
    return !per || soma__same_shape(per, index) || soma__expected(per, "per_sample_weights", "the shape of indices");
}

static bool embedding_bag_compose(soma_args *a) {
    bags b;
    if (!bag_inputs(a) || !padding_row(a, PADDING, &b.padding))
        return false;
    const char *mode = a->attrs[MODE].value.s;
    soma_tensor *weight = a->in[WEIGHT],
                *index = soma_contiguous(soma_reshape(a->in[INDICES], 1, (const int64_t[]){a->in[INDICES]->numel}));
    if (!index || !divide(a, index, &b))
        return false;
    soma_tensor *rows = rows_of(weight, index, b.padding, soma__attr_int(a, BY_FREQ) != 0);
    if (!rows)
        return false;
    if (strcmp(mode, "max") == 0) {
        soma_tensor *zero = soma_zeros(SOMA_SHAPE(1, weight->shape[1]), (soma_dtype)weight->dtype);
        return soma__return(a, soma_gather(soma_cat((soma_tensor *[]){rows, zero}, 2, 0), 0, largest(rows, index, &b)));
    }
    if (a->in[PER_SAMPLE])
        rows = soma_mul(rows, soma_reshape(a->in[PER_SAMPLE], 2, (const int64_t[]){b.n, 1}));
    if (b.padding >= 0)
        rows = soma_masked_fill(rows, soma_unsqueeze(soma_eq(index, soma_scalar_int(b.padding)), 1), 0);
    soma_tensor *sum = soma_index_add(soma_zeros(SOMA_SHAPE(b.count, weight->shape[1]), (soma_dtype)weight->dtype), 0, b.of, rows);
    return soma__return(a, strcmp(mode, "mean") == 0 ? soma_div(sum, soma_maximum(b.used, soma_scalar(1))) : sum);
}

SOMA__LINES(embedding_bag, "[6,3] i[2,4]<6 mode='sum'", "s[6,3] i[7]<6 i[3]=0,2,5", "[6,2] I[6]<6 i[4]=0,2,2,5 - mode='max'",
            "[6,3] i[5]=1,2,3,2,0 i[2]=0,3 [5] mode='sum'",
            "[6,3] i[5]=1,2,3,2,0 i[3]=0,3,5 - mode='mean' include_last_offset=true padding_idx=2",
            "[6,3] i[2,3]=2,2,1,0,2,5 - - mode='max' padding_idx=2", "[6,2] i[2,3]=2,2,2,0,2,5 - - mode='mean' padding_idx=2",
            "[4,2] i[0]<4 i[2]=0,0", "[5,2] si[2,3]<5 - s[2,3] mode='sum' scale_grad_by_freq=true ~",
            "[6,3] i[4]<6 !ESHAPE indices is [4] i64, expected [bags, n] without offsets",
            "[6,3] i[4]<6 i[2]=0,5 !EINVAL offset 5 at position [1], expected to start at 0",
            "[6,3] i[4]<6 i[2]=0,2 [4] mode='mean' !EINVAL per_sample_weights are for mode 'sum', not 'mean'",
            "[6,3] i[2,2]<6 mode='median' !EINVAL mode is 'median'", "[6,3] i[2,2]=0,6,1,1 !EINVAL index 6 at position [1]",
            "[6,3] i[2]<6 i[1]=0 include_last_offset=true !EINVAL 2 indices and no bag")

static const soma_op embedding_bag_op = {
    SOMA__COMPOSITE(embedding_bag),
    .family = "index",
    .doc = "Sums, means or maxima of groups (bags) of rows of weight [rows, features]: indices [bags, n], or a list [n] that offsets "
           "[bags] cuts. "
           "per_sample_weights, of indices' shape, multiply the rows (mode sum only). An empty bag gives zeros; the row padding_idx does "
           "not count.",
    .in = {{.name = "weight"},
           {.name = "indices", .dtypes = INDEX_DTYPES, .apart = true},
           {.name = "offsets", .dtypes = INDEX_DTYPES, .apart = true, .optional = true},
           {.name = "per_sample_weights", .optional = true}},
    .n_in = 4,
    .outputs = 1,
    .attrs = SOMA_ATTRS(
        SOMA_DEF_STRING("mode", "mean", "sum, mean or max"),
        SOMA_DEF_BOOL("include_last_offset", false, "offsets have one more entry, the number of indices"),
        SOMA_DEF_INT("padding_idx", SOMA_NO_INDEX, "row that does not count; negative counts from the end; not given: none"),
        SOMA_DEF_BOOL("scale_grad_by_freq", false, "divide gradients by the number of times a row is taken")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
    .no_grad_in = 1u << 1 | 1u << 2,
};

soma_tensor *soma_embedding_bag(soma_tensor *weight, soma_tensor *indices, soma_tensor *offsets, soma_tensor *per_sample_weights,
                                const char *mode) {
    const soma_attr attrs[] = {SOMA_STRING("mode", mode ? mode : "mean"), SOMA_BOOLEAN("include_last_offset", false),
                               SOMA_INT("padding_idx", SOMA_NO_INDEX), SOMA_BOOLEAN("scale_grad_by_freq", false)};
    return SOMA__RUN(&embedding_bag_op, attrs, weight, indices, offsets, per_sample_weights);
}

soma_op_list soma__embedding_ops = {&embedding_op, &embedding_bag_op, NULL};
