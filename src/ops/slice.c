/* Parts of a tensor along one dimension: slice and select are views; their gradient puts a tensor into zeros
 * (slice_backward). */
#include "ops/shape.h"

#include "kernels/cpu/copy.h"

#include <string.h>

/* ---- slice ------------------------------------------------------------------------------------------------------ */

/* Negative from the end, then into [0, size]. */
static int64_t clip(int64_t i, int64_t size) {
    if (i < 0)
        i += size;
    return i < 0 ? 0 : i > size ? size : i;
}

static bool slice_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int64_t step = soma__attr_int(a, 3);
    if (x->ndim == 0) {
        soma_fail(SOMA_ESHAPE, "slice: x has no dimensions, so there is nothing to slice");
        return false;
    }
    int dim = soma__dim("slice", soma__attr_int(a, 0), x->ndim);
    if (dim < 0)
        return false;
    if (step < 1) {
        soma_fail(SOMA_EINVAL, "slice: step is %lld, expected 1 or more (flip reverses a dimension)", (long long)step);
        return false;
    }
    int64_t size = x->shape[dim], start = clip(soma__attr_int(a, 1), size), end = clip(soma__attr_int(a, 2), size);
    *out = soma__meta_of(x);
    out->shape[dim] = end > start ? (end - start - 1) / step + 1 : 0;
    out->stride[dim] = out->shape[dim] > 1 ? x->stride[dim] * step : x->stride[dim];
    out->offset = start * x->stride[dim];
    return true;
}

/* slice_backward whose result lies in memory as x did: so the gradients of a projection's parts, seen through permutations, come together
 * in its own order. */
static soma_tensor *into_zeros(soma_tensor *g, const soma_meta *x, int64_t dim, int64_t start, int64_t step) {
    int64_t order[SOMA_MAX_DIMS], place[SOMA_MAX_DIMS], shape[SOMA_MAX_DIMS];
    bool moved = false;
    for (int d = 0; d < x->ndim; d++) {
        int at = d;
        for (; at > 0 && x->stride[order[at - 1]] < x->stride[d]; at--)
            order[at] = order[at - 1];
        order[at] = d;
        moved = moved || at < d;
    }
    if (!moved)
        return soma__slice_backward(g, x->ndim, x->shape, dim, start, step);
    for (int d = 0; d < x->ndim; d++) {
        place[order[d]] = d;
        shape[d] = x->shape[order[d]];
    }
    return soma_permute(soma__slice_backward(soma_permute(g, x->ndim, order), x->ndim, shape, place[dim], start, step), x->ndim, place);
}

static void slice_gradient(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0];
    int64_t dim = g->attrs[0].value.i;
    dim += dim < 0 ? x->ndim : 0;
    if (g->gout[0])
        g->gin[0] = into_zeros(g->gout[0], x, dim, clip(g->attrs[1].value.i, x->shape[dim]), g->attrs[3].value.i);
}

static const soma_attr_info slice_attrs[] = {
    SOMA_DEF_INT("dim", 0, "dimension"),
    SOMA_DEF_INT("start", 0, "first index; negative counts from the end"),
    SOMA_DEF_INT("end", INT64_MAX, "index behind the last; negative counts from the end, too large means to the end"),
    SOMA_DEF_INT("step", 1, "distance of indices, 1 or more"),
};

static bool slice_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {5, 3}, 3, {0, 1, 4}, 0, 0}, {2, {3, 7}, 4, {-1, -6, -1, 2}, 0, 0}, {1, {6}, 4, {0, 1, 100, 3}, 0, 0},
        {2, {3, 4}, 3, {1, 3, 2}, 0, 0}, {3, {2, 3, 4}, 2, {1, -2}, 0, 0},      {2, {0, 4}, 3, {0, 0, 2}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), slice_attrs, dtype, s);
}

static bool slice_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {0, {0}, 1, {0}, "slice: x has no dimensions", 0},
        {2, {3, 4}, 1, {2}, "slice: dim 2 is out of range", 0},
        {2, {3, 4}, 4, {0, 2, 0, -1}, "slice: step is -1, expected 1 or more", SOMA_EINVAL},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), slice_attrs, dtype, s);
}

