/* Schedules against PyTorch's rates over 200 steps (tests/golden/optim.txt.gz, made by tools/golden_optim.py), mistakes, by name, the state of
 * the plateau. */
#include "golden_optim.h"
#include "nn_help.h"

#include "optim/optim.h"

#include <math.h>

static double hyperbola(void *user, int64_t t) { return 1 / (1 + *(double *)user * (double)t); }

/* Those that the older part of the file has no room for; `rate` is kept by the caller. */
static soma_sched *longer(const char *name, double *rate) {
    if (strcmp(name, "linear") == 0)
        return soma_sched_linear(0.25, 0.75, 30);
    if (strcmp(name, "hold") == 0)
        return soma_sched_hold(0.2, 17);
    if (strcmp(name, "step200") == 0)
        return soma_sched_step(30, 0.7);
    if (strcmp(name, "multi_step") == 0)
        return soma_sched_multi_step(4, (int64_t[]){10, 50, 51, 120}, 0.3);
    if (strcmp(name, "exponential") == 0)
        return soma_sched_exponential(0.97);
    if (strcmp(name, "polynomial") == 0)
        return soma_sched_polynomial(150, 2.5);
    if (strcmp(name, "cosine200") == 0)
        return soma_sched_cosine(200, 0.05);
    if (strcmp(name, "restarts") == 0)
        return soma_sched_cosine_restarts(20, 2, 0.01);
    if (strcmp(name, "restarts1") == 0)
        return soma_sched_cosine_restarts(33, 0, 0);
    if (strcmp(name, "one_cycle3") == 0)
        return soma_sched_one_cycle_phases(200, 0.2, 0, 0, true, false);
    if (strcmp(name, "one_cycle_linear") == 0)
        return soma_sched_one_cycle_phases(200, 0, 0, 0, false, true);
    if (strcmp(name, "one_cycle3_linear") == 0)
        return soma_sched_one_cycle_phases(150, 0.45, 0, 0, true, true);
    if (strcmp(name, "cyclic_triangular") == 0)
        return soma_sched_cyclic(0.1, 15, 22, SOMA_CYCLE_TRIANGULAR, 1);
    if (strcmp(name, "cyclic_triangular2") == 0)
        return soma_sched_cyclic(0.1, 15, 22, SOMA_CYCLE_TRIANGULAR2, 1);
    if (strcmp(name, "cyclic_exp_range") == 0)
        return soma_sched_cyclic(0.1, 15, 22, SOMA_CYCLE_EXP_RANGE, 0.995);
    if (strcmp(name, "inverse_sqrt") == 0)
        return soma_sched_inverse_sqrt(12);
    if (strcmp(name, "lambda") == 0)
        return soma_sched_lambda(hyperbola, rate);
    if (strcmp(name, "sequential") == 0)
        return soma_sched_sequential(3, (soma_sched *[]){soma_sched_hold(0.1, 20), soma_sched_exponential(0.98), soma_sched_step(25, 0.5)},
                                     (int64_t[]){20, 90});
    if (strcmp(name, "product") == 0)
        return soma_sched_product(2, (soma_sched *[]){soma_sched_linear(0.5, 1, 40), soma_sched_exponential(0.99)});
    return NULL;
}

static void test_longer(void **state) {
    (void)state;
    char line[400], who[64], current[64] = "";
    int t, found = 0;
    double want, rate = 0.05;
    soma_sched *s = NULL;
    gzFile f = golden_open();
    while (gzgets(f, line, sizeof line)) {
        if (sscanf(line, "sched %63s %d %lf", who, &t, &want) != 3)
            continue;
        if (strcmp(who, current) != 0) {
            soma_sched_free(s);
            s = longer(who, &rate);
            snprintf(current, sizeof current, "%s", who);
        }
        if (!s)
            continue;
        double got = soma_sched_factor(s, t);
        if (!(fabs(got - want) <= 1e-12 * fmax(1, fabs(want))))
            fail_msg("%s at %d: %.17g, PyTorch has %.17g", who, t, got, want);
        found++;
    }
    soma_sched_free(s);
    gzclose(f);
    check_ok();
    assert_int_equal(found, 18 * 200 + 150);
}

/* ---- The plateau ---- */

static double metric(int t) { return exp(-(t / 25) / 3.0) + 0.02 * sin(t * 1.7); }

