/* Walks of channels-last batch_norm. Rows of channels are cut into chunks that stay in a near cache, chunks into at most SEGMENTS segments,
 * by size alone. Statistics of chunks are joined in double, in order, so that x is read once for them. */
#include "ops/norm_last.h"

#include "ops/norm.h"

#include <math.h>
#include <string.h>

enum { RUNNING_MEAN = BIAS + 1, RUNNING_VAR, ADD };
enum { TRAINING, MOMENTUM, EPS };
enum { B_GRAD, B_X, B_MEAN, B_INVSTD, B_WEIGHT, B_BIAS, B_Y };
enum { SEGMENTS = 64, CHUNK = 16384, LEAST_ROWS = 64, MOST_ROWS = 256 };

typedef struct job {
    const soma__norm_last_kernels *k;
    int64_t rows, c, chunk, segment, segments; /* rows of a chunk, of a segment */
    const float *x, *add, *g, *y_in;
    float *y, *gx, *masked;
    soma__norm_line line, factors;
    soma__norm_mask mask;
    bool relu;
    double *first, *second; /* [segments][c]: means and squared deviations, or sums of g and of g (x - mean) */
    float *parts;           /* [segments][2 c] */
} job;

static job job_of(const soma_tensor *x) {
    job j = {.k = soma__norm_last_pick(), .c = x->shape[1], .rows = x->shape[0] * x->shape[2] * x->shape[3]};
    j.chunk = SOMA_MAX(LEAST_ROWS, SOMA_MIN(MOST_ROWS, CHUNK / j.c));
    int64_t chunks = (j.rows + j.chunk - 1) / j.chunk;
    j.segment = (chunks + SEGMENTS - 1) / SEGMENTS * j.chunk;
    j.segments = (j.rows + j.segment - 1) / j.segment;
    return j;
}

/* Numbers a channel that both directions need, and the partial results. */
static void take_rooms(job *j, char **room) {
    size_t c = (size_t)j->c, all = (size_t)j->segments * c;
    j->line.scale = soma__take(room, c * sizeof(float));
    j->line.shift = soma__take(room, c * sizeof(float));
    j->factors.mean = soma__take(room, c * sizeof(float));
    j->factors.scale = soma__take(room, c * sizeof(float));
    j->factors.shift = soma__take(room, c * sizeof(float));
    j->first = soma__take(room, all * sizeof(double));
    j->second = soma__take(room, all * sizeof(double));
    j->parts = soma__take(room, 2 * all * sizeof(float));
}

size_t soma__norm_last_work(const soma_args *a) {
    job j = job_of(a->out[0]);
    size_t c = (size_t)j.c, all = (size_t)j.segments * c, bytes = 5 * soma__room(c * sizeof(float)) + 2 * soma__room(all * sizeof(double)) +
           soma__room(2 * all * sizeof(float));
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i])
            bytes += a->in[i]->ndim == 4 ? soma__turned_bytes(a->in[i]) : soma__dense_bytes(a->in[i]);
    return bytes;
}

static int64_t rows_of(const job *j, int64_t from, int64_t step) { return SOMA_MIN(step, j->rows - from); }

static void statistics_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t s = begin; s < end; s++) {
        double *mean = j->first + s * j->c, *sqdev = j->second + s * j->c;
        float *part = j->parts + 2 * s * j->c;
        int64_t from = s * j->segment, n = rows_of(j, from, j->segment);
        memset(mean, 0, (size_t)j->c * sizeof *mean);
        memset(sqdev, 0, (size_t)j->c * sizeof *sqdev);
        for (int64_t r = 0; r < n; r += j->chunk) {
            int64_t rows = SOMA_MIN(j->chunk, n - r);
            j->k->stats(j->x + (from + r) * j->c, rows, j->c, part, part + j->c);
            j->k->merge_floats(j->c, (double)r, (double)rows, part, part + j->c, mean, sqdev);
        }
    }
}

