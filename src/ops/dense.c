/* Copies in and out of the workspace; dense.h says for whom. */
#include "ops/dense.h"

#include "kernels/cpu/copy.h"
#include "ops/fold.h"

#include <string.h>

static bool usable(const soma_tensor *t) {
    return soma__compute_dtype((soma_dtype)t->dtype) == (soma_dtype)t->dtype && soma__contiguous(t);
}

size_t soma__dense_bytes(const soma_tensor *t) {
    return !t || usable(t) ? 0 : soma__room((size_t)t->numel * soma_dtype_size(soma__compute_dtype((soma_dtype)t->dtype)));
}

typedef struct copy {
    soma_dtype from, to;
    char *out;
    soma_tensor *t;
} copy;

static void copy_row(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const copy *c = arg;
    soma__stage(c->from, p[0], stride[0], count, c->out + first * (int64_t)soma_dtype_size(c->to));
}

const void *soma__dense(const soma_tensor *t, char **room) {
    if (!t || usable(t))
        return t ? t->data : NULL;
    soma_tensor *operand = (soma_tensor *)t;
    soma_dtype dtype = (soma_dtype)t->dtype;
    copy c = {.from = dtype, .to = soma__compute_dtype(dtype)};
    c.out = soma__take(room, (size_t)t->numel * soma_dtype_size(c.to));
    if (c.from == c.to) {
        int64_t stride[SOMA_MAX_DIMS];
        soma__row_major(t->ndim, t->shape, stride);
        soma__copy_elements(soma_dtype_size(dtype), t->ndim, t->shape, c.out, stride, t->data, t->stride);
        return c.out;
    }
    soma__iter it;
    soma__iter_init(&it, t->ndim, t->shape, &operand, 1);
    soma__iter_run(&it, copy_row, &c);
    return c.out;
}

void *soma__dense_out(soma_tensor *t, char **room) {
    if (!t || usable(t))
        return t ? t->data : NULL;
    return soma__take(room, (size_t)t->numel * soma_dtype_size(soma__compute_dtype((soma_dtype)t->dtype)));
}

static void round_range(void *arg, int64_t begin, int64_t end) {
    const copy *c = arg;
    soma__unstage(c->to, c->out + begin * (int64_t)sizeof(float), false, end - begin,
                  (char *)c->t->data + begin * (int64_t)soma_dtype_size(c->to));
}

void soma__dense_done(soma_tensor *t, const void *values) {
    if (!t || t->data == values)
        return;
    copy c = {.to = (soma_dtype)t->dtype, .out = (char *)values, .t = t};
    soma__parallel(t->numel, 16384, round_range, &c);
}

size_t soma__turned_bytes(const soma_tensor *t) {
    return !t || soma__reads_channels_last(t) ? 0 : soma__room((size_t)t->numel * soma_dtype_size((soma_dtype)t->dtype));
}

const void *soma__turn(const soma_tensor *t, char **room) {
    size_t bytes = soma__turned_bytes(t);
    if (bytes == 0)
        return t ? t->data : NULL;
    soma_meta m = soma__meta_of(t);
    soma_tensor to = {.dtype = t->dtype, .ndim = t->ndim, .numel = t->numel, .data = soma__take(room, bytes)};
    soma__lay_channels_last(&m);
    if (!m.laid) /* one order or the other */
        soma__row_major(m.ndim, m.shape, m.stride);
    memcpy(to.shape, m.shape, sizeof to.shape);
    memcpy(to.stride, m.stride, sizeof to.stride);
    soma__copy_memory(&to, t);
    return to.data;
}
