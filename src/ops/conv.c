/* conv2d and its two gradients, each an operator: the three are linear in both inputs, and the gradients of each are the
 * other two, so derivatives of any order exist. */
#include "kernels/cpu/conv.h"
#include "kernels/cpu/copy.h"
#include "ops/conv.h"
#include "ops/elementwise.h"

#include <string.h>

/* ---- Attributes and shapes -------------------------------------------------------------------------------------------- */

enum { STRIDE, PADDING, DILATION, GROUPS, SIZE }; /* SIZE: the gradients' last attribute */

#define CONV_ATTRS                                                                                                        \
    SOMA_DEF_INTS("stride", "distance of windows, down and across, or one number for both", 1, 1),                        \
    SOMA_DEF_INTS("padding", "rows and columns of zeros on each side", 1, 0),                                             \
    SOMA_DEF_INTS("dilation", "distance of the kernel's elements", 1, 1),                                                 \
    SOMA_DEF_INT("groups", 1, "parts of the channels that do not mix")

/* Fills `c` from the shapes of x and weight, and checks that they fit. x is [N, C, H, W] or [C, H, W]. */
static bool geometry(const soma_args *a, soma_dtype dtype, int nx, const int64_t *x, int nw, const int64_t *w, soma__conv *c) {
    const char *op = a->op->name;
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    *c = (soma__conv){.dtype = dtype, .groups = soma__attr_int(a, GROUPS)};
    if ((nx != 3 && nx != 4) || nw != 4) {
        soma_fail(SOMA_ESHAPE,
                  "%s: input is %s and weight is %s, expected [N, C, H, W] or [C, H, W], and [out, C / groups, kh, kw]", op,
                  soma__shape_text(nx, x, one, sizeof one), soma__shape_text(nw, w, two, sizeof two));
        return false;
    }
    if (!soma__attr_pair(op, &a->attrs[STRIDE], 1, NULL, c->stride) || !soma__attr_pair(op, &a->attrs[PADDING], 0, NULL, c->padding) ||
        !soma__attr_pair(op, &a->attrs[DILATION], 1, NULL, c->dilation))
        return false;
    c->batch = nx == 4 ? x[0] : 1;
    c->in_channels = x[nx - 3];
    c->in_h = x[nx - 2];
    c->in_w = x[nx - 1];
    c->out_channels = w[0];
    c->kernel[0] = w[2];
    c->kernel[1] = w[3];
    if (c->groups < 1 || c->in_channels % c->groups != 0 || c->out_channels % c->groups != 0) {
        soma_fail(SOMA_EINVAL,
                  "%s: groups is %lld, expected a divisor of the %lld input channels and of the %lld output channels", op,
                  (long long)c->groups, (long long)c->in_channels, (long long)c->out_channels);
        return false;
    }
    if (w[1] != c->in_channels / c->groups) {
        soma_fail(SOMA_ESHAPE, "%s: input is %s with %lld channels a group, weight is %s for %lld", op,
                  soma__shape_text(nx, x, one, sizeof one), (long long)(c->in_channels / c->groups),
                  soma__shape_text(nw, w, two, sizeof two), (long long)w[1]);
        return false;
    }
    for (int i = 0; i < 2; i++) {
        const int64_t size = x[nx - 2 + i] + 2 * c->padding[i], span = c->dilation[i] * (c->kernel[i] - 1) + 1;
        if (c->kernel[i] < 1 || size < span || size > INT32_MAX) {
            soma_fail(SOMA_ESHAPE, "%s: a kernel of %s %lld does not fit an input of %lld with padding %lld", op,
                      i ? "width" : "height", (long long)span, (long long)x[nx - 2 + i], (long long)c->padding[i]);
            return false;
        }
        *(i ? &c->out_w : &c->out_h) = (size - span) / c->stride[i] + 1;
    }
    return true;
}

/* The shape of the output for an x of `nx` dimensions. */
static void output_shape(const soma__conv *c, int nx, soma_meta *out) {
    out->ndim = nx;
    out->shape[0] = c->batch;
    out->shape[nx - 3] = c->out_channels;
    out->shape[nx - 2] = c->out_h;
    out->shape[nx - 1] = c->out_w;
}

