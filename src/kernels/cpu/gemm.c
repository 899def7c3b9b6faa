/* Matrix products: how one is cut into tiles, packed and shared out. The kernels themselves are in isa/gemm.c.
 *
 * C is split among the threads into a grid of rectangles, never along k, and each thread packs what its rectangle needs, so
 * there is nothing to wait for. Inside: k in chunks that fit the caches; a chunk of A (all rows of the rectangle) is packed
 * in strips of ops->rows rows; B in blocks of a few panels that stay in the second-level cache while the strips, each of
 * which fits in the first, pass over them. Sizes that are no multiple are split evenly instead of leaving a thin rest. Small
 * products, and operands that each thread reads only once or twice, are not packed. Chunks and the choice of path depend on
 * sizes and strides alone. */
#include "gemm.h"

#include "base/base.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK_BYTES = 2048, /* of one row of a strip: 512 floats, 256 doubles */
    NARROW_BYTES = 64,  /* of one row of a panel, as with AVX2: half the k, so that the panel stays in the first-level cache */
    PANEL_BYTES = 16384, /* of a panel that does, while */
    PANEL_STRIPS = 32,  /* so many strips pass over it */
    BLOCK_PANELS = 4,   /* panels of B in a block: 4 * 48 columns * 2048 bytes = 384 KiB with AVX-512 */
    SLICE = 16,         /* rows of k packed at a time where rows of memory run across strips or panels: each is read once */
    MAX_ROWS = 2048,    /* of A packed at a time */
    DIRECT_STRIPS = 1,  /* B is not packed when at most so many strips read it, */
    DIRECT_STRIPS_NEAR =
        32, /* or so many and it fits in the second-level cache, where its rows do not all fall on one place: */
    DIRECT_BYTES = 1 << 20,
    DIRECT_PAGE = 4096,
    DIRECT_PANELS = 1,     /* A is not packed when at most so many panels read it, or it has at most */
    DIRECT_A = 1 << 16,    /* so many bytes, in rows that do not all fall on one place, */
    DIRECT_WIDE = 1024,    /* and so many columns read it */
    DIRECT_SIDE = 64,      /* nor is anything in products whose three sizes are at most this */
    TURN_ROWS = 128,       /* f32 with k together in both operands is computed as its transpose for at most so many rows of A, */
    TURN_DEPTH = 1024,     /* so much k */
    TURN_LEAST = 64,       /* and at least so many columns and so much k: packing the few rows of A is less than packing B */
    PARALLEL_WORK = 300000 /* multiply-adds below which waking a thread costs more than it brings */
};

typedef struct plan {
    const soma__gemm_kernels *kernels;
    const soma__gemm_ops *ops;
    size_t size, in_size;       /* bytes of an element in registers and in memory */
    bool half;      /* f16 or bf16 in memory */
    bool pairs;     /* packed as pairs of bf16 along k, which count as one element of 4 bytes */
    bool rounds;    /* f32, rounded to bf16 when packed */
    bool packs;     /* one of these: all operands are packed */
    bool small, vector, dots, swapped, by_rows; /* small: tiles straight from the operands; vector: neither packed nor
                                                         tiled, by dots or by rows; swapped: the transposed product; by_rows:
                                                         its rows are shared out, else its columns */
    bool a_direct, b_direct;
    bool turned;                /* computed as its transpose, A packed, B read as it lies */
    int64_t units;              /* of k: elements or pairs */
    int64_t chunks, chunk;      /* of the units; the longest */
    int64_t group;              /* strips that pass over a panel before the next one */
    int64_t rows, columns;      /* of the largest rectangle */
    int64_t grid_m, grid_n;     /* rectangles of one product */
    int64_t batches;            /* products that run at the same time, each in a grid of 1 x 1 if above 1 */
    size_t a_bytes, b_bytes, temp_bytes, slot_bytes,
        sum_bytes; /* packed A and B, conversion; of one thread; of f32 sums of halves */
} plan;

static inline size_t whole(size_t bytes) { return (bytes + 63) / 64 * 64; }
/* Element `index`; NULL stays NULL (empty operands). */
static inline const char *at(const void *p, int64_t index, size_t size) {
    return p ? (const char *)p + index * (int64_t)size : NULL;
}

/* ---- The plan --------------------------------------------------------------------------------------------------------- */

/* The grid of at most `threads` rectangles in which the slowest has least to do: multiply-adds in vectors, and packing at a
 * third of a step an element. */
