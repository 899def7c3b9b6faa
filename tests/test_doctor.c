/* The doctor: each rule on a case made for it, what a check leaves behind, records that read back to the same findings. How often it is right is
 * the business of doctor_suite.c. */
#include "data_help.h"

#include <soma/soma.h>

#include <math.h>

/* ---- Small sets ------------------------------------------------------------------------------------------------------------------ */

static soma_dataset *rows(int64_t n, int classes, int features)
{
    soma_scope scope = soma_scope_begin();
    soma_seed(7);
    soma_tensor *x = soma_randn(SOMA_SHAPE(n, features), SOMA_F32), *y = soma_empty(SOMA_SHAPE(n), SOMA_I64);
    for (int64_t i = 0; i < n; i++) {
        float *r = (float *)soma_data(x) + i * features;
        ((int64_t *)soma_data(y))[i] = i % classes;
        r[i % classes] += 2;
    }
    soma_dataset *d = soma_data_tensors(x, y);
    soma_scope_end(scope);
    check_ok();
    return d;
}

static soma_dataset *values(int64_t n)
{
    soma_scope scope = soma_scope_begin();
    soma_seed(8);
    soma_tensor *x = soma_randn(SOMA_SHAPE(n, 5), SOMA_F32), *y = soma_empty(SOMA_SHAPE(n, 1), SOMA_F32);
    for (int64_t i = 0; i < n; i++)
        ((float *)soma_data(y))[i] = 3 * ((float *)soma_data(x))[i * 5] - ((float *)soma_data(x))[i * 5 + 1];
    soma_dataset *d = soma_data_tensors(x, y);
    soma_scope_end(scope);
    check_ok();
    return d;
}

static soma_module *built(const char *net, soma_dataset *d)
{
    soma_module *m = soma_nn_parse(net);
    int64_t shape[SOMA_MAX_DIMS] = {1};
    for (int i = 0; i < soma_data_ndim(d); i++)
        shape[i + 1] = soma_data_shape(d)[i];
    soma_nn_build(m, soma_data_ndim(d) + 1, shape);
    check_ok();
    return m;
}

static const soma_finding *finding(const soma_doctor *d, const char *rule)
{
    for (int i = 0; i < soma_doctor_count(d); i++)
        if (!strcmp(soma_doctor_get(d, i)->rule->name, rule))
            return soma_doctor_get(d, i);
    return NULL;
}

/* ---- Rules ------------------------------------------------------------------------------------------------------------------------ */

typedef struct check_case {
    const char *net, *loss, *rule, *layer; /* rule NULL: nothing at all must be found */
    bool regress;
    const char *init;
    double lr;
    int64_t batch;
} check_case;

