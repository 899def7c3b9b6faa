/* What every part of soma may use: memory, contexts, scopes, threads, random numbers, text. Knows no tensors. */
#ifndef SOMA_SRC_BASE_H
#define SOMA_SRC_BASE_H

#include <soma/base.h>

#include <stdarg.h>

#define SOMA_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define SOMA_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SOMA_MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- Memory (alloc.c) ---------------------------------------------------------------------------------------------
 * All memory of the library comes from here: 64-byte aligned, counted by owner, kept for reuse when freed, and able to
 * fail at a chosen allocation. NULL means SOMA_ENOMEM has been recorded in the current context. Zero bytes are allowed. */
void *soma__alloc(size_t bytes);
void *soma__alloc_silent(size_t bytes);                  /* NULL without an error recorded: for contexts, which hold the errors */
void *soma__calloc(size_t count, size_t bytes);         /* zeroed; the product is checked */
void *soma__realloc(void *block, size_t bytes);         /* grows or shrinks; the old block stays when it fails */
void soma__free(void *block);                           /* NULL is ignored; any thread */
void soma__uncount(void *block);                        /* takes it out of the figures, for what is kept only to find mistakes */
char *soma__strdup(const char *text);
size_t soma__block_size(const void *block);             /* bytes asked for */
soma_owner soma__owner_set(soma_owner owner);           /* owner of this thread's next blocks; returns the old one */

/* Gives the cache of `ctx` back to the process: before it ends. */
void soma__cache_flush(soma_ctx *ctx);

/* a * b and a + b of sizes that come from outside; false on overflow or a negative operand. */
static inline bool soma__mul_ok(int64_t a, int64_t b, int64_t *out) { return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, out); }
static inline bool soma__add_ok(int64_t a, int64_t b, int64_t *out) { return a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, out); }

/* ---- Contexts (ctx.c) --------------------------------------------------------------------------------------------- */

/* Small freed blocks and the figures about memory that have not been added to the process's yet (alloc.c). */
enum { SOMA__CACHE_CLASSES = 17 }; /* blocks up to 2 KiB */
typedef struct soma__cache {
    void *first[SOMA__CACHE_CLASSES];
    uint16_t n[SOMA__CACHE_CLASSES];
    int64_t bytes[SOMA_OWNER_COUNT + 1], most[SOMA_OWNER_COUNT + 1]; /* by owner, the last of all */
    int64_t asked, cached;
} soma__cache;

struct soma_scope_entry;
struct soma_ctx {
    soma__cache cache;
    bool shared;                /* of several threads: nothing may be cached here */
    soma_status error;
    bool error_read;            /* soma_error or soma_error_message was asked since */
    char message[1024];
    soma_log_fn log;
    void *log_user;
    soma_rng rng;
    bool no_grad;               /* autograd records nothing */
    bool bf16;                  /* soma_set_autocast(SOMA_BF16): products of f32 are computed in bf16 */
    bool in_rule;               /* a gradient rule runs, and no graph is made of it: its views stay inside */
    bool shapes_only;           /* operators infer shapes and allocate no data (summary, nn_build) */
    soma_owner owner;
    int path_depth;             /* modules that are running, outermost first */
    struct soma__place {
        void (*name)(const void *of, char *out, size_t size);
        const void *of;
    } path[32];
    int64_t flops;              /* counted while shapes_only */
    bool parsing;               /* a network description is read: parameters wait, whatever sizes it names */
    void *decoding;             /* soma_cache of the soma_nn_forward_cached that runs */
    void **objects;             /* what the scopes hold, oldest first */
    int64_t n_objects, room_objects;
    struct soma_scope_entry *scopes;
    int32_t n_scopes, room_scopes;
    uint32_t serial;
    void (*release)(void *object);
    struct soma__recorder *recorder; /* a step is being recorded (src/capture); NULL otherwise */
    void *dying;                /* tape nodes that nobody refers to any more, waiting to be taken apart */
    bool draining;
};
extern _Thread_local soma_ctx *soma__current __attribute__((tls_model("initial-exec"), visibility("hidden"))); /* NULL: not made yet */
soma_ctx *soma__ctx_make(void);
/* The current one, never NULL. */
static inline soma_ctx *soma__ctx(void) {
    soma_ctx *ctx = soma__current;
    return __builtin_expect(ctx != NULL, 1) ? ctx : soma__ctx_make();
}
static inline bool soma__failed(void) { return soma__ctx()->error != SOMA_OK; }
/* A number that changes when modules or optimisers are set differently: what was recorded before may not hold any more. */
uint32_t soma__setup(void);
void soma__setup_changed(void);
soma_status soma__fail_v(soma_status status, const char *format, va_list args);
void soma__log(soma_log_level level, const char *format, ...) SOMA_PRINTF(2, 3);
/* Layer names for messages: "in 3.conv (Conv2d): …" is put before errors that happen inside. */
/* Puts "name: " before the pending error (behind the module path), unless it starts with the name already. */
void soma__fail_prefix(const char *name);
void soma__path_push(void (*name)(const void *of, char *out, size_t size), const void *of); /* asked for the name when there is an error */
void soma__path_pop(void);

