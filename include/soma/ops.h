/* soma: operators. Each is one entry in a registry (soma_op_get lists them, soma_call calls any by name); the functions
 * below are the same operators with C types. Names, semantics and defaults are PyTorch's where it has the operator.
 *
 * All take tensors of any strides, broadcast where PyTorch does, and return a tensor of the current scope, or NULL with
 * the error recorded. `dim` may count from the end. "SOMA_ALL" as dims reduces over everything. */
#ifndef SOMA_OPS_H
#define SOMA_OPS_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "No dim" where one may be left off: all elements, flattened. */
#define SOMA_NO_DIM INT64_MIN

/* ---- The registry ---------------------------------------------------------------------------------------------- */

typedef enum soma_attr_kind {
    SOMA_ATTR_INT, SOMA_ATTR_FLOAT, SOMA_ATTR_BOOL, SOMA_ATTR_INTS, SOMA_ATTR_DTYPE, SOMA_ATTR_STRING
} soma_attr_kind;
/* An attribute by name. Build it with SOMA_INT("dim", 1), SOMA_INTS("stride", 2, 2) and so on. */
typedef struct soma_attr {
    const char *name;
    soma_attr_kind kind;
    int count; /* of ints */
    union {
        int64_t i;       /* INT, BOOL, DTYPE */
        double f;        /* FLOAT */
        const char *s;   /* STRING */
        int64_t ints[SOMA_MAX_DIMS];
    } value;
} soma_attr;
#define SOMA_INT(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_INT, .value.i = (v)})
#define SOMA_FLOAT(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_FLOAT, .value.f = (v)})
#define SOMA_BOOLEAN(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_BOOL, .value.i = (v)})
#define SOMA_DTYPE(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_DTYPE, .value.i = (v)})
#define SOMA_STRING(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_STRING, .value.s = (v)})
#define SOMA_INTS(attr_name, ...)                                                                                       \
    ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_INTS,                                                           \
                 .count = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .value.ints = {__VA_ARGS__}})

/* What an operator says of an attribute. Without `required`, `def` is used when it is not given. */
typedef struct soma_attr_info {
    soma_attr def;
    bool required;
    const char *help;
} soma_attr_info;
typedef struct soma_op_info {
    const char *name, *family, *doc, *onnx; /* onnx: NULL when ONNX has no such operator */
    int min_inputs, max_inputs, outputs;    /* outputs: at least so many when many_outputs */
    const char *const *input_names;         /* max_inputs of them; NULL for operators of any number of inputs */
    const soma_attr_info *attrs;
    int n_attrs;
    uint32_t dtypes;                        /* bit 1u << soma_dtype: dtypes that the inputs may have */
    bool differentiable;
    bool random;                            /* takes the next stream of the seed */
    bool in_place;                          /* name with a trailing "_" writes into the first input */
    bool internal;                          /* part of another operator's gradient; callable, but not meant for programs */
    bool many_outputs;                      /* their number depends on attributes or shapes, as split's */
    const uint32_t *input_dtypes;           /* of each named input where not `dtypes` (indices, masks), else 0 */
    const char *range;                      /* elementwise: where it is defined and smooth, "0.2 … 5"; else NULL */
} soma_op_info;
SOMA_API int soma_op_count(void);
/* The i-th operator, sorted by name; NULL when i is out of range. Static. */
SOMA_API const soma_op_info *soma_op_get(int i);
SOMA_API const soma_op_info *soma_op_find(const char *name); /* NULL when there is none; no error is recorded */
/* Runs an operator by name. `out` has room for n_out tensors; those that the operator does not make are set to NULL.
 * An optional input is given as NULL. "relu_" is relu in place. */
SOMA_API soma_status soma_call(const char *name, soma_tensor *const *in, int n_in, const soma_attr *attrs, int n_attrs,
                               soma_tensor **out, int n_out);

/* ---- Elementwise: one input ------------------------------------------------------------------------------------ */

SOMA_API soma_tensor *soma_neg(soma_tensor *x);
SOMA_API soma_tensor *soma_positive(soma_tensor *x);
SOMA_API soma_tensor *soma_abs(soma_tensor *x);
SOMA_API soma_tensor *soma_sign(soma_tensor *x);
SOMA_API soma_tensor *soma_sgn(soma_tensor *x);
SOMA_API soma_tensor *soma_signbit(soma_tensor *x);                 /* bool; -0 counts as negative */
SOMA_API soma_tensor *soma_square(soma_tensor *x);
SOMA_API soma_tensor *soma_sqrt(soma_tensor *x);
SOMA_API soma_tensor *soma_rsqrt(soma_tensor *x);
SOMA_API soma_tensor *soma_reciprocal(soma_tensor *x);
SOMA_API soma_tensor *soma_exp(soma_tensor *x);
SOMA_API soma_tensor *soma_exp2(soma_tensor *x);
SOMA_API soma_tensor *soma_expm1(soma_tensor *x);
SOMA_API soma_tensor *soma_log(soma_tensor *x);
SOMA_API soma_tensor *soma_log2(soma_tensor *x);
SOMA_API soma_tensor *soma_log10(soma_tensor *x);
SOMA_API soma_tensor *soma_log1p(soma_tensor *x);
SOMA_API soma_tensor *soma_sin(soma_tensor *x);                     /* radians */
SOMA_API soma_tensor *soma_cos(soma_tensor *x);
SOMA_API soma_tensor *soma_tan(soma_tensor *x);
SOMA_API soma_tensor *soma_asin(soma_tensor *x);
SOMA_API soma_tensor *soma_acos(soma_tensor *x);
SOMA_API soma_tensor *soma_atan(soma_tensor *x);
SOMA_API soma_tensor *soma_sinh(soma_tensor *x);
SOMA_API soma_tensor *soma_cosh(soma_tensor *x);
SOMA_API soma_tensor *soma_tanh(soma_tensor *x);
SOMA_API soma_tensor *soma_asinh(soma_tensor *x);
SOMA_API soma_tensor *soma_acosh(soma_tensor *x);
SOMA_API soma_tensor *soma_atanh(soma_tensor *x);
SOMA_API soma_tensor *soma_sinc(soma_tensor *x);                    /* sin(pi x) / (pi x) */
SOMA_API soma_tensor *soma_rad2deg(soma_tensor *x);
SOMA_API soma_tensor *soma_deg2rad(soma_tensor *x);
SOMA_API soma_tensor *soma_floor(soma_tensor *x);
SOMA_API soma_tensor *soma_ceil(soma_tensor *x);
SOMA_API soma_tensor *soma_round(soma_tensor *x);                   /* halves to even */
SOMA_API soma_tensor *soma_round_decimals(soma_tensor *x, int64_t decimals); /* places after the point */
SOMA_API soma_tensor *soma_trunc(soma_tensor *x);
SOMA_API soma_tensor *soma_frac(soma_tensor *x);
SOMA_API soma_tensor *soma_clamp(soma_tensor *x, double min, double max);   /* -INFINITY, INFINITY: no bound */
/* NaN for posinf and neginf: the dtype's largest and lowest number. */
SOMA_API soma_tensor *soma_nan_to_num(soma_tensor *x, double nan, double posinf, double neginf);
SOMA_API soma_tensor *soma_isnan(soma_tensor *x);                   /* these give bool */
SOMA_API soma_tensor *soma_isinf(soma_tensor *x);
SOMA_API soma_tensor *soma_isposinf(soma_tensor *x);
SOMA_API soma_tensor *soma_isneginf(soma_tensor *x);
SOMA_API soma_tensor *soma_isfinite(soma_tensor *x);
SOMA_API soma_tensor *soma_logical_not(soma_tensor *x);
SOMA_API soma_tensor *soma_bitwise_not(soma_tensor *x);             /* integers; of bool: logical_not */

