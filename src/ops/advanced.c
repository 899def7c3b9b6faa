/* Indexing by lists of tensors, by masks and by places in row-major order: index, index_put, take, put, masked_select and their like. All compute
 * a vector of row numbers (i64, checked, negative ones counted from the end) and leave the moving to index_select, index_copy and index_add. */
#include "ops/shape.h"

#include <string.h>

#define INDEX_DTYPES (SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32))

/* ---- Row numbers ---- */

/* `index` as contiguous i64 in [0, size); `where` is for the message. */
static soma_tensor *wrapped(const char *op, soma_tensor *index, int64_t size, const char *where) {
    soma_tensor *t = soma_clone(soma_to(index, SOMA_I64));
    if (t && !soma__may_read(t, op))
        return NULL;
    for (int64_t i = 0; t && t->data && i < t->numel; i++) {
        int64_t *v = (int64_t *)t->data + i, at[SOMA_MAX_DIMS] = {0}, rest = i;
        if (*v >= -size && *v < size) {
            *v += *v < 0 ? size : 0;
            continue;
        }
        char text[SOMA__SHAPE_TEXT];
        for (int d = t->ndim - 1; d >= 0; rest /= t->shape[d--])
            at[d] = rest % t->shape[d];
        soma_fail(SOMA_EINVAL, "%s: index %lld at position %s is out of range for %s of size %lld", op, (long long)*v,
                  soma__shape_text(t->ndim, at, text, sizeof text), where, (long long)size);
        return NULL;
    }
    return t;
}

static bool is_true(const soma_tensor *x, int64_t i) {
    const char *p = (const char *)x->data + i * (int64_t)soma_dtype_size((soma_dtype)x->dtype);
    return soma_dtype_is_float((soma_dtype)x->dtype) ? soma__load(p, (soma_dtype)x->dtype) != 0 : soma__load_int(p, (soma_dtype)x->dtype) != 0;
}

/* The row-major places of what is not zero. */
static soma_tensor *true_places(soma_args *a, soma_tensor *mask) {
    soma_tensor *x = soma_contiguous(soma_detach(mask));
    int64_t n = 0;
    if (!x || !soma__has_values(a))
        return NULL;
    for (int64_t i = 0; i < x->numel; i++)
        n += is_true(x, i);
    soma_tensor *t = soma_empty(1, &n, SOMA_I64);
    n = 0;
    for (int64_t i = 0; t && i < x->numel; i++)
        if (is_true(x, i))
            ((int64_t *)t->data)[n++] = i;
    return t;
}

/* Place numbers in `shape` as coordinates: those of dimension d. */
static soma_tensor *coordinate(const soma_tensor *places, int ndim, const int64_t *shape, int d) {
    int64_t step = 1;
    for (int k = d + 1; k < ndim; k++)
        step *= shape[k];
    soma_tensor *t = soma_empty(1, places->shape, SOMA_I64);
    for (int64_t i = 0; t && i < t->numel; i++)
        ((int64_t *)t->data)[i] = ((const int64_t *)places->data)[i] / step % shape[d];
    return t;
}

/* ---- index, index_put ---- */

/* Indexed dimensions go to the front and become one, whose rows are chosen. */
typedef struct selection {
    int n_indexed, ndim, at;                 /* at: where the chosen dimensions stand in the result */
    int64_t order[SOMA_MAX_DIMS];            /* dimensions of x, the indexed ones first */
    int64_t moved[SOMA_MAX_DIMS];            /* their sizes */
    soma_meta chosen;                        /* the shape that the indices broadcast to */
    int64_t rows;
    soma_tensor *places;                     /* row numbers */
} selection;

