/* Convolutions of 3 x 3 with stride 1 by Winograd's minimal filtering (Lavin and Gray 2016): squares of 6 x 6 pixels become 36 places,
 * each of which is a product of [squares, in] and [in, out], and those become 4 x 4 pixels of the result: 36 multiply-adds instead of
 * 144. The gradient of the weight is the adjoint: for each place [squares, in] transposed times [squares, out]. f32, channels-last.
 *
 * Weights in places are four times as large as before. Where they stay in the caches they are made once, and squares go through in
 * small blocks; else a block has all squares, or many, and each panel of outputs makes its weights a part at a time. All blocks and
 * sums are cut by sizes alone. */
#include "base/base.h"
#include "conv_inside.h"
#include "winograd.h"

#include <string.h>

enum {
    PLACES = SOMA__WINO_PLACES,
    STEP = SOMA__WINO_STEP,
    SIDE = SOMA__WINO_SIDE,
    ROUND = 24,              /* squares of a block: a multiple of what tiles take, 6 and 8 */
    NEAR_BYTES = 3 << 20,    /* weights in places that are made once */
    BLOCK_BYTES = 300 << 10, /* squares of a block in places, before and after the product */
    FAR_SQUARES = 128,       /* of a block where weights are made for each */
    FAR_K = 128,              /* inputs of them made at a time */
    SUM_SQUARES = 128,       /* of a block in the gradient of the weight, */
    SUM_SQUARES_NEAR = 48,   /* and where all sums in places stay in the second-level cache: so that the squares do, too */
    SUM_NEAR = 4096,         /* pairs of input and output: 590 kB */
    SUM_ROWS = 48,           /* inputs of a panel there, at most, */
    SUM_PAIRS = 4,           /* and fewer until there is work for some threads */
    TAPS = 9,
    MAX_ROWS = 8,
};

typedef struct plan {
    const soma__conv *c;
    const soma__gemm_ops *gemm;
    const soma__conv_table *ops;
    const soma__wino_kernels *wino;
    bool backward, near;
    int64_t batch, h, w, in, out_h, out_w, out, top, left; /* of the product: backward takes y to x */
    int64_t high, wide, squares;                           /* squares of an image, down and across; of all images */
    int64_t vectors, panels, width, ld, ld_out, ld_result; /* width: of the widest panel; ld: from square to square in a place */
    int64_t block, blocks, part, parts, slots;             /* part: inputs whose weights are made together; or rows of a panel of sums */
    size_t in_bytes, out_bytes, weight_bytes, slot_bytes, sum_bytes;
    const float *src, *gy, *bias;
    bool relu;
    float *dst, *weights, *from, *from_gy, *slot, *sums;
    soma__weights packed;
    int64_t first, count; /* the block of squares at hand */
} plan;

static inline size_t whole(size_t bytes) { return soma__conv_whole(bytes); }
static int64_t panel_at(const plan *p, int64_t q) { return soma__part(p->vectors, p->panels, q) * p->gemm->lanes; }
/* Elements from one square to the next: whole vectors, and not a power of two apart, which would fall on the same lines of the cache. */
static int64_t spaced(const plan *p, int64_t n) { return soma__parts(n, p->gemm->lanes) * p->gemm->lanes + 16; }

/* Rows from one place to the next: with a power of two, or 4096 bytes, all places of a square would fall on the same lines. */
static int64_t apart(int64_t rows) { return rows + 1; }

static void common(plan *p, const soma__conv *c, bool backward) {
    *p = (plan){.c = c, .gemm = soma__conv_gemm(c), .ops = soma__conv_ops(c), .wino = soma__wino_pick(), .backward = backward};
    p->batch = c->batch;
    p->h = backward ? c->out_h : c->in_h;
    p->w = backward ? c->out_w : c->in_w;
    p->in = backward ? c->out_channels : c->in_channels;
    p->out_h = backward ? c->in_h : c->out_h;
    p->out_w = backward ? c->in_w : c->out_w;
    p->out = backward ? c->in_channels : c->out_channels;
    p->top = backward ? 2 - c->padding[0] : c->padding[0];
    p->left = backward ? 2 - c->padding[1] : c->padding[1];
    p->high = soma__parts(p->out_h, STEP);
    p->wide = soma__parts(p->out_w, STEP);
    p->squares = p->batch * p->high * p->wide;
    p->vectors = soma__parts(p->out, p->gemm->lanes);
    p->panels = soma__parts(p->vectors, p->ops->vectors);
    p->width = soma__parts(p->vectors, p->panels) * p->gemm->lanes;
    p->ld = spaced(p, p->in);
    p->ld_out = spaced(p, p->out);
}

