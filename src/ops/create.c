/* Tensors from numbers alone: full (and with it zeros and ones), arange, linspace, eye. Operators without inputs. */
#include "ops/shape.h"

#include "kernels/cpu/copy.h"

#include <math.h>

/* The dtype attribute, checked: it may come from outside by number. */
static bool dtype_attr(soma_args *a, int i, soma_meta *out) {
    int64_t dtype = soma__attr_int(a, i);
    if (dtype < 0 || dtype >= SOMA_DTYPE_COUNT) {
        soma_fail(SOMA_EDTYPE, "%s: there is no dtype number %lld", a->op->name, (long long)dtype);
        return false;
    }
    out->dtype = (soma_dtype)dtype;
    return true;
}

bool soma__shape_attr(soma_args *a, int shape, int dtype, soma_meta *out) {
    const soma_attr *s = &a->attrs[shape];
    char text[SOMA__SHAPE_TEXT];
    if (!dtype_attr(a, dtype, out))
        return false;
    out->ndim = s->count;
    for (int d = 0; d < s->count; d++)
        out->shape[d] = s->value.ints[d];
    if (soma__numel(out->ndim, out->shape) >= 0)
        return true;
    soma_fail(SOMA_ESHAPE, "%s: shape %s makes no sense; sizes are 0 or more, and their product has to fit in memory",
              a->op->name, soma__shape_text(s->count, s->value.ints, text, sizeof text));
    return false;
}

/* ---- full ------------------------------------------------------------------------------------------------------- */

static bool full_shape(soma_args *a, soma_meta *out) { return soma__shape_attr(a, 0, 2, out); }

static const char *full_kernel(soma_args *a) {
    const soma_tensor *out = a->out[0];
    uint64_t value = 0;
    soma__store(&value, (soma_dtype)out->dtype, soma__attr_float(a, 1));
    soma__fill_elements(soma_dtype_size((soma_dtype)out->dtype), out->data, out->numel, &value);
    return NULL;
}

static bool full_case(soma_sample *s, soma_dtype dtype, int ndim, const int64_t *shape) {
    s->n_attrs = 3;
    s->attrs[1] = SOMA_FLOAT("value", 3);
    s->attrs[2] = SOMA_DTYPE("dtype", dtype);
    return soma__ints_attr(&s->attrs[0], "full", "shape", ndim, shape);
}

static bool full_samples(int i, soma_dtype dtype, soma_sample *s) {
    return i < 3 && full_case(s, dtype, i, (const int64_t[]){3, 2});
}

static bool full_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = "full: shape [2, -1] makes no sense";
    s->status = SOMA_ESHAPE;
    return i == 0 && full_case(s, dtype, 2, (const int64_t[]){2, -1});
}

static const soma_op full_op = {
    .name = "full",
    .family = "create",
    .onnx = "ConstantOfShape",
    .doc = "A tensor of which every element is `value`.",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("shape", "sizes"), SOMA_NEED_FLOAT("value", "value of every element"),
                        SOMA_DEF_DTYPE("dtype", SOMA_F32, "dtype of the result")),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_NONE,
    .shape = full_shape,
    .cpu = {full_kernel},
    .backward = SOMA_NONDIFF,
    .samples = full_samples,
    .errors = full_errors,
};
soma_tensor *soma_full(int ndim, const int64_t *shape, double value, soma_dtype dtype) {
    soma_attr attrs[] = {{.name = "shape"}, SOMA_FLOAT("value", value), SOMA_DTYPE("dtype", dtype)};
    return soma__ints_attr(&attrs[0], "full", "shape", ndim, shape) ? soma__run(&full_op, NULL, 0, attrs) : NULL;
}
soma_tensor *soma_zeros(int ndim, const int64_t *shape, soma_dtype dtype) { return soma_full(ndim, shape, 0, dtype); }
soma_tensor *soma_ones(int ndim, const int64_t *shape, soma_dtype dtype) { return soma_full(ndim, shape, 1, dtype); }

/* ---- arange, linspace: element i is worked out from i alone, in f64, and rounded once --------------------------- */

typedef struct ramp {
    char *to;
    soma_dtype dtype;
    double start, step, end;
    int64_t middle; /* elements from here on are counted back from `end` */
    int64_t last;
} ramp;

static void ramp_range(void *arg, int64_t begin, int64_t end) {
    const ramp *r = arg;
    int64_t size = (int64_t)soma_dtype_size(r->dtype);
    for (int64_t i = begin; i < end; i++)
        soma__store(r->to + i * size, r->dtype,
                    i < r->middle ? r->start + (double)i * r->step : r->end - (double)(r->last - i) * r->step);
}

