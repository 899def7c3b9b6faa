/* Elements at places that another tensor names: index_select, gather and their gradients index_add, scatter_add;
 * masked_fill, one_hot. Indices are i64 or i32, 0 … size-1; `check` looks at all of them before a kernel runs, so kernels
 * trust them. Sums come in the order of the index along `dim`, whatever the number of threads; f16 and bf16 are summed in
 * f32 and rounded once. */
#include "ops/shape.h"

#include "kernels/cpu/copy.h"
#include "kernels/cpu/lanes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define INDEX_DTYPES (SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32))

/* A number without dimensions counts as a vector of one, as in PyTorch. */
static int dims(const soma_tensor *t) { return SOMA_MAX(t->ndim, 1); }
static int64_t size_at(const soma_tensor *t, int d) { return t->ndim ? t->shape[d] : 1; }
static int64_t stride_at(const soma_tensor *t, int d) { return t->ndim ? t->stride[d] : 0; }

/* dim of input 0; -1 with the error recorded. */
static int dim_of(soma_args *a) { return soma__dim(a->op->name, soma__attr_int(a, 0), a->in[0]->ndim); }

static int known_dim(const soma_args *a) {
    int64_t dim = soma__attr_int(a, 0);
    return (int)(dim < 0 ? dim + dims(a->in[0]) : dim);
}

/* Every element of `index` lies in [0, size); the message shows the first that does not and where it stands. */
static bool check_range(const char *op, const char *what, const soma_tensor *index, int64_t size, const char *where) {
    int64_t at[SOMA_MAX_DIMS] = {0}, element = (int64_t)soma_dtype_size((soma_dtype)index->dtype);
    const char *p = index->data;
    for (int64_t i = 0; i < index->numel; i++) {
        int64_t v = soma__load_int(p, (soma_dtype)index->dtype);
        if (v < 0 || v >= size) {
            char text[SOMA__SHAPE_TEXT];
            soma_fail(SOMA_EINVAL, "%s: %s %lld at position %s is out of range for %s (0 to %lld)", op, what, (long long)v,
                      soma__shape_text(index->ndim, at, text, sizeof text), where, (long long)size - 1);
            return false;
        }
        for (int d = index->ndim - 1; d >= 0; d--) {
            p += index->stride[d] * element;
            if (++at[d] < index->shape[d])
                break;
            p -= index->shape[d] * index->stride[d] * element;
            at[d] = 0;
        }
    }
    return true;
}

static bool check_index(soma_args *a) {
    char where[64];
    int dim = known_dim(a);
    int64_t size = size_at(a->in[0], dim);
    snprintf(where, sizeof where, "dimension %d of size %lld", dim, (long long)size);
    return check_range(a->op->name, "index", a->in[1], size, where);
}

/* Lanes over `over`'s shape. A 1-d index (index_select, index_add) is the same for all lanes. */
static soma__lanes lanes_of(const soma_args *a, const soma_tensor *over, const soma_tensor *to, const soma_tensor *from,
                            bool one_d) {
    const soma_tensor *index = a->in[1];
    soma__lanes l = {.ndim = dims(over),
                     .dim = known_dim(a),
                     .to = to->data,
                     .from = from->data,
                     .index = index->data,
                     .dtype = (soma_dtype)to->dtype,
                     .index_dtype = (soma_dtype)index->dtype};
    for (int d = 0; d < l.ndim; d++) {
        l.shape[d] = size_at(over, d);
        l.to_stride[d] = stride_at(to, d);
        l.from_stride[d] = stride_at(from, d);
        l.index_stride[d] = one_d ? 0 : stride_at(index, d);
    }
    if (one_d)
        l.index_stride[l.dim] = index->ndim == 0 ? 0 : index->stride[0];
    return l;
}

/* ---- Sums at indices: x's elements first, then those of src in order -------------------------------------------- */

/* f32 of t's shape at `data`, in the form that lanes_of takes. */
static soma_tensor float_room(const soma_tensor *t, void *data) {
    soma_tensor room = {.dtype = SOMA_F32, .ndim = t->ndim, .numel = t->numel, .data = data};
    memcpy(room.shape, t->shape, sizeof room.shape);
    soma__row_major(t->ndim, t->shape, room.stride);
    return room;
}

static size_t add_work(soma_args *a) {
    return soma__is_half(a->in[0]) ? sizeof(float) * (size_t)(a->in[0]->numel + a->in[2]->numel) : 0;
}

static const char *add_kernel(soma_args *a, bool one_d) {
    const soma_tensor *x = a->in[0], *src = a->in[2], *out = a->out[0];
    const soma_tensor *over = one_d ? src : a->in[1];
    if (soma__is_half(x)) {
        soma_tensor sum = float_room(x, a->work), add = float_room(src, (float *)a->work + x->numel);
        soma__copy_to_floats(sum.data, x);
        soma__copy_to_floats(add.data, src);
        soma__lanes l = lanes_of(a, over, &sum, &add, one_d);
        soma__lanes_add(&l);
        soma__copy_from_floats(out, sum.data);
        return NULL;
    }
    if (out->data != x->data)
        soma__copy_tensor(out, x);
    soma__lanes l = lanes_of(a, over, out, src, one_d);
    soma__lanes_add(&l);
    return NULL;
}

static int64_t add_flops(soma_args *a) { return a->in[2]->numel; }

/* ---- Samples ---------------------------------------------------------------------------------------------------- */

