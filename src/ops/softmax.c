/* Softmax and log-softmax along one dimension. The gradient is one fused kernel (softmax_backward, log_softmax_backward) unless the
 * gradient itself is to be differentiated; then it is written in operators. */
#include "kernels/cpu/softmax.h"

#include "ops/dense.h"

typedef struct layout {
    int64_t outer, n, inner, blocks;
    const void *x, *g;
    void *y;
    bool logarithm, f64;
    const soma__softmax_kernels *k;
} layout;

static layout layout_of(const soma_args *a) {
    const soma_tensor *x = a->in[0];
    int dim = soma__dim(a->op->name, a->attrs[0].value.i, x->ndim);
    layout l = {.outer = 1, .n = 1, .inner = 1, .f64 = x->dtype == SOMA_F64, .k = soma__softmax_pick()};
    for (int d = 0; d < x->ndim; d++)
        *(d < dim ? &l.outer : d == dim ? &l.n : &l.inner) *= x->shape[d];
    l.blocks = (l.inner + SOMA__SOFTMAX_COLUMNS - 1) / SOMA__SOFTMAX_COLUMNS;
    return l;
}

/* Calls a rows kernel of the dtype on rows [begin, end), or a columns kernel on blocks [begin, end). */
static void forward_range(void *arg, int64_t begin, int64_t end) {
    const layout *l = arg;
    size_t size = l->f64 ? sizeof(double) : sizeof(float);
    if (l->inner == 1) {
        const char *x = (const char *)l->x + (size_t)(begin * l->n) * size;
        char *y = (char *)l->y + (size_t)(begin * l->n) * size;
        if (l->f64)
            l->k->f64.rows((const double *)x, (double *)y, end - begin, l->n, l->logarithm);
        else
            l->k->f32.rows((const float *)x, (float *)y, end - begin, l->n, l->logarithm);
        return;
    }
    for (int64_t b = begin; b < end; b++) {
        int64_t from = b % l->blocks * SOMA__SOFTMAX_COLUMNS, w = SOMA_MIN(SOMA__SOFTMAX_COLUMNS, l->inner - from);
        size_t at = (size_t)(b / l->blocks * l->n * l->inner + from);
        if (l->f64)
            l->k->f64.columns((const double *)l->x + at, (double *)l->y + at, l->n, l->inner, w, l->logarithm);
        else
            l->k->f32.columns((const float *)l->x + at, (float *)l->y + at, l->n, l->inner, w, l->logarithm);
    }
}

static void backward_range(void *arg, int64_t begin, int64_t end) {
    const layout *l = arg;
    if (l->inner == 1) {
        size_t at = (size_t)(begin * l->n);
        if (l->f64)
            l->k->f64.rows_backward((const double *)l->g + at, (const double *)l->x + at, (double *)l->y + at, end - begin, l->n,
                                    l->logarithm);
        else
            l->k->f32.rows_backward((const float *)l->g + at, (const float *)l->x + at, (float *)l->y + at, end - begin, l->n,
                                    l->logarithm);
        return;
    }
    for (int64_t b = begin; b < end; b++) {
        int64_t from = b % l->blocks * SOMA__SOFTMAX_COLUMNS, w = SOMA_MIN(SOMA__SOFTMAX_COLUMNS, l->inner - from);
        size_t at = (size_t)(b / l->blocks * l->n * l->inner + from);
        if (l->f64)
            l->k->f64.columns_backward((const double *)l->g + at, (const double *)l->x + at, (double *)l->y + at, l->n, l->inner, w,
                                       l->logarithm);
        else
            l->k->f32.columns_backward((const float *)l->g + at, (const float *)l->x + at, (float *)l->y + at, l->n, l->inner, w,
                                       l->logarithm);
    }
}

static void run_layout(layout *l, soma__range_fn fn) {
    int64_t width = SOMA_MIN(l->inner, SOMA__SOFTMAX_COLUMNS), each = SOMA_MAX(1, l->n * width);
    if (l->outer * l->n * l->inner > 0)
        soma__parallel(l->outer * (l->inner == 1 ? 1 : l->blocks), SOMA_MAX(1, 8192 / each), fn, l);
}

