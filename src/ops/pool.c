/* Pooling over the last two dimensions of [N, C, H, W] or [C, H, W]: max_pool2d, avg_pool2d, adaptive_avg_pool2d and their
 * gradients, which are operators with gradients of their own. Sizes and window rules are PyTorch's. f16 and bf16 are worked
 * out in f32 and rounded once. */
#include "ops/pool_last.h"
#include "ops/shape.h"

#include "kernels/cpu/copy.h"
#include "kernels/cpu/pool.h"

#include <string.h>

/* ---- Windows ---------------------------------------------------------------------------------------------------- */

static bool plane_input(const char *op, int ndim, const int64_t *shape, soma__pool *p) {
    char text[SOMA__SHAPE_TEXT];
    bool ok = ndim == 3 || ndim == 4;
    for (int i = 0; ok && i < 2; i++) {
        p->in[i] = shape[ndim - 2 + i];
        ok = p->in[i] > 0;
    }
    if (ok && p->in[0] <= INT32_MAX / p->in[1]) {
        p->planes = ndim == 4 ? shape[0] * shape[1] : shape[0];
        return true;
    }
    soma_fail(SOMA_ESHAPE, "%s: input is %s, expected [N, C, H, W] or [C, H, W] with 1 to 2147483647 elements in H x W", op,
              soma__shape_text(ndim, shape, text, sizeof text));
    return false;
}

/* Sizes of the output along one axis: windows that begin inside the plane or its padding before; with `up` also those that
 * the plane fills only in part, unless they would begin behind it. */
static bool count_windows(const char *op, soma__pool *p, int axis, bool up) {
    int64_t span = (p->kernel[axis] - 1) * p->dilation[axis] + 1, room = p->in[axis] + 2 * p->padding[axis] - span;
    const char *name = axis == 0 ? "height" : "width";
    if (2 * p->padding[axis] > span) {
        soma_fail(SOMA_EINVAL, "%s: padding %lld is more than half of the kernel's %s, %lld", op,
                  (long long)p->padding[axis], name, (long long)span);
        return false;
    }
    if (room + (up ? p->stride[axis] - 1 : 0) < 0) {
        soma_fail(SOMA_ESHAPE, "%s: a kernel of %s %lld does not fit an input of %s %lld with padding %lld", op, name,
                  (long long)span, name, (long long)p->in[axis], (long long)p->padding[axis]);
        return false;
    }
    int64_t n = (room + (up ? p->stride[axis] - 1 : 0)) / p->stride[axis] + 1;
    if (up && (n - 1) * p->stride[axis] >= p->in[axis] + p->padding[axis])
        n--;
    p->out[axis] = n;
    for (int64_t o = 0; p->dilation[axis] > 1 && o < n; o++) {
        soma__window w = soma__pool_window(p, axis, o);
        if (w.start < w.end)
            continue;
        soma_fail(SOMA_EINVAL, "%s: window %lld along the %s lies in the padding only", op, (long long)o, name);
        return false;
    }
    return true;
}

/* Attributes kernel_size, stride, padding and ceil_mode stand at `at` … `at` + 3; dilation (-1: none) elsewhere. */
static bool find_windows(const soma_args *a, int at, int dilation, int ndim, const int64_t *shape, soma__pool *p) {
    static const int64_t zero[2] = {0, 0}, one[2] = {1, 1};
    const char *op = a->op->name;
    *p = (soma__pool){.dilation = {1, 1}};
    bool up = soma__attr_int(a, at + 3) != 0;
    if (a->attrs[at].count < 1) {
        soma_fail(SOMA_EINVAL, "%s: kernel_size is empty, expected one or two numbers", op);
        return false;
    }
    return plane_input(op, ndim, shape, p) && soma__attr_pair(op, &a->attrs[at], 1, one, p->kernel) &&
           soma__attr_pair(op, &a->attrs[at + 1], 1, p->kernel, p->stride) && soma__attr_pair(op, &a->attrs[at + 2], 0, zero, p->padding) &&
           (dilation < 0 || soma__attr_pair(op, &a->attrs[dilation], 1, one, p->dilation)) && count_windows(op, p, 0, up) &&
           count_windows(op, p, 1, up);
}

static void pooled_shape(const soma__pool *p, const soma_tensor *x, soma_meta *out) {
    out->ndim = x->ndim;
    memcpy(out->shape, x->shape, sizeof out->shape);
    out->shape[x->ndim - 2] = p->out[0];
    out->shape[x->ndim - 1] = p->out[1];
    soma__pool_last_lay(x, false, out);
}

static bool is_2x2(const soma__pool *p) {
    bool ok = !p->adaptive && !p->divisor;
    for (int i = 0; i < 2; i++)
        ok = ok && p->kernel[i] == 2 && p->stride[i] == 2 && p->padding[i] == 0 && p->dilation[i] == 1 &&
             2 * p->out[i] <= p->in[i];
    return ok;
}

/* ---- Contiguous operands of a dtype that kernels have ----------------------------------------------------------- */

/* Room for x made contiguous, and where 16-bit floats become f32, for x and the result. */
static size_t prepared_bytes(const soma_tensor *x, int64_t out) {
    if (soma__is_half(x))
        return sizeof(float) * (size_t)(x->numel + out);
    return soma__contiguous(x) ? 0 : soma_dtype_size((soma_dtype)x->dtype) * (size_t)x->numel;
}

typedef struct prepared {
    soma_dtype dtype;
    const void *in;
    void *out;
} prepared;

