/* soma train: data, network, optimiser and run folder from the options (or from a run's config.json), then soma_fit. Until the first
 * file is written everything has been checked, so that a mistake costs nothing. */
#include "choices.h"
#include "model.h"
#include "options.h"
#include "plots.h"
#include "recipe.h"
#include "session.h"
#include "term.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const option options[] = {
#include "train_options.def"
    {"no-doctor", 0, OPT_FLAG, NULL, "do not look for faults before and during the training", NULL},
};

/* ---- Ctrl-C: the first asks for the end of the step and a checkpoint, the second ends the process ----------------------- */

static volatile sig_atomic_t stop_wanted;
static struct timespec stop_time;

/* timeout(1) signals a process and then its group: what comes within a moment of the first signal is the same request. */
static bool is_new_request(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double since = (double)(now.tv_sec - stop_time.tv_sec) + (double)(now.tv_nsec - stop_time.tv_nsec) * 1e-9;
    if (!stop_wanted)
        stop_time = now;
    return !stop_wanted || since > 0.25;
}

static void on_signal(int number)
{
    static const char text[] = "\nsoma train: saving a checkpoint and stopping; once more to quit at once\n";
    int kept = errno;
    if (stop_wanted && is_new_request()) {
        signal(number, SIG_DFL);
        raise(number);
    } else if (!stop_wanted && is_new_request()) {
        stop_wanted = 1;
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
            kept = errno; /* nobody reads: stop all the same */
    }
    errno = kept;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool should_stop(void *user)
{
    (void)user;
    return stop_wanted;
}

/* ---- The run folder -------------------------------------------------------------------------------------------------------- */

static bool holds_run(const char *dir)
{
    static const char *const files[] = {"config.json", "metrics.jsonl", "model.safetensors"};
    char path[PATH_MAX + 32];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        if (!access(path, F_OK))
            return true;
    }
    return false;
}

/* What to call a run on this data: the last part of its path that says something. */
static void run_name(const char *data, char *out, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", data);
    out[0] = 0;
    for (int i = 0; i < 3 && !out[0]; i++) {
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/')
            path[--n] = 0;
        char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        bool dull = !strcmp(name, "train") || !strcmp(name, "images") || !strcmp(name, "data") || !strcmp(name, ".") || !strcmp(name, "..");
        if (!dull || !slash)
            snprintf(out, size, "%s", name);
        else
            *slash = 0;
    }
    for (char *c = out; *c; c++)
        if (*c == '/' || *c == ':' || *c == ' ')
            *c = '-';
    char *dot = strrchr(out, '.');
    if (dot == out)
        out[0] = 0;
    else if (dot)
        *dot = 0;
    if (!out[0])
        snprintf(out, size, "run");
}

/* Makes runs/NAME-1 or the first number that is free; two that start at once get different ones. */
static int new_run_folder(session *s)
{
    char name[256];
    run_name(s->r.data, name, sizeof name);
    if (mkdir("runs", 0777) && errno != EEXIST)
        return work_error(s->a, "cannot make the folder runs: %s; give a run folder with --out", strerror(errno));
    for (int i = 1; i < 1000000; i++) {
        snprintf(s->run, sizeof s->run, "runs/%s-%d", name, i);
        if (!mkdir(s->run, 0777)) {
            s->made_run = true;
            return 0;
        }
        if (errno != EEXIST)
            return work_error(s->a, "%s: cannot make the run folder: %s", s->run, strerror(errno));
    }
    return work_error(s->a, "runs: no free name for a run of %s; give one with --out", name);
}

static int choose_run(session *s)
{
    const char *out = arg_text(s->a, "out");
    if (s->resume) {
        snprintf(s->run, sizeof s->run, "%s", arg_text(s->a, "resume"));
        return 0;
    }
    if (!out)
        return 0; /* made when all else is known to be good */
    if (!out[0] || strlen(out) >= sizeof s->run)
        return usage_error(s->a, "--out takes the name of a folder");
    snprintf(s->run, sizeof s->run, "%s", out);
    if (!arg_flag(s->a, "force") && holds_run(out))
        return work_error(s->a, "%s holds a run already; give another --out, go on with it by --resume %s, or replace it with --force",
                          out, out);
    return 0;
}

