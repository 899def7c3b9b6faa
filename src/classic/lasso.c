/* Lasso and elastic net by cyclic coordinate descent (Friedman, Hastie & Tibshirani 2010): one weight at a time has a closed form,
 * a soft threshold. The duality gap says how far from the optimum the weights can be. */
#include "classic/classic.h"
#include "kernels/cpu/linalg.h"

#include <math.h>
#include <string.h>

typedef struct descent {
    int64_t n, p;
    const double *x;       /* column by column: p times n */
    double *w, *residual;  /* residual = y - x w */
    double *square;        /* |column|² */
    double l1, l2;         /* n alpha l1_ratio, n alpha (1 - l1_ratio) */
} descent;

static double soft(double v, double by) { return v > by ? v - by : v < -by ? v + by : 0; }

static void pass(descent *d) {
    for (int64_t j = 0; j < d->p; j++) {
        const double *column = d->x + j * d->n;
        if (d->square[j] == 0)
            continue; /* a constant feature stays out */
        double was = d->w[j], rho = soma__dot(column, d->residual, d->n) + d->square[j] * was;
        double now = soft(rho, d->l1) / (d->square[j] + d->l2);
        d->w[j] = now;
        for (int64_t i = 0; now != was && i < d->n; i++)
            d->residual[i] += column[i] * (was - now);
    }
}

/* The primal objective, times n, minus that of a feasible point of the dual. */
static double gap(const descent *d, const double *y) {
    double norm = 0, rr = soma__dot(d->residual, d->residual, d->n), ww = soma__dot(d->w, d->w, d->p), one = 0;
    for (int64_t j = 0; j < d->p; j++) {
        norm = fmax(norm, fabs(soma__dot(d->x + j * d->n, d->residual, d->n) - d->l2 * d->w[j]));
        one += fabs(d->w[j]);
    }
    double scale = norm > d->l1 ? d->l1 / norm : 1;
    return 0.5 * rr * (1 + scale * scale) + d->l1 * one - scale * soma__dot(d->residual, y, d->n) + 0.5 * d->l2 * (1 + scale * scale) * ww;
}

static double objective(const descent *d) {
    double one = 0;
    for (int64_t j = 0; j < d->p; j++)
        one += fabs(d->w[j]);
    return (0.5 * soma__dot(d->residual, d->residual, d->n) + d->l1 * one + 0.5 * d->l2 * soma__dot(d->w, d->w, d->p)) / (double)d->n;
}

/* One target. Looking at the gap costs a pass, so it is looked at every fifth. */
static void run(descent *d, const double *y, const soma_classic_opts *o, soma_classic_report *r) {
    double enough = o->tol * soma__dot(y, y, d->n);
    int64_t most = o->max_iter ? o->max_iter : 10000, i = 0;
    bool done = false;
    memcpy(d->residual, y, (size_t)d->n * sizeof *y);
    while (!done && i < most) {
        pass(d);
        i++;
        if (i % 5 == 0 || i == most)
            done = gap(d, y) <= enough;
    }
    r->iterations = SOMA_MAX(r->iterations, i);
    r->converged = r->converged && done;
    r->objective += objective(d);
}

static soma_tensor *solve(const soma__classic *c, double l1_ratio, soma_classic_report *report) {
    soma_tensor *columns = soma_contiguous(soma_transpose(c->x, 0, 1)), *y = soma_contiguous(soma_transpose(c->y, 0, 1));
    soma_tensor *w = soma_zeros(SOMA_SHAPE(c->m, c->p), SOMA_F64), *room = soma_empty(SOMA_SHAPE(c->n + c->p), SOMA_F64);
    if (soma__failed())
        return NULL;
    double strength = (double)c->n * c->o.alpha;
    descent d = {.n = c->n, .p = c->p, .x = soma_data(columns), .residual = soma_data(room), .l1 = strength * l1_ratio, .l2 = strength * (1 - l1_ratio)};
    d.square = d.residual + c->n;
    for (int64_t j = 0; j < c->p; j++)
        d.square[j] = soma__dot(d.x + j * c->n, d.x + j * c->n, c->n);
    soma_classic_report r = {.converged = true};
    for (int64_t t = 0; t < c->m; t++) {
        d.w = (double *)soma_data(w) + t * c->p;
        run(&d, (const double *)soma_data(y) + t * c->n, &c->o, &r);
    }
    if (report)
        *report = r;
    return w;
}

static soma_module *fit(const char *name, soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, bool lasso, soma_classic_report *report) {
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    soma__classic c = {0};
    soma_module *m = NULL;
    if (soma__classic_regression(&c, name, x, y, opts))
        m = soma__classic_regressor(&c, solve(&c, lasso ? 1 : c.o.l1_ratio, report), report);
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    return m;
}

soma_module *soma_lasso_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report) {
    return fit("lasso", x, y, opts, true, report);
}
soma_module *soma_elastic_net_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report) {
    return fit("elastic_net", x, y, opts, false, report);
}
