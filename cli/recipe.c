/* The settings of a training: from options, to config.json and back, and what the library makes of them. One table relates the
 * option's name, its place in the struct and its name in the file, so that none of the three can be forgotten. */
#include "recipe.h"
#include "choices.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct field {
    const char *name;
    option_kind kind;
    size_t offset;
    bool anew;          /* may be given with --resume */
    double min, max;    /* allowed, both included */
    bool later;         /* runs of the first release do not have it: its default then */
} field;

#define AT(member) offsetof(recipe, member)
static const field fields[] = {
    {"data", OPT_TEXT, AT(data), false, 0, 0, false}, /* paths are kept so that they are valid from any folder */
    {"val-data", OPT_TEXT, AT(val_data), false, 0, 0, false},
    {"net", OPT_TEXT, AT(net), false, 0, 0, false},
    {"epochs", OPT_INT, AT(epochs), true, 1, 1e9, false},
    {"batch", OPT_INT, AT(batch), false, 0, 1e9, false},
    {"accumulate", OPT_INT, AT(accumulate), false, 1, 1e9, true},
    {"lr", OPT_NUMBER, AT(lr), false, 0, 1e9, false},
    {"optim", OPT_TEXT, AT(optim), false, 0, 0, false},
    {"momentum", OPT_NUMBER, AT(momentum), false, 0, 1, false},
    {"nesterov", OPT_FLAG, AT(nesterov), false, 0, 0, false},
    {"weight-decay", OPT_NUMBER, AT(weight_decay), false, 0, 1e9, false},
    {"schedule", OPT_TEXT, AT(schedule), false, 0, 0, false},
    {"step-every", OPT_INT, AT(step_every), false, 1, 1e9, false},
    {"gamma", OPT_NUMBER, AT(gamma), false, 0, 1e9, false},
    {"warmup", OPT_INT, AT(warmup), false, 0, 1e9, false},
    {"clip", OPT_NUMBER, AT(clip), false, 0, 1e30, false},
    {"clip-value", OPT_NUMBER, AT(clip_value), false, 0, 1e30, true},
    {"l1", OPT_NUMBER, AT(l1), false, 0, 1e9, true},
    {"l2", OPT_NUMBER, AT(l2), false, 0, 1e9, true},
    {"prox-l1", OPT_NUMBER, AT(prox_l1), false, 0, 1e9, true},
    {"prox-l2", OPT_NUMBER, AT(prox_l2), false, 0, 1e9, true},
    {"max-norm", OPT_NUMBER, AT(max_norm), false, 0, 1e9, true},
    {"label-smoothing", OPT_NUMBER, AT(label_smoothing), false, 0, 1, true},
    {"mixup", OPT_NUMBER, AT(mixup), false, 0, 1e9, true},
    {"grad-noise", OPT_NUMBER, AT(grad_noise), false, 0, 1e9, true},
    {"activity-l1", OPT_NUMBER, AT(activity_l1), false, 0, 1e9, true},
    {"activity-kl", OPT_TEXT, AT(activity_kl), false, 0, 0, true},
    {"init", OPT_TEXT, AT(init), false, 0, 0, false},
    {"ema", OPT_NUMBER, AT(ema), false, 0, 0.9999999999, true},
    {"swa", OPT_INT, AT(swa), false, 0, 1e9, true},
    {"loss", OPT_TEXT, AT(loss), false, 0, 0, false},
    {"val", OPT_NUMBER, AT(val), false, 0, 0.9, false},
    {"seed", OPT_SEED, AT(seed), false, 0, 0, false},
    {"workers", OPT_INT, AT(workers), true, 0, 256, false},
    {"checkpoint-every", OPT_INT, AT(checkpoint_every), true, 0, 1e12, false},
    {"patience", OPT_INT, AT(patience), true, 0, 1e9, false},
    {"flip", OPT_FLAG, AT(flip), false, 0, 0, false},
    {"shift", OPT_INT, AT(shift), false, 0, 4096, false},
    {"crop", OPT_INT, AT(crop), false, 0, 4096, false},
    {"erase", OPT_NUMBER, AT(erase), false, 0, 1, false},
    {"cutout", OPT_INT, AT(cutout), false, 0, 4096, true},
    {"no-normalise", OPT_FLAG, AT(no_normalise), false, 0, 0, false},
    {"precision", OPT_TEXT, AT(precision), false, 0, 0, true},
    {"size", OPT_TEXT, AT(size), false, 0, 0, false},
    {"channels", OPT_INT, AT(channels), false, 0, 3, false},
    {"target", OPT_TEXT, AT(target), false, 0, 0, false},
    {"task", OPT_TEXT, AT(task), false, 0, 0, false},
    {"skip-bad", OPT_FLAG, AT(skip_bad), false, 0, 0, false},
};
enum { N_FIELDS = sizeof fields / sizeof fields[0] };

