/* Orders in memory that soma chooses by itself: nobody sees them. Every accessor on such tensors, views of them, tensors saved on the tape, gradients. */
#include "check.h"

#include "ops/norm_last.h"

#include <math.h>

static soma_tensor *numbers(int ndim, const int64_t *shape) { return soma__sample(SOMA_F32, -2, 2, 5, ndim, shape); }
static soma_tensor *image(void) { return numbers(SOMA_SHAPE(2, 3, 4, 5)); }
static soma_tensor *turned(void) { return soma__turned(image()); }

static void same_values(soma_tensor *a, soma_tensor *b) {
    float x[512], y[512];
    check_ok();
    assert_int_equal(soma_numel(a), soma_numel(b));
    assert_int_equal(soma_to_array(a, x, 512, SOMA_F32), SOMA_OK);
    assert_int_equal(soma_to_array(b, y, 512, SOMA_F32), SOMA_OK);
    assert_memory_equal(x, y, (size_t)soma_numel(a) * sizeof *x);
}

static void row_major_to_whoever_looks(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = image(), *y = turned();
    assert_true(y->chosen && soma__channels_last(y) && !soma__contiguous(y));
    assert_true(soma_is_contiguous(y));
    for (int d = 0; d < 4; d++)
        assert_int_equal(soma_stride(y, d), soma_stride(x, d));
    assert_float_equal(soma_at(y, 4, (const int64_t[]){1, 2, 3, 4}), soma_at(x, 4, (const int64_t[]){1, 2, 3, 4}), 0);
    char a[4096], b[4096];
    soma_format(x, a, sizeof a);
    soma_format(y, b, sizeof b);
    assert_string_equal(a, b);
    same_values(x, y);
    assert_true(y->chosen); /* none of these had to move anything */
    assert_memory_equal(soma_data(y), soma_data(x), 120 * sizeof(float));
    assert_true(!y->chosen && soma__contiguous(y));
    assert_ptr_equal(soma_data(y), y->data);
    soma_tensor *z = turned();
    assert_ptr_equal(soma_contiguous(z), z);
    assert_true(soma__contiguous(z));
    soma_scope_end(scope);
}

static void results_have_the_order_of_inputs(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = image(), *y = turned(), *c = soma__sample(SOMA_F32, -1, 1, 7, SOMA_SHAPE(1, 3, 1, 1));
    assert_true(soma__channels_last(soma_relu(y)));
    assert_true(soma__channels_last(soma_add(y, c)) && soma__channels_last(soma_mul(c, y)));
    assert_true(soma__channels_last(soma_add(x, y)) && soma__channels_last(soma_add(y, x)));
    assert_true(soma__channels_last(soma_to(soma_gt(y, c), SOMA_F32)));
    assert_true(soma__contiguous(soma_add(x, c)));
    same_values(soma_add(x, c), soma_add(y, c));
    same_values(soma_add(x, x), soma_add(x, y));
    same_values(soma_exp(x), soma_exp(y));
    same_values(soma_add(x, x), soma_add_(y, x));
    /* A user's own order: the results are row-major to him as well. */
    soma_tensor *t = soma_relu(soma_permute(x, SOMA_DIMS(0, 3, 1, 2)));
    assert_true(soma_is_contiguous(t));
    assert_int_equal(soma_stride(t, 3), 1);
    same_values(t, soma_contiguous(soma_permute(soma_relu(x), SOMA_DIMS(0, 3, 1, 2))));
    /* One size: both orders are one. */
    assert_true(soma__contiguous(soma__turned(numbers(SOMA_SHAPE(2, 1, 4, 5)))) && soma__contiguous(soma__turned(numbers(SOMA_SHAPE(2, 3, 1, 1)))));
    assert_true(soma__contiguous(soma__turned(numbers(SOMA_SHAPE(0, 3, 4, 5)))));
    check_ok();
    soma_scope_end(scope);
}

static void views_share_what_the_user_sees(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *y = turned(), *row = soma_select(y, 1, 1), *flat = soma_flatten(y, 0, -1), *off = soma_detach(y);
    assert_true(soma_shares_storage(y, row) && soma_shares_storage(y, flat) && soma_shares_storage(y, off));
    soma_fill_(row, 7);
    assert_float_equal(soma_at(y, 4, (const int64_t[]){1, 1, 2, 3}), 7, 0);
    assert_float_equal(soma_at(flat, 1, (const int64_t[]){20}), 7, 0);
    ((float *)soma_data(y))[0] = 9;
    assert_float_equal(soma_at(off, 4, (const int64_t[]){0, 0, 0, 0}), 9, 0);
    check_ok();
    soma_scope_end(scope);
}

