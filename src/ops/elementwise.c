/* Running rows over tensors: all elementwise operators come through here. */
#include "ops/elementwise.h"

typedef struct call {
    soma__row_fn row;
    const double *params;
    int n; /* operands, output included */
    soma_dtype dtype[SOMA__ITER_MAX];
    soma__row_fn load[SOMA__ITER_MAX], store; /* 16-bit floats */
} call;

static void plain(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const call *c = arg;
    (void)first;
    c->row(p, stride, count, c->params);
}

static bool is_half(soma_dtype d) { return d == SOMA_F16 || d == SOMA_BF16; }

/* Blocks of 16-bit floats become f32, go through the row, and are rounded once. */
static void by_blocks(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    enum { BLOCK = 256 };
    const call *c = arg;
    float room[SOMA__ITER_MAX][BLOCK];
    (void)first;
    for (int64_t at = 0; at < count; at += BLOCK) {
        int64_t n = SOMA_MIN((int64_t)BLOCK, count - at);
        char *q[SOMA__ITER_MAX];
        int64_t s[SOMA__ITER_MAX];
        for (int k = 0; k < c->n; k++) {
            q[k] = p[k] + at * stride[k];
            s[k] = stride[k];
            if (!is_half(c->dtype[k]))
                continue;
            if (k > 0)
                c->load[k]((char *const[]){(char *)room[k], q[k]}, (const int64_t[]){4, stride[k]}, n, NULL);
            q[k] = (char *)room[k];
            s[k] = 4;
        }
        c->row(q, s, n, c->params);
        if (c->store)
            c->store((char *const[]){p[0] + at * stride[0], (char *)room[0]}, (const int64_t[]){stride[0], 4}, n, NULL);
    }
}

void soma__run_rows(soma_tensor *out, soma_tensor *const *in, int n_in, soma__row_fn row, soma__row_fn f32_row, const double *params) {
    soma_tensor *operands[SOMA__ITER_MAX] = {out};
    call c = {.row = row, .params = params, .n = n_in + 1};
    bool half = is_half((soma_dtype)out->dtype);
    for (int k = 0; k < n_in; k++) {
        operands[k + 1] = in[k];
        half |= is_half((soma_dtype)in[k]->dtype);
    }
    soma__iter it;
    soma__iter_init(&it, out->ndim, out->shape, operands, n_in + 1);
    if (half) {
        c.row = f32_row;
        for (int k = 0; k <= n_in; k++) {
            c.dtype[k] = (soma_dtype)operands[k]->dtype;
            c.load[k] = is_half(c.dtype[k]) ? soma__casts.cast[SOMA_F32][c.dtype[k]] : NULL;
        }
        c.store = is_half(c.dtype[0]) ? soma__casts.cast[c.dtype[0]][SOMA_F32] : NULL;
    }
    soma__iter_run(&it, half ? by_blocks : plain, &c);
}
