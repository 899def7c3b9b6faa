/* Running gnuplot on a script file. The tool writes the script first, beside the picture, so that it can be changed and run again
 * by hand; gnuplot is a separate program and may be missing. */
#ifndef SOMA_CLI_GNUPLOT_H
#define SOMA_CLI_GNUPLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <soma/base.h>

/* Where to get it, for messages. */
#define GNUPLOT_HINT "gnuplot draws the plots and is not installed here (Debian: apt-get install gnuplot-nox)"

bool gnuplot_found(void);
/* "5.4 patchlevel 4" into `out`; false when there is no gnuplot. */
bool gnuplot_version(char *out, size_t size);
/* Runs `gnuplot -e setup script` in the script's folder. What it prints to stdout goes to `out` (NULL: nowhere). SOMA_OK, or an
 * error recorded: SOMA_EUNSUPPORTED without gnuplot, SOMA_EIO with gnuplot's own words when it failed. */
soma_status gnuplot_run(const char *script, const char *setup, FILE *out);

#endif
