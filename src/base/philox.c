/* Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "base/base.h"

#include <math.h>

void soma__philox(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4]) {
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

soma__random soma__random_new(uint64_t seed, uint64_t stream) { return (soma__random){.seed = seed, .stream = stream}; }

uint32_t soma__random_u32(soma__random *r) {
    if (r->next % 4 == 0)
        soma__philox(r->seed, r->stream, r->next / 4, r->words);
    return r->words[r->next++ % 4];
}

uint64_t soma__random_below(soma__random *r, uint64_t n) {
    uint64_t bound = -n % n; /* 2^64 mod n: values below it would make small results likelier */
    for (;;) {
        uint64_t x = (uint64_t)soma__random_u32(r) << 32;
        x |= soma__random_u32(r);
        if (x >= bound)
            return x % n;
    }
}

double soma__random_unit(soma__random *r) {
    uint64_t high = soma__random_u32(r) >> 5, low = soma__random_u32(r) >> 6;
    return ((double)high * 67108864.0 + (double)low) * 0x1p-53;
}

double soma__random_normal(soma__random *r) {
    double u = 1.0 - soma__random_unit(r), v = soma__random_unit(r); /* Box & Muller 1958; u > 0 */
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
