/* batch_norm of channels-last f32, alone (norm.c asks here first) and in one pass with what nn often puts behind it. */
#ifndef SOMA_SRC_NORM_LAST_H
#define SOMA_SRC_NORM_LAST_H

#include "ops/op.h"

/* Whether these kernels take x. */
static inline bool soma__norm_last(const soma_tensor *x) { return x->dtype == SOMA_F32 && soma__channels_last(x); }
/* The kernels of batch_norm and batch_norm_backward with their workspace; `add` and `y` as of the operators below, NULL for none. */
size_t soma__norm_last_work(const soma_args *a);
void soma__norm_last_forward(soma_args *a, const soma_tensor *add, bool relu);
void soma__norm_last_backward(soma_args *a, const soma_tensor *y, bool relu);

/* relu(batch_norm(x) [+ add]): the bits of the three operators in one pass, and their gradient in one operator. */
soma_tensor *soma__batch_norm_relu(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, soma_tensor *running_mean, soma_tensor *running_var,
                                   soma_tensor *add, bool training, double momentum, double eps);

#endif
