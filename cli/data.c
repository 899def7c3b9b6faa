/* `soma data`: what a data set holds, a contact sheet of it, the drawn set as files; `soma data get` is in download.c. */
#include "data.h"
#include "model.h"
#include "options.h"
#include "plots.h"
#include "term.h"

#include <soma/soma.h>

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const option data_options[] = {
    {"part", 0, OPT_TEXT, "train|test", "which part, of sets that have both", "train"},
    {"target", 0, OPT_TEXT, "COLUMN", "tables: the column to predict", "(the last one)"},
    {"task", 0, OPT_TEXT, "classify|regress", "tables: what the target is", "(as it looks)"},
    {"channels", 0, OPT_INT, "1|3", "images: 1 grey, 3 colour", "(as the first image)"},
    {"size", 0, OPT_TEXT, "HxW", "images: resize all to this", "(as the first image)"},
    {"skip-bad", 0, OPT_FLAG, NULL, "leave out unreadable samples, with a warning", NULL},
    {"to", 0, OPT_TEXT, "DIR", "get: where to put the files", "(a folder of the set's name)"},
    {"mirror", 0, OPT_TEXT, "URL", "get: look there first", NULL},
    {"count", 'n', OPT_INT, "N", "draw, sheet: how many images", "(draw: 1000, sheet: 60)"},
    {"out", 'o', OPT_TEXT, "FILE", "sheet: the picture to write", "sheet.png"},
};

/* ---- Opening --------------------------------------------------------------------------------------------------------- */

static void print_log(void *user, soma_log_level level, const char *text)
{
    const args *a = user;
    if (level >= SOMA_LOG_WARNING && !arg_flag(a, "quiet"))
        fprintf(stderr, "soma %s: %s: %s\n", a->cmd->name, level == SOMA_LOG_ERROR ? "error" : "warning", text);
}

/* 0 and the set; else the exit code. */
static int open_set(const args *a, const char *path, soma_dataset **out)
{
    soma_data_opts opts = {.size = sizeof opts, .auto_task = true, .skip_bad = arg_flag(a, "skip-bad"), .target = arg_text(a, "target")};
    const char *task = arg_text(a, "task"), *size = arg_text(a, "size");
    opts.part = strcmp(arg_text(a, "part"), "test") ? SOMA_TRAIN : SOMA_TEST;
    if (task) {
        opts.auto_task = false;
        opts.task = strcmp(task, "regress") ? SOMA_CLASSIFY : SOMA_REGRESS;
    }
    if (arg_given(a, "channels")) {
        opts.channels = (int)arg_int(a, "channels");
        if (opts.channels != 1 && opts.channels != 3)
            return usage_error(a, "--channels takes 1 or 3, not %d", opts.channels);
    }
    char rest;
    if (size && (sscanf(size, "%dx%d%c", &opts.height, &opts.width, &rest) != 2 || opts.height < 1 || opts.width < 1))
        return usage_error(a, "--size takes height x width, such as 28x28, not '%s'", size);
    soma_set_log(print_log, (void *)a);
    *out = soma_data_open_ex(path, &opts);
    return *out ? 0 : library_error(a);
}

static int64_t numel_of(const soma_dataset *d)
{
    int64_t n = 1;
    for (int i = 0; i < soma_data_ndim(d); i++)
        n *= soma_data_shape(d)[i];
    return n;
}

static bool is_image(const soma_dataset *d)
{
    const int64_t *shape = soma_data_shape(d);
    return soma_data_ndim(d) == 3 && (shape[0] == 1 || shape[0] == 3);
}

/* ---- Describing ------------------------------------------------------------------------------------------------------ */

typedef struct census {
    int64_t *counts;            /* classification, by class */
    double low, high, mean, std; /* regression */
} census;

static int count_targets(const args *a, const soma_dataset *d, census *c)
{
    int classes = soma_data_classes(d);
    int64_t n = soma_data_count(d), counted = 0;
    double sum = 0, squares = 0;
    *c = (census){.low = INFINITY, .high = -INFINITY, .counts = calloc((size_t)classes + 1, sizeof(int64_t))};
    float *x = malloc((size_t)numel_of(d) * sizeof *x + 1);
    if (!x || !c->counts) {
        free(x);
        return work_error(a, "out of memory");
    }
    for (int64_t i = 0; i < n && soma_data_task(d) != SOMA_UNLABELLED; i++) {
        double y;
        if (soma_data_get(d, i, x, &y)) {
            if (!arg_flag(a, "skip-bad")) {
                free(x);
                return library_error(a);
            }
            soma_error_clear();
            continue;
        }
        if (soma_data_task(d) == SOMA_CLASSIFY && y >= 0 && y < classes)
            c->counts[(int64_t)y]++;
        c->low = fmin(c->low, y);
        c->high = fmax(c->high, y);
        double delta = y - sum / (counted ? (double)counted : 1);
        sum += y;
        counted++;
        squares += counted > 1 ? delta * (y - sum / (double)counted) : 0; /* Welford */
    }
    free(x);
    c->mean = counted ? sum / (double)counted : NAN;
    c->std = counted ? sqrt(squares / (double)counted) : NAN;
    return 0;
}

