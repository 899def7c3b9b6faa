/* Reductions over any set of dimensions: sum, mean, prod, var, std, amax, amin, any, all, logsumexp, norm. Each is one or two
 * passes of the engine in fold.c and a last step over the results. Gradients bring the result back with its folded
 * dimensions (size 1) and let broadcasting do the rest. Those along one dimension (argmax, cumsum, topk) are in along.c. */
#include "ops/along.h"
#include "ops/fold.h"
#include "ops/sort.h"

#include <math.h>

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

enum { DIMS = 0, KEEPDIM = 1, CORRECTION = 2 }; /* places of the attributes */

static bool folded_dims(const char *op, const soma_attr *attrs, int ndim, uint32_t *mask) {
    return soma__dim_mask(op, attrs[DIMS].count, attrs[DIMS].value.ints, ndim, mask);
}

static bool reduced_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    uint32_t mask;
    if (!folded_dims(a->op->name, a->attrs, x->ndim, &mask))
        return false;
    bool keep = a->attrs[KEEPDIM].value.i != 0;
    int n = 0;
    for (int d = 0; d < x->ndim; d++)
        if (!(mask & (1u << d)))
            out->shape[n++] = x->shape[d];
        else if (keep)
            out->shape[n++] = 1;
    out->ndim = n;
    out->dtype = x->dtype;
    return true;
}

/* Integers and bool are summed and multiplied in i64. */
static bool wide_shape(soma_args *a, soma_meta *out) {
    if (!reduced_shape(a, out))
        return false;
    if (!soma_dtype_is_float(out->dtype))
        out->dtype = SOMA_I64;
    return true;
}

static bool truth_shape(soma_args *a, soma_meta *out) {
    if (!reduced_shape(a, out))
        return false;
    out->dtype = SOMA_BOOL;
    return true;
}

/* The largest of nothing is an error, unless the result is empty too. */
static bool extreme_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    uint32_t mask;
    if (!reduced_shape(a, out) || !folded_dims(a->op->name, a->attrs, x->ndim, &mask))
        return false;
    char text[SOMA__SHAPE_TEXT];
    for (int d = 0; d < x->ndim; d++)
        if ((mask & (1u << d)) && x->shape[d] == 0) {
            soma_fail(SOMA_ESHAPE, "%s: dimension %d of %s has no elements, so there is no %s one", a->op->name, d,
                      soma__shape_text(x->ndim, x->shape, text, sizeof text), a->op->name[2] == 'a' ? "largest" : "smallest");
            return false;
        }
    return true;
}

static int64_t reduce_flops(soma_args *a) { return a->in[0]->numel; }
static int64_t moments_flops(soma_args *a) { return 3 * a->in[0]->numel; }

/* ---- Kernels ----------------------------------------------------------------------------------------------------- */

/* Workspace: results, shifts, partial results; numbers of 8 bytes. */
static void plan_of(soma_args *a, soma__fold *f) {
    uint32_t mask = 0;
    folded_dims(a->op->name, a->attrs, a->in[0]->ndim, &mask);
    soma__fold_plan(f, a->in[0], mask);
}

static size_t reduce_work(soma_args *a) {
    soma__fold f;
    plan_of(a, &f);
    return 2 * (size_t)f.outputs * sizeof(double) + soma__fold_work(&f);
}

typedef enum passes { ONE, MEAN, VARIANCE, DEVIATION, LOG_SUM_EXP, EUCLIDEAN } passes;

static void finish(passes p, double *result, const double *shift, int64_t outputs, int64_t n, int64_t correction) {
    double count = p == MEAN ? (double)n : (double)SOMA_MAX(n - correction, 0);
    for (int64_t o = 0; o < outputs; o++) {
        double r = result[o];
        switch (p) {
        case MEAN: r = r / count; break;
        case VARIANCE: r = r / count; break;
        case DEVIATION: r = sqrt(r / count); break;
        case LOG_SUM_EXP: r = log(r) + shift[o]; break;
        case EUCLIDEAN: r = sqrt(r); break;
        case ONE: break;
        }
        result[o] = r;
    }
}

