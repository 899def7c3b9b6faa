/* What a user says about gradients of a tensor: wanting, reading, detaching. */
#include "autograd/tape.h"

bool soma_set_grad_enabled(bool on) {
    soma_ctx *ctx = soma__ctx();
    bool was = !ctx->no_grad;
    ctx->no_grad = !on;
    return was;
}

soma_dtype soma_set_autocast(soma_dtype dtype) {
    const soma_dtype was = soma_autocast();
    if (dtype == SOMA_F32 || dtype == SOMA_BF16)
        soma__ctx()->bf16 = dtype == SOMA_BF16;
    else
        soma_fail(SOMA_EDTYPE, "autocast: products of f32 can be computed in f32 or bf16, not in %s", soma_dtype_name(dtype));
    return was;
}

soma_dtype soma_autocast(void) { return soma__ctx()->bf16 ? SOMA_BF16 : SOMA_F32; }

bool soma_grad_enabled(void) { return !soma__ctx()->no_grad; }
bool soma_requires_grad(const soma_tensor *t) { return t && t->requires_grad; }
bool soma_is_leaf(const soma_tensor *t) { return t && !t->node; }
soma_tensor *soma_grad(const soma_tensor *t) {
    soma__recorder *r = t ? soma__ctx()->recorder : NULL;
    if (r && !r->leaf(r, (soma_tensor *)(uintptr_t)t, false))
        return NULL;
    return t ? t->grad : NULL;
}

soma_tensor *soma_requires_grad_(soma_tensor *t, bool on) {
    if (!t)
        return NULL;
    if (on && !soma_dtype_is_float((soma_dtype)t->dtype)) {
        soma_fail(SOMA_EDTYPE, "only float tensors can require a gradient, this is %s", soma_dtype_name((soma_dtype)t->dtype));
        return NULL;
    }
    if (t->node) {
        if (on)
            return t;
        soma_fail(SOMA_ESTATE, "soma_requires_grad_: made by %s, not a leaf; use soma_detach", t->made_by ? t->made_by : "an operator");
        return NULL;
    }
    t->requires_grad = on;
    return t;
}

soma_status soma_set_grad(soma_tensor *t, soma_tensor *grad) {
    char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
    if (!t)
        return soma__failed() ? soma__ctx()->error : soma_fail(SOMA_EINVAL, "soma_set_grad: the tensor is NULL");
    if (grad && (!soma__same_shape(t, grad) || t->dtype != grad->dtype))
        return soma_fail(SOMA_ESHAPE, "soma_set_grad: the gradient %s does not fit %s", soma__tensor_text(grad, a), soma__tensor_text(t, b));
    soma__recorder *r = soma__ctx()->recorder;
    if (r && !r->leaf(r, t, true))
        return soma__ctx()->error;
    soma_keep(grad);
    soma_release(t->grad);
    t->grad = grad;
    return SOMA_OK;
}

soma_tensor *soma_retain_grad(soma_tensor *t) {
    if (!t)
        return NULL;
    if (!t->requires_grad) {
        soma_fail(SOMA_ESTATE, "soma_retain_grad: the tensor does not require a gradient");
        return NULL;
    }
    t->retain_grad = true;
    if (t->node)
        t->node->retained[t->output] = t;
    return t;
}

soma_tensor *soma_detach(soma_tensor *t) {
    if (!t || soma__failed() || (!soma__ctx()->in_rule && !soma__settle(t)))
        return NULL;
    soma_meta meta = soma__meta_of(t);
    return soma__tensor_alias(t, &meta);
}
