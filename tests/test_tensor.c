/* Tensors: reading, converting, sharing, scopes, promotion, printing, and what is refused. */
#include "check.h"

#include <math.h>
#include <stdio.h>

#include "tensor/tensor.h"

static void prints(soma_tensor *t, const char *expected) {
    char text[4096];
    soma_format(t, text, sizeof text);
    check_ok();
    assert_string_equal(text, expected);
}

/* The expected texts are what PyTorch 1.13 prints for the same values (dtype names apart). */
static void prints_as_pytorch(void **state) {
    (void)state;
    prints(SOMA_TENSOR(SOMA_SHAPE(2, 2), 1, 2, 3, 4), "tensor([[1., 2.],\n        [3., 4.]])");
    prints(SOMA_TENSOR(SOMA_SHAPE(3), 0.5f, -1.25f, 100), "tensor([  0.5000,  -1.2500, 100.0000])");
    prints(SOMA_TENSOR(SOMA_SHAPE(2), 1e-5f, 1), "tensor([1.0000e-05, 1.0000e+00])");
    prints(SOMA_TENSOR(SOMA_SHAPE(3), NAN, INFINITY, 1), "tensor([nan, inf, 1.])");
    prints(soma_arange(0, 4, 1, SOMA_I64), "tensor([0, 1, 2, 3])");
    prints(soma_full(SOMA_SCALAR, 2.5, SOMA_F64), "tensor(2.5000, dtype=f64)");
    prints(soma_zeros(SOMA_SHAPE(0, 3), SOMA_F32), "tensor([], shape=[0, 3])");
    prints(soma_gt(SOMA_TENSOR(SOMA_SHAPE(2), 1, -1), soma_scalar(0)), "tensor([ True, False])");
    prints(soma_requires_grad_(SOMA_TENSOR(SOMA_SHAPE(1), 1), true), "tensor([1.], requires_grad=True)");
    prints(soma_arange(0, 2000, 1, SOMA_I64), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])");
}

static void converts(void **state) {
    (void)state;
    double in[] = {0, 1, -2.5, 65504, 1e-7, 300};
    for (int d = 0; d < SOMA_DTYPE_COUNT; d++) {
        soma_tensor *t = soma_to(soma_from_array(in, SOMA_SHAPE(6), SOMA_F64), (soma_dtype)d);
        double out[6];
        assert_int_equal(soma_to_array(t, out, 6, SOMA_F64), SOMA_OK);
        assert_float_equal(out[0], 0, 0);
        assert_float_equal(out[1], 1, 0);
        if (d == SOMA_F16 || d == SOMA_F32 || d == SOMA_F64) {
            assert_float_equal(out[2], -2.5, 0);
            assert_float_equal(out[3], 65504, 0);
            assert_float_equal(out[4], 1e-7, 0x1p-25); /* half the step of the smallest halves */
        }
        if (d == SOMA_I64 || d == SOMA_I32 || d == SOMA_I16 || d == SOMA_I8)
            assert_float_equal(out[2], -2, 0);
        if (d == SOMA_U8)
            assert_float_equal(out[5], 44, 0); /* the low byte of 300 */
        if (d == SOMA_BOOL)
            assert_float_equal(out[4], 1, 0);
    }
    check_ok();
}

/* Every 16-bit pattern through f32 and back is itself (NaN stays NaN). */
static void halves_round_trip(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        float f = soma__half_to_float((uint16_t)i), b = soma__bf16_to_float((uint16_t)i);
        if (isnan(f))
            assert_true(isnan(soma__half_to_float(soma__float_to_half(f))));
        else
            assert_int_equal(soma__float_to_half(f), i);
        if (!isnan(b))
            assert_int_equal(soma__float_to_bf16(b), i);
    }
    assert_int_equal(soma__float_to_half(65520), 0x7c00);         /* half way to the next: up to infinity */
    assert_int_equal(soma__float_to_half(65519.996f), 0x7bff);
    assert_int_equal(soma__float_to_half(0x1.002p0f), 0x3c00);    /* half way: to even */
    assert_int_equal(soma__float_to_half(0x1.006p0f), 0x3c02);
    assert_int_equal(soma__float_to_half(0x1p-25f), 0);           /* half the smallest: to even */
    assert_int_equal(soma__float_to_half(0x1.8p-25f), 1);
}

static void scopes_release(void **state) {
    (void)state;
    soma_scope_end(soma_scope_begin()); /* the context's own lists are there from now on */
    soma_ones(SOMA_SHAPE(1), SOMA_F32);
    int64_t before = soma_memory_stats().current;
    soma_scope outer = soma_scope_begin();
    soma_tensor *kept = soma_keep(soma_ones(SOMA_SHAPE(3), SOMA_F32));
    soma_scope inner = soma_scope_begin();
    soma_tensor *up = soma_escape(soma_ones(SOMA_SHAPE(4), SOMA_F32));
    soma_ones(SOMA_SHAPE(5), SOMA_F32);
    soma_scope_begin();
    soma_ones(SOMA_SHAPE(6), SOMA_F32); /* its scope is never ended by name */
    soma_scope_end(inner);
    assert_float_equal(soma_item(soma_sum(up, SOMA_ALL, false)), 4, 0);
    soma_scope_end(outer);
    soma_scope_end(inner); /* nothing */
    assert_float_equal(((float *)soma_data(kept))[2], 1, 0);
    soma_release(kept);
    check_ok();
    assert_int_equal(soma_memory_stats().current, before);
}

