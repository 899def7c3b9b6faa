/* The thread pool behind soma__parallel: a few parked threads, one job at a time, no allocation, no signals.
 *
 * A job is cut into parts by size and thread count alone; its bounds are fixed before anyone starts. Which thread runs a
 * part is not: the caller takes parts from the front, workers take them from the back, until none is left. So with idle
 * cores each thread meets the same range from one operator to the next (its data are in that core's cache), and on a busy
 * machine a worker that the system has not woken yet costs nothing: the caller does its parts.
 *
 * What always holds: `state` packs (job number, first part left, end of parts left) in one word, so taking a part by
 * compare-and-swap also proves that the job is still the one that was read. The job's fields are written before `state` is
 * published and stay until the caller has seen `done` reach the number of parts, and the holder of a part is what it waits
 * for. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256
#define PARTS_PER_THREAD 4 /* so that a thread that is held up holds up a quarter of its share */
#define SPIN_NS 20000      /* about what waking a parked thread costs */

static struct {
    pthread_mutex_t owner;          /* held by the thread whose job it is, and while threads are made or ended */
    pthread_mutex_t lock;           /* for both conditions */
    pthread_cond_t work, finished;
    pthread_t thread[MAX_THREADS];
    int workers;                    /* under `owner` */
    bool closed;                    /* under `owner`: the library is being unloaded */
    atomic_int wanted;              /* soma_set_threads; 0: automatic */
    atomic_int automatic;           /* what the machine allows; 0: not asked yet */
    atomic_bool stop;
    atomic_int sleepers;
    atomic_bool owner_sleeps;
    _Atomic uint64_t state;         /* job number << 32 | first << 16 | end */
    atomic_int done;
    /* The job. */
    soma__range_fn fn;
    void *arg;
    int64_t n, grain;
    int parts;
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER, .finished = PTHREAD_COND_INITIALIZER};

static _Thread_local bool inside; /* this thread is running a part: calls from it run inline */

/* ---- How many threads ------------------------------------------------------------------------------------------------- */

#if defined(__linux__)
static int from_affinity(void) {
    cpu_set_t sets[8]; /* 8192 processors */
    memset(sets, 0, sizeof sets);
    if (sched_getaffinity(0, sizeof sets, sets) != 0)
        return 0;
    return CPU_COUNT_S(sizeof sets, sets);
}

/* Quota and period in the files of one cgroup; the count they allow, rounded up, or 0 when there is no limit. */
static int from_files(const char *quota_path, const char *period_path) {
    long long quota = 0, period = 0;
    FILE *f = fopen(quota_path, "re");
    if (!f)
        return 0;
    int got = fscanf(f, "%lld %lld", &quota, &period); /* version 2: "max 100000" or "150000 100000" */
    fclose(f);
    if (period_path && got >= 1 && (f = fopen(period_path, "re")) != NULL) {
        got = fscanf(f, "%lld", &period) + 1;
        fclose(f);
    }
    if (got < 2 || quota <= 0 || period <= 0)
        return 0;
    long long count = (quota + period - 1) / period;
    return count > MAX_THREADS ? MAX_THREADS : (int)count;
}

