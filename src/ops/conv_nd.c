/* Convolutions along one and three axes, and the transposed ones, as planar convolutions of rearranged tensors: along one axis it is a
 * plane of height 1; along three, the slices that one output slice needs become channels of a plane, so that one conv2d does all the
 * arithmetic. A transposed convolution is the adjoint of a convolution with respect to its input. im2col and col2im are here too. */
#include "ops/op.h"
#include "ops/conv.h"

#include <stdio.h>
#include <string.h>

enum { STRIDE, PADDING, DILATION, GROUPS }; /* as in PyTorch */
enum { T_STRIDE, T_PADDING, T_OUTPUT_PADDING, T_GROUPS, T_DILATION };

typedef struct geometry {
    int axes;
    int64_t stride[3], padding[3], dilation[3], output_padding[3], groups;
    int64_t in[3], kernel[3], out[3], n, channels, out_channels;
    bool batched;
} geometry;

static const int64_t zeros[3] = {0, 0, 0}, ones[3] = {1, 1, 1};

/* Reads attributes and sizes; x gets a batch dimension if it has none. */
static bool read_geometry(soma_args *a, int axes, bool transposed, geometry *g, soma_tensor **x) {
    static const char *const forms[] = {"", "[N, C, L] or [C, L]", "[N, C, H, W] or [C, H, W]", "[N, C, D, H, W] or [C, D, H, W]"};
    const char *op = a->op->name;
    const soma_tensor *w = a->in[1], *bias = a->in[2];
    *g = (geometry){.axes = axes, .batched = a->in[0]->ndim == axes + 2};
    if (!g->batched && a->in[0]->ndim != axes + 1)
        return soma__expected(a->in[0], "x", forms[axes]);
    if (w->ndim != axes + 2)
        return soma__expected(w, "weight", transposed ? "[in, out / groups, kernel …]" : "[out, in / groups, kernel …]");
    bool ok = soma__attr_list(op, &a->attrs[STRIDE], axes, 1, ones, g->stride) &&
              soma__attr_list(op, &a->attrs[PADDING], axes, 0, zeros, g->padding) &&
              soma__attr_list(op, &a->attrs[transposed ? T_DILATION : DILATION], axes, 1, ones, g->dilation) &&
              (!transposed || soma__attr_list(op, &a->attrs[T_OUTPUT_PADDING], axes, 0, zeros, g->output_padding));
    if (!ok)
        return false;
    g->groups = soma__attr_int(a, transposed ? T_GROUPS : GROUPS);
    *x = g->batched ? a->in[0] : soma_unsqueeze(a->in[0], 0);
    if (!*x)
        return false;
    g->n = (*x)->shape[0];
    g->channels = (*x)->shape[1];
    g->out_channels = transposed ? w->shape[1] * g->groups : w->shape[0];
    memcpy(g->in, (*x)->shape + 2, (size_t)axes * sizeof *g->in);
    memcpy(g->kernel, w->shape + 2, (size_t)axes * sizeof *g->kernel);
    char text[SOMA__SHAPE_TEXT], want[32];
    if (g->groups < 1 || g->channels % g->groups || g->out_channels % g->groups) {
        soma_fail(SOMA_EINVAL, "%s: groups is %lld, expected a divisor of the %lld input channels and of the %lld output channels", op,
                  (long long)g->groups, (long long)g->channels, (long long)g->out_channels);
        return false;
    }
    int64_t fits = transposed ? g->channels : g->channels / g->groups;
    if (w->shape[transposed ? 0 : 1] != fits) {
        soma_fail(SOMA_ESHAPE, "%s: input is %s with %lld channels%s, weight is %s for %lld", op,
                  soma__shape_text(a->in[0]->ndim, a->in[0]->shape, text, sizeof text), (long long)fits, transposed ? "" : " a group",
                  soma__shape_text(w->ndim, w->shape, (char[SOMA__SHAPE_TEXT]){0}, SOMA__SHAPE_TEXT),
                  (long long)w->shape[transposed ? 0 : 1]);
        return false;
    }
    snprintf(want, sizeof want, "[%lld]", (long long)g->out_channels);
    if (bias && (bias->ndim != 1 || bias->shape[0] != g->out_channels))
        return soma__expected(bias, "bias", want);
    for (int i = 0; i < axes; i++) {
        const int64_t span = g->dilation[i] * (g->kernel[i] - 1) + 1, room = g->in[i] + 2 * g->padding[i];
        g->out[i] = transposed ? (g->in[i] - 1) * g->stride[i] - 2 * g->padding[i] + span + g->output_padding[i]
                               : (room - span) / g->stride[i] + 1;
        if (g->kernel[i] < 1 || (transposed ? g->in[i] < 1 || g->out[i] < 1 : room < span)) {
            soma_fail(SOMA_ESHAPE, "%s: a kernel of %lld does not fit an input of %lld with padding %lld (axis %d)", op, (long long)span,
                      (long long)g->in[i], (long long)g->padding[i], i);
            return false;
        }
        if (transposed && g->output_padding[i] >= SOMA_MAX(g->stride[i], g->dilation[i])) {
            soma_fail(SOMA_EINVAL, "%s: output_padding %lld must be smaller than stride %lld or dilation %lld", op,
                      (long long)g->output_padding[i], (long long)g->stride[i], (long long)g->dilation[i]);
            return false;
        }
    }
    return true;
}

