/* Attention in blocks; attention.h says what. */
#include "kernels/cpu/attention.h"

#include "base/base.h"
#include "kernels/cpu/gemm.h"

#include <math.h>
#include <string.h>

/* Queries and keys that meet at once: a block of scores fits in the first-level cache, and keys in whole panels of every instruction set. */
enum { QUERIES = 32, KEYS = 240, SLACK = 16, AHEAD = 16 };

typedef struct blocks {
    const soma__gemm_ops *gemm;
    const soma__attention_rows *rows;
    int64_t width;  /* of a panel */
    float *keys, *values;              /* scaled keys, values; transposed, in panels of `width` keys */
    float *plain;                      /* forward: values, backward: scaled keys; [s, features] */
    float *gk, *gv;                    /* sums of the gradients */
    float *q, *g, *s, *gs;             /* of the block: queries, gradient, scores, their gradient */
    float *most, *sum, *part, *by;     /* a number a query */
} blocks;

static float *take(float *room, int64_t *used, int64_t n) {
    float *p = room ? room + *used : NULL;
    *used += (n + 15) / 16 * 16 + SLACK;
    return p;
}

/* Lays the workspace out in `room` (NULL: only to count) and says how many numbers it takes. */
static int64_t lay_out(blocks *b, const soma__attention *a, bool backward, float *room) {
    int64_t used = 0;
    const int64_t s = (a->s + KEYS - 1) / KEYS * KEYS;
    b->gemm = &soma__gemm_pick()->f32;
    b->rows = soma__attention_pick();
    b->width = (int64_t)b->gemm->vectors * b->gemm->lanes;
    b->keys = take(room, &used, s * a->e);
    b->plain = take(room, &used, s * SOMA_MAX(a->e, a->ev));
    b->q = take(room, &used, QUERIES * a->e);
    b->s = take(room, &used, QUERIES * KEYS);
    b->most = take(room, &used, QUERIES);
    b->sum = take(room, &used, QUERIES);
    b->part = take(room, &used, QUERIES);
    b->by = take(room, &used, QUERIES);
    if (backward) {
        b->values = take(room, &used, s * a->ev);
        b->g = take(room, &used, QUERIES * a->ev);
        b->gk = take(room, &used, s * a->e);
        b->gv = take(room, &used, s * a->ev);
        b->gs = take(room, &used, QUERIES * KEYS);
    }
    return used;
}

size_t soma__attention_room(const soma__attention *a, bool backward) {
    blocks b;
    return (size_t)lay_out(&b, a, backward, NULL) * sizeof(float);
}

/* n rows of `width` values, together, times `by`. */
__attribute__((noinline)) static void gather(float *restrict to, soma__rows_at from, int64_t first, int64_t n, int64_t width, float by) {
    for (int64_t i = 0; i < n; i++, to += width) {
        const float *p = from.p + (first + i) * from.row;
        for (int64_t j = 0; j < width; j += 16)
            __builtin_prefetch(p + AHEAD * from.row + j);
        if (from.col == 1)
            for (int64_t j = 0; j < width; j++)
                to[j] = p[j] * by;
        else
            for (int64_t j = 0; j < width; j++)
                to[j] = p[j * from.col] * by;
    }
}

__attribute__((noinline)) static void spread(soma__rows_to to, const float *restrict from, int64_t n, int64_t width, float by) {
    for (int64_t i = 0; i < n; i++, from += width) {
        float *restrict p = to.p + i * to.row;
        for (int64_t j = 0; j < width; j++)
            p[j] = from[j] * by;
    }
}

__attribute__((noinline)) static void scale(float *restrict o, int64_t rows, int64_t n, const float *by) {
    for (int64_t r = 0; r < rows; r++, o += n)
        for (int64_t i = 0; i < n; i++)
            o[i] *= by[r];
}

/* sum = a . b, row by row, in eight sums. */
__attribute__((noinline)) static void dots(const float *a, const float *b, float *sum, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++, a += n, b += n) {
        float lane[8] = {0};
        int64_t i = 0;
        for (; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++)
                lane[k] += a[i + k] * b[i + k];
        for (int k = 0; i + k < n; k++)
            lane[k] += a[i + k] * b[i + k];
        sum[r] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    }
}

