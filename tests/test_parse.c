/* Network descriptions: round trips, messages with their columns, limits, memory running out. */
#include "nn_help.h"

#include "nn/nn.h"

#include <locale.h>
#include <stdio.h>

static const char *const round_trips[][2] = {
    /* text, canonical form; NULL: the text itself */
    {"conv 32 3 relu, maxpool 2, conv 64 3 relu, maxpool 2, flatten, linear 128 relu, dropout 0.5, linear 10", NULL},
    {"conv 64 3 stride 2 pad 1 nobias", NULL},
    {"conv 64 3 nobias pad 1 stride 2", "conv 64 3 stride 2 pad 1 nobias"},
    {"conv 32 5x3", NULL},
    {"conv 32 5x5", "conv 32 5"},
    {"conv 8 3 same relu", NULL},
    {"conv 8 3 pad 1x0, conv 8 3 pad 0x1, conv 8 3 stride 1x2 dilation 2x1 groups 4", NULL},
    {"conv 2147483648 1", NULL},
    {"CONV 32 3 ReLU", "conv 32 3 relu"},
    {"conv 32 3, relu", "conv 32 3 relu"},
    {"  conv   8\t3\n\n # a note, with words: linear 3 (\n relu , # end\n linear 2 # no newline", "conv 8 3 relu, linear 2"},
    {"relu,", "relu"},
    {"maxpool 2", NULL},
    {"maxpool 3 stride 2 pad 1", NULL},
    {"maxpool 2 stride 2", "maxpool 2"},
    {"avgpool 2", NULL},
    {"avgpool 3 stride 1 pad 1", NULL},
    {"gap", NULL},
    {"adaptiveavgpool 1", "gap"},
    {"adaptiveavgpool 2x3", NULL},
    {"batchnorm", NULL},
    {"conv 3 3 nobias, batchnorm relu", NULL},
    {"layernorm", NULL},
    {"flatten, linear 1 nobias sigmoid", NULL},
    {"dropout", "dropout 0.5"},
    {"dropout 0", NULL},
    {"dropout 1e-7, dropout 0.1, dropout 0.30000000000000004, dropout 0.3333333333333333", NULL},
    {"relu, leakyrelu, leakyrelu 0.1, elu, elu 2, gelu, silu, softplus, sigmoid, tanh, hardtanh, step, softmax, logsoftmax, identity", NULL},
    {"hardtanh -2 0.5, step 0.25, step -1e-30, softmax 1, logsoftmax -2", NULL},
    {"hardtanh 0.5", NULL},
    {"linear 3 leakyrelu 0.1, linear 2 hardtanh 0 6, linear 1 softmax", NULL},
    {"residual(conv 16 3 same, relu)", "residual(conv 16 3 same relu)"},
    {"residual(residual(linear 3 tanh), identity), linear 2", NULL},
    {"repeat 3 (linear 4 relu)", "linear 4 relu, linear 4 relu, linear 4 relu"},
    {"repeat 2 (repeat 2 (relu), tanh)", "relu, relu, tanh, relu, relu, tanh"},
    {"(linear 3 relu, (tanh)), linear 1", NULL},
    {"conv1d 3 5 stride 2 pad 1 dilation 2 groups 3 nobias relu, conv1d 3 5 same", NULL},
    {"conv3d 8 3x1x2 stride 2x1x1 pad 1x0x0, conv3d 8 3x3x3", "conv3d 8 3x1x2 stride 2x1x1 pad 1x0x0, conv3d 8 3"},
    {"convtranspose 4 3 stride 2 pad 1 outpad 1, convtranspose1d 4 3 outpad 1 stride 2, convtranspose3d 4 2x1x2 stride 2x1x2 nobias",
     "convtranspose 4 3 stride 2 pad 1 outpad 1, convtranspose1d 4 3 stride 2 outpad 1, convtranspose3d 4 2x1x2 stride 2x1x2 nobias"},
    {"maxpool 3x2 stride 2x1 pad 1x0 ceil dilation 2x1, maxpool1d 3, maxpool3d 2x3x2 pad 1", NULL},
    {"avgpool 3x2 pad 0x1 excludepad divisor 5, avgpool1d 4 stride 1 excludepad, avgpool3d 2 divisor 3", NULL},
    {"maxpool 3x2 stride 3x2, lppool 1.5 2x3 stride 1 ceil, lppool1d 2 2", "maxpool 3x2, lppool 1.5 2x3 stride 1 ceil, lppool1d 2 2"},
    {"gmp, adaptivemaxpool 2x3, adaptivemaxpool1d 1, adaptivemaxpool3d 1x2x3, adaptiveavgpool1d 4, adaptiveavgpool3d 2", NULL},
    {"batchnorm eps 0.001 momentum 0.2 noaffine notrack, batchnorm cumulative relu, groupnorm 4 eps 0.1 noaffine, groupnorm 2", NULL},
    {"instancenorm, instancenorm eps 0.1 momentum 0.3 affine track tanh, layernorm dims 2 eps 0.1, layernorm nobias, layernorm noaffine", NULL},
    {"rmsnorm, rmsnorm dims 3 eps 0.1 noaffine, localresponsenorm 5, localresponsenorm 3 alpha 0.5 beta 1 k 2", NULL},
    {"dropout1d, dropout2d 0.25, dropout3d 1, alphadropout 0.1, featurealphadropout, noise 0.3",
     "dropout1d 0.5, dropout2d 0.25, dropout3d 1, alphadropout 0.1, featurealphadropout 0.5, noise 0.3"},
    {"reshape 3x-1x2, reshape 7, unflatten 2x2, unflatten 4x-1 dim -1, flatten from 2, flatten from 0 to 1, pixelshuffle 2, pixelunshuffle 3", NULL},
    {"upsample 2, upsample 1.5 bilinear align, upsample size 7x5 bicubic, upsample size 3 linear, upsample 3 exact, upsample size 2x3x4 trilinear", NULL},
    {"zeropad 1, zeropad 1x2, zeropad 1x0x2x-1, zeropad 1x1x1x1 value 0.5, reflectionpad 2, replicationpad 1x2x3x4x5x6, circularpad 1x1",
     "zeropad 1, zeropad 1x2, zeropad 1x0x2x-1, zeropad 1 value 0.5, reflectionpad 2, replicationpad 1x2x3x4x5x6, circularpad 1x1"},
    {"variational 20 (flatten, linear 40 relu | linear 9, unflatten 3x3), variational 3 (linear 4 as enc | (linear 5) as dec)", NULL},
    {"maxpool 2 places as p, relu, maxunpool tied p, relu", NULL},
    {"lenet classes 3", "conv 6 5 pad 2 as conv1 tanh, avgpool 2, conv 16 5 as conv2 tanh, avgpool 2, conv 120 5 as conv3 tanh, flatten, "
                        "linear 84 as fc1 tanh, linear 3 as fc2"},
    {"mlp 8 classes 2, relu", "(flatten, linear 8 relu, linear 2), relu"},
    {"residual(conv 8 3 stride 2 pad 1, batchnorm | conv 8 1 stride 2 nobias, batchnorm)", NULL},
    {"residual relu (linear 3 | (linear 3) as downsample), tanh", "residual relu(linear 3 | (linear 3)), tanh"},
    {"residual leakyrelu 0.1(linear 3 as a relu as b | linear 3 as proj) as block", NULL},
    {"parallel(conv 8 1 relu | conv 8 3 same relu | maxpool 3 stride 1 pad 1, conv 8 1 | identity)", NULL},
    {"parallel concat (linear 1 | (linear 2))", "parallel(linear 1 | (linear 2))"},
    {"parallel sum(linear 2 | linear 2, tanh,), parallel dim -1(relu | parallel(tanh)) as both", "parallel sum(linear 2 | linear 2 tanh), parallel dim -1(relu | parallel(tanh)) as both"},
    {"(linear 3 as Enc1 tanh) as encoder, (linear 8 tied Enc1) as decoder", NULL},
    {"bilinear 3, relu, bilinear 5 nobias (input 1, linear 2 | input 0) tanh", "bilinear 3 relu, bilinear 5 nobias(input 1, linear 2 | input 0), tanh"},
    {"decoderlayer 8 heads 2 dropout 0.2 causal (relu | (tanh, relu) as memory) as dec, encoder 8 heads 2 layers 3 norm gelu normfirst rotary",
     "decoderlayer 8 heads 2 dropout 0.2 causal(relu | (tanh, relu) as memory) as dec, encoder 8 heads 2 gelu normfirst rotary layers 3 norm"},
    {"decoder 8 heads 2 layers 6 timefirst (parallel(input 0 | input 1) | bilinear 8(input 1 | input 0)), encoderdecoder 8 heads 1 decoderlayers 2",
     "decoder 8 heads 2 timefirst layers 6(parallel(input 0 | input 1) | bilinear 8(input 1 | input 0)), encoderdecoder 8 heads 1 decoderlayers 2"},
    {"attention 2 kdim 3 vdim 4(input 0 | input 1 | input 2), attention 4 causal(relu | tanh)", NULL},
    {"repeat 2 ((linear 5 as a, linear 3 tied a nobias))", "(linear 5 as a, linear 3 nobias tied a), (linear 5 as a, linear 3 nobias tied a)"},
};

