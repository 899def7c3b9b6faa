/* Reproducible inputs for the samples that entries bring along. */
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

/* ---- Samples as text ---- */

static int numbers(char *text, double *to, int most) {
    int n = 0;
    for (char *end; n < most && *text; text = *end == ',' ? end + 1 : end) {
        double v = strtod(text, &end);
        if (end == text)
            break;
        to[n++] = v;
    }
    return n;
}

/* "X~:2,3" and its like; see op.h. */
static soma_tensor *text_tensor(char *word, soma_dtype dtype, uint64_t salt) {
    double sizes[SOMA_MAX_DIMS], given[32];
    int64_t shape[SOMA_MAX_DIMS];
    char kind = word[0], *colon = strchr(word, ':'), *equals = strchr(word, '=');
    int n = equals ? numbers(equals + 1, given, (int)SOMA_LEN(given)) : 0;
    bool strided = word[1] == '~';
    double high = strtod(word + 1 + strided, NULL);
    if (equals)
        *equals = 0;
    int ndim = colon ? numbers(colon + 1, sizes, SOMA_MAX_DIMS) : 1;
    for (int d = 0; d < ndim; d++)
        shape[d] = colon ? (int64_t)sizes[d] : n;
    dtype = kind == 'I' ? SOMA_I64 : kind == 'J' ? SOMA_I32 : kind == 'B' ? SOMA_BOOL : dtype;
    double low = kind == 'X' ? -3 : kind == 'P' ? 0.3 : 0;
    soma_tensor *t = soma__sample(dtype, low, high > 0 ? high : 3, salt, ndim, shape);
    for (int k = 0; t && k < n; k++) {
        char *p = (char *)t->data + k * (int64_t)soma_dtype_size(dtype);
        if (soma_dtype_is_float(dtype))
            soma__store(p, dtype, given[k]);
        else
            soma__store_int(p, dtype, given[k] - given[k] == 0 ? (int64_t)given[k] : 0);
    }
    return strided ? soma__strided(t) : t;
}

/* "dim=-1", "p=0.5", "dims=0,1", "mode=reflect" */
static void text_attr(char *word, char *equals, soma_attr *a) {
    double v[SOMA_MAX_DIMS];
    char *text = equals + 1;
    *equals = 0;
    bool number = strchr("+-.0123456789,", *text) || strcmp(text, "inf") == 0 || strcmp(text, "nan") == 0;
    if (!number)
        *a = SOMA_STRING(word, text);
    else if (strchr(text, ',')) {
        *a = (soma_attr){.name = word, .kind = SOMA_ATTR_INTS, .count = numbers(text, v, SOMA_MAX_DIMS)};
        for (int i = 0; i < a->count; i++)
            a->value.ints[i] = (int64_t)v[i];
    } else if (strpbrk(text, ".in"))
        *a = SOMA_FLOAT(word, strtod(text, NULL));
    else
        *a = SOMA_INT(word, strtoll(text, NULL, 10));
}

static void text_error(char *rest, soma_sample *s) {
    s->status = *rest == 's' ? SOMA_ESHAPE : *rest == 'd' ? SOMA_EDTYPE : SOMA_EINVAL;
    s->error = rest + 2;
}

bool soma__cases(const char *list, int i, soma_dtype dtype, soma_sample *s) {
    for (int k = 0; k < i && list; k++)
        list = strchr(list, '|') ? strchr(list, '|') + 1 : NULL;
    if (!list)
        return false;
    int64_t n = (int64_t)strcspn(list, "|");
    soma_tensor *copy = soma_zeros(1, (const int64_t[]){n + 1}, SOMA_U8); /* names and texts point into it; it lives as long as the scope */
    if (!copy || !copy->data)
        return false;
    char *at = memcpy(copy->data, list, (size_t)n);
    *s = (soma_sample){0};
    while (*(at += strspn(at, " "))) {
        if (*at == '!') {
            text_error(at + 1, s);
            break;
        }
        char *word = at;
        at += strcspn(at, " ");
        if (*at)
            *at++ = 0;
        if (*word == '%')
            s->no_gradcheck = true;
        else if (*word == '-')
            s->in[s->n_in++] = NULL;
        else if (strchr("XPIJB", *word)) {
            s->in[s->n_in] = text_tensor(word, dtype, (uint64_t)(i + 10 * s->n_in + 1));
            s->n_in++;
        } else
            text_attr(word, strchr(word, '='), &s->attrs[s->n_attrs++]);
    }
    return true;
}
