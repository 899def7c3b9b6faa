/* Rules about the order of layers, and about what the network ends in and what the loss takes. They go by what a forward pass has shown:
 * which layer took whose output. */
#include "doctor/doctor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const soma__layer_facts *layer(const soma__check *c, int i) { return i >= 0 && i < c->look.n_layers ? &c->look.layers[i] : NULL; }

/* The last layer that does something to numbers: behind it only shapes change. */
static int last_real(const soma__check *c) {
    int i = c->look.output;
    while (layer(c, i) && (layer(c, i)->kind == SOMA__KIND_LINEAR || (layer(c, i)->kind == SOMA__KIND_BLOCK && layer(c, i)->from >= 0)))
        i = layer(c, i)->from;
    return i;
}

/* ---- The end ------------------------------------------------------------------------------------------------------------------------- */

static bool wants(const soma__check *c, const char *what) { return c->loss && !strncmp(c->loss->output, what, strlen(what)); }
static bool takes_scores(const soma__check *c) { return wants(c, "raw score") || wants(c, "a raw score"); }

static void check_scores(soma__check *c, const soma__layer_facts *last, const char *name) {
    bool twice = last->kind == SOMA__KIND_SOFTMAX || !strcmp(last->type, "Sigmoid") || !strcmp(last->type, "Hardsigmoid");
    bool logs = !strcmp(last->type, "LogSoftmax"); /* its own logarithm again: nothing is lost */
    if (!takes_scores(c) || !twice) return;
    char code[160];
    snprintf(code, sizeof(code), "leave out soma_nn_%s: soma_%s applies it", logs ? "log_softmax" : last->kind == SOMA__KIND_SOFTMAX ? "softmax" : "sigmoid",
             c->loss->op);
    soma__found(c->d, SOMA__RULE_SOFTMAX_LOGITS, &(soma__case){.layer = name, .value = NAN, .code = code, .weak = logs && !strcmp(c->loss->name, "cross_entropy")},
                "the network ends in %s, and the loss %s takes %s", last->type, c->loss->name, c->loss->output);
}

static void check_probabilities(soma__check *c, const soma__layer_facts *last, const char *name) {
    bool logs = wants(c, "log-prob"), plain = wants(c, "probabilities");
    bool has = logs ? !strcmp(last->type, "LogSoftmax") || !strcmp(last->type, "LogSigmoid")
                    : !strcmp(last->type, "Sigmoid") || !strcmp(last->type, "Softmax") || !strcmp(last->type, "Hardsigmoid");
    if ((!logs && !plain) || has || last->kind == SOMA__KIND_OTHER || last->kind == SOMA__KIND_BLOCK) return;
    soma__found(c->d, SOMA__RULE_NO_PROBABILITY,
                &(soma__case){.layer = name, .value = NAN, .flag = logs ? "--loss cross_entropy" : "--loss bce_with_logits",
                              .code = logs ? "soma_cross_entropy(p, y)" : "soma_binary_cross_entropy_with_logits(p, y)"},
                "the network ends in %s, and the loss %s takes %s", last->type, c->loss->name, c->loss->output);
}

static void check_range(soma__check *c, const soma__layer_facts *last, const char *name) {
    bool relu = last->kind == SOMA__KIND_RELU, numbers = c->task == SOMA_REGRESS;
    if (relu && (!numbers || c->target_low < 0))
        soma__found(c->d, SOMA__RULE_RELU_OUTPUT, &(soma__case){.layer = name, .value = NAN}, numbers ? "the network ends in %s, and targets go down to %.3g"
                    : "the network ends in %s: no score of a class can be below 0", last->type, c->target_low);
    if (!numbers || last->kind != SOMA__KIND_SATURATES || (c->loss && takes_scores(c))) return;
    double low = !strcmp(last->type, "Sigmoid") || !strcmp(last->type, "Hardsigmoid") ? 0 : -1, high = 1;
    if (c->target_low >= low - 1e-6 && c->target_high <= high + 1e-6) return;
    soma__found(c->d, SOMA__RULE_BOUNDED_OUTPUT, &(soma__case){.layer = name, .value = SOMA_MAX(low - c->target_low, c->target_high - high)},
                "%s gives %g to %g, and the targets go from %.3g to %.3g", last->type, low, high, c->target_low, c->target_high);
}

static void check_end(soma__check *c) {
    const soma__layer_facts *last = layer(c, last_real(c));
    char name[160];
    if (!last) return;
    soma__layer_name(last, name, sizeof(name));
    check_scores(c, last, name);
    check_probabilities(c, last, name);
    check_range(c, last, name);
}

/* ---- The middle ------------------------------------------------------------------------------------------------------------------------ */

