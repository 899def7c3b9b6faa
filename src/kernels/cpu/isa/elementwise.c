/* Elementwise kernels: the expressions of ops/elementwise.def, compiled for every dtype. f16 and bf16 have no rows of their own: the
 * caller converts blocks to f32 (ops/elementwise.c). */
#include "kernels/cpu/elementwise.h"

#include "kernels/cpu/math.h"

#include <string.h>

/* Output and input may be the same memory, element for element, and never overlap otherwise. */
#if defined(__clang__)
#define EACH _Pragma("clang loop vectorize(assume_safety)") for (int64_t i = 0; i < n; i++)
#else
#define EACH _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)
#endif
#if defined(SOMA_ISA_sse2) || defined(SOMA_ISA_neon) || defined(SOMA_ISA_generic)
#define ALL_DTYPES 1
#else
#define ALL_DTYPES 0
#endif

/* Functions by dtype: F(exp)(x). */
#define CAT_(a, b) a##_##b
#define CAT(a, b) CAT_(a, b)
#define F(name) CAT(CAT(fn, DT), name)
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

#define ROW1(fname, OUT, IN, EXPR) ROW1_(fname, OUT, IN, EXPR)
#define ROW1_(fname, OUT, IN, EXPR)                                                                                     \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        const IN P0 = PARAM(P[0]), P1 = PARAM(P[1]);                                                                    \
        (void)P0, (void)P1;                                                                                             \
        if (s[0] == sizeof(OUT) && s[1] == sizeof(IN)) {                                                                \
            OUT *o = (OUT *)p[0];                                                                                       \
            const IN *x = (const IN *)p[1];                                                                             \
            EACH { const IN X = x[i]; o[i] = (OUT)(EXPR); }                                                             \
            return;                                                                                                     \
        }                                                                                                               \
        for (int64_t i = 0; i < n; i++) { const IN X = *(const IN *)(p[1] + i * s[1]); *(OUT *)(p[0] + i * s[0]) = (OUT)(EXPR); } \
    }
#define ROW2(fname, OUT, IN, EXPR) ROW2_(fname, OUT, IN, EXPR)
#define ROW2_(fname, OUT, IN, EXPR)                                                                                     \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        (void)P;                                                                                                        \
        OUT *o = (OUT *)p[0];                                                                                           \
        const IN *a = (const IN *)p[1], *b = (const IN *)p[2];                                                          \
        const int64_t w = sizeof(IN);                                                                                   \
        if (s[0] == sizeof(OUT) && s[1] == w && s[2] == w) {                                                            \
            EACH { const IN A = a[i], B = b[i]; o[i] = (OUT)(EXPR); }                                                   \
        } else if (s[0] == sizeof(OUT) && s[1] == w && s[2] == 0) {                                                     \
            const IN B = *b;                                                                                            \
            EACH { const IN A = a[i]; o[i] = (OUT)(EXPR); }                                                             \
        } else if (s[0] == sizeof(OUT) && s[1] == 0 && s[2] == w) {                                                     \
            const IN A = *a;                                                                                            \
            EACH { const IN B = b[i]; o[i] = (OUT)(EXPR); }                                                             \
        } else {                                                                                                        \
            for (int64_t i = 0; i < n; i++) {                                                                           \
                const IN A = *(const IN *)(p[1] + i * s[1]), B = *(const IN *)(p[2] + i * s[2]);                        \
                *(OUT *)(p[0] + i * s[0]) = (OUT)(EXPR);                                                                \
            }                                                                                                           \
        }                                                                                                               \
    }
/* out = g * derivative: p[1] is the gradient that comes in, p[2] what was saved. */
#define SLOPE(fname, T, EXPR) SLOPE_(fname, T, EXPR)
#define SLOPE_(fname, T, EXPR)                                                                                          \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        const T P0 = PARAM(P[0]), P1 = PARAM(P[1]);                                                                     \
        (void)P0, (void)P1;                                                                                             \
        if (s[0] == sizeof(T) && s[1] == sizeof(T) && s[2] == sizeof(T)) {                                              \
            T *o = (T *)p[0];                                                                                           \
            const T *g = (const T *)p[1], *b = (const T *)p[2];                                                         \
            EACH { const T X = b[i], Y = X; (void)X, (void)Y; o[i] = g[i] * (EXPR); }                                   \
            return;                                                                                                     \
        }                                                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                                               \
            const T X = *(const T *)(p[2] + i * s[2]), Y = X;                                                           \
            (void)X, (void)Y;                                                                                           \
            *(T *)(p[0] + i * s[0]) = *(const T *)(p[1] + i * s[1]) * (EXPR);                                           \
        }                                                                                                               \
    }

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
#include "elementwise_rows.h"
#undef ONE
#undef HALF
#undef POW

