/* SHA-256 (FIPS 180-4), for checksums of files. */
#ifndef SOMA_SRC_IO_SHA256_H
#define SOMA_SRC_IO_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct soma__sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[64];
} soma__sha256;
void soma__sha256_start(soma__sha256 *s);
void soma__sha256_add(soma__sha256 *s, const void *data, size_t n);
void soma__sha256_end(soma__sha256 *s, uint8_t out[32]);
/* All at once, as 64 lower-case hexadecimal digits and a 0. */
void soma__sha256_hex(const void *data, size_t n, char out[65]);
void soma__sha256_text(const uint8_t digest[32], char out[65]);

/* For tests: 1 takes the portable code whatever the processor can do; 0 asks the processor again. */
void soma__sha256_portable(int yes);

#endif