/* Indices in [0, size) with doubles among them; every second call i32. */
static soma_tensor *sample_index(int i, int64_t size, int ndim, const int64_t *shape) {
    soma_tensor *t = soma_empty(ndim, shape, i % 2 ? SOMA_I32 : SOMA_I64);
    if (!t || !t->data)
        return t;
    soma__random r = soma__random_new(7, (uint64_t)i);
    for (int64_t k = 0; k < t->numel; k++)
        soma__store_int((char *)t->data + k * (int64_t)soma_dtype_size((soma_dtype)t->dtype), (soma_dtype)t->dtype,
                        (int64_t)soma__random_below(&r, (uint64_t)size));
    return t;
}

/* x, an index of `index_shape`, and for those that add a third tensor of `src_shape`. */
typedef struct index_case {
    int64_t dim;
    int ndim, index_ndim;
    int64_t x[3], index[3], src[3];
} index_case;

static bool index_sample(const index_case *c, int n, int i, soma_dtype dtype, soma_sample *s, bool adds) {
    if (i >= n)
        return false;
    c += i;
    s->n_in = adds ? 3 : 2;
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, c->ndim, c->x);
    s->in[1] = sample_index(i, c->x[c->dim < 0 ? c->dim + c->ndim : c->dim], c->index_ndim, c->index);
    if (i % 2)
        s->in[0] = soma__strided(s->in[0]);
    else
        s->in[1] = soma__strided(s->in[1]);
    if (adds)
        s->in[2] = soma__sample(dtype, -3, 3, 2, c->ndim, c->src);
    s->attrs[0] = SOMA_INT("dim", c->dim);
    return true;
}

/* The same for bad input: index values are given, 1-d or 2-d with one column. */
static bool index_error(soma_dtype dtype, soma_sample *s, int64_t dim, int index_ndim, const int64_t *index,
                        const char *error, soma_status status) {
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(3, 4));
    s->in[1] = soma_from_array(index, index_ndim, (const int64_t[]){2, 1}, SOMA_I64);
    s->attrs[0] = SOMA_INT("dim", dim);
    s->error = error;
    s->status = status;
    return true;
}

static const soma_attr_info dim_attrs[] = {SOMA_NEED_INT("dim", "dimension that is indexed")};

/* ---- index_select ----------------------------------------------------------------------------------------------- */

static bool index_1d(soma_args *a) {
    char text[SOMA__SHAPE_TEXT];
    if (a->in[1]->ndim <= 1)
        return true;
    soma_fail(SOMA_ESHAPE, "%s: index is %s, expected one dimension", a->op->name, soma__tensor_text(a->in[1], text));
    return false;
}

static bool index_select_shape(soma_args *a, soma_meta *out) {
    int dim = dim_of(a);
    if (dim < 0 || !index_1d(a))
        return false;
    soma__shape_same(a, out);
    if (a->in[0]->ndim == 0 && a->in[1]->numel != 1) {
        soma_fail(SOMA_ESHAPE, "index_select: x has no dimensions and there are %lld indices, expected one", (long long)a->in[1]->numel);
        return false;
    }
    out->shape[dim] = a->in[1]->numel;
    return true;
}

static const char *index_select_kernel(soma_args *a) {
    soma__lanes l = lanes_of(a, a->out[0], a->out[0], a->in[0], true);
    soma__lanes_gather(&l);
    return NULL;
}

static const soma_op index_add_op, scatter_add_op;

/* The gradient of what was taken. The zeros are nobody else's: without a graph they are added to where they are. */
static void add_to_zeros(soma_grad_args *g, const soma_op *add) {
    const soma_meta *x = &g->in_meta[0];
    if (!g->gout[0] || !g->need[0])
        return;
    soma_tensor *in[] = {soma_zeros(x->ndim, x->shape, x->dtype), g->in[1], g->gout[0]};
    soma__apply(add, in, 3, g->attrs, g->gin, g->create_graph ? 0 : SOMA__IN_PLACE);
}

static void index_select_backward(soma_grad_args *g) { add_to_zeros(g, &index_add_op); }

static bool index_select_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const index_case c[] = {
        {0, 2, 1, {4, 3}, {5}, {0}}, {-1, 2, 1, {4, 3}, {2}, {0}}, {1, 3, 1, {2, 3, 4}, {4}, {0}}, {0, 1, 1, {5}, {0}, {0}}};
    return index_sample(c, (int)SOMA_LEN(c), i, dtype, s, false);
}

static bool index_select_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t high[] = {0, 3}, low[] = {-1, 0}, good[] = {0, 1};
    s->n_in = 2;
    switch (i) {
    case 0:
        return index_error(dtype, s, 0, 1, high,
                           "index 3 at position [1] is out of range for dimension 0 of size 3 (0 to 2)", SOMA_EINVAL);
    case 1: return index_error(dtype, s, 1, 1, low, "index -1 at position [0] is out of range", SOMA_EINVAL);
    case 2: return index_error(dtype, s, 2, 1, good, "index_select: dim 2 is out of range", SOMA_ESHAPE);
    case 3: return index_error(dtype, s, 0, 2, good, "index is [2, 1] i64, expected one dimension", SOMA_ESHAPE);
    default: return false;
    }
}

static const soma_op index_select_op = {
    .name = "index_select",
    .family = "index",
    .onnx = "Gather",
    .doc = "The rows (columns, planes …) of x along `dim` that a list of indices names, in its order; with doubles if it "
           "has them.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}},
    .n_in = 2,
    .outputs = 1,
    .attrs = dim_attrs,
    .n_attrs = (int)SOMA_LEN(dim_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = index_select_shape,
    .check = check_index,
    .cpu = {index_select_kernel},
    .backward = index_select_backward,
    .saves = SOMA_SAVE_IN(1),
    .no_grad_in = 1u << 1,
    .samples = index_select_samples,
    .errors = index_select_errors,
};
soma_tensor *soma_index_select(soma_tensor *x, int64_t dim, soma_tensor *index) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&index_select_op, &attr, x, index);
}

