/* L-BFGS as torch.optim.LBFGS: one direction from the last pairs of steps and changes of the gradient (two-loop recursion), a length
 * of lr or one that satisfies the strong Wolfe conditions. Vectors are all parameters in a row, in their dtype; a step evaluates the
 * closure many times. */
#include "optim/optim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct soma__lbfgs {
    int64_t func_evals, n_iter;
    double t, h_diag, prev_loss;
    soma_tensor *d, *prev_grad;                /* references, as all tensors here; NULL before the first step */
    soma_tensor **dirs, **stps;                /* changes of the gradient and steps, oldest first */
    double *ro;
    int n_old, room;
    soma_tensor *numbers, *saved[3];           /* what soma__lbfgs_named handed out */
} lbfgs;

/* What one step needs. */
typedef struct search {
    soma_optim *opt;
    lbfgs *s;
    soma_closure fn;
    void *user;
    soma_tensor *x, *d;                        /* where the line begins, and its direction */
    int64_t evals;
} search;

void soma__lbfgs_free(lbfgs *s) {
    if (!s)
        return;
    for (int i = 0; i < s->n_old; i++) {
        soma_release(s->dirs[i]);
        soma_release(s->stps[i]);
    }
    for (int i = 0; i < 3; i++)
        soma_release(s->saved[i]);
    soma_release(s->numbers);
    soma_release(s->d);
    soma_release(s->prev_grad);
    soma__free(s->dirs);
    soma__free(s->stps);
    soma__free(s->ro);
    soma__free(s);
}

static lbfgs *state_of(soma_optim *opt) {
    if (!opt->lbfgs && (opt->lbfgs = soma__calloc(1, sizeof *opt->lbfgs)))
        opt->lbfgs->h_diag = 1;
    return opt->lbfgs;
}

/* ---- Vectors ---- */

static double dot(soma_tensor *a, soma_tensor *b) { return soma_item(soma_sum(soma_mul(a, b), 0, NULL, false)); }
static double largest(soma_tensor *a) { return soma_item(soma_amax(soma_abs(a), 0, NULL, false)); }
static soma_tensor *plus(soma_tensor *a, double alpha, soma_tensor *b) { return soma_add(a, soma_mul_scalar(b, alpha)); }

/* All parameters, or their gradients (0 where there is none), in a row. */
static soma_tensor *flat(soma_optim *opt, bool grads) {
    soma_tensor **parts = soma__alloc((size_t)opt->n_params * sizeof *parts);
    for (int i = 0; parts && i < opt->n_params; i++) {
        soma_tensor *p = opt->params[i].tensor, *g = soma_grad(p);
        soma_tensor *t = !grads ? soma_detach(p) : g ? g : soma_zeros(soma_ndim(p), soma_shape(p), soma_dtype_of(p));
        parts[i] = soma_reshape(t, 1, (const int64_t[]){-1});
    }
    soma_tensor *all = parts ? soma_cat(parts, opt->n_params, 0) : NULL;
    soma__free(parts);
    return grads && opt->maximize ? soma_neg(all) : all;
}

static void set_params(soma_optim *opt, soma_tensor *x) {
    int64_t at = 0;
    for (int i = 0; x && i < opt->n_params; i++) {
        soma_tensor *p = opt->params[i].tensor;
        soma_copy_(p, soma_reshape(soma_slice(x, 0, at, at + soma_numel(p), 1), soma_ndim(p), soma_shape(p)));
        at += soma_numel(p);
    }
}

/* Loss and gradient where the parameters are; NaN after an error. The gradient belongs to the caller's scope. */
static double evaluate(search *q, soma_tensor **grad) {
    soma_optim_zero_grad(q->opt);
    bool was = soma_set_grad_enabled(true);
    soma_scope scope = soma_scope_begin();
    double loss = soma__failed() ? NAN : q->fn(q->user);
    soma_scope_end(scope);
    soma_set_grad_enabled(was);
    q->evals++;
    *grad = soma__failed() ? NULL : flat(q->opt, true);
    return soma__failed() ? NAN : q->opt->maximize ? -loss : loss;
}

