/* Convolution and its gradients: which of the ways is taken. f32 and f64 as products on channels-last data (conv_product.c,
 * conv_weight.c) or by Winograd (conv_winograd.c), groups of one or two channels row by row (conv_direct.c), halves in f32. */
#include "base/base.h"
#include "conv_inside.h"

#include <string.h>

static inline size_t whole(size_t bytes) { return soma__conv_whole(bytes); }

static bool empty(const soma__conv *c) {
    return c->batch == 0 || c->out_channels == 0 || c->in_channels == 0 || c->out_h <= 0 || c->out_w <= 0 ||
           c->kernel[0] * c->kernel[1] == 0;
}
static int64_t x_count(const soma__conv *c) { return c->batch * c->in_channels * c->in_h * c->in_w; }
static int64_t y_count(const soma__conv *c) { return c->batch * c->out_channels * c->out_h * c->out_w; }
static int64_t w_count(const soma__conv *c) {
    return c->out_channels * (c->in_channels / c->groups) * c->kernel[0] * c->kernel[1];
}

/* Narrow groups waste nearly all of a panel's tile. */
static bool narrow(const soma__conv *c) {
    return c->groups > 1 && c->in_channels / c->groups * (c->out_channels / c->groups) <= 4;
}

bool soma__conv_any_layout(const soma__conv *c) { return !empty(c) && !narrow(c); }

typedef struct cast_job {
    void *to;
    const void *from;
    soma_dtype dtype; /* of the halves */
    bool widen;
} cast_job;
static void cast_range(void *arg, int64_t begin, int64_t end) {
    const cast_job *j = arg;
    const soma__gemm_kernels *k = soma__gemm_pick();
    if (j->widen)
        (j->dtype == SOMA_F16 ? k->from_f16 : k->from_bf16)((float *)j->to + begin, (const uint16_t *)j->from + begin,
                                                            end - begin);
    else
        (j->dtype == SOMA_F16 ? k->to_f16 : k->to_bf16)((uint16_t *)j->to + begin, (const float *)j->from + begin,
                                                        end - begin);
}
static void cast(soma_dtype dtype, bool widen, void *to, const void *from, int64_t n) {
    cast_job j = {to, from, dtype, widen};
    soma__parallel(n, 32768, cast_range, &j);
}

/* Halves: the three operands as f32 in front of the workspace. Returns what is left of it. */
typedef struct wide {
    soma__conv c;
    float *x, *w, *y, *bias;
    char *work;
    size_t bytes;
} wide;
static size_t wide_bytes(const soma__conv *c) {
    if (soma_dtype_size(c->dtype) != 2)
        return 0;
    return whole((size_t)x_count(c) * 4) + whole((size_t)y_count(c) * 4) + whole((size_t)w_count(c) * 4) +
           whole((size_t)c->out_channels * 4);
}
static wide widen(const soma__conv *c, void *work, size_t bytes) {
    wide h = {.c = *c};
    char *p = work;
    h.c.dtype = SOMA_F32;
    h.x = (float *)p;
    p += whole((size_t)x_count(c) * 4);
    h.y = (float *)p;
    p += whole((size_t)y_count(c) * 4);
    h.w = (float *)p;
    p += whole((size_t)w_count(c) * 4);
    h.bias = (float *)p;
    h.work = p + whole((size_t)c->out_channels * 4);
    h.bytes = bytes - wide_bytes(c);
    return h;
}
static soma__conv in_floats(const soma__conv *c) {
    soma__conv f = *c;
    if (soma_dtype_size(c->dtype) == 2)
        f.dtype = SOMA_F32;
    return f;
}

/* ---- f32 and f64 ------------------------------------------------------------------------------------------------------ */

/* Winograd takes channels-last x and y: room for those that are not. */
static size_t x_room(const soma__conv *c) { return c->x_last ? 0 : whole((size_t)x_count(c) * 4); }
static size_t y_room(const soma__conv *c) { return c->y_last ? 0 : whole((size_t)y_count(c) * 4); }
static void turn_x(const soma__conv *c, void *dst, const void *src, bool last) {
    soma__conv_turn(soma__conv_gemm(c), 4, dst, src, c->batch, c->in_channels, c->in_h * c->in_w, last);
}
static void turn_y(const soma__conv *c, void *dst, const void *src, bool last) {
    soma__conv_turn(soma__conv_gemm(c), 4, dst, src, c->batch, c->out_channels, c->out_h * c->out_w, last);
}

