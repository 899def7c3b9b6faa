/* The same bits for any number of threads, on tensors large enough to be shared out (test_registry.c does it for the small samples). */
#ifndef SOMA_TESTS_THREADS_H
#define SOMA_TESTS_THREADS_H

#include "check.h"

/* fn() must give the same bytes for 1, 2, 3 and 7 threads. */
static inline void check_threads(soma_tensor *(*fn)(void *user), void *user) {
    static const int counts[] = {1, 2, 3, 7};
    soma_tensor *first = NULL;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        soma_set_threads(counts[i]);
        soma_rng_set((soma_rng){.seed = 5, .stream = 9});
        soma_tensor *t = fn(user);
        check_ok();
        assert_true(soma_is_contiguous(t));
        if (first)
            assert_memory_equal(soma_data(first), soma_data(t), (size_t)soma_numel(t) * soma_dtype_size(soma_dtype_of(t)));
        else
            first = t;
    }
    soma_set_threads(0);
}

typedef struct op_call {
    const char *name;
    soma_tensor *const *in;
    const soma_attr *attrs;
    int n_in, n_attrs, outputs, chosen;
} op_call;

static inline soma_tensor *chosen_output(void *user) {
    const op_call *c = user;
    soma_tensor *out[8] = {NULL};
    soma_call(c->name, c->in, c->n_in, c->attrs, c->n_attrs, out, c->outputs);
    return out[c->chosen];
}

/* All outputs of an operator. */
static inline void check_op_threads(const char *name, soma_tensor *const *in, int n_in, const soma_attr *attrs, int n_attrs) {
    op_call c = {name, in, attrs, n_in, n_attrs, soma_op_find(name)->outputs, 0};
    for (; c.chosen < c.outputs; c.chosen++)
        check_threads(chosen_output, &c);
}
#endif