/* The index tensors dimension by dimension: masks as the coordinates of their trues. */
static bool spread_masks(soma_args *a, int first, soma_tensor **index) {
    const soma_tensor *x = a->in[0];
    char mask[SOMA__SHAPE_TEXT], text[SOMA__SHAPE_TEXT];
    int d = 0, used = 0;
    for (int i = first; i < a->n_in; i++) {
        soma_tensor *t = a->in[i];
        int n = t && t->dtype == SOMA_BOOL ? t->ndim : 1;
        bool fits = n > 0 && d + n <= x->ndim;
        for (int k = 0; fits && n == (t ? t->ndim : 0) && t->dtype == SOMA_BOOL && k < n; k++)
            fits = t->shape[k] == x->shape[d + k];
        if (!fits) {
            soma_fail(SOMA_ESHAPE, "%s: index %d is %s, which does not fit %s at dimension %d", a->op->name, i - first, soma__tensor_text(t, mask),
                      soma__tensor_text(x, text), d);
            return false;
        }
        used += t != NULL;
        if (t && t->dtype == SOMA_BOOL) {
            soma_tensor *places = true_places(a, t);
            for (int k = 0; k < n && places; k++)
                index[d++] = coordinate(places, n, t->shape, k);
            if (!places)
                return false;
        } else {
            index[d++] = t;
        }
    }
    if (!used)
        soma_fail(SOMA_EINVAL, "%s: no index tensor is given", a->op->name);
    return used > 0;
}

static bool find_places(soma_args *a, soma_tensor *const *index, selection *s) {
    const soma_tensor *x = a->in[0];
    soma_tensor *used[SOMA_MAX_DIMS];
    int64_t step = 1;
    for (int k = 0; k < s->n_indexed; k++)
        used[k] = index[s->order[k]];
    if (!soma__broadcast(a->op->name, used, s->n_indexed, &s->chosen))
        return false;
    int64_t n = soma__numel(s->chosen.ndim, s->chosen.shape);
    s->places = soma_zeros(1, &n, SOMA_I64);
    for (int k = s->n_indexed - 1; k >= 0 && s->places; k--) {
        char where[32];
        memcpy(where, "dimension ", 11);
        where[10] = (char)('0' + s->order[k]);
        where[11] = 0;
        soma_tensor *t = wrapped(a->op->name, used[k], x->shape[s->order[k]], where);
        t = t ? soma_contiguous(soma_expand(t, s->chosen.ndim, s->chosen.shape)) : NULL;
        if (!t)
            return false;
        for (int64_t i = 0; t->data && i < n; i++)
            ((int64_t *)s->places->data)[i] += ((const int64_t *)t->data)[i] * step;
        step *= x->shape[s->order[k]];
    }
    s->rows = step;
    return s->places != NULL;
}

/* Indices from input `first` on. */
static bool select_places(soma_args *a, int first, selection *s) {
    const soma_tensor *x = a->in[0];
    soma_tensor *index[SOMA_MAX_DIMS] = {0};
    *s = (selection){0};
    if (!spread_masks(a, first, index) || soma__failed())
        return false;
    for (int pass = 0; pass < 2; pass++)
        for (int d = 0; d < x->ndim; d++)
            if ((index[d] == NULL) == pass) {
                s->moved[s->ndim] = x->shape[d];
                s->order[s->ndim++] = d;
                s->n_indexed += !pass;
            }
    bool together = s->order[s->n_indexed - 1] - s->order[0] == s->n_indexed - 1;
    s->at = together ? (int)s->order[0] : 0;
    if (!find_places(a, index, s))
        return false;
    if (s->chosen.ndim + s->ndim - s->n_indexed <= SOMA_MAX_DIMS)
        return true;
    soma_fail(SOMA_ESHAPE, "%s: the result would have %d dimensions, and there are at most %d", a->op->name, s->chosen.ndim + s->ndim - s->n_indexed,
              SOMA_MAX_DIMS);
    return false;
}

/* x as [rows, the rest …]. */
static soma_tensor *as_rows(soma_tensor *x, const selection *s) {
    int64_t shape[SOMA_MAX_DIMS] = {s->rows};
    int n = 1;
    for (int k = s->n_indexed; k < s->ndim; k++)
        shape[n++] = s->moved[k];
    return soma_reshape(soma_permute(x, s->ndim, s->order), n, shape);
}

/* The order that brings the dimensions [chosen …, rest …] to the places they have in the result, or back. */
static int result_order(const selection *s, bool back, int64_t *order) {
    int n = s->chosen.ndim + s->ndim - s->n_indexed;
    for (int d = 0; d < n; d++) {
        int from = d < s->at ? s->chosen.ndim + d : d < s->at + s->chosen.ndim ? d - s->at : d;
        order[back ? from : d] = back ? d : from;
    }
    return n;
}

