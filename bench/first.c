/* From the start of the process to the first result: a linear layer, untrained, on one sample. */
#include <soma/soma.h>
#include <stdio.h>

int main(void) {
    soma_seed(1);
    soma_module *net = soma_nn_linear(4, 2);
    soma_tensor *y = soma_nn_forward(net, soma_ones(SOMA_SHAPE(1, 4), SOMA_F32));
    printf("%.9g %.9g\n", soma_at(y, 2, (const int64_t[]){0, 0}), soma_at(y, 2, (const int64_t[]){0, 1}));
    soma_nn_free(net);
    return soma_error() == SOMA_OK ? 0 : 1;
}
