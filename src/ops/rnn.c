/* The recurrence of RNN, LSTM and GRU over a whole sequence, as one operator: a product with the state and an elementwise step in
 * turn. The input's share of the gates comes ready made (one product for all steps), and the gradient of the weights is one product
 * after the way back, so that only what really depends on the step before is done step by step.
 *
 * A row of the batch whose sequence has ended keeps its state: in both directions, as with PyTorch's packed sequences. */
#include "ops/rnn.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/rnn.h"
#include "ops/dense.h"

#include <string.h>

enum { MODE, BATCH_FIRST, REVERSE };                     /* attributes */
enum { X, H0, C0, W, B, LENGTHS };                       /* inputs */
enum { GH, GC, BEFORE, C, ACT, BACK_C0, BACK_W, BACK_LENGTHS };

/* Sizes, and where the rows of step t and batch b lie: (t * step + b * stride) rows from the first. */
typedef struct run {
    int mode, gates;
    bool reverse, f64;
    size_t size;
    int64_t steps, batch, n, step, stride;
    const soma_tensor *lengths;
    int64_t t; /* the step at work */
    const char *x, *h0, *c0, *w, *b, *gh, *gc, *before;
    char *h, *c, *act, *part, *dh, *dc, *dx, *dg;
} run;

static int kept(int mode) { return mode == SOMA__RNN_LSTM || mode == SOMA__RNN_GRU ? 4 : 1; }

static run run_of(const soma_args *a, const soma_tensor *x, const soma_tensor *lengths) {
    run r = {.mode = (int)a->attrs[MODE].value.i, .reverse = a->attrs[REVERSE].value.i != 0, .f64 = x->dtype == SOMA_F64, .lengths = lengths};
    bool batch_first = a->attrs[BATCH_FIRST].value.i != 0;
    r.gates = soma__rnn_gates(r.mode);
    r.size = soma_dtype_size((soma_dtype)x->dtype);
    r.steps = x->shape[batch_first];
    r.batch = x->shape[!batch_first];
    r.step = batch_first ? 1 : r.batch;
    r.stride = batch_first ? r.steps : 1;
    return r;
}

/* The address of a row of `parts` times n elements in a tensor over all steps. */
static char *at(const run *r, const void *base, int64_t t, int64_t b, int parts) {
    return (char *)base + (size_t)((t * r->step + b * r->stride) * parts * r->n) * r->size;
}

static bool ended(const run *r, int64_t b) {
    const soma_tensor *l = r->lengths;
    return l && r->t >= soma__load_int((const char *)l->data + b * l->stride[0] * (int64_t)soma_dtype_size((soma_dtype)l->dtype), (soma_dtype)l->dtype);
}

/* The state before step t: of row b. */
static const char *state_before(const run *r, const char *all, const char *first, int64_t b) {
    int64_t t = r->reverse ? r->t + 1 : r->t - 1;
    return t < 0 || t >= r->steps ? first + (size_t)(b * r->n) * r->size : at(r, all, t, b, 1);
}

/* ---- Forward --------------------------------------------------------------------------------------------------------- */

static void forward_rows(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    size_t bytes = (size_t)r->n * r->size;
    for (int64_t b = begin; b < end; b++) {
        const char *hb = state_before(r, r->h, r->h0, b), *cb = r->c0 ? state_before(r, r->c, r->c0, b) : NULL;
        char *h = at(r, r->h, r->t, b, 1), *c = r->c0 ? at(r, r->c, r->t, b, 1) : NULL, *act = at(r, r->act, r->t, b, kept(r->mode));
        const char *x = at(r, r->x, r->t, b, r->gates), *g = r->part + (size_t)b * (size_t)r->gates * bytes;
        if (ended(r, b)) {
            memcpy(h, hb, bytes);
            if (c)
                memcpy(c, cb, bytes);
            memset(act, 0, (size_t)kept(r->mode) * bytes);
            continue;
        }
#define STEP(T, k)                                                                                                          \
        switch (r->mode) {                                                                                                  \
        case SOMA__RNN_TANH: (k)->tanh((const T *)x, (const T *)g, (T *)h, r->n); break;                                    \
        case SOMA__RNN_RELU: (k)->relu((const T *)x, (const T *)g, (T *)h, r->n); break;                                    \
        case SOMA__RNN_LSTM: (k)->lstm((const T *)x, (const T *)g, (const T *)cb, (T *)h, (T *)c, (T *)act, r->n); break;   \
        default: (k)->gru((const T *)x, (const T *)g, (const T *)hb, (T *)h, (T *)act, r->n);                               \
        }
        if (r->f64)
            STEP(double, &soma__rnn_f64)
        else
            STEP(float, soma__rnn_pick())
        if (kept(r->mode) == 1)
            memcpy(act, h, bytes);
    }
}

