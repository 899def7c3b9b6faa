/* IDX, packed or not. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    soma_scope scope = soma_scope_begin();
    soma_tensor *t = soma_idx_parse(data, size, "input");
    if (t != NULL)
        use_tensor(t);
    check_outcome(t != NULL);
    soma_scope_end(scope);
    return 0;
}
