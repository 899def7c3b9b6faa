/* Optimisers against PyTorch's numbers (tests/golden/optim.txt.gz, made by tools/golden_optim.py), groups, schedules, clipping, state,
 * threads, memory running out. */
#include "golden_optim.h"
#include "nn_help.h"

#include "kernels/cpu/isa.h"
#include "optim/optim.h"

#include <math.h>
#include <stdio.h>

enum { N = 6 };
static const double start[N] = {1.0, -0.5, 0.25, 2.0, -1.5, 0.75};

/* ---- Helpers ---- */

static soma_tensor *leaf(const void *data, int ndim, const int64_t *shape, soma_dtype dtype) {
    soma_tensor *t = soma_requires_grad_(soma_from_array(data, ndim, shape, dtype), true);
    assert_non_null(t);
    return t;
}

static void set_gradient(soma_tensor *p, int t) {
    double v[N], g[N];
    soma_to_array(p, v, N, SOMA_F64);
    for (int i = 0; i < N; i++)
        g[i] = (1 + i / 2.0) * v[i] + 0.1 * v[(i + 1) % N] + sin(t * (i + 1)) / 4;
    soma_scope scope = soma_scope_begin();
    soma_set_grad(p, soma_to(soma_from_array(g, SOMA_SHAPE(N), SOMA_F64), soma_dtype_of(p)));
    soma_scope_end(scope);
}

static soma_optim *make(const char *name) {
    if (strcmp(name, "sgd") == 0)
        return soma_sgd(NULL, .lr = 0.05);
    if (strcmp(name, "sgd_decay") == 0)
        return soma_sgd(NULL, .lr = 0.05, .weight_decay = 0.1);
    if (strcmp(name, "sgd_momentum") == 0)
        return soma_sgd(NULL, .lr = 0.02, .momentum = 0.9);
    if (strcmp(name, "sgd_momentum_dampening_decay") == 0)
        return soma_sgd(NULL, .lr = 0.02, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.01);
    if (strcmp(name, "sgd_nesterov") == 0)
        return soma_sgd(NULL, .lr = 0.02, .momentum = 0.8, .nesterov = true);
    if (strcmp(name, "sgd_nesterov_decay") == 0)
        return soma_sgd(NULL, .lr = 0.02, .momentum = 0.8, .nesterov = true, .weight_decay = 0.05);
    if (strcmp(name, "adam") == 0)
        return soma_adam(NULL, .lr = 0);
    if (strcmp(name, "adam_options") == 0)
        return soma_adam(NULL, .lr = 0.03, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-5);
    if (strcmp(name, "adam_decay") == 0)
        return soma_adam(NULL, .lr = 0.01, .weight_decay = 0.1);
    if (strcmp(name, "adamw") == 0)
        return soma_adamw(NULL, .lr = 0);
    if (strcmp(name, "adamw_options") == 0)
        return soma_adamw(NULL, .lr = 0.02, .beta1 = 0.85, .beta2 = 0.98, .eps = 1e-7, .weight_decay = 0.2);
    if (strcmp(name, "adamw_none") == 0)
        return soma_adamw(NULL, .lr = 0.02, .weight_decay = -1);
    fail_msg("unknown optimiser %s", name);
    return NULL;
}

static const char *const all[] = {"sgd", "sgd_decay", "sgd_momentum", "sgd_momentum_dampening_decay", "sgd_nesterov", "sgd_nesterov_decay",
                                  "adam", "adam_options", "adam_decay", "adamw", "adamw_options", "adamw_none"};


/* ---- The numbers ---- */

