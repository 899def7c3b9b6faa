/* Contexts, errors and the log. The only thread-local is the pointer to the current context; a thread that has none gets its own
 * at first use, freed when the thread ends. When even that cannot be had, a shared one that only says "no memory" stands in. */
#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

_Thread_local soma_ctx *soma__current;
static _Thread_local soma_ctx *own;
#define current soma__current
static soma_ctx first;              /* of the first thread that asks: most programs have no other */
static atomic_flag first_taken = ATOMIC_FLAG_INIT;
static soma_ctx destitute = {.shared = true, .error = SOMA_ENOMEM, .message = "no memory for a context"};
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void ctx_end(soma_ctx *ctx) {
    if (ctx->error != SOMA_OK && !ctx->error_read && ctx->log)
        ctx->log(ctx->log_user, SOMA_LOG_ERROR, ctx->message);
    for (int64_t i = ctx->n_objects - 1; i >= 0; i--) {
        void *object = ctx->objects[i];
        ctx->n_objects = i;
        ctx->release(object);
    }
    soma__free(ctx->objects);
    soma__free(ctx->scopes);
    ctx->objects = NULL;
    ctx->scopes = NULL;
    ctx->n_scopes = ctx->room_scopes = 0;
    ctx->room_objects = 0;
    soma__cache_flush(ctx);
}

static void thread_ends(void *ctx) {
    soma_ctx *mine = ctx;
    current = own = mine;
    if (mine == &first) {
        ctx_end(mine);
        memset(mine, 0, sizeof *mine);
        atomic_flag_clear(&first_taken);
    } else {
        soma_ctx_free(mine);
    }
    current = own = NULL;
}

static void make_key(void) { pthread_key_create(&key, thread_ends); }

static soma_ctx *own_ctx(void) {
    if (own)
        return own;
    soma_ctx *ctx = atomic_flag_test_and_set(&first_taken) ? soma_ctx_new() : &first;
    if (!ctx)
        return &destitute;
    pthread_once(&key_once, make_key);
    pthread_setspecific(key, ctx);
    return own = ctx;
}

soma_ctx *soma__ctx_make(void) { return current = own_ctx(); }
soma_ctx *soma_ctx_current(void) { return soma__ctx(); }

/* The main thread has no end that key destructors see. */
__attribute__((destructor(102))) static void process_ends(void) {
    if (own == &first)
        thread_ends(&first);
}

soma_ctx *soma_ctx_new(void) {
    soma_ctx *ctx = soma__alloc_silent(sizeof *ctx);
    return ctx ? memset(ctx, 0, sizeof *ctx) : NULL;
}

void soma_ctx_free(soma_ctx *ctx) {
    if (!ctx || ctx == &first || ctx == &destitute)
        return;
    soma_ctx *was = current;
    current = ctx; /* what is released records its errors here */
    ctx_end(ctx);
    current = was == ctx ? NULL : was;
    soma__free(ctx);
}

soma_ctx *soma_ctx_use(soma_ctx *ctx) {
    soma_ctx *was = soma__ctx();
    current = ctx ? ctx : own_ctx();
    return was;
}

/* ---- Errors ---- */

static const char *const status_names[] = {
    [SOMA_OK] = "SOMA_OK", [SOMA_EINVAL] = "SOMA_EINVAL", [SOMA_ESHAPE] = "SOMA_ESHAPE", [SOMA_EDTYPE] = "SOMA_EDTYPE",
    [SOMA_ENOMEM] = "SOMA_ENOMEM", [SOMA_EIO] = "SOMA_EIO", [SOMA_EFORMAT] = "SOMA_EFORMAT", [SOMA_ENOTFOUND] = "SOMA_ENOTFOUND",
    [SOMA_ESTATE] = "SOMA_ESTATE", [SOMA_EUNSUPPORTED] = "SOMA_EUNSUPPORTED", [SOMA_ENAN] = "SOMA_ENAN", [SOMA_ESTOPPED] = "SOMA_ESTOPPED",
};

const char *soma_status_name(soma_status status) {
    return (unsigned)status < SOMA_LEN(status_names) ? status_names[status] : "unknown status";
}

