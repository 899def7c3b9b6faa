/* Modules: making and freeing them, parameters, buffers and children by name.
 *
 * A module has at most one parent, which owns it; a module without one belongs to the caller. Names are copies. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

soma_module *soma_nn_module_new(const soma_module_class *cls) {
    if (soma__failed())
        return NULL;
    if (!cls || !cls->forward || !cls->name) {
        soma_fail(SOMA_EINVAL, "soma_nn_module_new: a module class needs a name and a forward function");
        return NULL;
    }
    soma_module *m = soma__calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->cls = cls;
    m->training = true;
    if (cls->state_bytes > 0 && !(m->state = soma__calloc(1, cls->state_bytes))) {
        soma__free(m);
        return NULL;
    }
    return m;
}

static void forget_names(soma_module *m) {
    for (int i = 0; i < m->n_full_names; i++)
        soma__free(m->full_names[i]);
    soma__free(m->full_names);
    m->full_names = NULL;
    m->n_full_names = 0;
}

static void leave_parent(soma_module *m) {
    soma_module *p = m->parent;
    for (int i = 0; p && i < p->n_children; i++) {
        if (p->children[i] != m)
            continue;
        p->n_children--;
        memmove(p->children + i, p->children + i + 1, (size_t)(p->n_children - i) * sizeof *p->children);
        break;
    }
    m->parent = NULL;
}

soma_module *soma__nn_detach(soma_module *m) {
    leave_parent(m);
    soma__free(m->name);
    m->name = NULL;
    return m;
}

/* Nesting is limited by soma_nn_add_child, so the recursion is. */
void soma_nn_free(soma_module *m) {
    if (!m)
        return;
    leave_parent(m);
    while (m->n_children > 0)
        soma_nn_free(m->children[m->n_children - 1]);
    if (m->cls->destroy)
        m->cls->destroy(m);
    for (int i = 0; i < m->n_slots; i++) {
        soma__free(m->slots[i].name);
        soma_release(m->slots[i].tensor);
    }
    forget_names(m);
    soma__nn_folded_drop(m);
    soma__free(m->slots);
    soma__free(m->children);
    soma__free(m->name);
    soma__free(m->wish);
    soma__free(m->tied);
    soma__free(m->shown_path);
    soma__free(m->state);
    soma__free(m);
}

const soma_module_class *soma_nn_class(const soma_module *m) { return m ? m->cls : NULL; }
void *soma_nn_state(soma_module *m) { return m ? m->state : NULL; }

/* ---- Names ---- */

/* A name must be able to stand in "0.weight", a file and a message. */
static bool name_ok(const char *kind, const char *name) {
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > 63) {
        soma_fail(SOMA_EINVAL, "the name of a %s must have 1 to 63 bytes, not %zu", kind, n);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] <= ' ' || name[i] == '.' || name[i] == 0x7f) {
            soma_fail(SOMA_EINVAL, "the name '%s' of a %s must not contain dots, blanks or control characters", name, kind);
            return false;
        }
    }
    return true;
}

const char *soma__nn_path(const soma_module *m, const soma_module *top, char *out, size_t size) {
    const soma_module *chain[SOMA__NN_MAX_DEPTH];
    int n = 0;
    for (; m && m != top && m->name && n < SOMA__NN_MAX_DEPTH; m = m->parent)
        chain[n++] = m;
    size_t at = 0;
    out[0] = 0;
    while (n-- > 0) {
        size_t length = strlen(chain[n]->name);
        if (at + length + 2 > size)
            break;
        if (at > 0)
            out[at++] = '.';
        memcpy(out + at, chain[n]->name, length + 1);
        at += length;
    }
    return out;
}

static bool grow(void **list, int count, int *room, size_t item) {
    if (count < *room)
        return true;
    int wanted = *room > 0 ? *room * 2 : 4;
    void *larger = soma__realloc(*list, (size_t)wanted * item);
    if (!larger)
        return false;
    *list = larger;
    *room = wanted;
    return true;
}

/* ---- Parameters and buffers ---- */