/* Cycles of vectors: whether fewer multiply-adds pay for the transforms. */
bool soma__conv_winograd_pays(const soma__conv *c, bool backward, bool of_weight) {
    if (c->dtype != SOMA_F32 || c->groups != 1)
        return false;
    for (int i = 0; i < 2; i++)
        if (c->kernel[i] != 3 || c->stride[i] != 1 || c->dilation[i] != 1 || c->padding[i] > 2)
            return false;
    plan p;
    common(&p, c, backward);
    if (p.in < 16 || p.out < 16)
        return false;
    const double in = (double)soma__parts(p.in, p.gemm->lanes), out = (double)p.vectors, squares = (double)p.squares;
    const double direct = (double)(p.batch * p.out_h * p.out_w) * TAPS * (double)p.in * out;
    const double blocks = (double)soma__parts(p.squares, FAR_SQUARES);
    return 1.15 * squares * PLACES * (double)p.in * out + 250 * squares * (in + out) + 150 * blocks * (double)p.in * out +
               (of_weight ? 100 * squares * out : 0) < 0.9 * direct;
}

/* ---- Squares ---------------------------------------------------------------------------------------------------------- */

/* Square `number` as a part of images [h, w, channels] that begin `top` and `left` of it; `side`: its side there. */
static soma__wino_square square_at(const plan *p, int64_t number, const float *images, int64_t h, int64_t w, int64_t channels, int64_t top,
                                   int64_t left, int64_t side) {
    const int64_t image = number / (p->high * p->wide), y = number / p->wide % p->high * STEP - top, x = number % p->wide * STEP - left;
    soma__wino_square s = {.row = w * channels, .pixel = channels, .n = channels};
    s.y0 = (int)SOMA_MIN(SOMA_MAX(0, -y), side);
    s.y1 = (int)SOMA_MAX(0, SOMA_MIN(side, h - y));
    s.x0 = (int)SOMA_MIN(SOMA_MAX(0, -x), side);
    s.x1 = (int)SOMA_MAX(0, SOMA_MIN(side, w - x));
    s.image = (float *)(uintptr_t)images + ((image * h + y) * w + x) * channels;
    return s;
}

/* Squares [begin, end) of the block into places. */
static void put_squares(const plan *p, int64_t begin, int64_t end, float *places) {
    for (int64_t i = begin; i < end; i++) {
        soma__wino_square s = square_at(p, p->first + i, p->src, p->h, p->w, p->in, p->top, p->left, SIDE);
        s.places = places + i * p->ld;
        s.place = apart(p->block) * p->ld;
        p->wino->input(&s);
    }
}
static void put_gradients(const plan *p, int64_t begin, int64_t end, float *places) {
    for (int64_t i = begin; i < end; i++) {
        soma__wino_square s = square_at(p, p->first + i, p->gy, p->out_h, p->out_w, p->out, 0, 0, STEP);
        s.places = places + i * p->ld_out;
        s.place = apart(p->block) * p->ld_out;
        p->wino->output_gradient(&s);
    }
}

/* ---- Forward and the gradient of the input ---------------------------------------------------------------------------- */

static void plan_product(plan *p, const soma__conv *c, bool backward, int64_t threads) {
    common(p, c, backward);
    const size_t all = whole((size_t)(PLACES * apart(p->in) * p->vectors * p->gemm->lanes) * 4);
    p->near = all <= NEAR_BYTES;
    const bool over = p->near && p->panels == 1; /* results are written over the squares, whose places each tile has read by then */
    p->ld_result = over ? (p->ld = spaced(p, SOMA_MAX(p->in, p->out))) : p->width;
    if (p->near) {
        const int64_t bytes = PLACES * (p->ld + (over ? 0 : p->width)) * 4;
        p->block = SOMA_MAX(1, BLOCK_BYTES / bytes / ROUND) * ROUND;
    } else {
        p->block = FAR_SQUARES;
    }
    p->block = SOMA_MIN(p->block, p->squares);
    p->blocks = soma__parts(p->squares, p->block);
    p->part = p->near ? p->in : SOMA_MIN(p->in, FAR_K);
    p->parts = soma__parts(p->in, p->part);
    p->weight_bytes = p->near ? all : whole((size_t)(PLACES * apart(p->part) * p->width) * 4);
    p->in_bytes = whole((size_t)(PLACES * apart(p->block) * p->ld) * 4);
    p->out_bytes = over ? 0 : whole((size_t)(PLACES * apart(p->block) * p->width) * 4);
    /* A slot: places of squares or of weights, those of the result, packed weights and room to pack; near, weights come before the rest. */
    const size_t pack = whole((size_t)(TAPS * apart(p->part) * p->width) * 4) + soma__conv_pack_temp(TAPS, p->width, 4);
    p->slot_bytes = p->near ? p->in_bytes + SOMA_MAX(p->out_bytes, pack) : p->weight_bytes + p->out_bytes + pack;
    p->slots = soma__conv_slots(threads, SOMA_MAX(p->near ? p->blocks : 1, p->panels));
}

