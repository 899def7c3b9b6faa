/* Steps of recurrent layers: what happens between two matrix products, over some rows of the batch and some units of the state. Gates in
 * PyTorch's order (LSTM i f g o, GRU r z n). */
#ifndef SOMA_SRC_KERNELS_RNN_H
#define SOMA_SRC_KERNELS_RNN_H

#include "kernels/cpu/isa.h"

#include <stdint.h>

enum { SOMA__RNN_UNITS = 48, SOMA__RNN_ROWS = 32 }; /* the most in a call */

/* All of one dtype. [rows, n] without a row stride: rows one after the other; strides are in elements. */
typedef struct soma__rnn_rows {
    int64_t rows, n;
    /* [rows, n] each. Forward: sums in, activations out: the plain RNN h; LSTM the four gates; GRU r, z, the input's share of n (n comes
     * out), the state's share of n. Backward reads them. */
    void *act[4];
    const void *before; /* LSTM: c before the step, GRU: h */
    void *c;            /* LSTM, after the step */
    int64_t before_row, c_row;
    void *h, *copy;     /* forward: h goes to both */
    int64_t h_row, copy_row;
    /* Backward: gradients that come from outside are added to dh and dc, [rows, n], which become what goes to the step before apart from the
     * product with the weights. dg: that of the sums; GRU in the order n of the state, r, z, n of the input; sum: [n] for
     * each of them, dg_gate apart, gains its sum over the rows. */
    const void *gh, *gc;
    int64_t gh_row, gc_row;
    void *dh, *dc, *dg, *sum;
    int64_t dg_row, dg_gate;
} soma__rnn_rows;

typedef void (*soma__rnn_fn)(const soma__rnn_rows *r);
typedef struct soma__rnn_kernels {
    soma__rnn_fn forward[4], backward[4]; /* tanh, relu, LSTM, GRU */
} soma__rnn_kernels;
SOMA__FAMILY(soma__rnn_kernels, soma__rnn)
extern const soma__rnn_kernels soma__rnn_f64; /* once for all instruction sets */

#endif
