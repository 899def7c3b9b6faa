/* Checkpoints: one .safetensors file with all that a run needs to end in the same bits as if it had not been stopped.
 *
 *     model.NAME     parameters and buffers, as soma_nn_named calls them
 *     optim.NAME     the optimiser's state, as soma_optim_named calls it
 *     ema.NAME, swa.NAME   averages of the weights, as soma_average_named calls them
 *     fit.sched      f64: the state of the schedule's plateaus, where it has any
 *     fit.state      f64: what soma_fit counts, see pack_state; absent from soma_checkpoint_save
 *     fit.history    f64 [epochs, 10]: the figures of the epochs so far
 *     __metadata__   soma.checkpoint (the format's number), soma.optimiser, soma.autocast, soma.rng.seed and .stream, soma.loader.epoch and
 * .batch
 *
 * The file carries a checksum and is written beside its name, synced and renamed, so whatever moment the process ends at,
 * each file there is whole. Reading checks everything before it changes anything. */
#include "train/train.h"

#include "nn/nn.h"
#include "optim/optim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_NUMBERS = 11 + SOMA__SCORE_NUMBERS, HISTORY_NUMBERS = 10 };

/* ---- State and history as numbers (whole numbers are exact in a double up to 2^53) --------------------- */

static void pack_state(const soma__fit_state *s, double *out) {
    const double all[11] = {(double)s->epoch,     (double)s->step,       (double)s->total_step,
                            (double)s->log_lines, (double)s->bad_epochs, s->best_value,
                            s->best_tie,          s->patience_loss,      s->seconds,
                            s->since_log,         s->since_samples};
    memcpy(out, all, sizeof(all));
    memcpy(out + 11, s->score, sizeof(s->score));
}

static void unpack_state(const double *in, soma__fit_state *s) {
    *s = (soma__fit_state){.epoch = (int64_t)in[0],
                           .step = (int64_t)in[1],
                           .total_step = (int64_t)in[2],
                           .log_lines = (int64_t)in[3],
                           .bad_epochs = (int64_t)in[4],
                           .best_value = in[5],
                           .best_tie = in[6],
                           .patience_loss = in[7],
                           .seconds = in[8],
                           .since_log = in[9],
                           .since_samples = in[10]};
    memcpy(s->score, in + 11, sizeof(s->score));
}

static void pack_epoch(const soma_epoch *e, double *out) {
    const double all[HISTORY_NUMBERS] = {(double)e->epoch,      (double)e->steps, e->train_loss, e->train_accuracy,
                                         e->val_loss,           e->val_accuracy,  e->lr,         e->seconds,
                                         e->samples_per_second, (double)e->best};
    memcpy(out, all, sizeof(all));
}

static soma_epoch unpack_epoch(const double *in) {
    return (soma_epoch){.epoch = (int64_t)in[0],
                        .steps = (int64_t)in[1],
                        .train_loss = in[2],
                        .train_accuracy = in[3],
                        .val_loss = in[4],
                        .val_accuracy = in[5],
                        .lr = in[6],
                        .seconds = in[7],
                        .samples_per_second = in[8],
                        .best = in[9] != 0};
}

static soma_tensor *state_tensor(const soma__fit_state *state) {
    double numbers[STATE_NUMBERS];
    pack_state(state, numbers);
    return soma_from_array(numbers, SOMA_SHAPE(STATE_NUMBERS), SOMA_F64);
}

static soma_tensor *history_tensor(const soma_history *h) {
    double *numbers = soma__alloc((size_t)h->n * HISTORY_NUMBERS * sizeof(double));
    if (!numbers) return NULL;
    for (int64_t i = 0; i < h->n; i++) pack_epoch(&h->epochs[i], numbers + i * HISTORY_NUMBERS);
    soma_tensor *t = soma_from_array(numbers, SOMA_SHAPE(h->n, HISTORY_NUMBERS), SOMA_F64);
    soma__free(numbers);
    return t;
}

/* ---- Writing ------------------------------------------------------------------------------------------- */

