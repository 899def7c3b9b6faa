/* Losses with kernels, of a prediction and a target of the same shape, element by element: mse_loss, l1_loss, bce_with_logits; and what all
 * losses share: reductions, checks of targets, samples. A target is never broadcast: [64, 1] against [64] would silently compare everything
 * with everything. Most losses are composites: loss_values.c, loss_binary.c, loss_classes.c, loss_pairs.c. */
#include "ops/loss.h"

#include "kernels/cpu/loss.h"
#include "ops/dense.h"
#include "ops/elementwise.h"
#include "ops/fold.h"

#include <string.h>

enum { PIECE = 4096 }; /* elements of one partial sum */

bool soma__check_reduction(const char *op, int64_t reduction, soma_reduction last) {
    static const char *const names[] = {"0 (mean)", ", 1 (sum)", ", 2 (none)", ", 3 (batchmean)", ", 4 (half)"};
    if (reduction >= SOMA_MEAN && reduction <= (int64_t)last)
        return true;
    char list[96] = "";
    for (int i = 0; i <= (int)last; i++)
        strcat(list, names[i]);
    soma_fail(SOMA_EINVAL, "%s: reduction is %lld, expected one of %s", op, (long long)reduction, list);
    return false;
}

/* ---- What the composites share ----------------------------------------------------------------------------------- */

soma_tensor *soma__loss_in(const soma_args *a, int i) {
    soma_tensor *t = a->in[i];
    return t && (t->dtype == SOMA_F16 || t->dtype == SOMA_BF16) ? soma_to(t, SOMA_F32) : t;
}

bool soma__loss_shapes(const soma_args *a, int i, int j) {
    char x[SOMA__SHAPE_TEXT], t[SOMA__SHAPE_TEXT];
    if (soma__same_shape(a->in[i], a->in[j]))
        return true;
    soma_fail(SOMA_ESHAPE, "%s: %s is %s, %s is %s; the shapes must be equal (a target is never broadcast; soma_reshape one)", a->op->name,
              a->op->in[i].name, soma__tensor_text(a->in[i], x), a->op->in[j].name, soma__tensor_text(a->in[j], t));
    return false;
}

const char *soma__loss_place(const soma_tensor *t, int64_t i, char *out) {
    int64_t index[SOMA_MAX_DIMS];
    for (int d = t->ndim - 1; d >= 0; d--) {
        index[d] = i % t->shape[d];
        i /= t->shape[d];
    }
    return soma__shape_text(t->ndim, index, out, SOMA__SHAPE_TEXT);
}

/* The first element outside, -1 for none. `gap`: of the two ends only. */
static int64_t first_outside(const double *v, int64_t n, double low, double high, bool gap) {
    for (int64_t i = 0; i < n; i++)
        if (gap ? v[i] != low && v[i] != high : !(v[i] >= low && v[i] <= high))
            return i;
    return -1;
}

bool soma__loss_range(const soma_args *a, int i, double low, double high, bool ends, const char *expected) {
    if (soma__ctx()->shapes_only)
        return true;
    bool grad = soma_set_grad_enabled(false);
    soma_tensor *t = soma_contiguous(a->in[i]);
    soma_set_grad_enabled(grad);
    double room[SOMA__STAGE], low_bound = low, high_bound = high;
    float narrow[SOMA__STAGE];
    for (int64_t at = 0; t && at < t->numel; at += SOMA__STAGE) {
        int64_t n = SOMA_MIN(SOMA__STAGE, t->numel - at), size = (int64_t)soma_dtype_size((soma_dtype)t->dtype);
        bool f64 = t->dtype == SOMA_F64;
        soma__stage((soma_dtype)t->dtype, (const char *)t->data + at * size, size, n, f64 ? (void *)room : narrow);
        for (int64_t k = 0; k < n && !f64; k++)
            room[k] = (double)narrow[k];
        int64_t bad = first_outside(room, n, low_bound, high_bound, ends);
        if (bad < 0)
            continue;
        char where[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_EINVAL, "%s: %s%s%s is %g, expected %s", a->op->name, a->op->in[i].name, t->ndim ? " at " : "",
                  t->ndim ? soma__loss_place(t, at + bad, where) : "", room[bad], expected);
        return false;
    }
    return t != NULL;
}

