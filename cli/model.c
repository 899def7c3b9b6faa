/* See model.h. The metadata of a file from outside is checked as a whole before anything uses it. */
#include "model.h"
#include "term.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- Reading ----------------------------------------------------------------------------------------------------------- */

static int bad_meta(const args *a, const model *m, const char *key, const char *expected)
{
    return work_error(a, "%s: %s in its metadata is damaged: expected %s", m->path, key, expected);
}

/* The JSON text under `key`, kept in m->lists; NULL when absent or (with *bad set) no JSON. */
static json_t *meta_json(model *m, const char *key, bool *bad)
{
    const char *text = soma_safetensors_meta(m->file, key);
    json_t *v = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (text && !v)
        *bad = true;
    if (v && json_array_append_new(m->lists, v)) {
        *bad = true;
        return NULL;
    }
    return v;
}

static int read_classes(const args *a, model *m)
{
    bool bad = false;
    json_t *list = meta_json(m, "soma.classes", &bad);
    if (bad || (list && (!json_is_array(list) || json_array_size(list) > INT_MAX / 2)))
        return bad_meta(a, m, "soma.classes", "a list of names");
    if (!list)
        return 0;
    m->classes = calloc(json_array_size(list) + 1, sizeof *m->classes);
    if (!m->classes)
        return work_error(a, "no memory");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!(m->classes[m->n_classes++] = json_string_value(json_array_get(list, i))))
            return bad_meta(a, m, "soma.classes", "a list of names");
    return 0;
}

static int read_input(const args *a, model *m)
{
    bool bad = false;
    const json_t *input = meta_json(m, "soma.input", &bad), *shape = json_object_get(input, "shape");
    const char *kind = json_string_value(json_object_get(input, "kind"));
    if (!input && !bad)
        return 0;
    if (bad || !json_is_array(shape) || json_array_size(shape) < 1 || json_array_size(shape) > SOMA_MAX_DIMS - 1)
        return bad_meta(a, m, "soma.input", "an object with kind and shape");
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *v = json_array_get(shape, i);
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 1 << 30)
            return bad_meta(a, m, "soma.input", "sizes of at least 1");
        m->shape[m->ndim++] = json_integer_value(v);
    }
    m->image = kind && !strcmp(kind, "image");
    m->names = json_object_get(input, "names");
    if (m->names && (!json_is_array(m->names) || (int64_t)json_array_size(m->names) != m->shape[0] || m->ndim != 1))
        return bad_meta(a, m, "soma.input", "a name for each feature");
    if (m->image && m->ndim != 3)
        return bad_meta(a, m, "soma.input", "channels, height and width for images");
    return 0;
}

static int read_numbers(const args *a, model *m, const char *key, double **out, int *n)
{
    bool bad = false;
    const json_t *list = meta_json(m, key, &bad);
    *n = 0;
    if (!list && !bad)
        return 0;
    if (bad || !json_is_array(list) || json_array_size(list) > 1 << 24)
        return bad_meta(a, m, key, "a list of numbers");
    *out = calloc(json_array_size(list) + 1, sizeof **out);
    if (!*out)
        return work_error(a, "no memory");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!json_is_number(json_array_get(list, i)))
            return bad_meta(a, m, key, "a list of numbers");
        (*out)[(*n)++] = json_number_value(json_array_get(list, i));
    }
    return 0;
}

static int read_norm(const args *a, model *m)
{
    int n = 0;
    int code = read_numbers(a, m, "soma.mean", &m->norm.mean, &m->norm.n);
    if (!code)
        code = read_numbers(a, m, "soma.std", &m->norm.std, &n);
    if (!code && (n != m->norm.n || (n > 0 && m->ndim > 0 && n != m->shape[0])))
        return bad_meta(a, m, "soma.mean", "as many means and standard deviations as channels or features");
    return code;
}

