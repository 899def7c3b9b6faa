/* What the files of the convolution share among themselves. */
#ifndef SOMA_SRC_CONV_INSIDE_H
#define SOMA_SRC_CONV_INSIDE_H

#include "conv.h"

#define SOMA__CONV_PARALLEL 300000.0 /* multiply-adds below which one thread does it */

/* conv_weight.c: the gradient of the weight by tiles; f32 and f64. */
size_t soma__conv_weight_work(const soma__conv *c);
void soma__conv_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes);

/* conv_direct.c: groups of a channel or two, row by row; f32 and f64. */
void soma__conv_forward_narrow(const soma__conv *c, const void *x, const void *weight, const void *bias, bool relu, void *y);
void soma__conv_backward_input_narrow(const soma__conv *c, const void *gy, const void *weight, void *gx);
void soma__conv_backward_weight_narrow(const soma__conv *c, const void *x, const void *gy, void *gw);
/* Nothing to sum: y becomes the bias, or 0; any float dtype. */
void soma__conv_fill(const soma__conv *c, const void *bias, bool relu, void *y);

#endif
