/* Sheets of images with captions: see plots.h. The images are enlarged by a whole number, so that each pixel stays a square, and put
 * into one picture by the library; gnuplot then lays the text under them. */
#include "gnuplot.h"
#include "plots.h"
#include "script.h"

#include <soma/soma.h>

#include <stdlib.h>
#include <string.h>

enum { FRAME = 4, GAP = 14, LINE = 19, TITLE = 44, MARGIN = 18, CELL_MIN = 100, CELL_MAX = 256 };

typedef struct layout {
    int columns, rows, scale;
    int image_w, image_h;    /* enlarged */
    int cell_w, cell_h;      /* with captions and gap */
    int lines;               /* of caption */
    int width, height;       /* of the whole sheet */
} layout;

static layout plan(const sheet_item *items, int n, int columns, bool title)
{
    layout l = {0};
    int w = 1, h = 1;
    for (int i = 0; i < n; i++) {
        w = items[i].width > w ? items[i].width : w;
        h = items[i].height > h ? items[i].height : h;
        int lines = (items[i].caption != NULL) + (items[i].second != NULL);
        l.lines = lines > l.lines ? lines : l.lines;
    }
    l.scale = (CELL_MIN + w - 1) / w;
    while (l.scale > 1 && (h * l.scale > CELL_MAX || w * l.scale > CELL_MAX))
        l.scale--;
    l.image_w = w * l.scale;
    l.image_h = h * l.scale;
    l.cell_w = l.image_w + 2 * FRAME + GAP;
    l.cell_w = l.cell_w < 124 && l.lines ? 124 : l.cell_w; /* a name of about fourteen letters */
    l.cell_h = l.image_h + 2 * FRAME + GAP + l.lines * LINE;
    l.columns = columns > 0 ? columns : 1400 / l.cell_w;
    l.columns = l.columns < 1 ? 1 : l.columns;
    if (columns <= 0 && l.columns * l.columns > n) /* few images: about as wide as high */
        while (l.columns > 1 && (l.columns - 1) * (l.columns - 1) >= n)
            l.columns--;
    l.columns = l.columns > n ? n : l.columns;
    l.rows = (n + l.columns - 1) / l.columns;
    l.width = 2 * MARGIN + l.columns * l.cell_w;
    l.height = (title ? TITLE : MARGIN) + l.rows * l.cell_h + MARGIN - GAP / 2;
    return l;
}

/* The cell's image, frame included: its top left corner. */
static void place(const layout *l, int i, bool title, int *x, int *y)
{
    *x = MARGIN + i % l->columns * l->cell_w + (l->cell_w - l->image_w) / 2 - FRAME;
    *y = (title ? TITLE : MARGIN) + i / l->columns * l->cell_h;
}

static void fill(soma_image *sheet, int x, int y, int w, int h, const uint8_t colour[3])
{
    for (int j = y; j < y + h; j++)
        for (int i = x; i < x + w; i++)
            memcpy(sheet->pixels + ((size_t)j * (size_t)sheet->width + (size_t)i) * 3, colour, 3);
}

static void put_item(soma_image *sheet, const layout *l, const sheet_item *item, int x, int y)
{
    static const uint8_t colours[3][3] = {{221, 221, 221}, {221, 221, 221}, {213, 30, 0}}; /* SCRIPT_WRONG for the last */
    int w = item->width * l->scale, h = item->height * l->scale;
    x += (l->image_w - w) / 2;
    y += (l->image_h - h) / 2;
    int frame = item->mark == SHEET_WRONG ? FRAME : 1;
    fill(sheet, x + FRAME - frame, y + FRAME - frame, w + 2 * frame, h + 2 * frame, colours[item->mark]);
    for (int j = 0; j < h; j++) {
        for (int i = 0; i < w; i++) {
            const uint8_t *from = item->pixels + ((size_t)(j / l->scale) * (size_t)item->width + (size_t)(i / l->scale)) * (size_t)item->channels;
            uint8_t *to = sheet->pixels + ((size_t)(y + FRAME + j) * (size_t)sheet->width + (size_t)(x + FRAME + i)) * 3;
            for (int c = 0; c < 3; c++)
                to[c] = from[item->channels == 3 ? c : 0];
        }
    }
}

