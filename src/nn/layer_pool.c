/* Pooling layers over [N, C, H, W]. */
#include "nn/nn.h"

/* The window must fit, so that a message names the layer at which an image became too small. */
static bool pool_fits(const soma__nn_pool_state *s, soma_tensor *x) {
    for (int i = 2; i < 4; i++) {
        if (soma_size(x, i) >= 1 && soma_size(x, i) + 2 * s->padding >= s->kernel)
            continue;
        char shape[SOMA__SHAPE_TEXT];
        soma__shape_text(soma_ndim(x), soma_shape(x), shape, sizeof shape);
        if (s->padding > 0)
            soma_fail(SOMA_ESHAPE, "input %s is too small for a window of %lld x %lld with padding %lld: the output would be empty",
                      shape, (long long)s->kernel, (long long)s->kernel, (long long)s->padding);
        else
            soma_fail(SOMA_ESHAPE, "input %s is too small for a window of %lld x %lld: the output would be empty", shape,
                      (long long)s->kernel, (long long)s->kernel);
        return false;
    }
    return true;
}

static soma_pool2d_opts pool_opts(const soma__nn_pool_state *s) {
    return (soma_pool2d_opts){.stride = {s->stride, s->stride}, .padding = {s->padding, s->padding}, .size = sizeof(soma_pool2d_opts)};
}

static soma_tensor *max_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_pool_state *s = m->state;
    soma_pool2d_opts o = pool_opts(s);
    if (!soma__nn_one_input(m, in, n, 4, 4) || !pool_fits(s, in[0]))
        return NULL;
    return soma_max_pool2d_ex(in[0], s->kernel, s->kernel, &o);
}

static soma_tensor *avg_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_pool_state *s = m->state;
    soma_pool2d_opts o = pool_opts(s);
    if (!soma__nn_one_input(m, in, n, 4, 4) || !pool_fits(s, in[0]))
        return NULL;
    return soma_avg_pool2d_ex(in[0], s->kernel, s->kernel, &o);
}

static soma_tensor *adaptive_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_out_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 4, 4))
        return NULL;
    return soma_adaptive_avg_pool2d(in[0], s->out[0], s->out[1]);
}

const soma_module_class soma__nn_max_pool2d_class = {
    .size = sizeof(soma_module_class), .name = "MaxPool2d", .state_bytes = sizeof(soma__nn_pool_state),
    .forward = max_forward, .describe = soma__nn_describe_word,
};
const soma_module_class soma__nn_avg_pool2d_class = {
    .size = sizeof(soma_module_class), .name = "AvgPool2d", .state_bytes = sizeof(soma__nn_pool_state),
    .forward = avg_forward, .describe = soma__nn_describe_word,
};
const soma_module_class soma__nn_adaptive_avg_pool2d_class = {
    .size = sizeof(soma_module_class), .name = "AdaptiveAvgPool2d", .state_bytes = sizeof(soma__nn_out_state),
    .forward = adaptive_forward, .describe = soma__nn_describe_word,
};

static soma_module *pool_new(const soma_module_class *cls, int64_t kernel, int64_t stride, int64_t padding) {
    if (!soma__nn_size_ok(cls->name, "kernel", kernel, false) || !soma__nn_size_ok(cls->name, "stride", stride, true) ||
        !soma__nn_size_ok(cls->name, "padding", padding, true))
        return NULL;
    if (padding > kernel / 2) { /* a window of nothing but padding has no largest element */
        soma_fail(SOMA_EINVAL, "%s: padding %lld is more than half the window of %lld", cls->name, (long long)padding,
                  (long long)kernel);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(cls);
    if (m)
        *(soma__nn_pool_state *)m->state = (soma__nn_pool_state){kernel, stride ? stride : kernel, padding};
    return m;
}

soma_module *soma_nn_max_pool2d(int64_t kernel, int64_t stride, int64_t padding) {
    return pool_new(&soma__nn_max_pool2d_class, kernel, stride, padding);
}

soma_module *soma_nn_avg_pool2d(int64_t kernel, int64_t stride, int64_t padding) {
    return pool_new(&soma__nn_avg_pool2d_class, kernel, stride, padding);
}

soma_module *soma_nn_adaptive_avg_pool2d(int64_t out_h, int64_t out_w) {
    const char *type = soma__nn_adaptive_avg_pool2d_class.name;
    if (!soma__nn_size_ok(type, "height", out_h, false) || !soma__nn_size_ok(type, "width", out_w, false))
        return NULL;
    soma_module *m = soma_nn_module_new(&soma__nn_adaptive_avg_pool2d_class);
    if (m)
        *(soma__nn_out_state *)m->state = (soma__nn_out_state){{out_h, out_w}};
    return m;
}
