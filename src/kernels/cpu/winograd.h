/* The transforms of Winograd's minimal filtering F(4 x 4, 3 x 3), and of its adjoint for the gradient of the weight (conv_winograd.c). */
#ifndef SOMA_SRC_WINOGRAD_H
#define SOMA_SRC_WINOGRAD_H

#include <stdbool.h>
#include <stdint.h>

#include "isa.h"

enum { SOMA__WINO_PLACES = 36, SOMA__WINO_STEP = 4, SOMA__WINO_SIDE = 6 };

/* Between a square of `n` channels each in an image (or the nine taps of a weight) and its 36 places: element (i, j) of the square is at
 * image[i * row + j * pixel + channel], place p at places[p * place + channel]. Of the square rows [y0, y1) and columns [x0, x1) are there;
 * the others are read as 0 and not written. Places have room for whole vectors, and zeros are put behind n. */
typedef struct soma__wino_square {
    float *image; /* not written where it is an input */
    int64_t row, pixel;
    int y0, y1, x0, x1;
    float *places;
    int64_t place, n;
    const float *bias; /* output: added, or NULL */
    bool relu;         /* output: after the bias */
} soma__wino_square;

typedef struct soma__wino_kernels {
    void (*input)(const soma__wino_square *s);  /* 6 x 6 to places */
    void (*weight)(const soma__wino_square *s); /* 3 x 3 to places */
    void (*output)(const soma__wino_square *s); /* places to 4 x 4 */
    void (*output_gradient)(const soma__wino_square *s); /* 4 x 4 to places: the transpose of output */
    void (*weight_gradient)(const soma__wino_square *s); /* places to 3 x 3: that of weight */
} soma__wino_kernels;
SOMA__FAMILY(soma__wino_kernels, soma__wino)

#endif
