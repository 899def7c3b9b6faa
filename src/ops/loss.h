/* What the files of losses share: loss.c (kernels, element by element), classes.c (kernels, classes), loss_*.c (composites). */
#ifndef SOMA_SRC_LOSS_H
#define SOMA_SRC_LOSS_H

#include "ops/op.h"

extern const soma_op soma__class_entropy_op, soma__cross_entropy_backward_op, soma__nll_loss_op, soma__class_coefficients_op;

#define SOMA__REDUCTION(more) SOMA_DEF_INT("reduction", SOMA_MEAN, "0: mean, 1: sum, 2: none, 3: batchmean, the sum / size of dimension 0" more)
#define SOMA__REDUCTION_ATTR SOMA__REDUCTION("")
/* False with an error unless `reduction` is one of those up to `last`. */
bool soma__check_reduction(const char *op, int64_t reduction, soma_reduction last);
/* The sum of n values of f32 or f64: pieces of a fixed size, in order. */
double soma__sum_values(const void *values, int64_t n, bool f64);
soma_loss_opts soma__loss_defaults(const soma_loss_opts *opts);
/* An option of which 0 means `normal` and what is below 0 means 0. */
static inline double soma__loss_option(double v, double normal) { return v > 0 ? v : v < 0 ? 0 : normal; }

/* ---- For composites ---- */

/* Input i in at least 32 bits: f16 and bf16 are computed in f32 and rounded once. */
soma_tensor *soma__loss_in(const soma_args *a, int i);
/* False with an error unless inputs i and j have the same shape. */
bool soma__loss_shapes(const soma_args *a, int i, int j);
/* False with the first value outside [low, high] of input i, or with `ends` other than one of the two, and its place. NaN is outside.
 * `expected`: "0 to 1". */
bool soma__loss_range(const soma_args *a, int i, double low, double high, bool ends, const char *expected);
/* "[3, 0]", the place of element i of t. */
const char *soma__loss_place(const soma_tensor *t, int64_t i, char *out);
/* False with an error that names the place unless all targets are classes 0 … classes - 1, or `ignore`. */
bool soma__check_classes(const char *op, const soma_tensor *target, int64_t classes, int64_t ignore);
/* Puts the losses `each` (NULL: an error is pending), reduced as the attribute "reduction" says and in the inputs' dtype, into a->out[0]. */
bool soma__loss_reduce(soma_args *a, soma_tensor *each);
/* The logistic loss of raw scores by its kernel; mse and others of two inputs and one attribute. */
soma_tensor *soma__bce_plain(soma_tensor *x, soma_tensor *target, int64_t reduction);
soma_tensor *soma__loss_run(const soma_op *op, soma_tensor *x, soma_tensor *target, int64_t reduction);

/* Samples of two inputs of one shape; t_low = t_high: targets are -1 and 1. Every other sample gets the attribute `other` (NULL: none). */
bool soma__loss_sample(int i, soma_dtype dtype, soma_sample *s, double x_low, double x_high, double t_low, double t_high, const soma_attr *other);
/* Bad inputs: shapes, the reduction, and with `text` a target with the value `bad` at [1, 2]. */
bool soma__loss_error(int i, soma_dtype dtype, soma_sample *s, double bad, const char *text);
soma_tensor *soma__loss_signs(soma_dtype dtype, uint64_t salt, int ndim, const int64_t *shape);

#define SOMA__PAIR_LOSS .family = "loss", .in = {{.name = "input"}, {.name = "target"}}, .n_in = 2, .outputs = 1, .dtypes = SOMA_FLOATS, \
    .promote = SOMA_PROMOTE_FLOAT, .backward = SOMA_COMPOSED

#endif
