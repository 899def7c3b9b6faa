/* Losses of class scores: cross_entropy (of targets that are classes), nll_loss. Scores are [N, C, …] (or [C]), targets [N, …] (or no dimensions) with classes
 * 0 … C-1. With T the coefficients that a target spreads over the classes,
 *     T[n, c] = (1 - s) w[c] [c = target n] + s / C w[c],   0 where the target is ignore_index,   s: label smoothing,
 * the loss of position n is sum_c T (logsumexp(x) - x[c]) for scores and -sum_c T logp[c] after log_softmax; the mean divides
 * the sum by the sum of w[target]. What the targets say is checked before a kernel runs. */
#include "ops/loss.h"

#include "kernels/cpu/softmax.h"
#include "ops/dense.h"
#include "ops/fold.h"

#include <stdio.h>
#include <string.h>

enum { REDUCTION, IGNORE, SMOOTHING }; /* attributes of all but class_coefficients */

/* ---- Shapes and checks ------------------------------------------------------------------------------------------- */

/* Messages name the operator that people call. */
static const char *name_of(const soma_args *a) { return a->op == &soma__class_entropy_op ? "cross_entropy" : a->op->name; }

static int class_dim(int ndim) { return ndim == 1 ? 0 : 1; }

static bool check_weight(const char *op, const soma_tensor *weight, int64_t classes) {
    char text[SOMA__SHAPE_TEXT];
    if (!weight || (weight->ndim == 1 && weight->shape[0] == classes))
        return true;
    soma_fail(SOMA_ESHAPE, "%s: weight is %s, expected one number for each of the %lld classes, [%lld]", op,
              soma__tensor_text(weight, text), (long long)classes, (long long)classes);
    return false;
}

