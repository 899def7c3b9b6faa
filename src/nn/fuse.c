/* Layers that run together when nobody looks at what lies between them: no hook and no probe on them or on what they are part of. The
 * results have the bits of the layers one by one.
 *
 * - batch norm and relu, and the sum of a residual block between them: one operator;
 * - relu and max pooling: the other way round, since the largest of relu's values is relu of the largest value, and there are fewer of
 *   them. Gradients are the same: where the largest is not above 0 nothing comes through either way;
 * - convolution and relu, linear and relu: one operator.
 *
 * Off the tape and in evaluation, a convolution and the batch norm behind it are one convolution with scaled weights: the same to rounding. */
#include "nn/nn.h"

#include "ops/norm_last.h"

#include <pthread.h>

bool soma__nn_unseen(const soma_module *m) {
    for (; m; m = m->parent)
        if (m->hook || m->probe)
            return false;
    return !soma__ctx()->shapes_only;
}

/* ---- Scaled weights ---- */

enum { WEIGHT, BIAS, GAMMA, BETA, MEAN, VAR, SOURCES };
struct soma__folded {
    soma_tensor *from[SOURCES]; /* counted, so that no other tensor can have their address */
    uint32_t version[SOURCES];
    soma_tensor *weight, *bias; /* counted */
};

void soma__nn_folded_drop(soma_module *m) {
    struct soma__folded *f = m->folded;
    m->folded = NULL;
    if (!f)
        return;
    for (int i = 0; i < SOURCES; i++)
        soma_release(f->from[i]);
    soma_release(f->weight);
    soma_release(f->bias);
    soma__free(f);
}

static uint32_t version(const soma_tensor *t) { return t ? atomic_load_explicit(&t->storage->version, memory_order_relaxed) : 0; }

static bool fresh(const struct soma__folded *f, soma_tensor *const *from) {
    for (int i = 0; f && i < SOURCES; i++)
        if (f->from[i] != from[i] || f->version[i] != version(from[i]))
            return false;
    return f != NULL;
}

/* weight gamma / sqrt(var + eps), (bias - mean) gamma / sqrt(var + eps) + beta */
static void scale(soma_module *m, soma_tensor *const *from, double eps) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *s = soma_rsqrt(soma_add_scalar(from[VAR], eps)), *shift = soma_neg(from[MEAN]);
    s = from[GAMMA] ? soma_mul(s, from[GAMMA]) : s;
    shift = soma_mul(from[BIAS] ? soma_add(from[BIAS], shift) : shift, s);
    shift = from[BETA] ? soma_add(shift, from[BETA]) : shift;
    soma_tensor *weight = soma_mul(from[WEIGHT], soma_reshape(s, SOMA_SHAPE(-1, 1, 1, 1)));
    soma__nn_folded_drop(m);
    struct soma__folded *f = weight && shift ? soma__calloc(1, sizeof *f) : NULL;
    for (int i = 0; f && i < SOURCES; i++) {
        f->from[i] = soma_keep(from[i]);
        f->version[i] = version(from[i]);
    }
    if (f) {
        f->weight = soma_keep(weight);
        f->bias = soma_keep(shift);
    }
    m->folded = f;
    soma_scope_end(scope);
}

bool soma__nn_conv_folded(soma_module *m, soma_module *norm, soma_tensor *x, bool relu, soma_tensor **y) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    double eps;
    soma_tensor *from[SOURCES] = {soma__nn_slot(m, "weight"), soma__nn_slot(m, "bias"), soma__nn_slot(norm, "weight"), soma__nn_slot(norm, "bias"),
                                  soma__nn_slot(norm, "running_mean"), soma__nn_slot(norm, "running_var")};
    if (soma_grad_enabled() || m->tied || !from[WEIGHT] || !soma__nn_batch_norm_still(norm, &eps) || soma_dtype_of(x) != SOMA_F32)
        return false;
    for (int i = 0; i < SOURCES; i++)
        if (from[i] && (soma_dtype_of(from[i]) != SOMA_F32 || soma_size(from[i], 0) != soma_size(from[WEIGHT], 0)))
            return false;
    pthread_mutex_lock(&lock);
    if (!fresh(m->folded, from))
        scale(m, from, eps);
    soma_tensor *weight = m->folded ? soma_keep(m->folded->weight) : NULL, *bias = m->folded ? soma_keep(m->folded->bias) : NULL;
    pthread_mutex_unlock(&lock);
    *y = weight ? soma__nn_conv_relu(m, x, weight, bias, relu) : NULL;
    soma_release(weight);
    soma_release(bias);
    return true;
}

/* ---- Which layers ---- */

static bool is(const soma_module *m, const soma_module_class *cls) { return m->cls == cls && !m->hook && !m->probe; }

static bool pools(const soma_module *m) { return is(m, &soma__nn_max_pool2d_class) && !soma__nn_has_places(m); }

int soma__nn_run_together(soma_module *m, int i, int end, soma_tensor *x, soma_tensor **y) {
    soma_module *first = m->children[i], *second = i + 1 < end ? m->children[i + 1] : NULL, *third = i + 2 < end ? m->children[i + 2] : NULL;
    if (!second || !soma__nn_unseen(m))
        return 0;
    if (is(first, &soma__nn_conv2d_class) && is(second, &soma__nn_batch_norm_class)) {
        bool relu = third && is(third, &soma__nn_relu_class);
        return soma__nn_conv_folded(first, second, x, relu, y) ? 2 + relu : 0;
    }
    if (is(first, &soma__nn_conv2d_class) && is(second, &soma__nn_relu_class)) {
        if (soma_grad_enabled() && third && pools(third))
            return 0;
        *y = soma__nn_conv_relu(first, x, NULL, NULL, true);
        return 2;
    }
    if (is(first, &soma__nn_linear_class) && is(second, &soma__nn_relu_class))
        *y = soma__nn_linear_relu(first, x);
    else if (is(first, &soma__nn_batch_norm_class) && is(second, &soma__nn_relu_class) && soma__norm_last(x))
        *y = soma__nn_batch_norm_relu(first, x, NULL);
    else if (is(first, &soma__nn_relu_class) && pools(second) && soma_ndim(x) == 4)
        *y = soma_nn_forward(first, soma_nn_forward(second, x));
    else
        return 0;
    return 2;
}
