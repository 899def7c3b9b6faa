/* Elementwise kernels in f32: the expressions of ops/elementwise.def, once per instruction set. The other dtypes are in
 * kernels/cpu/elementwise_wide.c; f16 and bf16 have no rows of their own: the caller converts blocks to f32 (ops/elementwise.c). */
#include "kernels/cpu/elementwise_loops.h"

#define fn_f32_floor __builtin_floorf
#define fn_f32_ceil __builtin_ceilf
#define fn_f32_rint __builtin_rintf
#define fn_f32_sqrt __builtin_sqrtf
#define fn_f32_exp soma__expf
#define fn_f32_expm1 soma__expm1f
#define fn_f32_log soma__logf
#define fn_f32_log1p soma__log1pf
#define fn_f32_sin sinf
#define fn_f32_cos cosf
#define fn_f32_tanh soma__tanhf
#define fn_f32_erf soma__erff
#define fn_f32_sigmoid soma__sigmoidf
#define fn_f32_softplus soma__softplusf
#define fn_f32_tanh_softplus soma__tanh_softplusf

#define UNARY_NUMERIC(name, expr, slope) ROW1(CAT(DT, name), TYPE, TYPE, expr) SLOPE(CAT(DT, slope_##name), TYPE, slope)
#define UNARY_FLOATING UNARY_NUMERIC
#define BINARY_NUMERIC(name, expr) ROW2(CAT(DT, name), TYPE, TYPE, expr)
#define BINARY_FLOATING BINARY_NUMERIC

#define TYPE float
#define DT f32
#define ONE 1.0f
#define HALF 0.5f
#define PARAM(v) (float)(v)
#define POW powf
#include "kernels/cpu/elementwise_rows.h"

const soma__elementwise_kernels SOMA__ISA(soma__elementwise) = {
    .unary = {
#define UNARY(name, ...) [SOMA__U_##name] = f32_##name,
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .slope = {
#define UNARY(name, ...) [SOMA__U_##name] = f32_slope_##name,
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .predicate = {
#define UNARY(...)
#define PREDICATE(name, ...) [SOMA__P_##name] = f32_##name,
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .binary = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(name, ...) [SOMA__B_##name] = f32_##name,
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .compare = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(name, ...) [SOMA__C_##name] = f32_##name,
#include "ops/elementwise.def"
    },
};