static const soma_op slice_op = {
    .name = "slice",
    .family = "shape",
    .onnx = "Slice",
    .doc = "A view of the indices start, start + step, … below end along one dimension.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = slice_attrs,
    .n_attrs = (int)SOMA_LEN(slice_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = slice_shape,
    .view = slice_shape,
    .cpu = {soma__view_kernel},
    .backward = slice_gradient,
    .samples = slice_samples,
    .errors = slice_errors,
};
soma_tensor *soma_slice(soma_tensor *x, int64_t dim, int64_t start, int64_t end, int64_t step) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_INT("start", start), SOMA_INT("end", end), SOMA_INT("step", step)};
    return SOMA__RUN(&slice_op, attrs, x);
}

/* ---- select ----------------------------------------------------------------------------------------------------- */

static bool select_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int64_t index = soma__attr_int(a, 1);
    if (x->ndim == 0) {
        soma_fail(SOMA_ESHAPE, "select: x has no dimensions, so there is nothing to select from");
        return false;
    }
    int dim = soma__dim("select", soma__attr_int(a, 0), x->ndim);
    if (dim < 0)
        return false;
    int64_t size = x->shape[dim];
    if (index < -size || index >= size) {
        soma_fail(SOMA_EINVAL, "select: index %lld is out of range for dimension %d of size %lld", (long long)index, dim,
                  (long long)size);
        return false;
    }
    *out = soma__meta_of(x);
    out->offset = (index < 0 ? index + size : index) * x->stride[dim];
    out->ndim--;
    for (int d = dim; d < out->ndim; d++) {
        out->shape[d] = x->shape[d + 1];
        out->stride[d] = x->stride[d + 1];
    }
    return true;
}

static void select_gradient(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0];
    int64_t dim = g->attrs[0].value.i, index = g->attrs[1].value.i;
    dim += dim < 0 ? x->ndim : 0;
    index += index < 0 ? x->shape[dim] : 0;
    if (g->gout[0])
        g->gin[0] = into_zeros(soma_unsqueeze(g->gout[0], dim), x, dim, index, 1);
}

static const soma_attr_info select_attrs[] = {SOMA_NEED_INT("dim", "dimension that goes"),
                                              SOMA_NEED_INT("index", "place along it; negative counts from the end")};

static bool select_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {5, 3}, 2, {0, 1}, 0, 0},
        {3, {2, 3, 4}, 2, {-1, -2}, 0, 0},
        {1, {4}, 2, {0, 3}, 0, 0},
        {2, {0, 4}, 2, {1, 0}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), select_attrs, dtype, s);
}

static bool select_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 2, {1, 4}, "select: index 4 is out of range for dimension 1 of size 4", SOMA_EINVAL},
        {2, {3, 4}, 2, {0, -4}, "select: index -4 is out of range for dimension 0 of size 3", SOMA_EINVAL},
        {2, {3, 4}, 2, {2, 0}, "select: dim 2 is out of range", 0},
        {0, {0}, 2, {0, 0}, "select: x has no dimensions", 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), select_attrs, dtype, s);
}

static const soma_op select_op = {
    .name = "select",
    .family = "shape",
    .onnx = "Gather",
    .doc = "A view of one index along a dimension, without that dimension.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = select_attrs,
    .n_attrs = (int)SOMA_LEN(select_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = select_shape,
    .view = select_shape,
    .cpu = {soma__view_kernel},
    .backward = select_gradient,
    .samples = select_samples,
    .errors = select_errors,
};
soma_tensor *soma_select(soma_tensor *x, int64_t dim, int64_t index) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_INT("index", index)};
    return SOMA__RUN(&select_op, attrs, x);
}

/* ---- Their gradient --------------------------------------------------------------------------------------------- */

