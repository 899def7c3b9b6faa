/* How well the doctor finds what is wrong: trainings with one planted fault each, and healthy ones. Prints a table of faults against
 * findings, or Markdown with --markdown (docs/doctor.md has it). Not a test that passes or fails by figures: tests/test_doctor.c holds what
 * must be so. Each training is a function of its row alone; nothing here is tuned to a seed: rows differ in data, network, optimiser and seed.
 *
 *     doctor_suite [--seed N] [--markdown] [--only NAME] [--healthy N]
 */
#include <soma/soma.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Data ---------------------------------------------------------------------------------------------------------------------- */

typedef enum set { IMAGES, ROWS, VALUES, STEPS } set;

static double unit(uint64_t *state) { /* xorshift64*, Vigna 2016 */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)(*state * 2685821657736338717u >> 11) / 9007199254740992.0;
}

static double normal(uint64_t *state) { return sqrt(-2 * log(unit(state) + 1e-300)) * cos(6.283185307179586 * unit(state)); }

enum { FEATURES = 12, CLASSES = 4, TIME = 16, WIDTH = 6 };

/* Four clouds around two centres each, which overlap: some 90 % can be right. */
static void fill_rows(float *x, int64_t *y, int64_t n, uint64_t *s) {
    double centre[CLASSES * 2][FEATURES];
    for (int c = 0; c < CLASSES * 2; c++)
        for (int k = 0; k < FEATURES; k++) centre[c][k] = 1.3 * normal(s);
    for (int64_t i = 0; i < n; i++) {
        int c = (int)(unit(s) * CLASSES * 2) % (CLASSES * 2);
        y[i] = c % CLASSES;
        for (int k = 0; k < FEATURES; k++) x[i * FEATURES + k] = (float)(centre[c][k] + normal(s));
    }
}

static void fill_values(float *x, float *y, int64_t n, uint64_t *s) {
    for (int64_t i = 0; i < n; i++) {
        float *r = x + i * FEATURES;
        for (int k = 0; k < FEATURES; k++) r[k] = (float)normal(s);
        y[i] = (float)(sin(1.5 * (double)r[0]) + (double)(r[1] * r[2]) - 0.5 * (double)r[3] + 0.1 * normal(s));
    }
}

/* Which of two marks came first, among noise. */
static void fill_steps(float *x, int64_t *y, int64_t n, uint64_t *s) {
    for (int64_t i = 0; i < n; i++) {
        float *r = x + i * TIME * WIDTH;
        for (int k = 0; k < TIME * WIDTH; k++) r[k] = (float)(0.5 * normal(s));
        int first = (int)(unit(s) * (TIME - 2)), second = first + 1 + (int)(unit(s) * (TIME - 1 - first));
        y[i] = unit(s) < 0.5;
        r[first * WIDTH + (int)y[i]] += 3;
        r[second * WIDTH + 1 - (int)y[i]] += 3;
    }
}

typedef struct data {
    soma_tensor *x, *y; /* kept */
    soma_dataset *train, *val;
} data;

static void make_tensors(data *d, set kind, int64_t n, uint64_t seed) {
    uint64_t s = seed * 2654435761u + 88172645463325252u;
    soma_scope scope = soma_scope_begin();
    if (kind == STEPS) {
        d->x = soma_keep(soma_empty(SOMA_SHAPE(n, TIME, WIDTH), SOMA_F32));
        d->y = soma_keep(soma_empty(SOMA_SHAPE(n), SOMA_I64));
        fill_steps(soma_data(d->x), soma_data(d->y), n, &s);
    } else {
        d->x = soma_keep(soma_empty(SOMA_SHAPE(n, FEATURES), SOMA_F32));
        d->y = soma_keep(kind == ROWS ? soma_empty(SOMA_SHAPE(n), SOMA_I64) : soma_empty(SOMA_SHAPE(n, 1), SOMA_F32));
        if (kind == ROWS)
            fill_rows(soma_data(d->x), soma_data(d->y), n, &s);
        else
            fill_values(soma_data(d->x), soma_data(d->y), n, &s);
    }
    soma_scope_end(scope);
}

