/* Losses of pairs and triplets of vectors, and those of autoencoders, written in other operators. */
#include "ops/loss.h"

#include <math.h>

static soma_tensor *in(const soma_args *a, int i) { return soma__loss_in(a, i); }
/* max(0, x + add), with the slope 1 at 0 that PyTorch has here. */
static soma_tensor *above(soma_tensor *x, double add) { return soma_clamp(soma_add_scalar(x, add), 0, INFINITY); }

/* Vectors [N, D] or [D], both of one shape, and a target [N] or without dimensions. */
static bool vectors(const soma_args *a, int with_target) {
    const soma_tensor *x = a->in[0], *t = a->in[2];
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    if (!soma__loss_shapes(a, 0, 1))
        return false;
    if (x->ndim >= 1 && x->ndim <= 2 && (!with_target || (t->ndim == x->ndim - 1 && (t->ndim == 0 || t->shape[0] == x->shape[0]))))
        return true;
    soma_fail(SOMA_ESHAPE, "%s: %s is %s and %s is %s, expected vectors [N, D] or [D]%s", a->op->name, a->op->in[0].name, soma__tensor_text(x, one),
              a->op->in[2].name, soma__tensor_text(t, two), with_target ? " and a target [N] or a number" : "");
    return false;
}

/* ---- Pairs ------------------------------------------------------------------------------------------------------------ */

static bool ranking_compose(soma_args *a) {
    if (!soma__loss_shapes(a, 0, 1) || !soma__loss_shapes(a, 0, 2) || !soma__loss_range(a, 2, -1, 1, true, "-1 or 1"))
        return false;
    return soma__loss_reduce(a, above(soma_mul(in(a, 2), soma_sub(in(a, 1), in(a, 0))), soma__attr_float(a, 0)));
}

static soma_tensor *dot(soma_tensor *x, soma_tensor *y) { return soma_sum(soma_mul(x, y), SOMA_DIMS(-1), false); }

static bool cosine_compose(soma_args *a) {
    if (!vectors(a, true) || !soma__loss_range(a, 2, -1, 1, true, "-1 or 1"))
        return false;
    soma_tensor *x = in(a, 0), *y = in(a, 1);
    soma_tensor *size = soma_mul(soma_add_scalar(dot(x, x), 1e-12), soma_add_scalar(dot(y, y), 1e-12)), *cos = soma_div(dot(x, y), soma_sqrt(size));
    soma_tensor *near = soma_sub(soma_scalar(1), cos), *far = above(cos, -soma__attr_float(a, 0));
    return soma__loss_reduce(a, soma_where(soma_gt(in(a, 2), soma_scalar(0)), near, far));
}

/* The p-norm of x - y + eps over the last dimension. */
static soma_tensor *distance(soma_tensor *x, soma_tensor *y, double p, double eps) {
    soma_tensor *d = soma_add_scalar(soma_sub(x, y), eps);
    if (p == 2)
        return soma_norm(d, SOMA_DIMS(-1), false);
    d = soma_abs(d);
    if (p == 1)
        return soma_sum(d, SOMA_DIMS(-1), false);
    if (isinf(p))
        return soma_amax(d, SOMA_DIMS(-1), false);
    return soma_pow_scalar(soma_sum(soma_pow_scalar(d, p), SOMA_DIMS(-1), false), 1 / p);
}

static bool contrastive_compose(soma_args *a) {
    if (!vectors(a, true) || !soma__loss_range(a, 2, 0, 1, true, "0 (different) or 1 (the same)"))
        return false;
    soma_tensor *d = distance(in(a, 0), in(a, 1), 2, 1e-6), *far = soma_relu(soma_sub(soma_scalar(soma__attr_float(a, 0)), d));
    soma_tensor *same = soma_gt(in(a, 2), soma_scalar(0));
    return soma__loss_reduce(a, soma_mul_scalar(soma_where(same, soma_square(d), soma_square(far)), 0.5));
}

static bool triplet_compose(soma_args *a) {
    double margin = soma__attr_float(a, 0), p = soma__attr_float(a, 1), eps = soma__attr_float(a, 2);
    if (!vectors(a, false) || !soma__loss_shapes(a, 0, 2))
        return false;
    if (!(p >= 1)) {
        soma_fail(SOMA_EINVAL, "triplet_margin_loss: p is %g, expected the order of a norm, 1 or more", p);
        return false;
    }
    soma_tensor *anchor = in(a, 0), *positive = in(a, 1), *negative = in(a, 2);
    soma_tensor *near = distance(anchor, positive, p, eps), *far = distance(anchor, negative, p, eps);
    if (soma__attr_int(a, 3))
        far = soma_minimum(far, distance(positive, negative, p, eps));
    return soma__loss_reduce(a, above(soma_sub(near, far), margin));
}

