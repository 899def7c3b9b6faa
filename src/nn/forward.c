/* Running modules: a path for error messages, a scope for the temporaries of each, hooks, and runs that only infer shapes.
 *
 * What a module's forward makes is released when it returns, the result excepted; the tape holds what it needs by itself. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

static void call_hooks(soma_module *m, soma_tensor *const *in, int n, soma_tensor *out, int64_t flops) {
    char path[SOMA__NN_PATH];
    for (soma_module *up = m; up; up = up->parent) {
        if (up->hook)
            up->hook(up->hook_user, m, soma__nn_path(m, up, path, sizeof path), in, n, out);
        if (up->probe && up->probe->after)
            up->probe->after(up->probe->user, m, out, flops);
    }
}

static void call_probes(soma_module *m, soma_tensor *const *in, int n) {
    char path[SOMA__NN_PATH];
    int depth = 0;
    for (soma_module *up = m; up; up = up->parent, depth++)
        if (up->probe && up->probe->before)
            up->probe->before(up->probe->user, m, soma__nn_path(m, up, path, sizeof path), depth, in, n);
}

/* "3.0 (Conv2d)"; the outermost module is known by its type alone. */
static void title_of(const void *of, char *title, size_t size) {
    const soma_module *m = of;
    char path[SOMA__NN_PATH];
    soma__nn_path(m, NULL, path, sizeof path);
    if (path[0])
        snprintf(title, size, "%s (%s)", path, m->cls->name);
    else
        snprintf(title, size, "%s", m->cls->name);
}

static soma_tensor *run_class(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    (void)arg;
    return m->cls->forward(m, in, n);
}

soma_tensor *soma__nn_run(soma_module *m, soma_tensor *const *in, int n, soma__nn_run_fn run, void *arg, soma_tensor **more, int n_more) {
    if (soma__failed())
        return NULL;
    if (!m || n < 0 || (n > 0 && !in)) {
        soma_fail(SOMA_EINVAL, "soma_nn_forward: the module or its input is NULL");
        return NULL;
    }
    soma__path_push(title_of, m);
    for (int i = 0; i < n; i++)
        if (!in[i])
            soma_fail(SOMA_EINVAL, "input %d is NULL", i);
    soma_scope scope = soma_scope_begin();
    soma_tensor *out = NULL;
    if (scope.depth >= 0 && !soma__failed()) {
        call_probes(m, in, n);
        int64_t flops = soma__ctx()->flops;
        out = run(m, in, n, arg);
        if (out && soma__failed())
            out = NULL;
        if (out)
            call_hooks(m, in, n, out, soma__ctx()->flops - flops);
        else if (!soma__failed())
            soma_fail(SOMA_EINVAL, "forward returned NULL without an error");
        if (out)
            soma_escape(out);
        for (int i = 0; out && i < n_more; i++)
            if (more[i])
                soma_escape(more[i]);
        soma_scope_end(scope);
    }
    soma__path_pop();
    return out;
}

soma_tensor *soma_nn_forward_n(soma_module *m, soma_tensor *const *in, int n) { return soma__nn_run(m, in, n, run_class, NULL, NULL, 0); }

soma_tensor *soma_nn_forward(soma_module *m, soma_tensor *x) { return soma_nn_forward_n(m, &x, 1); }

void soma_nn_set_hook(soma_module *m, soma_forward_hook after, void *user) {
    if (!m)
        return;
    m->hook = after;
    m->hook_user = user;
}

soma_status soma_nn_build_n(soma_module *m, soma_tensor *const *in, int n) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->error != SOMA_OK)
        return ctx->error;
    bool grad = soma_set_grad_enabled(false), shapes = ctx->shapes_only;
    int64_t flops = ctx->flops;
    ctx->shapes_only = true;
    soma_scope scope = soma_scope_begin();
    if (scope.depth >= 0)
        soma_nn_forward_n(m, in, n);
    soma_scope_end(scope);
    ctx->shapes_only = shapes;
    ctx->flops = flops;
    soma_set_grad_enabled(grad);
    return ctx->error;
}

soma_tensor *soma__nn_shape_of(soma_module *m, int ndim, const int64_t *shape) {
    soma_ctx *ctx = soma__ctx();
    bool shapes = ctx->shapes_only;
    ctx->shapes_only = true;
    soma_tensor *t = soma_empty(ndim, shape, m->dtype);
    ctx->shapes_only = shapes;
    return t;
}

soma_status soma_nn_build(soma_module *m, int ndim, const int64_t *input_shape) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!m)
        return soma_fail(SOMA_EINVAL, "soma_nn_build: the module is NULL");
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = scope.depth >= 0 ? soma__nn_shape_of(m, ndim, input_shape) : NULL;
    if (x)
        soma_nn_build_n(m, &x, 1);
    soma_scope_end(scope);
    return soma__ctx()->error;
}