static void shape_text(const soma_dataset *d, char *out, size_t size)
{
    size_t at = 0;
    *out = 0;
    for (int i = 0; i < soma_data_ndim(d) && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? " x " : "", (long long)soma_data_shape(d)[i]);
}

static void print_classes(const soma_dataset *d, const census *c)
{
    int classes = soma_data_classes(d), widest = 5;
    int64_t most = 1, total = soma_data_count(d);
    for (int i = 0; i < classes; i++) {
        int length = (int)strlen(soma_data_class(d, i));
        widest = length > widest ? length : widest;
        most = c->counts[i] > most ? c->counts[i] : most;
    }
    widest = widest > 32 ? 32 : widest;
    printf("\n  %3s  %-*s %11s\n", "", widest, "class", "samples");
    for (int i = 0; i < classes && i < 100; i++) {
        char n[HUMAN], share[HUMAN];
        printf("  %3d  %-*.*s %11s %8s  ", i, widest, widest, soma_data_class(d, i), human_count(n, c->counts[i]),
               human_percent(share, (double)c->counts[i] / (double)total));
        for (int k = 0; k < (int)(24 * c->counts[i] / most); k++)
            fputs("▪", stdout);
        putchar('\n');
    }
    if (classes > 100)
        printf("  and %d more (--json lists all)\n", classes - 100);
}

/* A class that is many times rarer than another is hardly learnt, and accuracy hides it. */
static void warn_imbalance(const soma_dataset *d, const census *c)
{
    int rare = -1, common = -1;
    for (int i = 0; i < soma_data_classes(d); i++) {
        if (rare < 0 || c->counts[i] < c->counts[rare])
            rare = i;
        if (common < 0 || c->counts[i] > c->counts[common])
            common = i;
    }
    char n[HUMAN];
    if (rare < 0)
        return;
    if (c->counts[rare] == 0)
        printf("\nwarning: class '%s' has no samples\n", soma_data_class(d, rare));
    else if (c->counts[common] >= 5 * c->counts[rare])
        printf("\nwarning: the classes are unbalanced: '%s' has %s samples, %.0f times fewer than '%s'. Judge by F1 and the confusion "
               "matrix rather than by accuracy.\n", soma_data_class(d, rare), human_count(n, c->counts[rare]),
               (double)c->counts[common] / (double)c->counts[rare], soma_data_class(d, common));
}

static void print_stats(const char *label, const double *v, int n)
{
    printf("%s", label);
    for (int i = 0; i < n && i < 8; i++)
        printf(" %.4g", v[i]);
    printf(n > 8 ? " … (%d in all)\n" : "\n", n);
}

static int print_set(const soma_dataset *d, const census *c, const soma_norm_stats *stats)
{
    char shape[128], n[HUMAN];
    shape_text(d, shape, sizeof shape);
    soma_task task = soma_data_task(d);
    printf("%s\n\n", soma_data_describe(d));
    printf("samples   %s", human_count(n, soma_data_count(d)));
    if (soma_data_skipped(d))
        printf(" (%lld unreadable ones left out)", (long long)soma_data_skipped(d));
    printf("\nshape     %s%s\n", shape, is_image(d) ? " (channels, height, width)" : "");
    printf("task      ");
    printf(task == SOMA_CLASSIFY ? "classification, %d classes\n" : task == SOMA_REGRESS ? "regression\n" : "no labels\n", soma_data_classes(d));
    print_stats("mean     ", stats->mean, stats->n);
    print_stats("std      ", stats->std, stats->n);
    if (task == SOMA_REGRESS)
        printf("target    %.6g to %.6g, mean %.6g, std %.6g\n", c->low, c->high, c->mean, c->std);
    if (task == SOMA_CLASSIFY) {
        print_classes(d, c);
        warn_imbalance(d, c);
    }
    return 0;
}

