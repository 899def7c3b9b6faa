/* Elementary functions in f32 as plain branch-free C that compilers turn into vectors, at most 2 ULP from the true value (2.5 for
 * sigmoid and softplus, which chain two; tests/test_math.c measures it). For files that are compiled once per instruction set: FMA is used where the machine has it, in whole loops and in
 * their remainders alike, so that a value's bits do not depend on where a loop was cut. Polynomials: tools/fit_math.py. */
#ifndef SOMA_SRC_MATH_H
#define SOMA_SRC_MATH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#if SOMA_ISA_avx512
#include <immintrin.h>
#endif
#if defined(__FMA__) || defined(__aarch64__)
#define SOMA__FMA(a, b, c) __builtin_fmaf((a), (b), (c))
#else
#define SOMA__FMA(a, b, c) ((a) * (b) + (c))
#endif
#define SOMA__INLINE static inline __attribute__((always_inline, unused))

SOMA__INLINE float soma__bits_float(int32_t i) {
    union { int32_t i; float f; } v = {.i = i};
    return v.f;
}
SOMA__INLINE int32_t soma__float_bits(float f) {
    union { float f; int32_t i; } v = {.f = f};
    return v.i;
}

/* 2^n for whole n in [-126, 127]; any bits for others and NaN, whose results are not used. n stands in the low bits of n + 1.5 * 2^23:
 * a conversion to int would be undefined for them. */
SOMA__INLINE float soma__exp2i(float n) {
    uint32_t whole = (uint32_t)soma__float_bits(n + 12582912.0f) - 0x4b400000u;
    return soma__bits_float((int32_t)((whole + 127u) << 23));
}

/* Nearest whole number for |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction. */
SOMA__INLINE float soma__nearest_whole(float x) { return (x + 12582912.0f) - 12582912.0f; }

/* e^r - 1 for |r| <= ln(2) / 2. */
SOMA__INLINE float soma__exp_poly(float r) {
    float p = SOMA__FMA(0.0013935758f, r, 0.008369089f);
    p = SOMA__FMA(p, r, 0.041666456f);
    p = SOMA__FMA(p, r, 0.16666517f);
    p = SOMA__FMA(p, r, 0.5f);
    return SOMA__FMA(p, r * r, r);
}

/* x = n ln 2 + r; ln 2 in two parts of which the first has few bits, so that n times it is exact. */
SOMA__INLINE float soma__exp_reduce(float x, float *n) {
    *n = soma__nearest_whole(x * 1.44269504f);
    float r = SOMA__FMA(*n, -0.693359375f, x);
    return SOMA__FMA(*n, 2.12194440e-4f, r);
}

/* |x|, at most `most`; NaN becomes `most`. Among integers: comparisons of floats with a NaN that goes through become masks, and twice as
 * many instructions. */
SOMA__INLINE float soma__size_to(float x, float most) {
    int32_t a = soma__float_bits(x) & 0x7fffffff, b = soma__float_bits(most);
    return soma__bits_float(a < b ? a : b);
}

/* e^x for |x| up to 104, beyond which it is 0 or infinite. */
SOMA__INLINE float soma__exp_near(float x) {
    float t = x * 1.44269504f + 12582912.0f, n = t - 12582912.0f; /* n also stands in the low bits of t */
    float r = SOMA__FMA(n, -0.693359375f, x);
    r = SOMA__FMA(n, 2.12194440e-4f, r);
    /* in two steps, as exponents: 2^n may be below or above the range of normal numbers */
    int32_t all = (int32_t)((uint32_t)soma__float_bits(t) << 23), half = (all >> 1) & (int32_t)0xff800000;
    return soma__bits_float(soma__float_bits(soma__exp_poly(r) + 1.0f) + (all - half)) * soma__bits_float(half + 0x3f800000);
}

SOMA__INLINE float soma__expf(float x) {
    float y = soma__exp_near(copysignf(soma__size_to(x, 104.0f), x));
    return x != x ? x : y;
}

/* y = e^(x - by) for 16 elements, the bits of soma__expf. */
#if SOMA_ISA_avx512
SOMA__INLINE void soma__exp_lanes(float *y, const float *x, float by) {
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 c = _mm512_sub_ps(_mm512_loadu_ps(x), _mm512_set1_ps(by));
    c = _mm512_min_ps(_mm512_set1_ps(104.0f), _mm512_max_ps(_mm512_set1_ps(-104.0f), c)); /* NaN goes through */
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(c, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0.693359375f), c);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.0013935758f), r, _mm512_set1_ps(0.008369089f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.041666456f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.16666517f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    _mm512_storeu_ps(y, _mm512_scalef_ps(_mm512_add_ps(p, one), n));
}
#else
SOMA__INLINE void soma__exp_lanes(float *y, const float *x, float by) {
    for (int k = 0; k < 16; k++)
        y[k] = soma__expf(x[k] - by);
}
#endif

/* 2^n (e^r - 1) + (2^n - 1), with |r| up to 1/2 so that n is 0 where the two terms would cancel. */
SOMA__INLINE float soma__expm1f(float x) {
    float c = x < -26.0f ? -26.0f : x;
    c = c > 88.72283f ? 88.72283f : c; /* n = 128 is the last: done as twice 2^127 */
    float n, r = soma__exp_reduce(c, &n);
    bool near = fabsf(x) < 0.5f;
    r = near ? x : r;
    n = near ? 0.0f : n;
    float p = SOMA__FMA(0.0001996505f, r, 0.0014004074f);
    p = SOMA__FMA(p, r, 0.0083331745f);
    p = SOMA__FMA(p, r, 0.041665085f);
    p = SOMA__FMA(p, r, 0.16666667f);
    p = SOMA__FMA(p, r, 0.5f);
    float e = SOMA__FMA(p, r * r, r), half = soma__exp2i(n - 1.0f);
    float y = 2.0f * SOMA__FMA(e, half, half - 0.5f);
    y = x > 88.72283f ? INFINITY : y;
    return x != x ? x : y;
}

