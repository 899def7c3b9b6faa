/* Elementwise mathematics written in other operators: what PyTorch has by name and no loop of its own is worth. */
#include "ops/composed.h"

#include <float.h>
#include <math.h>
#include <string.h>

static soma_tensor *no(double v) { return soma_scalar(v); }

/* ---- One input ---- */

ONE(frac, "elementwise", SAME, soma_sub(x, soma_trunc(x)), -3, 3, NULL, "x without its whole part: x - trunc(x), with the sign of x")
ONE(sgn, "elementwise", NUMERIC, soma_sign(x), -3, 3, NULL, "sign(x): PyTorch's name that serves complex numbers too, which soma does not have")
ONE(positive, "elementwise", NUMERIC, x, -3, 3, NULL, "x itself")
ONE(rad2deg, "elementwise", FLOATING, soma_mul_scalar(x, 57.295779513082323), -3, 3, NULL, "180 x / pi: radians to degrees")
ONE(deg2rad, "elementwise", FLOATING, soma_mul_scalar(x, 0.017453292519943295), -200, 200, NULL, "pi x / 180: degrees to radians")
ONE(isinf, "comparison", FLATS, soma_eq(soma_dtype_is_float(soma_dtype_of(x)) ? soma_abs(x) : x, no(INFINITY)), -3, 3, "IsInf", "true where x is inf or -inf")
ONE(isposinf, "comparison", FLATS, soma_eq(x, no(INFINITY)), -3, 3, NULL, "true where x is inf")
ONE(isneginf, "comparison", FLATS, soma_eq(x, no(-INFINITY)), -3, 3, NULL, "true where x is -inf")
ONE(signbit, "comparison", FLATS, soma_lt(soma_dtype_is_float(soma_dtype_of(x)) ? soma_copysign(no(1), x) : x, no(0)), -3, 3, NULL,
    "true where the sign of x is minus, -0 included")
ONE(ndtr, "special", FLOATING, soma_mul_scalar(soma_erfc(soma_mul_scalar(x, -0.70710678118654752)), 0.5), -3, 3, NULL,
    "distribution function of the normal distribution (torch.special.ndtr)")

static soma_tensor *logit(soma_args *a, soma_tensor *x) {
    double eps = NUMBER(0);
    if (eps >= 0)
        x = soma_clamp(x, eps, 1 - eps);
    else /* outside [0, 1] the gradient is NaN as well */
        x = soma_mul(x, soma_where(soma_logical_and(soma_ge(x, no(0)), soma_le(x, no(1))), no(1), no(NAN)));
    return soma_sub(soma_log(x), soma_log1p(soma_neg(x)));
}
ONE(logit, "special", FLOATING, logit(a, x), 0.1, 0.9, NULL,
    "log(x / (1 - x)), the inverse of sigmoid; +-inf at 0 and 1, NaN outside", .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("eps", -1,
    "x is limited to [eps, 1 - eps] first; below 0: it is not")))

/* The largest finite number of a dtype. */
static double largest(soma_dtype d) { return d == SOMA_F64 ? DBL_MAX : d == SOMA_F16 ? 65504 : d == SOMA_BF16 ? 0x1.fep127 : (double)FLT_MAX; }
static soma_tensor *nan_to_num(soma_args *a, soma_tensor *x) {
    double most = largest(soma_dtype_of(x)), high = NUMBER(1), low = NUMBER(2);
    if (!soma_dtype_is_float(soma_dtype_of(x)))
        return x;
    soma_tensor *y = soma_where(soma_eq(x, no(INFINITY)), no(high != high ? most : high), x);
    y = soma_where(soma_eq(x, no(-INFINITY)), no(low != low ? -most : low), y);
    return soma_where(soma_isnan(x), no(NUMBER(0)), y);
}
ONE(nan_to_num, "elementwise", NUMERIC, nan_to_num(a, x), -3, 3, NULL, "x with NaN, inf and -inf replaced by numbers; no gradient goes there",
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("nan", 0, "in place of NaN"), SOMA_DEF_FLOAT("posinf", NAN, "in place of inf; NaN: the dtype's largest number"),
                        SOMA_DEF_FLOAT("neginf", NAN, "in place of -inf; NaN: the dtype's lowest number")))

