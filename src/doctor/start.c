/* Rules about the first step: one batch forward and backward. What is changed by it, buffers and gradients, is put back. */
#include "doctor/doctor.h"

#include "nn/nn.h"
#include "tensor/tensor.h"

#include <soma/autograd.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- What is put back -------------------------------------------------------------------------------------------------------------- */

bool soma__keep_state(soma_module *net, bool weights, soma__kept *k) {
    *k = (soma__kept){.n = soma_nn_named(net, true, NULL, 0), .rng = soma_rng_get()};
    size_t n = (size_t)SOMA_MAX(k->n, 0);
    k->named = soma__alloc(n * sizeof(*k->named));
    k->copy = soma__calloc(n, sizeof(*k->copy));
    k->grad = soma__calloc(n, sizeof(*k->grad));
    if (!k->named || !k->copy || !k->grad) return false;
    k->n = soma_nn_named(net, true, k->named, k->n);
    bool grad = soma_set_grad_enabled(false);
    for (int i = 0; i < k->n; i++) {
        if (k->named[i].buffer || weights) k->copy[i] = soma_keep(soma_clone(k->named[i].tensor));
        k->grad[i] = soma_keep(soma_grad(k->named[i].tensor));
        soma__hold(&k->named[i].tensor->grad, NULL);
    }
    soma_set_grad_enabled(grad);
    return soma_error() == SOMA_OK;
}

void soma__put_back(soma__kept *k) {
    soma_ctx *ctx = soma__ctx();
    soma_status error = ctx->error;
    bool grad = soma_set_grad_enabled(false);
    ctx->error = SOMA_OK;
    for (int i = 0; k->copy && k->grad && i < k->n; i++) {
        if (k->copy[i]) soma_copy_(k->named[i].tensor, k->copy[i]);
        soma__hold(&k->named[i].tensor->grad, k->grad[i]);
        soma_release(k->copy[i]);
        soma_release(k->grad[i]);
    }
    ctx->error = error != SOMA_OK ? error : ctx->error;
    soma_set_grad_enabled(grad);
    soma__free(k->named);
    soma__free(k->copy);
    soma__free(k->grad);
    soma_rng_set(k->rng);
}

/* ---- Rules -------------------------------------------------------------------------------------------------------------------------- */

/* What guessing costs: the class frequencies, or the mean. NaN for losses for which it is not known. */
static double guessing(const soma__check *c) {
    const char *name = c->loss ? c->loss->name : "";
    if (c->task == SOMA_CLASSIFY && (!strcmp(name, "cross_entropy") || !strcmp(name, "nll"))) return log(SOMA_MAX(c->classes, 2));
    if (!strcmp(name, "bce") || !strcmp(name, "bce_with_logits")) return c->task == SOMA_CLASSIFY ? log(2) : NAN;
    if (!strcmp(name, "mse") && c->task == SOMA_REGRESS) return c->target_std * c->target_std;
    return NAN;
}

static void check_first_loss(soma__check *c) {
    double guess = guessing(c), limit = soma__limit(c->d, SOMA__RULE_FIRST_LOSS);
    if (!isfinite(guess) || !(guess > 0)) return;
    /* Guessing 0 costs the mean squared besides: shifted targets are no fault of the network, but slow. */
    double times = c->first_loss / guess;
    if (!(times > limit)) return;
    bool regress = c->task == SOMA_REGRESS;
    bool targets = regress && fabs(c->target_mean) > c->target_std;
    soma__found(c->d, SOMA__RULE_FIRST_LOSS,
                &(soma__case){.value = times, .sure = SOMA_MIN(0.3 + log10(times) / 4, 1), .weak = targets,
                              .code = targets ? "scale the targets to mean 0 and deviation 1" : NULL},
                regress ? "the first loss is %.3g, guessing the mean costs %.3g (targets: mean %.3g, deviation %.3g)" : "the first loss is %.3g, guessing costs %.3g",
                c->first_loss, guess, c->target_mean, c->target_std);
}

static bool is_weight(const soma__param_facts *p) { return p->ndim >= 2 && p->n > 1; }

