/* Inner loops of the optimisers' updates and of gradient norms, once per instruction set. */
#ifndef SOMA_SRC_KERNELS_OPTIM_H
#define SOMA_SRC_KERNELS_OPTIM_H

#include "kernels/cpu/isa.h"

#include <stdbool.h>
#include <stdint.h>

/* p -= lr * d, with d from g, weight decay and momentum as torch.optim.SGD. */
typedef struct soma__sgd_numbers {
    double lr, momentum, dampening, weight_decay;
    bool nesterov, first; /* first: the buffer is filled with the gradient */
} soma__sgd_numbers;

/* As torch.optim.Adam and AdamW; the bias corrections are in step_size and denominator. */
typedef struct soma__adam_numbers {
    double beta1, beta2, eps, weight_decay; /* weight_decay: into the gradient */
    double keep;                            /* decoupled decay: the parameter is multiplied by this, 1: none */
    double step_size;                       /* lr / (1 - beta1^step) */
    double root;                            /* sqrt(1 - beta2^step) */
} soma__adam_numbers;

/* Arrays without gaps. Every element goes through the same operations whatever range it is in. `buffer` may be NULL. */
typedef struct soma__optim_kernels {
    void (*sgd_f32)(const soma__sgd_numbers *c, float *p, const float *g, float *buffer, int64_t n);
    void (*sgd_f64)(const soma__sgd_numbers *c, double *p, const double *g, double *buffer, int64_t n);
    void (*adam_f32)(const soma__adam_numbers *c, float *p, const float *g, float *m, float *v, int64_t n);
    void (*adam_f64)(const soma__adam_numbers *c, double *p, const double *g, double *m, double *v, int64_t n);
    /* The sum of squares in f64, in sixteen running sums: the same bits on every instruction set. */
    double (*squares_f32)(const float *g, int64_t n);
    double (*squares_f64)(const double *g, int64_t n);
} soma__optim_kernels;
SOMA__FAMILY(soma__optim_kernels, soma__optim_kernels)

#endif
