/* Images: real ones of every kind against known pixels, damaged ones, channels, PNG writing, resizing. */
#include "io_help.h"

#include "io/io.h"

#include <math.h>

static char path[1024];
static const char *in_set(const char *file) {
    snprintf(path, sizeof path, "%s/data/image-decoders/%s", shared_data(), file);
    return path;
}

static soma_csv *table(const char *file) {
    struct stat st;
    if (stat(in_set(file), &st) != 0) {
        print_message("[  SKIPPED ] no %s: set SOMA_SHARED to the folder with the test data\n", path);
        skip();
    }
    soma_csv *c = soma_csv_read(path);
    check_ok();
    return c;
}

static const char *cell(const soma_csv *c, int64_t row, const char *column) {
    int k = soma_csv_find(c, column);
    if (k < 0)
        fail_msg("no column %s", column);
    return soma_csv_cell(c, row, k);
}

/* ---- Real images -------------------------------------------------------------------------------------------------- */

static void test_png_set(void **state) {
    (void)state;
    soma_csv *c = table("png-expected.csv");
    int good = 0, bad = 0;
    for (int64_t i = 0; i < soma_csv_rows(c); i++) {
        soma_image image;
        char hex[65];
        soma_status status = soma_image_read(in_set(cell(c, i, "file")), 4, &image);
        if (strcmp(cell(c, i, "status"), "bad") == 0) {
            if (status == SOMA_OK)
                fail_msg("%s is damaged (%s) and was read", path, cell(c, i, "reason"));
            check_error(SOMA_EFORMAT, path);
            assert_null(image.pixels);
            bad++;
            continue;
        }
        check_ok();
        assert_int_equal(image.width, atoi(cell(c, i, "width")));
        assert_int_equal(image.height, atoi(cell(c, i, "height")));
        soma__sha256_hex(image.pixels, (size_t)image.width * (size_t)image.height * 4, hex);
        if (strcmp(hex, cell(c, i, "sha256_rgba8")) != 0)
            fail_msg("%s: the pixels differ", path);
        soma_image_free(&image);
        good++;
    }
    assert_true(good > 150 && bad > 15); /* the set is all there */
    soma_csv_free(c);
}

/* The channels that the file has: 0 gives 1 for grey and 3 for colour, by its colour type. */
static void test_png_native(void **state) {
    (void)state;
    soma_csv *c = table("png-expected.csv");
    for (int64_t i = 0; i < soma_csv_rows(c); i++) {
        int type = atoi(cell(c, i, "color_type"));
        soma_image image;
        char hex[65];
        if (strcmp(cell(c, i, "status"), "ok") != 0)
            continue;
        assert_int_equal(soma_image_read(in_set(cell(c, i, "file")), 0, &image), SOMA_OK);
        assert_int_equal(image.channels, type == 0 || type == 4 ? 1 : 3);
        if (strcmp(cell(c, i, "bit_depth"), "8") == 0 && (type == 0 || type == 2) &&
            strcmp(cell(c, i, "has_trns"), "0") == 0) {
            soma__sha256_hex(image.pixels, (size_t)image.width * (size_t)image.height * (size_t)image.channels, hex);
            assert_string_equal(hex, cell(c, i, "sha256_native"));
        }
        soma_image_free(&image);
    }
    soma_csv_free(c);
}

static int largest_difference(const soma_image *a, const soma_image *b) {
    int most = 0;
    for (size_t i = 0; i < (size_t)a->width * (size_t)a->height * (size_t)a->channels; i++)
        most = SOMA_MAX(most, abs(a->pixels[i] - b->pixels[i]));
    return most;
}

/* The means of what Pillow reads, to the three digits given, when this libjpeg has the same arithmetic; 0.6 levels
 * otherwise (an IDCT that rounds differently moves a mean by less than half a level). */
static void check_means(const soma_image *image, const char *means) {
    for (int c = 0; c < image->channels; c++) {
        double sum = 0, n = (double)image->width * image->height;
        for (size_t i = 0; i < (size_t)n; i++)
            sum += image->pixels[i * (size_t)image->channels + (size_t)c];
        char *end;
        double expected = strtod(means, &end);
        if (fabs(sum / n - expected) > 0.6)
            fail_msg("%s: mean of channel %d is %g, expected %g", path, c, sum / n, expected);
        means = end;
    }
}

