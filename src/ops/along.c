/* Operators along one dimension: argmax, argmin, cumsum, topk. The tensor is seen as lines of n elements; each line is one
 * task's affair from its first element to its last, so the bits do not depend on the threads. */
#include "ops/along.h"

#include "kernels/cpu/copy.h"
#include "ops/fold.h"
#include "ops/sort.h"

#include <math.h>
#include <string.h>

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

soma__lines soma__lines_of(const char *op, const soma_tensor *x, int64_t dim) {
    int64_t size = (int64_t)soma_dtype_size(x->dtype);
    soma__lines l = {.x = x, .dim = soma__dim(op, dim, x->ndim), .count = 1, .n = 1, .inner = 1, .step = size};
    for (int d = 0; d < x->ndim; d++) {
        if (d == l.dim) {
            l.n = x->shape[d];
            l.step = x->stride[d] * size;
            continue;
        }
        if (d > l.dim)
            l.inner *= x->shape[d];
        l.shape[l.ndim] = x->shape[d];
        l.stride[l.ndim++] = x->stride[d] * size;
        l.count *= x->shape[d];
    }
    return l;
}

const char *soma__line_start(const soma__lines *l, int64_t line) {
    const char *p = l->x->data;
    for (int d = l->ndim - 1; d >= 0; d--) {
        p += line % l->shape[d] * l->stride[d];
        line /= l->shape[d];
    }
    return p;
}

typedef struct lines {
    const soma_tensor *x;
    soma__lines at;
    int64_t count, n, inner, step; /* at's */
    void *out, *second, *work;
    int64_t k;
    bool smallest;
    const soma__reduce_kernels *kernels;
} lines;

static lines lines_of(const soma_args *a, int64_t dim) {
    soma__lines at = soma__lines_of(a->op->name, a->in[0], dim);
    return (lines){.x = a->in[0], .at = at, .count = at.count, .n = at.n, .inner = at.inner, .step = at.step,
                   .out = a->out && a->out[0] ? a->out[0]->data : NULL, .work = a->work, .kernels = soma__reduce_pick()};
}

static const char *line_start(const lines *l, int64_t line) { return soma__line_start(&l->at, line); }
static int64_t line_out(const lines *l, int64_t line, int64_t n) { return soma__line_out(&l->at, line, n); }

static void each_line(lines *l, soma__range_fn fn) { soma__parallel(l->count, SOMA_MAX(1, 16384 / SOMA_MAX(l->n, 1)), fn, l); }

/* ---- argmax, argmin ---------------------------------------------------------------------------------------------- */

/* The extreme of each block comes from a vector kernel; only a block that beats the ones before is looked through. NaN beats
 * all numbers; the first of equals wins. */
#define ARG(name, T, ROW, IS_NAN)                                                                      \
    static void name(const lines *l, const char *p, soma__fold_kind kind, double *room, int64_t *at) { \
        T best = 0, *x = (T *)room;                                                                    \
        *at = -1;                                                                                      \
        for (int64_t i = 0; i < l->n; i += SOMA__STAGE) {                                              \
            int64_t n = SOMA_MIN(SOMA__STAGE, l->n - i), j = 0;                                        \
            soma__stage((soma_dtype)l->x->dtype, p + i * l->step, l->step, n, x);                      \
            T m = (T)ROW;                                                                              \
            bool better = l->smallest ? m < best : m > best;                                           \
            if (*at >= 0 && !better && !(IS_NAN(m) && !IS_NAN(best)))                                  \
                continue;                                                                              \
            while (x[j] != m && !(IS_NAN(m) && IS_NAN(x[j])))                                          \
                j++;                                                                                   \
            best = m;                                                                                  \
            *at = i + j;                                                                               \
            if (IS_NAN(m))                                                                             \
                return;                                                                                \
        }                                                                                              \
    }
#define FLOAT_NAN(v) ((v) != (v))
#define INT_NAN(v) false
ARG(arg_f32, float, l->kernels->row_f32[kind](x, n, 0.0), FLOAT_NAN)
ARG(arg_f64, double, l->kernels->row_f64[kind](x, n, 0.0), FLOAT_NAN)
ARG(arg_i64, int64_t, l->kernels->row_i64[kind](x, n), INT_NAN)

