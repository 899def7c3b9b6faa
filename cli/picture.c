/* Pictures for the reference pages: functions of one number as `soma plot activation` draws them, losses over the prediction. The values are
 * the library's own. */
#include "gnuplot.h"
#include "plots.h"
#include "reference.h"
#include "script.h"

#include <math.h>
#include <string.h>

enum { POINTS = 401 };

typedef struct curve {
    char title[64];
    double y[POINTS];
} curve;

static double position(int i) { return -4 + 8.0 * i / (POINTS - 1); }

/* The losses of predictions against one target, each on its own. False when the operator does not take it. */
static bool compute(const soma_op_info *op, double target, curve *c)
{
    double x[POINTS], t[POINTS];
    for (int i = 0; i < POINTS; i++) {
        x[i] = position(i);
        t[i] = target;
    }
    soma_scope scope = soma_scope_begin();
    const int64_t shape[] = {POINTS};
    soma_tensor *in[] = {soma_from_array(x, 1, shape, SOMA_F64), soma_from_array(t, 1, shape, SOMA_F64)}, *out[4] = {NULL};
    soma_attr none = SOMA_INT("reduction", SOMA_NONE);
    bool ok = soma_call(op->name, in, 2, &none, 1, out, op->outputs) == SOMA_OK && out[0] && soma_numel(out[0]) == POINTS &&
              soma_to_array(out[0], c->y, POINTS, SOMA_F64) == SOMA_OK;
    soma_error_clear();
    soma_scope_end(scope);
    int finite = 0;
    for (int i = 0; ok && i < POINTS; i++)
        finite += isfinite(c->y[i]) != 0;
    return ok && finite > POINTS / 8;
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

static bool draw(const char *name, const curve *curves, int n, const char *base)
{
    static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73"};
    char text[4300];
    snprintf(text, sizeof text, "the loss %s over the prediction", name);
    FILE *f = script_open(base, text);
    if (!f)
        return false;
    script_terminals(f, base, 620, 400);
    fputs("set border 0\nset tics nomirror scale 0.4 tc rgb FAINT font ',10'\nset grid xtics ytics lt 1 lw 0.6 lc rgb GRID\nset key top center tc rgb TEXT\n"
          "set title ", f);
    script_text(f, name);
    fputs(" tc rgb TEXT\nset xlabel 'prediction' tc rgb FAINT\nset xrange [-4:4]\nset yrange [-4 < * : * < 6]\n", f);
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "y%d", i);
        write_data(f, text, curves[i].y);
    }
    for (int i = 0; i < n; i++) {
        fprintf(f, "%s $y%d with lines lw 2.5 lc rgb '%s' title ", i ? "," : "plot", i, colours[i]);
        script_text(f, curves[i].title);
    }
    fputc('\n', f);
    snprintf(text, sizeof text, "%s.gp", base);
    return script_close(f, base) == SOMA_OK && gnuplot_run(text, "term = 'svg'", NULL) == SOMA_OK;
}

static bool draw_loss(const soma_op_info *op, const char *base)
{
    static const double targets[] = {1, 0, -1};
    curve curves[2];
    int n = 0;
    for (int i = 0; i < 3 && n < 2; i++)
        if (compute(op, targets[i], &curves[n])) {
            snprintf(curves[n].title, sizeof curves[n].title, "target %g", targets[i]);
            n++;
        }
    return n > 0 && draw(op->name, curves, n, base);
}

bool draw_operator(const soma_op_info *op, const char *base)
{
    bool drawn = false;
    if (gnuplot_found() && op->input_names && !op->random)
        drawn = !strcmp(op->family, "loss") ? op->min_inputs == 2 && draw_loss(op, base)
                : op->differentiable && op->max_inputs <= 2 && op->outputs == 1 ? plot_activations(&op->name, 1, NULL, base) == SOMA_OK : false;
    soma_error_clear();
    return drawn;
}
