/* Operators that write their elements into a new place: clone, cat, stack, flip, pad, tril, triu. All are strided copies. */
#include "ops/shape.h"

#include "kernels/cpu/copy.h"

#include <string.h>

static size_t element(const soma_tensor *t) { return soma_dtype_size((soma_dtype)t->dtype); }

/* ---- clone ------------------------------------------------------------------------------------------------------ */

static const char *clone_kernel(soma_args *a) {
    soma__copy_tensor(a->out[0], a->in[0]);
    return NULL;
}

static void clone_backward(soma_grad_args *g) { g->gin[0] = g->gout[0]; }

static bool clone_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 0, {0}, 0, 0}, {3, {2, 3, 4}, 0, {0}, 0, 0}, {0, {0}, 0, {0}, 0, 0}, {1, {0}, 0, {0}, 0, 0}};
    static const soma_attr_info none[1];
    return soma__sample_case(i, c, (int)SOMA_LEN(c), none, dtype, s);
}

static bool clone_errors(int i, soma_dtype dtype, soma_sample *s) {
    (void)dtype;
    return soma__no_input_error(i, s);
}

static const soma_op clone_op = {
    .name = "clone",
    .family = "shape",
    .onnx = "Identity",
    .doc = "A copy of x, row-major.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = soma__shape_same,
    .cpu = {clone_kernel},
    .backward = clone_backward,
    .samples = clone_samples,
    .errors = clone_errors,
};
soma_tensor *soma_clone(soma_tensor *x) { return SOMA__RUN(&clone_op, NULL, x); }

/* ---- cat -------------------------------------------------------------------------------------------------------- */

/* [0] fits everything: PyTorch's old way to begin with nothing. */
static bool is_nothing(int ndim, const int64_t *shape) { return ndim == 1 && shape[0] == 0; }

static bool cat_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *first = a->in[0];
    for (int i = 1; i < a->n_in && is_nothing(first->ndim, first->shape); i++)
        first = a->in[i];
    char want[SOMA__SHAPE_TEXT], got[SOMA__SHAPE_TEXT];
    if (first->ndim == 0) {
        soma_fail(SOMA_ESHAPE, "cat: input 0 has no dimensions; stack joins tensors along a new one");
        return false;
    }
    int dim = soma__dim("cat", soma__attr_int(a, 0), first->ndim);
    if (dim < 0)
        return false;
    out->ndim = first->ndim;
    memcpy(out->shape, first->shape, sizeof out->shape);
    out->shape[dim] = 0;
    for (int i = 0; i < a->n_in; i++) {
        const soma_tensor *x = a->in[i];
        if (is_nothing(x->ndim, x->shape))
            continue;
        bool fits = x->ndim == first->ndim;
        for (int d = 0; fits && d < x->ndim; d++)
            fits = d == dim || x->shape[d] == first->shape[d];
        if (!fits || !soma__add_ok(out->shape[dim], x->shape[dim], &out->shape[dim])) {
            soma_fail(SOMA_ESHAPE,
                      "cat: input %d is %s, which does not fit input 0, %s; sizes may differ in dimension %d only", i,
                      soma__shape_text(x->ndim, x->shape, got, sizeof got),
                      soma__shape_text(first->ndim, first->shape, want, sizeof want), dim);
            return false;
        }
    }
    if (first->chosen && soma__channels_last(first))
        soma__lay_channels_last(out);
    return true;
}

static const char *cat_kernel(soma_args *a) {
    const soma_tensor *out = a->out[0];
    int64_t dim = soma__attr_int(a, 0);
    dim += dim < 0 ? out->ndim : 0;
    char *to = out->data;
    for (int i = 0; i < a->n_in; i++) {
        const soma_tensor *x = a->in[i];
        if (is_nothing(x->ndim, x->shape))
            continue;
        soma__copy_elements(element(x), x->ndim, x->shape, to, out->stride, x->data, x->stride);
        to += x->shape[dim] * out->stride[dim] * (int64_t)element(out);
    }
    return NULL;
}

static void cat_backward(soma_grad_args *g) {
    int64_t at = 0, dim = g->attrs[0].value.i;
    dim += dim < 0 ? g->out_meta[0].ndim : 0;
    for (int i = 0; g->gout[0] && i < g->n_in; i++) {
        if (is_nothing(g->in_meta[i].ndim, g->in_meta[i].shape))
            continue; /* no gradient is zero */
        int64_t n = g->in_meta[i].shape[dim];
        if (g->need[i])
            g->gin[i] = soma_slice(g->gout[0], dim, at, at + n, 1);
        at += n;
    }
}

