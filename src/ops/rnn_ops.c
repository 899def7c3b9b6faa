/* Recurrent operators as PyTorch has them: whole sequences (one layer, one direction) and single cells. All are composites of the
 * recurrence in rnn.c. */
#include "ops/rnn.h"

#include <stdio.h>

/* Inputs: x, h0, then c0 of the LSTM, then the weights. */
typedef struct parts {
    int mode;
    soma__rnn_inputs in;
    soma_dtype dtype;
} parts;

static parts parts_of(const soma_args *a, int mode) {
    soma_tensor *const *in = a->in + 2;
    parts p = {.mode = mode, .in.x = a->in[0], .in.h0 = a->in[1], .dtype = (soma_dtype)a->in[0]->dtype};
    p.in.c0 = mode == SOMA__RNN_LSTM ? *in++ : NULL;
    p.in.w_ih = *in++;
    p.in.w_hh = *in++;
    p.in.b_ih = *in++;
    p.in.b_hh = *in++;
    p.in.lengths = in < a->in + a->n_in ? *in : NULL;
    return p;
}

static bool fail_shape(const char *what, const soma_tensor *t, const char *expected) {
    char text[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s is %s, expected %s", what, soma__tensor_text(t, text), expected);
    return false;
}

/* f16 and bf16 are computed in f32 and rounded once at the end. */
static bool widen(parts *p) {
    if (p->dtype == SOMA_F32 || p->dtype == SOMA_F64)
        return true;
    soma__rnn_inputs *in = &p->in;
    soma_tensor **all[] = {&in->x, &in->h0, &in->c0, &in->w_ih, &in->w_hh, &in->b_ih, &in->b_hh};
    for (size_t i = 0; i < SOMA_LEN(all); i++)
        if (*all[i])
            *all[i] = soma_to(*all[i], SOMA_F32);
    return !soma__failed();
}

/* Weights that fit the mode and x, states that fit those. `lead`: dimensions of x before the features. */
static bool prepare(parts *p, int lead, int64_t batch) {
    const soma__rnn_inputs *in = &p->in;
    int64_t gates = soma__rnn_gates(p->mode);
    if (in->w_hh->ndim != 2 || in->w_hh->shape[0] != gates * in->w_hh->shape[1])
        return fail_shape("weight_hh", in->w_hh, p->mode == SOMA__RNN_LSTM ? "[4 hidden, hidden]" : p->mode == SOMA__RNN_GRU ? "[3 hidden, hidden]"
                          : "[hidden, hidden]");
    int64_t n = in->w_hh->shape[1];
    if (in->w_ih->ndim != 2 || in->w_ih->shape[0] != gates * n || in->w_ih->shape[1] != in->x->shape[lead]) {
        char x[SOMA__SHAPE_TEXT], w[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "weight_ih is %s, expected [%lld, %lld] for x %s", soma__tensor_text(in->w_ih, w), (long long)(gates * n),
                  (long long)in->x->shape[lead], soma__tensor_text(in->x, x));
        return false;
    }
    soma_tensor *const states[] = {in->h0, in->c0};
    for (int i = 0; i < 2; i++) {
        const soma_tensor *s = states[i];
        char text[80];
        if (s && (s->ndim != 2 || s->shape[0] != batch || s->shape[1] != n)) {
            snprintf(text, sizeof text, "[batch, hidden], here [%lld, %lld]", (long long)batch, (long long)n);
            return fail_shape(i == 0 ? "h0" : "c0", s, text);
        }
    }
    return widen(p);
}

static soma_tensor *back_to(soma_tensor *t, soma_dtype dtype) { return soma_to(t, dtype); }

/* ---- Whole sequences -------------------------------------------------------------------------------------------------- */

/* Zeros where a sequence has ended, as PyTorch pads packed sequences. */
static soma_tensor *cut(soma_tensor *h, soma_tensor *lengths, int steps_dim) {
    int64_t steps = soma_size(h, steps_dim);
    soma_tensor *t = soma_arange(0, (double)steps, 1, SOMA_I64);
    soma_tensor *ended = steps_dim == 0 ? soma_ge(soma_unsqueeze(t, 1), lengths) : soma_ge(t, soma_unsqueeze(lengths, 1));
    return soma_masked_fill(h, soma_unsqueeze(ended, 2), 0);
}

static bool sequence(soma_args *a, int mode) {
    parts p = parts_of(a, mode);
    bool batch_first = a->attrs[0].value.i != 0, reverse = a->attrs[1].value.i != 0;
    if (p.in.x->ndim != 3 || p.in.x->shape[batch_first] < 1)
        return fail_shape("x", p.in.x, batch_first ? "[batch, steps, features] with at least one step" : "[steps, batch, features] with at least one step");
    int64_t batch = p.in.x->shape[!batch_first], steps = p.in.x->shape[batch_first];
    if (!prepare(&p, 2, batch))
        return false;
    soma_tensor *h, *c;
    if (!soma__rnn_steps(mode, batch_first, reverse, &p.in, &h, &c))
        return false;
    int64_t last = reverse ? 0 : steps - 1;
    a->out[1] = back_to(soma_select(h, batch_first, last), p.dtype);
    if (mode == SOMA__RNN_LSTM)
        a->out[2] = back_to(c, p.dtype);
    a->out[0] = back_to(p.in.lengths ? cut(h, p.in.lengths, batch_first) : h, p.dtype);
    return !soma__failed();
}

/* ---- Cells ------------------------------------------------------------------------------------------------------------ */

static bool cell(soma_args *a, int mode) {
    parts p = parts_of(a, mode);
    if (p.in.x->ndim != 2)
        return fail_shape("x", p.in.x, "[batch, features]");
    if (!prepare(&p, 1, p.in.x->shape[0]))
        return false;
    soma_tensor *h, *c;
    p.in.x = soma_unsqueeze(p.in.x, 0);
    if (!soma__rnn_steps(mode, false, false, &p.in, &h, &c))
        return false;
    a->out[0] = back_to(soma_select(h, 0, 0), p.dtype);
    if (mode == SOMA__RNN_LSTM)
        a->out[1] = back_to(c, p.dtype);
    return !soma__failed();
}

/* ---- Samples ---------------------------------------------------------------------------------------------------------- */

typedef struct rnn_case {
    int64_t steps, batch, in, hidden;
    bool batch_first, reverse, states, biases, lengths, strided;
} rnn_case;

static const rnn_case cases[] = {
    {4, 2, 3, 5, false, false, true, true, false, false}, {3, 2, 4, 3, true, false, true, true, false, true},
    {5, 3, 2, 4, false, true, true, true, false, false},  {4, 3, 2, 3, true, true, false, true, true, false},
    {4, 3, 3, 2, false, false, true, false, true, true},  {1, 2, 3, 4, true, false, false, false, false, false},
    {3, 0, 2, 3, true, false, false, true, false, false}, {6, 1, 1, 1, false, false, true, true, true, false},
    {2, 5, 4, 17, true, true, true, true, true, false},
};

/* `whole`: of a sequence; else of a cell, whose x has no steps. */
static bool rnn_sample(int mode, bool whole, int i, soma_dtype dtype, soma_sample *s) {
    if (i >= (int)SOMA_LEN(cases))
        return false;
    const rnn_case *c = &cases[i];
    int64_t rows = soma__rnn_gates(mode) * c->hidden;
    int at = 0;
    soma_tensor **in = s->in;
    in[at++] = whole ? soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(c->batch_first ? c->batch : c->steps, c->batch_first ? c->steps : c->batch, c->in))
                     : soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(c->batch, c->in));
    for (int k = 0; k < (mode == SOMA__RNN_LSTM ? 2 : 1); k++)
        in[at++] = c->states ? soma__sample(dtype, -1, 1, 2 + (uint64_t)k, SOMA_SHAPE(c->batch, c->hidden)) : NULL;
    in[at++] = soma__sample(dtype, -0.7, 0.7, 4, SOMA_SHAPE(rows, c->in));
    in[at++] = soma__sample(dtype, -0.7, 0.7, 5, SOMA_SHAPE(rows, c->hidden));
    for (int k = 0; k < 2; k++)
        in[at++] = c->biases ? soma__sample(dtype, -0.5, 0.5, 6 + (uint64_t)k, SOMA_SHAPE(rows)) : NULL;
    if (whole) {
        static const int64_t lengths[] = {4, 1, 3, 0, 2};
        int64_t given[5];
        for (int64_t b = 0; b < c->batch; b++)
            given[b] = SOMA_MIN(lengths[b], c->steps);
        in[at++] = c->lengths ? soma_from_array(given, SOMA_SHAPE(c->batch), SOMA_I64) : NULL;
        s->attrs[0] = SOMA_BOOLEAN("batch_first", c->batch_first);
        s->attrs[1] = SOMA_BOOLEAN("reverse", c->reverse);
        s->n_attrs = 2;
    }
    if (c->strided) {
        in[0] = soma__strided(in[0]);
        in[at - (whole ? 4 : 3)] = soma__strided(in[at - (whole ? 4 : 3)]);
    }
    s->n_in = at;
    s->no_gradcheck = mode == SOMA__RNN_RELU; /* central differences step over its bends */
    if (mode == SOMA__RNN_RELU && (i == 0 || i == 1 || i == 4)) {
        for (int k = 0; k < s->n_in; k++) /* positive throughout: smooth */
            if (in[k] && soma_dtype_is_float((soma_dtype)in[k]->dtype))
                in[k] = soma_abs(in[k]);
        s->no_gradcheck = false;
    }
    return true;
}