static int write_config(session *s)
{
    json_t *classes = json_array(), *shape = json_array(), *settings = recipe_to_json(&s->r);
    for (int i = 0; i < soma_data_classes(s->train); i++)
        json_array_append_new(classes, json_string(soma_data_class(s->train, i)));
    for (int i = 0; i < soma_data_ndim(s->train); i++)
        json_array_append_new(shape, json_integer(soma_data_shape(s->train)[i]));
    json_t *config = json_pack("{s:s, s:o, s:{s:s, s:I, s:I, s:s, s:o, s:o}, s:I, s:s}", "soma", soma_version(), "settings", settings,
                               "data", "description", soma_data_describe(s->train), "train",
                               (json_int_t)soma_data_count(s->train), "validation",
                               (json_int_t)(s->val ? soma_data_count(s->val) : 0), "task",
                               s->reconstruct ? "reconstruct" : task_of(s) == SOMA_REGRESS ? "regress" : "classify", "shape", shape, "classes", classes,
                               "parameters", (json_int_t)soma_nn_count(s->net), "isa", soma_isa());
    s->config = config ? json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(config);
    return s->config ? 0 : work_error(s->a, "no memory for config.json");
}

/* A run can only go on in the same bits with the same data. */
static int check_same_data(const session *s)
{
    const json_t *data = json_object_get(s->r.config, "data");
    json_int_t train = json_integer_value(json_object_get(data, "train")), val = json_integer_value(json_object_get(data, "validation"));
    int64_t now_train = soma_data_count(s->train), now_val = s->val ? soma_data_count(s->val) : 0;
    if (train != now_train || val != now_val)
        return work_error(s->a, "%s: the data has changed: the run began with %lld samples and %lld for validation, now there are %lld and %lld",
                          s->r.data, (long long)train, (long long)val, (long long)now_train, (long long)now_val);
    const char *isa = json_string_value(json_object_get(s->r.config, "isa"));
    if (isa && strcmp(isa, soma_isa()))
        note(s->a, "the run began with the instruction set %s, here it is %s: it goes on, but the last bits will differ", isa, soma_isa());
    const json_t *classes = json_object_get(data, "classes");
    bool same = json_array_size(classes) == (size_t)soma_data_classes(s->train);
    for (int i = 0; same && i < soma_data_classes(s->train); i++) {
        const char *name = json_string_value(json_array_get(classes, (size_t)i));
        same = name && !strcmp(name, soma_data_class(s->train, i));
    }
    return same ? 0 : work_error(s->a, "%s: the data has changed: it has other classes than when the run began", s->r.data);
}

/* ---- Progress ---------------------------------------------------------------------------------------------------------------- */

static const char *figure(const session *s, double v, char out[HUMAN])
{
    if (task_of(s) == SOMA_REGRESS)
        snprintf(out, HUMAN, isnan(v) ? "-" : "%.4f", v);
    else
        human_percent(out, v);
    return out;
}

static const char *figure_name(const session *s) { return task_of(s) == SOMA_REGRESS ? "R²" : "acc"; }

static int on_step(void *user, const soma_progress *p)
{
    session *s = user;
    if (!progress_due(&s->bar))
        return 0;
    char before[64], after[256], share[HUMAN], speed[HUMAN], left[HUMAN];
    snprintf(before, sizeof before, "epoch %lld/%lld", (long long)p->epoch, (long long)p->epochs);
    snprintf(after, sizeof after, "step %lld/%lld  loss %.4f  %s %s  %s %s/s  %s left", (long long)p->step, (long long)p->steps,
             p->loss, figure_name(s), figure(s, p->accuracy, share),
             human_count(speed, isfinite(p->samples_per_second) ? llround(p->samples_per_second) : 0),
             soma_data_ndim(s->train) == 3 ? "img" : "samples", human_seconds(left, p->seconds_left));
    progress_show(&s->bar, (double)p->step, (double)p->steps, before, after);
    return 0;
}

