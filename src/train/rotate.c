/* Which checkpoints a run folder keeps, and which one to go on from. Their names end in the step, so the newest is known
 * without clocks. A file is removed only after a newer one is whole on disk. */
#include "data/dataset.h"
#include "train/train.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START "checkpoint-"
#define END ".safetensors"

/* The step in a checkpoint's name; -1: not a checkpoint's name. */
static int64_t step_of(const char *name) {
    size_t n = strlen(name), digits = n - SOMA_MIN(n, strlen(START) + strlen(END));
    if (digits < 1 || digits > 18 || strncmp(name, START, strlen(START)) != 0 || strcmp(name + n - strlen(END), END) != 0)
        return -1;
    int64_t step = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = name[strlen(START) + i];
        if (c < '0' || c > '9') return -1;
        step = step * 10 + (c - '0');
    }
    return step;
}

typedef struct found {
    int64_t step;
    char *name;
} found;
typedef struct listing {
    int n;
    found *items; /* newest first */
} listing;

static int newest_first(const void *a, const void *b) {
    int64_t x = ((const found *)a)->step, y = ((const found *)b)->step;
    return (x < y) - (x > y);
}

static void listing_free(listing *l) {
    for (int i = 0; i < l->n; i++) soma__free(l->items[i].name);
    soma__free(l->items);
    *l = (listing){0};
}

static soma_status list(const char *dir, listing *out) {
    *out = (listing){0};
    DIR *folder = opendir(dir);
    if (!folder)
        return soma_fail(errno == ENOENT ? SOMA_ENOTFOUND : SOMA_EIO, "%s: cannot read the run folder: %s", dir,
                         strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder));) {
        int64_t step = step_of(entry->d_name);
        if (step < 0) continue;
        found *more = soma__realloc(out->items, (size_t)(out->n + 1) * sizeof(*more));
        if (!more) break;
        out->items = more;
        char *name = soma__strdup(entry->d_name);
        if (!name) break;
        out->items[out->n++] = (found){step, name};
    }
    closedir(folder);
    if (soma_error() != SOMA_OK) {
        listing_free(out);
        return soma_error();
    }
    if (out->n) qsort(out->items, (size_t)out->n, sizeof(found), newest_first);
    return SOMA_OK;
}

/* Whether the file is whole and a checkpoint. Damage is logged and forgotten; want of memory is an error. */
static bool whole(const char *path) {
    soma_scope scope = soma_scope_begin();
    soma_tensor_file *file = soma_safetensors_read(path);
    bool good = file && soma_safetensors_meta(file, "soma.checkpoint") != NULL;
    soma_safetensors_free(file);
    soma_scope_end(scope);
    if (!good && soma_error() != SOMA_ENOMEM) {
        const char *why = soma_error_message();
        soma__log(SOMA_LOG_WARNING, "%s%s; going back to the checkpoint before it", why[0] ? why : path,
                  why[0] ? "" : ": not a checkpoint");
        soma_error_clear();
    }
    return good;
}

soma_status soma_checkpoint_newest(const char *run_dir, char *out, size_t size) {
    if (soma_error() != SOMA_OK) return soma_error();
    listing l;
    soma_status status = list(run_dir, &l);
    if (status != SOMA_OK) return status;
    int looked = l.n;
    bool done = false;
    for (int i = 0; i < l.n && !done && soma_error() == SOMA_OK; i++) {
        char *path = soma__path_join(run_dir, l.items[i].name);
        if (path && whole(path)) {
            done = true;
            if ((size_t)snprintf(out, size, "%s", path) >= size)
                soma_fail(SOMA_EINVAL, "%s: its name has %zu bytes, more than there is room for", path, strlen(path));
        }
        soma__free(path);
    }
    listing_free(&l);
    if (!done && soma_error() == SOMA_OK)
        soma_fail(SOMA_ENOTFOUND, looked ? "%s: none of its %d checkpoints is whole" : "%s: no checkpoint there", run_dir,
                  looked);
    return soma_error();
}

/* Keeps the newest two up to `step`; newer ones can only be damaged, for the run went on from an older one. */
static void prune(const char *dir, int64_t step) {
    listing l;
    if (list(dir, &l) != SOMA_OK) return;
    int kept = 0;
    for (int i = 0; i < l.n; i++) {
        if (l.items[i].step <= step && kept++ < 2) continue;
        char *path = soma__path_join(dir, l.items[i].name);
        if (path && unlink(path) != 0) soma__log(SOMA_LOG_WARNING, "%s: cannot remove: %s", path, strerror(errno));
        soma__free(path);
    }
    listing_free(&l);
}

soma_status soma__checkpoint_rotate(const char *dir, soma_module *net, soma_optim *opt, soma_loader *loader,
                                    const soma_pair *meta, int n_meta, const soma__fit_state *state,
                                    const soma_history *history, const soma__fit_extra *extra, char **out) {
    char name[64];
    snprintf(name, sizeof(name), START "%09lld" END, (long long)state->total_step);
    char *path = soma__path_join(dir, name);
    if (!path) return soma_error();
    soma_status status = soma__checkpoint_write(path, net, opt, loader, meta, n_meta, state, history, extra);
    if (status == SOMA_OK) prune(dir, state->total_step);
    if (status == SOMA_OK) status = soma_error();
    if (status == SOMA_OK && out)
        *out = path;
    else
        soma__free(path);
    return status;
}
