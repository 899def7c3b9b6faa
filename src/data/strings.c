/* Lists of strings, paths and listings of folders, for the sources. Listings are sorted, so that nothing depends on the order in
 * which a file system happens to give names. */
#define _GNU_SOURCE /* qsort_r */
#include "data/dataset.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

bool soma__strings_add(soma__strings *s, const char *text) {
    size_t size = strlen(text) + 1;
    if (s->used + size > s->room) {
        size_t room = SOMA_MAX(s->room * 2, s->used + size + 256);
        char *bytes = soma__realloc(s->bytes, room);
        if (!bytes)
            return false;
        s->bytes = bytes;
        s->room = room;
    }
    if (s->n == s->n_room) {
        int64_t room = SOMA_MAX(16, s->n_room * 2);
        size_t *start = soma__realloc(s->start, (size_t)room * sizeof *start);
        if (!start)
            return false;
        s->start = start;
        s->n_room = room;
    }
    memcpy(s->bytes + s->used, text, size);
    s->start[s->n++] = s->used;
    s->used += size;
    return true;
}

const char *soma__strings_at(const soma__strings *s, int64_t i) { return s->bytes + s->start[i]; }

void soma__strings_keep(soma__strings *s, const uint8_t *bad) {
    int64_t kept = 0;
    for (int64_t i = 0; i < s->n; i++)
        if (!bad[i])
            s->start[kept++] = s->start[i];
    s->n = kept;
}

static int by_bytes(const void *a, const void *b, void *bytes) {
    return strcmp((const char *)bytes + *(const size_t *)a, (const char *)bytes + *(const size_t *)b);
}

void soma__strings_sort(soma__strings *s) {
    if (s->n > 1)
        qsort_r(s->start, (size_t)s->n, sizeof *s->start, by_bytes, s->bytes);
}

void soma__strings_free(soma__strings *s) {
    soma__free(s->bytes);
    soma__free(s->start);
    *s = (soma__strings){0};
}

const char *soma__strings_show(const soma__strings *s, int most, char *out, size_t size) {
    size_t at = 0;
    out[0] = 0;
    for (int64_t i = 0; i < s->n && at < size; i++) {
        const char *name = i < most ? soma__strings_at(s, i) : "…";
        int n = snprintf(out + at, size - at, "%s%s", i ? ", " : "", name);
        at += n > 0 ? (size_t)n : 0;
        if (i >= most)
            break;
    }
    return out;
}

char *soma__path_join(const char *folder, const char *name) {
    size_t a = strlen(folder), b = strlen(name);
    char *path = soma__alloc(a + b + 2);
    if (!path)
        return NULL;
    memcpy(path, folder, a);
    if (a > 0 && folder[a - 1] != '/')
        path[a++] = '/';
    memcpy(path + a, name, b + 1);
    return path;
}

bool soma__is_file(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && !S_ISDIR(s.st_mode);
}

bool soma__is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool soma__ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

bool soma__is_image_name(const char *name) {
    return soma__ends_with(name, ".png") || soma__ends_with(name, ".jpg") || soma__ends_with(name, ".jpeg");
}

bool soma__is_integer(const char *text) {
    const char *digits = text + (*text == '-');
    size_t n = strlen(digits);
    return n >= 1 && n <= 18 && strspn(digits, "0123456789") == n;
}

/* The listing says what most entries are; links, and entries of file systems that do not say, are asked. */
static bool list_one(const char *folder, const struct dirent *e, soma__strings *files, soma__strings *folders) {
    bool is_folder = e->d_type == DT_DIR;
    if (e->d_type == DT_LNK || e->d_type == DT_UNKNOWN) {
        char *path = soma__path_join(folder, e->d_name);
        if (!path)
            return false;
        is_folder = soma__is_folder(path);
        soma__free(path);
    }
    soma__strings *list = is_folder ? folders : files;
    return !list || soma__strings_add(list, e->d_name);
}

soma_status soma__list_folder(const char *folder, soma__strings *files, soma__strings *folders) {
    DIR *dir = opendir(folder);
    if (!dir)
        return soma_fail(errno == ENOENT ? SOMA_ENOTFOUND : SOMA_EIO, "%s: %s", folder, strerror(errno));
    soma_status status = SOMA_OK;
    for (struct dirent *e; status == SOMA_OK && (errno = 0, e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && !list_one(folder, e, files, folders))
            status = SOMA_ENOMEM;
    if (status == SOMA_OK && errno != 0)
        status = soma_fail(SOMA_EIO, "%s: %s", folder, strerror(errno));
    closedir(dir);
    if (status != SOMA_OK) {
        if (files)
            soma__strings_free(files);
        if (folders)
            soma__strings_free(folders);
        return status;
    }
    if (files)
        soma__strings_sort(files);
    if (folders)
        soma__strings_sort(folders);
    return SOMA_OK;
}
