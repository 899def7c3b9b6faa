/* Dropout. The mask is a function of (seed, stream, element), so it does not depend on threads, and is an output, because the gradient
 * is the same masked scale (dropout_scale), which is its own gradient. */
#include "kernels/cpu/dropout.h"

#include "ops/dense.h"

#include <string.h>

enum { GRAIN = 16384 };

typedef struct job {
    const char *x;
    char *y;
    uint8_t *mask;
    bool f64;
    soma_rng rng;
    uint32_t threshold;
    int draw; /* 1: draw the mask; 0: all kept; -1: all dropped; 2: the mask is given */
    double scale;
    const soma__dropout_kernels *k;
} job;

static void dropout_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    if (j->draw == 1)
        j->k->mask(j->rng.seed, j->rng.stream, begin, end - begin, j->threshold, j->mask + begin);
    else if (j->draw < 1)
        memset(j->mask + begin, j->draw == 0, (size_t)(end - begin));
    if (j->f64)
        j->k->scale_f64((const double *)j->x + begin, j->mask + begin, (double *)j->y + begin, end - begin, j->scale);
    else
        j->k->scale_f32((const float *)j->x + begin, j->mask + begin, (float *)j->y + begin, end - begin, (float)j->scale);
}

static size_t dropout_work(soma_args *a) { return soma__dense_bytes(a->in[0]) + soma__dense_bytes(a->out[0]); }

static const char *run(soma_args *a, job *j) {
    char *room = a->work;
    j->f64 = a->in[0]->dtype == SOMA_F64;
    j->k = soma__dropout_pick();
    j->x = soma__dense(a->in[0], &room);
    j->y = soma__dense_out(a->out[0], &room);
    if (a->in[0]->numel > 0)
        soma__parallel(a->in[0]->numel, GRAIN, dropout_range, j);
    soma__dense_done(a->out[0], j->y);
    return NULL;
}

/* What is kept is divided by 1 - p. */
static double scale_of(double p, bool training) { return !training ? 1.0 : p < 1.0 ? 1.0 / (1.0 - p) : 0.0; }

static const char *dropout_kernel(soma_args *a) {
    double p = a->attrs[0].value.f;
    bool training = a->attrs[1].value.i != 0;
    uint64_t threshold = training ? (uint64_t)(p * 4294967296.0 + 0.5) : 0;
    job j = {.mask = a->out[1]->data, .rng = a->rng, .threshold = (uint32_t)threshold, .scale = scale_of(p, training)};
    j.draw = threshold == 0 ? 0 : threshold >> 32 ? -1 : 1;
    return run(a, &j);
}

static bool dropout_shape(soma_args *a, soma_meta *out) {
    double p = a->attrs[0].value.f;
    if (!(p >= 0.0 && p <= 1.0)) {
        soma_fail(SOMA_EINVAL, "dropout: p is %g, expected a probability, 0 to 1", p);
        return false;
    }
    soma__shape_same(a, out);
    out[1].dtype = SOMA_BOOL;
    return true;
}

/* ---- dropout_scale: x times (mask ? scale : 0) ------------------------------------------------------------------- */

/* The mask is seen in one piece: where it is not, it is copied. */
static size_t scale_work(soma_args *a) {
    return dropout_work(a) + (soma__contiguous(a->in[1]) ? 0 : soma__room((size_t)a->in[1]->numel));
}

static void copy_mask(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    uint8_t *out = arg;
    for (int64_t i = 0; i < count; i++)
        out[first + i] = *(const uint8_t *)(p[0] + i * stride[0]) != 0;
}

static const char *scale_kernel(soma_args *a) {
    job j = {.mask = a->in[1]->data, .draw = 2, .scale = a->attrs[0].value.f};
    if (!soma__contiguous(a->in[1])) {
        j.mask = (uint8_t *)a->work + dropout_work(a);
        soma__iter it;
        soma__iter_init(&it, a->in[1]->ndim, a->in[1]->shape, &a->in[1], 1);
        soma__iter_run(&it, copy_mask, j.mask);
    }
    return run(a, &j);
}

static bool scale_shape(soma_args *a, soma_meta *out) {
    char x[SOMA__SHAPE_TEXT], mask[SOMA__SHAPE_TEXT];
    if (soma__same_shape(a->in[0], a->in[1]))
        return soma__shape_same(a, out);
    soma_fail(SOMA_ESHAPE, "dropout_scale: x is %s, mask is %s; the shapes must be equal", soma__tensor_text(a->in[0], x),
              soma__tensor_text(a->in[1], mask));
    return false;
}

