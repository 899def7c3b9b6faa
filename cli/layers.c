/* `soma layers` and `soma models`: the words of network descriptions. */
#include "options.h"
#include "term.h"

#include <soma/soma.h>

#include <jansson.h>
#include <string.h>

static json_t *word_json(int i, const soma_nn_word_info *w)
{
    char usage[1000];
    soma_nn_word_usage(i, usage, sizeof usage);
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "word", w->word, "usage", usage, "layer", w->layer, "help", w->help, "model",
                     (int)w->model, "activation", (int)w->activation);
}

static void print_word(int i, const soma_nn_word_info *w)
{
    char usage[1000];
    int width = term_width(stdout);
    soma_nn_word_usage(i, usage, sizeof usage);
    fputs(term_style(stdout, TERM_BOLD), stdout);
    print_wrapped(stdout, usage, 0, 4, width < 60 ? 60 : width > 100 ? 100 : width);
    fputs(term_style(stdout, TERM_PLAIN), stdout);
    printf("    ");
    print_wrapped(stdout, w->help, 4, 4, width < 60 ? 60 : width > 100 ? 100 : width);
}

static int no_such_word(const args *a, const char *word, bool models)
{
    const char *names[512];
    int n = 0;
    soma_nn_word_info w;
    for (int i = 0; n < 512 && soma_nn_word_get(i, &w); i++)
        if (w.model == models)
            names[n++] = w.word;
    const char *near = nearest_name(word, names, n), *what = models ? "model" : "layer";
    if (near)
        return work_error(a, "there is no %s '%s'; did you mean '%s'?", what, word, near);
    return work_error(a, "there is no %s '%s'; 'soma %ss' lists them", what, word, what);
}

static bool wanted(const args *a, const char *word)
{
    bool found = a->n_rest == 0;
    for (int i = 0; i < a->n_rest; i++)
        found = found || !strcmp(a->rest[i], word);
    return found;
}

static int list(args *a, bool models)
{
    soma_nn_word_info w;
    for (int k = 0; k < a->n_rest; k++) {
        bool known = false;
        for (int i = 0; soma_nn_word_get(i, &w); i++)
            known = known || (w.model == models && !strcmp(w.word, a->rest[k]));
        if (!known)
            return no_such_word(a, a->rest[k], models);
    }
    json_t *all = arg_flag(a, "json") ? json_array() : NULL;
    for (int i = 0; soma_nn_word_get(i, &w); i++) {
        if (w.model != models || !wanted(a, w.word))
            continue;
        if (all)
            json_array_append_new(all, word_json(i, &w));
        else
            print_word(i, &w);
    }
    return all ? print_json(a, all) : 0;
}

static int run_layers(args *a) { return list(a, false); }
static int run_models(args *a) { return list(a, true); }

const command cmd_layers = {
    .name = "layers",
    .summary = "list the layers that network descriptions know, or show some",
    .usage = "[WORD…] [--json]",
    .details = "Required numbers are plain, everything in brackets may be left out. Layers with [ACTIVATION] take the word of one without a comma. "
               "Any layer can be named: 'linear 10 as head'.",
    .example = "soma layers\nsoma layers conv batchnorm\nsoma summary --net 'conv 32 3 relu, maxpool 2, flatten, linear 10' --input 1x28x28",
    .run = run_layers,
};

const command cmd_models = {
    .name = "models",
    .summary = "list the models that have a name, or show some",
    .usage = "[NAME…] [--json]",
    .details = "A name stands for the model's layers wherever a network description does.",
    .example = "soma models\nsoma summary --net resnet18 --input 3x224x224\nsoma train --data fashion-mnist --net 'resnet18 classes 10 cifar'",
    .run = run_models,
};