/* The attribute "reduction" of the call. */
static int64_t reduction_of(const soma_args *a) {
    int i = 0;
    while (strcmp(a->op->attrs[i].def.name, "reduction") != 0)
        i++;
    return a->attrs[i].value.i;
}

bool soma__loss_reduce(soma_args *a, soma_tensor *each) {
    int64_t reduction = reduction_of(a);
    if (!each || !soma__check_reduction(a->op->name, reduction, SOMA_BATCHMEAN))
        return false;
    if (reduction == SOMA_MEAN)
        each = soma_mean(each, SOMA_ALL, false);
    else if (reduction != SOMA_NONE) {
        int64_t rows = each->ndim ? each->shape[0] : 1;
        each = soma_sum(each, SOMA_ALL, false);
        each = reduction == SOMA_BATCHMEAN ? soma_mul_scalar(each, 1.0 / (double)rows) : each;
    }
    return soma__return(a, soma_to(each, (soma_dtype)a->in[0]->dtype));
}

soma_tensor *soma__loss_signs(soma_dtype dtype, uint64_t salt, int ndim, const int64_t *shape) {
    soma_tensor *t = soma__sample(SOMA_F64, 0, 2, salt, ndim, shape);
    return soma_to(soma_add_scalar(soma_mul_scalar(soma_floor(t), 2), -1), dtype);
}

bool soma__loss_sample(int i, soma_dtype dtype, soma_sample *s, double x_low, double x_high, double t_low, double t_high, const soma_attr *other) {
    static const struct { int ndim; int64_t shape[3]; int reduction; } cases[] = {
        {2, {5, 7}, SOMA_MEAN}, {1, {19}, SOMA_SUM},    {3, {2, 3, 4}, SOMA_NONE}, {0, {0}, SOMA_MEAN},      {2, {4, 6}, SOMA_NONE},
        {2, {0, 3}, SOMA_SUM},  {2, {3, 1}, SOMA_MEAN}, {1, {64}, SOMA_NONE},      {2, {6, 3}, SOMA_BATCHMEAN},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    int n = cases[i].ndim;
    const int64_t *shape = cases[i].shape;
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_INT("reduction", cases[i].reduction)}};
    s->in[0] = soma__sample(dtype, x_low, x_high, (uint64_t)i, n, shape);
    s->in[1] = t_low == t_high ? soma__loss_signs(dtype, (uint64_t)i + 20, n, shape) : soma__sample(dtype, t_low, t_high, (uint64_t)i + 20, n, shape);
    if (i == 4 || i == 6)
        s->in[i == 6] = soma__strided(s->in[i == 6]);
    if (other && i % 2)
        s->attrs[s->n_attrs++] = *other;
    return true;
}

bool soma__loss_error(int i, soma_dtype dtype, soma_sample *s, double bad, const char *text) {
    static const int64_t shape[] = {2, 3};
    if (i >= (text ? 3 : 2))
        return false;
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_INT("reduction", i == 1 ? 9 : 0)}, .status = i ? SOMA_EINVAL : SOMA_ESHAPE};
    s->in[0] = soma__sample(dtype, 0.1, 0.9, 1, 2, shape);
    s->in[1] = soma_full(i == 0 ? 1 : 2, shape, 1, dtype);
    s->error = i == 0 ? "never broadcast" : i == 1 ? "reduction is 9, expected one of 0 (mean), 1 (sum), 2 (none)" : text;
    if (i == 2)
        soma_fill_(soma_select(soma_select(s->in[1], 0, 1), 0, 2), bad);
    return true;
}

double soma__sum_values(const void *values, int64_t n, bool f64) {
    const soma__reduce_kernels *k = soma__reduce_pick();
    double sum = 0.0;
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t m = SOMA_MIN(PIECE, n - i);
        sum += f64 ? k->row_f64[SOMA__FOLD_SUM]((const double *)values + i, m, 0.0)
                   : k->row_f32[SOMA__FOLD_SUM]((const float *)values + i, m, 0.0);
    }
    return sum;
}

