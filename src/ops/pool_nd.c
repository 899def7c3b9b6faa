/* Pooling along one and three axes, with the places of the largest, and undone, by the planar operators of pool.c: one axis is a plane of
 * height 1; of three, windows over height and width come first and those over depth after them, since maxima and means of boxes are those
 * of their sides. Sizes and window rules are PyTorch's. */
#include "ops/op.h"
#include "ops/shape.h"

#include <stdio.h>
#include <string.h>

enum { KERNEL, STRIDE, PADDING };
enum { M_DILATION = 3, M_CEIL };
enum { A_CEIL = 3, A_INCLUDE_PAD, A_DIVISOR };

static const int64_t zeros[3] = {0, 0, 0}, ones[3] = {1, 1, 1};

typedef struct windows {
    int axes;
    int64_t kernel[3], stride[3], padding[3], dilation[3];
    bool up, include_pad;
    int64_t divisor;
} windows;

static bool takes_rank(const soma_tensor *x, int axes) {
    static const char *const forms[] = {"", "[N, C, L] or [C, L]", "[N, C, H, W] or [C, H, W]", "[N, C, D, H, W] or [C, D, H, W]"};
    return x->ndim == axes + 1 || x->ndim == axes + 2 || soma__expected(x, "x", forms[axes]);
}

static bool read_windows(soma_args *a, int axes, bool max, windows *w) {
    const char *op = a->op->name;
    *w = (windows){.axes = axes, .dilation = {1, 1, 1}};
    if (!takes_rank(a->in[0], axes) || !soma__attr_list(op, &a->attrs[KERNEL], axes, 1, NULL, w->kernel) ||
        !soma__attr_list(op, &a->attrs[STRIDE], axes, 1, w->kernel, w->stride) ||
        !soma__attr_list(op, &a->attrs[PADDING], axes, 0, zeros, w->padding) ||
        (max && !soma__attr_list(op, &a->attrs[M_DILATION], axes, 1, ones, w->dilation)))
        return false;
    w->up = soma__attr_int(a, max ? M_CEIL : A_CEIL) != 0;
    w->include_pad = max || soma__attr_int(a, A_INCLUDE_PAD) != 0;
    w->divisor = max || axes == 1 ? 0 : soma__attr_int(a, A_DIVISOR);
    return true;
}

/* One planar operator, windows over two axes of `w` (-1: an axis of windows of 1). */
static bool run_plane(const char *name, soma_tensor *x, const windows *w, int rows, int columns, soma_tensor **out, int n_out) {
    const int axis[2] = {rows, columns};
    int64_t v[4][2];
    for (int i = 0; i < 2; i++) {
        v[0][i] = axis[i] < 0 ? 1 : w->kernel[axis[i]];
        v[1][i] = axis[i] < 0 ? 1 : w->stride[axis[i]];
        v[2][i] = axis[i] < 0 ? 0 : w->padding[axis[i]];
        v[3][i] = axis[i] < 0 ? 1 : w->dilation[axis[i]];
    }
    const bool max = name[0] == 'm';
    const soma_attr attrs[] = {SOMA_INTS("kernel_size", v[0][0], v[0][1]), SOMA_INTS("stride", v[1][0], v[1][1]),
                               SOMA_INTS("padding", v[2][0], v[2][1]), SOMA_BOOLEAN("ceil_mode", w->up),
                               max ? SOMA_INTS("dilation", v[3][0], v[3][1]) : SOMA_BOOLEAN("count_include_pad", w->include_pad)};
    return x && soma_call(name, &x, 1, attrs, 5, out, n_out) == SOMA_OK;
}

static soma_tensor *plane_adaptive(const char *name, soma_tensor *x, int64_t h, int64_t w, soma_tensor **index) {
    soma_tensor *out[2] = {0};
    const soma_attr attr = SOMA_INTS("output_size", h, w);
    if (!x || soma_call(name, &x, 1, &attr, 1, out, index ? 2 : 1) != SOMA_OK)
        return NULL;
    if (index)
        *index = out[1];
    return out[0];
}

