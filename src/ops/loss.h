/* What the two halves of the losses share: classes.c (cross_entropy, nll_loss) and loss.c (element by element). */
#ifndef SOMA_SRC_LOSS_H
#define SOMA_SRC_LOSS_H

#include "ops/op.h"

extern const soma_op soma__cross_entropy_op, soma__cross_entropy_backward_op, soma__nll_loss_op, soma__class_coefficients_op;

#define SOMA__REDUCTION_ATTR SOMA_DEF_INT("reduction", SOMA_MEAN, "0: mean, 1: sum, 2: none")
/* False with an error unless `reduction` is one of the three. */
bool soma__check_reduction(const char *op, int64_t reduction);
/* The sum of n values of f32 or f64: pieces of a fixed size, in order. */
double soma__sum_values(const void *values, int64_t n, bool f64);
soma_loss_opts soma__loss_defaults(const soma_loss_opts *opts);

#endif
