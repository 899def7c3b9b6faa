/* Diagonals: diagonal is a view, whose gradient puts a tensor on a diagonal of zeros (diagonal_backward); the others are written in these two.
 * Beside them what puts a tensor into a place of another: diagonal_scatter, select_scatter, slice_scatter. */
#include "ops/shape.h"

#include "kernels/cpu/copy.h"

#include <string.h>

#define ONE .in = {{.name = "x"}}, .n_in = 1, .family = "shape", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME
#define OFFSET SOMA_DEF_INT("offset", 0, "0: the main diagonal; above it positive, below it negative")

/* Two different dimensions. */
static bool plane(const char *op, int64_t dim1, int64_t dim2, int ndim, int *d1, int *d2) {
    if (ndim < 2) {
        soma_fail(SOMA_ESHAPE, "%s: x has %d dimension%s, expected two or more", op, ndim, ndim == 1 ? "" : "s");
        return false;
    }
    *d1 = soma__dim(op, dim1, ndim);
    *d2 = *d1 < 0 ? -1 : soma__dim(op, dim2, ndim);
    if (*d2 >= 0 && *d1 == *d2)
        soma_fail(SOMA_ESHAPE, "%s: dim1 and dim2 are both %d, expected two dimensions", op, *d1);
    return *d2 >= 0 && *d1 != *d2;
}

/* The diagonal as strides over a tensor of `shape` and `stride`: its length goes last. */
static int64_t along(const int64_t *shape, const int64_t *stride, int ndim, int d1, int d2, int64_t offset, soma_meta *out) {
    int64_t n1 = shape[d1], n2 = shape[d2];
    offset = SOMA_MAX(-n1, SOMA_MIN(n2, offset)); /* beyond the corners nothing is left anyway */
    out->ndim = 0;
    for (int d = 0; d < ndim; d++)
        if (d != d1 && d != d2) {
            out->shape[out->ndim] = shape[d];
            out->stride[out->ndim++] = stride[d];
        }
    int64_t n = offset >= 0 ? SOMA_MIN(n1, n2 - offset) : SOMA_MIN(n1 + offset, n2);
    out->shape[out->ndim] = SOMA_MAX(n, 0);
    out->stride[out->ndim++] = stride[d1] + stride[d2];
    return n <= 0 ? 0 : offset >= 0 ? offset * stride[d2] : -offset * stride[d1];
}

/* ---- diagonal and its gradient ---- */

static bool diagonal_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int d1, d2;
    if (!plane("diagonal", soma__attr_int(a, 1), soma__attr_int(a, 2), x->ndim, &d1, &d2))
        return false;
    out->offset = along(x->shape, x->stride, x->ndim, d1, d2, soma__attr_int(a, 0), out);
    return true;
}

static soma_tensor *diagonal_backward(soma_tensor *g, int ndim, const int64_t *shape, int64_t offset, int64_t dim1, int64_t dim2);

static void diagonal_gradient(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0];
    if (g->gout[0])
        g->gin[0] = diagonal_backward(g->gout[0], x->ndim, x->shape, g->attrs[0].value.i, g->attrs[1].value.i, g->attrs[2].value.i);
}

SOMA__LINES(diagonal, "[3,4]", "s[4,3] offset=1", "[3,3] offset=-1", "[2,3,4] offset=1 dim1=1 dim2=2", "[2,3,2] dim1=-1 dim2=0", "[2,2] offset=5",
            "[0,3]", "[3] !ESHAPE diagonal: x has 1 dimension, expected two or more", "[3,4] dim1=1 dim2=-1 !ESHAPE dim1 and dim2 are both 1",
            "[3,4] dim2=2 !ESHAPE dim 2 is out of range")
static const soma_op diagonal_op = {
    .name = "diagonal", ONE, .outputs = 1, .doc = "A view of a diagonal of two dimensions, which go; it becomes the last dimension.",
    .attrs = SOMA_ATTRS(OFFSET, SOMA_DEF_INT("dim1", 0, "rows"), SOMA_DEF_INT("dim2", 1, "columns")), .shape = diagonal_shape,
    .view = diagonal_shape, .cpu = {soma__view_kernel}, .backward = diagonal_gradient, .samples = diagonal_samples, .errors = diagonal_errors,
};
soma_tensor *soma_diagonal(soma_tensor *x, int64_t offset, int64_t dim1, int64_t dim2) {
    soma_attr attrs[] = {SOMA_INT("offset", offset), SOMA_INT("dim1", dim1), SOMA_INT("dim2", dim2)};
    return SOMA__RUN(&diagonal_op, attrs, x);
}

