/* Indexing: figures worked out by hand or by the plainest loop, sums that do not depend on threads, bad indices. */
#include "threads.h"

#include "ops/op.h"

static soma_tensor *ints(int ndim, const int64_t *shape, const int64_t *values) {
    return soma_from_array(values, ndim, shape, SOMA_I64);
}
#define INTS(shape, ...) ints(shape, (const int64_t[]){__VA_ARGS__})

static soma_tensor *count(int ndim, const int64_t *shape) {
    return soma_reshape(soma_arange(0, (double)soma__numel(ndim, shape), 1, SOMA_F32), ndim, shape);
}

static void select_and_add(void **state) {
    (void)state;
    soma_tensor *x = count(SOMA_SHAPE(3, 2)), *index = INTS(SOMA_SHAPE(4), 2, 0, 0, 1);
    CHECK_VALUES(soma_index_select(x, 0, index), 4, 5, 0, 1, 0, 1, 2, 3);
    CHECK_VALUES(soma_index_select(soma_transpose(x, 0, 1), -1, index), 4, 0, 0, 2, 5, 1, 1, 3);
    CHECK_VALUES(soma_index_add(soma_zeros(SOMA_SHAPE(3, 2), SOMA_F32), 0, index, count(SOMA_SHAPE(4, 2))), 6, 8, 6, 7, 0,
                 1);
    CHECK_VALUES(soma_index_add(soma_ones(SOMA_SHAPE(2, 3), SOMA_U8), 1, INTS(SOMA_SHAPE(2), 1, 1),
                                soma_full(SOMA_SHAPE(2, 2), 100, SOMA_U8)),
                 1, 201, 1, 1, 201, 1);
    /* 8-bit sums wrap around, as PyTorch's */
    CHECK_VALUES(soma_index_add(soma_full(SOMA_SHAPE(1), 100, SOMA_I8), 0, INTS(SOMA_SHAPE(1), 0),
                                soma_full(SOMA_SHAPE(1), 100, SOMA_I8)),
                 -56);
    /* 1 + 4096 * 2^-11 in f16: added one by one in f16 nothing would change, in f32 and rounded once it is 3 */
    soma_tensor *many = soma_zeros(SOMA_SHAPE(4096), SOMA_I64), *small = soma_full(SOMA_SHAPE(4096), 0x1p-11, SOMA_F16);
    CHECK_VALUES(soma_index_add(soma_ones(SOMA_SHAPE(1), SOMA_F16), 0, many, small), 3);
}

static void gather_and_scatter(void **state) {
    (void)state;
    soma_tensor *x = count(SOMA_SHAPE(3, 2)), *index = INTS(SOMA_SHAPE(2, 2), 2, 0, 1, 1);
    CHECK_VALUES(soma_gather(x, 0, index), 4, 1, 2, 3);
    CHECK_VALUES(soma_gather(x, 1, INTS(SOMA_SHAPE(2, 3), 0, 1, 1, 1, 0, 0)), 0, 1, 1, 3, 2, 2);
    CHECK_VALUES(soma_scatter_add(soma_zeros(SOMA_SHAPE(3, 2), SOMA_F32), 0, index, count(SOMA_SHAPE(2, 2))), 0, 1, 2, 3, 0,
                 0);
    CHECK_VALUES(soma_scatter_add(x, 1, INTS(SOMA_SHAPE(1, 3), 0, 0, 1), count(SOMA_SHAPE(2, 4))), 1, 3, 2, 3, 4, 5);
    /* in place, over strides */
    soma_tensor *y = soma_zeros(SOMA_SHAPE(2, 3), SOMA_F32), *out[1];
    soma_tensor *in[] = {soma_transpose(y, 0, 1), 0, index, count(SOMA_SHAPE(2, 2))};
    in[1] = in[2];
    in[2] = in[3];
    assert_int_equal(soma_call("scatter_add_", in, 3, &SOMA_INT("dim", 0), 1, out, 1), SOMA_OK);
    CHECK_VALUES(y, 0, 2, 0, 1, 3, 0);
}