static size_t floats_work(const soma__conv *c, bool backward) {
    if (soma__conv_winograd_pays(c, backward, false))
        return x_room(c) + y_room(c) + soma__conv_winograd_work(c, backward);
    return soma__conv_product_work(c, backward);
}
static void run_floats(const soma__conv *c, bool backward, const void *src, const void *weight, const void *bias, bool relu, void *dst,
                       void *work, size_t bytes) {
    if (!soma__conv_winograd_pays(c, backward, false)) {
        soma__conv_product(c, backward, src, weight, bias, relu, dst, work, bytes);
        return;
    }
    const size_t from = backward ? y_room(c) : x_room(c), to = backward ? x_room(c) : y_room(c);
    char *in = work, *out = in + from;
    if (from)
        (backward ? turn_y : turn_x)(c, in, src, true);
    soma__conv_winograd(c, backward, from ? in : src, weight, bias, relu, to ? out : dst, out + to, bytes - from - to);
    if (to)
        (backward ? turn_x : turn_y)(c, dst, out, false);
}

static size_t weight_work(const soma__conv *c) {
    if (soma__conv_winograd_pays(c, false, true))
        return x_room(c) + y_room(c) + soma__conv_winograd_weight_work(c);
    return soma__conv_weight_work(c);
}
static void run_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes) {
    if (!soma__conv_winograd_pays(c, false, true)) {
        soma__conv_weight(c, x, gy, gw, work, bytes);
        return;
    }
    char *left = work, *right = left + x_room(c);
    if (x_room(c))
        turn_x(c, left, x, true);
    if (y_room(c))
        turn_y(c, right, gy, true);
    soma__conv_winograd_weight(c, x_room(c) ? left : x, y_room(c) ? right : gy, gw, right + y_room(c), bytes - x_room(c) - y_room(c));
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

size_t soma__conv_forward_work(const soma__conv *c) {
    soma__conv f = in_floats(c);
    return empty(c) ? 0 : wide_bytes(c) + (narrow(c) ? 0 : floats_work(&f, false));
}
void soma__conv_forward(const soma__conv *c, const void *x, const void *weight, const void *bias, bool relu, void *y,
                        void *work, size_t bytes) {
    if (empty(c)) {
        soma__conv_fill(c, bias, relu, y);
    } else if (soma_dtype_size(c->dtype) == 2) {
        wide h = widen(c, work, bytes);
        cast(c->dtype, true, h.x, x, x_count(c));
        cast(c->dtype, true, h.w, weight, w_count(c));
        if (bias)
            cast(c->dtype, true, h.bias, bias, c->out_channels);
        soma__conv_forward(&h.c, h.x, h.w, bias ? h.bias : NULL, relu, h.y, h.work, h.bytes);
        cast(c->dtype, false, y, h.y, y_count(c));
    } else if (narrow(c)) {
        soma__conv_forward_narrow(c, x, weight, bias, relu, y);
    } else {
        run_floats(c, false, x, weight, bias, relu, y, work, bytes);
    }
}

size_t soma__conv_backward_input_work(const soma__conv *c) {
    soma__conv f = in_floats(c);
    return empty(c) ? 0 : wide_bytes(c) + (narrow(c) ? 0 : floats_work(&f, true));
}
void soma__conv_backward_input(const soma__conv *c, const void *gy, const void *weight, void *gx, void *work, size_t bytes) {
    if (empty(c)) {
        if (x_count(c) > 0)
            memset(gx, 0, (size_t)x_count(c) * soma_dtype_size(c->dtype));
    } else if (soma_dtype_size(c->dtype) == 2) {
        wide h = widen(c, work, bytes);
        cast(c->dtype, true, h.y, gy, y_count(c));
        cast(c->dtype, true, h.w, weight, w_count(c));
        soma__conv_backward_input(&h.c, h.y, h.w, h.x, h.work, h.bytes);
        cast(c->dtype, false, gx, h.x, x_count(c));
    } else if (narrow(c)) {
        soma__conv_backward_input_narrow(c, gy, weight, gx);
    } else {
        run_floats(c, true, gy, weight, NULL, false, gx, work, bytes);
    }
}

size_t soma__conv_backward_weight_work(const soma__conv *c) {
    soma__conv f = in_floats(c);
    return empty(c) ? 0 : wide_bytes(c) + (narrow(c) ? 0 : weight_work(&f));
}
void soma__conv_backward_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes) {
    if (empty(c)) {
        if (w_count(c) > 0)
            memset(gw, 0, (size_t)w_count(c) * soma_dtype_size(c->dtype));
    } else if (soma_dtype_size(c->dtype) == 2) {
        wide h = widen(c, work, bytes);
        cast(c->dtype, true, h.x, x, x_count(c));
        cast(c->dtype, true, h.y, gy, y_count(c));
        soma__conv_backward_weight(&h.c, h.x, h.y, h.w, h.work, h.bytes);
        cast(c->dtype, false, gw, h.w, w_count(c));
    } else if (narrow(c)) {
        soma__conv_backward_weight_narrow(c, x, gy, gw);
    } else {
        run_weight(c, x, gy, gw, work, bytes);
    }
}
