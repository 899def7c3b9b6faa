/* Least squares and ridge regression in closed form, and principal components: all from one singular value decomposition
 * x = U diag(s) Vᵀ of the centred x. */
#include "classic/classic.h"

#include <soma/linalg.h>

#include <float.h>
#include <math.h>

/* weight = (V diag(f(s)) Uᵀ y)ᵀ with f(s) = s / (s² + alpha); directions whose s is rounding noise are left out. */
static soma_tensor *solve(const soma__classic *c, double alpha) {
    soma_tensor *u, *s, *vh;
    if (soma_svd(c->x, false, &u, &s, &vh) != SOMA_OK)
        return NULL;
    soma_tensor *factor = soma_clone(s);
    double *f = factor ? soma_data(factor) : NULL;
    double largest = f && soma_numel(s) > 0 ? f[0] : 0, least = largest * DBL_EPSILON * (double)SOMA_MAX(c->n, c->p);
    for (int64_t i = 0; f && i < soma_numel(s); i++)
        f[i] = f[i] > least ? f[i] / (f[i] * f[i] + alpha) : 0;
    soma_tensor *uy = soma_matmul(soma_transpose(u, 0, 1), c->y);
    return soma_transpose(soma_matmul(soma_transpose(vh, 0, 1), soma_mul(soma_unsqueeze(factor, 1), uy)), 0, 1);
}

static soma_module *fit(const char *name, soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, bool ridge, soma_classic_report *report) {
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    soma__classic c = {0};
    soma_module *m = NULL;
    if (soma__classic_regression(&c, name, x, y, opts)) {
        double alpha = ridge ? c.o.alpha : 0;
        soma_tensor *w = solve(&c, alpha);
        if (report && w) {
            double error = soma__classic_sum(soma_square(soma_sub(c.y, soma_matmul(c.x, soma_transpose(w, 0, 1)))));
            *report = (soma_classic_report){.converged = true};
            report->objective = ridge ? error + alpha * soma__classic_sum(soma_square(w)) : error / (2.0 * (double)c.n);
        }
        m = soma__classic_regressor(&c, w, report);
    }
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    return m;
}

soma_module *soma_linear_regression_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report) {
    return fit("linear_regression", x, y, opts, false, report);
}
soma_module *soma_ridge_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report) {
    return fit("ridge", x, y, opts, true, report);
}

/* ---- Principal components ---------------------------------------------------------------------------------------------------- */

/* A component and its negative span the same line; the largest entry decides. */
static void fix_signs(soma_tensor *components) {
    double *v = soma_data(components);
    int64_t p = soma_size(components, 1);
    for (int64_t i = 0; i < soma_size(components, 0); i++, v += p) {
        int64_t at = 0;
        for (int64_t j = 1; j < p; j++)
            if (fabs(v[j]) > fabs(v[at]))
                at = j;
        const double sign = v[at] < 0 ? -1 : 1;
        for (int64_t j = 0; j < p; j++)
            v[j] *= sign;
    }
}

static bool components(soma__classic *c, int64_t k, soma_pca_result *r) {
    soma_tensor *u, *s, *vh;
    r->mean = soma_mean(c->x, SOMA_DIMS(0), false);
    if (soma_svd(soma_sub(c->x, r->mean), false, &u, &s, &vh) != SOMA_OK)
        return false;
    soma_tensor *variance = soma_mul_scalar(soma_square(s), 1.0 / (double)(c->n - 1));
    double all = soma__classic_sum(variance);
    r->components = soma_clone(soma_slice(vh, 0, 0, k, 1));
    if (!r->components)
        return false;
    fix_signs(r->components);
    r->singular_values = soma_slice(s, 0, 0, k, 1);
    r->variance = soma_slice(variance, 0, 0, k, 1);
    r->ratio = soma_mul_scalar(r->variance, all > 0 ? 1 / all : 0);
    soma_tensor **each[] = {&r->components, &r->mean, &r->variance, &r->ratio, &r->singular_values};
    for (size_t i = 0; i < SOMA_LEN(each); i++)
        *each[i] = soma_escape(soma_clone(soma_to(*each[i], c->dtype)));
    return !soma__failed();
}

soma_status soma_pca(soma_tensor *x, int64_t k, soma_pca_result *out) {
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    soma__classic c = {0};
    soma_pca_result r = {0};
    if (soma__classic_x(&c, "pca", x)) {
        int64_t most = SOMA_MIN(c.n, c.p);
        if (k < 0 || k > most || c.n < 2)
            soma_fail(SOMA_EINVAL, "pca: %lld components of %lld samples with %lld features; at most %lld, and at least 2 samples", (long long)k,
                      (long long)c.n, (long long)c.p, (long long)most);
        else
            components(&c, k ? k : most, &r);
    }
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    if (soma__failed())
        return soma__ctx()->error;
    r.size = out->size;
    *out = r;
    return SOMA_OK;
}

static soma_module *projection(const soma_pca_result *pca, bool inverse) {
    if (soma__failed() || !pca || !pca->components)
        return NULL;
    soma_scope scope = soma_scope_begin();
    soma__classic c = {.name = "pca", .dtype = soma_dtype_of(pca->components)};
    soma_tensor *v = soma_to(pca->components, SOMA_F64), *mean = soma_to(pca->mean, SOMA_F64);
    soma_module *m = inverse ? soma__classic_module(&c, soma_transpose(v, 0, 1), mean, NULL)
                             : soma__classic_module(&c, v, soma_neg(soma_matmul(v, mean)), NULL);
    soma_scope_end(scope);
    return m;
}
soma_module *soma_pca_module(const soma_pca_result *pca) { return projection(pca, false); }
soma_module *soma_pca_inverse_module(const soma_pca_result *pca) { return projection(pca, true); }