static soma_tensor *rounded(soma_args *a, soma_tensor *x) {
    int64_t decimals = soma__attr_int(a, 0);
    if (decimals == 0)
        return soma__round_plain(x);
    soma_tensor *ten = no(pow(10, fabs((double)decimals)));
    return decimals > 0 ? soma_div(soma__round_plain(soma_mul(x, ten)), ten) : soma_mul(soma__round_plain(soma_div(x, ten)), ten);
}
static bool round_compose(soma_args *a) {
    if (soma__attr_int(a, 0) != 0 && !soma_dtype_is_float(soma_dtype_of(a->in[0]))) {
        soma_fail(SOMA_EDTYPE, "round: decimals are for floats, x is %s", soma_dtype_name(soma_dtype_of(a->in[0])));
        return false;
    }
    return soma__return(a, rounded(a, a->in[0]));
}
ENTRY1(round, "elementwise", NUMERIC, -3, 3, "Round", "nearest whole number, halves to even; the gradient is 0",
       .attrs = SOMA_ATTRS(SOMA_DEF_INT("decimals", 0, "places after the point; negative: tens, hundreds …")))

static bool mvlgamma_compose(soma_args *a) {
    int64_t p = soma__attr_int(a, 0);
    if (p < 1 || p > 1000) {
        soma_fail(SOMA_EINVAL, "mvlgamma: p is %lld, expected 1 to 1000", (long long)p);
        return false;
    }
    a->out[0] = soma_lgamma(a->in[0]);
    for (int64_t j = 1; j < p; j++)
        a->out[0] = soma_add(a->out[0], soma_lgamma(soma_add_scalar(a->in[0], -0.5 * (double)j)));
    a->out[0] = soma_add_scalar(a->out[0], 0.25 * (double)(p * (p - 1)) * 1.1447298858494002); /* log pi */
    return a->out[0] != NULL;
}
ENTRY1(mvlgamma, "special", FLOATING, 1.2, 4, NULL, "log of the multivariate gamma function of dimension p: p (p - 1) / 4 log(pi) + the sum of "
       "lgamma(x - j / 2) for j < p; x > (p - 1) / 2", .attrs = SOMA_ATTRS(SOMA_DEF_INT("p", 1, "dimension")))

static bool bitwise_not_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    return soma__return(a, soma_dtype_of(x) == SOMA_BOOL ? soma_logical_not(x) : soma_bitwise_xor(x, soma_scalar_int(-1)));
}
ENTRY1(bitwise_not, "integer", BITS, -30, 30, "BitwiseNot", "every bit turned: -x - 1 (of u8: 255 - x); of bool: logical_not")

/* ---- Two inputs ---- */

TWO(rsub, "elementwise", NUMERIC, soma_sub(v, NUMBER(0) == 1 ? u : soma_mul(u, soma_to(no(NUMBER(0)), soma_dtype_of(u)))), -3, 3, NULL,
    "b - alpha a: subtraction the other way round", .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("alpha", 1, "factor of a")))
TWO(true_divide, "elementwise", FLOATING, soma_div(u, v), 0.3, 3, NULL, "a / b: div by its other name")
TWO(fmax, "elementwise", NUMERIC, soma_where(soma_logical_or(soma_ge(u, v), soma_isnan(v)), u, v), -3, 3, NULL,
    "the larger; a number wins over NaN (maximum: NaN wins); of equal ones a gets the gradient")
TWO(fmin, "elementwise", NUMERIC, soma_where(soma_logical_or(soma_le(u, v), soma_isnan(v)), u, v), -3, 3, NULL,
    "the smaller; a number wins over NaN (minimum: NaN wins); of equal ones a gets the gradient")
