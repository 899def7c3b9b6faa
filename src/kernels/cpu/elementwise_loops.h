/* Templates of elementwise rows: the loops that expressions of ops/elementwise.def are compiled in, for any dtype. A file that includes
 * this defines the functions of its dtypes (fn_f32_exp …) and then the rows through elementwise_rows.h. */
#ifndef SOMA_SRC_KERNELS_ELEMENTWISE_LOOPS_H
#define SOMA_SRC_KERNELS_ELEMENTWISE_LOOPS_H

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/math.h"

/* Output and input may be the same memory, element for element, and never overlap otherwise. */
#if defined(__clang__)
#define EACH _Pragma("clang loop vectorize(assume_safety)") for (int64_t i = 0; i < n; i++)
#else
#define EACH _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)
#endif
/* To a whole number within the limits; NaN is 0. */
SOMA__INLINE int64_t saturate(double v, double low, double high) {
    return v != v ? 0 : v <= low ? (int64_t)low : v >= high ? (high >= 0x1p63 ? INT64_MAX : (int64_t)high) : (int64_t)v;
}

/* Functions by dtype: F(exp)(x). */
#define CAT_(a, b) a##_##b
#define CAT(a, b) CAT_(a, b)
#define F(name) CAT(CAT(fn, DT), name)

/* Rows are contiguous; those of two inputs also take one input that is the same number throughout (stride 0). Whoever runs them
 * gathers other strides into blocks first (ops/elementwise.c), which keeps strided copies of all these loops out of the library. */
/* The argument of gelu's sigmoid: 2 sqrt(2 / pi) (x + 0.044715 x^3) */
#define GELU_U(x) ((x) * ((TYPE)1.5957691216057308 + (TYPE)0.071354816272600245 * (x) * (x)))

#define ROW1(fname, OUT, IN, EXPR) ROW1_(fname, OUT, IN, EXPR)
#define ROW1_(fname, OUT, IN, EXPR)                                                                                     \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        const IN P0 = PARAM(P[0]), P1 = PARAM(P[1]);                                                                    \
        OUT *o = (OUT *)p[0];                                                                                           \
        const IN *x = (const IN *)p[1];                                                                                 \
        (void)P0, (void)P1, (void)s;                                                                                    \
        EACH { const IN X = x[i]; o[i] = (OUT)(EXPR); }                                                                 \
    }
#define ROW2(fname, OUT, IN, EXPR) ROW2_(fname, OUT, IN, EXPR)
#define ROW2_(fname, OUT, IN, EXPR)                                                                                     \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        (void)P;                                                                                                        \
        OUT *o = (OUT *)p[0];                                                                                           \
        const IN *a = (const IN *)p[1], *b = (const IN *)p[2];                                                          \
        if (s[2] == 0) {                                                                                                \
            const IN B = *b;                                                                                            \
            EACH { const IN A = a[i]; o[i] = (OUT)(EXPR); }                                                             \
        } else if (s[1] == 0) {                                                                                         \
            const IN A = *a;                                                                                            \
            EACH { const IN B = b[i]; o[i] = (OUT)(EXPR); }                                                             \
        } else {                                                                                                        \
            EACH { const IN A = a[i], B = b[i]; o[i] = (OUT)(EXPR); }                                                   \
        }                                                                                                               \
    }
/* out = g * derivative: p[1] is the gradient that comes in, p[2] what was saved. */
#define SLOPE(fname, T, EXPR) SLOPE_(fname, T, EXPR)
#define SLOPE_(fname, T, EXPR)                                                                                          \
    static void fname(char *const *p, const int64_t *s, int64_t n, const double *P) {                                   \
        const T P0 = PARAM(P[0]), P1 = PARAM(P[1]);                                                                     \
        T *o = (T *)p[0];                                                                                               \
        const T *g = (const T *)p[1], *b = (const T *)p[2];                                                             \
        (void)P0, (void)P1, (void)s;                                                                                    \
        EACH { const T X = b[i], Y = X; (void)X, (void)Y; o[i] = g[i] * (EXPR); }                                       \
    }

#endif