static double evaluate_at(search *q, double t, soma_tensor **grad) {
    set_params(q->opt, plus(q->x, t, q->d));
    return evaluate(q, grad);
}

/* ---- The line search ---- */

typedef struct point {
    double t, f, gtd;
    soma_tensor *g;
} point;

/* Where the cubic through two points with their slopes is lowest, within the bounds. */
static double cubic(const point *a, const point *b, double low, double high) {
    double d1 = a->gtd + b->gtd - 3 * (a->f - b->f) / (a->t - b->t), square = d1 * d1 - a->gtd * b->gtd;
    if (!(square >= 0))
        return (low + high) / 2;
    double d2 = sqrt(square), at;
    if (a->t <= b->t)
        at = b->t - (b->t - a->t) * ((b->gtd + d2 - d1) / (b->gtd - a->gtd + 2 * d2));
    else
        at = a->t - (a->t - b->t) * ((a->gtd + d2 - d1) / (a->gtd - b->gtd + 2 * d2));
    return fmin(fmax(at, low), high);
}

static point probe(search *q, double t) {
    point p = {.t = t};
    p.f = evaluate_at(q, t, &p.g);
    p.gtd = p.g ? dot(p.g, q->d) : NAN;
    return p;
}

enum { MAX_LS = 25 };
static const double C1 = 1e-4, C2 = 0.9, TOO_CLOSE = 1e-9;

/* Two points with a good one between them, or one that is good (true). */
static bool find_bracket(search *q, const point *start, point b[2], int *iterations) {
    point before = *start, now = b[1];
    for (; *iterations < MAX_LS && !soma__failed(); ++*iterations) {
        if (now.f > start->f + C1 * now.t * start->gtd || (*iterations > 1 && now.f >= before.f))
            break;
        if (fabs(now.gtd) <= -C2 * start->gtd) {
            b[0] = b[1] = now;
            return true;
        }
        if (now.gtd >= 0)
            break;
        double t = cubic(&before, &now, now.t + 0.01 * (now.t - before.t), now.t * 10);
        before = now;
        now = probe(q, t);
    }
    b[0] = *iterations == MAX_LS ? *start : before;
    b[1] = now;
    return false;
}

/* The next place to look at: not too near an end twice in a row. */
static double between(const point b[2], bool *stuck) {
    double low = fmin(b[0].t, b[1].t), high = fmax(b[0].t, b[1].t), eps = 0.1 * (high - low), t = cubic(&b[0], &b[1], low, high);
    if (!(fmin(high - t, t - low) < eps)) {
        *stuck = false;
    } else if (*stuck || t >= high || t <= low) {
        t = fabs(t - high) < fabs(t - low) ? high - eps : low + eps;
        *stuck = false;
    } else {
        *stuck = true;
    }
    return t;
}

static point strong_wolfe(search *q, double t, const point *start) {
    double size = largest(q->d);
    point b[2] = {*start, probe(q, t)};
    int iterations = 0;
    bool stuck = false, done = find_bracket(q, start, b, &iterations);
    int low = b[0].f <= b[1].f ? 0 : 1;
    while (!done && iterations++ < MAX_LS && !soma__failed()) {
        if (fabs(b[1].t - b[0].t) * size < TOO_CLOSE)
            break;
        point now = probe(q, between(b, &stuck));
        if (now.f > start->f + C1 * now.t * start->gtd || now.f >= b[low].f) {
            b[1 - low] = now;
            low = b[0].f <= b[1].f ? 0 : 1;
            continue;
        }
        done = fabs(now.gtd) <= -C2 * start->gtd;
        if (!done && now.gtd * (b[1 - low].t - b[low].t) >= 0)
            b[1 - low] = b[low];
        b[low] = now;
    }
    return b[low];
}

/* ---- The direction ---- */

