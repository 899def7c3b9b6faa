/* Convolution whose groups have one or two channels (depthwise): too narrow for tiles, so it goes row by row, one tap at a
 * time. A row of the output stays in the first-level cache while all its taps pass over it. */
#include "base/base.h"
#include "conv_inside.h"

#include <string.h>

typedef struct narrow_job {
    const soma__conv *c;
    const soma__conv_table *ops;
    size_t size;
    const char *x, *w, *y, *bias;
    char *out;
    bool relu;
} narrow_job;

static narrow_job job_of(const soma__conv *c) {
    return (narrow_job){.c = c,
                        .ops = c->dtype == SOMA_F64 ? &soma__conv_pick()->f64 : &soma__conv_pick()->f32,
                        .size = soma_dtype_size(c->dtype)};
}

static double value(const char *p, int64_t i, size_t size) {
    return size == 4 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

/* Outputs [*low, *high) of a row for which the tap `s` reads inside of the image; returns where output 0 would read. */
static int64_t span(const soma__conv *c, int64_t s, int64_t *low, int64_t *high) {
    const int64_t step = c->stride[1], first = s * c->dilation[1] - c->padding[1];
    *low = first >= 0 ? 0 : (-first + step - 1) / step;
    *high = first >= c->in_w ? 0 : SOMA_MIN(c->out_w, (c->in_w - first + step - 1) / step);
    return first;
}

static void clamp_row(void *row, int64_t n, size_t size) {
    for (int64_t i = 0; i < n; i++) {
        if (size == 4)
            ((float *)row)[i] = ((float *)row)[i] < 0 ? 0 : ((float *)row)[i];
        else
            ((double *)row)[i] = ((double *)row)[i] < 0 ? 0 : ((double *)row)[i];
    }
}

static void fill_row(void *row, int64_t n, double v, size_t size) {
    for (int64_t i = 0; i < n; i++) {
        if (size == 4)
            ((float *)row)[i] = (float)v;
        else
            ((double *)row)[i] = v;
    }
}

static void forward_planes(void *arg, int64_t begin, int64_t end) {
    const narrow_job *j = arg;
    const soma__conv *c = j->c;
    const int64_t in = c->in_channels / c->groups, out = c->out_channels / c->groups, taps = c->kernel[0] * c->kernel[1];
    for (int64_t plane = begin; plane < end; plane++) {
        const int64_t image = plane / c->out_channels, channel = plane % c->out_channels, group = channel / out;
        for (int64_t oy = 0; oy < c->out_h; oy++) {
            char *row = j->out + (size_t)((plane * c->out_h + oy) * c->out_w) * j->size;
            fill_row(row, c->out_w, j->bias ? value(j->bias, channel, j->size) : 0, j->size);
            for (int64_t i = 0; i < in; i++)
                for (int64_t t = 0; t < taps; t++) {
                    const int64_t iy = oy * c->stride[0] + t / c->kernel[1] * c->dilation[0] - c->padding[0];
                    int64_t low, high, first = span(c, t % c->kernel[1], &low, &high);
                    if (iy < 0 || iy >= c->in_h || low >= high)
                        continue;
                    const int64_t at =
                        ((image * c->in_channels + group * in + i) * c->in_h + iy) * c->in_w + first + low * c->stride[1];
                    j->ops->axpy(row + (size_t)low * j->size, 1, j->x + at * (int64_t)j->size, c->stride[1],
                                 value(j->w, (channel * in + i) * taps + t, j->size), high - low);
                }
            if (j->relu)
                clamp_row(row, c->out_w, j->size);
        }
    }
}

void soma__conv_forward_narrow(const soma__conv *c, const void *x, const void *weight, const void *bias, bool relu, void *y) {
    narrow_job j = job_of(c);
    j.x = x;
    j.w = weight;
    j.bias = bias;
    j.relu = relu;
    j.out = y;
    soma__parallel(c->batch * c->out_channels, SOMA_MAX(1, 65536 / (c->out_h * c->out_w * c->kernel[0] * c->kernel[1])),
                   forward_planes, &j);
}

static void input_planes(void *arg, int64_t begin, int64_t end) {
    const narrow_job *j = arg;
    const soma__conv *c = j->c;
    const int64_t in = c->in_channels / c->groups, out = c->out_channels / c->groups, taps = c->kernel[0] * c->kernel[1];
    for (int64_t plane = begin; plane < end; plane++) {
        const int64_t image = plane / c->in_channels, channel = plane % c->in_channels, group = channel / in;
        char *gx = j->out + (size_t)(plane * c->in_h * c->in_w) * j->size;
        memset(gx, 0, (size_t)(c->in_h * c->in_w) * j->size);
        for (int64_t o = group * out; o < (group + 1) * out; o++)
            for (int64_t oy = 0; oy < c->out_h; oy++)
                for (int64_t t = 0; t < taps; t++) {
                    const int64_t iy = oy * c->stride[0] + t / c->kernel[1] * c->dilation[0] - c->padding[0];
                    int64_t low, high, first = span(c, t % c->kernel[1], &low, &high);
                    if (iy < 0 || iy >= c->in_h || low >= high)
                        continue;
                    const int64_t from = ((image * c->out_channels + o) * c->out_h + oy) * c->out_w + low;
                    j->ops->axpy(gx + (iy * c->in_w + first + low * c->stride[1]) * (int64_t)j->size, c->stride[1],
                                 j->y + (size_t)from * j->size, 1, value(j->w, (o * in + channel % in) * taps + t, j->size),
                                 high - low);
                }
    }
}

void soma__conv_backward_input_narrow(const soma__conv *c, const void *gy, const void *weight, void *gx) {
    narrow_job j = job_of(c);
    j.y = gy;
    j.w = weight;
    j.out = gx;
    soma__parallel(c->batch * c->in_channels, SOMA_MAX(1, 65536 / (c->out_h * c->out_w * c->kernel[0] * c->kernel[1])),
                   input_planes, &j);
}

/* One weight at a time: rows are summed in double, image by image. */
static void weight_range(void *arg, int64_t begin, int64_t end) {
    const narrow_job *j = arg;
    const soma__conv *c = j->c;
    const int64_t in = c->in_channels / c->groups, out = c->out_channels / c->groups, taps = c->kernel[0] * c->kernel[1];
    for (int64_t w = begin; w < end; w++) {
        const int64_t t = w % taps, o = w / taps / in, channel = o / out * in + w / taps % in;
        int64_t low, high, first = span(c, t % c->kernel[1], &low, &high);
        double sum = 0;
        for (int64_t image = 0; image < c->batch && low < high; image++)
            for (int64_t oy = 0; oy < c->out_h; oy++) {
                const int64_t iy = oy * c->stride[0] + t / c->kernel[1] * c->dilation[0] - c->padding[0];
                if (iy < 0 || iy >= c->in_h)
                    continue;
                const int64_t at = ((image * c->in_channels + channel) * c->in_h + iy) * c->in_w + first + low * c->stride[1];
                const int64_t from = ((image * c->out_channels + o) * c->out_h + oy) * c->out_w + low;
                sum += j->ops->dot(j->x + at * (int64_t)j->size, c->stride[1], j->y + (size_t)from * j->size, high - low);
            }
        fill_row(j->out + (size_t)w * j->size, 1, sum, j->size);
    }
}

void soma__conv_backward_weight_narrow(const soma__conv *c, const void *x, const void *gy, void *gw) {
    narrow_job j = job_of(c);
    j.x = x;
    j.y = gy;
    j.out = gw;
    const int64_t count = c->out_channels * (c->in_channels / c->groups) * c->kernel[0] * c->kernel[1];
    soma__parallel(count, SOMA_MAX(1, 65536 / (c->batch * c->out_h * c->out_w)), weight_range, &j);
}

void soma__conv_fill(const soma__conv *c, const void *bias, bool relu, void *y) {
    const size_t size = soma_dtype_size(c->dtype);
    const int64_t plane = c->out_h > 0 && c->out_w > 0 ? c->out_h * c->out_w : 0;
    for (int64_t i = 0; i < c->batch * c->out_channels; i++)
        for (int64_t q = 0; q < plane; q++) {
            char *to = (char *)y + (size_t)(i * plane + q) * size;
            memset(to, 0, size);
            if (bias)
                memcpy(to, (const char *)bias + (size_t)(i % c->out_channels) * size, size);
            if (bias && relu &&
                (size == 8   ? ((double *)to)[0] < 0
                 : size == 4 ? ((float *)to)[0] < 0
                             : (*(uint16_t *)to & 0x8000) != 0))
                memset(to, 0, size);
        }
}
