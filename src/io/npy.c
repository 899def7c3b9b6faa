/* NumPy's .npy (format versions 1 to 3, numpy.lib.format): a magic, a header that is a Python dictionary with the keys
 * descr, fortran_order and shape, and the elements. The dictionary is read by a parser for just that; arrays of Python
 * objects, which need the execution of code, are refused. */
#include "io/io.h"

#include <stdio.h>
#include <string.h>

/* ---- The header --------------------------------------------------------------------------------------------------- */

typedef struct npy_header {
    soma_dtype dtype;
    bool big_endian, fortran;
    int ndim;
    int64_t shape[SOMA_MAX_DIMS];
} npy_header;

typedef struct cursor {
    const char *p, *end, *start;
    const char *name;
} cursor;

static soma_status unexpected(const cursor *c, const char *expected) {
    return soma_fail(SOMA_EFORMAT, "%s: damaged .npy header: %s expected at character %td", c->name, expected,
                     c->p - c->start + 1);
}

static void skip_blanks(cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

static bool take(cursor *c, char wanted) {
    skip_blanks(c);
    if (c->p == c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

static bool take_word(cursor *c, const char *word) {
    size_t n = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* A string in single or double quotes without escapes, which NumPy never writes here. */
static soma_status take_string(cursor *c, const char **text, size_t *n) {
    skip_blanks(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
        return unexpected(c, "a quoted text was");
    char quote = *c->p++;
    const char *close = memchr(c->p, quote, (size_t)(c->end - c->p));
    if (close == NULL)
        return unexpected(c, "a closing quote was");
    *text = c->p;
    *n = (size_t)(close - c->p);
    c->p = close + 1;
    return SOMA_OK;
}

static soma_status take_shape(cursor *c, npy_header *h) {
    if (!take(c, '('))
        return unexpected(c, "the shape, a tuple, was");
    h->ndim = 0;
    while (!take(c, ')')) {
        int64_t v = 0;
        const char *from = c->p;
        for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
            if (!soma__mul_ok(v, 10, &v) || !soma__add_ok(v, *c->p - '0', &v))
                return unexpected(c, "a smaller size was");
        if (c->p == from)
            return unexpected(c, "a size was");
        if (c->p < c->end && *c->p == 'L') /* Python 2 */
            c->p++;
        if (h->ndim == SOMA_MAX_DIMS)
            return soma_fail(SOMA_EUNSUPPORTED, "%s: more than %d dimensions", c->name, SOMA_MAX_DIMS);
        h->shape[h->ndim++] = v;
        if (!take(c, ',') && (skip_blanks(c), c->p == c->end || *c->p != ')'))
            return unexpected(c, "a comma or ) was");
    }
    return SOMA_OK;
}

static soma_status dtype_of(const char *text, size_t n, const char *name, npy_header *h) {
    static const struct {
        const char *code;
        soma_dtype dtype;
    } types[] = {
        {"f4", SOMA_F32}, {"f8", SOMA_F64}, {"f2", SOMA_F16}, {"i8", SOMA_I64},  {"i4", SOMA_I32},
        {"i2", SOMA_I16}, {"i1", SOMA_I8},  {"u1", SOMA_U8},  {"b1", SOMA_BOOL}, {"?", SOMA_BOOL},
    };
    char order = '|', quoted[SOMA__QUOTE];
    const char *code = text;
    size_t length = n;
    if (n > 0 && memchr("<>|=", text[0], 4) != NULL)
        order = text[0], code++, length--;
    h->big_endian = order == '>' || ((order == '=' || order == '|') && SOMA__BIG_ENDIAN);
    for (size_t i = 0; i < SOMA_LEN(types); i++)
        if (length == strlen(types[i].code) && memcmp(code, types[i].code, length) == 0) {
            h->dtype = types[i].dtype;
            return SOMA_OK;
        }
    soma__quote(text, n, quoted);
    if (length > 0 && code[0] == 'O')
        return soma_fail(SOMA_EUNSUPPORTED, "%s: an array of Python objects; reading it would execute code from the file",
                         name);
    return soma_fail(SOMA_EUNSUPPORTED,
                     "%s: elements of type '%s', which soma does not have; convert the array in NumPy first, such as "
                     "x.astype('float32') or x.astype('int64')",
                     name, quoted);
}

static soma_status take_entry(cursor *c, npy_header *h, unsigned *seen) {
    const char *key, *text;
    size_t n;
    soma_status status = take_string(c, &key, &n);
    if (status != SOMA_OK)
        return status;
    if (!take(c, ':'))
        return unexpected(c, "a colon was");
    unsigned which = n == 5 && memcmp(key, "descr", 5) == 0             ? 1
                     : n == 13 && memcmp(key, "fortran_order", 13) == 0 ? 2
                     : n == 5 && memcmp(key, "shape", 5) == 0           ? 4
                                                                        : 0;
    if (which == 0 || (*seen & which))
        return unexpected(c, "descr, fortran_order and shape, each once, were");
    *seen |= which;
    skip_blanks(c);
    if (which == 1 && c->p < c->end && *c->p == '[')
        return soma_fail(SOMA_EUNSUPPORTED,
                         "%s: a structured array (named fields); save each field as an array of its own", c->name);
    if (which == 1) {
        status = take_string(c, &text, &n);
        return status != SOMA_OK ? status : dtype_of(text, n, c->name, h);
    }
    if (which == 4)
        return take_shape(c, h);
    h->fortran = take_word(c, "True");
    return h->fortran || take_word(c, "False") ? SOMA_OK : unexpected(c, "True or False was");
}

static soma_status parse_header(const char *text, size_t n, const char *name, npy_header *h) {
    cursor c = {.p = text, .end = text + n, .start = text, .name = name};
    unsigned seen = 0;
    if (!take(&c, '{'))
        return unexpected(&c, "{ was");
    while (!take(&c, '}')) {
        soma_status status = take_entry(&c, h, &seen);
        if (status != SOMA_OK)
            return status;
        if (!take(&c, ',') && (skip_blanks(&c), c.p == c.end || *c.p != '}'))
            return unexpected(&c, "a comma or } was");
    }
    skip_blanks(&c);
    if (c.p != c.end)
        return unexpected(&c, "the header's end was");
    if (seen != 7)
        return unexpected(&c, "descr, fortran_order and shape were");
    return SOMA_OK;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

/* Column-major elements into row-major order. The first dimension is the fast one in the file. */
static soma_tensor *from_fortran(const uint8_t *bytes, const npy_header *h) {
    soma_tensor *t = soma_empty(h->ndim, h->shape, h->dtype);
    uint8_t *out = soma_data(t);
    if (t == NULL || out == NULL || soma_numel(t) == 0)
        return t;
    size_t width = soma_dtype_size(h->dtype), stride[SOMA_MAX_DIMS], at = 0;
    int64_t index[SOMA_MAX_DIMS] = {0};
    stride[0] = width;
    for (int i = 1; i < h->ndim; i++)
        stride[i] = stride[i - 1] * (size_t)h->shape[i - 1];
    for (int64_t k = 0, n = soma_numel(t); k < n; k++, out += width) {
        memcpy(out, bytes + at, width);
        for (int d = h->ndim - 1; d >= 0; d--) {
            at += stride[d];
            if (++index[d] < h->shape[d])
                break;
            at -= stride[d] * (size_t)h->shape[d];
            index[d] = 0;
        }
    }
    out = soma_data(t);
    size_t n = (size_t)soma_numel(t);
    if (h->dtype == SOMA_BOOL)
        for (size_t i = 0; i < n; i++)
            out[i] = out[i] != 0;
    else if (h->big_endian != SOMA__BIG_ENDIAN)
        soma__swap_bytes(out, n, width);
    return t;
}

soma_tensor *soma_npy_parse(const void *data, size_t size, const char *name) {
    if ((data == NULL && size > 0) || name == NULL)
        return soma_fail(SOMA_EINVAL, "soma_npy_parse: no data or no name"), NULL;
    const uint8_t *p = data;
    if (size < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
        return soma_fail(SOMA_EFORMAT, "%s: not a .npy file%s", name,
                         size >= 4 && memcmp(p, "PK\3\4", 4) == 0
                             ? " (a zip archive, perhaps .npz; save single arrays with numpy.save)"
                             : ""),
               NULL;
    if (p[6] < 1 || p[6] > 3)
        return soma_fail(SOMA_EUNSUPPORTED, "%s: .npy format version %d.%d; 1 to 3 are known", name, p[6], p[7]), NULL;
    size_t start = p[6] == 1 ? 10 : 12;
    size_t length = p[6] == 1 ? soma__read_le16(p + 8) : size >= 12 ? soma__read_le32(p + 8) : SIZE_MAX;
    if (size < start || length > size - start)
        return soma_fail(SOMA_EFORMAT, "%s: ends in the middle of the .npy header", name), NULL;
    npy_header h = {0};
    if (parse_header((const char *)p + start, length, name, &h) != SOMA_OK)
        return NULL;
    int64_t bytes;
    bool fits = soma__shape_bytes(h.ndim, h.shape, soma_dtype_size(h.dtype), &bytes);
    size_t rest = size - start - length;
    char text[SOMA__SHAPE_TEXT];
    if (!fits || (uint64_t)bytes != rest)
        return soma_fail(SOMA_EFORMAT, "%s: %s: the header says %s of %s, and %zu bytes follow", name,
                         !fits || (uint64_t)bytes > rest ? "truncated" : "too long",
                         soma__shape_text(h.ndim, h.shape, text, sizeof text), soma_dtype_name(h.dtype), rest),
               NULL;
    if (h.fortran && h.ndim > 1)
        return from_fortran(p + start + length, &h);
    return soma__tensor_of_bytes(p + start + length, h.dtype, h.ndim, h.shape, h.big_endian);
}

soma_tensor *soma_npy_read(const char *path) {
    soma_bytes bytes;
    if (soma_read_file(path, true, 0, &bytes) != SOMA_OK)
        return NULL;
    soma_tensor *t = soma_npy_parse(bytes.data, bytes.size, path);
    soma_bytes_free(&bytes);
    return t;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

/* Version 1, the header filled up with blanks so that the elements start at a multiple of 64. */
static size_t write_header(const soma_tensor *t, soma_dtype dtype, char out[512]) {
    static const char *const codes[SOMA_DTYPE_COUNT] = {
        [SOMA_F32] = "<f4", [SOMA_F64] = "<f8", [SOMA_F16] = "<f2", [SOMA_BF16] = "<f4", [SOMA_I64] = "<i8",
        [SOMA_I32] = "<i4", [SOMA_I16] = "<i2", [SOMA_I8] = "|i1",  [SOMA_U8] = "|u1",   [SOMA_BOOL] = "|b1",
    };
    const char *code = codes[dtype];
    char order = SOMA__BIG_ENDIAN && code[0] == '<' ? '>' : code[0];
    size_t at = 10 +
                (size_t)snprintf(out + 10, 502, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", order, code + 1);
    for (int i = 0; i < soma_ndim(t); i++)
        at += (size_t)snprintf(out + at, 512 - at, i > 0 ? ", %lld" : "%lld", (long long)soma_size(t, i));
    at += (size_t)snprintf(out + at, 512 - at, soma_ndim(t) == 1 ? ",), }" : "), }");
    size_t end = (at + 1 + 63) / 64 * 64;
    memset(out + at, ' ', end - at);
    out[end - 1] = '\n';
    memcpy(out, "\x93NUMPY\1", 8);
    out[8] = (char)((end - 10) & 255), out[9] = (char)((end - 10) >> 8);
    return end;
}

soma_status soma_npy_write(const char *path, soma_tensor *t) {
    if (path == NULL || t == NULL)
        return soma_fail(SOMA_EINVAL, "soma_npy_write: no path or no tensor");
    soma_dtype dtype = soma_dtype_of(t) == SOMA_BF16 ? SOMA_F32 : soma_dtype_of(t);
    int64_t n = soma_numel(t);
    size_t bytes = (size_t)n * soma_dtype_size(dtype);
    const void *data = soma_data(t);
    void *copy = NULL;
    if (!soma_is_contiguous(t) || dtype != soma_dtype_of(t)) {
        data = copy = soma__alloc(bytes);
        if (copy == NULL)
            return SOMA_ENOMEM;
        soma_status status = soma_to_array(t, copy, n, dtype);
        if (status != SOMA_OK) {
            soma__free(copy);
            return status;
        }
    }
    char header[512];
    size_t length = write_header(t, dtype, header);
    soma__writer w;
    (void)soma__writer_open(&w, path);
    (void)soma__writer_put(&w, header, length);
    (void)soma__writer_put(&w, data, bytes);
    soma__free(copy);
    return soma__writer_close(&w);
}