static bool fits(const soma_args *a, const soma__conv *c, const soma_tensor *g, int nx) {
    soma_meta want;
    output_shape(c, nx, &want);
    bool ok = g->ndim == nx;
    for (int i = 0; ok && i < nx; i++)
        ok = g->shape[i] == want.shape[i];
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    if (!ok)
        soma_fail(SOMA_ESHAPE, "%s: the gradient is %s, expected %s", a->op->name,
                  soma__shape_text(g->ndim, g->shape, one, sizeof one),
                  soma__shape_text(want.ndim, want.shape, two, sizeof two));
    return ok;
}

/* ---- Operands: row-major or channels-last, in the workspace if need be ------------------------------------------------- */

typedef struct operands {
    const void *in[3];
    char *work;
    size_t bytes;
} operands;

/* f32 results lie channels-last: the next operators keep that, and no image is turned. */
static void lay_result(const soma__conv *c, soma_meta *out) {
    if (c->dtype == SOMA_F32 && soma__conv_any_layout(c))
        soma__lay_channels_last(out);
}

/* Which operand is x and which is y: a number, OUT or NONE. */
enum { OUT = -1, NONE = -2 };

/* Whether operand `i` is taken as it lies; sets what c knows of its layout. */
static bool taken(const soma_args *a, int i, int x, int y, soma__conv *c) {
    const soma_tensor *t = i == OUT ? a->out[0] : a->in[i];
    if (!t || soma__packed_bytes(t) == 0)
        return true;
    if ((i != x && i != y) || !soma__channels_last(t) || !soma__conv_any_layout(c))
        return false;
    *(i == x ? &c->x_last : &c->y_last) = true;
    return true;
}

static operands prepare(const soma_args *a, int x, int y, soma__conv *c) {
    operands o = {.work = a->work, .bytes = a->work_bytes};
    taken(a, OUT, x, y, c);
    for (int i = 0; i < a->n_in && i < 3; i++) {
        const soma_tensor *t = a->in[i];
        o.in[i] = t ? t->data : NULL;
        if (taken(a, i, x, y, c))
            continue;
        const size_t room = soma__packed_bytes(t);
        int64_t stride[SOMA_MAX_DIMS];
        soma__row_major(t->ndim, t->shape, stride);
        soma__copy_elements(soma_dtype_size((soma_dtype)t->dtype), t->ndim, t->shape, o.work, stride, t->data, t->stride);
        o.in[i] = o.work;
        o.work += room;
        o.bytes -= room;
    }
    return o;
}

/* What copies of operands and `work`, the function for the kernel's own part, take; the reference wants all operands row-major. */
static size_t work_bytes(const soma_args *a, int x, int y, soma__conv *c, size_t (*work)(const soma__conv *c)) {
    size_t bytes = 0, plain = 0;
    taken(a, OUT, x, y, c);
    for (int i = 0; i < a->n_in && i < 3; i++) {
        const size_t packed = soma__packed_bytes(a->in[i]);
        plain += packed;
        bytes += taken(a, i, x, y, c) ? 0 : packed;
    }
    bytes += work(c);
    return SOMA_MAX(bytes, plain);
}

/* ---- The reference: one product at a time, in double ------------------------------------------------------------------ */

/* Indices of x, weight and y of product `p`, counted over weight's elements and then y's pixels; false outside of the image.
 */
static bool product_at(const soma__conv *c, int64_t n, int64_t w, int64_t oy, int64_t ox, int64_t *x, int64_t *y) {
    const int64_t in = c->in_channels / c->groups, out = c->out_channels / c->groups, taps = c->kernel[0] * c->kernel[1];
    const int64_t o = w / taps / in, i = w / taps % in, r = w % taps / c->kernel[1], s = w % c->kernel[1];
    const int64_t iy = oy * c->stride[0] + r * c->dilation[0] - c->padding[0],
                  ix = ox * c->stride[1] + s * c->dilation[1] - c->padding[1];
    *x = ((n * c->in_channels + o / out * in + i) * c->in_h + iy) * c->in_w + ix;
    *y = ((n * c->out_channels + o) * c->out_h + oy) * c->out_w + ox;
    return iy >= 0 && iy < c->in_h && ix >= 0 && ix < c->in_w;
}

