/* Losses of two classes, element by element, written in other operators: targets are probabilities, or the signs -1 and 1. */
#include "ops/loss.h"

#include <math.h>

static soma_tensor *in(const soma_args *a, int i) { return soma__loss_in(a, i); }
static bool probabilities(const soma_args *a) { return soma__loss_shapes(a, 0, 1) && soma__loss_range(a, 1, 0, 1, false, "a probability, 0 to 1"); }
static bool signs(const soma_args *a) { return soma__loss_shapes(a, 0, 1) && soma__loss_range(a, 1, -1, 1, true, "-1 or 1"); }

/* Weights may be broadcast over the losses, not the losses over them. */
static bool check_weight(const soma_args *a, int i) {
    const soma_tensor *w = a->in[i], *x = a->in[0];
    bool ok = !w || w->ndim <= x->ndim;
    for (int d = 1; w && ok && d <= w->ndim; d++)
        ok = w->shape[w->ndim - d] == 1 || w->shape[w->ndim - d] == x->shape[x->ndim - d];
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (!ok)
        soma_fail(SOMA_ESHAPE, "%s: %s is %s, which cannot be broadcast over input %s", a->op->name, a->op->in[i].name, soma__tensor_text(w, have),
                  soma__tensor_text(x, want));
    return ok;
}

static bool weighted(soma_args *a, soma_tensor *loss) {
    return soma__loss_reduce(a, a->in[2] ? soma_mul(loss, in(a, 2)) : loss);
}

/* ---- Probabilities ---------------------------------------------------------------------------------------------------- */

/* log(x), or log(1 - x) for `other`, not below -100; the gradient is that of x kept a little inside, so that it is finite at the edge. */
static soma_tensor *clipped_log(soma_tensor *x, bool other) {
    if (!x)
        return NULL;
    double edge = x->dtype == SOMA_F64 ? 1e-12 : 5.9604644775390625e-08;
    soma_tensor *value = soma_clamp(soma_detach(other ? soma_log1p(soma_neg(x)) : soma_log(x)), -100, INFINITY);
    soma_tensor *inside = soma_add(x, soma_detach(soma_sub(other ? soma_clamp(x, -INFINITY, 1 - edge) : soma_clamp(x, 1e-12, INFINITY), x)));
    soma_tensor *log = other ? soma_log1p(soma_neg(inside)) : soma_log(inside);
    return soma_add(log, soma_detach(soma_sub(value, log)));
}

static bool bce_compose(soma_args *a) {
    if (!probabilities(a) || !check_weight(a, 2))
        return false;
    soma_tensor *x = in(a, 0), *t = in(a, 1);
    soma_tensor *gain = soma_add(soma_mul(t, clipped_log(x, false)), soma_mul(soma_sub(soma_scalar(1), t), clipped_log(x, true)));
    return weighted(a, soma_neg(gain));
}

/* With pos_weight p: (1 - t) x + (1 + (p - 1) t) softplus(-x). */
static bool bce_logits_compose(soma_args *a) {
    if (!probabilities(a) || !check_weight(a, 2) || !check_weight(a, 3))
        return false;
    if (!a->in[2] && !a->in[3]) {
        return soma__return(a, soma__bce_plain(a->in[0], a->in[1], soma__attr_int(a, 0)));
    }
    soma_tensor *x = in(a, 0), *t = in(a, 1);
    if (!a->in[3])
        return weighted(a, soma__bce_plain(x, t, SOMA_NONE));
    soma_tensor *factor = soma_add_scalar(soma_mul(soma_add_scalar(in(a, 3), -1), t), 1);
    soma_tensor *loss = soma_add(soma_mul(soma_sub(soma_scalar(1), t), x), soma_mul(factor, soma_softplus(soma_neg(x))));
    return weighted(a, loss);
}

static bool multilabel_soft_compose(soma_args *a) {
    if (!probabilities(a) || !check_weight(a, 2))
        return false;
    soma_tensor *loss = soma__bce_plain(in(a, 0), in(a, 1), SOMA_NONE);
    if (a->in[2])
        loss = soma_mul(loss, in(a, 2));
    return soma__loss_reduce(a, loss && loss->ndim > 0 ? soma_mean(loss, SOMA_DIMS(-1), false) : loss);
}

