/* The adding problem (Hochreiter & Schmidhuber 1997): a sequence of numbers in [0, 1), two of them marked; the answer is the sum of the
 * two. Who always says 1 has a mean squared error of 1/6; less needs a memory that reaches over the whole sequence. Trains an LSTM and a
 * GRU and exits with 0 when both get below 0.02.
 *
 * usage: adding_problem [short]   (short: sequences of 20 instead of 60, as a test) */
#include <soma/soma.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 64, HIDDEN = 48 };

/* x [BATCH, steps, 2]: numbers and marks, one in each half. y [BATCH, 1]. */
static void draw(int64_t steps, soma_tensor **x, soma_tensor **y) {
    soma_tensor *numbers = soma_rand(SOMA_SHAPE(BATCH, steps), SOMA_F32), *marks = soma_zeros(SOMA_SHAPE(BATCH, steps), SOMA_F32);
    soma_tensor *first = soma_randint(0, steps / 2, SOMA_SHAPE(BATCH), SOMA_I64), *second = soma_randint(steps / 2, steps, SOMA_SHAPE(BATCH), SOMA_I64);
    if (soma_error() != SOMA_OK)
        return;
    float *mark = soma_data(marks);
    for (int64_t b = 0; b < BATCH; b++)
        mark[b * steps + ((int64_t *)soma_data(first))[b]] = mark[b * steps + ((int64_t *)soma_data(second))[b]] = 1;
    *x = soma_stack((soma_tensor *[]){numbers, marks}, 2, 2);
    *y = soma_sum(soma_mul(numbers, marks), SOMA_DIMS(1), true);
}

/* The error on sequences that it was not trained with. */
static double tested(soma_module *net, int64_t steps) {
    double sum = 0;
    bool grad = soma_set_grad_enabled(false);
    for (int i = 0; i < 10; i++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *x = NULL, *y = NULL;
        draw(steps, &x, &y);
        sum += soma_item(soma_mse_loss(soma_nn_forward(net, x), y));
        soma_scope_end(scope);
    }
    soma_set_grad_enabled(grad);
    return sum / 10;
}

static double train(const char *kind, int64_t steps, int updates) {
    char text[80];
    soma_seed(1);
    snprintf(text, sizeof text, "%s %d last, linear 1", kind, HIDDEN);
    soma_module *net = soma_nn_parse(text);
    soma_nn_build(net, SOMA_SHAPE(1, steps, 2));
    soma_optim *opt = soma_adam(net, .lr = 3e-3);
    double error = 1;
    for (int i = 1; i <= updates && error >= 0.01 && soma_error() == SOMA_OK; i++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *x = NULL, *y = NULL;
        draw(steps, &x, &y);
        soma_backward(soma_mse_loss(soma_nn_forward(net, x), y));
        soma_clip_grad_norm(opt, 1);
        soma_optim_step(opt);
        soma_scope_end(scope);
        if (i % 200 == 0) {
            error = tested(net, steps);
            printf("%-4s  %5d sequences  mean squared error %.4f\n", kind, i * BATCH, error);
            fflush(stdout);
        }
    }
    soma_optim_free(opt);
    soma_nn_free(net);
    return error;
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "short") == 0;
    int64_t steps = quick ? 20 : 60;
    printf("two of %d numbers are to be added; always saying 1 has an error of 0.1667\n", (int)steps);
    double lstm = train("lstm", steps, quick ? 2000 : 4000), gru = train("gru", steps, quick ? 2000 : 4000);
    if (soma_error() != SOMA_OK)
        fprintf(stderr, "%s\n", soma_error_message());
    bool ok = soma_error() == SOMA_OK && lstm < 0.02 && gru < 0.02;
    printf("LSTM %.4f, GRU %.4f: %s\n", lstm, gru, ok ? "both below 0.02" : "not both below 0.02");
    return ok ? 0 : 1;
}
