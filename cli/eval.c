/* soma eval: how good a model is on labelled data. */
#include "model.h"
#include "options.h"
#include "plots.h"
#include "term.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const option options[] = {
    {"data", 'd', OPT_TEXT, "PATH", "labelled data", NULL},
    {"part", 0, OPT_TEXT, "train|test", "which part, of data that has both", "test"},
    {"batch", 'b', OPT_INT, "N", "samples at once", "256"},
    {"workers", 0, OPT_INT, "N", "threads that prepare batches", "0"},
    {"skip-bad", 0, OPT_FLAG, NULL, "leave out samples that cannot be read", NULL},
    {"plots", 'p', OPT_TEXT, "DIR", "draw the confusion matrix and a sheet of samples into this folder", NULL},
    {"count", 'c', OPT_INT, "N", "samples on the sheet", "40"},
};

/* ---- The sheet: the first samples, with what the model says and what they are --------------------------------------------- */

typedef struct sheet {
    int n;
    uint8_t *pixels;
    float *x;
    sheet_item *items;
    char (*captions)[2][64];
} sheet;

static void sheet_free(sheet *s)
{
    free(s->pixels);
    free(s->x);
    free(s->items);
    free(s->captions);
}

static soma_status sheet_item_of(sheet *s, const model *m, const soma_dataset *d, int i, int64_t called)
{
    const int64_t *shape = soma_data_shape(d);
    size_t size = (size_t)(shape[0] * shape[1] * shape[2]);
    double truth = 0;
    soma_status status = soma_data_get(d, i, s->x, &truth);
    if (status != SOMA_OK)
        return status;
    bool right = called == (int64_t)truth;
    sheet_pixels(s->x, (int)shape[0], (int)shape[1], (int)shape[2], s->pixels + (size_t)i * size);
    snprintf(s->captions[i][0], sizeof s->captions[i][0], "%s", model_class(m, called));
    snprintf(s->captions[i][1], sizeof s->captions[i][1], "%s%s", right ? "" : "is ", right ? "" : model_class(m, (int64_t)truth));
    s->items[i] = (sheet_item){.pixels = s->pixels + (size_t)i * size, .width = (int)shape[2], .height = (int)shape[1],
                               .channels = (int)shape[0], .caption = s->captions[i][0], .second = right ? NULL : s->captions[i][1],
                               .mark = right ? SHEET_RIGHT : SHEET_WRONG};
    s->n++;
    return SOMA_OK;
}

static soma_status fill_sheet(sheet *s, const model *m, soma_dataset *d, int count)
{
    const int64_t *shape = soma_data_shape(d);
    size_t size = (size_t)(shape[0] * shape[1] * shape[2]);
    s->pixels = malloc(size * (size_t)count);
    s->x = malloc(size * sizeof *s->x);
    s->items = calloc((size_t)count, sizeof *s->items);
    s->captions = calloc((size_t)count, sizeof *s->captions);
    if (!s->pixels || !s->x || !s->items || !s->captions)
        return soma_fail(SOMA_ENOMEM, "no memory for a sheet of %d images", count);
    soma_loader *loader = model_loader(m, d, 64, 0);
    for (soma_batch b = {.size = sizeof b}; s->n < count && soma_loader_next(loader, &b);) {
        int64_t columns = 0, called = 0;
        float *scores = model_scores(m, b.x, &columns);
        for (int64_t i = 0; scores && i < b.count && s->n < count && soma_error() == SOMA_OK; i++) {
            top_scores(scores + i * columns, columns, 1, &called);
            sheet_item_of(s, m, d, s->n, called);
        }
        free(scores);
    }
    soma_loader_free(loader);
    return soma_error();
}

static soma_status draw_sheet(const args *a, const model *m, soma_dataset *d, const char *path)
{
    sheet s = {0};
    int64_t count = arg_int(a, "count");
    if (count > soma_data_count(d))
        count = soma_data_count(d);
    soma_status status = fill_sheet(&s, m, d, (int)count);
    if (status == SOMA_OK)
        status = sheet_write(path, "predictions (wrong ones framed, with their true name)", s.items, s.n, 0);
    sheet_free(&s);
    return status;
}

