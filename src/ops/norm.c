/* batch_norm: y = (x - mean) / sqrt(var + eps) weight + bias for each channel of [N, C, …], with the statistics of the batch when training
 * (which also move the running ones), else with the running ones. Ioffe & Szegedy 2015. The mean and 1 / sqrt(var + eps) that were used
 * are outputs too: the fused gradient needs them. Each channel (without inner dimensions: each block of channels) is one task. */
#include "ops/norm.h"
#include "ops/norm_last.h"

#include <math.h>
#include <string.h>

enum { RUNNING_MEAN = BIAS + 1, RUNNING_VAR };
enum { TRAINING, MOMENTUM, EPS };
enum { PIECE = 4096, COLUMNS = 64 };

/* ---- Shared with layer_norm -------------------------------------------------------------------------------------- */

soma__norm_set soma__norm_pick_set(const soma_tensor *x) {
    bool f64 = x->dtype == SOMA_F64;
    const soma__norm_kernels *k = soma__norm_pick();
    return (soma__norm_set){.f64 = f64, .size = f64 ? sizeof(double) : sizeof(float), .reduce = soma__reduce_pick(),
                            .norm = f64 ? &k->f64 : &k->f32};
}

static double row_fold(const soma__norm_set *k, soma__fold_kind kind, const char *x, int64_t n, double shift) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t m = SOMA_MIN(PIECE, n - i);
        const void *p = x + (size_t)i * k->size;
        sum += k->f64 ? k->reduce->row_f64[kind](p, m, shift) : k->reduce->row_f32[kind](p, m, shift);
    }
    return sum;
}
double soma__row_sum(const soma__norm_set *k, const char *x, int64_t n) { return row_fold(k, SOMA__FOLD_SUM, x, n, 0.0); }
double soma__row_sqdev(const soma__norm_set *k, const char *x, int64_t n, double mean) {
    return row_fold(k, SOMA__FOLD_SQDEV, x, n, mean);
}

bool soma__check_affine(const char *op, const char *name, const soma_tensor *x, const soma_tensor *t, int ndim,
                        const int64_t *shape) {
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT], whole[SOMA__SHAPE_TEXT];
    if (!t)
        return true;
    if (t->ndim != ndim || memcmp(t->shape, shape, (size_t)ndim * sizeof *shape) != 0) {
        soma_fail(SOMA_ESHAPE, "%s: x is %s, so %s must be %s, but is %s", op, soma__tensor_text(x, whole), name,
                  soma__shape_text(ndim, shape, want, sizeof want), soma__tensor_text(t, have));
        return false;
    }
    bool half = x->dtype == SOMA_F16 || x->dtype == SOMA_BF16;
    if (t->dtype == x->dtype || (half && t->dtype == SOMA_F32))
        return true;
    soma_fail(SOMA_EDTYPE, "%s: %s is %s, expected x's dtype, %s%s", op, name, soma_dtype_name((soma_dtype)t->dtype),
              soma_dtype_name((soma_dtype)x->dtype), half ? ", or f32" : "");
    return false;
}

/* ---- Shape ------------------------------------------------------------------------------------------------------- */

static bool check_x(const soma_args *a, const soma_tensor *x) {
    char text[SOMA__SHAPE_TEXT];
    if (x->ndim >= 2)
        return true;
    soma_fail(SOMA_ESHAPE, "%s: x is %s, expected [N, C, …]", a->op->name, soma__tensor_text(x, text));
    return false;
}

static soma_dtype statistics_dtype(soma_dtype dtype) { return dtype == SOMA_F64 ? SOMA_F64 : SOMA_F32; }

