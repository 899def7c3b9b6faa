/* Four networks that learn images without being told what they show, by learning to give them back:
 *
 *   autoencoder  through a bottleneck of 32 numbers                                            (Hinton & Salakhutdinov 2006)
 *   denoising    the clean image from a noisy one                                              (Vincent et al. 2008)
 *   vae          through a distribution of 16 numbers, from which new images can be drawn      (Kingma & Welling 2014)
 *   rbm          a restricted Boltzmann machine, trained by contrastive divergence             (Hinton 2002)
 *
 *   reconstruct [MODEL|all] [FOLDER OF IDX FILES] [EPOCHS]
 *
 * Without a folder: drawn silhouettes and a short training. Each model writes a sheet, MODEL.png: images that it has not seen in training, what it
 * was given where that differs, what it gives back, and for two what they make up or look for. It must leave less of the error than a given share, the
 * error of answering every image with the mean image being 1; the exit status is 1 when it does not. */
#include <soma/soma.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 784, SIDE = 28, CODE = 16, COLUMNS = 14, ZOOM = 2, GAP = 4, TEST = 1000 };

typedef struct model {
    const char *name;
    double goal, goal_short;                       /* share of the mean image's error that may be left; with drawn images */
    soma_module *(*make)(void);
    soma_tensor *(*loss)(soma_module *net, soma_tensor *x);
    soma_tensor *(*given)(soma_tensor *x);         /* what the network sees of x; NULL: x */
    soma_tensor *(*back)(soma_module *net, soma_tensor *x);
    soma_tensor *(*own)(soma_module *net);         /* COLUMNS more images; NULL: it has none */
    const char *what;                              /* they are */
    double lr;
} model;

/* ---- Autoencoders ------------------------------------------------------------------------------------------------------------ */

static soma_module *parse(const char *text, int64_t inputs) {
    soma_module *net = soma_nn_parse(text);
    soma_nn_build(net, 2, (int64_t[]){1, inputs});
    return net;
}
static soma_module *bottleneck(void) { return parse("flatten, linear 256 relu, linear 32, linear 256 relu, linear 784", PIXELS); }
static soma_module *wide(void) { return parse("flatten, linear 512 relu, linear 784", PIXELS); }
static soma_tensor *answer(soma_module *net, soma_tensor *x) { return soma_sigmoid(soma_nn_forward(net, x)); }

/* Pixels are shades from 0 to 1: the cross-entropy of each, which is steep where the squared error of a sigmoid is flat. */
static soma_tensor *autoencoder_loss(soma_module *net, soma_tensor *x) { return soma_bce_with_logits(soma_nn_forward(net, x), soma_flatten(x, 1, -1)); }

static soma_tensor *with_noise(soma_tensor *x) {
    return soma_clamp(soma_add(x, soma_mul_scalar(soma_randn(soma_ndim(x), soma_shape(x), SOMA_F32), 0.4)), 0, 1);
}
static soma_tensor *denoising_loss(soma_module *net, soma_tensor *x) {
    return soma_bce_with_logits(soma_nn_forward(net, with_noise(x)), soma_flatten(x, 1, -1));
}

/* ---- Variational autoencoder: the first child gives mean and log-variance, the second draws the image -------------------------------- */

static soma_module *vae(void) {
    return soma_nn_seq(parse("flatten, linear 400 relu, linear 32", PIXELS), parse("linear 400 relu, linear 784", CODE));
}
static soma_tensor *code_mean(soma_tensor *code) { return soma_slice(code, 1, 0, CODE, 1); }
static soma_tensor *code_log_var(soma_tensor *code) { return soma_slice(code, 1, CODE, 2 * CODE, 1); }

