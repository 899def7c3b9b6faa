/* Falling when a metric no longer improves, as torch.optim.lr_scheduler.ReduceLROnPlateau: the one schedule with state. */
#include "optim/sched.h"

#include <math.h>

soma_sched *soma_sched_plateau_ex(const soma_plateau_opts *opts) {
    soma_plateau_opts o = opts ? *opts : (soma_plateau_opts){0};
    o.factor = o.factor == 0 ? 0.1 : o.factor;
    o.patience = o.patience == 0 ? 10 : SOMA_MAX(o.patience, 0);
    o.threshold = o.threshold == 0 ? 1e-4 : o.threshold;
    o.eps = o.eps == 0 ? 1e-8 : o.eps;
    if (!(o.factor > 0 && o.factor < 1))
        soma_fail(SOMA_EINVAL, "soma_sched_plateau: factor must be above 0 and below 1, not %g", o.factor);
    else if (!(o.min_ratio >= 0 && o.min_ratio <= 1) || !(o.threshold >= 0) || o.cooldown < 0 || !(o.eps >= 0))
        soma_fail(SOMA_EINVAL, "soma_sched_plateau: min_ratio must be from 0 to 1, threshold, cooldown and eps at least 0");
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_PLATEAU, .plateau = o, .best = o.max ? -INFINITY : INFINITY, .factor = 1}, 0);
}

static bool better(const soma_sched *s, double metric) {
    const soma_plateau_opts *o = &s->plateau;
    if (o->max)
        return metric > (o->threshold_abs ? s->best + o->threshold : s->best * (1 + o->threshold));
    return metric < (o->threshold_abs ? s->best - o->threshold : s->best * (1 - o->threshold));
}

void soma__plateau_measure(soma_sched *s, double metric) {
    const soma_plateau_opts *o = &s->plateau;
    if (better(s, metric)) {
        s->best = metric;
        s->bad = 0;
    } else {
        s->bad++;
    }
    if (s->cooling > 0) {
        s->cooling--;
        s->bad = 0;
    }
    if (s->bad <= o->patience)
        return;
    double next = fmax(s->factor * o->factor, o->min_ratio);
    if (s->factor - next > o->eps)
        s->factor = next;
    s->cooling = o->cooldown;
    s->bad = 0;
}

void soma_sched_metric(soma_sched *s, double metric) {
    if (!s)
        return;
    if (s->kind == SOMA__SCHED_PLATEAU)
        soma__plateau_measure(s, metric);
    for (int i = 0; s->kind != SOMA__SCHED_MULTI_STEP && i < s->n; i++)
        soma_sched_metric(s->parts[i], metric);
}

/* ---- State: best, factor, bad and cooling of every plateau, in the order of the parts ---- */

enum { NUMBERS = 4 };

static int gather(const soma_sched *s, double *out, int room, int at) {
    if (!s)
        return at;
    const double all[NUMBERS] = {s->best, s->factor, (double)s->bad, (double)s->cooling};
    for (int i = 0; s->kind == SOMA__SCHED_PLATEAU && i < NUMBERS; i++, at++)
        if (out && at < room)
            out[at] = all[i];
    for (int i = 0; s->kind != SOMA__SCHED_MULTI_STEP && i < s->n; i++)
        at = gather(s->parts[i], out, room, at);
    return at;
}

static const double *spread(soma_sched *s, const double *in) {
    if (!s)
        return in;
    if (s->kind == SOMA__SCHED_PLATEAU) {
        s->best = in[0];
        s->factor = in[1];
        s->bad = (int64_t)in[2];
        s->cooling = (int64_t)in[3];
        in += NUMBERS;
    }
    for (int i = 0; s->kind != SOMA__SCHED_MULTI_STEP && i < s->n; i++)
        in = spread(s->parts[i], in);
    return in;
}

int soma_sched_state(const soma_sched *s, double *out, int room) { return gather(s, out, room, 0); }

soma_status soma_sched_set_state(soma_sched *s, const double *state, int n) {
    int wanted = soma_sched_state(s, NULL, 0);
    if (n != wanted || (n > 0 && !state))
        return soma_fail(SOMA_EINVAL, "soma_sched_set_state: the schedule's state is %d numbers, not %d", wanted, n);
    for (int i = 0; i < n; i += NUMBERS)
        if (!(state[i + 1] >= 0 && state[i + 1] <= 1) || !(state[i + 2] >= 0 && state[i + 2] < 1e15) || !(state[i + 3] >= 0 && state[i + 3] < 1e15))
            return soma_fail(SOMA_EINVAL, "soma_sched_set_state: impossible numbers");
    spread(s, state);
    return SOMA_OK;
}
