/* Kernels of pooling over planes [H, W] that lie row-major one after the other. */
#ifndef SOMA_SRC_KERNELS_POOL_H
#define SOMA_SRC_KERNELS_POOL_H

#include "kernels/cpu/isa.h"
#include "tensor/tensor.h"

/* [0] is the vertical axis, [1] the horizontal one. */
typedef struct soma__pool {
    int64_t planes, in[2], out[2];
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    bool adaptive;    /* windows divide the axis into out[] parts that may overlap by one; kernel … are not used */
    bool include_pad; /* averages count the padding as zeros */
    int64_t divisor;  /* not 0: what averages divide by instead */
} soma__pool;

/* Window `o` along an axis: elements start, start + dilation, … below end, clipped to the plane. */
typedef struct soma__window {
    int64_t start, end, count; /* count: what an average divides by along this axis */
} soma__window;
static inline soma__window soma__pool_window(const soma__pool *p, int axis, int64_t o) {
    int64_t size = p->in[axis];
    if (p->adaptive) {
        soma__window w = {o * size / p->out[axis], ((o + 1) * size + p->out[axis] - 1) / p->out[axis], 0};
        w.count = w.end - w.start;
        return w;
    }
    int64_t start = o * p->stride[axis] - p->padding[axis], d = p->dilation[axis];
    int64_t end = start + (p->kernel[axis] - 1) * d + 1;
    int64_t padded = SOMA_MIN(end, size + p->padding[axis]) - start;
    soma__window w = {start < 0 ? start + (-start + d - 1) / d * d : start, SOMA_MIN(end, size), 0};
    w.count = p->divisor ? (axis ? 1 : p->divisor) : p->include_pad ? padded : w.end - w.start;
    return w;
}

/* ref/pool.c. `index` is the place of the largest in its plane, the first of equals; the last NaN wins over all. 16-bit
 * floats are for the caller to convert. */
void soma__max_pool(const soma__pool *p, soma_dtype dtype, const void *x, void *y, int32_t *index);
/* f32 and f64 from here on. gx is written whole. Indices outside the plane are passed over. */
void soma__max_pool_backward(const soma__pool *p, soma_dtype dtype, const void *g, const int32_t *index, void *gx);
void soma__avg_pool(const soma__pool *p, soma_dtype dtype, const void *x, void *y);
void soma__avg_pool_backward(const soma__pool *p, soma_dtype dtype, const void *g, void *gx);

/* isa/pool.c: one plane of f32. 2x2: windows that do not overlap; any: windows that are not adaptive. And the sum of a row.
 */
typedef struct soma__pool_kernels {
    void (*max2x2)(const soma__pool *p, const float *x, float *y, int32_t *index);
    void (*max2x2_backward)(const soma__pool *p, const float *g, const int32_t *index, float *gx);
    void (*avg2x2)(const soma__pool *p, const float *x, float *y);
    void (*avg2x2_backward)(const soma__pool *p, const float *g, float *gx);
    void (*max_any)(const soma__pool *p, const float *x, float *y, int32_t *index);
    void (*avg_any)(const soma__pool *p, const float *x, float *y);
    float (*sum)(const float *x, int64_t n);
} soma__pool_kernels;
SOMA__FAMILY(soma__pool_kernels, soma__pool_table)

/* isa/pool_last.c: images [H, W, C] of f32; y and g, index point to row `row` of the outputs, x and gx to the image. */
typedef struct soma__pool_last_kernels {
    void (*max)(const soma__pool *p, int64_t channels, int64_t row, const float *x, float *y, int32_t *index);
    /* Writes the two rows of gx that the windows cover, and with the last row all that is below. */
    void (*max2x2_backward)(const soma__pool *p, int64_t channels, int64_t row, const float *g, const int32_t *index, float *gx);
    void (*avg)(const soma__pool *p, int64_t channels, int64_t row, const float *x, float *y);
    /* A whole image, n of its channels. */
    void (*avg_backward)(const soma__pool *p, int64_t channels, int64_t n, const float *g, float *gx);
} soma__pool_last_kernels;
SOMA__FAMILY(soma__pool_last_kernels, soma__pool_last)

#endif
