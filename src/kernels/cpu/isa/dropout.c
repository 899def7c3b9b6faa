/* Masks of dropout: many Philox blocks at once, side by side, so that the rounds become vectors. */
#include "kernels/cpu/dropout.h"

enum { BLOCKS = 64 };

/* Blocks first … first + BLOCKS - 1 of Philox4x32-10 (Salmon et al. 2011), as philox.c; word w of block b at out[4 b + w]. */
static void words(uint64_t seed, uint64_t stream, uint64_t first, uint32_t *restrict out) {
    uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int b = 0; b < BLOCKS; b++) {
        c0[b] = (uint32_t)(first + (uint64_t)b);
        c1[b] = (uint32_t)((first + (uint64_t)b) >> 32);
        c2[b] = (uint32_t)stream;
        c3[b] = (uint32_t)(stream >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int b = 0; b < BLOCKS; b++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[b], p1 = (uint64_t)0xCD9E8D57u * c2[b];
            uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1[b] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3[b] ^ k1;
            c1[b] = (uint32_t)p1;
            c3[b] = (uint32_t)p0;
            c0[b] = n0;
            c2[b] = n2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int b = 0; b < BLOCKS; b++) {
        out[4 * b] = c0[b];
        out[4 * b + 1] = c1[b];
        out[4 * b + 2] = c2[b];
        out[4 * b + 3] = c3[b];
    }
}

static void mask(uint64_t seed, uint64_t stream, int64_t first, int64_t n, uint32_t threshold, uint8_t *restrict out) {
    uint32_t w[4 * BLOCKS];
    for (int64_t i = 0; i < n; i += 4 * BLOCKS) {
        int64_t m = n - i < 4 * BLOCKS ? n - i : 4 * BLOCKS;
        words(seed, stream, (uint64_t)(first + i) / 4, w);
        for (int64_t j = 0; j < m; j++)
            out[i + j] = w[j] >= threshold;
    }
}

static void scale_f32(const float *restrict x, const uint8_t *restrict kept, float *restrict y, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * (kept[i] ? scale : 0.0f);
}
static void scale_f64(const double *restrict x, const uint8_t *restrict kept, double *restrict y, int64_t n, double scale) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * (kept[i] ? scale : 0.0);
}

const soma__dropout_kernels SOMA__ISA(soma__dropout) = {.mask = mask, .scale_f32 = scale_f32, .scale_f64 = scale_f64};
