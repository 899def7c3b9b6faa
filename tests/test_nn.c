/* Modules, layers against PyTorch (tests/golden/nn.txt, made by tools/golden_nn.py), messages, initialisers, hooks, memory. */
#include "nn_help.h"

#include "nn/nn.h"

#include <math.h>

/* ---- Against PyTorch ---- */

static soma_tensor *sines(double shift, double step, double factor, int ndim, const int64_t *shape) {
    int64_t n = 1;
    for (int i = 0; i < ndim; i++)
        n *= shape[i];
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = sin(shift + step * (double)i) * factor;
    soma_tensor *t = soma_from_array(v, ndim, shape, SOMA_F64);
    free(v);
    return t;
}

/* Parameters get the script's values. */
static void prepare(soma_module *m, int *k) {
    for (int i = 0; i < m->n_slots; i++) {
        soma_tensor *t = m->slots[i].tensor;
        assert_true(!soma_dtype_is_float(soma_dtype_of(t)) || soma_dtype_of(t) == SOMA_F64);
        if (!m->slots[i].buffer)
            soma_nn_add_param(m, m->slots[i].name, sines(++*k, 0.37, 0.5, soma_ndim(t), soma_shape(t)));
    }
    for (int i = 0; i < m->n_children; i++)
        prepare(m->children[i], k);
}

static void near(const char *what, double got, double want) {
    if (!(fabs(got - want) <= 1e-9 * (1 + fabs(want)))) /* f64 sums in another order */
        fail_msg("%s: %.17g, PyTorch has %.17g", what, got, want);
}

/* "y0 … | sum" */
static void compare_output(const char *what, const char *text, soma_tensor *y) {
    char *end;
    soma_tensor *flat = soma_flatten(y, 0, -1);
    for (int64_t i = 0; i < 6; i++) {
        double want = strtod(text, &end);
        assert_true(end != text);
        text = end;
        near(what, soma_at(flat, 1, &i), want);
    }
    near(what, soma_item(soma_sum(y, SOMA_ALL, false)), strtod(strchr(text, '|') + 1, NULL));
}

static void compare_param(soma_module *m, const char *text) {
    char name[64];
    long long n;
    double sum, first;
    assert_int_equal(sscanf(text, "%63s %lld %lf %lf", name, &n, &sum, &first), 4);
    soma_tensor *p = soma_nn_get(m, name);
    check_ok();
    assert_int_equal(soma_numel(p), n);
    soma_tensor *g = soma_flatten(soma_grad(p), 0, -1);
    near(name, soma_item(soma_sum(soma_abs(g), SOMA_ALL, false)), sum);
    near(name, soma_at(g, 1, (int64_t[]){0}), first);
}

static void compare_buffer(soma_module *m, const char *text) {
    char name[64];
    int used;
    assert_int_equal(sscanf(text, "%63s%n", name, &used), 1);
    soma_tensor *b = soma_flatten(soma_to(soma_nn_get(m, name), SOMA_F64), 0, -1);
    check_ok();
    const char *at = text + used;
    for (int64_t i = 0; i < soma_numel(b); i++) {
        char *end;
        near(name, soma_at(b, 1, &i), strtod(at, &end));
        at = end;
    }
}

