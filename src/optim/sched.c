/* Schedules: pure functions of the step, so that a resumed run has nothing to restore; the plateau alone has state (plateau.c). */
#include "optim/sched.h"

#include <math.h>
#include <string.h>

/* ---- Making and freeing ---- */

soma_sched *soma__sched_new(soma_sched set, int n) {
    soma_sched *s = soma__failed() ? NULL : soma__alloc(sizeof *s + (size_t)n * (sizeof *s->parts + sizeof *s->milestones));
    if (!s)
        return NULL;
    *s = set;
    s->milestones = (int64_t *)(void *)(s + 1);
    s->parts = (soma_sched **)(void *)(s->milestones + n);
    memset(s->milestones, 0, (size_t)n * (sizeof *s->parts + sizeof *s->milestones));
    return s;
}

void soma_sched_free(soma_sched *s) {
    if (!s)
        return;
    bool owns = s->kind == SOMA__SCHED_WARMUP || s->kind == SOMA__SCHED_SEQUENTIAL || s->kind == SOMA__SCHED_PRODUCT;
    for (int i = 0; owns && i < s->n; i++)
        soma_sched_free(s->parts[i]);
    soma__free(s);
}

static bool steps_ok(const char *who, const char *what, int64_t steps) {
    if (steps >= 1)
        return true;
    soma_fail(SOMA_EINVAL, "soma_sched_%s: %s must be at least 1, not %lld", who, what, (long long)steps);
    return false;
}

static bool number_ok(const char *who, const char *what, double v, double low, double high) {
    if (v >= low && v <= high && !isinf(v))
        return true;
    if (isinf(high))
        soma_fail(SOMA_EINVAL, "soma_sched_%s: %s must be at least %g, not %g", who, what, low, v);
    else
        soma_fail(SOMA_EINVAL, "soma_sched_%s: %s must be from %g to %g, not %g", who, what, low, high, v);
    return false;
}

soma_sched *soma_sched_constant(void) { return soma__sched_new((soma_sched){.kind = SOMA__SCHED_CONSTANT}, 0); }

soma_sched *soma_sched_hold(double factor, int64_t total) {
    if (!number_ok("hold", "factor", factor, 0, INFINITY) || !steps_ok("hold", "total", total))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_HOLD, .steps = total, .a = factor}, 0);
}

soma_sched *soma_sched_linear(double start, double end, int64_t total) {
    if (!number_ok("linear", "start", start, 0, INFINITY) || !number_ok("linear", "end", end, 0, INFINITY) || !steps_ok("linear", "total", total))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_LINEAR, .steps = total, .a = start, .b = end}, 0);
}

soma_sched *soma_sched_step(int64_t every, double gamma) {
    if (!steps_ok("step", "every", every) || !number_ok("step", "gamma", gamma, 0, INFINITY))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_STEP, .steps = every, .a = gamma}, 0);
}

static bool rising(const char *who, int n, const int64_t *milestones) {
    for (int i = 1; i < n; i++)
        if (milestones[i] < milestones[i - 1]) {
            soma_fail(SOMA_EINVAL, "soma_sched_%s: the milestones must rise, and %lld comes after %lld", who, (long long)milestones[i],
                      (long long)milestones[i - 1]);
            return false;
        }
    return n <= 0 || steps_ok(who, "a milestone", milestones[0]);
}

soma_sched *soma_sched_multi_step(int n, const int64_t *milestones, double gamma) {
    if (n < 0 || (n > 0 && !milestones)) {
        soma_fail(SOMA_EINVAL, "soma_sched_multi_step: the milestones are NULL");
        return NULL;
    }
    if (!rising("multi_step", n, milestones) || !number_ok("multi_step", "gamma", gamma, 0, INFINITY))
        return NULL;
    soma_sched *s = soma__sched_new((soma_sched){.kind = SOMA__SCHED_MULTI_STEP, .n = n, .a = gamma}, n);
    if (s && n > 0)
        memcpy(s->milestones, milestones, (size_t)n * sizeof *milestones);
    return s;
}

soma_sched *soma_sched_exponential(double gamma) {
    if (!number_ok("exponential", "gamma", gamma, 0, INFINITY))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_EXPONENTIAL, .a = gamma}, 0);
}

soma_sched *soma_sched_polynomial(int64_t total, double power) {
    if (!steps_ok("polynomial", "total", total) || !number_ok("polynomial", "power", power, 0, INFINITY))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_POLYNOMIAL, .steps = total, .a = power}, 0);
}

soma_sched *soma_sched_cosine(int64_t total, double min_ratio) {
    if (!steps_ok("cosine", "total", total) || !number_ok("cosine", "min_ratio", min_ratio, 0, 1))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_COSINE, .steps = total, .a = min_ratio}, 0);
}

