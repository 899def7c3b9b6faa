/* Draws from distributions. Element i of a result uses words of its own, from number i 2^20 of (seed, stream) on, as many as its method
 * takes: rejection costs no order, so the bits depend neither on threads nor on strides. All is computed in f64 with libm, and rounded
 * once. Methods: inversion where there is a formula; Marsaglia & Tsang 2000 (gamma); Hörmann 1993 (Poisson PTRS, binomial BTRS); Robert
 * 1995 (truncated normal). */
#include "ops/op.h"
#include "ops/shape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_LOG2 = 20, PARAMS = 4 };

/* In (0, 1), both ends left out. */
static double open_unit(soma__random *r) { return soma__random_unit(r) + 0x1p-54; }

/* ---- Samplers: two to four parameters --------------------------------------------------------------------------------- */

typedef double (*sampler)(const double *p, soma__random *r);

static double draw_exponential(const double *p, soma__random *r) { return -log(open_unit(r)) / p[0]; }
static double draw_cauchy(const double *p, soma__random *r) { return p[0] + p[1] * tan(3.141592653589793 * (open_unit(r) - 0.5)); }
static double draw_log_normal(const double *p, soma__random *r) { return exp(p[0] + p[1] * soma__random_normal(r)); }
static double draw_geometric(const double *p, soma__random *r) { return p[0] >= 1 ? 1 : fmax(1, ceil(log(open_unit(r)) / log1p(-p[0]))); }
static double draw_bernoulli(const double *p, soma__random *r) { return soma__random_unit(r) < p[0]; }
static double draw_laplace(const double *p, soma__random *r) {
    const double u = open_unit(r) - 0.5;
    return p[0] - p[1] * copysign(log1p(-2 * fabs(u)), u);
}
static double draw_gumbel(const double *p, soma__random *r) { return p[0] - p[1] * log(-log(open_unit(r))); }

/* Standard normal between a >= 0 and b: a shifted exponential where the tail is long enough, else a uniform, accepted by the density. */
static double normal_tail(double a, double b, soma__random *r) {
    const double root = sqrt(a * a + 4), rate = (a + root) / 2;
    if (b - a > exp((a * a - a * root) / 4 + 0.5) / rate)
        for (;;) {
            const double x = a - log(open_unit(r)) / rate, d = x - rate;
            if (x <= b && open_unit(r) <= exp(-d * d / 2))
                return x;
        }
    for (;;) {
        const double x = a + (b - a) * soma__random_unit(r);
        if (open_unit(r) <= exp((a * a - x * x) / 2))
            return x;
    }
}
static double draw_trunc_normal(const double *p, soma__random *r) {
    const double a = (p[2] - p[0]) / p[1], b = (p[3] - p[0]) / p[1];
    double z;
    if (a > 0)
        z = normal_tail(a, b, r);
    else if (b < 0)
        z = -normal_tail(-b, -a, r);
    else if (b - a > 2.5066282746310002) /* sqrt(2 pi): a normal falls inside more often than a uniform is accepted */
        do
            z = soma__random_normal(r);
        while (z < a || z > b);
    else
        do
            z = a + (b - a) * soma__random_unit(r);
        while (open_unit(r) > exp(-z * z / 2));
    return fmin(fmax(p[0] + p[1] * z, p[2]), p[3]);
}

/* Logarithm of a gamma number: small shapes would vanish otherwise. */
static double draw_log_gamma(const double *p, soma__random *r) {
    const double shape = p[0] < 1 ? p[0] + 1 : p[0], d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    if (p[0] == 0)
        return -INFINITY;
    for (;;) {
        const double x = soma__random_normal(r), t = 1 + c * x, v = t * t * t;
        if (t > 0 && log(open_unit(r)) < x * x / 2 + d - d * v + d * log(v))
            return log(d * v) + (p[0] < 1 ? log(open_unit(r)) / p[0] : 0);
    }
}
static double draw_gamma(const double *p, soma__random *r) { return exp(draw_log_gamma(p, r)); }
static double draw_beta(const double *p, soma__random *r) {
    const double a = draw_log_gamma(p, r), b = draw_log_gamma(p + 1, r);
    return 1 / (1 + exp(b - a));
}

static double log_factorial(double k) {
    int sign;
    return lgamma_r(k + 1, &sign);
}

static double draw_poisson(const double *p, soma__random *r) {
    const double rate = p[0];
    if (rate < 10) {
        double product = 1, k = -1;
        for (const double low = exp(-rate); product > low; k++)
            product *= open_unit(r);
        return fmax(k, 0);
    }
    const double b = 0.931 + 2.53 * sqrt(rate), a = -0.059 + 0.02483 * b, inverse = 1.1239 + 1.1328 / (b - 3.4),
                 quick = 0.9277 - 3.6224 / (b - 2);
    for (;;) {
        const double u = open_unit(r) - 0.5, v = open_unit(r), us = 0.5 - fabs(u), k = floor((2 * a / us + b) * u + rate + 0.43);
        if (us >= 0.07 && v <= quick)
            return k;
        if (k >= 0 && (us >= 0.013 || v <= us) && log(v * inverse / (a / (us * us) + b)) <= k * log(rate) - rate - log_factorial(k))
            return k;
    }
}