static int64_t grain(const run *r) { return SOMA_MAX(1, 8192 / SOMA_MAX(1, r->gates * r->n)); }

/* The state's share of the gates at step r->t. */
static soma__gemm forward_product(const run *r, soma_dtype dtype) {
    bool first = r->t == (r->reverse ? r->steps - 1 : 0);
    return (soma__gemm){.dtype = dtype, .m = r->batch, .n = r->gates * r->n, .k = r->n,
                        .a = state_before(r, r->h, r->h0, 0), .a_row = first ? r->n : r->stride * r->n, .a_col = 1,
                        .b = r->w, .b_row = 1, .b_col = r->n, .c = r->part, .c_row = r->gates * r->n, .bias_col = r->b, .batch = 1};
}

/* Workspace of the product, for the first step and for the others. */
static size_t product_work(run r, soma_dtype dtype, soma__gemm (*product)(const run *r, soma_dtype dtype)) {
    size_t most = 0;
    for (r.t = 0; r.t < SOMA_MIN(r.steps, 3); r.t++) {
        soma__gemm g = product(&r, dtype);
        size_t bytes = soma__gemm_work(&g);
        most = SOMA_MAX(most, bytes);
    }
    return soma__room(most);
}

static size_t part_bytes(const run *r) { return soma__room((size_t)(r->batch * r->gates * r->n) * r->size); }

static size_t steps_work(soma_args *a) {
    run r = run_of(a, a->in[X], a->in[LENGTHS]);
    r.n = a->in[H0]->shape[1];
    size_t bytes = part_bytes(&r) + product_work(r, (soma_dtype)a->in[X]->dtype, forward_product);
    for (int i = X; i <= B; i++)
        bytes += soma__dense_bytes(a->in[i]);
    return bytes + 64;
}

static const char *steps_kernel(soma_args *a) {
    run r = run_of(a, a->in[X], a->in[LENGTHS]);
    soma_dtype dtype = (soma_dtype)a->in[X]->dtype;
    r.n = a->in[H0]->shape[1];
    if (a->out[0]->numel == 0)
        return NULL;
    char *room = a->work;
    r.x = soma__dense(a->in[X], &room);
    r.h0 = soma__dense(a->in[H0], &room);
    r.c0 = soma__dense(a->in[C0], &room);
    r.w = soma__dense(a->in[W], &room);
    r.b = soma__dense(a->in[B], &room);
    r.h = a->out[0]->data;
    r.c = a->out[1]->data;
    r.act = a->out[2]->data;
    r.part = soma__take(&room, part_bytes(&r));
    size_t bytes = product_work(r, dtype, forward_product);
    for (int64_t i = 0; i < r.steps; i++) {
        r.t = r.reverse ? r.steps - 1 - i : i;
        soma__gemm g = forward_product(&r, dtype);
        soma__gemm_run(&g, bytes ? room : NULL, bytes);
        soma__parallel(r.batch, grain(&r), forward_rows, &r);
    }
    return NULL;
}

/* ---- Backward -------------------------------------------------------------------------------------------------------- */

static void add_row(const run *r, const char *from, int64_t b, char *to) {
    if (!from)
        return;
    from = at(r, from, r->t, b, 1);
    to += (size_t)(b * r->n) * r->size;
    for (int64_t i = 0; i < r->n; i++) {
        if (r->f64)
            ((double *)to)[i] += ((const double *)from)[i];
        else
            ((float *)to)[i] += ((const float *)from)[i];
    }
}

