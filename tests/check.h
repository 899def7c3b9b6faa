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
/* The folder with real data, "" when there is none (then skip, saying why). */
static inline const char *shared_data(void) {
    const char *dir = getenv("SOMA_SHARED");
    return dir ? dir : "../shared";
}
#endif
