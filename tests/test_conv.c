/* Convolution and its gradients against plain loops in double, for every instruction set that the machine has. The bound of
 * the error is that of a sum of k products (see test_gemm.c): (k + 4) u sum|a b|, with one rounding of the result more for
 * halves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/base.h"
#include "kernels/cpu/conv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 1;
static double next(void) {
    seed = seed * 1664525u + 1013904223u;
    return (double)(seed >> 8) / 8388608.0 - 1.0;
}

/* A tensor with exactly its own bytes, and the same values in double. */
typedef struct data {
    int64_t n;
    double *exact, *size; /* size: the sum of magnitudes that went into each result */
    void *held;
} data;

static double get(const void *p, soma_dtype dtype, int64_t i) {
    switch (dtype) {
    case SOMA_F32: return ((const float *)p)[i];
    case SOMA_F64: return ((const double *)p)[i];
    case SOMA_BF16: return soma__bf16_to_float(((const uint16_t *)p)[i]);
    case SOMA_F16: return soma__half_to_float(((const uint16_t *)p)[i]);
    default: return NAN;
    }
}
static void put(void *p, soma_dtype dtype, int64_t i, double v) {
    switch (dtype) {
    case SOMA_F32: ((float *)p)[i] = (float)v; break;
    case SOMA_F64: ((double *)p)[i] = v; break;
    case SOMA_BF16: ((uint16_t *)p)[i] = soma__float_to_bf16((float)v); break;
    case SOMA_F16: ((uint16_t *)p)[i] = soma__float_to_half((float)v); break;
    default: break;
    }
}

static data make(soma_dtype dtype, int64_t n, bool result) {
    size_t room = (size_t)(n > 0 ? n : 1);
    data d = {n, calloc(room, sizeof(double)), calloc(room, sizeof(double)), malloc(room * soma_dtype_size(dtype))};
    assert_true(d.exact && d.size && d.held);
    for (int64_t i = 0; i < n; i++) {
        put(d.held, dtype, i, result ? 1e30 : next());
        if (!result)
            d.exact[i] = get(d.held, dtype, i);
    }
    return d;
}
static void drop(data *d) {
    free(d->exact);
    free(d->size);
    free(d->held);
}

/* Calls visit for each product: indices of x, w and y. */
static void each_product(const soma__conv *c, void (*visit)(double *const p[6], int64_t x, int64_t w, int64_t y),
                         double *const p[6]) {
    const int64_t in = c->in_channels / c->groups, out = c->out_channels / c->groups;
    for (int64_t n = 0; n < c->batch; n++)
        for (int64_t o = 0; o < c->out_channels; o++)
            for (int64_t i = 0; i < in; i++)
                for (int64_t r = 0; r < c->kernel[0]; r++)
                    for (int64_t s = 0; s < c->kernel[1]; s++)
                        for (int64_t oy = 0; oy < c->out_h; oy++)
                            for (int64_t ox = 0; ox < c->out_w; ox++) {
                                int64_t y = oy * c->stride[0] + r * c->dilation[0] - c->padding[0];
                                int64_t x = ox * c->stride[1] + s * c->dilation[1] - c->padding[1];
                                if (y < 0 || y >= c->in_h || x < 0 || x >= c->in_w)
                                    continue;
                                visit(p, ((n * c->in_channels + o / out * in + i) * c->in_h + y) * c->in_w + x,
                                      ((o * in + i) * c->kernel[0] + r) * c->kernel[1] + s,
                                      ((n * c->out_channels + o) * c->out_h + oy) * c->out_w + ox);
                            }
}
/* p: x, w, y and their sizes; each visit sums into one of the three. */
static void into_y(double *const p[6], int64_t x, int64_t w, int64_t y) {
    p[2][y] += p[0][x] * p[1][w];
    p[5][y] += fabs(p[0][x] * p[1][w]);
}
static void into_x(double *const p[6], int64_t x, int64_t w, int64_t y) {
    p[0][x] += p[2][y] * p[1][w];
    p[3][x] += fabs(p[2][y] * p[1][w]);
}
static void into_w(double *const p[6], int64_t x, int64_t w, int64_t y) {
    p[1][w] += p[2][y] * p[0][x];
    p[4][w] += fabs(p[2][y] * p[0][x]);
}