static prepared prepare(soma_args *a) {
    const soma_tensor *x = a->in[0];
    prepared r = {(soma_dtype)x->dtype, x->data, a->out[0]->data};
    if (soma__is_half(x)) {
        soma__copy_to_floats(a->work, x);
        r = (prepared){SOMA_F32, a->work, (float *)a->work + x->numel};
    } else if (!soma__contiguous(x)) {
        int64_t stride[SOMA_MAX_DIMS];
        soma__row_major(x->ndim, x->shape, stride);
        soma__copy_elements(soma_dtype_size(r.dtype), x->ndim, x->shape, a->work, stride, x->data, x->stride);
        r.in = a->work;
    }
    return r;
}

static void finish(soma_args *a, const prepared *r) {
    if (r->out != a->out[0]->data)
        soma__copy_from_floats(a->out[0], r->out);
}

typedef struct fast_job {
    const soma__pool *p;
    const soma__pool_kernels *k;
    const float *from;
    float *to;
    const int32_t *index_in;
    int32_t *index_out;
} fast_job;

static void run_fast(fast_job *j, soma__range_fn fn) {
    j->k = soma__pool_table_pick();
    soma__parallel(j->p->planes, SOMA_MAX(1, (1 << 14) / (j->p->in[0] * j->p->in[1])), fn, j);
}

/* ---- max_pool2d ------------------------------------------------------------------------------------------------- */

static bool max_windows(const soma_args *a, soma__pool *p) {
    return find_windows(a, 0, 4, a->in[0]->ndim, a->in[0]->shape, p);
}

static bool max_shape(soma_args *a, soma_meta *out) {
    soma__pool p;
    if (!max_windows(a, &p))
        return false;
    pooled_shape(&p, a->in[0], &out[0]);
    pooled_shape(&p, a->in[0], &out[1]);
    out[1].dtype = SOMA_I32;
    return true;
}

static size_t pool_work(soma_args *a) { return soma__pool_last(a->in[0]) ? 0 : prepared_bytes(a->in[0], a->out[0]->numel); }
static size_t back_work(soma_args *a) {
    return soma__pool_last(a->out[0]) ? soma__pool_last_work(a) : prepared_bytes(a->in[0], a->out[0]->numel);
}

static void max_fast_range(void *arg, int64_t begin, int64_t end) {
    const fast_job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1];
    for (int64_t i = begin; i < end; i++)
        if (is_2x2(j->p))
            j->k->max2x2(j->p, j->from + i * in, j->to + i * out, j->index_out + i * out);
        else
            j->k->max_any(j->p, j->from + i * in, j->to + i * out, j->index_out + i * out);
}

static const char *const not_last = "the kernel is for channels-last f32";

static const char *max_last(soma_args *a) {
    soma__pool p;
    if (!soma__pool_last(a->in[0]) || !max_windows(a, &p))
        return not_last;
    soma__pool_last_max(a, &p);
    return NULL;
}

static const char *max_fast(soma_args *a) {
    soma__pool p;
    if (a->in[0]->dtype != SOMA_F32 || !max_windows(a, &p))
        return "the fast kernel is for f32";
    prepared r = prepare(a);
    fast_job j = {.p = &p, .from = r.in, .to = r.out, .index_out = a->out[1]->data};
    run_fast(&j, max_fast_range);
    return NULL;
}

static const char *max_any(soma_args *a) {
    soma__pool p;
    max_windows(a, &p);
    prepared r = prepare(a);
    soma__max_pool(&p, r.dtype, r.in, r.out, a->out[1]->data);
    finish(a, &r);
    return NULL;
}

static int64_t pool_flops(soma_args *a) {
    const soma_attr *kernel = &a->attrs[0];
    return a->out[0]->numel * kernel->value.ints[0] * kernel->value.ints[kernel->count - 1];
}

static const soma_op max_pool2d_backward_op;

/* Gradients of channels-last tensors lie so too. */
static soma_attr last_attr(const soma_meta *x) { return SOMA_BOOLEAN("channels_last", soma__was_channels_last(x)); }

static void max_backward(soma_grad_args *g) {
    soma__pool p;
    const soma_meta *x = &g->in_meta[0];
    soma_args a = {.op = g->op, .attrs = g->attrs};
    soma_attr attrs[3];
    if (!g->gout[0] || !find_windows(&a, 0, 4, x->ndim, x->shape, &p) ||
        !soma__ints_attr(&attrs[0], "max_pool2d_backward", "shape", x->ndim, x->shape))
        return;
    attrs[1] = SOMA_BOOLEAN("is_2x2", is_2x2(&p));
    attrs[2] = last_attr(x);
    g->gin[0] = SOMA__RUN(&max_pool2d_backward_op, attrs, g->gout[0], g->out[1]);
}

/* kernel, stride, padding, dilation: one number for both axes, 0: not given. */
typedef struct pool_case {
    int ndim;
    int64_t shape[4], kernel, stride, padding, dilation, up;
    const char *error;
    soma_status status;
} pool_case;

static bool pool_sample(const pool_case *c, int n, int i, soma_dtype dtype, soma_sample *s) {
    if (i >= n)
        return false;
    c += i;
    *s = (soma_sample){.n_in = 1};
    /* Distances between equal-looking values are wide enough for central differences not to change which is the largest. */
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i + 11, c->ndim, c->shape);
    if (i % 2 && !c->error)
        s->in[0] = soma__strided(s->in[0]);
    s->error = c->error;
    s->status = c->status;
    s->attrs[s->n_attrs++] = SOMA_INTS("kernel_size", c->kernel, c->kernel);
    if (c->stride)
        s->attrs[s->n_attrs++] = SOMA_INTS("stride", c->stride);
    if (c->padding)
        s->attrs[s->n_attrs++] = SOMA_INTS("padding", c->padding, c->padding);
    if (c->dilation)
        s->attrs[s->n_attrs++] = SOMA_INTS("dilation", c->dilation);
    if (c->up)
        s->attrs[s->n_attrs++] = SOMA_BOOLEAN("ceil_mode", true);
    return true;
}

