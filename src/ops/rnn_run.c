/* The recurrence of RNN, LSTM and GRU over a whole sequence and its way back. Each step is one parallel pass: a product with what the step
 * before left and, while its result is in the cache, the elementwise rest. A pass is shared out in groups of units, each with all its
 * gates, and blocks of rows, so that a thread meets the same part of the weights at every step; these are packed once for all steps. The
 * input's share of the gates is part of the same pass, and so is the gradient of the input; in small batches, where a product of one step
 * would read more than it computes, both are products over all steps instead.
 *
 * A row of the batch whose sequence has ended keeps its state: in both directions, as with PyTorch's packed sequences. */
#include "ops/rnn.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/rnn.h"
#include "ops/dense.h"

#include <string.h>

enum {
    UNIT_VECTOR = 16,  /* groups are cut at multiples: whole vectors of every instruction set */
    GROUP_VECTORS = SOMA__RNN_UNITS / UNIT_VECTOR, /* most of them in a group: as wide as AVX-512's tile */
    ROW_BLOCK = SOMA__RNN_ROWS, /* rows of the batch in a pass: a group's gates stay in the first two levels of cache */
    SMALL_BATCH = 8,   /* below it the input's products run over all steps */
    FEW_ROWS = 4,      /* batches and steps for which packing the weights does not pay */
    FEW_STEPS = 8,
    CHUNK_BYTES = 2048 /* of a row that is multiplied at a time, as in gemm.c */
};

typedef struct run {
    int mode, gates, blocks; /* gates: of the weights; blocks: of the activations */
    bool reverse, keep, whole_input, packed; /* keep: forward the activations, backward the gradients of h0 and c0 */
    size_t size, used; /* of an element; bytes of workspace taken */
    char *work;        /* NULL: only counting */
    const soma__gemm_ops *ops;
    soma__rnn_fn kernel;
    soma_dtype dtype;
    int64_t steps, batch, n, e, width;   /* units, features; elements of a row of dg */
    int64_t step, stride;                /* rows from step to step and from row to row of the batch in x, h and their gradients */
    int64_t ld;                          /* elements of a row of `rows` */
    const soma_tensor *lengths;
    int64_t i, t, groups, row_blocks;    /* the pass at work, its step, and its parts */
    bool no_h0, ring, *quiet;                 /* quiet: steps to which no gradient comes from outside */
    const char *x, *w[2], *gh, *gc;      /* w: of h and of x */
    char *rows, *packed_h, *packed_x;    /* rows: what each step multiplies, behind the last c0; forward, packed_h has both weights */
    char *bias, *spare, *other_c;        /* forward: sums of the biases; where h after the last step goes */
    char *h, *c, *act, *dg, *dh, *dc, *gx, *sums; /* sums: of dg over the steps, a row for each block of rows */
    int64_t window;                      /* steps whose dg is kept */
    int wanted;                          /* soma__rnn_wanted */
} run;

static const double zeros[SOMA__RNN_UNITS]; /* also as float */

int soma__rnn_blocks(int mode) { return mode == SOMA__RNN_LSTM || mode == SOMA__RNN_GRU ? 4 : 1; }

static int64_t width_of(int mode, int64_t n) { /* rows a multiple of 4096 bytes apart would meet in the same few lines of the cache */
    const int64_t width = soma__rnn_blocks(mode) * n;
    return width % 1024 == 0 ? width + 16 : width;
}

int64_t soma__rnn_row(int64_t n, int64_t e) { return (n + e) % 1024 == 0 ? n + e + 16 : n + e; }

static char *take(run *r, size_t bytes) {
    size_t at = r->used;
    r->used += soma__room(bytes);
    return r->work ? r->work + at : NULL;
}

static const char *dense(run *r, const soma_tensor *t) {
    char *room = take(r, soma__dense_bytes(t));
    return r->work ? soma__dense(t, &room) : NULL;
}

static run run_of(const soma_args *a, const soma_tensor *x, const soma_tensor *w, const soma_tensor *w_ih, const soma_tensor *lengths) {
    run r = {.mode = (int)a->attrs[0].value.i, .reverse = a->attrs[2].value.i != 0, .dtype = (soma_dtype)x->dtype, .lengths = lengths};
    const bool batch_first = a->attrs[1].value.i != 0, f64 = r.dtype == SOMA_F64;
    r.gates = soma__rnn_gates(r.mode);
    r.blocks = soma__rnn_blocks(r.mode);
    r.size = soma_dtype_size(r.dtype);
    r.ops = f64 ? &soma__gemm_pick()->f64 : &soma__gemm_pick()->f32;
    r.steps = x->shape[batch_first];
    r.batch = x->shape[!batch_first];
    r.n = w->shape[1];
    r.e = w_ih ? w_ih->shape[1] : 0;
    r.width = width_of(r.mode, r.n);
    r.step = batch_first ? 1 : r.batch;
    r.stride = batch_first ? r.steps : 1;
    r.ld = soma__rnn_row(r.n, r.e);
    r.whole_input = r.batch < SMALL_BATCH;
    r.packed = true;
    r.groups = soma__parts(soma__parts(r.n, UNIT_VECTOR), GROUP_VECTORS);
    r.row_blocks = soma__parts(r.batch, ROW_BLOCK);
    return r;
}

