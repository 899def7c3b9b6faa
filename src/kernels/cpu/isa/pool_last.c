/* Pooling of images [H, W, C]: a window's elements are rows of channels, so vectors run along the channels whatever the window. Elements
 * are met in the order of ref/, and sums are divided as there: the same bits. */
#include "kernels/cpu/pool.h"

#include <string.h>

static __attribute__((noinline)) soma__window window(const soma__pool *p, int axis, int64_t o) { return soma__pool_window(p, axis, o); }

/* ---- Maximum: a later element wins when it is larger, or NaN ------------------------------------------------------ */

static void take(const float *restrict x, int64_t n, int32_t place, float *restrict y, int32_t *restrict index) {
    for (int64_t k = 0; k < n; k++) {
        const float v = x[k];
        const int32_t better = -(int32_t)((v > y[k]) | (v != v));
        y[k] = better ? v : y[k];
        index[k] = (better & place) | (~better & index[k]);
    }
}

static void max(const soma__pool *p, int64_t channels, int64_t row, const float *x, float *y, int32_t *index) {
    const soma__window v = window(p, 0, row);
    for (int64_t c = 0; c < p->out[1]; c++, y += channels, index += channels) {
        const soma__window h = window(p, 1, c);
        const int64_t first = v.start * p->in[1] + h.start;
        memcpy(y, x + first * channels, (size_t)channels * sizeof *y);
        for (int64_t k = 0; k < channels; k++)
            index[k] = (int32_t)first;
        for (int64_t i = v.start; i < v.end; i += p->dilation[0])
            for (int64_t j = h.start; j < h.end; j += p->dilation[1])
                take(x + (i * p->in[1] + j) * channels, channels, (int32_t)(i * p->in[1] + j), y, index);
    }
}

/* Of a window's four places, the one that `index` names gets g and the others zero. */
static void give(const float *restrict g, const int32_t *restrict index, int64_t n, int32_t base, int32_t width, float *restrict a,
                 float *restrict b) {
    for (int64_t k = 0; k < n; k++) {
        const int32_t at = index[k] - base;
        a[k] = at == 0 ? g[k] : 0;
        a[n + k] = at == 1 ? g[k] : 0;
        b[k] = at == width ? g[k] : 0;
        b[n + k] = at == width + 1 ? g[k] : 0;
    }
}

static void max2x2_backward(const soma__pool *p, int64_t channels, int64_t row, const float *g, const int32_t *index, float *gx) {
    const int64_t width = p->in[1], line = width * channels;
    float *a = gx + 2 * row * line, *b = a + line;
    for (int64_t j = 0; j < p->out[1]; j++, a += 2 * channels, b += 2 * channels)
        give(g + j * channels, index + j * channels, channels, (int32_t)(2 * row * width + 2 * j), (int32_t)width, a, b);
    if (2 * p->out[1] < width) { /* what no window covers */
        memset(a, 0, sizeof *a * (size_t)channels);
        memset(b, 0, sizeof *b * (size_t)channels);
    }
    if (row == p->out[0] - 1)
        memset(gx + 2 * p->out[0] * line, 0, sizeof *gx * (size_t)((p->in[0] - 2 * p->out[0]) * line));
}

/* ---- Average ---------------------------------------------------------------------------------------------------- */

static void avg(const soma__pool *p, int64_t channels, int64_t row, const float *x, float *y) {
    const soma__window v = window(p, 0, row);
    for (int64_t c = 0; c < p->out[1]; c++, y += channels) {
        const soma__window h = window(p, 1, c);
        const float count = (float)(v.count * h.count);
        memset(y, 0, (size_t)channels * sizeof *y);
        for (int64_t i = v.start; i < v.end; i++)
            for (int64_t j = h.start; j < h.end; j++) {
                const float *restrict from = x + (i * p->in[1] + j) * channels;
                float *restrict to = y;
                for (int64_t k = 0; k < channels; k++)
                    to[k] += from[k];
            }
        for (int64_t k = 0; k < channels; k++)
            y[k] /= count;
    }
}

static void avg_backward(const soma__pool *p, int64_t channels, int64_t n, const float *g, float *gx) {
    for (int64_t i = 0; i < p->in[0] * p->in[1]; i++)
        memset(gx + i * channels, 0, sizeof *gx * (size_t)n);
    for (int64_t r = 0; r < p->out[0]; r++) {
        const soma__window v = window(p, 0, r);
        for (int64_t c = 0; c < p->out[1]; c++, g += channels) {
            const soma__window h = window(p, 1, c);
            const float count = (float)(v.count * h.count);
            for (int64_t i = v.start; i < v.end; i++)
                for (int64_t j = h.start; j < h.end; j++) {
                    float *restrict to = gx + (i * p->in[1] + j) * channels;
                    for (int64_t k = 0; k < n; k++)
                        to[k] += g[k] / count;
                }
        }
    }
}

const soma__pool_last_kernels SOMA__ISA(soma__pool_last) = {
    .max = max, .max2x2_backward = max2x2_backward, .avg = avg, .avg_backward = avg_backward};
