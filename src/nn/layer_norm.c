/* Normalisation: over the batch, over the last dimensions, over groups of channels, over neighbouring channels. */
#include "nn/nn.h"
#include "tensor/tensor.h"

#include "ops/norm_last.h"

#include <math.h>
#include <string.h>

typedef soma__nn_norm_state state;

/* ---- Parameters: weight and bias of `dims` sizes, running statistics ---- */

static bool made(soma_module *m) {
    const state *s = m->state;
    return (!s->affine || soma__nn_slot(m, "weight")) && (!s->bias || soma__nn_slot(m, "bias")) &&
           (!s->track || (soma__nn_slot(m, "running_mean") && soma__nn_slot(m, "running_var") && soma__nn_slot(m, "num_batches_tracked")));
}

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const state *s = m->state;
    for (int i = 0; i < ndim && ndim == s->dims; i++)
        in[i] = shape[i];
    return ndim == s->dims && (s->groups == 0 || shape[0] % s->groups == 0);
}

static soma_status make(soma_module *m, const int64_t *in) {
    state *s = m->state;
    if (s->groups > 0 && in[0] % s->groups != 0)
        return soma_fail(SOMA_ESHAPE, "%lld channels cannot be divided into %lld groups", (long long)in[0], (long long)s->groups);
    if (s->affine)
        soma__nn_new_param(m, "weight", s->dims, in);
    if (s->bias)
        soma__nn_new_param(m, "bias", s->dims, in);
    if (s->track) {
        soma_nn_add_buffer(m, "running_mean", soma_zeros(s->dims, in, m->dtype));
        soma_nn_add_buffer(m, "running_var", soma_ones(s->dims, in, m->dtype));
        soma_nn_add_buffer(m, "num_batches_tracked", soma_zeros(SOMA_SCALAR, SOMA_I64));
    }
    if (!soma__failed())
        memcpy(s->sizes, in, (size_t)s->dims * sizeof *in);
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

/* Makes what is missing, and says when these sizes of the input do not fit. */
static bool ready(soma_module *m, soma_tensor *x, const int64_t *sizes) {
    const state *s = m->state;
    for (int i = 0; i < s->dims && (s->affine || s->track); i++) {
        if (sizes[i] >= 1)
            continue;
        soma_fail(SOMA_ESHAPE, "the input has no features");
        return false;
    }
    if (!soma__nn_ready(m, sizes))
        return false;
    soma_tensor *like = soma__nn_slot(m, "weight");
    like = like ? like : soma__nn_slot(m, "running_mean");
    bool same = !like || soma_ndim(like) == s->dims;
    for (int i = 0; same && like && i < s->dims; i++)
        same = soma_size(like, i) == sizes[i];
    if (!same)
        soma__nn_fail_fit(x, like);
    return same;
}

/* ---- Batch norm ---- */

/* One more batch was seen; what share of it goes into the running statistics. */
static double count_batch(soma_module *m) {
    const state *s = m->state;
    soma_tensor *count = soma__nn_slot(m, "num_batches_tracked");
    if (!count || soma_dtype_of(count) != SOMA_I64 || soma_numel(count) != 1)
        return s->momentum;
    if (s->cumulative && soma__ctx()->recorder)
        soma_fail(SOMA_EUNSUPPORTED, "running statistics without a momentum depend on the number of batches, which cannot be captured");
    soma__count_up(count);
    return s->cumulative ? 1.0 / (double)*(int64_t *)count->data : s->momentum;
}

/* `arg`, if any: relu is behind it, after the sum with *arg unless that is NULL. */
static soma_tensor *batch_run(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    const state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 2, 0) || !ready(m, in[0], soma_shape(in[0]) + 1))
        return NULL;
    bool learns = soma__nn_learns(m), batch = learns || !s->track;
    soma_tensor *weight = soma__nn_slot(m, "weight"), *bias = soma__nn_slot(m, "bias"), *mean = soma__nn_slot(m, "running_mean"),
                *var = soma__nn_slot(m, "running_var"), *y;
    double momentum = s->cumulative && learns && s->track ? count_batch(m) : s->momentum;
    if (arg)
        y = soma__batch_norm_relu(in[0], weight, bias, mean, var, *(soma_tensor **)arg, batch, momentum, s->eps);
    else
        y = soma_batch_norm(in[0], weight, bias, mean, var, batch, momentum, s->eps);
    if (y && learns && s->track && !s->cumulative)
        count_batch(m);
    return y;
}

