/* Layers that PyTorch's numbers cannot settle (random ones, two inputs), blocks, tied weights, models by name, dtypes, all
 * descriptions as files. What has no randomness is compared with PyTorch in test_nn.c. */
#include "nn_help.h"

#include "nn/nn.h"

#include <math.h>

/* ---- Models by name ---- */

static void test_counts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t channels, side, params; /* torchvision's counts for the residual networks */
        const char *name;
    } models[] = {
        {"resnet18", 3, 64, 11689512, "layer2.0.downsample.0.weight"},
        {"resnet34", 3, 64, 21797672, "layer4.2.bn2.running_var"},
        {"resnet18 classes 10 cifar", 3, 32, 11173962, "layer1.0.conv1.weight"},
        {"mlp", 1, 28, 784 * 256 + 256 + 256 * 128 + 128 + 1290, "5.bias"},
        {"mlp 32 classes 3 dropout 0.2", 1, 28, 784 * 32 + 32 + 99, "4.weight"},
        {"lenet", 1, 28, 61706, "conv2.weight"},
        {"autoencoder", 1, 28, 209968, "encoder.enc2.weight"},
        {"autoencoder 16 tied", 1, 28, 103456, "decoder.dec2.bias"},
        {"denoisingautoencoder noise 0.1 size 784", 1, 28, 209968, "decoder.dec2.weight"},
        {"convautoencoder", 1, 28, 9569, "decoder.2.weight"},
        {"vae", 1, 28, 652824, "0.logvar.weight"},
    };
    for (size_t i = 0; i < SOMA_LEN(models); i++) {
        soma_module *m = parse(models[i].text);
        assert_int_equal(soma_nn_build(m, SOMA_SHAPE(2, models[i].channels, models[i].side, models[i].side)), SOMA_OK);
        assert_int_equal(soma_nn_count(m), models[i].params);
        assert_non_null(soma_nn_get(m, models[i].name));
        check_ok();
        if (i < 2) /* as many tensors as torchvision's */
            assert_int_equal(soma_nn_named(m, true, NULL, 0), i == 0 ? 122 : 218);
        size_t n = soma_nn_describe(m, NULL, 0);
        char *text = malloc(n + 1), *again = malloc(n + 1);
        soma_nn_describe(m, text, n + 1);
        soma_module *same = parse(text);
        assert_int_equal(soma_nn_describe(same, again, n + 1), n);
        assert_string_equal(text, again);
        soma_nn_free(same);
        soma_nn_free(m);
        free(text);
        free(again);
    }
    /* Among other layers a model is one of them, with the limits of all. */
    soma_module *m = parse("mlp classes 5 as head, relu");
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 9)), SOMA_OK);
    assert_non_null(soma_nn_get(m, "head.5.weight"));
    soma_nn_free(m);
    assert_null(soma_nn_parse("repeat 100 (resnet34)"));
    check_error(SOMA_EFORMAT, "more than 4096 layers");
    assert_null(soma_nn_parse("vae size 100000x100000"));
    check_error(SOMA_EFORMAT, "network description: the sizes make more than 2147483648 values, at column 1");
}

/* An activation after each batch normalisation but the one before the sum, and after the sum: 1 + 2 a block. */
static void test_residual_activations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int relus;
    } models[] = {{"resnet18", 17}, {"resnet18 cifar", 17}, {"resnet34", 33}};
    static soma_layer_info rows[400];
    for (size_t i = 0; i < SOMA_LEN(models); i++) {
        soma_module *m = parse(models[i].text);
        int n = soma_nn_layers(m, SOMA_SHAPE(1, 3, 32, 32), rows, 400), relus = 0;
        assert_in_range(n, 1, 400);
        for (int k = 0; k < n; k++)
            relus += strcmp(rows[k].type, "ReLU") == 0;
        assert_int_equal(relus, models[i].relus);
        soma_nn_free(m);
    }
}

/* ---- Files of any description, in any dtype ---- */

