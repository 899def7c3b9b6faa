/* Network descriptions: what is understood can be said again, and means the same. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 2000)
        return 0;
    char text[2001], first[20000], second[20000];
    memcpy(text, data, size);
    text[size] = 0;
    soma_scope scope = soma_scope_begin();
    soma_module *m = soma_nn_parse(text);
    must((m != NULL) == (soma_error() == SOMA_OK));
    soma_error_clear();
    if (m != NULL) {
        size_t n = soma_nn_describe(m, first, sizeof first);
        if (n > 0 && n < sizeof first) {
            soma_module *again = soma_nn_parse(first);
            must(again != NULL);
            must(soma_nn_describe(again, second, sizeof second) == n && memcmp(first, second, n) == 0);
            soma_nn_free(again);
        }
    }
    soma_nn_free(m);
    soma_scope_end(scope);
    return 0;
}