static double draw_binomial(const double *p, soma__random *r) {
    const double n = p[0], q = fmin(p[1], 1 - p[1]);
    double k = 0;
    if (n * q < 10) { /* from success to success by geometric steps */
        for (double at = 0; q > 0; k++) {
            at += fmax(1, ceil(log(open_unit(r)) / log1p(-q)));
            if (at > n)
                break;
        }
        return p[1] > 0.5 ? n - k : k;
    }
    const double s = sqrt(n * q * (1 - q)), b = 1.15 + 2.53 * s, a = -0.0873 + 0.0248 * b + 0.01 * q, quick = 0.92 - 4.2 / b,
                 alpha = (2.83 + 5.1 / b) * s;
    const double mode = floor((n + 1) * q), top = log_factorial(mode) + log_factorial(n - mode), odds = log(q / (1 - q));
    for (;;) {
        const double u = open_unit(r) - 0.5, v = open_unit(r), us = 0.5 - fabs(u);
        k = floor((2 * a / us + b) * u + n * q + 0.5);
        if (k < 0 || k > n)
            continue;
        if ((us >= 0.07 && v <= quick) ||
            log(v * alpha / (a / (us * us) + b)) <= top - log_factorial(k) - log_factorial(n - k) + (k - mode) * odds)
            return p[1] > 0.5 ? n - k : k;
    }
}

/* ---- Running one over a tensor ---------------------------------------------------------------------------------------- */

typedef struct draws {
    sampler draw;
    soma_rng rng;
    soma_dtype to, from;
    int n_in;         /* parameters that are tensors */
    double p[PARAMS]; /* the others */
} draws;

static void draws_inner(void *arg, char *const *at, const int64_t *stride, int64_t count, int64_t first) {
    const draws *d = arg;
    double p[PARAMS];
    memcpy(p, d->p, sizeof p);
    for (int64_t i = 0; i < count; i++) {
        soma__random r = soma__random_new(d->rng.seed, d->rng.stream);
        r.next = (uint64_t)(first + i) << WORDS_LOG2;
        for (int k = 0; k < d->n_in; k++)
            p[k] = soma__load(at[k + 1] + i * stride[k + 1], d->from);
        const double v = d->draw(p, &r);
        if (soma_dtype_is_float(d->to))
            soma__store(at[0] + i * stride[0], d->to, v);
        else
            soma__store_int(at[0] + i * stride[0], d->to, v < 0x1p62 ? (int64_t)v : INT64_C(1) << 62);
    }
}

static const char *run_draws(soma_args *a, sampler draw, int n_in) {
    soma_tensor *operands[3] = {a->out[0], n_in > 0 ? a->in[0] : NULL, n_in > 1 ? a->in[1] : NULL};
    draws d = {.draw = draw, .rng = a->rng, .to = (soma_dtype)a->out[0]->dtype, .from = (soma_dtype)a->in[0]->dtype, .n_in = n_in};
    soma__iter it;
    for (int k = 0; k < a->op->n_attrs && k < PARAMS && n_in == 0; k++)
        d.p[k] = soma__attr_float(a, k);
    soma__iter_init(&it, a->out[0]->ndim, a->out[0]->shape, operands, 1 + n_in);
    soma__iter_run(&it, draws_inner, &d);
    return NULL;
}

/* ---- In place, parameters as numbers ---------------------------------------------------------------------------------- */

static bool refuse(const soma_args *a, const char *text) {
    char have[128];
    size_t at = 0;
    for (int i = 0; i < a->op->n_attrs && at < sizeof have; i++)
        at += (size_t)snprintf(have + at, sizeof have - at, "%s%s %g", i ? ", " : "", a->attrs[i].name, soma__attr_float(a, i));
    soma_fail(SOMA_EINVAL, "%s: %s; expected %s", a->op->name, have, text);
    return false;
}
static bool finite_params(const soma_args *a) {
    for (int i = 0; i < a->op->n_attrs; i++)
        if (!isfinite(soma__attr_float(a, i)))
            return false;
    return true;
}
static bool check_rate(const soma_args *a) { return (finite_params(a) && soma__attr_float(a, 0) > 0) || refuse(a, "a number above 0"); }
static bool check_scale(const soma_args *a) {
    return (finite_params(a) && soma__attr_float(a, 1) > 0) || refuse(a, "finite numbers, the second above 0");
}
static bool check_chance(const soma_args *a) {
    return (soma__attr_float(a, 0) > 0 && soma__attr_float(a, 0) <= 1) || refuse(a, "a probability above 0, at most 1");
}
static bool check_probability(const soma_args *a) {
    return (soma__attr_float(a, 0) >= 0 && soma__attr_float(a, 0) <= 1) || refuse(a, "a probability from 0 to 1");
}
static bool check_truncated(const soma_args *a) {
    return (isfinite(soma__attr_float(a, 0)) && isfinite(soma__attr_float(a, 1)) && soma__attr_float(a, 1) > 0 &&
            soma__attr_float(a, 2) < soma__attr_float(a, 3)) ||
           refuse(a, "std above 0 and a below b");
}

