/* Initialisers: moments, bounds, right angles, zeros; the same draws for any number of threads; by name, and by the activation that
 * follows. */
#include "nn_help.h"

#include "base/base.h"

#include <math.h>

typedef struct moments {
    double mean, std, low, high;
} moments;

static moments moments_of(soma_tensor *t) {
    int64_t n = soma_numel(t);
    double *v = malloc((size_t)(n + 1) * sizeof *v), sum = 0, square = 0;
    moments m = {0, 0, INFINITY, -INFINITY};
    soma_to_array(t, v, n, SOMA_F64);
    for (int64_t i = 0; i < n; i++) {
        sum += v[i];
        square += v[i] * v[i];
        m.low = fmin(m.low, v[i]);
        m.high = fmax(m.high, v[i]);
    }
    free(v);
    m.mean = sum / (double)n;
    m.std = sqrt(square / (double)n - m.mean * m.mean);
    return m;
}

/* 200 x 300 x 2: fans 600 and 400. With 120,000 draws a deviation is known to 0.3 %: four of them. */
static void check_std(soma_tensor *t, double std, double bound) {
    moments m = moments_of(t);
    assert_true(fabs(m.mean) < 4 * std / sqrt(120000.0));
    if (!(fabs(m.std / std - 1) < 0.012))
        fail_msg("the deviation is %g instead of %g", m.std, std);
    assert_true(m.high <= bound && m.low >= -bound && m.high > 0.98 * fmin(bound, 4 * std));
}

static void test_scaled(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(5);
    soma_tensor *t = soma_zeros(SOMA_SHAPE(200, 300, 2), SOMA_F32);
    const double root3 = sqrt(3) * (1 + 1e-6), in = sqrt(1 / 600.0), out = sqrt(1 / 400.0), avg = sqrt(1 / 500.0);
    check_std(soma_init_xavier_uniform_(t, 0), avg, avg * root3);
    check_std(soma_init_xavier_normal_(t, 2), 2 * avg, 20 * avg);
    check_std(soma_init_kaiming_uniform_(t, 0), sqrt(2) * in, sqrt(2) * in * root3);
    check_std(soma_init_kaiming_normal_(t, 1), in, 10 * in);
    check_std(soma_init_lecun_uniform_(t), in, in * root3);
    check_std(soma_init_lecun_normal_(t), in, 10 * in);
    check_std(soma_init_scaled_(t, 0.5, SOMA_FAN_OUT, false), 0.5 * out, 0.5 * out * root3);
    check_std(soma_init_scaled_(t, 3, SOMA_FAN_AVG, true), 3 * avg, 30 * avg);
    check_ok();
    assert_null(soma_init_lecun_normal_(soma_zeros(SOMA_SHAPE(4), SOMA_F32)));
    check_error(SOMA_ESHAPE, "a fan needs at least 2 dimensions, and this tensor is [4]");
    soma_scope_end(scope);
}

/* The truncated normal has deviation 0.8796 of the full one between ±2 of them; one-sided: mean phi(1) / (1 - Phi(1)) = 1.5251. */
static void test_trunc_normal(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(6);
    soma_tensor *t = soma_init_trunc_normal_(soma_zeros(SOMA_SHAPE(120000), SOMA_F64), 3, 0.5, 2, 4);
    moments m = moments_of(t);
    assert_true(fabs(m.mean - 3) < 0.006 && fabs(m.std - 0.5 * 0.879626) < 0.005 && m.low >= 2 && m.high <= 4 && m.low < 2.001 && m.high > 3.999);
    m = moments_of(soma_init_trunc_normal_(t, 0, 1, 1, 100));
    assert_true(fabs(m.mean - 1.525135) < 0.006 && m.low >= 1 && m.high > 3.5);
    m = moments_of(soma_init_trunc_normal_(t, 0, 1, -100, 100));
    assert_true(fabs(m.mean) < 0.012 && fabs(m.std - 1) < 0.01 && m.high > 3.8 && m.low < -3.8);
    check_ok();
    assert_null(soma_init_trunc_normal_(t, 0, 1, 2, 2));
    check_error(SOMA_EINVAL, "bounds around the mean");
    assert_null(soma_init_trunc_normal_(t, 0, 0, -1, 1));
    check_error(SOMA_EINVAL, "a deviation above 0");
    soma_scope_end(scope);
}

