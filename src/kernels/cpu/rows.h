/* Sums, products and extremes of one row, for the files in isa/. Written with vectors of a fixed length (the compiler splits them
 * where the machine's are shorter), because a plain loop may not be reordered into lanes. */
#ifndef SOMA_SRC_ROWS_H
#define SOMA_SRC_ROWS_H

#include <math.h>
#include <stdint.h>

#define SOMA__ROW static __attribute__((unused))

typedef float v16f __attribute__((vector_size(64)));
typedef float v16f_any __attribute__((vector_size(64), aligned(4), may_alias));
typedef double v8d __attribute__((vector_size(64)));
typedef double v8d_any __attribute__((vector_size(64), aligned(8), may_alias));

#define SUM_OF(a, b) ((a) + (b))
#define PRODUCT_OF(a, b) ((a) * (b))
#define LARGER_OF(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define SMALLER_OF(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))

/* A row: four vectors of lanes, then single vectors, then the rest one by one. Lanes are joined two by two. */
#define ROW(name, T, V, VANY, LANES, START, STEP, SCALAR, JOIN, JOIN_LANES, PREPARE)       \
    SOMA__ROW double name(const T *x, int64_t n, double shift) {                           \
        PREPARE(T, V)                                                                      \
        V acc[4];                                                                          \
        T out[LANES];                                                                      \
        int64_t i = 0;                                                                     \
        double r = START;                                                                  \
        if (n >= LANES) {                                                                  \
            for (int k = 0; k < 4; k++)                                                    \
                acc[k] = (V){0} + (T)(START);                                              \
            for (; i + 4 * LANES <= n; i += 4 * LANES)                                     \
                for (int k = 0; k < 4; k++) {                                              \
                    V v = *(const VANY *)(x + i + k * LANES);                              \
                    STEP(V, acc[k], v)                                                     \
                }                                                                          \
            for (; i + LANES <= n; i += LANES) {                                           \
                V v = *(const VANY *)(x + i);                                              \
                STEP(V, acc[0], v)                                                         \
            }                                                                              \
            JOIN_LANES(V, acc[0], acc[1])                                                  \
            JOIN_LANES(V, acc[2], acc[3])                                                  \
            JOIN_LANES(V, acc[0], acc[2])                                                  \
            *(VANY *)out = acc[0];                                                         \
            for (int w = LANES / 2; w > 0; w /= 2)                                         \
                for (int j = 0; j < w; j++)                                                \
                    out[j] = (T)JOIN(out[j], out[j + w]);                                  \
            r = out[0];                                                                    \
        }                                                                                  \
        for (; i < n; i++)                                                                 \
            r = JOIN(r, SCALAR((double)x[i]));                                             \
        return r;                                                                          \
    }

#define NO_SHIFT(T, V) (void)shift;
#define SHIFT(T, V) const V by = (V){0} + (T)shift;
#define PLAIN(v) (v)
#define SQUARED(v) (((v) - shift) * ((v) - shift))
#define STEP_SUM(V, acc, v) acc += v;
#define STEP_PROD(V, acc, v) acc *= v;
#define STEP_SQDEV(V, acc, v) { V d = v - by; acc += d * d; }

/* The extremes compare, and a comparison of vectors longer than the machine's is done element by element: so these take the machine's
 * own length, as many of them as make the same lanes as above. NaN wins. */
#if SOMA_ISA_avx512
#define NATIVE 64
#elif SOMA_ISA_avx2
#define NATIVE 32
#else
#define NATIVE 16
#endif
typedef float nf __attribute__((vector_size(NATIVE)));
typedef float nf_any __attribute__((vector_size(NATIVE), aligned(4), may_alias));
typedef int32_t ni __attribute__((vector_size(NATIVE)));
typedef double nd __attribute__((vector_size(NATIVE)));
typedef double nd_any __attribute__((vector_size(NATIVE), aligned(8), may_alias));
typedef int64_t nl __attribute__((vector_size(NATIVE)));
#define PARTS (64 / NATIVE)
#define TAKE(V, IV, acc, v, OP)                                                            \
    do {                                                                                   \
        IV mask = (IV)((v)OP(acc)) | (IV)((v) != (v));                                     \
        (acc) = (V)((mask & (IV)(v)) | (~mask & (IV)(acc)));                               \
    } while (0)