/* What the tape saved keeps its values when the handle is put in order. */
static void saved_tensors(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_requires_grad_(image(), true), *zero = soma__turned(soma_zeros(SOMA_SHAPE(2, 3, 4, 5), SOMA_F32));
    for (int look = 0; look < 2; look++) {
        soma_set_grad(x, NULL);
        soma_tensor *y = soma_add(x, zero), *z = soma_exp(y), *w = soma_mul(z, y);
        assert_true(y->chosen && z->chosen && w->chosen);
        soma_retain_grad(y);
        if (look)
            assert_true(soma_data(y) && soma_data(z) && soma_data(w));
        soma_backward(soma_sum(w, SOMA_ALL, false));
        check_ok();
        /* d/dx x exp(x) = (1 + x) exp(x), to the roundings of a product and a sum */
        soma_tensor *expected = soma_mul(soma_add_scalar(soma_detach(x), 1), soma_exp(soma_detach(x)));
        const float *have = soma_data(soma_grad(x)), *inner = soma_data(soma_grad(y)), *want = soma_data(expected);
        for (int i = 0; i < 120; i++) {
            assert_true(fabsf(have[i] - want[i]) <= 1e-5f);
            assert_true(fabsf(inner[i] - want[i]) <= 1e-5f);
        }
    }
    soma_scope_end(scope);
}

/* Written in place by an operator: refused in backward as before. */
static void writing_in_place_is_noticed(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_requires_grad_(image(), true), *y = soma_add(x, turned()), *z = soma_exp(y);
    soma_mul_(z, y);
    soma_backward(soma_sum(z, SOMA_ALL, false));
    check_error(SOMA_ESTATE, "changed in place");
    soma_scope_end(scope);
}

static void no_memory_to_settle(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *y = turned();
    soma_memory_fail_at(1);
    assert_null(soma_data(y));
    soma_memory_fail_at(0);
    check_error(SOMA_ENOMEM, "");
    assert_true(y->chosen && soma_data(y));
    soma_scope_end(scope);
}

/* ---- Operators on both orders ---- */

typedef soma_tensor *run_fn(soma_tensor *x);
static soma_tensor *pool_2x2(soma_tensor *x) { return soma_max_pool2d(x, 2, 2); }
static soma_tensor *pool_3x3(soma_tensor *x) { return soma_max_pool2d(x, 3, 3, .stride = {2, 2}, .padding = {1, 1}); }
static soma_tensor *pool_apart(soma_tensor *x) { return soma_max_pool2d(x, 2, 2, .stride = {1, 2}, .dilation = {2, 3}); }
static soma_tensor *pool_largest(soma_tensor *x) { return soma_adaptive_max_pool2d(x, 3, 4); }
static soma_tensor *mean_2x2(soma_tensor *x) { return soma_avg_pool2d(x, 2, 2); }
static soma_tensor *mean_3x3(soma_tensor *x) { return soma_avg_pool2d(x, 3, 3, .stride = {2, 1}, .padding = {1, 1}, .count_exclude_pad = true); }
static soma_tensor *mean_parts(soma_tensor *x) { return soma_adaptive_avg_pool2d(x, 4, 3); }
static soma_tensor *mean_all(soma_tensor *x) { return soma_adaptive_avg_pool2d(x, 1, 1); }
static soma_tensor *flat(soma_tensor *x) { return soma_flatten(pool_2x2(x), 1, -1); }

static soma_tensor *ramp(double from, soma_tensor *x) { return soma_linspace(from, 2, soma_size(x, 1), SOMA_F32); }
static soma_tensor *norm(soma_tensor *x) { return soma_batch_norm(x, ramp(0.5, x), ramp(-1, x), NULL, NULL, true, 0.1, 1e-5); }
static soma_tensor *norm_still(soma_tensor *x) { return soma_batch_norm(x, ramp(0.5, x), NULL, ramp(-1, x), ramp(1, x), false, 0.1, 1e-5); }
static soma_tensor *through_relu(soma_tensor *x) { return soma_add(soma_relu(x), soma_mul(x, soma_reshape(ramp(-1, x), SOMA_SHAPE(1, -1, 1, 1)))); }

