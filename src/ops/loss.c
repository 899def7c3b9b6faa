/* Losses that compare a prediction with a target of the same shape, element by element: mse_loss, l1_loss, bce_with_logits. A target is
 * never broadcast: [64, 1] against [64] would silently compare everything with everything. */
#include "ops/loss.h"

#include "kernels/cpu/loss.h"
#include "ops/dense.h"
#include "ops/fold.h"

#include <string.h>

enum { PIECE = 4096 }; /* elements of one partial sum */

bool soma__check_reduction(const char *op, int64_t reduction) {
    if (reduction >= SOMA_MEAN && reduction <= SOMA_NONE)
        return true;
    soma_fail(SOMA_EINVAL, "%s: reduction is %lld, expected 0 (mean), 1 (sum) or 2 (none)", op, (long long)reduction);
    return false;
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
    soma__store(a->out[0]->data, (soma_dtype)a->out[0]->dtype, reduction == SOMA_MEAN ? sum / (double)n : sum);
    return NULL;
}
static const char *mse_kernel(soma_args *a) { return loss(a, SOMA__LOSS_SQUARE); }
static const char *l1_kernel(soma_args *a) { return loss(a, SOMA__LOSS_ABSOLUTE); }
static const char *bce_kernel(soma_args *a) { return loss(a, SOMA__LOSS_LOGISTIC); }

/* ---- Shape, gradients -------------------------------------------------------------------------------------------- */

static bool loss_shape(soma_args *a, soma_meta *out) {
    char x[SOMA__SHAPE_TEXT], t[SOMA__SHAPE_TEXT];
    if (!soma__check_reduction(a->op->name, a->attrs[0].value.i))
        return false;
    if (!soma__same_shape(a->in[0], a->in[1])) {
        soma_fail(SOMA_ESHAPE,
                  "%s: x is %s, target is %s; the shapes must be equal (a target is never broadcast; soma_reshape one)",
                  a->op->name, soma__tensor_text(a->in[0], x), soma__tensor_text(a->in[1], t));
        return false;
    }
    if (a->attrs[0].value.i == SOMA_NONE)
        return soma__shape_same(a, out);
    out->ndim = 0;
    return true;
}

/* The gradient of one element's loss. */
static soma_tensor *element_grad(soma_grad_args *g) {
    if (!g->gout[0] || g->attrs[0].value.i != SOMA_MEAN)
        return g->gout[0];
    int64_t n = 1;
    for (int d = 0; d < g->in_meta[0].ndim; d++)
        n *= g->in_meta[0].shape[d];
    return soma_mul_scalar(g->gout[0], 1.0 / (double)n);
}

/* d/dx = 2 (x - t), d/dt = -2 (x - t) */
static void mse_backward(soma_grad_args *g) {
    soma_tensor *e = element_grad(g);
    if (!e)
        return;
    soma_tensor *gx = soma_mul(soma_sub(g->in[0], g->in[1]), soma_mul_scalar(e, 2.0));
    g->gin[0] = g->need[0] ? gx : NULL;
    g->gin[1] = g->need[1] ? soma_neg(gx) : NULL;
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

static bool loss_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[3]; int reduction; } cases[] = {
        {2, {5, 7}, SOMA_MEAN}, {1, {19}, SOMA_SUM}, {3, {2, 3, 4}, SOMA_NONE}, {0, {0}, SOMA_MEAN}, {2, {4, 6}, SOMA_NONE},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_INT("reduction", cases[i].reduction)}};
    s->in[0] = soma__sample(dtype, -4, 4, (uint64_t)i, cases[i].ndim, cases[i].shape);
    s->in[1] = soma__sample(dtype, 0, 1, (uint64_t)i + 20, cases[i].ndim, cases[i].shape);
    if (i == (int)SOMA_LEN(cases) - 1)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}

static bool loss_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2)
        return false;
    *s = (soma_sample){.n_in = 2, .n_attrs = 1, .attrs = {SOMA_INT("reduction", i == 0 ? 0 : 3)},
                       .status = i == 0 ? SOMA_ESHAPE : SOMA_EINVAL, .error = i == 0 ? "never broadcast" : "reduction is 3"};
    s->in[0] = soma__sample(dtype, 0, 1, 1, 2, (const int64_t[]){4, 1});
    s->in[1] = soma__sample(dtype, 0, 1, 2, i == 0 ? 1 : 2, (const int64_t[]){4, 1});
    return true;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

#define ELEMENTWISE_LOSS .family = "loss", .in = {{.name = "x"}, {.name = "target"}}, .n_in = 2, .outputs = 1, \
    .attrs = SOMA_ATTRS(SOMA__REDUCTION_ATTR), .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_FLOAT, .shape = loss_shape, \
    .work = loss_work, .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_IN(1), .samples = loss_samples, .errors = loss_errors

static const soma_op mse_op = {
    .name = "mse_loss", ELEMENTWISE_LOSS, .doc = "(x - target)^2, averaged, summed or element by element",
    .cpu = {mse_kernel}, .backward = mse_backward, .flops = loss_flops,
};
static const soma_op l1_op = {
    .name = "l1_loss", ELEMENTWISE_LOSS, .doc = "|x - target|, averaged, summed or element by element; the gradient at 0 is 0",
    .cpu = {l1_kernel}, .backward = l1_backward, .flops = loss_flops,
};
static const soma_op bce_op = {
    .name = "bce_with_logits", ELEMENTWISE_LOSS,
    .doc = "-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), computed as max(x, 0) - x t + log(1 + exp(-|x|)); averaged, summed or "
           "element by element",
    .cpu = {bce_kernel}, .backward = bce_backward, .flops = bce_flops,
};

extern soma_op_list soma__loss_ops;
soma_op_list soma__loss_ops = {&soma__cross_entropy_op, &soma__cross_entropy_backward_op, &soma__nll_loss_op,
                               &soma__class_coefficients_op, &mse_op, &l1_op, &bce_op, NULL};

static soma_tensor *call(const soma_op *op, soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    soma_attr attr = SOMA_INT("reduction", (int64_t)soma__loss_defaults(opts).reduction);
    return SOMA__RUN(op, &attr, x, target);
}
soma_tensor *soma_mse_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return call(&mse_op, x, target, opts);
}
soma_tensor *soma_l1_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return call(&l1_op, x, target, opts);
}
soma_tensor *soma_bce_with_logits_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts) {
    return call(&bce_op, x, target, opts);
}
