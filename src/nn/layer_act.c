/* Layers without parameters that take each value or one dimension by itself: activations, dropout, identity; and PReLU, whose slopes are learnt.
 * The activations of one expression are lines in activations.def. */
#include "nn/nn.h"

#include <math.h>
#include <string.h>

#define FORWARD(id, operation)                                                                                  \
    static soma_tensor *id##_forward(soma_module *m, soma_tensor *const *in, int n) {                           \
        const soma__nn_act_state *s = m->state;                                                                 \
        soma_tensor *x = n > 0 ? in[0] : NULL;                                                                  \
        (void)s;                                                                                                \
        return soma__nn_one_input(m, in, n, 0, 0) ? (operation) : NULL;                                         \
    }
#define CLASS(id, shown)                                                                                        \
    const soma_module_class soma__nn_##id##_class = {                                                           \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(soma__nn_act_state),            \
        .forward = id##_forward, .describe = soma__nn_describe_word,                                            \
    };
#define A s->a
#define B s->b
#define ACT0(id, shown, word, operation, help) FORWARD(id, operation) CLASS(id, shown)
#define ACT1(id, shown, word, number, ordinary, operation, help) FORWARD(id, operation) CLASS(id, shown)
#define ACT2(id, shown, word, number, ordinary, number2, ordinary2, operation, help) FORWARD(id, operation) CLASS(id, shown)
#include "nn/activations.def"
#undef A
#undef B

FORWARD(threshold, soma_threshold(x, s->a, s->b))
FORWARD(softmax, soma_softmax(x, s->dim))
FORWARD(softmin, soma_softmin(x, s->dim))
FORWARD(log_softmax, soma_log_softmax(x, s->dim))
FORWARD(glu, soma_glu(x, s->dim))
FORWARD(step, soma_step_surrogate(x, s->a, soma__nn_surrogates[s->dim], s->b))
FORWARD(identity, x)
FORWARD(dropout, soma_dropout(x, s->a, soma__nn_learns(m)))
CLASS(threshold, "Threshold")
CLASS(softmax, "Softmax")
CLASS(softmin, "Softmin")
CLASS(log_softmax, "LogSoftmax")
CLASS(glu, "GLU")
CLASS(step, "Step")
CLASS(identity, "Identity")
CLASS(dropout, "Dropout")

const char *const soma__nn_surrogates[] = {"none", "straight_through", "clipped", "triangle", "sigmoid", "fast_sigmoid", "arctan", NULL};

static soma_module *act_new(const soma_module_class *cls, double a, double b, int64_t dim) {
    if (isnan(a) || isnan(b)) {
        soma_fail(SOMA_EINVAL, "%s: an argument is NaN", cls->name);
        return NULL;
    }
    if ((cls == &soma__nn_hardtanh_class && !(a < b)) || (cls == &soma__nn_rrelu_class && !(a <= b))) {
        soma_fail(SOMA_EINVAL, "%s: the lower bound %g must be below the upper bound %g", cls->name, a, b);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(cls);
    if (m)
        *(soma__nn_act_state *)m->state = (soma__nn_act_state){a, b, dim};
    return m;
}

#define ACT0(id, ...) \
    soma_module *soma_nn_##id(void) { return act_new(&soma__nn_##id##_class, 0, 0, 0); }
#define ACT1(id, shown, word, number, ordinary, ...) \
    soma_module *soma_nn_##id(double a) { return act_new(&soma__nn_##id##_class, a == 0 ? (ordinary) : a, 0, 0); }
#define ACT2(id, shown, word, number, ordinary, number2, ordinary2, ...)                                          \
    soma_module *soma_nn_##id##_2(double a, double b) {                                                           \
        bool none = a == 0 && b == 0;                                                                             \
        return act_new(&soma__nn_##id##_class, none ? (ordinary) : a, none ? (ordinary2) : b, 0);                 \
    }
#define soma_nn_rrelu_2 soma_nn_rrelu
#define soma_nn_hardtanh_2 soma_nn_hardtanh
#define soma_nn_softplus_2 soma_nn_softplus_beta
#include "nn/activations.def"

soma_module *soma_nn_softplus(void) { return soma_nn_softplus_beta(0, 0); }

soma_module *soma_nn_dropout(double p) {
    if (!(p >= 0 && p <= 1)) {
        soma_fail(SOMA_EINVAL, "Dropout: the probability must be from 0 to 1, not %g", p);
        return NULL;
    }
    return act_new(&soma__nn_dropout_class, p, 0, 0);
}

soma_module *soma_nn_identity(void) { return act_new(&soma__nn_identity_class, 0, 0, 0); }
soma_module *soma_nn_threshold(double threshold, double value) { return act_new(&soma__nn_threshold_class, threshold, value, 0); }
soma_module *soma_nn_softmax(int64_t dim) { return act_new(&soma__nn_softmax_class, 0, 0, dim); }
soma_module *soma_nn_softmin(int64_t dim) { return act_new(&soma__nn_softmin_class, 0, 0, dim); }
soma_module *soma_nn_log_softmax(int64_t dim) { return act_new(&soma__nn_log_softmax_class, 0, 0, dim); }
soma_module *soma_nn_glu(int64_t dim) { return act_new(&soma__nn_glu_class, 0, 0, dim); }

soma_module *soma_nn_step_surrogate(double threshold, const char *surrogate, double width) {
    int kind = 0;
    while (surrogate && soma__nn_surrogates[kind] && strcmp(surrogate, soma__nn_surrogates[kind]) != 0)
        kind++;
    if (!soma__nn_surrogates[kind] || !(width >= 0)) {
        soma_fail(SOMA_EINVAL, "Step: surrogate '%s' of width %g; expected none, straight_through, clipped, triangle, sigmoid, fast_sigmoid or "
                               "arctan, of a width above 0", surrogate, width);
        return NULL;
    }
    return act_new(&soma__nn_step_class, threshold, width == 0 ? 1 : width, kind);
}
soma_module *soma_nn_step(double threshold) { return soma_nn_step_surrogate(threshold, NULL, 0); }

/* ---- PReLU ---- */

static soma_tensor *prelu_forward(soma_module *m, soma_tensor *const *in, int n) {
    return soma__nn_one_input(m, in, n, 0, 0) ? soma_prelu(in[0], soma__nn_slot(m, "weight")) : NULL;
}

static void prelu_reset(soma_module *m) {
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (weight)
        soma_init_constant_(weight, ((const soma__nn_act_state *)m->state)->a);
}

const soma_module_class soma__nn_prelu_class = {
    .size = sizeof(soma_module_class), .name = "PReLU", .state_bytes = sizeof(soma__nn_act_state),
    .forward = prelu_forward, .describe = soma__nn_describe_word, .reset = prelu_reset,
};

soma_module *soma_nn_prelu(int64_t slopes, double init) {
    if (slopes == 0)
        slopes = 1;
    if (!soma__nn_size_ok("PReLU", "slopes", slopes, false))
        return NULL;
    soma_module *m = act_new(&soma__nn_prelu_class, init == 0 ? 0.25 : init, 0, slopes);
    if (m && soma__nn_new_param(m, "weight", SOMA_SHAPE(slopes)))
        prelu_reset(m);
    if (m && soma__failed()) {
        soma_nn_free(m);
        return NULL;
    }
    return m;
}