static soma_tensor *joined(soma_tensor *x) { return soma_max_pool2d(soma_cat((soma_tensor *[]){x, soma_relu(x), soma_slice(x, 1, 1, 3, 1)}, 3, 1), 2, 2); }
static soma_tensor *dropped(soma_tensor *x) {
    soma_seed(9);
    return soma_relu(soma_dropout(soma_relu(x), 0.3, true));
}

/* y and the gradients of sum(y w) for x, from x row-major and channels-last. */
static soma_tensor *with_gradient(run_fn *run, soma_tensor *x, bool last, soma_tensor **gradient) {
    soma_tensor *in = last ? soma_add(x, soma__turned(soma_zeros(4, soma_shape(x), SOMA_F32))) : x, *y;
    assert_true(!last || in->chosen);
    y = run(in);
    check_ok();
    soma_backward(soma_sum(soma_mul(y, soma__sample(SOMA_F32, -1, 1, 3, soma_ndim(y), soma_shape(y))), SOMA_ALL, false));
    check_ok();
    *gradient = soma_grad(x);
    return y;
}

/* Largest difference over largest magnitude. */
static double distance(soma_tensor *a, soma_tensor *b) {
    double top = soma_item(soma_amax(soma_abs(b), SOMA_ALL, false)), off = soma_item(soma_amax(soma_abs(soma_sub(a, b)), SOMA_ALL, false));
    check_ok();
    return off / (top > 0 ? top : 1);
}

static void operators_do_not_mind(void **state) {
    (void)state;
    static const struct { run_fn *run; double bound; } cases[] = {
        {pool_2x2, 0}, {pool_3x3, 0}, {pool_apart, 0}, {pool_largest, 0}, {mean_2x2, 0}, {mean_3x3, 0}, {mean_parts, 0}, {mean_all, 1e-6}, {flat, 0},
        {norm, 1e-5}, {norm_still, 0}, {through_relu, 0}, {joined, 0}, {dropped, 0},
    };
    static const int64_t shapes[][4] = {{3, 45, 9, 10}, {9, 4, 7, 8}, {1, 130, 11, 8}};
    for (size_t i = 0; i < SOMA_LEN(cases); i++)
        for (size_t k = 0; k < SOMA_LEN(shapes); k++) {
            soma_scope scope = soma_scope_begin();
            soma_tensor *first = NULL, *first_gradient = NULL, *gx, *gy;
            soma_tensor *x = soma_requires_grad_(numbers(4, shapes[k]), true), *a = with_gradient(cases[i].run, x, false, &gx);
            soma_keep(gx);
            for (int threads = 1; threads <= 3; threads++) {
                soma_set_threads(threads);
                soma_set_grad(x, NULL);
                soma_tensor *b = with_gradient(cases[i].run, x, true, &gy);
                bool grad = soma_set_grad_enabled(false);
                if (!(distance(b, a) <= cases[i].bound && distance(gy, gx) <= cases[i].bound))
                    fail_msg("case %zu, shape %zu: %g and %g off", i, k, distance(b, a), distance(gy, gx));
                soma_set_grad_enabled(grad);
                first = first ? first : b;
                if (!first_gradient)
                    first_gradient = soma_keep(gy);
                assert_memory_equal(soma_data(b), soma_data(first), (size_t)soma_numel(b) * sizeof(float));
                assert_memory_equal(soma_data(gy), soma_data(first_gradient), (size_t)soma_numel(gy) * sizeof(float));
            }
            soma_set_threads(0);
            soma_release(gx);
            soma_release(first_gradient);
            soma_scope_end(scope);
        }
}