/* 200 steps in `dtype`, compared where PyTorch's values are known. Returns how many comparisons there were. */
static int compare(const char *name, soma_dtype dtype, double tolerance) {
    soma_scope scope = soma_scope_begin();
    soma_optim *opt = make(name);
    check_ok();
    soma_tensor *p = soma_requires_grad_(soma_to(soma_from_array(start, SOMA_SHAPE(N), SOMA_F64), dtype), true);
    assert_int_equal(soma_optim_add_group(opt, &p, 1, -1, -1), 0);
    gzFile f = golden_open();
    char line[400], who[64];
    int t = 0, at, found = 0;
    while (gzgets(f, line, sizeof line)) {
        double want[N], got[N];
        if (sscanf(line, "optim %63s %d %lf %lf %lf %lf %lf %lf", who, &at, &want[0], &want[1], &want[2], &want[3], &want[4], &want[5]) != 8 ||
            strcmp(who, name) != 0)
            continue;
        while (t < at) {
            set_gradient(p, ++t);
            assert_int_equal(soma_optim_step(opt), SOMA_OK);
            assert_null(soma_grad(p));
        }
        soma_to_array(p, got, N, SOMA_F64);
        for (int i = 0; i < N; i++)
            if (!(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
                fail_msg("%s step %d parameter %d: %.17g, PyTorch has %.17g", name, t, i, got[i], want[i]);
        found++;
    }
    gzclose(f);
    assert_int_equal(soma_optim_steps(opt), 200);
    soma_optim_free(opt);
    soma_scope_end(scope);
    return found;
}

/* f64: the same formulas in another order of operations, 1e-12 in 200 steps. f32: 200 roundings of 6e-8 each, and Adam's division by
 * a small root makes them some ten times larger. */
static void test_golden(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(all); i++) {
        assert_int_equal(compare(all[i], SOMA_F64, 1e-12), 6);
        assert_int_equal(compare(all[i], SOMA_F32, 2e-5), 6);
    }
}

/* Half precision computes in f32 and rounds once: one step is the f32 step, rounded. */
static void test_half(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(all); i++) {
        for (int h = 0; h < 2; h++) {
            soma_dtype half = h ? SOMA_BF16 : SOMA_F16;
            soma_scope scope = soma_scope_begin();
            soma_tensor *a = soma_requires_grad_(soma_to(soma_from_array(start, SOMA_SHAPE(N), SOMA_F64), half), true);
            soma_tensor *b = soma_requires_grad_(soma_clone(soma_to(soma_detach(a), SOMA_F32)), true);
            soma_set_grad(a, soma_mul_scalar(soma_detach(a), 0.5));
            soma_set_grad(b, soma_mul_scalar(soma_detach(b), 0.5)); /* halves are exact in both */
            soma_optim *x = make(all[i]), *y = make(all[i]);
            soma_optim_add_group(x, &a, 1, 0.25, -1);
            soma_optim_add_group(y, &b, 1, 0.25, -1);
            soma_optim_step(x);
            soma_optim_step(y);
            check_ok();
            float got[N], want[N];
            soma_to_array(a, got, N, SOMA_F32);
            soma_to_array(soma_to(soma_detach(b), half), want, N, SOMA_F32);
            assert_memory_equal(got, want, sizeof got);
            soma_optim_free(x);
            soma_optim_free(y);
            soma_scope_end(scope);
        }
    }
}

/* ---- Groups, rates ---- */

