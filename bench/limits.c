/* What the machine can do, for the share of it that a workload reaches: f32 multiply-adds of independent registers, and moving arrays that no
 * cache holds, on large pages: the better of a = b + s c, stored past the caches, and of a = a + s b; 3 arrays count in both.
 * bench_limits [-i avx2] prints a line of JSON for 1 thread and for all. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Written out, so that all are in registers. */
#define TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
enum { REGISTERS = 12, ROUNDS = 200000, MOST_THREADS = 64, REPEATS = 40 };
static const size_t array_bytes = (size_t)96 << 20;
static pthread_barrier_t barrier;

typedef struct job {
    pthread_t thread;
    float *a, *b, *c;
    size_t n;
    int isa; /* 2: AVX-512, 1: AVX2, 0: neither */
    float sink;
    double flop_seconds, byte_seconds;
} job;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float multiply_add_512(void) {
    __m512 r[REGISTERS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    for (int i = 0; i < REGISTERS; i++)
        r[i] = _mm512_set1_ps((float)i);
#define STEP(i) r[i] = _mm512_fmadd_ps(r[i], x, y);
    for (int k = 0; k < ROUNDS; k++) {
        TWELVE(STEP)
    }
#undef STEP
    for (int i = 1; i < REGISTERS; i++)
        r[0] = _mm512_add_ps(r[0], r[i]);
    return _mm512_cvtss_f32(r[0]);
}
__attribute__((target("avx2,fma"))) static float multiply_add_256(void) {
    __m256 r[REGISTERS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    for (int i = 0; i < REGISTERS; i++)
        r[i] = _mm256_set1_ps((float)i);
#define STEP(i) r[i] = _mm256_fmadd_ps(r[i], x, y);
    for (int k = 0; k < ROUNDS; k++) {
        TWELVE(STEP)
    }
#undef STEP
    for (int i = 1; i < REGISTERS; i++)
        r[0] = _mm256_add_ps(r[0], r[i]);
    return _mm256_cvtss_f32(r[0]);
}
__attribute__((target("avx512f"))) static void triad_512(float *a, const float *b, const float *c, size_t n) {
    __m512 s = _mm512_set1_ps(1.5f);
    for (size_t i = 0; i < n; i += 16)
        _mm512_stream_ps(a + i, _mm512_fmadd_ps(s, _mm512_load_ps(c + i), _mm512_load_ps(b + i)));
    _mm_sfence();
}
__attribute__((target("avx512f"))) static void update_512(float *a, const float *b, size_t n) {
    __m512 s = _mm512_set1_ps(1e-6f);
    for (size_t i = 0; i < n; i += 16)
        _mm512_store_ps(a + i, _mm512_fmadd_ps(s, _mm512_load_ps(b + i), _mm512_load_ps(a + i)));
}
__attribute__((target("avx2,fma"))) static void update_256(float *a, const float *b, size_t n) {
    __m256 s = _mm256_set1_ps(1e-6f);
    for (size_t i = 0; i < n; i += 8)
        _mm256_store_ps(a + i, _mm256_fmadd_ps(s, _mm256_load_ps(b + i), _mm256_load_ps(a + i)));
}
__attribute__((target("avx2,fma"))) static void triad_256(float *a, const float *b, const float *c, size_t n) {
    __m256 s = _mm256_set1_ps(1.5f);
    for (size_t i = 0; i < n; i += 8)
        _mm256_stream_ps(a + i, _mm256_fmadd_ps(s, _mm256_load_ps(c + i), _mm256_load_ps(b + i)));
    _mm_sfence();
}
#endif

static float multiply_add(int isa) {
#if defined(__x86_64__)
    if (isa)
        return isa == 2 ? multiply_add_512() : multiply_add_256();
#endif
    float r[64];
    for (int i = 0; i < 64; i++)
        r[i] = (float)i;
    for (int k = 0; k < ROUNDS / 4; k++)
        for (int i = 0; i < 64; i++)
            r[i] = r[i] * 0.999f + 0.001f;
    float sum = (float)isa;
    for (int i = 0; i < 64; i++)
        sum += r[i];
    return sum;
}
static double flops(int isa) { return isa ? 2.0 * REGISTERS * ROUNDS * (isa == 2 ? 16 : 8) : 2.0 * 64 * (ROUNDS / 4); }

static void move(job *j, bool streaming) {
#if defined(__x86_64__)
    if (j->isa) {
        if (streaming)
            (j->isa == 2 ? triad_512 : triad_256)(j->a, j->b, j->c, j->n);
        else
            (j->isa == 2 ? update_512 : update_256)(j->a, j->b, j->n);
        return;
    }
#endif
    (void)streaming;
    for (size_t i = 0; i < j->n; i++)
        j->a[i] = j->b[i] + 1.5f * j->c[i];
}

/* All threads together, the least time of each kind. */
static void *work(void *arg) {
    job *j = arg;
    j->flop_seconds = j->byte_seconds = 1e30;
    move(j, true); /* touches the pages */
    for (int i = 0; i < REPEATS; i++) {
        pthread_barrier_wait(&barrier);
        double t = now();
        j->sink += multiply_add(j->isa);
        pthread_barrier_wait(&barrier);
        t = now() - t;
        j->flop_seconds = t < j->flop_seconds ? t : j->flop_seconds;
        t = now();
        move(j, i % 2);
        pthread_barrier_wait(&barrier);
        t = now() - t;
        j->byte_seconds = t < j->byte_seconds ? t : j->byte_seconds;
    }
    return NULL;
}

int main(int argc, char **argv) {
    static job jobs[MOST_THREADS];
    int isa = 0, processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__x86_64__)
    isa = __builtin_cpu_supports("avx512f") ? 2 : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
#endif
    if (argc > 2 && strcmp(argv[1], "-i") == 0 && strcmp(argv[2], "avx2") == 0 && isa == 2)
        isa = 1;
    processors = processors > MOST_THREADS ? MOST_THREADS : processors;
    float *memory[3];
    for (int i = 0; i < 3; i++) {
        if (!(memory[i] = aligned_alloc((size_t)2 << 20, array_bytes)))
            return 1;
#if defined(MADV_HUGEPAGE)
        madvise(memory[i], array_bytes, MADV_HUGEPAGE);
#endif
        memset(memory[i], 0, array_bytes);
    }
    for (int threads = 1;; threads = processors) {
        size_t n = array_bytes / sizeof(float) / (size_t)threads / 16 * 16;
        pthread_barrier_init(&barrier, NULL, (unsigned)threads);
        for (int i = 0; i < threads; i++) {
            size_t at = (size_t)i * n;
            jobs[i] = (job){.a = memory[0] + at, .b = memory[1] + at, .c = memory[2] + at, .n = n, .isa = isa};
            if (pthread_create(&jobs[i].thread, NULL, work, &jobs[i]))
                return 1;
        }
        for (int i = 0; i < threads; i++)
            pthread_join(jobs[i].thread, NULL);
        pthread_barrier_destroy(&barrier);
        printf("{\"threads\": %d, \"isa\": \"%s\", \"gflops\": %.1f, \"gbs\": %.2f}\n", threads, isa == 2 ? "avx512" : isa == 1 ? "avx2" : "other",
               flops(isa) * threads / jobs[0].flop_seconds * 1e-9, 12e-9 * (double)n * threads / jobs[0].byte_seconds);
        if (threads == processors)
            break;
    }
    for (int i = 0; i < 3; i++)
        free(memory[i]);
    return 0;
}