static bool index_compose(soma_args *a) {
    selection s;
    int64_t shape[SOMA_MAX_DIMS], order[SOMA_MAX_DIMS];
    if (!select_places(a, 1, &s))
        return false;
    int n = result_order(&s, false, order);
    memcpy(shape, s.chosen.shape, sizeof shape);
    for (int k = s.n_indexed; k < s.ndim; k++)
        shape[s.chosen.ndim + k - s.n_indexed] = s.moved[k];
    soma_tensor *t = soma_reshape(soma_index_select(as_rows(a->in[0], &s), 0, s.places), n, shape);
    return soma__return(a, s.at ? soma_permute(t, n, order) : t);
}
SOMA__LINES(index, "[4,3] i[3]=2,0,-1", "s[4,3] i[2]=1,3 I[2]=0,-1", "[2,3,4] - i[2,2]=0,1,2,0", "[2,3,4] i[2]=1,0 - i[2]=3,1", "[3] b[3]=1,0,1",
            "[2,3,2] b[2,3]=1,0,1,0,1,1", "[3,2] - b[2]=0,1", "[4,2] i[]=1", "[0,2] i[0]", "[3,4] i[2,1]=0,2 i[2]=1,3", "[2,3] b[2,3]=0,0,0,0,0,0",
            "[4,3] i[2]=2,4 !EINVAL index: index 4 at position [1] is out of range for dimension 0 of size 4",
            "[4,3] - i[2]=0,-4 !EINVAL index -4 at position [1] is out of range for dimension 1",
            "[4] i[1]=0 i[1]=0 !ESHAPE index: index 1 is [1] i64, which does not fit [4] f32 at dimension 1",
            "[4] b[2]=1,0 !ESHAPE index 0 is [2] bool, which does not fit", "[4,3] i[2]=0,1 i[3]=0,1,2 !ESHAPE broadcast",
            "[4] - !EINVAL no index tensor")
static const soma_op index_op = {
    SOMA__COMPOSITE(index), .family = "index",
    .in = {{.name = "x"}, {.name = "indices", .dtypes = INDEX_DTYPES | SOMA_BIT(SOMA_BOOL), .apart = true, .optional = true}}, .n_in = 2,
    .variadic = true, .outputs = 1, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,
    .doc = "x[i0, i1, …]: one index tensor a dimension, which broadcast with each other; an absent one takes the whole dimension, a bool mask stands "
           "for the coordinates of its trues. Negative indices count from the end. The chosen elements stand where the indexed dimensions stood when "
           "those are neighbours, else first, as in NumPy.",
};
soma_tensor *soma_index(soma_tensor *x, soma_tensor *const *indices, int n) {
    soma_tensor *in[1 + SOMA_MAX_DIMS] = {x};
    if (n < 0 || n > SOMA_MAX_DIMS) {
        soma_fail(SOMA_EINVAL, "index: %d index tensors, expected 1 to %d", n, SOMA_MAX_DIMS);
        return NULL;
    }
    memcpy(in + 1, indices, (size_t)n * sizeof *in);
    return soma__run(&index_op, in, n + 1, NULL);
}

static bool index_put_compose(soma_args *a) {
    selection s;
    int64_t shape[SOMA_MAX_DIMS], order[SOMA_MAX_DIMS], full[SOMA_MAX_DIMS], rows[SOMA_MAX_DIMS], back[SOMA_MAX_DIMS];
    soma_tensor *x = a->in[0];
    if (!select_places(a, 2, &s))
        return false;
    int n = result_order(&s, false, order), rest = s.ndim - s.n_indexed;
    memcpy(shape, s.chosen.shape, sizeof shape);
    rows[0] = s.places->numel;
    for (int k = 0; k < rest; k++)
        shape[s.chosen.ndim + k] = rows[1 + k] = s.moved[s.n_indexed + k];
    for (int d = 0; d < n; d++)
        full[d] = shape[order[d]];
    result_order(&s, true, back);
    soma_tensor *values = soma_permute(soma_expand(a->in[1], n, full), n, back);
    values = soma_reshape(values, 1 + rest, rows);
    soma_tensor *t = (soma__attr_int(a, 0) ? soma_index_add : soma_index_copy)(as_rows(x, &s), 0, s.places, values);
    for (int d = 0; d < s.ndim; d++)
        back[s.order[d]] = d;
    return soma__return(a, soma_permute(soma_reshape(t, s.ndim, s.moved), s.ndim, back));
}
SOMA__LINES(index_put, "[4,3] [3] i[2]=2,0", "s[4,3] [2] i[2]=1,3 I[2]=0,-1", "[2,3,4] [2,2,2,4] - i[2,2]=0,1,2,0 accumulate=true",
            "[2,3,4] [2,3] i[2]=1,0 - i[2]=3,1", "[3] [] b[3]=1,0,1", "[2,3,2] [4,2] b[2,3]=1,0,1,0,1,1", "[4,2] [2] i[]=1",
            "[3] [3] i[3]=1,1,0 accumulate=true", "[3] [3] i[3]=1,1,0 ~", "[0,2] [2] i[0]",
            "[4,3] [] i[2]=2,4 !EINVAL index_put: index 4 at position [1] is out of range for dimension 0 of size 4",
            "[4,3] [2] i[2]=0,1 !ESHAPE does not expand", "[4] [] i[1]=0 i[1]=0 !ESHAPE index 1 is [1] i64")
