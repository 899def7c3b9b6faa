/* The updates of the other optimisers: elementwise rules (kernels/cpu/optim_rules.h), and LARS and LAMB, which look at the norms of whole
 * tensors and are written in operators. Formulas and defaults are torch.optim's, those that it lacks the papers'. */
#include "kernels/cpu/optim_rules.h"
#include "ops/optim.h"

#include <math.h>

/* ---- What the elementwise rules share ---- */

typedef struct rule_call {
    const soma__optim_rule *rule;
    double c[SOMA__RULE_NUMBERS];
} rule_call;

static void rule_f32(const soma__update *u, float *const *p, int64_t n) {
    const rule_call *call = u->numbers;
    call->rule->f32(call->c, p, n);
}
static void rule_f64(const soma__update *u, double *const *p, int64_t n) {
    const rule_call *call = u->numbers;
    call->rule->f64(call->c, p, n);
}
static void rule_one(const soma__update *u, double *x) {
    double *p[SOMA__UPDATE_MOST];
    for (int k = 0; k < u->n; k++)
        p[k] = u->present & 1u << k ? x + k : NULL;
    rule_f64(u, p, 1);
}

/* Inputs that are like the parameter: all before the first that stays out of promotion. */
static int like(const soma_op *op) {
    int n = 0;
    while (n < op->n_in && !op->in[n].apart)
        n++;
    return n;
}

static bool rule_shape(soma_args *a, soma_meta *out) {
    if (!soma__optim_like(a, like(a->op)))
        return false;
    out[0] = soma__meta_of(a->in[SOMA__PARAM]);
    return true;
}

static double rate(const soma_args *a) { return soma__optim_value(a->in[a->n_in - 2]); }
static double step(const soma_args *a) { return fmax(soma__optim_value(a->in[a->n_in - 1]), 1); }

static const char *rule_run(soma_args *a, const soma__optim_rule *rule, void (*numbers)(soma_args *, double *), bool reference) {
    rule_call call = {.rule = rule, .c = {[0] = rate(a), [2] = 1}};
    numbers(a, call.c);
    soma__update u = {.numbers = &call, .n = like(a->op), .f32 = rule_f32, .f64 = rule_f64, .one = rule_one};
    return soma__optim_run(a, &u, reference);
}

/* ---- Samples: plain, with every option set, 0-d, empty, strided, first step ---- */

static soma_tensor *sample_input(const soma_op *op, int k, int i, soma_dtype dtype) {
    static const int64_t shapes[][2] = {{3, 7}, {4, 5}, {0, 0}, {0, 3}, {4, 6}, {2, 5}, {300, 3}};
    static const int ndims[] = {2, 2, 0, 2, 2, 1, 2};
    if (op->in[k].apart)
        return k == op->n_in - 1 ? soma__optim_one(i == 5 ? 1 : 7, SOMA_I64) : soma__optim_one(k == op->n_in - 2 ? 0.25 : 0.5, SOMA_F64);
    double low = k < 2 ? -1 : k == 2 ? 0.5 : 0.1, high = k < 2 || k == 2 ? 1 : 0.4;
    soma_tensor *t = soma__sample(dtype, low, high, (uint64_t)(20 * i + k), ndims[i], shapes[i]);
    return i == 4 ? soma__strided(t) : t;
}

static bool rule_samples(const soma_op *op, int i, soma_dtype dtype, soma_sample *s) {
    if (i > 6)
        return false;
    s->n_in = op->n_in;
    for (int k = 0; k < op->n_in; k++)
        if (!op->in[k].optional || i == 1)
            s->in[k] = sample_input(op, k, i, dtype);
    for (int k = 0; k < op->n_attrs && i == 1; k++) {
        soma_attr attr = op->attrs[k].def;
        if (attr.kind == SOMA_ATTR_BOOL)
            attr.value.i = 1;
        else if (attr.value.f == 0)
            attr.value.f = 0.125;
        s->attrs[s->n_attrs++] = attr;
    }
    s->no_gradcheck = true;
    return true;
}