static bool check_scores(const char *op, const soma_tensor *x, const soma_tensor *target, const soma_tensor *weight) {
    char have[SOMA__SHAPE_TEXT], scores[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (x->ndim == 0) {
        soma_fail(SOMA_ESHAPE, "%s: scores have no dimensions, expected [N, C, …] or [C]", op);
        return false;
    }
    int64_t shape[SOMA_MAX_DIMS];
    int n = 0, c = class_dim(x->ndim);
    for (int d = 0; d < x->ndim; d++)
        if (d != c)
            shape[n++] = x->shape[d];
    if (target->ndim != n || (n > 0 && memcmp(target->shape, shape, (size_t)n * sizeof *shape) != 0)) {
        soma_fail(SOMA_ESHAPE, "%s: scores are %s, target is %s, expected %s", op, soma__tensor_text(x, scores),
                  soma__tensor_text(target, have), soma__shape_text(n, shape, want, sizeof want));
        return false;
    }
    return check_weight(op, weight, x->shape[c]);
}

static bool check_smoothing(const char *op, double s) {
    if (s >= 0.0 && s <= 1.0)
        return true;
    soma_fail(SOMA_EINVAL, "%s: label_smoothing is %g, expected 0 to 1", op, s);
    return false;
}

bool soma__check_classes(const char *op, const soma_tensor *target, int64_t classes, int64_t ignore) {
    int64_t room[SOMA__STAGE], row = target->ndim ? target->shape[target->ndim - 1] : 1;
    int64_t step = target->ndim ? target->stride[target->ndim - 1] * (int64_t)soma_dtype_size((soma_dtype)target->dtype) : 0;
    for (int64_t first = 0; first < target->numel; first += row)
        for (int64_t i = 0; i < row; i += SOMA__STAGE) {
            int64_t n = SOMA_MIN(SOMA__STAGE, row - i);
            soma__stage((soma_dtype)target->dtype, soma__element(target, first + i), step, n, room);
            for (int64_t j = 0; j < n; j++) {
                if ((uint64_t)room[j] < (uint64_t)classes || room[j] == ignore)
                    continue;
                char at[SOMA__SHAPE_TEXT];
                soma_fail(SOMA_EINVAL, "%s: target%s%s is class %lld, expected 0 to %lld (%lld classes)", op, target->ndim ? " at " : "",
                          target->ndim ? soma__loss_place(target, first + i + j, at) : "", (long long)room[j], (long long)classes - 1,
                          (long long)classes);
                return false;
            }
        }
    return true;
}

static bool loss_check(soma_args *a) {
    const soma_tensor *x = a->in[0];
    return soma__check_classes(name_of(a), a->in[1], x->shape[class_dim(x->ndim)], a->attrs[IGNORE].value.i);
}

static bool loss_shape(soma_args *a, soma_meta *out, bool smoothing) {
    const soma_tensor *target = a->in[1];
    if (!soma__check_reduction(name_of(a), a->attrs[REDUCTION].value.i, SOMA_NONE) ||
        !check_scores(name_of(a), a->in[0], target, a->in[2]) ||
        (smoothing && !check_smoothing(name_of(a), a->attrs[SMOOTHING].value.f)))
        return false;
    if (a->attrs[REDUCTION].value.i == SOMA_NONE) {
        out[0].ndim = target->ndim;
        memcpy(out[0].shape, target->shape, sizeof target->shape);
    }
    for (int i = 1; i < a->op->outputs; i++) {
        out[i] = (soma_meta){.dtype = soma__compute_dtype((soma_dtype)a->in[0]->dtype)};
        if (i == a->op->outputs - 1)
            continue; /* the sum of weights has no dimensions */
        out[i].ndim = target->ndim;
        memcpy(out[i].shape, target->shape, sizeof target->shape);
    }
    return true;
}
static bool cross_entropy_shape(soma_args *a, soma_meta *out) { return loss_shape(a, out, true); }
static bool nll_shape(soma_args *a, soma_meta *out) { return loss_shape(a, out, false); }

/* ---- The walk: positions are (n, j), n of N and j of the S positions inside; scores of one lie S apart ----------- */

typedef struct job {
    const char *x;             /* scores or log-probabilities, f32 or f64 */
    const int64_t *target;
    const char *weight, *lse_in, *grad;
    char *lse, *loss, *weights, *y, *scale;
    bool f64, grad_each;       /* grad_each: a gradient a position, else one */
    size_t size;
    int64_t n, classes, inner, ignore, blocks, each; /* each: rows, or blocks of columns, done together */
    double smoothing, weight_sum, grad_all;
    const soma__softmax_kernels *k;
} job;

static inline double get(const job *j, const char *p, int64_t i) {
    return j->f64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}
static inline void put(const job *j, char *p, int64_t i, double v) {
    if (j->f64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}
static inline double weight_of(const job *j, int64_t c) { return j->weight ? get(j, j->weight, c) : 1.0; }

static job job_of(const soma_args *a, const soma_tensor *x) {
    job j = {.n = 1, .inner = 1, .size = sizeof(float), .ignore = a->attrs[IGNORE].value.i, .k = soma__softmax_pick()};
    int c = class_dim(x->ndim);
    j.f64 = x->dtype == SOMA_F64;
    j.size = j.f64 ? sizeof(double) : sizeof(float);
    for (int d = 0; d < x->ndim; d++)
        *(d < c ? &j.n : d == c ? &j.classes : &j.inner) *= d == c ? 1 : x->shape[d];
    j.classes = x->shape[c];
    j.blocks = (j.inner + SOMA__SOFTMAX_COLUMNS - 1) / SOMA__SOFTMAX_COLUMNS;
    return j;
}

static void sum_weights(job *j) {
    for (int64_t c = 0; c < j->classes; c++)
        j->weight_sum += weight_of(j, c);
}

/* Calls fn for runs of positions of one n: all of a row (inner 1: many n), or a block of columns. */
static void each_position(job *j, soma__range_fn fn) {
    int64_t width = SOMA_MIN(j->inner, SOMA__SOFTMAX_COLUMNS);
    j->each = SOMA_MAX(1, 8192 / SOMA_MAX(1, j->classes * width));
    if (j->n * j->inner > 0)
        soma__parallel(j->n * j->blocks, j->each, fn, j);
}

/* ---- Forward ----------------------------------------------------------------------------------------------------- */

/* sum_c w[c] x[c] of one position. */
static double weighted_sum(const job *j, int64_t at) {
    double sum = 0.0;
    if (!j->weight && j->inner == 1)
        return soma__sum_values(j->x + (size_t)at * j->size, j->classes, j->f64);
    for (int64_t c = 0; c < j->classes; c++)
        sum += weight_of(j, c) * get(j, j->x, at + c * j->inner);
    return sum;
}

/* Positions [from, from + w) of sample n. `lse` NULL: x are log-probabilities already. */
static void position_losses(const job *j, int64_t n, int64_t from, int64_t w) {
    for (int64_t i = from; i < from + w; i++) {
        int64_t p = n * j->inner + i, at = n * j->classes * j->inner + i, t = j->target[p];
        double weight = 0.0, loss = 0.0;
        if (t != j->ignore) {
            double lse = j->lse ? get(j, j->lse, p) : 0.0;
            weight = weight_of(j, t);
            loss = (1.0 - j->smoothing) * weight * (lse - get(j, j->x, at + t * j->inner));
            if (j->smoothing > 0.0)
                loss += j->smoothing / (double)j->classes * (lse * j->weight_sum - weighted_sum(j, at));
        }
        put(j, j->loss, p, loss);
        put(j, j->weights, p, weight);
    }
}

static void some_losses(const job *j, int64_t begin, int64_t end) {
    if (j->inner == 1 && j->lse) {
        if (j->f64)
            j->k->f64.rows_lse((const double *)j->x + begin * j->classes, (double *)j->lse + begin, end - begin, j->classes);
        else
            j->k->f32.rows_lse((const float *)j->x + begin * j->classes, (float *)j->lse + begin, end - begin, j->classes);
    }
    for (int64_t b = begin; b < end; b++) {
        int64_t n = b / j->blocks, from = b % j->blocks * SOMA__SOFTMAX_COLUMNS,
                w = SOMA_MIN(SOMA__SOFTMAX_COLUMNS, j->inner - from);
        int64_t at = n * j->classes * j->inner + from, p = n * j->inner + from;
        if (j->inner > 1 && j->lse) {
            if (j->f64)
                j->k->f64.columns_lse((const double *)j->x + at, (double *)j->lse + p, j->classes, j->inner, w);
            else
                j->k->f32.columns_lse((const float *)j->x + at, (float *)j->lse + p, j->classes, j->inner, w);
        }
        position_losses(j, n, from, w);
    }
}

/* A few rows at a time: what follows on a row finds it in the cache. */
static void loss_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t at = begin; at < end; at += j->each)
        some_losses(j, at, SOMA_MIN(at + j->each, end));
}

