/* The program of the README: train a small network on Fashion-MNIST (or on drawn silhouettes, without it) and save it. */
#include <soma/soma.h>
#include <stdio.h>

int main(int argc, char **argv) {
    soma_seed(42);
    soma_module *net = soma_nn_seq(soma_nn_flatten(), soma_nn_linear(784, 128), soma_nn_relu(), soma_nn_dropout(0.1), soma_nn_linear(128, 10));
    soma_optim *opt = soma_adam(net, .lr = 1e-3);
    soma_dataset *set = argc > 1 ? soma_data_idx(argv[1], SOMA_TRAIN) : soma_data_drawn(6000, 1);
    soma_loader *data = soma_loader_new(set, .batch_size = 64, .shuffle = true);

    for (int epoch = 0; epoch < 3 && soma_error() == SOMA_OK; epoch++)
        for (soma_batch b; soma_loader_next(data, &b);) { /* releases the last step's temporaries */
            soma_tensor *loss = soma_cross_entropy(soma_nn_forward(net, b.x), b.y);
            soma_backward(loss);
            soma_optim_step(opt); /* updates, then clears the gradients */
            if (b.index % 50 == 0)
                printf("epoch %d step %3d loss %.4f\n", epoch, (int)b.index, soma_item(loss));
        }
    if (soma_nn_save(net, "apparel.safetensors") == SOMA_OK)
        printf("saved apparel.safetensors\n");
    else
        fprintf(stderr, "%s\n", soma_error_message());
    soma_loader_free(data);
    soma_data_free(set);
    soma_optim_free(opt);
    soma_nn_free(net);
    return soma_error() == SOMA_OK ? 0 : 1;
}
