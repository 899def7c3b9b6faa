/* Softmax and the losses: against plain formulas in f64, threads, targets that are out of range. */
#include "threads.h"

#include "ops/op.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- Softmax ----------------------------------------------------------------------------------------------------- */

/* Row lengths around the vectors' and the blocks' (1024 elements, 128 rows); dim last and in the middle. f32: the exponential is
 * within 2 ULP of arguments that were rounded at up to 60, so 60 * 2^-24 more; f16 and bf16 round the result. */
static void compare_softmax(int64_t rows, int64_t n, int64_t inner, soma_dtype dtype) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma__sample(dtype, -20, 20, (uint64_t)(rows * n), 3, (const int64_t[]){rows, n, inner});
    soma_tensor *y = soma_softmax(x, 1), *l = soma_log_softmax(x, 1);
    size_t count = (size_t)(rows * n * inner);
    double *v = malloc(3 * count * sizeof *v), *p = v + count, *lp = p + count;
    soma_to_array(x, v, (int64_t)count, SOMA_F64);
    soma_to_array(y, p, (int64_t)count, SOMA_F64);
    soma_to_array(l, lp, (int64_t)count, SOMA_F64);
    check_ok();
    double tolerance = dtype == SOMA_F64 ? 1e-13 : dtype == SOMA_F16 ? 1e-3 : dtype == SOMA_BF16 ? 8e-3 : 5e-6;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < inner; i++) {
            double m = -INFINITY, s = 0;
            for (int64_t c = 0; c < n; c++)
                m = fmax(m, v[(r * n + c) * inner + i]);
            for (int64_t c = 0; c < n; c++)
                s += exp(v[(r * n + c) * inner + i] - m);
            for (int64_t c = 0; c < n; c++) {
                int64_t at = (r * n + c) * inner + i;
                double want = v[at] - m - log(s);
                if (!(fabs(p[at] - exp(want)) <= tolerance * exp(want) + 1e-7) || !(fabs(lp[at] - want) <= tolerance * (1 + fabs(want))))
                    fail_msg("%d x %d x %d %s: %.9g, log %.9g, expected log %.9g", (int)rows, (int)n, (int)inner, soma_dtype_name(dtype), p[at],
                             lp[at], want);
            }
        }
    free(v);
    soma_scope_end(scope);
}

static void test_softmax(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 2, 10, 15, 16, 17, 63, 64, 65, 1000, 1024, 1025, 3000};
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int d = SOMA_F32; d <= SOMA_BF16; d++) {
            compare_softmax(3, widths[i], 1, (soma_dtype)d);
            if (i < 6)
                compare_softmax(150, widths[i], 1, (soma_dtype)d);
            if (i < 8)
                compare_softmax(2, widths[i], 70, (soma_dtype)d);
        }
}

static void test_softmax_special(void **state) {
    (void)state;
    double v[3];
    soma_to_array(soma_softmax(SOMA_TENSOR(SOMA_SHAPE(3), 1e4f, -INFINITY, 1e4f), 0), v, 3, SOMA_F64);
    assert_true(v[0] == 0.5 && v[1] == 0 && v[2] == 0.5);
    soma_to_array(soma_log_softmax(SOMA_TENSOR(SOMA_SHAPE(3), 0, -INFINITY, 0), 0), v, 3, SOMA_F64);
    assert_true(v[1] == -INFINITY && fabs(v[0] + log(2)) < 1e-6);
    soma_to_array(soma_softmax(SOMA_TENSOR(SOMA_SHAPE(3), 1, NAN, 2), 0), v, 3, SOMA_F64);
    assert_true(isnan(v[0]) && isnan(v[1]) && isnan(v[2]));
    soma_to_array(soma_softmax(SOMA_TENSOR(SOMA_SHAPE(2), -INFINITY, -INFINITY), 0), v, 2, SOMA_F64);
    assert_true(isnan(v[0])); /* as PyTorch's */
    assert_int_equal(soma_numel(soma_softmax(soma_zeros(SOMA_SHAPE(0, 3), SOMA_F32), 1)), 0);
    assert_int_equal(soma_numel(soma_log_softmax(soma_zeros(SOMA_SHAPE(3, 0), SOMA_F32), 1)), 0);
    assert_true(soma_item(soma_softmax(soma_full(SOMA_SCALAR, 3, SOMA_F32), 0)) == 1);
    check_ok();
}

