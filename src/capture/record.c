/* Listening to a step. Storage made meanwhile carries the number of its slot, older storage is found by its address and held, so that no
 * address is seen twice. */
#include "capture/capture.h"

#include <string.h>

typedef struct recording {
    soma__recorder hooks; /* first */
    soma__tape *tape;
    soma_tensor *const *in;
    struct soma__rows rows; /* of the kernel that runs */
    soma_tensor *row_operands[SOMA__ITER_MAX];
    double row_params[SOMA__ROW_PARAMS];
    int n_rows;
    bool failed;            /* no memory in a hook that cannot say so */
} recording;

static bool grow(void **list, int needed, int *room, size_t item) {
    if (needed <= *room)
        return true;
    int wanted = SOMA_MAX(64, *room * 2);
    void *larger = soma__realloc(*list, (size_t)wanted * item);
    if (!larger)
        return false;
    *list = larger;
    *room = wanted;
    return true;
}

/* ---- Slots and views ---- */

static int slot_new(soma__tape *t, soma__slot_kind kind, soma_storage *real) {
    void *slots = t->slots;
    bool ok = grow(&slots, t->n_slots + 1, &t->room_slots, sizeof *t->slots);
    t->slots = slots;
    if (!ok)
        return -1;
    t->slots[t->n_slots] = (soma__slot){.kind = kind, .real = real, .first = -1, .last = -1};
    return t->n_slots++;
}

static void hold(soma_storage *s) { atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed); }

/* The slot of older storage, held from now on. */
static int slot_older(soma__tape *t, soma__slot_kind kind, soma_storage *s) {
    int k = slot_new(t, kind, s);
    if (k >= 0)
        hold(s);
    return k;
}

/* The slot of t's storage; -1 with an error. */
static int slot_of(recording *r, const soma_tensor *t) {
    soma_storage *s = t->storage;
    if (!s) {
        soma_fail(SOMA_ESTATE, "soma_capture_run: a tensor of the step has a shape only");
        return -1;
    }
    if (s->slot)
        return (int)s->slot - 1;
    for (int k = r->tape->n_slots - 1; k >= 0; k--)
        if (r->tape->slots[k].real == s)
            return k;
    return slot_older(r->tape, SLOT_OUTER, s);
}

static soma__slot *find(recording *r, const soma_tensor *t) {
    int k = slot_of(r, t);
    return k < 0 ? NULL : &r->tape->slots[k];
}

static soma__view *view_of(recording *r, soma_tensor *t) {
    int k = slot_of(r, t);
    if (k < 0)
        return NULL;
    soma__slot *s = &r->tape->slots[k];
    int64_t offset = (char *)t->data - (char *)t->storage->data - s->offset;
    for (soma__view *v = s->views; v; v = v->next)
        if (v->offset == offset && v->t.dtype == t->dtype && soma__same_shape(&v->t, t) &&
            memcmp(v->t.stride, t->stride, (size_t)t->ndim * sizeof *t->stride) == 0)
            return v;
    soma__view *v = soma__alloc(sizeof *v);
    if (!v)
        return NULL;
    memset(v, 0, sizeof *v);
    atomic_init(&v->t.refs, 1);
    v->t.dtype = t->dtype;
    v->t.ndim = t->ndim;
    v->t.numel = t->numel;
    v->t.data = t->data;
    v->t.made_by = t->made_by;
    memcpy(v->t.shape, t->shape, sizeof v->t.shape);
    memcpy(v->t.stride, t->stride, sizeof v->t.stride);
    v->slot = k;
    v->offset = offset;
    v->next = s->views;
    return s->views = v;
}

/* ---- Hooks ---- */

static void made(soma__recorder *hooks, soma_storage *s) {
    recording *r = (recording *)hooks;
    int k = slot_new(r->tape, SLOT_MADE, s);
    if (k < 0) {
        r->failed = true;
        return;
    }
    s->slot = (uint32_t)k + 1;
    r->tape->slots[k].place.bytes = s->bytes;
}

static void gone(soma__recorder *hooks, soma_storage *s) { ((recording *)hooks)->tape->slots[s->slot - 1].real = NULL; }

