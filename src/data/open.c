/* soma_data_open: finds out what a path is. Order: IDX files, parts (train/, test/), a CSV, a folder per class, images. What
 * fits nothing is an error that says what was looked for and what is there. */
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWN_TRAIN = 10000, DRAWN_TEST = 2000 };

typedef struct listing {
    const char *path;
    soma__strings files, folders;
} listing;

static const char *const part_folders[] = {"train", "training", "test", "testing", "val", "valid", "validation"};

static bool has(const soma__strings *s, const char *name) {
    for (int64_t i = 0; i < s->n; i++)
        if (strcmp(soma__strings_at(s, i), name) == 0)
            return true;
    return false;
}

/* Folders are parts when all of them are called so: a class may be called "train". */
static bool has_parts(const listing *l) {
    for (int64_t i = 0; i < l->folders.n; i++) {
        bool known = false;
        for (size_t k = 0; k < SOMA_LEN(part_folders); k++)
            known |= strcmp(soma__strings_at(&l->folders, i), part_folders[k]) == 0;
        if (!known)
            return false;
    }
    return l->folders.n > 0;
}

static const char *part_folder(const listing *l, soma_part part) {
    int begin = part == SOMA_TEST ? 2 : 0, end = part == SOMA_TEST ? (int)SOMA_LEN(part_folders) : 2;
    for (int k = begin; k < end; k++)
        if (has(&l->folders, part_folders[k]))
            return part_folders[k];
    return NULL;
}

/* ---- CSV ---- */

static int count_csv(const soma__strings *files, const char **only, char *list, size_t size) {
    int n = 0;
    size_t at = 0;
    list[0] = 0;
    for (int64_t i = 0; i < files->n; i++) {
        const char *name = soma__strings_at(files, i);
        if (!soma__ends_with(name, ".csv"))
            continue;
        *only = name;
        int put = at < size ? snprintf(list + at, size - at, "%s%s", n ? ", " : "", name) : 0;
        at += put > 0 ? (size_t)put : 0;
        n++;
    }
    return n;
}

/* The last part of a path, without final slashes, into `out`. */
static void last_name(const char *path, char *out, size_t size) {
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    snprintf(out, size, "%.*s", (int)SOMA_MIN(end - begin, size - 1), path + begin);
}

/* Which of several CSV files lists the images: the one called like the folder, then by its part, then labels.csv. */
static const char *choose_csv(const listing *l, soma_part part, char *name, size_t size) {
    const char *only = NULL;
    char list[400], folder[200];
    int n = count_csv(&l->files, &only, list, sizeof list);
    if (n == 1)
        return only;
    char *real = realpath(l->path, NULL);
    last_name(real ? real : l->path, folder, sizeof folder);
    free(real);
    const char *const candidates[] = {folder, part == SOMA_TEST ? "test" : "train", "labels"};
    for (size_t i = 0; i < SOMA_LEN(candidates); i++) {
        snprintf(name, size, "%s.csv", candidates[i]);
        if (has(&l->files, name))
            return name;
    }
    soma_fail(SOMA_EINVAL,
              "%s: %d CSV files (%s), and none is called %s.csv, %s.csv or labels.csv; give the path of the one that lists "
              "the images",
              l->path, n, list, folder, part == SOMA_TEST ? "test" : "train");
    return NULL;
}

static soma_dataset *open_folder_csv(const listing *l, const soma_data_opts *opts) {
    char name[256];
    const char *csv = choose_csv(l, opts->part, name, sizeof name);
    char *path = csv ? soma__path_join(l->path, csv) : NULL;
    soma_dataset *d = NULL;
    bool images = has(&l->folders, "images");
    for (int64_t i = 0; i < l->files.n && !images; i++)
        images = soma__is_image_name(soma__strings_at(&l->files, i));
    if (path)
        d = images ? soma__open_image_csv(path, opts) : soma__open_table(path, opts);
    soma__free(path);
    return d;
}

/* ---- Folders ---- */

static int64_t class_folders(const listing *l) { return l->folders.n - has(&l->folders, "images"); }

static int64_t count_images(const soma__strings *files) {
    int64_t n = 0;
    for (int64_t i = 0; i < files->n; i++)
        n += soma__is_image_name(soma__strings_at(files, i));
    return n;
}

static soma_dataset *nothing_here(const listing *l) {
    char files[300], folders[300];
    soma_fail(SOMA_ENOTFOUND,
              "%s: no data set: looked for IDX files (train-images-idx3-ubyte …), a CSV, a folder per class, and images; "
              "found %lld files%s%s%s and %lld folders%s%s%s",
              l->path, (long long)l->files.n, l->files.n ? " (" : "", soma__strings_show(&l->files, 6, files, sizeof files),
              l->files.n ? ")" : "", (long long)l->folders.n, l->folders.n ? " (" : "",
              soma__strings_show(&l->folders, 6, folders, sizeof folders), l->folders.n ? ")" : "");
    return NULL;
}