/* 1 - p_t = p (1 - t) + (1 - p) t */
static bool focal_compose(soma_args *a) {
    double alpha = soma__attr_float(a, 0), gamma = soma__attr_float(a, 1);
    if (!(gamma >= 0) || !(alpha <= 1)) {
        soma_fail(SOMA_EINVAL, "sigmoid_focal_loss: gamma is %g and alpha %g, expected gamma from 0 on, alpha up to 1 (below 0: none)", gamma, alpha);
        return false;
    }
    if (!probabilities(a))
        return false;
    soma_tensor *x = in(a, 0), *t = in(a, 1), *not_t = soma_sub(soma_scalar(1), t), *loss = soma__bce_plain(x, t, SOMA_NONE);
    soma_tensor *missed = soma_add(soma_mul(soma_sigmoid(x), not_t), soma_mul(soma_sigmoid(soma_neg(x)), t));
    if (gamma > 0)
        loss = soma_mul(loss, soma_pow_scalar(missed, gamma));
    if (alpha >= 0)
        loss = soma_mul(loss, soma_add(soma_mul_scalar(t, alpha), soma_mul_scalar(not_t, 1 - alpha)));
    return soma__loss_reduce(a, loss);
}

/* ---- Signs ------------------------------------------------------------------------------------------------------------ */

static soma_tensor *hinge(const soma_args *a, double margin) {
    return soma_relu(soma_sub(soma_scalar(margin), soma_mul(in(a, 0), in(a, 1))));
}
static bool hinge_compose(soma_args *a) { return signs(a) && soma__loss_reduce(a, hinge(a, soma__attr_float(a, 0))); }
static bool squared_hinge_compose(soma_args *a) { return signs(a) && soma__loss_reduce(a, soma_square(hinge(a, soma__attr_float(a, 0)))); }
static bool soft_margin_compose(soma_args *a) {
    return signs(a) && soma__loss_reduce(a, soma_softplus(soma_neg(soma_mul(in(a, 0), in(a, 1)))));
}
static bool hinge_embedding_compose(soma_args *a) {
    if (!signs(a))
        return false;
    soma_tensor *x = in(a, 0), *far = soma_clamp(soma_sub(soma_scalar(soma__attr_float(a, 0)), x), 0, INFINITY); /* slope 1 at 0, as PyTorch's */
    return soma__loss_reduce(a, soma_where(soma_gt(in(a, 1), soma_scalar(0)), x, far));
}

/* ---- Samples ---------------------------------------------------------------------------------------------------------- */

static bool prob_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__loss_sample(i, dtype, s, 0.05, 0.95, 0.05, 0.95, NULL))
        return false;
    if (i == 2 || i == 8)
        s->in[s->n_in++] = soma__sample(dtype, 0.5, 2, 60, 1, &s->in[0]->shape[s->in[0]->ndim - 1]);
    return true;
}
static bool bce_logits_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__loss_sample(i, dtype, s, -5, 5, 0.05, 0.95, NULL))
        return false;
    if (i == 0 || i == 4 || i == 8) {
        s->n_in = 4;
        s->in[2] = i == 8 ? NULL : soma__sample(dtype, 0.5, 2, 60, 1, &s->in[0]->shape[1]);
        s->in[3] = i == 4 ? NULL : soma__sample(dtype, 0.5, 3, 61, 1, &s->in[0]->shape[1]);
    }
    return true;
}
static bool multilabel_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!prob_samples(i, dtype, s))
        return false;
    s->in[0] = soma_add_scalar(soma_mul_scalar(s->in[0], 6), -3);
    return true;
}
static bool focal_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_attr gamma = SOMA_FLOAT("gamma", i % 4 == 1 ? 0 : 1.5);
    if (!soma__loss_sample(i, dtype, s, -3, 3, 0.05, 0.95, &gamma))
        return false;
    if (i % 3 == 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("alpha", -1);
    return true;
}
static bool margin_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_attr margin = SOMA_FLOAT("margin", 0.5);
    return soma__loss_sample(i, dtype, s, -3, 3, 0, 0, &margin);
}
static bool sign_samples(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_sample(i, dtype, s, -3, 3, 0, 0, NULL); }