static bool cat_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct {
        int64_t dim, a[3], b[3];
    } c[] = {
        {0, {2, 3, 2}, {1, 3, 2}},
        {-1, {2, 3, 2}, {2, 3, 4}},
        {1, {2, 0, 2}, {2, 3, 2}},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = 3;
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, 3, c[i].a);
    s->in[1] = soma__strided(soma__sample(dtype, -3, 3, 2, 3, c[i].b));
    s->in[2] = soma__sample(dtype, -3, 3, 3, 3, c[i].a);
    s->attrs[0] = SOMA_INT("dim", c[i].dim);
    return true;
}

static bool cat_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const struct {
        int64_t dim;
        int ndim;
        const char *error;
    } c[] = {
        {0, 2, "cat: input 1 is [3, 2], which does not fit input 0, [2, 3]; sizes may differ in dimension 0 only"},
        {2, 2, "cat: dim 2 is out of range"},
        {0, 0, "cat: input 0 has no dimensions"},
    };
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = 2;
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, c[i].ndim, (const int64_t[]){2, 3});
    s->in[1] = soma__sample(dtype, -3, 3, 1, c[i].ndim, (const int64_t[]){3, 2});
    s->attrs[0] = SOMA_INT("dim", c[i].dim);
    s->error = c[i].error;
    s->status = SOMA_ESHAPE;
    return true;
}

static const soma_op cat_op = {
    .name = "cat",
    .family = "shape",
    .onnx = "Concat",
    .doc = "Tensors one after the other along a dimension that they have.",
    .in = {{.name = "tensors"}},
    .n_in = 1,
    .variadic = true,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", 0, "dimension along which they are joined")),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = cat_shape,
    .cpu = {cat_kernel},
    .backward = cat_backward,
    .samples = cat_samples,
    .errors = cat_errors,
};

static soma_tensor *run_many(const soma_op *op, soma_tensor *const *x, int n, int64_t dim) {
    if (n < 1 || !x) {
        soma_fail(SOMA_EINVAL, "%s: %d tensors given, expected 1 or more", op->name, n);
        return NULL;
    }
    soma_attr attr = SOMA_INT("dim", dim);
    return soma__run(op, x, n, &attr);
}
soma_tensor *soma_cat(soma_tensor *const *x, int n, int64_t dim) { return run_many(&cat_op, x, n, dim); }

/* ---- stack ------------------------------------------------------------------------------------------------------ */

static bool stack_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *first = a->in[0];
    char want[SOMA__SHAPE_TEXT], got[SOMA__SHAPE_TEXT];
    if (first->ndim == SOMA_MAX_DIMS) {
        soma_fail(SOMA_ESHAPE, "stack: the inputs have %d dimensions already, and there can be no more", first->ndim);
        return false;
    }
    int dim = soma__dim("stack", soma__attr_int(a, 0), first->ndim + 1);
    if (dim < 0)
        return false;
    for (int i = 1; i < a->n_in; i++)
        if (!soma__same_shape(first, a->in[i])) {
            soma_fail(SOMA_ESHAPE, "stack: input %d is %s, expected the shape of input 0, %s", i,
                      soma__shape_text(a->in[i]->ndim, a->in[i]->shape, got, sizeof got),
                      soma__shape_text(first->ndim, first->shape, want, sizeof want));
            return false;
        }
    out->ndim = first->ndim + 1;
    for (int d = 0; d < out->ndim; d++)
        out->shape[d] = d == dim ? a->n_in : first->shape[d < dim ? d : d - 1];
    return true;
}

static const char *stack_kernel(soma_args *a) {
    const soma_tensor *out = a->out[0];
    int64_t dim = soma__attr_int(a, 0), stride[SOMA_MAX_DIMS];
    dim += dim < 0 ? out->ndim : 0;
    for (int d = 0; d < out->ndim - 1; d++)
        stride[d] = out->stride[d < dim ? d : d + 1];
    for (int i = 0; i < a->n_in; i++) {
        const soma_tensor *x = a->in[i];
        soma__copy_elements(element(x), x->ndim, x->shape, (char *)out->data + i * out->stride[dim] * (int64_t)element(out),
                            stride, x->data, x->stride);
    }
    return NULL;
}

static void stack_backward(soma_grad_args *g) {
    for (int i = 0; g->gout[0] && i < g->n_in; i++)
        if (g->need[i])
            g->gin[i] = soma_select(g->gout[0], g->attrs[0].value.i, i);
}