soma_tensor *soma__nn_slot(const soma_module *m, const char *name) {
    for (int i = 0; i < m->n_slots; i++)
        if (strcmp(m->slots[i].name, name) == 0)
            return m->slots[i].tensor;
    return NULL;
}

static soma_module *child_named(const soma_module *m, const char *name, size_t length) {
    for (int i = 0; i < m->n_children; i++)
        if (strncmp(m->children[i]->name, name, length) == 0 && m->children[i]->name[length] == 0)
            return m->children[i];
    return NULL;
}

static soma_tensor *add_slot(soma_module *m, const char *name, soma_tensor *t, bool buffer) {
    const char *kind = buffer ? "buffer" : "parameter";
    if (!m || !t) {
        if (!soma__failed())
            soma_fail(SOMA_EINVAL, "a %s '%s' was added with a module or tensor that is NULL", kind, name ? name : "");
        return NULL;
    }
    if (!name_ok(kind, name))
        return NULL;
    if (child_named(m, name, strlen(name))) {
        soma_fail(SOMA_EINVAL, "%s has a child named '%s'; a %s needs another name", m->cls->name, name, kind);
        return NULL;
    }
    if (!buffer && !soma_requires_grad_(t, true))
        return NULL;
    for (int i = 0; i < m->n_slots; i++) {
        if (strcmp(m->slots[i].name, name) != 0)
            continue;
        soma_tensor *old = m->slots[i].tensor;
        m->slots[i].tensor = soma_keep(t);
        m->slots[i].buffer = buffer;
        soma_release(old);
        return t;
    }
    void *slots = m->slots;
    bool room = grow(&slots, m->n_slots, &m->room_slots, sizeof *m->slots);
    m->slots = slots;
    char *copy = room ? soma__strdup(name) : NULL;
    if (!copy)
        return NULL;
    m->slots[m->n_slots++] = (soma__slot){copy, soma_keep(t), buffer};
    return t;
}

void soma__nn_remove_slot(soma_module *m, const char *name) {
    for (int i = 0; i < m->n_slots; i++) {
        if (strcmp(m->slots[i].name, name) != 0)
            continue;
        soma__free(m->slots[i].name);
        soma_release(m->slots[i].tensor);
        m->n_slots--;
        memmove(m->slots + i, m->slots + i + 1, (size_t)(m->n_slots - i) * sizeof *m->slots);
        return;
    }
}

soma_tensor *soma_nn_add_param(soma_module *m, const char *name, soma_tensor *t) { return add_slot(m, name, t, false); }
soma_tensor *soma_nn_add_buffer(soma_module *m, const char *name, soma_tensor *t) { return add_slot(m, name, t, true); }

/* ---- Children ---- */

static int height_of(const soma_module *m) {
    int most = 0;
    for (int i = 0; i < m->n_children; i++) {
        int height = height_of(m->children[i]); /* the macro would ask twice, and so 2^depth times */
        most = SOMA_MAX(most, height);
    }
    return most + 1;
}

static int depth_of(const soma_module *m) {
    int depth = 0;
    for (; m; m = m->parent)
        depth++;
    return depth;
}

/* What forbids the adoption; the child is the caller's in these cases. */
static bool may_adopt(const soma_module *m, const soma_module *child) {
    if (child->parent) {
        soma_fail(SOMA_EINVAL, "a %s that belongs to a %s already cannot be part of a %s too", child->cls->name,
                  child->parent->cls->name, m->cls->name);
        return false;
    }
    for (const soma_module *up = m; up; up = up->parent) {
        if (up == child) {
            soma_fail(SOMA_EINVAL, "a %s cannot be part of itself", child->cls->name);
            return false;
        }
    }
    return true;
}

