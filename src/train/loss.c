/* Losses by name, in the form the fit loop calls them: prediction and target as the loader gives it. Losses that compare
 * numbers take classes as well: one output a sample is compared with the class number, several with a 1 in the place of the
 * class. */
#include "train/train.h"

#include <soma/autograd.h>

#include <math.h>
#include <string.h>

/* The target with the prediction's shape and dtype, for losses that compare numbers. */
static soma_tensor *as_numbers(soma_tensor *prediction, soma_tensor *target) {
    if (!prediction || !target) return NULL;
    if (soma_dtype_is_float(soma_dtype_of(target))) return target;
    int ndim = soma_ndim(prediction);
    if (soma_ndim(target) == 1 && ndim == 2) {
        int64_t outputs = soma_size(prediction, -1);
        target = outputs == 1 ? soma_unsqueeze(target, 1) : soma_one_hot(target, outputs);
    }
    return soma_to(target, soma_dtype_of(prediction));
}

static soma_tensor *cross_entropy(void *user, soma_tensor *prediction, soma_tensor *target) {
    (void)user;
    return soma_cross_entropy(prediction, target);
}

static soma_tensor *nll(void *user, soma_tensor *prediction, soma_tensor *target) {
    (void)user;
    return soma_nll_loss(prediction, target);
}

static soma_tensor *mse(void *user, soma_tensor *prediction, soma_tensor *target) {
    (void)user;
    return soma_mse_loss(prediction, as_numbers(prediction, target));
}

static soma_tensor *l1(void *user, soma_tensor *prediction, soma_tensor *target) {
    (void)user;
    return soma_l1_loss(prediction, as_numbers(prediction, target));
}

static soma_tensor *bce_with_logits(void *user, soma_tensor *prediction, soma_tensor *target) {
    (void)user;
    return soma_bce_with_logits(prediction, as_numbers(prediction, target));
}

static const struct {
    const char *name;
    soma_loss_fn fn;
} losses[] = {
    {"cross_entropy", cross_entropy}, {"nll", nll}, {"mse", mse}, {"l1", l1}, {"bce_with_logits", bce_with_logits},
};

soma_loss_fn soma_loss_by_name(const char *name) {
    const char *names[SOMA_LEN(losses)];
    for (size_t i = 0; i < SOMA_LEN(losses); i++) {
        if (name && strcmp(name, losses[i].name) == 0) return losses[i].fn;
        names[i] = losses[i].name;
    }
    const char *near = name ? soma__nearest(name, names, SOMA_LEN(names)) : NULL;
    soma_fail(SOMA_ENOTFOUND, "no loss is called \"%s\"%s%s%s; there are cross_entropy, nll, mse, l1, bce_with_logits",
              name ? name : "", near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return NULL;
}

double soma__loss_threshold(soma_loss_fn loss) {
    return loss == bce_with_logits ? 0 : 0.5;
}

soma_loss_fn soma__loss_or_default(soma_loss_fn loss, soma_task task) {
    if (loss) return loss;
    return task == SOMA_REGRESS ? mse : cross_entropy;
}

bool soma__loss_needs_classes(soma_loss_fn loss) {
    return loss == cross_entropy || loss == nll;
}
