/* Pooling layers over one, two and three axes: largest values, means, power means; by windows, or to a given size. */
#include "nn/nn.h"

#include <math.h>
#include <string.h>

typedef soma__nn_pool_state state;
enum { MAX, AVG, LP, ADAPTIVE_AVG, ADAPTIVE_MAX };

/* The window must fit, so that a message names the layer at which an image became too small. */
static bool pool_fits(const state *s, soma_tensor *x) {
    int64_t reach[3];
    bool fits = true, pads = false;
    for (int i = 0; i < s->dims; i++) {
        reach[i] = s->dilation[i] * (s->kernel[i] - 1) + 1;
        pads = pads || s->padding[i] > 0;
        fits = fits && soma_size(x, 2 + i) >= 1 && soma_size(x, 2 + i) + 2 * s->padding[i] >= reach[i];
    }
    if (fits)
        return true;
    char shape[SOMA__SHAPE_TEXT], window[80], padding[80];
    soma_fail(SOMA_ESHAPE, "input %s is too small for a window of %s%s%s: the output would be empty",
              soma__shape_text(soma_ndim(x), soma_shape(x), shape, sizeof shape), soma__nn_by(s->dims, reach, window),
              pads ? " with padding " : "", pads ? soma__nn_by(s->dims, s->padding, padding) : "");
    return false;
}

static soma_tensor *pool2d(const state *s, soma_tensor *x) {
    soma_pool2d_opts o = {.stride = {s->stride[0], s->stride[1]}, .padding = {s->padding[0], s->padding[1]},
                          .dilation = {s->dilation[0], s->dilation[1]}, .ceil_mode = s->ceil, .count_exclude_pad = s->exclude_pad,
                          .divisor_override = s->divisor, .size = sizeof o};
    return s->kind == MAX ? soma_max_pool2d_ex(x, s->kernel[0], s->kernel[1], &o) : soma_avg_pool2d_ex(x, s->kernel[0], s->kernel[1], &o);
}

static soma_tensor *pool_nd(const state *s, soma_tensor *x, soma_tensor **places) {
    soma_pool_opts o = {.ceil_mode = s->ceil, .count_exclude_pad = s->exclude_pad, .divisor_override = s->divisor, .size = sizeof o};
    const int64_t *k = s->kernel;
    for (int i = 0; i < s->dims; i++) { /* a first number alone would stand for all axes, -1 beside it is 0 */
        o.stride[i] = s->stride[i];
        o.padding[i] = s->padding[i] == 0 && i > 0 ? -1 : s->padding[i];
        o.dilation[i] = s->kind == MAX ? s->dilation[i] : 0;
    }
    if (s->dims == 1)
        return s->kind == MAX ? soma_max_pool1d_ex(x, k[0], &o, places) : soma_avg_pool1d_ex(x, k[0], &o);
    if (s->dims == 2)
        return soma_max_pool2d_with_indices_ex(x, k[0], k[1], &o, places);
    return s->kind == MAX ? soma_max_pool3d_ex(x, k[0], k[1], k[2], &o, places) : soma_avg_pool3d_ex(x, k[0], k[1], k[2], &o);
}

static soma_tensor *adaptive(const state *s, soma_tensor *x) {
    const int64_t *k = s->kernel;
    bool avg = s->kind == ADAPTIVE_AVG;
    if (s->dims == 1)
        return avg ? soma_adaptive_avg_pool1d(x, k[0]) : soma_adaptive_max_pool1d(x, k[0]);
    if (s->dims == 2)
        return avg ? soma_adaptive_avg_pool2d(x, k[0], k[1]) : soma_adaptive_max_pool2d(x, k[0], k[1]);
    return avg ? soma_adaptive_avg_pool3d(x, k[0], k[1], k[2]) : soma_adaptive_max_pool3d(x, k[0], k[1], k[2]);
}

static soma_tensor *with_places(state *s, soma_tensor *x) {
    soma_tensor *indices = NULL, *y = pool_nd(s, x, &indices);
    if (!y)
        return NULL;
    soma_release(s->indices);
    s->indices = soma_keep(indices);
    s->in_ndim = soma_ndim(x);
    memcpy(s->in_shape, soma_shape(x), (size_t)s->in_ndim * sizeof *s->in_shape);
    return y;
}

static void destroy(soma_module *m) { soma_release(((state *)m->state)->indices); }

bool soma__nn_has_places(const soma_module *m) { return m->cls->destroy == destroy && ((const state *)m->state)->places; }