/* The last two axes, with height 1 when there is one. */
static soma__conv_plane plane_of(const geometry *g) {
    soma__conv_plane p = {{1, g->stride[g->axes - 1]}, {0, g->padding[g->axes - 1]}, {1, g->dilation[g->axes - 1]}, g->groups};
    if (g->axes > 1) {
        p.stride[0] = g->stride[g->axes - 2];
        p.padding[0] = g->padding[g->axes - 2];
        p.dilation[0] = g->dilation[g->axes - 2];
    }
    return p;
}

static soma_tensor *reshape6(soma_tensor *x, int n, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f) {
    return soma_reshape(x, n, (const int64_t[]){a, b, c, d, e, f});
}

/* For slice o of `slices` and tap k: place o stride + k dilation, taps innermost (or slices, for the adjoint). */
static soma_tensor *tap_places(int64_t slices, int64_t stride, int64_t taps, int64_t dilation) {
    soma_tensor *index = soma__index_row(slices * taps);
    for (int64_t o = 0; index && index->data && o < slices; o++)
        for (int64_t k = 0; k < taps; k++)
            ((int64_t *)index->data)[o * taps + k] = o * stride + k * dilation;
    return index;
}

static soma_tensor *conv3(soma_tensor *x, soma_tensor *w, soma_tensor *bias, const geometry *g) {
    const soma__conv_plane p = plane_of(g);
    const int64_t taps = g->kernel[0], depth = g->out[0], c = g->channels;
    if (g->padding[0] > 0)
        x = soma_pad(x, 6, (const int64_t[]){0, 0, 0, 0, g->padding[0], g->padding[0]}, 0);
    x = soma_index_select(x, 2, tap_places(depth, g->stride[0], taps, g->dilation[0]));
    x = soma_permute(reshape6(x, 6, g->n, c, depth, taps, g->in[1], g->in[2]), SOMA_DIMS(0, 2, 1, 3, 4, 5));
    x = reshape6(x, 4, g->n * depth, c * taps, g->in[1], g->in[2], 0, 0);
    w = reshape6(w, 4, g->out_channels, c / g->groups * taps, g->kernel[1], g->kernel[2], 0, 0);
    soma_tensor *y = soma__conv2d_plain(x, w, bias, &p);
    y = reshape6(y, 5, g->n, depth, g->out_channels, g->out[1], g->out[2], 0);
    return soma_contiguous(soma_permute(y, SOMA_DIMS(0, 2, 1, 3, 4)));
}