static void backward_rows(void *arg, int64_t begin, int64_t end) {
    const run *r = arg;
    size_t bytes = (size_t)r->n * r->size;
    for (int64_t b = begin; b < end; b++) {
        add_row(r, r->gh, b, r->dh);
        add_row(r, r->gc, b, r->dc);
        char *dh = r->dh + (size_t)b * bytes, *dc = r->dc + (size_t)b * bytes, *dx = at(r, r->dx, r->t, b, r->gates);
        char *dg = r->dg ? at(r, r->dg, r->t, b, r->gates) : NULL;
        const char *act = at(r, r->act, r->t, b, kept(r->mode)), *hb = r->before ? at(r, r->before, r->t, b, 1) : NULL;
        const char *c = r->c ? at(r, r->c, r->t, b, 1) : NULL, *cb = r->c ? state_before(r, r->c, r->c0, b) : NULL;
        if (ended(r, b)) {
            memset(dx, 0, (size_t)r->gates * bytes);
            if (dg)
                memset(dg, 0, (size_t)r->gates * bytes);
            continue;
        }
#define BACK(T, k)                                                                                                                     \
        switch (r->mode) {                                                                                                             \
        case SOMA__RNN_TANH: (k)->tanh_back((const T *)act, (T *)dh, (T *)dx, r->n); break;                                            \
        case SOMA__RNN_RELU: (k)->relu_back((const T *)act, (T *)dh, (T *)dx, r->n); break;                                            \
        case SOMA__RNN_LSTM: (k)->lstm_back((const T *)act, (const T *)cb, (const T *)c, (T *)dh, (T *)dc, (T *)dx, r->n); break;      \
        default: (k)->gru_back((const T *)act, (const T *)hb, (T *)dh, (T *)dx, (T *)dg, r->n);                                        \
        }
        if (r->f64)
            BACK(double, &soma__rnn_f64)
        else
            BACK(float, soma__rnn_pick())
    }
}

static soma__gemm backward_product(const run *r, soma_dtype dtype) {
    return (soma__gemm){.dtype = dtype, .m = r->batch, .n = r->n, .k = r->gates * r->n, .a = at(r, r->dg ? r->dg : r->dx, r->t, 0, r->gates),
                        .a_row = r->stride * r->gates * r->n, .a_col = 1, .b = r->w, .b_row = r->n, .b_col = 1, .c = r->dh, .c_row = r->n,
                        .add = true, .batch = 1};
}

static size_t back_work(soma_args *a) {
    run r = run_of(a, a->in[GH], a->in[BACK_LENGTHS]);
    r.n = a->in[GH]->shape[2];
    size_t bytes = 2 * soma__room((size_t)(r.batch * r.n) * r.size) + product_work(r, (soma_dtype)a->in[GH]->dtype, backward_product);
    for (int i = GH; i <= BACK_W; i++)
        bytes += soma__dense_bytes(a->in[i]);
    return bytes + 64;
}

static const char *back_kernel(soma_args *a) {
    run r = run_of(a, a->in[GH], a->in[BACK_LENGTHS]);
    soma_dtype dtype = (soma_dtype)a->in[GH]->dtype;
    r.n = a->in[GH]->shape[2];
    size_t state = (size_t)(r.batch * r.n) * r.size;
    char *room = a->work;
    r.gh = soma__dense(a->in[GH], &room);
    r.gc = soma__dense(a->in[GC], &room);
    r.before = soma__dense(a->in[BEFORE], &room);
    bool lstm = r.mode == SOMA__RNN_LSTM;
    r.c = lstm ? (char *)soma__dense(a->in[C], &room) : NULL;
    r.act = (char *)soma__dense(a->in[ACT], &room);
    r.c0 = lstm ? soma__dense(a->in[BACK_C0], &room) : NULL;
    r.w = soma__dense(a->in[BACK_W], &room);
    r.dx = a->out[0]->data;
    r.dg = r.mode == SOMA__RNN_GRU ? a->out[1]->data : NULL;
    r.dh = soma__take(&room, state);
    r.dc = soma__take(&room, state);
    if (state > 0) {
        memset(r.dh, 0, state);
        memset(r.dc, 0, state);
    }
    if (!lstm)
        r.gc = NULL;
    size_t bytes = product_work(r, dtype, backward_product);
    for (int64_t i = 0; i < r.steps && state > 0; i++) {
        r.t = r.reverse ? i : r.steps - 1 - i;
        soma__parallel(r.batch, grain(&r), backward_rows, &r);
        soma__gemm g = backward_product(&r, dtype);
        soma__gemm_run(&g, bytes ? room : NULL, bytes);
    }
    if (state > 0) {
        memcpy(a->out[2]->data, r.dh, state);
        if (lstm)
            memcpy(a->out[3]->data, r.dc, state);
    }
    return NULL;
}