static void test_golden(void **state) {
    (void)state;
    FILE *f = fopen("tests/golden/nn.txt", "r");
    assert_non_null(f);
    soma_module *m = NULL;
    soma_tensor *x = NULL;
    char line[2000];
    int nets = 0, compared = 0;
    soma_scope scope = soma_scope_begin();
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "net ", 4) == 0) {
            int64_t shape[5];
            int ndim = 0, k = 0;
            char *bar = strrchr(line, '|'), *at = bar + 1, *end;
            *bar = 0;
            for (long v; ndim < 5 && (v = strtol(at, &end, 10)) > 0; at = end)
                shape[ndim++] = v;
            soma_nn_free(m);
            m = parse(line + 4);
            assert_int_equal(soma_nn_to(m, SOMA_F64), SOMA_OK);
            if (soma_nn_build(m, ndim, shape) != SOMA_OK)
                fail_msg("%s: %s", line, soma_error_message());
            prepare(m, &k);
            x = sines(0, 0.1, 1, ndim, shape);
            soma_tensor *y = soma_nn_forward(m, x);
            soma_backward(soma_sum(soma_square(y), SOMA_ALL, false));
            check_ok();
            soma_nn_train(m, false);
            nets++;
            compared--; /* the train line below uses a forward of its own */
        } else if (strncmp(line, "param ", 6) == 0) {
            compare_param(m, line + 6);
        } else if (strncmp(line, "train ", 6) == 0) {
            /* Batch norm uses the batch itself: the same output again, but the running statistics must not move twice. */
            soma_named named[64];
            int n = soma_nn_named(m, true, named, 64);
            soma_tensor *kept[64];
            for (int i = 0; i < n; i++)
                kept[i] = named[i].buffer ? soma_clone(named[i].tensor) : NULL;
            soma_nn_train(m, true);
            compare_output("train", line + 6, soma_nn_forward(m, x));
            soma_nn_train(m, false);
            bool grad = soma_set_grad_enabled(false);
            for (int i = 0; i < n; i++)
                if (kept[i])
                    soma_copy_(named[i].tensor, kept[i]);
            soma_set_grad_enabled(grad);
            compared++;
        } else if (strncmp(line, "eval ", 5) == 0) {
            compare_output("eval", line + 5, soma_nn_forward(m, x));
            compared++;
        } else if (strncmp(line, "buffer ", 7) == 0) {
            compare_buffer(m, line + 7);
        }
        check_ok();
    }
    fclose(f);
    soma_nn_free(m);
    soma_scope_end(scope);
    assert_int_equal(nets, 41);
    assert_int_equal(compared, nets);
}

/* ---- Names and counts ---- */

static void test_names(void **state) {
    (void)state;
    soma_module *m = parse("conv 8 3 nobias, batchnorm relu, residual(conv 8 3 same), flatten, linear 10");
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 1, 6, 6)), SOMA_OK);
    static const char *const names[] = {"0.weight", "1.weight", "1.bias", "3.0.weight", "3.0.bias", "5.weight", "5.bias",
                                        "1.running_mean", "1.running_var", "1.num_batches_tracked"};
    soma_named all[10], part[2];
    assert_int_equal(soma_nn_named(m, false, NULL, 0), 7);
    assert_int_equal(soma_nn_named(m, true, all, 10), 10);
    for (int i = 0; i < 10; i++) {
        assert_string_equal(all[i].name, names[i]);
        assert_ptr_equal(soma_nn_get(m, names[i]), all[i].tensor);
        assert_int_equal(all[i].buffer, i >= 7);
        assert_int_equal(soma_requires_grad(all[i].tensor), i < 7);
    }
    assert_int_equal(soma_nn_named(m, true, part, 2), 10);
    assert_ptr_equal(part[1].name, all[1].name); /* the same names as long as nothing changes */
    assert_int_equal(soma_nn_count(m), 8 * 9 + 16 + 8 * 8 * 9 + 8 + 10 * 8 * 16 + 10);
    assert_null(soma_nn_get(m, "5.wieght"));
    check_error(SOMA_ENOTFOUND, "the Sequential has no parameter or buffer '5.wieght'; did you mean '5.weight'?");
    assert_null(soma_nn_get(m, "9.9.9"));
    check_error(SOMA_ENOTFOUND, "no parameter or buffer '9.9.9'");
    soma_nn_free(m);
    assert_int_equal(soma_nn_named(NULL, true, NULL, 0), 0);
    soma_nn_free(NULL);
}

