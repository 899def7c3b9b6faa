/* layer_norm: y = (x - mean) / sqrt(var + eps) weight + bias, mean and variance over the last n_dims dimensions. Ba et al. 2016. The mean
 * and 1 / sqrt(var + eps) of each row are outputs too, for the fused gradient. */
#include "ops/norm.h"

#include <math.h>
#include <string.h>

enum { N_DIMS, EPS };
enum { B_GRAD, B_X, B_MEAN, B_RSTD, B_WEIGHT };

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

static bool check_n_dims(const char *op, int64_t n_dims, const soma_tensor *x) {
    char text[SOMA__SHAPE_TEXT];
    if (n_dims >= 1 && n_dims <= x->ndim)
        return true;
    soma_fail(SOMA_ESHAPE, "%s: n_dims is %lld for x of %s; expected 1 to the number of dimensions", op, (long long)n_dims,
              soma__tensor_text(x, text));
    return false;
}

static soma_meta row_meta(const soma_tensor *x, int n_dims) {
    soma_meta m = {.dtype = x->dtype == SOMA_F64 ? SOMA_F64 : SOMA_F32, .ndim = x->ndim - n_dims};
    memcpy(m.shape, x->shape, (size_t)m.ndim * sizeof *m.shape);
    return m;
}

static bool layer_norm_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[X];
    if (!check_n_dims(a->op->name, a->attrs[N_DIMS].value.i, x))
        return false;
    int n = (int)a->attrs[N_DIMS].value.i;
    const int64_t *inside = x->shape + x->ndim - n;
    if (!soma__check_affine(a->op->name, "weight", x, a->in[WEIGHT], n, inside) ||
        !soma__check_affine(a->op->name, "bias", x, a->in[BIAS], n, inside))
        return false;
    out[0] = soma__meta_of(x);
    out[1] = out[2] = row_meta(x, n);
    return true;
}

/* ---- Kernels ----------------------------------------------------------------------------------------------------- */

typedef struct job {
    soma__norm_set k;
    int64_t rows, width, rows_per_segment, segments;
    const char *x, *g, *weight, *bias, *mean_in, *rstd_in;
    char *y, *mean, *rstd, *gx;
    double *partial; /* [segments][2][width]: gw, gb */
    double eps;
} job;

/* At most 32 segments of at least 64 rows: the sums over rows are cut by size alone. */
static job job_of(const soma_tensor *x, int64_t n_dims) {
    job j = {.k = soma__norm_pick_set(x), .rows = 1, .width = 1};
    for (int d = 0; d < x->ndim; d++)
        *(d < x->ndim - n_dims ? &j.rows : &j.width) *= x->shape[d];
    j.rows_per_segment = SOMA_MAX(64, (j.rows + 31) / 32);
    j.segments = (j.rows + j.rows_per_segment - 1) / j.rows_per_segment;
    return j;
}

static char *filled(const soma__norm_set *k, char **room, int64_t n, double value) {
    char *p = soma__take(room, (size_t)n * k->size);
    for (int64_t i = 0; i < n; i++)
        soma__put(k, p, i, value);
    return p;
}

static void forward_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t r = begin; r < end; r++) {
        const char *x = j->x + (size_t)(r * j->width) * j->k.size;
        double mean = soma__row_sum(&j->k, x, j->width) / (double)j->width;
        double rstd = 1.0 / sqrt(soma__row_sqdev(&j->k, x, j->width, mean) / (double)j->width + j->eps);
        soma__put(&j->k, j->mean, r, mean);
        soma__put(&j->k, j->rstd, r, rstd);
        j->k.norm->affine_row(x, j->y + (size_t)(r * j->width) * j->k.size, j->width, mean, rstd, j->weight, j->bias);
    }
}

static size_t layer_norm_work(soma_args *a) {
    job j = job_of(a->in[X], a->attrs[N_DIMS].value.i);
    return soma__dense_bytes(a->in[X]) + soma__dense_bytes(a->in[WEIGHT]) + soma__dense_bytes(a->in[BIAS]) +
           soma__dense_bytes(a->out[0]) + 2 * soma__room((size_t)j.width * j.k.size);
}

