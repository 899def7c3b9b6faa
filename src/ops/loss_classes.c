/* Losses of classes, written in other operators: scores [N, C, …] (or [C]) against class numbers [N, …], lists of them, or distributions. */
#include "ops/loss.h"

#include <math.h>
#include <string.h>

static soma_tensor *in(const soma_args *a, int i) { return soma__loss_in(a, i); }
static int class_dim(const soma_tensor *x) { return x->ndim == 1 ? 0 : 1; }

/* The class numbers as i64, with a dimension of 1 where the scores have the classes, when they fit scores and classes. `dims`: most
 * dimensions of the scores. */
static soma_tensor *classes_of(const soma_args *a, int dims) {
    const soma_tensor *x = a->in[0], *t = a->in[1], *w = a->n_in > 2 ? a->in[2] : NULL;
    int c = class_dim(x), n = 0;
    bool ok = x->ndim > 0 && x->ndim <= dims && t->ndim == x->ndim - 1;
    for (int d = 0; ok && d < x->ndim; d++)
        if (d != c)
            ok = t->shape[n++] == x->shape[d];
    char scores[SOMA__SHAPE_TEXT], target[SOMA__SHAPE_TEXT];
    if (!ok) {
        soma_fail(SOMA_ESHAPE, "%s: input is %s, target is %s, expected %s and a class for each [N%s]", a->op->name, soma__tensor_text(x, scores),
                  soma__tensor_text(t, target), dims == 2 ? "[N, C] or [C]" : "[N, C, …] or [C]", dims == 2 ? "]" : ", …]");
        return NULL;
    }
    if (w && (w->ndim != 1 || w->shape[0] != x->shape[c])) {
        soma_fail(SOMA_ESHAPE, "%s: weight is %s, expected one number for each of the %lld classes", a->op->name, soma__tensor_text(w, target),
                  (long long)x->shape[c]);
        return NULL;
    }
    if (!soma__ctx()->shapes_only && !soma__check_classes(a->op->name, t, x->shape[c], -1 - x->shape[c]))
        return NULL;
    return soma_unsqueeze(soma_to(a->in[1], SOMA_I64), c);
}

/* The weight of each position's class: w[target], of the shape that `index` has. */
static soma_tensor *class_weights(const soma_args *a, soma_tensor *index) {
    soma_tensor *flat = soma_index_select(in(a, 2), 0, soma_reshape(index, SOMA_DIMS(-1)));
    return index ? soma_reshape(flat, index->ndim, index->shape) : NULL;
}

/* ---- Cross-entropy ------------------------------------------------------------------------------------------------------ */

/* -sum_c w[c] T[c] log p[c]; the mean is over the positions, as PyTorch has it. */
static bool entropy_of_probabilities(soma_args *a) {
    double s = soma__attr_float(a, 2);
    int64_t reduction = soma__attr_int(a, 0);
    soma_tensor *x = in(a, 0), *t = a->in[1];
    if (!x || !soma__check_reduction("cross_entropy", reduction, SOMA_NONE) || !soma__loss_shapes(a, 0, 1))
        return false;
    if (soma__attr_int(a, 1) >= 0 || !(s >= 0 && s <= 1) || x->ndim == 0) {
        soma_fail(SOMA_EINVAL, "cross_entropy: targets that are probabilities have no ignore_index (%lld), label_smoothing from 0 to 1 (%g), and at "
                               "least one dimension",
                  (long long)soma__attr_int(a, 1), s);
        return false;
    }
    if (!soma__loss_range(a, 1, 0, 1, false, "a probability, 0 to 1"))
        return false;
    int64_t dim = class_dim(x), classes = x->shape[dim], positions = classes ? x->numel / classes : 0;
    t = soma_to(t, (soma_dtype)x->dtype);
    if (s > 0)
        t = soma_add_scalar(soma_mul_scalar(t, 1 - s), s / (double)classes);
    if (a->in[2]) {
        int64_t shape[SOMA_MAX_DIMS];
        for (int d = 0; d < x->ndim; d++)
            shape[d] = d == dim ? -1 : 1;
        t = soma_mul(t, soma_reshape(in(a, 2), x->ndim, shape));
    }
    soma_tensor *each = soma_neg(soma_sum(soma_mul(t, soma_log_softmax(x, dim)), 1, &dim, false));
    if (reduction != SOMA_NONE)
        each = soma_sum(each, SOMA_ALL, false);
    if (reduction == SOMA_MEAN)
        each = soma_mul_scalar(each, 1 / (double)positions);
    return soma__return(a, soma_to(each, (soma_dtype)a->in[0]->dtype));
}

