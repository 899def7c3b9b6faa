/* Shape algebra: counts, strides, broadcasting, dimensions. */
#include "tensor/tensor.h"

#include <stdio.h>

int64_t soma__numel(int ndim, const int64_t *shape) {
    int64_t n = 1;
    bool empty = false;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return -1;
        empty |= shape[i] == 0;
    }
    for (int i = 0; i < ndim; i++) /* also of an empty tensor: its strides must fit */
        if (!soma__mul_ok(n, shape[i] > 0 ? shape[i] : 1, &n))
            return -1;
    return empty ? 0 : n;
}

void soma__row_major(int ndim, const int64_t *shape, int64_t *stride) {
    int64_t step = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i] > 0 ? shape[i] : 1;
    }
}

int soma__dim(const char *op, int64_t dim, int ndim) {
    int64_t room = ndim > 0 ? ndim : 1; /* a 0-d tensor takes 0 and -1, as in PyTorch */
    if (dim >= -room && dim < room)
        return (int)(dim < 0 ? dim + room : dim);
    soma_fail(SOMA_ESHAPE, "%s: dim %lld is out of range for %d dimension%s (%lld to %lld)", op, (long long)dim, ndim,
              ndim == 1 ? "" : "s", (long long)-room, (long long)room - 1);
    return -1;
}

bool soma__dim_mask(const char *op, int n, const int64_t *dims, int ndim, uint32_t *mask) {
    *mask = n == 0 ? (1u << ndim) - 1 : 0;
    for (int i = 0; i < n; i++) {
        int d = soma__dim(op, dims[i], ndim);
        if (d < 0)
            return false;
        if (*mask & 1u << d && ndim > 0) {
            soma_fail(SOMA_ESHAPE, "%s: dim %d is named twice", op, d);
            return false;
        }
        *mask |= 1u << d;
    }
    return true;
}

bool soma__same_shape(const soma_tensor *a, const soma_tensor *b) {
    if (a->ndim != b->ndim)
        return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return true;
}

const char *soma__tensor_text(const soma_tensor *t, char *out) {
    if (!t) {
        snprintf(out, SOMA__SHAPE_TEXT, "none");
        return out;
    }
    char shape[SOMA__SHAPE_TEXT - 8];
    snprintf(out, SOMA__SHAPE_TEXT, "%s %s", soma__shape_text(t->ndim, t->shape, shape, sizeof shape),
             soma_dtype_name((soma_dtype)t->dtype));
    return out;
}

static bool broadcast_fails(const char *op, soma_tensor *const *t, int n) {
    char text[4 * SOMA__SHAPE_TEXT];
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < n && at < sizeof text; i++) {
        char one[SOMA__SHAPE_TEXT];
        if (t[i])
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? " and " : "",
                                   soma__shape_text(t[i]->ndim, t[i]->shape, one, sizeof one));
    }
    soma_fail(SOMA_ESHAPE, "%s: shapes %s do not broadcast (from the right, sizes must be equal or 1)", op, text);
    return false;
}

bool soma__broadcast(const char *op, soma_tensor *const *t, int n, soma_meta *out) {
    out->ndim = 0;
    for (int k = 0; k < n; k++)
        if (t[k] && t[k]->ndim > out->ndim)
            out->ndim = t[k]->ndim;
    for (int i = 0; i < out->ndim; i++)
        out->shape[i] = 1;
    for (int k = 0; k < n; k++) {
        if (!t[k])
            continue;
        int shift = out->ndim - t[k]->ndim;
        for (int i = 0; i < t[k]->ndim; i++) {
            int64_t size = t[k]->shape[i], *have = &out->shape[i + shift];
            if (size == 1 || size == *have)
                continue;
            if (*have != 1)
                return broadcast_fails(op, t, n);
            *have = size;
        }
    }
    return true;
}
