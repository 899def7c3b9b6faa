/* Tables of elementwise kernels: one row of elements each, pointers and byte strides; p[0] is the output. */
#ifndef SOMA_SRC_KERNELS_ELEMENTWISE_H
#define SOMA_SRC_KERNELS_ELEMENTWISE_H

#include <soma/tensor.h>

#include "kernels/cpu/isa.h"

/* A row: `n` elements; P: the operator's attributes as numbers. Output and input may be the same memory. */
typedef void (*soma__row_fn)(char *const *p, const int64_t *stride, int64_t n, const double *P);

enum {
#define UNARY(name, ...) SOMA__U_##name,
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    SOMA__UNARY_COUNT
};
enum {
#define UNARY(...)
#define PREDICATE(name, ...) SOMA__P_##name,
#define BINARY(...)
#define COMPARE(...)
#include "ops/elementwise.def"
    SOMA__PREDICATE_COUNT
};
enum {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(name, ...) SOMA__B_##name,
#define COMPARE(...)
#include "ops/elementwise.def"
    SOMA__BINARY_COUNT
};
enum {
#define UNARY(...)
#define PREDICATE(...)
#define BINARY(...)
#define COMPARE(name, ...) SOMA__C_##name,
#include "ops/elementwise.def"
    SOMA__COMPARE_COUNT
};

/* f32, by operator: once per instruction set. */
typedef struct soma__elementwise_kernels {
    soma__row_fn unary[SOMA__UNARY_COUNT];
    soma__row_fn slope[SOMA__UNARY_COUNT]; /* p: gradient in, gradient out's factor: out = g * derivative(saved) */
    soma__row_fn predicate[SOMA__PREDICATE_COUNT], binary[SOMA__BINARY_COUNT], compare[SOMA__COMPARE_COUNT];
} soma__elementwise_kernels;
SOMA__FAMILY(soma__elementwise_kernels, soma__elementwise)

/* The same for the other dtypes, once in all. NULL: f32, the halves, and dtypes that the operator does not take. */
typedef struct soma__elementwise_wide_kernels {
    soma__row_fn unary[SOMA__UNARY_COUNT][SOMA_DTYPE_COUNT], slope[SOMA__UNARY_COUNT][SOMA_DTYPE_COUNT];
    soma__row_fn predicate[SOMA__PREDICATE_COUNT][SOMA_DTYPE_COUNT], binary[SOMA__BINARY_COUNT][SOMA_DTYPE_COUNT];
    soma__row_fn compare[SOMA__COMPARE_COUNT][SOMA_DTYPE_COUNT];
} soma__elementwise_wide_kernels;
extern const soma__elementwise_wide_kernels soma__elementwise_wide;

typedef struct soma__cast_kernels {
    soma__row_fn where[4];                                 /* by element size 1, 2, 4, 8 */
    soma__row_fn cast[SOMA_DTYPE_COUNT][SOMA_DTYPE_COUNT]; /* [to][from] */
} soma__cast_kernels;
extern const soma__cast_kernels soma__casts;

#endif