static bool stack_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct {
        int64_t dim;
        int ndim;
    } c[] = {{0, 2}, {-1, 2}, {1, 1}, {0, 0}};
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = 3;
    s->n_attrs = 1;
    for (int k = 0; k < 3; k++)
        s->in[k] = soma__sample(dtype, -3, 3, (uint64_t)k, c[i].ndim, (const int64_t[]){2, 3});
    if (c[i].ndim == 2)
        s->in[1] = soma__strided(s->in[1]);
    s->attrs[0] = SOMA_INT("dim", c[i].dim);
    return true;
}

static bool stack_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const struct {
        int64_t dim, other;
        const char *error;
    } c[] = {{0, 2, "stack: input 1 is [2], expected the shape of input 0, [3]"}, {2, 3, "stack: dim 2 is out of range"}};
    if (i >= (int)SOMA_LEN(c))
        return false;
    s->n_in = 2;
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(3));
    s->in[1] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(c[i].other));
    s->attrs[0] = SOMA_INT("dim", c[i].dim);
    s->error = c[i].error;
    s->status = SOMA_ESHAPE;
    return true;
}

static const soma_op stack_op = {
    .name = "stack",
    .family = "shape",
    .doc = "Tensors of one shape side by side along a new dimension.",
    .in = {{.name = "tensors"}},
    .n_in = 1,
    .variadic = true,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", 0, "where the new dimension stands in the result")),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = stack_shape,
    .cpu = {stack_kernel},
    .backward = stack_backward,
    .samples = stack_samples,
    .errors = stack_errors,
};
soma_tensor *soma_stack(soma_tensor *const *x, int n, int64_t dim) { return run_many(&stack_op, x, n, dim); }

/* ---- flip ------------------------------------------------------------------------------------------------------- */

/* No dims reverse nothing, so the mask that means "all" elsewhere is taken back. */
static bool flip_mask(const soma_attr *dims, int ndim, uint32_t *mask) {
    if (!soma__dim_mask("flip", dims->count, dims->value.ints, ndim, mask))
        return false;
    *mask = dims->count == 0 ? 0 : *mask;
    return true;
}

static bool flip_shape(soma_args *a, soma_meta *out) {
    uint32_t mask;
    return flip_mask(&a->attrs[0], a->in[0]->ndim, &mask) && soma__shape_same(a, out);
}

static const char *flip_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0], *out = a->out[0];
    int64_t stride[SOMA_MAX_DIMS], offset = 0;
    uint32_t mask = 0;
    flip_mask(&a->attrs[0], x->ndim, &mask);
    for (int d = 0; d < x->ndim; d++) {
        bool back = mask >> d & 1;
        stride[d] = back ? -x->stride[d] : x->stride[d];
        offset += back ? (x->shape[d] - 1) * x->stride[d] : 0;
    }
    if (x->numel > 0)
        soma__copy_elements(element(x), x->ndim, x->shape, out->data, out->stride,
                            (const char *)x->data + offset * (int64_t)element(x), stride);
    return NULL;
}

static void flip_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_flip(g->gout[0], g->attrs[0].count, g->attrs[0].value.ints);
}

static const soma_attr_info flip_attrs[] = {SOMA_NEED_INTS("dims", "dimensions to reverse")};

static bool flip_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 1, {1}, 0, 0}, {3, {2, 3, 4}, 2, {0, -1}, 0, 0}, {2, {3, 2}, 0, {0}, 0, 0}, {2, {3, 0}, 1, {0}, 0, 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), flip_attrs, dtype, s);
}

static bool flip_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{2, {3, 4}, 1, {2}, "flip: dim 2 is out of range", 0},
                                   {2, {3, 4}, 2, {1, -1}, "flip: dim 1 is named twice", 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), flip_attrs, dtype, s);
}

