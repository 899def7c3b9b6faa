/* What a list of calls becomes before it is replayed: dead calls go, elementwise neighbours join, intermediates get places in one arena. */
#include "capture/capture.h"

#include <stdlib.h>
#include <string.h>

static soma__slot *slot_at(const soma__tape *t, const soma_tensor *view) { return &t->slots[((const soma__view *)view)->slot]; }

static bool written_in_place(const soma__call *c, int i) {
    return c->a.op && i < 32 && (c->a.op->writes & 1u << i || (i == 0 && c->a.n_out > 0 && c->a.out[0] == c->a.in[0]));
}

/* Handles and the tape outside compare versions of what is older than the step. */
static void mark_touched(soma__tape *t) {
    for (int i = 0; i < t->n_calls; i++) {
        soma__call *c = &t->calls[i];
        for (int k = 0; k < c->a.n_in && c->n_touched < (int)SOMA_LEN(c->touched); k++)
            if (c->a.in[k] && written_in_place(c, k) && slot_at(t, c->a.in[k])->kind != SLOT_INNER)
                c->touched[c->n_touched++] = (int8_t)k;
    }
}

/* ---- Dead calls ---- */

/* A call counts when somebody reads what it writes, or when it does more than writing intermediates: draws numbers, checks values. */
static void mark_live(soma__tape *t) {
    for (int k = 0; k < t->n_slots; k++)
        t->slots[k].needed = t->slots[k].kept || t->slots[k].kind != SLOT_INNER;
    for (int i = t->n_calls - 1; i >= 0; i--) {
        soma__call *c = &t->calls[i];
        c->live = c->host || c->a.op->random || c->a.op->check;
        for (int k = 0; k < c->a.n_out; k++)
            c->live = c->live || slot_at(t, c->a.out[k])->needed;
        for (int k = 0; k < c->a.n_in; k++)
            c->live = c->live || (c->a.in[k] && written_in_place(c, k) && slot_at(t, c->a.in[k])->needed);
        for (int k = 0; c->live && k < c->a.n_in; k++)
            if (c->a.in[k])
                slot_at(t, c->a.in[k])->needed = true;
    }
    int n = 0;
    for (int i = 0; i < t->n_calls; i++) {
        if (t->calls[i].live)
            t->calls[n++] = t->calls[i];
        else
            soma__free((void *)(uintptr_t)t->calls[i].a.in);
    }
    t->n_calls = n;
}

static void use(soma__slot *s, int first, int last) {
    s->first = s->first < 0 ? first : SOMA_MIN(s->first, first);
    s->last = SOMA_MAX(s->last, last);
}

static void mark_uses(soma__tape *t) {
    for (int k = 0; k < t->n_slots; k++)
        t->slots[k].first = t->slots[k].last = -1;
    for (int i = 0; i < t->n_calls; i++) {
        const soma__call *c = &t->calls[i];
        for (int k = 0; k < c->a.n_in; k++)
            if (c->a.in[k])
                use(slot_at(t, c->a.in[k]), i, i);
        for (int k = 0; k < c->a.n_out; k++)
            use(slot_at(t, c->a.out[k]), i, i);
    }
}

/* ---- Chains ---- */

static bool lies_alike(const soma__view *a, const soma__view *b) {
    const soma_tensor *s = &a->t, *t = &b->t;
    return a->offset == b->offset && s->numel == t->numel && soma_dtype_size((soma_dtype)s->dtype) == soma_dtype_size((soma_dtype)t->dtype) &&
           ((soma__contiguous(s) && soma__contiguous(t)) ||
            (soma__same_shape(s, t) && memcmp(s->stride, t->stride, (size_t)s->ndim * sizeof *s->stride) == 0));
}

/* Whether call c can run tile by tile with those from `first` on: memory that one of them writes must be seen by all in the same way. */
static bool joins(const soma__tape *t, int first, int i) {
    const soma__call *c = &t->calls[i];
    if (!c->row || c->operand[0]->t.numel != t->calls[first].operand[0]->t.numel)
        return false;
    for (int j = first; j < i; j++) {
        const soma__call *d = &t->calls[j];
        for (int k = 0; k < c->n; k++)
            for (int m = 0; m < d->n; m++)
                if ((k == 0 || m == 0) && c->operand[k]->slot == d->operand[m]->slot && !lies_alike(c->operand[k], d->operand[m]))
                    return false;
    }
    return true;
}

/* A value that is born, used and dead inside the chain needs room for a tile only. */
static bool stays_inside(const soma__slot *s, const soma__call *writer, int from, int to) {
    return s->kind == SLOT_INNER && !s->kept && s->first >= from && s->last < to &&
           (size_t)writer->operand[0]->t.numel * soma_dtype_size((soma_dtype)writer->operand[0]->t.dtype) == s->place.bytes;
}

