/* All optimisers on a valley and a least-squares problem, with soma's own autograd, against the paths of PyTorch (or of the published
 * rule) in tests/golden/optim.txt.gz; interrupted and resumed; by name; options by group. */
#include "golden_optim.h"
#include "nn_help.h"

#include "optim/optim.h"

#include <math.h>

/* ---- The problem of tools/golden_optim.py: (1 - x)^2 + 5 (y - x^2)^2 + mean((X W - Y)^2) ---- */

enum { N = 8 };
typedef struct problem {
    soma_tensor *p[2];
} problem;

static problem problem_new(soma_dtype dtype) {
    double a[2] = {-1.2, 1.0}, w[6];
    for (int i = 0; i < 6; i++)
        w[i] = 0.1 * (i / 2 + 1) - 0.05 * (i % 2);
    soma_tensor *first = soma_to(soma_from_array(a, SOMA_SHAPE(2), SOMA_F64), dtype);
    soma_tensor *second = soma_to(soma_from_array(w, SOMA_SHAPE(3, 2), SOMA_F64), dtype);
    return (problem){{soma_requires_grad_(soma_clone(first), true), soma_requires_grad_(soma_clone(second), true)}};
}

static double evaluate(void *user) {
    problem *q = user;
    double x[12], y[8];
    for (int i = 0; i < 12; i++)
        x[i] = sin(1.7 * i);
    for (int i = 0; i < 8; i++)
        y[i] = cos(0.9 * i);
    soma_scope scope = soma_scope_begin();
    soma_dtype dtype = soma_dtype_of(q->p[0]);
    soma_tensor *at = soma_select(q->p[0], 0, 0), *up = soma_select(q->p[0], 0, 1);
    soma_tensor *valley = soma_add(soma_square(soma_add_scalar(soma_neg(at), 1)), soma_mul_scalar(soma_square(soma_sub(up, soma_square(at))), 5));
    soma_tensor *fit = soma_sub(soma_matmul(soma_to(soma_from_array(x, SOMA_SHAPE(4, 3), SOMA_F64), dtype), q->p[1]),
                                soma_to(soma_from_array(y, SOMA_SHAPE(4, 2), SOMA_F64), dtype));
    soma_tensor *loss = soma_add(valley, soma_mean(soma_square(fit), 0, NULL, false));
    double value = soma_item(loss);
    soma_backward(loss);
    soma_scope_end(scope);
    return value;
}

static void values(const problem *q, double out[N]) {
    soma_to_array(q->p[0], out, 2, SOMA_F64);
    soma_to_array(q->p[1], out + 2, 6, SOMA_F64);
}

/* ---- The optimisers of the file ---- */

