/* Layers that disturb their input while training: whole channels left out, alpha dropout, noise. */
#include "nn/nn.h"

#include <math.h>

typedef soma__nn_drop_state state;

/* 0 with probability p and else 1 / (1 - p), a number for each channel of each sample, or for each element. */
static soma_tensor *mask(const state *s, soma_tensor *x, bool channels) {
    int64_t shape[SOMA_MAX_DIMS];
    for (int i = 0; i < soma_ndim(x); i++)
        shape[i] = i < 2 || !channels ? soma_size(x, i) : 1;
    return soma_dropout(soma_ones(soma_ndim(x), shape, soma_dtype_of(x)), s->a, true);
}

static soma_tensor *channel_forward(soma_module *m, soma_tensor *const *in, int n, int ndim) {
    const state *s = m->state;
    if (!soma__nn_one_input(m, in, n, ndim, ndim))
        return NULL;
    return soma__nn_learns(m) && s->a > 0 ? soma_mul(in[0], mask(s, in[0], true)) : in[0];
}

/* Keeps mean 0 and variance 1 of what SELU makes: what is left out becomes SELU's lowest value, and all is scaled back. */
static soma_tensor *alpha_forward(soma_module *m, soma_tensor *const *in, int n, bool channels) {
    const state *s = m->state;
    const double low = 1.7580993408473766; /* alpha lambda of SELU, Klambauer et al. 2017 */
    if (!soma__nn_one_input(m, in, n, channels ? 2 : 0, 0))
        return NULL;
    if (!soma__nn_learns(m) || s->a == 0)
        return in[0];
    if (s->a == 1)
        return soma_mul_scalar(in[0], 0);
    double a = 1 / sqrt((low * low * s->a + 1) * (1 - s->a));
    soma_tensor *kept = soma_mul_scalar(mask(s, in[0], channels), 1 - s->a); /* 0 or 1 */
    soma_tensor *shift = soma_add_scalar(soma_mul_scalar(soma_add_scalar(kept, -1), low * a), low * a * s->a);
    return soma_add(soma_mul(in[0], soma_mul_scalar(kept, a)), shift);
}

static soma_tensor *noise_forward(soma_module *m, soma_tensor *const *in, int n) {
    const state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 0, 0))
        return NULL;
    if (!soma__nn_learns(m) || s->a == 0)
        return in[0];
    soma_tensor *noise = soma_randn(soma_ndim(in[0]), soma_shape(in[0]), soma_dtype_of(in[0]));
    return soma_add(in[0], soma_mul_scalar(noise, s->a));
}

#define CLASS(id, shown, call)                                                                                       \
    static soma_tensor *id##_run(soma_module *m, soma_tensor *const *in, int n) { return call; }                    \
    const soma_module_class soma__nn_##id##_class = {                                                                \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(state), .forward = id##_run,         \
        .describe = soma__nn_describe_word,                                                                          \
    };
CLASS(dropout1d, "Dropout1d", channel_forward(m, in, n, 3))
CLASS(dropout2d, "Dropout2d", channel_forward(m, in, n, 4))
CLASS(dropout3d, "Dropout3d", channel_forward(m, in, n, 5))
CLASS(alpha_dropout, "AlphaDropout", alpha_forward(m, in, n, false))
CLASS(feature_alpha_dropout, "FeatureAlphaDropout", alpha_forward(m, in, n, true))
CLASS(noise, "Noise", noise_forward(m, in, n))

static soma_module *drop_new(const soma_module_class *cls, double p) {
    if (!(p >= 0 && p <= 1)) {
        soma_fail(SOMA_EINVAL, "%s: the probability must be from 0 to 1, not %g", cls->name, p);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(cls);
    if (m)
        ((state *)m->state)->a = p;
    return m;
}

soma_module *soma_nn_dropout1d(double p) { return drop_new(&soma__nn_dropout1d_class, p); }
soma_module *soma_nn_dropout2d(double p) { return drop_new(&soma__nn_dropout2d_class, p); }
soma_module *soma_nn_dropout3d(double p) { return drop_new(&soma__nn_dropout3d_class, p); }
soma_module *soma_nn_alpha_dropout(double p) { return drop_new(&soma__nn_alpha_dropout_class, p); }
soma_module *soma_nn_feature_alpha_dropout(double p) { return drop_new(&soma__nn_feature_alpha_dropout_class, p); }

soma_module *soma_nn_noise(double std) {
    if (!(std >= 0) || isinf(std)) {
        soma_fail(SOMA_EINVAL, "Noise: the standard deviation must be a number from 0 on, not %g", std);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(&soma__nn_noise_class);
    if (m)
        ((state *)m->state)->a = std;
    return m;
}
