/* Elementwise kernels of the dtypes beside f32, built once for all instruction sets and for size: f64 is for checks and references, and
 * its functions are libm's; whole numbers are rarely the bulk of the work. */
#include "kernels/cpu/elementwise_loops.h"

#include <math.h>

#define fn_f64_floor __builtin_floor
#define fn_f64_ceil __builtin_ceil
#define fn_f64_rint __builtin_rint
#define fn_f64_sqrt __builtin_sqrt
#define fn_f64_exp exp
#define fn_f64_expm1 expm1
#define fn_f64_log log
#define fn_f64_log1p log1p
#define fn_f64_sin sin
#define fn_f64_cos cos
#define fn_f64_tanh tanh
#define fn_f64_erf erf
SOMA__INLINE double fn_f64_sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
SOMA__INLINE double fn_f64_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))) + (x != x ? x : 0); }
SOMA__INLINE double fn_f64_tanh_softplus(double x) {
    double e = exp(x), n = e * (e + 2);
    return x > 20 ? 1 : n / (n + 2);
}

#define UNARY_NUMERIC(name, expr, slope) ROW1(CAT(DT, name), TYPE, TYPE, expr) SLOPE(CAT(DT, slope_##name), TYPE, slope)
#define UNARY_FLOATING UNARY_NUMERIC
#define BINARY_NUMERIC(name, expr) ROW2(CAT(DT, name), TYPE, TYPE, expr)
#define BINARY_FLOATING BINARY_NUMERIC

#define TYPE double
#define DT f64
#define ONE 1.0
#define HALF 0.5
#define PARAM(v) (v)
#define POW pow
#include "kernels/cpu/elementwise_rows.h"
#undef ONE
#undef HALF
#undef POW
#undef UNARY_NUMERIC
#undef UNARY_FLOATING
#undef BINARY_FLOATING

/* ---- Integers and bool: what keeps its dtype ---- */

SOMA__INLINE int64_t whole_power(int64_t a, int64_t b) {
    if (b < 0)
        return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    uint64_t r = 1, base = (uint64_t)a;
    for (; b; b >>= 1, base *= base)
        if (b & 1)
            r *= base;
    return (int64_t)r;
}
#define SAME(x) (x)
#undef F
#define F(name) SAME /* floor, ceil and rint of a whole number */
#define ONE 1
#define HALF 0
#define POW whole_power
#define UNARY_NUMERIC(name, expr, slope) ROW1(CAT(DT, name), TYPE, TYPE, expr)
#define UNARY_FLOATING(...)
#define BINARY_FLOATING(...)

#define TYPE int64_t
#define DT i64
#define PARAM(v) saturate(v, -0x1p63, 0x1p63)
#include "kernels/cpu/elementwise_rows.h"
#define TYPE int32_t
#define DT i32
#define PARAM(v) (int32_t)saturate(v, INT32_MIN, INT32_MAX)
#include "kernels/cpu/elementwise_rows.h"
#define TYPE int16_t
#define DT i16
#define PARAM(v) (int16_t)saturate(v, INT16_MIN, INT16_MAX)
#include "kernels/cpu/elementwise_rows.h"
#define TYPE int8_t
#define DT i8
#define PARAM(v) (int8_t)saturate(v, INT8_MIN, INT8_MAX)
#include "kernels/cpu/elementwise_rows.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtype-limits" /* X < 0 of an unsigned type */
#define TYPE uint8_t
#define DT u8
#define PARAM(v) (uint8_t)saturate(v, 0, UINT8_MAX)
#include "kernels/cpu/elementwise_rows.h"
#pragma GCC diagnostic pop

/* bool: any result other than 0 is 1. */
#define UNARY(...)
#define PREDICATE(...)
#define COMPARE(...)
#undef BINARY_NUMERIC
#define BINARY_NUMERIC(name, expr) ROW2(bool_##name, uint8_t, uint8_t, ((expr) != 0))
#define BINARY(name, kinds, expr, ...) BINARY_##kinds(name, expr)
#include "ops/elementwise.def"

#define WHOLE(name) [SOMA_I64] = i64_##name, [SOMA_I32] = i32_##name, [SOMA_I16] = i16_##name, [SOMA_I8] = i8_##name, [SOMA_U8] = u8_##name
#define ENTRY_NUMERIC(name) WHOLE(name),
#define ENTRY_NUMERIC_BOOL(name) WHOLE(name), [SOMA_BOOL] = bool_##name,
#define ENTRY_TRUTH(name) WHOLE(name), [SOMA_BOOL] = u8_##name,
#define ENTRY_FLOATING(name)
#define ENTRY_FLOATING_BOOL(name)

const soma__elementwise_wide_kernels soma__elementwise_wide = {
    .unary = {
#define UNARY(name, kinds, ...) [SOMA__U_##name] = {[SOMA_F64] = f64_##name, ENTRY_##kinds(name)},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .slope = {
#define UNARY(name, ...) [SOMA__U_##name] = {[SOMA_F64] = f64_slope_##name},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .predicate = {
#define UNARY(...)
#define PREDICATE(name, ...) [SOMA__P_##name] = {[SOMA_F64] = f64_##name, ENTRY_TRUTH(name)},
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .binary = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(name, kinds, ...) [SOMA__B_##name] = {[SOMA_F64] = f64_##name, ENTRY_##kinds##_BOOL(name)},
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .compare = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(name, ...) [SOMA__C_##name] = {[SOMA_F64] = f64_##name, ENTRY_TRUTH(name)},
#include "ops/elementwise.def"
    },
};