#define FILL(NAME, DTYPES, CHECK, ATTRS, SAMPLE, ERROR, TEXT, DOC)                                                                         \
    static bool NAME##__shape(soma_args *a, soma_meta *out) { return CHECK(a) && soma__shape_same(a, out); }                               \
    static const char *NAME##__kernel(soma_args *a) { return run_draws(a, draw_##NAME, 0); }                                               \
    SOMA__LINES(NAME##_, "[5,7] " SAMPLE " ~", "s[4,3] ~", "[] ~", "[0,3] ~", "[2,3,4] " SAMPLE " ~", "s[6] ~",                            \
                "[3] " ERROR " !EINVAL " #NAME "_: " TEXT)                                                                                 \
    static const soma_op NAME##__op = {                                                                                                    \
        .name = #NAME "_",                                                                                                                 \
        .family = "random",                                                                                                                \
        .doc = DOC,                                                                                                                        \
        .in = {{.name = "x"}},                                                                                                             \
        .n_in = 1,                                                                                                                         \
        .outputs = 1,                                                                                                                      \
        .attrs = ATTRS,                                                                                                                    \
        .dtypes = DTYPES,                                                                                                                  \
        .promote = SOMA_PROMOTE_NONE,                                                                                                      \
        .shape = NAME##__shape,                                                                                                            \
        .cpu = {NAME##__kernel},                                                                                                           \
        .backward = SOMA_NONDIFF,                                                                                                          \
        .writes = 1,                                                                                                                       \
        .random = true,                                                                                                                    \
        .samples = NAME##__samples,                                                                                                        \
        .errors = NAME##__errors,                                                                                                          \
    };
#define TWO_PARAMS(A, AV, AH, B, BV, BH) SOMA_ATTRS(SOMA_DEF_FLOAT(A, AV, AH), SOMA_DEF_FLOAT(B, BV, BH))
FILL(exponential, SOMA_FLOATS, check_rate, SOMA_ATTRS(SOMA_DEF_FLOAT("lambd", 1, "rate, one over the mean")), "lambd=2.5", "lambd=0.0",
     "lambd 0; expected a number above 0", "Fills x with exponential numbers: density lambd exp(-lambd x).")
FILL(cauchy, SOMA_FLOATS, check_scale, TWO_PARAMS("median", 0, "middle", "sigma", 1, "half width at half height"), "median=1.5 sigma=0.5",
     "sigma=0.0", "median 0, sigma 0; expected finite numbers", "Fills x with Cauchy numbers; they have neither mean nor variance.")
FILL(log_normal, SOMA_FLOATS, check_scale, TWO_PARAMS("mean", 1, "mean of the logarithm", "std", 2, "its standard deviation"),
     "mean=0.5 std=0.5", "std=-1.0", "mean 1, std -1; expected finite numbers",
     "Fills x with numbers whose logarithm is normal with this mean and standard deviation.")
FILL(laplace, SOMA_FLOATS, check_scale, TWO_PARAMS("loc", 0, "middle", "scale", 1, "mean distance from it"), "loc=1.0 scale=0.5",
     "scale=0.0", "loc 0, scale 0; expected finite numbers", "Fills x with Laplace numbers: density exp(-|x - loc| / scale) / (2 scale).")
FILL(gumbel, SOMA_FLOATS, check_scale, TWO_PARAMS("loc", 0, "mode", "scale", 1, "scale"), "loc=1.0 scale=0.5", "scale=0.0",
     "loc 0, scale 0; expected finite numbers",
     "Fills x with Gumbel numbers, loc - scale log(-log u): the argmax of logits plus these is a draw from their softmax.")
FILL(geometric, SOMA_NUMBERS, check_chance, SOMA_ATTRS(SOMA_DEF_FLOAT("p", 0.5, "chance of each trial")), "p=0.3", "p=0.0",
     "p 0; expected a probability above 0", "Fills x with the number of trials up to the first success: 1, 2, ….")
FILL(bernoulli, SOMA_ANY, check_probability, SOMA_ATTRS(SOMA_DEF_FLOAT("p", 0.5, "probability of 1")), "p=0.3", "p=1.5",
     "p 1.5; expected a probability from 0 to 1", "Fills x with 1 with probability p, else 0.")
FILL(trunc_normal, SOMA_FLOATS, check_truncated,
     SOMA_ATTRS(SOMA_DEF_FLOAT("mean", 0, "mean before cutting"), SOMA_DEF_FLOAT("std", 1, "standard deviation before cutting"),
                SOMA_DEF_FLOAT("a", -2, "lower bound"), SOMA_DEF_FLOAT("b", 2, "upper bound")),
     "mean=1.0 std=0.5 a=0.5 b=4.0", "a=2.0 b=1.0", "mean 0, std 1, a 2, b 1; expected std above 0 and a below b",
     "Fills x with normal numbers that lie in [a, b], by rejection (Robert 1995), so also far in a tail.")

/* random_: whole numbers. */
static bool random__shape(soma_args *a, soma_meta *out) {
    const soma_dtype dtype = (soma_dtype)a->in[0]->dtype;
    const int64_t from = soma__attr_int(a, 0), to = soma__attr_int(a, 1);
    int64_t top = 0;
    uint64_t room = 0;
    if (from >= to) {
        soma_fail(SOMA_EINVAL, "random_: from %lld to below %lld leaves nothing; expected from < to", (long long)from, (long long)to);
        return false;
    }
    for (int i = 0; i < 2 && to != INT64_MAX && !soma_dtype_is_float(dtype); i++) {
        const int64_t v = i ? to - 1 : from;
        soma__store_int(&room, dtype, v);
        top = soma__load_int(&room, dtype);
        if (top != v) {
            soma_fail(SOMA_EINVAL, "random_: %lld does not fit in %s", (long long)v, soma_dtype_name(dtype));
            return false;
        }
    }
    return soma__shape_same(a, out);
}

/* Not given: as many as the dtype holds exactly. */
static int64_t largest_of(soma_dtype dtype) {
    static const int64_t top[SOMA_DTYPE_COUNT] = {
        [SOMA_F32] = 1 << 24,   [SOMA_F64] = INT64_C(1) << 53, [SOMA_F16] = 1 << 11, [SOMA_BF16] = 1 << 8, [SOMA_I64] = INT64_MAX,
        [SOMA_I32] = INT32_MAX, [SOMA_I16] = INT16_MAX,        [SOMA_I8] = INT8_MAX, [SOMA_U8] = UINT8_MAX};
    return top[dtype];
}

typedef struct whole {
    soma_rng rng;
    soma_dtype dtype;
    int64_t from;
    uint64_t range;
} whole;
static void random__inner(void *arg, char *const *at, const int64_t *stride, int64_t count, int64_t first) {
    const whole *w = arg;
    for (int64_t i = 0; i < count; i++) {
        soma__random r = soma__random_new(w->rng.seed, w->rng.stream);
        r.next = (uint64_t)(first + i) << WORDS_LOG2;
        const int64_t v = (int64_t)((uint64_t)w->from + soma__random_below(&r, w->range));
        if (soma_dtype_is_float(w->dtype))
            soma__store(at[0] + i * stride[0], w->dtype, (double)v);
        else
            soma__store_int(at[0] + i * stride[0], w->dtype, v);
    }
}
static const char *random__kernel(soma_args *a) {
    const soma_dtype dtype = (soma_dtype)a->out[0]->dtype;
    const int64_t from = soma__attr_int(a, 0), to = soma__attr_int(a, 1);
    whole w = {.rng = a->rng,
               .dtype = dtype,
               .from = from,
               .range = (to == INT64_MAX ? (uint64_t)largest_of(dtype) + 1 : (uint64_t)to) - (uint64_t)from};
    soma__iter it;
    soma__iter_init(&it, a->out[0]->ndim, a->out[0]->shape, a->out, 1);
    soma__iter_run(&it, random__inner, &w);
    return NULL;
}
SOMA__LINES(random_, "[5,7] from=2 to=9 ~", "s[4,3] ~", "[] ~", "[0,3] ~", "[6] to=3 ~", "s[2,2,2] from=1 to=2 ~",
            "[3] from=3 to=3 !EINVAL random_: from 3 to below 3 leaves nothing")
static const soma_op random__op = {
    .name = "random_",
    .family = "random",
    .doc = "Fills x with whole numbers in [from, to), all equally likely; without bounds from 0 to the largest that the dtype holds (for "
           "floats: up to which all whole numbers are exact).",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("from", 0, "smallest"), SOMA_DEF_INT("to", INT64_MAX, "one more than the largest")),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = random__shape,
    .cpu = {random__kernel},
    .backward = SOMA_NONDIFF,
    .writes = 1,
    .random = true,
    .samples = random__samples,
    .errors = random__errors,
};

