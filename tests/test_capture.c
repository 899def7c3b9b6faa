/* Captured steps: the bits of eager ones, over many steps and kinds of networks; what may not be captured; the plan of memory. */
#include "nn_help.h"

#include "capture/capture.h"

typedef struct model {
    soma_module *net;
    soma_optim *opt;
    bool classes;
} model;

static model model_new(const char *text, const char *optim, bool classes, int ndim, const int64_t *shape) {
    soma_seed(7);
    model m = {.net = parse(text), .classes = classes};
    soma_nn_build(m.net, ndim, shape);
    m.opt = strcmp(optim, "adam") == 0 ? soma_adamw(m.net, .lr = 0.01) : soma_sgd(m.net, .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01);
    check_ok();
    return m;
}

static void model_free(model *m) {
    soma_optim_free(m->opt);
    soma_nn_free(m->net);
}

static bool step(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    model *m = user;
    out[1] = soma_nn_forward(m->net, in[0]);
    out[0] = m->classes ? soma_cross_entropy(out[1], in[1]) : soma_mse_loss(out[1], in[1]);
    return n_in == 2 && n_out == 2 && soma_backward(out[0]) == SOMA_OK && soma_optim_step(m->opt) == SOMA_OK;
}

static void same_bits(soma_tensor *a, soma_tensor *b, const char *what, int i) {
    check_ok();
    assert_true(soma_numel(a) == soma_numel(b) && soma_dtype_of(a) == soma_dtype_of(b));
    if (memcmp(soma_data(a), soma_data(b), (size_t)soma_numel(a) * soma_dtype_size(soma_dtype_of(a))) != 0)
        fail_msg("%s differs in step %d", what, i);
}

static void same_networks(soma_module *a, soma_module *b) {
    for (int buffers = 0; buffers < 2; buffers++) {
        soma_named x[64], y[64];
        int n = soma_nn_named(a, buffers, x, 64);
        assert_int_equal(soma_nn_named(b, buffers, y, 64), n);
        assert_true(n <= 64);
        for (int i = 0; i < n; i++)
            same_bits(x[i].tensor, y[i].tensor, x[i].name, -1);
    }
}

typedef struct trial {
    const char *text, *optim;
    bool classes, tokens;
    int ndim;
    int64_t shape[4];
    int64_t out[3]; /* of the target, [batch] for classes */
    int n_out;
} trial;

static soma_tensor *input_of(const trial *t, int64_t rows) {
    int64_t shape[4];
    memcpy(shape, t->shape, sizeof shape);
    shape[0] = rows;
    return t->tokens ? soma_randint(0, 11, t->ndim, shape, SOMA_I64) : soma_randn(t->ndim, shape, SOMA_F32);
}

/* Eager and captured by turns, from the same weights, the same data, the same streams; every third batch has other rows. */
static void compare(const trial *t, int steps) {
    model a = model_new(t->text, t->optim, t->classes, t->ndim, t->shape), b = model_new(t->text, t->optim, t->classes, t->ndim, t->shape);
    soma_capture *c = soma_capture_new(step, &b);
    soma_sched *sched = soma_sched_cosine(steps, 0.1);
    for (int i = 0; i < steps; i++) {
        soma_scope scope = soma_scope_begin();
        int64_t out[3];
        memcpy(out, t->out, sizeof out);
        out[0] = i % 3 == 2 ? t->shape[0] - 1 : t->shape[0];
        soma_seed((uint64_t)i);
        soma_tensor *in[2] = {input_of(t, out[0]), NULL}, *x[2], *y[2];
        in[1] = t->classes ? soma_randint(0, 3, t->n_out, out, SOMA_I64) : soma_randn(t->n_out, out, SOMA_F32);
        soma_rng rng = soma_rng_get();
        soma_sched_apply(sched, a.opt, i);
        soma_sched_apply(sched, b.opt, i);
        assert_true(step(&a, in, 2, x, 2));
        soma_rng after = soma_rng_get();
        soma_rng_set(rng);
        if (soma_capture_run(c, in, 2, y, 2) != SOMA_OK)
            fail_msg("%s, step %d: %s", t->text, i, soma_error_message());
        assert_int_equal(soma_rng_get().stream, after.stream);
        same_bits(x[0], y[0], "the loss", i);
        same_bits(x[1], y[1], "the prediction", i);
        assert_false(soma_requires_grad(y[0]));
        soma_scope_end(scope);
    }
    same_networks(a.net, b.net);
    soma_capture_info info = soma_capture_stats(c);
    assert_int_equal(info.recorded, 2);
    assert_int_equal(info.replayed, steps - 2);
    assert_true(info.bytes < info.bytes_apart);
    soma_sched_free(sched);
    soma_capture_free(c);
    model_free(&a);
    model_free(&b);
}

