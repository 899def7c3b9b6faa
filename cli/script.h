/* Writing gnuplot scripts: the common head (colours, fonts, terminals), text as gnuplot strings, paths. */
#ifndef SOMA_CLI_SCRIPT_H
#define SOMA_CLI_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <soma/base.h>

/* `path` without a .png, .svg or .gp at its end. */
void script_base(const char *path, char *out, size_t size);
/* The part after the last slash: scripts name their neighbours without folders, so that a run can be moved. */
const char *script_name(const char *path);
/* Opens BASE.gp.part and writes the head: a comment that says what it draws and how to draw it again, and the colours. NULL with the
 * error recorded. */
FILE *script_open(const char *base, const char *what);
/* Chooses the terminal by the variable `term` ("svg", "png", "dumb") and the output BASE.svg or BASE.png. */
void script_terminals(FILE *f, const char *base, int width, int height);
/* Closes it and puts it in its place as BASE.gp. */
soma_status script_close(FILE *f, const char *base);
/* A gnuplot string in single quotes. */
void script_text(FILE *f, const char *text);
/* Runs BASE.gp twice, for BASE.svg and BASE.png. */
soma_status script_draw(const char *base);

#endif