static soma_sched *plateau(const char *name) {
    if (strcmp(name, "plain") == 0)
        return soma_sched_plateau(.factor = 0);
    if (strcmp(name, "patient") == 0)
        return soma_sched_plateau(.factor = 0.5, .patience = 3, .threshold = 0.05, .cooldown = 4);
    if (strcmp(name, "abs") == 0)
        return soma_sched_plateau(.factor = 0.3, .patience = 5, .threshold = 0.01, .threshold_abs = true, .min_ratio = 0.02);
    if (strcmp(name, "max") == 0)
        return soma_sched_plateau(.max = true, .factor = 0.8, .patience = -1, .threshold = 0.1, .eps = 1e-3);
    if (strcmp(name, "max_abs") == 0)
        return soma_sched_plateau(.max = true, .factor = 0.7, .patience = 8, .threshold = 0.1, .threshold_abs = true);
    fail_msg("unknown plateau %s", name);
    return NULL;
}

/* Half of the way with one, the rest with another that got its state. */
static void test_plateau(void **state) {
    (void)state;
    char line[400], who[64], current[64] = "";
    int t, found = 0, falls = 0;
    double want, before = 1, numbers[8];
    soma_sched *s = NULL;
    gzFile f = golden_open();
    while (gzgets(f, line, sizeof line)) {
        if (sscanf(line, "plateau %63s %d %lf", who, &t, &want) != 3)
            continue;
        if (strcmp(who, current) != 0) {
            soma_sched_free(s);
            s = plateau(who);
            snprintf(current, sizeof current, "%s", who);
            before = 1;
        }
        if (t == 77) {
            assert_int_equal(soma_sched_state(s, numbers, 8), 4);
            soma_sched_free(s);
            s = plateau(who);
            assert_int_equal(soma_sched_set_state(s, numbers, 4), SOMA_OK);
        }
        soma_sched_metric(s, metric(t));
        double got = soma_sched_factor(s, 5 * t);
        if (!(fabs(got - want) <= 1e-12))
            fail_msg("plateau %s at %d: %.17g, PyTorch has %.17g", who, t, got, want);
        falls += got < before;
        before = got;
        found++;
    }
    gzclose(f);
    assert_int_equal(found, 5 * 200);
    assert_true(falls > 20);
    assert_int_equal(soma_sched_set_state(s, numbers, 3), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "is 4 numbers, not 3");
    numbers[1] = 7;
    assert_int_equal(soma_sched_set_state(s, numbers, 4), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "impossible");
    soma_sched_free(s);
    /* Inside others: each gets the metric, and the state is all of theirs. */
    s = soma_sched_warmup(2, soma_sched_product(2, (soma_sched *[]){plateau("max"), plateau("plain")}));
    assert_int_equal(soma_sched_state(s, NULL, 0), 8);
    for (int i = 0; i < 30; i++)
        soma_sched_metric(s, 1);
    assert_true(soma_sched_factor(s, 0) == 0.5 && soma_sched_factor(s, 5) < 0.1 * pow(0.8, 20));
    soma_sched_free(s);
    assert_null(soma_sched_plateau(.factor = 1));
    check_error(SOMA_EINVAL, "factor must be above 0 and below 1, not 1");
    assert_int_equal(soma_sched_state(NULL, NULL, 0), 0);
}

static void test_schedules(void **state) {
    (void)state;
    soma_sched *by_name[] = {
        soma_sched_step(3, 0.5), soma_sched_cosine(20, 0), soma_sched_cosine(10, 0.1), soma_sched_one_cycle(30, 0, 0, 0),
        soma_sched_one_cycle(17, 0.45, 10, 100), soma_sched_warmup(5, soma_sched_cosine(10, 0)),
    };
    static const char *const names[] = {"step", "cosine", "cosine_min", "one_cycle", "one_cycle_options", "warmup_cosine"};
    gzFile f = golden_open();
    char line[400], who[64];
    int t, found = 0;
    double want;
    while (gzgets(f, line, sizeof line)) {
        if (sscanf(line, "sched %63s %d %lf", who, &t, &want) != 3)
            continue;
        for (size_t i = 0; i < SOMA_LEN(names); i++) {
            if (strcmp(names[i], who) != 0)
                continue;
            double got = soma_sched_factor(by_name[i], t);
            if (!(fabs(got - want) <= 1e-12))
                fail_msg("%s at %d: %.17g, PyTorch has %.17g", who, t, got, want);
            found++;
        }
    }
    gzclose(f);
    assert_int_equal(found, 12 + 21 + 11 + 30 + 17 + 15);
    /* Beyond the end the last value stays. */
    assert_true(fabs(soma_sched_factor(by_name[2], 1000) - 0.1) < 1e-15);
    assert_true(soma_sched_factor(by_name[3], 29) == soma_sched_factor(by_name[3], 5000));
    for (size_t i = 0; i < SOMA_LEN(names); i++)
        soma_sched_free(by_name[i]);
    soma_sched *flat = soma_sched_constant(), *warm = soma_sched_warmup(4, NULL);
    assert_true(soma_sched_factor(flat, 7) == 1 && soma_sched_factor(warm, 1) == 0.5 && soma_sched_factor(warm, 9) == 1);
    soma_sched_free(flat);
    soma_sched_free(warm);
    soma_sched_free(NULL);
    assert_true(soma_sched_factor(NULL, 3) == 1);
}

