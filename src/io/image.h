/* What the image decoders share. Each makes an image of 8-bit samples with the channels that the file has: 1 grey, 2 grey
 * and alpha, 3 RGB, 4 RGB and alpha; image.c makes of it what the caller wants. */
#ifndef SOMA_SRC_IO_IMAGE_H
#define SOMA_SRC_IO_IMAGE_H

#include "io/io.h"

#define SOMA__IMAGE_SIDE 65535                /* as JPEG */
#define SOMA__IMAGE_PIXELS ((int64_t)1 << 28) /* in one image: 1 GiB as RGBA */

/* Checks the size, then takes the memory. */
soma_status soma__image_new(int64_t width, int64_t height, int channels, const char *name, soma_image *out);
soma_status soma__png_decode(const uint8_t *data, size_t size, const char *name, soma_image *out);
soma_status soma__png_encode(const soma_image *image, const char *name, soma__text *out);
soma_status soma__jpeg_decode(const uint8_t *data, size_t size, const char *name, soma_image *out);

#endif