bool soma__nn_one_input(const soma_module *m, soma_tensor *const *in, int n, int min_dims, int max_dims) {
    if (n != 1) {
        soma_fail(SOMA_EINVAL, "%s takes one input, not %d", m->cls->name, n);
        return false;
    }
    int ndim = soma_ndim(in[0]);
    if (ndim >= min_dims && (max_dims == 0 || ndim <= max_dims))
        return true;
    char shape[SOMA__SHAPE_TEXT];
    soma__shape_text(ndim, soma_shape(in[0]), shape, sizeof shape);
    static const char *const wanted[] = {[3] = "length", [4] = "height, width", [5] = "depth, height, width"};
    if (min_dims == max_dims && min_dims >= 3 && min_dims <= 5)
        soma_fail(SOMA_ESHAPE, "input %s has %d dimension%s, and [batch, channels, %s] is needed", shape, ndim, ndim == 1 ? "" : "s",
                  wanted[min_dims]);
    else
        soma_fail(SOMA_ESHAPE, "input %s has %d dimension%s, and at least %d %s needed", shape, ndim, ndim == 1 ? "" : "s",
                  min_dims, min_dims == 1 ? "is" : "are");
    return false;
}

bool soma__nn_size_ok(const char *type, const char *what, int64_t value, bool open) {
    if (value >= (open ? 0 : 1) && value <= SOMA__NN_MAX_SIZE)
        return true;
    soma_fail(SOMA_EINVAL, "%s: %s must be %s to 2147483648, not %lld", type, what, open ? "0 (open) or 1" : "1",
              (long long)value);
    return false;
}

/* ---- Parameters that wait for the input ---- */

soma_module *soma__nn_lazy_new(const soma__nn_lazy *lazy) {
    soma_module *m = soma_nn_module_new(lazy->cls);
    if (m)
        m->lazy = lazy;
    return m;
}

soma_module *soma__nn_settled(soma_module *m) {
    if (!m)
        return NULL;
    const int64_t *in = m->state;
    bool known = true;
    for (int i = 0; i < SOMA_MAX(m->lazy->n_open, 1); i++)
        known = known && in[i] > 0;
    if (known && !m->lazy->made(m) && !soma__ctx()->parsing) /* a text is no reason to take gigabytes */
        soma__nn_materialise(m, in, true);
    if (!soma__failed())
        return m;
    soma_nn_free(m);
    return NULL;
}

bool soma__nn_ready(soma_module *m, const int64_t *in) {
    if (m->lazy->made(m))
        return true;
    for (int i = 0; i < SOMA_MAX(m->lazy->n_open, 1); i++) {
        if (in[i] >= 1)
            continue;
        soma_fail(SOMA_ESHAPE, "the input has a size of 0, so that the weights would be empty");
        return false;
    }
    return soma__nn_materialise(m, in, true) == SOMA_OK;
}

const char *soma__nn_by(int n, const int64_t *sizes, char out[80]) {
    size_t at = 0;
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, 80 - at, "%s%lld", i ? " x " : "", (long long)sizes[i]);
    return out;
}

void soma__nn_fail_fit(soma_tensor *x, soma_tensor *weight) {
    char xs[SOMA__SHAPE_TEXT], ws[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "input %s does not fit weight %s", soma__shape_text(soma_ndim(x), soma_shape(x), xs, sizeof xs),
              soma__shape_text(soma_ndim(weight), soma_shape(weight), ws, sizeof ws));
}

bool soma__nn_all_made(soma_module *m, const char *what) {
    if (m->lazy && !m->lazy->made(m)) {
        char path[SOMA__NN_PATH];
        soma__nn_path(m, NULL, path, sizeof path);
        soma_fail(SOMA_ESTATE, "%s: the input size of %s%s%s%s is still open; call soma_nn_build first", what, path,
                  path[0] ? " (" : "", m->cls->name, path[0] ? ")" : "");
        return false;
    }
    for (int i = 0; i < m->n_children; i++)
        if (!soma__nn_all_made(m->children[i], what))
            return false;
    return true;
}

soma_tensor *soma__nn_new_param(soma_module *m, const char *name, int ndim, const int64_t *shape) {
    int64_t bytes = (int64_t)soma_dtype_size(m->dtype);
    bool ok = true;
    for (int i = 0; i < ndim; i++)
        ok = ok && soma__mul_ok(bytes, shape[i], &bytes);
    if (!ok || bytes > SOMA__NN_MAX_BYTES) {
        char text[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_EINVAL, "%s %s of shape %s is larger than 1 TiB", m->cls->name, name,
                  soma__shape_text(ndim, shape, text, sizeof text));
        return NULL;
    }
    return soma_nn_add_param(m, name, soma_empty(ndim, shape, m->dtype));
}

void soma__nn_reset(soma_module *m) {
    bool grad = soma_set_grad_enabled(false);
    if (m->cls->reset && m->n_slots > 0)
        m->cls->reset(m);
    for (soma_module *up = m; up; up = up->parent)
        if (up->fill)
            up->fill(m);
    soma_set_grad_enabled(grad);
}

soma_status soma__nn_materialise(soma_module *m, const int64_t *in, bool fill) {
    soma_ctx *ctx = soma__ctx();
    bool shapes = ctx->shapes_only, grad = soma_set_grad_enabled(false);
    soma_owner owner = soma__owner_set(SOMA_OWNER_PARAM);
    struct soma__recorder *recorder = ctx->recorder;
    ctx->shapes_only = false;
    ctx->recorder = NULL; /* made once, whatever step it is in */
    soma_scope scope = soma_scope_begin();
    if (scope.depth >= 0 && m->lazy->make(m, in) == SOMA_OK && fill)
        soma__nn_reset(m);
    soma_scope_end(scope);
    ctx->shapes_only = shapes;
    ctx->recorder = recorder;
    soma__owner_set(owner);
    soma_set_grad_enabled(grad);
    return ctx->error;
}