static const char *reduce(soma_args *a, soma__fold_kind kind, passes p, bool truth) {
    soma__fold f;
    plan_of(a, &f);
    f.truth = truth;
    if (f.outputs == 0)
        return NULL;
    double *result = a->work, *shift = result + f.outputs;
    void *partial = shift + f.outputs;
    const void *x = a->in[0]->data;
    if (p == VARIANCE || p == DEVIATION) {
        soma__fold_run(&f, SOMA__FOLD_SUM, x, NULL, shift, partial);
        for (int64_t o = 0; o < f.outputs; o++)
            shift[o] /= (double)f.folded;
    } else if (p == LOG_SUM_EXP) {
        soma__fold_run(&f, SOMA__FOLD_MAX, x, NULL, shift, partial);
        for (int64_t o = 0; o < f.outputs; o++)
            shift[o] = isinf(shift[o]) ? 0.0 : shift[o]; /* inf - inf would be NaN */
    } else {
        for (int64_t o = 0; o < f.outputs; o++)
            shift[o] = 0.0;
    }
    soma__fold_run(&f, kind, x, shift, result, partial);
    if (p != ONE)
        finish(p, result, shift, f.outputs, f.folded, p == VARIANCE || p == DEVIATION ? a->attrs[CORRECTION].value.i : 0);
    soma__unstage(a->out[0]->dtype, result, true, f.outputs, a->out[0]->data);
    return NULL;
}

static const char *sum_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_SUM, ONE, false); }
static const char *mean_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_SUM, MEAN, false); }
static const char *prod_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_PROD, ONE, false); }
static const char *amax_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_MAX, ONE, false); }
static const char *amin_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_MIN, ONE, false); }
static const char *any_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_MAX, ONE, true); }
static const char *all_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_MIN, ONE, true); }
static const char *var_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_SQDEV, VARIANCE, false); }
static const char *std_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_SQDEV, DEVIATION, false); }
static const char *logsumexp_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_EXPSUM, LOG_SUM_EXP, false); }
static const char *norm_kernel(soma_args *a) { return reduce(a, SOMA__FOLD_SQDEV, EUCLIDEAN, false); }

/* ---- Gradients --------------------------------------------------------------------------------------------------- */

/* A result, with its folded dimensions put back at size 1. */
static soma_tensor *with_dims(soma_grad_args *g, soma_tensor *t) {
    const soma_meta *x = &g->in_meta[0];
    uint32_t mask;
    int64_t shape[SOMA_MAX_DIMS];
    if (!folded_dims(g->op->name, g->attrs, x->ndim, &mask))
        return NULL;
    for (int d = 0; d < x->ndim; d++)
        shape[d] = mask & (1u << d) ? 1 : x->shape[d];
    return soma_reshape(t, x->ndim, shape);
}

static int64_t folded_count(const soma_grad_args *g) {
    int64_t in = 1, out = 1;
    for (int d = 0; d < g->in_meta[0].ndim; d++)
        in *= g->in_meta[0].shape[d];
    for (int d = 0; d < g->out_meta[0].ndim; d++)
        out *= g->out_meta[0].shape[d];
    return out ? in / out : 0;
}

static void sum_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_expand(with_dims(g, g->gout[0]), g->in_meta[0].ndim, g->in_meta[0].shape);
}

static void mean_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_expand(soma_mul_scalar(with_dims(g, g->gout[0]), 1.0 / (double)folded_count(g)), g->in_meta[0].ndim,
                                g->in_meta[0].shape);
}

/* 1, x0, x0 x1, … along the last dimension, or the same from its end: products of all that stand before (after) each element.
 * Hillis & Steele's scan, in operators: exact where x is 0, and differentiable as often as wanted. */
static soma_tensor *products_before(soma_tensor *x, int64_t n, bool reversed) {
    soma_tensor *y = x;
    for (int64_t shift = 0; shift < n && y; shift = shift ? 2 * shift : 1) {
        int64_t by = SOMA_MAX(shift, 1);
        soma_tensor *moved = reversed ? soma_pad(soma_slice(y, -1, by, n, 1), 2, (const int64_t[]){0, by}, 1.0)
                                      : soma_pad(soma_slice(y, -1, 0, n - by, 1), 2, (const int64_t[]){by, 0}, 1.0);
        y = shift ? soma_mul(y, moved) : moved;
    }
    return y;
}

