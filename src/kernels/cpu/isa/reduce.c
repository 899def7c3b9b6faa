/* Folds of one row, and of many rows into columns. Written with vectors of a fixed length (the compiler splits them where the
 * machine's are shorter), because a plain loop may not be reordered into lanes. */
#include "kernels/cpu/reduce.h"

#include <math.h>

typedef float v16f __attribute__((vector_size(64)));
typedef float v16f_any __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef double v8d __attribute__((vector_size(64)));
typedef double v8d_any __attribute__((vector_size(64), aligned(8), may_alias));
typedef int64_t v8l __attribute__((vector_size(64)));

static inline double sum_of(double a, double b) { return a + b; }
static inline double product_of(double a, double b) { return a * b; }
static inline double larger_of(double a, double b) { return b > a || b != b ? b : a; }
static inline double smaller_of(double a, double b) { return b < a || b != b ? b : a; }

/* A row: four vectors of lanes, then single vectors, then the rest one by one; all lanes are joined in doubles, in order. */
#define ROW(name, T, V, VANY, LANES, START, STEP, SCALAR, JOIN, PREPARE)                   \
    static double name(const T *x, int64_t n, double shift)                                \
    {                                                                                      \
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
            for (int k = 0; k < 4; k++) {                                                  \
                *(VANY *)out = acc[k];                                                     \
                for (int j = 0; j < LANES; j++)                                            \
                    r = JOIN(r, (double)out[j]);                                           \
            }                                                                              \
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

ROW(sum_f32, float, v16f, v16f_any, 16, 0.0, STEP_SUM, PLAIN, sum_of, NO_SHIFT)
ROW(prod_f32, float, v16f, v16f_any, 16, 1.0, STEP_PROD, PLAIN, product_of, NO_SHIFT)
ROW(max_f32, float, v16f, v16f_any, 16, -INFINITY, STEP_MAX_F, PLAIN, larger_of, NO_SHIFT)
ROW(min_f32, float, v16f, v16f_any, 16, INFINITY, STEP_MIN_F, PLAIN, smaller_of, NO_SHIFT)
ROW(sqdev_f32, float, v16f, v16f_any, 16, 0.0, STEP_SQDEV, SQUARED, sum_of, SHIFT)
ROW(sum_f64, double, v8d, v8d_any, 8, 0.0, STEP_SUM, PLAIN, sum_of, NO_SHIFT)
ROW(prod_f64, double, v8d, v8d_any, 8, 1.0, STEP_PROD, PLAIN, product_of, NO_SHIFT)
ROW(max_f64, double, v8d, v8d_any, 8, -INFINITY, STEP_MAX_D, PLAIN, larger_of, NO_SHIFT)
ROW(min_f64, double, v8d, v8d_any, 8, INFINITY, STEP_MIN_D, PLAIN, smaller_of, NO_SHIFT)
ROW(sqdev_f64, double, v8d, v8d_any, 8, 0.0, STEP_SQDEV, SQUARED, sum_of, SHIFT)

/* The exponentials of a block first, in a loop that becomes vectors, then their sum. */
enum { BLOCK = 256 };
static double expsum_f32(const float *x, int64_t n, double shift)
{
    float e[BLOCK], by = (float)shift;
    double r = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t m = n - i < BLOCK ? n - i : BLOCK;
        for (int64_t j = 0; j < m; j++)
            e[j] = expf(x[i + j] - by);
        r += sum_f32(e, m, 0.0);
    }
    return r;
}
static double expsum_f64(const double *x, int64_t n, double shift)
{
    double e[BLOCK], r = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t m = n - i < BLOCK ? n - i : BLOCK;
        for (int64_t j = 0; j < m; j++)
            e[j] = exp(x[i + j] - shift);
        r += sum_f64(e, m, 0.0);
    }
    return r;
}

/* Integers wrap around on overflow, as PyTorch's. */
#define ROW_I64(name, START, EXPR)                                \
    static int64_t name(const int64_t *x, int64_t n)              \
    {                                                             \
        int64_t r = START;                                        \
        for (int64_t i = 0; i < n; i++) {                         \
            int64_t a = r, b = x[i];                              \
            r = EXPR;                                             \
        }                                                         \
        return r;                                                 \
    }
#define WRAP(op) (int64_t)((uint64_t)a op (uint64_t)b)
ROW_I64(sum_i64, 0, WRAP(+))
ROW_I64(prod_i64, 1, WRAP(*))
ROW_I64(max_i64, INT64_MIN, a > b ? a : b)
ROW_I64(min_i64, INT64_MAX, a < b ? a : b)

#define COL(name, T, A, EXPR)                                                                      \
    static void name(A *restrict acc, const T *restrict x, int64_t n, const double *restrict shift) \
    {                                                                                              \
        (void)shift;                                                                               \
        for (int64_t j = 0; j < n; j++) {                                                          \
            A a = acc[j], b = (A)x[j];                                                             \
            acc[j] = EXPR;                                                                         \
        }                                                                                          \
    }
COL(col_sum_f32, float, double, a + b)
COL(col_prod_f32, float, double, a * b)
COL(col_max_f32, float, double, ((b > a) | (b != b)) ? b : a)
COL(col_min_f32, float, double, ((b < a) | (b != b)) ? b : a)
COL(col_sqdev_f32, float, double, a + (b - shift[j]) * (b - shift[j]))
COL(col_expsum_f32, float, double, a + (double)expf((float)(b - shift[j])))
COL(col_sum_f64, double, double, a + b)
COL(col_prod_f64, double, double, a * b)
COL(col_max_f64, double, double, ((b > a) | (b != b)) ? b : a)
COL(col_min_f64, double, double, ((b < a) | (b != b)) ? b : a)
COL(col_sqdev_f64, double, double, a + (b - shift[j]) * (b - shift[j]))
COL(col_expsum_f64, double, double, a + exp(b - shift[j]))

#define COL_I64(name, EXPR)                                                              \
    static void name(int64_t *restrict acc, const int64_t *restrict x, int64_t n)        \
    {                                                                                    \
        for (int64_t j = 0; j < n; j++) {                                                \
            int64_t a = acc[j], b = x[j];                                                \
            acc[j] = EXPR;                                                               \
        }                                                                                \
    }
COL_I64(col_sum_i64, WRAP(+))
COL_I64(col_prod_i64, WRAP(*))
COL_I64(col_max_i64, a > b ? a : b)
COL_I64(col_min_i64, a < b ? a : b)

const soma__reduce_kernels SOMA__ISA(soma__reduce) = {
    .row_f32 = {sum_f32, prod_f32, max_f32, min_f32, sqdev_f32, expsum_f32},
    .row_f64 = {sum_f64, prod_f64, max_f64, min_f64, sqdev_f64, expsum_f64},
    .row_i64 = {sum_i64, prod_i64, max_i64, min_i64},
    .col_f32 = {col_sum_f32, col_prod_f32, col_max_f32, col_min_f32, col_sqdev_f32, col_expsum_f32},
    .col_f64 = {col_sum_f64, col_prod_f64, col_max_f64, col_min_f64, col_sqdev_f64, col_expsum_f64},
    .col_i64 = {col_sum_i64, col_prod_i64, col_max_i64, col_min_i64},
};
