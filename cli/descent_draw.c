/* The picture of `soma plot descent`: the surface as contour lines, paths over it. gnuplot computes the surface from its formula, so
 * that the script stays small and can be changed. */
#include "descent.h"
#include "plots.h"
#include "script.h"

#include <math.h>
#include <string.h>

/* Strong colours, then the same ones dashed. */
static const char *const colours[] = {"#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#222222", "#56B4E9", "#7B3FA0"};
enum { COLOURS = sizeof colours / sizeof colours[0], LEVELS = 14, GRID = 250, WIDTH = 860 };

static void key_text(const walk *p, char out[128]) { snprintf(out, 128, "%s%s", p->label, p->diverged ? ": diverged" : ""); }

static int widest_key(const walk *paths, int n)
{
    int widest = 14;                 /* "lowest minimum" */
    for (int i = 0; i < n; i++) {
        char label[128];
        key_text(&paths[i], label);
        widest = (int)strlen(label) > widest ? (int)strlen(label) : widest;
    }
    return widest;
}

typedef struct frame {
    double low[2], high[2];
} frame;

/* What is drawn: the surface's own part, made larger for the start and for paths that leave it a little. */
static frame frame_of(const surface *s, const double start[2], const walk *paths, int n)
{
    frame f;
    for (int d = 0; d < 2; d++) {
        double width = s->high[d] - s->low[d], least = s->low[d] - 0.25 * width, most = s->high[d] + 0.25 * width;
        f.low[d] = fmin(s->low[d], start[d] - 0.05 * width);
        f.high[d] = fmax(s->high[d], start[d] + 0.05 * width);
        for (int i = 0; i < n; i++)
            for (int k = 0; k < paths[i].n; k++) {
                double v = paths[i].at[k][d];
                if (v < f.low[d] && v > least)
                    f.low[d] = v - 0.02 * width;
                if (v > f.high[d] && v < most)
                    f.high[d] = v + 0.02 * width;
            }
    }
    return f;
}

static void write_paths(FILE *f, const walk *paths, int n)
{
    for (int i = 0; i < n; i++) {
        fprintf(f, "# %s: x, y, value\n$path%d << END\n", paths[i].label, i + 1);
        for (int k = 0; k < paths[i].n; k++)
            fprintf(f, "%.6g %.6g %.6g\n", paths[i].at[k][0], paths[i].at[k][1], paths[i].at[k][2]);
        fputs("END\n", f);
    }
}

/* Lines at heights over the lowest value that grow by the same factor, up to the highest of the picture. */
static void write_surface(FILE *f, const surface *s, double condition, const frame *r)
{
    fputs("f(x, y) = ", f);
    fprintf(f, s->formula, condition);
    fprintf(f, "\nBEST = %.9g\n", s->best);
    fprintf(f, "XL = %.6g; XH = %.6g; YL = %.6g; YH = %.6g\n", r->low[0], r->high[0], r->low[1], r->high[1]);
    fprintf(f, "top = 0\ndo for [i = 0:20] { do for [j = 0:20] { v = f(XL + (XH - XL) * i / 20.0, YL + (YH - YL) * j / 20.0) - BEST; "
               "top = v > top ? v : top } }\n");
    fprintf(f, "set xrange [XL:XH]\nset yrange [YL:YH]\nset isosamples %d, %d\nset contour base\nunset surface\n"
               "low = top / %g\nset cntrparam levels discrete BEST + low", GRID, GRID, s->span);
    for (int i = 1; i < LEVELS; i++)
        fprintf(f, ", BEST + low * %g ** (%d.0 / %d)", s->span, i, LEVELS);
    fputs("\nset table $contours\nsplot f(x, y)\nunset table\nunset contour\nset surface\n", f);
}

