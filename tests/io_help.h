/* For the tests of files: a temporary folder, and every allocation failing in turn. */
#ifndef SOMA_TESTS_IO_HELP_H
#define SOMA_TESTS_IO_HELP_H
#include "check.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* <name> in a folder of this process, which temporary_end removes with all that is in it. Valid until the fourth call
 * after. */
static char temporary_folder[256];
static inline const char *temporary(const char *name) {
    static char paths[4][600];
    static int next;
    if (temporary_folder[0] == 0) {
        const char *where = getenv("TMPDIR");
        snprintf(temporary_folder, sizeof temporary_folder, "%.200s/soma-test-", where != NULL ? where : P_tmpdir);
        memset(temporary_folder + strlen(temporary_folder), 88, 6); /* mkdtemp wants six capital X */
        if (mkdtemp(temporary_folder) == NULL)
            fail_msg("cannot make %s", temporary_folder);
    }
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", temporary_folder, name);
    return path;
}

/* How many files are in the temporary folder: none may be left behind by a failed write. */
static inline int temporary_count(void) {
    int n = 0;
    DIR *dir = opendir(temporary_folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static inline int temporary_end(void **state) {
    (void)state;
    if (temporary_folder[0] == 0)
        return 0;
    DIR *dir = opendir(temporary_folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlink(temporary(e->d_name));
    if (dir != NULL)
        closedir(dir);
    return rmdir(temporary_folder);
}

static inline void write_plain(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Calls `attempt` with the k-th allocation failing, k = 1, 2, …, until it succeeds: each failure must be SOMA_ENOMEM, and
 * nothing may stay allocated. `attempt` returns whether it succeeded and frees what it got. Returns how many allocations
 * failed in turn. */
static inline int64_t fail_each_allocation(bool (*attempt)(void *arg), void *arg) {
    soma_scope scope = soma_scope_begin();
    for (int i = 0; i < 5000;
         i++) /* debug builds keep the last 4,096 dead handles; from then on one goes for each that comes */
        soma_release(soma_keep(soma_empty(0, NULL, SOMA_F32)));
    soma_scope_end(scope);
    if (!attempt(arg)) /* also lets lists that live on grow to their size */
        fail_msg("fails even with memory: %s", soma_error_message());
    int64_t before = soma_memory_stats().current;
    for (int64_t k = 1; k < 100000; k++) {
        soma_memory_fail_at(k);
        bool ok = attempt(arg);
        soma_memory_fail_at(0);
        if (soma_memory_stats().current != before)
            fail_msg("allocation %lld: %lld bytes are lost", (long long)k,
                     (long long)(soma_memory_stats().current - before));
        if (ok) {
            check_ok();
            return k - 1;
        }
        check_error(SOMA_ENOMEM, "");
    }
    fail_msg("never succeeds");
    return 0;
}
#endif
