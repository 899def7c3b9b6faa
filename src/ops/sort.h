/* What operators along one dimension share: lines, sorting, choosing an element of each line. */
#ifndef SOMA_SRC_SORT_H
#define SOMA_SRC_SORT_H

#include "ops/op.h"

/* A tensor seen as lines along one dimension. */
typedef struct soma__lines {
    const soma_tensor *x;
    int dim, ndim;                                       /* ndim: of the others */
    int64_t shape[SOMA_MAX_DIMS], stride[SOMA_MAX_DIMS]; /* of the other dimensions; bytes */
    int64_t count, n, inner, step; /* lines; elements of one; row-major step in a result; bytes between elements of x */
} soma__lines;
soma__lines soma__lines_of(const char *op, const soma_tensor *x, int64_t dim);
const char *soma__line_start(const soma__lines *l, int64_t line);
/* Place of a line's first element in a row-major result with n elements along the dimension. */
static inline int64_t soma__line_out(const soma__lines *l, int64_t line, int64_t n) { return line / l->inner * l->inner * n + line % l->inner; }

/* soma_sort as a truth value. */
bool soma__sorted(soma_tensor *x, int64_t dim, bool descending, soma_tensor **values, soma_tensor **indices);
/* Gradient of operators whose output 1 says along `dim` where output 0 came from. */
void soma__chosen_backward(soma_grad_args *g, int64_t dim);
/* The element of each line that `index` (x's shape with 1 along dim) names, and the index; both without the dimension unless `keep`. */
bool soma__choose(soma_args *a, soma_tensor *x, int64_t dim, soma_tensor *index, bool keep);
/* The optional attribute i "dim": none is SOMA_NO_DIM. */
int64_t soma__optional_dim(const soma_args *a, int i);
#define SOMA__DIM_OR_ALL(help) SOMA_DEF_INTS("dim", help, 0, 0)

extern const soma_op soma__sort_op, soma__euclidean_op;
extern soma_op_list soma__order_ops, soma__count_ops, soma__sums_ops, soma__distance_ops;

#endif