typedef struct entries {
    int n, room;
    char **names; /* owned */
    soma_tensor **tensors;
} entries;

static bool entries_room(entries *e, int room) {
    *e = (entries){.room = room};
    e->names = soma__calloc((size_t)room, sizeof(*e->names));
    e->tensors = soma__calloc((size_t)room, sizeof(*e->tensors));
    return e->names && e->tensors;
}

static void entries_free(entries *e) {
    for (int i = 0; e->names && i < e->n; i++) soma__free(e->names[i]);
    soma__free(e->names);
    soma__free(e->tensors);
}

static void entries_add(entries *e, const char *prefix, const char *name, soma_tensor *tensor) {
    soma__text text = {0};
    soma__text_add(&text, "%s%s", prefix, name);
    if (text.failed || !tensor) {
        soma__text_free(&text);
        return;
    }
    e->names[e->n] = text.data;
    e->tensors[e->n++] = tensor;
}

static void collect_average(entries *e, soma_named *named, const char *prefix, soma_average *avg) {
    int n = soma_average_named(avg, NULL, 0);
    soma_average_named(avg, named, n);
    for (int i = 0; i < n; i++) entries_add(e, prefix, named[i].name, named[i].tensor);
}

static soma_tensor *sched_tensor(const soma_sched *sched, int n) {
    double *numbers = soma__alloc((size_t)n * sizeof(double));
    if (!numbers) return NULL;
    soma_sched_state(sched, numbers, n);
    soma_tensor *t = soma_from_array(numbers, SOMA_SHAPE(n), SOMA_F64);
    soma__free(numbers);
    return t;
}

static soma_status collect(entries *e, soma_module *net, soma_optim *opt, const soma__fit_state *state,
                           const soma_history *history, const soma__fit_extra *x) {
    int n = soma_nn_named(net, true, NULL, 0), m = soma_optim_named(opt, NULL, 0), most = SOMA_MAX(SOMA_MAX(n + 1, m), 1);
    int plateaus = soma_sched_state(x->sched, NULL, 0);
    soma_named *named = n >= 0 && m >= 0 ? soma__alloc((size_t)most * sizeof(*named)) : NULL;
    if (named && entries_room(e, 3 * (n + 1) + m + 3) && soma_nn_named(net, true, named, n) == n) {
        for (int i = 0; i < n; i++) entries_add(e, "model.", named[i].name, named[i].tensor);
        if (soma_optim_named(opt, named, m) == m)
            for (int i = 0; i < m; i++) entries_add(e, "optim.", named[i].name, named[i].tensor);
        collect_average(e, named, "ema.", x->ema);
        collect_average(e, named, "swa.", x->swa);
        if (plateaus > 0) entries_add(e, "fit.", "sched", sched_tensor(x->sched, plateaus));
        if (state) entries_add(e, "fit.", "state", state_tensor(state));
        if (history && history->n > 0) entries_add(e, "fit.", "history", history_tensor(history));
    }
    soma__free(named);
    return soma_error();
}

static soma_status write_entries(const char *path, const entries *e, soma_optim *opt, soma_loader *loader,
                                 const soma_pair *meta, int n_meta) {
    char seed[32], stream[32], epoch[32] = "0", batch[32] = "0";
    soma_rng rng = soma_rng_get();
    int64_t at_epoch = 0, at_batch = 0;
    if (loader) soma_loader_tell(loader, &at_epoch, &at_batch);
    snprintf(seed, sizeof(seed), "%" PRIu64, rng.seed);
    snprintf(stream, sizeof(stream), "%" PRIu64, rng.stream);
    snprintf(epoch, sizeof(epoch), "%" PRId64, at_epoch);
    snprintf(batch, sizeof(batch), "%" PRId64, at_batch);
    const soma_pair own[] = {
        {"soma.checkpoint", "1"},    {"soma.version", soma_version()}, {"soma.optimiser", soma_optim_name(opt)},
        {"soma.rng.seed", seed},     {"soma.rng.stream", stream},      {"soma.loader.epoch", epoch},
        {"soma.loader.batch", batch}, {"soma.autocast", soma_dtype_name(soma_autocast())}};
    int n = (int)SOMA_LEN(own);
    soma_pair *pairs = soma__alloc((size_t)(n + n_meta) * sizeof(*pairs));
    if (!pairs) return soma_error();
    memcpy(pairs, own, sizeof(own));
    for (int i = 0; i < n_meta; i++) pairs[n + i] = meta[i];
    soma_status status =
        soma_safetensors_write(path, (const char *const *)e->names, e->tensors, e->n, pairs, n + n_meta, true);
    soma__free(pairs);
    return status;
}