/* ---- index_add -------------------------------------------------------------------------------------------------- */

static bool index_add_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0], *src = a->in[2];
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    int dim = dim_of(a);
    if (dim < 0 || !index_1d(a))
        return false;
    soma__shape_same(a, out);
    int64_t expected[SOMA_MAX_DIMS];
    memcpy(expected, x->shape, sizeof expected);
    expected[dim] = a->in[1]->numel;
    if (src->ndim == x->ndim && memcmp(expected, src->shape, sizeof *expected * (size_t)x->ndim) == 0)
        return true;
    soma_fail(SOMA_ESHAPE, "%s: src is %s, expected %s: x's shape with one entry for each index in dimension %d", a->op->name,
              soma__shape_text(src->ndim, src->shape, have, sizeof have),
              soma__shape_text(x->ndim, expected, want, sizeof want), dim);
    return false;
}

static const char *index_add_kernel(soma_args *a) { return add_kernel(a, true); }

static void index_add_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    g->gin[0] = g->need[0] ? g->gout[0] : NULL;
    if (g->need[2])
        g->gin[2] = soma_index_select(g->gout[0], g->attrs[0].value.i, g->in[1]);
}

static bool index_add_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const index_case c[] = {{0, 2, 1, {4, 3}, {5}, {5, 3}},
                                   {-1, 2, 1, {4, 3}, {2}, {4, 2}},
                                   {1, 3, 1, {2, 3, 4}, {4}, {2, 4, 4}},
                                   {0, 1, 1, {5}, {0}, {0}}};
    return index_sample(c, (int)SOMA_LEN(c), i, dtype, s, true);
}

static bool index_add_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t high[] = {0, 3}, good[] = {0, 1};
    s->n_in = 3;
    s->in[2] = soma__sample(dtype, -3, 3, 2, SOMA_SHAPE(2, 4));
    switch (i) {
    case 0: return index_error(dtype, s, 0, 1, high, "index_add: index 3 at position [1] is out of range", SOMA_EINVAL);
    case 1: return index_error(dtype, s, 1, 1, good, "index_add: src is [2, 4], expected [3, 2]", SOMA_ESHAPE);
    default: return false;
    }
}

static const soma_op index_add_op = {
    .name = "index_add",
    .family = "index",
    .doc =
        "x with the rows (columns, planes …) of src added to those along `dim` that the indices name, one after the other.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}, {.name = "src"}},
    .n_in = 3,
    .outputs = 1,
    .attrs = dim_attrs,
    .n_attrs = (int)SOMA_LEN(dim_attrs),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = index_add_shape,
    .check = check_index,
    .work = add_work,
    .cpu = {index_add_kernel},
    .backward = index_add_backward,
    .saves_if = {[2] = SOMA_SAVE_IN(1)},
    .no_grad_in = 1u << 1,
    .in_place = true,
    .flops = add_flops,
    .samples = index_add_samples,
    .errors = index_add_errors,
};
soma_tensor *soma_index_add(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&index_add_op, &attr, x, index, src);
}

/* ---- gather ----------------------------------------------------------------------------------------------------- */

/* index has t's dimensions and, but for `dim` (-1: there too), no larger sizes. */
static bool index_fits(const char *op, const char *name, const soma_tensor *index, const soma_tensor *t, int dim) {
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    bool ok = dims(index) == dims(t);
    for (int d = 0; ok && d < dims(t); d++)
        ok = d == dim || size_at(index, d) <= size_at(t, d);
    if (!ok)
        soma_fail(SOMA_ESHAPE, "%s: index is %s, expected no larger sizes than those of %s, %s%s", op,
                  soma__shape_text(index->ndim, index->shape, have, sizeof have), name,
                  soma__shape_text(t->ndim, t->shape, want, sizeof want), dim < 0 ? "" : ", but in the indexed dimension");
    return ok;
}

static bool gather_shape(soma_args *a, soma_meta *out) {
    int dim = dim_of(a);
    if (dim < 0 || !index_fits("gather", "x", a->in[1], a->in[0], dim))
        return false;
    out->ndim = a->in[1]->ndim;
    memcpy(out->shape, a->in[1]->shape, sizeof out->shape);
    return true;
}

static const char *gather_kernel(soma_args *a) {
    soma__lanes l = lanes_of(a, a->out[0], a->out[0], a->in[0], false);
    soma__lanes_gather(&l);
    return NULL;
}

static void gather_backward(soma_grad_args *g) { add_to_zeros(g, &scatter_add_op); }

static bool gather_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const index_case c[] = {{0, 2, 2, {4, 3}, {5, 3}, {0}},
                                   {-1, 2, 2, {4, 3}, {3, 2}, {0}},
                                   {1, 3, 3, {2, 3, 4}, {2, 4, 3}, {0}},
                                   {0, 1, 1, {5}, {0}, {0}}};
    return index_sample(c, (int)SOMA_LEN(c), i, dtype, s, false);
}

static bool gather_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t high[] = {0, 3}, good[] = {0, 1};
    s->n_in = 2;
    switch (i) {
    case 0:
        return index_error(dtype, s, 0, 2, high,
                           "gather: index 3 at position [1, 0] is out of range for dimension 0 of size 3", SOMA_EINVAL);
    case 1:
        return index_error(dtype, s, 0, 1, good, "gather: index is [2], expected no larger sizes than those of x, [3, 4]",
                           SOMA_ESHAPE);
    default: return false;
    }
}

