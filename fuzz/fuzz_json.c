/* JSON as the library reads it: limits, then jansson. */
#include "fuzz.h"

#include "io/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *j = soma__json_parse((const char *)data, size, "input");
    check_outcome(j != NULL);
    if (json_is_object(j)) {
        const char *key;
        json_t *value;
        json_object_foreach(j, key, value) {
            soma__text t = {0};
            int64_t i;
            (void)soma__json_int(j, key, "input", &i);
            soma_error_clear();
            must(soma__json_put_string(&t, key)); /* what was read can be written */
            soma__text_free(&t);
        }
    }
    json_decref(j);
    return 0;
}