/* Every element's gradient is the product of the others: of those before times those after. */
static void prod_backward(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0];
    int64_t n = folded_count(g), order[SOMA_MAX_DIMS], back[SOMA_MAX_DIMS], shape[SOMA_MAX_DIMS];
    uint32_t mask;
    int kept = 0;
    if (!g->gout[0] || !folded_dims(g->op->name, g->attrs, x->ndim, &mask))
        return;
    soma_tensor *grad = soma_expand(with_dims(g, g->gout[0]), x->ndim, x->shape);
    if (n > 1) {
        for (int d = 0; d < x->ndim; d++)
            if (!(mask & (1u << d)))
                order[kept++] = d;
        for (int d = 0, at = kept; d < x->ndim; d++)
            if (mask & (1u << d))
                order[at++] = d;
        for (int d = 0; d < x->ndim; d++) {
            back[order[d]] = d;
            shape[d] = x->shape[order[d]];
        }
        soma_tensor *rows = soma_permute(g->in[0], x->ndim, order);
        soma_tensor *flat = soma_reshape(rows, 2, (const int64_t[]){g->in[0]->numel / n, n});
        soma_tensor *others = soma_mul(products_before(flat, n, false), products_before(flat, n, true));
        grad = soma_mul(grad, soma_permute(soma_reshape(others, x->ndim, shape), x->ndim, back));
    }
    g->gin[0] = grad;
}

static soma_tensor *centred(soma_tensor *x, const soma_attr *dims) {
    return soma_sub(x, soma_mean(x, dims->count, dims->value.ints, true));
}

/* d var / dx = 2 (x - mean) / (n - correction) */
static void var_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    double n = (double)SOMA_MAX(folded_count(g) - g->attrs[CORRECTION].value.i, 0);
    soma_tensor *d = centred(g->in[0], &g->attrs[DIMS]);
    g->gin[0] = soma_mul(with_dims(g, g->gout[0]), soma_mul_scalar(d, 2.0 / n));
}

/* d std / dx = (x - mean) / (std (n - correction)); 0 where std is 0, as PyTorch's. */
static void std_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    double n = (double)SOMA_MAX(folded_count(g) - g->attrs[CORRECTION].value.i, 0);
    soma_tensor *std = g->out[0], *zero = soma_eq(std, soma_scalar(0.0));
    soma_tensor *scale = soma_div(g->gout[0], soma_masked_fill(std, zero, 1.0));
    soma_tensor *d = centred(g->in[0], &g->attrs[DIMS]);
    g->gin[0] = soma_mul(with_dims(g, soma_masked_fill(scale, zero, 0.0)), soma_mul_scalar(d, 1.0 / n));
}

/* Equals share the gradient evenly. */
static void extreme_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    const soma_attr *dims = &g->attrs[DIMS];
    soma_tensor *mask = soma_to(soma_eq(g->in[0], with_dims(g, g->out[0])), g->in_meta[0].dtype);
    soma_tensor *count = soma_sum(mask, dims->count, dims->value.ints, true);
    g->gin[0] = soma_mul(soma_div(with_dims(g, g->gout[0]), count), mask);
}

/* d logsumexp / dx = exp(x - logsumexp), 0 where all are -inf. */
static void logsumexp_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    soma_tensor *lse = soma_masked_fill(g->out[0], soma_eq(g->out[0], soma_scalar(-INFINITY)), 0.0);
    g->gin[0] = soma_mul(with_dims(g, g->gout[0]), soma_exp(soma_sub(g->in[0], with_dims(g, lse))));
}

/* d norm / dx = x / norm, 0 at 0. */
static void norm_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    soma_tensor *norm = g->out[0], *zero = soma_eq(norm, soma_scalar(0.0));
    soma_tensor *scale = soma_div(g->gout[0], soma_masked_fill(norm, zero, 1.0));
    g->gin[0] = soma_mul(g->in[0], with_dims(g, scale));
}

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static bool reduce_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; int n; int64_t dims[3]; bool keep; } cases[] = {
        {3, {2, 3, 4}, 0, {0}, false},   {3, {2, 3, 4}, 1, {1}, true},      {3, {2, 3, 4}, 2, {0, -1}, false},
        {2, {5, 17}, 1, {0}, false},     {4, {2, 3, 2, 3}, 3, {0, 2, 3}, false}, {1, {70}, 1, {-1}, true},
        {2, {3, 4}, 0, {0}, false},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    double low = dtype == SOMA_U8 || dtype == SOMA_BOOL ? 0 : -2;
    *s = (soma_sample){.n_in = 1, .n_attrs = 2, .in = {soma__sample(dtype, low, 3, (uint64_t)i, cases[i].ndim, cases[i].shape)}};
    if (i == (int)SOMA_LEN(cases) - 1)
        s->in[0] = soma__strided(s->in[0]);
    s->attrs[0] = (soma_attr){.name = "dims", .kind = SOMA_ATTR_INTS, .count = cases[i].n};
    for (int d = 0; d < cases[i].n; d++)
        s->attrs[0].value.ints[d] = cases[i].dims[d];
    s->attrs[1] = SOMA_BOOLEAN("keepdim", cases[i].keep);
    return true;
}