static bool rule_errors(const soma_op *op, int i, soma_dtype dtype, soma_sample *s) {
    if (i > 1)
        return false;
    rule_samples(op, 0, dtype, s);
    s->in[i == 0 ? SOMA__GRAD : op->n_in - 2] = soma__sample(i == 0 ? dtype : SOMA_F64, 0, 1, 2, 1, (const int64_t[]){4});
    s->error = i == 0 ? "grad [4]" : "lr must be one number";
    s->status = SOMA_ESHAPE;
    return true;
}

#define SAMPLES(id)                                                                                                        \
    static const soma_op id##_op;                                                                                          \
    static bool id##_samples(int i, soma_dtype dtype, soma_sample *s) { return rule_samples(&id##_op, i, dtype, s); }      \
    static bool id##_errors(int i, soma_dtype dtype, soma_sample *s) { return rule_errors(&id##_op, i, dtype, s); }
#define RULE(id)                                                                                                           \
    static const char *id##_kernel(soma_args *a) { return rule_run(a, &soma__rule_##id, id##_numbers, false); }            \
    static const char *id##_reference(soma_args *a) { return rule_run(a, &soma__rule_##id, id##_numbers, true); }          \
    SAMPLES(id)
#define ENTRY(id)                                                                                                          \
    .name = #id "_step", .family = "optim", .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE,             \
    .backward = SOMA_NONDIFF, .samples = id##_samples, .errors = id##_errors
#define RULE_ENTRY(id) ENTRY(id), .shape = rule_shape, .cpu = {id##_kernel, id##_reference}
#define NUMBER(what) {.name = what, .dtypes = SOMA_BIT(SOMA_F64) | SOMA_BIT(SOMA_F32), .apart = true}
#define LR_STEP NUMBER("lr"), {.name = "step", .dtypes = SOMA_BIT(SOMA_I64), .apart = true}
#define WRITES(last) ((2u << (last)) - 1 - (1u << SOMA__GRAD))
#define DECAY SOMA_DEF_FLOAT("weight_decay", 0, "share of the parameter that is added to the gradient")
#define DECOUPLED SOMA_DEF_BOOL("decoupled_weight_decay", 0, "take lr weight_decay off the parameter instead, as AdamW")
#define BETAS(b1, b2) SOMA_DEF_FLOAT("beta1", b1, "share of the mean gradient that stays"), \
                      SOMA_DEF_FLOAT("beta2", b2, "share of the mean square that stays")

/* ---- The rules: attributes to numbers, and the entries ---- */

static void adagrad_numbers(soma_args *a, double *c) {
    c[0] /= 1 + (step(a) - 1) * soma__attr_float(a, 0);
    c[1] = soma__attr_float(a, 1);
    c[3] = soma__attr_float(a, 3);
    c[4] = soma__attr_float(a, 2);
    c[5] = step(a) <= 1;
}
RULE(adagrad)
static const soma_op adagrad_op = {
    RULE_ENTRY(adagrad),
    .doc = "One step of Adagrad (Duchi, Hazan, Singer 2011), in place: sum += g^2, p -= lr / (1 + (step - 1) lr_decay) g / (sqrt(sum) + eps). "
           "Rates only fall: good for sparse gradients, slow in long trainings of deep networks.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "sum"}, LR_STEP}, .n_in = 5, .writes = WRITES(2),
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("lr_decay", 0, "how fast the rate falls with the steps"), DECAY,
                        SOMA_DEF_FLOAT("initial_accumulator_value", 0, "what the sum of squares begins with"),
                        SOMA_DEF_FLOAT("eps", 1e-10, "added to the root")),
};