static const soma_op gather_op = {
    .name = "gather",
    .family = "index",
    .onnx = "GatherElements",
    .doc = "An element of x for each index: the index replaces the coordinate along `dim`, the others are those of the "
           "index itself.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}},
    .n_in = 2,
    .outputs = 1,
    .attrs = dim_attrs,
    .n_attrs = (int)SOMA_LEN(dim_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = gather_shape,
    .check = check_index,
    .cpu = {gather_kernel},
    .backward = gather_backward,
    .saves = SOMA_SAVE_IN(1),
    .no_grad_in = 1u << 1,
    .samples = gather_samples,
    .errors = gather_errors,
};
soma_tensor *soma_gather(soma_tensor *x, int64_t dim, soma_tensor *index) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&gather_op, &attr, x, index);
}

/* ---- scatter_add ------------------------------------------------------------------------------------------------ */

static bool scatter_add_shape(soma_args *a, soma_meta *out) {
    int dim = dim_of(a);
    return dim >= 0 && index_fits(a->op->name, "x", a->in[1], a->in[0], dim) &&
           (!a->in[2] || index_fits(a->op->name, "src", a->in[1], a->in[2], -1)) && soma__shape_same(a, out);
}

static const char *scatter_add_kernel(soma_args *a) { return add_kernel(a, false); }

/* t, whose sizes are index's, with zeros up to src's. */
static soma_tensor *widen(soma_tensor *t, const soma_meta *index, const soma_meta *src) {
    int64_t shape[SOMA_MAX_DIMS] = {1};
    if (src->ndim == 0)
        return soma_reshape(t, 0, NULL);
    if (index->ndim == 0)
        t = soma_reshape(t, 1, shape);
    else
        memcpy(shape, index->shape, sizeof shape);
    for (int d = 0; t && d < src->ndim; d++)
        if (shape[d] != src->shape[d]) {
            shape[d] = src->shape[d];
            t = soma__slice_backward(t, src->ndim, shape, d, 0, 1);
        }
    return t;
}

/* Elements of src beyond the index were not used: their gradient is zero. */
static void scatter_add_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    g->gin[0] = g->need[0] ? g->gout[0] : NULL;
    if (!g->need[2])
        return;
    g->gin[2] = widen(soma_gather(g->gout[0], g->attrs[0].value.i, g->in[1]), &g->in_meta[1], &g->in_meta[2]);
}

static bool scatter_add_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const index_case c[] = {{0, 2, 2, {4, 3}, {5, 3}, {5, 3}},
                                   {-1, 2, 2, {4, 3}, {3, 2}, {4, 5}},
                                   {1, 3, 3, {2, 3, 4}, {2, 4, 3}, {2, 4, 3}},
                                   {0, 1, 1, {5}, {0}, {0}}};
    return index_sample(c, (int)SOMA_LEN(c), i, dtype, s, true);
}

static bool scatter_add_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t low[] = {0, -2}, good[] = {0, 1};
    s->n_in = 3;
    s->in[2] = soma__sample(dtype, -3, 3, 2, i == 1 ? 1 : 2, (const int64_t[]){2, 4});
    switch (i) {
    case 0: return index_error(dtype, s, 0, 2, low, "scatter_add: index -2 at position [1, 0] is out of range", SOMA_EINVAL);
    case 1:
        return index_error(dtype, s, 0, 2, good,
                           "scatter_add: index is [2, 1], expected no larger sizes than those of src, [2]", SOMA_ESHAPE);
    default: return false;
    }
}

static const soma_op scatter_add_op = {
    .name = "scatter_add",
    .family = "index",
    .onnx = "ScatterElements",
    .doc = "x with each element of src added where its index says: the index replaces the coordinate along `dim`.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}, {.name = "src"}},
    .n_in = 3,
    .outputs = 1,
    .attrs = dim_attrs,
    .n_attrs = (int)SOMA_LEN(dim_attrs),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = scatter_add_shape,
    .check = check_index,
    .work = add_work,
    .cpu = {scatter_add_kernel},
    .backward = scatter_add_backward,
    .saves_if = {[2] = SOMA_SAVE_IN(1)},
    .no_grad_in = 1u << 1,
    .in_place = true,
    .flops = add_flops,
    .samples = scatter_add_samples,
    .errors = scatter_add_errors,
};
soma_tensor *soma_scatter_add(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&scatter_add_op, &attr, x, index, src);
}

/* ---- index_copy, scatter: what was there is replaced ---- */

static const char *index_copy_kernel(soma_args *a) {
    if (a->out[0]->data != a->in[0]->data)
        soma__copy_tensor(a->out[0], a->in[0]);
    soma__lanes l = lanes_of(a, a->in[2], a->out[0], a->in[2], true);
    soma__lanes_put(&l);
    return NULL;
}

static void index_copy_backward(soma_grad_args *g) {
    const soma_meta *src = &g->in_meta[2];
    int64_t dim = g->attrs[0].value.i;
    if (!g->gout[0])
        return;
    if (g->need[0])
        g->gin[0] = soma_index_copy(g->gout[0], dim, g->in[1], soma_zeros(src->ndim, src->shape, src->dtype));
    if (g->need[2])
        g->gin[2] = soma_index_select(g->gout[0], dim, g->in[1]);
}