static char *describe(soma_module *m) {
    size_t n = soma_nn_describe(m, NULL, 0);
    char *text = malloc(n + 1);
    assert_int_equal(soma_nn_describe(m, text, n + 1), n);
    return text;
}

static void test_round_trips(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(round_trips); i++) {
        const char *text = round_trips[i][0], *want = round_trips[i][1] ? round_trips[i][1] : text;
        if (strcmp(text, "hardtanh 0.5") == 0)
            want = "hardtanh 0.5 1";
        soma_module *m = soma_nn_parse(text);
        check_ok();
        char *got = describe(m);
        assert_string_equal(got, want);
        soma_module *again = soma_nn_parse(got);
        check_ok();
        char *second = describe(again);
        assert_string_equal(second, want);
        assert_int_equal(soma_nn_child_count(again), soma_nn_child_count(m));
        free(got);
        free(second);
        soma_nn_free(m);
        soma_nn_free(again);
    }
}

static const char *const bad[][2] = {
    {"", "expected a layer, not the end, at column 1"},
    {"#", "expected a layer, not the end, at column 2"},
    {"relu, convv 32 3", "unknown layer 'convv' at column 7; did you mean 'conv'?"},
    {"relu, dense 3", "unknown layer 'dense' at column 7; did you mean 'linear'?"},
    {"rel\xc3\xa9", "unknown layer 'rel' at column 1; did you mean 'relu'?"},
    {"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "unknown layer 'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz…' at column 1 ('soma layers' and 'soma models' list all)"},
    {"conv", "conv: channels must be a whole number from 1 to 2147483648, not the end, at column 5"},
    {"conv 3 relu", "conv: window must be a whole number, or two as in 5x3, from 1 to 2147483648, not 'relu', at column 8"},
    {"conv 0 3", "conv: channels must be a whole number from 1 to 2147483648, not '0', at column 6"},
    {"conv -3 3", "conv: channels must be a whole number from 1 to 2147483648, not '-3', at column 6"},
    {"conv 3.5 3", "conv: channels must be a whole number from 1 to 2147483648, not '3.5', at column 6"},
    {"conv 2147483649 3", "conv: channels must be a whole number from 1 to 2147483648, not '2147483649', at column 6"},
    {"conv 99999999999999999999999999 3",
     "conv: channels must be a whole number from 1 to 2147483648, not '99999999999999999999999999', at column 6"},
    {"conv 3 5x", "conv: window must be a whole number, or two as in 5x3, from 1 to 2147483648, not '5x', at column 8"},
    {"conv 3 5x3x2", "conv: window must be a whole number, or two as in 5x3, from 1 to 2147483648, not '5x3x2', at column 8"},
    {"conv 3 3 stride", "conv: stride must be a whole number, or two as in 5x3, from 1 to 2147483648, not the end, at column 16"},
    {"conv 3 3 stride 2 stride 3", "conv: 'stride' is given twice, again at column 19"},
    {"conv 3 3 maxpool 2", "a comma is missing before 'maxpool' at column 10"},
    {"maxpool 2 relu", "a comma is missing before 'relu' at column 11"},
    {"conv 3 3 relu tanh", "a comma is missing before 'tanh' at column 15"},
    {"conv 3 3 strid 2", "conv does not know 'strid' at column 10; did you mean 'stride'?"},
    {"linear 3 nobia", "linear does not know 'nobia' at column 10; did you mean 'nobias'?"},
    {"linear 3 rellu", "linear does not know 'rellu' at column 10; did you mean 'relu'?"},
    {"conv 3 3 same stride 2", "Conv2d: padding 'same' needs stride 1, not 2 x 2, at column 1"},
    {"relu, conv 4 3 groups 3", "Conv2d: 4 output channels cannot be divided into 3 groups, at column 7"},
    {"linear 3 4", "linear takes no further number: '4' at column 10"},
    {"linear 1e3", "linear: features must be a whole number from 1 to 2147483648, not '1e3', at column 8"},
    {"relu,,relu", "expected a layer, not ',', at column 6"},
    {", relu", "expected a layer, not ',', at column 1"},
    {"7", "expected a layer, not '7', at column 1"},
    {"relu)", "expected ',' or the end, not ')', at column 5"},
    {"(relu", "expected ',' or ')', not the end, at column 6"},
    {"residual relu", "expected '(' and the layers of residual, not the end, at column 14"},
    {"residual rellu (relu)", "residual does not know 'rellu' at column 10; did you mean 'relu'?"},
    {"residual(relu | relu | relu)", "residual takes at most 2 branches, and one more begins at column 24"},
    {"residual(relu |)", "expected a layer, not ')', at column 16"},
    {"relu | relu", "expected ',' or the end, not '|', at column 6"},
    {"(relu | relu)", "expected ',' or ')', not '|', at column 7"},
    {"parallel(relu | relu", "expected ',', '|' or ')', not the end, at column 21"},
    {"relu, parallel sum dim 2 (relu | relu)",
     "parallel: 'sum' adds the branches, and 'dim' joins them; say one of the two, at column 7"},
    {"parallel dim 9 (relu)", "parallel: dim must be a whole number from -8 to 7, not '9', at column 14"},
    {"relu as", "expected a name of at most 63 letters after 'as', not the end, at column 8"},
    {"relu as 3", "expected a name of at most 63 letters after 'as', not '3', at column 9"},
    {"relu as a, tanh as a", "there is a layer 'a' in this row already, at column 17"},
    {"relu tied a", "relu does not know 'tied' at column 6"},
    {"linear 3 tied", "expected a name of at most 63 letters after 'tied', not the end, at column 14"},
    {"linear 3 as a, linear 3 tied b", "no layer has the name 'b', at column 30"},
    {"linear 3 as a, linear 3 tied a as b, linear 3 tied b",
     "the layer 'b' has no weight of its own: it is tied to 'a', at column 52"},
    {"relu as a, linear 3 tied a", "the layer 'a' is a ReLU, which has no weight, at column 26"},
    {"(linear 1 as a), (linear 1 as a), linear 3 tied a", "2 layers have the name 'a', at column 49"},
    {"maxpool 2 pad 1x1x1", "maxpool: padding must be a whole number, or two as in 5x3, from 0 to 2147483648, not '1x1x1', at column 15"},
    {"conv3d 2 3x3", "conv3d: window must be a whole number, or three as in 5x3x3, from 1 to 2147483648, not '3x3', at column 10"},
    {"reshape 1x2x3x4x5x6x7x8x9", "reshape: sizes must be whole numbers as in 5x3x3, from -1 to 2147483648, not '1x2x3x4x5x6x7x8x9', at column 9"},
    {"reshape 2x-1x-1", "Reshape: only one size can be -1, at column 1"},
    {"reshape 2x0", "Reshape: size must be 1 to 2147483648, not 0, at column 1"},
    {"upsample", "Upsample: either a size or a scale above 0 is needed, at column 1"},
    {"upsample 2 size 3", "Upsample: either a size or a scale above 0 is needed, at column 1"},
    {"upsample 2 align", "Upsample: 'nearest' has no align_corners, at column 1"},
    {"upsample 2 linear bilinear", "upsample: there can be one mode, at column 1"},
    {"zeropad 1x2x3", "ConstantPad: 2, 4 or 6 numbers are needed, before and after for each axis, not 3, at column 1"},
    {"convtranspose 3 3 outpad 1", "ConvTranspose2d: output padding 1 must be smaller than the stride or the dilation, at column 1"},
    {"relu, avgpool 2 pad 1x0, maxpool1d 2 pad 2", "MaxPool1d: padding 2 is more than half the window of 2, at column 26"},
    {"variational 3 (linear 2)", "variational needs 2 branches with '|' between them, not 1, at column 1"},
    {"relu, bilinear 3 (relu)", "bilinear needs 2 branches with '|' between them, not 1, at column 7"},
    {"bilinear 3 (relu | relu | relu)", "bilinear takes at most 2 branches, and one more begins at column 27"},
    {"bilinear 3 (relu | )", "expected a layer, not ')', at column 20"},
    {"bilinear 3 (relu as layer | tanh)", "Branches has something named 'layer' already, at column 1"},
    {"linear 3 (relu | tanh)", "expected ',' or the end, not '(', at column 10"},
    {"input", "input: number must be a whole number from 0 to 1023, not the end, at column 6"},
    {"decoder 8 heads 2", "decoder needs 'layers' and a number, at column 1"},
    {"relu, decoder 8 heads 2 layers 2000", "decoder: layers must be a whole number from 1 to 1024, not '2000', at column 32"},
    {"repeat 10 (decoder 8 heads 2 layers 1024)", "more than 4096 layers at column 12"},
    {"transformerdecoder 8", "unknown layer 'transformerdecoder' at column 1; did you mean 'decoder'?"},
    {"maxpool 2 places, maxunpool", "expected 'tied' and the name of a layer, not the end, at column 28"},
    {"maxpool 2 as p, maxunpool tied p", "the layer 'p' is a MaxPool2d, and a maxpool with 'places' is needed, at column 32"},
    {"resnet18 clases 3", "resnet18 does not know 'clases' at column 10; did you mean 'classes'?"},
    {"resnet19", "unknown layer 'resnet19' at column 1; did you mean 'resnet18'?"},
    {"linear 3 tied a tied a", "linear: 'tied' is given twice, again at column 17"},
    {"residual()", "expected a layer, not ')', at column 10"},
    {"repeat 3", "expected '(' and the layers of repeat, not the end, at column 9"},
    {"repeat (relu)", "repeat: times must be a whole number from 1 to 4096, not '(', at column 8"},
    {"repeat 0 (relu)", "repeat: times must be a whole number from 1 to 4096, not '0', at column 8"},
    {"relu; relu", "expected ',' or the end, not ';', at column 5"},
    {"relu \x01", "expected ',' or the end, not '?', at column 6"},
    {"dropout 1.5", "dropout: probability must be a number from 0 to 1, not '1.5', at column 9"},
    {"dropout 0,5", "expected a layer, not '5', at column 11"},
    {"dropout nan", "dropout does not know 'nan' at column 9"},
    {"softmax 9", "softmax: dim must be a whole number from -8 to 7, not '9', at column 9"},
    {"maxpool 2 pad 2", "MaxPool2d: padding 2 is more than half the window of 2, at column 1"},
    {"hardtanh 1 0", "Hardtanh: the lower bound 1 must be below the upper bound 0, at column 1"},
    {"relu\n, linear\n foo", "linear: features must be a whole number from 1 to 2147483648, not 'foo', at line 3, column 2"},
    {"repeat 4096 (repeat 4096 (relu))", "more than 4096 layers at column 27"},
    {"((((((((((((((((((relu))))))))))))))))))", "parentheses are more than 16 deep at column 17"},
};

static void test_messages(void **state) {
    (void)state;
    for (size_t i = 0; i < SOMA_LEN(bad); i++) {
        char want[400];
        snprintf(want, sizeof want, "network description: %s", bad[i][1]);
        assert_null(soma_nn_parse(bad[i][0]));
        assert_int_equal(soma_error(), SOMA_EFORMAT);
        assert_string_equal(soma_error_message(), want);
        soma_error_clear();
    }
    assert_null(soma_nn_parse(NULL));
    check_error(SOMA_EINVAL, "NULL");
}

/* Names and classes are those that PyTorch's Sequential would have. */
static void test_structure(void **state) {
    (void)state;
    soma_module *m = soma_nn_parse("conv 32 3 relu, residual(conv 32 3 same relu), flatten, linear 10");
    check_ok();
    static const char *const types[] = {"Conv2d", "ReLU", "Residual", "Flatten", "Linear"};
    assert_int_equal(soma_nn_child_count(m), 5);
    for (int i = 0; i < 5; i++) {
        const char *name;
        assert_string_equal(soma_nn_class(soma_nn_child(m, i, &name))->name, types[i]);
        assert_int_equal(atoi(name), i);
    }
    assert_int_equal(soma_nn_child_count(soma_nn_child(m, 2, NULL)), 2);
    assert_int_equal(soma_nn_named(m, true, NULL, 0), 0); /* nothing is made before the shape is known */
    soma_nn_free(m);
}

/* Texts that must end quickly and with little memory. */
static void test_limits(void **state) {
    (void)state;
    size_t n = 1 << 20;
    char *text = malloc(n + 1);
    memset(text, '(', n);
    text[n] = 0;
    assert_null(soma_nn_parse(text));
    check_error(SOMA_EFORMAT, "longer than 262144 bytes");
    text[1 << 18] = 0;
    assert_null(soma_nn_parse(text));
    check_error(SOMA_EFORMAT, "parentheses are more than 16 deep at column 17");
    int at = sprintf(text, "repeat 4096 (#");
    memset(text + at, 'x', 200000);
    strcpy(text + at + 200000, "\nrelu)");
    assert_null(soma_nn_parse(text));
    check_error(SOMA_EFORMAT, "the repeats make the network too large");
    at = 0;
    for (int i = 0; i < 4096; i++)
        at += sprintf(text + at, "relu,");
    soma_module *m = soma_nn_parse(text);
    check_ok();
    assert_int_equal(soma_nn_child_count(m), 4096);
    soma_nn_free(m);
    sprintf(text + at, "relu");
    assert_null(soma_nn_parse(text));
    check_error(SOMA_EFORMAT, "more than 4096 layers at column 20481");
    free(text);
    m = soma_nn_parse("linear 2147483648, linear 2147483648");
    check_ok();
    soma_nn_free(m);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } shown[] = {{0, "0"}, {0.5, "0.5"}, {-0.1, "-0.1"}, {1e-5, "0.00001"}, {1e-6, "1e-6"}, {100, "100"}, {1.5e300, "1.5e300"},
                 {2147483648.0, "2147483648"}, {1.0 / 3, "0.3333333333333333"}, {5e-324, "5e-324"}};
    for (size_t i = 0; i < SOMA_LEN(shown); i++) {
        char out[40];
        assert_string_equal(soma__nn_write_real(shown[i].value, out), shown[i].text);
        const char *end;
        double back;
        assert_true(soma__nn_read_real(out, &end, &back));
        assert_true(back == shown[i].value && *end == 0);
    }
    const char *end;
    double v;
    assert_false(soma__nn_read_real("x", &end, &v));
    assert_false(soma__nn_read_real(".", &end, &v));
    assert_true(soma__nn_read_real("1e", &end, &v) && v == 1 && *end == 'e');
    assert_true(soma__nn_read_real("1e999999999999", &end, &v) && v > 1e308);
    assert_true(soma__nn_read_real("0.000000000000000000000000000001", &end, &v) && v == 1e-30);
}

