/* Reproducible inputs for the samples that entries bring along. */
#include "ops/op.h"

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
