/* Walks of the reductions. What always holds: every cut (into segments, blocks of columns, pieces of a row) depends on the
 * shape and the strides alone, and partial results are joined in order, so the bits do not depend on the threads. */
#include "ops/fold.h"

#include "kernels/cpu/gemm.h"

#include <math.h>
#include <string.h>

enum {
    SEGMENT = 32768, /* elements that one task folds at least, where there are so many */
    PIECE = 4096,    /* elements of a row between two partial results in double: 64 additions a lane */
    COLUMNS = 256    /* columns of a block */
};

/* ---- Loading and storing ----------------------------------------------------------------------------------------- */

soma_dtype soma__compute_dtype(soma_dtype dtype) {
    switch (dtype) {
    case SOMA_F32:
    case SOMA_F16:
    case SOMA_BF16: return SOMA_F32;
    case SOMA_F64: return SOMA_F64;
    default: return SOMA_I64;
    }
}

#define STAGE(DTYPE, T, TO, EXPR)                        \
    case DTYPE:                                          \
        for (int64_t i = 0; i < n; i++) {                \
            T v;                                         \
            memcpy(&v, p + i * stride, sizeof v);        \
            ((TO *)out)[i] = EXPR;                       \
        }                                                \
        break;
void soma__stage(soma_dtype dtype, const char *p, int64_t stride, int64_t n, void *out) {
    if (stride == (int64_t)sizeof(uint16_t) && dtype == SOMA_F16) {
        soma__gemm_pick()->from_f16(out, (const uint16_t *)p, n);
        return;
    }
    if (stride == (int64_t)sizeof(uint16_t) && dtype == SOMA_BF16) {
        soma__gemm_pick()->from_bf16(out, (const uint16_t *)p, n);
        return;
    }
    switch (dtype) {
        STAGE(SOMA_F32, float, float, v)
        STAGE(SOMA_F64, double, double, v)
        STAGE(SOMA_F16, uint16_t, float, soma__half_to_float(v))
        STAGE(SOMA_BF16, uint16_t, float, soma__bf16_to_float(v))
        STAGE(SOMA_I64, int64_t, int64_t, v)
        STAGE(SOMA_I32, int32_t, int64_t, v)
        STAGE(SOMA_I16, int16_t, int64_t, v)
        STAGE(SOMA_I8, int8_t, int64_t, v)
        STAGE(SOMA_U8, uint8_t, int64_t, v)
        STAGE(SOMA_BOOL, uint8_t, int64_t, v != 0)
    default: break;
    }
}

static void stage_truth(soma_dtype dtype, const char *p, int64_t stride, int64_t n, void *out) {
    switch (dtype) {
        STAGE(SOMA_F32, float, int64_t, v != 0)
        STAGE(SOMA_F64, double, int64_t, v != 0)
        STAGE(SOMA_F16, uint16_t, int64_t, (v & 0x7fff) != 0)
        STAGE(SOMA_BF16, uint16_t, int64_t, (v & 0x7fff) != 0)
        STAGE(SOMA_I64, int64_t, int64_t, v != 0)
        STAGE(SOMA_I32, int32_t, int64_t, v != 0)
        STAGE(SOMA_I16, int16_t, int64_t, v != 0)
        STAGE(SOMA_I8, int8_t, int64_t, v != 0)
        STAGE(SOMA_U8, uint8_t, int64_t, v != 0)
        STAGE(SOMA_BOOL, uint8_t, int64_t, v != 0)
    default: break;
    }
}

#define UNSTAGE(DTYPE, T, EXPR)                          \
    case DTYPE:                                          \
        for (int64_t i = 0; i < n; i++)                  \
            ((T *)p)[i] = EXPR;                          \
        break;
