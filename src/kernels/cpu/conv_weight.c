/* The gradient of a convolution's weight: for each (channel, tap) and each output channel a sum over all output pixels of x
 * times gy.
 *
 * It is computed transposed, [channel, tap][output channel], on channels-last data: gy is read in place, a row of output channels at
 * a time, and so is x, value by value, for eight channels of one tap; images with padding are first copied into a frame of zeros,
 * and what is not channels-last is turned. Images go through in passes of a size that fits the caches; the order of sums is image
 * by image within `parts` sums, which are added in order at the end. None of this depends on the threads. */
#include "base/base.h"
#include "conv_inside.h"

#include <string.h>

enum {
    PASS_BYTES = 24 * 1024 * 1024, /* turned gy and framed x of one pass */
    RUN = 512,                     /* pixels that one tile sums before its C is added up: 144 KiB of a panel of gy */
    ENOUGH = 32,                   /* tiles below which the images are summed in parts, to have work for all threads */
    MAX_PARTS = 8,
};

typedef struct plan {
    const soma__conv *c;
    const soma__gemm_ops *gemm;
    const soma__conv_table *conv;
    size_t size;
    int64_t in, out, depth, pixels;      /* channels per group, channel-tap pairs, pixels of an output plane */
    int64_t vectors, panels, strips;     /* of one group */
    int64_t frame_h, frame_w;
    bool framed, turns; /* x is copied into a frame; gy into panels */
    soma__images image;
    int64_t per_pass, passes, parts, slots;
    int64_t *offset, *c_at; /* of (tap, channel): where x is, where the sums go */
    char *frame, *turned, *sums;
    const char *x, *gy;
    char *gw;
    int64_t first, images;               /* of this pass */
} plan;

static inline size_t whole(size_t bytes) { return soma__conv_whole(bytes); }

static void make_plan(plan *p, const soma__conv *c, int64_t threads) {
    *p = (plan){.c = c};
    p->gemm = soma__conv_gemm(c);
    p->conv = soma__conv_ops(c);
    p->size = c->dtype == SOMA_F64 ? 8 : 4;
    p->in = c->in_channels / c->groups;
    p->out = c->out_channels / c->groups;
    p->depth = p->in * c->kernel[0] * c->kernel[1];
    p->pixels = c->out_h * c->out_w;
    p->vectors = soma__parts(p->out, p->gemm->lanes);
    p->panels = soma__parts(p->vectors, p->conv->vectors);
    p->strips = soma__parts(p->depth, p->conv->rows[soma__parts(p->vectors, p->panels) - 1]);
    p->image = (soma__images){.h = c->in_h, .w = c->in_w, .channels = c->in_channels, .gemm = p->gemm, .size = p->size};
    p->image.last = c->x_last || c->in_channels == 1 || c->in_h * c->in_w == 1;
    p->framed = c->padding[0] > 0 || c->padding[1] > 0 || !p->image.last;
    p->turns = !(c->y_last || c->out_channels == 1 || p->pixels == 1) || (!p->gemm->masks && p->out % p->gemm->lanes);
    p->frame_h = c->in_h + 2 * c->padding[0];
    p->frame_w = c->in_w + 2 * c->padding[1];
    const int64_t image = c->out_channels * p->pixels + c->in_channels * p->frame_h * p->frame_w;
    p->per_pass = SOMA_MAX(1, SOMA_MIN(PASS_BYTES / (image * (int64_t)p->size), c->batch));
    p->passes = soma__parts(c->batch, p->per_pass);
    p->per_pass = soma__parts(c->batch, p->passes);
    const int64_t tiles = c->groups * p->strips * p->panels;
    p->parts = tiles >= ENOUGH ? 1 : SOMA_MIN(soma__parts(ENOUGH, tiles), SOMA_MIN(p->per_pass, MAX_PARTS));
    const double work = (double)c->batch * (double)p->pixels * (double)c->out_channels * (double)p->depth;
    p->slots = work < SOMA__CONV_PARALLEL ? 1 : SOMA_MIN(threads, p->parts * c->groups * p->strips);
}

static size_t place(plan *p, char *work) {
    const soma__conv *c = p->c;
    char *at = work;
    p->offset = (int64_t *)at;
    at += whole((size_t)p->depth * sizeof(int64_t));
    p->c_at = (int64_t *)at;
    at += whole((size_t)p->depth * sizeof(int64_t));
    p->frame = at;
    if (p->framed)
        at += whole((size_t)(p->per_pass * c->in_channels * p->frame_h * p->frame_w) * p->size);
    p->turned = at;
    if (p->turns)
        at += whole((size_t)(p->per_pass * c->groups * p->vectors * p->gemm->lanes * p->pixels) * p->size);
    p->sums = at;
    at += whole((size_t)(p->parts * c->groups * p->depth * p->vectors * p->gemm->lanes) * p->size);
    return (size_t)(at - work);
}

