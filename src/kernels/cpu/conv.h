/* Two-dimensional convolution and its two gradients, NCHW, on pointers and sizes. Shapes are checked by the caller.
 * Bits depend on the sizes and the instruction set alone, never on the number of threads. */
#ifndef SOMA_SRC_CONV_H
#define SOMA_SRC_CONV_H

#include <soma/tensor.h>

#include "isa.h"

typedef struct soma__conv {
    soma_dtype dtype; /* f32, f64; f16 and bf16 are computed in f32 and rounded once */
    int64_t batch, groups;
    int64_t in_channels, in_h, in_w;    /* x [batch, in_channels, in_h, in_w] */
    int64_t out_channels, out_h, out_w; /* y [batch, out_channels, out_h, out_w] */
    int64_t kernel[2];                  /* weight [out_channels, in_channels / groups, kernel[0], kernel[1]] */
    int64_t stride[2], padding[2], dilation[2];
} soma__conv;

/* Workspace, 64-byte aligned: the bytes that all of soma_threads() can use; the calls take what they get, at least what was
 * asked for at some number of threads. Nothing may overlap. */
size_t soma__conv_forward_work(const soma__conv *c);
/* bias [out_channels] or NULL; relu comes after it. */
void soma__conv_forward(const soma__conv *c, const void *x, const void *weight, const void *bias, bool relu, void *y,
                        void *work, size_t bytes);
size_t soma__conv_backward_input_work(const soma__conv *c);
void soma__conv_backward_input(const soma__conv *c, const void *gy, const void *weight, void *gx, void *work, size_t bytes);
size_t soma__conv_backward_weight_work(const soma__conv *c);
void soma__conv_backward_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes);

/* ---- Inside: what an instruction set provides (isa/conv.c) ------------------------------------------------------------ */

enum { SOMA__PANEL_MAX = 48 }; /* columns of a panel, at most: VECTORS * LANES of every instruction set */

/* A run of columns of a panel: output pixels that lie side by side in one row of one image. */
typedef struct soma__pixels {
    int64_t image, y, x; /* the first one's place: image, and where tap (0, 0) would read */
    int64_t pixel;       /* its number in the grid of outputs */
    int pos, count;      /* in the panel */
} soma__pixels;

/* Gathers rows of a panel: for channel c and tap t, row (c * taps + t) holds src[image][c][y + dy[t]][x + dx[t] + j * step]
 * for each column, 0 outside of the image. */
typedef struct soma__unfold {
    const void *src;                /* the first channel of image 0 */
    int64_t image, plane, h, w;     /* elements from image to image, from channel to channel; size of a plane */
    int64_t step;
    int64_t channels, taps;
    const int64_t *dy, *dx;
    const soma__pixels *runs;
    int n_runs, width;
    void *dst;
} soma__unfold;

/* Rows of the gradient of the weight, transposed: c[i][j] += sum over images, rows and columns of
 * a[offset[i] + image * a_image + y * a_y + x * a_x] * b[…][j], where b runs with (image, y, x) in steps of b_step. */
typedef struct soma__wtile {
    const void *a;
    const int64_t *offset;
    int64_t images, h, w, a_image, a_y, a_x;
    const void *b;
    int64_t b_step;
    void *c;
    int64_t c_row;
    int m, vectors;
    bool add;
} soma__wtile;

/* dst[i * dst_step] += factor * src[i * src_step], and the sum of a[i * a_step] * b[i]. */
typedef struct soma__conv_table {
    void (*unfold)(const soma__unfold *u);
    void (*wtile)(const soma__wtile *t);
    void (*axpy)(void *dst, int64_t dst_step, const void *src, int64_t src_step, double factor, int64_t n);
    double (*dot)(const void *a, int64_t a_step, const void *b, int64_t n);
} soma__conv_table;
typedef struct soma__conv_kernels {
    soma__conv_table f32, f64;
} soma__conv_kernels;
SOMA__FAMILY(soma__conv_kernels, soma__conv)

#endif
