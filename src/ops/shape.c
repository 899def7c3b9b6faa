/* Operators that look at the same elements in another shape: views wherever strides allow it, as in PyTorch. Only reshape, flatten
 * and contiguous may have to copy. Each gradient is the inverse view; slice and select put theirs into zeros (slice_backward). */
#include "ops/shape.h"

#include "kernels/cpu/copy.h"

#include <string.h>

bool soma__ints_attr(soma_attr *attr, const char *op, const char *name, int n, const int64_t *values) {
    *attr = (soma_attr){.name = name, .kind = SOMA_ATTR_INTS, .count = n};
    if (n < 0 || n > SOMA_MAX_DIMS || (n > 0 && !values)) {
        soma_fail(SOMA_EINVAL, "%s: %s has %d entries, expected 0 to %d", op, name, n, SOMA_MAX_DIMS);
        return false;
    }
    if (n > 0)
        memcpy(attr->value.ints, values, (size_t)n * sizeof *values);
    return true;
}

/* The operator's only attribute is a list. */
static soma_tensor *run_ints(const soma_op *op, soma_tensor *x, int n, const int64_t *values) {
    soma_attr attr;
    if (!x || !soma__ints_attr(&attr, op->name, op->attrs[0].def.name, n, values))
        return NULL;
    return SOMA__RUN(op, &attr, x);
}

/* ---- reshape, flatten, contiguous: views when the strides allow it ----------------------------------------------------------- */

/* A row-major copy: what is left when a view is not possible. */
static const char *copy_kernel(soma_args *a) {
    soma__copy_tensor(a->out[0], a->in[0]);
    return NULL;
}

/* Strides with which x's elements appear in `out`'s shape without moving. x's dimensions are taken in groups, from the last to
 * the first, that lie together in memory; the sizes of each group must be made of whole new dimensions. */
static bool view_strides(const soma_tensor *x, soma_meta *out) {
    if (x->numel == 0) {
        soma__row_major(out->ndim, out->shape, out->stride);
        return true;
    }
    int d = out->ndim - 1;
    for (int from = x->ndim - 1; from >= 0;) {
        int64_t step = x->stride[from], group = x->shape[from--];
        if (group == 1)
            continue;
        for (; from >= 0 && (x->shape[from] == 1 || x->stride[from] == group * step); from--)
            group *= x->shape[from];
        int64_t filled = 1;
        for (; d >= 0 && (filled < group || out->shape[d] == 1); d--) {
            out->stride[d] = filled * step;
            filled *= out->shape[d];
        }
        if (filled != group)
            return false;
    }
    for (; d >= 0; d--) /* only sizes of 1 are left */
        out->stride[d] = d + 1 < out->ndim ? out->shape[d + 1] * out->stride[d + 1] : 1;
    return true;
}

static bool reshape_shape(soma_args *a, soma_meta *out) {
    const soma_attr *to = &a->attrs[0];
    const soma_tensor *x = a->in[0];
    char from[SOMA__SHAPE_TEXT], text[SOMA__SHAPE_TEXT];
    int64_t known = 1;
    int open = -1;
    out->ndim = to->count;
    for (int d = 0; d < to->count; d++) {
        out->shape[d] = to->value.ints[d];
        if (out->shape[d] == -1 && open < 0)
            open = d;
        else if (out->shape[d] < 0 || !soma__mul_ok(known, out->shape[d], &known)) {
            soma_fail(SOMA_ESHAPE, "reshape: shape %s makes no sense; sizes are 0 or more, and one may be -1",
                      soma__shape_text(to->count, to->value.ints, text, sizeof text));
            return false;
        }
    }
    if (open >= 0 && known > 0 && x->numel % known == 0) {
        out->shape[open] = x->numel / known;
        return true;
    }
    if (open < 0 && known == x->numel)
        return true;
    soma_fail(SOMA_ESHAPE, "reshape: %s has %lld elements, which do not fit shape %s%s",
              soma__shape_text(x->ndim, x->shape, from, sizeof from), (long long)x->numel,
              soma__shape_text(to->count, to->value.ints, text, sizeof text),
              open >= 0 && known == 0 ? " (-1 beside a size of 0 could be anything)" : "");
    return false;
}

