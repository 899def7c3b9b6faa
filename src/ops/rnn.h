/* The recurrence that all recurrent operators share (rnn.c; its kernels: rnn_run.c). */
#ifndef SOMA_SRC_OPS_RNN_H
#define SOMA_SRC_OPS_RNN_H

#include "ops/op.h"

typedef enum soma__rnn_mode { SOMA__RNN_TANH, SOMA__RNN_RELU, SOMA__RNN_LSTM, SOMA__RNN_GRU } soma__rnn_mode;
static inline int soma__rnn_gates(int mode) { return mode == SOMA__RNN_LSTM ? 4 : mode == SOMA__RNN_GRU ? 3 : 1; }

/* x [T, B, E] (batch_first: [B, T, E]); h0, c0 [B, H] or NULL for zeros (c0 for the LSTM only); w_ih [G H, E], w_hh [G H, H]; b_ih, b_hh
 * [G H] or NULL; lengths i64 [B] or NULL. *h are the states after each step, [T, B, H] (batch_first: [B, T, H]), *cn (NULL unless LSTM)
 * is c after the last, [B, H]; beyond its length a row keeps its state. f32 and f64. False with the error recorded. */
typedef struct soma__rnn_inputs {
    soma_tensor *x, *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh, *lengths;
} soma__rnn_inputs;
bool soma__rnn_steps(int mode, bool batch_first, bool reverse, const soma__rnn_inputs *in, soma_tensor **h, soma_tensor **cn);
extern const soma_op soma__rnn_steps_op, soma__rnn_steps_backward_op;

/* Of rnn_steps and rnn_steps_backward. The activations of a step are `blocks` times [B, H], in an order of their own. `rows` are what each
 * step multiplies, [T + 1, B, at least H + E]: h before it, then x, and maybe some elements that do not count; those of the last index
 * begin with c0. */
typedef enum soma__rnn_wanted { SOMA__RNN_GX = 1, SOMA__RNN_STATES = 2, SOMA__RNN_WEIGHTS = 4 } soma__rnn_wanted;
int soma__rnn_blocks(int mode);
int64_t soma__rnn_row(int64_t n, int64_t e);
size_t soma__rnn_forward_work(soma_args *a);
size_t soma__rnn_backward_work(soma_args *a);
const char *soma__rnn_forward(soma_args *a);
const char *soma__rnn_backward(soma_args *a);

#endif