static bool may_read(soma__recorder *hooks, const soma_tensor *t, const char *who) {
    recording *r = (recording *)hooks;
    if (!t->storage)
        return true;
    const soma__slot *s = t->storage->slot ? &r->tape->slots[t->storage->slot - 1] : NULL;
    for (int k = 0; !s && k < r->tape->n_slots; k++)
        s = r->tape->slots[k].real == t->storage ? &r->tape->slots[k] : NULL;
    if (!s || s->kind == SLOT_MADE || (s->kind == SLOT_OUTER && !s->written))
        return true;
    soma_fail(SOMA_ESTATE, "%s: the step is being captured, and %s %s; a replay would not read it again: return it from the step and look at it "
                           "behind soma_capture_run", who, s->kind == SLOT_INPUT ? "this is the value of an input" : "this value was computed in it, by",
              s->kind == SLOT_INPUT ? "of the step" : s->made_by ? s->made_by : "an operator");
    return false;
}

static void rows(soma__recorder *hooks, const struct soma__rows *rows) {
    recording *r = (recording *)hooks;
    if (r->n_rows++ > 0)
        return;
    r->rows = *rows;
    for (int k = 0; k < rows->n; k++)
        r->row_operands[k] = rows->operands[k];
    for (int k = 0; k < SOMA__ROW_PARAMS; k++)
        r->row_params[k] = rows->params ? rows->params[k] : 0;
}

/* A value from the host that calls read: the step's from now on, in every run the same. */
static void make_constant(soma__slot *s) {
    s->kind = SLOT_OUTER;
    s->number = -1;
    hold(s->real);
}

static bool note_write(recording *r, soma_args *a, int i) {
    soma_tensor *t = a->in[i];
    soma__slot *s = find(r, t);
    if (!s)
        return false;
    bool whole = (size_t)t->numel * soma_dtype_size((soma_dtype)t->dtype) == t->storage->bytes;
    if (s->kind == SLOT_MADE && i == 0 && whole && (strcmp(a->op->name, "fill_") == 0 || strcmp(a->op->name, "copy_") == 0))
        s->kind = SLOT_INNER;
    if (s->kind == SLOT_MADE || (s->kind == SLOT_OUTER && s->number < 0)) {
        soma_fail(SOMA_EUNSUPPORTED, "%s in place: a replay would not bring back what the step's own C code put into this tensor; fill it outside "
                                     "of the captured step, or write out of place", a->op->name);
        return false;
    }
    s->written = true;
    s->made_by = a->op->name;
    return true;
}

static bool note_inputs(recording *r, soma_args *a, unsigned writes) {
    for (int i = 0; i < a->n_in; i++) {
        if (!a->in[i])
            continue;
        if (i < 32 && writes & 1u << i && !note_write(r, a, i))
            return false;
        soma__slot *s = find(r, a->in[i]);
        if (!s)
            return false;
        if (s->kind == SLOT_MADE)
            make_constant(s);
    }
    return true;
}

/* Copies of the arguments: views and attributes in one block. */
static bool copy_args(recording *r, soma_args *a, soma__call *c) {
    size_t pointers = (size_t)(a->n_in + a->n_out), n_attrs = (size_t)a->op->n_attrs;
    soma_tensor **list = soma__calloc(1, pointers * sizeof *list + n_attrs * sizeof(soma_attr));
    if (!list)
        return false;
    c->a = *a;
    c->a.in = list;
    c->a.out = list + a->n_in;
    c->a.attrs = NULL;
    c->a.work = NULL;
    if (n_attrs > 0)
        c->a.attrs = memcpy(list + pointers, a->attrs, n_attrs * sizeof(soma_attr));
    for (size_t i = 0; i < pointers; i++) {
        soma_tensor *t = i < (size_t)a->n_in ? a->in[i] : a->out[i - (size_t)a->n_in];
        if (t && !(list[i] = (soma_tensor *)view_of(r, t)))
            return false;
    }
    return true;
}

