/* Curves of loss and metric over the epochs, of one run or of several: see plots.h. */
#include "gnuplot.h"
#include "plots.h"
#include "script.h"
#include "term.h"

#include <soma/soma.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct epoch_row {
    double epoch, train_loss, val_loss, train_metric, val_metric;
    bool best;
} epoch_row;
typedef struct run_record {
    const char *dir;
    epoch_row *rows;
    int n;
    bool has_val, has_metric, regression;
    char data[256];          /* what it was trained on, from config.json */
} run_record;

/* ---- Reading a run ----------------------------------------------------------------------------------------------------- */

static double number_of(const json_t *line, const char *key)
{
    const json_t *v = json_object_get(line, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static soma_status add_row(run_record *r, const json_t *line)
{
    epoch_row row = {number_of(line, "epoch"), number_of(line, "train_loss"), number_of(line, "val_loss"),
                     number_of(line, "train_accuracy"), number_of(line, "val_accuracy"), json_is_true(json_object_get(line, "best"))};
    /* A run resumed from a checkpoint before its last line writes some epochs again: the later line counts. */
    while (r->n > 0 && r->rows[r->n - 1].epoch >= row.epoch)
        r->n--;
    epoch_row *more = realloc(r->rows, (size_t)(r->n + 1) * sizeof *more);
    if (!more)
        return soma_fail(SOMA_ENOMEM, "no memory for the curves of %s", r->dir);
    r->rows = more;
    if (row.best)
        for (int i = 0; i < r->n; i++)
            r->rows[i].best = false;
    r->rows[r->n++] = row;
    r->has_val |= !isnan(row.val_loss) || !isnan(row.val_metric);
    r->has_metric |= !isnan(row.train_metric) || !isnan(row.val_metric);
    return SOMA_OK;
}

static soma_status read_lines(run_record *r, const char *path, const soma_bytes *bytes)
{
    const char *at = (const char *)bytes->data, *end = at + bytes->size;
    for (int line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        json_error_t error;
        json_t *object = length ? json_loadb(at, length, 0, &error) : NULL;
        if (length && !json_is_object(object) && stop) { /* the last line may be cut where a run was killed */
            json_decref(object);
            return soma_fail(SOMA_EFORMAT, "%s line %d: not a JSON object", path, line);
        }
        const char *kind = json_string_value(json_object_get(object, "kind"));
        soma_status status = kind && !strcmp(kind, "epoch") ? add_row(r, object) : SOMA_OK;
        json_decref(object);
        if (status)
            return status;
        at = stop ? stop + 1 : end;
    }
    return SOMA_OK;
}

static void read_config(run_record *r)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/config.json", r->dir);
    json_t *config = json_load_file(path, 0, NULL); /* only for the title and the metric's name: no error when absent */
    const char *data = json_string_value(json_object_get(json_object_get(config, "settings"), "data"));
    const char *task = json_string_value(json_object_get(json_object_get(config, "data"), "task"));
    if (data) {
        snprintf(r->data, sizeof r->data, "%s", data);
        for (size_t n = strlen(r->data); n > 1 && r->data[n - 1] == '/'; n--)
            r->data[n - 1] = 0;
    }
    r->regression = task && !strncmp(task, "regress", 7);
    json_decref(config);
}

static soma_status read_run(const char *dir, run_record *r)
{
    char path[4200];
    soma_bytes bytes = {0};
    *r = (run_record){.dir = dir};
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    soma_status status = soma_read_file(path, false, (size_t)1 << 30, &bytes);
    if (status)
        return status;
    status = read_lines(r, path, &bytes);
    soma_bytes_free(&bytes);
    if (!status && r->n == 0)
        status = soma_fail(SOMA_EFORMAT, "%s: no epoch has ended in this run yet, so there is nothing to draw", path);
    read_config(r);
    return status;
}

/* ---- The script -------------------------------------------------------------------------------------------------------- */

/* Blue and vermillion for the two curves of one run; for several runs a colour each. */
static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222"};
enum { COLOURS = sizeof colours / sizeof colours[0] };

static void write_number(FILE *f, double v)
{
    if (isfinite(v))
        fprintf(f, " %.6g", v);
    else
        fputs(" nan", f);
}

static void write_data(FILE *f, const run_record *r, int index)
{
    double scale = r->regression ? 1 : 100;
    fprintf(f, "# %s\n# epoch  training loss  validation loss  training metric  validation metric\n$run%d << END\n", r->dir, index + 1);
    for (int i = 0; i < r->n; i++) {
        const epoch_row *e = &r->rows[i];
        fprintf(f, "%g", e->epoch);
        write_number(f, e->train_loss);
        write_number(f, e->val_loss);
        write_number(f, e->train_metric * scale);
        write_number(f, e->val_metric * scale);
        fputc('\n', f);
    }
    fputs("END\n", f);
}

static void short_name(const char *dir, char *out, size_t size)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    snprintf(out, size, "%.*s", (int)n, dir);
    memmove(out, script_name(out), strlen(script_name(out)) + 1);
}

static void write_title(FILE *f, const run_record *runs, int n)
{
    char title[1024], name[256];
    const run_record *r = &runs[0];
    const epoch_row *best = NULL;
    for (int i = 0; i < r->n; i++)
        best = r->rows[i].best ? &r->rows[i] : best;
    short_name(r->dir, name, sizeof name);
    if (n > 1)
        snprintf(title, sizeof title, "%d runs%s%s", n, r->data[0] ? " on " : "", r->data[0] ? script_name(r->data) : "");
    else {
        int at = snprintf(title, sizeof title, "%s%s%s", name, r->data[0] ? " on " : "", r->data[0] ? script_name(r->data) : "");
        if (best && !isnan(best->val_metric) && !r->regression)
            snprintf(title + at, sizeof title - (size_t)at, ": best validation accuracy %.1f %%, epoch %g", best->val_metric * 100, best->epoch);
        else if (best && !isnan(best->val_loss))
            snprintf(title + at, sizeof title - (size_t)at, ": best validation loss %.4g, epoch %g", best->val_loss, best->epoch);
    }
    script_text(f, title);
}