/* A size that is given makes the parameters at once, and a wrong input is named. */
static void test_sizes(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = soma_nn_seq(soma_nn_linear(800, 128), soma_nn_relu(), soma_nn_linear(128, 10, .no_bias = true));
    check_ok();
    assert_int_equal(soma_nn_count(m), 800 * 128 + 128 + 1280);
    assert_null(soma_nn_forward(m, soma_zeros(SOMA_SHAPE(64, 1600), SOMA_F32)));
    assert_string_equal(soma_error_message(), "in 0 (Linear): input [64, 1600] does not fit weight [128, 800]");
    check_error(SOMA_ESHAPE, "in 0 (Linear)");
    soma_nn_free(m);
    static const struct {
        const char *text;
        int ndim;
        int64_t shape[4];
        const char *message;
    } wrong[] = {
        {"conv 4 3, maxpool 2, conv 4 3, maxpool 2, maxpool 2", 4, {2, 1, 10, 10},
         "in 4 (MaxPool2d): input [2, 4, 1, 1] is too small for a window of 2 x 2: the output would be empty"},
        {"conv 4 5", 4, {2, 1, 4, 9}, "in 0 (Conv2d): input [2, 1, 4, 9] is too small for a window of 5 x 5 with padding 0 x 0: the output would be empty"},
        {"conv 4 3 dilation 3 pad 1", 4, {2, 1, 4, 9},
         "in 0 (Conv2d): input [2, 1, 4, 9] is too small for a window of 7 x 7 with padding 1 x 1: the output would be empty"},
        {"avgpool 3 pad 1", 4, {2, 1, 0, 9},
         "in 0 (AvgPool2d): input [2, 1, 0, 9] is too small for a window of 3 x 3 with padding 1 x 1: the output would be empty"},
        {"flatten, conv 4 3", 4, {2, 1, 4, 9}, "in 1 (Conv2d): input [2, 36] has 2 dimensions, and [batch, channels, height, width] is needed"},
        {"linear 3, residual(linear 4 relu)", 2, {2, 5},
         "in 1 (Residual): the layers inside make [2, 4] of input [2, 3]; their output must have the input's shape"},
        {"residual(relu, (tanh, conv 4 3 groups 4))", 4, {2, 6, 8, 8},
         "in 0.1.1 (Conv2d): 6 input channels cannot be divided into 4 groups"},
        {"batchnorm", 1, {5}, "in 0 (BatchNorm): input [5] has 1 dimension, and at least 2 are needed"},
        {"linear 2147483648", 2, {1, 2147483647}, "in 0 (Linear): Linear weight of shape [2147483648, 2147483647] is larger than 1 TiB"},
        {"linear 4", 2, {3, 0}, "in 0 (Linear): the input has no features"},
    };
    for (size_t i = 0; i < SOMA_LEN(wrong); i++) {
        m = parse(wrong[i].text);
        soma_status status = soma_nn_build(m, wrong[i].ndim, wrong[i].shape);
        assert_int_equal(status, soma_error());
        assert_string_equal(soma_error_message(), wrong[i].message);
        soma_error_clear();
        soma_nn_free(m);
    }
    m = soma_nn_conv2d(3, 8, 3);
    assert_null(soma_nn_forward(m, soma_zeros(SOMA_SHAPE(1, 1, 9, 9), SOMA_F32)));
    assert_string_equal(soma_error_message(), "in Conv2d: input [1, 1, 9, 9] does not fit weight [8, 3, 3, 3]: 3 channels are needed");
    check_error(SOMA_ESHAPE, "");
    assert_null(soma_nn_forward(m, NULL));
    check_error(SOMA_EINVAL, "in Conv2d: input 0 is NULL");
    soma_nn_free(m);
    soma_scope_end(scope);
}

static void test_constructor_errors(void **state) {
    (void)state;
    assert_null(soma_nn_linear(-1, 3));
    check_error(SOMA_EINVAL, "Linear: in must be 0 (open) or 1 to 2147483648, not -1");
    assert_null(soma_nn_linear(3, 0));
    check_error(SOMA_EINVAL, "Linear: out must be 1 to 2147483648, not 0");
    assert_null(soma_nn_conv2d(6, 8, 3, .groups = 4));
    check_error(SOMA_EINVAL, "6 input channels cannot be divided into 4 groups");
    assert_null(soma_nn_conv2d(3, 8, 3, .stride = {2}, .padding_same = true));
    check_error(SOMA_EINVAL, "needs stride 1, not 2 x 2");
    assert_null(soma_nn_dropout(1.5));
    check_error(SOMA_EINVAL, "Dropout: the probability must be from 0 to 1");
    assert_null(soma_nn_dropout(NAN));
    check_error(SOMA_EINVAL, "Dropout");
    assert_null(soma_nn_elu(NAN));
    check_error(SOMA_EINVAL, "ELU: an argument is NaN");
    assert_null(soma_nn_module_new(NULL));
    check_error(SOMA_EINVAL, "needs a name and a forward");
    /* A failed child takes the others along. */
    assert_null(soma_nn_seq(soma_nn_linear(3, 4), soma_nn_dropout(2), soma_nn_linear(4, 4)));
    check_error(SOMA_EINVAL, "Dropout");
    assert_null(soma_nn_seq(soma_nn_linear(3, 4), NULL, soma_nn_relu()));
    check_error(SOMA_EINVAL, "Sequential: layer 1 is NULL");
}

