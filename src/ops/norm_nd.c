#include "ops/op.h"
soma_op_list soma__norm_nd_ops = {NULL};