static bool moments_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!reduce_samples(i, dtype, s))
        return false;
    s->attrs[s->n_attrs++] = SOMA_INT("correction", i % 2);
    return true;
}

static bool reduce_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2)
        return false;
    *s = (soma_sample){.n_in = 1, .n_attrs = 1, .in = {soma__sample(dtype, 0, 2, 7, 2, (const int64_t[]){2, 3})},
                       .status = SOMA_ESHAPE, .error = i == 0 ? "dim 2 is out of range" : "named twice"};
    s->attrs[0] = i == 0 ? SOMA_INTS("dims", 2) : SOMA_INTS("dims", 1, -1);
    return true;
}

static bool extreme_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i < 2)
        return reduce_errors(i, dtype, s);
    if (i > 2)
        return false;
    *s = (soma_sample){.n_in = 1, .n_attrs = 1, .in = {soma__sample(dtype, 0, 2, 7, 2, (const int64_t[]){2, 0})},
                       .status = SOMA_ESHAPE, .error = "no elements"};
    s->attrs[0] = SOMA_INTS("dims", 1);
    return true;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

#define DIMS_ATTR SOMA_DEF_INTS("dims", "dimensions to fold; none: all", 0, 0)
#define KEEPDIM_ATTR SOMA_DEF_BOOL("keepdim", false, "leave the folded dimensions with size 1")
#define CORRECTION_ATTR SOMA_DEF_INT("correction", 1, "divide by n - correction")
#define REDUCTION .family = "reduce", .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .work = reduce_work, .promote = SOMA_PROMOTE_SAME

static const soma_op sum_op = {
    .name = "sum", REDUCTION, .onnx = "ReduceSum", .doc = "sum of x over dims; integers and bool give i64; 0 for nothing",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_ANY, .shape = wide_shape, .cpu = {sum_kernel},
    .backward = sum_backward, .flops = reduce_flops, .samples = reduce_samples, .errors = reduce_errors,
};
static const soma_op mean_op = {
    .name = "mean", REDUCTION, .onnx = "ReduceMean", .doc = "sum(x) / n over dims; NaN for nothing",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_FLOATS, .shape = reduced_shape, .cpu = {mean_kernel},
    .backward = mean_backward, .flops = reduce_flops, .samples = reduce_samples, .errors = reduce_errors,
};
static const soma_op prod_op = {
    .name = "prod", REDUCTION, .onnx = "ReduceProd", .doc = "product of x over dims; integers and bool give i64; 1 for nothing",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_ANY, .shape = wide_shape, .cpu = {prod_kernel},
    .backward = prod_backward, .saves = SOMA_SAVE_IN(0), .flops = reduce_flops, .samples = reduce_samples,
    .errors = reduce_errors,
};
static const soma_op var_op = {
    .name = "var", REDUCTION, .doc = "sum((x - mean(x))^2) / (n - correction) over dims",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR, CORRECTION_ATTR), .dtypes = SOMA_FLOATS, .shape = reduced_shape,
    .cpu = {var_kernel}, .backward = var_backward, .saves = SOMA_SAVE_IN(0), .flops = moments_flops,
    .samples = moments_samples, .errors = reduce_errors,
};
static const soma_op std_op = {
    .name = "std", REDUCTION, .doc = "sqrt(var(x)) over dims: sqrt(sum((x - mean(x))^2) / (n - correction))",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR, CORRECTION_ATTR), .dtypes = SOMA_FLOATS, .shape = reduced_shape,
    .cpu = {std_kernel}, .backward = std_backward, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0), .flops = moments_flops,
    .samples = moments_samples, .errors = reduce_errors,
};
static const soma_op amax_op = {
    .name = "amax", REDUCTION, .onnx = "ReduceMax", .doc = "largest element over dims; NaN if there is one; equals share the gradient",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_ANY, .shape = extreme_shape, .cpu = {amax_kernel},
    .backward = extreme_backward, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0), .flops = reduce_flops,
    .samples = reduce_samples, .errors = extreme_errors,
};
static const soma_op amin_op = {
    .name = "amin", REDUCTION, .onnx = "ReduceMin", .doc = "smallest element over dims; NaN if there is one; equals share the gradient",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_ANY, .shape = extreme_shape, .cpu = {amin_kernel},
    .backward = extreme_backward, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0), .flops = reduce_flops,
    .samples = reduce_samples, .errors = extreme_errors,
};
static const soma_op any_op = {
    .name = "any", REDUCTION, .doc = "whether some element over dims is not 0 (NaN is not); bool; false for nothing",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_ANY, .shape = truth_shape, .cpu = {any_kernel},
    .backward = SOMA_NONDIFF, .flops = reduce_flops, .samples = reduce_samples, .errors = reduce_errors,
};
static const soma_op all_op = {
    .name = "all", REDUCTION, .doc = "whether no element over dims is 0 (NaN is not); bool; true for nothing",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_ANY, .shape = truth_shape, .cpu = {all_kernel},
    .backward = SOMA_NONDIFF, .flops = reduce_flops, .samples = reduce_samples, .errors = reduce_errors,
};
static const soma_op logsumexp_op = {
    .name = "logsumexp", REDUCTION, .onnx = "ReduceLogSumExp",
    .doc = "log(sum(exp(x))) over dims, computed as max + log(sum(exp(x - max))); -inf for nothing",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_FLOATS, .shape = reduced_shape, .cpu = {logsumexp_kernel},
    .backward = logsumexp_backward, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0), .flops = moments_flops,
    .samples = reduce_samples, .errors = reduce_errors,
};
const soma_op soma__euclidean_op = {
    .name = "euclidean_norm", REDUCTION, .onnx = "ReduceL2", .doc = "Euclidean norm over dims: sqrt(sum(x^2)); the gradient at 0 is 0. norm without options.",
    .attrs = SOMA_ATTRS(DIMS_ATTR, KEEPDIM_ATTR), .dtypes = SOMA_FLOATS, .shape = reduced_shape, .cpu = {norm_kernel},
    .backward = norm_backward, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0), .flops = moments_flops,
    .samples = reduce_samples, .errors = reduce_errors, .internal = true,
};

