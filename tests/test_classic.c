/* Classical models against scikit-learn's fits (tests/golden/classic.txt, made by tools/golden_classic.py): both solve convex problems to
 * the end, so they agree to how far the solvers went, far below the 1e-4 that is promised. */
#include "check.h"

#include <math.h>
#include <stdio.h>

enum { N = 60, P = 5, M = 2 };

typedef struct data {
    soma_tensor *x, *y, *two, *three;
} data;

static double at(int i, int j) { return sin(1 + 1.7 * i + 2.3 * j + 0.37 * i * j) + 0.5 * cos(0.9 * i * (j + 1)) + 0.2 * j; }

static int rising(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }
static double quantile(const double *sorted, double q) {
    double place = q * (N - 1);
    int k = (int)place;
    return sorted[k] + (place - k) * (sorted[k + 1] - sorted[k]);
}

static data make(void) {
    static const double w[M][P] = {{1.5, -2.0, 0.0, 0.7, 0.0}, {0.3, 0.0, 1.1, 0.0, -0.4}}, b[M] = {0.8, -1.2};
    double x[N][P], y[N][M], score[N], sorted[N];
    int64_t two[N], three[N];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < P; j++)
            x[i][j] = at(i, j);
        for (int k = 0; k < M; k++) {
            y[i][k] = b[k] + 0.1 * sin(3.1 * i + k);
            for (int j = 0; j < P; j++)
                y[i][k] += w[k][j] * x[i][j];
        }
        score[i] = 0.9 * sin(5.3 * i);
        for (int j = 0; j < P; j++)
            score[i] += w[0][j] * x[i][j];
        sorted[i] = score[i];
    }
    qsort(sorted, N, sizeof *sorted, rising);
    for (int i = 0; i < N; i++) {
        two[i] = score[i] > (sorted[N / 2 - 1] + sorted[N / 2]) / 2;
        three[i] = (score[i] >= quantile(sorted, 0.35)) + (score[i] >= quantile(sorted, 0.7));
    }
    return (data){soma_from_array(x, SOMA_SHAPE(N, P), SOMA_F64), soma_from_array(y, SOMA_SHAPE(N, M), SOMA_F64),
                  soma_from_array(two, SOMA_SHAPE(N), SOMA_I64), soma_from_array(three, SOMA_SHAPE(N), SOMA_I64)};
}

static void expect_tensor(const char *what, char **text, soma_tensor *t, double bound) {
    soma_tensor *dense = soma_contiguous(soma_to(t, SOMA_F64));
    check_ok();
    for (int64_t i = 0; i < soma_numel(dense); i++) {
        double want = strtod(*text, text), got = ((double *)soma_data(dense))[i];
        if (!(fabs(want - got) <= bound * fmax(1, fabs(want))))
            fail_msg("%s: number %lld is %.12g, scikit-learn's is %.12g", what, (long long)i, got, want);
    }
}

static void expect_module(const char *what, char *text, soma_module *m, double bound) {
    check_ok();
    assert_non_null(m);
    expect_tensor(what, &text, soma_nn_get(m, "weight"), bound);
    char name[64];
    snprintf(name, sizeof name, "%s, intercept", what);
    if (strstr(what, "origin"))
        assert_null(soma_nn_get(m, "bias")), soma_error_clear();
    else
        expect_tensor(name, &text, soma_nn_get(m, "bias"), bound);
    soma_nn_free(m);
}

