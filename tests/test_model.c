/* Networks as files and as tables: save, load, open; layers and summary. */
#include "nn_help.h"

#include "nn/nn.h"

#include <math.h>

/* ---- Files ---- */

static bool same_bits(soma_module *a, soma_module *b) {
    soma_named x[64], y[64];
    int n = soma_nn_named(a, true, x, 64);
    if (n != soma_nn_named(b, true, y, 64))
        return false;
    for (int i = 0; i < n; i++)
        if (strcmp(x[i].name, y[i].name) != 0 || soma_numel(x[i].tensor) != soma_numel(y[i].tensor) ||
            memcmp(soma_data(x[i].tensor), soma_data(y[i].tensor), (size_t)soma_numel(x[i].tensor) * soma_dtype_size(soma_dtype_of(x[i].tensor))) != 0)
            return false;
    return true;
}

static soma_module *built(const char *text) {
    soma_module *m = parse(text);
    assert_int_equal(soma_nn_build(m, SOMA_SHAPE(1, 1, 6, 6)), SOMA_OK);
    return m;
}

static const char net[] = "conv 4 3 nobias, batchnorm relu, residual(conv 4 3 same), flatten, layernorm, linear 3";

static void test_round_trip(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(1);
    const char *path = temporary("a.safetensors");
    soma_module *m = built(net);
    soma_nn_forward(m, soma_randn(SOMA_SHAPE(5, 1, 6, 6), SOMA_F32)); /* moves the running statistics */
    check_ok();
    assert_int_equal(soma_nn_save(m, path), SOMA_OK);
    soma_rng rng = soma_rng_get();
    soma_module *opened = soma_nn_open(path);
    check_ok();
    assert_true(same_bits(m, opened));
    assert_false(soma_nn_training(opened));
    assert_true(soma_rng_get().stream == rng.stream); /* opening draws no numbers */
    char text[200];
    soma_nn_describe(opened, text, sizeof text);
    assert_string_equal(text, net);
    soma_module *other = built(net);
    assert_false(same_bits(m, other));
    soma_tensor *before = soma_nn_get(other, "6.weight");
    assert_int_equal(soma_nn_load(other, path), SOMA_OK);
    assert_true(same_bits(m, other));
    assert_ptr_equal(soma_nn_get(other, "6.weight"), before); /* filled in place: an optimiser's parameters stay its own */
    soma_module *open_sizes = parse(net);
    assert_int_equal(soma_nn_load(open_sizes, path), SOMA_OK);
    assert_true(same_bits(m, open_sizes));
    soma_tensor *x = soma_randn(SOMA_SHAPE(2, 1, 6, 6), SOMA_F32);
    soma_nn_train(m, false);
    float a[6], b[6];
    soma_to_array(soma_nn_forward(m, x), a, 6, SOMA_F32);
    soma_to_array(soma_nn_forward(opened, x), b, 6, SOMA_F32);
    check_ok();
    assert_memory_equal(a, b, sizeof a);
    soma_nn_free(m);
    soma_nn_free(opened);
    soma_nn_free(other);
    soma_nn_free(open_sizes);
    unlink(path);
    soma_scope_end(scope);
}

/* Metadata of the caller's, names of PyTorch, other float dtypes. */
static void test_contents(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("b.safetensors");
    soma_module *m = built("flatten, linear 2");
    soma_pair pairs[] = {{"soma.classes", "[\"a\",\"b\"]"}, {"x", "y"}};
    assert_int_equal(soma_nn_save_meta(m, path, pairs, 2), SOMA_OK);
    soma_tensor_file *f = soma_safetensors_read(path);
    check_ok();
    assert_int_equal(soma_safetensors_count(f), 2);
    assert_string_equal(soma_safetensors_name(f, 0), "1.weight");
    assert_string_equal(soma_safetensors_name(f, 1), "1.bias");
    assert_string_equal(soma_safetensors_meta(f, "soma.network"), "flatten, linear 2");
    assert_string_equal(soma_safetensors_meta(f, "soma.version"), soma_version());
    assert_string_equal(soma_safetensors_meta(f, "soma.classes"), "[\"a\",\"b\"]");
    soma_safetensors_free(f);
    /* A file without soma's metadata, in bf16, as another program may write it. */
    const char *names[] = {"1.bias", "1.weight"};
    soma_tensor *tensors[] = {soma_to(soma_full(SOMA_SHAPE(2), 0.5, SOMA_F32), SOMA_BF16), soma_to(soma_full(SOMA_SHAPE(2, 36), 0.25, SOMA_F32), SOMA_BF16)};
    assert_int_equal(soma_safetensors_write(path, names, tensors, 2, NULL, 0, false), SOMA_OK);
    assert_int_equal(soma_nn_load(m, path), SOMA_OK);
    assert_true(soma_at(soma_nn_get(m, "1.weight"), 2, (int64_t[]){1, 35}) == 0.25 && soma_at(soma_nn_get(m, "1.bias"), 1, (int64_t[]){0}) == 0.5);
    assert_int_equal(soma_dtype_of(soma_nn_get(m, "1.weight")), SOMA_F32);
    assert_null(soma_nn_open(path));
    check_error(SOMA_EFORMAT, "has no network description (soma.network)");
    soma_nn_free(m);
    /* A class of the caller's own: no description. */
    m = soma_nn_seq(soma_nn_linear(2, 2), affine(2));
    assert_int_equal(soma_nn_save(m, path), SOMA_OK);
    assert_null(soma_nn_open(path));
    check_error(SOMA_EFORMAT, "build the network and use soma_nn_load");
    soma_module *again = soma_nn_seq(soma_nn_linear(2, 2), affine(2));
    assert_int_equal(soma_nn_load(again, path), SOMA_OK);
    assert_true(same_bits(m, again));
    soma_nn_free(m);
    soma_nn_free(again);
    unlink(path);
    soma_scope_end(scope);
}