soma_status soma__checkpoint_write(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader,
                                   const soma_pair *meta, int n_meta, const soma__fit_state *state,
                                   const soma_history *history, const soma__fit_extra *extra) {
    if (soma_error() != SOMA_OK) return soma_error();
    if (!path || !net || !opt) return soma_fail(SOMA_EINVAL, "checkpoint: needs a path, a network and an optimiser");
    soma_scope scope = soma_scope_begin();
    entries e = {0};
    soma_status status = collect(&e, net, opt, state, history, extra ? extra : &(soma__fit_extra){0});
    if (status == SOMA_OK) status = write_entries(path, &e, opt, loader, meta, n_meta);
    entries_free(&e);
    soma_scope_end(scope);
    return status;
}

soma_status soma_checkpoint_save(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader,
                                 const soma_pair *meta, int n_meta) {
    return soma__checkpoint_write(path, net, opt, loader, meta, n_meta, NULL, NULL, NULL);
}

/* ---- Reading ------------------------------------------------------------------------------------------- */

typedef struct reader {
    const char *path;
    soma_tensor_file *file;
    soma_module *net;
    soma_optim *opt;
    soma_loader *loader;
    soma__fit_extra extra;
    soma_rng rng;
    int64_t epoch, batch;
    bool has_state;
    soma__fit_state state;
    soma_history history;
} reader;

static soma_status meta_number(const reader *r, const char *key, uint64_t *out) {
    const char *text = soma_safetensors_meta(r->file, key);
    char *end = NULL;
    errno = 0;
    *out = text ? strtoull(text, &end, 10) : 0;
    if (!text || errno || end == text || *end || text[0] == '-')
        return soma_fail(SOMA_EFORMAT, "%s: %s is %s%s%s; it must be a whole number", r->path, key, text ? "\"" : "",
                         text ? text : "missing", text ? "\"" : "");
    return SOMA_OK;
}

static soma_status check_head(reader *r) {
    const char *format = soma_safetensors_meta(r->file, "soma.checkpoint"),
               *optimiser = soma_safetensors_meta(r->file, "soma.optimiser");
    if (!format)
        return soma_fail(SOMA_EFORMAT, "%s: not a checkpoint (no soma.checkpoint in its metadata); is it a model file?",
                         r->path);
    if (strcmp(format, "1") != 0)
        return soma_fail(SOMA_EUNSUPPORTED, "%s: checkpoint format %s; this soma reads 1. It was made by a newer soma",
                         r->path, format);
    if (!optimiser || strcmp(optimiser, soma_optim_name(r->opt)) != 0)
        return soma_fail(SOMA_EINVAL, "%s: made with the optimiser %s, but this is %s", r->path,
                         optimiser ? optimiser : "(none named)", soma_optim_name(r->opt));
    uint64_t epoch = 0, batch = 0;
    soma_status status = meta_number(r, "soma.rng.seed", &r->rng.seed);
    if (status == SOMA_OK) status = meta_number(r, "soma.rng.stream", &r->rng.stream);
    if (status == SOMA_OK) status = meta_number(r, "soma.loader.epoch", &epoch);
    if (status == SOMA_OK) status = meta_number(r, "soma.loader.batch", &batch);
    if (status != SOMA_OK) return status;
    if (epoch > INT64_MAX || batch > INT64_MAX || (r->loader && (int64_t)batch > soma_loader_batches(r->loader)))
        return soma_fail(SOMA_EINVAL,
                         "%s: stands at batch %" PRIu64 " of an epoch, but the loader has %" PRId64
                         " batches: the data or the "
                         "batch size is another one",
                         r->path, batch, r->loader ? soma_loader_batches(r->loader) : 0);
    r->epoch = (int64_t)epoch;
    r->batch = (int64_t)batch;
    return SOMA_OK;
}