static bool back_shape(soma_args *a, soma_meta *out) {
    const soma_attr *shape = &a->attrs[0];
    const soma_tensor *g = a->in[0];
    int64_t stride[SOMA_MAX_DIMS];
    soma_meta want;
    int d1, d2;
    char have[SOMA__SHAPE_TEXT], text[SOMA__SHAPE_TEXT];
    if (!plane("diagonal_backward", soma__attr_int(a, 2), soma__attr_int(a, 3), shape->count, &d1, &d2))
        return false;
    if (soma__numel(shape->count, shape->value.ints) < 0) {
        soma_fail(SOMA_ESHAPE, "diagonal_backward: shape %s makes no sense", soma__shape_text(shape->count, shape->value.ints, text, sizeof text));
        return false;
    }
    soma__row_major(shape->count, shape->value.ints, stride);
    along(shape->value.ints, stride, shape->count, d1, d2, soma__attr_int(a, 1), &want);
    if (g->ndim != want.ndim || memcmp(g->shape, want.shape, sizeof *want.shape * (size_t)want.ndim) != 0) {
        soma_fail(SOMA_ESHAPE, "diagonal_backward: %s is not the diagonal of %s", soma__tensor_text(g, have),
                  soma__shape_text(shape->count, shape->value.ints, text, sizeof text));
        return false;
    }
    out->ndim = shape->count;
    memcpy(out->shape, shape->value.ints, sizeof out->shape);
    return true;
}

static const char *back_kernel(soma_args *a) {
    const soma_tensor *g = a->in[0], *out = a->out[0];
    size_t size = soma_dtype_size((soma_dtype)out->dtype);
    soma_meta m;
    int d1, d2;
    plane("diagonal_backward", soma__attr_int(a, 2), soma__attr_int(a, 3), out->ndim, &d1, &d2);
    int64_t at = along(out->shape, out->stride, out->ndim, d1, d2, soma__attr_int(a, 1), &m);
    soma__fill_elements(size, out->data, out->numel, &(uint64_t){0});
    soma__copy_elements(size, m.ndim, m.shape, (char *)out->data + at * (int64_t)size, m.stride, g->data, g->stride);
    return NULL;
}

static void back_gradient(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_diagonal(g->gout[0], g->attrs[1].value.i, g->attrs[2].value.i, g->attrs[3].value.i);
}

SOMA__LINES(back, "[3] shape=3,4", "s[2,2] shape=2,3,3 offset=-1 dim1=1 dim2=2", "[0] shape=2,2 offset=4", "[2] shape=3,3 offset=1",
            "[3,2] shape=2,3,4 offset=2 dim1=0 dim2=2", "[0] shape=0,3",
            "[3] shape=2,2 !ESHAPE diagonal_backward: [3] f32 is not the diagonal of [2, 2]", "[3] shape=3, !ESHAPE expected two or more",
            "[3] shape=3,-1 !ESHAPE makes no sense")
static const soma_op back_op = {
    .name = "diagonal_backward", ONE, .outputs = 1, .doc = "Zeros with x on a diagonal: the gradient of diagonal.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("shape", "sizes of the result"), OFFSET, SOMA_DEF_INT("dim1", 0, "rows"), SOMA_DEF_INT("dim2", 1, "columns")),
    .shape = back_shape, .cpu = {back_kernel}, .backward = back_gradient, .internal = true, .samples = back_samples, .errors = back_errors,
};
static soma_tensor *diagonal_backward(soma_tensor *g, int ndim, const int64_t *shape, int64_t offset, int64_t dim1, int64_t dim2) {
    soma_attr attrs[] = {{.name = "shape"}, SOMA_INT("offset", offset), SOMA_INT("dim1", dim1), SOMA_INT("dim2", dim2)};
    return soma__ints_attr(&attrs[0], "diagonal_backward", "shape", ndim, shape) ? SOMA__RUN(&back_op, attrs, g) : NULL;
}

/* ---- Matrices from diagonals, diagonals from matrices ---- */

