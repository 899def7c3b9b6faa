/* PNG and JPEG, in all channel counts, and what comes out made smaller. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int channels[] = {0, 1, 3, 4};
    soma_image image, small;
    bool read = soma_image_parse(data, size, channels[size % 4], "input", &image) == SOMA_OK;
    check_outcome(read);
    if (!read) {
        must(image.pixels == NULL);
        return 0;
    }
    must(image.width > 0 && image.height > 0 && (size % 4 == 0 || image.channels == channels[size % 4]));
    size_t n = (size_t)image.width * (size_t)image.height * (size_t)image.channels;
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += image.pixels[i];
    __asm__ volatile("" : : "r"(sum));
    if (n < 1 << 16) {
        must(soma_image_resize(&image, 5, 7, &small) == SOMA_OK);
        soma_image_free(&small);
    }
    soma_image_free(&image);
    return 0;
}
