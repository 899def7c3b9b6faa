/* Reductions: against plain loops in f64, by hand where special values matter, choices of derivatives, threads, bad inputs. */
#include "threads.h"

#include "ops/op.h"

#include <math.h>

static const char *const names[] = {"sum", "mean", "prod", "var", "std", "amax", "amin", "any", "all", "logsumexp", "norm",
                                    "argmax", "argmin", "cumsum", "topk"};
enum { N_NAMES = sizeof names / sizeof names[0], FOLDS = 11 };

/* ---- Against plain loops ----------------------------------------------------------------------------------------- */

static double naive(const char *name, const double *v, int64_t n, int64_t correction) {
    double sum = 0, product = 1, sq = 0, largest = -INFINITY, smallest = INFINITY, nonzero = 0, dev = 0, e = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += v[i];
        product *= v[i];
        sq += v[i] * v[i];
        largest = fmax(largest, v[i]);
        smallest = fmin(smallest, v[i]);
        nonzero += v[i] != 0;
    }
    for (int64_t i = 0; i < n; i++) {
        dev += (v[i] - sum / (double)n) * (v[i] - sum / (double)n);
        e += exp(v[i] - largest);
    }
    if (!strcmp(name, "sum")) return sum;
    if (!strcmp(name, "mean")) return sum / (double)n;
    if (!strcmp(name, "prod")) return product;
    if (!strcmp(name, "var")) return dev / (double)(n - correction);
    if (!strcmp(name, "std")) return sqrt(dev / (double)(n - correction));
    if (!strcmp(name, "amax")) return largest;
    if (!strcmp(name, "amin")) return smallest;
    if (!strcmp(name, "any")) return nonzero > 0;
    if (!strcmp(name, "all")) return nonzero == (double)n;
    if (!strcmp(name, "logsumexp")) return largest + log(e);
    if (!strcmp(name, "norm")) return sqrt(sq);
    fail_msg("%s has no plain loop", name);
    return 0;
}

/* The elements that go into output `o`, in f64. */
static int64_t gather(soma_tensor *x, uint32_t mask, int64_t o, double *out) {
    int64_t kept[SOMA_MAX_DIMS], n = 0, index[SOMA_MAX_DIMS];
    for (int d = soma_ndim(x) - 1; d >= 0; d--)
        if (!(mask & 1u << d)) {
            kept[d] = o % soma_size(x, d);
            o /= soma_size(x, d);
        }
    for (int64_t i = 0; i < soma_numel(x); i++) {
        int64_t at = i;
        bool in = true;
        for (int d = soma_ndim(x) - 1; d >= 0; d--) {
            index[d] = at % soma_size(x, d);
            at /= soma_size(x, d);
            in = in && (mask & 1u << d || index[d] == kept[d]);
        }
        if (in)
            out[n++] = soma_at(x, soma_ndim(x), index);
    }
    return n;
}

/* Bounds: f32 sums of up to 5000 numbers below 3 in lanes err by less than 100 roundings; f16 and bf16 round the result once. */
static double tolerance(soma_dtype dtype) {
    return dtype == SOMA_F64 ? 1e-12 : dtype == SOMA_F16 ? 1e-3 : dtype == SOMA_BF16 ? 8e-3 : 6e-6;
}

static void compare(const char *name, soma_tensor *x, int n_dims, const int64_t *dims, soma_dtype dtype) {
    double room[6000];
    uint32_t mask = n_dims ? 0 : ~0u;
    soma_attr attrs[] = {{.name = "dims", .kind = SOMA_ATTR_INTS, .count = n_dims}};
    for (int d = 0; d < n_dims; d++) {
        attrs[0].value.ints[d] = dims[d];
        mask |= 1u << dims[d];
    }
    soma_tensor *y;
    soma_call(name, &x, 1, attrs, 1, &y, 1);
    check_ok();
    double *values = calloc((size_t)soma_numel(y) + 1, sizeof *values);
    soma_to_array(y, values, soma_numel(y), SOMA_F64);
    check_ok();
    for (int64_t o = 0; o < soma_numel(y); o += 1 + soma_numel(y) / 50) {
        int64_t n = gather(x, mask, o, room);
        double want = naive(name, room, n, 1), scale = fmax(1.0, fabs(want));
        if (!strcmp(name, "sum") || !strcmp(name, "mean"))
            scale += naive("norm", room, n, 1) * (strcmp(name, "sum") ? 1.0 / sqrt((double)n) : sqrt((double)n) * 0.2);
        if (!(fabs(values[o] - want) <= tolerance(dtype) * scale) && !(isnan(want) && isnan(values[o])))
            fail_msg("%s %s of %d dims, output %d: %.9g, expected %.9g", name, soma_dtype_name(dtype), n_dims, (int)o, values[o], want);
    }
    free(values);
}