/* n rows of `width` values, together and times `by` in b->plain, and from there transposed in panels of b->width. */
static void panels(const blocks *b, float *to, soma__rows_at from, int64_t n, int64_t width, float by) {
    gather(b->plain, from, 0, n, width, by);
    for (int64_t j = 0; j < n; j += b->width)
        b->gemm->pack_b(to + j * width, b->plain + j * width, 1, width, (int)SOMA_MIN(b->width, n - j), width);
}

/* C [m, n] in rows of c_row = A B, or added to C; a[i * a_row + p * a_step]. B's rows lie together, or, `in_panels`, as panels() has put all `have` columns. */
typedef struct product {
    int64_t m, n, k;
    const float *a;
    int64_t a_row, a_step;
    const float *b;
    int64_t have;
    bool in_panels, add;
    float *c;
    int64_t c_row;
} product;

__attribute__((noinline)) static void multiply(const blocks *b, const product *p) {
    const int64_t lanes = b->gemm->lanes, strips = soma__parts(p->m, b->gemm->rows), vectors = soma__parts(p->n, lanes);
    const int64_t step = p->in_panels ? b->width : soma__parts(vectors, soma__parts(p->n, b->width)) * lanes;
    soma__tile t = {.k = p->k, .a_row = p->a_row, .a_step = p->a_step, .b_step = p->n, .c_row = p->c_row, .add = p->add};
    for (int64_t j = 0; j < p->n; j += step) {
        t.n = (int)SOMA_MIN(step, p->n - j);
        t.b = p->b + j * (p->in_panels ? p->k : 1);
        if (p->in_panels)
            t.b_step = SOMA_MIN(b->width, soma__parts(p->have - j, lanes) * lanes);
        for (int64_t s = 0, i = 0; s < strips; s++, i += t.m) {
            t.m = (int)((p->m - i + strips - s - 1) / (strips - s));
            t.a = p->a + i * p->a_row;
            t.c = p->c + i * p->c_row + j;
            b->gemm->tile(&t);
        }
    }
}

static int64_t padded(int64_t n) { return (n + SOMA__ATTENTION_LANES - 1) / SOMA__ATTENTION_LANES * SOMA__ATTENTION_LANES; }

/* Scores of queries from `at` on (`m` of them) and keys [from, from + n) in rows of padded(n); -inf for those that must not be seen and in
 * the padding. */
static void scores(const blocks *b, const soma__attention *a, int64_t at, int64_t m, int64_t from, int64_t n) {
    const int64_t row = padded(n);
    multiply(b, &(product){.m = m, .n = n, .k = a->e, .a = b->q, .a_row = a->e, .a_step = 1, .b = b->keys + from * a->e,
                           .have = a->s - from, .in_panels = true, .c = b->s, .c_row = row});
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = a->causal ? SOMA_MIN(SOMA_MAX(at + i + 1 - from, 0), n) : n; j < row; j++)
            b->s[i * row + j] = -INFINITY;
}

static int64_t seen(const soma__attention *a, int64_t queries) { return a->causal ? SOMA_MIN(queries, a->s) : a->s; }

