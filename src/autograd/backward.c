/* Backward: nodes in falling order of their sequence numbers, so that every gradient is complete before it goes on. */
#include "autograd/tape.h"

#include <string.h>

typedef struct engine {
    soma_node **heap; /* largest seq first; counted */
    int n, room;
    bool retain, create;
    /* grad_of: where gradients are caught instead of going to leaves */
    soma_tensor *const *wanted;
    soma_tensor **caught; /* counted */
    int n_wanted;
} engine;

/* ---- The queue ---- */

static bool push(engine *e, soma_node *node) {
    if (node->queued)
        return true;
    if (e->n == e->room) {
        int room = SOMA_MAX(64, 2 * e->room);
        soma_node **heap = soma__realloc(e->heap, (size_t)room * sizeof *heap);
        if (!heap)
            return false;
        e->heap = heap;
        e->room = room;
    }
    soma__node_ref(node);
    node->queued = true;
    int i = e->n++;
    while (i > 0 && e->heap[(i - 1) / 2]->seq < node->seq) {
        e->heap[i] = e->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    e->heap[i] = node;
    return true;
}

static soma_node *pop(engine *e) {
    if (e->n == 0)
        return NULL;
    soma_node *top = e->heap[0], *last = e->heap[--e->n];
    int i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child >= e->n)
            break;
        if (child + 1 < e->n && e->heap[child + 1]->seq > e->heap[child]->seq)
            child++;
        if (e->heap[child]->seq < last->seq)
            break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = last;
    top->queued = false;
    return top;
}

/* ---- Accumulating ---- */

static bool alone(const soma_tensor *t) {
    return atomic_load_explicit(&t->refs, memory_order_relaxed) == 1 && t->storage && !t->storage->release &&
           atomic_load_explicit(&t->storage->refs, memory_order_relaxed) == 1;
}

/* *slot += g. Takes over the caller's reference to g. */
static bool add_to(soma_tensor **slot, soma_tensor *g, bool create) {
    if (!*slot) {
        *slot = g;
        return true;
    }
    soma_scope scope = soma_scope_begin();
    soma_tensor *sum;
    if (!create && alone(*slot) && soma__packed(*slot) && !(*slot)->requires_grad) {
        sum = soma_add_(*slot, g);
        soma_release(g);
    } else {
        sum = soma_keep(soma_add(*slot, g));
        soma_release(g);
        if (sum) {
            soma_release(*slot);
            *slot = sum;
        }
    }
    soma_scope_end(scope);
    return sum != NULL;
}

/* A leaf's gradient must be the leaf's alone: a step may change it in place. */
static soma_tensor *own_copy(soma_tensor *g, bool create) {
    if (!create && alone(g) && (g->chosen ? soma__packed(g) : soma__contiguous(g)) && !g->node) {
        g->is_view = false;
        return g;
    }
    soma_scope scope = soma_scope_begin();
    soma_owner was = soma__owner_set(SOMA_OWNER_GRAD);
    soma_tensor *copy = soma_keep(soma_clone(g));
    soma__owner_set(was);
    soma_scope_end(scope);
    soma_release(g);
    return copy;
}

/* Takes over the caller's reference to g. */
static bool give_leaf(engine *e, soma_tensor *leaf, soma_tensor *g) {
    for (int i = 0; i < e->n_wanted; i++)
        if (e->wanted[i] == leaf)
            return add_to(&e->caught[i], g, e->create);
    if (e->wanted) {
        soma_release(g);
        return true;
    }
    soma__recorder *r = soma__ctx()->recorder;
    if (r && !r->leaf(r, leaf, false)) {
        soma_release(g);
        return false;
    }
    if (!leaf->grad) {
        g = own_copy(g, e->create);
        leaf->grad = g;
        return g != NULL;
    }
    return add_to(&leaf->grad, g, e->create);
}

static bool give(engine *e, const soma_edge *edge, soma_tensor *g) {
    if (edge->leaf)
        return give_leaf(e, edge->leaf, g);
    if (!edge->node) {
        soma_release(g);
        return true;
    }
    return add_to(&edge->node->pending[edge->output], g, e->create) && push(e, edge->node);
}

/* ---- One node ---- */

