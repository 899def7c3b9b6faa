/* Operators that look at the same elements in another shape: views wherever strides allow it, as in PyTorch. Only reshape,
 * flatten and contiguous may have to copy. Each gradient is the inverse view; slice and select put theirs into zeros
 * (slice_backward). */
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

bool soma__sample_case(int i, const soma__case *cases, int n, const soma_attr_info *attrs, soma_dtype dtype,
                       soma_sample *s) {
    if (i >= n)
        return false;
    const soma__case *c = &cases[i];
    *s = (soma_sample){.n_in = 1};
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i + 1, c->ndim, c->shape);
    if (i % 2 == 1 && c->ndim > 0 && !c->error)
        s->in[0] = soma__strided(s->in[0]);
    s->error = c->error;
    if (c->error)
        s->status = c->status ? c->status : SOMA_ESHAPE;
    if (c->n == 0 && attrs[0].def.kind != SOMA_ATTR_INTS)
        return true;
    s->attrs[0] = attrs[0].def;
    if (attrs[0].def.kind == SOMA_ATTR_INTS) {
        s->n_attrs = 1;
        return soma__ints_attr(&s->attrs[0], "sample", attrs[0].def.name, c->n, c->values);
    }
    s->n_attrs = c->n;
    for (int k = 0; k < c->n; k++) {
        s->attrs[k] = attrs[k].def;
        s->attrs[k].value.i = c->values[k];
    }
    return true;
}

/* The operator's only attribute is a list. */
static soma_tensor *run_ints(const soma_op *op, soma_tensor *x, int n, const int64_t *values) {
    soma_attr attr;
    if (!soma__ints_attr(&attr, op->name, op->attrs[0].def.name, n, values))
        return NULL;
    return SOMA__RUN(op, &attr, x);
}

/* All attributes are integers. */
static soma_tensor *run_int(const soma_op *op, soma_tensor *x, const int64_t *values) {
    soma_attr attrs[SOMA_MAX_ATTRS];
    for (int i = 0; i < op->n_attrs; i++) {
        attrs[i] = op->attrs[i].def;
        attrs[i].value.i = values[i];
    }
    return SOMA__RUN(op, attrs, x);
}

/* ---- reshape, flatten, contiguous: views when the strides allow it ---------------------------------------------- */

/* x's elements in row-major order: what is left when a view is not possible. The result's shape may be another. */
static const char *copy_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    int64_t stride[SOMA_MAX_DIMS];
    soma__row_major(x->ndim, x->shape, stride);
    soma__copy_elements(soma_dtype_size((soma_dtype)x->dtype), x->ndim, x->shape, a->out[0]->data, stride, x->data,
                        x->stride);
    return NULL;
}

const char *soma__view_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0], *out = a->out[0];
    soma_meta m = {.dtype = (soma_dtype)x->dtype};
    size_t size = soma_dtype_size(m.dtype);
    if (!a->op->view(a, &m))
        return "not a view";
    soma__copy_elements(size, m.ndim, m.shape, out->data, out->stride, (const char *)x->data + m.offset * (int64_t)size,
                        m.stride);
    return NULL;
}

bool soma__no_input_error(int i, soma_sample *s) {
    *s = (soma_sample){.error = "takes 1 input, got 0", .status = SOMA_EINVAL};
    return i == 0;
}

/* Strides with which x's elements appear in `out`'s shape without moving. x's dimensions are taken in groups, from the last
 * to the first, that lie together in memory; the sizes of each group must be made of whole new dimensions. */
static bool view_strides(const soma_tensor *x, soma_meta *out) {
    out->offset = 0;
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

/* The gradient of every operator that keeps the elements in their row-major order. */
static void reshape_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_reshape(g->gout[0], g->in_meta[0].ndim, g->in_meta[0].shape);
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
    soma_fail(SOMA_ESHAPE, "reshape: %s has %lld element%s, which do not fit shape %s%s",
              soma__shape_text(x->ndim, x->shape, from, sizeof from), (long long)x->numel, x->numel == 1 ? "" : "s",
              soma__shape_text(to->count, to->value.ints, text, sizeof text),
              open >= 0 && known == 0 ? " (-1 beside a size of 0 could be anything)" : "");
    return false;
}

