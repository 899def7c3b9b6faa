/* Convolutions over one, two and three axes, and transposed ones: weight [out, in / groups, window…], transposed
 * [in, out / groups, window…], and bias [out], named and filled as PyTorch's. */
#include "nn/nn.h"

#include "ops/conv.h"

#include <math.h>
#include <string.h>

typedef soma__nn_conv_state state;

static bool made(soma_module *m) {
    const state *s = m->state;
    return (m->tied || soma__nn_slot(m, "weight")) && (s->no_bias || soma__nn_slot(m, "bias"));
}

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const state *s = m->state;
    bool fits = ndim == s->dims + 2;
    for (int i = 0; fits && i < s->dims; i++)
        fits = shape[2 + i] == s->kernel[i];
    if (fits && s->transposed) {
        *in = shape[0];
        return shape[1] == s->out / s->groups && shape[0] % s->groups == 0;
    }
    return fits && shape[0] == s->out && soma__mul_ok(shape[1], s->groups, in);
}

static soma_status make(soma_module *m, const int64_t *sizes) {
    state *s = m->state;
    int64_t in = sizes[0], shape[5];
    if (in % s->groups != 0)
        return soma_fail(SOMA_ESHAPE, "%lld input channels cannot be divided into %lld groups", (long long)in, (long long)s->groups);
    shape[0] = s->transposed ? in : s->out;
    shape[1] = (s->transposed ? s->out : in) / s->groups;
    memcpy(shape + 2, s->kernel, (size_t)s->dims * sizeof *shape);
    if (!m->tied)
        soma__nn_new_param(m, "weight", s->dims + 2, shape);
    if (!s->no_bias)
        soma__nn_new_param(m, "bias", SOMA_SHAPE(s->out));
    if (!soma__failed())
        s->in = in;
    return soma__ctx()->error;
}

/* The fan is that of the weight's second size, for transposed layers too, as in PyTorch. */
static void reset(soma_module *m) {
    const state *s = m->state;
    soma_tensor *weight = soma__nn_slot(m, "weight"), *bias = soma__nn_slot(m, "bias");
    double fan = (double)((s->transposed ? s->out : s->in) / s->groups);
    for (int i = 0; i < s->dims; i++)
        fan *= (double)s->kernel[i];
    double bound = fan > 0 ? 1.0 / sqrt(fan) : 0;
    if (weight)
        soma_init_uniform_(weight, -bound, bound);
    if (bias)
        soma_init_uniform_(bias, -bound, bound);
}

static bool fits(const state *s, soma_tensor *x, soma_tensor *weight) {
    char xs[SOMA__SHAPE_TEXT], ws[SOMA__SHAPE_TEXT], windows[80], paddings[80];
    int64_t needed = soma_ndim(weight) < 2 ? 0 : s->transposed ? soma_size(weight, 0) : soma_size(weight, 1) * s->groups;
    soma__shape_text(soma_ndim(x), soma_shape(x), xs, sizeof xs);
    if (soma_ndim(weight) != s->dims + 2 || soma_size(x, 1) != needed) {
        soma_fail(SOMA_ESHAPE, "input %s does not fit weight %s: %lld channels are needed", xs,
                  soma__shape_text(soma_ndim(weight), soma_shape(weight), ws, sizeof ws), (long long)needed);
        return false;
    }
    if (s->transposed)
        return true; /* the operator says what is wrong with the sizes */
    int64_t reach[3];
    bool large = true;
    for (int i = 0; i < s->dims; i++) {
        reach[i] = s->dilation[i] * (s->kernel[i] - 1) + 1; /* sizes are below 2^31: no overflow */
        int64_t room = s->same ? reach[i] : soma_size(x, 2 + i) + 2 * s->padding[i];
        large = large && soma_size(x, 2 + i) >= 1 && room >= reach[i];
    }
    if (!large)
        soma_fail(SOMA_ESHAPE, "input %s is too small for a window of %s with padding %s: the output would be empty", xs,
                  soma__nn_by(s->dims, reach, windows), soma__nn_by(s->dims, s->padding, paddings));
    return large;
}

/* Pads where the operator does not: an uneven rest of "same", which PyTorch puts behind. */
static soma_tensor *padded(const state *s, soma_tensor *x, int64_t *padding) {
    int64_t pad[6];
    bool uneven = false;
    for (int i = 0; i < s->dims; i++) {
        int64_t all = s->same ? s->dilation[i] * (s->kernel[i] - 1) : 2 * s->padding[i];
        padding[i] = all / 2;
        pad[2 * (s->dims - 1 - i)] = all / 2;
        pad[2 * (s->dims - 1 - i) + 1] = all - all / 2;
        uneven = uneven || all % 2 != 0;
    }
    if (!uneven)
        return x;
    memset(padding, 0, 3 * sizeof *padding);
    return soma_pad(x, 2 * s->dims, pad, 0);
}