/* ---- A training ------------------------------------------------------------------------------------------------------------------ */

typedef enum plant {
    NOTHING, SORTED, SCALED, NAN_IN, OVERLAP, FEW, NOT_OPTIMISED, DEAD, NO_CLASS, BALANCE, CONSTANT
} plant;

typedef struct row {
    const char *fault;      /* NULL: healthy */
    const char *causes;     /* rules that name it, separated by blanks */
    const char *name;
    set kind;
    const char *net, *optim, *loss, *init;
    double lr, clip, l2, weight_scale;
    int64_t batch, epochs, n;
    plant plant;
    uint64_t seed;
} row;

static soma_dataset *few_of(soma_dataset *d, int64_t n) {
    int64_t *index = malloc((size_t)n * sizeof(*index));
    for (int64_t i = 0; i < n; i++) index[i] = i;
    soma_dataset *part = soma_data_subset(d, index, n);
    free(index);
    return part;
}

/* Sorted by class. */
static soma_dataset *sorted_of(soma_dataset *d) {
    int64_t n = soma_data_count(d), at = 0, *index = malloc((size_t)n * sizeof(*index));
    for (int c = 0; c < soma_data_classes(d); c++)
        for (int64_t i = 0; i < n; i++) {
            double y;
            if (soma_data_get(d, i, NULL, &y) == SOMA_OK && (int)y == c) index[at++] = i;
        }
    soma_dataset *part = soma_data_subset(d, index, at);
    free(index);
    return part;
}

/* The first class in full, of the others a fiftieth. */
static soma_dataset *unbalanced_of(soma_dataset *d) {
    int64_t n = soma_data_count(d), at = 0, *index = malloc((size_t)n * sizeof(*index));
    for (int64_t i = 0; i < n; i++) {
        double y;
        if (soma_data_get(d, i, NULL, &y) == SOMA_OK && (y == 0 || i % 50 == 0)) index[at++] = i;
    }
    soma_dataset *part = soma_data_subset(d, index, at);
    free(index);
    return part;
}

static void damage(data *d, plant p) {
    if (!d->x) return;
    float *x = soma_data(d->x);
    int64_t n = soma_numel(d->x), each = n / soma_size(d->x, 0);
    for (int64_t i = 0; i < n; i++) {
        if (p == SCALED) x[i] = i % each % 3 == 0 ? x[i] * 4000 + 9000 : x[i];
        if (p == NAN_IN && i % (each * 97) == 5) x[i] = NAN;
        if (p == CONSTANT && i % each < each / 3) x[i] = 1;
    }
}

static void open_data(const row *r, data *d) {
    *d = (data){0};
    int64_t n = r->n ? r->n : r->kind == IMAGES ? 1500 : 2000;
    soma_dataset *all;
    if (r->kind == IMAGES) {
        all = soma_data_drawn(n, r->seed);
    } else {
        make_tensors(d, r->kind, n, r->seed);
        damage(d, r->plant);
        all = soma_data_tensors(d->x, d->y);
    }
    if (r->plant == BALANCE) {
        soma_dataset *part = unbalanced_of(all);
        soma_data_free(all);
        all = part;
    }
    if (r->plant == OVERLAP) {
        d->train = all;
        d->val = few_of(all, n / 5);
        return;
    }
    soma_data_split(all, 0.2, r->seed, false, &d->train, &d->val);
    soma_data_free(all);
    if (r->plant == FEW || r->plant == SORTED) {
        soma_dataset *part = r->plant == FEW ? few_of(d->train, 60) : sorted_of(d->train);
        soma_data_free(d->train);
        d->train = part;
    }
}

static soma_optim *make_optim(const row *r, soma_module *net) {
    if (r->plant != NOT_OPTIMISED) return soma_optim_by_name(r->optim, net, SOMA_FLOAT("lr", r->lr));
    /* all but the first layer with weights */
    soma_named named[64];
    soma_tensor *rest[64];
    int n = soma_nn_named(net, false, named, 64);
    soma_optim *opt = soma_optim_by_name(r->optim, NULL, SOMA_FLOAT("lr", r->lr));
    for (int i = 2; i < n && i < 64; i++) rest[i - 2] = named[i].tensor;
    soma_optim_add_group(opt, rest, n - 2, -1, -1);
    return opt;
}