static size_t loss_work(soma_args *a) {
    size_t each = soma__room((size_t)a->in[1]->numel * sizeof(double));
    return soma__dense_bytes(a->in[0]) + soma__dense_bytes(a->in[1]) + soma__dense_bytes(a->in[2]) + 2 * each +
           soma__dense_bytes(a->out[0]);
}

static const char *loss(soma_args *a, soma_tensor *lse, soma_tensor *total, double smoothing) {
    job j = job_of(a, a->in[0]);
    char *room = a->work;
    int64_t reduction = a->attrs[REDUCTION].value.i, positions = j.n * j.inner;
    j.smoothing = smoothing;
    j.x = soma__dense(a->in[0], &room);
    j.target = soma__dense(a->in[1], &room);
    j.weight = soma__dense(a->in[2], &room);
    j.weights = soma__take(&room, (size_t)positions * sizeof(double));
    j.loss = reduction == SOMA_NONE ? soma__dense_out(a->out[0], &room) : soma__take(&room, (size_t)positions * sizeof(double));
    j.lse = lse ? lse->data : NULL;
    sum_weights(&j);
    each_position(&j, loss_range);
    double weights = soma__sum_values(j.weights, positions, j.f64);
    soma__store(total->data, (soma_dtype)total->dtype, weights);
    if (reduction == SOMA_NONE) {
        soma__dense_done(a->out[0], j.loss);
        return NULL;
    }
    double sum = soma__sum_values(j.loss, positions, j.f64);
    soma__store(a->out[0]->data, (soma_dtype)a->out[0]->dtype, reduction == SOMA_MEAN ? sum / weights : sum);
    return NULL;
}
static const char *cross_entropy_kernel(soma_args *a) { return loss(a, a->out[1], a->out[2], a->attrs[SMOOTHING].value.f); }
static const char *nll_kernel(soma_args *a) { return loss(a, NULL, a->out[1], 0.0); }