static int read_task(const args *a, model *m)
{
    const char *task = soma_safetensors_meta(m->file, "soma.task");
    m->loss_name = soma_safetensors_meta(m->file, "soma.loss");
    m->target = soma_safetensors_meta(m->file, "soma.target");
    m->reconstruct = task && !strcmp(task, "reconstruct");
    m->task = m->reconstruct || (task && !strcmp(task, "regress")) ? SOMA_REGRESS : SOMA_CLASSIFY;
    if (task && !m->reconstruct && strcmp(task, "regress") && strcmp(task, "classify"))
        return bad_meta(a, m, "soma.task", "\"classify\", \"regress\" or \"reconstruct\"");
    if (m->loss_name && !(m->loss = soma_loss_parse(m->loss_name, &m->loss_opts))) {
        drop_error();
        return bad_meta(a, m, "soma.loss", "the name of a loss");
    }
    return 0;
}

/* That the network takes the input that the file speaks of, and gives an output for each class. */
static int check_fit(const args *a, const model *m)
{
    int64_t shape[SOMA_MAX_DIMS] = {1};
    soma_layer_info info;
    if (!m->ndim)
        return 0;
    memcpy(shape + 1, m->shape, (size_t)m->ndim * sizeof *shape);
    if (soma_nn_layers(m->net, m->ndim + 1, shape, &info, 1) < 0)
        return library_error(a);
    int64_t outputs = info.out_ndim == 2 ? info.out_shape[1] : 0;
    if (m->n_classes && outputs != m->n_classes && !(outputs == 1 && m->n_classes == 2))
        return work_error(a, "%s: its network gives %lld outputs for %d class names", m->path, (long long)outputs, m->n_classes);
    return 0;
}

int model_open(const args *a, const char *path, model *m)
{
    struct stat info;
    memset(m, 0, sizeof *m);
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    if ((size_t)snprintf(m->path, sizeof m->path, "%s%s", path, folder ? "/model.safetensors" : "") >= sizeof m->path)
        return work_error(a, "%.100s…: the path is too long", path);
    if (folder && stat(m->path, &info))
        return work_error(a, "%s: a folder without model.safetensors; give a model file or the folder of a run", path);
    m->lists = json_array();
    m->file = soma_safetensors_read(m->path);
    if (m->file && soma_safetensors_meta(m->file, "soma.checkpoint"))
        return work_error(a, "%s: a checkpoint; give the run's model.safetensors, or go on with soma train --resume", m->path);
    m->net = m->file ? soma_nn_open(m->path) : NULL;
    if (!m->net)
        return library_error(a);
    int code = read_task(a, m);
    if (!code)
        code = read_classes(a, m);
    if (!code)
        code = read_input(a, m);
    if (!code)
        code = read_norm(a, m);
    if (!code)
        code = check_fit(a, m);
    return code;
}

void model_free(model *m)
{
    soma_nn_free(m->net);
    soma_safetensors_free(m->file);
    free(m->classes);
    free(m->norm.mean);
    free(m->norm.std);
    json_decref(m->lists);
    memset(m, 0, sizeof *m);
}

const char *model_class(const model *m, int64_t i)
{
    static char number[32];
    if (i >= 0 && i < m->n_classes)
        return m->classes[i];
    snprintf(number, sizeof number, "%lld", (long long)i);
    return number;
}

/* ---- Data for a model ---------------------------------------------------------------------------------------------------- */

static bool fits(const model *m, const soma_dataset *d)
{
    if (!m->ndim)
        return true;
    bool same = soma_data_ndim(d) == m->ndim;
    for (int i = 0; same && i < m->ndim; i++)
        same = soma_data_shape(d)[i] == m->shape[i];
    return same;
}

json_t *table_names(const char *path, const char *target, char **found)
{
    size_t n = strlen(path);
    struct stat info;
    *found = NULL;
    soma_csv *csv = n > 4 && !strcmp(path + n - 4, ".csv") && !stat(path, &info) && S_ISREG(info.st_mode) ? soma_csv_read(path) : NULL;
    if (!csv) {
        drop_error(); /* whoever opens the data says what is wrong with it */
        return NULL;
    }
    int columns = soma_csv_columns(csv), at = target ? soma_csv_find(csv, target) : columns - 1;
    json_t *names = json_array();
    bool id = false;
    for (int i = 0; i < columns; i++) {
        const char *name = soma_csv_header(csv, i);
        if (i == at)
            *found = strdup(name);
        else if (!id && !strcasecmp(name, "id"))
            id = true;
        else
            json_array_append_new(names, json_string(name));
    }
    soma_csv_free(csv);
    return names;
}