/* ---- Parts of a pass -------------------------------------------------------------------------------------------------- */

/* Columns [begin, end) of group g of `n` columns. */
static int64_t group_at(int64_t n, int64_t g) {
    const int64_t vectors = soma__parts(n, UNIT_VECTOR);
    return SOMA_MIN(n, UNIT_VECTOR * soma__part(vectors, soma__parts(vectors, GROUP_VECTORS), g));
}

static size_t packed_bytes(const run *r, int64_t columns, int64_t k, int times) {
    return (size_t)(times * soma__parts(columns, UNIT_VECTOR) * UNIT_VECTOR * k) * r->size;
}

/* Where block `q` of packed columns from `column` on begins, of `columns` in a block. */
static char *packed_at(const run *r, char *packed, int q, int64_t columns, int64_t column, int64_t k) {
    return packed + (size_t)((q * soma__parts(columns, UNIT_VECTOR) * UNIT_VECTOR + column) * k) * r->size;
}

typedef struct stack { /* k rows of a matrix of any strides */
    const char *from;
    int64_t row, col, k;
} stack;

/* Packs n columns of `all` rows, which come from `parts` one below the other, as `multiply` reads them. */
static void pack(const run *r, char *to, const stack *part, int parts, int64_t n, int64_t all) {
    const int64_t lanes = r->ops->lanes, vectors = soma__parts(n, lanes), panels = soma__parts(vectors, r->ops->vectors), size = (int64_t)r->size;
    for (int64_t p = 0; p < panels; p++) {
        const int64_t j = soma__part(vectors, panels, p) * lanes, wide = soma__part(vectors, panels, p + 1) * lanes - j;
        for (int64_t q = 0, k = 0; q < parts; k += part[q++].k)
            if (part[q].k > 0)
                r->ops->pack_b(to + (j * all + k * wide) * size, part[q].from + j * part[q].col * size, part[q].row, part[q].col,
                               (int)SOMA_MIN(wide, n - j), part[q].k);
    }
}

/* c [rows, n] = a [rows, k] b (+ c) (+ bias); b: rows k0 to k0 + k of what was packed with `all`. Each element is a chain along k, however
 * the parts are cut. */
static void multiply(const run *r, int64_t rows, int64_t n, int64_t all, int64_t k0, int64_t k, const char *a, int64_t a_row, const char *b,
                     char *c, int64_t c_row, bool add, const char *bias) {
    const soma__gemm_ops *o = r->ops;
    const int64_t size = (int64_t)r->size, vectors = soma__parts(n, o->lanes), panels = vectors <= o->vectors ? 1 : soma__parts(vectors, o->vectors),
                  strips = rows <= o->rows ? 1 : soma__parts(rows, o->rows), chunks = SOMA_MAX(1, soma__parts(k * size, CHUNK_BYTES));
    for (int64_t p = 0, j = 0, next; p < panels; p++, j = next) {
        next = (p + 1 == panels ? vectors : soma__part(vectors, panels, p + 1)) * o->lanes;
        for (int64_t q = 0, from = 0, to; q < chunks; q++, from = to) {
            to = q + 1 == chunks ? k : soma__part(k, chunks, q + 1);
            soma__tile t = {.k = to - from, .b = b + (j * all + (k0 + from) * (next - j)) * size, .b_step = next - j,
                            .n = (int)(SOMA_MIN(next, n) - j), .a_row = a_row, .a_step = 1, .c_row = c_row, .add = add || q > 0,
                            .last = bias && q == chunks - 1, .bias_col = bias ? bias + j * size : NULL};
            for (int64_t s = 1, i = 0, end; s <= strips; s++, i = end) {
                end = s == strips ? rows : s * rows / strips;
                t.m = (int)(end - i);
                t.a = a + (i * a_row + from) * size;
                t.c = c + (i * c_row + j) * size;
                o->tile(&t);
            }
        }
    }
}

static bool ended(const run *r, int64_t b) {
    const soma_tensor *l = r->lengths;
    return l && r->t >= soma__load_int((const char *)l->data + b * l->stride[0] * (int64_t)soma_dtype_size((soma_dtype)l->dtype), (soma_dtype)l->dtype);
}

/* The first row after b, up to `end`, that has ended when b has not, or the other way round. */
static int64_t alike(const run *r, int64_t b, int64_t end) {
    const bool first = ended(r, b);
    while (r->lengths && b < end && ended(r, b) == first)
        b++;
    return r->lengths ? b : end;
}

static int64_t step_of(const run *r, int64_t i) { return r->reverse ? r->steps - 1 - i : i; }