/* ---- Backward of cross-entropy: gx = g (exp(x - lse) sum_c T - T) ------------------------------------------------ */

/* The gradient of each position's loss, and the factor of its softmax. */
static double position_grad(const job *j, int64_t p) { return j->grad_each ? get(j, j->grad, p) : j->grad_all; }

static void position_scales(const job *j, int64_t p, int64_t w) {
    for (int64_t i = p; i < p + w; i++) {
        int64_t t = j->target[i];
        double sum = t == j->ignore ? 0.0
                                    : (1.0 - j->smoothing) * weight_of(j, t) + j->smoothing / (double)j->classes * j->weight_sum;
        put(j, j->scale, i, sum * position_grad(j, i));
    }
}

static void subtract_targets(const job *j, int64_t n, int64_t from, int64_t w) {
    for (int64_t i = from; i < from + w; i++) {
        int64_t p = n * j->inner + i, at = n * j->classes * j->inner + i, t = j->target[p];
        if (t == j->ignore)
            continue;
        double g = position_grad(j, p), share = j->smoothing / (double)j->classes;
        int64_t y = at + t * j->inner;
        put(j, j->y, y, get(j, j->y, y) - g * (1.0 - j->smoothing) * weight_of(j, t));
        for (int64_t c = 0; c < j->classes && share > 0.0; c++)
            put(j, j->y, at + c * j->inner, get(j, j->y, at + c * j->inner) - g * share * weight_of(j, c));
    }
}

static void some_grads(const job *j, int64_t begin, int64_t end) {
    if (j->inner == 1) {
        int64_t at = begin * j->classes;
        position_scales(j, begin, end - begin);
        if (j->f64)
            j->k->f64.rows_scaled((const double *)j->x + at, (const double *)j->lse_in + begin, (const double *)j->scale + begin,
                                  (double *)j->y + at, end - begin, j->classes);
        else
            j->k->f32.rows_scaled((const float *)j->x + at, (const float *)j->lse_in + begin, (const float *)j->scale + begin,
                                  (float *)j->y + at, end - begin, j->classes);
    }
    for (int64_t b = begin; b < end; b++) {
        int64_t n = b / j->blocks, from = b % j->blocks * SOMA__SOFTMAX_COLUMNS,
                w = SOMA_MIN(SOMA__SOFTMAX_COLUMNS, j->inner - from);
        int64_t at = n * j->classes * j->inner + from, p = n * j->inner + from;
        if (j->inner > 1) {
            position_scales(j, p, w);
            if (j->f64)
                j->k->f64.columns_scaled((const double *)j->x + at, (const double *)j->lse_in + p, (const double *)j->scale + p,
                                         (double *)j->y + at, j->classes, j->inner, w);
            else
                j->k->f32.columns_scaled((const float *)j->x + at, (const float *)j->lse_in + p, (const float *)j->scale + p,
                                         (float *)j->y + at, j->classes, j->inner, w);
        }
        subtract_targets(j, n, from, w);
    }
}

static void grad_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t at = begin; at < end; at += j->each)
        some_grads(j, at, SOMA_MIN(at + j->each, end));
}

/* Inputs of the fused backward. */
enum { B_GRAD, B_SCORES, B_TARGET, B_LSE, B_TOTAL, B_WEIGHT };

static size_t backward_work(soma_args *a) {
    size_t bytes = soma__dense_bytes(a->out[0]) + soma__room((size_t)a->in[B_TARGET]->numel * sizeof(double));
    for (int i = 0; i < a->n_in; i++)
        bytes += soma__dense_bytes(a->in[i]);
    return bytes;
}

