/* Words of descriptions: blocks of layers. */
#include "nn/nn.h"

#include <stdio.h>

static soma_module *taken(soma__nn_row *row, soma_module *(*make)(int n, soma_module *const *children)) {
    soma_module *m = make(row->n, row->list); /* takes or frees the layers */
    soma__free(row->list);
    *row = (soma__nn_row){0};
    return m;
}

/* ---- residual [ACTIVATION] (f [| shortcut]) ---- */

static soma_module *residual_wrap(const soma__nn_value *v, soma__nn_rows *rows) {
    (void)v;
    soma_module *shortcut = rows->n > 1 ? soma__nn_row_module(&rows->row[1], "downsample") : NULL;
    soma_module *m = taken(&rows->row[0], soma_nn_residual_ex), *activation = rows->activation;
    rows->activation = NULL;
    soma__nn_rows_free(rows);
    return soma_nn_residual_with(m, shortcut, activation);
}

static bool residual_put(soma_module *m, soma__text *text) {
    SOMA__STATE(residual);
    int row = soma__nn_residual_row(m);
    if (s->activation) {
        soma__text_add(text, " ");
        if (!soma__nn_describe_branch(m->children[m->n_children - 1], "act", text))
            return false;
    }
    soma__text_add(text, "(");
    if (!soma__nn_describe_row(m, 0, row, text))
        return false;
    if (s->shortcut) {
        soma__text_add(text, " | ");
        if (!soma__nn_describe_branch(m->children[row], "downsample", text))
            return false;
    }
    soma__text_add(text, ")");
    return true;
}

/* ---- parallel [sum] [dim N] (a | b | …) ---- */

enum { PARALLEL_SUM, PARALLEL_CONCAT, PARALLEL_DIM };

static soma_module *parallel_wrap(const soma__nn_value *v, soma__nn_rows *rows) {
    soma_module *branches[SOMA_LEN(rows->row)];
    int n = rows->n;
    for (int i = 0; i < n; i++)
        branches[i] = soma__nn_row_module(&rows->row[i], NULL);
    soma__nn_rows_free(rows);
    if (!soma__failed() && v[PARALLEL_SUM].given && (v[PARALLEL_CONCAT].given || v[PARALLEL_DIM].given))
        soma_fail(SOMA_EINVAL, "parallel: 'sum' adds the branches, and %s joins them; say one of the two",
                  v[PARALLEL_DIM].given ? "'dim'" : "'concat'");
    soma_nn_parallel_opts o = {.sum = v[PARALLEL_SUM].given, .size = sizeof o};
    if (v[PARALLEL_DIM].given)
        o.dim = v[PARALLEL_DIM].i[0], o.dim_given = true;
    return soma_nn_parallel_ex(n, branches, &o);
}

static bool parallel_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(parallel);
    v[PARALLEL_SUM].given = s->sum;
    v[PARALLEL_DIM] = soma__nn_int(!s->sum && s->dim != 1, s->dim);
    return true;
}

static bool parallel_put(soma_module *m, soma__text *text) { return soma__nn_describe_branches(m, m->n_children, text); }

/* ---- variational LATENT (encoder | decoder) ---- */

static soma_module *variational_wrap(const soma__nn_value *v, soma__nn_rows *rows) {
    soma_module *encoder = soma__nn_row_module(&rows->row[0], "encoder"), *decoder = soma__nn_row_module(&rows->row[1], "decoder");
    soma__nn_rows_free(rows);
    return soma_nn_variational(v[0].i[0], encoder, decoder);
}

static bool variational_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(variational);
    v[0] = soma__nn_int(true, s->latent);
    return m->n_children == 4;
}

static bool variational_put(soma_module *m, soma__text *text) {
    soma__text_add(text, " (");
    bool ok = soma__nn_describe_branch(m->children[0], "encoder", text);
    soma__text_add(text, " | ");
    ok = ok && soma__nn_describe_branch(m->children[3], "decoder", text);
    soma__text_add(text, ")");
    return ok;
}

SOMA__WORD_MAKE(input, soma_nn_input(v[0].i[0]))
static bool input_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(input);
    v[0] = soma__nn_int(true, s->index);
    return true;
}

static soma_module *rbm_make(const soma__nn_value *v) { return soma_nn_rbm(0, v[0].i[0]); }
static bool rbm_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(rbm);
    v[0] = soma__nn_int(true, s->hidden);
    return true;
}

const soma__nn_word soma__nn_words_block[] = {
    {.word = "residual", .cls = &soma__nn_residual_class, .body = SOMA__BODY_ROWS, .min_rows = 1, .max_rows = 2,
     .inner_activation = true, .wrap = residual_wrap, .read = soma__nn_nothing_read, .put_rows = residual_put,
     .help = "x + f(x), where f is the layers in the parentheses; after `|` the layers that change the shape of x to that of f(x) (a "
             "projection shortcut). An activation before the parentheses is applied to the sum"},
    {.word = "parallel", .cls = &soma__nn_parallel_class, .body = SOMA__BODY_ROWS, .min_rows = 1, .max_rows = 16,
     .wrap = parallel_wrap, .read = parallel_read, .put_rows = parallel_put,
     .help = "the branches between `|`, each given the input (all inputs, if there are several); their outputs are joined along the channels (or another dimension), or "
             "added with `sum`",
     .args = SOMA__ARGS({SOMA__ARG_FLAG, "sum", "", false, 0, 0},
              {SOMA__ARG_FLAG, "concat", "", false, 0, 0},
              {SOMA__ARG_INT, "dim", "dim", false, -8, 7})},
    {.word = "variational", .cls = &soma__nn_variational_class, .body = SOMA__BODY_ROWS, .min_rows = 2, .max_rows = 2,
     .wrap = variational_wrap, .read = variational_read, .put_rows = variational_put,
     .help = "variational autoencoder: encoder, mean and log variance of so many latent numbers, decoder. Gives the reconstruction",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "latent", true, SOMA__SIZE_FROM(1)})},
    {.word = "input", .cls = &soma__nn_input_class, .make = input_make, .read = input_read,
     .help = "one of the network's inputs, counted from 0; stands first in a row or branch",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "number", true, 0, 1023})},
    {.word = "repeat", .body = SOMA__BODY_REPEAT, .help = "the layers in the parentheses, written so many times",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "times", true, 1, 4096})},
    {.word = "rbm", .cls = &soma__nn_rbm_class, .make = rbm_make, .read = rbm_read,
     .help = "restricted Boltzmann machine with so many hidden units, for values from 0 to 1; gives the reconstruction. `soma train --task "
             "reconstruct` trains it by contrastive divergence",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "hidden", true, SOMA__SIZE_FROM(1)})},
    {.word = NULL},
};