static const soma_op index_put_op = {
    SOMA__COMPOSITE(index_put), .family = "index",
    .in = {{.name = "x"}, {.name = "values"}, {.name = "indices", .dtypes = INDEX_DTYPES | SOMA_BIT(SOMA_BOOL), .apart = true, .optional = true}},
    .n_in = 3, .variadic = true, .outputs = 1, .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,
    .doc = "x with x[i0, i1, …] = values, which broadcast; the indices as for index, after the values because their number varies. Of several for "
           "one place the last; with accumulate they are added.",
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("accumulate", false, "add instead of replacing")),
};
soma_tensor *soma_index_put(soma_tensor *x, soma_tensor *const *indices, int n, soma_tensor *values, bool accumulate) {
    soma_tensor *in[2 + SOMA_MAX_DIMS] = {x, values};
    soma_attr attr = SOMA_BOOLEAN("accumulate", accumulate);
    if (n < 0 || n > SOMA_MAX_DIMS) {
        soma_fail(SOMA_EINVAL, "index_put: %d index tensors, expected 1 to %d", n, SOMA_MAX_DIMS);
        return NULL;
    }
    memcpy(in + 2, indices, (size_t)n * sizeof *in);
    return soma__run(&index_put_op, in, n + 2, &attr);
}

/* ---- index_fill, take, put ---- */

#define WITH_INDEX {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}}
#define INDEXED .family = "index", .outputs = 1, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED

static bool index_fill_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *index = a->in[1];
    int64_t shape[SOMA_MAX_DIMS], one[SOMA_MAX_DIMS];
    char text[SOMA__SHAPE_TEXT];
    int dim = soma__dim("index_fill", soma__attr_int(a, 0), x->ndim);
    if (dim < 0 || index->ndim > 1) {
        soma_fail(SOMA_ESHAPE, "index_fill: index is %s, expected a vector", soma__tensor_text(index, text));
        return false;
    }
    x = x->ndim ? x : soma_reshape(x, 1, (const int64_t[]){1}); /* a number counts as a vector of one */
    if (!x)
        return false;
    for (int d = 0; d < x->ndim; d++) {
        one[d] = 1;
        shape[d] = d == dim ? index->numel : x->shape[d];
    }
    soma_tensor *rows = wrapped("index_fill", index, x->shape[dim], "the dimension");
    soma_tensor *t = rows ? soma_index_copy(x, dim, rows, soma_expand(soma_full(x->ndim, one, soma__attr_float(a, 1), (soma_dtype)x->dtype), x->ndim,
                                                                      shape)) : NULL;
    return soma__return(a, a->in[0]->ndim ? t : soma_reshape(t, 0, NULL));
}
SOMA__LINES(index_fill, "[4,3] i[2]=2,0 dim=0 value=1.5", "s[4,3] I[2]=-1,1 dim=1 value=2", "[2,3,4] i[2]=1,1 dim=-2 value=0",
            "[5] i[0] dim=0 value=1", "[5] i[]=3 dim=0 value=1", "[1,2] i[1]=0 dim=0 value=3", "[] i[1]=0 dim=0 value=2",
            "[3] i[2]=0,3 dim=0 value=1 !EINVAL index_fill: index 3 at position [1] is out of range",
            "[3] i[1,1]=0 dim=0 value=1 !ESHAPE index is [1, 1] i64", "[3] i[1]=0 dim=1 value=1 !ESHAPE dim 1 is out of range")
