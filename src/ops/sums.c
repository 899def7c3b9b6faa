/* Reductions and running sums that are written in others: norms of any order, sums without NaN, moments together, running products, differences,
 * integrals, covariances. */
#include "ops/shape.h"
#include "ops/sort.h"

#include <math.h>

#define ONE .in = {{.name = "x"}}, .n_in = 1, .family = "reduce", .promote = SOMA_PROMOTE_SAME
#define DIMS SOMA_DEF_INTS("dims", "dimensions to fold; none: all", 0, 0)
#define KEEP SOMA_DEF_BOOL("keepdim", false, "leave the folded dimensions with size 1")
#define FOLDED(i) a->attrs[i].count, a->attrs[i].value.ints
#define FOLD_SAMPLES "[3,4]", "s[3,4] dims=0", "[2,3,4] dims=0,2 keepdim=true", "[]", "[0,3] dims=0 ~", "[2,3] dims=-1,", "[3]=1,nan,-2 ~"
#define FOLD_ERRORS "[2,3] dims=2 !ESHAPE dim 2 is out of range", "[2,3] dims=1,-1 !ESHAPE named twice"

/* ---- norm ---- */

static soma_tensor *euclidean(soma_tensor *x, int n, const int64_t *dims, bool keep) {
    soma_attr attrs[] = {{.name = "dims"}, SOMA_BOOLEAN("keepdim", keep)};
    return soma__ints_attr(&attrs[0], "norm", "dims", n, dims) ? SOMA__RUN(&soma__euclidean_op, attrs, x) : NULL;
}

/* sum(|x|^p)^(1/p). Zeros are taken out before the powers and put back after them, so that their gradient is 0 and not NaN. */
static soma_tensor *power_norm(soma_tensor *x, double p, int n, const int64_t *dims, bool keep) {
    soma_tensor *zero = soma_eq(x, soma_scalar(0));
    soma_tensor *powers = soma_masked_fill(soma_pow_scalar(soma_abs(soma_masked_fill(x, zero, 1)), p), zero, p < 0 ? INFINITY : 0);
    soma_tensor *sum = soma_sum(powers, n, dims, keep), *none = soma_eq(sum, soma_scalar(0));
    return soma_masked_fill(soma_pow_scalar(soma_masked_fill(sum, none, 1), 1 / p), none, p < 0 ? INFINITY : 0);
}

static soma_tensor *norm_of(soma_tensor *x, double p, int n, const int64_t *dims, bool keep) {
    if (p == 2)
        return euclidean(x, n, dims, keep);
    if (p == 1)
        return soma_sum(soma_abs(x), n, dims, keep);
    if (p == 0)
        return x ? soma_sum(soma_to(soma_ne(x, soma_scalar(0)), soma_dtype_of(x)), n, dims, keep) : NULL;
    if (isinf(p))
        return (p > 0 ? soma_amax : soma_amin)(soma_abs(x), n, dims, keep);
    return power_norm(x, p, n, dims, keep);
}
static bool norm_compose(soma_args *a) {
    double p = soma__attr_float(a, 0);
    if (isnan(p)) {
        soma_fail(SOMA_EINVAL, "norm: p is NaN");
        return false;
    }
    return soma__return(a, norm_of(a->in[0], p, FOLDED(1), soma__attr_int(a, 2)));
}
SOMA__LINES(norm, "[3,4]@-3:3", "s[3,4]@-3:3 dims=0 p=1", "[2,3,4]@-3:3 dims=0,2 keepdim=true p=3", "[]@-3:3", "[0,3] dims=0",
            "[2,3]@-3:3 dims=-1, p=inf", "[2,3]@-3:3 p=-inf", "[2,3]@-3:3 dims=1 p=0.5", "[5]@-3:3 p=0 ~", "[2,3]@-3:3 dims=0 p=-1.5",
            "[2,3]=0,0,0,1,2,3 dims=1 p=3 ~", "s[4,70]@-3:3 dims=1", FOLD_ERRORS, "[2,0] dims=1 p=inf !ESHAPE no elements",
            "[3] p=nan !EINVAL norm: p is NaN")
