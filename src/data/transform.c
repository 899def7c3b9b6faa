/* Samples as floats: normalisation, and for images mirroring, moving and erasing in the same pass over the pixels.
 *
 * Bytes become floats by v * hi + (v * lo + bias), where hi + lo = 1 / (255 std) and hi has 16 significant bits, so that v * hi is
 * exact and the sum is rounded once: without normalisation each result is v / 255 correctly rounded, at the speed of two
 * multiplications. What is drawn for a sample depends on (seed, epoch, position) alone. */
#include "data/dataset.h"

#include <math.h>
#include <string.h>

/* ---- Normalisation ---- */

static float upper_bits(double x) {
    int exponent;
    double m = frexp(x, &exponent);
    return (float)ldexp(rint(m * 65536), exponent - 16);
}

soma_status soma__scaling_init(soma__scaling *s, const soma_dataset *root, const soma_norm_stats *norm) {
    int64_t groups = root->ndim > 0 ? root->shape[0] : 1;
    *s = (soma__scaling){.groups = groups, .inner = root->numel / groups, .identity = norm == NULL};
    if (norm && norm->n != 1 && norm->n != groups)
        return soma_fail(SOMA_ESHAPE, "normalisation has %d means, but samples have %lld %s", norm->n, (long long)groups,
                         root->image ? "channels" : "features");
    float *block = soma__alloc((size_t)groups * 5 * sizeof *block);
    if (!block)
        return SOMA_ENOMEM;
    s->hi = block;
    s->lo = block + groups;
    s->bias = block + 2 * groups;
    s->mean = block + 3 * groups;
    s->std = block + 4 * groups;
    for (int64_t g = 0; g < groups; g++) {
        double mean = norm ? norm->mean[norm->n == 1 ? 0 : g] : 0, std = norm ? norm->std[norm->n == 1 ? 0 : g] : 1;
        if (!(std > 0) || !isfinite(std) || !isfinite(mean)) {
            soma__scaling_free(s);
            return soma_fail(SOMA_EINVAL, "normalisation %lld: mean %g and standard deviation %g; the second must be above 0",
                             (long long)g, mean, std);
        }
        double scale = 1 / (255 * std);
        s->hi[g] = upper_bits(scale);
        s->lo[g] = (float)(scale - (double)s->hi[g]);
        s->bias[g] = norm ? (float)(-mean / std) : 0; /* not -0: 0 pixels stay 0 */
        s->mean[g] = (float)mean;
        s->std[g] = (float)std;
    }
    return SOMA_OK;
}

void soma__scaling_free(soma__scaling *s) {
    soma__free(s->hi);
    *s = (soma__scaling){0};
}

/* In steps of a constant size, which compilers make vectors of. */
static void convert(const uint8_t *restrict in, float *restrict out, int64_t n, float hi, float lo, float bias) {
    enum { STEP = 16 };
    int64_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (int k = 0; k < STEP; k++)
            out[i + k] = (float)in[i + k] * hi + ((float)in[i + k] * lo + bias);
    for (; i < n; i++)
        out[i] = (float)in[i] * hi + ((float)in[i] * lo + bias);
}

static void convert_back(const uint8_t *restrict in, float *restrict out, int64_t n, float hi, float lo, float bias) {
    for (int64_t i = 0; i < n; i++) {
        float v = (float)in[n - 1 - i];
        out[i] = v * hi + (v * lo + bias);
    }
}

static void shift_scale(const float *restrict in, float *restrict out, int64_t n, float mean, float std) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (in[i] - mean) / std;
}

static void shift_scale_back(const float *restrict in, float *restrict out, int64_t n, float mean, float std) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (in[n - 1 - i] - mean) / std;
}

void soma__sample_plain(const soma__sample *in, const soma__scaling *s, float *out) {
    if (in->u8) {
        for (int64_t g = 0; g < s->groups; g++)
            convert(in->u8 + g * s->inner, out + g * s->inner, s->inner, s->hi[g], s->lo[g], s->bias[g]);
        return;
    }
    if (s->identity) {
        memcpy(out, in->f32, (size_t)(s->groups * s->inner) * sizeof *out);
    } else if (s->inner == 1) {
        for (int64_t g = 0; g < s->groups; g++)
            out[g] = (in->f32[g] - s->mean[g]) / s->std[g];
    } else {
        for (int64_t g = 0; g < s->groups; g++)
            shift_scale(in->f32 + g * s->inner, out + g * s->inner, s->inner, s->mean[g], s->std[g]);
    }
}

/* ---- Changes ---- */