/* ---- Shapes ---------------------------------------------------------------------------------------------------------- */

static bool fits(const soma_args *a, int i, int ndim, int64_t p, int64_t q, int64_t s) {
    const soma_tensor *t = a->in[i];
    const int64_t want[] = {p, q, s};
    bool ok = !t || t->ndim == ndim;
    for (int d = 0; t && ok && d < ndim; d++)
        ok = t->shape[d] == want[d];
    if (ok)
        return true;
    char have[SOMA__SHAPE_TEXT], wanted[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s: %s is %s, expected %s", a->op->name, a->op->in[i].name, soma__tensor_text(t, have),
              soma__shape_text(ndim, want, wanted, sizeof wanted));
    return false;
}

static bool mode_ok(const soma_args *a) {
    int64_t mode = a->attrs[MODE].value.i;
    if (mode >= SOMA__RNN_TANH && mode <= SOMA__RNN_GRU)
        return true;
    soma_fail(SOMA_EINVAL, "%s: mode must be 0 (tanh), 1 (relu), 2 (LSTM) or 3 (GRU), not %lld", a->op->name, (long long)mode);
    return false;
}

static bool steps_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[X], *h0 = a->in[H0];
    char have[SOMA__SHAPE_TEXT];
    if (!mode_ok(a))
        return false;
    int mode = (int)a->attrs[MODE].value.i, first = a->attrs[BATCH_FIRST].value.i != 0;
    int64_t gates = soma__rnn_gates(mode);
    if (x->ndim != 3 || h0->ndim != 2 || x->shape[first] < 1) {
        soma_fail(SOMA_ESHAPE, "%s: x is %s, expected [steps, batch, gates] with at least one step, and h0 [batch, hidden]", a->op->name,
                  soma__tensor_text(x, have));
        return false;
    }
    int64_t n = h0->shape[1], batch = x->shape[!first];
    bool lstm = mode == SOMA__RNN_LSTM;
    if (!fits(a, X, 3, x->shape[0], x->shape[1], gates * n) || !fits(a, H0, 2, batch, n, 0) || !fits(a, W, 2, gates * n, n, 0) ||
        !fits(a, B, 1, gates * n, 0, 0) || !fits(a, LENGTHS, 1, batch, 0, 0) ||
        !fits(a, C0, 2, batch, n, 0))
        return false;
    if (lstm && !a->in[C0]) {
        soma_fail(SOMA_EINVAL, "%s: an LSTM needs c0", a->op->name);
        return false;
    }
    out[0].ndim = 3;
    memcpy(out[0].shape, x->shape, sizeof out[0].shape);
    out[0].shape[2] = n;
    out[1].ndim = lstm ? 3 : 1;
    memcpy(out[1].shape, out[0].shape, sizeof out[1].shape);
    if (!lstm)
        out[1].shape[0] = 0;
    out[2] = out[0];
    out[2].shape[2] = kept(mode) * n;
    return true;
}

static bool steps_check(soma_args *a) {
    const soma_tensor *l = a->in[LENGTHS];
    int64_t steps = a->in[X]->shape[a->attrs[BATCH_FIRST].value.i != 0];
    for (int64_t b = 0; l && b < l->numel; b++) {
        int64_t v = soma__load_int((const char *)l->data + b * l->stride[0] * (int64_t)soma_dtype_size((soma_dtype)l->dtype), (soma_dtype)l->dtype);
        if (v >= 0 && v <= steps)
            continue;
        soma_fail(SOMA_EINVAL, "%s: length %lld at position [%lld] is out of range for a sequence of %lld steps", a->op->name, (long long)v,
                  (long long)b, (long long)steps);
        return false;
    }
    return true;
}