static bool arange_shape(soma_args *a, soma_meta *out) {
    double start = soma__attr_float(a, 0), end = soma__attr_float(a, 1), step = soma__attr_float(a, 2),
           n = ceil((end - start) / step);
    if (!dtype_attr(a, 3, out))
        return false;
    if (out->dtype == SOMA_BOOL) {
        soma_fail(SOMA_EDTYPE, "arange: there is no range of bool; expected a dtype of numbers");
        return false;
    }
    if (!(n >= 0 && n < 0x1p53) || step == 0 || !isfinite(step)) { /* also false for NaN */
        soma_fail(SOMA_EINVAL,
                  "arange: from %g to %g in steps of %g leads nowhere; expected a step other than 0 towards the end", start,
                  end, step);
        return false;
    }
    out->ndim = 1;
    out->shape[0] = (int64_t)n;
    return true;
}

static const char *arange_kernel(soma_args *a) {
    ramp r = {.to = a->out[0]->data,
              .dtype = (soma_dtype)a->out[0]->dtype,
              .start = soma__attr_float(a, 0),
              .step = soma__attr_float(a, 2),
              .middle = INT64_MAX};
    soma__parallel(a->out[0]->numel, 1 << 14, ramp_range, &r);
    return NULL;
}

static bool arange_case(soma_sample *s, soma_dtype dtype, double start, double end, double step) {
    s->n_attrs = 4;
    s->attrs[0] = SOMA_FLOAT("start", start);
    s->attrs[1] = SOMA_FLOAT("end", end);
    s->attrs[2] = SOMA_FLOAT("step", step);
    s->attrs[3] = SOMA_DTYPE("dtype", dtype);
    return true;
}

static bool arange_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const double c[][3] = {{0, 5, 1}, {9, 1, -3}, {2, 2, 1}};
    return i < (int)SOMA_LEN(c) && arange_case(s, dtype, c[i][0], c[i][1], c[i][2]);
}

static bool arange_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const double c[][3] = {{0, 5, 0}, {0, 5, -1}, {0, NAN, 1}};
    s->error = "expected a step other than 0 towards the end";
    s->status = SOMA_EINVAL;
    return i < (int)SOMA_LEN(c) && arange_case(s, dtype, c[i][0], c[i][1], c[i][2]);
}

static const soma_op arange_op = {
    .name = "arange",
    .family = "create",
    .onnx = "Range",
    .doc = "start, start + step, … before end.",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("start", 0, "first value"),
                        SOMA_NEED_FLOAT("end", "where it stops; not part of the result"),
                        SOMA_DEF_FLOAT("step", 1, "distance of values; may be negative"),
                        SOMA_DEF_DTYPE("dtype", SOMA_F32, "dtype of the result")),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = arange_shape,
    .cpu = {arange_kernel},
    .backward = SOMA_NONDIFF,
    .samples = arange_samples,
    .errors = arange_errors,
};
soma_tensor *soma_arange(double start, double end, double step, soma_dtype dtype) {
    soma_attr attrs[] = {SOMA_FLOAT("start", start), SOMA_FLOAT("end", end), SOMA_FLOAT("step", step),
                         SOMA_DTYPE("dtype", dtype)};
    return soma__run(&arange_op, NULL, 0, attrs);
}

static bool linspace_shape(soma_args *a, soma_meta *out) {
    int64_t steps = soma__attr_int(a, 2);
    if (!dtype_attr(a, 3, out))
        return false;
    if (out->dtype == SOMA_BOOL) {
        soma_fail(SOMA_EDTYPE, "linspace: there is no range of bool; expected a dtype of numbers");
        return false;
    }
    if (steps < 0) {
        soma_fail(SOMA_EINVAL, "linspace: steps is %lld, expected 0 or more", (long long)steps);
        return false;
    }
    out->ndim = 1;
    out->shape[0] = steps;
    return true;
}

static const char *linspace_kernel(soma_args *a) {
    int64_t n = a->out[0]->numel;
    double start = soma__attr_float(a, 0), end = soma__attr_float(a, 1);
    ramp r = {.to = a->out[0]->data,
              .dtype = (soma_dtype)a->out[0]->dtype,
              .start = start,
              .end = end,
              .step = n > 1 ? (end - start) / (double)(n - 1) : 0,
              .middle = n > 1 ? n / 2 : n,
              .last = n - 1};
    soma__parallel(n, 1 << 14, ramp_range, &r);
    return NULL;
}