static soma_optim *make(const char *name) {
#define IS(text) if (strcmp(name, text) == 0) return
    IS("sgd") soma_sgd(NULL, .lr = 0.002);
    IS("sgd_nesterov") soma_sgd(NULL, .lr = 0.002, .momentum = 0.9, .nesterov = true, .weight_decay = 0.01);
    IS("sgd_maximize") soma_sgd(NULL, .lr = 1e-4, .maximize = true);
    IS("adam") soma_adam(NULL, .lr = 0.02);
    IS("adam_amsgrad") soma_adam(NULL, .lr = 0.02, .amsgrad = true, .weight_decay = 0.02);
    IS("adamw_amsgrad") soma_adamw(NULL, .lr = 0.02, .amsgrad = true, .weight_decay = 0.1);
    IS("adagrad") soma_adagrad(NULL, .lr = 0);
    IS("adagrad_options") soma_adagrad(NULL, .lr = 0.2, .lr_decay = 0.01, .weight_decay = 0.03, .initial_accumulator_value = 0.1, .eps = 1e-6);
    IS("adadelta") soma_adadelta(NULL, .lr = 0);
    IS("adadelta_options") soma_adadelta(NULL, .lr = 0.3, .rho = 0.8, .eps = 1e-4, .weight_decay = 0.02);
    IS("rmsprop") soma_rmsprop(NULL, .lr = 0);
    IS("rmsprop_momentum") soma_rmsprop(NULL, .lr = 0.002, .momentum = 0.8, .alpha = 0.95, .weight_decay = 0.02);
    IS("rmsprop_centered") soma_rmsprop(NULL, .lr = 0.005, .centered = true, .eps = 1e-3);
    IS("rmsprop_both") soma_rmsprop(NULL, .lr = 0.001, .centered = true, .momentum = 0.9, .eps = 1e-2);
    IS("adamax") soma_adamax(NULL, .lr = 0);
    IS("adamax_options") soma_adamax(NULL, .lr = 0.03, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-4, .weight_decay = 0.05);
    IS("nadam") soma_nadam(NULL, .lr = 0);
    IS("nadam_options") soma_nadam(NULL, .lr = 0.02, .beta1 = 0.85, .beta2 = 0.98, .weight_decay = 0.05, .momentum_decay = 0.01);
    IS("nadam_decoupled") soma_nadam(NULL, .lr = 0.02, .weight_decay = 0.1, .decoupled_weight_decay = true);
    IS("radam") soma_radam(NULL, .lr = 0);
    IS("radam_options") soma_radam(NULL, .lr = 0.03, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.05);
    IS("lion") soma_lion(NULL, .lr = 0);
    IS("lion_options") soma_lion(NULL, .lr = 0.003, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.1);
    IS("lars") soma_lars(NULL, .lr = 0);
    IS("lars_options") soma_lars(NULL, .lr = 0.3, .momentum = 0.8, .weight_decay = 0.05, .trust_coefficient = 0.02, .eps = 1e-3);
    IS("lamb") soma_lamb(NULL, .lr = 0);
    IS("lamb_options") soma_lamb(NULL, .lr = 0.02, .beta1 = 0.8, .beta2 = 0.98, .eps = 1e-4, .weight_decay = -1);
    IS("rprop") soma_rprop(NULL, .lr = 0);
    IS("rprop_options") soma_rprop(NULL, .lr = 0.05, .etaminus = 0.4, .etaplus = 1.1, .step_size_min = 1e-4, .step_size_max = 0.1);
    IS("asgd") soma_asgd(NULL, .lr = 0.002);
    IS("asgd_options") soma_asgd(NULL, .lr = 0.004, .lambd = 0.01, .alpha = 0.5, .t0 = 50, .weight_decay = 0.02);
    IS("lbfgs") soma_lbfgs(NULL, .lr = 0.1, .max_iter = 4);
    IS("lbfgs_wolfe") soma_lbfgs(NULL, .max_iter = 2, .strong_wolfe = true);
    IS("lbfgs_short") soma_lbfgs(NULL, .max_iter = 3, .history_size = 3, .strong_wolfe = true);
    fail_msg("unknown optimiser %s", name);
    return NULL;
}

static const char *const all[] = {
    "sgd", "sgd_nesterov", "sgd_maximize", "adam", "adam_amsgrad", "adamw_amsgrad", "adagrad", "adagrad_options", "adadelta", "adadelta_options",
    "rmsprop", "rmsprop_momentum", "rmsprop_centered", "rmsprop_both", "adamax", "adamax_options", "nadam", "nadam_options", "nadam_decoupled",
    "radam", "radam_options", "lion", "lion_options", "lars", "lars_options", "lamb", "lamb_options", "rprop", "rprop_options", "asgd",
    "asgd_options", "lbfgs", "lbfgs_wolfe", "lbfgs_short"};

/* ---- Paths ---- */

/* The same formulas in another order of operations; on these problems the paths do not part: 1e-9 of the values, L-BFGS 1e-7, whose
 * line searches divide small differences. */
