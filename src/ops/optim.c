/* The updates of SGD and Adam: kernels of their own for every instruction set. What all updates share is in optim_run.c. */
#include "kernels/cpu/optim.h"
#include "kernels/cpu/optim_rules.h"
#include "ops/optim.h"

#include <math.h>
#include <string.h>

/* ---- SGD ---- */

enum { PARAM = SOMA__PARAM, GRAD = SOMA__GRAD };
enum { SGD_BUFFER = 2, SGD_LR, SGD_STEP };
enum { SGD_MOMENTUM, SGD_DAMPENING, SGD_DECAY, SGD_NESTEROV };

static bool sgd_shape(soma_args *a, soma_meta *out) {
    if (!soma__optim_like(a, 3))
        return false;
    if ((soma__attr_float(a, SGD_MOMENTUM) != 0) != (a->in[SGD_BUFFER] != NULL)) {
        soma_fail(SOMA_EINVAL, "sgd_step: a momentum_buffer is needed with momentum, and only then");
        return false;
    }
    out[0] = soma__meta_of(a->in[PARAM]);
    return true;
}

static void sgd_f32(const soma__update *u, float *const *p, int64_t n) {
    soma__optim_kernels_pick()->sgd_f32(u->numbers, p[0], p[1], p[2], n);
}
static void sgd_f64(const soma__update *u, double *const *p, int64_t n) {
    soma__optim_kernels_pick()->sgd_f64(u->numbers, p[0], p[1], p[2], n);
}
static void sgd_one(const soma__update *u, double *x) {
    const soma__sgd_numbers *c = u->numbers;
    double d = x[1] + c->weight_decay * x[0];
    if (u->present & 1u << SGD_BUFFER) {
        x[2] = c->first ? d : c->momentum * x[2] + (1 - c->dampening) * d;
        d = c->nesterov ? d + c->momentum * x[2] : x[2];
    }
    x[0] -= c->lr * d;
}

static const char *sgd_run(soma_args *a, bool reference) {
    soma__sgd_numbers c = {
        .lr = soma__optim_value(a->in[SGD_LR]), .momentum = soma__attr_float(a, SGD_MOMENTUM), .dampening = soma__attr_float(a, SGD_DAMPENING),
        .weight_decay = soma__attr_float(a, SGD_DECAY), .nesterov = soma__attr_int(a, SGD_NESTEROV) != 0,
        .first = soma__optim_value(a->in[SGD_STEP]) <= 1,
    };
    soma__update u = {.numbers = &c, .n = 3, .f32 = sgd_f32, .f64 = sgd_f64, .one = sgd_one};
    return soma__optim_run(a, &u, reference);
}
static const char *sgd_kernel(soma_args *a) { return sgd_run(a, false); }
static const char *sgd_reference(soma_args *a) { return sgd_run(a, true); }

static bool sgd_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t shape[] = {3, 7};
    if (i > 3)
        return false;
    s->n_in = 5;
    s->in[PARAM] = soma__sample(dtype, -1, 1, 1, 2, shape);
    s->in[GRAD] = soma__sample(dtype, -1, 1, 2, 2, shape);
    s->in[SGD_LR] = soma__optim_one(0.25, SOMA_F64);
    s->in[SGD_STEP] = soma__optim_one(i == 2 ? 1 : 5, SOMA_I64);
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

enum { ADAM_M = 2, ADAM_V, ADAM_MAX, ADAM_LR, ADAM_STEP };
enum { ADAM_BETA1, ADAM_BETA2, ADAM_EPS, ADAM_DECAY, ADAM_AMSGRAD, ADAM_DECOUPLED };

static bool adam_shape(soma_args *a, soma_meta *out) {
    if (!soma__optim_like(a, 5))
        return false;
    if ((soma__attr_int(a, ADAM_AMSGRAD) != 0) != (a->in[ADAM_MAX] != NULL)) {
        soma_fail(SOMA_EINVAL, "adam_step: a max_exp_avg_sq is needed with amsgrad, and only then");
        return false;
    }
    out[0] = soma__meta_of(a->in[PARAM]);
    return true;
}

/* The numbers as the plain rule takes them. */
static void amsgrad_numbers(const soma__adam_numbers *a, double c[SOMA__RULE_NUMBERS]) {
    const double all[] = {a->step_size, a->weight_decay, a->keep, a->beta1, a->beta2, a->eps, a->root};
    memcpy(c, all, sizeof all);
}

