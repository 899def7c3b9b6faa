/* The convolution kernels of one instruction set: gathering image patches into panels, the tile of the weight's gradient, and rows.
 * The product of packed panels itself is the tile of gemm.c. Compiled once per instruction set. */
#include "kernels/cpu/conv.h"
#include "vec.h"

#define T float
#define F f32
#if SOMA_ISA_avx512
#define UNFOLD_MASKED
struct piece_f32;
typedef struct piece_f32 piece_f32;
static void unfold_masked(float *dst, const float *src, const piece_f32 *pieces, int n, const soma__unfold *u);
#endif
#include "conv_tile.h"
#undef T
#undef F
#define T double
#define F f64
#include "conv_tile.h"
#undef T
#undef F

#if SOMA_ISA_avx512
/* Sixteen columns of a panel at one tap: what each run puts there is read at its place in the vector, the rest is left out by masks,
 * which also keep the reads inside of the image. `from` is where lane 0 would read. */
typedef struct part_f32 {
    int64_t from;
    __mmask16 lanes, low, high; /* step 2: the elements to read from the first and the second sixteen */
} part_f32;

/* Cuts the pieces where the panel's vectors end; parts of vector v are first[v] … first[v + 1] - 1. */
static void cut_parts(const piece_f32 *pieces, int n, int64_t step, int vectors, part_f32 *parts, int *first) {
    int count = 0, v = 0;
    first[0] = 0;
    for (int i = 0; i < n; i++) {
        const piece_f32 *p = &pieces[i];
        for (int lane = p->pos + p->low, end = p->pos + p->high; lane < end;) {
            const int at = lane / 16, stop = end < (at + 1) * 16 ? end : (at + 1) * 16;
            for (; v < at; v++)
                first[v + 1] = count;
            part_f32 *q = &parts[count++];
            q->from = p->offset - (p->pos - at * 16) * step;
            q->lanes = (__mmask16)(((1u << (stop - at * 16)) - 1) & ~((1u << (lane - at * 16)) - 1));
            unsigned spread = 0;
            for (int j = lane; j < stop && step == 2; j++)
                spread |= 1u << 2 * (j - at * 16);
            q->low = (__mmask16)spread;
            q->high = (__mmask16)(spread >> 16);
            lane = stop;
        }
    }
    for (; v < vectors; v++)
        first[v + 1] = count;
}

/* One tap over all channels; step 2 takes the even elements of two vectors. */
static void unfold_masked(float *dst, const float *src, const piece_f32 *pieces, int n, const soma__unfold *u) {
    part_f32 parts[2 * SOMA__PANEL_MAX];
    int first[SOMA__PANEL_MAX / 16 + 1];
    const int vectors = u->width / 16;
    const int64_t dst_step = u->taps * u->width;
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    cut_parts(pieces, n, u->step, vectors, parts, first);
    for (int64_t c = 0; c < u->channels; c++, src += u->plane, dst += dst_step)
        for (int v = 0; v < vectors; v++) {
            __m512 x = _mm512_setzero_ps();
            for (const part_f32 *q = parts + first[v]; q < parts + first[v + 1]; q++) {
                const float *s = src + q->from;
                if (u->step == 1)
                    x = _mm512_mask_loadu_ps(x, q->lanes, s);
                else
                    x = _mm512_mask_mov_ps(x, q->lanes, _mm512_permutex2var_ps(_mm512_maskz_loadu_ps(q->low, s), even,
                                                                               _mm512_maskz_loadu_ps(q->high, s + 16)));
            }
            _mm512_storeu_ps(dst + v * 16, x);
        }
}
#endif

const soma__conv_kernels SOMA__ISA(soma__conv) = {
    .f32 = {unfold_f32, wtile_f32, axpy_f32, dot_f32},
    .f64 = {unfold_f64, wtile_f64, axpy_f64, dot_f64},
};
