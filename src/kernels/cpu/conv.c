/* Convolution: forward and the gradient of the input as products of packed weights and gathered patches. The gradient of the
 * weight is in conv_weight.c, groups of one or two channels in conv_direct.c.
 *
 * The columns of the product are output pixels of all images one after the other, in panels of a few vectors; a panel's rows
 * are (channel, tap). Patches are gathered straight into the packed panel of B, so no image is ever unfolded in memory.
 * Where a panel lies within one image its tile is written in place; else (image borders, strided outputs) it goes through a
 * small buffer.
 *
 * The gradient of the input is the same product with other weights: input pixels are sorted by their place (y mod stride, x
 * mod stride); those of one place meet the same taps, and reading gy for them is a plain convolution of stride 1. */
#include "conv.h"

#include "base/base.h"
#include "conv_inside.h"
#include "gemm.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK_BYTES = 1536,       /* rows of a panel packed at a time, in bytes of one column */
    BLOCK_BYTES = 384 * 1024, /* panels packed at a time: they stay in the second-level cache */
    MAX_PANELS = 8,
    FLAT_DEPTH = 64,          /* products that sum less than this spend their time on stores, and flat ones store twice */
    FLAT_CHUNK_BYTES = 2048, FLAT_PANELS = 4,
    FLAT_STRIPS = 4,          /* with more the packed panel pays for itself */
    FLAT_STRIPS_POINT = 16,   /* the same for kernels of 1 x 1, whose columns are all of use */
};
#define FLAT_WASTE 0.7        /* columns left out, in parts of those that count, times strips: measured, see bench/NOTES.md */

/* One product: all groups of a convolution, for one place modulo the stride. */
typedef struct product {
    const soma__gemm_ops *gemm;
    const soma__conv_table *conv;
    size_t size;
    int64_t batch, groups, m, channels, taps; /* rows of C; what they sum over; all per group */
    int64_t grid_h, grid_w;                   /* columns of C per image */
    const char *src;                          /* [batch, groups * channels, h, w] */
    int64_t h, w, step_y, step_x;             /* from one column to the next in src */
    int64_t dy_min, dy_max, dx_min, dx_max;   /* of the taps */
    char *dst;                                /* [batch, groups * m, dst_h, dst_w] */
    int64_t dst_h, dst_w, dst_y, dst_x, dst_step_y, dst_step_x;
    const char *bias;
    bool relu;
    /* Derived. */
    int64_t chunks, chunk_channels, panel, panels, block, slots; /* panels: of one group; block: packed together */
    bool flat, framed;
    int64_t top, left, frame_h, frame_w, columns, per_image; /* flat: the frame; columns and panels of an image */
    int64_t *dy, *dx, *at;                    /* at: flat: where each row of B begins in the frame */
    char *a;                                  /* packed weights: groups, chunks, strips */
    char *slot;
    size_t panel_bytes, b_bytes, slot_bytes;
} product;