SOMA__LINES(index_copy, "[4,3] i[2]=2,0 [2,3] dim=0", "s[4,3] I[2]=1,2 [4,2] dim=-1", "[2,3,4] i[3]=2,1,0 [2,3,4] dim=1", "[5] i[0] [0] dim=0",
            "[5] i[]=3 [1] dim=0", "[3,2] i[2]=1,1 [2,2] dim=0 ~",
            "[3,4] i[2]=0,3 [2,4] dim=0 !EINVAL index_copy: index 3 at position [1] is out of range",
            "[3,4] i[2]=0,1 [2,4] dim=1 !ESHAPE index_copy: src is [2, 4], expected [3, 2]")
static const soma_op index_copy_op = {
    .name = "index_copy", .family = "index",
    .doc = "x with the rows (columns, planes …) of src in place of those along `dim` that the indices name; of several for one place the last.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}, {.name = "src"}}, .n_in = 3, .outputs = 1, .attrs = dim_attrs,
    .n_attrs = 1, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = index_add_shape, .check = check_index, .cpu = {index_copy_kernel},
    .backward = index_copy_backward, .saves = SOMA_SAVE_IN(1), .no_grad_in = 1u << 1, .in_place = true, .samples = index_copy_samples,
    .errors = index_copy_errors,
};
soma_tensor *soma_index_copy(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&index_copy_op, &attr, x, index, src);
}

static const char *scatter_kernel(soma_args *a) {
    uint64_t value = 0;
    const soma_tensor *out = a->out[0];
    soma_tensor number = {.dtype = out->dtype, .ndim = out->ndim, .numel = 1, .data = &value};
    soma__store(&value, (soma_dtype)out->dtype, soma__attr_float(a, 1));
    if (out->data != a->in[0]->data)
        soma__copy_tensor(out, a->in[0]);
    soma__lanes l = lanes_of(a, a->in[1], out, a->in[2] ? a->in[2] : &number, false);
    soma__lanes_put(&l);
    return NULL;
}

static void scatter_backward(soma_grad_args *g) {
    int64_t dim = g->attrs[0].value.i;
    if (!g->gout[0])
        return;
    if (g->need[0])
        g->gin[0] = soma_scatter_value(g->gout[0], dim, g->in[1], 0);
    if (g->n_in > 2 && g->need[2])
        g->gin[2] = widen(soma_gather(g->gout[0], dim, g->in[1]), &g->in_meta[1], &g->in_meta[2]);
}

SOMA__LINES(scatter, "[4,3] i[2,3]=0,1,2,3,2,1 [2,3] dim=0", "s[4,3] I[4,1]=1,0,2,1 [4,5] dim=-1",
            "[2,3,4] i[1,2,4]=0,1,2,0,2,0,1,1 - dim=1 value=2.5", "[5] i[0] [0] dim=0", "[5] i[2]=3,1 s[2] dim=0",
            "[3,2] i[2,2]=1,1,1,1 [2,2] dim=0 ~", "[3] i[2]=2,0 dim=0 value=1", "[] i[]=0 [] dim=0", "[] i[1]=0 - dim=-1 value=2",
            "[3,4] i[2,1]=0,3 [2,4] dim=0 !EINVAL scatter: index 3 at position [1, 0] is out of range",
            "[3,4] i[2,1]=0,1 [2] dim=0 !ESHAPE scatter: index is [2, 1], expected no larger sizes than those of src, [2]",
            "[2] i[1]=0 [1] dim=1 !ESHAPE dim 1 is out of range")
static const soma_op scatter_op = {
    .name = "scatter", .family = "index", .onnx = "ScatterElements",
    .doc = "x with each element of src (or a number) where its index says: the index replaces the coordinate along `dim`; of several for one place the last.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}, {.name = "src", .optional = true}}, .n_in = 3, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dim", "dimension that is indexed"), SOMA_DEF_FLOAT("value", 0, "what is put there when there is no src")),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = scatter_add_shape, .check = check_index, .cpu = {scatter_kernel}, .backward = scatter_backward,
    .saves = SOMA_SAVE_IN(1), .no_grad_in = 1u << 1, .in_place = true, .samples = scatter_samples, .errors = scatter_errors,
};
soma_tensor *soma_scatter(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_FLOAT("value", 0)};
    return x && src ? SOMA__RUN(&scatter_op, attrs, x, index, src) : NULL;
}
soma_tensor *soma_scatter_value(soma_tensor *x, int64_t dim, soma_tensor *index, double value) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_FLOAT("value", value)};
    return SOMA__RUN(&scatter_op, attrs, x, index, NULL);
}

/* ---- scatter_reduce: product, largest and smallest by scatter_fold, which takes in x; the rest in operators ---- */

static soma_tensor *scatter_fold(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src, soma__lanes_kind kind);

static const char *scatter_fold_kernel(soma_args *a) {
    soma__copy_tensor(a->out[0], a->in[0]);
    soma__lanes l = lanes_of(a, a->in[1], a->out[0], a->in[2], false);
    l.fold = (soma__lanes_kind)soma__attr_int(a, 1);
    soma__lanes_fold(&l);
    return NULL;
}

/* d/dsrc: the product of the others, which is what is left without the zeros where src is the only one, or divided by it where there is none. */
static void product_gradient(soma_grad_args *g, soma_tensor *x, soma_tensor *index, soma_tensor *src) {
    soma_dtype dtype = g->in_meta[0].dtype;
    int64_t dim = g->attrs[0].value.i;
    soma_tensor *go = g->gout[0], *one = soma_ones(g->in_meta[0].ndim, g->in_meta[0].shape, dtype);
    if (g->need[0])
        g->gin[0] = soma_mul(go, scatter_fold(one, dim, index, src, SOMA__LANES_PROD));
    if (!g->need[2])
        return;
    soma_tensor *zero = soma_eq(src, soma_scalar(0)), *safe = soma_masked_fill(src, zero, 1);
    soma_tensor *zeros = soma_gather(soma_scatter_add(soma_mul_scalar(one, 0), dim, index, soma_to(zero, dtype)), dim, index);
    soma_tensor *others = soma_div(soma_gather(soma_mul(go, scatter_fold(x, dim, index, safe, SOMA__LANES_PROD)), dim, index), safe);
    g->gin[2] = soma_masked_fill(others, soma_gt(soma_sub(zeros, soma_to(zero, dtype)), soma_scalar(0)), 0);
}