/* Hands out the tile's buffers; the chain ends before the call for which there is none left. Returns its end. */
static int give_buffers(soma__tape *t, int from, int to) {
    int owner[SOMA__CHAIN_ROOM];
    for (int b = 0; b < SOMA__CHAIN_ROOM; b++)
        owner[b] = -1;
    for (int i = from; i < to; i++) {
        soma__call *c = &t->calls[i];
        for (int k = c->n - 1; k >= 0; k--) {
            const soma__slot *s = &t->slots[c->operand[k]->slot];
            c->buffer[k] = -1;
            for (int b = 0; b < SOMA__CHAIN_ROOM; b++)
                if (owner[b] == c->operand[k]->slot)
                    c->buffer[k] = (int8_t)b;
            if (k > 0 || c->buffer[0] >= 0 || s->first != i || !stays_inside(s, c, from, to))
                continue;
            int b = 0;
            while (b < SOMA__CHAIN_ROOM && owner[b] >= 0)
                b++;
            if (b == SOMA__CHAIN_ROOM)
                return i; /* the next chain begins here */
            owner[b] = c->operand[0]->slot;
            c->buffer[0] = (int8_t)b;
        }
        for (int b = 0; b < SOMA__CHAIN_ROOM; b++)
            if (owner[b] >= 0 && t->slots[owner[b]].last == i)
                owner[b] = -1;
    }
    return to;
}

static void join_chains(soma__tape *t) {
    for (int i = 0; i < t->n_calls; i++) {
        if (!t->calls[i].row)
            continue;
        int end = i + 1;
        while (end < t->n_calls && joins(t, i, end))
            end++;
        for (int given; (given = give_buffers(t, i, end)) < end;)
            end = given;
        t->calls[i].chain = end - i;
        for (int j = i; j < end; j++)
            for (int k = 0; k < t->calls[j].n; k++) {
                soma__slot *s = &t->slots[t->calls[j].operand[k]->slot];
                use(s, i, end - 1);
            }
        i = end - 1;
    }
}

static bool in_buffers(const soma__tape *t, int slot) {
    for (int i = t->slots[slot].first; i >= 0 && i <= t->slots[slot].last; i++)
        for (int k = 0; k < t->calls[i].n && t->calls[i].row; k++)
            if (t->calls[i].operand[k]->slot == slot)
                return t->calls[i].buffer[k] >= 0;
    return false;
}

/* ---- Places ---- */

static int by_size(const void *a, const void *b) {
    const soma__span *const *s = a, *const *t = b;
    return (*s)->bytes != (*t)->bytes ? ((*s)->bytes < (*t)->bytes ? 1 : -1) : *s < *t ? -1 : 1;
}

static int by_place(const void *a, const void *b) {
    const soma__span *const *s = a, *const *t = b;
    return ((*s)->at > (*t)->at) - ((*s)->at < (*t)->at);
}

/* The smallest gap that is large enough between those that live at the same time, or behind them all. */
static int64_t best_gap(soma__span **others, int n, int64_t bytes) {
    int64_t end = 0, best = -1, least = INT64_MAX;
    qsort(others, (size_t)n, sizeof *others, by_place);
    for (int i = 0; i < n; i++) {
        int64_t gap = others[i]->at - end;
        if (gap >= bytes && gap < least) {
            least = gap;
            best = end;
        }
        end = SOMA_MAX(end, others[i]->at + others[i]->bytes);
    }
    return best >= 0 ? best : end;
}

int64_t soma__plan_places(soma__span *s, int n) {
    soma__span **order = soma__calloc(2 * (size_t)n, sizeof *order), **others = order + n;
    int64_t most = 0;
    if (!order)
        return -1;
    for (int i = 0; i < n; i++) {
        s[i].bytes = (s[i].bytes + 63) / 64 * 64;
        order[i] = &s[i];
    }
    qsort(order, (size_t)n, sizeof *order, by_size);
    for (int i = 0; i < n; i++) {
        int m = 0;
        for (int j = 0; j < i; j++)
            if (order[j]->first <= order[i]->last && order[i]->first <= order[j]->last)
                others[m++] = order[j];
        order[i]->at = best_gap(others, m, order[i]->bytes);
        most = SOMA_MAX(most, order[i]->at + order[i]->bytes);
    }
    soma__free(order);
    return most;
}

static bool give_places(soma__tape *t) {
    soma__span *s = soma__calloc((size_t)(t->n_slots + t->n_calls), sizeof *s);
    int n = 0;
    if (!s)
        return false;
    for (int k = 0; k < t->n_slots; k++) {
        soma__slot *slot = &t->slots[k];
        t->inner += slot->kind == SLOT_INNER ? (int64_t)slot->place.bytes : 0;
        slot->planned = slot->kind == SLOT_INNER && !slot->kept && slot->first >= 0 && !in_buffers(t, k);
        if (slot->planned)
            s[n++] = (soma__span){slot->first, slot->last, SOMA_MAX((int64_t)slot->place.bytes, 1), 0};
    }
    int64_t work = 0;
    for (int i = 0; i < t->n_calls; i++) {
        int64_t bytes = (int64_t)t->calls[i].a.work_bytes;
        work = SOMA_MAX(work, bytes);
        if (bytes > 0)
            s[n++] = (soma__span){i, i, bytes, 0};
    }
    t->inner += work;
    t->arena = soma__plan_places(s, n);
    n = 0;
    for (int k = 0; k < t->n_slots; k++)
        if (t->slots[k].planned)
            t->slots[k].at = s[n++].at;
    for (int i = 0; i < t->n_calls; i++)
        if (t->calls[i].a.work_bytes > 0)
            t->calls[i].work_at = s[n++].at;
    soma__free(s);
    return t->arena >= 0;
}

bool soma__plan(soma__tape *t) {
    int all = t->n_calls;
    mark_live(t);
    t->dropped = all - t->n_calls;
    mark_touched(t);
    mark_uses(t);
    join_chains(t);
    return give_places(t);
}
