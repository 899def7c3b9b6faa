/* Helpers of the tests of networks. */
#ifndef SOMA_TESTS_NN_HELP_H
#define SOMA_TESTS_NN_HELP_H
#include "check.h"

#include <stdio.h>
#include <unistd.h>

/* A failed test must not fail the next ones: cmocka calls this before each. */
static inline int fresh(void **state) {
    (void)state;
    soma_memory_fail_at(0);
    soma_error_clear();
    soma_set_grad_enabled(true);
    return 0;
}
#define TEST(function) cmocka_unit_test_setup(function, fresh)

static inline soma_module *parse(const char *text) {
    soma_module *m = soma_nn_parse(text);
    if (!m)
        fail_msg("%s: %s", text, soma_error_message());
    return m;
}

/* A path in the system's folder for temporary files, for this process alone. */
static inline const char *temporary(const char *name) {
    static char path[4][300];
    static int next;
    const char *dir = getenv("TMPDIR");
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/soma-nn-%d-%s", dir ? dir : "/tmp", (int)getpid(), name);
    return path[next];
}

/* y = x * scale + shift: a class as a user writes it (docs/network.md). */
static inline soma_tensor *affine_forward(soma_module *self, soma_tensor *const *in, int n) {
    if (n != 1)
        return soma_fail(SOMA_EINVAL, "Affine takes one input, not %d", n), NULL;
    return soma_add(soma_mul(in[0], soma_nn_get(self, "scale")), soma_nn_get(self, "shift"));
}

static const soma_module_class affine_class = {
    .size = sizeof(soma_module_class), .name = "Affine", .forward = affine_forward,
};

static inline soma_module *affine(int64_t features) {
    soma_module *m = soma_nn_module_new(&affine_class);
    soma_nn_add_param(m, "scale", soma_ones(SOMA_SHAPE(features), SOMA_F32));
    soma_nn_add_param(m, "shift", soma_zeros(SOMA_SHAPE(features), SOMA_F32));
    if (soma_error() != SOMA_OK) {
        soma_nn_free(m);
        return NULL;
    }
    return m;
}
#endif
