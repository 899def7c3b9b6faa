/* What cmocka needs before its header, and a few checks that print the pending error. */
#ifndef SOMA_TESTS_CHECK_H
#define SOMA_TESTS_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <soma/soma.h>

/* Fails with soma's message when an error is pending. */
#define check_ok()                                                                                                     \
    do {                                                                                                               \
        if (soma_error() != SOMA_OK)                                                                                   \
            fail_msg("%s: %s", soma_status_name(soma_error()), soma_error_message());                                  \
    } while (0)
/* The pending error must be of this kind and its message contain `part`; then it is cleared. */
#define check_error(status, part)                                                                                      \
    do {                                                                                                               \
        if (soma_error() != (status) || !strstr(soma_error_message(), (part)))                                         \
            fail_msg("expected %s with \"%s\", got %s: %s", soma_status_name(status), (part),                          \
                     soma_status_name(soma_error()), soma_error_message());                                            \
        soma_error_clear();                                                                                            \
    } while (0)
/* All elements of t, row-major, as expected. */
static inline void check_values(soma_tensor *t, const double *expected, int n) {
    double have[256];
    check_ok();
    assert_non_null(t);
    assert_int_equal(soma_numel(t), n);
    assert_int_equal(soma_to_array(t, have, 256, SOMA_F64), SOMA_OK);
    for (int i = 0; i < n; i++)
        if (have[i] != expected[i] && !(have[i] != have[i] && expected[i] != expected[i]))
            fail_msg("element %d is %.17g, expected %.17g", i, have[i], expected[i]);
}
#define CHECK_VALUES(t, ...)                                                                                                \
    check_values((t), (const double[]){__VA_ARGS__}, (int)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)))

static inline void check_shape(soma_tensor *t, int ndim, const int64_t *shape) {
    check_ok();
    assert_non_null(t);
    assert_int_equal(soma_ndim(t), ndim);
    for (int d = 0; d < ndim; d++)
        assert_int_equal(soma_size(t, d), shape[d]);
}

/* The folder with real data, "" when there is none (then skip, saying why). */
static inline const char *shared_data(void) {
    const char *dir = getenv("SOMA_SHARED");
    return dir ? dir : "../shared";
}
#endif
