/* Tables in CSV (RFC 4180), read in place: the text is kept, quotes are undone and each cell gets a final 0 where its
 * comma or line end stood. A cell is found by the place of its row and a 32-bit distance from there, so the index is
 * smaller than most tables. */
#define _GNU_SOURCE /* strtod_l */
#include "io/io.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct csv_row {
    size_t start; /* of its first cell in the text */
    int64_t line;
} csv_row;

struct soma_csv {
    char *name;
    soma_bytes text;
    int columns;
    int64_t rows, room_rows; /* the header is row 0 here */
    csv_row *row;
    uint32_t *cell; /* [rows][columns]: distance from the row's start */
    size_t cells, room_cells;
};

/* Where the reader stands. */
typedef struct csv_state {
    char *p, *end;
    int64_t line;
} csv_state;

void soma_csv_free(soma_csv *c) {
    if (c == NULL)
        return;
    soma_bytes_free(&c->text);
    soma__free(c->name);
    soma__free(c->row);
    soma__free(c->cell);
    soma__free(c);
}

/* One cell from s->p on. On success *cell is its text, still without final 0; *last its end; s->p is at the comma, the
 * line end or s->end. */
static soma_status read_quoted(const soma_csv *c, csv_state *s, char **cell, char **last) {
    char *in = s->p + 1, *out = in;
    int64_t first_line = s->line;
    *cell = in;
    for (;;) {
        char *quote = memchr(in, '"', (size_t)(s->end - in));
        if (quote == NULL)
            return soma_fail(SOMA_EFORMAT, "%s:%lld: a quote is opened here and never closed", c->name,
                             (long long)first_line);
        for (char *q = in; (q = memchr(q, '\n', (size_t)(quote - q))) != NULL; q++)
            s->line++;
        if (out != in)
            memmove(out, in, (size_t)(quote - in));
        out += quote - in;
        in = quote + 1;
        if (in == s->end || *in != '"')
            break;
        *out++ = *in++; /* a doubled quote is one */
    }
    if (in < s->end && *in != ',' && *in != '\n' && *in != '\r')
        return soma_fail(SOMA_EFORMAT,
                         "%s:%lld: text behind the closing quote of a cell; a comma or the line's end was expected",
                         c->name, (long long)s->line);
    *last = out;
    s->p = in;
    return SOMA_OK;
}

static bool grow_cells(soma_csv *c) {
    size_t room = c->room_cells + c->room_cells / 2 + 1024;
    uint32_t *cell = soma__realloc(c->cell, room * sizeof *cell);
    if (cell == NULL)
        return false;
    c->cell = cell, c->room_cells = room;
    return true;
}

static bool grow_rows(soma_csv *c) {
    int64_t room = c->room_rows + c->room_rows / 2 + 256;
    csv_row *row = soma__realloc(c->row, (size_t)room * sizeof *row);
    if (row == NULL)
        return false;
    c->row = row, c->room_rows = room;
    return true;
}

static bool ends_cell(char c) { return c == ',' || c == '\n' || c == '\r'; }

/* The cells of one line, whose first byte is s->p; leaves s->p behind the line's end. */
static soma_status read_row(soma_csv *c, csv_state *s, int64_t *columns) {
    char *start = s->p;
    *columns = 0;
    for (;;) {
        char *cell = s->p, *last = s->p;
        if (s->p < s->end && *s->p == '"') {
            soma_status status = read_quoted(c, s, &cell, &last);
            if (status != SOMA_OK)
                return status;
        } else {
            while (s->p < s->end && !ends_cell(*s->p))
                s->p++;
            last = s->p;
        }
        if ((size_t)(cell - start) > UINT32_MAX)
            return soma_fail(SOMA_EFORMAT, "%s:%lld: a line of more than 4 GiB", c->name, (long long)s->line);
        if (c->cells == c->room_cells && !grow_cells(c))
            return SOMA_ENOMEM;
        c->cell[c->cells++] = (uint32_t)(cell - start);
        ++*columns;
        char end = s->p < s->end ? *s->p : '\n';
        *last = 0; /* at s->end there is a byte for it */
        if (s->p < s->end)
            s->p++;
        if (end == ',')
            continue;
        if (end == '\r' && s->p < s->end && *s->p == '\n')
            s->p++;
        s->line++;
        return SOMA_OK;
    }
}