static void test_mlp(void **state) {
    (void)state;
    compare(&(trial){"linear 32 relu, linear 16 tanh, linear 3", "sgd", true, false, 2, {8, 5}, {8}, 1}, 12);
    compare(&(trial){"linear 32 gelu, linear 3", "adam", false, false, 2, {8, 5}, {8, 3}, 2}, 12);
    compare(&(trial){"linear 200 sigmoid, linear 100 silu, linear 3", "adam", false, false, 2, {200, 5}, {200, 3}, 2}, 6);
}

static void test_conv(void **state) {
    (void)state;
    compare(&(trial){"conv 8 3, batchnorm, relu, maxpool 2, dropout 0.3, conv 6 3 relu, flatten, linear 3", "adam", true, false, 4, {6, 2, 12, 12}, {6}, 1}, 9);
    compare(&(trial){"conv 16 3 same, batchnorm, relu, residual (conv 16 3 same, batchnorm, relu), gap, flatten, linear 3", "sgd", true, false, 4,
                     {4, 3, 10, 10}, {4}, 1}, 9);
}

static void test_sequences(void **state) {
    (void)state;
    compare(&(trial){"embedding 11 6, lstm 8 last, dropout 0.2, linear 3", "adam", true, true, 2, {5, 7}, {5}, 1}, 9);
    compare(&(trial){"embedding 11 6, gru 8 last, linear 3", "sgd", true, true, 2, {5, 7}, {5}, 1}, 6);
    compare(&(trial){"embedding 11 8, position, transformer 8 heads 2 feedforward 16 gelu normfirst causal, layernorm, flatten, linear 3", "adam", true, true, 2,
                     {5, 6}, {5}, 1}, 9);
}

/* ---- Gradients, results, signatures ---- */

static bool gradients(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    soma_tensor *w = user;
    (void)n_in, (void)n_out;
    out[0] = soma_sum(soma_tanh(soma_mul(in[0], w)), SOMA_ALL, false);
    out[1] = in[0];
    out[2] = NULL;
    return soma_backward(out[0]) == SOMA_OK;
}

static void test_gradients(void **state) {
    (void)state;
    soma_seed(3);
    int64_t n = 3000;
    soma_tensor *w = soma_requires_grad_(soma_randn(1, &n, SOMA_F32), true), *v = soma_requires_grad_(soma_clone(soma_detach(w)), true);
    soma_capture *c = soma_capture_new(gradients, w);
    for (int i = 0; i < 9; i++) { /* added up for three steps, then cleared */
        soma_tensor *x = soma_randn(1, &n, SOMA_F32), *got[3], *want[3];
        if (i % 3 == 0) {
            soma_set_grad(w, NULL);
            soma_set_grad(v, NULL);
        }
        assert_true(gradients(v, &x, 1, want, 3));
        assert_int_equal(soma_capture_run(c, &x, 1, got, 3), SOMA_OK);
        same_bits(want[0], got[0], "the sum", i);
        same_bits(soma_grad(v), soma_grad(w), "the gradient", i);
        assert_true(soma_shares_storage(got[1], x) && !got[2]);
    }
    assert_int_equal(soma_capture_stats(c).recorded, 2);
    soma_tensor *kept = soma_grad(w), *x = soma_randn(1, &n, SOMA_F32), *got[3];
    double first = soma_at(kept, 1, (int64_t[]){0});
    soma_keep(kept);
    soma_set_grad(w, NULL);
    soma_capture_run(c, &x, 1, got, 3);
    assert_true(soma_at(kept, 1, (int64_t[]){0}) == first); /* what the program holds is its own */
    soma_release(kept);
    soma_requires_grad_(w, false);
    soma_capture_run(c, &x, 1, got, 3);
    check_error(SOMA_ESTATE, "nothing that this tensor depends on requires a gradient");
    soma_capture_free(c);
}

static bool chain(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    (void)user, (void)n_in, (void)n_out;
    soma_tensor *y = soma_mul(soma_tanh(soma_add_scalar(soma_mul_scalar(in[0], 1.5), 0.25)), soma_sigmoid(in[0]));
    soma_exp(y); /* nobody reads it */
    out[0] = soma_where(soma_gt(y, soma_scalar(0)), y, soma_mul_scalar(y, 0.5));
    return soma_backward(y, .grad = in[1]) == SOMA_OK;
}