/* What runs besides: relu behind, other parameters. */
typedef struct with {
    soma_tensor *weight, *bias;
    bool relu;
} with;

typedef soma_tensor *convolution(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);

static soma_tensor *run2d(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *o, bool relu) {
    soma_conv2d_opts o2 = {.stride = {o->stride[0], o->stride[1]}, .padding = {o->padding[0], o->padding[1]},
                           .dilation = {o->dilation[0], o->dilation[1]}, .groups = o->groups, .size = sizeof o2};
    /* A second entry of 0 would repeat the first: padding 1 x 0 is padded by hand. */
    if (o->padding[0] > 0 && o->padding[1] <= 0) {
        x = soma_pad(x, 4, (const int64_t[]){0, 0, o->padding[0], o->padding[0]}, 0);
        o2.padding[0] = 0;
    }
    o2.padding[1] = SOMA_MAX(o2.padding[1], 0);
    return relu ? soma__conv2d_relu(x, weight, bias, &o2) : soma_conv2d_ex(x, weight, bias, &o2);
}

static soma_tensor *conv2d(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *o) {
    return run2d(x, weight, bias, o, false);
}

static soma_tensor *run_with(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    static convolution *const run[2][3] = {{soma_conv1d_ex, conv2d, soma_conv3d_ex},
                                           {soma_conv_transpose1d_ex, soma_conv_transpose2d_ex, soma_conv_transpose3d_ex}};
    const state *s = m->state;
    const with *w = arg;
    if (!soma__nn_one_input(m, in, n, s->dims + 2, s->dims + 2))
        return NULL;
    soma_tensor *x = in[0];
    int64_t channels = soma_size(x, 1);
    if (!made(m) && channels < 1) {
        soma_fail(SOMA_ESHAPE, "the input has no channels");
        return NULL;
    }
    soma_module *from;
    soma_tensor *weight = soma__nn_ready(m, &channels) ? soma__nn_weight(m, &from) : NULL;
    if (!weight || !fits(s, x, weight))
        return NULL;
    soma_conv_opts o = {.groups = s->groups, .size = sizeof o};
    int64_t padding[3] = {0};
    x = padded(s, x, padding);
    for (int i = 0; i < s->dims; i++) { /* in the operators' options a first number alone stands for all, and -1 beside it for 0 */
        o.stride[i] = s->stride[i];
        o.dilation[i] = s->dilation[i];
        o.padding[i] = padding[i] == 0 && i > 0 ? -1 : padding[i];
        o.output_padding[i] = s->output_padding[i] == 0 && i > 0 ? -1 : s->output_padding[i];
    }
    if (w)
        return run2d(x, w->weight ? w->weight : weight, w->weight ? w->bias : soma__nn_slot(m, "bias"), &o, w->relu);
    return run[s->transposed][s->dims - 1](x, weight, soma__nn_slot(m, "bias"), &o);
}

static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) { return run_with(m, in, n, NULL); }

soma_tensor *soma__nn_conv_relu(soma_module *m, soma_tensor *x, soma_tensor *weight, soma_tensor *bias, bool relu) {
    return soma__nn_run(m, &x, 1, run_with, &(with){weight, bias, relu}, NULL, 0);
}

#define CLASS(id, shown)                                                                                       \
    const soma_module_class soma__nn_##id##_class = {                                                          \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(state), .forward = forward,    \
        .describe = soma__nn_describe_word, .reset = reset,                                                    \
    };                                                                                                         \
    static const soma__nn_lazy id##_lazy = {                                                                   \
        .cls = &soma__nn_##id##_class, .sizes_of = sizes_of, .make = make, .made = made,                       \
    };
CLASS(conv1d, "Conv1d")
CLASS(conv2d, "Conv2d")
CLASS(conv3d, "Conv3d")
CLASS(conv_transpose1d, "ConvTranspose1d")
CLASS(conv_transpose2d, "ConvTranspose2d")
CLASS(conv_transpose3d, "ConvTranspose3d")