/* x [(N,) C, D, H, W] as planes [N C D, H, W]; and planes [N C D, h, w] as [N C, D, h w]; and those as [(N,) C, d, h, w]. */
static soma_tensor *as_planes(soma_tensor *x) { return soma_flatten(x, 0, -3); }
static soma_tensor *as_columns(soma_tensor *y, const soma_tensor *x) {
    const int64_t depth = x->shape[x->ndim - 3];
    return y ? soma_reshape(y, 3, (const int64_t[]){y->shape[0] / depth, depth, y->shape[1] * y->shape[2]}) : NULL;
}
static soma_tensor *as_boxes(soma_tensor *y, const soma_tensor *x, int64_t h, int64_t w) {
    int64_t shape[SOMA_MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    if (!y)
        return NULL;
    shape[x->ndim - 3] = y->shape[1];
    shape[x->ndim - 2] = h;
    shape[x->ndim - 1] = w;
    return soma_reshape(y, x->ndim, shape);
}

/* Numbers d H W for each depth d, [D, 1]. */
static soma_tensor *depth_numbers(const soma_tensor *x) {
    const int64_t depth = x->shape[x->ndim - 3], plane = x->shape[x->ndim - 2] * x->shape[x->ndim - 1];
    soma_tensor *t = soma__index_row(depth);
    for (int64_t d = 0; t && t->data && d < depth; d++)
        ((int64_t *)t->data)[d] = d * plane;
    return soma_unsqueeze(t, 1);
}

/* The place in the box of what was chosen: first [N C D, h, w] in planes, then [N C, d, h w] among depths. */
static soma_tensor *box_index(soma_tensor *in_plane, soma_tensor *in_depth, const soma_tensor *x) {
    soma_tensor *places = soma_add(as_columns(soma_to(in_plane, SOMA_I64), x), depth_numbers(x));
    soma_tensor *chosen = soma_gather(soma_flatten(places, 1, 2), 1, soma_flatten(in_depth, 1, 2));
    return in_depth ? soma_reshape(chosen, 3, in_depth->shape) : NULL;
}

static bool has_box(const soma_tensor *x, int axes) {
    for (int i = x->ndim - axes; i < x->ndim; i++)
        if (x->shape[i] < 1)
            return soma__expected(x, "x", "sizes of 1 or more behind the channels");
    return true;
}

/* ---- Maxima ----------------------------------------------------------------------------------------------------------- */

static bool max3(soma_args *a, const windows *w) {
    soma_tensor *x = a->in[0], *flat[2], *deep[2];
    if (!run_plane("max_pool2d", as_planes(x), w, 1, 2, flat, 2) || !run_plane("max_pool2d", as_columns(flat[0], x), w, 0, -1, deep, 2))
        return false;
    const int64_t h = flat[0]->shape[1], v = flat[0]->shape[2];
    a->out[0] = as_boxes(deep[0], x, h, v);
    if (a->op->outputs > 1)
        a->out[1] = as_boxes(box_index(flat[1], deep[1], x), x, h, v);
    return a->out[0] != NULL;
}

static bool max_compose(soma_args *a, int axes) {
    windows w;
    soma_tensor *out[2];
    if (!read_windows(a, axes, true, &w) || !has_box(a->in[0], axes))
        return false;
    if (axes == 3)
        return max3(a, &w);
    soma_tensor *x = axes == 1 ? soma_unsqueeze(a->in[0], -2) : a->in[0];
    if (!run_plane("max_pool2d", x, &w, axes == 1 ? -1 : 0, axes - 1, out, 2))
        return false;
    for (int i = 0; i < a->op->outputs; i++)
        a->out[i] = axes == 1 ? soma_squeeze(out[i], SOMA_DIMS(-2)) : out[i];
    if (a->op->outputs > 1)
        a->out[1] = soma_to(a->out[1], SOMA_I64);
    return a->out[0] != NULL;
}

static bool max_pool1d_compose(soma_args *a) { return max_compose(a, 1); }
static bool max_pool3d_compose(soma_args *a) { return max_compose(a, 3); }
static bool max_pool2d_with_indices_compose(soma_args *a) { return max_compose(a, 2); }
#define max_pool1d_with_indices_compose max_pool1d_compose
#define max_pool3d_with_indices_compose max_pool3d_compose

/* ---- Means ------------------------------------------------------------------------------------------------------------ */

/* With a divisor of the caller's: means that count the padding, of windows that are all whole, so that their sizes are known. */
static bool pad_for_sums(soma_tensor **x, windows *w) {
    int64_t pad[6] = {0};
    for (int i = 0; i < 3; i++) {
        const int64_t size = (*x)->shape[(*x)->ndim - 3 + i],
                      room = size + 2 * w->padding[i] - w->kernel[i] + (w->up ? w->stride[i] - 1 : 0);
        int64_t n = room < 0 ? 0 : room / w->stride[i] + 1;
        n -= w->up && (n - 1) * w->stride[i] >= size + w->padding[i];
        pad[2 * (2 - i)] = w->padding[i];
        pad[2 * (2 - i) + 1] = SOMA_MAX(w->padding[i], (n - 1) * w->stride[i] + w->kernel[i] - size - w->padding[i]);
        w->padding[i] = 0;
    }
    w->up = false;
    *x = soma_pad(*x, 6, pad, 0);
    return *x != NULL;
}

static bool avg3(soma_args *a, windows w) {
    soma_tensor *x = a->in[0], *flat, *deep;
    if (w.divisor < 0) {
        soma_fail(SOMA_EINVAL, "%s: divisor_override is %lld, expected 1 or more", a->op->name, (long long)w.divisor);
        return false;
    }
    if (w.divisor && !pad_for_sums(&x, &w))
        return false;
    if (!run_plane("avg_pool2d", as_planes(x), &w, 1, 2, &flat, 1) || !run_plane("avg_pool2d", as_columns(flat, x), &w, 0, -1, &deep, 1))
        return false;
    a->out[0] = as_boxes(deep, x, flat->shape[1], flat->shape[2]);
    if (w.divisor)
        a->out[0] = soma_mul_scalar(a->out[0], (double)(w.kernel[0] * w.kernel[1] * w.kernel[2]) / (double)w.divisor);
    return a->out[0] != NULL;
}

static bool avg_pool3d_compose(soma_args *a) {
    windows w;
    return read_windows(a, 3, false, &w) && has_box(a->in[0], 3) && avg3(a, w);
}

static bool avg_pool1d_compose(soma_args *a) {
    windows w;
    soma_tensor *y;
    if (!read_windows(a, 1, false, &w) || !has_box(a->in[0], 1) || !run_plane("avg_pool2d", soma_unsqueeze(a->in[0], -2), &w, -1, 0, &y, 1))
        return false;
    return soma__return(a, soma_squeeze(y, SOMA_DIMS(-2)));
}

/* PyTorch's form: the mean times the kernel's size, also where ceil_mode cuts a window. */
static bool lp_compose(soma_args *a, int axes) {
    const double p = soma__attr_float(a, 0);
    windows w = {.axes = axes, .include_pad = true, .dilation = {1, 1, 1}};
    if (p == 0 || p != p) {
        soma_fail(SOMA_EINVAL, "%s: norm_type is %g, expected a number other than 0", a->op->name, p);
        return false;
    }
    if (!takes_rank(a->in[0], axes) || !has_box(a->in[0], axes) || !soma__attr_list(a->op->name, &a->attrs[1], axes, 1, NULL, w.kernel) ||
        !soma__attr_list(a->op->name, &a->attrs[2], axes, 1, w.kernel, w.stride))
        return false;
    w.up = soma__attr_int(a, 3) != 0;
    soma_tensor *x = soma_pow_scalar(axes == 1 ? soma_unsqueeze(a->in[0], -2) : a->in[0], p), *y;
    if (!run_plane("avg_pool2d", x, &w, axes - 2, axes - 1, &y, 1))
        return false;
    y = soma_mul_scalar(soma_mul(soma_sign(y), soma_relu(soma_abs(y))), (double)(w.kernel[0] * (axes == 2 ? w.kernel[1] : 1)));
    y = soma_pow_scalar(y, 1 / p);
    return soma__return(a, axes == 1 ? soma_squeeze(y, SOMA_DIMS(-2)) : y);
}
static bool lp_pool1d_compose(soma_args *a) { return lp_compose(a, 1); }
static bool lp_pool2d_compose(soma_args *a) { return lp_compose(a, 2); }

/* ---- Adaptive --------------------------------------------------------------------------------------------------------- */

static bool adaptive_compose(soma_args *a, int axes, bool max) {
    soma_tensor *x = a->in[0], *index = NULL, *deep = NULL, *y;
    const char *name = max ? "adaptive_max_pool2d_i32" : "adaptive_avg_pool2d";
    int64_t size[3];
    if (!takes_rank(x, axes) || !has_box(x, axes) || !soma__attr_list(a->op->name, &a->attrs[0], axes, 1, NULL, size))
        return false;
    if (axes == 1) {
        y = soma_squeeze(plane_adaptive(name, soma_unsqueeze(x, -2), 1, size[0], max ? &index : NULL), SOMA_DIMS(-2));
        index = max ? soma_squeeze(index, SOMA_DIMS(-2)) : NULL;
    } else if (axes == 2) {
        y = plane_adaptive(name, x, size[0], size[1], &index);
    } else {
        y = as_columns(plane_adaptive(name, as_planes(x), size[1], size[2], max ? &index : NULL), x);
        y = as_boxes(plane_adaptive(name, y, size[0], size[1] * size[2], max ? &deep : NULL), x, size[1], size[2]);
        index = max ? as_boxes(box_index(index, deep, x), x, size[1], size[2]) : NULL;
    }
    a->out[0] = y;
    if (max)
        a->out[1] = soma_to(index, SOMA_I64);
    return y != NULL;
}
static bool adaptive_avg_pool1d_compose(soma_args *a) { return adaptive_compose(a, 1, false); }
static bool adaptive_avg_pool3d_compose(soma_args *a) { return adaptive_compose(a, 3, false); }
static bool adaptive_max_pool1d_compose(soma_args *a) { return adaptive_compose(a, 1, true); }
static bool adaptive_max_pool2d_compose(soma_args *a) { return adaptive_compose(a, 2, true); }
static bool adaptive_max_pool3d_compose(soma_args *a) { return adaptive_compose(a, 3, true); }

/* ---- Unpooling -------------------------------------------------------------------------------------------------------- */

/* x at the places that `indices` names in planes of output_size, or of the size that windows which fit exactly had; zeros elsewhere. */
static bool unpool_compose(soma_args *a, int axes) {
    soma_tensor *x = a->in[0], *index = a->in[1];
    const char *op = a->op->name;
    int64_t kernel[3], stride[3], padding[3], size[3], shape[SOMA_MAX_DIMS], from = 1, to = 1, lead = 1;
    if (!takes_rank(x, axes) || !soma__attr_list(op, &a->attrs[KERNEL], axes, 1, NULL, kernel) ||
        !soma__attr_list(op, &a->attrs[STRIDE], axes, 1, kernel, stride) ||
        !soma__attr_list(op, &a->attrs[PADDING], axes, 0, zeros, padding))
        return false;
    if (!soma__same_shape(x, index))
        return soma__expected(index, "indices", "x's shape");
    if (a->attrs[3].count > 0 && !soma__attr_list(op, &a->attrs[3], axes, 1, NULL, size))
        return false;
    memcpy(shape, x->shape, sizeof shape);
    for (int i = 0; i < axes; i++) {
        const int d = x->ndim - axes + i;
        if (a->attrs[3].count == 0)
            size[i] = (x->shape[d] - 1) * stride[i] - 2 * padding[i] + kernel[i];
        if (size[i] < 1)
            return soma__expected(x, "x", "sizes that give 1 or more elements along each axis");
        shape[d] = size[i];
        from *= x->shape[d];
        to *= size[i];
    }
    for (int d = 0; d < x->ndim - axes; d++)
        lead *= x->shape[d];
    soma_tensor *y = soma_zeros(SOMA_SHAPE(lead, to), (soma_dtype)x->dtype);
    y = soma_scatter(y, 1, soma_reshape(index, 2, (const int64_t[]){lead, from}), soma_reshape(x, 2, (const int64_t[]){lead, from}));
    return soma__return(a, soma_reshape(y, x->ndim, shape));
}
static bool max_unpool1d_compose(soma_args *a) { return unpool_compose(a, 1); }
static bool max_unpool2d_compose(soma_args *a) { return unpool_compose(a, 2); }
static bool max_unpool3d_compose(soma_args *a) { return unpool_compose(a, 3); }

SOMA__LINES(max_unpool1d, "[1,2,3] i[1,2,3]=1,2,5,0,3,4 kernel_size=2", "s[2,2] i[2,2]=0,3,1,2 kernel_size=2 stride=3 output_size=6",
            "[1,1,1] i[1,1,1]=0 kernel_size=1", "[0,2,2] i[0,2,2]<4 kernel_size=2",
            "[2,1,2] I[2,1,2]=0,2,1,2 kernel_size=3 stride=2 padding=1", "[1,1,3] i[1,1,3]=0,2,4 kernel_size=2",
            "[1,2,3] i[1,2,2]<4 kernel_size=2 !ESHAPE expected x's shape", "[1,1,2] i[1,1,2]=0,4 kernel_size=2 !EINVAL index 4",
            "[4] i[4]<4 kernel_size=2 !ESHAPE expected [N, C, L] or [C, L]")
SOMA__LINES(max_unpool2d, "[1,2,2,2] i[1,2,2,2]=0,3,9,14,5,2,8,11 kernel_size=2",
            "s[1,2,2] i[1,2,2]=0,3,9,14 kernel_size=2 output_size=5,4", "[1,1,1,1] i[1,1,1,1]=0 kernel_size=1",
            "[0,1,2,2] i[0,1,2,2]<4 kernel_size=2", "[1,1,1,2] I[1,1,1,2]=3,6 kernel_size=2",
            "[1,1,2,1] i[1,1,2,1]=2,4 kernel_size=3,2 stride=2 padding=1,0",
            "[1,2,2,2] i[1,2,2,1]<4 kernel_size=2 !ESHAPE expected x's shape")
SOMA__LINES(max_unpool3d, "[1,1,1,2,2] i[1,1,1,2,2]=0,3,9,14 kernel_size=2",
            "s[1,1,2,2] i[1,1,2,2]=0,3,9,14 kernel_size=2 output_size=2,5,4", "[1,1,1,1,1] i[1,1,1,1,1]=0 kernel_size=1",
            "[0,1,1,2,2] i[0,1,1,2,2]<4 kernel_size=2", "[1,1,1,1,2] I[1,1,1,1,2]=3,6 kernel_size=2",
            "[1,1,2,1,1] i[1,1,2,1,1]=2,9 kernel_size=2", "[1,1,2,2] i[1,1,2,1]<4 kernel_size=2 !ESHAPE expected x's shape")

#define UNPOOL(NAME, WITH)                                                                                                                 \
    static const soma_op NAME##_op = {                                                                                                     \
        SOMA__COMPOSITE(NAME),                                                                                                            \
        .family = "pool",                                                                                                                  \
        .onnx = "MaxUnpool",                                                                                                               \
        .doc = "The partial inverse of " WITH                                                                                              \
               ": x's elements at the places that indices name, zeros elsewhere. output_size says which of the sizes that pool to "        \
               "x's is meant; without it, the one whose windows fit exactly.",                                                             \
        .in = {{.name = "x"}, {.name = "indices", .dtypes = SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32), .apart = true}},                      \
        .n_in = 2,                                                                                                                         \
        .outputs = 1,                                                                                                                      \
        .attrs = SOMA_ATTRS(SOMA_NEED_INTS("kernel_size", "size of a window, one number an axis or one for all"),                          \
                            SOMA_DEF_INTS("stride", "distance of windows; none given: the kernel's size", 0, 0),                           \
                            SOMA_DEF_INTS("padding", "places that were added on each side", 1, 0),                                         \
                            SOMA_DEF_INTS("output_size", "sizes of the result; none given: worked out", 0, 0)),                            \
        .dtypes = SOMA_FLOATS,                                                                                                             \
        .promote = SOMA_PROMOTE_SAME,                                                                                                      \
        .backward = SOMA_COMPOSED,                                                                                                         \
        .no_grad_in = 1u << 1,                                                                                                             \
    };                                                                                                                                     \
    soma_tensor *soma_##NAME(soma_tensor *x, soma_tensor *indices, int n_sizes, const int64_t *sizes) {                                    \
        soma_attr attrs[4] = {SOMA_INTS("kernel_size", 1), SOMA_INTS("stride", 1), SOMA_INTS("padding", 0)};                               \
        return soma__ints_attr(&attrs[3], #NAME, "output_size", n_sizes, sizes) ? SOMA__RUN(&NAME##_op, attrs, x, indices) : NULL;         \
    }