static bool cross_entropy_compose(soma_args *a) {
    char x[SOMA__SHAPE_TEXT], t[SOMA__SHAPE_TEXT];
    if (soma_dtype_is_float((soma_dtype)a->in[1]->dtype) && a->in[1]->ndim + 1 == a->in[0]->ndim) {
        soma_fail(SOMA_ESHAPE, "cross_entropy: input is %s, target is %s; class numbers must be integers (soma_to), floats are probabilities of the input's shape",
                  soma__tensor_text(a->in[0], x), soma__tensor_text(a->in[1], t));
        return false;
    }
    if (soma_dtype_is_float((soma_dtype)a->in[1]->dtype))
        return entropy_of_probabilities(a);
    return soma__return(a, SOMA__RUN(&soma__class_entropy_op, a->attrs, a->in[0], a->in[1], a->in[2]));
}

/* ---- Focal, hinges, divergence -------------------------------------------------------------------------------------------- */

static bool focal_compose(soma_args *a) {
    double gamma = soma__attr_float(a, 0);
    soma_tensor *index = gamma >= 0 ? classes_of(a, SOMA_MAX_DIMS) : NULL;
    if (!(gamma >= 0))
        soma_fail(SOMA_EINVAL, "focal_loss: gamma is %g, expected 0 or more", gamma);
    if (!index)
        return false;
    int64_t dim = class_dim(a->in[0]);
    soma_tensor *logp = soma_gather(soma_log_softmax(in(a, 0), dim), dim, index), *loss = soma_neg(logp);
    if (gamma > 0)
        loss = soma_mul(loss, soma_pow_scalar(soma_neg(soma_expm1(logp)), gamma));
    if (a->in[2])
        loss = soma_mul(loss, class_weights(a, index));
    return soma__loss_reduce(a, soma_squeeze(loss, 1, &dim));
}

/* PyTorch takes one sample's class as [1] too, and a single number for one class. */
static bool as_rows(soma_args *a) {
    soma_tensor **list = (soma_tensor **)a->in, *x = a->in[0], *t = a->in[1];
    if (x->ndim == 0)
        list[0] = soma_unsqueeze(x, 0);
    else if (x->ndim == 1 && t->ndim == 1 && t->shape[0] == 1)
        list[0] = soma_unsqueeze(x, 0);
    return a->in[0] != NULL;
}

static bool multi_margin_compose(soma_args *a) {
    double p = soma__attr_float(a, 0), margin = soma__attr_float(a, 1);
    if (!as_rows(a))
        return false;
    if (p != 1 && p != 2) {
        soma_fail(SOMA_EINVAL, "multi_margin_loss: p is %g, expected 1 or 2", p);
        return false;
    }
    soma_tensor *index = classes_of(a, 2), *x = in(a, 0);
    if (!index || !x)
        return false;
    int64_t dim = class_dim(x), classes = x->shape[dim];
    soma_tensor *own = soma_to(soma_one_hot(soma_squeeze(index, 1, &dim), classes), (soma_dtype)x->dtype);
    soma_tensor *z = soma_relu(soma_add_scalar(soma_sub(x, soma_gather(x, dim, index)), margin));
    z = soma_mul(p == 2 ? soma_square(z) : z, soma_sub(soma_scalar(1), own));
    if (a->in[2])
        z = soma_mul(z, class_weights(a, index));
    return soma__loss_reduce(a, soma_mul_scalar(soma_sum(z, 1, &dim, false), 1 / (double)classes));
}

