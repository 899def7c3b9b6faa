/* The tape: leaves, accumulation, retained graphs, second derivatives, in-place writes and their version check, detach, no-grad. */
#include "check.h"

#include <math.h>

static soma_tensor *leaf(double v) { return soma_requires_grad_(soma_full(SOMA_SCALAR, v, SOMA_F64), true); }
static double grad(soma_tensor *t) { return soma_item(soma_grad(t)); }

static void accumulates(void **state) {
    (void)state;
    soma_tensor *x = leaf(3), *y = leaf(4);
    soma_tensor *z = soma_add(soma_mul(x, y), soma_mul(x, x)); /* dz/dx = y + 2x = 10, dz/dy = x = 3 */
    soma_backward(z);
    check_ok();
    assert_float_equal(grad(x), 10, 0);
    assert_float_equal(grad(y), 3, 0);
    soma_backward(soma_mul(x, y)); /* adds y and x */
    assert_float_equal(grad(x), 14, 0);
    assert_float_equal(grad(y), 6, 0);
    assert_int_equal(soma_set_grad(x, NULL), SOMA_OK);
    assert_null(soma_grad(x));
    check_ok();
}

static void leaves_do_not_share_gradients(void **state) {
    (void)state;
    soma_tensor *x = leaf(3), *y = leaf(4);
    soma_backward(soma_add(x, y)); /* both get the same 1 */
    soma_fill_(soma_grad(x), 7);
    assert_float_equal(grad(y), 1, 0);
    check_ok();
}

static void twice_needs_retaining(void **state) {
    (void)state;
    soma_tensor *x = leaf(2), *z = soma_mul(x, x);
    soma_backward(z, .retain_graph = true);
    soma_backward(z);
    assert_float_equal(grad(x), 8, 0);
    assert_int_equal(soma_backward(z), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "second time");
    soma_error_clear();
}

static void second_derivative(void **state) {
    (void)state;
    soma_tensor *x = leaf(2), *g, *g2, *g3;
    soma_tensor *y = soma_mul(x, soma_mul(x, x)); /* 3x^2, 6x, 6 */
    assert_int_equal(soma_grad_of(y, &x, 1, &(soma_backward_opts){.create_graph = true}, &g), SOMA_OK);
    assert_float_equal(soma_item(g), 12, 0);
    assert_int_equal(soma_grad_of(g, &x, 1, &(soma_backward_opts){.create_graph = true}, &g2), SOMA_OK);
    assert_float_equal(soma_item(g2), 12, 0);
    assert_int_equal(soma_grad_of(g2, &x, 1, NULL, &g3), SOMA_OK);
    assert_float_equal(soma_item(g3), 6, 0);
    assert_null(soma_grad(x));
    check_ok();
}

static void non_leaf_gradients(void **state) {
    (void)state;
    soma_tensor *x = leaf(2), *h = soma_retain_grad(soma_mul(x, x)), *z = soma_mul(h, h); /* dz/dh = 2h = 8 */
    soma_backward(z);
    assert_float_equal(grad(h), 8, 0);
    assert_float_equal(grad(x), 32, 0);
    soma_tensor *a = leaf(2), *b = soma_exp(a), *inputs[] = {b, a}, *grads[2];
    assert_int_equal(soma_grad_of(soma_mul(b, a), inputs, 2, NULL, grads), SOMA_OK);
    assert_float_equal(soma_item(grads[0]), 2, 0);
    assert_float_equal(soma_item(grads[1]), exp(2) * 3, 1e-12);
    soma_tensor *other = leaf(1), *g;
    assert_int_equal(soma_grad_of(soma_mul(a, a), &other, 1, NULL, &g), SOMA_OK);
    assert_float_equal(soma_item(g), 0, 0);
    check_ok();
}

static void no_recording(void **state) {
    (void)state;
    soma_tensor *x = leaf(2);
    bool was = soma_set_grad_enabled(false);
    soma_tensor *y = soma_mul(x, x);
    soma_set_grad_enabled(was);
    assert_false(soma_requires_grad(y));
    assert_int_equal(soma_backward(y), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "nothing that this tensor depends on");
    soma_tensor *d = soma_detach(soma_mul(x, x));
    assert_true(soma_is_leaf(d) && !soma_requires_grad(d));
    soma_backward(soma_mul(d, x));
    assert_float_equal(grad(x), 4, 0);
    check_ok();
}

/* In bf16 1 + 2^-12 is 1. A gradient is computed as its operator was, whatever the setting when backward runs. */
static void autocast(void **state) {
    (void)state;
    const double exact = 1 + 0x1p-12;
    assert_int_equal(soma_autocast(), SOMA_F32);
    for (int on = 0; on < 2; on++) {
        soma_tensor *x = soma_full(SOMA_SHAPE(96, 128), exact, SOMA_F32),
                    *w = soma_requires_grad_(soma_full(SOMA_SHAPE(80, 128), 1, SOMA_F32), true);
        assert_int_equal(soma_set_autocast(on ? SOMA_BF16 : SOMA_F32), SOMA_F32);
        soma_tensor *y = soma_linear(x, w, NULL), *z = soma_matmul(x, soma_transpose(w, 0, 1));
        soma_set_autocast(on ? SOMA_F32 : SOMA_BF16);
        assert_int_equal(soma_dtype_of(y), SOMA_F32);
        assert_int_equal(soma_backward(soma_add(soma_sum(y, SOMA_DIMS(0, 1), false), soma_sum(z, SOMA_DIMS(0, 1), false))), SOMA_OK);
        assert_int_equal(soma_set_autocast(SOMA_F32), on ? SOMA_F32 : SOMA_BF16);
        const double factor = on ? 1 : exact;
        assert_true(soma_item(soma_select(soma_select(y, 0, 5), 0, 7)) == 128 * factor);
        assert_true(soma_item(soma_select(soma_select(z, 0, 95), 0, 79)) == 128 * factor);
        assert_true(soma_item(soma_select(soma_select(soma_grad(w), 0, 79), 0, 127)) == 2 * 96 * factor);
        /* A single row is computed in f32. */
        soma_set_autocast(SOMA_BF16);
        assert_true(soma_item(soma_select(soma_matmul(soma_select(x, 0, 0), soma_transpose(w, 0, 1)), 0, 3)) == 128 * exact);
        soma_set_autocast(SOMA_F32);
        check_ok();
    }
    assert_int_equal(soma_set_autocast(SOMA_F16), SOMA_F32);
    check_error(SOMA_EDTYPE, "in f32 or bf16, not in f16");
    assert_int_equal(soma_autocast(), SOMA_F32);
}