static void move_running(soma_tensor *t, int64_t c, double momentum, double batch) {
    char *p = t ? (char *)t->data + c * t->stride[0] * (int64_t)soma_dtype_size((soma_dtype)t->dtype) : NULL;
    if (p)
        soma__store(p, (soma_dtype)t->dtype, (1.0 - momentum) * soma__load(p, (soma_dtype)t->dtype) + momentum * batch);
}
static double running(const soma_tensor *t, int64_t c) {
    return soma__load((const char *)t->data + c * t->stride[0] * (int64_t)soma_dtype_size((soma_dtype)t->dtype), (soma_dtype)t->dtype);
}

static void affine_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    int64_t at = begin * j->c;
    j->k->affine(j->x + at, j->add ? j->add + at : NULL, j->y + at, end - begin, j->c, &j->line, j->relu);
}

static int64_t grain(const job *j) { return SOMA_MAX(1, CHUNK / j->c); }

void soma__norm_last_forward(soma_args *a, const soma_tensor *add, bool relu) {
    job j = job_of(a->in[X]);
    char *room = a->work;
    double momentum = a->attrs[MOMENTUM].value.f, eps = a->attrs[EPS].value.f, m = (double)j.rows;
    take_rooms(&j, &room);
    const float *weight = soma__dense(a->in[WEIGHT], &room), *bias = soma__dense(a->in[BIAS], &room);
    float *invstd = a->out[2]->data;
    j.x = soma__turn(a->in[X], &room);
    j.add = add ? soma__turn(add, &room) : NULL;
    j.y = a->out[0]->data;
    j.line.mean = a->out[1]->data;
    j.relu = relu;
    if (a->attrs[TRAINING].value.i) {
        soma__parallel(j.segments, 1, statistics_range, &j);
        for (int64_t s = 1; s < j.segments; s++)
            j.k->merge(j.c, (double)(s * j.segment), (double)rows_of(&j, s * j.segment, j.segment), j.first + s * j.c, j.second + s * j.c, j.first,
                       j.second);
    }
    for (int64_t c = 0; c < j.c; c++) {
        bool training = a->attrs[TRAINING].value.i != 0;
        double mean = training ? j.first[c] : running(a->in[RUNNING_MEAN], c);
        double var = training ? j.second[c] / m : running(a->in[RUNNING_VAR], c);
        if (training) {
            move_running(a->in[RUNNING_MEAN], c, momentum, mean);
            move_running(a->in[RUNNING_VAR], c, momentum, j.second[c] / (m - 1.0));
        }
        j.line.mean[c] = (float)mean;
        invstd[c] = (float)(1.0 / sqrt(var + eps));
        j.line.scale[c] = (float)((weight ? (double)weight[c] : 1.0) * (double)invstd[c]);
        j.line.shift[c] = bias ? bias[c] : 0.0f;
    }
    soma__parallel(j.rows, grain(&j), affine_range, &j);
}

/* ---- Backward ---------------------------------------------------------------------------------------------------- */

static void sums_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t s = begin; s < end; s++) {
        int64_t from = s * j->segment, n = rows_of(j, from, j->segment);
        memset(j->first + s * j->c, 0, (size_t)j->c * sizeof(double));
        memset(j->second + s * j->c, 0, (size_t)j->c * sizeof(double));
        for (int64_t r = 0; r < n; r += j->chunk) {
            int64_t at = (from + r) * j->c;
            j->k->grad_sums(j->g + at, j->x + at, j->y_in ? j->y_in + at : NULL, j->masked ? j->masked + at : NULL, SOMA_MIN(j->chunk, n - r),
                            j->c, &j->line, j->mask, j->parts + 2 * s * j->c, j->first + s * j->c, j->second + s * j->c);
        }
    }
}

static void grad_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    int64_t at = begin * j->c;
    j->k->grad((j->masked ? j->masked : j->g) + at, j->x + at, j->gx + at, end - begin, j->c, &j->line, &j->factors, j->mask == SOMA__MASK_OF_X);
}

