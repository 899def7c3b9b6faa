/* Orders in memory that soma chooses by itself: nobody sees them. Every accessor on such tensors, views of them, tensors saved on the tape, gradients. */
#include "check.h"

#include "ops/op.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_major_to_whoever_looks), cmocka_unit_test(results_have_the_order_of_inputs),
        cmocka_unit_test(views_share_what_the_user_sees), cmocka_unit_test(saved_tensors),
        cmocka_unit_test(writing_in_place_is_noticed), cmocka_unit_test(no_memory_to_settle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