static soma_status read_rows(soma_csv *c) {
    csv_state s = {.p = (char *)c->text.data, .end = (char *)c->text.data + c->text.size, .line = 1};
    if (c->text.size >= 3 && memcmp(s.p, "\xEF\xBB\xBF", 3) == 0)
        s.p += 3;
    while (s.p < s.end) {
        if (*s.p == '\n' || *s.p == '\r') { /* blank lines say nothing */
            bool pair = *s.p == '\r' && s.p + 1 < s.end && s.p[1] == '\n';
            s.p += pair ? 2 : 1;
            s.line++;
            continue;
        }
        if (c->rows == c->room_rows && !grow_rows(c))
            return SOMA_ENOMEM;
        c->row[c->rows] = (csv_row){.start = (size_t)(s.p - (char *)c->text.data), .line = s.line};
        int64_t columns;
        soma_status status = read_row(c, &s, &columns);
        if (status != SOMA_OK)
            return status;
        if (columns > INT32_MAX)
            return soma_fail(SOMA_EFORMAT, "%s: more than 2^31 columns", c->name);
        if (c->rows == 0)
            c->columns = (int)columns;
        else if (columns != c->columns)
            return soma_fail(SOMA_EFORMAT, "%s:%lld: %lld cells, and the header has %d", c->name,
                             (long long)c->row[c->rows].line, (long long)columns, c->columns);
        c->rows++;
    }
    if (c->rows == 0)
        return soma_fail(SOMA_EFORMAT, "%s: empty, and a row of column names was expected", c->name);
    return SOMA_OK;
}

static int64_t line_of(const soma_csv *c, size_t place) {
    int64_t line = 1;
    for (size_t i = 0; i < place; i++)
        line += c->text.data[i] == '\n';
    return line;
}

/* Text, and UTF-8: names from here go into model files, which are JSON. */
static soma_status check_text(const soma_csv *c) {
    const uint8_t *p = c->text.data;
    size_t n = c->text.size;
    if (n >= 2 && (memcmp(p, "\xFF\xFE", 2) == 0 || memcmp(p, "\xFE\xFF", 2) == 0))
        return soma_fail(SOMA_EFORMAT, "%s: UTF-16 text; save the table as UTF-8", c->name);
    const uint8_t *zero = memchr(p, 0, n);
    if (zero != NULL)
        return soma_fail(SOMA_EFORMAT, "%s:%lld: a zero byte: this is no text file", c->name,
                         (long long)line_of(c, (size_t)(zero - p)));
    size_t valid = soma__utf8_check(p, n);
    if (valid != n)
        return soma_fail(SOMA_EFORMAT, "%s:%lld: byte 0x%02X is not valid UTF-8; save the table as UTF-8", c->name,
                         (long long)line_of(c, valid), p[valid]);
    return SOMA_OK;
}

/* Takes `text` over. */
static soma_csv *csv_of(soma_bytes text, const char *name) {
    soma_csv *c = soma__calloc(1, sizeof *c);
    if (c == NULL) {
        soma_bytes_free(&text);
        return NULL;
    }
    c->text = text;
    c->name = soma__strdup(name);
    if (c->name == NULL || check_text(c) != SOMA_OK || read_rows(c) != SOMA_OK) {
        soma_csv_free(c);
        return NULL;
    }
    return c;
}

soma_csv *soma_csv_read(const char *path) {
    soma_bytes text;
    if (soma_read_file(path, true, 0, &text) != SOMA_OK)
        return NULL;
    return csv_of(text, path);
}

soma_csv *soma_csv_parse(const void *data, size_t size, const char *name) {
    if ((data == NULL && size > 0) || name == NULL)
        return soma_fail(SOMA_EINVAL, "soma_csv_parse: no data or no name"), NULL;
    if (size > SOMA__FILE_LIMIT)
        return soma_fail(SOMA_EFORMAT, "%s: larger than 8 GiB", name), NULL;
    soma_bytes text = {.data = soma__alloc(size + 1), .size = size};
    if (text.data == NULL)
        return NULL;
    if (size > 0)
        memcpy(text.data, data, size);
    text.data[size] = 0;
    return csv_of(text, name);
}

