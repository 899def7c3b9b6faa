/* Reproducible inputs for the samples that entries bring along, and the lines of text that stand for samples (op.h). The lines are part of the
 * library's own code, so a mistake in one shows as a sample that fails, not as a message of its own. */
#include "ops/op.h"

#include <stdlib.h>
#include <string.h>

uint64_t soma__sample_redraw;

soma_tensor *soma__sample(soma_dtype dtype, double low, double high, uint64_t salt, int ndim, const int64_t *shape) {
    soma_tensor *t = soma_empty(ndim, shape, dtype);
    if (!t || !t->data)
        return t;
    soma__random r = soma__random_new(0x50a7 + soma__sample_redraw, salt);
    size_t size = soma_dtype_size(dtype);
    for (int64_t i = 0; i < t->numel; i++) {
        double u = soma__random_unit(&r), v = low + (high - low) * u;
        char *p = (char *)t->data + (size_t)i * size;
        if (dtype == SOMA_BOOL)
            soma__store_int(p, dtype, u < 0.5);
        else if (soma_dtype_is_float(dtype))
            soma__store(p, dtype, v);
        else
            soma__store_int(p, dtype, (int64_t)__builtin_floor(dtype == SOMA_U8 && v < 0 ? -v : v));
    }
    return t;
}

soma_tensor *soma__strided(soma_tensor *t) {
    if (!t || t->ndim == 0)
        return t;
    soma_meta m = soma__meta_of(t);
    int64_t wide[SOMA_MAX_DIMS];
    for (int i = 0; i < t->ndim; i++)
        wide[i] = t->shape[i];
    int last = t->ndim - 1;
    if (t->ndim == 1) {
        wide[0] *= 2;
        m.stride[0] = 2;
    } else {
        int64_t swap = wide[last];
        wide[last] = wide[last - 1];
        wide[last - 1] = swap;
        soma__row_major(t->ndim, wide, m.stride);
        swap = m.stride[last];
        m.stride[last] = m.stride[last - 1];
        m.stride[last - 1] = swap;
    }
    soma_tensor *room = soma_zeros(t->ndim, wide, (soma_dtype)t->dtype);
    if (!room)
        return NULL;
    m.offset = 0;
    soma_tensor *view = soma__tensor_alias(room, &m);
    if (!view)
        return NULL;
    view->is_view = false; /* its own tensor, over gaps: may be written in place */
    bool was = soma_set_grad_enabled(false);
    soma_copy_(view, t);
    soma_set_grad_enabled(was);
    return soma__failed() ? NULL : view;
}

soma_tensor *soma__turned(soma_tensor *t) {
    soma_meta m = t ? soma__meta_of(t) : (soma_meta){0};
    soma__lay_channels_last(&m);
    soma_tensor *turned = m.laid ? soma__tensor_new_laid(&m) : t;
    if (turned && turned != t && turned->data)
        soma__copy_memory(turned, t);
    return turned;
}

/* ---- Samples as text ---- */

/* Text of the line that must end with a 0 of its own; lives as long as the sample's tensors. */
static const char *copy_text(const char *from, size_t n) {
    soma_tensor *room = soma_empty(SOMA_SHAPE((int64_t)n + 1), SOMA_U8);
    if (!room || !room->data)
        return NULL;
    memcpy(room->data, from, n);
    ((char *)room->data)[n] = 0;
    return room->data;
}

/* "1,nan,-2" into the first elements; among integers NaN and infinities are 0. */
static void put_values(soma_tensor *t, const char *at) {
    soma_dtype dtype = (soma_dtype)t->dtype;
    char *end, *to = t->data;
    for (int64_t i = 0; i < t->numel && *at && *at != ' '; i++, at = end + (*end == ','), to += soma_dtype_size(dtype)) {
        double v = strtod(at, &end);
        if (soma_dtype_is_float(dtype))
            soma__store(to, dtype, v);
        else
            soma__store_int(to, dtype, v - v == 0 ? (int64_t)v : 0);
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
    if (*at == '=' && t && t->data)
        put_values(t, at + 1);
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
