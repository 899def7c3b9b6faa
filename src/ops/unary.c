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

/* Gradients in operators. */
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

/* Domains of the tests; one sample generator serves all entries. */
static const double domains[][2] = {
#define UNARY(name, kinds, expr, slope, saves, gradient, low, high, ...) {low, high},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

static bool make_sample(int i, soma_dtype dtype, double low, double high, soma_sample *s) {
    static const int64_t shapes[][3] = {{3, 4, 5}, {2, 3, 0}, {7, 33, 1}};
    memset(s, 0, sizeof *s);
    s->n_in = 1;
    switch (i) {
    case 0: s->in[0] = soma__sample(dtype, low, high, 1, 3, shapes[0]); return true;
    case 1: s->in[0] = soma__strided(soma__sample(dtype, low, high, 2, 2, shapes[2])); return true;
    case 2: s->in[0] = soma__sample(dtype, low, high, 3, 0, NULL); return true;
    case 3: s->in[0] = soma__sample(dtype, low, high, 4, 3, shapes[1]); return true;
    default: return false;
    }
}

/* One function per entry, since a sample function is not told which operator it is for. */
#define UNARY(name, ...)                                                                                         \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) {                                        \
        return make_sample(i, dtype, domains[SOMA__U_##name][0], domains[SOMA__U_##name][1], s);                 \
    }
#define PREDICATE(name, ...)                                                                                     \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) { return make_sample(i, dtype, -3, 3, s); }
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"

static bool no_input(int i, soma_dtype dtype, soma_sample *s) {
    (void)dtype;
    memset(s, 0, sizeof *s);
    s->n_in = i == 0;
    s->status = SOMA_EINVAL;
    s->error = i == 0 ? "is NULL" : "takes 1 input, got 0";
    return i < 2;
}

static const soma_op unary_ops[SOMA__UNARY_COUNT] = {
#define UNARY(n, kinds, expr, slope, save, gradient, low, high, onnx_, doc_, ...)                                                \
    {.name = #n, .family = "elementwise", .doc = doc_, .onnx = onnx_, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,            \
     .dtypes = DTYPES_##kinds, .promote = PROMOTE_##kinds, .shape = soma__shape_same, .cpu = {unary_kernel},                     \
     .backward = unary_backward, .saves = SAVES_##save, .in_place = true, .flops = flops_each, .samples = samples_##n,           \
     .errors = no_input, .range = "[" #low ", " #high "]", __VA_ARGS__},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

static bool slope_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!make_sample(i, dtype, 0.3, 2, s))
        return false;
    s->n_in = 2;
    s->in[1] = soma__sample(dtype, 0.4, 2, 9, s->in[0] ? s->in[0]->ndim : 0, soma_shape(s->in[0]));
    return true;
}

static bool slope_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!no_input(i, dtype, s))
        return false;
    s->n_in = 2 * (i == 0);
    s->error = i == 0 ? "is NULL" : "takes 2 inputs, got 0";
    return true;
}

static const soma_op slope_ops[SOMA__UNARY_COUNT] = {
#define UNARY(n, kinds, expr, slope, save, gradient, low, high, onnx_, doc_, ...)                                                \
    {.name = #n "_backward", .family = "elementwise", .doc = "gradient times the derivative of " #n " at what it saved, in one pass", \
     .in = {{.name = "grad"}, {.name = "saved"}}, .n_in = 2, .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME,  \
     .shape = soma__shape_same, .cpu = {slope_kernel}, .backward = SOMA_NONDIFF, .internal = true, .samples = slope_samples,     \
     .errors = slope_errors, __VA_ARGS__},
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
};

static const soma_op predicate_ops[SOMA__PREDICATE_COUNT] = {
#define UNARY(...)
#define PREDICATE(n, expr, doc_, onnx_)                                                                                          \
    {.name = #n, .family = "elementwise", .doc = doc_, .onnx = onnx_, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1,            \
     .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_NONE, .shape = shape_bool, .cpu = {predicate_kernel}, .backward = SOMA_NONDIFF, \
     .samples = samples_##n, .errors = no_input},
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
U(ceil) U(round) U(sigmoid) U(relu) U(gelu) U(silu) U(softplus)
#define PRED(name) \
    soma_tensor *soma_##name(soma_tensor *x) { return SOMA__RUN(&predicate_ops[SOMA__P_##name], NULL, x); }
PRED(isnan) PRED(isfinite) PRED(logical_not)

soma_tensor *soma_leaky_relu(soma_tensor *x, double negative_slope) {
    return SOMA__RUN(&unary_ops[SOMA__U_leaky_relu], &SOMA_FLOAT("negative_slope", negative_slope), x);
}
soma_tensor *soma_elu(soma_tensor *x, double alpha) { return SOMA__RUN(&unary_ops[SOMA__U_elu], &SOMA_FLOAT("alpha", alpha), x); }
soma_tensor *soma_step(soma_tensor *x, double threshold) {
    return SOMA__RUN(&unary_ops[SOMA__U_step], &SOMA_FLOAT("threshold", threshold), x);
}
soma_tensor *soma_hardtanh(soma_tensor *x, double min, double max) {
    soma_attr attrs[] = {SOMA_FLOAT("min", min), SOMA_FLOAT("max", max)};
    return SOMA__RUN(&unary_ops[SOMA__U_hardtanh], attrs, x);
}
soma_tensor *soma_clamp(soma_tensor *x, double min, double max) {
    soma_attr attrs[] = {SOMA_FLOAT("min", min), SOMA_FLOAT("max", max)};
    return SOMA__RUN(&unary_ops[SOMA__U_clamp], attrs, x);
}

static soma_tensor *in_place(const soma_op *op, soma_tensor *x, const soma_attr *attrs) {
    soma_tensor *out;
    return soma__apply(op, &x, 1, attrs, &out, SOMA__IN_PLACE) ? out : NULL;
}
soma_tensor *soma_relu_(soma_tensor *x) { return in_place(&unary_ops[SOMA__U_relu], x, NULL); }
soma_tensor *soma_clamp_(soma_tensor *x, double min, double max) {
    soma_attr attrs[] = {SOMA_FLOAT("min", min), SOMA_FLOAT("max", max)};
    return in_place(&unary_ops[SOMA__U_clamp], x, attrs);
}
