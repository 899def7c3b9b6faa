/* What the shape and indexing families share. */
#ifndef SOMA_SRC_OPS_SHAPE_H
#define SOMA_SRC_OPS_SHAPE_H

#include "ops/op.h"

/* A list as attribute. False, with the error recorded, when it has more than SOMA_MAX_DIMS entries. */
bool soma__ints_attr(soma_attr *attr, const char *op, const char *name, int n, const int64_t *values);
/* Zeros of `shape` with g at start, start + step, … along `dim`: the gradient of slice. */
soma_tensor *soma__slice_backward(soma_tensor *g, int ndim, const int64_t *shape, int64_t dim, int64_t start, int64_t step);

extern soma_op_list soma__shape_ops, soma__index_ops, soma__pool_ops, soma__random_ops;

#endif