/* ---- Cross-entropy ----------------------------------------------------------------------------------------------- */

typedef struct setup {
    int64_t n, c, s;
    soma_reduction reduction;
    bool weight;
    double smoothing;
    int64_t ignore;
} setup;

/* The formula of Szegedy et al. 2016 with class weights as torch.nn.CrossEntropyLoss documents it, position by position. */
static void reference(const setup *u, const double *x, const int64_t *t, const double *w, double *loss) {
    double total = 0, sum = 0;
    for (int64_t n = 0; n < u->n; n++)
        for (int64_t i = 0; i < u->s; i++) {
            double e = 0, l = 0;
            int64_t y = t[n * u->s + i];
            for (int64_t c = 0; c < u->c; c++)
                e += exp(x[(n * u->c + c) * u->s + i]);
            for (int64_t c = 0; c < u->c; c++) {
                double q = (1 - u->smoothing) * (c == y) + u->smoothing / (double)u->c;
                l -= w[c] * q * (x[(n * u->c + c) * u->s + i] - log(e));
            }
            if (y == u->ignore)
                l = 0;
            else
                total += w[y];
            loss[n * u->s + i] = l;
            sum += l;
        }
    if (u->reduction != SOMA_NONE)
        loss[0] = u->reduction == SOMA_MEAN ? sum / total : sum;
}

