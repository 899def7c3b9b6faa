/* The loader: batches in an order and with changes that depend on (seed, epoch) alone, prepared ahead by threads.
 *
 * Batch b of the epoch goes to slot b % n_slots of a ring. Workers take the next batch number whose slot is free, the caller takes
 * batches in order. Whatever a worker does is in its own context and its slot; a failure waits in the slot until the caller comes
 * to that batch. Workers are idle (n_busy 0, active false) whenever the order, the epoch or the position changes. */
#include "data/dataset.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { MOST_WORKERS = 64, MOST_SLOTS = 1024 };

typedef struct slot {
    bool ready;
    int64_t count; /* samples; fewer than the batch's when unreadable ones were left out */
    float *x;
    void *y;
    int64_t *samples; /* batch_size places */
    soma_status status;
    char message[sizeof((soma_ctx *)0)->message];
    soma__text warnings; /* one a line */
} slot;

typedef struct worker {
    struct soma_loader *loader;
    soma_ctx *ctx;
    void *scratch;
    pthread_t thread;
} worker;

struct soma_loader {
    soma_dataset *data;
    const soma_dataset *root;
    soma_loader_opts opts;
    soma__scaling scaling;
    soma__augment augment;
    int64_t n_batches, epoch, position; /* position: the batch that comes next, n_batches when the epoch is over */
    int64_t *order;                     /* of the epoch; NULL: as they lie */
    int64_t order_epoch;                /* the epoch that `order` is for, -1: none */
    int64_t *samples;                   /* the caller's batch */
    soma_scope scope;
    soma_ctx *scope_ctx; /* where the scope was begun; NULL: none open */

    int n_slots, n_workers, n_started;
    slot *slots;
    worker *workers; /* at least one: its context and scratch serve the caller when there are no threads */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    int64_t next; /* the batch that a worker takes next */
    int n_busy;
    bool active, quit;
};

/* ---- One batch ---- */

static size_t y_bytes(const soma_loader *l) {
    return l->opts.reconstruct ? 0 : l->root->labels ? sizeof(int64_t) : l->root->targets ? (size_t)l->root->target_numel * sizeof(float) : 0;
}

static void slot_clear(slot *s) {
    soma__free(s->x);
    soma__free(s->y);
    soma__text_free(&s->warnings);
    s->x = NULL;
    s->y = NULL;
    s->warnings = (soma__text){0};
    s->ready = false;
    s->status = SOMA_OK;
    s->count = 0;
}

static void put_target(const soma_loader *l, slot *s, int64_t k, int64_t place) {
    const soma_dataset *root = l->root;
    if (l->opts.reconstruct)
        return;
    if (root->labels)
        ((int64_t *)s->y)[k] = root->labels[place];
    else if (root->targets)
        memcpy((float *)s->y + k * root->target_numel, root->targets + place * root->target_numel,
               (size_t)root->target_numel * sizeof(float));
}

/* An unreadable file that the set leaves out: marked once for the whole set, named in the log once. */
static bool leave_out(const soma_loader *l, slot *s, int64_t place, soma_status status) {
    const soma_dataset *root = l->root;
    if (!root->bad || !root->skip_bad || status == SOMA_ENOMEM)
        return false;
    if (!atomic_exchange(&root->bad[place], 1)) {
        soma__text_add(&s->warnings, "%s\n", soma_error_message());
        if (s->warnings.failed)
            return false;
    }
    soma__error_drop();
    return true;
}

static soma_status fill_samples(soma_loader *l, slot *s, int64_t begin, int64_t count, void *scratch) {
    const soma_dataset *root = l->root;
    bool changes = soma__augments(&l->augment);
    int height = changes ? (int)root->shape[1] : 0, width = changes ? (int)root->shape[2] : 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t position = begin + i, sample = l->order ? l->order[position] : position,
                place = soma__data_place(l->data, sample);
        soma__sample in;
        if (root->bad && atomic_load(&root->bad[place]))
            continue;
        soma_status status = root->kind->read(root, place, scratch, &in);
        if (status != SOMA_OK) {
            if (leave_out(l, s, place, status))
                continue;
            return soma__ctx()->error;
        }
        float *out = s->x + s->count * root->numel;
        if (changes) {
            soma__change c = soma__augment_draw(&l->augment, l->epoch, position, height, width);
            soma__sample_changed(&in, &l->scaling, height, width, &c, out);
        } else {
            soma__sample_plain(&in, &l->scaling, out);
        }
        put_target(l, s, s->count, place);
        s->samples[s->count++] = sample;
    }
    return SOMA_OK;
}