soma_loss_opts soma__loss_defaults(const soma_loss_opts *opts) {
    soma_loss_opts o = {0};
    if (opts)
        memcpy(&o, opts, opts->size > 0 && opts->size < sizeof o ? opts->size : sizeof o);
    return o;
}

static const soma_op mse_op;

/* What the sum of `n` losses in `rows` rows is divided by. */
static double divisor(int64_t reduction, int64_t n, int64_t rows) {
    return (double)(reduction == SOMA_MEAN ? n : reduction == SOMA_BATCHMEAN ? rows : reduction == SOMA_HALF ? 2 * rows : 1);
}

/* ---- Kernel ------------------------------------------------------------------------------------------------------ */

typedef struct job {
    const char *x, *t;
    char *y;         /* NULL: only the sums are wanted */
    double *partial;
    int64_t n;
    bool f64;
    soma__loss_kind kind;
    const soma__loss_kernels *k;
} job;

static void loss_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    size_t size = j->f64 ? sizeof(double) : sizeof(float);
    double room[SOMA__STAGE];
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t from = piece * PIECE, to = SOMA_MIN(from + PIECE, j->n);
        double sum = 0.0;
        for (int64_t i = from; i < to; i += SOMA__STAGE) {
            int64_t n = SOMA_MIN(SOMA__STAGE, to - i);
            const void *x = j->x + (size_t)i * size, *t = j->t + (size_t)i * size;
            void *y = j->y ? (void *)(j->y + (size_t)i * size) : (void *)room;
            if (j->f64)
                j->k->f64[j->kind](x, t, y, n);
            else
                j->k->f32[j->kind](x, t, y, n);
            if (!j->y)
                sum += soma__sum_values(y, n, j->f64);
        }
        if (!j->y)
            j->partial[piece] = sum;
    }
}

static int64_t pieces(int64_t n) { return (n + PIECE - 1) / PIECE; }

static size_t loss_work(soma_args *a) {
    return soma__dense_bytes(a->in[0]) + soma__dense_bytes(a->in[1]) + soma__dense_bytes(a->out[0]) +
           (size_t)pieces(a->in[0]->numel) * sizeof(double);
}

static const char *loss(soma_args *a, soma__loss_kind kind) {
    char *room = a->work;
    int64_t n = a->in[0]->numel, reduction = a->attrs[0].value.i;
    job j = {.n = n, .kind = kind, .f64 = a->in[0]->dtype == SOMA_F64, .k = soma__loss_pick()};
    j.x = soma__dense(a->in[0], &room);
    j.t = soma__dense(a->in[1], &room);
    if (reduction == SOMA_NONE)
        j.y = soma__dense_out(a->out[0], &room);
    j.partial = (double *)room;
    if (n > 0)
        soma__parallel(pieces(n), 4, loss_range, &j);
    if (reduction == SOMA_NONE) {
        soma__dense_done(a->out[0], j.y);
        return NULL;
    }
    double sum = 0.0;
    for (int64_t i = 0; i < pieces(n); i++)
        sum += j.partial[i];
    soma__store(a->out[0]->data, (soma_dtype)a->out[0]->dtype, sum / divisor(reduction, n, a->in[0]->ndim ? a->in[0]->shape[0] : 1));
    return NULL;
}
static const char *mse_kernel(soma_args *a) { return loss(a, SOMA__LOSS_SQUARE); }
static const char *l1_kernel(soma_args *a) { return loss(a, SOMA__LOSS_ABSOLUTE); }
static const char *bce_kernel(soma_args *a) { return loss(a, SOMA__LOSS_LOGISTIC); }

/* ---- Shape, gradients -------------------------------------------------------------------------------------------- */

static bool loss_shape(soma_args *a, soma_meta *out) {
    soma_reduction last = a->op == &mse_op ? SOMA_HALF : SOMA_BATCHMEAN;
    if (!soma__check_reduction(a->op->name, a->attrs[0].value.i, last) || !soma__loss_shapes(a, 0, 1))
        return false;
    if (a->attrs[0].value.i == SOMA_NONE)
        return soma__shape_same(a, out);
    out->ndim = 0;
    return true;
}