static int json_set(const args *a, const soma_dataset *d, const census *c, const soma_norm_stats *stats)
{
    static const char *const tasks[] = {"classify", "regress", "unlabelled"};
    json_t *shape = json_array(), *mean = json_array(), *std = json_array(), *classes = json_array();
    for (int i = 0; i < soma_data_ndim(d); i++)
        json_array_append_new(shape, json_integer(soma_data_shape(d)[i]));
    for (int i = 0; i < stats->n; i++) {
        json_array_append_new(mean, json_figure(stats->mean[i]));
        json_array_append_new(std, json_figure(stats->std[i]));
    }
    for (int i = 0; i < soma_data_classes(d); i++)
        json_array_append_new(classes, json_pack("{s:s, s:I}", "name", soma_data_class(d, i), "samples", (json_int_t)c->counts[i]));
    json_t *root = json_pack("{s:s, s:I, s:I, s:o, s:s, s:o, s:o, s:o}", "description", soma_data_describe(d), "samples",
                             (json_int_t)soma_data_count(d), "skipped", (json_int_t)soma_data_skipped(d), "shape", shape, "task",
                             tasks[soma_data_task(d)], "mean", mean, "std", std, "classes", classes);
    if (root && soma_data_task(d) == SOMA_REGRESS)
        json_object_set_new(root, "target", json_pack("{s:o, s:o, s:o, s:o}", "min", json_figure(c->low), "max", json_figure(c->high),
                                                      "mean", json_figure(c->mean), "std", json_figure(c->std)));
    return print_json(a, root);
}

static int describe_set(const args *a, const char *path)
{
    soma_dataset *d;
    soma_norm_stats stats = {0};
    census c = {0};
    int code = open_set(a, path, &d);
    if (code)
        return code;
    code = soma_data_stats(d, &stats) ? library_error(a) : count_targets(a, d, &c);
    if (!code)
        code = arg_flag(a, "json") ? json_set(a, d, &c, &stats) : print_set(d, &c, &stats);
    free(c.counts);
    soma_norm_stats_free(&stats);
    soma_data_free(d);
    return code;
}

/* ---- Images of a set -------------------------------------------------------------------------------------------------- */

/* Sample i as pixels, which the caller frees; NULL with the error recorded. */
static uint8_t *read_pixels(const soma_dataset *d, int64_t i, double *y)
{
    const int64_t *shape = soma_data_shape(d);
    float *x = malloc((size_t)numel_of(d) * sizeof *x);
    uint8_t *pixels = malloc((size_t)numel_of(d));
    if (!x || !pixels)
        soma_fail(SOMA_ENOMEM, "no memory for an image");
    if (x && pixels && soma_data_get(d, i, x, y) == SOMA_OK) {
        sheet_pixels(x, (int)shape[0], (int)shape[1], (int)shape[2], pixels);
        free(x);
        return pixels;
    }
    free(x);
    free(pixels);
    return NULL;
}

static int make_sheet(const args *a, const char *path)
{
    soma_dataset *d;
    int code = open_set(a, path, &d);
    if (code)
        return code;
    int64_t n = arg_given(a, "count") ? arg_int(a, "count") : 60;
    n = n > soma_data_count(d) ? soma_data_count(d) : n;
    if (!is_image(d) || n < 1) {
        soma_data_free(d);
        return is_image(d) ? usage_error(a, "--count takes 1 or more") : work_error(a, "%s: no images, so there is no sheet to make", path);
    }
    sheet_item *items = calloc((size_t)n, sizeof *items);
    const int64_t *shape = soma_data_shape(d);
    int64_t step = soma_data_count(d) / n; /* spread over the whole set, which may be sorted by class */
    bool ok = items != NULL;
    for (int64_t k = 0; k < n && ok; k++) {
        double y = -1;
        items[k] = (sheet_item){.pixels = read_pixels(d, k * step, &y), .channels = (int)shape[0], .height = (int)shape[1], .width = (int)shape[2]};
        ok = items[k].pixels != NULL;
        if (soma_data_task(d) == SOMA_CLASSIFY && y >= 0)
            items[k].caption = soma_data_class(d, (int)y);
        items[k].second = soma_data_id(d, k * step);
    }
    char title[300], all[HUMAN];
    snprintf(title, sizeof title, "%.200s: %lld of %s samples", path, (long long)n, human_count(all, soma_data_count(d)));
    soma_status status = ok ? sheet_write(arg_text(a, "out"), title, items, (int)n, 0) : SOMA_ENOMEM;
    if (ok && status == SOMA_EUNSUPPORTED) {
        note(a, "soma data: note: %s", soma_error_message());
        soma_error_clear();
        status = SOMA_OK;
    }
    code = status ? library_error(a) : 0;
    if (!code)
        printf("%s\n", arg_text(a, "out"));
    for (int64_t k = 0; items && k < n; k++)
        free((void *)items[k].pixels);
    free(items);
    soma_data_free(d);
    return code;
}