static size_t forward_work(soma_args *a) { return soma__dense_bytes(a->in[0]) + soma__dense_bytes(a->out[0]); }

static const char *forward(soma_args *a, bool logarithm) {
    layout l = layout_of(a);
    char *room = a->work;
    l.logarithm = logarithm;
    l.x = soma__dense(a->in[0], &room);
    l.y = soma__dense_out(a->out[0], &room);
    run_layout(&l, forward_range);
    soma__dense_done(a->out[0], l.y);
    return NULL;
}
static const char *softmax_kernel(soma_args *a) { return forward(a, false); }
static const char *log_softmax_kernel(soma_args *a) { return forward(a, true); }

static size_t backward_work(soma_args *a) { return forward_work(a) + soma__dense_bytes(a->in[1]); }

static const char *backward(soma_args *a, bool logarithm) {
    layout l = layout_of(a);
    char *room = a->work;
    l.logarithm = logarithm;
    l.g = soma__dense(a->in[0], &room);
    l.x = soma__dense(a->in[1], &room);
    l.y = soma__dense_out(a->out[0], &room);
    run_layout(&l, backward_range);
    soma__dense_done(a->out[0], l.y);
    return NULL;
}
static const char *softmax_backward_kernel(soma_args *a) { return backward(a, false); }
static const char *log_softmax_backward_kernel(soma_args *a) { return backward(a, true); }

/* ---- Shapes, gradients ------------------------------------------------------------------------------------------- */

static bool softmax_shape(soma_args *a, soma_meta *out) {
    return soma__dim(a->op->name, a->attrs[0].value.i, a->in[0]->ndim) >= 0 && soma__shape_same(a, out);
}

static bool softmax_backward_shape(soma_args *a, soma_meta *out) {
    char g[SOMA__SHAPE_TEXT], y[SOMA__SHAPE_TEXT];
    if (!soma__same_shape(a->in[0], a->in[1])) {
        soma_fail(SOMA_ESHAPE, "%s: grad is %s, y is %s; they must be equal", a->op->name, soma__tensor_text(a->in[0], g),
                  soma__tensor_text(a->in[1], y));
        return false;
    }
    return softmax_shape(a, out);
}

static const soma_op softmax_backward_op, log_softmax_backward_op;

static void softmax_gradient(soma_grad_args *g) {
    soma_tensor *grad = g->gout[0], *y = g->out[0];
    int64_t dim = g->attrs[0].value.i;
    if (!grad)
        return;
    if (!g->create_graph)
        g->gin[0] = SOMA__RUN(&softmax_backward_op, g->attrs, grad, y);
    else
        g->gin[0] = soma_mul(y, soma_sub(grad, soma_sum(soma_mul(grad, y), 1, &dim, true)));
}

static void log_softmax_gradient(soma_grad_args *g) {
    soma_tensor *grad = g->gout[0], *y = g->out[0];
    int64_t dim = g->attrs[0].value.i;
    if (!grad)
        return;
    if (!g->create_graph)
        g->gin[0] = SOMA__RUN(&log_softmax_backward_op, g->attrs, grad, y);
    else
        g->gin[0] = soma_sub(grad, soma_mul(soma_exp(y), soma_sum(grad, 1, &dim, true)));
}

/* About what an exponential, two sums and a product cost. */
static int64_t softmax_flops(soma_args *a) { return 12 * a->in[0]->numel; }
static int64_t softmax_backward_flops(soma_args *a) { return 4 * a->in[0]->numel; }

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static bool softmax_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4], dim; double range;
    } cases[] = {
        {2, {5, 10}, -1, 3}, {3, {2, 4, 3}, 1, 3},    {2, {2, 37}, 1, 60},
        {1, {7}, 0, 3},      {4, {2, 3, 2, 5}, 1, 3}, {2, {3, 4}, 0, 3},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    double r = cases[i].range;
    *s = (soma_sample){.n_in = 1, .n_attrs = 1, .in = {soma__sample(dtype, -r, r, (uint64_t)i, cases[i].ndim, cases[i].shape)},
                       .attrs = {SOMA_INT("dim", cases[i].dim)}};
    if (i == (int)SOMA_LEN(cases) - 1)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}

