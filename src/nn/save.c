/* Models as .safetensors files: tensors under PyTorch's names; the network's description and soma's version in the metadata.
 *
 * Loading checks everything first and then copies with nothing that can fail, so that a file that does not fit changes nothing. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

/* All parameters and buffers; NULL with an error. *n is how many there are; free the list. */
static soma_named *list_all(soma_module *m, int *n) {
    *n = soma_nn_named(m, true, NULL, 0);
    soma_named *all = soma__calloc((size_t)SOMA_MAX(*n, 1), sizeof *all);
    if (all && soma_nn_named(m, true, all, *n) != *n) {
        soma__free(all);
        return NULL;
    }
    return all;
}

/* ---- Saving ---- */

static char *description(soma_module *m) {
    size_t n = soma_nn_describe(m, NULL, 0);
    char *text = soma__calloc(1, n + 1);
    if (text && n > 0)
        soma_nn_describe(m, text, n + 1);
    return text;
}

static soma_status write_all(soma_module *m, const char *path, const soma_named *all, int n, const soma_pair *meta, int n_meta) {
    const char **names = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *names);
    soma_tensor **tensors = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *tensors);
    (void)m;
    for (int i = 0; i < n && names && tensors; i++) {
        names[i] = all[i].name;
        tensors[i] = soma_contiguous(all[i].tensor);
    }
    soma_status status = soma__ctx()->error;
    if (status == SOMA_OK)
        status = soma_safetensors_write(path, names, tensors, n, meta, n_meta, true);
    soma__free(names);
    soma__free(tensors);
    return status;
}

soma_status soma_nn_save_meta(soma_module *m, const char *path, const soma_pair *pairs, int n) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!m || !path)
        return soma_fail(SOMA_EINVAL, "soma_nn_save: the module or the path is NULL");
    if (!soma__nn_all_made(m, "soma_nn_save"))
        return soma__ctx()->error;
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    int count = 0, n_meta = 0;
    soma_named *all = list_all(m, &count);
    char *text = description(m);
    soma_pair *meta = soma__alloc((size_t)(n + 3) * sizeof *meta);
    if (all && text && meta && !soma__failed()) {
        meta[n_meta++] = (soma_pair){"soma.version", soma_version()};
        if (text[0])
            meta[n_meta++] = (soma_pair){"soma.network", text};
        if (text[0] && m->cls != &soma__nn_sequential_class)
            meta[n_meta++] = (soma_pair){"soma.root", "layer"};
        for (int i = 0; i < n; i++)
            meta[n_meta++] = pairs[i];
        write_all(m, path, all, count, meta, n_meta);
    }
    soma__free(meta);
    soma__free(text);
    soma__free(all);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

soma_status soma_nn_save(soma_module *m, const char *path) { return soma_nn_save_meta(m, path, NULL, 0); }

/* ---- Loading ---- */

typedef struct loading {
    soma_tensor_file *file;
    const char *name, *prefix;
    soma_module **opened; /* layers whose input size came from the file */
    int n_opened, room_opened;
} loading;

/* The stored tensor for a name of the network, or an error that says it is missing. */
static soma_tensor *stored(const loading *l, const char *name) {
    char full[SOMA__NN_PATH * 4 + 160];
    snprintf(full, sizeof full, "%s%s", l->prefix, name);
    for (int i = 0, n = soma_safetensors_count(l->file); i < n; i++)
        if (strcmp(soma_safetensors_name(l->file, i), full) == 0)
            return soma_safetensors_get(l->file, full);
    soma_fail(SOMA_EFORMAT, "%s has no tensor '%s', which the network needs", l->name, full);
    return NULL;
}

static bool has(const loading *l, const char *name) {
    size_t skip = strlen(l->prefix);
    for (int i = 0, n = soma_safetensors_count(l->file); i < n; i++) {
        const char *there = soma_safetensors_name(l->file, i);
        if (strncmp(there, l->prefix, skip) == 0 && strcmp(there + skip, name) == 0)
            return true;
    }
    return false;
}

