/* Elementwise functions by pointer: entries made from functions.def, the loop that serves them all, their gradients, and the C
 * functions. */
#include "kernels/cpu/special.h"
#include "ops/elementwise.h"

#include <math.h>
#include <string.h>

typedef struct function {
    double (*one)(double);
    double (*two)(double, double);
    int64_t (*whole)(int64_t, int64_t);
    bool exact; /* nextafter, whose result depends on the dtype */
} function;

/* ---- The loop ---- */

typedef struct call {
    function f;
    soma_dtype dtype;
    int n;
} call;

#define AT(type, k) (*(type *)(p[k] + i * stride[k]))
#define EACH for (int64_t i = 0; i < count; i++)
#define WHOLE_LOOP(DTYPE, type) \
    case DTYPE: EACH AT(type, 0) = (type)c->f.whole(AT(type, 1), AT(type, 2)); break;

static void row(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const call *c = arg;
    (void)first;
    if (c->f.whole && !soma_dtype_is_float(c->dtype)) {
        switch (c->dtype) {
            WHOLE_LOOP(SOMA_I64, int64_t)
            WHOLE_LOOP(SOMA_I32, int32_t)
            WHOLE_LOOP(SOMA_I16, int16_t)
            WHOLE_LOOP(SOMA_I8, int8_t)
            WHOLE_LOOP(SOMA_U8, uint8_t)
        default: EACH AT(uint8_t, 0) = c->f.whole(AT(uint8_t, 1) != 0, AT(uint8_t, 2) != 0) != 0;
        }
    } else if (c->f.exact && c->dtype == SOMA_F32) {
        EACH AT(float, 0) = nextafterf(AT(float, 1), AT(float, 2));
    } else if (c->dtype == SOMA_F32 && c->f.one) {
        EACH AT(float, 0) = (float)c->f.one((double)AT(float, 1));
    } else if (c->dtype == SOMA_F32) {
        EACH AT(float, 0) = (float)c->f.two((double)AT(float, 1), (double)AT(float, 2));
    } else {
        EACH {
            double a = soma__load(&AT(char, 1), c->dtype);
            soma__store(&AT(char, 0), c->dtype, c->f.one ? c->f.one(a) : c->f.two(a, soma__load(&AT(char, 2), c->dtype)));
        }
    }
}

static const char *run(soma_args *a, const function *f) {
    call c = {*f, (soma_dtype)a->out[0]->dtype, a->n_in + 1};
    soma_tensor *operands[3] = {a->out[0], a->in[0], a->n_in > 1 ? a->in[1] : NULL};
    soma__iter it;
    soma__iter_init_any(&it, a->out[0]->ndim, a->out[0]->shape, operands, c.n);
    soma__iter_run(&it, row, &c);
    return NULL;
}

/* ---- Numbers of the entries ---- */

enum {
#define FUNCTION(name, ...) F_##name,
#define FUNCTION2(...)
#define FLAT2(...)
#include "ops/functions.def"
    N_ONE
};
enum {
#define FUNCTION(...)
#define FUNCTION2(name, ...) F_##name,
#define FLAT2(name, ...) F_##name,
#include "ops/functions.def"
    N_TWO
};

static const function ones[] = {
#define FUNCTION(name, f, ...) {.one = f},
#define FUNCTION2(...)
#define FLAT2(...)
#include "ops/functions.def"
};
static const function twos[] = {
#define FUNCTION(...)
#define FUNCTION2(name, kinds, f, w, ...) {.two = f, .whole = w},
#define FLAT2(name, kinds, f, w, ...) {.two = f, .whole = w, .exact = (int)F_##name == (int)F_nextafter},
#include "ops/functions.def"
};

static const soma_op one_ops[N_ONE], two_ops[N_TWO];
static const char *one_kernel(soma_args *a) { return run(a, &ones[a->op - one_ops]); }
static const char *two_kernel(soma_args *a) { return run(a, &twos[a->op - two_ops]); }

/* ---- Gradients ---- */

/* (cos(pi x) pi x - sin(pi x)) / (pi x^2), 0 at 0. */
static soma_tensor *sinc_slope(soma_tensor *x) {
    soma_tensor *px = soma_mul_scalar(x, 3.1415926535897931);
    soma_tensor *slope = soma_div(soma_sub(soma_mul(soma_cos(px), px), soma_sin(px)), soma_mul(px, x));
    return soma_where(soma_eq(x, soma_scalar(0)), soma_scalar(0), slope);
}

static soma_tensor *i1_over_x(soma_tensor *i1, soma_tensor *x) {
    return soma_where(soma_eq(x, soma_scalar(0)), soma_scalar(0.5), soma_div(i1, x));
}