/* ---- Parameters as tensors -------------------------------------------------------------------------------------------- */

/* Every element of input i in [low, high], whole if wanted; the message shows the first that is not. */
static bool check_values(const soma_args *a, int i, double low, double high, bool is_whole, const char *text) {
    const soma_tensor *t = a->in[i];
    const soma_dtype dtype = (soma_dtype)t->dtype;
    const int64_t size = (int64_t)soma_dtype_size(dtype);
    int64_t at[SOMA_MAX_DIMS] = {0};
    const char *p = t->data;
    for (int64_t k = 0; k < t->numel; k++) {
        const double v = soma__load(p, dtype);
        if (!(v >= low && v <= high) || (is_whole && v != floor(v))) {
            char where[SOMA__SHAPE_TEXT];
            soma_fail(SOMA_EINVAL, "%s: %s is %g at position %s, expected %s", a->op->name, a->op->in[i].name, v,
                      soma__shape_text(t->ndim, at, where, sizeof where), text);
            return false;
        }
        for (int d = t->ndim - 1; d >= 0; d--) {
            p += t->stride[d] * size;
            if (++at[d] < t->shape[d])
                break;
            p -= t->shape[d] * t->stride[d] * size;
            at[d] = 0;
        }
    }
    return true;
}
static bool poisson_check(soma_args *a) { return check_values(a, 0, 0, 0x1p52, false, "a rate of 0 or more"); }
static bool gamma_check(soma_args *a) { return check_values(a, 0, 0, HUGE_VAL, false, "0 or more"); }
static bool beta_check(soma_args *a) {
    return check_values(a, 0, 0x1p-1022, HUGE_VAL, false, "a number above 0") &&
           check_values(a, 1, 0x1p-1022, HUGE_VAL, false, "a number above 0");
}
static bool binomial_check(soma_args *a) {
    return check_values(a, 0, 0, 0x1p52, true, "a whole number of 0 or more") &&
           check_values(a, 1, 0, 1, false, "a probability from 0 to 1");
}
static bool bernoulli_tensor_check(soma_args *a) { return check_values(a, 0, 0, 1, false, "a probability from 0 to 1"); }
#define draw_bernoulli_tensor draw_bernoulli