/* One operator for three: the same bits. */
static void fused_norm(void **state) {
    (void)state;
    static const int64_t shape[] = {5, 37, 8, 9};
    for (int k = 0; k < 4; k++) {
        soma_scope scope = soma_scope_begin();
        bool training = k % 2, adds = k / 2;
        soma_tensor *x = soma__turned(numbers(4, shape)), *r = soma__turned(soma__sample(SOMA_F32, -1, 1, 8, 4, shape)), *y[2], *grads[2][4], *moved[2][2];
        soma_tensor *w = ramp(0.5, x), *b = ramp(-1, x), *leaves[] = {x, w, b, r};
        for (int i = 0; i < 4; i++)
            soma_requires_grad_(leaves[i], true);
        for (int fused = 0; fused < 2; fused++) {
            soma_tensor *mean = moved[fused][0] = ramp(-1, x), *var = moved[fused][1] = ramp(1, x);
            if (fused) {
                y[1] = soma__batch_norm_relu(x, w, b, mean, var, adds ? r : NULL, training, 0.1, 1e-5);
            } else {
                y[0] = soma_batch_norm(x, w, b, mean, var, training, 0.1, 1e-5);
                y[0] = soma_relu(adds ? soma_add(y[0], r) : y[0]);
            }
            check_ok();
            soma_tensor *loss = soma_sum(soma_mul(y[fused], soma__sample(SOMA_F32, -1, 1, 3, 4, shape)), SOMA_ALL, false);
            assert_int_equal(soma_grad_of(loss, leaves, 3 + adds, &(soma_backward_opts){.create_graph = false, .size = sizeof(soma_backward_opts)}, grads[fused]),
                             SOMA_OK);
        }
        assert_true(y[1]->chosen);
        assert_memory_equal(soma_data(y[0]), soma_data(y[1]), (size_t)soma_numel(x) * sizeof(float));
        for (int i = 0; i < 3 + adds; i++)
            assert_memory_equal(soma_data(grads[0][i]), soma_data(grads[1][i]), (size_t)soma_numel(leaves[i]) * sizeof(float));
        for (int i = 0; i < 2; i++)
            assert_memory_equal(soma_data(moved[0][i]), soma_data(moved[1][i]), 37 * sizeof(float));
        soma_scope_end(scope);
    }
}

/* Its rule for derivatives of any order. */
static void fused_norm_again(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_requires_grad_(soma__turned(numbers(SOMA_SHAPE(2, 5, 3, 4))), true), *first[2], *second[2];
    for (int fused = 0; fused < 2; fused++) {
        soma_tensor *y = fused ? soma__batch_norm_relu(x, ramp(0.5, x), ramp(-1, x), NULL, NULL, x, true, 0.1, 1e-5)
                               : soma_relu(soma_add(soma_batch_norm(x, ramp(0.5, x), ramp(-1, x), NULL, NULL, true, 0.1, 1e-5), x));
        soma_grad_of(soma_sum(soma_square(y), SOMA_ALL, false), &x, 1, &(soma_backward_opts){.create_graph = true, .size = sizeof(soma_backward_opts)}, &first[fused]);
        soma_grad_of(soma_sum(soma_square(first[fused]), SOMA_ALL, false), &x, 1, NULL, &second[fused]);
        check_ok();
    }
    soma_set_grad_enabled(false);
    assert_true(distance(first[1], first[0]) < 1e-5 && distance(second[1], second[0]) < 1e-4);
    soma_set_grad_enabled(true);
    soma_scope_end(scope);
}

/* ---- Networks ---- */

static void look(void *user, soma_module *m, const char *path, soma_tensor *const *in, int n, soma_tensor *out) {
    (void)m, (void)path, (void)in, (void)n;
    *(int *)user += soma_ndim(out) > 0;
}

static void same_bits(soma_tensor *a, soma_tensor *b, const char *what) {
    check_ok();
    if (soma_numel(a) != soma_numel(b) || memcmp(soma_data(a), soma_data(b), (size_t)soma_numel(a) * soma_dtype_size(soma_dtype_of(a))) != 0)
        fail_msg("other bits in %s", what);
}