static bool batch_norm_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[X];
    const char *op = a->op->name;
    char text[SOMA__SHAPE_TEXT];
    if (!check_x(a, x))
        return false;
    int64_t c = x->shape[1];
    for (int i = WEIGHT; i <= RUNNING_VAR; i++)
        if (!soma__check_affine(op, a->op->in[i].name, x, a->in[i], 1, &c))
            return false;
    if (!a->attrs[TRAINING].value.i && (!a->in[RUNNING_MEAN] || !a->in[RUNNING_VAR])) {
        soma_fail(SOMA_EINVAL, "batch_norm: needs running_mean and running_var when not training");
        return false;
    }
    if (a->attrs[TRAINING].value.i && x->numel <= c) {
        soma_fail(SOMA_ESHAPE, "batch_norm: x is %s; training needs more than one value a channel", soma__tensor_text(x, text));
        return false;
    }
    out[0] = soma__meta_of(x);
    if (soma__norm_last(x))
        soma__lay_channels_last(&out[0]);
    out[1] = out[2] = (soma_meta){.dtype = statistics_dtype((soma_dtype)x->dtype), .ndim = 1, .shape = {c}};
    return true;
}

/* ---- The walk ---------------------------------------------------------------------------------------------------- */

typedef struct job {
    soma__norm_set k;
    int64_t n, c, inner;
    const char *x, *g, *weight, *bias, *mean_in, *invstd_in;
    char *y, *mean, *invstd;   /* forward */
    char *gx, *gw, *gb;        /* backward */
    soma_tensor *running_mean, *running_var;
    bool training;
    double momentum, eps;
} job;

static job job_of(const soma_tensor *x) {
    job j = {.k = soma__norm_pick_set(x), .n = x->shape[0], .c = x->shape[1], .inner = 1};
    for (int d = 2; d < x->ndim; d++)
        j.inner *= x->shape[d];
    return j;
}

static size_t row_at(const job *j, int64_t n, int64_t c) { return (size_t)((n * j->c + c) * j->inner) * j->k.size; }

static double running(const soma_tensor *t, int64_t c) {
    soma_dtype dtype = (soma_dtype)t->dtype;
    return soma__load((const char *)t->data + c * t->stride[0] * (int64_t)soma_dtype_size(dtype), dtype);
}
static void move_running(const job *j, soma_tensor *t, int64_t c, double batch) {
    soma_dtype dtype = (soma_dtype)t->dtype;
    double v = (1.0 - j->momentum) * running(t, c) + j->momentum * batch;
    soma__store((char *)t->data + c * t->stride[0] * (int64_t)soma_dtype_size(dtype), dtype, v);
}

/* From the batch's mean and sum of squared deviations: what channel c needs and keeps. */
static void set_statistics(const job *j, int64_t c, double mean, double sqdev) {
    double m = (double)(j->n * j->inner), var = sqdev / m;
    if (j->running_mean)
        move_running(j, j->running_mean, c, mean);
    if (j->running_var)
        move_running(j, j->running_var, c, sqdev / (m - 1.0));
    soma__put(&j->k, j->mean, c, mean);
    soma__put(&j->k, j->invstd, c, 1.0 / sqrt(var + j->eps));
}
static void use_running(const job *j, int64_t c) {
    soma__put(&j->k, j->mean, c, running(j->running_mean, c));
    soma__put(&j->k, j->invstd, c, 1.0 / sqrt(running(j->running_var, c) + j->eps));
}

static double weight_of(const job *j, int64_t c) { return j->weight ? soma__get(&j->k, j->weight, c) : 1.0; }
static double bias_of(const job *j, int64_t c) { return j->bias ? soma__get(&j->k, j->bias, c) : 0.0; }

/* ---- Forward ----------------------------------------------------------------------------------------------------- */

