/* Updates of the optimisers as operators: they write the parameter and its state in place, in one pass. The learning rate and the
 * number of the step are inputs, so that a captured step can be replayed with other values. */
#include "kernels/cpu/optim.h"
#include "ops/op.h"

#include <math.h>

/* ---- What both share ---- */

enum { PARAM, GRAD };

/* Parameter, gradient and state must be alike; the numbers are 0-d. */
static bool check_like(soma_args *a, int n_like, int rate, int step) {
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    for (int i = 1; i < n_like; i++) {
        if (!a->in[i] || (soma__same_shape(a->in[i], a->in[PARAM]) && a->in[i]->dtype == a->in[PARAM]->dtype))
            continue;
        soma_fail(SOMA_ESHAPE, "%s: %s %s does not fit the parameter %s", a->op->name, a->op->in[i].name, soma__tensor_text(a->in[i], have),
                  soma__tensor_text(a->in[PARAM], want));
        return false;
    }
    for (int i = rate; i <= step; i++) {
        if (a->in[i]->numel == 1)
            continue;
        soma_fail(SOMA_ESHAPE, "%s: %s must be one number, not %s", a->op->name, a->op->in[i].name, soma__tensor_text(a->in[i], have));
        return false;
    }
    return true;
}

static double number(const soma_tensor *t) { return soma__load(t->data, (soma_dtype)t->dtype); }

enum { BLOCK = 256, MOST = 4 };
typedef struct update {
    const void *numbers;
    soma_dtype dtype;
    int n; /* arrays; the second is only read */
    void (*f32)(const struct update *u, float *const *p, int64_t n);
    void (*f64)(const struct update *u, double *const *p, int64_t n);
    void (*one)(const struct update *u, double *x); /* the reference, for one element in f64 */
} update;

/* Gathers a block, updates it in f32 or f64 and puts it back: for strides and for the half formats. */
static void blockwise(const update *u, char *const *p, const int64_t *stride, int64_t count) {
    double wide[MOST][BLOCK];
    float narrow[MOST][BLOCK];
    double *in_f64[MOST];
    float *in_f32[MOST];
    for (int k = 0; k < u->n; k++) {
        in_f64[k] = wide[k];
        in_f32[k] = narrow[k];
    }
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        int64_t n = SOMA_MIN((int64_t)BLOCK, count - begin);
        for (int k = 0; k < u->n; k++)
            for (int64_t i = 0; i < n; i++) {
                wide[k][i] = soma__load(p[k] + (begin + i) * stride[k], u->dtype);
                narrow[k][i] = (float)wide[k][i];
            }
        if (u->dtype == SOMA_F64)
            u->f64(u, in_f64, n);
        else
            u->f32(u, in_f32, n);
        for (int k = 0; k < u->n; k++)
            for (int64_t i = 0; k != GRAD && i < n; i++)
                soma__store(p[k] + (begin + i) * stride[k], u->dtype, u->dtype == SOMA_F64 ? wide[k][i] : (double)narrow[k][i]);
    }
}

static void row(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const update *u = arg;
    (void)first;
    bool dense = u->dtype == SOMA_F32 || u->dtype == SOMA_F64;
    for (int k = 0; k < u->n; k++)
        dense = dense && (stride[k] == (int64_t)soma_dtype_size(u->dtype) || count == 1);
    if (!dense) {
        blockwise(u, p, stride, count);
        return;
    }
    double *f64[MOST];
    float *f32[MOST];
    for (int k = 0; k < u->n; k++) {
        f64[k] = (double *)(void *)p[k];
        f32[k] = (float *)(void *)p[k];
    }
    if (u->dtype == SOMA_F64)
        u->f64(u, f64, count);
    else
        u->f32(u, f32, count);
}

static void row_reference(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const update *u = arg;
    (void)first;
    for (int64_t i = 0; i < count; i++) {
        double x[MOST];
        for (int k = 0; k < u->n; k++)
            x[k] = soma__load(p[k] + i * stride[k], u->dtype);
        u->one(u, x);
        for (int k = 0; k < u->n; k++)
            if (k != GRAD)
                soma__store(p[k] + i * stride[k], u->dtype, x[k]);
    }
}

static const char *run(soma_args *a, update *u, soma__inner_fn inner) {
    soma__iter it;
    u->dtype = (soma_dtype)a->in[PARAM]->dtype;
    soma__iter_init(&it, a->in[PARAM]->ndim, a->in[PARAM]->shape, a->in, u->n);
    soma__iter_run(&it, inner, u);
    return NULL;
}

/* ---- SGD ---- */

enum { SGD_BUFFER = 2, SGD_LR, SGD_STEP };
enum { SGD_MOMENTUM, SGD_DAMPENING, SGD_DECAY, SGD_NESTEROV };

static bool sgd_shape(soma_args *a, soma_meta *out) {
    if (!check_like(a, 3, SGD_LR, SGD_STEP))
        return false;
    if ((soma__attr_float(a, SGD_MOMENTUM) != 0) != (a->in[SGD_BUFFER] != NULL)) {
        soma_fail(SOMA_EINVAL, "sgd_step: a momentum_buffer is needed with momentum, and only then");
        return false;
    }
    out[0] = soma__meta_of(a->in[PARAM]);
    return true;
}

