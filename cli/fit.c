/* soma fit: classical models on a table. The linear ones become model files that eval, predict and summary take. */
#include "model.h"
#include "options.h"
#include "term.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const option options[] = {
    {"data", 'd', OPT_TEXT, "PATH", "a table in CSV, or any data of soma train", NULL},
    {"target", 0, OPT_TEXT, "COLUMN", "the column to predict; kmeans, pca: one to leave out", "(the last; kmeans, pca: none)"},
    {"alpha", 0, OPT_NUMBER, "A", "ridge, lasso, elasticnet: strength of the penalty", "1"},
    {"l1-ratio", 0, OPT_NUMBER, "R", "elasticnet: share of L1, above 0 up to 1", "0.5"},
    {"c", 0, OPT_NUMBER, "C", "logistic, svm: inverse strength of the penalty", "1"},
    {"k", 'k', OPT_INT, "N", "kmeans: clusters; pca: components, 0 for all", "(kmeans 8, pca 0)"},
    {"no-intercept", 0, OPT_FLAG, NULL, "through the origin", NULL},
    {"normalise", 0, OPT_FLAG, NULL, "scale features to mean 0 and deviation 1 first", NULL},
    {"val", 0, OPT_NUMBER, "FRACTION", "share of the data that is kept to measure the model on", "0.2"},
    {"out", 'o', OPT_TEXT, "FILE", "write the model to this file (.safetensors)", NULL},
    {"csv", 0, OPT_TEXT, "FILE", "kmeans, pca: write the cluster or the components of each row", NULL},
};

typedef struct table {
    soma_dataset *d;         /* owned by whoever opened it */
    soma_tensor *x, *y;      /* f64 [n, p]; y [n]: i64 classes or f64 */
    int64_t n, p;
} table;

typedef struct job {
    const args *a;
    const char *kind, *path, *target;
    soma_dataset *all, *train, *test;
    soma_norm_stats norm;
    table fit, check;
    json_t *names;           /* of the columns; NULL: no table with names */
    char *found;             /* the target's name */
    soma_module *net;
    soma_classic_report report;
} job;

static bool without_target(const job *j) { return !strcmp(j->kind, "kmeans") || !strcmp(j->kind, "pca"); }
static bool classifies(const job *j) { return !strcmp(j->kind, "logistic") || !strcmp(j->kind, "svm"); }

/* All samples as one matrix, normalised when asked for. */
static int load(const job *j, soma_dataset *d, table *t)
{
    const args *a = j->a;
    *t = (table){.d = d, .n = soma_data_count(d), .p = 1};
    for (int i = 0; i < soma_data_ndim(d); i++)
        t->p *= soma_data_shape(d)[i];
    if (t->n > INT64_MAX / 16 / t->p || t->n * t->p > INT64_C(1) << 31)
        return work_error(a, "%s: %lld samples of %lld numbers are too many to fit at once", j->path, (long long)t->n, (long long)t->p);
    bool classes = soma_data_task(d) == SOMA_CLASSIFY;
    t->x = soma_empty(SOMA_SHAPE(t->n, t->p), SOMA_F64);
    t->y = soma_empty(SOMA_SHAPE(t->n), classes ? SOMA_I64 : SOMA_F64);
    float *row = malloc((size_t)t->p * sizeof *row);
    for (int64_t i = 0; t->x && t->y && row && i < t->n; i++) {
        double y = 0;
        if (soma_data_get(d, i, row, &y) != SOMA_OK)
            break;
        for (int64_t k = 0; k < t->p; k++) {
            int64_t channel = j->norm.n > 0 ? k / (t->p / j->norm.n) : 0;
            ((double *)soma_data(t->x))[i * t->p + k] = j->norm.n > 0 ? (row[k] - j->norm.mean[channel]) / j->norm.std[channel] : row[k];
        }
        if (classes)
            ((int64_t *)soma_data(t->y))[i] = (int64_t)y;
        else
            ((double *)soma_data(t->y))[i] = y;
    }
    bool short_of_memory = !row;
    free(row);
    if (short_of_memory)
        return work_error(a, "no memory for %lld features", (long long)t->p);
    return soma_error() == SOMA_OK ? 0 : library_error(a);
}

