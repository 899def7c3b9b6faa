/* JPEG through libjpeg(-turbo), decoded as Pillow decodes it: accurate integer DCT, smooth chroma; EXIF orientation is
 * not applied. libjpeg's way out of an error is a jump; see png.c for what follows from that. Its memory comes from
 * malloc, as it offers no other; what the header claims is therefore held against the length of the file before libjpeg
 * takes memory for it. */
#include "io/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
/* after jpeglib.h */
#include <jerror.h>

/* Scans that an image may have before they are counted against its size; a useful progressive file has about ten. */
#define FREE_SCANS 64

typedef struct jpeg_job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands out its address */
    struct jpeg_decompress_struct jpeg;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const char *name;
    size_t size;
    soma_status status;
    char message[JMSG_LENGTH_MAX], warning[JMSG_LENGTH_MAX];
    soma_image *image;
} jpeg_job;

static jpeg_job *job_of(j_common_ptr jpeg) { return (jpeg_job *)(void *)jpeg->err; }

static void give_up(jpeg_job *job, soma_status status, const char *message) {
    job->status = status;
    snprintf(job->message, sizeof job->message, "%s", message);
    longjmp(job->jump, 1);
}

static void on_error(j_common_ptr jpeg) {
    jpeg_job *job = job_of(jpeg);
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY: give_up(job, SOMA_ENOMEM, message); break;
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL: give_up(job, SOMA_EUNSUPPORTED, message); break;
    default: give_up(job, SOMA_EFORMAT, message);
    }
}

/* libjpeg decodes on where the compressed data are damaged in the middle, as Pillow does; the log says so. Rubbish
 * between markers and odd headers lose nothing and are not worth a word. */
static void on_message(j_common_ptr jpeg, int level) {
    jpeg_job *job = job_of(jpeg);
    int code = jpeg->err->msg_code;
    if (level < 0 && job->warning[0] == 0 &&
        (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC ||
         code == JWRN_ARITH_BAD_CODE))
        jpeg->err->format_message(jpeg, job->warning);
}

static void on_output(j_common_ptr jpeg) { (void)jpeg; }
static void on_start(j_decompress_ptr jpeg) { (void)jpeg; }
static void on_end(j_decompress_ptr jpeg) { (void)jpeg; }

/* All bytes are there from the start, so a wish for more is the end of a truncated file. */
static boolean on_fill(j_decompress_ptr jpeg) {
    give_up(job_of((j_common_ptr)jpeg), SOMA_EFORMAT, "the file ends too early");
    return FALSE;
}

static void on_skip(j_decompress_ptr jpeg, long n) {
    struct jpeg_source_mgr *s = jpeg->src;
    if (n <= 0)
        return;
    if ((unsigned long)n > s->bytes_in_buffer)
        on_fill(jpeg);
    s->next_input_byte += n;
    s->bytes_in_buffer -= (size_t)n;
}

/* Each scan of a progressive file goes over the whole picture: many scans of a large one would take hours. */
static void on_progress(j_common_ptr common) {
    j_decompress_ptr jpeg = (j_decompress_ptr)common;
    int64_t pixels = (int64_t)jpeg->image_width * jpeg->image_height;
    if (jpeg->input_scan_number > FREE_SCANS && jpeg->input_scan_number * pixels > ((int64_t)1 << 32))
        give_up(job_of(common), SOMA_EFORMAT, "far too many scans");
}

static int64_t blocks_along(int64_t size, int factor, int largest) {
    return (size * factor + 8 * largest - 1) / (8 * largest);
}

/* Huffman codes are at least one bit long and every block of a component that is there has one. */
static bool long_enough(const jpeg_job *job) {
    const struct jpeg_decompress_struct *jpeg = &job->jpeg;
    int64_t fewest = INT64_MAX;
    for (int i = 0; i < jpeg->num_components; i++) {
        const jpeg_component_info *c = &jpeg->comp_info[i];
        int64_t blocks = blocks_along(jpeg->image_width, c->h_samp_factor, jpeg->max_h_samp_factor) *
                         blocks_along(jpeg->image_height, c->v_samp_factor, jpeg->max_v_samp_factor);
        fewest = SOMA_MIN(fewest, blocks);
    }
    return jpeg->arith_code || fewest / 8 <= (int64_t)job->size;
}