#if ALL_DTYPES
#define TYPE double
#define DT f64
#define ONE 1.0
#define HALF 0.5
#define PARAM(v) (v)
#define POW pow
#include "elementwise_rows.h"
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
SOMA__INLINE int64_t saturate(double v, double low, double high) {
    return v != v ? 0 : v <= low ? (int64_t)low : v >= high ? (high >= 0x1p63 ? INT64_MAX : (int64_t)high) : (int64_t)v;
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
#include "elementwise_rows.h"
#define TYPE int32_t
#define DT i32
#define PARAM(v) (int32_t)saturate(v, INT32_MIN, INT32_MAX)
#include "elementwise_rows.h"
#define TYPE int16_t
#define DT i16
#define PARAM(v) (int16_t)saturate(v, INT16_MIN, INT16_MAX)
#include "elementwise_rows.h"
#define TYPE int8_t
#define DT i8
#define PARAM(v) (int8_t)saturate(v, INT8_MIN, INT8_MAX)
#include "elementwise_rows.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtype-limits" /* X < 0 of an unsigned type */
#define TYPE uint8_t
#define DT u8
#define PARAM(v) (uint8_t)saturate(v, 0, UINT8_MAX)
#include "elementwise_rows.h"
#pragma GCC diagnostic pop

/* bool: any result other than 0 is 1. */
#define UNARY(...)
#define PREDICATE(...)
#define COMPARE(...)
#undef BINARY_NUMERIC
#define BINARY_NUMERIC(name, expr) ROW2(bool_##name, uint8_t, uint8_t, ((expr) != 0))
#define BINARY(name, kinds, expr, ...) BINARY_##kinds(name, expr)
#include "ops/elementwise.def"

/* ---- Casts between all dtypes ---- */

SOMA__INLINE float load_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    float tiny = (float)(int32_t)rest * 0x1p-24f;
    int32_t normal = (int32_t)((rest << 13) + (112u << 23)), special = (int32_t)(0x7f800000u | (rest & 0x3ffu) << 13);
    int32_t bits = rest >= 0x7c00u ? special : rest >= 0x400u ? normal : soma__float_bits(tiny);
    return soma__bits_float((int32_t)(sign | (uint32_t)bits));
}
SOMA__INLINE float load_bf16(uint16_t h) { return soma__bits_float((int32_t)((uint32_t)h << 16)); }
SOMA__INLINE uint16_t store_f16(float f) {
    uint32_t u = (uint32_t)soma__float_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    uint32_t tiny = (uint32_t)soma__float_bits(soma__bits_float((int32_t)a) + 0.5f) - 0x3f000000u;
    uint32_t normal = (a - (112u << 23) + 0xfffu + (a >> 13 & 1)) >> 13;
    uint32_t nan = 0x7e00u | (a >> 13 & 0x3ffu);
    uint32_t r = a > 0x7f800000u ? nan : a >= 0x477ff000u ? 0x7c00u : a >= 0x38800000u ? normal : tiny;
    return (uint16_t)(sign | r);
}
SOMA__INLINE uint16_t store_bf16(float f) {
    uint32_t u = (uint32_t)soma__float_bits(f);
    uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1)) >> 16, nan = u >> 16 | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}
/* Towards zero through i64, then the low bits, as PyTorch on x86; beyond i64 it saturates and NaN is 0. */
SOMA__INLINE int64_t whole_of(double v) { return saturate(v, -0x1p63, 0x1p63); }

#define CAST(fname, OUT, IN, EXPR)                                                                                      \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        (void)P;                                                                                                        \
        if (s[0] == sizeof(OUT) && s[1] == sizeof(IN)) {                                                                \
            OUT *o = (OUT *)p[0];                                                                                       \
            const IN *x = (const IN *)p[1];                                                                             \
            for (int64_t i = 0; i < n; i++) { const IN X = x[i]; o[i] = (OUT)(EXPR); }                                  \
            return;                                                                                                     \
        }                                                                                                               \
        for (int64_t i = 0; i < n; i++) { const IN X = *(const IN *)(p[1] + i * s[1]); *(OUT *)(p[0] + i * s[0]) = (OUT)(EXPR); } \
    }
