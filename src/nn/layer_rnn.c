/* RNN, LSTM and GRU of several layers and both directions, and their cells, over the operators of ops/rnn_ops.c. Parameters are named,
 * ordered and filled as PyTorch's. */
#include "nn/sequence.h"

#include "ops/rnn.h"

#include <math.h>
#include <stdio.h>

#define NAMES 4
static const char *const kinds[NAMES] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};

/* "weight_ih_l0_reverse"; of cells "weight_ih". */
static const char *param_name(const soma__nn_rnn_state *s, int kind, int64_t layer, int direction, char out[64]) {
    if (s->cell)
        return kinds[kind];
    snprintf(out, 64, "%s_l%lld%s", kinds[kind], (long long)layer, direction ? "_reverse" : "");
    return out;
}

static int directions(const soma__nn_rnn_state *s) { return s->o.bidirectional ? 2 : 1; }

static bool made(soma_module *m) {
    char name[64];
    return soma__nn_slot(m, param_name(m->state, 0, 0, 0, name)) != NULL;
}

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const soma__nn_rnn_state *s = m->state;
    *in = ndim == 2 ? shape[1] : 0;
    return ndim == 2 && shape[0] == soma__rnn_gates(s->mode) * s->hidden;
}

static soma_status make(soma_module *m, const int64_t *in) {
    soma__nn_rnn_state *s = m->state;
    int64_t rows = soma__rnn_gates(s->mode) * s->hidden;
    char name[64];
    for (int64_t layer = 0; layer < s->o.num_layers; layer++) {
        int64_t width = layer == 0 ? in[0] : s->hidden * directions(s);
        for (int d = 0; d < directions(s); d++)
            for (int k = 0; k < (s->o.no_bias ? 2 : NAMES); k++)
                soma__nn_new_param(m, param_name(s, k, layer, d, name), k < 2 ? 2 : 1, (const int64_t[]){rows, k == 0 ? width : s->hidden});
    }
    if (!soma__failed())
        s->in = in[0];
    return soma__ctx()->error;
}

static void reset(soma_module *m) {
    const soma__nn_rnn_state *s = m->state;
    double bound = 1 / sqrt((double)s->hidden);
    for (int i = 0; i < m->n_slots; i++)
        soma_init_uniform_(m->slots[i].tensor, -bound, bound);
}

/* ---- Forward -------------------------------------------------------------------------------------------------------- */

static soma_rnn_weights weights_of(soma_module *m, int64_t layer, int direction) {
    soma_tensor *w[NAMES];
    char name[64];
    for (int k = 0; k < NAMES; k++)
        w[k] = soma__nn_slot(m, param_name(m->state, k, layer, direction, name));
    return (soma_rnn_weights){w[0], w[1], w[2], w[3]};
}

static soma_tensor *one(int mode, soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *o, soma_tensor **h, soma_tensor **c) {
    *c = NULL;
    switch (mode) {
    case SOMA__RNN_TANH: return soma_rnn_tanh_ex(x, w, o, h);
    case SOMA__RNN_RELU: return soma_rnn_relu_ex(x, w, o, h);
    case SOMA__RNN_LSTM: return soma_lstm_ex(x, w, o, h, c);
    default: return soma_gru_ex(x, w, o, h);
    }
}

static bool input_ok(soma_module *m, soma_tensor *const *in, int n, int ndim) {
    const soma__nn_rnn_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 2, ndim))
        return false;
    int64_t features = soma_size(in[0], -1);
    if (!soma__nn_ready(m, &features))
        return false;
    if (features == s->in)
        return true;
    char name[64];
    soma__nn_fail_fit(in[0], soma__nn_slot(m, param_name(s, 0, 0, 0, name)));
    return false;
}

/* A given state must be [layers * directions, batch, hidden] (a cell's or an unbatched one without the batch or the layers). */
static bool state_ok(const char *what, soma_tensor *t, int ndim, int64_t first, int64_t batch, int64_t hidden) {
    const int64_t want[] = {first, batch, hidden};
    bool ok = !t || soma_ndim(t) == ndim;
    for (int i = 0; t && ok && i < ndim; i++)
        ok = soma_size(t, i) == want[i + 3 - ndim];
    if (ok)
        return true;
    char have[SOMA__SHAPE_TEXT], wanted[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s is %s, expected %s", what, soma__shape_text(soma_ndim(t), soma_shape(t), have, sizeof have),
              soma__shape_text(ndim, want + 3 - ndim, wanted, sizeof wanted));
    return false;
}