static bool max_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const pool_case c[] = {
        {4, {2, 3, 4, 6}, 2, 0, 0, 0, 0, 0, 0},  {4, {1, 2, 5, 7}, 3, 2, 1, 0, 0, 0, 0},
        {3, {2, 5, 5}, 2, 2, 0, 0, 1, 0, 0},     {4, {1, 2, 7, 6}, 2, 1, 1, 2, 0, 0, 0},
        {4, {1, 1, 5, 19}, 2, 0, 0, 0, 0, 0, 0}, {4, {0, 2, 4, 4}, 2, 0, 0, 0, 0, 0, 0},
    };
    return pool_sample(c, (int)SOMA_LEN(c), i, dtype, s);
}

static bool max_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const pool_case c[] = {
        {4, {2, 3, 4, 6}, 3, 1, 2, 0, 0, "max_pool2d: padding 2 is more than half of the kernel's height, 3", SOMA_EINVAL},
        {4, {2, 3, 4, 6}, 5, 1, 0, 0, 0, "max_pool2d: a kernel of height 5 does not fit an input of height 4", SOMA_ESHAPE},
        {2, {4, 6}, 2, 1, 0, 0, 0, "max_pool2d: input is [4, 6], expected [N, C, H, W]", SOMA_ESHAPE},
        {4, {2, 3, 4, 6}, 0, 1, 0, 0, 0, "kernel_size is [0, 0], expected one or two numbers from 1", SOMA_EINVAL},
        {4, {2, 3, 4, 6}, 2, -1, 0, 0, 0, "max_pool2d: stride is [-1]", SOMA_EINVAL},
        {4, {1, 1, 1, 1}, 2, 1, 2, 3, 0, "window 0 along the height lies in the padding only", SOMA_EINVAL},
    };
    return pool_sample(c, (int)SOMA_LEN(c), i, dtype, s);
}

#define WINDOW_ATTRS                                                                                                        \
    SOMA_NEED_INTS("kernel_size", "height and width of a window, or one number for both"),                                  \
        SOMA_DEF_INTS("stride", "distance of windows; none given: the kernel's size", 0, 0),                                \
        SOMA_DEF_INTS("padding", "rows and columns around the plane, at most half of the kernel", 1, 0),                    \
        SOMA_DEF_BOOL("ceil_mode", false, "take windows too that the plane fills only in part")

static const soma_attr_info max_attrs[] = {WINDOW_ATTRS,
                                           SOMA_DEF_INTS("dilation", "distance of elements in a window", 1, 1)};

static const soma_op max_pool2d_op = {
    .name = "max_pool2d",
    .family = "pool",
    .onnx = "MaxPool",
    .doc = "The largest element of each window, and its place in the plane (row * width + column, i32): the first of "
           "equals. NaN is "
           "larger than anything.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 2,
    .attrs = max_attrs,
    .n_attrs = (int)SOMA_LEN(max_attrs),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = max_shape,
    .work = pool_work,
    .cpu = {max_last, max_fast, max_any},
    .backward = max_backward,
    .saves = SOMA_SAVE_OUT(1),
    .no_grad_out = 1u << 1,
    .flops = pool_flops,
    .samples = max_samples,
    .errors = max_errors,
};

/* ---- Its gradient: g goes to the place of the largest ----------------------------------------------------------- */

static bool max_back_shape(soma_args *a, soma_meta *out) {
    const soma_attr *shape = &a->attrs[0];
    soma__pool p;
    const soma_tensor *g = a->in[0];
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (!plane_input(a->op->name, shape->count, shape->value.ints, &p))
        return false;
    out->ndim = shape->count;
    memcpy(out->shape, shape->value.ints, sizeof out->shape);
    bool ok = soma__same_shape(g, a->in[1]) && g->ndim == shape->count;
    for (int d = 0; ok && d < g->ndim - 2; d++)
        ok = g->shape[d] == out->shape[d];
    if (!ok)
        soma_fail(SOMA_ESHAPE, "max_pool2d_backward: g is %s and indices are %s, which do not fit an input of shape %s",
                  soma__tensor_text(g, have), soma__shape_text(a->in[1]->ndim, a->in[1]->shape, want, sizeof want),
                  soma__shape_text(out->ndim, out->shape, (char[SOMA__SHAPE_TEXT]){0}, SOMA__SHAPE_TEXT));
    soma__pool_last_lay(g, soma__attr_int(a, 2), out);
    return ok;
}

static size_t index_bytes(const soma_tensor *index) {
    return soma__contiguous(index) ? 0 : sizeof(int32_t) * (size_t)index->numel;
}

/* Indices first, then what g needs. */
static size_t max_back_work(soma_args *a) {
    if (soma__pool_last(a->out[0]))
        return soma__pool_last_work(a);
    size_t index = (index_bytes(a->in[1]) + 63) / 64 * 64;
    return index + prepared_bytes(a->in[0], a->out[0]->numel);
}