static bool reshape_view(soma_args *a, soma_meta *out) { return reshape_shape(a, out) && view_strides(a->in[0], out); }

static const soma_attr_info reshape_attrs[] = {SOMA_NEED_INTS("shape", "sizes of the result; one may be -1")};

static bool reshape_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 3, {2, 3, 2}, 0, 0}, {2, {3, 4}, 1, {-1}, 0, 0},         {3, {2, 1, 6}, 2, {4, -1}, 0, 0},
        {3, {2, 3, 4}, 2, {6, 4}, 0, 0}, {0, {0}, 3, {1, 1, 1}, 0, 0},       {2, {0, 3}, 2, {3, 0}, 0, 0},
        {1, {1}, 0, {0}, 0, 0},          {4, {2, 1, 3, 2}, 2, {2, 6}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), reshape_attrs, dtype, s);
}

static bool reshape_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 2, {5, -1}, "[3, 4] has 12 elements, which do not fit shape [5, -1]", 0},
        {2, {3, 4}, 2, {3, 3}, "do not fit shape [3, 3]", 0},
        {2, {3, 4}, 3, {-1, -1, 2}, "one may be -1", 0},
        {2, {3, 4}, 2, {-2, 6}, "makes no sense", 0},
        {2, {0, 4}, 2, {-1, 0}, "could be anything", 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), reshape_attrs, dtype, s);
}

static const soma_op reshape_op = {
    .name = "reshape",
    .family = "shape",
    .onnx = "Reshape",
    .doc =
        "The same elements in row-major order in another shape; one size may be -1 and is then worked out. A view when the "
        "strides allow it, else a copy.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = reshape_attrs,
    .n_attrs = (int)SOMA_LEN(reshape_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = reshape_shape,
    .view = reshape_view,
    .cpu = {copy_kernel},
    .backward = reshape_backward,
    .samples = reshape_samples,
    .errors = reshape_errors,
};
soma_tensor *soma_reshape(soma_tensor *x, int ndim, const int64_t *shape) { return run_ints(&reshape_op, x, ndim, shape); }

static bool flatten_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int first = soma__dim("flatten", soma__attr_int(a, 0), x->ndim),
        last = soma__dim("flatten", soma__attr_int(a, 1), x->ndim);
    if (first < 0 || last < 0)
        return false;
    if (first > last) {
        soma_fail(SOMA_ESHAPE, "flatten: start_dim %d comes after end_dim %d", first, last);
        return false;
    }
    out->ndim = 0;
    for (int d = 0; d < x->ndim; d++)
        if (d > first && d <= last)
            out->shape[out->ndim - 1] *= x->shape[d];
        else
            out->shape[out->ndim++] = x->shape[d];
    if (x->ndim == 0)
        out->shape[out->ndim++] = 1;
    return true;
}

static bool flatten_view(soma_args *a, soma_meta *out) { return flatten_shape(a, out) && view_strides(a->in[0], out); }

static const soma_attr_info flatten_attrs[] = {SOMA_DEF_INT("start_dim", 0, "first dimension that is joined"),
                                               SOMA_DEF_INT("end_dim", -1, "last dimension that is joined")};

static bool flatten_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {3, {2, 3, 2}, 0, {0}, 0, 0},
        {4, {2, 3, 2, 2}, 2, {1, -1}, 0, 0},
        {0, {0}, 0, {0}, 0, 0},
        {3, {2, 0, 3}, 1, {1}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), flatten_attrs, dtype, s);
}

static bool flatten_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{3, {2, 3, 2}, 2, {2, 1}, "start_dim 2 comes after end_dim 1", 0},
                                   {3, {2, 3, 2}, 2, {0, 3}, "dim 3 is out of range", 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), flatten_attrs, dtype, s);
}

