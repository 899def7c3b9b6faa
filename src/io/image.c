/* Images: which kind the bytes are, and the channels that the caller wants. The decoders are png.c and jpeg.c. What
 * holds: the kind is told by the bytes and not by the name; sizes are checked before memory is asked for; nothing in a
 * file (gamma, profile, EXIF orientation) changes pixels behind the caller's back, as in Pillow without a request. */
#include "io/image.h"

#include <string.h>

void soma_image_free(soma_image *image) {
    if (image == NULL)
        return;
    soma__free(image->pixels);
    *image = (soma_image){0};
}

soma_status soma__image_new(int64_t width, int64_t height, int channels, const char *name, soma_image *out) {
    *out = (soma_image){0};
    if (width < 1 || height < 1)
        return soma_fail(SOMA_EFORMAT, "%s: an image of %lld x %lld pixels", name, (long long)width, (long long)height);
    if (width > SOMA__IMAGE_SIDE || height > SOMA__IMAGE_SIDE || width * height > SOMA__IMAGE_PIXELS)
        return soma_fail(SOMA_EFORMAT, "%s: an image of %lld x %lld pixels; at most %d a side and %lld in all are read",
                         name, (long long)width, (long long)height, SOMA__IMAGE_SIDE, (long long)SOMA__IMAGE_PIXELS);
    uint8_t *pixels = soma__alloc((size_t)(width * height) * (size_t)channels);
    if (pixels == NULL)
        return SOMA_ENOMEM;
    *out = (soma_image){.width = (int)width, .height = (int)height, .channels = channels, .pixels = pixels};
    return SOMA_OK;
}

/* ---- Channels ----------------------------------------------------------------------------------------------------- */

/* Rec. 601 luma in 16-bit fixed point, as Pillow computes it: 0.299 R + 0.587 G + 0.114 B, to nearest. */
static inline uint8_t luma(unsigned r, unsigned g, unsigned b) {
    return (uint8_t)((r * 19595 + g * 38470 + b * 7471 + 32768) >> 16);
}

static inline uint8_t on_black(unsigned v, unsigned alpha) { return (uint8_t)((v * alpha + 127) / 255); }

/* `from` and `to` are constants where this is called, so each pair becomes a loop of its own. */
static inline void convert(const uint8_t *in, uint8_t *out, size_t n, int from, int to) {
    for (size_t i = 0; i < n; i++, in += from, out += to) {
        uint8_t r = in[0], g = in[from >= 3 ? 1 : 0], b = in[from >= 3 ? 2 : 0];
        uint8_t alpha = from == 2 ? in[1] : from == 4 ? in[3] : 255;
        if (to < 4 && (from == 2 || from == 4))
            r = on_black(r, alpha), g = on_black(g, alpha), b = on_black(b, alpha);
        if (to == 1) {
            out[0] = from >= 3 ? luma(r, g, b) : r;
            continue;
        }
        out[0] = r, out[1] = g, out[2] = b;
        if (to == 4)
            out[3] = alpha;
    }
}

static void convert_any(const uint8_t *in, uint8_t *out, size_t n, int from, int to) {
    switch (from * 10 + to) {
    case 13: convert(in, out, n, 1, 3); break;
    case 14: convert(in, out, n, 1, 4); break;
    case 21: convert(in, out, n, 2, 1); break;
    case 23: convert(in, out, n, 2, 3); break;
    case 24: convert(in, out, n, 2, 4); break;
    case 31: convert(in, out, n, 3, 1); break;
    case 34: convert(in, out, n, 3, 4); break;
    case 41: convert(in, out, n, 4, 1); break;
    default: convert(in, out, n, 4, 3); break;
    }
}

static soma_status with_channels(soma_image *image, int channels, const char *name) {
    if (channels == 0)
        channels = image->channels <= 2 ? 1 : 3;
    if (image->channels == channels)
        return SOMA_OK;
    soma_image wanted;
    soma_status status = soma__image_new(image->width, image->height, channels, name, &wanted);
    if (status == SOMA_OK)
        convert_any(image->pixels, wanted.pixels, (size_t)image->width * (size_t)image->height, image->channels,
                    channels);
    soma_image_free(image);
    *image = wanted;
    return status;
}

/* ---- Kinds -------------------------------------------------------------------------------------------------------- */

