/* Pictures for the reference pages: an operator of one number with its derivative, a loss over the prediction. The values are the
 * library's own, gradients included. */
#include "gnuplot.h"
#include "reference.h"
#include "script.h"

#include <math.h>
#include <string.h>

enum { POINTS = 401 };

typedef struct curve {
    char title[64];
    double y[POINTS], slope[POINTS];
    int finite;
} curve;

static double position(int i) { return -4 + 8.0 * i / (POINTS - 1); }

/* x, and the gradient of sum(op(x)), which is the derivative at each x. False when the operator does not take it. */
static bool compute(const soma_op_info *op, const double *target, const soma_attr *attrs, int n_attrs, curve *c)
{
    double x[POINTS], t[POINTS];
    for (int i = 0; i < POINTS; i++) {
        x[i] = position(i);
        t[i] = target ? *target : 0;
    }
    soma_scope scope = soma_scope_begin();
    soma_tensor *in[2] = {soma_from_array(x, 1, (const int64_t[]){POINTS}, SOMA_F64), NULL}, *out[4] = {NULL};
    in[1] = target ? soma_from_array(t, 1, (const int64_t[]){POINTS}, SOMA_F64) : NULL;
    soma_requires_grad_(in[0], true);
    bool ok = soma_call(op->name, in, target ? 2 : 1, attrs, n_attrs, out, op->outputs) == SOMA_OK && out[0] && soma_numel(out[0]) == POINTS &&
              soma_dtype_of(out[0]) == SOMA_F64 && soma_requires_grad(out[0]);
    if (ok) {
        soma_backward(soma_sum(out[0], SOMA_ALL, false));
        soma_tensor *slope = soma_grad(in[0]);
        ok = slope && soma_to_array(out[0], c->y, POINTS, SOMA_F64) == SOMA_OK && soma_to_array(slope, c->slope, POINTS, SOMA_F64) == SOMA_OK;
    }
    soma_error_clear();
    soma_scope_end(scope);
    c->finite = 0;
    for (int i = 0; ok && i < POINTS; i++)
        c->finite += isfinite(c->y[i]) && isfinite(c->slope[i]);
    return ok && c->finite > POINTS / 8;
}

/* Points where the value is finite; steep ends are cut off so that the rest can be seen. */
static void write_data(FILE *f, const char *name, const double *y)
{
    fprintf(f, "$%s << EOD\n", name);
    for (int i = 0; i < POINTS; i++) {
        if (isfinite(y[i]) && fabs(y[i]) < 1e6)
            fprintf(f, "%.6g %.6g\n", position(i), y[i]);
        else
            fputc('\n', f);
    }
    fputs("EOD\n", f);
}

static bool draw(const char *name, const char *what, const curve *curves, int n, bool slopes, const char *base)
{
    static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73"};
    FILE *f = script_open(base, what);
    if (!f)
        return false;
    script_terminals(f, base, 480, 300);
    fputs("set border 3 lc rgb GRID\nset tics nomirror textcolor rgb FAINT\nset grid lc rgb GRID\nset key top center textcolor rgb TEXT\nset title ", f);
    script_text(f, name);
    fputs(" textcolor rgb TEXT\nset xrange [-4:4]\nset yrange [-4 < * : * < 6]\n", f);
    for (int i = 0; i < n; i++) {
        char block[16];
        snprintf(block, sizeof block, "y%d", i);
        write_data(f, block, curves[i].y);
        snprintf(block, sizeof block, "d%d", i);
        if (slopes)
            write_data(f, block, curves[i].slope);
    }
    for (int i = 0; i < n; i++) {
        fprintf(f, "%s $y%d with lines lw 2.5 lc rgb '%s' title ", i ? "," : "plot", i, colours[i]);
        script_text(f, curves[i].title);
        if (slopes)
            fprintf(f, ", $d%d with lines lw 1.5 dt 2 lc rgb '%s' title 'derivative'", i, colours[1]);
    }
    fputc('\n', f);
    char script[4300];
    snprintf(script, sizeof script, "%s.gp", base);
    bool ok = script_close(f, base) == SOMA_OK && gnuplot_run(script, "term = 'svg'", NULL) == SOMA_OK;
    soma_error_clear();
    return ok;
}

static bool needs_attributes(const soma_op_info *op)
{
    for (int i = 0; i < op->n_attrs; i++)
        if (op->attrs[i].required)
            return true;
    return false;
}

static bool draw_loss(const soma_op_info *op, const char *base)
{
    static const double targets[] = {1, 0, -1};
    curve curves[3];
    int n = 0;
    for (int i = 0; i < 3 && n < 2; i++) {
        if (!compute(op, &targets[i], (const soma_attr[]){SOMA_INT("reduction", SOMA_NONE)}, 1, &curves[n]))
            continue;
        snprintf(curves[n].title, sizeof curves[n].title, "target %g", targets[i]);
        n++;
    }
    char what[160];
    snprintf(what, sizeof what, "the loss %s over the prediction", op->name);
    return n > 0 && draw(op->name, what, curves, n, false, base);
}

bool draw_operator(const soma_op_info *op, const char *base)
{
    curve one;
    if (!op->differentiable || !op->input_names || op->random || needs_attributes(op) || !gnuplot_found())
        return false;
    if (!strcmp(op->family, "loss"))
        return op->min_inputs == 2 && op->max_inputs >= 2 && draw_loss(op, base);
    if (op->min_inputs != 1 || op->max_inputs != 1 || (strcmp(op->family, "elementwise") && strcmp(op->family, "activation")))
        return false;
    if (!compute(op, NULL, NULL, 0, &one))
        return false;
    snprintf(one.title, sizeof one.title, "%s(x)", op->name);
    return draw(op->name, op->name, &one, 1, true, base);
}
