/* Winograd's transforms of one instruction set, a vector of channels at a time. Compiled once per instruction set.
 *
 * The points are 0, ±a, ±b and infinity with a = 1 / sqrt(2), b = sqrt(2): (x^2 - a^2) (x^2 - b^2) = x^4 - 2.5 x^2 + 1. Errors are a
 * third of those of the usual points 0, ±1, ±2, whose powers spread further (measured: bench/NOTES.md). The factors of Lagrange's
 * polynomials, -2/3 for ±a and 1/6 for ±b, are with the weights. */
#include "kernels/cpu/winograd.h"
#include "vec.h"

#include <math.h>

#define V vec_f32
enum { LANES = LANES_f32, SIDE = SOMA__WINO_SIDE };
static const float A = 0.70710678118654752f, B = 1.41421356237309505f, A3 = 0.35355339059327376f, B3 = 2.82842712474619010f;

INLINE V times(float x, V v) { return set_f32(x) * v; }
INLINE V plus(V c, float x, V v) { return fma_f32(set_f32(x), v, c); }

INLINE void input_line(const V d[6], V o[6]) {
    const V even = plus(d[4], -2.0f, d[2]), odd = plus(d[3], -2.0f, d[1]);
    const V even2 = plus(d[4], -0.5f, d[2]), odd2 = plus(d[3], -0.5f, d[1]);
    o[0] = plus(d[0] + d[4], -2.5f, d[2]);
    o[1] = plus(even, A, odd);
    o[2] = plus(even, -A, odd);
    o[3] = plus(even2, B, odd2);
    o[4] = plus(even2, -B, odd2);
    o[5] = plus(d[1] + d[5], -2.5f, d[3]);
}
INLINE void weight_line(const V g[6], V o[6]) {
    const V even = plus(g[0], 0.5f, g[2]), even2 = plus(g[0], 2.0f, g[2]);
    o[0] = g[0];
    o[1] = times(-2.0f / 3, plus(even, A, g[1]));
    o[2] = times(-2.0f / 3, plus(even, -A, g[1]));
    o[3] = times(1.0f / 6, plus(even2, B, g[1]));
    o[4] = times(1.0f / 6, plus(even2, -B, g[1]));
    o[5] = g[2];
}
INLINE void output_line(const V m[6], V o[6]) {
    const V s = m[1] + m[2], d = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    o[0] = m[0] + s + s2;
    o[1] = plus(times(A, d), B, d2);
    o[2] = plus(times(0.5f, s), 2.0f, s2);
    o[3] = plus(plus(m[5], A3, d), B3, d2);
}
INLINE void output_gradient_line(const V g[6], V o[6]) {
    const V even = plus(g[0], 0.5f, g[2]), odd = plus(times(A, g[1]), A3, g[3]);
    const V even2 = plus(g[0], 2.0f, g[2]), odd2 = plus(times(B, g[1]), B3, g[3]);
    o[0] = g[0];
    o[1] = even + odd;
    o[2] = even - odd;
    o[3] = even2 + odd2;
    o[4] = even2 - odd2;
    o[5] = g[3];
}
INLINE void weight_gradient_line(const V m[6], V o[6]) {
    const V s = times(-2.0f / 3, m[1] + m[2]), d = times(-2.0f / 3, m[1] - m[2]);
    const V s2 = times(1.0f / 6, m[3] + m[4]), d2 = times(1.0f / 6, m[3] - m[4]);
    o[0] = m[0] + s + s2;
    o[1] = plus(times(A, d), B, d2);
    o[2] = plus(plus(m[5], 0.5f, s), 2.0f, s2);
}

/* Columns first, then rows; `from` and `to` are the sides of the squares. */
typedef void line(const V *d, V *o);