#define DRAW(NAME, N_IN, DOC, ...)                                                                                                         \
    static const char *NAME##_kernel(soma_args *a) { return run_draws(a, draw_##NAME, N_IN); }                                             \
    static const soma_op NAME##_op = {.name = #NAME,                                                                                       \
                                      .family = "random",                                                                                  \
                                      .doc = DOC,                                                                                          \
                                      .n_in = N_IN,                                                                                        \
                                      .outputs = 1,                                                                                        \
                                      .dtypes = SOMA_FLOATS,                                                                               \
                                      .promote = SOMA_PROMOTE_SAME,                                                                        \
                                      .shape = soma__shape_broadcast,                                                                      \
                                      .check = NAME##_check,                                                                               \
                                      .cpu = {NAME##_kernel},                                                                              \
                                      .backward = SOMA_NONDIFF,                                                                            \
                                      .random = true,                                                                                      \
                                      .samples = NAME##_samples,                                                                           \
                                      .errors = NAME##_errors,                                                                             \
                                      .in = __VA_ARGS__};
SOMA__LINES(poisson, "[5,7]@0:5 ~", "s[4,3]@0:40 ~", "[]@1:3 ~", "[0,3] ~", "[2,3,4]@20:60 ~", "s[6]@0:1 ~",
            "[2]=1,-1 !EINVAL poisson: rate is -1 at position [1], expected a rate of 0 or more")
SOMA__LINES(gamma, "[5,7]@0.1:5 ~", "s[4,3]@0.01:0.5 ~", "[]@1:2 ~", "[0,3] ~", "[2,3,4]@5:60 ~", "s[6]@0:1 ~",
            "[2]=1,-1 !EINVAL gamma: concentration is -1 at position [1]")
SOMA__LINES(beta, "[5,7]@0.1:5 [7]@0.1:5 ~", "s[4,3]@0.01:0.5 s[4,1]@0.01:1 ~", "[]@1:2 []@1:2 ~", "[0,3] [3]@1:2 ~",
            "[2,3,4]@5:60 [3,1]@1:2 ~", "s[6]@0.1:1 [1]@1:2 ~", "[2]=1,2 [2]=1,0 !EINVAL beta: b is 0 at position [1]",
            "[2]@1:2 [3]@1:2 !ESHAPE beta: shapes [2] and [3] do not broadcast")
SOMA__LINES(binomial, "[3]=5,10,0 [4,3]@0:1 ~", "s[2,2]=100,200,1,50 s[2,1]@0:1 ~", "[]=4 []@0:1 ~", "[0,3] [3]@0:1 ~",
            "[1]=1000 [2,5]@0:1 ~", "[2]=3,4 [2]=1,0 ~", "[2]=3,-1 [2]@0:1 !EINVAL binomial: count is -1 at position [1]",
            "[1]=3 [2]=0.5,1.5 !EINVAL prob is 1.5 at position [1], expected a probability from 0 to 1",
            "[1]=2.5 [1]@0:1 !EINVAL count is 2.5 at position [0], expected a whole number")
