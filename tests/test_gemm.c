/* Matrix products against plain loops in double, for every instruction set that the machine has, with the bound that theory
 * gives for the error: a sum of k products in any order is off by at most (k + 1) u sum|a b| (Higham 2002, section 3.1; u:
 * half the distance from 1 to the next number), bias and C add one rounding each, and halves add one rounding of the result.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/base.h"
#include "kernels/cpu/gemm.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64 };

static uint32_t seed = 1;
static double next(void) {
    seed = seed * 1664525u + 1013904223u;
    return (double)(seed >> 8) / 8388608.0 - 1.0;
}

static double get(const void *p, soma_dtype dtype, int64_t i) {
    switch (dtype) {
    case SOMA_F32: return ((const float *)p)[i];
    case SOMA_F64: return ((const double *)p)[i];
    case SOMA_BF16: return soma__bf16_to_float(((const uint16_t *)p)[i]);
    case SOMA_F16: return soma__half_to_float(((const uint16_t *)p)[i]);
    default: return NAN;
    }
}
static void put(void *p, soma_dtype dtype, int64_t i, double v) {
    switch (dtype) {
    case SOMA_F32: ((float *)p)[i] = (float)v; break;
    case SOMA_F64: ((double *)p)[i] = v; break;
    case SOMA_BF16: ((uint16_t *)p)[i] = soma__float_to_bf16((float)v); break;
    case SOMA_F16: ((uint16_t *)p)[i] = soma__float_to_half((float)v); break;
    default: break;
    }
}

/* A block of exactly `n` elements with random values, so that reading beyond it is found by ASan. */
static void *values(soma_dtype dtype, int64_t n) {
    void *p = malloc((size_t)(n > 0 ? n : 1) * soma_dtype_size(dtype));
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++)
        put(p, dtype, i, next());
    return p;
}

typedef struct shape {
    int64_t m, n, k, batch;
    bool ta, tb;
} shape;

static double unit(soma_dtype dtype) {
    return dtype == SOMA_F64 ? 0x1p-53 : 0x1p-24;
}
static double rounding(soma_dtype dtype) { return dtype == SOMA_BF16 ? 0x1p-8 : dtype == SOMA_F16 ? 0x1p-11 : 0; }

/* The element of the product in double, and the bound of its error. */
static double expected(const soma__gemm *g, const void *before, int64_t q, int64_t i, int64_t j, double *bound) {
    double sum = 0, size = 0;
    for (int64_t p = 0; p < g->k; p++) {
        double x = get(g->a, g->dtype, q * g->a_batch + i * g->a_row + p * g->a_col) *
                   get(g->b, g->dtype, q * g->b_batch + p * g->b_row + j * g->b_col);
        sum += x;
        size += fabs(x);
    }
    double extra = g->add ? get(before, g->dtype, q * g->c_batch + i * g->c_row + j) : 0;
    extra += g->bias_row ? get(g->bias_row, g->dtype, i) : 0;
    extra += g->bias_col ? get(g->bias_col, g->dtype, j) : 0;
    sum += extra;
    *bound = ((double)g->k + 4) * unit(g->dtype) * (size + fabs(extra) + 2) + rounding(g->dtype) * fabs(sum);
    if (g->bf16) /* each factor is off by at most 2^-8 of itself: (1 + u)^2 - 1 */
        *bound += (2 * 0x1p-8 + 0x1p-16) * size;
    if (g->dtype == SOMA_F16)
        *bound += 0x1p-25; /* half a step below the least normal number */
    if (g->relu && sum < 0)
        sum = 0;
    if (g->mask && !(get(g->mask, g->dtype, q * g->mask_batch + i * g->mask_row + j) > 0))
        sum = *bound = 0;
    return sum;
}