static bool rnn_error(int mode, bool whole, int i, soma_dtype dtype, soma_sample *s) {
    if (i >= (whole ? 4 : 3) || !rnn_sample(mode, whole, 0, dtype, s))
        return false;
    int w = mode == SOMA__RNN_LSTM ? 3 : 2;
    s->status = i == 3 ? SOMA_EINVAL : SOMA_ESHAPE;
    if (i == 0) {
        s->in[0] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(4));
        s->error = whole ? "x is [4] f32, expected [steps, batch, features]" : "x is [4] f32, expected [batch, features]";
    } else if (i == 1) {
        s->in[w] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(7, 3));
        s->error = "weight_ih is [7, 3] f32, expected [";
    } else if (i == 2) {
        s->in[1] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(2, 4));
        s->error = "h0 is [2, 4] f32, expected [batch, hidden], here [2, 5]";
    } else {
        s->in[s->n_in - 1] = soma_from_array((const int64_t[]){4, 9}, SOMA_SHAPE(2), SOMA_I64);
        s->error = "length 9 at position [1] is out of range for a sequence of 4 steps";
    }
    return true;
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

#define WEIGHTS {.name = "weight_ih"}, {.name = "weight_hh"}, {.name = "bias_ih", .optional = true}, {.name = "bias_hh", .optional = true}
#define LENGTHS {.name = "lengths", .dtypes = SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32), .optional = true, .apart = true}
#define STATE(n) {.name = n, .optional = true}
#define ONLY(...) __VA_ARGS__
#define FORMS " One layer, one direction; x [steps, batch, features], or [batch, steps, features] with batch_first. Where a row's length ends, its " \
              "state stays and the output is 0, as for PyTorch's packed sequences; a length of 0 is allowed. Gives output and last state"