static const char *backward_kernel(soma_args *a) {
    job j = job_of(a, a->in[B_SCORES]);
    char *room = a->work;
    int64_t reduction = a->attrs[REDUCTION].value.i;
    j.smoothing = a->attrs[SMOOTHING].value.f;
    j.grad = soma__dense(a->in[B_GRAD], &room);
    j.x = soma__dense(a->in[B_SCORES], &room);
    j.target = soma__dense(a->in[B_TARGET], &room);
    j.lse_in = soma__dense(a->in[B_LSE], &room);
    j.weight = soma__dense(a->in[B_WEIGHT], &room);
    j.scale = soma__take(&room, (size_t)(j.n * j.inner) * sizeof(double));
    j.y = soma__dense_out(a->out[0], &room);
    j.grad_each = reduction == SOMA_NONE;
    if (!j.grad_each) {
        j.grad_all = get(&j, j.grad, 0);
        if (reduction == SOMA_MEAN)
            j.grad_all /= soma__load(a->in[B_TOTAL]->data, (soma_dtype)a->in[B_TOTAL]->dtype);
    }
    sum_weights(&j);
    each_position(&j, grad_range);
    soma__dense_done(a->out[0], j.y);
    return NULL;
}

static bool backward_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[B_SCORES], *target = a->in[B_TARGET], *grad = a->in[B_GRAD];
    const char *op = a->op->name;
    if (!soma__check_reduction(op, a->attrs[REDUCTION].value.i, SOMA_NONE) || !check_scores(op, x, target, a->in[B_WEIGHT]) ||
        !check_smoothing(op, a->attrs[SMOOTHING].value.f))
        return false;
    char text[SOMA__SHAPE_TEXT];
    bool each = a->attrs[REDUCTION].value.i == SOMA_NONE;
    if (each ? !soma__same_shape(grad, target) : grad->numel != 1) {
        soma_fail(SOMA_ESHAPE, "%s: grad is %s, which is not the loss's shape", op, soma__tensor_text(grad, text));
        return false;
    }
    if (!soma__same_shape(a->in[B_LSE], target) || a->in[B_TOTAL]->numel != 1) {
        soma_fail(SOMA_ESHAPE, "%s: lse must have the target's shape and total one element", op);
        return false;
    }
    *out = soma__meta_of(x);
    return true;
}

static bool backward_check(soma_args *a) {
    const soma_tensor *x = a->in[B_SCORES];
    return soma__check_classes(name_of(a), a->in[B_TARGET], x->shape[class_dim(x->ndim)], a->attrs[IGNORE].value.i);
}

/* ---- Coefficients, for gradients written in operators ------------------------------------------------------------ */

enum { COEF_CLASSES, COEF_IGNORE, COEF_SMOOTHING, COEF_DTYPE };

static bool coefficients_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *target = a->in[0];
    int64_t classes = a->attrs[COEF_CLASSES].value.i;
    if (classes < 0 || target->ndim == SOMA_MAX_DIMS) {
        soma_fail(SOMA_EINVAL, "class_coefficients: %lld classes, target of %d dimensions", (long long)classes,
                  (int)target->ndim);
        return false;
    }
    if (!check_weight(name_of(a), a->in[1], classes) || !check_smoothing(name_of(a), a->attrs[COEF_SMOOTHING].value.f))
        return false;
    out->dtype = (soma_dtype)a->attrs[COEF_DTYPE].value.i;
    out->ndim = target->ndim + 1;
    int c = class_dim(out->ndim);
    for (int d = 0, from = 0; d < out->ndim; d++)
        out->shape[d] = d == c ? classes : target->shape[from++];
    return true;
}

static bool coefficients_check(soma_args *a) {
    return soma__check_classes(name_of(a), a->in[0], a->attrs[COEF_CLASSES].value.i, a->attrs[COEF_IGNORE].value.i);
}

static const char *coefficients_kernel(soma_args *a) {
    const soma_tensor *target = a->in[0], *weight = a->in[1];
    soma_tensor *y = a->out[0];
    int64_t classes = a->attrs[COEF_CLASSES].value.i, inner = 1, size = (int64_t)soma_dtype_size((soma_dtype)y->dtype);
    double s = a->attrs[COEF_SMOOTHING].value.f;
    for (int d = 1; d < target->ndim; d++)
        inner *= target->shape[d];
    for (int64_t p = 0; p < target->numel; p++) {
        int64_t t = soma__load_int(soma__element(target, p), (soma_dtype)target->dtype);
        char *row = (char *)y->data + (p / inner * classes * inner + p % inner) * size;
        for (int64_t c = 0; c < classes; c++) {
            double w = weight ? soma__load(soma__element(weight, c), (soma_dtype)weight->dtype) : 1.0;
            double v = t == a->attrs[COEF_IGNORE].value.i ? 0.0 : (c == t ? (1.0 - s) * w : 0.0) + s / (double)classes * w;
            soma__store(row + c * inner * size, (soma_dtype)y->dtype, v);
        }
    }
    return NULL;
}