static bool check(const char *type, const state *s) {
    bool ok = soma__nn_size_ok(type, "in", s->in, true) && soma__nn_size_ok(type, "out", s->out, false) &&
              soma__nn_size_ok(type, "groups", s->groups, false);
    bool unit = true;
    for (int i = 0; ok && i < s->dims; i++) {
        ok = soma__nn_size_ok(type, "kernel", s->kernel[i], false) && soma__nn_size_ok(type, "stride", s->stride[i], false) &&
             soma__nn_size_ok(type, "padding", s->padding[i], true) && soma__nn_size_ok(type, "dilation", s->dilation[i], false) &&
             soma__nn_size_ok(type, "output padding", s->output_padding[i], true);
        unit = unit && s->stride[i] == 1;
    }
    char strides[80];
    if (ok && s->same && !unit) {
        soma_fail(SOMA_EINVAL, "%s: padding 'same' needs stride 1, not %s", type, soma__nn_by(s->dims, s->stride, strides));
        return false;
    }
    for (int i = 0; ok && i < s->dims; i++) {
        if (s->output_padding[i] < SOMA_MAX(s->stride[i], s->dilation[i]))
            continue;
        soma_fail(SOMA_EINVAL, "%s: output padding %lld must be smaller than the stride or the dilation", type,
                  (long long)s->output_padding[i]);
        return false;
    }
    if (ok && (s->in % s->groups != 0 || s->out % s->groups != 0)) {
        bool out = s->out % s->groups != 0;
        soma_fail(SOMA_EINVAL, "%s: %lld %s channels cannot be divided into %lld groups", type, (long long)(out ? s->out : s->in),
                  out ? "output" : "input", (long long)s->groups);
        return false;
    }
    return ok;
}

soma_module *soma__nn_conv_new(const state *s) {
    static const soma__nn_lazy *const lazy[2][3] = {{&conv1d_lazy, &conv2d_lazy, &conv3d_lazy},
                                                    {&conv_transpose1d_lazy, &conv_transpose2d_lazy, &conv_transpose3d_lazy}};
    const soma__nn_lazy *which = lazy[s->transposed][s->dims - 1];
    soma_module *m = check(which->cls->name, s) ? soma__nn_lazy_new(which) : NULL;
    if (m)
        *(state *)m->state = *s;
    return soma__nn_settled(m);
}

/* What the options leave open: 0 is the default, and a later entry of 0 repeats the first; -1 says that 0 is meant. */
static void settle(int dims, const int64_t *given, int64_t ordinary, int64_t *out) {
    for (int i = 0; i < dims; i++) {
        int64_t v = given[i] ? given[i] : i ? out[0] : ordinary;
        out[i] = v == -1 ? 0 : v;
    }
}

soma_module *soma_nn_conv2d_ex(int64_t in, int64_t out, int64_t kh, int64_t kw, const soma_nn_conv2d_opts *opts) {
    soma_nn_conv2d_opts o = opts ? *opts : (soma_nn_conv2d_opts){.size = sizeof o};
    state s = {.in = in, .out = out, .kernel = {kh, kw}, .dims = 2, .groups = o.groups ? o.groups : 1, .same = o.padding_same,
               .no_bias = o.no_bias};
    settle(2, o.stride, 1, s.stride);
    settle(2, o.padding, 0, s.padding);
    settle(2, o.dilation, 1, s.dilation);
    return soma__nn_conv_new(&s);
}

static soma_module *conv_new(int dims, bool transposed, int64_t in, int64_t out, const int64_t *kernel, const soma_nn_conv_opts *opts) {
    soma_nn_conv_opts o = opts ? *opts : (soma_nn_conv_opts){.size = sizeof o};
    state s = {.in = in, .out = out, .dims = dims, .transposed = transposed, .groups = o.groups ? o.groups : 1, .same = o.padding_same,
               .no_bias = o.no_bias};
    memcpy(s.kernel, kernel, (size_t)dims * sizeof *kernel);
    settle(dims, o.stride, 1, s.stride);
    settle(dims, o.padding, 0, s.padding);
    settle(dims, o.dilation, 1, s.dilation);
    settle(dims, o.output_padding, 0, s.output_padding);
    if (transposed && s.same) {
        soma_fail(SOMA_EINVAL, "ConvTranspose%dd: there is no padding 'same'", dims);
        return NULL;
    }
    return soma__nn_conv_new(&s);
}

soma_module *soma_nn_conv1d_ex(int64_t in, int64_t out, int64_t kernel, const soma_nn_conv_opts *opts) {
    return conv_new(1, false, in, out, &kernel, opts);
}
soma_module *soma_nn_conv3d_ex(int64_t in, int64_t out, int64_t kd, int64_t kh, int64_t kw, const soma_nn_conv_opts *opts) {
    return conv_new(3, false, in, out, (const int64_t[]){kd, kh, kw}, opts);
}
soma_module *soma_nn_conv_transpose1d_ex(int64_t in, int64_t out, int64_t kernel, const soma_nn_conv_opts *opts) {
    return conv_new(1, true, in, out, &kernel, opts);
}
soma_module *soma_nn_conv_transpose2d_ex(int64_t in, int64_t out, int64_t kh, int64_t kw, const soma_nn_conv_opts *opts) {
    return conv_new(2, true, in, out, (const int64_t[]){kh, kw}, opts);
}
soma_module *soma_nn_conv_transpose3d_ex(int64_t in, int64_t out, int64_t kd, int64_t kh, int64_t kw, const soma_nn_conv_opts *opts) {
    return conv_new(3, true, in, out, (const int64_t[]){kd, kh, kw}, opts);
}