static size_t product_bytes(const plan *p) {
    return (p->near ? p->weight_bytes : p->in_bytes) + (size_t)p->slots * p->slot_bytes;
}

/* Weights of inputs [k0, k1) for panel `q` into places [place][input][width], by way of `room`. */
static void put_weights(const plan *p, int64_t q, int64_t k0, int64_t k1, float *places, char *room) {
    static const int64_t forward[TAPS] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, flipped[TAPS] = {8, 7, 6, 5, 4, 3, 2, 1, 0};
    const int64_t j = panel_at(p, q), width = panel_at(p, q + 1) - j, rows = k1 - k0;
    char *temp = room + whole((size_t)(TAPS * apart(p->part) * p->width) * 4);
    soma__conv_pack(&p->packed, j, (int)(SOMA_MIN(j + width, p->out) - j), k0, k1, p->backward ? flipped : forward, TAPS, apart(rows), room, temp);
    soma__wino_square s = {.row = 3 * apart(rows) * width, .pixel = apart(rows) * width, .y1 = 3, .x1 = 3, .place = apart(rows) * width,
                           .n = width};
    for (int64_t k = 0; k < rows; k++) {
        s.image = (float *)(void *)room + k * width;
        s.places = places + k * width;
        p->wino->weight(&s);
    }
}

/* `count` squares in places, inputs [k0, k1), times weights in places: the result's places. */
static void multiply(const plan *p, int64_t width, int64_t k0, int64_t k1, int64_t count, const float *places, const float *weights,
                     float *result) {
    const int rows = p->ops->rows[width / p->gemm->lanes - 1];
    const soma__conv_run run = {0, k1 - k0};
    int64_t a_at[MAX_ROWS], c_at[MAX_ROWS];
    soma__ctile t = {.a_at = a_at, .c_at = c_at, .runs = &run, .n_runs = 1, .n = (int)width, .add = k0 > 0};
    for (int64_t place = 0; place < PLACES; place++) {
        t.b = weights + place * apart(k1 - k0) * width;
        for (int64_t i = 0; i < count; i += rows) {
            for (int r = 0; r < rows; r++) {
                const int64_t at = SOMA_MIN(i + r, count - 1) - i;
                a_at[r] = at * p->ld;
                c_at[r] = at * p->ld_result;
            }
            t.a = places + (place * apart(p->block) + i) * p->ld + k0;
            t.c = result + (place * apart(p->block) + i) * p->ld_result;
            p->ops->ctile(&t);
        }
    }
}

static void take_squares(const plan *p, int64_t q, int64_t first, int64_t count, float *result) {
    const int64_t j = panel_at(p, q), width = panel_at(p, q + 1) - j;
    for (int64_t i = 0; i < count; i++) {
        soma__wino_square s = square_at(p, first + i, p->dst, p->out_h, p->out_w, p->out, 0, 0, STEP);
        s.image += j;
        s.n = SOMA_MIN(j + width, p->out) - j;
        s.places = result + i * p->ld_result;
        s.place = apart(p->block) * p->ld_result;
        s.bias = p->bias ? p->bias + j : NULL;
        s.relu = p->relu;
        p->wino->output(&s);
    }
}

static void *slot_at(const plan *p, int64_t s) { return (char *)p->slot + (size_t)s * p->slot_bytes; }

