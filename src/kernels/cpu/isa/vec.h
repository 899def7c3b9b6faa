/* One vector type per element type and instruction set, with the few operations that matrix kernels need.
 * Names end in _f32 or _f64; the templates paste the ending (FN). `n` is 1 … lanes; what is beyond is read as 0 and not written. */
#ifndef SOMA_SRC_ISA_VEC_H
#define SOMA_SRC_ISA_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if SOMA_ISA_avx512 || SOMA_ISA_avx2
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Keeps a vector in its register: GCC folds a load into each instruction that uses it, up to three. */
#if SOMA_ISA_avx512
#define HOLD(x) __asm__("" : "+v"(x))
#elif SOMA_ISA_avx2
#define HOLD(x) __asm__("" : "+x"(x))
#else
#define HOLD(x) (void)(x)
#endif

#if SOMA_ISA_avx512
/* ---- AVX-512: 32 registers, masks ---- */
#define ROWS 8
#define VECTORS 3
#define MASKS true
typedef __m512 vec_f32;
typedef __m512d vec_f64;
enum { LANES_f32 = 16, LANES_f64 = 8 };
INLINE __mmask16 mask_f32(int n) { return (__mmask16)((1u << n) - 1); }
INLINE __mmask8 mask_f64(int n) { return (__mmask8)((1u << n) - 1); }
INLINE vec_f32 load_f32(const float *p) { return _mm512_loadu_ps(p); }
INLINE vec_f64 load_f64(const double *p) { return _mm512_loadu_pd(p); }
INLINE vec_f32 load_n_f32(const float *p, int n) { return _mm512_maskz_loadu_ps(mask_f32(n), p); }
INLINE vec_f64 load_n_f64(const double *p, int n) { return _mm512_maskz_loadu_pd(mask_f64(n), p); }
INLINE void store_f32(float *p, vec_f32 v) { _mm512_storeu_ps(p, v); }
INLINE void store_f64(double *p, vec_f64 v) { _mm512_storeu_pd(p, v); }
INLINE void store_n_f32(float *p, vec_f32 v, int n) { _mm512_mask_storeu_ps(p, mask_f32(n), v); }
INLINE void store_n_f64(double *p, vec_f64 v, int n) { _mm512_mask_storeu_pd(p, mask_f64(n), v); }
INLINE vec_f32 set_f32(float x) { return _mm512_set1_ps(x); }
INLINE vec_f64 set_f64(double x) { return _mm512_set1_pd(x); }
INLINE vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm512_fmadd_pd(a, b, c); }
/* max(low, x), and x when x is NaN */
INLINE vec_f32 atleast_f32(vec_f32 low, vec_f32 x) { return _mm512_max_ps(low, x); }
INLINE vec_f64 atleast_f64(vec_f64 low, vec_f64 x) { return _mm512_max_pd(low, x); }
INLINE float sum_f32(vec_f32 v) { return _mm512_reduce_add_ps(v); }
INLINE vec_f32 sums_f32(const vec_f32 v[16]) {
    __m512 t[8];
    UNROLL for (int i = 0; i < 8; i++)
        t[i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    UNROLL for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(t[2 * i]), b = _mm512_castps_pd(t[2 * i + 1]);
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)) + _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    UNROLL for (int n = 2; n > 0; n /= 2)
        UNROLL for (int i = 0; i < n; i++)
            t[i] = _mm512_shuffle_f32x4(t[2 * i], t[2 * i + 1], 0x88) + _mm512_shuffle_f32x4(t[2 * i], t[2 * i + 1], 0xdd);
    return t[0];
}
INLINE double sum_f64(vec_f64 v) { return _mm512_reduce_add_pd(v); }

