/* The convolution kernels of one instruction set: the tile of pixels by channels, that of the weight's gradient, and rows.
 * Compiled once per instruction set. */
#include "kernels/cpu/conv.h"
#include "vec.h"

#include <math.h>

/* Sums of a tile stay in registers: 8 x 3 or 6 x 4 with AVX-512, so that 64 channels are one panel. */
#if SOMA_ISA_avx512
enum { CTILE_WIDE = 6 };
#define CTILE_VECTORS 4
#else
enum { CTILE_WIDE = ROWS };
#define CTILE_VECTORS 2
#endif
#define CTILE_ROWS ROWS

#define T float
#define F f32
#include "conv_tile.h"
#undef T
#undef F
#define T double
#define F f64
#include "conv_tile.h"
#undef T
#undef F

#define TABLE(F) {CTILE_VECTORS, {ROWS, ROWS, ROWS, CTILE_WIDE}, ctile_##F, wtile_##F, axpy_##F, dot_##F}
const soma__conv_kernels SOMA__ISA(soma__conv) = {.f32 = TABLE(f32), .f64 = TABLE(f64)};
