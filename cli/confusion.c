/* Confusion matrices, as picture and as text: see plots.h. Rows are true classes, columns what the network said. Cells on the
 * diagonal are blue by the share of the class that was found; errors are orange by their share, on a scale of their own, since
 * a few per cent matter there. */
#include "plots.h"
#include "script.h"

#include <soma/soma.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t row_sum(const int64_t *counts, int n, int row)
{
    int64_t sum = 0;
    for (int j = 0; j < n; j++)
        sum += counts[(size_t)row * (size_t)n + (size_t)j];
    return sum;
}

/* ---- confusion.json ---------------------------------------------------------------------------------------------------- */

static soma_status save_counts(const char *dir, const char *title, const int64_t *counts, int n, const char *const *names)
{
    json_t *classes = json_array(), *rows = json_array();
    for (int i = 0; i < n; i++) {
        json_t *row = json_array();
        for (int j = 0; j < n; j++)
            json_array_append_new(row, json_integer(counts[(size_t)i * (size_t)n + (size_t)j]));
        json_array_append_new(rows, row);
        json_array_append_new(classes, json_string(names[i]));
    }
    json_t *root = json_pack("{s:s, s:o, s:o}", "title", title, "classes", classes, "counts", rows);
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL, path[4200];
    json_decref(root);
    snprintf(path, sizeof path, "%s/confusion.json", dir);
    soma_status status = text ? soma_write_file(path, text, strlen(text)) : soma_fail(SOMA_ENOMEM, "no memory to write %s", path);
    free(text);
    return status;
}

static soma_status read_counts(const char *path, const json_t *root, int64_t *counts, const char **names, int n)
{
    const json_t *rows = json_object_get(root, "counts"), *classes = json_object_get(root, "classes");
    for (int i = 0; i < n; i++) {
        const json_t *row = json_array_get(rows, (size_t)i);
        names[i] = json_string_value(json_array_get(classes, (size_t)i));
        if (!names[i] || json_array_size(row) != (size_t)n)
            return soma_fail(SOMA_EFORMAT, "%s: expected %d class names and %d rows of %d counts", path, n, n, n);
        for (int j = 0; j < n; j++) {
            const json_t *cell = json_array_get(row, (size_t)j);
            if (!json_is_integer(cell) || json_integer_value(cell) < 0)
                return soma_fail(SOMA_EFORMAT, "%s: row %d, column %d is no count", path, i + 1, j + 1);
            counts[(size_t)i * (size_t)n + (size_t)j] = json_integer_value(cell);
        }
    }
    return SOMA_OK;
}

soma_status plot_confusion_again(const char *dir)
{
    char path[4200];
    soma_bytes bytes = {0};
    snprintf(path, sizeof path, "%s/confusion.json", dir);
    soma_status status = soma_read_file(path, false, (size_t)64 << 20, &bytes);
    if (status)
        return status;
    json_error_t error;
    json_t *root = json_loadb((const char *)bytes.data, bytes.size, 0, &error);
    soma_bytes_free(&bytes);
    int n = (int)json_array_size(json_object_get(root, "classes"));
    int64_t *counts = calloc((size_t)n * (size_t)n + 1, sizeof *counts);
    const char **names = calloc((size_t)n + 1, sizeof *names), *title = json_string_value(json_object_get(root, "title"));
    if (!root || n < 1 || n > 10000 || json_array_size(json_object_get(root, "counts")) != (size_t)n)
        status = soma_fail(SOMA_EFORMAT, "%s: no confusion matrix", path);
    else if (!counts || !names)
        status = soma_fail(SOMA_ENOMEM, "no memory for %d classes", n);
    else
        status = read_counts(path, root, counts, names, n);
    if (!status)
        status = plot_confusion(dir, title ? title : "", counts, n, names);
    free(counts);
    free(names);
    json_decref(root);
    return status;
}

/* ---- The picture ------------------------------------------------------------------------------------------------------- */

static int blend(int from, int to, double share) { return (int)lround(from + (to - from) * fmin(fmax(share, 0), 1)); }

static int colour_of(double share, bool right)
{
    int r = right ? 0 : 230, g = right ? 114 : 140, b = right ? 178 : 0;
    return blend(255, r, share) << 16 | blend(255, g, share) << 8 | blend(255, b, share);
}

