/* Losses of numbers, written in other operators: how far predictions are from targets of the same shape. */
#include "ops/loss.h"

#include <math.h>

#define PI 3.14159265358979323846

/* Input i as the formulas see it. */
static soma_tensor *in(const soma_args *a, int i) { return soma__loss_in(a, i); }
static soma_tensor *error_of(const soma_args *a) { return soma_sub(in(a, 0), in(a, 1)); }

static bool above_zero(const soma_args *a, int i) {
    if (soma__attr_float(a, i) > 0)
        return true;
    soma_fail(SOMA_EINVAL, "%s: %s is %g, expected a number above 0", a->op->name, a->op->attrs[i].def.name, soma__attr_float(a, i));
    return false;
}

/* ---- Huber, smooth L1: with q = min(|d|, delta) the loss is q (|d| - q / 2) ------------------------------------------- */

static soma_tensor *huber(soma_tensor *d, double delta) {
    soma_tensor *size = soma_abs(d), *q = soma_minimum(size, soma_scalar(delta));
    return soma_mul(q, soma_sub(size, soma_mul_scalar(q, 0.5)));
}

static bool huber_compose(soma_args *a) {
    return soma__loss_shapes(a, 0, 1) && above_zero(a, 1) && soma__loss_reduce(a, huber(error_of(a), soma__attr_float(a, 1)));
}

static bool smooth_l1_compose(soma_args *a) {
    double beta = soma__attr_float(a, 1);
    if (!soma__loss_shapes(a, 0, 1) || (beta != 0 && !above_zero(a, 1)))
        return false;
    soma_tensor *d = error_of(a);
    return soma__loss_reduce(a, beta == 0 ? soma_abs(d) : soma_mul_scalar(huber(d, beta), 1 / beta));
}

/* ---- Log-cosh: |d| + log((1 + exp(-2 |d|)) / 2) --------------------------------------------------------------------------- */

static bool log_cosh_compose(soma_args *a) {
    if (!soma__loss_shapes(a, 0, 1))
        return false;
    soma_tensor *size = soma_abs(error_of(a));
    return soma__loss_reduce(a, soma_add(size, soma_log1p(soma_mul_scalar(soma_expm1(soma_mul_scalar(size, -2)), 0.5))));
}

/* ---- Relative errors -------------------------------------------------------------------------------------------------------- */

static bool msle_compose(soma_args *a) {
    if (!soma__loss_shapes(a, 0, 1) || !soma__loss_range(a, 1, 0, INFINITY, false, "0 or more"))
        return false;
    return soma__loss_reduce(a, soma_square(soma_sub(soma_log1p(in(a, 0)), soma_log1p(in(a, 1)))));
}

static bool mape_compose(soma_args *a) {
    if (!soma__loss_shapes(a, 0, 1) || !above_zero(a, 1))
        return false;
    return soma__loss_reduce(a, soma_div(soma_abs(error_of(a)), soma_clamp(soma_abs(in(a, 1)), soma__attr_float(a, 1), INFINITY)));
}

/* ---- Quantile --------------------------------------------------------------------------------------------------------------- */

static bool quantile_compose(soma_args *a) {
    double tau = soma__attr_float(a, 1);
    if (!soma__loss_shapes(a, 0, 1))
        return false;
    if (!(tau > 0 && tau < 1)) {
        soma_fail(SOMA_EINVAL, "quantile_loss: tau is %g, expected a quantile between 0 and 1", tau);
        return false;
    }
    soma_tensor *d = error_of(a);
    return soma__loss_reduce(a, soma_maximum(soma_mul_scalar(d, -tau), soma_mul_scalar(d, 1 - tau)));
}

/* ---- Likelihoods ------------------------------------------------------------------------------------------------------------ */

/* Stirling's formula for log(t!), for t > 1 only, as PyTorch has it. */
static soma_tensor *log_factorial(soma_tensor *t) {
    soma_tensor *big = soma_gt(t, soma_scalar(1)), *safe = soma_maximum(t, soma_scalar(1)), *log = soma_log(safe);
    soma_tensor *sum = soma_add(soma_sub(soma_mul(safe, log), safe), soma_mul_scalar(soma_add_scalar(log, __builtin_log(2 * PI)), 0.5));
    return soma_where(big, sum, soma_zeros(SOMA_SCALAR, (soma_dtype)t->dtype));
}