/* ---- Ownership ---- */

static void test_ownership(void **state) {
    (void)state;
    soma_module *relu = soma_nn_relu();
    assert_null(soma_nn_seq(relu, relu));
    check_error(SOMA_EINVAL, "Sequential: layer 1 (ReLU) is part of it already");
    relu = soma_nn_relu();
    soma_module *a = soma_nn_seq(relu);
    assert_null(soma_nn_seq(soma_nn_tanh(), relu)); /* the tanh is freed, the relu stays where it is */
    check_error(SOMA_EINVAL, "Sequential: layer 1 (ReLU) is part of another module already");
    assert_int_equal(soma_nn_child_count(a), 1);
    assert_null(soma_nn_add_child(a, "x", relu));
    check_error(SOMA_EINVAL, "a ReLU that belongs to a Sequential already cannot be part of a Sequential too");
    assert_null(soma_nn_add_child(a, "self", a));
    check_error(SOMA_EINVAL, "a Sequential cannot be part of itself");
    soma_module *b = soma_nn_seq(a);
    assert_null(soma_nn_add_child(a, "up", b));
    check_error(SOMA_EINVAL, "cannot be part of itself");
    assert_null(soma_nn_add_child(a, "0", soma_nn_tanh()));
    check_error(SOMA_EINVAL, "Sequential has something named '0' already");
    assert_null(soma_nn_add_child(a, "a.b", soma_nn_tanh()));
    check_error(SOMA_EINVAL, "must not contain dots");
    assert_null(soma_nn_add_child(NULL, "a", soma_nn_tanh()));
    check_error(SOMA_EINVAL, "is NULL");
    assert_non_null(soma_nn_add_child(a, "la-st", soma_nn_tanh()));
    const char *name;
    assert_string_equal(soma_nn_class(soma_nn_child(a, 1, &name))->name, "Tanh");
    assert_string_equal(name, "la-st");
    assert_int_equal(soma_nn_describe(b, NULL, 0), 0); /* a name that a description cannot say */
    assert_null(soma_nn_child(a, 2, NULL));
    check_error(SOMA_EINVAL, "child 2 of a module with 2");
    soma_nn_free(soma_nn_child(a, 1, NULL)); /* a part that is freed leaves the whole */
    assert_int_equal(soma_nn_child_count(a), 1);
    char text[32];
    assert_int_equal(soma_nn_describe(b, text, sizeof text), 6);
    assert_string_equal(text, "(relu)");
    soma_nn_free(b);
    /* Depth is limited, so that freeing and running cannot overflow the stack. */
    soma_module *deep = soma_nn_relu();
    int depth = 1;
    for (soma_module *outer; (outer = soma_nn_seq(deep)) != NULL; deep = outer)
        depth++;
    check_error(SOMA_EINVAL, "modules can be nested 64 deep");
    assert_int_equal(depth, 64);
}

/* ---- Train and eval ---- */

