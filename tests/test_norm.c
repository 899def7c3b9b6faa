/* batch_norm, layer_norm, dropout: against plain loops in f64, running statistics, threads. */
#include "threads.h"

#include "ops/op.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static double *values(soma_tensor *t) {
    double *v = malloc((size_t)soma_numel(t) * sizeof *v + 1);
    soma_to_array(t, v, soma_numel(t), SOMA_F64);
    check_ok();
    return v;
}

/* f32: a few roundings of values up to 5 after a division by a deviation near 1; f16, bf16 round inputs' results once. */
static double tolerance(soma_dtype dtype) {
    return dtype == SOMA_F64 ? 1e-12 : dtype == SOMA_F16 ? 2e-3 : dtype == SOMA_BF16 ? 1.6e-2 : 2e-6;
}

/* ---- batch_norm -------------------------------------------------------------------------------------------------- */

static void compare_batch_norm(int64_t n, int64_t c, int64_t s, soma_dtype dtype, double offset) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma__sample(dtype, -2 + offset, 2 + offset, 1, s ? 3 : 2, (const int64_t[]){n, c, s});
    soma_tensor *w = soma__sample(dtype, 0.5, 2, 2, 1, &c), *b = soma__sample(dtype, -1, 1, 3, 1, &c);
    soma_tensor *rm = soma__sample(dtype, -1, 1, 4, 1, &c), *rv = soma__sample(dtype, 0.5, 1, 5, 1, &c);
    double *xv = values(x), *wv = values(w), *bv = values(b), *m0 = values(rm), *v0 = values(rv), eps = 1e-3;
    soma_tensor *before = soma_batch_norm(x, w, b, rm, rv, false, 0.1, eps),
                *y = soma_batch_norm(x, w, b, rm, rv, true, 0.1, eps);
    check_ok();
    double *yv = values(y), *ev = values(before), *m1 = values(rm), *v1 = values(rv),
           tol = tolerance(dtype) * (1 + fabs(offset) / 5);
    int64_t inner = s ? s : 1, m = n * inner;
    for (int64_t ch = 0; ch < c; ch++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < m; i++)
            mean += xv[(i / inner * c + ch) * inner + i % inner] / (double)m;
        for (int64_t i = 0; i < m; i++)
            var += pow(xv[(i / inner * c + ch) * inner + i % inner] - mean, 2) / (double)m;
        for (int64_t i = 0; i < m; i++) {
            int64_t at = (i / inner * c + ch) * inner + i % inner;
            double want = (xv[at] - mean) / sqrt(var + eps) * wv[ch] + bv[ch], eval = (xv[at] - m0[ch]) / sqrt(v0[ch] + eps) * wv[ch] + bv[ch];
            if (!(fabs(yv[at] - want) <= tol * (1 + fabs(want))) || !(fabs(ev[at] - eval) <= tol * (1 + fabs(eval))))
                fail_msg("[%d, %d, %d] %s: %g and %g, expected %g and %g", (int)n, (int)c, (int)s, soma_dtype_name(dtype), yv[at], ev[at],
                         want, eval);
        }
        double want_mean = 0.9 * m0[ch] + 0.1 * mean, want_var = 0.9 * v0[ch] + 0.1 * var * (double)m / (double)(m - 1);
        assert_true(fabs(m1[ch] - want_mean) <= tol * (1 + fabs(want_mean)));
        assert_true(fabs(v1[ch] - want_var) <= tol * (1 + fabs(want_var)));
    }
    double *all[] = {xv, wv, bv, m0, v0, yv, ev, m1, v1};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
    soma_scope_end(scope);
}

static void test_batch_norm(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{64, 10, 0}, {3, 130, 0}, {2, 3, 49}, {5, 4, 784}, {2, 1, 1}, {4, 6, 3}, {1, 2, 5000}};
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int d = SOMA_F32; d <= SOMA_BF16; d++)
            compare_batch_norm(shapes[i][0], shapes[i][1], shapes[i][2], (soma_dtype)d, 0);
    /* far from 0 the deviations must not be lost: E[x^2] - E[x]^2 in f32 would be off by the whole variance here */
    compare_batch_norm(8, 3, 400, SOMA_F32, 1000);
    compare_batch_norm(400, 20, 0, SOMA_F32, 1000);
}