/* Columns in another order are other features, although their number fits. */
static bool same_names(const model *m, const char *path)
{
    char *target = NULL;
    json_t *names = m->names ? table_names(path, m->target ? m->target : "", &target) : NULL;
    bool same = true;
    for (size_t i = 0; names && same && i < json_array_size(names) && i < json_array_size(m->names); i++) {
        const char *have = json_string_value(json_array_get(names, i)), *want = json_string_value(json_array_get(m->names, i));
        same = have && want && !strcmp(have, want);
        if (!same)
            soma_fail(SOMA_EFORMAT, "%s: feature %d is '%s', but %s was trained with '%s' there", path, (int)i + 1, have ? have : "?",
                      m->path, want ? want : "?");
    }
    json_decref(names);
    free(target);
    return same;
}

soma_dataset *model_data(const model *m, const char *path, soma_part part, bool unlabelled, bool skip_bad)
{
    soma_data_opts o = {.part = part, .skip_bad = skip_bad, .target = m->target, .n_classes = m->n_classes, .classes = m->classes,
                        .task = unlabelled || m->reconstruct ? SOMA_UNLABELLED : m->task, .size = sizeof o};
    if (m->image)
        o.channels = (int)m->shape[0], o.height = (int)m->shape[1], o.width = (int)m->shape[2];
    soma_dataset *d = same_names(m, path) ? soma_data_open_ex(path, &o) : NULL;
    if (!d || fits(m, d))
        return d;
    char want[128], have[128];
    soma_fail(SOMA_ESHAPE, "%s: samples of %s, but %s takes %s", path,
              sizes_text(soma_data_ndim(d), soma_data_shape(d), have, sizeof have), m->path,
              sizes_text(m->ndim, m->shape, want, sizeof want));
    soma_data_free(d);
    return NULL;
}

soma_loader *model_loader(const model *m, soma_dataset *d, int64_t batch, int64_t workers)
{
    return soma_loader_new(d, .batch_size = batch, .workers = (int)workers, .norm = m->norm.n ? &m->norm : NULL, .reconstruct = m->reconstruct);
}

static float limit(float v) { return v > 0 ? v < 1 ? v : 1 : 0; }

/* Outputs as probabilities, by the loss that they were trained for. */
static soma_tensor *probabilities(const model *m, soma_tensor *out)
{
    const soma_loss_info *loss = soma_loss_find(m->loss_name ? m->loss_name : "cross_entropy");
    if (loss && loss->link == SOMA_LINK_SIGMOID)
        return soma_sigmoid(out);
    if (loss && (loss->link == SOMA_LINK_SOFTMAX || loss->link == SOMA_LINK_EXP))
        return soma_softmax(out, -1); /* of logarithms of probabilities: these themselves */
    if (loss && loss->threshold == 0 && soma_size(out, -1) == 1)
        return soma_add_scalar(soma_mul_scalar(out, 0.5), 0.5); /* one score of a hinge: class 1 from 0 on */
    return out;
}

float *model_scores(const model *m, soma_tensor *x, int64_t *columns)
{
    bool grad = soma_set_grad_enabled(false);
    soma_tensor *out = soma_nn_forward(m->net, x);
    soma_set_grad_enabled(grad);
    if (out && (soma_ndim(out) < 2 || soma_size(out, 0) < 1))
        soma_fail(SOMA_ESHAPE, "%s: its output is not one row a sample", m->path);
    bool classify = m->task != SOMA_REGRESS;
    if (out && m->reconstruct) /* the error of each sample: what is unlike the training data has a large one */
        out = soma_mean(soma_flatten(soma_square(soma_sub(out, x)), 1, -1), SOMA_DIMS(1), true);
    if (soma_error() == SOMA_OK && classify)
        out = probabilities(m, out);
    if (soma_error() != SOMA_OK)
        return NULL;
    int64_t rows = soma_size(out, 0), outputs = soma_numel(out) / rows;
    bool one = classify && outputs == 1;
    float *scores = malloc((size_t)(rows * (one ? 2 : outputs)) * sizeof *scores);
    if (!scores || soma_to_array(out, scores, rows * outputs, SOMA_F32) != SOMA_OK) {
        free(scores);
        soma_fail(SOMA_ENOMEM, "no memory for %lld scores", (long long)(rows * outputs));
        return NULL;
    }
    for (int64_t i = rows - 1; one && i >= 0; i--) {
        float p = limit(scores[i]);
        scores[2 * i] = 1 - p;
        scores[2 * i + 1] = p;
    }
    *columns = one ? 2 : outputs;
    return scores;
}

