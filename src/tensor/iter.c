/* The iterator: one way to walk operands of any strides, for all elementwise work. */
#include "tensor/tensor.h"

/* Rows are cut at multiples of this, so that every element falls in the same piece for any number of threads. */
enum { GRAIN = 16384 };

static void put_operand(soma__iter *it, int k, int ndim, const int64_t *shape, const soma_tensor *t) {
    int shift = ndim - t->ndim;
    int64_t size = (int64_t)soma_dtype_size((soma_dtype)t->dtype);
    it->data[k] = t->data;
    for (int i = 0; i < ndim; i++) {
        bool broadcast = i < shift || (t->shape[i - shift] == 1 && shape[i] != 1);
        it->stride[k][i] = broadcast ? 0 : t->stride[i - shift] * size;
    }
}

static void drop_dim(soma__iter *it, int d) {
    for (int i = d; i + 1 < it->ndim; i++) {
        it->shape[i] = it->shape[i + 1];
        for (int k = 0; k < it->n; k++)
            it->stride[k][i] = it->stride[k][i + 1];
    }
    it->ndim--;
}

/* Dimension d can be folded into d + 1 when every operand steps over exactly one row of it. */
static bool joins(const soma__iter *it, int d) {
    for (int k = 0; k < it->n; k++)
        if (it->stride[k][d] != it->stride[k][d + 1] * it->shape[d + 1])
            return false;
    return true;
}

static int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

static void swap_dims(soma__iter *it, int d, int e) {
    int64_t s = it->shape[d];
    it->shape[d] = it->shape[e];
    it->shape[e] = s;
    for (int k = 0; k < it->n; k++) {
        s = it->stride[k][d];
        it->stride[k][d] = it->stride[k][e];
        it->stride[k][e] = s;
    }
}

/* By falling strides of the first operand. */
static void sort_dims(soma__iter *it) {
    for (int d = 1; d < it->ndim; d++)
        for (int e = d; e > 0 && distance(it->stride[0][e - 1]) < distance(it->stride[0][e]); e--)
            swap_dims(it, e - 1, e);
}

static void init(soma__iter *it, int ndim, const int64_t *shape, soma_tensor *const *operands, int n, bool any) {
    it->n = n;
    it->ndim = ndim;
    it->numel = soma__numel(ndim, shape);
    for (int i = 0; i < ndim; i++)
        it->shape[i] = shape[i];
    for (int k = 0; k < n; k++)
        put_operand(it, k, ndim, shape, operands[k]);
    for (int d = it->ndim - 1; d >= 0; d--)
        if (it->shape[d] == 1)
            drop_dim(it, d);
    if (any)
        sort_dims(it);
    for (int d = it->ndim - 2; d >= 0; d--) {
        if (!joins(it, d))
            continue;
        it->shape[d + 1] *= it->shape[d];
        drop_dim(it, d);
    }
    if (it->ndim == 0) {
        it->ndim = 1;
        it->shape[0] = 1;
        for (int k = 0; k < n; k++)
            it->stride[k][0] = 0;
    }
}

bool soma__iter_one_row(soma_tensor *const *operands, int n, bool scalars, char **p, int64_t *stride) {
    int64_t numel = operands[0]->numel;
    if (numel > GRAIN || numel < 1)
        return false;
    for (int k = 0; k < n; k++) {
        const soma_tensor *t = operands[k];
        bool number = scalars && k > 0 && t->numel == 1;
        if (!number && (t->numel != numel || t->ndim != operands[0]->ndim || !soma__contiguous(t)))
            return false;
        p[k] = t->data;
        stride[k] = number && numel > 1 ? 0 : (int64_t)soma_dtype_size((soma_dtype)t->dtype);
    }
    return true;
}

void soma__iter_init(soma__iter *it, int ndim, const int64_t *shape, soma_tensor *const *operands, int n) {
    init(it, ndim, shape, operands, n, false);
}

void soma__iter_init_any(soma__iter *it, int ndim, const int64_t *shape, soma_tensor *const *operands, int n) {
    init(it, ndim, shape, operands, n, true);
}

typedef struct job {
    const soma__iter *it;
    soma__inner_fn inner;
    void *arg;
} job;

static void run_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const soma__iter *it = j->it;
    int last = it->ndim - 1;
    int64_t width = it->shape[last], index[SOMA_MAX_DIMS] = {0}, row_stride[SOMA__ITER_MAX];
    int64_t column = begin % width, rest = begin / width;
    char *p[SOMA__ITER_MAX];
    for (int d = last - 1; d >= 0; d--) {
        index[d] = rest % it->shape[d];
        rest /= it->shape[d];
    }
    for (int k = 0; k < it->n; k++) {
        row_stride[k] = it->stride[k][last];
        p[k] = it->data[k];
        for (int d = 0; d < last; d++)
            p[k] += index[d] * it->stride[k][d];
    }
    for (int64_t at = begin; at < end;) {
        int64_t count = SOMA_MIN(width - column, end - at);
        char *q[SOMA__ITER_MAX];
        for (int k = 0; k < it->n; k++)
            q[k] = p[k] + column * row_stride[k];
        j->inner(j->arg, q, row_stride, count, at);
        at += count;
        column = 0;
        for (int d = last - 1; d >= 0 && at < end; d--) {
            for (int k = 0; k < it->n; k++)
                p[k] += it->stride[k][d];
            if (++index[d] < it->shape[d])
                break;
            index[d] = 0;
            for (int k = 0; k < it->n; k++)
                p[k] -= it->stride[k][d] * it->shape[d];
        }
    }
}

void soma__iter_run(const soma__iter *it, soma__inner_fn inner, void *arg) {
    if (it->numel == 0)
        return;
    job j = {it, inner, arg};
    if (it->numel <= GRAIN)
        run_range(&j, 0, it->numel);
    else
        soma__parallel(it->numel, GRAIN, run_range, &j);
}