static bool poisson_compose(soma_args *a) {
    double eps = soma__attr_float(a, 2);
    if (!soma__loss_shapes(a, 0, 1) || !above_zero(a, 2) || !soma__loss_range(a, 1, 0, INFINITY, false, "a count, 0 or more"))
        return false;
    soma_tensor *x = in(a, 0), *t = in(a, 1), *loss;
    if (soma__attr_int(a, 0))
        loss = soma_sub(soma_exp(x), soma_mul(t, x));
    else
        loss = soma_sub(x, soma_mul(t, soma_log(soma_add_scalar(x, eps))));
    return soma__loss_reduce(a, loss && soma__attr_int(a, 1) ? soma_add(loss, log_factorial(t)) : loss);
}

/* The variance in a shape that broadcasts over the last dimension: equal, with 1 there, or without it. */
static soma_tensor *variance(const soma_args *a) {
    const soma_tensor *x = a->in[0], *var = a->in[2];
    bool shorter = var->ndim == x->ndim - 1;
    bool ok = var->ndim == x->ndim || shorter;
    for (int d = 0; ok && d < x->ndim - 1; d++)
        ok = var->shape[d] == x->shape[d];
    if (ok && !shorter && x->ndim > 0)
        ok = var->shape[x->ndim - 1] == x->shape[x->ndim - 1] || var->shape[x->ndim - 1] == 1;
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (!ok) {
        soma_fail(SOMA_ESHAPE, "gaussian_nll_loss: var is %s, input is %s; expected the same shape, or without (or with 1 as) the last dimension",
                  soma__tensor_text(var, have), soma__tensor_text(x, want));
        return NULL;
    }
    return shorter ? soma_unsqueeze(in(a, 2), -1) : in(a, 2);
}

/* Variances below eps are eps; the gradient is that of eps but goes to the variance, as PyTorch's. */
static bool gaussian_compose(soma_args *a) {
    double eps = soma__attr_float(a, 1);
    soma_tensor *var = soma__loss_shapes(a, 0, 1) && above_zero(a, 1) ? variance(a) : NULL;
    if (!var || !soma__loss_range(a, 2, 0, INFINITY, false, "a variance, 0 or more"))
        return false;
    var = soma_add(var, soma_detach(soma_sub(soma_clamp(var, eps, INFINITY), var)));
    soma_tensor *loss = soma_mul_scalar(soma_add(soma_log(var), soma_div(soma_square(error_of(a)), var)), 0.5);
    return soma__loss_reduce(a, soma__attr_int(a, 0) ? soma_add_scalar(loss, 0.5 * __builtin_log(2 * PI)) : loss);
}

/* ---- Samples ---------------------------------------------------------------------------------------------------------------- */

#define SAMPLES(name, xl, xh, tl, th, attr)                                                     \
    static bool name##_samples(int i, soma_dtype dtype, soma_sample *s) {                       \
        soma_attr other = attr;                                                                 \
        return soma__loss_sample(i, dtype, s, xl, xh, tl, th, &other);                          \
    }
SAMPLES(huber, -3, 3, -3, 3, SOMA_FLOAT("delta", 0.6))
SAMPLES(smooth_l1, -3, 3, -3, 3, SOMA_FLOAT("beta", i % 4 == 1 ? 0.5 : 0))
SAMPLES(mape, -3, 3, 0.2, 3, SOMA_FLOAT("eps", 0.5))
SAMPLES(quantile, -3, 3, -3, 3, SOMA_FLOAT("tau", 0.9))

static bool msle_samples(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_sample(i, dtype, s, 0.1, 4, 0.1, 4, NULL); }
static bool log_cosh_samples(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_sample(i, dtype, s, -6, 6, -3, 3, NULL); }

static bool poisson_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_attr full = SOMA_BOOLEAN("full", true);
    if (!soma__loss_sample(i, dtype, s, 0.2, 2, 0.1, 4, &full))
        return false;
    if (i % 3 == 1)
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("log_input", false);
    return true;
}

static bool gaussian_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_attr full = SOMA_BOOLEAN("full", true);
    if (!soma__loss_sample(i, dtype, s, -2, 2, -2, 2, &full))
        return false;
    int64_t shape[SOMA_MAX_DIMS] = {0};
    int n = s->in[0] ? s->in[0]->ndim : 0;
    for (int d = 0; d < n; d++)
        shape[d] = s->in[0]->shape[d];
    if (n && i % 4 == 2)
        n--;
    else if (n && i % 4 == 0)
        shape[n - 1] = 1;
    s->in[s->n_in++] = soma__sample(dtype, 0.3, 2, (uint64_t)i + 40, n, shape);
    return true;
}