static bool conv_compose(soma_args *a, int axes) {
    geometry g;
    soma_tensor *x, *y;
    if (!read_geometry(a, axes, false, &g, &x))
        return false;
    if (axes == 1) {
        const soma__conv_plane p = plane_of(&g);
        y = soma_squeeze(soma__conv2d_plain(soma_unsqueeze(x, 2), soma_unsqueeze(a->in[1], 2), a->in[2], &p), SOMA_DIMS(2));
    } else {
        y = conv3(x, a->in[1], a->in[2], &g);
    }
    return soma__return(a, g.batched ? y : soma_squeeze(y, SOMA_DIMS(0)));
}

static bool conv1d_compose(soma_args *a) { return conv_compose(a, 1); }
static bool conv3d_compose(soma_args *a) { return conv_compose(a, 3); }

/* ---- Transposed ------------------------------------------------------------------------------------------------------- */

/* x [N, C, H, W]. An output_padding of a stride or more shows positions that the adjoint with padding has cut away, so it is cut here. */
static soma_tensor *transposed_plane(soma_tensor *x, soma_tensor *w, soma__conv_plane p, const int64_t *out, const int64_t *extra) {
    bool wide = extra[0] >= p.stride[0] || extra[1] >= p.stride[1];
    int64_t size[2];
    if (!wide)
        return soma__conv2d_adjoint(x, w, &p, out);
    const int64_t pad[2] = {p.padding[0], p.padding[1]};
    for (int i = 0; i < 2; i++) {
        size[i] = out[i] + 2 * pad[i] - extra[i];
        p.padding[i] = 0;
    }
    return soma_pad(soma__conv2d_adjoint(x, w, &p, size), 4, (const int64_t[]){-pad[1], extra[1] - pad[1], -pad[0], extra[0] - pad[0]}, 0);
}

static soma_tensor *transposed3(soma_tensor *x, soma_tensor *w, const geometry *g) {
    const int64_t taps = g->kernel[0], depth = g->in[0], o = g->out_channels,
                  full = (depth - 1) * g->stride[0] + g->dilation[0] * (taps - 1) + 1;
    x = soma_reshape(soma_permute(x, SOMA_DIMS(0, 2, 1, 3, 4)), 4, (const int64_t[]){g->n * depth, g->channels, g->in[1], g->in[2]});
    w = reshape6(w, 4, g->channels, o / g->groups * taps, g->kernel[1], g->kernel[2], 0, 0);
    soma_tensor *y = transposed_plane(x, w, plane_of(g), g->out + 1, g->output_padding + 1);
    y = soma_permute(reshape6(y, 6, g->n, depth, o, taps, g->out[1], g->out[2]), SOMA_DIMS(0, 2, 1, 3, 4, 5));
    y = reshape6(y, 5, g->n, o, depth * taps, g->out[1], g->out[2], 0);
    if (!y)
        return NULL;
    soma_tensor *sum = soma_zeros(SOMA_SHAPE(g->n, o, full, g->out[1], g->out[2]), (soma_dtype)y->dtype);
    sum = soma_index_add(sum, 2, tap_places(depth, g->stride[0], taps, g->dilation[0]), y);
    return soma_pad(sum, 6, (const int64_t[]){0, 0, 0, 0, -g->padding[0], g->output_padding[0] - g->padding[0]}, 0);
}

