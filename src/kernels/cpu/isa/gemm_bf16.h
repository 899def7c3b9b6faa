/* Products of bf16 operands with sums in f32, for processors with VDPBF16PS: included by gemm.c for AVX-512. What is packed are
 * pairs along k in 32 bits, so that a step of a tile is one instruction for two steps of k. An odd k gets a zero. */

#define BF16_CODE __attribute__((target("avx512bf16")))

enum {
    SPAN = 128,             /* values of k at a time where they lie together: 48 rows of them fit in the first-level cache */
    SPAN_ROW = SPAN / 2 + 4 /* pairs from row to row of them, not all in one place of the cache */
};

/* A tile's sums to C, or added to it; one function per size. */
#define DOT_TILE(m, nv)                                                                                                     \
    BF16_CODE static void dot_##m##x##nv(const soma__tile *t) {                                                             \
        const float *a = t->a, *b = t->b;                                                                                   \
        float *c = t->c;                                                                                                    \
        const __mmask16 rest = mask_f32(t->n - (nv - 1) * 16);                                                              \
        __m512 acc[m][nv];                                                                                                  \
        UNROLL for (int i = 0; i < m; i++)                                                                                  \
            UNROLL for (int v = 0; v < nv; v++)                                                                             \
                acc[i][v] = _mm512_setzero_ps();                                                                            \
        for (int64_t p = 0; p < t->k; p++, a += m, b += nv * 16) {                                                          \
            __m512bh x[nv];                                                                                                 \
            UNROLL for (int v = 0; v < nv; v++)                                                                             \
                x[v] = (__m512bh)_mm512_loadu_ps(b + v * 16);                                                               \
            UNROLL for (int i = 0; i < m; i++)                                                                              \
                UNROLL for (int v = 0; v < nv; v++)                                                                         \
                    acc[i][v] = _mm512_dpbf16_ps(acc[i][v], x[v], (__m512bh)_mm512_set1_ps(a[i]));                          \
        }                                                                                                                   \
        const __mmask16 old = t->add ? 0xffff : 0;                                                                          \
        UNROLL for (int i = 0; i < m; i++)                                                                                  \
            UNROLL for (int v = 0; v < nv; v++) {                                                                           \
                float *to = c + i * t->c_row + v * 16;                                                                      \
                const __mmask16 mask = v < nv - 1 ? 0xffff : rest;                                                          \
                acc[i][v] += _mm512_maskz_loadu_ps(mask & old, to);                                                         \
                _mm512_mask_storeu_ps(to, mask, acc[i][v]);                                                                 \
            }                                                                                                               \
    }
#define DOT_TILES(m) DOT_TILE(m, 1) DOT_TILE(m, 2) DOT_TILE(m, 3)
DOT_TILES(1) DOT_TILES(2) DOT_TILES(3) DOT_TILES(4) DOT_TILES(5) DOT_TILES(6) DOT_TILES(7) DOT_TILES(8)
#define DOT_NAMES(m) {dot_##m##x1, dot_##m##x2, dot_##m##x3}
static void (*const dot_tiles[8][3])(const soma__tile *) = {DOT_NAMES(1), DOT_NAMES(2), DOT_NAMES(3), DOT_NAMES(4),
                                                                       DOT_NAMES(5), DOT_NAMES(6), DOT_NAMES(7), DOT_NAMES(8)};

static void tile_bf16(const soma__tile *t) {
    const int nv = (t->n + 15) / 16;
    dot_tiles[t->m - 1][nv - 1](t);
    if (!t->last)
        return;
    const float *row = t->bias_row, *col = t->bias_col;
    const __m512 low = _mm512_set1_ps(t->relu ? 0 : -INFINITY);
    for (int i = 0; i < t->m; i++)
        for (int v = 0; v < nv; v++) {
            const int n = t->n - v * 16 < 16 ? t->n - v * 16 : 16;
            float *c = (float *)t->c + i * t->c_row + v * 16;
            __m512 x = load_n_f32(c, n);
            if (col)
                x += load_n_f32(col + v * 16, n);
            if (row)
                x += _mm512_set1_ps(row[i]);
            store_n_f32(c, _mm512_max_ps(low, x), n);
        }
}