static void test_gain(void **state) {
    (void)state;
    assert_true(soma_init_gain("linear", 0) == 1 && soma_init_gain("sigmoid", 0) == 1 && soma_init_gain("tanh", 0) == 5.0 / 3);
    assert_true(soma_init_gain("relu", 0) == sqrt(2) && soma_init_gain("selu", 0) == 0.75);
    assert_true(soma_init_gain("leaky_relu", 0) == sqrt(2 / (1 + 0.0001)) && soma_init_gain("leaky_relu", 0.2) == sqrt(2 / 1.04));
    assert_true(isnan(soma_init_gain("tan", 0)));
    check_error(SOMA_ENOTFOUND, "unknown nonlinearity 'tan'; did you mean 'tanh'?");
}

/* Rows of the smaller side: q qT is gain^2 times the identity. */
static void right_angles(soma_dtype dtype, int ndim, const int64_t *shape, double gain, double tolerance) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *t = soma_init_orthogonal_(soma_zeros(ndim, shape, dtype), gain);
    check_ok();
    soma_tensor *q = soma_reshape(soma_to(t, SOMA_F64), 2, (const int64_t[]){shape[0], -1});
    if (soma_size(q, 0) > soma_size(q, 1))
        q = soma_transpose(q, 0, 1);
    int64_t n = soma_size(q, 0);
    soma_tensor *eye = soma_mul_scalar(soma_init_eye_(soma_zeros(SOMA_SHAPE(n, n), SOMA_F64)), gain * gain);
    double off = soma_item(soma_amax(soma_abs(soma_sub(soma_matmul(q, soma_transpose(q, 0, 1)), eye)), 0, NULL, false));
    if (!(off <= tolerance))
        fail_msg("%lld rows are off by %g", (long long)n, off);
    soma_scope_end(scope);
}

static void test_orthogonal(void **state) {
    (void)state;
    soma_seed(7);
    right_angles(SOMA_F64, 2, (const int64_t[]){5, 5}, 1, 1e-14);
    right_angles(SOMA_F64, 2, (const int64_t[]){70, 200}, 2, 1e-13);
    right_angles(SOMA_F64, 2, (const int64_t[]){200, 33}, 1, 1e-13);
    right_angles(SOMA_F64, 4, (const int64_t[]){40, 3, 3, 3}, 0.5, 1e-14);
    right_angles(SOMA_F64, 2, (const int64_t[]){1, 9}, 1, 1e-14);
    right_angles(SOMA_F32, 2, (const int64_t[]){128, 128}, 1, 1e-6);
    soma_scope scope = soma_scope_begin();
    soma_tensor *t = soma_init_orthogonal_(soma_zeros(SOMA_SHAPE(0, 4), SOMA_F32), 1);
    check_ok();
    assert_non_null(t);
    /* All rotations are equally likely: the mean of the first element over many is 0, its square 1/3. */
    double sum = 0, square = 0;
    for (int i = 0; i < 3000; i++) {
        soma_scope inner = soma_scope_begin();
        double v = soma_at(soma_init_orthogonal_(soma_zeros(SOMA_SHAPE(3, 3), SOMA_F64), 1), 2, (int64_t[]){i % 3, i / 3 % 3});
        sum += v;
        square += v * v;
        soma_scope_end(inner);
    }
    assert_true(fabs(sum / 3000) < 0.04 && fabs(square / 3000 - 1.0 / 3) < 0.025);
    assert_null(soma_init_orthogonal_(soma_zeros(SOMA_SHAPE(3), SOMA_F32), 1));
    check_error(SOMA_ESHAPE, "orthogonal needs at least 2 dimensions");
    soma_scope_end(scope);
}

