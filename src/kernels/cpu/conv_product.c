/* Convolution forward and the gradient of its input, on channels-last data: for each output pixel, the values of a kernel's row of
 * pixels lie together in memory, so a tile of pixels by channels reads them in place, value by value, against packed weights.
 *
 * Images with a border, and such that are not channels-last, are first copied into a frame of zeros, a band of rows at a time, which
 * stays in the second-level cache while all weights pass over it. Pixels are numbered through the band and through small images that
 * are taken together, so tiles need not end with rows.
 *
 * The gradient of the input is the same product with other weights: input pixels are sorted by their place (y mod stride, x mod
 * stride); those of one place meet the same taps, and reading gy for them is a plain convolution of stride 1. */
#include "base/base.h"
#include "conv_inside.h"

#include <string.h>

enum {
    CHUNK_BYTES = 2048,       /* of one column of the weights: 512 floats times 48 to 64 columns stay in the second-level cache */
    FRAME_BYTES = 256 * 1024, /* of one band */
    ITEM_PIXELS = 1024,       /* of one band, at most */
    ITEMS = 4,                /* with fewer bands in all the panels are shared out, too */
    FETCH_K = 64,             /* shorter sums are over before memory answers */
    MAX_ROWS = 8,             /* pixels of a tile, at most */
};

typedef struct tap {
    int64_t dy, dx;
} tap;

typedef struct product {
    const soma__conv *c;
    const soma__gemm_ops *gemm;
    const soma__conv_table *ops;
    size_t size;
    soma__images src;
    soma__weights weights;
    int64_t batch, groups, in, out; /* channels per group */
    int64_t grid_h, grid_w, step_y, step_x;
    char *dst;
    bool dst_last;
    int64_t dst_h, dst_w, dst_y, dst_x, dst_step_y, dst_step_x;
    int64_t taps, dy_min, dy_max, dx_min, dx_max;
    const char *bias;
    bool relu;
    /* Derived. */
    bool framed;
    int64_t k, chunks, vectors, panels, n_runs;
    int64_t frame_w, images, rows, bands, lumps, cuts, items, slots; /* images, rows: of an item; lumps: of images */
    tap *tap;
    int64_t *number; /* of each tap in the kernel */
    soma__conv_run *runs; /* all of K, cut where chunks end */
    int64_t *first;  /* of each chunk's runs */
    int64_t *a_at, *c_at;
    char *packed, *slot;
    size_t frame_bytes, slot_bytes;
} product;

/* ---- Sizes ------------------------------------------------------------------------------------------------------------ */

static int64_t frame_rows(const product *p, int64_t rows) { return (rows - 1) * p->step_y + p->dy_max - p->dy_min + 1; }

/* Where panel `q` begins, in outputs of its group; `panels` is the end. */
static int64_t panel_at(const product *p, int64_t q) { return soma__part(p->vectors, p->panels, q) * p->gemm->lanes; }