static void adam_f32(const soma__update *u, float *const *p, int64_t n) {
    double c[SOMA__RULE_NUMBERS];
    if (p[ADAM_MAX]) {
        amsgrad_numbers(u->numbers, c);
        soma__rule_amsgrad.f32(c, p, n);
        return;
    }
    soma__optim_kernels_pick()->adam_f32(u->numbers, p[0], p[1], p[2], p[3], n);
}
static void adam_f64(const soma__update *u, double *const *p, int64_t n) {
    double c[SOMA__RULE_NUMBERS];
    if (p[ADAM_MAX]) {
        amsgrad_numbers(u->numbers, c);
        soma__rule_amsgrad.f64(c, p, n);
        return;
    }
    soma__optim_kernels_pick()->adam_f64(u->numbers, p[0], p[1], p[2], p[3], n);
}
static void adam_one(const soma__update *u, double *x) {
    const soma__adam_numbers *c = u->numbers;
    double d = x[1] + c->weight_decay * x[0];
    x[2] = c->beta1 * x[2] + (1 - c->beta1) * d;
    x[3] = c->beta2 * x[3] + (1 - c->beta2) * d * d;
    if (u->present & 1u << ADAM_MAX)
        x[4] = x[4] > x[3] ? x[4] : x[3];
    x[0] = c->keep * x[0] - c->step_size * x[2] / (sqrt(x[u->present & 1u << ADAM_MAX ? 4 : 3]) / c->root + c->eps);
}

static const char *adam_run(soma_args *a, bool reference) {
    double lr = soma__optim_value(a->in[ADAM_LR]), step = SOMA_MAX(soma__optim_value(a->in[ADAM_STEP]), 1), decay = soma__attr_float(a, ADAM_DECAY);
    bool decoupled = soma__attr_int(a, ADAM_DECOUPLED) != 0;
    soma__adam_numbers c = {.beta1 = soma__attr_float(a, ADAM_BETA1), .beta2 = soma__attr_float(a, ADAM_BETA2),
                            .eps = soma__attr_float(a, ADAM_EPS), .weight_decay = decoupled ? 0 : decay,
                            .keep = decoupled ? 1 - lr * decay : 1};
    c.step_size = lr / (1 - pow(c.beta1, step));
    c.root = sqrt(1 - pow(c.beta2, step));
    soma__update u = {.numbers = &c, .n = 5, .f32 = adam_f32, .f64 = adam_f64, .one = adam_one};
    return soma__optim_run(a, &u, reference);
}
static const char *adam_kernel(soma_args *a) { return adam_run(a, false); }
static const char *adam_reference(soma_args *a) { return adam_run(a, true); }

static bool adam_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t shape[] = {3, 7};
    if (i > 3)
        return false;
    s->n_in = 7;
    s->in[PARAM] = soma__sample(dtype, -1, 1, 1, 2, shape);
    s->in[GRAD] = soma__sample(dtype, -1, 1, 2, 2, shape);
    s->in[ADAM_M] = soma__sample(dtype, -1, 1, 3, 2, shape);
    s->in[ADAM_V] = soma__sample(dtype, 0.1, 1, 4, 2, shape);
    s->in[ADAM_LR] = soma__optim_one(0.25, SOMA_F64);
    s->in[ADAM_STEP] = soma__optim_one(3, SOMA_I64);
    if (i > 0)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("weight_decay", 0.125);
    if (i > 1)
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("decoupled", true);
    if (i > 2) {
        s->in[ADAM_MAX] = soma__sample(dtype, 0.1, 1, 5, 2, shape);
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("amsgrad", true);
    }
    s->no_gradcheck = true;
    return true;
}

static bool adam_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 2)
        return false;
    adam_samples(i, dtype, s);
    if (i == 2) {
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("amsgrad", true);
        s->error = "a max_exp_avg_sq is needed";
        s->status = SOMA_EINVAL;
        return true;
    }
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
           {.name = "max_exp_avg_sq", .optional = true},
           {.name = "lr", .dtypes = SOMA_BIT(SOMA_F64) | SOMA_BIT(SOMA_F32), .apart = true},
           {.name = "step", .dtypes = SOMA_BIT(SOMA_I64), .apart = true}},
    .n_in = 7, .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("beta1", 0.9, "share of the mean that stays"),
                        SOMA_DEF_FLOAT("beta2", 0.999, "share of the mean square that stays"),
                        SOMA_DEF_FLOAT("eps", 1e-8, "added to the root"),
                        SOMA_DEF_FLOAT("weight_decay", 0, "share of the parameter that is added to the gradient, or taken off the parameter"),
                        SOMA_DEF_BOOL("amsgrad", 0, "divide by the root of the largest mean square so far (Reddi et al. 2018)"),
                        SOMA_DEF_BOOL("decoupled", 0, "AdamW: p is multiplied by 1 - lr weight_decay instead")),
    .shape = adam_shape, .cpu = {adam_kernel, adam_reference}, .backward = SOMA_NONDIFF,
    .writes = 1u << PARAM | 1u << ADAM_M | 1u << ADAM_V | 1u << ADAM_MAX, .samples = adam_samples, .errors = adam_errors,
};

soma_op_list soma__optim_ops = {&sgd_op, &adam_op, NULL};