static const char *layer_norm_kernel(soma_args *a) {
    job j = job_of(a->in[X], a->attrs[N_DIMS].value.i);
    char *room = a->work;
    j.eps = a->attrs[EPS].value.f;
    j.x = soma__dense(a->in[X], &room);
    j.weight = a->in[WEIGHT] ? soma__dense(a->in[WEIGHT], &room) : filled(&j.k, &room, j.width, 1.0);
    j.bias = a->in[BIAS] ? soma__dense(a->in[BIAS], &room) : filled(&j.k, &room, j.width, 0.0);
    j.y = soma__dense_out(a->out[0], &room);
    j.mean = a->out[1]->data;
    j.rstd = a->out[2]->data;
    if (j.rows > 0)
        soma__parallel(j.rows, SOMA_MAX(1, 8192 / SOMA_MAX(1, j.width)), forward_range, &j);
    soma__dense_done(a->out[0], j.y);
    return NULL;
}

static void backward_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    double d = (double)j->width;
    for (int64_t s = begin; s < end; s++) {
        double *gw = j->partial + 2 * s * j->width, *gb = gw + j->width;
        memset(gw, 0, (size_t)(2 * j->width) * sizeof *gw);
        const int64_t from = s * j->rows_per_segment, last = SOMA_MIN(j->rows, from + j->rows_per_segment);
        for (int64_t r = from; r < last; r++) {
            size_t at = (size_t)(r * j->width) * j->k.size;
            double mean = soma__get(&j->k, j->mean_in, r), rstd = soma__get(&j->k, j->rstd_in, r), sums[2] = {0.0, 0.0};
            j->k.norm->grad_sums(j->g + at, j->x + at, j->weight, j->width, mean, sums);
            j->k.norm->grad_row(j->g + at, j->x + at, j->weight, j->gx + at, j->width, mean, sums[0] / d, sums[1] / d * rstd * rstd,
                                rstd);
            const int64_t behind = (r - from) % SOMA__NORM_ROWS;
            if (behind < SOMA__NORM_ROWS - 1 && r < last - 1)
                continue;
            at -= (size_t)(behind * j->width) * j->k.size;
            const size_t first = (size_t)(r - behind) * j->k.size;
            j->k.norm->grad_weights(j->g + at, j->x + at, behind + 1, j->width, j->mean_in + first, j->rstd_in + first, gw, gb);
        }
    }
}

static size_t backward_work(soma_args *a) {
    job j = job_of(a->in[B_X], a->attrs[N_DIMS].value.i);
    size_t bytes = soma__room((size_t)(2 * j.segments * j.width) * sizeof(double)) + soma__room((size_t)j.width * j.k.size);
    for (int i = 0; i < a->n_in; i++)
        bytes += soma__dense_bytes(a->in[i]);
    for (int i = 0; i < a->n_out; i++)
        bytes += soma__dense_bytes(a->out[i]);
    return bytes;
}

static const char *backward_kernel(soma_args *a) {
    job j = job_of(a->in[B_X], a->attrs[N_DIMS].value.i);
    char *room = a->work;
    j.partial = soma__take(&room, (size_t)(2 * j.segments * j.width) * sizeof(double));
    j.g = soma__dense(a->in[B_GRAD], &room);
    j.x = soma__dense(a->in[B_X], &room);
    j.mean_in = soma__dense(a->in[B_MEAN], &room);
    j.rstd_in = soma__dense(a->in[B_RSTD], &room);
    j.weight = a->in[B_WEIGHT] ? soma__dense(a->in[B_WEIGHT], &room) : filled(&j.k, &room, j.width, 1.0);
    j.gx = soma__dense_out(a->out[0], &room);
    char *gw = soma__dense_out(a->out[1], &room), *gb = soma__dense_out(a->out[2], &room);
    if (j.segments > 0)
        soma__parallel(j.segments, 1, backward_range, &j);
    for (int64_t i = 0; i < j.width; i++) {
        double w = 0.0, b = 0.0;
        for (int64_t s = 0; s < j.segments; s++) {
            w += j.partial[2 * s * j.width + i];
            b += j.partial[(2 * s + 1) * j.width + i];
        }
        soma__put(&j.k, gw, i, w);
        soma__put(&j.k, gb, i, b);
    }
    soma__dense_done(a->out[0], j.gx);
    soma__dense_done(a->out[1], gw);
    soma__dense_done(a->out[2], gb);
    return NULL;
}

