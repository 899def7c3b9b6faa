/* The thread pool: every index once, bounds that are multiples of the grain, nested and concurrent calls, fork, restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct job {
    int64_t n, grain;
    unsigned char *seen;
    atomic_int bad, calls;
} job;

static void mark(void *arg, int64_t begin, int64_t end) {
    job *j = arg;
    atomic_fetch_add(&j->calls, 1);
    if (begin % j->grain != 0 || (end % j->grain != 0 && end != j->n) || begin >= end)
        atomic_fetch_add(&j->bad, 1);
    for (int64_t i = begin; i < end; i++)
        j->seen[i]++; /* two threads on one index are also what TSan would report */
}

static bool covers(int64_t n, int64_t grain) {
    static _Thread_local unsigned char seen[5000];
    job j = {.n = n, .grain = grain, .seen = seen};
    memset(seen, 0, sizeof seen);
    soma__parallel(n, grain, mark, &j);
    for (int64_t i = 0; i < n; i++)
        if (seen[i] != 1)
            return false;
    return j.bad == 0 && (n > grain || j.calls == (n > 0));
}

static void every_index_once(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 7, 16, 2};
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 64, 65, 1000, 4999}, grains[] = {1, 3, 16, 1000};
    for (size_t t = 0; t < SOMA_LEN(threads); t++) {
        soma_set_threads(threads[t]);
        assert_int_equal(soma_threads(), threads[t]);
        for (int round = 0; round < 20; round++)
            for (size_t i = 0; i < SOMA_LEN(sizes); i++)
                for (size_t g = 0; g < SOMA_LEN(grains); g++)
                    assert_true(covers(sizes[i], grains[g]));
    }
    soma_set_threads(0);
    assert_true(soma_threads() >= 1);
}

/* With pauses in between, workers park and are woken again. */
static void parked_workers_wake(void **state) {
    (void)state;
    soma_set_threads(3);
    for (int i = 0; i < 30; i++) {
        usleep(1000);
        assert_true(covers(3000, 1));
    }
}

static void inner(void *arg, int64_t begin, int64_t end) { atomic_fetch_add((atomic_long *)arg, (long)(end - begin)); }
static void outer(void *arg, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
        soma__parallel(10, 1, inner, arg);
}
static void nested_calls_run_inline(void **state) {
    (void)state;
    soma_set_threads(3);
    atomic_long sum = 0;
    soma__parallel(100, 1, outer, &sum);
    assert_int_equal(sum, 1000);
}

static void *caller(void *arg) {
    for (int i = 0; i < 300; i++)
        if (!covers(4000, 7))
            atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}
static void callers_from_many_threads(void **state) {
    (void)state;
    soma_set_threads(3);
    pthread_t thread[4];
    atomic_int failed = 0;
    for (size_t i = 0; i < SOMA_LEN(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, caller, &failed), 0);
    for (int i = 0; i < 50; i++) /* and the count changes under them */
        soma_set_threads(1 + i % 4);
    for (size_t i = 0; i < SOMA_LEN(thread); i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(failed, 0);
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(UNDER_TSAN)
#define UNDER_TSAN 1
#endif

static void child_after_fork(void **state) {
    (void)state;
#ifdef UNDER_TSAN
    skip(); /* TSan itself ends a child that makes threads */
#endif
    soma_set_threads(3);
    assert_true(covers(3000, 1));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool good = true;
        for (int i = 0; i < 20; i++)
            good = good && covers(3000, 1);
        soma__pool_stop();
        _exit(good && covers(10, 1) ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(covers(3000, 1));
}

static void stop_and_start_again(void **state) {
    (void)state;
    soma_set_threads(4);
    for (int i = 0; i < 20; i++) {
        assert_true(covers(1000, 1));
        soma__pool_stop();
        soma__pool_stop();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_once),        cmocka_unit_test(parked_workers_wake),
        cmocka_unit_test(nested_calls_run_inline), cmocka_unit_test(callers_from_many_threads),
        cmocka_unit_test(child_after_fork),        cmocka_unit_test(stop_and_start_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
