/* What the files of the convolution share among themselves. */
#ifndef SOMA_SRC_CONV_INSIDE_H
#define SOMA_SRC_CONV_INSIDE_H

#include "conv.h"
#include "gemm.h"

#define SOMA__CONV_PARALLEL 300000.0 /* multiply-adds below which one thread does it */

static inline size_t soma__conv_whole(size_t bytes) { return (bytes + 63) / 64 * 64; }
/* Parts with a workspace each: two a thread, so that a thread that is held up holds up half of its share. */
static inline int64_t soma__conv_slots(int64_t threads, int64_t items) {
    const int64_t most = threads > 1 ? 2 * threads : 1;
    return items < most ? items : most;
}
static inline const soma__gemm_ops *soma__conv_gemm(const soma__conv *c) {
    return c->dtype == SOMA_F64 ? &soma__gemm_pick()->f64 : &soma__gemm_pick()->f32;
}
static inline const soma__conv_table *soma__conv_ops(const soma__conv *c) {
    return c->dtype == SOMA_F64 ? &soma__conv_pick()->f64 : &soma__conv_pick()->f32;
}

/* conv_frame.c: what becomes of operands before they are multiplied. */

/* Images of either layout: x or gy. */
typedef struct soma__images {
    const char *data;
    int64_t h, w, channels;
    bool last; /* [image, h, w, channels], else [image, channels, h, w] */
    const soma__gemm_ops *gemm;
    size_t size;
} soma__images;
/* `rows` x `width` pixels of one image from (y, x) on, `count` channels from `first` on, to dst[row][column][channel]; 0 outside. */
void soma__conv_frame(const soma__images *s, int64_t image, int64_t first, int64_t count, int64_t y, int64_t rows, int64_t x, int64_t width,
                      char *dst);
/* Whole images of the other layout, channels-last or not as `last` says. */
void soma__conv_turn(const soma__gemm_ops *gemm, size_t size, void *dst, const void *src, int64_t images, int64_t channels, int64_t pixels,
                     bool last);

/* Weights as a product takes them: element (output n, input k, tap t) is at data[n * n_step + k * k_step + t]. */
typedef struct soma__weights {
    const char *data, *end;
    int64_t n_step, k_step, all; /* all: taps of the kernel */
    const soma__gemm_ops *gemm;
    size_t size;
} soma__weights;
/* Inputs [k0, k1) and outputs [j, j + n) at the taps tap[0 … taps - 1]: dst[(t * t_rows + k - k0) * width + …], zeros up to the width,
 * which is n rounded up to whole vectors. `temp`: soma__conv_pack_temp bytes. */
void soma__conv_pack(const soma__weights *w, int64_t j, int n, int64_t k0, int64_t k1, const int64_t *tap, int64_t taps, int64_t t_rows,
                     char *dst, char *temp);
size_t soma__conv_pack_temp(int64_t all, int64_t width, size_t size);

/* conv_product.c: forward and the gradient of the input; f32 and f64. */
size_t soma__conv_product_work(const soma__conv *c, bool backward);
void soma__conv_product(const soma__conv *c, bool backward, const void *src, const void *weight, const void *bias, bool relu, void *dst,
                        void *work, size_t bytes);

/* conv_winograd.c: 3 x 3 with stride 1 in f32, x and y channels-last; when it is faster than the others. */
bool soma__conv_winograd_pays(const soma__conv *c, bool backward, bool of_weight);
size_t soma__conv_winograd_work(const soma__conv *c, bool backward);
void soma__conv_winograd(const soma__conv *c, bool backward, const void *src, const void *weight, const void *bias, bool relu, void *dst,
                         void *work, size_t bytes);
size_t soma__conv_winograd_weight_work(const soma__conv *c);
void soma__conv_winograd_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes);

/* conv_weight.c: the gradient of the weight by tiles; f32 and f64. */
size_t soma__conv_weight_work(const soma__conv *c);
void soma__conv_weight(const soma__conv *c, const void *x, const void *gy, void *gw, void *work, size_t bytes);

/* conv_direct.c: groups of a channel or two, row by row; f32 and f64, neither x nor y channels-last. */
void soma__conv_forward_narrow(const soma__conv *c, const void *x, const void *weight, const void *bias, bool relu, void *y);
void soma__conv_backward_input_narrow(const soma__conv *c, const void *gy, const void *weight, void *gx);
void soma__conv_backward_weight_narrow(const soma__conv *c, const void *x, const void *gy, void *gw);
/* Nothing to sum: y becomes the bias, or 0; any float dtype. */
void soma__conv_fill(const soma__conv *c, const void *bias, bool relu, void *y);

#endif