static void test_groups(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_optim *opt = soma_sgd(NULL, .lr = 0.5, .weight_decay = 0.25);
    soma_tensor *a = leaf((double[]){1, 2}, SOMA_SHAPE(2), SOMA_F64), *b = leaf((double[]){3}, SOMA_SHAPE(1), SOMA_F64);
    soma_tensor *idle = leaf((double[]){7}, SOMA_SHAPE(1), SOMA_F64);
    soma_tensor *first[] = {a, idle};
    assert_int_equal(soma_optim_add_group(opt, first, 2, -1, -1), 0);
    assert_int_equal(soma_optim_add_group(opt, &b, 1, 0.125, 0), 1);
    assert_int_equal(soma_optim_groups(opt), 2);
    assert_true(soma_optim_lr(opt, 0) == 0.5 && soma_optim_lr(opt, 1) == 0.125);
    soma_set_grad(a, soma_ones(SOMA_SHAPE(2), SOMA_F64));
    soma_set_grad(b, soma_ones(SOMA_SHAPE(1), SOMA_F64));
    assert_int_equal(soma_optim_step(opt), SOMA_OK);
    /* Powers of two: exact. a - 0.5 (1 + 0.25 a); b - 0.125; without a gradient nothing happens, no decay either. */
    assert_true(soma_at(a, 1, (int64_t[]){0}) == 1 - 0.5 * 1.25 && soma_at(a, 1, (int64_t[]){1}) == 2 - 0.5 * 1.5);
    assert_true(soma_item(b) == 2.875 && soma_item(idle) == 7);
    soma_sched *s = soma_sched_step(1, 0.5);
    soma_sched_apply(s, opt, 2);
    assert_true(soma_optim_lr(opt, 0) == 0.125 && soma_optim_lr(opt, 1) == 0.03125);
    soma_sched_apply(s, opt, 0);
    assert_true(soma_optim_lr(opt, 0) == 0.5);
    soma_optim_set_lr(opt, 1, 2);
    soma_sched_apply(s, opt, 1);
    assert_true(soma_optim_lr(opt, 1) == 1);
    soma_sched_free(s);
    check_ok();
    assert_int_equal(soma_optim_add_group(opt, &a, 1, 1, 0), -1);
    check_error(SOMA_EINVAL, "is in a group already");
    soma_tensor *twice[] = {leaf((double[]){1}, SOMA_SHAPE(1), SOMA_F64), NULL};
    twice[1] = twice[0];
    assert_int_equal(soma_optim_add_group(opt, twice, 2, 1, 0), -1);
    check_error(SOMA_EINVAL, "is in a group already");
    twice[1] = NULL;
    assert_int_equal(soma_optim_add_group(opt, twice, 2, 1, 0), -1);
    check_error(SOMA_EINVAL, "parameter 1 of the group is NULL");
    assert_true(isnan(soma_optim_lr(opt, 2)));
    check_error(SOMA_EINVAL, "no parameter group 2");
    soma_optim_set_lr(opt, 0, -1);
    check_error(SOMA_EINVAL, "lr must be from 0");
    soma_optim_free(opt);
    soma_scope_end(scope);
}

static void test_option_errors(void **state) {
    (void)state;
    assert_null(soma_sgd(NULL, .lr = -1));
    check_error(SOMA_EINVAL, "sgd: lr must be from 0");
    assert_null(soma_sgd(NULL, .lr = NAN));
    check_error(SOMA_EINVAL, "sgd: lr");
    assert_null(soma_sgd(NULL, .nesterov = true));
    check_error(SOMA_EINVAL, "nesterov needs a momentum");
    assert_null(soma_adam(NULL, .beta2 = 1));
    check_error(SOMA_EINVAL, "adam: beta2 must be from 0 to below 1, not 1");
    assert_null(soma_adamw(NULL, .eps = -1));
    check_error(SOMA_EINVAL, "adamw: eps");
    assert_int_equal(soma_optim_step(NULL), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "NULL");
    soma_optim_free(NULL);
}

/* While an error is pending a step changes nothing. */
static void test_pending_error(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_optim *opt = soma_sgd(NULL, .lr = 1);
    soma_tensor *p = leaf((double[]){1}, SOMA_SHAPE(1), SOMA_F64);
    soma_optim_add_group(opt, &p, 1, -1, -1);
    soma_set_grad(p, soma_ones(SOMA_SHAPE(1), SOMA_F64));
    soma_fail(SOMA_ESHAPE, "something before");
    assert_int_equal(soma_optim_step(opt), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "something before");
    assert_true(soma_item(p) == 1 && soma_optim_steps(opt) == 0 && soma_grad(p));
    assert_int_equal(soma_optim_step(opt), SOMA_OK);
    assert_true(soma_item(p) == 0);
    soma_optim_free(opt);
    soma_scope_end(scope);
}

/* ---- Clipping ---- */