/* What both kernels need; moves a->work behind the indices. */
static prepared max_back_prepare(soma_args *a, soma__pool *p, const int32_t **index) {
    const soma_tensor *g = a->in[0], *i = a->in[1];
    soma_args rest = *a;
    plane_input(a->op->name, a->out[0]->ndim, a->out[0]->shape, p);
    p->out[0] = g->shape[g->ndim - 2];
    p->out[1] = g->shape[g->ndim - 1];
    *index = i->data;
    if (index_bytes(i) > 0) {
        int64_t stride[SOMA_MAX_DIMS];
        soma__row_major(i->ndim, i->shape, stride);
        soma__copy_elements(sizeof(int32_t), i->ndim, i->shape, a->work, stride, i->data, i->stride);
        *index = a->work;
        rest.work = (char *)a->work + (index_bytes(i) + 63) / 64 * 64;
    }
    return prepare(&rest);
}

static void max_back_2x2_range(void *arg, int64_t begin, int64_t end) {
    const fast_job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1];
    for (int64_t i = begin; i < end; i++)
        j->k->max2x2_backward(j->p, j->from + i * out, j->index_in + i * out, j->to + i * in);
}

static bool back_is_2x2(const soma_args *a) {
    const soma_tensor *g = a->in[0], *x = a->out[0];
    return g->dtype == SOMA_F32 && soma__attr_int(a, 1) && g->shape[g->ndim - 2] == x->shape[x->ndim - 2] / 2 &&
           g->shape[g->ndim - 1] == x->shape[x->ndim - 1] / 2;
}

static const char *max_back_last(soma_args *a) {
    const soma_tensor *g = a->in[0];
    soma__pool p = {.out = {g->shape[g->ndim - 2], g->shape[g->ndim - 1]}};
    if (!soma__pool_last(a->out[0]) || !plane_input(a->op->name, a->out[0]->ndim, a->out[0]->shape, &p))
        return not_last;
    soma__pool_last_max_backward(a, &p, back_is_2x2(a));
    return NULL;
}

static const char *max_back_2x2(soma_args *a) {
    if (!back_is_2x2(a))
        return "the fast kernel is for f32 and windows of 2 x 2 without overlap";
    soma__pool p = {0};
    const int32_t *index;
    prepared r = max_back_prepare(a, &p, &index);
    fast_job j = {.p = &p, .from = r.in, .to = r.out, .index_in = index};
    run_fast(&j, max_back_2x2_range);
    return NULL;
}

static const char *max_back_any(soma_args *a) {
    soma__pool p = {0};
    const int32_t *index;
    prepared r = max_back_prepare(a, &p, &index);
    soma__max_pool_backward(&p, r.dtype, r.in, index, r.out);
    finish(a, &r);
    return NULL;
}

/* d/dg: what stands at those places. */
static void max_back_backward(soma_grad_args *g) {
    const soma_meta *out = &g->in_meta[0];
    if (!g->gout[0] || !g->need[0])
        return;
    soma_tensor *planes = soma_flatten(g->gout[0], -2, -1);
    g->gin[0] = soma_reshape(soma_gather(planes, -1, soma_flatten(g->in[1], -2, -1)), out->ndim, out->shape);
}

#define LAST_ATTR SOMA_DEF_BOOL("channels_last", false, "order of the result in memory")
static const soma_attr_info max_back_attrs[] = {SOMA_NEED_INTS("shape", "shape of what was pooled"),
                                                SOMA_DEF_BOOL("is_2x2", false, "windows are 2 x 2 and do not overlap"), LAST_ATTR};

static bool max_back_samples(int i, soma_dtype dtype, soma_sample *s) {
    int64_t n = i < 2 ? 2 : 1, c = 3 - n;
    s->n_in = 2;
    s->n_attrs = 3;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(n, c, 2, 2));
    s->attrs[0] = SOMA_INTS("shape", n, c, 4, 5);
    s->attrs[1] = SOMA_BOOLEAN("is_2x2", i % 2 == 0);
    s->attrs[2] = SOMA_BOOLEAN("channels_last", i > 1);
    static const int32_t apart[] = {0, 8, 15, 13, 6, 3, 11, 17}, same[] = {6, 6, 6, 12, 1, 7, 7, 1};
    s->in[1] = soma_from_array(i % 2 == 0 ? apart : same, SOMA_SHAPE(n, c, 2, 2), SOMA_I32);
    return i < 4;
}

static bool max_back_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->n_in = 2;
    s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(2, 1, 2, 2));
    s->in[1] = soma_zeros(SOMA_SHAPE(2, 1, 2, 3), SOMA_I32);
    s->attrs[0] = SOMA_INTS("shape", 2, 1, 4, 5);
    s->error = "do not fit an input of shape [2, 1, 4, 5]";
    s->status = SOMA_ESHAPE;
    return i == 0;
}