/* log of m 2^e with m in [sqrt(1/2), sqrt(2)). */
SOMA__INLINE float soma__logf(float x) {
    float big = x < 1.17549435e-38f ? x * 8388608.0f : x;
    int32_t bits = (int32_t)((uint32_t)soma__float_bits(big) - 0x3f3504f3u);
    float e = (float)(bits >> 23) - (x < 1.17549435e-38f ? 23.0f : 0.0f);
    float f = soma__bits_float((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;
    float p = SOMA__FMA(-0.07666337f, f, 0.12789622f);
    p = SOMA__FMA(p, f, -0.13160874f);
    p = SOMA__FMA(p, f, 0.14197263f);
    p = SOMA__FMA(p, f, -0.16622773f);
    p = SOMA__FMA(p, f, 0.20001449f);
    p = SOMA__FMA(p, f, -0.25000846f);
    p = SOMA__FMA(p, f, 0.33333328f);
    float f2 = f * f, low = SOMA__FMA(p * f, f2, e * -2.12194440e-4f);
    low = SOMA__FMA(-0.5f, f2, low);
    float y = SOMA__FMA(e, 0.693359375f, low + f);
    y = x == INFINITY ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f || x != x ? NAN : y;
}

/* log(1 + x) = log(u) + (what rounding u = 1 + x lost) / u. */
SOMA__INLINE float soma__log1pf(float x) {
    float u = 1.0f + x, lost = x - (u - 1.0f);
    lost = u == INFINITY || u == 0.0f ? 0.0f : lost / u;
    float y = soma__logf(u) + lost;
    return u == 1.0f ? x : y;
}

/* m / (m + 2) with m = e^2|x| - 1 = 2^n (e^r - 1) + (2^n - 1); from 10 on it rounds to 1. Below 1/4 a polynomial. */
SOMA__INLINE float soma__tanhf(float x) {
    float a = soma__size_to(x, 10.0f), t = (a + a) * 1.44269504f + 12582912.0f, n = t - 12582912.0f;
    float r = SOMA__FMA(n, -0.693359375f, a + a);
    r = SOMA__FMA(n, 2.12194440e-4f, r);
    float whole = soma__bits_float((int32_t)((uint32_t)soma__float_bits(t) << 23) + 0x3f800000);
    float m = SOMA__FMA(soma__exp_poly(r), whole, whole - 1.0f);
    float large = copysignf(m / (m + 2.0f), x), z = x * x;
    float p = SOMA__FMA(-0.051424734f, z, 0.13324186f);
    p = SOMA__FMA(p, z, -0.3333324f);
    float small = SOMA__FMA(p * z, x, x);
    return fabsf(x) >= 0.25f ? large : small; /* NaN is small */
}

SOMA__INLINE float soma__sigmoidf(float x) {
    float e = soma__exp_near(-soma__size_to(x, 104.0f)), y = (x >= 0.0f ? 1.0f : e) / (1.0f + e);
    return x != x ? x : y;
}

SOMA__INLINE float soma__erff(float x) {
    float t = fabsf(x), z = x * x, c = t > 4.0f ? 4.0f : t;
    float p = SOMA__FMA(8.328764e-05f, z, -0.0008131025f);
    p = SOMA__FMA(p, z, 0.00519976f);
    p = SOMA__FMA(p, z, -0.026858732f);
    p = SOMA__FMA(p, z, 0.112836786f);
    p = SOMA__FMA(p, z, -0.37612632f);
    p = SOMA__FMA(p, z, 0.12837917f);
    float small = SOMA__FMA(p, x, x);
    float q = SOMA__FMA(9.966141e-07f, c, -1.6034854e-05f);
    q = SOMA__FMA(q, c, 9.067261e-05f);
    q = SOMA__FMA(q, c, -8.82855e-06f);
    q = SOMA__FMA(q, c, -0.0030677435f);
    q = SOMA__FMA(q, c, 0.023330953f);
    q = SOMA__FMA(q, c, -0.10639042f);
    q = SOMA__FMA(q, c, 0.3653971f);
    q = SOMA__FMA(q, c, -1.129038f);
    q = SOMA__FMA(q, c, 9.5772004e-05f);
    float large = 1.0f - soma__expf(SOMA__FMA(-c, c, q));
    return t < 0.921875f ? small : copysignf(large, x) + (x != x ? x : 0.0f);
}

/* log(1 + e^x) without overflow. */
SOMA__INLINE float soma__softplusf(float x) {
    return (x > 0.0f ? x : 0.0f) + soma__log1pf(soma__expf(-fabsf(x))) + (x != x ? x : 0.0f);
}

/* tanh(log(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2); beyond 20 it rounds to 1, and e^2x would overflow. */
SOMA__INLINE float soma__tanh_softplusf(float x) {
    float e = soma__expf(x), n = e * (e + 2.0f);
    return x > 20.0f ? 1.0f : n / (n + 2.0f);
}

#endif
