/* The copy task (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016): some symbols, then a pause of blanks, then a sign to repeat the symbols
 * in their order. Without memory the best is to guess among the K symbols at each of the N places, a loss of N log(K) / (T + 2 N) a step.
 * Trains an LSTM and a GRU; exits with 0 when both have less than half of that loss on sequences they never saw.
 *
 * usage: copy_memory [short]   (short: a shorter pause, as a test) */
#include <math.h>
#include <soma/soma.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 64, SYMBOLS = 8, PLACES = 5, BLANK = SYMBOLS, SIGN = SYMBOLS + 1, TOKENS = SYMBOLS + 2, HIDDEN = 96 };

/* x, y [BATCH, pause + 2 PLACES]: what is read, and what is to be written. */
static void draw(int64_t pause, soma_tensor **x, soma_tensor **y) {
    int64_t steps = pause + 2 * PLACES;
    soma_tensor *symbols = soma_randint(0, SYMBOLS, SOMA_SHAPE(BATCH, PLACES), SOMA_I64);
    *x = soma_full(SOMA_SHAPE(BATCH, steps), BLANK, SOMA_I64);
    *y = soma_full(SOMA_SHAPE(BATCH, steps), BLANK, SOMA_I64);
    if (soma_error() != SOMA_OK)
        return;
    for (int64_t b = 0; b < BATCH; b++) {
        int64_t *in = (int64_t *)soma_data(*x) + b * steps, *out = (int64_t *)soma_data(*y) + b * steps;
        for (int64_t i = 0; i < PLACES; i++)
            in[i] = out[steps - PLACES + i] = ((int64_t *)soma_data(symbols))[b * PLACES + i];
        in[steps - PLACES - 1] = SIGN;
    }
}

static soma_tensor *loss_of(soma_module *net, int64_t pause) {
    soma_tensor *x = NULL, *y = NULL;
    draw(pause, &x, &y);
    return soma_cross_entropy(soma_transpose(soma_nn_forward(net, x), 1, 2), y);
}

static double train(const char *kind, int64_t pause, int updates, double goal) {
    char text[120];
    soma_seed(1);
    snprintf(text, sizeof text, "embedding %d 16, %s %d, linear %d", TOKENS, kind, HIDDEN, TOKENS);
    soma_module *net = soma_nn_parse(text);
    soma_nn_build(net, SOMA_SHAPE(1, pause + 2 * PLACES));
    soma_optim *opt = soma_adam(net, .lr = 5e-3);
    double error = INFINITY;
    for (int i = 1; i <= updates && error >= goal && soma_error() == SOMA_OK; i++) {
        soma_scope scope = soma_scope_begin();
        soma_backward(loss_of(net, pause));
        soma_clip_grad_norm(opt, 1);
        soma_optim_step(opt);
        soma_scope_end(scope);
        if (i % 100 == 0) {
            bool grad = soma_set_grad_enabled(false);
            scope = soma_scope_begin();
            error = 0;
            for (int k = 0; k < 4; k++)
                error += soma_item(loss_of(net, pause)) / 4;
            soma_scope_end(scope);
            soma_set_grad_enabled(grad);
            printf("%-4s  %6d sequences  loss %.4f\n", kind, i * BATCH, error);
            fflush(stdout);
        }
    }
    soma_optim_free(opt);
    soma_nn_free(net);
    return error;
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "short") == 0;
    int64_t pause = quick ? 5 : 20;
    double base = PLACES * log(SYMBOLS) / (double)(pause + 2 * PLACES), goal = base * 0.2;
    printf("%d symbols to be repeated after a pause of %d; without memory the loss is %.4f\n", PLACES, (int)pause, base);
    double lstm = train("lstm", pause, 3000, goal), gru = train("gru", pause, 3000, goal);
    if (soma_error() != SOMA_OK)
        fprintf(stderr, "%s\n", soma_error_message());
    bool ok = soma_error() == SOMA_OK && lstm < base / 2 && gru < base / 2;
    printf("LSTM %.4f, GRU %.4f: %s\n", lstm, gru, ok ? "both remember" : "not both below half of the loss without memory");
    return ok ? 0 : 1;
}
