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
/* One tap over all channels with masked loads and stores; step 2 takes the even elements of two vectors. */
static void unfold_masked(float *dst, const float *src, const piece_f32 *pieces, int n, const soma__unfold *u) {
    __mmask16 inside[SOMA__PANEL_MAX], write[SOMA__PANEL_MAX], low[SOMA__PANEL_MAX], high[SOMA__PANEL_MAX];
    const int64_t dst_step = u->taps * u->width;
    for (int i = 0; i < n; i++) {
        const piece_f32 *p = &pieces[i];
        inside[i] = (__mmask16)(((1u << p->high) - 1) & ~((1u << p->low) - 1));
        write[i] = (__mmask16)((1u << p->count) - 1);
        unsigned spread = 0;
        for (int j = p->low; j < p->high; j++)
            spread |= 1u << 2 * j;
        low[i] = (__mmask16)spread;
        high[i] = (__mmask16)(spread >> 16);
    }
    if (u->step == 1) {
        for (int64_t c = 0; c < u->channels; c++, src += u->plane, dst += dst_step)
            for (int i = 0; i < n; i++)
                _mm512_mask_storeu_ps(dst + pieces[i].pos, write[i], _mm512_maskz_loadu_ps(inside[i], src + pieces[i].offset));
        return;
    }
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    for (int64_t c = 0; c < u->channels; c++, src += u->plane, dst += dst_step)
        for (int i = 0; i < n; i++) {
            const float *s = src + pieces[i].offset;
            __m512 v = _mm512_permutex2var_ps(_mm512_maskz_loadu_ps(low[i], s), even, _mm512_maskz_loadu_ps(high[i], s + 16));
            _mm512_mask_storeu_ps(dst + pieces[i].pos, write[i], v);
        }
}
#endif

const soma__conv_kernels SOMA__ISA(soma__conv) = {
    .f32 = {unfold_f32, wtile_f32, axpy_f32, dot_f32},
    .f64 = {unfold_f64, wtile_f64, axpy_f64, dot_f64},
};