static void test_against_loops(void **state) {
    (void)state;
    static const struct { int ndim; int64_t shape[4]; int n; int64_t dims[4]; } cases[] = {
        {1, {1}, 0, {0}},           {1, {5000}, 0, {0}},          {2, {40, 130}, 1, {1}},      {2, {40, 130}, 1, {0}},
        {2, {300, 17}, 1, {0}},     {3, {7, 11, 13}, 1, {1}},     {3, {7, 11, 13}, 2, {0, 2}}, {4, {3, 4, 5, 6}, 3, {0, 2, 3}},
        {4, {3, 4, 5, 6}, 2, {1, 2}}, {4, {2, 3, 9, 9}, 2, {2, 3}}, {3, {5, 1, 6}, 1, {1}},      {2, {2, 700}, 0, {0}},
        {2, {700, 3}, 1, {0}},
    };
    for (int k = 0; k < FOLDS; k++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            for (int d = 0; d < SOMA_DTYPE_COUNT; d++) {
                bool in_place;
                if (!(soma__op_find(names[k], &in_place)->dtypes & SOMA_BIT(d)))
                    continue;
                if (!strcmp(names[k], "prod") && i != 0 && i != 6 && i != 10)
                    continue; /* long products leave the range */
                if (!strcmp(names[k], "sum") && d == SOMA_F16 && i == 1)
                    continue; /* so does this sum */
                soma_scope scope = soma_scope_begin();
                double low = d == SOMA_U8 ? 0 : -1;
                soma_tensor *x = soma__sample((soma_dtype)d, low, 3, i, cases[i].ndim, cases[i].shape);
                compare(names[k], x, cases[i].n, cases[i].dims, (soma_dtype)d);
                if (d == SOMA_F32 || d == SOMA_I16)
                    compare(names[k], soma__strided(x), cases[i].n, cases[i].dims, (soma_dtype)d);
                soma_scope_end(scope);
            }
}

/* A million and a bit: many segments. All sums of small integers are exact in f64, and nearly so in f32. */
static void test_large(void **state) {
    (void)state;
    int64_t n = 1200003;
    soma_tensor *x = soma_empty(1, &n, SOMA_F32);
    float *p = soma_data(x);
    double want = 0;
    for (int64_t i = 0; i < n; i++) {
        p[i] = (float)(i % 1001) * 0.001f;
        want += (double)p[i];
    }
    double got = soma_item(soma_to(soma_sum(x, SOMA_ALL, false), SOMA_F64));
    /* lanes of 64 additions in f32, then doubles, then one rounding: a plain f32 loop is off by 1e-3 here */
    assert_true(fabs(got - want) <= 1e-6 * want);
    soma_tensor *wide = soma_reshape(x, 2, (const int64_t[]){3, 400001});
    for (int64_t d = 0; d < 2; d++) {
        soma_tensor *y = soma_sum(soma_sum(wide, 1, &d, false), SOMA_ALL, false);
        assert_true(fabs(soma_item(y) - want) <= 2e-6 * want);
    }
    int64_t last = 1;
    soma_tensor *tall = soma_permute(wide, 2, (const int64_t[]){1, 0});
    assert_true(fabs(soma_item(soma_sum(soma_sum(tall, 1, &last, false), SOMA_ALL, false)) - want) <= 2e-6 * want);
    assert_true(soma_item_int(soma_argmax(x, 0, false)) == 1000);
    check_ok();
}

/* ---- By hand ----------------------------------------------------------------------------------------------------- */

#define ITEM(t) soma_item(t)
static void test_special_values(void **state) {
    (void)state;
    soma_tensor *nan = SOMA_TENSOR(SOMA_SHAPE(4), 1, NAN, 3, -INFINITY),
                *inf = SOMA_TENSOR(SOMA_SHAPE(2), -INFINITY, -INFINITY);
    assert_true(isnan(ITEM(soma_sum(nan, SOMA_ALL, false))));
    assert_true(isnan(ITEM(soma_amax(nan, SOMA_ALL, false))) && isnan(ITEM(soma_amin(nan, SOMA_ALL, false))));
    assert_int_equal(soma_item_int(soma_argmax(nan, 0, false)), 1);
    assert_int_equal(soma_item_int(soma_argmin(nan, 0, false)), 1);
    assert_true(ITEM(soma_logsumexp(inf, SOMA_ALL, false)) == -INFINITY);
    assert_true(ITEM(soma_logsumexp(SOMA_TENSOR(SOMA_SHAPE(2), 1, INFINITY), SOMA_ALL, false)) == INFINITY);
    assert_true(fabs(ITEM(soma_logsumexp(SOMA_TENSOR(SOMA_SHAPE(2), 1000, 1000), SOMA_ALL, false)) - (1000 + log(2))) < 1e-4);
    assert_true(ITEM(soma_any(SOMA_TENSOR(SOMA_SHAPE(2), 0, NAN), SOMA_ALL, false)) == 1);
    assert_true(ITEM(soma_all(SOMA_TENSOR(SOMA_SHAPE(2), 1, 0), SOMA_ALL, false)) == 0);
    assert_true(fabs(ITEM(soma_norm(SOMA_TENSOR(SOMA_SHAPE(2), 3e30f, 4e30f), SOMA_ALL, false)) / 5e30 - 1) < 1e-6);
    /* NaN in the middle of a row that is long enough for vectors */
    soma_tensor *row = soma_ones(SOMA_SHAPE(200), SOMA_F32);
    ((float *)soma_data(row))[77] = NAN;
    assert_true(isnan(ITEM(soma_amax(row, SOMA_ALL, false))) && isnan(ITEM(soma_amin(row, SOMA_ALL, false))));
    assert_int_equal(soma_item_int(soma_argmin(row, 0, false)), 77);
    assert_true(isnan(ITEM(soma_var(SOMA_TENSOR(SOMA_SHAPE(1), 2), SOMA_ALL, 1, false))));
    assert_true(ITEM(soma_var(SOMA_TENSOR(SOMA_SHAPE(1), 2), SOMA_ALL, 0, false)) == 0);
    check_ok();
}

static void test_empty(void **state) {
    (void)state;
    soma_tensor *x = soma_zeros(SOMA_SHAPE(3, 0), SOMA_F32), *y = soma_sum(x, SOMA_DIMS(1), false);
    assert_true(soma_numel(y) == 3 && soma_at(y, 1, (const int64_t[]){2}) == 0);
    assert_true(ITEM(soma_sum(x, SOMA_ALL, false)) == 0 && isnan(ITEM(soma_mean(x, SOMA_ALL, false))));
    assert_true(ITEM(soma_prod(x, SOMA_ALL, false)) == 1 && ITEM(soma_logsumexp(x, SOMA_ALL, false)) == -INFINITY);
    assert_true(ITEM(soma_any(x, SOMA_ALL, false)) == 0 && ITEM(soma_all(x, SOMA_ALL, false)) == 1);
    assert_true(soma_numel(soma_amax(x, SOMA_DIMS(0), false)) == 0);
    assert_true(soma_numel(soma_cumsum(x, 1)) == 0);
    check_ok();
    assert_null(soma_amax(x, SOMA_DIMS(1), false));
    check_error(SOMA_ESHAPE, "amax: dimension 1 of [3, 0] has no elements, so there is no largest one");
    assert_null(soma_argmin(x, 1, false));
    check_error(SOMA_ESHAPE, "no elements");
}

static void test_dtypes(void **state) {
    (void)state;
    soma_tensor *b = soma_from_array((const uint8_t[]){1, 0, 1}, SOMA_SHAPE(3), SOMA_BOOL);
    assert_int_equal(soma_dtype_of(soma_sum(b, SOMA_ALL, false)), SOMA_I64);
    assert_int_equal(soma_item_int(soma_sum(b, SOMA_ALL, false)), 2);
    soma_tensor *big = soma_from_array((const int8_t[]){100, 100, 100}, SOMA_SHAPE(3), SOMA_I8);
    assert_int_equal(soma_item_int(soma_sum(big, SOMA_ALL, false)), 300);
    assert_int_equal(soma_item_int(soma_prod(big, SOMA_ALL, false)), 1000000);
    assert_int_equal(soma_dtype_of(soma_amax(big, SOMA_ALL, false)), SOMA_I8);
    int64_t huge = (INT64_C(1) << 53) + 1;
    soma_tensor *exact = soma_from_array(&huge, SOMA_SHAPE(1), SOMA_I64);
    assert_true(soma_item_int(soma_sum(exact, SOMA_ALL, false)) == huge &&
                soma_item_int(soma_amax(exact, SOMA_ALL, false)) == huge);
    assert_null(soma_mean(big, SOMA_ALL, false));
    check_error(SOMA_EDTYPE, "mean: input 'x' has dtype i8");
    /* f16: 3000 ones are 3000, though a running f16 sum would stop at 2048 */
    assert_true(ITEM(soma_sum(soma_ones(SOMA_SHAPE(3000), SOMA_F16), SOMA_ALL, false)) == 3000);
    check_ok();
}

static void test_topk(void **state) {
    (void)state;
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(2, 5), 3, 1, 3, 2, 0, -1, NAN, 7, 7, -0.0f), *v, *i;
    assert_int_equal(soma_topk(x, 3, -1, &v, &i), SOMA_OK);
    int64_t index[6], want[] = {0, 2, 3, 1, 2, 3};
    double value[6];
    soma_to_array(i, index, 6, SOMA_I64);
    soma_to_array(v, value, 6, SOMA_F64);
    assert_memory_equal(index, want, sizeof want);
    assert_true(value[0] == 3 && value[1] == 3 && value[2] == 2 && isnan(value[3]) && value[4] == 7 && value[5] == 7);
    assert_int_equal(soma_topk(x, 1, 0, &v, NULL), SOMA_OK);
    soma_to_array(v, value, 5, SOMA_F64);
    assert_true(value[0] == 3 && isnan(value[1]) && value[2] == 7 && value[3] == 7 && value[4] == 0);
    assert_int_equal(soma_topk(x, 0, 1, &v, &i), SOMA_OK);
    assert_int_equal(soma_numel(v), 0);
    /* against a sort: all of 1000 */
    soma_tensor *r = soma__sample(SOMA_I32, -300, 300, 4, 1, (const int64_t[]){1000});
    assert_int_equal(soma_topk(r, 1000, 0, &v, &i), SOMA_OK);
    for (int64_t k = 1; k < 1000; k++) {
        double a = soma_at(v, 1, &(int64_t){k - 1}), b = soma_at(v, 1, &k);
        assert_true(a > b || (a == b && soma_at(i, 1, &(int64_t){k - 1}) < soma_at(i, 1, &k)));
    }
    check_ok();
    assert_int_equal(soma_topk(x, 6, 1, &v, &i), SOMA_EINVAL);
    assert_null(v);
    check_error(SOMA_EINVAL, "topk: k is 6, but dimension 1 of [2, 5] has 5 elements");
}

