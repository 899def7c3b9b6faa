/* Shape operators: views share storage and have the right strides, copies have the right elements in every case that the
 * copy kernel tells apart. */
#include "threads.h"

#include "ops/op.h"

#include <math.h>

#include "kernels/cpu/copy.h"

static soma_tensor *count(int ndim, const int64_t *shape) {
    int64_t n = soma__numel(ndim, shape);
    return soma_reshape(soma_arange(0, (double)n, 1, SOMA_F32), ndim, shape);
}

static void views_share_storage(void **state) {
    (void)state;
    soma_tensor *x = count(SOMA_SHAPE(2, 3, 4));
    soma_tensor *views[] = {soma_reshape(x, SOMA_SHAPE(6, 4)),
                            soma_flatten(x, 0, 1),
                            soma_permute(x, SOMA_DIMS(2, 0, 1)),
                            soma_transpose(x, 0, -1),
                            soma_slice(x, 1, 1, 3, 1),
                            soma_select(x, 2, -1),
                            soma_expand(soma_unsqueeze(x, 0), SOMA_SHAPE(5, 2, 3, 4)),
                            soma_squeeze(soma_unsqueeze(x, 1), SOMA_ALL),
                            soma_contiguous(x),
                            soma_reshape(soma_transpose(x, 0, 1), SOMA_SHAPE(3, 2, 2, 2))};
    check_ok();
    for (size_t i = 0; i < SOMA_LEN(views); i++)
        if (!soma_shares_storage(x, views[i]))
            fail_msg("view %zu is a copy", i);
    assert_ptr_equal(soma_contiguous(x), x);
    /* a write through the view is seen in x */
    ((float *)soma_data(soma_select(soma_select(x, 0, 1), 0, 2)))[3] = -7;
    assert_true(soma_at(x, 3, (const int64_t[]){1, 2, 3}) == -7);
    assert_false(soma_shares_storage(x, soma_clone(x)));
    assert_false(soma_shares_storage(x, soma_contiguous(soma_transpose(x, 0, 1))));
    assert_false(soma_shares_storage(x, soma_reshape(soma_transpose(x, 0, 1), SOMA_SHAPE(-1))));
}

static void reshape_values(void **state) {
    (void)state;
    soma_tensor *x = count(SOMA_SHAPE(2, 3));
    CHECK_VALUES(soma_reshape(soma_transpose(x, 0, 1), SOMA_SHAPE(-1)), 0, 3, 1, 4, 2, 5);
    check_shape(soma_reshape(x, SOMA_SHAPE(3, -1)), SOMA_SHAPE(3, 2));
    check_shape(soma_reshape(count(SOMA_SHAPE(1, 1)), SOMA_SCALAR), SOMA_SCALAR);
    check_shape(soma_reshape(soma_zeros(SOMA_SHAPE(0, 3), SOMA_F32), SOMA_SHAPE(3, 0, 2)), SOMA_SHAPE(3, 0, 2));
    check_shape(soma_flatten(soma_zeros(SOMA_SCALAR, SOMA_F32), 0, -1), SOMA_SHAPE(1));
    check_shape(soma_flatten(soma_zeros(SOMA_SHAPE(2, 3, 4, 5), SOMA_F32), 1, 2), SOMA_SHAPE(2, 12, 5));
    /* an expanded dimension joins with another one only when both have stride 0 */
    soma_tensor *e = soma_expand(count(SOMA_SHAPE(2, 1)), SOMA_SHAPE(2, 3));
    CHECK_VALUES(soma_reshape(e, SOMA_SHAPE(6)), 0, 0, 0, 1, 1, 1);
    assert_false(soma_shares_storage(e, soma_reshape(e, SOMA_SHAPE(6))));
    soma_tensor *ee = soma_expand(soma_ones(SOMA_SHAPE(1, 1), SOMA_F32), SOMA_SHAPE(2, 3));
    assert_true(soma_shares_storage(ee, soma_reshape(ee, SOMA_SHAPE(6))));
}

static void slices(void **state) {
    (void)state;
    soma_tensor *x = count(SOMA_SHAPE(7));
    CHECK_VALUES(soma_slice(x, 0, 1, 100, 3), 1, 4);
    CHECK_VALUES(soma_slice(x, 0, -3, -1, 1), 4, 5);
    CHECK_VALUES(soma_slice(x, 0, -100, 2, 1), 0, 1);
    check_shape(soma_slice(x, 0, 5, 3, 1), SOMA_SHAPE(0));
    CHECK_VALUES(soma_slice(soma_slice(x, 0, 1, 7, 2), 0, 1, 3, 1), 3, 5);
    CHECK_VALUES(soma_slice(x, 0, 2, INT64_MAX, INT64_MAX), 2);
    CHECK_VALUES(soma_select(count(SOMA_SHAPE(2, 3)), 1, -2), 1, 4);
}

