/* What the shape, indexing, pooling and random families share. */
#ifndef SOMA_SRC_OPS_SHAPE_H
#define SOMA_SRC_OPS_SHAPE_H

#include "ops/op.h"

/* A list as attribute. False, with the error recorded, when it has more than SOMA_MAX_DIMS entries. */
bool soma__ints_attr(soma_attr *attr, const char *op, const char *name, int n, const int64_t *values);
/* Zeros of `shape` with g at start, start + step, … along `dim`: the gradient of slice. */
soma_tensor *soma__slice_backward(soma_tensor *g, int ndim, const int64_t *shape, int64_t dim, int64_t start, int64_t step);

/* The kernel of views: a row-major copy of what the view shows. They do not need one to run, but each entry has one. */
const char *soma__view_kernel(soma_args *a);
/* The bad input of operators that take everything: no input at all. */
bool soma__no_input_error(int i, soma_sample *s);
/* Shape rule of operators without inputs: attribute `shape` is the result's shape, attribute `dtype` its dtype. */
bool soma__shape_attr(soma_args *a, int shape, int dtype, soma_meta *out);

/* Samples of operators with one input and integer attributes: the input's shape, then the values of the only attribute when
 * that is a list, else of the first `n` attributes. With `error` the case belongs to errors(); its status is SOMA_ESHAPE if
 * not given. */
typedef struct soma__case {
    int ndim;
    int64_t shape[4];
    int n;
    int64_t values[4];
    const char *error;
    soma_status status;
} soma__case;
/* The i-th of n cases as a sample; every second one over strides that are not row-major. */
bool soma__sample_case(int i, const soma__case *cases, int n, const soma_attr_info *attrs, soma_dtype dtype, soma_sample *s);

extern soma_op_list soma__advanced_ops, soma__parts_ops, soma__diagonal_ops, soma__grid_ops, soma__shape_ops, soma__slice_ops, soma__join_ops,
    soma__index_ops, soma__pool_ops, soma__random_ops,
    soma__create_ops;

#endif