static void change_weights(const row *r, soma_module *net) {
    soma_named named[64];
    int n = soma_nn_named(net, false, named, 64);
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    for (int i = 0; i < n && i < 64; i++) {
        bool bias = strstr(named[i].name, "bias") != NULL;
        if (r->weight_scale > 0 && !bias) soma_mul_(named[i].tensor, soma_scalar(r->weight_scale));
        if (r->plant == DEAD && bias && i + 2 < n) soma_add_(named[i].tensor, soma_scalar(-8));
    }
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
}

static soma_status train(const row *r, soma_doctor *doctor) {
    data d;
    soma_norm_stats norm = {0};
    soma_loss_opts opts;
    open_data(r, &d);
    soma_seed(r->seed);
    bool plain = r->plant == SCALED || r->plant == NAN_IN;
    if (!plain) soma_data_stats(d.train, &norm);
    for (int i = 0; i < norm.n; i++)
        if (!(norm.std[i] > 0)) norm.std[i] = 1;
    soma_loader *loader = soma_loader_new(d.train, .batch_size = r->batch ? r->batch : 32, .shuffle = r->plant != SORTED, .seed = r->seed,
                                          .norm = plain ? NULL : &norm, .workers = -1);
    soma_loader *val = soma_loader_new(d.val, .batch_size = 100, .norm = plain ? NULL : &norm, .workers = -1);
    soma_module *net = soma_nn_parse(r->net);
    int64_t shape[SOMA_MAX_DIMS] = {1};
    for (int i = 0; i < soma_data_ndim(d.train); i++) shape[i + 1] = soma_data_shape(d.train)[i];
    soma_nn_build(net, soma_data_ndim(d.train) + 1, shape);
    if (r->init) soma_nn_init(net, r->init);
    change_weights(r, net);
    soma_optim *opt = make_optim(r, net);
    soma_loss_fn loss = r->loss ? soma_loss_parse(r->loss, &opts) : NULL;
    soma_status status = soma_check(doctor, net, opt, loader, val, .loss = loss, .loss_user = loss ? &opts : NULL, .net = r->net, .overfit = true);
    if (status == SOMA_OK)
        status = soma_fit(net, opt, loader, val, NULL, .epochs = r->epochs ? r->epochs : 4, .loss = loss, .loss_user = loss ? &opts : NULL, .clip_norm = r->clip,
                          .l2 = r->l2, .observer = soma_doctor_observer(doctor));
    soma_optim_free(opt);
    soma_nn_free(net);
    soma_loader_free(loader);
    soma_loader_free(val);
    soma_norm_stats_free(&norm);
    soma_data_free(d.train);
    soma_data_free(d.val);
    soma_release(d.x);
    soma_release(d.y);
    return status;
}

/* ---- The rows ---------------------------------------------------------------------------------------------------------------------- */

#define MLP "linear 64 relu, linear 32 relu, linear 4"
#define CNN "conv 8 3 relu, maxpool 2, conv 16 3 relu, maxpool 2, flatten, linear 32 relu, linear 10"
#define SEQ "lstm 32 last, linear 16 relu, linear 2"
#define TRF "linear 16, transformer 16 heads 2 feedforward 32 dropout 0, overtime mean, linear 2"
#define SGD(rate) .optim = "sgd", .lr = rate
#define ADAM(rate) .optim = "adam", .lr = rate