static bool slice_backward_shape(soma_args *a, soma_meta *out) {
    const soma_attr *shape = &a->attrs[0];
    const soma_tensor *g = a->in[0];
    int64_t dim = soma__attr_int(a, 1), start = soma__attr_int(a, 2), step = soma__attr_int(a, 3);
    char text[SOMA__SHAPE_TEXT], to[SOMA__SHAPE_TEXT];
    bool ok = shape->count == g->ndim && dim >= 0 && dim < g->ndim && start >= 0 && step >= 1 &&
              soma__numel(shape->count, shape->value.ints) >= 0;
    out->ndim = shape->count;
    for (int d = 0; ok && d < g->ndim; d++) {
        out->shape[d] = shape->value.ints[d];
        ok = d == dim ? g->shape[d] == 0 || (g->shape[d] - 1 <= (out->shape[d] - 1) / step &&
                                             start + (g->shape[d] - 1) * step < out->shape[d])
                      : g->shape[d] == out->shape[d];
    }
    if (!ok)
        soma_fail(SOMA_ESHAPE, "slice_backward: %s does not fit into %s at %lld, %lld, … along dimension %lld",
                  soma__shape_text(g->ndim, g->shape, text, sizeof text),
                  soma__shape_text(shape->count, shape->value.ints, to, sizeof to), (long long)start,
                  (long long)(start + step), (long long)dim);
    return ok;
}

static const char *slice_backward_kernel(soma_args *a) {
    const soma_tensor *g = a->in[0], *out = a->out[0];
    size_t size = soma_dtype_size((soma_dtype)out->dtype);
    int64_t dim = soma__attr_int(a, 1), stride[SOMA_MAX_DIMS];
    soma__fill_elements(size, out->data, out->numel, &(uint64_t){0});
    memcpy(stride, out->stride, sizeof stride);
    stride[dim] *= soma__attr_int(a, 3);
    soma__copy_elements(size, g->ndim, g->shape, (char *)out->data + soma__attr_int(a, 2) * out->stride[dim] * (int64_t)size,
                        stride, g->data, g->stride);
    return NULL;
}

static void slice_backward_gradient(soma_grad_args *g) {
    int64_t dim = g->attrs[1].value.i, start = g->attrs[2].value.i, step = g->attrs[3].value.i, n = g->in_meta[0].shape[dim];
    if (g->gout[0])
        g->gin[0] = soma_slice(g->gout[0], dim, start, n > 0 ? start + (n - 1) * step + 1 : start, step);
}

static const soma_attr_info slice_backward_attrs[] = {
    SOMA_NEED_INTS("shape", "sizes of the result"), SOMA_NEED_INT("dim", "dimension"), SOMA_NEED_INT("start", "first index"),
    SOMA_NEED_INT("step", "distance of indices")};

static bool slice_backward_case(soma_dtype dtype, soma_sample *s, int64_t start, int64_t step) {
    s->n_in = 1;
    s->n_attrs = 4;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(2, 3));
    s->attrs[0] = SOMA_INTS("shape", 2, 7);
    s->attrs[1] = SOMA_INT("dim", 1);
    s->attrs[2] = SOMA_INT("start", start);
    s->attrs[3] = SOMA_INT("step", step);
    return true;
}

static bool slice_backward_samples(int i, soma_dtype dtype, soma_sample *s) {
    return i < 2 && slice_backward_case(dtype, s, i ? 4 : 1, i ? 1 : 2);
}

static bool slice_backward_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = "slice_backward: [2, 3] does not fit into [2, 7] at 5, 6, … along dimension 1";
    s->status = SOMA_ESHAPE;
    return i == 0 && slice_backward_case(dtype, s, 5, 1);
}

static const soma_op slice_backward_op = {
    .name = "slice_backward",
    .family = "shape",
    .doc = "Zeros with g at start, start + step, … along one dimension: the gradient of slice.",
    .in = {{.name = "g"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = slice_backward_attrs,
    .n_attrs = (int)SOMA_LEN(slice_backward_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = slice_backward_shape,
    .cpu = {slice_backward_kernel},
    .backward = slice_backward_gradient,
    .internal = true,
    .samples = slice_backward_samples,
    .errors = slice_backward_errors,
};

soma_tensor *soma__slice_backward(soma_tensor *g, int ndim, const int64_t *shape, int64_t dim, int64_t start, int64_t step) {
    soma_attr attrs[] = {{.name = "shape"}, SOMA_INT("dim", dim), SOMA_INT("start", start), SOMA_INT("step", step)};
    if (!soma__ints_attr(&attrs[0], "slice_backward", "shape", ndim, shape))
        return NULL;
    return SOMA__RUN(&slice_backward_op, attrs, g);
}

soma_op_list soma__slice_ops = {&slice_op, &select_op, &slice_backward_op, NULL};