/* Bits of the options: 1 add, 2 relu, 4 bias per row, 8 bias per column, 16 mask, 32 f32 rounded to bf16. */
static void check(soma_dtype dtype, shape s, unsigned options) {
    const size_t size = soma_dtype_size(dtype);
    const int64_t batch = s.batch ? s.batch : 1, c_row = s.n + 3, c_batch = s.m * c_row, total = batch * c_batch + GUARD;
    const int64_t lda = (s.ta ? s.m : s.k) + (s.batch ? 2 : 0), ldb = s.tb ? s.k : s.n;
    soma__gemm g = {.dtype = dtype, .m = s.m, .n = s.n, .k = s.k, .batch = s.batch, .c_row = c_row, .c_batch = c_batch};
    g.a_batch = (s.ta ? s.k : s.m) * lda;
    g.b_batch = s.k * s.n;
    void *a = values(dtype, batch * g.a_batch), *b = values(dtype, batch * g.b_batch), *before = values(dtype, total);
    void *bias = values(dtype, (options & 4) ? s.m : s.n), *mask = values(dtype, total), *c = malloc((size_t)total * size);
    g.a = a;
    g.b = b;
    g.a_row = s.ta ? 1 : lda;
    g.a_col = s.ta ? lda : 1;
    g.b_row = s.tb ? 1 : ldb;
    g.b_col = s.tb ? ldb : 1;
    g.c = c;
    g.add = options & 1;
    g.relu = options & 2;
    g.bf16 = options & 32;
    g.bias_row = options & 4 ? bias : NULL;
    g.bias_col = options & 8 && !g.bias_row ? bias : NULL;
    g.mask = options & 16 ? mask : NULL;
    g.mask_row = c_row;
    g.mask_batch = c_batch;
    memcpy(c, before, (size_t)total * size);
    size_t bytes = soma__gemm_work(&g);
    void *work = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    soma__gemm_run(&g, work, bytes);
    for (int64_t q = 0; q < batch; q++)
        for (int64_t i = 0; i < s.m; i++) {
            for (int64_t j = 0; j < s.n; j++) {
                double bound, want = expected(&g, before, q, i, j, &bound), got = get(c, dtype, q * c_batch + i * c_row + j);
                if (!(fabs(got - want) <= bound))
                    fail_msg(
                        "%s %s %ldx%ldx%ld batch %ld ta %d tb %d options %u: [%ld][%ld][%ld] is %.9g, expected %.9g +- %.3g",
                        soma_isa(), soma_dtype_name(dtype), (long)s.m, (long)s.n, (long)s.k, (long)s.batch, s.ta, s.tb,
                        options, (long)q, (long)i, (long)j, got, want, bound);
            }
            assert_memory_equal((char *)c + (size_t)(q * c_batch + i * c_row + s.n) *
                                                size, /* the gap behind each row is untouched */
                                (char *)before + (size_t)(q * c_batch + i * c_row + s.n) * size, 3 * size);
        }
    assert_memory_equal((char *)c + (size_t)(total - GUARD) * size, (char *)before + (size_t)(total - GUARD) * size,
                        GUARD * size);
    free(a);
    free(b);
    free(before);
    free(bias);
    free(mask);
    free(c);
    free(work);
}

/* Runs `fn` with each instruction set that the machine has. */
static void each_isa(void (*fn)(void)) {
    for (int level = 0; level <= soma__isa_best(); level++) {
        soma__isa_force(level);
        fn();
    }
    soma__isa_force(-1);
}

static void all_small_sizes(void) {
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 49};
    unsigned options = 0;
    for (size_t i = 0; i < SOMA_LEN(sizes); i++)
        for (size_t j = 0; j < SOMA_LEN(sizes); j++)
            for (size_t k = 0; k < SOMA_LEN(sizes); k += 2)
                for (int t = 0; t < 4; t++, options = (options + 7) % 32)
                    check((i + j) % 2 ? SOMA_F32 : SOMA_F64, (shape){sizes[i], sizes[j], sizes[k], 0, t & 1, t & 2}, options);
}
static void small_sizes(void **state) {
    (void)state;
    each_isa(all_small_sizes);
}

