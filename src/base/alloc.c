/* Memory for the whole library: a caching allocator under the scopes.
 *
 * Tensors come and go at every step in the same sizes, and the system's allocator gives large blocks back to the kernel at each
 * free, so that every step pays for page faults. Freed blocks are kept here in size classes (four to a power of two, at most
 * 25 % slack) and handed out again. A block may be freed by another thread than took it, so the cache is the process's, one
 * short lock per class. Small blocks, which come and go many times an operator, are kept in the context first, without locks; what
 * they add to the figures is added up there and handed over now and then. Every block starts with a header of 64 bytes, so that
 * the user's part is 64-byte aligned. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* In builds with AddressSanitizer a block ends for it where the caller's bytes end, and freed blocks are out of bounds. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SOMA_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SOMA_ASAN 1
#endif
#ifdef SOMA_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { CLASSES = 4 * 48, HEADER = 64, HUGE_PAGE = 2 << 20, LARGE = 4 << 20 };

typedef struct header {
    struct header *next;  /* in the cache */
    size_t bytes;         /* asked for */
    size_t room;          /* from the system, header included */
    uint16_t size_class;
    uint8_t owner;
} header;

typedef struct bin {
    pthread_mutex_t lock;
    header *first;
} bin;

_Static_assert(sizeof(header) <= HEADER, "the header must leave blocks aligned");

#define LOCK4 {PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}, {PTHREAD_MUTEX_INITIALIZER, NULL}
#define LOCK16 LOCK4, LOCK4, LOCK4, LOCK4
#define LOCK64 LOCK16, LOCK16, LOCK16, LOCK16
static bin bins[CLASSES] = {LOCK64, LOCK64, LOCK64};

static _Atomic int64_t in_use, peak, cached, owner_in_use[SOMA_OWNER_COUNT], owner_peak[SOMA_OWNER_COUNT];
static _Atomic int64_t asked, fail_at;

/* Large blocks begin at a huge page and ask for such: with pages of 4 KiB their walks cost a pass over memory a third of its speed. */
static void *system_alloc(void *user, size_t bytes) {
    size_t unit = bytes >= LARGE ? HUGE_PAGE : 64;
    (void)user;
    bytes = (bytes + unit - 1) & ~(unit - 1); /* C11 wants a multiple of the alignment */
    void *block = aligned_alloc(unit, bytes);
#ifdef MADV_HUGEPAGE
    if (block && unit == HUGE_PAGE)
        madvise(block, bytes, MADV_HUGEPAGE);
#endif
    return block;
}

static void system_free(void *user, void *block, size_t bytes) {
    (void)user;
    (void)bytes;
    free(block);
}

static soma_allocator hook = {system_alloc, system_free, NULL};

void soma_set_allocator(const soma_allocator *allocator) {
    hook = allocator && allocator->alloc && allocator->free ? *allocator : (soma_allocator){system_alloc, system_free, NULL};
}

/* The class whose blocks hold `bytes`: the smallest (4 + q) * 2^e that is large enough, from 128 bytes on. */
static int class_of(size_t bytes, size_t *room) {
    if (bytes <= 128) {
        *room = 128;
        return 0;
    }
    int e = 63 - __builtin_clzll((unsigned long long)(bytes - 1)); /* 2^e < bytes <= 2^(e+1) */
    size_t quarter = (size_t)1 << (e - 2);
    size_t q = (bytes - 1 - ((size_t)1 << e)) / quarter + 1;        /* 1 … 4 */
    *room = ((size_t)1 << e) + q * quarter;
    return (e - 7) * 4 + (int)q;
}

static void raise_to(_Atomic int64_t *most, int64_t value) {
    int64_t seen = atomic_load_explicit(most, memory_order_relaxed);
    while (value > seen && !atomic_compare_exchange_weak_explicit(most, &seen, value, memory_order_relaxed, memory_order_relaxed)) {}
}

/* Adds `bytes`; on the way there the figure was higher by up to `most`. */
static void count_one(_Atomic int64_t *now, _Atomic int64_t *highest, int64_t bytes, int64_t most) {
    int64_t was = atomic_fetch_add_explicit(now, bytes, memory_order_relaxed);
    if (most > 0)
        raise_to(highest, was + most);
}

static void count(int owner, int64_t bytes) {
    count_one(&in_use, &peak, bytes, bytes);
    count_one(&owner_in_use[owner], &owner_peak[owner], bytes, bytes);
}

