/* RBM: a restricted Boltzmann machine of binary units, trained by contrastive divergence. Its gradient needs no rule of its own: that of
 * F(data) - F(sample), with the sample held fixed, is the difference of the two sides' statistics (Hinton 2002). */
#include "nn/nn.h"

typedef soma__nn_rbm_state rbm_state;

static bool made(soma_module *m) { return soma__nn_slot(m, "weight") && soma__nn_slot(m, "visible_bias") && soma__nn_slot(m, "hidden_bias"); }

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const rbm_state *s = m->state;
    *in = ndim == 2 ? shape[1] : 0;
    return ndim == 2 && shape[0] == s->hidden;
}

static soma_status make(soma_module *m, const int64_t *in) {
    rbm_state *s = m->state;
    soma__nn_new_param(m, "weight", SOMA_SHAPE(s->hidden, in[0]));
    soma__nn_new_param(m, "visible_bias", SOMA_SHAPE(in[0]));
    soma__nn_new_param(m, "hidden_bias", SOMA_SHAPE(s->hidden));
    if (!soma__failed())
        s->visible = in[0];
    return soma__ctx()->error;
}

/* Hinton's practical guide (2010): small random weights, biases 0. */
static void reset(soma_module *m) {
    soma_init_normal_(soma__nn_slot(m, "weight"), 0, 0.01);
    soma_init_constant_(soma__nn_slot(m, "visible_bias"), 0);
    soma_init_constant_(soma__nn_slot(m, "hidden_bias"), 0);
}

/* Samples as rows [N, visible]; images may come as they are. */
static soma_tensor *rows(soma_module *m, soma_tensor *v) {
    const rbm_state *s = m->state;
    int64_t numbers = v && soma_ndim(v) >= 2 && soma_size(v, 0) > 0 ? soma_numel(v) / soma_size(v, 0) : 0;
    if (!v || soma__failed() || (numbers > 0 && !soma__nn_ready(m, &numbers)))
        return NULL;
    char text[SOMA__SHAPE_TEXT];
    if (soma_ndim(v) < 2 || soma_size(v, 0) * s->visible != soma_numel(v)) {
        soma_fail(SOMA_ESHAPE, "RBM: input %s, expected [N, …] with %lld numbers a sample", soma__shape_text(soma_ndim(v), soma_shape(v), text, sizeof text),
                  (long long)s->visible);
        return NULL;
    }
    return soma_reshape(v, SOMA_SHAPE(soma_size(v, 0), s->visible));
}

static soma_tensor *hidden(soma_module *m, soma_tensor *v) {
    return soma_linear(v, soma__nn_slot(m, "weight"), soma__nn_slot(m, "hidden_bias"));
}
static soma_tensor *visible(soma_module *m, soma_tensor *h) {
    return soma_add(soma_matmul(h, soma__nn_slot(m, "weight")), soma__nn_slot(m, "visible_bias"));
}

static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) {
    soma_tensor *v = soma__nn_one_input(m, in, n, 2, 0) ? rows(m, in[0]) : NULL;
    soma_tensor *back = v ? soma_sigmoid(visible(m, soma_sigmoid(hidden(m, v)))) : NULL;
    return back ? soma_reshape(back, soma_ndim(in[0]), soma_shape(in[0])) : NULL;
}

const soma_module_class soma__nn_rbm_class = {
    .size = sizeof(soma_module_class), .name = "RBM", .state_bytes = sizeof(rbm_state), .forward = forward, .reset = reset,
    .describe = soma__nn_describe_word,
};
static const soma__nn_lazy lazy = {.cls = &soma__nn_rbm_class, .sizes_of = sizes_of, .make = make, .made = made, .keeps_fill = true};

static bool is_rbm(soma_module *m, const char *what) {
    if (soma__failed())
        return false;
    if (m && m->cls == &soma__nn_rbm_class)
        return true;
    soma_fail(SOMA_EINVAL, "%s: takes an RBM, got %s", what, m ? m->cls->name : "NULL");
    return false;
}

soma_module *soma_nn_rbm(int64_t n_visible, int64_t n_hidden) {
    if (!soma__nn_size_ok("RBM", "visible", n_visible, true) || !soma__nn_size_ok("RBM", "hidden", n_hidden, false))
        return NULL;
    soma_module *m = soma__nn_lazy_new(&lazy);
    if (m)
        *(rbm_state *)m->state = (rbm_state){n_visible, n_hidden};
    return soma__nn_settled(m);
}

soma_tensor *soma_rbm_free_energy(soma_module *m, soma_tensor *v) {
    v = is_rbm(m, "rbm_free_energy") ? rows(m, v) : NULL;
    soma_tensor *linear = v ? soma_matmul(v, soma__nn_slot(m, "visible_bias")) : NULL;
    return v ? soma_neg(soma_add(linear, soma_sum(soma_softplus(hidden(m, v)), SOMA_DIMS(1), false))) : NULL;
}

/* Throws a coin for each probability. */
static soma_tensor *throws(soma_tensor *p) {
    return p ? soma_to(soma_lt(soma_rand(soma_ndim(p), soma_shape(p), soma_dtype_of(p)), p), soma_dtype_of(p)) : NULL;
}

soma_tensor *soma_rbm_gibbs(soma_module *m, soma_tensor *v, int64_t steps) {
    v = is_rbm(m, "rbm_gibbs") ? rows(m, v) : NULL;
    bool was = soma_set_grad_enabled(false);
    for (int64_t i = 0; v && i < steps; i++)
        v = throws(soma_sigmoid(visible(m, throws(soma_sigmoid(hidden(m, v))))));
    soma_set_grad_enabled(was);
    return v;
}

soma_tensor *soma_rbm_loss(soma_module *m, soma_tensor *v, int64_t steps, soma_tensor **chain) {
    if (!is_rbm(m, "rbm_loss"))
        return NULL;
    soma_tensor *start = chain && *chain ? *chain : v, *sample = soma_rbm_gibbs(m, start, steps > 0 ? steps : 1);
    if (chain)
        *chain = sample;
    return soma_sub(soma_mean(soma_rbm_free_energy(m, v), SOMA_ALL, false), soma_mean(soma_rbm_free_energy(m, sample), SOMA_ALL, false));
}
