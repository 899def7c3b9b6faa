/* Softmax and log-sum-exp for f32 and f64. */
#include "kernels/cpu/softmax.h"

#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"

#include <stddef.h>
#include <string.h>

enum { BLOCK = 1024, MOST_ROWS = 128 }; /* elements and rows done together */

#define T float
#define NAME(name) name##_f32
#define EXP soma__expf
#define EXP_LANES soma__exp_lanes
#define LOG soma__logf
#define ROW_SUM sum_f32
#define ROW_MAX max_f32
#include "kernels/cpu/softmax_template.h"
#undef T
#undef NAME
#undef EXP
#undef EXP_LANES
#undef LOG
#undef ROW_SUM
#undef ROW_MAX

#define T double
#define NAME(name) name##_f64
#define EXP exp
#define LOG log
#define ROW_SUM sum_f64
#define ROW_MAX max_f64
#include "kernels/cpu/softmax_template.h"

#define TABLE(t)                                                                                                        \
    {                                                                                                                   \
        rows_##t, columns_##t, rows_backward_##t, columns_backward_##t, rows_lse_##t, columns_lse_##t, rows_scaled_##t, \
            columns_scaled_##t                                                                                          \
    }
const soma__softmax_kernels SOMA__ISA(soma__softmax) = {.f32 = TABLE(f32), .f64 = TABLE(f64)};