static const soma_op index_fill_op = {
    SOMA__COMPOSITE(index_fill), INDEXED, .in = WITH_INDEX, .n_in = 2,
    .doc = "x with a number in the rows (columns, planes …) along `dim` that the indices name; negative ones count from the end.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dim", "dimension that is indexed"), SOMA_NEED_FLOAT("value", "what is put there")),
};
soma_tensor *soma_index_fill(soma_tensor *x, int64_t dim, soma_tensor *index, double value) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_FLOAT("value", value)};
    return SOMA__RUN(&index_fill_op, attrs, x, index);
}

static soma_tensor *flat_places(soma_args *a) {
    soma_tensor *t = wrapped(a->op->name, a->in[1], a->in[0]->numel, "x seen as one dimension");
    return t ? soma_flatten(t, 0, -1) : NULL;
}
static bool take_compose(soma_args *a) {
    soma_tensor *places = flat_places(a);
    return soma__return(a, places ? soma_reshape(soma_index_select(soma_flatten(a->in[0], 0, -1), 0, places), a->in[1]->ndim, a->in[1]->shape) : NULL);
}
SOMA__LINES(take, "[3,4] i[2,2]=0,5,-1,5", "s[3,4] I[2]=7,1", "[] i[2]=0,-1", "[5] i[0]", "[5] i[]=3", "[2,1,3] i[1,2]=5,-6",
            "[3] i[2]=0,3 !EINVAL take: index 3 at position [1] is out of range for x seen as one dimension of size 3",
            "[0] i[1]=0 !EINVAL out of range")
static const soma_op take_op = {
    SOMA__COMPOSITE(take), INDEXED, .in = WITH_INDEX, .n_in = 2,
    .doc = "Elements of x by their place in row-major order, in the shape of the index; negative ones count from the end.",
};
soma_tensor *soma_take(soma_tensor *x, soma_tensor *index) { return SOMA__RUN(&take_op, NULL, x, index); }

static bool put_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *source = a->in[2], *places = flat_places(a);
    char index[SOMA__SHAPE_TEXT], text[SOMA__SHAPE_TEXT];
    if (!places)
        return false;
    if (source->numel != places->numel) {
        soma_fail(SOMA_ESHAPE, "put: source is %s and index is %s, expected as many elements", soma__tensor_text(source, text),
                  soma__tensor_text(a->in[1], index));
        return false;
    }
    soma_tensor *t = (soma__attr_int(a, 0) ? soma_index_add : soma_index_copy)(soma_flatten(x, 0, -1), 0, places, soma_flatten(source, 0, -1));
    return soma__return(a, soma_reshape(t, x->ndim, x->shape));
}
SOMA__LINES(put, "[3,4] i[2,2]=0,5,-1,3 [4]", "s[3,4] I[2]=7,1 s[2,1]", "[3] i[3]=0,0,2 [3] accumulate=true", "[5] i[0] [0]", "[5] i[]=3 []",
            "[2,1,3] i[1,2]=5,-6 [2] accumulate=true", "[3] i[2]=0,3 [2] !EINVAL put: index 3 at position [1] is out of range",
            "[3] i[2]=0,1 [3] !ESHAPE put: source is [3] f32 and index is [2] i64, expected as many elements")
static const soma_op put_op = {
    SOMA__COMPOSITE(put), .family = "index", .outputs = 1, .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}, {.name = "source"}}, .n_in = 3,
    .doc = "x with the elements of source at places in row-major order; of several for one place the last, with accumulate their sum and x's element.",
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("accumulate", false, "add instead of replacing")),
};
soma_tensor *soma_put(soma_tensor *x, soma_tensor *index, soma_tensor *source, bool accumulate) {
    soma_attr attr = SOMA_BOOLEAN("accumulate", accumulate);
    return SOMA__RUN(&put_op, &attr, x, index, source);
}