static bool backward_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[B_X];
    char g[SOMA__SHAPE_TEXT], whole[SOMA__SHAPE_TEXT];
    if (!check_n_dims(a->op->name, a->attrs[N_DIMS].value.i, x))
        return false;
    if (!soma__same_shape(a->in[B_GRAD], x) || a->in[B_GRAD]->dtype != x->dtype) {
        soma_fail(SOMA_ESHAPE, "%s: grad is %s, x is %s; they must be alike", a->op->name, soma__tensor_text(a->in[B_GRAD], g),
                  soma__tensor_text(x, whole));
        return false;
    }
    int n = (int)a->attrs[N_DIMS].value.i, outer = x->ndim - n;
    if (!soma__check_affine(a->op->name, "mean", x, a->in[B_MEAN], outer, x->shape) ||
        !soma__check_affine(a->op->name, "rstd", x, a->in[B_RSTD], outer, x->shape) ||
        !soma__check_affine(a->op->name, "weight", x, a->in[B_WEIGHT], n, x->shape + outer))
        return false;
    out[0] = soma__meta_of(x);
    out[1] = (soma_meta){.dtype = (soma_dtype)(a->in[B_WEIGHT] ? a->in[B_WEIGHT] : x)->dtype, .ndim = n};
    memcpy(out[1].shape, x->shape + outer, (size_t)n * sizeof *x->shape);
    out[2] = out[1];
    return true;
}

/* ---- Gradient ---------------------------------------------------------------------------------------------------- */

/* xhat = (x - mean) rstd; gb = sum g, gw = sum g xhat over rows; gx = rstd (gw - mean(gw) - xhat mean(gw xhat)) with gw = g w. */
static void in_operators(soma_grad_args *g) {
    int n = (int)g->attrs[N_DIMS].value.i;
    int64_t dims[SOMA_MAX_DIMS];
    for (int i = 0; i < n; i++)
        dims[i] = g->in_meta[X].ndim - n + i;
    soma_tensor *centred = soma_sub(g->in[X], soma_mean(g->in[X], n, dims, true));
    soma_tensor *rstd = soma_rsqrt(soma_add_scalar(soma_mean(soma_square(centred), n, dims, true), g->attrs[EPS].value.f));
    soma_tensor *xhat = soma_mul(centred, rstd), *grad = g->gout[0];
    if (g->need[BIAS])
        g->gin[BIAS] = soma__sum_to(grad, &g->in_meta[BIAS]);
    if (g->need[WEIGHT])
        g->gin[WEIGHT] = soma__sum_to(soma_mul(grad, xhat), &g->in_meta[WEIGHT]);
    if (!g->need[X])
        return;
    soma_tensor *gw = g->in[WEIGHT] ? soma_mul(grad, g->in[WEIGHT]) : grad;
    soma_tensor *along = soma_mul(xhat, soma_mean(soma_mul(gw, xhat), n, dims, true));
    soma_tensor *gx = soma_mul(rstd, soma_sub(soma_sub(gw, soma_mean(gw, n, dims, true)), along));
    g->gin[X] = soma_to(gx, g->in_meta[X].dtype);
}

static void layer_norm_backward(soma_grad_args *g) {
    soma__norm_gradient(g, &soma__layer_norm_backward_op, in_operators);
}

static int64_t forward_flops(soma_args *a) { return 7 * a->in[X]->numel; }
static int64_t backward_flops(soma_args *a) { return 13 * a->in[B_X]->numel; }

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static bool layer_norm_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; int n_dims; bool affine; } cases[] = {
        {2, {4, 9}, 1, true}, {3, {2, 3, 5}, 2, true}, {2, {3, 40}, 1, false}, {1, {8}, 1, true}, {3, {3, 2, 7}, 1, true},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    const int64_t *inside = cases[i].shape + cases[i].ndim - cases[i].n_dims;
    *s = (soma_sample){.n_in = cases[i].affine ? 3 : 1, .n_attrs = 2,
                       .attrs = {SOMA_INT("n_dims", cases[i].n_dims), SOMA_FLOAT("eps", 1e-3)}};
    s->in[X] = soma__sample(dtype, -2, 3, (uint64_t)i, cases[i].ndim, cases[i].shape);
    if (i == (int)SOMA_LEN(cases) - 1)
        s->in[X] = soma__strided(s->in[X]);
    if (cases[i].affine) {
        s->in[WEIGHT] = soma__sample(dtype, 0.5, 2, (uint64_t)i + 20, cases[i].n_dims, inside);
        s->in[BIAS] = soma__sample(dtype, -1, 1, (uint64_t)i + 40, cases[i].n_dims, inside);
    }
    return true;
}