static soma_tensor *scaled(soma_tensor *x, soma_tensor *mask, double scale);

static void dropout_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = scaled(g->gout[0], g->out[1], scale_of(g->attrs[0].value.f, g->attrs[1].value.i != 0));
}

static void scale_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = scaled(g->gout[0], g->in[1], g->attrs[0].value.f);
}

static int64_t dropout_flops(soma_args *a) { return a->in[0]->numel; }

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static bool dropout_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { double p; bool training; } cases[] = {{0.5, true}, {0.1, true}, {0.0, true}, {1.0, true}, {0.5, false}};
    if (i >= (int)SOMA_LEN(cases))
        return false;
    *s = (soma_sample){.n_in = 1, .n_attrs = 2, .in = {soma__sample(dtype, -2, 2, (uint64_t)i, 3, (const int64_t[]){3, 5, 7})},
                       .attrs = {SOMA_FLOAT("p", cases[i].p), SOMA_BOOLEAN("training", cases[i].training)}, .no_gradcheck = i < 2};
    if (i == 1)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}

static bool dropout_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2)
        return false;
    *s = (soma_sample){.n_in = 1, .n_attrs = 1, .in = {soma__sample(dtype, -2, 2, 1, 1, (const int64_t[]){3})},
                       .attrs = {SOMA_FLOAT("p", i == 0 ? 1.5 : -0.1)}, .status = SOMA_EINVAL, .error = "expected a probability"};
    return true;
}

static bool scale_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2)
        return false;
    static const int64_t shape[] = {4, 9};
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_FLOAT("scale", 1.25)}};
    s->in[0] = soma__sample(dtype, -2, 2, (uint64_t)i, 2, shape);
    s->in[1] = soma__sample(SOMA_BOOL, 0, 1, 9, 2, shape);
    if (i == 1) {
        s->in[0] = soma__strided(s->in[0]);
        s->in[1] = soma__strided(s->in[1]);
    }
    return true;
}

static bool scale_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 1)
        return false;
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_FLOAT("scale", 1.25)}, .status = SOMA_ESHAPE, .error = "must be equal"};
    s->in[0] = soma__sample(dtype, -2, 2, 1, 1, (const int64_t[]){4});
    s->in[1] = soma__sample(SOMA_BOOL, 0, 1, 2, 1, (const int64_t[]){1});
    return true;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static const soma_op dropout_op = {
    .name = "dropout", .family = "dropout", .onnx = "Dropout",
    .doc = "x m / (1 - p), m 0 with probability p and else 1, when training; else x. Also gives m (Srivastava et al. 2014)",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 2,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("p", 0.5, "probability of 0"), SOMA_DEF_BOOL("training", true, "false: y is x")),
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .shape = dropout_shape, .work = dropout_work, .cpu = {dropout_kernel},
    .backward = dropout_backward, .saves = SOMA_SAVE_OUT(1), .random = true, .flops = dropout_flops, .samples = dropout_samples,
    .errors = dropout_errors,
};
static const soma_op scale_op = {
    .name = "dropout_scale", .family = "dropout", .doc = "gradient of dropout: x scale where mask, else 0",
    .in = {{.name = "x"}, {.name = "mask", .dtypes = SOMA_BIT(SOMA_BOOL), .apart = true}}, .n_in = 2, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_FLOAT("scale", "factor of what is kept")), .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME,
    .shape = scale_shape, .work = scale_work, .cpu = {scale_kernel}, .backward = scale_backward, .saves = SOMA_SAVE_IN(1),
    .no_grad_in = 2, .internal = true, .flops = dropout_flops, .samples = scale_samples, .errors = scale_errors,
};

extern soma_op_list soma__dropout_ops;
soma_op_list soma__dropout_ops = {&dropout_op, &scale_op, NULL};

static soma_tensor *scaled(soma_tensor *x, soma_tensor *mask, double scale) {
    soma_attr attr = SOMA_FLOAT("scale", scale);
    return SOMA__RUN(&scale_op, &attr, x, mask);
}

soma_tensor *soma_dropout(soma_tensor *x, double p, bool training) {
    if (x && (!training || p == 0.0))
        return soma__failed() ? NULL : x;
    soma_attr attrs[] = {SOMA_FLOAT("p", p), SOMA_BOOLEAN("training", training)};
    return SOMA__RUN(&dropout_op, attrs, x);
}
