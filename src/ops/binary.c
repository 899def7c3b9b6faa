/* Elementwise operators of two inputs and more: arithmetic, comparison, where, casts, copies, fills. */
#include "ops/elementwise.h"

#include <math.h>
#include <string.h>

static const soma_op binary_ops[SOMA__BINARY_COUNT], compare_ops[SOMA__COMPARE_COUNT];

/* ---- Gradients ---- */

/* b * a^(b-1), 0 where b is 0. The 1 has a's dtype: two numbers from C would meet in f32. */
static soma_tensor *soma__pow_slope(soma_tensor *a, soma_tensor *b) {
    soma_tensor *less = a ? soma_sub(b, soma_ones(SOMA_SCALAR, (soma_dtype)a->dtype)) : NULL;
    return soma_where(soma_eq(b, soma_scalar(0)), soma_scalar(0), soma_mul(b, soma_pow(a, less)));
}

/* a^b log(a), 0 where a is 0 and b >= 0. */
static soma_tensor *soma__pow_log(soma_tensor *a, soma_tensor *b) {
    soma_tensor *flat = soma_logical_and(soma_eq(a, soma_scalar(0)), soma_ge(b, soma_scalar(0)));
    return soma_where(flat, soma_scalar(0), soma_mul(soma_pow(a, b), soma_log(soma_where(flat, soma_scalar(1), a))));
}

/* 1 where a is chosen, 1/2 where both are equal. */
static soma_tensor *soma__share(soma_tensor *a, soma_tensor *b, bool larger) {
    soma_tensor *sure = larger ? soma_gt(a, b) : soma_lt(a, b), *maybe = larger ? soma_ge(a, b) : soma_le(a, b);
    return soma_mul_scalar(soma_add(soma_to(sure, SOMA_F32), soma_to(maybe, SOMA_F32)), 0.5);
}

#define UNARY(...)
#define PREDICATE(...)
#define COMPARE(...)
#define BINARY(name, kinds, expr, grad_a, grad_b, ...)                                                           \
    static void backward_##name(soma_grad_args *args) {                                                          \
        soma_tensor *g = args->gout[0], *a = args->in[0], *b = args->in[1];                                      \
        (void)a, (void)b;                                                                                        \
        if (args->need[0])                                                                                       \
            args->gin[0] = soma__sum_to(grad_a, &args->in_meta[0]);                                              \
        if (args->need[1])                                                                                       \
            args->gin[1] = soma__sum_to(grad_b, &args->in_meta[1]);                                              \
    }
#include "ops/elementwise.def"

/* ---- Entries ---- */

static const double no_params[2] = {0, 0};

static const char *binary_kernel(soma_args *a) {
    int i = (int)(a->op - binary_ops);
    soma_dtype d = (soma_dtype)a->out[0]->dtype;
    soma__run_rows(a->out[0], a->in, 2, SOMA__ROW(binary, i, d), SOMA__ROW(binary, i, SOMA_F32), no_params, true);
    return NULL;
}

static const char *compare_kernel(soma_args *a) {
    int i = (int)(a->op - compare_ops);
    soma_dtype d = (soma_dtype)a->in[0]->dtype;
    soma__run_rows(a->out[0], a->in, 2, SOMA__ROW(compare, i, d), SOMA__ROW(compare, i, SOMA_F32), no_params, true);
    return NULL;
}

static bool shape_compare(soma_args *a, soma_meta *out) {
    out->dtype = SOMA_BOOL;
    return soma__shape_broadcast(a, out);
}

static int64_t flops_each(soma_args *a) { return a->out[0]->numel; }

static const double domains[][2] = {
#define UNARY(...)
#define PREDICATE(...)
#define COMPARE(...)
#define BINARY(name, kinds, expr, grad_a, grad_b, need_a, need_b, low, high, ...) {low, high},
#include "ops/elementwise.def"
};