static bool backward_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_sample f;
    if (!layer_norm_samples(i, dtype, &f))
        return false;
    *s = f;
    soma_tensor *x = f.in[X];
    if (!x)
        return true;
    soma_dtype statistics = dtype == SOMA_F64 ? SOMA_F64 : SOMA_F32;
    int outer = x->ndim - (int)f.attrs[0].value.i;
    s->n_in = f.n_in == 3 ? 5 : 4;
    s->in[B_GRAD] = soma__sample(dtype, -1, 1, (uint64_t)i + 100, x->ndim, x->shape);
    s->in[B_X] = x;
    s->in[B_MEAN] = soma__sample(statistics, 0, 1, 120, outer, x->shape);
    s->in[B_RSTD] = soma__sample(statistics, 0.5, 1, 121, outer, x->shape);
    s->in[B_WEIGHT] = f.in[WEIGHT];
    s->no_gradcheck = true;
    return true;
}

static bool layer_norm_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2)
        return false;
    int64_t four = 4;
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_INT("n_dims", i == 0 ? 3 : 1)}, .status = SOMA_ESHAPE,
                       .error = i == 0 ? "n_dims is 3" : "so weight must be [3]"};
    s->in[X] = soma__sample(dtype, -1, 1, 1, 2, (const int64_t[]){2, 3});
    s->in[WEIGHT] = soma__sample(dtype, -1, 1, 2, 1, &four);
    return true;
}

static bool backward_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 1 || !backward_samples(0, dtype, s))
        return false;
    s->in[B_GRAD] = soma__sample(dtype, -1, 1, 1, 2, (const int64_t[]){2, 3});
    s->status = SOMA_ESHAPE;
    s->error = "must be alike";
    return true;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

#define ATTRS SOMA_ATTRS(SOMA_DEF_INT("n_dims", 1, "how many dimensions, the last ones, are normalised"), \
                         SOMA_DEF_FLOAT("eps", 1e-5, "added to the variance"))

const soma_op soma__layer_norm_op = {
    .name = "layer_norm", .family = "norm", .onnx = "LayerNormalization",
    .doc = "(x - mean) / sqrt(var + eps) weight + bias over the last n_dims dimensions. Also gives mean and 1 / sqrt(var + eps). "
           "Ba et al. 2016",
    .in = {{.name = "x"}, {.name = "weight", .optional = true}, {.name = "bias", .optional = true}}, .n_in = 3, .outputs = 3,
    .attrs = ATTRS, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE, .shape = layer_norm_shape, .work = layer_norm_work,
    .cpu = {layer_norm_kernel}, .backward = layer_norm_backward, .no_grad_out = 6,
    .saves = SOMA_SAVE_IN(X) | SOMA_SAVE_IN(WEIGHT) | SOMA_SAVE_OUT(1) | SOMA_SAVE_OUT(2), .flops = forward_flops,
    .samples = layer_norm_samples, .errors = layer_norm_errors,
};
const soma_op soma__layer_norm_backward_op = {
    .name = "layer_norm_backward", .family = "norm",
    .doc = "gradients of layer_norm for x, weight and bias: rstd (g w - mean(g w) - xhat mean(g w xhat)), sum g xhat, sum g",
    .in = {{.name = "grad"}, {.name = "x"}, {.name = "mean"}, {.name = "rstd"}, {.name = "weight", .optional = true}}, .n_in = 5,
    .outputs = 3, .attrs = ATTRS, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE, .shape = backward_shape, .work = backward_work,
    .cpu = {backward_kernel}, .backward = SOMA_NONDIFF, .internal = true, .flops = backward_flops, .samples = backward_samples,
    .errors = backward_errors,
};

soma_tensor *soma_layer_norm(soma_tensor *x, int n_dims, soma_tensor *weight, soma_tensor *bias, double eps) {
    soma_attr attrs[] = {SOMA_INT("n_dims", n_dims), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&soma__layer_norm_op, attrs, x, weight, bias);
}