/* A resumed run ends in the same bits only if it computes as before. Checkpoints from before autocast are f32's. */
static soma_status check_autocast(const reader *r) {
    const char *was = soma_safetensors_meta(r->file, "soma.autocast"), *is = soma_dtype_name(soma_autocast());
    if (strcmp(was ? was : "f32", is) == 0) return SOMA_OK;
    return soma_fail(SOMA_ESTATE, "%s: the run computed products in %s, now it would be %s: call soma_set_autocast before", r->path,
                     was ? was : "f32", is);
}

/* Puts every stored tensor of the optimiser back, or only looks whether it fits. */
static soma_status load_optim(reader *r, bool only_check) {
    for (int i = 0; i < soma_safetensors_count(r->file); i++) {
        const char *name = soma_safetensors_name(r->file, i);
        if (strncmp(name, "optim.", 6) != 0) continue;
        soma_scope scope = soma_scope_begin();
        soma_tensor *value = soma_safetensors_get(r->file, name);
        soma_status status = value ? soma__optim_load(r->opt, name + 6, value, only_check) : soma_error();
        soma_scope_end(scope);
        if (status != SOMA_OK) return status;
    }
    return SOMA_OK;
}

/* What the run keeps beside the optimiser must be in the file, each part of it; `only_check` as for the optimiser. */
static soma_status load_average(reader *r, const char *prefix, soma_average *avg, bool only_check) {
    int found = 0, wanted = soma_average_named(avg, NULL, 0);
    for (int i = 0; avg && i < soma_safetensors_count(r->file); i++) {
        const char *name = soma_safetensors_name(r->file, i);
        if (strncmp(name, prefix, 4) != 0) continue;
        soma_scope scope = soma_scope_begin();
        soma_tensor *value = soma_safetensors_get(r->file, name);
        soma_status status = value ? soma__average_load(avg, name + 4, value, only_check) : soma_error();
        soma_scope_end(scope);
        if (status != SOMA_OK) return status;
        found++;
    }
    if (found == wanted) return SOMA_OK;
    return soma_fail(SOMA_EINVAL, "%s: has no whole average of the weights under %s: the run was made without", r->path, prefix);
}

static soma_status load_sched(reader *r, bool only_check) {
    double numbers[64];
    int n = soma_sched_state(r->extra.sched, NULL, 0);
    if (n == 0) return SOMA_OK;
    soma_tensor *t = soma_safetensors_get(r->file, "fit.sched");
    if (!t) return soma_error();
    if (n > 64 || soma_numel(t) != n || soma_dtype_of(t) != SOMA_F64 || soma_to_array(t, numbers, n, SOMA_F64) != SOMA_OK)
        return soma_fail(SOMA_EFORMAT, "%s: fit.sched is not the %d numbers of this schedule", r->path, n);
    double now[64];
    soma_sched_state(r->extra.sched, now, n);
    soma_status status = soma_sched_set_state(r->extra.sched, numbers, n);
    if (only_check && status == SOMA_OK) soma_sched_set_state(r->extra.sched, now, n);
    return status;
}

static soma_status load_extra(reader *r, bool only_check) {
    soma_status status = load_average(r, "ema.", r->extra.ema, only_check);
    if (status == SOMA_OK) status = load_average(r, "swa.", r->extra.swa, only_check);
    if (status == SOMA_OK) status = load_sched(r, only_check);
    return status;
}

