/* Loops of batch_norm over rows of channels. They wait for memory, so sums may live in the first-level cache. */
#include "kernels/cpu/norm.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

static void stats(const float *restrict x, int64_t rows, int64_t n, float *restrict mean, float *restrict sqdev) {
    memset(mean, 0, (size_t)n * sizeof *mean);
    memset(sqdev, 0, (size_t)n * sizeof *sqdev);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < n; k++)
            mean[k] += x[r * n + k];
    for (int64_t k = 0; k < n; k++)
        mean[k] /= (float)rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < n; k++) {
            const float d = x[r * n + k] - mean[k];
            sqdev[k] += d * d;
        }
}

/* Chan, Golub & LeVeque 1983: statistics of `a` and of `b` elements to those of all. */
INLINE void merge_of(int64_t n, double a, double b, const double *restrict mean, const double *restrict sqdev, double *restrict all_mean,
                     double *restrict all_sqdev) {
    const double part = b / (a + b), both = a * part;
    for (int64_t k = 0; k < n; k++) {
        const double d = mean[k] - all_mean[k];
        all_mean[k] += d * part;
        all_sqdev[k] += sqdev[k] + d * d * both;
    }
}
static void merge(int64_t n, double a, double b, const double *mean, const double *sqdev, double *all_mean, double *all_sqdev) {
    merge_of(n, a, b, mean, sqdev, all_mean, all_sqdev);
}
static void merge_floats(int64_t n, double a, double b, const float *mean, const float *sqdev, double *all_mean, double *all_sqdev) {
    double m[64], s[64];
    for (int64_t at = 0; at < n; at += 64) {
        const int64_t w = n - at < 64 ? n - at : 64;
        for (int64_t k = 0; k < w; k++) {
            m[k] = (double)mean[at + k];
            s[k] = (double)sqdev[at + k];
        }
        merge_of(w, a, b, m, s, all_mean + at, all_sqdev + at);
    }
}

INLINE float relu_of(float v) { return v > 0 ? v : v != v ? v : 0; }

INLINE void affine_rows(const float *restrict x, const float *restrict add, float *restrict y, int64_t rows, int64_t n,
                        const soma__norm_line *l, const bool relu, const bool adds) {
    const float *restrict m = l->mean, *restrict s = l->scale, *restrict b = l->shift;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < n; k++) {
            float v = (x[r * n + k] - m[k]) * s[k] + b[k];
            v = adds ? v + add[r * n + k] : v;
            y[r * n + k] = relu ? relu_of(v) : v;
        }
}

static void affine(const float *x, const float *add, float *y, int64_t rows, int64_t n, const soma__norm_line *l, bool relu) {
    if (add && relu)
        affine_rows(x, add, y, rows, n, l, true, true);
    else if (relu)
        affine_rows(x, add, y, rows, n, l, true, false);
    else
        affine_rows(x, add, y, rows, n, l, false, false);
}

/* g times relu's slope at v, in the order of the operators. */
INLINE float through(float g, float v) { return g * (v <= 0 ? 0.0f : 1.0f); }

INLINE void sums_rows(const float *restrict g, const float *restrict x, const float *restrict y, float *restrict masked, int64_t rows,
                      int64_t n, const soma__norm_line *l, float *restrict sum, float *restrict product, const soma__norm_mask mask) {
    const float *restrict m = l->mean, *restrict s = l->scale, *restrict b = l->shift;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < n; k++) {
            const float d = x[r * n + k] - m[k];
            float v = g[r * n + k];
            if (mask == SOMA__MASK_OF_X)
                v = through(v, d * s[k] + b[k]);
            if (mask == SOMA__MASK_OF_Y)
                masked[r * n + k] = v = through(v, y[r * n + k]);
            sum[k] += v;
            product[k] += v * d;
        }
}

static void grad_sums(const float *g, const float *x, const float *y, float *masked, int64_t rows, int64_t n, const soma__norm_line *l,
                      soma__norm_mask mask, float *part, double *restrict sum, double *restrict product) {
    memset(part, 0, 2 * (size_t)n * sizeof *part);
    if (mask == SOMA__MASK_OF_X)
        sums_rows(g, x, y, masked, rows, n, l, part, part + n, SOMA__MASK_OF_X);
    else if (mask == SOMA__MASK_OF_Y)
        sums_rows(g, x, y, masked, rows, n, l, part, part + n, SOMA__MASK_OF_Y);
    else
        sums_rows(g, x, y, masked, rows, n, l, part, part + n, SOMA__MASK_NONE);
    for (int64_t k = 0; k < n; k++) {
        sum[k] += (double)part[k];
        product[k] += (double)part[n + k];
    }
}

INLINE void grad_rows(const float *restrict g, const float *restrict x, float *restrict gx, int64_t rows, int64_t n,
                      const soma__norm_line *l, const soma__norm_line *f, const bool masks) {
    const float *restrict m = l->mean, *restrict s = l->scale, *restrict b = l->shift;
    const float *restrict mg = f->mean, *restrict k2 = f->scale, *restrict k1 = f->shift;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < n; k++) {
            const float d = x[r * n + k] - m[k], v = masks ? through(g[r * n + k], d * s[k] + b[k]) : g[r * n + k];
            gx[r * n + k] = (v - mg[k] - d * k2[k]) * k1[k];
        }
}

static void grad(const float *g, const float *x, float *gx, int64_t rows, int64_t n, const soma__norm_line *l, const soma__norm_line *f,
                 bool masks) {
    if (masks)
        grad_rows(g, x, gx, rows, n, l, f, true);
    else
        grad_rows(g, x, gx, rows, n, l, f, false);
}

const soma__norm_last_kernels SOMA__ISA(soma__norm_last) = {.stats = stats, .merge = merge, .merge_floats = merge_floats, .affine = affine,
                                                            .grad_sums = grad_sums, .grad = grad};