void soma__norm_last_backward(soma_args *a, const soma_tensor *y, bool relu) {
    job j = job_of(a->in[B_X]);
    char *room = a->work;
    bool training = a->attrs[TRAINING].value.i != 0;
    take_rooms(&j, &room);
    const float *weight = soma__dense(a->in[B_WEIGHT], &room), *invstd = soma__dense(a->in[B_INVSTD], &room);
    const float *bias = relu ? soma__dense(a->in[B_BIAS], &room) : NULL;
    float *gw = a->out[1]->data, *gb = a->out[2]->data;
    j.g = soma__turn(a->in[B_GRAD], &room);
    j.x = soma__turn(a->in[B_X], &room);
    j.line.mean = (float *)soma__dense(a->in[B_MEAN], &room);
    j.gx = a->out[0]->data;
    j.mask = y ? SOMA__MASK_OF_Y : relu ? SOMA__MASK_OF_X : SOMA__MASK_NONE;
    j.y_in = y ? soma__turn(y, &room) : NULL;
    j.masked = y ? a->out[3]->data : NULL;
    for (int64_t c = 0; c < j.c; c++) {
        j.line.scale[c] = (float)((weight ? (double)weight[c] : 1.0) * (double)invstd[c]);
        j.line.shift[c] = bias ? bias[c] : 0.0f;
    }
    soma__parallel(j.segments, 1, sums_range, &j);
    for (int64_t c = 0; c < j.c; c++) {
        double sum = 0, product = 0, m = (double)j.rows, is = (double)invstd[c];
        for (int64_t s = 0; s < j.segments; s++) {
            sum += j.first[s * j.c + c];
            product += j.second[s * j.c + c];
        }
        j.factors.mean[c] = training ? (float)(sum / m) : 0;
        j.factors.scale[c] = training ? (float)(product / m * is * is) : 0;
        j.factors.shift[c] = (float)((weight ? (double)weight[c] : 1.0) * is);
        gw[c] = (float)(product * is);
        gb[c] = (float)sum;
    }
    soma__parallel(j.rows, grain(&j), grad_range, &j);
}

/* ---- batch_norm_relu ----------------------------------------------------------------------------------------------- */

static bool same_as_x(const soma_args *a, const char *name, const soma_tensor *t, const soma_tensor *x) {
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (!t || soma__same_shape(t, x))
        return true;
    soma_fail(SOMA_ESHAPE, "%s: %s is %s, expected x's shape, %s", a->op->name, name, soma__tensor_text(t, have), soma__tensor_text(x, want));
    return false;
}

static bool check(const soma_args *a, const soma_tensor *x, int first, int last) {
    char text[SOMA__SHAPE_TEXT];
    if (x->ndim != 4 || x->numel <= x->shape[1]) {
        soma_fail(SOMA_ESHAPE, "%s: x is %s, expected [N, C, H, W] with more than one value a channel", a->op->name, soma__tensor_text(x, text));
        return false;
    }
    for (int i = first; i <= last; i++)
        if (!soma__check_affine(a->op->name, a->op->in[i].name, x, a->in[i], 1, &x->shape[1]))
            return false;
    return true;
}

static bool relu_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[X];
    if (!check(a, x, WEIGHT, RUNNING_VAR) || !same_as_x(a, "add", a->in[ADD], x))
        return false;
    if (!a->attrs[TRAINING].value.i && (!a->in[RUNNING_MEAN] || !a->in[RUNNING_VAR])) {
        soma_fail(SOMA_EINVAL, "%s: needs running_mean and running_var when not training", a->op->name);
        return false;
    }
    out[0] = soma__meta_of(x);
    soma__lay_channels_last(&out[0]);
    out[1] = out[2] = (soma_meta){.dtype = SOMA_F32, .ndim = 1, .shape = {x->shape[1]}};
    return true;
}

static const char *relu_kernel(soma_args *a) {
    soma__norm_last_forward(a, a->in[ADD], true);
    return NULL;
}