static inline size_t whole(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* ---- Sizes ------------------------------------------------------------------------------------------------------------ */

/* Whether the image is read in place, and the frame that this takes. */
static void choose_flat(product *p) {
    const int64_t depth = p->channels * p->taps, strips = soma__parts(p->m, p->gemm->rows), lanes = p->gemm->lanes;
    if (p->step_y != 1 || p->step_x != 1 || depth < FLAT_DEPTH || strips > (p->taps == 1 ? FLAT_STRIPS_POINT : FLAT_STRIPS))
        return;
    p->top = SOMA_MAX(0, -p->dy_min);
    p->left = SOMA_MAX(0, -p->dx_min);
    p->frame_h = p->top + SOMA_MAX(p->h, p->grid_h + p->dy_max);
    p->frame_w = p->left + SOMA_MAX(p->w, p->grid_w + p->dx_max);
    p->framed = p->frame_h != p->h || p->frame_w != p->w || !p->gemm->masks; /* without masks reads run over the end */
    p->columns = (p->grid_h - 1) * p->frame_w + p->grid_w;
    const double waste = (double)(soma__parts(p->columns, lanes) * lanes) / (double)(p->grid_h * p->grid_w) - 1;
    p->flat = waste < FLAT_WASTE / (double)strips;
}

static size_t frame_bytes(const product *p) {
    return p->framed ? whole((size_t)(p->channels * p->frame_h * p->frame_w + p->panel) * p->size) : 0;
}

static void plan_product(product *p, int64_t threads) {
    choose_flat(p);
    p->panel = (int64_t)p->gemm->vectors * p->gemm->lanes;
    const int64_t columns = p->batch * p->grid_h * p->grid_w, taps = SOMA_MAX(1, p->taps);
    p->per_image = p->flat ? soma__parts(soma__parts(p->columns, p->gemm->lanes), p->gemm->vectors) : 0;
    p->panels = p->flat ? p->batch * p->per_image : soma__parts(columns, p->panel);
    const int64_t deep = (p->flat ? FLAT_CHUNK_BYTES : CHUNK_BYTES) / (int64_t)p->size;
    p->chunks = SOMA_MAX(1, soma__parts(p->channels, SOMA_MAX(1, deep / taps)));
    p->chunk_channels = soma__parts(p->channels, p->chunks);
    p->panel_bytes = (size_t)SOMA_MAX(1, p->chunk_channels * p->taps * p->panel) * p->size;
    p->block = p->flat ? FLAT_PANELS : SOMA_MAX(1, SOMA_MIN(BLOCK_BYTES / (int64_t)p->panel_bytes, MAX_PANELS));
    p->b_bytes = p->flat ? frame_bytes(p) : whole((size_t)p->block * p->panel_bytes);
    p->slot_bytes = p->b_bytes + whole((size_t)(p->block * p->m * p->panel) * p->size);
    const double work = (double)p->groups * (double)p->m * (double)p->channels * (double)p->taps * (double)columns;
    p->slots = work < SOMA__CONV_PARALLEL ? 1 : SOMA_MIN(threads, p->groups * p->panels);
}

static size_t table_bytes(const product *p) {
    return whole((size_t)(p->taps * 2 + (p->flat ? p->channels * p->taps : 0)) * sizeof(int64_t));
}

static size_t product_bytes(const product *p) {
    return table_bytes(p) + whole((size_t)(p->groups * p->m * p->channels * p->taps) * p->size + 64) +
           (size_t)p->slots * p->slot_bytes;
}

/* ---- Running ---------------------------------------------------------------------------------------------------------- */

typedef struct panel {
    soma__pixels runs[SOMA__PANEL_MAX];
    int n_runs, columns;
    char *b, *c; /* packed; where the tile goes */
    int64_t c_row, first; /* flat: the first column */
    bool direct;          /* c is in dst */
} panel;

static int64_t pixel_at(const product *p, int64_t image, int64_t i, int64_t j) {
    return image * p->groups * p->m * p->dst_h * p->dst_w + (i * p->dst_step_y + p->dst_y) * p->dst_w + j * p->dst_step_x +
           p->dst_x;
}

/* Columns of a flat panel: runs are what lies within the rows of the output. */
static void make_flat_runs(const product *p, int64_t number, panel *q) {
    const int64_t image = number / p->per_image, part = number % p->per_image,
                  vectors = soma__parts(p->columns, p->gemm->lanes);
    const int64_t first = soma__part(vectors, p->per_image, part) * p->gemm->lanes;
    const int64_t end = SOMA_MIN(soma__part(vectors, p->per_image, part + 1) * p->gemm->lanes, p->columns);
    q->columns = (int)(end - first);
    q->n_runs = 0;
    for (int64_t column = first; column < end;) {
        const int64_t i = column / p->frame_w, j = column % p->frame_w, count = SOMA_MIN(p->grid_w - j, end - column);
        if (count > 0)
            q->runs[q->n_runs++] = (soma__pixels){.image = image,
                                                  .pixel = pixel_at(p, image, i, j),
                                                  .pos = (int)(column - first),
                                                  .count = (int)count};
        column += p->frame_w - j;
    }
    q->first = first;
    q->direct = p->dst_step_y == 1 && p->dst_step_x == 1 && p->grid_w == p->dst_w && p->frame_w == p->grid_w;
}

static void make_runs(const product *p, int64_t number, panel *q) {
    const int64_t pixels = p->grid_h * p->grid_w, first = number * p->panel, total = p->batch * pixels;
    q->columns = (int)SOMA_MIN(p->panel, total - first);
    q->n_runs = 0;
    int64_t image = first / pixels, i = first % pixels / p->grid_w, j = first % p->grid_w;
    for (int pos = 0; pos < q->columns;) {
        soma__pixels *r = &q->runs[q->n_runs++];
        int64_t count = SOMA_MIN(p->grid_w - j, q->columns - pos);
        *r = (soma__pixels){.image = image, .y = i * p->step_y, .x = j * p->step_x, .pos = pos, .count = (int)count};
        r->pixel = pixel_at(p, image, i, j);
        pos += (int)count;
        j = 0;
        if (++i == p->grid_h) {
            i = 0;
            image++;
        }
    }
    q->direct = q->runs[0].image == q->runs[q->n_runs - 1].image && p->dst_step_y == 1 && p->dst_step_x == 1 &&
                p->grid_w == p->dst_w;
}

static void scatter(const product *p, const panel *q, int64_t group) {
    const int64_t plane = p->dst_h * p->dst_w;
    for (int64_t i = 0; i < p->m; i++)
        for (int r = 0; r < q->n_runs; r++) {
            const soma__pixels *run = &q->runs[r];
            const char *from = q->c + (size_t)(i * q->c_row + run->pos) * p->size;
            char *to = p->dst + (run->pixel + (group * p->m + i) * plane) * (int64_t)p->size;
            if (p->dst_step_x == 1) {
                memcpy(to, from, (size_t)run->count * p->size);
                continue;
            }
            if (p->size == 4)
                for (int j = 0; j < run->count; j++)
                    ((float *)to)[j * p->dst_step_x] = ((const float *)from)[j];
            else
                for (int j = 0; j < run->count; j++)
                    ((double *)to)[j * p->dst_step_x] = ((const double *)from)[j];
        }
}

static void run_chunk(const product *p, const panel *panels, int64_t count, int64_t group, int64_t chunk) {
    const int64_t c0 = soma__part(p->channels, p->chunks, chunk),
                  channels = soma__part(p->channels, p->chunks, chunk + 1) - c0;
    const int64_t k = channels * p->taps, strips = soma__parts(p->m, p->gemm->rows), plane = p->h * p->w;
    for (int64_t q = 0; q < count && !p->flat; q++) {
        soma__unfold u = {.image = p->groups * p->channels * plane,
                          .plane = plane,
                          .h = p->h,
                          .w = p->w,
                          .step = p->step_x,
                          .channels = channels,
                          .taps = p->taps,
                          .dy = p->dy,
                          .dx = p->dx,
                          .runs = panels[q].runs,
                          .n_runs = panels[q].n_runs};
        u.src = p->src + (group * p->channels + c0) * plane * (int64_t)p->size;
        u.width = (panels[q].columns + p->gemm->lanes - 1) / p->gemm->lanes * p->gemm->lanes;
        u.dst = panels[q].b;
        p->conv->unfold(&u);
    }
    const char *a = p->a + (size_t)(group * p->m * p->channels * p->taps + p->m * c0 * p->taps) * p->size;
    const bool last = chunk + 1 == p->chunks && (p->bias || p->relu);
    for (int64_t s = 0; s < strips; s++) {
        const int64_t i = soma__part(p->m, strips, s), m = soma__part(p->m, strips, s + 1) - i;
        soma__tile t = {.k = k, .a = a + (size_t)(i * k) * p->size, .a_row = 1, .a_step = m, .m = (int)m, .packed = true,
                        .add = chunk > 0, .last = last, .relu = p->relu};
        t.bias_row = p->bias ? p->bias + (size_t)(group * p->m + i) * p->size : NULL;
        t.b_at = p->flat ? p->at + c0 * p->taps : NULL;
        for (int64_t q = 0; q < count; q++) {
            t.b = panels[q].b;
            t.c = panels[q].c + (size_t)(i * panels[q].c_row) * p->size;
            t.c_row = panels[q].c_row;
            t.n = panels[q].columns;
            p->gemm->tile(&t);
        }
    }
}

/* One image's channels of a group into the frame, whose borders stay zero from the first one on. */
static void fill_frame(const product *p, int64_t group, int64_t image, char *frame, bool first) {
    const size_t row = (size_t)p->w * p->size, wide = (size_t)p->frame_w * p->size;
    const char *src = p->src + (size_t)((image * p->groups + group) * p->channels * p->h * p->w) * p->size;
    if (first)
        memset(frame, 0, frame_bytes(p));
    frame += (size_t)p->top * wide + (size_t)p->left * p->size;
    for (int64_t c = 0; c < p->channels; c++, frame += (size_t)(p->frame_h - p->h) * wide)
        for (int64_t y = 0; y < p->h; y++, frame += wide, src += row)
            memcpy(frame, src, row);
}

/* Panels [begin, end) of one group; flat ones of one image. */
static void run_panels(const product *p, int64_t group, int64_t begin, int64_t end, char *work, bool first_image) {
    panel panels[MAX_PANELS];
    const int64_t plane = p->dst_h * p->dst_w, blocks = soma__parts(end - begin, p->block);
    const char *image =
        p->flat && !p->framed
            ? p->src + (size_t)((begin / p->per_image * p->groups + group) * p->channels * p->h * p->w) * p->size
            : work;
    if (p->flat && p->framed)
        fill_frame(p, group, begin / p->per_image, work, first_image);
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t first = begin + soma__part(end - begin, blocks, b),
                      count = begin + soma__part(end - begin, blocks, b + 1) - first;
        for (int64_t q = 0; q < count; q++) {
            panel *to = &panels[q];
            if (p->flat)
                make_flat_runs(p, first + q, to);
            else
                make_runs(p, first + q, to);
            to->b = p->flat ? (char *)image + (size_t)to->first * p->size : work + (size_t)q * p->panel_bytes;
            to->c = work + p->b_bytes + (size_t)(q * p->m * p->panel) * p->size;
            to->c_row = p->panel;
            if (to->direct) {
                to->c = p->dst + (to->runs[0].pixel + group * p->m * plane) * (int64_t)p->size;
                to->c_row = plane;
            }
        }
        for (int64_t c = 0; c < p->chunks; c++)
            run_chunk(p, panels, count, group, c);
        for (int64_t q = 0; q < count; q++)
            if (!panels[q].direct)
                scatter(p, &panels[q], group);
    }
}