static void adadelta_numbers(soma_args *a, double *c) {
    c[1] = soma__attr_float(a, 2);
    c[3] = soma__attr_float(a, 0);
    c[4] = soma__attr_float(a, 1);
}
RULE(adadelta)
static const soma_op adadelta_op = {
    RULE_ENTRY(adadelta),
    .doc = "One step of Adadelta (Zeiler 2012), in place: v = rho v + (1 - rho) g^2, d = sqrt(u + eps) / sqrt(v + eps) g, "
           "u = rho u + (1 - rho) d^2, p -= lr d. Steps have the parameter's own unit, so lr 1 often does.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "square_avg"}, {.name = "acc_delta"}, LR_STEP}, .n_in = 6, .writes = WRITES(3),
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("rho", 0.9, "share of the mean squares that stays"),
                        SOMA_DEF_FLOAT("eps", 1e-6, "added to the mean squares"), DECAY),
};

enum { RMS_ALPHA, RMS_EPS, RMS_DECAY, RMS_MOMENTUM, RMS_CENTERED };
static void rmsprop_numbers(soma_args *a, double *c) {
    c[1] = soma__attr_float(a, RMS_DECAY);
    c[3] = soma__attr_float(a, RMS_ALPHA);
    c[4] = soma__attr_float(a, RMS_EPS);
    c[5] = soma__attr_float(a, RMS_MOMENTUM);
}
static bool rmsprop_shape(soma_args *a, soma_meta *out) {
    if ((soma__attr_int(a, RMS_CENTERED) != 0) != (a->in[3] != NULL) || (soma__attr_float(a, RMS_MOMENTUM) != 0) != (a->in[4] != NULL)) {
        soma_fail(SOMA_EINVAL, "rmsprop_step: a grad_avg is needed with centered, a momentum_buffer with momentum, and only then");
        return false;
    }
    return rule_shape(a, out);
}
RULE(rmsprop)
static const soma_op rmsprop_op = {
    ENTRY(rmsprop), .shape = rmsprop_shape, .cpu = {rmsprop_kernel, rmsprop_reference},
    .doc = "One step of RMSprop (Hinton's lecture 6e, 2012; centered: Graves 2013), in place: v = alpha v + (1 - alpha) g^2, "
           "d = g / (sqrt(v) + eps), centered: the mean gradient's square is taken off v; with momentum b = momentum b + d and "
           "p -= lr b, else p -= lr d.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "square_avg"}, {.name = "grad_avg", .optional = true},
           {.name = "momentum_buffer", .optional = true}, LR_STEP}, .n_in = 7, .writes = WRITES(4),
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("alpha", 0.99, "share of the mean square that stays"), SOMA_DEF_FLOAT("eps", 1e-8, "added to the root"),
                        DECAY, SOMA_DEF_FLOAT("momentum", 0, "share of the buffer that stays"),
                        SOMA_DEF_BOOL("centered", 0, "divide by the deviation from the mean gradient")),
};

static void adamax_numbers(soma_args *a, double *c) {
    c[0] /= 1 - pow(soma__attr_float(a, 0), step(a));
    c[1] = soma__attr_float(a, 3);
    for (int i = 0; i < 3; i++)
        c[3 + i] = soma__attr_float(a, i);
}
RULE(adamax)
static const soma_op adamax_op = {
    RULE_ENTRY(adamax),
    .doc = "One step of Adamax (Kingma & Ba 2015, section 7), in place: m = beta1 m + (1 - beta1) g, u = max(beta2 u, |g| + eps), "
           "p -= lr / (1 - beta1^step) m / u. Adam with the largest gradient for the mean square.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "exp_avg"}, {.name = "exp_inf"}, LR_STEP}, .n_in = 6, .writes = WRITES(3),
    .attrs = SOMA_ATTRS(BETAS(0.9, 0.999), SOMA_DEF_FLOAT("eps", 1e-8, "added to the gradient's size"), DECAY),
};

/* Weight decay into the gradient, or decoupled. */
static void set_decay(double *c, double lr, double decay, bool decoupled) {
    c[1] = decoupled ? 0 : decay;
    c[2] = decoupled ? 1 - lr * decay : 1;
}