static void write_cells(FILE *f, const int64_t *counts, int n)
{
    double worst = 0.02; /* so that single errors do not look like many */
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            int64_t sum = row_sum(counts, n, i);
            if (i != j && sum)
                worst = fmax(worst, (double)counts[(size_t)i * (size_t)n + (size_t)j] / (double)sum);
        }
    fputs("# column, row, count, cell's colour, text's colour\n$cells << END\n", f);
    for (int i = 0; i < n; i++) {
        int64_t sum = row_sum(counts, n, i);
        for (int j = 0; j < n; j++) {
            int64_t count = counts[(size_t)i * (size_t)n + (size_t)j];
            double share = sum ? (double)count / (double)sum : 0;
            double shade = i == j ? share : share / worst * 0.9;
            int text = count == 0 ? 0xC8C8C8 : i == j && share > 0.5 ? 0xFFFFFF : 0x222222;
            fprintf(f, "%d %d %lld %d %d\n", j, i, (long long)count, colour_of(shade, i == j), text);
        }
    }
    fputs("END\n", f);
}

static void write_tics(FILE *f, const int64_t *counts, int n, const char *const *names)
{
    int every = (n + 59) / 60;
    for (int axis = 0; axis < 2; axis++) {
        fprintf(f, "set %stics %s(", axis ? "y" : "x", axis ? "" : "rotate by 40 right ");
        for (int i = 0; i < n; i += every) {
            fputs(i ? ", " : "", f);
            script_text(f, names[i]);
            fprintf(f, " %d", i);
        }
        fputs(") scale 0 tc rgb TEXT\n", f);
    }
    for (int i = 0; i < n && n <= 40; i++) {
        int64_t sum = row_sum(counts, n, i);
        if (sum)
            fprintf(f, "set label '%.1f %%' at %g, %d left tc rgb TEXT font ',%d'\n",
                    100.0 * (double)counts[(size_t)i * (size_t)n + (size_t)i] / (double)sum, n - 0.4, i, n > 20 ? 8 : 11);
    }
    if (n <= 40)
        fprintf(f, "set label 'found' at %g, -0.85 left tc rgb FAINT font ',11'\n", n - 0.4);
}

/* A data set's description says its kind, path and part before the first ": "; of a long path the end says most. */
static void short_title(const char *title, int room, char *out, size_t size)
{
    const char *colon = strstr(title, ": ");
    int n = colon ? (int)(colon - title) : (int)strlen(title);
    if (n <= room || room < 8) {
        snprintf(out, size, "%.*s", n, title);
        return;
    }
    const char *from = title + n - room;
    while (from < title + n && ((unsigned char)*from & 0xC0) == 0x80)
        from++;
    snprintf(out, size, "…%.*s", (int)(title + n - from), from);
}

static soma_status write_script(const char *base, const char *title, const int64_t *counts, int n, const char *const *names)
{
    int64_t total = 0, right = 0;
    for (int i = 0; i < n; i++) {
        total += row_sum(counts, n, i);
        right += counts[(size_t)i * (size_t)n + (size_t)i];
    }
    FILE *f = script_open(base, "a confusion matrix");
    if (!f)
        return soma_error();
    int side = n <= 4 ? 420 : n <= 12 ? 220 + 52 * n : n <= 25 ? 360 + 40 * n : 1360;
    char text[512], about[256];
    short_title(title, side / 9 - 34, about, sizeof about);
    snprintf(text, sizeof text, "%s%s%lld of %lld right, %.1f %%", about, *about ? ": " : "", (long long)right, (long long)total,
             total ? 100.0 * (double)right / (double)total : 0.0);
    write_cells(f, counts, n);
    script_terminals(f, base, side + 60, side);
    fputs("set title ", f);
    script_text(f, text);
    fprintf(f, " font ',14' tc rgb TEXT offset 0,0.6\nunset key\nunset border\nset size ratio 1\nset style fill solid noborder\n"
               "set xrange [-0.5:%g]\nset yrange [%g:-0.5]\nset xlabel 'predicted' tc rgb TEXT\nset ylabel 'true' tc rgb TEXT\n"
               "set rmargin %d\n", n - 0.5, n - 0.5, n <= 40 ? 9 : 2);
    write_tics(f, counts, n, names);
    double half = n <= 40 ? 0.475 : 0.5;
    fprintf(f, "plot $cells using 1:2:(%g):(%g):4 with boxxyerror lc rgb variable", half, half);
    if (n <= 25)
        fprintf(f, ", \\\n     '' using 1:2:(sprintf('%%.0f', $3)):5 with labels tc rgb variable font ',%d'", n <= 12 ? 11 : 7);
    fputc('\n', f);
    return script_close(f, base);
}

