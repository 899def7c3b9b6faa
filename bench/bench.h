/* Timing for the micro-benchmarks: contestants take turns in short bursts, and of each one's times the lower fifth's upper
 * end counts, so that what else runs on the machine hits all of them alike and mostly drops out (the very least would be an
 * outlier of the clock: a thread's own time, on a shared virtual machine, is now and then far too short). */
#ifndef SOMA_BENCH_H
#define SOMA_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct contestant {
    const char *name;
    void (*run)(void *arg);
    void *arg;
    double best; /* seconds a call */
} contestant;

/* With one thread its own time, which leaves out what the system gave to others meanwhile; with more the time of day. */
static clockid_t bench_clock = CLOCK_THREAD_CPUTIME_ID;
static inline double seconds(void) {
    struct timespec t;
    clock_gettime(bench_clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_time(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { BENCH_TIMES = 4000 };

static inline double one_group(const contestant *c, int group) {
    double t = seconds();
    for (int g = 0; g < group; g++)
        c->run(c->arg);
    return (seconds() - t) / group;
}

/* Runs the contestants in turn for `budget` seconds each. Short calls are timed in groups of about 50 us. With several threads a turn is longer: a
 * rest, in which the threads of the one before stop spinning (OpenMP's do for some milliseconds, on processors that others want), some
 * time to wake one's own and to spread over the processors, then groups that count. */
static inline void compete(contestant *c, int n, double budget) {
    static double times[8][BENCH_TIMES];
    const bool several = bench_clock == CLOCK_MONOTONIC;
    const struct timespec rest = {.tv_nsec = 10000000};
    const double waking = several ? 0.015 : 0, counting = several ? 0.025 : 0;
    int group[8], count[8] = {0};
    for (int i = 0; i < n; i++) {
        c[i].run(c[i].arg);
        double t = one_group(&c[i], 1);
        group[i] = t < 50e-6 ? (int)(50e-6 / (t > 1e-8 ? t : 1e-8)) + 1 : 1;
    }
    double end = seconds() + budget * n;
    for (int turn = 0; turn < 3 || seconds() < end; turn++)
        for (int i = 0; i < n; i++) {
            if (several)
                nanosleep(&rest, NULL);
            for (double until = seconds() + waking; several && seconds() < until;)
                c[i].run(c[i].arg);
            double until = seconds() + counting;
            for (bool first = true; count[i] < BENCH_TIMES && (first || seconds() < until); first = false)
                times[i][count[i]++] = one_group(&c[i], group[i]);
        }
    for (int i = 0; i < n; i++) {
        qsort(times[i], (size_t)count[i], sizeof *times[i], by_time);
        c[i].best = times[i][count[i] / 5];
    }
}

/* -j: a line of JSON for `make bench` in place of a row of the table; times in ms, the arithmetic in GFLOP. */
static int bench_json;
static inline void json_line(const char *family, const char *text, int threads, double gflop, const contestant *c, int n) {
    printf("{\"workload\": \"%s%s\", \"threads\": %d, \"gflop\": %.9f, \"soma_ms\": %.9f, \"peers\": {", family, text, threads, gflop, c[0].best * 1e3);
    for (int i = 1; i < n; i++)
        printf("%s\"%s\": %.9f", i > 1 ? ", " : "", c[i].name, c[i].best * 1e3);
    printf("}}\n");
    fflush(stdout);
}

static inline float *floats(int64_t n) {
    float *p = aligned_alloc(64, ((size_t)n * 4 + 127) / 64 * 64);
    uint32_t s = 12345;
    for (int64_t i = 0; p && i < n; i++) {
        s = s * 1664525u + 1013904223u;
        p[i] = (float)(s >> 8) / 8388608.0f - 1.0f;
    }
    return p;
}

#endif
