/* Setting a training up: see session.h. Everything is checked here before the first file is written. */
#include "session.h"

#include "choices.h"

#include <stdlib.h>
#include <string.h>

/* ---- Data and network ---------------------------------------------------------------------------------------------------- */

static int split_data(session *s)
{
    if (s->r.val_data) {
        s->train = s->all;
        s->all = NULL;
        s->val = recipe_open_data(&s->r, s->r.val_data, SOMA_TEST, s->train);
        return s->val ? 0 : library_error(s->a);
    }
    int64_t count = soma_data_count(s->all);
    if (!(s->r.val > 0) || count < 2 || s->r.val * (double)count < 1) {
        s->train = s->all;
        s->all = NULL;
        if (s->r.val > 0)
            note(s->a, "%lld samples are too few to keep a share of %g for validation: training without", (long long)count, s->r.val);
        return 0;
    }
    if (soma_data_split(s->all, s->r.val, s->r.seed, false, &s->train, &s->val) != SOMA_OK)
        return library_error(s->a);
    if (soma_data_count(s->val) == 0) {
        soma_data_free(s->val);
        s->val = NULL;
    }
    return 0;
}

int session_open_data(session *s)
{
    s->all = recipe_open_data(&s->r, s->r.data, SOMA_TRAIN, NULL);
    if (!s->all)
        return library_error(s->a);
    snprintf(s->described, sizeof s->described, "%s", soma_data_describe(s->all));
    s->reconstruct = !strcmp(s->r.task, "reconstruct");
    s->r.no_normalise |= s->reconstruct && soma_data_ndim(s->all) == 3; /* pixels stay between 0 and 1 */
    if (soma_data_task(s->all) == SOMA_UNLABELLED && !s->reconstruct)
        return work_error(s->a, "%s: has no labels to learn from", s->r.data);
    if (soma_data_count(s->all) == 0)
        return work_error(s->a, "%s: has no samples", s->r.data);
    int code = split_data(s);
    if (code)
        return code;
    if (!s->r.no_normalise && soma_data_stats(s->train, &s->norm) != SOMA_OK)
        return library_error(s->a);
    for (int i = 0; i < s->norm.n; i++)
        if (!(s->norm.std[i] > 0))
            s->norm.std[i] = 1; /* a constant feature: only moved to 0 */
    int64_t batch = s->r.batch ? s->r.batch : soma_data_count(s->train);
    s->train_loader = soma_loader_new(s->train, .batch_size = batch, .shuffle = true, .seed = s->r.seed,
                                      .workers = (int)s->r.workers, .norm = s->r.no_normalise ? NULL : &s->norm, .flip = s->r.flip,
                                      .shift = (int)s->r.shift, .crop = (int)s->r.crop, .erase = s->r.erase, .cutout = (int)s->r.cutout,
                                      .reconstruct = s->reconstruct);
    if (s->train_loader && s->val)
        s->val_loader = soma_loader_new(s->val, .batch_size = s->r.batch ? s->r.batch : soma_data_count(s->val), .seed = s->r.seed, .workers = (int)s->r.workers,
                                        .norm = s->r.no_normalise ? NULL : &s->norm, .reconstruct = s->reconstruct);
    return soma_error() == SOMA_OK ? 0 : library_error(s->a);
}

soma_task task_of(const session *s) { return s->reconstruct ? SOMA_REGRESS : soma_data_task(s->train); }

static int check_reconstruction(const session *s, int ndim, const int64_t *shape, const soma_layer_info *out)
{
    char want[128], have[128];
    if (out->out_ndim == ndim && !memcmp(out->out_shape + 1, shape + 1, (size_t)(ndim - 1) * sizeof *shape))
        return 0;
    return work_error(s->a, "--task reconstruct: the network gives [N, %s] for [N, %s], but must give back its input: \"unflatten %s\" at the end "
                            "shapes rows", sizes_text(out->out_ndim - 1, out->out_shape + 1, have, sizeof have),
                      sizes_text(ndim - 1, shape + 1, want, sizeof want), ndim == 4 ? "CxHxW" : "FEATURES");
}

static int check_outputs(const session *s, int ndim, const int64_t *shape)
{
    soma_layer_info out;
    if (soma_nn_layers(s->net, ndim, shape, &out, 1) < 0)
        return library_error(s->a);
    const soma_loss_info *loss = soma_loss_find(s->r.loss ? s->r.loss : task_of(s) == SOMA_CLASSIFY ? "cross_entropy" : "mse");
    bool classify = task_of(s) == SOMA_CLASSIFY;
    if (loss && !(classify ? loss->classes : loss->numbers))
        return work_error(s->a, "--loss %s is for %s, but the data has %s as targets: see soma train --loss list", loss->name,
                          classify ? "numbers" : "classes", classify ? "classes" : "numbers");
    if (s->r.label_smoothing > 0 && loss && strcmp(loss->name, "cross_entropy"))
        return work_error(s->a, "--label-smoothing goes with --loss cross_entropy, not with %s", loss->name);
    if (s->reconstruct)
        return check_reconstruction(s, ndim, shape, &out);
    if (!classify)
        return 0;
    int classes = soma_data_classes(s->train);
    bool one = classes == 2 && loss && !loss->per_class;
    if (out.out_ndim == 2 && (out.out_shape[1] == classes || (one && out.out_shape[1] == 1)))
        return 0;
    char text[128];
    if (out.out_ndim != 2)
        return work_error(s->a, "the network's output has shape [N, %s], but must be one row of %d scores a sample: let it end in "
                          "\"flatten, linear %d\"", sizes_text(out.out_ndim - 1, out.out_shape + 1, text, sizeof text), classes, classes);
    return work_error(s->a, "the network ends in %lld outputs, but the data has %d classes: let it end in \"linear %d\"",
                      (long long)out.out_shape[1], classes, classes);
}