static void scatter_fold_backward(soma_grad_args *g) {
    int64_t dim = g->attrs[0].value.i;
    soma_dtype dtype = g->in_meta[0].dtype;
    soma_tensor *go = g->gout[0], *x = g->in[0], *index = g->in[1], *src = g->in[2], *out = g->out[0];
    if (!go)
        return;
    if (g->attrs[1].value.i == SOMA__LANES_PROD) {
        product_gradient(g, x, index, src);
        return;
    }
    soma_tensor *from_x = soma_to(soma_eq(x, out), dtype), *from_src = soma_to(soma_eq(src, soma_gather(out, dim, index)), dtype);
    soma_tensor *share = soma_div(go, soma_scatter_add(from_x, dim, index, from_src)); /* equals share evenly */
    g->gin[0] = soma_mul(share, from_x);
    g->gin[2] = soma_mul(soma_gather(share, dim, index), from_src);
}
static bool scatter_fold_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *index = a->in[1], *src = a->in[2];
    char text[SOMA__SHAPE_TEXT];
    if (!scatter_add_shape(a, out) || soma__same_shape(index, src))
        return !soma__failed();
    soma_fail(SOMA_ESHAPE, "scatter_fold: src is %s, expected index's shape", soma__shape_text(src->ndim, src->shape, text, sizeof text));
    return false;
}
SOMA__LINES(scatter_fold, "[4,3] i[2,3]=0,1,2,0,1,1 [2,3] dim=0 kind=0", "[4,3] i[4,2]=1,0,2,1,1,1,0,0 [4,2] dim=1 kind=1",
            "[5] i[3]=3,1,3 [3] dim=0 kind=2", "[3] i[2]=0,3 [2] dim=0 kind=0 !EINVAL index 3 at position [1]",
            "[3] i[1]=0 [2] dim=0 kind=0 !ESHAPE scatter_fold: src is [2], expected index's shape")
static const soma_op scatter_fold_op = {
    .name = "scatter_fold", .family = "index",
    .doc = "Product, maximum or minimum of x and the elements of src that go to each place: part of scatter_reduce.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}, {.name = "src"}}, .n_in = 3, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dim", "dimension that is indexed"), SOMA_NEED_INT("kind", "0: product, 1: maximum, 2: minimum")),
    .dtypes = SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64) | SOMA_BIT(SOMA_I64), .promote = SOMA_PROMOTE_SAME, .shape = scatter_fold_shape,
    .check = check_index, .cpu = {scatter_fold_kernel}, .backward = scatter_fold_backward,
    .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_IN(1) | SOMA_SAVE_IN(2) | SOMA_SAVE_OUT(0), .no_grad_in = 1u << 1, .internal = true,
    .samples = scatter_fold_samples, .errors = scatter_fold_errors,
};
static soma_tensor *scatter_fold(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src, soma__lanes_kind kind) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_INT("kind", kind)};
    return SOMA__RUN(&scatter_fold_op, attrs, x, index, src);
}

static soma_tensor *scatter_mean(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src, bool with_x) {
    soma_dtype dtype = (soma_dtype)x->dtype;
    soma_tensor *one = soma_ones(index->ndim, index->shape, SOMA_F64), *count = soma_full(x->ndim, x->shape, with_x, SOMA_F64);
    count = soma_clamp(soma_scatter_add(count, dim, index, one), 1, INFINITY);
    soma_tensor *sum = soma_scatter_add(x, dim, index, src);
    if (soma_dtype_is_float(dtype))
        return soma_div(sum, soma_to(count, dtype));
    return soma_to(soma_floor(soma_div(soma_to(sum, SOMA_F64), count)), dtype); /* as PyTorch: towards the smaller */
}