static bool diag_embed_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    int64_t offset = soma__attr_int(a, 0), shape[SOMA_MAX_DIMS];
    int d1, d2, ndim = x->ndim + 1;
    char text[SOMA__SHAPE_TEXT];
    if (x->ndim == 0 || ndim > SOMA_MAX_DIMS) {
        soma_fail(SOMA_ESHAPE, "diag_embed: x is %s, expected 1 to %d dimensions", soma__tensor_text(x, text), SOMA_MAX_DIMS - 1);
        return false;
    }
    if (!plane("diag_embed", soma__attr_int(a, 1), soma__attr_int(a, 2), ndim, &d1, &d2))
        return false;
    if (offset > INT32_MAX || offset < -INT32_MAX) {
        soma_fail(SOMA_EINVAL, "diag_embed: offset %lld is too large", (long long)offset);
        return false;
    }
    for (int d = 0, from = 0; d < ndim; d++)
        shape[d] = d == d1 || d == d2 ? x->shape[x->ndim - 1] + (offset < 0 ? -offset : offset) : x->shape[from++];
    return soma__return(a, diagonal_backward(x, ndim, shape, offset, d1, d2));
}
SOMA__LINES(diag_embed, "[3]", "s[2,3]", "[2] offset=1", "[2,2] offset=-2 dim1=0 dim2=2", "[0]", "[2,1,2] dim1=1 dim2=0",
            "[] !ESHAPE expected 1 to 7 dimensions", "[2] dim1=0 dim2=0 !ESHAPE are both 0", "[2] dim1=2 !ESHAPE dim 2 is out of range")
static const soma_op diag_embed_op = {
    SOMA__COMPOSITE(diag_embed), ONE, .outputs = 1, .backward = SOMA_COMPOSED, .doc = "Square matrices of zeros with x's last dimension on their diagonal.",
    .attrs = SOMA_ATTRS(OFFSET, SOMA_DEF_INT("dim1", -2, "rows in the result"), SOMA_DEF_INT("dim2", -1, "columns in the result")),
};
soma_tensor *soma_diag_embed(soma_tensor *x, int64_t offset, int64_t dim1, int64_t dim2) {
    soma_attr attrs[] = {SOMA_INT("offset", offset), SOMA_INT("dim1", dim1), SOMA_INT("dim2", dim2)};
    return SOMA__RUN(&diag_embed_op, attrs, x);
}

static bool diag_compose(soma_args *a) {
    int64_t offset = soma__attr_int(a, 0);
    char text[SOMA__SHAPE_TEXT];
    if (a->in[0]->ndim == 1)
        return soma__return(a, soma_diag_embed(a->in[0], offset, 0, 1));
    if (a->in[0]->ndim == 2)
        return soma__return(a, soma_diagonal(a->in[0], offset, 0, 1));
    soma_fail(SOMA_ESHAPE, "diag: x is %s, expected a vector or a matrix", soma__tensor_text(a->in[0], text));
    return false;
}
SOMA__LINES(diag, "[3]", "s[3,4]", "[2] diagonal=1", "[3,3] diagonal=-1", "[0]", "[2,3] diagonal=2",
            "[2,2,2] !ESHAPE diag: x is [2, 2, 2] f32, expected a vector or a matrix")
static const soma_op diag_op = {
    SOMA__COMPOSITE(diag), ONE, .outputs = 1, .backward = SOMA_COMPOSED,
    .doc = "Of a vector the matrix with it on a diagonal; of a matrix a view of its diagonal.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("diagonal", 0, "0: the main one; above it positive, below it negative")),
};
soma_tensor *soma_diag(soma_tensor *x, int64_t diagonal) {
    soma_attr attr = SOMA_INT("diagonal", diagonal);
    return SOMA__RUN(&diag_op, &attr, x);
}

static bool diagflat_compose(soma_args *a) { return soma__return(a, soma_diag_embed(soma_flatten(a->in[0], 0, -1), soma__attr_int(a, 0), 0, 1)); }
SOMA__LINES(diagflat, "[3]", "s[2,2]", "[] offset=1", "[2,1,2] offset=-1", "[0]", "[1]", "!EINVAL takes 1 input, got 0")
static const soma_op diagflat_op = {
    SOMA__COMPOSITE(diagflat), ONE, .outputs = 1, .backward = SOMA_COMPOSED,
    .doc = "The matrix with all elements of x on a diagonal.",
    .attrs = SOMA_ATTRS(OFFSET),
};
soma_tensor *soma_diagflat(soma_tensor *x, int64_t offset) {
    soma_attr attr = SOMA_INT("offset", offset);
    return SOMA__RUN(&diagflat_op, &attr, x);
}