/* An autoencoder's: each sample, and beside it what came back, with its error. */
static soma_status fill_pairs(sheet *s, const model *m, soma_dataset *d, int count)
{
    const int64_t *shape = soma_data_shape(d);
    int64_t numbers = shape[0] * shape[1] * shape[2];
    s->pixels = malloc((size_t)numbers * (size_t)count * 2);
    s->x = malloc((size_t)numbers * sizeof *s->x);
    s->items = calloc((size_t)count * 2, sizeof *s->items);
    s->captions = calloc((size_t)count, sizeof *s->captions);
    if (!s->pixels || !s->x || !s->items || !s->captions)
        return soma_fail(SOMA_ENOMEM, "no memory for a sheet of %d images", count);
    bool grad = soma_set_grad_enabled(false);
    soma_loader *loader = model_loader(m, d, 64, 0);
    for (soma_batch b = {.size = sizeof b}; s->n < 2 * count && soma_loader_next(loader, &b);) {
        soma_tensor *back = soma_nn_forward(m->net, b.x);
        for (int64_t i = 0; back && i < b.count && s->n < 2 * count; i++) {
            double error = 0;
            for (int k = 0; k < 2; k++, s->n++) {
                uint8_t *pixels = s->pixels + (size_t)s->n * (size_t)numbers;
                soma_tensor *one = soma_contiguous(soma_select(k ? back : b.x, 0, i));
                if (soma_to_array(one, s->x, numbers, SOMA_F32) != SOMA_OK)
                    break;
                sheet_pixels(s->x, (int)shape[0], (int)shape[1], (int)shape[2], pixels);
                s->items[s->n] = (sheet_item){.pixels = pixels, .width = (int)shape[2], .height = (int)shape[1], .channels = (int)shape[0]};
            }
            error = soma_item(soma_mean(soma_square(soma_sub(soma_select(back, 0, i), soma_select(b.x, 0, i))), SOMA_ALL, false));
            snprintf(s->captions[s->n / 2 - 1][0], sizeof s->captions[0][0], "error %.4f", error);
            s->items[s->n - 1].caption = s->captions[s->n / 2 - 1][0];
        }
    }
    soma_loader_free(loader);
    soma_set_grad_enabled(grad);
    return soma_error();
}

static soma_status draw_pairs(const args *a, const model *m, soma_dataset *d, const char *path)
{
    sheet s = {0};
    int64_t count = arg_int(a, "count");
    if (count > soma_data_count(d))
        count = soma_data_count(d);
    soma_status status = fill_pairs(&s, m, d, (int)count);
    if (status == SOMA_OK)
        status = sheet_write(path, "samples, and what the network gives back", s.items, s.n, 10);
    sheet_free(&s);
    return status;
}

/* Plots are an extra: want of gnuplot is a note, anything else an error. */
static int check_plot(const args *a, soma_status status, const char *path)
{
    if (status == SOMA_EUNSUPPORTED) {
        note(a, "%s", soma_error_message());
        drop_error();
    } else if (status != SOMA_OK) {
        return library_error(a);
    }
    if (!arg_flag(a, "json") && (status == SOMA_OK || strstr(path, "samples")))
        printf("drawn        %s\n", path);
    return 0;
}

static int draw(const args *a, const model *m, soma_dataset *d, const soma_metrics *r)
{
    const char *dir = arg_text(a, "plots");
    char path[4096 + 32];
    if (!dir)
        return 0;
    if (mkdir(dir, 0777) && errno != EEXIST)
        return work_error(a, "%s: cannot make the folder: %s", dir, strerror(errno));
    if (m->reconstruct && soma_data_ndim(d) == 3 && arg_int(a, "count") > 0) {
        snprintf(path, sizeof path, "%s/samples.png", dir);
        return check_plot(a, draw_pairs(a, m, d, path), path);
    }
    if (r->task != SOMA_CLASSIFY)
        return 0;
    const char **names = calloc((size_t)r->classes + 1, sizeof *names);
    for (int i = 0; names && i < r->classes; i++)
        names[i] = soma_data_class(d, i);
    snprintf(path, sizeof path, "%s/confusion.png", dir);
    int code = check_plot(a, names ? plot_confusion(dir, soma_data_describe(d), r->confusion, r->classes, names) : SOMA_ENOMEM, path);
    free(names);
    if (code || soma_data_ndim(d) != 3 || arg_int(a, "count") < 1)
        return code;
    snprintf(path, sizeof path, "%s/samples.png", dir);
    return check_plot(a, draw_sheet(a, m, d, path), path);
}

/* ---- Results --------------------------------------------------------------------------------------------------------------- */

static int64_t samples_of(const soma_metrics *r, int c)
{
    int64_t n = 0;
    for (int p = 0; p < r->classes; p++)
        n += r->confusion[(int64_t)c * r->classes + p];
    return n;
}

static int print_classes_json(const args *a, const model *m, const soma_metrics *r)
{
    json_t *classes = json_array(), *confusion = json_array();
    for (int c = 0; c < r->classes; c++) {
        json_t *row = json_array();
        for (int p = 0; p < r->classes; p++)
            json_array_append_new(row, json_integer(r->confusion[(int64_t)c * r->classes + p]));
        json_array_append_new(confusion, row);
        json_array_append_new(classes, json_pack("{s:s, s:I, s:o, s:o, s:o}", "name", model_class(m, c), "samples",
                                                 (json_int_t)samples_of(r, c), "precision", json_figure(r->precision[c]), "recall",
                                                 json_figure(r->recall[c]), "f1", json_figure(r->f1[c])));
    }
    return print_json(a, json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "samples", (json_int_t)r->count, "loss",
                                   json_figure(r->loss), "accuracy", json_figure(r->accuracy), "top5", json_figure(r->top5),
                                   "macro_precision", json_figure(r->macro_precision), "macro_recall", json_figure(r->macro_recall),
                                   "macro_f1", json_figure(r->macro_f1), "classes", classes, "confusion", confusion));
}