static const soma_op norm_op = {
    SOMA__COMPOSITE(norm), ONE, .outputs = 1, .onnx = "ReduceL2", .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED,
    .doc = "Norm of order p over dims, of vectors: sum(|x|^p)^(1/p). 2: Euclidean; 1: sum of |x|; inf, -inf: largest, smallest |x|; 0: how many are "
           "not 0. The gradient at 0 is 0. torch.linalg.vector_norm; for matrices over two dims it is the Frobenius norm.",
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("p", 2, "order"), DIMS, KEEP),
};
soma_tensor *soma_norm_p(soma_tensor *x, double p, int n_dims, const int64_t *dims, bool keepdim) {
    soma_attr attrs[] = {SOMA_FLOAT("p", p), {.name = "dims"}, SOMA_BOOLEAN("keepdim", keepdim)};
    return soma__ints_attr(&attrs[1], "norm", "dims", n_dims, dims) ? SOMA__RUN(&norm_op, attrs, x) : NULL;
}
soma_tensor *soma_norm(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) { return soma_norm_p(x, 2, n_dims, dims, keepdim); }

/* ---- Without NaN; moments; counts ---- */

static soma_tensor *without_nan(soma_tensor *x) { return x && soma_dtype_is_float(soma_dtype_of(x)) ? soma_masked_fill(x, soma_isnan(x), 0) : x; }
static bool nansum_compose(soma_args *a) { return soma__return(a, soma_sum(without_nan(a->in[0]), FOLDED(0), soma__attr_int(a, 1))); }
SOMA__LINES(nansum, FOLD_SAMPLES, FOLD_ERRORS)
static const soma_op nansum_op = {
    SOMA__COMPOSITE(nansum), ONE, .outputs = 1, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED,
    .doc = "Sum of the elements over dims that are not NaN; integers and bool give i64.",
    .attrs = SOMA_ATTRS(DIMS, KEEP),
};
static bool nanmean_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *count = soma_sum(soma_logical_not(soma_isnan(x)), FOLDED(0), soma__attr_int(a, 1));
    soma_tensor *sum = soma_sum(without_nan(x), FOLDED(0), soma__attr_int(a, 1));
    return soma__return(a, soma_div(sum, soma_to(count, soma_dtype_of(x))));
}
SOMA__LINES(nanmean, FOLD_SAMPLES, FOLD_ERRORS)
static const soma_op nanmean_op = {
    SOMA__COMPOSITE(nanmean), ONE, .outputs = 1, .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED,
    .doc = "Mean of the elements over dims that are not NaN; NaN if there are none.",
    .attrs = SOMA_ATTRS(DIMS, KEEP),
};

static bool var_mean_compose(soma_args *a) {
    a->out[0] = soma_var(a->in[0], FOLDED(0), soma__attr_int(a, 2), soma__attr_int(a, 1));
    a->out[1] = soma_mean(a->in[0], FOLDED(0), soma__attr_int(a, 1));
    return a->out[0] && a->out[1];
}
static bool std_mean_compose(soma_args *a) {
    a->out[0] = soma_std(a->in[0], FOLDED(0), soma__attr_int(a, 2), soma__attr_int(a, 1));
    a->out[1] = soma_mean(a->in[0], FOLDED(0), soma__attr_int(a, 1));
    return a->out[0] && a->out[1];
}
#define MOMENT_SAMPLES "[3,4]", "s[3,4] dims=0", "[2,3,4] dims=0,2 keepdim=true correction=0", "[6]", "s[2,3] dims=-1, correction=0", \
    "[2,5] dims=1", "[0,3] dims=1"
#define MOMENTS ONE, .outputs = 2, .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED, \
    .attrs = SOMA_ATTRS(DIMS, KEEP, SOMA_DEF_INT("correction", 1, "divide by n - correction"))
SOMA__LINES(var_mean, MOMENT_SAMPLES, FOLD_ERRORS)
SOMA__LINES(std_mean, MOMENT_SAMPLES, FOLD_ERRORS)
static const soma_op var_mean_op = {SOMA__COMPOSITE(var_mean), MOMENTS, .doc = "The variance and the mean over dims."};
static const soma_op std_mean_op = {SOMA__COMPOSITE(std_mean), MOMENTS, .doc = "The standard deviation and the mean over dims."};

static bool count_nonzero_compose(soma_args *a) { return soma__return(a, soma_sum(soma_ne(a->in[0], soma_scalar(0)), FOLDED(0), false)); }
SOMA__LINES(count_nonzero, "[3,4]", "s[3,4] dims=0", "[4]=0,1,nan,0", "[]", "[0,3] dims=0", "[2,3] dims=0,1", FOLD_ERRORS)
static const soma_op count_nonzero_op = {
    SOMA__COMPOSITE(count_nonzero), ONE, .outputs = 1, .dtypes = SOMA_ANY, .backward = SOMA_NONDIFF,
    .doc = "How many elements over dims are not 0 (i64); NaN is not.",
    .attrs = SOMA_ATTRS(DIMS),
};