UNPOOL(max_unpool1d, "max_pool1d_with_indices")
UNPOOL(max_unpool2d, "max_pool2d_with_indices")
UNPOOL(max_unpool3d, "max_pool3d_with_indices")

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

#define MAX_1D                                                                                                                             \
    "[2,3,8]@-3:3 kernel_size=2", "s[1,2,9]@-3:3 kernel_size=3 stride=2 padding=1", "[2,7]@-3:3 kernel_size=2 stride=3 ceil_mode=true",    \
        "[1,2,9]@-3:3 kernel_size=3 dilation=2", "[0,2,4] kernel_size=2", "[1,1,1]@-3:3 kernel_size=1"
#define MAX_3D                                                                                                                             \
    "[1,2,4,4,4]@-3:3 kernel_size=2", "s[1,2,5,4,3]@-3:3 kernel_size=3,2,2 stride=2,1,1 padding=1",                                        \
        "[2,5,4,4]@-3:3 kernel_size=2 stride=3,2,2 ceil_mode=true", "[1,1,4,5,4]@-3:3 kernel_size=2 dilation=1,2,1 stride=1",              \
        "[0,2,2,2,2] kernel_size=2", "[1,1,1,1,1]@-3:3 kernel_size=1"
SOMA__LINES(max_pool1d, MAX_1D, "[8] kernel_size=2 !ESHAPE max_pool1d: x is [8] f32, expected [N, C, L] or [C, L]",
            "[1,2,8] kernel_size=9 !ESHAPE does not fit", "[1,2,8] kernel_size=2 padding=2 !EINVAL is more than half of the kernel's",
            "[1,2,8] kernel_size=0 !EINVAL max_pool1d: kernel_size is [0], expected one number from 1",
            "[1,2,0] kernel_size=1 !ESHAPE expected sizes of 1 or more behind the channels")