/* ---- Packing ---------------------------------------------------------------------------------------------------------- */

/* Two rows of k with n values each (the second NULL: zeros) to n pairs; `whole`: up to whole vectors with zeros. */
BF16_CODE static void pair_rows(float *dst, const void *first, const void *second, bool half, int n, bool whole) {
    static const uint16_t order[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i weave = _mm512_loadu_si512(order);
    for (int j = 0; j < n; j += 16) {
        const __mmask16 mask = mask_f32(n - j < 16 ? n - j : 16), also = second ? mask : 0;
        __m512i pairs;
        if (half) {
            __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)first + j)),
                    high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(also, (const uint16_t *)second + j));
            pairs = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
        } else {
            __m512 low = _mm512_maskz_loadu_ps(mask, (const float *)first + j),
                   high = _mm512_maskz_loadu_ps(also, (const float *)second + j);
            pairs = _mm512_permutexvar_epi16(weave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        }
        _mm512_mask_storeu_epi32(dst + j, whole ? 0xffff : mask, pairs);
    }
}

/* k values that lie together to pairs; writes whole vectors, zeros behind the end. */
BF16_CODE static void pair_along(float *dst, const void *src, bool half, int64_t k) {
    const float *x = src;
    int64_t p = 0;
    for (; !half && p + 32 <= k; p += 32, dst += 16) {
        _mm_prefetch((const char *)(x + p + SPAN), _MM_HINT_T0); /* of the next span, which is far from the next row */
        _mm_prefetch((const char *)(x + p + SPAN + 16), _MM_HINT_T0);
        _mm512_storeu_si512(dst, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + p + 16), _mm512_loadu_ps(x + p)));
    }
    for (; p < k; p += 32, dst += 16) {
        const int n = k - p < 32 ? (int)(k - p) : 32;
        const __mmask32 mask = (__mmask32)(0xffffffffu >> (32 - n));
        if (half)
            _mm512_storeu_si512(dst, _mm512_maskz_loadu_epi16(mask, (const uint16_t *)src + p));
        else
            _mm512_storeu_si512(dst, (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + p + 16),
                                                                  _mm512_maskz_loadu_ps((__mmask16)mask, x + p)));
    }
}

/* Values of any stride, next to each other. */
static void gather_values(void *dst, const void *src, bool half, int64_t step, int64_t k) {
    for (int64_t p = 0; p < k; p++) {
        if (half)
            ((uint16_t *)dst)[p] = ((const uint16_t *)src)[p * step];
        else
            ((float *)dst)[p] = ((const float *)src)[p * step];
    }
}

/* pack_a and pack_b of pairs: value (i, p) is src[i * step_n + p * step_k], f32 or (half) bf16; k counts values. */
static void pack_bf16(bool is_a, void *out, const void *src, bool half, int64_t step_n, int64_t step_k, int n, int64_t k) {
    const size_t size = half ? 2 : 4;
    const int width = is_a ? n : (n + 15) / 16 * 16;
    float *dst = out;
    if (step_n == 1) {
        for (int64_t p = 0; p < k; p += 2, dst += width) {
            const char *row = (const char *)src + (size_t)(p * step_k) * size;
            pair_rows(dst, row, p + 1 < k ? row + (size_t)step_k * size : NULL, half, n, !is_a);
        }
        return;
    }
    float pairs[48 * SPAN_ROW], values[SPAN];
    for (int64_t p = 0; p < k; p += SPAN) {
        const int64_t span = k - p < SPAN ? k - p : SPAN, units = (span + 1) / 2;
        for (int i = 0; i < n; i++) {
            const char *from = (const char *)src + (int64_t)size * (i * step_n + p * step_k);
            if (step_k != 1)
                gather_values(values, from, half, step_k, span);
            pair_along(pairs + i * SPAN_ROW, step_k == 1 ? (const void *)from : values, half, span);
        }
        (is_a ? pack_a_f32 : pack_b_f32)(dst + p / 2 * width, pairs, is_a ? SPAN_ROW : 1, is_a ? 1 : SPAN_ROW, n, units);
    }
}

static const soma__bf16_ops bf16_ops = {tile_bf16, pack_bf16};
