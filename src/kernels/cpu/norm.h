/* Inner loops of batch_norm and layer_norm; sums and squared deviations of rows are those of reduce.h. */
#ifndef SOMA_SRC_KERNELS_NORM_H
#define SOMA_SRC_KERNELS_NORM_H

#include "kernels/cpu/isa.h"

#include <stdbool.h>
#include <stdint.h>

/* One table for f32 and one for f64: all pointers are to elements of that dtype, but the sums, which are double.
 * "_columns": mean, scale … are a number each of the n columns. */
enum { SOMA__NORM_ROWS = 4 };
typedef struct soma__norm_table {
    /* y = (x - mean) scale + shift */
    void (*affine)(const void *x, void *y, int64_t n, double mean, double scale, double shift);
    void (*affine_columns)(const void *x, void *y, int64_t n, const void *mean, const void *scale, const void *shift);
    /* y = (x - mean) rstd w + b; w and b a number a column */
    void (*affine_row)(const void *x, void *y, int64_t n, double mean, double rstd, const void *w, const void *b);
    /* sums[0] += sum g, sums[1] += sum g (x - mean); with w: g times w */
    void (*grad_sums)(const void *g, const void *x, const void *w, int64_t n, double mean, double sums[2]);
    void (*grad_sums_columns)(const void *g, const void *x, int64_t n, const void *mean, double *sum, double *product);
    /* gx = (g - mg - (x - mean) k2) k1 */
    void (*grad)(const void *g, const void *x, void *gx, int64_t n, double mean, double mg, double k2, double k1);
    void (*grad_columns)(const void *g, const void *x, void *gx, int64_t n, const void *mean, const void *mg, const void *k2,
                         const void *k1);
    /* gx = (g w - mg - (x - mean) k2) k1; w a number a column */
    void (*grad_row)(const void *g, const void *x, const void *w, void *gx, int64_t n, double mean, double mg, double k2, double k1);
    /* gb += g, gw += g (x - mean) rstd, of up to SOMA__NORM_ROWS rows */
    void (*grad_weights)(const void *g, const void *x, int64_t rows, int64_t n, const void *mean, const void *rstd, double *gw, double *gb);
} soma__norm_table;
typedef struct soma__norm_kernels {
    soma__norm_table f32, f64;
} soma__norm_kernels;
SOMA__FAMILY(soma__norm_kernels, soma__norm)

/* isa/norm_last.c: batch_norm of f32 over `rows` rows of n channels that lie together, with relu behind it or not. */
typedef struct soma__norm_line {
    float *mean, *scale, *shift; /* a number a channel */
} soma__norm_line;
typedef enum soma__norm_mask { SOMA__MASK_NONE, SOMA__MASK_OF_X, SOMA__MASK_OF_Y } soma__norm_mask;
typedef struct soma__norm_last_kernels {
    /* Mean and sum of squared deviations from it, of few rows: sums are kept in f32. */
    void (*stats)(const float *x, int64_t rows, int64_t n, float *mean, float *sqdev);
    /* Statistics of b rows into those of `all`, of a rows. */
    void (*merge)(int64_t n, double a, double b, const double *mean, const double *sqdev, double *all_mean, double *all_sqdev);
    void (*merge_floats)(int64_t n, double a, double b, const float *mean, const float *sqdev, double *all_mean, double *all_sqdev);
    /* y = (x - mean) scale + shift, [+ add], [relu]; add only with relu */
    void (*affine)(const float *x, const float *add, float *y, int64_t rows, int64_t n, const soma__norm_line *l, bool relu);
    /* sum += g, product += g (x - mean), of few rows; behind relu g counts where y > 0, which is worked out from x or read and then written to
     * `masked`. part: room for 2 n numbers. */
    void (*grad_sums)(const float *g, const float *x, const float *y, float *masked, int64_t rows, int64_t n, const soma__norm_line *l,
                      soma__norm_mask mask, float *part, double *sum, double *product);
    /* gx = (g - f.mean - (x - mean) f.scale) f.shift; masks: g as in MASK_OF_X */
    void (*grad)(const float *g, const float *x, float *gx, int64_t rows, int64_t n, const soma__norm_line *l, const soma__norm_line *f,
                 bool masks);
} soma__norm_last_kernels;
SOMA__FAMILY(soma__norm_last_kernels, soma__norm_last)

#endif