static void arg_range(void *arg, int64_t begin, int64_t end) {
    const lines *l = arg;
    soma__fold_kind kind = l->smallest ? SOMA__FOLD_MIN : SOMA__FOLD_MAX;
    soma_dtype compute = soma__compute_dtype((soma_dtype)l->x->dtype);
    double room[SOMA__STAGE];
    for (int64_t i = begin; i < end; i++)
        (compute == SOMA_F32 ? arg_f32 : compute == SOMA_F64 ? arg_f64 : arg_i64)(l, line_start(l, i), kind, room,
                                                                                  (int64_t *)l->out + i);
}

static const char *arg_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    soma_tensor flat = *x;
    soma__lines at;
    if (a->attrs[0].count) {
        at = soma__lines_of(a->op->name, x, a->attrs[0].value.ints[0]);
    } else { /* all elements as one line, copied when they do not lie so */
        if (!soma__contiguous(x)) {
            int64_t stride[SOMA_MAX_DIMS];
            soma__row_major(x->ndim, x->shape, stride);
            soma__copy_elements(soma_dtype_size((soma_dtype)x->dtype), x->ndim, x->shape, a->work, stride, x->data, x->stride);
            flat.data = a->work;
        }
        flat.ndim = 1;
        flat.shape[0] = x->numel;
        flat.stride[0] = 1;
        at = soma__lines_of(a->op->name, &flat, 0);
    }
    lines l = {.x = &flat, .at = at, .count = at.count, .n = at.n, .inner = at.inner, .step = at.step, .out = a->out[0]->data, .kernels = soma__reduce_pick()};
    l.smallest = a->op == &soma__argmin_op;
    if (l.count > 0)
        each_line(&l, arg_range);
    return NULL;
}

static size_t arg_work(soma_args *a) {
    const soma_tensor *x = a->in[0];
    return a->attrs[0].count || soma__contiguous(x) ? 0 : (size_t)x->numel * soma_dtype_size((soma_dtype)x->dtype);
}

static bool arg_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    char text[SOMA__SHAPE_TEXT];
    out->dtype = SOMA_I64;
    if (!a->attrs[0].count) {
        out->ndim = a->attrs[1].value.i ? x->ndim : 0;
        for (int d = 0; d < out->ndim; d++)
            out->shape[d] = 1;
        if (x->numel == 0)
            soma_fail(SOMA_ESHAPE, "%s: %s has no elements", a->op->name, soma__shape_text(x->ndim, x->shape, text, sizeof text));
        return x->numel > 0;
    }
    int dim = soma__dim(a->op->name, a->attrs[0].value.ints[0], x->ndim);
    if (dim < 0)
        return false;
    if (x->ndim > 0 && x->shape[dim] == 0) {
        soma_fail(SOMA_ESHAPE, "%s: dimension %d of %s has no elements", a->op->name, dim,
                  soma__shape_text(x->ndim, x->shape, text, sizeof text));
        return false;
    }
    for (int d = 0; d < x->ndim; d++)
        if (d != dim)
            out->shape[out->ndim++] = x->shape[d];
        else if (a->attrs[1].value.i)
            out->shape[out->ndim++] = 1;
    return true;
}

static int64_t line_flops(soma_args *a) { return a->in[0]->numel; }

SOMA__LINES(arg, "[3,4,5]@-9:9 dim=-1", "[3,4,5]@-9:9 dim=0 keepdim=true", "s[3,4,5]@-9:9 dim=1", "[3]@-9:9 dim=0", "[3,4]", "s[3,4] keepdim=true", "[]",
            "[4]=1,5,5,-2", "s[2,3,2]", "[2,0] dim=1 !ESHAPE no elements", "[2,0] dim=2 !ESHAPE dim 2 is out of range")
