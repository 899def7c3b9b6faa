/* Layers that only rearrange: flatten, reshape, pixel shuffle. */
#include "nn/nn.h"

#include <string.h>

static soma_tensor *flatten_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_shape_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 1, 0))
        return NULL;
    if (s->first == 1 && s->last == -1 && soma_ndim(in[0]) == 1)
        return soma_unsqueeze(in[0], 1);
    return soma_flatten(in[0], (int)s->first, (int)s->last);
}

static soma_tensor *reshape_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_shape_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 1, 0))
        return NULL;
    int64_t shape[SOMA_MAX_DIMS];
    if (s->n > SOMA_MAX_DIMS - 1) {
        soma_fail(SOMA_ESHAPE, "with the batch there would be more than %d dimensions", SOMA_MAX_DIMS);
        return NULL;
    }
    shape[0] = soma_size(in[0], 0);
    memcpy(shape + 1, s->sizes, (size_t)s->n * sizeof *shape);
    return soma_reshape(in[0], s->n + 1, shape);
}

static soma_tensor *unflatten_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_shape_state *s = m->state;
    if (!soma__nn_one_input(m, in, n, 1, 0))
        return NULL;
    int ndim = soma_ndim(in[0]), at = (int)(s->first < 0 ? s->first + ndim : s->first);
    int64_t shape[SOMA_MAX_DIMS], product = 1, rest = 1;
    char text[SOMA__SHAPE_TEXT], sizes[SOMA__SHAPE_TEXT];
    if (at < 0 || at >= ndim || ndim - 1 + s->n > SOMA_MAX_DIMS) {
        soma_fail(SOMA_ESHAPE, "dimension %lld of input %s cannot become %d dimensions", (long long)s->first,
                  soma__shape_text(ndim, soma_shape(in[0]), text, sizeof text), s->n);
        return NULL;
    }
    memcpy(shape, soma_shape(in[0]), (size_t)at * sizeof *shape);
    memcpy(shape + at, s->sizes, (size_t)s->n * sizeof *shape);
    memcpy(shape + at + s->n, soma_shape(in[0]) + at + 1, (size_t)(ndim - at - 1) * sizeof *shape);
    bool open = false, fits = true;
    for (int i = 0; i < s->n; i++) {
        open = open || s->sizes[i] == -1;
        fits = fits && (s->sizes[i] == -1 || soma__mul_ok(product, s->sizes[i], &product));
    }
    rest = soma_size(in[0], at);
    if (!fits || (open ? product == 0 || rest % product != 0 : product != rest)) {
        soma_fail(SOMA_ESHAPE, "dimension %d of input %s cannot become %s", at, soma__shape_text(ndim, soma_shape(in[0]), text, sizeof text),
                  soma__shape_text(s->n, s->sizes, sizes, sizeof sizes));
        return NULL;
    }
    for (int i = at; i < at + s->n; i++)
        shape[i] = shape[i] == -1 ? rest / product : shape[i];
    return soma_reshape(in[0], ndim - 1 + s->n, shape);
}

static soma_tensor *shuffle_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_shape_state *s = m->state;
    return soma__nn_one_input(m, in, n, 3, 0) ? soma_pixel_shuffle(in[0], s->first) : NULL;
}

static soma_tensor *unshuffle_forward(soma_module *m, soma_tensor *const *in, int n) {
    const soma__nn_shape_state *s = m->state;
    return soma__nn_one_input(m, in, n, 3, 0) ? soma_pixel_unshuffle(in[0], s->first) : NULL;
}

#define CLASS(id, shown)                                                                                                         \
    const soma_module_class soma__nn_##id##_class = {                                                                            \
        .size = sizeof(soma_module_class), .name = shown, .state_bytes = sizeof(soma__nn_shape_state), .forward = id##_forward,  \
        .describe = soma__nn_describe_word,                                                                                      \
    };
CLASS(flatten, "Flatten")
CLASS(reshape, "Reshape")
CLASS(unflatten, "Unflatten")
CLASS(shuffle, "PixelShuffle")
CLASS(unshuffle, "PixelUnshuffle")

static soma_module *shape_new(const soma_module_class *cls, int64_t first, int64_t last, int n, const int64_t *sizes) {
    int open = 0;
    for (int i = 0; i < n && i < SOMA_MAX_DIMS; i++) {
        open += sizes[i] == -1;
        if (sizes[i] != -1 && !soma__nn_size_ok(cls->name, "size", sizes[i], false))
            return NULL;
    }
    if (n > SOMA_MAX_DIMS || open > 1) {
        soma_fail(SOMA_EINVAL, "%s: %s", cls->name, open > 1 ? "only one size can be -1" : "too many sizes");
        return NULL;
    }
    soma_module *m = soma_nn_module_new(cls);
    if (!m)
        return NULL;
    soma__nn_shape_state *s = m->state;
    s->first = first;
    s->last = last;
    s->n = n;
    if (n > 0)
        memcpy(s->sizes, sizes, (size_t)n * sizeof *sizes);
    return m;
}

soma_module *soma_nn_flatten(void) { return shape_new(&soma__nn_flatten_class, 1, -1, 0, NULL); }
soma_module *soma_nn_flatten_dims(int first, int last) { return shape_new(&soma__nn_flatten_class, first, last, 0, NULL); }
soma_module *soma_nn_reshape(int n, const int64_t *sizes) { return shape_new(&soma__nn_reshape_class, 0, 0, n, sizes); }
soma_module *soma_nn_unflatten(int dim, int n, const int64_t *sizes) { return shape_new(&soma__nn_unflatten_class, dim, 0, n, sizes); }

static soma_module *factor_new(const soma_module_class *cls, int64_t factor) {
    if (factor < 1 || factor > 32768) {
        soma_fail(SOMA_EINVAL, "%s: the factor must be from 1 to 32768, not %lld", cls->name, (long long)factor);
        return NULL;
    }
    return shape_new(cls, factor, 0, 0, NULL);
}

soma_module *soma_nn_pixel_shuffle(int64_t factor) { return factor_new(&soma__nn_shuffle_class, factor); }
soma_module *soma_nn_pixel_unshuffle(int64_t factor) { return factor_new(&soma__nn_unshuffle_class, factor); }