static int open_table(job *j)
{
    const args *a = j->a;
    soma_data_opts o = {.target = j->target, .part = SOMA_TRAIN, .size = sizeof o};
    o.auto_task = without_target(j) && j->target; /* the column is only left out */
    o.task = without_target(j) && !j->target ? SOMA_UNLABELLED : classifies(j) ? SOMA_CLASSIFY : SOMA_REGRESS;
    j->all = soma_data_open_ex(j->path, &o);
    if (!j->all) {
        bool text = strstr(soma_error_message(), "is not a finite number") != NULL;
        int code = library_error(a);
        if (text && without_target(j) && !j->target)
            note(a, "a column that is not to count is left out with --target COLUMN");
        else if (text && !without_target(j) && !classifies(j))
            note(a, "%s predicts a number; classes are for logistic and svm", j->kind);
        return code;
    }
    if (classifies(j) && soma_data_classes(j->all) > 20 && soma_data_classes(j->all) > soma_data_count(j->all) / 4)
        note(a, "%d classes of %lld samples: is the target a number? Then linear, ridge, lasso or elasticnet", soma_data_classes(j->all),
             (long long)soma_data_count(j->all));
    if (classifies(j) && soma_data_task(j->all) != SOMA_CLASSIFY)
        return work_error(a, "%s: %s needs classes as its target, and these are numbers", j->path, j->kind);
    if (!without_target(j) && !classifies(j) && soma_data_task(j->all) != SOMA_REGRESS)
        return work_error(a, "%s: %s needs numbers as its target, and these are classes", j->path, j->kind);
    double share = arg_number(a, "val");
    if (!without_target(j) && share > 0) {
        if (soma_data_split(j->all, share, arg_seed(a, "seed"), false, &j->train, &j->test) != SOMA_OK)
            return library_error(a);
    }
    soma_dataset *d = j->train ? j->train : j->all;
    if (arg_flag(a, "normalise") && soma_data_stats(d, &j->norm) != SOMA_OK)
        return library_error(a);
    j->names = table_names(j->path, without_target(j) && !j->target ? "" : j->target, &j->found);
    int code = load(j, d, &j->fit);
    return !code && j->test ? load(j, j->test, &j->check) : code;
}

/* ---- Linear models ------------------------------------------------------------------------------------------------------ */

static void fit_linear(job *j)
{
    const args *a = j->a;
    double alpha = arg_number(a, "alpha"), c = arg_number(a, "c");
    soma_classic_opts o = {.alpha = alpha > 0 ? alpha : -1, .l1_ratio = arg_number(a, "l1-ratio"), .c = c,
                           .no_intercept = arg_flag(a, "no-intercept"), .size = sizeof o};
    static const struct {
        const char *kind;
        soma_module *(*fit)(soma_tensor *, soma_tensor *, const soma_classic_opts *, soma_classic_report *);
    } models[] = {
        {"linear", soma_linear_regression_ex}, {"ridge", soma_ridge_ex}, {"lasso", soma_lasso_ex}, {"elasticnet", soma_elastic_net_ex},
        {"logistic", soma_logistic_regression_ex}, {"svm", soma_linear_svm_ex},
    };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (!strcmp(models[i].kind, j->kind))
            j->net = models[i].fit(j->fit.x, j->fit.y, &o, &j->report);
}

