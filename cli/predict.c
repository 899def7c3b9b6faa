/* soma predict: what a model says of data without labels: a set of any kind, or single images. */
#include "model.h"
#include "options.h"
#include "term.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const option options[] = {
    {"csv", 'o', OPT_TEXT, "FILE", "write the predictions as a CSV of id and label", NULL},
    {"top", 'k', OPT_INT, "N", "classes to name for each sample, likeliest first", "3"},
    {"part", 0, OPT_TEXT, "train|test", "which part, of data that has both", "test"},
    {"batch", 'b', OPT_INT, "N", "samples at once", "256"},
    {"workers", 0, OPT_INT, "N", "threads that prepare batches", "0"},
    {"skip-bad", 0, OPT_FLAG, NULL, "leave out samples that cannot be read", NULL},
};

/* What has been predicted so far. */
typedef struct report {
    const args *a;
    const model *m;
    bool lines;          /* single images: a line each with the likeliest names; else CSV */
    int top;
    int64_t n;
    FILE *csv;           /* in memory; put in its place at the end */
    char *text;
    size_t size;
    json_t *list;        /* --json */
} report;

/* A cell of CSV: in quotes when it needs them (RFC 4180). */
static void put_cell(FILE *f, const char *text)
{
    if (!strpbrk(text, ",\"\r\n") && text[0] != ' ' && (!*text || text[strlen(text) - 1] != ' ')) {
        fputs(text, f);
        return;
    }
    putc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            putc('"', f);
        putc(*text, f);
    }
    putc('"', f);
}

static void put_json(report *r, const char *id, const float *scores, int k, const int64_t *best, int64_t columns)
{
    json_t *top = json_array(), *item;
    for (int i = 0; i < k; i++)
        json_array_append_new(top, json_pack("{s:s, s:o}", "label", model_class(r->m, best[i]), "probability", json_figure(scores[best[i]])));
    if (k > 0) {
        item = json_pack("{s:s?, s:s, s:o}", "id", id, "label", model_class(r->m, best[0]), "top", top);
    } else {
        json_decref(top);
        json_t *values = json_array();
        for (int64_t i = 0; i < columns; i++)
            json_array_append_new(values, json_figure(scores[i]));
        item = json_pack("{s:s?, s:o}", "id", id, "values", values);
    }
    json_array_append_new(r->list, item);
}

static void put_line(const report *r, const char *id, const float *scores, int k, const int64_t *best, int64_t columns)
{
    char share[HUMAN];
    printf("%s:", id);
    for (int i = 0; i < k; i++)
        printf("%s %s %s", i ? "," : "", model_class(r->m, best[i]), human_percent(share, scores[best[i]]));
    for (int64_t i = 0; k == 0 && i < columns; i++)
        printf("%s %.7g", i ? "," : "", (double)scores[i]);
    putchar('\n');
}

static void put_row(report *r, const char *id, const float *scores, int k, const int64_t *best, int64_t columns)
{
    put_cell(r->csv, id);
    if (k > 0) {
        putc(',', r->csv);
        put_cell(r->csv, model_class(r->m, best[0]));
    }
    for (int64_t i = 0; k == 0 && i < columns; i++)
        fprintf(r->csv, ",%.9g", (double)scores[i]);
    putc('\n', r->csv);
}

static void put_sample(report *r, const char *id, const float *scores, int64_t columns)
{
    int64_t best[64];
    int k = r->m->task == SOMA_REGRESS ? 0 : (int)(r->top < columns ? r->top : columns);
    top_scores(scores, columns, k, best);
    if (r->n == 0 && r->csv && k > 0)
        fputs("id,label\n", r->csv);
    if (r->n == 0 && r->csv && k == 0) {
        fputs("id", r->csv);
        for (int64_t i = 0; i < columns; i++) {
            putc(',', r->csv);
            put_cell(r->csv, r->m->reconstruct ? "error" : columns == 1 && r->m->target ? r->m->target : "prediction");
        }
        putc('\n', r->csv);
    }
    r->n++;
    if (r->list)
        put_json(r, id, scores, k, best, columns);
    else if (r->lines)
        put_line(r, id, scores, k, best, columns);
    if (r->csv)
        put_row(r, id, scores, k, best, columns);
}

/* ---- Data sets --------------------------------------------------------------------------------------------------------------- */

static int predict_set(report *r, const char *path)
{
    soma_part part = strcmp(arg_text(r->a, "part"), "train") ? SOMA_TEST : SOMA_TRAIN;
    soma_dataset *d = model_data(r->m, path, part, true, arg_flag(r->a, "skip-bad"));
    soma_loader *loader = d ? model_loader(r->m, d, arg_int(r->a, "batch"), arg_int(r->a, "workers")) : NULL;
    progress bar;
    progress_begin(&bar, arg_flag(r->a, "quiet"), 10);
    for (soma_batch b = {.size = sizeof b}; loader && soma_loader_next(loader, &b);) {
        int64_t columns = 0;
        float *scores = model_scores(r->m, b.x, &columns);
        for (int64_t i = 0; scores && i < b.count; i++)
            put_sample(r, soma_data_id(d, b.samples[i]), scores + i * columns, columns);
        free(scores);
        if (!scores)
            break;
        progress_show(&bar, (double)r->n, (double)soma_data_count(d), "predicting", "");
    }
    progress_end(&bar);
    soma_loader_free(loader);
    soma_data_free(d);
    return soma_error() == SOMA_OK ? 0 : library_error(r->a);
}

/* ---- Single images -------------------------------------------------------------------------------------------------------------- */