static bool back_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *gh = a->in[GH];
    char have[SOMA__SHAPE_TEXT];
    if (!mode_ok(a))
        return false;
    if (gh->ndim != 3) {
        soma_fail(SOMA_ESHAPE, "%s: the gradient of h is %s, expected [steps, batch, hidden]", a->op->name, soma__tensor_text(gh, have));
        return false;
    }
    int mode = (int)a->attrs[MODE].value.i, first = a->attrs[BATCH_FIRST].value.i != 0;
    const int64_t p = gh->shape[0], q = gh->shape[1], n = gh->shape[2], gates = soma__rnn_gates(mode), batch = gh->shape[!first];
    bool lstm = mode == SOMA__RNN_LSTM;
    if ((lstm && (!fits(a, GC, 3, p, q, n) || !fits(a, C, 3, p, q, n) || !fits(a, BACK_C0, 2, batch, n, 0))) || !fits(a, BEFORE, 3, p, q, n) ||
        !fits(a, ACT, 3, p, q, kept(mode) * n) || !fits(a, BACK_W, 2, gates * n, n, 0) || !fits(a, BACK_LENGTHS, 1, batch, 0, 0))
        return false;
    for (int i = 0; i < 2; i++) {
        bool there = i == 0 || mode == SOMA__RNN_GRU;
        out[i].ndim = there ? 3 : 1;
        memcpy(out[i].shape, gh->shape, sizeof out[i].shape);
        out[i].shape[there ? 2 : 0] = there ? gates * n : 0;
        out[2 + i].ndim = i == 0 || lstm ? 2 : 1;
        out[2 + i].shape[0] = i == 0 || lstm ? batch : 0;
        out[2 + i].shape[1] = n;
    }
    return true;
}

static int64_t steps_flops(soma_args *a) { return 2 * a->in[X]->numel * a->in[H0]->shape[1] + 10 * a->in[X]->numel; }
static int64_t back_flops(soma_args *a) { return 2 * a->out[0]->numel * a->in[GH]->shape[2] + 15 * a->out[0]->numel; }

/* ---- The gradient ---------------------------------------------------------------------------------------------------- */

static soma_tensor *gate(soma_tensor *t, int i, int64_t n) { return soma_slice(t, -1, i * n, (i + 1) * n, 1); }
static soma_tensor *minus(soma_tensor *t) { return soma_sub(soma_scalar(1), t); } /* 1 - t */
static soma_tensor *slope(soma_tensor *s) { return soma_mul(s, minus(s)); }      /* of the sigmoid, by its value */
static soma_tensor *bend(soma_tensor *t) { return minus(soma_mul(t, t)); }        /* of tanh, by its value */

/* The states before each step: h0, then all but the last. */
static soma_tensor *shifted(soma_tensor *all, soma_tensor *first, const soma_attr *attrs) {
    int dim = attrs[BATCH_FIRST].value.i != 0;
    int64_t steps = soma_size(all, dim);
    bool reverse = attrs[REVERSE].value.i != 0;
    soma_tensor *rest = reverse ? soma_slice(all, dim, 1, steps, 1) : soma_slice(all, dim, 0, steps - 1, 1);
    first = soma_unsqueeze(first, dim);
    return soma_cat((soma_tensor *const[]){reverse ? rest : first, reverse ? first : rest}, 2, dim);
}

/* What one step back multiplies, for all steps at once: every factor depends on the way forward only. */
typedef struct factors {
    soma_tensor *of_h[4], *of_c[4]; /* gates' gradients from those of h and of c */
    soma_tensor *h_to_c, *keep;     /* dc gains dh h_to_c; what is handed on: LSTM dc f, GRU dh z */
    soma_tensor *lower;             /* GRU: r, by which the last gate's gradient reaches the state's share */
} factors;

static factors factors_of(soma_grad_args *g, soma_tensor *before) {
    int mode = (int)g->attrs[MODE].value.i;
    int64_t n = g->out_meta[0].shape[2];
    soma_tensor *x = g->in[X], *h = g->out[0];
    factors f = {0};
    if (mode == SOMA__RNN_TANH)
        f.of_h[0] = bend(h);
    if (mode == SOMA__RNN_RELU)
        f.of_h[0] = soma_to(soma_gt(h, soma_scalar(0)), (soma_dtype)h->dtype);
    if (mode < SOMA__RNN_LSTM)
        return f;
    soma_tensor *inner = soma_linear(before, g->in[W], g->in[B]), *sum = soma_add(x, inner);
    soma_tensor *first = soma_sigmoid(gate(sum, 0, n)), *second = soma_sigmoid(gate(sum, 1, n));
    if (mode == SOMA__RNN_LSTM) {
        soma_tensor *bent = soma_tanh(gate(sum, 2, n)), *o = soma_sigmoid(gate(sum, 3, n)), *c = soma_tanh(g->out[1]);
        f.of_c[0] = soma_mul(bent, slope(first));
        f.of_c[1] = soma_mul(shifted(g->out[1], g->in[C0], g->attrs), slope(second));
        f.of_c[2] = soma_mul(first, bend(bent));
        f.of_h[3] = soma_mul(c, slope(o));
        f.h_to_c = soma_mul(o, bend(c));
        f.keep = second;
        return f;
    }
    soma_tensor *lower = gate(inner, 2, n), *bent = soma_tanh(soma_add(gate(x, 2, n), soma_mul(first, lower)));
    f.of_h[2] = soma_mul(minus(second), bend(bent));
    f.of_h[1] = soma_mul(soma_sub(before, bent), slope(second));
    f.of_h[0] = soma_mul(f.of_h[2], soma_mul(lower, slope(first)));
    f.keep = second;
    f.lower = first;
    return f;
}

