/* soma_capture: one list for each signature. */
#include "capture/capture.h"

enum { MOST = 8 };

struct soma_capture {
    soma_step_fn step;
    void *user;
    soma__tape *tapes[MOST];
    int n;
    uint64_t runs;
    int64_t recorded, replayed;
};

soma_capture *soma_capture_new(soma_step_fn step, void *user) {
    if (soma__failed())
        return NULL;
    if (!step) {
        soma_fail(SOMA_EINVAL, "soma_capture_new: the step is NULL");
        return NULL;
    }
    soma_capture *c = soma__calloc(1, sizeof *c);
    if (c) {
        c->step = step;
        c->user = user;
    }
    return c;
}

static void drop(soma_capture *c, int i) {
    soma__tape_free(c->tapes[i]);
    c->tapes[i] = c->tapes[--c->n];
}

void soma_capture_free(soma_capture *c) {
    while (c && c->n > 0)
        drop(c, c->n - 1);
    soma__free(c);
}

static bool check(const soma_capture *c, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    if (!c || n_in < 0 || n_out < 0 || (n_in > 0 && !in) || (n_out > 0 && !out)) {
        soma_fail(SOMA_EINVAL, "soma_capture_run: the capture, the inputs or the room for results are NULL");
        return false;
    }
    if (soma__ctx()->recorder || soma__ctx()->shapes_only) {
        soma_fail(SOMA_ESTATE, "soma_capture_run: called in a step that is being captured, or in a run over shapes");
        return false;
    }
    for (int i = 0; i < n_in; i++) {
        if (in[i] && !in[i]->dead && in[i]->storage && soma__settle(in[i]))
            continue;
        soma_fail(SOMA_EINVAL, "soma_capture_run: input %d is NULL, has no values, or its scope has ended", i);
        return false;
    }
    return true;
}

static bool record(soma_capture *c, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    int oldest = 0;
    for (int i = c->n - 1; i >= 0; i--) /* those before the settings changed will not fit again */
        if (c->tapes[i]->setup != soma__setup())
            drop(c, i);
    for (int i = 1; i < c->n; i++)
        oldest = c->tapes[i]->used < c->tapes[oldest]->used ? i : oldest;
    soma__tape *t = soma__record(c->step, c->user, in, n_in, out, n_out);
    if (!t)
        return false;
    if (c->n == MOST)
        drop(c, oldest);
    t->used = c->runs;
    c->tapes[c->n++] = t;
    c->recorded++;
    return true;
}

soma_status soma_capture_run(soma_capture *c, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    for (int i = 0; i < n_out && out; i++)
        out[i] = NULL;
    if (soma__failed() || !check(c, in, n_in, out, n_out))
        return soma__ctx()->error;
    c->runs++;
    for (int i = 0; i < c->n; i++) {
        soma__tape *t = c->tapes[i];
        if (t->n_out != n_out || !soma__tape_fits(t, in, n_in))
            continue;
        t->used = c->runs;
        c->replayed++;
        if (!soma__replay(t, in, out))
            for (int k = 0; k < n_out; k++)
                out[k] = NULL;
        return soma__ctx()->error;
    }
    record(c, in, n_in, out, n_out);
    return soma__ctx()->error;
}

soma_capture_info soma_capture_stats(const soma_capture *c) {
    soma_capture_info info = {0};
    if (!c)
        return info;
    info.recorded = c->recorded;
    info.replayed = c->replayed;
    for (int i = 0; i < c->n; i++) {
        const soma__tape *t = c->tapes[i];
        info.calls += t->n_calls;
        info.dropped += t->dropped;
        for (int k = 0; k < t->n_calls; k++)
            info.chained += t->calls[k].chain > 1 ? t->calls[k].chain : 0;
        info.bytes = SOMA_MAX(info.bytes, t->arena);
        info.bytes_apart = SOMA_MAX(info.bytes_apart, t->inner);
    }
    return info;
}
