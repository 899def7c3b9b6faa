/* soma: files. Readers take bytes or a path; sizes are checked before memory is asked for; a damaged file is
 * SOMA_EFORMAT and a message that names the file and the place. Every write goes to a temporary name, is synced and
 * renamed, so a file is whole or as it was. All results must be checked. */
#ifndef SOMA_IO_H
#define SOMA_IO_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Whole files -------------------------------------------------------------------------------------------------- */

/* Reads a file; .gz contents (known by their first bytes) are unpacked when `gunzip`. More than `limit` bytes (0: 8 GiB)
 * is an error. Free the bytes with soma_bytes_free. A 0 that does not count stands behind them, so text can be used as a
 * string. */
typedef struct soma_bytes {
    uint8_t *data;
    size_t size;
} soma_bytes;
SOMA_API SOMA_MUST_CHECK soma_status soma_read_file(const char *path, bool gunzip, size_t limit, soma_bytes *out);
SOMA_API void soma_bytes_free(soma_bytes *b);
/* Writes atomically: temporary name beside `path`, fsync, rename, fsync of the folder. Symbolic links are followed and
 * the old file's permissions kept; a pipe or device is written to directly. When it fails (disk full, folder not
 * writable: SOMA_EIO) the old file is as it was and nothing is left beside it. */
SOMA_API SOMA_MUST_CHECK soma_status soma_write_file(const char *path, const void *data, size_t size);
/* The SHA-256 (FIPS 180-4) of `size` bytes as 64 hexadecimal digits and a final 0. */
SOMA_API void soma_sha256(const void *data, size_t size, char hex[65]);

/* ---- safetensors -------------------------------------------------------------------------------------------------- */

typedef struct soma_tensor_file soma_tensor_file;
SOMA_API soma_tensor_file *soma_safetensors_read(const char *path);
/* `name` is used in messages; the bytes are copied from. */
SOMA_API soma_tensor_file *soma_safetensors_parse(const void *data, size_t size, const char *name);
SOMA_API void soma_safetensors_free(soma_tensor_file *f);
SOMA_API int soma_safetensors_count(const soma_tensor_file *f);
SOMA_API const char *soma_safetensors_name(const soma_tensor_file *f, int i);
/* A tensor of the current scope; NULL and SOMA_ENOTFOUND when there is no such name. */
SOMA_API soma_tensor *soma_safetensors_get(soma_tensor_file *f, const char *name);
SOMA_API const char *soma_safetensors_meta(const soma_tensor_file *f, const char *key); /* NULL when absent; no error */
typedef struct soma_pair {
    const char *key, *value;
} soma_pair;
/* Tensors in the order given, the first at a multiple of 64 bytes (the format allows no gaps between them); `meta` goes
 * to __metadata__. With `checksum`, the SHA-256 of the tensor bytes is stored there ("soma.sha256") and checked by the
 * readers above. */
SOMA_API SOMA_MUST_CHECK soma_status soma_safetensors_write(const char *path, const char *const *names,
                                                            soma_tensor *const *tensors, int n, const soma_pair *meta,
                                                            int n_meta, bool checksum);

/* ---- NumPy -------------------------------------------------------------------------------------------------------- */

/* Format versions 1 to 3, either byte order, C or Fortran order, .gz or not; dtypes that soma does not have (unsigned but
 * u8, complex, text, objects, named fields) are SOMA_EUNSUPPORTED. Written are version 1 and C order; bf16, which NumPy
 * does not have, as f32. */
SOMA_API soma_tensor *soma_npy_read(const char *path);
SOMA_API soma_tensor *soma_npy_parse(const void *data, size_t size, const char *name);
SOMA_API SOMA_MUST_CHECK soma_status soma_npy_write(const char *path, soma_tensor *t);

/* ---- IDX ---------------------------------------------------------------------------------------------------------- */

/* Any IDX type and number of dimensions up to 8, .gz or not; u8 stays u8, and so on (big-endian values are turned round). */
SOMA_API soma_tensor *soma_idx_read(const char *path);
SOMA_API soma_tensor *soma_idx_parse(const void *data, size_t size, const char *name);

/* ---- CSV (RFC 4180; quotes, CRLF, a byte-order mark; UTF-8) ------------------------------------------------------- */

typedef struct soma_csv soma_csv;
/* The first row is the header. Ragged rows are an error that names the line; blank lines are skipped (an empty cell of a
 * table with one column is written ""). .gz or not. */
SOMA_API soma_csv *soma_csv_read(const char *path);
SOMA_API soma_csv *soma_csv_parse(const void *data, size_t size, const char *name);
SOMA_API void soma_csv_free(soma_csv *c);
SOMA_API int64_t soma_csv_rows(const soma_csv *c); /* without the header */
SOMA_API int soma_csv_columns(const soma_csv *c);
SOMA_API const char *soma_csv_header(const soma_csv *c, int column);
SOMA_API int soma_csv_find(const soma_csv *c, const char *header); /* -1 when absent; no error */
SOMA_API const char *soma_csv_cell(const soma_csv *c, int64_t row, int column);
SOMA_API int64_t soma_csv_line(const soma_csv *c, int64_t row); /* in the file, from 1 */
/* The cell as a finite number, with a decimal point in every locale; SOMA_EFORMAT with file, line, column and text when
 * it is none. */
SOMA_API SOMA_MUST_CHECK soma_status soma_csv_number(const soma_csv *c, int64_t row, int column, double *out);

/* ---- Images ------------------------------------------------------------------------------------------------------- */

/* 8-bit pixels, row by row, channels together: [height][width][channels]. */
typedef struct soma_image {
    int width, height, channels;
    uint8_t *pixels;
} soma_image;
/* PNG or JPEG, told by the bytes and not by the name. channels 1: grey (of colour: Rec. 601 luma, as Pillow), 3: RGB, 4:
 * RGBA, 0: 1 or 3 as the file is. Transparency is laid on black when channels < 4. 16-bit samples keep their high byte.
 * As in Pillow and PyTorch's loaders, EXIF orientation, gamma and colour profiles are not applied. CMYK becomes RGB
 * without a profile. A truncated file is SOMA_EFORMAT; so is a checksum that is wrong. JPEG data damaged in the middle
 * are decoded on, with a warning in the log. At most 65,535 pixels a side (JPEG: 65,500) and 2^28 in all. Other kinds of
 * image are SOMA_EFORMAT and named in the message. */
SOMA_API SOMA_MUST_CHECK soma_status soma_image_read(const char *path, int channels, soma_image *out);
SOMA_API SOMA_MUST_CHECK soma_status soma_image_parse(const void *data, size_t size, int channels, const char *name,
                                                      soma_image *out);
/* 8-bit, not interlaced; channels 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
SOMA_API SOMA_MUST_CHECK soma_status soma_image_write_png(const char *path, const soma_image *image);
/* Bilinear with the pixel centres of PyTorch's align_corners=False, and antialias=True when shrinking (Pillow's
 * BILINEAR). The same pixels on every machine. */
SOMA_API SOMA_MUST_CHECK soma_status soma_image_resize(const soma_image *in, int width, int height, soma_image *out);
SOMA_API void soma_image_free(soma_image *image);

#ifdef __cplusplus
}
#endif
#endif