static void compare(const char *what, const soma__conv *c, const data *d, int64_t k, bool relu) {
    const double unit = c->dtype == SOMA_F64 ? 0x1p-53 : 0x1p-24, half = c->dtype == SOMA_BF16  ? 0x1p-8
                                                                         : c->dtype == SOMA_F16 ? 0x1p-11
                                                                                                : 0;
    for (int64_t i = 0; i < d->n; i++) {
        double want = relu && d->exact[i] < 0 ? 0 : d->exact[i], got = get(d->held, c->dtype, i);
        double bound =
            ((double)k + 4) * unit * (d->size[i] + 1e-30) + half * fabs(want) + (c->dtype == SOMA_F16 ? 0x1p-25 : 0);
        if (!(fabs(got - want) <= bound))
            fail_msg("%s %s %s %ld threads, batch %ld, %ldx%ldx%ld -> %ldx%ldx%ld, kernel %ldx%ld, stride %ld, %ld, padding "
                     "%ld, %ld, dilation %ld, "
                     "%ld, groups %ld: [%ld] is %.9g, expected %.9g +- %.3g",
                     soma_isa(), soma_dtype_name(c->dtype), what, (long)soma_threads(), (long)c->batch, (long)c->in_channels,
                     (long)c->in_h, (long)c->in_w, (long)c->out_channels, (long)c->out_h, (long)c->out_w, (long)c->kernel[0],
                     (long)c->kernel[1], (long)c->stride[0], (long)c->stride[1], (long)c->padding[0], (long)c->padding[1],
                     (long)c->dilation[0], (long)c->dilation[1], (long)c->groups, (long)i, got, want, bound);
    }
}

static void *workspace(size_t bytes) { return bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL; }

/* Reorders images of `channels` x `pixels` in place: channels last, or first again. */
static void reorder(data *d, soma_dtype dtype, int64_t images, int64_t channels, int64_t pixels, bool last) {
    const size_t size = soma_dtype_size(dtype), bytes = (size_t)d->n * size;
    char *copy = malloc(bytes + 1), *to = d->held;
    assert_non_null(copy);
    memcpy(copy, d->held, bytes);
    for (int64_t i = 0; d->n > 0 && i < images * channels * pixels; i++) {
        const int64_t channel = i / pixels % channels, pixel = i % pixels, at = (i / pixels / channels * pixels + pixel) * channels + channel;
        memcpy(to + (size_t)(last ? at : i) * size, copy + (size_t)(last ? i : at) * size, size);
    }
    free(copy);
}
/* The operands as c says that they lie; `last` false: back. */
static void lay(const soma__conv *c, data *x, data *y, bool last) {
    if (x && c->x_last)
        reorder(x, c->dtype, c->batch, c->in_channels, c->in_h * c->in_w, last);
    if (y && c->y_last)
        reorder(y, c->dtype, c->batch, c->out_channels, c->out_h * c->out_w, last);
}

static void check(const soma__conv *c, bool with_bias, bool relu) {
    const int64_t in = c->in_channels / c->groups, taps = c->kernel[0] * c->kernel[1];
    const int64_t nx = c->batch * c->in_channels * c->in_h * c->in_w, nw = c->out_channels * in * taps;
    const int64_t ny = c->out_h > 0 && c->out_w > 0 ? c->batch * c->out_channels * c->out_h * c->out_w : 0;
    data x = make(c->dtype, nx, false), w = make(c->dtype, nw, false), y = make(c->dtype, ny, false),
         bias = make(c->dtype, c->out_channels, false);
    data ry = make(c->dtype, ny, true), rx = make(c->dtype, nx, true), rw = make(c->dtype, nw, true);
    for (int64_t i = 0; i < ny && with_bias; i++) {
        ry.exact[i] = bias.exact[i / (c->out_h * c->out_w) % c->out_channels];
        ry.size[i] = fabs(ry.exact[i]);
    }
    each_product(c, into_y, (double *const[]){x.exact, w.exact, ry.exact, x.size, w.size, ry.size});
    size_t bytes = soma__conv_forward_work(c);
    void *work = workspace(bytes);
    lay(c, &x, &y, true);
    soma__conv_forward(c, x.held, w.held, with_bias ? bias.held : NULL, relu, ry.held, work, bytes);
    lay(c, NULL, &ry, false);
    compare("forward", c, &ry, in * taps, relu);
    free(work);
    each_product(c, into_x, (double *const[]){rx.exact, w.exact, y.exact, rx.size, w.size, y.size});
    bytes = soma__conv_backward_input_work(c);
    work = workspace(bytes);
    soma__conv_backward_input(c, y.held, w.held, rx.held, work, bytes);
    lay(c, &rx, NULL, false);
    compare("backward input", c, &rx, c->out_channels / c->groups * taps, false);
    free(work);
    each_product(c, into_w, (double *const[]){x.exact, rw.exact, y.exact, x.size, rw.size, y.size});
    bytes = soma__conv_backward_weight_work(c);
    work = workspace(bytes);
    soma__conv_backward_weight(c, x.held, y.held, rw.held, work, bytes);
    compare("backward weight", c, &rw, c->batch * c->out_h * c->out_w, false);
    free(work);
    drop(&x);
    drop(&w);
    drop(&y);
    drop(&bias);
    drop(&rx);
    drop(&rw);
    drop(&ry);
}

