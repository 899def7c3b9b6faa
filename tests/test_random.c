/* Random numbers: Philox's published test vectors, the recipe of src/ops/random.c repeated in plain C with libm, moments,
 * bounds, independence of strides, threads and instruction sets, and known values for one seed. */
#include "threads.h"

#include "ops/op.h"

#include "kernels/cpu/isa.h"

#include <math.h>

/* Salmon et al. 2011, the known-answer tests of their Random123 library: philox4x32, 10 rounds. */
static void philox_vectors(void **state) {
    (void)state;
    static const uint32_t zeros[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    static const uint32_t ones[] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    static const uint32_t pi[] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    uint32_t out[4];
    soma__philox(0, 0, 0, out);
    assert_memory_equal(out, zeros, sizeof out);
    soma__philox(UINT64_MAX, UINT64_MAX, UINT64_MAX, out);
    assert_memory_equal(out, ones, sizeof out);
    soma__philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, out); /* the digits of pi */
    assert_memory_equal(out, pi, sizeof out);
}

static uint32_t word(uint64_t seed, uint64_t stream, uint64_t k) {
    uint32_t out[4];
    soma__philox(seed, stream, k / 4, out);
    return out[k % 4];
}
static double u24(uint64_t seed, uint64_t stream, uint64_t i) { return (word(seed, stream, i) >> 8) * 0x1p-24; }
static double u53(uint64_t seed, uint64_t stream, uint64_t i) {
    return ((word(seed, stream, 2 * i) >> 5) * 67108864.0 + (word(seed, stream, 2 * i + 1) >> 6)) * 0x1p-53;
}

enum {
    N = 1003
};

static void recipe_uniform(void **state) {
    (void)state;
    uint64_t seed = 0x123456789abcdef0;
    soma_seed(seed);
    soma_tensor *a = soma_rand(SOMA_SHAPE(N), SOMA_F32), *b = soma_rand(SOMA_SHAPE(N), SOMA_F64),
                *c = soma_rand(SOMA_SHAPE(N), SOMA_F16);
    soma_tensor *d = soma_rand(SOMA_SHAPE(N), SOMA_BF16), *e = soma_uniform_(soma_empty(SOMA_SHAPE(N), SOMA_F32), -3, 2);
    check_ok();
    for (int64_t i = 0; i < N; i++) {
        assert_true(((float *)soma_data(a))[i] == (float)u24(seed, 0, (uint64_t)i));
        assert_true(((double *)soma_data(b))[i] == u53(seed, 1, (uint64_t)i));
        assert_true(soma_at(c, 1, &i) == (word(seed, 2, (uint64_t)i) >> 21) * 0x1p-11);
        assert_true(soma_at(d, 1, &i) == (word(seed, 3, (uint64_t)i) >> 24) * 0x1p-8);
        assert_true(((float *)soma_data(e))[i] == (float)(-3 + 5 * u24(seed, 4, (uint64_t)i)));
    }
}

/* Our log, cos and sin and libm's differ by less than 1e-14 here (values up to 9, a few roundings of 2^-53 each). */
static void recipe_normal(void **state) {
    (void)state;
    soma_seed(77);
    soma_tensor *a = soma_randn(SOMA_SHAPE(N), SOMA_F32), *b = soma_randn(SOMA_SHAPE(N), SOMA_F64);
    soma_tensor *c = soma_normal_(soma_empty(SOMA_SHAPE(N), SOMA_F64), 10, 0.5);
    check_ok();
    for (uint64_t i = 0; i < N; i++) {
        uint64_t pair = i / 2 * 2;
        double (*wave)(double) = i % 2 ? sin : cos;
        double r = sqrt(-2 * log(1 - u24(77, 0, pair))), z = r * wave(6.283185307179586 * u24(77, 0, pair + 1));
        assert_true(fabs(((float *)soma_data(a))[i] - z) <= 1e-14 + 0x1p-24 * fabs(z)); /* one rounding to f32 */
        r = sqrt(-2 * log(1 - u53(77, 1, pair)));
        z = r * wave(6.283185307179586 * u53(77, 1, pair + 1));
        assert_true(fabs(((double *)soma_data(b))[i] - z) <= 1e-14);
        r = sqrt(-2 * log(1 - u53(77, 2, pair)));
        z = 10 + 0.5 * r * wave(6.283185307179586 * u53(77, 2, pair + 1));
        assert_true(fabs(((double *)soma_data(c))[i] - z) <= 1e-14);
    }
}

