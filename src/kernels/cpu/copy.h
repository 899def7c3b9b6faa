/* Moving elements about without looking at them: any strides (negative ones too), any element size of 1, 2, 4, 8 bytes. */
#ifndef SOMA_SRC_KERNELS_COPY_H
#define SOMA_SRC_KERNELS_COPY_H

#include "tensor/tensor.h"

/* to[i…] = from[i…] over `shape`; strides in elements of `size` bytes. The two do not overlap. */
void soma__copy_elements(size_t size, int ndim, const int64_t *shape, void *to, const int64_t *to_stride, const void *from,
                         const int64_t *from_stride);
/* The same between tensors of one shape and one element size. */
void soma__copy_tensor(const soma_tensor *to, const soma_tensor *from);
/* f16 or bf16 of any strides to f32 one after the other, and back, rounded to nearest. */
void soma__copy_to_floats(float *to, const soma_tensor *from);
void soma__copy_from_floats(const soma_tensor *to, const float *from);
/* n elements = *value. */
void soma__fill_elements(size_t size, void *to, int64_t n, const void *value);

#endif