static void near_weights(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    for (int64_t s = begin; s < end; s++)
        for (int64_t q = soma__part(p->panels, p->slots, s); q < soma__part(p->panels, p->slots, s + 1); q++)
            put_weights(p, q, 0, p->in, p->weights + PLACES * apart(p->in) * panel_at(p, q), (char *)slot_at(p, s) + p->in_bytes);
}
static void near_blocks(void *arg, int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; s++) {
        plan p = *(const plan *)arg; /* first and count differ */
        float *places = slot_at(&p, s), *result = (float *)(void *)((char *)places + (p.out_bytes ? p.in_bytes : 0));
        for (int64_t b = soma__part(p.blocks, p.slots, s); b < soma__part(p.blocks, p.slots, s + 1); b++) {
            p.first = b * p.block;
            p.count = SOMA_MIN(p.block, p.squares - p.first);
            put_squares(&p, 0, p.count, places);
            for (int64_t q = 0; q < p.panels; q++) {
                multiply(&p, panel_at(&p, q + 1) - panel_at(&p, q), 0, p.in, p.count, places,
                         p.weights + PLACES * apart(p.in) * panel_at(&p, q), result);
                take_squares(&p, q, p.first, p.count, result);
            }
        }
    }
}

static void far_squares(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    put_squares(p, begin, end, p->from);
}
static void far_panels(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    for (int64_t s = begin; s < end; s++) {
        float *weights = slot_at(p, s), *result = (float *)(void *)((char *)weights + p->weight_bytes);
        char *room = (char *)result + p->out_bytes;
        for (int64_t q = soma__part(p->panels, p->slots, s); q < soma__part(p->panels, p->slots, s + 1); q++) {
            for (int64_t k = 0; k < p->parts; k++) {
                const int64_t k0 = soma__part(p->in, p->parts, k), k1 = soma__part(p->in, p->parts, k + 1);
                put_weights(p, q, k0, k1, weights, room);
                multiply(p, panel_at(p, q + 1) - panel_at(p, q), k0, k1, p->count, p->from, weights, result);
            }
            take_squares(p, q, p->first, p->count, result);
        }
    }
}

size_t soma__conv_winograd_work(const soma__conv *c, bool backward) {
    plan p;
    plan_product(&p, c, backward, soma_threads());
    return product_bytes(&p);
}

void soma__conv_winograd(const soma__conv *c, bool backward, const void *src, const void *weight, const void *bias, bool relu, void *dst,
                         void *work, size_t bytes) {
    plan p;
    int64_t threads = soma_threads();
    plan_product(&p, c, backward, threads);
    while (threads > 1 && product_bytes(&p) > bytes) /* more threads than when the workspace was asked for */
        plan_product(&p, c, backward, --threads);
    p.src = src;
    p.dst = dst;
    p.bias = bias;
    p.relu = relu;
    p.packed = (soma__weights){.data = weight, .n_step = backward ? TAPS : p.in * TAPS, .k_step = backward ? p.out * TAPS : TAPS, .all = TAPS,
                               .gemm = p.gemm, .size = 4};
    p.packed.end = p.packed.data + (size_t)(p.in * p.out * TAPS) * 4;
    p.weights = p.from = work;
    p.slot = (float *)(void *)((char *)work + (p.near ? p.weight_bytes : p.in_bytes));
    if (p.near) {
        soma__parallel(p.slots, 1, near_weights, &p);
        soma__parallel(p.slots, 1, near_blocks, &p);
        return;
    }
    for (int64_t b = 0; b < p.blocks; b++) {
        p.first = soma__part(p.squares, p.blocks, b);
        p.count = soma__part(p.squares, p.blocks, b + 1) - p.first;
        soma__parallel(p.count, 1, far_squares, &p);
        soma__parallel(p.slots, 1, far_panels, &p);
    }
}

/* ---- The gradient of the weight --------------------------------------------------------------------------------------- */

static void plan_sums(plan *p, const soma__conv *c, int64_t threads) {
    common(p, c, false);
    p->block = SOMA_MIN(p->in * p->out <= SUM_NEAR ? SUM_SQUARES_NEAR : SUM_SQUARES, p->squares);
    p->blocks = soma__parts(p->squares, p->block);
    p->parts = SOMA_MAX(soma__parts(p->in, SUM_ROWS), SOMA_MIN(soma__parts(SUM_PAIRS, p->panels), soma__parts(p->in, MAX_ROWS)));
    p->part = soma__parts(p->in, p->parts);
    p->in_bytes = whole((size_t)(PLACES * apart(p->block) * p->ld) * 4);
    p->out_bytes = whole((size_t)(PLACES * apart(p->block) * p->ld_out) * 4);
    p->sum_bytes = whole((size_t)(PLACES * apart(p->part) * p->width) * 4); /* of one pair of (part, panel) */
    p->slots = soma__conv_slots(threads, p->parts * p->panels);
    p->slot_bytes = whole((size_t)(TAPS * p->part * p->width) * 4) + (p->blocks == 1 ? p->sum_bytes : 0);
}

