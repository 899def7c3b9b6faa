/* Recording calls on the tape, and taking the tape apart. Nodes die through a list in the context, never by recursion, so that a
 * chain of a million operators needs no stack. */
#include "autograd/tape.h"

#include <string.h>

static _Atomic uint64_t next_seq;

void soma__node_ref(soma_node *node) { atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed); }

static void edge_drop(soma_edge *e) {
    soma_node *node = e->node;
    soma_tensor *leaf = e->leaf;
    *e = (soma_edge){0};
    if (node)
        soma__node_unref(node);
    soma_release(leaf);
}

static soma_edge edge_to(soma_tensor *t) {
    soma_edge e = {0};
    if (!t || !t->requires_grad)
        return e;
    if (t->node) {
        soma__node_ref(t->node);
        e.node = t->node;
        e.output = t->output;
    } else {
        e.leaf = soma_keep(t);
    }
    return e;
}

void soma__node_consume(soma_node *node) {
    for (int i = 0; i < node->n_saved; i++) {
        soma_saved *s = &node->saved[i];
        soma_tensor *t = s->tensor;
        s->tensor = NULL;
        if (s->own_output)
            s->edge = (soma_edge){0};
        edge_drop(&s->edge);
        soma_release(t);
    }
    for (int i = 0; i < node->n_in; i++)
        edge_drop(&node->edges[i]);
    node->consumed = true;
}

static void node_free(soma_node *node) {
    soma__node_consume(node);
    for (int i = 0; i < node->n_out; i++)
        soma_release(node->pending[i]);
    soma__free(node);
}

void soma__node_unref(soma_node *node) {
    if (atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1)
        return;
    soma_ctx *ctx = soma__ctx();
    node->next_dying = ctx->dying;
    ctx->dying = node;
    if (ctx->draining)
        return;
    ctx->draining = true;
    while (ctx->dying) {
        soma_node *n = ctx->dying;
        ctx->dying = n->next_dying;
        node_free(n);
    }
    ctx->draining = false;
}

static void node_release(soma_node *node, soma_tensor *from) {
    if (node->retained[from->output] == from)
        node->retained[from->output] = NULL;
    soma__node_unref(node);
}

__attribute__((constructor)) static void connect(void) { soma__node_release = node_release; }

/* One block: the node and its arrays. */
static soma_node *node_new(const soma_op *op, int n_in) {
    int n_out = op->outputs, n_attrs = op->n_attrs, n_saved = n_in + n_out;
    size_t edges = sizeof(soma_node), in_meta = edges + (size_t)n_in * sizeof(soma_edge);
    size_t out_meta = in_meta + (size_t)n_in * sizeof(soma_meta), attrs = out_meta + (size_t)n_out * sizeof(soma_meta);
    size_t saved = attrs + (size_t)n_attrs * sizeof(soma_attr), pending = saved + (size_t)n_saved * sizeof(soma_saved);
    size_t retained = pending + (size_t)n_out * sizeof(void *), bytes = retained + (size_t)n_out * sizeof(void *);
    char *block = soma__alloc(bytes);
    if (!block)
        return NULL;
    soma_node *node = (soma_node *)block;
    memset(node, 0, sizeof *node);
    memset(block + edges, 0, in_meta - edges);
    memset(block + saved, 0, bytes - saved);
    node->edges = (soma_edge *)(block + edges);
    node->in_meta = (soma_meta *)(block + in_meta);
    node->out_meta = (soma_meta *)(block + out_meta);
    node->attrs = (soma_attr *)(block + attrs);
    node->saved = (soma_saved *)(block + saved);
    node->pending = (soma_tensor **)(block + pending);
    node->retained = (soma_tensor **)(block + retained);
    atomic_init(&node->refs, 1);
    node->op = op;
    node->n_in = n_in;
    node->n_out = n_out;
    node->n_attrs = n_attrs;
    node->n_saved = n_saved;
    return node;
}

static bool save(soma_saved *s, soma_tensor *t, soma_node *self, int output) {
    if (!t)
        return true;
    if (!self && t->requires_grad && !t->node) {
        s->tensor = soma_keep(t); /* a leaf holds no node, so no circle can come of it */
    } else {
        s->tensor = soma__tensor_alias_owned(t);
        if (!s->tensor)
            return false;
        s->tensor->weak = false; /* a number from C has taken the operator's dtype by now: rules must not compute with it in less */
        if (self && self->op->no_grad_out & 1u << output)
            s->edge = (soma_edge){0};
        else if (self) {
            s->edge = (soma_edge){self, NULL, output};
            s->own_output = true;
        } else
            s->edge = edge_to(t);
    }
    s->version = t->storage ? atomic_load_explicit(&t->storage->version, memory_order_relaxed) : 0;
    return true;
}

static uint32_t what_to_save(const soma_op *op, soma_tensor *const *in, int n_in) {
    uint32_t mask = op->saves;
    for (int i = 0; i < n_in && i < SOMA_MAX_NAMED_INPUTS; i++)
        if (in[i] && in[i]->requires_grad)
            mask |= op->saves_if[i];
    return mask;
}

soma_node *soma__tape_begin(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs) {
    soma_node *node = node_new(op, n_in);
    if (!node)
        return NULL;
    uint32_t mask = what_to_save(op, in, n_in);
    for (int i = 0; i < n_in; i++) {
        if (!in[i]) {
            memset(&node->in_meta[i], 0, sizeof node->in_meta[i]);
            continue;
        }
        soma__meta_put(&node->in_meta[i], in[i]);
        bool wants = op->variadic || !(op->no_grad_in & 1u << i);
        if (wants)
            node->edges[i] = edge_to(in[i]);
        if (i < 16 && mask & SOMA_SAVE_IN(i) && !save(&node->saved[i], in[i], NULL, 0)) {
            soma__node_unref(node);
            return NULL;
        }
    }
    if (op->n_attrs > 0)
        memcpy(node->attrs, attrs, (size_t)op->n_attrs * sizeof *attrs);
    return node;
}

bool soma__tape_end(soma_node *node, soma_tensor *const *out) {
    node->bf16 = soma__ctx()->bf16;
    node->seq = atomic_fetch_add_explicit(&next_seq, 1, memory_order_relaxed);
    for (int i = 0; i < node->n_out; i++) {
        soma_tensor *t = out[i];
        soma__meta_put(&node->out_meta[i], t);
        if (!soma_dtype_is_float((soma_dtype)t->dtype) || node->op->no_grad_out & 1u << i)
            continue;
        if (t->node) {
            soma_node *old = t->node;
            t->node = NULL;
            node_release(old, t);
        }
        soma__node_ref(node);
        t->node = node;
        t->output = (uint16_t)i;
        t->requires_grad = true;
        t->version = t->storage ? atomic_load_explicit(&t->storage->version, memory_order_relaxed) : 0;
        if (t->retain_grad)
            node->retained[i] = t;
    }
    bool ok = true;
    uint32_t mask = node->op->saves; /* what saves_if names of outputs is saved as well: it costs a handle only */
    for (int i = 0; i < node->n_in && i < SOMA_MAX_NAMED_INPUTS; i++)
        mask |= node->op->saves_if[i];
    for (int i = 0; i < node->n_out && ok; i++)
        if (mask & SOMA_SAVE_OUT(i))
            ok = save(&node->saved[node->n_in + i], out[i], node, i);
    soma__node_unref(node);
    return ok;
}

bool soma__tape_record(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs, soma_tensor *const *out) {
    soma_node *node = soma__tape_begin(op, in, n_in, attrs);
    return node && soma__tape_end(node, out);
}