static void channel(const job *j, int64_t c) {
    if (j->training) {
        double sum = 0.0, sq = 0.0;
        for (int64_t n = 0; n < j->n; n++)
            sum += soma__row_sum(&j->k, j->x + row_at(j, n, c), j->inner);
        double mean = sum / (double)(j->n * j->inner);
        for (int64_t n = 0; n < j->n; n++)
            sq += soma__row_sqdev(&j->k, j->x + row_at(j, n, c), j->inner, mean);
        set_statistics(j, c, mean, sq);
    } else {
        use_running(j, c);
    }
    double mean = soma__get(&j->k, j->mean, c), scale = weight_of(j, c) * soma__get(&j->k, j->invstd, c), shift = bias_of(j, c);
    for (int64_t n = 0; n < j->n; n++) {
        size_t at = row_at(j, n, c);
        j->k.norm->affine(j->x + at, j->y + at, j->inner, mean, scale, shift);
    }
}

/* Channels [from, from + w) of [N, C]. */
static void channel_columns(const job *j, int64_t from, int64_t w) {
    double mean[COLUMNS] = {0}, sq[COLUMNS] = {0}, scale[COLUMNS], shift[COLUMNS];
    if (j->training) {
        const soma__reduce_kernels *r = j->k.reduce;
        for (int64_t n = 0; n < j->n; n++) {
            const void *x = j->x + row_at(j, n, from);
            if (j->k.f64)
                r->col_f64[SOMA__FOLD_SUM](mean, x, w, NULL);
            else
                r->col_f32[SOMA__FOLD_SUM](mean, x, w, NULL);
        }
        for (int64_t i = 0; i < w; i++)
            mean[i] /= (double)j->n;
        for (int64_t n = 0; n < j->n; n++) {
            const void *x = j->x + row_at(j, n, from);
            if (j->k.f64)
                r->col_f64[SOMA__FOLD_SQDEV](sq, x, w, mean);
            else
                r->col_f32[SOMA__FOLD_SQDEV](sq, x, w, mean);
        }
    }
    for (int64_t i = 0; i < w; i++) {
        if (j->training)
            set_statistics(j, from + i, mean[i], sq[i]);
        else
            use_running(j, from + i);
        soma__put(&j->k, scale, i, weight_of(j, from + i) * soma__get(&j->k, j->invstd, from + i));
        soma__put(&j->k, shift, i, bias_of(j, from + i));
    }
    for (int64_t n = 0; n < j->n; n++) {
        size_t at = row_at(j, n, from);
        j->k.norm->affine_columns(j->x + at, j->y + at, w, j->mean + (size_t)from * j->k.size, scale, shift);
    }
}

static void forward_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t t = begin; t < end; t++) {
        if (j->inner > 1)
            channel(j, t);
        else
            channel_columns(j, t * COLUMNS, SOMA_MIN(COLUMNS, j->c - t * COLUMNS));
    }
}

static void each_channel(job *j, soma__range_fn fn) {
    int64_t tasks = j->inner > 1 ? j->c : (j->c + COLUMNS - 1) / COLUMNS, each = j->n * j->inner * (j->inner > 1 ? 1 : COLUMNS);
    if (tasks > 0)
        soma__parallel(tasks, SOMA_MAX(1, 8192 / SOMA_MAX(1, each)), fn, j);
}

static size_t batch_norm_work(soma_args *a) {
    if (soma__norm_last(a->in[X]))
        return soma__norm_last_work(a);
    return soma__dense_bytes(a->in[X]) + soma__dense_bytes(a->in[WEIGHT]) + soma__dense_bytes(a->in[BIAS]) +
           soma__dense_bytes(a->out[0]);
}

static const char *last_kernel(soma_args *a) {
    if (!soma__norm_last(a->in[X]))
        return "the kernel is for channels-last f32";
    soma__norm_last_forward(a, NULL, false);
    return NULL;
}

static const char *batch_norm_kernel(soma_args *a) {
    job j = job_of(a->in[X]);
    char *room = a->work;
    j.training = a->attrs[TRAINING].value.i != 0;
    j.momentum = a->attrs[MOMENTUM].value.f;
    j.eps = a->attrs[EPS].value.f;
    j.x = soma__dense(a->in[X], &room);
    j.weight = soma__dense(a->in[WEIGHT], &room);
    j.bias = soma__dense(a->in[BIAS], &room);
    j.running_mean = a->in[RUNNING_MEAN];
    j.running_var = a->in[RUNNING_VAR];
    j.y = soma__dense_out(a->out[0], &room);
    j.mean = a->out[1]->data;
    j.invstd = a->out[2]->data;
    each_channel(&j, forward_range);
    soma__dense_done(a->out[0], j.y);
    return NULL;
}

