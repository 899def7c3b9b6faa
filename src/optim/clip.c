/* Gradient clipping. The norm is summed in f64, in chunks of a fixed size and in a fixed order, so that its bits do not depend
 * on the number of threads. */
#include "kernels/cpu/optim.h"
#include "optim/optim.h"

#include <math.h>

enum { CHUNK = 16384 };

typedef struct squares {
    const void *data;
    soma_dtype dtype;
    int64_t n;
    double *sums; /* one a chunk */
} squares;

static void chunks(void *arg, int64_t begin, int64_t end) {
    const squares *s = arg;
    const soma__optim_kernels *k = soma__optim_kernels_pick();
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i * CHUNK, n = SOMA_MIN((int64_t)CHUNK, s->n - at);
        s->sums[i] = s->dtype == SOMA_F64 ? k->squares_f64((const double *)s->data + at, n) : k->squares_f32((const float *)s->data + at, n);
    }
}

/* The sum of squares of one gradient; NaN with an error when memory is short. */
static double sum_of_squares(soma_tensor *g) {
    if (soma_dtype_of(g) != SOMA_F64)
        g = soma_to(g, SOMA_F32);
    g = soma_contiguous(g);
    if (!g)
        return NAN;
    squares s = {.data = soma_data(g), .dtype = soma_dtype_of(g), .n = soma_numel(g)};
    int64_t n = (s.n + CHUNK - 1) / CHUNK;
    s.sums = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *s.sums);
    if (!s.sums)
        return NAN;
    soma__parallel(n, 1, chunks, &s);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += s.sums[i];
    soma__free(s.sums);
    return sum;
}

/* The sum of |g|^type, or the largest |g|, in f64. */
static double sum_of_powers(soma_tensor *g, double type) {
    g = soma_abs(soma_to(g, SOMA_F64));
    if (isinf(type))
        return soma_numel(g) > 0 ? soma_item(soma_amax(g, 0, NULL, false)) : 0;
    return soma_item(soma_sum(type == 1 ? g : soma_pow_scalar(g, type), 0, NULL, false));
}

static double total_powers(soma_optim *opt, double type) {
    double total = 0;
    for (int i = 0; i < opt->n_params && !soma__failed(); i++) {
        soma_tensor *g = soma_grad(opt->params[i].tensor);
        if (!g)
            continue;
        soma_scope scope = soma_scope_begin();
        double sum = scope.depth < 0 ? NAN : type == 2 ? sum_of_squares(g) : sum_of_powers(g, type);
        soma_scope_end(scope);
        total = isinf(type) ? fmax(total, sum) : total + sum;
        if (!soma__failed() && !isfinite(sum)) {
            const char *name = opt->params[i].name;
            if (name)
                soma_fail(SOMA_ENAN, "the gradient of '%s' has values that are NaN or infinite", name);
            else
                soma_fail(SOMA_ENAN, "the gradient of parameter %d has values that are NaN or infinite", i);
        }
    }
    return total;
}

double soma_clip_grad_norm(soma_optim *opt, double max_norm) { return soma_clip_grad_norm_type(opt, max_norm, 2); }

double soma_clip_grad_norm_type(soma_optim *opt, double max_norm, double type) {
    if (soma__failed())
        return NAN;
    if (!(type > 0)) {
        soma_fail(SOMA_EINVAL, "soma_clip_grad_norm: the norm's type must be above 0, not %g", type);
        return NAN;
    }
    if (!opt || !(max_norm >= 0)) {
        soma_fail(SOMA_EINVAL, "soma_clip_grad_norm: the norm must be at least 0, not %g", max_norm);
        return NAN;
    }
    bool grad = soma_set_grad_enabled(false);
    double total = total_powers(opt, type), norm = type == 2 ? sqrt(total) : isinf(type) ? total : pow(total, 1 / type);
    double factor = max_norm / (norm + 1e-6); /* as torch.nn.utils.clip_grad_norm_ */
    soma_scope scope = soma_scope_begin();
    soma_tensor *scale = soma__failed() || factor >= 1 ? NULL : soma_scalar(factor);
    for (int i = 0; scale && i < opt->n_params && !soma__failed(); i++)
        if (soma_grad(opt->params[i].tensor))
            soma_mul_(soma_grad(opt->params[i].tensor), scale);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    return soma__failed() ? NAN : norm;
}

soma_status soma_clip_grad_value(soma_optim *opt, double limit) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!opt || !(limit >= 0))
        return soma_fail(SOMA_EINVAL, "soma_clip_grad_value: the limit must be at least 0, not %g", limit);
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    for (int i = 0; i < opt->n_params && !soma__failed(); i++)
        if (soma_grad(opt->params[i].tensor))
            soma_clamp_(soma_grad(opt->params[i].tensor), -limit, limit);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}
