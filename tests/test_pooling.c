/* Pooling against the definition (each output from its window, by plain loops over coordinates), ties and NaN, gradients
 * that find their place, equal bits for all thread counts and instruction sets. */
#include "threads.h"

#include "ops/op.h"

#include "kernels/cpu/isa.h"

#include <math.h>

typedef struct window {
    int64_t k, s, p, d;
    bool up, exclude;
} window;

static int64_t windows(int64_t size, const window *w) {
    int64_t room = size + 2 * w->p - w->d * (w->k - 1) - 1, n = (room + (w->up ? w->s - 1 : 0)) / w->s + 1;
    return w->up && (n - 1) * w->s >= size + w->p ? n - 1 : n;
}

/* The definition, in f64. A window's element (a, b) is at o * s - p + a * d; those outside are not there. */
static double naive(const double *x, int64_t h, int64_t w, const window *v, int64_t r, int64_t c, bool max) {
    double best = -INFINITY, sum = 0;
    int64_t inside = 0, counted = 0;
    for (int64_t a = 0; a < v->k; a++)
        for (int64_t b = 0; b < v->k; b++) {
            int64_t i = r * v->s - v->p + a * v->d, j = c * v->s - v->p + b * v->d;
            counted += i < h + v->p && j < w + v->p;
            if (i < 0 || j < 0 || i >= h || j >= w)
                continue;
            inside++;
            sum += x[i * w + j];
            if (x[i * w + j] > best || isnan(x[i * w + j]))
                best = x[i * w + j];
        }
    return max ? best : sum / (double)(v->exclude ? inside : counted);
}

static const window cases[] = {
    {2, 2, 0, 1, 0, 0}, {3, 2, 1, 1, 0, 0}, {3, 2, 1, 1, 1, 0}, {3, 2, 1, 1, 1, 1}, {2, 1, 1, 2, 0, 0}, {3, 1, 0, 1, 0, 0},
    {5, 3, 2, 1, 0, 1}, {2, 2, 0, 1, 1, 0}, {4, 3, 2, 1, 1, 0}, {1, 1, 0, 1, 0, 0}, {2, 3, 0, 1, 0, 0},
};
static const int64_t sizes[][2] = {{8, 8}, {28, 28}, {7, 9}, {5, 37}, {16, 6}};

static void as_defined(soma_dtype dtype, double tolerance) {
    for (size_t s = 0; s < SOMA_LEN(sizes); s++)
        for (size_t k = 0; k < SOMA_LEN(cases); k++) {
            soma_scope scope = soma_scope_begin();
            const window *v = &cases[k];
            int64_t h = sizes[s][0], w = sizes[s][1], oh = windows(h, v), ow = windows(w, v);
            soma_tensor *x = soma_randn(SOMA_SHAPE(2, 3, h, w), dtype), *wide = soma_to(x, SOMA_F64);
            soma_pool2d_opts o = {.stride = {v->s}, .padding = {v->p}, .dilation = {v->d}, .ceil_mode = v->up, .count_exclude_pad = v->exclude, .size = sizeof o};
            soma_tensor *m = soma_max_pool2d_ex(x, v->k, v->k, &o),
                        *a = v->d > 1 ? NULL : soma_avg_pool2d_ex(x, v->k, v->k, &o);
            check_shape(m, SOMA_SHAPE(2, 3, oh, ow));
            for (int64_t i = 0; i < 6 * oh * ow; i++) {
                int64_t plane = i / (oh * ow), r = i / ow % oh, c = i % ow, at[] = {plane / 3, plane % 3, r, c};
                const double *xp = (const double *)soma_data(wide) + plane * h * w;
                assert_true(soma_at(m, 4, at) == naive(xp, h, w, v, r, c, true));
                if (a)
                    assert_true(fabs(soma_at(a, 4, at) - naive(xp, h, w, v, r, c, false)) <= tolerance);
            }
            soma_scope_end(scope);
        }
}

static void figures(void **state) {
    (void)state;
    /* sums of at most 25 numbers below 5: f32 keeps 2^-24 of each, f16 rounds the result to 2^-11 */
    as_defined(SOMA_F32, 1e-5);
    as_defined(SOMA_F64, 1e-14);
    as_defined(SOMA_F16, 2e-3);
}

static void whole_numbers(void **state) {
    (void)state;
    soma_tensor *x = soma_randint(-100, 100, SOMA_SHAPE(1, 2, 6, 7), SOMA_I8);
    soma_tensor *y = soma_to(soma_max_pool2d(x, 3, 3, .stride = {2}), SOMA_F32),
                *z = soma_max_pool2d(soma_to(x, SOMA_F32), 3, 3, .stride = {2});
    check_ok();
    assert_memory_equal(soma_data(y), soma_data(z), 4 * (size_t)soma_numel(y));
}

