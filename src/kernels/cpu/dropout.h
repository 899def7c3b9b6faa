/* Dropout: element i is kept when word i % 4 of Philox block i / 4 of (seed, stream) is at least `threshold`. */
#ifndef SOMA_SRC_KERNELS_DROPOUT_H
#define SOMA_SRC_KERNELS_DROPOUT_H

#include "kernels/cpu/isa.h"

#include <stdint.h>

typedef struct soma__dropout_kernels {
    /* mask[i - first] = kept, for n elements from `first`, a multiple of 4. */
    void (*mask)(uint64_t seed, uint64_t stream, int64_t first, int64_t n, uint32_t threshold, uint8_t *mask);
    /* y = x * (mask ? scale : 0) */
    void (*scale_f32)(const float *x, const uint8_t *mask, float *y, int64_t n, float scale);
    void (*scale_f64)(const double *x, const uint8_t *mask, double *y, int64_t n, double scale);
} soma__dropout_kernels;
SOMA__FAMILY(soma__dropout_kernels, soma__dropout)

#endif