/* A parameter behind dead units has a gradient of zeros: as good as none. Biases before a normalisation have none by nature. */
static void check_gradients(soma__check *c) {
    for (int i = 0; i < c->look.n_params; i++) {
        const soma__param_facts *p = &c->look.params[i];
        bool none = !p->has_grad || (is_weight(p) && p->grad == 0);
        if (!p->in_optim)
            soma__found(c->d, SOMA__RULE_NOT_IN_OPTIM, &(soma__case){.layer = p->name, .value = NAN}, "%lld numbers that no step will change", (long long)p->n);
        if (none && c->first_loss > 0)
            soma__found(c->d, SOMA__RULE_NO_GRADIENT, &(soma__case){.layer = p->name, .value = NAN},
                        p->has_grad ? "its %lld gradients are all 0" : "none of its %lld numbers has a gradient", (long long)p->n);
    }
}

static void check_equal(soma__check *c) {
    for (int i = 0; i < c->look.n_params; i++) {
        const soma__param_facts *p = &c->look.params[i];
        const char *end = strrchr(p->name, '.');
        if (!is_weight(p) || p->n < 4 || p->spread > 1e-7 * p->weight || strcmp(end ? end + 1 : p->name, "bias") == 0) continue;
        soma__found(c->d, SOMA__RULE_EQUAL_WEIGHTS, &(soma__case){.layer = p->name, .value = p->weight}, "all of its %lld numbers are %.3g in size",
                    (long long)p->n, p->weight);
    }
}

/* Deviations of what the hidden layers give, in their order. Normalised networks keep them by themselves. */
static void check_scale(soma__check *c) {
    double std[64], low = INFINITY, high = 0;
    int n = 0, last = c->look.output, where = -1;
    for (int i = 0; i < c->look.n_layers && n < (int)SOMA_LEN(std); i++) {
        const soma__layer_facts *f = &c->look.layers[i];
        if (f->kind == SOMA__KIND_NORM) return;
        if (f->kind != SOMA__KIND_WEIGHTS || i == last) continue;
        std[n++] = f->std;
        if (where < 0 || f->std > high) where = i;
        low = SOMA_MIN(low, f->std);
        high = SOMA_MAX(high, f->std);
    }
    double times = low > 0 ? high / low : INFINITY, limit = soma__limit(c->d, SOMA__RULE_INIT_SCALE);
    bool grown = n > 1 && std[n - 1] > std[0];
    /* One layer can be judged by itself: inputs of deviation about 1 give outputs of about 1. */
    bool huge = high > limit && n > 0, tiny = n > 0 && low < 1 / (10 * limit);
    if (n == 0 || (!huge && !tiny && !(n > 2 && times > limit))) return;
    char picture[128], name[160];
    soma__bars(std, n, true, picture, sizeof(picture));
    soma__layer_name(&c->look.layers[where], name, sizeof(name));
    soma__found(c->d, SOMA__RULE_INIT_SCALE, &(soma__case){.layer = huge ? name : NULL, .value = times, .picture = n > 1 ? picture : NULL,
                                                           .sure = SOMA_MIN(0.5 + fabs(log10(SOMA_MIN(times, 1e9))) / 8, 1)},
                "the deviation of layers' outputs %s from %.3g to %.3g over %d layers with weights", grown ? "grows" : "falls", n > 1 ? std[0] : low,
                n > 1 ? std[n - 1] : high, n);
}

static void check_dead(soma__check *c) {
    double limit = soma__limit(c->d, SOMA__RULE_DEAD_START);
    char name[160];
    for (int i = 0; i < c->look.n_layers; i++) {
        const soma__layer_facts *f = &c->look.layers[i];
        if (f->kind != SOMA__KIND_RELU || f->dead < limit || c->look.batch < 8) continue;
        soma__layer_name(f, name, sizeof(name));
        soma__found(c->d, SOMA__RULE_DEAD_START, &(soma__case){.layer = name, .value = f->dead, .sure = f->dead}, "%.0f %% of its %lld units give 0 for all samples of a batch",
                    100 * f->dead, (long long)f->units);
    }
}