/* Of x log y for x: g log y, but 0 where x is 0 and the logarithm is not finite. */
static soma_tensor *log_slope(soma_tensor *a, soma_tensor *b, soma_tensor *slope, double least) {
    soma_tensor *cut = soma_logical_and(soma_eq(a, soma_scalar(0)), soma_le(b, soma_scalar(least)));
    return soma_where(cut, soma_scalar(0), slope);
}

static soma_tensor *sign_factor(soma_tensor *a, soma_tensor *b) { return soma_mul(soma_sign(a), soma_copysign(soma_scalar(1), b)); }

#define ZERO soma_zeros(soma_ndim(g), soma_shape(g), soma_dtype_of(g))
#define FUNCTION(name, f, saves, gradient, ...)                                                                  \
    static void backward_##name(soma_grad_args *args) {                                                          \
        soma_tensor *g = args->gout[0], *x = args->in[0], *y = args->out[0];                                     \
        (void)x, (void)y;                                                                                        \
        args->gin[0] = gradient;                                                                                 \
    }
#define FUNCTION2(name, kinds, f, w, grad_a, grad_b, ...)                                                        \
    static void backward_##name(soma_grad_args *args) {                                                          \
        soma_tensor *g = args->gout[0], *a = args->in[0], *b = args->in[1];                                      \
        (void)g, (void)a, (void)b;                                                                               \
        if (args->need[0])                                                                                       \
            args->gin[0] = soma__sum_to(grad_a, &args->in_meta[0]);                                              \
        if (args->need[1])                                                                                       \
            args->gin[1] = soma__sum_to(grad_b, &args->in_meta[1]);                                              \
    }
#define FLAT2(...)
#include "ops/functions.def"

/* ---- Entries ---- */

/* A whole number is never divided by 0: the place is named, as elsewhere for bad values. */
static bool divisor_ok(soma_args *a) {
    const soma_tensor *b = a->in[1];
    if (soma_dtype_is_float((soma_dtype)b->dtype))
        return true;
    for (int64_t i = 0; i < b->numel; i++) {
        int64_t rest = i, at = 0;
        for (int d = b->ndim - 1; d >= 0; d--) {
            at += rest % b->shape[d] * b->stride[d];
            rest /= b->shape[d];
        }
        if (soma__load_int((const char *)b->data + at * (int64_t)soma_dtype_size((soma_dtype)b->dtype), (soma_dtype)b->dtype) == 0) {
            soma_fail(SOMA_EINVAL, "%s: division of whole numbers by 0 (element %lld of b)", a->op->name, (long long)i);
            return false;
        }
    }
    return true;
}

static int64_t flops_each(soma_args *a) { return a->out[0]->numel; }

#define FUNCTION(name, f, saves, gradient, low, high, ...)                                                                           \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) { return soma__samples_one(i, dtype, low, high, s); }
#define FUNCTION2(name, kinds, f, w, grad_a, grad_b, low, high, ...)                                                                 \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) { return samples_##kinds(i, dtype, low, high, s); }
#define FLAT2(name, kinds, f, w, low, high, ...)                                                                                     \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) { return samples_##kinds(i, dtype, low, high, s); }
#define samples_FLOATING soma__samples_two
#define samples_EXACT soma__samples_two
#define samples_WHOLE soma__samples_two
#define samples_BITS soma__samples_two
/* Whole divisors from 1 on. */
static bool samples_DIVIDING(int i, soma_dtype dtype, double low, double high, soma_sample *s) {
    if (!soma__samples_two(i, dtype, low, high, s))
        return false;
    if (!soma_dtype_is_float(dtype))
        s->in[1] = soma__sample(dtype, 1, 9, 40, soma_ndim(s->in[1]), soma_shape(s->in[1]));
    return true;
}
#include "ops/functions.def"

static bool division_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i != 1)
        return soma__errors_two(i, dtype, s);
    memset(s, 0, sizeof *s);
    s->n_in = 2;
    s->in[0] = soma__sample(SOMA_I32, 1, 9, 1, SOMA_SHAPE(3));
    s->in[1] = soma_zeros(SOMA_SHAPE(3), SOMA_I32);
    s->status = SOMA_EINVAL;
    s->error = "division of whole numbers by 0 (element 0 of b)";
    return true;
}