/* ---- Backward, fused --------------------------------------------------------------------------------------------- */

enum { B_GRAD, B_X, B_MEAN, B_INVSTD, B_WEIGHT };

/* What a channel's gx = (g - mg - (x - mean) k2) k1 is made of, from sum g and sum g (x - mean). */
static void factors(const job *j, int64_t c, const double sums[2], double *mg, double *k2, double *k1) {
    double m = (double)(j->n * j->inner), invstd = soma__get(&j->k, j->invstd_in, c);
    *mg = j->training ? sums[0] / m : 0.0;
    *k2 = j->training ? sums[1] / m * invstd * invstd : 0.0;
    *k1 = weight_of(j, c) * invstd;
    soma__put(&j->k, j->gw, c, sums[1] * invstd);
    soma__put(&j->k, j->gb, c, sums[0]);
}

static void grad_channel(const job *j, int64_t c) {
    double mean = soma__get(&j->k, j->mean_in, c), sums[2] = {0.0, 0.0}, mg, k2, k1;
    for (int64_t n = 0; n < j->n; n++) {
        size_t at = row_at(j, n, c);
        j->k.norm->grad_sums(j->g + at, j->x + at, NULL, j->inner, mean, sums);
    }
    factors(j, c, sums, &mg, &k2, &k1);
    for (int64_t n = 0; n < j->n; n++) {
        size_t at = row_at(j, n, c);
        j->k.norm->grad(j->g + at, j->x + at, j->gx + at, j->inner, mean, mg, k2, k1);
    }
}

static void grad_channel_columns(const job *j, int64_t from, int64_t w) {
    double sum[COLUMNS] = {0}, product[COLUMNS] = {0}, mg[COLUMNS], k2[COLUMNS], k1[COLUMNS];
    const char *mean = j->mean_in + (size_t)from * j->k.size;
    for (int64_t n = 0; n < j->n; n++) {
        size_t at = row_at(j, n, from);
        j->k.norm->grad_sums_columns(j->g + at, j->x + at, w, mean, sum, product);
    }
    for (int64_t i = 0; i < w; i++) {
        double f[3], sums[2] = {sum[i], product[i]};
        factors(j, from + i, sums, &f[0], &f[1], &f[2]);
        soma__put(&j->k, mg, i, f[0]);
        soma__put(&j->k, k2, i, f[1]);
        soma__put(&j->k, k1, i, f[2]);
    }
    for (int64_t n = 0; n < j->n; n++) {
        size_t at = row_at(j, n, from);
        j->k.norm->grad_columns(j->g + at, j->x + at, j->gx + at, w, mean, mg, k2, k1);
    }
}

static void backward_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t t = begin; t < end; t++) {
        if (j->inner > 1)
            grad_channel(j, t);
        else
            grad_channel_columns(j, t * COLUMNS, SOMA_MIN(COLUMNS, j->c - t * COLUMNS));
    }
}

static size_t backward_work(soma_args *a) {
    size_t bytes = soma__norm_last(a->in[B_X]) ? soma__norm_last_work(a) : 0;
    if (bytes > 0)
        return bytes;
    for (int i = 0; i < a->n_in; i++)
        bytes += soma__dense_bytes(a->in[i]);
    for (int i = 0; i < a->n_out; i++)
        bytes += soma__dense_bytes(a->out[i]);
    return bytes;
}

static const char *last_backward_kernel(soma_args *a) {
    if (!soma__norm_last(a->in[B_X]))
        return "the kernel is for channels-last f32";
    soma__norm_last_backward(a, NULL, false);
    return NULL;
}

