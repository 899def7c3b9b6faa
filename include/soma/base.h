/* soma: errors, contexts, scopes, memory, threads, seeds, the log.
 *
 * Everything that can change lives in a context. A thread that never asks for one gets its own, made at first use and
 * freed with the thread, so plain programs never see it. Nothing here aborts, exits, prints or installs a handler. */
#ifndef SOMA_BASE_H
#define SOMA_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SOMA_API __attribute__((visibility("default")))
#define SOMA_MUST_CHECK __attribute__((warn_unused_result))
#define SOMA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SOMA_API
#define SOMA_MUST_CHECK
#define SOMA_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SOMA_VERSION_MAJOR 0
#define SOMA_VERSION_MINOR 1
#define SOMA_VERSION_PATCH 0
#define SOMA_MAX_DIMS 8

/* The version of the library at run time, "major.minor.patch". */
SOMA_API const char *soma_version(void);

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

/* What went wrong, in kind. The message says the rest: operator, layer, shapes, file, line, and what was expected. */
typedef enum soma_status {
    SOMA_OK = 0,
    SOMA_EINVAL,       /* an argument makes no sense */
    SOMA_ESHAPE,       /* shapes do not fit */
    SOMA_EDTYPE,       /* a dtype that the operator does not take */
    SOMA_ENOMEM,       /* memory could not be had */
    SOMA_EIO,          /* the system refused: open, read, write, disk full */
    SOMA_EFORMAT,      /* a file or text is damaged or of another kind */
    SOMA_ENOTFOUND,    /* no such file, name, key, class or column */
    SOMA_ESTATE,       /* right call at the wrong time: backward twice, gradient of a non-leaf, saved value changed */
    SOMA_EUNSUPPORTED, /* known, but not possible in this build or for these arguments */
    SOMA_ENAN,         /* a loss or gradient became NaN or infinite */
    SOMA_ESTOPPED      /* a callback or signal asked to stop */
} soma_status;

/* The first error since the last soma_error_clear, in the current context; SOMA_OK when there is none. While one is
 * pending, operators return NULL, and backward, step, next and save refuse: one check per loop is enough. */
SOMA_API soma_status soma_error(void);
/* The text of that error, "" when there is none. Owned by the context; valid until the next error or clear. */
SOMA_API const char *soma_error_message(void);
SOMA_API void soma_error_clear(void);
/* "SOMA_ESHAPE" and so on; never NULL. */
SOMA_API const char *soma_status_name(soma_status status);
/* For code that extends soma (modules, data sets, callbacks): records an error as the library does, unless one is
 * pending already, and returns `status`. */
SOMA_API soma_status soma_fail(soma_status status, const char *format, ...) SOMA_PRINTF(2, 3);

/* ---- Log ------------------------------------------------------------------------------------------------------- */

typedef enum soma_log_level { SOMA_LOG_DEBUG, SOMA_LOG_INFO, SOMA_LOG_WARNING, SOMA_LOG_ERROR } soma_log_level;
typedef void (*soma_log_fn)(void *user, soma_log_level level, const char *text);
/* Where messages go: warnings, and errors that nobody read. Default: nowhere. NULL switches off. */
SOMA_API void soma_set_log(soma_log_fn fn, void *user);

/* ---- Contexts -------------------------------------------------------------------------------------------------- */

typedef struct soma_ctx soma_ctx;
/* A fresh context: seed 0, gradients on, no error, one open scope. NULL when memory is short. */
SOMA_API soma_ctx *soma_ctx_new(void);
/* Ends its scopes and frees it; NULL is ignored. It must not be current in another thread. */
SOMA_API void soma_ctx_free(soma_ctx *ctx);
/* Makes `ctx` (NULL: the thread's own) current in this thread and returns the one that was. */
SOMA_API soma_ctx *soma_ctx_use(soma_ctx *ctx);
/* The current context; never NULL. */
SOMA_API soma_ctx *soma_ctx_current(void);

/* ---- Scopes ---------------------------------------------------------------------------------------------------- */

/* Temporaries belong to the innermost scope: every tensor a soma function returns is released when that scope ends,
 * unless soma_keep took a reference. Ending a scope ends those inside it. */
typedef struct soma_scope {
    int32_t depth;
    uint32_t serial;
} soma_scope;
SOMA_API soma_scope soma_scope_begin(void);
/* Ending a scope twice, or one that an outer end took along, does nothing. */
SOMA_API void soma_scope_end(soma_scope scope);

/* ---- Random numbers -------------------------------------------------------------------------------------------- */

/* Every random number is Philox4x32-10 (Salmon et al. 2011) of (seed, stream, element); each random operator takes the
 * next stream. Equal seeds give equal numbers on every machine and for every number of threads. */
typedef struct soma_rng {
    uint64_t seed;
    uint64_t stream;
} soma_rng;
/* Seeds the current context and starts again at stream 0. */
SOMA_API void soma_seed(uint64_t seed);
SOMA_API soma_rng soma_rng_get(void);
SOMA_API void soma_rng_set(soma_rng state);

/* ---- Machine --------------------------------------------------------------------------------------------------- */

/* Threads that operators may use, in the whole process. 0: as many as the affinity mask and the cgroup quota allow
 * (or SOMA_THREADS). Results do not depend on it. */
SOMA_API void soma_set_threads(int n);
SOMA_API int soma_threads(void);
/* The instruction set in use: "avx512", "avx2", "sse2", "neon", "generic". SOMA_ISA in the environment forces a lower one. */
SOMA_API const char *soma_isa(void);

/* ---- Memory ---------------------------------------------------------------------------------------------------- */

typedef enum soma_owner {
    SOMA_OWNER_TEMP,      /* activations and everything else */
    SOMA_OWNER_PARAM,     /* parameters and buffers of modules */
    SOMA_OWNER_GRAD,      /* gradients */
    SOMA_OWNER_OPTIM,     /* state of optimisers */
    SOMA_OWNER_DATA,      /* data sets and batches */
    SOMA_OWNER_WORKSPACE, /* packed matrices and other scratch memory of kernels */
    SOMA_OWNER_COUNT
} soma_owner;
typedef struct soma_memory {
    int64_t current, peak;                                     /* bytes in use now, and the most so far */
    int64_t cached;                                            /* bytes freed and kept for reuse */
    int64_t owner_current[SOMA_OWNER_COUNT], owner_peak[SOMA_OWNER_COUNT];
} soma_memory;
/* What the process's soma memory is used for. Blocks are 64-byte aligned and reused; sizes are as asked for. */
SOMA_API soma_memory soma_memory_stats(void);
SOMA_API void soma_memory_reset_peak(void);
/* Gives cached blocks back to the system. */
SOMA_API void soma_memory_trim(void);
/* Replaces malloc and free for blocks the process has not got yet (call it before any other soma function, or after
 * soma_memory_trim with nothing alive). `alloc` returns memory aligned to 64 bytes or NULL. NULL, NULL: the default. */
typedef struct soma_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void (*free)(void *user, void *block, size_t bytes);
    void *user;
} soma_allocator;
SOMA_API void soma_set_allocator(const soma_allocator *allocator);
/* For tests: the k-th allocation from now (1 is the next) and all after it fail with SOMA_ENOMEM; 0 switches off.
 * Returns how many allocations were asked for since the last call. */
SOMA_API int64_t soma_memory_fail_at(int64_t k);

#ifdef __cplusplus
}
#endif
#endif
