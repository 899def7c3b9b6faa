/* The normalisations share a family: norm.c (batch_norm) lists those of layer_norm.c. */
#ifndef SOMA_SRC_NORM_H
#define SOMA_SRC_NORM_H

#include "kernels/cpu/norm.h"
#include "kernels/cpu/reduce.h"
#include "ops/dense.h"

enum { X, WEIGHT, BIAS }; /* inputs of both */
/* Gradients of both: by the fused operator, or in operators where the graph goes on. */
void soma__norm_gradient(soma_grad_args *g, const soma_op *op, void (*in_operators)(soma_grad_args *));

/* The gradient of batch_norm in operators. */
void soma__batch_norm_rule(soma_grad_args *g);

extern const soma_op soma__layer_norm_op, soma__layer_norm_backward_op;

/* Row sums and inner loops of one dtype behind pointers to anything. */
typedef struct soma__norm_set {
    bool f64;
    size_t size;
    const soma__reduce_kernels *reduce;
    const soma__norm_table *norm;
} soma__norm_set;
soma__norm_set soma__norm_pick_set(const soma_tensor *x);
/* Sum of n >= 0 elements side by side, and of their squared distance to `mean`. */
double soma__row_sum(const soma__norm_set *k, const char *x, int64_t n);
double soma__row_sqdev(const soma__norm_set *k, const char *x, int64_t n, double mean);
static inline double soma__get(const soma__norm_set *k, const void *p, int64_t i) {
    return k->f64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}
static inline void soma__put(const soma__norm_set *k, void *p, int64_t i, double v) {
    if (k->f64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}
/* weight and bias: x's dtype, or f32 beside f16 and bf16; of `shape`. Records the error for `name`. */
bool soma__check_affine(const char *op, const char *name, const soma_tensor *x, const soma_tensor *t, int ndim,
                        const int64_t *shape);

#endif