soma_sched *soma_sched_cosine_restarts(int64_t t_0, int64_t t_mult, double min_ratio) {
    t_mult = t_mult == 0 ? 1 : t_mult;
    if (!steps_ok("cosine_restarts", "t_0", t_0) || !steps_ok("cosine_restarts", "t_mult", t_mult) ||
        !number_ok("cosine_restarts", "min_ratio", min_ratio, 0, 1))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_RESTARTS, .steps = t_0, .more = t_mult, .a = min_ratio}, 0);
}

soma_sched *soma_sched_one_cycle_phases(int64_t total, double pct_start, double div, double final_div, bool three_phase, bool linear) {
    soma_sched s = {.kind = SOMA__SCHED_ONE_CYCLE, .steps = total, .a = pct_start == 0 ? 0.3 : pct_start, .b = div == 0 ? 25 : div,
                    .c = final_div == 0 ? 1e4 : final_div, .three = three_phase, .straight = linear};
    if (!steps_ok("one_cycle", "total", total))
        return NULL;
    if (!(s.a > 0 && s.a <= (three_phase ? 0.5 : 1)) || !(s.b > 0 && s.b < INFINITY) || !(s.c > 0 && s.c < INFINITY)) {
        soma_fail(SOMA_EINVAL, "soma_sched_one_cycle: pct_start must be from 0 to %g and the divisors above 0, not %g, %g, %g",
                  three_phase ? 0.5 : 1.0, s.a, s.b, s.c);
        return NULL;
    }
    return soma__sched_new(s, 0);
}

soma_sched *soma_sched_one_cycle(int64_t total, double pct_start, double div, double final_div) {
    return soma_sched_one_cycle_phases(total, pct_start, div, final_div, false, false);
}

soma_sched *soma_sched_cyclic(double min_ratio, int64_t up, int64_t down, soma_cycle mode, double gamma) {
    down = down == 0 ? up : down;
    if (!number_ok("cyclic", "min_ratio", min_ratio, 0, 1) || !steps_ok("cyclic", "up", up) || !steps_ok("cyclic", "down", down) ||
        !number_ok("cyclic", "gamma", gamma, 0, INFINITY))
        return NULL;
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_CYCLIC, .steps = up, .more = down, .a = min_ratio, .b = gamma, .mode = mode}, 0);
}

soma_sched *soma_sched_inverse_sqrt(int64_t warmup) {
    return steps_ok("inverse_sqrt", "warmup", warmup) ? soma__sched_new((soma_sched){.kind = SOMA__SCHED_INVERSE_SQRT, .steps = warmup}, 0) : NULL;
}

soma_sched *soma_sched_warmup(int64_t steps, soma_sched *after) {
    soma_sched *s = steps_ok("warmup", "steps", steps) ? soma__sched_new((soma_sched){.kind = SOMA__SCHED_WARMUP, .steps = steps, .n = 1}, 1) : NULL;
    if (s)
        s->parts[0] = after;
    else
        soma_sched_free(after);
    return s;
}

soma_sched *soma_sched_lambda(soma_sched_fn factor, void *user) {
    if (!factor)
        soma_fail(SOMA_EINVAL, "soma_sched_lambda: the function is NULL");
    return soma__sched_new((soma_sched){.kind = SOMA__SCHED_LAMBDA, .fn = factor, .user = user}, 0);
}

/* Takes the parts; frees them when something is wrong with them. */
static soma_sched *join(soma__sched_kind kind, const char *who, int n, soma_sched *const *scheds, const int64_t *milestones) {
    bool ok = n >= 1 && scheds && (milestones || n == 1 || kind == SOMA__SCHED_PRODUCT);
    for (int i = 0; ok && i < n; i++)
        ok = scheds[i] != NULL;
    if (!ok)
        soma_fail(SOMA_EINVAL, "soma_sched_%s: needs at least one schedule, and none that is NULL", who);
    ok = ok && (!milestones || rising(who, n - 1, milestones));
    soma_sched *s = ok ? soma__sched_new((soma_sched){.kind = kind, .n = n}, n) : NULL;
    for (int i = 0; scheds && i < n; i++) {
        if (!s)
            soma_sched_free(scheds[i]);
        else
            s->parts[i] = scheds[i];
        if (s && milestones && i > 0)
            s->milestones[i] = milestones[i - 1];
    }
    return s;
}

soma_sched *soma_sched_sequential(int n, soma_sched *const *scheds, const int64_t *milestones) {
    return join(SOMA__SCHED_SEQUENTIAL, "sequential", n, scheds, milestones);
}
soma_sched *soma_sched_product(int n, soma_sched *const *scheds) { return join(SOMA__SCHED_PRODUCT, "product", n, scheds, NULL); }

