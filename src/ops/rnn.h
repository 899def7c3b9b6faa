/* The recurrence that all recurrent operators share (rnn.c). */
#ifndef SOMA_SRC_OPS_RNN_H
#define SOMA_SRC_OPS_RNN_H

#include "ops/op.h"

typedef enum soma__rnn_mode { SOMA__RNN_TANH, SOMA__RNN_RELU, SOMA__RNN_LSTM, SOMA__RNN_GRU } soma__rnn_mode;
static inline int soma__rnn_gates(int mode) { return mode == SOMA__RNN_LSTM ? 4 : mode == SOMA__RNN_GRU ? 3 : 1; }

/* x [T, B, G H] (batch_first: [B, T, G H]), the input's share of the gates; h0, c0 [B, H] (c0 for the LSTM only); w [G H, H];
 * b [G H] or NULL; lengths i64 [B] or NULL. *h and *c (NULL unless LSTM) are the states after each step, [T, B, H]; beyond its
 * length a row keeps its state. f32 and f64. False with the error recorded. */
bool soma__rnn_steps(int mode, bool batch_first, bool reverse, soma_tensor *x, soma_tensor *h0, soma_tensor *c0, soma_tensor *w,
                     soma_tensor *b, soma_tensor *lengths, soma_tensor **h, soma_tensor **c);
extern const soma_op soma__rnn_steps_op, soma__rnn_steps_backward_op;

#endif