SOMA__LINES(max_pool1d_with_indices, MAX_1D, "[8] kernel_size=2 !ESHAPE x is [8] f32, expected [N, C, L] or [C, L]")
SOMA__LINES(max_pool2d_with_indices, "[2,3,4,6]@-3:3 kernel_size=2", "s[1,2,5,7]@-3:3 kernel_size=3 stride=2 padding=1",
            "[2,5,5]@-3:3 kernel_size=2 ceil_mode=true", "[1,2,7,6]@-3:3 kernel_size=2 stride=1 dilation=2", "[0,2,4,4] kernel_size=2",
            "[1,1,1,1]@-3:3 kernel_size=1", "[8,8] kernel_size=2 !ESHAPE expected [N, C, H, W] or [C, H, W]")
SOMA__LINES(max_pool3d, MAX_3D, "[2,4,4] kernel_size=2 !ESHAPE expected [N, C, D, H, W] or [C, D, H, W]",
            "[1,2,2,2,2] kernel_size=3 !ESHAPE does not fit")
SOMA__LINES(max_pool3d_with_indices, MAX_3D, "[2,4,4] kernel_size=2 !ESHAPE expected [N, C, D, H, W] or [C, D, H, W]")
SOMA__LINES(avg_pool1d, "[2,3,8] kernel_size=2", "s[1,2,9] kernel_size=3 stride=2 padding=1", "[2,7] kernel_size=2 stride=3 ceil_mode=true",
            "[1,2,9] kernel_size=4 padding=2 count_include_pad=false", "[0,2,4] kernel_size=2", "[1,1,1] kernel_size=1",
            "[8] kernel_size=2 !ESHAPE expected [N, C, L] or [C, L]", "[1,2,8] kernel_size=9 !ESHAPE does not fit an input")