static void test_jpeg_set(void **state) {
    (void)state;
    soma_csv *c = table("jpeg-expected.csv");
    int compared = 0, bad = 0;
    for (int64_t i = 0; i < soma_csv_rows(c); i++) {
        soma_image image, reference;
        const char *file = cell(c, i, "file"), *other = cell(c, i, "reference");
        soma_status status = soma_image_read(in_set(file), 0, &image);
        if (strcmp(cell(c, i, "libjpeg_turbo"), "ok") != 0) {
            if (status != SOMA_EFORMAT && status != SOMA_EUNSUPPORTED)
                fail_msg("%s is damaged, and reading it gave %s", path, soma_status_name(status));
            check_error(status, path);
            bad++;
            continue;
        }
        if (status == SOMA_EUNSUPPORTED && strcmp(cell(c, i, "process"), "arithmetic-sequential") == 0) {
            check_error(SOMA_EUNSUPPORTED, path); /* a libjpeg without arithmetic coding */
            continue;
        }
        check_ok();
        const char *mode = cell(c, i, "decoded_mode");
        assert_int_equal(image.channels, strcmp(mode, "L") == 0 ? 1 : 3);
        if (strcmp(mode, "L") == 0 || strcmp(mode, "RGB") == 0)
            check_means(&image, cell(c, i, "channel_means"));
        if (other[0] != 0) {
            assert_int_equal(soma_image_read(in_set(other), image.channels, &reference), SOMA_OK);
            assert_int_equal(image.width, reference.width);
            assert_int_equal(image.height, reference.height);
            if (largest_difference(&image, &reference) > 2) /* SOURCE.md: nearly all exact, a few within 2 */
                fail_msg("%s differs by %d from its reference", file, largest_difference(&image, &reference));
            soma_image_free(&reference);
            compared++;
        }
        soma_image_free(&image);
    }
    assert_true(compared > 50 && bad >= 10);
    soma_csv_free(c);
}

/* Every shorter file is damaged too, and no length may crash; real files of a few kinds. */
static void check_truncations(const char *file, size_t step) {
    soma_bytes b;
    soma_image image;
    struct stat st;
    if (stat(in_set(file), &st) != 0)
        skip();
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    for (size_t n = 0; n < b.size; n += step) {
        /* a copy of exactly that length, so that reading behind it is seen by AddressSanitizer and valgrind */
        uint8_t *shorter = malloc(n + 1);
        memcpy(shorter, b.data, n);
        soma_status status = soma_image_parse(shorter, n, 0, "cut", &image);
        if (status == SOMA_OK)
            fail_msg("%s cut to %zu of %zu bytes was read", file, n, b.size);
        check_error(SOMA_EFORMAT, "cut: ");
        free(shorter);
    }
    soma_bytes_free(&b);
}

static void test_truncated(void **state) {
    (void)state;
    check_truncations("pngsuite/basi3p04.png", 1);
    check_truncations("pngsuite/tbbn2c16.png", 7);
    check_truncations("photos/hippopotamus.jpeg", 1);
    check_truncations("photos/peacock.progressive.jpeg", 13);
}

/* One byte changed, everywhere in turn: an error or a picture, never a crash. PNG has checksums, so there it is always an
 * error. */
static void test_changed(void **state) {
    (void)state;
    static const char *const files[] = {"pngsuite/basi3p04.png", "photos/hippopotamus.jpeg"};
    for (size_t k = 0; k < SOMA_LEN(files); k++) {
        soma_bytes b;
        soma_image image;
        struct stat st;
        if (stat(in_set(files[k]), &st) != 0)
            skip();
        assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
        for (size_t i = 0; i < b.size; i++) {
            b.data[i] ^= 0x55;
            if (soma_image_parse(b.data, b.size, 3, "changed", &image) == SOMA_OK) {
                assert_int_equal(k, 1);
                soma_image_free(&image);
            } else {
                assert_true(soma_error() == SOMA_EFORMAT || soma_error() == SOMA_EUNSUPPORTED);
                soma_error_clear();
            }
            b.data[i] ^= 0x55;
        }
        soma_bytes_free(&b);
    }
}