/* ---- Gradients --------------------------------------------------------------------------------------------------- */

static soma_tensor *coefficients(soma_grad_args *g, double smoothing) {
    soma_attr attrs[] = {SOMA_INT("classes", g->in_meta[0].shape[class_dim(g->in_meta[0].ndim)]),
                         SOMA_INT("ignore_index", g->attrs[IGNORE].value.i), SOMA_FLOAT("label_smoothing", smoothing),
                         SOMA_DTYPE("dtype", g->in_meta[0].dtype)};
    return SOMA__RUN(&soma__class_coefficients_op, attrs, g->in[1], g->in[2]);
}

/* The gradient of each position's loss, ready to be multiplied with scores. */
static soma_tensor *loss_grad(soma_grad_args *g, soma_tensor *total) {
    soma_tensor *grad = g->gout[0];
    if (grad && g->attrs[REDUCTION].value.i == SOMA_MEAN)
        grad = soma_div(grad, soma_to(total, g->in_meta[0].dtype));
    if (grad && g->attrs[REDUCTION].value.i == SOMA_NONE)
        grad = soma_unsqueeze(grad, class_dim(g->in_meta[0].ndim));
    return grad;
}

static void cross_entropy_backward(soma_grad_args *g) {
    int64_t dim = class_dim(g->in_meta[0].ndim);
    soma_tensor *grad = g->gout[0];
    if (!grad)
        return;
    if (!g->create_graph) {
        g->gin[0] =
            SOMA__RUN(&soma__cross_entropy_backward_op, g->attrs, grad, g->in[0], g->in[1], g->out[1], g->out[2], g->in[2]);
        return;
    }
    soma_tensor *t = coefficients(g, g->attrs[SMOOTHING].value.f), *p = soma_softmax(g->in[0], dim);
    g->gin[0] = soma_mul(loss_grad(g, g->out[2]), soma_sub(soma_mul(p, soma_sum(t, 1, &dim, true)), t));
}

static void nll_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = soma_mul(soma_neg(coefficients(g, 0.0)), loss_grad(g, g->out[1]));
}

static int64_t cross_entropy_flops(soma_args *a) { return 8 * a->in[0]->numel; }
static int64_t nll_flops(soma_args *a) { return 2 * a->in[1]->numel; }
static int64_t backward_flops(soma_args *a) { return 8 * a->in[B_SCORES]->numel; }

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

typedef struct sample_case {
    int ndim;
    int64_t shape[4];
    int reduction;
    bool weight;
    double smoothing;
    int64_t ignore;
} sample_case;
static const sample_case cases[] = {
    {2, {5, 7}, SOMA_MEAN, false, 0.0, -100},  {2, {5, 7}, SOMA_SUM, true, 0.0, 2},           {3, {2, 4, 3}, SOMA_NONE, true, 0.2, 1},
    {4, {2, 3, 2, 2}, SOMA_MEAN, true, 0.1, 0}, {1, {6}, SOMA_MEAN, false, 0.3, -100},         {2, {33, 40}, SOMA_MEAN, false, 0.1, 3},
};

static bool class_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= (int)SOMA_LEN(cases))
        return false;
    const sample_case *k = &cases[i];
    int64_t shape[4], c = class_dim(k->ndim), classes = k->shape[c];
    int n = 0;
    for (int d = 0; d < k->ndim; d++)
        if (d != c)
            shape[n++] = k->shape[d];
    *s = (soma_sample){.n_in = k->weight ? 3 : 2, .n_attrs = 2,
                       .attrs = {SOMA_INT("reduction", k->reduction), SOMA_INT("ignore_index", k->ignore)}};
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i, k->ndim, k->shape);
    s->in[1] = soma__sample(SOMA_I64, 0, (double)classes, (uint64_t)i + 30, n, shape);
    if (k->weight)
        s->in[2] = soma__sample(dtype, 0.2, 2, (uint64_t)i + 60, 1, &classes);
    return true;
}

