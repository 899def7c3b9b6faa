/* Going down the list. Views point to memory already; they are moved when an input, a result, a gradient or the arena lies elsewhere than at the
 * last run. */
#include "capture/capture.h"

#include <string.h>

/* ---- Does it fit? ---- */

static bool alike(const soma_tensor *a, const soma_tensor *b) {
    return a->dtype == b->dtype && soma__same_shape(a, b) && memcmp(a->stride, b->stride, (size_t)a->ndim * sizeof *a->stride) == 0;
}

static soma_tensor *tensor_of(const soma__leaf *l, soma_tensor *const *in) { return l->input >= 0 ? in[l->input] : l->tensor; }

bool soma__tape_fits(const soma__tape *t, soma_tensor *const *in, int n_in) {
    bool fits = t->n_in == n_in && t->no_grad == soma__ctx()->no_grad && t->bf16 == soma__ctx()->bf16 && t->threads == soma_threads() && t->setup == soma__setup();
    for (int i = 0; fits && i < n_in; i++) {
        fits = alike(&t->inputs[i], in[i]) && t->inputs[i].requires_grad == in[i]->requires_grad &&
               in[i]->storage == in[t->same[i]]->storage && (char *)in[i]->data - (char *)in[t->same[i]]->data == t->apart[i];
        for (int k = 0; fits && k < i && t->same[i] == i; k++)
            fits = in[k]->storage != in[i]->storage;
    }
    for (int i = 0; fits && i < t->n_leaves; i++) {
        const soma__leaf *l = &t->leaves[i];
        const soma_tensor *leaf = tensor_of(l, in);
        fits = l->wanted == leaf->requires_grad && (l->any || (l->had ? leaf->grad && alike(&l->like, leaf->grad) : !leaf->grad));
    }
    return fits;
}

/* ---- Binding ---- */

static void bind(soma__slot *s, void *data) {
    if (s->place.data == data)
        return;
    s->place.data = data;
    for (soma__view *v = s->views; v; v = v->next)
        v->t.data = (char *)data + v->offset;
}

/* Memory of a result: that of the last run, unless somebody still holds it. */
static bool bind_kept(soma__slot *s) {
    if (!s->own || atomic_load_explicit(&s->own->refs, memory_order_acquire) > 1) {
        soma_storage *fresh = soma__storage_new(s->place.bytes);
        if (!fresh)
            return false;
        soma__storage_release(s->own);
        s->own = fresh;
    }
    atomic_fetch_add_explicit(&s->own->version, 1, memory_order_relaxed);
    bind(s, s->own->data);
    return true;
}

static bool bind_all(soma__tape *t, soma_tensor *const *in) {
    for (int k = 0; k < t->n_slots; k++) {
        soma__slot *s = &t->slots[k];
        if (s->kept && !bind_kept(s))
            return false;
        if (s->kind == SLOT_INPUT)
            bind(s, in[s->number]->data);
        else if (s->kind == SLOT_GRAD)
            bind(s, tensor_of(&t->leaves[s->number], in)->grad->data);
        else
            atomic_fetch_add_explicit(&s->place.version, 1, memory_order_relaxed);
    }
    return true;
}

/* The arena is taken for a run and given back, so that it counts no longer than the step lasts; it mostly comes back at the same place. */
enum { SMALL = 1 << 14 }; /* bytes that may as well stay */

static bool bind_arena(soma__tape *t) {
    if (t->base && t->arena <= SMALL)
        return true;
    char *base = soma__alloc((size_t)t->arena);
    if (!base)
        return false;
    if (base == t->bound)
        return (t->base = base) != NULL;
    t->base = t->bound = base;
    for (int k = 0; k < t->n_slots; k++)
        if (t->slots[k].planned)
            bind(&t->slots[k], base + t->slots[k].at);
    for (int i = 0; i < t->n_calls; i++)
        if (t->calls[i].a.work_bytes > 0)
            t->calls[i].a.work = base + t->calls[i].work_at;
    return true;
}

static void leave_arena(soma__tape *t) {
    if (t->arena <= SMALL)
        return;
    soma__free(t->base);
    t->base = NULL;
}

/* ---- Chains ---- */

/* Buffers lie at different places within a page: loads that follow stores at the same place in another one wait for them. */
enum { BUFFER = SOMA__CHAIN_TILE * 8 + 320 };

/* The tile behind this one, into the second level: the processor follows no stream over so short a way by itself. */
static void fetch_next(const char *p, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + bytes + i, 0, 2);
}