static void count_warning(void *user, soma_log_level level, const char *text) {
    if (level == SOMA_LOG_WARNING && strstr(text, "premature end") != NULL)
        ++*(int *)user;
}

static void test_jpeg_warning(void **state) {
    (void)state;
    soma_image image;
    struct stat st;
    int warnings = 0;
    if (stat(in_set("jpeg-misc/partial_progressive.jpg"), &st) != 0)
        skip();
    soma_set_log(count_warning, &warnings);
    assert_int_equal(soma_image_read(path, 0, &image), SOMA_OK);
    soma_set_log(NULL, NULL);
    assert_int_equal(warnings, 1);
    soma_image_free(&image);
}

/* ---- Images made here --------------------------------------------------------------------------------------------- */

static soma_image drawn(int width, int height, int channels) {
    soma_image image = {.width = width, .height = height, .channels = channels};
    size_t n = (size_t)width * (size_t)height * (size_t)channels;
    image.pixels = malloc(n);
    for (size_t i = 0; i < n; i++)
        image.pixels[i] = (uint8_t)(i * 37 + i / 11 * 5);
    return image;
}

static void test_png_round_trip(void **state) {
    (void)state;
    const char *file = temporary("drawn.png");
    for (int channels = 1; channels <= 4; channels++) {
        soma_image in = drawn(13, 7, channels), out;
        assert_int_equal(soma_image_write_png(file, &in), SOMA_OK);
        if (channels == 2) { /* grey and alpha come back as grey on black, or as RGBA */
            assert_int_equal(soma_image_read(file, 1, &out), SOMA_OK);
            for (int i = 0; i < 13 * 7; i++)
                assert_int_equal(out.pixels[i], (in.pixels[2 * i] * in.pixels[2 * i + 1] + 127) / 255);
        } else {
            assert_int_equal(soma_image_read(file, channels, &out), SOMA_OK);
            assert_memory_equal(in.pixels, out.pixels, 13 * 7 * (size_t)channels);
        }
        assert_int_equal(out.width, 13);
        assert_int_equal(out.height, 7);
        soma_image_free(&out);
        free(in.pixels);
    }
    assert_int_equal(temporary_count(), 1);
}

static void test_channels(void **state) {
    (void)state;
    const char *file = temporary("channels.png");
    uint8_t pixels[] = {255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 128};
    soma_image in = {.width = 4, .height = 1, .channels = 4, .pixels = pixels}, out;
    assert_int_equal(soma_image_write_png(file, &in), SOMA_OK);
    assert_int_equal(soma_image_read(file, 1, &out), SOMA_OK);
    /* Pillow's luma of pure red, green and blue is 76, 150 and 29; white at alpha 128 on black is 128 */
    assert_memory_equal(out.pixels, ((uint8_t[]){76, 150, 29, 128}), 4);
    soma_image_free(&out);
    assert_int_equal(soma_image_read(file, 0, &out), SOMA_OK);
    assert_int_equal(out.channels, 3);
    assert_memory_equal(out.pixels, ((uint8_t[]){255, 0, 0, 0, 255, 0, 0, 0, 255, 128, 128, 128}), 12);
    soma_image_free(&out);
    uint8_t grey[] = {0, 77, 255};
    in = (soma_image){.width = 3, .height = 1, .channels = 1, .pixels = grey};
    assert_int_equal(soma_image_write_png(file, &in), SOMA_OK);
    assert_int_equal(soma_image_read(file, 4, &out), SOMA_OK);
    assert_memory_equal(out.pixels, ((uint8_t[]){0, 0, 0, 255, 77, 77, 77, 255, 255, 255, 255, 255}), 12);
    soma_image_free(&out);
}

static void check_parse_error(const void *data, size_t n, const char *part) {
    soma_image image;
    assert_int_equal(soma_image_parse(data, n, 0, "pic", &image), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, part);
    assert_null(image.pixels);
}