static void sgd_f32(const update *u, float *const *p, int64_t n) {
    soma__optim_kernels_pick()->sgd_f32(u->numbers, p[0], p[1], u->n > 2 ? p[2] : NULL, n);
}
static void sgd_f64(const update *u, double *const *p, int64_t n) {
    soma__optim_kernels_pick()->sgd_f64(u->numbers, p[0], p[1], u->n > 2 ? p[2] : NULL, n);
}
static void sgd_one(const update *u, double *x) {
    const soma__sgd_numbers *c = u->numbers;
    double d = x[1] + c->weight_decay * x[0];
    if (u->n > 2) {
        x[2] = c->first ? d : c->momentum * x[2] + (1 - c->dampening) * d;
        d = c->nesterov ? d + c->momentum * x[2] : x[2];
    }
    x[0] -= c->lr * d;
}

static const char *sgd_run(soma_args *a, soma__inner_fn inner) {
    soma__sgd_numbers c = {
        .lr = number(a->in[SGD_LR]), .momentum = soma__attr_float(a, SGD_MOMENTUM), .dampening = soma__attr_float(a, SGD_DAMPENING),
        .weight_decay = soma__attr_float(a, SGD_DECAY), .nesterov = soma__attr_int(a, SGD_NESTEROV) != 0,
        .first = number(a->in[SGD_STEP]) <= 1,
    };
    update u = {.numbers = &c, .n = a->in[SGD_BUFFER] ? 3 : 2, .f32 = sgd_f32, .f64 = sgd_f64, .one = sgd_one};
    return run(a, &u, inner);
}
static const char *sgd_kernel(soma_args *a) { return sgd_run(a, row); }
static const char *sgd_reference(soma_args *a) { return sgd_run(a, row_reference); }

static soma_tensor *one_number(double value, soma_dtype dtype) { return soma_full(SOMA_SCALAR, value, dtype); }

static bool sgd_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t shape[] = {3, 7};
    if (i > 3)
        return false;
    s->n_in = 5;
    s->in[PARAM] = soma__sample(dtype, -1, 1, 1, 2, shape);
    s->in[GRAD] = soma__sample(dtype, -1, 1, 2, 2, shape);
    s->in[SGD_LR] = one_number(0.25, SOMA_F64);
    s->in[SGD_STEP] = one_number(i == 2 ? 1 : 5, SOMA_I64);
    if (i > 0) {
        s->in[SGD_BUFFER] = soma__sample(dtype, -1, 1, 3, 2, shape);
        s->attrs[s->n_attrs++] = SOMA_FLOAT("momentum", 0.75);
        s->attrs[s->n_attrs++] = SOMA_FLOAT("weight_decay", 0.125);
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("nesterov", i == 3);
    }
    s->no_gradcheck = true;
    return true;
}

static bool sgd_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 1)
        return false;
    sgd_samples(i, dtype, s);
    if (i == 0) {
        s->in[GRAD] = soma__sample(dtype, -1, 1, 2, 1, (const int64_t[]){4});
        s->error = "grad [4]";
        s->status = SOMA_ESHAPE;
    } else {
        s->in[SGD_BUFFER] = NULL;
        s->error = "a momentum_buffer is needed";
        s->status = SOMA_EINVAL;
    }
    return true;
}

static const soma_op sgd_op = {
    .name = "sgd_step", .family = "optim",
    .doc = "one step of stochastic gradient descent, in place: p -= lr d, where d is the gradient plus weight_decay p, or with momentum "
           "the buffer b = momentum b + (1 - dampening) d (in step 1: b = d), or d + momentum b with Nesterov's rule",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "momentum_buffer", .optional = true},
           {.name = "lr", .dtypes = SOMA_BIT(SOMA_F64) | SOMA_BIT(SOMA_F32), .apart = true},
           {.name = "step", .dtypes = SOMA_BIT(SOMA_I64), .apart = true}},
    .n_in = 5, .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("momentum", 0, "share of the buffer that stays"),
                        SOMA_DEF_FLOAT("dampening", 0, "share of the gradient that is left out of the buffer"),
                        SOMA_DEF_FLOAT("weight_decay", 0, "share of the parameter that is added to the gradient"),
                        SOMA_DEF_BOOL("nesterov", 0, "Nesterov's momentum")),
    .shape = sgd_shape, .cpu = {sgd_kernel, sgd_reference}, .backward = SOMA_NONDIFF, .writes = 1u << PARAM | 1u << SGD_BUFFER,
    .samples = sgd_samples, .errors = sgd_errors,
};

/* ---- Adam, AdamW ---- */

enum { ADAM_M = 2, ADAM_V, ADAM_LR, ADAM_STEP };
enum { ADAM_BETA1, ADAM_BETA2, ADAM_EPS, ADAM_DECAY, ADAM_DECOUPLED };