/* ---- Factors ---- */

static double between(double from, double to, double share, bool straight) {
    return straight ? from + (to - from) * share : to + (from - to) / 2 * (1 + cos(3.14159265358979323846 * share));
}

static double one_cycle(const soma_sched *s, int64_t t) {
    double start = 1 / s->b, total = (double)s->steps, at = (double)SOMA_MIN(t, s->steps - 1);
    double ends[] = {s->a * total - 1, s->three ? 2 * s->a * total - 2 : total - 1, total - 1}; /* the last step of each phase */
    double rates[] = {start, 1, s->three ? start : start / s->c, start / s->c};
    double begin = 0;
    for (int i = 0;; i++) {
        bool last = i == (s->three ? 2 : 1);
        if (at <= ends[i] || last)
            return between(rates[i], rates[i + 1], ends[i] > begin ? (at - begin) / (ends[i] - begin) : 1, s->straight);
        begin = ends[i];
    }
}

static double cyclic(const soma_sched *s, int64_t t) {
    int64_t length = s->steps + s->more, cycle = t / length, at = t % length;
    double height = at <= s->steps ? (double)at / (double)s->steps : (double)(length - at) / (double)s->more;
    if (s->mode == SOMA_CYCLE_TRIANGULAR2)
        height = ldexp(height, -(int)SOMA_MIN(cycle, 2000));
    else if (s->mode == SOMA_CYCLE_EXP_RANGE)
        height *= pow(s->b, (double)t);
    return s->a + (1 - s->a) * height;
}

static double restarts(const soma_sched *s, int64_t t) {
    int64_t length = s->steps;
    if (s->more == 1)
        t %= length;
    for (; t >= length; length *= s->more)
        t -= length;
    return between(1, s->a, (double)t / (double)length, false);
}

static double multi_step(const soma_sched *s, int64_t t) {
    int passed = 0;
    while (passed < s->n && s->milestones[passed] <= t)
        passed++;
    return pow(s->a, passed);
}

static double sequential(const soma_sched *s, int64_t t) {
    int i = s->n - 1;
    while (i > 0 && s->milestones[i] > t)
        i--;
    return soma_sched_factor(s->parts[i], t - s->milestones[i]);
}

static double product(const soma_sched *s, int64_t t) {
    double all = 1;
    for (int i = 0; i < s->n; i++)
        all *= soma_sched_factor(s->parts[i], t);
    return all;
}

double soma_sched_factor(const soma_sched *s, int64_t t) {
    t = SOMA_MAX(t, 0);
    if (!s)
        return 1;
    double share = s->steps > 0 ? (double)SOMA_MIN(t, s->steps) / (double)s->steps : 0;
    switch (s->kind) {
    case SOMA__SCHED_HOLD: return t < s->steps ? s->a : 1;
    case SOMA__SCHED_LINEAR: return s->a + (s->b - s->a) * share;
    case SOMA__SCHED_STEP: return pow(s->a, (double)(t / s->steps));
    case SOMA__SCHED_MULTI_STEP: return multi_step(s, t);
    case SOMA__SCHED_EXPONENTIAL: return pow(s->a, (double)t);
    case SOMA__SCHED_POLYNOMIAL: return pow(1 - share, s->a);
    case SOMA__SCHED_COSINE: return between(1, s->a, share, false);
    case SOMA__SCHED_RESTARTS: return restarts(s, t);
    case SOMA__SCHED_ONE_CYCLE: return one_cycle(s, t);
    case SOMA__SCHED_CYCLIC: return cyclic(s, t);
    case SOMA__SCHED_INVERSE_SQRT: return t < s->steps ? (double)(t + 1) / (double)s->steps : sqrt((double)s->steps / (double)(t + 1));
    case SOMA__SCHED_WARMUP: return t < s->steps ? (double)(t + 1) / (double)s->steps : soma_sched_factor(s->parts[0], t - s->steps);
    case SOMA__SCHED_LAMBDA: return s->fn(s->user, t);
    case SOMA__SCHED_SEQUENTIAL: return sequential(s, t);
    case SOMA__SCHED_PRODUCT: return product(s, t);
    case SOMA__SCHED_PLATEAU: return s->factor;
    default: return 1;
    }
}

void soma_sched_apply(const soma_sched *s, soma_optim *opt, int64_t t) {
    double factor = soma_sched_factor(s, t);
    for (int i = 0; i < soma_optim_groups(opt); i++)
        soma__optim_set_rate(opt, i, soma__optim_base_lr(opt, i) * factor);
}