/* ---- Running products and sums of exponentials ---- */

/* y[i] = x[0] ∘ … ∘ x[i] along dim by Hillis and Steele's scan: as many steps as n has bits, all in operators, so that derivatives of any order are
 * exact, at zeros as well. */
static bool scan(soma_args *a, soma_tensor *x, soma_tensor *(*join)(soma_tensor *p, soma_tensor *q)) {
    if (!x)
        return false;
    int dim = soma__dim(a->op->name, soma__attr_int(a, 0), x->ndim);
    if (dim < 0 || x->ndim == 0)
        return dim >= 0 && soma__return(a, x);
    int64_t n = x->shape[dim];
    for (int64_t by = 1; by < n && x; by *= 2) {
        soma_tensor *two[] = {soma_slice(x, dim, 0, by, 1), join(soma_slice(x, dim, by, n, 1), soma_slice(x, dim, 0, n - by, 1))};
        x = two[0] && two[1] ? soma_cat(two, 2, dim) : NULL;
    }
    return soma__return(a, x);
}
static bool cumprod_compose(soma_args *a) { return scan(a, soma_dtype_is_float(soma_dtype_of(a->in[0])) ? a->in[0] : soma_to(a->in[0], SOMA_I64), soma_mul); }
#define SCAN_SAMPLES "[7]", "s[3,4] dim=0", "[2,3,4] dim=1", "[]", "[0,3]", "[3,0]", "[4,1] dim=-1", "s[2,9]"
SOMA__LINES(cumprod, SCAN_SAMPLES, "[5]=2,0,3,0,1", "[3,4] dim=2 !ESHAPE cumprod: dim 2 is out of range")
static const soma_op cumprod_op = {
    SOMA__COMPOSITE(cumprod), ONE, .outputs = 1, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED,
    .doc = "y[i] = x[0] x[1] … x[i] along dim; integers and bool give i64.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension to multiply along")),
};

/* log(exp(p) + exp(q)) */
static soma_tensor *log_add(soma_tensor *p, soma_tensor *q) {
    soma_tensor *most = soma_maximum(soma_detach(p), soma_detach(q));
    most = soma_masked_fill(most, soma_logical_not(soma_isfinite(most)), 0);
    return soma_add(most, soma_log(soma_add(soma_exp(soma_sub(p, most)), soma_exp(soma_sub(q, most)))));
}
static bool logcumsumexp_compose(soma_args *a) { return scan(a, a->in[0], log_add); }
SOMA__LINES(logcumsumexp, SCAN_SAMPLES, "[4]=-inf,1,-inf,2 ~", "[3,4] dim=2 !ESHAPE logcumsumexp: dim 2 is out of range")
static const soma_op logcumsumexp_op = {
    SOMA__COMPOSITE(logcumsumexp), ONE, .outputs = 1, .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED,
    .doc = "y[i] = log(exp(x[0]) + … + exp(x[i])) along dim, without overflow.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension to add along")),
};

/* ---- Differences and integrals ---- */

static soma_tensor *difference(soma_tensor *x, int dim) {
    if (!x)
        return NULL;
    int64_t n = x->shape[dim];
    soma_tensor *after = soma_slice(x, dim, SOMA_MIN(1, n), n, 1), *before = soma_slice(x, dim, 0, SOMA_MAX(n - 1, 0), 1);
    return x->dtype == SOMA_BOOL ? soma_ne(after, before) : soma_sub(after, before);
}
static bool diff_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *list[3];
    int dim = x->ndim ? soma__dim("diff", soma__attr_int(a, 1), x->ndim) : -1, n = 0;
    if (x->ndim == 0 || soma__attr_int(a, 0) < 0)
        soma_fail(x->ndim ? SOMA_EINVAL : SOMA_ESHAPE, "diff: x has %d dimensions and n is %lld, expected 1 or more and 0 or more", x->ndim,
                  (long long)soma__attr_int(a, 0));
    if (dim < 0 || soma__failed())
        return false;
    for (int i = 0; i < 3; i++)
        if (a->in[i == 0 ? 1 : i == 1 ? 0 : 2])
            list[n++] = a->in[i == 0 ? 1 : i == 1 ? 0 : 2]; /* prepend, x, append */
    x = n > 1 && soma__attr_int(a, 0) > 0 ? soma_cat(list, n, dim) : x; /* 0 times: x alone, as PyTorch */
    for (int64_t k = 0; k < soma__attr_int(a, 0) && x && x->shape[dim] > 0; k++)
        x = difference(x, dim);
    return soma__return(a, x);
}
SOMA__LINES(diff, "[5]", "s[3,4] dim=0", "[2,5] n=2", "[2,3] [2,1] [2,2] dim=1", "[3] n=5", "[0,3]", "[3] - [1]", "[4] n=0",
            "[] !ESHAPE diff: x has 0 dimensions", "[3] n=-1 !EINVAL n is -1", "[3] dim=1 !ESHAPE dim 1 is out of range",
            "[2,3] [3,1] !ESHAPE does not fit")