static bool huber_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__loss_error(i, dtype, s, 1, "huber_loss: delta is -1, expected a number above 0"))
        return false;
    if (i == 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("delta", -1);
    return true;
}
static bool smooth_l1_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__loss_error(i, dtype, s, 1, "smooth_l1_loss: beta is -1"))
        return false;
    if (i == 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("beta", -1);
    return true;
}
static bool quantile_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__loss_error(i, dtype, s, 1, "tau is 1, expected a quantile between 0 and 1"))
        return false;
    if (i == 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("tau", 1);
    return true;
}
static bool plain_errors(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_error(i, dtype, s, 0, NULL); }
static bool msle_errors(int i, soma_dtype dtype, soma_sample *s) {
    return soma__loss_error(i, dtype, s, -0.5, "msle_loss: target at [1, 2] is -0.5, expected 0 or more");
}
static bool poisson_errors(int i, soma_dtype dtype, soma_sample *s) {
    return soma__loss_error(i, dtype, s, -1, "poisson_nll_loss: target at [1, 2] is -1, expected a count, 0 or more");
}
static bool gaussian_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i == 3) {
        soma__loss_error(1, dtype, s, 0, NULL);
        s->attrs[0].value.i = 0;
        s->error = "var is [3] f32, input is [2, 3] f32";
        s->status = SOMA_ESHAPE;
    } else if (!soma__loss_error(i, dtype, s, 0, "gaussian_nll_loss: var at [1, 2] is -1, expected a variance, 0 or more")) {
        return false;
    }
    static const int64_t shape[] = {2, 3};
    s->n_in = 3;
    s->in[2] = soma_full(i == 3 ? 1 : 2, i == 3 ? shape + 1 : shape, 1, dtype);
    if (i == 2)
        soma_fill_(soma_select(soma_select(s->in[2], 0, 1), 0, 2), -1);
    return true;
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------------- */

