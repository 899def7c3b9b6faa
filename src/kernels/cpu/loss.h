/* Losses of single elements: y[i] = loss(x[i], t[i]). */
#ifndef SOMA_SRC_KERNELS_LOSS_H
#define SOMA_SRC_KERNELS_LOSS_H

#include "kernels/cpu/isa.h"

#include <stdint.h>

/* (x - t)^2; |x - t|; max(x, 0) - x t + log(1 + exp(-|x|)) */
typedef enum soma__loss_kind { SOMA__LOSS_SQUARE, SOMA__LOSS_ABSOLUTE, SOMA__LOSS_LOGISTIC, SOMA__LOSS_COUNT } soma__loss_kind;
typedef struct soma__loss_kernels {
    void (*f32[SOMA__LOSS_COUNT])(const float *x, const float *t, float *y, int64_t n);
    void (*f64[SOMA__LOSS_COUNT])(const double *x, const double *t, double *y, int64_t n);
} soma__loss_kernels;
SOMA__FAMILY(soma__loss_kernels, soma__loss)

#endif
