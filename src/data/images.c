/* Images: decoding lists of files, in parallel when the set opens or one by one when they are wanted, and giving images from
 * memory the channels and size that were asked for. Stored as bytes [N, C, H, W]: a quarter of the memory of floats, and the
 * loader turns them into floats faster than it could fetch those. */
#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

/* [H][W][C] to [C][H][W]. */
static void planes(const soma_image *image, uint8_t *out) {
    int64_t area = (int64_t)image->height * image->width;
    int c = image->channels;
    if (c == 1) {
        memcpy(out, image->pixels, (size_t)area);
        return;
    }
    for (int k = 0; k < c; k++)
        for (int64_t i = 0; i < area; i++)
            out[k * area + i] = image->pixels[i * c + k];
}

/* Takes `image` to the wanted size; `image` may be replaced. */
static soma_status fit_size(soma_image *image, int height, int width) {
    if (image->height == height && image->width == width)
        return SOMA_OK;
    soma_image resized = {0};
    soma_status status = soma_image_resize(image, width, height, &resized);
    if (status != SOMA_OK)
        return status;
    soma_image_free(image);
    *image = resized;
    return SOMA_OK;
}

static soma_status wrong_size(const soma_dataset *d, const char *path, int height, int width) {
    return soma_fail(SOMA_ESHAPE,
                     "%s: %d x %d pixels (height x width), but the first image of the set has %lld x %lld; "
                     "give a height and a width to bring all to one size",
                     path, height, width, (long long)d->shape[1], (long long)d->shape[2]);
}

/* Decodes file i to d's shape. A size that differs is SOMA_ESHAPE unless a size was asked for. */
static soma_status decode(const soma_dataset *d, int64_t i, uint8_t *out) {
    const char *path = soma__strings_at(&d->files, i);
    soma_image image = {0};
    soma_status status = soma_image_read(path, (int)d->shape[0], &image);
    if (status != SOMA_OK)
        return status;
    if (d->want.height > 0)
        status = fit_size(&image, (int)d->shape[1], (int)d->shape[2]);
    else if (image.height != d->shape[1] || image.width != d->shape[2])
        status = wrong_size(d, path, image.height, image.width);
    if (status == SOMA_OK)
        planes(&image, out);
    soma_image_free(&image);
    return status;
}

static soma_status files_read(const soma_dataset *d, int64_t i, void *scratch, soma__sample *out) {
    *out = (soma__sample){.u8 = scratch};
    return decode(d, i, scratch);
}

const soma__data_kind soma__data_files = {"files", files_read};

/* ---- Opening ---- */

typedef struct job {
    soma_dataset *d;
    uint8_t *pixels;
    atomic_bool other_size;
} job;

static soma_status decode_item(void *arg, int64_t i, void *scratch) {
    (void)scratch;
    job *j = arg;
    soma_status status = decode(j->d, i, j->pixels + i * j->d->numel);
    if (status == SOMA_ESHAPE)
        atomic_store(&j->other_size, true);
    return status;
}

static soma_status check_item(void *arg, int64_t i, void *scratch) {
    (void)scratch;
    job *j = arg;
    int height, width;
    const char *path = soma__strings_at(&j->d->files, i);
    soma_status status = soma__image_header(path, &height, &width);
    if (status == SOMA_OK && j->d->want.height == 0 && (height != j->d->shape[1] || width != j->d->shape[2])) {
        atomic_store(&j->other_size, true);
        return wrong_size(j->d, path, height, width);
    }
    return status;
}

/* The shape of all from the first readable image. Each one before it is reported again, in order, by the pass over all. */
static soma_status first_shape(soma_dataset *d, const soma_data_opts *opts) {
    for (int64_t i = 0; i < d->files.n; i++) {
        soma_image image = {0};
        soma_status status = soma_image_read(soma__strings_at(&d->files, i), d->want.channels, &image);
        if (status == SOMA_OK) {
            soma__dataset_shape(d, 3,
                                (int64_t[]){image.channels, d->want.height ? d->want.height : image.height,
                                            d->want.width ? d->want.width : image.width});
            soma_image_free(&image);
            return SOMA_OK;
        }
        if (!opts->skip_bad || status == SOMA_ENOMEM)
            return status;
        if (i + 1 == d->files.n)
            return status;
        soma__error_drop();
    }
    return soma_fail(SOMA_EINVAL, "no images");
}

static soma_status check_want(soma__image_want *want, const soma_data_opts *opts) {
    *want = (soma__image_want){opts->channels, opts->height, opts->width};
    if (want->channels != 0 && want->channels != 1 && want->channels != 3)
        return soma_fail(SOMA_EINVAL, "images have 1 (grey) or 3 (RGB) channels, not %d", want->channels);
    if (want->height < 0 || want->width < 0 || (want->height == 0) != (want->width == 0) || want->height > 65535 ||
        want->width > 65535)
        return soma_fail(SOMA_EINVAL, "images are resized to a height and a width of 1 … 65535, not %d x %d", want->height,
                         want->width);
    return SOMA_OK;
}