static void test_cumsum_and_arg(void **state) {
    (void)state;
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(2, 3), 1, 2, 3, 4, 5, 6);
    double v[6];
    soma_to_array(soma_cumsum(x, 1), v, 6, SOMA_F64);
    assert_true(v[0] == 1 && v[1] == 3 && v[2] == 6 && v[3] == 4 && v[4] == 9 && v[5] == 15);
    soma_to_array(soma_cumsum(x, 0), v, 6, SOMA_F64);
    assert_true(v[0] == 1 && v[3] == 5 && v[4] == 7 && v[5] == 9);
    soma_tensor *long_row = soma_ones(SOMA_SHAPE(2000), SOMA_I8);
    assert_int_equal(soma_item_int(soma_slice(soma_cumsum(long_row, 0), 0, 1999, 2000, 1)), 2000);
    soma_tensor *ties = SOMA_TENSOR(SOMA_SHAPE(2, 3), 1, 5, 5, 0, -2, -2);
    int64_t at[3];
    soma_to_array(soma_argmax(ties, 1, false), at, 2, SOMA_I64);
    assert_true(at[0] == 1 && at[1] == 0);
    soma_to_array(soma_argmin(ties, 1, true), at, 2, SOMA_I64);
    assert_true(at[0] == 0 && at[1] == 1);
    soma_to_array(soma_argmax(ties, 0, false), at, 3, SOMA_I64);
    assert_true(at[0] == 0 && at[1] == 0 && at[2] == 0);
    check_ok();
}

