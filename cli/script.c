/* Writing gnuplot scripts: see script.h. Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart. */
#include "script.h"
#include "gnuplot.h"

#include <soma/soma.h>

#include <errno.h>
#include <string.h>

void script_base(const char *path, char *out, size_t size)
{
    size_t n = strlen(path);
    static const char *const tails[] = {".png", ".svg", ".gp"};
    for (size_t i = 0; i < 3; i++) {
        size_t length = strlen(tails[i]);
        if (n > length && !strcmp(path + n - length, tails[i])) {
            n -= length;
            break;
        }
    }
    snprintf(out, size, "%.*s", (int)n, path);
}

const char *script_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void script_text(FILE *f, const char *text)
{
    fputc('\'', f);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', f);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, f);
    }
    fputc('\'', f);
}

FILE *script_open(const char *base, const char *what)
{
    char path[4200];
    snprintf(path, sizeof path, "%s.gp.part", base);
    FILE *f = fopen(path, "w");
    if (!f) {
        soma_fail(SOMA_EIO, "cannot write %s.gp: %s", base, strerror(errno));
        return NULL;
    }
    fprintf(f, "# Draws %s. Written by soma %s; change it and run: gnuplot %s.gp\n", what, soma_version(), script_name(base));
    fprintf(f, "TEXT = '#222222'; FAINT = '#777777'; GRID = '#E4E4E4'; WRONG = '#D51E00'\n");
    return f;
}

void script_terminals(FILE *f, const char *base, int width, int height)
{
    const char *name = script_name(base);
    fprintf(f, "if (!exists(\"term\")) term = 'svg'\n"
               "if (term eq 'png') {\n"
               "    set terminal pngcairo size %d,%d noenhanced font 'sans,12' background rgb 'white' linewidth 1.5\n    set output '",
            width * 3 / 2, height * 3 / 2);
    fprintf(f, "%s.png'\n} else { if (term eq 'svg') {\n"
               "    set terminal svg size %d,%d noenhanced font 'sans-serif,12' background rgb 'white'\n    set output '%s.svg'\n} else {\n"
               "    if (!exists(\"columns\")) { columns = 79 }\n    set terminal dumb size columns, columns * 2 / 10\n} }\n",
            name, width, height, name);
}

soma_status script_close(FILE *f, const char *base)
{
    char part[4200], path[4200];
    snprintf(part, sizeof part, "%s.gp.part", base);
    snprintf(path, sizeof path, "%s.gp", base);
    bool bad = ferror(f) != 0;
    if (fclose(f) || bad || rename(part, path)) {
        int cause = errno;
        remove(part);
        return soma_fail(SOMA_EIO, "cannot write %s: %s", path, strerror(cause));
    }
    return SOMA_OK;
}

soma_status script_draw(const char *base)
{
    char path[4200];
    snprintf(path, sizeof path, "%s.gp", base);
    soma_status status = gnuplot_run(path, "term = 'svg'", NULL);
    return status ? status : gnuplot_run(path, "term = 'png'", NULL);
}
