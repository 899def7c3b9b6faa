/* What becomes of a convolution's operands before they are multiplied: images in frames of zeros, channels last; weights in panels. */
#include "base/base.h"
#include "conv_inside.h"

#include <string.h>

static void frame_row(const soma__images *s, const char *src, int64_t first, int64_t count, int64_t x, int64_t pixels, char *dst) {
    if (!s->last) {
        src += (size_t)(first * s->h * s->w + x) * s->size;
        if (count == 1)
            memcpy(dst, src, (size_t)pixels * s->size);
        else
            s->gemm->turn(dst, count, src, s->h * s->w, count, pixels);
        return;
    }
    src += (size_t)(x * s->channels + first) * s->size;
    if (count == s->channels) {
        memcpy(dst, src, (size_t)(pixels * count) * s->size);
        return;
    }
    for (int64_t i = 0; i < pixels; i++)
        memcpy(dst + (size_t)(i * count) * s->size, src + (size_t)(i * s->channels) * s->size, (size_t)count * s->size);
}

void soma__conv_frame(const soma__images *s, int64_t image, int64_t first, int64_t count, int64_t y, int64_t rows, int64_t x, int64_t width,
                      char *dst) {
    const size_t pixel = (size_t)count * s->size;
    const int64_t left = SOMA_MIN(SOMA_MAX(0, -x), width), inside = SOMA_MAX(0, SOMA_MIN(s->w, x + width) - SOMA_MAX(0, x));
    const char *src = s->data + (size_t)(image * s->channels * s->h * s->w) * s->size;
    for (int64_t r = y; r < y + rows; r++, dst += (size_t)width * pixel) {
        if (r < 0 || r >= s->h || inside == 0) {
            memset(dst, 0, (size_t)width * pixel);
            continue;
        }
        memset(dst, 0, (size_t)left * pixel);
        frame_row(s, src + (size_t)(r * s->w * (s->last ? s->channels : 1)) * s->size, first, count, SOMA_MAX(0, x), inside,
                  dst + (size_t)left * pixel);
        memset(dst + (size_t)(left + inside) * pixel, 0, (size_t)(width - left - inside) * pixel);
    }
}

typedef struct turn_job {
    const soma__gemm_ops *gemm;
    size_t size;
    char *dst;
    const char *src;
    int64_t channels, pixels;
    bool last;
} turn_job;

static void turn_range(void *arg, int64_t begin, int64_t end) {
    const turn_job *j = arg;
    for (int64_t i = begin; i < end; i++) {
        const size_t at = (size_t)(i * j->channels * j->pixels) * j->size;
        if (j->last)
            j->gemm->turn(j->dst + at, j->channels, j->src + at, j->pixels, j->channels, j->pixels);
        else
            j->gemm->turn(j->dst + at, j->pixels, j->src + at, j->channels, j->pixels, j->channels);
    }
}

void soma__conv_turn(const soma__gemm_ops *gemm, size_t size, void *dst, const void *src, int64_t images, int64_t channels, int64_t pixels,
                     bool last) {
    turn_job j = {gemm, size, dst, src, channels, pixels, last};
    soma__parallel(images, SOMA_MAX(1, 32768 / SOMA_MAX(1, channels * pixels)), turn_range, &j);
}

/* ---- Weights ---------------------------------------------------------------------------------------------------------- */

enum { BLOCK_ROWS = 256 };

/* Inputs whose taps are turned together: as many as give whole squares. */
static int64_t together(const soma__weights *w) { return w->k_step == w->all ? SOMA_MAX(1, BLOCK_ROWS / w->all) : 1; }

size_t soma__conv_pack_temp(int64_t all, int64_t width, size_t size) {
    return soma__conv_whole((size_t)(SOMA_MAX(BLOCK_ROWS, all) * width) * size);
}

void soma__conv_pack(const soma__weights *w, int64_t j, int n, int64_t k0, int64_t k1, const int64_t *tap, int64_t taps, int64_t t_rows,
                     char *dst, char *temp) {
    const int64_t lanes = w->gemm->lanes, most = together(w);
    const size_t row = (size_t)((n + lanes - 1) / lanes * lanes) * w->size;
    for (int64_t k = k0, count; k < k1; k += count) {
        count = SOMA_MIN(most, k1 - k);
        const char *src = w->data + (size_t)(j * w->n_step + k * w->k_step) * w->size;
        int64_t rows = count * w->all; /* a square takes as long as a part of one: more rows if they can be read */
        if (rows % lanes && src + (size_t)((n - 1) * w->n_step + soma__parts(rows, lanes) * lanes) * w->size <= w->end)
            rows = soma__parts(rows, lanes) * lanes;
        w->gemm->pack_b(temp, src, 1, w->n_step, n, rows);
        for (int64_t t = 0; t < taps; t++)
            for (int64_t i = 0; i < count; i++)
                memcpy(dst + (size_t)(t * t_rows + k - k0 + i) * row, temp + (size_t)(i * w->all + tap[t]) * row, row);
    }
}