/* Sums all products into `to` (numbered by x, weight or y), whose elements are of the tensors' dtype; halves round at each
 * step, so it takes one output at a time. */
static void plain(const soma__conv *c, const void *x, const void *w, const void *y, const void *bias, bool relu, int what,
                  const soma_tensor *to) {
    const size_t size = soma_dtype_size(c->dtype);
    const int64_t weights = c->out_channels * (c->in_channels / c->groups) * c->kernel[0] * c->kernel[1];
    for (int64_t k = 0; k < to->numel; k++) {
        double sum =
            bias ? soma__load((const char *)bias + (size_t)(k / (c->out_h * c->out_w) % c->out_channels) * size, c->dtype)
                 : 0;
        for (int64_t n = 0; n < c->batch; n++)
            for (int64_t i = what == 1 ? k : 0; i < (what == 1 ? k + 1 : weights); i++)
                for (int64_t p = 0; p < c->out_h * c->out_w; p++) {
                    int64_t at_x, at_y;
                    if (!product_at(c, n, i, p / c->out_w, p % c->out_w, &at_x, &at_y) || (what == 0 && at_x != k) ||
                        (what == 2 && at_y != k))
                        continue;
                    const void *left =
                        what == 0 ? (const char *)y + (size_t)at_y * size : (const char *)x + (size_t)at_x * size;
                    const void *right = what == 1 ? (const char *)y + (size_t)at_y * size : (const char *)w + (size_t)i * size;
                    sum += soma__load(left, c->dtype) * soma__load(right, c->dtype);
                }
        if (relu && sum <= 0)
            sum = 0;
        int64_t at = 0, rest = k;
        for (int d = to->ndim - 1; d >= 0; rest /= to->shape[d--])
            at += rest % to->shape[d] * to->stride[d];
        soma__store((char *)to->data + (size_t)at * size, c->dtype, sum);
    }
}

/* ---- conv2d
 * ----------------------------------------------------------------------------------------------------------------------------
 */

static bool conv_geometry(const soma_args *a, soma__conv *c) {
    const soma_tensor *x = a->in[0], *w = a->in[1];
    return geometry(a, (soma_dtype)x->dtype, x->ndim, x->shape, w->ndim, w->shape, c);
}

static bool conv_shape(soma_args *a, soma_meta *out) {
    soma__conv c;
    if (!conv_geometry(a, &c))
        return false;
    const soma_tensor *bias = a->in[2];
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    if (bias && (bias->ndim != 1 || bias->shape[0] != c.out_channels)) {
        soma_fail(SOMA_ESHAPE, "conv2d: bias is %s, expected [%lld] for weight %s", soma__tensor_text(bias, one),
                  (long long)c.out_channels, soma__tensor_text(a->in[1], two));
        return false;
    }
    output_shape(&c, a->in[0]->ndim, out);
    lay_result(&c, out);
    return true;
}

static size_t conv_work(soma_args *a) {
    soma__conv c;
    return conv_geometry(a, &c) ? work_bytes(a, 0, OUT, &c, soma__conv_forward_work) : 0;
}

static const soma_op conv2d_op, conv2d_relu_op, conv2d_backward_input_op, conv2d_backward_weight_op;
static bool has_relu(const soma_args *a) { return a->op == &conv2d_relu_op; }

static const char *conv_packed(soma_args *a) {
    soma__conv c;
    conv_geometry(a, &c);
    operands o = prepare(a, 0, OUT, &c);
    if (a->out[0]->numel > 0)
        soma__conv_forward(&c, o.in[0], o.in[1], o.in[2], has_relu(a), a->out[0]->data, o.work, o.bytes);
    return NULL;
}

static const char *conv_plain(soma_args *a) {
    soma__conv c;
    conv_geometry(a, &c);
    operands o = prepare(a, NONE, NONE, &c);
    plain(&c, o.in[0], o.in[1], NULL, o.in[2], has_relu(a), 2, a->out[0]);
    return NULL;
}

static int64_t conv_flops(soma_args *a) {
    const soma_tensor *w = a->in[1];
    return a->out[0]->numel * (2 * w->shape[1] * w->shape[2] * w->shape[3] + (a->in[2] ? 1 : 0));
}

