/* Models by name: words that stand for the description they are written with. */
#include "nn/nn.h"

static long long int_or(const soma__nn_value *v, int64_t ordinary) { return v->given ? v->i[0] : ordinary; }

/* ---- Classifiers ---- */

static void mlp_expand(const soma__nn_value *v, soma__text *t) {
    static const soma__nn_value ordinary = {.i = {256, 128}, .n = 2};
    const soma__nn_value *hidden = v[0].given ? &v[0] : &ordinary;
    char p[40];
    soma__text_add(t, "flatten");
    for (int i = 0; i < hidden->n; i++) {
        soma__text_add(t, ", linear %lld relu", (long long)hidden->i[i]);
        if (v[2].given)
            soma__text_add(t, ", dropout %s", soma__nn_write_real(v[2].r, p));
    }
    soma__text_add(t, ", linear %lld", int_or(&v[1], 10));
}

static void lenet_expand(const soma__nn_value *v, soma__text *t) {
    soma__text_add(t,
                   "conv 6 5 pad 2 as conv1 tanh, avgpool 2, conv 16 5 as conv2 tanh, avgpool 2, conv 120 5 as conv3 tanh, flatten, "
                   "linear 84 as fc1 tanh, linear %lld as fc2",
                   int_or(&v[0], 10));
}

/* Tensors are named as torchvision's: layer1.0.conv1.weight, layer2.0.downsample.0.weight … */
static void resnet(const soma__nn_value *v, const int blocks[4], soma__text *t) {
    soma__text_add(t, v[1].given ? "conv 64 3 pad 1 nobias as conv1, batchnorm as bn1 relu as relu"
                                 : "conv 64 7 stride 2 pad 3 nobias as conv1, batchnorm as bn1 relu as relu, "
                                   "maxpool 3 stride 2 pad 1 as maxpool");
    for (int layer = 0, channels = 64; layer < 4; layer++, channels *= 2) {
        for (int i = 0; i < blocks[layer]; i++) {
            bool smaller = layer > 0 && i == 0;
            soma__text_add(t, "%sresidual relu as relu (conv %d 3%s pad 1 nobias as conv1, batchnorm as bn1 relu, conv %d 3 pad 1 nobias as conv2, "
                           "batchnorm as bn2", i ? ", " : ", (", channels, smaller ? " stride 2" : "", channels);
            if (smaller)
                soma__text_add(t, " | conv %d 1 stride 2 nobias, batchnorm", channels);
            soma__text_add(t, ")");
        }
        soma__text_add(t, ") as layer%d", layer + 1);
    }
    soma__text_add(t, ", gap as avgpool, flatten, linear %lld as fc", int_or(&v[0], 1000));
}

static void resnet18_expand(const soma__nn_value *v, soma__text *t) { resnet(v, (const int[]){2, 2, 2, 2}, t); }
static void resnet34_expand(const soma__nn_value *v, soma__text *t) { resnet(v, (const int[]){3, 4, 6, 3}, t); }

/* ---- Autoencoders of values from 0 to 1: the input's sizes must be said, because the last layer makes them ---- */

enum { AE_CODE, AE_SIZE, AE_HIDDEN, AE_TIED, AE_NOISE };

/* The sizes as text, and their product; false when that is too large (the error is recorded). */
static bool sizes_text(const soma__nn_value *v, soma__text *sizes, int64_t *product) {
    static const soma__nn_value ordinary = {.i = {1, 28, 28}, .n = 3};
    v = v->given ? v : &ordinary;
    *product = 1;
    for (int i = 0; i < v->n; i++) {
        soma__text_add(sizes, "%s%lld", i ? "x" : "", (long long)v->i[i]);
        if (soma__mul_ok(*product, v->i[i], product) && *product <= SOMA__NN_MAX_SIZE)
            continue;
        soma_fail(SOMA_EINVAL, "the sizes make more than 2147483648 values");
        return false;
    }
    return true;
}

static void dense(const soma__nn_value *v, soma__text *t) {
    soma__text sizes = {0};
    int64_t values;
    if (sizes_text(&v[AE_SIZE], &sizes, &values) && !sizes.failed) {
        long long code = int_or(&v[AE_CODE], 32), hidden = int_or(&v[AE_HIDDEN], 128);
        bool tied = v[AE_TIED].given;
        soma__text_add(t, "flatten, (linear %lld as enc1 relu, linear %lld as enc2) as encoder, ", hidden, code);
        soma__text_add(t, "(linear %lld%s as dec1 relu, linear %lld%s as dec2 sigmoid) as decoder, unflatten %s", hidden,
                       tied ? " tied enc2" : "", (long long)values, tied ? " tied enc1" : "", sizes.data);
    }
    soma__text_free(&sizes);
}

