/* Work of the data sources spread over threads: decoding, drawing, adding up. soma__parallel is for kernels, which cannot fail;
 * here every item may, and the outcome must not depend on the threads: items are handed out in ascending order and all below
 * the smallest failed one are still done, so the error that is reported is the one that a single thread would have met first. */
#include "data/dataset.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 16, MOST_THREADS = 64, MOST_NAMED = 10 };

typedef struct failure {
    int64_t i;
    soma_status status;
    char message[sizeof((soma_ctx *)0)->message];
} failure;

typedef struct work {
    int64_t n;
    size_t scratch;
    soma__work_fn fn;
    void *arg;
    uint8_t *bad;           /* NULL: every failure ends the work */
    atomic_llong next, end; /* `end` sinks to the smallest failed item */
    pthread_mutex_t lock;
    failure worst;
    int n_named;
    failure named[MOST_NAMED]; /* the skipped items with the smallest numbers, ascending */
} work;

static void fatal(work *w, int64_t i, soma_status status, const char *message) {
    pthread_mutex_lock(&w->lock);
    if (w->worst.status == SOMA_OK || i < w->worst.i) {
        w->worst.i = i;
        w->worst.status = status;
        snprintf(w->worst.message, sizeof w->worst.message, "%s", message);
        atomic_store(&w->end, i);
    }
    pthread_mutex_unlock(&w->lock);
}

static void skipped(work *w, int64_t i, const char *message) {
    w->bad[i] = 1;
    pthread_mutex_lock(&w->lock);
    int at = w->n_named;
    while (at > 0 && w->named[at - 1].i > i)
        at--;
    if (at < MOST_NAMED) {
        int last = SOMA_MIN(w->n_named, MOST_NAMED - 1);
        memmove(&w->named[at + 1], &w->named[at], (size_t)(last - at) * sizeof *w->named);
        w->named[at].i = i;
        snprintf(w->named[at].message, sizeof w->named[at].message, "%s", message);
        w->n_named = last + 1;
    }
    pthread_mutex_unlock(&w->lock);
}

static void run_items(work *w, void *scratch) {
    for (;;) {
        int64_t begin = atomic_fetch_add(&w->next, CHUNK), end = SOMA_MIN(begin + CHUNK, w->n);
        if (begin >= atomic_load(&w->end))
            return;
        for (int64_t i = begin; i < end && i < atomic_load(&w->end); i++) {
            soma_status status = w->fn(w->arg, i, scratch);
            if (status == SOMA_OK)
                continue;
            if (w->bad && status != SOMA_ENOMEM)
                skipped(w, i, soma_error_message());
            else
                fatal(w, i, status, soma_error_message());
            soma_error_clear();
        }
    }
}

static void *run(void *arg) {
    work *w = arg;
    soma_ctx *mine = soma_ctx_new();
    soma_ctx *was = mine ? soma_ctx_use(mine) : NULL;
    void *scratch = mine ? soma__alloc(w->scratch) : NULL;
    if (!scratch)
        fatal(w, 0, SOMA_ENOMEM, mine ? soma_error_message() : "no memory for a worker's context");
    else
        run_items(w, scratch);
    soma__free(scratch);
    if (mine) {
        soma_error_clear();
        soma_ctx_use(was);
        soma_ctx_free(mine);
    }
    return NULL;
}

/* Threads that take no signals, so that the program's own threads get them. */
static int start(work *w, pthread_t *threads, int n) {
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int started = 0;
    while (started < n && pthread_create(&threads[started], NULL, run, w) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    return started;
}

soma_status soma__work(int64_t n, size_t scratch, soma__work_fn fn, void *arg, soma_dataset *skip, uint8_t *bad) {
    work *w = soma__calloc(1, sizeof *w);
    if (!w)
        return SOMA_ENOMEM;
    w->n = n;
    w->scratch = scratch;
    w->fn = fn;
    w->arg = arg;
    w->bad = skip ? bad : NULL;
    atomic_store(&w->end, n);
    pthread_mutex_init(&w->lock, NULL);
    pthread_t threads[MOST_THREADS];
    int64_t useful = SOMA_MIN((n + CHUNK - 1) / CHUNK, MOST_THREADS + 1);
    int helpers = start(w, threads, (int)SOMA_MIN(useful, (int64_t)soma_threads()) - 1);
    run(w);
    for (int i = 0; i < helpers; i++)
        pthread_join(threads[i], NULL);
    soma_status status = w->worst.status;
    if (status != SOMA_OK)
        soma_fail(status, "%s", w->worst.message);
    int64_t left_out = 0;
    for (int64_t i = 0; w->bad && status == SOMA_OK && i < n; i++)
        left_out += w->bad[i];
    for (int64_t i = 0; i < left_out && status == SOMA_OK; i++)
        soma__dataset_skip(skip, i < w->n_named ? w->named[i].message : NULL);
    pthread_mutex_destroy(&w->lock);
    soma__free(w);
    return status;
}