static bool remember(lbfgs *s, int history, soma_tensor *y, soma_tensor *step, double ys) {
    if (s->n_old == history) {
        soma_release(s->dirs[0]);
        soma_release(s->stps[0]);
        s->n_old--;
        memmove(s->dirs, s->dirs + 1, (size_t)s->n_old * sizeof *s->dirs);
        memmove(s->stps, s->stps + 1, (size_t)s->n_old * sizeof *s->stps);
        memmove(s->ro, s->ro + 1, (size_t)s->n_old * sizeof *s->ro);
    }
    if (s->n_old == s->room) {
        int room = SOMA_MIN(history, SOMA_MAX(8, 2 * s->room));
        void *dirs = soma__realloc(s->dirs, (size_t)room * sizeof *s->dirs);
        s->dirs = dirs ? dirs : s->dirs;
        void *stps = dirs ? soma__realloc(s->stps, (size_t)room * sizeof *s->stps) : NULL;
        s->stps = stps ? stps : s->stps;
        void *ro = stps ? soma__realloc(s->ro, (size_t)room * sizeof *s->ro) : NULL;
        s->ro = ro ? ro : s->ro;
        if (!ro)
            return false;
        s->room = room;
    }
    s->dirs[s->n_old] = soma_keep(y);
    s->stps[s->n_old] = soma_keep(step);
    s->ro[s->n_old++] = 1 / ys;
    return true;
}

/* Minus the inverse Hessian, as the pairs tell it, times the gradient. */
static soma_tensor *direction(lbfgs *s, int history, soma_tensor *grad) {
    if (s->n_iter == 1)
        return soma_neg(grad);
    soma_tensor *y = soma_sub(grad, s->prev_grad), *step = soma_mul_scalar(s->d, s->t);
    double ys = dot(y, step);
    if (ys > 1e-10) {
        if (!remember(s, history, y, step, ys))
            return NULL;
        s->h_diag = ys / dot(y, y);
    }
    double *al = soma__alloc((size_t)SOMA_MAX(s->n_old, 1) * sizeof *al);
    if (!al)
        return NULL;
    soma_tensor *r = soma_neg(grad);
    for (int i = s->n_old - 1; i >= 0; i--) {
        al[i] = dot(s->stps[i], r) * s->ro[i];
        r = plus(r, -al[i], s->dirs[i]);
    }
    r = soma_mul_scalar(r, s->h_diag);
    for (int i = 0; i < s->n_old; i++)
        r = plus(r, al[i] - dot(s->dirs[i], r) * s->ro[i], s->stps[i]);
    soma__free(al);
    return r;
}

/* ---- The step ---- */

typedef struct limits {
    int64_t max_iter, max_eval;
    double lr, tolerance_grad, tolerance_change;
    int history;
    bool strong_wolfe;
} limits;

static limits limits_of(const soma_optim *opt) {
    const soma_attr *a = opt->groups[0].attrs;
    limits l = {.max_iter = a[0].value.i, .max_eval = a[1].value.i, .lr = soma_optim_lr(opt, 0), .tolerance_grad = a[2].value.f,
                .tolerance_change = a[3].value.f, .history = (int)a[4].value.i, .strong_wolfe = a[5].value.i != 0};
    l.max_eval = l.max_eval > 0 ? l.max_eval : l.max_iter * 5 / 4;
    return l;
}

/* One iteration from loss and gradient; both become those of the new place. True: the step is over. */
static bool iterate(search *q, const limits *l, int64_t n_iter, double *loss, soma_tensor **grad) {
    lbfgs *s = q->s;
    s->n_iter++;
    soma__hold(&s->d, direction(s, l->history, *grad));
    soma__hold(&s->prev_grad, *grad);
    s->prev_loss = *loss;
    if (!s->d || soma__failed())
        return true;
    s->t = s->n_iter == 1 ? fmin(1, 1 / soma_item(soma_sum(soma_abs(*grad), 0, NULL, false))) * l->lr : l->lr;
    point start = {.t = 0, .f = *loss, .g = *grad, .gtd = dot(*grad, s->d)};
    if (start.gtd > -l->tolerance_change)
        return true;
    q->d = s->d;
    q->x = flat(q->opt, false);
    if (l->strong_wolfe) {
        point best = strong_wolfe(q, s->t, &start);
        s->t = best.t;
        *loss = best.f;
        *grad = best.g;
    }
    if (!soma__failed())
        set_params(q->opt, plus(q->x, s->t, s->d));
    if (!l->strong_wolfe && n_iter != l->max_iter)
        *loss = evaluate(q, grad);
    return soma__failed() || n_iter == l->max_iter || q->evals >= l->max_eval || largest(*grad) <= l->tolerance_grad ||
           largest(soma_mul_scalar(s->d, s->t)) <= l->tolerance_change || fabs(*loss - s->prev_loss) < l->tolerance_change;
}