static const soma_op flip_op = {
    .name = "flip",
    .family = "shape",
    .doc = "The elements in reverse order along some dimensions; a copy, as in PyTorch.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = flip_attrs,
    .n_attrs = (int)SOMA_LEN(flip_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = flip_shape,
    .cpu = {flip_kernel},
    .backward = flip_backward,
    .samples = flip_samples,
    .errors = flip_errors,
};
soma_tensor *soma_flip(soma_tensor *x, int n_dims, const int64_t *dims) {
    soma_attr attr;
    return soma__ints_attr(&attr, "flip", "dims", n_dims, dims) ? SOMA__RUN(&flip_op, &attr, x) : NULL;
}

/* ---- pad -------------------------------------------------------------------------------------------------------- */

static bool pad_shape(soma_args *a, soma_meta *out) {
    const soma_attr *pad = &a->attrs[0];
    const soma_tensor *x = a->in[0];
    char text[SOMA__SHAPE_TEXT], shape[SOMA__SHAPE_TEXT];
    *out = soma__meta_of(x);
    bool ok = pad->count % 2 == 0 && pad->count / 2 <= x->ndim;
    for (int i = 0; ok && i < pad->count / 2; i++) {
        int64_t *size = &out->shape[x->ndim - 1 - i];
        int64_t before = pad->value.ints[2 * i], after = pad->value.ints[2 * i + 1];
        ok = before >= -*size && after >= -*size && !__builtin_add_overflow(*size, before, size) &&
             !__builtin_add_overflow(*size, after, size) && *size >= 0;
    }
    if (!ok)
        soma_fail(SOMA_ESHAPE,
                  "pad: %s does not fit %s; expected before and after for up to %d dimensions, the last one first, and "
                  "no more cut off than there is",
                  soma__shape_text(pad->count, pad->value.ints, text, sizeof text),
                  soma__shape_text(x->ndim, x->shape, shape, sizeof shape), SOMA_MIN(x->ndim, SOMA_MAX_DIMS / 2));
    return ok;
}

/* A negative pad cuts off. What stays of x goes to its place in a field of `value`. */
static const char *pad_kernel(soma_args *a) {
    const soma_attr *pad = &a->attrs[0];
    const soma_tensor *x = a->in[0], *out = a->out[0];
    int64_t shape[SOMA_MAX_DIMS], to = 0, from = 0, size = (int64_t)element(x);
    uint64_t value = 0;
    memcpy(shape, x->shape, sizeof shape);
    for (int i = 0; i < pad->count / 2; i++) {
        int d = x->ndim - 1 - i;
        int64_t before = pad->value.ints[2 * i], after = pad->value.ints[2 * i + 1];
        shape[d] += SOMA_MIN(before, 0) + SOMA_MIN(after, 0);
        to += SOMA_MAX(before, 0) * out->stride[d];
        from += SOMA_MAX(-before, 0) * x->stride[d];
    }
    soma__store(&value, (soma_dtype)out->dtype, soma__attr_float(a, 1));
    soma__fill_elements((size_t)size, out->data, out->numel, &value);
    soma__copy_elements((size_t)size, x->ndim, shape, (char *)out->data + to * size, out->stride,
                        (const char *)x->data + from * size, x->stride);
    return NULL;
}

static void pad_backward(soma_grad_args *g) {
    int64_t back[SOMA_MAX_DIMS];
    for (int i = 0; i < g->attrs[0].count; i++)
        back[i] = -g->attrs[0].value.ints[i];
    if (g->gout[0])
        g->gin[0] = soma_pad(g->gout[0], g->attrs[0].count, back, 0);
}

static const soma_attr_info pad_attrs[] = {
    SOMA_NEED_INTS("pad", "before and after, from the last dimension backwards; negative cuts off; at most 4 dimensions"),
    SOMA_DEF_FLOAT("value", 0, "what is put there")};

static bool pad_case(const soma__case *cases, int n, int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__sample_case(i, cases, n, pad_attrs, dtype, s))
        return false;
    s->attrs[1] = SOMA_FLOAT("value", i);
    s->n_attrs = 2;
    return true;
}

static bool pad_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{2, {3, 4}, 2, {1, 2}, 0, 0},
                                   {3, {2, 3, 4}, 4, {1, 0, 0, 2}, 0, 0},
                                   {2, {3, 4}, 4, {-1, 2, 1, -2}, 0, 0},
                                   {2, {0, 2}, 4, {0, 0, 1, 1}, 0, 0}};
    return pad_case(c, (int)SOMA_LEN(c), i, dtype, s);
}

static bool pad_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{2, {3, 4}, 1, {1}, "pad: [1] does not fit [3, 4]", 0},
                                   {1, {3}, 4, {1, 1, 1, 1}, "pad: [1, 1, 1, 1] does not fit [3]", 0},
                                   {1, {3}, 2, {-2, -2}, "no more cut off than there is", 0}};
    return pad_case(c, (int)SOMA_LEN(c), i, dtype, s);
}