/* The activations of group g from row b on; blocks are `batch` rows of the group's units apart. */
static char *act_at(const run *r, int64_t t, int64_t column, int64_t n, int64_t q, int64_t b) {
    return r->act + (size_t)((t * r->blocks * r->batch * r->n) + column * r->blocks * r->batch + (q * r->batch + b) * n) * r->size;
}

/* Parts are groups, in each the blocks of rows; in small batches a pass is short, and handing out many costs more than waiting. Every other pass goes backwards: what a pass has read last is still near. */
static void pass(run *r, int64_t parts, soma__range_fn fn) {
    soma__parallel(parts * r->row_blocks, r->whole_input ? soma__parts(parts, soma_threads()) : 1, fn, r);
}
static int64_t part_of(const run *r, int64_t begin, int64_t end, int64_t k) { return r->i % 2 ? end - 1 - (k - begin) : k; }

static char *row_of(const run *r, const char *p, int64_t row) { return p ? (char *)p + (size_t)row * r->size : NULL; }

/* ---- Forward ---------------------------------------------------------------------------------------------------------- */

enum { X, H0, C0, W_IH, W_HH, B_IH, B_HH, LENGTHS };
enum { OF_H, OF_X, OF_BOTH };

/* Without a gradient only two steps are there, and c0. */
static char *rows_at(const run *r, int64_t t, int64_t b) {
    if (r->ring)
        t = t == r->steps ? 2 : t % 2;
    return row_of(r, r->rows, (t * r->batch + b) * r->ld);
}
/* c after pass i; without a gradient only the last is there, and another to take turns with. */
static char *c_at(const run *r, int64_t i, int64_t b) {
    if (!r->keep)
        return row_of(r, (r->steps - 1 - i) % 2 ? r->other_c : r->c, b * r->n);
    return row_of(r, r->c, (step_of(r, i) * r->batch + b) * r->n);
}

static void copy_x(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    for (int64_t t = begin; t < end; t++)
        for (int64_t b = 0; b < r->batch; b++) {
            memset(row_of(r, rows_at(r, t, b), r->n + r->e), 0, (size_t)(r->ld - r->n - r->e) * r->size);
            memcpy(row_of(r, rows_at(r, t, b), r->n), row_of(r, r->x, (t * r->step + b * r->stride) * r->e), (size_t)r->e * r->size);
        }
}

static void pack_forward(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    const int64_t all = r->n + r->e;
    for (int64_t g = begin; g < end; g++)
        for (int q = 0; q < r->gates; q++) {
            const int64_t column = group_at(r->n, g), row = q * r->n + column;
            const stack parts[] = {{row_of(r, r->w[OF_H], row * r->n), 1, r->n, r->n}, {row_of(r, r->w[OF_X], row * r->e), 1, r->e, r->e}};
            pack(r, packed_at(r, r->packed_h, q, r->n, column, all), parts, 2, group_at(r->n, g + 1) - column, all);
        }
}

/* The share of h, x or both in the sums of gate q, for a group of units. */
static void gate_sums(const run *r, int of, int q, int64_t column, int64_t n, int64_t rows, const char *a, int64_t a_row, char *c, int64_t c_row,
                      bool add, int bias) {
    const int64_t k0 = of == OF_X ? r->n : 0, k = of == OF_H ? r->n : of == OF_X ? r->e : r->n + r->e, row = q * r->n + column;
    const char *bias_of = bias < 0 ? NULL : row_of(r, r->bias, bias * r->n + column);
    a = row_of(r, a, k0);
    if (r->packed)
        multiply(r, rows, n, r->n + r->e, k0, k, a, a_row, packed_at(r, r->packed_h, q, r->n, column, r->n + r->e), c, c_row, add, bias_of);
    else
        r->ops->dots(&(soma__dots){.m = rows, .n = n, .k = k, .a = a, .a_row = a_row, .b = row_of(r, r->w[of], row * k), .b_row = k, .c = c,
                                   .c_row = c_row, .c_col = 1, .add = add, .bias_col = bias_of});
}

static void whole_input(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    for (int64_t g = begin; g < end; g++) {
        const int64_t column = group_at(r->n, g), n = group_at(r->n, g + 1) - column;
        for (int64_t b = 0; b < r->batch; b++)
            for (int q = 0; q < r->gates; q++)
                gate_sums(r, OF_X, q, column, n, r->steps, rows_at(r, 0, b), r->batch * r->ld, act_at(r, 0, column, n, q, b),
                          r->blocks * r->batch * r->n, false, q);
    }
}

