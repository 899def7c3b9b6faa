/* Whole files: reading with a limit, and writing so that a reader sees the old file or the new one and nothing between,
 * whatever happens meanwhile. Every message begins with the path. */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One call moves at most 2 GiB less a page on Linux; smaller steps cost nothing. */
#define STEP ((size_t)1 << 30)

void soma_bytes_free(soma_bytes *b) {
    if (b == NULL)
        return;
    soma__free(b->data);
    b->data = NULL;
    b->size = 0;
}

static soma_status fail_errno(const char *path, const char *what) {
    int e = errno;
    return soma_fail(e == ENOENT || e == ENOTDIR ? SOMA_ENOTFOUND
                     : e == ENOMEM               ? SOMA_ENOMEM
                                                 : SOMA_EIO,
                     "%s: %s: %s", path, what, strerror(e));
}

static soma_status fail_limit(const char *path, size_t limit) {
    return soma_fail(SOMA_EFORMAT, "%s: larger than the %zu bytes that are allowed here", path, limit);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

/* Reads to the end. The size that the system gave is only a first guess: files in /proc say 0, pipes say nothing, and a file may grow
 * while it is read. A read that asks for more than the size and gets just that has met the end. One byte more than the contents is kept
 * for a final 0. */
static soma_status read_all(int fd, const char *path, size_t guess, size_t limit, soma_bytes *out) {
    size_t room = SOMA_MIN(guess, limit) + 2;
    uint8_t *data = soma__alloc(room);
    size_t size = 0;
    if (data == NULL)
        return SOMA_ENOMEM;
    for (;;) {
        if (size + 1 == room) {
            size_t larger = room < 32768 ? 65536 : room + room / 2;
            uint8_t *grown = soma__realloc(data, larger);
            if (grown == NULL) {
                soma__free(data);
                return SOMA_ENOMEM;
            }
            data = grown, room = larger;
        }
        ssize_t got = read(fd, data + size, SOMA_MIN(room - 1 - size, STEP));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            soma_status status = fail_errno(path, "cannot read");
            soma__free(data);
            return status;
        }
        size += (size_t)SOMA_MAX(got, 0);
        if (got == 0 || size == guess)
            break;
        if (size > limit) {
            soma__free(data);
            return fail_limit(path, limit);
        }
    }
    data[size] = 0;
    *out = (soma_bytes){.data = data, .size = size};
    return SOMA_OK;
}

static soma_status read_plain(const char *path, size_t limit, soma_bytes *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail_errno(path, "cannot open");
    struct stat st;
    soma_status status;
    if (fstat(fd, &st) != 0)
        status = fail_errno(path, "cannot read");
    else if (S_ISDIR(st.st_mode))
        status = soma_fail(SOMA_EIO, "%s: is a folder, and a file was expected", path);
    else if (S_ISREG(st.st_mode) && st.st_size > 0 && (uintmax_t)st.st_size > limit)
        status = fail_limit(path, limit);
    else
        status = read_all(fd, path, S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : 0, limit, out);
    close(fd);
    return status;
}

soma_status soma_read_file(const char *path, bool gunzip, size_t limit, soma_bytes *out) {
    if (path == NULL || out == NULL)
        return soma_fail(SOMA_EINVAL, "soma_read_file: no path, or no place for the bytes");
    *out = (soma_bytes){0};
    if (limit == 0)
        limit = SOMA__FILE_LIMIT;
    if (limit > SIZE_MAX / 4)
        limit = SIZE_MAX / 4;
    soma_bytes raw = {0};
    soma_status status = read_plain(path, limit, &raw);
    if (status != SOMA_OK || !gunzip || !soma__is_gzip(raw.data, raw.size)) {
        *out = raw;
        return status;
    }
    status = soma__gunzip(raw.data, raw.size, limit, path, out);
    soma_bytes_free(&raw);
    return status;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static void writer_drop(soma__writer *w) {
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary != NULL)
        unlink(w->temporary);
    soma__free(w->temporary);
    soma__free(w->path);
    w->fd = -1;
    w->path = w->temporary = NULL;
}

static soma_status writer_fail(soma__writer *w, const char *what) {
    soma_status status = errno == ENOENT || errno == ENOTDIR
                             ? soma_fail(SOMA_EIO, "%s: %s: the folder does not exist", w->path, what)
                             : soma_fail(SOMA_EIO, "%s: %s: %s", w->path, what, strerror(errno));
    writer_drop(w);
    return w->status = status;
}

