/* `soma plot descent`: lets optimisers run over a surface of two parameters, with soma's own tensors, gradients and updates, and says
 * where each came. descent_draw.c makes the picture. */
#include "descent.h"
#include "gnuplot.h"
#include "options.h"
#include "plots.h"
#include "script.h"
#include "term.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Surfaces ---------------------------------------------------------------------------------------------------------- */

static soma_tensor *sq(soma_tensor *t) { return soma_square(t); }
static soma_tensor *k(soma_tensor *t, double v) { return soma_mul_scalar(t, v); }
static soma_tensor *c(soma_tensor *t, double v) { return soma_add_scalar(t, v); }

static soma_tensor *bowl(soma_tensor *x, soma_tensor *y, double condition) { return k(soma_add(sq(x), k(sq(y), condition)), 0.5); }
static soma_tensor *saddle(soma_tensor *x, soma_tensor *y, double unused)
{
    (void)unused;
    return soma_add(k(sq(x), 0.5), soma_sub(k(sq(sq(y)), 0.25), k(sq(y), 0.5)));
}
static soma_tensor *rosenbrock(soma_tensor *x, soma_tensor *y, double unused)
{
    (void)unused;
    return soma_add(sq(c(x, -1)), k(sq(soma_sub(y, sq(x))), 100));
}
static soma_tensor *himmelblau(soma_tensor *x, soma_tensor *y, double unused)
{
    (void)unused;
    return soma_add(sq(c(soma_add(sq(x), y), -11)), sq(c(soma_add(x, sq(y)), -7)));
}
static soma_tensor *wells(soma_tensor *x, soma_tensor *y, double unused)
{
    (void)unused;
    return soma_add(soma_add(sq(c(sq(x), -1)), k(x, 0.3)), sq(y));
}
static soma_tensor *rastrigin(soma_tensor *x, soma_tensor *y, double unused)
{
    (void)unused;
    const double turn = 2 * M_PI;
    soma_tensor *waves = soma_add(soma_cos(k(x, turn)), soma_cos(k(y, turn)));
    return c(soma_sub(soma_add(sq(x), sq(y)), waves), 2);
}

static const surface surfaces[] = {
    {.name = "bowl", .what = "convex bowl", .formula = "0.5*(x**2 + %g*y**2)", .value = bowl, .start = {-4, 1.4}, .low = {-5, -2}, .high = {5, 2},
     .n_minima = 1, .n_best = 1, .minima = {{0, 0}}, .span = 1e4, .lr = 0.15},
    {.name = "saddle", .what = "saddle between two minima", .formula = "0.5*x**2 + 0.25*y**4 - 0.5*y**2", .value = saddle, .start = {-1.7, 0.001},
     .low = {-2, -1.6}, .high = {2, 1.6}, .best = -0.25, .n_minima = 2, .n_best = 2, .minima = {{0, 1}, {0, -1}}, .span = 300, .lr = 0.1, .saddle = true},
    {.name = "rosenbrock", .what = "Rosenbrock's valley", .formula = "(1 - x)**2 + 100*(y - x**2)**2", .value = rosenbrock, .start = {-1.2, 1},
     .low = {-2, -1}, .high = {2, 3}, .n_minima = 1, .n_best = 1, .minima = {{1, 1}}, .span = 2e3, .lr = 0.001},
    {.name = "himmelblau", .what = "Himmelblau's four equal minima", .formula = "(x**2 + y - 11)**2 + (x + y**2 - 7)**2", .value = himmelblau,
     .start = {0.2, -0.6}, .low = {-5.5, -5.5}, .high = {5.5, 5.5}, .n_minima = 4, .n_best = 4,
     .minima = {{3, 2}, {-2.805118, 3.131313}, {-3.779310, -3.283186}, {3.584428, -1.848127}}, .span = 1e3, .lr = 0.01},
    {.name = "wells", .what = "two wells, the left one deeper", .formula = "(x**2 - 1)**2 + 0.3*x + y**2", .value = wells, .start = {1.75, 1},
     .low = {-2, -1.5}, .high = {2, 1.5}, .best = -0.305408, .n_minima = 2, .n_best = 1, .minima = {{-1.035584, 0}, {0.960151, 0}}, .span = 100, .lr = 0.03},
    {.name = "rastrigin", .what = "many minima, the middle one lowest", .formula = "2 + x**2 + y**2 - cos(2*pi*x) - cos(2*pi*y)",
     .value = rastrigin, .start = {2.3, -1.7}, .low = {-3, -3}, .high = {3, 3}, .n_minima = 25, .n_best = 1, .span = 60, .lr = 0.01,
     .minima = {{0, 0}, {0, 0.951051}, {0, -0.951051}, {0, 1.89683}, {0, -1.89683}, {0.951051, 0}, {0.951051, 0.951051}, {0.951051,
                -0.951051}, {0.951051, 1.89683}, {0.951051, -1.89683}, {-0.951051, 0}, {-0.951051, 0.951051}, {-0.951051, -0.951051},
                {-0.951051, 1.89683}, {-0.951051, -1.89683}, {1.89683, 0}, {1.89683, 0.951051}, {1.89683, -0.951051}, {1.89683,
                1.89683}, {1.89683, -1.89683}, {-1.89683, 0}, {-1.89683, 0.951051}, {-1.89683, -0.951051}, {-1.89683, 1.89683},
                {-1.89683, -1.89683}}},
};
enum { SURFACES = sizeof surfaces / sizeof surfaces[0] };