/* Eval mode reads the running statistics and leaves them alone; so it can be run twice before a backward. */
static void test_eval_mode(void **state) {
    (void)state;
    soma_tensor *rm = SOMA_TENSOR(SOMA_SHAPE(2), 1, 2), *rv = SOMA_TENSOR(SOMA_SHAPE(2), 4, 9);
    soma_tensor *x = soma_requires_grad_(SOMA_TENSOR(SOMA_SHAPE(1, 2), 5, 5), true);
    soma_tensor *a = soma_batch_norm(x, NULL, NULL, rm, rv, false, 0.1, 0),
                *b = soma_batch_norm(x, NULL, NULL, rm, rv, false, 0.1, 0);
    assert_true(soma_at(a, 2, (const int64_t[]){0, 0}) == 2 && soma_at(a, 2, (const int64_t[]){0, 1}) == 1);
    soma_backward(soma_sum(soma_add(a, b), SOMA_ALL, false));
    float *g = soma_data(soma_grad(x));
    check_ok();
    assert_true(g[0] == 1 && fabsf(g[1] - 2.0f / 3) < 1e-6f);
    assert_true(soma_at(rm, 1, (const int64_t[]){0}) == 1 && soma_at(rv, 1, (const int64_t[]){1}) == 9);
    /* half-precision activations with f32 parameters */
    soma_tensor *half = soma_requires_grad_(soma_zeros(SOMA_SHAPE(3, 2), SOMA_BF16), true),
                *w = soma_requires_grad_(soma_ones(SOMA_SHAPE(2), SOMA_F32), true);
    soma_tensor *y = soma_batch_norm(half, w, NULL, soma_zeros(SOMA_SHAPE(2), SOMA_F32), soma_ones(SOMA_SHAPE(2), SOMA_F32),
                                     true, 0.1, 1e-5);
    soma_backward(soma_sum(y, SOMA_ALL, false));
    check_ok();
    assert_true(soma_dtype_of(y) == SOMA_BF16 && soma_dtype_of(soma_grad(w)) == SOMA_F32 &&
                soma_dtype_of(soma_grad(half)) == SOMA_BF16);
    assert_null(soma_batch_norm(soma_zeros(SOMA_SHAPE(3, 2), SOMA_F64), w, NULL, NULL, NULL, true, 0.1, 1e-5));
    check_error(SOMA_EDTYPE, "weight is f32, expected x's dtype, f64");
}

/* ---- layer_norm -------------------------------------------------------------------------------------------------- */

static void compare_layer_norm(int64_t rows, int64_t width, soma_dtype dtype) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma__sample(dtype, -2, 3, 1, 2, (const int64_t[]){rows, width});
    soma_tensor *w = soma__sample(dtype, 0.5, 2, 2, 1, &width), *b = soma__sample(dtype, -1, 1, 3, 1, &width);
    double *xv = values(x), *wv = values(w), *bv = values(b), *yv = values(soma_layer_norm(x, 1, w, b, 1e-3)),
           tol = tolerance(dtype);
    double *plain = values(soma_layer_norm(x, 1, NULL, NULL, 1e-3));
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < width; i++)
            mean += xv[r * width + i] / (double)width;
        for (int64_t i = 0; i < width; i++)
            var += pow(xv[r * width + i] - mean, 2) / (double)width;
        for (int64_t i = 0; i < width; i++) {
            double z = (xv[r * width + i] - mean) / sqrt(var + 1e-3), want = z * wv[i] + bv[i];
            assert_true(fabs(yv[r * width + i] - want) <= tol * (1 + fabs(want)));
            assert_true(fabs(plain[r * width + i] - z) <= tol * (1 + fabs(z)));
        }
    }
    double *all[] = {xv, wv, bv, yv, plain};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
    soma_scope_end(scope);
}

static void test_layer_norm(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 3, 16, 50, 768, 5000};
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int d = SOMA_F32; d <= SOMA_BF16; d++)
            compare_layer_norm(3, widths[i], (soma_dtype)d);
    assert_int_equal(soma_numel(soma_layer_norm(soma_zeros(SOMA_SHAPE(0, 4), SOMA_F32), 1, NULL, NULL, 1e-5)), 0);
    check_ok();
}

/* ---- Dropout ----------------------------------------------------------------------------------------------------- */