static void run_slots(void *arg, int64_t begin, int64_t end) {
    const product *p = arg;
    const int64_t total = p->groups * p->panels;
    for (int64_t s = begin; s < end; s++) {
        int64_t first = soma__part(total, p->slots, s);
        const int64_t stop = soma__part(total, p->slots, s + 1);
        while (first < stop) {
            const int64_t group = first / p->panels, from = first % p->panels;
            int64_t to = SOMA_MIN(p->panels, from + stop - first);
            if (p->flat)
                to = SOMA_MIN(to, (from / p->per_image + 1) * p->per_image);
            run_panels(p, group, from, to, p->slot + (size_t)s * p->slot_bytes, first == soma__part(total, p->slots, s));
            first += to - from;
        }
    }
}

/* Puts the parts of the workspace in their places; the weights are packed by the caller. */
static void place(product *p, char *work) {
    p->dy = (int64_t *)work;
    p->dx = p->dy + p->taps;
    p->at = p->dx + p->taps;
    p->a = work + table_bytes(p);
    p->slot = p->a + whole((size_t)(p->groups * p->m * p->channels * p->taps) * p->size + 64);
}

/* Once dy and dx are known: where the rows of B begin. */
static void fill_table(product *p) {
    const int64_t w = p->framed ? p->frame_w : p->w, plane = p->framed ? p->frame_h * w : p->h * w;
    for (int64_t i = 0; p->flat && i < p->channels * p->taps; i++)
        p->at[i] = i / p->taps * plane + (p->dy[i % p->taps] + p->top) * w + p->dx[i % p->taps] + p->left;
}

