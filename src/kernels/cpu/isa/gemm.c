/* The matrix kernels of one instruction set: tiles, packing, dot products for f32 and f64, and conversion of f16 and bf16.
 * Compiled once per instruction set; everything but the table is static. */
#include "kernels/cpu/gemm.h"
#include "vec.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Square blocks turned in registers, where there are instructions for it. transpose_rows: m rows of TRANSPOSE values to
 * columns of m, writing up to ROWS values at the last. transpose_square: LANES x LANES. */
#if SOMA_ISA_avx512 || SOMA_ISA_avx2
#define TRANSPOSE 8
INLINE void turn8(__m256 r[8]) {
    __m256 t[8];
    UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    UNROLL for (int i = 0; i < 8; i++)
        r[i] = t[i];
}
static void transpose_rows_f32(float *dst, int64_t step, const float *src, int64_t row, int m) {
    __m256 r[8];
    UNROLL for (int i = 0; i < 8; i++)
        r[i] = i < m ? _mm256_loadu_ps(src + i * row) : _mm256_setzero_ps();
    turn8(r);
    UNROLL for (int i = 0; i < 8; i++)
        _mm256_storeu_ps(dst + i * step, r[i]); /* in rising order: what is too much is written over, or lies behind the end */
}
static void transpose_rows_f64(double *dst, int64_t step, const double *src, int64_t row, int m) {
    for (int p = 0; p < TRANSPOSE; p++)
        for (int i = 0; i < m; i++)
            dst[p * step + i] = src[i * row + p];
}
/* The first `n` columns count; the others are filled with copies of the last, which nobody looks at. */
#define TRANSPOSE_B
#if SOMA_ISA_avx512
INLINE __m512 four(const float *p, int64_t row, int i, int n) {
    const int64_t last = n - 1;
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p + (i < last ? i : last) * row));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + (i + 4 < last ? i + 4 : last) * row), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + (i + 8 < last ? i + 8 : last) * row), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(p + (i + 12 < last ? i + 12 : last) * row), 3);
}
INLINE void turn_square_f32(float *dst, int64_t step, const float *src, int64_t row, const int n) {
    UNROLL for (int c = 0; c < 4; c++) {
        __m512 a = four(src, row, 0, n), b = four(src, row, 1, n), d = four(src, row, 2, n), e = four(src, row, 3, n);
        __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b)), de = _mm512_castps_pd(_mm512_unpacklo_ps(d, e));
        __m512d ab2 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b)), de2 = _mm512_castps_pd(_mm512_unpackhi_ps(d, e));
        _mm512_storeu_ps(dst, _mm512_castpd_ps(_mm512_unpacklo_pd(ab, de)));
        _mm512_storeu_ps(dst + step, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, de)));
        _mm512_storeu_ps(dst + 2 * step, _mm512_castpd_ps(_mm512_unpacklo_pd(ab2, de2)));
        _mm512_storeu_ps(dst + 3 * step, _mm512_castpd_ps(_mm512_unpackhi_pd(ab2, de2)));
        src += 4;
        dst += 4 * step;
    }
}
static void transpose_square_f32(float *dst, int64_t step, const float *src, int64_t row, int n) {
    if (n == 16)
        turn_square_f32(dst, step, src, row, 16);
    else
        turn_square_f32(dst, step, src, row, n);
}
#else
static void transpose_square_f32(float *dst, int64_t step, const float *src, int64_t row, int n) {
    transpose_rows_f32(dst, step, src, row, n); /* zeros instead of copies */
}
#endif
static void transpose_square_f64(double *dst, int64_t step, const double *src, int64_t row, int n) {
    for (int j = 0; j < LANES_f64; j++)
        for (int p = 0; p < LANES_f64; p++)
            dst[p * step + j] = src[(j < n ? j : n - 1) * row + p];
}
#endif

#define T float
#define F f32
#include "gemm_tile.h"
#undef T
#undef F
#define T double
#define F f64
#include "gemm_tile.h"
#undef T
#undef F

#if SOMA_ISA_avx512
#include "gemm_bf16.h"
#endif

/* ---- Sixteen-bit floats ----------------------------------------------------------------------------------------------- */

static void from_bf16(float *dst, const uint16_t *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)src[i] << 16;
        memcpy(dst + i, &bits, 4);
    }
}
/* To nearest, ties to even; NaN keeps its sign and becomes quiet. */
static void to_bf16(uint16_t *dst, const float *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, src + i, 4);
        uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        dst[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
    }
}
static void round_bf16(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
        bits = ((bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded) & 0xffff0000;
        memcpy(x + i, &bits, 4);
    }
}
#if SOMA_ISA_avx512 || SOMA_ISA_avx2
static void from_f16(float *dst, const uint16_t *src, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
    for (; i < n; i++)
        dst[i] = _cvtsh_ss(src[i]);
}
static void to_f16(uint16_t *dst, const float *src, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        dst[i] = (uint16_t)_cvtss_sh(src[i], _MM_FROUND_TO_NEAREST_INT);
}
#else
/* 2^-14 is the least normal half; below it a half counts in steps of 2^-24. */
static void from_f16(float *dst, const uint16_t *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t sign = (uint32_t)(src[i] & 0x8000) << 16, rest = src[i] & 0x7fff, bits;
        float small = (float)rest * 0x1p-24f;
        memcpy(&bits, &small, 4);
        if (rest >= 0x0400)
            bits = rest >= 0x7c00 ? 0x7f800000 | (rest & 0x3ff) << 13 | (rest > 0x7c00 ? 0x400000 : 0)
                                  : (rest << 13) + 0x38000000;
        bits |= sign;
        memcpy(dst + i, &bits, 4);
    }
}
static void to_f16(uint16_t *dst, const float *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits, out;
        memcpy(&bits, src + i, 4);
        uint32_t sign = bits >> 16 & 0x8000;
        bits &= 0x7fffffff;
        if (bits > 0x7f800000) {
            out = 0x7e00 | (bits >> 13 & 0x1ff);
        } else if (bits >= 0x38800000) { /* normal: round the mantissa; what overflows becomes infinite */
            out = (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13;
            out = out > 0x7c00 ? 0x7c00 : out;
        } else { /* adding 0.5 leaves the sum's last bit worth 2^-24 */
            float f;
            memcpy(&f, &bits, 4);
            f += 0.5f;
            memcpy(&out, &f, 4);
            out -= 0x3f000000;
        }
        dst[i] = (uint16_t)(sign | out);
    }
}
#endif

const soma__gemm_kernels SOMA__ISA(soma__gemm) = {
    .f32 = {ROWS, VECTORS, LANES_f32, MASKS, tile_f32, direct_f32, pack_a_f32, pack_b_f32, dots_f32, row_f32, turn_f32},
    .f64 = {ROWS, VECTORS, LANES_f64, MASKS, tile_f64, direct_f64, pack_a_f64, pack_b_f64, dots_f64, row_f64, turn_f64},
    .from_f16 = from_f16, .to_f16 = to_f16, .from_bf16 = from_bf16, .to_bf16 = to_bf16, .round_bf16 = round_bf16,
#if SOMA_ISA_avx512
    .bf16 = &bf16_ops,
#endif
};
