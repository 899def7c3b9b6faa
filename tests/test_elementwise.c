/* What the registry's own checks cannot see of elementwise operators: surrogate gradients, random slopes, composites in place, and rows of
 * strides that must be gathered. */
#include "check.h"

#include <math.h>

static void fill(soma_tensor *x, const double *v) {
    for (int64_t i = 0; i < soma_numel(x); i++)
        ((double *)soma_data(x))[i] = v[i];
}

static void near(soma_tensor *t, const double *v, double bound) {
    check_ok();
    double got[64];
    assert_int_equal(soma_to_array(t, got, soma_numel(t), SOMA_F64), SOMA_OK);
    for (int64_t i = 0; i < soma_numel(t); i++)
        if (!(got[i] == v[i] || fabs(got[i] - v[i]) <= bound || (isnan(got[i]) && isnan(v[i]))))
            fail_msg("element %lld is %.17g, expected %.17g", (long long)i, got[i], v[i]);
}

/* At u = (x - 0.5) / 2 = -1.5, -0.75, 0, 0.5, 2; the formulas are those of the entry's text. */
static void surrogates(void **state) {
    (void)state;
    static const double x[] = {-2.5, -1, 0.5, 1.5, 4.5}, u[] = {-1.5, -0.75, 0, 0.5, 2}, y[] = {0, 0, 1, 1, 1};
    static const char *const kinds[] = {"none", "straight_through", "clipped", "triangle", "sigmoid", "fast_sigmoid", "arctan"};
    for (int k = 0; k < 7; k++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *in = soma_empty(SOMA_SHAPE(5), SOMA_F64), *out;
        fill(in, x);
        soma_requires_grad_(in, true);
        out = soma_step_surrogate(in, 0.5, kinds[k], 2);
        near(out, y, 0);
        soma_backward(soma_sum(out, SOMA_ALL, false));
        double expected[5];
        for (int i = 0; i < 5; i++) {
            double size = fabs(u[i]), s = 1 / (1 + exp(-u[i]));
            double of[] = {0, 1, size <= 1, fmax(0, 1 - size) / 2, s * (1 - s) / 2, 0.5 / ((1 + size) * (1 + size)), 0.5 / (1 + M_PI * M_PI * u[i] * u[i])};
            expected[i] = of[k];
        }
        check_ok();
        if (soma_grad(in))
            near(soma_grad(in), expected, 1e-15);
        else
            assert_int_equal(k, 0);
        soma_scope_end(scope);
    }
    assert_null(soma_step_surrogate(soma_scalar(1), 0, "straight", 1));
    check_error(SOMA_EINVAL, "step: surrogate is 'straight', expected one of none|straight_through");
}

static void random_slopes(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_full(SOMA_SHAPE(10000), -1, SOMA_F32), *a, *b;
    soma_seed(3);
    a = soma_rrelu(x, 0.125, 0.5, true);
    soma_seed(3);
    b = soma_rrelu(x, 0.125, 0.5, true);
    check_ok();
    assert_memory_equal(soma_data(a), soma_data(b), 40000);
    assert_true(soma_item(soma_amax(a, SOMA_ALL, false)) <= -0.125 && soma_item(soma_amin(a, SOMA_ALL, false)) >= -0.5);
    assert_true(fabs(soma_item(soma_mean(a, SOMA_ALL, false)) + 0.3125) < 0.005);
    near(soma_rrelu(soma_full(SOMA_SHAPE(2), -2, SOMA_F64), 0.125, 0.5, false), (const double[]){-0.625, -0.625}, 0);
    soma_tensor *some = soma_empty(SOMA_SHAPE(3), SOMA_F64);
    fill(some, (const double[]){2, INFINITY, NAN});
    near(soma_rrelu(some, 0.125, 0.5, true), (const double[]){2, INFINITY, NAN}, 0);
    soma_scope_end(scope);
}