static bool scatter_reduce_compose(soma_args *a) {
    static const char *const names[] = {"prod", "amax", "amin", "sum", "mean"};
    const char *reduce = a->attrs[1].value.s;
    soma_tensor *x = a->in[0], *index = a->in[1], *src = a->in[2];
    bool with_x = soma__attr_int(a, 2) != 0, floats = soma_dtype_is_float((soma_dtype)x->dtype);
    int kind = 0, dim = dim_of(a);
    while (kind < 5 && strcmp(reduce, names[kind]) != 0)
        kind++;
    if (kind == 5) {
        soma_fail(SOMA_EINVAL, "scatter_reduce: reduce is '%s', expected sum, prod, mean, amax or amin", reduce);
        return false;
    }
    if (dim < 0 || !index_fits("scatter_reduce", "x", index, x, dim) || !index_fits("scatter_reduce", "src", index, src, -1))
        return false;
    if (index->ndim != src->ndim) /* one of them is 0-d, the other [n] */
        *(index->ndim ? &src : &index) = soma_unsqueeze(index->ndim ? src : index, 0);
    for (int d = 0; src && index && d < src->ndim; d++)
        if (src->shape[d] != index->shape[d])
            src = soma_slice(src, d, 0, index->shape[d], 1);
    soma_dtype dtype = (soma_dtype)x->dtype, wide = !floats ? SOMA_I64 : dtype == SOMA_F64 ? SOMA_F64 : SOMA_F32;
    if (kind < 3) {
        x = soma_to(x, wide);
        src = soma_to(src, wide);
    }
    if (!with_x) {
        static const double neutral[] = {1, -INFINITY, INFINITY, 0, 0};
        bool any = !floats && (kind == 1 || kind == 2); /* integers have no infinity: one of src's own does as well */
        x = any ? soma_scatter(x, dim, index, src) : soma_scatter_value(x, dim, index, neutral[kind]);
    }
    soma_tensor *t = !x || !src ? NULL : kind < 3 ? scatter_fold(x, dim, index, src, (soma__lanes_kind)kind) : kind == 3 ? soma_scatter_add(x, dim, index, src)
                                                                                                      : scatter_mean(x, dim, index, src, with_x);
    return soma__return(a, soma_to(t, dtype));
}
#define PLACES "[4,3] i[2,3]=0,1,2,0,1,1 [2,3] dim=0 "
SOMA__LINES(scatter_reduce, PLACES "reduce='sum'", PLACES "reduce='prod'", PLACES "reduce='mean'", PLACES "reduce='amax'",
            PLACES "reduce='amin' include_self=false", PLACES "reduce='prod' include_self=false", PLACES "reduce='mean' include_self=false",
            "s[4,3] I[4,2]=1,0,2,1,1,1,0,0 [4,5] dim=1 reduce='amax' include_self=false", "[5] i[0] [0] dim=0 reduce='prod'",
            "[5] i[3]=3,1,3 s[3] dim=0 reduce='prod'", "[3] i[3]=1,1,1 [3]=0,2,0 dim=0 reduce='prod' ~",
            "[5] i[]=3 [3] dim=0 reduce='prod'",
            "[5] i[3]=3,1,3 s[3] dim=-1 reduce='sum' include_self=false",
            "[3] i[2]=0,3 [2] dim=0 reduce='sum' !EINVAL index 3 at position [1]",
            "[3] i[2]=0,1 [2] dim=0 reduce='max' !EINVAL scatter_reduce: reduce is 'max', expected sum",
            "[3] i[2]=0,1 [1] dim=0 reduce='sum' !ESHAPE index is [2], expected no larger sizes than those of src, [1]")
static const soma_op scatter_reduce_op = {
    SOMA__COMPOSITE(scatter_reduce), .family = "index", .onnx = "ScatterElements",
    .doc = "x with the elements of src brought together where their indices say, as scatter: by sum, prod, mean, amax or amin, with x's element or "
           "without it. Equals share the gradient of amax and amin.",
    .in = {{.name = "x"}, {.name = "index", .dtypes = INDEX_DTYPES, .apart = true}, {.name = "src"}}, .n_in = 3, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dim", "dimension that is indexed"),
                        SOMA_NEED_STRING("reduce", "sum, prod, mean, amax or amin"),
                        SOMA_DEF_BOOL("include_self", true, "x's own element counts too")),
    .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED, .no_grad_in = 1u << 1,
};
soma_tensor *soma_scatter_reduce(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src, const char *reduce, bool include_self) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_STRING("reduce", reduce ? reduce : ""), SOMA_BOOLEAN("include_self", include_self)};
    return SOMA__RUN(&scatter_reduce_op, attrs, x, index, src);
}

/* ---- masked_fill ------------------------------------------------------------------------------------------------ */

typedef struct mask_fill {
    size_t size;
    uint64_t value;
} mask_fill;

static inline __attribute__((always_inline)) void mask_row(size_t size, const void *value, char *const *p, const int64_t *s,
                                                           int64_t n) {
    for (int64_t i = 0; i < n; i++)
        memcpy(p[0] + i * s[0], p[2][i * s[2]] ? (const char *)value : p[1] + i * s[1], size);
}

static void mask_inner(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const mask_fill *m = arg;
    (void)first;
    switch (m->size) {
    case 1: mask_row(1, &m->value, p, stride, count); break;
    case 2: mask_row(2, &m->value, p, stride, count); break;
    case 4: mask_row(4, &m->value, p, stride, count); break;
    default: mask_row(8, &m->value, p, stride, count); break;
    }
}

static const char *masked_fill_kernel(soma_args *a) {
    soma_tensor *out = a->out[0];
    mask_fill m = {.size = soma_dtype_size((soma_dtype)out->dtype)};
    soma__iter it;
    soma__store(&m.value, (soma_dtype)out->dtype, soma__attr_float(a, 0));
    soma__iter_init(&it, out->ndim, out->shape, (soma_tensor *const[]){out, a->in[0], a->in[1]}, 3);
    soma__iter_run(&it, mask_inner, &m);
    return NULL;
}

static void masked_fill_backward(soma_grad_args *g) {
    if (g->gout[0] && g->need[0])
        g->gin[0] = soma__sum_to(soma_masked_fill(g->gout[0], g->in[1], 0), &g->in_meta[0]);
}

static bool masked_fill_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct {
        int ndim, mask_ndim;
        int64_t x[3], mask[3];
    } c[] = {{2, 2, {3, 4}, {3, 4}}, {3, 1, {2, 3, 4}, {4}}, {2, 3, {1, 4}, {2, 3, 1}}, {0, 0, {0}, {0}}, {1, 1, {0}, {0}}};
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = 2;
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, c[i].ndim, c[i].x);
    s->in[1] = soma__sample(SOMA_BOOL, 0, 1, 2, c[i].mask_ndim, c[i].mask);
    if (i % 2)
        s->in[0] = soma__strided(s->in[0]);
    s->attrs[0] = SOMA_FLOAT("value", 5);
    return true;
}