static int on_epoch(void *user, const soma_epoch *e)
{
    session *s = user;
    double now = clock_seconds();
    bool last = e->epoch >= s->r.epochs;
    if (s->r.epochs > 100 && !last && now - s->last_line < 1)
        return 0; /* hundreds of quick epochs: metrics.jsonl has them all */
    s->last_line = now;
    char a[HUMAN], b[HUMAN], t[HUMAN], val[96] = "";
    if (s->val)
        snprintf(val, sizeof val, "  val loss %.4f  %s %s", e->val_loss, figure_name(s), figure(s, e->val_accuracy, b));
    progress_line(&s->bar, "epoch %lld/%lld  loss %.4f  %s %s%s  %s%s", (long long)e->epoch, (long long)s->r.epochs, e->train_loss,
                  figure_name(s), figure(s, e->train_accuracy, a), val, human_seconds(t, e->seconds), s->val && e->best ? "  best" : "");
    return 0;
}

/* ---- The doctor ------------------------------------------------------------------------------------------------------------- */

static int look_before(session *s)
{
    int code = session_check(s, false);
    if (code)
        return code;
    findings_brief(s->a, s->doctor, SOMA_WARNING);
    if (soma_doctor_count(s->doctor) == 0)
        note(s->a, "check: %d rules, all well", session_rules(false));
    return 0;
}

/* While it trains: errors and warnings, as they come. */
static void on_finding(void *user, const soma_finding *f)
{
    session *s = user;
    char text[1024];
    if (f->first == 0 || f->severity < SOMA_WARNING)
        return;
    soma_finding_text(f, true, text, sizeof text);
    progress_line(&s->bar, "step %lld: %s", (long long)f->first, text);
}

static void print_findings(const session *s)
{
    int n = soma_doctor_count(s->doctor);
    if (n > 0)
        printf("doctor      %d finding%s: soma doctor %s\n", n, n > 1 ? "s" : "", s->run);
}

/* ---- Results ------------------------------------------------------------------------------------------------------------------- */

static json_t *epoch_json(const soma_epoch *e)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch", (json_int_t)e->epoch, "steps", (json_int_t)e->steps,
                     "train_loss", json_figure(e->train_loss), "train_accuracy", json_figure(e->train_accuracy), "val_loss",
                     json_figure(e->val_loss), "val_accuracy", json_figure(e->val_accuracy), "lr", json_figure(e->lr), "seconds",
                     json_figure(e->seconds), "samples_per_second", json_figure(e->samples_per_second));
}

static int print_result_json(const session *s, bool stopped)
{
    const soma_history *h = &s->history;
    json_t *epochs = json_array();
    for (int64_t i = 0; i < h->n; i++)
        json_array_append_new(epochs, epoch_json(&h->epochs[i]));
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/model.safetensors", s->run);
    json_t *out = json_pack("{s:s, s:s, s:s, s:b, s:I, s:o, s:o, s:o, s:o}", "status", stopped ? "stopped" : "done", "run", s->run, "model",
                            path, "stopped_early", (int)h->stopped_early, "parameters", (json_int_t)soma_nn_count(s->net),
                            "best_epoch", h->best >= 0 ? json_integer(h->epochs[h->best].epoch) : json_null(), "seconds",
                            json_figure(clock_seconds() - s->started), "epochs", epochs, "findings", findings_json(s->doctor));
    return print_json(s->a, out);
}

static void print_result_text(const session *s)
{
    const soma_history *h = &s->history;
    char a[HUMAN], t[HUMAN];
    const char *what = task_of(s) == SOMA_REGRESS ? "R²" : "accuracy";
    printf("run         %s\n", s->run);
    if (h->best >= 0) {
        const soma_epoch *e = &h->epochs[h->best];
        printf("model       %s/model.safetensors (epoch %lld%s)\n", s->run, (long long)e->epoch, s->val ? ", the best" : ", the last");
        printf("training    loss %.4f, %s %s\n", e->train_loss, what, figure(s, e->train_accuracy, a));
        if (s->val)
            printf("validation  loss %.4f, %s %s\n", e->val_loss, what, figure(s, e->val_accuracy, a));
    }
    printf("time        %s%s\n", human_seconds(t, clock_seconds() - s->started),
           h->stopped_early ? ", stopped early: the validation loss did not improve any more" : "");
}