/* Where one is NaN the result is, and neither gets a gradient. */
static soma_tensor *limited(soma_tensor *inside, soma_tensor *outside, soma_tensor *x, soma_tensor *bound) {
    bool whole = !soma_dtype_is_float(soma_dtype_of(x));
    return soma_where(inside, x, whole ? bound : soma_where(outside, bound, no(NAN)));
}
TWO(clamp_min, "elementwise", NUMERIC, limited(soma_ge(u, v), soma_lt(u, v), u, v), -3, 3, NULL,
    "a, but not below b; b gets the gradient where it is above a")
TWO(clamp_max, "elementwise", NUMERIC, limited(soma_le(u, v), soma_gt(u, v), u, v), -3, 3, NULL,
    "a, but not above b; b gets the gradient where it is below a")
TWO(logical_xor, "comparison", FLATS, soma_ne(soma_ne(u, no(0)), soma_ne(v, no(0))), -2, 2, "Xor", "true where exactly one of them is not 0")
TWO(heaviside, "elementwise", FLAT, soma_where(soma_eq(u, no(0)), v, soma_to(soma_gt(u, no(0)), soma_dtype_of(u))), -2, 2, NULL,
    "0 where a < 0 or NaN, 1 where a > 0, b where a = 0; no gradient (step has surrogates)")
TWO(float_power, "elementwise", FREE, soma_pow(soma_to(u, SOMA_F64), soma_to(v, SOMA_F64)), 0.3, 3, NULL, "a to the power of b, computed in f64 and left so")
TWO(ldexp, "elementwise", FREE, soma_mul(u, soma_pow(no(2), v)), -3, 3, NULL, "a 2^b")

/* The tolerances are those of f64 where the dtype has no fractions. */
static soma_tensor *isclose(soma_args *a) {
    double rtol = NUMBER(0), atol = NUMBER(1);
    soma_tensor *u = a->in[0], *v = a->in[1];
    if (!(rtol >= 0 && atol >= 0)) {
        soma_fail(SOMA_EINVAL, "%s: rtol is %g and atol is %g, expected 0 or more", a->op->name, rtol, atol);
        return NULL;
    }
    if (!soma_dtype_is_float(soma_dtype_of(u))) {
        u = soma_to(u, SOMA_F64);
        v = soma_to(v, SOMA_F64);
    }
    soma_tensor *same = soma_eq(u, v), *off = soma_abs(soma_sub(u, v));
    soma_tensor *near = soma_le(off, soma_add_scalar(soma_abs(soma_mul_scalar(v, rtol)), atol));
    same = soma_logical_or(same, soma_logical_and(soma_isfinite(off), near));
    return soma__attr_int(a, 2) ? soma_logical_or(same, soma_logical_and(soma_isnan(u), soma_isnan(v))) : same;
}
#define TOLERANCES .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("rtol", 1e-5, "relative tolerance, of b"), SOMA_DEF_FLOAT("atol", 1e-8, "absolute tolerance"), \
                                       SOMA_DEF_BOOL("equal_nan", false, "NaN is close to NaN"))
COMPOSE(isclose, isclose(a))
ENTRY2(isclose, "comparison", FLATS, -3, 3, NULL, "true where |a - b| <= atol + rtol |b|, or a = b", TOLERANCES)
COMPOSE(allclose, soma_all(isclose(a), SOMA_ALL, false))
ENTRY2(allclose, "close", FLATS, -3, 3, NULL, "one bool: isclose holds everywhere", TOLERANCES)