static const soma_op huber_op = {
    .name = "huber_loss", SOMA__PAIR_LOSS, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR, SOMA_DEF_FLOAT("delta", 1, "error from which on the loss is a line")),
    .doc = "d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = input - target (Huber 1964): a mean square that outliers do not rule. "
           "With delta large it is half the mse_loss, with delta small delta times the l1_loss",
    .compose = huber_compose, .samples = huber_samples, .errors = huber_errors,
};
static const soma_op smooth_l1_op = {
    .name = "smooth_l1_loss", SOMA__PAIR_LOSS,
    .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR, SOMA_DEF_FLOAT("beta", 1, "error from which on the loss is a line; 0: l1_loss")),
    .doc = "d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, d = input - target (Girshick 2015): huber_loss / beta, whose slope far out stays 1",
    .compose = smooth_l1_compose, .samples = smooth_l1_samples, .errors = smooth_l1_errors,
};
static const soma_op log_cosh_op = {
    .name = "log_cosh_loss", SOMA__PAIR_LOSS, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "log(cosh(d)), d = input - target, without overflow: d^2 / 2 near 0 and |d| - log 2 far out, smooth everywhere (its gradient is tanh(d)). "
           "Not in PyTorch",
    .compose = log_cosh_compose, .samples = log_cosh_samples, .errors = plain_errors,
};
static const soma_op msle_op = {
    .name = "msle_loss", SOMA__PAIR_LOSS, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "(log(1 + input) - log(1 + target))^2, the square of the relative error for targets that span orders of magnitude; too small weighs "
           "more than too large. target >= 0, else an error; an input of -1 or less gives NaN or inf, so end the network in softplus. Not in "
           "PyTorch; scikit-learn's mean_squared_log_error",
    .compose = msle_compose, .samples = msle_samples, .errors = msle_errors,
};
static const soma_op mape_op = {
    .name = "mape_loss", SOMA__PAIR_LOSS,
    .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR, SOMA_DEF_FLOAT("eps", 2.220446049250313e-16, "least |target| to divide by")),
    .doc = "|input - target| / max(|target|, eps), the relative error as a share, not percent. A target of 0 counts as eps, as in scikit-learn, so "
           "that one wrong zero outweighs all else: give eps the size below which errors do not matter. Not in PyTorch",
    .compose = mape_compose, .samples = mape_samples, .errors = plain_errors,
};
static const soma_op quantile_op = {
    .name = "quantile_loss", SOMA__PAIR_LOSS, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR, SOMA_DEF_FLOAT("tau", 0.5, "the quantile, between 0 and 1")),
    .doc = "max(tau d, (tau - 1) d), d = target - input, the pinball loss (Koenker & Bassett 1978): the prediction becomes the tau-quantile of the "
           "target. 0.5 gives half the l1_loss, the median; 0.1 and 0.9 together an interval. Not in PyTorch; scikit-learn's mean_pinball_loss",
    .compose = quantile_compose, .samples = quantile_samples, .errors = quantile_errors,
};
static const soma_op poisson_op = {
    .name = "poisson_nll_loss", SOMA__PAIR_LOSS,
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("log_input", true, "input is the logarithm of the rate"), SOMA_DEF_BOOL("full", false, "with Stirling's log(target!)"),
                         SOMA_DEF_FLOAT("eps", 1e-8, "added to a rate before its logarithm"), SOMA__REDUCTION_ATTR),
    .doc = "exp(input) - target input, or without log_input input - target log(input + eps): minus the logarithm of the Poisson likelihood of counts. "
           "target >= 0, else an error",
    .compose = poisson_compose, .samples = poisson_samples, .errors = poisson_errors,
};
static const soma_op gaussian_op = {
    .name = "gaussian_nll_loss", .family = "loss", .in = {{.name = "input"}, {.name = "target"}, {.name = "var"}}, .n_in = 3, .outputs = 1,
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .backward = SOMA_COMPOSED,
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("full", false, "with log(2 pi) / 2"), SOMA_DEF_FLOAT("eps", 1e-6, "least variance"), SOMA__REDUCTION_ATTR),
    .doc = "(log(var) + (input - target)^2 / var) / 2: minus the logarithm of the normal likelihood, for networks that also say how sure they are "
           "(Nix & Weigend 1994). var has the input's shape, or is without (or has 1 as) the last dimension; below eps it counts as eps, below 0 "
           "it is an error",
    .compose = gaussian_compose, .samples = gaussian_samples, .errors = gaussian_errors,
};

extern soma_op_list soma__loss_values_ops;
soma_op_list soma__loss_values_ops = {&huber_op, &smooth_l1_op, &log_cosh_op, &msle_op, &mape_op, &quantile_op, &poisson_op, &gaussian_op, NULL};

/* ---- The functions of loss.h ------------------------------------------------------------------------------------------------ */

/* A loss of one attribute besides the reduction. */
static soma_tensor *run(const soma_op *op, soma_tensor *x, soma_tensor *target, const soma_loss_opts *o, double value) {
    soma_attr attrs[] = {SOMA_INT("reduction", (int64_t)o->reduction), SOMA_FLOAT("", value)};
    return SOMA__RUN(op, attrs, x, target);
}

soma_tensor *soma_huber_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run(&huber_op, x, target, &o, o.delta == 0 ? 1 : o.delta);
}
soma_tensor *soma_smooth_l1_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run(&smooth_l1_op, x, target, &o, soma__loss_option(o.beta, 1));
}
soma_tensor *soma_log_cosh_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run(&log_cosh_op, x, target, &o, 0);
}
soma_tensor *soma_msle_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run(&msle_op, x, target, &o, 0);
}
soma_tensor *soma_mape_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run(&mape_op, x, target, &o, o.eps == 0 ? 2.220446049250313e-16 : o.eps);
}
soma_tensor *soma_quantile_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run(&quantile_op, x, target, &o, o.tau == 0 ? 0.5 : o.tau);
}
soma_tensor *soma_poisson_nll_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_BOOLEAN("log_input", !o.rate), SOMA_BOOLEAN("full", o.full), SOMA_FLOAT("eps", o.eps == 0 ? 1e-8 : o.eps),
                         SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(&poisson_op, attrs, x, target);
}
soma_tensor *soma_gaussian_nll_loss_ex(soma_tensor *x, soma_tensor *target, soma_tensor *var, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_BOOLEAN("full", o.full), SOMA_FLOAT("eps", o.eps == 0 ? 1e-6 : o.eps), SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(&gaussian_op, attrs, x, target, var);
}