#define CASTS_FROM(f, IN, AS_FLOAT, AS_DOUBLE, AS_WHOLE, AS_TRUTH)                                                      \
    CAST(cast_f32_##f, float, IN, AS_FLOAT)                                                                             \
    CAST(cast_f64_##f, double, IN, AS_DOUBLE)                                                                           \
    CAST(cast_f16_##f, uint16_t, IN, store_f16(AS_FLOAT))                                                               \
    CAST(cast_bf16_##f, uint16_t, IN, store_bf16(AS_FLOAT))                                                             \
    CAST(cast_i64_##f, int64_t, IN, AS_WHOLE)                                                                           \
    CAST(cast_i32_##f, int32_t, IN, AS_WHOLE)                                                                           \
    CAST(cast_i16_##f, int16_t, IN, AS_WHOLE)                                                                           \
    CAST(cast_i8_##f, int8_t, IN, AS_WHOLE)                                                                             \
    CAST(cast_u8_##f, uint8_t, IN, AS_WHOLE)                                                                            \
    CAST(cast_bool_##f, uint8_t, IN, AS_TRUTH)
CASTS_FROM(f32, float, X, X, whole_of((double)X), X != 0)
CASTS_FROM(f64, double, (float)X, X, whole_of(X), X != 0)
CASTS_FROM(f16, uint16_t, load_f16(X), load_f16(X), whole_of((double)load_f16(X)), (X & 0x7fff) != 0)
CASTS_FROM(bf16, uint16_t, load_bf16(X), load_bf16(X), whole_of((double)load_bf16(X)), (X & 0x7fff) != 0)
CASTS_FROM(i64, int64_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(i32, int32_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(i16, int16_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(i8, int8_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(u8, uint8_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(bool, uint8_t, (float)(X != 0), (double)(X != 0), X != 0, X != 0)

/* where(condition, a, b) by element size. */
#define WHERE(fname, T)                                                                                                 \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        (void)P;                                                                                                        \
        for (int64_t i = 0; i < n; i++)                                                                                 \
            *(T *)(p[0] + i * s[0]) = *(const uint8_t *)(p[1] + i * s[1]) ? *(const T *)(p[2] + i * s[2]) : *(const T *)(p[3] + i * s[3]); \
    }
WHERE(where_1, uint8_t)
WHERE(where_2, uint16_t)
WHERE(where_4, uint32_t)
WHERE(where_8, uint64_t)
#define ENTRY_F64(name) [SOMA_F64] = name,
#define WHOLE(name) [SOMA_I64] = i64_##name, [SOMA_I32] = i32_##name, [SOMA_I16] = i16_##name, [SOMA_I8] = i8_##name, [SOMA_U8] = u8_##name
#define ENTRY_NUMERIC(name) WHOLE(name),
#define ENTRY_NUMERIC_BOOL(name) WHOLE(name), [SOMA_BOOL] = bool_##name,
#define ENTRY_TRUTH(name) WHOLE(name), [SOMA_BOOL] = u8_##name,
#else
#define ENTRY_F64(name)
#define ENTRY_NUMERIC(name)
#define ENTRY_NUMERIC_BOOL(name)
#define ENTRY_TRUTH(name)
#endif
#define ENTRY_FLOATING(name)
#define ENTRY_FLOATING_BOOL(name)

const soma__elementwise_kernels SOMA__ISA(soma__elementwise) = {
    .unary = {
#define UNARY(name, kinds, ...) [SOMA__U_##name] = {[SOMA_F32] = f32_##name, ENTRY_F64(f64_##name) ENTRY_##kinds(name)},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .slope = {
#define UNARY(name, ...) [SOMA__U_##name] = {[SOMA_F32] = f32_slope_##name, ENTRY_F64(f64_slope_##name)},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .predicate = {
#define UNARY(...)
#define PREDICATE(name, ...) [SOMA__P_##name] = {[SOMA_F32] = f32_##name, ENTRY_F64(f64_##name) ENTRY_TRUTH(name)},
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .binary = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(name, kinds, ...) [SOMA__B_##name] = {[SOMA_F32] = f32_##name, ENTRY_F64(f64_##name) ENTRY_##kinds##_BOOL(name)},
#define COMPARE(...)
#include "ops/elementwise.def"
    },
    .compare = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(name, ...) [SOMA__C_##name] = {[SOMA_F32] = f32_##name, ENTRY_F64(f64_##name) ENTRY_TRUTH(name)},
#include "ops/elementwise.def"
    },
#if ALL_DTYPES
    .where = {where_1, where_2, where_4, where_8},
#define CASTS(D, t)                                                                                                                \
    [D] = {[SOMA_F32] = cast_##t##_f32, [SOMA_F64] = cast_##t##_f64, [SOMA_F16] = cast_##t##_f16, [SOMA_BF16] = cast_##t##_bf16, \
           [SOMA_I64] = cast_##t##_i64, [SOMA_I32] = cast_##t##_i32, [SOMA_I16] = cast_##t##_i16, [SOMA_I8] = cast_##t##_i8,     \
           [SOMA_U8] = cast_##t##_u8, [SOMA_BOOL] = cast_##t##_bool},
    .cast = {CASTS(SOMA_F32, f32) CASTS(SOMA_F64, f64) CASTS(SOMA_F16, f16) CASTS(SOMA_BF16, bf16) CASTS(SOMA_I64, i64)
             CASTS(SOMA_I32, i32) CASTS(SOMA_I16, i16) CASTS(SOMA_I8, i8) CASTS(SOMA_U8, u8) CASTS(SOMA_BOOL, bool)},
#endif
};