static void draw(const session *s)
{
    soma_status status = plot_curves(s->run);
    if (status != SOMA_OK) {
        note(s->a, "no curves: %s", soma_error_message());
        drop_error();
    } else if (!arg_flag(s->a, "json")) {
        printf("curves      %s/curves.png\n", s->run);
    }
}

/* A run that failed before its first steps were written leaves nothing to go on with: its files go again. */
static void drop_begun(const session *s)
{
    static const char *const files[] = {"metrics.jsonl", "doctor.jsonl", "config.json", "checkpoint-000000000.safetensors"};
    char path[PATH_MAX + 64];
    struct stat info;
    snprintf(path, sizeof path, "%s/metrics.jsonl", s->run);
    if (!s->resume && stat(path, &info) == 0 && info.st_size == 0)
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
            snprintf(path, sizeof path, "%s/%s", s->run, files[i]);
            unlink(path);
        }
    if (s->made_run)
        rmdir(s->run); /* goes only when it is empty */
}

static int finish(session *s, soma_status status)
{
    progress_end(&s->bar);
    if (status == SOMA_ESTOPPED) {
        drop_error();
        if (arg_flag(s->a, "json"))
            print_result_json(s, true);
        return work_error(s->a, "stopped; go on with: soma train --resume %s", s->run);
    }
    if (status != SOMA_OK) {
        int code = library_error(s->a);
        drop_begun(s);
        return code;
    }
    if (!arg_flag(s->a, "json"))
        print_result_text(s);
    draw(s);
    if (s->doctor && !arg_flag(s->a, "json"))
        print_findings(s);
    return arg_flag(s->a, "json") ? print_result_json(s, false) : 0;
}

/* ---- The command ------------------------------------------------------------------------------------------------------------ */

static int fit(session *s)
{
    if (!s->run[0]) {
        int code = new_run_folder(s);
        if (code)
            return code;
    } else {
        s->made_run = access(s->run, F_OK) != 0;
    }
    soma_loss_opts loss;
    soma_fit_opts o = {
        .loss = recipe_loss(&s->r, &loss), .loss_user = &loss, .sched = s->sched, .run_dir = s->run, .config_json = s->config, .capture = true,
        .meta = s->pairs, .n_meta = s->n_pairs, .resume = s->resume, .overwrite = arg_flag(s->a, "force"),
        .callbacks = {.user = s, .on_step = on_step, .on_epoch = on_epoch, .should_stop = should_stop}, .size = sizeof o};
    recipe_fit(&s->r, &o);
    if (s->doctor)
        o.observer = soma_doctor_observer(s->doctor);
    char parameters[HUMAN], train[HUMAN], val[HUMAN];
    note(s->a, "%s", s->described);
    note(s->a, "%s parameters, %s samples to train on, %s to validate; run folder %s", human_count(parameters, soma_nn_count(s->net)),
         human_count(train, soma_data_count(s->train)), human_count(val, s->val ? soma_data_count(s->val) : 0), s->run);
    if (s->doctor && !s->resume) {
        int code = look_before(s);
        if (code)
            return code;
    }
    catch_signals();
    s->started = clock_seconds();
    progress_begin(&s->bar, arg_flag(s->a, "quiet"), 10);
    soma_status status = soma_fit_ex(s->net, s->opt, s->train_loader, s->val_loader, &s->history, &o);
    if (status == SOMA_OK && s->resume && clock_seconds() - s->started < 1 && s->history.n >= s->r.epochs)
        note(s->a, "all %lld epochs are done", (long long)s->history.n);
    return finish(s, status);
}