/* Accuracy, or R². */
static double score(const job *j, const table *t)
{
    soma_metrics r = {0};
    double *out = malloc((size_t)t->n * sizeof *out), value = NAN;
    soma_tensor *y = soma_nn_forward(j->net, t->x);
    if (classifies(j) && y) {
        int64_t outputs = soma_size(y, 1);
        y = outputs == 1 ? soma_to(soma_gt(soma_select(y, 1, 0), soma_scalar(0)), SOMA_I64) : soma_argmax(y, 1, false);
        int classes = soma_data_classes(t->d);
        if (y && soma_metrics_classes(soma_data(t->y), soma_data(y), t->n, classes, &r) == SOMA_OK)
            value = r.accuracy;
    } else if (y && out && soma_to_array(y, out, t->n, SOMA_F64) == SOMA_OK &&
               soma_metrics_values(soma_data(t->y), out, t->n, &r) == SOMA_OK) {
        value = r.r2;
    }
    soma_metrics_free(&r);
    free(out);
    return value;
}

static const char *feature(const job *j, int64_t i, char *room, size_t size)
{
    const char *name = j->names ? json_string_value(json_array_get(j->names, (size_t)i)) : NULL;
    if (!name)
        snprintf(room, size, "x%lld", (long long)i);
    return name ? name : room;
}

/* The weights: all of them in JSON; on the screen those of few outputs, the largest first would hide the order of the columns. */
static void print_weights(const job *j)
{
    soma_tensor *w = soma_nn_get(j->net, "weight");
    int64_t outputs = soma_size(w, 0), p = soma_size(w, 1);
    char room[32];
    if (outputs > 8 || p > 64) {
        printf("weights      %lld x %lld\n", (long long)outputs, (long long)p);
        return;
    }
    printf(outputs > 1 ? "\n%-24s" : "\n%s", outputs > 1 ? "weights by class" : "weights");
    for (int64_t k = 0; outputs > 1 && k < outputs; k++)
        printf(" %11.11s", soma_data_class(j->fit.d, (int)k));
    printf("\n");
    for (int64_t i = 0; i < p; i++) {
        printf("%-24.24s", feature(j, i, room, sizeof room));
        for (int64_t k = 0; k < outputs; k++)
            printf(" %11.5g", soma_at(w, 2, (int64_t[]){k, i}));
        printf("\n");
    }
    soma_tensor *b = arg_flag(j->a, "no-intercept") ? NULL : soma_nn_get(j->net, "bias");
    printf("%-24s", b ? "(intercept)" : "");
    for (int64_t k = 0; b && k < outputs; k++)
        printf(" %11.5g", soma_at(b, 1, (int64_t[]){k}));
    printf("\n");
}

static json_t *tensor_json(soma_tensor *t)
{
    soma_tensor *dense = soma_contiguous(soma_to(t, SOMA_F64));
    json_t *list = json_array();
    int64_t rows = soma_ndim(t) == 2 ? soma_size(t, 0) : 1, columns = rows ? soma_numel(t) / rows : 0;
    for (int64_t i = 0; dense && i < rows; i++) {
        json_t *row = soma_ndim(t) == 2 ? json_array() : list;
        for (int64_t k = 0; k < columns; k++)
            json_array_append_new(row, json_figure(((double *)soma_data(dense))[i * columns + k]));
        if (row != list)
            json_array_append_new(list, row);
    }
    return list;
}

static int save(job *j)
{
    const char *out = arg_text(j->a, "out"), *loss = !strcmp(j->kind, "svm") ? (soma_data_classes(j->fit.d) == 2 ? "hinge" : "multi_margin")
                                                     : classifies(j)         ? (soma_data_classes(j->fit.d) == 2 ? "bce_with_logits" : "cross_entropy")
                                                                             : "mse";
    if (!out)
        return 0;
    json_t *keep = json_array();
    soma_pair pairs[MODEL_PAIRS];
    int n = model_pairs(j->fit.d, NULL, &j->norm, loss, j->found, j->names, keep, pairs);
    soma_module *net = soma_nn_seq(soma_nn_flatten(), j->net); /* images and rows alike; it owns the model now */
    j->net = net ? soma_nn_child(net, 1, NULL) : NULL;
    soma_nn_to(net, SOMA_F32);
    soma_status status = n < 0 ? SOMA_ENOMEM : soma_nn_save_meta(net, out, pairs, n);
    soma_nn_free(net);
    j->net = NULL;
    json_decref(keep);
    if (status != SOMA_OK)
        return library_error(j->a);
    if (!arg_flag(j->a, "json"))
        printf("written      %s\n", out);
    return 0;
}

