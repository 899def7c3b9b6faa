/* How elementwise operators run: rows from the tables, floats of 16 bits by way of f32. */
#ifndef SOMA_SRC_OPS_ELEMENTWISE_H
#define SOMA_SRC_OPS_ELEMENTWISE_H

#include "kernels/cpu/elementwise.h"
#include "ops/op.h"

/* Runs `row` (of f32 when in and out are f16 or bf16) over out and the inputs, broadcast. `f32_row` serves the 16-bit floats; either
 * may be NULL when it cannot happen. */
void soma__run_rows(soma_tensor *out, soma_tensor *const *in, int n_in, soma__row_fn row, soma__row_fn f32_row, const double *params);
/* Runs a row that takes any dtype as it is. */
void soma__run_plain(const soma__iter *it, soma__row_fn row);
/* The row for a dtype from one of the tables: floats from the best instruction set, the rest from level 0. `row(table)` picks. */
#define SOMA__ROW(part, op, dtype)                                                                                          \
    (soma__elementwise_pick()->part[op][dtype] ? soma__elementwise_pick()->part[op][dtype] : soma__elementwise_tables[0]->part[op][dtype])

#endif