static int make_folder(const args *a, const char *path)
{
    if (mkdir(path, 0777) && errno != EEXIST)
        return work_error(a, "cannot make the folder %s: %s", path, strerror(errno));
    return 0;
}

static int write_drawn(const args *a, soma_dataset *d, const char *dir)
{
    char path[4200], *csv = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&csv, &size);
    if (!f)
        return work_error(a, "out of memory");
    fputs("id,label\n", f);
    progress bar;
    progress_begin(&bar, arg_flag(a, "quiet"), 10);
    int64_t n = soma_data_count(d);
    int code = 0;
    for (int64_t i = 0; i < n && !code; i++) {
        double y = 0;
        soma_image image = {.width = 28, .height = 28, .channels = 1, .pixels = read_pixels(d, i, &y)};
        snprintf(path, sizeof path, "%s/images/%lld.png", dir, (long long)i + 1);
        if (!image.pixels || soma_image_write_png(path, &image))
            code = library_error(a);
        fprintf(f, "%lld,%s\n", (long long)i + 1, soma_data_class(d, (int)y));
        free(image.pixels);
        progress_show(&bar, (double)i, (double)n, "drawing", "");
    }
    progress_end(&bar);
    bool bad = fclose(f) != 0;
    snprintf(path, sizeof path, "%s/labels.csv", dir);
    if (!code && (bad || soma_write_file(path, csv, size)))
        code = bad ? work_error(a, "out of memory") : library_error(a);
    free(csv);
    if (!code)
        printf("%lld drawn images in %s/images, their names in %s (soma data %s)\n", (long long)n, dir, path, dir);
    return code;
}

static int draw_set(const args *a, const char *dir)
{
    char path[4200];
    int64_t n = arg_given(a, "count") ? arg_int(a, "count") : 1000;
    if (n < 1 || n > 1000000)
        return usage_error(a, "--count takes 1 to 1000000, not %lld", (long long)n);
    snprintf(path, sizeof path, "%s/labels.csv", dir);
    FILE *there = fopen(path, "r");
    if (there) {
        fclose(there);
        return work_error(a, "%s is there already; choose another folder", path);
    }
    int code = make_folder(a, dir);
    snprintf(path, sizeof path, "%s/images", dir);
    if (!code)
        code = make_folder(a, path);
    soma_dataset *d = code ? NULL : soma_data_drawn(n, arg_seed(a, "seed"));
    if (!code)
        code = d ? write_drawn(a, d, dir) : library_error(a);
    soma_data_free(d);
    return code;
}

static int run_data(args *a)
{
    static const struct {
        const char *word;
        int (*run)(const args *a, const char *what);
        const char *missing;
    } verbs[] = {
        {"get", download_set, "which set? Expected fashion-mnist or mnist"},
        {"draw", draw_set, "where to? Expected a folder: soma data draw DIR"},
        {"sheet", make_sheet, "of which set? Expected a path: soma data sheet PATH"},
    };
    if (a->n_rest == 0)
        return usage_error(a, "which data? Expected a path, or get, draw or sheet");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(a->rest[0], verbs[i].word))
            continue;
        if (a->n_rest != 2)
            return a->n_rest < 2 ? usage_error(a, "%s", verbs[i].missing) : usage_error(a, "one argument too many: '%s'", a->rest[2]);
        return verbs[i].run(a, a->rest[1]);
    }
    if (a->n_rest > 1)
        return usage_error(a, "one path at a time; '%s' is too many", a->rest[1]);
    return describe_set(a, a->rest[0]);
}

const command cmd_data = {
    .name = "data",
    .summary = "describe a data set, show its images, download or draw one",
    .usage = "PATH [--part test] [--json]\nsheet PATH [-o FILE] [--count N]\nget fashion-mnist|mnist [--to DIR]\ndraw DIR [--count N]",
    .details = "PATH is whatever soma train takes: a folder with IDX files (.gz or not), with one CSV of id and label and the images, or "
               "with a folder for each class; a .csv table; a .npy array; or drawn:N for N drawn apparel silhouettes. The first form says "
               "what is in it: samples, shape, classes and how many samples each has, mean and standard deviation.\n\n"
               "sheet writes a picture of some of its images with their names. get downloads a well-known set from one of several "
               "mirrors and checks it against known SHA-256 sums. draw writes the drawn set as PNG files and a CSV; --seed gives other ones.",
    .example = "soma data ../data/fashion-mnist\nsoma data sheet ../data/fashion-mnist -o sheet.png --count 40\nsoma data get fashion-mnist\n"
               "soma data draw silhouettes --count 500",
    OPTIONS(data_options),
    .run = run_data,
};