static void *place(recipe *r, const field *f) { return (char *)r + f->offset; }
static const void *place_const(const recipe *r, const field *f) { return (const char *)r + f->offset; }

/* ---- From options ---------------------------------------------------------------------------------------------------- */

/* --batch: a number, or "all". */
static int read_batch(const args *a, recipe *r)
{
    const char *text = arg_text(a, "batch");
    char *end;
    errno = 0;
    r->batch = strtoll(text, &end, 10);
    if (!strcmp(text, "all"))
        r->batch = 0;
    else if (errno || end == text || *end || r->batch < 1 || r->batch > 1000000000)
        return usage_error(a, "--batch takes the number of samples in a step, or all, not '%s'", text);
    return 0;
}

static int take_field(const args *a, recipe *r, const field *f)
{
    void *p = place(r, f);
    double number = 0;
    if (!strcmp(f->name, "batch"))
        return read_batch(a, r);
    switch (f->kind) {
    case OPT_FLAG:
        *(bool *)p = arg_flag(a, f->name);
        return 0;
    case OPT_TEXT:
        *(const char **)p = arg_text(a, f->name);
        return 0;
    case OPT_SEED:
        *(uint64_t *)p = arg_seed(a, f->name);
        return 0;
    case OPT_INT:
        number = (double)(*(int64_t *)p = arg_int(a, f->name));
        break;
    case OPT_NUMBER:
        number = *(double *)p = arg_number(a, f->name);
        break;
    }
    if (number < f->min && f->max >= 1e9)
        return usage_error(a, "--%s is %g; it must be at least %g", f->name, number, f->min);
    if (number < f->min || number > f->max)
        return usage_error(a, "--%s is %g; it must be from %g to %g", f->name, number, f->min, f->max);
    return 0;
}

/* --activity-kl: "0.05:0.1", the activity that is wanted and the weight of the penalty. */
static int read_activity(const args *a, recipe *r)
{
    char *end = NULL;
    if (!r->activity_kl)
        return 0;
    r->kl_rho = strtod(r->activity_kl, &end);
    if (*end == ':') {
        const char *second = end + 1;
        r->kl_weight = strtod(second, &end);
        if (end == second)
            end = (char *)r->activity_kl;
    }
    if (end == r->activity_kl || *end || !(r->kl_rho > 0 && r->kl_rho < 1) || !(r->kl_weight > 0 && r->kl_weight < 1e9))
        return usage_error(a, "--activity-kl takes an activity between 0 and 1 and a weight, such as 0.05:0.1, not '%s'", r->activity_kl);
    return 0;
}

/* A mistake in --loss, in the name or in the value of an option, is one in how the tool is used: it is computed once, of zeros. */
static int check_loss(const args *a, const recipe *r)
{
    soma_loss_opts opts;
    if (!r->loss)
        return 0;
    soma_scope scope = soma_scope_begin();
    soma_loss_fn fn = soma_loss_parse(r->loss, &opts);
    const soma_loss_info *info = fn ? soma_loss_find(r->loss) : NULL;
    soma_tensor *target = info && info->classes ? soma_zeros(SOMA_SHAPE(1), SOMA_I64) : soma_full(SOMA_SHAPE(1, 1), 0.5, SOMA_F32);
    bool good = fn && fn(&opts, soma_zeros(SOMA_SHAPE(1, info->per_class ? 2 : 1), SOMA_F32), target);
    soma_scope_end(scope);
    if (good)
        return 0;
    library_error(a);
    return 2;
}

/* Options that would do nothing. */
static int check_idle(const args *a, const recipe *r)
{
    const soma_sched_info *info = chosen_sched(r->schedule);
    const char *name = info ? info->name : "";
    bool stairs = !strcmp(name, "step");
    if (arg_given(a, "step-every") && !stairs)
        return usage_error(a, "--step-every goes with --schedule step, not with %s", name);
    if (arg_given(a, "gamma") && !stairs && strcmp(name, "multi_step") != 0 && strcmp(name, "exponential") != 0)
        return usage_error(a, "--gamma goes with --schedule step, multi_step or exponential, not with %s", name);
    if (r->swa > r->epochs)
        note(a, "--swa %lld begins after the last of %lld epochs: only --resume with more --epochs gets there", (long long)r->swa, (long long)r->epochs);
    return 0;
}