static bool reshape_view(soma_args *a, soma_meta *out) {
    out->offset = 0;
    return reshape_shape(a, out) && view_strides(a->in[0], out);
}

/* The gradient of every operator that keeps the elements in their row-major order. */
static void reshape_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_reshape(g->gout[0], g->in_meta[0].ndim, g->in_meta[0].shape);
}

static bool reshape_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; int to_ndim; int64_t to[4]; bool strided; } c[] = {
        {2, {3, 4}, 3, {2, 3, 2}, false}, {2, {3, 4}, 1, {-1}, true},        {3, {2, 1, 6}, 2, {4, -1}, false},
        {1, {1}, 0, {0}, false},          {0, {0}, 3, {1, 1, 1}, false},     {2, {0, 3}, 2, {3, 0}, false},
        {3, {2, 3, 4}, 2, {6, 4}, true},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i, c[i].ndim, c[i].shape);
    if (c[i].strided)
        s->in[0] = soma__strided(s->in[0]);
    return soma__ints_attr(&s->attrs[0], "reshape", "shape", c[i].to_ndim, c[i].to);
}

static bool reshape_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int n; int64_t to[3]; const char *text; } c[] = {
        {2, {5, -1}, "do not fit shape [5, -1]"}, {2, {3, 3}, "do not fit shape [3, 3]"},
        {3, {-1, -1, 2}, "one may be -1"},        {2, {-2, 6}, "makes no sense"},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(3, 4));
    s->error = c[i].text;
    s->status = SOMA_ESHAPE;
    return soma__ints_attr(&s->attrs[0], "reshape", "shape", c[i].n, c[i].to);
}

static const soma_op reshape_op = {
    .name = "reshape", .family = "shape", .onnx = "Reshape",
    .doc = "The same elements in row-major order in another shape; one size may be -1 and is then worked out. A view when the "
           "strides allow it, else a copy.",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("shape", "sizes of the result; one may be -1")),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = reshape_shape, .view = reshape_view, .cpu = {copy_kernel},
    .backward = reshape_backward, .samples = reshape_samples, .errors = reshape_errors,
};
soma_tensor *soma_reshape(soma_tensor *x, int ndim, const int64_t *shape) { return run_ints(&reshape_op, x, ndim, shape); }

/* ---- permute ------------------------------------------------------------------------------------------------------------------ */

static bool permute_shape(soma_args *a, soma_meta *out) {
    const soma_attr *dims = &a->attrs[0];
    const soma_tensor *x = a->in[0];
    uint32_t seen = 0;
    char text[SOMA__SHAPE_TEXT];
    if (dims->count != x->ndim) {
        soma_fail(SOMA_EINVAL, "permute: dims %s has %d entries, expected one for each of the %d dimensions",
                  soma__shape_text(dims->count, dims->value.ints, text, sizeof text), dims->count, x->ndim);
        return false;
    }
    out->ndim = x->ndim;
    out->offset = 0;
    for (int d = 0; d < x->ndim; d++) {
        int from = soma__dim("permute", dims->value.ints[d], x->ndim);
        if (from < 0)
            return false;
        if (seen >> from & 1) {
            soma_fail(SOMA_EINVAL, "permute: dims %s names dimension %d twice",
                      soma__shape_text(dims->count, dims->value.ints, text, sizeof text), from);
            return false;
        }
        seen |= 1u << from;
        out->shape[d] = x->shape[from];
        out->stride[d] = x->stride[from];
    }
    return true;
}

static void permute_backward(soma_grad_args *g) {
    int n = g->in_meta[0].ndim;
    int64_t back[SOMA_MAX_DIMS] = {0};
    for (int d = 0; d < n; d++) {
        int64_t from = g->attrs[0].value.ints[d];
        back[from < 0 ? from + n : from] = d;
    }
    if (g->gout[0])
        g->gin[0] = soma_permute(g->gout[0], n, back);
}

static bool permute_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4], dims[4]; } c[] = {
        {3, {2, 3, 4}, {2, 0, 1}}, {2, {3, 2}, {-1, 0}}, {4, {2, 3, 1, 2}, {0, 2, 3, 1}}, {0, {0}, {0}}, {2, {0, 2}, {1, 0}},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i, c[i].ndim, c[i].shape);
    return soma__ints_attr(&s->attrs[0], "permute", "dims", c[i].ndim, c[i].dims);
}

