/* The usual pooling, 2 x 2 without overlap, in vectors of eight outputs. The last vector of a row ends at the row's end and
 * may overlap the one before: it writes the same values again, so that no row has a slow rest (a width of 14 is 8 + 8, two
 * overlapping). */
#include "kernels/cpu/pool.h"

#include <string.h>

typedef float v8f __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));

static inline v8f load(const float *p) {
    v8f v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(float *p, v8f v) { memcpy(p, &v, sizeof v); }
static inline v8f even(v8f a, v8f b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14); }
static inline v8f odd(v8f a, v8f b) { return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15); }
static inline v8f zip_low(v8f a, v8f b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
static inline v8f zip_high(v8f a, v8f b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
static inline v8f choose(v8i mask, v8f a, v8f b) { return (v8f)((mask & (v8i)a) | (~mask & (v8i)b)); }

/* ---- Maximum: candidates in the order of the plane; a later one wins when it is larger, or NaN ------------------ */

static inline void better(v8f *top, v8i *at, v8f value, int32_t offset) {
    v8i take = (v8i)((value > *top) | (value != value));
    *top = choose(take, value, *top);
    *at = (take & offset) | (~take & *at);
}

static inline void max8(const float *a, const float *b, int32_t base, int32_t width, float *y, int32_t *index) {
    static const v8i steps = {0, 2, 4, 6, 8, 10, 12, 14};
    v8f a0 = load(a), a1 = load(a + 8), b0 = load(b), b1 = load(b + 8), top = even(a0, a1);
    v8i at = {0};
    better(&top, &at, odd(a0, a1), 1);
    better(&top, &at, even(b0, b1), width);
    better(&top, &at, odd(b0, b1), width + 1);
    at += steps + base;
    store(y, top);
    memcpy(index, &at, sizeof at);
}

static inline void max1(const float *a, const float *b, int32_t base, int32_t width, float *y, int32_t *index) {
    const float value[4] = {a[0], a[1], b[0], b[1]};
    const int32_t offset[4] = {0, 1, width, width + 1};
    int best = 0;
    for (int k = 1; k < 4; k++)
        if (value[k] > value[best] || value[k] != value[k])
            best = k;
    *y = value[best];
    *index = base + offset[best];
}

static void max2x2(const soma__pool *p, const float *x, float *y, int32_t *index) {
    int64_t width = p->in[1], n = p->out[1];
    for (int64_t r = 0; r < p->out[0]; r++, y += n, index += n) {
        const float *a = x + 2 * r * width, *b = a + width;
        int32_t base = (int32_t)(2 * r * width);
        int64_t j = 0;
        for (; j + 8 <= n; j += 8)
            max8(a + 2 * j, b + 2 * j, base + (int32_t)(2 * j), (int32_t)width, y + j, index + j);
        if (j < n && n >= 8) {
            j = n - 8;
            max8(a + 2 * j, b + 2 * j, base + (int32_t)(2 * j), (int32_t)width, y + j, index + j);
            continue;
        }
        for (; j < n; j++)
            max1(a + 2 * j, b + 2 * j, base + (int32_t)(2 * j), (int32_t)width, y + j, index + j);
    }
}

/* Of each window's four places, the one that `index` names gets g and the others zero; so gx is written once and whole. */
static inline void back8(const float *g, const int32_t *index, int32_t base, int32_t width, float *a, float *b) {
    static const v8i steps = {0, 2, 4, 6, 8, 10, 12, 14};
    v8f v = load(g), zero = {0};
    v8i at;
    memcpy(&at, index, sizeof at);
    at -= steps + base;
    v8f a0 = choose(at == 0, v, zero), a1 = choose(at == 1, v, zero);
    v8f b0 = choose(at == width, v, zero), b1 = choose(at == width + 1, v, zero);
    store(a, zip_low(a0, a1));
    store(a + 8, zip_high(a0, a1));
    store(b, zip_low(b0, b1));
    store(b + 8, zip_high(b0, b1));
}

/* Zeros to what no window covers: a last column and a last row when sizes are odd. */
static void clear_rest(const soma__pool *p, float *gx) {
    int64_t width = p->in[1], rows = 2 * p->out[0], columns = 2 * p->out[1];
    for (int64_t r = 0; columns < width && r < rows; r++)
        memset(gx + r * width + columns, 0, sizeof *gx * (size_t)(width - columns));
    memset(gx + rows * width, 0, sizeof *gx * (size_t)((p->in[0] - rows) * width));
}

static void max2x2_backward(const soma__pool *p, const float *g, const int32_t *index, float *gx) {
    int64_t width = p->in[1], n = p->out[1];
    clear_rest(p, gx);
    for (int64_t r = 0; r < p->out[0]; r++, g += n, index += n) {
        float *a = gx + 2 * r * width, *b = a + width;
        int32_t base = (int32_t)(2 * r * width);
        int64_t j = 0;
        for (; j + 8 <= n; j += 8)
            back8(g + j, index + j, base + (int32_t)(2 * j), (int32_t)width, a + 2 * j, b + 2 * j);
        if (j < n && n >= 8) {
            j = n - 8;
            back8(g + j, index + j, base + (int32_t)(2 * j), (int32_t)width, a + 2 * j, b + 2 * j);
            continue;
        }
        for (; j < n; j++) {
            int32_t at = index[j] - base - (int32_t)(2 * j);
            a[2 * j] = at == 0 ? g[j] : 0;
            a[2 * j + 1] = at == 1 ? g[j] : 0;
            b[2 * j] = at == width ? g[j] : 0;
            b[2 * j + 1] = at == width + 1 ? g[j] : 0;
        }
    }
}

/* ---- Average: the same order of additions as in ref/, so the same bits ------------------------------------------ */

static inline void avg8(const float *a, const float *b, float *y) {
    v8f a0 = load(a), a1 = load(a + 8), b0 = load(b), b1 = load(b + 8);
    store(y,
          (((even(a0, a1) + odd(a0, a1)) + even(b0, b1)) + odd(b0, b1) + 0.0f) * 0.25f); /* + 0: a sum of -0 begins at 0 */
}

static void avg2x2(const soma__pool *p, const float *x, float *y) {
    int64_t width = p->in[1], n = p->out[1];
    for (int64_t r = 0; r < p->out[0]; r++, y += n) {
        const float *a = x + 2 * r * width, *b = a + width;
        int64_t j = 0;
        for (; j + 8 <= n; j += 8)
            avg8(a + 2 * j, b + 2 * j, y + j);
        if (j < n && n >= 8) {
            avg8(a + 2 * (n - 8), b + 2 * (n - 8), y + n - 8);
            continue;
        }
        for (; j < n; j++)
            y[j] = (((a[2 * j] + a[2 * j + 1]) + b[2 * j]) + b[2 * j + 1] + 0.0f) * 0.25f;
    }
}

static inline void avg_back8(const float *g, float *a, float *b) {
    v8f v = load(g) * 0.25f, low = zip_low(v, v), high = zip_high(v, v);
    store(a, low);
    store(a + 8, high);
    store(b, low);
    store(b + 8, high);
}

static void avg2x2_backward(const soma__pool *p, const float *g, float *gx) {
    int64_t width = p->in[1], n = p->out[1];
    clear_rest(p, gx);
    for (int64_t r = 0; r < p->out[0]; r++, g += n) {
        float *a = gx + 2 * r * width, *b = a + width;
        int64_t j = 0;
        for (; j + 8 <= n; j += 8)
            avg_back8(g + j, a + 2 * j, b + 2 * j);
        if (j < n && n >= 8) {
            avg_back8(g + n - 8, a + 2 * (n - 8), b + 2 * (n - 8));
            continue;
        }
        for (; j < n; j++)
            a[2 * j] = a[2 * j + 1] = b[2 * j] = b[2 * j + 1] = g[j] * 0.25f;
    }
}

/* ---- Any window: rows of outputs at a time -------------------------------------------------------------------------
 * Element (a, b) of all windows of a row before the next element, so that the inner loop runs along the row and becomes
 * vectors. A window still meets its elements in the order of ref/, so the results are the same bits. */

/* Outputs c in [*first, *last) whose element b lies inside the plane; it is at c * stride + returned offset. */
static inline int64_t inside(const soma__pool *p, int64_t b, int64_t *first, int64_t *last) {
    int64_t s = p->stride[1], offset = b * p->dilation[1] - p->padding[1], room = p->in[1] - 1 - offset;
    *first = offset < 0 ? (-offset + s - 1) / s : 0;
    *last = room < 0 ? 0 : room / s + 1;
    *last = *last < p->out[1] ? *last : p->out[1];
    return offset;
}

static inline __attribute__((always_inline)) void max_row(const float *x, int64_t s, int64_t first, int64_t last, int32_t at,
                                                          float *y, int32_t *index) {
    for (int64_t c = first; c < last; c++) {
        float v = x[c * s];
        int32_t take = -(int32_t)((v > y[c]) | (v != v)), place = at + (int32_t)(c * s);
        y[c] = take ? v : y[c];
        index[c] = (take & place) | (~take & index[c]);
    }
}

/* The first output of a row whose window begins inside the plane. */
static inline int64_t whole_from(const soma__pool *p) {
    int64_t c = (p->padding[1] + p->stride[1] - 1) / p->stride[1];
    return c < p->out[1] ? c : p->out[1];
}

static void max_any(const soma__pool *p, const float *x, float *restrict y, int32_t *restrict index) {
    int64_t width = p->in[1], n = p->out[1], s = p->stride[1];
    for (int64_t r = 0; r < p->out[0]; r++, y += n, index += n) {
        soma__window v = soma__pool_window(p, 0, r);
        int32_t corner = (int32_t)(v.start * width - p->padding[1]);
        int64_t edge = whole_from(p);
        for (int64_t c = 0; c < edge; c++)
            index[c] = (int32_t)(v.start * width + soma__pool_window(p, 1, c).start);
        for (int64_t c = edge; c < n; c++)
            index[c] = corner + (int32_t)(c * s);
        for (int64_t c = 0; c < n; c++)
            y[c] = x[index[c]];
        for (int64_t i = v.start; i < v.end; i += p->dilation[0])
            for (int64_t b = 0; b < p->kernel[1]; b++) {
                int64_t first, last, offset = inside(p, b, &first, &last), at = i * width + offset;
                if (s == 1)
                    max_row(x + at, 1, first, last, (int32_t)at, y, index);
                else if (s == 2)
                    max_row(x + at, 2, first, last, (int32_t)at, y, index);
                else
                    max_row(x + at, s, first, last, (int32_t)at, y, index);
            }
    }
}

static inline __attribute__((always_inline)) void add_row(const float *x, int64_t s, int64_t first, int64_t last, float *y) {
    for (int64_t c = first; c < last; c++)
        y[c] += x[c * s];
}

static void avg_any(const soma__pool *p, const float *x, float *restrict y) {
    int64_t width = p->in[1], n = p->out[1], s = p->stride[1];
    for (int64_t r = 0; r < p->out[0]; r++, y += n) {
        soma__window v = soma__pool_window(p, 0, r);
        memset(y, 0, sizeof *y * (size_t)n);
        for (int64_t i = v.start; i < v.end; i++)
            for (int64_t b = 0; b < p->kernel[1]; b++) {
                int64_t first, last, at = i * width + inside(p, b, &first, &last);
                if (s == 1)
                    add_row(x + at, 1, first, last, y);
                else if (s == 2)
                    add_row(x + at, 2, first, last, y);
                else
                    add_row(x + at, s, first, last, y);
            }
        /* Windows c in [from, to) lie inside the plane. */
        int64_t from = whole_from(p), room = p->in[1] + p->padding[1] - p->kernel[1], to = room < 0 ? 0 : room / s + 1;
        float all = (float)(v.count * (p->divisor ? 1 : p->kernel[1]));
        for (int64_t c = 0; c < n; c++)
            if (c < from || c >= to)
                y[c] /= (float)(v.count * soma__pool_window(p, 1, c).count);
        for (int64_t c = from; c < to && c < n; c++)
            y[c] /= all;
    }
}

/* Eight lanes and then the rest: a fixed order, the same on every instruction set. */
static float sum(const float *x, int64_t n) {
    v8f s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 += load(x + i);
        s1 += load(x + i + 8);
    }
    s0 += s1;
    float t = ((s0[0] + s0[4]) + (s0[1] + s0[5])) + ((s0[2] + s0[6]) + (s0[3] + s0[7]));
    for (; i < n; i++)
        t += x[i];
    return t;
}

const soma__pool_kernels SOMA__ISA(soma__pool_table) = {
    .max2x2 = max2x2,
    .max2x2_backward = max2x2_backward,
    .avg2x2 = avg2x2,
    .avg2x2_backward = avg2x2_backward,
    .max_any = max_any,
    .avg_any = avg_any,
    .sum = sum,
};