static void choose_grid(plan *p, const soma__gemm *g, int64_t threads) {
    const int64_t strips = soma__parts(g->m, p->ops->rows), vectors = soma__parts(g->n, p->ops->lanes);
    double best = INFINITY;
    for (int64_t tn = 1; tn <= threads && tn <= vectors; tn++) {
        int64_t tm = threads / tn < strips ? threads / tn : strips;
        double rows = (double)(soma__parts(strips, tm) * p->ops->rows),
               columns = (double)(soma__parts(vectors, tn) * p->ops->lanes);
        double cost = rows * columns / p->ops->lanes + 0.3 * (rows + columns);
        if (cost < best) {
            best = cost;
            p->grid_m = tm;
            p->grid_n = tn;
        }
    }
}

/* Small products whose B has its rows together skip all planning: for them that would take as long as the work. */
static bool is_small(const soma__gemm *g, const soma__gemm_ops *ops) {
    return g->m <= DIRECT_SIDE && g->n <= DIRECT_SIDE && g->k <= DIRECT_SIDE && (g->dtype == SOMA_F32 || g->dtype == SOMA_F64) &&
           g->b_col == 1 && (ops->masks || g->n % ops->lanes == 0);
}

/* f32 only: of the lanes of B's vectors fewer are used than dot products do useful work in, which lose about as much on
 * adding up the lanes as on three vectors of k. */
static bool wastes_lanes(const soma__gemm *g, const soma__gemm_ops *ops) {
    const int64_t lanes = ops->lanes;
    return g->dtype == SOMA_F32 && g->n < 2 * lanes && g->n * (g->k + 3 * lanes) < g->k * soma__parts(g->n, lanes) * lanes;
}

/* At most a sixteenth of the lanes may go to waste. */
static bool turns(const plan *p, const soma__gemm *g) {
    const int64_t lanes = p->ops->lanes;
    const int64_t most = p->ops->vectors * lanes * 4 <= NARROW_BYTES ? TURN_ROWS / 4 : TURN_ROWS;
    return g->dtype == SOMA_F32 && !p->packs && !g->add && g->a_col == 1 && g->b_row == 1 && g->m <= most && g->k <= TURN_DEPTH &&
           g->n >= TURN_LEAST && g->k >= TURN_LEAST && soma__parts(g->m, lanes) * lanes * 15 <= g->m * 16;
}

static void make_plan(plan *p, const soma__gemm *g, int64_t threads) {
    *p = (plan){.kernels = soma__gemm_pick(), .size = g->dtype == SOMA_F64 ? 8 : 4, .in_size = soma_dtype_size(g->dtype)};
    p->ops = g->dtype == SOMA_F64 ? &p->kernels->f64 : &p->kernels->f32;
    p->half = p->in_size == 2;
    const bool bf16 = g->dtype == SOMA_BF16 || (g->bf16 && g->dtype == SOMA_F32);
    p->pairs = bf16 && p->kernels->bf16 && soma__isa_bf16();
    p->rounds = bf16 && !p->pairs && !p->half;
    p->packs = p->half || bf16;
    p->grid_m = p->grid_n = p->batches = 1;
    const double work = (double)g->m * (double)g->n * (double)(g->k + 1);
    const int64_t batch = g->batch > 1 ? g->batch : 1;
    if (work * (double)batch < PARALLEL_WORK)
        threads = 1;
    if (batch >= threads || (batch > 1 && work < PARALLEL_WORK))
        p->batches = batch < threads ? batch : threads;
    p->small = is_small(g, p->ops);
    if (p->small)
        return;
    const bool column = g->n == 1 && g->m > 1;
    p->dots = !p->half && g->a_col == 1 && g->b_row == 1 && g->k > 1 && (column || g->m <= 4 || wastes_lanes(g, p->ops));
    p->vector = p->dots || (!p->half && (column ? g->a_row == 1 && g->c_row == 1 : g->m == 1 && g->b_col == 1));
    p->swapped = p->vector && column;
    p->by_rows = p->vector && !column && g->m > 4;
    if (p->vector)
        return;
    p->turned = turns(p, g);
    if (p->turned) {
        p->grid_n = p->batches == 1 ? SOMA_MIN(threads, soma__parts(g->n, p->ops->lanes)) : 1;
        p->slot_bytes = whole((size_t)(soma__parts(g->m, p->ops->lanes) * p->ops->lanes * g->k) * p->size + 64);
        return;
    }
    if (p->batches == 1)
        choose_grid(p, g, threads);
    const int64_t strips = soma__parts(g->m, p->ops->rows), vectors = soma__parts(g->n, p->ops->lanes);
    p->rows = SOMA_MIN(soma__parts(strips, p->grid_m) * p->ops->rows, g->m);
    p->columns = soma__parts(vectors, p->grid_n) * p->ops->lanes;
    p->units = p->pairs ? soma__parts(g->k, 2) : g->k;
    const int64_t panel = (int64_t)p->ops->vectors * p->ops->lanes;
    const bool narrow = panel * 4 <= NARROW_BYTES && p->size == 4;
    p->chunks = SOMA_MAX(1, soma__parts(p->units, CHUNK_BYTES / (narrow ? 2 : 1) / (int64_t)p->size));
    p->chunk = soma__parts(p->units, p->chunks);
    p->group = panel * p->chunk * (int64_t)p->size <= PANEL_BYTES ? PANEL_STRIPS : 1;
    /* By the whole product, not its rectangles: so fewer threads never need more workspace than more. */
    const bool little = g->m * g->k * (int64_t)p->size <= DIRECT_A && g->n <= DIRECT_WIDE && p->chunks == 1;
    p->a_direct = !p->packs && (g->n <= DIRECT_PANELS * panel || (little && g->a_row * (int64_t)p->size % DIRECT_PAGE != 0));
    const bool tiny = g->k * g->n * (int64_t)p->size <= DIRECT_A;
    const bool near = g->k * g->n * (int64_t)p->size <= DIRECT_BYTES && g->b_row * (int64_t)p->size % DIRECT_PAGE != 0;
    p->b_direct = !p->packs && g->b_col == 1 &&
                  (g->m <= DIRECT_STRIPS * p->ops->rows || (near && g->m <= DIRECT_STRIPS_NEAR / (narrow && !tiny ? 4 : 1) * p->ops->rows));
    if (!p->a_direct)
        p->a_bytes = whole((size_t)(SOMA_MIN(p->rows, MAX_ROWS) * p->chunk) * p->size + 64);
    if (!p->b_direct || !p->ops->masks)
        p->b_bytes = whole((size_t)(SOMA_MIN(p->columns, BLOCK_PANELS * panel) * p->chunk) * p->size + 64);
    if (p->half) {
        p->temp_bytes = p->pairs ? 0 : whole((size_t)(panel * p->chunk) * 4);
        p->sum_bytes = whole((size_t)(g->m * g->n) * 4);
    }
    p->slot_bytes = p->a_bytes + p->b_bytes + p->temp_bytes;
}