static bool prob_errors(int i, soma_dtype dtype, soma_sample *s) {
    return soma__loss_error(i, dtype, s, 1.5, "target at [1, 2] is 1.5, expected a probability, 0 to 1");
}
static bool weight_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t shape[] = {2};
    if (i < 3)
        return prob_errors(i, dtype, s);
    if (i > 3)
        return false;
    soma__loss_error(1, dtype, s, 0, NULL);
    s->attrs[0].value.i = 0;
    s->in[s->n_in++] = soma_full(1, shape, 1, dtype);
    s->error = "weight is [2] f32, which cannot be broadcast over input [2, 3] f32";
    s->status = SOMA_ESHAPE;
    return true;
}
static bool focal_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i < 3)
        return prob_errors(i, dtype, s);
    soma__loss_error(1, dtype, s, 0, NULL);
    s->attrs[0] = SOMA_FLOAT("gamma", -1);
    s->error = "gamma is -1 and alpha 0.25";
    return i == 3;
}
static bool sign_errors(int i, soma_dtype dtype, soma_sample *s) {
    return soma__loss_error(i, dtype, s, 0, "target at [1, 2] is 0, expected -1 or 1");
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

#define WEIGHTED .family = "loss", .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .backward = SOMA_COMPOSED, .no_grad_in = 12
#define MARGIN(text) SOMA_DEF_FLOAT("margin", 1, text)

static const soma_op bce_op = {
    .name = "binary_cross_entropy", WEIGHTED, .in = {{.name = "input"}, {.name = "target"}, {.name = "weight", .optional = true}}, .n_in = 3,
    .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "-target log(input) - (1 - target) log(1 - input) of probabilities (a network that ends in sigmoid), logarithms not below -100; weight is "
           "broadcast over the losses. Raw scores are better taken as they are: binary_cross_entropy_with_logits. A target outside 0 to 1 is an "
           "error; an input outside gives NaN (PyTorch: an error)",
    .compose = bce_compose, .samples = prob_samples, .errors = weight_errors,
};
static const soma_op bce_logits_op = {
    .name = "binary_cross_entropy_with_logits", WEIGHTED,
    .in = {{.name = "input"}, {.name = "target"}, {.name = "weight", .optional = true}, {.name = "pos_weight", .optional = true}}, .n_in = 4,
    .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "the logistic loss -t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)) of raw scores, computed as max(x, 0) - x t + log(1 + exp(-|x|)) without "
           "overflow. pos_weight multiplies the loss of positives (rare ones: negatives / positives), weight that of elements; both are "
           "broadcast. A target outside 0 to 1 is an error (PyTorch takes it)",
    .compose = bce_logits_compose, .samples = bce_logits_samples, .errors = weight_errors,
};
static const soma_op multilabel_soft_op = {
    .name = "multilabel_soft_margin_loss", WEIGHTED, .in = {{.name = "input"}, {.name = "target"}, {.name = "weight", .optional = true}}, .n_in = 3,
    .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "binary_cross_entropy_with_logits of scores [N, C], each class yes or no for itself, times weight [C], averaged over the C classes of a "
           "sample and then reduced",
    .compose = multilabel_soft_compose, .samples = multilabel_samples, .errors = weight_errors,
};
static const soma_op focal_op = {
    .name = "sigmoid_focal_loss", SOMA__PAIR_LOSS,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("alpha", 0.25, "weight of positives, 1 - alpha of negatives; below 0: none"),
                         SOMA_DEF_FLOAT("gamma", 2, "0: no focus"), SOMA__REDUCTION_ATTR),
    .doc = "alpha_t (1 - p_t)^gamma times the logistic loss of raw scores, p_t the probability given to the truth (Lin et al. 2017): samples that are "
           "right already count little, for few positives among very many negatives. As torchvision's, but reduced by the mean unless asked "
           "otherwise, as all losses here",
    .compose = focal_compose, .samples = focal_samples, .errors = focal_errors,
};
static const soma_op hinge_op = {
    .name = "hinge_loss", SOMA__PAIR_LOSS, .no_grad_in = 2, .attrs = SOMA_ATTRS(MARGIN("score from which on there is no loss"), SOMA__REDUCTION_ATTR),
    .doc = "max(0, margin - target input), targets -1 or 1 (others are an error): with an L2 penalty the linear support vector machine (Cortes & "
           "Vapnik 1995). Scores are no probabilities; class 1 is input >= 0. Not in PyTorch",
    .compose = hinge_compose, .samples = margin_samples, .errors = sign_errors,
};
static const soma_op squared_hinge_op = {
    .name = "squared_hinge_loss", SOMA__PAIR_LOSS, .no_grad_in = 2, .attrs = SOMA_ATTRS(MARGIN("score from which on there is no loss"), SOMA__REDUCTION_ATTR),
    .doc = "max(0, margin - target input)^2, targets -1 or 1: hinge_loss with a smooth foot, harder on outliers. Not in PyTorch",
    .compose = squared_hinge_compose, .samples = margin_samples, .errors = sign_errors,
};
static const soma_op soft_margin_op = {
    .name = "soft_margin_loss", SOMA__PAIR_LOSS, .no_grad_in = 2, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "log(1 + exp(-target input)), targets -1 or 1: the logistic loss for signs, without overflow (PyTorch's gives inf for large scores)",
    .compose = soft_margin_compose, .samples = sign_samples, .errors = sign_errors,
};
static const soma_op hinge_embedding_op = {
    .name = "hinge_embedding_loss", SOMA__PAIR_LOSS, .no_grad_in = 2, .attrs = SOMA_ATTRS(MARGIN("distance that is far enough"), SOMA__REDUCTION_ATTR),
    .doc = "input where the target is 1, max(0, margin - input) where it is -1: for distances of pairs that belong together or do not",
    .compose = hinge_embedding_compose, .samples = margin_samples, .errors = sign_errors,
};