/* Gradients as shares of the weights, of matrices and convolutions in the order of the network. */
static void check_vanishing(soma__check *c) {
    double share[64], largest = 0;
    int n = 0;
    for (int i = 0; i < c->look.n_params && n < (int)SOMA_LEN(share); i++) {
        const soma__param_facts *p = &c->look.params[i];
        if (!is_weight(p) || !(p->weight > 0) || !isfinite(p->grad) || strstr(p->name, "bias")) continue;
        share[n++] = p->grad / p->weight;
        largest = SOMA_MAX(largest, share[n - 1]);
    }
    if (n < 3 || !(share[0] > 0)) return;
    double times = share[n - 1] / share[0], limit = soma__limit(c->d, SOMA__RULE_VANISHING_START);
    if (times < limit) return;
    char picture[128];
    soma__bars(share, n, true, picture, sizeof(picture));
    soma__found(c->d, SOMA__RULE_VANISHING_START, &(soma__case){.value = times, .picture = picture, .sure = SOMA_MIN(0.5 + log10(times) / 12, 1)},
                "as shares of their weights, gradients are %.2g in the first layer and %.2g in the last: %.0f times smaller", share[0], share[n - 1], times);
}

/* How far the first step would go: lr times the gradient for plain descent, about lr for the adaptive methods. */
static void check_rate(soma__check *c) {
    if (!c->opt) return;
    const char *name = soma_optim_name(c->opt);
    bool plain = !strcmp(name, "sgd"), adaptive = strstr(name, "adam") || !strcmp(name, "lion") || !strcmp(name, "rmsprop") || !strcmp(name, "adamax");
    double lr = soma_optim_lr(c->opt, 0), worst = 0;
    const soma__param_facts *where = NULL;
    for (int i = 0; (plain || adaptive) && i < c->look.n_params; i++) {
        const soma__param_facts *p = &c->look.params[i];
        if (!is_weight(p) || !(p->weight > 0) || !(p->grad > 0)) continue;
        double step = (plain ? lr * p->grad : lr) / p->weight;
        if (step > worst) {
            worst = step;
            where = p;
        }
    }
    if (!where || worst < soma__limit(c->d, SOMA__RULE_RATE_START)) return;
    char flag[64], code[96];
    snprintf(flag, sizeof(flag), "--lr %.2g", lr / 10);
    snprintf(code, sizeof(code), "soma_optim_set_lr(opt, 0, %.2g)", lr / 10);
    soma__found(c->d, SOMA__RULE_RATE_START, &(soma__case){.layer = where->name, .value = worst, .sure = SOMA_MIN(0.4 + log10(1 + worst) / 2, 1), .flag = flag, .code = code},
                "with a learning rate of %g the first step of %s would change it by %.0f %% of its size", lr, name, 100 * worst);
}

static void apply(soma__check *c) {
    check_first_loss(c);
    check_gradients(c);
    check_equal(c);
    check_scale(c);
    check_dead(c);
    check_vanishing(c);
    check_rate(c);
}

/* ---- The pass ------------------------------------------------------------------------------------------------------------------------ */

static void forward_and_back(soma__check *c, const soma_batch *b) {
    soma__listener ear = {0};
    soma__listen_begin(&ear, c->net, &c->look);
    soma_tensor *out = soma_nn_forward(c->net, b->x);
    soma__listen_end(&ear);
    soma_tensor *loss = out ? c->loss_fn(c->o.loss_user, out, b->y) : NULL;
    if (!loss) return;
    c->outputs = soma_numel(out) / SOMA_MAX(b->count, 1);
    c->first_loss = soma_item(loss);
    soma_backward(loss);
}

soma_status soma__check_start(soma__check *c) {
    int64_t epoch, batch;
    soma_batch b = {.size = sizeof(b)};
    soma__kept k;
    soma_loader_tell(c->train, &epoch, &batch);
    if (!soma_loader_next(c->train, &b)) return soma_error() != SOMA_OK ? soma_error() : soma__check_rewind(c, epoch, batch);
    c->look.batch = b.count;
    if (soma__keep_state(c->net, false, &k)) forward_and_back(c, &b);
    bool ran = soma_error() == SOMA_OK;
    if (ran) soma__look_params(&c->look, c->net, c->opt);
    soma__put_back(&k);
    if (!ran && c->look.n_layers > 0) return soma_error(); /* the loss refuses: the order of layers may say why */
    if (soma_error() == SOMA_OK && c->look.n_params > 0) apply(c);
    soma_status status = soma_error();
    if (status == SOMA_OK) status = soma__check_rewind(c, epoch, batch);
    return status;
}