static bool equal_compose(soma_args *a) {
    bool fit = soma__same_shape(a->in[0], a->in[1]);
    return soma__return(a, fit ? soma_all(soma_eq(a->in[0], a->in[1]), SOMA_ALL, false) : soma_zeros(0, NULL, SOMA_BOOL));
}
SAMPLES(equal, two, -3, 3)
static bool equal_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !soma__errors_one(0, dtype, s))
        return false;
    s->n_in = 2;
    return true;
}
static const soma_op equal_op = {
    SOMA__COMPOSITE(equal), .family = "close", .doc = "one bool: the shapes are the same and all elements are equal", .in = {{.name = "a"}, {.name = "b"}},
    .n_in = 2, .outputs = 1, KIND_FLATS,
};

static bool div_mode_compose(soma_args *a) {
    int mode = soma__attr_choice(a, 0, "none|trunc|floor");
    soma_tensor *u = a->in[0], *v = a->in[1];
    return soma__return(a, mode < 0 ? NULL : mode == 0 ? soma_div(u, v) : mode == 1 ? soma__trunc_divide_op(u, v) : soma_floor_divide(u, v));
}
static bool div_mode_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const char *const modes[] = {"none", "trunc", "floor"};
    if (!soma__samples_two(i / 3, dtype, 1, 4, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = SOMA_STRING("rounding_mode", modes[i % 3]);
    return true;
}
static bool div_mode_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !soma__samples_two(0, dtype, 1, 4, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = SOMA_STRING("rounding_mode", "ceil");
    s->status = SOMA_EINVAL;
    s->error = "div_mode: rounding_mode is 'ceil', expected one of none|trunc|floor";
    return true;
}
static const soma_op div_mode_op = {
    SOMA__COMPOSITE(div_mode), .family = "elementwise",
    .doc = "a / b with PyTorch's rounding_mode: none as div, trunc towards 0, floor towards -inf. With a mode integers stay integers and the gradient "
           "is 0. (An operator of its own: div has no attribute to look at)",
    .in = {{.name = "a"}, {.name = "b"}}, .n_in = 2, .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_STRING("rounding_mode", "none", "none, trunc or floor")), .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED, .in_place = true, .range = "[1, 4]",
};

/* ---- Three inputs ---- */

static bool three_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_two(i, dtype, 0.3, 3, s))
        return false;
    s->n_in = 3;
    s->in[2] = i % 3 == 0 ? soma__sample(dtype, 0.4, 3, 50, 0, NULL) : i % 3 == 1 ? soma__sample(dtype, 0.4, 3, 51, soma_ndim(s->in[1]), soma_shape(s->in[1]))
                                                                              : soma_clone(s->in[0]);
    if (!soma_dtype_is_float(dtype) && i % 3 != 2)
        s->in[2] = soma_add(s->in[2], soma_to(soma_scalar_int(1), dtype));
    return true;
}
static bool three_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__errors_composed(i, dtype, s))
        return false;
    s->n_in = 3;
    s->in[2] = s->in[1];
    return true;
}

/* From the nearer end, so that both ends are met exactly. */
static bool lerp_compose(soma_args *a) {
    soma_tensor *u = a->in[0], *v = a->in[1], *w = a->in[2], *way = soma_sub(v, u);
    soma_tensor *near = soma_add(u, soma_mul(w, way)), *far = soma_sub(v, soma_mul(way, soma_sub(no(1), w)));
    return soma__return(a, soma_where(soma_lt(soma_abs(w), no(0.5)), near, far));
}
/* Without a factor of 1: nothing is rounded that need not be. */
static soma_tensor *times(soma_args *a, soma_tensor *t) {
    return NUMBER(0) == 1 ? t : soma_mul(t, soma_dtype_is_float(soma_dtype_of(t)) ? no(NUMBER(0)) : soma_scalar_int((int64_t)NUMBER(0)));
}
COMPOSE(addcmul, soma_add(a->in[0], times(a, soma_mul(a->in[1], a->in[2]))))
COMPOSE(addcdiv, soma_add(a->in[0], times(a, soma_div(a->in[1], a->in[2]))))
#define THREE(n, first, second, third) \
    .name = #n, .family = "elementwise", .in = {{.name = first}, {.name = second}, {.name = third}}, .n_in = 3, .outputs = 1, .compose = n##_compose, \
    .samples = three_samples, .errors = three_errors, .range = "[0.3, 3]"