#define ENTRY(id, mode, n_states, states, text)                                                                                         \
    static bool id##_compose(soma_args *a) { return sequence(a, mode); }                                                                \
    static bool id##_samples(int i, soma_dtype d, soma_sample *s) { return rnn_sample(mode, true, i, d, s); }                           \
    static bool id##_errors(int i, soma_dtype d, soma_sample *s) { return rnn_error(mode, true, i, d, s); }                             \
    static const soma_op id##_op = {                                                                                                    \
        SOMA__COMPOSITE(id), .family = "rnn", .doc = text "." FORMS, .in = {{.name = "x"}, states, WEIGHTS, LENGTHS}, .n_in = 6 + n_states,      \
        .outputs = 1 + n_states,                                                                                                        \
        .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("batch_first", false, "x and the output are [batch, steps, features]"),                       \
                            SOMA_DEF_BOOL("reverse", false, "from the last step to the first")),                                        \
        .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,                        \
        .no_grad_in = 1u << (5 + n_states),                                             \
    };
#define CELL(id, mode, n_states, states, text)                                                                                          \
    static bool id##_compose(soma_args *a) { return cell(a, mode); }                                                                    \
    static bool id##_samples(int i, soma_dtype d, soma_sample *s) { return rnn_sample(mode, false, i, d, s); }                          \
    static bool id##_errors(int i, soma_dtype d, soma_sample *s) { return rnn_error(mode, false, i, d, s); }                            \
    static const soma_op id##_op = {                                                                                                    \
        SOMA__COMPOSITE(id), .family = "rnn", .doc = text, .in = {{.name = "x"}, states, WEIGHTS}, .n_in = 5 + n_states, .outputs = n_states,   \
        .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,                        \
    };
ENTRY(rnn_tanh, SOMA__RNN_TANH, 1, STATE("h0"), "h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990)")
ENTRY(rnn_relu, SOMA__RNN_RELU, 1, STATE("h0"), "h' = relu(W_ih x + b_ih + W_hh h + b_hh); start W_hh at the identity (Le et al. 2015)")
ENTRY(lstm, SOMA__RNN_LSTM, 2, ONLY(STATE("h0"), STATE("c0")),
      "c' = f c + i g, h' = o tanh(c'), with i, f, o = sigmoid and g = tanh of W_ih x + b_ih + W_hh h + b_hh, rows in the order i f g o: remembers over "
      "hundreds of steps (Hochreiter & Schmidhuber 1997; Gers et al. 2000)")