const soma_op soma__argmax_op = {
    .name = "argmax", .family = "reduce", .onnx = "ArgMax",
    .doc = "index of the largest element along dim, or among all in row-major order; the first of equals; NaN is largest",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA__DIM_OR_ALL("dimension to search; none: all elements"), SOMA_DEF_BOOL("keepdim", false, "leave it with size 1")),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = arg_shape, .work = arg_work, .cpu = {arg_kernel}, .backward = SOMA_NONDIFF,
    .flops = line_flops, .samples = arg_samples, .errors = arg_errors,
};
const soma_op soma__argmin_op = {
    .name = "argmin", .family = "reduce", .onnx = "ArgMin",
    .doc = "index of the smallest element along dim, or among all in row-major order; the first of equals; NaN is smallest",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA__DIM_OR_ALL("dimension to search; none: all elements"), SOMA_DEF_BOOL("keepdim", false, "leave it with size 1")),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = arg_shape, .work = arg_work, .cpu = {arg_kernel}, .backward = SOMA_NONDIFF,
    .flops = line_flops, .samples = arg_samples, .errors = arg_errors,
};

/* ---- cumsum ------------------------------------------------------------------------------------------------------ */

static void cumsum_range(void *arg, int64_t begin, int64_t end) {
    const lines *l = arg;
    soma_dtype dtype = (soma_dtype)l->x->dtype, compute = soma__compute_dtype(dtype);
    soma_dtype to = compute == SOMA_I64 ? SOMA_I64 : dtype;
    size_t size = soma_dtype_size(to);
    union { float f[SOMA__STAGE]; double d[SOMA__STAGE]; int64_t l[SOMA__STAGE]; } x, y;
    for (int64_t line = begin; line < end; line++) {
        const char *p = line_start(l, line);
        char *out = (char *)l->out + line_out(l, line, l->n) * (int64_t)size;
        double sum = 0.0;
        uint64_t total = 0;
        for (int64_t i = 0; i < l->n; i += SOMA__STAGE) {
            int64_t n = SOMA_MIN(SOMA__STAGE, l->n - i);
            soma__stage(dtype, p + i * l->step, l->step, n, &x);
            for (int64_t j = 0; j < n; j++) {
                if (compute == SOMA_I64)
                    y.l[j] = (int64_t)(total += (uint64_t)x.l[j]);
                else
                    y.d[j] = sum += compute == SOMA_F32 ? (double)x.f[j] : x.d[j];
            }
            if (l->inner == 1) {
                soma__unstage(to, &y, true, n, out + i * (int64_t)size);
                continue;
            }
            soma__unstage(to, &y, true, n, &x);
            for (int64_t j = 0; j < n; j++)
                memcpy(out + (i + j) * l->inner * (int64_t)size, (char *)&x + (size_t)j * size, size);
        }
    }
}

static const char *cumsum_kernel(soma_args *a) {
    lines l = lines_of(a, a->attrs[0].value.i);
    if (l.count > 0)
        each_line(&l, cumsum_range);
    return NULL;
}

static bool cumsum_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (soma__dim(a->op->name, a->attrs[0].value.i, x->ndim) < 0)
        return false;
    *out = soma__meta_of(x);
    out->dtype = soma_dtype_is_float((soma_dtype)x->dtype) ? (soma_dtype)x->dtype : SOMA_I64;
    return true;
}

/* An element counts in all sums from its own on: the sums of the gradient from the end. */
static void cumsum_backward(soma_grad_args *g) {
    int64_t dim = g->attrs[0].value.i;
    if (!g->gout[0])
        return;
    if (g->in_meta[0].ndim == 0)
        g->gin[0] = g->gout[0];
    else
        g->gin[0] = soma_flip(soma_cumsum(soma_flip(g->gout[0], 1, &dim), dim), 1, &dim);
}

SOMA__LINES(cumsum, "[3,4,5]@-9:9 dim=-1", "[3,4,5]@-9:9 dim=0", "s[3,4,5]@-9:9 dim=1", "[3]@-9:9 dim=0", "[2,3] dim=-3 !ESHAPE dim -3 is out of range")
const soma_op soma__cumsum_op = {
    .name = "cumsum", .family = "reduce", .onnx = "CumSum",
    .doc = "y[i] = x[0] + … + x[i] along dim; integers and bool give i64",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension to add along")),
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = cumsum_shape, .cpu = {cumsum_kernel},
    .backward = cumsum_backward, .flops = line_flops, .samples = cumsum_samples, .errors = cumsum_errors,
};