static const struct {
    uint16_t at;
    uint8_t length;
    const char *bytes, *kind;
} foreign[] = {
    {0, 4, "GIF8", "a GIF image"},
    {0, 2, "BM", "a BMP image"},
    {8, 4, "WEBP", "a WebP image"},
    {0, 4, "II*\0", "a TIFF image"},
    {0, 4, "MM\0*", "a TIFF image"},
    {0, 4, "II+\0", "a TIFF image"},
    {4, 8, "ftypavif", "an AVIF image"},
    {4, 8, "ftypavis", "an AVIF image"},
    {4, 7, "ftyphei", "a HEIC image"},
    {4, 8, "ftypmif1", "a HEIF image"},
    {4, 4, "ftyp", "a video or HEIF file"},
    {4, 4, "jP  ", "a JPEG 2000 image"},
    {0, 4, "\xFFO\xFFQ", "a JPEG 2000 image"},
    {0, 2, "\xFF\n", "a JPEG XL image"},
    {4, 4, "JXL ", "a JPEG XL image"},
    {0, 4, "\0\0\1\0", "a Windows icon"},
    {0, 4, "8BPS", "a Photoshop file"},
    {0, 2, "P1", "a PBM image"},
    {0, 2, "P2", "a PGM image"},
    {0, 2, "P3", "a PPM image"},
    {0, 2, "P4", "a PBM image"},
    {0, 2, "P5", "a PGM image"},
    {0, 2, "P6", "a PPM image"},
    {0, 4, "v/1\1", "an OpenEXR image"},
    {0, 10, "#?RADIANCE", "a Radiance image"},
    {0, 4, "qoif", "a QOI image"},
    {0, 4,
     "\x8A"
     "MNG",
     "an MNG animation"},
    {128, 4, "DICM", "a DICOM file"},
    {0, 6, "SIMPLE", "a FITS file"},
    {0, 4, "%PDF", "a PDF document"},
    {0, 4, "<svg", "an SVG drawing"},
    {0, 5, "<?xml", "an XML document (SVG?)"},
    {0, 9, "<!DOCTYPE", "an HTML page"},
    {0, 5, "<html", "an HTML page"},
    {0, 4, "PK\3\4", "a zip archive"},
    {0, 2, "\x1F\x8B", "gzip data"},
    {0, 12, "version http", "a Git LFS pointer, not the file itself"},
};

static const char *kind_of(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < SOMA_LEN(foreign); i++)
        if (size >= (size_t)foreign[i].at + foreign[i].length &&
            memcmp(data + foreign[i].at, foreign[i].bytes, foreign[i].length) == 0)
            return foreign[i].kind;
    return NULL;
}

static soma_status fail_kind(const uint8_t *data, size_t size, const char *name) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    if (size == 0)
        return soma_fail(SOMA_EFORMAT, "%s: empty, and a PNG or JPEG image was expected", name);
    size_t same = 0;
    for (size_t i = 0; i < 8 && i < size; i++)
        same += data[i] == signature[i];
    if (same >= 4) /* three bytes more than chance; text mode transfers change the line ends */
        return soma_fail(SOMA_EFORMAT, "%s: damaged PNG: the signature is wrong (changed in transfer?)", name);
    const char *kind = kind_of(data, size);
    if (kind != NULL)
        return soma_fail(SOMA_EFORMAT, "%s: %s; PNG and JPEG images can be read", name, kind);
    char bytes[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < size; i++) {
        bytes[3 * i] = "0123456789abcdef"[data[i] >> 4];
        bytes[3 * i + 1] = "0123456789abcdef"[data[i] & 15];
        bytes[3 * i + 2] = i < 7 && i + 1 < size ? ' ' : 0;
    }
    return soma_fail(SOMA_EFORMAT, "%s: an unknown kind of file (it begins with %s); PNG and JPEG images can be read",
                     name, bytes);
}

/* ---- Public ------------------------------------------------------------------------------------------------------- */

soma_status soma_image_parse(const void *data, size_t size, int channels, const char *name, soma_image *out) {
    if ((data == NULL && size > 0) || name == NULL || out == NULL)
        return soma_fail(SOMA_EINVAL, "soma_image_parse: no data, name or place for the image");
    *out = (soma_image){0};
    if (channels != 0 && channels != 1 && channels != 3 && channels != 4)
        return soma_fail(SOMA_EINVAL, "%s: %d channels wanted; 1, 3, 4, or 0 for what the file has", name, channels);
    soma_status status;
    if (size >= 8 && memcmp(data, "\x89PNG\r\n\x1A\n", 8) == 0)
        status = soma__png_decode(data, size, name, out);
    else if (size >= 3 && memcmp(data, "\xFF\xD8\xFF", 3) == 0)
        status = soma__jpeg_decode(data, size, name, out);
    else
        status = fail_kind(data, size, name);
    return status == SOMA_OK ? with_channels(out, channels, name) : status;
}

soma_status soma_image_read(const char *path, int channels, soma_image *out) {
    if (path == NULL || out == NULL)
        return soma_fail(SOMA_EINVAL, "soma_image_read: no path, or no place for the image");
    *out = (soma_image){0};
    soma_bytes bytes;
    soma_status status = soma_read_file(path, false, (size_t)1 << 30, &bytes);
    if (status != SOMA_OK)
        return status;
    status = soma_image_parse(bytes.data, bytes.size, channels, path, out);
    soma_bytes_free(&bytes);
    return status;
}

soma_status soma_image_write_png(const char *path, const soma_image *image) {
    if (path == NULL || image == NULL || image->pixels == NULL)
        return soma_fail(SOMA_EINVAL, "soma_image_write_png: no path or no pixels");
    if (image->width < 1 || image->height < 1 || image->width > SOMA__IMAGE_SIDE || image->height > SOMA__IMAGE_SIDE ||
        image->channels < 1 || image->channels > 4)
        return soma_fail(
            SOMA_EINVAL,
            "%s: an image of %d x %d pixels and %d channels cannot be written; 1 to %d a side and 1 to 4 channels", path,
            image->width, image->height, image->channels, SOMA__IMAGE_SIDE);
    soma__text text = {0};
    soma_status status = soma__png_encode(image, path, &text);
    if (status == SOMA_OK)
        status = soma_write_file(path, text.data, text.size);
    soma__text_free(&text);
    return status;
}