soma_status plot_confusion(const char *dir, const char *title, const int64_t *counts, int classes, const char *const *names)
{
    char base[4200];
    snprintf(base, sizeof base, "%s/confusion", dir);
    soma_status status = save_counts(dir, title, counts, classes, names);
    if (!status)
        status = write_script(base, title, counts, classes, names);
    return status ? status : script_draw(base);
}

/* ---- As text ----------------------------------------------------------------------------------------------------------- */

static int digits(int64_t n)
{
    char text[32];
    return snprintf(text, sizeof text, "%lld", (long long)n);
}

typedef struct mistake {
    int from, to;
    int64_t count;
} mistake;

static int more_first(const void *x, const void *y)
{
    const mistake *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return a->from != b->from ? a->from - b->from : a->to - b->to;
}

static void print_worst(FILE *out, const int64_t *counts, int n, const char *const *names)
{
    mistake *list = calloc((size_t)n * (size_t)n + 1, sizeof *list);
    int found = 0;
    for (int i = 0; list && i < n; i++)
        for (int j = 0; j < n; j++)
            if (i != j && counts[(size_t)i * (size_t)n + (size_t)j])
                list[found++] = (mistake){i, j, counts[(size_t)i * (size_t)n + (size_t)j]};
    if (found)
        qsort(list, (size_t)found, sizeof *list, more_first);
    for (int k = 0; k < found && k < 3; k++)
        fprintf(out, "%s%s taken for %s: %lld of %lld (%.1f %%)\n", k ? "               " : "most mistaken  ", names[list[k].from], names[list[k].to],
                (long long)list[k].count, (long long)row_sum(counts, n, list[k].from),
                100.0 * (double)list[k].count / (double)row_sum(counts, n, list[k].from));
    free(list);
}

void print_confusion(FILE *out, const int64_t *counts, int classes, const char *const *names)
{
    int widest = 4, cell = digits(classes - 1);
    for (int i = 0; i < classes; i++) {
        int length = (int)strlen(names[i]);
        widest = length > widest ? length : widest;
        for (int j = 0; j < classes; j++) {
            int width = digits(counts[(size_t)i * (size_t)classes + (size_t)j]);
            cell = width > cell ? width : cell;
        }
    }
    widest = widest > 24 ? 24 : widest;
    if (classes <= 25) {
        fprintf(out, "%*s  %*s", widest, "true", digits(classes - 1), "");
        for (int j = 0; j < classes; j++)
            fprintf(out, " %*d", cell, j);
        fputs("   found\n", out);
        for (int i = 0; i < classes; i++) {
            int64_t sum = row_sum(counts, classes, i);
            fprintf(out, "%*.*s  %*d", widest, widest, names[i], digits(classes - 1), i);
            for (int j = 0; j < classes; j++) {
                int64_t count = counts[(size_t)i * (size_t)classes + (size_t)j];
                if (count)
                    fprintf(out, " %*lld", cell, (long long)count);
                else
                    fprintf(out, " %*s", cell + 1, "·"); /* two bytes, one column */
            }
            if (sum)
                fprintf(out, "  %5.1f %%", 100.0 * (double)counts[(size_t)i * (size_t)classes + (size_t)i] / (double)sum);
            fputc('\n', out);
        }
    }
    print_worst(out, counts, classes, names);
}

soma_status plot_run(const char *run_dir)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/confusion.json", run_dir);
    soma_status status = plot_curves(run_dir);
    return status || access(path, F_OK) ? status : plot_confusion_again(run_dir);
}