static bool relu_back_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[B_X];
    if (!check(a, x, B_MEAN, B_BIAS) || !same_as_x(a, "grad", a->in[B_GRAD], x) || !same_as_x(a, "y", a->in[B_Y], x))
        return false;
    out[0] = soma__meta_of(x);
    soma__lay_channels_last(&out[0]);
    out[1] = out[2] = (soma_meta){.dtype = SOMA_F32, .ndim = 1, .shape = {x->shape[1]}};
    out[3] = a->in[B_Y] ? out[0] : (soma_meta){.dtype = SOMA_F32, .ndim = 1, .shape = {0}};
    return true;
}

static const char *relu_back_kernel(soma_args *a) {
    soma__norm_last_backward(a, a->in[B_Y], true);
    return NULL;
}

static size_t work(soma_args *a) { return soma__norm_last_work(a); }

static const soma_op batch_norm_relu_backward_op;

/* With add: the mask is that of y. Without, y is worked out again from x, which costs nothing while memory is waited for. */
static void relu_backward(soma_grad_args *g) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    bool adds = g->in_meta[ADD].ndim > 0;
    if (!g->gout[0])
        return;
    if (g->create_graph) {
        soma_grad_args inner = *g;
        soma_tensor *masked = soma_where(soma_le(g->out[0], soma_scalar(0)), soma_scalar(0), g->gout[0]), *gout[] = {masked, NULL, NULL};
        inner.gout = gout;
        soma__batch_norm_rule(&inner);
        if (g->need[ADD])
            g->gin[ADD] = masked;
        return;
    }
    soma_tensor *const in[] = {g->gout[0], g->in[X], g->out[1], g->out[2], g->in[WEIGHT], g->in[BIAS], adds ? g->out[0] : NULL};
    if (!soma__apply(&batch_norm_relu_backward_op, in, 7, g->attrs, out, 0))
        return;
    g->gin[X] = out[0];
    g->gin[WEIGHT] = g->need[WEIGHT] ? out[1] : NULL;
    g->gin[BIAS] = g->need[BIAS] ? out[2] : NULL;
    g->gin[ADD] = g->need[ADD] ? out[3] : NULL;
}

static soma_tensor *numbers(double low, double high, uint64_t salt) { return soma__sample(SOMA_F32, low, high, salt, 1, (const int64_t[]){5}); }

static bool relu_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t shape[] = {2, 5, 3, 4};
    if (i >= 4 || dtype != SOMA_F32)
        return false;
    *s = (soma_sample){.n_in = 6, .n_attrs = 1, .attrs = {SOMA_BOOLEAN("training", i < 2)}, .no_gradcheck = true};
    s->in[X] = soma__sample(dtype, -2, 3, 1, 4, shape);
    s->in[WEIGHT] = i == 3 ? NULL : numbers(0.5, 2, 2);
    s->in[BIAS] = i == 3 ? NULL : numbers(-1, 1, 3);
    s->in[RUNNING_MEAN] = numbers(-1, 1, 4);
    s->in[RUNNING_VAR] = numbers(0.5, 2, 5);
    s->in[ADD] = i % 2 ? soma__sample(dtype, -1, 1, 6, 4, shape) : NULL;
    return true;
}

static bool relu_back_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_sample f;
    if (!relu_samples(i, dtype, &f))
        return false;
    *s = f;
    s->n_in = 7;
    s->in[B_GRAD] = soma__sample(dtype, -1, 1, 7, 4, f.in[X] ? f.in[X]->shape : (const int64_t[]){2, 5, 3, 4});
    s->in[B_X] = f.in[X];
    s->in[B_MEAN] = f.in[RUNNING_MEAN];
    s->in[B_INVSTD] = f.in[RUNNING_VAR];
    s->in[B_WEIGHT] = f.in[WEIGHT];
    s->in[B_BIAS] = f.in[BIAS];
    s->in[B_Y] = f.in[ADD];
    return true;
}