/* ---- What a context keeps ---- */

enum { KEPT = 64, PENDING = 1 << 16 }; /* blocks of a class; bytes that the figures may be behind */

static void hand_over(soma__cache *c) {
    for (int i = 0; i <= SOMA_OWNER_COUNT; i++) {
        bool all = i == SOMA_OWNER_COUNT;
        if (c->bytes[i] != 0 || c->most[i] != 0)
            count_one(all ? &in_use : &owner_in_use[i], all ? &peak : &owner_peak[i], c->bytes[i], c->most[i]);
        c->bytes[i] = c->most[i] = 0;
    }
    atomic_fetch_add_explicit(&cached, c->cached, memory_order_relaxed);
    atomic_fetch_add_explicit(&asked, c->asked, memory_order_relaxed);
    c->asked = c->cached = 0;
}

/* Before the figures are read or large steps are made, in the thread that made the small ones. */
static void settle(void) {
    if (soma__current)
        hand_over(&soma__current->cache);
}

static inline void count_small(soma__cache *c, int owner, int64_t bytes) {
    c->bytes[owner] += bytes;
    c->bytes[SOMA_OWNER_COUNT] += bytes;
    c->most[owner] = SOMA_MAX(c->most[owner], c->bytes[owner]);
    c->most[SOMA_OWNER_COUNT] = SOMA_MAX(c->most[SOMA_OWNER_COUNT], c->bytes[SOMA_OWNER_COUNT]);
    if (c->bytes[SOMA_OWNER_COUNT] > PENDING || c->bytes[SOMA_OWNER_COUNT] < -PENDING)
        hand_over(c);
}

static inline soma__cache *small_cache(int size_class) {
    soma_ctx *ctx = soma__current;
    return size_class < SOMA__CACHE_CLASSES && ctx && !ctx->shared ? &ctx->cache : NULL;
}

/* The k-th allocation fails on purpose; without a k they are only counted. */
static bool must_fail(soma__cache *c) {
    int64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (at == 0 && c) {
        c->asked++;
        return false;
    }
    int64_t n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    return at > 0 && n >= at;
}

static header *from_cache(int size_class) {
    bin *b = &bins[size_class];
    pthread_mutex_lock(&b->lock);
    header *h = b->first;
    if (h)
        b->first = h->next;
    pthread_mutex_unlock(&b->lock);
    if (h)
        atomic_fetch_sub_explicit(&cached, (int64_t)h->room, memory_order_relaxed);
    return h;
}

static header *from_system(size_t room) {
    header *h = hook.alloc(hook.user, room);
    if (!h && atomic_load_explicit(&cached, memory_order_relaxed) > 0) {
        soma_memory_trim();
        h = hook.alloc(hook.user, room);
    }
    return h;
}

/* Tells AddressSanitizer which bytes of a block may be touched. */
static void mark(header *h, size_t bytes) {
    char *user = (char *)h + HEADER;
    ASAN_UNPOISON_MEMORY_REGION(user, bytes);
    ASAN_POISON_MEMORY_REGION(user + bytes, h->room - HEADER - bytes);
}

/* A block, or NULL without recording anything. */
static void *take(size_t bytes, int owner) {
    if (bytes > (size_t)1 << 46)
        return NULL;
    size_t room;
    int size_class = class_of(bytes + HEADER, &room);
    soma__cache *c = small_cache(size_class);
    if (__builtin_expect(must_fail(c), 0))
        return NULL;
    header *h;
    if (c && c->n[size_class] > 0) {
        h = c->first[size_class];
        c->first[size_class] = h->next;
        c->n[size_class]--;
        c->cached -= (int64_t)h->room;
    } else {
        h = from_cache(size_class);
        if (!h && !(h = from_system(room)))
            return NULL;
    }
    h->next = NULL;
    h->bytes = bytes;
    h->room = room;
    h->size_class = (uint16_t)size_class;
    h->owner = (uint8_t)owner;
    mark(h, bytes);
    if (c) {
        count_small(c, owner, (int64_t)bytes);
    } else {
        settle();
        count(owner, (int64_t)bytes);
    }
    return (char *)h + HEADER;
}

void *soma__alloc_silent(size_t bytes) { return take(bytes, SOMA_OWNER_TEMP); }

void *soma__alloc(size_t bytes) {
    void *block = take(bytes, (int)soma__ctx()->owner);
    if (!block)
        soma_fail(SOMA_ENOMEM, "no memory for %zu bytes (%.1f MiB in use)", bytes,
                  (double)atomic_load_explicit(&in_use, memory_order_relaxed) / 1048576.0);
    return block;
}