static void autoencoder_expand(const soma__nn_value *v, soma__text *t) { dense(v, t); }

static void denoising_expand(const soma__nn_value *v, soma__text *t) {
    char std[40];
    soma__text_add(t, "noise %s, ", soma__nn_write_real(v[AE_NOISE].given ? v[AE_NOISE].r : 0.3, std));
    dense(v, t);
}

static void conv_autoencoder_expand(const soma__nn_value *v, soma__text *t) {
    long long width = int_or(&v[1], 16);
    soma__text_add(t, "(conv %lld 3 stride 2 pad 1 relu, conv %lld 3 stride 2 pad 1 relu) as encoder, ", width, 2 * width);
    soma__text_add(t, "(convtranspose %lld 3 stride 2 pad 1 outpad 1 relu, convtranspose %lld 3 stride 2 pad 1 outpad 1 sigmoid) as decoder",
                   width, int_or(&v[0], 1));
}

static void vae_expand(const soma__nn_value *v, soma__text *t) {
    soma__text sizes = {0};
    int64_t values;
    long long hidden = int_or(&v[2], 400);
    if (sizes_text(&v[1], &sizes, &values) && !sizes.failed)
        soma__text_add(t, "variational %lld (flatten, linear %lld relu | linear %lld relu, linear %lld sigmoid, unflatten %s)",
                       int_or(&v[0], 20), hidden, hidden, (long long)values, sizes.data);
    soma__text_free(&sizes);
}

#define SIZE(word, name) {SOMA__ARG_INT, word, name, false, SOMA__SIZE_FROM(1)}
#define SHAPE {SOMA__ARG_LIST, "size", "sizes", false, SOMA__SIZE_FROM(1)}
#define FLAG(word) {SOMA__ARG_FLAG, word, "", false, 0, 0}
#define DENSE SIZE(NULL, "code"), SHAPE, SIZE("hidden", "features"), FLAG("tied")

const soma__nn_word soma__nn_words_model[] = {
    {.word = "mlp", .expand = mlp_expand, .help = "multi-layer perceptron: hidden layers 256 and 128 with ReLU unless given",
     .args = SOMA__ARGS({SOMA__ARG_LIST, NULL, "hidden", false, SOMA__SIZE_FROM(1)}, SIZE("classes", "number"),
              {SOMA__ARG_REAL, "dropout", "probability", false, 0, 1})},
    {.word = "lenet", .expand = lenet_expand, .help = "LeNet-5 for images of 28 x 28, with average pooling and tanh (LeCun et al. 1998)",
     .args = SOMA__ARGS(SIZE("classes", "number"))},
    {.word = "resnet18", .expand = resnet18_expand,
     .help = "residual network of 18 layers (He et al. 2016), 1000 classes unless given; tensors are named as torchvision's. `cifar`: a stem for "
             "small images, 3 x 3 without pooling",
     .args = SOMA__ARGS(SIZE("classes", "number"), FLAG("cifar"))},
    {.word = "resnet34", .expand = resnet34_expand, .help = "the same with 34 layers", .args = SOMA__ARGS(SIZE("classes", "number"), FLAG("cifar"))},
    {.word = "autoencoder", .expand = autoencoder_expand,
     .help = "encoder to 32 numbers unless given and decoder, each with a hidden layer of 128; `size` 1x28x28 unless given; `tied`: the "
             "decoder uses the encoder's weights",
     .args = SOMA__ARGS(DENSE)},
    {.word = "denoisingautoencoder", .expand = denoising_expand,
     .help = "the same with noise on the input while training (0.3 unless given; Vincent et al. 2008)",
     .args = SOMA__ARGS(DENSE, {SOMA__ARG_REAL, "noise", "deviation", false, 0, 1e30})},
    {.word = "convautoencoder", .expand = conv_autoencoder_expand,
     .help = "convolutions to a quarter of height and width (multiples of 4) and transposed ones back; the input's channels are 1 unless given",
     .args = SOMA__ARGS(SIZE(NULL, "channels"), {SOMA__ARG_INT, "width", "channels", false, 1, 1000000000})},
    {.word = "vae", .expand = vae_expand,
     .help = "variational autoencoder with 20 latent numbers and hidden layers of 400 unless given (Kingma & Welling 2014)",
     .args = SOMA__ARGS(SIZE(NULL, "latent"), SHAPE, SIZE("hidden", "features"))},
    {.word = NULL},
};