static const char *backward_kernel(soma_args *a) {
    job j = job_of(a->in[B_X]);
    char *room = a->work;
    j.training = a->attrs[TRAINING].value.i != 0;
    j.g = soma__dense(a->in[B_GRAD], &room);
    j.x = soma__dense(a->in[B_X], &room);
    j.mean_in = soma__dense(a->in[B_MEAN], &room);
    j.invstd_in = soma__dense(a->in[B_INVSTD], &room);
    j.weight = soma__dense(a->in[B_WEIGHT], &room);
    j.gx = soma__dense_out(a->out[0], &room);
    j.gw = soma__dense_out(a->out[1], &room);
    j.gb = soma__dense_out(a->out[2], &room);
    each_channel(&j, backward_range);
    soma__dense_done(a->out[0], j.gx);
    soma__dense_done(a->out[1], j.gw);
    soma__dense_done(a->out[2], j.gb);
    return NULL;
}

static bool backward_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[B_X];
    char g[SOMA__SHAPE_TEXT], whole[SOMA__SHAPE_TEXT];
    if (!check_x(a, x))
        return false;
    if (!soma__same_shape(a->in[B_GRAD], x) || a->in[B_GRAD]->dtype != x->dtype) {
        soma_fail(SOMA_ESHAPE, "%s: grad is %s, x is %s; they must be alike", a->op->name, soma__tensor_text(a->in[B_GRAD], g),
                  soma__tensor_text(x, whole));
        return false;
    }
    for (int i = B_MEAN; i <= B_WEIGHT; i++)
        if (!soma__check_affine(a->op->name, a->op->in[i].name, x, a->in[i], 1, &x->shape[1]))
            return false;
    soma_dtype dtype = (soma_dtype)(a->in[B_WEIGHT] ? a->in[B_WEIGHT] : x)->dtype;
    out[0] = soma__meta_of(x);
    if (soma__norm_last(x))
        soma__lay_channels_last(&out[0]);
    out[1] = out[2] = (soma_meta){.dtype = dtype, .ndim = 1, .shape = {x->shape[1]}};
    return true;
}

/* ---- Gradient ---------------------------------------------------------------------------------------------------- */

static const soma_op batch_norm_backward_op;

void soma__norm_gradient(soma_grad_args *g, const soma_op *op, void (*in_operators)(soma_grad_args *)) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    soma_tensor *const in[] = {g->gout[0], g->in[X], g->out[1], g->out[2], g->in[WEIGHT]};
    if (g->gout[0] && g->create_graph)
        in_operators(g);
    else if (g->gout[0] && soma__apply(op, in, 5, g->attrs, out, 0)) {
        g->gin[X] = out[0];
        g->gin[WEIGHT] = g->need[WEIGHT] ? out[1] : NULL;
        g->gin[BIAS] = g->need[BIAS] ? soma_to(out[2], g->in_meta[BIAS].dtype) : NULL;
    }
}