/* Every listed class against every class that is not listed. What follows the first -1 is not read. */
static bool multilabel_margin_compose(soma_args *a) {
    if (!soma__loss_shapes(a, 0, 1))
        return false;
    soma_tensor *x = in(a, 0), *t = a->in[1];
    if (x && x->ndim == 0) {
        x = soma_unsqueeze(x, 0);
        t = soma_unsqueeze(t, 0);
    }
    if (!x || !t)
        return false;
    if (x->ndim > 2) {
        char text[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "multilabel_margin_loss: input is %s, expected [N, C] or [C]", soma__tensor_text(x, text));
        return false;
    }
    int64_t last = x->ndim - 1, classes = x->shape[last];
    if (!soma__ctx()->shapes_only && !soma__check_classes("multilabel_margin_loss", t, classes, -1))
        return false;
    soma_dtype dtype = (soma_dtype)x->dtype;
    soma_tensor *ended = soma_cumsum(soma_to(soma_lt(t, soma_scalar_int(0)), SOMA_I64), last);
    soma_tensor *listed = soma_to(soma_eq(ended, soma_scalar_int(0)), dtype);
    soma_tensor *index = soma_clamp(soma_to(t, SOMA_I64), 0, INFINITY);
    soma_tensor *marks = soma_mul(soma_to(soma_one_hot(index, classes), dtype), soma_unsqueeze(listed, -1));
    soma_tensor *others = soma_sub(soma_scalar(1), soma_clamp(soma_sum(marks, 1, &last, true), 0, 1));
    soma_tensor *gap = soma_sub(soma_unsqueeze(x, -2), soma_unsqueeze(soma_gather(x, last, index), -1));
    soma_tensor *z = soma_mul(soma_mul(soma_relu(soma_add_scalar(gap, 1)), others), soma_unsqueeze(listed, -1));
    return soma__loss_reduce(a, soma_mul_scalar(soma_sum(z, SOMA_DIMS(-2, -1), false), 1 / (double)classes));
}

/* target (log(target) - input), 0 where the target is 0. */
static bool kl_div_compose(soma_args *a) {
    bool log_target = soma__attr_int(a, 1);
    if (!soma__loss_shapes(a, 0, 1) || (!log_target && !soma__loss_range(a, 1, 0, 1, false, "a probability, 0 to 1")))
        return false;
    soma_tensor *x = in(a, 0), *t = in(a, 1);
    if (!x || !t)
        return false;
    if (log_target)
        return soma__loss_reduce(a, soma_mul(soma_exp(t), soma_sub(t, x)));
    soma_tensor *log = soma_log(soma_where(soma_gt(t, soma_scalar(0)), t, soma_ones(SOMA_SCALAR, (soma_dtype)t->dtype)));
    return soma__loss_reduce(a, soma_sub(soma_mul(t, log), soma_mul(t, x)));
}

/* ---- Samples -------------------------------------------------------------------------------------------------------------- */

static const struct { int ndim; int64_t shape[4]; int reduction; bool weight; } cases[] = {
    {2, {5, 7}, SOMA_MEAN, false}, {2, {4, 3}, SOMA_SUM, true}, {1, {6}, SOMA_NONE, false}, {2, {3, 5}, SOMA_NONE, true},
    {2, {0, 3}, SOMA_SUM, false},  {2, {6, 2}, SOMA_MEAN, true}, {3, {2, 4, 3}, SOMA_NONE, true}, {4, {2, 3, 2, 2}, SOMA_MEAN, false},
};