/* Length of the folder part of `path`, with its last slash; 0: the current folder. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

/* ".soma-<process>-<number>.tmp" in the folder of the file: short, so that it fits wherever the name itself does. */
static soma_status open_temporary(soma__writer *w, mode_t mode) {
    static unsigned count;
    size_t folder = folder_length(w->path), room = folder + 64;
    w->temporary = soma__alloc(room);
    if (w->temporary == NULL) {
        writer_drop(w);
        return w->status = SOMA_ENOMEM;
    }
    memcpy(w->temporary, w->path, folder);
    for (int tries = 0; tries < 100; tries++) {
        unsigned number = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
        snprintf(w->temporary + folder, room - folder, ".soma-%ld-%u.tmp", (long)getpid(), number);
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (w->fd >= 0 || errno != EEXIST) /* a dead process with our number may have left one */
            break;
    }
    if (w->fd >= 0)
        return SOMA_OK;
    soma__free(w->temporary);
    w->temporary = NULL; /* nothing to remove */
    return writer_fail(w, "cannot write");
}

soma_status soma__writer_open(soma__writer *w, const char *path) {
    *w = (soma__writer){.fd = -1};
    if (path == NULL || path[0] == 0)
        return w->status = soma_fail(SOMA_EINVAL, "no file name to write to");
    char real[PATH_MAX];
    struct stat st;
    bool exists = stat(path, &st) == 0;
    w->path = soma__strdup(exists && realpath(path, real) != NULL ? real : path);
    if (w->path == NULL)
        return w->status = SOMA_ENOMEM;
    if (exists && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return writer_fail(w, "cannot write");
    }
    if (exists && !S_ISREG(st.st_mode)) {
        w->fd = open(w->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        return w->fd >= 0 ? SOMA_OK : writer_fail(w, "cannot write");
    }
    /* A file that its owner made read-only is not replaced, although the folder would allow it. */
    if (exists && access(w->path, W_OK) != 0)
        return writer_fail(w, "cannot write");
    soma_status status = open_temporary(w, 0666);
    if (status == SOMA_OK && exists && fchmod(w->fd, st.st_mode & 07777) != 0)
        return writer_fail(w, "cannot keep the permissions");
    return status;
}

soma_status soma__writer_put(soma__writer *w, const void *data, size_t size) {
    if (w->status != SOMA_OK)
        return w->status;
    const char *p = data;
    while (size > 0) {
        ssize_t put = write(w->fd, p, SOMA_MIN(size, STEP));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            if (put == 0)
                errno = EIO;
            return writer_fail(w, "cannot write");
        }
        p += put, size -= (size_t)put;
    }
    return SOMA_OK;
}

/* The new name itself must reach the disk. A folder that may not be read, or a file system that cannot do it, is no
 * error: the file is there and whole. */
static int sync_folder(const char *path) {
    char folder[PATH_MAX];
    size_t n = folder_length(path);
    if (n >= sizeof folder)
        return 0;
    memcpy(folder, path, n);
    folder[n] = 0;
    int fd = open(n > 0 ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int failed = fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS;
    int e = errno;
    close(fd);
    errno = e;
    return failed;
}

soma_status soma__writer_close(soma__writer *w) {
    if (w->status != SOMA_OK)
        return w->status;
    if (w->temporary == NULL) { /* direct: pipes cannot be synced */
        int failed = close(w->fd);
        w->fd = -1;
        if (failed)
            return writer_fail(w, "cannot write");
        writer_drop(w);
        return SOMA_OK;
    }
    if (fsync(w->fd) != 0)
        return writer_fail(w, "cannot write to the disk");
    int failed = close(w->fd);
    w->fd = -1;
    if (failed)
        return writer_fail(w, "cannot write");
    if (rename(w->temporary, w->path) != 0)
        return writer_fail(w, "cannot rename the finished file");
    soma__free(w->temporary);
    w->temporary = NULL;
    if (sync_folder(w->path))
        return writer_fail(w, "cannot write the folder to the disk");
    writer_drop(w);
    return SOMA_OK;
}

void soma__writer_abort(soma__writer *w) {
    writer_drop(w);
    if (w->status == SOMA_OK)
        w->status = SOMA_ESTOPPED;
}

soma_status soma_write_file(const char *path, const void *data, size_t size) {
    if (path == NULL || (data == NULL && size > 0))
        return soma_fail(SOMA_EINVAL, "soma_write_file: no path or no data");
    soma__writer w;
    (void)soma__writer_open(&w, path);
    (void)soma__writer_put(&w, data, size);
    return soma__writer_close(&w);
}