static const check_case cases[] = {
    {"linear 16 relu, linear 3", NULL, NULL, NULL, false, NULL, 0.01, 0},
    {"linear 16 tanh, linear 1", NULL, NULL, NULL, true, NULL, 0.01, 0},
    {"linear 16 relu, linear 3, logsoftmax", "nll", NULL, NULL, false, NULL, 0.01, 0},
    {"linear 16 relu, linear 3, softmax", NULL, "softmax-before-loss", "3 (Softmax)", false, NULL, 0.01, 0},
    {"linear 16 relu, linear 3 sigmoid", NULL, "softmax-before-loss", "3 (Sigmoid)", false, NULL, 0.01, 0},
    {"linear 16 relu, linear 3", "nll", "loss-needs-probabilities", "2 (Linear)", false, NULL, 0.01, 0},
    {"linear 16 relu, linear 3", "bce", "loss-needs-probabilities", "2 (Linear)", false, NULL, 0.01, 0},
    {"linear 16 relu, linear 3 relu", NULL, "relu-on-output", "3 (ReLU)", false, NULL, 0.01, 0},
    {"linear 16 relu, linear 1 relu", NULL, "relu-on-output", "3 (ReLU)", true, NULL, 0.01, 0},
    {"linear 16 relu, linear 1 sigmoid", NULL, "bounded-output", "3 (Sigmoid)", true, NULL, 0.01, 0},
    {"linear 16 relu, linear 8, softmax, linear 3", NULL, "hidden-softmax", "3 (Softmax)", false, NULL, 0.01, 0},
    {"repeat 3 (linear 8 sigmoid), linear 3", NULL, "many-saturating-layers", NULL, false, NULL, 0.01, 0},
    {"linear 16, linear 8 relu, linear 3", NULL, "linear-without-activation", "1 (Linear)", false, NULL, 0.01, 0},
    {"linear 16, dropout 0.1, linear 3", NULL, "linear-without-activation", "2 (Linear)", false, NULL, 0.01, 0},
    {"linear 16 relu, linear 3", NULL, "equal-weights", "0.weight", false, "ones", 0.01, 0},
    {"linear 16 relu, linear 8 relu, linear 3", NULL, "equal-weights", NULL, false, "zeros", 0.01, 0},
    {"linear 16 relu, linear 3", NULL, "learning-rate-at-start", NULL, false, NULL, 100, 0},
    {"linear 16, batchnorm relu, linear 3", NULL, "batch-too-small-for-norm", "1 (BatchNorm)", false, NULL, 0.01, 2},
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const check_case *c = &cases[i];
        soma_dataset *data = c->regress ? values(300) : rows(300, 3, 6);
        soma_seed(3);
        soma_module *net = built(c->net, data);
        if (c->init)
            soma_nn_init(net, c->init);
        soma_optim *opt = soma_sgd(net, .lr = c->lr);
        soma_loader *loader = soma_loader_new(data, .batch_size = c->batch ? c->batch : 32, .shuffle = true, .workers = -1);
        soma_loss_opts options;
        soma_loss_fn loss = c->loss ? soma_loss_parse(c->loss, &options) : NULL;
        soma_doctor *d = soma_doctor_new();
        assert_int_equal(soma_check(d, net, opt, loader, NULL, .loss = loss, .loss_user = loss ? &options : NULL), SOMA_OK);
        check_ok();
        const soma_finding *f = c->rule ? finding(d, c->rule) : NULL;
        if (c->rule && (!f || (c->layer && strcmp(f->layer, c->layer))))
            fail_msg("\"%s\": no finding %s at %s, but %s at %s", c->net, c->rule, c->layer ? c->layer : "any layer",
                     f ? f->rule->name : "none", f ? f->layer : "");
        if (!c->rule && soma_doctor_count(d) > 0)
            fail_msg("\"%s\" is well, but: %s: %s", c->net, soma_doctor_get(d, 0)->rule->name, soma_doctor_get(d, 0)->evidence);
        if (c->rule)
            assert_ptr_equal(soma_doctor_get(d, 0)->rule, f->rule); /* it comes first */
        soma_doctor_free(d);
        soma_loader_free(loader);
        soma_optim_free(opt);
        soma_nn_free(net);
        soma_data_free(data);
    }
}

static soma_status check_data(soma_doctor *d, soma_dataset *train, soma_dataset *val, bool shuffle)
{
    soma_module *net = built("linear 8 relu, linear 3", train);
    soma_loader *loader = soma_loader_new(train, .batch_size = 16, .shuffle = shuffle, .workers = -1);
    soma_loader *other = val ? soma_loader_new(val, .batch_size = 16, .workers = -1) : NULL;
    soma_status status = soma_check(d, net, NULL, loader, other, .overfit = false);
    soma_loader_free(loader);
    soma_loader_free(other);
    soma_nn_free(net);
    return status;
}