/* The process's locale does not change what a description means. */
static void test_locale(void **state) {
    (void)state;
    const char *found = setlocale(LC_ALL, "de_DE.UTF-8");
    soma_module *m = soma_nn_parse("dropout 0.25, elu 1.5");
    check_ok();
    char *text = describe(m);
    setlocale(LC_ALL, "C");
    assert_string_equal(text, "dropout 0.25, elu 1.5");
    free(text);
    soma_nn_free(m);
    if (!found)
        print_message("locale de_DE.UTF-8 is not on this machine: tested with the default\n");
}

static void test_memory(void **state) {
    (void)state;
    const char *text = "conv 32 3 relu, residual(conv 32 3 same relu), repeat 3 (linear 4), (linear 3, tanh)";
    for (int64_t k = 1;; k++) {
        soma_memory_fail_at(k);
        soma_module *m = soma_nn_parse(text);
        soma_memory_fail_at(0);
        if (m) {
            check_ok();
            assert_true(k > 20);
            soma_nn_free(m);
            break;
        }
        check_error(SOMA_ENOMEM, "");
        assert_true(k < 1000);
    }
}

/* Parameters wait for the first input: a line of text is no reason to take the gigabytes that it speaks of. */
static void test_large(void **state) {
    (void)state;
    soma_memory_reset_peak();
    int64_t before = soma_memory_stats().peak;
    soma_module *m = soma_nn_parse("textcnn 333333333, linear 2000000000");
    check_ok();
    assert_non_null(m);
    assert_true(soma_memory_stats().peak - before < 1 << 20);
    soma_nn_free(m);
}