void soma__unstage(soma_dtype dtype, const void *values, bool from_double, int64_t n, void *p) {
    const double *d = values;
    const float *f = values;
    const int64_t *l = values;
    if (!from_double && (dtype == SOMA_F16 || dtype == SOMA_BF16)) {
        const soma__gemm_kernels *k = soma__gemm_pick();
        (dtype == SOMA_F16 ? k->to_f16 : k->to_bf16)(p, f, n);
        return;
    }
    switch (dtype) {
        UNSTAGE(SOMA_F32, float, from_double ? (float)d[i] : f[i])
        UNSTAGE(SOMA_F64, double, d[i])
        UNSTAGE(SOMA_F16, uint16_t, soma__float_to_half((float)d[i]))
        UNSTAGE(SOMA_BF16, uint16_t, soma__float_to_bf16((float)d[i]))
        UNSTAGE(SOMA_I64, int64_t, l[i])
        UNSTAGE(SOMA_I32, int32_t, (int32_t)l[i])
        UNSTAGE(SOMA_I16, int16_t, (int16_t)l[i])
        UNSTAGE(SOMA_I8, int8_t, (int8_t)l[i])
        UNSTAGE(SOMA_U8, uint8_t, (uint8_t)l[i])
        UNSTAGE(SOMA_BOOL, uint8_t, l[i] != 0)
    default: break;
    }
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

/* Appends a dimension, joined with the one before when both are one run of memory. */
static int push(int n, int64_t *shape, int64_t *stride, int64_t size, int64_t step) {
    if (size == 1)
        return n;
    if (n > 0 && stride[n - 1] == size * step) {
        shape[n - 1] *= size;
        stride[n - 1] = step;
        return n;
    }
    shape[n] = size;
    stride[n] = step;
    return n + 1;
}

static int64_t magnitude(int64_t v) { return v < 0 ? -v : v; }

static void cut(soma__fold *f) {
    int64_t inner = f->rshape[f->nr - 1], width = f->kshape[f->nk - 1];
    f->columns = width >= 8 && magnitude(f->kstride[f->nk - 1]) < magnitude(f->rstride[f->nr - 1]);
    f->pieces_per_row = 1;
    if (f->columns) {
        int64_t blocks = (width + COLUMNS - 1) / COLUMNS;
        f->rows_per_segment = SEGMENT / SOMA_MIN(width, COLUMNS);
        f->segments = (f->folded + f->rows_per_segment - 1) / f->rows_per_segment;
        f->tasks = f->outputs / width * blocks * f->segments;
        return;
    }
    if (inner >= 2 * SEGMENT) {
        f->rows_per_segment = 1;
        f->pieces_per_row = (inner + SEGMENT - 1) / SEGMENT;
        f->segments = f->folded / inner * f->pieces_per_row;
    } else {
        int64_t rows = f->folded / inner;
        f->rows_per_segment = (SEGMENT + inner - 1) / inner;
        f->segments = (rows + f->rows_per_segment - 1) / f->rows_per_segment;
    }
    f->tasks = f->outputs * f->segments;
}

void soma__fold_plan(soma__fold *f, const soma_tensor *x, uint32_t mask) {
    int64_t size = (int64_t)soma_dtype_size(x->dtype), rs[SOMA_MAX_DIMS], rt[SOMA_MAX_DIMS];
    int n = 0;
    *f = (soma__fold){.dtype = x->dtype, .outputs = 1, .folded = 1};
    for (int d = 0; d < x->ndim; d++) {
        if (mask & (1u << d)) {
            f->folded *= x->shape[d];
            int at = n++; /* by falling stride, stable */
            for (; at > 0 && magnitude(rt[at - 1]) < magnitude(x->stride[d]); at--) {
                rs[at] = rs[at - 1];
                rt[at] = rt[at - 1];
            }
            rs[at] = x->shape[d];
            rt[at] = x->stride[d];
        } else {
            f->outputs *= x->shape[d];
            f->nk = push(f->nk, f->kshape, f->kstride, x->shape[d], x->stride[d] * size);
        }
    }
    for (int i = 0; i < n; i++)
        f->nr = push(f->nr, f->rshape, f->rstride, rs[i], rt[i] * size);
    if (!f->nk)
        f->kshape[f->nk++] = 1;
    if (!f->nr)
        f->rshape[f->nr++] = 1;
    if (f->outputs > 0 && f->folded > 0)
        cut(f);
}

size_t soma__fold_work(const soma__fold *f) {
    return f->segments > 1 ? (size_t)(f->outputs * f->segments) * sizeof(double) : 0;
}

/* Byte offset of element `index` (row-major) of a box. */
static int64_t offset_of(int n, const int64_t *shape, const int64_t *stride, int64_t index) {
    int64_t at = 0;
    for (int d = n - 1; d > 0; d--) {
        at += index % shape[d] * stride[d];
        index /= shape[d];
    }
    return at + index * stride[0];
}

/* ---- One segment ------------------------------------------------------------------------------------------------- */

typedef struct run {
    const soma__fold *f;
    const soma__reduce_kernels *k;
    soma__fold_kind kind;
    soma_dtype compute;
    const char *data;
    const double *shift;
    void *partial; /* [segments][outputs], or the result itself when there is one segment */
} run;

static double join(soma__fold_kind kind, double a, double b) {
    switch (kind) {
    case SOMA__FOLD_PROD: return a * b;
    case SOMA__FOLD_MAX: return b > a || b != b ? b : a;
    case SOMA__FOLD_MIN: return b < a || b != b ? b : a;
    default: return a + b;
    }
}
static int64_t join_int(soma__fold_kind kind, int64_t a, int64_t b) {
    switch (kind) {
    case SOMA__FOLD_PROD: return (int64_t)((uint64_t)a * (uint64_t)b);
    case SOMA__FOLD_MAX: return SOMA_MAX(a, b);
    case SOMA__FOLD_MIN: return SOMA_MIN(a, b);
    default: return (int64_t)((uint64_t)a + (uint64_t)b);
    }
}
static double neutral(soma__fold_kind kind) {
    return kind == SOMA__FOLD_PROD ? 1.0 : kind == SOMA__FOLD_MAX ? -INFINITY : kind == SOMA__FOLD_MIN ? INFINITY : 0.0;
}
static int64_t neutral_int(soma__fold_kind kind, bool truth) {
    if (truth)
        return kind == SOMA__FOLD_MIN;
    return kind == SOMA__FOLD_PROD ? 1 : kind == SOMA__FOLD_MAX ? INT64_MIN : kind == SOMA__FOLD_MIN ? INT64_MAX : 0;
}

/* Elements side by side: those in memory when they are, else copies of at most SOMA__STAGE. Returns how many were taken. */
static int64_t fetch(const run *r, const char *p, int64_t stride, int64_t n, int64_t most, void *buffer, const void **at) {
    soma_dtype dtype = r->f->dtype;
    if (!r->f->truth && dtype == r->compute && stride == (int64_t)soma_dtype_size(dtype)) {
        *at = p;
        return SOMA_MIN(n, most);
    }
    n = SOMA_MIN(n, SOMA__STAGE);
    (r->f->truth ? stage_truth : soma__stage)(dtype, p, stride, n, buffer);
    *at = buffer;
    return n;
}

static void fold_row(const run *r, const char *p, int64_t n, double shift, double *acc, int64_t *acc_int) {
    int64_t stride = r->f->rstride[r->f->nr - 1];
    double buffer[SOMA__STAGE];
    const void *at;
    for (int64_t i = 0, m; i < n; i += m) {
        m = fetch(r, p + i * stride, stride, n - i, PIECE, buffer, &at);
        if (r->compute == SOMA_F32)
            *acc = join(r->kind, *acc, r->k->row_f32[r->kind](at, m, shift));
        else if (r->compute == SOMA_F64)
            *acc = join(r->kind, *acc, r->k->row_f64[r->kind](at, m, shift));
        else
            *acc_int = join_int(r->kind, *acc_int, r->k->row_i64[r->kind](at, m));
    }
}

static void row_task(const run *r, int64_t task) {
    const soma__fold *f = r->f;
    int64_t o = task / f->segments, s = task % f->segments, inner = f->rshape[f->nr - 1], rows = f->folded / inner;
    int64_t first = s * f->rows_per_segment, last = SOMA_MIN(first + f->rows_per_segment, rows), begin = 0, count = inner;
    if (f->pieces_per_row > 1) {
        first = s / f->pieces_per_row;
        last = first + 1;
        begin = s % f->pieces_per_row * SEGMENT;
        count = SOMA_MIN(SEGMENT, inner - begin);
    }
    const char *base = r->data + offset_of(f->nk, f->kshape, f->kstride, o) + begin * f->rstride[f->nr - 1];
    double acc = neutral(r->kind), shift = r->shift ? r->shift[o] : 0.0;
    int64_t acc_int = neutral_int(r->kind, f->truth);
    for (int64_t row = first; row < last; row++) {
        const char *p = f->nr > 1 ? base + offset_of(f->nr - 1, f->rshape, f->rstride, row) : base;
        fold_row(r, p, count, shift, &acc, &acc_int);
    }
    if (r->compute == SOMA_I64)
        ((int64_t *)r->partial)[s * f->outputs + o] = acc_int;
    else
        ((double *)r->partial)[s * f->outputs + o] = acc;
}

static void fold_columns(const run *r, const char *p, int64_t n, const double *shift, void *acc) {
    int64_t stride = r->f->kstride[r->f->nk - 1];
    double buffer[SOMA__STAGE];
    const void *at;
    fetch(r, p, stride, n, n, buffer, &at);
    if (r->compute == SOMA_F32)
        r->k->col_f32[r->kind](acc, at, n, shift);
    else if (r->compute == SOMA_F64)
        r->k->col_f64[r->kind](acc, at, n, shift);
    else
        r->k->col_i64[r->kind](acc, at, n);
}

static void column_task(const run *r, int64_t task) {
    const soma__fold *f = r->f;
    int64_t s = task % f->segments, width = f->kshape[f->nk - 1], blocks = (width + COLUMNS - 1) / COLUMNS;
    int64_t block = task / f->segments % blocks, outer = task / f->segments / blocks;
    int64_t begin = block * COLUMNS, n = SOMA_MIN(COLUMNS, width - begin), o = outer * width + begin;
    int64_t first = s * f->rows_per_segment, last = SOMA_MIN(first + f->rows_per_segment, f->folded);
    const char *base = r->data + begin * f->kstride[f->nk - 1];
    if (f->nk > 1)
        base += offset_of(f->nk - 1, f->kshape, f->kstride, outer);
    union { double d[COLUMNS]; int64_t l[COLUMNS]; } acc;
    for (int64_t j = 0; j < n; j++) {
        if (r->compute == SOMA_I64)
            acc.l[j] = neutral_int(r->kind, f->truth);
        else
            acc.d[j] = neutral(r->kind);
    }
    int64_t i = first;
    if (r->kind == SOMA__FOLD_SUM && f->dtype == SOMA_F32 && !f->truth && f->nr == 1 &&
        f->kstride[f->nk - 1] == (int64_t)sizeof(float))
        for (; i + SOMA__SUM_ROWS <= last; i += SOMA__SUM_ROWS)
            r->k->sum_rows_f32(acc.d, (const float *)(base + i * f->rstride[0]), f->rstride[0] / (int64_t)sizeof(float), n);
    for (; i < last; i++)
        fold_columns(r, base + offset_of(f->nr, f->rshape, f->rstride, i), n, r->shift ? r->shift + o : NULL, &acc);
    memcpy((double *)r->partial + s * f->outputs + o, &acc, (size_t)n * sizeof(double));
}

static void run_tasks(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    for (int64_t t = begin; t < end; t++)
        (r->f->columns ? column_task : row_task)(r, t);
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static void join_segments(const run *r, void *result) {
    const soma__fold *f = r->f;
    for (int64_t s = 0; s < f->segments; s++)
        for (int64_t o = 0; o < f->outputs; o++) {
            if (r->compute == SOMA_I64) {
                int64_t *to = (int64_t *)result + o, v = ((int64_t *)r->partial)[s * f->outputs + o];
                *to = s ? join_int(r->kind, *to, v) : v;
            } else {
                double *to = (double *)result + o, v = ((double *)r->partial)[s * f->outputs + o];
                *to = s ? join(r->kind, *to, v) : v;
            }
        }
}

void soma__fold_run(const soma__fold *f, soma__fold_kind kind, const void *data, const double *shift, void *result,
                    void *work) {
    run r = {.f = f, .k = soma__reduce_pick(), .kind = kind, .data = data, .shift = shift,
             .compute = f->truth ? SOMA_I64 : soma__compute_dtype(f->dtype), .partial = f->segments > 1 ? work : result};
    if (f->outputs == 0)
        return;
    if (f->folded == 0) {
        for (int64_t o = 0; o < f->outputs; o++) {
            if (r.compute == SOMA_I64)
                ((int64_t *)result)[o] = neutral_int(kind, f->truth);
            else
                ((double *)result)[o] = neutral(kind);
        }
        return;
    }
    int64_t each = SOMA_MAX(1, f->outputs * f->folded / f->tasks); /* elements of a task */
    soma__parallel(f->tasks, SOMA_MAX(1, SEGMENT / each), run_tasks, &r);
    if (f->segments > 1)
        join_segments(&r, result);
}