static soma_tensor *unpool_forward(soma_module *m, soma_tensor *const *in, int n) {
    if (!soma__nn_one_input(m, in, n, 3, 5))
        return NULL;
    char why[200] = "no layer is named";
    soma_module *pool = m->tied ? soma__nn_tied_source(m, why, sizeof why) : NULL;
    const state *s = pool ? pool->state : NULL;
    if (!s || !s->indices) {
        soma_fail(SOMA_ESTATE, "MaxUnpool: %s", s ? "the pooling layer has not run yet" : why);
        return NULL;
    }
    bool same = soma_ndim(in[0]) == s->in_ndim;
    for (int i = 0; same && i < s->in_ndim; i++)
        same = soma_size(in[0], i) == soma_size(s->indices, i);
    if (!same) {
        char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "input %s does not fit the places of '%s', which are %s",
                  soma__shape_text(soma_ndim(in[0]), soma_shape(in[0]), a, sizeof a), m->tied,
                  soma__shape_text(soma_ndim(s->indices), soma_shape(s->indices), b, sizeof b));
        return NULL;
    }
    int64_t places = 1, N = s->in_shape[0], c = s->in_shape[1];
    for (int i = 2; i < s->in_ndim; i++)
        places *= s->in_shape[i];
    soma_tensor *zeros = soma_zeros(3, (const int64_t[]){N, c, places}, soma_dtype_of(in[0]));
    soma_tensor *y = soma_scatter(zeros, 2, soma_flatten(s->indices, 2, -1), soma_flatten(in[0], 2, -1));
    return soma_reshape(y, s->in_ndim, s->in_shape);
}

const soma_module_class soma__nn_max_unpool_class = {
    .size = sizeof(soma_module_class), .name = "MaxUnpool", .forward = unpool_forward, .describe = soma__nn_describe_word,
};

soma_module *soma_nn_max_unpool(void) { return soma_nn_module_new(&soma__nn_max_unpool_class); }

static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) {
    state *s = m->state;
    if (!soma__nn_one_input(m, in, n, s->dims + 2, s->dims + 2))
        return NULL;
    if (s->kind == ADAPTIVE_AVG || s->kind == ADAPTIVE_MAX)
        return adaptive(s, in[0]);
    if (!pool_fits(s, in[0]))
        return NULL;
    if (s->places)
        return with_places(s, in[0]);
    if (s->kind == LP && s->dims == 1)
        return soma_lp_pool1d(in[0], s->p, s->kernel[0], s->stride[0], s->ceil);
    if (s->kind == LP)
        return soma_lp_pool2d(in[0], s->p, s->kernel[0], s->kernel[1], s->stride[0], s->stride[1], s->ceil);
    if (s->dims != 2)
        return pool_nd(s, in[0], NULL);
    if (s->padding[0] > 0 && s->padding[1] == 0) { /* in those options a second 0 would repeat the first */
        if (s->kind == MAX)
            return pool_nd(s, in[0], NULL);
        soma_fail(SOMA_EINVAL, "AvgPool2d: padding %lld x 0 is not possible; pad first", (long long)s->padding[0]);
        return NULL;
    }
    return pool2d(s, in[0]);
}

#define CLASS(id, shown)                                                                                                \
    const soma_module_class soma__nn_##id##_class = {                                                                   \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(state), .forward = forward,             \
        .describe = soma__nn_describe_word, .destroy = destroy,                                                         \
    };
CLASS(max_pool1d, "MaxPool1d")
CLASS(max_pool2d, "MaxPool2d")
CLASS(max_pool3d, "MaxPool3d")
CLASS(avg_pool1d, "AvgPool1d")
CLASS(avg_pool2d, "AvgPool2d")
CLASS(avg_pool3d, "AvgPool3d")
CLASS(lp_pool1d, "LPPool1d")
CLASS(lp_pool2d, "LPPool2d")
CLASS(adaptive_avg_pool1d, "AdaptiveAvgPool1d")
CLASS(adaptive_avg_pool2d, "AdaptiveAvgPool2d")
CLASS(adaptive_avg_pool3d, "AdaptiveAvgPool3d")
CLASS(adaptive_max_pool1d, "AdaptiveMaxPool1d")
CLASS(adaptive_max_pool2d, "AdaptiveMaxPool2d")
CLASS(adaptive_max_pool3d, "AdaptiveMaxPool3d")

static const soma_module_class *const classes[][3] = {
    [MAX] = {&soma__nn_max_pool1d_class, &soma__nn_max_pool2d_class, &soma__nn_max_pool3d_class},
    [AVG] = {&soma__nn_avg_pool1d_class, &soma__nn_avg_pool2d_class, &soma__nn_avg_pool3d_class},
    [LP] = {&soma__nn_lp_pool1d_class, &soma__nn_lp_pool2d_class, NULL},
    [ADAPTIVE_AVG] = {&soma__nn_adaptive_avg_pool1d_class, &soma__nn_adaptive_avg_pool2d_class, &soma__nn_adaptive_avg_pool3d_class},
    [ADAPTIVE_MAX] = {&soma__nn_adaptive_max_pool1d_class, &soma__nn_adaptive_max_pool2d_class, &soma__nn_adaptive_max_pool3d_class},
};