static void check_file(const char *text, int ndim, const int64_t *shape, bool lone) {
    const char *path = temporary("layers.safetensors");
    soma_module *row = parse(text), *m = lone ? soma__nn_detach(row->children[0]) : row;
    if (lone)
        soma_nn_free(row);
    if (soma_nn_build(m, ndim, shape) != SOMA_OK)
        fail_msg("%s: %s", text, soma_error_message());
    soma_nn_train(m, false);
    assert_int_equal(soma_nn_save(m, path), SOMA_OK);
    soma_module *opened = soma_nn_open(path);
    if (!opened)
        fail_msg("%s: %s", text, soma_error_message());
    assert_string_equal(opened->cls->name, m->cls->name);
    int n = soma_nn_named(m, true, NULL, 0);
    assert_int_equal(soma_nn_named(opened, true, NULL, 0), n);
    soma_tensor *x = soma_randn(ndim, shape, SOMA_F32);
    soma_tensor *a = soma_nn_forward(m, x), *b = soma_nn_forward(opened, x);
    if (soma_error() != SOMA_OK)
        fail_msg("%s: %s", text, soma_error_message());
    assert_int_equal(soma_numel(a), soma_numel(b));
    a = soma_contiguous(a);
    b = soma_contiguous(b);
    assert_memory_equal(soma_data(a), soma_data(b), (size_t)soma_numel(a) * 4);
    soma_nn_free(m);
    soma_nn_free(opened);
    unlink(path);
}

static void test_files(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    static const char *const images[] = {
        "conv 4 3 as first relu, (conv 4 1, batchnorm noaffine) as second, flatten, linear 3 as fc",
        "residual relu(conv 4 3 stride 2 pad 1 | conv 4 1 stride 2), parallel(gap | gmp)",
        "convtranspose 3 3 stride 2 groups 1, batchnorm notrack, instancenorm affine track, groupnorm 3, localresponsenorm 3",
        "conv 3 3 stride 2 pad 1 as down, convtranspose 2 3 stride 2 pad 1 outpad 1 tied down, layernorm dims 3, rmsnorm",
        "flatten, linear 5 as code tanh, linear 128 tied code, reshape 2x8x8, upsample 2, zeropad 1, pixelunshuffle 2",
        "variational 3 (flatten, linear 5 relu | linear 128, unflatten 2x8x8)",
        "batchnorm cumulative, dropout2d 0.3, alphadropout, featurealphadropout 0.1, noise 0.2",
        "maxpool 2 places as p, conv 2 1, maxunpool tied p",
        "parallel sum(conv 3 1 | conv 3 1 as other, relu), lppool 2 2 as pool",
    };
    for (size_t i = 0; i < SOMA_LEN(images); i++)
        check_file(images[i], SOMA_SHAPE(2, 2, 8, 8), false);
    check_file("residual(linear 4 | linear 4)", SOMA_SHAPE(2, 3), true);
    check_file("parallel(linear 4 | linear 2)", SOMA_SHAPE(2, 3), true);
    check_file("linear 4", SOMA_SHAPE(2, 3), true);
    check_file("variational 2 (linear 4 | linear 3)", SOMA_SHAPE(2, 3), true);
    check_file("conv1d 4 3, maxpool1d 2, batchnorm", SOMA_SHAPE(2, 3, 9), false);
    check_file("conv3d 4 2, avgpool3d 2, convtranspose3d 2 2", SOMA_SHAPE(2, 3, 5, 5, 5), false);
    soma_scope_end(scope);
}

static void test_to(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = parse("conv 4 3, batchnorm, flatten, linear 2");
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 1, 5, 5)), SOMA_OK);
    soma_requires_grad_(soma_nn_get(m, "0.weight"), false);
    double before = soma_at(soma_nn_get(m, "3.weight"), 2, (int64_t[]){1, 2});
    assert_int_equal(soma_nn_to(m, SOMA_F64), SOMA_OK);
    assert_int_equal(soma_dtype_of(soma_nn_get(m, "3.weight")), SOMA_F64);
    assert_int_equal(soma_dtype_of(soma_nn_get(m, "1.running_var")), SOMA_F64);
    assert_int_equal(soma_dtype_of(soma_nn_get(m, "1.num_batches_tracked")), SOMA_I64);
    assert_true(soma_at(soma_nn_get(m, "3.weight"), 2, (int64_t[]){1, 2}) == before);
    assert_false(soma_requires_grad(soma_nn_get(m, "0.weight")));
    assert_true(soma_requires_grad(soma_nn_get(m, "3.weight")));
    soma_tensor *y = soma_nn_forward(m, soma_randn(SOMA_SHAPE(2, 1, 5, 5), SOMA_F64));
    check_ok();
    assert_int_equal(soma_dtype_of(y), SOMA_F64);
    assert_int_equal(soma_nn_to(m, SOMA_I64), SOMA_EINVAL);
    soma_error_clear();
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* ---- Random layers ---- */