/* The sizes that the layer's stored tensor tells; false with an error. */
static bool read_sizes(const loading *l, soma_module *top, soma_module *m, int64_t *in) {
    char name[SOMA__NN_PATH + 80], shape[SOMA__SHAPE_TEXT];
    size_t n = strlen(soma__nn_path(m, top, name, SOMA__NN_PATH));
    for (int i = 0; i < (int)SOMA_LEN(m->lazy->tell); i++) {
        const char *tell = m->lazy->tell[i] ? m->lazy->tell[i] : i == 0 ? "weight" : NULL;
        if (!tell)
            break;
        snprintf(name + n, sizeof name - n, "%s%s", n > 0 ? "." : "", tell);
        if (has(l, name))
            break;
    }
    soma_tensor *t = stored(l, name);
    if (!t)
        return false;
    bool fits = m->lazy->sizes_of(m, soma_ndim(t), soma_shape(t), in);
    for (int i = 0; fits && i < SOMA_MAX(m->lazy->n_open, 1); i++)
        fits = in[i] >= 1;
    if (fits)
        return true;
    char words[200] = "";
    if (m->cls->describe)
        m->cls->describe(m, words, sizeof words);
    soma_fail(SOMA_ESHAPE, "%s: '%s' of shape %s does not fit the layer '%s'", l->name, name,
              soma__shape_text(soma_ndim(t), soma_shape(t), shape, sizeof shape), words);
    return false;
}

static void open_layer(loading *l, soma_module *top, soma_module *m) {
    int64_t in[SOMA_MAX_DIMS] = {0};
    if (!m->tied && !read_sizes(l, top, m, in)) /* a tied layer has no weight to tell them, and needs none */
        return;
    if (l->n_opened == l->room_opened) {
        int room = SOMA_MAX(16, l->room_opened * 2);
        soma_module **larger = soma__realloc(l->opened, (size_t)room * sizeof *larger);
        if (!larger)
            return;
        l->opened = larger;
        l->room_opened = room;
    }
    l->opened[l->n_opened++] = m;
    soma__nn_materialise(m, in, false);
}

static void open_layers(loading *l, soma_module *top, soma_module *m) {
    if (m->lazy && !m->lazy->made(m))
        open_layer(l, top, m);
    for (int i = 0; i < m->n_children && !soma__failed(); i++)
        open_layers(l, top, m->children[i]);
}

/* The input sizes are open again: they are the head of the state. */
static void close_layers(loading *l) {
    for (int i = 0; i < l->n_opened; i++) {
        soma_module *m = l->opened[i];
        while (m->n_slots > 0) {
            soma__slot *slot = &m->slots[--m->n_slots];
            soma__free(slot->name);
            soma_release(slot->tensor);
        }
        memset(m->state, 0, (size_t)SOMA_MAX(m->lazy->n_open, 1) * sizeof(int64_t));
    }
}

/* The stored tensor in the dtype of the network's, row-major, or an error. */
static soma_tensor *fitting(const loading *l, const soma_named *want) {
    soma_tensor *t = stored(l, want->name);
    if (!t)
        return NULL;
    bool same = soma_ndim(t) == soma_ndim(want->tensor);
    for (int i = 0; same && i < soma_ndim(t); i++)
        same = soma_size(t, i) == soma_size(want->tensor, i);
    if (!same) {
        char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "%s: '%s' is %s, and the network needs %s", l->name, want->name,
                  soma__shape_text(soma_ndim(t), soma_shape(t), a, sizeof a),
                  soma__shape_text(soma_ndim(want->tensor), soma_shape(want->tensor), b, sizeof b));
        return NULL;
    }
    soma_dtype from = soma_dtype_of(t), to = soma_dtype_of(want->tensor);
    if (soma_dtype_is_float(from) != soma_dtype_is_float(to)) {
        soma_fail(SOMA_EDTYPE, "%s: '%s' is %s, and the network needs %s", l->name, want->name, soma_dtype_name(from),
                  soma_dtype_name(to));
        return NULL;
    }
    return soma_contiguous(soma_to(t, to));
}

static bool known(const char *name, const soma_named *all, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return true;
    return false;
}

/* All of the network's names are there by now: more in the file are too many. */
static void refuse_rest(const loading *l, const soma_named *all, int n) {
    size_t skip = strlen(l->prefix);
    int there = 0, count = soma_safetensors_count(l->file);
    for (int i = 0; i < count; i++)
        there += strncmp(soma_safetensors_name(l->file, i), l->prefix, skip) == 0;
    for (int i = 0; i < count && there > n; i++) {
        const char *name = soma_safetensors_name(l->file, i);
        if (strncmp(name, l->prefix, skip) == 0 && !known(name + skip, all, n)) {
            soma_fail(SOMA_EFORMAT, "%s has a tensor '%.200s', which the network does not know", l->name, name);
            return;
        }
    }
}