static void nadam_numbers(soma_args *a, double *c) {
    double lr = c[0], t = step(a), b1 = soma__attr_float(a, 0), b2 = soma__attr_float(a, 1), psi = soma__attr_float(a, 4);
    double mu = b1 * (1 - 0.5 * pow(0.96, t * psi)), next = b1 * (1 - 0.5 * pow(0.96, (t + 1) * psi));
    soma_tensor *product = a->in[4];
    double all = soma__optim_value(product) * mu;
    soma__store(product->data, (soma_dtype)product->dtype, all);
    set_decay(c, lr, soma__attr_float(a, 3), soma__attr_int(a, 5) != 0);
    c[0] = lr * (1 - mu) / (1 - all);
    c[3] = b1;
    c[4] = b2;
    c[5] = soma__attr_float(a, 2);
    c[6] = sqrt(1 - pow(b2, t));
    c[7] = lr * next / (1 - all * next);
}
RULE(nadam)
static const soma_op nadam_op = {
    RULE_ENTRY(nadam),
    .doc = "One step of NAdam (Dozat 2016), in place: Adam whose mean looks one step ahead, as Nesterov's momentum. mu_product is the "
           "product of the momenta mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and starts at 1.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "exp_avg"}, {.name = "exp_avg_sq"}, NUMBER("mu_product"), LR_STEP}, .n_in = 7,
    .writes = WRITES(4),
    .attrs = SOMA_ATTRS(BETAS(0.9, 0.999), SOMA_DEF_FLOAT("eps", 1e-8, "added to the root"), DECAY,
                        SOMA_DEF_FLOAT("momentum_decay", 4e-3, "how fast the momentum grows to beta1"), DECOUPLED),
};

static void radam_numbers(soma_args *a, double *c) {
    double lr = c[0], t = step(a), b1 = soma__attr_float(a, 0), b2 = soma__attr_float(a, 1), second = 1 - pow(b2, t);
    double most = 2 / (1 - b2) - 1, length = most - 2 * t * pow(b2, t) / second;
    set_decay(c, lr, soma__attr_float(a, 3), soma__attr_int(a, 4) != 0);
    c[0] = lr / (1 - pow(b1, t));
    for (int i = 0; i < 3; i++)
        c[3 + i] = soma__attr_float(a, i);
    c[6] = length > 5;
    if (length > 5)
        c[0] *= sqrt(second) * sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length));
}
RULE(radam)
static const soma_op radam_op = {
    RULE_ENTRY(radam),
    .doc = "One step of RAdam (Liu et al. 2020), in place: Adam that begins as SGD with momentum and divides by the root of the mean square "
           "only when enough steps tell its variance, with a rectified rate. Does what a warm-up of Adam does.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "exp_avg"}, {.name = "exp_avg_sq"}, LR_STEP}, .n_in = 6, .writes = WRITES(3),
    .attrs = SOMA_ATTRS(BETAS(0.9, 0.999), SOMA_DEF_FLOAT("eps", 1e-8, "added to the root"), DECAY, DECOUPLED),
};

static void lion_numbers(soma_args *a, double *c) {
    set_decay(c, c[0], soma__attr_float(a, 2), true);
    c[3] = soma__attr_float(a, 0);
    c[4] = soma__attr_float(a, 1);
}
RULE(lion)
static const soma_op lion_op = {
    RULE_ENTRY(lion),
    .doc = "One step of Lion (Chen et al. 2023), in place: p -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay p), then "
           "m = beta2 m + (1 - beta2) g. All steps have one size: lr wants to be 3 to 10 times smaller than Adam's, weight_decay as much larger.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "exp_avg"}, LR_STEP}, .n_in = 5, .writes = WRITES(2),
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("beta1", 0.9, "weight of the mean in the direction"),
                        SOMA_DEF_FLOAT("beta2", 0.99, "share of the mean that stays"),
                        SOMA_DEF_FLOAT("weight_decay", 0, "share of the parameter that is taken off it, times lr")),
};