SOMA__LINES(bernoulli_tensor, "[5,7]@0:1 ~", "s[4,3]@0:1 ~", "[]@0:1 ~", "[0,3] ~", "[2,3,4]@0:1 ~", "s[6]@0:1 ~",
            "[2]=0.5,1.5 !EINVAL bernoulli_tensor: p is 1.5 at position [1]")
DRAW(poisson, 1, "Poisson numbers, one for each rate. A rate of 0 gives 0.", {{.name = "rate"}})
DRAW(gamma, 1,
     "Gamma numbers of these shapes (concentrations) and scale 1; divide by a rate for others. Marsaglia & Tsang 2000. PyTorch's gradient "
     "through the shape is not here.",
     {{.name = "concentration"}})
DRAW(beta, 2, "Beta numbers in (0, 1), density x^(a-1) (1-x)^(b-1), from two gamma numbers.", {{.name = "a"}, {.name = "b"}})
DRAW(binomial, 2, "Number of successes in `count` trials of chance `prob`.", {{.name = "count"}, {.name = "prob"}})
DRAW(bernoulli_tensor, 1, "1 with the probability that each element of p says, else 0: torch.bernoulli of a tensor.", {{.name = "p"}})

SOMA__LINES(log_gamma_draw, "[5,7]@0.1:5 ~", "[2]=1,-1 !EINVAL concentration is -1 at position [1]")
static const char *log_gamma_draw_kernel(soma_args *a) { return run_draws(a, draw_log_gamma, 1); }
static const soma_op log_gamma_draw_op = {
    .name = "log_gamma_draw",
    .family = "random",
    .doc = "Logarithms of gamma numbers, of which dirichlet is made.",
    .in = {{.name = "concentration"}},
    .n_in = 1,
    .outputs = 1,
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = soma__shape_same,
    .check = gamma_check,
    .cpu = {log_gamma_draw_kernel},
    .backward = SOMA_NONDIFF,
    .random = true,
    .internal = true,
    .samples = log_gamma_draw_samples,
    .errors = log_gamma_draw_errors,
};

static bool dirichlet_compose(soma_args *a) {
    if (a->in[0]->ndim < 1)
        return soma__expected(a->in[0], "concentration", "[..., n]");
    return soma__return(a, soma_softmax(SOMA__RUN(&log_gamma_draw_op, NULL, a->in[0]), -1));
}
SOMA__LINES(dirichlet, "[5,7]@0.1:5 ~", "s[4,3]@0.01:0.5 ~", "[1]@1:2 ~", "[0,3] ~", "[2,3,4]@5:60 ~", "s[6]@0.1:1 ~",
            "[] !ESHAPE dirichlet: concentration is [] f32, expected [..., n]", "[2]=1,-1 !EINVAL concentration is -1 at position [1]")
static const soma_op dirichlet_op = {
    SOMA__COMPOSITE(dirichlet),
    .family = "random",
    .doc = "Points of the simplex: rows of n numbers above 0 that sum to one, of these concentrations. PyTorch's gradient through them is "
           "not here.",
    .in = {{.name = "concentration"}},
    .n_in = 1,
    .outputs = 1,
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_NONDIFF,
    .random = true,
};

/* mean + std times standard normals: differentiable in both. */
static bool normal_compose(soma_args *a) {
    soma_meta m;
    if (!soma__broadcast("normal", a->in, 2, &m))
        return false;
    return soma__return(a, soma_add(a->in[0], soma_mul(a->in[1], soma_randn(m.ndim, m.shape, (soma_dtype)a->in[0]->dtype))));
}
SOMA__LINES(normal, "[5,7] [7]@0:1", "s[4,3] s[4,1]@0:1", "[] []@0:1", "[0,3] [3]@0:1", "[2,3] []@0:1", "s[6] [1]@0:1",
            "[2] [3] !ESHAPE normal: shapes [2] and [3] do not broadcast")
static const soma_op normal_op = {
    SOMA__COMPOSITE(normal),
    .family = "random",
    .doc = "Normal numbers of these means and standard deviations: mean + std z. Differentiable in both (the reparametrisation of Kingma & "
           "Welling 2014).",
    .in = {{.name = "mean"}, {.name = "std"}},
    .n_in = 2,
    .outputs = 1,
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
    .random = true,
};

/* ---- multinomial ------------------------------------------------------------------------------------------------------ */

enum { M_COUNT, M_REPLACE };