/* Fills a cleared slot with batch `batch`, in the worker's context. */
static void fill(soma_loader *l, slot *s, int64_t batch, worker *w) {
    int64_t begin = batch * l->opts.batch_size, count = SOMA_MIN(l->opts.batch_size, l->data->count - begin);
    soma_ctx *was = soma_ctx_use(w->ctx);
    s->x = soma__alloc((size_t)(count * l->root->numel) * sizeof(float));
    s->y = s->x && y_bytes(l) ? soma__alloc((size_t)count * y_bytes(l)) : NULL;
    s->status = !s->x || (y_bytes(l) && !s->y) ? SOMA_ENOMEM : fill_samples(l, s, begin, count, w->scratch);
    if (s->status != SOMA_OK) {
        snprintf(s->message, sizeof s->message, "%s", soma_error_message());
        soma__error_drop();
    }
    soma_ctx_use(was);
}

/* ---- Threads ---- */

static bool may_take(const soma_loader *l) {
    return l->active && l->next < l->n_batches && l->next < l->position + l->n_slots && !l->slots[l->next % l->n_slots].ready;
}

static void *work(void *arg) {
    worker *w = arg;
    soma_loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->quit) {
        if (!may_take(l)) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        int64_t batch = l->next++;
        slot *s = &l->slots[batch % l->n_slots];
        l->n_busy++;
        pthread_mutex_unlock(&l->lock);
        fill(l, s, batch, w);
        pthread_mutex_lock(&l->lock);
        s->ready = true;
        l->n_busy--;
        pthread_cond_broadcast(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    soma_ctx_use(NULL);
    return NULL;
}

/* Threads take no signals: those are for the program's own. */
static soma_status start_threads(soma_loader *l) {
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int error = 0;
    while (l->n_started < l->n_workers &&
           (error = pthread_create(&l->workers[l->n_started].thread, NULL, work, &l->workers[l->n_started])) == 0)
        l->n_started++;
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (l->n_started > 0 || l->n_workers == 0)
        return SOMA_OK; /* fewer than wanted are slower, not wrong */
    return soma_fail(SOMA_EIO, "soma_loader_new: a worker thread cannot be started: %s; workers = -1 does without",
                     strerror(error));
}

/* Waits until no worker is at work and throws prepared batches away. */
static void pause(soma_loader *l) {
    pthread_mutex_lock(&l->lock);
    l->active = false;
    while (l->n_busy > 0)
        pthread_cond_wait(&l->done, &l->lock);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_slots; i++)
        slot_clear(&l->slots[i]);
}

/* ---- The epoch ---- */

static soma_status make_order(soma_loader *l) {
    if (!l->opts.shuffle || l->order_epoch == l->epoch)
        return SOMA_OK;
    int64_t n = l->data->count;
    if (!l->order) {
        soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
        l->order = soma__alloc((size_t)n * sizeof *l->order);
        soma__owner_set(was);
        if (!l->order)
            return SOMA_ENOMEM;
    }
    soma__random r = soma__random_new(l->opts.seed, soma__stream(SOMA__STREAM_SHUFFLE, (uint64_t)l->epoch));
    for (int64_t i = 0; i < n; i++)
        l->order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) { /* Fisher & Yates */
        int64_t j = (int64_t)soma__random_below(&r, (uint64_t)i + 1), t = l->order[i];
        l->order[i] = l->order[j];
        l->order[j] = t;
    }
    l->order_epoch = l->epoch;
    return SOMA_OK;
}

static soma_status begin_work(soma_loader *l) {
    if (l->active)
        return SOMA_OK;
    soma_status status = make_order(l);
    if (status != SOMA_OK || l->n_started == 0)
        return status;
    pthread_mutex_lock(&l->lock);
    l->next = l->position;
    l->active = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return SOMA_OK;
}