/* A composite's result is copied over its input, by name and by function, recorded or not. */
static void composites_in_place(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    static const double v[] = {-1, 0.2, 3, 7}, six[] = {0, 0.2, 3, 6};
    soma_tensor *x = soma_empty(SOMA_SHAPE(4), SOMA_F64), *out, *whole;
    fill(x, v);
    assert_int_equal(soma_call("relu6_", &x, 1, NULL, 0, &out, 1), SOMA_OK);
    assert_ptr_equal(out, x);
    near(x, six, 0);
    soma_lerp_(x, soma_scalar(0), soma_scalar(0.5));
    near(x, (const double[]){0, 0.1, 1.5, 3}, 0);
    soma_zero_(x);
    near(x, (const double[]){0, 0, 0, 0}, 0);
    whole = soma_ones(SOMA_SHAPE(2), SOMA_I32);
    assert_int_not_equal(soma_call("logsigmoid_", &whole, 1, NULL, 0, &out, 1), SOMA_OK);
    check_error(SOMA_ESHAPE, "logsigmoid in place: the result is [2] f32");
    /* On the tape: y = 2 x, then rounded to one place in place: the gradient of round is 0; relu6's is 1 inside. */
    soma_tensor *leaf = soma_empty(SOMA_SHAPE(4), SOMA_F64), *y;
    fill(leaf, v);
    soma_requires_grad_(leaf, true);
    y = soma_mul_scalar(leaf, 1);
    soma_tensor *in[] = {y};
    assert_int_equal(soma_call("round_", in, 1, NULL, 0, &out, 1), SOMA_OK);
    soma_backward(soma_sum(soma_add(y, leaf), SOMA_ALL, false));
    near(soma_grad(leaf), (const double[]){1, 1, 1, 1}, 0);
    assert_int_not_equal(soma_call("relu6_", &leaf, 1, NULL, 0, &out, 1), SOMA_OK);
    check_error(SOMA_ESTATE, "a leaf that requires a gradient");
    soma_scope_end(scope);
}

/* Every mix of strides against the same values in order: rows longer than a block, two constants, an output with gaps. */
static void strides_are_gathered(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *a = soma_rand(SOMA_SHAPE(700, 3), SOMA_F32), *b = soma_rand(SOMA_SHAPE(3, 700), SOMA_F32);
    soma_tensor *turned = soma_transpose(b, 0, 1), *same = soma_contiguous(turned);
    assert_int_equal(soma_item(soma_equal(soma_mul(a, turned), soma_mul(a, same))), 1);
    assert_int_equal(soma_item(soma_equal(soma_tanh(turned), soma_tanh(same))), 1);
    soma_tensor *one = soma_expand(soma_rand(SOMA_SHAPE(1), SOMA_F32), 2, (const int64_t[]){700, 3}), *ones = soma_contiguous(one);
    assert_int_equal(soma_item(soma_equal(soma_add(one, one), soma_add(ones, ones))), 1);
    soma_tensor *gaps = soma_slice(soma_zeros(SOMA_SHAPE(1400, 3), SOMA_F32), 0, 0, 1400, 2);
    bool was = soma_set_grad_enabled(false);
    soma_copy_(gaps, a);
    soma_mul_(gaps, turned);
    soma_sqrt_(gaps);
    soma_set_grad_enabled(was);
    assert_int_equal(soma_item(soma_equal(gaps, soma_sqrt(soma_mul(a, same)))), 1);
    check_ok();
    soma_scope_end(scope);
}

