/* Forward, loss and backward of a batch as a captured step, where nothing in them looks at values. Whether that is so shows when the first batch is
 * recorded: if it cannot be, what the attempt has changed (running statistics, random stream, gradients) is put back, and training goes on
 * without, in the same bits. */
#include "train/train.h"

#include "nn/nn.h"

#include <soma/autograd.h>
#include <soma/capture.h>

static bool hooked(const soma_module *m) {
    bool any = m->hook || m->probe;
    for (int i = 0; !any && i < m->n_children; i++) any = hooked(m->children[i]);
    return any;
}

static bool step(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    soma__fit_run *f = user;
    soma_batch b = {.x = in[0], .y = in[1], .count = soma_size(in[0], 0)};
    soma__mixed mixed;
    soma_tensor *total;
    out[0] = soma__fit_loss(f, &b, &mixed, &out[1], &total);
    return n_in == 2 && n_out == 2 && out[0] && soma__fit_backward(f, &b, total) == SOMA_OK;
}

void soma__fit_capture_begin(soma__fit_run *f) {
    const soma_fit_opts *o = &f->o;
    if (o->capture && !(o->mixup > 0 || o->activity_l1 > 0 || o->activity_kl > 0) && !soma_loader_reconstructs(f->train) &&
        !soma_optim_find(soma_optim_name(f->opt))->closure)
        f->capture = soma_capture_new(step, f);
}

void soma__fit_capture_end(soma__fit_run *f) {
    soma_capture_free(f->capture);
    f->capture = NULL;
}

/* ---- The first batch ---- */

typedef struct buffers {
    soma_named *named;
    soma_tensor **copies; /* of the current scope */
    int n;
} buffers;

static bool copy_buffers(soma__fit_run *f, buffers *b) {
    b->n = soma_nn_named(f->net, true, NULL, 0);
    b->named = soma__calloc((size_t)b->n, sizeof(*b->named));
    b->copies = soma__calloc((size_t)b->n, sizeof(soma_tensor *));
    if (!b->named || !b->copies) return false;
    b->n = soma_nn_named(f->net, true, b->named, b->n);
    for (int i = 0; i < b->n; i++) b->copies[i] = soma_clone(b->named[i].tensor);
    return soma_error() == SOMA_OK;
}

static void put_back(soma__fit_run *f, const buffers *b) {
    bool grad = soma_set_grad_enabled(false);
    for (int i = 0; i < b->n; i++) soma_copy_(b->named[i].tensor, b->copies[i]);
    soma_set_grad_enabled(grad);
    soma_nn_zero_grad(f->net);
    soma_rng_set(f->rng);
}

static bool try_first(soma__fit_run *f, soma_tensor *const *in, soma_tensor **out) {
    buffers kept = {0};
    bool ok = copy_buffers(f, &kept) && soma_capture_run(f->capture, in, 2, out, 2) == SOMA_OK, memory = soma_error() == SOMA_ENOMEM;
    if (!ok && !memory) {
        soma_error_clear(); /* should it not be about the capture, it comes again */
        put_back(f, &kept);
    }
    soma__free(kept.named);
    soma__free(kept.copies);
    if (!ok) soma__fit_capture_end(f);
    return ok;
}

bool soma__fit_captured(soma__fit_run *f, const soma_batch *b, soma_tensor **loss, soma_tensor **prediction) {
    soma_tensor *in[2] = {b->x, b->y}, *out[2];
    if (!f->capture || !b->y || b->count != soma_size(b->x, 0) || hooked(f->net)) return false;
    bool first = soma_capture_stats(f->capture).recorded == 0, ok;
    if (first && f->group > 0) return false;
    ok = first ? try_first(f, in, out) : soma_capture_run(f->capture, in, 2, out, 2) == SOMA_OK;
    *loss = ok ? out[0] : NULL;
    *prediction = ok ? out[1] : NULL;
    return ok || soma_error() != SOMA_OK;
}