void soma__attention_forward(const soma__attention *of, int64_t begin, int64_t end, void *work) {
    soma__attention a = *of;
    blocks b;
    lay_out(&b, of, false, work);
    a.s = seen(of, end);
    panels(&b, b.keys, a.k, a.s, a.e, a.scale);
    gather(b.plain, a.v, 0, a.s, a.ev, 1.0f);
    for (int64_t at = begin; at < end; at += QUERIES) {
        const int64_t m = SOMA_MIN(QUERIES, end - at), limit = seen(&a, at + m);
        float *out = a.out + at * a.ev;
        gather(b.q, a.q, at, m, a.e, 1.0f);
        for (int64_t i = 0; i < m; i++) {
            b.most[i] = -INFINITY;
            b.sum[i] = 0;
        }
        memset(out, 0, limit > 0 ? 0 : (size_t)(m * a.ev) * sizeof(float));
        for (int64_t from = 0; from < limit; from += KEYS) {
            const int64_t n = SOMA_MIN(KEYS, limit - from);
            scores(&b, &a, at, m, from, n);
            b.rows->softmax(b.s, m, padded(n), b.most, b.part, b.by);
            for (int64_t i = 0; i < m; i++) {
                b.by[i] = from > 0 ? expf(b.by[i]) : 0;
                b.sum[i] = b.sum[i] * b.by[i] + b.part[i];
            }
            if (from > 0)
                scale(out, m, a.ev, b.by);
            multiply(&b, &(product){.m = m, .n = a.ev, .k = n, .a = b.s, .a_row = padded(n), .a_step = 1, .b = b.plain + from * a.ev,
                                    .add = from > 0, .c = out, .c_row = a.ev});
        }
        for (int64_t i = 0; i < m; i++) {
            a.lse[at + i] = b.most[i] + logf(b.sum[i]);
            b.by[i] = limit > 0 ? 1 / b.sum[i] : 0;
        }
        scale(out, m, a.ev, b.by);
    }
}

/* With p = exp(s - lse) and gp = g v^T: gv = p^T g, gs = p (gp - sum(g out)), gq = gs k scale, gk = gs^T q scale. */
void soma__attention_backward(const soma__attention *a, void *work) {
    blocks b;
    lay_out(&b, a, true, work);
    panels(&b, b.values, a->v, a->s, a->ev, 1.0f);
    panels(&b, b.keys, a->k, a->s, a->e, a->scale);
    memset(b.gk, 0, (size_t)(a->s * a->e) * sizeof(float));
    memset(b.gv, 0, (size_t)(a->s * a->ev) * sizeof(float));
    memset(b.gs, 0, QUERIES * KEYS * sizeof(float)); /* the padding stays finite */
    for (int64_t at = 0; at < a->l; at += QUERIES) {
        const int64_t m = SOMA_MIN(QUERIES, a->l - at), limit = seen(a, at + m);
        gather(b.q, a->q, at, m, a->e, 1.0f);
        gather(b.g, a->g, at, m, a->ev, 1.0f);
        dots(b.g, a->out + at * a->ev, b.sum, m, a->ev);
        for (int64_t i = 0; limit == 0 && i < m; i++)
            memset(a->gq.p + (at + i) * a->gq.row, 0, (size_t)a->e * sizeof(float));
        for (int64_t from = 0; from < limit; from += KEYS) {
            const int64_t n = SOMA_MIN(KEYS, limit - from), row = padded(n);
            scores(&b, a, at, m, from, n);
            multiply(&b, &(product){.m = m, .n = n, .k = a->ev, .a = b.g, .a_row = a->ev, .a_step = 1, .b = b.values + from * a->ev,
                                    .have = a->s - from, .in_panels = true, .c = b.gs, .c_row = row});
            b.rows->gradient(b.s, b.gs, a->lse + at, b.sum, m, row);
            multiply(&b, &(product){.m = n, .n = a->ev, .k = m, .a = b.s, .a_row = 1, .a_step = row, .b = b.g, .add = true,
                                    .c = b.gv + from * a->ev, .c_row = a->ev});
            multiply(&b, &(product){.m = n, .n = a->e, .k = m, .a = b.gs, .a_row = 1, .a_step = row, .b = b.q, .add = true,
                                    .c = b.gk + from * a->e, .c_row = a->e});
            multiply(&b, &(product){.m = m, .n = a->e, .k = n, .a = b.gs, .a_row = row, .a_step = 1, .b = b.plain + from * a->e,
                                    .add = from > 0, .c = a->gq.p + at * a->gq.row, .c_row = a->gq.row});
        }
    }
    spread(a->gk, b.gk, a->s, a->e, a->scale);
    spread(a->gv, b.gv, a->s, a->ev, 1.0f);
}
