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
/* "views, joining, rearranging" for the family "shape"; "" for one that has no words here. */
const char *op_family_about(const char *family);
/* For qsort of soma_op_info pointers: by family, in the order in which a person looks for them, then by name. */
int compare_ops(const void *x, const void *y);
/* The first sentence of a doc text, without its full stop. */
void op_first_sentence(const char *doc, char *out, size_t size);
/* A call by name in C, with its required attributes. */
void op_example(const soma_op_info *op, char *out, size_t size);
/* One Markdown page a thing and an index, into DIR; `headers` (a folder, or NULL) is where C declarations are looked up. */
int write_reference(const args *a, const char *dir, const char *headers);

/* BASE.svg: an operator of one number with its derivative, or a loss over the prediction. False (and no file) when there is nothing to draw,
 * or no gnuplot. */
bool draw_operator(const soma_op_info *op, const char *base);

#endif