static bool masked_fill_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->n_in = 2;
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(3, 4));
    s->in[1] = soma__sample(i ? SOMA_F32 : SOMA_BOOL, 0, 1, 2, SOMA_SHAPE(3));
    s->attrs[0] = SOMA_FLOAT("value", 5);
    s->error = i ? "input 'mask' has dtype f32, expected bool" : "masked_fill: shapes [3, 4] and [3] do not broadcast";
    s->status = i ? SOMA_EDTYPE : SOMA_ESHAPE;
    return i < 2;
}

static const soma_op masked_fill_op = {
    .name = "masked_fill",
    .family = "index",
    .onnx = "Where",
    .doc = "x with `value` wherever the mask is true.",
    .in = {{.name = "x"}, {.name = "mask", .dtypes = SOMA_BIT(SOMA_BOOL), .apart = true}},
    .n_in = 2,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_FLOAT("value", "what is put where the mask is true")),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = soma__shape_broadcast,
    .cpu = {masked_fill_kernel},
    .backward = masked_fill_backward,
    .saves = SOMA_SAVE_IN(1),
    .no_grad_in = 1u << 1,
    .in_place = true,
    .samples = masked_fill_samples,
    .errors = masked_fill_errors,
};
soma_tensor *soma_masked_fill(soma_tensor *x, soma_tensor *mask, double value) {
    soma_attr attr = SOMA_FLOAT("value", value);
    return SOMA__RUN(&masked_fill_op, &attr, x, mask);
}

/* ---- one_hot ---------------------------------------------------------------------------------------------------- */

/* One more than the largest number. */
static bool largest_class(soma_args *a, int64_t *classes) {
    soma_tensor *most = soma__has_values(a) && a->in[0]->numel > 0 ? soma_amax(a->in[0], SOMA_ALL, false) : NULL;
    if (a->in[0]->numel == 0)
        soma_fail(SOMA_EINVAL, "one_hot: the number of classes cannot be told from no elements");
    *classes = most ? soma_item_int(most) + 1 : 0;
    return most != NULL;
}

static bool one_hot_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int64_t classes = soma__attr_int(a, 0);
    if (classes == -1 && !largest_class(a, &classes))
        return false;
    if (classes < 1 || x->ndim == SOMA_MAX_DIMS) {
        soma_fail(
            SOMA_EINVAL,
            "one_hot: %lld classes for an input of %d dimensions; expected 1 class or more, and fewer than %d dimensions",
            (long long)classes, x->ndim, SOMA_MAX_DIMS);
        return false;
    }
    out->dtype = SOMA_I64;
    out->ndim = x->ndim + 1;
    memcpy(out->shape, x->shape, sizeof out->shape);
    out->shape[x->ndim] = classes;
    return true;
}

static bool one_hot_check(soma_args *a) {
    char where[64];
    int64_t classes = a->out[0]->shape[a->in[0]->ndim];
    snprintf(where, sizeof where, "%lld classes", (long long)classes);
    return check_range("one_hot", "class", a->in[0], classes, where);
}

static void one_hot_inner(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const soma_args *a = arg;
    int64_t classes = a->out[0]->shape[a->in[0]->ndim], *out = (int64_t *)a->out[0]->data + first * classes;
    for (int64_t i = 0; i < count; i++)
        out[i * classes + soma__load_int(p[0] + i * stride[0], (soma_dtype)a->in[0]->dtype)] = 1;
}

static const char *one_hot_kernel(soma_args *a) {
    soma__iter it;
    soma__fill_elements(sizeof(int64_t), a->out[0]->data, a->out[0]->numel, &(int64_t){0});
    soma__iter_init(&it, a->in[0]->ndim, a->in[0]->shape, &a->in[0], 1);
    soma__iter_run(&it, one_hot_inner, a);
    return NULL;
}

static bool one_hot_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t shape[] = {2, 3};
    if (i > (int)SOMA_LEN(shape))
        return false;
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, 0, 4, (uint64_t)i, i, shape);
    s->attrs[0] = SOMA_INT("classes", 4 + i);
    return true;
}

static bool one_hot_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma_full(SOMA_SHAPE(2), 4, dtype);
    s->attrs[0] = SOMA_INT("classes", i ? 0 : 4);
    s->error = i ? "one_hot: 0 classes" : "one_hot: class 4 at position [0] is out of range for 4 classes (0 to 3)";
    s->status = SOMA_EINVAL;
    return i < 2;
}

static const soma_op one_hot_op = {
    .name = "one_hot",
    .family = "index",
    .onnx = "OneHot",
    .doc = "For each class number a row of `classes` zeros with a one at that place (i64), in a new last dimension.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("classes", -1, "number of classes, the size of the new dimension; -1: one more than the largest number")),
    .dtypes = SOMA_INTEGERS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = one_hot_shape,
    .check = one_hot_check,
    .cpu = {one_hot_kernel},
    .backward = SOMA_NONDIFF,
    .samples = one_hot_samples,
    .errors = one_hot_errors,
};
soma_tensor *soma_one_hot(soma_tensor *x, int64_t classes) {
    soma_attr attr = SOMA_INT("classes", classes);
    return SOMA__RUN(&one_hot_op, &attr, x);
}

soma_op_list soma__index_ops = {&index_copy_op, &scatter_op, &scatter_fold_op, &scatter_reduce_op, &index_select_op, &index_add_op, &gather_op, &scatter_add_op,
                                &masked_fill_op,  &one_hot_op,   NULL};