static bool take_along_dim_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *index = a->in[1];
    int64_t wide_x[SOMA_MAX_DIMS], wide_index[SOMA_MAX_DIMS];
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    if (a->attrs[0].count == 0)
        return soma__return(a, soma_gather(soma_flatten(x, 0, -1), 0, soma_flatten(index, 0, -1)));
    int dim = x->ndim ? soma__dim("take_along_dim", a->attrs[0].value.ints[0], x->ndim) : -1;
    bool fits = dim >= 0 && index->ndim == x->ndim;
    for (int d = 0; fits && d < x->ndim; d++) {
        fits = d == dim || x->shape[d] == index->shape[d] || x->shape[d] == 1 || index->shape[d] == 1;
        int64_t both = x->shape[d] == 1 ? index->shape[d] : x->shape[d];
        wide_x[d] = d == dim ? x->shape[d] : both;
        wide_index[d] = d == dim ? index->shape[d] : both;
    }
    if (!fits) {
        soma_fail(SOMA_ESHAPE, "take_along_dim: x is %s and index is %s, expected sizes that broadcast but for the dimension",
                  soma__tensor_text(x, one), soma__tensor_text(index, two));
        return false;
    }
    return soma__return(a, soma_gather(soma_expand(x, x->ndim, wide_x), dim, soma_expand(index, x->ndim, wide_index)));
}
SOMA__LINES(take_along_dim, "[3,4] i[3,2]<4 dim=1", "s[3,4] i[1,4]<3 dim=0", "[2,3] i[2]=5,0", "[1,3] I[4,2]<3 dim=-1", "[0,2] i[0,1] dim=1",
            "[5] i[2]=4,4 dim=0", "[3] i[2]=0,3 dim=0 !EINVAL index 3 at position [1] is out of range",
            "[3,4] i[2,1] dim=1 !ESHAPE expected sizes that broadcast", "[3] i[1]=0 dim=1 !ESHAPE dim 1")
static const soma_op take_along_dim_op = {
    SOMA__COMPOSITE(take_along_dim), INDEXED, .in = WITH_INDEX, .n_in = 2,
    .doc = "As gather, but x and the index broadcast in the other dimensions: takes what argmax, argsort and their like found. Without dim both are "
           "flattened.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INTS("dim", "dimension that is indexed; none: all elements", 0, 0)),
};
soma_tensor *soma_take_along_dim(soma_tensor *x, soma_tensor *index, int64_t dim) {
    soma_attr attr = SOMA_INTS("dim", dim);
    attr.count = dim != SOMA_NO_DIM;
    return SOMA__RUN(&take_along_dim_op, &attr, x, index);
}

/* ---- Masks ---- */

#define WITH_MASK {.name = "x"}, {.name = "mask", .dtypes = SOMA_BIT(SOMA_BOOL), .apart = true}

/* x and mask in the shape they broadcast to. */
static bool meet(soma_args *a, soma_tensor **x, soma_tensor **mask) {
    soma_meta m;
    if (!soma__broadcast(a->op->name, a->in, 2, &m))
        return false;
    *x = soma_expand(a->in[0], m.ndim, m.shape);
    *mask = soma_expand(a->in[1], m.ndim, m.shape);
    return *x && *mask;
}
static bool masked_select_compose(soma_args *a) {
    soma_tensor *x, *mask, *places = NULL;
    bool ok = meet(a, &x, &mask) && (places = true_places(a, mask)) != NULL;
    return soma__return(a, ok ? soma_index_select(soma_flatten(x, 0, -1), 0, places) : NULL);
}
SOMA__LINES(masked_select, "[3,4] b[3,4]", "s[2,3,4] b[4]", "[1,4] b[2,3,1]", "[] b[]", "[0] b[0]", "[3] b[3]=0,0,0",
            "[3,4] b[3] !ESHAPE masked_select: shapes [3, 4] and [3] do not broadcast", "[3] [3] !EDTYPE input 'mask' has dtype f32, expected bool")
static const soma_op masked_select_op = {
    SOMA__COMPOSITE(masked_select), INDEXED, .in = {WITH_MASK}, .n_in = 2,
    .doc = "The elements of x where the mask is true, in row-major order: [number of trues]. The two broadcast.",
};
soma_tensor *soma_masked_select(soma_tensor *x, soma_tensor *mask) { return SOMA__RUN(&masked_select_op, NULL, x, mask); }

