/* Tensors of another one's shape: zeros_like and so on, by the operators that make and draw; and logspace, powers of linspace. */
#include "ops/op.h"

enum { SAME = -1 };

/* The dtype of the last attribute, x's when not given. */
static bool dtype_for(soma_args *a, soma_dtype *to) {
    const int64_t given = a->attrs[a->op->n_attrs - 1].value.i;
    *to = given == SAME ? (soma_dtype)a->in[0]->dtype : (soma_dtype)given;
    if (given >= SAME && given < SOMA_DTYPE_COUNT)
        return true;
    soma_fail(SOMA_EDTYPE, "%s: there is no dtype %lld", a->op->name, (long long)given);
    return false;
}

#define SIZES a->in[0]->ndim, a->in[0]->shape
#define LIKE(NAME, DTYPES, SAMPLE, BAD, RANDOM, DOC, MAKE, ...)                                                                            \
    static bool NAME##_compose(soma_args *a) {                                                                                             \
        soma_dtype dtype;                                                                                                                  \
        a->out[0] = dtype_for(a, &dtype) ? MAKE : NULL;                                                                                    \
        return a->out[0] != NULL;                                                                                                          \
    }                                                                                                                                      \
    SOMA__LINES(NAME, "[3,4] " SAMPLE, "s[2,3] " SAMPLE " dtype=1", "[] " SAMPLE, "[0,3] " SAMPLE, "[2,1,2] " SAMPLE, "s[5] " SAMPLE,      \
                "[3] " SAMPLE BAD)                                                                                                         \
    static const soma_op NAME##_op = {                                                                                                     \
        SOMA__COMPOSITE(NAME),                                                                                                            \
        .family = RANDOM ? "random" : "create",                                                                                            \
        .doc = DOC,                                                                                                                        \
        .in = {{.name = "x"}},                                                                                                             \
        .n_in = 1,                                                                                                                         \
        .outputs = 1,                                                                                                                      \
        .attrs = SOMA_ATTRS(__VA_ARGS__ SOMA_DEF_DTYPE("dtype", SAME, "dtype of the result; not given: x's")),                             \
        .dtypes = DTYPES,                                                                                                                  \
        .promote = SOMA_PROMOTE_SAME,                                                                                                      \
        .backward = SOMA_NONDIFF,                                                                                                          \
        .random = RANDOM,                                                                                                                  \
    };
#define NO_DTYPE " dtype=77 !EDTYPE there is no dtype 77"
LIKE(zeros_like, SOMA_ANY, "", NO_DTYPE, false, "Zeros in x's shape.", soma_zeros(SIZES, dtype), )
LIKE(ones_like, SOMA_ANY, "", NO_DTYPE, false, "Ones in x's shape.", soma_ones(SIZES, dtype), )
LIKE(full_like, SOMA_ANY, "fill_value=1.0", NO_DTYPE, false, "One value in x's shape.", soma_full(SIZES, soma__attr_float(a, 0), dtype),
     SOMA_NEED_FLOAT("fill_value", "what every element is"), )
LIKE(rand_like, SOMA_FLOATS, "~", NO_DTYPE, true, "Numbers uniform in [0, 1) in x's shape.", soma_rand(SIZES, dtype), )
LIKE(randn_like, SOMA_FLOATS, "~", NO_DTYPE, true, "Standard normal numbers in x's shape.", soma_randn(SIZES, dtype), )
LIKE(randint_like, SOMA_NUMBERS, "low=2 high=9 ~", NO_DTYPE, true, "Whole numbers in [low, high) in x's shape.",
     soma_randint(soma__attr_int(a, 0), soma__attr_int(a, 1), SIZES, dtype), SOMA_DEF_INT("low", 0, "smallest"),
     SOMA_NEED_INT("high", "one more than the largest"), )

#define LIKE_C(NAME)                                                                                                                       \
    soma_tensor *soma_##NAME(soma_tensor *x) { return SOMA__RUN(&NAME##_op, &SOMA_DTYPE("dtype", SAME), x); }
LIKE_C(zeros_like)
LIKE_C(ones_like)
LIKE_C(rand_like)
LIKE_C(randn_like)
soma_tensor *soma_empty_like(soma_tensor *x) { return x ? soma_empty(x->ndim, x->shape, (soma_dtype)x->dtype) : NULL; }
soma_tensor *soma_full_like(soma_tensor *x, double value) {
    const soma_attr attrs[] = {SOMA_FLOAT("fill_value", value), SOMA_DTYPE("dtype", SAME)};
    return SOMA__RUN(&full_like_op, attrs, x);
}
soma_tensor *soma_randint_like(soma_tensor *x, int64_t low, int64_t high) {
    const soma_attr attrs[] = {SOMA_INT("low", low), SOMA_INT("high", high), SOMA_DTYPE("dtype", SAME)};
    return SOMA__RUN(&randint_like_op, attrs, x);
}

/* ---- logspace --------------------------------------------------------------------------------------------------------- */

static bool logspace_compose(soma_args *a) {
    const int64_t steps = soma__attr_int(a, 2), dtype = a->attrs[4].value.i;
    const double base = soma__attr_float(a, 3);
    if (dtype < 0 || dtype >= SOMA_DTYPE_COUNT || !(base > 0)) {
        soma_fail(SOMA_EINVAL, "logspace: base %g and dtype %lld, expected a base above 0 and a dtype", base, (long long)dtype);
        return false;
    }
    soma_tensor *at = soma_linspace(soma__attr_float(a, 0), soma__attr_float(a, 1), steps, SOMA_F64);
    return soma__return(a, soma_to(soma_pow(soma_full(SOMA_SCALAR, base, SOMA_F64), at), (soma_dtype)dtype));
}
#define LOGSPACE(SAMPLE) "start=0.0 end=3.0 steps=" SAMPLE
SOMA__LINES(logspace, LOGSPACE("4"), LOGSPACE("1"), LOGSPACE("0"), LOGSPACE("7 base=2.0"),
            LOGSPACE("-1 !EINVAL steps is -1, expected 0 or more"), LOGSPACE("3 base=0.0 !EINVAL expected a base above 0"))
static const soma_op logspace_op = {
    SOMA__COMPOSITE(logspace),
    .family = "create",
    .doc = "`steps` values base^start … base^end, whose exponents lie at equal distances.",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_FLOAT("start", "first exponent"), SOMA_NEED_FLOAT("end", "last exponent"),
                        SOMA_NEED_INT("steps", "how many"), SOMA_DEF_FLOAT("base", 10, "base"),
                        SOMA_DEF_DTYPE("dtype", SOMA_F32, "dtype of the result")),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_NONE,
    .backward = SOMA_NONDIFF,
};
soma_tensor *soma_logspace(double start, double end, int64_t steps, double base, soma_dtype dtype) {
    const soma_attr attrs[] = {SOMA_FLOAT("start", start), SOMA_FLOAT("end", end), SOMA_INT("steps", steps), SOMA_FLOAT("base", base),
                               SOMA_DTYPE("dtype", dtype)};
    return soma__run(&logspace_op, NULL, 0, attrs);
}

soma_op_list soma__like_ops = {&zeros_like_op, &ones_like_op,    &full_like_op, &rand_like_op,
                               &randn_like_op, &randint_like_op, &logspace_op,  NULL};
