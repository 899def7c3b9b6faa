/* Regularisation of weights: the penalty in the loss, the proximal step that really zeroes, the limit on the norm of a unit's weights,
 * noise on gradients. Weights are parameters of two dimensions or more: biases and the scales of normalisation are left alone. Updates are
 * operators, without recording. */
#include "optim/optim.h"

static bool is_weight(const soma_tensor *t) { return soma_ndim(t) >= 2; }

static bool numbers_ok(const char *who, double a, double b) {
    if (a >= 0 && b >= 0 && isfinite(a) && isfinite(b))
        return true;
    soma_fail(SOMA_EINVAL, "%s: the strengths must be at least 0, not %g and %g", who, a, b);
    return false;
}

/* The penalty of one weight: l1 sum |w| + l2 / 2 sum w^2. */
static soma_tensor *penalty_of(soma_tensor *w, double l1, double l2) {
    soma_tensor *size = l1 > 0 ? soma_mul_scalar(soma_sum(soma_abs(w), SOMA_ALL, false), l1) : NULL;
    soma_tensor *square = l2 > 0 ? soma_mul_scalar(soma_sum(soma_square(w), SOMA_ALL, false), l2 / 2) : NULL;
    return size && square ? soma_add(size, square) : size ? size : square;
}

soma_tensor *soma_penalty(soma_module *net, double l1, double l2) {
    if (soma__failed() || !numbers_ok("soma_penalty", l1, l2))
        return NULL;
    int n = net ? soma_nn_named(net, false, NULL, 0) : -1;
    if (n < 0) {
        soma_fail(SOMA_EINVAL, "soma_penalty: needs a network");
        return NULL;
    }
    soma_named *named = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *named);
    soma_tensor *sum = NULL;
    if (!named)
        return NULL;
    n = soma_nn_named(net, false, named, n);
    for (int i = 0; i < n && !soma__failed(); i++) {
        soma_tensor *one = is_weight(named[i].tensor) ? penalty_of(named[i].tensor, l1, l2) : NULL;
        sum = sum && one ? soma_add(sum, one) : one ? one : sum;
    }
    soma__free(named);
    return soma__failed() ? NULL : sum ? sum : soma_zeros(SOMA_SCALAR, SOMA_F32);
}

typedef void (*update_fn)(soma_optim *opt, soma__optim_param *p, const double *numbers);

/* Calls `update` for every parameter, each in a scope of its own. */
static soma_status for_each(soma_optim *opt, update_fn update, const double *numbers) {
    bool grad = soma_set_grad_enabled(false);
    for (int i = 0; i < opt->n_params && !soma__failed(); i++) {
        soma_scope scope = soma_scope_begin();
        if (scope.depth >= 0)
            update(opt, &opt->params[i], numbers);
        soma_scope_end(scope);
    }
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

/* w - clamp(w, -t, t) is 0 exactly up to t. */
static void proximal(soma_optim *opt, soma__optim_param *p, const double *strength) {
    double lr = soma_optim_lr(opt, p->group), t = lr * strength[0];
    if (!is_weight(p->tensor))
        return;
    if (t > 0)
        soma_sub_(p->tensor, soma_clamp(p->tensor, -t, t));
    if (strength[1] > 0)
        soma_mul_(p->tensor, soma_scalar(1 / (1 + lr * strength[1])));
}

soma_status soma_proximal_step(soma_optim *opt, double l1, double l2) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!opt)
        return soma_fail(SOMA_EINVAL, "soma_proximal_step: the optimiser is NULL");
    return numbers_ok("soma_proximal_step", l1, l2) ? for_each(opt, proximal, (const double[]){l1, l2}) : soma__ctx()->error;
}

static void limit_rows(soma_optim *opt, soma__optim_param *p, const double *limit) {
    (void)opt;
    int64_t dims[SOMA_MAX_DIMS];
    int n = soma_ndim(p->tensor) - 1;
    if (n < 1)
        return;
    for (int d = 0; d < n; d++)
        dims[d] = d + 1;
    soma_tensor *norm = soma_norm(p->tensor, n, dims, true);
    soma_tensor *factor = soma_div(soma_scalar(*limit), soma_add_scalar(norm, 1e-7)); /* as torch.renorm */
    soma_mul_(p->tensor, soma_clamp(factor, 0, 1));
}

soma_status soma_max_norm(soma_optim *opt, double limit) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!opt || !(limit > 0))
        return soma_fail(SOMA_EINVAL, "soma_max_norm: the limit must be above 0, not %g", limit);
    return for_each(opt, limit_rows, &limit);
}

static void add_noise(soma_optim *opt, soma__optim_param *p, const double *std) {
    soma_tensor *g = soma_grad(p->tensor);
    (void)opt;
    if (g)
        soma_add_(g, soma_mul_scalar(soma_randn(soma_ndim(g), soma_shape(g), soma_dtype_of(g)), *std));
}

soma_status soma_add_grad_noise(soma_optim *opt, double std) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!opt || !(std >= 0) || !isfinite(std))
        return soma_fail(SOMA_EINVAL, "soma_add_grad_noise: the deviation must be at least 0, not %g", std);
    return for_each(opt, add_noise, &std);
}