static bool same_dtypes(const soma_optim *opt) {
    for (int i = 1; i < opt->n_params; i++)
        if (soma_dtype_of(opt->params[i].tensor) != soma_dtype_of(opt->params[0].tensor)) {
            soma_fail(SOMA_EDTYPE, "lbfgs: all parameters must have one dtype; parameter 0 is %s, parameter %d %s",
                      soma_dtype_name(soma_dtype_of(opt->params[0].tensor)), i, soma_dtype_name(soma_dtype_of(opt->params[i].tensor)));
            return false;
        }
    return true;
}

soma_status soma__lbfgs_step(soma_optim *opt, soma_closure fn, void *user, double *loss) {
    if (opt->n_groups == 0 || opt->n_params == 0)
        return soma_fail(SOMA_EINVAL, "lbfgs: has no parameters yet");
    lbfgs *s = same_dtypes(opt) ? state_of(opt) : NULL;
    if (!s)
        return soma__ctx()->error;
    search q = {.opt = opt, .s = s, .fn = fn, .user = user};
    limits l = limits_of(opt);
    bool was = soma_set_grad_enabled(false);
    soma_tensor *grad = NULL;
    soma_scope scope = soma_scope_begin();
    double now = evaluate(&q, &grad);
    if (loss)
        *loss = opt->maximize ? -now : now;
    bool over = soma__failed() || largest(grad) <= l.tolerance_grad;
    for (int64_t i = 1; !over && i <= l.max_iter; i++) {
        soma_scope inner = soma_scope_begin();
        over = iterate(&q, &l, i, &now, &grad) || inner.depth < 0;
        grad = grad && !soma__failed() ? soma_escape(grad) : NULL;
        soma_scope_end(inner);
    }
    soma_scope_end(scope);
    soma_set_grad_enabled(was);
    s->func_evals += q.evals;
    if (soma__failed())
        return soma__ctx()->error;
    soma__count_up(opt->steps);
    soma_optim_zero_grad(opt);
    return SOMA_OK;
}

/* ---- State: 0.numbers (func_evals, n_iter, t, H_diag, prev_loss), 0.d, 0.prev_flat_grad, 0.old_dirs, 0.old_stps, 0.ro ---- */

enum { NUMBERS = 5 };
static const char *const names[] = {"0.numbers", "0.d", "0.prev_flat_grad", "0.old_dirs", "0.old_stps", "0.ro"};

static void put_named(soma_named *out, int room, int *n, int name, soma_tensor *t) {
    if (out && *n < room)
        out[*n] = (soma_named){names[name], t, true};
    ++*n;
}

int soma__lbfgs_named(soma_optim *opt, soma_named *out, int room) {
    lbfgs *s = opt->lbfgs;
    int n = 0;
    if (!s || s->n_iter == 0)
        return 0;
    if (out) {
        bool was = soma_set_grad_enabled(false);
        soma_scope scope = soma_scope_begin();
        const double all[NUMBERS] = {(double)s->func_evals, (double)s->n_iter, s->t, s->h_diag, s->prev_loss};
        soma__hold(&s->numbers, soma_from_array(all, SOMA_SHAPE(NUMBERS), SOMA_F64));
        if (s->n_old > 0) {
            soma__hold(&s->saved[0], soma_stack(s->dirs, s->n_old, 0));
            soma__hold(&s->saved[1], soma_stack(s->stps, s->n_old, 0));
            soma__hold(&s->saved[2], soma_from_array(s->ro, SOMA_SHAPE(s->n_old), SOMA_F64));
        }
        soma_scope_end(scope);
        soma_set_grad_enabled(was);
        if (soma__failed())
            return -1;
    }
    put_named(out, room, &n, 0, s->numbers);
    put_named(out, room, &n, 1, s->d);
    put_named(out, room, &n, 2, s->prev_grad);
    for (int i = 0; s->n_old > 0 && i < 3; i++)
        put_named(out, room, &n, 3 + i, s->saved[i]);
    return n;
}