/* The saved tensor as the rule sees it; for second derivatives back on the tape. */
static bool unpack(const engine *e, const soma_node *node, const soma_saved *s, soma_tensor **out) {
    *out = NULL;
    soma_tensor *t = s->tensor;
    if (!t)
        return true;
    if (t->storage && atomic_load_explicit(&t->storage->version, memory_order_relaxed) != s->version) {
        soma_fail(SOMA_ESTATE, "backward of %s: a tensor %s saved for its gradient was changed in place after it was used (by an operator "
                               "with a trailing _, or a step of an optimiser); use the plain operator there", node->op->name, t->made_by ? t->made_by : "it");
        return false;
    }
    if (!e->create || (!s->edge.node && !s->edge.leaf)) {
        *out = t;
        return true;
    }
    if (s->edge.leaf) {
        *out = s->edge.leaf;
        return true;
    }
    soma_meta meta = soma__meta_of(t);
    soma_tensor *view = soma__tensor_alias(t, &meta);
    if (!view)
        return false;
    soma__node_ref(s->edge.node);
    view->node = s->edge.node;
    view->output = (uint16_t)s->edge.output;
    view->requires_grad = true;
    view->version = s->version;
    *out = view;
    return true;
}

static bool check_result(const soma_node *node, int i, const soma_tensor *g) {
    const soma_meta *m = &node->in_meta[i];
    bool same = g->ndim == m->ndim && (soma_dtype)g->dtype == m->dtype;
    for (int d = 0; same && d < m->ndim; d++)
        same = g->shape[d] == m->shape[d];
    if (same)
        return true;
    char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "backward of %s: its rule gave %s for input %d, which is %s %s", node->op->name, soma__tensor_text(g, a), i,
              soma__shape_text(m->ndim, m->shape, b, sizeof b), soma_dtype_name(m->dtype));
    return false;
}

/* Catches gradients of non-leaves that somebody asked for. */
static bool hand_out(engine *e, soma_node *node) {
    for (int k = 0; k < node->n_out; k++) {
        soma_tensor *g = node->pending[k], *keeper = node->retained[k];
        if (!g)
            continue;
        if (keeper && !e->wanted) {
            soma_keep(g);
            if (!add_to(&keeper->grad, g, true))
                return false;
        }
        for (int i = 0; i < e->n_wanted; i++)
            if (e->wanted[i]->node == node && e->wanted[i]->output == k && !add_to(&e->caught[i], soma_keep(g), true))
                return false;
    }
    return true;
}

static bool call_rule(engine *e, soma_node *node, soma_tensor **gin, bool *need) {
    soma_tensor *few[2 * SOMA_MAX_NAMED_INPUTS + SOMA_MAX_OUTPUTS] = {0};
    soma_tensor **saved = node->n_saved <= (int)SOMA_LEN(few) ? few : soma__calloc((size_t)node->n_saved, sizeof *saved);
    bool ok = saved != NULL;
    for (int i = 0; ok && i < node->n_saved; i++)
        ok = unpack(e, node, &node->saved[i], &saved[i]);
    if (ok) {
        soma_grad_args g = {.op = node->op, .attrs = node->attrs, .n_in = node->n_in, .n_out = node->n_out, .in = saved,
                            .out = saved + node->n_in, .gout = node->pending, .in_meta = node->in_meta, .out_meta = node->out_meta,
                            .need = need, .gin = gin, .create_graph = e->create};
        soma_ctx *ctx = soma__ctx();
        const bool in_rule = ctx->in_rule, bf16 = ctx->bf16;
        ctx->in_rule = !e->create;
        ctx->bf16 = node->bf16;
        node->op->backward(&g);
        ctx->in_rule = in_rule;
        ctx->bf16 = bf16;
        ok = !soma__failed();
    }
    if (saved != few)
        soma__free(saved);
    return ok;
}

static bool run_node_in(engine *e, soma_node *node, soma_tensor **gin, bool *need) {
    soma_scope scope = soma_scope_begin();
    for (int i = 0; i < node->n_in; i++) {
        gin[i] = NULL;
        need[i] = node->edges[i].node || node->edges[i].leaf;
    }
    bool ok = call_rule(e, node, gin, need);
    for (int i = 0; i < node->n_in; i++)
        if (!need[i] || !ok || !gin[i] || !check_result(node, i, gin[i]))
            gin[i] = NULL;
        else
            soma_keep(gin[i]);
    ok = ok && !soma__failed();
    soma_scope_end(scope);
    for (int k = 0; k < node->n_out; k++) {
        soma_release(node->pending[k]);
        node->pending[k] = NULL;
    }
    for (int i = 0; i < node->n_in; i++) {
        if (gin[i] && ok)
            ok = give(e, &node->edges[i], gin[i]);
        else
            soma_release(gin[i]);
    }
    if (ok && !e->retain)
        soma__node_consume(node);
    return ok;
}