/* The slot with batch `position`, filled. */
static slot *wait_for(soma_loader *l) {
    slot *s = &l->slots[l->position % l->n_slots];
    if (l->n_started == 0) {
        fill(l, s, l->position, &l->workers[0]);
        return s;
    }
    pthread_mutex_lock(&l->lock);
    while (!s->ready)
        pthread_cond_wait(&l->done, &l->lock);
    pthread_mutex_unlock(&l->lock);
    return s;
}

/* Gives the slot back to the workers. */
static void advance(soma_loader *l, slot *s) {
    pthread_mutex_lock(&l->lock);
    slot_clear(s);
    l->position++;
    if (l->position == l->n_batches)
        l->active = false; /* every batch was taken, so no worker is busy */
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

static void say_warnings(soma_loader *l, const slot *s) {
    const char *at = s->warnings.data;
    while (at && *at) {
        const char *end = strchr(at, '\n');
        char text[1024];
        snprintf(text, sizeof text, "%.*s", (int)(end ? end - at : (ptrdiff_t)strlen(at)), at);
        soma__dataset_skip((soma_dataset *)(uintptr_t)l->root, text);
        at = end ? end + 1 : NULL;
    }
}

/* ---- Batches for the caller ---- */

static void release_block(void *block) { soma__free(block); }

/* A tensor over a block of the slot, which it takes. */
static soma_tensor *wrap(void **block, soma_dtype dtype, int ndim, const int64_t *shape) {
    soma_tensor *t = soma_from_memory(*block, ndim, shape, NULL, dtype, release_block, *block);
    if (t)
        *block = NULL;
    return t;
}

static soma_status wrap_batch(soma_loader *l, slot *s, soma_batch *batch) {
    const soma_dataset *root = l->root;
    int64_t shape[SOMA_MAX_DIMS] = {s->count};
    memcpy(shape + 1, root->shape, (size_t)root->ndim * sizeof *shape);
    void *x = s->x;
    s->x = NULL;
    batch->x = wrap(&x, SOMA_F32, root->ndim + 1, shape);
    soma__free(x);
    if (batch->x && s->y) {
        memcpy(shape + 1, root->target_shape, (size_t)root->target_ndim * sizeof *shape);
        batch->y = root->labels ? wrap(&s->y, SOMA_I64, 1, shape) : wrap(&s->y, SOMA_F32, root->target_ndim + 1, shape);
    }
    if (l->opts.reconstruct)
        batch->y = batch->x;
    if (!batch->x || (s->y && !batch->y))
        return soma__ctx()->error;
    memcpy(l->samples, s->samples, (size_t)s->count * sizeof *l->samples);
    batch->count = s->count;
    batch->index = l->position;
    batch->epoch = l->epoch;
    batch->samples = l->samples;
    return SOMA_OK;
}

static void end_scope(soma_loader *l) {
    if (l->scope_ctx && l->scope_ctx == soma__ctx())
        soma_scope_end(l->scope);
    l->scope_ctx = NULL;
}

static soma_status begin_scope(soma_loader *l) {
    l->scope = soma_scope_begin();
    if (l->scope.depth < 0)
        return soma__ctx()->error;
    l->scope_ctx = soma__ctx();
    return SOMA_OK;
}

/* The next batch that has samples; SOMA_ESTOPPED, without an error recorded, at the end of the epoch. */
static soma_status take_batch(soma_loader *l, soma_batch *batch) {
    while (l->position < l->n_batches) {
        slot *s = wait_for(l);
        say_warnings(l, s);
        soma_status status = s->status;
        if (status != SOMA_OK)
            soma_fail(status, "%s", s->message);
        else if (s->count > 0)
            status = wrap_batch(l, s, batch);
        bool found = s->count > 0;
        if (status != SOMA_OK)
            return status;
        advance(l, s);
        if (found)
            return SOMA_OK;
    }
    return SOMA_ESTOPPED;
}

bool soma_loader_next(soma_loader *l, soma_batch *batch) {
    *batch = (soma_batch){.size = sizeof *batch};
    if (!l) {
        soma_fail(SOMA_EINVAL, "soma_loader_next: the loader is NULL");
        return false;
    }
    end_scope(l);
    if (soma__failed())
        return false;
    soma_status status = SOMA_ESTOPPED;
    if (l->position < l->n_batches) {
        status = begin_work(l);
        if (status == SOMA_OK)
            status = begin_scope(l);
        if (status == SOMA_OK)
            status = take_batch(l, batch);
    }
    if (status == SOMA_OK)
        return true;
    *batch = (soma_batch){.size = sizeof *batch};
    end_scope(l);
    if (status == SOMA_ESTOPPED && l->position == l->n_batches && !soma__failed()) {
        l->epoch++;
        l->position = 0;
    } else {
        pause(l); /* the batch that failed is tried again when the error is cleared */
    }
    return false;
}

/* ---- Life ---- */

static soma_status check_opts(const soma_dataset *root, soma_loader_opts *o, int64_t count) {
    if (o->batch_size == 0)
        o->batch_size = 1;
    if (o->batch_size < 0 || o->batch_size > (int64_t)1 << 32)
        return soma_fail(SOMA_EINVAL, "soma_loader_new: batch_size is %lld", (long long)o->batch_size);
    if (o->drop_last && count < o->batch_size)
        return soma_fail(SOMA_EINVAL, "soma_loader_new: drop_last leaves no batch: %lld samples, batch_size %lld",
                         (long long)count, (long long)o->batch_size);
    if (o->shift < 0 || o->crop < 0 || o->shift > 65535 || o->crop > 65535 || o->cutout < 0 || o->cutout > 65535 || !(o->erase >= 0 && o->erase <= 1))
        return soma_fail(SOMA_EINVAL, "soma_loader_new: shift %d, crop %d and cutout %d must be at least 0 pixels, erase %g a probability",
                         o->shift, o->crop, o->cutout, o->erase);
    if ((o->flip || o->shift || o->crop || o->cutout || o->erase > 0) && root->ndim != 3) {
        char shape[SOMA__SHAPE_TEXT];
        return soma_fail(SOMA_ESHAPE,
                         "soma_loader_new: flip, shift, crop, erase and cutout are for images [C, H, W]; a sample here is %s",
                         soma__shape_text(root->ndim, root->shape, shape, sizeof shape));
    }
    if (o->cutout > 0 && o->cutout >= root->shape[1] && o->cutout >= root->shape[2])
        return soma_fail(SOMA_EINVAL, "soma_loader_new: cutout %d leaves nothing of images of %lld x %lld", o->cutout, (long long)root->shape[1],
                         (long long)root->shape[2]);
    if (root->ndim + 1 > SOMA_MAX_DIMS || root->target_ndim + 1 > SOMA_MAX_DIMS)
        return soma_fail(SOMA_EUNSUPPORTED, "soma_loader_new: a batch would have more than %d dimensions", SOMA_MAX_DIMS);
    o->batch_size = SOMA_MIN(o->batch_size, count); /* no more is ever needed */
    return SOMA_OK;
}

static soma_status make_workers(soma_loader *l) {
    int n = SOMA_MAX(l->n_workers, 1);
    l->workers = soma__calloc((size_t)n, sizeof *l->workers);
    if (!l->workers)
        return SOMA_ENOMEM;
    for (int i = 0; i < n; i++) {
        worker *w = &l->workers[i];
        w->loader = l;
        w->scratch = soma__alloc((size_t)l->root->numel * sizeof(float));
        w->ctx = w->scratch ? soma_ctx_new() : NULL;
        if (!w->ctx)
            return w->scratch ? soma_fail(SOMA_ENOMEM, "no memory for a worker's context") : SOMA_ENOMEM;
        w->ctx->owner = SOMA_OWNER_DATA;
    }
    return SOMA_OK;
}

static soma_status make_slots(soma_loader *l) {
    l->samples = soma__alloc((size_t)l->opts.batch_size * sizeof *l->samples);
    l->slots = soma__calloc((size_t)l->n_slots, sizeof *l->slots);
    if (!l->samples || !l->slots)
        return SOMA_ENOMEM;
    for (int i = 0; i < l->n_slots; i++) {
        l->slots[i].samples = soma__alloc((size_t)l->opts.batch_size * sizeof(int64_t));
        if (!l->slots[i].samples)
            return SOMA_ENOMEM;
    }
    return SOMA_OK;
}

static soma_status init(soma_loader *l) {
    soma_loader_opts *o = &l->opts;
    int64_t count = l->data->count, asked = o->batch_size;
    soma_status status = check_opts(l->root, o, count);
    if (status != SOMA_OK)
        return status;
    l->augment = (soma__augment){.flip = o->flip, .shift = o->shift, .crop = o->crop, .erase = o->erase, .cutout = o->cutout, .seed = o->seed};
    l->n_batches = o->drop_last ? count / SOMA_MAX(asked, 1) : (count + o->batch_size - 1) / o->batch_size;
    l->n_workers = o->workers < 0 ? 0 : o->workers == 0 ? 1 : SOMA_MIN(o->workers, MOST_WORKERS);
    int64_t slots = l->n_workers == 0 ? 1 : o->prefetch > 0 ? o->prefetch : 2 * l->n_workers;
    l->n_slots = (int)SOMA_MIN(SOMA_MIN(slots, l->n_batches), MOST_SLOTS);
    status = soma__scaling_init(&l->scaling, l->root, o->norm);
    o->norm = NULL; /* copied; the caller's may go */
    if (status == SOMA_OK)
        status = make_workers(l);
    if (status == SOMA_OK)
        status = make_slots(l);
    return status == SOMA_OK ? start_threads(l) : status;
}

soma_loader *soma_loader_new_ex(soma_dataset *d, const soma_loader_opts *given) {
    if (!d || soma__failed()) {
        soma_fail(SOMA_EINVAL, "soma_loader_new: the data set is NULL");
        return NULL;
    }
    soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
    soma_loader *l = soma__calloc(1, sizeof *l);
    if (l) {
        l->opts = (soma_loader_opts){0};
        if (given)
            memcpy(&l->opts, given, given->size > 0 && given->size < sizeof l->opts ? given->size : sizeof l->opts);
        l->data = d;
        atomic_fetch_add(&d->refs, 1);
        l->root = soma__data_root(d);
        l->order_epoch = -1;
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->work, NULL);
        pthread_cond_init(&l->done, NULL);
        if (init(l) != SOMA_OK) {
            soma_loader_free(l);
            l = NULL;
        }
    }
    soma__owner_set(was);
    return l;
}

