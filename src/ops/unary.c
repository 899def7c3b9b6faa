/* Elementwise operators of one input: entries made from elementwise.def, their gradients, and the C functions. */
#include "ops/elementwise.h"

#include <math.h>
#include <string.h>

static void numbers(const soma_args *a, double out[2]) {
    for (int i = 0; i < 2; i++)
        out[i] = i < a->op->n_attrs ? soma__attr_float(a, i) : 0;
}

/* ---- Entries ---- */

static const soma_op unary_ops[SOMA__UNARY_COUNT], slope_ops[SOMA__UNARY_COUNT], predicate_ops[SOMA__PREDICATE_COUNT];

static const char *unary_kernel(soma_args *a) {
    int i = (int)(a->op - unary_ops);
    soma_dtype d = (soma_dtype)a->out[0]->dtype;
    double params[2];
    numbers(a, params);
    soma__run_rows(a->out[0], a->in, 1, SOMA__ROW(unary, i, d), SOMA__ROW(unary, i, SOMA_F32), params, false);
    return NULL;
}

static const char *slope_kernel(soma_args *a) {
    int i = (int)(a->op - slope_ops);
    soma_dtype d = (soma_dtype)a->out[0]->dtype;
    double params[2];
    numbers(a, params);
    soma__run_rows(a->out[0], a->in, 2, SOMA__ROW(slope, i, d), SOMA__ROW(slope, i, SOMA_F32), params, false);
    return NULL;
}

static const char *predicate_kernel(soma_args *a) {
    static const double none[2] = {0, 0};
    int i = (int)(a->op - predicate_ops);
    soma_dtype d = (soma_dtype)a->in[0]->dtype;
    soma__run_rows(a->out[0], a->in, 1, SOMA__ROW(predicate, i, d), SOMA__ROW(predicate, i, SOMA_F32), none, false);
    return NULL;
}

static bool shape_bool(soma_args *a, soma_meta *out) {
    out->dtype = SOMA_BOOL;
    return soma__shape_same(a, out);
}

static int64_t flops_each(soma_args *a) { return a->in[0]->numel; }

/* ---- Gradients in operators ---- */

/* sigmoid(u) + x sigmoid'(u) u' of x sigmoid(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3). */
static soma_tensor *gelu_tanh_slope(soma_tensor *x) {
    soma_tensor *xx = soma_mul(x, x);
    soma_tensor *s = soma_sigmoid(soma_mul(x, soma_add_scalar(soma_mul_scalar(xx, 0.071354816272600245), 1.5957691216057308)));
    soma_tensor *inner = soma_add_scalar(soma_mul_scalar(xx, 0.21406444881780073), 1.5957691216057308);
    return soma_add(s, soma_mul(soma_mul(x, inner), soma_mul(s, soma_sub(soma_scalar(1), s))));
}

static soma_tensor *mish_slope(soma_tensor *x) {
    soma_tensor *t = soma_tanh(soma_softplus(x));
    return soma_add(t, soma_mul(soma_mul(x, soma_sigmoid(x)), soma_sub(soma_scalar(1), soma_mul(t, t))));
}

#define ZERO soma_zeros(soma_ndim(g), soma_shape(g), soma_dtype_of(g))
#define UNARY(name, kinds, expr, slope, saves, gradient, ...)                                                    \
    static soma_tensor *grad_##name(soma_tensor *g, soma_tensor *x, soma_tensor *y, const soma_attr *p) {        \
        (void)x, (void)y, (void)p;                                                                               \
        return gradient;                                                                                         \
    }
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"