/* The least of what the group at `path` under `root` and its parents allow. */
static int from_group(const char *root, const char *path, bool version2) {
    char dir[1024], quota[1200], period[1200];
    int least = 0, length = snprintf(dir, sizeof dir, "%s", path);
    if (length < 0 || length >= (int)sizeof dir)
        return 0;
    for (;;) {
        int count;
        if (version2) {
            snprintf(quota, sizeof quota, "%s%s/cpu.max", root, dir);
            count = from_files(quota, NULL);
        } else {
            snprintf(quota, sizeof quota, "%s%s/cpu.cfs_quota_us", root, dir);
            snprintf(period, sizeof period, "%s%s/cpu.cfs_period_us", root, dir);
            count = from_files(quota, period);
        }
        if (count && (!least || count < least))
            least = count;
        char *slash = strrchr(dir, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static int from_cgroup(void) {
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return 0;
    char line[1100];
    int least = 0;
    while (fgets(line, sizeof line, f)) { /* "0::/path" or "4:cpu,cpuacct:/path" */
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (strcmp(path, "/") == 0)
            *path = '\0';
        bool version2 = names[1] == '\0';
        if (!version2 && strcmp(names + 1, "cpu") != 0 && strncmp(names + 1, "cpu,", 4) != 0 && !strstr(names + 1, ",cpu"))
            continue;
        int count = from_group(version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", path, version2);
        if (count && (!least || count < least))
            least = count;
    }
    fclose(f);
    return least;
}
#else
static int from_affinity(void) { return 0; }
static int from_cgroup(void) { return 0; }
#endif

static int count_automatic(void) {
    const char *text = getenv("SOMA_THREADS");
    if (text && *text) {
        char *end;
        long n = strtol(text, &end, 10);
        if (*end == '\0' && n > 0)
            return n > MAX_THREADS ? MAX_THREADS : (int)n;
        soma__log(SOMA_LOG_WARNING, "SOMA_THREADS=%s: expected a number of threads from 1 on; ignored", text);
    }
    int n = from_affinity();
    if (n <= 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = from_cgroup();
    if (quota && quota < n)
        n = quota;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

int soma_threads(void) {
    int n = atomic_load_explicit(&pool.wanted, memory_order_relaxed);
    if (n > 0)
        return n;
    n = atomic_load_explicit(&pool.automatic, memory_order_relaxed);
    if (n == 0)
        atomic_store_explicit(&pool.automatic, n = count_automatic(), memory_order_relaxed);
    return n;
}

void soma_set_threads(int n) {
    atomic_store_explicit(&pool.wanted, n < 0 ? 0 : n > MAX_THREADS ? MAX_THREADS : n, memory_order_relaxed);
}

/* ---- Parts ------------------------------------------------------------------------------------------------------------ */

#define FIRST(state) ((uint32_t)(state) >> 16)
#define END(state) ((uint32_t)(state) & 0xffff)
#define PACK(job, first, end) ((uint64_t)(job) << 32 | (uint64_t)(first) << 16 | (uint64_t)(end))

/* Takes one part of the job that is on, from the front or from the back; -1 when none is left. */
static int take(bool front) {
    uint64_t s = atomic_load_explicit(&pool.state, memory_order_acquire);
    for (;;) {
        uint32_t first = FIRST(s), end = END(s);
        if (first >= end)
            return -1;
        uint64_t next = front ? PACK(s >> 32, first + 1, end) : PACK(s >> 32, first, end - 1);
        if (atomic_compare_exchange_weak_explicit(&pool.state, &s, next, memory_order_acq_rel, memory_order_acquire))
            return (int)(front ? first : end - 1);
    }
}

/* Runs part `part` of the job; only while holding it. */
static void run_part(int part) {
    int64_t units = (pool.n - 1) / pool.grain + 1, begin = units * part / pool.parts, end = units * (part + 1) / pool.parts;
    end = end * pool.grain < pool.n ? end * pool.grain : pool.n;
    pool.fn(pool.arg, begin * pool.grain, end);
}

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* True once `ready()` holds, false when it has not after SPIN_NS. */
static bool spin(bool (*ready)(void)) {
    for (int64_t start = now_ns();;) {
        for (int i = 0; i < 32; i++) {
            if (ready())
                return true;
            pause_briefly();
        }
        if (now_ns() - start > SPIN_NS)
            return false;
    }
}

static bool work_or_stop(void) {
    uint64_t s = atomic_load(&pool.state);
    return FIRST(s) < END(s) || atomic_load(&pool.stop);
}

static bool all_done(void) { return atomic_load(&pool.done) == pool.parts; }

static void *worker(void *unused) {
    (void)unused;
    inside = true;
    for (;;) {
        if (!spin(work_or_stop)) {
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.sleepers, 1);
            while (!work_or_stop())
                pthread_cond_wait(&pool.work, &pool.lock);
            atomic_fetch_sub(&pool.sleepers, 1);
            pthread_mutex_unlock(&pool.lock);
        }
        if (atomic_load(&pool.stop))
            return NULL;
        for (int part; (part = take(false)) >= 0;) {
            run_part(part);
            int parts = pool.parts; /* read before the part is given back */
            if (atomic_fetch_add(&pool.done, 1) + 1 == parts && atomic_load(&pool.owner_sleeps)) {
                pthread_mutex_lock(&pool.lock);
                pthread_cond_signal(&pool.finished);
                pthread_mutex_unlock(&pool.lock);
            }
        }
    }
}

/* ---- Starting and ending threads (under `owner`) ---------------------------------------------------------------------- */

static void stop_workers(void) {
    if (pool.workers == 0)
        return;
    atomic_store(&pool.stop, true);
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.workers; i++)
        pthread_join(pool.thread[i], NULL);
    pool.workers = 0;
    atomic_store(&pool.stop, false);
}

/* Signals stay with the program's own threads. A thread that cannot be made is done without. */
static void start_workers(int count) {
    sigset_t all, old;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
        return;
    while (pool.workers < count && pthread_create(&pool.thread[pool.workers], NULL, worker, NULL) == 0)
        pool.workers++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* A child has none of its parent's threads, and a lock that another thread held stays locked: start afresh. */
static void after_fork(void) {
    pthread_mutex_init(&pool.owner, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.finished, NULL);
    pool.workers = 0;
    atomic_store(&pool.stop, false);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.owner_sleeps, false);
    atomic_store(&pool.state, 0);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork); }

void soma__pool_stop(void) {
    if (inside)
        return;
    pthread_mutex_lock(&pool.owner);
    stop_workers();
    pthread_mutex_unlock(&pool.owner);
}

/* At exit and before the code goes with dlclose. Later calls run in their own thread. */
__attribute__((destructor)) static void close_pool(void) {
    if (inside)
        return;
    pthread_mutex_lock(&pool.owner);
    pool.closed = true;
    stop_workers();
    pthread_mutex_unlock(&pool.owner);
}

/* ---- Running a job ---------------------------------------------------------------------------------------------------- */

static void run_job(int parts) {
    atomic_store(&pool.done, 0);
    pool.parts = parts;
    uint32_t job = (uint32_t)(atomic_load(&pool.state) >> 32) + 1;
    atomic_store(&pool.state, PACK(job, 0, parts));
    if (atomic_load(&pool.sleepers) > 0) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.work);
        pthread_mutex_unlock(&pool.lock);
    }
    for (int part; (part = take(true)) >= 0;) {
        run_part(part);
        atomic_fetch_add(&pool.done, 1);
    }
    if (all_done() || spin(all_done))
        return;
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.owner_sleeps, true);
    while (!all_done())
        pthread_cond_wait(&pool.finished, &pool.lock);
    atomic_store(&pool.owner_sleeps, false);
    pthread_mutex_unlock(&pool.lock);
}

void soma__parallel(int64_t n, int64_t grain, soma__range_fn fn, void *arg) {
    if (n <= 0)
        return;
    if (grain < 1)
        grain = 1;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int threads = n > grain && !inside ? soma_threads() : 1;
    if (threads > 1)
        pthread_once(&once, watch_forks);
    if (threads == 1 || pthread_mutex_trylock(&pool.owner) != 0) { /* another thread has the pool: do it here */
        fn(arg, 0, n);
        return;
    }
    int64_t units = (n - 1) / grain + 1;
    if (pool.workers > threads - 1)
        stop_workers();
    if (pool.workers < threads - 1 && !pool.closed)
        start_workers(threads - 1);
    pool.fn = fn;
    pool.arg = arg;
    pool.n = n;
    pool.grain = grain;
    int64_t parts = (int64_t)threads * PARTS_PER_THREAD;
    inside = true;
    run_job((int)(units < parts ? units : parts));
    inside = false;
    pthread_mutex_unlock(&pool.owner);
}
