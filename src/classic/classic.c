/* Inputs and results that all classical models share. */
#include "classic/classic.h"

#include <math.h>
#include <string.h>

/* NaN and infinity are named with their place: a fit would only spread them. */
static bool all_finite(const char *name, const char *what, soma_tensor *t) {
    const double *v = soma_data(t);
    int64_t n = soma_numel(t), columns = soma_ndim(t) > 1 ? soma_size(t, 1) : 1;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i])) {
            soma_fail(SOMA_EINVAL, "%s: %s has %g in row %lld, column %lld; give finite numbers", name, what, v[i], (long long)(i / columns),
                      (long long)(i % columns));
            return false;
        }
    return true;
}

bool soma__classic_x(soma__classic *c, const char *name, soma_tensor *x) {
    char text[SOMA__SHAPE_TEXT];
    c->name = name;
    if (soma__failed())
        return false;
    if (!x) {
        soma_fail(SOMA_EINVAL, "%s: x is NULL", name);
        return false;
    }
    if (soma_ndim(x) != 2 || soma_numel(x) == 0) {
        soma_fail(SOMA_ESHAPE, "%s: x is %s, expected [samples, features], neither 0", name,
                  soma__shape_text(soma_ndim(x), soma_shape(x), text, sizeof text));
        return false;
    }
    c->n = soma_size(x, 0);
    c->p = soma_size(x, 1);
    c->dtype = soma_dtype_is_float(soma_dtype_of(x)) ? soma_dtype_of(x) : SOMA_F32;
    c->x = soma_contiguous(soma_to(soma_detach(x), SOMA_F64));
    return c->x && all_finite(name, "x", c->x);
}

static bool same_rows(const soma__classic *c, soma_tensor *y, int most_dims) {
    char text[SOMA__SHAPE_TEXT];
    if (!y) {
        soma_fail(SOMA_EINVAL, "%s: y is NULL", c->name);
        return false;
    }
    if (soma_ndim(y) < 1 || soma_ndim(y) > most_dims || soma_size(y, 0) != c->n || soma_numel(y) == 0) {
        soma_fail(SOMA_ESHAPE, "%s: y is %s, expected [%lld]%s for %lld samples", c->name,
                  soma__shape_text(soma_ndim(y), soma_shape(y), text, sizeof text), (long long)c->n, most_dims > 1 ? " or [samples, targets]" : "",
                  (long long)c->n);
        return false;
    }
    return true;
}

static bool read_options(soma__classic *c, const soma_classic_opts *opts) {
    if (opts)
        memcpy(&c->o, opts, SOMA_MIN(opts->size ? opts->size : sizeof c->o, sizeof c->o));
    soma_classic_opts *o = &c->o;
    o->alpha = o->alpha == 0 ? 1 : o->alpha < 0 ? 0 : o->alpha;
    o->l1_ratio = o->l1_ratio == 0 ? 0.5 : o->l1_ratio;
    o->c = o->c == 0 ? 1 : o->c;
    o->tol = o->tol == 0 ? 1e-8 : o->tol;
    if (!isfinite(o->alpha) || !(o->l1_ratio > 0 && o->l1_ratio <= 1) || !(o->c > 0) || !(o->tol > 0) || o->max_iter < 0) {
        soma_fail(SOMA_EINVAL, "%s: alpha %g, l1_ratio %g, c %g, tol %g, max_iter %lld: expected a finite alpha, 0 < l1_ratio <= 1 (0 of L1 is "
                               "ridge), c > 0, tol > 0", c->name, o->alpha, o->l1_ratio, o->c, o->tol, (long long)o->max_iter);
        return false;
    }
    return true;
}

bool soma__classic_regression(soma__classic *c, const char *name, soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts) {
    if (!soma__classic_x(c, name, x) || !same_rows(c, y, 2) || !read_options(c, opts))
        return false;
    c->m = soma_ndim(y) == 2 ? soma_size(y, 1) : 1;
    c->y = soma_contiguous(soma_to(soma_reshape(soma_detach(y), SOMA_SHAPE(c->n, c->m)), SOMA_F64));
    if (!c->y || !all_finite(name, "y", c->y))
        return false;
    bool centre = !c->o.no_intercept;
    c->x_mean = centre ? soma_mean(c->x, SOMA_DIMS(0), false) : soma_zeros(SOMA_SHAPE(c->p), SOMA_F64);
    c->y_mean = centre ? soma_mean(c->y, SOMA_DIMS(0), false) : soma_zeros(SOMA_SHAPE(c->m), SOMA_F64);
    c->x = soma_sub(c->x, c->x_mean);
    c->y = soma_sub(c->y, c->y_mean);
    return !soma__failed();
}

bool soma__classic_classes(soma__classic *c, const char *name, soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts) {
    if (!soma__classic_x(c, name, x) || !same_rows(c, y, 1) || !read_options(c, opts))
        return false;
    if (soma_dtype_is_float(soma_dtype_of(y))) {
        soma_fail(SOMA_EDTYPE, "%s: y is %s, expected whole numbers, the classes 0 … K-1", name, soma_dtype_name(soma_dtype_of(y)));
        return false;
    }
    c->y = soma_contiguous(soma_to(y, SOMA_I64));
    const int64_t *v = c->y ? soma_data(c->y) : NULL;
    int64_t largest = 0, first = v ? v[0] : 0;
    bool differ = false;
    for (int64_t i = 0; v && i < c->n; i++) {
        if (v[i] < 0 || v[i] >= 65536) {
            soma_fail(SOMA_EINVAL, "%s: y[%lld] is %lld, expected a class from 0 on", name, (long long)i, (long long)v[i]);
            return false;
        }
        largest = SOMA_MAX(largest, v[i]);
        differ |= v[i] != first;
    }
    if (v && !differ) {
        soma_fail(SOMA_EINVAL, "%s: all of y is class %lld; there is nothing to tell apart", name, (long long)first);
        return false;
    }
    c->m = largest + 1;
    return v != NULL;
}

soma_module *soma__classic_module(const soma__classic *c, soma_tensor *weight, soma_tensor *bias, soma_classic_report *report) {
    if (soma__failed() || !weight)
        return NULL;
    int64_t out = soma_size(weight, 0), zeros = 0;
    soma_module *m = soma_nn_linear(soma_size(weight, 1), out, .no_bias = bias == NULL);
    soma_nn_add_param(m, "weight", soma_clone(soma_to(weight, c->dtype)));
    if (bias)
        soma_nn_add_param(m, "bias", soma_clone(soma_to(bias, c->dtype)));
    if (soma__failed()) {
        soma_nn_free(m);
        return NULL;
    }
    soma_nn_train(m, false);
    if (report) {
        soma_tensor *dense = soma_contiguous(weight);
        const double *w = soma_data(dense);
        for (int64_t i = 0; i < soma_numel(weight); i++)
            zeros += w[i] == 0;
        report->zeros = zeros;
    }
    return m;
}

soma_module *soma__classic_regressor(const soma__classic *c, soma_tensor *weight, soma_classic_report *report) {
    soma_tensor *bias = c->o.no_intercept ? NULL : soma_sub(c->y_mean, soma_matmul(weight, c->x_mean));
    return soma__classic_module(c, weight, bias, report);
}