static size_t plan_bytes(const plan *p) {
    if (p->batches > 1)
        return (size_t)p->batches * (p->slot_bytes + p->sum_bytes);
    return (size_t)(p->grid_m * p->grid_n) * p->slot_bytes + p->sum_bytes;
}

static bool is_integer(soma_dtype dtype) { return !soma_dtype_is_float(dtype); }

size_t soma__gemm_work(const soma__gemm *g) {
    if (is_integer(g->dtype) || g->m == 0 || g->n == 0)
        return 0;
    plan p;
    make_plan(&p, g, soma_threads());
    return plan_bytes(&p);
}

/* ---- Packing, with conversion of halves ------------------------------------------------------------------------------- */

/* Converts a [major][minor] block with strides to f32, minor together, into `temp`. */
static void convert(const plan *p, soma_dtype dtype, float *temp, const void *src, int64_t major, int64_t minor,
                    int64_t major_step, int64_t minor_step) {
    void (*from)(float *, const uint16_t *, int64_t) = dtype == SOMA_F16 ? p->kernels->from_f16 : p->kernels->from_bf16;
    for (int64_t i = 0; i < major; i++) {
        const uint16_t *row = (const uint16_t *)src + i * major_step;
        if (minor_step == 1)
            from(temp + i * minor, row, minor);
        else
            for (int64_t j = 0; j < minor; j++)
                from(temp + i * minor + j, row + j * minor_step, 1);
    }
}

static void pack(const plan *p, const soma__gemm *g, bool is_a, void *dst, const void *src, int64_t row, int64_t col, int n,
                 int64_t k, float *temp) {
    if (p->pairs) {
        p->kernels->bf16->pack(is_a, dst, src, p->half, is_a ? row : col, is_a ? col : row, n, k);
        return;
    }
    if (p->half) { /* keep the direction in which the elements lie together */
        bool along_k = is_a ? row != 1 : col != 1;
        int64_t step_k = is_a ? col : row, step_n = is_a ? row : col;
        if (along_k)
            convert(p, g->dtype, temp, src, n, k, step_n, step_k);
        else
            convert(p, g->dtype, temp, src, k, n, step_k, step_n);
        src = temp;
        step_k = along_k ? 1 : n;
        step_n = along_k ? k : 1;
        row = is_a ? step_n : step_k;
        col = is_a ? step_k : step_n;
    }
    (is_a ? p->ops->pack_a : p->ops->pack_b)(dst, src, row, col, n, k);
    if (p->rounds)
        p->kernels->round_bf16(dst, (is_a ? n : soma__parts(n, p->ops->lanes) * p->ops->lanes) * k);
}