/* ---- Derivatives, threads, bad inputs ---------------------------------------------------------------------------- */

static soma_tensor *prod_of(void *user, soma_tensor *const *x, int n) {
    (void)user, (void)n;
    return soma_prod(x[0], SOMA_ALL, false);
}

/* prod's gradient and its gradient where one and where two factors are 0; by hand, since differences work there too. */
static void test_prod_zeros(void **state) {
    (void)state;
    for (int zeros = 1; zeros <= 2; zeros++) {
        soma_tensor *x = soma_from_array((const double[]){2, 0, 3, zeros == 2 ? 0 : 4}, SOMA_SHAPE(4), SOMA_F64);
        soma_requires_grad_(x, true);
        soma_gradcheck_opts opts = {.order = 2, .size = sizeof opts};
        soma_gradcheck(prod_of, NULL, &x, 1, &opts);
        check_ok();
    }
}

/* Where the derivative is a matter of choice: PyTorch's. */
static void test_gradient_choices(void **state) {
    (void)state;
    soma_tensor *x = soma_requires_grad_(SOMA_TENSOR(SOMA_SHAPE(4), 1, 5, 5, 2), true);
    soma_backward(soma_amax(x, SOMA_ALL, false));
    float *g = soma_data(soma_grad(x));
    assert_true(g[0] == 0 && g[1] == 0.5f && g[2] == 0.5f && g[3] == 0);
    soma_tensor *zero = soma_requires_grad_(soma_zeros(SOMA_SHAPE(3), SOMA_F32), true);
    soma_backward(soma_norm(zero, SOMA_ALL, false));
    soma_backward(soma_std(zero, SOMA_ALL, 1, false));
    g = soma_data(soma_grad(zero));
    assert_true(g[0] == 0 && g[1] == 0 && g[2] == 0);
    soma_tensor *inf = soma_requires_grad_(SOMA_TENSOR(SOMA_SHAPE(2), -INFINITY, -INFINITY), true);
    soma_backward(soma_logsumexp(inf, SOMA_ALL, false));
    assert_true(((float *)soma_data(soma_grad(inf)))[0] == 0);
    check_ok();
}