/* The four attributes of conv2d, and as fifth the sizes of what is to be made. */
static soma_tensor *gradient(const soma_op *op, const soma_attr *attrs, const char *name, const int64_t *sizes,
                             soma_tensor *left, soma_tensor *right) {
    soma_attr all[5] = {attrs[STRIDE], attrs[PADDING], attrs[DILATION], attrs[GROUPS], SOMA_INTS(name, sizes[0], sizes[1])};
    return left && right ? SOMA__RUN(op, all, left, right) : NULL;
}
static soma_tensor *input_gradient(const soma_attr *attrs, const int64_t *plane, soma_tensor *g, soma_tensor *w) {
    return gradient(&conv2d_backward_input_op, attrs, "input_size", plane, g, w);
}
static soma_tensor *weight_gradient(const soma_attr *attrs, const int64_t *kernel, soma_tensor *x, soma_tensor *g) {
    return gradient(&conv2d_backward_weight_op, attrs, "kernel_size", kernel, x, g);
}

static void conv_backward(soma_grad_args *g) {
    soma_tensor *go = g->gout[0];
    if (!go)
        return;
    const int nx = g->in_meta[0].ndim;
    if (g->need[0])
        g->gin[0] = input_gradient(g->attrs, &g->in_meta[0].shape[nx - 2], go, g->in[1]);
    if (g->need[1])
        g->gin[1] = weight_gradient(g->attrs, &g->in_meta[1].shape[2], g->in[0], go);
    if (g->n_in > 2 && g->need[2])
        g->gin[2] = nx == 4 ? soma_sum(go, SOMA_DIMS(0, 2, 3), false) : soma_sum(go, SOMA_DIMS(1, 2), false);
}

static void conv_relu_backward(soma_grad_args *g) {
    soma_tensor *masked = g->gout[0] ? soma__relu_gradient(g->gout[0], g->out[0], g->create_graph) : NULL;
    soma_grad_args inner = *g;
    inner.gout = &masked;
    conv_backward(&inner);
}

/* One case for all three operators. A zero attribute is not given. */
typedef struct conv_case {
    int nx;
    int64_t x[4], w[4], stride[2], padding[2], dilation[2], groups;
    const char *error;
    soma_status status;
} conv_case;

static const conv_case cases[] = {
    {4, {2, 3, 5, 6}, {4, 3, 3, 3}, {0}, {0}, {0}, 0, 0, 0},
    {4, {1, 2, 6, 7}, {3, 2, 3, 2}, {2, 1}, {1, 2}, {0}, 0, 0, 0},
    {3, {2, 5, 5}, {3, 2, 2, 2}, {0}, {1, 1}, {2, 2}, 0, 0, 0},
    {4, {2, 4, 4, 5}, {6, 2, 3, 3}, {1, 2}, {1, 1}, {0}, 2, 0, 0},
    {4, {1, 3, 5, 4}, {3, 1, 3, 3}, {2, 2}, {1, 1}, {1, 2}, 3, 0, 0},
    {4, {2, 2, 3, 3}, {2, 2, 1, 1}, {2, 2}, {0}, {0}, 0, 0, 0},
    {4, {0, 2, 4, 4}, {3, 2, 3, 3}, {0}, {0}, {0}, 0, 0, 0},
    {4, {1, 1, 9, 21}, {18, 1, 3, 3}, {0}, {1, 1}, {0}, 0, 0, 0},
};

static const conv_case wrong[] = {
    {2,
     {4, 4},
     {3, 2, 3, 3},
     {0},
     {0},
     {0},
     0,
     "input is [4, 4] and weight is [3, 2, 3, 3], expected [N, C, H, W]",
     SOMA_ESHAPE},
    {4,
     {1, 3, 4, 4},
     {3, 2, 3, 3},
     {0},
     {0},
     {0},
     0,
     "input is [1, 3, 4, 4] with 3 channels a group, weight is [3, 2, 3, 3] for 2",
     SOMA_ESHAPE},
    {4,
     {1, 2, 4, 4},
     {3, 2, 5, 3},
     {0},
     {0},
     {0},
     0,
     "a kernel of height 5 does not fit an input of 4 with padding 0",
     SOMA_ESHAPE},
    {4, {1, 2, 4, 4}, {3, 2, 3, 3}, {-1}, {0}, {0}, 0, "stride is [-1, 0], expected one or two numbers from 1", SOMA_EINVAL},
    {4, {1, 2, 4, 4}, {3, 1, 3, 3}, {0}, {0}, {0}, 2, "groups is 2, expected a divisor", SOMA_EINVAL},
};