static void all_large_sizes(void) {
    static const shape shapes[] = {
        {64, 128, 784, 0, 0, 0}, {1, 513, 300, 0, 0, 0}, {3, 100, 777, 0, 0, 0},
        {130, 70, 129, 0, 0, 0}, {2100, 33, 5, 0, 0, 0}, {97, 301, 401, 0, 0, 0},
        {300, 1, 200, 0, 0, 0},  {10, 128, 64, 0, 0, 0}, {50, 260, 390, 0, 0, 0}, {61, 10, 131, 0, 0, 0}, {48, 77, 200, 0, 0, 0}, {16, 65, 64, 0, 0, 0}, {31, 100, 99, 0, 0, 0}, {32, 131, 70, 3, 0, 0}, {30, 90, 1030, 0, 0, 0}, {70, 22, 300, 0, 0, 0}, {2, 70, 95, 0, 0, 0},
    };
    for (size_t i = 0; i < SOMA_LEN(shapes); i++)
        for (int t = 0; t < 4; t++) {
            shape s = shapes[i];
            s.ta = t & 1;
            s.tb = t & 2;
            check(SOMA_F32, s, (unsigned)(i * 5 + (size_t)t * 3) % 32);
            if (t == (int)(i % 4))
                check(SOMA_F64, s, (unsigned)(i * 3) % 32);
        }
}
/* f32 operands rounded to bf16; exactly so: with values that bf16 has, and few of them, nothing is rounded at all. */
static void all_rounded(void) {
    static const shape shapes[] = {
        {64, 128, 784, 0, 0, 0}, {130, 70, 129, 0, 0, 0}, {97, 301, 2401, 0, 0, 0}, {70, 9, 1, 0, 0, 0}, {3, 100, 65, 0, 0, 0},
        {10, 128, 66, 0, 0, 0},  {65, 17, 2, 0, 0, 0},    {31, 77, 130, 3, 0, 0},
    };
    for (size_t i = 0; i < SOMA_LEN(shapes); i++)
        for (int t = 0; t < 4; t++) {
            shape s = shapes[i];
            s.ta = t & 1;
            s.tb = t & 2;
            check(SOMA_F32, s, 32 | ((unsigned)(i * 5 + (size_t)t * 3) % 32));
        }
    enum { SIDE = 80, K = 131 };
    float *a = malloc(SIDE * K * sizeof *a), *b = malloc(SIDE * K * sizeof *b), *c = malloc(SIDE * SIDE * sizeof *c);
    for (int i = 0; i < SIDE * K; i++) {
        a[i] = (float)((i * 7) % 31 + 1) + 0x1p-12f; /* the last bit goes */
        b[i] = (float)((i * 5) % 29 - 14);
    }
    soma__gemm g = {.dtype = SOMA_F32, .m = SIDE, .n = SIDE, .k = K, .a = a, .b = b, .c = c, .c_row = SIDE, .a_row = 3, .a_col = 1,
                    .b_row = 2, .b_col = 31, .bf16 = true}; /* overlapping rows: any strides will do */
    size_t bytes = soma__gemm_work(&g);
    void *work = aligned_alloc(64, (bytes + 63) / 64 * 64);
    soma__gemm_run(&g, work, bytes);
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            float sum = 0;
            for (int p = 0; p < K; p++)
                sum += rintf(a[i * 3 + p]) * b[p * 2 + j * 31];
            assert_true(c[i * SIDE + j] == sum);
        }
    free(work);
    free(a);
    free(b);
    free(c);
}
static void rounded(void **state) {
    (void)state;
    soma_set_threads(3);
    each_isa(all_rounded);
    soma_set_threads(0);
}

static void large_sizes(void **state) {
    (void)state;
    soma_set_threads(3);
    each_isa(all_large_sizes);
    soma_set_threads(0);
}

static void all_halves(void) {
    static const shape shapes[] = {{1, 1, 1, 0, 0, 0},
                                   {7, 50, 33, 0, 0, 0},
                                   {65, 90, 400, 0, 0, 0},
                                   {9, 17, 20, 3, 0, 0},
                                   {4, 60, 800, 0, 0, 0}};
    for (size_t i = 0; i < SOMA_LEN(shapes); i++)
        for (int t = 0; t < 4; t++) {
            shape s = shapes[i];
            s.ta = t & 1;
            s.tb = t & 2;
            check(SOMA_BF16, s, (unsigned)(i * 5 + (size_t)t * 3) % 32);
            check(SOMA_F16, s, (unsigned)(i * 7 + (size_t)t * 5) % 32);
        }
}
static void halves(void **state) {
    (void)state;
    each_isa(all_halves);
}

static void batches_and_empty(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        soma_set_threads(threads);
        for (int t = 0; t < 4; t++) {
            check(SOMA_F32, (shape){20, 30, 40, 7, t & 1, t & 2}, (unsigned)t * 7);
            check(SOMA_F32, (shape){120, 130, 40, 2, t & 1, t & 2}, (unsigned)t * 5);
            check(SOMA_F64, (shape){1, 64, 64, 5, t & 1, t & 2}, (unsigned)t * 3);
            check(SOMA_F32, (shape){5, 6, 0, 2, t & 1, t & 2}, (unsigned)t * 9);
            check(SOMA_F32, (shape){0, 6, 3, 2, t & 1, t & 2}, 0);
            check(SOMA_F32, (shape){5, 0, 3, 0, t & 1, t & 2}, 0);
        }
    }
    soma_set_threads(0);
}