#define SAVES_0 0
#define SAVES_X SOMA_SAVE_IN(0)
#define SAVES_Y SOMA_SAVE_OUT(0)
static const soma_op one_ops[N_ONE] = {
#define FUNCTION(n, f, save, gradient, low, high, onnx_, doc_)                                                                       \
    {.name = #n, .family = FAMILY, .doc = doc_, .onnx = onnx_, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .dtypes = SOMA_FLOATS,   \
     .promote = SOMA_PROMOTE_FLOAT, .shape = soma__shape_same, .keeps_order = true, .cpu = {one_kernel}, .backward = backward_##n, .saves = SAVES_##save, \
     .in_place = true, .flops = flops_each, .samples = samples_##n, .errors = soma__errors_one, .range = "[" #low ", " #high "]"},
#define FUNCTION2(...)
#define FLAT2(...)
#include "ops/functions.def"
};

#define KIND_FLOATING .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .errors = soma__errors_two
#define KIND_EXACT .dtypes = SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64), .promote = SOMA_PROMOTE_SAME, .errors = soma__errors_two
#define KIND_DIVIDING .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME, .check = divisor_ok, .errors = division_errors
#define KIND_WHOLE .dtypes = SOMA_INTEGERS, .promote = SOMA_PROMOTE_SAME, .errors = soma__errors_two
#define KIND_BITS .dtypes = SOMA_INTEGERS | SOMA_BIT(SOMA_BOOL), .promote = SOMA_PROMOTE_SAME, .errors = soma__errors_two
#define ENTRY2(n, kinds, onnx_, doc_, ...)                                                                                           \
    {.name = #n, .family = FAMILY, .doc = doc_, .onnx = onnx_, .in = {{.name = "a"}, {.name = "b"}}, .n_in = 2, .outputs = 1,           \
     .shape = soma__shape_broadcast, .keeps_order = true, .cpu = {two_kernel}, .in_place = true, .flops = flops_each, .samples = samples_##n,             \
     KIND_##kinds, __VA_ARGS__},
static const soma_op two_ops[N_TWO] = {
#define FUNCTION(...)
#define FUNCTION2(n, kinds, f, w, grad_a, grad_b, low, high, onnx_, ...)                                                             \
    ENTRY2_(n, kinds, onnx_, __VA_ARGS__, .backward = backward_##n, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_IN(1), .range = "[" #low ", " #high "]")
#define FLAT2(n, kinds, f, w, low, high, onnx_, ...) \
    ENTRY2_(n, kinds, onnx_, __VA_ARGS__, .backward = SOMA_NONDIFF, .range = "[" #low ", " #high "]")
#define ENTRY2_(...) ENTRY2(__VA_ARGS__)
#include "ops/functions.def"
};

/* ---- polygamma: composed of zeta ---- */

static bool polygamma_compose(soma_args *a) {
    int64_t n = soma__attr_int(a, 0);
    if (n < 0) {
        soma_fail(SOMA_EINVAL, "polygamma: n is %lld, expected 0 or more", (long long)n);
        return false;
    }
    double scale = (n % 2 ? 1 : -1) * tgamma((double)n + 1);
    return soma__return(a, n == 0 ? soma_digamma(a->in[0]) : soma_mul_scalar(soma_zeta(soma_scalar((double)n + 1), a->in[0]), scale));
}

static bool polygamma_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_one(i, dtype, 0.5, 4, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = SOMA_INT("n", i % 4);
    return true;
}

static bool polygamma_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !soma__samples_one(i, dtype, 0.5, 4, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = SOMA_INT("n", -1);
    s->status = SOMA_EINVAL;
    s->error = "polygamma: n is -1, expected 0 or more";
    return true;
}

static const soma_op polygamma_op = {
    SOMA__COMPOSITE(polygamma), .family = "special", .doc = "the n-th derivative of digamma: (-1)^(n+1) n! zeta(n + 1, x); n = 0 is digamma",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .attrs = SOMA_ATTRS(SOMA_NEED_INT("n", "order of the derivative, from 0")),
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .backward = SOMA_COMPOSED,
    .range = "[0.5, 4]",
};

soma_tensor *soma_polygamma(int64_t n, soma_tensor *x) { return SOMA__RUN(&polygamma_op, &SOMA_INT("n", n), x); }

extern soma_op_list soma__functions_ops;
soma_op_list soma__functions_ops = {
#define FUNCTION(name, ...) &one_ops[F_##name],
#define FUNCTION2(name, ...) &two_ops[F_##name],
#define FLAT2(name, ...) &two_ops[F_##name],
#include "ops/functions.def"
    &polygamma_op, NULL};

/* ---- C functions ---- */

#define FUNCTION(name, ...) \
    soma_tensor *soma_##name(soma_tensor *x) { return SOMA__RUN(&one_ops[F_##name], NULL, x); }
#define FUNCTION2(name, ...) \
    soma_tensor *soma_##name(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&two_ops[F_##name], NULL, a, b); }
#define FLAT2 FUNCTION2
#define soma_trunc_divide soma__trunc_divide_op
#include "ops/functions.def"
