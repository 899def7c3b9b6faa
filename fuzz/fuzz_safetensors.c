/* safetensors: all names, all tensors, some metadata. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    soma_scope scope = soma_scope_begin();
    soma_tensor_file *f = soma_safetensors_parse(data, size, "input");
    check_outcome(f != NULL);
    size_t bytes = 0;
    for (int i = 0; i < soma_safetensors_count(f); i++) {
        soma_tensor *t = soma_safetensors_get(f, soma_safetensors_name(f, i));
        check_outcome(t != NULL);
        if (t == NULL)
            continue;
        use_tensor(t);
        bytes += (size_t)soma_numel(t) * soma_dtype_size(soma_dtype_of(t));
    }
    must(bytes <= size); /* no byte belongs to two tensors */
    (void)soma_safetensors_meta(f, "net");
    soma_safetensors_free(f);
    soma_scope_end(scope);
    return 0;
}
