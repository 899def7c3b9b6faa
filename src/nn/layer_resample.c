/* Upsample, and padding by layers of its own. */
#include "nn/nn.h"

#include <math.h>
#include <string.h>

static const char *const modes[] = {"nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic"};

const char *soma__nn_upsample_mode(int mode) { return modes[mode]; }

static soma_tensor *upsample_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_resample_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 3, 5))
        return NULL;
    soma_interpolate_opts o = {.size = {s->size[0], s->size[1], s->size[2]}, .scale_factor = s->scale, .mode = modes[s->mode],
                               .align_corners = s->align, .size_of = sizeof o};
    return soma_interpolate_ex(in[0], &o);
}

const soma_module_class soma__nn_upsample_class = {
    .size = sizeof(soma_module_class), .name = "Upsample", .state_bytes = sizeof(soma__nn_resample_state), .forward = upsample_forward,
    .describe = soma__nn_describe_word,
};

soma_module *soma_nn_upsample_ex(const soma_nn_upsample_opts *opts) {
    soma_nn_upsample_opts o = opts ? *opts : (soma_nn_upsample_opts){0};
    soma__nn_resample_state s = {.scale = o.scale, .align = o.align_corners};
    bool sized = false;
    for (int i = 0; i < 3; i++) {
        if (!soma__nn_size_ok("Upsample", "size", o.size[i], true))
            return NULL;
        s.size[i] = o.size[i];
        sized = sized || o.size[i] > 0;
    }
    if (sized == (o.scale != 0) || !(o.scale >= 0) || isinf(o.scale)) {
        soma_fail(SOMA_EINVAL, "Upsample: either a size or a scale above 0 is needed");
        return NULL;
    }
    const char *mode = o.mode ? o.mode : modes[0];
    for (s.mode = 0; s.mode < (int)SOMA_LEN(modes) && strcmp(modes[s.mode], mode) != 0; s.mode++) {}
    if (s.mode == (int)SOMA_LEN(modes) || (s.align && s.mode < 2)) {
        soma_fail(SOMA_EINVAL, s.mode < 2 ? "Upsample: '%s' has no align_corners"
                                          : "Upsample: unknown mode '%.40s'; there are nearest, nearest-exact, linear, bilinear, trilinear, bicubic",
                  mode);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(&soma__nn_upsample_class);
    if (m)
        *(soma__nn_resample_state *)m->state = s;
    return m;
}

/* ---- Padding ---- */

static soma_tensor *pad_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_pad_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, s->n / 2, 0))
        return NULL;
    return s->mode ? soma_pad_mode(in[0], s->n, s->pad, s->mode) : soma_pad(in[0], s->n, s->pad, s->value);
}

#define CLASS(id, shown)                                                                                                         \
    const soma_module_class soma__nn_##id##_class = {                                                                            \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(soma__nn_pad_state), .forward = pad_forward,     \
        .describe = soma__nn_describe_word,                                                                                      \
    };
CLASS(constant_pad, "ConstantPad")
CLASS(reflection_pad, "ReflectionPad")
CLASS(replication_pad, "ReplicationPad")
CLASS(circular_pad, "CircularPad")

static soma_module *pad_new(const soma_module_class *cls, int n, const int64_t *pad, double value, const char *mode) {
    soma__nn_pad_state s = {.n = n, .value = value, .mode = mode};
    if (n != 2 && n != 4 && n != 6) {
        soma_fail(SOMA_EINVAL, "%s: 2, 4 or 6 numbers are needed, before and after for each axis, not %d", cls->name, n);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        if (pad[i] > SOMA__NN_MAX_SIZE || pad[i] < (mode ? 0 : -SOMA__NN_MAX_SIZE)) {
            soma_fail(SOMA_EINVAL, "%s: a padding of %lld is not possible", cls->name, (long long)pad[i]);
            return NULL;
        }
        s.pad[i] = pad[i];
    }
    soma_module *m = soma_nn_module_new(cls);
    if (m)
        *(soma__nn_pad_state *)m->state = s;
    return m;
}

soma_module *soma_nn_constant_pad(int n, const int64_t *pad, double value) { return pad_new(&soma__nn_constant_pad_class, n, pad, value, NULL); }
soma_module *soma_nn_reflection_pad(int n, const int64_t *pad) { return pad_new(&soma__nn_reflection_pad_class, n, pad, 0, "reflect"); }
soma_module *soma_nn_replication_pad(int n, const int64_t *pad) { return pad_new(&soma__nn_replication_pad_class, n, pad, 0, "replicate"); }
soma_module *soma_nn_circular_pad(int n, const int64_t *pad) { return pad_new(&soma__nn_circular_pad_class, n, pad, 0, "circular"); }