static void plan_product(product *p, int64_t threads) {
    p->k = p->taps * p->in;
    p->chunks = SOMA_MAX(1, soma__parts(p->k, CHUNK_BYTES / (int64_t)p->size));
    p->vectors = soma__parts(p->out, p->gemm->lanes);
    p->panels = soma__parts(p->vectors, p->ops->vectors);
    p->framed = !p->src.last || p->dy_min < 0 || p->dx_min < 0 || (p->grid_h - 1) * p->step_y + p->dy_max >= p->src.h ||
                (p->grid_w - 1) * p->step_x + p->dx_max >= p->src.w;
    p->frame_w = p->framed ? (p->grid_w - 1) * p->step_x + p->dx_max - p->dx_min + 1 : p->src.w;
    const int64_t row_bytes = p->frame_w * p->in * (int64_t)p->size;
    p->rows = p->grid_h;
    while (p->rows > 1 && (frame_rows(p, p->rows) * row_bytes > FRAME_BYTES || p->rows * p->grid_w > ITEM_PIXELS))
        p->rows = (p->rows + 1) / 2;
    p->bands = soma__parts(p->grid_h, p->rows);
    p->rows = soma__parts(p->grid_h, p->bands);
    const int64_t bytes = frame_rows(p, p->rows) * row_bytes;
    p->images = p->bands > 1 ? 1
                             : SOMA_MAX(1, SOMA_MIN(SOMA_MIN(FRAME_BYTES / bytes, ITEM_PIXELS / (p->rows * p->grid_w)),
                                                    soma__parts(p->batch, ITEMS)));
    p->lumps = soma__parts(p->batch, p->images);
    p->items = p->groups * p->lumps * p->bands;
    p->cuts = p->items >= ITEMS ? 1 : SOMA_MIN(p->panels, soma__parts(ITEMS, p->items));
    p->items *= p->cuts;
    const double work = (double)p->groups * (double)p->out * (double)p->k * (double)(p->batch * p->grid_h * p->grid_w);
    p->slots = work < SOMA__CONV_PARALLEL ? 1 : soma__conv_slots(threads, p->items);
    p->frame_bytes = p->framed ? soma__conv_whole((size_t)(p->images * bytes)) : 0;
    p->slot_bytes = SOMA_MAX(p->frame_bytes, soma__conv_pack_temp(p->weights.all, p->ops->vectors * p->gemm->lanes, p->size));
}

/* Puts the parts of the workspace in their places; returns their bytes. */
static size_t place(product *p, char *work) {
    char *at = work;
    const size_t pixels = (size_t)(p->images * p->rows * p->grid_w);
    p->tap = (tap *)at;
    at += soma__conv_whole((size_t)p->taps * sizeof(tap));
    p->number = (int64_t *)at;
    at += soma__conv_whole((size_t)p->taps * sizeof(int64_t));
    p->runs = (soma__conv_run *)at;
    at += soma__conv_whole((size_t)(p->taps + p->chunks) * sizeof(soma__conv_run));
    p->first = (int64_t *)at;
    at += soma__conv_whole((size_t)(p->chunks + 1) * sizeof(int64_t));
    p->a_at = (int64_t *)at;
    at += soma__conv_whole(pixels * sizeof(int64_t));
    p->c_at = (int64_t *)at;
    at += soma__conv_whole(pixels * sizeof(int64_t));
    p->packed = at;
    at += soma__conv_whole((size_t)(p->groups * p->vectors * p->gemm->lanes * p->k) * p->size);
    p->slot = at;
    at += (size_t)p->slots * p->slot_bytes;
    return (size_t)(at - work);
}

/* Neighbouring taps of a row are one run, and chunks of K cut runs. */
static void make_runs(product *p) {
    const bool joined = p->framed || p->groups == 1;
    const int64_t pixel = p->framed ? p->in : p->src.channels;
    int64_t n = 0, end = 0;
    for (int64_t k = 0, chunk = 0; k < p->k;) {
        if (k == soma__part(p->k, p->chunks, chunk)) {
            p->first[chunk++] = n;
            end = -1;
        }
        const tap *t = &p->tap[k / p->in];
        const int64_t at = ((t->dy - p->dy_min) * p->frame_w + t->dx - p->dx_min) * pixel + k % p->in;
        const int64_t count = SOMA_MIN(p->in - k % p->in, soma__part(p->k, p->chunks, chunk) - k);
        if (joined && at == end)
            p->runs[n - 1].count += count;
        else
            p->runs[n++] = (soma__conv_run){at, count};
        end = at + count;
        k += count;
    }
    p->first[p->chunks] = n;
}

static void make_tables(product *p) {
    const int64_t pixel = p->framed ? p->in : p->src.channels, all = p->groups * p->out;
    const int64_t height = p->framed ? frame_rows(p, p->rows) : p->src.h;
    int64_t n = 0;
    for (int64_t image = 0; image < p->images; image++)
        for (int64_t i = 0; i < p->rows; i++)
            for (int64_t j = 0; j < p->grid_w; j++, n++) {
                p->a_at[n] = ((image * height + i * p->step_y) * p->frame_w + j * p->step_x) * pixel;
                p->c_at[n] = ((image * p->dst_h + i * p->dst_step_y) * p->dst_w + j * p->dst_step_x) * all;
            }
    make_runs(p);
}

