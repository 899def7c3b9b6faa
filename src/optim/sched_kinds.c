/* The table of schedules, and schedules by name. */
#include "optim/sched.h"

#include <math.h>
#include <string.h>

#define FLOAT(n, d, h) {n, SOMA_ATTR_FLOAT, d, h, false}
#define STEPS(n, h) {n, SOMA_ATTR_INT, NAN, h, true}
#define COUNT(n, d, h) {n, SOMA_ATTR_INT, d, h, false}
#define FLAG(n, h) {n, SOMA_ATTR_BOOL, 0, h, false}
#define TOTAL STEPS("total", "steps in all; default: those of the training")
#define MIN_RATIO FLOAT("min_ratio", 0, "lowest factor")

static const soma_option_info hold_options[] = {FLOAT("factor", 1.0 / 3, "factor before the end"), TOTAL};
static const soma_option_info linear_options[] = {FLOAT("start_factor", 1.0 / 3, "first factor"), FLOAT("end_factor", 1, "last factor"), TOTAL};
static const soma_option_info step_options[] = {STEPS("step_size", "steps of a stair; default: a third of all"),
                                                FLOAT("gamma", 0.1, "factor of each stair")};
static const soma_option_info multi_options[] = {
    {"milestones", SOMA_ATTR_INTS, NAN, "steps at which the rate falls; default: after half and three quarters of all", true},
    FLOAT("gamma", 0.1, "factor at each of them")};
static const soma_option_info exponential_options[] = {FLOAT("gamma", 0.95, "factor of each period"),
                                                       STEPS("every", "steps in which the rate falls by gamma; default: 1")};
static const soma_option_info polynomial_options[] = {TOTAL, FLOAT("power", 1, "1: a straight line")};
static const soma_option_info cosine_options[] = {TOTAL, MIN_RATIO};
static const soma_option_info restarts_options[] = {STEPS("t_0", "steps before the first restart; default: a quarter of all"),
                                                    COUNT("t_mult", 1, "how many times longer each further period is"), MIN_RATIO};
static const soma_option_info cycle_options[] = {
    TOTAL, FLOAT("pct_start", 0.3, "share of the steps that go up"), FLOAT("div_factor", 25, "highest over first rate"),
    FLOAT("final_div_factor", 1e4, "first over last rate"), FLAG("three_phase", "down to the first rate in as many steps as up, then to the last"),
    FLAG("linear", "straight lines instead of cosines")};
static const soma_option_info cyclic_options[] = {
    FLOAT("min_ratio", 0.1, "lowest factor"), STEPS("step_size_up", "steps up; default: a tenth of all"),
    STEPS("step_size_down", "steps down; default: as many"), {"mode", SOMA_ATTR_STRING, NAN, "triangular (the default), triangular2 or exp_range", false},
    FLOAT("gamma", 1, "for exp_range: factor of each step on the height")};
static const soma_option_info inverse_options[] = {STEPS("warmup", "steps of the rise; default: a tenth of all")};
static const soma_option_info plateau_options[] = {
    FLOAT("factor", 0.1, "factor of each fall"), COUNT("patience", 10, "measurements without improvement before a fall"),
    FLOAT("threshold", 1e-4, "improvement that counts, as a share of the best"), FLAG("threshold_abs", "the threshold is a difference"),
    FLAG("max", "the metric is to rise"), COUNT("cooldown", 0, "measurements after a fall that do not count"), MIN_RATIO,
    FLOAT("eps", 1e-8, "smaller changes of the factor are left out")};

#define OPTIONS(list) list, (int)SOMA_LEN(list)
static const soma_sched_info kinds[] = {
    {"constant", "the rate as it is", "", NULL, 0},
    {"hold", "another rate for the first steps, then the rate as it is (ConstantLR)", "", OPTIONS(hold_options)},
    {"linear", "a straight line from one factor to another", "", OPTIONS(linear_options)},
    {"step", "falls by a factor every so many steps", "", OPTIONS(step_options)},
    {"multi_step", "falls by a factor at chosen steps", "He et al. 2016", OPTIONS(multi_options)},
    {"exponential", "falls by the same factor at every step", "", OPTIONS(exponential_options)},
    {"polynomial", "(1 - t / total)^power: a line or a curve down to 0", "", OPTIONS(polynomial_options)},
    {"cosine", "half a cosine from the rate down to the lowest; hardly anything to choose", "Loshchilov & Hutter 2017", OPTIONS(cosine_options)},
    {"cosine_restarts", "cosines that begin again at the full rate", "Loshchilov & Hutter 2017", OPTIONS(restarts_options)},
    {"onecycle", "up to the rate and far down in one cycle: few epochs at high rates", "Smith & Topin 2018", OPTIONS(cycle_options)},
    {"cyclic", "up and down again and again between the lowest factor and the rate", "Smith 2017", OPTIONS(cyclic_options)},
    {"inverse_sqrt", "linear rise, then 1 / sqrt(t), for transformers; no end to set", "Vaswani et al. 2017", OPTIONS(inverse_options)},
    {"plateau", "falls when the metric no longer improves", "", OPTIONS(plateau_options)},
};
enum { CONSTANT, HOLD, LINEAR, STEP, MULTI, EXPONENTIAL, POLYNOMIAL, COSINE, RESTARTS, ONE_CYCLE, CYCLIC, INVERSE, PLATEAU, KINDS };

int soma_sched_kind_count(void) { return KINDS; }
const soma_sched_info *soma_sched_kind_get(int i) { return i >= 0 && i < KINDS ? &kinds[i] : NULL; }

