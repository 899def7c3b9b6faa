/* Terminal helpers: see term.h. Nothing here keeps state but the progress bar that the caller owns. */
#include "term.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

bool term_is(FILE *stream) { return isatty(fileno(stream)) == 1; }

int term_width(FILE *stream)
{
    const char *columns = getenv("COLUMNS");
    int n = columns ? atoi(columns) : 0;
    struct winsize size;
    if (n <= 0 && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0)
        n = size.ws_col;
    return n > 0 ? n : 80;
}

static bool is_dumb(void)
{
    const char *term = getenv("TERM");
    return !term || !*term || !strcmp(term, "dumb");
}

bool term_colour(FILE *stream)
{
    const char *no = getenv("NO_COLOR");
    return !(no && *no) && !is_dumb() && term_is(stream);
}

const char *term_style(FILE *stream, term_style_name style)
{
    static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[34m"};
    return term_colour(stream) ? codes[style] : "";
}

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Progress -------------------------------------------------------------------------------------------------------- */

void progress_begin(progress *p, bool quiet, double plain_seconds)
{
    *p = (progress){.quiet = quiet, .live = term_is(stderr) && !is_dumb(), .plain_seconds = plain_seconds};
    p->last = p->live ? 0 : clock_seconds();
}

bool progress_due(const progress *p)
{
    return !p->quiet && clock_seconds() - p->last >= (p->live ? 0.1 : p->plain_seconds);
}

/* Columns of UTF-8 text, and the bytes that its first `room` columns take. */
static size_t cut(const char *text, int room, int *used)
{
    size_t i = 0;
    *used = 0;
    while (text[i]) {
        if (((unsigned char)text[i] & 0xC0) != 0x80 && (*used)++ == room) {
            (*used)--;
            break;
        }
        i++;
    }
    return i;
}

void progress_show(progress *p, double done, double total, const char *before, const char *after)
{
    if (!progress_due(p))
        return;
    p->last = clock_seconds();
    if (!p->live) {
        fprintf(stderr, "%s  %s\n", before, after);
        return;
    }
    int width = term_width(stderr) - 1, used_before, used_after;
    size_t n_before = cut(before, width, &used_before);
    int bar = width - used_before - 3;
    size_t n_after = cut(after, bar < 0 ? 0 : bar, &used_after);
    bar -= used_after + 1;
    bar = bar > 30 ? 30 : bar;
    fprintf(stderr, "\r\033[K%.*s ", (int)n_before, before);
    if (bar >= 5) {
        double share = total > 0 ? done / total : 0;
        int full = (int)(fmin(fmax(share, 0), 1) * bar);
        fprintf(stderr, "%s", term_style(stderr, TERM_GREEN));
        for (int i = 0; i < bar; i++)
            fputs(i < full ? "━" : i == full ? "╸" : " ", stderr);
        fprintf(stderr, "%s ", term_style(stderr, TERM_PLAIN));
    }
    fprintf(stderr, " %.*s", (int)n_after, after);
    fflush(stderr);
    p->drawn = true;
}

void progress_line(progress *p, const char *format, ...)
{
    if (p->quiet)
        return;
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    fflush(stderr);
}

void progress_end(progress *p)
{
    if (p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->drawn = false;
}

/* ---- Numbers --------------------------------------------------------------------------------------------------------- */

char *human_count(char out[HUMAN], int64_t n)
{
    char plain[HUMAN];
    int length = snprintf(plain, sizeof plain, "%lld", (long long)n), at = 0;
    for (int i = 0; i < length && at < HUMAN - 1; i++) {
        out[at++] = plain[i];
        int left = length - 1 - i;
        if (left > 0 && left % 3 == 0 && plain[i] != '-')
            out[at++] = ',';
    }
    out[at] = 0;
    return out;
}

static char *scaled(char out[HUMAN], double n, const char *const *units, const char *tail)
{
    int unit = 0;
    double v = n;
    while (fabs(v) >= 999.5 && units[unit + 1]) {
        v /= 1000;
        unit++;
    }
    int decimals = unit == 0 && v == floor(v) ? 0 : fabs(v) < 9.995 ? 2 : fabs(v) < 99.95 ? 1 : 0;
    snprintf(out, HUMAN, "%.*f%s%s%s", decimals, v, *units[unit] || *tail ? " " : "", units[unit], tail);
    return out;
}

char *human_short(char out[HUMAN], double n)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", NULL};
    return scaled(out, n, units, "");
}

char *human_bytes(char out[HUMAN], double bytes)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", NULL};
    return scaled(out, bytes, units, "B");
}

char *human_seconds(char out[HUMAN], double seconds)
{
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(out, HUMAN, "-");
    else if (seconds < 59.95)
        snprintf(out, HUMAN, seconds < 9.995 ? "%.2f s" : "%.1f s", seconds);
    else {
        long long s = llround(seconds);
        if (s < 3600)
            snprintf(out, HUMAN, "%lld:%02lld", s / 60, s % 60);
        else
            snprintf(out, HUMAN, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    }
    return out;
}

char *human_percent(char out[HUMAN], double share)
{
    if (isnan(share))
        snprintf(out, HUMAN, "-");
    else
        snprintf(out, HUMAN, "%.1f %%", share * 100);
    return out;
}