static bool transpose_compose(soma_args *a, int axes) {
    geometry g;
    soma_tensor *x, *y;
    if (!read_geometry(a, axes, true, &g, &x))
        return false;
    if (axes == 1)
        y = soma_squeeze(transposed_plane(soma_unsqueeze(x, 2), soma_unsqueeze(a->in[1], 2), plane_of(&g), (const int64_t[]){1, g.out[0]},
                                          (const int64_t[]){0, g.output_padding[0]}),
                         SOMA_DIMS(2));
    else
        y = axes == 2 ? transposed_plane(x, a->in[1], plane_of(&g), g.out, g.output_padding) : transposed3(x, a->in[1], &g);
    if (a->in[2])
        y = soma_add(y, soma_reshape(a->in[2], axes + 1, (const int64_t[]){g.out_channels, 1, 1, 1}));
    return soma__return(a, g.batched ? y : soma_squeeze(y, SOMA_DIMS(0)));
}

static bool conv_transpose1d_compose(soma_args *a) { return transpose_compose(a, 1); }
static bool conv_transpose2d_compose(soma_args *a) { return transpose_compose(a, 2); }
static bool conv_transpose3d_compose(soma_args *a) { return transpose_compose(a, 3); }

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

SOMA__LINES(conv1d, "[2,3,8] [4,3,3] [4]", "s[2,4,9] [6,2,3] [6] stride=2 padding=1 groups=2", "[3,7] [2,3,2] dilation=2",
            "[0,2,5] [3,2,2]", "[2,4,6] s[4,1,3] - groups=4 padding=2 stride=3", "[1,1,1] [1,1,1] s[1]",
            "[4] [4,3,3] !ESHAPE conv1d: x is [4] f32, expected [N, C, L] or [C, L]",
            "[2,3,8] [4,3] !ESHAPE weight is [4, 3] f32, expected [out, in / groups",
            "[2,3,8] [4,2,3] !ESHAPE input is [2, 3, 8] with 3 channels a group, weight is [4, 2, 3] for 2",
            "[2,3,8] [4,3,3] [3] !ESHAPE bias is [3] f32, expected [4]",
            "[2,3,2] [4,3,3] !ESHAPE a kernel of 3 does not fit an input of 2 with padding 0",
            "[2,3,8] [4,3,3] groups=2 !EINVAL groups is 2, expected a divisor",
            "[2,3,8] [4,3,3] stride=0 !EINVAL conv1d: stride is [0], expected one number from 1")
SOMA__LINES(conv3d, "[1,2,3,4,3] [3,2,2,3,2] [3]", "s[1,2,5,3,4] [2,1,3,2,2] [2] stride=2,1,2 padding=1 groups=2",
            "[2,4,4,5] [2,2,2,2,2] dilation=2,1,1", "[0,1,3,3,3] [2,1,2,2,2]", "[1,2,3,3,3] s[2,2,1,1,1] [2] padding=1,0,0",
            "[1,1,2,2,2] [1,1,3,3,3] - padding=1", "[2,4,4] [2,2,2,2,2] !ESHAPE expected [N, C, D, H, W] or [C, D, H, W]",
            "[2,2,2,4,4] [2,2,3,2,2] !ESHAPE a kernel of 3 does not fit an input of 2",
            "[2,2,2,4,4] [2,2,2,2,2] padding=1,1 !EINVAL padding is [1, 1], expected one or three numbers")
SOMA__LINES(conv_transpose1d, "[2,3,5] [3,4,3] [4]", "s[1,4,4] [4,2,3] [4] stride=2 padding=1 output_padding=1 groups=2",
            "[3,6] [3,2,2] dilation=2", "[0,2,4] [2,3,2]", "[1,2,3] [2,1,2] - stride=1 output_padding=1 dilation=3 padding=1",
            "[2,1,1] s[1,1,1]", "[2,3,5] [4,3,3] !ESHAPE input is [2, 3, 5] with 3 channels, weight is [4, 3, 3] for 4",
            "[2,3,5] [3,3,3] stride=2 output_padding=2 !EINVAL output_padding 2 must be smaller than stride 2 or dilation 1",
            "[2,3,1] [3,3,1] padding=1 !ESHAPE does not fit an input of 1")