static void step_sums(const run *r, int64_t t_act, int64_t column, int64_t n, int64_t b0, int64_t b1) {
    const bool start = r->i == 0 && r->no_h0;
    for (int q = 0; q < r->gates; q++) {
        const bool apart = r->mode == SOMA__RNN_GRU && q == 2;
        char *of_x = act_at(r, t_act, column, n, q, b0), *of_h = apart ? act_at(r, t_act, column, n, 3, b0) : of_x;
        const char *rows = rows_at(r, r->t, b0);
        if (!r->whole_input && (apart || start))
            gate_sums(r, OF_X, q, column, n, b1 - b0, rows, r->ld, of_x, n, false, q);
        if (!r->whole_input && !apart && !start)
            gate_sums(r, OF_BOTH, q, column, n, b1 - b0, rows, r->ld, of_x, n, false, q);
        if (apart || (r->whole_input && !start))
            gate_sums(r, OF_H, q, column, n, b1 - b0, rows, r->ld, of_h, n, !apart, apart ? 3 : -1);
    }
}

static soma__rnn_rows forward_rows(const run *r, int64_t t_act, int64_t column, int64_t n, int64_t b, int64_t rows) {
    const int64_t next = r->i + 1 < r->steps ? step_of(r, r->i + 1) : r->steps;
    soma__rnn_rows s = {.rows = rows, .n = n, .h_row = r->stride * r->n, .copy_row = r->ld, .before_row = r->n, .c_row = r->n};
    for (int q = 0; q < r->blocks; q++)
        s.act[q] = act_at(r, t_act, column, n, q, b);
    s.h = row_of(r, r->h, (r->t * r->step + b * r->stride) * r->n + column);
    s.copy = next < r->steps ? row_of(r, rows_at(r, next, b), column) : row_of(r, r->spare, b * r->ld + column);
    if (r->mode == SOMA__RNN_LSTM) {
        s.c = row_of(r, c_at(r, r->i, b), column);
        s.before = r->i > 0 ? row_of(r, c_at(r, r->i - 1, b), column) : NULL;
    }
    if (r->mode != SOMA__RNN_LSTM || r->i == 0) { /* c0 is behind the last step */
        s.before = row_of(r, rows_at(r, r->mode == SOMA__RNN_LSTM ? r->steps : r->t, b), column);
        s.before_row = r->ld;
    }
    return s;
}

/* Rows whose sequence has ended: h and c stay. */
static void hold(const run *r, const soma__rnn_rows *s, const char *h) {
    const size_t bytes = (size_t)s->n * r->size;
    for (int64_t b = 0; b < s->rows; b++) {
        memcpy(row_of(r, s->copy, b * s->copy_row), row_of(r, h, b * r->ld), bytes);
        memcpy(row_of(r, s->h, b * s->h_row), row_of(r, h, b * r->ld), bytes);
        if (s->c)
            memcpy(row_of(r, s->c, b * s->c_row), row_of(r, s->before, b * s->before_row), bytes);
        for (int q = 0; q < r->blocks; q++)
            memset(row_of(r, s->act[q], b * s->n), 0, bytes);
    }
}

static void forward_part(const run *r, int64_t g, int64_t block) {
    const int64_t b0 = soma__part(r->batch, r->row_blocks, block), b1 = soma__part(r->batch, r->row_blocks, block + 1);
    const int64_t column = group_at(r->n, g), n = group_at(r->n, g + 1) - column, t_act = r->keep || r->whole_input ? r->t : 0;
    step_sums(r, t_act, column, n, b0, b1);
    for (int64_t b = b0, next; b < b1; b = next) {
        next = alike(r, b, b1);
        const soma__rnn_rows s = forward_rows(r, t_act, column, n, b, next - b);
        if (ended(r, b))
            hold(r, &s, row_of(r, rows_at(r, r->t, b), column));
        else
            r->kernel(&s);
    }
}

static void forward_parts(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    for (int64_t k = begin; k < end; k++) {
        const int64_t p = part_of(r, begin, end, k);
        forward_part(r, p / r->row_blocks, p % r->row_blocks);
    }
}

/* Both biases where they are added together; GRU's for n apart. */
static void add_biases(run *r, const void *b_ih, const void *b_hh) {
    const bool gru = r->mode == SOMA__RNN_GRU;
    for (int64_t i = 0; i < r->blocks * r->n; i++) {
        const double x = !b_ih || i >= r->gates * r->n ? 0 : r->size == 8 ? ((const double *)b_ih)[i] : ((const float *)b_ih)[i];
        const int64_t k = gru && i >= 3 * r->n ? i - r->n : i;
        const double h = !b_hh || (gru && i >= 2 * r->n && i < 3 * r->n) ? 0 : r->size == 8 ? ((const double *)b_hh)[k] : ((const float *)b_hh)[k];
        if (r->size == 8)
            ((double *)r->bias)[i] = x + h;
        else
            ((float *)r->bias)[i] = (float)(x + h);
    }
}

