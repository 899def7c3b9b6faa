/* Sums, products and extremes of one row, for the files in isa/. Written with vectors of a fixed length (the compiler splits them
 * where the machine's are shorter), because a plain loop may not be reordered into lanes. */
#ifndef SOMA_SRC_ROWS_H
#define SOMA_SRC_ROWS_H

#include <math.h>
#include <stdint.h>

#define SOMA__ROW static __attribute__((unused))

typedef float v16f __attribute__((vector_size(64)));
typedef float v16f_any __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef double v8d __attribute__((vector_size(64)));
typedef double v8d_any __attribute__((vector_size(64), aligned(8), may_alias));
typedef int64_t v8l __attribute__((vector_size(64)));

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
#define SELECT(V, IV, acc, v, mask) acc = (V)(((IV)(mask) & (IV)(v)) | (~(IV)(mask) & (IV)(acc)));
#define STEP_SUM(V, acc, v) acc += v;
#define STEP_PROD(V, acc, v) acc *= v;
#define STEP_SQDEV(V, acc, v) { V d = v - by; acc += d * d; }
#define STEP_MAX_F(V, acc, v) SELECT(v16f, v16i, acc, v, (v > acc) | (v != v))
#define STEP_MIN_F(V, acc, v) SELECT(v16f, v16i, acc, v, (v < acc) | (v != v))
#define STEP_MAX_D(V, acc, v) SELECT(v8d, v8l, acc, v, (v > acc) | (v != v))
#define STEP_MIN_D(V, acc, v) SELECT(v8d, v8l, acc, v, (v < acc) | (v != v))

ROW(sum_f32, float, v16f, v16f_any, 16, 0.0, STEP_SUM, PLAIN, SUM_OF, STEP_SUM, NO_SHIFT)
ROW(prod_f32, float, v16f, v16f_any, 16, 1.0, STEP_PROD, PLAIN, PRODUCT_OF, STEP_PROD, NO_SHIFT)
ROW(max_f32, float, v16f, v16f_any, 16, -INFINITY, STEP_MAX_F, PLAIN, LARGER_OF, STEP_MAX_F, NO_SHIFT)
ROW(min_f32, float, v16f, v16f_any, 16, INFINITY, STEP_MIN_F, PLAIN, SMALLER_OF, STEP_MIN_F, NO_SHIFT)
ROW(sqdev_f32, float, v16f, v16f_any, 16, 0.0, STEP_SQDEV, SQUARED, SUM_OF, STEP_SUM, SHIFT)
ROW(sum_f64, double, v8d, v8d_any, 8, 0.0, STEP_SUM, PLAIN, SUM_OF, STEP_SUM, NO_SHIFT)
ROW(prod_f64, double, v8d, v8d_any, 8, 1.0, STEP_PROD, PLAIN, PRODUCT_OF, STEP_PROD, NO_SHIFT)
ROW(max_f64, double, v8d, v8d_any, 8, -INFINITY, STEP_MAX_D, PLAIN, LARGER_OF, STEP_MAX_D, NO_SHIFT)
ROW(min_f64, double, v8d, v8d_any, 8, INFINITY, STEP_MIN_D, PLAIN, SMALLER_OF, STEP_MIN_D, NO_SHIFT)
ROW(sqdev_f64, double, v8d, v8d_any, 8, 0.0, STEP_SQDEV, SQUARED, SUM_OF, STEP_SUM, SHIFT)

#endif
