/* soma's sgemm against oneDNN's and any cblas:
 *     bench_gemm [-j] [-t THREADS] [-s SECONDS] [-b libopenblas.so] [nn|nt|tn:MxNxK …]
 * With a third letter (nth:64x512x784) operands of f32 rounded to bf16, against oneDNN's bf16 product with A in bf16 and B in
 * the layout that it likes, neither conversion timed.
 * Without shapes it runs those of the anchors: squares, small squares, and the products of linear layers (nt forward, nn for
 * the gradient of the input, tn for the gradient of the weight). GFLOP/s at the least time; the last column is soma over the
 * best other. The others' threads are set with OMP_NUM_THREADS before the start. */
#include "bench.h"

#include "base/base.h"
#include "kernels/cpu/gemm.h"

#include <dlfcn.h>
#ifdef HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif

typedef struct shape {
    int64_t m, n, k;
    bool ta, tb;
    const float *a, *b;
    float *c;
    soma__gemm g;
    void *work;
    size_t bytes;
#ifdef HAVE_DNNL
    dnnl_stream_t stream;
    dnnl_primitive_t product;
    dnnl_exec_arg_t args[3];
#endif
} shape;

static void (*cblas)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static void run_soma(void *arg) {
    shape *s = arg;
    soma__gemm_run(&s->g, s->work, s->bytes);
}
static void run_cblas(void *arg) {
    shape *s = arg;
    cblas(101, s->ta ? 112 : 111, s->tb ? 112 : 111, (int)s->m, (int)s->n, (int)s->k, 1, s->a, (int)(s->ta ? s->m : s->k),
          s->b, (int)(s->tb ? s->k : s->n), 0, s->c, (int)s->n);
}
#ifdef HAVE_DNNL
static void run_dnnl(void *arg) {
    shape *s = arg;
    dnnl_sgemm(s->ta ? 'T' : 'N', s->tb ? 'T' : 'N', s->m, s->n, s->k, 1, s->a, s->ta ? s->m : s->k, s->b,
               s->tb ? s->k : s->n, 0, s->c, s->n);
}
#endif

#ifdef HAVE_DNNL
static void must(dnnl_status_t status) {
    if (status != dnnl_success) {
        fprintf(stderr, "oneDNN: status %d\n", (int)status);
        exit(1);
    }
}

static dnnl_memory_t ones(const dnnl_memory_desc_t *desc, dnnl_engine_t engine) {
    const size_t bytes = dnnl_memory_desc_get_size(desc);
    uint16_t *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    for (size_t i = 0; p && i < bytes / 2; i++)
        p[i] = 0x3f80;
    dnnl_memory_t memory;
    must(dnnl_memory_create(&memory, desc, engine, p));
    return memory;
}

/* What is made here stays: a few allocations for each shape of a short program. */
static void make_bf16(shape *s) {
    dnnl_engine_t engine;
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t product;
    dnnl_primitive_desc_t made;
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&s->stream, engine, dnnl_stream_default_flags));
    must(dnnl_memory_desc_init_by_tag(&a, 2, (dnnl_dims_t){s->m, s->k}, dnnl_bf16, s->ta ? dnnl_ba : dnnl_ab));
    must(dnnl_memory_desc_init_by_tag(&b, 2, (dnnl_dims_t){s->k, s->n}, dnnl_bf16, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&c, 2, (dnnl_dims_t){s->m, s->n}, dnnl_f32, dnnl_ab));
    must(dnnl_matmul_desc_init(&product, &a, &b, NULL, &c));
    must(dnnl_primitive_desc_create(&made, &product, NULL, engine, NULL));
    must(dnnl_primitive_create(&s->product, made));
    s->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, ones(&a, engine)};
    s->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, ones(dnnl_primitive_desc_query_md(made, dnnl_query_weights_md, 0), engine)};
    s->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, ones(&c, engine)};
}

static void run_bf16(void *arg) {
    shape *s = arg;
    must(dnnl_primitive_execute(s->product, s->stream, 3, s->args));
    must(dnnl_stream_wait(s->stream));
}
#endif

