/* What the files of src/classic share: checked inputs in f64, and the fitted module. */
#ifndef SOMA_SRC_CLASSIC_H
#define SOMA_SRC_CLASSIC_H

#include "base/base.h"

#include <soma/classic.h>

/* Inputs of a fit, tensors of the current scope. */
typedef struct soma__classic {
    const char *name;      /* of the public function, for messages */
    int64_t n, p, m;       /* samples, features, outputs (regression) or classes (classification) */
    soma_tensor *x, *y;    /* f64 [n, p] and [n, m], row-major; classification: y i64 [n] */
    soma_tensor *x_mean, *y_mean; /* [p], [m]: what was taken away, zeros without an intercept */
    soma_dtype dtype;      /* of the caller's x, if that is a float; else f32 */
    soma_classic_opts o;   /* defaults filled in where all models agree */
} soma__classic;

/* Fill `c`; false with the error recorded. Regression centres x and y when there is an intercept. */
bool soma__classic_x(soma__classic *c, const char *name, soma_tensor *x);
bool soma__classic_regression(soma__classic *c, const char *name, soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts);
bool soma__classic_classes(soma__classic *c, const char *name, soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts);
/* A Linear module with weight [out, p] and bias [out] (NULL: none), given in f64. */
soma_module *soma__classic_module(const soma__classic *c, soma_tensor *weight, soma_tensor *bias, soma_classic_report *report);
/* The module of a regression on centred data: bias = y_mean - weight x_mean. */
soma_module *soma__classic_regressor(const soma__classic *c, soma_tensor *weight, soma_classic_report *report);
static inline double soma__classic_sum(soma_tensor *t) { return soma_item(soma_sum(t, SOMA_ALL, false)); }

#endif
