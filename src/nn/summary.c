/* What each layer does to an input, found by a run that infers shapes and computes nothing; as a list and as a table. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

typedef struct survey {
    soma_layer_info *out;
    int room, count;
    int open[SOMA__NN_MAX_DEPTH], n_open; /* rows of the modules that are running */
    bool failed;
} survey;

static void put_shape(const soma_tensor *t, int *ndim, int64_t *shape) {
    *ndim = soma_ndim(t);
    memcpy(shape, soma_shape(t), (size_t)*ndim * sizeof *shape);
}

static void before(void *user, soma_module *m, const char *path, int depth, soma_tensor *const *in, int n) {
    survey *s = user;
    int row = s->count++;
    if (s->n_open < SOMA__NN_MAX_DEPTH)
        s->open[s->n_open] = row;
    s->n_open++;
    if (row >= s->room)
        return;
    if (!m->shown_path || strcmp(m->shown_path, path) != 0) {
        char *copy = soma__strdup(path);
        if (!copy) {
            s->failed = true;
            s->out[row] = (soma_layer_info){.path = "", .type = m->cls->name};
            return;
        }
        soma__free(m->shown_path);
        m->shown_path = copy;
    }
    s->out[row] = (soma_layer_info){.path = m->shown_path, .type = m->cls->name, .depth = depth};
    if (n > 0)
        put_shape(in[0], &s->out[row].in_ndim, s->out[row].in_shape);
}

static int64_t count_trainable(const soma_module *m) {
    int64_t n = 0;
    for (int i = 0; i < m->n_slots; i++)
        if (!m->slots[i].buffer && soma_requires_grad(m->slots[i].tensor))
            n += soma_numel(m->slots[i].tensor);
    for (int i = 0; i < m->n_children; i++)
        n += count_trainable(m->children[i]);
    return n;
}

static void after(void *user, soma_module *m, soma_tensor *out, int64_t flops) {
    survey *s = user;
    s->n_open--;
    if (s->n_open < 0 || s->n_open >= SOMA__NN_MAX_DEPTH || s->open[s->n_open] >= s->room)
        return;
    soma_layer_info *row = &s->out[s->open[s->n_open]];
    put_shape(out, &row->out_ndim, row->out_shape);
    row->params = soma_nn_count(m);
    row->trainable = count_trainable(m);
    row->flops = flops;
    row->activation_bytes = soma_numel(out) * (int64_t)soma_dtype_size(soma_dtype_of(out));
}

int soma_nn_layers_n(soma_module *m, soma_tensor *const *in, int n, soma_layer_info *out, int room) {
    if (soma_nn_build_n(m, in, n) != SOMA_OK)
        return -1;
    survey s = {.out = out, .room = out ? room : 0};
    soma__probe probe = {before, after, &s};
    soma_rng rng = soma_rng_get(); /* looking changes nothing, also when a module of the user's draws numbers */
    m->probe = &probe;
    soma_status status = soma_nn_build_n(m, in, n);
    m->probe = NULL;
    soma_rng_set(rng);
    return status == SOMA_OK && !s.failed ? s.count : -1;
}

int soma_nn_layers(soma_module *m, int ndim, const int64_t *input_shape, soma_layer_info *out, int room) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = m && scope.depth >= 0 ? soma__nn_shape_of(m, ndim, input_shape) : NULL;
    int n = soma_nn_layers_n(m, &x, 1, out, room);
    soma_scope_end(scope);
    return n;
}

/* ---- The table ---- */