static const row faults[] = {
    {.fault = "learning rate too high", .causes = "learning-rate-too-high loss-diverging learning-rate-at-start", .name = "mlp", .kind = ROWS, .net = MLP, SGD(30), .seed = 1},
    {.fault = "learning rate too high", .causes = "learning-rate-too-high loss-diverging learning-rate-at-start", .name = "cnn", .kind = IMAGES, .net = CNN, ADAM(0.3), .seed = 2},
    {.fault = "learning rate too high", .causes = "learning-rate-too-high loss-diverging learning-rate-at-start", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1), .seed = 3},
    {.fault = "learning rate too low", .causes = "learning-rate-too-low", .name = "mlp", .kind = ROWS, .net = MLP, SGD(1e-6), .seed = 4},
    {.fault = "learning rate too low", .causes = "learning-rate-too-low", .name = "cnn", .kind = IMAGES, .net = CNN, ADAM(1e-7), .seed = 5},
    {.fault = "learning rate too low", .causes = "learning-rate-too-low", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-7), .seed = 6},
    {.fault = "softmax before cross-entropy", .causes = "softmax-before-loss", .name = "mlp", .kind = ROWS, .net = MLP ", softmax", ADAM(1e-3), .seed = 7},
    {.fault = "softmax before cross-entropy", .causes = "softmax-before-loss", .name = "cnn", .kind = IMAGES, .net = CNN ", softmax", ADAM(1e-3), .seed = 8},
    {.fault = "softmax before cross-entropy", .causes = "softmax-before-loss", .name = "transformer", .kind = STEPS, .net = TRF ", softmax", ADAM(1e-3), .seed = 9},
    {.fault = "sigmoid before cross-entropy", .causes = "softmax-before-loss", .name = "mlp", .kind = ROWS, .net = MLP " sigmoid", ADAM(1e-3), .seed = 10},
    {.fault = "sigmoid before cross-entropy", .causes = "softmax-before-loss", .name = "cnn", .kind = IMAGES, .net = CNN " sigmoid", SGD(0.05), .seed = 11},
    {.fault = "sigmoid before cross-entropy", .causes = "softmax-before-loss", .name = "lstm", .kind = STEPS, .net = SEQ " sigmoid", ADAM(1e-3), .seed = 12},
    {.fault = "ReLU on the output", .causes = "relu-on-output", .name = "mlp", .kind = VALUES, .net = "linear 64 relu, linear 1 relu", ADAM(1e-3), .seed = 13},
    {.fault = "ReLU on the output", .causes = "relu-on-output", .name = "cnn", .kind = IMAGES, .net = CNN " relu", ADAM(1e-3), .seed = 14},
    {.fault = "ReLU on the output", .causes = "relu-on-output", .name = "lstm", .kind = STEPS, .net = SEQ " relu", ADAM(1e-3), .seed = 15},
    {.fault = "no activation between layers", .causes = "linear-without-activation", .name = "mlp", .kind = ROWS, .net = "linear 64, linear 32, linear 4", ADAM(1e-3), .seed = 16},
    {.fault = "no activation between layers", .causes = "linear-without-activation", .name = "cnn", .kind = IMAGES,
     .net = "conv 8 3 relu, maxpool 2, flatten, linear 64, linear 32, linear 10", ADAM(1e-3), .seed = 17},
    {.fault = "no activation between layers", .causes = "linear-without-activation", .name = "lstm", .kind = STEPS, .net = "lstm 32 last, linear 16, linear 2", ADAM(1e-3), .seed = 18},
    {.fault = "all weights zero", .causes = "equal-weights", .name = "mlp", .kind = ROWS, .net = MLP, SGD(0.1), .init = "zeros", .seed = 19},
    {.fault = "all weights zero", .causes = "equal-weights", .name = "cnn", .kind = IMAGES, .net = CNN, ADAM(1e-3), .init = "zeros", .seed = 20},
    {.fault = "all weights one", .causes = "equal-weights", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-3), .init = "ones", .seed = 21},
    {.fault = "initial weights too large", .causes = "init-scale first-loss", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .weight_scale = 30, .seed = 22},
    {.fault = "initial weights too large", .causes = "init-scale first-loss", .name = "cnn", .kind = IMAGES, .net = CNN, SGD(0.01), .weight_scale = 20, .seed = 23},
    {.fault = "initial weights too large", .causes = "init-scale first-loss saturated-units", .name = "tanh", .kind = ROWS, .net = "linear 64 tanh, linear 32 tanh, linear 4", ADAM(1e-3),
     .weight_scale = 40, .seed = 24},
    {.fault = "initial weights too small", .causes = "init-scale vanishing-gradient-at-start", .name = "mlp", .kind = ROWS, .net = MLP, SGD(0.05), .weight_scale = 0.002, .seed = 25},
    {.fault = "initial weights too small", .causes = "init-scale vanishing-gradient-at-start", .name = "cnn", .kind = IMAGES, .net = CNN, SGD(0.01), .weight_scale = 0.002, .seed = 26},
    {.fault = "initial weights too small", .causes = "init-scale vanishing-gradient-at-start", .name = "lstm", .kind = STEPS, .net = SEQ, SGD(0.05), .weight_scale = 0.002, .seed = 27},
    {.fault = "inputs not scaled", .causes = "inputs-not-scaled", .name = "mlp", .kind = ROWS, .net = MLP, SGD(0.01), .plant = SCALED, .seed = 28},
    {.fault = "inputs not scaled", .causes = "inputs-not-scaled", .name = "regression", .kind = VALUES, .net = "linear 64 relu, linear 1", ADAM(1e-3), .plant = SCALED, .seed = 29},
    {.fault = "inputs not scaled", .causes = "inputs-not-scaled", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-3), .plant = SCALED, .seed = 30},
    {.fault = "NaN in the data", .causes = "nan-in-data", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .plant = NAN_IN, .seed = 31},
    {.fault = "NaN in the data", .causes = "nan-in-data", .name = "regression", .kind = VALUES, .net = "linear 64 relu, linear 1", ADAM(1e-3), .plant = NAN_IN, .seed = 32},
    {.fault = "NaN in the data", .causes = "nan-in-data", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-3), .plant = NAN_IN, .seed = 33},
    {.fault = "deep sigmoid network", .causes = "many-saturating-layers vanishing-gradient vanishing-gradient-at-start", .name = "mlp", .kind = ROWS,
     .net = "linear 32 sigmoid, linear 32 sigmoid, linear 32 sigmoid, linear 32 sigmoid, linear 32 sigmoid, linear 4", SGD(0.1), .seed = 34},
    {.fault = "deep sigmoid network", .causes = "many-saturating-layers vanishing-gradient vanishing-gradient-at-start", .name = "cnn", .kind = IMAGES,
     .net = "conv 8 3 sigmoid, maxpool 2, conv 16 3 sigmoid, maxpool 2, flatten, linear 32 sigmoid, linear 32 sigmoid, linear 10", SGD(0.1), .seed = 35},
    {.fault = "deep tanh network", .causes = "many-saturating-layers vanishing-gradient vanishing-gradient-at-start", .name = "mlp", .kind = VALUES,
     .net = "repeat 8 (linear 16 tanh), linear 1", SGD(0.001), .seed = 36},
    {.fault = "dead ReLUs (biases of -8)", .causes = "dead-at-start dead-units no-gradient", .name = "mlp", .kind = ROWS, .net = MLP, SGD(0.01), .plant = DEAD, .seed = 37},
    {.fault = "dead ReLUs (biases of -8)", .causes = "dead-at-start dead-units no-gradient", .name = "cnn", .kind = IMAGES, .net = CNN, ADAM(1e-3), .plant = DEAD, .seed = 38},
    {.fault = "dead ReLUs (biases of -8)", .causes = "dead-at-start dead-units no-gradient", .name = "regression", .kind = VALUES, .net = "linear 64 relu, linear 32 relu, linear 1",
     ADAM(1e-3), .plant = DEAD, .seed = 39},
    {.fault = "a layer not in the optimiser", .causes = "not-in-optimiser", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .plant = NOT_OPTIMISED, .seed = 40},
    {.fault = "a layer not in the optimiser", .causes = "not-in-optimiser", .name = "cnn", .kind = IMAGES, .net = CNN, SGD(0.01), .plant = NOT_OPTIMISED, .seed = 41},
    {.fault = "a layer not in the optimiser", .causes = "not-in-optimiser", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-3), .plant = NOT_OPTIMISED, .seed = 42},
    {.fault = "batches sorted by class", .causes = "unshuffled", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .plant = SORTED, .seed = 43},
    {.fault = "batches sorted by class", .causes = "unshuffled", .name = "cnn", .kind = IMAGES, .net = CNN, SGD(0.01), .plant = SORTED, .seed = 44},
    {.fault = "batches sorted by class", .causes = "unshuffled", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-3), .plant = SORTED, .seed = 45},
    {.fault = "batch norm with batches of 2", .causes = "batch-too-small-for-norm", .name = "mlp", .kind = ROWS,
     .net = "linear 32, batchnorm relu, linear 4", ADAM(1e-3), .batch = 2, .epochs = 2, .n = 600, .seed = 46},
    {.fault = "batch norm with batches of 2", .causes = "batch-too-small-for-norm", .name = "regression", .kind = VALUES, .net = "linear 32, batchnorm relu, linear 1", ADAM(1e-3),
     .batch = 2, .epochs = 2, .n = 600, .seed = 47},
    {.fault = "batch norm with batches of 3", .causes = "batch-too-small-for-norm", .name = "cnn", .kind = IMAGES,
     .net = "conv 8 3 relu, maxpool 2, flatten, linear 32, batchnorm relu, linear 10", ADAM(1e-3), .batch = 3, .epochs = 2, .n = 600, .seed = 48},
    {.fault = "60 samples for a large network", .causes = "overfitting", .name = "mlp", .kind = ROWS, .net = "linear 512 relu, linear 512 relu, linear 4", ADAM(2e-3), .plant = FEW,
     .epochs = 60, .seed = 49},
    {.fault = "60 samples for a large network", .causes = "overfitting", .name = "regression", .kind = VALUES, .net = "linear 512 relu, linear 512 relu, linear 1", ADAM(2e-3),
     .plant = FEW, .epochs = 60, .seed = 50},
    {.fault = "60 samples for a large network", .causes = "overfitting", .name = "lstm", .kind = STEPS, .net = "lstm 96 last, linear 64 relu, linear 2", ADAM(3e-3), .plant = FEW,
     .epochs = 60, .seed = 51},
    {.fault = "L2 penalty too strong", .causes = "regulariser-outweighs weights-shrinking", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .l2 = 5, .seed = 52},
    {.fault = "L2 penalty too strong", .causes = "regulariser-outweighs weights-shrinking", .name = "cnn", .kind = IMAGES, .net = CNN, SGD(0.05), .l2 = 2, .seed = 53},
    {.fault = "L2 penalty too strong", .causes = "regulariser-outweighs weights-shrinking", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-3), .l2 = 5, .seed = 54},
    {.fault = "gradients clipped too low", .causes = "clipping-always", .name = "mlp", .kind = ROWS, .net = MLP, SGD(0.1), .clip = 1e-3, .epochs = 6, .seed = 55},
    {.fault = "gradients clipped too low", .causes = "clipping-always", .name = "cnn", .kind = IMAGES, .net = CNN, SGD(0.1), .clip = 1e-3, .epochs = 8, .seed = 56},
    {.fault = "gradients clipped too low", .causes = "clipping-always", .name = "lstm", .kind = STEPS, .net = SEQ, SGD(0.1), .clip = 1e-3, .epochs = 6, .seed = 57},
    {.fault = "validation set is part of training", .causes = "train-val-overlap", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .plant = OVERLAP, .seed = 58},
    {.fault = "validation set is part of training", .causes = "train-val-overlap", .name = "cnn", .kind = IMAGES, .net = CNN, ADAM(1e-3), .plant = OVERLAP, .seed = 59},
    {.fault = "validation set is part of training", .causes = "train-val-overlap", .name = "lstm", .kind = STEPS, .net = SEQ, ADAM(1e-3), .plant = OVERLAP, .seed = 60},
    {.fault = "sigmoid output, targets beyond it", .causes = "bounded-output", .name = "mlp", .kind = VALUES, .net = "linear 64 relu, linear 1 sigmoid", ADAM(1e-3), .seed = 61},
    {.fault = "softmax between layers", .causes = "hidden-softmax", .name = "mlp", .kind = ROWS, .net = "linear 64 relu, linear 32, softmax, linear 4", ADAM(1e-3), .seed = 62},
    {.fault = "softmax between layers", .causes = "hidden-softmax", .name = "cnn", .kind = IMAGES,
     .net = "conv 8 3 relu, maxpool 2, flatten, linear 32, softmax, linear 10", ADAM(1e-3), .seed = 63},
    {.fault = "loss wants probabilities", .causes = "loss-needs-probabilities", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3),
     .loss = "bce", .seed = 64},
    {.fault = "loss wants probabilities", .causes = "loss-needs-probabilities", .name = "cnn", .kind = IMAGES, .net = CNN, ADAM(1e-3), .loss = "nll", .seed = 67},
    {.fault = "classes very unequal", .causes = "class-imbalance", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .plant = BALANCE, .n = 4000, .seed = 65},
    {.fault = "constant features", .causes = "constant-features", .name = "mlp", .kind = ROWS, .net = MLP, ADAM(1e-3), .plant = CONSTANT, .seed = 66},
};
enum { N_FAULTS = sizeof(faults) / sizeof(faults[0]) };