/* ---- One rectangle ---------------------------------------------------------------------------------------------------- */

typedef struct job {
    const plan *p;
    const soma__gemm *g;
    char *work;
} job;

typedef struct area {
    const plan *p;
    const soma__gemm *g;
    const char *a, *b, *mask;
    char *c;
    int64_t c_row, m0, m1, n0, n1;
    char *pack_a, *pack_b;
    float *temp;
} area;

static void mask_area(const area *r, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    for (int64_t i = i0; i < i1; i++) {
        if (r->p->size == 4) {
            float *c = (float *)r->c + i * r->c_row;
            const float *mask = (const float *)r->mask + i * r->g->mask_row;
            for (int64_t j = j0; j < j1; j++)
                c[j] = mask[j] > 0 ? c[j] : 0;
        } else {
            double *c = (double *)r->c + i * r->c_row;
            const double *mask = (const double *)r->mask + i * r->g->mask_row;
            for (int64_t j = j0; j < j1; j++)
                c[j] = mask[j] > 0 ? c[j] : 0;
        }
    }
}

typedef struct block_panel {
    int64_t j, n, step;
    const char *b;
    char *room;
    bool packed;
} block_panel;

/* Packed elements that k values along k become. */
static int64_t units(const plan *p, int64_t k) { return p->pairs ? (k + 1) / 2 : k; }

/* Packs what is to be packed of a block's panels, and lets `b` and `step` point there. */
static void pack_block(const area *r, block_panel *panel, int64_t count, int64_t k) {
    const plan *p = r->p;
    const soma__gemm *g = r->g;
    const int64_t lanes = p->ops->lanes, slice = g->b_col == 1 && (p->pairs || !p->half) ? SLICE : SOMA_MAX(1, k);
    for (int64_t at_k = 0; at_k < k; at_k += slice)
        for (int64_t q = 0; q < count; q++)
            if (panel[q].packed)
                pack(p, g, false, panel[q].room + (size_t)(units(p, at_k) * soma__parts(panel[q].n, lanes) * lanes) * p->size,
                     at(panel[q].b, at_k * g->b_row, p->in_size), g->b_row, g->b_col, (int)panel[q].n,
                     SOMA_MIN(slice, k - at_k), r->temp);
    for (int64_t q = 0; q < count; q++)
        if (panel[q].packed) {
            panel[q].b = panel[q].room;
            panel[q].step = soma__parts(panel[q].n, lanes) * lanes;
        }
}

/* Packs the strips of rows [i0, i1) over one chunk of k. */
static void pack_strips(const area *r, int64_t i0, int64_t i1, int64_t k0, int64_t k) {
    const plan *p = r->p;
    const soma__gemm *g = r->g;
    const int64_t strips = soma__parts(i1 - i0, p->ops->rows), slice = g->a_row == 1 && (p->pairs || !p->half) ? SLICE : SOMA_MAX(1, k);
    for (int64_t at_k = 0; at_k < k; at_k += slice)
        for (int64_t s = 0; s < strips; s++) {
            const int64_t i = soma__part(i1 - i0, strips, s), m = soma__part(i1 - i0, strips, s + 1) - i;
            pack(p, g, true, r->pack_a + (size_t)(i * units(p, k) + units(p, at_k) * m) * p->size,
                 at(r->a, (i0 + i) * g->a_row + (k0 + at_k) * g->a_col, p->in_size), g->a_row, g->a_col, (int)m,
                 SOMA_MIN(slice, k - at_k), r->temp);
        }
}