/* Before the first step. */
static void start(run *r, const char *h0, const char *c0) {
    const int64_t t = step_of(r, 0);
    if (!r->ring)
        soma__parallel(r->steps, SOMA_MAX(1, 16384 / SOMA_MAX(1, r->batch * r->e)), copy_x, r);
    memset(rows_at(r, r->steps, 0), 0, (size_t)(r->batch * r->ld) * r->size);
    for (int64_t b = 0; b < r->batch; b++) {
        if (h0)
            memcpy(rows_at(r, t, b), row_of(r, h0, b * r->n), (size_t)r->n * r->size);
        else
            memset(rows_at(r, t, b), 0, (size_t)r->n * r->size);
        if (c0)
            memcpy(rows_at(r, r->steps, b), row_of(r, c0, b * r->n), (size_t)r->n * r->size);
    }
    if (r->packed)
        soma__parallel(r->groups, 1, pack_forward, r);
    if (r->whole_input)
        soma__parallel(r->groups, 1, whole_input, r);
}

static void forward(soma_args *a, run *r) {
    const size_t row = (size_t)(r->blocks * r->batch * r->n) * r->size;
    r->keep = a->attrs[3].value.i != 0;
    r->packed = r->batch > FEW_ROWS || r->steps >= FEW_STEPS;
    r->no_h0 = !a->in[H0];
    const char *h0 = dense(r, a->in[H0]), *b_ih = dense(r, a->in[B_IH]), *b_hh = dense(r, a->in[B_HH]),
               *c0 = dense(r, a->in[C0]);
    r->w[OF_H] = dense(r, a->in[W_HH]);
    r->w[OF_X] = dense(r, a->in[W_IH]);
    r->x = dense(r, a->in[X]);
    r->bias = take(r, (size_t)(r->blocks * r->n) * r->size);
    r->packed_h = r->packed ? take(r, packed_bytes(r, r->n, r->n + r->e, r->gates)) : NULL;
    r->spare = take(r, (size_t)(r->batch * r->ld) * r->size);
    r->ring = !r->keep && !r->whole_input;
    char *rows = r->keep ? NULL : take(r, (size_t)((r->ring ? 3 : r->steps + 1) * r->batch * r->ld) * r->size);
    r->other_c = take(r, r->keep ? 0 : (size_t)(r->batch * r->n) * r->size);
    char *act = r->keep ? NULL : take(r, r->whole_input ? (size_t)r->steps * row : row);
    if (!r->work)
        return;
    r->h = a->out[0]->data;
    r->c = a->out[1]->data;
    r->act = r->keep ? a->out[2]->data : act;
    r->rows = r->keep ? a->out[3]->data : rows;
    r->kernel = (r->dtype == SOMA_F64 ? &soma__rnn_f64 : soma__rnn_pick())->forward[r->mode];
    add_biases(r, b_ih, b_hh);
    start(r, h0, c0);
    for (r->i = 0; r->i < r->steps; r->i++) {
        r->t = step_of(r, r->i);
        if (r->ring)
            copy_x(r, r->t, r->t + 1);
        pass(r, r->groups, forward_parts);
    }
}

static run forward_run(soma_args *a) { return run_of(a, a->in[X], a->in[W_HH], a->in[W_IH], a->in[LENGTHS]); }

size_t soma__rnn_forward_work(soma_args *a) {
    run r = forward_run(a);
    forward(a, &r);
    return r.used + 64;
}

const char *soma__rnn_forward(soma_args *a) {
    run r = forward_run(a);
    r.work = a->work;
    if (a->out[0]->numel > 0)
        forward(a, &r);
    return NULL;
}

/* ---- Backward --------------------------------------------------------------------------------------------------------- */

enum { GH, GC, STATE, ACT, ROWS, BACK_W_HH, BACK_W_IH, BACK_LENGTHS };
enum { GX, DH0, DC0, DW_HH, DW_IH, DB_HH, DB_IH };
enum { CHUNK_ROWS = 256 };

/* Rows of the weights in the order of dg: GRU's n first for h, last for x. */
static int64_t rows_of_h(const run *r) { return r->gates * r->n; }
static int64_t dg_of_x(const run *r) { return r->mode == SOMA__RNN_GRU ? r->n : 0; }
/* The gate of the weights of h or x to which block q of dg belongs; -1: to none. */
static int gate_of(const run *r, int of, int q) {
    return r->mode != SOMA__RNN_GRU ? q : of == OF_H ? (q + 2) % 3 - (q == 3 ? 3 : 0) : q - 1;
}

static void pack_backward(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    const int64_t k = rows_of_h(r), turn = dg_of_x(r); /* GRU: n's rows, the last, come first for h */
    for (int64_t g = begin; g < end; g++) {
        const bool of_x = g >= r->groups;
        const int64_t all = of_x ? r->e : r->n, of = of_x ? g - r->groups : g, column = group_at(all, of), n = group_at(all, of + 1) - column;
        const char *w = row_of(r, r->w[of_x ? OF_X : OF_H], column);
        const stack parts[] = {{row_of(r, w, of_x ? 0 : (k - turn) * all), all, 1, of_x ? 0 : turn}, {w, all, 1, of_x ? k : k - turn}};
        pack(r, packed_at(r, of_x ? r->packed_x : r->packed_h, 0, all, column, k), parts, 2, n, k);
    }
}