/* The bound on -log p(x), a sample: -log p(x | z) for one z = mean + deviation * N(0, 1), and the divergence of the code from N(0, 1). */
static soma_tensor *vae_loss(soma_module *net, soma_tensor *x) {
    soma_tensor *code = soma_nn_forward(soma_nn_child(net, 0, NULL), x), *mean = code_mean(code), *log_var = code_log_var(code);
    soma_tensor *noise = soma_randn(soma_ndim(mean), soma_shape(mean), SOMA_F32);
    soma_tensor *z = soma_add(mean, soma_mul(soma_exp(soma_mul_scalar(log_var, 0.5)), noise));
    soma_tensor *logits = soma_nn_forward(soma_nn_child(net, 1, NULL), z), *flat = soma_flatten(x, 1, -1);
    soma_tensor *image = soma_sum(soma_sub(soma_softplus(logits), soma_mul(flat, logits)), SOMA_ALL, false);
    soma_tensor *divergence = soma_sum(soma_sub(soma_add(soma_square(mean), soma_exp(log_var)), soma_add_scalar(log_var, 1)), SOMA_ALL, false);
    return soma_mul_scalar(soma_add(image, soma_mul_scalar(divergence, 0.5)), 1.0 / (double)soma_size(x, 0));
}
static soma_tensor *vae_back(soma_module *net, soma_tensor *x) {
    return soma_sigmoid(soma_nn_forward(soma_nn_child(net, 1, NULL), code_mean(soma_nn_forward(soma_nn_child(net, 0, NULL), x))));
}
static soma_tensor *vae_dream(soma_module *net) {
    return soma_sigmoid(soma_nn_forward(soma_nn_child(net, 1, NULL), soma_randn(SOMA_SHAPE(COLUMNS, CODE), SOMA_F32)));
}

/* ---- Restricted Boltzmann machine -------------------------------------------------------------------------------------------------------- */

static soma_module *rbm(void) { return soma_nn_rbm(PIXELS, 256); }
/* Its units are on or off: each pixel is on with the probability of its shade. */
static soma_tensor *rbm_loss(soma_module *net, soma_tensor *x) {
    soma_tensor *on = soma_to(soma_lt(soma_rand(soma_ndim(x), soma_shape(x), SOMA_F32), x), SOMA_F32);
    return soma_rbm_loss(net, on, 1, NULL);
}
static soma_tensor *rbm_back(soma_module *net, soma_tensor *x) { return soma_nn_forward(net, soma_flatten(x, 1, -1)); }
/* The weights of some hidden units: grey is 0, white what switches the unit on. */
static soma_tensor *rbm_features(soma_module *net) {
    soma_tensor *w = soma_slice(soma_nn_get(net, "weight"), 0, 0, COLUMNS, 1);
    soma_tensor *largest = soma_amax(soma_abs(w), SOMA_DIMS(1), true);
    return soma_add_scalar(soma_div(w, soma_mul_scalar(largest, 2)), 0.5);
}

static const model models[] = {
    {"autoencoder", 0.15, 0.7, bottleneck, autoencoder_loss, NULL, answer, NULL, "", 1e-3},
    {"denoising", 0.2, 0.6, wide, denoising_loss, with_noise, answer, NULL, "", 1e-3},
    {"vae", 0.2, 0.8, vae, vae_loss, NULL, vae_back, vae_dream, ", made up", 1e-3},
    {"rbm", 0.2, 0.8, rbm, rbm_loss, NULL, rbm_back, rbm_features, ", weights of hidden units", 2e-3},
};

/* ---- Looking at it ------------------------------------------------------------------------------------------------------------------------ */

/* Rows of images [COLUMNS, PIXELS], some NULL. */
static soma_status write_sheet(const char *path, soma_tensor *const *row, int rows) {
    int shown = 0, cell = SIDE * ZOOM + GAP;
    for (int r = 0; r < rows; r++)
        shown += row[r] != NULL;
    soma_image sheet = {.width = COLUMNS * cell + GAP, .height = shown * cell + GAP, .channels = 1};
    sheet.pixels = malloc((size_t)sheet.width * (size_t)sheet.height);
    if (!sheet.pixels)
        return SOMA_ENOMEM;
    memset(sheet.pixels, 128, (size_t)sheet.width * (size_t)sheet.height);
    for (int r = 0, y = 0; r < rows; r++) {
        float shade[COLUMNS * PIXELS];
        if (!row[r] || soma_to_array(row[r], shade, COLUMNS * PIXELS, SOMA_F32) != SOMA_OK)
            continue;
        for (int i = 0; i < COLUMNS * SIDE * ZOOM * SIDE * ZOOM; i++) {
            int column = i / (SIDE * ZOOM * SIDE * ZOOM), py = i / (SIDE * ZOOM) % (SIDE * ZOOM), px = i % (SIDE * ZOOM);
            float v = shade[column * PIXELS + py / ZOOM * SIDE + px / ZOOM];
            sheet.pixels[(GAP + y * cell + py) * sheet.width + GAP + column * cell + px] = (uint8_t)lrintf(255 * fminf(1, fmaxf(0, v)));
        }
        y++;
    }
    soma_status status = soma_image_write_png(path, &sheet);
    free(sheet.pixels);
    return status;
}

