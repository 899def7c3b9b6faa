/* Timing for the micro-benchmarks: contestants take turns in short bursts, and each one's least time counts, so that what else runs on
 * the machine hits all of them alike and mostly drops out. */
#ifndef SOMA_BENCH_H
#define SOMA_BENCH_H

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

/* Runs the contestants in turn for `budget` seconds together. Short calls are timed in groups of about 30 us. */
static inline void compete(contestant *c, int n, double budget) {
    int group[16];
    for (int i = 0; i < n; i++) {
        c[i].run(c[i].arg);
        double t = seconds();
        c[i].run(c[i].arg);
        t = seconds() - t;
        c[i].best = t;
        group[i] = t < 30e-6 ? (int)(30e-6 / (t > 1e-8 ? t : 1e-8)) + 1 : 1;
    }
    double end = seconds() + budget;
    for (int round = 0; round < 5 || seconds() < end; round++)
        for (int i = 0; i < n; i++)
            for (int burst = 0; burst < 3; burst++) {
                double t = seconds();
                for (int g = 0; g < group[i]; g++)
                    c[i].run(c[i].arg);
                t = (seconds() - t) / group[i];
                if (t < c[i].best)
                    c[i].best = t;
            }
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