static void joins(void **state) {
    (void)state;
    soma_tensor *a = count(SOMA_SHAPE(2, 2)), *b = soma_transpose(count(SOMA_SHAPE(1, 2)), 0, 1);
    soma_tensor *both[] = {a, b}, *same[] = {a, soma_transpose(a, 0, 1)},
                *mixed[] = {a, soma_ones(SOMA_SHAPE(1, 2), SOMA_I32)};
    CHECK_VALUES(soma_cat(both, 2, 1), 0, 1, 0, 2, 3, 1);
    CHECK_VALUES(soma_stack(same, 2, 0), 0, 1, 2, 3, 0, 2, 1, 3);
    CHECK_VALUES(soma_stack(same, 2, -1), 0, 0, 1, 2, 2, 1, 3, 3);
    assert_int_equal(soma_dtype_of(soma_cat(mixed, 2, 0)), SOMA_F32);
    CHECK_VALUES(soma_cat(mixed, 2, 0), 0, 1, 2, 3, 1, 1);
    assert_null(soma_cat(NULL, 0, 0));
    check_error(SOMA_EINVAL, "cat: 0 tensors given");
}

static void flips_pads_triangles(void **state) {
    (void)state;
    soma_tensor *x = count(SOMA_SHAPE(2, 3));
    CHECK_VALUES(soma_flip(x, SOMA_DIMS(1)), 2, 1, 0, 5, 4, 3);
    CHECK_VALUES(soma_flip(x, SOMA_DIMS(0, 1)), 5, 4, 3, 2, 1, 0);
    CHECK_VALUES(soma_flip(x, 0, NULL), 0, 1, 2, 3, 4, 5);
    CHECK_VALUES(soma_pad(x, 2, (const int64_t[]){1, 0}, 9), 9, 0, 1, 2, 9, 3, 4, 5);
    CHECK_VALUES(soma_pad(x, 4, (const int64_t[]){-1, 0, 0, 1}, 9), 1, 2, 4, 5, 9, 9);
    CHECK_VALUES(soma_tril(soma_ones(SOMA_SHAPE(3, 3), SOMA_I8), 0), 1, 0, 0, 1, 1, 0, 1, 1, 1);
    CHECK_VALUES(soma_tril(soma_ones(SOMA_SHAPE(2, 3), SOMA_F16), 1), 1, 1, 0, 1, 1, 1);
    CHECK_VALUES(soma_triu(soma_ones(SOMA_SHAPE(3, 2), SOMA_F32), -1), 1, 1, 1, 1, 0, 1);
    CHECK_VALUES(soma_triu(soma_ones(SOMA_SHAPE(2, 2), SOMA_BOOL), INT64_MAX), 0, 0, 0, 0);
    CHECK_VALUES(soma_tril(soma_ones(SOMA_SHAPE(2, 2), SOMA_BOOL), INT64_MIN), 0, 0, 0, 0);
    assert_null(soma_pad(x, 10, (const int64_t[10]){0}, 0));
    check_error(SOMA_EINVAL, "pad has 10 entries");
}

static void creation(void **state) {
    (void)state;
    CHECK_VALUES(soma_arange(1, 4, 1, SOMA_I32), 1, 2, 3);
    CHECK_VALUES(soma_arange(0, 1, 0.25, SOMA_F64), 0, 0.25, 0.5, 0.75);
    CHECK_VALUES(soma_arange(3, 0, -1, SOMA_I64), 3, 2, 1);
    CHECK_VALUES(soma_linspace(-1, 1, 5, SOMA_F32), -1, -0.5, 0, 0.5, 1);
    CHECK_VALUES(soma_linspace(4, 9, 1, SOMA_F32), 4);
    /* counted back from the end, so the last is exact: 0.1 * 3 is not 0.3 */
    CHECK_VALUES(soma_linspace(0, 0.3, 4, SOMA_F64), 0, 0.3 / 3, 0.3 - 0.3 / 3, 0.3);
    CHECK_VALUES(soma_eye(2, 3, SOMA_F32), 1, 0, 0, 0, 1, 0);
    CHECK_VALUES(soma_full(SOMA_SHAPE(2), 1.5, SOMA_BF16), 1.5, 1.5);
    CHECK_VALUES(soma_ones(SOMA_SCALAR, SOMA_BOOL), 1);
    assert_null(soma_zeros(SOMA_SHAPE(INT64_MAX, 4), SOMA_F32));
    check_error(SOMA_ESHAPE, "fit in memory");
    assert_null(soma_zeros(SOMA_SHAPE(2), (soma_dtype)99));
    check_error(SOMA_EDTYPE, "dtype");
}

