/* Gather and scatter. Lanes are taken in blocks; inside a block the loop over the indexed dimension is the outer one, so
 * that lanes that lie side by side in memory are read and written side by side. */
#include "kernels/cpu/lanes.h"

#include <string.h>

enum {
    BLOCK = 256,
    GRAIN_ELEMENTS = 1 << 14,
    AHEAD = 8
};

typedef struct block {
    int n;
    bool together;                                /* lanes are neighbours in `to` and `from`, and share their indices */
    int64_t to[BLOCK], from[BLOCK], index[BLOCK]; /* where each lane begins, in elements */
} block;

static void find_lanes(const soma__lanes *l, int64_t first, int n, block *b) {
    b->n = n;
    b->together = true;
    for (int k = 0; k < n; k++) {
        int64_t rest = first + k;
        b->to[k] = b->from[k] = b->index[k] = 0;
        for (int d = l->ndim - 1; d >= 0; d--) {
            if (d == l->dim)
                continue;
            int64_t at = rest % l->shape[d];
            rest /= l->shape[d];
            b->to[k] += at * l->to_stride[d];
            b->from[k] += at * l->from_stride[d];
            b->index[k] += at * l->index_stride[d];
        }
        b->together = b->together && b->to[k] == b->to[0] + k && b->from[k] == b->from[0] + k && b->index[k] == b->index[0];
    }
}

static inline int64_t load_index(const soma__lanes *l, int64_t at) {
    return l->index_dtype == SOMA_I64 ? ((const int64_t *)l->index)[at] : ((const int32_t *)l->index)[at];
}

/* ---- Gather: elements are only moved, so their size is all that matters ----------------------------------------- */

/* Places are anywhere: the lines of a row that is AHEAD are asked for meanwhile. */
static inline void fetch(const char *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + i);
}

static inline __attribute__((always_inline)) void gather_block(const soma__lanes *l, const block *b, size_t size, int64_t begin, int64_t end) {
    int64_t ts = l->to_stride[l->dim], fs = l->from_stride[l->dim], is = l->index_stride[l->dim];
    char *to = l->to;
    const char *from = l->from;
    for (int64_t i = begin; i < end; i++) {
        if (b->together) {
            int64_t at = b->from[0] + load_index(l, b->index[0] + i * is) * fs;
            if (i + AHEAD < end)
                fetch(from + (b->from[0] + load_index(l, b->index[0] + (i + AHEAD) * is) * fs) * (int64_t)size, (size_t)b->n * size);
            memcpy(to + (b->to[0] + i * ts) * (int64_t)size, from + at * (int64_t)size, (size_t)b->n * size);
            continue;
        }
        for (int k = 0; k < b->n; k++) {
            int64_t at = b->from[k] + load_index(l, b->index[k] + i * is) * fs;
            memcpy(to + (b->to[k] + i * ts) * (int64_t)size, from + at * (int64_t)size, size);
        }
    }
}

static void gather_lanes(const soma__lanes *l, const block *b, int64_t begin, int64_t end) {
    switch (soma_dtype_size(l->dtype)) {
    case 1: gather_block(l, b, 1, begin, end); break;
    case 2: gather_block(l, b, 2, begin, end); break;
    case 4: gather_block(l, b, 4, begin, end); break;
    default: gather_block(l, b, 8, begin, end); break;
    }
}

static void gather_range(void *arg, int64_t begin, int64_t end) {
    const soma__lanes *l = arg;
    block b;
    for (int64_t first = begin; first < end; first += BLOCK) {
        find_lanes(l, first, (int)SOMA_MIN(BLOCK, end - first), &b);
        gather_lanes(l, &b, 0, l->shape[l->dim]);
    }
}

typedef struct few {
    const soma__lanes *l;
    block b;
} few;

/* Few lanes: their indices are shared out instead. */
static void gather_rows(void *arg, int64_t begin, int64_t end) {
    const few *f = arg;
    gather_lanes(f->l, &f->b, begin, end);
}

/* ---- Put: the other way; of several that go to one place the last stays ---- */

static inline __attribute__((always_inline)) void put_block(const soma__lanes *l, const block *b, size_t size) {
    int64_t n = l->shape[l->dim], ts = l->to_stride[l->dim], fs = l->from_stride[l->dim], is = l->index_stride[l->dim];
    char *to = l->to;
    const char *from = l->from;
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < b->n; k++) {
            int64_t at = b->to[k] + load_index(l, b->index[k] + i * is) * ts;
            memcpy(to + at * (int64_t)size, from + (b->from[k] + i * fs) * (int64_t)size, size);
        }
}

static void put_range(void *arg, int64_t begin, int64_t end) {
    const soma__lanes *l = arg;
    block b;
    for (int64_t first = begin; first < end; first += BLOCK) {
        find_lanes(l, first, (int)SOMA_MIN(BLOCK, end - first), &b);
        switch (soma_dtype_size(l->dtype)) {
        case 1: put_block(l, &b, 1); break;
        case 2: put_block(l, &b, 2); break;
        case 4: put_block(l, &b, 4); break;
        default: put_block(l, &b, 8); break;
        }
    }
}

/* ---- Add -------------------------------------------------------------------------------------------------------- */

