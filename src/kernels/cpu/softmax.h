/* Softmax, log-softmax and what cross-entropy needs of them. "Rows": n classes side by side. "Columns": classes lie `stride`
 * elements apart, and w <= SOMA__SOFTMAX_COLUMNS neighbouring positions are done together. */
#ifndef SOMA_SRC_KERNELS_SOFTMAX_H
#define SOMA_SRC_KERNELS_SOFTMAX_H

#include "kernels/cpu/isa.h"

#include <stdbool.h>
#include <stdint.h>

enum { SOMA__SOFTMAX_COLUMNS = 64 };

/* The same functions for f32 and f64. */
#define SOMA__SOFTMAX_TABLE(T)                                                                                                 \
    struct {                                                                                                                   \
        /* y = softmax(x), or its logarithm. */                                                                                \
        void (*rows)(const T *x, T *y, int64_t rows, int64_t n, bool logarithm);                                                     \
        void (*columns)(const T *x, T *y, int64_t n, int64_t stride, int64_t w, bool logarithm);                                     \
        /* gx = y (g - sum(g y)), or g - exp(y) sum(g). */                                                                     \
        void (*rows_backward)(const T *g, const T *y, T *gx, int64_t rows, int64_t n, bool logarithm);                               \
        void (*columns_backward)(const T *g, const T *y, T *gx, int64_t n, int64_t stride, int64_t w, bool logarithm);               \
        /* lse = log(sum(exp(x))). */                                                                                          \
        void (*rows_lse)(const T *x, T *lse, int64_t rows, int64_t n);                                                         \
        void (*columns_lse)(const T *x, T *lse, int64_t n, int64_t stride, int64_t w);                                         \
        /* y = scale exp(x - lse), a scale and an lse a position. */                                                           \
        void (*rows_scaled)(const T *x, const T *lse, const T *scale, T *y, int64_t rows, int64_t n);                          \
        void (*columns_scaled)(const T *x, const T *lse, const T *scale, T *y, int64_t n, int64_t stride, int64_t w);          \
    }
typedef struct soma__softmax_kernels {
    SOMA__SOFTMAX_TABLE(float) f32;
    SOMA__SOFTMAX_TABLE(double) f64;
} soma__softmax_kernels;
SOMA__FAMILY(soma__softmax_kernels, soma__softmax)

#endif