static int prepare(session *s)
{
    int code = s->resume ? recipe_from_run(s->a, arg_text(s->a, "resume"), &s->r) : recipe_from_args(s->a, &s->r);
    if (!code)
        code = choose_run(s);
    if (!code)
        code = session_open_data(s);
    if (!code && s->resume)
        code = check_same_data(s);
    if (!code)
        code = session_make_network(s);
    if (!code && !arg_flag(s->a, "no-doctor"))
        code = session_make_doctor(s);
    if (!code && s->doctor)
        soma_doctor_on_finding(s->doctor, on_finding, s);
    if (!code)
        code = write_config(s);
    if (code)
        return code;
    const char *loss = s->r.loss ? s->r.loss : task_of(s) == SOMA_REGRESS ? "mse" : "cross_entropy";
    s->keep = json_array();
    json_t *names = table_names(s->r.data, s->r.target, &s->target);
    s->n_pairs = model_pairs(s->train, s->reconstruct ? "reconstruct" : NULL, s->r.no_normalise ? NULL : &s->norm, loss, s->target, names, s->keep,
                             s->pairs);
    json_decref(names);
    return s->n_pairs >= 0 ? 0 : work_error(s->a, "no memory for the model's description");
}

/* --loss list */
static int list_losses(const args *a)
{
    json_t *all = json_array();
    for (int i = 0; i < soma_loss_count(); i++) {
        const soma_loss_info *l = soma_loss_get(i);
        const char *targets = l->classes && l->numbers ? "classes or numbers" : l->classes ? "classes" : "numbers";
        if (arg_flag(a, "json"))
            json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", l->name, "operator", l->op, "use", l->doc, "output", l->output,
                                                 "targets", targets, "options", l->options));
        else
            printf("%-16s%s\n%16starget: %s; output: %s%s%s\n", l->name, l->doc, "", targets, l->output, l->options[0] ? "; options: " : "", l->options);
    }
    if (arg_flag(a, "json"))
        return print_json(a, all);
    json_decref(all);
    return 0;
}

static int run_train(args *a)
{
    if (arg_text(a, "loss") && !strcmp(arg_text(a, "loss"), "list"))
        return list_losses(a);
    if (!strcmp(arg_text(a, "optim"), "list"))
        return list_optims();
    if (!strcmp(arg_text(a, "schedule"), "list"))
        return list_scheds();
    if (!strcmp(arg_text(a, "init"), "list"))
        return list_inits();
    session *s = calloc(1, sizeof *s);
    if (!s)
        return work_error(a, "no memory");
    s->a = a;
    s->resume = arg_given(a, "resume");
    int code = 0;
    if (a->n_rest > 0)
        code = usage_error(a, "what is '%s'? The data goes after --data, the network after --net", a->rest[0]);
    else if (s->resume && (arg_given(a, "out") || arg_given(a, "force")))
        code = usage_error(a, "--resume goes on in the run's own folder: leave out --out and --force");
    session_begin(a);
    if (!code)
        code = prepare(s);
    if (!code)
        code = fit(s);
    session_free(s);
    free(s);
    return code;
}

const command cmd_train = {
    .name = "train",
    .summary = "train a network on data",
    .usage = "--data PATH --net TEXT [options]\n--resume RUN [--epochs N]",
    .details =
        "The data is a folder with IDX files, with a CSV of id and label beside images, or with a folder per class; a table in CSV; a "
        ".npy file; or drawn, apparel that soma draws itself. What kind it is, soma finds out.\n\n"
        "Everything about the run goes to its folder: config.json, metrics.jsonl (a line an epoch and every 50 steps), "
        "model.safetensors (the best epoch by validation accuracy; in regression by loss), the last two checkpoints, and the curves. "
        "Ctrl-C saves a checkpoint; --resume goes on from it and ends in the same bits as if nothing had happened.\n\n"
        "The doctor looks at network, loss and data first and at the training as it goes on, and says what is wrong and what to try (soma help doctor); "
        "--no-doctor does without, and changes no result.\n\n"
        "Weights in --l1, --l2, --prox-l1, --prox-l2 and --max-norm are those of layers, not biases. --l1 pulls weights near 0, --prox-l1 to 0 "
        "exactly; soma summary RUN counts them. The losses shown are without penalties. Steps are updates: with --accumulate several batches.",
    .example = "soma train --data fashion-mnist --net \"conv 32 3 relu, maxpool 2, flatten, linear 10\" --epochs 5 --out runs/a\n"
               "soma predict runs/a/model.safetensors photos --csv out.csv",
    OPTIONS(options),
    .run = run_train,
};