static void follow(const char *name) {
    soma_scope scope = soma_scope_begin();
    problem q = problem_new(SOMA_F64);
    soma_optim *opt = make(name);
    check_ok();
    soma_optim_add_group(opt, q.p, 2, -1, -1);
    char line[600], who[64];
    int t = 0, at, found = 0;
    double want[N], got[N], tolerance = strncmp(name, "lbfgs", 5) == 0 ? 1e-7 : 1e-9;
    gzFile f = golden_open();
    while (gzgets(f, line, sizeof line)) {
        if (sscanf(line, "path %63s %d %lf %lf %lf %lf %lf %lf %lf %lf", who, &at, &want[0], &want[1], &want[2], &want[3], &want[4], &want[5],
                   &want[6], &want[7]) != 10 ||
            strcmp(who, name) != 0)
            continue;
        for (; t < at; t++)
            assert_int_equal(soma_optim_step_closure(opt, evaluate, &q, NULL), SOMA_OK);
        values(&q, got);
        for (int i = 0; i < N; i++)
            if (!(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
                fail_msg("%s step %d parameter %d: %.17g, expected %.17g", name, t, i, got[i], want[i]);
        found++;
    }
    gzclose(f);
    check_ok();
    assert_int_equal(found, 10);
    soma_optim_free(opt);
    soma_scope_end(scope);
}

static void test_paths(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(all); i++)
        follow(all[i]);
}

/* Interrupted after 11 steps, state carried over by name, also through f32: the same bits. */
static void test_resume(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * SOMA_LEN(all); i++) {
        double got[2][N];
        soma_scope scope = soma_scope_begin();
        for (int split = 0; split < 2; split++) {
            problem q = problem_new(i % 2 ? SOMA_F32 : SOMA_F64);
            soma_optim *opt = make(all[i / 2]);
            soma_optim_add_group(opt, q.p, 2, -1, -1);
            for (int t = 0; t < 25; t++) {
                if (split && t == 11) {
                    soma_optim *other = make(all[i / 2]);
                    soma_optim_add_group(other, q.p, 2, -1, -1);
                    soma_named named[32];
                    int n = soma_optim_named(opt, named, 32);
                    assert_true(n >= 5 && n <= 32);
                    assert_int_equal(soma_optim_named(opt, NULL, 0), n);
                    for (int only = 1; only >= 0; only--)
                        for (int k = 0; k < n; k++)
                            if (soma__optim_load(other, named[k].name, named[k].tensor, only) != SOMA_OK)
                                fail_msg("%s: %s: %s", all[i / 2], named[k].name, soma_error_message());
                    soma_optim_free(opt);
                    opt = other;
                    assert_int_equal(soma_optim_steps(opt), 11);
                }
                soma_optim_step_closure(opt, evaluate, &q, NULL);
            }
            check_ok();
            values(&q, got[split]);
            soma_optim_free(opt);
        }
        if (memcmp(got[0], got[1], sizeof got[0]) != 0)
            fail_msg("%s goes another way after a restart", all[i / 2]);
        soma_scope_end(scope);
    }
}

/* PyTorch's keys. */
static void test_keys(void **state) {
    (void)state;
    static const struct {
        const char *name, *keys[4];
    } kinds[] = {{"sgd_nesterov", {"momentum_buffer"}}, {"adam_amsgrad", {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}}, {"adagrad", {"sum"}},
                 {"adadelta", {"square_avg", "acc_delta"}}, {"rmsprop_both", {"square_avg", "grad_avg", "momentum_buffer"}},
                 {"rmsprop", {"square_avg"}}, {"adamax", {"exp_avg", "exp_inf"}}, {"nadam", {"exp_avg", "exp_avg_sq", "mu_product"}},
                 {"radam", {"exp_avg", "exp_avg_sq"}}, {"rprop", {"prev", "step_size"}}, {"asgd", {"ax"}}, {"lion", {"exp_avg"}}};
    for (size_t i = 0; i < SOMA_LEN(kinds); i++) {
        soma_scope scope = soma_scope_begin();
        problem q = problem_new(SOMA_F64);
        soma_optim *opt = make(kinds[i].name);
        soma_optim_add_group(opt, q.p, 1, -1, -1);
        soma_optim_step_closure(opt, evaluate, &q, NULL);
        soma_named named[16];
        int n = soma_optim_named(opt, named, 16), keys = 0;
        for (; keys < 4 && kinds[i].keys[keys]; keys++)
            assert_string_equal(named[4 + keys].name + 2, kinds[i].keys[keys]);
        assert_int_equal(n, 4 + keys);
        check_ok();
        soma_optim_free(opt);
        soma_scope_end(scope);
    }
}