static int report_linear(job *j)
{
    double fitted = score(j, &j->fit), checked = j->test ? score(j, &j->check) : NAN;
    const char *what = classifies(j) ? "accuracy" : "R2";
    soma_tensor *w = soma_nn_get(j->net, "weight");
    if (soma_error() != SOMA_OK)
        return library_error(j->a);
    if (arg_flag(j->a, "json"))
        return print_json(j->a, json_pack("{s:s, s:I, s:I, s:b, s:I, s:o, s:o, s:o, s:I, s:o, s:o}", "model", j->kind, "samples", (json_int_t)j->fit.n,
                                          "features", (json_int_t)j->fit.p, "converged", (int)j->report.converged, "iterations",
                                          (json_int_t)j->report.iterations, "objective", json_figure(j->report.objective), what, json_figure(fitted),
                                          classifies(j) ? "val_accuracy" : "val_R2", json_figure(checked), "zero_weights", (json_int_t)j->report.zeros,
                                          "weight", tensor_json(w), "bias",
                                          arg_flag(j->a, "no-intercept") ? json_null() : tensor_json(soma_nn_get(j->net, "bias"))));
    char n[HUMAN], v[HUMAN];
    printf("model        %s\ndata         %s\nfitted to    %s samples of %lld features\n", j->kind, soma_data_describe(j->all), human_count(n, j->fit.n),
           (long long)j->fit.p);
    printf("objective    %.6g%s%s\n", j->report.objective, j->report.converged ? "" : "  (not converged: the numbers below are approximate",
           j->report.converged ? "" : j->norm.n ? ")" : "; --normalise helps)");
    printf("%s %s on the data fitted", classifies(j) ? "accuracy    " : "R²          ", classifies(j) ? human_percent(v, fitted) : (snprintf(v, sizeof v, "%.4f", fitted), v));
    if (j->test)
        printf(", %s on %s samples kept aside", classifies(j) ? human_percent(v, checked) : (snprintf(v, sizeof v, "%.4f", checked), v),
               human_count(n, j->check.n));
    printf("\nzeros        %lld of %lld weights\n", (long long)j->report.zeros, (long long)soma_numel(w));
    print_weights(j);
    return 0;
}

/* ---- k-means and principal components ----------------------------------------------------------------------------------------- */

/* A line a sample: its id and the numbers of its row in `t` [n] or [n, k]. */
static int write_rows(const job *j, soma_tensor *t, const char *column)
{
    const char *path = arg_text(j->a, "csv");
    if (!path)
        return 0;
    int64_t columns = soma_ndim(t) == 2 ? soma_size(t, 1) : 1;
    soma_tensor *dense = soma_contiguous(soma_to(t, SOMA_F64));
    const double *v = dense ? soma_data(dense) : NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *f = v ? open_memstream(&text, &size) : NULL;
    if (!f)
        return work_error(j->a, "no memory for %s", path);
    fprintf(f, "id");
    for (int64_t k = 0; k < columns; k++)
        fprintf(f, soma_ndim(t) == 2 ? ",%s%lld" : ",%s", column, (long long)k + 1);
    for (int64_t i = 0; i < j->fit.n; i++) {
        fprintf(f, "\n%s", soma_data_id(j->fit.d, i));
        for (int64_t k = 0; k < columns; k++)
            fprintf(f, ",%.9g", v[i * columns + k]);
    }
    fprintf(f, "\n");
    bool bad = fclose(f) != 0;
    soma_status status = bad ? SOMA_ENOMEM : soma_write_file(path, text, size);
    free(text);
    if (status != SOMA_OK)
        return library_error(j->a);
    if (!arg_flag(j->a, "json"))
        printf("written      %s\n", path);
    return 0;
}