/* Rows [first, last] of places: few enough at a time that what comes of the columns stays in registers. */
INLINE void put_rows(const float *p, int64_t row, int64_t pixel, float *places, int64_t place, const int from, line *one, const int first,
                     const int last) {
    V t[2][SIDE], d[SIDE], o[SIDE];
    UNROLL for (int j = 0; j < from; j++) {
        UNROLL for (int i = 0; i < from; i++)
            d[i] = load_f32(p + i * row + j * pixel);
        one(d, o);
        UNROLL for (int i = first; i <= last; i++)
            t[i - first][j] = o[i];
    }
    UNROLL for (int i = first; i <= last; i++) {
        one(t[i - first], o);
        UNROLL for (int j = 0; j < SIDE; j++)
            store_f32(places + (i * SIDE + j) * place, o[j]);
    }
}
INLINE void to_places(const soma__wino_square *s, const int from, line *one) {
    float own[SIDE * SIDE * LANES];
    const bool inside = s->y0 == 0 && s->y1 == from && s->x0 == 0 && s->x1 == from;
    for (int64_t c = 0; c < s->n; c += LANES) {
        const int n = s->n - c < LANES ? (int)(s->n - c) : LANES;
        const float *p = s->image + c;
        int64_t row = s->row, pixel = s->pixel;
        if (!inside || n < LANES) { /* a copy with zeros */
            for (int i = 0; i < from; i++)
                for (int j = 0; j < from; j++) {
                    const bool there = i >= s->y0 && i < s->y1 && j >= s->x0 && j < s->x1;
                    store_f32(own + (i * SIDE + j) * LANES, there ? load_n_f32(p + i * row + j * pixel, n) : set_f32(0));
                }
            p = own;
            row = SIDE * LANES;
            pixel = LANES;
        } else if (from == SIDE) { /* the next square's new pixels */
            for (int i = 0; i < from; i++)
                for (int j = SIDE; j < SIDE + SOMA__WINO_STEP; j++)
                    __builtin_prefetch(p + i * row + j * pixel);
        }
        float *q = s->places + c;
        put_rows(p, row, pixel, q, s->place, from, one, 0, 0);
        put_rows(p, row, pixel, q, s->place, from, one, 1, 2);
        put_rows(p, row, pixel, q, s->place, from, one, 3, 4);
        put_rows(p, row, pixel, q, s->place, from, one, 5, 5);
    }
}
INLINE void from_places(const soma__wino_square *s, const int to, line *one) {
    const V low = set_f32(s->relu ? 0 : -INFINITY);
    for (int64_t c = 0; c < s->n; c += LANES) {
        const int n = s->n - c < LANES ? (int)(s->n - c) : LANES;
        const bool whole = n == LANES && s->x0 == 0 && s->x1 == to;
        const V bias = s->bias ? load_n_f32(s->bias + c, n) : set_f32(0);
        V t[SIDE][SIDE], d[SIDE], o[SIDE];
        for (int j = 0; j < SIDE; j++) {
            UNROLL for (int i = 0; i < SIDE; i++)
                d[i] = load_f32(s->places + (i * SIDE + j) * s->place + c);
            one(d, o);
            UNROLL for (int i = 0; i < to; i++)
                t[i][j] = o[i];
        }
        for (int i = s->y0; i < s->y1; i++) {
            float *p = s->image + i * s->row + c;
            one(t[i], o);
            UNROLL for (int j = 0; j < to; j++)
                o[j] = atleast_f32(low, o[j] + bias);
            if (whole) {
                UNROLL for (int j = 0; j < to; j++)
                    store_f32(p + j * s->pixel, o[j]);
            } else {
                for (int j = s->x0; j < s->x1; j++)
                    store_n_f32(p + j * s->pixel, o[j], n);
            }
        }
    }
}

static void input(const soma__wino_square *s) { to_places(s, 6, input_line); }
static void weight(const soma__wino_square *s) { to_places(s, 3, weight_line); }
static void output(const soma__wino_square *s) { from_places(s, 4, output_line); }
static void output_gradient(const soma__wino_square *s) { to_places(s, 4, output_gradient_line); }
static void weight_gradient(const soma__wino_square *s) { from_places(s, 3, weight_gradient_line); }

const soma__wino_kernels SOMA__ISA(soma__wino) = {input, weight, output, output_gradient, weight_gradient};