/* Rows [i0, i1) against the panels [q0, q1) of the rectangle, over one chunk of k. */
static void run_block(const area *r, int64_t i0, int64_t i1, int64_t q0, int64_t q1, int64_t panels, int64_t k0, int64_t k) {
    const plan *p = r->p;
    const soma__gemm *g = r->g;
    const size_t size = p->size;
    const int64_t lanes = p->ops->lanes, vectors = soma__parts(r->n1 - r->n0, lanes),
                  strips = soma__parts(i1 - i0, p->ops->rows);
    block_panel panel[BLOCK_PANELS];
    char *room = r->pack_b;
    for (int64_t q = q0; q < q1; q++) {
        block_panel *to = &panel[q - q0];
        to->j = r->n0 + soma__part(vectors, panels, q) * lanes;
        to->n = SOMA_MIN(r->n0 + soma__part(vectors, panels, q + 1) * lanes, r->n1) - to->j;
        to->packed = !p->b_direct || (!p->ops->masks && to->n % lanes != 0);
        to->b = at(r->b, k0 * g->b_row + to->j * g->b_col, p->in_size);
        to->step = g->b_row;
        to->room = room;
        if (to->packed)
            room += (size_t)(soma__parts(to->n, lanes) * lanes * units(p, k)) * size;
    }
    pack_block(r, panel, q1 - q0, k);
    const bool last = k0 + k == g->k && !p->half;
    void (*tile)(const soma__tile *) = p->pairs ? p->kernels->bf16->tile : p->ops->tile;
    for (int64_t first = 0; first < strips; first += p->group)
        for (int64_t q = 0; q < q1 - q0; q++)
            for (int64_t s = first; s < strips && s < first + p->group; s++) {
                int64_t i = soma__part(i1 - i0, strips, s), m = soma__part(i1 - i0, strips, s + 1) - i;
                soma__tile t = {.k = units(p, k), .m = (int)m, .n = (int)panel[q].n, .c_row = r->c_row, .add = g->add || k0 > 0,
                                .relu = g->relu, .last = last && (g->relu || g->bias_row || g->bias_col)};
                t.a = p->a_direct ? at(r->a, (i0 + i) * g->a_row + k0 * g->a_col, size)
                                  : r->pack_a + (size_t)(i * units(p, k)) * size;
                t.a_row = p->a_direct ? g->a_row : 1;
                t.a_step = p->a_direct ? g->a_col : m;
                t.b = panel[q].b;
                t.b_step = panel[q].step;
                t.packed = panel[q].packed && !p->a_direct;
                t.c = r->c + ((i0 + i) * r->c_row + panel[q].j) * (int64_t)size;
                t.bias_row = g->bias_row ? at(g->bias_row, i0 + i, size) : NULL;
                t.bias_col = g->bias_col ? at(g->bias_col, panel[q].j, size) : NULL;
                tile(&t);
            }
    if (last && g->mask)
        mask_area(r, i0, i1, panel[0].j, panel[q1 - q0 - 1].j + panel[q1 - q0 - 1].n);
}

static void run_area(const area *r) {
    const plan *p = r->p;
    const soma__gemm *g = r->g;
    const int64_t panels = soma__parts(soma__parts(r->n1 - r->n0, p->ops->lanes), p->ops->vectors);
    const int64_t blocks = soma__parts(panels, BLOCK_PANELS), groups = soma__parts(r->m1 - r->m0, MAX_ROWS);
    for (int64_t group = 0; group < groups; group++) {
        int64_t i0 = r->m0 + soma__part(r->m1 - r->m0, groups, group),
                i1 = r->m0 + soma__part(r->m1 - r->m0, groups, group + 1);
        for (int64_t c = 0; c < p->chunks; c++) {
            const int64_t wide = p->pairs ? 2 : 1, k0 = soma__part(p->units, p->chunks, c) * wide,
                          k = SOMA_MIN(soma__part(p->units, p->chunks, c + 1) * wide, g->k) - k0;
            if (!p->a_direct)
                pack_strips(r, i0, i1, k0, k);
            for (int64_t b = 0; b < blocks; b++)
                run_block(r, i0, i1, soma__part(panels, blocks, b), soma__part(panels, blocks, b + 1), panels, k0, k);
        }
    }
}

/* A whole small product. */
static void run_small(const soma__gemm *g, const soma__gemm_ops *ops, const char *a, const char *b, char *c,
                      const char *mask) {
    soma__tile t = {.k = g->k, .a = a, .a_row = g->a_row, .a_step = g->a_col, .b = b, .b_step = g->b_row, .c = c,
                          .c_row = g->c_row, .m = (int)g->m, .n = (int)g->n, .add = g->add,
                          .last = g->relu || g->bias_row || g->bias_col, .relu = g->relu, .bias_row = g->bias_row,
                          .bias_col = g->bias_col};
    ops->direct(&t);
    if (mask) {
        const plan p = {.size = g->dtype == SOMA_F64 ? 8 : 4};
        const area r = {.p = &p, .g = g, .c = c, .c_row = g->c_row, .mask = mask};
        mask_area(&r, 0, g->m, 0, g->n);
    }
}

