/* Reads the lines of text that cases.h describes. They are part of the library's own code, so a mistake in one shows as a sample that
 * fails, not as a message of its own. */
#include "ops/cases.h"

#include <stdlib.h>
#include <string.h>

/* Text of the line that must end with a 0 of its own; lives as long as the sample's tensors. */
static const char *copy_text(const char *from, size_t n) {
    soma_tensor *room = soma_empty(SOMA_SHAPE((int64_t)n + 1), SOMA_U8);
    if (!room || !room->data)
        return NULL;
    memcpy(room->data, from, n);
    ((char *)room->data)[n] = 0;
    return room->data;
}

static void put_values(soma_tensor *t, const char **at) {
    for (int64_t i = 0; t && t->data && i < t->numel; i++) {
        char *end;
        double v = strtod(*at, &end);
        char *to = (char *)t->data + i * (int64_t)soma_dtype_size((soma_dtype)t->dtype);
        if (soma_dtype_is_float((soma_dtype)t->dtype))
            soma__store(to, (soma_dtype)t->dtype, v);
        else
            soma__store_int(to, (soma_dtype)t->dtype, (int64_t)v);
        *at = end + (*end == ',');
    }
}

/* x xᵀ / n + 1 on the diagonal, or (x + xᵀ) / 2, in f64 and then in the dtype. */
static soma_tensor *symmetric(soma_tensor *x, bool positive) {
    soma_tensor *wide = soma_to(x, SOMA_F64), *turned = soma_transpose(wide, -1, -2);
    if (!x)
        return NULL;
    int64_t n = x->shape[x->ndim - 1];
    wide = positive ? soma_add(soma_mul_scalar(soma_matmul(wide, turned), 1 / (double)SOMA_MAX(n, 1)), soma_eye(n, n, SOMA_F64))
                    : soma_mul_scalar(soma_add(wide, turned), 0.5);
    return soma_contiguous(soma_to(wide, (soma_dtype)x->dtype));
}

static void read_input(const char *at, soma_dtype dtype, uint64_t salt, soma_sample *s) {
    int64_t shape[SOMA_MAX_DIMS] = {0};
    int ndim = 0;
    bool strided = false;
    char kind = 0;
    for (; *at != '['; at++) {
        strided |= *at == 's';
        if (*at == 's')
            continue;
        kind = *at;
        dtype = kind == 'i' ? SOMA_I64 : kind == 'I' ? SOMA_I32 : kind == 'b' ? SOMA_BOOL : dtype;
    }
    for (at++; *at != ']'; at += *at == ',')
        shape[ndim++] = strtoll(at, (char **)&at, 10);
    at++;
    bool is_float = soma_dtype_is_float(dtype);
    double low = is_float ? -1 : -3, high = is_float ? 1 : 4;
    if (*at == '@') {
        low = strtod(at + 1, (char **)&at);
        high = strtod(at + 1, (char **)&at);
    } else if (*at == '<') {
        low = 0;
        high = strtod(at + 1, (char **)&at);
    }
    soma_tensor *t = soma__sample(dtype, low, high, salt, ndim, shape);
    if (*at == '=') {
        at++;
        put_values(t, &at);
    }
    if (kind == 'y' || kind == 'p') {
        t = symmetric(t, kind == 'p');
        s->symmetric |= 1u << s->n_in;
    }
    s->in[s->n_in++] = strided ? soma__strided(t) : t;
}

static void read_attr(const char *at, const char *equals, size_t length, soma_sample *s) {
    soma_attr *a = &s->attrs[s->n_attrs++];
    const char *v = equals + 1, *end = at + length;
    *a = (soma_attr){.name = copy_text(at, (size_t)(equals - at))};
    if (*v == '\'') {
        a->kind = SOMA_ATTR_STRING;
        a->value.s = copy_text(v + 1, (size_t)(end - v) - 2);
    } else if (*v == 't' || *v == 'f') {
        a->kind = SOMA_ATTR_BOOL;
        a->value.i = *v == 't';
    } else if (memchr(v, '.', (size_t)(end - v)) || *v == 'n' || strncmp(v, "inf", 3) == 0 || strncmp(v, "-inf", 4) == 0) {
        a->kind = SOMA_ATTR_FLOAT;
        a->value.f = strtod(v, NULL);
    } else if (memchr(v, ',', (size_t)(end - v)) || v == end) {
        a->kind = SOMA_ATTR_INTS;
        while (v < end && a->count < SOMA_MAX_DIMS) {
            a->value.ints[a->count++] = strtoll(v, (char **)&v, 10);
            v += *v == ',';
        }
    } else {
        a->kind = SOMA_ATTR_INT;
        a->value.i = strtoll(v, NULL, 10);
    }
}

/* "ESHAPE text" */
static void read_error(const char *at, soma_sample *s) {
    for (int i = SOMA_OK; i <= SOMA_ESTOPPED; i++) {
        const char *name = soma_status_name((soma_status)i) + 5;
        size_t n = strlen(name);
        if (strncmp(at, name, n) == 0 && at[n] == ' ') {
            s->status = (soma_status)i;
            s->error = at + n + 1;
        }
    }
}

static void read_line(const char *at, soma_dtype dtype, uint64_t salt, soma_sample *s) {
    *s = (soma_sample){0};
    while (*at) {
        if (*at == ' ') {
            at++;
            continue;
        }
        if (*at == '!') {
            read_error(at + 1, s);
            return;
        }
        size_t n = 0;
        for (bool quoted = false; at[n] && (at[n] != ' ' || quoted); n++)
            quoted ^= at[n] == '\'';
        const char *bracket = memchr(at, '[', n), *equals = memchr(at, '=', n);
        if (n == 1 && *at == '-')
            s->n_in++;
        else if (n == 1 && *at == '~')
            s->no_gradcheck = true;
        else if (bracket && (!equals || bracket < equals))
            read_input(at, dtype, ++salt, s);
        else if (equals)
            read_attr(at, equals, n, s);
        at += n;
    }
}

bool soma__text_case(const char *const *lines, bool errors, int i, soma_dtype dtype, soma_sample *s) {
    for (int line = 0; lines[line]; line++)
        if ((strchr(lines[line], '!') != NULL) == errors && i-- == 0) {
            read_line(lines[line], dtype, (uint64_t)line * 16 + 1, s);
            return true;
        }
    return false;
}

bool soma__expected(const soma_tensor *t, const char *name, const char *what) {
    char text[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s is %s, expected %s", name, soma__tensor_text(t, text), what);
    return false;
}

soma_tensor *soma__index_row(int64_t n) { return soma_empty(SOMA_SHAPE(n), SOMA_I64); }