static bool check(const char *type, const state *s) {
    for (int i = 0; i < s->dims; i++) {
        if (!soma__nn_size_ok(type, "kernel", s->kernel[i], false) || !soma__nn_size_ok(type, "stride", s->stride[i], false) ||
            !soma__nn_size_ok(type, "padding", s->padding[i], true) || !soma__nn_size_ok(type, "dilation", s->dilation[i], false))
            return false;
        if (s->padding[i] > s->kernel[i] / 2) { /* a window of nothing but padding has no largest element */
            soma_fail(SOMA_EINVAL, "%s: padding %lld is more than half the window of %lld", type, (long long)s->padding[i],
                      (long long)s->kernel[i]);
            return false;
        }
        if (s->kind != MAX && s->dilation[i] != 1) {
            soma_fail(SOMA_EINVAL, "%s: only max pooling has a dilation", type);
            return false;
        }
        if (s->kind == LP && s->padding[i] != 0) {
            soma_fail(SOMA_EINVAL, "%s: there is no padding", type);
            return false;
        }
    }
    if (s->divisor != 0 && !(s->kind == AVG && s->dims > 1)) {
        soma_fail(SOMA_EINVAL, "%s: only average pooling over two or three axes has a divisor of its own", type);
        return false;
    }
    return s->divisor == 0 || soma__nn_size_ok(type, "divisor", s->divisor, false);
}

soma_module *soma__nn_pool_new(const state *s) {
    const soma_module_class *cls = s->dims >= 1 && s->dims <= 3 ? classes[s->kind][s->dims - 1] : NULL;
    if (!cls) {
        soma_fail(SOMA_EINVAL, "pooling over %d axes; there are 1 to %d", s->dims, s->kind == LP ? 2 : 3);
        return NULL;
    }
    soma_module *m = check(cls->name, s) ? soma_nn_module_new(cls) : NULL;
    if (m)
        *(state *)m->state = *s;
    return m;
}

/* A first number alone stands for all axes; 0 is `ordinary`, -1 beside others is 0. */
static void settle(int dims, const int64_t *given, const int64_t *ordinary, int64_t *out) {
    for (int i = 0; i < dims; i++) {
        int64_t v = given[i] ? given[i] : i && given[0] ? given[0] : ordinary[i];
        out[i] = v == -1 ? 0 : v;
    }
}

static soma_module *pool_new(int kind, int dims, double p, const int64_t *kernel, const soma_nn_pool_opts *opts) {
    static const int64_t zero[3] = {0}, one[3] = {1, 1, 1};
    soma_nn_pool_opts o = opts ? *opts : (soma_nn_pool_opts){.size = sizeof o};
    state s = {.kind = kind, .dims = dims, .p = p, .ceil = o.ceil_mode, .exclude_pad = o.count_exclude_pad, .divisor = o.divisor_override,
               .places = kind == MAX && o.return_indices};
    if (dims >= 1 && dims <= 3) {
        memcpy(s.kernel, kernel, (size_t)dims * sizeof *kernel);
        settle(dims, o.stride, kernel, s.stride);
        settle(dims, o.padding, zero, s.padding);
        settle(dims, o.dilation, one, s.dilation);
    }
    return soma__nn_pool_new(&s);
}

soma_module *soma_nn_max_pool_ex(int dims, const int64_t *kernel, const soma_nn_pool_opts *opts) {
    return pool_new(MAX, dims, 0, kernel, opts);
}
soma_module *soma_nn_avg_pool_ex(int dims, const int64_t *kernel, const soma_nn_pool_opts *opts) {
    return pool_new(AVG, dims, 0, kernel, opts);
}
soma_module *soma_nn_lp_pool_ex(int dims, double p, const int64_t *kernel, const soma_nn_pool_opts *opts) {
    if (!(p > 0) || isinf(p)) {
        soma_fail(SOMA_EINVAL, "LPPool%dd: the power must be a number above 0, not %g", dims, p);
        return NULL;
    }
    return pool_new(LP, dims, p, kernel, opts);
}
soma_module *soma_nn_adaptive_avg_pool_ex(int dims, const int64_t *size) { return pool_new(ADAPTIVE_AVG, dims, 0, size, NULL); }
soma_module *soma_nn_adaptive_max_pool_ex(int dims, const int64_t *size) { return pool_new(ADAPTIVE_MAX, dims, 0, size, NULL); }