static const soma_op max_pool2d_backward_op = {
    .name = "max_pool2d_backward",
    .family = "pool",
    .doc = "Gradient of max_pool2d: g at the places of the largest, zero elsewhere.",
    .in = {{.name = "g"}, {.name = "indices", .dtypes = SOMA_BIT(SOMA_I32), .apart = true}},
    .n_in = 2,
    .outputs = 1,
    .attrs = max_back_attrs,
    .n_attrs = (int)SOMA_LEN(max_back_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = max_back_shape,
    .work = max_back_work,
    .cpu = {max_back_last, max_back_2x2, max_back_any},
    .backward = max_back_backward,
    .saves = SOMA_SAVE_IN(1),
    .no_grad_in = 1u << 1,
    .internal = true,
    .samples = max_back_samples,
    .errors = max_back_errors,
};

/* ---- avg_pool2d ------------------------------------------------------------------------------------------------- */

static bool avg_windows(const soma_args *a, int at, int ndim, const int64_t *shape, soma__pool *p) {
    if (!find_windows(a, at, -1, ndim, shape, p))
        return false;
    p->include_pad = soma__attr_int(a, at + 4) != 0;
    p->divisor = soma__attr_int(a, at + 5);
    if (p->divisor < 0)
        soma_fail(SOMA_EINVAL, "%s: divisor_override is %lld, expected 1 or more", a->op->name, (long long)p->divisor);
    return p->divisor >= 0;
}

static bool avg_shape(soma_args *a, soma_meta *out) {
    soma__pool p;
    if (!avg_windows(a, 0, a->in[0]->ndim, a->in[0]->shape, &p))
        return false;
    pooled_shape(&p, a->in[0], out);
    return true;
}

static void avg_fast_range(void *arg, int64_t begin, int64_t end) {
    const fast_job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1];
    for (int64_t i = begin; i < end; i++)
        if (is_2x2(j->p))
            j->k->avg2x2(j->p, j->from + i * in, j->to + i * out);
        else
            j->k->avg_any(j->p, j->from + i * in, j->to + i * out);
}

static const char *avg_last(soma_args *a) {
    soma__pool p;
    if (!soma__pool_last(a->in[0]) || !avg_windows(a, 0, a->in[0]->ndim, a->in[0]->shape, &p))
        return not_last;
    soma__pool_last_avg(a, &p);
    return NULL;
}

static const char *avg_fast(soma_args *a) {
    soma__pool p;
    if (a->in[0]->dtype != SOMA_F32 || !avg_windows(a, 0, a->in[0]->ndim, a->in[0]->shape, &p))
        return "the fast kernel is for f32";
    prepared r = prepare(a);
    fast_job j = {.p = &p, .from = r.in, .to = r.out};
    run_fast(&j, avg_fast_range);
    return NULL;
}

static const char *avg_any(soma_args *a) {
    soma__pool p;
    avg_windows(a, 0, a->in[0]->ndim, a->in[0]->shape, &p);
    prepared r = prepare(a);
    soma__avg_pool(&p, r.dtype, r.in, r.out);
    finish(a, &r);
    return NULL;
}

static const soma_op avg_pool2d_op, avg_pool2d_backward_op;

static void avg_backward(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0];
    soma_attr attrs[8];
    if (!g->gout[0] || !soma__ints_attr(&attrs[0], "avg_pool2d_backward", "shape", x->ndim, x->shape))
        return;
    memcpy(attrs + 1, g->attrs, 6 * sizeof *attrs);
    attrs[7] = last_attr(x);
    g->gin[0] = SOMA__RUN(&avg_pool2d_backward_op, attrs, g->gout[0]);
}

static bool avg_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const pool_case c[] = {
        {4, {2, 3, 4, 6}, 2, 0, 0, 0, 0, 0, 0},  {4, {1, 2, 5, 7}, 3, 2, 1, 0, 0, 0, 0}, {3, {2, 5, 5}, 2, 2, 0, 0, 1, 0, 0},
        {4, {1, 1, 5, 19}, 2, 0, 0, 0, 0, 0, 0}, {4, {1, 2, 5, 4}, 3, 2, 1, 0, 1, 0, 0},
    };
    if (!pool_sample(c, (int)SOMA_LEN(c), i % (int)SOMA_LEN(c), dtype, s) || i >= 2 * (int)SOMA_LEN(c))
        return false;
    if (i >= (int)SOMA_LEN(c))
        s->attrs[s->n_attrs++] = i % 2 ? SOMA_BOOLEAN("count_include_pad", false) : SOMA_INT("divisor_override", 3);
    return true;
}

static bool avg_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const pool_case c[] = {
        {4, {2, 3, 4, 6}, 3, 1, 2, 0, 0, "avg_pool2d: padding 2 is more than half of the kernel's height, 3", SOMA_EINVAL},
        {4, {2, 3, 4, 6}, 5, 1, 0, 0, 0, "avg_pool2d: a kernel of height 5 does not fit an input of height 4", SOMA_ESHAPE},
    };
    return pool_sample(c, (int)SOMA_LEN(c), i, dtype, s);
}

#define PAD_ATTR SOMA_DEF_BOOL("count_include_pad", true, "padding counts as zeros; else divide by the elements inside")
#define DIVISOR_ATTR SOMA_DEF_INT("divisor_override", 0, "what sums are divided by; 0: the number of elements")
static const soma_attr_info avg_attrs[] = {WINDOW_ATTRS, PAD_ATTR, DIVISOR_ATTR};

