/* Moving values: to another dtype, into an existing tensor, and one value everywhere. */
#include "ops/elementwise.h"

#include <string.h>

static void row(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    (void)first;
    (*(soma__row_fn *)arg)(p, stride, count, NULL);
}

void soma__run_plain(const soma__iter *it, soma__row_fn fn) { soma__iter_run(it, row, &fn); }

static void cast_into(soma_tensor *to, soma_tensor *from) {
    soma_tensor *operands[2] = {to, from};
    soma__iter it;
    soma__iter_init_any(&it, to->ndim, to->shape, operands, 2);
    soma__run_plain(&it, soma__casts.cast[to->dtype][from->dtype]);
}

/* ---- to ---- */

static bool to_shape(soma_args *a, soma_meta *out) {
    int64_t dtype = soma__attr_int(a, 0);
    if (dtype < 0 || dtype >= SOMA_DTYPE_COUNT) {
        soma_fail(SOMA_EDTYPE, "to: %lld is not a dtype", (long long)dtype);
        return false;
    }
    out->dtype = (soma_dtype)dtype;
    return soma__shape_same(a, out);
}

static const char *to_kernel(soma_args *a) {
    cast_into(a->out[0], a->in[0]);
    return NULL;
}

static void to_backward(soma_grad_args *g) {
    if (soma_dtype_is_float(g->in_meta[0].dtype))
        g->gin[0] = soma_to(g->gout[0], g->in_meta[0].dtype);
}

static bool to_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2 * SOMA_DTYPE_COUNT)
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i, 2, (const int64_t[]){3, 5});
    if (i >= SOMA_DTYPE_COUNT)
        s->in[0] = soma__strided(s->in[0]);
    s->attrs[0] = SOMA_DTYPE("dtype", i % SOMA_DTYPE_COUNT);
    s->no_gradcheck = i % SOMA_DTYPE_COUNT != SOMA_F64; /* others round */
    return true;
}

static bool to_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0)
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, 0, NULL);
    s->attrs[0] = SOMA_DTYPE("dtype", 77);
    s->status = SOMA_EDTYPE;
    s->error = "77 is not a dtype";
    return true;
}

const soma_op soma__to_op = {
    .name = "to", .family = "fill", .onnx = "Cast",
    .doc = "converts to another dtype: floats round to nearest even, to integers towards zero",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS({.def = {.name = "dtype", .kind = SOMA_ATTR_DTYPE}, .required = true, .help = "the new dtype"}),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_NONE, .shape = to_shape, .keeps_order = true, .cpu = {to_kernel}, .backward = to_backward, .samples = to_samples,
    .errors = to_errors,
};

soma_tensor *soma_to(soma_tensor *x, soma_dtype dtype) {
    if (x && (soma_dtype)x->dtype == dtype)
        return soma__failed() ? NULL : x;
    return SOMA__RUN(&soma__to_op, &SOMA_DTYPE("dtype", dtype), x);
}

/* ---- copy_ ---- */

static bool copy_shape(soma_args *a, soma_meta *out) {
    soma_meta joint = {0};
    if (!soma__broadcast("copy_", a->in, 2, &joint))
        return false;
    out->dtype = (soma_dtype)a->in[0]->dtype;
    out->ndim = joint.ndim;
    memcpy(out->shape, joint.shape, sizeof out->shape);
    return true;
}

static const char *copy_kernel(soma_args *a) {
    cast_into(a->in[0], a->in[1]);
    return NULL;
}

static void copy_backward(soma_grad_args *g) {
    if (g->need[0])
        g->gin[0] = soma_zeros(g->in_meta[0].ndim, g->in_meta[0].shape, g->in_meta[0].dtype);
    if (g->need[1])
        g->gin[1] = soma__sum_to(g->gout[0], &g->in_meta[1]);
}

static bool copy_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 1)
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = 2;
    s->no_gradcheck = true; /* writes into its input */
    s->in[0] = soma__sample(dtype, -3, 3, 1, 2, (const int64_t[]){3, 5});
    s->in[1] = soma__sample(dtype, -3, 3, 2, i ? 1 : 2, i ? (const int64_t[]){5} : (const int64_t[]){3, 5});
    return true;
}

static bool copy_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 1)
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, -3, 3, 1, 1, (const int64_t[]){5});
    s->in[1] = soma__sample(dtype, -3, 3, 2, 2, i ? (const int64_t[]){3, 4} : (const int64_t[]){3, 5});
    s->status = SOMA_ESHAPE;
    s->error = i ? "do not broadcast" : "does not fit [5]";
    return true;
}

static const soma_op copy_op = {
    .name = "copy_", .family = "fill", .doc = "writes b's values into a: broadcasts and converts", .in = {{.name = "a"}, {.name = "b"}},
    .n_in = 2, .outputs = 1, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_NONE, .shape = copy_shape, .cpu = {copy_kernel},
    .backward = copy_backward, .writes = 1u, .samples = copy_samples, .errors = copy_errors,
};

soma_tensor *soma_copy_(soma_tensor *to, soma_tensor *from) { return SOMA__RUN(&copy_op, NULL, to, from); }

/* ---- fill_ ---- */

static const char *fill_kernel(soma_args *a) {
    double v = soma__attr_float(a, 0);
    soma_tensor value = {.dtype = SOMA_F64, .numel = 1, .data = &v};
    cast_into(a->in[0], &value);
    return NULL;
}

static void fill_backward(soma_grad_args *g) {
    g->gin[0] = soma_zeros(g->in_meta[0].ndim, g->in_meta[0].shape, g->in_meta[0].dtype);
}

static bool fill_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 1)
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = s->n_attrs = 1;
    s->no_gradcheck = true;
    s->in[0] = soma__sample(dtype, -3, 3, 1, 2, (const int64_t[]){3, 5});
    if (i == 1)
        s->in[0] = soma__strided(s->in[0]);
    s->attrs[0] = SOMA_FLOAT("value", 2);
    return true;
}

static bool fill_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0)
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = 1;
    s->in[0] = soma__sample(dtype, 0, 1, 1, 0, NULL);
    s->status = SOMA_EINVAL;
    s->error = "attribute 'value' is required";
    return true;
}

static const soma_op fill_op = {
    .name = "fill_", .family = "fill", .doc = "one value everywhere", .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_FLOAT("value", "what every element becomes")), .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_NONE,
    .shape = soma__shape_same, .cpu = {fill_kernel}, .backward = fill_backward, .writes = 1u, .samples = fill_samples, .errors = fill_errors,
};

soma_tensor *soma_fill_(soma_tensor *x, double value) { return SOMA__RUN(&fill_op, &SOMA_FLOAT("value", value), x); }

soma_op_list soma__fill_ops = {&soma__to_op, &copy_op, &fill_op, NULL};

/* ---- Numbers from C ---- */

static soma_tensor *weak(soma_tensor *t) {
    if (t)
        t->weak = true;
    return t;
}

soma_tensor *soma_scalar(double value) {
    soma_tensor *t = soma_empty(0, NULL, SOMA_F64);
    if (t && t->data)
        *(double *)t->data = value;
    return weak(t);
}

soma_tensor *soma_scalar_int(int64_t value) {
    soma_tensor *t = soma_empty(0, NULL, SOMA_I64);
    if (t && t->data)
        *(int64_t *)t->data = value;
    return weak(t);
}
