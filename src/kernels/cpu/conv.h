/* Two-dimensional convolution and its two gradients on pointers and sizes. Shapes are checked by the caller.
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
    bool x_last, y_last;                /* x, y or their gradients lie channels-last, [batch, h, w, channels] */
} soma__conv;

/* Whether x_last and y_last may be set. */
bool soma__conv_any_layout(const soma__conv *c);
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

typedef struct soma__conv_run {
    int64_t at, count;
} soma__conv_run;

/* One tile of a convolution on channels-last data: `rows` pixels (all of rows[…] below) by up to `vectors` vectors of
 * channels. c[c_at[i]][j] = act(sum over runs and their elements k of a[a_at[i] + k] * b[…][j] [+ c] + bias[j]); b's rows follow
 * one another, whole vectors wide. Pixels may repeat. */
typedef struct soma__ctile {
    const void *a;
    const int64_t *a_at, *c_at;
    const soma__conv_run *runs;
    int n_runs, n;
    const void *b;
    void *c;
    bool add;
    bool fetch; /* c is called from memory while the sum runs */
    bool last;  /* bias and relu count */
    bool relu;
    const void *bias; /* or NULL */
} soma__ctile;

/* Rows of the gradient of the weight, transposed: c[c_at[i] + j] += sum over images, rows and columns of
 * a[offset[i] + image * a_image + y * a_y + x * a_x] * b[…][j], where b runs with (image, y, x) in steps of b_step. c is written in whole vectors; b's last
 * one is read up to n where the instruction set has masks, else it is whole, too. */
typedef struct soma__wtile {
    const void *a;
    const int64_t *offset, *c_at;
    int64_t images, h, w, a_image, a_y, a_x;
    const void *b;
    int64_t b_step;
    void *c;
    int m, n;
    bool add;
} soma__wtile;

typedef struct soma__conv_table {
    int vectors;                    /* of a ctile, at most */
    int rows[4];                    /* pixels of a ctile of 1 … vectors vectors */
    void (*ctile)(const soma__ctile *t);
    void (*wtile)(const soma__wtile *t);
    /* dst[i * dst_step] += factor * src[i * src_step], and the sum of a[i * a_step] * b[i]. */
    void (*axpy)(void *dst, int64_t dst_step, const void *src, int64_t src_step, double factor, int64_t n);
    double (*dot)(const void *a, int64_t a_step, const void *b, int64_t n);
} soma__conv_table;
typedef struct soma__conv_kernels {
    soma__conv_table f32, f64;
} soma__conv_kernels;
SOMA__FAMILY(soma__conv_kernels, soma__conv)

#endif