/* ---- topk -------------------------------------------------------------------------------------------------------- */

/* A value as an integer of the same order; NaN above all. */
typedef struct ranked {
    int64_t key, index;
} ranked;

static int64_t order_of(double v) {
    int64_t bits;
    v += 0.0; /* -0 and 0 are equal */
    if (v != v)
        return INT64_MAX;
    memcpy(&bits, &v, sizeof bits);
    return bits < 0 ? bits ^ INT64_MAX : bits;
}

static double value_of(int64_t key) {
    double v;
    int64_t bits = key < 0 ? key ^ INT64_MAX : key;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static bool worse(ranked a, ranked b) { return a.key != b.key ? a.key < b.key : a.index > b.index; }

/* Restores the heap, whose root is the worst, from the root down. */
static void sift(ranked *heap, int64_t n) {
    for (int64_t i = 0;;) {
        int64_t child = 2 * i + 1;
        if (child >= n)
            return;
        if (child + 1 < n && worse(heap[child + 1], heap[child]))
            child++;
        if (!worse(heap[child], heap[i]))
            return;
        ranked t = heap[i];
        heap[i] = heap[child];
        heap[child] = t;
        i = child;
    }
}

static void lift(ranked *heap, int64_t i) {
    while (i > 0 && worse(heap[i], heap[(i - 1) / 2])) {
        ranked t = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

/* The k best of a line, best first, in `heap`. */
static void best_of(const lines *l, const char *p, ranked *heap) {
    soma_dtype dtype = (soma_dtype)l->x->dtype, compute = soma__compute_dtype(dtype);
    union { float f[SOMA__STAGE]; double d[SOMA__STAGE]; int64_t l[SOMA__STAGE]; } x;
    int64_t size = 0, turn = l->smallest ? -1 : 0; /* ~key puts the smallest first */
    bool quick = compute == SOMA_F32 && !l->smallest;
    for (int64_t i = 0; i < l->n; i += SOMA__STAGE) {
        int64_t n = SOMA_MIN(SOMA__STAGE, l->n - i);
        soma__stage(dtype, p + i * l->step, l->step, n, &x);
        float least = size == l->k && quick ? (float)value_of(heap[0].key) : NAN;
        for (int64_t j = 0; j < n; j++) {
            if (quick && x.f[j] <= least)
                continue; /* the quick way out for most */
            ranked r = {(compute == SOMA_I64 ? x.l[j] : order_of(compute == SOMA_F32 ? (double)x.f[j] : x.d[j])) ^ turn, i + j};
            if (size < l->k) {
                heap[size] = r;
                lift(heap, size++);
            } else if (worse(heap[0], r)) {
                heap[0] = r;
                sift(heap, size);
            }
            if (size == l->k && quick)
                least = (float)value_of(heap[0].key);
        }
    }
    while (size > 1) { /* the worst goes to the end */
        ranked t = heap[0];
        heap[0] = heap[--size];
        heap[size] = t;
        sift(heap, size);
    }
}

static void topk_range(void *arg, int64_t begin, int64_t end) {
    const lines *l = arg;
    size_t size = soma_dtype_size((soma_dtype)l->x->dtype);
    for (int64_t line = begin; line < end; line++) {
        const char *p = line_start(l, line);
        ranked *heap = (ranked *)l->work + line * l->k;
        int64_t at = line_out(l, line, l->k);
        best_of(l, p, heap);
        for (int64_t i = 0; i < l->k; i++) {
            memcpy((char *)l->out + (size_t)(at + i * l->inner) * size, p + heap[i].index * l->step, size);
            ((int64_t *)l->second)[at + i * l->inner] = heap[i].index;
        }
    }
}

static size_t topk_work(soma_args *a) {
    lines l = lines_of(a, a->attrs[1].value.i);
    return (size_t)(l.count * a->attrs[0].value.i) * sizeof(ranked);
}

static const char *topk_kernel(soma_args *a) {
    lines l = lines_of(a, a->attrs[1].value.i);
    l.k = a->attrs[0].value.i;
    l.smallest = !a->attrs[2].value.i;
    l.second = a->out[1]->data;
    if (l.count > 0 && l.k > 0)
        each_line(&l, topk_range);
    return NULL;
}

static bool topk_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int dim = soma__dim(a->op->name, a->attrs[1].value.i, x->ndim);
    if (dim < 0)
        return false;
    int64_t k = a->attrs[0].value.i, n = x->ndim ? x->shape[dim] : 1;
    if (k < 0 || k > n) {
        char text[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_EINVAL, "topk: k is %lld, but dimension %d of %s has %lld elements", (long long)k, dim,
                  soma__shape_text(x->ndim, x->shape, text, sizeof text), (long long)n);
        return false;
    }
    out[0] = soma__meta_of(x);
    if (x->ndim)
        out[0].shape[dim] = k;
    out[1] = out[0];
    out[1].dtype = SOMA_I64;
    return true;
}

static void topk_backward(soma_grad_args *g) { soma__chosen_backward(g, g->attrs[1].value.i); }

SOMA__LINES(topk, "[3,4,5]@-9:9 k=2 dim=-1", "[3,4,5]@-9:9 k=2 dim=0 largest=false", "s[3,4,5]@-9:9 k=2 dim=1", "[3]@-9:9 k=2 dim=0 largest=false",
            "[2,3] k=4 dim=1 !EINVAL topk: k is", "[2,3] k=-1 dim=1 !EINVAL topk: k is", "[2,3] k=1 dim=2 !ESHAPE out of range")
const soma_op soma__topk_op = {
    .name = "topk", .family = "reduce", .onnx = "TopK",
    .doc = "the k largest (or smallest) elements along dim, best first, and their indices; the lower index first among equals; NaN is largest",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 2,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("k", "how many"), SOMA_DEF_INT("dim", -1, "dimension to search"),
                        SOMA_DEF_BOOL("largest", true, "false: the smallest"), SOMA_DEF_BOOL("sorted", true, "they are in any case")),
    .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME, .shape = topk_shape, .work = topk_work, .cpu = {topk_kernel},
    .backward = topk_backward, .saves = SOMA_SAVE_OUT(1), .flops = line_flops, .samples = topk_samples, .errors = topk_errors,
};

/* ---- The functions of ops.h -------------------------------------------------------------------------------------- */

soma_tensor *soma_argmax(soma_tensor *x, int64_t dim, bool keepdim) {
    soma_attr attrs[] = {SOMA_INTS("dim", dim), SOMA_BOOLEAN("keepdim", keepdim)};
    attrs[0].count = dim != SOMA_NO_DIM;
    return SOMA__RUN(&soma__argmax_op, attrs, x);
}
soma_tensor *soma_argmin(soma_tensor *x, int64_t dim, bool keepdim) {
    soma_attr attrs[] = {SOMA_INTS("dim", dim), SOMA_BOOLEAN("keepdim", keepdim)};
    attrs[0].count = dim != SOMA_NO_DIM;
    return SOMA__RUN(&soma__argmin_op, attrs, x);
}
soma_tensor *soma_cumsum(soma_tensor *x, int64_t dim) {
    soma_attr attrs[] = {SOMA_INT("dim", dim)};
    return SOMA__RUN(&soma__cumsum_op, attrs, x);
}
soma_status soma_topk_ex(soma_tensor *x, int64_t k, int64_t dim, bool largest, soma_tensor **values, soma_tensor **indices) {
    soma_attr attrs[] = {SOMA_INT("k", k), SOMA_INT("dim", dim), SOMA_BOOLEAN("largest", largest), SOMA_BOOLEAN("sorted", true)};
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    bool ok = soma__apply(&soma__topk_op, &x, 1, attrs, out, 0);
    if (values)
        *values = ok ? out[0] : NULL;
    if (indices)
        *indices = ok ? out[1] : NULL;
    return ok ? SOMA_OK : soma__ctx()->error;
}
soma_status soma_topk(soma_tensor *x, int64_t k, int64_t dim, soma_tensor **values, soma_tensor **indices) {
    return soma_topk_ex(x, k, dim, true, values, indices);
}
