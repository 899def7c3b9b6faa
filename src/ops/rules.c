/* Shape rules and gradient helpers that many operators share. */
#include "ops/op.h"

#include <string.h>

bool soma__shape_same(soma_args *a, soma_meta *out) {
    for (int i = 0; i < a->op->outputs; i++) {
        out[i].ndim = a->in[0]->ndim;
        memcpy(out[i].shape, a->in[0]->shape, sizeof out[i].shape);
    }
    return true;
}

bool soma__shape_broadcast(soma_args *a, soma_meta *out) {
    if (!soma__broadcast(a->op->name, a->in, a->n_in, &out[0]))
        return false;
    for (int i = 1; i < a->op->outputs; i++) {
        out[i].ndim = out[0].ndim;
        memcpy(out[i].shape, out[0].shape, sizeof out[i].shape);
    }
    return true;
}

soma_tensor *soma__sum_to(soma_tensor *g, const soma_meta *meta) {
    if (!g)
        return NULL;
    int64_t dims[SOMA_MAX_DIMS];
    int n = 0, shift = g->ndim - meta->ndim;
    for (int i = 0; i < g->ndim; i++)
        if (i < shift || (meta->shape[i - shift] == 1 && g->shape[i] != 1))
            dims[n++] = i;
    if (n > 0)
        g = soma_sum(g, n, dims, true);
    if (g && g->ndim != meta->ndim)
        g = soma_reshape(g, meta->ndim, meta->shape);
    return soma_to(g, meta->dtype);
}

bool soma__attr_list(const char *op, const soma_attr *attr, int n, int64_t least, const int64_t *none, int64_t *to) {
    static const char *const counts[] = {"", "one number", "one or two numbers", "one or three numbers"};
    bool ok = attr->count == 1 || attr->count == n || (attr->count == 0 && none);
    for (int i = 0; ok && i < n; i++) {
        to[i] = attr->count == 0 ? none[i] : attr->value.ints[attr->count == 1 ? 0 : i];
        ok = to[i] >= least && to[i] <= INT32_MAX;
    }
    char text[SOMA__SHAPE_TEXT];
    if (!ok)
        soma_fail(SOMA_EINVAL, "%s: %s is %s, expected %s from %lld to 2147483647", op, attr->name,
                  soma__shape_text(SOMA_MIN(attr->count, SOMA_MAX_DIMS), attr->value.ints, text, sizeof text), counts[n], (long long)least);
    return ok;
}

soma_attr soma__attr_axes(const char *name, int axes, const int64_t *v, const int64_t *none) {
    soma_attr a = {.name = name, .kind = SOMA_ATTR_INTS, .count = axes};
    bool rest = false;
    for (int i = 1; i < axes; i++)
        rest |= v[i] != 0;
    for (int i = 0; i < axes; i++) {
        const int64_t n = rest ? v[i] : v[0];
        a.value.ints[i] = n == 0 ? none[i] : n == -1 ? 0 : n;
    }
    return a;
}

int soma__attr_choice(const soma_args *a, int i, const char *choices) {
    const char *given = a->attrs[i].value.s ? a->attrs[i].value.s : a->op->attrs[i].def.value.s;
    size_t length = strlen(given);
    int k = 0;
    for (const char *at = choices; *at; k++) {
        size_t n = strcspn(at, "|");
        if (n == length && memcmp(at, given, n) == 0)
            return k;
        at += n + (at[n] == '|');
    }
    soma_fail(SOMA_EINVAL, "%s: %s is '%s', expected one of %s", a->op->name, a->op->attrs[i].def.name, given, choices);
    return -1;
}

/* A list of two numbers from `least` on, or one number for both; an empty list is `none` for both (NULL: an error). */
bool soma__attr_pair(const char *op, const soma_attr *attr, int64_t least, const int64_t *none, int64_t *to) {
    return soma__attr_list(op, attr, 2, least, none, to);
}

bool soma__expected(const soma_tensor *t, const char *name, const char *what) {
    char text[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s is %s, expected %s", name, soma__tensor_text(t, text), what);
    return false;
}

soma_tensor *soma__index_row(int64_t n) { return soma_empty(SOMA_SHAPE(n), SOMA_I64); }

size_t soma__packed_bytes(const soma_tensor *t) {
    return !t || soma__contiguous(t) ? 0 : ((size_t)t->numel * soma_dtype_size((soma_dtype)t->dtype) + 63) / 64 * 64;
}