static void test_sparse(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(8);
    enum { ROWS = 50, COLUMNS = 400 };
    static double v[ROWS * COLUMNS];
    soma_to_array(soma_init_sparse_(soma_zeros(SOMA_SHAPE(ROWS, COLUMNS), SOMA_F64), 0.33, 0.2), v, ROWS * COLUMNS, SOMA_F64);
    double square = 0;
    int first = 0;
    for (int c = 0; c < COLUMNS; c++) {
        int zeros = 0;
        for (int r = 0; r < ROWS; r++) {
            zeros += v[r * COLUMNS + c] == 0;
            square += v[r * COLUMNS + c] * v[r * COLUMNS + c];
        }
        assert_int_equal(zeros, 17); /* 16.5, rounded up */
        first += v[c] == 0;
    }
    assert_true(fabs(sqrt(square / (COLUMNS * 33)) - 0.2) < 0.006);
    assert_true(first > 100 && first < 170); /* any row as often as others: 136 */
    check_ok();
    assert_null(soma_init_sparse_(soma_zeros(SOMA_SHAPE(2, 3), SOMA_F32), 1.5, 0));
    check_error(SOMA_EINVAL, "from 0 to 1, not 1.5");
    assert_null(soma_init_sparse_(soma_zeros(SOMA_SHAPE(2, 3, 1), SOMA_F32), 0.5, 0));
    check_error(SOMA_ESHAPE, "sparse needs 2 dimensions, and this tensor is [2, 3, 1]");
    soma_scope_end(scope);
}

/* What comes in goes out. */
static void test_identity(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    double v[6];
    soma_to_array(soma_init_eye_(soma_ones(SOMA_SHAPE(2, 3), SOMA_F32)), v, 6, SOMA_F64);
    assert_memory_equal(v, ((double[]){1, 0, 0, 0, 1, 0}), sizeof v);
    soma_tensor *x = soma_normal_(soma_zeros(SOMA_SHAPE(2, 6, 5, 4), SOMA_F32), 0, 1);
    soma_tensor *w = soma_init_dirac_(soma_zeros(SOMA_SHAPE(6, 6, 3, 3), SOMA_F32), 1);
    soma_tensor *y = soma_conv2d(x, w, NULL, .padding = {1});
    assert_true(soma_item(soma_amax(soma_abs(soma_sub(x, y)), 0, NULL, false)) == 0);
    w = soma_init_dirac_(soma_zeros(SOMA_SHAPE(6, 2, 3, 3), SOMA_F32), 3);
    y = soma_conv2d(x, w, NULL, .padding = {1}, .groups = 3);
    assert_true(soma_item(soma_amax(soma_abs(soma_sub(x, y)), 0, NULL, false)) == 0);
    assert_non_null(soma_init_dirac_(soma_zeros(SOMA_SHAPE(2, 2, 3, 3, 3), SOMA_F32), 0));
    check_ok();
    assert_null(soma_init_dirac_(soma_zeros(SOMA_SHAPE(2, 2), SOMA_F32), 1));
    check_error(SOMA_ESHAPE, "dirac needs 3 to 5 dimensions, and this tensor is [2, 2]");
    assert_null(soma_init_dirac_(soma_zeros(SOMA_SHAPE(5, 2, 3), SOMA_F32), 2));
    check_error(SOMA_EINVAL, "5 output channels cannot be divided into 2 groups");
    soma_scope_end(scope);
}

/* ---- Whole networks ---- */

static soma_module *built(const char *text) {
    soma_module *m = parse(text);
    soma_nn_build(m, 2, (const int64_t[]){1, 400});
    check_ok();
    return m;
}

static double std_of(soma_module *m, const char *name) { return moments_of(soma_nn_get(m, name)).std; }