static void test_threads(void **state) {
    (void)state;
    soma_tensor *x = soma__sample(SOMA_F32, -1, 1, 3, 3, (const int64_t[]){37, 120, 61});
    soma_tensor *flat = soma__sample(SOMA_F32, -1, 1, 3, 1, (const int64_t[]){300001});
    for (int k = 0; k < N_NAMES; k++)
        for (int64_t dim = 0; dim < 3; dim++) {
            soma_attr attrs[] = {k < FOLDS ? SOMA_INTS("dims", dim) : SOMA_INT("dim", dim), SOMA_INT("k", 3)};
            check_op_threads(names[k], &x, 1, attrs, strcmp(names[k], "topk") ? 1 : 2);
            attrs[0] = k < FOLDS ? SOMA_INTS("dims", 0) : SOMA_INT("dim", 0);
            if (dim == 0)
                check_op_threads(names[k], &flat, 1, attrs, strcmp(names[k], "topk") ? 1 : 2);
        }
}

static void test_stride_0(void **state) {
    (void)state;
    soma_tensor *wide = soma_expand(SOMA_TENSOR(SOMA_SHAPE(3, 1), 1, 2, 3), 2, (const int64_t[]){3, 100});
    assert_true(ITEM(soma_sum(wide, SOMA_ALL, false)) == 600);
    assert_true(soma_at(soma_sum(wide, SOMA_DIMS(0), false), 1, (const int64_t[]){99}) == 6);
    check_ok();
}

static void test_errors(void **state) {
    (void)state;
    assert_null(soma_sum(NULL, SOMA_ALL, false));
    check_error(SOMA_EINVAL, "sum");
    assert_null(soma_sum(soma_ones(SOMA_SHAPE(2), SOMA_F32), 9, (const int64_t[]){0, 0, 0, 0, 0, 0, 0, 0, 0}, false));
    check_error(SOMA_EINVAL, "9 dims");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_loops),  cmocka_unit_test(test_large),   cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_empty),          cmocka_unit_test(test_dtypes),  cmocka_unit_test(test_topk),
        cmocka_unit_test(test_cumsum_and_arg), cmocka_unit_test(test_prod_zeros),
        cmocka_unit_test(test_gradient_choices), cmocka_unit_test(test_threads), cmocka_unit_test(test_stride_0),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
