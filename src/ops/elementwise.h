/* How elementwise operators run: rows from the tables, floats of 16 bits by way of f32. */
#ifndef SOMA_SRC_OPS_ELEMENTWISE_H
#define SOMA_SRC_OPS_ELEMENTWISE_H

#include "kernels/cpu/elementwise.h"
#include "ops/op.h"

/* Elementwise work as a recorder sees it. */
struct soma__rows {
    soma__row_fn row;
    const double *params; /* SOMA__ROW_PARAMS */
    soma_tensor *const *operands; /* output first */
    int n;
    bool scalars;
};
enum { SOMA__ROW_PARAMS = 2 };
/* Runs `row` (of f32 when in and out are f16 or bf16) over out and the inputs, broadcast. `f32_row` serves the 16-bit floats; either
 * may be NULL when it cannot happen. `scalars`: the row takes one input of stride 0. */
void soma__run_rows(soma_tensor *out, soma_tensor *const *in, int n_in, soma__row_fn row, soma__row_fn f32_row, const double *params,
                    bool scalars);
/* Runs a row that takes any dtype as it is. */
void soma__run_plain(const soma__iter *it, soma__row_fn row);
/* The row for a dtype from the table `part`: f32 by instruction set, the rest once in all. */
#define SOMA__ROW(part, op, dtype) ((dtype) == SOMA_F32 ? soma__elementwise_pick()->part[op] : soma__elementwise_wide.part[op][dtype])

/* Parts of composites. */
soma_tensor *soma__round_plain(soma_tensor *x);
soma_tensor *soma__gelu_exact(soma_tensor *x);
/* g behind relu, whose result was y. */
soma_tensor *soma__relu_gradient(soma_tensor *g, soma_tensor *y, bool create_graph);
soma_tensor *soma__step_plain(soma_tensor *x, double threshold);
void soma__step_rows(soma_args *a, double threshold); /* 1 where in[0] >= threshold, else 0, into out[0] */

soma_tensor *soma__trunc_divide_op(soma_tensor *a, soma_tensor *b);

/* Samples and bad inputs for entries of one and of two inputs: shapes of all kinds, values in [low, high). */
bool soma__samples_one(int i, soma_dtype dtype, double low, double high, soma_sample *s);
bool soma__samples_two(int i, soma_dtype dtype, double low, double high, soma_sample *s);
bool soma__errors_one(int i, soma_dtype dtype, soma_sample *s);
bool soma__errors_two(int i, soma_dtype dtype, soma_sample *s);

#endif