static bool relu_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 2 || !relu_samples(1, dtype, s))
        return false;
    s->in[i == 0 ? X : ADD] = soma__sample(dtype, -1, 1, 1, i == 0 ? 2 : 4, (const int64_t[]){2, 5, 3, 3});
    s->attrs[0].value.i = i != 2;
    s->status = i == 2 ? SOMA_EINVAL : SOMA_ESHAPE;
    s->error = i == 0 ? "expected [N, C, H, W]" : i == 1 ? "expected x's shape" : "needs running_mean";
    if (i == 2)
        s->in[ADD] = s->in[RUNNING_VAR] = NULL;
    return true;
}

static bool relu_back_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !relu_back_samples(1, dtype, s))
        return false;
    s->in[B_GRAD] = soma__sample(dtype, -1, 1, 1, 4, (const int64_t[]){2, 5, 3, 3});
    s->status = SOMA_ESHAPE;
    s->error = "grad is [2, 5, 3, 3]";
    return true;
}

#define ATTRS SOMA_ATTRS(SOMA_DEF_BOOL("training", false, "statistics of the batch"), SOMA_DEF_FLOAT("momentum", 0.1, "as batch_norm"), \
                         SOMA_DEF_FLOAT("eps", 1e-5, "as batch_norm"))

static const soma_op batch_norm_relu_op = {
    .name = "batch_norm_relu", .family = "norm", .doc = "relu(batch_norm(x) + add), channels-last",
    .in = {{.name = "x"}, {.name = "weight", .optional = true}, {.name = "bias", .optional = true},
           {.name = "running_mean", .optional = true, .apart = true}, {.name = "running_var", .optional = true, .apart = true},
           {.name = "add", .optional = true}},
    .n_in = 6, .outputs = 3, .attrs = ATTRS, .dtypes = SOMA_BIT(SOMA_F32), .promote = SOMA_PROMOTE_NONE, .shape = relu_shape, .work = work,
    .cpu = {relu_kernel}, .backward = relu_backward,
    .saves = SOMA_SAVE_IN(X) | SOMA_SAVE_IN(WEIGHT) | SOMA_SAVE_IN(BIAS) | SOMA_SAVE_OUT(0) | SOMA_SAVE_OUT(1) | SOMA_SAVE_OUT(2),
    .no_grad_in = 1u << RUNNING_MEAN | 1u << RUNNING_VAR, .no_grad_out = 6, .writes = 1u << RUNNING_MEAN | 1u << RUNNING_VAR,
    .internal = true, .samples = relu_samples, .errors = relu_errors,
};
static const soma_op batch_norm_relu_backward_op = {
    .name = "batch_norm_relu_backward", .family = "norm", .doc = "gradients of batch_norm_relu for x, weight, bias and add",
    .in = {{.name = "grad"}, {.name = "x"}, {.name = "mean"}, {.name = "invstd"}, {.name = "weight", .optional = true},
           {.name = "bias", .optional = true}, {.name = "y", .optional = true}},
    .n_in = 7, .outputs = 4, .attrs = ATTRS, .dtypes = SOMA_BIT(SOMA_F32), .promote = SOMA_PROMOTE_NONE, .shape = relu_back_shape, .work = work,
    .cpu = {relu_back_kernel}, .backward = SOMA_NONDIFF, .internal = true, .samples = relu_back_samples, .errors = relu_back_errors,
};

extern soma_op_list soma__norm_last_ops;
soma_op_list soma__norm_last_ops = {&batch_norm_relu_op, &batch_norm_relu_backward_op, NULL};

soma_tensor *soma__batch_norm_relu(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, soma_tensor *running_mean, soma_tensor *running_var,
                                   soma_tensor *add, bool training, double momentum, double eps) {
    soma_attr attrs[] = {SOMA_BOOLEAN("training", training), SOMA_FLOAT("momentum", momentum), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&batch_norm_relu_op, attrs, x, weight, bias, running_mean, running_var, add);
}