static soma_tensor *batch_forward(soma_module *m, soma_tensor *const *in, int n) { return batch_run(m, in, n, NULL); }

soma_tensor *soma__nn_batch_norm_relu(soma_module *m, soma_tensor *x, soma_tensor *add) {
    return soma__nn_run(m, &x, 1, batch_run, &add, NULL, 0);
}

bool soma__nn_batch_norm_still(soma_module *m, double *eps) {
    const state *s = m->state;
    *eps = s->eps;
    return s->track && made(m) && !soma__nn_learns(m);
}

/* ---- Instance norm and group norm ---- */

static soma_tensor *instance_forward(soma_module *m, soma_tensor *const *in, int n) {
    const state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 3, 0) || !ready(m, in[0], soma_shape(in[0]) + 1))
        return NULL;
    bool moves = s->track && soma__nn_learns(m), reads = s->track && !moves;
    soma_tensor *mean = moves || reads ? soma__nn_slot(m, "running_mean") : NULL, *var = mean ? soma__nn_slot(m, "running_var") : NULL;
    return soma_instance_norm(in[0], mean, var, soma__nn_slot(m, "weight"), soma__nn_slot(m, "bias"), !reads,
                              s->momentum, s->eps); /* num_batches_tracked stays 0, as in PyTorch */
}

static soma_tensor *group_forward(soma_module *m, soma_tensor *const *in, int n) {
    const state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 2, 0) || !ready(m, in[0], soma_shape(in[0]) + 1))
        return NULL;
    return soma_group_norm(in[0], s->groups, soma__nn_slot(m, "weight"), soma__nn_slot(m, "bias"), s->eps);
}

/* ---- Layer norm and RMS norm: over the last dimensions ---- */

static bool last_ready(soma_module *m, soma_tensor *const *in, int n) {
    const state *s = m->state;
    return soma__nn_one_input(m, in, n, s->dims, 0) && ready(m, in[0], soma_shape(in[0]) + soma_ndim(in[0]) - s->dims);
}

static soma_tensor *layer_forward(soma_module *m, soma_tensor *const *in, int n) {
    const state *s = m->state;
    return last_ready(m, in, n) ? soma_layer_norm(in[0], s->dims, soma__nn_slot(m, "weight"), soma__nn_slot(m, "bias"), s->eps) : NULL;
}

static soma_tensor *rms_forward(soma_module *m, soma_tensor *const *in, int n) {
    const state *s = m->state;
    return last_ready(m, in, n) ? soma_rms_norm(in[0], s->dims, soma__nn_slot(m, "weight"), s->eps) : NULL;
}

static soma_tensor *response_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_response_state *s = m->state;
    return soma__nn_one_input(m, in, n, 3, 0) ? soma_local_response_norm(in[0], s->size, s->alpha, s->beta, s->k) : NULL;
}

/* ---- Classes and constructors ---- */

#define CLASS(id, shown, run)                                                                                         \
    const soma_module_class soma__nn_##id##_class = {                                                                 \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(state), .forward = run,               \
        .describe = soma__nn_describe_word, .reset = reset,                                                           \
    };                                                                                                                \
    static const soma__nn_lazy id##_lazy = {                                                                          \
        .cls = &soma__nn_##id##_class, .tell = {"weight", "running_mean"}, .sizes_of = sizes_of, .make = make,        \
        .made = made, .keeps_fill = true,                                                                             \
    };
CLASS(batch_norm, "BatchNorm", batch_forward)
CLASS(instance_norm, "InstanceNorm", instance_forward)
CLASS(group_norm, "GroupNorm", group_forward)
CLASS(layer_norm, "LayerNorm", layer_forward)
CLASS(rms_norm, "RMSNorm", rms_forward)
const soma_module_class soma__nn_response_norm_class = {
    .size = sizeof(soma_module_class), .name = "LocalResponseNorm", .state_bytes = sizeof(soma__nn_response_state),
    .forward = response_forward, .describe = soma__nn_describe_word,
};

