/* Inner loops of reductions. Floats are folded in f32 or f64 lanes whose number is fixed, so that a row has the same bits on
 * every instruction set and for every number of threads; results are doubles, so that partial results lose nothing. */
#ifndef SOMA_SRC_KERNELS_REDUCE_H
#define SOMA_SRC_KERNELS_REDUCE_H

#include "kernels/cpu/isa.h"

#include <stdint.h>

/* sqdev: sum of (x - shift)^2; expsum: sum of exp(x - shift). Largest and smallest keep NaN. */
typedef enum soma__fold_kind {
    SOMA__FOLD_SUM, SOMA__FOLD_PROD, SOMA__FOLD_MAX, SOMA__FOLD_MIN, SOMA__FOLD_SQDEV, SOMA__FOLD_EXPSUM, SOMA__FOLD_COUNT
} soma__fold_kind;

enum { SOMA__SUM_ROWS = 8 };
typedef struct soma__reduce_kernels {
    /* One row of n >= 1 elements that lie together. */
    double (*row_f32[SOMA__FOLD_COUNT])(const float *x, int64_t n, double shift);
    double (*row_f64[SOMA__FOLD_COUNT])(const double *x, int64_t n, double shift);
    int64_t (*row_i64[SOMA__FOLD_SQDEV])(const int64_t *x, int64_t n);
    /* acc[j] = fold(acc[j], x[j]) for n columns; shift[j] belongs to column j. */
    void (*col_f32[SOMA__FOLD_COUNT])(double *acc, const float *x, int64_t n, const double *shift);
    void (*col_f64[SOMA__FOLD_COUNT])(double *acc, const double *x, int64_t n, const double *shift);
    void (*col_i64[SOMA__FOLD_SQDEV])(int64_t *acc, const int64_t *x, int64_t n);
    /* acc[j] += the sum in f32 of x[j] in SOMA__SUM_ROWS rows, `stride` elements apart. */
    void (*sum_rows_f32)(double *acc, const float *x, int64_t stride, int64_t n);
} soma__reduce_kernels;
SOMA__FAMILY(soma__reduce_kernels, soma__reduce)

#endif