/* Every combination of a set with its networks, optimisers and seeds. */
typedef struct healthy_net {
    const char *name, *net;
    set kind;
} healthy_net;
static const healthy_net nets[] = {
    {"mlp", MLP, ROWS},
    {"tanh mlp", "linear 64 tanh, linear 32 tanh, linear 4", ROWS},
    {"gelu, dropout", "linear 128 gelu, dropout 0.3, linear 64 gelu, linear 4", ROWS},
    {"batch norm mlp", "linear 64, batchnorm relu, linear 64, batchnorm relu, linear 4", ROWS},
    {"regression", "linear 64 relu, linear 32 relu, linear 1", VALUES},
    {"linear regression", "linear 1", VALUES},
    {"cnn", CNN, IMAGES},
    {"cnn, batch norm", "conv 8 3 pad 1 nobias, batchnorm relu, maxpool 2, conv 16 3 pad 1 nobias, batchnorm relu, adaptiveavgpool 1, flatten, linear 10", IMAGES},
    {"residual", "conv 8 3 pad 1 relu, maxpool 2, residual relu (conv 8 3 pad 1 relu, conv 8 3 pad 1), maxpool 2, flatten, linear 10", IMAGES},
    {"image mlp", "flatten, linear 64 relu, linear 10", IMAGES},
    {"lstm", SEQ, STEPS},
    {"gru", "gru 32 last, linear 2", STEPS},
    {"transformer", TRF, STEPS},
};
typedef struct healthy_optim {
    const char *name;
    double lr, clip;
} healthy_optim;
static const healthy_optim optims[] = {{"adam", 1e-3, 0}, {"sgd", 0.05, 0}, {"adamw", 2e-3, 1}, {"rmsprop", 1e-3, 0}};
enum { N_NETS = sizeof(nets) / sizeof(nets[0]), N_OPTIMS = sizeof(optims) / sizeof(optims[0]) };

