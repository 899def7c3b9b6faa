/* The recurrence of RNN, LSTM and GRU over a whole sequence as one operator, with the input's share of the gates: entries, shapes and the
 * gradient. What runs is in rnn_run.c. The gradient of the weights is one product after the way back. */
#include "ops/rnn.h"

#include <string.h>

enum { MODE, BATCH_FIRST, REVERSE, KEEP, WANTED = KEEP };              /* attributes */
enum { X, H0, C0, W_IH, W_HH, B_IH, B_HH, LENGTHS };      /* inputs */
enum { GH, GC, STATE, ACT, ROWS, BACK_W_HH, BACK_W_IH, BACK_LENGTHS };

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

static void meta_of(soma_meta *m, bool there, int ndim, int64_t p, int64_t q, int64_t s) {
    const int64_t shape[] = {p, q, s};
    m->ndim = there ? ndim : 1;
    memset(m->shape, 0, sizeof m->shape);
    if (there)
        memcpy(m->shape, shape, sizeof shape);
}

static bool steps_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[X], *w = a->in[W_HH];
    char have[SOMA__SHAPE_TEXT];
    if (!mode_ok(a))
        return false;
    int mode = (int)a->attrs[MODE].value.i, first = a->attrs[BATCH_FIRST].value.i != 0;
    if (x->ndim != 3 || w->ndim != 2 || x->shape[first] < 1) {
        soma_fail(SOMA_ESHAPE, "%s: x is %s, expected [steps, batch, features] with at least one step, and weight_hh [gates, hidden]", a->op->name,
                  soma__tensor_text(x, have));
        return false;
    }
    int64_t n = w->shape[1], batch = x->shape[!first], steps = x->shape[first], rows = soma__rnn_gates(mode) * n;
    if (!fits(a, W_IH, 2, rows, x->shape[2], 0) || !fits(a, W_HH, 2, rows, n, 0) || !fits(a, H0, 2, batch, n, 0) || !fits(a, C0, 2, batch, n, 0) ||
        !fits(a, B_IH, 1, rows, 0, 0) || !fits(a, B_HH, 1, rows, 0, 0) || !fits(a, LENGTHS, 1, batch, 0, 0))
        return false;
    meta_of(&out[0], true, 3, x->shape[0], x->shape[1], n);
    meta_of(&out[1], mode == SOMA__RNN_LSTM, 3, a->attrs[KEEP].value.i != 0 ? steps : 1, batch, n);
    meta_of(&out[2], a->attrs[KEEP].value.i != 0, 3, steps, batch, soma__rnn_blocks(mode) * n);
    meta_of(&out[3], a->attrs[KEEP].value.i != 0, 3, steps + 1, batch, soma__rnn_row(n, x->shape[2]));
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
    const int mode = (int)a->attrs[MODE].value.i, first = a->attrs[BATCH_FIRST].value.i != 0;
    const int64_t p = gh->shape[0], q = gh->shape[1], n = gh->shape[2], rows = soma__rnn_gates(mode) * n, batch = gh->shape[!first],
                  steps = gh->shape[first], wanted = a->attrs[WANTED].value.i;
    const bool lstm = mode == SOMA__RNN_LSTM;
    const soma_tensor *w = a->in[BACK_W_IH];
    const int64_t e = w->shape[w->ndim - 1];
    if (!fits(a, BACK_W_HH, 2, rows, n, 0) || !fits(a, BACK_W_IH, 2, rows, e, 0) || !fits(a, GC, 3, steps, batch, n) ||
        !fits(a, STATE, 3, steps, batch, n) || !fits(a, ACT, 3, steps, batch, soma__rnn_blocks(mode) * n) ||
        !fits(a, ROWS, 3, steps + 1, batch, soma__rnn_row(n, e)) || !fits(a, BACK_LENGTHS, 1, batch, 0, 0))
        return false;
    if (lstm && !a->in[STATE]) {
        soma_fail(SOMA_EINVAL, "%s: an LSTM needs its states", a->op->name);
        return false;
    }
    meta_of(&out[0], wanted & SOMA__RNN_GX, 3, p, q, e);
    meta_of(&out[1], wanted & SOMA__RNN_STATES, 2, batch, n, 0);
    meta_of(&out[2], wanted & SOMA__RNN_STATES && lstm, 2, batch, n, 0);
    for (int i = 0; i < 2; i++) {
        meta_of(&out[3 + i], wanted & SOMA__RNN_WEIGHTS, 2, rows, i == 0 ? n : e, 0);
        meta_of(&out[5 + i], wanted & SOMA__RNN_WEIGHTS, 1, rows, 0, 0);
    }
    return true;
}