static void choose_kernels(product *p, soma_dtype dtype) {
    p->gemm = dtype == SOMA_F64 ? &soma__gemm_pick()->f64 : &soma__gemm_pick()->f32;
    p->conv = dtype == SOMA_F64 ? &soma__conv_pick()->f64 : &soma__conv_pick()->f32;
    p->size = dtype == SOMA_F64 ? 8 : 4;
}

/* ---- Forward ---------------------------------------------------------------------------------------------------------- */

static product forward_product(const soma__conv *c) {
    product p = {.batch = c->batch,
                 .groups = c->groups,
                 .m = c->out_channels / c->groups,
                 .channels = c->in_channels / c->groups,
                 .taps = c->kernel[0] * c->kernel[1],
                 .grid_h = c->out_h,
                 .grid_w = c->out_w,
                 .h = c->in_h,
                 .w = c->in_w,
                 .step_y = c->stride[0],
                 .step_x = c->stride[1],
                 .dst_h = c->out_h,
                 .dst_w = c->out_w,
                 .dst_step_y = 1,
                 .dst_step_x = 1};
    p.dy_min = -c->padding[0];
    p.dx_min = -c->padding[1];
    p.dy_max = (c->kernel[0] - 1) * c->dilation[0] - c->padding[0];
    p.dx_max = (c->kernel[1] - 1) * c->dilation[1] - c->padding[1];
    choose_kernels(&p, c->dtype);
    return p;
}