/* ---- Running --------------------------------------------------------------------------------------------------------------------------- */

static bool names(const char *list, const char *rule) {
    size_t n = strlen(rule);
    for (const char *at = list; (at = strstr(at, rule)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0)) return true;
    return false;
}

/* The place of the first finding that names the cause, from 1; 0: none. Findings of one rule on several layers count as one. */
static int place_of(const soma_doctor *d, const char *causes) {
    int place = 0;
    for (int i = 0; i < soma_doctor_count(d); i++) {
        const soma_rule_info *rule = soma_doctor_get(d, i)->rule;
        bool again = false;
        for (int k = 0; k < i; k++) again |= soma_doctor_get(d, k)->rule == rule;
        place += !again;
        if (names(causes, rule->name)) return place;
    }
    return 0;
}

static void list_findings(const soma_doctor *d, char *out, size_t size) {
    out[0] = 0;
    const soma_rule_info *last[4] = {0};
    for (int i = 0, shown = 0; i < soma_doctor_count(d) && shown < 4; i++) {
        const soma_finding *f = soma_doctor_get(d, i);
        bool again = false;
        for (int k = 0; k < shown; k++) again |= last[k] == f->rule;
        if (again) continue;
        last[shown++] = f->rule;
        size_t at = strlen(out);
        snprintf(out + at, size - at, "%s%s%s", at ? ", " : "", f->rule->name, f->severity == SOMA_FAULT ? "!" : f->severity == SOMA_HINT ? "?" : "");
    }
}