/* ---- Autoencoders ------------------------------------------------------------------------------------------------------ */

/* With m the mean of a unit: rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m)); m is kept 1e-7 inside 0 … 1. */
static bool sparsity_compose(soma_args *a) {
    double rho = soma__attr_float(a, 0);
    if (!(rho > 0 && rho < 1) || a->in[0]->ndim == 0) {
        soma_fail(SOMA_EINVAL, "kl_sparsity: rho is %g and input has %d dimensions, expected rho between 0 and 1 and activities [N, …]", rho,
                  (int)a->in[0]->ndim);
        return false;
    }
    if (!soma__loss_range(a, 0, 0, 1, false, "an activity, 0 to 1 (of a sigmoid)"))
        return false;
    soma_tensor *mean = soma_clamp(soma_mean(in(a, 0), SOMA_DIMS(0), false), 1e-7, 1 - 1e-7);
    soma_tensor *gain = soma_add(soma_mul_scalar(soma_log(mean), rho), soma_mul_scalar(soma_log1p(soma_neg(mean)), 1 - rho));
    double constant = rho * __builtin_log(rho) + (1 - rho) * __builtin_log1p(-rho);
    soma_tensor *sum = soma_sum(soma_sub(soma_scalar(constant), gain), SOMA_ALL, false);
    return soma__return(a, soma_to(sum, (soma_dtype)a->in[0]->dtype));
}

/* Sums over all but dimension 0. */
static soma_tensor *by_sample(soma_tensor *x) {
    if (!x || x->ndim < 2)
        return x;
    int64_t rows = x->shape[0], inner = 1;
    for (int d = 1; d < x->ndim; d++)
        inner *= x->shape[d];
    return soma_sum(soma_reshape(x, SOMA_DIMS(rows, inner)), SOMA_DIMS(1), false);
}

/* (exp(logvar) - 1 - logvar + mu^2) / 2 */
static soma_tensor *divergence(soma_tensor *mu, soma_tensor *logvar) {
    return by_sample(soma_mul_scalar(soma_add(soma_sub(soma_expm1(logvar), logvar), soma_square(mu)), 0.5));
}

static bool gaussian_kl_compose(soma_args *a) {
    return soma__loss_shapes(a, 0, 1) && soma__loss_reduce(a, divergence(in(a, 0), in(a, 1)));
}

static bool elbo_compose(soma_args *a) {
    double beta = soma__attr_float(a, 0);
    int64_t kind = soma__attr_int(a, 1);
    if (!soma__loss_shapes(a, 0, 1) || !soma__loss_shapes(a, 2, 3))
        return false;
    char x[SOMA__SHAPE_TEXT], mu[SOMA__SHAPE_TEXT];
    if (a->in[0]->ndim < 1 || a->in[2]->ndim < 1 || a->in[0]->shape[0] != a->in[2]->shape[0]) {
        soma_fail(SOMA_ESHAPE, "elbo_loss: input is %s and mu is %s, expected [N, …] and [N, …]", soma__tensor_text(a->in[0], x),
                  soma__tensor_text(a->in[2], mu));
        return false;
    }
    if (kind < 0 || kind > 2) {
        soma_fail(SOMA_EINVAL, "elbo_loss: likelihood is %lld, expected 0 (Bernoulli, scores), 1 (Bernoulli, probabilities) or 2 (normal)", (long long)kind);
        return false;
    }
    if (kind < 2 && !soma__loss_range(a, 1, 0, 1, false, "a probability, 0 to 1"))
        return false;
    soma_loss_opts each = {.reduction = SOMA_NONE, .size = sizeof each};
    soma_tensor *loss;
    if (kind == 2)
        loss = soma_mul_scalar(soma_mse_loss_ex(in(a, 0), in(a, 1), &each), 0.5);
    else
        loss = kind == 0 ? soma__bce_plain(in(a, 0), in(a, 1), SOMA_NONE) : soma_binary_cross_entropy_ex(in(a, 0), in(a, 1), &each);
    return soma__loss_reduce(a, soma_add(by_sample(loss), soma_mul_scalar(divergence(in(a, 2), in(a, 3)), beta)));
}

/* ---- Samples ------------------------------------------------------------------------------------------------------------ */

static bool ranking_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_attr margin = SOMA_FLOAT("margin", 0.5);
    if (!soma__loss_sample(i, dtype, s, -2, 2, -2, 2, &margin))
        return false;
    if (s->in[0])
        s->in[s->n_in++] = soma__loss_signs(dtype, (uint64_t)i + 50, s->in[0]->ndim, s->in[0]->shape);
    return true;
}