static bool multinomial_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *w = a->in[0];
    const int64_t k = soma__attr_int(a, M_COUNT);
    if ((w->ndim != 1 && w->ndim != 2) || w->shape[w->ndim - 1] < 1) {
        soma__expected(w, "multinomial: weights", "[n] or [rows, n] with n of 1 or more");
        return false;
    }
    if (k < 1 || (!soma__attr_int(a, M_REPLACE) && k > w->shape[w->ndim - 1])) {
        soma_fail(SOMA_EINVAL, "multinomial: num_samples is %lld, expected 1 or more, and without replacement at most %lld", (long long)k,
                  (long long)w->shape[w->ndim - 1]);
        return false;
    }
    out->dtype = SOMA_I64;
    out->ndim = w->ndim;
    out->shape[0] = w->shape[0];
    out->shape[w->ndim - 1] = k;
    return true;
}

static double weight_at(const soma_tensor *w, int64_t row, int64_t i) {
    const int64_t at = i * w->stride[w->ndim - 1] + (w->ndim == 2 ? row * w->stride[0] : 0);
    return soma__load((const char *)w->data + at * (int64_t)soma_dtype_size((soma_dtype)w->dtype), (soma_dtype)w->dtype);
}

static bool multinomial_check(soma_args *a) {
    const soma_tensor *w = a->in[0];
    const int64_t n = w->shape[w->ndim - 1], rows = w->ndim == 2 ? w->shape[0] : 1,
                  needed = soma__attr_int(a, M_REPLACE) ? 1 : soma__attr_int(a, M_COUNT);
    if (!check_values(a, 0, 0, 1.7976931348623157e308, false, "a finite number of 0 or more"))
        return false;
    for (int64_t r = 0; r < rows; r++) {
        int64_t positive = 0;
        for (int64_t i = 0; i < n; i++)
            positive += weight_at(w, r, i) > 0;
        if (positive < needed) {
            soma_fail(SOMA_EINVAL, "multinomial: row %lld has %lld weights above 0, expected %lld or more", (long long)r,
                      (long long)positive, (long long)needed);
            return false;
        }
    }
    return true;
}

static size_t multinomial_work(soma_args *a) { return (size_t)a->in[0]->shape[a->in[0]->ndim - 1] * (sizeof(double) + sizeof(int64_t)); }

/* A heap of indices by falling key, so that its root is the largest of the k smallest. */
static void sift(int64_t *heap, int64_t n, int64_t at, const double *key) {
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n)
            return;
        child += child + 1 < n && key[heap[child + 1]] > key[heap[child]];
        if (key[heap[child]] <= key[heap[at]])
            return;
        const int64_t swap = heap[child];
        heap[child] = heap[at];
        heap[at] = swap;
        at = child;
    }
}

/* The k first arrivals of exponential clocks whose rates are the weights, in order. */
static void first_arrivals(double *key, int64_t *heap, int64_t n, int64_t k, int64_t *to) {
    for (int64_t i = 0; i < k; i++)
        heap[i] = i;
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        sift(heap, k, i, key);
    for (int64_t i = k; i < n; i++)
        if (key[i] < key[heap[0]]) {
            heap[0] = i;
            sift(heap, k, 0, key);
        }
    for (int64_t left = k; left > 0; left--) {
        to[left - 1] = heap[0];
        heap[0] = heap[left - 1];
        sift(heap, left - 1, 0, key);
    }
}

static const char *multinomial_kernel(soma_args *a) {
    const soma_tensor *w = a->in[0];
    const int64_t n = w->shape[w->ndim - 1], rows = w->ndim == 2 ? w->shape[0] : 1, k = soma__attr_int(a, M_COUNT);
    const bool replace = soma__attr_int(a, M_REPLACE) != 0;
    double *key = a->work;
    for (int64_t r = 0; r < rows; r++) {
        soma__random random = soma__random_new(a->rng.seed, a->rng.stream);
        int64_t *to = (int64_t *)a->out[0]->data + r * k;
        random.next = (uint64_t)r << 40;
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            const double weight = weight_at(w, r, i);
            sum += weight;
            key[i] = replace ? sum : weight > 0 ? -log(open_unit(&random)) / weight : HUGE_VAL;
        }
        if (!replace)
            first_arrivals(key, (int64_t *)(key + n), n, k, to);
        for (int64_t s = 0; replace && s < k; s++) { /* the first whose running sum is above u */
            const double u = soma__random_unit(&random) * sum;
            int64_t low = 0, high = n - 1;
            while (low < high) {
                const int64_t middle = (low + high) / 2;
                if (key[middle] > u)
                    high = middle;
                else
                    low = middle + 1;
            }
            while (low > 0 && key[low] == key[low - 1]) /* rounding: never one of weight 0 */
                low--;
            to[s] = low;
        }
    }
    return NULL;
}

