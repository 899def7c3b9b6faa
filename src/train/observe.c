/* Shows a training to its observer. */
#include "train/train.h"

#include <math.h>

static soma_watch watch_of(const soma__fit_run *f, double loss, double seconds) {
    return (soma_watch){.net = f->net,
                        .opt = f->opt,
                        .epoch = f->state.epoch,
                        .step = f->state.total_step,
                        .batch = (int64_t)f->group_samples,
                        .loss = loss,
                        .lr = f->lr,
                        .penalty = f->penalty,
                        .clip_norm = f->o.clip_norm,
                        .seconds = seconds,
                        .waited = f->waited,
                        .size = sizeof(soma_watch)};
}

soma_status soma__observe_start(soma__fit_run *f) {
    const soma_observer *o = &f->o.observer;
    if (o->on_start) o->on_start(o->user, f->o.run_dir, f->state.total_step);
    return soma_error();
}

void soma__observe_before(soma__fit_run *f, const soma_batch *b) {
    const soma_observer *o = &f->o.observer;
    if (f->group == 0) f->waited = 0;
    f->waited += soma__clock() - f->batch_end;
    if (f->group > 0) return;
    f->penalty = 0;
    f->watched = o->wants && o->wants(o->user, f->state.total_step + 1);
    if (!f->watched || !o->before) return;
    soma_watch w = watch_of(f, NAN, NAN);
    w.step++;
    w.batch = b->count;
    o->before(o->user, &w);
}

void soma__observe_gradients(soma__fit_run *f) {
    const soma_observer *o = &f->o.observer;
    if (!f->watched || !o->gradients) return;
    soma_watch w = watch_of(f, f->group_loss / f->group_samples, NAN);
    w.step++;
    o->gradients(o->user, &w);
}

/* The step is counted already. */
void soma__observe_after(soma__fit_run *f, double seconds) {
    const soma_observer *o = &f->o.observer;
    if (!o->on_step && !o->after) return;
    soma_watch w = watch_of(f, f->batch_loss, seconds);
    if (f->watched && o->after) o->after(o->user, &w);
    if (o->on_step) o->on_step(o->user, &w);
    f->watched = false;
}

void soma__observe_epoch(soma__fit_run *f, const soma_epoch *e) {
    if (f->o.observer.on_epoch) f->o.observer.on_epoch(f->o.observer.user, e);
}

void soma__observe_nan(soma__fit_run *f, const char *where) {
    soma_watch w = watch_of(f, NAN, NAN);
    w.step++;
    if (f->o.observer.on_nan) f->o.observer.on_nan(f->o.observer.user, &w, where);
}