static bool cross_entropy_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!class_samples(i, dtype, s))
        return false;
    s->attrs[s->n_attrs++] = SOMA_FLOAT("label_smoothing", cases[i].smoothing);
    return true;
}

static bool backward_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!cross_entropy_samples(i, dtype, s))
        return false;
    soma_dtype compute = soma__compute_dtype(dtype);
    soma_tensor *x = s->in[0], *t = s->in[1], *w = s->in[2];
    if (!x || !t)
        return true;
    bool each = cases[i].reduction == SOMA_NONE;
    s->in[B_GRAD] = soma__sample(dtype, 0.5, 2, 90, each ? t->ndim : 0, t->shape);
    s->in[B_SCORES] = x;
    s->in[B_TARGET] = t;
    s->in[B_LSE] = soma__sample(compute, 2, 4, 91, t->ndim, t->shape);
    s->in[B_TOTAL] = soma__sample(compute, 3, 5, 92, 0, NULL);
    s->in[B_WEIGHT] = w;
    s->n_in = w ? 6 : 5;
    s->no_gradcheck = true;
    return true;
}

static bool class_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int n; int64_t target[2]; int64_t classes; int reduction; soma_status status; const char *error; } bad[] = {
        {1, {3}, 4, 0, SOMA_ESHAPE, "expected [2]"},
        {1, {2}, 5, 0, SOMA_ESHAPE, "one number for each of the 4 classes"},
        {1, {2}, 4, 3, SOMA_EINVAL, "reduction is 3"},
        {1, {2}, 4, 0, SOMA_EINVAL, "target at [1] is class 9, expected 0 to 3"},
    };
    if (i >= (int)SOMA_LEN(bad))
        return false;
    *s = (soma_sample){.n_in = 3, .n_attrs = 1, .attrs = {SOMA_INT("reduction", bad[i].reduction)}, .status = bad[i].status,
                       .error = bad[i].error};
    s->in[0] = soma__sample(dtype, -1, 1, 1, 2, (const int64_t[]){2, 4});
    s->in[1] = i == 3 ? soma_from_array((const int64_t[]){0, 9}, 1, (const int64_t[]){2}, SOMA_I64)
                      : soma__sample(SOMA_I64, 0, 4, 2, bad[i].n, bad[i].target);
    s->in[2] = soma__sample(dtype, 0, 1, 3, 1, &bad[i].classes);
    return true;
}

static bool backward_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 1 || !backward_samples(0, dtype, s))
        return false;
    s->in[B_GRAD] = soma__sample(dtype, 0, 1, 1, 1, (const int64_t[]){3});
    s->status = SOMA_ESHAPE;
    s->error = "not the loss's shape";
    return true;
}

static bool coefficients_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!class_samples(i, dtype, s))
        return false;
    const sample_case *k = &cases[i];
    s->in[0] = s->in[1];
    s->in[1] = s->in[2];
    s->in[2] = NULL;
    s->n_in--;
    s->n_attrs = 4;
    s->attrs[0] = SOMA_INT("classes", k->shape[class_dim(k->ndim)]);
    s->attrs[1] = SOMA_INT("ignore_index", k->ignore);
    s->attrs[2] = SOMA_FLOAT("label_smoothing", k->smoothing);
    s->attrs[3] = SOMA_DTYPE("dtype", dtype);
    s->no_gradcheck = true;
    return true;
}

static bool coefficients_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2 || !coefficients_samples(0, dtype, s))
        return false;
    s->attrs[0] = SOMA_INT("classes", i == 0 ? -1 : 1);
    s->status = SOMA_EINVAL;
    s->error = i == 0 ? "-1 classes" : "expected 0 to 0";
    return true;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

#define SCORES(n) {{.name = n}, {.name = "target", .dtypes = SOMA_INTEGERS, .apart = true}, {.name = "weight", .optional = true}}
#define CLASS_REDUCTION SOMA_DEF_INT("reduction", SOMA_MEAN, "0: mean, 1: sum, 2: none")
#define IGNORE_ATTR SOMA_DEF_INT("ignore_index", -100, "targets of this class do not count")
#define SMOOTHING_ATTR SOMA_DEF_FLOAT("label_smoothing", 0.0, "share of the target that is spread evenly over all classes")

