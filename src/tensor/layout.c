/* Orders in memory: which one a tensor has, which one a result gets. */
#include "tensor/tensor.h"

#include <string.h>

static void copy_row(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    (void)first;
    for (int64_t i = 0; i < count; i++)
        memcpy(p[0] + i * stride[0], p[1] + i * stride[1], *(const size_t *)arg);
}

/* Where there are no kernels. */
static void copy_plain(const soma_tensor *to, const soma_tensor *from) {
    size_t size = soma_dtype_size((soma_dtype)to->dtype);
    soma__iter it;
    soma__iter_init_any(&it, to->ndim, to->shape, (soma_tensor *const[]){(soma_tensor *)(uintptr_t)to, (soma_tensor *)(uintptr_t)from}, 2);
    soma__iter_run(&it, copy_row, &size);
}

void (*soma__copy_memory)(const soma_tensor *to, const soma_tensor *from) = copy_plain;

bool soma__packed(const soma_tensor *t) {
    uint32_t left = 0;
    for (int d = 0; d < t->ndim; d++)
        left |= (t->shape[d] != 1 ? 1u : 0u) << d;
    for (int64_t step = 1; left && t->numel > 0;) {
        int d = 0;
        while (d < t->ndim && !(left & 1u << d && t->stride[d] == step))
            d++;
        if (d == t->ndim)
            return false;
        left &= ~(1u << d);
        step *= t->shape[d];
    }
    return true;
}

static bool lies_as(const soma_tensor *t, const int64_t *stride) {
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] != 1 && t->stride[d] != stride[d])
            return false;
    return true;
}

static void channels_last(const int64_t *shape, int64_t *stride) {
    stride[1] = 1;
    stride[3] = shape[1];
    stride[2] = shape[3] * stride[3];
    stride[0] = shape[2] * stride[2];
}

bool soma__reads_channels_last(const soma_tensor *t) {
    int64_t stride[SOMA_MAX_DIMS];
    if (t->ndim == 4)
        channels_last(t->shape, stride);
    return t->ndim == 4 && t->numel > 0 && lies_as(t, stride);
}

bool soma__channels_last(const soma_tensor *t) { return soma__reads_channels_last(t) && !soma__contiguous(t); }

bool soma__was_channels_last(const soma_meta *m) {
    soma_tensor t = {.ndim = (uint8_t)m->ndim, .numel = soma__numel(m->ndim, m->shape)};
    memcpy(t.shape, m->shape, (size_t)m->ndim * sizeof *t.shape);
    memcpy(t.stride, m->stride, (size_t)m->ndim * sizeof *t.stride);
    return soma__channels_last(&t);
}

void soma__lay_channels_last(soma_meta *m) {
    m->laid = m->ndim == 4 && m->shape[1] > 1 && m->shape[2] * m->shape[3] > 1 && soma__numel(4, m->shape) > 0;
    if (m->laid)
        channels_last(m->shape, m->stride);
}

void soma__lay_like(soma_meta *m, const soma_tensor *t) {
    m->laid = t->numel > 0 && !soma__contiguous(t) && soma__packed(t);
    if (m->laid)
        memcpy(m->stride, t->stride, sizeof m->stride);
}

static bool has_shape(const soma_tensor *t, const soma_meta *m) {
    return t && t->ndim == m->ndim && memcmp(t->shape, m->shape, (size_t)m->ndim * sizeof *m->shape) == 0;
}

void soma__lay_as_inputs(soma_meta *m, soma_tensor *const *in, int n) {
    const soma_tensor *first = NULL;
    bool all = true;
    m->laid = false;
    if (m->ndim < 2)
        return;
    for (int i = 0; i < n; i++) {
        if (!has_shape(in[i], m))
            continue;
        if (in[i]->chosen) {
            soma__lay_like(m, in[i]);
            if (m->laid)
                return;
        }
        first = first ? first : in[i];
        all = all && lies_as(in[i], first->stride);
    }
    if (first && all)
        soma__lay_like(m, first);
}