static void read_header(jpeg_job *job, const uint8_t *data) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    jpeg_create_decompress(jpeg);
    job->source = (struct jpeg_source_mgr){.next_input_byte = data,
                                           .bytes_in_buffer = job->size,
                                           .init_source = on_start,
                                           .fill_input_buffer = on_fill,
                                           .skip_input_data = on_skip,
                                           .resync_to_restart = jpeg_resync_to_restart,
                                           .term_source = on_end};
    jpeg->src = &job->source;
    job->progress.progress_monitor = on_progress;
    jpeg->progress = &job->progress;
    jpeg_read_header(jpeg, TRUE);
    int channels = jpeg->num_components;
    if (channels != 1 && channels != 3 && channels != 4)
        give_up(job, SOMA_EUNSUPPORTED, "neither 1, 3 nor 4 components");
    jpeg->out_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    if (!long_enough(job))
        give_up(job, SOMA_EFORMAT, "the file is too short for the size it states");
    job->status = soma__image_new(jpeg->image_width, jpeg->image_height, channels, job->name, job->image);
    if (job->status != SOMA_OK)
        longjmp(job->jump, 1); /* the message is there */
}

static void read_rows(jpeg_job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    size_t row = (size_t)job->image->width * (size_t)job->image->channels;
    jpeg_start_decompress(jpeg);
    if (jpeg->output_width != (JDIMENSION)job->image->width || jpeg->output_height != (JDIMENSION)job->image->height ||
        jpeg->output_components != job->image->channels)
        give_up(job, SOMA_EFORMAT, "the size changes within the file");
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW rows[8];
        JDIMENSION n = SOMA_MIN(jpeg->output_height - jpeg->output_scanline, 8u);
        for (JDIMENSION i = 0; i < n; i++)
            rows[i] = job->image->pixels + (jpeg->output_scanline + i) * row;
        jpeg_read_scanlines(jpeg, rows, n);
    }
    jpeg_finish_decompress(jpeg);
}

static bool try_read(jpeg_job *job, const uint8_t *data) {
    if (setjmp(job->jump) != 0)
        return false;
    read_header(job, data);
    read_rows(job);
    return true;
}

/* Inks to light. Adobe's files store 255 for no ink, others 0. */
static void rgb_of_cmyk(soma_image *image, bool inverted) {
    size_t n = (size_t)image->width * (size_t)image->height;
    const uint8_t *in = image->pixels;
    uint8_t *out = image->pixels, flip = inverted ? 0 : 255;
    for (size_t i = 0; i < n; i++, in += 4, out += 3) {
        unsigned k = in[3] ^ flip;
        for (int c = 0; c < 3; c++)
            out[c] = (uint8_t)(((in[c] ^ flip) * k + 127) / 255);
    }
    image->channels = 3;
}

soma_status soma__jpeg_decode(const uint8_t *data, size_t size, const char *name, soma_image *out) {
    jpeg_job job = {.name = name, .size = size, .image = out, .status = SOMA_OK};
    *out = (soma_image){0};
    job.jpeg.err = jpeg_std_error(&job.errors);
    job.errors.error_exit = on_error;
    job.errors.emit_message = on_message;
    job.errors.output_message = on_output;
    bool done = try_read(&job, data);
    if (done && out->channels == 4)
        rgb_of_cmyk(out, job.jpeg.saw_Adobe_marker);
    jpeg_destroy_decompress(&job.jpeg);
    if (done && job.warning[0] != 0)
        soma__log(SOMA_LOG_WARNING, "%s: %s; decoded as far as possible", name, job.warning);
    if (done)
        return SOMA_OK;
    soma_image_free(out);
    if (job.message[0] == 0)
        return job.status;
    if (job.status == SOMA_EUNSUPPORTED)
        return soma_fail(job.status, "%s: a kind of JPEG that this build cannot read: %s", name, job.message);
    if (job.status == SOMA_ENOMEM)
        return soma_fail(job.status, "%s: no memory to decode the JPEG", name);
    return soma_fail(job.status, "%s: damaged JPEG: %s", name, job.message);
}