/* ---- Preparing a pass ------------------------------------------------------------------------------------------------- */

/* The first column of panel `q`, in channels; panel `panels` is the end. */
static int64_t panel_at(const plan *p, int64_t q) { return soma__part(p->vectors, p->panels, q) * p->gemm->lanes; }

/* Items are (group, panel, image). A panel's rows of all images of the pass lie one after the other. */
static void turn(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    const int64_t width = p->vectors * p->gemm->lanes;
    for (int64_t item = begin; item < end; item++) {
        const int64_t image = item % p->images, q = item / p->images % p->panels, group = item / p->images / p->panels;
        const int64_t j0 = panel_at(p, q), j1 = panel_at(p, q + 1);
        char *dst =
            p->turned + (size_t)((group * width + j0) * p->images * p->pixels + image * p->pixels * (j1 - j0)) * p->size;
        const int64_t all = p->c->out_channels, first = group * p->out + j0;
        const bool last = p->c->y_last || all == 1 || p->pixels == 1;
        const char *src = p->gy + (size_t)((p->first + image) * all * p->pixels + (last ? first : first * p->pixels)) * p->size;
        p->gemm->pack_b(dst, src, last ? all : 1, last ? 1 : p->pixels, (int)(SOMA_MIN(j1, p->out) - j0), p->pixels);
    }
}

/* Items are rows of frames. */
static void frame(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    const soma__conv *c = p->c;
    for (int64_t i = begin; i < end; i++)
        soma__conv_frame(&p->image, p->first + i / p->frame_h, 0, c->in_channels, i % p->frame_h - c->padding[0], 1, -c->padding[1],
                         p->frame_w, p->frame + (size_t)(i * p->frame_w * c->in_channels) * p->size);
}

/* ---- Tiles ------------------------------------------------------------------------------------------------------------ */

/* Strips [begin, end) of one group over images [i0, i1) of the pass, rows [y0, y1) of each. */
static void run_block(const plan *p, int64_t group, int64_t begin, int64_t end, int64_t i0, int64_t i1, int64_t y0,
                      int64_t y1, char *sums, bool add) {
    const soma__conv *c = p->c;
    const int64_t width = p->vectors * p->gemm->lanes, all = c->in_channels, fw = p->framed ? p->frame_w : c->in_w,
                  plane = (p->framed ? p->frame_h : c->in_h) * fw * all;
    soma__wtile t = {.images = i1 - i0,
                     .h = y1 - y0,
                     .w = c->out_w,
                     .a_image = plane,
                     .a_y = c->stride[0] * fw * all,
                     .a_x = c->stride[1] * all,
                     .add = add};
    const char *a = p->framed ? p->frame : p->x + (size_t)(p->first * plane) * p->size;
    t.a = a + (size_t)(i0 * plane + y0 * t.a_y + group * p->in) * p->size;
    for (int64_t q = 0; q < p->panels; q++) {
        const int64_t j0 = panel_at(p, q), j1 = panel_at(p, q + 1), pixel = i0 * p->pixels + y0 * c->out_w;
        t.n = (int)(SOMA_MIN(j1, p->out) - j0);
        t.b_step = p->turns ? j1 - j0 : c->out_channels;
        if (p->turns)
            t.b = p->turned + (size_t)((group * width + j0) * p->images * p->pixels + pixel * (j1 - j0)) * p->size;
        else
            t.b = p->gy + (size_t)((p->first * p->pixels + pixel) * c->out_channels + group * p->out + j0) * p->size;
        for (int64_t s = begin; s < end; s++) {
            const int64_t i = soma__part(p->depth, p->strips, s);
            t.offset = p->offset + i;
            t.c_at = p->c_at + i;
            t.m = (int)(soma__part(p->depth, p->strips, s + 1) - i);
            t.c = sums + (size_t)(group * p->depth * width + j0) * p->size;
            p->conv->wtile(&t);
        }
    }
}

