/* The convolution kernels of one instruction set: gathering image patches into panels, the tile of the weight's gradient,
 * and rows. The product of packed panels itself is the tile of gemm.c. Compiled once per instruction set. */
#include "kernels/cpu/conv.h"
#include "vec.h"

#define T float
#define F f32
#if SOMA_ISA_avx512
#define UNFOLD_MASKED
static void unfold_masked(const soma__unfold *u);
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
/* Sixteen columns of a panel at one tap: what each run puts there is read at its place in the vector, the rest is left out
 * by masks, which also keep the reads inside of the image. `from` is where lane 0 would read. */
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

/* One vector of a panel over all channels, for a number of parts that the compiler knows. */
INLINE void unfold_vector(float *dst, int64_t dst_step, const float *src, int64_t plane, int64_t channels, const part_f32 *q,
                          const int n) {
    for (int64_t c = 0; c < channels; c++, src += plane, dst += dst_step) {
        __m512 x = _mm512_setzero_ps();
        for (int i = 0; i < n; i++)
            x = _mm512_mask_loadu_ps(x, q[i].lanes, src + q[i].from);
        _mm512_storeu_ps(dst, x);
    }
}
/* The same for every second element: the even ones of two vectors. */
INLINE void unfold_even(float *dst, int64_t dst_step, const float *src, int64_t plane, int64_t channels, const part_f32 *q,
                        const int n) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    for (int64_t c = 0; c < channels; c++, src += plane, dst += dst_step) {
        __m512 x = _mm512_setzero_ps();
        for (int i = 0; i < n; i++) {
            const float *s = src + q[i].from;
            x = _mm512_mask_mov_ps(x, q[i].lanes, _mm512_permutex2var_ps(_mm512_maskz_loadu_ps(q[i].low, s), even,
                                                                         _mm512_maskz_loadu_ps(q[i].high, s + 16)));
        }
        _mm512_storeu_ps(dst, x);
    }
}

/* True when no tap leaves the image: then the parts are the same for all of them, only further on. */
static bool all_inside(const soma__unfold *u) {
    for (int64_t t = 0; t < u->taps; t++)
        for (int r = 0; r < u->n_runs; r++) {
            const soma__pixels *run = &u->runs[r];
            const int64_t y = run->y + u->dy[t], x = run->x + u->dx[t];
            if (y < 0 || y >= u->h || x < 0 || x + (run->count - 1) * u->step >= u->w)
                return false;
        }
    return true;
}

static void unfold_masked(const soma__unfold *u) {
    piece_f32 pieces[SOMA__PANEL_MAX];
    part_f32 parts[2 * SOMA__PANEL_MAX];
    int first[SOMA__PANEL_MAX / 16 + 1];
    const int vectors = u->width / 16;
    const int64_t step = u->taps * u->width, plane = u->plane, channels = u->channels;
    const bool inside = all_inside(u);
    float *dst = u->dst;
    for (int64_t t = 0; t < u->taps; t++) {
        const float *src = u->src;
        if (t == 0 || !inside)
            cut_parts(pieces, cut_f32(u, u->dy[t], u->dx[t], pieces), u->step, vectors, parts, first);
        else
            src += (u->dy[t] - u->dy[0]) * u->w + u->dx[t] - u->dx[0];
        for (int v = 0; v < vectors; v++, dst += 16) {
            const part_f32 *q = parts + first[v];
            const int count = first[v + 1] - first[v];
            if (u->step == 2)
                unfold_even(dst, step, src, plane, channels, q, count);
            else if (count == 1)
                unfold_vector(dst, step, src, plane, channels, q, 1);
            else if (count == 2)
                unfold_vector(dst, step, src, plane, channels, q, 2);
            else if (count == 3)
                unfold_vector(dst, step, src, plane, channels, q, 3);
            else
                unfold_vector(dst, step, src, plane, channels, q, count);
        }
    }
}
#endif

const soma__conv_kernels SOMA__ISA(soma__conv) = {
    .f32 = {unfold_f32, wtile_f32, axpy_f32, dot_f32},
    .f64 = {unfold_f64, wtile_f64, axpy_f64, dot_f64},
};
