/* What the tool needs to know of the terminal: whether it is one, its width, colours, a progress line, numbers for people. */
#ifndef SOMA_CLI_TERM_H
#define SOMA_CLI_TERM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

bool term_is(FILE *stream);
int term_width(FILE *stream);    /* columns; COLUMNS when set, 80 when unknown */
/* Colours wanted: a terminal that is not "dumb", and NO_COLOR (no-color.org) is not set. */
bool term_colour(FILE *stream);
/* The escape sequence, or "" where colours are not wanted: fprintf(f, "%sbad%s", term_style(f, TERM_RED), term_style(f, TERM_PLAIN)). */
typedef enum term_style_name { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW, TERM_BLUE } term_style_name;
const char *term_style(FILE *stream, term_style_name style);

/* A progress line on stderr: redrawn in place on a terminal, at most 10 times a second; piped, a plain line every `plain_seconds`.
 *
 *     progress bar;
 *     progress_begin(&bar, quiet, 10);
 *     progress_show(&bar, done, total, "epoch 3/10", "loss 0.3412  acc 87.5 %  1,204 img/s  0:42 left");
 *     progress_line(&bar, "epoch 3/10: …");       a line that stays; the bar moves below it
 *     progress_end(&bar);                         clears the bar
 */
typedef struct progress {
    bool quiet, live, drawn;
    double last, plain_seconds;
} progress;
void progress_begin(progress *p, bool quiet, double plain_seconds);
/* Whether it is time to draw again, so that callers can save themselves the formatting. */
bool progress_due(const progress *p);
void progress_show(progress *p, double done, double total, const char *before, const char *after);
void progress_line(progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_end(progress *p);

double clock_seconds(void);      /* monotonic */

/* Texts for people, into `out`, which they return. */
#define HUMAN 32
char *human_count(char out[HUMAN], int64_t n);        /* 60,000 */
char *human_short(char out[HUMAN], double n);         /* 1.25 k, 3.4 M: three digits */
char *human_bytes(char out[HUMAN], double bytes);     /* 1.2 MB (powers of 1000, as df -H) */
char *human_seconds(char out[HUMAN], double seconds); /* 0.42 s, 12.3 s, 3:05, 1:02:07 */
char *human_percent(char out[HUMAN], double share);   /* 92.3 %; "-" for NaN */

#endif
