/* soma summary: what a network does to the shape of its input, layer by layer, with parameters, FLOPs and memory. */
#include "model.h"
#include "options.h"
#include "term.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const option options[] = {
    {"net", 'n', OPT_TEXT, "TEXT|FILE", "a network description, instead of a model file", NULL},
    {"input", 'i', OPT_TEXT, "SIZES", "the input of one sample: 1x28x28, or 13 for a row of a table", "(the model's)"},
    {"batch", 'b', OPT_INT, "N", "samples at once", "1"},
};

/* "3x224x224" into shape[1 …]; the number of dimensions with the batch, or 0 after a message. */
static int read_shape(const args *a, const char *text, int64_t *shape)
{
    int n = 1;
    for (const char *at = text; n < SOMA_MAX_DIMS;) {
        char *end;
        errno = 0;
        shape[n] = strtoll(at, &end, 10);
        if (errno || end == at || shape[n] < 1 || shape[n] > 1 << 30)
            break;
        n++;
        if (!*end)
            return n;
        if (*end != 'x' && *end != 'X' && *end != ',')
            break;
        at = end + 1;
    }
    usage_error(a, "--input takes the sizes of one sample, such as 1x28x28 (channels x height x width), not '%s'", text);
    return 0;
}

/* ---- Sparsity: numbers in parameters that are exactly 0 ---------------------------------------------------------------------- */

typedef struct zeros {
    int64_t zero, all;
} zeros;

static int64_t count_zeros(soma_tensor *t)
{
    int64_t n = soma_numel(t), zero = 0;
    double *values = malloc((size_t)n * sizeof *values + 1);
    if (values && soma_to_array(t, values, n, SOMA_F64) == SOMA_OK)
        for (int64_t i = 0; i < n; i++)
            zero += values[i] == 0;
    free(values);
    return zero;
}

/* Of the parameters below `path` ("" : all of them). */
static zeros zeros_below(soma_module *net, const char *path)
{
    zeros sum = {0};
    int n = soma_nn_named(net, false, NULL, 0);
    soma_named *named = n > 0 ? malloc((size_t)n * sizeof *named) : NULL;
    size_t length = strlen(path);
    if (named)
        n = soma_nn_named(net, false, named, n);
    for (int i = 0; named && i < n; i++) {
        if (length && (strncmp(named[i].name, path, length) || named[i].name[length] != '.'))
            continue;
        sum.zero += count_zeros(named[i].tensor);
        sum.all += soma_numel(named[i].tensor);
    }
    free(named);
    return sum;
}

static double share_of(zeros z) { return z.all ? (double)z.zero / (double)z.all : 0; }

/* The layer that a parameter belongs to: its name without the last part. */
static void layer_of(const char *name, char *out, size_t size)
{
    const char *dot = strrchr(name, '.');
    snprintf(out, size, "%.*s", dot ? (int)(dot - name) : 0, name);
}

static void show_zeros(soma_module *net)
{
    char last[256] = "", layer[256], zero[HUMAN], all[HUMAN], share[HUMAN];
    zeros total = zeros_below(net, "");
    printf("\nzeros    %s of %s parameters are exactly 0 (%s)\n", human_count(zero, total.zero), human_count(all, total.all),
           human_percent(share, share_of(total)));
    int n = total.zero ? soma_nn_named(net, false, NULL, 0) : 0;
    soma_named *named = n > 0 ? malloc((size_t)n * sizeof *named) : NULL;
    if (named)
        n = soma_nn_named(net, false, named, n);
    for (int i = 0; named && i < n; i++) {
        layer_of(named[i].name, layer, sizeof layer);
        if (!layer[0] || !strcmp(layer, last))
            continue;
        zeros z = zeros_below(net, layer);
        printf("  %-20s %s of %s (%s)\n", layer, human_count(zero, z.zero), human_count(all, z.all), human_percent(share, share_of(z)));
        snprintf(last, sizeof last, "%s", layer);
    }
    free(named);
}

/* ---- The layers ----------------------------------------------------------------------------------------------------------------- */

static json_t *layer_json(const soma_layer_info *l)
{
    json_t *in = json_array(), *out = json_array();
    for (int i = 0; i < l->in_ndim; i++)
        json_array_append_new(in, json_integer(l->in_shape[i]));
    for (int i = 0; i < l->out_ndim; i++)
        json_array_append_new(out, json_integer(l->out_shape[i]));
    return json_pack("{s:s, s:s, s:i, s:o, s:o, s:I, s:I, s:I, s:I}", "path", l->path, "type", l->type, "depth", l->depth, "input", in,
                     "output", out, "parameters", (json_int_t)l->params, "trainable", (json_int_t)l->trainable, "flops",
                     (json_int_t)l->flops, "activation_bytes", (json_int_t)l->activation_bytes);
}