static void in_place(void **state) {
    (void)state;
    soma_tensor *x = leaf(3), *y = soma_mul_scalar(x, 2);
    soma_mul_(y, soma_scalar(5));
    soma_add_(y, x);
    soma_backward(y); /* 10x + x */
    assert_float_equal(soma_item(y), 33, 0);
    assert_float_equal(grad(x), 11, 0);
    soma_tensor *e = soma_exp(x), *z = soma_mul(e, e); /* exp saved its result */
    soma_add_(e, soma_scalar(1));
    assert_int_equal(soma_backward(z), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "changed in place");
    soma_add_(x, soma_scalar(1));
    check_error(SOMA_ESTATE, "a leaf that requires a gradient");
    soma_tensor *v = soma_detach(x);
    soma_add_(v, x);
    check_error(SOMA_ESTATE, "writing into a view");
}

static void long_chain_needs_no_stack(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = leaf(1), *y = x;
    for (int i = 0; i < 200000; i++)
        y = soma_neg(y);
    soma_backward(y);
    assert_float_equal(grad(x), 1, 0);
    for (int i = 0; i < 200000; i++)
        y = soma_neg(y); /* freed without backward */
    soma_scope_end(scope);
    check_ok();
}

static soma_tensor *mixture(void *user, soma_tensor *const *in, int n) {
    (void)user;
    (void)n;
    return soma_mul(soma_tanh(soma_mul(in[0], in[1])), soma_exp(in[1])); /* [2, 3] with [3] */
}

static void gradcheck_and_its_failure(void **state) {
    (void)state;
    double a[] = {0.1, -0.2, 0.3, 0.4, 0.5, -0.6}, b[] = {1, 2, -0.5};
    soma_tensor *in[] = {soma_requires_grad_(soma_from_array(a, SOMA_SHAPE(2, 3), SOMA_F64), true),
                         soma_requires_grad_(soma_from_array(b, SOMA_SHAPE(3), SOMA_F64), true)};
    assert_int_equal(soma_gradcheck(mixture, NULL, in, 2, &(soma_gradcheck_opts){.order = 2}), SOMA_OK);
    check_ok();
    assert_int_equal(soma_gradcheck(mixture, NULL, in, 2, &(soma_gradcheck_opts){.eps = 0.3, .rtol = 1e-9}), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "analytic");
}

static void frees_everything(void **state) {
    (void)state;
    int64_t before = soma_memory_stats().current;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_requires_grad_(soma_full(SOMA_SHAPE(10, 10), 0.5, SOMA_F32), true);
    soma_tensor *loss = soma_sum(soma_mul(soma_tanh(x), soma_exp(x)), SOMA_ALL, false), *g, *g2;
    assert_int_equal(soma_grad_of(loss, &x, 1, &(soma_backward_opts){.create_graph = true}, &g), SOMA_OK);
    assert_int_equal(soma_grad_of(soma_sum(g, SOMA_ALL, false), &x, 1, &(soma_backward_opts){.retain_graph = true}, &g2), SOMA_OK);
    soma_backward(loss);
    soma_scope_end(scope);
    check_ok();
    assert_int_equal(soma_memory_stats().current, before);
}

static soma_status one_step(void) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_requires_grad_(soma_full(SOMA_SHAPE(4, 4), 0.5, SOMA_F32), true);
    soma_backward(soma_sum(soma_mul(soma_tanh(x), soma_exp(soma_add(x, x))), SOMA_ALL, false));
    soma_status status = soma_error();
    soma_scope_end(scope);
    return status;
}

static void each_allocation_fails(void **state) {
    (void)state;
    assert_int_equal(one_step(), SOMA_OK);
    int64_t before = soma_memory_stats().current;
    for (int64_t k = 1;; k++) {
        soma_memory_fail_at(k);
        soma_status status = one_step();
        soma_memory_fail_at(0);
        if (status == SOMA_OK) {
            assert_true(k > 20);
            break;
        }
        assert_int_equal(status, SOMA_ENOMEM);
        check_error(SOMA_ENOMEM, "no memory");
        assert_int_equal(soma_memory_stats().current, before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accumulates), cmocka_unit_test(leaves_do_not_share_gradients), cmocka_unit_test(twice_needs_retaining),
        cmocka_unit_test(second_derivative), cmocka_unit_test(non_leaf_gradients), cmocka_unit_test(no_recording),
        cmocka_unit_test(in_place), cmocka_unit_test(autocast), cmocka_unit_test(long_chain_needs_no_stack), cmocka_unit_test(gradcheck_and_its_failure),
        cmocka_unit_test(frees_everything), cmocka_unit_test(each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