SOMA__LINES(multinomial, "[6]@0.1:1 num_samples=3 ~", "s[4,5]@0.1:1 num_samples=9 replacement=true ~", "[1]=2 num_samples=1 ~",
            "[0,3]@0:1 num_samples=2 ~", "[4]=0,1,0,3 num_samples=2 ~", "s[3,7]@0.1:2 num_samples=7 ~",
            "[4]=0,1,0,3 num_samples=3 !EINVAL multinomial: row 0 has 2 weights above 0, expected 3 or more",
            "[3]=1,-1,2 num_samples=1 !EINVAL weights is -1 at position [1]",
            "[3] num_samples=4 !EINVAL num_samples is 4, expected 1 or more", "[2,2,2] num_samples=1 !ESHAPE expected [n] or [rows, n]")
static const soma_op multinomial_op = {
    .name = "multinomial",
    .family = "random",
    .onnx = "Multinomial",
    .doc = "num_samples indices (i64) from each row of weights, which need not sum to one: independent draws with replacement, or "
           "different ones without (each next by the weights that are left).",
    .in = {{.name = "weights"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("num_samples", "draws a row"), SOMA_DEF_BOOL("replacement", false, "an index may come again")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = multinomial_shape,
    .check = multinomial_check,
    .work = multinomial_work,
    .cpu = {multinomial_kernel},
    .backward = SOMA_NONDIFF,
    .random = true,
    .samples = multinomial_samples,
    .errors = multinomial_errors,
};

/* ---- C ---------------------------------------------------------------------------------------------------------------- */

static soma_tensor *fill(const soma_op *op, soma_tensor *x, double a, double b, double c, double d) {
    const double v[PARAMS] = {a, b, c, d};
    soma_attr attrs[PARAMS];
    for (int i = 0; i < op->n_attrs; i++)
        attrs[i] = SOMA_FLOAT(op->attrs[i].def.name, v[i]);
    return SOMA__RUN(op, attrs, x);
}
soma_tensor *soma_exponential_(soma_tensor *x, double lambd) { return fill(&exponential__op, x, lambd, 0, 0, 0); }
soma_tensor *soma_cauchy_(soma_tensor *x, double median, double sigma) { return fill(&cauchy__op, x, median, sigma, 0, 0); }
soma_tensor *soma_log_normal_(soma_tensor *x, double mean, double std) { return fill(&log_normal__op, x, mean, std, 0, 0); }
soma_tensor *soma_laplace_(soma_tensor *x, double loc, double scale) { return fill(&laplace__op, x, loc, scale, 0, 0); }
soma_tensor *soma_gumbel_(soma_tensor *x, double loc, double scale) { return fill(&gumbel__op, x, loc, scale, 0, 0); }
soma_tensor *soma_geometric_(soma_tensor *x, double p) { return fill(&geometric__op, x, p, 0, 0, 0); }
soma_tensor *soma_bernoulli_(soma_tensor *x, double p) { return fill(&bernoulli__op, x, p, 0, 0, 0); }
soma_tensor *soma_trunc_normal_(soma_tensor *x, double mean, double std, double a, double b) {
    return fill(&trunc_normal__op, x, mean, std, a, b);
}
soma_tensor *soma_random_(soma_tensor *x, int64_t from, int64_t to) {
    const soma_attr attrs[] = {SOMA_INT("from", from), SOMA_INT("to", to)};
    return SOMA__RUN(&random__op, attrs, x);
}
soma_tensor *soma_poisson(soma_tensor *rate) { return SOMA__RUN(&poisson_op, NULL, rate); }
soma_tensor *soma_gamma(soma_tensor *concentration) { return SOMA__RUN(&gamma_op, NULL, concentration); }
soma_tensor *soma_beta(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&beta_op, NULL, a, b); }
soma_tensor *soma_binomial(soma_tensor *count, soma_tensor *prob) { return SOMA__RUN(&binomial_op, NULL, count, prob); }
soma_tensor *soma_bernoulli_tensor(soma_tensor *p) { return SOMA__RUN(&bernoulli_tensor_op, NULL, p); }
soma_tensor *soma_dirichlet(soma_tensor *concentration) { return SOMA__RUN(&dirichlet_op, NULL, concentration); }
soma_tensor *soma_normal(soma_tensor *mean, soma_tensor *std) { return SOMA__RUN(&normal_op, NULL, mean, std); }
soma_tensor *soma_multinomial(soma_tensor *weights, int64_t num_samples, bool replacement) {
    const soma_attr attrs[] = {SOMA_INT("num_samples", num_samples), SOMA_BOOLEAN("replacement", replacement)};
    return SOMA__RUN(&multinomial_op, attrs, weights);
}

soma_op_list soma__draws_ops = {
    &exponential__op,   &cauchy__op,   &log_normal__op, &laplace__op,    &gumbel__op, &geometric__op, &bernoulli__op,
    &trunc_normal__op,  &random__op,   &poisson_op,     &gamma_op,       &beta_op,    &binomial_op,   &bernoulli_tensor_op,
    &log_gamma_draw_op, &dirichlet_op, &normal_op,      &multinomial_op, NULL};
