/* A training step that is recorded once and replayed, with the same bits: two spirals told apart, eager and captured. */
#include <soma/soma.h>

#include <math.h>
#include <stdio.h>
#include <time.h>

typedef struct model {
    soma_module *net;
    soma_optim *opt;
} model;

static bool step(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    model *m = user;
    out[0] = soma_binary_cross_entropy_with_logits(soma_nn_forward(m->net, in[0]), in[1]);
    return n_in == 2 && n_out == 1 && soma_backward(out[0]) == SOMA_OK && soma_optim_step(m->opt) == SOMA_OK;
}

/* Points of two arms, half a turn apart. */
static void spirals(soma_tensor *x, soma_tensor *y, int64_t n) {
    float *p = soma_data(x), *t = soma_data(y);
    for (int64_t i = 0; p && t && i < n; i++) {
        double along = (double)(i / 2 + 1) / (double)(n / 2), turn = 8 * along + (i % 2 ? 3.14159265 : 0);
        p[2 * i] = (float)(along * cos(turn));
        p[2 * i + 1] = (float)(along * sin(turn));
        t[i] = (float)(i % 2);
    }
}

static double train(bool captured, int steps, double *seconds) {
    soma_scope scope = soma_scope_begin();
    soma_seed(1);
    model m = {.net = soma_nn_seq(soma_nn_linear(2, 16), soma_nn_tanh(), soma_nn_linear(16, 16), soma_nn_tanh(), soma_nn_linear(16, 1))};
    m.opt = soma_adam(m.net, .lr = 0.01);
    soma_capture *fast = soma_capture_new(step, &m);
    soma_tensor *in[2] = {soma_empty(SOMA_SHAPE(32, 2), SOMA_F32), soma_empty(SOMA_SHAPE(32, 1), SOMA_F32)}, *loss;
    spirals(in[0], in[1], 32);
    double last = NAN;
    clock_t start = clock();
    for (int i = 0; i < steps && soma_error() == SOMA_OK; i++) {
        soma_scope each = soma_scope_begin();
        if (captured)
            soma_capture_run(fast, in, 2, &loss, 1);
        else
            step(&m, in, 2, &loss, 1);
        if (i == steps - 1)
            last = soma_item(loss);
        soma_scope_end(each);
    }
    *seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    soma_capture_free(fast);
    soma_optim_free(m.opt);
    soma_nn_free(m.net);
    soma_scope_end(scope);
    return last;
}

int main(void) {
    double eager, captured, a = train(false, 3000, &eager), b = train(true, 3000, &captured);
    if (soma_error() != SOMA_OK) {
        fprintf(stderr, "%s\n", soma_error_message());
        return 1;
    }
    printf("loss %.9g eager in %.0f ms, %.9g captured in %.0f ms\n", a, eager * 1e3, b, captured * 1e3);
    return !(a == b && a < 0.2);
}
