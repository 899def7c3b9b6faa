/* Containers: layers one after another, and a residual connection around such a row (He et al. 2016). */
#include "nn/nn.h"

#include <stdio.h>

static void release(void *t) { soma_release(t); }

static soma_tensor *sequential_forward(soma_module *m, soma_tensor *const *in, int n) {
    if (!soma__nn_one_input(m, in, n, 0, 0))
        return NULL;
    /* One reference holds the newest output; what lies before it is freed as soon as the next stands (the tape keeps what it
     * needs), so that inference never holds more than two layers. */
    soma_tensor *x = in[0], *held = NULL;
    for (int i = 0; i < m->n_children && x; i++) {
        soma_scope step = soma_scope_begin();
        soma_tensor *y = step.depth < 0 ? NULL : soma_keep(soma_nn_forward(m->children[i], x));
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

static soma_tensor *residual_forward(soma_module *m, soma_tensor *const *in, int n) {
    soma_tensor *y = sequential_forward(m, in, n);
    if (!y)
        return NULL;
    bool same = soma_ndim(y) == soma_ndim(in[0]);
    for (int i = 0; same && i < soma_ndim(y); i++)
        same = soma_size(y, i) == soma_size(in[0], i);
    if (!same) {
        char xs[SOMA__SHAPE_TEXT], ys[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "the layers inside make %s of input %s; their output must have the input's shape",
                  soma__shape_text(soma_ndim(y), soma_shape(y), ys, sizeof ys),
                  soma__shape_text(soma_ndim(in[0]), soma_shape(in[0]), xs, sizeof xs));
        return NULL;
    }
    return soma_add(y, in[0]);
}

static size_t sequential_describe(soma_module *m, char *out, size_t size) {
    soma__text text = {0};
    if (!soma__nn_describe_children(m, &text))
        soma__text_free(&text);
    return soma__text_take(&text, out, size);
}

static size_t residual_describe(soma_module *m, char *out, size_t size) {
    soma__text text = {0};
    soma__text_add(&text, "residual(");
    if (!soma__nn_describe_children(m, &text))
        soma__text_free(&text);
    else
        soma__text_add(&text, ")");
    return soma__text_take(&text, out, size);
}

const soma_module_class soma__nn_sequential_class = {
    .size = sizeof(soma_module_class), .name = "Sequential", .forward = sequential_forward, .describe = sequential_describe,
};
const soma_module_class soma__nn_residual_class = {
    .size = sizeof(soma_module_class), .name = "Residual", .forward = residual_forward, .describe = residual_describe,
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
        if (!soma_nn_add_child(m, name, children[taken]))
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
