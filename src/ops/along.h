/* Operators along one dimension (along.c); reduce.c lists them in its family. */
#ifndef SOMA_SRC_ALONG_H
#define SOMA_SRC_ALONG_H

#include "ops/op.h"

extern const soma_op soma__argmax_op, soma__argmin_op, soma__cumsum_op, soma__topk_op;

#endif