static void test_chains(void **state) {
    (void)state;
    int64_t n = 100003;
    soma_seed(5);
    for (int dtype = 0; dtype < 2; dtype++) {
        soma_tensor *x = soma_requires_grad_(soma_randn(1, &n, (soma_dtype)dtype), true), *g = soma_randn(1, &n, (soma_dtype)dtype), *want, *got;
        soma_capture *c = soma_capture_new(chain, NULL);
        assert_true(chain(NULL, (soma_tensor *[]){x, g}, 2, &want, 1));
        soma_tensor *grad = soma_keep(soma_grad(x));
        for (int threads = 1; threads < 8; threads += 3) {
            soma_set_threads(threads);
            for (int i = 0; i < 2; i++) {
                soma_set_grad(x, NULL);
                assert_int_equal(soma_capture_run(c, (soma_tensor *[]){x, g}, 2, &got, 1), SOMA_OK);
                same_bits(want, got, "the chain", i);
                same_bits(grad, soma_grad(x), "its gradient", i);
            }
        }
        soma_set_threads(0);
        soma_capture_info info = soma_capture_stats(c);
        assert_true(info.dropped == 3 && info.chained >= 3 * 11 && info.bytes * 3 < info.bytes_apart);
        soma_release(grad);
        soma_capture_free(c);
    }
}

static bool twice(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    (void)user, (void)n_out;
    out[0] = soma_add(in[0], in[n_in - 1]);
    return true;
}

static void test_signatures(void **state) {
    (void)state;
    soma_capture *c = soma_capture_new(twice, NULL);
    soma_tensor *x = soma_arange(0, 6, 1, SOMA_F32), *y = soma_full(SOMA_SHAPE(6), 10, SOMA_F32), *out;
    for (int i = 0; i < 3; i++) {
        soma_capture_run(c, (soma_tensor *[]){x, y}, 2, &out, 1);
        CHECK_VALUES(out, 10, 11, 12, 13, 14, 15);
        soma_capture_run(c, (soma_tensor *[]){x, x}, 2, &out, 1); /* the same memory twice */
        CHECK_VALUES(out, 0, 2, 4, 6, 8, 10);
        soma_capture_run(c, (soma_tensor *[]){soma_reshape(x, SOMA_SHAPE(2, 3)), soma_transpose(soma_reshape(y, SOMA_SHAPE(3, 2)), 0, 1)}, 2, &out, 1);
        CHECK_VALUES(out, 10, 11, 12, 13, 14, 15);
    }
    assert_int_equal(soma_capture_stats(c).recorded, 3);
    for (int64_t n = 1; n < 20; n++) {
        soma_tensor *z = soma_ones(1, &n, SOMA_F32);
        soma_capture_run(c, &z, 1, &out, 1);
        assert_true(soma_item(soma_sum(out, SOMA_ALL, false)) == 2.0 * (double)n);
    }
    check_ok();
    soma_capture_free(c);
    soma_capture_free(NULL);
    assert_null(soma_capture_new(NULL, NULL));
    check_error(SOMA_EINVAL, "the step is NULL");
}

/* ---- What may not be captured ---- */

static soma_tensor *stolen;
static int which;

static bool wrong(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    (void)n_in, (void)n_out;
    char text[100];
    soma_tensor *y = soma_relu(in[0]), *row = soma_from_array((float[]){1, 2}, SOMA_SHAPE(2), SOMA_F32);
    switch (which) {
    case 0: return soma_item(soma_sum(y, SOMA_ALL, false)) > 0;
    case 1: return soma_data(in[0]) != NULL;
    case 2: soma_to_array(y, text, 2, SOMA_F32); break;
    case 3: soma_format(y, text, sizeof text); break;
    case 4: soma_masked_select(y, soma_gt(y, soma_scalar(0))); break;
    case 5: stolen = soma_keep(y); break;
    case 6: soma_add_(row, y); break;
    case 7: soma_at(y, 1, (int64_t[]){0}); break;
    case 8: soma_capture_run(user, in, 1, out, 1); break;
    case 9: return false;
    case 10: soma_matmul(y, soma_ones(SOMA_SHAPE(3, 3), SOMA_F32)); break;
    default: soma_fill_(row, 3); out[0] = soma_add(y, row); break;
    }
    return soma_error() == SOMA_OK;
}