/* The layers over x [.., .., features]; *hn and *cn become [layers * directions, batch, hidden]. */
static soma_tensor *run_layers(soma_module *m, soma_tensor *x, const soma_nn_recur_opts *given, soma_tensor **hn, soma_tensor **cn) {
    const soma__nn_rnn_state *s = m->state;
    int64_t n = s->o.num_layers * directions(s);
    soma_tensor **h = soma__calloc((size_t)n * 2, sizeof *h), **c = h ? h + n : NULL, *both[2], *y = h ? x : NULL;
    for (int64_t layer = 0; layer < s->o.num_layers && y; layer++) {
        if (layer > 0 && s->o.dropout > 0)
            y = soma_dropout(y, s->o.dropout, soma__nn_learns(m));
        for (int d = 0; d < directions(s); d++) {
            int64_t i = layer * directions(s) + d;
            soma_rnn_weights w = weights_of(m, layer, d);
            soma_rnn_opts o = {.h0 = given->h0 ? soma_select(given->h0, 0, i) : NULL, .c0 = given->c0 ? soma_select(given->c0, 0, i) : NULL,
                               .lengths = given->lengths, .batch_first = s->o.batch_first, .reverse = d == 1};
            both[d] = one(s->mode, y, &w, &o, &h[i], &c[i]);
        }
        y = directions(s) == 2 ? soma_cat(both, 2, -1) : both[0];
    }
    if (y && s->o.last)
        y = directions(s) == 2 ? soma_cat(h + n - 2, 2, -1) : h[n - 1];
    *hn = y ? soma_stack(h, (int)n, 0) : NULL;
    *cn = y && s->mode == SOMA__RNN_LSTM ? soma_stack(c, (int)n, 0) : NULL;
    soma__free(h);
    return soma__failed() ? NULL : y;
}

static soma_tensor *layers_forward(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    const soma__nn_rnn_state *s = m->state;
    soma_nn_recur_opts given = *(const soma_nn_recur_opts *)arg;
    soma__nn_memory *memory = soma__nn_memory_of(m);
    if (soma__failed() || !input_ok(m, in, n, 3))
        return NULL;
    if (memory && (s->o.bidirectional || s->o.last)) {
        soma_fail(SOMA_EUNSUPPORTED, "step by step a recurrent layer runs forward only and gives every step");
        return NULL;
    }
    if (memory && memory->a) {
        given.h0 = memory->a;
        given.c0 = memory->b;
    }
    bool alone = soma_ndim(in[0]) == 2; /* no batch */
    int batch_dim = s->o.batch_first ? 0 : 1;
    soma_tensor *x = alone ? soma_unsqueeze(in[0], batch_dim) : in[0], *hn, *cn;
    int64_t batch = x ? soma_size(x, batch_dim) : 0, states = s->o.num_layers * directions(s);
    if (alone) {
        given.h0 = given.h0 ? soma_unsqueeze(given.h0, 1) : NULL;
        given.c0 = given.c0 ? soma_unsqueeze(given.c0, 1) : NULL;
    }
    if (!state_ok("h0", given.h0, 3, states, batch, s->hidden) || !state_ok("c0", given.c0, 3, states, batch, s->hidden))
        return NULL;
    soma_tensor *y = run_layers(m, x, &given, &hn, &cn);
    if (memory && y) {
        soma__hold(&memory->a, hn);
        soma__hold(&memory->b, cn);
    }
    if (alone && y) {
        y = soma_select(y, s->o.last ? 0 : batch_dim, 0);
        hn = soma_select(hn, 1, 0);
        cn = cn ? soma_select(cn, 1, 0) : NULL;
    }
    if (given.hn)
        *given.hn = hn;
    if (given.cn)
        *given.cn = cn;
    return y;
}

static soma_tensor *cell_forward(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    const soma__nn_rnn_state *s = m->state;
    const soma_nn_recur_opts *o = arg;
    if (!input_ok(m, in, n, 2) || !state_ok("h0", o->h0, 2, 0, soma_size(in[0], 0), s->hidden) ||
        !state_ok("c0", o->c0, 2, 0, soma_size(in[0], 0), s->hidden))
        return NULL;
    soma_rnn_weights w = weights_of(m, 0, 0);
    soma_tensor *h = NULL, *c = NULL;
    if (s->mode == SOMA__RNN_LSTM)
        h = soma_lstm_cell(in[0], o->h0, o->c0, &w, &c);
    else if (s->mode == SOMA__RNN_GRU)
        h = soma_gru_cell(in[0], o->h0, &w);
    else
        h = s->mode == SOMA__RNN_TANH ? soma_rnn_tanh_cell(in[0], o->h0, &w) : soma_rnn_relu_cell(in[0], o->h0, &w);
    if (o->hn)
        *o->hn = h;
    if (o->cn)
        *o->cn = c;
    return h;
}

static soma_tensor *plain_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_rnn_state *s = m->state;
    soma_nn_recur_opts none = {0};
    return s->cell ? cell_forward(m, in, n, &none) : layers_forward(m, in, n, &none);
}

