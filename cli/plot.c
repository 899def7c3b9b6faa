/* `soma plot`: draws runs, and `soma plot descent`, the paths of optimisers (descent.c). The pictures themselves are made by curves.c,
 * confusion.c, sheet.c and descent_draw.c. */
#include "descent.h"
#include "gnuplot.h"
#include "options.h"
#include "plots.h"
#include "script.h"
#include "term.h"

#include <soma/soma.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const option plot_options[] = {
    {"out", 'o', OPT_TEXT, "BASE", "write BASE.svg, BASE.png and BASE.gp", "(RUN/curves, compare for several runs, or activation)"},
    {"range", 'r', OPT_TEXT, "LOW:HIGH", "activations: the numbers that they are drawn over", "(-4:4)"},
    {"text", 't', OPT_FLAG, NULL, "also draw the curves with letters, on standard output", NULL},
    {"surface", 0, OPT_TEXT, "bowl|saddle|rosenbrock|himmelblau|wells|rastrigin", "descent: what to go down", "rosenbrock"},
    {"optim", 0, OPT_TEXT, "LIST", "descent: optimisers with commas between them; momentum and nesterov are sgd with theirs",
     "sgd,momentum,rmsprop,adam"},
    {"lr", 0, OPT_TEXT, "LIST", "descent: learning rates, each for every optimiser", "(one that does, for each)"},
    {"momentum", 0, OPT_TEXT, "LIST", "descent: momenta, each for every optimiser that has one", "(0.9 for momentum and nesterov)"},
    {"steps", 0, OPT_INT, "N", "descent: steps of each path", "300"},
    {"start", 0, OPT_TEXT, "X,Y", "descent: where the paths begin", "(the surface's own place)"},
    {"condition", 0, OPT_NUMBER, "C", "descent: how many times steeper the bowl is along y", "10"},
    {"tolerance", 0, OPT_NUMBER, "T", "descent: a value so near the lowest counts as reached", "0.001"},
};

static bool is_run(const char *dir)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    return access(path, F_OK) == 0;
}

static int say_written(const args *a, const char *base, const char *what)
{
    if (arg_flag(a, "json"))
        return 0;
    printf("%-11s %s.svg, %s.png, %s.gp\n", what, base, base, base);
    return 0;
}

static int check_runs(const args *a)
{
    if (a->n_rest == 0)
        return usage_error(a, "which run? Expected one or more run folders, such as runs/a");
    for (int i = 0; i < a->n_rest; i++) {
        struct stat info;
        if (stat(a->rest[i], &info))
            return work_error(a, "%s: there is no such run folder", a->rest[i]);
        if (!is_run(a->rest[i]))
            return work_error(a, "%s: not a run folder: it holds no metrics.jsonl (soma train --out %s makes one)", a->rest[i], a->rest[i]);
    }
    return 0;
}

static int finish(const args *a, const char *base)
{
    if (arg_flag(a, "json"))
        printf("{\"svg\": \"%s.svg\", \"png\": \"%s.png\", \"script\": \"%s.gp\"}\n", base, base, base);
    if (!arg_flag(a, "text"))
        return 0;
    fflush(stdout);
    return plot_terminal(base, stdout, term_width(stdout)) ? library_error(a) : 0;
}

static int run_activation(const args *a)
{
    const char *range = arg_text(a, "range"), *own = arg_text(a, "out");
    char base[4200], *end;
    double limits[2] = {0};
    if (range) {
        limits[0] = strtod(range, &end);
        limits[1] = *end == ':' ? strtod(end + 1, &end) : NAN;
        if (*end || !(limits[0] < limits[1]) || !isfinite(limits[0]) || !isfinite(limits[1]))
            return usage_error(a, "--range is '%s', expected LOW:HIGH, two numbers in this order, such as -4:4", range);
    }
    if (a->n_rest == 1)
        return usage_error(a, "which activation? Expected names, such as relu gelu, or all");
    script_base(own ? own : "activation", base, sizeof base);
    if (plot_activations(a->rest + 1, a->n_rest - 1, range ? limits : NULL, base))
        return library_error(a);
    say_written(a, base, "activation");
    return finish(a, base);
}

static int run_plot(args *a)
{
    char base[4200], confusion[4300];
    if (a->n_rest > 0 && !strcmp(a->rest[0], "activation") && !is_run("activation"))
        return run_activation(a);
    if (a->n_rest > 0 && !strcmp(a->rest[0], "descent") && !is_run("descent"))
        return a->n_rest == 1 ? run_descent(a) : usage_error(a, "what is '%s'? The surface goes after --surface, optimisers after --optim", a->rest[1]);
    int code = check_runs(a);
    if (code)
        return code;
    const char *own = arg_text(a, "out");
    if (own)
        snprintf(base, sizeof base, "%s", own);
    else if (a->n_rest == 1)
        snprintf(base, sizeof base, "%.4000s/curves", a->rest[0]);
    else
        snprintf(base, sizeof base, "compare");
    if (plot_compare(a->rest, a->n_rest, base))
        return library_error(a);
    say_written(a, base, "curves");
    for (int i = 0; i < a->n_rest; i++) {
        snprintf(confusion, sizeof confusion, "%.4000s/confusion.json", a->rest[i]);
        if (access(confusion, F_OK))
            continue;
        if (plot_confusion_again(a->rest[i]))
            return library_error(a);
        snprintf(confusion, sizeof confusion, "%.4000s/confusion", a->rest[i]);
        say_written(a, confusion, "confusion");
    }
    return finish(a, base);
}

const command cmd_plot = {
    .name = "plot",
    .summary = "draw the curves and the confusion matrix of runs, activations, paths of descent",
    .usage = "RUN… [-o BASE] [--text]\nactivation NAME… [--range LOW:HIGH] [-o BASE] [--text]\ndescent [--surface NAME] [--optim LIST] [--lr LIST] [-o BASE]",
    .details = "Draws loss and metric by epoch, training and validation, from RUN/metrics.jsonl, and the confusion matrix if the run has "
               "one. Several runs come into one picture. Each picture is written as SVG and PNG, with the gnuplot script that drew it "
               "beside it: change the script and run gnuplot on it to have it your way.\n\n`activation` draws activations (any operator on one number) with "
               "their derivatives, as backward computes them. NAME:ATTRIBUTE=VALUE,… sets attributes; `all` stands for all activations.\n\n"
               "`descent` draws the paths of "
               "optimisers over a surface of two parameters: a bowl, a saddle, Rosenbrock's valley, four equal minima (himmelblau), two "
               "wells of which one is deeper, many minima (rastrigin); and prints where each came, in how many steps, or that it "
               "diverged.\n\nNeeds gnuplot (Debian: gnuplot-nox).",
    .example = "soma plot runs/a\nsoma plot runs/a runs/b -o comparison --text\n"
               "soma plot activation relu gelu leaky_relu:negative_slope=0.1\nsoma plot activation step:surrogate=triangle --range -2:2 --text\n"
               "soma plot descent --surface wells --optim sgd,momentum,adam",
    OPTIONS(plot_options),
    .run = run_plot,
};
