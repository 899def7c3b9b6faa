/* k-means: k-means++ starts and Lloyd's passes. Distances come from one matrix product, |x|² - 2 x c + |c|²; sums are in f64 and in the
 * order of the samples. */
#include "classic/classic.h"

#include <math.h>
#include <string.h>

typedef struct clusters {
    int64_t n, p, k;
    soma_tensor *x;          /* f64 [n, p] */
    soma_tensor *centers;    /* f64 [k, p] */
    int64_t *label;
    double *distance;        /* of each sample to its centre, squared */
    double inertia;
    int64_t iterations;
} clusters;

static double squared_distance(const double *a, const double *b, int64_t p) {
    double s = 0;
    for (int64_t j = 0; j < p; j++)
        s += (a[j] - b[j]) * (a[j] - b[j]);
    return s;
}

/* Nearest centres; the distance itself is taken again without cancellation. */
static bool assign(clusters *c) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *norm = soma_sum(soma_square(c->centers), SOMA_DIMS(1), false);
    soma_tensor *score = soma_sub(norm, soma_mul_scalar(soma_matmul(c->x, soma_transpose(c->centers, 0, 1)), 2));
    soma_tensor *nearest = soma_argmin(score, 1, false);
    const double *x = soma_data(c->x), *centers = soma_data(c->centers);
    const int64_t *at = nearest ? soma_data(nearest) : NULL;
    c->inertia = 0;
    for (int64_t i = 0; at && i < c->n; i++) {
        c->label[i] = at[i];
        c->distance[i] = squared_distance(x + i * c->p, centers + at[i] * c->p, c->p);
        c->inertia += c->distance[i];
    }
    soma_scope_end(scope);
    return at != NULL;
}

/* Means of the clusters; returns how far the centres moved, squared and summed, -1 on error. */
static double move(clusters *c) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *sums = soma_zeros(SOMA_SHAPE(c->k, c->p), SOMA_F64), *counts = soma_zeros(SOMA_SHAPE(c->k), SOMA_I64);
    if (soma__failed())
        return -1;
    double *sum = soma_data(sums), *center = soma_data(c->centers), moved = 0;
    const double *x = soma_data(c->x);
    int64_t *count = soma_data(counts);
    for (int64_t i = 0; i < c->n; i++)
        count[c->label[i]]++;
    for (int64_t k = 0; k < c->k; k++) {
        if (count[k] > 0)
            continue;
        int64_t far = 0; /* from a cluster that can spare it */
        for (int64_t i = 1; i < c->n; i++)
            if (count[c->label[i]] > 1 && (c->distance[i] > c->distance[far] || count[c->label[far]] < 2))
                far = i;
        count[c->label[far]]--;
        c->label[far] = k;
        c->distance[far] = 0;
        count[k] = 1;
    }
    for (int64_t i = 0; i < c->n; i++)
        for (int64_t j = 0; j < c->p; j++)
            sum[c->label[i] * c->p + j] += x[i * c->p + j];
    for (int64_t k = 0; k < c->k; k++)
        for (int64_t j = 0; j < c->p; j++) {
            double now = sum[k * c->p + j] / (double)count[k], by = now - center[k * c->p + j];
            moved += by * by;
            center[k * c->p + j] = now;
        }
    soma_touch(c->centers);
    soma_scope_end(scope);
    return moved;
}

/* Each next centre is a sample, drawn with a probability in proportion to its squared distance to those there are; of a few draws the one that
 * helps most (Arthur & Vassilvitskii 2007, section 6). */
static bool plus_plus(clusters *c) {
    int64_t tries = 2 + (int64_t)log((double)c->k);
    soma_tensor *draws = soma_rand(SOMA_SHAPE(c->k, tries), SOMA_F64), *room = soma_empty(SOMA_SHAPE(2, c->n), SOMA_F64);
    if (soma__failed())
        return false;
    const double *u = soma_data(draws), *x = soma_data(c->x);
    double *center = soma_data(c->centers), *best = soma_data(room), *distance = c->distance;
    double total = 0;
    for (int64_t k = 0; k < c->k; k++) {
        double least = INFINITY;
        int64_t chosen = 0;
        for (int64_t t = 0; t < (k == 0 ? 1 : tries); t++) {
            double left = u[k * tries + t] * total, sum = 0, *trial = best + c->n;
            int64_t i = k == 0 ? (int64_t)(u[0] * (double)c->n) : 0;
            for (; k > 0 && i < c->n - 1 && left >= distance[i]; i++)
                left -= distance[i];
            for (int64_t s = 0; s < c->n; s++) {
                double d = squared_distance(x + s * c->p, x + i * c->p, c->p);
                trial[s] = k > 0 && distance[s] < d ? distance[s] : d;
                sum += trial[s];
            }
            if (sum < least) {
                least = sum;
                chosen = i;
                memcpy(best, trial, (size_t)c->n * sizeof *best);
            }
        }
        memcpy(center + k * c->p, x + chosen * c->p, (size_t)c->p * sizeof *center);
        memcpy(distance, best, (size_t)c->n * sizeof *best);
        total = least;
    }
    soma_touch(c->centers);
    return true;
}