/* ---- Scopes (scope.c) ---------------------------------------------------------------------------------------------- */

/* Gives `object` to the innermost scope, which will call `release` on it. False (SOMA_ENOMEM): the caller keeps it. */
bool soma__scope_add(void *object, void (*release)(void *));
bool soma__scope_escape(void *object); /* to the next outer scope; false when it is not in the innermost one */

/* ---- Threads (pool.c) ---------------------------------------------------------------------------------------------- */

/* Calls fn(arg, begin, end) so that [0, n) is covered once, in ranges whose bounds are multiples of `grain`; in several threads
 * when n > grain. The ranges depend on the number of threads: fn must give each element the same bits whatever range it falls in.
 * Calls from inside fn run in the calling thread. fn must not call the public API. */
typedef void (*soma__range_fn)(void *arg, int64_t begin, int64_t end);
void soma__parallel(int64_t n, int64_t grain, soma__range_fn fn, void *arg);
/* Ends the pool's threads; the next soma__parallel starts them again. At exit and at dlclose it happens by itself. */
void soma__pool_stop(void);

/* ---- Random numbers (philox.c) --------------------------------------------------------------------------------------- */

/* Four 32-bit words for counter `block` of (seed, stream): Philox4x32-10, key = seed, counter = (block, stream). */
void soma__philox(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4]);
/* A small sequential generator for host-side choices (shuffles, splits): word i of (seed, stream). */
typedef struct soma__random {
    uint64_t seed, stream, next;
    uint32_t words[4];
} soma__random;
soma__random soma__random_new(uint64_t seed, uint64_t stream);
uint32_t soma__random_u32(soma__random *r);
uint64_t soma__random_below(soma__random *r, uint64_t n);  /* uniform in 0 … n-1 without bias; n > 0 */
double soma__random_unit(soma__random *r);                 /* in [0, 1), 53 bits */
double soma__random_normal(soma__random *r);

/* ---- Text (text.c) ----------------------------------------------------------------------------------------------------- */

/* A growing string. After a failed append `failed` is set and appends do nothing; check once at the end. */
typedef struct soma__text {
    char *data; /* 0-terminated once anything was appended, else NULL */
    size_t size, room;
    bool failed;
} soma__text;
void soma__text_add(soma__text *t, const char *format, ...) SOMA_PRINTF(2, 3);
void soma__text_put(soma__text *t, const char *bytes, size_t n);
void soma__text_free(soma__text *t);
/* snprintf's contract for a finished text: copies what fits and returns the whole length; frees the text. */
size_t soma__text_take(soma__text *t, char *out, size_t size);
/* The name nearest to `wanted` by edit distance, for "did you mean"; NULL when none is near. */
const char *soma__nearest(const char *wanted, const char *const *names, int n);
/* What to say after "there is no X 'wanted'", into `out`, which is returned: "; did you mean 'sgd'?", or, when no name is near, "; there are
 * sgd, adam …". */
const char *soma__hint(const char *wanted, const char *const *names, int n, char *out, size_t size);
#define SOMA__HINT 400 /* room for the names of any of the library's tables */
/* "[2, 3]" into `out`. Returns `out`. */
const char *soma__shape_text(int ndim, const int64_t *shape, char *out, size_t size);
#define SOMA__SHAPE_TEXT 176 /* room that soma__shape_text needs for SOMA_MAX_DIMS sizes */

#endif