soma_module *soma_nn_add_child(soma_module *m, const char *name, soma_module *child) {
    if (!child) {
        if (!soma__failed())
            soma_fail(SOMA_EINVAL, "soma_nn_add_child: the child '%s' is NULL", name ? name : "");
        return NULL;
    }
    if (m && !may_adopt(m, child))
        return NULL;
    char *copy = NULL;
    void *children = m ? m->children : NULL;
    bool ok = m && name_ok("child", name);
    if (!m && !soma__failed())
        soma_fail(SOMA_EINVAL, "soma_nn_add_child: the module that shall own '%s' is NULL", name ? name : "");
    if (ok && (child_named(m, name, strlen(name)) || soma__nn_slot(m, name))) {
        soma_fail(SOMA_EINVAL, "%s has something named '%s' already", m->cls->name, name);
        ok = false;
    }
    if (ok && depth_of(m) + height_of(child) > SOMA__NN_MAX_DEPTH) {
        soma_fail(SOMA_EINVAL, "modules can be nested %d deep, and '%s' would be deeper", SOMA__NN_MAX_DEPTH, name);
        ok = false;
    }
    if (ok) {
        ok = grow(&children, m->n_children, &m->room_children, sizeof *m->children) && (copy = soma__strdup(name));
        m->children = children;
    }
    if (!ok) {
        soma_nn_free(child);
        return NULL;
    }
    child->name = copy;
    child->parent = m;
    return m->children[m->n_children++] = child;
}

soma_module *soma_nn_as(soma_module *m, const char *name) {
    if (!m || !name_ok("child", name)) {
        soma_nn_free(m);
        return NULL;
    }
    if (m->parent) {
        soma_fail(SOMA_EINVAL, "soma_nn_as: the %s '%s' has its name already, from the %s that it is part of", m->cls->name, m->name,
                  m->parent->cls->name);
        return NULL;
    }
    char *copy = soma__strdup(name);
    if (!copy) {
        soma_nn_free(m);
        return NULL;
    }
    soma__free(m->wish);
    m->wish = copy;
    return m;
}

int soma_nn_child_count(const soma_module *m) { return m ? m->n_children : 0; }

soma_module *soma_nn_child(const soma_module *m, int i, const char **name) {
    if (!m || i < 0 || i >= m->n_children) {
        soma_fail(SOMA_EINVAL, "soma_nn_child: child %d of a module with %d", i, m ? m->n_children : 0);
        return NULL;
    }
    if (name)
        *name = m->children[i]->name;
    return m->children[i];
}

/* ---- All parameters by name ---- */

typedef struct collection {
    soma_module *top;
    soma_named *out;
    int room, count;
    bool buffers, failed;
} collection;

/* Names handed out stay as long as the structure does: they are kept by place, and made anew only when they changed. */
static const char *keep_name(collection *c, const char *name) {
    soma_module *top = c->top;
    if (c->count >= top->n_full_names) {
        int wanted = SOMA_MAX(c->count + 1, top->n_full_names * 2);
        char **names = soma__realloc(top->full_names, (size_t)wanted * sizeof *names);
        if (!names)
            return NULL;
        memset(names + top->n_full_names, 0, (size_t)(wanted - top->n_full_names) * sizeof *names);
        top->full_names = names;
        top->n_full_names = wanted;
    }
    char **kept = &top->full_names[c->count];
    if (*kept && strcmp(*kept, name) == 0)
        return *kept;
    char *copy = soma__strdup(name);
    if (!copy)
        return NULL;
    soma__free(*kept);
    return *kept = copy;
}

static void collect(collection *c, soma_module *m) {
    char path[SOMA__NN_PATH * 4], name[SOMA__NN_PATH * 4 + 80];
    soma__nn_path(m, c->top, path, sizeof path);
    for (int i = 0; i < m->n_slots && !c->failed; i++) {
        if (m->slots[i].buffer != c->buffers)
            continue;
        if (c->out && c->count < c->room) {
            snprintf(name, sizeof name, "%s%s%s", path, path[0] ? "." : "", m->slots[i].name);
            const char *kept = keep_name(c, name);
            c->failed = !kept;
            if (kept)
                c->out[c->count] = (soma_named){kept, m->slots[i].tensor, m->slots[i].buffer};
        }
        c->count++;
    }
    for (int i = 0; i < m->n_children && !c->failed; i++)
        collect(c, m->children[i]);
}