/* Copies of every kind against an element-by-element copy: each element size, permutations of up to four dimensions, gaps,
 * sizes around the tile's. */
static void copies(void **state) {
    (void)state;
    static const int64_t shapes[][4] = {{1, 1, 33, 37}, {2, 3, 32, 32}, {1, 3, 5, 7},
                                        {1, 2, 100, 3}, {1, 1, 2, 2},   {3, 1, 1, 40}};
    static const int64_t orders[][4] = {{0, 1, 2, 3}, {0, 1, 3, 2}, {0, 2, 3, 1}, {3, 2, 1, 0}, {1, 3, 0, 2}};
    static const soma_dtype dtypes[] = {SOMA_U8, SOMA_I16, SOMA_F32, SOMA_F64};
    for (size_t s = 0; s < SOMA_LEN(shapes); s++)
        for (size_t o = 0; o < SOMA_LEN(orders); o++)
            for (size_t d = 0; d < SOMA_LEN(dtypes); d++) {
                soma_scope scope = soma_scope_begin();
                soma_tensor *x = soma_randint(0, 100, 4, shapes[s], dtypes[d]);
                if (o % 2)
                    x = soma_slice(soma_cat((soma_tensor *[]){x, x}, 2, 3), 3, 0, INT64_MAX, 2);
                soma_tensor *view = soma_permute(x, 4, orders[o]), *y = soma_clone(view);
                check_ok();
                assert_true(soma_is_contiguous(y));
                int64_t at[4];
                const int64_t *n = soma_shape(view);
                for (at[0] = 0; at[0] < n[0]; at[0]++)
                    for (at[1] = 0; at[1] < n[1]; at[1]++)
                        for (at[2] = 0; at[2] < n[2]; at[2]++)
                            for (at[3] = 0; at[3] < n[3]; at[3]++)
                                assert_true(soma_at(view, 4, at) == soma_at(y, 4, at));
                soma_scope_end(scope);
            }
}

static soma_tensor *big_copy(void *user) { return soma_clone(soma_permute(user, SOMA_DIMS(0, 2, 3, 1))); }
static soma_tensor *big_cat(void *user) {
    soma_tensor *t = soma_transpose(user, 2, 3);
    return soma_flip(soma_pad(soma_cat((soma_tensor *[]){t, t}, 2, 1), 4, (const int64_t[]){1, 2, 0, 1}, 0.5),
                     SOMA_DIMS(1, 3));
}
static soma_tensor *big_range(void *user) {
    (void)user;
    return soma_linspace(0, 3, 100003, SOMA_F32);
}

static void threads(void **state) {
    (void)state;
    soma_tensor *x = soma_randn(SOMA_SHAPE(8, 17, 33, 40), SOMA_F32);
    check_threads(big_copy, x);
    check_threads(big_cat, x);
    check_threads(big_range, NULL);
}

/* The numbers of parts, with too little room and with too much. */
static void parts(void **state) {
    (void)state;
    soma_tensor *x = soma_arange(0, 7, 1, SOMA_F32), *out[5] = {x, x, x, x, x}, *grid[2];
    assert_int_equal(soma_split(x, 3, 0, out, 5), 3);
    CHECK_VALUES(out[2], 6);
    assert_null(out[3]);
    assert_true(soma_shares_storage(out[1], x));
    assert_int_equal(soma_unbind(x, 0, out, 2), 7);
    CHECK_VALUES(out[1], 1);
    assert_int_equal(soma_chunk(x, 3, 0, out, 0), 3);
    assert_int_equal(soma_tensor_split(x, 3, 0, out, 5), 3);
    CHECK_VALUES(out[0], 0, 1, 2);
    assert_int_equal(soma_split_sizes(x, 2, (const int64_t[]){4, 3}, 0, out), SOMA_OK);
    CHECK_VALUES(out[1], 4, 5, 6);
    assert_int_equal(soma_meshgrid((soma_tensor *[]){out[0], out[1]}, 2, "xy", grid), 2);
    check_shape(grid[1], 2, (const int64_t[]){3, 4});
    assert_int_equal(soma_split(x, -1, 0, out, 5), -1);
    assert_null(out[0]);
    check_error(SOMA_EINVAL, "split: dimension 0 of size 7 does not fall into parts of [-1]");
    assert_int_equal(soma_call("cat", NULL, 0, NULL, 0, out, 1), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "cat: takes 1 input or more, got 0");
}