/* The manual's tables of words are those in the code. With SOMA_UPDATE set, the page is mended: everything from the table's head to the
 * next line that is no row is replaced. */
static void check_manual(void (*write)(soma__text *)) {
    soma__text t = {0};
    write(&t);
    FILE *f = fopen("docs/network.md", "rb");
    if (!f)
        fail_msg("docs/network.md is missing");
    char *page = calloc(1, 100000), *head = strndup(t.data, (size_t)(strchr(t.data, '\n') - t.data + 1));
    size_t n = fread(page, 1, 99999, f);
    fclose(f);
    char *at = n > 0 ? strstr(page, head) : NULL, *end = at;
    if (at && !strstr(page, t.data) && getenv("SOMA_UPDATE")) {
        while (*end == '|')
            end = strchr(end, '\n') + 1;
        f = fopen("docs/network.md", "wb");
        fprintf(f, "%.*s%s%s", (int)(at - page), page, t.data, end);
        assert_int_equal(fclose(f), 0);
        print_message("docs/network.md: table replaced\n");
    } else if (!at || !strstr(page, t.data)) {
        fail_msg("docs/network.md does not have this table of words (SOMA_UPDATE=1 writes it):\n%s", t.data);
    }
    free(head);
    free(page);
    soma__text_free(&t);
}

static void test_manual(void **state) {
    (void)state;
    check_manual(soma__nn_manual);
    check_manual(soma__nn_manual_models);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_round_trips), TEST(test_messages), TEST(test_structure),
        TEST(test_limits),      TEST(test_numbers),  TEST(test_locale),
        TEST(test_memory),      TEST(test_manual), TEST(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