static double mean_of(soma_tensor *t) { return soma_item(soma_mean(t, SOMA_ALL, false)); }
static double var_of(soma_tensor *t) { return mean_of(soma_square(t)) - mean_of(t) * mean_of(t); }

static void test_random(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(7);
    soma_tensor *x = soma_ones(SOMA_SHAPE(50, 40, 6, 6), SOMA_F32), *g = soma_randn(SOMA_SHAPE(40, 30, 8, 8), SOMA_F32);
    static const char *const texts[] = {"dropout2d 0.25", "featurealphadropout 0.25", "alphadropout 0.25", "noise 0.5"};
    for (size_t i = 0; i < SOMA_LEN(texts); i++) {
        soma_module *m = parse(texts[i]);
        soma_tensor *y = soma_nn_forward(m, i == 1 || i == 2 ? g : x);
        check_ok();
        const float *v = soma_data(y);
        if (i == 0) { /* whole planes are 0 or 4/3 */
            int64_t dropped = 0;
            for (int64_t p = 0; p < 2000; p++) {
                for (int k = 1; k < 36; k++)
                    assert_true(v[p * 36 + k] == v[p * 36]);
                assert_true(v[p * 36] == 0 || fabs(v[p * 36] - 4.0 / 3) < 1e-6);
                dropped += v[p * 36] == 0;
            }
            assert_true(fabs(dropped / 2000.0 - 0.25) < 0.05);
        } else if (i == 1 || i == 2) { /* a standard normal input keeps mean 0 and variance 1 */
            assert_true(fabs(mean_of(y)) < 0.1 && fabs(var_of(y) - 1) < 0.15);
        } else {
            assert_true(fabs(mean_of(y) - 1) < 0.02 && fabs(var_of(y) - 0.25) < 0.02);
        }
        soma_nn_train(m, false);
        soma_tensor *same = soma_nn_forward(m, x);
        assert_memory_equal(soma_data(same), soma_data(x), 50 * 40 * 36 * 4);
        soma_nn_free(m);
    }
    soma_module *all = parse("alphadropout 1, dropout2d 1");
    assert_true(mean_of(soma_square(soma_nn_forward(all, g))) == 0);
    soma_nn_free(all);
    assert_null(soma_nn_dropout2d(1.1));
    check_error(SOMA_EINVAL, "Dropout2d: the probability must be from 0 to 1, not 1.1");
    assert_null(soma_nn_noise(-1));
    check_error(SOMA_EINVAL, "Noise: the standard deviation");
    soma_module *m = parse("dropout1d");
    assert_null(soma_nn_forward(m, x));
    check_error(SOMA_ESHAPE, "[batch, channels, length] is needed");
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* ---- Variational autoencoder ---- */

static void test_variational(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(3);
    soma_module *m = parse("vae 2 size 1x4x4 hidden 8");
    soma_tensor *x = soma_rand(SOMA_SHAPE(5, 1, 4, 4), SOMA_F32), *mu, *logvar;
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 1, 4, 4)), SOMA_OK);
    assert_int_equal(soma_nn_latent(m, &mu, &logvar), SOMA_ESTATE);
    soma_error_clear();
    soma_tensor *y = soma_nn_forward(m, x), *z = soma_nn_forward(m, x);
    check_ok();
    assert_true(soma_size(y, 2) == 4 && soma_ndim(y) == 4);
    assert_memory_not_equal(soma_data(soma_contiguous(y)), soma_data(soma_contiguous(z)), 5 * 16 * 4); /* other draws */
    assert_int_equal(soma_nn_latent(m, &mu, &logvar), SOMA_OK);
    assert_true(soma_size(mu, 0) == 5 && soma_size(mu, 1) == 2 && soma_size(logvar, 1) == 2);
    /* Reconstruction and KL divergence, as a user writes them; every parameter gets a gradient. */
    soma_tensor *kl = soma_sub(soma_add(soma_square(mu), soma_exp(logvar)), soma_add_scalar(logvar, 1));
    soma_tensor *loss = soma_add(soma_sum(soma_square(soma_sub(z, x)), SOMA_ALL, false), soma_mul_scalar(soma_sum(kl, SOMA_ALL, false), 0.5));
    soma_backward(loss);
    check_ok();
    soma_named named[16];
    int n = soma_nn_named(m, false, named, 16);
    assert_int_equal(n, 10);
    for (int i = 0; i < n; i++)
        assert_non_null(soma_grad(named[i].tensor));
    soma_nn_train(m, false);
    y = soma_nn_forward(m, x);
    z = soma_nn_forward(m, x);
    assert_memory_equal(soma_data(soma_contiguous(y)), soma_data(soma_contiguous(z)), 5 * 16 * 4); /* eval mode takes the mean */
    soma_nn_free(m);
    soma_module *plain = parse("linear 2");
    assert_int_equal(soma_nn_latent(plain, &mu, NULL), SOMA_ENOTFOUND);
    soma_error_clear();
    soma_nn_free(plain);
    assert_null(soma_nn_variational(2, soma_nn_relu(), NULL));
    check_error(SOMA_EINVAL, "Variational: the decoder is NULL");
    soma_scope_end(scope);
}