/* Whether the row may be cut anywhere: all operands lie alike and without gaps, but for one number at most. */
static bool rows_are_plain(const recording *r, const soma_args *a) {
    const soma_tensor *out = r->row_operands[0];
    int numbers = 0;
    if (r->n_rows != 1 || a->n_out != 1 || out != a->out[0] || out->numel < 1 || !soma__packed(out))
        return false;
    for (int k = 0; k < r->rows.n; k++) {
        const soma_tensor *t = r->row_operands[k];
        bool known = k == 0, number = r->rows.scalars && t->numel == 1 && out->numel > 1;
        for (int i = 0; i < a->n_in; i++)
            known = known || a->in[i] == t;
        numbers += number;
        if (!known || soma__is_half(t) ||
            (!number && (!soma__same_shape(t, out) || memcmp(t->stride, out->stride, (size_t)out->ndim * sizeof *t->stride) != 0)))
            return false;
    }
    return numbers < 2;
}

static soma__call *call_new(soma__tape *t) {
    void *calls = t->calls;
    bool ok = grow(&calls, t->n_calls + 1, &t->room_calls, sizeof *t->calls);
    t->calls = calls;
    return ok ? memset(&t->calls[t->n_calls++], 0, sizeof *t->calls) : NULL;
}

/* The same in every run, and small: computed once. */
static bool fold(recording *r, const soma_args *a) {
    enum { SMALL = 4096 };
    for (int i = 0; i < a->n_in; i++) {
        soma__slot *s = a->in[i] ? find(r, a->in[i]) : NULL;
        if (a->in[i] && (!s || s->kind != SLOT_OUTER || s->number >= 0))
            return false;
    }
    for (int i = 0; i < a->n_out; i++)
        if (a->out[i]->storage->bytes > SMALL)
            return false;
    for (int i = 0; i < a->n_out; i++)
        make_constant(find(r, a->out[i]));
    return true;
}

static bool call(soma__recorder *hooks, soma_args *a, int kernel) {
    recording *r = (recording *)hooks;
    bool over = a->n_in > 0 && a->n_out > 0 && a->out[0] == a->in[0], plain = rows_are_plain(r, a);
    r->n_rows = 0;
    if (!note_inputs(r, a, a->op->writes | (unsigned)over))
        return false;
    if (a->n_in > 0 && !over && !a->op->writes && !a->op->random && fold(r, a))
        return true;
    for (int i = over; i < a->n_out; i++) {
        soma__slot *s = find(r, a->out[i]);
        if (!s)
            return false;
        s->kind = s->kind == SLOT_MADE ? SLOT_INNER : s->kind;
        s->made_by = a->op->name;
    }
    soma__call *c = call_new(r->tape);
    if (!c || !copy_args(r, a, c))
        return false;
    c->kernel = a->op->cpu[kernel];
    if (!plain)
        return true;
    c->row = r->rows.row;
    c->n = r->rows.n;
    memcpy(c->params, r->row_params, sizeof c->params);
    for (int k = 0; k < c->n; k++)
        if (!(c->operand[k] = view_of(r, r->row_operands[k])))
            return false;
    return true;
}

static bool moved(soma__recorder *hooks, soma_tensor *from, soma_tensor *to) {
    recording *r = (recording *)hooks;
    soma__slot *s = find(r, from), *target = find(r, to);
    if (!s || !target)
        return false;
    if (r->tape->slots[slot_of(r, from)].kind != SLOT_INNER) {
        make_constant(target);
        target->number = 0; /* what is older has moved for good */
        return true;
    }
    bool in_place;
    soma_tensor *in[2] = {to, from}, *out[1] = {to};
    soma_args a = {.op = soma__op_find("copy_", &in_place), .n_in = 2, .n_out = 1, .in = in, .out = out, .room = 1};
    return call(hooks, &a, 0);
}

static bool host(soma__recorder *hooks, void (*fn)(soma_tensor *t), soma_tensor *t) {
    recording *r = (recording *)hooks;
    soma__call *c = call_new(r->tape);
    soma_tensor **in = soma__calloc(1, sizeof *in);
    r->failed |= !c || !in;
    if (!c) {
        soma__free(in);
        return false;
    }
    c->host = fn;
    c->a.in = in;
    soma__view *v = in ? view_of(r, t) : NULL;
    r->failed |= !v;
    if (v) {
        in[0] = &v->t;
        c->a.n_in = 1;
    }
    return v != NULL;
}