static bool trace_compose(soma_args *a) {
    char text[SOMA__SHAPE_TEXT];
    if (a->in[0]->ndim == 2)
        return soma__return(a, soma_sum(soma_diagonal(a->in[0], 0, 0, 1), SOMA_ALL, false));
    soma_fail(SOMA_ESHAPE, "trace: x is %s, expected a matrix", soma__tensor_text(a->in[0], text));
    return false;
}
SOMA__LINES(trace, "[3,3]", "s[3,4]", "[4,2]", "[1,1]", "[0,2]", "s[5,5]", "[3] !ESHAPE trace: x is [3] f32, expected a matrix",
            "[2,2,2] !ESHAPE expected a matrix")
static const soma_op trace_op = {SOMA__COMPOSITE(trace), ONE, .outputs = 1, .backward = SOMA_COMPOSED, .doc = "Sum of a matrix's diagonal; integers give i64."};
soma_tensor *soma_trace(soma_tensor *x) { return SOMA__RUN(&trace_op, NULL, x); }

/* Two rows: the row and column numbers of the places on one side of a diagonal. */
static bool tri_indices(soma_args *a, bool lower) {
    int64_t rows = soma__attr_int(a, 0), cols = soma__attr_int(a, 1), offset = soma__attr_int(a, 2), n = 0;
    if (rows < 0 || cols < 0 || rows > INT32_MAX || cols > INT32_MAX) {
        soma_fail(SOMA_EINVAL, "%s: %lld rows and %lld columns, expected 0 to 2147483647", a->op->name, (long long)rows, (long long)cols);
        return false;
    }
    offset = SOMA_MAX(-rows, SOMA_MIN(cols, offset));
    soma_tensor *t = NULL;
    for (int pass = 0; pass < 2 && !soma__failed(); pass++) { /* counts, then writes */
        int64_t at = 0;
        for (int64_t r = 0; r < rows && (!t || t->data); r++) {
            int64_t from = lower ? 0 : SOMA_MAX(0, SOMA_MIN(cols, r + offset)), to = lower ? SOMA_MAX(0, SOMA_MIN(cols, r + offset + 1)) : cols;
            for (int64_t c = from; t && c < to; c++) {
                ((int64_t *)t->data)[at + c - from] = r;
                ((int64_t *)t->data)[n + at + c - from] = c;
            }
            at += to - from;
        }
        n = pass ? n : at;
        t = pass ? t : soma_empty(2, (const int64_t[]){2, n}, SOMA_I64);
    }
    return soma__return(a, t);
}
static bool tril_indices_compose(soma_args *a) { return tri_indices(a, true); }
static bool triu_indices_compose(soma_args *a) { return tri_indices(a, false); }
#define TRI .family = "create", .outputs = 1, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_NONE, .backward = SOMA_NONDIFF,                   \
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("row", "number of rows"), SOMA_NEED_INT("col", "number of columns"), OFFSET)
SOMA__LINES(tril_indices, "row=3 col=4", "row=4 col=3 offset=1", "row=3 col=3 offset=-2", "row=0 col=2", "row=2 col=5 offset=9",
            "row=3 col=1 offset=-5", "row=-1 col=2 !EINVAL -1 rows and 2 columns")
SOMA__LINES(triu_indices, "row=3 col=4", "row=4 col=3 offset=1", "row=3 col=3 offset=-2", "row=0 col=2", "row=2 col=5 offset=9",
            "row=3 col=1 offset=-5", "row=-1 col=2 !EINVAL -1 rows and 2 columns")
static const soma_op tril_indices_op = {
    SOMA__COMPOSITE(tril_indices), TRI,
    .doc = "Row and column numbers [2, n] (i64) of the lower triangle of a matrix, row by row.",
};
static const soma_op triu_indices_op = {
    SOMA__COMPOSITE(triu_indices), TRI,
    .doc = "Row and column numbers [2, n] (i64) of the upper triangle of a matrix, row by row.",
};
soma_tensor *soma_tril_indices(int64_t row, int64_t col, int64_t offset) {
    soma_attr attrs[] = {SOMA_INT("row", row), SOMA_INT("col", col), SOMA_INT("offset", offset)};
    return soma__run(&tril_indices_op, NULL, 0, attrs);
}
soma_tensor *soma_triu_indices(int64_t row, int64_t col, int64_t offset) {
    soma_attr attrs[] = {SOMA_INT("row", row), SOMA_INT("col", col), SOMA_INT("offset", offset)};
    return soma__run(&triu_indices_op, NULL, 0, attrs);
}