static void write_labels(FILE *f, const layout *l, const char *title, const sheet_item *items, int n)
{
    fprintf(f, "set label 1 ");
    script_text(f, title ? title : "");
    fprintf(f, " at %d, %d left front font ',15' tc rgb TEXT\n", MARGIN, l->height - TITLE / 2);
    for (int i = 0, label = 2; i < n; i++) {
        int x, y;
        place(l, i, title != NULL, &x, &y);
        x += l->image_w / 2 + FRAME;
        y = l->height - (y + l->image_h + 2 * FRAME + LINE / 2 + 1);
        const char *lines[2] = {items[i].caption, items[i].second};
        for (int k = 0; k < 2; k++) {
            if (!lines[k])
                continue;
            fprintf(f, "set label %d ", label++);
            script_text(f, lines[k]);
            fprintf(f, " at %d, %d center front font ',%s' tc rgb %s\n", x, y, l->lines > 1 && k ? "10" : "11",
                    items[i].mark == SHEET_WRONG ? "WRONG" : k ? "FAINT" : "TEXT");
            y -= LINE - 3;
        }
    }
}

static soma_status caption_sheet(const char *path, const char *images, const layout *l, const char *title, const sheet_item *items, int n)
{
    char base[4096], setup[4200];
    script_base(path, base, sizeof base);
    FILE *f = script_open(base, title ? title : "a sheet of images");
    if (!f)
        return soma_error();
    fprintf(f, "if (!exists(\"out\")) out = '%s'\n", script_name(path));
    fprintf(f, "set terminal pngcairo size %d,%d noenhanced font 'sans,11' background rgb 'white'\nset output out\n", l->width, l->height);
    fprintf(f, "set margins 0, 0, 0, 0\nunset key\nunset tics\nunset border\nset xrange [0:%d]\nset yrange [0:%d]\n", l->width, l->height);
    write_labels(f, l, title, items, n);
    fprintf(f, "plot '%s' binary filetype=png with rgbimage\n", script_name(images));
    soma_status status = script_close(f, base);
    if (status)
        return status;
    snprintf(setup, sizeof setup, "%s.gp", base);
    return gnuplot_run(setup, "", NULL);
}

soma_status sheet_write(const char *path, const char *title, const sheet_item *items, int n, int columns)
{
    if (n < 1)
        return soma_fail(SOMA_EINVAL, "a sheet needs at least one image");
    layout l = plan(items, n, columns, title != NULL);
    soma_image sheet = {.width = l.width, .height = l.height, .channels = 3};
    if ((int64_t)l.width * l.height > (int64_t)1 << 27)
        return soma_fail(SOMA_EINVAL, "a sheet of %d images would be %d x %d pixels; ask for fewer", n, l.width, l.height);
    sheet.pixels = malloc((size_t)l.width * (size_t)l.height * 3);
    if (!sheet.pixels)
        return soma_fail(SOMA_ENOMEM, "no memory for a sheet of %d x %d pixels", l.width, l.height);
    memset(sheet.pixels, 255, (size_t)l.width * (size_t)l.height * 3);
    for (int i = 0; i < n; i++) {
        int x, y;
        place(&l, i, title != NULL, &x, &y);
        put_item(&sheet, &l, &items[i], x, y);
    }
    char base[4096], images[4200];
    script_base(path, base, sizeof base);
    snprintf(images, sizeof images, "%s-images.png", base);
    bool captions = gnuplot_found();
    soma_status status = soma_image_write_png(captions ? images : path, &sheet);
    free(sheet.pixels);
    if (status)
        return status;
    if (!captions)
        return soma_fail(SOMA_EUNSUPPORTED, "%s; %s has no captions", GNUPLOT_HINT, path);
    return caption_sheet(path, images, &l, title, items, n);
}

void sheet_pixels(const float *x, int channels, int height, int width, uint8_t *pixels)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < height * width; i++) {
            float v = x[(size_t)c * (size_t)(height * width) + (size_t)i] * 255.0f + 0.5f;
            pixels[(size_t)i * (size_t)channels + (size_t)c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
}
