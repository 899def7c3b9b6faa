/* For kernels that want row-major f32, f64 or i64: operands of any strides and dtype are copied into the workspace when they are
 * not so already, and results in f16 and bf16 are computed there and rounded once at the end. */
#ifndef SOMA_SRC_DENSE_H
#define SOMA_SRC_DENSE_H

#include "ops/op.h"

/* Workspace bytes that soma__dense or soma__dense_out needs for `t` (0 when it can be used as it is, or is NULL). */
size_t soma__dense_bytes(const soma_tensor *t);
/* The elements in their compute dtype, row-major: t's own, or a copy made at *room, which moves on. NULL for NULL. */
const void *soma__dense(const soma_tensor *t, char **room);
/* Where to write t's elements in the compute dtype; soma__dense_done then rounds them into `t`. */
void *soma__dense_out(soma_tensor *t, char **room);
void soma__dense_done(soma_tensor *t, const void *values);
/* The same for kernels of channels-last: t's elements, of their own dtype, in that order. */
size_t soma__turned_bytes(const soma_tensor *t);
const void *soma__turn(const soma_tensor *t, char **room);
/* `bytes` of the workspace, 64-byte aligned; soma__room counts them. */
static inline size_t soma__room(size_t bytes) { return (bytes + 63) / 64 * 64; }
static inline void *soma__take(char **room, size_t bytes) {
    void *p = *room;
    if (bytes > 0) /* with none the room may be NULL */
        *room += soma__room(bytes);
    return p;
}

#endif