/* Columns [n0, n1) as rows of the transpose, as many at a time as a vector has, which are then turned. */
static void run_turned(const plan *p, const soma__gemm *g, const char *a, const char *b, char *c, int64_t n0, int64_t n1,
                       char *work) {
    const int64_t lanes = p->ops->lanes, vectors = soma__parts(g->m, lanes), panels = soma__parts(vectors, p->ops->vectors);
    const int64_t row = vectors * lanes;
    float turned[16 * TURN_ROWS];
    for (int64_t q = 0; q < panels; q++) {
        const int64_t m0 = soma__part(vectors, panels, q) * lanes, m1 = SOMA_MIN(soma__part(vectors, panels, q + 1) * lanes, g->m);
        p->ops->pack_b(work + (size_t)(m0 * g->k) * 4, at(a, m0 * g->a_row, 4), 1, g->a_row, (int)(m1 - m0), g->k);
    }
    for (int64_t n = n0; n < n1; n += lanes) {
        const int64_t high = SOMA_MIN(lanes, n1 - n), strips = soma__parts(high, p->ops->rows);
        for (int64_t s = 0; s < strips; s++)
            for (int64_t q = 0; q < panels; q++) {
                const int64_t i = soma__part(high, strips, s), v0 = soma__part(vectors, panels, q), v1 = soma__part(vectors, panels, q + 1);
                const soma__tile t = {.k = g->k, .m = (int)(soma__part(high, strips, s + 1) - i),
                                      .n = (int)(SOMA_MIN(v1 * lanes, g->m) - v0 * lanes), .a = at(b, (n + i) * g->b_col, 4),
                                      .a_row = g->b_col, .a_step = 1, .b = work + (size_t)(v0 * lanes * g->k) * 4,
                                      .b_step = (v1 - v0) * lanes, .c = turned + i * row + v0 * lanes, .c_row = row,
                                      .last = g->relu || g->bias_row || g->bias_col, .relu = g->relu,
                                      .bias_row = at(g->bias_col, n + i, 4), .bias_col = at(g->bias_row, v0 * lanes, 4)};
                p->ops->tile(&t);
            }
        p->ops->turn(c + n * 4, g->c_row, turned, row, high, g->m);
    }
}

/* ---- Whole products --------------------------------------------------------------------------------------------------- */

/* Columns [begin, end) of the product or, when swapped, of its transpose; by_rows: rows. */
static void run_vector(const plan *p, const soma__gemm *g, int64_t product, int64_t begin, int64_t end) {
    const bool rows = p->swapped || p->by_rows; /* of C that begin and end count */
    const int64_t m0 = rows ? begin : 0, m1 = rows ? end : g->m, n0 = rows ? 0 : begin, n1 = rows ? g->n : end;
    const char *a = at(g->a, product * g->a_batch + m0 * g->a_row, p->size),
               *b = at(g->b, product * g->b_batch + n0 * g->b_col, p->size);
    char *c = (char *)g->c + (product * g->c_batch + m0 * g->c_row + n0) * (int64_t)p->size;
    const void *bias_row = at(g->bias_row, m0, p->size), *bias_col = at(g->bias_col, n0, p->size);
    soma__dots d = {.m = m1 - m0, .n = n1 - n0, .k = g->k, .a = a, .b = b, .a_row = p->dots ? g->a_row : g->a_col,
                    .b_row = p->dots ? g->b_col : g->b_row, .c = c, .c_row = g->c_row, .c_col = 1, .add = g->add,
                    .relu = g->relu, .bias_row = bias_row, .bias_col = bias_col};
    if (p->swapped)
        d = (soma__dots){.m = n1 - n0, .n = m1 - m0, .k = g->k, .a = b, .b = a, .a_row = p->dots ? g->b_col : g->b_row,
                         .b_row = p->dots ? g->a_row : g->a_col, .c = c, .c_row = 1, .c_col = g->c_row, .add = g->add,
                         .relu = g->relu, .bias_row = bias_col, .bias_col = bias_row};
    (p->dots ? p->ops->dots : p->ops->row)(&d);
    if (g->mask) {
        area r = {.p = p, .g = g, .c = (char *)g->c + product * g->c_batch * (int64_t)p->size, .c_row = g->c_row,
                  .mask = at(g->mask, product * g->mask_batch, p->size)};
        mask_area(&r, m0, m1, n0, n1);
    }
}

static void run_small_of(const plan *p, const soma__gemm *g, int64_t product) {
    run_small(g, p->ops, at(g->a, product * g->a_batch, p->size), at(g->b, product * g->b_batch, p->size),
              (char *)g->c + product * g->c_batch * (int64_t)p->size,
              g->mask ? at(g->mask, product * g->mask_batch, p->size) : NULL);
}

typedef struct half_job {
    const plan *p;
    const soma__gemm *g;
    int64_t product;
    float *sum;
} half_job;