static const soma_op pad_op = {
    .name = "constant_pad_nd",
    .family = "shape",
    .onnx = "Pad",
    .doc = "x with constant elements before and after it, from the last dimension backwards; negative amounts cut off. What pad does in its mode constant.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = pad_attrs,
    .n_attrs = (int)SOMA_LEN(pad_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = pad_shape,
    .cpu = {pad_kernel},
    .backward = pad_backward,
    .samples = pad_samples,
    .errors = pad_errors,
};
soma_tensor *soma_pad(soma_tensor *x, int n, const int64_t *pad, double value) {
    soma_attr attrs[] = {{.name = "pad"}, SOMA_FLOAT("value", value)};
    return soma__ints_attr(&attrs[0], "pad", "pad", n, pad) ? SOMA__RUN(&pad_op, attrs, x) : NULL;
}

/* ---- tril, triu ------------------------------------------------------------------------------------------------- */

static bool tri_shape(soma_args *a, soma_meta *out) {
    if (a->in[0]->ndim < 2) {
        soma_fail(SOMA_ESHAPE, "%s: x has %d dimension%s, expected 2 or more", a->op->name, a->in[0]->ndim,
                  a->in[0]->ndim == 1 ? "" : "s");
        return false;
    }
    return soma__shape_same(a, out);
}

/* Copies, then clears what lies beyond the diagonal of each row. */
static const char *tri_kernel(soma_args *a, bool lower) {
    const soma_tensor *out = a->out[0];
    int64_t rows = out->shape[out->ndim - 2], cols = out->shape[out->ndim - 1], size = (int64_t)element(out);
    /* a diagonal beyond the corners is one at the corner; so sums below stay small */
    int64_t diagonal = SOMA_MAX(-rows - 1, SOMA_MIN(cols + 1, soma__attr_int(a, 0)));
    soma__copy_tensor(out, a->in[0]);
    for (int64_t r = 0; cols > 0 && r < out->numel / cols; r++) {
        int64_t split = r % rows + diagonal + (lower ? 1 : 0);
        split = SOMA_MAX(0, SOMA_MIN(cols, split));
        char *row = (char *)out->data + r * cols * size;
        if (lower)
            memset(row + split * size, 0, (size_t)((cols - split) * size));
        else
            memset(row, 0, (size_t)(split * size));
    }
    return NULL;
}

static const char *tril_kernel(soma_args *a) { return tri_kernel(a, true); }
static const char *triu_kernel(soma_args *a) { return tri_kernel(a, false); }

static void tril_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_tril(g->gout[0], g->attrs[0].value.i);
}

static void triu_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_triu(g->gout[0], g->attrs[0].value.i);
}

static const soma_attr_info tri_attrs[] = {
    SOMA_DEF_INT("diagonal", 0, "0: the main one; above it positive, below it negative")};

static bool tri_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {2, {3, 4}, 0, {0}, 0, 0}, {2, {4, 3}, 1, {1}, 0, 0}, {3, {2, 3, 3}, 1, {-1}, 0, 0}, {2, {3, 0}, 1, {5}, 0, 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), tri_attrs, dtype, s);
}

static bool tri_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{1, {3}, 0, {0}, "x has 1 dimension, expected 2 or more", 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), tri_attrs, dtype, s);
}

static const soma_op tril_op = {
    .name = "tril",
    .family = "shape",
    .onnx = "Trilu",
    .doc = "The lower triangle of the last two dimensions; zero above the diagonal.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = tri_attrs,
    .n_attrs = (int)SOMA_LEN(tri_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = tri_shape,
    .cpu = {tril_kernel},
    .backward = tril_backward,
    .samples = tri_samples,
    .errors = tri_errors,
};
soma_tensor *soma_tril(soma_tensor *x, int64_t diagonal) {
    soma_attr attr = SOMA_INT("diagonal", diagonal);
    return SOMA__RUN(&tril_op, &attr, x);
}

static const soma_op triu_op = {
    .name = "triu",
    .family = "shape",
    .onnx = "Trilu",
    .doc = "The upper triangle of the last two dimensions; zero below the diagonal.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = tri_attrs,
    .n_attrs = (int)SOMA_LEN(tri_attrs),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .shape = tri_shape,
    .cpu = {triu_kernel},
    .backward = triu_backward,
    .samples = tri_samples,
    .errors = tri_errors,
};
soma_tensor *soma_triu(soma_tensor *x, int64_t diagonal) {
    soma_attr attr = SOMA_INT("diagonal", diagonal);
    return SOMA__RUN(&triu_op, &attr, x);
}

soma_op_list soma__join_ops = {&clone_op, &cat_op, &stack_op, &flip_op, &pad_op, &tril_op, &triu_op, NULL};
