/* IDX, the format of MNIST (Y. LeCun, C. Cortes, C. Burges): two zero bytes, the type, the number of dimensions, the
 * sizes as 32-bit big-endian numbers, the elements, big-endian, row-major. Nothing may follow. */
#include "io/io.h"

#include <string.h>

static bool idx_dtype(uint8_t code, soma_dtype *out) {
    static const struct {
        uint8_t code;
        soma_dtype dtype;
    } types[] = {
        {0x08, SOMA_U8}, {0x09, SOMA_I8}, {0x0B, SOMA_I16}, {0x0C, SOMA_I32}, {0x0D, SOMA_F32}, {0x0E, SOMA_F64},
    };
    for (size_t i = 0; i < SOMA_LEN(types); i++)
        if (types[i].code == code) {
            *out = types[i].dtype;
            return true;
        }
    return false;
}

static void release(void *block) { soma__free(block); }

/* A tensor of single bytes, over the block that they lie in behind `head` bytes, which it takes. */
static soma_tensor *take_bytes(soma_bytes *own, size_t head, soma_dtype dtype, int ndim, const int64_t *shape) {
    memmove(own->data, own->data + head, own->size - head);
    soma_tensor *t = soma_from_memory(own->data, ndim, shape, NULL, dtype, release, own->data);
    if (t)
        *own = (soma_bytes){0};
    return t;
}

/* `own`: p's block, which the tensor may take instead of a copy; NULL: it is the caller's. */
static soma_tensor *parse(const uint8_t *p, size_t size, const char *name, soma_bytes *own) {
    soma_dtype dtype = SOMA_U8;
    if (size < 4)
        return soma_fail(SOMA_EFORMAT, "%s: %zu bytes, too few for an IDX file", name, size), NULL;
    if (p[0] != 0 || p[1] != 0 || !idx_dtype(p[2], &dtype))
        return soma_fail(
                   SOMA_EFORMAT,
                   "%s: not an IDX file: it begins with %02x %02x %02x, and 00 00 and a type (08, 09, 0b … 0e) were "
                   "expected",
                   name, p[0], p[1], p[2]),
               NULL;
    int ndim = p[3];
    if (ndim < 1 || ndim > SOMA_MAX_DIMS)
        return soma_fail(SOMA_EFORMAT, "%s: %d dimensions; 1 to %d are possible", name, ndim, SOMA_MAX_DIMS), NULL;
    size_t head = 4 + 4 * (size_t)ndim;
    if (size < head)
        return soma_fail(SOMA_EFORMAT, "%s: ends in the middle of its %d sizes", name, ndim), NULL;
    int64_t shape[SOMA_MAX_DIMS], bytes;
    char text[SOMA__SHAPE_TEXT];
    for (int i = 0; i < ndim; i++)
        shape[i] = soma__read_be32(p + 4 + 4 * i);
    bool fits = soma__shape_bytes(ndim, shape, soma_dtype_size(dtype), &bytes);
    if (!fits || (uint64_t)bytes != size - head)
        return soma_fail(SOMA_EFORMAT, "%s: %s: the header says %s of %s, and %zu bytes follow", name,
                         !fits || (uint64_t)bytes > size - head ? "truncated" : "too long",
                         soma__shape_text(ndim, shape, text, sizeof text), soma_dtype_name(dtype), size - head),
               NULL;
    return own && bytes > 0 && soma_dtype_size(dtype) == 1 ? take_bytes(own, head, dtype, ndim, shape)
                                                           : soma__tensor_of_bytes(p + head, dtype, ndim, shape, true);
}

soma_tensor *soma_idx_parse(const void *data, size_t size, const char *name) {
    if ((data == NULL && size > 0) || name == NULL)
        return soma_fail(SOMA_EINVAL, "soma_idx_parse: no data or no name"), NULL;
    if (!soma__is_gzip(data, size))
        return parse(data, size, name, NULL);
    soma_bytes plain;
    if (soma__gunzip(data, size, SOMA__FILE_LIMIT, name, &plain) != SOMA_OK)
        return NULL;
    soma_tensor *t = parse(plain.data, plain.size, name, &plain);
    soma_bytes_free(&plain);
    return t;
}

soma_tensor *soma_idx_read(const char *path) {
    soma_bytes bytes;
    if (soma_read_file(path, true, 0, &bytes) != SOMA_OK)
        return NULL;
    soma_tensor *t = parse(bytes.data, bytes.size, path, &bytes);
    soma_bytes_free(&bytes);
    return t;
}