static void case_attrs(const conv_case *c, soma_sample *s) {
    const int64_t *given[] = {c->stride, c->padding, c->dilation};
    for (int i = 0; i < 3; i++)
        if (given[i][0] || given[i][1])
            s->attrs[s->n_attrs++] = SOMA_INTS(i == 0 ? "stride" : i == 1 ? "padding" : "dilation", given[i][0], given[i][1]);
    if (c->groups)
        s->attrs[s->n_attrs++] = SOMA_INT("groups", c->groups);
    s->error = c->error;
    s->status = c->status;
}

static bool conv_sample(const conv_case *c, int i, soma_dtype dtype, soma_sample *s) {
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, -1, 1, 100 + (uint64_t)i, c->nx, c->x);
    s->in[1] = soma__sample(dtype, -1, 1, 200 + (uint64_t)i, 4, c->w);
    if (i % 3 == 1)
        s->in[0] = soma__strided(s->in[0]);
    if (i % 2 == 0)
        s->in[s->n_in++] = soma__sample(dtype, -1, 1, 300 + (uint64_t)i, 1, c->w);
    case_attrs(c, s);
    return true;
}

static bool conv_samples(int i, soma_dtype dtype, soma_sample *s) {
    return i < (int)SOMA_LEN(cases) && conv_sample(&cases[i], i, dtype, s);
}
static bool conv_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i < (int)SOMA_LEN(wrong))
        return conv_sample(&wrong[i], i, dtype, s);
    conv_sample(&cases[0], 0, dtype, s);
    s->in[2] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(5));
    s->error = "conv2d: bias is [5]";
    s->status = SOMA_ESHAPE;
    return i == (int)SOMA_LEN(wrong);
}

static const soma_attr_info conv_attrs[] = {CONV_ATTRS};