static void write_curve(FILE *f, bool *first, int run, int column, const char *title, const char *colour, bool training, bool few,
                        bool dashed)
{
    fprintf(f, "%s$run%d using 1:%d with %s lc rgb '%s' dt %s lw %s ", *first ? "plot " : ", \\\n     ", run + 1, column,
            few && !dashed ? "linespoints" : "lines", colour, dashed ? "(6,4)" : "1", training ? "1.6" : "2.2");
    if (few && !dashed)
        fprintf(f, "pt %d ps 0.55 ", training ? 6 : 7);
    *first = false;
    fputs(title ? "title " : "notitle", f);
    if (title)
        script_text(f, title);
}

/* column: that of the training curve; the validation curve's is the next. */
static void write_panel(FILE *f, const run_record *runs, int n, int column)
{
    bool first = true;
    for (int i = 0; i < n; i++) {
        char name[256], title[320];
        bool few = runs[i].n <= 30;
        short_name(runs[i].dir, name, sizeof name);
        if (n == 1) {
            write_curve(f, &first, i, column, "training", colours[0], true, few, false);
            if (runs[i].has_val)
                write_curve(f, &first, i, column + 1, "validation", colours[1], false, few, false);
            continue;
        }
        const char *colour = colours[i % COLOURS];
        snprintf(title, sizeof title, "%s%s", name, runs[i].has_val ? "" : " (training)");
        if (runs[i].has_val) {
            write_curve(f, &first, i, column, NULL, colour, true, few, true);
            write_curve(f, &first, i, column + 1, title, colour, false, few, false);
        } else
            write_curve(f, &first, i, column, title, colour, true, few, true);
    }
    if (n > 1)
        fputs(", \\\n     NaN with lines lc rgb FAINT dt (6,4) lw 1.6 title 'training'", f);
    fputc('\n', f);
}

static void write_axes(FILE *f, const run_record *runs, int n)
{
    double low = INFINITY, high = 0;
    for (int i = 0; i < n; i++) {
        low = fmin(low, runs[i].rows[0].epoch);
        high = fmax(high, runs[i].rows[runs[i].n - 1].epoch);
    }
    double pad = high > low ? (high - low) * 0.03 : 0.5;
    fprintf(f, "set xrange [%g:%g]\n", low - pad, high + pad);
    if (high - low <= 12)
        fputs("set xtics 1\n", f);
    fputs("set xlabel 'epoch' tc rgb TEXT\nset border 3 lc rgb FAINT\nset tics nomirror out scale 0.5 tc rgb TEXT\n"
          "set grid ytics lc rgb GRID lt 1 lw 1\nset key tc rgb TEXT samplen 2.5 spacing 1.2 noopaque\nset datafile missing 'nan'\n", f);
}

static soma_status write_script(const char *base, const run_record *runs, int n)
{
    bool metric = false, regression = false;
    FILE *f = script_open(base, n > 1 ? "loss and metric of several runs, by epoch" : "loss and metric of a run, by epoch");
    if (!f)
        return soma_error();
    for (int i = 0; i < n; i++) {
        write_data(f, &runs[i], i);
        metric |= runs[i].has_metric;
        regression |= runs[i].regression;
    }
    script_terminals(f, base, metric ? 1080 : 620, 460);
    write_axes(f, runs, n);
    fprintf(f, "letters = exists(\"term\") && term eq 'dumb'\nif (letters) { unset grid } else { set multiplot layout 1,%d margins %s, 0.14, 0.86 spacing 0.09 title ",
            metric ? 2 : 1, metric ? "0.065, 0.985" : "0.11, 0.97");
    write_title(f, runs, n);
    fputs(" font ',14' tc rgb TEXT }\n\nset title 'Loss' tc rgb TEXT offset 0,-0.4\nset key top right\n", f);
    write_panel(f, runs, n, 2);
    if (metric) {
        if (regression)
            fputs("\nset title 'R²' tc rgb TEXT\nset yrange [*:1]\nset key bottom right\n", f);
        else
            fputs("\nset title 'Accuracy, %' tc rgb TEXT\nset key bottom right\n", f);
        write_panel(f, runs, n, 4);
    }
    fputs("if (!letters) { unset multiplot }\n", f);
    return script_close(f, base);
}

soma_status plot_compare(const char *const *run_dirs, int n, const char *base)
{
    run_record *runs = calloc((size_t)n + 1, sizeof *runs);
    soma_status status = runs ? SOMA_OK : soma_fail(SOMA_ENOMEM, "no memory for the curves of %d runs", n);
    for (int i = 0; i < n && !status; i++)
        status = read_run(run_dirs[i], &runs[i]);
    if (!status)
        status = write_script(base, runs, n);
    for (int i = 0; runs && i < n; i++)
        free(runs[i].rows);
    free(runs);
    return status ? status : script_draw(base);
}

soma_status plot_curves(const char *run_dir)
{
    char base[4200];
    snprintf(base, sizeof base, "%s/curves", run_dir);
    return plot_compare(&run_dir, 1, base);
}

soma_status plot_terminal(const char *base, FILE *out, int width)
{
    char script[4200], setup[64];
    snprintf(script, sizeof script, "%s.gp", base);
    snprintf(setup, sizeof setup, "term = 'dumb'; columns = %d", width < 40 ? 40 : width > 120 ? 120 : width);
    return gnuplot_run(script, setup, out);
}