static bool lloyd(clusters *c, int64_t most, double enough) {
    double moved = INFINITY;
    for (c->iterations = 0; c->iterations < most && moved > enough; c->iterations++) {
        if (!assign(c))
            return false;
        moved = move(c);
        if (moved < 0)
            return false;
    }
    return assign(c);
}

static bool run_all(clusters *c, const soma_kmeans_opts *o, soma_dtype dtype, soma_kmeans_result *r) {
    soma_tensor *variance = soma_var(c->x, SOMA_DIMS(0), 0, false);
    double enough = (o->tol > 0 ? o->tol : 1e-4) * (variance ? soma_item(soma_mean(variance, SOMA_ALL, false)) : 0);
    int64_t runs = o->start ? 1 : o->runs ? o->runs : 10;
    soma_tensor *labels = soma_empty(SOMA_SHAPE(c->n), SOMA_I64), *distance = soma_empty(SOMA_SHAPE(c->n), SOMA_F64);
    soma_tensor *best = soma_empty(SOMA_SHAPE(c->k, c->p), SOMA_F64), *best_labels = soma_empty(SOMA_SHAPE(c->n), SOMA_I64);
    c->centers = soma_empty(SOMA_SHAPE(c->k, c->p), SOMA_F64);
    if (soma__failed())
        return false;
    c->label = soma_data(labels);
    c->distance = soma_data(distance);
    r->inertia = INFINITY;
    for (int64_t i = 0; i < runs; i++) {
        soma_scope scope = soma_scope_begin();
        bool ok = o->start ? soma_copy_(c->centers, o->start) != NULL : plus_plus(c);
        ok = ok && lloyd(c, o->max_iter ? o->max_iter : 300, enough);
        soma_scope_end(scope);
        if (!ok)
            return false;
        if (c->inertia < r->inertia) {
            r->inertia = c->inertia;
            r->iterations = c->iterations;
            soma_copy_(best, c->centers);
            soma_copy_(best_labels, labels);
        }
    }
    r->centers = soma_escape(soma_clone(soma_to(best, dtype)));
    r->labels = soma_escape(best_labels);
    return !soma__failed();
}

static bool start_fits(const soma_kmeans_opts *o, int64_t k, int64_t p) {
    char text[SOMA__SHAPE_TEXT];
    if (!o->start || (soma_ndim(o->start) == 2 && soma_size(o->start, 0) == k && soma_size(o->start, 1) == p))
        return true;
    soma_fail(SOMA_ESHAPE, "kmeans: start is %s, expected [%lld, %lld]", soma__shape_text(soma_ndim(o->start), soma_shape(o->start), text, sizeof text),
              (long long)k, (long long)p);
    return false;
}

soma_status soma_kmeans_ex(soma_tensor *x, int64_t k, soma_kmeans_result *out, const soma_kmeans_opts *opts) {
    soma_kmeans_opts o = {0};
    if (opts)
        memcpy(&o, opts, SOMA_MIN(opts->size ? opts->size : sizeof o, sizeof o));
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    soma__classic c = {0};
    soma_kmeans_result r = {0};
    if (soma__classic_x(&c, "kmeans", x)) {
        if (k < 1 || k > c.n || o.runs < 0 || o.max_iter < 0)
            soma_fail(SOMA_EINVAL, "kmeans: %lld clusters of %lld samples, %lld runs, %lld passes: expected 1 … %lld clusters and no negative numbers",
                      (long long)k, (long long)c.n, (long long)o.runs, (long long)o.max_iter, (long long)c.n);
        else if (start_fits(&o, k, c.p))
            run_all(&(clusters){.n = c.n, .p = c.p, .k = k, .x = c.x}, &o, c.dtype, &r);
    }
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    if (soma__failed())
        return soma__ctx()->error;
    r.size = out->size;
    *out = r;
    return SOMA_OK;
}

soma_tensor *soma_kmeans_predict(soma_tensor *x, soma_tensor *centers) {
    soma_scope scope = soma_scope_begin();
    soma__classic c = {0};
    soma_tensor *labels = NULL;
    if (soma__classic_x(&c, "kmeans_predict", x) && start_fits(&(soma_kmeans_opts){.start = centers}, centers ? soma_size(centers, 0) : 0, c.p)) {
        soma_tensor *at = soma_to(centers, SOMA_F64), *norm = soma_sum(soma_square(at), SOMA_DIMS(1), false);
        labels = soma_escape(soma_argmin(soma_sub(norm, soma_mul_scalar(soma_matmul(c.x, soma_transpose(at, 0, 1)), 2)), 1, false));
    }
    soma_scope_end(scope);
    return labels;
}
