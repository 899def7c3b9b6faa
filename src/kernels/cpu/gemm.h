/* Matrix products of any strides, and the tables of kernels behind them. Knows pointers and sizes, no tensors.
 *
 * C = act(A B [+ C] + bias), A is m x k, B is k x n. Each element of C is a sum over k in an order that depends on the sizes
 * and the instruction set alone, so its bits do not depend on threads, batches or strides of C. */
#ifndef SOMA_SRC_GEMM_H
#define SOMA_SRC_GEMM_H

#include <soma/tensor.h>

#include "isa.h"

typedef struct soma__gemm {
    soma_dtype dtype;           /* of A, B, C, bias and mask; f16 and bf16 are summed in f32 and rounded once */
    int64_t m, n, k;
    const void *a, *b;
    int64_t a_row, a_col, b_row, b_col; /* strides in elements; any, so transposes are free */
    void *c;
    int64_t c_row;              /* elements from row to row of C, whose columns lie together */
    bool add;                   /* adds to what is in C */
    bool relu;                  /* after the bias; floats only */
    bool bf16;                  /* f32 only: A and B are rounded to bf16, unless C has one row or column, dot products make it, or
                                   m, n and k are small */
    const void *bias_row, *bias_col; /* floats only: m or n values, together, or NULL; at most one of the two */
    const void *mask;           /* floats only: C's elements become 0 where the mask is not above 0; NULL: no mask */
    int64_t mask_row;
    int64_t batch;              /* number of products; 0 counts as 1 */
    int64_t a_batch, b_batch, c_batch, mask_batch; /* strides from product to product; 0 repeats one (not for C) */
} soma__gemm;

/* Bytes of workspace with which soma__gemm_run uses all of soma_threads(). 0 is possible. */
size_t soma__gemm_work(const soma__gemm *g);
/* `work` is 64-byte aligned and has `bytes` bytes: at least soma__gemm_work at some number of threads; with less than now,
 * fewer threads are used. C must not overlap anything else. */
void soma__gemm_run(const soma__gemm *g, void *work, size_t bytes);

/* ---- Inside: what an instruction set provides (isa/gemm.c) ------------------------------------------------------------ */

/* One tile of C that fits in registers: at most ops->rows by ops->vectors * ops->lanes. */
typedef struct soma__tile {
    int64_t k;
    const void *a;              /* a[i * a_row + p * a_step] */
    int64_t a_row, a_step;
    const void *b;              /* b[p * b_step + j] */
    int64_t b_step;
    void *c;
    int64_t c_row;
    int m, n;
    const int64_t *b_at;        /* not NULL: row p of B is at b + b_at[p] instead; A is packed */
    bool packed;                /* a_row 1, a_step m, b_step the vectors' width: as pack_a and pack_b lay it out */
    bool add;
    bool last;                  /* bias and act below count */
    bool relu;
    const void *bias_row, *bias_col; /* NULL: none */
} soma__tile;

/* Sums along k for C's with few rows or columns, both operands with k together: c[i * c_row + j * c_col] = a[i] . b[j], then bias and
 * act. */
typedef struct soma__dots {
    int64_t m, n, k;
    const void *a, *b;
    int64_t a_row, b_row;
    void *c;
    int64_t c_row, c_col;
    bool add, relu;
    const void *bias_row, *bias_col;
} soma__dots;

typedef struct soma__gemm_ops {
    int rows, vectors, lanes;
    bool masks; /* reads and writes a part of a vector without touching the rest */
    void (*tile)(const soma__tile *t);
    void (*direct)(soma__tile *t); /* m and n of any size, nothing packed; changes t */
    /* `m` rows to dst[p * m + i]; writes up to 64 bytes beyond the end. */
    void (*pack_a)(void *dst, const void *src, int64_t row, int64_t col, int m, int64_t k);
    /* `n` columns to dst[p * width + j], width = n rounded up to lanes, with zeros behind. */
    void (*pack_b)(void *dst, const void *src, int64_t row, int64_t col, int n, int64_t k);
    void (*dots)(const soma__dots *d);
    void (*row)(const soma__dots *d); /* one row: a[p * a_row], b[p * b_row + j], m and c_col are 1 */
    /* dst[j * dst_row + i] = src[i * src_row + j] for `rows` i and `columns` j. */
    void (*turn)(void *dst, int64_t dst_row, const void *src, int64_t src_row, int64_t rows, int64_t columns);
} soma__gemm_ops;

/* Products of pairs of bf16 in 32 bits, with sums in f32. */
typedef struct soma__bf16_ops {
    void (*tile)(const soma__tile *t); /* packed operands only; k counts pairs */
    /* pack_a (`is_a`) or pack_b of value (i, p) at src[i * step_n + p * step_k], f32 or (half) bf16; k counts values, an odd one
     * gets a zero beside it. */
    void (*pack)(bool is_a, void *dst, const void *src, bool half, int64_t step_n, int64_t step_k, int n, int64_t k);
} soma__bf16_ops;

typedef struct soma__gemm_kernels {
    soma__gemm_ops f32, f64;
    const soma__bf16_ops *bf16; /* NULL: none; only where soma__isa_bf16() */
    void (*round_bf16)(float *x, int64_t n); /* f32 to the nearest bf16, kept as f32 */
    void (*from_f16)(float *dst, const uint16_t *src, int64_t n);
    void (*to_f16)(uint16_t *dst, const float *src, int64_t n);
    void (*from_bf16)(float *dst, const uint16_t *src, int64_t n);
    void (*to_bf16)(uint16_t *dst, const float *src, int64_t n);
} soma__gemm_kernels;
SOMA__FAMILY(soma__gemm_kernels, soma__gemm)

/* Splits `n` into the fewest parts of at most `most`, all nearly equal: the start of part `i` of `parts`. */
static inline int64_t soma__parts(int64_t n, int64_t most) { return (n + most - 1) / most; }
static inline int64_t soma__part(int64_t n, int64_t parts, int64_t i) { return n / parts * i + (n % parts * i) / parts; }

#endif
