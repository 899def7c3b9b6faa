/* Random numbers by the element's number: the vectorised form of the recipe at the head of src/ops/random.c. */
#ifndef SOMA_SRC_KERNELS_RANDOM_H
#define SOMA_SRC_KERNELS_RANDOM_H

#include "kernels/cpu/isa.h"

#include <stdint.h>

typedef struct soma__random_kernels {
    /* The 4 * blocks words of blocks first, first + 1, … of (seed, stream), in order. */
    void (*words)(uint64_t seed, uint64_t stream, uint64_t first, int64_t blocks, uint32_t *out);
    /* to[i] in [0, 1) from word i (24 bits), and from words 2i, 2i + 1 (53 bits). */
    void (*unit24)(const uint32_t *words, int64_t n, double *to);
    void (*unit53)(const uint32_t *words, int64_t n, double *to);
    /* Box & Muller 1958, in place: u in (0, 1] and v in [0, 1) become two normals. */
    void (*normal)(double *u, double *v, int64_t n);
} soma__random_kernels;
SOMA__FAMILY(soma__random_kernels, soma__random_table)

#endif