static const soma_op diff_op = {
    SOMA__COMPOSITE(diff), .in = {{.name = "x"}, {.name = "prepend", .optional = true}, {.name = "append", .optional = true}}, .n_in = 3,
    .outputs = 1, .family = "reduce", .promote = SOMA_PROMOTE_SAME, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED,
    .doc = "Differences of neighbours along dim, n times over, after joining what is to stand before and behind; for bool whether they differ.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("n", 1, "how many times"), SOMA_DEF_INT("dim", -1, "dimension")),
};

/* The areas between neighbours along dim. */
static soma_tensor *trapezoids(soma_args *a, int *dim) {
    soma_tensor *y = a->in[0], *x = a->in[1];
    *dim = y->ndim ? soma__dim(a->op->name, soma__attr_int(a, 1), y->ndim) : -1;
    if (y->ndim == 0)
        soma_fail(SOMA_ESHAPE, "%s: y has no dimensions", a->op->name);
    if (*dim < 0)
        return NULL;
    int64_t n = y->shape[*dim];
    soma_tensor *heights = soma_add(soma_slice(y, *dim, SOMA_MIN(1, n), n, 1), soma_slice(y, *dim, 0, SOMA_MAX(n - 1, 0), 1));
    if (!x)
        return soma_mul_scalar(heights, soma__attr_float(a, 0) / 2);
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    int at = *dim - y->ndim + x->ndim;
    if (x->ndim == 1 ? x->shape[0] != n : at < 0 || x->shape[at] != n) {
        soma_fail(SOMA_ESHAPE, "%s: x is %s, which does not fit dimension %d of y, %s", a->op->name, soma__tensor_text(x, one), *dim,
                  soma__tensor_text(y, two));
        return NULL;
    }
    soma_tensor *widths = difference(x, x->ndim == 1 ? 0 : at);
    int64_t shape[SOMA_MAX_DIMS];
    for (int d = 0; d < y->ndim; d++)
        shape[d] = d == *dim ? SOMA_MAX(n - 1, 0) : 1;
    return soma_mul_scalar(soma_mul(heights, x->ndim == 1 ? soma_reshape(widths, y->ndim, shape) : widths), 0.5);
}
static bool trapezoid_compose(soma_args *a) {
    int dim;
    soma_tensor *t = trapezoids(a, &dim);
    return soma__return(a, t ? soma_sum(t, SOMA_DIMS(dim), false) : NULL);
}
static bool cumulative_trapezoid_compose(soma_args *a) {
    int dim;
    soma_tensor *t = trapezoids(a, &dim);
    return soma__return(a, t ? soma_cumsum(t, dim) : NULL);
}
#define TRAPEZOID_SAMPLES "[5]", "s[3,4] - dim=0 dx=0.5", "[2,5] [5]", "[2,3] [2,3] dim=1", "[3,4] [3] dim=0", "[0,3]", "[1]"
#define TRAPEZOID_ERRORS "[] !ESHAPE y has no dimensions", "[3] [4] !ESHAPE x is [4] f32, which does not fit dimension 0 of y, [3] f32", \
    "[3] - dim=1 !ESHAPE dim 1 is out of range"
