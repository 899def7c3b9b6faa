/* What the fuzz targets share. A target gets bytes that libFuzzer made up, reads them as a file of its kind and uses what
 * came out; a crash, a leak, a hang, undefined behaviour or memory out of proportion is a bug. Errors are expected. */
#ifndef SOMA_FUZZ_H
#define SOMA_FUZZ_H

#include <soma/soma.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the run as a crash; `condition` must hold for every input. */
#define must(condition)                                                                                                  \
    do {                                                                                                                 \
        if (!(condition))                                                                                                \
            __builtin_trap();                                                                                            \
    } while (0)

/* An error must have been recorded exactly when the reader failed, and with the name in front. */
static inline void check_outcome(bool read) {
    must(read == (soma_error() == SOMA_OK));
    must(read || strncmp(soma_error_message(), "input", 5) == 0 || soma_error() == SOMA_ENOMEM);
    soma_error_clear();
}

/* Touches every element, so that AddressSanitizer sees each. */
static inline void use_tensor(const soma_tensor *t) {
    const uint8_t *p = soma_data(t);
    size_t n = (size_t)soma_numel(t) * soma_dtype_size(soma_dtype_of(t));
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    __asm__ volatile("" : : "r"(sum));
    if (soma_dtype_of(t) == SOMA_BOOL)
        for (size_t i = 0; i < n; i++)
            must(p[i] <= 1);
}

#endif