/* Two windows in turn: a step reads what the step after it has written. */
static char *dg_at(const run *r, int64_t t, int64_t b) {
    return row_of(r, r->dg, ((t / r->window % 2 * r->window + t % r->window) * r->batch + b) * r->width);
}

static soma__rnn_rows backward_rows(const run *r, int64_t block, int64_t column, int64_t n, int64_t b, int64_t rows) {
    const int64_t before = r->reverse ? r->t + 1 : r->t - 1, of_group = column * r->batch + b * n;
    const bool c_row = r->mode == SOMA__RNN_LSTM && before >= 0 && before < r->steps, lstm = r->mode == SOMA__RNN_LSTM;
    const int64_t from = (r->t * r->step + b * r->stride) * r->n + column, c_from = (r->t * r->batch + b) * r->n + column;
    soma__rnn_rows s = {.rows = rows, .n = n, .c_row = r->n, .gh_row = r->stride * r->n, .gc_row = r->n, .dg_row = r->width, .dg_gate = r->n,
                        .before_row = c_row ? r->n : r->ld};
    for (int q = 0; q < r->blocks; q++)
        s.act[q] = act_at(r, r->t, column, n, q, b);
    s.gh = r->quiet[r->t] ? NULL : row_of(r, r->gh, from);
    s.gc = row_of(r, r->gc, c_from);
    s.before = c_row ? row_of(r, r->c, (before * r->batch + b) * r->n + column) : row_of(r, rows_at(r, lstm ? r->steps : r->t, b), column);
    s.c = lstm ? row_of(r, r->c, c_from) : NULL;
    s.dh = r->dh + (size_t)of_group * r->size;
    s.dc = r->dc + (size_t)of_group * r->size;
    s.dg = row_of(r, dg_at(r, r->t, b), column);
    s.sum = row_of(r, r->sums, block * r->width + column);
    if (!s.gh) {
        s.gh = zeros;
        s.gh_row = 0;
    }
    if (!s.gc) {
        s.gc = zeros;
        s.gc_row = 0;
    }
    return s;
}

#define ADD_ROWS(T, to, from, from_row)                                        \
    for (int64_t b = 0; b < s->rows; b++)                                      \
        for (int64_t k = 0; k < s->n; k++)                                     \
            ((T *)(to))[b * s->n + k] += ((const T *)(from))[b * (from_row) + k];

/* Rows whose sequence has ended hand on what comes from outside; their gates have no part in anything. */
static void hand_on(const run *r, const soma__rnn_rows *s) {
    if (r->size == 8) {
        ADD_ROWS(double, s->dh, s->gh, s->gh_row)
        ADD_ROWS(double, s->dc, s->gc, s->gc_row)
    } else {
        ADD_ROWS(float, s->dh, s->gh, s->gh_row)
        ADD_ROWS(float, s->dc, s->gc, s->gc_row)
    }
    for (int64_t b = 0; b < s->rows; b++)
        for (int q = 0; q < r->blocks; q++)
            memset((char *)s->dg + (size_t)(b * s->dg_row + q * s->dg_gate) * r->size, 0, (size_t)s->n * r->size);
}

/* Rows of dg times the weights of x. */
static void input_gradient(const run *r, int64_t g, int64_t rows, int64_t t, int64_t b, int64_t dg_row, int64_t gx_row) {
    const int64_t column = group_at(r->e, g), n = group_at(r->e, g + 1) - column, k = rows_of_h(r);
    multiply(r, rows, n, k, 0, k, row_of(r, dg_at(r, t, b), dg_of_x(r)), dg_row,
             packed_at(r, r->packed_x, 0, r->e, column, k), row_of(r, r->gx, (t * r->step + b * r->stride) * r->e + column), gx_row, false, NULL);
}

/* Pass i: what the gates of the step that came before, i - 1, give, and then this step's gates. The last pass has only the former. */
static void backward_part(const run *r, int64_t g, int64_t block) {
    const int64_t b0 = soma__part(r->batch, r->row_blocks, block), b1 = soma__part(r->batch, r->row_blocks, block + 1);
    const int64_t after = r->reverse ? r->t - 1 : r->t + 1;
    if (g >= r->groups) {
        input_gradient(r, g - r->groups, b1 - b0, after, b0, r->width, r->stride * r->e);
        return;
    }
    const int64_t column = group_at(r->n, g), n = group_at(r->n, g + 1) - column, k = rows_of_h(r);
    if (r->i > 0 && (r->i < r->steps || r->keep))
        multiply(r, b1 - b0, n, k, 0, k, dg_at(r, after, b0), r->width,
                 packed_at(r, r->packed_h, 0, r->n, column, k), r->dh + (size_t)(column * r->batch + b0 * n) * r->size, n, true, NULL);
    for (int64_t b = b0, next; b < b1 && r->i < r->steps; b = next) {
        next = alike(r, b, b1);
        const soma__rnn_rows s = backward_rows(r, block, column, n, b, next - b);
        if (ended(r, b))
            hand_on(r, &s);
        else
            r->kernel(&s);
    }
}