/* Whether some layer with weights takes what layer i gives, directly or through layers without weights. */
static bool feeds_weights(const soma__check *c, int i) {
    for (int k = i + 1; k < c->look.n_layers; k++) {
        soma__kind kind = c->look.layers[k].kind;
        if (kind != SOMA__KIND_WEIGHTS && kind != SOMA__KIND_RECURRENT) continue;
        int from = c->look.layers[k].from;
        while (from > i && (c->look.layers[from].kind == SOMA__KIND_LINEAR || c->look.layers[from].kind == SOMA__KIND_NORM)) from = c->look.layers[from].from;
        if (from == i) return true;
    }
    return false;
}

/* The layer with weights from which layer i gets its input with nothing bent between; -1: none. Batch norm is linear, other
 * normalisations are not. */
static int linear_before(const soma__check *c, int i) {
    for (int from = c->look.layers[i].from; from >= 0; from = c->look.layers[from].from) {
        const soma__layer_facts *f = &c->look.layers[from];
        if (f->kind == SOMA__KIND_WEIGHTS) return from;
        if (f->kind != SOMA__KIND_LINEAR && !f->batch_norm) return -1;
    }
    return -1;
}

/* A wide map after a narrow one is a factored matrix, depthwise and pointwise convolutions are a factored convolution: on purpose. */
static bool on_purpose(const soma__layer_facts *first, const soma__layer_facts *second) {
    bool conv = strstr(first->type, "Conv") && strstr(second->type, "Conv");
    bool narrow = first->units * 4 <= second->units;
    return conv || narrow;
}

static void check_between(soma__check *c) {
    char name[160];
    for (int i = 0; i < c->look.n_layers; i++) {
        const soma__layer_facts *f = &c->look.layers[i];
        int before = f->kind == SOMA__KIND_WEIGHTS ? linear_before(c, i) : -1;
        if (before < 0) continue;
        const soma__layer_facts *b = &c->look.layers[before];
        soma__layer_name(f, name, sizeof(name));
        soma__found(c->d, SOMA__RULE_NOTHING_BETWEEN, &(soma__case){.layer = name, .value = NAN, .weak = on_purpose(b, f)},
                    "%s takes what %s (%s) gives, and nothing between bends it", f->type, b->path, b->type);
    }
}

static void check_softmax(soma__check *c) {
    char name[160];
    for (int i = 0; i < c->look.n_layers; i++) {
        const soma__layer_facts *f = &c->look.layers[i];
        if (f->kind != SOMA__KIND_SOFTMAX || i == last_real(c) || !feeds_weights(c, i)) continue;
        soma__layer_name(f, name, sizeof(name));
        soma__found(c->d, SOMA__RULE_HIDDEN_SOFTMAX, &(soma__case){.layer = name, .value = NAN}, "%s over %lld units, and layers with weights follow", f->type,
                    (long long)f->units);
    }
}

/* Saturating layers without normalisation on the way back from the output; a sigmoid counts 1, a tanh 1/2. */
static void check_saturating(soma__check *c) {
    double count = 0;
    int layers = 0, last = last_real(c);
    const soma__layer_facts *first = NULL;
    for (int i = 0; i < c->look.n_layers; i++) {
        const soma__layer_facts *f = &c->look.layers[i];
        if (f->kind == SOMA__KIND_NORM) return;
        if (f->kind != SOMA__KIND_SATURATES || i == last) continue;
        count += f->type[0] == 'S' || !strcmp(f->type, "Hardsigmoid") ? 1 : 0.5;
        layers++;
        if (!first) first = f;
    }
    if (!first || count < soma__limit(c->d, SOMA__RULE_DEEP_SATURATING)) return;
    char name[160];
    soma__layer_name(first, name, sizeof(name));
    soma__found(c->d, SOMA__RULE_DEEP_SATURATING, &(soma__case){.layer = name, .value = count, .sure = SOMA_MIN(0.5 + count / 12, 1)},
                "%d layers of %s or the like, and no normalisation", layers, first->type);
}

/* ---- Batch norm and the size of batches --------------------------------------------------------------------------------------------------- */

static void check_batch_norm(soma__check *c) {
    double limit = soma__limit(c->d, SOMA__RULE_SMALL_BATCH_NORM);
    char name[160];
    for (int i = 0; i < c->look.n_layers; i++) {
        const soma__layer_facts *f = &c->look.layers[i];
        if (!f->batch_norm) continue;
        double values = (double)c->look.batch * (double)SOMA_MAX(f->per_unit, 1);
        if ((double)c->look.batch >= limit || values >= 64 * limit) continue; /* many pixels of few images are enough */
        soma__layer_name(f, name, sizeof(name));
        soma__found(c->d, SOMA__RULE_SMALL_BATCH_NORM, &(soma__case){.layer = name, .value = (double)c->look.batch, .sure = SOMA_MIN(1, 0.5 + 2 / values)},
                    "batches of %lld samples: mean and variance of %.0f values", (long long)c->look.batch, values);
        return;
    }
}

void soma__check_structure(soma__check *c) {
    check_end(c);
    check_between(c);
    check_softmax(c);
    check_saturating(c);
    check_batch_norm(c);
}