/* Integers wrap around, as PyTorch's: U is the unsigned type in which that is defined. */
#define ADD_BLOCK(T, U)                                                                                                     \
    static void add_block_##T(const soma__lanes *l, const block *b) {                                                       \
        int64_t n = l->shape[l->dim], ts = l->to_stride[l->dim], fs = l->from_stride[l->dim], is = l->index_stride[l->dim]; \
        for (int64_t i = 0; i < n; i++) {                                                                                   \
            T *to = l->to;                                                                                                  \
            const T *from = (const T *)l->from + i * fs;                                                                    \
            if (b->together) {                                                                                              \
                T *restrict t = to + b->to[0] + load_index(l, b->index[0] + i * is) * ts;                                   \
                const T *restrict f = from + b->from[0];                                                                    \
                for (int k = 0; k < b->n; k++)                                                                              \
                    t[k] = (T)((U)t[k] + (U)f[k]);                                                                          \
                continue;                                                                                                   \
            }                                                                                                               \
            for (int k = 0; k < b->n; k++) {                                                                                \
                T *t = to + b->to[k] + load_index(l, b->index[k] + i * is) * ts;                                            \
                *t = (T)((U)*t + (U)from[b->from[k]]);                                                                      \
            }                                                                                                               \
        }                                                                                                                   \
    }
ADD_BLOCK(float, float)
ADD_BLOCK(double, double)
ADD_BLOCK(int64_t, uint64_t)
ADD_BLOCK(int32_t, uint32_t)
ADD_BLOCK(int16_t, uint32_t)
ADD_BLOCK(int8_t, uint32_t)
ADD_BLOCK(uint8_t, uint32_t)

static void add_range(void *arg, int64_t begin, int64_t end) {
    const soma__lanes *l = arg;
    block b;
    for (int64_t first = begin; first < end; first += BLOCK) {
        find_lanes(l, first, (int)SOMA_MIN(BLOCK, end - first), &b);
        switch (l->dtype) {
        case SOMA_F32: add_block_float(l, &b); break;
        case SOMA_F64: add_block_double(l, &b); break;
        case SOMA_I64: add_block_int64_t(l, &b); break;
        case SOMA_I32: add_block_int32_t(l, &b); break;
        case SOMA_I16: add_block_int16_t(l, &b); break;
        case SOMA_I8: add_block_int8_t(l, &b); break;
        default: add_block_uint8_t(l, &b); break;
        }
    }
}

/* ---- Product, largest, smallest: f32, f64, i64 ---- */

#define FOLD_BLOCK(T, U)                                                                                                    \
    static void fold_block_##T(const soma__lanes *l, const block *b) {                                                      \
        int64_t n = l->shape[l->dim], ts = l->to_stride[l->dim], fs = l->from_stride[l->dim], is = l->index_stride[l->dim]; \
        for (int64_t i = 0; i < n; i++)                                                                                     \
            for (int k = 0; k < b->n; k++) {                                                                                \
                T *t = (T *)l->to + b->to[k] + load_index(l, b->index[k] + i * is) * ts;                                    \
                T v = ((const T *)l->from)[b->from[k] + i * fs];                                                            \
                if (l->fold == SOMA__LANES_PROD)                                                                            \
                    *t = (T)((U)*t * (U)v);                                                                                 \
                else if ((l->fold == SOMA__LANES_MAX ? v > *t : v < *t) || v != v)                                          \
                    *t = v;                                                                                                 \
            }                                                                                                               \
    }
FOLD_BLOCK(float, float)
FOLD_BLOCK(double, double)
FOLD_BLOCK(int64_t, uint64_t)

static void fold_range(void *arg, int64_t begin, int64_t end) {
    const soma__lanes *l = arg;
    block b;
    for (int64_t first = begin; first < end; first += BLOCK) {
        find_lanes(l, first, (int)SOMA_MIN(BLOCK, end - first), &b);
        if (l->dtype == SOMA_F32)
            fold_block_float(l, &b);
        else if (l->dtype == SOMA_F64)
            fold_block_double(l, &b);
        else
            fold_block_int64_t(l, &b);
    }
}

static void run(const soma__lanes *l, soma__range_fn fn) {
    int64_t lanes = 1;
    for (int d = 0; d < l->ndim; d++)
        if (l->shape[d] == 0)
            return;
    for (int d = 0; d < l->ndim; d++)
        lanes *= d == l->dim ? 1 : l->shape[d];
    soma__parallel(lanes, SOMA_MAX(BLOCK / 4, GRAIN_ELEMENTS / l->shape[l->dim]), fn, (void *)l);
}

void soma__lanes_gather(const soma__lanes *l) {
    int64_t lanes = 1, n = l->shape[l->dim];
    for (int d = 0; d < l->ndim; d++)
        lanes *= d == l->dim ? 1 : l->shape[d];
    if (lanes == 0 || lanes > BLOCK || n == 0) {
        run(l, gather_range);
        return;
    }
    few f = {.l = l};
    find_lanes(l, 0, (int)lanes, &f.b);
    soma__parallel(n, SOMA_MAX(1, GRAIN_ELEMENTS / lanes), gather_rows, &f);
}
void soma__lanes_add(const soma__lanes *l) { run(l, add_range); }
void soma__lanes_put(const soma__lanes *l) { run(l, put_range); }
void soma__lanes_fold(const soma__lanes *l) { run(l, fold_range); }