#elif SOMA_ISA_avx2
/* ---- AVX2 with FMA: 16 registers; partial loads and stores through a table of masks ---- */
#define ROWS 6
#define VECTORS 2
#define MASKS true
typedef __m256 vec_f32;
typedef __m256d vec_f64;
enum { LANES_f32 = 8, LANES_f64 = 4 };
static const int32_t mask_table[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
INLINE __m256i mask_f32(int n) { return _mm256_loadu_si256((const __m256i *)(mask_table + 8 - n)); }
INLINE __m256i mask_f64(int n) { return _mm256_loadu_si256((const __m256i *)(mask_table + 8 - 2 * n)); }
INLINE vec_f32 load_f32(const float *p) { return _mm256_loadu_ps(p); }
INLINE vec_f64 load_f64(const double *p) { return _mm256_loadu_pd(p); }
INLINE vec_f32 load_n_f32(const float *p, int n) { return _mm256_maskload_ps(p, mask_f32(n)); }
INLINE vec_f64 load_n_f64(const double *p, int n) { return _mm256_maskload_pd(p, mask_f64(n)); }
INLINE void store_f32(float *p, vec_f32 v) { _mm256_storeu_ps(p, v); }
INLINE void store_f64(double *p, vec_f64 v) { _mm256_storeu_pd(p, v); }
INLINE void store_n_f32(float *p, vec_f32 v, int n) { _mm256_maskstore_ps(p, mask_f32(n), v); }
INLINE void store_n_f64(double *p, vec_f64 v, int n) { _mm256_maskstore_pd(p, mask_f64(n), v); }
INLINE vec_f32 set_f32(float x) { return _mm256_set1_ps(x); }
INLINE vec_f64 set_f64(double x) { return _mm256_set1_pd(x); }
INLINE vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm256_fmadd_pd(a, b, c); }
INLINE vec_f32 atleast_f32(vec_f32 low, vec_f32 x) { return _mm256_max_ps(low, x); }
INLINE vec_f64 atleast_f64(vec_f64 low, vec_f64 x) { return _mm256_max_pd(low, x); }
INLINE vec_f32 sums_f32(const vec_f32 v[8]) {
    __m256 t[4];
    UNROLL for (int i = 0; i < 4; i++)
        t[i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    UNROLL for (int i = 0; i < 2; i++) {
        __m256d a = _mm256_castps_pd(t[2 * i]), b = _mm256_castps_pd(t[2 * i + 1]);
        t[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b)) + _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
    }
    return _mm256_permute2f128_ps(t[0], t[1], 0x20) + _mm256_permute2f128_ps(t[0], t[1], 0x31);
}
INLINE float sum_f32(vec_f32 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
INLINE double sum_f64(vec_f64 v) {
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

#else
/* ---- 128 bits in the compiler's own vectors: SSE2, NEON and anything else ---- */
#if defined(__aarch64__)
#define ROWS 8
#else
#define ROWS 4
#endif
#define VECTORS 2
#define MASKS false
typedef float vec_f32 __attribute__((vector_size(16)));
typedef double vec_f64 __attribute__((vector_size(16)));
typedef int32_t int_f32 __attribute__((vector_size(16)));
typedef int64_t int_f64 __attribute__((vector_size(16)));
enum { LANES_f32 = 4, LANES_f64 = 2 };
#define PLAIN(T, F)                                                                                   \
    INLINE vec_##F load_##F(const T *p) { vec_##F v; memcpy(&v, p, sizeof v); return v; }             \
    INLINE vec_##F load_n_##F(const T *p, int n)                                                      \
    {                                                                                                 \
        T t[LANES_##F] = {0};                                                                         \
        for (int i = 0; i < n; i++)                                                                   \
            t[i] = p[i];                                                                              \
        return load_##F(t);                                                                           \
    }                                                                                                 \
    INLINE void store_##F(T *p, vec_##F v) { memcpy(p, &v, sizeof v); }                               \
    INLINE void store_n_##F(T *p, vec_##F v, int n)                                                   \
    {                                                                                                 \
        for (int i = 0; i < n; i++)                                                                   \
            p[i] = v[i];                                                                              \
    }                                                                                                 \
    INLINE vec_##F atleast_##F(vec_##F low, vec_##F x)                                                \
    {                                                                                                 \
        int_##F below = (int_##F)(x < low);                                                           \
        return (vec_##F)(((int_##F)low & below) | ((int_##F)x & ~below));                             \
    }
PLAIN(float, f32)
PLAIN(double, f64)
#undef PLAIN
INLINE vec_f32 set_f32(float x) { return (vec_f32){x, x, x, x}; }
INLINE vec_f64 set_f64(double x) { return (vec_f64){x, x}; }
#if defined(__aarch64__)
INLINE vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return (vec_f32)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return (vec_f64)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#else
INLINE vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return c + a * b; }
INLINE vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return c + a * b; }
#endif
INLINE float sum_f32(vec_f32 v) { return (v[0] + v[2]) + (v[1] + v[3]); }
INLINE double sum_f64(vec_f64 v) { return v[0] + v[1]; }
INLINE vec_f32 sums_f32(const vec_f32 v[4]) { return (vec_f32){sum_f32(v[0]), sum_f32(v[1]), sum_f32(v[2]), sum_f32(v[3])}; }
#endif

/* sums: lane i becomes the sum of v[i]. */
INLINE vec_f64 sums_f64(const vec_f64 v[]) {
    double s[LANES_f64];
    for (int i = 0; i < LANES_f64; i++)
        s[i] = sum_f64(v[i]);
    return load_f64(s);
}

#endif