SOMA__LINES(avg_pool3d, "[1,2,4,4,4] kernel_size=2", "s[1,2,5,4,3] kernel_size=3,2,2 stride=2,1,1 padding=1",
            "[2,5,4,4] kernel_size=2 stride=3,2,2 ceil_mode=true", "[1,1,4,5,4] kernel_size=3 padding=1 count_include_pad=false",
            "[0,2,2,2,2] kernel_size=2", "[1,2,4,3,3] kernel_size=2 padding=1 divisor_override=5 ceil_mode=true",
            "[2,4,4] kernel_size=2 !ESHAPE expected [N, C, D, H, W] or [C, D, H, W]",
            "[1,2,4,4,4] kernel_size=2 divisor_override=-1 !EINVAL divisor_override is -1")
SOMA__LINES(lp_pool1d, "[2,3,8]@0.5:2 norm_type=2.0 kernel_size=2", "s[1,2,9]@0.5:2 norm_type=3.0 kernel_size=3 stride=2",
            "[2,7]@0.5:2 norm_type=1.5 kernel_size=2 stride=3 ceil_mode=true", "[2,3,8] norm_type=1.0 kernel_size=2 ~",
            "[0,2,4] norm_type=2.0 kernel_size=2", "[1,1,1]@0.5:2 norm_type=2.0 kernel_size=1",
            "[8] norm_type=2.0 kernel_size=2 !ESHAPE expected [N, C, L] or [C, L]",
            "[1,2,8] norm_type=0.0 kernel_size=2 !EINVAL norm_type is 0")