void *soma__calloc(size_t n, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total)) {
        soma_fail(SOMA_ENOMEM, "no memory for %zu times %zu bytes", n, bytes);
        return NULL;
    }
    void *block = soma__alloc(total);
    return block ? memset(block, 0, total) : NULL;
}

static header *header_of(const void *block) { return (header *)((char *)(uintptr_t)block - HEADER); }

size_t soma__block_size(const void *block) { return block ? header_of(block)->bytes : 0; }

static void into_bin(header *h) {
    bin *b = &bins[h->size_class];
    pthread_mutex_lock(&b->lock);
    h->next = b->first;
    b->first = h;
    pthread_mutex_unlock(&b->lock);
}

void soma__free(void *block) {
    if (!block)
        return;
    header *h = header_of(block);
    int size_class = h->size_class;
    soma__cache *c = small_cache(size_class);
    mark(h, 0);
    if (c)
        count_small(c, h->owner, -(int64_t)h->bytes);
    else
        count(h->owner, -(int64_t)h->bytes);
    if (c && c->n[size_class] < KEPT) {
        h->next = c->first[size_class];
        c->first[size_class] = h;
        c->n[size_class]++;
        c->cached += (int64_t)h->room;
        return;
    }
    atomic_fetch_add_explicit(&cached, (int64_t)h->room, memory_order_relaxed);
    into_bin(h);
}

void soma__cache_flush(soma_ctx *ctx) {
    soma__cache *c = &ctx->cache;
    for (int i = 0; i < SOMA__CACHE_CLASSES; i++) {
        for (header *h = c->first[i], *next; h; h = next) {
            next = h->next;
            into_bin(h);
        }
        c->first[i] = NULL;
        c->n[i] = 0;
    }
    hand_over(c);
}

void soma__uncount(void *block) {
    header *h = header_of(block);
    count(h->owner, -(int64_t)h->bytes);
    h->bytes = 0;
}

void *soma__realloc(void *block, size_t bytes) {
    if (!block)
        return soma__alloc(bytes);
    header *h = header_of(block);
    if (bytes + HEADER <= h->room && !must_fail(NULL)) {
        settle();
        count(h->owner, (int64_t)bytes - (int64_t)h->bytes);
        h->bytes = bytes;
        mark(h, bytes);
        return block;
    }
    void *larger = soma__alloc(bytes);
    if (!larger)
        return NULL;
    memcpy(larger, block, SOMA_MIN(h->bytes, bytes));
    soma__free(block);
    return larger;
}

char *soma__strdup(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = soma__alloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

soma_owner soma__owner_set(soma_owner owner) {
    soma_ctx *ctx = soma__ctx();
    soma_owner was = ctx->owner;
    ctx->owner = owner;
    return was;
}

soma_memory soma_memory_stats(void) {
    settle();
    soma_memory m = {.current = in_use, .peak = peak, .cached = cached};
    for (int i = 0; i < SOMA_OWNER_COUNT; i++) {
        m.owner_current[i] = owner_in_use[i];
        m.owner_peak[i] = owner_peak[i];
    }
    return m;
}

void soma_memory_reset_peak(void) {
    settle();
    peak = in_use;
    for (int i = 0; i < SOMA_OWNER_COUNT; i++)
        owner_peak[i] = owner_in_use[i];
}

void soma_memory_trim(void) {
    if (soma__current)
        soma__cache_flush(soma__current);
    for (int i = 0; i < CLASSES; i++) {
        pthread_mutex_lock(&bins[i].lock);
        header *h = bins[i].first;
        bins[i].first = NULL;
        pthread_mutex_unlock(&bins[i].lock);
        while (h) {
            header *next = h->next;
            atomic_fetch_sub_explicit(&cached, (int64_t)h->room, memory_order_relaxed);
            mark(h, h->room - HEADER);
            hook.free(hook.user, h, h->room);
            h = next;
        }
    }
}

int64_t soma_memory_fail_at(int64_t k) {
    settle();
    int64_t n = atomic_exchange(&asked, 0);
    atomic_store(&fail_at, k > 0 ? k : 0);
    return n;
}

/* A freed block stays reachable through the cache; give it back so that leak checkers see only true leaks. */
__attribute__((destructor(101))) static void trim_at_exit(void) { soma_memory_trim(); }