#define STRINGIFY(x) #x
#define VERSION(a, b, c) STRINGIFY(a) "." STRINGIFY(b) "." STRINGIFY(c)
const char *soma_version(void) { return VERSION(SOMA_VERSION_MAJOR, SOMA_VERSION_MINOR, SOMA_VERSION_PATCH); }

soma_status soma_error(void) {
    soma_ctx *ctx = soma__ctx();
    ctx->error_read = true;
    return ctx->error;
}

const char *soma_error_message(void) {
    soma_ctx *ctx = soma__ctx();
    ctx->error_read = true;
    return ctx->error == SOMA_OK ? "" : ctx->message;
}

void soma_error_clear(void) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->error != SOMA_OK && !ctx->error_read && ctx->log)
        ctx->log(ctx->log_user, SOMA_LOG_ERROR, ctx->message);
    if (ctx == &destitute)
        return;
    ctx->error = SOMA_OK;
    ctx->message[0] = 0;
}

/* "in 3 (Conv2d): " for the innermost module that is running. */
static size_t put_path(soma_ctx *ctx) {
    int depth = SOMA_MIN(ctx->path_depth, (int)SOMA_LEN(ctx->path));
    if (depth == 0)
        return 0;
    char name[400];
    ctx->path[depth - 1].name(ctx->path[depth - 1].of, name, sizeof name);
    int n = snprintf(ctx->message, sizeof ctx->message, "in %s: ", name);
    return n < 0 ? 0 : SOMA_MIN((size_t)n, sizeof ctx->message - 1);
}

soma_status soma__fail_v(soma_status status, const char *format, va_list args) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->error != SOMA_OK || ctx == &destitute)
        return status;
    size_t at = put_path(ctx);
    vsnprintf(ctx->message + at, sizeof ctx->message - at, format, args);
    ctx->error = status;
    ctx->error_read = false;
    return status;
}

soma_status soma_fail(soma_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    soma__fail_v(status, format, args);
    va_end(args);
    return status;
}

void soma__fail_prefix(const char *name) {
    soma_ctx *ctx = soma__ctx();
    size_t path = 0, n = strlen(name), length = strlen(ctx->message);
    if (ctx->error == SOMA_OK || ctx == &destitute)
        return;
    if (ctx->path_depth > 0 && strncmp(ctx->message, "in ", 3) == 0)
        path = strstr(ctx->message, ": ") ? (size_t)(strstr(ctx->message, ": ") - ctx->message) + 2 : 0;
    if (strncmp(ctx->message + path, name, n) == 0 || length + n + 2 >= sizeof ctx->message)
        return;
    memmove(ctx->message + path + n + 2, ctx->message + path, length - path + 1);
    memcpy(ctx->message + path, name, n);
    memcpy(ctx->message + path + n, ": ", 2);
}

void soma_set_log(soma_log_fn fn, void *user) {
    soma_ctx *ctx = soma__ctx();
    if (ctx == &destitute)
        return;
    ctx->log = fn;
    ctx->log_user = user;
}

void soma__log(soma_log_level level, const char *format, ...) {
    soma_ctx *ctx = soma__ctx();
    if (!ctx->log)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ctx->log(ctx->log_user, level, text);
}

void soma__path_push(void (*name)(const void *of, char *out, size_t size), const void *of) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->path_depth < (int)SOMA_LEN(ctx->path))
        ctx->path[ctx->path_depth] = (struct soma__place){name, of};
    ctx->path_depth++;
}

void soma__path_pop(void) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->path_depth > 0)
        ctx->path_depth--;
}

/* ---- Settings ---- */

static _Atomic uint32_t setup;
uint32_t soma__setup(void) { return atomic_load_explicit(&setup, memory_order_relaxed); }
void soma__setup_changed(void) { atomic_fetch_add_explicit(&setup, 1, memory_order_relaxed); }

/* ---- The seed ---- */

void soma_seed(uint64_t seed) { soma__ctx()->rng = (soma_rng){seed, 0}; }
soma_rng soma_rng_get(void) { return soma__ctx()->rng; }
void soma_rng_set(soma_rng state) { soma__ctx()->rng = state; }
