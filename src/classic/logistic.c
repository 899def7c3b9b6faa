/* Logistic and softmax regression by Newton's method, the step of which comes from conjugate gradients: only products with the Hessian
 * are needed (Lin, Weng & Keerthi 2008). The intercept is a last feature of ones that carries no penalty. */
#include "classic/classic.h"

#include <math.h>

typedef struct logistic {
    soma_tensor *x;        /* [n, p + 1] or [n, p] */
    soma_tensor *target;   /* [n, K]: one-hot, or 0 and 1 when K is 1 */
    soma_tensor *penalty;  /* [p + 1]: what multiplies w² / 2: 1, for the intercept 0 */
    double c;              /* of the data term; without a penalty 1 */
    int64_t outputs;       /* K, 1 for two classes */
} logistic;

static soma_tensor *probabilities(const logistic *l, soma_tensor *w) {
    soma_tensor *z = soma_matmul(l->x, soma_transpose(w, 0, 1));
    return l->outputs == 1 ? soma_sigmoid(z) : soma_softmax(z, 1);
}

/* -log p of the true class, without overflow: softplus(z) - t z, or log-sum-exp(z) - z_t. */
static double objective(const logistic *l, soma_tensor *w) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *z = soma_matmul(l->x, soma_transpose(w, 0, 1));
    soma_tensor *partition = l->outputs == 1 ? soma_softplus(z) : soma_logsumexp(z, SOMA_DIMS(1), true);
    double data = soma__classic_sum(partition) - soma__classic_sum(soma_mul(l->target, z));
    double value = l->c * data + 0.5 * soma__classic_sum(soma_mul(l->penalty, soma_square(w)));
    soma_scope_end(scope);
    return value;
}

static soma_tensor *gradient(const logistic *l, soma_tensor *w, soma_tensor *p) {
    soma_tensor *data = soma_matmul(soma_transpose(soma_sub(p, l->target), 0, 1), l->x);
    return soma_add(soma_mul_scalar(data, l->c), soma_mul(l->penalty, w));
}

/* Hessian times v: c xᵀ(p ∘ (z - Σ p z)) + penalty v, z = x v; for one output p (1 - p) z. */
static soma_tensor *curvature(const logistic *l, soma_tensor *p, soma_tensor *v) {
    soma_tensor *z = soma_matmul(l->x, soma_transpose(v, 0, 1)), *s;
    if (l->outputs == 1)
        s = soma_mul(soma_mul(p, soma_sub(soma_scalar(1), p)), z);
    else
        s = soma_mul(p, soma_sub(z, soma_sum(soma_mul(p, z), SOMA_DIMS(1), true)));
    return soma_add(soma_mul_scalar(soma_matmul(soma_transpose(s, 0, 1), l->x), l->c), soma_mul(l->penalty, v));
}

static double inner(soma_tensor *a, soma_tensor *b) { return soma__classic_sum(soma_mul(a, b)); }

/* Solves H d = -g to a relative residual that falls with |g|, so that the end is fast and the start cheap. */
static soma_tensor *newton_step(const logistic *l, soma_tensor *p, soma_tensor *g, double relative) {
    soma_tensor *d = soma_zeros(soma_ndim(g), soma_shape(g), SOMA_F64), *r = soma_neg(g), *direction = soma_clone(r);
    double rr = inner(r, r), stop = rr * fmin(0.01, relative) * fmin(0.01, relative);
    int64_t most = 2 * soma_numel(g) + 20;
    for (int64_t i = 0; i < most && rr > stop && rr > 0 && !soma__failed(); i++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *h = curvature(l, p, direction);
        double bend = inner(direction, h), step = bend > 0 ? rr / bend : 0;
        soma_add_(d, soma_mul_scalar(direction, step));
        soma_sub_(r, soma_mul_scalar(h, step));
        double now = inner(r, r);
        soma_copy_(direction, soma_add(r, soma_mul_scalar(direction, rr > 0 ? now / rr : 0)));
        soma_scope_end(scope);
        if (bend <= 0)
            break;
        rr = now;
    }
    return d;
}

static double largest(soma_tensor *t) { return soma_item(soma_amax(soma_abs(t), SOMA_ALL, false)); }

/* Writes the optimum to `w`. */
static void minimise(const logistic *l, soma_tensor *w, const soma_classic_opts *o, soma_classic_report *r) {
    double first = -1, value = objective(l, w);
    int64_t most = o->max_iter ? o->max_iter : 1000;
    *r = (soma_classic_report){0};
    while (!r->converged && r->iterations < most && !soma__failed()) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *p = probabilities(l, w), *g = gradient(l, w, p);
        double size = largest(g), before = value, t = 1;
        first = first < 0 ? size : first;
        r->converged = size <= o->tol * first;
        if (!r->converged) {
            soma_tensor *d = newton_step(l, p, g, first > 0 ? size / first : 0);
            double slope = inner(g, d);
            for (; t > 1e-10; t /= 2) { /* Armijo; rounding of the objective near the optimum is allowed for */
                value = objective(l, soma_add(w, soma_mul_scalar(d, t)));
                if (value <= before + 1e-4 * t * slope + 1e-14 * fabs(before))
                    break;
            }
            soma_add_(w, soma_mul_scalar(d, t));
            r->iterations++;
        }
        soma_scope_end(scope);
        if (t <= 1e-10)
            break;
    }
    r->objective = objective(l, w);
}

static bool set_up(const soma__classic *c, logistic *l) {
    int64_t extra = !c->o.no_intercept;
    bool free_of_penalty = isinf(c->o.c);
    l->outputs = c->m == 2 ? 1 : c->m;
    l->c = free_of_penalty ? 1 : c->o.c;
    l->x = extra ? soma_cat((soma_tensor *[]){c->x, soma_ones(SOMA_SHAPE(c->n, 1), SOMA_F64)}, 2, 1) : c->x;
    l->target = l->outputs == 1 ? soma_unsqueeze(soma_to(c->y, SOMA_F64), 1) : soma_to(soma_one_hot(c->y, c->m), SOMA_F64);
    l->penalty = soma_full(SOMA_SHAPE(c->p + extra), free_of_penalty ? 0 : 1, SOMA_F64);
    if (l->penalty && extra)
        ((double *)soma_data(l->penalty))[c->p] = 0;
    return !soma__failed();
}

soma_module *soma_logistic_regression_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report) {
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    soma__classic c = {0};
    logistic l = {0};
    soma_classic_report r = {0};
    soma_module *m = NULL;
    if (soma__classic_classes(&c, "logistic_regression", x, y, opts) && set_up(&c, &l)) {
        soma_tensor *w = soma_zeros(SOMA_SHAPE(l.outputs, soma_size(l.x, 1)), SOMA_F64);
        minimise(&l, w, &c.o, &r);
        soma_tensor *bias = c.o.no_intercept ? NULL : soma_contiguous(soma_select(w, 1, c.p));
        m = soma__classic_module(&c, soma_slice(w, 1, 0, c.p, 1), bias, &r);
    }
    if (report)
        *report = r;
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    return m;
}