/* Only builds without NDEBUG look for it: .ci/run has one. */
static void late_use_is_found(void **state) {
    (void)state;
#ifdef NDEBUG
    print_message("skipped: this build does not look for tensors that are used too late\n");
    skip();
#else
    soma_scope scope = soma_scope_begin();
    soma_tensor *late = soma_neg(soma_ones(SOMA_SHAPE(2), SOMA_F32));
    soma_scope_end(scope);
    assert_null(soma_exp(late));
    check_error(SOMA_ESTATE, "exp: input 'x' (made by neg) is used after its scope ended");
#endif
}

static int released;
static void release(void *user) { released += *(int *)user; }

static void foreign_memory(void **state) {
    (void)state;
    float data[6] = {1, 2, 3, 4, 5, 6};
    int one = 1;
    soma_scope scope = soma_scope_begin();
    soma_tensor *t = soma_from_memory(data, SOMA_SHAPE(3, 2), (const int64_t[]){1, 3}, SOMA_F32, release, &one); /* columns */
    assert_float_equal(soma_at(t, 2, (const int64_t[]){1, 1}), 5, 0);
    soma_mul_(t, soma_scalar(10));
    assert_float_equal(data[4], 50, 0);
    assert_int_equal(released, 0);
    soma_scope_end(scope);
    assert_int_equal(released, 1);
    check_ok();
}

static void promotes_as_pytorch(void **state) {
    (void)state;
    soma_tensor *i = soma_ones(SOMA_SHAPE(2), SOMA_I64), *h = soma_ones(SOMA_SHAPE(2), SOMA_F16), *zero_d = soma_ones(SOMA_SCALAR, SOMA_F64);
    assert_int_equal(soma_dtype_of(soma_add(i, h)), SOMA_F16);
    assert_int_equal(soma_dtype_of(soma_add(i, soma_scalar(0.5))), SOMA_F32);
    assert_int_equal(soma_dtype_of(soma_add(i, soma_scalar_int(2))), SOMA_I64);
    assert_int_equal(soma_dtype_of(soma_add(h, zero_d)), SOMA_F16);
    assert_int_equal(soma_dtype_of(soma_add(i, zero_d)), SOMA_F64);
    assert_int_equal(soma_dtype_of(soma_div(i, i)), SOMA_F32);
    assert_int_equal(soma_dtype_of(soma_sqrt(i)), SOMA_F32);
    assert_int_equal(soma_promote_types(SOMA_U8, SOMA_I8), SOMA_I16);
    assert_int_equal(soma_promote_types(SOMA_F16, SOMA_BF16), SOMA_F32);
    check_ok();
}

static void refuses(void **state) {
    (void)state;
    soma_zeros(SOMA_SHAPE(-1), SOMA_F32);
    check_error(SOMA_ESHAPE, "shape [-1]");
    soma_empty(SOMA_SHAPE((int64_t)1 << 40, (int64_t)1 << 40), SOMA_F32);
    check_error(SOMA_ENOMEM, "too large");
    soma_add(NULL, soma_ones(SOMA_SHAPE(1), SOMA_F32));
    check_error(SOMA_EINVAL, "input 'a' is NULL");
    soma_add(soma_ones(SOMA_SHAPE(2), SOMA_F32), soma_ones(SOMA_SHAPE(3), SOMA_F32));
    assert_null(soma_neg(soma_ones(SOMA_SHAPE(1), SOMA_F32))); /* nothing runs while an error is pending */
    check_error(SOMA_ESHAPE, "shapes [2] and [3] do not broadcast");
    soma_tensor *out;
    assert_int_equal(soma_call("rleu", &(soma_tensor *){soma_ones(SOMA_SHAPE(1), SOMA_F32)}, 1, NULL, 0, &out, 1), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "did you mean 'relu'?");
    assert_int_equal(soma_call("clamp", &(soma_tensor *){soma_ones(SOMA_SHAPE(1), SOMA_F32)}, 1, &SOMA_FLOAT("mni", 1), 1, &out, 1), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "did you mean 'min'?");
    soma_item(soma_ones(SOMA_SHAPE(2), SOMA_F32));
    check_error(SOMA_ESHAPE, "has 2 elements, not one");
}

static void calls_by_name(void **state) {
    (void)state;
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(3), -2, 0, 2), *out[2];
    assert_int_equal(soma_call("clamp", &x, 1, (soma_attr[]){SOMA_INT("max", 1)}, 1, out, 2), SOMA_OK);
    assert_float_equal(soma_item(soma_sum(out[0], SOMA_ALL, false)), -1, 0);
    assert_null(out[1]);
    assert_int_equal(soma_call("relu_", &x, 1, NULL, 0, out, 1), SOMA_OK);
    assert_ptr_equal(out[0], x);
    assert_float_equal(((float *)soma_data(x))[0], 0, 0);
    check_ok();
    for (int i = 1; i < soma_op_count(); i++)
        assert_true(strcmp(soma_op_get(i - 1)->name, soma_op_get(i)->name) < 0); /* sorted, no doubles */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_as_pytorch), cmocka_unit_test(converts), cmocka_unit_test(halves_round_trip), cmocka_unit_test(scopes_release),
        cmocka_unit_test(foreign_memory), cmocka_unit_test(late_use_is_found), cmocka_unit_test(promotes_as_pytorch), cmocka_unit_test(refuses), cmocka_unit_test(calls_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