/* What a run over shapes alone can tell, and what it cannot. */
static void shapes_alone(void **state) {
    (void)state;
    soma_tensor *mask = soma_zeros(SOMA_SHAPE(3, 4), SOMA_BOOL), *values, *indices;
    soma__ctx()->shapes_only = true;
    soma_tensor *x = soma_zeros(SOMA_SHAPE(3, 4), SOMA_F32);
    assert_int_equal(soma_sort(x, 0, false, &values, &indices), SOMA_OK);
    check_shape(values, 2, (const int64_t[]){3, 4});
    assert_int_equal(soma_mode(x, 1, false, &values, &indices), SOMA_OK);
    check_shape(indices, 1, (const int64_t[]){3});
    check_shape(soma_quantile(x, soma_zeros(SOMA_SHAPE(2), SOMA_F32), 1, false, NULL), 2, (const int64_t[]){2, 3});
    assert_null(soma_masked_select(x, mask));
    check_error(SOMA_EUNSUPPORTED, "masked_select: the shape of its result depends on values");
    assert_int_equal(soma_unique(x, SOMA_NO_DIM, &values, NULL, NULL), SOMA_EUNSUPPORTED);
    soma_error_clear();
    soma__ctx()->shapes_only = false;
}

/* Long and short lines, against insertion by hand; equals in their order, NaN last. */
static void sorting(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 63, 65, 5000};
    for (size_t s = 0; s < 4; s++)
        for (int down = 0; down < 2; down++) {
            int64_t n = sizes[s];
            soma_tensor *x = soma_randint(-20, 20, SOMA_SHAPE(n), SOMA_F32), *values, *order;
            if (n > 60)
                ((float *)soma_data(x))[7] = ((float *)soma_data(x))[50] = NAN;
            assert_int_equal(soma_sort(x, 0, down, &values, &order), SOMA_OK);
            const float *v = soma_data(values), *in = soma_data(x);
            const int64_t *o = soma_data(order);
            for (int64_t i = 0; i < n; i++) {
                assert_memory_equal(&v[i], &in[o[i]], sizeof *v);
                if (i == 0)
                    continue;
                float a = down ? v[i] : v[i - 1], b = down ? v[i - 1] : v[i];
                assert_true(a <= b || b != b);
                if (a == b || (a != a && b != b))
                    assert_true(o[i - 1] < o[i]);
            }
        }
}

/* Large enough to be written past the caches; odd sizes, rows that begin anywhere, a third dimension. */
static void large_transpositions(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{1, 2064, 2048}, {1, 2053, 2100}, {3, 1100, 1296}, {1, 70, 33}};
    for (size_t k = 0; k < SOMA_LEN(sizes); k++) {
        soma_scope scope = soma_scope_begin();
        int64_t b = sizes[k][0], n = sizes[k][1], m = sizes[k][2], wrong = 0;
        soma_tensor *x = soma_rand(SOMA_SHAPE(b, n, m), SOMA_F32), *y = soma_contiguous(soma_transpose(x, 1, 2));
        const float *from = soma_data(x), *to = soma_data(y);
        for (int64_t i = 0; i < b * n * m; i++)
            wrong += to[i] != from[i / (n * m) * (n * m) + i % n * m + i / n % m];
        assert_int_equal(wrong, 0);
        soma_scope_end(scope);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_share_storage),
        cmocka_unit_test(reshape_values),
        cmocka_unit_test(slices),
        cmocka_unit_test(joins),
        cmocka_unit_test(flips_pads_triangles),
        cmocka_unit_test(creation),
        cmocka_unit_test(copies),
        cmocka_unit_test(threads),
        cmocka_unit_test(parts),
        cmocka_unit_test(shapes_alone),
        cmocka_unit_test(sorting),
        cmocka_unit_test(large_transpositions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