/* The mean that ASGD keeps. */
static void test_asgd_mean(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    problem q = problem_new(SOMA_F64);
    soma_optim *opt = soma_asgd(NULL, .lr = 0.004, .t0 = 5);
    soma_optim_add_group(opt, q.p, 2, -1, -1);
    double sum = 0, count = 0, now[N];
    for (int t = 1; t <= 40; t++) {
        soma_optim_step_closure(opt, evaluate, &q, NULL);
        values(&q, now);
        if (t > 6) { /* mu is 1 up to step t0 + 2 */
            sum += now[0];
            count++;
        }
    }
    soma_named named[16];
    int n = soma_optim_named(opt, named, 16);
    for (int i = 0; i < n; i++)
        if (strcmp(named[i].name, "0.ax") == 0)
            assert_true(fabs(soma_at(named[i].tensor, 1, (int64_t[]){0}) - sum / count) < 1e-12);
    soma_optim_free(opt);
    soma_scope_end(scope);
}

/* ---- By name ---- */

static void test_by_name(void **state) {
    (void)state;
    assert_true(soma_optim_kind_count() >= 15);
    for (int i = 0; i < soma_optim_kind_count(); i++) {
        const soma_optim_info *info = soma_optim_kind_get(i);
        assert_true(info->doc[0] && info->source[0] && info->n_options >= 3 && soma_optim_find(info->name) == info);
        assert_string_equal(info->options[0].name, "lr");
        assert_true(!info->op || soma_op_find(info->op));
        soma_scope scope = soma_scope_begin();
        problem q = problem_new(SOMA_F32), r = problem_new(SOMA_F32);
        /* The defaults said aloud are the defaults. */
        soma_attr options[16];
        for (int k = 0; k < info->n_options; k++) {
            assert_true(info->options[k].help && !isnan(info->options[k].def));
            options[k] = SOMA_FLOAT(info->options[k].name, info->options[k].def);
        }
        soma_optim *a = soma_optim_by_name(info->name, NULL), *b = soma_optim_by_name_ex(info->name, NULL, options, info->n_options);
        check_ok();
        assert_string_equal(soma_optim_name(a), info->name);
        soma_optim_add_group(a, q.p, 2, -1, -1);
        soma_optim_add_group(b, r.p, 2, -1, -1);
        double first = 0, x[N], y[N];
        for (int t = 0; t < 3; t++) {
            soma_optim_step_closure(a, evaluate, &q, t == 0 ? &first : NULL);
            soma_optim_step_closure(b, evaluate, &r, NULL);
        }
        assert_true(evaluate(&q) < first);
        values(&q, x);
        values(&r, y);
        assert_memory_equal(x, y, sizeof x);
        check_ok();
        soma_optim_free(a);
        soma_optim_free(b);
        soma_scope_end(scope);
    }
    soma_optim *opt = soma_optim_by_name("rmsprop", NULL, SOMA_FLOAT("lr", 0.5), SOMA_INT("momentum", 0), SOMA_BOOLEAN("centered", true));
    assert_non_null(opt);
    soma_optim_free(opt);
    assert_null(soma_optim_by_name("rmsprob", NULL));
    check_error(SOMA_ENOTFOUND, "unknown optimiser 'rmsprob'; did you mean 'rmsprop'?");
    assert_null(soma_optim_by_name("adam", NULL, SOMA_FLOAT("beta", 0.5)));
    check_error(SOMA_ENOTFOUND, "adam has no option 'beta'; did you mean 'beta1'?");
    assert_null(soma_optim_by_name("rprop", NULL, SOMA_FLOAT("etaplus", 0.5)));
    check_error(SOMA_EINVAL, "rprop: etaplus must be from 1");
    assert_null(soma_rprop(NULL, .step_size_min = 3, .step_size_max = 2));
    check_error(SOMA_EINVAL, "step_size_min is 3 and step_size_max 2");
    assert_null(soma_adadelta(NULL, .rho = NAN));
    check_error(SOMA_EINVAL, "adadelta: rho");
}

/* ---- Options of groups ---- */