static const soma_op avg_pool2d_op = {
    .name = "avg_pool2d",
    .family = "pool",
    .onnx = "AveragePool",
    .doc = "The mean of each window.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = avg_attrs,
    .n_attrs = (int)SOMA_LEN(avg_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = avg_shape,
    .work = pool_work,
    .cpu = {avg_last, avg_fast, avg_any},
    .backward = avg_backward,
    .flops = pool_flops,
    .samples = avg_samples,
    .errors = avg_errors,
};

/* ---- Its gradient: each window's share goes to all of its elements ---------------------------------------------- */

static bool g_fits(const soma_args *a, const soma__pool *p, soma_meta *out) {
    const soma_attr *shape = &a->attrs[0];
    const soma_tensor *g = a->in[0];
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    out->ndim = shape->count;
    memcpy(out->shape, shape->value.ints, sizeof out->shape);
    bool ok = g->ndim == shape->count;
    for (int d = 0; ok && d < g->ndim; d++)
        ok = g->shape[d] == (d < g->ndim - 2 ? out->shape[d] : p->out[d - g->ndim + 2]);
    if (!ok)
        soma_fail(SOMA_ESHAPE, "%s: g is %s, which does not fit windows over %s", a->op->name,
                  soma__shape_text(g->ndim, g->shape, have, sizeof have),
                  soma__shape_text(out->ndim, out->shape, want, sizeof want));
    soma__pool_last_lay(g, soma__attr_int(a, a->op->n_attrs - 1), out);
    return ok;
}

static bool avg_back_shape(soma_args *a, soma_meta *out) {
    soma__pool p;
    return avg_windows(a, 1, a->attrs[0].count, a->attrs[0].value.ints, &p) && g_fits(a, &p, out);
}

static void avg_back_2x2_range(void *arg, int64_t begin, int64_t end) {
    const fast_job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1];
    for (int64_t i = begin; i < end; i++)
        j->k->avg2x2_backward(j->p, j->from + i * out, j->to + i * in);
}

static const char *avg_back_last(soma_args *a) {
    soma__pool p;
    if (!soma__pool_last(a->out[0]) || !avg_windows(a, 1, a->attrs[0].count, a->attrs[0].value.ints, &p))
        return not_last;
    soma__pool_last_avg_backward(a, &p);
    return NULL;
}

static const char *avg_back_2x2(soma_args *a) {
    soma__pool p;
    if (a->in[0]->dtype != SOMA_F32 || !avg_windows(a, 1, a->attrs[0].count, a->attrs[0].value.ints, &p) || !is_2x2(&p))
        return "the fast kernel is for f32 and windows of 2 x 2 without overlap";
    prepared r = prepare(a);
    fast_job j = {.p = &p, .from = r.in, .to = r.out};
    run_fast(&j, avg_back_2x2_range);
    return NULL;
}

static const char *avg_back_any(soma_args *a) {
    soma__pool p;
    avg_windows(a, 1, a->attrs[0].count, a->attrs[0].value.ints, &p);
    prepared r = prepare(a);
    soma__avg_pool_backward(&p, r.dtype, r.in, r.out);
    finish(a, &r);
    return NULL;
}

static void avg_back_backward(soma_grad_args *g) {
    if (g->gout[0])
        g->gin[0] = SOMA__RUN(&avg_pool2d_op, g->attrs + 1, g->gout[0]);
}

static bool avg_back_samples(int i, soma_dtype dtype, soma_sample *s) {
    bool last = i > 1;
    s->n_in = 1;
    s->n_attrs = 5;
    s->in[0] = last ? soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(1, 2, 2, 2)) : soma__sample(dtype, -3, 3, 1, SOMA_SHAPE(2, 2, 2));
    s->attrs[0] = last ? SOMA_INTS("shape", 1, 2, 4, 5) : SOMA_INTS("shape", 2, 4, 5);
    s->attrs[1] = SOMA_INTS("kernel_size", i % 2 == 0 ? 2 : 3);
    s->attrs[2] = SOMA_INTS("stride", 2, i % 2 == 0 ? 2 : 4);
    s->attrs[3] = SOMA_INTS("padding", i % 2 == 0 ? 0 : 1);
    s->attrs[4] = SOMA_BOOLEAN("channels_last", last);
    return i < 4;
}

static bool avg_back_errors(int i, soma_dtype dtype, soma_sample *s) {
    avg_back_samples(0, dtype, s);
    s->attrs[0] = SOMA_INTS("shape", 2, 4, 7);
    s->error = "avg_pool2d_backward: g is [2, 2, 2], which does not fit windows over [2, 4, 7]";
    s->status = SOMA_ESHAPE;
    return i == 0;
}

static const soma_attr_info avg_back_attrs[] = {SOMA_NEED_INTS("shape", "shape of what was pooled"), WINDOW_ATTRS, PAD_ATTR, DIVISOR_ATTR, LAST_ATTR};

