/* Moving and adding elements at places that an index tensor names, along one dimension. */
#ifndef SOMA_SRC_KERNELS_LANES_H
#define SOMA_SRC_KERNELS_LANES_H

#include "tensor/tensor.h"

/* Over `shape`: gather is  to[…, i, …] = from[…, index[…, i, …], …];  add is  to[…, index[…, i, …], …] += from[…, i, …].
 * Strides in elements; the index's may be 0. A "lane" is all that differs in `dim` only. Lanes never meet in an output, and
 * within one the elements come in the order of i: the result does not depend on the number of threads. */
typedef enum soma__lanes_kind { SOMA__LANES_PROD, SOMA__LANES_MAX, SOMA__LANES_MIN } soma__lanes_kind;
typedef struct soma__lanes {
    int ndim, dim;
    int64_t shape[SOMA_MAX_DIMS];
    int64_t to_stride[SOMA_MAX_DIMS], from_stride[SOMA_MAX_DIMS], index_stride[SOMA_MAX_DIMS];
    void *to;
    const void *from, *index;
    soma_dtype dtype, index_dtype; /* index: i64 or i32, all in range */
    soma__lanes_kind fold;         /* soma__lanes_fold */
} soma__lanes;

void soma__lanes_gather(const soma__lanes *l);
/* f32, f64 and integers. */
void soma__lanes_add(const soma__lanes *l);
/* As add, but what was there is replaced. Any dtype. */
void soma__lanes_put(const soma__lanes *l);
/* As add, with l->fold; NaN beats all. f32, f64, i64. */
void soma__lanes_fold(const soma__lanes *l);

#endif
