/* Tables of numbers: one CSV, one column the target, the others the features. A column called "id" names the rows and is no
 * feature. Classes may be text; anything else must be a number. */
#include "data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { AUTO_CLASSES = 20 };

typedef struct table {
    soma_csv *csv;
    const char *path;
    int id, target; /* columns, -1: none */
    int *feature;   /* columns */
    int n_features;
    soma_task task;
    int64_t *row; /* of each sample */
} table;

static soma_status no_column(const table *t, const char *name) {
    const char *headers[64];
    char list[400] = "";
    size_t at = 0;
    int n = SOMA_MIN(soma_csv_columns(t->csv), 64);
    for (int i = 0; i < n; i++) {
        headers[i] = soma_csv_header(t->csv, i);
        int put = at < sizeof list ? snprintf(list + at, sizeof list - at, "%s'%s'", i ? ", " : "", headers[i]) : 0;
        at += put > 0 ? (size_t)put : 0;
    }
    const char *near = soma__nearest(name, headers, n);
    return soma_fail(SOMA_ENOTFOUND, "%s: no column '%s'; its columns are %s%s%s%s", t->path, name, list,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static soma_status find_columns(table *t, const soma_data_opts *opts) {
    int columns = soma_csv_columns(t->csv);
    bool labelled = opts->auto_task || opts->task != SOMA_UNLABELLED;
    t->target = opts->target ? soma_csv_find(t->csv, opts->target) : labelled ? columns - 1 : -1;
    if (t->target < 0 && opts->target && labelled)
        return no_column(t, opts->target);
    t->feature = soma__alloc((size_t)columns * sizeof *t->feature);
    if (!t->feature)
        return SOMA_ENOMEM;
    t->id = -1;
    for (int i = 0; i < columns; i++) {
        if (i == t->target)
            continue;
        if (t->id < 0 && strcasecmp(soma_csv_header(t->csv, i), "id") == 0)
            t->id = i;
        else
            t->feature[t->n_features++] = i;
    }
    if (!labelled)
        t->target = -1;
    if (t->n_features == 0)
        return soma_fail(SOMA_EFORMAT, "%s: no column is left as a feature", t->path);
    if (soma_csv_rows(t->csv) == 0)
        return soma_fail(SOMA_EFORMAT, "%s: a header and no rows", t->path);
    return SOMA_OK;
}

/* Classification when the target is text or has few different whole numbers. */
static soma_task guess_task(const table *t) {
    double seen[AUTO_CLASSES];
    int n = 0;
    for (int64_t i = 0; i < soma_csv_rows(t->csv); i++) {
        double v;
        const char *text = soma_csv_cell(t->csv, i, t->target);
        char end;
        if (sscanf(text, "%lf%c", &v, &end) != 1)
            return SOMA_CLASSIFY;
        if (v != floor(v) || isinf(v))
            return SOMA_REGRESS;
        int at = 0;
        while (at < n && seen[at] != v)
            at++;
        if (at == n && n == AUTO_CLASSES)
            return SOMA_REGRESS;
        if (at == n)
            seen[n++] = v;
    }
    return SOMA_CLASSIFY;
}

static soma_status read_number(const table *t, int64_t row, int column, float *out) {
    double v = 0;
    soma_status status = soma_csv_number(t->csv, row, column, &v);
    *out = (float)v;
    if (status == SOMA_OK && !isfinite(*out))
        status = soma_fail(SOMA_EFORMAT, "%s:%lld: column %d (%s): %g is too large", t->path,
                           (long long)soma_csv_line(t->csv, row), column + 1, soma_csv_header(t->csv, column), v);
    return status;
}

static soma_status read_row(const table *t, int64_t row, float *x, float *y) {
    soma_status status = SOMA_OK;
    for (int k = 0; k < t->n_features && status == SOMA_OK; k++)
        status = read_number(t, row, t->feature[k], &x[k]);
    if (status == SOMA_OK && y)
        status = read_number(t, row, t->target, y);
    return status;
}

static soma_status read_rows(table *t, soma_dataset *d, const soma_data_opts *opts) {
    int64_t rows = soma_csv_rows(t->csv), kept = 0, cells;
    if (!soma__mul_ok(rows, t->n_features, &cells) || !soma__mul_ok(cells, sizeof(float), &cells))
        return soma_fail(SOMA_ENOMEM, "%s: too large", t->path);
    float *values = soma__alloc((size_t)cells);
    d->block = values;
    d->values = values;
    d->targets = t->task == SOMA_REGRESS ? soma__alloc((size_t)rows * sizeof *d->targets) : NULL;
    t->row = soma__alloc((size_t)rows * sizeof *t->row);
    if (!values || !t->row || (t->task == SOMA_REGRESS && !d->targets))
        return SOMA_ENOMEM;
    for (int64_t i = 0; i < rows; i++) {
        soma_status status = read_row(t, i, values + kept * t->n_features, d->targets ? d->targets + kept : NULL);
        if (status != SOMA_OK && (!opts->skip_bad || status == SOMA_ENOMEM))
            return status;
        if (status != SOMA_OK) {
            soma__dataset_skip(d, soma_error_message());
            soma__error_drop();
            continue;
        }
        if (t->id >= 0 && !soma__strings_add(&d->ids, soma_csv_cell(t->csv, i, t->id)))
            return SOMA_ENOMEM;
        t->row[kept++] = i;
    }
    d->count = kept;
    soma__dataset_shape(d, 1, (int64_t[]){t->n_features});
    return kept > 0 ? SOMA_OK : soma_fail(SOMA_EFORMAT, "%s: none of its %lld rows is readable", t->path, (long long)rows);
}

static const char *row_place(const void *user, int64_t i, char *out, size_t size) {
    const table *t = user;
    snprintf(out, size, "%s:%lld: column %d (%s)", t->path, (long long)soma_csv_line(t->csv, t->row[i]), t->target + 1,
             soma_csv_header(t->csv, t->target));
    return out;
}

static soma_status take_labels(const table *t, soma_dataset *d, const soma_data_opts *opts) {
    d->task = t->task;
    if (t->task == SOMA_UNLABELLED && opts->n_classes > 0)
        return soma__classes_set(d, opts->classes, opts->n_classes);
    if (t->task != SOMA_CLASSIFY)
        return SOMA_OK;
    const char **texts = soma__alloc((size_t)d->count * sizeof *texts);
    if (!texts)
        return SOMA_ENOMEM;
    for (int64_t i = 0; i < d->count; i++)
        texts[i] = soma_csv_cell(t->csv, t->row[i], t->target);
    soma_status status = soma__label_texts(d, texts, d->count, opts, row_place, t);
    soma__free(texts);
    return status;
}

soma_dataset *soma__open_table(const char *path, const soma_data_opts *opts) {
    table t = {.csv = soma_csv_read(path), .path = path};
    soma_dataset *d = t.csv ? soma__dataset_new(&soma__data_memory) : NULL;
    soma_status status = d ? find_columns(&t, opts) : SOMA_ENOMEM;
    if (status == SOMA_OK) {
        t.task = t.target < 0 ? SOMA_UNLABELLED : opts->auto_task ? guess_task(&t) : opts->task;
        status = read_rows(&t, d, opts);
    }
    if (status == SOMA_OK)
        status = take_labels(&t, d, opts);
    char target[128] = "";
    if (status == SOMA_OK && t.target >= 0)
        snprintf(target, sizeof target, " (target '%s')", soma_csv_header(t.csv, t.target));
    soma_csv_free(t.csv);
    soma__free(t.feature);
    soma__free(t.row);
    if (status != SOMA_OK) {
        soma_data_free(d);
        return NULL;
    }
    return soma__dataset_finish(d, "table %s%s", path, target);
}