static int cluster(job *j)
{
    const args *a = j->a;
    soma_kmeans_result r = {.size = sizeof r};
    int64_t k = arg_given(a, "k") ? arg_int(a, "k") : 8;
    char n[HUMAN], room[32];
    if (soma_kmeans(j->fit.x, k, &r) != SOMA_OK)
        return library_error(a);
    int64_t *count = calloc((size_t)k, sizeof *count);
    for (int64_t i = 0; count && i < j->fit.n; i++)
        count[((int64_t *)soma_data(r.labels))[i]]++;
    if (!count)
        return work_error(a, "no memory");
    int code = 0;
    if (arg_flag(a, "json")) {
        json_t *counts = json_array();
        for (int64_t i = 0; i < k; i++)
            json_array_append_new(counts, json_integer(count[i]));
        code = print_json(a, json_pack("{s:s, s:I, s:o, s:I, s:o, s:o}", "model", "kmeans", "samples", (json_int_t)j->fit.n, "inertia", json_figure(r.inertia),
                                       "iterations", (json_int_t)r.iterations, "counts", counts, "centers", tensor_json(r.centers)));
    } else {
        printf("model        kmeans\ndata         %s\ninertia      %.6g (sum of squared distances to the centres)\n\ncluster  samples   centre\n", soma_data_describe(j->all), r.inertia);
        for (int64_t i = 0; i < k; i++) {
            printf("%7lld %8s  ", (long long)i, human_count(n, count[i]));
            for (int64_t c = 0; c < j->fit.p && c < 6; c++)
                printf(" %s %.4g", feature(j, c, room, sizeof room), soma_at(r.centers, 2, (int64_t[]){i, c}));
            printf(j->fit.p > 6 ? " …\n" : "\n");
        }
    }
    free(count);
    return code ? code : write_rows(j, r.labels, "cluster");
}

static int components(job *j)
{
    const args *a = j->a;
    soma_pca_result r = {.size = sizeof r};
    if (soma_pca(j->fit.x, arg_given(a, "k") ? arg_int(a, "k") : 0, &r) != SOMA_OK)
        return library_error(a);
    int64_t k = soma_numel(r.variance);
    char room[32];
    int code = 0;
    if (arg_flag(a, "json")) {
        code = print_json(a, json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "model", "pca", "samples", (json_int_t)j->fit.n, "variance", tensor_json(r.variance),
                                       "ratio", tensor_json(r.ratio), "mean", tensor_json(r.mean), "components", tensor_json(r.components)));
    } else {
        printf("model        pca\ndata         %s\n\ncomponent   variance   share   in all   largest weights\n", soma_data_describe(j->all));
        double sum = 0;
        for (int64_t i = 0; i < k && i < 32; i++) {
            double share = soma_at(r.ratio, 1, &i);
            sum += share;
            printf("%9lld %10.4g %6.1f%% %7.1f%%  ", (long long)i + 1, soma_at(r.variance, 1, &i), 100 * share, 100 * sum);
            soma_tensor *top, *at;
            if (soma_topk(soma_abs(soma_select(r.components, 0, i)), j->fit.p < 3 ? j->fit.p : 3, 0, &top, &at) == SOMA_OK)
                for (int64_t c = 0; c < soma_numel(at); c++) {
                    int64_t place = ((int64_t *)soma_data(at))[c];
                    printf(" %s %.2f", feature(j, place, room, sizeof room), soma_at(r.components, 2, (int64_t[]){i, place}));
                }
            printf("\n");
        }
        if (k > 32)
            printf("and %lld more\n", (long long)k - 32);
    }
    soma_module *projection = soma_pca_module(&r);
    if (!code)
        code = soma_error() == SOMA_OK ? write_rows(j, soma_nn_forward(projection, j->fit.x), "pc") : library_error(a);
    soma_nn_free(projection);
    return code;
}

/* ---- The command ---------------------------------------------------------------------------------------------------------------- */

