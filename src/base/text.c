/* Growing strings, and small helpers for messages. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

static bool make_room(soma__text *t, size_t n) {
    if (t->failed)
        return false;
    if (t->size + n + 1 <= t->room)
        return true;
    size_t room = SOMA_MAX(t->size + n + 1, SOMA_MAX((size_t)128, t->room * 2));
    char *data = soma__realloc(t->data, room);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->room = room;
    return true;
}

void soma__text_put(soma__text *t, const char *bytes, size_t n) {
    if (!make_room(t, n))
        return;
    memcpy(t->data + t->size, bytes, n);
    t->size += n;
    t->data[t->size] = 0;
}

void soma__text_add(soma__text *t, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0 && make_room(t, (size_t)n)) {
        vsnprintf(t->data + t->size, (size_t)n + 1, format, again);
        t->size += (size_t)n;
    }
    va_end(again);
}

void soma__text_free(soma__text *t) {
    soma__free(t->data);
    *t = (soma__text){0};
}

size_t soma__text_take(soma__text *t, char *out, size_t size) {
    size_t whole = t->failed ? 0 : t->size;
    if (size > 0) {
        size_t n = SOMA_MIN(whole, size - 1);
        if (n > 0)
            memcpy(out, t->data, n);
        out[n] = 0;
    }
    soma__text_free(t);
    return whole;
}

/* Edits that turn one word into the other: letters put in, left out, changed, or two neighbours swapped; words of at most 63 bytes. */
static int distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > 63 || m > 63)
        return 99;
    int rows[3][64];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int change = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = SOMA_MIN(change, SOMA_MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = SOMA_MIN(row[j], second[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

const char *soma__nearest(const char *wanted, const char *const *names, int n) {
    const char *best = NULL;
    size_t length = strlen(wanted);
    int least = (int)length / 3 + 1; /* about one letter in three may be wrong */
    for (int i = 0; i < n; i++) {
        int d = length > 2 && strncmp(wanted, names[i], length) == 0 ? 0 : distance(wanted, names[i]); /* a beginning is nearer than a slip */
        if (d <= least && (!best || d < least)) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

const char *soma__hint(const char *wanted, const char *const *names, int n, char *out, size_t size) {
    const char *near = soma__nearest(wanted, names, n);
    if (near) {
        snprintf(out, size, "; did you mean '%s'?", near);
        return out;
    }
    size_t at = (size_t)snprintf(out, size, n > 0 ? "; there are" : "; there are none");
    for (int i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s %s", i ? "," : "", names[i]);
    return out;
}

const char *soma__shape_text(int ndim, const int64_t *shape, char *out, size_t size) {
    size_t at = 0;
    int n = snprintf(out, size, "[");
    for (int i = 0; i < ndim && n >= 0 && at + (size_t)n < size; i++) {
        at += (size_t)n;
        n = snprintf(out + at, size - at, i ? ", %lld" : "%lld", (long long)shape[i]);
    }
    if (n >= 0 && at + (size_t)n < size)
        snprintf(out + at + (size_t)n, size - at - (size_t)n, "]");
    return out;
}