static void test_data(void **state)
{
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_randn(SOMA_SHAPE(120, 4), SOMA_F32), *y = soma_empty(SOMA_SHAPE(120), SOMA_I64);
    float *v = soma_data(x);
    int64_t *labels = soma_data(y);
    for (int i = 0; i < 120; i++) {
        labels[i] = i / 40;
        v[i * 4 + 1] = 5;              /* constant */
        v[i * 4 + 2] *= 1e4f;          /* of another scale */
    }
    soma_dataset *all = soma_data_tensors(x, y), *part = soma_data_subset(all, (const int64_t[]){3, 50, 51, 90, 100}, 5);
    soma_doctor *d = soma_doctor_new();
    assert_int_equal(check_data(d, all, part, false), SOMA_OK);
    const char *const wanted[] = {"constant-features", "inputs-not-scaled", "train-val-overlap", "unshuffled"};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (!finding(d, wanted[i]))
            fail_msg("no finding %s", wanted[i]);
    assert_non_null(strstr(finding(d, "constant-features")->evidence, "number 2, always 5"));
    assert_non_null(strstr(finding(d, "inputs-not-scaled")->evidence, "feature 3"));
    soma_doctor_free(d);

    v[77 * 4] = NAN;
    d = soma_doctor_new();
    check_data(d, all, NULL, true);
    assert_non_null(finding(d, "nan-in-data"));
    assert_non_null(strstr(finding(d, "nan-in-data")->evidence, "(number 77)"));
    assert_null(finding(d, "unshuffled"));
    soma_doctor_free(d);
    soma_error_clear();
    soma_data_free(part);
    soma_data_free(all);
    soma_scope_end(scope);
}

static void test_silence_and_tune(void **state)
{
    (void)state;
    soma_dataset *data = rows(200, 3, 6);
    soma_module *net = built("linear 16 relu, linear 3, softmax", data);
    soma_loader *loader = soma_loader_new(data, .batch_size = 20, .shuffle = true, .workers = -1);
    soma_doctor *d = soma_doctor_new();
    assert_int_equal(soma_doctor_silence(d, "softmax-before-loss"), SOMA_OK);
    assert_int_equal(soma_check(d, net, NULL, loader, NULL, .overfit = false), SOMA_OK);
    assert_int_equal(soma_doctor_count(d), 0);
    assert_int_equal(soma_doctor_tune(d, "class-imbalance", 1), SOMA_OK);
    assert_int_equal(soma_check(d, net, NULL, loader, NULL, .overfit = false), SOMA_OK);
    assert_non_null(finding(d, "class-imbalance"));
    soma_doctor_silence(d, "softmax");
    check_error(SOMA_ENOTFOUND, "no rule 'softmax'");
    soma_doctor_tune(d, "softmax-before-loss", 1);
    check_error(SOMA_EINVAL, "no threshold");
    soma_doctor_tune(d, "dead-units", -1);
    check_error(SOMA_EINVAL, "at least 0");
    soma_doctor_free(d);
    soma_loader_free(loader);
    soma_nn_free(net);
    soma_data_free(data);
}

/* Every rule has its texts, and a name of its own. */
static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < soma_rule_count(); i++) {
        const soma_rule_info *r = soma_rule_get(i);
        assert_ptr_equal(soma_rule_find(r->name), r);
        assert_true(strlen(r->what) > 10 && strlen(r->why) > 40 && r->causes[0] && r->flag[0] && r->code[0] && r->source[0]);
        assert_true(isnan(r->threshold) == (r->unit[0] == 0));
    }
    assert_null(soma_rule_get(soma_rule_count()));
    assert_null(soma_rule_find("no-such-rule"));
}

/* ---- What a check leaves ---------------------------------------------------------------------------------------------------------- */

static void copy_state(soma_module *net, double *out, int64_t *n)
{
    soma_named named[64];
    int count = soma_nn_named(net, true, named, 64);
    *n = 0;
    for (int i = 0; i < count; i++) {
        soma_to_array(named[i].tensor, out + *n, soma_numel(named[i].tensor), SOMA_F64);
        *n += soma_numel(named[i].tensor);
    }
    check_ok();
}

