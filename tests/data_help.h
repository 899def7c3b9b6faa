/* For the tests of data sets: a temporary tree of folders, small files in it, and what the log said. */
#ifndef SOMA_TESTS_DATA_HELP_H
#define SOMA_TESTS_DATA_HELP_H
#define _GNU_SOURCE /* nftw */
#include "check.h"

#include "data/dataset.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Debug builds keep dead tensor handles for a while, so that bytes in use cannot be compared there. */
#ifdef NDEBUG
enum { BYTES_EXACT = 1 };
#else
enum { BYTES_EXACT = 0 };
#endif

static char tree[200];

static inline int remove_one(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s, (void)kind, (void)at;
    return remove(path);
}

static inline int tree_end(void **state)
{
    (void)state;
    if (tree[0])
        nftw(tree, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    tree[0] = 0;
    return 0;
}

/* A path in the temporary tree; the folders on the way are made. Valid until the eighth call after. */
static inline const char *at(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline const char *at(const char *format, ...)
{
    static char paths[8][1024];
    static int next;
    if (!tree[0]) {
        const char *where = getenv("TMPDIR");
        snprintf(tree, sizeof tree, "%.150s/soma-data-XXXXXX", where ? where : "/tmp");
        if (!mkdtemp(tree))
            fail_msg("cannot make %s", tree);
    }
    char *path = paths[next++ % 8];
    int n = snprintf(path, 1024, "%s/", tree);
    va_list args;
    va_start(args, format);
    vsnprintf(path + n, 1024 - (size_t)n, format, args);
    va_end(args);
    for (char *p = path + n; (p = strchr(p, '/')) != NULL; p++) {
        *p = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            fail_msg("cannot make %s", path);
        *p = '/';
    }
    return path;
}

static inline void put_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        fail_msg("cannot write %s", path);
}

static inline void put_text(const char *path, const char *text) { put_bytes(path, text, strlen(text)); }

/* A PNG whose pixel (y, x, channel) is a function of `mark`. */
static inline uint8_t pixel_of(int mark, int y, int x, int k) { return (uint8_t)(mark * 31 + y * 7 + x * 3 + k * 50); }

static inline void put_image(const char *path, int height, int width, int channels, int mark)
{
    uint8_t *pixels = malloc((size_t)height * (size_t)width * (size_t)channels);
    for (int i = 0; i < height * width * channels; i++)
        pixels[i] = pixel_of(mark, i / channels / width, i / channels % width, i % channels);
    soma_image image = {.width = width, .height = height, .channels = channels, .pixels = pixels};
    if (soma_image_write_png(path, &image) != SOMA_OK)
        fail_msg("%s", soma_error_message());
    free(pixels);
}

/* Cuts a file to `keep` bytes. */
static inline void cut(const char *path, long keep)
{
    if (truncate(path, keep) != 0)
        fail_msg("cannot cut %s", path);
}

/* An IDX file of bytes. */
static inline void put_idx(const char *path, int ndim, const int *shape, const uint8_t *bytes)
{
    uint8_t head[4 + 4 * 4] = {0, 0, 8, (uint8_t)ndim};
    size_t n = 1;
    for (int i = 0; i < ndim; i++) {
        head[4 + 4 * i + 2] = (uint8_t)(shape[i] >> 8);
        head[4 + 4 * i + 3] = (uint8_t)shape[i];
        n *= (size_t)shape[i];
    }
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(head, 1, 4 + 4 * (size_t)ndim, f) != 4 + 4 * (size_t)ndim || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        fail_msg("cannot write %s", path);
}

static char logged[16384];
static int n_logged;

static inline void keep_log(void *user, soma_log_level level, const char *text)
{
    (void)user, (void)level;
    n_logged++;
    size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", text);
}

static inline void log_begin(void)
{
    logged[0] = 0;
    n_logged = 0;
    soma_set_log(keep_log, NULL);
}

static inline void log_end(void) { soma_set_log(NULL, NULL); }

#define check_text(text, part)                                                                                         \
    do {                                                                                                               \
        const char *text_ = (text);                                                                                    \
        if (!text_ || !strstr(text_, (part)))                                                                          \
            fail_msg("expected \"%s\" in: %s", (part), text_ ? text_ : "(null)");                                      \
    } while (0)

/* Runs `body` with allocation 1, 2, … failing, until it gets through: body returns true when it worked, and on failure must have
 * recorded SOMA_ENOMEM and given everything back. */
static inline void fail_each_allocation(bool (*body)(void *), void *arg)
{
    soma_memory_fail_at(0);
    if (!body(arg)) /* warms up: tables and ids that are made once */
        fail_msg("without a failing allocation: %s", soma_error_message());
    for (int64_t k = 1; k < 100000; k++) {
        int64_t before = soma_memory_stats().current;
        soma_memory_fail_at(k);
        bool worked = body(arg);
        soma_memory_fail_at(0);
        if (!worked && soma_error() != SOMA_ENOMEM)
            fail_msg("allocation %lld: expected SOMA_ENOMEM, got %s: %s", (long long)k, soma_status_name(soma_error()), soma_error_message());
        if (worked && soma_error() != SOMA_OK)
            fail_msg("allocation %lld: worked, but %s", (long long)k, soma_error_message());
        soma_error_clear();
        if (BYTES_EXACT && soma_memory_stats().current != before)
            fail_msg("allocation %lld: %lld bytes lost", (long long)k, (long long)(soma_memory_stats().current - before));
        if (worked)
            return;
    }
    fail_msg("never got through");
}
#endif