static void run_tile(const soma__call *c, int n, int64_t at, int64_t count, char *room) {
    for (int i = 0; i < n; i++, c++) {
        char *p[SOMA__ITER_MAX];
        int64_t stride[SOMA__ITER_MAX];
        for (int k = 0; k < c->n; k++) {
            const soma_tensor *t = &c->operand[k]->t;
            int64_t size = (int64_t)soma_dtype_size((soma_dtype)t->dtype);
            bool number = t->numel == 1;
            stride[k] = number && c->operand[0]->t.numel > 1 ? 0 : size;
            p[k] = c->buffer[k] >= 0 ? room + c->buffer[k] * BUFFER : (char *)t->data + (number ? 0 : at * size);
        }
        for (int k = 0; k < c->n && count == SOMA__CHAIN_TILE; k++)
            if (c->buffer[k] < 0)
                fetch_next(p[k], count * stride[k]);
        c->row(p, stride, count, c->params);
    }
}

static void run_range(void *arg, int64_t begin, int64_t end) {
    const soma__call *c = arg;
    _Alignas(64) char room[SOMA__CHAIN_ROOM * BUFFER];
    for (int64_t at = begin; at < end; at += SOMA__CHAIN_TILE)
        run_tile(c, c->chain, at, SOMA_MIN(SOMA__CHAIN_TILE, end - at), room);
}

static void run_chain(const soma__call *c) {
    enum { GRAIN = 16 * SOMA__CHAIN_TILE };
    int64_t n = c->operand[0]->t.numel;
    if (n <= GRAIN)
        run_range((void *)(uintptr_t)c, 0, n);
    else
        soma__parallel(n, GRAIN, run_range, (void *)(uintptr_t)c);
}

/* ---- The run ---- */

static void touch_written(const soma__call *c) {
    for (int k = 0; k < c->n_touched; k++)
        soma__touch(c->a.in[c->touched[k]]);
}

static bool run_call(soma__call *c) {
    const soma_op *op = c->a.op;
    if (c->host) {
        c->host(c->a.in[0]);
        return true;
    }
    if (op->check && !op->check(&c->a))
        return false;
    if (op->random)
        c->a.rng = (soma_rng){soma__ctx()->rng.seed, soma__ctx()->rng.stream++};
    const char *why = c->kernel(&c->a);
    if (why)
        soma_fail(SOMA_EUNSUPPORTED, "%s: no kernel takes these arguments: %s", op->name, why);
    touch_written(c);
    return !why;
}

static bool run_calls(soma__tape *t) {
    for (int i = 0; i < t->n_calls; i++) {
        soma__call *c = &t->calls[i];
        if (c->chain > 0) {
            run_chain(c);
            for (int k = 0; k < c->chain; k++)
                touch_written(c + k);
            i += c->chain - 1;
        } else if (!run_call(c)) {
            return false;
        }
    }
    return true;
}

static soma_tensor *handle_on(const soma__tape *t, const soma__view *v, soma_tensor *const *in) {
    const soma__slot *s = &t->slots[v->slot];
    soma_storage *on = s->kind == SLOT_INPUT ? in[s->number]->storage : s->kind == SLOT_OUTER ? s->real : s->own;
    return soma__tensor_on(on, &v->t, (char *)v->t.data - (char *)on->data);
}

static bool put_gradients(soma__tape *t, soma_tensor *const *in) {
    for (int i = 0; i < t->n_leaves; i++) {
        const soma__leaf *l = &t->leaves[i];
        soma_tensor *leaf = tensor_of(l, in), *g = l->after == LEAF_FIXED ? soma_keep(l->fixed) : NULL;
        if (l->after == LEAF_SAME || (l->after == LEAF_NONE && !leaf->grad))
            continue;
        if (l->after == LEAF_NEW && !(g = handle_on(t, l->grad, in)))
            return false;
        soma_release(leaf->grad);
        leaf->grad = g;
    }
    return true;
}

static bool put_results(soma__tape *t, soma_tensor *const *in, soma_tensor **out) {
    for (int i = 0; i < t->n_out; i++) {
        const soma__view *v = t->results[i].view;
        soma_tensor *made = v ? handle_on(t, v, in) : NULL;
        if (v && !made)
            return false;
        if (made && !soma__scope_add(made, (void (*)(void *))soma_release)) {
            soma_release(made);
            return false;
        }
        if (made)
            made->made_by = v->t.made_by;
        out[i] = made;
    }
    return true;
}

bool soma__replay(soma__tape *t, soma_tensor *const *in, soma_tensor **out) {
    bool ok = bind_all(t, in) && bind_arena(t);
    if (ok) {
        ok = run_calls(t) && put_gradients(t, in) && put_results(t, in, out);
        leave_arena(t);
    }
    return ok && !soma__failed();
}