static void test_leaves_all_as_it_was(void **state)
{
    (void)state;
    static double before[20000], after[20000];
    int64_t n, m, epoch, batch;
    soma_dataset *data = rows(200, 3, 6), *val = rows(40, 3, 6);
    soma_module *net = built("linear 32, batchnorm relu, dropout 0.3, linear 3", data);
    soma_optim *opt = soma_adam(net, .lr = 0.01);
    soma_loader *loader = soma_loader_new(data, .batch_size = 20, .shuffle = true, .seed = 4, .workers = -1);
    soma_loader *other = soma_loader_new(val, .batch_size = 20, .workers = -1);
    soma_batch b = {.size = sizeof(b)};
    for (int i = 0; i < 3; i++)
        assert_true(soma_loader_next(loader, &b));
    soma_named first;
    soma_nn_named(net, false, &first, 1);
    soma_backward(soma_sum(soma_nn_forward(net, b.x), SOMA_ALL, false));
    soma_tensor *grad = soma_grad(first.tensor);
    double g = soma_item(soma_sum(soma_abs(grad), SOMA_ALL, false));
    copy_state(net, before, &n);
    soma_seed(99);
    soma_rng rng = soma_rng_get();
    soma_doctor *d = soma_doctor_new();
    assert_int_equal(soma_check(d, net, opt, loader, other, .overfit = true), SOMA_OK);
    copy_state(net, after, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, (size_t)n * sizeof(double));
    assert_ptr_equal(soma_grad(first.tensor), grad);
    assert_true(soma_item(soma_sum(soma_abs(grad), SOMA_ALL, false)) == g);
    assert_true(soma_rng_get().seed == rng.seed && soma_rng_get().stream == rng.stream);
    soma_loader_tell(loader, &epoch, &batch);
    assert_int_equal(epoch, 0);
    assert_int_equal(batch, 3);
    assert_int_equal(soma_optim_steps(opt), 0);
    soma_doctor_free(d);
    soma_loader_free(loader);
    soma_loader_free(other);
    soma_optim_free(opt);
    soma_nn_free(net);
    soma_data_free(data);
    soma_data_free(val);
}

/* ---- A training ----------------------------------------------------------------------------------------------------------------------- */

typedef struct told {
    int n;
    char first[64];
} told;

static void tell(void *user, const soma_finding *f)
{
    told *t = user;
    if (t->n++ == 0)
        snprintf(t->first, sizeof(t->first), "%s", f->rule->name);
}

/* Trains with settings that go wrong in several ways. */
static soma_module *train(soma_doctor *d, const char *dir, int64_t epochs, bool resume)
{
    soma_dataset *data = rows(640, 3, 6), *val = rows(60, 3, 6);
    soma_seed(5);
    soma_module *net = built("linear 24 relu, dropout 0.1, linear 3", data);
    soma_optim *opt = soma_sgd(net, .lr = 1e-6);
    soma_loader *loader = soma_loader_new(data, .batch_size = 16, .shuffle = true, .seed = 4, .workers = -1), *other = soma_loader_new(val, .batch_size = 20, .workers = -1);
    soma_status status = soma_fit(net, opt, loader, other, NULL, .epochs = epochs, .run_dir = dir, .resume = resume, .clip_norm = 1e-4,
                                  .observer = soma_doctor_observer(d));
    assert_int_equal(status, SOMA_OK);
    check_ok();
    soma_loader_free(loader);
    soma_loader_free(other);
    soma_optim_free(opt);
    soma_data_free(data);
    soma_data_free(val);
    return net;
}

