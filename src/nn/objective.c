/* What networks that learn to give back their input are trained by, where that is not the loss of what they give back. */
#include "nn/nn.h"

soma_module *soma__nn_find(soma_module *m, const soma_module_class *cls) {
    soma_module *found = m && m->cls == cls ? m : NULL;
    for (int i = 0; m && i < m->n_children && !found; i++)
        found = soma__nn_find(m->children[i], cls);
    return found;
}

/* Contrastive divergence on units that are on with the probability of their value. */
static soma_tensor *boltzmann(soma_module *rbm, soma_tensor *x) {
    soma_tensor *on = soma_to(soma_lt(soma_rand(soma_ndim(x), soma_shape(x), soma_dtype_of(x)), x), soma_dtype_of(x));
    return soma_rbm_loss(rbm, on, 1, NULL);
}

soma_tensor *soma__nn_objective(soma_module *m, soma_tensor *x, soma_tensor *loss) {
    soma_module *rbm = soma__nn_find(m, &soma__nn_rbm_class);
    soma_tensor *mu, *logvar;
    if (!loss)
        return NULL;
    if (rbm && soma_nn_count(m) == soma_nn_count(rbm))
        return boltzmann(rbm, x);
    if (!soma__nn_find(m, &soma__nn_variational_class))
        return loss;
    if (soma_nn_latent(m, &mu, &logvar) != SOMA_OK)
        return NULL;
    /* The loss is a mean over all numbers of the batch, so the divergence is too. */
    soma_tensor *divergence = soma_gaussian_kl(mu, logvar, .reduction = SOMA_SUM);
    return soma_add(loss, soma_mul_scalar(divergence, 1.0 / (double)soma_numel(x)));
}