static const soma_op flatten_op = {
    .name = "flatten",
    .family = "shape",
    .onnx = "Reshape",
    .doc = "Joins the dimensions from start_dim to end_dim into one. A view when the strides allow it, else a copy.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = flatten_attrs,
    .n_attrs = (int)SOMA_LEN(flatten_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = flatten_shape,
    .view = flatten_view,
    .cpu = {copy_kernel},
    .backward = reshape_backward,
    .samples = flatten_samples,
    .errors = flatten_errors,
};
soma_tensor *soma_flatten(soma_tensor *x, int64_t start_dim, int64_t end_dim) {
    return run_int(&flatten_op, x, (const int64_t[]){start_dim, end_dim});
}

static bool contiguous_view(soma_args *a, soma_meta *out) {
    *out = soma__meta_of(a->in[0]);
    out->offset = 0;
    return soma__contiguous(a->in[0]);
}

static bool contiguous_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{2, {3, 4}, 0, {0}, 0, 0}, {3, {2, 3, 4}, 0, {0}, 0, 0}, {0, {0}, 0, {0}, 0, 0}};
    static const soma_attr_info none[1];
    return soma__sample_case(i, c, (int)SOMA_LEN(c), none, dtype, s);
}

static bool contiguous_errors(int i, soma_dtype dtype, soma_sample *s) {
    (void)dtype;
    return soma__no_input_error(i, s);
}

static const soma_op contiguous_op = {
    .name = "contiguous",
    .family = "shape",
    .onnx = "Identity",
    .doc = "x with its elements row-major and without gaps in memory: x's own storage when it is so already, else a copy.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = soma__shape_same,
    .view = contiguous_view,
    .cpu = {copy_kernel},
    .backward = reshape_backward,
    .samples = contiguous_samples,
    .errors = contiguous_errors,
};
soma_tensor *soma_contiguous(soma_tensor *x) { return x && soma__settle(x) && soma__contiguous(x) ? x : SOMA__RUN(&contiguous_op, NULL, x); }

/* ---- permute, transpose ----------------------------------------------------------------------------------------- */

static bool permute_shape(soma_args *a, soma_meta *out) {
    const soma_attr *dims = &a->attrs[0];
    const soma_tensor *x = a->in[0];
    uint32_t seen;
    char text[SOMA__SHAPE_TEXT];
    if (dims->count != x->ndim) {
        soma_fail(SOMA_ESHAPE, "permute: dims %s has %d entries, expected one for each of the %d dimensions",
                  soma__shape_text(dims->count, dims->value.ints, text, sizeof text), dims->count, x->ndim);
        return false;
    }
    if (!soma__dim_mask("permute", dims->count, dims->value.ints, x->ndim, &seen))
        return false;
    out->ndim = x->ndim;
    out->offset = 0;
    for (int d = 0; d < x->ndim; d++) {
        int from = soma__dim("permute", dims->value.ints[d], x->ndim);
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

static const soma_attr_info permute_attrs[] = {SOMA_NEED_INTS("dims", "all dimensions in their new order")};

static bool permute_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {3, {2, 3, 4}, 3, {2, 0, 1}, 0, 0}, {2, {3, 2}, 2, {-1, 0}, 0, 0}, {4, {2, 3, 1, 2}, 4, {0, 2, 3, 1}, 0, 0},
        {2, {0, 2}, 2, {1, 0}, 0, 0},       {0, {0}, 0, {0}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), permute_attrs, dtype, s);
}

static bool permute_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 1, {0}, "one for each of the 2 dimensions", 0},
        {2, {3, 4}, 2, {0, 0}, "permute: dim 0 is named twice", 0},
        {2, {3, 4}, 2, {0, 2}, "permute: dim 2 is out of range", 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), permute_attrs, dtype, s);
}

static const soma_op permute_op = {
    .name = "permute",
    .family = "shape",
    .onnx = "Transpose",
    .doc = "A view with the dimensions in another order: dimension d of the result is dimension dims[d] of x.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = permute_attrs,
    .n_attrs = (int)SOMA_LEN(permute_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = permute_shape,
    .view = permute_shape,
    .cpu = {soma__view_kernel},
    .backward = permute_backward,
    .samples = permute_samples,
    .errors = permute_errors,
};
soma_tensor *soma_permute(soma_tensor *x, int n_dims, const int64_t *dims) { return run_ints(&permute_op, x, n_dims, dims); }

static bool transpose_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int d0 = soma__dim("transpose", soma__attr_int(a, 0), x->ndim),
        d1 = soma__dim("transpose", soma__attr_int(a, 1), x->ndim);
    if (d0 < 0 || d1 < 0)
        return false;
    *out = soma__meta_of(x);
    out->offset = 0;
    if (x->ndim == 0)
        return true;
    out->shape[d0] = x->shape[d1];
    out->stride[d0] = x->stride[d1];
    out->shape[d1] = x->shape[d0];
    out->stride[d1] = x->stride[d0];
    return true;
}