/* Layers that run together when nobody looks give what they give one by one; who looks sees all of them. */
static void looking_changes_nothing(void **state) {
    (void)state;
    static const char *const nets[] = {
        "conv 12 3 same nobias, batchnorm relu, residual relu (conv 12 3 same nobias, batchnorm relu, conv 12 3 same nobias, batchnorm), residual relu (conv 18 3 same nobias, batchnorm relu, conv 18 3 same nobias, batchnorm | conv 18 1 nobias, batchnorm), gap, linear 5",
        "conv 12 3 relu, conv 10 3 relu, maxpool 2, dropout 0.3, flatten, linear 7 relu, linear 5",
        "conv 9 3, batchnorm relu, maxpool 3 stride 2 pad 1, conv 8 3, relu, maxpool 2 stride 1, flatten, linear 5",
    };
    for (size_t k = 0; k < SOMA_LEN(nets); k++) {
        soma_scope scope = soma_scope_begin();
        soma_module *net[2];
        soma_tensor *y[2][2], *x = soma__sample(SOMA_F32, -2, 2, 5, SOMA_SHAPE(4, 3, 12, 12));
        int seen = 0;
        for (int looks = 0; looks < 2; looks++) {
            soma_seed(3);
            net[looks] = soma_nn_parse(nets[k]);
            check_ok();
            soma_nn_build(net[looks], 4, soma_shape(x));
            if (looks)
                soma_nn_set_hook(net[1], look, &seen);
            soma_seed(4);
            y[looks][0] = soma_nn_forward(net[looks], x);
            soma_backward(soma_sum(soma_square(y[looks][0]), SOMA_ALL, false));
            check_ok();
            soma_nn_train(net[looks], false);
            y[looks][1] = soma_nn_forward(net[looks], x);
        }
        assert_true(seen >= 10);
        same_bits(y[0][0], y[1][0], "training");
        same_bits(y[0][1], y[1][1], "evaluation");
        for (int buffers = 0; buffers < 2; buffers++) {
            soma_named a[64], b[64];
            int n = soma_nn_named(net[0], buffers, a, 64);
            assert_int_equal(n, soma_nn_named(net[1], buffers, b, 64));
            for (int i = 0; i < n && i < 64; i++) {
                same_bits(a[i].tensor, b[i].tensor, a[i].name);
                if (soma_grad(a[i].tensor))
                    same_bits(soma_grad(a[i].tensor), soma_grad(b[i].tensor), a[i].name);
            }
        }
        soma_nn_free(net[0]);
        soma_nn_free(net[1]);
        soma_scope_end(scope);
    }
}

/* Weights scaled for evaluation follow every change of a parameter. */
static void scaled_weights_follow(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma__sample(SOMA_F32, -2, 2, 5, SOMA_SHAPE(2, 3, 10, 10));
    soma_module *net = soma_nn_parse("conv 12 3 same nobias, batchnorm relu, residual relu (conv 12 3 same, batchnorm relu, conv 12 3 same nobias, batchnorm | conv 12 1, batchnorm), gap, linear 5");
    soma_nn_build(net, 4, soma_shape(x));
    for (int i = 0; i < 3; i++)
        soma_nn_forward(net, x); /* statistics that are not 0 and 1 */
    soma_nn_train(net, false);
    check_ok();
    for (int round = 0; round < 6; round++) {
        soma_tensor *weight = soma_nn_get(net, "0.weight"), *gamma = soma_nn_get(net, "1.weight"), *mean = soma_nn_get(net, "1.running_mean"), *y[2];
        soma_set_grad_enabled(false);
        check_ok();
        if (round == 1)
            soma_mul_(weight, soma_scalar(1.5));
        if (round == 2)
            soma_add_(gamma, soma_scalar(0.25));
        if (round == 3)
            soma_fill_(mean, 0.125);
        if (round == 4) {
            ((float *)soma_data(gamma))[0] = 3;
            soma_touch(gamma);
        }
        if (round == 5) {
            soma_nn_train(net, true);
            soma_nn_forward(net, x);
            soma_nn_train(net, false);
        }
        int seen = 0;
        for (int looks = 0; looks < 2; looks++) {
            soma_nn_set_hook(net, looks ? look : NULL, &seen);
            y[looks] = soma_nn_forward(net, x);
        }
        soma_nn_set_hook(net, NULL, NULL);
        /* Each of three layers rounds its weights once more: a few units in the last place of sums of 108 products. */
        if (!(distance(y[0], y[1]) < 1e-5))
            fail_msg("round %d: %g off", round, distance(y[0], y[1]));
        check_ok();
        soma_set_grad_enabled(true);
    }
    soma_nn_free(net);
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_major_to_whoever_looks), cmocka_unit_test(results_have_the_order_of_inputs),
        cmocka_unit_test(views_share_what_the_user_sees), cmocka_unit_test(saved_tensors),
        cmocka_unit_test(writing_in_place_is_noticed), cmocka_unit_test(no_memory_to_settle),
        cmocka_unit_test(operators_do_not_mind), cmocka_unit_test(fused_norm),
        cmocka_unit_test(fused_norm_again), cmocka_unit_test(looking_changes_nothing),
        cmocka_unit_test(scaled_weights_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
