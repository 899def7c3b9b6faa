/* Running rows over tensors: all elementwise operators come through here. */
#include "ops/elementwise.h"

enum { BLOCK = 256 };

typedef struct call {
    soma__row_fn row;
    const double *params;
    int n; /* operands, output included */
    bool scalars; /* the row takes one input of stride 0 */
    struct {
        int64_t size;      /* bytes an element, as the row sees it */
        bool half;         /* stored as f16 or bf16, f32 for the row */
        soma__row_fn move; /* between storage and a contiguous block of what the row sees */
    } of[SOMA__ITER_MAX];
} call;

/* Whether the row can take the operands where they lie. */
static bool as_it_is(const call *c, const int64_t *stride) {
    int constant = 0;
    for (int k = 0; k < c->n; k++) {
        bool zero = stride[k] == 0 && k > 0 && c->scalars;
        constant += zero;
        if (c->of[k].half || (stride[k] != c->of[k].size && !zero))
            return false;
    }
    return constant < 2;
}

/* Other strides and 16-bit floats go through blocks: what is not in order is gathered, the row runs, the result is put in its place
 * (and rounded once). */
static void by_blocks(const call *c, char *const *p, const int64_t *stride, int64_t count) {
    double room[SOMA__ITER_MAX][BLOCK];
    for (int64_t at = 0; at < count; at += BLOCK) {
        int64_t n = SOMA_MIN((int64_t)BLOCK, count - at), s[SOMA__ITER_MAX];
        char *q[SOMA__ITER_MAX];
        bool moved = false;
        for (int k = 0; k < c->n; k++) {
            q[k] = p[k] + at * stride[k];
            s[k] = c->of[k].size;
            if (!c->of[k].half && stride[k] == s[k])
                continue;
            moved |= k == 0;
            if (k > 0)
                c->of[k].move((char *const[]){(char *)room[k], q[k]}, (const int64_t[]){s[k], stride[k]}, n, NULL);
            q[k] = (char *)room[k];
        }
        c->row(q, s, n, c->params);
        if (moved)
            c->of[0].move((char *const[]){p[0] + at * stride[0], q[0]}, (const int64_t[]){stride[0], s[0]}, n, NULL);
    }
}

static void run(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const call *c = arg;
    int64_t own[SOMA__ITER_MAX];
    (void)first;
    for (int k = 0; k < c->n; k++)
        own[k] = count == 1 ? c->of[k].size : stride[k];
    if (as_it_is(c, own))
        c->row(p, own, count, c->params);
    else
        by_blocks(c, p, own, count);
}

static bool is_half(soma_dtype d) { return d == SOMA_F16 || d == SOMA_BF16; }

void soma__run_rows(soma_tensor *out, soma_tensor *const *in, int n_in, soma__row_fn row, soma__row_fn f32_row, const double *params,
                    bool scalars) {
    soma_tensor *operands[SOMA__ITER_MAX] = {out};
    call c = {.row = row, .params = params, .n = n_in + 1, .scalars = scalars};
    for (int k = 0; k <= n_in; k++) {
        if (k > 0)
            operands[k] = in[k - 1];
        soma_dtype stored = (soma_dtype)operands[k]->dtype, seen = is_half(stored) ? SOMA_F32 : stored;
        c.of[k].half = is_half(stored);
        c.of[k].size = (int64_t)soma_dtype_size(seen);
        c.of[k].move = k == 0 ? soma__casts.cast[stored][seen] : soma__casts.cast[seen][stored];
        c.row = c.of[k].half ? f32_row : c.row;
    }
    soma__recorder *r = soma__ctx()->recorder;
    if (r)
        r->rows(r, &(struct soma__rows){c.row, params, operands, n_in + 1, scalars});
    char *p[SOMA__ITER_MAX];
    int64_t stride[SOMA__ITER_MAX];
    if (soma__iter_one_row(operands, n_in + 1, true, p, stride)) {
        run(&c, p, stride, out->numel, 0);
        return;
    }
    soma__iter it;
    soma__iter_init_any(&it, out->ndim, out->shape, operands, n_in + 1);
    soma__iter_run(&it, run, &c);
}