static void compare_cross_entropy(const setup *u, soma_dtype dtype) {
    soma_scope scope = soma_scope_begin();
    double x[20000], w[2000], want[500], got[500], again[500];
    int64_t t[500], positions = u->n * u->s;
    int ndim = u->s > 1 ? 3 : 2;
    soma_tensor *logits = soma__sample(dtype, -4, 4, 1, ndim, (const int64_t[]){u->n, u->c, u->s});
    soma_tensor *target = soma__sample(SOMA_I64, 0, (double)u->c, 2, ndim - 1, (const int64_t[]){u->n, u->s});
    soma_tensor *weight = u->weight ? soma__sample(dtype, 0.2, 2, 3, 1, &u->c) : NULL;
    for (int64_t c = 0; c < u->c; c++)
        w[c] = 1;
    soma_to_array(logits, x, 20000, SOMA_F64);
    soma_to_array(target, t, 500, SOMA_I64);
    if (weight)
        soma_to_array(weight, w, 2000, SOMA_F64);
    reference(u, x, t, w, want);
    soma_tensor *loss = soma_cross_entropy(logits, target, .reduction = u->reduction, .weight = weight,
                                           .label_smoothing = u->smoothing, .ignore_index = u->ignore);
    soma_to_array(loss, got, 500, SOMA_F64);
    soma_to_array(soma_nll_loss(soma_log_softmax(logits, 1), target, .reduction = u->reduction, .weight = weight,
                                .ignore_index = u->ignore),
                  again, 500, SOMA_F64);
    check_ok();
    /* f32: scores up to 4, sums in double; f16 and bf16 round the result */
    double tolerance = dtype == SOMA_F64 ? 1e-12 : dtype == SOMA_F16 ? 1e-3 : dtype == SOMA_BF16 ? 8e-3 : 1e-6;
    for (int64_t i = 0; i < (u->reduction == SOMA_NONE ? positions : 1); i++) {
        if (!(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
            fail_msg("%d x %d x %d %s: %.9g, expected %.9g", (int)u->n, (int)u->c, (int)u->s, soma_dtype_name(dtype), got[i], want[i]);
        if (u->smoothing == 0 && dtype <= SOMA_F64 && !(fabs(again[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
            fail_msg("nll_loss of log_softmax: %.9g, expected %.9g", again[i], want[i]);
    }
    soma_scope_end(scope);
}

static void test_cross_entropy(void **state) {
    (void)state;
    static const setup cases[] = {
        {64, 10, 1, SOMA_MEAN, false, 0.0, -100}, {64, 10, 1, SOMA_SUM, true, 0.0, 3},
        {5, 1500, 1, SOMA_MEAN, true, 0.1, -100}, {300, 3, 1, SOMA_NONE, false, 0.2, 1},
        {4, 5, 100, SOMA_MEAN, true, 0.3, 2},     {2, 7, 66, SOMA_NONE, true, 0.1, -1},
        {1, 2, 1, SOMA_MEAN, false, 1.0, -100},   {3, 1100, 1, SOMA_NONE, false, 0, -100},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int d = SOMA_F32; d <= SOMA_BF16; d++)
            if (d != SOMA_F16 || cases[i].reduction != SOMA_SUM)
                compare_cross_entropy(&cases[i], (soma_dtype)d);
}

/* The gradient of the mean of N equal rows is (softmax - one-hot) / N. */
static void test_by_hand(void **state) {
    (void)state;
    soma_tensor *x = soma_requires_grad_(soma_zeros(SOMA_SHAPE(2, 4), SOMA_F32), true);
    soma_tensor *t = soma_from_array((const int64_t[]){1, 3}, SOMA_SHAPE(2), SOMA_I64), *loss = soma_cross_entropy(x, t);
    assert_true(fabs(soma_item(loss) - log(4)) < 1e-6);
    soma_backward(loss);
    float g[8], want[8] = {0.125f, -0.375f, 0.125f, 0.125f, 0.125f, 0.125f, 0.125f, -0.375f};
    soma_to_array(soma_grad(x), g, 8, SOMA_F32);
    for (int i = 0; i < 8; i++)
        assert_true(fabsf(g[i] - want[i]) < 1e-7f);
    soma_tensor *one = soma_cross_entropy(SOMA_TENSOR(SOMA_SHAPE(3), 0, 0, 0), soma_scalar_int(2));
    assert_true(fabs(soma_item(one) - log(3)) < 1e-6);
    /* all ignored: 0 / 0, as PyTorch; large scores do not overflow; i32 and u8 targets are taken */
    assert_true(
        isnan(soma_item(soma_cross_entropy(x, t, .ignore_index = 1, .weight = SOMA_TENSOR(SOMA_SHAPE(4), 0, 0, 0, 0)))));
    soma_tensor *u8 = soma_from_array((const uint8_t[]){0}, SOMA_SHAPE(1), SOMA_U8);
    assert_true(soma_item(soma_cross_entropy(SOMA_TENSOR(SOMA_SHAPE(1, 2), 1e30f, -1e30f), u8)) == 0);
    assert_true(soma_item(soma_cross_entropy(SOMA_TENSOR(SOMA_SHAPE(1, 2), -1e3f, 1e3f), u8)) == 2000);
    assert_true(
        isnan(soma_item(soma_cross_entropy(soma_zeros(SOMA_SHAPE(0, 3), SOMA_F32), soma_zeros(SOMA_SHAPE(0), SOMA_I64)))));
    check_ok();
}

static void test_bad_targets(void **state) {
    (void)state;
    soma_tensor *x = soma_zeros(SOMA_SHAPE(2, 3, 4), SOMA_F32), *t = soma_zeros(SOMA_SHAPE(2, 4), SOMA_I64);
    ((int64_t *)soma_data(t))[6] = 3;
    assert_null(soma_cross_entropy(x, t));
    check_error(SOMA_EINVAL, "cross_entropy: target at [1, 2] is class 3, expected 0 to 2 (3 classes)");
    ((int64_t *)soma_data(t))[6] = -1;
    assert_null(soma_nll_loss(x, t));
    check_error(SOMA_EINVAL, "nll_loss: target at [1, 2] is class -1");
    assert_non_null(soma_cross_entropy(x, t, .ignore_index = -1));
    soma_tensor *out = x;
    soma_tensor *in[] = {x, soma__strided(t)};
    assert_int_equal(soma_call("cross_entropy", in, 2, NULL, 0, &out, 1), SOMA_EINVAL);
    assert_null(out);
    check_error(SOMA_EINVAL, "target at [1, 2]");
    assert_null(soma_cross_entropy(x, soma_zeros(SOMA_SHAPE(2, 4), SOMA_F32)));
    check_error(SOMA_ESHAPE, "input is [2, 3, 4] f32, target is [2, 4] f32; class numbers must be integers"); /* floats are probabilities */
    assert_null(soma_cross_entropy(soma_zeros(SOMA_SHAPE(3, 2), SOMA_F32), soma_scalar_int(0)));
    check_error(SOMA_ESHAPE, "expected [3]");
    assert_null(soma_cross_entropy(x, t, .label_smoothing = 1.5, .ignore_index = -1));
    check_error(SOMA_EINVAL, "label_smoothing is 1.5");
    assert_null(soma_mse_loss(soma_zeros(SOMA_SHAPE(4, 1), SOMA_F32), soma_zeros(SOMA_SHAPE(4), SOMA_F32)));
    check_error(SOMA_ESHAPE, "mse_loss: input is [4, 1] f32, target is [4] f32; the shapes must be equal");
}

/* Each loss refuses a target that makes no sense, and says where it stands and what it is. Rows: the operator, the target's value at [1, 2],
 * what is expected. */
static void test_bad_values(void **state) {
    (void)state;
    static const struct { const char *op; double bad; const char *text; } rows[] = {
        {"binary_cross_entropy", 1.5, "target at [1, 2] is 1.5, expected a probability, 0 to 1"},
        {"binary_cross_entropy_with_logits", -0.1, "target at [1, 2] is -0.1, expected a probability"},
        {"binary_cross_entropy_with_logits", NAN, "target at [1, 2] is nan"},
        {"multilabel_soft_margin_loss", 2, "target at [1, 2] is 2"},
        {"sigmoid_focal_loss", 2, "target at [1, 2] is 2"},
        {"kl_div", 1.25, "target at [1, 2] is 1.25"},
        {"cross_entropy", -0.5, "target at [1, 2] is -0.5, expected a probability"},
        {"poisson_nll_loss", -1, "target at [1, 2] is -1, expected a count"},
        {"msle_loss", -1, "target at [1, 2] is -1, expected 0 or more"},
        {"hinge_loss", 0, "target at [1, 2] is 0, expected -1 or 1"},
        {"squared_hinge_loss", 0.5, "target at [1, 2] is 0.5, expected -1 or 1"},
        {"soft_margin_loss", 2, "target at [1, 2] is 2, expected -1 or 1"},
        {"hinge_embedding_loss", 0, "target at [1, 2] is 0, expected -1 or 1"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int turned = 0; turned < 2; turned++) {
            soma_scope scope = soma_scope_begin();
            soma_tensor *t = soma_ones(SOMA_SHAPE(2, 3), SOMA_F32), *out, *x = soma_full(SOMA_SHAPE(2, 3), 0.5, SOMA_F32);
            ((float *)soma_data(t))[5] = (float)rows[i].bad;
            soma_tensor *in[] = {x, turned ? soma__strided(t) : t};
            assert_int_not_equal(soma_call(rows[i].op, in, 2, NULL, 0, &out, 1), SOMA_OK);
            check_error(SOMA_EINVAL, rows[i].text);
            soma_scope_end(scope);
        }
    soma_tensor *far = soma_full(SOMA_SHAPE(2), -3, SOMA_F32), *x = soma_ones(SOMA_SHAPE(2), SOMA_F32);
    assert_null(soma_gaussian_nll_loss(x, x, far));
    check_error(SOMA_EINVAL, "gaussian_nll_loss: var at [0] is -3, expected a variance");
    soma_tensor *list = soma_from_array((const int64_t[]){0, 3, -1, 5, 1, -1}, SOMA_SHAPE(2, 3), SOMA_I64);
    assert_null(soma_multilabel_margin_loss(soma_zeros(SOMA_SHAPE(2, 3), SOMA_F32), list));
    check_error(SOMA_EINVAL, "target at [0, 1] is class 3, expected 0 to 2");
    assert_null(soma_focal_loss(soma_zeros(SOMA_SHAPE(2, 3), SOMA_F32), soma_from_array((const int64_t[]){0, -1}, SOMA_SHAPE(2), SOMA_I64)));
    check_error(SOMA_EINVAL, "focal_loss: target at [1] is class -1, expected 0 to 2");
    assert_null(soma_kl_sparsity(soma_full(SOMA_SHAPE(2, 2), 1.5, SOMA_F32)));
    check_error(SOMA_EINVAL, "kl_sparsity: input at [0, 0] is 1.5, expected an activity");
    assert_null(soma_cosine_embedding_loss(x, x, soma_scalar(0)));
    check_error(SOMA_EINVAL, "target is 0, expected -1 or 1");
}

/* Options reach the operators; what is left at 0 is the default, what is below 0 means 0. */
static void test_options(void **state) {
    (void)state;
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(2, 1), 3, -1), *t = SOMA_TENSOR(SOMA_SHAPE(2, 1), 0, 1);
    assert_true(soma_item(soma_mse_loss(x, t, .reduction = SOMA_HALF)) == 13.0 / 4);
    assert_true(soma_item(soma_mse_loss(x, t, .reduction = SOMA_BATCHMEAN)) == 13.0 / 2);
    assert_true(soma_item(soma_huber_loss(x, t, .delta = 2)) == (4 + 2) / 2.0);
    assert_true(soma_item(soma_smooth_l1_loss(x, t, .beta = -1)) == soma_item(soma_l1_loss(x, t)));
    assert_true(soma_item(soma_quantile_loss(x, t)) == soma_item(soma_l1_loss(x, t)) / 2);
    soma_tensor *signs = SOMA_TENSOR(SOMA_SHAPE(2, 1), 1, 1);
    assert_true(soma_item(soma_hinge_loss(x, signs)) == 1 && soma_item(soma_hinge_loss(x, signs, .margin = -1)) == 0.5);
    assert_true(fabs(soma_item(soma_mape_loss(x, t, .eps = 0.5)) - 4) < 1e-6);
    soma_tensor *classes = soma_from_array((const int64_t[]){1, 0}, SOMA_SHAPE(2), SOMA_I64);
    soma_tensor *scores = SOMA_TENSOR(SOMA_SHAPE(2, 2), 1, 2, 0.5f, -1), *soft = SOMA_TENSOR(SOMA_SHAPE(2, 2), 0, 1, 1, 0);
    assert_true(fabs(soma_item(soma_cross_entropy(scores, soft)) - soma_item(soma_cross_entropy(scores, classes))) < 1e-6);
    assert_true(fabs(soma_item(soma_focal_loss(scores, classes, .gamma = -1)) - soma_item(soma_cross_entropy(scores, classes))) < 1e-6);
    check_ok();
    assert_null(soma_l1_loss(x, t, .reduction = SOMA_HALF));
    check_error(SOMA_EINVAL, "l1_loss: reduction is 4");
    assert_null(soma_cross_entropy(scores, soft, .ignore_index = 1));
    check_error(SOMA_EINVAL, "have no ignore_index (1)");
}

/* ---- Element by element ------------------------------------------------------------------------------------------ */

static void test_elementwise(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 20000; n = n * 3 + 1) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *x = soma__sample(SOMA_F32, -30, 30, 1, 1, &n), *t = soma__sample(SOMA_F32, 0, 1, 2, 1, &n);
        const float *a = soma_data(x), *b = soma_data(t);
        double square = 0, absolute = 0, logistic = 0;
        for (int64_t i = 0; i < n; i++) {
            double d = (double)a[i] - (double)b[i];
            square += d * d;
            absolute += fabs(d);
            logistic += fmax(a[i], 0) - (double)a[i] * (double)b[i] + log1p(exp(-fabs((double)a[i])));
        }
        double m = (double)n;
        assert_true(fabs(soma_item(soma_mse_loss(x, t)) - square / m) <= 1e-6 * square / m);
        assert_true(fabs(soma_item(soma_l1_loss(x, t, .reduction = SOMA_SUM)) - absolute) <= 1e-6 * absolute);
        assert_true(fabs(soma_item(soma_bce_with_logits(x, t)) - logistic / m) <= 1e-6 * logistic / m);
        soma_tensor *each = soma_bce_with_logits(x, t, .reduction = SOMA_NONE);
        assert_true(fabs(soma_item(soma_sum(each, SOMA_ALL, false)) - logistic) <= 1e-6 * logistic);
        check_ok();
        soma_scope_end(scope);
    }
    assert_true(soma_item(soma_bce_with_logits(SOMA_TENSOR(SOMA_SHAPE(2), 1000, -1000), SOMA_TENSOR(SOMA_SHAPE(2), 1, 0))) ==
                0);
    assert_true(isnan(soma_item(soma_mse_loss(soma_zeros(SOMA_SHAPE(0), SOMA_F32), soma_zeros(SOMA_SHAPE(0), SOMA_F32)))));
    soma_tensor *whole = soma_from_array((const int64_t[]){1, 0}, SOMA_SHAPE(2), SOMA_I64); /* whole targets are converted */
    assert_true(soma_item(soma_mse_loss(SOMA_TENSOR(SOMA_SHAPE(2), 1, 2), whole)) == 2);
    check_ok();
}

/* ---- Threads ------------------------------------------------------------------------------------------------------- */

static void test_threads(void **state) {
    (void)state;
    soma_tensor *x = soma__sample(SOMA_F32, -3, 3, 1, 3, (const int64_t[]){300, 20, 77});
    soma_tensor *t = soma__sample(SOMA_I64, 0, 20, 2, 2, (const int64_t[]){300, 77}),
                *w = soma__sample(SOMA_F32, 0.1, 1, 3, 1, (const int64_t[]){20});
    soma_tensor *g = soma__sample(SOMA_F32, -3, 3, 4, 3, (const int64_t[]){300, 20, 77});
    soma_tensor *rows = soma_reshape(x, 2, (const int64_t[]){23100, 20}),
                *labels = soma_reshape(t, 1, (const int64_t[]){23100});
    soma_tensor *lse = soma_logsumexp(x, SOMA_DIMS(1), false), *one = soma_ones(SOMA_SCALAR, SOMA_F32);
    soma_attr smooth[] = {SOMA_FLOAT("label_smoothing", 0.1)};
    for (int64_t dim = 0; dim < 3; dim++) {
        soma_attr attr = SOMA_INT("dim", dim);
        check_op_threads("softmax", &x, 1, &attr, 1);
        check_op_threads("log_softmax", &x, 1, &attr, 1);
        check_op_threads("softmax_backward", (soma_tensor *[]){g, x}, 2, &attr, 1);
        check_op_threads("log_softmax_backward", (soma_tensor *[]){g, x}, 2, &attr, 1);
    }
    check_op_threads("cross_entropy", (soma_tensor *[]){x, t, w}, 3, smooth, 1);
    check_op_threads("cross_entropy", (soma_tensor *[]){rows, labels}, 2, NULL, 0);
    check_op_threads("nll_loss", (soma_tensor *[]){rows, labels}, 2, NULL, 0);
    check_op_threads("cross_entropy_backward", (soma_tensor *[]){one, x, t, lse, one, w}, 6, smooth, 1);
    check_op_threads("mse_loss", (soma_tensor *[]){x, g}, 2, NULL, 0);
    check_op_threads("l1_loss", (soma_tensor *[]){x, g}, 2, NULL, 0);
    check_op_threads("bce_with_logits", (soma_tensor *[]){x, g}, 2, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax),     cmocka_unit_test(test_softmax_special), cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_by_hand),     cmocka_unit_test(test_bad_targets),     cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_bad_values),  cmocka_unit_test(test_options),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
