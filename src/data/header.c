/* Size and kind of an image file from its first bytes, for sets that are too large to be decoded when they open: a wrong or
 * foreign file is found at once and not after an hour of training. */
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static unsigned be16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static uint32_t be32(const uint8_t *p) { return (uint32_t)be16(p) << 16 | be16(p + 2); }

/* Walks a JPEG's segments to the frame header: FF, marker, length; the frame's has precision, height, width. */
static bool jpeg_size(FILE *f, uint32_t *height, uint32_t *width) {
    if (fseek(f, 2, SEEK_SET) != 0)
        return false;
    for (int segments = 0; segments < 10000; segments++) {
        int c = getc(f);
        while (c != 0xFF && c != EOF) /* wrong lengths: on to the next marker, as decoders do */
            c = getc(f);
        while (c == 0xFF)
            c = getc(f);
        if (c == 0x00 || c == 0x01 || (c >= 0xD0 && c <= 0xD8))
            continue; /* markers without a segment */
        uint8_t head[7];
        if (c == EOF || c == 0xD9 || c == 0xDA || fread(head, 1, 2, f) != 2)
            return false;
        if (c >= 0xC0 && c <= 0xCF && c != 0xC4 && c != 0xC8 && c != 0xCC) {
            if (fread(head + 2, 1, 5, f) != 5)
                return false;
            *height = be16(head + 3);
            *width = be16(head + 5);
            return true;
        }
        if (fseek(f, SOMA_MAX((long)be16(head) - 2, 0), SEEK_CUR) != 0)
            return false;
    }
    return false;
}

soma_status soma__image_header(const char *path, int *height, int *width) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    FILE *f = fopen(path, "rb");
    if (!f)
        return soma_fail(errno == ENOENT ? SOMA_ENOTFOUND : SOMA_EIO, "%s: %s", path, strerror(errno));
    uint8_t head[24] = {0};
    size_t got = fread(head, 1, sizeof head, f);
    uint32_t h = 0, w = 0;
    bool known = false;
    if (got >= sizeof head && memcmp(head, png, sizeof png) == 0 && memcmp(head + 12, "IHDR", 4) == 0) {
        w = be32(head + 16);
        h = be32(head + 20);
        known = true;
    } else if (got >= 3 && head[0] == 0xFF && head[1] == 0xD8 && head[2] == 0xFF) {
        known = jpeg_size(f, &h, &w);
    }
    fclose(f);
    if (!known || h < 1 || w < 1 || h > INT32_MAX || w > INT32_MAX)
        return soma_fail(SOMA_EFORMAT, "%s: no PNG or JPEG, or its header is damaged", path);
    *height = (int)h;
    *width = (int)w;
    return SOMA_OK;
}