static void ties_and_nan(void **state) {
    (void)state;
    soma_tensor *out[2], *x = SOMA_TENSOR(SOMA_SHAPE(1, 2, 8), 1, 1, 5, NAN, -INFINITY, -INFINITY, 2, 3, 1, 1, 9, NAN,
                                          -INFINITY, -INFINITY, 3, 3);
    assert_int_equal(soma_call("max_pool2d", &x, 1, &SOMA_INTS("kernel_size", 2), 1, out, 2), SOMA_OK);
    CHECK_VALUES(out[0], 1, NAN, -INFINITY, 3);
    CHECK_VALUES(out[1], 0, 11, 4, 7); /* the first of equals, the last NaN */
    /* the same through the vectors, which take eight windows at a time, and through the reference */
    soma_tensor *wide[8], *y[2], *z[2];
    for (int i = 0; i < 8; i++)
        wide[i] = x;
    soma_tensor *joined = soma_cat(wide, 8, 2);
    soma_call("max_pool2d", &joined, 1, &SOMA_INTS("kernel_size", 2), 1, y, 2);
    soma__force_reference = 1;
    soma_call("max_pool2d", &joined, 1, &SOMA_INTS("kernel_size", 2), 1, z, 2);
    soma__force_reference = 0;
    check_ok();
    assert_memory_equal(soma_data(y[0]), soma_data(z[0]), 4 * 32);
    assert_memory_equal(soma_data(y[1]), soma_data(z[1]), 4 * 32);
}

static void adaptive(void **state) {
    (void)state;
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(1, 1, 5), 1, 2, 4, 8, 16);
    /* parts 0-1, 1-3, 3-4: floor(5 i / 3) to ceil(5 (i + 1) / 3) */
    soma_tensor *y = soma_adaptive_avg_pool2d(x, 1, 3);
    CHECK_VALUES(y, 1.5, (double)(14.0f / 3.0f), 12);
    soma_tensor *z = soma_randn(SOMA_SHAPE(2, 3, 7, 9), SOMA_F32), *mean = soma_mean(z, SOMA_DIMS(2, 3), true);
    soma_tensor *whole = soma_adaptive_avg_pool2d(z, 1, 1);
    check_ok();
    for (int i = 0; i < 6; i++) /* 63 numbers, summed in another order */
        assert_true(fabs(((float *)soma_data(whole))[i] - ((float *)soma_data(mean))[i]) < 1e-6);
}

static void gradient_goes_to_the_largest(void **state) {
    (void)state;
    soma_tensor *x = soma_randn(SOMA_SHAPE(2, 3, 29, 28), SOMA_F32), *g = soma_randn(SOMA_SHAPE(2, 3, 14, 14), SOMA_F32),
                *gx;
    soma_requires_grad_(x, true);
    soma_tensor *y = soma_max_pool2d(x, 2, 2);
    assert_int_equal(soma_grad_of(y, &x, 1, &(soma_backward_opts){.grad = g, .size = sizeof(soma_backward_opts)}, &gx),
                     SOMA_OK);
    const float *xp = soma_data(x), *yp = soma_data(y), *gp = soma_data(g), *gxp = soma_data(gx);
    for (int p = 0; p < 6; p++)
        for (int r = 0; r < 29; r++)
            for (int c = 0; c < 28; c++) {
                int o = (p * 14 + r / 2) * 14 + c / 2, i = (p * 29 + r) * 28 + c;
                float want = r < 28 && xp[i] == yp[o] ? gp[o] : 0;
                assert_true(gxp[i] == want);
            }
}

typedef struct inputs {
    soma_tensor *x, *g;
    int64_t k, s;
    bool max;
} inputs;

static soma_tensor *run_forward(void *user) {
    const inputs *in = user;
    return in->max ? soma_max_pool2d(in->x, in->k, in->k, .stride = {in->s})
                   : soma_avg_pool2d(in->x, in->k, in->k, .stride = {in->s});
}
static soma_tensor *run_backward(void *user) {
    inputs *in = user;
    soma_tensor *gx;
    soma_grad_of(run_forward(user), &in->x, 1, &(soma_backward_opts){.grad = in->g, .size = sizeof(soma_backward_opts)},
                 &gx);
    return gx;
}

static void threads(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        inputs in = {.k = i & 1 ? 3 : 2, .s = i & 2 ? 1 : 2, .max = i & 4};
        in.x = soma_requires_grad_(soma_randn(SOMA_SHAPE(8, 8, 26, 30), SOMA_F32), true);
        in.g = soma_randn(4, soma_shape(run_forward(&in)), SOMA_F32);
        check_threads(run_forward, &in);
        check_threads(run_backward, &in);
    }
}

