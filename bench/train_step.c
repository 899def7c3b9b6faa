/* The time of one training step of a small convolutional network, through the public API: zero gradients, forward, loss, backward,
 * optimiser step, on one fixed batch in memory. Prints one JSON line. bench/run builds it, and runs it in turn with train_step.py.
 *
 *     train_step [demo|plain [BATCH [SECONDS [THREADS]]]]      demo: the network of make demo; plain: without batch norm */
#include <soma/soma.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEMO \
    "conv 32 3 same nobias, batchnorm relu, maxpool 2, conv 64 3 nobias, batchnorm relu, maxpool 2, flatten, linear 128 relu, dropout 0.4, linear 10"
#define PLAIN "conv 32 3 relu, maxpool 2, conv 64 3 relu, maxpool 2, flatten, dropout 0.25, linear 128 relu, dropout 0.5, linear 10"
enum { MOST = 20000, WARM = 5, LEAST = 7 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double step(soma_module *net, soma_optim *opt, soma_tensor *x, soma_tensor *y)
{
    soma_scope scope = soma_scope_begin();
    double start = now();
    soma_tensor *loss = soma_cross_entropy(soma_nn_forward(net, x), y);
    soma_backward(loss);
    soma_optim_step(opt);
    soma_scope_end(scope);
    return now() - start;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "demo";
    int64_t batch = argc > 2 ? atoll(argv[2]) : 64;
    double seconds = argc > 3 ? atof(argv[3]) : 2, *times = malloc(MOST * sizeof *times);
    if (argc > 4)
        soma_set_threads(atoi(argv[4]));
    soma_seed(1234);
    soma_module *net = soma_nn_parse(strcmp(name, "plain") ? DEMO : PLAIN);
    soma_nn_build(net, SOMA_SHAPE(batch, 1, 28, 28));
    soma_optim *opt = soma_adam(net, .lr = 1e-3);
    soma_tensor *x = soma_keep(soma_randn(SOMA_SHAPE(batch, 1, 28, 28), SOMA_F32));
    soma_tensor *y = soma_keep(soma_randint(0, 10, SOMA_SHAPE(batch), SOMA_I64));
    int n = 0;
    for (int i = 0; i < WARM && times; i++)
        step(net, opt, x, y);
    for (double end = now() + seconds; times && soma_error() == SOMA_OK && n < MOST && (n < LEAST || now() < end); n++)
        times[n] = step(net, opt, x, y);
    if (!times || soma_error() != SOMA_OK) {
        fprintf(stderr, "train_step: %s\n", times ? soma_error_message() : "out of memory");
        return 1;
    }
    qsort(times, (size_t)n, sizeof *times, by_value);
    soma_memory memory = soma_memory_stats();
    printf("{\"peer\": \"soma\", \"version\": \"%s/%s\", \"net\": \"%s\", \"batch\": %lld, \"threads\": %d, \"median_ms\": %.4f, \"min_ms\": %.4f, \"steps\": %d, "
           "\"peak_mb\": %.1f}\n", soma_version(), soma_isa(), name, (long long)batch, soma_threads(), times[n / 2] * 1e3, times[0] * 1e3, n,
           (double)memory.peak / 1e6);
    soma_release(x);
    soma_release(y);
    soma_optim_free(opt);
    soma_nn_free(net);
    free(times);
    return 0;
}