static void test_auto(void **state) {
    (void)state;
    soma_seed(9);
    soma_module *m = built("linear 300 relu, linear 200 tanh, linear 250, layernorm, dropout 0.5, leakyrelu 0.2, linear 300 sigmoid, linear 350");
    assert_int_equal(soma_nn_init(m, "auto"), SOMA_OK);
    const struct {
        const char *name;
        double std;
    } want[] = {{"0.weight", sqrt(2 / 400.0)}, {"2.weight", 5.0 / 3 * sqrt(1 / 250.0)}, {"4.weight", sqrt(2 / 1.04 / 200.0)},
                {"8.weight", sqrt(1 / 275.0)}, {"10.weight", sqrt(1 / 300.0)}};
    for (size_t i = 0; i < SOMA_LEN(want); i++)
        if (!(fabs(std_of(m, want[i].name) / want[i].std - 1) < 0.02))
            fail_msg("%s: deviation %g instead of %g", want[i].name, std_of(m, want[i].name), want[i].std);
    assert_true(std_of(m, "0.bias") == 0 && moments_of(soma_nn_get(m, "5.weight")).mean == 1);
    /* A signal keeps its size on the way through thirty layers; PyTorch's own filling loses it. */
    soma_nn_free(m);
    m = built("repeat 30 (linear 400 relu)");
    double size[2];
    for (int k = 0; k < 2; k++) {
        soma_scope scope = soma_scope_begin();
        soma_nn_init(m, k ? "auto" : "default");
        soma_tensor *y = soma_nn_forward(m, soma_normal_(soma_zeros(SOMA_SHAPE(64, 400), SOMA_F32), 0, 1));
        check_ok();
        size[k] = sqrt(soma_item(soma_mean(soma_square(y), 0, NULL, false)));
        soma_scope_end(scope);
    }
    assert_true(size[0] < 0.1 && size[1] > 0.2 && size[1] < 5);
    soma_nn_free(m);
}

/* Every name works on linear and convolutional layers, seeded, the same for any number of threads, and leaves the scale of norms at 1. */
static void test_names(void **state) {
    (void)state;
    assert_true(soma_init_kind_count() >= 16);
    int threads = soma_threads();
    for (int i = 0; i < soma_init_kind_count(); i++) {
        const char *name = soma_init_kind_get(i)->name;
        assert_true(soma_init_kind_get(i)->doc[0] != 0);
        static double v[3][20000];
        int64_t n[3] = {0};
        for (int k = 0; k < 3; k++) {
            soma_set_threads(k == 1 ? 3 : 1);
            soma_module *m = parse("conv 16 3, batchnorm, relu, flatten, linear 40 relu, linear 7");
            soma_nn_build(m, 4, (const int64_t[]){1, 2, 6, 6});
            soma_seed(k == 2 ? 12 : 11);
            if (soma_nn_init(m, name) != SOMA_OK)
                fail_msg("%s: %s", name, soma_error_message());
            soma_named named[16];
            int count = soma_nn_named(m, false, named, 16);
            for (int p = 0; p < count; p++) {
                soma_to_array(named[p].tensor, v[k] + n[k], 20000 - n[k], SOMA_F64);
                n[k] += soma_numel(named[p].tensor);
            }
            assert_true(moments_of(soma_nn_get(m, "1.weight")).mean == 1);
            soma_nn_free(m);
        }
        assert_memory_equal(v[0], v[1], (size_t)n[0] * sizeof v[0][0]);
        bool drawn = strcmp(name, "zeros") != 0 && strcmp(name, "ones") != 0 && strcmp(name, "identity") != 0;
        assert_true((memcmp(v[0], v[2], (size_t)n[0] * sizeof v[0][0]) != 0) == drawn);
    }
    soma_set_threads(threads);
    assert_null(soma_init_kind_get(-1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_scaled), TEST(test_trunc_normal), TEST(test_gain), TEST(test_orthogonal), TEST(test_sparse), TEST(test_identity),
        TEST(test_auto),   TEST(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