static bool softmax_backward_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!softmax_samples(i, dtype, s))
        return false;
    soma_tensor *x = s->in[0];
    s->n_in = 2;
    s->in[1] = soma_softmax(x, -1); /* a saved result: its exponential must stay in the range of f16 */
    s->in[0] = x ? soma__sample(dtype, -1, 1, (uint64_t)i + 50, x->ndim, x->shape) : NULL;
    s->no_gradcheck = true;
    return true;
}

static bool softmax_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 1)
        return false;
    *s = (soma_sample){.n_in = 1, .n_attrs = 1, .in = {soma__sample(dtype, -1, 1, 1, 2, (const int64_t[]){2, 3})},
                       .attrs = {SOMA_INT("dim", 2)}, .status = SOMA_ESHAPE, .error = "dim 2 is out of range"};
    return true;
}

static bool softmax_backward_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 1)
        return false;
    *s = (soma_sample){.n_in = 2, .status = SOMA_ESHAPE, .error = "must be equal"};
    s->in[0] = soma__sample(dtype, -1, 1, 1, 2, (const int64_t[]){2, 3});
    s->in[1] = soma__sample(dtype, -1, 1, 1, 2, (const int64_t[]){3, 2});
    return true;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

#define DIM_ATTR SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension that sums to one"))

static const soma_op softmax_op = {
    .name = "softmax", .family = "softmax", .onnx = "Softmax", .doc = "exp(x) / sum(exp(x)) along dim, computed without overflow",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .attrs = DIM_ATTR, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME,
    .shape = softmax_shape, .work = forward_work, .cpu = {softmax_kernel}, .backward = softmax_gradient, .saves = SOMA_SAVE_OUT(0),
    .flops = softmax_flops, .samples = softmax_samples, .errors = softmax_errors,
};
static const soma_op log_softmax_op = {
    .name = "log_softmax", .family = "softmax", .onnx = "LogSoftmax",
    .doc = "x - log(sum(exp(x))) along dim, computed without overflow",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .attrs = DIM_ATTR, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME,
    .shape = softmax_shape, .work = forward_work, .cpu = {log_softmax_kernel}, .backward = log_softmax_gradient,
    .saves = SOMA_SAVE_OUT(0), .flops = softmax_flops, .samples = softmax_samples, .errors = softmax_errors,
};
static const soma_op softmax_backward_op = {
    .name = "softmax_backward", .family = "softmax", .doc = "gradient of softmax: y (g - sum(g y)) along dim",
    .in = {{.name = "grad"}, {.name = "y"}}, .n_in = 2, .outputs = 1, .attrs = DIM_ATTR, .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME, .shape = softmax_backward_shape, .work = backward_work, .cpu = {softmax_backward_kernel},
    .backward = SOMA_NONDIFF, .internal = true, .flops = softmax_backward_flops, .samples = softmax_backward_samples,
    .errors = softmax_backward_errors,
};
static const soma_op log_softmax_backward_op = {
    .name = "log_softmax_backward", .family = "softmax", .doc = "gradient of log_softmax: g - exp(y) sum(g) along dim",
    .in = {{.name = "grad"}, {.name = "y"}}, .n_in = 2, .outputs = 1, .attrs = DIM_ATTR, .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME, .shape = softmax_backward_shape, .work = backward_work, .cpu = {log_softmax_backward_kernel},
    .backward = SOMA_NONDIFF, .internal = true, .flops = softmax_flops, .samples = softmax_backward_samples,
    .errors = softmax_backward_errors,
};

extern soma_op_list soma__softmax_ops;
soma_op_list soma__softmax_ops = {&softmax_op, &log_softmax_op, &softmax_backward_op, &log_softmax_backward_op, NULL};

soma_tensor *soma_softmax(soma_tensor *x, int64_t dim) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&softmax_op, &attr, x);
}
soma_tensor *soma_log_softmax(soma_tensor *x, int64_t dim) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&log_softmax_op, &attr, x);
}