static void test_group_options(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    problem q = problem_new(SOMA_F64), r = problem_new(SOMA_F64);
    soma_optim *two = soma_sgd(NULL, .lr = 0.002, .momentum = 0.5), *one = soma_sgd(NULL, .lr = 0.002);
    soma_optim_add_group(two, q.p, 1, -1, -1);
    soma_optim_add_group(two, q.p + 1, 1, -1, -1);
    soma_optim_add_group(one, r.p, 2, -1, -1);
    assert_true(soma_optim_get(two, 1, "momentum") == 0.5 && soma_optim_get(two, 1, "lr") == 0.002);
    assert_int_equal(soma_optim_set(two, 1, "momentum", 0), SOMA_OK);
    double x[N], y[N];
    for (int t = 0; t < 5; t++) {
        soma_optim_step_closure(two, evaluate, &q, NULL);
        soma_optim_step_closure(one, evaluate, &r, NULL);
    }
    values(&q, x);
    values(&r, y);
    assert_true(x[0] != y[0]);
    assert_memory_equal(x + 2, y + 2, 6 * sizeof *x); /* without momentum, as in the other */
    check_ok();
    assert_int_equal(soma_optim_set(two, 0, "beta1", 0.5), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "sgd: a group has no option 'beta1'");
    assert_int_equal(soma_optim_set(two, 0, "momentum", -1), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "momentum must be from 0");
    assert_true(isnan(soma_optim_get(two, 5, "momentum")));
    check_error(SOMA_EINVAL, "no parameter group 5");
    soma_optim *plain = soma_rprop(NULL, .lr = 0);
    assert_int_equal(soma_optim_add_group(plain, r.p, 1, -1, 0.5), -1);
    check_error(SOMA_EINVAL, "rprop: has no weight_decay");
    soma_optim_free(plain);
    soma_optim_free(one);
    soma_optim_free(two);
    soma_scope_end(scope);
}

/* ---- L-BFGS ---- */

static double failing(void *user) {
    int *calls = user;
    if (++*calls >= 3)
        soma_fail(SOMA_ESTATE, "no more");
    return 1;
}

static void test_lbfgs(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    problem q = problem_new(SOMA_F64);
    soma_optim *opt = soma_lbfgs(NULL, .strong_wolfe = true);
    assert_int_equal(soma_optim_step_closure(opt, evaluate, &q, NULL), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "no parameters yet");
    soma_optim_add_group(opt, q.p, 2, -1, -1);
    assert_int_equal(soma_optim_step(opt), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "use soma_optim_step_closure");
    soma_tensor *more = soma_requires_grad_(soma_ones(SOMA_SHAPE(2), SOMA_F64), true);
    assert_int_equal(soma_optim_add_group(opt, &more, 1, -1, -1), -1);
    check_error(SOMA_EUNSUPPORTED, "one group of parameters only");
    double loss = 0, x[N];
    for (int t = 0; t < 3; t++)
        soma_optim_step_closure(opt, evaluate, &q, &loss);
    values(&q, x);
    assert_true(fabs(x[0] - 1) < 1e-4 && fabs(x[1] - 1) < 1e-4); /* 60 iterations: at the bottom of the valley */
    assert_null(soma_grad(q.p[0]));
    check_ok();
    soma_tensor *wrong = soma_zeros(SOMA_SHAPE(2, 5), SOMA_F64);
    assert_int_equal(soma_optim_load(opt, "0.old_dirs", wrong), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "lbfgs: the state '0.old_dirs' is [2, 5] f64, and the parameters are 8 numbers");
    assert_int_equal(soma_optim_load(opt, "0.numbers", wrong), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "0.numbers");
    /* A closure that fails ends the step with its error. */
    int calls = 0;
    soma_optim_free(opt);
    opt = soma_lbfgs(NULL, .lr = 0.1);
    soma_optim_add_group(opt, q.p, 2, -1, -1);
    calls = 2;
    assert_int_equal(soma_optim_step_closure(opt, failing, &calls, NULL), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "no more");
    soma_optim_free(opt);
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_paths),         TEST(test_resume), TEST(test_keys),  TEST(test_asgd_mean), TEST(test_by_name),
        TEST(test_group_options), TEST(test_lbfgs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