static soma_tensor *(*const gradients[])(soma_tensor *, soma_tensor *, soma_tensor *, const soma_attr *) = {
#define UNARY(name, ...) grad_##name,
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

static void unary_backward(soma_grad_args *g) {
    int i = (int)(g->op - unary_ops);
    soma_tensor *saved = g->in[0] ? g->in[0] : g->out[0];
    g->gin[0] = saved && !g->create_graph ? SOMA__RUN(&slope_ops[i], g->attrs, g->gout[0], saved)
                                          : gradients[i](g->gout[0], g->in[0], g->out[0], g->attrs);
}

soma_tensor *soma__relu_gradient(soma_tensor *g, soma_tensor *y, bool create_graph) {
    return create_graph ? grad_relu(g, NULL, y, NULL) : SOMA__RUN(&slope_ops[SOMA__U_relu], NULL, g, y);
}

#define SAVES_0 0
#define SAVES_X SOMA_SAVE_IN(0)
#define SAVES_Y SOMA_SAVE_OUT(0)
#define PROMOTE_NUMERIC SOMA_PROMOTE_SAME
#define PROMOTE_FLOATING SOMA_PROMOTE_FLOAT
#define DTYPES_NUMERIC SOMA_NUMBERS
#define DTYPES_FLOATING SOMA_FLOATS
#define NO_P .attrs = NULL
#define P1_(n, d, h) .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT(n, d, h))
#define P2(n, d, h, n2, d2, h2) .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT(n, d, h), SOMA_DEF_FLOAT(n2, d2, h2))
#define CHECK(what) .check = what

/* The first attribute is divided by. */
static bool not_zero(soma_args *a) {
    if (soma__attr_float(a, 0) != 0)
        return true;
    soma_fail(SOMA_EINVAL, "%s: %s must not be 0", a->op->name, a->op->attrs[0].def.name);
    return false;
}

/* Domains of the tests; one sample generator serves all entries. */
static const double domains[][2] = {
#define UNARY(name, kinds, expr, slope, saves, gradient, low, high, ...) {low, high},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

bool soma__samples_one(int i, soma_dtype dtype, double low, double high, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; bool strided; } cases[] = {
        {3, {3, 4, 5}, false}, {2, {7, 33}, true}, {0, {0}, false},         {3, {2, 3, 0}, false}, {1, {37}, true},
        {1, {1}, false},       {2, {1, 6}, false}, {4, {2, 3, 2, 4}, true}, {2, {9, 1}, true},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = 1;
    s->in[0] = soma__sample(dtype, low, high, (uint64_t)i + 1, cases[i].ndim, cases[i].shape);
    if (cases[i].strided)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}

/* One function per entry, since a sample function is not told which operator it is for. */
#define UNARY(name, ...)                                                                                         \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) {                                        \
        return soma__samples_one(i, dtype, domains[SOMA__U_##name][0], domains[SOMA__U_##name][1], s);                 \
    }
#define PREDICATE(name, ...)                                                                                     \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) { return soma__samples_one(i, dtype, -3, 3, s); }
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"

bool soma__errors_one(int i, soma_dtype dtype, soma_sample *s) {
    (void)dtype;
    memset(s, 0, sizeof *s);
    s->n_in = i == 0;
    s->status = SOMA_EINVAL;
    s->error = i == 0 ? "is NULL" : "takes 1 input, got 0";
    return i < 2;
}

#define HIDDEN .attrs = NULL, .internal = true
#define HIDDEN_P1(n, d, h) P1_(n, d, h), .internal = true
static const soma_op unary_ops[SOMA__UNARY_COUNT] = {
#define UNARY(n, kinds, expr, slope, save, gradient, low, high, onnx_, doc_, ...)                                                \
    {.name = #n, .family = FAMILY, .doc = doc_, .onnx = onnx_, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,                   \
     .dtypes = DTYPES_##kinds, .promote = PROMOTE_##kinds, .shape = soma__shape_same, .keeps_order = true, .cpu = {unary_kernel},                     \
     .backward = unary_backward, .saves = SAVES_##save, .in_place = true, .flops = flops_each, .samples = samples_##n,           \
     .errors = soma__errors_one, .range = "[" #low ", " #high "]", __VA_ARGS__},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

static bool slope_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_one(i, dtype, 0.3, 2, s))
        return false;
    s->n_in = 2;
    s->in[1] = soma__sample(dtype, 0.4, 2, 9, s->in[0] ? s->in[0]->ndim : 0, soma_shape(s->in[0]));
    return true;
}

static bool slope_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__errors_one(i, dtype, s))
        return false;
    s->n_in = 2 * (i == 0);
    s->error = i == 0 ? "is NULL" : "takes 2 inputs, got 0";
    return true;
}

#undef HIDDEN
#undef HIDDEN_P1
#define HIDDEN .attrs = NULL
#define HIDDEN_P1 P1_
static const soma_op slope_ops[SOMA__UNARY_COUNT] = {
#define UNARY(n, kinds, expr, slope, save, gradient, low, high, onnx_, doc_, ...)                                                \
    {.name = #n "_backward", .family = FAMILY, .doc = "gradient times the derivative of " #n " at what it saved, in one pass", \
     .in = {{.name = "grad"}, {.name = "saved"}}, .n_in = 2, .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME,  \
     .shape = soma__shape_same, .keeps_order = true, .cpu = {slope_kernel}, .backward = SOMA_NONDIFF, .internal = true, .samples = slope_samples,     \
     .errors = slope_errors, __VA_ARGS__},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

static const soma_op predicate_ops[SOMA__PREDICATE_COUNT] = {
#define UNARY(...)
#define PREDICATE(n, expr, doc_, onnx_)                                                                                          \
    {.name = #n, .family = "comparison", .doc = doc_, .onnx = onnx_, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,             \
     .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_NONE, .shape = shape_bool, .keeps_order = true, .cpu = {predicate_kernel}, .backward = SOMA_NONDIFF, \
     .samples = samples_##n, .errors = soma__errors_one},
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

soma_op_list soma__unary_ops = {
#define UNARY(name, ...) &unary_ops[SOMA__U_##name], &slope_ops[SOMA__U_##name],
#define PREDICATE(name, ...) &predicate_ops[SOMA__P_##name],
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    NULL};

/* ---- C functions ---- */

#define U(name) \
    soma_tensor *soma_##name(soma_tensor *x) { return SOMA__RUN(&unary_ops[SOMA__U_##name], NULL, x); }
U(neg) U(abs) U(sign) U(square) U(sqrt) U(rsqrt) U(reciprocal) U(exp) U(expm1) U(log) U(log1p) U(sin) U(cos) U(tanh) U(erf) U(floor)
U(ceil) U(sigmoid) U(relu) U(selu) U(silu) U(mish) U(softsign) U(hardsigmoid) U(hardswish)
#define PRED(name) \
    soma_tensor *soma_##name(soma_tensor *x) { return SOMA__RUN(&predicate_ops[SOMA__P_##name], NULL, x); }
PRED(isnan) PRED(isfinite) PRED(logical_not)

#define U1(name, attr) \
    soma_tensor *soma_##name(soma_tensor *x, double attr) { return SOMA__RUN(&unary_ops[SOMA__U_##name], &SOMA_FLOAT(#attr, attr), x); }
U1(leaky_relu, negative_slope) U1(elu, alpha) U1(celu, alpha)
#define U2(function, name, attr, attr2)                                                  \
    soma_tensor *soma_##function(soma_tensor *x, double attr, double attr2) {            \
        soma_attr attrs[] = {SOMA_FLOAT(#attr, attr), SOMA_FLOAT(#attr2, attr2)};        \
        return SOMA__RUN(&unary_ops[SOMA__U_##name], attrs, x);                          \
    }
U2(hardtanh, hardtanh, min, max) U2(clamp, clamp, min, max) U2(threshold, threshold, threshold, value)
U2(softplus_beta, softplus, beta, threshold)
soma_tensor *soma_softplus(soma_tensor *x) { return soma_softplus_beta(x, 1, 20); }

/* ---- Parts of composites (math.c, activation.c) ---- */

soma_tensor *soma__round_plain(soma_tensor *x) { return SOMA__RUN(&unary_ops[SOMA__U_round_plain], NULL, x); }
soma_tensor *soma__gelu_exact(soma_tensor *x) { return SOMA__RUN(&unary_ops[SOMA__U_gelu_none], NULL, x); }
soma_tensor *soma_gelu_tanh(soma_tensor *x) { return SOMA__RUN(&unary_ops[SOMA__U_gelu_tanh], NULL, x); }
soma_tensor *soma__step_plain(soma_tensor *x, double threshold) {
    return SOMA__RUN(&unary_ops[SOMA__U_step_plain], &SOMA_FLOAT("threshold", threshold), x);
}
void soma__step_rows(soma_args *a, double threshold) {
    soma_dtype d = (soma_dtype)a->out[0]->dtype;
    soma__run_rows(a->out[0], a->in, 1, SOMA__ROW(unary, SOMA__U_step_plain, d), SOMA__ROW(unary, SOMA__U_step_plain, SOMA_F32),
                   (const double[]){threshold, 0}, false);
}

/* ---- In place ---- */

static soma_tensor *in_place(const soma_op *op, soma_tensor *x, const soma_attr *attrs) {
    soma_tensor *out;
    return soma__apply(op, &x, 1, attrs, &out, SOMA__IN_PLACE) ? out : NULL;
}
#define IN_PLACE(name) \
    soma_tensor *soma_##name##_(soma_tensor *x) { return in_place(&unary_ops[SOMA__U_##name], x, NULL); }
IN_PLACE(neg) IN_PLACE(abs) IN_PLACE(square) IN_PLACE(sqrt) IN_PLACE(rsqrt) IN_PLACE(reciprocal) IN_PLACE(exp) IN_PLACE(log) IN_PLACE(sin)
IN_PLACE(cos) IN_PLACE(tanh) IN_PLACE(sigmoid) IN_PLACE(relu) IN_PLACE(selu) IN_PLACE(silu) IN_PLACE(floor) IN_PLACE(ceil)
soma_tensor *soma_leaky_relu_(soma_tensor *x, double negative_slope) {
    return in_place(&unary_ops[SOMA__U_leaky_relu], x, &SOMA_FLOAT("negative_slope", negative_slope));
}
soma_tensor *soma_elu_(soma_tensor *x, double alpha) { return in_place(&unary_ops[SOMA__U_elu], x, &SOMA_FLOAT("alpha", alpha)); }
soma_tensor *soma_clamp_(soma_tensor *x, double min, double max) {
    soma_attr attrs[] = {SOMA_FLOAT("min", min), SOMA_FLOAT("max", max)};
    return in_place(&unary_ops[SOMA__U_clamp], x, attrs);
}
