/* Folds of one row, and of many rows into columns. */
#include "kernels/cpu/reduce.h"

#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"

/* The exponentials of a block first, in a loop that becomes vectors, then their sum. */
enum { BLOCK = 256 };
static double expsum_f32(const float *x, int64_t n, double shift) {
    float e[BLOCK], by = (float)shift;
    double r = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t m = n - i < BLOCK ? n - i : BLOCK;
        for (int64_t j = 0; j < m; j++)
            e[j] = soma__expf(x[i + j] - by);
        r += sum_f32(e, m, 0.0);
    }
    return r;
}
static double expsum_f64(const double *x, int64_t n, double shift) {
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
    static int64_t name(const int64_t *x, int64_t n) {            \
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
    static void name(A *restrict acc, const T *restrict x, int64_t n, const double *restrict shift) { \
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
COL(col_expsum_f32, float, double, a + (double)soma__expf((float)(b - shift[j])))
COL(col_sum_f64, double, double, a + b)
COL(col_prod_f64, double, double, a * b)
COL(col_max_f64, double, double, ((b > a) | (b != b)) ? b : a)
COL(col_min_f64, double, double, ((b < a) | (b != b)) ? b : a)
COL(col_sqdev_f64, double, double, a + (b - shift[j]) * (b - shift[j]))
COL(col_expsum_f64, double, double, a + exp(b - shift[j]))

#define COL_I64(name, EXPR)                                                              \
    static void name(int64_t *restrict acc, const int64_t *restrict x, int64_t n) {      \
        for (int64_t j = 0; j < n; j++) {                                                \
            int64_t a = acc[j], b = x[j];                                                \
            acc[j] = EXPR;                                                               \
        }                                                                                \
    }
COL_I64(col_sum_i64, WRAP(+))
COL_I64(col_prod_i64, WRAP(*))
COL_I64(col_max_i64, a > b ? a : b)
COL_I64(col_min_i64, a < b ? a : b)

static void sum_rows_f32(double *restrict acc, const float *restrict x, int64_t stride, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        const float *p = x + j;
        float a = p[0] + p[stride], b = p[2 * stride] + p[3 * stride], c = p[4 * stride] + p[5 * stride], d = p[6 * stride] + p[7 * stride];
        acc[j] += (double)((a + b) + (c + d));
    }
}

const soma__reduce_kernels SOMA__ISA(soma__reduce) = {
    .row_f32 = {sum_f32, prod_f32, max_f32, min_f32, sqdev_f32, expsum_f32},
    .row_f64 = {sum_f64, prod_f64, max_f64, min_f64, sqdev_f64, expsum_f64},
    .row_i64 = {sum_i64, prod_i64, max_i64, min_i64},
    .col_f32 = {col_sum_f32, col_prod_f32, col_max_f32, col_min_f32, col_sqdev_f32, col_expsum_f32},
    .col_f64 = {col_sum_f64, col_prod_f64, col_max_f64, col_min_f64, col_sqdev_f64, col_expsum_f64},
    .col_i64 = {col_sum_i64, col_prod_i64, col_max_i64, col_min_i64},
    .sum_rows_f32 = sum_rows_f32,
};