/* ---- Two inputs, names, ties and blocks in C ---- */

static void test_bilinear(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *m = soma_nn_bilinear(0, 0, 4);
    assert_int_equal(soma_nn_to(m, SOMA_F64), SOMA_OK);
    soma_tensor *a = soma_randn(SOMA_SHAPE(2, 3, 5), SOMA_F64), *b = soma_randn(SOMA_SHAPE(2, 3, 6), SOMA_F64);
    soma_tensor *y = soma_nn_forward_n(m, (soma_tensor *[]){a, b}, 2);
    check_ok();
    soma_tensor *w = soma_nn_get(m, "weight"), *bias = soma_nn_get(m, "bias");
    for (int64_t o = 0; o < 4; o++) {
        double want = soma_at(bias, 1, &o);
        for (int64_t i = 0; i < 5; i++)
            for (int64_t k = 0; k < 6; k++)
                want += soma_at(a, 3, (int64_t[]){1, 2, i}) * soma_at(w, 3, (int64_t[]){o, i, k}) * soma_at(b, 3, (int64_t[]){1, 2, k});
        assert_true(fabs(soma_at(y, 3, (int64_t[]){1, 2, o}) - want) < 1e-12);
    }
    assert_null(soma_nn_forward(m, a));
    check_error(SOMA_EINVAL, "two inputs");
    assert_null(soma_nn_forward_n(m, (soma_tensor *[]){b, a}, 2));
    check_error(SOMA_ESHAPE, "does not fit weight [4, 5, 6]");
    soma_nn_free(m);
    soma_scope_end(scope);
}

static void test_in_c(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_module *decoder = soma_nn_linear(0, 6);
    assert_int_equal(soma_nn_tie(decoder, "code"), SOMA_OK);
    soma_module *m = soma_nn_seq(soma_nn_as(soma_nn_linear(6, 3), "code"), soma_nn_tanh(), decoder);
    check_ok();
    soma_nn_forward(m, soma_ones(SOMA_SHAPE(2, 6), SOMA_F32));
    check_ok();
    assert_int_equal(soma_nn_count(m), 18 + 3 + 6);
    char text[200];
    soma_nn_describe(m, text, sizeof text);
    assert_string_equal(text, "linear 3 as code tanh, linear 6 tied code");
    soma_nn_free(soma_nn_child(m, 0, NULL)); /* nothing dangles */
    assert_null(soma_nn_forward(m, soma_ones(SOMA_SHAPE(2, 3), SOMA_F32)));
    check_error(SOMA_EINVAL, "tied to 'code': no layer has the name 'code'");
    soma_nn_free(m);
    m = parse("linear 6 tied code, linear 6 as code");
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 6)), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "whose weight is not made yet");
    soma_nn_free(m);
    m = parse("linear 4 as code, linear 5 tied code");
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 6)), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "in 1 (Linear): input [1, 4] does not fit weight [6, 4]");
    soma_nn_free(m);
    soma_module *relu = soma_nn_relu();
    assert_int_equal(soma_nn_tie(relu, "x"), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "a ReLU cannot use another layer's weight");
    assert_null(soma_nn_as(relu, "a.b"));
    check_error(SOMA_EINVAL, "must not contain dots");
    m = soma_nn_residual_with(soma_nn_residual(soma_nn_conv2d(2, 4, 3, .padding = {1}, .stride = {2}), soma_nn_batch_norm(4, .eps = 1e-3)),
                              soma_nn_conv2d(2, 4, 1, .stride = {2}), soma_nn_relu());
    check_ok();
    soma_nn_forward(m, soma_ones(SOMA_SHAPE(2, 2, 6, 6), SOMA_F32));
    check_ok();
    assert_non_null(soma_nn_get(m, "downsample.weight"));
    soma_nn_describe(m, text, sizeof text);
    assert_string_equal(text, "residual relu(conv 4 3 stride 2 pad 1, batchnorm eps 0.001 | conv 4 1 stride 2)");
    assert_null(soma_nn_residual_with(m, NULL, soma_nn_tanh()));
    check_error(SOMA_EINVAL, "has a shortcut or an activation already");
    assert_null(soma_nn_residual_with(soma_nn_relu(), NULL, NULL));
    check_error(SOMA_EINVAL, "a Residual is needed, not a ReLU");
    m = soma_nn_parallel(soma_nn_max_pool2d(3, .stride = {1}, .padding = {1}), soma_nn_conv2d(0, 2, 1), soma_nn_identity());
    soma_tensor *y = soma_nn_forward(m, soma_ones(SOMA_SHAPE(1, 3, 4, 4), SOMA_F32));
    check_ok();
    assert_int_equal(soma_size(y, 1), 8);
    soma_nn_free(m);
    m = parse("parallel sum (linear 2 | linear 3)");
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 6)), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "branch 1 makes [1, 3] and branch 0 [1, 2]; to be added they must have one shape");
    soma_nn_free(m);
    soma_scope_end(scope);
}

