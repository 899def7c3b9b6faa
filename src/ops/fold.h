/* The engine under the reductions: walks a tensor of any strides and dtype, and folds some of its dimensions. Floats are
 * computed in f32 (f16, bf16 too) or f64 with double partial results, integers and bool in i64. */
#ifndef SOMA_SRC_FOLD_H
#define SOMA_SRC_FOLD_H

#include "kernels/cpu/reduce.h"
#include "ops/op.h"

enum { SOMA__STAGE = 512 }; /* elements that are gathered or converted at once on the stack */

/* What dtype the inner loops see: SOMA_F32, SOMA_F64 or SOMA_I64. */
soma_dtype soma__compute_dtype(soma_dtype dtype);
/* Converts n elements, `stride` bytes apart, to their compute dtype. */
void soma__stage(soma_dtype dtype, const char *p, int64_t stride, int64_t n, void *out);
/* The other way: n values of the compute dtype, or of double for floats when `from_double`, to `dtype` at `p`, side by side. */
void soma__unstage(soma_dtype dtype, const void *values, bool from_double, int64_t n, void *p);

/* How one tensor is folded: dimensions that stay and those that go, joined where they lie together; the folded ones sorted
 * so that the smallest stride is innermost. Depends on shape and strides alone. */
typedef struct soma__fold {
    soma_dtype dtype;
    bool truth;                /* elements count as x != 0, in i64 */
    int nk, nr;                /* dimensions kept, folded: at least 1 each (of size 1) */
    int64_t kshape[SOMA_MAX_DIMS + 1], kstride[SOMA_MAX_DIMS + 1]; /* in bytes */
    int64_t rshape[SOMA_MAX_DIMS + 1], rstride[SOMA_MAX_DIMS + 1];
    int64_t outputs, folded;   /* elements of the result; elements folded into each */
    bool columns;              /* rows run along what is kept */
    int64_t tasks, segments;   /* independent pieces; partial results of each output */
    int64_t rows_per_segment;  /* rows mode: of n_inner elements; columns mode: folded elements */
    int64_t pieces_per_row;    /* rows mode, long rows: segments that one row is cut into */
} soma__fold;
void soma__fold_plan(soma__fold *f, const soma_tensor *x, uint32_t mask);
/* Bytes for the partial results of one run. */
size_t soma__fold_work(const soma__fold *f);
/* result[outputs]: double for floats, int64_t for integers and `truth`. `shift`: a number an output, for kinds that take it.
 * With nothing to fold the result is the kind's neutral element. */
void soma__fold_run(const soma__fold *f, soma__fold_kind kind, const void *data, const double *shift, void *result, void *work);

#endif
