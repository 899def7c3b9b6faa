/* Regularisation: the proximal step gives exact zeros, the norm of a unit's weights stays below its limit, accumulated batches are one large
 * batch, mixing and noise are functions of the seed, penalties have the gradients of their formulas, and cut squares lie where they may. */
#include "check.h"

#include "train/train.h"

#include <math.h>
#include <stdio.h>

/* ---- Steps on weights ----------------------------------------------------------------------------------------------- */

static soma_module *small_net(uint64_t seed) {
    soma_seed(seed);
    soma_module *net = soma_nn_parse("linear 6 tanh, linear 3");
    soma_nn_build(net, 2, (const int64_t[]){1, 4});
    check_ok();
    return net;
}

static void read_all(soma_tensor *t, float *out) { soma_to_array(t, out, soma_numel(t), SOMA_F32); }

/* With no gradient an SGD step does nothing, so that the proximal step is all: sign(w) max(|w| - lr l1, 0) / (1 + lr l2). */
static void test_proximal(void **state) {
    (void)state;
    soma_module *net = small_net(1);
    soma_optim *opt = soma_sgd(net, .lr = 0.5);
    float before[24], after[24], bias[6], bias_after[6];
    read_all(soma_nn_get(net, "0.weight"), before);
    read_all(soma_nn_get(net, "0.bias"), bias);
    assert_int_equal(soma_proximal_step(opt, 0.4, 0.5), SOMA_OK);
    read_all(soma_nn_get(net, "0.weight"), after);
    read_all(soma_nn_get(net, "0.bias"), bias_after);
    int zeros = 0;
    for (int i = 0; i < 24; i++) {
        double want = copysign(fmax(fabs((double)before[i]) - 0.2, 0), before[i]) / 1.25;
        assert_float_equal(after[i], want, 1e-7);
        if (fabs((double)before[i]) < 0.2) assert_true(after[i] == 0);
        zeros += after[i] == 0;
    }
    assert_in_range(zeros, 1, 23);
    assert_memory_equal(bias, bias_after, sizeof bias);
    assert_int_equal(soma_proximal_step(opt, -1, 0), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "at least 0");
    soma_optim_free(opt);
    soma_nn_free(net);
}

static void test_max_norm(void **state) {
    (void)state;
    soma_module *net = small_net(2);
    soma_optim *opt = soma_sgd(net, .lr = 0.1);
    float before[24], w[24];
    read_all(soma_nn_get(net, "0.weight"), before);
    assert_int_equal(soma_max_norm(opt, 0.5), SOMA_OK);
    read_all(soma_nn_get(net, "0.weight"), w);
    int shrunk = 0;
    for (int i = 0; i < 6; i++) {
        double was = 0, norm = 0;
        for (int k = 0; k < 4; k++) was += (double)before[4 * i + k] * before[4 * i + k], norm += (double)w[4 * i + k] * w[4 * i + k];
        assert_true(sqrt(norm) <= 0.5 + 1e-6);
        if (sqrt(was) < 0.499) assert_memory_equal(before + 4 * i, w + 4 * i, 4 * sizeof *w);
        shrunk += sqrt(was) > 0.5;
    }
    assert_true(shrunk > 0);
    soma_max_norm(opt, 0);
    check_error(SOMA_EINVAL, "above 0");
    soma_optim_free(opt);
    soma_nn_free(net);
}