static void transpose_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_transpose(g->gout[0], g->attrs[0].value.i, g->attrs[1].value.i);
}

static const soma_attr_info transpose_attrs[] = {SOMA_NEED_INT("dim0", "one dimension"), SOMA_NEED_INT("dim1", "the other")};

static bool transpose_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 2, {0, 1}, 0, 0},
        {3, {2, 3, 4}, 2, {-1, 0}, 0, 0},
        {0, {0}, 2, {0, -1}, 0, 0},
        {3, {2, 0, 3}, 2, {1, 1}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), transpose_attrs, dtype, s);
}

static bool transpose_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{2, {3, 4}, 2, {0, 2}, "transpose: dim 2 is out of range", 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), transpose_attrs, dtype, s);
}

static const soma_op transpose_op = {
    .name = "transpose",
    .family = "shape",
    .onnx = "Transpose",
    .doc = "A view with two dimensions exchanged.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = transpose_attrs,
    .n_attrs = (int)SOMA_LEN(transpose_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = transpose_shape,
    .view = transpose_shape,
    .cpu = {soma__view_kernel},
    .backward = transpose_backward,
    .samples = transpose_samples,
    .errors = transpose_errors,
};
soma_tensor *soma_transpose(soma_tensor *x, int64_t dim0, int64_t dim1) {
    return run_int(&transpose_op, x, (const int64_t[]){dim0, dim1});
}

/* ---- expand, squeeze, unsqueeze --------------------------------------------------------------------------------- */

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
    soma_fail(SOMA_ESHAPE,
              "expand: %s does not expand to %s; only sizes of 1 grow, -1 keeps a size, new dimensions come first",
              soma__shape_text(x->ndim, x->shape, from, sizeof from),
              soma__shape_text(to->count, to->value.ints, text, sizeof text));
    return false;
}

static void expand_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma__sum_to(g->gout[0], &g->in_meta[0]);
}

static const soma_attr_info expand_attrs[] = {
    SOMA_NEED_INTS("shape", "sizes of the result; -1 keeps the size that is there")};

static bool expand_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 1}, 2, {3, 4}, 0, 0}, {2, {1, 3}, 3, {2, 4, -1}, 0, 0},   {0, {0}, 2, {2, 3}, 0, 0},
        {1, {1}, 1, {0}, 0, 0},       {3, {1, 2, 1}, 3, {3, 2, 2}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), expand_attrs, dtype, s);
}

static bool expand_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 2, {3, 5}, "expand: [3, 4] does not expand to [3, 5]", 0},
        {2, {3, 4}, 1, {3}, "does not expand to [3]", 0},
        {2, {3, 4}, 3, {-1, 3, 4}, "does not expand to [-1, 3, 4]", 0},
        {2, {3, 4}, 2, {-2, 4}, "does not expand", 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), expand_attrs, dtype, s);
}

static const soma_op expand_op = {
    .name = "expand",
    .family = "shape",
    .onnx = "Expand",
    .doc = "A view in which dimensions of size 1 repeat (stride 0) and new dimensions may come first; -1 keeps a size.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = expand_attrs,
    .n_attrs = (int)SOMA_LEN(expand_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = expand_shape,
    .view = expand_shape,
    .cpu = {soma__view_kernel},
    .backward = expand_backward,
    .samples = expand_samples,
    .errors = expand_errors,
};
soma_tensor *soma_expand(soma_tensor *x, int ndim, const int64_t *shape) { return run_ints(&expand_op, x, ndim, shape); }

static bool squeeze_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    uint32_t mask;
    if (!soma__dim_mask("squeeze", a->attrs[0].count, a->attrs[0].value.ints, x->ndim, &mask))
        return false;
    out->ndim = 0;
    out->offset = 0;
    for (int d = 0; d < x->ndim; d++)
        if (x->shape[d] != 1 || !(mask >> d & 1)) {
            out->shape[out->ndim] = x->shape[d];
            out->stride[out->ndim++] = x->stride[d];
        }
    return true;
}

