/* `soma plot activation`: functions of one number and their derivatives, both computed by soma itself: see plots.h. */
#include "options.h"
#include "plots.h"
#include "script.h"
#include "term.h"

#include <soma/soma.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 801, MOST = 64, MOST_ATTRS = 8 };

typedef struct curve {
    char title[160];
    double low, high;        /* of x */
    double y[POINTS], slope[POINTS];
} curve;

typedef struct spec {
    char text[128];          /* "leaky_relu:negative_slope=0.1"; the attributes point into it */
    const soma_op_info *op;
    soma_attr attrs[MOST_ATTRS];
    int n_attrs;
} spec;

/* ---- Names --------------------------------------------------------------------------------------------------------------- */

/* One float in, one float out, each by itself; prelu's slope is filled in. */
static bool is_function(const soma_op_info *op)
{
    bool family = op->family && (!strcmp(op->family, "activation") || !strcmp(op->family, "elementwise") || !strcmp(op->family, "special"));
    bool one = op->min_inputs == 1 && op->max_inputs == 1;
    return family && !op->internal && (one || !strcmp(op->name, "prelu")) && strcmp(op->name, "glu") != 0 && op->differentiable && op->outputs == 1;
}

static const soma_op_info *find_function(const char *name)
{
    const soma_op_info *op = soma_op_find(name);
    if (op && is_function(op))
        return op;
    if (op) {
        soma_fail(SOMA_EINVAL, "%s is not a function of one number: it cannot be drawn as a curve", name);
        return NULL;
    }
    int n = 0, count = soma_op_count();
    const char **names = malloc((size_t)count * sizeof *names);
    for (int i = 0; names && i < count; i++)
        if (is_function(soma_op_get(i)))
            names[n++] = soma_op_get(i)->name;
    const char *near = names ? nearest_name(name, names, n) : NULL;
    soma_fail(SOMA_ENOTFOUND, "there is no activation '%s'%s%s%s ('soma ops' lists them)", name, near ? "; did you mean '" : "", near ? near : "",
              near ? "'?" : "");
    free(names);
    return NULL;
}

static soma_status read_attr(spec *s, char *word)
{
    char *equals = strchr(word, '='), *end;
    const soma_attr_info *info = NULL;
    if (equals)
        *equals = 0;
    for (int i = 0; i < s->op->n_attrs; i++)
        if (!strcmp(s->op->attrs[i].def.name, word))
            info = &s->op->attrs[i];
    if (!info || !equals || s->n_attrs == MOST_ATTRS)
        return soma_fail(SOMA_EINVAL, "%s has no attribute '%s' (soma ops %s lists them; write %s:NAME=VALUE)", s->op->name, word, s->op->name, s->op->name);
    soma_attr *a = &s->attrs[s->n_attrs++];
    *a = info->def;
    char *value = equals + 1;
    double number = strtod(value, &end);
    if (a->kind == SOMA_ATTR_STRING)
        a->value.s = value;
    else if (end == value || *end)
        return soma_fail(SOMA_EINVAL, "%s: %s is '%s', expected a number", s->op->name, word, value);
    else if (a->kind == SOMA_ATTR_FLOAT)
        a->value.f = number;
    else
        a->value.i = (int64_t)number;
    return SOMA_OK;
}

/* "NAME" or "NAME:ATTRIBUTE=VALUE,…" */
static soma_status read_spec(const char *text, spec *s)
{
    memset(s, 0, sizeof *s);
    if (strlen(text) >= sizeof s->text)
        return soma_fail(SOMA_EINVAL, "'%.40s…' is too long for the name of an activation", text);
    snprintf(s->text, sizeof s->text, "%s", text);
    char *rest = strchr(s->text, ':');
    if (rest)
        *rest++ = 0;
    s->op = find_function(s->text);
    if (!s->op)
        return soma_error();
    for (char *word = rest ? strtok(rest, ",") : NULL; word; word = strtok(NULL, ","))
        if (read_attr(s, word))
            return soma_error();
    return SOMA_OK;
}