static int64_t steps_flops(soma_args *a) {
    return 2 * a->out[0]->numel * soma__rnn_gates((int)a->attrs[MODE].value.i) * (a->in[X]->shape[2] + a->in[W_HH]->shape[1] + 5);
}
static int64_t back_flops(soma_args *a) {
    const int64_t n = a->in[GH]->shape[2], e = a->in[BACK_W_IH]->shape[1], wanted = a->attrs[WANTED].value.i;
    return 2 * a->in[GH]->numel * soma__rnn_gates((int)a->attrs[MODE].value.i) *
           (n + 8 + (wanted & SOMA__RNN_GX ? e : 0) + (wanted & SOMA__RNN_WEIGHTS ? n + e : 0));
}

/* ---- The gradient ---------------------------------------------------------------------------------------------------- */

static soma_tensor *gate(soma_tensor *t, int i, int64_t n) { return soma_slice(t, -1, i * n, (i + 1) * n, 1); }
static soma_tensor *minus(soma_tensor *t) { return soma_sub(soma_scalar(1), t); } /* 1 - t */
static soma_tensor *slope(soma_tensor *s) { return soma_mul(s, minus(s)); }      /* of the sigmoid, by its value */
static soma_tensor *bend(soma_tensor *t) { return minus(soma_mul(t, t)); }        /* of tanh, by its value */

/* The steps first. */
static soma_tensor *by_steps(soma_tensor *t, const soma_attr *attrs) {
    return attrs[BATCH_FIRST].value.i != 0 ? soma_transpose(t, 0, 1) : t;
}

/* The states before each step, the steps first: `first` (NULL: zeros), then all but the last. */
static soma_tensor *shifted(soma_tensor *all, soma_tensor *first, const soma_attr *attrs) {
    if (!all)
        return NULL;
    const int64_t steps = all->shape[0], n = all->shape[2];
    const bool reverse = attrs[REVERSE].value.i != 0;
    soma_tensor *rest = reverse ? soma_slice(all, 0, 1, steps, 1) : soma_slice(all, 0, 0, steps - 1, 1);
    first = first ? soma_unsqueeze(first, 0) : soma_zeros(SOMA_SHAPE(1, all->shape[1], n), (soma_dtype)all->dtype);
    return soma_cat((soma_tensor *const[]){reverse ? rest : first, reverse ? first : rest}, 2, 0);
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
    soma_tensor *x = by_steps(soma_linear(g->in[X], g->in[W_IH], g->in[B_IH]), g->attrs), *h = by_steps(g->out[0], g->attrs);
    factors f = {0};
    if (mode == SOMA__RNN_TANH)
        f.of_h[0] = bend(h);
    if (mode == SOMA__RNN_RELU)
        f.of_h[0] = soma_to(soma_gt(h, soma_scalar(0)), (soma_dtype)h->dtype);
    if (mode < SOMA__RNN_LSTM)
        return f;
    soma_tensor *inner = soma_linear(before, g->in[W_HH], g->in[B_HH]), *sum = soma_add(x, inner);
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
    const int mode = (int)g->attrs[MODE].value.i, gates = soma__rnn_gates(mode);
    const bool reverse = g->attrs[REVERSE].value.i != 0, lstm = mode == SOMA__RNN_LSTM;
    const int64_t steps = before->shape[0], batch = before->shape[1], n = before->shape[2];
    factors f = factors_of(g, before);
    soma_tensor **dg = soma__calloc((size_t)steps, sizeof *dg), *nothing = soma_zeros(SOMA_SHAPE(batch, n), (soma_dtype)before->dtype);
    soma_tensor *dh = nothing, *dc = lstm ? nothing : NULL;
    gh = by_steps(gh, g->attrs);
    for (int64_t i = 0; dg && i < steps && !soma__failed(); i++) {
        int64_t t = reverse ? i : steps - 1 - i;
#define AT(all) soma_select((all), 0, t)
        soma_tensor *parts[4], *of_h, *live = NULL, *kept_h, *kept_c = NULL;
        if (g->in[LENGTHS])
            live = soma_unsqueeze(soma_to(soma_gt(g->in[LENGTHS], soma_scalar_int(t)), (soma_dtype)dh->dtype), 1);
        kept_h = dh = soma_add(dh, AT(gh));
        if (lstm) {
            kept_c = dc = gc ? soma_add(dc, AT(gc)) : dc;
            dc = soma_add(dc, soma_mul(dh, AT(f.h_to_c)));
        }
        soma_tensor **of_x = parts + (mode == SOMA__RNN_GRU);
        for (int k = 0; k < gates; k++) {
            of_x[k] = f.of_h[k] ? soma_mul(dh, AT(f.of_h[k])) : soma_mul(dc, AT(f.of_c[k]));
            of_x[k] = live ? soma_mul(of_x[k], live) : of_x[k];
        }
        if (mode == SOMA__RNN_GRU)
            parts[0] = soma_mul(parts[3], AT(f.lower));
        dg[t] = soma_cat(parts, soma__rnn_blocks(mode), -1);
        of_h = mode == SOMA__RNN_GRU ? soma_cat((soma_tensor *const[]){parts[1], parts[2], parts[0]}, 3, -1) : dg[t];
        dh = soma_matmul(of_h, g->in[W_HH]);
        if (mode == SOMA__RNN_GRU)
            dh = soma_add(dh, soma_mul(kept_h, AT(f.keep)));
        dc = lstm ? soma_mul(dc, AT(f.keep)) : NULL;
        if (live) {
            dh = soma_where(soma_gt(live, soma_scalar(0)), dh, kept_h);
            dc = lstm ? soma_where(soma_gt(live, soma_scalar(0)), dc, kept_c) : NULL;
        }
    }
    if (dg && !soma__failed()) {
        out[0] = soma_stack(dg, (int)steps, 0);
        out[1] = by_steps(soma_matmul(mode == SOMA__RNN_GRU ? soma_slice(out[0], -1, n, 4 * n, 1) : out[0], g->in[W_IH]), g->attrs);
        out[2] = dh;
        out[3] = dc;
    }
    soma__free(dg);
    return !soma__failed();
}