static void test_clip(void **state) {
    (void)state;
    for (int d = 0; d < 4; d++) {
        soma_dtype dtype = (soma_dtype[]){SOMA_F64, SOMA_F32, SOMA_F16, SOMA_BF16}[d];
        double tolerance = (double[]){1e-14, 1e-6, 2e-3, 2e-2}[d]; /* a rounding of the dtype */
        soma_scope scope = soma_scope_begin();
        soma_tensor *a = leaf((float[]){0, 0, 0}, SOMA_SHAPE(3), SOMA_F32), *b = leaf((float[]){0, 0, 0, 0}, SOMA_SHAPE(2, 2), SOMA_F32);
        soma_tensor *p[] = {soma_requires_grad_(soma_clone(soma_to(soma_detach(a), dtype)), true),
                            soma_requires_grad_(soma_clone(soma_to(soma_detach(b), dtype)), true)};
        soma_set_grad(p[0], soma_to(soma_from_array((double[]){3, -4, 0.5}, SOMA_SHAPE(3), SOMA_F64), dtype));
        soma_set_grad(p[1], soma_to(soma_from_array((double[]){1, 2, -7, 0.25}, SOMA_SHAPE(2, 2), SOMA_F64), dtype));
        soma_optim *opt = soma_sgd(NULL, .lr = 1);
        soma_optim_add_group(opt, p, 2, -1, -1);
        double want[8] = {0}, got[8] = {0};
        gzFile f = golden_open();
        char line[400];
        int found = 0;
        while (gzgets(f, line, sizeof line))
            found += sscanf(line, "clip norm %lf %lf %lf %lf %lf %lf %lf %lf", &want[0], &want[1], &want[2], &want[3], &want[4], &want[5],
                            &want[6], &want[7]) == 8;
        gzclose(f);
        assert_int_equal(found, 1);
        got[0] = soma_clip_grad_norm(opt, 2.5);
        soma_to_array(soma_grad(p[0]), got + 1, 3, SOMA_F64);
        soma_to_array(soma_grad(p[1]), got + 4, 4, SOMA_F64);
        for (int i = 0; i < 8; i++)
            if (!(fabs(got[i] - want[i]) <= tolerance * fabs(want[i])))
                fail_msg("%s: number %d is %.17g, PyTorch has %.17g", soma_dtype_name(dtype), i, got[i], want[i]);
        assert_true(fabs(soma_clip_grad_norm(opt, 100) - 2.5) < 0.02); /* small enough: stays */
        assert_int_equal(soma_clip_grad_value(opt, 0.25), SOMA_OK);
        soma_to_array(soma_grad(p[1]), got, 4, SOMA_F64);
        assert_true(got[2] == -0.25 && got[1] == 0.25 && fabs(got[3] - want[7]) <= tolerance);
        soma_optim_free(opt);
        check_ok();
        soma_scope_end(scope);
    }
}

static void test_clip_types(void **state) {
    (void)state;
    static const double types[] = {1, 3, INFINITY};
    for (int k = 0; k < 3; k++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *p[] = {leaf((double[]){0, 0, 0}, SOMA_SHAPE(3), SOMA_F64), leaf((double[]){0, 0, 0, 0}, SOMA_SHAPE(2, 2), SOMA_F64)};
        soma_set_grad(p[0], soma_from_array((double[]){3, -4, 0.5}, SOMA_SHAPE(3), SOMA_F64));
        soma_set_grad(p[1], soma_from_array((double[]){1, 2, -7, 0.25}, SOMA_SHAPE(2, 2), SOMA_F64));
        soma_optim *opt = soma_sgd(NULL, .lr = 1);
        soma_optim_add_group(opt, p, 2, -1, -1);
        double want[8], got[8], type;
        char line[400];
        int found = 0;
        gzFile f = golden_open();
        while (!found && gzgets(f, line, sizeof line))
            found = sscanf(line, "clip%lf norm %lf %lf %lf %lf %lf %lf %lf %lf", &type, &want[0], &want[1], &want[2], &want[3], &want[4], &want[5],
                           &want[6], &want[7]) == 9 && type == types[k];
        gzclose(f);
        assert_true(found);
        got[0] = soma_clip_grad_norm_type(opt, 2.5, types[k]);
        soma_to_array(soma_grad(p[0]), got + 1, 3, SOMA_F64);
        soma_to_array(soma_grad(p[1]), got + 4, 4, SOMA_F64);
        for (int i = 0; i < 8; i++)
            assert_true(fabs(got[i] - want[i]) <= 1e-14 * fabs(want[i]));
        check_ok();
        assert_true(isnan(soma_clip_grad_norm_type(opt, 1, 0)));
        check_error(SOMA_EINVAL, "type must be above 0");
        soma_optim_free(opt);
        soma_scope_end(scope);
    }
}