static void test_modes(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(3);
    soma_module *m = parse("residual(dropout 0.5), dropout 0.5");
    soma_tensor *x = soma_ones(SOMA_SHAPE(1000), SOMA_F32);
    assert_true(soma_nn_training(m));
    double kept = soma_item(soma_mean(soma_nn_forward(m, x), SOMA_ALL, false));
    assert_true(kept > 1.6 && kept < 2.4); /* mean 2, standard deviation 0.08 */
    soma_nn_train(m, false);
    assert_false(soma_nn_training(soma_nn_child(soma_nn_child(m, 0, NULL), 0, NULL)));
    assert_true(soma_item(soma_amin(soma_nn_forward(m, x), SOMA_ALL, false)) == 2);
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* Building draws for parameters only, and changes no statistics. */
static void test_build(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = parse("conv 4 3, batchnorm relu, dropout 0.5, flatten, linear 2");
    soma_seed(5);
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 1, 5, 5)), SOMA_OK);
    soma_rng rng = soma_rng_get();
    assert_true(rng.stream > 0);
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(7, 1, 5, 5)), SOMA_OK);
    assert_true(soma_rng_get().stream == rng.stream);
    assert_int_equal(soma_item_int(soma_nn_get(m, "1.num_batches_tracked")), 0);
    assert_non_null(soma_data(soma_nn_get(m, "5.bias")));
    assert_true(soma_grad_enabled());
    /* The same numbers as when the first forward makes them. */
    soma_module *other = parse("conv 4 3, batchnorm relu, dropout 0.5, flatten, linear 2");
    soma_seed(5);
    soma_nn_train(other, false);
    soma_nn_forward(other, soma_zeros(SOMA_SHAPE(2, 1, 5, 5), SOMA_F32));
    check_ok();
    assert_int_equal(soma_numel(soma_nn_get(other, "0.weight")), 36);
    assert_memory_equal(soma_data(soma_nn_get(m, "0.weight")), soma_data(soma_nn_get(other, "0.weight")), 36 * sizeof(float));
    assert_memory_equal(soma_data(soma_nn_get(m, "5.weight")), soma_data(soma_nn_get(other, "5.weight")), 72 * sizeof(float));
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 2, 5, 5)), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "in 0 (Conv2d): input [1, 2, 5, 5] does not fit weight [4, 1, 3, 3]: 1 channels are needed");
    soma_nn_free(m);
    soma_nn_free(other);
    soma_scope_end(scope);
}

/* ---- Initialisers ---- */

static void spread(soma_tensor *t, double low, double high, double std) {
    double least = soma_item(soma_amin(t, SOMA_ALL, false)), most = soma_item(soma_amax(t, SOMA_ALL, false));
    double got = soma_item(soma_std(t, SOMA_ALL, 1, false)), mean = soma_item(soma_mean(t, SOMA_ALL, false));
    check_ok();
    assert_true(least >= low && most <= high);
    /* 40,000 numbers: the standard error of both is below 1 % of the deviation. */
    assert_true(fabs(got - std) < 0.03 * std && fabs(mean) < 0.03 * std);
}