static soma__conv conv(soma_dtype dtype, int64_t batch, int64_t in, int64_t h, int64_t w, int64_t out, int64_t k, int64_t s,
                       int64_t p, int64_t d, int64_t groups) {
    soma__conv c = {.dtype = dtype,
                    .batch = batch,
                    .groups = groups,
                    .in_channels = in,
                    .in_h = h,
                    .in_w = w,
                    .out_channels = out,
                    .kernel = {k, k},
                    .stride = {s, s},
                    .padding = {p, p},
                    .dilation = {d, d}};
    c.out_h = (h + 2 * p - d * (k - 1) - 1) / s + 1;
    c.out_w = (w + 2 * p - d * (k - 1) - 1) / s + 1;
    return c;
}

static void each_isa(void (*fn)(void)) {
    for (int level = 0; level <= soma__isa_best(); level++) {
        soma__isa_force(level);
        fn();
    }
    soma__isa_force(-1);
}

static void all_shapes(void) {
    static const int shapes[][10] = {
        /* batch in h w out k s p d groups */
        {2, 1, 12, 12, 32, 3, 1, 0, 1, 1}, {3, 32, 8, 9, 20, 3, 1, 1, 1, 1},  {2, 3, 15, 14, 17, 7, 2, 3, 1, 1},
        {5, 8, 4, 4, 9, 3, 1, 1, 1, 1},    {1, 1, 1, 1, 1, 1, 1, 0, 1, 1},    {2, 70, 5, 5, 30, 3, 2, 1, 1, 1},
        {3, 6, 10, 11, 8, 1, 2, 0, 1, 1},  {1, 5, 30, 31, 7, 3, 1, 2, 2, 1},  {2, 12, 9, 9, 18, 3, 1, 1, 1, 3},
        {2, 6, 9, 10, 6, 3, 1, 1, 1, 6},   {2, 4, 11, 9, 8, 5, 2, 2, 1, 4},   {1, 3, 40, 60, 5, 3, 1, 1, 1, 1},
        {2, 8, 13, 13, 8, 3, 3, 0, 2, 2},  {1, 2, 6, 6, 3, 6, 1, 0, 1, 1},    {2, 2, 5, 5, 2, 3, 1, 4, 1, 1},
        {2, 4, 7, 7, 60, 2, 4, 0, 1, 1},   {7, 130, 3, 3, 10, 1, 1, 0, 1, 1},
        {3, 20, 9, 11, 37, 3, 1, 1, 1, 1}, {9, 32, 10, 7, 16, 3, 1, 0, 1, 1}, {1, 48, 21, 23, 20, 3, 1, 2, 1, 1},
        {8, 150, 4, 3, 160, 3, 1, 1, 1, 1},
    };
    for (size_t i = 0; i < SOMA_LEN(shapes); i++) {
        const int *s = shapes[i];
        soma__conv c = conv(i % 3 == 2 && i < 17 ? SOMA_F64 : SOMA_F32, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9]);
        check(&c, i % 2, i % 4 == 1);
        if (s[9] == 1 || s[1] / s[9] * (s[4] / s[9]) > 4) /* not the narrow ones */
            for (int layout = i < 17 ? 1 : 3; layout < 4; layout++) {
                c.x_last = layout & 1;
                c.y_last = layout & 2;
                check(&c, i % 2, i % 4 == 1);
            }
    }
    /* All different in the two directions. */
    soma__conv c = {.dtype = SOMA_F32,
                    .batch = 2,
                    .groups = 1,
                    .in_channels = 3,
                    .in_h = 14,
                    .in_w = 19,
                    .out_channels = 10,
                    .kernel = {3, 4},
                    .stride = {2, 1},
                    .padding = {0, 3},
                    .dilation = {1, 2}};
    c.out_h = (14 - 2 - 1) / 2 + 1;
    c.out_w = 19 + 6 - 6;
    check(&c, true, true);
    c.dtype = SOMA_F64;
    check(&c, true, false);
}
static void shapes_and_options(void **state) {
    (void)state;
    soma_set_threads(2);
    each_isa(all_shapes);
    soma_set_threads(0);
}