/* xhat = (x - mean) invstd; gb = sum g, gw = sum g xhat, gx = w invstd (g - mean(g) - xhat mean(g xhat)). */
void soma__batch_norm_rule(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[X];
    int64_t dims[SOMA_MAX_DIMS], shape[SOMA_MAX_DIMS];
    int n = 0;
    bool training = g->attrs[TRAINING].value.i != 0;
    for (int d = 0; d < x->ndim; d++) {
        shape[d] = d == 1 ? x->shape[1] : 1;
        if (d != 1)
            dims[n++] = d;
    }
    soma_tensor *grad = g->gout[0], *mean, *invstd;
    mean = training ? soma_mean(g->in[X], n, dims, true) : soma_to(soma_reshape(g->out[1], x->ndim, shape), x->dtype);
    soma_tensor *centred = soma_sub(g->in[X], mean);
    if (training)
        invstd = soma_rsqrt(soma_add_scalar(soma_mean(soma_square(centred), n, dims, true), g->attrs[EPS].value.f));
    else
        invstd = soma_to(soma_reshape(g->out[2], x->ndim, shape), x->dtype);
    soma_tensor *xhat = soma_mul(centred, invstd), *product = soma_mul(grad, xhat), *gx = grad;
    if (g->need[BIAS])
        g->gin[BIAS] = soma_to(soma_sum(grad, n, dims, false), g->in_meta[BIAS].dtype);
    if (g->need[WEIGHT])
        g->gin[WEIGHT] = soma_to(soma_sum(product, n, dims, false), g->in_meta[WEIGHT].dtype);
    if (!g->need[X])
        return;
    if (training)
        gx = soma_sub(soma_sub(grad, soma_mean(grad, n, dims, true)), soma_mul(xhat, soma_mean(product, n, dims, true)));
    soma_tensor *scale = g->in[WEIGHT] ? soma_mul(soma_reshape(g->in[WEIGHT], x->ndim, shape), invstd) : invstd;
    g->gin[X] = soma_to(soma_mul(scale, gx), x->dtype);
}

static void batch_norm_backward(soma_grad_args *g) {
    soma__norm_gradient(g, &batch_norm_backward_op, soma__batch_norm_rule);
}

static int64_t forward_flops(soma_args *a) { return (a->attrs[TRAINING].value.i ? 6 : 3) * a->in[X]->numel; }
static int64_t backward_flops(soma_args *a) { return 9 * a->in[B_X]->numel; }

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static bool batch_norm_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; bool training, affine, running; } cases[] = {
        {4, {3, 4, 2, 5}, true, true, true},  {2, {6, 5}, true, true, true},   {3, {2, 3, 7}, true, false, false},
        {4, {2, 3, 4, 4}, false, true, true}, {2, {3, 4}, false, false, true}, {4, {2, 3, 4, 5}, true, true, false},
        {2, {5, 70}, true, true, false},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    int64_t c = cases[i].shape[1];
    *s = (soma_sample){.n_in = 5, .n_attrs = 3,
                       .attrs = {SOMA_BOOLEAN("training", cases[i].training), SOMA_FLOAT("momentum", 0.1), SOMA_FLOAT("eps", 1e-3)}};
    s->in[X] = soma__sample(dtype, -2, 3, (uint64_t)i, cases[i].ndim, cases[i].shape);
    if (i == 5)
        s->in[X] = soma__strided(s->in[X]);
    if (cases[i].affine) {
        s->in[WEIGHT] = soma__sample(dtype, 0.5, 2, (uint64_t)i + 20, 1, &c);
        s->in[BIAS] = soma__sample(dtype, -1, 1, (uint64_t)i + 40, 1, &c);
    }
    if (cases[i].running) {
        s->in[RUNNING_MEAN] = soma__sample(dtype, -1, 1, (uint64_t)i + 60, 1, &c);
        s->in[RUNNING_VAR] = soma__sample(dtype, 0.5, 2, (uint64_t)i + 80, 1, &c);
    }
    return true;
}

static bool backward_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_sample f;
    if (!batch_norm_samples(i, dtype, &f))
        return false;
    *s = f;
    soma_tensor *x = f.in[X];
    int64_t c = x ? x->shape[1] : 1;
    s->in[B_GRAD] = x ? soma__sample(dtype, -1, 1, (uint64_t)i + 100, x->ndim, x->shape) : NULL;
    s->in[B_X] = x;
    s->in[B_MEAN] = soma__sample(statistics_dtype(dtype), 0, 1, 120, 1, &c);
    s->in[B_INVSTD] = soma__sample(statistics_dtype(dtype), 0.5, 1, 121, 1, &c);
    s->in[B_WEIGHT] = f.in[WEIGHT];
    s->no_gradcheck = true;
    return true;
}