static bool row_ok(const soma_optim *opt, const char *name, soma_tensor *v, int ndim) {
    int64_t all = 0;
    for (int i = 0; i < opt->n_params; i++)
        all += soma_numel(opt->params[i].tensor);
    if (opt->n_params > 0 && soma_ndim(v) == ndim && soma_size(v, -1) == all && soma_dtype_of(v) == soma_dtype_of(opt->params[0].tensor))
        return true;
    char text[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "lbfgs: the state '%s' is %s %s, and the parameters are %lld numbers", name,
              soma__shape_text(soma_ndim(v), soma_shape(v), text, sizeof text), soma_dtype_name(soma_dtype_of(v)), (long long)all);
    return false;
}

/* A history of `n` pairs; its tensors are filled by rows as they come. */
static bool history_of(lbfgs *s, int n) {
    if (s->room < n) {
        void *dirs = soma__realloc(s->dirs, (size_t)n * sizeof *s->dirs), *stps = dirs ? soma__realloc(s->stps, (size_t)n * sizeof *s->stps) : NULL;
        s->dirs = dirs ? dirs : s->dirs;
        s->stps = stps ? stps : s->stps;
        void *ro = stps ? soma__realloc(s->ro, (size_t)n * sizeof *s->ro) : NULL;
        if (!ro)
            return false;
        s->ro = ro;
        s->room = n;
    }
    for (int i = s->n_old; i < n; i++) {
        s->dirs[i] = s->stps[i] = NULL;
        s->ro[i] = 0;
    }
    for (int i = n; i < s->n_old; i++) {
        soma_release(s->dirs[i]);
        soma_release(s->stps[i]);
    }
    s->n_old = n;
    return true;
}

static void load_rows(soma_tensor **rows, soma_tensor *v) {
    for (int64_t i = 0; i < soma_size(v, 0); i++)
        soma__hold(&rows[i], soma_clone(soma_select(v, 0, i)));
}

static void load_numbers(lbfgs *s, soma_tensor *v) {
    double all[NUMBERS];
    if (soma_to_array(v, all, NUMBERS, SOMA_F64) != SOMA_OK)
        return;
    s->func_evals = (int64_t)all[0];
    s->n_iter = (int64_t)all[1];
    s->t = all[2];
    s->h_diag = all[3];
    s->prev_loss = all[4];
}

bool soma__lbfgs_load(soma_optim *opt, const char *name, soma_tensor *value, bool only_check) {
    int which = 0;
    while (which < (int)SOMA_LEN(names) && strcmp(names[which], name) != 0)
        which++;
    if (which == (int)SOMA_LEN(names))
        return false;
    bool vector = which == 0 || which == 5;
    int64_t most = (int64_t)soma__attr_of(opt->attrs, opt->n_attrs, "history_size", 0);
    if (vector && (soma_ndim(value) != 1 || soma_dtype_of(value) != SOMA_F64 || (which == 0 && soma_numel(value) != NUMBERS)))
        soma_fail(SOMA_ESHAPE, "lbfgs: the state '%s' is not a row of numbers in f64", name);
    else if (!vector && !row_ok(opt, name, value, which < 3 ? 1 : 2))
        return true;
    else if (which >= 3 && soma_size(value, 0) > most)
        soma_fail(SOMA_EINVAL, "lbfgs: the state '%s' has %lld pairs, and history_size is %lld", name, (long long)soma_size(value, 0), (long long)most);
    lbfgs *s = soma__failed() || only_check ? NULL : state_of(opt);
    if (!s || (which >= 3 && !history_of(s, (int)soma_size(value, 0))))
        return true;
    bool was = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    switch (which) {
    case 0: load_numbers(s, value); break;
    case 1: soma__hold(&s->d, soma_clone(value)); break;
    case 2: soma__hold(&s->prev_grad, soma_clone(value)); break;
    case 3: load_rows(s->dirs, value); break;
    case 4: load_rows(s->stps, value); break;
    default: soma_to_array(value, s->ro, s->n_old, SOMA_F64);
    }
    soma_scope_end(scope);
    soma_set_grad_enabled(was);
    return true;
}