#define CLASS(id, shown, words)                                                                                     \
    const soma_module_class soma__nn_##id##_class = {                                                               \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(soma__nn_rnn_state),                \
        .forward = plain_forward, .describe = words, .reset = reset,                                                \
    };                                                                                                              \
    static const soma__nn_lazy id##_lazy = {                                                                        \
        .cls = &soma__nn_##id##_class, .tell = {"weight_ih_l0", "weight_ih"}, .sizes_of = sizes_of, .make = make, .made = made, \
    };
CLASS(rnn, "RNN", soma__nn_describe_word)
CLASS(lstm, "LSTM", soma__nn_describe_word)
CLASS(gru, "GRU", soma__nn_describe_word)
static CLASS(rnn_cell, "RNNCell", NULL)
static CLASS(lstm_cell, "LSTMCell", NULL)
static CLASS(gru_cell, "GRUCell", NULL)

soma_tensor *soma_nn_recur_ex(soma_module *m, soma_tensor *x, const soma_nn_recur_opts *opts) {
    soma_nn_recur_opts o = opts ? *opts : (soma_nn_recur_opts){0};
    soma_tensor *more[2] = {NULL, NULL};
    if (o.hn)
        *o.hn = NULL;
    if (o.cn)
        *o.cn = NULL;
    if (m && m->cls->reset != reset) {
        soma_fail(SOMA_EINVAL, "soma_nn_recur: %s is not a recurrent layer", m->cls->name);
        return NULL;
    }
    soma_nn_recur_opts inner = o;
    inner.hn = &more[0];
    inner.cn = &more[1];
    bool cell = m && ((soma__nn_rnn_state *)m->state)->cell;
    soma_tensor *y = soma__nn_run(m, &x, 1, cell ? cell_forward : layers_forward, &inner, more, 2);
    if (o.hn)
        *o.hn = y ? more[0] : NULL;
    if (o.cn)
        *o.cn = y ? more[1] : NULL;
    return y;
}

/* ---- Constructors ---------------------------------------------------------------------------------------------------- */

static soma_module *rnn_new(const soma__nn_lazy *lazy, int mode, bool cell, int64_t in, int64_t hidden, const soma_nn_rnn_opts *opts) {
    soma_nn_rnn_opts o = opts ? *opts : (soma_nn_rnn_opts){0};
    o.num_layers = o.num_layers == 0 ? 1 : o.num_layers;
    const char *type = lazy->cls->name;
    if (!soma__nn_size_ok(type, "in", in, true) || !soma__nn_size_ok(type, "hidden", hidden, false))
        return NULL;
    if (o.num_layers < 1 || o.num_layers > 1024 || !(o.dropout >= 0 && o.dropout <= 1)) {
        soma_fail(SOMA_EINVAL, "%s: layers must be 1 to 1024 and dropout from 0 to 1, not %lld and %g", type, (long long)o.num_layers, o.dropout);
        return NULL;
    }
    soma_module *m = soma__nn_lazy_new(lazy);
    if (m)
        *(soma__nn_rnn_state *)m->state = (soma__nn_rnn_state){in, hidden, mode == SOMA__RNN_TANH && o.relu ? SOMA__RNN_RELU : mode, cell, o};
    return soma__nn_settled(m);
}

soma_module *soma_nn_rnn_ex(int64_t in, int64_t hidden, const soma_nn_rnn_opts *opts) {
    return rnn_new(&rnn_lazy, SOMA__RNN_TANH, false, in, hidden, opts);
}
soma_module *soma_nn_lstm_ex(int64_t in, int64_t hidden, const soma_nn_rnn_opts *opts) {
    return rnn_new(&lstm_lazy, SOMA__RNN_LSTM, false, in, hidden, opts);
}
soma_module *soma_nn_gru_ex(int64_t in, int64_t hidden, const soma_nn_rnn_opts *opts) {
    return rnn_new(&gru_lazy, SOMA__RNN_GRU, false, in, hidden, opts);
}
soma_module *soma_nn_rnn_cell(int64_t in, int64_t hidden, bool no_bias, bool relu) {
    return rnn_new(&rnn_cell_lazy, SOMA__RNN_TANH, true, in, hidden, &(soma_nn_rnn_opts){.no_bias = no_bias, .relu = relu});
}
soma_module *soma_nn_lstm_cell(int64_t in, int64_t hidden, bool no_bias) {
    return rnn_new(&lstm_cell_lazy, SOMA__RNN_LSTM, true, in, hidden, &(soma_nn_rnn_opts){.no_bias = no_bias});
}
soma_module *soma_nn_gru_cell(int64_t in, int64_t hidden, bool no_bias) {
    return rnn_new(&gru_cell_lazy, SOMA__RNN_GRU, true, in, hidden, &(soma_nn_rnn_opts){.no_bias = no_bias});
}