static void test_errors(void **state) {
    (void)state;
    static const char *const parts[] = {"soma_item: the step is being captured, and this value was computed in it, by sum",
        "soma_data: the step is being captured, and this is the value of an input", "soma_to_array: the step", "soma_format: the step", "masked_select: the step",
        "a tensor that relu made in the step is kept beyond its end", "add in place: a replay would not bring back", "soma_at: the step",
        "called in a step that is being captured", "the step returned false without an error", "matmul:"};
    soma_tensor *x = soma_from_array((float[]){-1, 2}, SOMA_SHAPE(2), SOMA_F32), *out;
    soma_capture *c = soma_capture_new(wrong, NULL);
    for (which = 0; which <= 10; which++) {
        soma_capture *own = soma_capture_new(wrong, c);
        assert_int_not_equal(soma_capture_run(own, &x, 1, &out, 1), SOMA_OK);
        if (!strstr(soma_error_message(), parts[which]))
            fail_msg("%d: expected '%s', got '%s'", which, parts[which], soma_error_message());
        soma_error_clear();
        assert_null(out);
        assert_int_equal(soma_capture_stats(own).recorded, 0);
        soma_capture_free(own);
    }
    soma_release(stolen);
    for (int i = 0; i < 3; i++) { /* and the same capture does its work after all */
        assert_int_equal(soma_capture_run(c, &x, 1, &out, 1), SOMA_OK);
        CHECK_VALUES(out, 3, 5);
    }
    soma_capture_run(c, &(soma_tensor *){NULL}, 1, &out, 1);
    check_error(SOMA_EINVAL, "input 0 is NULL");
    soma_capture_run(NULL, &x, 1, &out, 1);
    check_error(SOMA_EINVAL, "the capture");
    soma_capture_free(c);
}

static bool lookup(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    (void)user, (void)n_in, (void)n_out;
    out[0] = soma_cross_entropy(soma_mul_scalar(in[0], 2), in[1]);
    return out[0] != NULL;
}

/* What operators check of values they check in replays. */
static void test_checks(void **state) {
    (void)state;
    soma_capture *c = soma_capture_new(lookup, NULL);
    soma_tensor *x = soma_ones(SOMA_SHAPE(2, 3), SOMA_F32), *out;
    for (int64_t k = 0; k < 4; k++) {
        soma_tensor *t = soma_from_array((int64_t[]){0, k}, SOMA_SHAPE(2), SOMA_I64);
        soma_capture_run(c, (soma_tensor *[]){x, t}, 2, &out, 1);
        assert_true((out == NULL) == (k == 3));
    }
    check_error(SOMA_EINVAL, "class");
    soma_capture_free(c);
}

/* ---- Modes, memory ---- */

static void test_modes(void **state) {
    (void)state;
    trial t = {"linear 8, batchnorm, dropout 0.5, linear 3", "sgd", true, false, 2, {6, 4}, {6}, 1};
    model a = model_new(t.text, t.optim, true, 2, t.shape), b = model_new(t.text, t.optim, true, 2, t.shape);
    soma_capture *c = soma_capture_new(step, &b);
    for (int i = 0; i < 12; i++) {
        soma_tensor *in[2] = {input_of(&t, 6), soma_randint(0, 3, SOMA_SHAPE(6), SOMA_I64)}, *x[2], *y[2];
        soma_rng rng = soma_rng_get();
        soma_nn_train(a.net, i % 6 < 3);
        soma_nn_train(b.net, i % 6 < 3);
        if (i == 4) {
            soma_optim_set(a.opt, 0, "momentum", 0.5);
            soma_optim_set(b.opt, 0, "momentum", 0.5);
        }
        assert_true(step(&a, in, 2, x, 2));
        soma_rng_set(rng);
        assert_int_equal(soma_capture_run(c, in, 2, y, 2), SOMA_OK);
        same_bits(x[0], y[0], "the loss", i);
    }
    same_networks(a.net, b.net);
    soma_capture_free(c);
    model_free(&a);
    model_free(&b);
}