void top_scores(const float *scores, int64_t n, int k, int64_t *out)
{
    for (int i = 0; i < k; i++) {
        int64_t best = -1;
        for (int64_t c = 0; c < n; c++) {
            bool taken = false;
            for (int j = 0; j < i; j++)
                taken |= out[j] == c;
            if (!taken && (best < 0 || scores[c] > scores[best]))
                best = c;
        }
        out[i] = best;
    }
}

/* ---- Writing --------------------------------------------------------------------------------------------------------------- */

/* Adds a pair whose value is `v` as JSON; takes `v`. */
static bool put_json(json_t *keep, soma_pair *pairs, int *n, const char *key, json_t *v)
{
    char *text = v ? json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_t *kept = text ? json_string(text) : NULL;
    free(text);
    json_decref(v);
    if (!kept || json_array_append_new(keep, kept))
        return false;
    pairs[(*n)++] = (soma_pair){key, json_string_value(kept)};
    return true;
}

static json_t *numbers_json(const double *v, int n)
{
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++)
        json_array_append_new(list, json_real(v[i]));
    return list;
}

static json_t *input_json(const soma_dataset *d, json_t *names)
{
    json_t *shape = json_array();
    for (int i = 0; i < soma_data_ndim(d); i++)
        json_array_append_new(shape, json_integer(soma_data_shape(d)[i]));
    json_t *input = json_pack("{s:s, s:o}", "kind", soma_data_ndim(d) == 3 ? "image" : "features", "shape", shape);
    if (names && soma_data_ndim(d) == 1 && (int64_t)json_array_size(names) == soma_data_shape(d)[0])
        json_object_set(input, "names", names);
    return input;
}

int model_pairs(soma_dataset *d, const char *task, const soma_norm_stats *norm, const char *loss, const char *target, json_t *names, json_t *keep,
                soma_pair *pairs)
{
    int n = 0;
    bool good = true;
    pairs[n++] = (soma_pair){"soma.task", task ? task : soma_data_task(d) == SOMA_REGRESS ? "regress" : "classify"};
    if (loss)
        pairs[n++] = (soma_pair){"soma.loss", loss};
    if (target)
        pairs[n++] = (soma_pair){"soma.target", target};
    if (soma_data_classes(d) > 0 && !task) {
        json_t *classes = json_array();
        for (int i = 0; i < soma_data_classes(d); i++)
            json_array_append_new(classes, json_string(soma_data_class(d, i)));
        good = put_json(keep, pairs, &n, "soma.classes", classes);
    }
    good = good && put_json(keep, pairs, &n, "soma.input", input_json(d, names));
    if (norm && norm->n > 0)
        good = good && put_json(keep, pairs, &n, "soma.mean", numbers_json(norm->mean, norm->n)) &&
               put_json(keep, pairs, &n, "soma.std", numbers_json(norm->std, norm->n));
    return good ? n : -1;
}

/* ---- Small things ---------------------------------------------------------------------------------------------------------- */

static void show_log(void *user, soma_log_level level, const char *text)
{
    const args *a = user;
    if (level >= SOMA_LOG_WARNING && !arg_flag(a, "quiet"))
        fprintf(stderr, "%ssoma %s: %s: %s\n", term_is(stderr) ? "\r\033[K" : "", a->cmd->name,
                level == SOMA_LOG_ERROR ? "error" : "warning", text);
}

void session_begin(const args *a)
{
    signal(SIGXFSZ, SIG_IGN); /* write then fails with EFBIG, as it does when a disk is full */
    soma_set_log(show_log, (void *)a);
}

void drop_error(void)
{
    if (soma_error() != SOMA_OK)
        soma_error_clear();
}

const char *sizes_text(int n, const int64_t *sizes, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? " x " : "", (long long)sizes[i]);
    return out;
}

json_t *json_figure(double v) { return isfinite(v) ? json_real(v) : json_null(); }