static bool block_diag_compose(soma_args *a) {
    soma_tensor **rows = soma__calloc((size_t)a->n_in, sizeof *rows);
    int64_t total = 0, at = 0;
    char text[SOMA__SHAPE_TEXT];
    for (int i = 0; rows && i < a->n_in; i++) {
        soma_tensor *x = a->in[i];
        if (x->ndim > 2)
            soma_fail(SOMA_ESHAPE, "block_diag: input %d is %s, expected two dimensions or fewer", i, soma__tensor_text(x, text));
        rows[i] = soma_atleast_2d(x);
        total += rows[i] ? rows[i]->shape[1] : 0;
    }
    for (int i = 0; rows && i < a->n_in && rows[i]; i++) {
        int64_t width = rows[i]->shape[1];
        rows[i] = soma_pad(rows[i], 2, (const int64_t[]){at, total - at - width}, 0);
        at += width;
    }
    soma_tensor *t = rows && !soma__failed() ? soma_cat(rows, a->n_in, 0) : NULL;
    soma__free(rows);
    return soma__return(a, t);
}
SOMA__LINES(block_diag, "[2,3] s[1,2]", "[3] [] [2,2]", "[]", "[0,2] [1,1]", "[2,2]", "[2,0] [1,2]",
            "[2] [2,2,2] !ESHAPE block_diag: input 1 is [2, 2, 2] f32, expected two dimensions or fewer")
static const soma_op block_diag_op = {
    SOMA__COMPOSITE(block_diag), .in = {{.name = "tensors"}}, .n_in = 1, .variadic = true, .outputs = 1, .family = "shape", .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED, .doc = "A matrix of zeros with the inputs as blocks along its diagonal; vectors count as rows.",
};
soma_tensor *soma_block_diag(soma_tensor *const *x, int n) { return soma__run(&block_diag_op, x, n, NULL); }

/* ---- Into a place of another tensor ---- */

/* `placed` where `mask` (its place, as bool) is true, x elsewhere. */
static bool put_into(soma_args *a, soma_tensor *mask, soma_tensor *placed) {
    return soma__return(a, mask && placed ? soma_where(mask, placed, a->in[0]) : NULL);
}

static bool src_is(const char *op, const soma_tensor *src, int ndim, const int64_t *shape) {
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (src->ndim == ndim && memcmp(src->shape, shape, sizeof *shape * (size_t)ndim) == 0)
        return true;
    soma_fail(SOMA_ESHAPE, "%s: src is %s, but the place it goes to is %s", op, soma__tensor_text(src, have), soma__shape_text(ndim, shape, want, sizeof want));
    return false;
}

static soma_tensor *true_like(const soma_tensor *t) { return t ? soma_ones(t->ndim, t->shape, SOMA_BOOL) : NULL; }

static bool diagonal_scatter_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *src = a->in[1];
    int64_t offset = soma__attr_int(a, 0);
    int d1, d2;
    soma_meta m;
    if (!plane("diagonal_scatter", soma__attr_int(a, 1), soma__attr_int(a, 2), x->ndim, &d1, &d2))
        return false;
    along(x->shape, x->stride, x->ndim, d1, d2, offset, &m);
    return src_is("diagonal_scatter", src, m.ndim, m.shape) && put_into(a, diagonal_backward(true_like(src), x->ndim, x->shape, offset, d1, d2),
                                                                        diagonal_backward(src, x->ndim, x->shape, offset, d1, d2));
}

static bool slice_into(soma_args *a, soma_tensor *src, int dim, int64_t start, int64_t step) {
    const soma_tensor *x = a->in[0];
    return put_into(a, soma__slice_backward(true_like(src), x->ndim, x->shape, dim, start, step),
                    soma__slice_backward(src, x->ndim, x->shape, dim, start, step));
}

static bool select_scatter_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *place = soma_select(x, soma__attr_int(a, 0), soma__attr_int(a, 1));
    if (!place || !src_is("select_scatter", a->in[1], place->ndim, place->shape))
        return false;
    int dim = soma__dim("select_scatter", soma__attr_int(a, 0), x->ndim);
    int64_t index = soma__attr_int(a, 1);
    return slice_into(a, soma_unsqueeze(a->in[1], dim), dim, index < 0 ? index + x->shape[dim] : index, 1);
}