static void recipe_integers(void **state) {
    (void)state;
    soma_seed(5);
    soma_tensor *a = soma_randint(-7, 1000, SOMA_SHAPE(N), SOMA_I64), *b = soma_bernoulli(0.3, SOMA_SHAPE(N), SOMA_U8);
    soma_tensor *c = soma_randint(INT64_MIN, INT64_MAX, SOMA_SHAPE(N), SOMA_I64), *p = soma_randperm(N);
    check_ok();
    bool seen[N] = {0}, moved = false;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t x = (uint64_t)word(5, 0, 2 * i) << 32 | word(5, 0, 2 * i + 1);
        assert_int_equal(((int64_t *)soma_data(a))[i], -7 + (int64_t)((unsigned __int128)x * 1007 >> 64));
        assert_int_equal(((uint8_t *)soma_data(b))[i], word(5, 1, i) < 1288490189u); /* 0.3 * 2^32 = 1288490188.8 */
        int64_t at = ((int64_t *)soma_data(p))[i];
        assert_in_range(at, 0, N - 1);
        assert_false(seen[at]);
        seen[at] = true;
        moved |= at != (int64_t)i;
    }
    assert_true(moved);
    assert_true(soma_item(soma_amax(c, SOMA_ALL, false)) > 0x1p62 && soma_item(soma_amin(c, SOMA_ALL, false)) < -0x1p62);
    CHECK_VALUES(soma_bernoulli(0, SOMA_SHAPE(3), SOMA_F32), 0, 0, 0);
    CHECK_VALUES(soma_bernoulli(1, SOMA_SHAPE(3), SOMA_BOOL), 1, 1, 1);
}

/* For n = 10^6 the standard error of the mean is 1e-3, of the variance 1.4e-3, of skewness 2.4e-3, of kurtosis 4.9e-3; five
 * of each. */
static void moments(void **state) {
    (void)state;
    enum {
        MANY = 1000000
    };
    for (int k = 0; k < 2; k++) {
        soma_scope scope = soma_scope_begin();
        soma_seed(2026 + (uint64_t)k);
        soma_tensor *x = soma_to(soma_randn(SOMA_SHAPE(MANY), k ? SOMA_F64 : SOMA_F32), SOMA_F64);
        check_ok();
        const double *p = soma_data(x);
        double m[5] = {0}, lag = 0, top = 0;
        for (int i = 0; i < MANY; i++) {
            for (int j = 1; j <= 4; j++)
                m[j] += pow(p[i], j) / MANY;
            lag += i ? p[i] * p[i - 1] / MANY : 0;
            top = fmax(top, fabs(p[i]));
        }
        assert_true(fabs(m[1]) < 5e-3 && fabs(m[2] - 1) < 7e-3 && fabs(m[3]) < 12e-3 && fabs(m[4] - 3) < 49e-3 &&
                    fabs(lag) < 5e-3);
        assert_true(top > 4.2 && top < 6.5); /* 10^6 normals: P(all within 4.2) = 2e-12 */
        soma_tensor *u = soma_to(soma_rand(SOMA_SHAPE(MANY), k ? SOMA_F64 : SOMA_F32), SOMA_F64);
        int bins[10] = {0};
        for (int i = 0; i < MANY; i++) {
            double v = ((double *)soma_data(u))[i];
            assert_true(v >= 0 && v < 1);
            bins[(int)(v * 10)]++;
        }
        for (int i = 0; i < 10; i++) /* standard deviation 300 */
            assert_in_range(bins[i], 98500, 101500);
        soma_scope_end(scope);
    }
}