/* `weights`: they are those of a file, so that their zeros say something. */
static int show_json(const args *a, soma_module *net, bool weights, int ndim, const int64_t *shape)
{
    int n = soma_nn_layers(net, ndim, shape, NULL, 0);
    soma_layer_info *layers = n > 0 ? calloc((size_t)n, sizeof *layers) : NULL;
    if (n < 0)
        return library_error(a);
    if (!layers || soma_nn_layers(net, ndim, shape, layers, n) != n) {
        free(layers);
        return work_error(a, "no memory for %d layers", n);
    }
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *layer = layer_json(&layers[i]);
        if (weights)
            json_object_set_new(layer, "zeros", json_integer(zeros_below(net, layers[i].path).zero));
        json_array_append_new(list, layer);
    }
    json_t *out = json_pack("{s:I, s:I, s:o}", "parameters", (json_int_t)layers[0].params, "flops", (json_int_t)layers[0].flops, "layers",
                            list);
    free(layers);
    if (weights)
        json_object_set_new(out, "sparsity", json_real(share_of(zeros_below(net, ""))));
    return print_json(a, out);
}

static int show_text(const args *a, soma_module *net, int ndim, const int64_t *shape)
{
    size_t n = soma_nn_summary(net, ndim, shape, NULL, 0);
    char *text = malloc(n + 1);
    if (soma_error() != SOMA_OK || !text) {
        free(text);
        return library_error(a);
    }
    soma_nn_summary(net, ndim, shape, text, n + 1);
    fputs(text, stdout);
    if (n && text[n - 1] != '\n')
        putchar('\n');
    free(text);
    return 0;
}

static void show_model(const model *m)
{
    char text[128];
    printf("%s\n", m->path);
    const char *network = soma_safetensors_meta(m->file, "soma.network");
    if (network) {                   /* one line for programs, readable on a terminal */
        fputs("network  ", stdout);
        print_wrapped(stdout, network, 9, 9, term_is(stdout) ? term_width(stdout) : 1 << 30);
    }
    if (m->ndim)
        printf("input    %s%s\n", sizes_text(m->ndim, m->shape, text, sizeof text), m->norm.n ? ", normalised" : "");
    if (m->n_classes) {
        printf("classes  ");
        for (int i = 0; i < m->n_classes && i < 20; i++)
            printf("%s%s", i ? ", " : "", m->classes[i]);
        printf(m->n_classes > 20 ? " … (%d in all)\n" : "\n", m->n_classes);
    }
    if (m->target)
        printf("target   %s\n", m->target);
    putchar('\n');
}

/* The description, or the file's contents when there is a file of that name. */
static soma_module *parse_net(const char *text)
{
    soma_bytes bytes;
    if (soma_read_file(text, false, 1 << 20, &bytes) != SOMA_OK) {
        drop_error();
        return soma_nn_parse(text);
    }
    while (bytes.size > 0 && strchr(" \t\r\n", bytes.data[bytes.size - 1]))
        bytes.size--;
    char *copy = strndup((const char *)bytes.data, bytes.size);
    soma_bytes_free(&bytes);
    soma_module *net = copy ? soma_nn_parse(copy) : NULL;
    free(copy);
    return net;
}

static int show(const args *a, model *m, soma_module *net)
{
    int64_t shape[SOMA_MAX_DIMS] = {arg_int(a, "batch")};
    int ndim = m->ndim + 1;
    memcpy(shape + 1, m->shape, (SOMA_MAX_DIMS - 1) * sizeof *shape);
    if (arg_text(a, "input") && !(ndim = read_shape(a, arg_text(a, "input"), shape)))
        return 2;
    if (ndim == 1)
        return usage_error(a, "--input is missing: the sizes of one sample, such as 1x28x28");
    if (soma_nn_build(net, ndim, shape) != SOMA_OK)
        return library_error(a);
    if (arg_flag(a, "json"))
        return show_json(a, net, m->net != NULL, ndim, shape);
    if (m->net)
        show_model(m);
    int code = show_text(a, net, ndim, shape);
    if (!code && m->net)
        show_zeros(net);
    return code;
}

static int run_summary(args *a)
{
    const char *text = arg_text(a, "net");
    model m = {0};
    if (arg_int(a, "batch") < 1)
        return usage_error(a, "--batch is %lld; it must be at least 1", (long long)arg_int(a, "batch"));
    if ((text != NULL) + (a->n_rest > 0) != 1 || a->n_rest > 1)
        return usage_error(a, "give a model file, or a network with --net and --input");
    if (!text) {
        int code = model_open(a, a->rest[0], &m);
        if (!code)
            code = show(a, &m, m.net);
        model_free(&m);
        return code;
    }
    soma_module *net = parse_net(text);
    int code = net ? show(a, &m, net) : library_error(a);
    soma_nn_free(net);
    return code;
}

const command cmd_summary = {
    .name = "summary",
    .summary = "show a network's layers, shapes, parameters, FLOPs and memory",
    .usage = "MODEL\n--net TEXT --input SIZES",
    .details = "Shapes include the batch dimension. A multiply-add counts as two FLOPs. Nothing is computed. Of a model file or run, it also "
               "counts the parameters that are exactly 0, such as train --prox-l1 makes.",
    .example = "soma summary runs/a/model.safetensors\nsoma summary --net \"conv 32 3 relu, maxpool 2, flatten, linear 10\" --input 1x28x28",
    OPTIONS(options),
    .run = run_summary,
};