static bool slice_scatter_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *place = soma_slice(x, soma__attr_int(a, 0), soma__attr_int(a, 1), soma__attr_int(a, 2), soma__attr_int(a, 3));
    if (!place || !src_is("slice_scatter", a->in[1], place->ndim, place->shape))
        return false;
    int dim = soma__dim("slice_scatter", soma__attr_int(a, 0), x->ndim);
    int64_t start = soma__attr_int(a, 1);
    start = SOMA_MAX(0, SOMA_MIN(x->shape[dim], start < 0 ? start + x->shape[dim] : start));
    return slice_into(a, a->in[1], dim, start, soma__attr_int(a, 3));
}

#define INTO .in = {{.name = "x"}, {.name = "src"}}, .n_in = 2, .outputs = 1, .family = "index", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, \
    .backward = SOMA_COMPOSED
SOMA__LINES(diagonal_scatter, "[3,4] [3]", "s[4,3] [2] offset=1", "[2,3,3] [2,2] offset=-1 dim1=1 dim2=2", "[2,2] [0] offset=4", "[1,1] [1]",
            "[2,3,2] [3,2] dim1=0 dim2=-1", "[3,3] [2] !ESHAPE diagonal_scatter: src is [2] f32, but the place it goes to is [3]",
            "[3] [3] !ESHAPE expected two or more")
static const soma_op diagonal_scatter_op = {SOMA__COMPOSITE(diagonal_scatter), INTO, .doc = "x with src on one of its diagonals.",
                                            .attrs = SOMA_ATTRS(OFFSET, SOMA_DEF_INT("dim1", 0, "rows"), SOMA_DEF_INT("dim2", 1, "columns"))};
SOMA__LINES(select_scatter, "[3,4] [4] dim=0 index=1", "s[3,4] [3] dim=1 index=-1", "[3] [] dim=0 index=2", "[2,3,2] [2,2] dim=1 index=0",
            "[0,2] [0] dim=1 index=1", "[1,2] [2] dim=0 index=0",
            "[3,4] [3] dim=0 index=1 !ESHAPE select_scatter: src is [3] f32, but the place it goes to is [4]",
            "[3] [] dim=0 index=3 !EINVAL index 3 is out of range")
static const soma_op select_scatter_op = {
    SOMA__COMPOSITE(select_scatter), INTO,
    .doc = "x with src in place of one index along a dimension.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dim", "dimension"), SOMA_NEED_INT("index", "place along it; negative counts from the end")),
};
SOMA__LINES(slice_scatter, "[5,2] [2,2] start=1 end=3", "s[3,4] [3,2] dim=1 start=-3 step=2", "[4] [4]", "[2,3,4] [2,1,4] dim=1 start=2",
            "[3] [0] start=3", "[6] [2] end=-1 step=3",
            "[5] [2] start=1 end=4 !ESHAPE slice_scatter: src is [2] f32, but the place it goes to is [3]", "[5] [5] step=0 !EINVAL step is 0")
static const soma_op slice_scatter_op = {
    SOMA__COMPOSITE(slice_scatter), INTO, .doc = "x with src at the indices start, start + step, … below end along a dimension.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", 0, "dimension"), SOMA_DEF_INT("start", 0, "first index; negative counts from the end"),
                        SOMA_DEF_INT("end", INT64_MAX, "index behind the last"), SOMA_DEF_INT("step", 1, "distance of indices")),
};
soma_tensor *soma_diagonal_scatter(soma_tensor *x, soma_tensor *src, int64_t offset, int64_t dim1, int64_t dim2) {
    soma_attr attrs[] = {SOMA_INT("offset", offset), SOMA_INT("dim1", dim1), SOMA_INT("dim2", dim2)};
    return SOMA__RUN(&diagonal_scatter_op, attrs, x, src);
}
soma_tensor *soma_select_scatter(soma_tensor *x, soma_tensor *src, int64_t dim, int64_t index) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_INT("index", index)};
    return SOMA__RUN(&select_scatter_op, attrs, x, src);
}
soma_tensor *soma_slice_scatter(soma_tensor *x, soma_tensor *src, int64_t dim, int64_t start, int64_t end, int64_t step) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_INT("start", start), SOMA_INT("end", end), SOMA_INT("step", step)};
    return SOMA__RUN(&slice_scatter_op, attrs, x, src);
}

soma_op_list soma__diagonal_ops = {&diagonal_op, &back_op, &diag_embed_op, &diag_op, &diagflat_op, &trace_op, &tril_indices_op, &triu_indices_op,
                                   &block_diag_op, &diagonal_scatter_op, &select_scatter_op, &slice_scatter_op, NULL};