static bool masked_scatter_compose(soma_args *a) {
    soma_tensor *x, *mask, *source = a->in[2];
    char text[SOMA__SHAPE_TEXT];
    if (!meet(a, &x, &mask))
        return false;
    if (soma__ctx()->shapes_only)
        return soma__return(a, soma_clone(x));
    soma_tensor *places = true_places(a, mask);
    if (places && places->numel > source->numel) {
        soma_fail(SOMA_ESHAPE, "masked_scatter: the mask has %lld trues, but source is %s", (long long)places->numel, soma__tensor_text(source, text));
        return false;
    }
    if (!places)
        return false;
    soma_tensor *t = soma_index_copy(soma_flatten(x, 0, -1), 0, places, soma_slice(soma_flatten(source, 0, -1), 0, 0, places->numel, 1));
    return soma__return(a, soma_reshape(t, x->ndim, x->shape));
}
SOMA__LINES(masked_scatter, "[3,4] b[3,4] [12]", "s[2,3,4] b[4] s[5,6]", "[1,4] b[2,3,1] [24]", "[] b[] [1]", "[0] b[0] [0]", "[3] b[3]=0,1,1 [2]",
            "[3] b[3]=1,1,1 [2] !ESHAPE masked_scatter: the mask has 3 trues, but source is [2] f32", "[3,4] b[3] [9] !ESHAPE do not broadcast")
static const soma_op masked_scatter_op = {
    SOMA__COMPOSITE(masked_scatter), INDEXED, .in = {WITH_MASK, {.name = "source"}}, .n_in = 3,
    .doc = "x with the elements of source, one after the other, where the mask is true; x and mask broadcast.",
};
soma_tensor *soma_masked_scatter(soma_tensor *x, soma_tensor *mask, soma_tensor *source) { return SOMA__RUN(&masked_scatter_op, NULL, x, mask, source); }

static bool nonzero_compose(soma_args *a) {
    const soma_tensor *x = a->in[0];
    soma_tensor *places = true_places(a, a->in[0]), *t = places ? soma_empty(2, (const int64_t[]){places->numel, x->ndim}, SOMA_I64) : NULL;
    for (int64_t i = 0; t && i < places->numel; i++) {
        int64_t rest = ((const int64_t *)places->data)[i];
        for (int d = x->ndim - 1; d >= 0; rest /= x->shape[d--])
            ((int64_t *)t->data)[i * x->ndim + d] = rest % x->shape[d];
    }
    return soma__return(a, t);
}
static bool argwhere_compose(soma_args *a) { return nonzero_compose(a); }
#define FOUND .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .family = "index", .onnx = "NonZero", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, \
    .backward = SOMA_NONDIFF
SOMA__LINES(nonzero, "[4]=0,2,0,-1", "s[2,3]=1,0,0,0,3,4", "[]", "[]=0", "[0,3]", "[2,2,2]=0,1,0,1,0,0,1,1", "[3]=0,0,0",
            "!EINVAL takes 1 input, got 0")
SOMA__LINES(argwhere, "[4]=0,2,0,-1", "s[2,3]=1,0,0,0,3,4", "[]", "[]=0", "[0,3]", "[2,2,2]=0,1,0,1,0,0,1,1", "[3]=0,0,0",
            "!EINVAL takes 1 input, got 0")
static const soma_op nonzero_op = {
    SOMA__COMPOSITE(nonzero), FOUND,
    .doc = "The coordinates of all elements that are not 0, in row-major order: i64 [n, dimensions]. NaN is not 0.",
};
static const soma_op argwhere_op = {SOMA__COMPOSITE(argwhere), FOUND, .doc = "The same as nonzero, under NumPy's name."};
soma_tensor *soma_nonzero(soma_tensor *x) { return SOMA__RUN(&nonzero_op, NULL, x); }
soma_tensor *soma_argwhere(soma_tensor *x) { return SOMA__RUN(&argwhere_op, NULL, x); }

soma_op_list soma__advanced_ops = {&index_op, &index_put_op, &index_fill_op, &take_op, &put_op, &take_along_dim_op, &masked_select_op,
                                   &masked_scatter_op, &nonzero_op, &argwhere_op, NULL};