static const soma_op lerp_op = {
    THREE(lerp, "start", "end", "weight"), KIND_SAME, .doc = "start + weight (end - start): between the two for weights in [0, 1], the ends exact",
};
#define VALUE .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("value", 1, "factor of the second term"))
static const soma_op addcmul_op = {THREE(addcmul, "x", "a", "b"), KIND_NUMERIC, VALUE, .doc = "x + value a b"};
static const soma_op addcdiv_op = {THREE(addcdiv, "x", "a", "b"), KIND_SAME, VALUE, .doc = "x + value a / b; floats only, as in PyTorch"};

/* The upper bound counts where they cross. */
static bool clamp_tensor_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    if (!a->in[1] && !a->in[2]) {
        soma_fail(SOMA_EINVAL, "clamp_tensor: neither min nor max is given");
        return false;
    }
    if (a->in[1])
        x = soma_clamp_min(x, a->in[1]);
    return soma__return(a, a->in[2] ? soma_clamp_max(x, a->in[2]) : x);
}
static bool clamp_tensor_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_two(i, dtype, -1, 3, s))
        return false;
    s->n_in = 3;
    s->in[2] = i % 2 ? soma__sample(dtype, 0, 3, 60, soma_ndim(s->in[1]), soma_shape(s->in[1])) : NULL;
    return true;
}
static bool clamp_tensor_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i == 0)
        return three_errors(i, dtype, s);
    if (i > 1 || !soma__errors_one(0, dtype, s))
        return false;
    s->in[0] = soma__sample(dtype, 0, 1, 1, 0, NULL);
    s->error = "clamp_tensor: neither min nor max is given";
    return true;
}
static const soma_op clamp_tensor_op = {
    SOMA__COMPOSITE(clamp_tensor), .family = "elementwise", .onnx = "Clip",
    .doc = "x limited to [min, max], tensors that broadcast (torch.clamp with tensors; clamp takes numbers); max counts where min is above it. A bound "
           "gets the gradient where it holds",
    .in = {{.name = "x"}, {.name = "min", .optional = true}, {.name = "max", .optional = true}}, .n_in = 3, .outputs = 1, KIND_NUMERIC,
    .range = "[-1, 3]",
};

extern soma_op_list soma__math_ops;
soma_op_list soma__math_ops = {
    &frac_op, &sgn_op, &positive_op, &rad2deg_op, &deg2rad_op, &isinf_op, &isposinf_op, &isneginf_op, &signbit_op, &ndtr_op, &logit_op,
    &nan_to_num_op, &round_op, &mvlgamma_op, &bitwise_not_op, &rsub_op, &true_divide_op, &fmax_op, &fmin_op, &clamp_min_op, &clamp_max_op, &logical_xor_op,
    &heaviside_op, &float_power_op, &ldexp_op, &isclose_op, &allclose_op, &equal_op, &div_mode_op, &lerp_op, &addcmul_op, &addcdiv_op,
    &clamp_tensor_op, NULL};

/* ---- C functions ---- */

#define X1(n) \
    soma_tensor *soma_##n(soma_tensor *x) { return SOMA__RUN(&n##_op, NULL, x); }
X1(frac) X1(sgn) X1(positive) X1(rad2deg) X1(deg2rad) X1(isinf) X1(isposinf) X1(isneginf) X1(signbit) X1(ndtr) X1(bitwise_not)
#define X2(n) \
    soma_tensor *soma_##n(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&n##_op, NULL, a, b); }