/* No operation here is rounded differently by another instruction set. */
static void instruction_sets(void **state) {
    (void)state;
    for (int max = 0; max < 2; max++) {
        inputs in = {.k = 2, .s = 2, .max = max};
        in.x = soma_requires_grad_(soma_randn(SOMA_SHAPE(3, 2, 21, 37), SOMA_F32), true);
        in.g = soma_randn(SOMA_SHAPE(3, 2, 10, 18), SOMA_F32);
        soma_tensor *y = run_forward(&in), *gx = run_backward(&in), *whole = soma_adaptive_avg_pool2d(in.x, 1, 1);
        for (int level = 0; level <= soma__isa_best(); level++) {
            soma__isa_force(level);
            soma_tensor *y2 = run_forward(&in), *gx2 = run_backward(&in), *whole2 = soma_adaptive_avg_pool2d(in.x, 1, 1);
            check_ok();
            assert_memory_equal(soma_data(y), soma_data(y2), 4 * (size_t)soma_numel(y));
            assert_memory_equal(soma_data(gx), soma_data(gx2), 4 * (size_t)soma_numel(gx));
            assert_memory_equal(soma_data(whole), soma_data(whole2), 4 * (size_t)soma_numel(whole));
        }
        soma__isa_force(-1);
    }
}

/* Fast kernels against the reference, every window and size. */
static void same_as_reference(void **state) {
    (void)state;
    for (size_t s = 0; s < SOMA_LEN(sizes); s++)
        for (size_t k = 0; k < SOMA_LEN(cases); k++)
            for (int level = 0; level <= soma__isa_best(); level++) {
                const window *v = &cases[k];
                soma_pool2d_opts o = {.stride = {v->s}, .padding = {v->p}, .dilation = {v->d}, .ceil_mode = v->up, .count_exclude_pad = v->exclude, .size = sizeof o};
                soma_scope scope = soma_scope_begin();
                soma_tensor *x =
                    soma_round(soma_randn(SOMA_SHAPE(1, 2, sizes[s][0], sizes[s][1]), SOMA_F32)); /* many ties */
                soma_tensor *y[2][2];
                for (int reference = 0; reference < 2; reference++) {
                    soma__isa_force(level);
                    soma__force_reference = reference;
                    soma_attr attrs[] = {SOMA_INTS("kernel_size", v->k), SOMA_INTS("stride", v->s),
                                         SOMA_INTS("padding", v->p), SOMA_BOOLEAN("ceil_mode", v->up),
                                         SOMA_INTS("dilation", v->d)};
                    assert_int_equal(soma_call("max_pool2d", &x, 1, attrs, 5, y[reference], 2), SOMA_OK);
                    if (v->d == 1)
                        assert_non_null(y[reference][0] = soma_add(y[reference][0], soma_avg_pool2d_ex(x, v->k, v->k, &o)));
                }
                soma__force_reference = 0;
                assert_memory_equal(soma_data(y[0][0]), soma_data(y[1][0]), 4 * (size_t)soma_numel(y[0][0]));
                assert_memory_equal(soma_data(y[0][1]), soma_data(y[1][1]), 4 * (size_t)soma_numel(y[0][1]));
                soma_scope_end(scope);
            }
    soma__isa_force(-1);
}

static void options(void **state) {
    (void)state;
    soma_tensor *x = soma_zeros(SOMA_SHAPE(1, 1, 8, 9), SOMA_F32);
    check_shape(soma_max_pool2d(x, 2, 3), SOMA_SHAPE(1, 1, 4, 3));
    check_shape(soma_max_pool2d(x, 2, 3, .stride = {1}), SOMA_SHAPE(1, 1, 7, 7));
    check_shape(soma_max_pool2d(x, 3, 3, .stride = {1, 2}, .padding = {1}), SOMA_SHAPE(1, 1, 8, 5));
    check_shape(soma_avg_pool2d(x, 3, 3, .ceil_mode = true), SOMA_SHAPE(1, 1, 3, 3));
    assert_null(soma_avg_pool2d(x, 3, 3, .dilation = {2}));
    check_error(SOMA_EINVAL, "dilation is for max_pool2d only");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(ties_and_nan),
        cmocka_unit_test(adaptive),
        cmocka_unit_test(gradient_goes_to_the_largest),
        cmocka_unit_test(threads),
        cmocka_unit_test(instruction_sets),
        cmocka_unit_test(same_as_reference),
        cmocka_unit_test(options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
