/* Entries of elementwise composites in one macro each: the compose function, samples and the entry. The expression is of x, or of u and v;
 * NUMBER(i) is the i-th attribute. More fields of the entry may follow the doc.
 *
 *   kinds  FLOATING: floats, integers become f32. NUMERIC: any number. SAME: floats as they are.
 *          FLAT and FLATS: any number, FLATS bool too, without a gradient; FREE: any dtypes, not brought to a common one. BITS: integers and bool. */
#ifndef SOMA_SRC_OPS_COMPOSED_H
#define SOMA_SRC_OPS_COMPOSED_H

#include "ops/elementwise.h"

#define NUMBER(i) soma__attr_float(a, i)

#define KIND_FLOATING .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .backward = SOMA_COMPOSED, .in_place = true
#define KIND_SAME .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED, .in_place = true
#define KIND_NUMERIC .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED, .in_place = true
#define KIND_FREE .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_NONE, .backward = SOMA_COMPOSED
#define KIND_FLAT .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_NONDIFF
#define KIND_BITS .dtypes = SOMA_INTEGERS | SOMA_BIT(SOMA_BOOL), .promote = SOMA_PROMOTE_SAME, .backward = SOMA_NONDIFF, .in_place = true
#define KIND_FLATS .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_NONDIFF

#define COMPOSE(n, expression)                              \
    static bool n##_compose(soma_args *a) {                 \
        return soma__return(a, (expression));               \
    }
#define COMPOSE1(n, expression)                             \
    static bool n##_compose(soma_args *a) {                 \
        soma_tensor *x = a->in[0];                          \
        return soma__return(a, (expression));               \
    }
#define COMPOSE2(n, expression)                             \
    static bool n##_compose(soma_args *a) {                 \
        soma_tensor *u = a->in[0], *v = a->in[1];           \
        return soma__return(a, (expression));               \
    }
/* The operator inside that finds out may have them in another order. */
static inline bool soma__errors_composed(int i, soma_dtype dtype, soma_sample *s) {
    bool have = soma__errors_two(i, dtype, s);
    s->error = "do not broadcast";
    return have;
}
#define SAMPLES(n, count, low, high) \
    static bool n##_samples(int i, soma_dtype dtype, soma_sample *s) { return soma__samples_##count(i, dtype, low, high, s); }
#define ENTRY1(n, group, kinds, low, high, onnx_, ...)                                                                  \
    SAMPLES(n, one, low, high)                                                                                          \
    static const soma_op n##_op = {                                                                                     \
        .name = #n, .family = group, .onnx = onnx_, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, KIND_##kinds,       \
        .compose = n##_compose, .samples = n##_samples, .errors = soma__errors_one, .range = "[" #low ", " #high "]",   \
        .doc = __VA_ARGS__,                                                                                             \
    };
#define ENTRY2(n, group, kinds, low, high, onnx_, ...)                                                                  \
    SAMPLES(n, two, low, high)                                                                                          \
    static const soma_op n##_op = {                                                                                     \
        .name = #n, .family = group, .onnx = onnx_, .in = {{.name = "a"}, {.name = "b"}}, .n_in = 2, .outputs = 1,      \
        KIND_##kinds, .compose = n##_compose, .samples = n##_samples, .errors = soma__errors_composed,                       \
        .range = "[" #low ", " #high "]", .doc = __VA_ARGS__,                                                           \
    };
#define ONE(n, group, kinds, expression, low, high, onnx_, ...) \
    COMPOSE1(n, expression) ENTRY1(n, group, kinds, low, high, onnx_, __VA_ARGS__)
#define TWO(n, group, kinds, expression, low, high, onnx_, ...) \
    COMPOSE2(n, expression) ENTRY2(n, group, kinds, low, high, onnx_, __VA_ARGS__)

#endif