static void test_clip_nan(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_optim *opt = soma_sgd(NULL, .lr = 1);
    soma_tensor *p[] = {leaf((float[]){1, 1}, SOMA_SHAPE(2), SOMA_F32), leaf((float[]){1, 1}, SOMA_SHAPE(2), SOMA_F32)};
    soma_optim_add_group(opt, p, 2, -1, -1);
    soma_set_grad(p[0], SOMA_TENSOR(SOMA_SHAPE(2), 100, 1));
    soma_set_grad(p[1], SOMA_TENSOR(SOMA_SHAPE(2), NAN, 1));
    assert_true(isnan(soma_clip_grad_norm(opt, 1)));
    check_error(SOMA_ENAN, "the gradient of parameter 1 has values that are NaN or infinite");
    assert_true(soma_at(soma_grad(p[0]), 1, (int64_t[]){0}) == 100);
    soma_set_grad(p[1], SOMA_TENSOR(SOMA_SHAPE(2), 0, -INFINITY));
    assert_true(isnan(soma_clip_grad_norm(opt, 1)));
    check_error(SOMA_ENAN, "parameter 1");
    assert_true(isnan(soma_clip_grad_norm(opt, -1)));
    check_error(SOMA_EINVAL, "at least 0");
    soma_optim_free(opt);
    soma_scope_end(scope);
}

static soma_tensor *waves(int64_t n, int salt) { return soma_sin(soma_arange(salt, (double)n + salt, 1, SOMA_F32)); }

/* The same bits for 1, 2, 3 and 7 threads, and the same norm on every instruction set. */
static void test_threads(void **state) {
    (void)state;
    enum { LARGE = 100003 };
    static const int threads[] = {1, 2, 3, 7};
    static float result[4][LARGE];
    double norm[4];
    for (int i = 0; i < 4; i++) {
        soma_scope scope = soma_scope_begin();
        soma_set_threads(threads[i]);
        soma_tensor *p = soma_requires_grad_(waves(LARGE, 0), true);
        soma_optim *opt = soma_adamw(NULL, .lr = 0.01);
        soma_optim_add_group(opt, &p, 1, -1, -1);
        for (int t = 0; t < 3; t++) {
            soma_set_grad(p, waves(LARGE, t + 1));
            norm[i] = soma_clip_grad_norm(opt, 10);
            soma_optim_step(opt);
        }
        check_ok();
        soma_to_array(p, result[i], LARGE, SOMA_F32);
        assert_memory_equal(result[i], result[0], sizeof result[0]);
        assert_memory_equal(&norm[i], &norm[0], sizeof norm[0]);
        soma_optim_free(opt);
        soma_scope_end(scope);
    }
    soma_set_threads(0);
    soma_scope scope = soma_scope_begin();
    soma_tensor *p = soma_requires_grad_(waves(LARGE, 0), true);
    soma_optim *opt = soma_sgd(NULL, .lr = 1);
    soma_optim_add_group(opt, &p, 1, -1, -1);
    soma_set_grad(p, waves(LARGE, 1));
    for (int level = 0; level <= soma__isa_best(); level++) {
        soma__isa_force(level);
        norm[0] = level == 0 ? soma_clip_grad_norm(opt, 1e9) : norm[0];
        norm[1] = soma_clip_grad_norm(opt, 1e9);
        assert_memory_equal(&norm[1], &norm[0], sizeof norm[0]);
    }
    soma__isa_force(-1);
    soma_optim_free(opt);
    soma_scope_end(scope);
}