SOMA__LINES(conv_transpose2d, "[2,3,4,3] [3,4,3,2] [4]", "s[1,4,3,4] [4,2,3,3] [4] stride=2,3 padding=1,0 output_padding=1,2 groups=2",
            "[3,3,4] [3,2,2,2] dilation=2", "[0,2,3,3] [2,3,2,2]", "[1,2,3,3] [2,1,2,2] - output_padding=1 dilation=2 padding=1",
            "[1,1,2,2] s[1,2,1,1] [2] stride=2", "[2,3,5] [4,3,3,3] !ESHAPE with 2 channels, weight is [4, 3, 3, 3] for 4",
            "[5,5] [4,3,3,3] !ESHAPE expected [N, C, H, W] or [C, H, W]")
SOMA__LINES(conv_transpose3d, "[1,2,2,3,2] [2,3,2,2,3] [3]",
            "s[1,4,2,2,3] [4,1,3,2,2] [2] stride=2,1,2 padding=1,0,1 output_padding=1,0,1 groups=2", "[2,2,2,3] [2,2,2,2,2] dilation=2,1,1",
            "[0,1,2,2,2] [1,2,2,2,2]", "[1,1,3,2,2] [1,2,1,1,1] [2] stride=2", "[1,2,2,2,2] s[2,1,2,2,2] - output_padding=1 dilation=2",
            "[2,4,4] [2,2,2,2,2] !ESHAPE expected [N, C, D, H, W] or [C, D, H, W]", "[1,2,2,2,2] [2,2,2,2,2] groups=0 !EINVAL groups is 0")

#define FORWARD_ATTRS                                                                                                                      \
    SOMA_ATTRS(SOMA_DEF_INTS("stride", "distance of windows, one number an axis or one for all", 1, 1),                                    \
               SOMA_DEF_INTS("padding", "zeros on each side", 1, 0), SOMA_DEF_INTS("dilation", "distance of the kernel's elements", 1, 1), \
               SOMA_DEF_INT("groups", 1, "parts of the channels that do not mix"))
#define TRANSPOSED_ATTRS                                                                                                                   \
    SOMA_ATTRS(SOMA_DEF_INTS("stride", "distance of the windows that are added, one number an axis or one for all", 1, 1),                 \
               SOMA_DEF_INTS("padding", "rows that are cut off on each side", 1, 0),                                                       \
               SOMA_DEF_INTS("output_padding", "rows more at the end: which of the sizes that the stride lets meet is meant", 1, 0),       \
               SOMA_DEF_INT("groups", 1, "parts of the channels that do not mix"),                                                         \
               SOMA_DEF_INTS("dilation", "distance of the kernel's elements", 1, 1))
#define CONV(NAME, ATTRS, ONNX, DOC)                                                                                                       \
    static const soma_op NAME##_op = {                                                                                                     \
        SOMA__COMPOSITE(NAME),                                                                                                            \
        .family = "conv",                                                                                                                  \
        .onnx = ONNX,                                                                                                                      \
        .doc = DOC,                                                                                                                        \
        .in = {{.name = "x"}, {.name = "weight"}, {.name = "bias", .optional = true}},                                                     \
        .n_in = 3,                                                                                                                         \
        .outputs = 1,                                                                                                                      \
        .attrs = ATTRS,                                                                                                                    \
        .dtypes = SOMA_FLOATS,                                                                                                             \
        .promote = SOMA_PROMOTE_SAME,                                                                                                      \
        .backward = SOMA_COMPOSED,                                                                                                         \
    }
CONV(conv1d, FORWARD_ATTRS, "Conv",
     "Cross-correlation of x [N, C, L] (or [C, L]) with weight [out, C / groups, k], plus bias [out]: "
     "[N, out, (L + 2 padding - dilation (k - 1) - 1) / stride + 1]. For sequences and signals; a causal one pads in front only (pad).");
CONV(conv3d, FORWARD_ATTRS, "Conv",
     "Cross-correlation of x [N, C, D, H, W] (or [C, D, H, W]) with weight [out, C / groups, kd, kh, kw], plus bias "
     "[out]. For volumes and video.");
