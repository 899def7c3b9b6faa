/* Rules about a training under way. They know looks and epochs, nothing else, so that what a run has written leads to the same findings. */
#include "doctor/course.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

struct soma__course *soma__course_new(void) {
    struct soma__course *c = soma__calloc(1, sizeof(*c));
    if (c) c->first_loss = c->first_weight = c->best_val = c->best_train = NAN;
    return c;
}

void soma__course_free(struct soma__course *c) {
    if (!c) return;
    soma__look_free(&c->look);
    soma__unit_log_free(c->units);
    soma__free(c->tallies);
    soma__free(c->before);
    soma__free(c);
}

/* How often in a row something has been so, up to now. */
static int again(struct soma__course *c, soma__rule rule, const char *layer, bool so) {
    int i = 0;
    while (i < c->n_tallies && (c->tallies[i].rule != rule || strcmp(c->tallies[i].layer, layer) != 0)) i++;
    if (i == c->n_tallies) {
        if (!so) return 0;
        if (i == c->room_tallies) {
            int room = c->room_tallies ? c->room_tallies * 2 : 32;
            tally *more = soma__realloc(c->tallies, (size_t)room * sizeof(*more));
            if (!more) return 0;
            c->tallies = more;
            c->room_tallies = room;
        }
        c->tallies[c->n_tallies++] = (tally){.rule = rule};
        snprintf(c->tallies[i].layer, sizeof(c->tallies[i].layer), "%s", layer);
    }
    c->tallies[i].count = so ? c->tallies[i].count + 1 : 0;
    return c->tallies[i].count;
}