/* A parameter whose elements are not neighbours. */
static void test_strides(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(all); i++) {
        soma_scope scope = soma_scope_begin();
        double memory[2][3] = {{1, 2, 3}, {4, 5, 6}};
        soma_tensor *a = soma_requires_grad_(soma_from_memory(memory, 2, (int64_t[]){3, 2}, (int64_t[]){1, 3}, SOMA_F64, NULL, NULL), true);
        soma_tensor *b = leaf((double[]){1, 4, 2, 5, 3, 6}, SOMA_SHAPE(3, 2), SOMA_F64);
        soma_optim *x = make(all[i]), *y = make(all[i]);
        soma_optim_add_group(x, &a, 1, -1, -1);
        soma_optim_add_group(y, &b, 1, -1, -1);
        for (int t = 0; t < 3; t++) {
            soma_set_grad(a, soma_mul_scalar(soma_detach(a), 0.3));
            soma_set_grad(b, soma_mul_scalar(soma_detach(b), 0.3));
            soma_optim_step(x);
            soma_optim_step(y);
        }
        check_ok();
        double got[6], want[6];
        soma_to_array(a, got, 6, SOMA_F64);
        soma_to_array(b, want, 6, SOMA_F64);
        assert_memory_equal(got, want, sizeof got);
        assert_true(memory[1][0] == got[1]);
        soma_optim_free(x);
        soma_optim_free(y);
        soma_scope_end(scope);
    }
}

/* ---- State ---- */

/* Twenty steps, or ten, the state into another optimiser, and ten more: the same bits. */
static void test_state(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(all); i++) {
        soma_scope scope = soma_scope_begin();
        double got[2][N];
        for (int split = 0; split < 2; split++) {
            soma_tensor *p = leaf(start, SOMA_SHAPE(N), SOMA_F64);
            soma_optim *opt = make(all[i]);
            soma_optim_add_group(opt, &p, 1, -1, -1);
            for (int t = 1; t <= 20; t++) {
                if (split && t == 11) {
                    soma_optim *other = make(all[i]);
                    soma_optim_add_group(other, &p, 1, 0.7, -1); /* another rate: the saved one comes back */
                    soma_named named[16];
                    int n = soma_optim_named(opt, named, 16);
                    assert_true(n >= 4 && n <= 16);
                    assert_int_equal(soma_optim_named(opt, NULL, 0), n);
                    for (int k = 0; k < n; k++)
                        assert_int_equal(soma__optim_load(other, named[k].name, named[k].tensor, true), SOMA_OK);
                    assert_int_equal(soma_optim_steps(other), 0);
                    for (int k = 0; k < n; k++)
                        assert_int_equal(soma_optim_load(other, named[k].name, named[k].tensor), SOMA_OK);
                    soma_optim_free(opt);
                    opt = other;
                    assert_int_equal(soma_optim_steps(opt), 10);
                }
                set_gradient(p, t);
                soma_optim_step(opt);
            }
            check_ok();
            soma_to_array(p, got[split], N, SOMA_F64);
            soma_optim_free(opt);
        }
        assert_memory_equal(got[0], got[1], sizeof got[0]);
        soma_scope_end(scope);
    }
}

