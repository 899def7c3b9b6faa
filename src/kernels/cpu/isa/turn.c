/* Transposition of 4-byte elements, 16 x 16 in registers, where there are 16 x 16 in registers. */
#include "kernels/cpu/turn.h"

#include <stddef.h>

#if SOMA_ISA_avx512
#include <immintrin.h>

static inline __m512 four(const float *p, int64_t row) {
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 4 * row), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 8 * row), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(p + 12 * row), 3);
}

static inline void put(float *to, __m512d v, bool past) {
    if (past)
        _mm512_stream_ps(to, _mm512_castpd_ps(v));
    else
        _mm512_storeu_ps(to, _mm512_castpd_ps(v));
}

static void turn(void *to, int64_t to_row, const void *from, int64_t from_row, int64_t rows, int64_t columns, bool past) {
    for (int64_t i = 0; i < rows; i += 16)
        for (int64_t j = 0; j < columns; j += 4) {
            const float *p = (const float *)from + i * from_row + j;
            float *q = (float *)to + j * to_row + i;
            __m512 a = four(p, from_row), b = four(p + from_row, from_row), c = four(p + 2 * from_row, from_row), d = four(p + 3 * from_row, from_row);
            __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b)), cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
            __m512d ab2 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b)), cd2 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
            put(q, _mm512_unpacklo_pd(ab, cd), past);
            put(q + to_row, _mm512_unpackhi_pd(ab, cd), past);
            put(q + 2 * to_row, _mm512_unpacklo_pd(ab2, cd2), past);
            put(q + 3 * to_row, _mm512_unpackhi_pd(ab2, cd2), past);
        }
    if (past)
        _mm_sfence();
}

const soma__turn_kernels SOMA__ISA(soma__turn) = {turn};
#else
const soma__turn_kernels SOMA__ISA(soma__turn) = {NULL};
#endif
