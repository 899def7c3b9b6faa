/* What the readers and writers of src/io share. Readers take bytes and a name; the name, most often the path, begins each
 * message. Nothing here knows what a file is for. */
#ifndef SOMA_SRC_IO_H
#define SOMA_SRC_IO_H

#include "base/base.h"
#include "io/sha256.h"

#include <soma/io.h>

/* ---- Reading (file.c, gzip.c) ------------------------------------------------------------------------------------- */

/* The limit that soma_read_file takes for 0. */
#define SOMA__FILE_LIMIT ((size_t)8 << 30)

bool soma__is_gzip(const void *data, size_t size);
/* Unpacks gzip, all members of it; at most `limit` bytes. */
soma_status soma__gunzip(const void *data, size_t size, size_t limit, const char *name, soma_bytes *out);

/* ---- Writing atomically (file.c) ---------------------------------------------------------------------------------- */

/* One file that is being written: to a temporary name in the folder of `path`, which is then renamed. The first failure
 * is recorded and remembered, and later calls do nothing, so that only the last result needs a look. A path that is no
 * regular file (a pipe, a terminal, /dev/null) is written to directly. */
typedef struct soma__writer {
    int fd;
    soma_status status;
    char *path;      /* what is replaced in the end; symbolic links are followed */
    char *temporary; /* NULL: direct */
} soma__writer;
soma_status soma__writer_open(soma__writer *w, const char *path);
soma_status soma__writer_put(soma__writer *w, const void *data, size_t size);
/* Syncs, renames and closes when all went well so far; else removes the temporary file. `w` is empty afterwards. */
soma_status soma__writer_close(soma__writer *w);
/* Gives up: removes the temporary file. */
void soma__writer_abort(soma__writer *w);

/* ---- Numbers of either byte order (bytes.c) ----------------------------------------------------------------------- */

static inline uint32_t soma__read_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint16_t soma__read_le16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t soma__read_le32(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}
static inline uint64_t soma__read_le64(const uint8_t *p) {
    return (uint64_t)soma__read_le32(p + 4) << 32 | soma__read_le32(p);
}

/* Bytes that so many elements of `width` bytes take. False when a size is negative, or when a tensor of that shape is
 * impossible because the product of the sizes other than 0 does not fit in 63 bits: [0, 2^40, 2^40] has no elements and
 * no strides. */
bool soma__shape_bytes(int ndim, const int64_t *shape, size_t width, int64_t *bytes);
/* A tensor of the current scope with these row-major elements, which lie in either byte order and at any address. */
soma_tensor *soma__tensor_of_bytes(const void *bytes, soma_dtype dtype, int ndim, const int64_t *shape, bool big_endian);
/* Turns each of n numbers of `width` bytes (1, 2, 4, 8) round. */
void soma__swap_bytes(void *data, size_t n, size_t width);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SOMA__BIG_ENDIAN 1
#else
#define SOMA__BIG_ENDIAN 0
#endif

/* ---- Text from outside (bytes.c) ---------------------------------------------------------------------------------- */

/* The place of the first byte that is not part of valid UTF-8 (RFC 3629); n when all is. */
size_t soma__utf8_check(const void *text, size_t n);
/* At most 40 bytes of `text` for a message, cut with "…", control characters and invalid bytes as '?'. Returns `out`. */
#define SOMA__QUOTE 64
const char *soma__quote(const char *text, size_t n, char out[SOMA__QUOTE]);

#endif