static bool linspace_case(soma_sample *s, soma_dtype dtype, int64_t steps) {
    s->n_attrs = 4;
    s->attrs[0] = SOMA_FLOAT("start", 0);
    s->attrs[1] = SOMA_FLOAT("end", 8);
    s->attrs[2] = SOMA_INT("steps", steps);
    s->attrs[3] = SOMA_DTYPE("dtype", dtype);
    return true;
}

static bool linspace_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t steps[] = {5, 1, 0};
    return i < (int)SOMA_LEN(steps) && linspace_case(s, dtype, steps[i]);
}

static bool linspace_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = "linspace: steps is -1, expected 0 or more";
    s->status = SOMA_EINVAL;
    return i == 0 && linspace_case(s, dtype, -1);
}

static const soma_op linspace_op = {
    .name = "linspace",
    .family = "create",
    .doc = "`steps` values at equal distances from start to end, both included.",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_FLOAT("start", "first value"), SOMA_NEED_FLOAT("end", "last value"),
                        SOMA_NEED_INT("steps", "how many"), SOMA_DEF_DTYPE("dtype", SOMA_F32, "dtype of the result")),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = linspace_shape,
    .cpu = {linspace_kernel},
    .backward = SOMA_NONDIFF,
    .samples = linspace_samples,
    .errors = linspace_errors,
};
soma_tensor *soma_linspace(double start, double end, int64_t steps, soma_dtype dtype) {
    soma_attr attrs[] = {SOMA_FLOAT("start", start), SOMA_FLOAT("end", end), SOMA_INT("steps", steps),
                         SOMA_DTYPE("dtype", dtype)};
    return soma__run(&linspace_op, NULL, 0, attrs);
}

/* ---- eye -------------------------------------------------------------------------------------------------------- */

static bool eye_shape(soma_args *a, soma_meta *out) {
    int64_t n = soma__attr_int(a, 0), m = soma__attr_int(a, 1) == -1 ? n : soma__attr_int(a, 1);
    if (!dtype_attr(a, 2, out))
        return false;
    out->ndim = 2;
    out->shape[0] = n;
    out->shape[1] = m;
    if (soma__numel(2, out->shape) >= 0)
        return true;
    soma_fail(SOMA_ESHAPE, "eye: %lld x %lld makes no sense; sizes are 0 or more, and their product has to fit in memory",
              (long long)n, (long long)m);
    return false;
}

static const char *eye_kernel(soma_args *a) {
    const soma_tensor *out = a->out[0];
    soma_dtype dtype = (soma_dtype)out->dtype;
    int64_t size = (int64_t)soma_dtype_size(dtype);
    soma__fill_elements((size_t)size, out->data, out->numel, &(uint64_t){0});
    for (int64_t i = 0; i < SOMA_MIN(out->shape[0], out->shape[1]); i++)
        soma__store((char *)out->data + i * (out->shape[1] + 1) * size, dtype, 1);
    return NULL;
}

static bool eye_case(soma_sample *s, soma_dtype dtype, int64_t n, int64_t m) {
    s->n_attrs = 3;
    s->attrs[0] = SOMA_INT("n", n);
    s->attrs[1] = SOMA_INT("m", m);
    s->attrs[2] = SOMA_DTYPE("dtype", dtype);
    return true;
}

static bool eye_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t c[][2] = {{3, 3}, {2, 4}, {3, -1}, {0, 2}};
    return i < (int)SOMA_LEN(c) && eye_case(s, dtype, c[i][0], c[i][1]);
}

static bool eye_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = "eye: -2 x 3 makes no sense";
    s->status = SOMA_ESHAPE;
    return i == 0 && eye_case(s, dtype, -2, 3);
}

static const soma_op eye_op = {
    .name = "eye",
    .family = "create",
    .onnx = "EyeLike",
    .doc = "An n x m matrix with ones on its diagonal, zeros elsewhere.",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("n", "rows"), SOMA_DEF_INT("m", -1, "columns; -1: as many as rows"),
                        SOMA_DEF_DTYPE("dtype", SOMA_F32, "dtype of the result")),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_NONE,
    .shape = eye_shape,
    .cpu = {eye_kernel},
    .backward = SOMA_NONDIFF,
    .samples = eye_samples,
    .errors = eye_errors,
};
soma_tensor *soma_eye(int64_t n, int64_t m, soma_dtype dtype) {
    soma_attr attrs[] = {SOMA_INT("n", n), SOMA_INT("m", m), SOMA_DTYPE("dtype", dtype)};
    return soma__run(&eye_op, NULL, 0, attrs);
}

soma_op_list soma__create_ops = {&full_op, &arange_op, &linspace_op, &eye_op, NULL};
