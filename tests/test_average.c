/* Averages of weights: their formulas, in and out of the network, by name; batch norm's statistics; in soma_fit, stopped and resumed. */
#include "nn_help.h"

#include "base/base.h"

#include <math.h>
#include <soma/train.h>

static double weight_of(soma_module *m) { return soma_at(soma_nn_get(m, "0.weight"), 2, (int64_t[]){0, 1}); }

static void set_weight(soma_module *m, double v) {
    bool grad = soma_set_grad_enabled(false);
    soma_fill_(soma_nn_get(m, "0.weight"), v);
    soma_set_grad_enabled(grad);
}

static void test_ema(void **state) {
    (void)state;
    soma_module *m = parse("linear 3, batchnorm");
    soma_nn_build(m, 2, (const int64_t[]){1, 4});
    set_weight(m, 1);
    soma_average *ema = soma_ema(m, .decay = 0.75), *warm = soma_ema(m, .decay = 0.75, .warmup = true);
    check_ok();
    double want = 1, early = 1;
    for (int t = 0; t < 20; t++) {
        set_weight(m, t);
        want = 0.75 * want + 0.25 * t;
        double d = fmin(0.75, (1.0 + t) / (10.0 + t));
        early = d * early + (1 - d) * t;
        assert_int_equal(soma_average_update(ema), SOMA_OK);
        soma_average_update(warm);
    }
    assert_int_equal(soma_average_updates(ema), 20);
    assert_int_equal(soma_average_swap(ema), SOMA_OK);
    assert_true(fabs(weight_of(m) - want) < 1e-5);
    soma_average_swap(ema);
    assert_true(weight_of(m) == 19);
    soma_module *other = parse("linear 3, batchnorm");
    soma_nn_build(other, 2, (const int64_t[]){1, 4});
    assert_int_equal(soma_average_copy_to(warm, other), SOMA_OK);
    assert_true(fabs(weight_of(other) - early) < 1e-5 && weight_of(m) == 19);
    check_ok();
    /* By name, into another. */
    soma_average *copy = soma_ema(other, .decay = 0.75);
    soma_named named[16];
    int n = soma_average_named(ema, named, 16);
    assert_int_equal(n, 1 + 2 + 5);
    assert_string_equal(named[0].name, "updates");
    assert_string_equal(named[1].name, "0.weight");
    for (int i = 0; i < n; i++)
        assert_int_equal(soma_average_load(copy, named[i].name, named[i].tensor), SOMA_OK);
    soma_average_swap(copy);
    assert_true(fabs(weight_of(other) - want) < 1e-5 && soma_average_updates(copy) == 20);
    check_ok();
    assert_int_equal(soma_average_load(copy, "x", named[1].tensor), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "the average has no 'x'");
    assert_int_equal(soma_average_load(copy, "0.bias", named[1].tensor), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "the average of '0.bias' is [3, 4] f32, and [3] f32 is needed");
    assert_null(soma_ema(m, .decay = 1));
    check_error(SOMA_EINVAL, "decay must be from 0 to below 1, not 1");
    soma_average_free(copy);
    soma_average_free(warm);
    soma_average_free(ema);
    soma_average_free(NULL);
    soma_nn_free(other);
    soma_nn_free(m);
}

/* Buffers: copied as they are, or averaged too; counts stay whole. */
static void test_buffers(void **state) {
    (void)state;
    soma_module *m = parse("linear 3, batchnorm");
    soma_nn_build(m, 2, (const int64_t[]){1, 4});
    soma_average *plain = soma_ema(m, .decay = 0.5), *all = soma_ema(m, .decay = 0.5, .use_buffers = true);
    soma_fill_(soma_nn_get(m, "1.running_mean"), 8);
    soma_fill_(soma_nn_get(m, "1.num_batches_tracked"), 5);
    soma_average_update(plain);
    soma_average_update(all);
    soma_average_swap(plain);
    assert_true(soma_at(soma_nn_get(m, "1.running_mean"), 1, (int64_t[]){0}) == 8);
    soma_average_swap(plain);
    soma_average_swap(all);
    assert_true(soma_at(soma_nn_get(m, "1.running_mean"), 1, (int64_t[]){0}) == 4 && soma_item_int(soma_nn_get(m, "1.num_batches_tracked")) == 5);
    check_ok();
    soma_average_free(plain);
    soma_average_free(all);
    soma_nn_free(m);
}

static void test_swa(void **state) {
    (void)state;
    soma_module *m = parse("linear 3");
    soma_nn_build(m, 2, (const int64_t[]){1, 4});
    set_weight(m, 100);
    soma_average *swa = soma_swa(m);
    for (int t = 1; t <= 5; t++) {
        set_weight(m, t * t);
        soma_average_update(swa);
    }
    soma_average_swap(swa);
    assert_true(fabs(weight_of(m) - 11) < 1e-5);
    check_ok();
    soma_average_free(swa);
    soma_nn_free(m);
}

/* The statistics are those of the whole data: batches of one size, so the mean of the batches' means is the mean. */
static void test_update_bn(void **state) {
    (void)state;
    enum { N = 60, D = 3 };
    static float x[N * D];
    static int64_t y[N];
    double mean[D] = {0};
    for (int i = 0; i < N * D; i++) {
        x[i] = (float)(sin(i * 0.7) * (1 + i % D) + i % D);
        mean[i % D] += (double)x[i] / N;
    }
    soma_scope scope = soma_scope_begin();
    soma_dataset *data = soma_data_tensors(soma_from_array(x, SOMA_SHAPE(N, D), SOMA_F32), soma_from_array(y, SOMA_SHAPE(N), SOMA_I64));
    soma_loader *loader = soma_loader_new(data, .batch_size = 20);
    soma_module *m = parse("batchnorm, linear 2");
    soma_nn_build(m, 2, (const int64_t[]){1, D});
    check_ok();
    soma_nn_train(m, false);
    assert_int_equal(soma_swa_update_bn(m, loader), SOMA_OK);
    check_ok();
    assert_false(soma_nn_training(m));
    for (int d = 0; d < D; d++)
        assert_true(fabs(soma_at(soma_nn_get(m, "0.running_mean"), 1, (int64_t[]){d}) - mean[d]) < 1e-5);
    assert_int_equal(soma_item_int(soma_nn_get(m, "0.num_batches_tracked")), 3);
    /* Afterwards the layer's own momentum counts again. */
    soma_nn_train(m, true);
    soma_nn_forward(m, soma_full(SOMA_SHAPE(4, D), 50, SOMA_F32));
    assert_true(fabs(soma_at(soma_nn_get(m, "0.running_mean"), 1, (int64_t[]){1}) - (0.9 * mean[1] + 5)) < 1e-4);
    check_ok();
    assert_int_equal(soma_swa_update_bn(NULL, loader), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "needs a network");
    soma_nn_free(m);
    soma_loader_free(loader);
    soma_data_free(data);
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_ema), TEST(test_buffers), TEST(test_swa), TEST(test_update_bn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