static void bounds(void **state) {
    (void)state;
    static const soma_dtype dtypes[] = {SOMA_F32, SOMA_F64, SOMA_F16, SOMA_BF16};
    for (size_t d = 0; d < SOMA_LEN(dtypes); d++) {
        soma_tensor *x = soma_uniform_(soma_empty(SOMA_SHAPE(100000), dtypes[d]), 1,
                                       1.01); /* few numbers of the small dtypes lie there */
        soma_tensor *y = soma_uniform_(soma_empty(SOMA_SHAPE(1000), dtypes[d]), -0.5, -0.5);
        soma_tensor *z = soma_uniform_(soma_empty(SOMA_SHAPE(100000), dtypes[d]), -1, 0);
        check_ok();
        assert_true(soma_item(soma_amin(x, SOMA_ALL, false)) >= 1 && soma_item(soma_amax(x, SOMA_ALL, false)) < 1.01);
        assert_true(soma_item(soma_amin(y, SOMA_ALL, false)) == -0.5 && soma_item(soma_amax(y, SOMA_ALL, false)) == -0.5);
        assert_true(soma_item(soma_amin(z, SOMA_ALL, false)) >= -1 && soma_item(soma_amax(z, SOMA_ALL, false)) < 0);
    }
}

static void strides_do_not_matter(void **state) {
    (void)state;
    for (int d = SOMA_F32; d <= SOMA_F64; d++) {
        soma_seed(3);
        soma_tensor *a = soma_normal_(soma_empty(SOMA_SHAPE(70, 33), (soma_dtype)d), 0, 1);
        soma_seed(3);
        soma_tensor *b = soma_transpose(soma_empty(SOMA_SHAPE(33, 70), (soma_dtype)d), 0, 1);
        soma_normal_(b, 0, 1);
        check_ok();
        assert_memory_equal(soma_data(a), soma_data(soma_contiguous(b)), 70 * 33 * soma_dtype_size((soma_dtype)d));
    }
    /* and the beginning of a longer tensor is a shorter one */
    soma_seed(3);
    soma_tensor *a = soma_randint(0, 99, SOMA_SHAPE(1000), SOMA_I16);
    soma_seed(3);
    soma_tensor *b = soma_randint(0, 99, SOMA_SHAPE(77), SOMA_I16);
    check_ok();
    assert_memory_equal(soma_data(a), soma_data(b), 154);
}

static soma_tensor *many(void *user) {
    soma_seed(8);
    switch (*(int *)user) {
    case 0: return soma_rand(SOMA_SHAPE(100001), SOMA_F32);
    case 1: return soma_randn(SOMA_SHAPE(100001), SOMA_F32);
    case 2: return soma_randn(SOMA_SHAPE(100001), SOMA_F64);
    case 3: return soma_randint(0, 1000, SOMA_SHAPE(100001), SOMA_I32);
    default: return soma_bernoulli(0.5, SOMA_SHAPE(100001), SOMA_BOOL);
    }
}

static void threads_and_instruction_sets(void **state) {
    (void)state;
    for (int k = 0; k < 5; k++) {
        soma_scope scope = soma_scope_begin();
        check_threads(many, &k);
        soma_tensor *x = many(&k);
        for (int level = 0; level <= soma__isa_best(); level++) {
            soma__isa_force(level);
            soma_tensor *y = many(&k);
            check_ok();
            assert_memory_equal(soma_data(x), soma_data(y), (size_t)soma_numel(x) * soma_dtype_size(soma_dtype_of(x)));
        }
        soma__isa_force(-1);
        soma_scope_end(scope);
    }
}

/* Worked out from the recipe by another program. Changing these numbers changes every seeded run: only with a new major
 * version. */
static void known_values(void **state) {
    (void)state;
    soma_seed(42);
    soma_rng before = soma_rng_get();
    soma_tensor *n = soma_randn(SOMA_SHAPE(4), SOMA_F32), *i = soma_randint(0, 100, SOMA_SHAPE(6), SOMA_I64),
                *p = soma_randperm(8);
    soma_rng after = soma_rng_get();
    check_ok();
    assert_true(before.seed == 42 && before.stream == 0 && after.seed == 42 && after.stream == 3);
    CHECK_VALUES(n, -1.3510921f, 0.270192087f, -0.210754141f, 0.328155547f);
    CHECK_VALUES(i, 1, 23, 12, 10, 21, 43);
    CHECK_VALUES(p, 3, 2, 1, 7, 4, 5, 0, 6);
}

