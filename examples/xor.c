/* XOR: no single threshold unit can compute it, two layers can. First by hand, with units that fire from a threshold on; then learnt from
 * the four examples by networks 2-2-1 and wider. Exits with 0 when all of them are right. */
#include <soma/soma.h>
#include <stdio.h>

static const float inputs[] = {0, 0, 0, 1, 1, 0, 1, 1}, targets[] = {0, 1, 1, 0};

/* How many of the four are on the right side of 1/2. */
static int right(soma_module *net, bool logits) {
    soma_tensor *y = soma_nn_forward(net, soma_from_array(inputs, SOMA_SHAPE(4, 2), SOMA_F32));
    int n = 0;
    for (int i = 0; i < 4 && y; i++) {
        double out = soma_at(y, 2, (const int64_t[]){i, 0});
        if (logits)
            out = out > 0;
        printf("  %g xor %g = %g\n", (double)inputs[2 * i], (double)inputs[2 * i + 1], out);
        n += (out > 0.5) == (targets[i] > 0.5f);
    }
    return n;
}

static void set(soma_module *net, const char *name, const float *values) {
    soma_tensor *p = soma_nn_get(net, name);
    bool was = soma_set_grad_enabled(false);
    soma_copy_(p, soma_from_array(values, soma_ndim(p), soma_shape(p), SOMA_F32));
    soma_set_grad_enabled(was);
}

/* The hidden units are OR (fires from 1 on) and AND (from 2 on); the output is OR and not AND. */
static int by_hand(void) {
    soma_module *net = soma_nn_seq(soma_nn_linear(2, 2), soma_nn_step(0), soma_nn_linear(2, 1), soma_nn_step(0));
    set(net, "0.weight", (const float[]){1, 1, 1, 1});
    set(net, "0.bias", (const float[]){-1, -2});
    set(net, "2.weight", (const float[]){1, -1});
    set(net, "2.bias", (const float[]){-0.5f});
    printf("threshold units set by hand\n");
    int n = right(net, false);
    soma_nn_free(net);
    return n;
}

static int learnt(int hidden, uint64_t seed) {
    soma_seed(seed);
    soma_module *net = soma_nn_seq(soma_nn_linear(2, hidden), soma_nn_tanh(), soma_nn_linear(hidden, 1));
    soma_optim *opt = soma_adam(net, .lr = 0.05);
    double loss = 0;
    int step = 0;
    do {
        soma_scope scope = soma_scope_begin();
        soma_tensor *x = soma_from_array(inputs, SOMA_SHAPE(4, 2), SOMA_F32), *y = soma_from_array(targets, SOMA_SHAPE(4, 1), SOMA_F32);
        soma_tensor *l = soma_bce_with_logits(soma_nn_forward(net, x), y);
        soma_backward(l);
        soma_optim_step(opt);
        loss = soma_item(l);
        soma_scope_end(scope);
    } while (++step < 2000 && loss > 0.01 && soma_error() == SOMA_OK);
    printf("2-%d-1 learnt in %d steps, loss %.4f\n", hidden, step, loss);
    int n = right(net, true);
    soma_optim_free(opt);
    soma_nn_free(net);
    return n;
}

int main(void) {
    int n = by_hand(), tasks = 1;
    for (int hidden = 2; hidden <= 8; hidden *= 2, tasks++)
        n += learnt(hidden, 1);
    if (soma_error() != SOMA_OK)
        fprintf(stderr, "%s\n", soma_error_message());
    printf("%d of %d right\n", n, 4 * tasks);
    return n == 4 * tasks ? 0 : 1;
}