/* ---- Running ---------------------------------------------------------------------------------------------------------- */

/* Each slot packs its share of (group, panel) pairs. */
static void pack_slots(void *arg, int64_t begin, int64_t end) {
    const product *p = arg;
    const int64_t total = p->groups * p->panels;
    for (int64_t s = begin; s < end; s++)
        for (int64_t item = soma__part(total, p->slots, s); item < soma__part(total, p->slots, s + 1); item++) {
            const int64_t group = item / p->panels, j = panel_at(p, item % p->panels);
            const int64_t n = SOMA_MIN(panel_at(p, item % p->panels + 1), p->out) - j;
            soma__weights w = p->weights;
            w.data += (size_t)(group * p->in * p->out * w.all) * p->size;
            soma__conv_pack(&w, j, (int)n, 0, p->in, p->number, p->taps, p->in,
                            p->packed + (size_t)((group * p->vectors * p->gemm->lanes + j) * p->k) * p->size,
                            p->slot + (size_t)s * p->slot_bytes);
        }
}

static void run_panel(const product *p, int64_t group, int64_t q, const char *a, char *c, int64_t pixels) {
    const int64_t j = panel_at(p, q), end = panel_at(p, q + 1), width = end - j;
    const int rows = p->ops->rows[width / p->gemm->lanes - 1];
    const char *b = p->packed + (size_t)((group * p->vectors * p->gemm->lanes + j) * p->k) * p->size;
    const char *bias = p->bias ? p->bias + (size_t)(group * p->out + j) * p->size : NULL;
    int64_t a_at[MAX_ROWS], c_at[MAX_ROWS]; /* of the last tile, filled up with its last pixel */
    for (int i = 0; i < rows; i++) {
        const int64_t pixel = SOMA_MIN((pixels - 1) / rows * rows + i, pixels - 1);
        a_at[i] = p->a_at[pixel];
        c_at[i] = p->c_at[pixel];
    }
    for (int64_t chunk = 0; chunk < p->chunks; chunk++) {
        const int64_t k = soma__part(p->k, p->chunks, chunk), first = p->first[chunk];
        soma__ctile t = {.a = a, .runs = p->runs + first, .n_runs = (int)(p->first[chunk + 1] - first),
                         .n = (int)(SOMA_MIN(end, p->out) - j), .b = b + (size_t)(k * width) * p->size,
                         .c = c + (size_t)(group * p->out + j) * p->size, .add = chunk > 0, .relu = p->relu, .bias = bias,
                         .fetch = p->k >= FETCH_K};
        t.last = chunk + 1 == p->chunks && (p->bias || p->relu);
        for (int64_t i = 0; i < pixels; i += rows) {
            const bool whole = i + rows <= pixels;
            t.a_at = whole ? p->a_at + i : a_at;
            t.c_at = whole ? p->c_at + i : c_at;
            p->ops->ctile(&t);
        }
    }
}