static const soma_attr_info squeeze_attrs[] = {
    SOMA_DEF_INTS("dims", "dimensions that go if their size is 1; none given: all", 0, 0)};

static bool squeeze_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {3, {1, 3, 1}, 0, {0}, 0, 0},
        {4, {2, 1, 3, 1}, 2, {-1, 0}, 0, 0},
        {0, {0}, 0, {0}, 0, 0},
        {2, {1, 0}, 1, {0}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), squeeze_attrs, dtype, s);
}

static bool squeeze_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{2, {3, 1}, 1, {2}, "squeeze: dim 2 is out of range", 0},
                                   {2, {3, 1}, 2, {1, -1}, "squeeze: dim 1 is named twice", 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), squeeze_attrs, dtype, s);
}

static const soma_op squeeze_op = {
    .name = "squeeze",
    .family = "shape",
    .onnx = "Squeeze",
    .doc = "A view without the named dimensions of size 1, or without all of them; named ones of other sizes stay.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = squeeze_attrs,
    .n_attrs = (int)SOMA_LEN(squeeze_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = squeeze_shape,
    .view = squeeze_shape,
    .cpu = {soma__view_kernel},
    .backward = reshape_backward,
    .samples = squeeze_samples,
    .errors = squeeze_errors,
};
soma_tensor *soma_squeeze(soma_tensor *x, int n_dims, const int64_t *dims) { return run_ints(&squeeze_op, x, n_dims, dims); }

static bool unsqueeze_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (x->ndim == SOMA_MAX_DIMS) {
        soma_fail(SOMA_ESHAPE, "unsqueeze: x has %d dimensions already, and there can be no more", x->ndim);
        return false;
    }
    int at = soma__dim("unsqueeze", soma__attr_int(a, 0), x->ndim + 1);
    if (at < 0)
        return false;
    out->ndim = x->ndim + 1;
    out->offset = 0;
    for (int d = 0; d < out->ndim; d++) {
        int from = d < at ? d : d - 1;
        out->shape[d] = d == at ? 1 : x->shape[from];
        out->stride[d] = d != at ? x->stride[from] : at < x->ndim ? x->shape[at] * x->stride[at] : 1;
    }
    return true;
}

static const soma_attr_info unsqueeze_attrs[] = {SOMA_NEED_INT("dim", "where the new dimension stands in the result")};

static bool unsqueeze_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 1, {1}, 0, 0},
        {2, {3, 4}, 1, {-1}, 0, 0},
        {0, {0}, 1, {0}, 0, 0},
        {2, {0, 2}, 1, {0}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), unsqueeze_attrs, dtype, s);
}

static bool unsqueeze_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{2, {3, 4}, 1, {3}, "unsqueeze: dim 3 is out of range", 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), unsqueeze_attrs, dtype, s);
}

static const soma_op unsqueeze_op = {
    .name = "unsqueeze",
    .family = "shape",
    .onnx = "Unsqueeze",
    .doc = "A view with a dimension of size 1 more.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = unsqueeze_attrs,
    .n_attrs = (int)SOMA_LEN(unsqueeze_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = unsqueeze_shape,
    .view = unsqueeze_shape,
    .cpu = {soma__view_kernel},
    .backward = reshape_backward,
    .samples = unsqueeze_samples,
    .errors = unsqueeze_errors,
};
soma_tensor *soma_unsqueeze(soma_tensor *x, int64_t dim) { return run_int(&unsqueeze_op, x, &dim); }

soma_op_list soma__shape_ops = {&reshape_op, &flatten_op, &contiguous_op, &permute_op, &transpose_op,
                                &expand_op,  &squeeze_op, &unsqueeze_op,  NULL};