static const soma_op conv2d_op = {
    .name = "conv2d",
    .family = "conv",
    .onnx = "Conv",
    .doc = "Cross-correlation of x [N, C, H, W] (or [C, H, W]) with weight [out, C / groups, kh, kw], plus bias [out].",
    .in = {{.name = "x"}, {.name = "weight"}, {.name = "bias", .optional = true}},
    .n_in = 3,
    .outputs = 1,
    .attrs = conv_attrs,
    .n_attrs = (int)SOMA_LEN(conv_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = conv_shape,
    .work = conv_work,
    .cpu = {conv_packed, conv_plain},
    .backward = conv_backward,
    .saves_if = {SOMA_SAVE_IN(1), SOMA_SAVE_IN(0)},
    .flops = conv_flops,
    .samples = conv_samples,
    .errors = conv_errors,
};
/* With relu behind it, which costs nothing there. */
static const soma_op conv2d_relu_op = {
    .name = "conv2d_relu",
    .family = "conv",
    .doc = "relu(conv2d)",
    .in = {{.name = "x"}, {.name = "weight"}, {.name = "bias", .optional = true}},
    .n_in = 3,
    .outputs = 1,
    .attrs = conv_attrs,
    .n_attrs = (int)SOMA_LEN(conv_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = conv_shape,
    .work = conv_work,
    .cpu = {conv_packed, conv_plain},
    .backward = conv_relu_backward,
    .saves = SOMA_SAVE_OUT(0),
    .saves_if = {SOMA_SAVE_IN(1), SOMA_SAVE_IN(0)},
    .internal = true,
    .samples = conv_samples,
    .errors = conv_errors,
};

static soma_tensor *run(const soma_op *op, soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv2d_opts *opts) {
    static const soma_conv2d_opts none;
    if (!x || !weight)
        return NULL;
    const soma_conv2d_opts *o = opts ? opts : &none;
    int64_t v[3][2] = {{o->stride[0], o->stride[1]}, {o->padding[0], o->padding[1]}, {o->dilation[0], o->dilation[1]}};
    for (int i = 0; i < 3; i++) {
        if (v[i][0] == 0 && i != PADDING)
            v[i][0] = 1;
        if (v[i][1] == 0)
            v[i][1] = v[i][0];
    }
    const soma_attr attrs[] = {SOMA_INTS("stride", v[0][0], v[0][1]), SOMA_INTS("padding", v[1][0], v[1][1]),
                               SOMA_INTS("dilation", v[2][0], v[2][1]), SOMA_INT("groups", o->groups ? o->groups : 1)};
    return SOMA__RUN(op, attrs, x, weight, bias);
}

soma_tensor *soma_conv2d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv2d_opts *opts) {
    return run(&conv2d_op, x, weight, bias, opts);
}

soma_tensor *soma__conv2d_relu(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv2d_opts *opts) {
    return run(&conv2d_relu_op, x, weight, bias, opts);
}

soma_tensor *soma__conv2d_plain(soma_tensor *x, soma_tensor *w, soma_tensor *bias, const soma__conv_plane *p) {
    const soma_attr attrs[] = {SOMA_INTS("stride", p->stride[0], p->stride[1]), SOMA_INTS("padding", p->padding[0], p->padding[1]),
                               SOMA_INTS("dilation", p->dilation[0], p->dilation[1]), SOMA_INT("groups", p->groups)};
    return SOMA__RUN(&conv2d_op, attrs, x, w, bias);
}

soma_tensor *soma__conv2d_adjoint(soma_tensor *g, soma_tensor *w, const soma__conv_plane *p, const int64_t *plane) {
    const soma_attr attrs[] = {SOMA_INTS("stride", p->stride[0], p->stride[1]), SOMA_INTS("padding", p->padding[0], p->padding[1]),
                               SOMA_INTS("dilation", p->dilation[0], p->dilation[1]), SOMA_INT("groups", p->groups)};
    return input_gradient(attrs, plane, g, w);
}

/* ---- The gradient of x ------------------------------------------------------------------------------------------------ */

static bool two_sizes(const soma_args *a, int64_t *to) {
    const soma_attr *attr = &a->attrs[SIZE];
    if (attr->count == 2 && attr->value.ints[0] >= 0 && attr->value.ints[1] >= 0) {
        to[0] = attr->value.ints[0];
        to[1] = attr->value.ints[1];
        return true;
    }
    char text[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_EINVAL, "%s: %s is %s, expected two sizes", a->op->name, attr->name,
              soma__shape_text(SOMA_MIN(attr->count, SOMA_MAX_DIMS), attr->value.ints, text, sizeof text));
    return false;
}

static bool input_geometry(const soma_args *a, soma__conv *c) {
    const soma_tensor *g = a->in[0], *w = a->in[1];
    int64_t x[SOMA_MAX_DIMS] = {0}, plane[2];
    if (!two_sizes(a, plane))
        return false;
    x[0] = g->ndim == 4 ? g->shape[0] : 0;
    if (g->ndim >= 3) {
        x[g->ndim - 3] = w->ndim > 1 ? w->shape[1] * soma__attr_int(a, GROUPS) : 0;
        x[g->ndim - 2] = plane[0];
        x[g->ndim - 1] = plane[1];
    }
    return geometry(a, (soma_dtype)g->dtype, g->ndim, x, w->ndim, w->shape, c) && fits(a, c, g, g->ndim);
}

static bool input_shape(soma_args *a, soma_meta *out) {
    soma__conv c;
    if (!input_geometry(a, &c))
        return false;
    const int nx = a->in[0]->ndim;
    out->ndim = nx;
    out->shape[0] = c.batch;
    out->shape[nx - 3] = c.in_channels;
    out->shape[nx - 2] = c.in_h;
    out->shape[nx - 1] = c.in_w;
    lay_result(&c, out);
    return true;
}

static size_t input_work(soma_args *a) {
    soma__conv c;
    return input_geometry(a, &c) ? work_bytes(a, OUT, 0, &c, soma__conv_backward_input_work) : 0;
}

static const char *input_packed(soma_args *a) {
    soma__conv c;
    input_geometry(a, &c);
    operands o = prepare(a, OUT, 0, &c);
    if (a->out[0]->numel > 0)
        soma__conv_backward_input(&c, o.in[0], o.in[1], a->out[0]->data, o.work, o.bytes);
    return NULL;
}

static const char *input_plain(soma_args *a) {
    soma__conv c;
    input_geometry(a, &c);
    operands o = prepare(a, NONE, NONE, &c);
    plain(&c, NULL, o.in[1], o.in[0], NULL, false, 0, a->out[0]);
    return NULL;
}

static int64_t input_flops(soma_args *a) {
    const soma_tensor *w = a->in[1];
    return 2 * a->in[0]->numel * w->shape[1] * w->shape[2] * w->shape[3];
}

/* Of the gradient with respect to (g, weight): conv2d of what comes, and the weight's gradient with what comes as x. */
static void input_backward(soma_grad_args *g) {
    soma_tensor *go = g->gout[0];
    if (!go)
        return;
    if (g->need[0])
        g->gin[0] = SOMA__RUN(&conv2d_op, g->attrs, go, g->in[1], NULL);
    if (g->need[1])
        g->gin[1] = weight_gradient(g->attrs, &g->in_meta[1].shape[2], go, g->in[0]);
}

/* y's sizes of a case. */
static void case_output(const conv_case *c, int64_t *y) {
    memcpy(y, c->x, sizeof c->x);
    y[c->nx - 3] = c->w[0];
    for (int i = 0; i < 2; i++) {
        int64_t stride = c->stride[i] ? c->stride[i] : 1, dilation = c->dilation[i] ? c->dilation[i] : 1;
        y[c->nx - 2 + i] = (c->x[c->nx - 2 + i] + 2 * c->padding[i] - dilation * (c->w[2 + i] - 1) - 1) / stride + 1;
    }
}

static bool gradient_sample(int i, soma_dtype dtype, bool of_input, soma_sample *s) {
    if (i >= (int)SOMA_LEN(cases))
        return false;
    const conv_case *c = &cases[i];
    int64_t y[4];
    case_output(c, y);
    soma_tensor *g = soma__sample(dtype, -1, 1, 400 + (uint64_t)i, c->nx, y);
    s->n_in = 2;
    s->in[0] = of_input ? g : soma__sample(dtype, -1, 1, 100 + (uint64_t)i, c->nx, c->x);
    s->in[1] = of_input ? soma__sample(dtype, -1, 1, 200 + (uint64_t)i, 4, c->w) : g;
    if (i % 2)
        s->in[i / 2 % 2] = soma__strided(s->in[i / 2 % 2]);
    case_attrs(c, s);
    s->attrs[s->n_attrs++] =
        of_input ? SOMA_INTS("input_size", c->x[c->nx - 2], c->x[c->nx - 1]) : SOMA_INTS("kernel_size", c->w[2], c->w[3]);
    return true;
}

static bool input_samples(int i, soma_dtype dtype, soma_sample *s) { return gradient_sample(i, dtype, true, s); }
static bool weight_samples(int i, soma_dtype dtype, soma_sample *s) { return gradient_sample(i, dtype, false, s); }

static bool gradient_errors(int i, soma_dtype dtype, bool of_input, soma_sample *s) {
    if (!gradient_sample(0, dtype, of_input, s) || i > 1)
        return false;
    if (i == 0) {
        s->in[of_input ? 0 : 1] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(2, 4, 3, 5));
        s->error = "the gradient is [2, 4, 3, 5], expected [2, 4, 3, 4]";
        s->status = SOMA_ESHAPE;
        return true;
    }
    s->attrs[s->n_attrs - 1].count = 1;
    s->error = of_input ? "input_size is [5], expected two sizes" : "kernel_size is [3], expected two sizes";
    s->status = SOMA_EINVAL;
    return true;
}
static bool input_errors(int i, soma_dtype dtype, soma_sample *s) { return gradient_errors(i, dtype, true, s); }
static bool weight_errors(int i, soma_dtype dtype, soma_sample *s) { return gradient_errors(i, dtype, false, s); }