static void test_init(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(11);
    soma_module *m = soma_nn_seq(soma_nn_linear(400, 100), soma_nn_batch_norm(100));
    soma_tensor *w = soma_nn_get(m, "0.weight"), *b = soma_nn_get(m, "0.bias");
    double bound = 1 / sqrt(400), xavier = sqrt(6.0 / 500), kaiming = sqrt(6.0 / 400);
    spread(w, -bound, bound, bound / sqrt(3));
    assert_true(soma_item(soma_amax(soma_abs(b), SOMA_ALL, false)) <= bound && soma_item(soma_std(b, SOMA_ALL, 1, false)) > bound / 4);
    assert_int_equal(soma_nn_init(m, "xavier"), SOMA_OK);
    spread(w, -xavier, xavier, xavier / sqrt(3));
    assert_true(soma_item(soma_amax(soma_abs(b), SOMA_ALL, false)) == 0);
    soma_nn_init(m, "xavier_normal");
    spread(w, -1, 1, sqrt(2.0 / 500));
    soma_nn_init(m, "kaiming");
    spread(w, -kaiming, kaiming, kaiming / sqrt(3));
    soma_nn_init(m, "kaiming_normal");
    spread(w, -1, 1, sqrt(2.0 / 400));
    soma_nn_init(m, "normal");
    spread(w, -0.1, 0.1, 0.01);
    soma_nn_init(m, "zeros");
    assert_true(soma_item(soma_amax(soma_abs(w), SOMA_ALL, false)) == 0);
    assert_true(soma_item(soma_amin(soma_nn_get(m, "1.weight"), SOMA_ALL, false)) == 1); /* normalisation scales stay 1 */
    soma_nn_init(m, "default");
    spread(w, -bound, bound, bound / sqrt(3));
    check_ok();
    assert_true(soma_requires_grad(w) && soma_grad_enabled());
    assert_int_equal(soma_nn_init(m, "kaimig"), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "unknown initialisation 'kaimig'; did you mean 'kaiming'?");
    assert_null(soma_init_xavier_uniform_(b, 1));
    check_error(SOMA_ESHAPE, "at least 2 dimensions, and this tensor is [100]");
    soma_nn_free(m);
    /* Convolution: fan in is channels times window. */
    m = soma_nn_conv2d(16, 70, 6);
    bound = 1 / sqrt(16 * 36);
    spread(soma_nn_get(m, "weight"), -bound, bound, bound / sqrt(3));
    soma_nn_free(m);
    m = parse("linear 3");
    soma_nn_init(m, "zeros");
    check_error(SOMA_ESTATE, "soma_nn_init: the input size of 0 (Linear) is still open; call soma_nn_build first");
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* ---- Modules of the caller's own ---- */

static void test_own_class(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(2);
    soma_module *m = soma_nn_seq(soma_nn_linear(4, 8), affine(8), soma_nn_tanh(), soma_nn_linear(8, 1));
    check_ok();
    assert_int_equal(soma_nn_describe(m, NULL, 0), 0);
    soma_tensor *x = soma_randn(SOMA_SHAPE(32, 4), SOMA_F32);
    soma_tensor *y = soma_tanh(soma_sum(x, SOMA_DIMS(1), true));
    soma_optim *opt = soma_adam(m, .lr = 0.02);
    double first = 0, last = 0;
    for (int i = 0; i < 100; i++) {
        soma_scope step = soma_scope_begin();
        soma_tensor *loss = soma_mse_loss(soma_nn_forward(m, x), y);
        last = soma_item(loss);
        first = i == 0 ? last : first;
        soma_backward(loss);
        soma_optim_step(opt);
        soma_scope_end(step);
    }
    check_ok();
    assert_true(last < first / 10);
    assert_true(soma_at(soma_nn_get(m, "1.scale"), 1, (int64_t[]){0}) != 1); /* it learnt too */
    assert_null(soma_nn_forward(m, soma_zeros(SOMA_SHAPE(2, 5), SOMA_F32)));
    check_error(SOMA_ESHAPE, "in 0 (Linear): input [2, 5] does not fit weight [8, 4]");
    soma_nn_add_param(soma_nn_child(m, 1, NULL), "scale", soma_ones(SOMA_SHAPE(7), SOMA_F32));
    assert_null(soma_nn_forward(m, x));
    check_error(SOMA_ESHAPE, "in 1 (Affine): ");
    soma_optim_free(opt);
    soma_nn_free(m);
    soma_scope_end(scope);
}

static soma_tensor *careless_forward(soma_module *self, soma_tensor *const *in, int n) {
    (void)self;
    (void)in;
    (void)n;
    return NULL;
}
static int destroyed;
static void count_destroy(soma_module *self) { destroyed += *(int *)soma_nn_state(self); }

static void test_class_contract(void **state) {
    (void)state;
    static const soma_module_class careless = {.size = sizeof careless, .name = "Careless", .state_bytes = sizeof(int), .forward = careless_forward,
                                               .destroy = count_destroy};
    soma_scope scope = soma_scope_begin();
    soma_module *m = soma_nn_module_new(&careless);
    assert_int_equal(*(int *)soma_nn_state(m), 0);
    *(int *)soma_nn_state(m) = 7;
    assert_null(soma_nn_forward(m, soma_zeros(SOMA_SHAPE(1), SOMA_F32)));
    check_error(SOMA_EINVAL, "in Careless: forward returned NULL without an error");
    assert_null(soma_nn_add_param(m, "n", soma_zeros(SOMA_SHAPE(1), SOMA_I64)));
    check_error(SOMA_EDTYPE, "only float tensors");
    assert_null(soma_nn_add_param(m, "", soma_zeros(SOMA_SHAPE(1), SOMA_F32)));
    check_error(SOMA_EINVAL, "1 to 63 bytes");
    assert_null(soma_nn_add_param(m, "p", NULL));
    check_error(SOMA_EINVAL, "NULL");
    soma_tensor *t = soma_nn_add_buffer(m, "count", soma_full(SOMA_SCALAR, 3, SOMA_I64));
    soma_scope_end(scope);
    assert_int_equal(soma_item_int(t), 3); /* the module holds it */
    soma_nn_free(m);
    assert_int_equal(destroyed, 7);
}

/* ---- Hooks ---- */

static void note(void *user, soma_module *m, const char *path, soma_tensor *const *in, int n, soma_tensor *out) {
    char *text = user;
    snprintf(text + strlen(text), 400 - strlen(text), "%s=%s %d %d %d; ", path, soma_nn_class(m)->name, n, (int)soma_size(in[0], 1),
             (int)soma_size(out, 1));
}

static void test_hooks(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = parse("linear 3, residual(linear 3, relu)");
    char text[400] = "", inner[400] = "";
    soma_nn_set_hook(m, note, text);
    soma_nn_set_hook(soma_nn_child(m, 1, NULL), note, inner);
    soma_nn_forward(m, soma_ones(SOMA_SHAPE(2, 5), SOMA_F32));
    check_ok();
    assert_string_equal(text, "0=Linear 1 5 3; 1.0=Linear 1 3 3; 1.1=ReLU 1 3 3; 1=Residual 1 3 3; =Sequential 1 5 3; ");
    assert_string_equal(inner, "0=Linear 1 3 3; 1=ReLU 1 3 3; =Residual 1 3 3; ");
    soma_nn_set_hook(m, NULL, NULL);
    text[0] = 0;
    soma_nn_forward(m, soma_ones(SOMA_SHAPE(2, 5), SOMA_F32));
    assert_string_equal(text, "");
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* ---- Memory ---- */

/* Inference holds two layers' outputs at most, whatever the depth; training holds what backward needs. */
static void test_peak(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = parse("repeat 20 (tanh)");
    soma_tensor *x = soma_ones(SOMA_SHAPE(1000, 100), SOMA_F32);
    bool grad = soma_set_grad_enabled(false);
    soma_memory_reset_peak();
    int64_t before = soma_memory_stats().current;
    soma_nn_forward(m, x);
    check_ok();
    int64_t rise = soma_memory_stats().peak - before;
    soma_set_grad_enabled(grad);
    assert_true(rise >= 400000 && rise < 2.5 * 400000);
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* Every allocation of making a network and of a training step fails in turn. */
static void test_memory(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_ones(SOMA_SHAPE(2, 1, 8, 8), SOMA_F32), *y = soma_zeros(SOMA_SHAPE(2), SOMA_I64);
    int64_t start = 0;
    for (int64_t k = 1;; k++) {
        soma_scope inner = soma_scope_begin();
        soma_memory_fail_at(k);
        soma_module *m = soma_nn_parse("conv 4 3 relu, batchnorm, residual(conv 4 3 same), maxpool 2, flatten, linear 5 tanh, linear 3");
        soma_nn_build(m, SOMA_SHAPE(1, 1, 8, 8));
        soma_optim *opt = soma_adamw(m, .lr = 0.01);
        soma_tensor *loss = soma_cross_entropy(soma_nn_forward(m, x), y);
        soma_backward(loss);
        soma_status status = soma_optim_step(opt);
        soma_memory_fail_at(0);
        if (status != SOMA_OK)
            check_error(SOMA_ENOMEM, "");
        soma_optim_free(opt);
        soma_nn_free(m);
        soma_scope_end(inner);
        /* Nothing stays behind (the scope lists may have grown once; debug builds keep their last 4096 handles). */
#ifdef NDEBUG
        int64_t slack = 8192;
#else
        int64_t slack = 8192 + 4096 * 512;
#endif
        int64_t now = soma_memory_stats().current;
        if (k > 2)
            assert_true(now <= start + slack);
        else
            start = now;
        if (status == SOMA_OK)
            break;
        assert_true(k < 20000);
    }
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_golden),    TEST(test_names),     TEST(test_sizes),
        TEST(test_constructor_errors), TEST(test_ownership), TEST(test_modes),
        TEST(test_build),     TEST(test_init),      TEST(test_own_class),
        TEST(test_class_contract), TEST(test_hooks), TEST(test_peak),
        TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