int64_t soma_csv_rows(const soma_csv *c) { return c != NULL ? c->rows - 1 : 0; }
int soma_csv_columns(const soma_csv *c) { return c != NULL ? c->columns : 0; }

static const char *cell_at(const soma_csv *c, int64_t row, int column) {
    if (c == NULL || row < 0 || row >= c->rows || column < 0 || column >= c->columns)
        return NULL;
    return (const char *)c->text.data + c->row[row].start + c->cell[(size_t)row * (size_t)c->columns + (size_t)column];
}

const char *soma_csv_header(const soma_csv *c, int column) { return cell_at(c, 0, column); }

int soma_csv_find(const soma_csv *c, const char *header) {
    for (int i = 0; header != NULL && i < soma_csv_columns(c); i++)
        if (strcmp(cell_at(c, 0, i), header) == 0)
            return i;
    return -1;
}

const char *soma_csv_cell(const soma_csv *c, int64_t row, int column) {
    return row >= 0 ? cell_at(c, row + 1, column) : NULL;
}

int64_t soma_csv_line(const soma_csv *c, int64_t row) {
    return c != NULL && row >= 0 && row < c->rows - 1 ? c->row[row + 1].line : 0;
}

/* ---- Numbers ------------------------------------------------------------------------------------------------------ */

/* What strtod would do in the C locale, whatever locale the program runs in. */
static double convert_slowly(const char *text) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        return strtod(text, NULL);
    double v = strtod_l(text, NULL, plain);
    freelocale(plain);
    return v;
}

/* [blanks] [sign] digits [. digits] [e [sign] digits] [blanks], and a finite value. Up to 15 digits and powers of ten up
 * to 22 are exact in a double, so one multiplication or division rounds correctly (Clinger 1990); the rest goes to
 * strtod. */
static bool number_of(const char *text, double *out) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *p = text;
    while (*p == ' ' || *p == '\t')
        p++;
    const char *start = p;
    bool negative = *p == '-';
    p += *p == '-' || *p == '+';
    uint64_t mantissa = 0;
    int digits = 0, significant = 0, exponent = 0;
    for (bool point = false;; p++) {
        if (*p == '.' && !point) {
            point = true;
            continue;
        }
        if (*p < '0' || *p > '9')
            break;
        digits = 1;
        if (significant < 15) {
            mantissa = mantissa * 10 + (uint64_t)(*p - '0');
            significant += mantissa > 0;
            exponent -= point;
        } else {
            significant = 16; /* too many for the quick way */
        }
    }
    if (!digits)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        bool minus = *p == '-';
        p += *p == '-' || *p == '+';
        if (*p < '0' || *p > '9')
            return false;
        int e = 0;
        for (; *p >= '0' && *p <= '9'; p++)
            e = e < 100000 ? e * 10 + (*p - '0') : e;
        exponent += minus ? -e : e;
    }
    while (*p == ' ' || *p == '\t')
        p++;
    if (*p != 0)
        return false;
    double v;
    if (significant <= 15 && exponent >= -22 && exponent <= 22)
        v = exponent < 0 ? (double)mantissa / powers[-exponent] : (double)mantissa * powers[exponent];
    else
        v = fabs(convert_slowly(start));
    *out = negative ? -v : v;
    return isfinite(v);
}

soma_status soma_csv_number(const soma_csv *c, int64_t row, int column, double *out) {
    const char *text = soma_csv_cell(c, row, column);
    if (text == NULL || out == NULL)
        return soma_fail(SOMA_EINVAL, "soma_csv_number: row %lld, column %d of a table with %lld rows and %d columns",
                         (long long)row, column, (long long)soma_csv_rows(c), soma_csv_columns(c));
    if (number_of(text, out))
        return SOMA_OK;
    char header[SOMA__QUOTE], quoted[SOMA__QUOTE];
    const char *title = soma_csv_header(c, column);
    soma__quote(title, strlen(title), header);
    if (text[0] == 0)
        return soma_fail(SOMA_EFORMAT, "%s:%lld: column %d (%s) is empty, and a number was expected", c->name,
                         (long long)soma_csv_line(c, row), column + 1, header);
    return soma_fail(SOMA_EFORMAT, "%s:%lld: column %d (%s): \"%s\" is not a finite number", c->name,
                     (long long)soma_csv_line(c, row), column + 1, header, soma__quote(text, strlen(text), quoted));
}