SOMA__LINES(trapezoid, TRAPEZOID_SAMPLES, TRAPEZOID_ERRORS)
SOMA__LINES(cumulative_trapezoid, TRAPEZOID_SAMPLES, TRAPEZOID_ERRORS)
#define INTEGRAL .in = {{.name = "y"}, {.name = "x", .optional = true}}, .n_in = 2, .outputs = 1, .family = "reduce", .promote = SOMA_PROMOTE_FLOAT, \
    .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED, \
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("dx", 1, "distance of the places when x is not given"), SOMA_DEF_INT("dim", -1, "dimension"))
static const soma_op trapezoid_op = {
    SOMA__COMPOSITE(trapezoid), INTEGRAL,
    .doc = "Integral of y along dim by the trapezoidal rule, at the places x or at equal distances: sum((y[i] + y[i+1]) / 2 (x[i+1] - x[i])). "
           "Integers become f32.",
};
static const soma_op cumulative_trapezoid_op = {
    SOMA__COMPOSITE(cumulative_trapezoid), INTEGRAL,
    .doc = "The running integral of y along dim by the trapezoidal rule, one element shorter. Integers become f32.",
};

/* ---- Covariance ---- */

static bool weights_fit(const char *name, const soma_tensor *w, int64_t n) {
    char text[SOMA__SHAPE_TEXT];
    if (!w || (w->ndim == 1 && w->shape[0] == n))
        return true;
    soma_fail(SOMA_ESHAPE, "cov: %s is %s, expected [%lld], one for each observation", name, soma__tensor_text(w, text), (long long)n);
    return false;
}
static bool cov_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *f = a->in[1], *w = a->in[2];
    char text[SOMA__SHAPE_TEXT];
    if (x->ndim > 2) {
        soma_fail(SOMA_ESHAPE, "cov: x is %s, expected variables in rows and observations in columns", soma__tensor_text(x, text));
        return false;
    }
    int64_t variables = x->ndim == 2 ? x->shape[0] : 1, n = x->ndim ? x->shape[x->ndim - 1] : 1;
    if (!weights_fit("fweights", f, n) || !weights_fit("aweights", w, n))
        return false;
    soma_dtype dtype = soma_dtype_of(x);
    x = soma_reshape(x, 2, (const int64_t[]){variables, n});
    soma_tensor *weight = f ? soma_to(f, dtype) : NULL, *total = soma_full(SOMA_SCALAR, (double)n, dtype), *lost;
    weight = w ? (weight ? soma_mul(weight, w) : w) : weight;
    total = weight ? soma_sum(weight, SOMA_ALL, false) : total;
    lost = w ? soma_div(soma_sum(soma_mul(weight, w), SOMA_ALL, false), total) : soma_scalar(1);
    soma_tensor *mean = soma_div(soma_sum(weight ? soma_mul(x, weight) : x, SOMA_DIMS(1), true), total), *centred = soma_sub(x, mean);
    soma_tensor *count = soma_clamp(soma_sub(total, soma_mul_scalar(lost, (double)soma__attr_int(a, 0))), 0, INFINITY);
    soma_tensor *t = soma_div(soma_matmul(weight ? soma_mul(centred, weight) : centred, soma_transpose(centred, 0, 1)), count);
    return soma__return(a, a->in[0]->ndim == 2 && variables != 1 ? t : soma_squeeze(t, SOMA_ALL));
}
SOMA__LINES(cov, "[3,5]", "s[2,4] correction=0", "[6]", "[2,4] i[4]=1,2,1,3", "[3,4] - [4]@0.3:3", "[2,4] i[4]=2,1,1,1 [4]@0.3:3 correction=0",
            "[1,4]", "[2,3,4] !ESHAPE cov: x is [2, 3, 4] f32", "[2,3] i[2]=1,2 !ESHAPE fweights is [2] i64, expected [3]",
            "[2,3] - [2] !ESHAPE aweights is [2] f32, expected [3]")
static const soma_op cov_op = {
    SOMA__COMPOSITE(cov),
    .in = {{.name = "x"}, {.name = "fweights", .dtypes = SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32), .apart = true, .optional = true},
           {.name = "aweights", .optional = true}},
    .n_in = 3, .outputs = 1, .family = "reduce", .promote = SOMA_PROMOTE_FLOAT, .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED,
    .doc = "Covariances of variables (rows) over observations (columns): sum of (x - mean)(x - mean)^T / (n - correction). fweights say how often "
           "each observation counts, aweights how much.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("correction", 1, "divide by n - correction")),
};
soma_tensor *soma_cov(soma_tensor *x, int64_t correction, soma_tensor *fweights, soma_tensor *aweights) {
    soma_attr attr = SOMA_INT("correction", correction);
    return SOMA__RUN(&cov_op, &attr, x, fweights, aweights);
}