static void write_curve_title(const spec *s, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", s->op->name);
    for (int i = 0; i < s->n_attrs && n < size; i++) {
        const soma_attr *a = &s->attrs[i];
        if (a->kind == SOMA_ATTR_STRING)
            n += (size_t)snprintf(out + n, size - n, ", %s %s", a->name, a->value.s);
        else
            n += (size_t)snprintf(out + n, size - n, ", %s %g", a->name, a->kind == SOMA_ATTR_FLOAT ? a->value.f : (double)a->value.i);
    }
}

/* ---- Values -------------------------------------------------------------------------------------------------------------- */

static double place(const curve *c, int i) { return c->low + (c->high - c->low) * i / (POINTS - 1); }

static soma_status compute(const spec *s, curve *c)
{
    soma_scope scope = soma_scope_begin();
    soma_tensor *in[2] = {soma_empty(SOMA_SHAPE(POINTS), SOMA_F64), NULL}, *y = NULL;
    bool two = !strcmp(s->op->name, "prelu");
    write_curve_title(s, c->title, sizeof c->title);
    for (int i = 0; in[0] && i < POINTS; i++)
        ((double *)soma_data(in[0]))[i] = place(c, i);
    soma_requires_grad_(in[0], true);
    if (two)
        in[1] = soma_full(SOMA_SHAPE(1), 0.25, SOMA_F64);
    soma_call(s->op->name, in, two ? 2 : 1, s->attrs, s->n_attrs, &y, 1);
    soma_to_array(y, c->y, POINTS, SOMA_F64);
    if (soma_error() == SOMA_OK && soma_requires_grad(y))
        soma_backward(soma_sum(y, SOMA_ALL, false));
    memset(c->slope, 0, sizeof c->slope);
    if (soma_error() == SOMA_OK && soma_grad(in[0]))
        soma_to_array(soma_grad(in[0]), c->slope, POINTS, SOMA_F64);
    for (int i = 0; i < POINTS; i++)
        if (isnan(c->y[i]))
            c->slope[i] = NAN;       /* the formula of the derivative may go on where the function is not defined: log */
    soma_status status = soma_error();
    soma_scope_end(scope);
    return status;
}

/* ---- The script ------------------------------------------------------------------------------------------------------------ */

/* Between points i - 1 and i the curve jumps: it changes there by far more than beside it, or against its course (a pole). */
static bool is_jump(const double *v, int i)
{
    if (i < 1)
        return false;
    double here = v[i] - v[i - 1], before = i > 1 ? v[i - 1] - v[i - 2] : 0, after = i + 1 < POINTS ? v[i + 1] - v[i] : 0;
    return fabs(here) > 0.05 && (fabs(here) > 4 * fmax(fabs(before), fabs(after)) || (here * before < 0 && here * after < 0));
}

/* A jump is drawn as one: the line is broken there. */
static void write_column(FILE *f, const char *name, int number, const curve *c, const double *v)
{
    fprintf(f, "$%s%d << END\n", name, number);
    for (int i = 0; i < POINTS; i++) {
        if (is_jump(v, i))
            fputc('\n', f);
        if (isfinite(v[i]))
            fprintf(f, "%.6g %.6g\n", place(c, i), v[i]);
        else
            fputc('\n', f);
    }
    fputs("END\n", f);
}

/* The values, a margin, and 0; not more than the width of the x axis on either side, since what grows fast would press the rest flat. */
static void write_range(FILE *f, const curve *c)
{
    double least = 0, most = 0, limit = c->high - c->low;
    for (int i = 0; i < POINTS; i++) {
        double both[] = {c->y[i], c->slope[i]};
        for (int k = 0; k < 2; k++)
            if (isfinite(both[k])) {
                least = fmin(least, both[k]);
                most = fmax(most, both[k]);
            }
    }
    least = fmax(least, -limit);
    most = fmin(most, limit);
    double pad = fmax(0.06 * (most - least), 0.02);
    fprintf(f, "set xrange [%g:%g]\nset yrange [%g:%g]\n", c->low, c->high, least - pad, most + pad);
}