static bool permute_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int n; int64_t dims[3]; const char *text; } c[] = {
        {1, {0}, "one for each of the 2 dimensions"}, {2, {0, 0}, "names dimension 0 twice"}, {2, {0, 2}, "permute"},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(3, 4));
    s->error = c[i].text;
    s->status = SOMA_EINVAL;
    return soma__ints_attr(&s->attrs[0], "permute", "dims", c[i].n, c[i].dims);
}

static const soma_op permute_op = {
    .name = "permute", .family = "shape", .onnx = "Transpose",
    .doc = "A view with the dimensions in another order: dimension d of the result is dimension dims[d] of x.",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("dims", "all dimensions in their new order")),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = permute_shape, .view = permute_shape,
    .backward = permute_backward, .samples = permute_samples, .errors = permute_errors,
};
soma_tensor *soma_permute(soma_tensor *x, int n_dims, const int64_t *dims) { return run_ints(&permute_op, x, n_dims, dims); }

/* ---- expand ------------------------------------------------------------------------------------------------------------------- */

static bool expand_shape(soma_args *a, soma_meta *out) {
    const soma_attr *to = &a->attrs[0];
    const soma_tensor *x = a->in[0];
    int lead = to->count - x->ndim;
    char from[SOMA__SHAPE_TEXT], text[SOMA__SHAPE_TEXT];
    out->ndim = to->count;
    out->offset = 0;
    bool ok = lead >= 0;
    for (int d = 0; ok && d < to->count; d++) {
        int64_t size = to->value.ints[d], have = d < lead ? 1 : x->shape[d - lead];
        ok = size >= 0 ? have == 1 || have == size : size == -1 && d >= lead;
        out->shape[d] = size == -1 ? have : size;
        out->stride[d] = d < lead || (have == 1 && out->shape[d] != 1) ? 0 : x->stride[d - lead];
    }
    if (ok && soma__numel(out->ndim, out->shape) >= 0)
        return true;
    soma_fail(SOMA_ESHAPE, "expand: %s does not expand to %s; only sizes of 1 grow, -1 keeps a size, new dimensions come first",
              soma__shape_text(x->ndim, x->shape, from, sizeof from),
              soma__shape_text(to->count, to->value.ints, text, sizeof text));
    return false;
}

static void expand_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma__sum_to(g->gout[0], &g->in_meta[0]);
}

static bool expand_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; int to_ndim; int64_t to[4]; } c[] = {
        {2, {3, 1}, 2, {3, 4}}, {2, {1, 3}, 3, {2, 4, -1}}, {0, {0}, 2, {2, 3}}, {1, {1}, 1, {0}}, {3, {1, 2, 1}, 3, {3, 2, 2}},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i, c[i].ndim, c[i].shape);
    return soma__ints_attr(&s->attrs[0], "expand", "shape", c[i].to_ndim, c[i].to);
}

static bool expand_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int n; int64_t to[3]; } c[] = {{2, {3, 5}}, {1, {3}}, {3, {-1, 3, 4}}, {2, {-2, 4}}};
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(3, 4));
    s->error = "expand: [3, 4] does not expand to";
    s->status = SOMA_ESHAPE;
    return soma__ints_attr(&s->attrs[0], "expand", "shape", c[i].n, c[i].to);
}

static const soma_op expand_op = {
    .name = "expand", .family = "shape", .onnx = "Expand",
    .doc = "A view in which dimensions of size 1 repeat (stride 0) and new dimensions may come first; -1 keeps a size.",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("shape", "sizes of the result; -1 keeps the size that is there")),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = expand_shape, .view = expand_shape,
    .backward = expand_backward, .samples = expand_samples, .errors = expand_errors,
};
soma_tensor *soma_expand(soma_tensor *x, int ndim, const int64_t *shape) { return run_ints(&expand_op, x, ndim, shape); }

soma_op_list soma__shape_ops = {&reshape_op, &permute_op, &expand_op, NULL};