SOMA__LINES(lp_pool2d, "[2,2,4,5]@0.5:2 norm_type=2.0 kernel_size=2", "s[1,2,5,4]@0.5:2 norm_type=3.0 kernel_size=3,2 stride=2,1",
            "[2,5,5]@0.5:2 norm_type=1.5 kernel_size=2 stride=3 ceil_mode=true", "[1,1,2,2]@0.5:2 norm_type=2.0 kernel_size=1",
            "[0,2,4,4] norm_type=2.0 kernel_size=2", "[1,2,3,3]@0.5:2 norm_type=4.0 kernel_size=3",
            "[8,8] norm_type=2.0 kernel_size=2 !ESHAPE expected [N, C, H, W] or [C, H, W]")
SOMA__LINES(adaptive_avg_pool1d, "[2,3,8] output_size=3", "s[1,2,9] output_size=1", "[2,5] output_size=7", "[0,2,4] output_size=2",
            "[1,1,1] output_size=1", "[3,4,6] output_size=6", "[8] output_size=2 !ESHAPE expected [N, C, L] or [C, L]",
            "[1,2,8] output_size=0 !EINVAL output_size is [0], expected one number from 1")
SOMA__LINES(adaptive_avg_pool3d, "[2,3,4,3,5] output_size=2", "s[1,2,3,4,4] output_size=1", "[2,3,3,5] output_size=2,4,3",
            "[0,2,2,2,2] output_size=2", "[1,1,1,1,1] output_size=1", "[1,2,2,3,2] output_size=2,1,2",
            "[2,4,4] output_size=2 !ESHAPE expected [N, C, D, H, W] or [C, D, H, W]",
            "[1,2,4,4,4] output_size=1,0,1 !EINVAL output_size is [1, 0, 1]")
SOMA__LINES(adaptive_max_pool1d, "[2,3,8]@-3:3 output_size=3", "s[1,2,9]@-3:3 output_size=1", "[2,5]@-3:3 output_size=7",
            "[0,2,4] output_size=2", "[1,1,1] output_size=1", "[3,4,6]@-3:3 output_size=6",
            "[8] output_size=2 !ESHAPE expected [N, C, L] or [C, L]")
SOMA__LINES(adaptive_max_pool2d, "[2,3,4,6]@-3:3 output_size=2,3", "s[1,2,5,7]@-3:3 output_size=1", "[2,5,5]@-3:3 output_size=3",
            "[0,2,4,4] output_size=2", "[1,1,1,1] output_size=1", "[1,2,2,3]@-3:3 output_size=3,5",
            "[8,8] output_size=2 !ESHAPE expected [N, C, H, W] or [C, H, W]",
            "[1,2,3,3] output_size=0,1 !EINVAL output_size is [0, 1], expected one or two numbers from 1")
SOMA__LINES(adaptive_max_pool3d, "[2,3,4,3,5]@-3:3 output_size=2", "s[1,2,3,4,4]@-3:3 output_size=1", "[2,3,3,5]@-3:3 output_size=2,4,3",
            "[0,2,2,2,2] output_size=2", "[1,1,1,1,1] output_size=1", "[1,2,2,3,2]@-3:3 output_size=2,1,2",
            "[2,4,4] output_size=2 !ESHAPE expected [N, C, D, H, W] or [C, D, H, W]")

#define KERNEL_ATTRS                                                                                                                       \
    SOMA_NEED_INTS("kernel_size", "size of a window, one number an axis or one for all"),                                                  \
        SOMA_DEF_INTS("stride", "distance of windows; none given: the kernel's size", 0, 0)
#define CEIL_ATTR SOMA_DEF_BOOL("ceil_mode", false, "take windows too that the input fills only in part")
#define PADDING_ATTR SOMA_DEF_INTS("padding", "places on each side, at most half of the kernel", 1, 0)
#define MAX_ATTRS SOMA_ATTRS(KERNEL_ATTRS, PADDING_ATTR, SOMA_DEF_INTS("dilation", "distance of elements in a window", 1, 1), CEIL_ATTR)
#define INCLUDE_ATTR SOMA_DEF_BOOL("count_include_pad", true, "padding counts as zeros; else divide by the elements inside")
#define AVG1_ATTRS SOMA_ATTRS(KERNEL_ATTRS, PADDING_ATTR, CEIL_ATTR, INCLUDE_ATTR)
#define AVG3_ATTRS                                                                                                                         \
    SOMA_ATTRS(KERNEL_ATTRS, PADDING_ATTR, CEIL_ATTR, INCLUDE_ATTR,                                                                        \
               SOMA_DEF_INT("divisor_override", 0, "what sums are divided by; 0: the number of elements"))