static bool batch_norm_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { soma_status status; const char *error; } bad[] = {
        {SOMA_ESHAPE, "expected [N, C"},
        {SOMA_ESHAPE, "so weight must be [3]"},
        {SOMA_EINVAL, "needs running_mean"},
        {SOMA_ESHAPE, "more than one value a channel"},
    };
    if (i >= (int)SOMA_LEN(bad))
        return false;
    int64_t four = 4;
    *s = (soma_sample){.n_in = i == 1 ? 2 : 1, .n_attrs = 1, .attrs = {SOMA_BOOLEAN("training", i != 2)}, .status = bad[i].status,
                       .error = bad[i].error};
    s->in[X] = soma__sample(dtype, -1, 1, 1, i == 0 ? 1 : 2, i == 3 ? (const int64_t[]){1, 3} : (const int64_t[]){2, 3});
    s->in[WEIGHT] = i == 1 ? soma__sample(dtype, -1, 1, 2, 1, &four) : NULL;
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

#define ATTRS SOMA_ATTRS(SOMA_DEF_BOOL("training", false, "statistics of the batch, which move the running ones"),                   \
                         SOMA_DEF_FLOAT("momentum", 0.1, "share of the batch in the running statistics"),                            \
                         SOMA_DEF_FLOAT("eps", 1e-5, "added to the variance"))

static const soma_op batch_norm_op = {
    .name = "batch_norm", .family = "norm", .onnx = "BatchNormalization",
    .doc = "(x - mean) / sqrt(var + eps) weight + bias a channel of [N, C, …]; training uses the batch's mean and variance and moves "
           "running = (1 - momentum) running + momentum batch (variance with n - 1). Also gives mean and 1 / sqrt(var + eps). "
           "Ioffe & Szegedy 2015",
    .in = {{.name = "x"}, {.name = "weight", .optional = true}, {.name = "bias", .optional = true},
           {.name = "running_mean", .optional = true, .apart = true}, {.name = "running_var", .optional = true, .apart = true}},
    .n_in = 5, .outputs = 3, .attrs = ATTRS, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE, .shape = batch_norm_shape,
    .work = batch_norm_work, .cpu = {last_kernel, batch_norm_kernel}, .backward = batch_norm_backward,
    .saves = SOMA_SAVE_IN(X) | SOMA_SAVE_IN(WEIGHT) | SOMA_SAVE_OUT(1) | SOMA_SAVE_OUT(2),
    .no_grad_in = 1u << RUNNING_MEAN | 1u << RUNNING_VAR, .no_grad_out = 6, .writes = 1u << RUNNING_MEAN | 1u << RUNNING_VAR,
    .flops = forward_flops, .samples = batch_norm_samples, .errors = batch_norm_errors,
};
static const soma_op batch_norm_backward_op = {
    .name = "batch_norm_backward", .family = "norm",
    .doc = "gradients of batch_norm for x, weight and bias: w invstd (g - mean(g) - xhat mean(g xhat)), sum g xhat, sum g",
    .in = {{.name = "grad"}, {.name = "x"}, {.name = "mean"}, {.name = "invstd"}, {.name = "weight", .optional = true}}, .n_in = 5,
    .outputs = 3, .attrs = ATTRS, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_NONE, .shape = backward_shape, .work = backward_work,
    .cpu = {last_backward_kernel, backward_kernel}, .backward = SOMA_NONDIFF, .internal = true, .flops = backward_flops, .samples = backward_samples,
    .errors = backward_errors,
};

extern soma_op_list soma__norm_ops;
soma_op_list soma__norm_ops = {&batch_norm_op, &batch_norm_backward_op, &soma__layer_norm_op, &soma__layer_norm_backward_op,
                               NULL};

soma_tensor *soma_batch_norm(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, soma_tensor *running_mean,
                             soma_tensor *running_var, bool training, double momentum, double eps) {
    soma_attr attrs[] = {SOMA_BOOLEAN("training", training), SOMA_FLOAT("momentum", momentum), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&batch_norm_op, attrs, x, weight, bias, running_mean, running_var);
}
