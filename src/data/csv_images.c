/* A CSV of id and label with one image for each id: images/<id>.png or .jpg, or beside the CSV. A CSV without labels is a test
 * set whose predictions are wanted under the same ids. Every message names the line. */
#include "data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const folders[] = {"images/", ""};
static const char *const endings[] = {"", ".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG"};

typedef struct csv_set {
    soma_csv *csv;
    const char *path;
    char *folder;                 /* of the CSV, with the final slash, or "" */
    int id, label;                /* columns; label -1: none */
    int64_t *row;                 /* of each sample that has an image */
    int last_folder, last_ending; /* where the last image was found: most likely the next is there, too */
} csv_set;

static int find_column(const soma_csv *csv, const char *name) {
    int found = soma_csv_find(csv, name);
    for (int i = 0; found < 0 && i < soma_csv_columns(csv); i++)
        if (strcasecmp(soma_csv_header(csv, i), name) == 0)
            found = i;
    return found;
}

static soma_status no_column(const soma_csv *csv, const char *path, const char *name) {
    const char *headers[64];
    char list[400] = "";
    int n = SOMA_MIN(soma_csv_columns(csv), 64);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        headers[i] = soma_csv_header(csv, i);
        int put = at < sizeof list ? snprintf(list + at, sizeof list - at, "%s'%s'", i ? ", " : "", headers[i]) : 0;
        at += put > 0 ? (size_t)put : 0;
    }
    const char *near = soma__nearest(name, headers, n);
    return soma_fail(SOMA_ENOTFOUND, "%s: no column '%s'; its columns are %s%s%s%s", path, name, list,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static soma_status find_columns(csv_set *s, const soma_data_opts *opts) {
    const char *wanted = opts->target ? opts->target : "label";
    s->id = find_column(s->csv, "id");
    if (s->id < 0)
        return no_column(s->csv, s->path, "id");
    s->label = opts->task == SOMA_UNLABELLED ? -1 : find_column(s->csv, wanted);
    bool more = soma_csv_columns(s->csv) > 1;
    if (s->label < 0 && opts->task != SOMA_UNLABELLED && (opts->target || more))
        return no_column(s->csv, s->path, wanted);
    if (soma_csv_rows(s->csv) == 0)
        return soma_fail(SOMA_EFORMAT, "%s: a header and no rows", s->path);
    return SOMA_OK;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = soma__strdup(path);
    if (folder)
        folder[slash ? slash - path + 1 : 0] = 0;
    return folder;
}

/* The image of `id` into `out`, or false. */
static bool find_image(csv_set *s, const char *id, char *out, size_t size) {
    for (int pass = 0; pass < 2; pass++)
        for (int f = 0; f < (int)SOMA_LEN(folders); f++)
            for (int e = 0; e < (int)SOMA_LEN(endings); e++) {
                bool likely = f == s->last_folder && e == s->last_ending;
                if (likely != (pass == 0) || (e == 0 && !soma__is_image_name(id)))
                    continue;
                int n = snprintf(out, size, "%s%s%s%s", s->folder, folders[f], id, endings[e]);
                if (n > 0 && (size_t)n < size && soma__is_file(out)) {
                    s->last_folder = f;
                    s->last_ending = e;
                    return true;
                }
            }
    return false;
}

/* An id is a name in the folder; it comes from outside and must not lead anywhere else. */
static bool safe_id(const char *id) {
    if (!id[0] || id[0] == '/')
        return false;
    for (const char *p = id; (p = strstr(p, "..")) != NULL; p += 2)
        if ((p == id || p[-1] == '/') && (p[2] == 0 || p[2] == '/'))
            return false;
    return true;
}

static soma_status bad_row(csv_set *s, int64_t row, const char *id) {
    long long line = (long long)soma_csv_line(s->csv, row);
    if (!id[0])
        return soma_fail(SOMA_EFORMAT, "%s:%lld: the id is empty", s->path, line);
    if (!safe_id(id))
        return soma_fail(SOMA_EFORMAT, "%s:%lld: the id '%s' must be a name inside the folder", s->path, line, id);
    return soma_fail(SOMA_ENOTFOUND,
                     "%s:%lld: there is no image for id '%s': looked for %simages/%s.png, .jpg and .jpeg, and for %s%s.*",
                     s->path, line, id, s->folder, id, s->folder, id);
}

static soma_status list_rows(csv_set *s, soma_dataset *d, const soma_data_opts *opts) {
    int64_t rows = soma_csv_rows(s->csv);
    s->row = soma__alloc((size_t)rows * sizeof *s->row);
    if (!s->row)
        return SOMA_ENOMEM;
    for (int64_t i = 0; i < rows; i++) {
        const char *id = soma_csv_cell(s->csv, i, s->id);
        char path[4096];
        if (!safe_id(id) || !find_image(s, id, path, sizeof path)) {
            soma_status status = bad_row(s, i, id);
            if (!opts->skip_bad)
                return status;
            soma__dataset_skip(d, soma_error_message());
            soma__error_drop();
            continue;
        }
        s->row[d->files.n] = i;
        if (!soma__strings_add(&d->files, path) || !soma__strings_add(&d->ids, id))
            return SOMA_ENOMEM;
    }
    if (d->files.n == 0)
        return soma_fail(SOMA_ENOTFOUND, "%s: none of its %lld ids has an image in %simages or beside it", s->path,
                         (long long)rows, s->folder);
    return SOMA_OK;
}

static const char *row_place(const void *user, int64_t i, char *out, size_t size) {
    const csv_set *s = user;
    snprintf(out, size, "%s:%lld: id '%s'", s->path, (long long)soma_csv_line(s->csv, s->row[i]),
             soma_csv_cell(s->csv, s->row[i], s->id));
    return out;
}

static soma_status take_numbers(const csv_set *s, soma_dataset *d) {
    int64_t n = d->files.n;
    d->task = SOMA_REGRESS;
    d->targets = soma__alloc((size_t)n * sizeof *d->targets);
    soma_status status = d->targets ? SOMA_OK : SOMA_ENOMEM;
    for (int64_t i = 0; i < n && status == SOMA_OK; i++) {
        double v = 0;
        char place[600];
        status = soma_csv_number(s->csv, s->row[i], s->label, &v);
        d->targets[i] = (float)v;
        if (status == SOMA_OK && !isfinite(d->targets[i]))
            status = soma_fail(SOMA_EFORMAT, "%s: the target %g is too large", row_place(s, i, place, sizeof place), v);
    }
    return status;
}

static soma_status take_labels(csv_set *s, soma_dataset *d, const soma_data_opts *opts) {
    if (s->label < 0) {
        /* No labels; but the classes that a model knows are worth knowing. */
        return opts->n_classes > 0 ? soma__classes_set(d, opts->classes, opts->n_classes) : SOMA_OK;
    }
    if (opts->task == SOMA_REGRESS)
        return take_numbers(s, d);
    int64_t n = d->files.n;
    const char **texts = soma__alloc((size_t)n * sizeof *texts);
    if (!texts)
        return SOMA_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        texts[i] = soma_csv_cell(s->csv, s->row[i], s->label);
    soma_status status = soma__label_texts(d, texts, n, opts, row_place, s);
    soma__free(texts);
    return status;
}

soma_dataset *soma__open_image_csv(const char *path, const soma_data_opts *opts) {
    csv_set s = {.csv = soma_csv_read(path), .path = path, .last_ending = 1};
    s.folder = s.csv ? folder_of(path) : NULL;
    soma_dataset *d = s.folder ? soma__dataset_new(&soma__data_memory) : NULL;
    if (d && (find_columns(&s, opts) != SOMA_OK || list_rows(&s, d, opts) != SOMA_OK || take_labels(&s, d, opts) != SOMA_OK ||
              soma__images_load(d, opts) != SOMA_OK)) {
        soma_data_free(d);
        d = NULL;
    }
    soma_csv_free(s.csv);
    soma__free(s.folder);
    soma__free(s.row);
    return d ? soma__dataset_finish(d, "images listed in %s", path) : NULL;
}

/* True when a CSV lists images: it has ids, and images/ lies beside it or an image of its first id. */
bool soma__looks_image_csv(const char *path) {
    csv_set s = {.csv = soma_csv_read(path), .path = path, .last_ending = 1};
    s.folder = s.csv ? folder_of(path) : NULL;
    s.id = s.csv ? find_column(s.csv, "id") : -1;
    bool found = false;
    if (s.folder && s.id >= 0) {
        char *images = soma__path_join(s.folder, "images");
        found = images && soma__is_folder(images);
        soma__free(images);
        char file[4096];
        if (!found && soma_csv_rows(s.csv) > 0) {
            const char *id = soma_csv_cell(s.csv, 0, s.id);
            found = safe_id(id) && find_image(&s, id, file, sizeof file);
        }
    }
    soma_csv_free(s.csv);
    soma__free(s.folder);
    return found;
}
