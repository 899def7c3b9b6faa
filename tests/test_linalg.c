/* Factorisations beyond the samples' sizes: what they are made of gives the matrix back, orthogonal factors are orthogonal, and known values come out, for
 * sizes to 120, repeated and vanishing values, and entries from 1e-150 to 1e150. Bounds are c n eps of the matrix's size, c a small number. */
#include "check.h"

#include "tensor/tensor.h"

#include <soma/linalg.h>
#include <soma/ops.h>

#include <float.h>
#include <math.h>

static soma_tensor *t(soma_tensor *x) { return soma_transpose(x, -1, -2); }
static double largest(soma_tensor *x) { return soma_numel(x) == 0 ? 0 : soma_item(soma_amax(soma_abs(x), SOMA_ALL, false)); }

/* |a - b| is at most c n eps |b|. */
static void near(soma_tensor *a, soma_tensor *b, double c) {
    check_ok();
    const double n = (double)(soma_size(b, -1) + soma_size(b, -2)), off = largest(soma_sub(a, b)), bound = c * n * DBL_EPSILON * largest(b);
    check_ok();
    if (!(off <= bound))
        fail_msg("off by %g, expected at most %g", off, bound);
}
static void orthogonal(soma_tensor *q) { near(soma_matmul(t(q), q), soma_eye(soma_size(q, -1), soma_size(q, -1), SOMA_F64), 20); }

static soma_tensor *draw(int64_t m, int64_t n) { return soma_randn(SOMA_SHAPE(m, n), SOMA_F64); }
static soma_tensor *symmetric(int64_t n) {
    soma_tensor *x = draw(n, n);
    return soma_add(x, t(x));
}

static void check_svd(soma_tensor *a, bool full) {
    soma_tensor *u, *s, *vh;
    assert_int_equal(soma_svd(a, full, &u, &s, &vh), SOMA_OK);
    orthogonal(u);
    orthogonal(t(vh));
    const int64_t k = soma_size(s, 0);
    near(soma_matmul(soma_mul(soma_slice(u, 1, 0, k, 1), s), soma_slice(vh, 0, 0, k, 1)), a, 20);
    for (int64_t i = 0; i < k; i++) {
        const int64_t before = i ? i - 1 : 0;
        assert_true(soma_at(s, 1, &i) >= 0 && soma_at(s, 1, &i) <= soma_at(s, 1, &before));
    }
}

static void check_eigh(soma_tensor *a) {
    soma_tensor *w, *v;
    assert_int_equal(soma_eigh(a, 'L', &w, &v), SOMA_OK);
    orthogonal(v);
    near(soma_matmul(soma_mul(v, w), t(v)), a, 20);
    near(soma_unsqueeze(soma_eigvalsh(a, 'U'), 0), soma_unsqueeze(w, 0), 20);
}

static void check_qr(soma_tensor *a) {
    static const char *const modes[] = {"reduced", "complete"};
    for (int i = 0; i < 2; i++) {
        soma_tensor *q, *r;
        assert_int_equal(soma_qr(a, modes[i], &q, &r), SOMA_OK);
        orthogonal(q);
        near(soma_matmul(q, r), a, 20);
        assert_true(largest(soma_tril(r, -1)) == 0);
    }
}

static void every_size(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {2, 2}, {5, 3}, {3, 5}, {40, 40}, {120, 33}, {33, 120}, {90, 90}};
    soma_seed(41);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        soma_scope scope = soma_scope_begin();
        const int64_t m = sizes[i][0], n = sizes[i][1];
        soma_tensor *a = draw(m, n);
        check_svd(a, false);
        check_svd(a, true);
        check_qr(a);
        check_eigh(symmetric(n));
        soma_tensor *spd = soma_add(soma_matmul(a, t(a)), soma_eye(m, m, SOMA_F64)), *l = soma_cholesky(spd, false), *b = draw(m, 3);
        near(soma_matmul(l, t(l)), spd, 20);
        near(soma_cholesky(spd, true), t(l), 20);
        near(soma_matmul(spd, soma_solve(spd, b, true)), b, 2000); /* the condition number is some hundreds */
        near(soma_matmul(spd, soma_cholesky_solve(b, l, false)), b, 2000);
        near(soma_matmul(spd, soma_inverse(spd)), soma_eye(m, m, SOMA_F64), 2000);
        soma_tensor *p = soma_pinv(a, -1);
        near(soma_matmul(soma_matmul(a, p), a), a, 2000);
        near(soma_unsqueeze(soma_unsqueeze(soma_logdet(spd), 0), 0), soma_reshape(soma_mul_scalar(soma_sum(soma_log(soma_diagonal(l, 0, 0, 1)), SOMA_ALL, false), 2), 2, (const int64_t[]){1, 1}), 20);
        soma_scope_end(scope);
    }
}

/* Repeated, vanishing and far apart values. */
static void hard_ones(void **state) {
    (void)state;
    soma_seed(42);
    soma_tensor *x = draw(12, 4), *low = soma_matmul(x, t(x)), *q, *r;
    check_svd(low, false);
    check_eigh(low);
    check_qr(low);
    check_svd(soma_zeros(SOMA_SHAPE(6, 4), SOMA_F64), true);
    check_eigh(soma_zeros(SOMA_SHAPE(5, 5), SOMA_F64));
    check_eigh(soma_eye(30, 30, SOMA_F64));
    check_svd(soma_eye(30, 20, SOMA_F64), true);
    check_eigh(soma_ones(SOMA_SHAPE(25, 25), SOMA_F64));
    check_svd(soma_mul_scalar(draw(9, 7), 1e150), false);
    check_svd(soma_mul_scalar(draw(9, 7), 1e-150), false);
    check_qr(soma_mul_scalar(draw(7, 7), 1e200));
    assert_int_equal(soma_matrix_rank(low, -1) ? soma_item_int(soma_matrix_rank(low, -1)) : -1, 4);
    /* Values from 1 to 1e-15, each to its own relative accuracy: columns scaled after orthogonalisation (Demmel & Veselić 1992). */
    assert_int_equal(soma_qr(draw(16, 16), NULL, &q, &r), SOMA_OK);
    soma_tensor *scale = soma_logspace(0, -15, 16, 10, SOMA_F64), *s = soma_svdvals(soma_mul(q, scale));
    assert_true(largest(soma_add_scalar(soma_div(s, scale), -1)) < 1e-13);
}

static void known_values(void **state) {
    (void)state;
    const double hilbert[] = {1, 1.0 / 2, 1.0 / 3, 1.0 / 2, 1.0 / 3, 1.0 / 4, 1.0 / 3, 1.0 / 4, 1.0 / 5}, turn[] = {0, -1, 1, 0};
    soma_tensor *h = soma_from_array(hilbert, SOMA_SHAPE(3, 3), SOMA_F64), *e = soma_matrix_exp(soma_mul_scalar(soma_from_array(turn, SOMA_SHAPE(2, 2), SOMA_F64), 100));
    assert_true(fabs(soma_item(soma_det(h)) * 2160 - 1) < 1e-12); /* 1 / 2160 */
    assert_true(fabs(soma_item(soma_cond(h, NULL)) - 524.0567775860627) < 1e-7);
    check_ok();
    /* exp of a rotation by 100 radians; squaring seven times costs two digits. */
    assert_true(fabs(soma_at(e, 2, (const int64_t[]){0, 0}) - cos(100)) < 1e-12 && fabs(soma_at(e, 2, (const int64_t[]){1, 0}) - sin(100)) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_size), cmocka_unit_test(hard_ones), cmocka_unit_test(known_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