CONV(conv_transpose1d, TRANSPOSED_ATTRS, "ConvTranspose",
     "Transposed convolution: the adjoint of conv1d with respect to its input, x [N, C, L], weight "
     "[C, out / groups, k]: each element lays down its copy of the kernel. Length (L - 1) stride - 2 padding + dilation (k - 1) + "
     "output_padding + 1.");
CONV(conv_transpose2d, TRANSPOSED_ATTRS, "ConvTranspose",
     "Transposed convolution: the adjoint of conv2d with respect to its input, x [N, C, H, W], weight "
     "[C, out / groups, kh, kw]. Enlarges planes in decoders; a kernel that the stride does not divide leaves a checkerboard (Odena et al. "
     "2016).");
CONV(conv_transpose3d, TRANSPOSED_ATTRS, "ConvTranspose",
     "Transposed convolution: the adjoint of conv3d with respect to its input, x [N, C, D, H, W], weight "
     "[C, out / groups, kd, kh, kw].");

/* ---- im2col, col2im --------------------------------------------------------------------------------------------------- */

enum { C_KERNEL, C_DILATION, C_PADDING, C_STRIDE, C_SIZE = 0 };

typedef struct columns {
    int64_t kernel[2], dilation[2], padding[2], stride[2], size[2], padded[2], blocks[2];
} columns;

static bool read_columns(soma_args *a, int at, const int64_t *size, columns *c) {
    const char *op = a->op->name;
    if (!soma__attr_pair(op, &a->attrs[at + C_KERNEL], 1, NULL, c->kernel) ||
        !soma__attr_pair(op, &a->attrs[at + C_DILATION], 1, ones, c->dilation) ||
        !soma__attr_pair(op, &a->attrs[at + C_PADDING], 0, zeros, c->padding) ||
        !soma__attr_pair(op, &a->attrs[at + C_STRIDE], 1, ones, c->stride))
        return false;
    for (int i = 0; i < 2; i++) {
        const int64_t span = c->dilation[i] * (c->kernel[i] - 1) + 1;
        c->size[i] = size[i];
        c->padded[i] = size[i] + 2 * c->padding[i];
        if (c->padded[i] < span) {
            soma_fail(SOMA_ESHAPE, "%s: a kernel of %s %lld does not fit a plane of %lld with padding %lld", op, i ? "width" : "height",
                      (long long)span, (long long)size[i], (long long)c->padding[i]);
            return false;
        }
        c->blocks[i] = (c->padded[i] - span) / c->stride[i] + 1;
    }
    return true;
}

/* For each tap, then each block: the element's number in the padded plane. */
static soma_tensor *places(const columns *c) {
    const int64_t *k = c->kernel, *b = c->blocks, *d = c->dilation, *s = c->stride;
    soma_tensor *t = soma__index_row(k[0] * k[1] * b[0] * b[1]);
    int64_t *to = t ? t->data : NULL;
    for (int64_t tap = 0; to && tap < k[0] * k[1]; tap++)
        for (int64_t block = 0; block < b[0] * b[1]; block++)
            *to++ = (tap / k[1] * d[0] + block / b[1] * s[0]) * c->padded[1] + tap % k[1] * d[1] + block % b[1] * s[1];
    return t;
}

static bool im2col_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    columns c;
    if (x->ndim != 3 && x->ndim != 4)
        return soma__expected(x, "x", "[N, C, H, W] or [C, H, W]");
    if (!read_columns(a, 0, x->shape + x->ndim - 2, &c))
        return false;
    const int64_t n = x->ndim == 4 ? x->shape[0] : 1, channels = x->shape[x->ndim - 3], taps = c.kernel[0] * c.kernel[1];
    soma_tensor *y = c.padding[0] || c.padding[1]
                         ? soma_pad(x, 4, (const int64_t[]){c.padding[1], c.padding[1], c.padding[0], c.padding[0]}, 0)
                         : x;
    y = soma_index_select(soma_reshape(y, 3, (const int64_t[]){n, channels, c.padded[0] * c.padded[1]}), 2, places(&c));
    const int64_t shape[] = {n, channels * taps, c.blocks[0] * c.blocks[1]};
    return soma__return(a, soma_reshape(y, x->ndim - 1, shape + (x->ndim == 3)));
}