static bool class_sample(int i, soma_dtype dtype, soma_sample *s, int dims) {
    if (i >= (int)SOMA_LEN(cases) || cases[i].ndim > dims)
        return false;
    const int64_t *shape = cases[i].shape;
    int64_t rest[3] = {0}, n = 0, c = cases[i].ndim == 1 ? 0 : 1;
    for (int d = 0; d < cases[i].ndim; d++)
        if (d != c)
            rest[n++] = shape[d];
    *s = (soma_sample){.n_in = cases[i].weight ? 3 : 2, .n_attrs = 1, .attrs = {SOMA_INT("reduction", cases[i].reduction)}};
    s->in[0] = soma__sample(dtype, -2, 2, (uint64_t)i, cases[i].ndim, shape);
    s->in[1] = soma__sample(i % 2 ? SOMA_I32 : SOMA_I64, 0, (double)shape[c], (uint64_t)i + 20, (int)n, rest);
    if (cases[i].weight)
        s->in[2] = soma__sample(dtype, 0.3, 2, (uint64_t)i + 40, 1, &shape[c]);
    if (i == 3)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}

static bool entropy_samples(int i, soma_dtype dtype, soma_sample *s) {
    enum { HALF = SOMA_LEN(cases) };
    if (!class_sample(i % HALF, dtype, s, 4) || i >= 2 * HALF)
        return false;
    if (i >= HALF) /* the same with probabilities */
        s->in[1] = s->in[0] ? soma_softmax(soma__sample(dtype, -1, 1, (uint64_t)i, s->in[0]->ndim, s->in[0]->shape), s->in[0]->ndim == 1 ? 0 : 1) : NULL;
    if (i % 3 == 1)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("label_smoothing", 0.2);
    return true;
}
static bool focal_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!class_sample(i, dtype, s, 4))
        return false;
    if (i % 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("gamma", i == 1 ? 0 : 1.5);
    return true;
}
static bool multi_margin_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!class_sample(i, dtype, s, 2))
        return false;
    if (i % 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("p", 2);
    if (i % 3 == 2)
        s->attrs[s->n_attrs++] = SOMA_FLOAT("margin", 0.5);
    return true;
}
static bool multilabel_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t lists[][4] = {{3, 0, -1, 1}, {-1, 0, 0, 0}, {0, 1, 2, 3}, {2, 2, -1, -1}};
    static const struct { int ndim; int64_t shape[2]; int reduction; } shapes[] = {
        {2, {4, 4}, SOMA_MEAN}, {1, {4}, SOMA_SUM}, {2, {2, 4}, SOMA_NONE}, {2, {0, 4}, SOMA_SUM}, {2, {3, 4}, SOMA_SUM}, {2, {1, 4}, SOMA_NONE}};
    if (i >= (int)SOMA_LEN(shapes))
        return false;
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_INT("reduction", shapes[i].reduction)}};
    s->in[0] = soma__sample(dtype, -1, 1, (uint64_t)i, shapes[i].ndim, shapes[i].shape);
    s->in[1] = soma_from_array(lists, shapes[i].ndim, shapes[i].shape, SOMA_I64);
    if (i == 4)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}
static bool kl_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_attr log_target = SOMA_BOOLEAN("log_target", true);
    return soma__loss_sample(i, dtype, s, -3, -0.1, 0.05, 0.95, &log_target);
}