/* What does not fit is named, and changes nothing. */
static void test_misfits(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_seed(4);
    const char *path = temporary("c.safetensors");
    soma_module *m = built("conv 4 3, batchnorm, flatten, linear 3");
    assert_int_equal(soma_nn_save(m, path), SOMA_OK);
    static const struct {
        const char *text, *message;
        soma_status status;
    } wrong[] = {
        {"conv 4 3, batchnorm, flatten, linear 4", ": '3.weight' is [3, 64], and the network needs [4, 64]", SOMA_ESHAPE},
        {"conv 4 3, batchnorm, flatten, linear 3 nobias", " has a tensor '3.bias', which the network does not know", SOMA_EFORMAT},
        {"conv 4 3, flatten, linear 3", " has no tensor '2.weight', which the network needs", SOMA_EFORMAT},
        {"conv 4 3", " has a tensor '1.weight', which the network does not know", SOMA_EFORMAT},
    };
    for (size_t i = 0; i < SOMA_LEN(wrong); i++) {
        soma_module *other = built(wrong[i].text);
        float before[36], after[36];
        soma_to_array(soma_nn_get(other, "0.weight"), before, 36, SOMA_F32);
        assert_int_equal(soma_nn_load(other, path), wrong[i].status);
        check_error(wrong[i].status, wrong[i].message);
        soma_to_array(soma_nn_get(other, "0.weight"), after, 36, SOMA_F32);
        assert_memory_equal(before, after, sizeof before);
        soma_nn_free(other);
        /* With open sizes: open again afterwards. */
        other = parse(wrong[i].text);
        assert_int_not_equal(soma_nn_load(other, path), SOMA_OK);
        soma_error_clear();
        assert_int_equal(soma_nn_named(other, true, NULL, 0), 0);
        assert_int_equal(soma_nn_build(other, SOMA_SHAPE(1, 2, 9, 9)), SOMA_OK);
        soma_nn_free(other);
    }
    soma_module *other = parse("conv 4 5, batchnorm, flatten, linear 3");
    assert_int_equal(soma_nn_load(other, path), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, ": '0.weight' of shape [4, 1, 3, 3] does not fit the layer 'conv 4 5'");
    soma_nn_free(other);
    /* Integers where floats belong. */
    const char *names[] = {"0.weight", "0.bias"};
    soma_tensor *tensors[] = {soma_zeros(SOMA_SHAPE(2, 3), SOMA_I64), soma_zeros(SOMA_SHAPE(2), SOMA_I64)};
    assert_int_equal(soma_safetensors_write(path, names, tensors, 2, NULL, 0, false), SOMA_OK);
    other = soma_nn_seq(soma_nn_linear(3, 2));
    assert_int_equal(soma_nn_load(other, path), SOMA_EDTYPE);
    check_error(SOMA_EDTYPE, ": '0.weight' is i64, and the network needs f32");
    soma_nn_free(other);
    /* A description that this version cannot read. */
    soma_pair pair = {"soma.network", "linear 2, swoosh 3"};
    assert_int_equal(soma_safetensors_write(path, names, tensors, 2, &pair, 1, false), SOMA_OK);
    assert_null(soma_nn_open(path));
    check_error(SOMA_EFORMAT, "c.safetensors: network description: unknown layer 'swoosh' at column 11");
    unlink(path);
    assert_null(soma_nn_open(path));
    assert_int_not_equal(soma_error(), SOMA_OK);
    soma_error_clear();
    other = parse("linear 3");
    assert_int_equal(soma_nn_save(other, path), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "soma_nn_save: the input size of 0 (Linear) is still open; call soma_nn_build first");
    assert_int_equal(access(path, F_OK), -1);
    soma_nn_free(other);
    soma_nn_free(m);
    soma_scope_end(scope);
}