/* 1234567 as "1,234,567". */
static const char *grouped(int64_t n, char out[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < length && at < 30; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

/* Three digits and a unit, with a point whatever the locale: "1.23 G". */
static const char *scaled(double n, double step, const char *const *units, int n_units, char out[32]) {
    int unit = 0;
    for (; n >= step * 0.9995 && unit + 1 < n_units; unit++)
        n /= step;
    int places = unit == 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
    long long power = places == 2 ? 100 : places == 1 ? 10 : 1, whole = (long long)(n * (double)power + 0.5);
    if (places > 0)
        snprintf(out, 32, "%lld.%0*lld %s", whole / power, places, whole % power, units[unit]);
    else
        snprintf(out, 32, "%lld%s%s", whole, units[unit][0] ? " " : "", units[unit]);
    return out;
}

static const char *flops_text(int64_t n, char out[32]) {
    static const char *const units[] = {"", "k", "M", "G", "T", "P"};
    return scaled((double)n, 1000, units, (int)SOMA_LEN(units), out);
}

static const char *bytes_text(int64_t n, char out[32]) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    return scaled((double)n, 1024, units, (int)SOMA_LEN(units), out);
}

static const char rule[] = "--------------------------------------------------------------------------------";

static void put_row(soma__text *t, const soma_layer_info *l) {
    char layer[SOMA__NN_PATH + 64], shape[SOMA__SHAPE_TEXT], params[32], flops[32];
    snprintf(layer, sizeof layer, "%s%s%s%s", l->path, l->path[0] ? " (" : "", l->type, l->path[0] ? ")" : "");
    size_t length = strlen(layer);
    const char *end = layer + (length > 30 ? length - 29 : 0); /* the end of a long path says more than its beginning */
    soma__text_add(t, "%s%-*s %-23s %12s %11s\n", length > 30 ? "~" : "", length > 30 ? 29 : 30, end,
                   soma__shape_text(l->out_ndim, l->out_shape, shape, sizeof shape),
                   l->params > 0 ? grouped(l->params, params) : "-", l->flops > 0 ? flops_text(l->flops, flops) : "-");
}

/* Outputs that are memory of their own: containers hand on their last layer's, and views share their input's. */
static bool own_output(const soma_layer_info *l) {
    static const char *const others[] = {"Sequential", "Flatten", "Unflatten", "Reshape", "Identity", "Input", "Branches"};
    for (size_t i = 0; i < SOMA_LEN(others); i++)
        if (strcmp(l->type, others[i]) == 0)
            return false;
    return true;
}

static void put_totals(soma__text *t, const soma_layer_info *l, int n, int64_t param_bytes) {
    int64_t activations = 0, largest = 0;
    for (int i = 0; i < n; i++) {
        if (own_output(&l[i]))
            activations += l[i].activation_bytes;
        largest = SOMA_MAX(largest, l[i].activation_bytes);
    }
    char a[32], b[32];
    if (l[0].trainable == l[0].params)
        soma__text_add(t, "parameters   %s, all trainable, %s\n", grouped(l[0].params, a), bytes_text(param_bytes, b));
    else
        soma__text_add(t, "parameters   %s, %s\n  trainable  %s\n", grouped(l[0].params, a), bytes_text(param_bytes, b),
                       grouped(l[0].trainable, (char[32]){0}));
    soma__text_add(t, "FLOPs        %s for one forward of this input\n", flops_text(l[0].flops, a));
    soma__text_add(t, "activations  %s\n", bytes_text(activations, a));
    /* Weights, gradients and Adam's two moments; what backward needs; two gradients of the largest activation in flight. */
    soma__text_add(t, "training     about %s (weights, gradients, Adam, activations)\n",
                   bytes_text(4 * param_bytes + activations + 2 * largest, a));
}

static int64_t bytes_of_params(const soma_module *m) {
    int64_t n = 0;
    for (int i = 0; i < m->n_slots; i++)
        if (!m->slots[i].buffer)
            n += soma_numel(m->slots[i].tensor) * (int64_t)soma_dtype_size(soma_dtype_of(m->slots[i].tensor));
    for (int i = 0; i < m->n_children; i++)
        n += bytes_of_params(m->children[i]);
    return n;
}

size_t soma_nn_summary_n(soma_module *m, soma_tensor *const *in, int n_in, char *out, size_t size) {
    if (size > 0)
        out[0] = 0;
    int n = soma_nn_layers_n(m, in, n_in, NULL, 0);
    soma_layer_info *layers = n > 0 ? soma__alloc((size_t)n * sizeof *layers) : NULL;
    if (!layers)
        return 0;
    soma__text t = {0};
    if (soma_nn_layers_n(m, in, n_in, layers, n) == n) {
        char shape[SOMA__SHAPE_TEXT];
        soma__text_add(&t, "%-30s %-23s %12s %11s\n%.79s\n", "layer", "output", "parameters", "FLOPs", rule);
        for (int i = 0; i < n_in; i++)
            soma__text_add(&t, "%-30s %s\n", "input", soma__shape_text(soma_ndim(in[i]), soma_shape(in[i]), shape, sizeof shape));
        for (int i = n > 1 ? 1 : 0; i < n; i++) /* the whole network's row is the totals */
            put_row(&t, &layers[i]);
        soma__text_add(&t, "%.79s\n", rule);
        put_totals(&t, layers, n, bytes_of_params(m));
    }
    soma__free(layers);
    return soma__text_take(&t, out, size);
}

size_t soma_nn_summary(soma_module *m, int ndim, const int64_t *input_shape, char *out, size_t size) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = m && scope.depth >= 0 ? soma__nn_shape_of(m, ndim, input_shape) : NULL;
    size_t n = soma_nn_summary_n(m, &x, 1, out, size);
    soma_scope_end(scope);
    return n;
}