ENTRY(gru, SOMA__RNN_GRU, 1, STATE("h0"),
      "h' = (1 - z) n + z h, n = tanh(W_in x + b_in + r (W_hn h + b_hn)), r and z sigmoids of the sums, rows in the order r z n (Cho et al. 2014, "
      "with the reset gate after the product, as cuDNN and PyTorch)")
CELL(rnn_tanh_cell, SOMA__RNN_TANH, 1, STATE("h0"), "one step of rnn_tanh: x [batch, features], h0 [batch, hidden]")
CELL(rnn_relu_cell, SOMA__RNN_RELU, 1, STATE("h0"), "one step of rnn_relu: x [batch, features], h0 [batch, hidden]")
CELL(lstm_cell, SOMA__RNN_LSTM, 2, ONLY(STATE("h0"), STATE("c0")), "one step of lstm: x [batch, features], h0 and c0 [batch, hidden]; gives h and c")
CELL(gru_cell, SOMA__RNN_GRU, 1, STATE("h0"), "one step of gru: x [batch, features], h0 [batch, hidden]")

extern soma_op_list soma__rnn_ops;
soma_op_list soma__rnn_ops = {&rnn_tanh_op, &rnn_relu_op, &lstm_op, &gru_op, &rnn_tanh_cell_op, &rnn_relu_cell_op, &lstm_cell_op, &gru_cell_op,
                              &soma__rnn_steps_op, &soma__rnn_steps_backward_op, NULL};

/* ---- In C -------------------------------------------------------------------------------------------------------------- */

static soma_tensor *run_sequence(const soma_op *op, soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *o, soma_tensor **hn, soma_tensor **cn) {
    soma_tensor *in[8], *out[SOMA_MAX_OUTPUTS] = {0};
    soma_rnn_opts none = {0};
    int n = 0;
    bool lstm = op == &lstm_op;
    o = o ? o : &none;
    in[n++] = x;
    in[n++] = o->h0;
    if (lstm)
        in[n++] = o->c0;
    soma_tensor *const weights[] = {w->weight_ih, w->weight_hh, w->bias_ih, w->bias_hh, o->lengths};
    for (size_t i = 0; i < SOMA_LEN(weights); i++)
        in[n++] = weights[i];
    soma_attr attrs[] = {SOMA_BOOLEAN("batch_first", o->batch_first), SOMA_BOOLEAN("reverse", o->reverse)};
    soma__apply(op, in, n, attrs, out, 0);
    if (hn)
        *hn = out[1];
    if (cn)
        *cn = out[2];
    return out[0];
}

soma_tensor *soma_rnn_tanh_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *o, soma_tensor **hn) {
    return run_sequence(&rnn_tanh_op, x, w, o, hn, NULL);
}
soma_tensor *soma_rnn_relu_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *o, soma_tensor **hn) {
    return run_sequence(&rnn_relu_op, x, w, o, hn, NULL);
}
soma_tensor *soma_lstm_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *o, soma_tensor **hn, soma_tensor **cn) {
    return run_sequence(&lstm_op, x, w, o, hn, cn);
}
soma_tensor *soma_gru_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *o, soma_tensor **hn) {
    return run_sequence(&gru_op, x, w, o, hn, NULL);
}

static soma_tensor *run_cell(const soma_op *op, soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w) {
    return SOMA__RUN(op, NULL, x, h, w->weight_ih, w->weight_hh, w->bias_ih, w->bias_hh);
}
soma_tensor *soma_rnn_tanh_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w) { return run_cell(&rnn_tanh_cell_op, x, h, w); }
soma_tensor *soma_rnn_relu_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w) { return run_cell(&rnn_relu_cell_op, x, h, w); }
soma_tensor *soma_gru_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w) { return run_cell(&gru_cell_op, x, h, w); }
soma_tensor *soma_lstm_cell(soma_tensor *x, soma_tensor *h, soma_tensor *c, const soma_rnn_weights *w, soma_tensor **c_out) {
    soma_tensor *in[] = {x, h, c, w->weight_ih, w->weight_hh, w->bias_ih, w->bias_hh}, *out[SOMA_MAX_OUTPUTS] = {0};
    soma__apply(&lstm_cell_op, in, 7, NULL, out, 0);
    if (c_out)
        *c_out = out[1];
    return out[0];
}