/* Two vectors (three with `third`) and a target of signs, or of 0 and 1. */
static bool vector_samples(int i, soma_dtype dtype, soma_sample *s, bool third, bool flags, double margin) {
    static const struct { int ndim; int64_t shape[2]; int reduction; } cases[] = {
        {2, {4, 3}, SOMA_MEAN}, {2, {5, 2}, SOMA_SUM}, {1, {6}, SOMA_NONE}, {2, {3, 5}, SOMA_NONE}, {2, {0, 3}, SOMA_SUM}, {2, {1, 4}, SOMA_MEAN},
        {2, {8, 2}, SOMA_MEAN}};
    if (i >= (int)SOMA_LEN(cases))
        return false;
    int n = cases[i].ndim;
    const int64_t *shape = cases[i].shape;
    *s = (soma_sample){.n_in = 3, .n_attrs = 1, .attrs = {SOMA_INT("reduction", cases[i].reduction)}};
    for (int k = 0; k < (third ? 3 : 2); k++)
        s->in[k] = soma__sample(dtype, -1, 1, (uint64_t)(i + 30 * k), n, shape);
    if (!third)
        s->in[2] = soma__loss_signs(dtype, (uint64_t)i + 50, n - 1, shape);
    if (flags)
        s->in[2] = soma_to(soma_gt(s->in[2], soma_scalar(0)), dtype);
    if (i == 3)
        s->in[0] = soma__strided(s->in[0]);
    if (i % 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("margin", margin);
    return true;
}
static bool cosine_samples(int i, soma_dtype dtype, soma_sample *s) { return vector_samples(i, dtype, s, false, false, 0.3); }
static bool contrastive_samples(int i, soma_dtype dtype, soma_sample *s) { return vector_samples(i, dtype, s, false, true, 2); }
static bool triplet_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!vector_samples(i, dtype, s, true, false, 0.5))
        return false;
    if (i % 3)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("p", i == 1 ? 1 : 3);
    if (i % 2)
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("swap", true);
    return true;
}
static bool sparsity_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[3]; } cases[] = {{2, {6, 4}}, {1, {9}}, {3, {4, 2, 3}}, {2, {1, 5}}, {2, {5, 3}}, {2, {3, 0}}};
    if (i >= (int)SOMA_LEN(cases))
        return false;
    *s = (soma_sample){.n_in = 1, .n_attrs = i % 2, .attrs = {SOMA_FLOAT("rho", 0.2)}};
    s->in[0] = soma__sample(dtype, 0.05, 0.95, (uint64_t)i, cases[i].ndim, cases[i].shape);
    if (i == 4)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}
static bool gaussian_kl_samples(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_sample(i, dtype, s, -2, 2, -2, 1.5, NULL); }
static bool elbo_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[3]; int reduction; int likelihood; } cases[] = {
        {2, {4, 6}, SOMA_MEAN, 0}, {2, {3, 5}, SOMA_SUM, 1}, {3, {2, 3, 4}, SOMA_NONE, 2}, {2, {1, 7}, SOMA_MEAN, 1}, {1, {5}, SOMA_MEAN, 2},
        {2, {5, 2}, SOMA_NONE, 0}};
    if (i >= (int)SOMA_LEN(cases))
        return false;
    *s = (soma_sample){.n_in = 4, .n_attrs = 2, .attrs = {SOMA_INT("reduction", cases[i].reduction), SOMA_INT("likelihood", cases[i].likelihood)}};
    for (int k = 0; k < 2; k++)
        s->in[k] = soma__sample(dtype, 0.05, 0.95, (uint64_t)(i + 20 * k), cases[i].ndim, cases[i].shape);
    for (int k = 2; k < 4; k++)
        s->in[k] = soma__sample(dtype, -1, 1, (uint64_t)(i + 20 * k), SOMA_SHAPE(cases[i].shape[0], 3));
    if (i == 1)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("beta", 4);
    return true;
}