#define EXTREME_ROW(name, T, V, VANY, IV, LANES, START, OP, JOIN)                          \
    SOMA__ROW double name(const T *x, int64_t n, double shift) {                           \
        enum { EACH_PART = LANES / PARTS };                                                \
        V acc[4][PARTS];                                                                   \
        T out[LANES];                                                                      \
        int64_t i = 0;                                                                     \
        double r = START;                                                                  \
        (void)shift;                                                                       \
        if (n >= LANES) {                                                                  \
            for (int k = 0; k < 4 * PARTS; k++)                                            \
                acc[k / PARTS][k % PARTS] = (V){0} + (T)(START);                           \
            for (; i + 4 * LANES <= n; i += 4 * LANES)                                     \
                for (int k = 0; k < 4 * PARTS; k++) {                                      \
                    V v = *(const VANY *)(x + i + k * EACH_PART);                          \
                    TAKE(V, IV, acc[k / PARTS][k % PARTS], v, OP);                         \
                }                                                                          \
            for (; i + LANES <= n; i += LANES)                                             \
                for (int k = 0; k < PARTS; k++) {                                          \
                    V v = *(const VANY *)(x + i + k * EACH_PART);                          \
                    TAKE(V, IV, acc[0][k], v, OP);                                         \
                }                                                                          \
            for (int k = 0; k < PARTS; k++) {                                              \
                TAKE(V, IV, acc[0][k], acc[1][k], OP);                                     \
                TAKE(V, IV, acc[2][k], acc[3][k], OP);                                     \
                TAKE(V, IV, acc[0][k], acc[2][k], OP);                                     \
                *(VANY *)(out + k * EACH_PART) = acc[0][k];                                \
            }                                                                              \
            for (int w = LANES / 2; w > 0; w /= 2)                                         \
                for (int j = 0; j < w; j++)                                                \
                    out[j] = (T)JOIN(out[j], out[j + w]);                                  \
            r = out[0];                                                                    \
        }                                                                                  \
        for (; i < n; i++)                                                                 \
            r = JOIN(r, (double)x[i]);                                                     \
        return r;                                                                          \
    }

ROW(sum_f32, float, v16f, v16f_any, 16, 0.0, STEP_SUM, PLAIN, SUM_OF, STEP_SUM, NO_SHIFT)
ROW(prod_f32, float, v16f, v16f_any, 16, 1.0, STEP_PROD, PLAIN, PRODUCT_OF, STEP_PROD, NO_SHIFT)
EXTREME_ROW(max_f32, float, nf, nf_any, ni, 16, -INFINITY, >, LARGER_OF)
EXTREME_ROW(min_f32, float, nf, nf_any, ni, 16, INFINITY, <, SMALLER_OF)
ROW(sqdev_f32, float, v16f, v16f_any, 16, 0.0, STEP_SQDEV, SQUARED, SUM_OF, STEP_SUM, SHIFT)
ROW(sum_f64, double, v8d, v8d_any, 8, 0.0, STEP_SUM, PLAIN, SUM_OF, STEP_SUM, NO_SHIFT)
ROW(prod_f64, double, v8d, v8d_any, 8, 1.0, STEP_PROD, PLAIN, PRODUCT_OF, STEP_PROD, NO_SHIFT)
EXTREME_ROW(max_f64, double, nd, nd_any, nl, 8, -INFINITY, >, LARGER_OF)
EXTREME_ROW(min_f64, double, nd, nd_any, nl, 8, INFINITY, <, SMALLER_OF)
ROW(sqdev_f64, double, v8d, v8d_any, 8, 0.0, STEP_SQDEV, SQUARED, SUM_OF, STEP_SUM, SHIFT)

#endif