static void print_row(const char *text, double flops, const contestant *c, int count) {
    double other = 1e30;
    printf("%-20s", text);
    for (int i = 0; i < count; i++) {
        printf(" %8.1f", flops / c[i].best * 1e-9);
        if (i && c[i].best < other)
            other = c[i].best;
    }
    if (count > 1)
        printf(" %7.0f %%", 100 * other / c[0].best);
    printf("\n");
    fflush(stdout);
}

static void race(const char *text, double budget) {
    char kind[8];
    long m, n, k;
    if (sscanf(text, "%7[^:]:%ldx%ldx%ld", kind, &m, &n, &k) != 4) {
        fprintf(stderr, "%s: expected something like nt:64x128x784\n", text);
        exit(2);
    }
    shape s = {.m = m, .n = n, .k = k, .ta = kind[0] == 't', .tb = kind[1] == 't'};
    s.a = floats(m * k);
    s.b = floats(k * n);
    s.c = floats(m * n);
    s.g = (soma__gemm){.dtype = SOMA_F32,
                       .m = m,
                       .n = n,
                       .k = k,
                       .a = s.a,
                       .b = s.b,
                       .c = s.c,
                       .c_row = n,
                       .a_row = s.ta ? 1 : k,
                       .a_col = s.ta ? m : 1,
                       .b_row = s.tb ? 1 : n,
                       .b_col = s.tb ? k : 1,
                       .bf16 = kind[2] == 'h'};
    s.bytes = soma__gemm_work(&s.g);
    s.work = aligned_alloc(64, (s.bytes + 127) / 64 * 64);
    contestant c[3] = {{"soma", run_soma, &s, 0}};
    int count = 1;
#ifdef HAVE_DNNL
    if (s.g.bf16)
        make_bf16(&s);
    c[count++] = (contestant){"onednn", s.g.bf16 ? run_bf16 : run_dnnl, &s, 0};
#endif
    if (cblas && !s.g.bf16)
        c[count++] = (contestant){"openblas", run_cblas, &s, 0};
    compete(c, count, budget);
    double flops = 2.0 * (double)m * (double)n * (double)k;
    if (bench_json)
        json_line("gemm.", text, soma_threads(), flops * 1e-9, c, count);
    else
        print_row(text, flops, c, count);
    free((void *)s.a);
    free((void *)s.b);
    free(s.c);
    free(s.work);
}

int main(int argc, char **argv) {
    static const char *const usual[] = {"nn:16x16x16",      "nn:32x32x32",    "nn:64x64x64",       "nn:128x128x128",
                                        "nn:256x256x256",   "nn:512x512x512", "nn:1024x1024x1024", "nn:2048x2048x2048",
                                        "nt:256x256x256",   "tn:256x256x256", "nt:64x128x784",     "nt:64x512x512",
                                        "nt:128x1024x1024", "nt:32x3072x768", "nt:2048x1024x256",  "nt:2048x8192x256",
                                        "nt:1x1024x1024",   "nt:1x512x784",   "nn:1x1024x1024",    "nn:64x512x512",
                                        "nn:64x784x128",    "tn:512x512x64",  "tn:128x784x64",     "tn:1024x256x2048",
                                        "nt:64x10x128",     "nn:4x4x4",       "nn:8x8x8",          "nn:24x24x24",
                                        "nn:48x48x48",      "nn:96x96x96",    "nnh:1024x1024x1024",
                                        "nth:64x512x512",   "nth:2048x1024x256", "tnh:1024x256x2048"};
    double budget = 0.3;
    int shapes = 0;
    soma_set_threads(1);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-t") == 0 && i + 1 < argc) {
            soma_set_threads(atoi(argv[++i]));
            bench_clock = soma_threads() > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
        } else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc) {
            budget = atof(argv[++i]);
        } else if (strcmp(argv[i], "-j") == 0) {
            bench_json = 1;
        } else if (strcmp(argv[i], "-b") == 0 && i + 1 < argc) {
            void *library = dlopen(argv[++i], RTLD_NOW);
            *(void **)&cblas = library ? dlsym(library, "cblas_sgemm") : NULL;
        } else {
            race(argv[i], budget);
            shapes++;
        }
    }
    for (size_t i = 0; i < SOMA_LEN(usual) && !shapes; i++)
        race(usual[i], budget);
    return 0;
}