static soma_tensor *images(soma_dataset *d, int64_t n) {
    soma_tensor *x = soma_empty(SOMA_SHAPE(n, 1, SIDE, SIDE), SOMA_F32);
    for (int64_t i = 0; x && i < n; i++)
        if (soma_data_get(d, i, (float *)soma_data(x) + i * PIXELS, NULL) != SOMA_OK)
            return NULL;
    return x;
}

static double squared_error(soma_tensor *a, soma_tensor *b) {
    return soma_item(soma_mean(soma_square(soma_sub(soma_flatten(a, 1, -1), soma_flatten(b, 1, -1))), SOMA_ALL, false));
}

/* The share of the mean image's error that is left, and the sheet. */
static double judge(const model *m, soma_module *net, soma_dataset *test) {
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    soma_nn_train(net, false);
    soma_seed(99);
    soma_tensor *x = images(test, TEST), *given = x && m->given ? m->given(x) : x, *back = m->back(net, given);
    soma_tensor *mean = soma_mean(x, SOMA_DIMS(0), true);
    double left = squared_error(back, x) / squared_error(soma_expand(mean, 4, soma_shape(x)), x);
    soma_tensor *rows[] = {soma_slice(x, 0, 0, COLUMNS, 1), m->given ? soma_slice(given, 0, 0, COLUMNS, 1) : NULL,
                           soma_slice(back, 0, 0, COLUMNS, 1), m->own ? m->own(net) : NULL};
    char path[64];
    snprintf(path, sizeof path, "%s.png", m->name);
    if (soma_error() == SOMA_OK && write_sheet(path, rows, 4) == SOMA_OK)
        printf("  %s: originals%s, what comes back%s\n", path, m->given ? ", what is given" : "", m->what);
    soma_nn_train(net, true);
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    return left;
}

static bool learn(const model *m, soma_dataset *train, soma_dataset *test, int epochs, double goal) {
    soma_seed(7);
    soma_module *net = m->make();
    soma_optim *opt = soma_adam(net, .lr = m->lr);
    soma_loader *loader = soma_loader_new(train, .batch_size = 128, .shuffle = true, .seed = 3);
    printf("%s, %lld parameters\n", m->name, (long long)soma_nn_count(net));
    for (int epoch = 1; epoch <= epochs && soma_error() == SOMA_OK; epoch++) {
        double sum = 0, steps = 0;
        for (soma_batch b; soma_loader_next(loader, &b);) {
            soma_tensor *loss = m->loss(net, b.x);
            soma_backward(loss);
            soma_optim_step(opt);
            sum += soma_item(loss);
            steps++;
        }
        printf("  epoch %d  loss %.4f\n", epoch, sum / steps);
        fflush(stdout);
    }
    double left = soma_error() == SOMA_OK ? judge(m, net, test) : NAN;
    bool good = soma_error() == SOMA_OK && left < goal;
    printf("  error left: %.3f of the mean image's; asked for: below %.2f%s\n", left, goal, good ? "" : "  NOT REACHED");
    soma_loader_free(loader);
    soma_optim_free(opt);
    soma_nn_free(net);
    return good;
}

int main(int argc, char **argv) {
    const char *which = argc > 1 ? argv[1] : "all", *folder = argc > 2 ? argv[2] : NULL;
    int epochs = argc > 3 ? atoi(argv[3]) : folder ? 8 : 3, known = 0, failed = 0;
    soma_dataset *train = folder ? soma_data_idx(folder, SOMA_TRAIN) : soma_data_drawn(4000, 1);
    soma_dataset *test = folder ? soma_data_idx(folder, SOMA_TEST) : soma_data_drawn(TEST, 2);
    for (size_t i = 0; i < sizeof models / sizeof models[0] && soma_error() == SOMA_OK; i++)
        if (strcmp(which, "all") == 0 || strcmp(which, models[i].name) == 0) {
            known++;
            failed += !learn(&models[i], train, test, epochs, folder ? models[i].goal : models[i].goal_short);
        }
    if (known == 0 && soma_error() == SOMA_OK)
        fprintf(stderr, "reconstruct: '%s' is none of autoencoder, denoising, vae, rbm, all\n", which);
    if (soma_error() != SOMA_OK)
        fprintf(stderr, "%s\n", soma_error_message());
    soma_data_free(train);
    soma_data_free(test);
    return failed || known == 0 || soma_error() != SOMA_OK;
}
