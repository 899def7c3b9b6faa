/* Resizing: each output pixel is a weighted mean of input pixels under a triangle around its centre, first along rows,
 * then along columns.
 *
 * The centre of output pixel i lies at (i + 1/2) * scale - 1/2 in input pixels, scale = in / out, as PyTorch with
 * align_corners=False. The triangle is max(scale, 1) wide on each side: enlarging this is bilinear interpolation;
 * shrinking it takes all pixels into account, as PyTorch with antialias=True and Pillow do. All arithmetic is in whole
 * numbers, so every machine gives the same pixels. */
#include "io/image.h"

#include <math.h>
#include <string.h>

#define WEIGHT_BITS 16 /* weights add up to exactly 1 << 16 */
#define MIDDLE_BITS                                                                                                      \
    7 /* fraction of the samples between the two passes: 255 << 7 fits in 16 bits, and times 1 << 16 in 32 */

/* For one direction: output i takes `count[i]` inputs from `first[i]` on, with weights at weight[i * taps]. */
typedef struct filter {
    int taps;
    int *first, *count;
    uint32_t *weight;
} filter;

static void filter_free(filter *f) {
    soma__free(f->first);
    soma__free(f->count);
    soma__free(f->weight);
    *f = (filter){0};
}

static soma_status filter_new(filter *f, int in, int out) {
    double scale = (double)in / out, reach = scale > 1 ? scale : 1;
    *f = (filter){.taps = (int)ceil(reach) * 2 + 1};
    f->first = soma__alloc((size_t)out * sizeof *f->first);
    f->count = soma__alloc((size_t)out * sizeof *f->count);
    f->weight = soma__alloc((size_t)out * (size_t)f->taps * sizeof *f->weight);
    if (f->first == NULL || f->count == NULL || f->weight == NULL) {
        filter_free(f);
        return SOMA_ENOMEM;
    }
    for (int i = 0; i < out; i++) {
        double centre = (i + 0.5) * scale - 0.5, total = 0, sum = 0;
        int first = (int)floor(centre - reach) + 1, last = (int)ceil(centre + reach) - 1;
        first = SOMA_MAX(first, 0);
        last = SOMA_MIN(SOMA_MIN(last, in - 1), first + f->taps - 1);
        for (int k = first; k <= last; k++)
            total += 1 - fabs(k - centre) / reach;
        uint32_t before = 0, *w = f->weight + (size_t)i * (size_t)f->taps;
        for (int k = first; k <= last; k++) { /* the running sum is rounded, so that errors do not add up */
            sum += 1 - fabs(k - centre) / reach;
            uint32_t now = k == last ? 1u << WEIGHT_BITS : (uint32_t)(sum / total * (1 << WEIGHT_BITS) + 0.5);
            w[k - first] = now - before;
            before = now;
        }
        f->first[i] = first;
        f->count[i] = last - first + 1;
    }
    return SOMA_OK;
}

static void along_rows(const filter *f, const soma_image *in, int out_width, uint16_t *middle) {
    int channels = in->channels;
    for (int y = 0; y < in->height; y++) {
        const uint8_t *row = in->pixels + (size_t)y * (size_t)in->width * (size_t)channels;
        for (int x = 0; x < out_width; x++) {
            const uint32_t *w = f->weight + (size_t)x * (size_t)f->taps;
            const uint8_t *p = row + (size_t)f->first[x] * (size_t)channels;
            for (int c = 0; c < channels; c++) {
                uint32_t sum = 1u << (WEIGHT_BITS - MIDDLE_BITS - 1);
                for (int k = 0; k < f->count[x]; k++)
                    sum += w[k] * p[k * channels + c];
                *middle++ = (uint16_t)(sum >> (WEIGHT_BITS - MIDDLE_BITS));
            }
        }
    }
}

static void along_columns(const filter *f, const uint16_t *middle, uint32_t *sums, soma_image *out) {
    size_t row = (size_t)out->width * (size_t)out->channels;
    for (int y = 0; y < out->height; y++) {
        const uint32_t *w = f->weight + (size_t)y * (size_t)f->taps;
        for (size_t x = 0; x < row; x++)
            sums[x] = 1u << (WEIGHT_BITS + MIDDLE_BITS - 1);
        for (int k = 0; k < f->count[y]; k++) {
            const uint16_t *p = middle + (size_t)(f->first[y] + k) * row;
            for (size_t x = 0; x < row; x++)
                sums[x] += w[k] * p[x];
        }
        uint8_t *to = out->pixels + (size_t)y * row;
        for (size_t x = 0; x < row; x++)
            to[x] = (uint8_t)(sums[x] >> (WEIGHT_BITS + MIDDLE_BITS));
    }
}

soma_status soma_image_resize(const soma_image *in, int width, int height, soma_image *out) {
    if (in == NULL || in->pixels == NULL || out == NULL || in->width < 1 || in->height < 1 || in->channels < 1 ||
        in->channels > 4)
        return soma_fail(SOMA_EINVAL, "soma_image_resize: no image, or no place for the new one");
    *out = (soma_image){0};
    if (width < 1 || height < 1 || width > SOMA__IMAGE_SIDE || height > SOMA__IMAGE_SIDE)
        return soma_fail(SOMA_EINVAL, "soma_image_resize: to %d x %d pixels; 1 to %d a side are possible", width, height,
                         SOMA__IMAGE_SIDE);
    soma_image made;
    soma_status status = soma__image_new(width, height, in->channels, "soma_image_resize", &made);
    if (status != SOMA_OK)
        return status;
    if (width == in->width && height == in->height) {
        memcpy(made.pixels, in->pixels, (size_t)width * (size_t)height * (size_t)in->channels);
        *out = made;
        return SOMA_OK;
    }
    filter across = {0}, down = {0};
    size_t row = (size_t)width * (size_t)in->channels;
    uint16_t *middle = soma__alloc(row * (size_t)in->height * sizeof *middle);
    uint32_t *sums = soma__alloc(row * sizeof *sums);
    status = middle != NULL && sums != NULL ? filter_new(&across, in->width, width) : SOMA_ENOMEM;
    if (status == SOMA_OK)
        status = filter_new(&down, in->height, height);
    if (status == SOMA_OK) {
        along_rows(&across, in, width, middle);
        along_columns(&down, middle, sums, &made);
        *out = made;
    } else {
        soma_image_free(&made);
    }
    filter_free(&across);
    filter_free(&down);
    soma__free(middle);
    soma__free(sums);
    return status;
}