static bool corrcoef_compose(soma_args *a) {
    soma_tensor *c = soma_cov(a->in[0], 1, NULL, NULL);
    if (!c || c->ndim == 0)
        return soma__return(a, soma_div(c, c));
    soma_tensor *std = soma_sqrt(soma_diagonal(c, 0, 0, 1));
    return soma__return(a, soma_clamp(soma_div(soma_div(c, soma_unsqueeze(std, 1)), std), -1, 1));
}
SOMA__LINES(corrcoef, "[3,5] ~", "s[2,4] ~", "[6]", "[4,6] ~", "[2,9] ~", "[1,4]", "[2,3,4] !ESHAPE expected variables in rows")
static const soma_op corrcoef_op = {
    SOMA__COMPOSITE(corrcoef), .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .family = "reduce", .promote = SOMA_PROMOTE_FLOAT,
    .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED,
    .doc = "Pearson's correlations of variables (rows) over observations (columns): cov / (std std^T), cut to [-1, 1].",
};
soma_tensor *soma_corrcoef(soma_tensor *x) { return SOMA__RUN(&corrcoef_op, NULL, x); }

soma_op_list soma__sums_ops = {&norm_op, &nansum_op, &nanmean_op, &var_mean_op, &std_mean_op, &count_nonzero_op, &cumprod_op, &logcumsumexp_op,
                               &diff_op, &trapezoid_op,
                               &cumulative_trapezoid_op, &cov_op, &corrcoef_op, NULL};

/* ---- The functions of ops.h ---- */

static bool fold_attrs(soma_attr *attrs, const char *op, int n_dims, const int64_t *dims, bool keepdim) {
    attrs[1] = SOMA_BOOLEAN("keepdim", keepdim);
    return soma__ints_attr(&attrs[0], op, "dims", n_dims, dims);
}
soma_tensor *soma_nansum(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    soma_attr attrs[2];
    return fold_attrs(attrs, "nansum", n_dims, dims, keepdim) ? SOMA__RUN(&nansum_op, attrs, x) : NULL;
}
soma_tensor *soma_nanmean(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim) {
    soma_attr attrs[2];
    return fold_attrs(attrs, "nanmean", n_dims, dims, keepdim) ? SOMA__RUN(&nanmean_op, attrs, x) : NULL;
}
soma_tensor *soma_count_nonzero(soma_tensor *x, int n_dims, const int64_t *dims) {
    soma_attr attrs[2];
    return fold_attrs(attrs, "count_nonzero", n_dims, dims, false) ? SOMA__RUN(&count_nonzero_op, attrs, x) : NULL;
}
static soma_status moments(const soma_op *op, soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim,
                           soma_tensor **spread, soma_tensor **mean) {
    soma_attr attrs[3] = {[2] = SOMA_INT("correction", correction)};
    soma_tensor *out[2] = {0};
    if (fold_attrs(attrs, op->name, n_dims, dims, keepdim))
        soma__apply_many(op, &x, 1, attrs, out, 2);
    *spread = out[0];
    *mean = out[1];
    return soma__ctx()->error;
}
soma_status soma_var_mean(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim, soma_tensor **var, soma_tensor **mean) {
    return moments(&var_mean_op, x, n_dims, dims, correction, keepdim, var, mean);
}
soma_status soma_std_mean(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim, soma_tensor **std, soma_tensor **mean) {
    return moments(&std_mean_op, x, n_dims, dims, correction, keepdim, std, mean);
}
soma_tensor *soma_cumprod(soma_tensor *x, int64_t dim) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&cumprod_op, &attr, x);
}
soma_tensor *soma_logcumsumexp(soma_tensor *x, int64_t dim) {
    soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&logcumsumexp_op, &attr, x);
}
soma_tensor *soma_diff(soma_tensor *x, int64_t n, int64_t dim) {
    soma_attr attrs[] = {SOMA_INT("n", n), SOMA_INT("dim", dim)};
    return SOMA__RUN(&diff_op, attrs, x, NULL, NULL);
}
soma_tensor *soma_trapezoid(soma_tensor *y, soma_tensor *x, double dx, int64_t dim) {
    soma_attr attrs[] = {SOMA_FLOAT("dx", dx), SOMA_INT("dim", dim)};
    return SOMA__RUN(&trapezoid_op, attrs, y, x);
}
soma_tensor *soma_cumulative_trapezoid(soma_tensor *y, soma_tensor *x, double dx, int64_t dim) {
    soma_attr attrs[] = {SOMA_FLOAT("dx", dx), SOMA_INT("dim", dim)};
    return SOMA__RUN(&cumulative_trapezoid_op, attrs, y, x);
}
