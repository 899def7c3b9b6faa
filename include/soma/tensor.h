/* soma: tensors. A handle to `ndim` sizes and strides over shared, reference-counted storage.
 *
 * Functions that return a tensor return one that belongs to the current scope, or NULL with the error recorded (see
 * base.h); given NULL they return NULL and keep the first error. */
#ifndef SOMA_TENSOR_H
#define SOMA_TENSOR_H

#include <soma/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct soma_tensor soma_tensor;

/* SOMA_F32 is 0: the default wherever a dtype is an option. */
typedef enum soma_dtype {
    SOMA_F32, SOMA_F64, SOMA_F16, SOMA_BF16, SOMA_I64, SOMA_I32, SOMA_I16, SOMA_I8, SOMA_U8, SOMA_BOOL,
    SOMA_DTYPE_COUNT
} soma_dtype;
SOMA_API const char *soma_dtype_name(soma_dtype dtype);        /* "f32" … "bool"; never NULL */
SOMA_API size_t soma_dtype_size(soma_dtype dtype);             /* bytes an element */
SOMA_API bool soma_dtype_is_float(soma_dtype dtype);
/* The dtype that two tensors meet in, as torch.promote_types. */
SOMA_API soma_dtype soma_promote_types(soma_dtype a, soma_dtype b);

/* Two arguments, the number of sizes and the sizes: soma_zeros(SOMA_SHAPE(2, 3), SOMA_F32). SOMA_SCALAR: no dimensions. */
#define SOMA_SHAPE(...) ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))), ((const int64_t[]){__VA_ARGS__})
#define SOMA_DIMS(...) SOMA_SHAPE(__VA_ARGS__)
#define SOMA_SCALAR 0, NULL
/* All dimensions, for reductions. */
#define SOMA_ALL 0, NULL

/* ---- Making tensors -------------------------------------------------------------------------------------------- */

SOMA_API soma_tensor *soma_empty(int ndim, const int64_t *shape, soma_dtype dtype);
SOMA_API soma_tensor *soma_zeros(int ndim, const int64_t *shape, soma_dtype dtype);
SOMA_API soma_tensor *soma_ones(int ndim, const int64_t *shape, soma_dtype dtype);
SOMA_API soma_tensor *soma_full(int ndim, const int64_t *shape, double value, soma_dtype dtype);
/* start, start+step, … below end. */
SOMA_API soma_tensor *soma_arange(double start, double end, double step, soma_dtype dtype);
SOMA_API soma_tensor *soma_linspace(double start, double end, int64_t steps, soma_dtype dtype);
/* base^start … base^end, at equal distances of the exponent. */
SOMA_API soma_tensor *soma_logspace(double start, double end, int64_t steps, double base, soma_dtype dtype);
/* Of x's shape and dtype. */
SOMA_API soma_tensor *soma_zeros_like(soma_tensor *x);
SOMA_API soma_tensor *soma_ones_like(soma_tensor *x);
SOMA_API soma_tensor *soma_full_like(soma_tensor *x, double value);
SOMA_API soma_tensor *soma_empty_like(soma_tensor *x);
SOMA_API soma_tensor *soma_rand_like(soma_tensor *x);
SOMA_API soma_tensor *soma_randn_like(soma_tensor *x);
SOMA_API soma_tensor *soma_randint_like(soma_tensor *x, int64_t low, int64_t high);
SOMA_API soma_tensor *soma_eye(int64_t n, int64_t m, soma_dtype dtype);
/* Random: uniform in [0, 1); standard normal; integers in [low, high); a permutation of 0 … n-1 (i64); 1 with
 * probability p. Each call takes the next stream of the seed. */
SOMA_API soma_tensor *soma_rand(int ndim, const int64_t *shape, soma_dtype dtype);
SOMA_API soma_tensor *soma_randn(int ndim, const int64_t *shape, soma_dtype dtype);
SOMA_API soma_tensor *soma_randint(int64_t low, int64_t high, int ndim, const int64_t *shape, soma_dtype dtype);
SOMA_API soma_tensor *soma_randperm(int64_t n);
SOMA_API soma_tensor *soma_bernoulli(double p, int ndim, const int64_t *shape, soma_dtype dtype);
/* A number as a 0-d tensor that takes the dtype of what it meets: soma_mul(x, soma_scalar(0.5)) keeps x's dtype. */
SOMA_API soma_tensor *soma_scalar(double value);
/* As above for an integer: meets an integer tensor as an integer. */
SOMA_API soma_tensor *soma_scalar_int(int64_t value);