int session_make_network(session *s)
{
    int ndim = soma_data_ndim(s->train) + 1;
    int64_t shape[SOMA_MAX_DIMS] = {1};
    memcpy(shape + 1, soma_data_shape(s->train), (size_t)(ndim - 1) * sizeof *shape);
    soma_seed(s->r.seed);
    s->net = soma_nn_parse(s->r.net);
    if (!s->net || soma_nn_build(s->net, ndim, shape) != SOMA_OK)
        return library_error(s->a);
    if (s->r.init && strcmp(s->r.init, "default") && soma_nn_init(s->net, s->r.init) != SOMA_OK)
        return library_error(s->a);
    int code = check_outputs(s, ndim, shape);
    if (code)
        return code;
    if (soma_nn_count(s->net) == 0)
        return work_error(s->a, "the network has no parameters: there is nothing to train");
    soma_set_autocast(!strcmp(s->r.precision, "bf16") ? SOMA_BF16 : SOMA_F32);
    s->opt = recipe_optim(&s->r, s->net);
    s->sched = s->opt ? recipe_sched(&s->r, (soma_loader_batches(s->train_loader) + s->r.accumulate - 1) / s->r.accumulate) : NULL;
    return s->sched ? 0 : library_error(s->a);
}

/* ---- The doctor -------------------------------------------------------------------------------------------------------------- */

/* "dead-units,loss-flat=0.1" word by word. */
static int each_rule(session *s, const char *text, bool tune)
{
    char word[128];
    for (const char *at = text; at && *at;) {
        size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        char *value = tune ? strchr(word, '=') : NULL, *end = word;
        if (value)
            *value++ = 0;
        double limit = value ? strtod(value, &end) : 0;
        if (tune && (!value || end == value || *end))
            return usage_error(s->a, "--tune takes RULE=THRESHOLD, not '%.*s'", (int)n, at);
        if ((tune ? soma_doctor_tune(s->doctor, word, limit) : soma_doctor_silence(s->doctor, word)) != SOMA_OK) {
            library_error(s->a);
            return 2;
        }
        at += n + (at[n] == ',');
    }
    return 0;
}

int session_make_doctor(session *s)
{
    s->doctor = soma_doctor_new();
    if (!s->doctor)
        return library_error(s->a);
    int code = each_rule(s, arg_text(s->a, "silence"), false);
    return code ? code : each_rule(s, arg_text(s->a, "tune"), true);
}

int session_check(session *s, bool overfit)
{
    soma_loss_opts loss;
    soma_check_opts o = {.loss = recipe_loss(&s->r, &loss), .loss_user = &loss, .net = s->r.net, .overfit = overfit, .size = sizeof o};
    return soma_check_ex(s->doctor, s->net, s->opt, s->train_loader, s->val_loader, &o) == SOMA_OK ? 0 : library_error(s->a);
}

int session_rules(bool training)
{
    int n = 0;
    for (int i = 0; i < soma_rule_count(); i++)
        n += soma_rule_get(i)->training == training;
    return n;
}

/* ---- Findings ------------------------------------------------------------------------------------------------------------------ */

void findings_brief(const args *a, const soma_doctor *d, soma_severity least)
{
    char text[1024];
    for (int i = 0; i < soma_doctor_count(d); i++) {
        const soma_finding *f = soma_doctor_get(d, i);
        if (f->severity < least)
            continue;
        soma_finding_text(f, true, text, sizeof text);
        note(a, "%s", text);
    }
}

/* The lines of a finding begin with a word and its text in two columns; long texts are wrapped in theirs. */
static void print_finding(const soma_finding *f)
{
    char text[4096];
    enum { COLUMN = 10 };
    const char *style = term_style(stdout, f->severity == SOMA_FAULT ? TERM_RED : f->severity == SOMA_WARNING ? TERM_YELLOW : TERM_BLUE);
    soma_finding_text(f, false, text, sizeof text);
    char *line = text;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        if (line == text) {
            size_t word = strcspn(line, ":");
            printf("%s%.*s%s%s\n", style, (int)word, line, term_style(stdout, TERM_PLAIN), line + word);
            continue;
        }
        printf("%.*s", COLUMN, line);
        print_wrapped(stdout, line + COLUMN, COLUMN, COLUMN, term_width(stdout));
    }
}

void findings_print(const soma_doctor *d, const char *all_well)
{
    if (soma_doctor_count(d) == 0)
        printf("%s\n", all_well);
    for (int i = 0; i < soma_doctor_count(d); i++) {
        if (i)
            putchar('\n');
        print_finding(soma_doctor_get(d, i));
    }
}

json_t *findings_json(const soma_doctor *d)
{
    char text[8192];
    json_t *all = json_array();
    for (int i = 0; i < soma_doctor_count(d); i++) {
        soma_finding_json(soma_doctor_get(d, i), text, sizeof text);
        json_array_append_new(all, json_loads(text, 0, NULL));
    }
    return all;
}

void session_free(session *s)
{
    soma_history_free(&s->history);
    soma_loader_free(s->train_loader);
    soma_loader_free(s->val_loader);
    soma_sched_free(s->sched);
    soma_optim_free(s->opt);
    soma_nn_free(s->net);
    soma_norm_stats_free(&s->norm);
    soma_data_free(s->val);
    soma_data_free(s->train);
    soma_data_free(s->all);
    recipe_free(&s->r);
    soma_doctor_free(s->doctor);
    json_decref(s->keep);
    free(s->config);
    free(s->target);
}