static void leaves_are_left_alone(void **state) {
    (void)state;
    soma_tensor *leaf = soma_requires_grad_(soma_zeros(SOMA_SHAPE(2), SOMA_F32), true);
    assert_null(soma_normal_(leaf, 0, 1));
    check_error(SOMA_ESTATE, "leaf");
}

/* ---- Distributions --------------------------------------------------------------------------------------------------
 * Kolmogorov and Smirnov: for n draws the largest distance between the empirical and the true distribution function is above 1.95 / sqrt(n) in one
 * of a thousand samples; seeds are fixed, so a sample that passes always passes. */
enum {
    DRAWS = 20000
};

static int rising(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double distance(soma_tensor *t, double (*cdf)(double)) {
    static double x[DRAWS];
    double worst = 0;
    check_ok();
    assert_int_equal(soma_numel(t), DRAWS);
    assert_int_equal(soma_to_array(t, x, DRAWS, SOMA_F64), SOMA_OK);
    qsort(x, DRAWS, sizeof *x, rising);
    for (int i = 0; i < DRAWS; i++) {
        const double p = cdf(x[i]);
        worst = fmax(worst, fmax(fabs(p - (double)i / DRAWS), fabs(p - (double)(i + 1) / DRAWS)));
    }
    return worst * sqrt(DRAWS);
}

static double normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2)); }
static double exponential_cdf(double x) { return -expm1(-2.5 * x); }
static double cauchy_cdf(double x) { return 0.5 + atan((x - 1) / 0.5) / 3.141592653589793; }
static double log_normal_cdf(double x) { return normal_cdf((log(x) - 0.5) / 0.7); }
static double laplace_cdf(double x) { return x < 1 ? 0.5 * exp((x - 1) / 0.5) : 1 - 0.5 * exp(-(x - 1) / 0.5); }
static double gumbel_cdf(double x) { return exp(-exp(-(x - 1) / 0.5)); }
static double between(double x, double a, double b) { return (normal_cdf(x) - normal_cdf(a)) / (normal_cdf(b) - normal_cdf(a)); }
static double wide_cdf(double x) { return between(x, -2, 2); }
static double narrow_cdf(double x) { return between(x, -0.3, 0.5); }
static double tail_cdf(double x) { return (erfc(3 / sqrt(2)) - erfc(x / sqrt(2))) / erfc(3 / sqrt(2)); }
static double lower_cdf(double x) { return erfc(-x / sqrt(2)) / erfc(1 / sqrt(2)); } /* below -1 */
static double slice_cdf(double x) { return between(x, 1, 1.5); }
static double gamma_half_cdf(double x) { return erf(sqrt(x)); }
static double gamma_three_cdf(double x) { return 1 - exp(-x) * (1 + x + x * x / 2); }
static double beta_two_three_cdf(double x) { return x * x * (6 - 8 * x + 3 * x * x); }
static double arcsine_cdf(double x) { return 2 / 3.141592653589793 * asin(sqrt(x)); }

