/* Schedules: pure functions of the step, so that a resumed run has nothing to restore. */
#include "optim/optim.h"

#include <math.h>

typedef enum sched_kind { CONSTANT, STEP, COSINE, ONE_CYCLE, WARMUP } sched_kind;

struct soma_sched {
    sched_kind kind;
    int64_t steps;      /* STEP: length of a stair; COSINE, ONE_CYCLE: total; WARMUP: its length */
    double a, b, c;
    soma_sched *after;  /* WARMUP; NULL: constant */
};

static soma_sched *sched_new(soma_sched set) {
    soma_sched *s = soma__failed() ? NULL : soma__alloc(sizeof *s);
    if (s)
        *s = set;
    return s;
}

static bool steps_ok(const char *who, const char *what, int64_t steps) {
    if (steps >= 1)
        return true;
    soma_fail(SOMA_EINVAL, "soma_sched_%s: %s must be at least 1, not %lld", who, what, (long long)steps);
    return false;
}

soma_sched *soma_sched_constant(void) { return sched_new((soma_sched){.kind = CONSTANT}); }

soma_sched *soma_sched_step(int64_t every, double gamma) {
    if (!steps_ok("step", "every", every))
        return NULL;
    if (!(gamma >= 0 && gamma < INFINITY)) {
        soma_fail(SOMA_EINVAL, "soma_sched_step: gamma must be at least 0, not %g", gamma);
        return NULL;
    }
    return sched_new((soma_sched){.kind = STEP, .steps = every, .a = gamma});
}

soma_sched *soma_sched_cosine(int64_t total, double min_ratio) {
    if (!steps_ok("cosine", "total", total))
        return NULL;
    if (!(min_ratio >= 0 && min_ratio <= 1)) {
        soma_fail(SOMA_EINVAL, "soma_sched_cosine: min_ratio must be from 0 to 1, not %g", min_ratio);
        return NULL;
    }
    return sched_new((soma_sched){.kind = COSINE, .steps = total, .a = min_ratio});
}

soma_sched *soma_sched_one_cycle(int64_t total, double pct_start, double div, double final_div) {
    soma_sched s = {.kind = ONE_CYCLE, .steps = total, .a = pct_start == 0 ? 0.3 : pct_start, .b = div == 0 ? 25 : div,
                    .c = final_div == 0 ? 1e4 : final_div};
    if (!steps_ok("one_cycle", "total", total))
        return NULL;
    if (!(s.a > 0 && s.a <= 1) || !(s.b > 0 && s.b < INFINITY) || !(s.c > 0 && s.c < INFINITY)) {
        soma_fail(SOMA_EINVAL, "soma_sched_one_cycle: pct_start must be from 0 to 1 and the divisors above 0, not %g, %g, %g", s.a, s.b, s.c);
        return NULL;
    }
    return sched_new(s);
}

soma_sched *soma_sched_warmup(int64_t steps, soma_sched *after) {
    soma_sched *s = steps_ok("warmup", "steps", steps) ? sched_new((soma_sched){.kind = WARMUP, .steps = steps, .after = after}) : NULL;
    if (!s)
        soma_sched_free(after);
    return s;
}

void soma_sched_free(soma_sched *s) {
    while (s) {
        soma_sched *after = s->after;
        soma__free(s);
        s = after;
    }
}

static double cosine(double from, double to, double share) { return to + (from - to) / 2 * (1 + cos(3.14159265358979323846 * share)); }

static double one_cycle(const soma_sched *s, int64_t t) {
    double start = 1 / s->b, end = start / s->c;
    double top = s->a * (double)s->steps - 1, last = (double)s->steps - 1; /* the steps of the highest and of the last rate */
    double at = (double)SOMA_MIN(t, s->steps - 1);
    if (at <= top)
        return cosine(start, 1, top > 0 ? at / top : 1);
    return cosine(1, end, last > top ? (at - top) / (last - top) : 1);
}

double soma_sched_factor(const soma_sched *s, int64_t t) {
    t = SOMA_MAX(t, 0);
    for (; s && s->kind == WARMUP; s = s->after) {
        if (t < s->steps)
            return (double)(t + 1) / (double)s->steps;
        t -= s->steps;
    }
    if (!s)
        return 1;
    switch (s->kind) {
    case STEP: return pow(s->a, (double)(t / s->steps));
    case COSINE: return cosine(1, s->a, (double)SOMA_MIN(t, s->steps) / (double)s->steps);
    case ONE_CYCLE: return one_cycle(s, t);
    default: return 1;
    }
}

void soma_sched_apply(const soma_sched *s, soma_optim *opt, int64_t t) {
    double factor = soma_sched_factor(s, t);
    for (int i = 0; i < soma_optim_groups(opt); i++)
        soma__optim_set_rate(opt, i, soma__optim_base_lr(opt, i) * factor);
}