static void all_halves(void) {
    for (int i = 0; i < 2; i++) {
        soma__conv c = conv(i ? SOMA_BF16 : SOMA_F16, 2, 5, 8, 9, 12, 3, 1, 1, 1, 1);
        check(&c, true, true);
        c = conv(i ? SOMA_BF16 : SOMA_F16, 2, 6, 8, 9, 6, 3, 1, 1, 1, 6);
        check(&c, true, false);
    }
}
static void halves(void **state) {
    (void)state;
    each_isa(all_halves);
}

static void empty_sizes(void **state) {
    (void)state;
    soma__conv c = conv(SOMA_F32, 0, 3, 8, 8, 4, 3, 1, 1, 1, 1);
    check(&c, true, false);
    c = conv(SOMA_F32, 2, 0, 8, 8, 4, 3, 1, 1, 1, 1); /* no input channels: the bias alone */
    check(&c, true, false);
    check(&c, true, true);
    c = conv(SOMA_F32, 2, 3, 8, 8, 0, 3, 1, 1, 1, 1);
    check(&c, false, false);
}

/* The same bits for every number of threads, also when the workspace was asked for at another one. */
static void all_threads_agree(void) {
    const soma__conv shapes[] = {conv(SOMA_F32, 9, 1, 28, 28, 32, 3, 1, 0, 1, 1),
                                 conv(SOMA_F32, 5, 32, 13, 13, 64, 3, 1, 1, 1, 1),
                                 conv(SOMA_F32, 3, 16, 17, 17, 40, 3, 2, 1, 1, 2),
                                 conv(SOMA_BF16, 4, 8, 16, 16, 8, 3, 1, 1, 1, 8)};
    for (size_t i = 0; i < SOMA_LEN(shapes); i++) {
        const soma__conv *c = &shapes[i];
        const size_t size = soma_dtype_size(c->dtype);
        const int64_t nx = c->batch * c->in_channels * c->in_h * c->in_w,
                      ny = c->batch * c->out_channels * c->out_h * c->out_w;
        const int64_t nw = c->out_channels * (c->in_channels / c->groups) * c->kernel[0] * c->kernel[1];
        data x = make(c->dtype, nx, false), w = make(c->dtype, nw, false), y = make(c->dtype, ny, false);
        data first[3] = {make(c->dtype, ny, true), make(c->dtype, nx, true), make(c->dtype, nw, true)};
        static const int threads[] = {1, 2, 3, 7, 7};
        for (size_t t = 0; t < SOMA_LEN(threads); t++) {
            data r[3] = {make(c->dtype, ny, true), make(c->dtype, nx, true), make(c->dtype, nw, true)};
            for (int kind = 0; kind < 3; kind++) {
                soma_set_threads(threads[t]);
                size_t bytes = kind == 0   ? soma__conv_forward_work(c)
                               : kind == 1 ? soma__conv_backward_input_work(c)
                                           : soma__conv_backward_weight_work(c);
                void *work = workspace(bytes), *out = t ? r[kind].held : first[kind].held;
                if (t == 2)
                    soma_set_threads(6);
                if (t == 4)
                    soma_set_threads(1); /* or fewer */
                if (kind == 0)
                    soma__conv_forward(c, x.held, w.held, NULL, false, out, work, bytes);
                else if (kind == 1)
                    soma__conv_backward_input(c, y.held, w.held, out, work, bytes);
                else
                    soma__conv_backward_weight(c, x.held, y.held, out, work, bytes);
                free(work);
                if (t)
                    assert_memory_equal(out, first[kind].held, (size_t)r[kind].n * size);
            }
            for (int kind = 0; kind < 3; kind++)
                drop(&r[kind]);
        }
        for (int kind = 0; kind < 3; kind++)
            drop(&first[kind]);
        drop(&x);
        drop(&w);
        drop(&y);
    }
    soma_set_threads(0);
}
static void threads_agree(void **state) {
    (void)state;
    each_isa(all_threads_agree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_options),
        cmocka_unit_test(halves),
        cmocka_unit_test(empty_sizes),
        cmocka_unit_test(threads_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