static soma_module *norm_new(const soma__nn_lazy *lazy, int64_t features, state s) {
    const char *type = lazy->cls->name;
    if (!soma__nn_size_ok(type, "features", features, true))
        return NULL;
    if (!(s.eps >= 0) || isinf(s.eps) || !(s.momentum >= 0 && s.momentum <= 1)) {
        soma_fail(SOMA_EINVAL, "%s: eps must be a number from 0 on and momentum one from 0 to 1, not %g and %g", type, s.eps, s.momentum);
        return NULL;
    }
    if (s.dims < 1 || s.dims > SOMA_MAX_DIMS || (s.dims > 1 && features > 0)) {
        soma_fail(SOMA_EINVAL, "%s: %d dimensions; there are 1 to %d, and for more than one their sizes come from the input (features 0)",
                  type, s.dims, SOMA_MAX_DIMS);
        return NULL;
    }
    if (s.groups > 0 && features % s.groups != 0) {
        soma_fail(SOMA_EINVAL, "%s: %lld channels cannot be divided into %lld groups", type, (long long)features, (long long)s.groups);
        return NULL;
    }
    soma_module *m = soma__nn_lazy_new(lazy);
    if (m) {
        *(state *)m->state = s;
        ((state *)m->state)->sizes[0] = features;
    }
    return soma__nn_settled(m);
}

static soma_nn_norm_opts filled(const soma_nn_norm_opts *opts) {
    soma_nn_norm_opts o = opts ? *opts : (soma_nn_norm_opts){.size = sizeof o};
    o.eps = o.eps == 0 ? 1e-5 : o.eps;
    o.momentum = o.momentum == 0 ? 0.1 : o.momentum;
    o.dims = o.dims == 0 ? 1 : o.dims;
    return o;
}

soma_module *soma_nn_batch_norm_ex(int64_t channels, const soma_nn_norm_opts *opts) {
    soma_nn_norm_opts o = filled(opts);
    return norm_new(&batch_norm_lazy, channels,
                    (state){.eps = o.eps, .momentum = o.momentum, .cumulative = o.cumulative, .affine = !o.no_affine,
                            .bias = !o.no_affine && !o.no_bias, .track = !o.no_track, .dims = 1});
}

soma_module *soma_nn_instance_norm_ex(int64_t channels, const soma_nn_norm_opts *opts) {
    soma_nn_norm_opts o = filled(opts);
    return norm_new(&instance_norm_lazy, channels,
                    (state){.eps = o.eps, .momentum = o.momentum, .affine = o.affine,
                            .bias = o.affine && !o.no_bias, .track = o.track, .dims = 1});
}

soma_module *soma_nn_group_norm_ex(int64_t groups, int64_t channels, const soma_nn_norm_opts *opts) {
    soma_nn_norm_opts o = filled(opts);
    if (!soma__nn_size_ok("GroupNorm", "groups", groups, false))
        return NULL;
    return norm_new(&group_norm_lazy, channels,
                    (state){.eps = o.eps, .affine = !o.no_affine, .bias = !o.no_affine && !o.no_bias, .groups = groups, .dims = 1});
}

soma_module *soma_nn_layer_norm_ex(int64_t features, const soma_nn_norm_opts *opts) {
    soma_nn_norm_opts o = filled(opts);
    return norm_new(&layer_norm_lazy, features,
                    (state){.eps = o.eps, .affine = !o.no_affine, .bias = !o.no_affine && !o.no_bias, .dims = o.dims});
}

soma_module *soma_nn_rms_norm_ex(int64_t features, const soma_nn_norm_opts *opts) {
    soma_nn_norm_opts o = filled(opts);
    return norm_new(&rms_norm_lazy, features, (state){.eps = opts ? opts->eps : 0, .affine = !o.no_affine, .dims = o.dims});
}

soma_module *soma_nn_local_response_norm(int64_t size, double alpha, double beta, double k) {
    if (!soma__nn_size_ok("LocalResponseNorm", "size", size, false))
        return NULL;
    soma_module *m = soma_nn_module_new(&soma__nn_response_norm_class);
    if (m)
        *(soma__nn_response_state *)m->state =
            (soma__nn_response_state){size, alpha == 0 ? 1e-4 : alpha, beta == 0 ? 0.75 : beta, k == 0 ? 1 : k};
    return m;
}