static void test_dropout(void **state) {
    (void)state;
    soma_seed(7);
    soma_tensor *x = soma_requires_grad_(soma_ones(SOMA_SHAPE(100003), SOMA_F32), true), *y = soma_dropout(x, 0.2, true);
    const float *v = soma_data(y);
    int64_t kept = 0;
    for (int64_t i = 0; i < soma_numel(y); i++) {
        assert_true(v[i] == 0 || v[i] == 1.25f);
        kept += v[i] != 0;
    }
    /* 100003 throws with p = 0.8: five standard deviations are 632 */
    assert_true(llabs(kept - 80002) < 632);
    soma_backward(soma_sum(y, SOMA_ALL, false));
    assert_memory_equal(soma_data(soma_grad(x)), v, (size_t)soma_numel(y) * sizeof *v);
    /* element i is word i % 4 of Philox block i / 4 of (seed, stream) */
    uint32_t words[4];
    for (uint64_t i = 0; i < 100003; i += i < 2000 ? 1 : 997) {
        soma__philox(7, 0, i / 4, words);
        assert_true((v[i] != 0) == (words[i % 4] >= (uint32_t)(0.2 * 4294967296.0 + 0.5)));
    }
    soma_seed(7);
    soma_tensor *again = soma_dropout(x, 0.2, true), *other = soma_dropout(x, 0.2, true);
    assert_memory_equal(soma_data(again), v, (size_t)soma_numel(y) * sizeof *v);
    assert_true(memcmp(soma_data(other), v, (size_t)soma_numel(y) * sizeof *v) != 0);
    check_ok();
}

static void test_dropout_limits(void **state) {
    (void)state;
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(3), 1, 2, 3), *out[2];
    assert_ptr_equal(soma_dropout(x, 0.5, false), x);
    assert_ptr_equal(soma_dropout(x, 0, true), x);
    assert_true(soma_item(soma_sum(soma_dropout(x, 1, true), SOMA_ALL, false)) == 0);
    soma_attr attrs[] = {SOMA_FLOAT("p", 0.9), SOMA_BOOLEAN("training", false)};
    assert_int_equal(soma_call("dropout", &x, 1, attrs, 2, out, 2), SOMA_OK);
    assert_memory_equal(soma_data(out[0]), soma_data(x), 12);
    assert_true(soma_item(soma_all(out[1], SOMA_ALL, false)) == 1);
    assert_int_equal(soma_numel(soma_dropout(soma_zeros(SOMA_SHAPE(0), SOMA_F32), 0.5, true)), 0);
    check_ok();
    assert_null(soma_dropout(x, NAN, true));
    check_error(SOMA_EINVAL, "dropout: p is nan");
}

/* ---- Threads ------------------------------------------------------------------------------------------------------- */

static void test_threads(void **state) {
    (void)state;
    soma_tensor *x = soma__sample(SOMA_F32, -2, 2, 1, 4, (const int64_t[]){16, 9, 28, 28}),
                *g = soma__sample(SOMA_F32, -2, 2, 2, 4, (const int64_t[]){16, 9, 28, 28});
    soma_tensor *c = soma__sample(SOMA_F32, 0.5, 2, 3, 1, (const int64_t[]){9}),
                *flat = soma__sample(SOMA_F32, -2, 2, 4, 2, (const int64_t[]){300, 500});
    soma_tensor *gf = soma__sample(SOMA_F32, -2, 2, 5, 2, (const int64_t[]){300, 500}),
                *w = soma__sample(SOMA_F32, 0.5, 2, 6, 1, (const int64_t[]){500});
    soma_tensor *rows = soma__sample(SOMA_F32, 0.5, 2, 7, 1, (const int64_t[]){300});
    soma_attr training[] = {SOMA_BOOLEAN("training", true)};
    check_op_threads("batch_norm", (soma_tensor *[]){x, c, c}, 3, training, 1);
    check_op_threads("batch_norm", (soma_tensor *[]){flat, w, w}, 3, training, 1);
    check_op_threads("batch_norm_backward", (soma_tensor *[]){g, x, c, c, c}, 5, training, 1);
    check_op_threads("batch_norm_backward", (soma_tensor *[]){gf, flat, w, w, w}, 5, training, 1);
    check_op_threads("layer_norm", (soma_tensor *[]){flat, w, w}, 3, NULL, 0);
    check_op_threads("layer_norm_backward", (soma_tensor *[]){gf, flat, rows, rows, w}, 5, NULL, 0);
    /* sums over rows are doubles: in f32 their last bits would not show */
    soma_tensor *in[] = {gf, flat, rows, rows, w};
    for (int i = 0; i < 5; i++)
        in[i] = soma_to(in[i], SOMA_F64);
    check_op_threads("layer_norm_backward", in, 5, NULL, 0);
    check_op_threads("dropout", &x, 1, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm), cmocka_unit_test(test_eval_mode),      cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_dropout),    cmocka_unit_test(test_dropout_limits), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