/* The way back in operators, for derivatives of higher order: out as of rnn_steps_backward. */
static bool back_in_operators(soma_grad_args *g, soma_tensor *before, soma_tensor *gh, soma_tensor *gc, soma_tensor **out) {
    int mode = (int)g->attrs[MODE].value.i, dim = g->attrs[BATCH_FIRST].value.i != 0, gates = soma__rnn_gates(mode);
    bool reverse = g->attrs[REVERSE].value.i != 0, lstm = mode == SOMA__RNN_LSTM;
    int64_t steps = g->out_meta[0].shape[dim];
    factors f = factors_of(g, before);
    soma_tensor **dx = soma__calloc((size_t)steps * 2, sizeof *dx), **dg = dx ? dx + steps : NULL;
    soma_tensor *dh = soma_mul_scalar(g->in[H0], 0), *dc = lstm ? soma_mul_scalar(g->in[C0], 0) : NULL;
    for (int64_t i = 0; dx && i < steps && !soma__failed(); i++) {
        int64_t t = reverse ? i : steps - 1 - i;
#define AT(all) soma_select((all), dim, t)
        soma_tensor *parts[4], *lower[4], *live = NULL, *kept_h, *kept_c = NULL;
        if (g->in[LENGTHS])
            live = soma_unsqueeze(soma_to(soma_gt(g->in[LENGTHS], soma_scalar_int(t)), (soma_dtype)dh->dtype), 1);
        kept_h = dh = soma_add(dh, AT(gh));
        if (lstm) {
            kept_c = dc = gc ? soma_add(dc, AT(gc)) : dc;
            dc = soma_add(dc, soma_mul(dh, AT(f.h_to_c)));
        }
        for (int k = 0; k < gates; k++) {
            parts[k] = f.of_h[k] ? soma_mul(dh, AT(f.of_h[k])) : soma_mul(dc, AT(f.of_c[k]));
            parts[k] = live ? soma_mul(parts[k], live) : parts[k];
            lower[k] = f.lower && k == 2 ? soma_mul(parts[k], AT(f.lower)) : parts[k];
        }
        dx[t] = soma_cat(parts, gates, -1);
        dg[t] = f.lower ? soma_cat(lower, gates, -1) : dx[t];
        dh = soma_matmul(dg[t], g->in[W]);
        if (mode == SOMA__RNN_GRU)
            dh = soma_add(dh, soma_mul(kept_h, AT(f.keep)));
        dc = lstm ? soma_mul(dc, AT(f.keep)) : NULL;
        if (live) {
            dh = soma_where(soma_gt(live, soma_scalar(0)), dh, kept_h);
            dc = lstm ? soma_where(soma_gt(live, soma_scalar(0)), dc, kept_c) : NULL;
        }
    }
    if (dx && !soma__failed()) {
        out[0] = soma_stack(dx, (int)steps, dim);
        out[1] = f.lower ? soma_stack(dg, (int)steps, dim) : NULL;
        out[2] = dh;
        out[3] = dc;
    }
    soma__free(dx);
    return !soma__failed();
}