static bool run_node(engine *e, soma_node *node) {
    if (node->consumed) {
        soma_fail(SOMA_ESTATE, "backward goes through %s a second time, and its saved tensors are gone; pass .retain_graph = true the first "
                               "time", node->op->name);
        return false;
    }
    if (!hand_out(e, node))
        return false;
    if (node->n_in <= SOMA_MAX_NAMED_INPUTS) {
        soma_tensor *gin[SOMA_MAX_NAMED_INPUTS];
        bool need[SOMA_MAX_NAMED_INPUTS];
        return run_node_in(e, node, gin, need);
    }
    soma_tensor **gin = soma__calloc((size_t)node->n_in, sizeof *gin);
    bool *need = soma__calloc((size_t)node->n_in, sizeof *need);
    bool ok = gin && need && run_node_in(e, node, gin, need);
    soma__free(gin);
    soma__free(need);
    return ok;
}

/* ---- The whole ---- */

static soma_tensor *first_gradient(soma_tensor *t, soma_tensor *given) {
    char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
    if (!given) {
        if (t->numel == 1)
            return soma_ones(t->ndim, t->shape, (soma_dtype)t->dtype);
        soma_fail(SOMA_ESHAPE, "backward: %s has more than one element; reduce it (soma_mean, soma_sum) or pass .grad", soma__tensor_text(t, a));
        return NULL;
    }
    if (soma__same_shape(t, given))
        return soma_to(given, (soma_dtype)t->dtype);
    soma_fail(SOMA_ESHAPE, "backward: the gradient %s does not have the shape of %s", soma__tensor_text(given, a), soma__tensor_text(t, b));
    return NULL;
}

static void clear_pending(soma_node *node) {
    for (int k = 0; k < node->n_out; k++) {
        soma_release(node->pending[k]);
        node->pending[k] = NULL;
    }
}

static bool walk(engine *e, soma_tensor *t, soma_tensor *given) {
    soma_tensor *g = soma_keep(first_gradient(t, given));
    if (!g)
        return false;
    soma_edge start = {t->node, t->node ? NULL : t, t->output};
    bool ok = give(e, &start, g);
    for (soma_node *node; (node = pop(e));) {
        if (ok)
            ok = run_node(e, node);
        clear_pending(node);
        soma__node_unref(node);
    }
    return ok;
}

static soma_status run(soma_tensor *t, const soma_backward_opts *opts, engine *e) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->error != SOMA_OK)
        return ctx->error;
    if (!t)
        return soma_fail(SOMA_EINVAL, "backward: the tensor is NULL");
    if (!t->requires_grad)
        return soma_fail(SOMA_ESTATE, "backward: nothing that this tensor depends on requires a gradient (or it was made with recording off, "
                                      "or by soma_detach)");
    soma_backward_opts none = {0};
    if (!opts)
        opts = &none;
    e->create = opts->create_graph;
    e->retain = opts->retain_graph || opts->create_graph;
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(e->create);
    bool ok = walk(e, t, opts->grad);
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    soma__free(e->heap);
    return ok ? SOMA_OK : soma__ctx()->error;
}

soma_status soma_backward_ex(soma_tensor *t, const soma_backward_opts *opts) {
    engine e = {0};
    return run(t, opts, &e);
}

static soma_status hand_over(soma_tensor *const *inputs, int n, soma_tensor **caught, soma_tensor **grads) {
    for (int i = 0; i < n; i++) {
        soma_tensor *g = caught[i];
        if (!g) {
            grads[i] = soma_zeros(inputs[i]->ndim, inputs[i]->shape, (soma_dtype)inputs[i]->dtype);
            if (!grads[i])
                return soma__ctx()->error;
            continue;
        }
        if (!soma__scope_add(g, (void (*)(void *))soma_release))
            return soma__ctx()->error;
        caught[i] = NULL;
        grads[i] = g;
    }
    return SOMA_OK;
}

soma_status soma_grad_of(soma_tensor *output, soma_tensor *const *inputs, int n, const soma_backward_opts *opts, soma_tensor **grads) {
    for (int i = 0; i < n; i++)
        grads[i] = NULL;
    if (soma__failed())
        return soma__ctx()->error;
    for (int i = 0; i < n; i++)
        if (!inputs[i] || !inputs[i]->requires_grad)
            return soma_fail(SOMA_EINVAL, "soma_grad_of: input %d %s", i, inputs[i] ? "does not require a gradient" : "is NULL");
    soma_tensor **caught = soma__calloc((size_t)(n > 0 ? n : 1), sizeof *caught);
    if (!caught)
        return SOMA_ENOMEM;
    engine e = {.wanted = inputs, .caught = caught, .n_wanted = n};
    soma_status status = run(output, opts, &e);
    if (status == SOMA_OK)
        status = hand_over(inputs, n, caught, grads);
    for (int i = 0; i < n; i++)
        soma_release(caught[i]);
    soma__free(caught);
    return status;
}