extern soma_op_list soma__reduce_ops;
soma_op_list soma__reduce_ops = {&sum_op, &mean_op, &prod_op, &var_op, &std_op, &amax_op, &amin_op, &any_op, &all_op,
                                 &logsumexp_op, &soma__euclidean_op, &soma__argmax_op, &soma__argmin_op, &soma__cumsum_op, &soma__topk_op,
                                 NULL};

/* ---- The functions of ops.h -------------------------------------------------------------------------------------- */

static soma_tensor *call(const soma_op *op, soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim, int64_t correction) {
    if (n_dims < 0 || n_dims > SOMA_MAX_DIMS) {
        soma_fail(SOMA_EINVAL, "%s: %d dims; a tensor has at most %d", op->name, n_dims, SOMA_MAX_DIMS);
        return NULL;
    }
    soma_attr attrs[] = {{.name = "dims", .kind = SOMA_ATTR_INTS, .count = n_dims}, SOMA_BOOLEAN("keepdim", keepdim),
                         SOMA_INT("correction", correction)};
    for (int d = 0; d < n_dims; d++)
        attrs[0].value.ints[d] = dims[d];
    return SOMA__RUN(op, attrs, x);
}

soma_tensor *soma_sum(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&sum_op, x, n_dims, dims, keepdim, 0);
}
soma_tensor *soma_mean(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&mean_op, x, n_dims, dims, keepdim, 0);
}
soma_tensor *soma_prod(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&prod_op, x, n_dims, dims, keepdim, 0);
}
soma_tensor *soma_var(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim) {
    return call(&var_op, x, n_dims, dims, keepdim, correction);
}
soma_tensor *soma_std(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim) {
    return call(&std_op, x, n_dims, dims, keepdim, correction);
}
soma_tensor *soma_amax(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&amax_op, x, n_dims, dims, keepdim, 0);
}
soma_tensor *soma_amin(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&amin_op, x, n_dims, dims, keepdim, 0);
}
soma_tensor *soma_any(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&any_op, x, n_dims, dims, keepdim, 0);
}
soma_tensor *soma_all(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&all_op, x, n_dims, dims, keepdim, 0);
}
soma_tensor *soma_logsumexp(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    return call(&logsumexp_op, x, n_dims, dims, keepdim, 0);
}