/* a^T b over all steps and rows of the batch. */
static soma_tensor *over_rows(soma_tensor *a, soma_tensor *b) {
    return soma_matmul(soma_transpose(soma_flatten(a, 0, 1), 0, 1), soma_flatten(b, 0, 1));
}

/* GRU: n's gradient differs for x and h, and comes first in dg for h: put in its place, the last. */
static soma_tensor *n_last(soma_tensor *t, int64_t n) {
    return soma_cat((soma_tensor *const[]){soma_slice(t, 0, n, 3 * n, 1), soma_slice(t, 0, 0, n, 1)}, 2, 0);
}

static void weights_in_operators(soma_grad_args *g, soma_tensor *before, soma_tensor *dg) {
    const int64_t mode = g->attrs[MODE].value.i, n = g->out_meta[0].shape[2], k = soma__rnn_gates((int)mode) * n;
    const bool gru = mode == SOMA__RNN_GRU;
    soma_tensor *of_h = soma_slice(dg, -1, 0, k, 1), *of_x = gru ? soma_slice(dg, -1, n, 4 * n, 1) : of_h, *bias;
    g->gin[W_IH] = over_rows(of_x, by_steps(g->in[X], g->attrs));
    g->gin[W_HH] = over_rows(of_h, before);
    g->gin[B_IH] = soma_sum(soma_flatten(of_x, 0, 1), SOMA_DIMS(0), false);
    bias = soma_sum(soma_flatten(of_h, 0, 1), SOMA_DIMS(0), false);
    g->gin[W_HH] = gru ? n_last(g->gin[W_HH], n) : g->gin[W_HH];
    g->gin[B_HH] = gru ? n_last(bias, n) : bias;
}

static void steps_backward(soma_grad_args *g) {
    const bool lstm = g->attrs[MODE].value.i == SOMA__RNN_LSTM;
    soma_tensor *gh = g->gout[0], *gc = lstm ? g->gout[1] : NULL, *out[SOMA_MAX_OUTPUTS] = {0};
    if (!gh && !gc)
        return;
    if (!gh)
        gh = soma_zeros(g->out_meta[0].ndim, g->out_meta[0].shape, g->out_meta[0].dtype);
    if (g->create_graph) {
        soma_tensor *before = shifted(by_steps(g->out[0], g->attrs), g->in[H0], g->attrs);
        if (!gh || !before || !back_in_operators(g, before, gh, gc, out))
            return;
        weights_in_operators(g, before, out[0]);
        out[0] = out[1];
        out[1] = out[2];
        out[2] = out[3];
    } else {
        const bool *need = g->need;
        const int wanted = (need[X] ? SOMA__RNN_GX : 0) | (need[H0] || need[C0] ? SOMA__RNN_STATES : 0) |
                           (need[W_IH] || need[W_HH] || need[B_IH] || need[B_HH] ? SOMA__RNN_WEIGHTS : 0);
        soma_tensor *in[] = {gh, gc, lstm ? g->out[1] : NULL, g->out[2], g->out[3], g->in[W_HH], g->in[W_IH], g->in[LENGTHS]};
        soma_attr attrs[] = {g->attrs[MODE], g->attrs[BATCH_FIRST], g->attrs[REVERSE], SOMA_INT("wanted", wanted)};
        if (!soma__apply(&soma__rnn_steps_backward_op, in, 8, attrs, out, 0))
            return;
        static const int of[] = {W_HH, W_IH, B_HH, B_IH};
        for (int i = 0; i < 4; i++)
            g->gin[of[i]] = need[of[i]] ? out[3 + i] : NULL;
    }
    g->gin[X] = g->need[X] ? out[0] : NULL;
    g->gin[H0] = g->need[H0] ? out[1] : NULL;
    g->gin[C0] = g->need[C0] && lstm ? out[2] : NULL;
}