/* The same bits for every number of threads, alone and in a batch. */
static void all_threads_agree(void) {
    static const shape shapes[] = {{64, 512, 784, 0, 0, 1},  {200, 333, 500, 0, 0, 0}, {1, 1000, 1000, 0, 0, 1},
                                   {1, 1000, 1000, 0, 0, 0}, {513, 40, 900, 0, 1, 0},  {900, 1, 800, 0, 0, 0},
                                   {60, 70, 80, 5, 0, 0},  {700, 10, 512, 0, 0, 1}, {3, 900, 513, 0, 0, 1}};
    for (size_t i = 0; i < SOMA_LEN(shapes); i++) {
        const shape s = shapes[i];
        const int64_t batch = s.batch ? s.batch : 1;
        soma_dtype dtype = i == 1 ? SOMA_BF16 : SOMA_F32;
        const size_t size = soma_dtype_size(dtype), bytes_c = (size_t)(batch * s.m * s.n) * size;
        void *a = values(dtype, batch * s.m * s.k), *b = values(dtype, batch * s.n * s.k);
        char *first = malloc(bytes_c), *c = malloc(bytes_c);
        static const int threads[] = {1, 2, 3, 7, 7};
        for (size_t t = 0; t < SOMA_LEN(threads); t++) {
            soma_set_threads(threads[t]);
            soma__gemm g = {.dtype = dtype,
                            .bf16 = dtype == SOMA_F32 && i % 2 == 0,
                            .m = s.m,
                            .n = s.n,
                            .k = s.k,
                            .a = a,
                            .b = b,
                            .c = t ? c : first,
                            .c_row = s.n,
                            .batch = s.batch,
                            .a_row = s.ta ? 1 : s.k,
                            .a_col = s.ta ? s.m : 1,
                            .b_row = s.tb ? 1 : s.n,
                            .b_col = s.tb ? s.k : 1,
                            .a_batch = s.m * s.k,
                            .b_batch = s.k * s.n,
                            .c_batch = s.m * s.n};
            size_t bytes = soma__gemm_work(&g);
            void *work = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
            if (t == 2)
                soma_set_threads(5); /* more threads than the workspace was asked for */
            if (t == 4)
                soma_set_threads(1); /* or fewer */
            soma__gemm_run(&g, work, bytes);
            free(work);
            if (t)
                assert_memory_equal(c, first, bytes_c);
        }
        free(a);
        free(b);
        free(c);
        free(first);
    }
    soma_set_threads(0);
}
static void threads_agree(void **state) {
    (void)state;
    each_isa(all_threads_agree);
}

static void integers_wrap(void **state) {
    (void)state;
    const int8_t a[] = {100, 50, -7, 3}, b[] = {2, 1, 1, 0}; /* [2][2] each */
    int8_t c[4] = {1, 1, 1, 1};
    soma__gemm g = {.dtype = SOMA_I8,
                    .m = 2,
                    .n = 2,
                    .k = 2,
                    .a = a,
                    .a_row = 2,
                    .a_col = 1,
                    .b = b,
                    .b_row = 1,
                    .b_col = 2,
                    .c = c,
                    .c_row = 2};
    assert_int_equal(soma__gemm_work(&g), 0);
    soma__gemm_run(&g, NULL, 0); /* b is read transposed: columns (2, 1) and (1, 0) */
    assert_int_equal(c[0], (int8_t)250);
    assert_int_equal(c[1], 100);
    assert_int_equal(c[2], -11);
    assert_int_equal(c[3], -7);
    g.add = true;
    soma__gemm_run(&g, NULL, 0);
    assert_int_equal(c[2], -22);
    int64_t x[] = {INT64_MAX}, y[] = {2}, z[1];
    g = (soma__gemm){.dtype = SOMA_I64, .m = 1, .n = 1, .k = 1, .a = x, .b = y, .c = z, .c_row = 1};
    soma__gemm_run(&g, NULL, 0);
    assert_int_equal(z[0], -2);
}

/* NaN and infinities go through, also through relu, as IEEE says. */
static void not_finite(void) {
    float a[] = {NAN, 1, INFINITY, 1}, b[] = {1, 2, 3, 4}, c[4];
    soma__gemm g = {.dtype = SOMA_F32,
                    .m = 2,
                    .n = 2,
                    .k = 2,
                    .a = a,
                    .a_row = 2,
                    .a_col = 1,
                    .b = b,
                    .b_row = 2,
                    .b_col = 1,
                    .c = c,
                    .c_row = 2,
                    .relu = true};
    char work[4096] __attribute__((aligned(64)));
    assert_true(soma__gemm_work(&g) <= sizeof work);
    soma__gemm_run(&g, work, sizeof work);
    assert_true(isnan(c[0]) && isnan(c[1]) && c[2] == INFINITY && c[3] == INFINITY);
}
static void not_finite_values(void **state) {
    (void)state;
    each_isa(not_finite);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_sizes),       cmocka_unit_test(large_sizes),   cmocka_unit_test(halves),
        cmocka_unit_test(batches_and_empty), cmocka_unit_test(threads_agree), cmocka_unit_test(integers_wrap),
        cmocka_unit_test(not_finite_values), cmocka_unit_test(rounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