static void backward_parts(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    for (int64_t k = begin; k < end; k++) {
        const int64_t p = part_of(r, begin, end, k);
        backward_part(r, p / r->row_blocks, p % r->row_blocks);
    }
}

/* Often only the last step's output is used: the zeros of the others, far apart in memory, are then read once, in order. */
static void find_quiet(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    const size_t bytes = (size_t)r->n * r->size;
    for (int64_t t = begin; t < end; t++) {
        bool quiet = true;
        for (int64_t b = 0; quiet && b < r->batch; b++) {
            const char *row = row_of(r, r->gh, (t * r->step + b * r->stride) * r->n);
            for (size_t i = 0; quiet && i < bytes; i += sizeof zeros)
                quiet = memcmp(row + i, zeros, SOMA_MIN(bytes - i, sizeof zeros)) == 0;
        }
        r->quiet[t] = quiet;
    }
}

/* ---- What follows when a window of steps is full ---- */

typedef struct full {
    const run *r;
    int64_t t, steps;          /* the window */
    int64_t k;                 /* rows at a time for the weights, and where they are */
    const char *dg, *rows;
    char *dw[2];
    bool add;
} full;

static void window_input(void *arg, int64_t begin, int64_t end) {
    const full *f = arg;
    const run *r = f->r;
    for (int64_t g = begin; g < end; g++)
        for (int64_t b = 0; b < r->batch; b++)
            input_gradient(r, g, f->steps, f->t, b, r->batch * r->width, r->step * r->e);
}

/* dw (+)= the m units packed in `a` over all rows times the n columns of h or x in the rows, which are read where they are. */
static void add_weights(const full *f, const char *a, int64_t m, const char *rows, int64_t n, char *dw) {
    const soma__gemm_ops *o = f->r->ops;
    const int64_t vectors = soma__parts(n, o->lanes), panels = soma__parts(vectors, o->vectors), size = (int64_t)f->r->size;
    for (int64_t p = 0; p < panels; p++) {
        const int64_t j = soma__part(vectors, panels, p) * o->lanes, next = SOMA_MIN(n, soma__part(vectors, panels, p + 1) * o->lanes);
        const soma__tile t = {.k = f->k, .a = a, .a_row = 1, .a_step = m, .b = rows + j * size, .b_step = f->r->ld, .c = dw + j * size, .c_row = n,
                              .m = (int)m, .n = (int)(next - j), .add = f->add};
        o->tile(&t);
    }
}

/* Strips of units of one gate: packed once for both products. */
static void window_weights(void *arg, int64_t begin, int64_t end) {
    const full *f = arg;
    const run *r = f->r;
    const int64_t strips = soma__parts(r->n, r->ops->rows);
    _Alignas(64) char a[8 * CHUNK_ROWS * sizeof(double) + 64];
    for (int64_t s = begin; s < end; s++) {
        const int q = (int)(s / strips), h = gate_of(r, OF_H, q), x = gate_of(r, OF_X, q);
        const int64_t i = soma__part(r->n, strips, s % strips), m = soma__part(r->n, strips, s % strips + 1) - i;
        r->ops->pack_a(a, row_of(r, f->dg, q * r->n + i), 1, r->width, (int)m, f->k);
        if (h >= 0)
            add_weights(f, a, m, f->rows, r->n, row_of(r, f->dw[OF_H], (h * r->n + i) * r->n));
        if (x >= 0)
            add_weights(f, a, m, row_of(r, f->rows, r->n), r->e, row_of(r, f->dw[OF_X], (x * r->n + i) * r->e));
    }
}

static void window_done(full *f, int64_t x_groups) {
    const run *r = f->r;
    if (r->gx && r->whole_input)
        soma__parallel(x_groups, 1, window_input, f);
    const int64_t rows = f->steps * r->batch, chunks = soma__parts(rows, CHUNK_ROWS);
    for (int64_t c = 0; c < chunks && f->dw[OF_H]; c++) {
        const int64_t from = soma__part(rows, chunks, c);
        f->k = soma__part(rows, chunks, c + 1) - from;
        f->dg = row_of(r, dg_at(r, f->t, 0), from * r->width);
        f->rows = row_of(r, rows_at(r, f->t, 0), from * r->ld);
        soma__parallel(r->blocks * soma__parts(r->n, r->ops->rows), 4, window_weights, f);
        f->add = true;
    }
}

/* ---- The whole way back ---- */

/* From groups of units to whole rows. */
static void gather(const run *r, soma_tensor *out, const char *from) {
    char *to = out->data;
    for (int64_t g = 0; out->numel > 0 && g < r->groups; g++) {
        const int64_t column = group_at(r->n, g), n = group_at(r->n, g + 1) - column;
        for (int64_t b = 0; b < r->batch; b++)
            memcpy(to + (size_t)(b * r->n + column) * r->size, from + (size_t)(column * r->batch + b * n) * r->size, (size_t)n * r->size);
    }
}