static bool class_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t classes[] = {0, 9}, shape[] = {2, 4};
    if (i >= 3)
        return false;
    *s = (soma_sample){.n_in = 2, .status = i == 1 ? SOMA_EINVAL : SOMA_ESHAPE};
    s->in[0] = soma__sample(dtype, -1, 1, 1, 2, shape);
    s->in[1] = i == 0 ? soma__sample(SOMA_I64, 0, 4, 2, 2, shape) : soma_from_array(classes, SOMA_SHAPE(2), SOMA_I64);
    if (i == 2)
        s->in[s->n_in++] = soma__sample(dtype, 0, 1, 3, 1, shape);
    s->error = i == 0 ? "target is [2, 4] i64" : i == 1 ? "target at [1] is class 9, expected 0 to 3 (4 classes)"
                                                        : "weight is [2] f32, expected one number for each of the 4 classes";
    return true;
}
static bool entropy_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i < 3)
        return class_errors(i, dtype, s);
    if (!soma__loss_error(i - 3, dtype, s, 1.5, "target at [1, 2] is 1.5, expected a probability, 0 to 1"))
        return false;
    if (soma_ndim(s->in[1]) + 1 == soma_ndim(s->in[0]))
        s->error = "class numbers must be integers";
    return true;
}
static bool focal_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i < 3)
        return class_errors(i, dtype, s);
    class_errors(1, dtype, s);
    s->attrs[s->n_attrs++] = SOMA_FLOAT("gamma", -1);
    s->error = "gamma is -1";
    return i == 3;
}
static bool multi_margin_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i < 3)
        return class_errors(i, dtype, s);
    class_errors(1, dtype, s);
    s->attrs[s->n_attrs++] = SOMA_FLOAT("p", 3);
    s->error = "p is 3, expected 1 or 2";
    return i == 3;
}
static bool multilabel_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2 || !multilabel_samples(0, dtype, s))
        return false;
    s->in[i == 0] = i == 0 ? soma_full(2, (const int64_t[]){4, 4}, 4, SOMA_I64) : soma_zeros(SOMA_SHAPE(4), dtype);
    s->status = i == 0 ? SOMA_EINVAL : SOMA_ESHAPE;
    s->error = i == 0 ? "target at [0, 0] is class 4, expected 0 to 3" : "the shapes must be equal";
    return true;
}
static bool kl_errors(int i, soma_dtype dtype, soma_sample *s) {
    return soma__loss_error(i, dtype, s, -0.5, "target at [1, 2] is -0.5, expected a probability, 0 to 1");
}

/* ---- Entries -------------------------------------------------------------------------------------------------------------- */

#define CLASS_INPUTS .in = {{.name = "input"}, {.name = "target", .dtypes = SOMA_INTEGERS, .apart = true}, {.name = "weight", .optional = true}}, .n_in = 3
#define CLASS_LOSS .family = "loss", .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED

static const soma_op cross_entropy_op = {
    .name = "cross_entropy", CLASS_LOSS, .onnx = "SoftmaxCrossEntropyLoss", .no_grad_in = 4,
    .in = {{.name = "input"}, {.name = "target", .dtypes = SOMA_INTEGERS | SOMA_FLOATS, .apart = true}, {.name = "weight", .optional = true}}, .n_in = 3,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("reduction", SOMA_MEAN, "0: mean, 1: sum, 2: none"),
                         SOMA_DEF_INT("ignore_index", -100, "targets of this class do not count"),
                         SOMA_DEF_FLOAT("label_smoothing", 0, "share of the target that is spread evenly over all classes")),
    .doc = "-sum_c T[c] log(softmax(x)[c]) of raw scores [N, C, …] or [C], the loss of classification. Targets are classes [N, …], whole numbers: T[c] "
           "= (1 - s) w[c] [c = target] + s / C w[c], and the mean is over the weights of the targets; or probabilities of the scores' shape, "
           "floats in 0 to 1: T[c] = w[c] ((1 - s) target[c] + s / C), and the mean is over the positions. Label smoothing s: Szegedy et al. 2016",
    .compose = cross_entropy_compose, .samples = entropy_samples, .errors = entropy_errors,
};
static const soma_op focal_op = {
    .name = "focal_loss", CLASS_LOSS, CLASS_INPUTS, .no_grad_in = 6,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("gamma", 2, "0: cross_entropy"), SOMA__REDUCTION_ATTR),
    .doc = "-w[target] (1 - p)^gamma log(p), p = softmax(input)[target] (Lin et al. 2017): cross_entropy in which samples that are right already count "
           "little, for classes of very different frequency; weight is the paper's alpha, a number a class. The mean is over the positions. Not in "
           "PyTorch; sigmoid_focal_loss is the form for two classes",
    .compose = focal_compose, .samples = focal_samples, .errors = focal_errors,
};
static const soma_op multi_margin_op = {
    .name = "multi_margin_loss", CLASS_LOSS, CLASS_INPUTS, .no_grad_in = 6,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("p", 1, "1, or 2: squared"), SOMA_DEF_FLOAT("margin", 1, "by how much the true class must lead"), SOMA__REDUCTION_ATTR),
    .doc = "sum over c other than the target of max(0, margin - x[target] + x[c])^p, times w[target], divided by C: the hinge loss of several classes "
           "(Crammer & Singer 2001). Scores [N, C] or [C] are no probabilities",
    .compose = multi_margin_compose, .samples = multi_margin_samples, .errors = multi_margin_errors,
};
static const soma_op multilabel_margin_op = {
    .name = "multilabel_margin_loss", CLASS_LOSS, .no_grad_in = 2,
    .in = {{.name = "input"}, {.name = "target", .dtypes = SOMA_INTEGERS, .apart = true}}, .n_in = 2, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "sum over the classes j of a sample and the others i of max(0, 1 - (x[j] - x[i])), divided by C. The target [N, C] or [C] lists the classes "
           "of each sample, ended by -1. Needs room for N C^2 numbers",
    .compose = multilabel_margin_compose, .samples = multilabel_samples, .errors = multilabel_errors,
};
static const soma_op kl_div_op = {
    .name = "kl_div", SOMA__PAIR_LOSS,
    .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR, SOMA_DEF_BOOL("log_target", false, "the target is a logarithm too")),
    .doc = "target (log(target) - input), input log-probabilities, target probabilities of the same shape (outside 0 to 1: an error): the "
           "Kullback-Leibler divergence of the target from the prediction is the sum over classes, so use reduction 3 (batchmean); the mean "
           "is over all numbers, as in PyTorch",
    .compose = kl_div_compose, .samples = kl_samples, .errors = kl_errors,
};

extern soma_op_list soma__loss_classes_ops;
soma_op_list soma__loss_classes_ops = {&cross_entropy_op, &focal_op, &multi_margin_op, &multilabel_margin_op, &kl_div_op, NULL};

/* ---- The functions of loss.h ------------------------------------------------------------------------------------------------ */

soma_tensor *soma_cross_entropy_ex(soma_tensor *logits, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_INT("reduction", (int64_t)o.reduction), SOMA_INT("ignore_index", o.ignore_index ? o.ignore_index : -100),
                         SOMA_FLOAT("label_smoothing", o.label_smoothing)};
    return SOMA__RUN(&cross_entropy_op, attrs, logits, target, o.weight);
}
soma_tensor *soma_focal_loss_ex(soma_tensor *logits, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_FLOAT("gamma", soma__loss_option(o.gamma, 2)), SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(&focal_op, attrs, logits, target, o.weight);
}
soma_tensor *soma_multi_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_FLOAT("p", o.p == 0 ? 1 : o.p), SOMA_FLOAT("margin", soma__loss_option(o.margin, 1)),
                         SOMA_INT("reduction", (int64_t)o.reduction)};
    return SOMA__RUN(&multi_margin_op, attrs, x, target, o.weight);
}
soma_tensor *soma_multilabel_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return soma__loss_run(&multilabel_margin_op, x, target, (int64_t)soma__loss_defaults(opts).reduction);
}
soma_tensor *soma_kl_div_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_INT("reduction", (int64_t)o.reduction), SOMA_BOOLEAN("log_target", o.log_target)};
    return SOMA__RUN(&kl_div_op, attrs, x, target);
}