static void run_item(const product *p, int64_t item, char *frame) {
    const int64_t cut = item % p->cuts, band = item / p->cuts % p->bands, lump = item / p->cuts / p->bands % p->lumps,
                  group = item / p->cuts / p->bands / p->lumps;
    const int64_t i0 = soma__part(p->batch, p->lumps, lump), images = soma__part(p->batch, p->lumps, lump + 1) - i0;
    const int64_t y0 = soma__part(p->grid_h, p->bands, band), rows = soma__part(p->grid_h, p->bands, band + 1) - y0;
    const char *a = p->src.data;
    if (p->framed) {
        const int64_t height = frame_rows(p, p->rows);
        for (int64_t i = 0; i < images; i++)
            soma__conv_frame(&p->src, i0 + i, group * p->in, p->in, y0 * p->step_y + p->dy_min, frame_rows(p, rows), p->dx_min,
                             p->frame_w, frame + (size_t)(i * height * p->frame_w * p->in) * p->size);
        a = frame;
    } else {
        a += (size_t)(((i0 * p->src.h + y0 * p->step_y + p->dy_min) * p->src.w + p->dx_min) * p->src.channels + group * p->in) * p->size;
    }
    char *c = p->dst + (size_t)(((i0 * p->dst_h + y0 * p->dst_step_y + p->dst_y) * p->dst_w + p->dst_x) * p->groups * p->out) * p->size;
    for (int64_t q = soma__part(p->panels, p->cuts, cut); q < soma__part(p->panels, p->cuts, cut + 1); q++)
        run_panel(p, group, q, a, c, images * rows * p->grid_w);
}

static void run_slots(void *arg, int64_t begin, int64_t end) {
    const product *p = arg;
    for (int64_t s = begin; s < end; s++)
        for (int64_t item = soma__part(p->items, p->slots, s); item < soma__part(p->items, p->slots, s + 1); item++)
            run_item(p, item, p->slot + (size_t)s * p->slot_bytes);
}

/* Plans for as many threads as the workspace is for: the number may have grown since it was asked for. */
static void fit(product *p, char *work, size_t bytes) {
    int64_t threads = soma_threads();
    plan_product(p, threads);
    while (threads > 1 && place(p, NULL) > bytes)
        plan_product(p, --threads);
    place(p, work);
}

/* ---- The products of a convolution ---------------------------------------------------------------------------------------------------------- */

static product any_product(const soma__conv *c, bool backward) {
    const int64_t in = c->in_channels / c->groups, out = c->out_channels / c->groups, all = c->kernel[0] * c->kernel[1];
    product p = {.c = c, .gemm = soma__conv_gemm(c), .ops = soma__conv_ops(c), .size = soma_dtype_size(c->dtype), .batch = c->batch,
                 .groups = c->groups};
    p.in = backward ? out : in;
    p.out = backward ? in : out;
    p.src = (soma__images){.h = backward ? c->out_h : c->in_h, .w = backward ? c->out_w : c->in_w, .channels = p.in * c->groups,
                           .gemm = p.gemm, .size = p.size};
    p.src.last = (backward ? c->y_last : c->x_last) || p.src.channels == 1 || p.src.h * p.src.w == 1;
    p.weights = (soma__weights){.n_step = backward ? all : in * all, .k_step = backward ? in * all : all, .all = all, .gemm = p.gemm,
                                .size = p.size};
    p.dst_last = backward ? c->x_last : c->y_last;
    p.dst_h = backward ? c->in_h : c->out_h;
    p.dst_w = backward ? c->in_w : c->out_w;
    return p;
}

static void add_tap(product *p, int64_t number, int64_t dy, int64_t dx) {
    if (p->tap) {
        p->tap[p->taps] = (tap){dy, dx};
        p->number[p->taps] = number;
    }
    p->dy_min = p->taps ? SOMA_MIN(p->dy_min, dy) : dy;
    p->dy_max = p->taps ? SOMA_MAX(p->dy_max, dy) : dy;
    p->dx_min = p->taps ? SOMA_MIN(p->dx_min, dx) : dx;
    p->dx_max = p->taps ? SOMA_MAX(p->dx_max, dx) : dx;
    p->taps++;
}

/* The taps of the product for input pixels at (py, px) modulo the stride, or of the forward one; to p->tap if it has a place. */
static void find_taps(product *p, bool backward, int64_t py, int64_t px) {
    const soma__conv *c = p->c;
    const int64_t all = c->kernel[0] * c->kernel[1];
    p->taps = 0;
    for (int64_t t = 0; t < all; t++) { /* so that places rise */
        const int64_t number = backward ? all - 1 - t : t;
        const int64_t y = number / c->kernel[1] * c->dilation[0] - c->padding[0], x = number % c->kernel[1] * c->dilation[1] - c->padding[1];
        if (!backward)
            add_tap(p, number, y, x);
        else if ((py - y) % c->stride[0] == 0 && (px - x) % c->stride[1] == 0)
            add_tap(p, number, (py - y) / c->stride[0], (px - x) / c->stride[1]);
    }
}

