/* PNG through libpng. libpng reports errors by a jump, and what a function changed before a jump is lost unless it is in
 * memory: so all that outlives one lies in a struct of the caller, and the functions that call setjmp look at nothing of
 * their own after a jump. */
#include "io/image.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

typedef struct png_job {
    jmp_buf jump;
    png_structp png;
    png_infop info;
    const char *name;
    bool no_memory;
    soma_status status; /* of what failed outside libpng and has its message */
    char message[160];
    const uint8_t *data; /* reading */
    size_t size, at;
    soma_image *image;
    soma__text *text; /* writing */
} png_job;

static void on_error(png_structp png, png_const_charp message) {
    png_job *job = png_get_error_ptr(png);
    snprintf(job->message, sizeof job->message, "%s", message);
    longjmp(job->jump, 1);
}

static void on_warning(png_structp png, png_const_charp message) { (void)png, (void)message; }

static png_voidp on_alloc(png_structp png, png_alloc_size_t size) {
    png_job *job = png_get_mem_ptr(png);
    void *block = soma__alloc(size);
    job->no_memory = job->no_memory || block == NULL;
    return block;
}

static void on_free(png_structp png, png_voidp block) {
    (void)png;
    soma__free(block);
}

/* What a failed job comes to. libpng goes on without some blocks that it cannot have; for us that is an error as well. */
static soma_status job_status(const png_job *job, bool done) {
    if (job->no_memory)
        return SOMA_ENOMEM;
    if (done || job->status != SOMA_OK)
        return job->status;
    return soma_fail(SOMA_EFORMAT, "%s: damaged PNG: %s", job->name, job->message);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

static void on_read(png_structp png, png_bytep out, size_t n) {
    png_job *job = png_get_io_ptr(png);
    if (n > job->size - job->at)
        png_error(png, "the file ends too early");
    memcpy(out, job->data + job->at, n);
    job->at += n;
}

/* 8-bit samples, palette and transparency applied; 16 bits lose their low byte. Colour corrections (gamma, profiles) are
 * not applied, as in Pillow: those chunks are skipped. */
static void read_header(png_job *job) {
    png_set_read_fn(job->png, job, on_read);
    png_set_user_limits(job->png, SOMA__IMAGE_SIDE, SOMA__IMAGE_SIDE);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    png_set_crc_action(job->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE); /* made-up data must get past the checksums */
#else
    png_set_crc_action(job->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
#endif
    png_set_keep_unknown_chunks(job->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(job->png, job->info);
    /* deflate packs at most 1032 to 1: so many rows cannot come from so few bytes */
    uint64_t rows = png_get_image_height(job->png, job->info);
    if (rows * (png_get_rowbytes(job->png, job->info) + 1) / 1032 > job->size)
        png_error(job->png, "the file is too short for the size it states");
    png_set_expand(job->png);
    png_set_strip_16(job->png);
}

static void read_rows(png_job *job) {
    int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    uint32_t width = png_get_image_width(job->png, job->info), height = png_get_image_height(job->png, job->info);
    int channels = png_get_channels(job->png, job->info);
    size_t row = (size_t)width * (size_t)channels;
    if (png_get_bit_depth(job->png, job->info) != 8 || png_get_rowbytes(job->png, job->info) != row)
        png_error(job->png, "unexpected sample size");
    job->status = soma__image_new(width, height, channels, job->name, job->image);
    if (job->status != SOMA_OK)
        longjmp(job->jump, 1);
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++)
            png_read_row(job->png, job->image->pixels + y * row, NULL);
    png_read_end(job->png, NULL);
}

static bool try_read(png_job *job) {
    if (setjmp(job->jump) != 0)
        return false;
    read_header(job);
    read_rows(job);
    return true;
}

static bool try_create(png_job *job, bool reading) {
    if (setjmp(job->jump) != 0)
        return false;
    if (reading)
        job->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, job, on_error, on_warning, job, on_alloc, on_free);
    else
        job->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, job, on_error, on_warning, job, on_alloc, on_free);
    if (job->png != NULL)
        job->info = png_create_info_struct(job->png);
    if (job->info == NULL)
        snprintf(job->message, sizeof job->message, "libpng does not start");
    return job->info != NULL;
}

soma_status soma__png_decode(const uint8_t *data, size_t size, const char *name, soma_image *out) {
    png_job job = {.name = name, .data = data, .size = size, .image = out};
    *out = (soma_image){0};
    bool done = try_create(&job, true) && try_read(&job);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    soma_status status = job_status(&job, done);
    if (status != SOMA_OK)
        soma_image_free(out);
    return status;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static void on_write(png_structp png, png_bytep bytes, size_t n) {
    png_job *job = png_get_io_ptr(png);
    soma__text_put(job->text, (const char *)bytes, n);
    if (job->text->failed) {
        job->no_memory = true;
        png_error(png, "no memory");
    }
}

static void on_flush(png_structp png) { (void)png; }

static bool try_write(png_job *job) {
    static const int types[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    if (setjmp(job->jump) != 0)
        return false;
    const soma_image *image = job->image;
    size_t row = (size_t)image->width * (size_t)image->channels;
    png_set_write_fn(job->png, job, on_write, on_flush);
    png_set_user_limits(job->png, SOMA__IMAGE_SIDE, SOMA__IMAGE_SIDE);
    png_set_IHDR(job->png, job->info, (uint32_t)image->width, (uint32_t)image->height, 8, types[image->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(job->png, job->info);
    for (int y = 0; y < image->height; y++)
        png_write_row(job->png, image->pixels + (size_t)y * row);
    png_write_end(job->png, NULL);
    return true;
}

soma_status soma__png_encode(const soma_image *image, const char *name, soma__text *out) {
    soma_image copy = *image;
    png_job job = {.name = name, .image = &copy, .text = out};
    bool done = try_create(&job, false) && try_write(&job);
    png_destroy_write_struct(&job.png, &job.info);
    if (!done && !job.no_memory)
        return soma_fail(SOMA_EINVAL, "%s: cannot be written as PNG: %s", name, job.message);
    return job_status(&job, done);
}