static void test_places(void **state) {
    (void)state;
    soma__span s[200];
    for (int round = 0; round < 50; round++) {
        soma__random r = soma__random_new(9, (uint64_t)round);
        int n = 1 + (int)soma__random_below(&r, 200);
        int64_t most = 0;
        for (int i = 0; i < n; i++) {
            s[i].first = (int)soma__random_below(&r, 100);
            s[i].last = s[i].first + (int)soma__random_below(&r, 20);
            s[i].bytes = 1 + (int64_t)soma__random_below(&r, 5000);
        }
        int64_t bytes = soma__plan_places(s, n);
        for (int i = 0; i < n; i++) {
            assert_true(s[i].at >= 0 && s[i].at % 64 == 0 && s[i].at + s[i].bytes <= bytes);
            for (int k = 0; k < i; k++)
                assert_true(s[i].last < s[k].first || s[k].last < s[i].first || s[i].at + s[i].bytes <= s[k].at || s[k].at + s[k].bytes <= s[i].at);
        }
        for (int at = 0; at < 120; at++) { /* not far from the least that is possible */
            int64_t alive = 0;
            for (int i = 0; i < n; i++)
                alive += s[i].first <= at && at <= s[i].last ? s[i].bytes : 0;
            most = SOMA_MAX(most, alive);
        }
        assert_true(bytes <= most * 3 / 2);
    }
}

static void test_allocations(void **state) {
    (void)state;
    trial t = {"linear 8 relu, linear 3", "adam", true, false, 2, {6, 4}, {6}, 1};
    soma_tensor *in[2] = {input_of(&t, 6), soma_randint(0, 3, SOMA_SHAPE(6), SOMA_I64)}, *out[2];
    int64_t k = 1;
    for (bool done = false; !done; k++) {
        int64_t before = soma_memory_stats().current;
        model m = model_new(t.text, t.optim, true, 2, t.shape);
        soma_memory_fail_at(k);
        soma_capture *c = soma_capture_new(step, &m);
        for (int i = 0; c && i < 3; i++) {
            soma_scope scope = soma_scope_begin();
            soma_capture_run(c, in, 2, out, 2);
            soma_scope_end(scope);
        }
        soma_memory_fail_at(0);
        done = soma_error() == SOMA_OK;
        if (!done)
            check_error(SOMA_ENOMEM, "no memory");
        soma_capture_free(c);
        model_free(&m);
        if (k > 1)
            assert_int_equal(soma_memory_stats().current, before);
    }
    assert_true(k > 100);
}

/* ---- Training ---- */

/* A network whose forward looks at a value cannot be captured; training goes on without, as if nothing had been tried. */
static soma_tensor *curious_forward(soma_module *m, soma_tensor *const *in, int n) {
    soma_tensor *y = n == 1 ? soma_nn_forward(soma_nn_child(m, 0, NULL), in[0]) : NULL;
    return soma_item(soma_sum(y, SOMA_ALL, false)) > 1e30 ? NULL : y;
}
static const soma_module_class curious = {.size = sizeof(soma_module_class), .name = "Curious", .forward = curious_forward};

static soma_module *trained(bool capture, bool curiously) {
    soma_seed(11);
    soma_module *net = parse("conv 6 3, batchnorm, relu, maxpool 2, dropout 0.3, flatten, linear 3"), *all = net;
    soma_nn_build(net, 4, (const int64_t[]){8, 1, 9, 9});
    if (curiously) {
        all = soma_nn_module_new(&curious);
        soma_nn_add_child(all, "net", net);
    }
    soma_optim *opt = soma_adam(all, .lr = 0.01);
    soma_dataset *d = soma_data_tensors(soma_randn(SOMA_SHAPE(45, 1, 9, 9), SOMA_F32), soma_randint(0, 3, SOMA_SHAPE(45), SOMA_I64));
    soma_loader *l = soma_loader_new(d, .batch_size = 8, .shuffle = true), *val = soma_loader_new(d, .batch_size = 16);
    soma_fit(all, opt, l, val, NULL, .epochs = 3, .capture = capture, .accumulate = 2, .clip_norm = 1);
    check_ok();
    soma_loader_free(l);
    soma_loader_free(val);
    soma_data_free(d);
    soma_optim_free(opt);
    check_ok();
    return all;
}

static void test_fit(void **state) {
    (void)state;
    for (int curiously = 0; curiously < 2; curiously++) {
        soma_module *a = trained(false, curiously), *b = trained(true, curiously);
        same_networks(a, b);
        soma_nn_free(a);
        soma_nn_free(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_mlp), TEST(test_conv), TEST(test_sequences), TEST(test_gradients), TEST(test_chains), TEST(test_signatures), TEST(test_errors),
        TEST(test_checks), TEST(test_modes), TEST(test_places), TEST(test_allocations), TEST(test_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
