/* Conv2d: weight [out, in / groups, kh, kw] and bias [out], named and filled as PyTorch's. */
#include "nn/nn.h"

#include <math.h>

static bool made(soma_module *m) {
    const soma__nn_conv2d_state *s = m->state;
    return soma__nn_slot(m, "weight") && (s->o.no_bias || soma__nn_slot(m, "bias"));
}

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    const soma__nn_conv2d_state *s = m->state;
    return ndim == 4 && shape[0] == s->out && shape[2] == s->kernel[0] && shape[3] == s->kernel[1] &&
           soma__mul_ok(shape[1], s->o.groups, in);
}

static soma_status make(soma_module *m, const int64_t *sizes) {
    soma__nn_conv2d_state *s = m->state;
    int64_t in = sizes[0];
    if (in % s->o.groups != 0)
        return soma_fail(SOMA_ESHAPE, "%lld input channels cannot be divided into %lld groups", (long long)in,
                         (long long)s->o.groups);
    soma__nn_new_param(m, "weight", SOMA_SHAPE(s->out, in / s->o.groups, s->kernel[0], s->kernel[1]));
    if (!s->o.no_bias)
        soma__nn_new_param(m, "bias", SOMA_SHAPE(s->out));
    if (!soma__failed())
        s->in = in;
    return soma__ctx()->error;
}

static void reset(soma_module *m) {
    soma_tensor *weight = soma__nn_slot(m, "weight"), *bias = soma__nn_slot(m, "bias");
    if (!weight)
        return;
    double fan_in = (double)soma_size(weight, 1) * (double)soma_size(weight, 2) * (double)soma_size(weight, 3);
    double bound = fan_in > 0 ? 1.0 / sqrt(fan_in) : 0;
    soma_init_uniform_(weight, -bound, bound);
    if (bias)
        soma_init_uniform_(bias, -bound, bound);
}

static bool fits(const soma__nn_conv2d_state *s, soma_tensor *x, soma_tensor *weight) {
    char xs[SOMA__SHAPE_TEXT], ws[SOMA__SHAPE_TEXT];
    soma__shape_text(soma_ndim(x), soma_shape(x), xs, sizeof xs);
    if (soma_ndim(weight) != 4 || soma_size(x, 1) != soma_size(weight, 1) * s->o.groups) {
        soma_fail(SOMA_ESHAPE, "input %s does not fit weight %s: %lld channels are needed", xs,
                  soma__shape_text(soma_ndim(weight), soma_shape(weight), ws, sizeof ws),
                  (long long)(soma_size(weight, 1) * s->o.groups));
        return false;
    }
    for (int i = 0; i < 2; i++) {
        int64_t reach = s->o.dilation[i] * (s->kernel[i] - 1) + 1; /* sizes are below 2^31: no overflow */
        int64_t room = s->o.padding_same ? reach : soma_size(x, 2 + i) + 2 * s->o.padding[i];
        if (soma_size(x, 2 + i) < 1 || room < reach) {
            soma_fail(SOMA_ESHAPE, "input %s is too small for a window of %lld x %lld with padding %lld x %lld: the output would be empty",
                      xs, (long long)(s->o.dilation[0] * (s->kernel[0] - 1) + 1),
                      (long long)(s->o.dilation[1] * (s->kernel[1] - 1) + 1), (long long)s->o.padding[0],
                      (long long)s->o.padding[1]);
            return false;
        }
    }
    return true;
}