/* A refused save while an error is pending leaves the file alone. */
static void test_pending(void **state) {
    (void)state;
    const char *path = temporary("d.safetensors");
    soma_module *m = built("flatten, linear 2");
    soma_fail(SOMA_ENAN, "earlier");
    assert_int_equal(soma_nn_save(m, path), SOMA_ENAN);
    assert_int_equal(access(path, F_OK), -1);
    check_error(SOMA_ENAN, "earlier");
    soma_nn_free(m);
}

static void test_memory(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("e.safetensors");
    soma_module *m = built("conv 4 3, batchnorm relu, flatten, linear 3");
    for (int64_t k = 1;; k++) {
        soma_memory_fail_at(k);
        soma_status status = soma_nn_save(m, path);
        soma_memory_fail_at(0);
        if (status == SOMA_OK)
            break;
        check_error(SOMA_ENOMEM, "");
        assert_int_equal(access(path, F_OK), -1); /* no half file */
        assert_true(k < 2000);
    }
    for (int64_t k = 1;; k++) {
        soma_memory_fail_at(k);
        soma_module *opened = soma_nn_open(path);
        soma_memory_fail_at(0);
        if (opened) {
            assert_true(same_bits(m, opened) && k > 10);
            soma_nn_free(opened);
            break;
        }
        check_error(SOMA_ENOMEM, "");
        assert_true(k < 2000);
    }
    soma_module *other = parse("conv 4 3, batchnorm relu, flatten, linear 3");
    for (int64_t k = 1;; k++) {
        soma_memory_fail_at(k);
        soma_status status = soma_nn_load(other, path);
        soma_memory_fail_at(0);
        if (status == SOMA_OK)
            break;
        check_error(SOMA_ENOMEM, "");
        assert_int_equal(soma_nn_named(other, true, NULL, 0), 0);
        assert_true(k < 2000);
    }
    assert_true(same_bits(m, other));
    soma_nn_free(other);
    soma_nn_free(m);
    unlink(path);
    soma_scope_end(scope);
}

/* ---- Tables ---- */

static void test_layers(void **state) {
    (void)state;
    soma_module *m = parse("conv 8 3 relu, residual(conv 8 3 same), maxpool 2, flatten, linear 10");
    soma_layer_info rows[16];
    int n = soma_nn_layers(m, SOMA_SHAPE(4, 1, 12, 12), rows, 16);
    check_ok();
    assert_int_equal(n, 8);
    static const char *const paths[] = {"", "0", "1", "2", "2.0", "3", "4", "5"};
    static const int depths[] = {0, 1, 1, 1, 2, 1, 1, 1};
    for (int i = 0; i < n; i++) {
        assert_string_equal(rows[i].path, paths[i]);
        assert_int_equal(rows[i].depth, depths[i]);
    }
    assert_string_equal(rows[4].type, "Conv2d");
    assert_int_equal(rows[1].out_ndim, 4);
    assert_memory_equal(rows[1].in_shape, ((int64_t[]){4, 1, 12, 12}), 4 * sizeof(int64_t));
    assert_memory_equal(rows[1].out_shape, ((int64_t[]){4, 8, 10, 10}), 4 * sizeof(int64_t));
    assert_memory_equal(rows[0].out_shape, ((int64_t[]){4, 10}), 2 * sizeof(int64_t));
    assert_int_equal(rows[1].params, 80);
    assert_int_equal(rows[0].params, 80 + 584 + 2010);
    assert_int_equal(rows[0].trainable, 80 + 584 + 2010);
    assert_int_equal(rows[1].activation_bytes, 4 * 8 * 100 * 4);
    /* Multiply-adds count 2. */
    int64_t conv = INT64_C(2) * 4 * 8 * 100 * 9, inner = INT64_C(2) * 4 * 8 * 100 * 72, linear = 2 * 4 * 200 * 10;
    assert_true(rows[1].flops >= conv && rows[1].flops <= conv + 4 * 8 * 100);
    assert_true(rows[4].flops >= inner && rows[4].flops <= inner + 4 * 8 * 100);
    assert_true(rows[7].flops >= linear && rows[7].flops <= linear + 40);
    assert_true(rows[3].flops >= rows[4].flops);
    assert_true(rows[0].flops >= rows[1].flops + rows[3].flops + rows[7].flops);
    int64_t sum = rows[0].flops;
    soma_requires_grad_(soma_nn_get(m, "0.weight"), false);
    assert_int_equal(soma_nn_layers(m, SOMA_SHAPE(4, 1, 12, 12), rows, 2), 8);
    assert_int_equal(rows[0].trainable, 8 + 584 + 2010);
    assert_true(rows[0].flops == sum);
    assert_int_equal(soma_nn_layers(m, SOMA_SHAPE(4, 3, 12, 12), rows, 16), -1);
    check_error(SOMA_ESHAPE, "in 0 (Conv2d)");
    soma_nn_free(m);
}