const soma_sched_info *soma_sched_find(const char *name) {
    for (int i = 0; name && i < KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* ---- By name ---- */

typedef struct given {
    const soma_sched_info *info;
    const soma_attr *attrs;
    int n;
    int64_t total;
} given;

static const soma_attr *find(const given *g, const char *name) {
    for (int i = g->n - 1; i >= 0; i--)
        if (strcmp(g->attrs[i].name, name) == 0)
            return &g->attrs[i];
    return NULL;
}

static double value(const given *g, const char *name, double otherwise) {
    const soma_attr *a = find(g, name);
    if (a)
        return a->kind == SOMA_ATTR_FLOAT ? a->value.f : (double)a->value.i;
    for (int i = 0; i < g->info->n_options; i++)
        if (strcmp(g->info->options[i].name, name) == 0 && !isnan(g->info->options[i].def))
            return g->info->options[i].def;
    return otherwise;
}

/* Whole steps, at least 1 where they follow from the training's length. */
static int64_t steps(const given *g, const char *name, double share) {
    double v = value(g, name, fmax(floor((double)g->total * share), 1));
    return v >= -1e15 && v <= 1e15 ? (int64_t)v : 0;
}

static bool known(const given *g) {
    const char *names[16];
    for (int k = 0; k < g->info->n_options; k++)
        names[k] = g->info->options[k].name;
    for (int i = 0; i < g->n; i++) {
        bool found = false;
        for (int k = 0; k < g->info->n_options && g->attrs[i].name; k++)
            found = found || strcmp(names[k], g->attrs[i].name) == 0;
        if (found)
            continue;
        const char *name = g->attrs[i].name ? g->attrs[i].name : "";
        char hint[SOMA__HINT];
        soma_fail(SOMA_ENOTFOUND, "the schedule %s has no option '%.40s'%s", g->info->name, name,
                  soma__hint(name, names, g->info->n_options, hint, sizeof hint));
        return false;
    }
    return true;
}

static soma_sched *make_cyclic(const given *g) {
    static const char *const modes[] = {"triangular", "triangular2", "exp_range"};
    const soma_attr *mode = find(g, "mode");
    const char *text = mode && mode->kind == SOMA_ATTR_STRING ? mode->value.s : "triangular";
    int64_t up = steps(g, "step_size_up", 0.1);
    for (int i = 0; i < 3; i++)
        if (strcmp(modes[i], text) == 0)
            return soma_sched_cyclic(value(g, "min_ratio", 0), up, (int64_t)value(g, "step_size_down", (double)up), (soma_cycle)i, value(g, "gamma", 1));
    soma_fail(SOMA_EINVAL, "the schedule cyclic has the modes triangular, triangular2 and exp_range, not '%.40s'", text);
    return NULL;
}

static soma_sched *make_plateau(const given *g) {
    double patience = value(g, "patience", 10);
    return soma_sched_plateau(.factor = value(g, "factor", 0), .patience = patience < 1 ? -1 : (int64_t)patience, .threshold = value(g, "threshold", 0),
                              .threshold_abs = value(g, "threshold_abs", 0) != 0, .max = value(g, "max", 0) != 0,
                              .cooldown = (int64_t)value(g, "cooldown", 0), .min_ratio = value(g, "min_ratio", 0), .eps = value(g, "eps", 0));
}

static soma_sched *make(const given *g) {
    const int64_t total = steps(g, "total", 1);
    const soma_attr *list = find(g, "milestones");
    switch ((int)(g->info - kinds)) {
    case HOLD: return soma_sched_hold(value(g, "factor", 1), total);
    case LINEAR: return soma_sched_linear(value(g, "start_factor", 1), value(g, "end_factor", 1), total);
    case STEP: return soma_sched_step(steps(g, "step_size", 1.0 / 3), value(g, "gamma", 1));
    case MULTI:
        if (list)
            return soma_sched_multi_step(list->kind == SOMA_ATTR_INTS ? list->count : 1, list->value.ints, value(g, "gamma", 1));
        return soma_sched_multi_step(2, (int64_t[]){SOMA_MAX(total / 2, 1), SOMA_MAX(total * 3 / 4, 1)}, value(g, "gamma", 1));
    case EXPONENTIAL: return soma_sched_exponential(pow(value(g, "gamma", 1), 1 / fmax(value(g, "every", 1), 1)));
    case POLYNOMIAL: return soma_sched_polynomial(total, value(g, "power", 1));
    case COSINE: return soma_sched_cosine(total, value(g, "min_ratio", 0));
    case RESTARTS: return soma_sched_cosine_restarts(steps(g, "t_0", 0.25), steps(g, "t_mult", 1), value(g, "min_ratio", 0));
    case ONE_CYCLE:
        return soma_sched_one_cycle_phases(total, value(g, "pct_start", 0), value(g, "div_factor", 0), value(g, "final_div_factor", 0),
                                           value(g, "three_phase", 0) != 0, value(g, "linear", 0) != 0);
    case CYCLIC: return make_cyclic(g);
    case INVERSE: return soma_sched_inverse_sqrt(steps(g, "warmup", 0.1));
    case PLATEAU: return make_plateau(g);
    default: return soma_sched_constant();
    }
}

soma_sched *soma_sched_by_name(const char *name, int64_t total, const soma_attr *options, int n) {
    if (soma__failed())
        return NULL;
    const char *names[KINDS];
    for (int i = 0; i < KINDS; i++)
        names[i] = kinds[i].name;
    given g = {.info = soma_sched_find(name), .attrs = options, .n = options ? n : 0, .total = total};
    if (g.info)
        return known(&g) ? make(&g) : NULL;
    char hint[SOMA__HINT];
    soma_fail(SOMA_ENOTFOUND, "unknown schedule '%.40s'%s", name ? name : "", soma__hint(name ? name : "", names, KINDS, hint, sizeof hint));
    return NULL;
}
