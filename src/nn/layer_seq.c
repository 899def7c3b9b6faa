/* Containers: layers one after another, a residual connection around such a row (He et al. 2016), branches side by side, and branches that make the
 * inputs of a layer of several.
 *
 * A row gives all its inputs to its first layer and one tensor to each other; branches are given all. So what a network is given reaches the
 * beginnings of its blocks, where Input picks one. */
#include "nn/nn.h"

#include "ops/norm_last.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static void release(void *t) { soma_release(t); }

soma_tensor *soma__nn_run_row(soma_module *m, int first, int n, soma_tensor *const *in, int n_in) {
    /* One reference holds the newest output; what lies before it is freed as soon as the next stands (the tape keeps what it
     * needs), so that inference never holds more than two layers. */
    soma_tensor *held = NULL, *x = n_in > 0 ? in[0] : NULL;
    for (int i = first, run = 1; i < first + n && x; i += run) {
        soma_scope step = soma_scope_begin();
        bool begins = i == first;
        soma_tensor *y = NULL;
        run = step.depth < 0 || (begins && n_in != 1) ? 0 : soma__nn_run_together(m, i, first + n, x, &y);
        if (run == 0 && step.depth >= 0)
            y = soma_nn_forward_n(m->children[i], begins ? in : &x, begins ? n_in : 1);
        run = SOMA_MAX(run, 1);
        soma_keep(y);
        soma_scope_end(step);
        soma_release(held);
        held = x = y;
    }
    if (held && !soma__scope_add(held, release)) {
        soma_release(held);
        return NULL;
    }
    return x;
}

static soma_tensor *sequential_forward(soma_module *m, soma_tensor *const *in, int n) {
    return m->n_children > 0 || soma__nn_one_input(m, in, n, 0, 0) ? soma__nn_run_row(m, 0, m->n_children, in, n) : NULL;
}

/* ---- Residual: the row, then the shortcut if there is one, then the activation if there is one ---- */

int soma__nn_residual_row(const soma_module *m) {
    const soma__nn_residual_state *s = m->state;
    return SOMA_MAX(0, m->n_children - s->shortcut - s->activation);
}

static bool same_shape(soma_tensor *a, soma_tensor *b) {
    bool same = soma_ndim(a) == soma_ndim(b);
    for (int i = 0; same && i < soma_ndim(a); i++)
        same = soma_size(a, i) == soma_size(b, i);
    return same;
}

/* The last of the row, a batch norm that may run together with the sum and the relu behind it. */
static soma_module *ends_together(const soma_module *m, int row) {
    const soma__nn_residual_state *s = m->state;
    soma_module *last = row > 1 ? m->children[row - 1] : NULL, *act = s->activation ? m->children[m->n_children - 1] : NULL;
    bool ok = last && act && last->cls == &soma__nn_batch_norm_class && act->cls == &soma__nn_relu_class && soma__nn_unseen(last) &&
              soma__nn_unseen(act);
    return ok ? last : NULL;
}

static soma_tensor *residual_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_residual_state *s = m->state;
    int row = soma__nn_residual_row(m);
    soma_module *last = ends_together(m, row);
    soma_tensor *y = soma__nn_one_input(m, in, n, 0, 0) ? soma__nn_run_row(m, 0, row - (last != NULL), in, 1) : NULL;
    soma_tensor *x = !y ? NULL : s->shortcut ? soma_nn_forward(m->children[row], in[0]) : in[0];
    if (x && last && same_shape(x, y) && soma__norm_last(y))
        return soma__nn_batch_norm_relu(last, y, x);
    y = x && last ? soma_nn_forward(last, y) : y;
    if (!x || !y)
        return NULL;
    if (!same_shape(x, y)) {
        char xs[SOMA__SHAPE_TEXT], ys[SOMA__SHAPE_TEXT];
        soma__shape_text(soma_ndim(y), soma_shape(y), ys, sizeof ys);
        soma__shape_text(soma_ndim(x), soma_shape(x), xs, sizeof xs);
        if (s->shortcut)
            soma_fail(SOMA_ESHAPE, "the layers inside make %s and the shortcut %s; both must have one shape", ys, xs);
        else
            soma_fail(SOMA_ESHAPE, "the layers inside make %s of input %s; their output must have the input's shape", ys, xs);
        return NULL;
    }
    y = soma_add(y, x);
    return y && s->activation ? soma_nn_forward(m->children[m->n_children - 1], y) : y;
}

/* ---- Parallel branches ---- */