/* ---- Samples --------------------------------------------------------------------------------------------------------- */

static bool steps_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 12)
        return false;
    int mode = i % 4;
    int64_t n = i < 8 ? 3 : 19, gates = soma__rnn_gates(mode), steps = 4, batch = i == 5 ? 1 : i < 8 ? 2 : 9, e = 2;
    bool first = i >= 4;
    *s = (soma_sample){.n_in = 8, .n_attrs = 3, .attrs = {SOMA_INT("mode", mode), SOMA_BOOLEAN("batch_first", first), SOMA_BOOLEAN("reverse", i % 3 == 1)}};
    s->in[X] = soma__sample(dtype, -2, 2, 5, SOMA_SHAPE(first ? batch : steps, first ? steps : batch, e));
    s->in[H0] = i == 2 || i == 7 ? NULL : soma__sample(dtype, -1, 1, 6, SOMA_SHAPE(batch, n));
    s->in[C0] = i == 6 ? soma__sample(dtype, -1, 1, 7, SOMA_SHAPE(batch, n)) : NULL;
    s->in[W_IH] = soma__sample(dtype, -0.6, 0.6, 10, SOMA_SHAPE(gates * n, e));
    s->in[W_HH] = soma__sample(dtype, -0.6, 0.6, 8, SOMA_SHAPE(gates * n, n));
    s->in[B_IH] = i % 4 == 3 ? soma__sample(dtype, -0.5, 0.5, 12, SOMA_SHAPE(gates * n)) : NULL;
    s->in[B_HH] = i % 2 ? soma__sample(dtype, -0.5, 0.5, 9, SOMA_SHAPE(gates * n)) : NULL;
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
    s->error = i == 0 ? "weight_hh is [9, 3] f32, expected [12, 3]" : i == 1 ? "length 5 at position [1] is out of range for a sequence of 4 steps"
                                                                           : "expected [steps, batch, features] with at least one step";
    if (i == 0)
        s->in[W_HH] = soma__sample(dtype, -1, 1, 8, SOMA_SHAPE(9, 3));
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
    soma_tensor *out[4];
    const int mode = i % 4;
    if (soma_call("rnn_steps", way.in, way.n_in, way.attrs, way.n_attrs, out, 4) != SOMA_OK)
        return false;
    *s = (soma_sample){.n_in = 8, .n_attrs = 4, .no_gradcheck = true};
    memcpy(s->attrs, way.attrs, 3 * sizeof *s->attrs);
    s->attrs[WANTED] = SOMA_INT("wanted", i % 4 == 3 ? 3 : i % 3 ? 7 : 4);
    s->in[GH] = soma__sample(dtype, -1, 1, 11, out[0]->ndim, out[0]->shape);
    s->in[GC] = mode == SOMA__RNN_LSTM && i > 4 ? soma__sample(dtype, -1, 1, 12, out[1]->ndim, out[1]->shape) : NULL;
    s->in[STATE] = mode == SOMA__RNN_LSTM ? out[1] : NULL;
    s->in[ACT] = out[2];
    s->in[ROWS] = out[3];
    s->in[BACK_W_HH] = way.in[W_HH];
    s->in[BACK_W_IH] = way.in[W_IH];
    s->in[BACK_LENGTHS] = way.in[LENGTHS];
    return true;
}