#define LP_ATTRS SOMA_ATTRS(SOMA_NEED_FLOAT("norm_type", "p of the norm"), KERNEL_ATTRS, CEIL_ATTR)
#define SIZE_ATTRS SOMA_ATTRS(SOMA_NEED_INTS("output_size", "sizes of the result, one number an axis or one for all"))
#define POOL(NAME, OUTPUTS, ATTRS, ONNX, DOC)                                                                                              \
    static const soma_op NAME##_op = {                                                                                                     \
        SOMA__COMPOSITE(NAME),                                                                                                            \
        .family = "pool",                                                                                                                  \
        .onnx = ONNX,                                                                                                                      \
        .doc = DOC,                                                                                                                        \
        .in = {{.name = "x"}},                                                                                                             \
        .n_in = 1,                                                                                                                         \
        .outputs = OUTPUTS,                                                                                                                \
        .attrs = ATTRS,                                                                                                                    \
        .dtypes = SOMA_FLOATS,                                                                                                             \
        .promote = SOMA_PROMOTE_SAME,                                                                                                      \
        .backward = SOMA_COMPOSED,                                                                                                         \
        .no_grad_out = 1u << 1,                                                                                                            \
    }
POOL(max_pool1d, 1, MAX_ATTRS, "MaxPool",
     "The largest element of each window of x [N, C, L] or [C, L]. The first of equals gets the gradient; NaN is larger than anything.");
POOL(max_pool3d, 1, MAX_ATTRS, "MaxPool", "The largest element of each window of x [N, C, D, H, W] or [C, D, H, W].");
POOL(max_pool1d_with_indices, 2, MAX_ATTRS, "MaxPool", "max_pool1d and the places of the largest (i64), which max_unpool1d takes.");
POOL(max_pool2d_with_indices, 2, MAX_ATTRS, "MaxPool",
     "max_pool2d and the places of the largest in their planes (row * width + column, i64), which max_unpool2d takes.");
POOL(max_pool3d_with_indices, 2, MAX_ATTRS, "MaxPool",
     "max_pool3d and the places of the largest in their boxes ((depth * height + row) * width + column, i64), which max_unpool3d takes.");
POOL(avg_pool1d, 1, AVG1_ATTRS, "AveragePool", "The mean of each window of x [N, C, L] or [C, L].");
POOL(avg_pool3d, 1, AVG3_ATTRS, "AveragePool", "The mean of each window of x [N, C, D, H, W] or [C, D, H, W].");
POOL(lp_pool1d, 1, LP_ATTRS, "LpPool",
     "(sum x^p)^(1/p) over each window of x [N, C, L]: p = 1 sums, large p approaches the maximum. The gradient at a sum of 0 is not "
     "finite for p > 1, "
     "as in PyTorch.");
POOL(lp_pool2d, 1, LP_ATTRS, "LpPool",
     "(sum x^p)^(1/p) over each window of x [N, C, H, W]: p = 1 sums, large p approaches the maximum. The gradient at a sum of 0 is not "
     "finite for p > 1, "
     "as in PyTorch.");
POOL(adaptive_avg_pool1d, 1, SIZE_ATTRS, "GlobalAveragePool",
     "Means over output_size windows that divide x [N, C, L]: part i of n is from floor(i L / n) to ceil((i + 1) L / n).");
POOL(adaptive_avg_pool3d, 1, SIZE_ATTRS, "GlobalAveragePool",
     "Means over output_size boxes that divide x [N, C, D, H, W]; 1 is global average pooling.");
POOL(adaptive_max_pool1d, 2, SIZE_ATTRS, "GlobalMaxPool",
     "Largest of output_size windows that divide x [N, C, L] (see adaptive_avg_pool1d), and their places (i64).");
POOL(adaptive_max_pool2d, 2, SIZE_ATTRS, "GlobalMaxPool",
     "Largest of output_size windows that divide x [N, C, H, W], and their places in the plane (i64); 1 is global max pooling.");
POOL(adaptive_max_pool3d, 2, SIZE_ATTRS, "GlobalMaxPool",
     "Largest of output_size boxes that divide x [N, C, D, H, W], and their places (i64); 1 is global max pooling.");

/* ---- C ---------------------------------------------------------------------------------------------------------------- */

static bool run_pool(const soma_op *op, int axes, soma_tensor *x, const int64_t *kernel, const soma_pool_opts *opts, soma_tensor **out) {
    soma_pool_opts o = {0};
    int64_t all[3];
    if (opts)
        memcpy(&o, opts, SOMA_MIN(opts->size, sizeof o));
    for (int i = 0; i < axes; i++)
        all[i] = kernel[i] ? kernel[i] : kernel[0];
    const bool max = op->name[0] == 'm';
    soma_attr attrs[6] = {soma__attr_axes("kernel_size", axes, all, all), soma__attr_axes("stride", axes, o.stride, all),
                          soma__attr_axes("padding", axes, o.padding, zeros)};
    attrs[3] = max ? soma__attr_axes("dilation", axes, o.dilation, ones) : SOMA_BOOLEAN("ceil_mode", o.ceil_mode);
    attrs[4] = max ? SOMA_BOOLEAN("ceil_mode", o.ceil_mode) : SOMA_BOOLEAN("count_include_pad", !o.count_exclude_pad);
    attrs[5] = SOMA_INT("divisor_override", o.divisor_override);
    return soma__apply(op, &x, 1, attrs, out, 0);
}

/* The pooled, and the places if the caller wants them. */
static soma_tensor *run_max(const soma_op *plain, const soma_op *with, int axes, soma_tensor *x, const int64_t *kernel,
                            const soma_pool_opts *opts, soma_tensor **indices) {
    soma_tensor *out[SOMA_MAX_OUTPUTS] = {0};
    bool ok = run_pool(indices ? with : plain, axes, x, kernel, opts, out);
    if (indices)
        *indices = ok ? out[1] : NULL;
    return ok ? out[0] : NULL;
}