static soma_status check_fit(reader *r) {
    bool state = false, history = false;
    for (int i = 0; i < soma_safetensors_count(r->file); i++) {
        state |= strcmp(soma_safetensors_name(r->file, i), "fit.state") == 0;
        history |= strcmp(soma_safetensors_name(r->file, i), "fit.history") == 0;
    }
    if (!state) return SOMA_OK;
    double numbers[STATE_NUMBERS];
    soma_tensor *t = soma_safetensors_get(r->file, "fit.state");
    if (!t) return soma_error();
    if (soma_numel(t) != STATE_NUMBERS || soma_dtype_of(t) != SOMA_F64)
        return soma_fail(SOMA_EFORMAT, "%s: fit.state has %lld numbers; this soma expects %d", r->path,
                         (long long)soma_numel(t), STATE_NUMBERS);
    soma_status status = soma_to_array(t, numbers, STATE_NUMBERS, SOMA_F64);
    if (status != SOMA_OK) return status;
    for (int i = 0; i < 5; i++)
        if (!(numbers[i] >= 0 && numbers[i] < 9e15))
            return soma_fail(SOMA_EFORMAT, "%s: fit.state has an impossible count", r->path);
    unpack_state(numbers, &r->state);
    r->has_state = true;
    t = history ? soma_safetensors_get(r->file, "fit.history") : NULL;
    if (history && !t) return soma_error();
    if (!t) return SOMA_OK;
    if (soma_ndim(t) != 2 || soma_size(t, 1) != HISTORY_NUMBERS || soma_dtype_of(t) != SOMA_F64 || !soma_is_contiguous(t))
        return soma_fail(SOMA_EFORMAT, "%s: fit.history is not f64 [epochs, %d]", r->path, HISTORY_NUMBERS);
    const double *rows = soma_data(t);
    for (int64_t i = 0; i < soma_size(t, 0) && status == SOMA_OK; i++) {
        soma_epoch e = unpack_epoch(rows + i * HISTORY_NUMBERS);
        status = soma__history_add(&r->history, &e);
    }
    return status;
}

/* The network's part checks itself before it changes anything; the optimiser's has been checked. */
static soma_status apply(reader *r) {
    soma_status status = soma__nn_load_file(r->net, r->file, r->path, "model.");
    if (status == SOMA_OK) status = load_optim(r, false);
    if (status == SOMA_OK) status = load_extra(r, false);
    if (status == SOMA_OK && r->loader) status = soma_loader_seek(r->loader, r->epoch, r->batch);
    if (status == SOMA_OK) soma_rng_set(r->rng);
    return status;
}

soma_status soma__checkpoint_read(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader,
                                  soma__fit_state *state, soma_history *history, const soma__fit_extra *extra) {
    if (soma_error() != SOMA_OK) return soma_error();
    if (!path || !net || !opt) return soma_fail(SOMA_EINVAL, "checkpoint: needs a path, a network and an optimiser");
    soma_scope scope = soma_scope_begin();
    reader r = {.path = path, .net = net, .opt = opt, .loader = loader, .history.best = -1};
    if (extra) r.extra = *extra;
    r.file = soma_safetensors_read(path);
    soma_status status = r.file ? check_head(&r) : soma_error();
    if (status == SOMA_OK) status = check_fit(&r);
    if (status == SOMA_OK) status = load_optim(&r, true);
    if (status == SOMA_OK) status = load_extra(&r, true);
    if (status == SOMA_OK && state && !r.has_state)
        status = soma_fail(SOMA_EFORMAT, "%s: was not written by a training run (no fit.state): it cannot be resumed as one",
                           path);
    if (status == SOMA_OK && state) status = check_autocast(&r);
    if (status == SOMA_OK) status = apply(&r);
    if (status == SOMA_OK && state) *state = r.state;
    if (status == SOMA_OK && history) {
        soma_history_free(history);
        *history = r.history;
    } else {
        soma_history_free(&r.history);
    }
    soma_safetensors_free(r.file);
    soma_scope_end(scope);
    return status;
}

soma_status soma_checkpoint_load(const char *path, soma_module *net, soma_optim *opt, soma_loader *loader) {
    return soma__checkpoint_read(path, net, opt, loader, NULL, NULL, NULL);
}
