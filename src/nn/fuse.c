/* Layers that run together when nobody looks at what lies between them: no hook and no probe on them or on what they are part of. The
 * results have the bits of the layers one by one.
 *
 * - batch norm and relu, and the sum of a residual block between them: one operator;
 * - relu and max pooling: the other way round, since the largest of relu's values is relu of the largest value, and there are fewer of
 *   them. Gradients are the same: where the largest is not above 0 nothing comes through either way. */
#include "nn/nn.h"

#include "ops/norm_last.h"

bool soma__nn_unseen(const soma_module *m) {
    for (; m; m = m->parent)
        if (m->hook || m->probe)
            return false;
    return !soma__ctx()->shapes_only;
}

static bool is(const soma_module *m, const soma_module_class *cls) { return m->cls == cls && !m->hook && !m->probe; }

int soma__nn_run_together(soma_module *m, int i, int end, soma_tensor *x, soma_tensor **y) {
    soma_module *first = m->children[i], *second = i + 1 < end ? m->children[i + 1] : NULL;
    if (!second || !soma__nn_unseen(m))
        return 0;
    if (is(first, &soma__nn_batch_norm_class) && is(second, &soma__nn_relu_class) && soma__norm_last(x))
        *y = soma__nn_batch_norm_relu(first, x, NULL);
    else if (is(first, &soma__nn_relu_class) && is(second, &soma__nn_max_pool2d_class) && !soma__nn_has_places(second) && soma_ndim(x) == 4)
        *y = soma_nn_forward(first, soma_nn_forward(second, x));
    else
        return 0;
    return 2;
}
