/* What the two files of linear algebra share: factors.c has the operators with kernels and their gradients, linalg.c what is made of them. */
#ifndef SOMA_SRC_OPS_LINALG_H
#define SOMA_SRC_OPS_LINALG_H

#include "ops/op.h"

#include <soma/linalg.h>

static inline soma_tensor *soma__t(soma_tensor *x) { return soma_transpose(x, -1, -2); }
static inline int64_t soma__rows(const soma_tensor *x) { return x->shape[x->ndim - 2]; }
static inline int64_t soma__columns(const soma_tensor *x) { return x->shape[x->ndim - 1]; }
bool soma__is_matrix(const soma_tensor *x, const char *name);
bool soma__is_square(const soma_tensor *x, const char *name);
/* Both expanded to common leading dimensions. */
bool soma__same_batch(const char *op, soma_tensor **a, soma_tensor **b);
/* The solution of a x = b for a triangular a; NULL for NULL. */
soma_tensor *soma__trsm(soma_tensor *a, soma_tensor *b, bool upper, bool unit);
/* `info` [batch …]: where it is not 0, an error with `text` (a format for the number) and the batch. */
bool soma__check_info(const soma_tensor *info, const char *text);

extern const soma_op soma__cholesky_ex_op, soma__solve_ex_op, soma__trsm_op, soma__qr_ex_op, soma__eigh_ex_op, soma__svd_ex_op, soma__pinv_ex_op;

#endif