static bool leaf(soma__recorder *hooks, soma_tensor *t, bool cleared) {
    recording *r = (recording *)hooks;
    soma__tape *tape = r->tape;
    int input = -1;
    for (int i = 0; i < tape->n_in; i++)
        input = r->in[i] == t ? i : input;
    for (int i = 0; i < tape->n_leaves; i++)
        if (tape->leaves[i].tensor == t || (input >= 0 && tape->leaves[i].input == input))
            return true;
    void *leaves = tape->leaves;
    bool ok = grow(&leaves, tape->n_leaves + 1, &tape->room_leaves, sizeof *tape->leaves);
    tape->leaves = leaves;
    if (!ok)
        return false;
    soma__leaf l = {.tensor = input >= 0 ? NULL : soma_keep(t), .input = input, .wanted = t->requires_grad, .had = t->grad != NULL, .any = cleared};
    tape->leaves[tape->n_leaves++] = l;
    if (!t->grad || cleared)
        return true;
    int k = soma__settle(t->grad) ? slot_older(tape, SLOT_GRAD, t->grad->storage) : -1;
    if (k < 0)
        return false;
    tape->slots[k].number = tape->n_leaves - 1;
    tape->slots[k].offset = (char *)t->grad->data - (char *)t->grad->storage->data;
    memcpy(&tape->leaves[tape->n_leaves - 1].like, t->grad, sizeof l.like);
    return true;
}

/* ---- The whole ---- */

static bool note_signature(recording *r, int n_in) {
    soma__tape *t = r->tape;
    t->inputs = soma__calloc((size_t)n_in, sizeof *t->inputs);
    t->same = soma__calloc((size_t)n_in, sizeof *t->same);
    t->apart = soma__calloc((size_t)n_in, sizeof *t->apart);
    if (!t->inputs || !t->same || !t->apart)
        return false;
    t->n_in = n_in;
    t->no_grad = soma__ctx()->no_grad;
    t->bf16 = soma__ctx()->bf16;
    t->threads = soma_threads();
    t->setup = soma__setup();
    for (int i = 0; i < n_in; i++) {
        soma_tensor *in = r->in[i];
        memcpy(&t->inputs[i], in, sizeof *in);
        int first = 0;
        while (r->in[first]->storage != in->storage)
            first++;
        t->same[i] = first;
        t->apart[i] = (char *)in->data - (char *)r->in[first]->data;
        if (first < i)
            continue;
        int k = slot_older(t, SLOT_INPUT, in->storage);
        if (k < 0)
            return false;
        t->slots[k].number = i;
        t->slots[k].offset = (char *)in->data - (char *)in->storage->data;
    }
    return true;
}

static bool note_results(recording *r, soma_tensor *const *out) {
    for (int i = 0; i < r->tape->n_out; i++) {
        if (!out[i])
            continue;
        if (!soma__settle(out[i]) || !find(r, out[i]))
            return false;
        soma__slot *s = find(r, out[i]);
        if (s->kind == SLOT_MADE)
            make_constant(s);
        s->kept = s->kind == SLOT_INNER;
        if (!(r->tape->results[i].view = view_of(r, out[i])))
            return false;
    }
    return true;
}

static bool note_leaves(recording *r) {
    soma__tape *t = r->tape;
    for (int i = 0; i < t->n_leaves; i++) {
        soma__leaf *l = &t->leaves[i];
        soma_tensor *g = (l->input >= 0 ? r->in[l->input] : l->tensor)->grad;
        soma__slot *s = g && soma__settle(g) ? find(r, g) : NULL;
        if (g && !s)
            return false;
        if (s && s->kind == SLOT_MADE)
            make_constant(s);
        l->after = !g ? LEAF_NONE : s->kind == SLOT_INNER ? LEAF_NEW : s->kind == SLOT_GRAD && s->number == i ? LEAF_SAME : LEAF_FIXED;
        if (l->after == LEAF_FIXED)
            l->fixed = soma_keep(g);
        if (l->after == LEAF_NEW && !(l->grad = view_of(r, g)))
            return false;
        if (l->after == LEAF_NEW)
            t->slots[l->grad->slot].kept = true;
    }
    return true;
}