/* Rounds rows of f32 sums once, after bias, activation and mask. */
static void finish_half(void *arg, int64_t begin, int64_t end) {
    const half_job *h = arg;
    const soma__gemm *g = h->g;
    void (*from)(float *, const uint16_t *, int64_t) =
        g->dtype == SOMA_F16 ? h->p->kernels->from_f16 : h->p->kernels->from_bf16;
    void (*to)(uint16_t *, const float *, int64_t) = g->dtype == SOMA_F16 ? h->p->kernels->to_f16 : h->p->kernels->to_bf16;
    float tmp[64], x;
    for (int64_t i = begin; i < end; i++) {
        float *sum = h->sum + i * g->n, row = 0;
        uint16_t *c = (uint16_t *)g->c + h->product * g->c_batch + i * g->c_row;
        if (g->bias_row)
            from(&row, (const uint16_t *)g->bias_row + i, 1);
        for (int64_t j = 0; j < g->n; j += 64) {
            int64_t n = SOMA_MIN(64, g->n - j);
            if (g->bias_col)
                from(tmp, (const uint16_t *)g->bias_col + j, n);
            for (int64_t q = 0; q < n; q++) {
                x = sum[j + q] + (g->bias_col ? tmp[q] : row);
                sum[j + q] = g->relu && x < 0 ? 0 : x;
            }
            if (g->mask) {
                from(tmp, (const uint16_t *)g->mask + h->product * g->mask_batch + i * g->mask_row + j, n);
                for (int64_t q = 0; q < n; q++)
                    sum[j + q] = tmp[q] > 0 ? sum[j + q] : 0;
            }
        }
        to(c, sum, g->n);
    }
}

static void load_half(const half_job *h) {
    const soma__gemm *g = h->g;
    void (*from)(float *, const uint16_t *, int64_t) =
        g->dtype == SOMA_F16 ? h->p->kernels->from_f16 : h->p->kernels->from_bf16;
    for (int64_t i = 0; i < g->m; i++)
        from(h->sum + i * g->n, (const uint16_t *)g->c + h->product * g->c_batch + i * g->c_row, g->n);
}

/* Rectangle `slot` of product `product`; `work` is this thread's. */
static void run_slot(const job *j, int64_t product, int64_t slot, char *work, char *sum) {
    const plan *p = j->p;
    const soma__gemm *g = j->g;
    const int64_t strips = soma__parts(g->m, p->ops->rows), vectors = soma__parts(g->n, p->ops->lanes);
    const int64_t im = slot / p->grid_n, in = slot % p->grid_n;
    area r = {.p = p, .g = g};
    r.m0 = soma__part(g->m, strips, soma__part(strips, p->grid_m, im));
    r.m1 = soma__part(g->m, strips, soma__part(strips, p->grid_m, im + 1));
    r.n0 = soma__part(vectors, p->grid_n, in) * p->ops->lanes;
    r.n1 = SOMA_MIN(soma__part(vectors, p->grid_n, in + 1) * p->ops->lanes, g->n);
    r.a = at(g->a, product * g->a_batch, p->in_size);
    r.b = at(g->b, product * g->b_batch, p->in_size);
    r.c = p->half ? sum : (char *)g->c + product * g->c_batch * (int64_t)p->size;
    r.c_row = p->half ? g->n : g->c_row;
    r.mask = g->mask ? at(g->mask, product * g->mask_batch, p->in_size) : NULL;
    r.pack_a = work;
    r.pack_b = work + p->a_bytes;
    r.temp = (float *)(work + p->a_bytes + p->b_bytes);
    if (p->turned) {
        r.m0 = 0, r.m1 = g->m;
        run_turned(p, g, r.a, r.b, r.c, r.n0, r.n1, work);
        if (g->mask)
            mask_area(&r, 0, g->m, r.n0, r.n1);
        return;
    }
    run_area(&r);
}

static void run_products(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const plan *p = j->p;
    for (int64_t s = begin; s < end; s++) {
        char *work = j->work ? j->work + (size_t)s * (p->slot_bytes + p->sum_bytes) : NULL,
             *sum = work ? work + p->slot_bytes : NULL;
        for (int64_t i = soma__part(j->g->batch, p->batches, s); i < soma__part(j->g->batch, p->batches, s + 1); i++) {
            if (p->small) {
                run_small_of(p, j->g, i);
                continue;
            }
            if (p->vector) {
                run_vector(p, j->g, i, 0, p->swapped || p->by_rows ? j->g->m : j->g->n);
                continue;
            }
            half_job h = {p, j->g, i, (float *)sum};
            if (p->half && j->g->add)
                load_half(&h);
            run_slot(j, i, 0, work, sum);
            if (p->half)
                finish_half(&h, 0, j->g->m);
        }
    }
}

typedef struct one_job {
    job j;
    int64_t product;
    char *sum;
} one_job;

static void run_slots(void *arg, int64_t begin, int64_t end) {
    const one_job *o = arg;
    for (int64_t s = begin; s < end; s++)
        run_slot(&o->j, o->product, s, o->j.work + (size_t)s * o->j.p->slot_bytes, o->sum);
}

static void run_vector_range(void *arg, int64_t begin, int64_t end) {
    const one_job *o = arg;
    run_vector(o->j.p, o->j.g, o->product, begin, end);
}