/* Copies `data`, row-major, of dtype `dtype`. */
SOMA_API soma_tensor *soma_from_array(const void *data, int ndim, const int64_t *shape, soma_dtype dtype);
/* Uses the caller's memory without copying; `release(user)` is called when the last tensor over it goes. Strides are in
 * elements; NULL: row-major. When this call fails, `release` is not called. */
SOMA_API soma_tensor *soma_from_memory(void *data, int ndim, const int64_t *shape, const int64_t *stride, soma_dtype dtype,
                                       void (*release)(void *user), void *user);
/* Literals: SOMA_TENSOR(SOMA_SHAPE(2, 2), 1, 2, 3, 4) is f32. */
#define SOMA_TENSOR(shape, ...) soma__from_floats(((const float[]){__VA_ARGS__}), sizeof((const float[]){__VA_ARGS__}) / sizeof(float), shape)
SOMA_API soma_tensor *soma__from_floats(const float *data, size_t n, int ndim, const int64_t *shape);

/* ---- Reading tensors ------------------------------------------------------------------------------------------- */

SOMA_API int soma_ndim(const soma_tensor *t);
SOMA_API int64_t soma_size(const soma_tensor *t, int dim);     /* dim may count from the end: -1 is the last */
SOMA_API int64_t soma_stride(const soma_tensor *t, int dim);   /* in elements */
SOMA_API const int64_t *soma_shape(const soma_tensor *t);      /* soma_ndim sizes; owned by the tensor */
SOMA_API int64_t soma_numel(const soma_tensor *t);
SOMA_API soma_dtype soma_dtype_of(const soma_tensor *t);
SOMA_API bool soma_is_contiguous(const soma_tensor *t);        /* row-major without gaps */
/* The first element; NULL for NULL. Elements are in row-major order only if soma_is_contiguous. Writing through it is
 * the caller's affair: call soma_touch afterwards so that the tape notices. Results of some operators lie in another order in memory until
 * somebody asks for it here; so when several threads read one tensor, call this once before the others see it. */
SOMA_API void *soma_data(const soma_tensor *t);
SOMA_API void soma_touch(soma_tensor *t);
/* The only element, as a double (NaN and an error when there is not exactly one), or as an integer. */
SOMA_API double soma_item(const soma_tensor *t);
SOMA_API int64_t soma_item_int(const soma_tensor *t);
/* One element by its indices, as a double. */
SOMA_API double soma_at(const soma_tensor *t, int n, const int64_t *index);
/* Copies all elements in row-major order into `out`, converted to `dtype`; `n` is the room in elements. */
SOMA_API soma_status soma_to_array(const soma_tensor *t, void *out, int64_t n, soma_dtype dtype);
/* The tensor as PyTorch prints it, "tensor([[1., 2.], …])", with soma's dtype when it is not f32, i64 or bool. Returns the
 * length of the whole text, as snprintf; at most `size` bytes with the final 0 are written. */
SOMA_API size_t soma_format(const soma_tensor *t, char *out, size_t size);

/* ---- Lifetime -------------------------------------------------------------------------------------------------- */

/* Takes a reference that outlives the scope; give it back with soma_release. Returns `t`. */
SOMA_API soma_tensor *soma_keep(soma_tensor *t);
SOMA_API void soma_release(soma_tensor *t);                    /* NULL is ignored */
/* Hands `t` to the scope outside the innermost one, so that it survives soma_scope_end. Returns `t`. */
SOMA_API soma_tensor *soma_escape(soma_tensor *t);
/* True when both look at the same storage. */
SOMA_API bool soma_shares_storage(const soma_tensor *a, const soma_tensor *b);

#ifdef __cplusplus
}
#endif
#endif
