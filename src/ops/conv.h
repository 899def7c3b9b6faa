/* The planar convolution as the other convolutions call it: all numbers given, none standing for a default. */
#ifndef SOMA_SRC_OPS_CONV_H
#define SOMA_SRC_OPS_CONV_H

#include "ops/op.h"

typedef struct soma__conv_plane {
    int64_t stride[2], padding[2], dilation[2], groups;
} soma__conv_plane;
/* relu(soma_conv2d_ex(…)) in one operator. */
soma_tensor *soma__conv2d_relu(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv2d_opts *opts);
/* conv2d, and its adjoint with respect to x, whose height and width are `plane`: a transposed convolution. */
soma_tensor *soma__conv2d_plain(soma_tensor *x, soma_tensor *w, soma_tensor *bias, const soma__conv_plane *p);
soma_tensor *soma__conv2d_adjoint(soma_tensor *g, soma_tensor *w, const soma__conv_plane *p, const int64_t *plane);

#endif