static void masks_and_classes(void **state) {
    (void)state;
    soma_tensor *x = count(SOMA_SHAPE(2, 3));
    soma_tensor *mask = soma_ge(x, soma_full(SOMA_SHAPE(2, 1), 2, SOMA_F32));
    CHECK_VALUES(soma_masked_fill(x, mask, -1), 0, 1, -1, -1, -1, -1);
    CHECK_VALUES(soma_masked_fill(soma_transpose(x, 0, 1), soma_transpose(mask, 0, 1), 9), 0, 9, 1, 9, 9, 9);
    CHECK_VALUES(soma_one_hot(INTS(SOMA_SHAPE(3), 2, 0, 1), 3), 0, 0, 1, 1, 0, 0, 0, 1, 0);
    check_shape(soma_one_hot(INTS(SOMA_SCALAR, 1), 4), SOMA_SHAPE(4));
    assert_null(soma_one_hot(INTS(SOMA_SHAPE(2, 2), 0, 1, 2, 5), 3));
    check_error(SOMA_EINVAL, "class 5 at position [1, 1] is out of range for 3 classes (0 to 2)");
    assert_null(soma_gather(x, 1, soma_transpose(INTS(SOMA_SHAPE(2, 2), 0, 0, 3, 0), 0, 1)));
    check_error(SOMA_EINVAL, "index 3 at position [0, 1] is out of range for dimension 1 of size 3 (0 to 2)");
}

/* Against the definition, in sizes that use several blocks of lanes. */
static void large(void **state) {
    (void)state;
    soma_tensor *x = soma_randn(SOMA_SHAPE(5, 40, 70), SOMA_F64),
                *index = soma_randint(0, 40, SOMA_SHAPE(5, 33, 70), SOMA_I32);
    soma_tensor *picked = soma_gather(x, 1, index), *sum = soma_scatter_add(x, 1, index, picked);
    check_ok();
    const double *xp = soma_data(x), *pp = soma_data(picked);
    const int32_t *ip = soma_data(index);
    double *want = malloc(sizeof *want * 5 * 40 * 70);
    memcpy(want, xp, sizeof *want * 5 * 40 * 70);
    for (int n = 0; n < 5; n++)
        for (int i = 0; i < 33; i++)
            for (int c = 0; c < 70; c++) {
                int at = (n * 33 + i) * 70 + c, to = (n * 40 + ip[at]) * 70 + c;
                assert_true(pp[at] == xp[to]);
                want[to] += pp[at]; /* the same order: i rises within (n, c) */
            }
    assert_memory_equal(want, soma_data(sum), sizeof *want * 5 * 40 * 70);
    free(want);
}

typedef struct inputs {
    soma_tensor *x, *index, *rows, *src;
} inputs;

static soma_tensor *run_scatter(void *user) {
    const inputs *in = user;
    return soma_scatter_add(in->x, 0, in->index, in->src);
}
static soma_tensor *run_add(void *user) {
    const inputs *in = user;
    return soma_index_add(in->x, 0, in->rows, in->src);
}
static soma_tensor *run_gather(void *user) {
    const inputs *in = user;
    return soma_gather(in->x, 0, in->index);
}

static void threads(void **state) {
    (void)state;
    for (int half = 0; half < 2; half++) {
        soma_dtype dtype = half ? SOMA_BF16 : SOMA_F32;
        inputs in = {soma_randn(SOMA_SHAPE(50, 300), dtype), soma_randint(0, 50, SOMA_SHAPE(500, 300), SOMA_I64),
                     soma_randint(0, 50, SOMA_SHAPE(500), SOMA_I64), soma_randn(SOMA_SHAPE(500, 300), dtype)};
        check_threads(run_scatter, &in);
        check_threads(run_add, &in);
        check_threads(run_gather, &in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_and_add),    cmocka_unit_test(gather_and_scatter),
        cmocka_unit_test(masks_and_classes), cmocka_unit_test(large),
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