static void same_findings(const soma_doctor *a, const soma_doctor *b)
{
    assert_int_equal(soma_doctor_count(a), soma_doctor_count(b));
    for (int i = 0; i < soma_doctor_count(a); i++) {
        const soma_finding *x = soma_doctor_get(a, i), *y = soma_doctor_get(b, i);
        assert_string_equal(x->rule->name, y->rule->name);
        assert_string_equal(x->layer, y->layer);
        assert_string_equal(x->evidence, y->evidence);
        assert_string_equal(x->picture, y->picture);
        assert_string_equal(x->flag, y->flag);
        assert_int_equal(x->first, y->first);
        assert_int_equal(x->last, y->last);
        assert_int_equal(x->times, y->times);
        assert_int_equal(x->severity, y->severity);
    }
}

static soma_doctor *quiet_doctor(void)
{
    soma_doctor *d = soma_doctor_new();
    soma_doctor_silence(d, "waiting-for-data"); /* depends on time */
    return d;
}

static void test_watching_changes_nothing(void **state)
{
    (void)state;
    static double a[5000], b[5000];
    int64_t n, m;
    soma_doctor *d = quiet_doctor();
    told t = {0};
    soma_doctor_on_finding(d, tell, &t);
    soma_module *with = train(d, NULL, 3, false), *without = train(NULL, NULL, 3, false);
    copy_state(with, a, &n);
    copy_state(without, b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, (size_t)n * sizeof(double));
    assert_non_null(finding(d, "clipping-always"));
    assert_non_null(finding(d, "learning-rate-too-low"));
    assert_true(t.n >= 2 && t.first[0]);
    soma_nn_free(with);
    soma_nn_free(without);
    soma_doctor_free(d);
}

/* A network whose tensors lie in an order that soma chooses: a look must not change it. */
static soma_module *train_images(soma_doctor *d)
{
    soma_dataset *data = soma_data_drawn(300, 2);
    soma_seed(5);
    soma_module *net = built("conv 8 3 pad 1 nobias, batchnorm relu, maxpool 2, residual relu (conv 8 3 pad 1 relu, conv 8 3 pad 1), conv 16 3, relu, flatten, linear 10", data);
    soma_optim *opt = soma_adam(net, .lr = 1e-3);
    soma_loader *loader = soma_loader_new(data, .batch_size = 20, .shuffle = true, .seed = 4, .workers = -1);
    if (d)
        assert_int_equal(soma_check(d, net, opt, loader, NULL, .overfit = true), SOMA_OK);
    assert_int_equal(soma_fit(net, opt, loader, NULL, NULL, .epochs = 2, .clip_norm = 1, .observer = soma_doctor_observer(d)), SOMA_OK);
    check_ok();
    soma_loader_free(loader);
    soma_optim_free(opt);
    soma_data_free(data);
    return net;
}

static void test_watching_keeps_the_order(void **state)
{
    (void)state;
    static double a[40000], b[40000];
    int64_t n, m;
    soma_doctor *d = soma_doctor_new();
    soma_module *with = train_images(d), *without = train_images(NULL);
    copy_state(with, a, &n);
    copy_state(without, b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, (size_t)n * sizeof(double));
    soma_nn_free(with);
    soma_nn_free(without);
    soma_doctor_free(d);
}

static void test_records_read_back(void **state)
{
    (void)state;
    soma_doctor *live = quiet_doctor(), *half = quiet_doctor(), *resumed = quiet_doctor(), *read = quiet_doctor(), *again = quiet_doctor();
    char path[400], whole[400], dir[300], dir2[300];
    snprintf(dir, sizeof(dir), "%s", at("run"));
    snprintf(dir2, sizeof(dir2), "%s", at("run2"));
    soma_nn_free(train(live, dir, 4, false));
    snprintf(whole, sizeof(whole), "%s/doctor.jsonl", dir);
    assert_int_equal(soma_doctor_read(read, whole), SOMA_OK);
    same_findings(live, read);
    assert_true(soma_doctor_count(live) >= 2);
    /* A run that was stopped and went on. */
    soma_nn_free(train(half, dir2, 2, false));
    soma_nn_free(train(resumed, dir2, 4, true));
    same_findings(live, resumed);
    snprintf(path, sizeof(path), "%s/doctor.jsonl", dir2);
    assert_int_equal(soma_doctor_read(again, path), SOMA_OK);
    same_findings(live, again);
    soma_doctor_free(live);
    soma_doctor_free(half);
    soma_doctor_free(resumed);
    soma_doctor_free(read);
    soma_doctor_free(again);
}