static void print_classes(const model *m, const soma_metrics *r)
{
    int width = (int)strlen("macro average");
    char p[HUMAN], q[HUMAN], f[HUMAN], n[HUMAN];
    for (int c = 0; c < r->classes; c++) {
        int length = (int)strlen(model_class(m, c));
        width = length > width && length <= 40 ? length : width;
    }
    printf("\n%-*s  precision  recall      F1  samples\n", width, "class");
    for (int c = 0; c < r->classes; c++)
        printf("%-*s  %9s %7s %7s  %7s\n", width, model_class(m, c), human_percent(p, r->precision[c]), human_percent(q, r->recall[c]),
               human_percent(f, r->f1[c]), human_count(n, samples_of(r, c)));
    printf("%-*s  %9s %7s %7s  %7s\n\n", width, "macro average", human_percent(p, r->macro_precision),
           human_percent(q, r->macro_recall), human_percent(f, r->macro_f1), human_count(n, r->count));
}

static void print_text(const model *m, const soma_dataset *d, const soma_metrics *r)
{
    char n[HUMAN], t[HUMAN];
    printf("data         %s\nsamples      %s\nloss         %.4f\n", soma_data_describe(d), human_count(n, r->count), r->loss);
    if (r->task == SOMA_REGRESS) {
        printf("MAE          %.6g\nRMSE         %.6g\nR²           %.4f\n", r->mae, r->rmse, r->r2);
        return;
    }
    printf("accuracy     %s\n", human_percent(n, r->accuracy));
    if (r->classes > 5)
        printf("top 5        %s\n", human_percent(t, r->top5));
    print_classes(m, r);
    const char **names = calloc((size_t)r->classes + 1, sizeof *names);
    for (int i = 0; names && i < r->classes; i++)
        names[i] = soma_data_class(d, i);
    if (names && r->classes <= 40)
        print_confusion(stdout, r->confusion, r->classes, names);
    free(names);
}

static int evaluate(const args *a, const model *m, soma_dataset *d)
{
    if (soma_data_task(d) == SOMA_UNLABELLED && !m->reconstruct)
        return work_error(a, "%s: has no labels to compare with; soma predict needs none", arg_text(a, "data"));
    soma_loader *loader = model_loader(m, d, arg_int(a, "batch"), arg_int(a, "workers"));
    soma_metrics r = {0};
    if (!loader || soma_evaluate(m->net, loader, m->loss, (void *)&m->loss_opts, &r) != SOMA_OK) {
        soma_loader_free(loader);
        return library_error(a);
    }
    soma_loader_free(loader);
    int code = 0;
    if (!arg_flag(a, "json"))
        print_text(m, d, &r);
    else if (r.task == SOMA_REGRESS)
        code = print_json(a, json_pack("{s:I, s:o, s:o, s:o, s:o}", "samples", (json_int_t)r.count, "loss", json_figure(r.loss), "mae",
                                       json_figure(r.mae), "rmse", json_figure(r.rmse), "r2", json_figure(r.r2)));
    else
        code = print_classes_json(a, m, &r);
    if (!code)
        code = draw(a, m, d, &r);
    soma_metrics_free(&r);
    return code;
}

static int run_eval(args *a)
{
    if (a->n_rest != 1)
        return usage_error(a, a->n_rest ? "one model at a time" : "which model? Give a model file or the folder of a run");
    if (!arg_text(a, "data"))
        return usage_error(a, "--data is missing: the labelled data to try the model on");
    if (arg_int(a, "batch") < 1 || arg_int(a, "workers") < 0 || arg_int(a, "workers") > 256 || arg_int(a, "count") < 0 ||
        arg_int(a, "count") > 10000)
        return usage_error(a, "--batch must be at least 1, --workers from 0 to 256, --count from 0 to 10000");
    session_begin(a);
    model *m = calloc(1, sizeof *m);
    int code = m ? model_open(a, a->rest[0], m) : work_error(a, "no memory");
    soma_dataset *d = NULL;
    if (!code) {
        soma_part part = strcmp(arg_text(a, "part"), "train") ? SOMA_TEST : SOMA_TRAIN;
        d = model_data(m, arg_text(a, "data"), part, false, arg_flag(a, "skip-bad"));
        code = d ? evaluate(a, m, d) : library_error(a);
    }
    soma_data_free(d);
    if (m)
        model_free(m);
    free(m);
    return code;
}

const command cmd_eval = {
    .name = "eval",
    .summary = "measure how good a model is on labelled data",
    .usage = "MODEL --data PATH [options]",
    .details = "MODEL is a model file or the folder of a run. Classification: loss, accuracy, precision, recall and F1 of each class, and "
               "the confusion matrix; regression: loss, MAE, RMSE and R².",
    .example = "soma eval runs/a --data fashion-mnist\nsoma eval runs/a/model.safetensors --data houses.csv --json",
    OPTIONS(options),
    .run = run_eval,
};