static void continuous_draws(void **state) {
    (void)state;
    soma_seed(31);
    soma_tensor *x = soma_empty(SOMA_SHAPE(DRAWS), SOMA_F64), *half = soma_full(SOMA_SHAPE(DRAWS), 0.5, SOMA_F64), *two = soma_full(SOMA_SHAPE(DRAWS), 2, SOMA_F64),
                *three = soma_full(SOMA_SHAPE(DRAWS), 3, SOMA_F64);
    assert_true(distance(soma_exponential_(x, 2.5), exponential_cdf) < 1.95);
    assert_true(distance(soma_cauchy_(x, 1, 0.5), cauchy_cdf) < 1.95);
    assert_true(distance(soma_log_normal_(x, 0.5, 0.7), log_normal_cdf) < 1.95);
    assert_true(distance(soma_laplace_(x, 1, 0.5), laplace_cdf) < 1.95);
    assert_true(distance(soma_gumbel_(x, 1, 0.5), gumbel_cdf) < 1.95);
    assert_true(distance(soma_trunc_normal_(x, 0, 1, -2, 2), wide_cdf) < 1.95);
    assert_true(distance(soma_trunc_normal_(x, 0, 1, -0.3, 0.5), narrow_cdf) < 1.95);
    assert_true(distance(soma_trunc_normal_(x, 0, 1, 3, INFINITY), tail_cdf) < 1.95);
    assert_true(distance(soma_trunc_normal_(x, 0, 1, -INFINITY, -1), lower_cdf) < 1.95);
    assert_true(distance(soma_trunc_normal_(x, 0, 1, 1, 1.5), slice_cdf) < 1.95);
    assert_true(distance(soma_gamma(half), gamma_half_cdf) < 1.95);
    assert_true(distance(soma_gamma(three), gamma_three_cdf) < 1.95);
    assert_true(distance(soma_beta(two, three), beta_two_three_cdf) < 1.95);
    assert_true(distance(soma_beta(half, half), arcsine_cdf) < 1.95);
    assert_true(distance(soma_normal(soma_full(SOMA_SHAPE(DRAWS), 0, SOMA_F64), soma_ones(SOMA_SHAPE(DRAWS), SOMA_F64)), normal_cdf) < 1.95);
}

/* Chi square over values 0 … bins - 2 and the rest: below `bins` + 4 sqrt(2 bins) for all but about one sample in 10^4. */
static void check_counts(soma_tensor *t, int bins, double (*chance)(int)) {
    static double x[DRAWS];
    double seen[128] = {0}, sum = 0, left = 1;
    check_ok();
    assert_int_equal(soma_to_array(t, x, DRAWS, SOMA_F64), SOMA_OK);
    for (int i = 0; i < DRAWS; i++) {
        assert_true(x[i] >= 0 && x[i] == floor(x[i]));
        seen[x[i] < bins ? (int)x[i] : bins - 1]++;
    }
    double pool_seen = 0, pool_expected = 0; /* places of fewer than ten expected draws count together */
    for (int k = 0; k < bins; k++) {
        const double p = k == bins - 1 ? left : chance(k), expected = DRAWS * p;
        left -= p;
        if (expected < 10) {
            pool_seen += seen[k];
            pool_expected += expected;
        } else {
            sum += (seen[k] - expected) * (seen[k] - expected) / expected;
        }
    }
    if (pool_expected > 1)
        sum += (pool_seen - pool_expected) * (pool_seen - pool_expected) / pool_expected;
    if (sum >= bins + 4 * sqrt(2.0 * bins))
        fail_msg("chi square is %g for %d places", sum, bins);
}

static double poisson_chance(double rate, int k) { return exp(k * log(rate) - rate - lgamma(k + 1)); }
static double poisson_small(int k) { return poisson_chance(3, k); }
static double poisson_large(int k) { return poisson_chance(40, k); }
static double binomial_chance(double n, double p, int k) {
    return k > n ? 0 : exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p));
}
static double binomial_small(int k) { return binomial_chance(10, 0.3, k); }
static double binomial_large(int k) { return binomial_chance(100, 0.6, k); }
static double geometric_chance(int k) { return k == 0 ? 0 : 0.3 * pow(0.7, k - 1); }
static double weights_chance(int k) { return k < 3 ? (const double[]){0.1, 0, 0.9}[k] : 0; }