static soma_dataset *open_folder(const char *path, const char *all, const soma_data_opts *opts);

static soma_dataset *open_part(const listing *l, const soma_data_opts *opts) {
    const char *name = part_folder(l, opts->part), *training = part_folder(l, SOMA_TRAIN);
    if (!name) {
        char folders[300];
        soma_fail(SOMA_ENOTFOUND, "%s: no %s part: looked for the folder%s, found %s", l->path,
                  opts->part == SOMA_TEST ? "test" : "training",
                  opts->part == SOMA_TEST ? "s test, testing, val, valid and validation" : "s train and training",
                  soma__strings_show(&l->folders, 10, folders, sizeof folders));
        return NULL;
    }
    char *path = soma__path_join(l->path, name), *all = training ? soma__path_join(l->path, training) : NULL;
    soma_dataset *d = path && (all || !training) ? open_folder(path, all, opts) : NULL;
    soma__free(path);
    soma__free(all);
    return d;
}

/* `all`: the folder of the training part when `path` is a part, else NULL. */
static soma_dataset *open_folder(const char *path, const char *all, const soma_data_opts *opts) {
    listing l = {.path = path};
    if (soma__list_folder(path, &l.files, &l.folders) != SOMA_OK)
        return NULL;
    char list[8];
    const char *only;
    soma_dataset *d;
    if (soma__looks_idx(&l.files))
        d = soma__open_idx(path, opts);
    else if (!all && has_parts(&l))
        d = open_part(&l, opts);
    else if (count_csv(&l.files, &only, list, sizeof list) > 0 && class_folders(&l) < 2)
        d = open_folder_csv(&l, opts);
    else if (class_folders(&l) > 0)
        d = soma__open_class_folders(path, all, opts);
    else if (count_images(&l.files) > 0)
        d = soma__open_image_folder(path, opts);
    else
        d = nothing_here(&l);
    soma__strings_free(&l.files);
    soma__strings_free(&l.folders);
    return d;
}

/* ---- Files ---- */

static soma_dataset *open_file(const char *path, const soma_data_opts *opts) {
    if (soma__ends_with(path, ".csv")) {
        bool images = soma__looks_image_csv(path);
        return soma__failed() ? NULL : images ? soma__open_image_csv(path, opts) : soma__open_table(path, opts);
    }
    if (soma__ends_with(path, ".npy"))
        return soma__open_npy(path, opts);
    soma_fail(SOMA_EUNSUPPORTED,
              "%s: no data set that soma knows: a folder (IDX files, a CSV and images, a folder per class), a .csv table "
              "or a .npy array",
              path);
    return NULL;
}

static soma_dataset *open_drawn(const char *path, const soma_data_opts *opts) {
    int64_t n = opts->part == SOMA_TEST ? DRAWN_TEST : DRAWN_TRAIN;
    if (path[5] == ':') {
        if (!soma__is_integer(path + 6) || (n = atoll(path + 6)) < 1 || n > 100000000) {
            soma_fail(SOMA_EINVAL, "'%s': \"drawn:N\" needs a number of images from 1 to 100000000", path);
            return NULL;
        }
    }
    return soma__open_drawn(n, opts->part == SOMA_TEST ? 2 : 1, opts); /* the parts share no image */
}

static soma_dataset *open_any(const char *path, const soma_data_opts *opts) {
    if (strcmp(path, "drawn") == 0 || strncmp(path, "drawn:", 6) == 0)
        return open_drawn(path, opts);
    if (soma__is_folder(path))
        return open_folder(path, NULL, opts);
    if (soma__is_file(path))
        return open_file(path, opts);
    soma_fail(errno == EACCES ? SOMA_EIO : SOMA_ENOTFOUND, "%s: %s", path,
              errno == EACCES ? "no permission to look there" : "no such file or folder");
    return NULL;
}

soma_dataset *soma_data_open_ex(const char *path, const soma_data_opts *given) {
    if (soma__failed())
        return NULL;
    soma_data_opts opts = soma__data_opts(given);
    if (!path || !path[0]) {
        soma_fail(SOMA_EINVAL, "soma_data_open: no path");
        return NULL;
    }
    if (opts.n_classes < 0 || (opts.n_classes > 0 && !opts.classes)) {
        soma_fail(SOMA_EINVAL, "soma_data_open: n_classes is %d, but no names are given", opts.n_classes);
        return NULL;
    }
    soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
    soma_dataset *d = open_any(path, &opts);
    soma__owner_set(was);
    return d;
}