/* The product number `i` of those that make up the result: false when it has no pixels or no taps. */
static bool choose_product(product *p, bool backward, int64_t i) {
    const soma__conv *c = p->c;
    p->dst_y = backward ? i / c->stride[1] : 0;
    p->dst_x = backward ? i % c->stride[1] : 0;
    p->step_y = backward ? 1 : c->stride[0];
    p->step_x = backward ? 1 : c->stride[1];
    p->dst_step_y = backward ? c->stride[0] : 1;
    p->dst_step_x = backward ? c->stride[1] : 1;
    p->grid_h = backward ? (c->in_h - p->dst_y + c->stride[0] - 1) / c->stride[0] : c->out_h;
    p->grid_w = backward ? (c->in_w - p->dst_x + c->stride[1] - 1) / c->stride[1] : c->out_w;
    p->tap = NULL;
    find_taps(p, backward, p->dst_y, p->dst_x);
    return p->taps > 0 && p->grid_h > 0 && p->grid_w > 0;
}

static int64_t count_products(const soma__conv *c, bool backward) { return backward ? c->stride[0] * c->stride[1] : 1; }

/* Bytes of a channels-last result that is then turned. */
static size_t turned_bytes(const product *p) {
    const bool last = p->dst_last || p->groups * p->out == 1 || p->dst_h * p->dst_w == 1;
    return last ? 0 : soma__conv_whole((size_t)(p->batch * p->groups * p->out * p->dst_h * p->dst_w) * p->size);
}

size_t soma__conv_product_work(const soma__conv *c, bool backward) {
    product p = any_product(c, backward);
    size_t most = 0;
    for (int64_t i = 0; i < count_products(c, backward); i++)
        if (choose_product(&p, backward, i)) {
            plan_product(&p, soma_threads());
            const size_t bytes = place(&p, NULL);
            most = SOMA_MAX(most, bytes);
        }
    return most + turned_bytes(&p);
}

static void zero_range(void *arg, int64_t begin, int64_t end) { memset((char *)arg + begin, 0, (size_t)(end - begin)); }

void soma__conv_product(const soma__conv *c, bool backward, const void *src, const void *weight, const void *bias, bool relu, void *dst,
                        void *work, size_t bytes) {
    product p = any_product(c, backward);
    const size_t turned = turned_bytes(&p), whole = (size_t)(p.batch * p.groups * p.out * p.dst_h * p.dst_w) * p.size;
    p.src.data = src;
    p.weights.data = weight;
    p.weights.end = p.weights.data + (size_t)(p.groups * p.in * p.out * p.weights.all) * p.size;
    p.bias = bias;
    p.relu = relu;
    p.dst = turned ? work : dst;
    bool gaps = false; /* pixels that no tap meets: a stride beyond the kernel, or dilated past it */
    for (int64_t i = 0; i < count_products(c, backward); i++)
        gaps = !choose_product(&p, backward, i) || gaps;
    if (gaps)
        soma__parallel((int64_t)whole, 1 << 18, zero_range, p.dst);
    for (int64_t i = 0; i < count_products(c, backward); i++) {
        if (!choose_product(&p, backward, i))
            continue;
        fit(&p, (char *)work + turned, bytes - turned);
        find_taps(&p, backward, p.dst_y, p.dst_x);
        make_tables(&p);
        soma__parallel(p.slots, 1, pack_slots, &p);
        soma__parallel(p.slots, 1, run_slots, &p);
    }
    if (turned)
        soma__conv_turn(p.gemm, p.size, dst, work, p.batch, p.groups * p.out, p.dst_h * p.dst_w, false);
}