/* Optimiser, schedule and initialisation with their options: a mistake costs nothing yet. */
static int check_choices(const args *a, const recipe *r)
{
    soma_optim *opt = recipe_optim(r, NULL);
    soma_sched *sched = opt ? recipe_sched(r, 100) : NULL;
    bool good = sched != NULL;
    soma_optim_free(opt);
    soma_sched_free(sched);
    if (!good) {
        library_error(a);
        return 2;
    }
    const char *names[64];
    int n = soma_init_kind_count();
    for (int i = 0; i < n && i < 64; i++) {
        names[i] = soma_init_kind_get(i)->name;
        if (!strcmp(names[i], r->init))
            return 0;
    }
    const char *near = nearest_name(r->init, names, n);
    return usage_error(a, "there is no initialisation '%s'%s%s%s; --init list shows all", r->init, near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
}

/* "28x28", or "28" for both. */
static int read_size(const args *a, recipe *r)
{
    if (!r->size)
        return 0;
    char *end;
    errno = 0;
    r->height = r->width = strtoll(r->size, &end, 10);
    if (end != r->size && (*end == 'x' || *end == 'X')) {
        const char *second = end + 1;
        r->width = strtoll(second, &end, 10);
        if (end == second)
            end = (char *)r->size; /* nothing after the x */
    }
    if (errno || end == r->size || *end || r->height < 1 || r->height > 16384 || r->width < 1 || r->width > 16384)
        return usage_error(a, "--size takes height x width in pixels, such as 28x28, not '%s'", r->size);
    return 0;
}

static bool readable_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, R_OK) == 0;
}

/* A path as it is valid from any folder. What is no path ("drawn") and what is not there stay as they are. */
static const char *absolute(recipe *r, const char *key, const char *path)
{
    char *real = path ? realpath(path, NULL) : NULL;
    if (!real)
        return path;
    json_t *text = json_string(real);
    free(real);
    if (!text || json_object_set_new(r->config, key, text))
        return path;
    return json_string_value(text);
}

/* --net may name a file with the description in it. */
static int read_net(const args *a, recipe *r)
{
    if (!readable_file(r->net))
        return 0;
    soma_bytes bytes;
    if (soma_read_file(r->net, false, 1 << 20, &bytes) != SOMA_OK)
        return library_error(a);
    while (bytes.size > 0 && strchr(" \t\r\n", bytes.data[bytes.size - 1]))
        bytes.size--;
    json_t *text = json_stringn((const char *)bytes.data, bytes.size);
    soma_bytes_free(&bytes);
    if (!text || json_object_set_new(r->config, "net", text))
        return work_error(a, "%s: not a network description: it is not text in UTF-8", r->net);
    r->net = json_string_value(text);
    return 0;
}

int recipe_from_args(const args *a, recipe *r)
{
    memset(r, 0, sizeof *r);
    r->config = json_object();
    if (!arg_text(a, "data"))
        return usage_error(a, "--data is missing: a folder, a .csv table, a .npy file, or \"drawn\"");
    if (!arg_text(a, "net"))
        return usage_error(a, "--net is missing: a network description such as \"flatten, linear 128 relu, linear 10\", or a file with one");
    for (int i = 0; i < N_FIELDS; i++) {
        int code = take_field(a, r, &fields[i]);
        if (code)
            return code;
    }
    r->weight_decay = arg_given(a, "weight-decay") ? r->weight_decay : NAN;
    r->momentum = arg_given(a, "momentum") ? r->momentum : NAN;
    r->gamma = arg_given(a, "gamma") ? r->gamma : NAN;
    const soma_optim_info *info = chosen_optim(r->optim);
    if (!arg_given(a, "lr"))
        r->lr = info ? info->options[0].def : 1;
    if (!(r->lr > 0))
        return usage_error(a, "--lr is %g; it must be above 0", r->lr);
    if (r->channels == 2)
        return usage_error(a, "--channels takes 1 (grey) or 3 (colour), not 2");
    if (r->nesterov && !(r->momentum > 0))
        return usage_error(a, "--nesterov needs a --momentum above 0");
    if ((r->momentum > 0 && info && !optim_has_option(info, "momentum")) || (r->nesterov && info && strcmp(info->name, "sgd")))
        return usage_error(a, "--%s is for --optim sgd%s; %s has its own", r->nesterov ? "nesterov" : "momentum",
                           r->nesterov ? "" : ", rmsprop and lars", info->name);
    int code = check_choices(a, r);
    if (!code)
        code = read_size(a, r);
    if (!code)
        code = read_activity(a, r);
    if (!code)
        code = check_loss(a, r);
    if (!code)
        code = check_idle(a, r);
    if (!code)
        code = read_net(a, r);
    r->data = absolute(r, "data", r->data);
    r->val_data = absolute(r, "val-data", r->val_data);
    return code;
}