static const soma_attr_info input_attrs[] = {CONV_ATTRS, SOMA_NEED_INTS("input_size", "height and width of x")};

static const soma_op conv2d_backward_input_op = {
    .name = "conv2d_backward_input",
    .family = "conv",
    .doc = "Gradient of conv2d with respect to x, from that of its output.",
    .in = {{.name = "g"}, {.name = "weight"}},
    .n_in = 2,
    .outputs = 1,
    .attrs = input_attrs,
    .n_attrs = (int)SOMA_LEN(input_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = input_shape,
    .work = input_work,
    .cpu = {input_packed, input_plain},
    .backward = input_backward,
    .saves_if = {SOMA_SAVE_IN(1), SOMA_SAVE_IN(0)},
    .internal = true,
    .flops = input_flops,
    .samples = input_samples,
    .errors = input_errors,
};

/* ---- The gradient of weight ------------------------------------------------------------------------------------------- */

static bool weight_geometry(const soma_args *a, soma__conv *c) {
    const soma_tensor *x = a->in[0], *g = a->in[1];
    int64_t w[4], kernel[2];
    if (!two_sizes(a, kernel))
        return false;
    const int64_t groups = SOMA_MAX(1, soma__attr_int(a, GROUPS));
    w[0] = g->ndim >= 3 ? g->shape[g->ndim - 3] : 0;
    w[1] = x->ndim >= 3 ? x->shape[x->ndim - 3] / groups : 0;
    w[2] = kernel[0];
    w[3] = kernel[1];
    return geometry(a, (soma_dtype)x->dtype, x->ndim, x->shape, 4, w, c) && fits(a, c, g, x->ndim);
}

static bool weight_shape(soma_args *a, soma_meta *out) {
    soma__conv c;
    if (!weight_geometry(a, &c))
        return false;
    out->ndim = 4;
    out->shape[0] = c.out_channels;
    out->shape[1] = c.in_channels / c.groups;
    out->shape[2] = c.kernel[0];
    out->shape[3] = c.kernel[1];
    return true;
}

static size_t weight_work(soma_args *a) {
    soma__conv c;
    return weight_geometry(a, &c) ? work_bytes(a, 0, 1, &c, soma__conv_backward_weight_work) : 0;
}

static const char *weight_packed(soma_args *a) {
    soma__conv c;
    weight_geometry(a, &c);
    operands o = prepare(a, 0, 1, &c);
    if (a->out[0]->numel > 0)
        soma__conv_backward_weight(&c, o.in[0], o.in[1], a->out[0]->data, o.work, o.bytes);
    return NULL;
}

static const char *weight_plain(soma_args *a) {
    soma__conv c;
    weight_geometry(a, &c);
    operands o = prepare(a, NONE, NONE, &c);
    plain(&c, o.in[0], NULL, o.in[1], NULL, false, 1, a->out[0]);
    return NULL;
}

static int64_t weight_flops(soma_args *a) {
    const soma_tensor *w = a->out[0];
    return 2 * a->in[1]->numel * w->shape[1] * w->shape[2] * w->shape[3];
}

/* Of the gradient with respect to (x, g): the input's gradient with what comes as weight, and conv2d by it. */
static void weight_backward(soma_grad_args *g) {
    soma_tensor *go = g->gout[0];
    if (!go)
        return;
    const int nx = g->in_meta[0].ndim;
    if (g->need[0])
        g->gin[0] = input_gradient(g->attrs, &g->in_meta[0].shape[nx - 2], g->in[1], go);
    if (g->need[1])
        g->gin[1] = SOMA__RUN(&conv2d_op, g->attrs, g->in[0], go, NULL);
}

static const soma_attr_info weight_attrs[] = {CONV_ATTRS, SOMA_NEED_INTS("kernel_size", "height and width of the kernel")};

static const soma_op conv2d_backward_weight_op = {
    .name = "conv2d_backward_weight",
    .family = "conv",
    .doc = "Gradient of conv2d with respect to weight, from that of its output.",
    .in = {{.name = "x"}, {.name = "g"}},
    .n_in = 2,
    .outputs = 1,
    .attrs = weight_attrs,
    .n_attrs = (int)SOMA_LEN(weight_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = weight_shape,
    .work = weight_work,
    .cpu = {weight_packed, weight_plain},
    .backward = weight_backward,
    .saves_if = {SOMA_SAVE_IN(1), SOMA_SAVE_IN(0)},
    .internal = true,
    .flops = weight_flops,
    .samples = weight_samples,
    .errors = weight_errors,
};

const soma_op *const soma__conv_ops[] = {&conv2d_op, &conv2d_relu_op, &conv2d_backward_input_op, &conv2d_backward_weight_op, NULL};