static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_conv2d_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 4, 4))
        return NULL;
    soma_tensor *x = in[0];
    int64_t channels = soma_size(x, 1);
    if (!made(m) && channels < 1) {
        soma_fail(SOMA_ESHAPE, "the input has no channels");
        return NULL;
    }
    if (!soma__nn_ready(m, &channels))
        return NULL;
    soma_tensor *weight = soma__nn_slot(m, "weight");
    if (!fits(s, x, weight))
        return NULL;
    soma_conv2d_opts o = {.stride = {s->o.stride[0], s->o.stride[1]}, .padding = {s->o.padding[0], s->o.padding[1]},
                          .dilation = {s->o.dilation[0], s->o.dilation[1]}, .groups = s->o.groups, .size = sizeof o};
    /* A second entry of 0 would repeat the first: padding 1 x 0 is padded by hand, as is an uneven rest of "same", which PyTorch
     * puts behind. */
    int64_t before[2], after[2];
    for (int i = 0; i < 2; i++) {
        int64_t all = s->o.padding_same ? s->o.dilation[i] * (s->kernel[i] - 1) : 2 * s->o.padding[i];
        before[i] = all / 2;
        after[i] = all - all / 2;
        o.padding[i] = before[i];
    }
    if (before[0] != after[0] || before[1] != after[1] || (before[1] == 0 && before[0] > 0)) {
        x = soma_pad(x, 4, (const int64_t[]){before[1], after[1], before[0], after[0]}, 0);
        o.padding[0] = o.padding[1] = 0;
    }
    return soma_conv2d_ex(x, weight, soma__nn_slot(m, "bias"), &o);
}

const soma_module_class soma__nn_conv2d_class = {
    .size = sizeof(soma_module_class), .name = "Conv2d", .state_bytes = sizeof(soma__nn_conv2d_state),
    .forward = forward, .describe = soma__nn_describe_word, .reset = reset,
};
static const soma__nn_lazy lazy = {
    .cls = &soma__nn_conv2d_class, .sizes_of = sizes_of, .make = make, .made = made,
};

/* Fills in what the options leave open: 0 is the default, and a second entry of 0 repeats the first. */
static bool settle(soma_nn_conv2d_opts *o) {
    for (int i = 0; i < 2; i++) {
        o->stride[i] = o->stride[i] ? o->stride[i] : i ? o->stride[0] : 1;
        o->padding[i] = o->padding[i] ? o->padding[i] : i ? o->padding[0] : 0;
        o->dilation[i] = o->dilation[i] ? o->dilation[i] : i ? o->dilation[0] : 1;
    }
    o->groups = o->groups ? o->groups : 1;
    for (int i = 0; i < 2; i++)
        if (!soma__nn_size_ok("Conv2d", "stride", o->stride[i], false) || !soma__nn_size_ok("Conv2d", "padding", o->padding[i], true) ||
            !soma__nn_size_ok("Conv2d", "dilation", o->dilation[i], false))
            return false;
    if (o->padding_same && (o->stride[0] != 1 || o->stride[1] != 1)) {
        soma_fail(SOMA_EINVAL, "Conv2d: padding 'same' needs stride 1, not %lld x %lld", (long long)o->stride[0],
                  (long long)o->stride[1]);
        return false;
    }
    return soma__nn_size_ok("Conv2d", "groups", o->groups, false);
}

soma_module *soma_nn_conv2d_ex(int64_t in, int64_t out, int64_t kh, int64_t kw, const soma_nn_conv2d_opts *opts) {
    soma_nn_conv2d_opts o = opts ? *opts : (soma_nn_conv2d_opts){.size = sizeof o};
    if (!soma__nn_size_ok("Conv2d", "in", in, true) || !soma__nn_size_ok("Conv2d", "out", out, false) ||
        !soma__nn_size_ok("Conv2d", "kernel", kh, false) || !soma__nn_size_ok("Conv2d", "kernel", kw, false) || !settle(&o))
        return NULL;
    if (in % o.groups != 0 || out % o.groups != 0) {
        soma_fail(SOMA_EINVAL, "Conv2d: %lld %s channels cannot be divided into %lld groups", (long long)(out % o.groups != 0 ? out : in),
                  out % o.groups != 0 ? "output" : "input", (long long)o.groups);
        return NULL;
    }
    soma_module *m = soma__nn_lazy_new(&lazy);
    if (m)
        *(soma__nn_conv2d_state *)m->state = (soma__nn_conv2d_state){in, out, {kh, kw}, o};
    return soma__nn_settled(m);
}