static void stop_threads(soma_loader *l) {
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    l->active = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_started; i++)
        pthread_join(l->workers[i].thread, NULL);
}

void soma_loader_free(soma_loader *l) {
    if (!l)
        return;
    stop_threads(l);
    end_scope(l);
    for (int i = 0; l->slots && i < l->n_slots; i++) {
        slot_clear(&l->slots[i]);
        soma__free(l->slots[i].samples);
    }
    for (int i = 0; l->workers && i < SOMA_MAX(l->n_workers, 1); i++) {
        soma_ctx_free(l->workers[i].ctx);
        soma__free(l->workers[i].scratch);
    }
    soma__free(l->slots);
    soma__free(l->workers);
    soma__free(l->samples);
    soma__free(l->order);
    soma__scaling_free(&l->scaling);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->done);
    soma_data_free(l->data);
    soma__free(l);
}

/* ---- The place in the data ---- */

int64_t soma_loader_batches(const soma_loader *l) { return l ? l->n_batches : 0; }
soma_task soma_loader_task(const soma_loader *l) {
    return soma_loader_reconstructs(l) ? SOMA_REGRESS : soma_data_task(l ? l->data : NULL);
}
bool soma_loader_reconstructs(const soma_loader *l) { return l && l->opts.reconstruct; }
soma_dataset *soma_loader_dataset(const soma_loader *l) { return l ? l->data : NULL; }

soma_status soma_loader_seek(soma_loader *l, int64_t epoch, int64_t batch) {
    if (!l || epoch < 0 || batch < 0 || batch > l->n_batches)
        return soma_fail(SOMA_EINVAL, "soma_loader_seek: epoch %lld, batch %lld; an epoch has %lld batches", (long long)epoch,
                         (long long)batch, (long long)soma_loader_batches(l));
    pause(l);
    l->epoch = epoch;
    l->position = batch;
    return SOMA_OK;
}

void soma_loader_tell(const soma_loader *l, int64_t *epoch, int64_t *batch) {
    *epoch = l ? l->epoch : 0;
    *batch = l ? l->position : 0;
}
