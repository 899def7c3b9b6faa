/* Positions added to a sequence [batch, steps, features], and what makes one row of many steps. */
#include "nn/sequence.h"

#include <math.h>

static bool sequence_ok(const soma_module *m, soma_tensor *const *in, int n) {
    if (!soma__nn_one_input(m, in, n, 1, 0))
        return false;
    if (soma_ndim(in[0]) == 3)
        return true;
    char x[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "input %s must be [batch, steps, features]", soma__shape_text(soma_ndim(in[0]), soma_shape(in[0]), x, sizeof x));
    return false;
}

/* The position of the first step: in decoding behind those that were. */
static int64_t begin(const soma_module *m, int64_t steps) {
    soma__nn_memory *memory = soma__nn_memory_of(m);
    int64_t from = memory ? memory->steps : 0;
    if (memory)
        memory->steps += steps;
    return from;
}

static soma_tensor *sinusoidal_forward(soma_module *m, soma_tensor *const *in, int n) {
    if (!sequence_ok(m, in, n))
        return NULL;
    int64_t steps = soma_size(in[0], 1);
    return soma_add(in[0], soma_sinusoidal_positions(steps, soma_size(in[0], 2), begin(m, steps), 0, soma_dtype_of(in[0])));
}

const soma_module_class soma__nn_sinusoidal_class = {
    .size = sizeof(soma_module_class), .name = "SinusoidalPosition", .forward = sinusoidal_forward, .describe = soma__nn_describe_word,
};

soma_module *soma_nn_sinusoidal_position(void) { return soma_nn_module_new(&soma__nn_sinusoidal_class); }

/* ---- Learned -------------------------------------------------------------------------------------------------------- */

static bool made(soma_module *m) { return soma__nn_slot(m, "weight") != NULL; }

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    *in = ndim == 2 ? shape[1] : 0;
    return ndim == 2 && shape[0] == ((soma__nn_position_state *)m->state)->steps;
}

static soma_status make(soma_module *m, const int64_t *in) {
    soma__nn_position_state *s = m->state;
    if (soma__nn_new_param(m, "weight", SOMA_SHAPE(s->steps, in[0])))
        s->features = in[0];
    return soma__ctx()->error;
}

static void reset(soma_module *m) {
    if (made(m))
        soma_init_normal_(soma__nn_slot(m, "weight"), 0, ((soma__nn_position_state *)m->state)->std);
}

static soma_tensor *learned_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_position_state *s = m->state;
    if (!sequence_ok(m, in, n))
        return NULL;
    int64_t steps = soma_size(in[0], 1), features = soma_size(in[0], 2);
    if (!soma__nn_ready(m, &features))
        return NULL;
    int64_t from = begin(m, steps);
    if (from + steps > s->steps) {
        soma_fail(SOMA_ESHAPE, "step %lld is beyond the %lld positions that were learned", (long long)(from + steps - 1), (long long)s->steps);
        return NULL;
    }
    return soma_add(in[0], soma_slice(soma__nn_slot(m, "weight"), 0, from, from + steps, 1));
}

const soma_module_class soma__nn_learned_position_class = {
    .size = sizeof(soma_module_class), .name = "LearnedPosition", .state_bytes = sizeof(soma__nn_position_state),
    .forward = learned_forward, .describe = soma__nn_describe_word, .reset = reset,
};
static const soma__nn_lazy lazy = {.cls = &soma__nn_learned_position_class, .sizes_of = sizes_of, .make = make, .made = made};

soma_module *soma_nn_learned_position(int64_t max_steps, int64_t features, double std) {
    if (!soma__nn_size_ok("LearnedPosition", "max_steps", max_steps, false) || !soma__nn_size_ok("LearnedPosition", "features", features, true))
        return NULL;
    soma_module *m = soma__nn_lazy_new(&lazy);
    if (m)
        *(soma__nn_position_state *)m->state = (soma__nn_position_state){features, max_steps, std == 0 ? 0.02 : std};
    return soma__nn_settled(m);
}

/* ---- Over time -------------------------------------------------------------------------------------------------------- */

