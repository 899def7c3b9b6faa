/* Gradients against central differences, in f64. */
#include <soma/autograd.h>
#include <soma/ops.h>

#include "base/base.h"
#include "tensor/tensor.h"

#include <math.h>

typedef struct check {
    soma_gradcheck_fn fn;
    void *user;
    soma_tensor *const *inputs;
    int n;
    soma_gradcheck_opts o;
} check;

/* The function weighted to one number: sum(fn(inputs) * weight), weights different for each element. */
static soma_tensor *weighted(soma_gradcheck_fn fn, void *user, soma_tensor *const *inputs, int n) {
    soma_tensor *out = fn(user, inputs, n);
    if (!out)
        return NULL;
    if (soma_dtype_of(out) != SOMA_F64) {
        soma_fail(SOMA_EDTYPE, "soma_gradcheck: the function gave %s, expected f64", soma_dtype_name(soma_dtype_of(out)));
        return NULL;
    }
    soma_tensor *weight = soma_empty(soma_ndim(out), soma_shape(out), SOMA_F64);
    for (int64_t i = 0; weight && i < soma_numel(weight); i++)
        ((double *)soma_data(weight))[i] = 0.5 + 0.25 * cos(1.0 + 1.7 * (double)i);
    return soma_sum(soma_mul(out, weight), SOMA_ALL, false);
}

static double value_at(const check *c) {
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    double v = soma_item(weighted(c->fn, c->user, c->inputs, c->n));
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    return v;
}

/* The k-th element in row-major order, whatever the strides. */

static soma_status compare(const check *c, int input, soma_tensor *grad, const char *what) {
    soma_tensor *x = c->inputs[input];
    for (int64_t k = 0; k < soma_numel(x); k++) {
        double *e = soma__element(x, k), old = *e;
        *e = old + c->o.eps;
        double up = value_at(c);
        *e = old - c->o.eps;
        double down = value_at(c);
        *e = old;
        double numeric = (up - down) / (2 * c->o.eps), analytic = *(double *)soma__element(grad, k);
        if (soma_error() != SOMA_OK)
            return soma_error();
        if (!(fabs(analytic - numeric) <= c->o.atol + c->o.rtol * fabs(numeric)))
            return soma_fail(SOMA_EINVAL, "%s of input %d, element %lld: analytic %.9g, numeric %.9g", what, input, (long long)k, analytic, numeric);
    }
    return SOMA_OK;
}

static int wanted(const check *c, soma_tensor **out, int *which) {
    int n = 0;
    for (int i = 0; i < c->n; i++)
        if (c->inputs[i] && soma_requires_grad(c->inputs[i])) {
            which[n] = i;
            out[n++] = c->inputs[i];
        }
    return n;
}

static soma_status run(const check *c, const char *what) {
    soma_tensor *leaves[16], *grads[16];
    int which[16], n = wanted(c, leaves, which);
    if (n == 0)
        return soma_fail(SOMA_EINVAL, "soma_gradcheck: no input requires a gradient");
    soma_scope scope = soma_scope_begin();
    soma_tensor *y = weighted(c->fn, c->user, c->inputs, c->n);
    soma_status status = y ? SOMA_OK : soma_error();
    if (y && soma_requires_grad(y))
        status = soma_grad_of(y, leaves, n, NULL, grads);
    else if (y)
        status = soma_fail(SOMA_ESTATE, "soma_gradcheck: the result does not depend on the inputs through recorded operators");
    for (int i = 0; i < n && status == SOMA_OK; i++)
        status = compare(c, which[i], grads[i], what);
    soma_scope_end(scope);
    return status;
}

/* For the second order: the gradients as a function, flattened into one vector. */
static soma_tensor *gradients_of(void *user, soma_tensor *const *inputs, int n) {
    const check *c = user;
    soma_tensor *leaves[16], *grads[16];
    int which[16], m = wanted(c, leaves, which);
    bool was = soma_set_grad_enabled(true);
    soma_tensor *y = weighted(c->fn, c->user, inputs, n), *all = NULL;
    if (y && soma_grad_of(y, leaves, m, &(soma_backward_opts){.create_graph = true}, grads) == SOMA_OK) {
        for (int i = 0; i < m; i++)
            grads[i] = soma_reshape(grads[i], 1, (const int64_t[]){-1});
        all = m > 1 ? soma_cat(grads, m, 0) : grads[0];
    }
    soma_set_grad_enabled(was);
    return all;
}

/* A gradient that is the same everywhere has no second derivative to record. */
static bool second_exists(const check *c) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *g = gradients_of((void *)(uintptr_t)c, c->inputs, c->n);
    bool exists = g && soma_requires_grad(g);
    soma_scope_end(scope);
    return exists;
}

soma_status soma_gradcheck(soma_gradcheck_fn fn, void *user, soma_tensor *const *inputs, int n, const soma_gradcheck_opts *opts) {
    if (soma_error() != SOMA_OK)
        return soma_error();
    if (n < 1 || n > 16)
        return soma_fail(SOMA_EINVAL, "soma_gradcheck: 1 to 16 inputs, not %d", n);
    for (int i = 0; i < n; i++)
        if (inputs[i] && soma_requires_grad(inputs[i]) && soma_dtype_of(inputs[i]) != SOMA_F64)
            return soma_fail(SOMA_EDTYPE, "soma_gradcheck: input %d is %s, expected f64", i, soma_dtype_name(soma_dtype_of(inputs[i])));
    check c = {fn, user, inputs, n, opts ? *opts : (soma_gradcheck_opts){0}};
    c.o.eps = c.o.eps > 0 ? c.o.eps : 1e-6;
    c.o.atol = c.o.atol > 0 ? c.o.atol : 1e-5;
    c.o.rtol = c.o.rtol > 0 ? c.o.rtol : 1e-3;
    soma_status status = run(&c, "gradient");
    if (status != SOMA_OK || c.o.order < 2 || !second_exists(&c))
        return soma_error();
    check second = {gradients_of, &c, inputs, n, c.o};
    return run(&second, "second derivative");
}
