/* The record of a training: soma_history in memory, metrics.jsonl in the run folder. The file only ever grows by whole
 * lines, each written at once; a line that could not be written in full is taken back. */
#include "io/json.h"
#include "data/dataset.h"
#include "train/train.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void soma_history_free(soma_history *h) {
    if (!h) return;
    soma__free(h->epochs);
    *h = (soma_history){.best = -1};
}

soma_status soma__history_add(soma_history *h, const soma_epoch *e) {
    soma_epoch *more = soma__realloc(h->epochs, (size_t)(h->n + 1) * sizeof(*more));
    if (!more) return soma_error();
    h->epochs = more;
    h->epochs[h->n] = *e;
    if (e->best) {
        for (int64_t i = 0; i < h->n; i++) h->epochs[i].best = false;
        h->best = h->n;
    }
    h->n++;
    return SOMA_OK;
}

/* ---- Lines --------------------------------------------------------------------------------------------- */

static soma_status write_error(const soma__log_file *f, int cause) {
    return soma_fail(SOMA_EIO, "%s: cannot write: %s", f->path, strerror(cause));
}

static soma_status put_line(soma__log_file *f, soma__text *line) {
    if (line->failed) {
        soma__text_free(line);
        return soma_fail(SOMA_ENOMEM, "no memory for a line of %s", f->path);
    }
    off_t start = lseek(f->fd, 0, SEEK_END);
    size_t done = 0;
    while (done < line->size) {
        ssize_t wrote = write(f->fd, line->data + done, line->size - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) {
            int cause = errno;
            if (start >= 0 && ftruncate(f->fd, start) != 0)
                soma__log(SOMA_LOG_WARNING, "%s: its last line is incomplete: %s", f->path, strerror(errno));
            soma__text_free(line);
            return write_error(f, cause);
        }
        done += (size_t)wrote;
    }
    f->lines++;
    soma__text_free(line);
    return SOMA_OK;
}

static void put_number(soma__text *t, const char *key, double v) {
    soma__text_add(t, ",\"%s\":", key);
    soma__json_put_number(t, v);
}

soma_status soma__log_step(soma__log_file *f, const soma_progress *p) {
    if (f->fd < 0) return SOMA_OK;
    soma__text t = {0};
    soma__text_add(&t, "{\"kind\":\"step\",\"epoch\":%lld,\"step\":%lld", (long long)p->epoch, (long long)p->total_step);
    put_number(&t, "loss", p->loss);
    put_number(&t, "accuracy", p->accuracy);
    put_number(&t, "lr", p->lr);
    put_number(&t, "grad_norm", p->grad_norm);
    put_number(&t, "samples_per_second", p->samples_per_second);
    soma__text_add(&t, "}\n");
    return put_line(f, &t);
}

soma_status soma__log_epoch(soma__log_file *f, const soma_epoch *e) {
    if (f->fd < 0) return SOMA_OK;
    soma__text t = {0};
    soma__text_add(&t, "{\"kind\":\"epoch\",\"epoch\":%lld,\"step\":%lld", (long long)e->epoch, (long long)e->steps);
    put_number(&t, "train_loss", e->train_loss);
    put_number(&t, "train_accuracy", e->train_accuracy);
    put_number(&t, "val_loss", e->val_loss);
    put_number(&t, "val_accuracy", e->val_accuracy);
    put_number(&t, "lr", e->lr);
    soma__text_add(&t, ",\"best\":%s", e->best ? "true" : "false");
    put_number(&t, "seconds", e->seconds);
    put_number(&t, "samples_per_second", e->samples_per_second);
    soma__text_add(&t, "}\n");
    return put_line(f, &t);
}

/* ---- Opening ------------------------------------------------------------------------------------------- */

/* Where line `keep` ends (from 0: the start of the file), or the end of the last whole line when there are fewer; lines
 * counted. */
static off_t end_of_line(int fd, int64_t keep, int64_t *lines) {
    char block[65536];
    off_t at = 0, end = 0;
    *lines = 0;
    while (*lines < keep) {
        ssize_t got = pread(fd, block, sizeof(block), at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        for (ssize_t i = 0; i < got && *lines < keep; i++) {
            if (block[i] != '\n') continue;
            end = at + i + 1;
            ++*lines;
        }
        at += got;
    }
    return end;
}

soma_status soma__log_open(soma__log_file *f, const char *dir, int64_t keep) {
    *f = (soma__log_file){.fd = -1};
    f->path = soma__path_join(dir, "metrics.jsonl");
    if (!f->path) return soma_error();
    f->fd = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (f->fd < 0) return soma_fail(SOMA_EIO, "%s: cannot open: %s", f->path, strerror(errno));
    off_t end = end_of_line(f->fd, keep, &f->lines);
    if (end < 0) return soma_fail(SOMA_EIO, "%s: cannot read: %s", f->path, strerror(errno));
    if (ftruncate(f->fd, end) != 0) return write_error(f, errno);
    if (f->lines < keep)
        soma__log(SOMA_LOG_WARNING, "%s: has %lld lines where the checkpoint expects %lld; earlier ones are lost", f->path,
                  (long long)f->lines, (long long)keep);
    return SOMA_OK;
}

void soma__log_close(soma__log_file *f) {
    if (f->fd >= 0) close(f->fd);
    soma__free(f->path);
    *f = (soma__log_file){.fd = -1};
}