/* Other data, weights and orders for all trainings. */
static uint64_t seeds;

static int run_fault(const row *planted, bool markdown) {
    char found[400];
    row other = *planted, *r = &other;
    other.seed += seeds;
    soma_doctor *d = soma_doctor_new();
    train(r, d);
    soma_error_clear();
    int place = place_of(d, r->causes);
    list_findings(d, found, sizeof(found));
    printf(markdown ? "| %s | %s | %s | %s |\n" : "%-36s %-12s %-8s %s\n", r->fault, r->name, place == 1 ? "first" : place == 2 ? "second" : place ? "later" : "missed", found);
    fflush(stdout);
    soma_doctor_free(d);
    return place;
}

/* Whether one of its findings is an error. */
static bool run_healthy(int i, bool verbose) {
    const healthy_net *n = &nets[i % N_NETS];
    const healthy_optim *o = &optims[i / N_NETS % N_OPTIMS];
    row r = {.name = n->name, .kind = n->kind, .net = n->net, .optim = o->name, .clip = o->clip,
             .lr = !strcmp(o->name, "sgd") && n->kind == VALUES ? 0.02 : o->lr, .seed = 1000 + (uint64_t)i + seeds, .epochs = 5};
    soma_doctor *d = soma_doctor_new();
    soma_status status = train(&r, d);
    bool error = status != SOMA_OK, warning = false;
    char found[400];
    for (int k = 0; k < soma_doctor_count(d); k++) {
        error |= soma_doctor_get(d, k)->severity == SOMA_FAULT;
        warning |= soma_doctor_get(d, k)->severity == SOMA_WARNING;
    }
    list_findings(d, found, sizeof(found));
    if (verbose && (error || warning))
        printf("healthy %3d %-20s %-8s seed %d: %s %s\n", i, n->name, o->name, (int)r.seed, found, status != SOMA_OK ? soma_error_message() : "");
    fflush(stdout);
    soma_error_clear();
    soma_doctor_free(d);
    return error;
}

