/* One step of a recurrent layer for one row of the batch: what happens between two matrix products. Gates lie one after the other,
 * n elements each, in PyTorch's order (LSTM i f g o, GRU r z n). `x` comes from the input, `g` from the state before. */
#ifndef SOMA_SRC_KERNELS_RNN_H
#define SOMA_SRC_KERNELS_RNN_H

#include "kernels/cpu/isa.h"

#include <stdint.h>

/* The same functions for f32 and f64. `act` is what the way back reads: LSTM the four gates; GRU r, z, n and g's last part. */
#define SOMA__RNN_TABLE(T)                                                                                                     \
    struct {                                                                                                                   \
        void (*tanh)(const T *x, const T *g, T *h, int64_t n);                                                                 \
        void (*relu)(const T *x, const T *g, T *h, int64_t n);                                                                 \
        void (*lstm)(const T *x, const T *g, const T *c_before, T *h, T *c, T *act, int64_t n);                                \
        void (*gru)(const T *x, const T *g, const T *h_before, T *h, T *act, int64_t n);                                       \
        /* dx is the gradient of both x and g; dh becomes what goes to h_before apart from the product with the weights. */    \
        void (*tanh_back)(const T *h, T *dh, T *dx, int64_t n);                                                                \
        void (*relu_back)(const T *h, T *dh, T *dx, int64_t n);                                                                \
        void (*lstm_back)(const T *act, const T *c_before, const T *c, T *dh, T *dc, T *dx, int64_t n);                        \
        void (*gru_back)(const T *act, const T *h_before, T *dh, T *dx, T *dg, int64_t n);                                     \
    }
typedef SOMA__RNN_TABLE(float) soma__rnn_kernels;
typedef SOMA__RNN_TABLE(double) soma__rnn_kernels_f64;
SOMA__FAMILY(soma__rnn_kernels, soma__rnn)
extern const soma__rnn_kernels_f64 soma__rnn_f64; /* once for all instruction sets */

#endif
