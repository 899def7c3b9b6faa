#include "ops/op.h"
soma_op_list soma__pool_nd_ops = {NULL};