/* Packs the strips of one chunk of one group, for `items` (group, chunk) pairs. Weights lie [row][channel][tap]. */
typedef struct pack_job {
    product *p;
    const char *weight;
    const soma__conv *c;
    const int64_t *tap; /* backward: the taps of this place, by their number in the kernel */
} pack_job;

static void pack_forward(void *arg, int64_t begin, int64_t end) {
    const pack_job *j = arg;
    const product *p = j->p;
    const int64_t strips = soma__parts(p->m, p->gemm->rows), depth = p->channels * p->taps;
    for (int64_t item = begin; item < end; item++) {
        const int64_t group = item / p->chunks, chunk = item % p->chunks;
        const int64_t c0 = soma__part(p->channels, p->chunks, chunk),
                      k = (soma__part(p->channels, p->chunks, chunk + 1) - c0) * p->taps;
        for (int64_t s = 0; s < strips; s++) {
            const int64_t i = soma__part(p->m, strips, s), m = soma__part(p->m, strips, s + 1) - i;
            p->gemm->pack_a(p->a + (size_t)(group * p->m * depth + p->m * c0 * p->taps + i * k) * p->size,
                            j->weight + (size_t)((group * p->m + i) * depth + c0 * p->taps) * p->size, depth, 1, (int)m, k);
        }
    }
}

static size_t forward_work(const soma__conv *c) {
    product p = forward_product(c);
    plan_product(&p, soma_threads());
    return product_bytes(&p);
}

static void fit(product *p, size_t bytes) {
    int64_t threads = soma_threads();
    plan_product(p, threads);
    while (threads > 1 && product_bytes(p) > bytes) /* more threads than when the workspace was asked for */
        plan_product(p, --threads);
}

static void forward(const soma__conv *c, const void *x, const void *weight, const void *bias, bool relu, void *y, void *work,
                    size_t bytes) {
    product p = forward_product(c);
    p.src = x;
    p.dst = y;
    p.bias = bias;
    p.relu = relu;
    fit(&p, bytes);
    place(&p, work);
    for (int64_t t = 0; t < p.taps; t++) {
        p.dy[t] = t / c->kernel[1] * c->dilation[0] - c->padding[0];
        p.dx[t] = t % c->kernel[1] * c->dilation[1] - c->padding[1];
    }
    fill_table(&p);
    pack_job j = {&p, weight, c, NULL};
    soma__parallel(p.groups * p.chunks, SOMA_MAX(1, 50000 / SOMA_MAX(1, p.m * p.chunk_channels * p.taps)), pack_forward, &j);
    soma__parallel(p.slots, 1, run_slots, &p);
}

/* ---- Gradient of the input -------------------------------------------------------------------------------------------- */

/* The product for input pixels at (py, px) modulo the stride; with `tap` NULL only the sizes. False when there are no such
 * pixels. */