/* [1, C, H, W], normalised as the model wants it. */
static soma_tensor *image_input(const model *m, const char *path)
{
    soma_image raw = {0}, image = {0};
    int c = (int)m->shape[0], h = (int)m->shape[1], w = (int)m->shape[2];
    soma_status status = soma_image_read(path, c, &raw);
    if (status == SOMA_OK)
        status = soma_image_resize(&raw, w, h, &image);
    float *x = status == SOMA_OK ? malloc((size_t)c * (size_t)h * (size_t)w * sizeof *x) : NULL;
    for (int k = 0; x && k < c; k++) {
        double mean = m->norm.n ? m->norm.mean[k] : 0, std = m->norm.n && m->norm.std[k] > 0 ? m->norm.std[k] : 1;
        for (int i = 0; i < h * w; i++)
            x[(size_t)k * (size_t)(h * w) + (size_t)i] = (float)((image.pixels[(size_t)i * (size_t)c + (size_t)k] / 255.0 - mean) / std);
    }
    soma_image_free(&raw);
    soma_image_free(&image);
    soma_tensor *t = x ? soma_from_array(x, SOMA_SHAPE(1, c, h, w), SOMA_F32) : NULL;
    free(x);
    return t;
}

static int predict_image(report *r, const char *path)
{
    if (!r->m->image)
        return work_error(r->a, "%s: a single image, but %s takes no images (%s)", path, r->m->path,
                          r->m->ndim ? "rows of numbers" : "its file does not say what it takes");
    soma_scope scope = soma_scope_begin();
    int64_t columns = 0;
    soma_tensor *x = image_input(r->m, path);
    float *scores = x ? model_scores(r->m, x, &columns) : NULL;
    soma_scope_end(scope);
    if (scores)
        put_sample(r, path, scores, columns);
    free(scores);
    if (soma_error() == SOMA_OK)
        return 0;
    if (!arg_flag(r->a, "skip-bad") || soma_error() == SOMA_ENOMEM)
        return library_error(r->a);
    note(r->a, "soma predict: left out: %s", soma_error_message());
    drop_error();
    return 0;
}

/* A file that is no table and no array is a single image; the reader says when it is none. */
static bool single_image(const char *path)
{
    struct stat info;
    size_t n = strlen(path);
    bool table = n > 4 && (!strcmp(path + n - 4, ".csv") || !strcmp(path + n - 4, ".npy"));
    return !table && !stat(path, &info) && S_ISREG(info.st_mode);
}

/* ---- The command ---------------------------------------------------------------------------------------------------------------- */

static int finish(report *r)
{
    const args *a = r->a;
    const char *path = arg_text(a, "csv");
    bool failed = r->csv && (ferror(r->csv) || fflush(r->csv));
    if (failed)
        return work_error(a, "no memory for the predictions");
    if (r->n == 0)
        return work_error(a, "nothing to predict: no sample was readable");
    if (path && soma_write_file(path, r->text, r->size) != SOMA_OK)
        return library_error(a);
    if (path)
        note(a, "%lld predictions in %s", (long long)r->n, path);
    else if (r->csv)
        fwrite(r->text, 1, r->size, stdout);
    if (!r->list)
        return 0;
    json_t *list = r->list;
    r->list = NULL;
    return print_json(a, list);
}

static int predict(const args *a, const model *m)
{
    report r = {.a = a, .m = m, .top = (int)arg_int(a, "top"), .lines = true};
    for (int i = 0; i < a->n_rest; i++)
        r.lines &= single_image(a->rest[i]);
    if (arg_flag(a, "json"))
        r.list = json_array();
    if (arg_text(a, "csv") || (!r.lines && !r.list))
        r.csv = open_memstream(&r.text, &r.size);
    soma_nn_train(m->net, false);
    int code = 0;
    for (int i = 0; i < a->n_rest && !code; i++)
        code = single_image(a->rest[i]) ? predict_image(&r, a->rest[i]) : predict_set(&r, a->rest[i]);
    if (!code)
        code = finish(&r);
    if (r.csv)
        fclose(r.csv);
    free(r.text);
    json_decref(r.list);
    return code;
}

static int run_predict(args *a)
{
    if (a->n_rest < 2)
        return usage_error(a, a->n_rest ? "what to predict? Give a folder, a table, or images after the model"
                                        : "which model? Give a model file or the folder of a run, then the data");
    if (arg_int(a, "top") < 1 || arg_int(a, "top") > 64)
        return usage_error(a, "--top is %lld; it must be from 1 to 64", (long long)arg_int(a, "top"));
    if (arg_int(a, "batch") < 1 || arg_int(a, "workers") < 0 || arg_int(a, "workers") > 256)
        return usage_error(a, "--batch must be at least 1, --workers from 0 to 256");
    session_begin(a);
    model *m = calloc(1, sizeof *m);
    int code = m ? model_open(a, a->rest[0], m) : work_error(a, "no memory");
    if (!code) {
        a->rest++, a->n_rest--;
        code = predict(a, m);
        a->rest--, a->n_rest++;
    }
    if (m)
        model_free(m);
    free(m);
    return code;
}

const command cmd_predict = {
    .name = "predict",
    .summary = "say what a model sees in data or in single images",
    .usage = "MODEL PATH... [options]",
    .details = "MODEL is a model file or the folder of a run; it says itself how to prepare the data. A path is a folder, a table, or "
               "a single PNG or JPEG. A folder with a CSV of ids gives a CSV of the same form, in the same order. Single images give a "
               "line each with the likeliest names.",
    .example = "soma predict runs/a test --csv out.csv\nsoma predict runs/a/model.safetensors shoe.jpg --top 3",
    OPTIONS(options),
    .run = run_predict,
};