static const soma_op avg_pool2d_backward_op = {
    .name = "avg_pool2d_backward",
    .family = "pool",
    .doc = "Gradient of avg_pool2d: each window's share for all of its elements.",
    .in = {{.name = "g"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = avg_back_attrs,
    .n_attrs = (int)SOMA_LEN(avg_back_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = avg_back_shape,
    .work = back_work,
    .cpu = {avg_back_last, avg_back_2x2, avg_back_any},
    .backward = avg_back_backward,
    .internal = true,
    .samples = avg_back_samples,
    .errors = avg_back_errors,
};

/* ---- adaptive_avg_pool2d ---------------------------------------------------------------------------------------- */

static bool adaptive_windows(const soma_args *a, int ndim, const int64_t *shape, int64_t out_h, int64_t out_w,
                             soma__pool *p) {
    *p = (soma__pool){.adaptive = true, .out = {out_h, out_w}};
    if (out_h < 1 || out_w < 1 || out_h > INT32_MAX / out_w) {
        soma_fail(SOMA_EINVAL, "%s: output size %lld x %lld, expected 1 or more each", a->op->name, (long long)out_h,
                  (long long)out_w);
        return false;
    }
    return plane_input(a->op->name, ndim, shape, p);
}

static bool adaptive_forward(const soma_args *a, soma__pool *p) {
    int64_t size[2];
    return soma__attr_pair(a->op->name, &a->attrs[0], 1, (const int64_t[]){0, 0}, size) &&
           adaptive_windows(a, a->in[0]->ndim, a->in[0]->shape, size[0], size[1], p);
}

static bool adaptive_shape(soma_args *a, soma_meta *out) {
    soma__pool p;
    if (!adaptive_forward(a, &p))
        return false;
    pooled_shape(&p, a->in[0], out);
    return true;
}

static void whole_range(void *arg, int64_t begin, int64_t end) {
    const fast_job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1];
    for (int64_t i = begin; i < end; i++)
        j->to[i] = j->k->sum(j->from + i * in, in) / (float)in;
}

static const char *adaptive_last(soma_args *a) {
    soma__pool p;
    if (!soma__pool_last(a->in[0]) || !adaptive_forward(a, &p))
        return not_last;
    soma__pool_last_avg(a, &p);
    return NULL;
}

static const char *adaptive_whole(soma_args *a) {
    soma__pool p;
    if (a->in[0]->dtype != SOMA_F32 || !adaptive_forward(a, &p) || p.out[0] != 1 || p.out[1] != 1)
        return "the fast kernel is for f32 and whole planes";
    prepared r = prepare(a);
    fast_job j = {.p = &p, .from = r.in, .to = r.out};
    run_fast(&j, whole_range);
    return NULL;
}

static const char *adaptive_any(soma_args *a) {
    soma__pool p;
    adaptive_forward(a, &p);
    prepared r = prepare(a);
    soma__avg_pool(&p, r.dtype, r.in, r.out);
    finish(a, &r);
    return NULL;
}

static int64_t adaptive_flops(soma_args *a) { return a->in[0]->numel; }

static const soma_op adaptive_backward_op;

static void adaptive_backward(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0];
    soma_attr attrs[2] = {{0}, last_attr(x)};
    if (g->gout[0] && soma__ints_attr(&attrs[0], "adaptive_avg_pool2d_backward", "shape", x->ndim, x->shape))
        g->gin[0] = SOMA__RUN(&adaptive_backward_op, attrs, g->gout[0]);
}

static const soma_attr_info adaptive_attrs[] = {
    SOMA_NEED_INTS("output_size", "height and width of the result, or one number for both")};

static bool adaptive_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {4, {2, 3, 4, 6}, 2, {2, 3}, 0, 0},
        {4, {1, 2, 5, 7}, 2, {3, 2}, 0, 0},
        {3, {2, 5, 5}, 1, {1}, 0, 0},
        {4, {1, 2, 2, 3}, 2, {3, 5}, 0, 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), adaptive_attrs, dtype, s);
}

static bool adaptive_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {4, {2, 3, 4, 6}, 2, {0, 3}, "adaptive_avg_pool2d: output_size is [0, 3]", SOMA_EINVAL},
        {2, {4, 6}, 2, {2, 3}, "adaptive_avg_pool2d: input is [4, 6], expected [N, C, H, W]", 0},
    };
    return soma__sample_case(i, c, (int)SOMA_LEN(c), adaptive_attrs, dtype, s);
}

static const soma_op adaptive_op = {
    .name = "adaptive_avg_pool2d",
    .family = "pool",
    .onnx = "GlobalAveragePool",
    .doc = "Means over windows that divide the plane into output_size parts: part i of n is from floor(i H / n) to ceil((i "
           "+ 1) H / n).",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = adaptive_attrs,
    .n_attrs = (int)SOMA_LEN(adaptive_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = adaptive_shape,
    .work = pool_work,
    .cpu = {adaptive_last, adaptive_whole, adaptive_any},
    .backward = adaptive_backward,
    .flops = adaptive_flops,
    .samples = adaptive_samples,
    .errors = adaptive_errors,
};

static bool adaptive_back_windows(const soma_args *a, soma__pool *p) {
    const soma_tensor *g = a->in[0];
    int64_t h = g->ndim < 2 ? 0 : g->shape[g->ndim - 2], w = g->ndim < 2 ? 0 : g->shape[g->ndim - 1];
    return adaptive_windows(a, a->attrs[0].count, a->attrs[0].value.ints, h, w, p);
}

static bool adaptive_back_shape(soma_args *a, soma_meta *out) {
    soma__pool p;
    return adaptive_back_windows(a, &p) && g_fits(a, &p, out);
}

static const char *adaptive_back_last(soma_args *a) {
    soma__pool p;
    if (!soma__pool_last(a->out[0]) || !adaptive_back_windows(a, &p))
        return not_last;
    soma__pool_last_avg_backward(a, &p);
    return NULL;
}

static const char *adaptive_back_any(soma_args *a) {
    soma__pool p;
    adaptive_back_windows(a, &p);
    prepared r = prepare(a);
    soma__avg_pool_backward(&p, r.dtype, r.in, r.out);
    finish(a, &r);
    return NULL;
}

static void adaptive_back_backward(soma_grad_args *g) {
    const soma_meta *out = &g->in_meta[0];
    if (g->gout[0])
        g->gin[0] = soma_adaptive_avg_pool2d(g->gout[0], out->shape[out->ndim - 2], out->shape[out->ndim - 1]);
}

static const soma_attr_info adaptive_back_attrs[] = {SOMA_NEED_INTS("shape", "shape of what was pooled"), LAST_ATTR};

static bool adaptive_back_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{3, {2, 2, 3}, 3, {2, 5, 3}, 0, 0}, {3, {2, 1, 1}, 3, {2, 4, 5}, 0, 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), adaptive_back_attrs, dtype, s);
}

static bool adaptive_back_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {
        {3, {2, 2, 3}, 3, {1, 5, 3}, "g is [2, 2, 3], which does not fit windows over [1, 5, 3]", 0}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), adaptive_back_attrs, dtype, s);
}