/* d/dw (l1 |w| + l2 w^2 / 2) = l1 sign(w) + l2 w; nothing for biases. */
static void test_penalty(void **state) {
    (void)state;
    soma_module *net = small_net(3);
    soma_tensor *w = soma_nn_get(net, "2.weight"), *p = soma_penalty(net, 0.3, 0.2);
    double want = 0;
    soma_named named[8];
    int n = soma_nn_named(net, false, named, 8);
    for (int i = 0; i < n; i++) {
        float v[64];
        read_all(named[i].tensor, v);
        for (int64_t k = 0; k < soma_numel(named[i].tensor) && soma_ndim(named[i].tensor) > 1; k++) want += 0.3 * fabs((double)v[k]) + 0.1 * (double)v[k] * v[k];
    }
    assert_float_equal(soma_item(p), want, 1e-5);
    soma_backward(p);
    float value[18], grad[18];
    read_all(w, value);
    read_all(soma_grad(w), grad);
    for (int i = 0; i < 18; i++) assert_float_equal(grad[i], copysign(0.3, value[i]) + 0.2 * value[i], 1e-6);
    assert_null(soma_grad(soma_nn_get(net, "0.bias")));
    assert_true(soma_item(soma_penalty(net, 0, 0)) == 0);
    check_ok();
    soma_nn_free(net);
}

/* ---- Mixing --------------------------------------------------------------------------------------------------------- */

static void test_mix(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_batch b = {.x = soma_arange(0, 12, 1, SOMA_F32), .y = soma_arange(0, 12, 1, SOMA_I64), .count = 12};
    b.x = soma_reshape(b.x, SOMA_DIMS(12, 1));
    soma__mixed one, same, next;
    soma_seed(5);
    assert_int_equal(soma__mix(&b, 0.4, &one), SOMA_OK);
    soma__mix(&b, 0.4, &next);
    soma_seed(5);
    soma__mix(&b, 0.4, &same);
    float x[12], again[12], other[12];
    int64_t with[12];
    read_all(one.x, x);
    read_all(same.x, again);
    read_all(next.x, other);
    soma_to_array(one.other, with, 12, SOMA_I64);
    assert_memory_equal(x, again, sizeof x);
    assert_memory_not_equal(x, other, sizeof x);
    assert_true(one.share >= 0.5 && one.share <= 1 && one.share == same.share);
    bool seen[12] = {0};
    for (int i = 0; i < 12; i++) {
        assert_float_equal(x[i], one.share * i + (1 - one.share) * (double)with[i], 1e-5);
        assert_false(seen[with[i]]);
        seen[with[i]] = true;
    }
    /* The mean of max(share, 1 - share) of Beta(1, 1) is 3/4. */
    double mean = 0;
    for (int i = 0; i < 2000; i++) {
        soma_scope inner = soma_scope_begin();
        soma__mix(&b, 1, &one);
        mean += one.share / 2000;
        soma_scope_end(inner);
    }
    assert_float_equal(mean, 0.75, 0.015);
    check_ok();
    soma_scope_end(scope);
}

/* ---- Whole trainings ------------------------------------------------------------------------------------------------- */

typedef struct job {
    soma_dataset *data;
    soma_loader *loader;
    soma_module *net;
    soma_optim *opt;
} job;

/* 50 rows of 4 numbers in 3 classes; batches of `batch`, in order. */
static job new_job(const char *text, int64_t batch) {
    job j;
    soma_scope scope = soma_scope_begin();
    soma_seed(9);
    soma_tensor *x = soma_randn(SOMA_SHAPE(50, 4), SOMA_F32), *y = soma_argmax(soma_slice(x, 1, 0, 3, 1), 1, false);
    j.data = soma_data_tensors(x, y);
    j.loader = soma_loader_new(j.data, .batch_size = batch, .shuffle = true, .seed = 3);
    soma_seed(4);
    j.net = soma_nn_parse(text);
    soma_nn_build(j.net, 2, (const int64_t[]){1, 4});
    j.opt = soma_sgd(j.net, .lr = 0.2, .momentum = 0.5);
    check_ok();
    soma_scope_end(scope);
    return j;
}

static void free_job(job *j) {
    soma_optim_free(j->opt);
    soma_loader_free(j->loader);
    soma_nn_free(j->net);
    soma_data_free(j->data);
}

#define TEXT "linear 6 tanh, linear 3"

