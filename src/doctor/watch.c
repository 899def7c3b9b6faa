/* The doctor as an observer of soma_fit: takes looks, lets the rules see them, and writes them down. */
#include "doctor/course.h"

#include <math.h>
#include <string.h>

enum { EVERY = 32, TAKEN = 1 << 14 }; /* steps between looks; numbers of a weight that are compared before and after a step */

static void on_start(void *user, const char *run_dir, int64_t step) { soma__log_begin(user, run_dir, step); }

static bool wants(void *user, int64_t step) {
    (void)user;
    return step % EVERY == 0 || (step < EVERY && (step & (step - 1)) == 0);
}

/* ---- Weights before and after ------------------------------------------------------------------------------------------------------------- */

/* Every k-th number of a contiguous f32 weight; 0 for others. */
static int64_t taken_of(const soma_tensor *t, int64_t *stride) {
    int64_t n = soma_numel(t);
    *stride = SOMA_MAX(n / TAKEN, 1);
    return soma_ndim(t) >= 2 && soma_dtype_of(t) == SOMA_F32 && soma_is_contiguous(t) ? (n + *stride - 1) / *stride : 0;
}

static void note_weights(struct soma__course *c, soma_module *net, bool after) {
    int n = soma_nn_named(net, false, NULL, 0);
    soma_named *named = n > 0 ? soma__alloc((size_t)n * sizeof(*named)) : NULL;
    int64_t at = 0, stride, total = 0;
    if (named) n = soma_nn_named(net, false, named, n);
    for (int i = 0; named && i < n; i++) total += taken_of(named[i].tensor, &stride);
    if (!after && total > c->n_before) {
        soma__free(c->before);
        c->before = soma__alloc((size_t)total * sizeof(float));
        c->n_before = c->before ? total : 0;
    }
    for (int i = 0; named && i < n && c->before && total <= c->n_before; i++) {
        int64_t count = taken_of(named[i].tensor, &stride);
        const float *w = count ? soma_data(named[i].tensor) : NULL;
        double squares = 0;
        for (int64_t k = 0; k < count; k++, at++) {
            double change = (double)w[k * stride] - (double)c->before[at];
            squares += change * change;
            if (!after) c->before[at] = w[k * stride];
        }
        if (after && i < c->look.n_params && count) c->look.params[i].update = sqrt(squares / (double)count);
    }
    soma__free(named);
}

/* ---- A look ----------------------------------------------------------------------------------------------------------------------------------- */

static void before(void *user, const soma_watch *w) {
    soma_doctor *d = user;
    struct soma__course *c = d->course;
    note_weights(c, w->net, false);
    c->ear.units = &c->units;
    soma__listen_begin(&c->ear, w->net, &c->look);
}

static double norm_of(const soma__look *l) {
    double squares = 0;
    for (int i = 0; i < l->n_params; i++)
        if (isfinite(l->params[i].grad)) squares += l->params[i].grad * l->params[i].grad * (double)l->params[i].n;
    return sqrt(squares);
}

static void gradients(void *user, const soma_watch *w) {
    soma_doctor *d = user;
    struct soma__course *c = d->course;
    soma__listen_end(&c->ear);
    soma__look_params(&c->look, w->net, NULL);
    c->look.grad_norm = norm_of(&c->look);
}

static void after(void *user, const soma_watch *w) {
    soma_doctor *d = user;
    note_weights(d->course, w->net, true);
}

/* What the steps since the last look have in common goes into the look that ends with this one. */
static void on_step(void *user, const soma_watch *w) {
    soma_doctor *d = user;
    struct soma__course *c = d->course;
    soma__look *l = &c->look;
    c->loss_sum += w->loss;
    c->loss_squares += w->loss * w->loss;
    c->steps++;
    c->seconds += w->seconds;
    c->waited += w->waited;
    if (!wants(NULL, w->step)) return;
    l->step = w->step;
    l->epoch = w->epoch;
    l->batch = w->batch;
    l->lr = w->lr;
    l->clip = w->clip_norm;
    l->penalty = w->penalty;
    l->loss = c->loss_sum / c->steps;
    l->loss_spread = sqrt(SOMA_MAX(c->loss_squares / c->steps - l->loss * l->loss, 0)) / SOMA_MAX(fabs(l->loss), 1e-30);
    l->waiting = c->seconds > 0 ? c->waited / c->seconds : 0;
    c->loss_sum = c->loss_squares = c->steps = c->seconds = c->waited = 0;
    soma__course_look(d, l);
    soma__log_look(d, l);
}

static void on_epoch(void *user, const soma_epoch *e) {
    soma_doctor *d = user;
    soma__course_epoch(d, e);
    soma__log_epoch_line(d, e);
}

static void on_nan(void *user, const soma_watch *w, const char *where) {
    soma_doctor *d = user;
    soma__listen_end(&d->course->ear);
    soma__course_nan(d, w->step, w->lr, where);
    soma__log_nan(d, w->step, w->lr, where);
}

soma_observer soma_doctor_observer(soma_doctor *d) {
    soma_observer o = {.size = sizeof(o)};
    if (d && !d->course) d->course = soma__course_new();
    if (!d || !d->course) return o;
    return (soma_observer){.user = d, .on_start = on_start, .wants = wants, .before = before, .gradients = gradients, .after = after, .on_step = on_step,
                           .on_epoch = on_epoch, .on_nan = on_nan, .size = sizeof(o)};
}