extern soma_op_list soma__loss_binary_ops;
soma_op_list soma__loss_binary_ops = {&bce_op,   &bce_logits_op,    &multilabel_soft_op, &focal_op,
                                      &hinge_op, &squared_hinge_op, &soft_margin_op,     &hinge_embedding_op, NULL};

/* ---- The functions of loss.h ------------------------------------------------------------------------------------------ */

soma_tensor *soma_binary_cross_entropy_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attr = SOMA_INT("reduction", (int64_t)o.reduction);
    return SOMA__RUN(&bce_op, &attr, x, target, o.weight);
}
soma_tensor *soma_bce_with_logits_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attr = SOMA_INT("reduction", (int64_t)o.reduction);
    return SOMA__RUN(&bce_logits_op, &attr, x, target, o.weight, o.pos_weight);
}
soma_tensor *soma_multilabel_soft_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attr = SOMA_INT("reduction", (int64_t)o.reduction);
    return SOMA__RUN(&multilabel_soft_op, &attr, x, target, o.weight);
}
soma_tensor *soma_sigmoid_focal_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_FLOAT("alpha", o.alpha == 0 ? 0.25 : o.alpha), SOMA_FLOAT("gamma", soma__loss_option(o.gamma, 2)),
                         SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(&focal_op, attrs, x, target);
}
static soma_tensor *run_margin(const soma_op *op, soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_FLOAT("margin", soma__loss_option(o.margin, 1)), SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(op, attrs, x, target);
}
soma_tensor *soma_hinge_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) { return run_margin(&hinge_op, x, target, opts); }
soma_tensor *soma_squared_hinge_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return run_margin(&squared_hinge_op, x, target, opts);
}
soma_tensor *soma_soft_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return soma__loss_run(&soft_margin_op, x, target, (int64_t)soma__loss_defaults(opts).reduction);
}
soma_tensor *soma_hinge_embedding_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return run_margin(&hinge_embedding_op, x, target, opts);
}
