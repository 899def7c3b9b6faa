/* Pictures of a run: curves, confusion matrix, sheets of images with captions. Each is a gnuplot script with its data inside, NAME.gp,
 * beside NAME.png and NAME.svg, for the user to change: `gnuplot NAME.gp` draws it again.
 *
 * All return SOMA_OK or an error that is recorded as the library records its own (library_error prints it). Without gnuplot that is
 * SOMA_EUNSUPPORTED, and the script has been written all the same; callers for whom plots are an extra clear it and say a note. */
#ifndef SOMA_CLI_PLOTS_H
#define SOMA_CLI_PLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <soma/base.h>

/* Loss and metric of every epoch, from RUN/metrics.jsonl, training and validation: RUN/curves.{gp,svg,png}. */
soma_status plot_curves(const char *run_dir);
/* The same of several runs in one picture, BASE.{gp,svg,png}. */
soma_status plot_compare(const char *const *run_dirs, int n, const char *base);
/* What gnuplot can show of the curves with letters, to `out`, `width` columns wide. The script of plot_curves or plot_compare. */
soma_status plot_terminal(const char *base, FILE *out, int width);

/* Functions of one number, solid, and their derivatives, dashed, from range[0] to range[1] (NULL: what suits each), a panel each:
 * BASE.{gp,svg,png}. A name is an operator's,
 * with attributes as "leaky_relu:negative_slope=0.1,…"; "all": every activation. plot_terminal draws it with letters. */
soma_status plot_activations(const char *const *names, int n, const double range[2], const char *base);

/* counts[t * classes + p] samples of true class t were called p: DIR/confusion.{gp,svg,png}, and DIR/confusion.json, from which
 * plot_run draws it again. `title` says of what: "test set". */
soma_status plot_confusion(const char *dir, const char *title, const int64_t *counts, int classes, const char *const *names);
/* Draws again what DIR/confusion.json has. */
soma_status plot_confusion_again(const char *dir);
/* The same as text, for terminals. */
void print_confusion(FILE *out, const int64_t *counts, int classes, const char *const *names);

/* Everything that a run folder has data for: curves, and the confusion matrix if confusion.json is there. */
soma_status plot_run(const char *run_dir);

/* ---- Sheets of images -------------------------------------------------------------------------------------------------- */

typedef enum sheet_mark { SHEET_PLAIN, SHEET_RIGHT, SHEET_WRONG } sheet_mark;
typedef struct sheet_item {
    const uint8_t *pixels;   /* [height][width][channels], 1 or 3 channels */
    int width, height, channels;
    const char *caption;     /* under the image: the predicted name, or the name; NULL: none */
    const char *second;      /* a second line, "is Coat"; NULL: none */
    sheet_mark mark;         /* WRONG: red frame and caption */
} sheet_item;
/* A grid of images with captions, as a PNG at `path`; `columns` 0: as many as look well. The captions are gnuplot's; its script
 * and the images without captions (NAME-images.png) stay beside it. Without gnuplot `path` is the sheet without captions, wrong
 * ones framed, and the result is SOMA_EUNSUPPORTED. */
soma_status sheet_write(const char *path, const char *title, const sheet_item *items, int n, int columns);
/* Samples of an image data set as pixels: x are the numbers that soma_data_get gives (0 … 1, [C, H, W]). `pixels` has room for all. */
void sheet_pixels(const float *x, int channels, int height, int width, uint8_t *pixels);

#endif