static soma_tensor *over_time_forward(soma_module *m, soma_tensor *const *in, int n) {
    static const int64_t time = 1;
    if (!sequence_ok(m, in, n))
        return NULL;
    if (soma_size(in[0], 1) < 1) {
        soma_fail(SOMA_ESHAPE, "the sequence has no steps");
        return NULL;
    }
    switch (((soma__nn_position_state *)m->state)->steps) {
    case SOMA_TIME_MEAN: return soma_mean(in[0], 1, &time, false);
    case SOMA_TIME_MAX: return soma_amax(in[0], 1, &time, false);
    default: return soma_select(in[0], 1, -1);
    }
}

const soma_module_class soma__nn_over_time_class = {
    .size = sizeof(soma_module_class), .name = "OverTime", .state_bytes = sizeof(soma__nn_position_state), .forward = over_time_forward,
    .describe = soma__nn_describe_word,
};

soma_module *soma_nn_over_time(soma_over_time how) {
    if (how != SOMA_TIME_MEAN && how != SOMA_TIME_MAX && how != SOMA_TIME_LAST) {
        soma_fail(SOMA_EINVAL, "OverTime: there are mean, max and last, not %d", (int)how);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(&soma__nn_over_time_class);
    if (m)
        ((soma__nn_position_state *)m->state)->steps = how;
    return m;
}

/* ---- Convolution over time: [batch, steps, features] -> [batch, steps', out] --------------------------------------------- */

static bool conv_made(soma_module *m) { return soma__nn_slot(m, "weight") && soma__nn_slot(m, "bias"); }

static bool conv_sizes(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const soma__nn_time_conv_state *s = m->state;
    *in = ndim == 3 ? shape[1] : 0;
    return ndim == 3 && shape[0] == s->out && shape[2] == s->window;
}

static soma_status conv_make(soma_module *m, const int64_t *in) {
    soma__nn_time_conv_state *s = m->state;
    soma__nn_new_param(m, "weight", SOMA_SHAPE(s->out, in[0], s->window));
    soma__nn_new_param(m, "bias", SOMA_SHAPE(s->out));
    if (!soma__failed())
        s->in = in[0];
    return soma__ctx()->error;
}

static void conv_reset(soma_module *m) {
    const soma__nn_time_conv_state *s = m->state;
    double bound = s->in > 0 ? 1 / sqrt((double)s->in * (double)s->window) : 0;
    for (int i = 0; i < m->n_slots; i++)
        soma_init_uniform_(m->slots[i].tensor, -bound, bound);
}

static soma_tensor *conv_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_time_conv_state *s = m->state;
    if (!sequence_ok(m, in, n))
        return NULL;
    int64_t features = soma_size(in[0], 2);
    if (!soma__nn_ready(m, &features))
        return NULL;
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (soma_size(weight, 1) != features) {
        soma__nn_fail_fit(in[0], weight);
        return NULL;
    }
    soma_conv_opts o = {.padding = {s->pad}, .size = sizeof o};
    return soma_transpose(soma_conv1d_ex(soma_transpose(in[0], 1, 2), weight, soma__nn_slot(m, "bias"), &o), 1, 2);
}

const soma_module_class soma__nn_time_conv_class = {
    .size = sizeof(soma_module_class), .name = "TimeConv", .state_bytes = sizeof(soma__nn_time_conv_state), .forward = conv_forward,
    .describe = soma__nn_describe_word, .reset = conv_reset,
};
static const soma__nn_lazy conv_lazy = {
    .cls = &soma__nn_time_conv_class, .sizes_of = conv_sizes, .make = conv_make, .made = conv_made,
};

soma_module *soma_nn_time_conv(int64_t in, int64_t out, int64_t window, int64_t padding) {
    if (!soma__nn_size_ok("TimeConv", "in", in, true) || !soma__nn_size_ok("TimeConv", "out", out, false) ||
        !soma__nn_size_ok("TimeConv", "window", window, false) || !soma__nn_size_ok("TimeConv", "padding", padding, true))
        return NULL;
    soma_module *m = soma__nn_lazy_new(&conv_lazy);
    if (m)
        *(soma__nn_time_conv_state *)m->state = (soma__nn_time_conv_state){in, out, window, padding};
    return soma__nn_settled(m);
}