static void test_state_names(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *p[] = {leaf(start, SOMA_SHAPE(N), SOMA_F64), leaf(start, SOMA_SHAPE(2, 3), SOMA_F64)};
    soma_optim *opt = make("adam");
    soma_optim_add_group(opt, p, 2, -1, -1);
    soma_named named[16];
    static const char *const before[] = {"step", "group.0.lr", "group.0.base_lr"};
    static const char *const after[] = {"step", "group.0.lr", "group.0.base_lr", "1.step", "1.exp_avg", "1.exp_avg_sq"};
    assert_int_equal(soma_optim_named(opt, named, 16), 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(named[i].name, before[i]);
    soma_set_grad(p[1], soma_ones(SOMA_SHAPE(2, 3), SOMA_F64));
    soma_optim_step(opt);
    assert_int_equal(soma_optim_named(opt, named, 16), 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(named[i].name, after[i]);
    assert_int_equal(soma_item_int(named[3].tensor), 1);
    soma_tensor *small = soma_zeros(SOMA_SHAPE(3), SOMA_F64);
    check_ok();
    assert_int_equal(soma_optim_load(opt, "0.exp_avg", small), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "adam: the state '0.exp_avg' is [3] f64, and [6] f64 is needed");
    static const char *const none[] = {"2.exp_avg", "0.momentum_buffer", "group.1.lr", "group.0.x", "x", "0x", "-1.step", "99999999999999999999.step", ""};
    for (size_t i = 0; i < SOMA_LEN(none); i++) {
        soma_optim_load(opt, none[i], small);
        check_error(SOMA_ENOTFOUND, "there is no state");
    }
    assert_int_equal(soma_optim_named(opt, NULL, 0), 6); /* nothing was made on the way */
    soma_optim_free(opt);
    soma_scope_end(scope);
}

/* ---- Memory ---- */

/* A step without memory changes no parameter, and can be made afterwards. */
static void test_memory(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    int64_t worst = 0;
    for (int which = 0; which < 2; which++) {
        for (int64_t k = 1;; k++) {
            soma_scope inner = soma_scope_begin();
            soma_tensor *p[] = {leaf(start, SOMA_SHAPE(N), SOMA_F64), leaf(start, SOMA_SHAPE(2, 3), SOMA_F64)};
            soma_tensor *g = soma_ones(SOMA_SHAPE(N), SOMA_F64), *h = soma_ones(SOMA_SHAPE(2, 3), SOMA_F64);
            check_ok();
            soma_memory_fail_at(k);
            soma_optim *opt = which ? soma_adamw(NULL, .lr = 0.1) : soma_sgd(NULL, .lr = 0.1, .momentum = 0.5);
            if (opt)
                soma_optim_add_group(opt, p, 2, -1, -1);
            soma_set_grad(p[0], g);
            soma_set_grad(p[1], h);
            if (opt && soma_error() == SOMA_OK)
                soma_clip_grad_norm(opt, 0.5);
            bool reached = opt && soma_error() == SOMA_OK;
            soma_status status = opt ? soma_optim_step(opt) : SOMA_ENOMEM;
            soma_memory_fail_at(0);
            double now[N];
            soma_to_array(p[0], now, N, SOMA_F64);
            if (status == SOMA_OK) {
                assert_true(now[0] != start[0]);
            } else {
                check_error(SOMA_ENOMEM, "");
                assert_memory_equal(now, start, sizeof now);
                if (reached) {
                    assert_int_equal(soma_optim_steps(opt), 0);
                    assert_int_equal(soma_optim_step(opt), SOMA_OK);
                }
            }
            soma_optim_free(opt);
            soma_scope_end(inner);
            worst = k;
            assert_true(k < 500);
            if (status == SOMA_OK)
                break;
        }
    }
    assert_true(worst > 10);
    soma_scope_end(scope);
}

/* Nothing of a finished optimiser stays behind but a few handles, which debug builds keep for a while. */
static void test_leaks(void **state) {
    (void)state;
    int64_t before = soma_memory_stats().owner_current[SOMA_OWNER_OPTIM];
    soma_scope scope = soma_scope_begin();
    soma_tensor *p = soma_requires_grad_(waves(100000, 0), true);
    soma_optim *opt = make("adam");
    soma_optim_add_group(opt, &p, 1, -1, -1);
    soma_set_grad(p, waves(100000, 1));
    soma_optim_step(opt);
    check_ok();
    assert_true(soma_memory_stats().owner_current[SOMA_OWNER_OPTIM] >= before + 800000);
    soma_optim_free(opt);
    soma_scope_end(scope);
    assert_true(soma_memory_stats().owner_current[SOMA_OWNER_OPTIM] <= before + 4000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_golden),        TEST(test_half),          TEST(test_groups),
        TEST(test_option_errors),
        TEST(test_pending_error), TEST(test_clip),          TEST(test_clip_nan), TEST(test_clip_types),
        TEST(test_threads),       TEST(test_strides),       TEST(test_state),
        TEST(test_state_names),   TEST(test_memory),        TEST(test_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