static void test_errors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ndim, shape[5];
        const char *message;
    } bad[] = {
        {"groupnorm 3", 4, {2, 4, 3, 3}, "4 channels cannot be divided into 3 groups"},
        {"conv1d 3 5", 3, {2, 2, 4}, "input [2, 2, 4] is too small for a window of 5 with padding 0"},
        {"conv1d 3 5", 2, {2, 4}, "[batch, channels, length] is needed"},
        {"maxpool3d 3", 5, {1, 1, 2, 3, 3}, "input [1, 1, 2, 3, 3] is too small for a window of 3 x 3 x 3: the output would be empty"},
        {"unflatten 2x5", 2, {2, 12}, "dimension 1 of input [2, 12] cannot become [2, 5]"},
        {"unflatten 2x-1 dim 3", 2, {2, 12}, "dimension 3 of input [2, 12] cannot become 2 dimensions"},
        {"linear 3, reshape 2x2", 2, {2, 12}, "reshape"},
        {"residual(conv 3 1 | conv 4 1)", 4, {1, 2, 3, 3}, "the layers inside make [1, 3, 3, 3] and the shortcut [1, 4, 3, 3]"},
        {"maxpool 2 places as p, maxpool 2, maxunpool tied p", 4, {1, 2, 8, 8}, "input [1, 2, 2, 2] does not fit the places of 'p', which are [1, 2, 4, 4]"},
        {"pixelshuffle 2", 4, {1, 6, 2, 2}, "pixel_shuffle"},
    };
    for (size_t i = 0; i < SOMA_LEN(bad); i++) {
        soma_module *m = parse(bad[i].text);
        soma_status status = soma_nn_build(m, (int)bad[i].ndim, bad[i].shape);
        assert_int_not_equal(status, SOMA_OK);
        check_error(status, bad[i].message);
        soma_nn_free(m);
    }
}

/* Every allocation of parsing, building, running, saving and opening fails in turn. */
static void test_memory(void **state) {
    (void)state;
    const char *path = temporary("memory.safetensors");
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = soma_ones(SOMA_SHAPE(2, 2, 8, 8), SOMA_F32);
    for (int64_t k = 1;; k++) {
        soma_scope inner = soma_scope_begin();
        soma_memory_fail_at(k);
        soma_module *m = soma_nn_parse("residual relu(conv 4 3 pad 1 as a | (conv 4 1) as b), parallel(gap | gmp), flatten, linear 5 as code, "
                                       "linear 8 tied code, variational 2 (mlp 3 classes 4 | linear 3), rmsnorm");
        soma_nn_to(m, SOMA_F64);
        soma_nn_to(m, SOMA_F32);
        soma_nn_forward(m, x);
        soma_status status = m ? soma_nn_save(m, path) : soma_error();
        soma_module *opened = status == SOMA_OK ? soma_nn_open(path) : NULL;
        status = soma_error();
        soma_memory_fail_at(0);
        if (status != SOMA_OK)
            check_error(SOMA_ENOMEM, "");
        soma_nn_free(m);
        soma_nn_free(opened);
        soma_scope_end(inner);
        if (status == SOMA_OK)
            break;
        assert_true(k < 20000);
    }
    unlink(path);
    soma_scope_end(scope);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_counts), TEST(test_residual_activations), TEST(test_files),    TEST(test_to),   TEST(test_random), TEST(test_variational),
        TEST(test_bilinear), TEST(test_in_c),   TEST(test_errors), TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