bool soma__samples_two(int i, soma_dtype dtype, double low, double high, soma_sample *s) {
    static const struct { int na; int64_t a[3]; int nb; int64_t b[3]; bool strided; } shapes[] = {
        {3, {2, 3, 5}, 3, {2, 3, 5}, false}, {2, {4, 5}, 2, {4, 5}, true}, {3, {2, 1, 5}, 2, {3, 1}, false},
        {2, {3, 4}, 0, {0}, false},          {0, {0}, 0, {0}, false},      {2, {0, 4}, 1, {4}, false},
        {1, {6}, 2, {3, 1}, true},           {3, {2, 2, 4}, 1, {1}, true}, {1, {1}, 3, {2, 1, 3}, false},
    };
    if (i >= (int)SOMA_LEN(shapes))
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, low, high, 10 + (uint64_t)i, shapes[i].na, shapes[i].a);
    s->in[1] = soma__sample(dtype, low, high, 20 + (uint64_t)i, shapes[i].nb, shapes[i].b);
    if (shapes[i].strided)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}

bool soma__errors_two(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t a[] = {2, 3}, b[] = {4};
    if (i > 0)
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, 1, 2, 1, 2, a);
    s->in[1] = soma__sample(dtype, 1, 2, 2, 1, b);
    s->status = SOMA_ESHAPE;
    s->error = "shapes [2, 3] and [4] do not broadcast";
    return true;
}

#define UNARY(...)
#define PREDICATE(...)
#define BINARY(name, ...)                                                                                        \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) {                                        \
        return soma__samples_two(i, dtype, domains[SOMA__B_##name][0], domains[SOMA__B_##name][1], s);                 \
    }
#define COMPARE(name, ...)                                                                                       \
    static bool samples_##name(int i, soma_dtype dtype, soma_sample *s) { return soma__samples_two(i, dtype, -2, 2, s); }
#include "ops/elementwise.def"

#define IN_A SOMA_SAVE_IN(0)
#define IN_B SOMA_SAVE_IN(1)
#define PROMOTE_NUMERIC SOMA_PROMOTE_SAME
#define PROMOTE_FLOATING SOMA_PROMOTE_FLOAT
#define DTYPES_NUMERIC SOMA_ANY
#define DTYPES_FLOATING SOMA_FLOATS

static const soma_op binary_ops[SOMA__BINARY_COUNT] = {
#define UNARY(...)
#define PREDICATE(...)
#define COMPARE(...)
#define BINARY(n, kinds, expr, grad_a, grad_b, need_a, need_b, low, high, onnx_, doc_)                                           \
    {.name = #n, .family = FAMILY, .doc = doc_, .onnx = onnx_, .in = {{.name = "a"}, {.name = "b"}}, .n_in = 2,                  \
     .outputs = 1, .dtypes = DTYPES_##kinds, .promote = PROMOTE_##kinds, .shape = soma__shape_broadcast, .keeps_order = true, .cpu = {binary_kernel}, \
     .backward = backward_##n, .saves_if = {need_a, need_b}, .in_place = true, .flops = flops_each, .samples = samples_##n,      \
     .errors = soma__errors_two, .range = "[" #low ", " #high "]"},
#include "ops/elementwise.def"
};

static const soma_op compare_ops[SOMA__COMPARE_COUNT] = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(n, expr, doc_, onnx_)                                                                                            \
    {.name = #n, .family = "comparison", .doc = "true where " doc_, .onnx = onnx_, .in = {{.name = "a"}, {.name = "b"}},         \
     .n_in = 2, .outputs = 1, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = shape_compare, .keeps_order = true, .cpu = {compare_kernel}, \
     .backward = SOMA_NONDIFF, .samples = samples_##n, .errors = soma__errors_two},
#include "ops/elementwise.def"
};

/* ---- where ---- */

static const char *where_kernel(soma_args *a) {
    size_t size = soma_dtype_size((soma_dtype)a->out[0]->dtype);
    soma__row_fn row = soma__casts.where[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
    soma_tensor *operands[4] = {a->out[0], a->in[0], a->in[1], a->in[2]};
    soma__iter it;
    soma__iter_init_any(&it, a->out[0]->ndim, a->out[0]->shape, operands, 4);
    /* Elements are moved, not computed with: no detour over f32 for the 16-bit floats. */
    soma__run_plain(&it, row);
    return NULL;
}

static void where_backward(soma_grad_args *g) {
    soma_tensor *zero = soma_scalar(0);
    if (g->need[1])
        g->gin[1] = soma__sum_to(soma_where(g->in[0], g->gout[0], zero), &g->in_meta[1]);
    if (g->need[2])
        g->gin[2] = soma__sum_to(soma_where(g->in[0], zero, g->gout[0]), &g->in_meta[2]);
}

static bool where_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_two(i, dtype, -3, 3, s))
        return false;
    s->n_in = 3;
    s->in[2] = s->in[1];
    s->in[1] = s->in[0];
    s->in[0] = soma__sample(SOMA_BOOL, 0, 1, 5, s->in[1] ? s->in[1]->ndim : 0, soma_shape(s->in[1]));
    return true;
}

static bool where_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__errors_two(i, dtype, s))
        return false;
    s->n_in = 3;
    s->in[2] = s->in[1];
    s->in[1] = s->in[0];
    s->status = SOMA_EDTYPE;
    s->in[0] = soma__sample(SOMA_F32, 0, 1, 5, 0, NULL);
    s->error = "input 'condition' has dtype f32, expected bool";
    return true;
}