/* A sample with its shapes or its target spoilt. */
static bool spoilt(int i, soma_dtype dtype, soma_sample *s, soma_sample_fn samples, int in, double bad, const char *text) {
    if (i >= 2 || !samples(0, dtype, s))
        return false;
    s->status = i == 0 ? SOMA_ESHAPE : SOMA_EINVAL;
    s->error = i == 0 ? "the shapes must be equal" : text;
    if (i == 0)
        s->in[1] = soma_zeros(SOMA_SHAPE(7), dtype);
    else
        s->in[in] = soma_full(s->in[in]->ndim, s->in[in]->shape, bad, dtype);
    return true;
}
static bool ranking_errors(int i, soma_dtype dtype, soma_sample *s) {
    return spoilt(i, dtype, s, ranking_samples, 2, 0, "target at [0, 0] is 0, expected -1 or 1");
}
static bool cosine_errors(int i, soma_dtype dtype, soma_sample *s) {
    return spoilt(i, dtype, s, cosine_samples, 2, 0.5, "target at [0] is 0.5, expected -1 or 1");
}
static bool contrastive_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i == 2) {
        contrastive_samples(0, dtype, s);
        s->in[2] = soma_zeros(SOMA_SHAPE(3), dtype);
        s->error = "expected vectors [N, D] or [D] and a target [N] or a number";
        s->status = SOMA_ESHAPE;
        return true;
    }
    return spoilt(i, dtype, s, contrastive_samples, 2, -1, "target at [0] is -1, expected 0 (different) or 1 (the same)");
}
static bool triplet_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!spoilt(i, dtype, s, triplet_samples, 2, 0, "p is 0.5, expected the order of a norm"))
        return false;
    s->attrs[s->n_attrs++] = SOMA_FLOAT("p", 0.5);
    return true;
}
static bool sparsity_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2 || !sparsity_samples(i, dtype, s))
        return false;
    s->status = SOMA_EINVAL;
    s->error = i == 0 ? "input at [0, 0] is 2, expected an activity, 0 to 1" : "rho is 1 and";
    if (i == 0)
        s->in[0] = soma_full(SOMA_SHAPE(3, 2), 2, dtype);
    else
        s->attrs[0].value.f = 1;
    return true;
}
static bool gaussian_kl_errors(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_error(i, dtype, s, 0, NULL); }
static bool elbo_errors(int i, soma_dtype dtype, soma_sample *s) {
    return spoilt(i, dtype, s, elbo_samples, 1, 1.5, "target at [0, 0] is 1.5, expected a probability, 0 to 1");
}

/* ---- Entries ------------------------------------------------------------------------------------------------------------ */

#define LOSS .family = "loss", .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .backward = SOMA_COMPOSED
#define PAIR LOSS, .in = {{.name = "input1"}, {.name = "input2"}, {.name = "target"}}, .n_in = 3, .no_grad_in = 4

static const soma_op ranking_op = {
    .name = "margin_ranking_loss", PAIR, .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("margin", 0, "by how much it must lead"), SOMA__REDUCTION_ATTR),
    .doc = "max(0, margin - target (input1 - input2)): input1 should be the larger where the target is 1, the smaller where it is -1. All three have one "
           "shape (PyTorch broadcasts)",
    .compose = ranking_compose, .samples = ranking_samples, .errors = ranking_errors,
};
static const soma_op cosine_op = {
    .name = "cosine_embedding_loss", PAIR,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("margin", 0, "cosine below which pairs differ enough, -1 to 1"), SOMA__REDUCTION_ATTR),
    .doc = "1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1, of vectors [N, D] or [D]: directions of what belongs "
           "together become alike, lengths do not matter",
    .compose = cosine_compose, .samples = cosine_samples, .errors = cosine_errors,
};
static const soma_op contrastive_op = {
    .name = "contrastive_loss", PAIR, .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("margin", 1, "distance that is far enough"), SOMA__REDUCTION_ATTR),
    .doc = "d^2 / 2 where the target is 1 (the same), max(0, margin - d)^2 / 2 where it is 0 (different), d the Euclidean distance of vectors [N, D] or "
           "[D] (Hadsell et al. 2006, who count the other way round). Not in PyTorch",
    .compose = contrastive_compose, .samples = contrastive_samples, .errors = contrastive_errors,
};
static const soma_op triplet_op = {
    .name = "triplet_margin_loss", LOSS, .in = {{.name = "anchor"}, {.name = "positive"}, {.name = "negative"}}, .n_in = 3,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("margin", 1, "by how much the positive must be nearer"), SOMA_DEF_FLOAT("p", 2, "order of the norm"),
                         SOMA_DEF_FLOAT("eps", 1e-6, "added to differences"), SOMA_DEF_BOOL("swap", false, "the nearer of d(a, n) and d(p, n)"),
                         SOMA__REDUCTION_ATTR),
    .doc = "max(0, d(anchor, positive) - d(anchor, negative) + margin) of vectors [N, D] or [D], d the p-norm of the difference (Weinberger & Saul 2009; "
           "swap: Balntas et al. 2016)",
    .compose = triplet_compose, .samples = triplet_samples, .errors = triplet_errors,
};
static const soma_op sparsity_op = {
    .name = "kl_sparsity", LOSS, .in = {{.name = "input"}}, .n_in = 1, .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("rho", 0.05, "the activity that is wanted")),
    .doc = "sum over units of rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m)), m the unit's mean over dimension 0: the penalty of sparse "
           "autoencoders (Ng 2011), to be weighted and added to the loss. Activities outside 0 to 1 are an error: use sigmoid. Not in PyTorch",
    .compose = sparsity_compose, .samples = sparsity_samples, .errors = sparsity_errors,
};
static const soma_op gaussian_kl_op = {
    SOMA__COMPOSITE(gaussian_kl), LOSS, .in = {{.name = "mu"}, {.name = "logvar"}}, .n_in = 2, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "(exp(logvar) - 1 - logvar + mu^2) / 2, summed over all but dimension 0: the divergence of N(mu, exp(logvar)) from N(0, 1), a number a sample, "
           "then reduced (Kingma & Welling 2014). Not in PyTorch as a function",
};
static const soma_op elbo_op = {
    .name = "elbo_loss", LOSS, .in = {{.name = "input"}, {.name = "target"}, {.name = "mu"}, {.name = "logvar"}}, .n_in = 4,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("beta", 1, "factor of the divergence (Higgins et al. 2017)"),
                        SOMA_DEF_INT("likelihood", 0, "0: Bernoulli from scores, 1: Bernoulli from probabilities, 2: normal, variance 1"),
                        SOMA__REDUCTION_ATTR),
    .doc = "minus the evidence lower bound of a variational autoencoder (Kingma & Welling 2014): the reconstruction's -log p(target | input), summed "
           "over a sample, plus beta gaussian_kl(mu, logvar); a number a sample, then reduced. Without the normal's constant. Not in PyTorch",
    .compose = elbo_compose, .samples = elbo_samples, .errors = elbo_errors,
};

