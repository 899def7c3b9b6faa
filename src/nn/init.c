/* Initialisers: fills in place, without recording. Fans as PyTorch's: [out, in, window…]. */
#include "nn/nn.h"

#include <math.h>
#include <string.h>

static soma_tensor *filled(soma_tensor *t, bool grad) {
    soma_set_grad_enabled(grad);
    return soma__failed() ? NULL : t;
}

soma_tensor *soma_init_constant_(soma_tensor *t, double value) {
    bool grad = soma_set_grad_enabled(false);
    soma_fill_(t, value);
    return filled(t, grad);
}

soma_tensor *soma_init_uniform_(soma_tensor *t, double low, double high) {
    bool grad = soma_set_grad_enabled(false);
    soma_uniform_(t, low, high);
    return filled(t, grad);
}

soma_tensor *soma_init_normal_(soma_tensor *t, double mean, double std) {
    bool grad = soma_set_grad_enabled(false);
    soma_normal_(t, mean, std);
    return filled(t, grad);
}

static bool fans(soma_tensor *t, double *in, double *out) {
    if (!t)
        return false;
    int ndim = soma_ndim(t);
    if (ndim < 2) {
        char text[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "a fan needs at least two dimensions, and this tensor is %s",
                  soma__shape_text(ndim, soma_shape(t), text, sizeof text));
        return false;
    }
    double window = 1;
    for (int i = 2; i < ndim; i++)
        window *= (double)soma_size(t, i);
    *out = (double)soma_size(t, 0) * window;
    *in = (double)soma_size(t, 1) * window;
    return true;
}

soma_tensor *soma_init_xavier_uniform_(soma_tensor *t, double gain) {
    double in, out;
    if (!fans(t, &in, &out))
        return NULL;
    double bound = (gain == 0 ? 1 : gain) * sqrt(6.0 / fmax(in + out, 1));
    return soma_init_uniform_(t, -bound, bound);
}

soma_tensor *soma_init_xavier_normal_(soma_tensor *t, double gain) {
    double in, out;
    if (!fans(t, &in, &out))
        return NULL;
    return soma_init_normal_(t, 0, (gain == 0 ? 1 : gain) * sqrt(2.0 / fmax(in + out, 1)));
}

soma_tensor *soma_init_kaiming_uniform_(soma_tensor *t, double a) {
    double in, out;
    if (!fans(t, &in, &out))
        return NULL;
    double bound = sqrt(6.0 / ((1 + a * a) * fmax(in, 1)));
    return soma_init_uniform_(t, -bound, bound);
}

soma_tensor *soma_init_kaiming_normal_(soma_tensor *t, double a) {
    double in, out;
    if (!fans(t, &in, &out))
        return NULL;
    return soma_init_normal_(t, 0, sqrt(2.0 / ((1 + a * a) * fmax(in, 1))));
}

/* ---- Whole networks ---- */

enum { DEFAULT, ZEROS, XAVIER, XAVIER_NORMAL, KAIMING, KAIMING_NORMAL, NORMAL };
static const char *const names[] = {"default", "zeros", "xavier", "xavier_normal", "kaiming", "kaiming_normal", "normal"};

static void fill(soma_tensor *t, int how) {
    switch (how) {
    case ZEROS: soma_init_constant_(t, 0); break;
    case XAVIER: soma_init_xavier_uniform_(t, 1); break;
    case XAVIER_NORMAL: soma_init_xavier_normal_(t, 1); break;
    case KAIMING: soma_init_kaiming_uniform_(t, 0); break;
    case KAIMING_NORMAL: soma_init_kaiming_normal_(t, 0); break;
    default: soma_init_normal_(t, 0, 0.01); break;
    }
}

/* Weights are the parameters with at least two dimensions; those of one are biases (0), except where the layer's own filling says
 * otherwise: the scale of a normalisation stays 1. */
static void init(soma_module *m, int how) {
    if (how == DEFAULT || (m->lazy && m->lazy->keeps_fill)) {
        bool grad = soma_set_grad_enabled(false);
        if (m->cls->reset && m->n_slots > 0)
            m->cls->reset(m);
        soma_set_grad_enabled(grad);
    } else {
        for (int i = 0; i < m->n_slots && !soma__failed(); i++) {
            if (m->slots[i].buffer)
                continue;
            if (soma_ndim(m->slots[i].tensor) >= 2)
                fill(m->slots[i].tensor, how);
            else
                soma_init_constant_(m->slots[i].tensor, 0);
        }
    }
    for (int i = 0; i < m->n_children && !soma__failed(); i++)
        init(m->children[i], how);
}

soma_status soma_nn_init(soma_module *m, const char *name) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!m || !name)
        return soma_fail(SOMA_EINVAL, "soma_nn_init: the module or the name is NULL");
    for (int how = 0; how < (int)SOMA_LEN(names); how++) {
        if (strcmp(names[how], name) != 0)
            continue;
        if (soma__nn_all_made(m, "soma_nn_init"))
            init(m, how);
        return soma__ctx()->error;
    }
    const char *near = soma__nearest(name, names, (int)SOMA_LEN(names));
    return soma_fail(SOMA_ENOTFOUND, "unknown initialisation '%.40s'; %s%s%s", name, near ? "did you mean '" : "there are ",
                     near ? near : "default, zeros, xavier, xavier_normal, kaiming, kaiming_normal, normal", near ? "'?" : "");
}