static int64_t n_steps;
static int count_steps(void *user, const soma_progress *p) {
    (void)user;
    n_steps = p->total_step;
    return 0;
}

static void fit_weights(const char *text, int64_t batch, soma_fit_opts o, float *out) {
    job j = new_job(text, batch);
    soma_seed(21);
    o.epochs = 3;
    o.callbacks = (soma_callbacks){.on_step = count_steps};
    o.size = sizeof o;
    assert_int_equal(soma_fit_ex(j.net, j.opt, j.loader, NULL, NULL, &o), SOMA_OK);
    check_ok();
    soma_named named[8];
    int n = soma_nn_named(j.net, false, named, 8);
    for (int i = 0; i < n; i++, out += soma_numel(named[i - 1].tensor)) read_all(named[i].tensor, out);
    free_job(&j);
}
enum { N_WEIGHTS = 6 * 4 + 6 + 3 * 6 + 3 };

/* 50 samples in batches of 5 with 4 a step: groups of 20, 20 and 10; and with a batch of 8 and 3 a step, 24, 24 and 2. */
static void test_accumulate(void **state) {
    (void)state;
    float large[N_WEIGHTS], small[N_WEIGHTS];
    fit_weights(TEXT, 20, (soma_fit_opts){.l2 = 0.01, .clip_norm = 0.5}, large);
    assert_int_equal(n_steps, 9);
    fit_weights(TEXT, 5, (soma_fit_opts){.l2 = 0.01, .clip_norm = 0.5, .accumulate = 4}, small);
    assert_int_equal(n_steps, 9);
    for (int i = 0; i < N_WEIGHTS; i++) assert_float_equal(small[i], large[i], 2e-6);
    fit_weights(TEXT, 24, (soma_fit_opts){0}, large);
    fit_weights(TEXT, 8, (soma_fit_opts){.accumulate = 3}, small);
    for (int i = 0; i < N_WEIGHTS; i++) assert_float_equal(small[i], large[i], 2e-6);
    fit_weights(TEXT, 50, (soma_fit_opts){0}, large); /* all of them in one group */
    fit_weights(TEXT, 7, (soma_fit_opts){.accumulate = 100}, small);
    assert_int_equal(n_steps, 3);
    for (int i = 0; i < N_WEIGHTS; i++) assert_float_equal(small[i], large[i], 2e-6);
}

/* L2 in the loss is SGD's weight decay of the weights; the lasso by proximal steps zeroes some; each option changes something, and does so
 * in the same way every time. */
static void test_options_of_fit(void **state) {
    (void)state;
    static const soma_fit_opts all[] = {
        {.l1 = 0.01}, {.l2 = 0.01}, {.prox_l1 = 0.05}, {.prox_l2 = 0.1}, {.max_norm = 0.6}, {.grad_noise = 0.1}, {.label_smoothing = 0.2},
        {.mixup = 0.4}, {.activity_l1 = 0.01}, {.clip_value = 0.01}, {.clip_norm = 0.01},
    };
    float plain[N_WEIGHTS], one[N_WEIGHTS], two[N_WEIGHTS];
    fit_weights(TEXT, 10, (soma_fit_opts){0}, plain);
    for (size_t i = 0; i < SOMA_LEN(all); i++) {
        fit_weights(TEXT, 10, all[i], one);
        fit_weights(TEXT, 10, all[i], two);
        assert_memory_equal(one, two, sizeof one);
        assert_memory_not_equal(one, plain, sizeof one);
    }
    int zeros = 0;
    fit_weights(TEXT, 10, (soma_fit_opts){.prox_l1 = 0.3}, one);
    for (int i = 0; i < N_WEIGHTS; i++) zeros += one[i] == 0;
    assert_true(zeros >= 5);
}