static void one_line(const data *d, const char *name, double v, char *rest) {
    soma_tensor *x4 = soma_slice(d->x, 0, 0, 4, 1), *y4 = soma_slice(d->y, 0, 0, 4, 1);
    if (strcmp(name, "linear") == 0)
        expect_module(name, rest, soma_linear_regression(d->x, d->y), 1e-9);
    else if (strcmp(name, "linear_origin") == 0)
        expect_module(name, rest, soma_linear_regression(d->x, d->y, .no_intercept = true), 1e-9);
    else if (strcmp(name, "linear_wide") == 0)
        expect_module(name, rest, soma_linear_regression(x4, y4), 1e-9);
    else if (strcmp(name, "ridge") == 0)
        expect_module(name, rest, soma_ridge(d->x, d->y, .alpha = v), 1e-9);
    else if (strcmp(name, "lasso") == 0)
        expect_module(name, rest, soma_lasso(d->x, d->y, .alpha = v, .tol = 1e-13), 1e-6);
    else if (strcmp(name, "elastic_net") == 0)
        expect_module(name, rest, soma_elastic_net(d->x, d->y, .alpha = v, .l1_ratio = 0.3, .tol = 1e-13), 1e-6);
    else if (strcmp(name, "logistic") == 0)
        expect_module(name, rest, soma_logistic_regression(d->x, d->two, .c = v), 1e-6);
    else if (strcmp(name, "softmax") == 0)
        expect_module(name, rest, soma_logistic_regression(d->x, d->three, .c = v), 1e-6);
    else if (strcmp(name, "svm") == 0)
        expect_module(name, rest, soma_linear_svm(d->x, d->two, .c = v, .tol = 1e-12), 1e-6);
    else if (strcmp(name, "svm3") == 0)
        expect_module(name, rest, soma_linear_svm(d->x, d->three, .c = v, .tol = 1e-12), 1e-6);
    else if (strcmp(name, "kmeans") == 0) {
        soma_kmeans_result r;
        soma_tensor *start = soma_index_select(d->x, 0, soma_from_array((int64_t[]){0, 20, 40}, SOMA_SHAPE(3), SOMA_I64));
        assert_int_equal(soma_kmeans(d->x, 3, &r, .start = start, .tol = 1e-12), SOMA_OK);
        expect_tensor(name, &rest, r.centers, 1e-9);
        assert_true(fabs(strtod(rest, NULL) - r.inertia) < 1e-9 * r.inertia);
        assert_int_equal(soma_item_int(soma_sum(soma_ne(r.labels, soma_kmeans_predict(d->x, r.centers)), SOMA_ALL, false)), 0);
    } else if (strcmp(name, "pca") == 0) {
        soma_pca_result r;
        assert_int_equal(soma_pca(d->x, 3, &r), SOMA_OK);
        expect_tensor(name, &rest, r.components, 1e-9);
        expect_tensor(name, &rest, r.mean, 1e-9);
        expect_tensor(name, &rest, r.variance, 1e-9);
        expect_tensor(name, &rest, r.ratio, 1e-9);
        expect_tensor(name, &rest, r.singular_values, 1e-9);
    } else {
        fail_msg("no model is called %s", name);
    }
}

static void as_scikit_learn(void **state) {
    (void)state;
    FILE *f = fopen("tests/golden/classic.txt", "r");
    assert_non_null(f);
    char line[4096], name[32];
    int lines = 0, used;
    double setting;
    while (fgets(line, sizeof line, f)) {
        soma_scope scope = soma_scope_begin();
        data d = make();
        assert_int_equal(sscanf(line, "%31s %lf%n", name, &setting, &used), 2);
        one_line(&d, name, setting, line + used);
        soma_scope_end(scope);
        lines++;
    }
    fclose(f);
    assert_int_equal(lines, 24);
}

/* Lasso's zeros are zeros, and the report counts them; the more it is made to, the more. */
static void lasso_selects(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    data d = make();
    int64_t before = -1;
    for (double alpha = 0.01; alpha < 20; alpha *= 8) {
        soma_classic_report r;
        soma_module *m = soma_lasso_ex(d.x, d.y, &(soma_classic_opts){.alpha = alpha, .size = sizeof(soma_classic_opts)}, &r);
        check_ok();
        assert_true(r.converged);
        assert_true(r.zeros >= before);
        before = r.zeros;
        soma_nn_free(m);
    }
    assert_int_equal(before, M * P);
    soma_scope_end(scope);
}