static const surface *find_surface(const char *name)
{
    for (int i = 0; i < SURFACES; i++)
        if (!strcmp(surfaces[i].name, name))
            return &surfaces[i];
    return NULL;
}

/* ---- One path ------------------------------------------------------------------------------------------------------------ */

typedef struct run {
    const surface *s;
    double condition;
    soma_tensor *p;
} run;

/* The loss at the parameters, with its gradient. */
static double evaluate(void *user)
{
    run *r = user;
    soma_scope scope = soma_scope_begin();
    soma_tensor *f = r->s->value(soma_select(r->p, 0, 0), soma_select(r->p, 0, 1), r->condition);
    double value = f ? soma_item(f) : NAN;
    soma_backward(f);
    soma_scope_end(scope);
    return value;
}

static bool put_point(run *r, walk *p)
{
    double at[2];
    bool grad = soma_set_grad_enabled(false);
    soma_to_array(r->p, at, 2, SOMA_F64);
    soma_scope scope = soma_scope_begin();
    double value = soma_item(r->s->value(soma_select(r->p, 0, 0), soma_select(r->p, 0, 1), r->condition));
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    if (soma_error() != SOMA_OK || !isfinite(value) || !(fabs(at[0]) < 1e6) || !(fabs(at[1]) < 1e6))
        return false;
    p->at[p->n][0] = at[0];
    p->at[p->n][1] = at[1];
    p->at[p->n++][2] = value;
    return true;
}

static soma_optim *make_optim(const walk *p)
{
    soma_attr options[4];
    int n = 0;
    options[n++] = SOMA_FLOAT("lr", p->lr);
    if (!isnan(p->momentum))
        options[n++] = SOMA_FLOAT("momentum", p->momentum);
    if (p->nesterov)
        options[n++] = SOMA_BOOLEAN("nesterov", true);
    if (!strcmp(p->info->name, "lbfgs")) {
        options[n++] = SOMA_BOOLEAN("strong_wolfe", true);
        options[n++] = SOMA_INT("max_iter", 1); /* so that the path shows every step */
    }
    return soma_optim_by_name_ex(p->info->name, NULL, options, n);
}

static void judge(const surface *s, walk *p, double tolerance)
{
    const double *last = p->at[p->n - 1];
    p->reached = p->minimum = -1;
    for (int i = p->n - 1; i >= 0 && !p->diverged && p->at[i][2] - s->best <= tolerance; i--)
        p->reached = i;
    for (int i = 0; i < s->n_minima && !p->diverged; i++)
        if (hypot(last[0] - s->minima[i][0], last[1] - s->minima[i][1]) < 0.05)
            p->minimum = i;
}

static soma_status follow(const surface *s, double condition, const double start[2], int64_t steps, double tolerance, walk *p)
{
    soma_scope scope = soma_scope_begin();
    run r = {.s = s, .condition = condition, .p = soma_requires_grad_(soma_from_array(start, SOMA_SHAPE(2), SOMA_F64), true)};
    soma_optim *opt = make_optim(p);
    if (opt)
        soma_optim_add_group(opt, &r.p, 1, -1, -1);
    p->at = malloc((size_t)(steps + 1) * sizeof *p->at);
    if (!p->at)
        soma_fail(SOMA_ENOMEM, "no memory for the path of %s", p->label);
    bool going = soma_error() == SOMA_OK && put_point(&r, p);
    for (int64_t i = 0; i < steps && going; i++)
        going = soma_optim_step_closure(opt, evaluate, &r, NULL) == SOMA_OK && put_point(&r, p);
    p->diverged = !going;
    soma_optim_free(opt);
    soma_scope_end(scope);
    if (soma_error() == SOMA_OK && p->n > 0)
        judge(s, p, tolerance);
    return soma_error();
}

/* ---- Which paths --------------------------------------------------------------------------------------------------------- */