static soma_tensor *parallel_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_parallel_state *s = m->state;
    soma_tensor *out[SOMA__NN_MAX_BRANCHES];
    int count = SOMA_MIN(m->n_children, SOMA__NN_MAX_BRANCHES);
    for (int i = 0; i < count; i++) {
        out[i] = soma_nn_forward_n(m->children[i], in, n);
        if (!out[i])
            return NULL;
        if (!s->sum || same_shape(out[i], out[0]))
            continue;
        char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "branch %d makes %s and branch 0 %s; to be added they must have one shape", i,
                  soma__shape_text(soma_ndim(out[i]), soma_shape(out[i]), a, sizeof a),
                  soma__shape_text(soma_ndim(out[0]), soma_shape(out[0]), b, sizeof b));
        return NULL;
    }
    if (!s->sum)
        return soma_cat(out, count, s->dim);
    soma_tensor *y = out[0];
    for (int i = 1; i < count; i++)
        y = soma_add(y, out[i]);
    return y;
}

/* ---- Branches that make the inputs of the last child; Input ---- */

static soma_tensor *branches_forward(soma_module *m, soma_tensor *const *in, int n) {
    soma_tensor *made[SOMA__NN_MAX_BRANCHES];
    int count = SOMA_MIN(m->n_children - 1, SOMA__NN_MAX_BRANCHES);
    if (soma__ctx()->decoding) {
        soma_fail(SOMA_EUNSUPPORTED, "a layer of several inputs cannot be run step by step");
        return NULL;
    }
    for (int i = 0; i < count; i++)
        if (!(made[i] = soma_nn_forward_n(m->children[i], in, n)))
            return NULL;
    return soma_nn_forward_n(m->children[m->n_children - 1], made, count);
}

static size_t branches_describe(soma_module *m, char *out, size_t size) {
    soma__text text = {0};
    soma_module *layer = m->n_children > 0 ? m->children[m->n_children - 1] : NULL;
    size_t n = layer && strcmp(layer->name, "layer") == 0 ? soma_nn_describe(layer, NULL, 0) : 0;
    char *words = n > 0 ? soma__alloc(n + 1) : NULL;
    if (words && soma_nn_describe(layer, words, n + 1) == n)
        soma__text_put(&text, words, n);
    soma__free(words);
    if (text.size == 0 || !soma__nn_describe_branches(m, m->n_children - 1, &text))
        soma__text_free(&text);
    return soma__text_take(&text, out, size);
}

static soma_tensor *input_forward(soma_module *m, soma_tensor *const *in, int n) {
    SOMA__STATE(input);
    if (s->index < n)
        return in[s->index];
    soma_fail(SOMA_EINVAL, "there is no input %lld: %d %s given, counted from 0 (input stands first in its row)", (long long)s->index, n, n == 1 ? "is" : "are");
    return NULL;
}

static size_t sequential_describe(soma_module *m, char *out, size_t size) {
    soma__text text = {0};
    if (!soma__nn_describe_row(m, 0, m->n_children, &text))
        soma__text_free(&text);
    return soma__text_take(&text, out, size);
}

const soma_module_class soma__nn_sequential_class = {
    .size = sizeof(soma_module_class), .name = "Sequential", .forward = sequential_forward, .describe = sequential_describe,
};
const soma_module_class soma__nn_residual_class = {
    .size = sizeof(soma_module_class), .name = "Residual", .state_bytes = sizeof(soma__nn_residual_state),
    .forward = residual_forward, .describe = soma__nn_describe_word,
};
const soma_module_class soma__nn_parallel_class = {
    .size = sizeof(soma_module_class), .name = "Parallel", .state_bytes = sizeof(soma__nn_parallel_state),
    .forward = parallel_forward, .describe = soma__nn_describe_word,
};

const soma_module_class soma__nn_branches_class = {
    .size = sizeof(soma_module_class), .name = "Branches", .forward = branches_forward, .describe = branches_describe,
};
const soma_module_class soma__nn_input_class = {
    .size = sizeof(soma_module_class), .name = "Input", .state_bytes = sizeof(soma__nn_input_state), .forward = input_forward,
    .describe = soma__nn_describe_word,
};

/* Takes all children or frees all of them. One that is given twice, or that belongs to another module, is an error; the latter
 * stays where it is. */