static void counting_draws(void **state) {
    (void)state;
    soma_seed(32);
    soma_tensor *x = soma_empty(SOMA_SHAPE(DRAWS), SOMA_F64);
    check_counts(soma_poisson(soma_full(SOMA_SHAPE(DRAWS), 3, SOMA_F64)), 16, poisson_small);
    check_counts(soma_poisson(soma_full(SOMA_SHAPE(DRAWS), 40, SOMA_F64)), 90, poisson_large);
    check_counts(soma_binomial(soma_full(SOMA_SHAPE(DRAWS), 10, SOMA_F64), soma_full(SOMA_SHAPE(1), 0.3, SOMA_F64)), 12, binomial_small);
    check_counts(soma_binomial(soma_full(SOMA_SHAPE(DRAWS), 100, SOMA_F64), soma_full(SOMA_SHAPE(1), 0.6, SOMA_F64)), 102, binomial_large);
    check_counts(soma_geometric_(x, 0.3), 40, geometric_chance);
    const double weights[] = {1, 0, 9};
    check_counts(soma_multinomial(soma_from_array(weights, SOMA_SHAPE(3), SOMA_F64), DRAWS, true), 4, weights_chance);
    /* Shares of n = 20000 with p = 0.3 and of whole numbers below 5: five standard errors are 0.017. */
    assert_true(fabs(soma_item(soma_mean(soma_bernoulli_(x, 0.3), SOMA_ALL, false)) - 0.3) < 0.017);
    assert_true(fabs(soma_item(soma_mean(soma_bernoulli_tensor(soma_full(SOMA_SHAPE(DRAWS), 0.3, SOMA_F64)), SOMA_ALL, false)) - 0.3) < 0.017);
    assert_true(fabs(soma_item(soma_mean(soma_random_(x, 0, 5), SOMA_ALL, false)) - 2) < 0.05); /* standard error 0.01 */
}

/* Without replacement: no index twice, those of weight 0 never, and the first by its weight. */
static void multinomial_without(void **state) {
    (void)state;
    enum { ROWS = 5000 };
    soma_seed(33);
    const double weights[] = {1, 0, 2, 5};
    soma_tensor *w = soma_expand(soma_from_array(weights, SOMA_SHAPE(1, 4), SOMA_F64), 2, (const int64_t[]){ROWS, 4}), *t = soma_multinomial(w, 3, false);
    check_ok();
    const int64_t *p = soma_data(t);
    double first[4] = {0};
    for (int r = 0; r < ROWS; r++, p += 3) {
        assert_true(p[0] != p[1] && p[1] != p[2] && p[0] != p[2]);
        assert_true(p[0] != 1 && p[1] != 1 && p[2] != 1);
        first[p[0]]++;
    }
    for (int i = 0; i < 4; i++) /* five standard errors of a share of 5000 are at most 0.036 */
        assert_true(fabs(first[i] / ROWS - weights[i] / 8) < 0.036);
}

/* Dirichlet: rows sum to one, the mean of element i is its share of the concentrations; tiny concentrations give corners, not NaN. */
static void dirichlet_draws(void **state) {
    (void)state;
    soma_seed(34);
    const double alpha[] = {0.5, 1, 2.5}, tiny[] = {1e-4, 1e-4, 1e-4};
    const int64_t shape[] = {DRAWS, 3};
    soma_tensor *t = soma_dirichlet(soma_expand(soma_from_array(alpha, SOMA_SHAPE(1, 3), SOMA_F64), 2, shape)), *mean = soma_mean(t, SOMA_DIMS(0), false);
    check_ok();
    for (int64_t i = 0; i < 3; i++) /* standard errors are below 0.0018 */
        assert_true(fabs(soma_at(mean, 1, &i) - alpha[i] / 4) < 0.009);
    soma_tensor *corner = soma_sum(soma_dirichlet(soma_expand(soma_from_array(tiny, SOMA_SHAPE(1, 3), SOMA_F64), 2, shape)), SOMA_DIMS(1), false);
    assert_true(fabs(soma_item(soma_amin(corner, SOMA_ALL, false)) - 1) < 1e-12 && fabs(soma_item(soma_amax(corner, SOMA_ALL, false)) - 1) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(continuous_draws), cmocka_unit_test(counting_draws), cmocka_unit_test(multinomial_without), cmocka_unit_test(dirichlet_draws),
        cmocka_unit_test(philox_vectors),
        cmocka_unit_test(recipe_uniform),
        cmocka_unit_test(recipe_normal),
        cmocka_unit_test(recipe_integers),
        cmocka_unit_test(moments),
        cmocka_unit_test(bounds),
        cmocka_unit_test(strides_do_not_matter),
        cmocka_unit_test(threads_and_instruction_sets),
        cmocka_unit_test(known_values),
        cmocka_unit_test(leaves_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
