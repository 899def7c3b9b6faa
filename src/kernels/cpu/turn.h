/* Transposing elements of 4 bytes. */
#ifndef SOMA_SRC_KERNELS_TURN_H
#define SOMA_SRC_KERNELS_TURN_H

#include "kernels/cpu/isa.h"

#include <stdbool.h>
#include <stdint.h>

enum { SOMA__TURN = 16 }; /* rows and columns come in multiples of this */
typedef struct soma__turn_kernels {
    /* to[j * to_row + i] = from[i * from_row + j]; past: past the caches, `to` and its rows then begin at multiples of 64 bytes. NULL: none. */
    void (*turn)(void *to, int64_t to_row, const void *from, int64_t from_row, int64_t rows, int64_t columns, bool past);
} soma__turn_kernels;
SOMA__FAMILY(soma__turn_kernels, soma__turn)

#endif
