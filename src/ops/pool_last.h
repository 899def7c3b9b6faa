/* Pooling of channels-last tensors in f32: pool.c asks here first. */
#ifndef SOMA_SRC_POOL_LAST_H
#define SOMA_SRC_POOL_LAST_H

#include "kernels/cpu/pool.h"
#include "ops/op.h"

/* Whether these kernels work on x (of a forward operator), or write gx (of a gradient). */
bool soma__pool_last(const soma_tensor *x);
/* Lays a result of pooling x, or with `wanted` of a gradient. */
void soma__pool_last_lay(const soma_tensor *x, bool wanted, soma_meta *out);
/* Bytes to bring the inputs into that order. */
size_t soma__pool_last_work(const soma_args *a);
/* out[0] (and places in out[1]) from in[0]; gradients: out[0] from in[0] and places in in[1]. */
void soma__pool_last_max(soma_args *a, const soma__pool *p);
void soma__pool_last_max_backward(soma_args *a, const soma__pool *p, bool is_2x2);
void soma__pool_last_avg(soma_args *a, const soma__pool *p);
void soma__pool_last_avg_backward(soma_args *a, const soma__pool *p);

#endif