static void write_axes(FILE *f, const surface *s, const double start[2], double condition, int letters)
{
    char title[256];
    int at = snprintf(title, sizeof title, "Descent: %s", s->what);
    if (!strcmp(s->name, "bowl"))
        snprintf(title + at, sizeof title - (size_t)at, ", condition %g", condition);
    fputs("set title ", f);
    script_text(f, title);
    fputs(" font ',14' tc rgb TEXT\nset xlabel 'x' tc rgb TEXT\nset ylabel 'y' tc rgb TEXT\nset border 15 lc rgb FAINT\n"
          "set tics nomirror out scale 0.5 tc rgb TEXT\nset key outside right top vertical Left reverse tc rgb TEXT samplen 2 spacing 1.25 width -2\n"
          "set palette defined (0 '#86AFD6', 0.3 '#BFD5E8', 0.65 '#E9EEF0', 1 '#FCF6E8')\nunset colorbox\nset samples 250, 250\n"
          "set isosamples 250, 250\nset urange [XL:XH]\nset vrange [YL:YH]\nset cbrange [log10(low):log10(top)]\n"
          "set lmargin at screen 0.08\nset bmargin at screen 0.11\nset tmargin at screen 0.92\n", f);
    fprintf(f, "set rmargin at screen %.3f\n", 1 - (40 + 6.4 * letters) / WIDTH); /* room for the key */
    fprintf(f, "$start << END\n%.6g %.6g\nEND\n$best << END\n", start[0], start[1]);
    for (int i = 0; i < s->n_best; i++)
        fprintf(f, "%.6g %.6g\n", s->minima[i][0], s->minima[i][1]);
    fputs("END\n$local << END\n", f);
    for (int i = s->n_best; i < s->n_minima; i++)
        fprintf(f, "%.6g %.6g\n", s->minima[i][0], s->minima[i][1]);
    fputs("END\n", f);
}

static void write_curves(FILE *f, const surface *s, const walk *paths, int n)
{
    fputs("plot '++' using 1:2:(log10(f($1, $2) - BEST + low / 10)) with image notitle, \\\n"
          "     $contours using 1:2 with lines lc rgb '#8A98A3' lw 0.6 notitle", f);
    for (int i = 0; i < n; i++) {
        const char *colour = colours[i % COLOURS];
        fprintf(f, ", \\\n     $path%d using 1:2 with linespoints lc rgb '%s' lw %.2f dt %s pt 7 ps 0.3 title ", i + 1, colour,
                2.8 - 1.6 * i / (n > 1 ? n - 1 : 1), i < COLOURS ? "1" : "(5,3)"); /* thinner ones over thicker: all are seen */
        char label[128];
        key_text(&paths[i], label);
        script_text(f, label);
        if (!paths[i].diverged)
            fprintf(f, ", \\\n     $path%d every ::%d using 1:2 with points lc rgb '%s' pt 7 ps 1.1 notitle", i + 1, paths[i].n - 1, colour);
    }
    fprintf(f, ", \\\n     $best using 1:2 with points lc rgb TEXT pt 3 ps 1.6 lw 1.6 title '%s'",
            s->n_minima > s->n_best ? "lowest minimum" : s->n_best > 1 ? "minima" : "minimum");
    if (s->n_minima > s->n_best)
        fputs(", \\\n     $local using 1:2 with points lc rgb TEXT pt 2 ps 1 title 'local minima'", f);
    if (s->saddle)
        fputs(", \\\n     '+' using (0):(0) every ::0::0 with points lc rgb TEXT pt 8 ps 1.4 title 'saddle'", f);
    fputs(", \\\n     $start using 1:2 with points lc rgb 'white' pt 7 ps 1.7 notitle, \\\n"
          "     $start using 1:2 with points lc rgb TEXT pt 6 ps 1.6 lw 1.8 title 'start'\n", f);
}

soma_status descent_draw(const char *base, const surface *s, double condition, const double start[2], const walk *paths, int n)
{
    FILE *f = script_open(base, "paths of optimisers over a surface");
    if (!f)
        return soma_error();
    frame r = frame_of(s, start, paths, n);
    write_paths(f, paths, n);
    script_terminals(f, base, WIDTH, 560);
    write_surface(f, s, condition, &r);
    write_axes(f, s, start, condition, widest_key(paths, n));
    write_curves(f, s, paths, n);
    soma_status status = script_close(f, base);
    return status ? status : script_draw(base);
}