static bool adam_shape(soma_args *a, soma_meta *out) {
    if (!check_like(a, 4, ADAM_LR, ADAM_STEP))
        return false;
    out[0] = soma__meta_of(a->in[PARAM]);
    return true;
}

static void adam_f32(const update *u, float *const *p, int64_t n) {
    soma__optim_kernels_pick()->adam_f32(u->numbers, p[0], p[1], p[2], p[3], n);
}
static void adam_f64(const update *u, double *const *p, int64_t n) {
    soma__optim_kernels_pick()->adam_f64(u->numbers, p[0], p[1], p[2], p[3], n);
}
static void adam_one(const update *u, double *x) {
    const soma__adam_numbers *c = u->numbers;
    double d = x[1] + c->weight_decay * x[0];
    x[2] = c->beta1 * x[2] + (1 - c->beta1) * d;
    x[3] = c->beta2 * x[3] + (1 - c->beta2) * d * d;
    x[0] = c->keep * x[0] - c->step_size * x[2] / (sqrt(x[3]) / c->root + c->eps);
}

static const char *adam_run(soma_args *a, soma__inner_fn inner) {
    double lr = number(a->in[ADAM_LR]), step = SOMA_MAX(number(a->in[ADAM_STEP]), 1), decay = soma__attr_float(a, ADAM_DECAY);
    bool decoupled = soma__attr_int(a, ADAM_DECOUPLED) != 0;
    soma__adam_numbers c = {.beta1 = soma__attr_float(a, ADAM_BETA1), .beta2 = soma__attr_float(a, ADAM_BETA2),
                            .eps = soma__attr_float(a, ADAM_EPS), .weight_decay = decoupled ? 0 : decay,
                            .keep = decoupled ? 1 - lr * decay : 1};
    c.step_size = lr / (1 - pow(c.beta1, step));
    c.root = sqrt(1 - pow(c.beta2, step));
    update u = {.numbers = &c, .n = 4, .f32 = adam_f32, .f64 = adam_f64, .one = adam_one};
    return run(a, &u, inner);
}
static const char *adam_kernel(soma_args *a) { return adam_run(a, row); }
static const char *adam_reference(soma_args *a) { return adam_run(a, row_reference); }

static bool adam_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t shape[] = {3, 7};
    if (i > 2)
        return false;
    s->n_in = 6;
    s->in[PARAM] = soma__sample(dtype, -1, 1, 1, 2, shape);
    s->in[GRAD] = soma__sample(dtype, -1, 1, 2, 2, shape);
    s->in[ADAM_M] = soma__sample(dtype, -1, 1, 3, 2, shape);
    s->in[ADAM_V] = soma__sample(dtype, 0.1, 1, 4, 2, shape);
    s->in[ADAM_LR] = one_number(0.25, SOMA_F64);
    s->in[ADAM_STEP] = one_number(3, SOMA_I64);
    if (i > 0)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("weight_decay", 0.125);
    if (i > 1)
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("decoupled", true);
    s->no_gradcheck = true;
    return true;
}

static bool adam_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 1)
        return false;
    adam_samples(i, dtype, s);
    s->in[i == 0 ? ADAM_V : ADAM_LR] = soma__sample(i == 0 ? dtype : SOMA_F64, 0, 1, 2, 1, (const int64_t[]){4});
    s->error = i == 0 ? "exp_avg_sq [4]" : "lr must be one number";
    s->status = SOMA_ESHAPE;
    return true;
}

static const soma_op adam_op = {
    .name = "adam_step", .family = "optim",
    .doc = "one step of Adam (Kingma & Ba 2015) or, decoupled, AdamW (Loshchilov & Hutter 2019), in place: m = beta1 m + (1 - beta1) g, "
           "v = beta2 v + (1 - beta2) g^2, p -= lr m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps)",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "exp_avg"}, {.name = "exp_avg_sq"},
           {.name = "lr", .dtypes = SOMA_BIT(SOMA_F64) | SOMA_BIT(SOMA_F32), .apart = true},
           {.name = "step", .dtypes = SOMA_BIT(SOMA_I64), .apart = true}},
    .n_in = 6, .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("beta1", 0.9, "share of the mean that stays"),
                        SOMA_DEF_FLOAT("beta2", 0.999, "share of the mean square that stays"),
                        SOMA_DEF_FLOAT("eps", 1e-8, "added to the root"),
                        SOMA_DEF_FLOAT("weight_decay", 0, "share of the parameter that is added to the gradient, or taken off the parameter"),
                        SOMA_DEF_BOOL("decoupled", 0, "AdamW: p is multiplied by 1 - lr weight_decay instead")),
    .shape = adam_shape, .cpu = {adam_kernel, adam_reference}, .backward = SOMA_NONDIFF,
    .writes = 1u << PARAM | 1u << ADAM_M | 1u << ADAM_V, .samples = adam_samples, .errors = adam_errors,
};

soma_op_list soma__optim_ops = {&sgd_op, &adam_op, NULL};