static bool col2im_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    columns c;
    int64_t size[2];
    if (x->ndim != 2 && x->ndim != 3)
        return soma__expected(x, "x", "[N, C kh kw, blocks] or [C kh kw, blocks]");
    if (!soma__attr_pair(a->op->name, &a->attrs[C_SIZE], 1, NULL, size) || !read_columns(a, 1, size, &c))
        return false;
    const int64_t n = x->ndim == 3 ? x->shape[0] : 1, rows = x->shape[x->ndim - 2], taps = c.kernel[0] * c.kernel[1],
                  blocks = c.blocks[0] * c.blocks[1];
    if (rows % taps != 0 || x->shape[x->ndim - 1] != blocks) {
        char text[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "col2im: x is %s; a plane of %lld x %lld is made of %lld blocks and a multiple of %lld rows",
                  soma__tensor_text(x, text), (long long)size[0], (long long)size[1], (long long)blocks, (long long)taps);
        return false;
    }
    const int64_t channels = rows / taps;
    soma_tensor *y = soma_zeros(SOMA_SHAPE(n, channels, c.padded[0] * c.padded[1]), (soma_dtype)x->dtype);
    y = soma_index_add(y, 2, places(&c), soma_reshape(x, 3, (const int64_t[]){n, channels, taps * blocks}));
    const int64_t shape[] = {n, channels, c.padded[0], c.padded[1]};
    y = soma_reshape(y, x->ndim + 1, shape + (x->ndim == 2));
    return soma__return(a, soma_pad(y, 4, (const int64_t[]){-c.padding[1], -c.padding[1], -c.padding[0], -c.padding[0]}, 0));
}

SOMA__LINES(im2col, "[2,3,5,6] kernel_size=2,3", "s[1,2,4,5] kernel_size=2 padding=1 stride=2,1", "[2,5,5] kernel_size=2 dilation=2",
            "[0,2,4,4] kernel_size=2", "[1,1,1,1] kernel_size=1", "[1,2,3,4] kernel_size=3 padding=1,0 dilation=1",
            "[4,4] kernel_size=2 !ESHAPE im2col: x is [4, 4] f32, expected [N, C, H, W]",
            "[1,2,3,4] kernel_size=4 !ESHAPE a kernel of height 4 does not fit a plane of 3",
            "[1,2,3,4] kernel_size=0 !EINVAL kernel_size is [0]")
SOMA__LINES(col2im, "[2,8,6] output_size=3,4 kernel_size=2", "s[1,8,9] output_size=4,4 kernel_size=2 padding=1 stride=2",
            "[4,9] output_size=5 kernel_size=2 dilation=2", "[0,4,4] output_size=3 kernel_size=2", "[1,1,1] output_size=1 kernel_size=1",
            "[1,6,9] output_size=4,5 kernel_size=2,3",
            "[2,6,5] output_size=3,4 kernel_size=2 !ESHAPE a plane of 3 x 4 is made of 6 blocks and a multiple of 4 rows",
            "[2] output_size=3 kernel_size=2 !ESHAPE expected [N, C kh kw, blocks]")

#define COLUMN_ATTRS                                                                                                                       \
    SOMA_NEED_INTS("kernel_size", "height and width of a block"), SOMA_DEF_INTS("dilation", "distance of elements in a block", 1, 1),      \
        SOMA_DEF_INTS("padding", "zeros around the plane", 1, 0), SOMA_DEF_INTS("stride", "distance of blocks", 1, 1)