/* Strips [begin, end) of one group over the images of part `part`: runs of about RUN pixels. */
static void run_part(const plan *p, int64_t part, int64_t group, int64_t begin, int64_t end) {
    const soma__conv *c = p->c;
    char *sums = p->sums + (size_t)(part * c->groups * p->depth * p->vectors * p->gemm->lanes) * p->size;
    const int64_t i0 = soma__part(p->images, p->parts, part), i1 = soma__part(p->images, p->parts, part + 1);
    const int64_t together = SOMA_MAX(1, RUN / p->pixels),
                  cuts = p->pixels > RUN ? SOMA_MIN(soma__parts(p->pixels, RUN), c->out_h) : 1;
    for (int64_t i = i0; i < i1; i += together)
        for (int64_t y = 0; y < cuts; y++)
            run_block(p, group, begin, end, i, SOMA_MIN(i + together, i1), soma__part(c->out_h, cuts, y),
                      soma__part(c->out_h, cuts, y + 1), sums, p->first > 0 || i > i0 || y > 0);
    const int64_t width = p->vectors * p->gemm->lanes; /* a part without images in this pass: */
    for (int64_t i = soma__part(p->depth, p->strips, begin); i0 == i1 && p->first == 0 && i < soma__part(p->depth, p->strips, end); i++)
        memset(sums + (size_t)(group * p->depth * width + p->c_at[i]) * p->size, 0, (size_t)width * p->size);
}

static void run_slots(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    const int64_t total = p->parts * p->c->groups * p->strips;
    for (int64_t s = begin; s < end; s++) {
        int64_t at = soma__part(total, p->slots, s);
        const int64_t stop = soma__part(total, p->slots, s + 1);
        while (at < stop) {
            const int64_t strip = at % p->strips, count = SOMA_MIN(p->strips - strip, stop - at), lump = at / p->strips;
            run_part(p, lump / p->c->groups, lump % p->c->groups, strip, strip + count);
            at += count;
        }
    }
}

/* Adds the parts and turns the sums: output channels [begin, end), at most 64 at a time. */
static void finish(void *arg, int64_t begin, int64_t end) {
    const plan *p = arg;
    const int64_t width = p->vectors * p->gemm->lanes, part = p->c->groups * p->depth * width;
    for (int64_t o = begin; o < end;) {
        const int64_t group = o / p->out, j = o % p->out, count = SOMA_MIN(SOMA_MIN(64 - j % 64, p->out - j), end - o);
        char *sums = p->sums + (size_t)(group * p->depth * width + j) * p->size;
        for (int64_t r = 1; r < p->parts; r++)
            for (int64_t i = 0; i < p->depth; i++)
                p->conv->axpy(sums + (size_t)(i * width) * p->size, 1, sums + (size_t)(r * part + i * width) * p->size, 1,
                              1.0, count);
        p->gemm->turn(p->gw + (size_t)(o * p->depth) * p->size, p->depth, sums, width, p->depth, count);
        o += count;
    }
}

/* ---- Entry ------------------------------------------------------------------------------------------------------------ */

size_t soma__conv_weight_work(const soma__conv *c) {
    plan p;
    make_plan(&p, c, soma_threads());
    return place(&p, NULL);
}

void soma__conv_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes) {
    plan p;
    make_plan(&p, c, soma_threads());
    (void)bytes; /* does not depend on the threads */
    place(&p, work);
    p.x = x;
    p.gy = gy;
    p.gw = gw;
    p.image.data = x;
    const int64_t fw = p.framed ? p.frame_w : c->in_w, taps = c->kernel[0] * c->kernel[1];
    for (int64_t i = 0; i < p.depth; i++) {
        const int64_t t = i / p.in, channel = i % p.in;
        p.offset[i] = (t / c->kernel[1] * c->dilation[0] * fw + t % c->kernel[1] * c->dilation[1]) * c->in_channels + channel;
        p.c_at[i] = (channel * taps + t) * p.vectors * p.gemm->lanes;
    }
    for (int64_t pass = 0; pass < p.passes; pass++) {
        p.first = soma__part(c->batch, p.passes, pass);
        p.images = soma__part(c->batch, p.passes, pass + 1) - p.first;
        if (p.turns)
            soma__parallel(c->groups * p.panels * p.images, SOMA_MAX(1, 16384 / (p.pixels * p.gemm->lanes)), turn, &p);
        if (p.framed)
            soma__parallel(p.images * p.frame_h, SOMA_MAX(1, 16384 / (p.frame_w * c->in_channels)), frame, &p);
        soma__parallel(p.slots, 1, run_slots, &p);
    }
    soma__parallel(c->out_channels, 16 * SOMA_MAX(1, 4096 / p.depth / p.parts), finish, &p);
}