int main(int argc, char **argv) {
    bool markdown = false;
    const char *only = NULL;
    int healthy = 2 * N_NETS * N_OPTIMS, first = 0, second = 0, ran = 0, errors = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--markdown")) markdown = true;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) only = argv[++i];
        else if (!strcmp(argv[i], "--healthy") && i + 1 < argc) healthy = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) seeds = strtoull(argv[++i], NULL, 10);
        else return fprintf(stderr, "doctor_suite [--seed N] [--markdown] [--only NAME] [--healthy N]\n"), 2;
    }
    if (markdown) printf("| planted fault | network | true cause named | findings, most important first (! error, ? hint) |\n|---|---|---|---|\n");
    for (int i = 0; i < N_FAULTS; i++) {
        if (only && !strstr(faults[i].fault, only)) continue;
        int place = run_fault(&faults[i], markdown);
        ran++;
        first += place == 1;
        second += place == 2;
    }
    for (int i = 0; i < healthy; i++) errors += run_healthy(i, !markdown);
    printf("\n%d planted faults: the true cause is the first finding of %d and the second of %d (%.0f %% together).\n", ran, first, second,
           ran ? 100.0 * (first + second) / ran : 0);
    printf("%d healthy trainings: %d get an error (%.1f %%).\n", healthy, errors, healthy ? 100.0 * errors / healthy : 0);
    return 0;
}