/* A penalty on activities makes them smaller. What a hidden layer gives, not the network's own output, is counted. */
static double mean_activity(double l1, double kl, const char *text) {
    job j = new_job(text, 10);
    soma_fit_opts o = {.epochs = 5, .activity_l1 = l1, .activity_kl = kl, .activity_rho = 0.05, .size = sizeof o};
    assert_int_equal(soma_fit_ex(j.net, j.opt, j.loader, NULL, NULL, &o), SOMA_OK);
    soma_scope scope = soma_scope_begin();
    soma_seed(9);
    soma_tensor *x = soma_randn(SOMA_SHAPE(50, 4), SOMA_F32), *h = soma_nn_forward(soma_nn_child(j.net, 0, NULL), x);
    h = soma_nn_forward(soma_nn_child(j.net, 1, NULL), h);
    double mean = soma_item(soma_mean(soma_abs(h), SOMA_ALL, false));
    check_ok();
    soma_scope_end(scope);
    free_job(&j);
    return mean;
}

static void test_activity(void **state) {
    (void)state;
    const char *text = "linear 6 sigmoid, linear 3";
    double plain = mean_activity(0, 0, text);
    assert_true(mean_activity(0.2, 0, text) < plain - 0.05);
    assert_true(mean_activity(0, 0.2, text) < plain - 0.05);
    float with[N_WEIGHTS], without[N_WEIGHTS]; /* the only activation is the output: nothing to count */
    fit_weights("linear 3 sigmoid", 10, (soma_fit_opts){.loss = soma_loss_by_name("bce"), .activity_l1 = 1}, with);
    fit_weights("linear 3 sigmoid", 10, (soma_fit_opts){.loss = soma_loss_by_name("bce")}, without);
    assert_memory_equal(with, without, 15 * sizeof *with);
    job j = new_job("linear 6 tanh, linear 3", 10); /* not in 0 ... 1 */
    soma_fit_opts o = {.activity_kl = 0.1, .size = sizeof o};
    assert_int_equal(soma_fit_ex(j.net, j.opt, j.loader, NULL, NULL, &o), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "expected an activity, 0 to 1");
    free_job(&j);
}

static void test_refused(void **state) {
    (void)state;
    static const struct { soma_fit_opts o; const char *loss, *text; } rows[] = {
        {{.l1 = -1}, NULL, "l1 is -1; it must be at least 0"},
        {{.label_smoothing = 1.5}, NULL, "label_smoothing is 1.5; it must be from 0 to 1"},
        {{.label_smoothing = 0.1}, "mse", "label smoothing goes with the loss cross_entropy, not with mse"},
        {{.accumulate = -2}, NULL, "accumulate is -2"},
        {{.mixup = NAN}, NULL, "mixup is nan"},
        {{.epochs = 1}, "poisson_nll", "the loss poisson_nll needs numbers as targets, but the data has classes"},
    };
    for (size_t i = 0; i < SOMA_LEN(rows); i++) {
        job j = new_job(TEXT, 10);
        soma_fit_opts o = rows[i].o;
        o.size = sizeof o;
        o.loss = rows[i].loss ? soma_loss_by_name(rows[i].loss) : NULL;
        assert_int_equal(soma_fit_ex(j.net, j.opt, j.loader, NULL, NULL, &o), SOMA_EINVAL);
        check_error(SOMA_EINVAL, rows[i].text);
        free_job(&j);
    }
}

/* ---- Losses by name --------------------------------------------------------------------------------------------------- */