static void steps_backward(soma_grad_args *g) {
    bool lstm = g->attrs[MODE].value.i == SOMA__RNN_LSTM;
    soma_tensor *gh = g->gout[0], *gc = lstm ? g->gout[1] : NULL, *out[SOMA_MAX_OUTPUTS] = {0};
    if (!gh && !gc)
        return;
    if (!gh)
        gh = soma_zeros(g->out_meta[0].ndim, g->out_meta[0].shape, g->out_meta[0].dtype);
    soma_tensor *before = shifted(g->out[0], g->in[H0], g->attrs);
    if (g->create_graph) {
        if (!back_in_operators(g, before, gh, gc, out))
            return;
    } else {
        soma_tensor *in[] = {gh, gc, before, lstm ? g->out[1] : NULL, g->out[2], g->in[C0], g->in[W], g->in[LENGTHS]};
        if (!soma__apply(&soma__rnn_steps_backward_op, in, 8, g->attrs, out, 0))
            return;
    }
    soma_tensor *of_state = g->attrs[MODE].value.i == SOMA__RNN_GRU ? out[1] : out[0];
    soma_tensor *rows = g->need[W] || g->need[B] ? soma_flatten(of_state, 0, 1) : NULL;
    g->gin[X] = out[0];
    g->gin[H0] = out[2];
    g->gin[C0] = lstm ? out[3] : NULL;
    if (g->need[W])
        g->gin[W] = soma_matmul(soma_transpose(rows, 0, 1), soma_flatten(before, 0, 1));
    if (g->need[B])
        g->gin[B] = soma_sum(rows, SOMA_DIMS(0), false);
}

/* ---- Samples --------------------------------------------------------------------------------------------------------- */

static bool steps_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 8)
        return false;
    int mode = i % 4;
    int64_t n = 3, gates = soma__rnn_gates(mode), steps = 4, batch = i == 5 ? 1 : 2;
    bool first = i >= 4;
    *s = (soma_sample){.n_in = 6, .n_attrs = 3, .attrs = {SOMA_INT("mode", mode), SOMA_BOOLEAN("batch_first", first), SOMA_BOOLEAN("reverse", i % 3 == 1)}};
    s->in[X] = soma__sample(dtype, -2, 2, 5, SOMA_SHAPE(first ? batch : steps, first ? steps : batch, gates * n));
    s->in[H0] = soma__sample(dtype, -1, 1, 6, SOMA_SHAPE(batch, n));
    s->in[C0] = mode == SOMA__RNN_LSTM ? soma__sample(dtype, -1, 1, 7, SOMA_SHAPE(batch, n)) : NULL;
    s->in[W] = soma__sample(dtype, -0.6, 0.6, 8, SOMA_SHAPE(gates * n, n));
    s->in[B] = i % 2 ? soma__sample(dtype, -0.5, 0.5, 9, SOMA_SHAPE(gates * n)) : NULL;
    if (i >= 6 && batch == 2)
        s->in[LENGTHS] = soma_from_array((const int64_t[]){4, 2}, SOMA_SHAPE(2), SOMA_I64);
    if (i % 2)
        s->in[X] = soma__strided(s->in[X]);
    return true;
}

static bool steps_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 3 || !steps_samples(6, dtype, s))
        return false;
    s->status = i == 1 ? SOMA_EINVAL : SOMA_ESHAPE;
    s->error = i == 0 ? "weight is [9, 3] f32, expected [12, 3]" : i == 1 ? "length 5 at position [1] is out of range for a sequence of 4 steps"
                                                                        : "expected [steps, batch, gates] with at least one step";
    if (i == 0)
        s->in[W] = soma__sample(dtype, -1, 1, 8, SOMA_SHAPE(9, 3));
    else if (i == 1)
        s->in[LENGTHS] = soma_from_array((const int64_t[]){4, 5}, SOMA_SHAPE(2), SOMA_I64);
    else
        s->in[X] = soma__sample(dtype, -1, 1, 8, SOMA_SHAPE(9, 3));
    return true;
}

static bool back_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_sample way;
    if (!steps_samples(i, dtype, &way))
        return false;
    soma_tensor *out[3];
    int mode = i % 4;
    if (soma_call("rnn_steps", way.in, way.n_in, way.attrs, way.n_attrs, out, 3) != SOMA_OK)
        return false;
    soma_attr attrs[] = {way.attrs[0], way.attrs[1], way.attrs[2]};
    *s = (soma_sample){.n_in = 8, .n_attrs = 3, .no_gradcheck = true};
    memcpy(s->attrs, attrs, sizeof attrs);
    s->in[GH] = soma__sample(dtype, -1, 1, 11, out[0]->ndim, out[0]->shape);
    s->in[GC] = mode == SOMA__RNN_LSTM && i > 4 ? soma__sample(dtype, -1, 1, 12, out[0]->ndim, out[0]->shape) : NULL;
    s->in[BEFORE] = shifted(out[0], way.in[H0], attrs);
    s->in[C] = mode == SOMA__RNN_LSTM ? out[1] : NULL;
    s->in[ACT] = out[2];
    s->in[BACK_C0] = way.in[C0];
    s->in[BACK_W] = way.in[W];
    s->in[BACK_LENGTHS] = way.in[LENGTHS];
    return true;
}