static bool place_product(const soma__conv *c, int64_t py, int64_t px, product *p, int64_t *tap) {
    *p = (product){.batch = c->batch,
                   .groups = c->groups,
                   .m = c->in_channels / c->groups,
                   .channels = c->out_channels / c->groups,
                   .grid_h = (c->in_h - py + c->stride[0] - 1) / c->stride[0],
                   .grid_w = (c->in_w - px + c->stride[1] - 1) / c->stride[1],
                   .h = c->out_h,
                   .w = c->out_w,
                   .step_y = 1,
                   .step_x = 1,
                   .dst_h = c->in_h,
                   .dst_w = c->in_w,
                   .dst_y = py,
                   .dst_x = px,
                   .dst_step_y = c->stride[0],
                   .dst_step_x = c->stride[1]};
    choose_kernels(p, c->dtype);
    for (int64_t t = 0; t < c->kernel[0] * c->kernel[1]; t++) {
        int64_t y = py + c->padding[0] - t / c->kernel[1] * c->dilation[0],
                x = px + c->padding[1] - t % c->kernel[1] * c->dilation[1];
        if (y % c->stride[0] == 0 && x % c->stride[1] == 0) {
            y /= c->stride[0];
            x /= c->stride[1];
            if (tap)
                tap[p->taps] = t;
            p->dy_min = p->taps ? SOMA_MIN(p->dy_min, y) : y;
            p->dy_max = p->taps ? SOMA_MAX(p->dy_max, y) : y;
            p->dx_min = p->taps ? SOMA_MIN(p->dx_min, x) : x;
            p->dx_max = p->taps ? SOMA_MAX(p->dx_max, x) : x;
            p->taps++;
        }
    }
    return p->grid_h > 0 && p->grid_w > 0;
}

/* Rows are input channels here: weights lie [channel][row][tap]. */
static void pack_backward(void *arg, int64_t begin, int64_t end) {
    const pack_job *j = arg;
    const product *p = j->p;
    const int64_t strips = soma__parts(p->m, p->gemm->rows), depth = p->channels * p->taps,
                  all = j->c->kernel[0] * j->c->kernel[1];
    for (int64_t item = begin; item < end; item++) {
        const int64_t group = item / p->chunks, chunk = item % p->chunks;
        const int64_t c0 = soma__part(p->channels, p->chunks, chunk), c1 = soma__part(p->channels, p->chunks, chunk + 1);
        for (int64_t s = 0; s < strips; s++) {
            const int64_t i = soma__part(p->m, strips, s), m = soma__part(p->m, strips, s + 1) - i;
            char *dst = p->a + (size_t)(group * p->m * depth + p->m * c0 * p->taps + i * (c1 - c0) * p->taps) * p->size;
            for (int64_t channel = c0; channel < c1; channel++, dst += (size_t)(m * p->taps) * p->size) {
                const char *src = j->weight + (size_t)(((group * p->channels + channel) * p->m + i) * all) * p->size;
                if (p->taps == all) {
                    p->gemm->pack_a(dst, src, all, 1, (int)m, all);
                    continue;
                }
                for (int64_t t = 0; t < p->taps; t++)
                    for (int64_t r = 0; r < m; r++)
                        memcpy(dst + (size_t)(t * m + r) * p->size, src + (size_t)(r * all + j->tap[t]) * p->size, p->size);
            }
        }
    }
}

static size_t backward_input_work(const soma__conv *c) {
    size_t most = 0;
    for (int64_t py = 0; py < c->stride[0]; py++)
        for (int64_t px = 0; px < c->stride[1]; px++) {
            product p;
            if (!place_product(c, py, px, &p, NULL))
                continue;
            plan_product(&p, soma_threads());
            size_t bytes = product_bytes(&p);
            most = bytes > most ? bytes : most;
        }
    return most + whole((size_t)(c->kernel[0] * c->kernel[1]) * sizeof(int64_t));
}

/* True when windows pass over some pixels without a tap: a stride beyond the kernel, or dilated past it. */
static bool has_gaps(const soma__conv *c) {
    for (int64_t py = 0; py < c->stride[0]; py++)
        for (int64_t px = 0; px < c->stride[1]; px++) {
            product p;
            if (place_product(c, py, px, &p, NULL) && p.taps == 0)
                return true;
        }
    return false;
}