/* Every check is done: from here on nothing fails. */
static void fill_all(const soma_named *all, soma_tensor *const *values, int n) {
    for (int i = 0; i < n; i++) {
        soma_tensor *to = all[i].tensor;
        size_t bytes = (size_t)soma_numel(to) * soma_dtype_size(soma_dtype_of(to));
        if (soma_is_contiguous(to) && bytes > 0)
            memcpy(soma_data(to), soma_data(values[i]), bytes);
        else if (bytes > 0)
            soma_copy_(to, values[i]); /* a parameter of the caller's with strides */
        soma_touch(to);
    }
}

static void load_all(loading *l, soma_module *m) {
    open_layers(l, m, m);
    int n = 0;
    soma_named *all = soma__failed() ? NULL : list_all(m, &n);
    soma_tensor **values = all ? soma__calloc((size_t)SOMA_MAX(n, 1), sizeof *values) : NULL;
    for (int i = 0; values && i < n && !soma__failed(); i++)
        values[i] = fitting(l, &all[i]);
    if (values && !soma__failed())
        refuse_rest(l, all, n);
    if (values && !soma__failed())
        fill_all(all, values, n);
    if (soma__failed())
        close_layers(l);
    soma__free(values);
    soma__free(all);
}

soma_status soma__nn_load_file(soma_module *m, soma_tensor_file *file, const char *name, const char *prefix) {
    if (soma__failed())
        return soma__ctx()->error;
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    loading l = {.file = file, .name = name, .prefix = prefix};
    if (scope.depth >= 0)
        load_all(&l, m);
    soma__free(l.opened);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

soma_status soma_nn_load(soma_module *m, const char *path) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!m || !path)
        return soma_fail(SOMA_EINVAL, "soma_nn_load: the module or the path is NULL");
    soma_tensor_file *file = soma_safetensors_read(path);
    if (!file)
        return soma__ctx()->error;
    soma__nn_load_file(m, file, path, "");
    soma_safetensors_free(file);
    return soma__ctx()->error;
}

/* The one layer of a network that is no row of layers (a description always makes a row). */
static soma_module *only_child(soma_module *row, const char *name) {
    soma_module *m = NULL;
    if (row->n_children == 1)
        m = soma__nn_detach(row->children[0]);
    else
        soma_fail(SOMA_EFORMAT, "%s: the network description must be one layer (soma.root), and it has %d", name, row->n_children);
    soma_nn_free(row);
    return m;
}

soma_module *soma__nn_open_file(soma_tensor_file *file, const char *name) {
    const char *text = soma_safetensors_meta(file, "soma.network");
    if (!text) {
        soma_fail(SOMA_EFORMAT, "%s has no network description (soma.network); build the network and use soma_nn_load", name);
        return NULL;
    }
    const char *root = soma_safetensors_meta(file, "soma.root");
    soma_module *m = soma_nn_parse(text);
    if (m && root && strcmp(root, "layer") == 0)
        m = only_child(m, name);
    if (!m) {
        soma_ctx *ctx = soma__ctx();
        if (ctx->error == SOMA_EFORMAT) { /* the error began here: name the file */
            char message[600];
            snprintf(message, sizeof message, "%.599s", ctx->message);
            ctx->error = SOMA_OK;
            soma_fail(SOMA_EFORMAT, "%s: %s", name, message);
        }
        return NULL;
    }
    if (soma__nn_load_file(m, file, name, "") != SOMA_OK) {
        soma_nn_free(m);
        return NULL;
    }
    soma_nn_train(m, false);
    return m;
}

soma_module *soma_nn_open(const char *path) {
    if (soma__failed())
        return NULL;
    if (!path) {
        soma_fail(SOMA_EINVAL, "soma_nn_open: the path is NULL");
        return NULL;
    }
    soma_tensor_file *file = soma_safetensors_read(path);
    soma_module *m = file ? soma__nn_open_file(file, path) : NULL;
    soma_safetensors_free(file);
    return m;
}
