/* Running gnuplot: see gnuplot.h. */
#include "gnuplot.h"

#include <soma/soma.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The program's path, from SOMA_GNUPLOT or PATH; NULL when there is none. */
static const char *find_program(char *out, size_t size)
{
    const char *own = getenv("SOMA_GNUPLOT"), *path = getenv("PATH");
    if (own)
        return *own && access(own, X_OK) == 0 ? own : NULL;
    while (path && *path) {
        size_t length = strcspn(path, ":");
        snprintf(out, size, "%.*s/gnuplot", (int)length, length ? path : ".");
        if (length && access(out, X_OK) == 0)
            return out;
        path += length + (path[length] == ':');
    }
    return NULL;
}

bool gnuplot_found(void)
{
    char path[4096];
    return find_program(path, sizeof path) != NULL;
}

typedef struct child {
    pid_t pid;
    int out, err; /* read ends */
} child;

static void be_child(const char *program, char *const argv[], const char *dir, const int out[2], const int err[2])
{
    if (dup2(out[1], STDOUT_FILENO) < 0 || dup2(err[1], STDERR_FILENO) < 0 || (dir && chdir(dir)))
        _exit(126);
    close(out[0]);
    close(out[1]);
    close(err[0]);
    close(err[1]);
    execv(program, argv);
    _exit(127);
}

static soma_status start(const char *program, char *const argv[], const char *dir, child *c)
{
    int out[2], err[2];
    if (pipe(out))
        return soma_fail(SOMA_EIO, "cannot start gnuplot: %s", strerror(errno));
    if (pipe(err)) {
        close(out[0]);
        close(out[1]);
        return soma_fail(SOMA_EIO, "cannot start gnuplot: %s", strerror(errno));
    }
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0)
        be_child(program, argv, dir, out, err);
    close(out[1]);
    close(err[1]);
    c->out = out[0];
    c->err = err[0];
    if (c->pid > 0)
        return SOMA_OK;
    close(out[0]);
    close(err[0]);
    return soma_fail(SOMA_EIO, "cannot start gnuplot: %s", strerror(errno));
}

/* Reads both pipes to their ends, so that neither can fill up while the other is waited for. The first lines of stderr stay. */
static int finish(child *c, FILE *out, char *errors, size_t size)
{
    struct pollfd fds[2] = {{.fd = c->out, .events = POLLIN}, {.fd = c->err, .events = POLLIN}};
    size_t kept = 0;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        for (int i = 0; i < 2; i++) {
            char buffer[4096];
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            ssize_t n = read(fds[i].fd, buffer, sizeof buffer);
            if (n <= 0) {
                fds[i].fd = n < 0 && errno == EINTR ? fds[i].fd : -1;
            } else if (i == 0 && out) {
                fwrite(buffer, 1, (size_t)n, out);
            } else if (i == 1) {
                size_t take = (size_t)n < size - 1 - kept ? (size_t)n : size - 1 - kept;
                memcpy(errors + kept, buffer, take);
                kept += take;
            }
        }
    }
    errors[kept] = 0;
    close(c->out);
    close(c->err);
    int status = -1;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* gnuplot's message is the last line that says something; what stands before is the script's line and a mark under it. */
static const char *last_line(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = 0;
    char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

soma_status gnuplot_run(const char *script, const char *setup, FILE *out)
{
    char program[4096], dir[4096], errors[2048];
    const char *path = find_program(program, sizeof program), *slash = strrchr(script, '/');
    if (!path)
        return soma_fail(SOMA_EUNSUPPORTED, "%s; the script %s is written", GNUPLOT_HINT, script);
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - script) : 1, slash ? script : ".");
    char *argv[] = {"gnuplot", "-e", (char *)setup, (char *)(slash ? slash + 1 : script), NULL};
    child c;
    soma_status status = start(path, argv, slash == script ? "/" : dir, &c);
    if (status)
        return status;
    int code = finish(&c, out, errors, sizeof errors);
    if (WIFEXITED(code) && WEXITSTATUS(code) == 0)
        return SOMA_OK;
    return soma_fail(SOMA_EIO, "gnuplot could not draw %s: %s", script, *errors ? last_line(errors) : "it gave no reason");
}

bool gnuplot_version(char *out, size_t size)
{
    char program[4096], errors[256], *text = NULL;
    const char *path = find_program(program, sizeof program);
    char *argv[] = {"gnuplot", "--version", NULL};
    child c;
    if (!path || start(path, argv, NULL, &c))
        return false;
    size_t length = 0;
    FILE *f = open_memstream(&text, &length);
    int code = finish(&c, f, errors, sizeof errors);
    if (f)
        fclose(f);
    bool ok = WIFEXITED(code) && WEXITSTATUS(code) == 0 && text && !strncmp(text, "gnuplot ", 8);
    if (ok)
        snprintf(out, size, "%.*s", (int)strcspn(text + 8, "\n"), text + 8);
    free(text);
    return ok;
}