/* A fitted model is a module: it predicts, is saved, opens again. f32 in, f32 out. */
static void fits_are_modules(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    data d = make();
    soma_tensor *x = soma_to(d.x, SOMA_F32);
    soma_module *m = soma_logistic_regression(x, d.three, .c = 10);
    soma_tensor *right = soma_eq(soma_argmax(soma_nn_forward(m, x), 1, false), d.three);
    check_ok();
    assert_true(soma_item(soma_mean(soma_to(right, SOMA_F64), SOMA_ALL, false)) > 0.7);
    assert_int_equal(soma_dtype_of(soma_nn_get(m, "weight")), SOMA_F32);
    soma_pca_result p;
    assert_int_equal(soma_pca(d.x, 0, &p), SOMA_OK);
    soma_module *to = soma_pca_module(&p), *back = soma_pca_inverse_module(&p);
    soma_tensor *same = soma_sub(soma_nn_forward(back, soma_nn_forward(to, d.x)), d.x);
    assert_true(soma_item(soma_amax(soma_abs(same), SOMA_ALL, false)) < 1e-12);
    soma_nn_free(m);
    soma_nn_free(to);
    soma_nn_free(back);
    soma_scope_end(scope);
}

static void clusters_are_found(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    double x[90][2];
    for (int i = 0; i < 90; i++) {
        x[i][0] = 10 * (i % 3) + sin(3.7 * i);
        x[i][1] = -7 * (i % 3 == 1) + cos(2.9 * i);
    }
    soma_seed(5);
    soma_kmeans_result r;
    assert_int_equal(soma_kmeans(soma_from_array(x, SOMA_SHAPE(90, 2), SOMA_F64), 3, &r), SOMA_OK);
    const int64_t *label = soma_data(r.labels);
    for (int i = 0; i < 90; i++)
        assert_int_equal(label[i], label[i % 3]);
    assert_true(label[0] != label[1] && label[1] != label[2] && label[0] != label[2]);
    /* As many clusters as samples that differ: nothing is left to explain, and a cluster that starts empty gets a sample. */
    soma_tensor *few = soma_from_array((double[]){1, 2, 5, 9}, SOMA_SHAPE(4, 1), SOMA_F64);
    assert_int_equal(soma_kmeans(few, 4, &r, .start = soma_from_array((double[]){0, 100, 200, 300}, SOMA_SHAPE(4, 1), SOMA_F64)), SOMA_OK);
    assert_true(r.inertia == 0);
    soma_scope_end(scope);
}

static void mistakes_are_named(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    data d = make();
    soma_tensor *broken = soma_clone(d.x);
    ((double *)soma_data(broken))[7] = NAN;
    assert_null(soma_ridge(broken, d.y));
    check_error(SOMA_EINVAL, "ridge: x has nan in row 1, column 2");
    assert_null(soma_lasso(d.x, soma_zeros(SOMA_SHAPE(4), SOMA_F64)));
    check_error(SOMA_ESHAPE, "lasso: y is [4], expected [60] or [samples, targets] for 60 samples");
    assert_null(soma_logistic_regression(d.x, soma_select(d.y, 1, 0)));
    check_error(SOMA_EDTYPE, "expected whole numbers, the classes 0");
    assert_null(soma_linear_svm(d.x, soma_zeros(SOMA_SHAPE(N), SOMA_I64)));
    check_error(SOMA_EINVAL, "all of y is class 0");
    assert_null(soma_linear_svm(d.x, soma_full(SOMA_SHAPE(N), -3, SOMA_I64)));
    check_error(SOMA_EINVAL, "y[0] is -3, expected a class from 0 on");
    assert_null(soma_elastic_net(d.x, d.y, .l1_ratio = 1.5));
    check_error(SOMA_EINVAL, "0 < l1_ratio <= 1");
    soma_kmeans_result r;
    soma_pca_result p;
    assert_int_equal(soma_kmeans(d.x, 61, &r), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "kmeans: 61 clusters of 60 samples");
    assert_int_equal(soma_pca(d.x, 6, &p), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "at most 5");
    assert_null(soma_ridge(soma_zeros(SOMA_SHAPE(3), SOMA_F32), d.y));
    check_error(SOMA_ESHAPE, "ridge: x is [3], expected [samples, features]");
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_scikit_learn), cmocka_unit_test(lasso_selects), cmocka_unit_test(fits_are_modules),
        cmocka_unit_test(clusters_are_found), cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
