/* Updates of the optimisers and sums of squares, compiled once per instruction set. */
#include "kernels/cpu/optim.h"

#include <math.h>

#define TYPE float
#define NAME(x) x##_f32
#define SQRT sqrtf
#include "optim_loops.h"

#define TYPE double
#define NAME(x) x##_f64
#define SQRT sqrt
#include "optim_loops.h"

const soma__optim_kernels SOMA__ISA(soma__optim_kernels) = {
    .sgd_f32 = sgd_f32, .sgd_f64 = sgd_f64, .adam_f32 = adam_f32, .adam_f64 = adam_f64, .squares_f32 = squares_f32, .squares_f64 = squares_f64,
};