static void test_kinds(void **state) {
    (void)state;
    check_parse_error("", 0, "pic: empty");
    check_parse_error("GIF89a\1\0\1\0", 10, "pic: a GIF image; PNG and JPEG images can be read");
    check_parse_error("BM______", 8, "a BMP image");
    check_parse_error("RIFF\x10\0\0\0WEBPVP8 ", 16, "a WebP image");
    check_parse_error("II*\0\x08\0\0\0", 8, "a TIFF image");
    check_parse_error("\0\0\0\x20"
                      "ftypavif",
                      12, "an AVIF image");
    check_parse_error("\0\0\0\x20"
                      "ftypheic",
                      12, "a HEIC image");
    check_parse_error("<!DOCTYPE html>", 15, "an HTML page");
    check_parse_error("version https://", 16, "a Git LFS pointer");
    check_parse_error("\x89PNG\n\x1A\n\0", 8, "signature is wrong");
    check_parse_error("\xFF\xD8\xFF", 3, "pic: damaged JPEG: the file ends too early");
    check_parse_error("hello", 5, "unknown kind of file (it begins with 68 65 6c 6c 6f)");
    check_parse_error("\xFF\xD8", 2, "unknown kind");
    soma_image image;
    assert_int_equal(soma_image_parse("x", 1, 2, "pic", &image), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "2 channels wanted");
    assert_int_equal(soma_image_read(temporary("none.png"), 1, &image), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "none.png: cannot open");
}

/* A header that states a huge picture must not cost its memory. CRCs are right, so only the size is wrong. */
static void test_huge_header(void **state) {
    (void)state;
    static const uint8_t huge_png[] = {0x89, 'P', 'N', 'G', 13,  10,   26,   10,   0,    0, 0,    13,
                                       'I',  'H', 'D', 'R', 0,   0,    0x3A, 0x98, 0,    0, 0x3A, 0x98,
                                       8,    6,   0,   0,   0,   0xDE, 0x14, 0xC9, 0xA5, 0, 0,    0,
                                       0,    'I', 'D', 'A', 'T', 0x35, 0xAF, 0x06, 0x1E};
    soma_memory_reset_peak();
    int64_t before = soma_memory_stats().peak;
    check_parse_error(huge_png, sizeof huge_png, "the file is too short for the size it states");
    assert_true(soma_memory_stats().peak - before < 1 << 20);
    soma_image image = {.width = 70000, .height = 1, .channels = 1, .pixels = (uint8_t[]){0}};
    assert_int_equal(soma_image_write_png(temporary("huge.png"), &image), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "70000 x 1 pixels");
    image.width = 2;
    assert_int_equal(soma_image_resize(&image, 70000, 2, &image), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "70000 x 2");
}

/* ---- Resizing ----------------------------------------------------------------------------------------------------- */

static void test_resize_values(void **state) {
    (void)state;
    uint8_t line[] = {0, 100, 200, 40};
    soma_image in = {.width = 4, .height = 1, .channels = 1, .pixels = line}, out;
    /* twice as wide: centres at -0.25, 0.25, 0.75 … of the input, so 1/4 and 3/4 of the neighbours, and the edge at the
     * edge */
    assert_int_equal(soma_image_resize(&in, 8, 1, &out), SOMA_OK);
    assert_memory_equal(out.pixels, ((uint8_t[]){0, 25, 75, 125, 175, 160, 80, 40}), 8);
    soma_image_free(&out);
    /* half as wide: triangle of reach 2 around 0.5 and 2.5: weights 3/8 3/8 1/8 (of 7/8), and 1/8 3/8 3/8 (of 7/8) */
    assert_int_equal(soma_image_resize(&in, 2, 1, &out), SOMA_OK);
    int left = (int)lround((3 * 0 + 3 * 100 + 1 * 200) / 7.0), right = (int)lround((1 * 100 + 3 * 200 + 3 * 40) / 7.0);
    assert_int_equal(out.pixels[0], left);
    assert_int_equal(out.pixels[1], right);
    soma_image_free(&out);
    /* the same along columns */
    in.width = 1, in.height = 4;
    assert_int_equal(soma_image_resize(&in, 1, 2, &out), SOMA_OK);
    assert_int_equal(out.pixels[0], left);
    assert_int_equal(out.pixels[1], right);
    soma_image_free(&out);
}

/* Against the same formula in double, without the fixed point. Two roundings of 1/512 and 1/2 level, and weights good to
 * 1/65536 each: never more than one level off. */