/* The gradient of one element's loss. */
static soma_tensor *element_grad(soma_grad_args *g) {
    int64_t n = 1, reduction = g->attrs[0].value.i;
    if (!g->gout[0] || reduction == SOMA_SUM || reduction == SOMA_NONE)
        return g->gout[0];
    for (int d = 0; d < g->in_meta[0].ndim; d++)
        n *= g->in_meta[0].shape[d];
    return soma_mul_scalar(g->gout[0], 1.0 / divisor(reduction, n, g->in_meta[0].ndim ? g->in_meta[0].shape[0] : 1));
}

static const soma_op mse_backward_op;

/* d/dx = 2 (x - t), d/dt = -2 (x - t) */
static void mse_backward(soma_grad_args *g) {
    soma_dtype d = g->in_meta[0].dtype;
    if (!g->create_graph && g->gout[0] && g->need[0] && !g->need[1] && g->attrs[0].value.i != SOMA_NONE && (d == SOMA_F32 || d == SOMA_F64)) {
        g->gin[0] = SOMA__RUN(&mse_backward_op, g->attrs, g->gout[0], g->in[0], g->in[1]);
        return;
    }
    soma_tensor *e = element_grad(g);
    if (!e)
        return;
    soma_tensor *gx = soma_mul(soma_sub(g->in[0], g->in[1]), soma_mul_scalar(e, 2.0));
    g->gin[0] = g->need[0] ? gx : NULL;
    g->gin[1] = g->need[1] ? soma_neg(gx) : NULL;
}

static bool mse_backward_shape(soma_args *a, soma_meta *out) {
    if (a->in[0]->numel != 1 || !soma__loss_shapes(a, 1, 2)) {
        soma_fail(SOMA_ESHAPE, "%s: the gradient is one number", a->op->name);
        return false;
    }
    soma__meta_put(out, a->in[1]);
    return true;
}

static const char *mse_backward_kernel(soma_args *a) {
    soma_tensor *out = a->out[0], factor = *a->in[0], *scaled[2] = {out, &factor};
    double n = divisor(a->attrs[0].value.i, out->numel, out->ndim ? out->shape[0] : 1);
    union { float f32; double f64; } value;
    if (out->dtype == SOMA_F32)
        value.f32 = *(const float *)a->in[0]->data * (float)(1.0 / n) * 2.0f;
    else
        value.f64 = *(const double *)a->in[0]->data * (1.0 / n) * 2.0;
    factor.data = &value;
    soma__run_rows(out, a->in + 1, 2, SOMA__ROW(binary, SOMA__B_sub, out->dtype), NULL, NULL, true);
    soma__run_rows(out, scaled, 2, SOMA__ROW(binary, SOMA__B_mul, out->dtype), NULL, NULL, true);
    return NULL;
}

/* d/dx = sign(x - t) */
static void l1_backward(soma_grad_args *g) {
    soma_tensor *e = element_grad(g);
    if (!e)
        return;
    soma_tensor *gx = soma_mul(soma_sign(soma_sub(g->in[0], g->in[1])), e);
    g->gin[0] = g->need[0] ? gx : NULL;
    g->gin[1] = g->need[1] ? soma_neg(gx) : NULL;
}

/* d/dx = sigmoid(x) - t, d/dt = -x */
static void bce_backward(soma_grad_args *g) {
    soma_tensor *e = element_grad(g);
    if (!e)
        return;
    if (g->need[0])
        g->gin[0] = soma_mul(soma_sub(soma_sigmoid(g->in[0]), g->in[1]), e);
    if (g->need[1])
        g->gin[1] = soma_neg(soma_mul(g->in[0], e));
}

static int64_t loss_flops(soma_args *a) { return 3 * a->in[0]->numel; }
static int64_t bce_flops(soma_args *a) { return 20 * a->in[0]->numel; }

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static bool loss_samples(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_sample(i, dtype, s, -4, 4, 0.05, 0.95, NULL); }

