/* soma: automatic differentiation. Operators on tensors that require a gradient are recorded on a tape that hangs on the
 * results; soma_backward walks it from a result to the leaves. */
#ifndef SOMA_AUTOGRAD_H
#define SOMA_AUTOGRAD_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Marks a leaf (a tensor that no recorded operator made) of float dtype as wanting a gradient, or not. Returns `t`. */
SOMA_API soma_tensor *soma_requires_grad_(soma_tensor *t, bool on);
SOMA_API bool soma_requires_grad(const soma_tensor *t);
SOMA_API bool soma_is_leaf(const soma_tensor *t);
/* The gradient accumulated so far, NULL when there is none (no error). Owned by `t`. */
SOMA_API soma_tensor *soma_grad(const soma_tensor *t);
/* Replaces the gradient (NULL clears it); takes a reference of its own. Shape and dtype must be those of `t`. */
SOMA_API soma_status soma_set_grad(soma_tensor *t, soma_tensor *grad);
/* Asks a tensor that is not a leaf to keep its gradient as well. Returns `t`. */
SOMA_API soma_tensor *soma_retain_grad(soma_tensor *t);
/* The same values, cut off the tape; shares storage. */
SOMA_API soma_tensor *soma_detach(soma_tensor *t);

typedef struct soma_backward_opts {
    soma_tensor *grad;   /* gradient of the result; NULL: 1, for results of one element */
    bool retain_graph;   /* keep the tape for another backward */
    bool create_graph;   /* record the backward as well, for second derivatives; implies retain_graph */
    size_t size;
} soma_backward_opts;
/* Adds d(result)/d(leaf) to the gradient of every leaf that the result depends on. Frees the tape as it goes. */
#define soma_backward(...) soma__backward(__VA_ARGS__, .size = sizeof(soma_backward_opts))
#define soma__backward(t, ...) soma_backward_ex((t), &(soma_backward_opts){__VA_ARGS__})
SOMA_API soma_status soma_backward_ex(soma_tensor *t, const soma_backward_opts *opts);
/* The gradients of `output` for `n` tensors, leaves or not, without touching any .grad: grads[i] belongs to the current
 * scope, and is zero where the output does not depend on inputs[i]. */
SOMA_API soma_status soma_grad_of(soma_tensor *output, soma_tensor *const *inputs, int n, const soma_backward_opts *opts,
                                  soma_tensor **grads);

/* Switches recording on or off in the current context and returns the old setting:
 *     bool was = soma_set_grad_enabled(false); … soma_set_grad_enabled(was); */
SOMA_API bool soma_set_grad_enabled(bool on);
SOMA_API bool soma_grad_enabled(void);

/* Mixed precision, as torch.autocast on the CPU: with SOMA_BF16 the products inside matmul, linear and what is made of them round
 * their f32 operands to bf16 (8 bits of mantissa) and sum in f32; SOMA_F32 switches it off. Unlike in PyTorch results stay f32, so
 * weights, activations and gradients between operators lose nothing, and no loss scaling is needed. Products with a single row or
 * column, and very small ones, are computed in f32. A gradient is computed as its operator was, wherever backward runs.
 * On processors with AVX-512 BF16 large products take half the time; elsewhere they are rounded all the same, and slower than in f32.
 * For the current context; returns the old setting:
 *     soma_dtype was = soma_set_autocast(SOMA_BF16); … soma_set_autocast(was);
 * Error: SOMA_EDTYPE for another dtype, and the setting stays. */
SOMA_API soma_dtype soma_set_autocast(soma_dtype dtype);
SOMA_API soma_dtype soma_autocast(void);

/* Compares the gradients of `fn` (inputs f64, any number; output of any shape) with central differences, as
 * torch.autograd.gradcheck: |analytic - numeric| <= atol + rtol |numeric|. `order` 2 checks the gradients of the
 * gradients as well. Says in the error which entry differs, and by how much. */
typedef soma_tensor *(*soma_gradcheck_fn)(void *user, soma_tensor *const *inputs, int n);
typedef struct soma_gradcheck_opts {
    double eps;  /* 0: 1e-6 */
    double atol; /* 0: 1e-5 */
    double rtol; /* 0: 1e-3 */
    int order;   /* 0 or 1: first order; 2: second as well */
    size_t size;
} soma_gradcheck_opts;
SOMA_API soma_status soma_gradcheck(soma_gradcheck_fn fn, void *user, soma_tensor *const *inputs, int n,
                                    const soma_gradcheck_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
