/* Bytes from outside: numbers of either byte order, tensors of them, and text that may not be text. */
#include "io/io.h"

#include <string.h>

bool soma__shape_bytes(int ndim, const int64_t *shape, size_t width, int64_t *bytes) {
    bool empty = false;
    *bytes = (int64_t)width;
    for (int i = 0; i < ndim; i++) {
        if (!soma__mul_ok(*bytes, shape[i] == 0 ? 1 : shape[i], bytes))
            return false;
        empty = empty || shape[i] == 0;
    }
    if (empty)
        *bytes = 0;
    return true;
}

soma_tensor *soma__tensor_of_bytes(const void *bytes, soma_dtype dtype, int ndim, const int64_t *shape, bool big_endian) {
    soma_tensor *t = soma_empty(ndim, shape, dtype);
    uint8_t *data = soma_data(t);
    if (t == NULL || data == NULL)
        return t;
    size_t n = (size_t)soma_numel(t), width = soma_dtype_size(dtype);
    if (n == 0)
        return t;
    memcpy(data, bytes, n * width);
    if (dtype == SOMA_BOOL) /* 0 and 1 alone are bools in memory; other programs may write anything */
        for (size_t i = 0; i < n; i++)
            data[i] = data[i] != 0;
    else if (big_endian != SOMA__BIG_ENDIAN)
        soma__swap_bytes(data, n, width);
    return t;
}

void soma__swap_bytes(void *data, size_t n, size_t width) {
    uint8_t *p = data;
    if (width == 2) {
        for (size_t i = 0; i < n; i++, p += 2) {
            uint16_t v;
            memcpy(&v, p, 2);
            v = __builtin_bswap16(v);
            memcpy(p, &v, 2);
        }
    } else if (width == 4) {
        for (size_t i = 0; i < n; i++, p += 4) {
            uint32_t v;
            memcpy(&v, p, 4);
            v = __builtin_bswap32(v);
            memcpy(p, &v, 4);
        }
    } else if (width == 8) {
        for (size_t i = 0; i < n; i++, p += 8) {
            uint64_t v;
            memcpy(&v, p, 8);
            v = __builtin_bswap64(v);
            memcpy(p, &v, 8);
        }
    }
}

/* Bytes that a character of more than one byte takes, 0 when p is no character. Overlong forms, surrogates and values
 * above 10FFFF are excluded by the range of the second byte (RFC 3629, section 4). */
static size_t utf8_character(const uint8_t *p, size_t n) {
    static const struct {
        uint8_t first, last, low, high, length;
    } forms[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < SOMA_LEN(forms); i++) {
        if (p[0] < forms[i].first || p[0] > forms[i].last)
            continue;
        size_t length = forms[i].length;
        if (n < length || p[1] < forms[i].low || p[1] > forms[i].high)
            return 0;
        for (size_t k = 2; k < length; k++)
            if ((p[k] & 0xC0) != 0x80)
                return 0;
        return length;
    }
    return 0;
}

size_t soma__utf8_check(const void *text, size_t n) {
    const uint8_t *p = text;
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (i + 8 <= n && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
        } else if (p[i] < 0x80) {
            i++;
        } else {
            size_t length = utf8_character(p + i, n - i);
            if (length == 0)
                return i;
            i += length;
        }
    }
    return n;
}

const char *soma__quote(const char *text, size_t n, char out[SOMA__QUOTE]) {
    size_t at = 0, i = 0;
    while (i < n && i < 40) {
        uint8_t c = (uint8_t)text[i];
        size_t length = c < 0x80 ? 1 : utf8_character((const uint8_t *)text + i, n - i);
        if (length <= 1) {
            out[at++] = length == 0 || c < 0x20 || c == 0x7F ? '?' : (char)c;
            i++;
        } else {
            memcpy(out + at, text + i, length);
            at += length, i += length;
        }
    }
    memcpy(out + at, i < n ? "…" : "", i < n ? sizeof "…" : 1);
    return out;
}