/* Every loss of the table trains a network that ends as the table says, on the data that it is for. */
static void test_losses_train(void **state) {
    (void)state;
    for (int i = 0; i < soma_loss_count(); i++) {
        const soma_loss_info *l = soma_loss_get(i);
        assert_non_null(soma_op_find(l->op));
        assert_true(l->doc && l->output && l->options && (l->classes || l->numbers));
        if (!l->classes) continue;
        char text[64];
        const char *end = strstr(l->output, "logsoftmax") ? ", logsoftmax" : strstr(l->output, "sigmoid") ? ", sigmoid" : strstr(l->output, "softplus") ? ", softplus" : "";
        snprintf(text, sizeof text, "linear 3%s", end);
        job j = new_job(text, 10);
        soma_history h;
        soma_fit_opts o = {.epochs = 12, .loss = l->fn, .size = sizeof o};
        assert_int_equal(soma_fit_ex(j.net, j.opt, j.loader, NULL, &h, &o), SOMA_OK);
        check_ok();
        if (strcmp(l->name, "mape") != 0 && h.epochs[11].train_loss >= h.epochs[0].train_loss) /* mape of zeros has no scale */
            fail_msg("%s does not fall: %g, then %g", l->name, h.epochs[0].train_loss, h.epochs[11].train_loss);
        soma_history_free(&h);
        free_job(&j);
    }
    assert_null(soma_loss_get(-1));
    assert_null(soma_loss_get(soma_loss_count()));
}

static void test_loss_texts(void **state) {
    (void)state;
    soma_loss_opts o;
    assert_ptr_equal(soma_loss_parse("huber delta=2.5", &o), soma_loss_by_name("huber"));
    assert_true(o.delta == 2.5);
    assert_non_null(soma_loss_parse("sigmoid_focal alpha=0.5  gamma=0", &o));
    assert_true(o.alpha == 0.5 && o.gamma == -1);
    static const char *const bad[][2] = {
        {"hubr", "did you mean \"huber\""},      {"huber delta", "lacks a number"},      {"huber delta=x", "lacks a number"},
        {"huber tau=0.5", "is not an option; huber has delta"}, {"mse delta=1", "mse has no options"}, {"", "no loss is called"},
    };
    for (size_t i = 0; i < SOMA_LEN(bad); i++) {
        assert_null(soma_loss_parse(bad[i][0], &o));
        check_error(soma_error(), bad[i][1]);
    }
}

/* ---- Cutout -------------------------------------------------------------------------------------------------------------- */

/* Of images of ones, a square of at most 5 x 5 zeros, whole unless the centre is near an edge; the same for the same seed. */
static void test_cutout(void **state) {
    (void)state;
    uint8_t *pixels = malloc(64 * 12 * 10);
    memset(pixels, 255, 64 * 12 * 10);
    int64_t labels[64] = {0};
    labels[1] = 1;
    soma_dataset *d = soma_data_images(pixels, labels, 64, 1, 12, 10);
    float x[2][64 * 120];
    for (int run = 0; run < 2; run++) {
        soma_loader *l = soma_loader_new(d, .batch_size = 64, .cutout = 5, .seed = 7);
        soma_batch b = {.size = sizeof b};
        assert_true(soma_loader_next(l, &b));
        soma_to_array(b.x, x[run], 64 * 120, SOMA_F32);
        soma_loader_free(l);
    }
    check_ok();
    assert_memory_equal(x[0], x[1], sizeof x[0]);
    int whole = 0, other = 0;
    for (int i = 0; i < 64; i++) {
        int zeros = 0;
        for (int k = 0; k < 120; k++) zeros += x[0][i * 120 + k] == 0;
        assert_in_range(zeros, 9, 25);
        whole += zeros == 25;
        other += i > 0 && memcmp(x[0], x[0] + i * 120, 120 * sizeof(float)) != 0;
    }
    assert_true(whole >= 10 && other >= 40);
    soma_data_free(d);
    free(pixels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proximal),       cmocka_unit_test(test_max_norm), cmocka_unit_test(test_penalty),    cmocka_unit_test(test_mix),
        cmocka_unit_test(test_accumulate),     cmocka_unit_test(test_activity), cmocka_unit_test(test_refused),    cmocka_unit_test(test_losses_train),
        cmocka_unit_test(test_options_of_fit), cmocka_unit_test(test_cutout),   cmocka_unit_test(test_loss_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