static const soma_op im2col_op = {
    SOMA__COMPOSITE(im2col),
    .family = "conv",
    .doc = "The blocks of a plane as columns: x [N, C, H, W] becomes [N, C kh kw, blocks], so that a convolution is a matrix product. "
           "PyTorch's "
           "nn.functional.unfold.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(COLUMN_ATTRS),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};
static const soma_op col2im_op = {
    SOMA__COMPOSITE(col2im),
    .family = "conv",
    .onnx = "Col2Im",
    .doc = "Adds columns of blocks, [N, C kh kw, blocks], back into planes [N, C, H, W]: the adjoint of im2col, not its inverse where "
           "blocks overlap. "
           "PyTorch's nn.functional.fold.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("output_size", "height and width of the plane"), COLUMN_ATTRS),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};

/* ---- C ---------------------------------------------------------------------------------------------------------------- */

static soma_tensor *run_conv(const soma_op *op, int axes, soma_tensor *x, soma_tensor *weight, soma_tensor *bias,
                             const soma_conv_opts *opts) {
    soma_conv_opts o = {0};
    if (opts)
        memcpy(&o, opts, SOMA_MIN(opts->size, sizeof o));
    const soma_attr stride = soma__attr_axes("stride", axes, o.stride, ones), padding = soma__attr_axes("padding", axes, o.padding, zeros),
                    dilation = soma__attr_axes("dilation", axes, o.dilation, ones), groups = SOMA_INT("groups", o.groups ? o.groups : 1);
    if (op == &conv1d_op || op == &conv3d_op)
        return SOMA__RUN(op, ((const soma_attr[]){stride, padding, dilation, groups}), x, weight, bias);
    const soma_attr more = soma__attr_axes("output_padding", axes, o.output_padding, zeros);
    return SOMA__RUN(op, ((const soma_attr[]){stride, padding, more, groups, dilation}), x, weight, bias);
}
#define CONV_C(NAME, AXES)                                                                                                                 \
    soma_tensor *soma_##NAME##_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts) {                    \
        return run_conv(&NAME##_op, AXES, x, weight, bias, opts);                                                                          \
    }
CONV_C(conv1d, 1)
CONV_C(conv3d, 3)
CONV_C(conv_transpose1d, 1)
CONV_C(conv_transpose2d, 2)
CONV_C(conv_transpose3d, 3)

static int column_attrs(const soma_im2col_opts *opts, int64_t kh, int64_t kw, soma_attr *to) {
    soma_im2col_opts o = {0};
    if (opts)
        memcpy(&o, opts, SOMA_MIN(opts->size, sizeof o));
    to[0] = SOMA_INTS("kernel_size", kh, kw);
    to[1] = soma__attr_axes("dilation", 2, o.dilation, ones);
    to[2] = soma__attr_axes("padding", 2, o.padding, zeros);
    to[3] = soma__attr_axes("stride", 2, o.stride, ones);
    return 4;
}
soma_tensor *soma_im2col_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_im2col_opts *opts) {
    soma_attr attrs[4];
    column_attrs(opts, kh, kw, attrs);
    return SOMA__RUN(&im2col_op, attrs, x);
}
soma_tensor *soma_col2im_ex(soma_tensor *x, int64_t out_h, int64_t out_w, int64_t kh, int64_t kw, const soma_im2col_opts *opts) {
    soma_attr attrs[5] = {SOMA_INTS("output_size", out_h, out_w)};
    column_attrs(opts, kh, kw, attrs + 1);
    return SOMA__RUN(&col2im_op, attrs, x);
}

soma_op_list soma__conv_nd_ops = {&conv1d_op,           &conv3d_op, &conv_transpose1d_op, &conv_transpose2d_op,
                                  &conv_transpose3d_op, &im2col_op, &col2im_op,           NULL};