static bool back_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 1 || !back_samples(0, dtype, s))
        return false;
    s->in[BACK_W] = soma__sample(dtype, -1, 1, 8, SOMA_SHAPE(9, 3));
    s->status = SOMA_ESHAPE;
    s->error = "weight is [9, 3] f32, expected [3, 3]";
    return true;
}

/* ---- Entries --------------------------------------------------------------------------------------------------------- */

#define STEP_DTYPES (SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64))
#define LENGTH_INPUT {.name = "lengths", .dtypes = SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32), .optional = true, .apart = true}
#define STEP_ATTRS SOMA_ATTRS(SOMA_DEF_INT("mode", 0, "0: tanh, 1: relu, 2: LSTM, 3: GRU"),                                       \
    SOMA_DEF_BOOL("batch_first", false, "the batch is dimension 0 and the steps dimension 1, instead of the other way round"),     \
    SOMA_DEF_BOOL("reverse", false, "from the last step to the first"))

const soma_op soma__rnn_steps_op = {
    .name = "rnn_steps", .family = "rnn",
    .doc = "the recurrence of rnn_tanh, rnn_relu, lstm and gru over all steps, given the input's share of the gates",
    .in = {{.name = "x"}, {.name = "h0"}, {.name = "c0", .optional = true}, {.name = "weight"}, {.name = "bias", .optional = true}, LENGTH_INPUT},
    .n_in = 6, .outputs = 3, .attrs = STEP_ATTRS, .dtypes = STEP_DTYPES, .promote = SOMA_PROMOTE_SAME, .shape = steps_shape,
    .check = steps_check, .work = steps_work, .cpu = {steps_kernel}, .backward = steps_backward,
    .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_IN(1) | SOMA_SAVE_IN(2) | SOMA_SAVE_IN(3) | SOMA_SAVE_IN(4) | SOMA_SAVE_IN(5) | SOMA_SAVE_OUT(0) |
             SOMA_SAVE_OUT(1) | SOMA_SAVE_OUT(2),
    .no_grad_in = 1u << LENGTHS, .no_grad_out = 4, .internal = true, .flops = steps_flops, .samples = steps_samples, .errors = steps_errors,
};
const soma_op soma__rnn_steps_backward_op = {
    .name = "rnn_steps_backward", .family = "rnn", .doc = "gradient of rnn_steps: of x, of the state's share of the gates (GRU), of h0, of c0",
    .in = {{.name = "grad_h"}, {.name = "grad_c", .optional = true}, {.name = "before"}, {.name = "c", .optional = true}, {.name = "activations"},
           {.name = "c0", .optional = true}, {.name = "weight"}, LENGTH_INPUT},
    .n_in = 8, .outputs = 4, .attrs = STEP_ATTRS, .dtypes = STEP_DTYPES, .promote = SOMA_PROMOTE_SAME, .shape = back_shape, .work = back_work,
    .cpu = {back_kernel}, .backward = SOMA_NONDIFF, .internal = true, .flops = back_flops, .samples = back_samples, .errors = back_errors,
};

bool soma__rnn_steps(int mode, bool batch_first, bool reverse, soma_tensor *x, soma_tensor *h0, soma_tensor *c0, soma_tensor *w,
                     soma_tensor *b, soma_tensor *lengths, soma_tensor **h, soma_tensor **c) {
    soma_attr attrs[] = {SOMA_INT("mode", mode), SOMA_BOOLEAN("batch_first", batch_first), SOMA_BOOLEAN("reverse", reverse)};
    soma_tensor *in[] = {x, h0, c0, w, b, lengths}, *out[SOMA_MAX_OUTPUTS] = {0};
    if (!soma__apply(&soma__rnn_steps_op, in, 6, attrs, out, 0))
        return false;
    *h = out[0];
    *c = mode == SOMA__RNN_LSTM ? out[1] : NULL;
    return true;
}