/* Numbers with commas between them; how many, -1 after a message. */
static int read_list(const args *a, const char *name, double *out, int room)
{
    const char *text = arg_text(a, name);
    int n = 0;
    for (const char *at = text; at && *at; n++) {
        char *end;
        double v = strtod(at, &end);
        if (end == at || (*end && *end != ',') || n == room || !isfinite(v)) {
            usage_error(a, "--%s takes up to %d numbers with commas between them, not '%s'", name, room, text);
            return -1;
        }
        out[n] = v;
        at = *end ? end + 1 : end;
    }
    return n;
}

/* What a rate that does for gradient descent is worth for the others, which divide by the gradient's size. */
static double rate_for(const char *name, const surface *s)
{
    static const struct {
        const char *name;
        double share;             /* of the picture's width, a step */
    } rates[] = {{"adam", 0.03}, {"adamw", 0.03}, {"nadam", 0.03}, {"adamax", 0.03}, {"adagrad", 0.1}, {"rmsprop", 0.01},
                 {"lion", 0.01}, {"rprop", 0.01}};
    double width = s->high[0] - s->low[0];
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        if (!strcmp(rates[i].name, name))
            return rates[i].share * width;
    if (!strcmp(name, "sgd") || !strcmp(name, "asgd") || !strcmp(name, "radam")) /* RAdam's first five steps are those of SGD */
        return s->lr;
    return !strcmp(name, "lamb") ? 0.02 : !strcmp(name, "lars") ? 30 : !strcmp(name, "adadelta") ? 10 : 1;
}

static bool has_option(const soma_optim_info *info, const char *name)
{
    for (int i = 0; i < info->n_options; i++)
        if (!strcmp(info->options[i].name, name))
            return true;
    return false;
}

typedef struct plan {
    const surface *s;
    double lr[8], momentum[8];
    int n_lr, n_momentum;
    walk *paths;
    int n;
} plan;

static int add_path(const args *a, plan *q, const char *shown, walk p)
{
    if (q->n == DESCENT_PATHS)
        return usage_error(a, "more than %d paths cannot be told apart: give fewer of --optim, --lr and --momentum", DESCENT_PATHS);
    int at = snprintf(p.label, sizeof p.label, "%s", shown);
    at += snprintf(p.label + at, sizeof p.label - (size_t)at, ", lr %.3g", p.lr);
    if (!isnan(p.momentum))
        snprintf(p.label + at, sizeof p.label - (size_t)at, ", momentum %.3g", p.momentum);
    q->paths[q->n++] = p;
    return 0;
}

/* An optimiser with every rate and, if it has one, every momentum. "momentum" and "nesterov" are SGD with theirs. */
static int add_optim(const args *a, plan *q, const char *name)
{
    bool nesterov = !strcmp(name, "nesterov"), heavy = nesterov || !strcmp(name, "momentum");
    const soma_optim_info *info = soma_optim_find(heavy ? "sgd" : name);
    if (!info) {
        const char *names[64];
        int n = soma_optim_kind_count();
        for (int i = 0; i < n && i < 62; i++)
            names[i] = soma_optim_kind_get(i)->name;
        names[n++] = "momentum";
        names[n++] = "nesterov";
        const char *near = nearest_name(name, names, n);
        return usage_error(a, "there is no optimiser '%s'%s%s%s ('soma train --optim list' shows all)", name, near ? "; did you mean '" : "",
                           near ? near : "", near ? "'?" : "");
    }
    bool takes = has_option(info, "momentum") && (heavy || q->n_momentum > 0);
    const double own = 0.9;
    const double *momenta = q->n_momentum > 0 ? q->momentum : &own;
    for (int i = 0; i < (q->n_lr ? q->n_lr : 1); i++)
        for (int m = 0; m < (takes && q->n_momentum ? q->n_momentum : 1); m++) {
            walk p = {.info = info, .lr = q->n_lr ? q->lr[i] : rate_for(info->name, q->s), .momentum = takes ? momenta[m] : NAN, .nesterov = nesterov};
            if (nesterov && !(p.momentum > 0))
                continue;
            int code = add_path(a, q, name, p);
            if (code)
                return code;
        }
    return 0;
}

static int add_all(const args *a, plan *q)
{
    const char *list = arg_text(a, "optim");
    for (const char *at = list; *at; at += strspn(at, ",")) {
        char name[32];
        size_t length = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)(length < 31 ? length : 31), at);
        int code = add_optim(a, q, name);
        if (code)
            return code;
        at += length;
    }
    return q->n > 0 ? 0 : usage_error(a, "--optim takes names with commas between them");
}

/* ---- What came out --------------------------------------------------------------------------------------------------------- */

static const char *verdict(const surface *s, const walk *p, char *out, size_t size)
{
    if (p->diverged)
        snprintf(out, size, "diverged at step %d", p->n);
    else if (p->reached >= 0)
        snprintf(out, size, "reached at step %d", p->reached);
    else if (p->minimum >= s->n_best)
        snprintf(out, size, "in a local minimum");
    else if (s->saddle && hypot(p->at[p->n - 1][0], p->at[p->n - 1][1]) < 0.1)
        snprintf(out, size, "at the saddle");
    else
        snprintf(out, size, p->minimum >= 0 ? "near the minimum" : "on its way");
    return out;
}