/* What the last looks have shown of one number, oldest first. */
static void push(recent *r, double v) {
    if (r->n == RECENT) memmove(r->v, r->v + 1, (size_t)(--r->n) * sizeof(*r->v));
    r->v[r->n++] = v;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(const recent *r, int n) {
    double sorted[RECENT];
    memcpy(sorted, r->v, (size_t)n * sizeof(*sorted));
    qsort(sorted, (size_t)n, sizeof(*sorted), by_value);
    return n ? sorted[n / 2] : NAN;
}

static bool is_weight(const soma__param_facts *p) { return p->ndim >= 2 && p->n > 1 && p->weight > 0 && !strstr(p->name, "bias"); }

/* The loss of this look as a share of the first. */
static double left(const struct soma__course *c) { return c->loss.n && c->first_loss > 0 ? c->loss.v[c->loss.n - 1] / c->first_loss : NAN; }

/* ---- Layers ------------------------------------------------------------------------------------------------------------------------------- */

static void look_at_layers(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    char name[160];
    for (int i = 0; i < l->n_layers; i++) {
        const soma__layer_facts *f = &l->layers[i];
        soma__layer_name(f, name, sizeof(name));
        bool dying = f->kind == SOMA__KIND_RELU && f->dead >= soma__limit(d, SOMA__RULE_DEAD_UNITS);
        if (dying)
            soma__found(d, SOMA__RULE_DEAD_UNITS, &(soma__case){.layer = name, .step = l->step, .value = f->dead, .sure = f->dead, .weak = f->units < 16 && f->dead < 0.75},
                        "%.0f %% of its %lld units gave 0 for every sample in three looks in a row", 100 * f->dead, (long long)f->units);
        bool flat = f->kind == SOMA__KIND_SATURATES && i != l->output && f->saturated >= soma__limit(d, SOMA__RULE_SATURATED);
        if (again(c, SOMA__RULE_SATURATED, f->path, flat) >= 3)
            soma__found(d, SOMA__RULE_SATURATED, &(soma__case){.layer = name, .step = l->step, .value = f->saturated, .sure = f->saturated},
                        "%.0f %% of its outputs lie at the ends of its range (mean %.2g, deviation %.2g)", 100 * f->saturated, f->mean, f->std);
    }
}

/* ---- Gradients ------------------------------------------------------------------------------------------------------------------------------ */

static void look_for_vanishing(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    double share[64];
    int n = 0;
    for (int i = 0; i < l->n_params && n < (int)SOMA_LEN(share); i++)
        if (is_weight(&l->params[i]) && isfinite(l->params[i].grad)) share[n++] = l->params[i].grad / l->params[i].weight;
    double times = n >= 3 && share[0] > 0 ? share[n - 1] / share[0] : n >= 3 && share[n - 1] > 0 ? INFINITY : 0;
    if (again(c, SOMA__RULE_VANISHING, "", times >= soma__limit(d, SOMA__RULE_VANISHING)) < 3) return;
    char picture[128];
    soma__bars(share, n, true, picture, sizeof(picture));
    soma__found(d, SOMA__RULE_VANISHING, &(soma__case){.step = l->step, .value = times, .picture = picture, .sure = SOMA_MIN(0.5 + log10(times) / 10, 1)},
                "as shares of their weights, gradients are %.2g in the first layer and %.2g in the last", share[0], share[n - 1]);
}

static void look_for_explosion(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    if (!isfinite(l->grad_norm)) return;
    double usual = median(&c->norm, c->norm.n);
    if (c->norm.n >= 4 && usual > 0 && l->grad_norm > usual * soma__limit(d, SOMA__RULE_EXPLODING))
        soma__found(d, SOMA__RULE_EXPLODING, &(soma__case){.step = l->step, .value = l->grad_norm / usual, .picture = NULL},
                    "the norm of all gradients is %.3g, and was about %.3g", l->grad_norm, usual);
    push(&c->norm, l->grad_norm);
}

static void look_at_clipping(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    if (!(l->clip > 0) || !isfinite(l->grad_norm)) return;
    push(&c->clip, l->grad_norm / l->clip);
    int over = 0;
    for (int i = 0; i < c->clip.n; i++) over += c->clip.v[i] > 1;
    double usual = median(&c->clip, c->clip.n);
    if (c->clip.n < 8 || over * 10 < c->clip.n * 9 || usual < soma__limit(d, SOMA__RULE_CLIPPING)) return;
    char flag[64], code[96];
    snprintf(flag, sizeof(flag), "--clip %.2g", l->clip * usual * 2);
    snprintf(code, sizeof(code), "soma_clip_grad_norm(opt, %.2g)", l->clip * usual * 2);
    soma__found(d, SOMA__RULE_CLIPPING, &(soma__case){.step = l->step, .value = usual, .flag = flag, .code = code, .sure = SOMA_MIN(0.5 + log10(usual) / 6, 1)},
                "the norm is usually %.1f times the limit of %g, and over it in %d of %d looks", usual, l->clip, over, c->clip.n);
}

/* ---- Updates -------------------------------------------------------------------------------------------------------------------------------- */

/* Median and largest of update over weight, over the weight matrices. */
static bool updates_of(const soma__look *l, double *middle, double *most, const char **where) {
    recent all = {0};
    *most = 0;
    for (int i = 0; i < l->n_params; i++) {
        const soma__param_facts *p = &l->params[i];
        if (!is_weight(p) || !isfinite(p->update)) continue;
        double share = p->update / p->weight;
        push(&all, share);
        if (share >= *most) {
            *most = share;
            *where = p->name;
        }
    }
    *middle = median(&all, all.n);
    return all.n > 0;
}

/* Behind units that give nothing, gradients are small at any rate. */
static bool has_died(const soma__look *l, double limit) {
    for (int i = 0; i < l->n_layers; i++)
        if (l->layers[i].kind == SOMA__KIND_RELU && (l->layers[i].dead >= limit || l->layers[i].zero > 0.97)) return true;
    return false;
}

static void look_at_rate(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    double middle, most;
    const char *where = NULL;
    if (!updates_of(l, &middle, &most, &where) || l->step < 16) return;
    char flag[64], code[96];
    double rest = left(c);
    bool dead = again(c, SOMA__RULE_DEAD_UNITS, "", has_died(l, soma__limit(d, SOMA__RULE_DEAD_UNITS))) > 0;
    bool high = middle >= soma__limit(d, SOMA__RULE_RATE_HIGH), low = most <= soma__limit(d, SOMA__RULE_RATE_LOW) && rest > 0.9 && rest < 1.1 && !dead;
    if (again(c, SOMA__RULE_RATE_HIGH, "", high) >= 3) {
        snprintf(flag, sizeof(flag), "--lr %.2g", l->lr / 10);
        snprintf(code, sizeof(code), "soma_optim_set_lr(opt, 0, %.2g)", l->lr / 10);
        /* A loss that falls all the same says that it is not so bad. */
        soma__found(d, SOMA__RULE_RATE_HIGH, &(soma__case){.step = l->step, .value = middle, .flag = flag, .code = code, .weak = rest < 0.5,
                                                           .sure = SOMA_MIN(0.55 + log10(middle / soma__limit(d, SOMA__RULE_RATE_HIGH)) / 3, 1)},
                    "with a learning rate of %g a step changes weights by %.2g of their size (most: %s by %.2g)", l->lr, middle, where, most);
    }
    if (again(c, SOMA__RULE_RATE_LOW, "", low) >= 3) {
        snprintf(flag, sizeof(flag), "--lr %.2g", l->lr * 10);
        snprintf(code, sizeof(code), "soma_optim_set_lr(opt, 0, %.2g)", l->lr * 10);
        soma__found(d, SOMA__RULE_RATE_LOW, &(soma__case){.step = l->step, .value = most, .flag = flag, .code = code, .sure = SOMA_MIN(0.6 - log10(most / 2e-5 + 1e-9) / 8, 1)},
                    "with a learning rate of %g a step changes weights by at most %.2g of their size, and %.0f %% of the first loss is left", l->lr, most, 100 * rest);
    }
}

static void look_at_size(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    double squares = 0, n = 0;
    for (int i = 0; i < l->n_params; i++)
        if (is_weight(&l->params[i])) {
            squares += l->params[i].weight * l->params[i].weight * (double)l->params[i].n;
            n += (double)l->params[i].n;
        }
    double size = n > 0 ? sqrt(squares / n) : NAN;
    if (isnan(c->first_weight)) c->first_weight = size;
    double share = size / c->first_weight;
    if (again(c, SOMA__RULE_SHRINKING, "", share < soma__limit(d, SOMA__RULE_SHRINKING) && left(c) > 0.7) >= 2)
        soma__found(d, SOMA__RULE_SHRINKING, &(soma__case){.step = l->step, .value = share, .sure = SOMA_MIN(1, 1.1 - share)},
                    "weights have %.0f %% of the size they began with, and %.0f %% of the first loss is left", 100 * share, 100 * left(c));
}

static void look_at_penalty(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    if (again(c, SOMA__RULE_PENALTY, "", l->penalty > soma__limit(d, SOMA__RULE_PENALTY)) >= 3)
        soma__found(d, SOMA__RULE_PENALTY, &(soma__case){.step = l->step, .value = l->penalty, .sure = l->penalty}, "%.0f %% of what is minimised is penalty",
                    100 * l->penalty);
}

/* ---- The loss ------------------------------------------------------------------------------------------------------------------------------- */

static void look_at_loss(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    if (!isfinite(l->loss)) return;
    /* The first four steps: one alone is as its batch. */
    if (l->step <= 4 || isnan(c->first_loss)) {
        c->first_loss = isnan(c->first_loss) ? l->loss : (c->first_loss * (double)c->first_step + l->loss * (double)(l->step - c->first_step)) / (double)l->step;
        c->first_step = l->step;
    }
    push(&c->loss, l->loss);
    push(&c->spread, l->loss_spread);
    char picture[128];
    soma__bars(c->loss.v, c->loss.n, false, picture, sizeof(picture));
    double rest = left(c), before = c->loss.n > 1 ? c->loss.v[c->loss.n - 2] : NAN;
    if (c->loss.n >= 3 && rest > soma__limit(d, SOMA__RULE_DIVERGING) && again(c, SOMA__RULE_DIVERGING, "", true) >= 2)
        soma__found(d, SOMA__RULE_DIVERGING, &(soma__case){.step = l->step, .value = rest, .picture = picture, .weak = l->loss < before && rest < 10},
                    "the loss is %.3g, it began at %.3g", l->loss, c->first_loss);
    else if (rest <= soma__limit(d, SOMA__RULE_DIVERGING))
        again(c, SOMA__RULE_DIVERGING, "", false);
    /* Jumps between steps far beyond the mean, and no fall over the last looks. */
    double jumps = median(&c->spread, c->spread.n);
    bool falls = c->loss.n >= 8 && c->loss.v[c->loss.n - 1] + c->loss.v[c->loss.n - 2] < 0.9 * (c->loss.v[c->loss.n - 8] + c->loss.v[c->loss.n - 7]);
    if (c->loss.n >= 8 && !falls && rest > 0.3 && jumps > soma__limit(d, SOMA__RULE_OSCILLATING))
        soma__found(d, SOMA__RULE_OSCILLATING, &(soma__case){.step = l->step, .value = jumps, .picture = picture, .sure = SOMA_MIN(0.3 + jumps / 2, 1)},
                    "from step to step the loss varies by %.0f %% of its mean, and it has not fallen over the last looks", 100 * jumps);
}

static void look_at_waiting(soma_doctor *d, struct soma__course *c, const soma__look *l) {
    if (again(c, SOMA__RULE_WAITING, "", l->waiting > soma__limit(d, SOMA__RULE_WAITING)) >= 4)
        soma__found(d, SOMA__RULE_WAITING, &(soma__case){.step = l->step, .value = l->waiting}, "%.0f %% of the time goes into waiting for batches", 100 * l->waiting);
}

void soma__course_look(soma_doctor *d, const soma__look *l) {
    struct soma__course *c = d->course;
    look_at_loss(d, c, l);
    look_at_layers(d, c, l);
    look_for_vanishing(d, c, l);
    look_for_explosion(d, c, l);
    look_at_clipping(d, c, l);
    look_at_rate(d, c, l);
    look_at_size(d, c, l);
    look_at_penalty(d, c, l);
    look_at_waiting(d, c, l);
}

/* ---- Epochs ----------------------------------------------------------------------------------------------------------------------------------- */

static void look_for_overfitting(soma_doctor *d, struct soma__course *c, const soma_epoch *e) {
    if (!isfinite(e->val_loss)) return;
    if (isnan(c->best_val) || e->val_loss < c->best_val) {
        c->best_val = e->val_loss;
        c->best_train = e->train_loss;
        c->best_epoch = e->epoch;
    }
    double times = e->val_loss / c->best_val, limit = soma__limit(d, SOMA__RULE_OVERFITTING);
    push(&c->val, e->val_loss);
    /* It has risen since the best epoch; or it has long stopped falling and is many times the training loss. */
    bool risen = e->epoch >= c->best_epoch + 2 && times >= limit && e->train_loss < c->best_train;
    bool apart = c->val.n >= 8 && e->val_loss > 0.98 * c->val.v[c->val.n - 6] && e->val_loss > 4 * e->train_loss && e->train_loss < 0.8 * c->first_train;
    if (e->epoch == 1) c->first_train = e->train_loss;
    if (!risen && !apart) return;
    char picture[128], flag[64];
    soma__bars(c->val.v, c->val.n, false, picture, sizeof(picture));
    snprintf(flag, sizeof(flag), "--patience 3 --weight-decay 0.01, or dropout in --net");
    soma__found(d, SOMA__RULE_OVERFITTING, &(soma__case){.step = e->steps, .value = times, .picture = picture, .flag = flag, .sure = SOMA_MIN(0.5 + (times - 1), 1)},
                "the validation loss is %.3g and was %.3g in epoch %lld; the training loss fell from %.3g to %.3g meanwhile", e->val_loss, c->best_val,
                (long long)c->best_epoch, c->best_train, e->train_loss);
}

static void look_at_progress(soma_doctor *d, struct soma__course *c, const soma_epoch *e) {
    double gained = c->first_loss > 0 ? 1 - e->train_loss / c->first_loss : NAN;
    double limit = soma__limit(d, SOMA__RULE_FLAT), last = c->epochs.n ? c->epochs.v[c->epochs.n - 1] : NAN;
    if (e->steps >= 50 && gained < limit && e->train_loss > (1 - limit) * last && !(left(c) > 2))
        soma__found(d, SOMA__RULE_FLAT, &(soma__case){.step = e->steps, .value = gained, .sure = 0.8},
                    "the mean loss of epoch %lld is %.4g, the first was %.4g", (long long)e->epoch, e->train_loss, c->first_loss);
    bool slow = c->epochs.n >= 2 && e->train_loss > 0.98 * c->epochs.v[c->epochs.n - 2];
    bool alike = !isfinite(e->val_loss) || e->val_loss < 1.1 * e->train_loss;
    double rest = e->train_loss / c->first_loss;
    push(&c->epochs, e->train_loss);
    if (e->epoch >= 4 && slow && alike && rest > soma__limit(d, SOMA__RULE_UNDERFITTING) && gained >= limit)
        soma__found(d, SOMA__RULE_UNDERFITTING, &(soma__case){.step = e->steps, .value = rest}, "%.0f %% of the first loss is left after %lld epochs, and the last two gained less than 2 %%",
                    100 * rest, (long long)e->epoch);
}

void soma__course_epoch(soma_doctor *d, const soma_epoch *e) {
    look_for_overfitting(d, d->course, e);
    look_at_progress(d, d->course, e);
}

void soma__course_nan(soma_doctor *d, int64_t step, double lr, const char *where) {
    struct soma__course *c = d->course;
    char flag[64];
    /* Gradients that grew before it, or a loss that did, name the cause; they are findings of their own. */
    snprintf(flag, sizeof(flag), "--lr %.2g --clip 1", lr / 10);
    soma__found(d, SOMA__RULE_NAN_TRAINING, &(soma__case){.step = step, .value = NAN, .flag = isfinite(lr) ? flag : NULL, .sure = 0.9}, "in step %lld, %s",
                (long long)step, where);
    if (step <= 64 || left(c) > 1.5)
        soma__found(d, SOMA__RULE_DIVERGING, &(soma__case){.step = step, .value = INFINITY, .sure = 0.95}, "the loss began at %.3g and was no longer finite after %lld steps",
                    c->first_loss, (long long)step);
}
