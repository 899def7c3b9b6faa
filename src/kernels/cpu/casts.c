/* Casts between all dtypes, and where() by element size. */
#include "kernels/cpu/elementwise_loops.h"

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

/* From or to f32, the casts of real work, contiguous rows have a loop of their own that becomes vectors; the others are for size. */
#define CAST(fname, OUT, IN, EXPR)                                                                                      \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        (void)P;                                                                                                        \
        for (int64_t i = 0; i < n; i++) { const IN X = *(const IN *)(p[1] + i * s[1]); *(OUT *)(p[0] + i * s[0]) = (OUT)(EXPR); } \
    }
#define FAST(fname, OUT, IN, EXPR)                                                                                      \
    CAST(strided_##fname, OUT, IN, EXPR)                                                                                \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        OUT *o = (OUT *)p[0];                                                                                           \
        const IN *x = (const IN *)p[1];                                                                                 \
        if (s[0] != sizeof(OUT) || s[1] != sizeof(IN)) {                                                                \
            strided_##fname(p, s, n, P);                                                                                \
            return;                                                                                                     \
        }                                                                                                               \
        for (int64_t i = 0; i < n; i++) { const IN X = x[i]; o[i] = (OUT)(EXPR); }                                      \
    }
#define CASTS_FROM(f, TO_FLOAT, OTHERS, IN, AS_FLOAT, AS_DOUBLE, AS_WHOLE, AS_TRUTH)                                    \
    TO_FLOAT(cast_f32_##f, float, IN, AS_FLOAT)                                                                         \
    OTHERS(cast_f64_##f, double, IN, AS_DOUBLE)                                                                         \
    OTHERS(cast_f16_##f, uint16_t, IN, store_f16(AS_FLOAT))                                                             \
    OTHERS(cast_bf16_##f, uint16_t, IN, store_bf16(AS_FLOAT))                                                           \
    OTHERS(cast_i64_##f, int64_t, IN, AS_WHOLE)                                                                         \
    OTHERS(cast_i32_##f, int32_t, IN, AS_WHOLE)                                                                         \
    CAST(cast_i16_##f, int16_t, IN, AS_WHOLE)                                                                           \
    CAST(cast_i8_##f, int8_t, IN, AS_WHOLE)                                                                             \
    OTHERS(cast_u8_##f, uint8_t, IN, AS_WHOLE)                                                                          \
    CAST(cast_bool_##f, uint8_t, IN, AS_TRUTH)
CASTS_FROM(f32, FAST, FAST, float, X, X, whole_of((double)X), X != 0)
CASTS_FROM(f64, FAST, CAST, double, (float)X, X, whole_of(X), X != 0)
CASTS_FROM(f16, FAST, CAST, uint16_t, load_f16(X), load_f16(X), whole_of((double)load_f16(X)), (X & 0x7fff) != 0)
CASTS_FROM(bf16, FAST, CAST, uint16_t, load_bf16(X), load_bf16(X), whole_of((double)load_bf16(X)), (X & 0x7fff) != 0)
CASTS_FROM(i64, FAST, CAST, int64_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(i32, FAST, CAST, int32_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(i16, FAST, CAST, int16_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(i8, FAST, CAST, int8_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(u8, FAST, CAST, uint8_t, (float)X, (double)X, X, X != 0)
CASTS_FROM(bool, FAST, CAST, uint8_t, (float)(X != 0), (double)(X != 0), X != 0, X != 0)

/* where(condition, a, b) by element size; without a branch, which a mixed condition would make the processor guess. */
#define CHOOSE(T, c, a, b) (T)(((a) & (T) - (T)((c) != 0)) | ((b) & (T)((T)((c) != 0) - (T)1)))
#define WHERE(fname, T)                                                                                                 \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        const int64_t w = sizeof(T);                                                                                    \
        (void)P;                                                                                                        \
        if (s[0] == w && s[1] == 1 && s[2] == w && s[3] == w) {                                                         \
            T *o = (T *)p[0];                                                                                           \
            const uint8_t *c = (const uint8_t *)p[1];                                                                   \
            const T *a = (const T *)p[2], *b = (const T *)p[3];                                                         \
            for (int64_t i = 0; i < n; i++)                                                                             \
                o[i] = CHOOSE(T, c[i], a[i], b[i]);                                                                     \
            return;                                                                                                     \
        }                                                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                                               \
            const T a = *(const T *)(p[2] + i * s[2]), b = *(const T *)(p[3] + i * s[3]);                               \
            *(T *)(p[0] + i * s[0]) = CHOOSE(T, *(const uint8_t *)(p[1] + i * s[1]), a, b);                             \
        }                                                                                                               \
    }
WHERE(where_1, uint8_t)
WHERE(where_2, uint16_t)
WHERE(where_4, uint32_t)
WHERE(where_8, uint64_t)

const soma__cast_kernels soma__casts = {
    .where = {where_1, where_2, where_4, where_8},
#define CASTS(D, t)                                                                                                                \
    [D] = {[SOMA_F32] = cast_##t##_f32, [SOMA_F64] = cast_##t##_f64, [SOMA_F16] = cast_##t##_f16, [SOMA_BF16] = cast_##t##_bf16, \
           [SOMA_I64] = cast_##t##_i64, [SOMA_I32] = cast_##t##_i32, [SOMA_I16] = cast_##t##_i16, [SOMA_I8] = cast_##t##_i8,     \
           [SOMA_U8] = cast_##t##_u8, [SOMA_BOOL] = cast_##t##_bool},
    .cast = {CASTS(SOMA_F32, f32) CASTS(SOMA_F64, f64) CASTS(SOMA_F16, f16) CASTS(SOMA_BF16, bf16) CASTS(SOMA_I64, i64)
             CASTS(SOMA_I32, i32) CASTS(SOMA_I16, i16) CASTS(SOMA_I8, i8) CASTS(SOMA_U8, u8) CASTS(SOMA_BOOL, bool)},
};