static void print_table(const surface *s, const plan *q, double tolerance)
{
    int width = 9;
    for (int i = 0; i < q->n; i++)
        width = (int)strlen(q->paths[i].label) > width ? (int)strlen(q->paths[i].label) : width;
    printf("%-*s  %10s  %10s  %10s  lowest is %.4g, reached within %g\n", width, "optimiser", "x", "y", "value", s->best, tolerance);
    for (int i = 0; i < q->n; i++) {
        const walk *p = &q->paths[i];
        const double *last = p->at[p->n - 1];
        char text[64];
        printf("%-*s", width, p->label);
        for (int d = 0; d < 3; d++)
            printf("  %10.4g", fabs(last[d]) < 1e-12 ? 0.0 : last[d]);
        printf("  %s\n", verdict(s, p, text, sizeof text));
    }
}

static int print_result(const args *a, const plan *q, const char *base)
{
    json_t *list = json_array();
    for (int i = 0; i < q->n; i++) {
        const walk *p = &q->paths[i];
        const double *last = p->at[p->n - 1];
        json_array_append_new(list, json_pack("{s:s, s:f, s:o, s:b, s:o, s:f, s:f, s:f, s:b, s:o, s:i}", "optim", p->info->name, "lr", p->lr,
                                              "momentum", isnan(p->momentum) ? json_null() : json_real(p->momentum), "nesterov", (int)p->nesterov,
                                              "minimum", p->minimum >= 0 ? json_integer(p->minimum) : json_null(), "x", last[0], "y", last[1],
                                              "value", last[2], "diverged", (int)p->diverged, "reached",
                                              p->reached >= 0 ? json_integer(p->reached) : json_null(), "steps", p->n - 1));
    }
    return print_json(a, json_pack("{s:s, s:s, s:o}", "surface", q->s->name, "base", base, "paths", list));
}

static int check_numbers(const args *a, double start[2], const surface *s)
{
    double own[2];
    int n = read_list(a, "start", own, 2);
    if (n < 0)
        return 2;
    if (n == 1)
        return usage_error(a, "--start takes two numbers, such as -1.2,1");
    memcpy(start, n == 2 ? own : s->start, 2 * sizeof *start);
    if (arg_int(a, "steps") < 1 || arg_int(a, "steps") > 1000000)
        return usage_error(a, "--steps must be from 1 to 1000000");
    if (!(arg_number(a, "tolerance") > 0))
        return usage_error(a, "--tolerance must be above 0");
    if (!(arg_number(a, "condition") > 0))
        return usage_error(a, "--condition must be above 0");
    return 0;
}

static int run_paths(const args *a, plan *q, const double start[2])
{
    for (int i = 0; i < q->n; i++) {
        if (follow(q->s, arg_number(a, "condition"), start, arg_int(a, "steps"), arg_number(a, "tolerance"), &q->paths[i]) != SOMA_OK)
            return library_error(a);
        if (q->paths[i].n == 0)
            return usage_error(a, "the surface has no finite value at the start %g,%g", start[0], start[1]);
    }
    return 0;
}

static int descend(const args *a, plan *q)
{
    double start[2];
    char base[4200];
    int code = check_numbers(a, start, q->s);
    if (code)
        return code;
    q->n_lr = read_list(a, "lr", q->lr, 8);
    q->n_momentum = q->n_lr < 0 ? -1 : read_list(a, "momentum", q->momentum, 8);
    if (q->n_momentum < 0)
        return 2;
    code = add_all(a, q);
    if (!code)
        code = run_paths(a, q, start);
    if (code)
        return code;
    script_base(arg_text(a, "out") ? arg_text(a, "out") : "descent", base, sizeof base);
    soma_status status = descent_draw(base, q->s, arg_number(a, "condition"), start, q->paths, q->n);
    if (!arg_flag(a, "json"))
        print_table(q->s, q, arg_number(a, "tolerance"));
    if (status != SOMA_OK)
        return library_error(a);
    if (!arg_flag(a, "json"))
        printf("picture     %s.svg, %s.png, %s.gp\n", base, base, base);
    return arg_flag(a, "json") ? print_result(a, q, base) : 0;
}

int run_descent(args *a)
{
    plan q = {.s = find_surface(arg_text(a, "surface")), .paths = calloc(DESCENT_PATHS, sizeof *q.paths)};
    int code = q.paths ? descend(a, &q) : work_error(a, "no memory");
    for (int i = 0; q.paths && i < q.n; i++)
        free(q.paths[i].at);
    free(q.paths);
    return code;
}