int soma_nn_named(soma_module *m, bool buffers, soma_named *out, int room) {
    if (!m)
        return 0;
    collection c = {.top = m, .out = out, .room = room};
    collect(&c, m);
    if (buffers && !c.failed) {
        c.buffers = true;
        collect(&c, m);
    }
    return c.failed ? -1 : c.count;
}

static const char *suggest(soma_module *m, const char *name) {
    int n = soma_nn_named(m, true, NULL, 0);
    soma_named *all = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *all);
    const char **names = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *names);
    const char *best = NULL;
    if (all && names && soma_nn_named(m, true, all, n) == n) {
        for (int i = 0; i < n; i++)
            names[i] = all[i].name;
        best = soma__nearest(name, names, n);
    }
    soma__free(names);
    soma__free(all);
    return best;
}

soma_tensor *soma_nn_get(soma_module *m, const char *name) {
    if (!m || !name)
        return NULL;
    const soma_module *at = m;
    const char *rest = name;
    for (const char *dot; at && (dot = strchr(rest, '.')) != NULL; rest = dot + 1)
        at = child_named(at, rest, (size_t)(dot - rest));
    soma_tensor *t = at ? soma__nn_slot(at, rest) : NULL;
    if (t || soma__failed())
        return t;
    const char *near = suggest(m, name);
    if (soma__failed())
        return NULL;
    soma_fail(SOMA_ENOTFOUND, "the %s has no parameter or buffer '%s'%s%s%s", m->cls->name, name, near ? "; did you mean '" : "",
              near ? near : "", near ? "'?" : "");
    return NULL;
}

static soma_status convert(soma_module *m, soma_dtype dtype) {
    m->dtype = dtype;
    for (int i = 0; i < m->n_slots && !soma__failed(); i++) {
        soma_tensor *old = m->slots[i].tensor;
        if (!soma_dtype_is_float(soma_dtype_of(old)) || soma_dtype_of(old) == dtype)
            continue;
        soma_tensor *t = soma_to(old, dtype);
        if (!t || (!m->slots[i].buffer && !soma_requires_grad_(t, soma_requires_grad(old))))
            break;
        m->slots[i].tensor = soma_keep(t);
        soma_release(old);
    }
    for (int i = 0; i < m->n_children && !soma__failed(); i++)
        convert(m->children[i], dtype);
    return soma__ctx()->error;
}

soma_status soma_nn_to(soma_module *m, soma_dtype dtype) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!m || !soma_dtype_is_float(dtype))
        return soma_fail(SOMA_EINVAL, "soma_nn_to: %s", m ? "the dtype of parameters must be a floating one" : "the module is NULL");
    bool grad = soma_set_grad_enabled(false);
    soma_owner owner = soma__owner_set(SOMA_OWNER_PARAM);
    soma_scope scope = soma_scope_begin();
    if (scope.depth >= 0)
        convert(m, dtype);
    soma_scope_end(scope);
    soma__owner_set(owner);
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

int64_t soma_nn_count(soma_module *m) {
    int64_t total = 0;
    for (int i = 0; m && i < m->n_slots; i++)
        if (!m->slots[i].buffer)
            total += soma_numel(m->slots[i].tensor);
    for (int i = 0; m && i < m->n_children; i++)
        total += soma_nn_count(m->children[i]);
    return total;
}

void soma_nn_zero_grad(soma_module *m) {
    for (int i = 0; m && i < m->n_slots; i++)
        if (!m->slots[i].buffer)
            soma_set_grad(m->slots[i].tensor, NULL);
    for (int i = 0; m && i < m->n_children; i++)
        soma_nn_zero_grad(m->children[i]);
}

void soma_nn_train(soma_module *m, bool training) {
    if (!m)
        return;
    if (m->training != training)
        soma__setup_changed();
    m->training = training;
    if (training)
        soma__nn_folded_drop(m);
    for (int i = 0; i < m->n_children; i++)
        soma_nn_train(m->children[i], training);
}

bool soma_nn_training(const soma_module *m) { return m && m->training; }
bool soma__nn_learns(const soma_module *m) { return m->training && !soma__ctx()->shapes_only; }