/* After the step's scope has ended: nothing of it may be left but results and gradients. Lets go of what was held for the recording alone. */
static bool close_slots(soma__tape *t, bool ok) {
    for (int k = 0; k < t->n_slots; k++) {
        soma__slot *s = &t->slots[k];
        soma_storage *real = s->real;
        bool lost = s->kind == SLOT_INNER && real && !s->kept;
        if (real && s->kind != SLOT_INPUT && s->kind != SLOT_GRAD)
            real->slot = 0;
        if (lost && ok)
            soma_fail(SOMA_ESTATE, "soma_capture_run: a tensor that %s made in the step is kept beyond its end, and would not change any more; "
                                   "return it as a result instead", s->made_by ? s->made_by : "an operator");
        ok = ok && !lost;
        s->place = (soma_storage){.bytes = s->place.bytes};
        atomic_init(&s->place.refs, 1);
        if (s->kept && real) {
            hold(real);
            s->own = real;
        }
        if (s->kind == SLOT_INPUT || s->kind == SLOT_GRAD)
            soma__storage_release(real);
        if (s->kind != SLOT_OUTER)
            s->real = NULL;
        for (soma__view *v = s->views; v; v = v->next)
            v->t.storage = s->kind == SLOT_OUTER ? s->real : &s->place;
    }
    return ok;
}

static bool run(recording *r, soma_step_fn step, void *user, soma_tensor **out, soma_tensor **kept) {
    soma__tape *t = r->tape;
    soma_ctx *ctx = soma__ctx();
    soma_scope scope = soma_scope_begin();
    ctx->recorder = &r->hooks;
    bool ok = scope.depth >= 0 && step(user, r->in, t->n_in, out, t->n_out);
    if (!ok && ctx->error == SOMA_OK)
        soma_fail(SOMA_EINVAL, "soma_capture_run: the step returned false without an error");
    ok = ok && ctx->error == SOMA_OK && note_results(r, out) && note_leaves(r);
    for (int i = 0; ok && i < t->n_out; i++)
        if (out[i] && !(kept[i] = soma__tensor_alias_owned(out[i])))
            ok = false;
    soma_scope_end(scope);
    ctx->recorder = NULL;
    if (r->failed && ctx->error == SOMA_OK)
        soma_fail(SOMA_ENOMEM, "soma_capture_run: no memory to record the step");
    return close_slots(t, ok && !r->failed) && ctx->error == SOMA_OK;
}

soma__tape *soma__record(soma_step_fn step, void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    recording r = {.hooks = {made, gone, may_read, call, rows, moved, host, leaf}, .in = in};
    soma_tensor **kept = soma__calloc((size_t)n_out, sizeof *kept);
    soma__tape *t = r.tape = soma__calloc(1, sizeof *t);
    bool ok = kept && t;
    if (ok) {
        t->n_out = n_out;
        t->results = soma__calloc((size_t)n_out, sizeof *t->results);
        ok = t->results && note_signature(&r, n_in);
        if (ok)
            ok = run(&r, step, user, out, kept);
        else
            close_slots(t, false);
    }
    for (int i = 0; i < n_out; i++) {
        out[i] = kept ? kept[i] : NULL;
        if (out[i] && !soma__scope_add(out[i], (void (*)(void *))soma_release)) {
            soma_release(out[i]);
            ok = false;
        }
        out[i] = ok ? out[i] : NULL;
    }
    soma__free(kept);
    if (ok && soma__plan(t))
        return t;
    soma__tape_free(t);
    return NULL;
}

void soma__tape_free(soma__tape *t) {
    if (!t)
        return;
    for (int k = 0; k < t->n_slots; k++) {
        for (soma__view *v = t->slots[k].views, *next; v; v = next) {
            next = v->next;
            soma__free(v);
        }
        soma__storage_release(t->slots[k].real);
        soma__storage_release(t->slots[k].own);
    }
    for (int i = 0; i < t->n_calls; i++)
        soma__free((void *)(uintptr_t)t->calls[i].a.in);
    for (int i = 0; i < t->n_leaves; i++) {
        soma_release(t->leaves[i].tensor);
        soma_release(t->leaves[i].fixed);
    }
    soma__free(t->base);
    soma__free(t->inputs);
    soma__free(t->same);
    soma__free(t->apart);
    soma__free(t->slots);
    soma__free(t->calls);
    soma__free(t->leaves);
    soma__free(t->results);
    soma__free(t);
}