/* Every activation as a layer: from its word to the same numbers as the operator, and back to the same word. */
static void layers(void **state) {
    (void)state;
    static const struct { const char *word, *op; soma_attr attrs[2]; int n; } cases[] = {
        {"relu", "relu", {{0}}, 0}, {"relu6", "relu6", {{0}}, 0}, {"leakyrelu 0.1", "leaky_relu", {SOMA_FLOAT("negative_slope", 0.1)}, 1},
        {"leakyrelu 0", "relu", {{0}}, 0}, {"rrelu 0.1 0.3", "leaky_relu", {SOMA_FLOAT("negative_slope", 0.2)}, 1},
        {"elu 0.5", "elu", {SOMA_FLOAT("alpha", 0.5)}, 1}, {"selu", "selu", {{0}}, 0}, {"celu 2", "celu", {SOMA_FLOAT("alpha", 2)}, 1},
        {"gelu", "gelu", {{0}}, 0}, {"gelutanh", "gelu", {SOMA_STRING("approximate", "tanh")}, 1}, {"silu", "silu", {{0}}, 0},
        {"mish", "mish", {{0}}, 0}, {"hardswish", "hardswish", {{0}}, 0}, {"softplus", "softplus", {{0}}, 0},
        {"softplus 2 3", "softplus", {SOMA_FLOAT("beta", 2), SOMA_FLOAT("threshold", 3)}, 2}, {"softsign", "softsign", {{0}}, 0},
        {"sigmoid", "sigmoid", {{0}}, 0}, {"hardsigmoid", "hardsigmoid", {{0}}, 0}, {"logsigmoid", "logsigmoid", {{0}}, 0}, {"tanh", "tanh", {{0}}, 0},
        {"hardtanh -2 0.5", "hardtanh", {SOMA_FLOAT("min", -2), SOMA_FLOAT("max", 0.5)}, 2}, {"tanhshrink", "tanhshrink", {{0}}, 0},
        {"hardshrink", "hardshrink", {{0}}, 0}, {"softshrink 1", "softshrink", {SOMA_FLOAT("lambd", 1)}, 1},
        {"prelu", "leaky_relu", {SOMA_FLOAT("negative_slope", 0.25)}, 1}, {"prelu 6 init 0.5", "leaky_relu", {SOMA_FLOAT("negative_slope", 0.5)}, 1},
        {"threshold 0.5 -1", "threshold", {SOMA_FLOAT("threshold", 0.5), SOMA_FLOAT("value", -1)}, 2}, {"glu", "glu", {{0}}, 0},
        {"glu 1", "glu", {SOMA_INT("dim", 1)}, 1}, {"step", "step", {{0}}, 0}, {"softmin", "softmin", {{0}}, 0}, {"softmax", "softmax", {{0}}, 0},
        {"step 0.5 fastsigmoid width 2", "step", {SOMA_FLOAT("threshold", 0.5)}, 1}, {"identity", "identity", {{0}}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_scope scope = soma_scope_begin();
        soma_module *m = soma_nn_parse(cases[i].word);
        check_ok();
        soma_nn_train(m, false);
        soma_tensor *x = soma_randn(SOMA_SHAPE(4, 6), SOMA_F32), *y = soma_nn_forward(m, x), *expected;
        assert_int_equal(soma_call(cases[i].op, &x, 1, cases[i].attrs, cases[i].n, &expected, 1), SOMA_OK);
        if (soma_item(soma_allclose(y, expected, 1e-6, 1e-6, false)) != 1)
            fail_msg("'%s' differs from the operator %s", cases[i].word, cases[i].op);
        char text[64];
        soma_nn_describe(m, text, sizeof text);
        assert_string_equal(text, cases[i].word);
        check_ok();
        soma_nn_free(m);
        soma_scope_end(scope);
    }
    soma_module *m = soma_nn_prelu(3, 0);
    soma_tensor *weight = soma_nn_get(m, "weight");
    assert_true(soma_numel(weight) == 3 && soma_requires_grad(weight));
    soma_backward(soma_sum(soma_nn_forward(m, soma_full(SOMA_SHAPE(2, 3, 4), -1, SOMA_F32)), SOMA_ALL, false));
    near(soma_grad(weight), (const double[]){-8, -8, -8}, 0);
    soma_nn_free(m);
    assert_null(soma_nn_prelu(-1, 0));
    check_error(SOMA_EINVAL, "PReLU");
    assert_null(soma_nn_step_surrogate(0, "round", 1));
    check_error(SOMA_EINVAL, "Step: surrogate 'round'");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(surrogates), cmocka_unit_test(random_slopes), cmocka_unit_test(composites_in_place),
                                       cmocka_unit_test(strides_are_gathered), cmocka_unit_test(layers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
