/* Penalties on what hidden units give: L1 (the sum of |a| a sample, as Keras has it) and the divergence of each unit's mean activity from a
 * small one (kl_sparsity). The outputs are taken where they arise, by a forward hook on the network; the caller's own hook is called too. */
#include "train/train.h"

#include "nn/nn.h"

#include <soma/autograd.h>

static bool is_activation(const soma_module *m) {
    const soma__nn_word *w;
    for (int i = 0; (w = soma__nn_word_at(i)) != NULL; i++)
        if (w->activation && w->cls == m->cls) return true;
    return false;
}

static soma_tensor *penalty(const soma__activity *a, soma_tensor *out) {
    soma_tensor *l1 = NULL, *kl = NULL;
    if (a->l1 > 0) l1 = soma_mul_scalar(soma_sum(soma_abs(out), SOMA_ALL, false), a->l1 / (double)SOMA_MAX(soma_size(out, 0), 1));
    if (a->kl > 0) kl = soma_mul_scalar(soma_kl_sparsity(out, .rho = a->rho), a->kl);
    return l1 && kl ? soma_add(l1, kl) : l1 ? l1 : kl;
}

/* A layer's scope ends before the loss is made: sums are held by references. */
static void hold(soma_tensor **place, soma_tensor *t) {
    if (t) soma_keep(t);
    soma_release(*place);
    *place = t;
}

static void add_last(soma__activity *a) {
    if (a->last) hold(&a->sum, a->sum ? soma_add(a->sum, a->last) : a->last);
    hold(&a->last, NULL);
}

static void collect(void *user, soma_module *m, const char *path, soma_tensor *const *in, int n, soma_tensor *out) {
    soma__activity *a = user;
    if (a->before) a->before(a->before_user, m, path, in, n, out);
    if (!soma_grad_enabled() || !soma_nn_training(a->net)) return;
    if (m == a->net) { /* done; its own output is no hidden one */
        if (a->last_of != out) add_last(a);
        hold(&a->last, NULL);
        hold(&a->last_of, NULL);
    } else if (is_activation(m) && soma_ndim(out) >= 1 && soma_error() == SOMA_OK) {
        add_last(a);
        hold(&a->last, penalty(a, out));
        hold(&a->last_of, out);
    }
}

void soma__activity_begin(soma__activity *a, soma_module *net) {
    if (!(a->l1 > 0 || a->kl > 0)) return;
    a->net = net;
    a->before = net->hook;
    a->before_user = net->hook_user;
    soma_nn_set_hook(net, collect, a);
}

void soma__activity_end(soma__activity *a) {
    if (!a->net) return;
    soma_nn_set_hook(a->net, a->before, a->before_user);
    hold(&a->last, NULL);
    hold(&a->last_of, NULL);
    hold(&a->sum, NULL);
    a->net = NULL;
}

soma_tensor *soma__activity_take(soma__activity *a) {
    /* A sum with 0 is a tensor of the current scope, with the same history. */
    soma_tensor *sum = a->sum ? soma_add_scalar(a->sum, 0) : NULL;
    hold(&a->sum, NULL);
    return sum;
}