X2(true_divide) X2(fmax) X2(fmin) X2(clamp_min) X2(clamp_max) X2(logical_xor) X2(heaviside) X2(float_power) X2(ldexp) X2(equal)
soma_tensor *soma_logit(soma_tensor *x, double eps) { return SOMA__RUN(&logit_op, &SOMA_FLOAT("eps", eps), x); }
soma_tensor *soma_nan_to_num(soma_tensor *x, double nan, double posinf, double neginf) {
    soma_attr attrs[] = {SOMA_FLOAT("nan", nan), SOMA_FLOAT("posinf", posinf), SOMA_FLOAT("neginf", neginf)};
    return SOMA__RUN(&nan_to_num_op, attrs, x);
}
soma_tensor *soma_round_decimals(soma_tensor *x, int64_t decimals) { return SOMA__RUN(&round_op, &SOMA_INT("decimals", decimals), x); }
soma_tensor *soma_round(soma_tensor *x) { return soma_round_decimals(x, 0); }
soma_tensor *soma_mvlgamma(soma_tensor *x, int64_t p) { return SOMA__RUN(&mvlgamma_op, &SOMA_INT("p", p), x); }
soma_tensor *soma_rsub(soma_tensor *a, soma_tensor *b, double alpha) { return SOMA__RUN(&rsub_op, &SOMA_FLOAT("alpha", alpha), a, b); }
soma_tensor *soma_div_mode(soma_tensor *a, soma_tensor *b, const char *rounding_mode) {
    return SOMA__RUN(&div_mode_op, &SOMA_STRING("rounding_mode", rounding_mode), a, b);
}
static soma_tensor *close(const soma_op *op, soma_tensor *a, soma_tensor *b, double rtol, double atol, bool equal_nan) {
    soma_attr attrs[] = {SOMA_FLOAT("rtol", rtol), SOMA_FLOAT("atol", atol), SOMA_BOOLEAN("equal_nan", equal_nan)};
    return SOMA__RUN(op, attrs, a, b);
}
soma_tensor *soma_isclose(soma_tensor *a, soma_tensor *b, double rtol, double atol, bool equal_nan) {
    return close(&isclose_op, a, b, rtol, atol, equal_nan);
}
soma_tensor *soma_allclose(soma_tensor *a, soma_tensor *b, double rtol, double atol, bool equal_nan) {
    return close(&allclose_op, a, b, rtol, atol, equal_nan);
}
soma_tensor *soma_lerp(soma_tensor *start, soma_tensor *end, soma_tensor *weight) { return SOMA__RUN(&lerp_op, NULL, start, end, weight); }
soma_tensor *soma_addcmul(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value) {
    return SOMA__RUN(&addcmul_op, &SOMA_FLOAT("value", value), x, a, b);
}
soma_tensor *soma_addcdiv(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value) {
    return SOMA__RUN(&addcdiv_op, &SOMA_FLOAT("value", value), x, a, b);
}

static soma_tensor *over(const soma_op *op, soma_tensor *x, soma_tensor *a, soma_tensor *b, const soma_attr *attrs) {
    soma_tensor *out, *in[] = {x, a, b};
    return soma__apply(op, in, 3, attrs, &out, SOMA__IN_PLACE) ? out : NULL;
}
soma_tensor *soma_lerp_(soma_tensor *start, soma_tensor *end, soma_tensor *weight) { return over(&lerp_op, start, end, weight, NULL); }
soma_tensor *soma_addcmul_(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value) {
    return over(&addcmul_op, x, a, b, &SOMA_FLOAT("value", value));
}
soma_tensor *soma_addcdiv_(soma_tensor *x, soma_tensor *a, soma_tensor *b, double value) {
    return over(&addcdiv_op, x, a, b, &SOMA_FLOAT("value", value));
}
soma_tensor *soma_zero_(soma_tensor *x) { return soma_fill_(x, 0); }
soma_tensor *soma_clamp_tensor(soma_tensor *x, soma_tensor *min, soma_tensor *max) { return SOMA__RUN(&clamp_tensor_op, NULL, x, min, max); }