/* ---- Special functions ----------------------------------------------------------------------------------------- */

SOMA_API soma_tensor *soma_erf(soma_tensor *x);
SOMA_API soma_tensor *soma_erfc(soma_tensor *x);
SOMA_API soma_tensor *soma_erfinv(soma_tensor *x);
SOMA_API soma_tensor *soma_ndtr(soma_tensor *x);                    /* normal distribution function, and its inverse */
SOMA_API soma_tensor *soma_ndtri(soma_tensor *x);
SOMA_API soma_tensor *soma_lgamma(soma_tensor *x);
SOMA_API soma_tensor *soma_mvlgamma(soma_tensor *x, int64_t p);
SOMA_API soma_tensor *soma_digamma(soma_tensor *x);
SOMA_API soma_tensor *soma_polygamma(int64_t n, soma_tensor *x);    /* n-th derivative of digamma */
SOMA_API soma_tensor *soma_zeta(soma_tensor *s, soma_tensor *q);    /* Hurwitz */
SOMA_API soma_tensor *soma_i0(soma_tensor *x);                      /* modified Bessel functions; e: times e^-|x| */
SOMA_API soma_tensor *soma_i0e(soma_tensor *x);
SOMA_API soma_tensor *soma_i1(soma_tensor *x);
SOMA_API soma_tensor *soma_i1e(soma_tensor *x);
SOMA_API soma_tensor *soma_entr(soma_tensor *x);                    /* -x log x */
SOMA_API soma_tensor *soma_logit(soma_tensor *x, double eps);       /* x limited to [eps, 1 - eps] first; below 0: not limited */
SOMA_API soma_tensor *soma_xlogy(soma_tensor *a, soma_tensor *b);   /* a log b, 0 where a is 0 */
SOMA_API soma_tensor *soma_xlog1py(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_logaddexp(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_logaddexp2(soma_tensor *a, soma_tensor *b);

/* ---- Activations (`soma ops NAME` says when to use which; `soma plot activation NAME` draws them) ------------------ */

SOMA_API soma_tensor *soma_identity(soma_tensor *x);
SOMA_API soma_tensor *soma_sigmoid(soma_tensor *x);
SOMA_API soma_tensor *soma_logsigmoid(soma_tensor *x);
SOMA_API soma_tensor *soma_hardsigmoid(soma_tensor *x);
SOMA_API soma_tensor *soma_hardtanh(soma_tensor *x, double min, double max);
SOMA_API soma_tensor *soma_tanhshrink(soma_tensor *x);
SOMA_API soma_tensor *soma_softsign(soma_tensor *x);
SOMA_API soma_tensor *soma_relu(soma_tensor *x);
SOMA_API soma_tensor *soma_relu6(soma_tensor *x);
SOMA_API soma_tensor *soma_leaky_relu(soma_tensor *x, double negative_slope); /* PyTorch's default is 0.01 */
/* weight: one number, or one for each channel (dimension 1). He et al. 2015. */
SOMA_API soma_tensor *soma_prelu(soma_tensor *x, soma_tensor *weight);
/* Slopes below 0 drawn from [lower, upper) when training, else their mean. Xu et al. 2015; PyTorch's defaults are 1/8 and 1/3. */
SOMA_API soma_tensor *soma_rrelu(soma_tensor *x, double lower, double upper, bool training);
SOMA_API soma_tensor *soma_elu(soma_tensor *x, double alpha);
SOMA_API soma_tensor *soma_selu(soma_tensor *x);
SOMA_API soma_tensor *soma_celu(soma_tensor *x, double alpha);
SOMA_API soma_tensor *soma_gelu(soma_tensor *x);                    /* exact: x * Phi(x) */
SOMA_API soma_tensor *soma_gelu_tanh(soma_tensor *x);               /* approximate="tanh" */
SOMA_API soma_tensor *soma_silu(soma_tensor *x);
SOMA_API soma_tensor *soma_mish(soma_tensor *x);
SOMA_API soma_tensor *soma_hardswish(soma_tensor *x);
SOMA_API soma_tensor *soma_softplus(soma_tensor *x);                /* beta 1, threshold 20 */
SOMA_API soma_tensor *soma_softplus_beta(soma_tensor *x, double beta, double threshold);
SOMA_API soma_tensor *soma_threshold(soma_tensor *x, double threshold, double value);
SOMA_API soma_tensor *soma_hardshrink(soma_tensor *x, double lambd);
SOMA_API soma_tensor *soma_softshrink(soma_tensor *x, double lambd);
SOMA_API soma_tensor *soma_glu(soma_tensor *x, int64_t dim);        /* halves dim */
SOMA_API soma_tensor *soma_step(soma_tensor *x, double threshold);  /* 1 where x >= threshold, else 0; gradient 0 */
/* The same with a gradient that stands in for the derivative: "straight_through", "clipped", "triangle", "sigmoid", "fast_sigmoid",
 * "arctan" (`soma ops step` has the formulas); width 0: 1. Bengio et al. 2013, Neftci et al. 2019. */
SOMA_API soma_tensor *soma_step_surrogate(soma_tensor *x, double threshold, const char *surrogate, double width);
/* To another dtype; the same tensor when it has it already. */
SOMA_API soma_tensor *soma_to(soma_tensor *x, soma_dtype dtype);

/* ---- Elementwise: two inputs and more, broadcast ---------------------------------------------------------------- */

SOMA_API soma_tensor *soma_add(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_sub(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_mul(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_div(soma_tensor *a, soma_tensor *b);             /* integers: true division, gives f32 */
SOMA_API soma_tensor *soma_true_divide(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_div_mode(soma_tensor *a, soma_tensor *b, const char *rounding_mode); /* "none", "trunc", "floor" */
SOMA_API soma_tensor *soma_floor_divide(soma_tensor *a, soma_tensor *b);    /* towards -inf; integers stay integers */
SOMA_API soma_tensor *soma_fmod(soma_tensor *a, soma_tensor *b);            /* sign of a; whole numbers by 0: an error */
SOMA_API soma_tensor *soma_remainder(soma_tensor *a, soma_tensor *b);       /* sign of b */
SOMA_API soma_tensor *soma_rsub(soma_tensor *a, soma_tensor *b, double alpha); /* b - alpha a */
SOMA_API soma_tensor *soma_pow(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_float_power(soma_tensor *a, soma_tensor *b);     /* in f64 */
SOMA_API soma_tensor *soma_ldexp(soma_tensor *a, soma_tensor *b);           /* a 2^b */
SOMA_API soma_tensor *soma_hypot(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_atan2(soma_tensor *a, soma_tensor *b);           /* a is the height */
SOMA_API soma_tensor *soma_copysign(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_nextafter(soma_tensor *a, soma_tensor *b);       /* f32, f64 */
SOMA_API soma_tensor *soma_maximum(soma_tensor *a, soma_tensor *b);         /* NaN wins; fmax, fmin: NaN loses */
SOMA_API soma_tensor *soma_minimum(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_fmax(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_fmin(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_clamp_min(soma_tensor *x, soma_tensor *min);
SOMA_API soma_tensor *soma_clamp_max(soma_tensor *x, soma_tensor *max);
SOMA_API soma_tensor *soma_clamp_tensor(soma_tensor *x, soma_tensor *min, soma_tensor *max); /* one of the bounds may be NULL */
SOMA_API soma_tensor *soma_heaviside(soma_tensor *a, soma_tensor *b);       /* b where a is 0 */
SOMA_API soma_tensor *soma_lerp(soma_tensor *start, soma_tensor *end, soma_tensor *weight); /* a number: soma_scalar(w) */
SOMA_API soma_tensor *soma_addcmul(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value); /* x + value a b */
SOMA_API soma_tensor *soma_addcdiv(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value); /* x + value a / b */
SOMA_API soma_tensor *soma_gcd(soma_tensor *a, soma_tensor *b);             /* from here to the shifts: whole numbers */
SOMA_API soma_tensor *soma_lcm(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_bitwise_and(soma_tensor *a, soma_tensor *b);     /* and bool */
SOMA_API soma_tensor *soma_bitwise_or(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_bitwise_xor(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_bitwise_left_shift(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_bitwise_right_shift(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_eq(soma_tensor *a, soma_tensor *b);              /* comparisons give bool */
SOMA_API soma_tensor *soma_ne(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_lt(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_le(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_gt(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_ge(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_logical_and(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_logical_or(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_logical_xor(soma_tensor *a, soma_tensor *b);
/* |a - b| <= atol + rtol |b|; PyTorch's defaults are 1e-5 and 1e-8. */
SOMA_API soma_tensor *soma_isclose(soma_tensor *a, soma_tensor *b, double rtol, double atol, bool equal_nan);
SOMA_API soma_tensor *soma_allclose(soma_tensor *a, soma_tensor *b, double rtol, double atol, bool equal_nan); /* a 0-d bool: soma_item gives 1 or 0 */
SOMA_API soma_tensor *soma_equal(soma_tensor *a, soma_tensor *b);           /* the same shape and the same values: a 0-d bool */
SOMA_API soma_tensor *soma_where(soma_tensor *condition, soma_tensor *a, soma_tensor *b);
/* With a number: soma_add(x, soma_scalar(v)) and so on. */
SOMA_API soma_tensor *soma_add_scalar(soma_tensor *x, double v);
SOMA_API soma_tensor *soma_mul_scalar(soma_tensor *x, double v);
SOMA_API soma_tensor *soma_pow_scalar(soma_tensor *x, double v);

/* ---- In place (return their first argument) ---------------------------------------------------------------------- */

SOMA_API soma_tensor *soma_add_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_sub_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_mul_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_div_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_pow_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_neg_(soma_tensor *x);
SOMA_API soma_tensor *soma_abs_(soma_tensor *x);
SOMA_API soma_tensor *soma_square_(soma_tensor *x);
SOMA_API soma_tensor *soma_sqrt_(soma_tensor *x);
SOMA_API soma_tensor *soma_rsqrt_(soma_tensor *x);
SOMA_API soma_tensor *soma_reciprocal_(soma_tensor *x);
SOMA_API soma_tensor *soma_exp_(soma_tensor *x);
SOMA_API soma_tensor *soma_log_(soma_tensor *x);
SOMA_API soma_tensor *soma_sin_(soma_tensor *x);
SOMA_API soma_tensor *soma_cos_(soma_tensor *x);
SOMA_API soma_tensor *soma_floor_(soma_tensor *x);
SOMA_API soma_tensor *soma_ceil_(soma_tensor *x);
SOMA_API soma_tensor *soma_tanh_(soma_tensor *x);
SOMA_API soma_tensor *soma_sigmoid_(soma_tensor *x);
SOMA_API soma_tensor *soma_silu_(soma_tensor *x);
SOMA_API soma_tensor *soma_selu_(soma_tensor *x);
SOMA_API soma_tensor *soma_leaky_relu_(soma_tensor *x, double negative_slope);
SOMA_API soma_tensor *soma_elu_(soma_tensor *x, double alpha);
SOMA_API soma_tensor *soma_lerp_(soma_tensor *start, soma_tensor *end, soma_tensor *weight);
SOMA_API soma_tensor *soma_addcmul_(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value);
SOMA_API soma_tensor *soma_addcdiv_(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value);
SOMA_API soma_tensor *soma_zero_(soma_tensor *x);
SOMA_API soma_tensor *soma_relu_(soma_tensor *x);
SOMA_API soma_tensor *soma_clamp_(soma_tensor *x, double min, double max);
SOMA_API soma_tensor *soma_copy_(soma_tensor *to, soma_tensor *from);       /* broadcasts and converts */
SOMA_API soma_tensor *soma_fill_(soma_tensor *x, double value);
SOMA_API soma_tensor *soma_uniform_(soma_tensor *x, double low, double high);
SOMA_API soma_tensor *soma_normal_(soma_tensor *x, double mean, double std);

SOMA_API soma_tensor *soma_exponential_(soma_tensor *x, double lambd);
SOMA_API soma_tensor *soma_cauchy_(soma_tensor *x, double median, double sigma);
SOMA_API soma_tensor *soma_log_normal_(soma_tensor *x, double mean, double std);
SOMA_API soma_tensor *soma_laplace_(soma_tensor *x, double loc, double scale);
SOMA_API soma_tensor *soma_gumbel_(soma_tensor *x, double loc, double scale);
SOMA_API soma_tensor *soma_geometric_(soma_tensor *x, double p);            /* trials up to the first success */
SOMA_API soma_tensor *soma_bernoulli_(soma_tensor *x, double p);
SOMA_API soma_tensor *soma_trunc_normal_(soma_tensor *x, double mean, double std, double a, double b);
SOMA_API soma_tensor *soma_random_(soma_tensor *x, int64_t from, int64_t to); /* whole numbers in [from, to); to INT64_MAX: all of the dtype */

/* ---- Draws whose parameters are tensors; each call takes the next stream of the seed ------------------------------ */

SOMA_API soma_tensor *soma_poisson(soma_tensor *rate);
SOMA_API soma_tensor *soma_gamma(soma_tensor *concentration);              /* of scale 1 */
SOMA_API soma_tensor *soma_beta(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_binomial(soma_tensor *count, soma_tensor *prob);
SOMA_API soma_tensor *soma_bernoulli_tensor(soma_tensor *p);
SOMA_API soma_tensor *soma_dirichlet(soma_tensor *concentration);          /* [..., n] */
SOMA_API soma_tensor *soma_normal(soma_tensor *mean, soma_tensor *std);    /* differentiable in both */
SOMA_API soma_tensor *soma_multinomial(soma_tensor *weights, int64_t num_samples, bool replacement); /* [n] or [rows, n] -> i64 */

/* ---- Reductions over dims; keepdim leaves them with size 1 ------------------------------------------------------- */

SOMA_API soma_tensor *soma_sum(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_mean(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_prod(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
/* `correction` 1 divides by n - 1 (PyTorch's default), 0 by n. */
SOMA_API soma_tensor *soma_var(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim);
SOMA_API soma_tensor *soma_std(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim);
SOMA_API soma_tensor *soma_amax(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_amin(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_any(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_all(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_logsumexp(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_norm(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);  /* Euclidean */
/* Any order: sum(|x|^p)^(1/p); INFINITY and -INFINITY: largest and smallest |x|; 0: how many are not 0. */
SOMA_API soma_tensor *soma_norm_p(soma_tensor *x, double p, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_nansum(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_nanmean(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_count_nonzero(soma_tensor *x, int n_dims, const int64_t *dims);       /* i64 */
SOMA_API soma_status soma_var_mean(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim, soma_tensor **var, soma_tensor **mean);
SOMA_API soma_status soma_std_mean(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim, soma_tensor **std, soma_tensor **mean);
SOMA_API soma_tensor *soma_cumprod(soma_tensor *x, int64_t dim);
SOMA_API soma_tensor *soma_logcumsumexp(soma_tensor *x, int64_t dim);
SOMA_API soma_tensor *soma_diff(soma_tensor *x, int64_t n, int64_t dim);                         /* n times */
/* Integrals by the trapezoidal rule, at the places x or (NULL) dx apart. */
SOMA_API soma_tensor *soma_trapezoid(soma_tensor *y, soma_tensor *x, double dx, int64_t dim);
SOMA_API soma_tensor *soma_cumulative_trapezoid(soma_tensor *y, soma_tensor *x, double dx, int64_t dim);
/* x [variables, observations]; weights [observations], integers and floats, or NULL. */
SOMA_API soma_tensor *soma_cov(soma_tensor *x, int64_t correction, soma_tensor *fweights, soma_tensor *aweights);
SOMA_API soma_tensor *soma_corrcoef(soma_tensor *x);
SOMA_API soma_tensor *soma_dist(soma_tensor *x1, soma_tensor *x2, double p);
SOMA_API soma_tensor *soma_cdist(soma_tensor *x1, soma_tensor *x2, double p);                    /* [..., p, m], [..., r, m] -> [..., p, r] */
SOMA_API soma_tensor *soma_pairwise_distance(soma_tensor *x1, soma_tensor *x2, double p, double eps, bool keepdim);
SOMA_API soma_tensor *soma_cosine_similarity(soma_tensor *x1, soma_tensor *x2, int64_t dim, double eps);
SOMA_API soma_tensor *soma_normalize(soma_tensor *x, double p, int64_t dim, double eps);         /* to length 1 */
SOMA_API soma_tensor *soma_renorm(soma_tensor *x, double p, int64_t dim, double maxnorm);
/* Indices (i64) of the largest and smallest along one dimension, or among all (SOMA_NO_DIM); the first of equals. */
SOMA_API soma_tensor *soma_argmax(soma_tensor *x, int64_t dim, bool keepdim);
SOMA_API soma_tensor *soma_argmin(soma_tensor *x, int64_t dim, bool keepdim);
SOMA_API soma_tensor *soma_cumsum(soma_tensor *x, int64_t dim);
/* The k largest along `dim`, in falling order, and their indices. */
SOMA_API soma_status soma_topk(soma_tensor *x, int64_t k, int64_t dim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_topk_ex(soma_tensor *x, int64_t k, int64_t dim, bool largest, soma_tensor **values, soma_tensor **indices);
/* Sorted along dim, and where the elements came from. Stable; NaN counts as the largest. Each result may be NULL. */
SOMA_API soma_status soma_sort(soma_tensor *x, int64_t dim, bool descending, soma_tensor **values, soma_tensor **indices);

SOMA_API soma_tensor *soma_argsort(soma_tensor *x, int64_t dim, bool descending);
SOMA_API soma_tensor *soma_msort(soma_tensor *x);                                     /* along dimension 0 */
/* Of all elements, and along a dimension with indices (i64); each result may be NULL. median takes the lower of two middle ones. */
SOMA_API soma_tensor *soma_max(soma_tensor *x);
SOMA_API soma_tensor *soma_min(soma_tensor *x);
SOMA_API soma_tensor *soma_median(soma_tensor *x);
SOMA_API soma_tensor *soma_nanmedian(soma_tensor *x);
SOMA_API soma_status soma_max_dim(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_min_dim(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_median_dim(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_nanmedian_dim(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_aminmax(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **min, soma_tensor **max); /* SOMA_NO_DIM: of all */
SOMA_API soma_status soma_kthvalue(soma_tensor *x, int64_t k, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_mode(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_cummax(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **indices);
SOMA_API soma_status soma_cummin(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **indices);
/* q in [0, 1], a number or a vector (which adds a first dimension); interpolation NULL ("linear"), "lower", "higher", "nearest", "midpoint". */
SOMA_API soma_tensor *soma_quantile(soma_tensor *x, soma_tensor *q, int64_t dim, bool keepdim, const char *interpolation);
SOMA_API soma_tensor *soma_nanquantile(soma_tensor *x, soma_tensor *q, int64_t dim, bool keepdim, const char *interpolation);

/* ---- Counting and searching; no gradients ---- */

/* The different elements, sorted, or rows along dim (SOMA_NO_DIM: all elements); each one's number and how many there are, unless NULL. */
SOMA_API soma_status soma_unique(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **inverse, soma_tensor **counts);
SOMA_API soma_status soma_unique_consecutive(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **inverse, soma_tensor **counts);
SOMA_API soma_tensor *soma_bincount(soma_tensor *x, soma_tensor *weights, int64_t minlength); /* weights may be NULL */
SOMA_API soma_tensor *soma_histc(soma_tensor *x, int64_t bins, double min, double max);       /* 0, 0: the data's own range */
/* Between given edges (rising), or (NULL) in `bins` equal parts; weight and bin_edges may be NULL. */
SOMA_API soma_status soma_histogram(soma_tensor *x, soma_tensor *edges, int64_t bins, soma_tensor *weight, bool density, soma_tensor **hist, soma_tensor **bin_edges);
SOMA_API soma_tensor *soma_searchsorted(soma_tensor *sorted_sequence, soma_tensor *values, bool right); /* i64 */
SOMA_API soma_tensor *soma_bucketize(soma_tensor *x, soma_tensor *boundaries, bool right);              /* i64 */
SOMA_API soma_tensor *soma_isin(soma_tensor *elements, soma_tensor *test_elements, bool invert);        /* bool */

/* ---- Shape: views where possible, as in PyTorch ------------------------------------------------------------------- */

SOMA_API soma_tensor *soma_reshape(soma_tensor *x, int ndim, const int64_t *shape);   /* one size may be -1 */
SOMA_API soma_tensor *soma_flatten(soma_tensor *x, int64_t start_dim, int64_t end_dim);
SOMA_API soma_tensor *soma_permute(soma_tensor *x, int n_dims, const int64_t *dims);
SOMA_API soma_tensor *soma_transpose(soma_tensor *x, int64_t dim0, int64_t dim1);
SOMA_API soma_tensor *soma_expand(soma_tensor *x, int ndim, const int64_t *shape);    /* -1 keeps a size */
SOMA_API soma_tensor *soma_squeeze(soma_tensor *x, int n_dims, const int64_t *dims);
SOMA_API soma_tensor *soma_unsqueeze(soma_tensor *x, int64_t dim);
/* start, start+step, … below end along dim; negative indices count from the end; beyond the end is clipped. */
SOMA_API soma_tensor *soma_slice(soma_tensor *x, int64_t dim, int64_t start, int64_t end, int64_t step);
SOMA_API soma_tensor *soma_select(soma_tensor *x, int64_t dim, int64_t index);        /* removes dim */
SOMA_API soma_tensor *soma_contiguous(soma_tensor *x);                                /* x itself when it is */
SOMA_API soma_tensor *soma_clone(soma_tensor *x);
SOMA_API soma_tensor *soma_cat(soma_tensor *const *x, int n, int64_t dim);
SOMA_API soma_tensor *soma_stack(soma_tensor *const *x, int n, int64_t dim);
SOMA_API soma_tensor *soma_flip(soma_tensor *x, int n_dims, const int64_t *dims);
/* Constant padding: before and after, from the last dimension backwards, as torch.nn.functional.pad. */
SOMA_API soma_tensor *soma_pad(soma_tensor *x, int n, const int64_t *pad, double value);
SOMA_API soma_tensor *soma_tril(soma_tensor *x, int64_t diagonal);
SOMA_API soma_tensor *soma_triu(soma_tensor *x, int64_t diagonal);

/* As reshape, but an error where a copy would be needed. */
SOMA_API soma_tensor *soma_view(soma_tensor *x, int ndim, const int64_t *shape);
SOMA_API soma_tensor *soma_ravel(soma_tensor *x);                                     /* [numel] */
SOMA_API soma_tensor *soma_unflatten(soma_tensor *x, int64_t dim, int n, const int64_t *sizes);
SOMA_API soma_tensor *soma_movedim(soma_tensor *x, int n, const int64_t *source, const int64_t *destination);
SOMA_API soma_tensor *soma_broadcast_to(soma_tensor *x, int ndim, const int64_t *shape);
SOMA_API soma_tensor *soma_atleast_1d(soma_tensor *x);
SOMA_API soma_tensor *soma_atleast_2d(soma_tensor *x);
SOMA_API soma_tensor *soma_atleast_3d(soma_tensor *x);
/* length indices from start on: a slice that must lie inside. */
SOMA_API soma_tensor *soma_narrow(soma_tensor *x, int64_t dim, int64_t start, int64_t length);
/* Views of parts along dim. They return how many parts there are and write at most `room` of them; -1: error. */
SOMA_API int soma_split(soma_tensor *x, int64_t split_size, int64_t dim, soma_tensor **out, int room);
SOMA_API int soma_chunk(soma_tensor *x, int64_t chunks, int64_t dim, soma_tensor **out, int room);
SOMA_API int soma_tensor_split(soma_tensor *x, int64_t sections, int64_t dim, soma_tensor **out, int room);
SOMA_API int soma_unbind(soma_tensor *x, int64_t dim, soma_tensor **out, int room);
/* n parts of the given sizes, which add up to dim's. */
SOMA_API soma_status soma_split_sizes(soma_tensor *x, int n, const int64_t *sizes, int64_t dim, soma_tensor **out);
SOMA_API soma_tensor *soma_hstack(soma_tensor *const *x, int n);
SOMA_API soma_tensor *soma_vstack(soma_tensor *const *x, int n);
SOMA_API soma_tensor *soma_dstack(soma_tensor *const *x, int n);
SOMA_API soma_tensor *soma_column_stack(soma_tensor *const *x, int n);
SOMA_API soma_tensor *soma_repeat(soma_tensor *x, int n, const int64_t *repeats);     /* the whole, as Tensor.repeat */
SOMA_API soma_tensor *soma_tile(soma_tensor *x, int n, const int64_t *dims);          /* as numpy.tile */
SOMA_API soma_tensor *soma_repeat_interleave(soma_tensor *x, int64_t repeats, int64_t dim); /* each element; SOMA_NO_DIM: flattened */
SOMA_API soma_tensor *soma_roll(soma_tensor *x, int n, const int64_t *shifts, const int64_t *dims); /* dims NULL: flattened, one shift */
SOMA_API soma_tensor *soma_rot90(soma_tensor *x, int64_t k, int64_t dim0, int64_t dim1);
SOMA_API soma_tensor *soma_fliplr(soma_tensor *x);
SOMA_API soma_tensor *soma_flipud(soma_tensor *x);
SOMA_API soma_tensor *soma_diagonal(soma_tensor *x, int64_t offset, int64_t dim1, int64_t dim2); /* a view; the diagonal comes last */
SOMA_API soma_tensor *soma_diag(soma_tensor *x, int64_t diagonal);                    /* vector to matrix, matrix to its diagonal */
SOMA_API soma_tensor *soma_diag_embed(soma_tensor *x, int64_t offset, int64_t dim1, int64_t dim2);
SOMA_API soma_tensor *soma_diagflat(soma_tensor *x, int64_t offset);
SOMA_API soma_tensor *soma_trace(soma_tensor *x);
SOMA_API soma_tensor *soma_tril_indices(int64_t row, int64_t col, int64_t offset);    /* i64 [2, n] */
SOMA_API soma_tensor *soma_triu_indices(int64_t row, int64_t col, int64_t offset);
SOMA_API soma_tensor *soma_block_diag(soma_tensor *const *x, int n);
/* n vectors to n views [n1, n2, …]; indexing "ij" (NULL) or "xy". Returns n, -1 on error. */
SOMA_API int soma_meshgrid(soma_tensor *const *x, int n, const char *indexing, soma_tensor **out);
SOMA_API soma_tensor *soma_cartesian_prod(soma_tensor *const *x, int n);
SOMA_API soma_tensor *soma_combinations(soma_tensor *x, int64_t r, bool with_replacement);
/* mode: "constant" (0), "reflect", "replicate" or "circular". */
SOMA_API soma_tensor *soma_pad_mode(soma_tensor *x, int n, const int64_t *pad, const char *mode);
/* Windows along dim in a new last dimension; a view (torch.Tensor.unfold). */
SOMA_API soma_tensor *soma_unfold(soma_tensor *x, int64_t dim, int64_t size, int64_t step);

/* ---- Indexing ------------------------------------------------------------------------------------------------------ */

SOMA_API soma_tensor *soma_index_select(soma_tensor *x, int64_t dim, soma_tensor *index);   /* index: i64 [n] */
SOMA_API soma_tensor *soma_gather(soma_tensor *x, int64_t dim, soma_tensor *index);
SOMA_API soma_tensor *soma_scatter_add(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src);
SOMA_API soma_tensor *soma_index_add(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src);
SOMA_API soma_tensor *soma_index_copy(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src);
SOMA_API soma_tensor *soma_scatter(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src);
SOMA_API soma_tensor *soma_scatter_value(soma_tensor *x, int64_t dim, soma_tensor *index, double value);
/* reduce: "sum", "prod", "mean", "amax" or "amin". */
SOMA_API soma_tensor *soma_scatter_reduce(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src, const char *reduce, bool include_self);
SOMA_API soma_tensor *soma_index_fill(soma_tensor *x, int64_t dim, soma_tensor *index, double value); /* negative indices count from the end */
/* x[i0, i1, …]: integer tensors that broadcast, bool masks, NULL for a whole dimension; negative indices count from the end. */
SOMA_API soma_tensor *soma_index(soma_tensor *x, soma_tensor *const *indices, int n);
/* x with x[i0, i1, …] = values, or += values. */
SOMA_API soma_tensor *soma_index_put(soma_tensor *x, soma_tensor *const *indices, int n, soma_tensor *values, bool accumulate);
SOMA_API soma_tensor *soma_take(soma_tensor *x, soma_tensor *index);                        /* by place in row-major order */
SOMA_API soma_tensor *soma_take_along_dim(soma_tensor *x, soma_tensor *index, int64_t dim); /* SOMA_NO_DIM: flattened */
SOMA_API soma_tensor *soma_put(soma_tensor *x, soma_tensor *index, soma_tensor *source, bool accumulate);
SOMA_API soma_tensor *soma_masked_select(soma_tensor *x, soma_tensor *mask);                /* [number of trues] */
SOMA_API soma_tensor *soma_masked_scatter(soma_tensor *x, soma_tensor *mask, soma_tensor *source);
SOMA_API soma_tensor *soma_nonzero(soma_tensor *x);                                         /* i64 [n, ndim]: coordinates */
SOMA_API soma_tensor *soma_argwhere(soma_tensor *x);                                        /* the same */
SOMA_API soma_tensor *soma_masked_fill(soma_tensor *x, soma_tensor *mask, double value);
/* x with src on a diagonal, at an index, in a slice. */
SOMA_API soma_tensor *soma_diagonal_scatter(soma_tensor *x, soma_tensor *src, int64_t offset, int64_t dim1, int64_t dim2);
SOMA_API soma_tensor *soma_select_scatter(soma_tensor *x, soma_tensor *src, int64_t dim, int64_t index);
SOMA_API soma_tensor *soma_slice_scatter(soma_tensor *x, soma_tensor *src, int64_t dim, int64_t start, int64_t end, int64_t step);
SOMA_API soma_tensor *soma_one_hot(soma_tensor *x, int64_t classes);                        /* i64 in, i64 out, one dim more */

/* weight [rows, features], indices [...] -> [..., features]. padding_idx: a row that gets no gradient; SOMA_NO_INDEX: none. */
#define SOMA_NO_INDEX INT64_MIN
SOMA_API soma_tensor *soma_embedding(soma_tensor *weight, soma_tensor *indices, int64_t padding_idx);
/* Groups of rows reduced: indices [bags, n], or [n] with offsets [bags]; mode "sum", "mean" (NULL) or "max"; per_sample_weights or NULL. */
SOMA_API soma_tensor *soma_embedding_bag(soma_tensor *weight, soma_tensor *indices, soma_tensor *offsets, soma_tensor *per_sample_weights,
                                         const char *mode);

/* ---- Matrices ------------------------------------------------------------------------------------------------------ */

SOMA_API soma_tensor *soma_matmul(soma_tensor *a, soma_tensor *b);          /* as torch.matmul: 1-d, 2-d, batched */
SOMA_API soma_tensor *soma_outer(soma_tensor *a, soma_tensor *b);           /* [n], [m] -> [n, m] */
/* x [..., in] · weight[out, in]^T + bias [out] (NULL: none) -> [..., out]. */
SOMA_API soma_tensor *soma_linear(soma_tensor *x, soma_tensor *weight, soma_tensor *bias);

/* Checked forms of matmul, for a reader's sake: nothing broadcasts. */
SOMA_API soma_tensor *soma_mm(soma_tensor *a, soma_tensor *b);              /* matrices */
SOMA_API soma_tensor *soma_bmm(soma_tensor *a, soma_tensor *b);             /* matrices in pairs: [b, n, m], [b, m, p] */
SOMA_API soma_tensor *soma_mv(soma_tensor *a, soma_tensor *b);              /* matrix, vector */
SOMA_API soma_tensor *soma_dot(soma_tensor *a, soma_tensor *b);             /* vectors */
SOMA_API soma_tensor *soma_vdot(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_inner(soma_tensor *a, soma_tensor *b);           /* [..., k], [..., k]: each row with each */
SOMA_API soma_tensor *soma_kron(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_cross(soma_tensor *a, soma_tensor *b, int64_t dim); /* SOMA_NO_INDEX: the first dimension of size 3 */
/* The last n_dims dimensions of a with the first of b (NULL, NULL), or dims_a with dims_b. */
SOMA_API soma_tensor *soma_tensordot(soma_tensor *a, soma_tensor *b, int n_dims, const int64_t *dims_a, const int64_t *dims_b);
/* beta input + alpha product; beta 0 leaves input out. */
SOMA_API soma_tensor *soma_addmm(soma_tensor *input, soma_tensor *a, soma_tensor *b, double beta, double alpha);
SOMA_API soma_tensor *soma_addmv(soma_tensor *input, soma_tensor *a, soma_tensor *b, double beta, double alpha);
SOMA_API soma_tensor *soma_addr(soma_tensor *input, soma_tensor *a, soma_tensor *b, double beta, double alpha);
SOMA_API soma_tensor *soma_baddbmm(soma_tensor *input, soma_tensor *a, soma_tensor *b, double beta, double alpha);
SOMA_API soma_tensor *soma_addbmm(soma_tensor *input, soma_tensor *a, soma_tensor *b, double beta, double alpha); /* summed over pairs */
SOMA_API soma_tensor *soma_multi_dot(soma_tensor *const *tensors, int n);   /* a chain in the cheapest order */
SOMA_API soma_tensor *soma_vander(soma_tensor *x, int64_t n, bool increasing); /* powers in n columns; n < 0: as many as elements */
/* Sums of products by letters: soma_einsum("bij,bjk->bik", (soma_tensor *[]){a, b}, 2). */
SOMA_API soma_tensor *soma_einsum(const char *equation, soma_tensor *const *operands, int n);

/* ---- Convolution, pooling: x [N, C, H, W] --------------------------------------------------------------------------- */

typedef struct soma_conv2d_opts {
    int64_t stride[2], padding[2], dilation[2]; /* 0: 1, 0, 1; a second entry of 0 repeats the first */
    int64_t groups;                             /* 0: 1 */
    size_t size;
} soma_conv2d_opts;
/* weight [out, in / groups, kh, kw], bias [out] or NULL -> [N, out, H', W'], H' = (H + 2p - d(kh-1) - 1) / s + 1. */
#define soma_conv2d(x, weight, ...) soma__conv2d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv2d_opts))
#define soma__conv2d(x, weight, bias, ...) soma_conv2d_ex((x), (weight), (bias), &(soma_conv2d_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv2d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv2d_opts *opts);
typedef struct soma_pool2d_opts {
    int64_t stride[2];      /* 0: the kernel */
    int64_t padding[2];     /* 0; a second entry of 0 repeats the first */
    int64_t dilation[2];    /* max pooling only; 0: 1 */
    bool ceil_mode;
    bool count_exclude_pad; /* average pooling: divide by the elements inside only */
    int64_t divisor_override; /* average pooling: divide by this; 0: by the number of elements */
    size_t size;
} soma_pool2d_opts;
#define soma_max_pool2d(x, ...) soma__max_pool2d(x, __VA_ARGS__, .size = sizeof(soma_pool2d_opts))
#define soma__max_pool2d(x, kh, kw, ...) soma_max_pool2d_ex((x), (kh), (kw), &(soma_pool2d_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_max_pool2d_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool2d_opts *opts);
#define soma_avg_pool2d(x, ...) soma__avg_pool2d(x, __VA_ARGS__, .size = sizeof(soma_pool2d_opts))
#define soma__avg_pool2d(x, kh, kw, ...) soma_avg_pool2d_ex((x), (kh), (kw), &(soma_pool2d_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_avg_pool2d_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool2d_opts *opts);
/* Averages over windows that divide the plane into out_h x out_w parts; 1, 1 is global average pooling. */
SOMA_API soma_tensor *soma_adaptive_avg_pool2d(soma_tensor *x, int64_t out_h, int64_t out_w);

/* The other convolutions. In each list a first number alone stands for all axes, and -1 means 0 beside others; weight [out, in / groups,
 * kernel …], for the transposed ones [in, out / groups, kernel …]; x without the batch dimension is taken too. */
typedef struct soma_conv_opts {
    int64_t stride[3], padding[3], dilation[3]; /* 0: 1, 0, 1 */
    int64_t output_padding[3];                  /* transposed only: rows more at the end */
    int64_t groups;                             /* 0: 1 */
    size_t size;
} soma_conv_opts;
#define soma_conv1d(x, weight, ...) soma__conv1d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv1d(x, weight, bias, ...) soma_conv1d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv1d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv3d(x, weight, ...) soma__conv3d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv3d(x, weight, bias, ...) soma_conv3d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv3d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv_transpose1d(x, weight, ...) soma__conv_transpose1d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv_transpose1d(x, weight, bias, ...) soma_conv_transpose1d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv_transpose1d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv_transpose2d(x, weight, ...) soma__conv_transpose2d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv_transpose2d(x, weight, bias, ...) soma_conv_transpose2d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv_transpose2d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv_transpose3d(x, weight, ...) soma__conv_transpose3d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv_transpose3d(x, weight, bias, ...) soma_conv_transpose3d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv_transpose3d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
/* Blocks of planes as columns and back: PyTorch's nn.functional.unfold and fold. */
typedef struct soma_im2col_opts {
    int64_t dilation[2], padding[2], stride[2]; /* 0: 1, 0, 1; a first number alone stands for both, -1 means 0 */
    size_t size;
} soma_im2col_opts;
#define soma_im2col(x, ...) soma__im2col(x, __VA_ARGS__, .size = sizeof(soma_im2col_opts))
#define soma__im2col(x, kh, kw, ...) soma_im2col_ex((x), (kh), (kw), &(soma_im2col_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_im2col_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_im2col_opts *opts);
#define soma_col2im(x, ...) soma__col2im(x, __VA_ARGS__, .size = sizeof(soma_im2col_opts))
#define soma__col2im(x, out_h, out_w, kh, kw, ...) soma_col2im_ex((x), (out_h), (out_w), (kh), (kw), &(soma_im2col_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_col2im_ex(soma_tensor *x, int64_t out_h, int64_t out_w, int64_t kh, int64_t kw, const soma_im2col_opts *opts);

/* Pooling along one and three axes. In each list a first number alone stands for all axes, and -1 means 0. `indices`, unless NULL, gets the
 * places of the largest (i64), which max_unpool takes. */
typedef struct soma_pool_opts {
    int64_t stride[3];        /* 0: the kernel */
    int64_t padding[3];       /* 0 */
    int64_t dilation[3];      /* max pooling only; 0: 1 */
    bool ceil_mode;
    bool count_exclude_pad;   /* average pooling: divide by the elements inside only */
    int64_t divisor_override; /* avg_pool3d: divide by this; 0: by the number of elements */
    size_t size;
} soma_pool_opts;
SOMA_API soma_tensor *soma_max_pool1d_ex(soma_tensor *x, int64_t kernel, const soma_pool_opts *opts, soma_tensor **indices);
SOMA_API soma_tensor *soma_max_pool2d_with_indices_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool_opts *opts, soma_tensor **indices);
SOMA_API soma_tensor *soma_max_pool3d_ex(soma_tensor *x, int64_t kd, int64_t kh, int64_t kw, const soma_pool_opts *opts, soma_tensor **indices);
SOMA_API soma_tensor *soma_avg_pool1d_ex(soma_tensor *x, int64_t kernel, const soma_pool_opts *opts);
SOMA_API soma_tensor *soma_avg_pool3d_ex(soma_tensor *x, int64_t kd, int64_t kh, int64_t kw, const soma_pool_opts *opts);
#define soma_max_pool1d(x, ...) soma__max_pool1d(x, __VA_ARGS__, .size = sizeof(soma_pool_opts))
#define soma__max_pool1d(x, k, ...) soma_max_pool1d_ex((x), (k), &(soma_pool_opts){__VA_ARGS__}, NULL)
#define soma_max_pool3d(x, ...) soma__max_pool3d(x, __VA_ARGS__, .size = sizeof(soma_pool_opts))
#define soma__max_pool3d(x, kd, kh, kw, ...) soma_max_pool3d_ex((x), (kd), (kh), (kw), &(soma_pool_opts){__VA_ARGS__}, NULL)
#define soma_avg_pool1d(x, ...) soma__avg_pool1d(x, __VA_ARGS__, .size = sizeof(soma_pool_opts))
#define soma__avg_pool1d(x, k, ...) soma_avg_pool1d_ex((x), (k), &(soma_pool_opts){__VA_ARGS__})
#define soma_avg_pool3d(x, ...) soma__avg_pool3d(x, __VA_ARGS__, .size = sizeof(soma_pool_opts))
#define soma__avg_pool3d(x, kd, kh, kw, ...) soma_avg_pool3d_ex((x), (kd), (kh), (kw), &(soma_pool_opts){__VA_ARGS__})
/* x's elements at the places that `indices` name in planes of these sizes (those that were pooled), zeros elsewhere. */
SOMA_API soma_tensor *soma_max_unpool1d(soma_tensor *x, soma_tensor *indices, int n_sizes, const int64_t *sizes);
SOMA_API soma_tensor *soma_max_unpool2d(soma_tensor *x, soma_tensor *indices, int n_sizes, const int64_t *sizes);
SOMA_API soma_tensor *soma_max_unpool3d(soma_tensor *x, soma_tensor *indices, int n_sizes, const int64_t *sizes);
/* (sum x^p)^(1/p) over windows; a stride of 0 is the kernel. */
SOMA_API soma_tensor *soma_lp_pool1d(soma_tensor *x, double p, int64_t kernel, int64_t stride, bool ceil_mode);
SOMA_API soma_tensor *soma_lp_pool2d(soma_tensor *x, double p, int64_t kh, int64_t kw, int64_t stride_h, int64_t stride_w, bool ceil_mode);
/* Windows that divide the input into so many parts; 1 is global pooling. */
SOMA_API soma_tensor *soma_adaptive_avg_pool1d(soma_tensor *x, int64_t out);
SOMA_API soma_tensor *soma_adaptive_avg_pool3d(soma_tensor *x, int64_t out_d, int64_t out_h, int64_t out_w);
SOMA_API soma_tensor *soma_adaptive_max_pool1d(soma_tensor *x, int64_t out);
SOMA_API soma_tensor *soma_adaptive_max_pool2d(soma_tensor *x, int64_t out_h, int64_t out_w);
SOMA_API soma_tensor *soma_adaptive_max_pool3d(soma_tensor *x, int64_t out_d, int64_t out_h, int64_t out_w);

/* ---- Other resolutions: x [N, C, …] ------------------------------------------------------------------------------------ */

typedef struct soma_interpolate_opts {
    int64_t size[3];      /* of the result; one number stands for all axes; nothing: scale_factor */
    double scale_factor;  /* how many times as large, along all axes */
    const char *mode;     /* nearest (NULL), nearest-exact, linear, bilinear, trilinear, bicubic, area */
    bool align_corners, recompute_scale_factor;
    size_t size_of;
} soma_interpolate_opts;
#define soma_interpolate(x, ...) soma_interpolate_ex((x), &(soma_interpolate_opts){__VA_ARGS__, .size_of = sizeof(soma_interpolate_opts)})
SOMA_API soma_tensor *soma_interpolate_ex(soma_tensor *x, const soma_interpolate_opts *opts);
SOMA_API soma_tensor *soma_pixel_shuffle(soma_tensor *x, int64_t upscale_factor);     /* [C r², H, W] -> [C, H r, W r] */
SOMA_API soma_tensor *soma_pixel_unshuffle(soma_tensor *x, int64_t downscale_factor);
SOMA_API soma_tensor *soma_channel_shuffle(soma_tensor *x, int64_t groups);
/* x [N, C, H, W] at grid [N, h, w, 2] in [-1, 1]; mode "bilinear" (NULL), "nearest"; padding_mode "zeros" (NULL), "border", "reflection". */
SOMA_API soma_tensor *soma_grid_sample(soma_tensor *x, soma_tensor *grid, const char *mode, const char *padding_mode, bool align_corners);

/* ---- Normalisation, softmax, dropout --------------------------------------------------------------------------------- */

/* x [N, C, …]; weight, bias [C] or NULL; running_mean, running_var [C], written when training (momentum m: new = (1-m) old
 * + m batch; the variance with n - 1), read otherwise. Ioffe & Szegedy 2015. */
SOMA_API soma_tensor *soma_batch_norm(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, soma_tensor *running_mean,
                                      soma_tensor *running_var, bool training, double momentum, double eps);
/* Over the last `n_dims` dimensions; weight and bias have their shape or are NULL. Ba et al. 2016. */
SOMA_API soma_tensor *soma_layer_norm(soma_tensor *x, int n_dims, soma_tensor *weight, soma_tensor *bias, double eps);
/* Over groups of channels of x [N, C, …]; weight, bias [C] or NULL. Wu & He 2018. */
SOMA_API soma_tensor *soma_group_norm(soma_tensor *x, int64_t num_groups, soma_tensor *weight, soma_tensor *bias, double eps);
/* Over each channel of each sample; running statistics [C] or NULL are written, and read instead when use_input_stats is false. */
SOMA_API soma_tensor *soma_instance_norm(soma_tensor *x, soma_tensor *running_mean, soma_tensor *running_var, soma_tensor *weight, soma_tensor *bias,
                                         bool use_input_stats, double momentum, double eps);
/* x / sqrt(mean(x²) + eps) weight over the last n_dims dimensions; eps 0: the dtype's epsilon. Zhang & Sennrich 2019. */
SOMA_API soma_tensor *soma_rms_norm(soma_tensor *x, int64_t n_dims, soma_tensor *weight, double eps);
/* x / (k + alpha mean(x² over `size` channels))^beta; PyTorch's defaults are 1e-4, 0.75, 1. Krizhevsky et al. 2012. */
SOMA_API soma_tensor *soma_local_response_norm(soma_tensor *x, int64_t size, double alpha, double beta, double k);
SOMA_API soma_tensor *soma_softmax(soma_tensor *x, int64_t dim);
SOMA_API soma_tensor *soma_log_softmax(soma_tensor *x, int64_t dim);
SOMA_API soma_tensor *soma_softmin(soma_tensor *x, int64_t dim);            /* softmax(-x) */
/* When training, zeroes each element with probability p and divides the rest by 1 - p; else x itself. Srivastava et al. 2014. */
SOMA_API soma_tensor *soma_dropout(soma_tensor *x, double p, bool training);

/* ---- Sequences: recurrence, attention ----------------------------------------------------------------------------------- */

/* One layer's weights in one direction, G gates of H units: weight_ih [G H, in], weight_hh [G H, H], biases [G H] or NULL. G is 1 (RNN),
 * 3 (GRU: r z n) or 4 (LSTM: i f g o). */
typedef struct soma_rnn_weights {
    soma_tensor *weight_ih, *weight_hh, *bias_ih, *bias_hh;
} soma_rnn_weights;
typedef struct soma_rnn_opts {
    soma_tensor *h0, *c0;   /* [batch, H]; NULL: zeros. c0: LSTM only */
    soma_tensor *lengths;   /* i64 [batch]: steps that count; beyond them the state stays and the output is 0. NULL: all */
    bool batch_first;       /* x and the output are [batch, steps, …], not [steps, batch, …] */
    bool reverse;           /* from the last step to the first */
    size_t size;
} soma_rnn_opts;
/* Whole sequences: one layer, one direction. Returns the output [steps, batch, H]; *hn, *cn (may be NULL) are the last states. Elman
 * 1990; Hochreiter & Schmidhuber 1997; Cho et al. 2014. Modules of more layers: soma_nn_lstm and so on. */
SOMA_API soma_tensor *soma_rnn_tanh_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn);
SOMA_API soma_tensor *soma_rnn_relu_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn);
SOMA_API soma_tensor *soma_lstm_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn, soma_tensor **cn);
SOMA_API soma_tensor *soma_gru_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn);
/* One step: x [batch, in], h and c [batch, H] or NULL -> the next h. */
SOMA_API soma_tensor *soma_rnn_tanh_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w);
SOMA_API soma_tensor *soma_rnn_relu_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w);
SOMA_API soma_tensor *soma_gru_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w);
SOMA_API soma_tensor *soma_lstm_cell(soma_tensor *x, soma_tensor *h, soma_tensor *c, const soma_rnn_weights *w, soma_tensor **c_out);

typedef struct soma_attention_opts {
    soma_tensor *mask;  /* bool (true takes part) or float (added to the scores), broadcast to [..., L, S]; NULL: none */
    double dropout_p;   /* applied whenever above 0, as in PyTorch: give 0 outside training */
    bool is_causal;     /* query i sees keys 0 ... i; not together with a mask */
    double scale;       /* 0: 1 / sqrt(E) */
    bool enable_gqa;    /* fewer heads in key and value: each serves several of query's */
    size_t size;
} soma_attention_opts;
/* softmax(q k^T scale + mask) v; q [..., L, E], k [..., S, E], v [..., S, Ev] -> [..., L, Ev]. Vaswani et al. 2017. */
#define soma_scaled_dot_product_attention(q, k, ...) soma__scaled_dot_product_attention(q, k, __VA_ARGS__, .size = sizeof(soma_attention_opts))
#define soma__scaled_dot_product_attention(q, k, v, ...) soma_scaled_dot_product_attention_ex((q), (k), (v), &(soma_attention_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_scaled_dot_product_attention_ex(soma_tensor *q, soma_tensor *k, soma_tensor *v, const soma_attention_opts *opts);
/* Turns pairs of features of x [..., steps, E] by an angle that grows with the step: position `offset` + t, frequency
 * base^(-2 i / E) (base 0: 10000). Su et al. 2021. interleaved: pairs (0, 1), (2, 3) ...; else (0, E/2), (1, E/2 + 1) .... */
SOMA_API soma_tensor *soma_rotary_embedding(soma_tensor *x, int64_t offset, double base, bool interleaved);
/* The table [steps, features] of sines and cosines of Vaswani et al. 2017: sin at even, cos at odd features. */
SOMA_API soma_tensor *soma_sinusoidal_positions(int64_t steps, int64_t features, int64_t offset, double base, soma_dtype dtype);

#ifdef __cplusplus
}
#endif

#include <soma/loss.h>

#endif