static int run_job(job *j)
{
    int code = open_table(j);
    if (code)
        return code;
    if (!strcmp(j->kind, "kmeans"))
        return cluster(j);
    if (!strcmp(j->kind, "pca"))
        return components(j);
    fit_linear(j);
    if (!j->net)
        return library_error(j->a);
    code = report_linear(j);
    return code ? code : save(j);
}

static const char *const kinds[] = {"linear", "ridge", "lasso", "elasticnet", "logistic", "svm", "kmeans", "pca"};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* Options that the model does not have. */
static int check_idle(const job *j)
{
    static const struct {
        const char *option, *models;
    } owners[] = {{"alpha", "ridge, lasso and elasticnet"}, {"l1-ratio", "elasticnet"}, {"c", "logistic and svm"}, {"k", "kmeans and pca"}, {"csv", "kmeans and pca"}};
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++)
        if (arg_given(j->a, owners[i].option) && !strstr(owners[i].models, j->kind))
            return usage_error(j->a, "--%s is for %s, not for %s", owners[i].option, owners[i].models, j->kind);
    return 0;
}

static int run_fit(args *a)
{
    if (a->n_rest != 1)
        return usage_error(a, a->n_rest ? "one model at a time" : "which model? linear, ridge, lasso, elasticnet, logistic, svm, kmeans or pca");
    job j = {.a = a, .kind = a->rest[0], .path = arg_text(a, "data"), .target = arg_text(a, "target")};
    int known = 0;
    while (known < KINDS && strcmp(kinds[known], j.kind))
        known++;
    const char *near = known < KINDS ? NULL : nearest_name(j.kind, kinds, KINDS);
    if (!strcmp(j.kind, "softmax"))
        return usage_error(a, "softmax regression is what logistic does with more than two classes");
    if (known == KINDS && near)
        return usage_error(a, "there is no model '%s'; did you mean '%s'?", j.kind, near);
    if (known == KINDS)
        return usage_error(a, "there is no model '%s': linear, ridge, lasso, elasticnet, logistic, svm, kmeans or pca", j.kind);
    if (!j.path)
        return usage_error(a, "--data is missing: the table to fit the model to");
    if (!(arg_number(a, "val") >= 0 && arg_number(a, "val") < 1) || !(arg_number(a, "alpha") >= 0) || !(arg_number(a, "c") > 0) || arg_int(a, "k") < 0)
        return usage_error(a, "--val must be from 0 to below 1, --alpha and -k not negative, --c above 0");
    if (!(arg_number(a, "l1-ratio") > 0 && arg_number(a, "l1-ratio") <= 1))
        return usage_error(a, "--l1-ratio must be above 0 and at most 1 (0 is ridge)");
    int idle = check_idle(&j);
    if (idle)
        return idle;
    if (without_target(&j) && arg_text(a, "out"))
        return usage_error(a, "%s makes no model file; --csv writes what it says of each row", j.kind);
    session_begin(a);
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    int code = run_job(&j);
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    soma_nn_free(j.net);
    soma_norm_stats_free(&j.norm);
    soma_data_free(j.test);
    soma_data_free(j.train);
    soma_data_free(j.all);
    json_decref(j.names);
    free(j.found);
    return code;
}

const command cmd_fit = {
    .name = "fit",
    .summary = "fit a classical model to a table",
    .usage = "linear|ridge|lasso|elasticnet|logistic|svm|kmeans|pca --data PATH [options]",
    .details = "linear, ridge, lasso and elasticnet predict a number; logistic (with more than two classes softmax regression) and svm a class; kmeans finds clusters and pca the directions of "
               "most variance. The objectives are scikit-learn's. Prints the weights, how well the model does on a part of the data that it "
               "has not seen, and with --out writes it as a model file for soma eval, predict and summary.",
    .example = "soma fit lasso --data houses.csv --target price --alpha 0.1 --normalise\nsoma fit kmeans --data flowers.csv -k 3 --csv clusters.csv",
    OPTIONS(options),
    .run = run_fit,
};
