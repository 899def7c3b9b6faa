/* softmax(q k^T scale) v of one head in f32, without the matrix of scores: a block of queries meets a block of keys, and largest score and
 * sum so far are carried along (Dao et al. 2022). The way back makes the scores anew from the log-sum-exp. Causal blocks that no query of
 * theirs may see are left out. */
#ifndef SOMA_SRC_KERNELS_ATTENTION_H
#define SOMA_SRC_KERNELS_ATTENTION_H

#include "kernels/cpu/isa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Row i, column j at p[i * row + j * col]. */
typedef struct soma__rows_at {
    const float *p;
    int64_t row, col;
} soma__rows_at;

/* The same to write, columns together. */
typedef struct soma__rows_to {
    float *p;
    int64_t row;
} soma__rows_to;

typedef struct soma__attention {
    int64_t l, s, e, ev; /* queries, keys, features of both, features of a value */
    bool causal;         /* query i sees keys 0 … i */
    float scale;
    soma__rows_at q, k, v, g;      /* g: gradient of the result (backward) */
    float *out, *lse;              /* [l, ev], [l]; read in backward */
    soma__rows_to gq, gk, gv;      /* [l, e], [s, e], [s, ev] */
} soma__attention;

/* Bytes of workspace, 64-byte aligned, for one call at a time. */
size_t soma__attention_room(const soma__attention *a, bool backward);
/* Queries [from, to). */
void soma__attention_forward(const soma__attention *a, int64_t from, int64_t to, void *work);
void soma__attention_backward(const soma__attention *a, void *work);

/* ---- Inside: rows of blocks, `n` scores each, a multiple of SOMA__ATTENTION_LANES -------------------------------------------- */

enum { SOMA__ATTENTION_LANES = 16 };
typedef struct soma__attention_rows {
    /* m becomes the largest so far, fell = m before - m, s = exp(s - m), sum = the row's sum of them */
    void (*softmax)(float *s, int64_t rows, int64_t n, float *m, float *sum, float *fell);
    /* s = exp(s - lse), gs = s (gs - delta) */
    void (*gradient)(float *s, float *gs, const float *lse, const float *delta, int64_t rows, int64_t n);
} soma__attention_rows;
SOMA__FAMILY(soma__attention_rows, soma__attention)

#endif