static size_t sums_bytes(const plan *p) {
    return p->in_bytes + p->out_bytes + (p->blocks > 1 ? (size_t)(p->parts * p->panels) * p->sum_bytes : 0) + (size_t)p->slots * p->slot_bytes;
}

static void both_squares(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    put_squares(p, begin, end, p->from);
    put_gradients(p, begin, end, p->from_gy);
}

/* Adds one block to the sums of inputs [k0, k1) and panel `q`: [place][input][width]. */
static void add_products(const plan *p, int64_t k0, int64_t k1, int64_t q, float *sums) {
    const int64_t j = panel_at(p, q), width = panel_at(p, q + 1) - j;
    const int64_t strips = soma__parts(k1 - k0, p->ops->rows[width / p->gemm->lanes - 1]);
    int64_t offset[MAX_ROWS], c_at[MAX_ROWS];
    for (int i = 0; i < MAX_ROWS; i++) {
        offset[i] = i;
        c_at[i] = i * width;
    }
    soma__wtile t = {.offset = offset, .c_at = c_at, .images = 1, .h = 1, .w = p->count, .a_x = p->ld, .b_step = p->ld_out, .n = (int)width,
                     .add = p->first > 0};
    for (int64_t place = 0; place < PLACES; place++)
        for (int64_t s = 0; s < strips; s++) {
            const int64_t i = soma__part(k1 - k0, strips, s);
            t.m = (int)(soma__part(k1 - k0, strips, s + 1) - i);
            t.a = p->from + place * apart(p->block) * p->ld + k0 + i;
            t.b = p->from_gy + place * apart(p->block) * p->ld_out + j;
            t.c = sums + (place * apart(k1 - k0) + i) * width;
            p->ops->wtile(&t);
        }
}

/* The sums of inputs [k0, k1) and panel `q` become taps, and those are turned: weights lie [output][input][tap]. */
static void take_taps(const plan *p, int64_t k0, int64_t k1, int64_t q, float *sums, float *temp) {
    const int64_t j = panel_at(p, q), width = panel_at(p, q + 1) - j;
    soma__wino_square s = {.row = 3 * width, .pixel = width, .y1 = 3, .x1 = 3, .place = apart(k1 - k0) * width, .n = width};
    for (int64_t k = 0; k < k1 - k0; k++) {
        s.image = temp + k * TAPS * width;
        s.places = sums + k * width;
        p->wino->weight_gradient(&s);
    }
    p->gemm->turn(p->dst + (j * p->in + k0) * TAPS, p->in * TAPS, temp, width, (k1 - k0) * TAPS, SOMA_MIN(j + width, p->out) - j);
}

static void sum_slots(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    const int64_t total = p->parts * p->panels;
    for (int64_t s = begin; s < end; s++) {
        float *temp = slot_at(p, s), *own = temp + TAPS * p->part * p->width;
        for (int64_t i = soma__part(total, p->slots, s); i < soma__part(total, p->slots, s + 1); i++) {
            const int64_t part = i / p->panels, k0 = soma__part(p->in, p->parts, part), k1 = soma__part(p->in, p->parts, part + 1);
            float *sums = p->blocks == 1 ? own : (float *)(void *)((char *)p->sums + (size_t)i * p->sum_bytes);
            add_products(p, k0, k1, i % p->panels, sums);
            if (p->first + p->count == p->squares)
                take_taps(p, k0, k1, i % p->panels, sums, temp);
        }
    }
}

size_t soma__conv_winograd_weight_work(const soma__conv *c) {
    plan p;
    plan_sums(&p, c, soma_threads());
    return sums_bytes(&p);
}

void soma__conv_winograd_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes) {
    plan p;
    int64_t threads = soma_threads();
    plan_sums(&p, c, threads);
    while (threads > 1 && sums_bytes(&p) > bytes)
        plan_sums(&p, c, --threads);
    p.src = x;
    p.gy = gy;
    p.dst = gw;
    char *at = work;
    p.from = (float *)(void *)at;
    at += p.in_bytes;
    p.from_gy = (float *)(void *)at;
    at += p.out_bytes;
    p.sums = (float *)(void *)at;
    at += p.blocks > 1 ? (size_t)(p.parts * p.panels) * p.sum_bytes : 0;
    p.slot = (float *)(void *)at;
    for (int64_t b = 0; b < p.blocks; b++) {
        p.first = soma__part(p.squares, p.blocks, b);
        p.count = soma__part(p.squares, p.blocks, b + 1) - p.first;
        soma__parallel(p.count, 1, both_squares, &p);
        soma__parallel(p.slots, 1, sum_slots, &p);
    }
}