static void test_bad_records(void **state)
{
    (void)state;
    soma_doctor *d = soma_doctor_new();
    FILE *f = fopen(at("bad.jsonl"), "w");
    fputs("{\"kind\":\"epoch\",\"step\":1,\"epoch\":1,\"train_loss\":2,\"val_loss\":null}\n{\"kind\":\n", f);
    fclose(f);
    soma_status status = soma_doctor_read(d, at("bad.jsonl"));
    assert_int_equal(status, SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "line 2");
    status = soma_doctor_read(d, at("none.jsonl"));
    assert_int_not_equal(status, SOMA_OK);
    check_error(status, "none.jsonl");
    soma_doctor_free(d);
}

static bool check_once(void *user)
{
    (void)user;
    soma_dataset *data = soma_data_drawn(40, 1);
    soma_module *net = data ? soma_nn_parse("conv 4 3 relu, maxpool 2, flatten, linear 10, softmax") : NULL;
    soma_loader *loader = soma_loader_new(data, .batch_size = 8, .workers = -1);
    if (net)
        soma_nn_build(net, 4, (const int64_t[]){1, 1, 28, 28});
    soma_optim *opt = soma_error() == SOMA_OK ? soma_adam(net, .lr = 0.01) : NULL;
    soma_doctor *d = soma_doctor_new();
    bool ok = opt && d && loader && soma_check(d, net, opt, loader, loader, .overfit = false) == SOMA_OK && finding(d, "softmax-before-loss");
    soma_doctor_free(d);
    soma_optim_free(opt);
    soma_loader_free(loader);
    soma_nn_free(net);
    soma_data_free(data);
    return ok;
}

static void test_memory(void **state)
{
    (void)state;
    fail_each_allocation(check_once, NULL);
}

static void test_text(void **state)
{
    (void)state;
    char text[4096], line[1024];
    soma_dataset *data = rows(100, 3, 6);
    soma_module *net = built("linear 8 relu, linear 3, softmax", data);
    soma_loader *loader = soma_loader_new(data, .batch_size = 20, .shuffle = true, .workers = -1);
    soma_doctor *d = soma_doctor_new();
    soma_check(d, net, NULL, loader, NULL, .overfit = false);
    const soma_finding *f = soma_doctor_get(d, 0);
    assert_non_null(f);
    assert_true(soma_finding_text(f, false, text, sizeof(text)) < sizeof(text));
    for (const char *const *word = (const char *const[]){"error: ", "  seen    3 (Softmax): ", "  why     ", "  causes  1. ", "  try     ", "  in C    ", NULL}; *word; word++)
        if (!strstr(text, *word))
            fail_msg("no \"%s\" in %s", *word, text);
    soma_finding_text(f, true, line, sizeof(line));
    assert_null(strchr(line, '\n'));
    soma_finding_json(f, text, sizeof(text));
    assert_true(text[0] == '{' && strstr(text, "\"rule\":\"softmax-before-loss\"") && strstr(text, "\"severity\":\"error\""));
    soma_doctor_free(d);
    soma_loader_free(loader);
    soma_nn_free(net);
    soma_data_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_rules), cmocka_unit_test_teardown(test_data, tree_end), cmocka_unit_test(test_silence_and_tune),
        cmocka_unit_test(test_leaves_all_as_it_was), cmocka_unit_test(test_watching_changes_nothing), cmocka_unit_test(test_watching_keeps_the_order),
        cmocka_unit_test_teardown(test_records_read_back, tree_end), cmocka_unit_test_teardown(test_bad_records, tree_end), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