static double resize_reference(const soma_image *in, int width, int height, int x, int y, int c) {
    double sx = (double)in->width / width, sy = (double)in->height / height, rx = fmax(sx, 1), ry = fmax(sy, 1);
    double cx = (x + 0.5) * sx - 0.5, cy = (y + 0.5) * sy - 0.5, sum = 0, total = 0;
    for (int j = 0; j < in->height; j++)
        for (int i = 0; i < in->width; i++) {
            double w = fmax(0, 1 - fabs(i - cx) / rx) * fmax(0, 1 - fabs(j - cy) / ry);
            total += w;
            sum += w * in->pixels[((size_t)j * (size_t)in->width + (size_t)i) * (size_t)in->channels + (size_t)c];
        }
    return sum / total;
}

static void test_resize_reference(void **state) {
    (void)state;
    static const int sizes[][4] = {{7, 5, 3, 9},  {28, 28, 32, 32}, {31, 17, 8, 8},  {1, 1, 5, 4},
                                   {64, 3, 1, 1}, {5, 6, 5, 12},    {40, 40, 39, 41}};
    for (size_t k = 0; k < SOMA_LEN(sizes); k++) {
        int width = sizes[k][2], height = sizes[k][3];
        soma_image in = drawn(sizes[k][0], sizes[k][1], 3), out;
        assert_int_equal(soma_image_resize(&in, width, height, &out), SOMA_OK);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int c = 0; c < 3; c++) {
                    double expected = resize_reference(&in, width, height, x, y, c);
                    int got = out.pixels[(y * width + x) * 3 + c];
                    if (fabs(got - expected) > 0.51)
                        fail_msg("%d x %d to %d x %d at (%d, %d): %d, expected %g", in.width, in.height, width, height, x,
                                 y, got, expected);
                }
        soma_image_free(&out);
        free(in.pixels);
    }
    soma_image white = {.width = 300, .height = 200, .channels = 1, .pixels = malloc(60000)}, out;
    memset(white.pixels, 255, 60000);
    assert_int_equal(soma_image_resize(&white, 28, 28, &out), SOMA_OK); /* white stays white */
    for (int i = 0; i < 784; i++)
        assert_int_equal(out.pixels[i], 255);
    soma_image_free(&out);
    free(white.pixels);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------- */

static bool try_parse(void *arg) {
    const soma_bytes *b = arg;
    soma_image image;
    if (soma_image_parse(b->data, b->size, 4, "pic", &image) != SOMA_OK)
        return false;
    soma_image_free(&image);
    return true;
}

static bool try_resize(void *arg) {
    soma_image out;
    if (soma_image_resize(arg, 5, 9, &out) != SOMA_OK)
        return false;
    soma_image_free(&out);
    return true;
}

static bool try_write(void *arg) { return soma_image_write_png(temporary("memory.png"), arg) == SOMA_OK; }

static bool try_read(void *arg) {
    soma_image image;
    if (soma_image_read(arg, 1, &image) != SOMA_OK)
        return false;
    soma_image_free(&image);
    return true;
}

static void test_allocations(void **state) {
    (void)state;
    soma_image image = drawn(9, 8, 2);
    char file[600];
    snprintf(file, sizeof file, "%s", temporary("memory.png"));
    assert_true(fail_each_allocation(try_write, &image) >= 3);
    assert_int_equal(temporary_count() >= 1, 1);
    assert_true(fail_each_allocation(try_resize, &image) >= 9);
    assert_true(fail_each_allocation(try_read, file) >= 4);
    soma_bytes b;
    assert_int_equal(soma_read_file(file, false, 0, &b), SOMA_OK);
    assert_true(fail_each_allocation(try_parse, &b) >= 4);
    soma_bytes_free(&b);
    free(image.pixels);
    struct stat st;
    if (stat(in_set("photos/peacock.progressive.jpeg"), &st) != 0)
        return;
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    assert_true(fail_each_allocation(try_parse, &b) == 2); /* libjpeg's own memory is not ours */
    soma_bytes_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_set),        cmocka_unit_test(test_png_native),
        cmocka_unit_test(test_jpeg_set),       cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_changed),        cmocka_unit_test(test_jpeg_warning),
        cmocka_unit_test(test_png_round_trip), cmocka_unit_test(test_channels),
        cmocka_unit_test(test_kinds),          cmocka_unit_test(test_huge_header),
        cmocka_unit_test(test_resize_values),  cmocka_unit_test(test_resize_reference),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, temporary_end);
}