typedef struct zero_job {
    char *to;
} zero_job;
static void zero_range(void *arg, int64_t begin, int64_t end) {
    memset(((const zero_job *)arg)->to + begin, 0, (size_t)(end - begin));
}

static void backward_input(const soma__conv *c, const void *gy, const void *weight, void *gx, void *work, size_t bytes) {
    int64_t *tap = work;
    const size_t list = whole((size_t)(c->kernel[0] * c->kernel[1]) * sizeof(int64_t));
    zero_job zero = {gx};
    if (has_gaps(c))
        soma__parallel(c->batch * c->in_channels * c->in_h * c->in_w * (c->dtype == SOMA_F64 ? 8 : 4), 1 << 18, zero_range,
                       &zero);
    for (int64_t py = 0; py < c->stride[0]; py++)
        for (int64_t px = 0; px < c->stride[1]; px++) {
            product p;
            if (!place_product(c, py, px, &p, tap) || p.taps == 0)
                continue;
            p.src = gy;
            p.dst = gx;
            fit(&p, bytes - list);
            place(&p, (char *)work + list);
            for (int64_t t = 0; t < p.taps; t++) {
                p.dy[t] = (py + c->padding[0] - tap[t] / c->kernel[1] * c->dilation[0]) / c->stride[0];
                p.dx[t] = (px + c->padding[1] - tap[t] % c->kernel[1] * c->dilation[1]) / c->stride[1];
            }
            fill_table(&p);
            pack_job j = {&p, weight, c, tap};
            soma__parallel(p.groups * p.chunks, SOMA_MAX(1, 50000 / SOMA_MAX(1, p.m * p.chunk_channels * p.taps)),
                           pack_backward, &j);
            soma__parallel(p.slots, 1, run_slots, &p);
        }
}

/* ---- Entries: empty ones, halves, groups of a channel or two ---------------------------------------------------------- */

static bool empty(const soma__conv *c) {
    return c->batch == 0 || c->out_channels == 0 || c->in_channels == 0 || c->out_h <= 0 || c->out_w <= 0 ||
           c->kernel[0] * c->kernel[1] == 0;
}
static int64_t x_count(const soma__conv *c) { return c->batch * c->in_channels * c->in_h * c->in_w; }
static int64_t y_count(const soma__conv *c) { return c->batch * c->out_channels * c->out_h * c->out_w; }
static int64_t w_count(const soma__conv *c) {
    return c->out_channels * (c->in_channels / c->groups) * c->kernel[0] * c->kernel[1];
}

/* Narrow groups waste nearly all of a panel's tile. */
static bool narrow(const soma__conv *c) {
    return c->groups > 1 && c->in_channels / c->groups * (c->out_channels / c->groups) <= 4;
}

typedef struct cast_job {
    void *to;
    const void *from;
    soma_dtype dtype; /* of the halves */
    bool widen;
} cast_job;
static void cast_range(void *arg, int64_t begin, int64_t end) {
    const cast_job *j = arg;
    const soma__gemm_kernels *k = soma__gemm_pick();
    if (j->widen)
        (j->dtype == SOMA_F16 ? k->from_f16 : k->from_bf16)((float *)j->to + begin, (const uint16_t *)j->from + begin,
                                                            end - begin);
    else
        (j->dtype == SOMA_F16 ? k->to_f16 : k->to_bf16)((uint16_t *)j->to + begin, (const float *)j->from + begin,
                                                        end - begin);
}
static void cast(soma_dtype dtype, bool widen, void *to, const void *from, int64_t n) {
    cast_job j = {to, from, dtype, widen};
    soma__parallel(n, 32768, cast_range, &j);
}

