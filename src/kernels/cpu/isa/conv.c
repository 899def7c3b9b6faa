/* The convolution kernels of one instruction set: the tile of pixels by channels, that of the weight's gradient, and rows.
 * Compiled once per instruction set. */
#include "kernels/cpu/conv.h"
#include "vec.h"

#include <math.h>

/* Sums of a tile stay in registers: 8 x 3 or 6 x 4 with AVX-512, so that 64 channels are one panel. Tiles of f64 are small, to be little
 * code. */
#define T float
#define F f32
#define CTILE_ROWS ROWS
#if SOMA_ISA_avx512
#define CTILE_VECTORS 4
#define SIZES_f32 4, {ROWS, ROWS, ROWS, 6}
#else
#define CTILE_VECTORS 2
#define SIZES_f32 2, {ROWS, ROWS}
#endif
#include "conv_tile.h"
#undef T
#undef F
#undef CTILE_ROWS
#undef CTILE_VECTORS
#define T double
#define F f64
#define CTILE_ROWS 4
#define CTILE_VECTORS 2
#define SIZES_f64 2, {4, 4}
#include "conv_tile.h"
#undef T
#undef F

const soma__conv_kernels SOMA__ISA(soma__conv) = {
    .f32 = {SIZES_f32, ctile_f32, wtile_f32, axpy_f32, dot_f32},
    .f64 = {SIZES_f64, ctile_f64, wtile_f64, axpy_f64, dot_f64},
};