/* A rectangle of 2 … 33 % of the area and a ratio of 0.3 … 3.3, as Zhong et al. 2020 have it; ten tries to find one that fits. */
static void draw_erased(soma__random *r, int height, int width, soma__change *c) {
    for (int attempt = 0; attempt < 10; attempt++) {
        double area = (0.02 + 0.31 * soma__random_unit(r)) * height * width;
        double ratio = exp(log(0.3) + (log(3.3) - log(0.3)) * soma__random_unit(r));
        int h = (int)rint(sqrt(area * ratio)), w = (int)rint(sqrt(area / ratio));
        if (h < 1 || w < 1 || h >= height || w >= width)
            continue;
        c->erase_h = h;
        c->erase_w = w;
        c->erase_y = (int)soma__random_below(r, (uint64_t)(height - h) + 1);
        c->erase_x = (int)soma__random_below(r, (uint64_t)(width - w) + 1);
        return;
    }
}

/* A square around a centre anywhere, what of it lies inside. */
static void draw_cut(soma__random *r, int side, int height, int width, soma__change *c) {
    int y = (int)soma__random_below(r, (uint64_t)height) - side / 2, x = (int)soma__random_below(r, (uint64_t)width) - side / 2;
    c->cut_y = SOMA_MAX(y, 0);
    c->cut_x = SOMA_MAX(x, 0);
    c->cut_h = SOMA_MIN(y + side, height) - c->cut_y;
    c->cut_w = SOMA_MIN(x + side, width) - c->cut_x;
}

static int draw_offset(soma__random *r, int most) {
    return most > 0 ? (int)soma__random_below(r, 2 * (uint64_t)most + 1) - most : 0;
}

soma__change soma__augment_draw(const soma__augment *a, int64_t epoch, int64_t position, int height, int width) {
    soma__change c = {0};
    soma__random r = soma__random_new(a->seed, soma__stream(SOMA__STREAM_AUGMENT, (uint64_t)epoch));
    r.next = (uint64_t)position * 128; /* more words than a sample takes: 2 + 8 + 2 + 10 * 8 + 4 */
    c.flip = a->flip && soma__random_unit(&r) < 0.5;
    c.dx = draw_offset(&r, a->shift) + draw_offset(&r, a->crop);
    c.dy = draw_offset(&r, a->shift) + draw_offset(&r, a->crop);
    if (a->erase > 0 && soma__random_unit(&r) < a->erase)
        draw_erased(&r, height, width, &c);
    if (a->cutout > 0)
        draw_cut(&r, a->cutout, height, width, &c);
    return c;
}

static void fill_row(float *out, int64_t n, float value) {
    for (int64_t i = 0; i < n; i++)
        out[i] = value;
}

/* One row: out[x] = in[x + dx], mirrored if asked for, `empty` where that lies outside. */
static void changed_row(const soma__sample *in, int64_t at, const soma__scaling *s, int64_t g, int width, const soma__change *c,
                        float empty, float *out) {
    int begin = SOMA_MIN(SOMA_MAX(0, -c->dx), width), end = SOMA_MAX(begin, SOMA_MIN(width, width - c->dx)), n = end - begin;
    fill_row(out, begin, empty);
    fill_row(out + end, width - end, empty);
    if (n == 0)
        return;
    /* Mirrored, the pixel at x is the one at width-1-x: the same run, read from its other end. */
    int64_t from = at + (c->flip ? width - (end + c->dx) : begin + c->dx);
    if (in->u8 && c->flip)
        convert_back(in->u8 + from, out + begin, n, s->hi[g], s->lo[g], s->bias[g]);
    else if (in->u8)
        convert(in->u8 + from, out + begin, n, s->hi[g], s->lo[g], s->bias[g]);
    else if (c->flip)
        shift_scale_back(in->f32 + from, out + begin, n, s->mean[g], s->std[g]);
    else
        shift_scale(in->f32 + from, out + begin, n, s->mean[g], s->std[g]);
}

void soma__sample_changed(const soma__sample *in, const soma__scaling *s, int height, int width, const soma__change *c,
                          float *out) {
    int64_t area = (int64_t)height * width;
    for (int64_t g = 0; g < s->groups; g++) {
        float empty = in->u8 ? s->bias[g] : (0.0f - s->mean[g]) / s->std[g];
        for (int y = 0; y < height; y++) {
            float *row = out + g * area + (int64_t)y * width;
            int64_t from = (int64_t)y + c->dy;
            if (from < 0 || from >= height)
                fill_row(row, width, empty);
            else
                changed_row(in, g * area + from * width, s, g, width, c, empty, row);
        }
        for (int y = 0; y < c->erase_h; y++) /* 0 after normalisation is the mean */
            fill_row(out + g * area + (int64_t)(c->erase_y + y) * width + c->erase_x, c->erase_w, 0);
        for (int y = 0; y < c->cut_h; y++)
            fill_row(out + g * area + (int64_t)(c->cut_y + y) * width + c->cut_x, c->cut_w, 0);
    }
}