const soma_op soma__class_entropy_op = {
    .name = "class_entropy", .family = "loss", .internal = true,
    .doc = "cross_entropy of targets that are classes: sum_c T[c] (log(sum(exp(x))) - x[c]) of scores x [N, C, …], T[c] = (1 - s) w[c] [c = target] "
           "+ s / C w[c]; the mean is over the weights of the targets. Also gives log(sum(exp(x))) and the sum of the weights",
    .in = SCORES("logits"), .n_in = 3, .outputs = 3,
    .attrs = SOMA_ATTRS(CLASS_REDUCTION, IGNORE_ATTR, SMOOTHING_ATTR),
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .shape = cross_entropy_shape, .check = loss_check, .work = loss_work,
    .cpu = {cross_entropy_kernel}, .backward = cross_entropy_backward, .no_grad_in = 6, .no_grad_out = 6,
    .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_IN(1) | SOMA_SAVE_IN(2) | SOMA_SAVE_OUT(1) | SOMA_SAVE_OUT(2), .flops = cross_entropy_flops,
    .samples = cross_entropy_samples, .errors = class_errors,
};
const soma_op soma__cross_entropy_backward_op = {
    .name = "cross_entropy_backward", .family = "loss", .doc = "gradient of cross_entropy: g (exp(x - lse) sum_c T[c] - T)",
    .in = {{.name = "grad"}, {.name = "logits"}, {.name = "target", .dtypes = SOMA_INTEGERS, .apart = true},
           {.name = "lse", .apart = true}, {.name = "total", .apart = true}, {.name = "weight", .optional = true}},
    .n_in = 6, .outputs = 1, .attrs = SOMA_ATTRS(CLASS_REDUCTION, IGNORE_ATTR, SMOOTHING_ATTR), .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME, .shape = backward_shape, .check = backward_check, .work = backward_work, .cpu = {backward_kernel},
    .backward = SOMA_NONDIFF, .internal = true, .flops = backward_flops, .samples = backward_samples, .errors = backward_errors,
};
const soma_op soma__nll_loss_op = {
    .name = "nll_loss", .family = "loss", .onnx = "NegativeLogLikelihoodLoss",
    .doc = "-w[target] logp[target] of log-probabilities [N, C, …]; the mean is over the weights of the targets. Also gives their sum",
    .in = SCORES("logp"), .n_in = 3, .outputs = 2, .attrs = SOMA_ATTRS(CLASS_REDUCTION, IGNORE_ATTR), .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME, .shape = nll_shape, .check = loss_check, .work = loss_work, .cpu = {nll_kernel},
    .backward = nll_backward, .no_grad_in = 6, .no_grad_out = 2, .saves = SOMA_SAVE_IN(1) | SOMA_SAVE_IN(2) | SOMA_SAVE_OUT(1),
    .flops = nll_flops, .samples = class_samples, .errors = class_errors,
};
const soma_op soma__class_coefficients_op = {
    .name = "class_coefficients", .family = "loss",
    .doc = "T[c] = (1 - s) w[c] [c = target] + s / C w[c], 0 where the target is ignored: what a target spreads over the classes",
    .in = {{.name = "target", .dtypes = SOMA_INTEGERS, .apart = true}, {.name = "weight", .optional = true, .apart = true}}, .n_in = 2,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("classes", "how many"), IGNORE_ATTR, SMOOTHING_ATTR,
                         SOMA_DEF_DTYPE("dtype", SOMA_F32, "of the result")),
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE, .shape = coefficients_shape, .check = coefficients_check,
    .cpu = {coefficients_kernel}, .backward = SOMA_NONDIFF, .internal = true, .samples = coefficients_samples,
    .errors = coefficients_errors,
};

/* ---- The function of loss.h -------------------------------------------------------------------------------------- */

soma_tensor *soma_nll_loss_ex(soma_tensor *logp, soma_tensor *target, const soma_loss_opts *opts) {
    soma_loss_opts o = soma__loss_defaults(opts);
    soma_attr attrs[] = {SOMA_INT("reduction", (int64_t)o.reduction),
                         SOMA_INT("ignore_index", o.ignore_index ? o.ignore_index : -100)};
    return SOMA__RUN(&soma__nll_loss_op, attrs, logp, target, o.weight);
}
