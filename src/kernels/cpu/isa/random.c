/* Philox4x32-10 in lanes, and normals from pairs of uniform numbers. Everything here is exact or rounds the same way on
 * every machine: whole numbers, and f64 +, -, *, /, sqrt in a fixed order without fused operations. So are the results. */
#include "kernels/cpu/random.h"

#include <math.h>
#include <string.h>

enum {
    LANES = 16
};
typedef uint32_t word __attribute__((vector_size(LANES * 4)));
typedef uint64_t wide __attribute__((vector_size(LANES * 8)));

static inline __attribute__((always_inline)) void multiply(word a, uint32_t b, word *high, word *low) {
    wide p = __builtin_convertvector(a, wide) * (uint64_t)b;
    *high = __builtin_convertvector(p >> 32, word);
    *low = a * b;
}

/* LANES blocks from `first` on. */
static inline __attribute__((always_inline)) void philox(uint64_t seed, uint64_t stream, uint64_t first, word out[4]) {
    word c0, c1, c2 = (word){0} + (uint32_t)stream, c3 = (word){0} + (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < LANES; i++) {
        c0[i] = (uint32_t)(first + (uint64_t)i);
        c1[i] = (uint32_t)((first + (uint64_t)i) >> 32);
    }
    for (int round = 0; round < 10; round++) {
        word h0, l0, h1, l1;
        multiply(c0, 0xD2511F53u, &h0, &l0);
        multiply(c2, 0xCD9E8D57u, &h1, &l1);
        c0 = h1 ^ c1 ^ k0;
        c2 = h0 ^ c3 ^ k1;
        c1 = l1;
        c3 = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static void words(uint64_t seed, uint64_t stream, uint64_t first, int64_t blocks, uint32_t *out) {
    for (int64_t b = 0; b < blocks; b += LANES) {
        word w[4];
        uint32_t lane[4][LANES];
        philox(seed, stream, first + (uint64_t)b, w);
        memcpy(lane, w, sizeof lane);
        int n = blocks - b < LANES ? (int)(blocks - b) : LANES;
        uint32_t *to = out + 4 * b;
        if (n == LANES)
            for (int i = 0; i < LANES; i++)
                for (int k = 0; k < 4; k++)
                    to[4 * i + k] = lane[k][i];
        else
            for (int i = 0; i < n; i++)
                for (int k = 0; k < 4; k++)
                    to[4 * i + k] = lane[k][i];
    }
}

static void unit24(const uint32_t *w, int64_t n, double *to) {
    for (int64_t i = 0; i < n; i++)
        to[i] = (double)(int32_t)(w[i] >> 8) * 0x1p-24;
}

static void unit53(const uint32_t *w, int64_t n, double *to) {
    for (int64_t i = 0; i < n; i++)
        to[i] = ((double)(int32_t)(w[2 * i] >> 5) * 0x1p26 + (double)(int32_t)(w[2 * i + 1] >> 6)) * 0x1p-53;
}

/* log u = e ln 2 + log m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh f, f = (m - 1) / (m + 1), |f| < 0.1716: the series
 * 2 (f + f^3/3 + …) through f^21 leaves less than 2^-56 of the value. */
static inline double log_of(double u) {
    uint64_t bits;
    memcpy(&bits, &u, sizeof bits);
    bits += 0x3ff0000000000000u - 0x3fe6a09e667f3bcdu; /* carries into the exponent when m would be above sqrt(2) */
    int32_t e = (int32_t)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu;
    double m;
    memcpy(&m, &bits, sizeof m);
    double f = (m - 1.0) / (m + 1.0), s = f * f;
    double p = 1.0 / 21;
    p = p * s + 1.0 / 19;
    p = p * s + 1.0 / 17;
    p = p * s + 1.0 / 15;
    p = p * s + 1.0 / 13;
    p = p * s + 1.0 / 11;
    p = p * s + 1.0 / 9;
    p = p * s + 1.0 / 7;
    p = p * s + 1.0 / 5;
    p = p * s + 1.0 / 3;
    return (double)e * 0.69314718055994530942 + 2.0 * (f + f * s * p);
}

/* sin and cos of a full turn times v: v less its nearest quarter is exact, and Taylor's series to the 17th and 16th power
 * leave less than 2^-56 on [-pi/4, pi/4]. Two of the four quarters exchange the two, and two change each sign. */
static inline void turn(double v, double *sine, double *cosine) {
    double q = (v * 4.0 + 0x1.8p52) - 0x1.8p52, x = (v - q * 0.25) * 6.28318530717958647692, s = x * x;
    double a = 1.0 / 355687428096000.0;
    a = a * s - 1.0 / 1307674368000.0;
    a = a * s + 1.0 / 6227020800.0;
    a = a * s - 1.0 / 39916800.0;
    a = a * s + 1.0 / 362880.0;
    a = a * s - 1.0 / 5040.0;
    a = a * s + 1.0 / 120.0;
    a = a * s - 1.0 / 6.0;
    a = x + x * s * a;
    double b = 1.0 / 20922789888000.0;
    b = b * s - 1.0 / 87178291200.0;
    b = b * s + 1.0 / 479001600.0;
    b = b * s - 1.0 / 3628800.0;
    b = b * s + 1.0 / 40320.0;
    b = b * s - 1.0 / 720.0;
    b = b * s + 1.0 / 24.0;
    b = b * s - 0.5;
    b = 1.0 + s * b;
    double odd = q - 2.0 * ((q * 0.5 - 0.25 + 0x1.8p52) - 0x1.8p52); /* 1 for quarters 1 and 3, 0 for 0, 2 and 4 */
    double sin_sign = q > 1.5 && q < 3.5 ? -1.0 : 1.0, cos_sign = q > 0.5 && q < 2.5 ? -1.0 : 1.0;
    *sine = sin_sign * (odd == 0.0 ? a : b);
    *cosine = cos_sign * (odd == 0.0 ? b : a);
}

static void normal(double *u, double *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double r = sqrt(-2.0 * log_of(u[i])), sine, cosine;
        turn(v[i], &sine, &cosine);
        u[i] = r * cosine;
        v[i] = r * sine;
    }
}

const soma__random_kernels SOMA__ISA(soma__random_table) = {
    .words = words, .unit24 = unit24, .unit53 = unit53, .normal = normal};