static soma_module *row_new(const soma_module_class *cls, int n, soma_module *const *children) {
    soma_module *m = soma_nn_module_new(cls);
    for (int i = 0; i < n; i++)
        if (children[i])
            children[i]->place = -1;
    int bad = m ? -1 : n;
    for (int i = 0; i < n; i++) {
        if (!children[i] || children[i]->parent || children[i]->place >= 0)
            bad = bad < 0 ? i : bad;
        else
            children[i]->place = i;
    }
    if (bad >= 0 && bad < n && children[bad])
        soma_fail(SOMA_EINVAL, "%s: layer %d (%s) is part of %s already", cls->name, bad, children[bad]->cls->name,
                  children[bad]->parent ? "another module" : "it");
    else if (bad >= 0 && bad < n && !soma__failed())
        soma_fail(SOMA_EINVAL, "%s: layer %d is NULL", cls->name, bad);
    int taken = 0;
    for (; bad < 0 && taken < n; taken++) {
        char name[16];
        snprintf(name, sizeof name, "%d", taken);
        char *wish = children[taken]->wish;
        if (!soma_nn_add_child(m, wish ? wish : name, children[taken]))
            bad = taken; /* freed by soma_nn_add_child */
    }
    if (bad < 0)
        return m;
    /* Backwards: a module that was given twice is known by its first place, and freed there. */
    for (int i = n - 1; i >= taken; i--)
        if (children[i] && !children[i]->parent && children[i]->place == i)
            soma_nn_free(children[i]);
    soma_nn_free(m);
    return NULL;
}

soma_module *soma_nn_seq_ex(int n, soma_module *const *children) { return row_new(&soma__nn_sequential_class, n, children); }
soma_module *soma_nn_residual_ex(int n, soma_module *const *children) { return row_new(&soma__nn_residual_class, n, children); }

/* Adds `child` under the name it was given or else `name`; false when there is none or it fails (it is freed then). */
static bool add_special(soma_module *m, const char *name, soma_module *child) {
    return child && m && soma_nn_add_child(m, child->wish ? child->wish : name, child);
}

soma_module *soma_nn_residual_with(soma_module *residual, soma_module *shortcut, soma_module *activation) {
    bool ok = residual && !soma__failed();
    if (ok && residual->cls != &soma__nn_residual_class) {
        soma_fail(SOMA_EINVAL, "soma_nn_residual_with: a Residual is needed, not a %s", residual->cls->name);
        ok = false;
    }
    soma__nn_residual_state *s = ok ? residual->state : NULL;
    if (ok && (s->shortcut || s->activation)) {
        soma_fail(SOMA_EINVAL, "soma_nn_residual_with: the Residual has a shortcut or an activation already");
        ok = false;
    }
    if (!ok || (shortcut && !add_special(residual, "downsample", shortcut))) {
        if (!ok)
            soma_nn_free(shortcut);
        soma_nn_free(activation);
        soma_nn_free(residual);
        return NULL;
    }
    s->shortcut = shortcut != NULL;
    if (activation && !add_special(residual, "act", activation)) {
        soma_nn_free(residual);
        return NULL;
    }
    s->activation = activation != NULL;
    return residual;
}

soma_module *soma_nn_parallel_ex(int n, soma_module *const *branches, const soma_nn_parallel_opts *opts) {
    if (n > SOMA__NN_MAX_BRANCHES && !soma__failed())
        soma_fail(SOMA_EINVAL, "Parallel: at most %d branches, not %d", SOMA__NN_MAX_BRANCHES, n);
    soma_module *m = row_new(&soma__nn_parallel_class, n, branches);
    if (m && n < 1) {
        soma_fail(SOMA_EINVAL, "Parallel: there must be a branch");
        soma_nn_free(m);
        return NULL;
    }
    if (m)
        *(soma__nn_parallel_state *)m->state =
            (soma__nn_parallel_state){opts && opts->sum, opts && (opts->dim != 0 || opts->dim_given) ? opts->dim : 1};
    return m;
}

soma_module *soma_nn_branches_ex(soma_module *layer, int n, soma_module *const *branches) {
    bool ok = layer && n >= 1 && n <= SOMA__NN_MAX_BRANCHES;
    if (!ok && !soma__failed())
        soma_fail(SOMA_EINVAL, "Branches: a layer and 1 to %d branches are needed", SOMA__NN_MAX_BRANCHES);
    soma_module *m = row_new(&soma__nn_branches_class, n, branches); /* takes or frees them */
    if (!ok || !m || !soma_nn_add_child(m, layer->wish ? layer->wish : "layer", layer)) {
        if (!ok || !m)
            soma_nn_free(layer);
        soma_nn_free(m);
        return NULL;
    }
    return m;
}

soma_module *soma_nn_input(int64_t index) {
    if (index < 0 || index >= INT_MAX) {
        soma_fail(SOMA_EINVAL, "Input: its number must be at least 0, not %lld", (long long)index);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(&soma__nn_input_class);
    if (m)
        *(soma__nn_input_state *)m->state = (soma__nn_input_state){index};
    return m;
}
