/* Losses of single elements, f32 and f64. */
#include "kernels/cpu/loss.h"

#include "kernels/cpu/math.h"

#define LOSS(name, T, EXPR)                                                                               \
    static void name(const T *restrict x, const T *restrict t, T *restrict y, int64_t n) {                \
        for (int64_t i = 0; i < n; i++) {                                                                 \
            T a = x[i], b = t[i];                                                                         \
            y[i] = EXPR;                                                                                  \
        }                                                                                                 \
    }
LOSS(square_f32, float, (a - b) * (a - b))
LOSS(absolute_f32, float, fabsf(a - b))
LOSS(logistic_f32, float, (a < 0.0f ? 0.0f : a) - a * b + soma__log1pf(soma__expf(-fabsf(a))))
LOSS(square_f64, double, (a - b) * (a - b))
LOSS(absolute_f64, double, fabs(a - b))
LOSS(logistic_f64, double, (a < 0.0 ? 0.0 : a) - a * b + log1p(exp(-fabs(a))))

const soma__loss_kernels SOMA__ISA(soma__loss) = {
    .f32 = {square_f32, absolute_f32, logistic_f32},
    .f64 = {square_f64, absolute_f64, logistic_f64},
};
