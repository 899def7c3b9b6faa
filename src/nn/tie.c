/* Layers that use another layer's weight (an autoencoder's decoder, the last layer of a language model) or places (unpooling).
 *
 * The other layer is known by its name and looked for at each forward, so that nothing dangles when a part of a network is freed. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

static int count_named(soma_module *at, const char *name, const soma_module *except, soma_module **found) {
    int n = 0;
    for (int i = 0; i < at->n_children; i++) {
        soma_module *child = at->children[i];
        if (child != except && strcmp(child->name, name) == 0) {
            *found = child;
            n++;
        }
        n += count_named(child, name, except, found);
    }
    return n;
}

soma_module *soma__nn_tied_source(const soma_module *m, char *why, size_t size) {
    soma_module *found = NULL;
    int n = 0;
    for (soma_module *up = m->parent; up && n == 0; up = up->parent) /* the nearest: a block that repeats has its own */
        n = count_named(up, m->tied, m, &found);
    if (n == 0)
        snprintf(why, size, "no layer has the name '%s'", m->tied);
    else if (n > 1)
        snprintf(why, size, "%d layers have the name '%s'", n, m->tied);
    else if (m->cls == &soma__nn_max_unpool_class && !soma__nn_has_places(found))
        snprintf(why, size, "the layer '%s' is a %s, and a maxpool with 'places' is needed", m->tied, found->cls->name);
    else if (m->cls == &soma__nn_max_unpool_class)
        return found;
    else if (found->tied)
        snprintf(why, size, "the layer '%s' has no weight of its own: it is tied to '%s'", m->tied, found->tied);
    else if (!found->lazy && !soma__nn_slot(found, "weight"))
        snprintf(why, size, "the layer '%s' is a %s, which has no weight", m->tied, found->cls->name);
    else
        return found;
    return NULL;
}

soma_tensor *soma__nn_weight(soma_module *m, soma_module **from) {
    *from = NULL;
    if (!m->tied)
        return soma__nn_slot(m, "weight");
    char why[200];
    soma_module *source = soma__nn_tied_source(m, why, sizeof why);
    soma_tensor *weight = source ? soma__nn_slot(source, "weight") : NULL;
    if (!source)
        soma_fail(SOMA_EINVAL, "tied to '%s': %s", m->tied, why);
    else if (!weight)
        soma_fail(SOMA_ESTATE, "tied to '%s', whose weight is not made yet: it comes later in the network", m->tied);
    *from = source;
    return weight;
}

soma_status soma_nn_tie(soma_module *m, const char *name) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!m || !name || !name[0])
        return soma_fail(SOMA_EINVAL, "soma_nn_tie: the module or the name is NULL or empty");
    const soma__nn_word *w;
    bool may = false;
    for (int i = 0; (w = soma__nn_word_at(i)) != NULL; i++)
        may = may || (w->cls == m->cls && w->may_tie);
    if (!may)
        return soma_fail(SOMA_EINVAL, "soma_nn_tie: a %s cannot use another layer's weight", m->cls->name);
    char *copy = soma__strdup(name);
    if (!copy)
        return soma__ctx()->error;
    soma__free(m->tied);
    m->tied = copy;
    soma__nn_remove_slot(m, "weight");
    return SOMA_OK;
}