/* One product with all threads. */
static void run_product(const plan *p, const soma__gemm *g, int64_t product, char *work) {
    if (p->small) {
        run_small_of(p, g, product);
        return;
    }
    one_job o = {{p, g, work}, product, work + (size_t)(p->grid_m * p->grid_n) * p->slot_bytes};
    if (p->vector) { /* in columns that are whole vectors and lines of the cache */
        int64_t n = p->swapped || p->by_rows ? g->m : g->n, rows = p->swapped || p->by_rows ? g->n : g->m;
        int64_t grain = SOMA_MAX(p->by_rows ? 16 : 256, PARALLEL_WORK / 4 / SOMA_MAX(1, rows * g->k) / 256 * 256);
        soma__parallel(n, grain, run_vector_range, &o);
        return;
    }
    half_job h = {p, g, product, (float *)o.sum};
    if (p->half && g->add)
        load_half(&h);
    soma__parallel(p->grid_m * p->grid_n, 1, run_slots, &o);
    if (p->half)
        soma__parallel(g->m, SOMA_MAX(1, 16384 / SOMA_MAX(1, g->n)), finish_half, &h);
}

/* ---- Integers: plain loops that wrap ---------------------------------------------------------------------------------- */

typedef struct int_job {
    const soma__gemm *g;
} int_job;

#define INT_ROWS(NAME, T, U)                                                                                          \
    static void NAME(void *arg, int64_t begin, int64_t end)                                                           \
    {                                                                                                                 \
        const soma__gemm *g = ((const int_job *)arg)->g;                                                              \
        for (int64_t row = begin; row < end; row++) {                                                                 \
            int64_t product = row / g->m, i = row % g->m;                                                             \
            const T *a = (const T *)g->a + product * g->a_batch + i * g->a_row;                                       \
            T *c = (T *)g->c + product * g->c_batch + i * g->c_row;                                                   \
            if (!g->add)                                                                                              \
                memset(c, 0, (size_t)g->n * sizeof(T));                                                               \
            for (int64_t p = 0; p < g->k; p++) {                                                                      \
                const T *b = (const T *)g->b + product * g->b_batch + p * g->b_row;                                   \
                U x = (U)a[p * g->a_col];                                                                             \
                for (int64_t j = 0; j < g->n; j++)                                                                    \
                    c[j] = (T)((U)c[j] + x * (U)b[j * g->b_col]);                                                     \
            }                                                                                                         \
        }                                                                                                             \
    }
INT_ROWS(rows_i64, int64_t, uint64_t)
INT_ROWS(rows_i32, int32_t, uint32_t)
INT_ROWS(rows_i16, int16_t, uint32_t)
INT_ROWS(rows_i8, int8_t, uint32_t)
INT_ROWS(rows_u8, uint8_t, uint32_t)

static void run_integers(const soma__gemm *g) {
    int_job j = {g};
    soma__range_fn fn = g->dtype == SOMA_I64   ? rows_i64
                        : g->dtype == SOMA_I32 ? rows_i32
                        : g->dtype == SOMA_I16 ? rows_i16
                        : g->dtype == SOMA_I8  ? rows_i8
                                               : rows_u8;
    int64_t rows = g->m * SOMA_MAX(1, g->batch), work = SOMA_MAX(1, g->n * g->k);
    soma__parallel(rows, SOMA_MAX(1, PARALLEL_WORK / 4 / work), fn, &j);
}

/* ---- Entry
 * -----------------------------------------------------------------------------------------------------------------------------
 */

void soma__gemm_run(const soma__gemm *g, void *work, size_t bytes) {
    if (g->m == 0 || g->n == 0)
        return;
    if (is_integer(g->dtype)) {
        run_integers(g);
        return;
    }
    const soma__gemm_ops *ops = g->dtype == SOMA_F64 ? &soma__gemm_pick()->f64 : &soma__gemm_pick()->f32;
    if (g->batch <= 1 && is_small(g, ops)) {
        run_small(g, ops, g->a, g->b, g->c, g->mask);
        return;
    }
    soma__gemm h = *g;
    h.batch = SOMA_MAX(1, g->batch);
    plan p;
    int64_t threads = soma_threads();
    make_plan(&p, &h, threads);
    while (threads > 1 && plan_bytes(&p) > bytes) /* the number of threads has grown since the workspace was asked for */
        make_plan(&p, &h, --threads);
    if (p.batches > 1) {
        job j = {&p, &h, work};
        soma__parallel(p.batches, 1, run_products, &j);
        return;
    }
    for (int64_t i = 0; i < h.batch; i++)
        run_product(&p, &h, i, work);
}
