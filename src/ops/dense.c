/* Copies in and out of the workspace; dense.h says for whom. */
#include "ops/dense.h"

#include "ops/fold.h"

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