static bool back_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i >= 2 || !back_samples(i * 2, dtype, s))
        return false;
    s->in[i == 0 ? BACK_W_HH : STATE] = i == 0 ? soma__sample(dtype, -1, 1, 8, SOMA_SHAPE(9, 3)) : NULL;
    s->status = i == 0 ? SOMA_ESHAPE : SOMA_EINVAL;
    s->error = i == 0 ? "weight_hh is [9, 3] f32, expected [3, 3]" : "an LSTM needs its states";
    return true;
}

/* ---- Entries --------------------------------------------------------------------------------------------------------- */

#define STEP_DTYPES (SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64))
#define LENGTH_INPUT {.name = "lengths", .dtypes = SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32), .optional = true, .apart = true}
#define STEP_ATTRS(last)                                                                                                        \
    SOMA_ATTRS(SOMA_DEF_INT("mode", 0, "0: tanh, 1: relu, 2: LSTM, 3: GRU"),                                                      \
    SOMA_DEF_BOOL("batch_first", false, "the batch is dimension 0 and the steps dimension 1, instead of the other way round"),     \
    SOMA_DEF_BOOL("reverse", false, "from the last step to the first"), last)

const soma_op soma__rnn_steps_op = {
    .name = "rnn_steps", .family = "rnn",
    .doc = "the recurrence of rnn_tanh, rnn_relu, lstm and gru over all steps: the states, c with the steps first (LSTM), and for the gradient "
           "activations and what each step multiplied",
    .in = {{.name = "x"}, {.name = "h0", .optional = true}, {.name = "c0", .optional = true}, {.name = "weight_ih"}, {.name = "weight_hh"},
           {.name = "bias_ih", .optional = true}, {.name = "bias_hh", .optional = true}, LENGTH_INPUT},
    .n_in = 8, .outputs = 4, .attrs = STEP_ATTRS(SOMA_DEF_BOOL("keep", true, "what the gradient needs is kept")),
    .dtypes = STEP_DTYPES, .promote = SOMA_PROMOTE_SAME, .shape = steps_shape, .check = steps_check, .work = soma__rnn_forward_work,
    .cpu = {soma__rnn_forward}, .backward = steps_backward, .saves = 0xff | SOMA_SAVE_OUT(0) | SOMA_SAVE_OUT(1) | SOMA_SAVE_OUT(2) |
             SOMA_SAVE_OUT(3),
    .no_grad_in = 1u << LENGTHS, .no_grad_out = 4 | 8, .internal = true, .flops = steps_flops, .samples = steps_samples, .errors = steps_errors,
};
const soma_op soma__rnn_steps_backward_op = {
    .name = "rnn_steps_backward", .family = "rnn", .doc = "gradients of rnn_steps: x, h0, c0, weight_hh, weight_ih, bias_hh, bias_ih",
    .in = {{.name = "grad_h"}, {.name = "grad_c", .optional = true}, {.name = "c", .optional = true}, {.name = "activations"}, {.name = "rows"},
           {.name = "weight_hh"}, {.name = "weight_ih"}, LENGTH_INPUT},
    .n_in = 8, .outputs = 7, .attrs = STEP_ATTRS(SOMA_DEF_INT("wanted", 7, "which gradients: 1 x, 2 h0 and c0, 4 weights and biases, added up")),
    .dtypes = STEP_DTYPES, .promote = SOMA_PROMOTE_SAME, .shape = back_shape, .work = soma__rnn_backward_work, .cpu = {soma__rnn_backward},
    .backward = SOMA_NONDIFF, .internal = true, .flops = back_flops, .samples = back_samples, .errors = back_errors,
};

bool soma__rnn_steps(int mode, bool batch_first, bool reverse, const soma__rnn_inputs *p, soma_tensor **h, soma_tensor **cn) {
    soma_tensor *in[] = {p->x, p->h0, p->c0, p->w_ih, p->w_hh, p->b_ih, p->b_hh, p->lengths}, *out[SOMA_MAX_OUTPUTS] = {0};
    bool keep = false;
    for (size_t i = 0; i < LENGTHS && soma_grad_enabled(); i++)
        keep = keep || (in[i] && soma_requires_grad(in[i]));
    soma_attr attrs[] = {SOMA_INT("mode", mode), SOMA_BOOLEAN("batch_first", batch_first), SOMA_BOOLEAN("reverse", reverse), SOMA_BOOLEAN("keep", keep)};
    if (!soma__apply(&soma__rnn_steps_op, in, 8, attrs, out, 0))
        return false;
    *h = out[0];
    *cn = mode == SOMA__RNN_LSTM ? soma_select(out[1], 0, keep && !reverse ? -1 : 0) : NULL;
    return !soma__failed();
}