static soma_status write_script(const char *base, const curve *c, int n)
{
    int columns = n <= 3 ? n : n == 4 ? 2 : n <= 9 ? 3 : n <= 16 ? 4 : 5, rows = (n + columns - 1) / columns;
    FILE *f = script_open(base, n > 1 ? "activations and their derivatives" : "an activation and its derivative");
    if (!f)
        return soma_error();
    for (int i = 0; i < n; i++) {
        write_column(f, "f", i + 1, &c[i], c[i].y);
        write_column(f, "d", i + 1, &c[i], c[i].slope);
    }
    int width = columns == 1 ? 620 : columns == 2 ? 900 : columns * 330, height = 60 + rows * (columns == 1 ? 400 : columns == 2 ? 330 : 270);
    script_terminals(f, base, width, height);
    fprintf(f, "letters = exists(\"term\") && term eq 'dumb'\n"
               "set border 0\nset tics nomirror scale 0.4 tc rgb FAINT font ',10'\n"
               "set xzeroaxis lt 1 lw 1 lc rgb FAINT\nset yzeroaxis lt 1 lw 1 lc rgb FAINT\n"
               "set grid xtics ytics lt 1 lw 0.6 lc rgb GRID\n"
               "set key at graph 0.03, 0.97 left top Left reverse tc rgb TEXT samplen 2.2 spacing 1.15 noopaque\n"
               "if (letters) { unset grid; set border 3; unset title } else { set multiplot layout %d,%d margins %g, %g, %g, %g spacing %g, %g }\n\n",
            rows, columns, columns == 1 ? 0.07 : 0.16 / columns, 0.98, 0.22 / (rows * (columns == 1 ? 2.8 : 1.6)), 1 - 0.25 / (rows * (columns == 1 ? 3 : 1.7)),
            0.16 / columns, rows > 2 ? 0.29 / rows : 0.32 / rows);
    for (int i = 0; i < n; i++) {
        fputs("set title ", f);
        script_text(f, c[i].title);
        fputs(columns == 1 ? " font ',14' tc rgb TEXT\n" : " font ',13' tc rgb TEXT offset 0,-0.3\n", f);
        write_range(f, &c[i]);
        if (i > 0)
            fputs("unset key\n", f);
        fprintf(f, "plot $f%d with lines lc rgb '#0072B2' lw 2.4 title 'f(x)', $d%d with lines lc rgb '#D55E00' lw 1.8 dt (6,4) title \"f'(x)\"\n", i + 1,
                i + 1);
    }
    fputs("if (!letters) { unset multiplot }\n", f);
    return script_close(f, base);
}

/* What is drawn over when nobody says: where the function does what it is known for. */
static void choose_range(const spec *s, const double range[2], curve *c)
{
    bool far = !range && !strcmp(s->op->name, "relu6");
    c->low = range ? range[0] : -4;
    c->high = range ? range[1] : far ? 8 : 4;
}

soma_status plot_activations(const char *const *names, int n, const double range[2], const char *base)
{
    spec *specs = calloc(MOST, sizeof *specs);
    curve *curves = calloc(MOST, sizeof *curves);
    soma_status status = specs && curves ? SOMA_OK : soma_fail(SOMA_ENOMEM, "no memory for the curves");
    int count = 0;
    for (int i = 0; i < n && !status; i++) {
        bool all = !strcmp(names[i], "all");
        for (int k = 0; all && k < soma_op_count() && count < MOST; k++)
            if (is_function(soma_op_get(k)) && !strcmp(soma_op_get(k)->family, "activation"))
                specs[count++].op = soma_op_get(k);
        if (!all && count == MOST)
            status = soma_fail(SOMA_EINVAL, "more than %d activations do not fit into one picture", MOST);
        else if (!all)
            status = read_spec(names[i], &specs[count++]);
    }
    for (int i = 0; i < count && !status; i++) {
        choose_range(&specs[i], range, &curves[i]);
        status = compute(&specs[i], &curves[i]);
    }
    if (!status)
        status = write_script(base, curves, count);
    free(specs);
    free(curves);
    return status ? status : script_draw(base);
}