/* Halves: the three operands as f32 in front of the workspace. Returns what is left of it. */
typedef struct wide {
    soma__conv c;
    float *x, *w, *y, *bias;
    char *work;
    size_t bytes;
} wide;
static size_t wide_bytes(const soma__conv *c) {
    if (soma_dtype_size(c->dtype) != 2)
        return 0;
    return whole((size_t)x_count(c) * 4) + whole((size_t)y_count(c) * 4) + whole((size_t)w_count(c) * 4) +
           whole((size_t)c->out_channels * 4);
}
static wide widen(const soma__conv *c, void *work, size_t bytes) {
    wide h = {.c = *c};
    char *p = work;
    h.c.dtype = SOMA_F32;
    h.x = (float *)p;
    p += whole((size_t)x_count(c) * 4);
    h.y = (float *)p;
    p += whole((size_t)y_count(c) * 4);
    h.w = (float *)p;
    p += whole((size_t)w_count(c) * 4);
    h.bias = (float *)p;
    h.work = p + whole((size_t)c->out_channels * 4);
    h.bytes = bytes - wide_bytes(c);
    return h;
}
static soma__conv in_floats(const soma__conv *c) {
    soma__conv f = *c;
    if (soma_dtype_size(c->dtype) == 2)
        f.dtype = SOMA_F32;
    return f;
}

size_t soma__conv_forward_work(const soma__conv *c) {
    soma__conv f = in_floats(c);
    return empty(c) ? 0 : wide_bytes(c) + (narrow(c) ? 0 : forward_work(&f));
}
void soma__conv_forward(const soma__conv *c, const void *x, const void *weight, const void *bias, bool relu, void *y,
                        void *work, size_t bytes) {
    if (empty(c)) {
        soma__conv_fill(c, bias, relu, y);
    } else if (soma_dtype_size(c->dtype) == 2) {
        wide h = widen(c, work, bytes);
        cast(c->dtype, true, h.x, x, x_count(c));
        cast(c->dtype, true, h.w, weight, w_count(c));
        if (bias)
            cast(c->dtype, true, h.bias, bias, c->out_channels);
        soma__conv_forward(&h.c, h.x, h.w, bias ? h.bias : NULL, relu, h.y, h.work, h.bytes);
        cast(c->dtype, false, y, h.y, y_count(c));
    } else if (narrow(c)) {
        soma__conv_forward_narrow(c, x, weight, bias, relu, y);
    } else {
        forward(c, x, weight, bias, relu, y, work, bytes);
    }
}

size_t soma__conv_backward_input_work(const soma__conv *c) {
    soma__conv f = in_floats(c);
    return empty(c) ? 0 : wide_bytes(c) + (narrow(c) ? 0 : backward_input_work(&f));
}
void soma__conv_backward_input(const soma__conv *c, const void *gy, const void *weight, void *gx, void *work, size_t bytes) {
    if (empty(c)) {
        if (x_count(c) > 0)
            memset(gx, 0, (size_t)x_count(c) * soma_dtype_size(c->dtype));
    } else if (soma_dtype_size(c->dtype) == 2) {
        wide h = widen(c, work, bytes);
        cast(c->dtype, true, h.y, gy, y_count(c));
        cast(c->dtype, true, h.w, weight, w_count(c));
        soma__conv_backward_input(&h.c, h.y, h.w, h.x, h.work, h.bytes);
        cast(c->dtype, false, gx, h.x, x_count(c));
    } else if (narrow(c)) {
        soma__conv_backward_input_narrow(c, gy, weight, gx);
    } else {
        backward_input(c, gy, weight, gx, work, bytes);
    }
}

size_t soma__conv_backward_weight_work(const soma__conv *c) {
    soma__conv f = in_floats(c);
    return empty(c) ? 0 : wide_bytes(c) + (narrow(c) ? 0 : soma__conv_weight_work(&f));
}
void soma__conv_backward_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes) {
    if (empty(c)) {
        if (w_count(c) > 0)
            memset(gw, 0, (size_t)w_count(c) * soma_dtype_size(c->dtype));
    } else if (soma_dtype_size(c->dtype) == 2) {
        wide h = widen(c, work, bytes);
        cast(c->dtype, true, h.x, x, x_count(c));
        cast(c->dtype, true, h.y, gy, y_count(c));
        soma__conv_backward_weight(&h.c, h.x, h.y, h.w, h.work, h.bytes);
        cast(c->dtype, false, gw, h.w, w_count(c));
    } else if (narrow(c)) {
        soma__conv_backward_weight_narrow(c, x, gy, gw);
    } else {
        soma__conv_weight(c, x, gy, gw, work, bytes);
    }
}
