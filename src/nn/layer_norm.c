/* Normalisation: batch norm over [N, C, …] with running statistics, layer norm over the last dimension. */
#include "nn/nn.h"

static bool affine_made(soma_module *m) { return soma__nn_slot(m, "weight") && soma__nn_slot(m, "bias"); }

static bool batch_made(soma_module *m) {
    return affine_made(m) && soma__nn_slot(m, "running_mean") && soma__nn_slot(m, "running_var") &&
           soma__nn_slot(m, "num_batches_tracked");
}

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    (void)m;
    *in = ndim == 1 ? shape[0] : 0;
    return ndim == 1;
}

static soma_status layer_make(soma_module *m, const int64_t *in) {
    soma__nn_new_param(m, "weight", SOMA_SHAPE(in[0]));
    soma__nn_new_param(m, "bias", SOMA_SHAPE(in[0]));
    if (!soma__failed())
        ((soma__nn_features_state *)m->state)->features = in[0];
    return soma__ctx()->error;
}

static soma_status batch_make(soma_module *m, const int64_t *in) {
    layer_make(m, in);
    soma_nn_add_buffer(m, "running_mean", soma_zeros(SOMA_SHAPE(in[0]), m->dtype));
    soma_nn_add_buffer(m, "running_var", soma_ones(SOMA_SHAPE(in[0]), m->dtype));
    soma_nn_add_buffer(m, "num_batches_tracked", soma_zeros(SOMA_SCALAR, SOMA_I64));
    return soma__ctx()->error;
}

static void reset(soma_module *m) {
    static const struct {
        const char *name;
        double value;
    } fills[] = {{"weight", 1}, {"bias", 0}, {"running_mean", 0}, {"running_var", 1}, {"num_batches_tracked", 0}};
    for (size_t i = 0; i < SOMA_LEN(fills); i++) {
        soma_tensor *t = soma__nn_slot(m, fills[i].name);
        if (t)
            soma_init_constant_(t, fills[i].value);
    }
}

/* Makes what is missing, and says when `size` features do not fit. */
static bool ready(soma_module *m, soma_tensor *x, int64_t size) {
    if (size < 1) {
        soma_fail(SOMA_ESHAPE, "the input has no features");
        return false;
    }
    if (!soma__nn_ready(m, &size))
        return false;
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (soma_numel(weight) == size)
        return true;
    soma__nn_fail_fit(x, weight);
    return false;
}

static soma_tensor *batch_forward(soma_module *m, soma_tensor *const *in, int n) {
    if (!soma__nn_one_input(m, in, n, 2, 0) || !ready(m, in[0], soma_size(in[0], 1)))
        return NULL;
    bool learns = soma__nn_learns(m);
    soma_tensor *y = soma_batch_norm(in[0], soma__nn_slot(m, "weight"), soma__nn_slot(m, "bias"), soma__nn_slot(m, "running_mean"),
                                     soma__nn_slot(m, "running_var"), learns, 0.1, 1e-5);
    if (y && learns) {
        soma_tensor *count = soma__nn_slot(m, "num_batches_tracked");
        if (soma_dtype_of(count) == SOMA_I64 && soma_numel(count) == 1) {
            ++*(int64_t *)soma_data(count);
            soma_touch(count);
        }
    }
    return y;
}

static soma_tensor *layer_forward(soma_module *m, soma_tensor *const *in, int n) {
    if (!soma__nn_one_input(m, in, n, 1, 0) || !ready(m, in[0], soma_size(in[0], -1)))
        return NULL;
    return soma_layer_norm(in[0], 1, soma__nn_slot(m, "weight"), soma__nn_slot(m, "bias"), 1e-5);
}

const soma_module_class soma__nn_batch_norm_class = {
    .size = sizeof(soma_module_class), .name = "BatchNorm", .state_bytes = sizeof(soma__nn_features_state),
    .forward = batch_forward, .describe = soma__nn_describe_word, .reset = reset,
};
const soma_module_class soma__nn_layer_norm_class = {
    .size = sizeof(soma_module_class), .name = "LayerNorm", .state_bytes = sizeof(soma__nn_features_state),
    .forward = layer_forward, .describe = soma__nn_describe_word, .reset = reset,
};
static const soma__nn_lazy batch_lazy = {
    .cls = &soma__nn_batch_norm_class, .sizes_of = sizes_of, .make = batch_make, .made = batch_made, .keeps_fill = true,
};
static const soma__nn_lazy layer_lazy = {
    .cls = &soma__nn_layer_norm_class, .sizes_of = sizes_of, .make = layer_make, .made = affine_made, .keeps_fill = true,
};

static soma_module *norm_new(const soma__nn_lazy *lazy, int64_t features) {
    if (!soma__nn_size_ok(lazy->cls->name, "features", features, true))
        return NULL;
    soma_module *m = soma__nn_lazy_new(lazy);
    if (m)
        ((soma__nn_features_state *)m->state)->features = features;
    return soma__nn_settled(m);
}

soma_module *soma_nn_batch_norm(int64_t channels) { return norm_new(&batch_lazy, channels); }
soma_module *soma_nn_layer_norm(int64_t features) { return norm_new(&layer_lazy, features); }
