/* Pooling of images [H, W, C]: a window's elements are rows of channels, so vectors run along the channels whatever the window. Elements
 * are met in the order of ref/, and sums are divided as there: the same bits. */
#include "kernels/cpu/pool.h"

#include "kernels/cpu/isa/pool_vec.h"

#define INLINE static inline __attribute__((always_inline))
enum { WIDE = 4 }; /* vectors of channels at a time */

/* ---- Maximum ---------------------------------------------------------------------------------------------------- */

INLINE void max_vectors(const soma__pool *p, soma__window v, soma__window h, int64_t channels, const float *x, float *y, int32_t *index,
                        const int n) {
    v8f top[WIDE];
    v8i at[WIDE];
    const int64_t first = v.start * p->in[1] + h.start;
    for (int q = 0; q < n; q++) {
        top[q] = load(x + first * channels + 8 * q);
        at[q] = (v8i){0} + (int32_t)first;
    }
    for (int64_t i = v.start; i < v.end; i += p->dilation[0])
        for (int64_t j = h.start; j < h.end; j += p->dilation[1]) {
            const int64_t place = i * p->in[1] + j;
            for (int q = 0; q < n; q++)
                better(&top[q], &at[q], load(x + place * channels + 8 * q), (int32_t)place);
        }
    for (int q = 0; q < n; q++) {
        store(y + 8 * q, top[q]);
        memcpy(index + 8 * q, &at[q], sizeof at[q]);
    }
}

static void max_one(const soma__pool *p, soma__window v, soma__window h, int64_t channels, const float *x, float *y, int32_t *index) {
    int64_t best = v.start * p->in[1] + h.start;
    for (int64_t i = v.start; i < v.end; i += p->dilation[0])
        for (int64_t j = h.start; j < h.end; j += p->dilation[1]) {
            const int64_t place = i * p->in[1] + j;
            const float value = x[place * channels];
            best = value > x[best * channels] || value != value ? place : best;
        }
    *y = x[best * channels];
    *index = (int32_t)best;
}

static void max(const soma__pool *p, int64_t channels, int64_t row, const float *x, float *y, int32_t *index) {
    const soma__window v = soma__pool_window(p, 0, row);
    for (int64_t c = 0; c < p->out[1]; c++, y += channels, index += channels) {
        const soma__window h = soma__pool_window(p, 1, c);
        int64_t k = 0;
        for (; k + 8 * WIDE <= channels; k += 8 * WIDE)
            max_vectors(p, v, h, channels, x + k, y + k, index + k, WIDE);
        for (; k + 8 <= channels; k += 8)
            max_vectors(p, v, h, channels, x + k, y + k, index + k, 1);
        for (; k < channels; k++)
            max_one(p, v, h, channels, x + k, y + k, index + k);
    }
}

static void max2x2_backward(const soma__pool *p, int64_t channels, int64_t row, const float *g, const int32_t *index, float *gx) {
    const int64_t width = p->in[1], line = width * channels;
    float *a = gx + 2 * row * line, *b = a + line;
    for (int64_t j = 0; j < p->out[1]; j++, a += 2 * channels, b += 2 * channels) {
        const int32_t base = (int32_t)(2 * row * width + 2 * j);
        int64_t k = 0;
        for (; k + 8 <= channels; k += 8, g += 8, index += 8) {
            v8i at;
            const v8f v = load(g), zero = {0};
            memcpy(&at, index, sizeof at);
            store(a + k, choose(at == base, v, zero));
            store(a + channels + k, choose(at == base + 1, v, zero));
            store(b + k, choose(at == base + (int32_t)width, v, zero));
            store(b + channels + k, choose(at == base + (int32_t)width + 1, v, zero));
        }
        for (; k < channels; k++, g++, index++) {
            a[k] = *index == base ? *g : 0;
            a[channels + k] = *index == base + 1 ? *g : 0;
            b[k] = *index == base + width ? *g : 0;
            b[channels + k] = *index == base + width + 1 ? *g : 0;
        }
    }
    if (2 * p->out[1] < width) { /* what no window covers */
        memset(a, 0, sizeof *a * (size_t)channels);
        memset(b, 0, sizeof *b * (size_t)channels);
    }
    if (row == p->out[0] - 1)
        memset(gx + 2 * p->out[0] * line, 0, sizeof *gx * (size_t)((p->in[0] - 2 * p->out[0]) * line));
}

/* ---- Average ---------------------------------------------------------------------------------------------------- */

INLINE void avg_vectors(const soma__pool *p, soma__window v, soma__window h, int64_t channels, const float *x, float *y, const int n) {
    v8f sum[WIDE] = {{0}};
    for (int64_t i = v.start; i < v.end; i++)
        for (int64_t j = h.start; j < h.end; j++)
            for (int q = 0; q < n; q++)
                sum[q] += load(x + (i * p->in[1] + j) * channels + 8 * q);
    const float count = (float)(v.count * h.count);
    for (int q = 0; q < n; q++)
        store(y + 8 * q, sum[q] / count);
}

static void avg(const soma__pool *p, int64_t channels, int64_t row, const float *x, float *y) {
    const soma__window v = soma__pool_window(p, 0, row);
    for (int64_t c = 0; c < p->out[1]; c++, y += channels) {
        const soma__window h = soma__pool_window(p, 1, c);
        int64_t k = 0;
        for (; k + 8 * WIDE <= channels; k += 8 * WIDE)
            avg_vectors(p, v, h, channels, x + k, y + k, WIDE);
        for (; k + 8 <= channels; k += 8)
            avg_vectors(p, v, h, channels, x + k, y + k, 1);
        for (; k < channels; k++) {
            float sum = 0;
            for (int64_t i = v.start; i < v.end; i++)
                for (int64_t j = h.start; j < h.end; j++)
                    sum += x[(i * p->in[1] + j) * channels + k];
            y[k] = sum / (float)(v.count * h.count);
        }
    }
}

static void avg_backward(const soma__pool *p, int64_t channels, int64_t n, const float *g, float *gx) {
    for (int64_t i = 0; i < p->in[0] * p->in[1]; i++)
        memset(gx + i * channels, 0, sizeof *gx * (size_t)n);
    for (int64_t r = 0; r < p->out[0]; r++) {
        const soma__window v = soma__pool_window(p, 0, r);
        for (int64_t c = 0; c < p->out[1]; c++, g += channels) {
            const soma__window h = soma__pool_window(p, 1, c);
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