static bool mse_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!loss_samples(i, dtype, s))
        return false;
    if (i == 8)
        s->attrs[0].value.i = SOMA_HALF;
    return true;
}

static bool loss_errors(int i, soma_dtype dtype, soma_sample *s) { return soma__loss_error(i, dtype, s, 0, NULL); }

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

#define ELEMENTWISE_LOSS .family = "loss", .in = {{.name = "input"}, {.name = "target"}}, .n_in = 2, .outputs = 1, \
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .shape = loss_shape, \
    .work = loss_work, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_IN(1), .errors = loss_errors

static const soma_op mse_op = {
    .name = "mse_loss", ELEMENTWISE_LOSS, .samples = mse_samples, .attrs = SOMA_ATTRS(SOMA__REDUCTION(", 4: half, the sum / 2N")),
    .doc = "(input - target)^2, the square of the error: the likelihood of normal noise, and the usual loss of regression. Large errors weigh "
           "heavily: huber_loss for data with outliers. Reduction 4 is the textbooks' 1/(2N) sum over samples, whose gradient has no factor 2",
    .cpu = {mse_kernel}, .backward = mse_backward, .flops = loss_flops,
};
static const soma_op l1_op = {
    .name = "l1_loss", ELEMENTWISE_LOSS, .samples = loss_samples, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "|input - target| (MAE), which leads to the median and is robust against outliers; the gradient is the sign of the error, 0 at 0",
    .cpu = {l1_kernel}, .backward = l1_backward, .flops = loss_flops,
};
static const soma_op bce_op = {
    .name = "bce_with_logits", ELEMENTWISE_LOSS, .samples = loss_samples, .internal = true, .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR),
    .doc = "binary_cross_entropy_with_logits without weights and unchecked: max(x, 0) - x t + log(1 + exp(-|x|))",
    .cpu = {bce_kernel}, .backward = bce_backward, .flops = bce_flops,
};

static bool mse_backward_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!loss_samples(i, dtype, s) || s->attrs[0].value.i == SOMA_NONE)
        return false;
    s->in[2] = s->in[1];
    s->in[1] = s->in[0];
    s->in[0] = soma__sample(dtype, -1, 1, 7, SOMA_SCALAR);
    s->n_in = 3;
    return true;
}

static bool mse_backward_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !mse_backward_samples(0, dtype, s))
        return false;
    s->in[0] = s->in[1];
    s->status = SOMA_ESHAPE;
    s->error = "one number";
    return true;
}

static const soma_op mse_backward_op = {
    .name = "mse_loss_backward", .family = "loss", .doc = "gradient of mse_loss for its input, in one pass", .in = {{.name = "grad"},
    {.name = "input"}, {.name = "target"}}, .n_in = 3, .outputs = 1, .dtypes = SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64), .promote = SOMA_PROMOTE_SAME,
    .shape = mse_backward_shape, .cpu = {mse_backward_kernel}, .backward = SOMA_NONDIFF, .internal = true,
    .attrs = SOMA_ATTRS(SOMA__REDUCTION(", 4: half, the sum / 2N")), .samples = mse_backward_samples, .errors = mse_backward_errors,
};

extern soma_op_list soma__loss_ops;
soma_op_list soma__loss_ops = {&soma__class_entropy_op, &soma__cross_entropy_backward_op, &soma__nll_loss_op,
                               &soma__class_coefficients_op, &mse_op, &mse_backward_op, &l1_op, &bce_op, NULL};

soma_tensor *soma__loss_run(const soma_op *op, soma_tensor *x, soma_tensor *target, int64_t reduction) {
    soma_attr attr = SOMA_INT("reduction", reduction);
    return SOMA__RUN(op, &attr, x, target);
}
soma_tensor *soma__bce_plain(soma_tensor *x, soma_tensor *target, int64_t reduction) { return soma__loss_run(&bce_op, x, target, reduction); }
soma_tensor *soma_mse_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return soma__loss_run(&mse_op, x, target, (int64_t)soma__loss_defaults(opts).reduction);
}
soma_tensor *soma_l1_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return soma__loss_run(&l1_op, x, target, (int64_t)soma__loss_defaults(opts).reduction);
}
