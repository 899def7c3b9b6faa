/* The manual of operators, layers, optimisers and schedules, from the tables of the library. */
#ifndef SOMA_CLI_REFERENCE_H
#define SOMA_CLI_REFERENCE_H

#include "options.h"

#include <soma/soma.h>

/* "int", "ints", … */
const char *attr_kind_name(soma_attr_kind kind);
/* The default of an attribute as text: 0.5, [1, 2], "mean". */
void attr_value_text(const soma_attr *v, char *out, size_t size);
/* "conv2d(x, weight, bias?)" */
void op_signature(const soma_op_info *op, char *out, size_t size);
/* What PyTorch calls it: "torch.nn.functional.relu"; NULL when it has nothing like it. */
const char *op_torch_name(const char *name);
/* A call by name in C, with its required attributes. */
void op_example(const soma_op_info *op, char *out, size_t size);
/* One Markdown page a thing and an index, into DIR; `headers` (a folder, or NULL) is where C declarations are looked up. */
int write_reference(const args *a, const char *dir, const char *headers);

/* BASE.svg: an operator of one number with its derivative, or a loss over the prediction. False (and no file) when there is nothing to draw,
 * or no gnuplot. */
bool draw_operator(const soma_op_info *op, const char *base);

#endif
