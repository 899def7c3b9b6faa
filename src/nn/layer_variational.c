/* A variational autoencoder (Kingma & Welling 2014): encoder, two heads for mean and log variance of the code, decoder. */
#include "nn/nn.h"

typedef soma__nn_variational_state state;
enum { ENCODER, MU, LOGVAR, DECODER, PARTS };

static void forget(state *s) {
    soma_release(s->mu);
    soma_release(s->logvar);
    s->mu = s->logvar = NULL;
}

static void destroy(soma_module *m) { forget(m->state); }

/* z = mu + exp(logvar / 2) noise in training (the reparameterisation), mu in eval mode. */
static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) {
    state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 1, 0))
        return NULL;
    if (m->n_children != PARTS) {
        soma_fail(SOMA_ESTATE, "a Variational has an encoder, mu, logvar and a decoder; a part is missing");
        return NULL;
    }
    soma_tensor *h = soma_nn_forward(m->children[ENCODER], in[0]);
    soma_tensor *mu = soma_nn_forward(m->children[MU], h), *logvar = soma_nn_forward(m->children[LOGVAR], h), *z = mu;
    if (soma__failed())
        return NULL;
    if (soma__nn_learns(m)) {
        soma_tensor *noise = soma_randn(soma_ndim(mu), soma_shape(mu), soma_dtype_of(mu));
        z = soma_add(mu, soma_mul(soma_exp(soma_mul_scalar(logvar, 0.5)), noise));
    }
    if (!soma__ctx()->shapes_only) {
        forget(s);
        s->mu = soma_keep(mu);
        s->logvar = soma_keep(logvar);
    }
    return soma_nn_forward(m->children[DECODER], z);
}

const soma_module_class soma__nn_variational_class = {
    .size = sizeof(soma_module_class), .name = "Variational", .state_bytes = sizeof(state), .forward = forward, .destroy = destroy,
    .describe = soma__nn_describe_word,
};

soma_module *soma_nn_variational(int64_t latent, soma_module *encoder, soma_module *decoder) {
    static const char *const names[PARTS] = {"encoder", "mu", "logvar", "decoder"};
    if (!soma__failed() && (!encoder || !decoder))
        soma_fail(SOMA_EINVAL, "Variational: the %s is NULL", encoder ? "decoder" : "encoder");
    soma_module *m = encoder && decoder && soma__nn_size_ok("Variational", "latent", latent, false)
                         ? soma_nn_module_new(&soma__nn_variational_class) : NULL;
    soma_module *parts[PARTS] = {encoder, m ? soma_nn_linear(0, latent) : NULL, m ? soma_nn_linear(0, latent) : NULL, decoder};
    if (m)
        ((state *)m->state)->latent = latent;
    bool ok = m && parts[MU] && parts[LOGVAR];
    for (int i = 0; i < PARTS; i++) {
        if (ok)
            ok = soma_nn_add_child(m, parts[i]->wish ? parts[i]->wish : names[i], parts[i]) != NULL;
        else
            soma_nn_free(parts[i]);
    }
    if (ok)
        return m;
    soma_nn_free(m);
    return NULL;
}

soma_status soma_nn_latent(soma_module *m, soma_tensor **mu, soma_tensor **logvar) {
    if (soma__failed())
        return soma__ctx()->error;
    soma_module *v = soma__nn_find(m, &soma__nn_variational_class);
    if (!v)
        return soma_fail(SOMA_ENOTFOUND, "soma_nn_latent: there is no Variational in this network");
    const state *s = v->state;
    if (!s->mu)
        return soma_fail(SOMA_ESTATE, "soma_nn_latent: the network has not run yet");
    if (mu)
        *mu = s->mu;
    if (logvar)
        *logvar = s->logvar;
    return SOMA_OK;
}