static void bias_gradients(const run *r, soma_tensor *const out[2]) {
    for (int of = OF_H; of <= OF_X; of++)
        for (int q = 0; q < r->blocks && out[of]->numel > 0; q++)
            for (int64_t i = 0, gate = gate_of(r, of, q); i < r->n && gate >= 0; i++) {
                double sum = 0;
                for (int64_t b = 0; b < r->row_blocks; b++) {
                    const char *p = row_of(r, r->sums, b * r->width + q * r->n + i);
                    sum += r->size == 8 ? *(const double *)p : *(const float *)p;
                }
                char *to = row_of(r, out[of]->data, gate * r->n + i);
                if (r->size == 8)
                    *(double *)to = sum;
                else
                    *(float *)to = (float)sum;
            }
}

static void backward(soma_args *a, run *r) {
    const size_t state = (size_t)(r->batch * r->n) * r->size, sums = (size_t)(r->row_blocks * r->width) * r->size;
    const int64_t k = rows_of_h(r), x_groups = soma__parts(soma__parts(r->e, UNIT_VECTOR), GROUP_VECTORS);
    full f = {.r = r};
    r->ld = a->in[ROWS]->shape[2];
    r->window = SOMA_MIN(r->steps, SOMA_MAX(1, CHUNK_ROWS / SOMA_MAX(1, r->batch)));
    r->gh = dense(r, a->in[GH]);
    r->gc = r->mode == SOMA__RNN_LSTM ? dense(r, a->in[GC]) : NULL;
    r->c = (char *)dense(r, a->in[STATE]);
    r->act = (char *)dense(r, a->in[ACT]);
    r->rows = (char *)dense(r, a->in[ROWS]);
    r->w[OF_H] = dense(r, a->in[BACK_W_HH]);
    r->w[OF_X] = dense(r, a->in[BACK_W_IH]);
    r->packed_h = take(r, packed_bytes(r, r->n, k, 1));
    r->packed_x = take(r, packed_bytes(r, r->e, k, 1));
    r->dg = take(r, (size_t)(2 * r->window * r->batch * r->width) * r->size);
    r->sums = take(r, sums);
    r->dh = take(r, state);
    r->dc = take(r, state);
    r->quiet = (bool *)take(r, (size_t)r->steps * sizeof *r->quiet);
    if (!r->work)
        return;
    memset(r->sums, 0, sums);
    memset(r->dh, 0, state);
    memset(r->dc, 0, state);
    r->gx = r->wanted & SOMA__RNN_GX ? a->out[GX]->data : NULL;
    f.dw[OF_H] = r->wanted & SOMA__RNN_WEIGHTS ? a->out[DW_HH]->data : NULL;
    f.dw[OF_X] = r->wanted & SOMA__RNN_WEIGHTS ? a->out[DW_IH]->data : NULL;
    r->kernel = (r->dtype == SOMA_F64 ? &soma__rnn_f64 : soma__rnn_pick())->backward[r->mode];
    soma__parallel(r->steps, SOMA_MAX(1, 65536 / SOMA_MAX(1, r->batch * r->n)), find_quiet, r);
    const int64_t of_x = r->gx ? x_groups : 0, x_parts = r->whole_input ? 0 : of_x;
    soma__parallel(r->groups + of_x, 1, pack_backward, r);
    for (r->i = 0; r->i < r->steps; r->i++) {
        r->t = step_of(r, r->steps - 1 - r->i);
        pass(r, r->groups + (r->i > 0 ? x_parts : 0), backward_parts);
        f.t = r->t - r->t % r->window;
        f.steps = SOMA_MIN(r->window, r->steps - f.t);
        if (r->t == (r->reverse ? f.t + f.steps - 1 : f.t))
            window_done(&f, x_groups);
    }
    r->t = r->reverse ? r->steps : -1;
    pass(r, r->groups + x_parts, backward_parts);
    gather(r, a->out[DH0], r->dh);
    gather(r, a->out[DC0], r->dc);
    bias_gradients(r, a->out + DB_HH);
}

static run backward_run(soma_args *a) {
    run r = run_of(a, a->in[GH], a->in[BACK_W_HH], a->in[BACK_W_IH], a->in[BACK_LENGTHS]);
    r.wanted = (int)a->attrs[3].value.i;
    r.keep = (r.wanted & SOMA__RNN_STATES) != 0;
    return r;
}

size_t soma__rnn_backward_work(soma_args *a) {
    run r = backward_run(a);
    backward(a, &r);
    return r.used + 64;
}

const char *soma__rnn_backward(soma_args *a) {
    run r = backward_run(a);
    r.work = a->work;
    if (r.batch > 0)
        backward(a, &r);
    else
        for (int i = DW_HH; i <= DB_IH; i++)
            if (a->out[i]->numel > 0)
                memset(a->out[i]->data, 0, (size_t)a->out[i]->numel * r.size);
    return NULL;
}