static const soma_op where_op = {
    .name = "where", .family = "elementwise", .onnx = "Where", .doc = "a where the condition is true, else b",
    .in = {{.name = "condition", .dtypes = SOMA_BIT(SOMA_BOOL), .apart = true}, {.name = "a"}, {.name = "b"}}, .n_in = 3, .outputs = 1,
    .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .shape = soma__shape_broadcast, .keeps_order = true, .cpu = {where_kernel}, .backward = where_backward,
    .saves = SOMA_SAVE_IN(0), .no_grad_in = 1u, .samples = where_samples, .errors = where_errors,
};

soma_op_list soma__binary_ops = {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(name, ...) &binary_ops[SOMA__B_##name],
#define COMPARE(name, ...) &compare_ops[SOMA__C_##name],
#include "ops/elementwise.def"
    &where_op, NULL};

/* ---- C functions ---- */

#define B(name) \
    soma_tensor *soma_##name(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&binary_ops[SOMA__B_##name], NULL, a, b); }
B(add) B(sub) B(mul) B(div) B(pow) B(maximum) B(minimum)
#define C(name) \
    soma_tensor *soma_##name(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&compare_ops[SOMA__C_##name], NULL, a, b); }
C(eq) C(ne) C(lt) C(le) C(gt) C(ge) C(logical_and) C(logical_or)
soma_tensor *soma_where(soma_tensor *condition, soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&where_op, NULL, condition, a, b); }

soma_tensor *soma_add_scalar(soma_tensor *x, double v) { return soma_add(x, soma_scalar(v)); }
soma_tensor *soma_mul_scalar(soma_tensor *x, double v) { return soma_mul(x, soma_scalar(v)); }
soma_tensor *soma_pow_scalar(soma_tensor *x, double v) {
    if (v == 2)
        return soma_square(x);
    if (v == 0.5)
        return soma_sqrt(x);
    return soma_pow(x, soma_scalar(v));
}

#define IN_PLACE(name)                                                                                          \
    soma_tensor *soma_##name##_(soma_tensor *a, soma_tensor *b) {                                               \
        soma_tensor *out, *in[2] = {a, b};                                                                      \
        return soma__apply(&binary_ops[SOMA__B_##name], in, 2, NULL, &out, SOMA__IN_PLACE) ? out : NULL;        \
    }
IN_PLACE(add) IN_PLACE(sub) IN_PLACE(mul) IN_PLACE(div) IN_PLACE(pow)
