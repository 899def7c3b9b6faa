/* Inner loops of the normalisations for f32 and f64. */
#include "kernels/cpu/norm.h"

#include "kernels/cpu/rows.h"

#define T float
#define NAME(name) name##_f32
#define V v16f
#define VANY v16f_any
#define LANES 16
#include "kernels/cpu/norm_template.h"
#undef T
#undef NAME
#undef V
#undef VANY
#undef LANES

#define T double
#define NAME(name) name##_f64
#define V v8d
#define VANY v8d_any
#define LANES 8
#include "kernels/cpu/norm_template.h"

#define TABLE(t)                                                                                                              \
    {                                                                                                                         \
        affine_##t, affine_columns_##t, affine_row_##t, grad_sums_##t, grad_sums_columns_##t, grad_##t, grad_columns_##t,     \
            grad_row_##t, grad_weights_##t                                                                                    \
    }
const soma__norm_kernels SOMA__ISA(soma__norm) = {.f32 = TABLE(f32), .f64 = TABLE(f64)};