/* Looking at a network computes nothing and changes nothing. */
static void test_layers_change_nothing(void **state) {
    (void)state;
    soma_module *m = parse("flatten, linear 4096 relu, dropout 0.5, linear 4096, batchnorm");
    soma_nn_build(m, SOMA_SHAPE(1, 16));
    soma_rng rng = soma_rng_get();
    soma_memory_reset_peak();
    int64_t before = soma_memory_stats().current;
    soma_layer_info rows[16];
    assert_int_equal(soma_nn_layers(m, SOMA_SHAPE(1000000, 16), rows, 16), 7);
    check_ok();
    assert_true(soma_memory_stats().peak - before < 100000); /* the activations would be 16 GB */
    assert_true(soma_rng_get().stream == rng.stream);
    assert_int_equal(soma_item_int(soma_nn_get(m, "5.num_batches_tracked")), 0);
    soma_nn_free(m);
}

static char *summary(soma_module *m, int ndim, const int64_t *shape) {
    size_t n = soma_nn_summary(m, ndim, shape, NULL, 0);
    check_ok();
    char *text = malloc(n + 1);
    assert_int_equal(soma_nn_summary(m, ndim, shape, text, n + 1), n);
    return text;
}

static void test_summary(void **state) {
    (void)state;
    soma_module *m = parse("conv 32 3 relu, maxpool 2, conv 64 3 relu, maxpool 2, flatten, linear 128 relu, dropout 0.5, linear 10");
    char *text = summary(m, SOMA_SHAPE(64, 1, 28, 28));
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        if (end - line > 79)
            fail_msg("wider than 79 columns: %.*s", (int)(end - line), line);
    }
    static const char *const parts[] = {
        "layer                          output                    parameters       FLOPs\n",
        "input                          [64, 1, 28, 28]\n",
        "0 (Conv2d)                     [64, 32, 26, 26]                 320      ",
        "1 (ReLU)                       [64, 32, 26, 26]                   -      ",
        "7 (Linear)                     [64, 128]                    204,928      ",
        "parameters   225,034, all trainable, 879 KiB\n",
        "\ntraining     about ",
    };
    for (size_t i = 0; i < SOMA_LEN(parts); i++)
        if (!strstr(text, parts[i]))
            fail_msg("not in the summary: %s\n%s", parts[i], text);
    free(text);
    soma_requires_grad_(soma_nn_get(m, "0.weight"), false);
    text = summary(m, SOMA_SHAPE(64, 1, 28, 28));
    assert_non_null(strstr(text, "  trainable  224,746\n"));
    free(text);
    char few[10];
    assert_true(soma_nn_summary(m, SOMA_SHAPE(64, 1, 28, 28), few, sizeof few) > 500);
    assert_string_equal(few, "layer    ");
    soma_nn_free(m);
    m = soma_nn_linear(3, 4); /* a lone layer */
    text = summary(m, SOMA_SHAPE(2, 3));
    assert_non_null(strstr(text, "\nLinear                         [2, 4]                            16 "));
    free(text);
    assert_int_equal(soma_nn_summary(m, SOMA_SHAPE(2, 5), few, sizeof few), 0);
    check_error(SOMA_ESHAPE, "in Linear: input [2, 5] does not fit weight [4, 3]");
    soma_nn_free(m);
    /* A deep path keeps its end. */
    m = parse("((((((((((((((linear 3 relu))))))))))))))");
    text = summary(m, SOMA_SHAPE(1, 3));
    assert_non_null(strstr(text, "\n~.0.0.0.0.0.0.0.0.0.0 (Linear) [1, 3] "));
    free(text);
    soma_nn_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip), TEST(test_contents), TEST(test_misfits), TEST(test_pending),
        TEST(test_memory),     TEST(test_layers),   TEST(test_layers_change_nothing),
        TEST(test_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
