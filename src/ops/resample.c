#include "ops/op.h"
soma_op_list soma__resample_ops = {NULL};