static void rprop_numbers(soma_args *a, double *c) {
    for (int i = 0; i < 4; i++)
        c[3 + i] = soma__attr_float(a, i);
    c[7] = step(a) <= 1;
}
RULE(rprop)
static const soma_op rprop_op = {
    RULE_ENTRY(rprop),
    .doc = "One step of Rprop (Riedmiller & Braun 1993), in place: every element has a step size of its own, which grows while its gradient "
           "keeps its sign and shrinks when the sign turns; of the gradient only the sign counts. For gradients over all data, not batches. "
           "lr is the first size.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "prev"}, {.name = "step_size"}, LR_STEP}, .n_in = 6, .writes = WRITES(3),
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("etaminus", 0.5, "factor when the sign turns"), SOMA_DEF_FLOAT("etaplus", 1.2, "factor when it stays"),
                        SOMA_DEF_FLOAT("step_size_min", 1e-6, "smallest size"), SOMA_DEF_FLOAT("step_size_max", 50, "largest size")),
};

static void asgd_numbers(soma_args *a, double *c) {
    double lambd = soma__attr_float(a, 0), before = step(a) - 1, late = before - soma__attr_float(a, 2);
    c[0] /= pow(1 + lambd * c[0] * before, soma__attr_float(a, 1));
    c[1] = soma__attr_float(a, 3);
    c[2] = 1 - lambd * c[0];
    c[3] = 1 / fmax(1, late);
}
RULE(asgd)
static const soma_op asgd_op = {
    RULE_ENTRY(asgd),
    .doc = "One step of averaged SGD (Polyak & Juditsky 1992), in place: eta = lr / (1 + lambd lr (step - 1))^alpha, "
           "p = (1 - lambd eta) p - eta g; from step t0 on, ax is the mean of the parameters, before that their last value.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "ax"}, LR_STEP}, .n_in = 5, .writes = WRITES(2),
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("lambd", 1e-4, "decay of the parameters and of the rate"),
                        SOMA_DEF_FLOAT("alpha", 0.75, "power of the rate's decay"), SOMA_DEF_FLOAT("t0", 1e6, "step at which averaging begins"), DECAY),
};

/* ---- LARS and LAMB: a rate for each tensor from its norms ---- */

static bool lars_fits(soma_args *a) { return soma__optim_like(a, like(a->op)); }

/* In f32 at least: halves are rounded once, when they are put back. */
static soma_tensor *wide(soma_tensor *t) { return soma_dtype_of(t) == SOMA_F64 ? t : soma_to(t, SOMA_F32); }
static soma_tensor *times(soma_tensor *t, double v) { return soma_mul_scalar(t, v); }
/* 0-d f64, so that its bits and range do not depend on the parameter's dtype. */
static soma_tensor *length_of(soma_tensor *t) { return soma_norm(soma_to(t, SOMA_F64), 0, NULL, false); }

/* ratio where both norms are above 0, else 1. */
static soma_tensor *trust(soma_tensor *a, soma_tensor *b, soma_tensor *ratio) {
    soma_tensor *zero = soma_scalar(0);
    return soma_where(soma_logical_and(soma_gt(a, zero), soma_gt(b, zero)), ratio, soma_ones(SOMA_SCALAR, SOMA_F64));
}

/* p -= rate d, for rates that are 0-d f64. */
static bool put(soma_args *a, soma_tensor *p, soma_tensor *change) {
    return soma__return(a, soma_copy_(a->in[SOMA__PARAM], soma_sub(p, change)));
}