/* ---- config.json ------------------------------------------------------------------------------------------------------- */

static json_t *field_to_json(const recipe *r, const field *f)
{
    const void *p = place_const(r, f);
    char seed[32];
    switch (f->kind) {
    case OPT_FLAG:
        return json_boolean(*(const bool *)p);
    case OPT_INT:
        return json_integer(*(const int64_t *)p);
    case OPT_NUMBER:
        return isfinite(*(const double *)p) ? json_real(*(const double *)p) : json_null();
    case OPT_SEED: /* text: 2^64 - 1 does not fit in JSON's usual numbers */
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)*(const uint64_t *)p);
        return json_string(seed);
    default:
        return *(const char *const *)p ? json_string(*(const char *const *)p) : json_null();
    }
}

json_t *recipe_to_json(const recipe *r)
{
    json_t *out = json_object();
    for (int i = 0; out && i < N_FIELDS; i++) {
        if (json_object_set_new(out, fields[i].name, field_to_json(r, &fields[i]))) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static int field_from_json(const args *a, const char *path, const json_t *settings, recipe *r, const field *f)
{
    void *p = place(r, f);
    const json_t *v = json_object_get(settings, f->name);
    bool good = v != NULL;
    if (!v && f->later)
        return take_field(a, r, f);
    if (f->kind == OPT_FLAG && (good = json_is_boolean(v)))
        *(bool *)p = json_is_true(v);
    else if (f->kind == OPT_INT && (good = json_is_integer(v)))
        *(int64_t *)p = json_integer_value(v);
    else if (f->kind == OPT_NUMBER && (good = json_is_number(v) || json_is_null(v)))
        *(double *)p = json_is_null(v) ? NAN : json_number_value(v);
    else if (f->kind == OPT_SEED && (good = json_is_string(v)))
        *(uint64_t *)p = strtoull(json_string_value(v), NULL, 10);
    else if (f->kind == OPT_TEXT && (good = json_is_string(v) || json_is_null(v)))
        *(const char **)p = json_string_value(v);
    double number = f->kind == OPT_INT ? (double)*(int64_t *)p : f->kind == OPT_NUMBER ? *(double *)p : f->min;
    if (good && !(number < f->min) && !(number > f->max))
        return 0;
    return work_error(a, "%s: settings.%s is missing or of the wrong kind", path, f->name);
}

static int take_anew(const args *a, recipe *r, const field *f)
{
    if (!arg_given(a, f->name))
        return 0;
    if (!f->anew)
        return usage_error(a, "--%s cannot be changed with --resume: the run's config.json has it (a larger --epochs can be given)", f->name);
    return take_field(a, r, f);
}

int recipe_from_run(const args *a, const char *run, recipe *r)
{
    char path[PATH_MAX];
    json_error_t error;
    struct stat info;
    memset(r, 0, sizeof *r);
    snprintf(path, sizeof path, "%s/config.json", run);
    if (stat(run, &info))
        return work_error(a, "%s: no such run folder", run);
    r->config = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!r->config && access(path, R_OK))
        return work_error(a, "%s: cannot read: %s; %s is not the folder of a run", path, strerror(errno), run);
    if (!r->config)
        return work_error(a, "%s: line %d, column %d: %s", path, error.line, error.column, error.text);
    const json_t *settings = json_object_get(r->config, "settings");
    if (!json_is_object(settings))
        return work_error(a, "%s: has no object \"settings\": it was not written by soma train", path);
    for (int i = 0; i < N_FIELDS; i++) {
        int code = field_from_json(a, path, settings, r, &fields[i]);
        if (!code)
            code = take_anew(a, r, &fields[i]);
        if (code)
            return code;
    }
    if (!r->data || !r->net || !r->optim || !r->schedule || !r->task)
        return work_error(a, "%s: settings are incomplete", path);
    if (!r->precision || (strcmp(r->precision, "f32") && strcmp(r->precision, "bf16")))
        return work_error(a, "%s: settings.precision is %s, expected f32 or bf16", path, r->precision ? r->precision : "null");
    int code = read_size(a, r);
    return code ? code : read_activity(a, r);
}

void recipe_free(recipe *r)
{
    json_decref(r->config);
    r->config = NULL;
}

/* ---- What the library makes of it ------------------------------------------------------------------------------------ */

soma_dataset *recipe_open_data(const recipe *r, const char *path, soma_part part, soma_dataset *like)
{
    const char *names[4096];
    soma_data_opts o = {.channels = (int)r->channels, .height = (int)r->height, .width = (int)r->width, .skip_bad = r->skip_bad,
                        .target = r->target, .part = part, .auto_task = !strcmp(r->task, "auto"),
                        .task = !strcmp(r->task, "reconstruct") ? SOMA_UNLABELLED : !strcmp(r->task, "regress") ? SOMA_REGRESS : SOMA_CLASSIFY,
                        .size = sizeof o};
    if (like) { /* the same task, classes and image size as the training data */
        o.task = soma_data_task(like);
        o.auto_task = false;
        o.n_classes = soma_data_classes(like);
        if (o.n_classes > (int)(sizeof names / sizeof names[0]))
            o.n_classes = 0;
        for (int i = 0; i < o.n_classes; i++)
            names[i] = soma_data_class(like, i);
        o.classes = names;
        if (soma_data_ndim(like) == 3) {
            const int64_t *shape = soma_data_shape(like);
            o.channels = (int)shape[0], o.height = (int)shape[1], o.width = (int)shape[2];
        }
    }
    return soma_data_open_ex(path, &o);
}

soma_optim *recipe_optim(const recipe *r, soma_module *net)
{
    soma_attr own[4];
    int n = 0;
    own[n++] = SOMA_FLOAT("lr", r->lr);
    if (!isnan(r->momentum) && (r->momentum > 0 || optim_has_option(chosen_optim(r->optim), "momentum")))
        own[n++] = SOMA_FLOAT("momentum", r->momentum);
    if (r->nesterov)
        own[n++] = SOMA_BOOLEAN("nesterov", true);
    if (!isnan(r->weight_decay))
        own[n++] = SOMA_FLOAT("weight_decay", r->weight_decay);
    return choose_optim(r->optim, net, own, n);
}

/* The options of the schedules that had ones of their own on the command line before all had. */
soma_sched *recipe_sched(const recipe *r, int64_t steps_an_epoch)
{
    const soma_sched_info *info = chosen_sched(r->schedule);
    const char *name = info ? info->name : "";
    bool stairs = !strcmp(name, "step"), falls = stairs || !strcmp(name, "multi_step") || !strcmp(name, "exponential");
    int64_t total = r->epochs * steps_an_epoch - r->warmup;
    soma_attr own[2];
    int n = 0;
    if (stairs)
        own[n++] = SOMA_INT("step_size", r->step_every * steps_an_epoch);
    if (!strcmp(name, "exponential"))
        own[n++] = SOMA_INT("every", steps_an_epoch);
    if (falls && !isnan(r->gamma))
        own[n++] = SOMA_FLOAT("gamma", r->gamma);
    soma_sched *s = choose_sched(r->schedule, total < 1 ? 1 : total, steps_an_epoch, own, n);
    return s && r->warmup > 0 ? soma_sched_warmup(r->warmup, s) : s;
}

soma_loss_fn recipe_loss(const recipe *r, soma_loss_opts *opts)
{
    *opts = (soma_loss_opts){.size = sizeof *opts};
    return r->loss ? soma_loss_parse(r->loss, opts) : NULL;
}

void recipe_fit(const recipe *r, soma_fit_opts *o)
{
    o->epochs = r->epochs;
    o->accumulate = r->accumulate;
    o->patience = r->patience;
    o->checkpoint_every = r->checkpoint_every;
    o->clip_norm = r->clip, o->clip_value = r->clip_value;
    o->l1 = r->l1, o->l2 = r->l2;
    o->prox_l1 = r->prox_l1, o->prox_l2 = r->prox_l2;
    o->max_norm = r->max_norm;
    o->ema_decay = r->ema;
    o->swa_start = r->swa;
    o->label_smoothing = r->label_smoothing;
    o->mixup = r->mixup;
    o->grad_noise = r->grad_noise;
    o->activity_l1 = r->activity_l1;
    o->activity_kl = r->kl_weight, o->activity_rho = r->kl_rho;
}