soma_tensor *soma_max_pool1d_ex(soma_tensor *x, int64_t kernel, const soma_pool_opts *opts, soma_tensor **indices) {
    return run_max(&max_pool1d_op, &max_pool1d_with_indices_op, 1, x, &kernel, opts, indices);
}
soma_tensor *soma_max_pool3d_ex(soma_tensor *x, int64_t kd, int64_t kh, int64_t kw, const soma_pool_opts *opts, soma_tensor **indices) {
    return run_max(&max_pool3d_op, &max_pool3d_with_indices_op, 3, x, (const int64_t[]){kd, kh, kw}, opts, indices);
}
soma_tensor *soma_max_pool2d_with_indices_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool_opts *opts, soma_tensor **indices) {
    return run_max(&max_pool2d_with_indices_op, &max_pool2d_with_indices_op, 2, x, (const int64_t[]){kh, kw}, opts, indices);
}
soma_tensor *soma_avg_pool1d_ex(soma_tensor *x, int64_t kernel, const soma_pool_opts *opts) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    return run_pool(&avg_pool1d_op, 1, x, &kernel, opts, out) ? out[0] : NULL;
}
soma_tensor *soma_avg_pool3d_ex(soma_tensor *x, int64_t kd, int64_t kh, int64_t kw, const soma_pool_opts *opts) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    return run_pool(&avg_pool3d_op, 3, x, (const int64_t[]){kd, kh, kw}, opts, out) ? out[0] : NULL;
}
static soma_tensor *run_lp(const soma_op *op, soma_tensor *x, double p, soma_attr kernel, soma_attr stride, bool up) {
    const soma_attr attrs[] = {SOMA_FLOAT("norm_type", p), kernel, stride, SOMA_BOOLEAN("ceil_mode", up)};
    return SOMA__RUN(op, attrs, x);
}
soma_tensor *soma_lp_pool1d(soma_tensor *x, double p, int64_t kernel, int64_t stride, bool ceil_mode) {
    return run_lp(&lp_pool1d_op, x, p, SOMA_INTS("kernel_size", kernel), SOMA_INTS("stride", stride ? stride : kernel), ceil_mode);
}
soma_tensor *soma_lp_pool2d(soma_tensor *x, double p, int64_t kh, int64_t kw, int64_t stride_h, int64_t stride_w, bool ceil_mode) {
    return run_lp(&lp_pool2d_op, x, p, SOMA_INTS("kernel_size", kh, kw),
                  SOMA_INTS("stride", stride_h ? stride_h : kh, stride_w ? stride_w : kw), ceil_mode);
}
static soma_tensor *run_adaptive(const soma_op *op, soma_tensor *x, int axes, const int64_t *size, soma_tensor **indices) {
    soma_attr attr;
    soma_tensor *out[SOMA_MAX_OUTPUTS] = {0};
    bool ok = soma__ints_attr(&attr, op->name, "output_size", axes, size) && soma__apply(op, &x, 1, &attr, out, 0);
    if (indices)
        *indices = ok ? out[1] : NULL;
    return ok ? out[0] : NULL;
}
soma_tensor *soma_adaptive_avg_pool1d(soma_tensor *x, int64_t out) { return run_adaptive(&adaptive_avg_pool1d_op, x, 1, &out, NULL); }
soma_tensor *soma_adaptive_avg_pool3d(soma_tensor *x, int64_t out_d, int64_t out_h, int64_t out_w) {
    return run_adaptive(&adaptive_avg_pool3d_op, x, 3, (const int64_t[]){out_d, out_h, out_w}, NULL);
}
soma_tensor *soma_adaptive_max_pool1d(soma_tensor *x, int64_t out) { return run_adaptive(&adaptive_max_pool1d_op, x, 1, &out, NULL); }
soma_tensor *soma_adaptive_max_pool2d(soma_tensor *x, int64_t out_h, int64_t out_w) {
    return run_adaptive(&adaptive_max_pool2d_op, x, 2, (const int64_t[]){out_h, out_w}, NULL);
}
soma_tensor *soma_adaptive_max_pool3d(soma_tensor *x, int64_t out_d, int64_t out_h, int64_t out_w) {
    return run_adaptive(&adaptive_max_pool3d_op, x, 3, (const int64_t[]){out_d, out_h, out_w}, NULL);
}

soma_op_list soma__pool_nd_ops = {&max_unpool1d_op,
                                  &max_unpool2d_op,
                                  &max_unpool3d_op,
                                  &max_pool1d_op,
                                  &max_pool1d_with_indices_op,
                                  &max_pool2d_with_indices_op,
                                  &max_pool3d_op,
                                  &max_pool3d_with_indices_op,
                                  &avg_pool1d_op,
                                  &avg_pool3d_op,
                                  &lp_pool1d_op,
                                  &lp_pool2d_op,
                                  &adaptive_avg_pool1d_op,
                                  &adaptive_avg_pool3d_op,
                                  &adaptive_max_pool1d_op,
                                  &adaptive_max_pool2d_op,
                                  &adaptive_max_pool3d_op,
                                  NULL};