extern soma_op_list soma__loss_pairs_ops;
soma_op_list soma__loss_pairs_ops = {&ranking_op, &cosine_op, &contrastive_op, &triplet_op, &sparsity_op, &gaussian_kl_op, &elbo_op, NULL};

/* ---- The functions of loss.h ---------------------------------------------------------------------------------------------- */

static soma_tensor *run_pair(const soma_op *op, soma_tensor *a, soma_tensor *b, soma_tensor *target, const soma_loss_opts *o, double margin) {
    soma_attr attrs[] = {SOMA_FLOAT("margin", margin), SOMA_INT("reduction", (int64_t)o->reduction)};
    return SOMA__RUN(op, attrs, a, b, target);
}
soma_tensor *soma_margin_ranking_loss_ex(soma_tensor *a, soma_tensor *b, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run_pair(&ranking_op, a, b, target, &o, o.margin);
}
soma_tensor *soma_cosine_embedding_loss_ex(soma_tensor *a, soma_tensor *b, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run_pair(&cosine_op, a, b, target, &o, o.margin);
}
soma_tensor *soma_contrastive_loss_ex(soma_tensor *a, soma_tensor *b, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    return run_pair(&contrastive_op, a, b, target, &o, soma__loss_option(o.margin, 1));
}
soma_tensor *soma_triplet_margin_loss_ex(soma_tensor *anchor, soma_tensor *positive, soma_tensor *negative, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_FLOAT("margin", soma__loss_option(o.margin, 1)), SOMA_FLOAT("p", o.p == 0 ? 2 : o.p),
                         SOMA_FLOAT("eps", soma__loss_option(o.eps, 1e-6)), SOMA_BOOLEAN("swap", o.swap), SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(&triplet_op, attrs, anchor, positive, negative);
}
soma_tensor *soma_kl_sparsity_ex(soma_tensor *x, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attr = SOMA_FLOAT("rho", o.rho == 0 ? 0.05 : o.rho);
    return SOMA__RUN(&sparsity_op, &attr, x);
}
soma_tensor *soma_gaussian_kl_ex(soma_tensor *mu, soma_tensor *logvar, const soma_loss_opts *opts) {
    return soma__loss_run(&gaussian_kl_op, mu, logvar, (int64_t)soma__loss_defaults(opts).reduction);
}
soma_tensor *soma_elbo_loss_ex(soma_tensor *x, soma_tensor *target, soma_tensor *mu, soma_tensor *logvar, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_FLOAT("beta", soma__loss_option(o.beta, 1)), SOMA_INT("likelihood", o.likelihood), SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(&elbo_op, attrs, x, target, mu, logvar);
}
