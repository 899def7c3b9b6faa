/* Runs an update over parameters of any strides and dtype: see optim.h. */
#include "ops/optim.h"

bool soma__optim_like(soma_args *a, int n) {
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    for (int i = 1; i < n; i++) {
        if (!a->in[i] || (soma__same_shape(a->in[i], a->in[SOMA__PARAM]) && a->in[i]->dtype == a->in[SOMA__PARAM]->dtype))
            continue;
        soma_fail(SOMA_ESHAPE, "%s: %s %s does not fit the parameter %s", a->op->name, a->op->in[i].name, soma__tensor_text(a->in[i], have),
                  soma__tensor_text(a->in[SOMA__PARAM], want));
        return false;
    }
    for (int i = n; i < a->n_in; i++) {
        if (a->in[i]->numel == 1)
            continue;
        soma_fail(SOMA_ESHAPE, "%s: %s must be one number, not %s", a->op->name, a->op->in[i].name, soma__tensor_text(a->in[i], have));
        return false;
    }
    return true;
}

double soma__optim_value(const soma_tensor *t) { return t->data ? soma__load(t->data, (soma_dtype)t->dtype) : 0; }
soma_tensor *soma__optim_one(double value, soma_dtype dtype) { return soma_full(SOMA_SCALAR, value, dtype); }

enum { BLOCK = 256 };

/* Gathers a block, updates it in f32 or f64 and puts it back: for strides and for the half formats. */
static void blockwise(const soma__update *u, char *const *p, const int64_t *stride, int64_t count) {
    double wide[SOMA__UPDATE_MOST][BLOCK], *in_f64[SOMA__UPDATE_MOST];
    float narrow[SOMA__UPDATE_MOST][BLOCK], *in_f32[SOMA__UPDATE_MOST];
    for (int k = 0; k < u->n; k++) {
        in_f64[k] = p[k] ? wide[k] : NULL;
        in_f32[k] = p[k] ? narrow[k] : NULL;
    }
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        int64_t n = SOMA_MIN((int64_t)BLOCK, count - begin);
        for (int k = 0; k < u->n; k++)
            for (int64_t i = 0; p[k] && i < n; i++) {
                wide[k][i] = soma__load(p[k] + (begin + i) * stride[k], u->dtype);
                narrow[k][i] = (float)wide[k][i];
            }
        if (u->dtype == SOMA_F64)
            u->f64(u, in_f64, n);
        else
            u->f32(u, in_f32, n);
        for (int k = 0; k < u->n; k++)
            for (int64_t i = 0; p[k] && k != SOMA__GRAD && i < n; i++)
                soma__store(p[k] + (begin + i) * stride[k], u->dtype, u->dtype == SOMA_F64 ? wide[k][i] : (double)narrow[k][i]);
    }
}

/* The iterator knows only the operands that are there: gives each its place again. */
static void spread(const soma__update *u, char *const *from, const int64_t *from_stride, char **p, int64_t *stride) {
    for (int k = 0, at = 0; k < u->n; k++) {
        bool there = u->present & 1u << k;
        p[k] = there ? from[at] : NULL;
        stride[k] = there ? from_stride[at++] : 0;
    }
}

static void row(void *arg, char *const *operands, const int64_t *strides, int64_t count, int64_t first) {
    const soma__update *u = arg;
    char *p[SOMA__UPDATE_MOST];
    int64_t stride[SOMA__UPDATE_MOST];
    (void)first;
    spread(u, operands, strides, p, stride);
    bool dense = u->dtype == SOMA_F32 || u->dtype == SOMA_F64;
    for (int k = 0; k < u->n; k++)
        dense = dense && (!p[k] || stride[k] == (int64_t)soma_dtype_size(u->dtype) || count == 1);
    if (!dense) {
        blockwise(u, p, stride, count);
        return;
    }
    double *f64[SOMA__UPDATE_MOST];
    float *f32[SOMA__UPDATE_MOST];
    for (int k = 0; k < u->n; k++) {
        f64[k] = (double *)(void *)p[k];
        f32[k] = (float *)(void *)p[k];
    }
    if (u->dtype == SOMA_F64)
        u->f64(u, f64, count);
    else
        u->f32(u, f32, count);
}

static void row_reference(void *arg, char *const *operands, const int64_t *strides, int64_t count, int64_t first) {
    const soma__update *u = arg;
    char *p[SOMA__UPDATE_MOST];
    int64_t stride[SOMA__UPDATE_MOST];
    (void)first;
    spread(u, operands, strides, p, stride);
    for (int64_t i = 0; i < count; i++) {
        double x[SOMA__UPDATE_MOST] = {0};
        for (int k = 0; k < u->n; k++)
            x[k] = p[k] ? soma__load(p[k] + i * stride[k], u->dtype) : 0;
        u->one(u, x);
        for (int k = 0; k < u->n; k++)
            if (p[k] && k != SOMA__GRAD)
                soma__store(p[k] + i * stride[k], u->dtype, x[k]);
    }
}

const char *soma__optim_run(soma_args *a, soma__update *u, bool reference) {
    soma_tensor *operands[SOMA__UPDATE_MOST];
    soma__iter it;
    int n = 0;
    u->present = 0;
    for (int k = 0; k < u->n; k++) {
        if (!a->in[k])
            continue;
        operands[n++] = a->in[k];
        u->present |= 1u << k;
    }
    u->dtype = (soma_dtype)a->in[SOMA__PARAM]->dtype;
    char *p[SOMA__UPDATE_MOST];
    int64_t stride[SOMA__UPDATE_MOST];
    if (soma__iter_one_row(operands, n, false, p, stride)) {
        (reference ? row_reference : row)(u, p, stride, operands[0]->numel, 0);
        return NULL;
    }
    soma__iter_init(&it, a->in[SOMA__PARAM]->ndim, a->in[SOMA__PARAM]->shape, operands, n);
    soma__iter_run(&it, reference ? row_reference : row, u);
    return NULL;
}