static soma_status run_all(soma_dataset *d, job *j, soma__work_fn fn, const soma_data_opts *opts) {
    int64_t n = d->files.n;
    uint8_t *bad = soma__calloc((size_t)n, 1);
    if (!bad)
        return SOMA_ENOMEM;
    soma_status status = soma__work(n, 16, fn, j, opts->skip_bad ? d : NULL, bad);
    if (status == SOMA_OK && atomic_load(&j->other_size)) {
        /* A different size is no damage: leaving such images out could silently leave most of a set out. */
        for (int64_t i = 0; i < n && status != SOMA_ESHAPE; i++) {
            if (status != SOMA_OK)
                soma__error_drop();
            status = bad[i] ? fn(j, i, NULL) : SOMA_OK;
        }
    } else if (status == SOMA_OK && memchr(bad, 1, (size_t)n)) {
        soma__dataset_drop(d, bad);
    }
    soma__free(bad);
    return status;
}

soma_status soma__images_load(soma_dataset *d, const soma_data_opts *opts) {
    soma_status status = check_want(&d->want, opts);
    d->image = true;
    d->count = d->files.n;
    d->skip_bad = opts->skip_bad;
    if (status == SOMA_OK)
        status = first_shape(d, opts);
    if (status != SOMA_OK)
        return status;
    int64_t bytes;
    bool fits = soma__mul_ok(d->numel, d->files.n, &bytes) && bytes <= soma__data_in_memory;
    job j = {.d = d};
    atomic_init(&j.other_size, false);
    if (fits) {
        d->block = j.pixels = soma__alloc((size_t)bytes);
        if (!j.pixels)
            return SOMA_ENOMEM;
        d->pixels = j.pixels;
        d->kind = &soma__data_memory;
        status = run_all(d, &j, decode_item, opts);
        soma__strings_free(&d->files);
        return status;
    }
    d->kind = &soma__data_files;
    status = run_all(d, &j, check_item, opts);
    if (status == SOMA_OK && !(d->bad = soma__calloc((size_t)d->count, sizeof *d->bad)))
        status = SOMA_ENOMEM;
    return status;
}

/* ---- Images from memory ---- */

/* 3 channels to 1 by Rec. 601 luma as the decoders have it; 1 to 3 by repeating. */
static void convert_channels(const uint8_t *in, int c, int64_t area, int wanted, uint8_t *interleaved) {
    for (int64_t i = 0; i < area; i++) {
        if (wanted == 1 && c == 3)
            interleaved[i] = (uint8_t)((in[i] * 19595u + in[area + i] * 38470u + in[2 * area + i] * 7471u + 0x8000u) >> 16);
        else
            for (int k = 0; k < wanted; k++)
                interleaved[i * wanted + k] = in[(c == 1 ? 0 : k) * area + i];
    }
}

static soma_status convert_one(const uint8_t *in, int c, int h, int w, soma_dataset *d, uint8_t *out) {
    int wanted = (int)d->shape[0];
    soma_image image = {.width = w, .height = h, .channels = wanted};
    image.pixels = soma__alloc((size_t)h * (size_t)w * (size_t)wanted);
    if (!image.pixels)
        return SOMA_ENOMEM;
    convert_channels(in, c, (int64_t)h * w, wanted, image.pixels);
    soma_status status = fit_size(&image, (int)d->shape[1], (int)d->shape[2]);
    if (status == SOMA_OK)
        planes(&image, out);
    soma_image_free(&image);
    return status;
}

soma_status soma__images_take(soma_dataset *d, const uint8_t *pixels, int64_t n, int c, int h, int w,
                              const soma_data_opts *opts, soma_tensor *holder) {
    soma_status status = check_want(&d->want, opts);
    if (status != SOMA_OK)
        return status;
    int wanted = d->want.channels ? d->want.channels : c;
    if (wanted != c && !(c == 1 && wanted == 3) && !(c == 3 && wanted == 1))
        return soma_fail(SOMA_EINVAL, "images of %d channels cannot be turned into %d", c, wanted);
    d->image = true;
    d->count = n;
    soma__dataset_shape(d, 3, (int64_t[]){wanted, d->want.height ? d->want.height : h, d->want.width ? d->want.width : w});
    bool same = wanted == c && d->shape[1] == h && d->shape[2] == w;
    if (same && holder) {
        d->keep_x = soma_keep(holder);
        d->pixels = pixels;
        return SOMA_OK;
    }
    int64_t bytes;
    if (!soma__mul_ok(n, d->numel, &bytes))
        return soma_fail(SOMA_ENOMEM, "%lld images of %lld bytes do not fit in memory", (long long)n, (long long)d->numel);
    soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
    uint8_t *block = soma__alloc((size_t)bytes);
    soma__owner_set(was);
    if (!block)
        return SOMA_ENOMEM;
    d->block = block;
    d->pixels = block;
    if (same) {
        memcpy(block, pixels, (size_t)bytes);
        return SOMA_OK;
    }
    for (int64_t i = 0; i < n && status == SOMA_OK; i++)
        status = convert_one(pixels + i * c * h * w, c, h, w, d, block + i * d->numel);
    return status;
}