static void test_schedule_errors(void **state) {
    (void)state;
    assert_null(soma_sched_step(0, 0.5));
    check_error(SOMA_EINVAL, "every must be at least 1, not 0");
    assert_null(soma_sched_cosine(-5, 0));
    check_error(SOMA_EINVAL, "total must be at least 1, not -5");
    assert_null(soma_sched_cosine(5, 2));
    check_error(SOMA_EINVAL, "min_ratio");
    assert_null(soma_sched_one_cycle(10, 1.5, 0, 0));
    check_error(SOMA_EINVAL, "pct_start");
    assert_null(soma_sched_warmup(3, soma_sched_step(0, 1))); /* the first error stays */
    check_error(SOMA_EINVAL, "every");
    assert_null(soma_sched_warmup(0, soma_sched_constant())); /* frees what it was given */
    check_error(SOMA_EINVAL, "steps must be at least 1");
}

static void test_more_errors(void **state) {
    (void)state;
    assert_null(soma_sched_multi_step(2, (int64_t[]){5, 4}, 0.5));
    check_error(SOMA_EINVAL, "the milestones must rise, and 4 comes after 5");
    assert_null(soma_sched_cyclic(0.1, 0, 3, SOMA_CYCLE_TRIANGULAR, 1));
    check_error(SOMA_EINVAL, "up must be at least 1, not 0");
    assert_null(soma_sched_lambda(NULL, NULL));
    check_error(SOMA_EINVAL, "the function is NULL");
    assert_null(soma_sched_product(2, (soma_sched *[]){soma_sched_constant(), NULL}));
    check_error(SOMA_EINVAL, "none that is NULL");
    assert_null(soma_sched_sequential(2, (soma_sched *[]){soma_sched_constant(), soma_sched_constant()}, (int64_t[]){0}));
    check_error(SOMA_EINVAL, "a milestone must be at least 1");
    assert_null(soma_sched_linear(0.5, NAN, 3));
    check_error(SOMA_EINVAL, "end must be at least 0, not nan");
}

/* Each name of the table gives a schedule with its defaults, and is what the C function makes. */
static void test_by_name(void **state) {
    (void)state;
    assert_true(soma_sched_kind_count() >= 13);
    for (int i = 0; i < soma_sched_kind_count(); i++) {
        const soma_sched_info *info = soma_sched_kind_get(i);
        soma_sched *s = soma_sched_by_name(info->name, 100, NULL, 0);
        check_ok();
        assert_non_null(s);
        assert_true(info->doc[0] && soma_sched_find(info->name) == info);
        for (int t = 0; t < 120; t++) {
            double factor = soma_sched_factor(s, t);
            assert_true(factor >= 0 && factor <= 1);
        }
        soma_sched_free(s);
    }
    assert_null(soma_sched_kind_get(-1));
    soma_attr options[] = {SOMA_INTS("milestones", 10, 20, 30), SOMA_FLOAT("gamma", 0.5)};
    soma_sched *s = soma_sched_by_name("multi_step", 100, options, 2);
    assert_true(soma_sched_factor(s, 9) == 1 && soma_sched_factor(s, 20) == 0.25 && soma_sched_factor(s, 99) == 0.125);
    soma_sched_free(s);
    soma_attr mode[] = {SOMA_STRING("mode", "triangular2"), SOMA_INT("step_size_up", 10)};
    s = soma_sched_by_name("cyclic", 100, mode, 2);
    assert_true(fabs(soma_sched_factor(s, 10) - 1) < 1e-15 && fabs(soma_sched_factor(s, 30) - 0.55) < 1e-15);
    soma_sched_free(s);
    assert_null(soma_sched_by_name("cosin", 100, NULL, 0));
    check_error(SOMA_ENOTFOUND, "unknown schedule 'cosin'; did you mean 'cosine'?");
    soma_attr wrong = SOMA_FLOAT("gama", 1);
    assert_null(soma_sched_by_name("step", 100, &wrong, 1));
    check_error(SOMA_ENOTFOUND, "has no option 'gama'; did you mean 'gamma'?");
    mode[0].value.s = "square";
    assert_null(soma_sched_by_name("cyclic", 100, mode, 2));
    check_error(SOMA_EINVAL, "not 'square'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_schedules), TEST(test_longer), TEST(test_plateau), TEST(test_schedule_errors), TEST(test_more_errors), TEST(test_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