static const soma_op adaptive_backward_op = {
    .name = "adaptive_avg_pool2d_backward",
    .family = "pool",
    .doc = "Gradient of adaptive_avg_pool2d: each window's share for all of its elements.",
    .in = {{.name = "g"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = adaptive_back_attrs,
    .n_attrs = (int)SOMA_LEN(adaptive_back_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = adaptive_back_shape,
    .work = back_work,
    .cpu = {adaptive_back_last, adaptive_back_any},
    .backward = adaptive_back_backward,
    .internal = true,
    .samples = adaptive_back_samples,
    .errors = adaptive_back_errors,
};

/* ---- adaptive_max_pool2d ------------------------------------------------------------------------------------------ */

static bool adaptive_max_shape(soma_args *a, soma_meta *out) {
    soma__pool p;
    if (!adaptive_forward(a, &p))
        return false;
    pooled_shape(&p, a->in[0], &out[0]);
    pooled_shape(&p, a->in[0], &out[1]);
    out[1].dtype = SOMA_I32;
    return true;
}

static const char *adaptive_max_any(soma_args *a) {
    soma__pool p;
    adaptive_forward(a, &p);
    p.dilation[0] = p.dilation[1] = 1;
    if (soma__pool_last(a->in[0])) {
        soma__pool_last_max(a, &p);
        return NULL;
    }
    prepared r = prepare(a);
    soma__max_pool(&p, r.dtype, r.in, r.out, a->out[1]->data);
    finish(a, &r);
    return NULL;
}

static void adaptive_max_backward(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0];
    soma_attr attrs[3];
    if (!g->gout[0] || !soma__ints_attr(&attrs[0], "max_pool2d_backward", "shape", x->ndim, x->shape))
        return;
    attrs[1] = SOMA_BOOLEAN("is_2x2", false);
    attrs[2] = last_attr(x);
    g->gin[0] = SOMA__RUN(&max_pool2d_backward_op, attrs, g->gout[0], g->out[1]);
}

static bool adaptive_max_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const soma__case c[] = {{4, {2, 3, 4, 6}, 2, {0, 3}, "output_size is [0, 3]", SOMA_EINVAL}};
    return soma__sample_case(i, c, (int)SOMA_LEN(c), adaptive_attrs, dtype, s);
}

static const soma_op adaptive_max_op = {
    .name = "adaptive_max_pool2d_i32",
    .family = "pool",
    .doc = "adaptive_max_pool2d with places in i32, as max_pool2d_backward takes them.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 2,
    .attrs = adaptive_attrs,
    .n_attrs = (int)SOMA_LEN(adaptive_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = adaptive_max_shape,
    .work = pool_work,
    .cpu = {adaptive_max_any},
    .backward = adaptive_max_backward,
    .saves = SOMA_SAVE_OUT(1),
    .no_grad_out = 1u << 1,
    .internal = true,
    .flops = adaptive_flops,
    .samples = adaptive_samples,
    .errors = adaptive_max_errors,
};

/* ---- C ---------------------------------------------------------------------------------------------------------- */

/* 0, or a second entry of 0 that repeats the first; `fallback` when nothing is given. */
static soma_attr pair_attr(const char *name, const int64_t *v, int64_t first, int64_t second) {
    int64_t a = v[0] ? v[0] : first, b = v[1] ? v[1] : v[0] ? v[0] : second;
    return SOMA_INTS(name, a, b);
}

soma_tensor *soma_max_pool2d_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool2d_opts *opts) {
    soma_pool2d_opts o = {0};
    if (opts)
        memcpy(&o, opts, SOMA_MIN(opts->size, sizeof o));
    soma_attr attrs[] = {SOMA_INTS("kernel_size", kh, kw), pair_attr("stride", o.stride, kh, kw),
                         pair_attr("padding", o.padding, 0, 0), SOMA_BOOLEAN("ceil_mode", o.ceil_mode),
                         pair_attr("dilation", o.dilation, 1, 1)};
    return SOMA__RUN(&max_pool2d_op, attrs, x);
}

soma_tensor *soma_avg_pool2d_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool2d_opts *opts) {
    soma_pool2d_opts o = {0};
    if (opts)
        memcpy(&o, opts, SOMA_MIN(opts->size, sizeof o));
    if (o.dilation[0] > 1 || o.dilation[1] > 1) {
        soma_fail(SOMA_EINVAL, "avg_pool2d: dilation is for max_pool2d only");
        return NULL;
    }
    soma_attr attrs[] = {SOMA_INTS("kernel_size", kh, kw), pair_attr("stride", o.stride, kh, kw),
                         pair_attr("padding", o.padding, 0, 0), SOMA_BOOLEAN("ceil_mode", o.ceil_mode),
                         SOMA_BOOLEAN("count_include_pad", !o.count_exclude_pad), SOMA_INT("divisor_override", o.divisor_override)};
    return SOMA__RUN(&avg_pool2d_op, attrs, x);
}

soma_tensor *soma_adaptive_avg_pool2d(soma_tensor *x, int64_t out_h, int64_t out_w) {
    soma_attr attr = SOMA_INTS("output_size", out_h, out_w);
    return SOMA__RUN(&adaptive_op, &attr, x);
}

soma_op_list soma__pool_ops = {&max_pool2d_op,
                               &max_pool2d_backward_op,
                               &avg_pool2d_op,
                               &avg_pool2d_backward_op,
                               &adaptive_op,
                               &adaptive_backward_op,
                               &adaptive_max_op,
                               NULL};