static bool lars_compose(soma_args *a) {
    double momentum = soma__attr_float(a, 0), decay = soma__attr_float(a, 1), share = soma__attr_float(a, 2), eps = soma__attr_float(a, 3);
    if (!lars_fits(a))
        return false;
    soma_tensor *p = wide(a->in[0]), *g = wide(a->in[1]), *lr = soma_to(a->in[3], SOMA_F64);
    soma_tensor *np = length_of(a->in[0]), *ng = length_of(a->in[1]);
    soma_tensor *ratio = soma_div(times(np, share), soma_add_scalar(soma_add(ng, times(np, decay)), eps));
    soma_tensor *local = soma_to(soma_mul(lr, trust(np, ng, ratio)), soma_dtype_of(p)), *d = decay != 0 ? soma_add(g, times(p, decay)) : g;
    soma_tensor *v = soma_add(times(wide(a->in[2]), momentum), soma_mul(d, local));
    soma_copy_(a->in[2], v);
    return put(a, p, v);
}
SAMPLES(lars)
static const soma_op lars_op = {
    ENTRY(lars), .compose = lars_compose,
    .doc = "One step of LARS (You, Gitman, Ginsburg 2017), in place: SGD with momentum whose rate is, tensor by tensor, "
           "lr trust_coefficient |p| / (|g| + weight_decay |p| + eps), or lr where a norm is 0. For very large batches.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "momentum_buffer"}, LR_STEP}, .n_in = 5, .writes = WRITES(2),
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("momentum", 0.9, "share of the buffer that stays"), DECAY,
                        SOMA_DEF_FLOAT("trust_coefficient", 1e-3, "size of a step beside the size of the tensor"),
                        SOMA_DEF_FLOAT("eps", 1e-8, "added to the norms")),
};

static bool lamb_compose(soma_args *a) {
    double b1 = soma__attr_float(a, 0), b2 = soma__attr_float(a, 1), eps = soma__attr_float(a, 2), decay = soma__attr_float(a, 3);
    if (!lars_fits(a))
        return false;
    double t = step(a);
    soma_tensor *p = wide(a->in[0]), *g = wide(a->in[1]), *lr = soma_to(a->in[4], SOMA_F64);
    soma_tensor *m = soma_add(times(wide(a->in[2]), b1), times(g, 1 - b1));
    soma_tensor *v = soma_add(times(wide(a->in[3]), b2), times(soma_square(g), 1 - b2));
    soma_tensor *root = soma_add_scalar(times(soma_sqrt(v), 1 / sqrt(1 - pow(b2, t))), eps);
    soma_tensor *r = soma_div(times(m, 1 / (1 - pow(b1, t))), root);
    if (decay != 0)
        r = soma_add(r, times(p, decay));
    soma_tensor *np = length_of(a->in[0]), *nr = length_of(r);
    soma_tensor *local = soma_to(soma_mul(lr, trust(np, nr, soma_div(np, nr))), soma_dtype_of(p));
    soma_copy_(a->in[2], m);
    soma_copy_(a->in[3], v);
    return put(a, p, soma_mul(r, local));
}
SAMPLES(lamb)
static const soma_op lamb_op = {
    ENTRY(lamb), .compose = lamb_compose,
    .doc = "One step of LAMB (You et al. 2020), in place: r = Adam's direction + weight_decay p, p -= lr |p| / |r| r, tensor by tensor, "
           "or lr r where a norm is 0. AdamW for very large batches.",
    .in = {{.name = "param"}, {.name = "grad"}, {.name = "exp_avg"}, {.name = "exp_avg_sq"}, LR_STEP}, .n_in = 6, .writes = WRITES(3),
    .attrs = SOMA_ATTRS(BETAS(0.9, 0.999), SOMA_DEF_FLOAT("eps", 1e-6, "added to the root"),
                        SOMA_DEF_FLOAT("weight_decay", 0.01, "share of the parameter in the direction")),
};

soma_op_list soma__optim_rule_ops = {&adagrad_op, &adadelta_op, &rmsprop_op, &adamax_op, &nadam_op, &radam_op, &lion_op,
                                     &rprop_op,   &asgd_op,     &lars_op,    &lamb_op,   NULL};
