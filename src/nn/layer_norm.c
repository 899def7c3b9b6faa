/* Normalisation: batch norm over [N, C, …] with running statistics, layer norm over the last dimension. */
#include "nn/nn.h"

static bool affine_made(soma_module *m) { return soma__nn_slot(m, "weight") && soma__nn_slot(m, "bias"); }

static bool batch_made(soma_module *m) {
    return affine_made(m) && soma__nn_slot(m, "running_mean") && soma__nn_slot(m, "running_var") &&
           soma__nn_slot(m, "num_batches_tracked");
}

static int64_t in_of_weight(soma_module *m, int ndim, const int64_t *shape) {
    (void)m;
    return ndim == 1 ? shape[0] : -1;
}

static soma_status layer_make(soma_module *m, int64_t in) {
    soma__nn_new_param(m, "weight", SOMA_SHAPE(in));
    soma__nn_new_param(m, "bias", SOMA_SHAPE(in));
    if (!soma__failed())
        ((soma__nn_features_state *)m->state)->features = in;
    return soma__ctx()->error;
}

static soma_status batch_make(soma_module *m, int64_t in) {
    layer_make(m, in);
    soma_nn_add_buffer(m, "running_mean", soma_zeros(SOMA_SHAPE(in), SOMA_F32));
    soma_nn_add_buffer(m, "running_var", soma_ones(SOMA_SHAPE(in), SOMA_F32));
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
static bool ready(soma_module *m, soma_tensor *x, int64_t size, const soma__nn_lazy *lazy) {
    if (size < 1) {
        soma_fail(SOMA_ESHAPE, "the input has no features");
        return false;
    }
    if (!lazy->made(m) && soma__nn_materialise(m, lazy, size, true) != SOMA_OK)
        return false;
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (soma_numel(weight) == size)
        return true;
    char xs[SOMA__SHAPE_TEXT], ws[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "input %s does not fit weight %s", soma__shape_text(soma_ndim(x), soma_shape(x), xs, sizeof xs),
              soma__shape_text(soma_ndim(weight), soma_shape(weight), ws, sizeof ws));
    return false;
}

static soma_tensor *batch_forward(soma_module *m, soma_tensor *const *in, int n) {
    if (!soma__nn_one_input(m, in, n, 2, 0) || !ready(m, in[0], soma_size(in[0], 1), &soma__nn_batch_norm_lazy))
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
    if (!soma__nn_one_input(m, in, n, 1, 0) || !ready(m, in[0], soma_size(in[0], -1), &soma__nn_layer_norm_lazy))
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
const soma__nn_lazy soma__nn_batch_norm_lazy = {&soma__nn_batch_norm_class, in_of_weight, batch_make, batch_made};
const soma__nn_lazy soma__nn_layer_norm_lazy = {&soma__nn_layer_norm_class, in_of_weight, layer_make, affine_made};

static soma_module *norm_new(const soma_module_class *cls, int64_t features, const soma__nn_lazy *lazy) {
    if (!soma__nn_size_ok(cls->name, "features", features, true))
        return NULL;
    soma_module *m = soma_nn_module_new(cls);
    if (m && features > 0 && soma__nn_materialise(m, lazy, features, true) != SOMA_OK) {
        soma_nn_free(m);
        return NULL;
    }
    return m;
}

soma_module *soma_nn_batch_norm(int64_t channels) {
    return norm_new(&soma__nn_batch_norm_class, channels, &soma__nn_batch_norm_lazy);
}

soma_module *soma_nn_layer_norm(int64_t features) {
    return norm_new(&soma__nn_layer_norm_class, features, &soma__nn_layer_norm_lazy);
}
