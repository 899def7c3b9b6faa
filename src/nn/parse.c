/* Network descriptions: text to modules. docs/network.md has the grammar.
 *
 * The text may come from a file, so it is hostile: its length, the number of layers, their nesting and the work that repeats
 * cause are limited, and no parameter is made before the input's shape is known. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_TEXT = 1 << 18,
    MAX_WORK = 1 << 22,   /* bytes read, repeats written out */
    MAX_LAYERS = 4096,
    MAX_NESTING = 16
};

typedef enum token_kind { END, WORD, NUMBER, COMMA, OPEN, CLOSE, OTHER } token_kind;
typedef struct token {
    token_kind kind;
    const char *at;
    size_t size;
    char word[32];  /* in small letters, cut */
} token;

typedef struct parser {
    const char *text, *next;
    token t;        /* the one to look at */
    int layers, nesting;
    size_t work;
} parser;

typedef struct row {
    soma_module **list;
    int n, room;
} row;

/* ---- Messages ---- */

/* "… at column 12<tail>"; the line is named when there are several. */
static void fail_at(const parser *p, const char *at, const char *tail, const char *format, ...) SOMA_PRINTF(4, 5);
static void fail_at(const parser *p, const char *at, const char *tail, const char *format, ...) {
    char head[400], line_text[32] = "";
    const char *start = p->text;
    int line = 1;
    for (const char *c = p->text; c < at; c++) {
        if (*c == '\n') {
            line++;
            start = c + 1;
        }
    }
    va_list args;
    va_start(args, format);
    vsnprintf(head, sizeof head, format, args);
    va_end(args);
    if (strchr(p->text, '\n'))
        snprintf(line_text, sizeof line_text, "line %d, ", line);
    soma_fail(SOMA_EFORMAT, "network description: %s at %scolumn %d%s", head, line_text, (int)(at - start) + 1, tail);
}

/* The token for a message: short, and without bytes that a terminal might obey. */
static const char *shown(const token *t, char out[48]) {
    if (t->kind == END)
        return strcpy(out, "the end");
    size_t n = SOMA_MIN(t->size, 30);
    out[0] = '\'';
    for (size_t i = 0; i < n; i++)
        out[1 + i] = t->at[i] >= ' ' && t->at[i] < 0x7f ? t->at[i] : '?';
    strcpy(out + 1 + n, t->size > n ? "…'" : "'");
    return out;
}

static void fail_unexpected(const parser *p, const char *wanted) {
    char text[48];
    fail_at(p, p->t.at, "", "expected %s, not %s,", wanted, shown(&p->t, text));
}

/* What a constructor said, with the place added. */
static void place_error(const parser *p, const char *at) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->error == SOMA_ENOMEM || ctx->error == SOMA_OK)
        return;
    char message[300];
    snprintf(message, sizeof message, "%.299s", ctx->message);
    ctx->error = SOMA_OK;
    fail_at(p, at, "", "%s,", message);
}

/* ---- Tokens ---- */

static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool sign(char c) { return c == '+' || c == '-' || c == '.'; }

static void advance(parser *p) {
    const char *c = p->next;
    while (*c == ' ' || *c == '\t' || *c == '\n' || *c == '\r' || *c == '#') {
        if (*c == '#')
            while (c[1] && c[1] != '\n')
                c++;
        c++;
    }
    token *t = &p->t;
    t->at = c;
    if (letter(*c)) {
        t->kind = WORD;
        while (letter(*c) || digit(*c))
            c++;
    } else if (digit(*c) || sign(*c)) {
        t->kind = NUMBER;
        while (letter(*c) || digit(*c) || sign(*c))
            c++;
    } else {
        t->kind = *c == 0 ? END : *c == ',' ? COMMA : *c == '(' ? OPEN : *c == ')' ? CLOSE : OTHER;
        if (*c)
            for (c++; t->kind == OTHER && ((unsigned char)*c & 0xc0) == 0x80; c++) {} /* the rest of a UTF-8 letter */
    }
    t->size = (size_t)(c - t->at);
    size_t n = SOMA_MIN(t->size, sizeof t->word - 1);
    for (size_t i = 0; i < n; i++)
        t->word[i] = (char)(t->at[i] >= 'A' && t->at[i] <= 'Z' ? t->at[i] - 'A' + 'a' : t->at[i]);
    t->word[n] = 0;
    p->work += (size_t)(c - p->next) + 1;
    p->next = c;
    if (p->work > MAX_WORK)
        fail_at(p, t->at, "", "the repeats make the network too large");
}

/* ---- Arguments ---- */

/* Digits only; false when there are none or the number is beyond all limits. */
static bool read_int(const char **at, int64_t *out) {
    const char *c = *at;
    bool negative = *c == '-';
    if (*c == '-' || *c == '+')
        c++;
    if (!digit(*c))
        return false;
    int64_t v = 0;
    for (; digit(*c); c++)
        v = v > INT64_MAX / 100 ? v : v * 10 + (*c - '0');
    *out = negative ? -v : v;
    *at = c;
    return true;
}

static bool in_range(const soma__nn_arg *arg, const soma__nn_value *v) {
    if (arg->kind == SOMA__ARG_REAL)
        return v->r >= arg->min && v->r <= arg->max;
    return (double)v->i[0] >= arg->min && (double)v->i[0] <= arg->max && (double)v->i[1] >= arg->min && (double)v->i[1] <= arg->max;
}

static void read_value(parser *p, const soma__nn_word *w, const soma__nn_arg *arg, soma__nn_value *v) {
    const char *c = p->t.at, *end = p->t.at + p->t.size;
    bool ok = p->t.kind == NUMBER;
    if (ok && arg->kind == SOMA__ARG_REAL) {
        ok = soma__nn_read_real(c, &c, &v->r);
    } else if (ok) {
        ok = read_int(&c, &v->i[0]);
        v->i[1] = v->i[0];
        if (ok && arg->kind == SOMA__ARG_PAIR && (*c == 'x' || *c == 'X')) {
            c++;
            ok = read_int(&c, &v->i[1]);
        }
    }
    if (ok && c == end && in_range(arg, v)) {
        v->given = true;
        advance(p);
        return;
    }
    static const char *const kinds[] = {"", "a whole number", "a whole number, or two as in 5x3,", "a number", ""};
    char text[48], low[40], high[40];
    fail_at(p, p->t.at, "", "%s: %s must be %s from %s to %s, not %s,", w->word, arg->name, kinds[arg->kind],
            soma__nn_write_real(arg->min, low), soma__nn_write_real(arg->max, high), shown(&p->t, text));
}

static int n_args(const soma__nn_word *w) {
    int n = 0;
    while (n < SOMA__NN_MAX_ARGS && w->args[n].kind != SOMA__ARG_END)
        n++;
    return n;
}

static void read_positional(parser *p, const soma__nn_word *w, soma__nn_value *v) {
    for (int i = 0; i < n_args(w) && !w->args[i].word && !soma__failed(); i++) {
        if (p->t.kind != NUMBER && !w->args[i].required)
            break;
        read_value(p, w, &w->args[i], &v[i]);
    }
    if (!soma__failed() && p->t.kind == NUMBER) {
        char text[48];
        fail_at(p, p->t.at, "", "%s takes no further number: %s", w->word, shown(&p->t, text));
    }
}

/* Takes an option of `w` when the token is one. */
static bool read_option(parser *p, const soma__nn_word *w, soma__nn_value *v) {
    for (int i = 0; i < n_args(w); i++) {
        if (!w->args[i].word || strcmp(w->args[i].word, p->t.word) != 0)
            continue;
        if (v[i].given) {
            fail_at(p, p->t.at, "", "%s: '%s' is given twice, again", w->word, w->args[i].word);
            return true;
        }
        advance(p);
        if (w->args[i].kind == SOMA__ARG_FLAG)
            v[i].given = true;
        else
            read_value(p, w, &w->args[i], &v[i]);
        return true;
    }
    return false;
}

static void fail_option(const parser *p, const soma__nn_word *w) {
    const soma__nn_word *layer = soma__nn_find_word(p->t.word);
    char text[48], tail[64] = "";
    if (layer) {
        fail_at(p, p->t.at, "", "a comma is missing before %s", shown(&p->t, text));
        return;
    }
    const char *names[SOMA__NN_MAX_ARGS + 32];
    int n = 0;
    for (int i = 0; i < n_args(w); i++)
        if (w->args[i].word)
            names[n++] = w->args[i].word;
    for (int i = 0; i < soma__nn_n_words && w->takes_activation; i++)
        if (soma__nn_words[i].activation && n < (int)SOMA_LEN(names))
            names[n++] = soma__nn_words[i].word;
    const char *near = soma__nearest(p->t.word, names, n);
    if (near)
        snprintf(tail, sizeof tail, "; did you mean '%s'?", near);
    fail_at(p, p->t.at, tail, "%s does not know %s", w->word, shown(&p->t, text));
}

/* ---- Layers ---- */

static void row_free(row *r) {
    for (int i = 0; i < r->n; i++)
        soma_nn_free(r->list[i]);
    soma__free(r->list);
    *r = (row){0};
}

/* Owns `m` from now on. */
static void row_add(row *r, soma_module *m) {
    if (m && r->n == r->room) {
        int room = r->room ? r->room * 2 : 16;
        soma_module **list = soma__realloc(r->list, (size_t)room * sizeof *list);
        if (!list) {
            soma_nn_free(m);
            return;
        }
        r->list = list;
        r->room = room;
    }
    if (m)
        r->list[r->n++] = m;
}

static void add_layer(parser *p, row *r, const soma__nn_word *w, const soma__nn_value *v, const char *at) {
    if (++p->layers > MAX_LAYERS) {
        fail_at(p, at, "", "more than %d layers", MAX_LAYERS);
        return;
    }
    soma_module *m = w->make(v);
    if (!m)
        place_error(p, at);
    row_add(r, m);
}

static void read_row(parser *p, row *r);

/* "( … )": the layers inside, appended to `r`. The token is the opening parenthesis. */
static void read_body(parser *p, row *r, const char *what) {
    if (p->t.kind != OPEN) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "'(' and the layers of %s", what);
        fail_unexpected(p, wanted);
        return;
    }
    if (++p->nesting > MAX_NESTING) {
        fail_at(p, p->t.at, "", "parentheses are more than %d deep", MAX_NESTING);
        return;
    }
    advance(p);
    read_row(p, r);
    if (!soma__failed() && p->t.kind != CLOSE)
        fail_unexpected(p, "',' or ')'");
    if (!soma__failed())
        advance(p);
    p->nesting--;
}

/* A container around the layers in parentheses. */
static void read_container(parser *p, row *r, const char *what, soma_module *(*make)(int n, soma_module *const *children)) {
    row inside = {0};
    const char *at = p->t.at;
    read_body(p, &inside, what);
    if (soma__failed()) {
        row_free(&inside);
        return;
    }
    if (++p->layers > MAX_LAYERS) {
        fail_at(p, at, "", "more than %d layers", MAX_LAYERS);
        row_free(&inside);
        return;
    }
    row_add(r, make(inside.n, inside.list));
    soma__free(inside.list);
}

static void read_repeat(parser *p, row *r, const soma__nn_word *w) {
    soma__nn_value v[SOMA__NN_MAX_ARGS] = {0};
    read_positional(p, w, v);
    token open = p->t;
    const char *body = p->next;
    for (int64_t i = 0; i < v[0].i[0] && !soma__failed(); i++) {
        p->t = open;
        p->next = body;
        read_body(p, r, w->word);
    }
}

static void read_layer(parser *p, row *r) {
    if (p->t.kind == OPEN) {
        read_container(p, r, "the group", soma_nn_seq_ex);
        return;
    }
    if (p->t.kind != WORD) {
        fail_unexpected(p, "a layer");
        return;
    }
    const soma__nn_word *w = soma__nn_find_word(p->t.word);
    if (!w) {
        char text[48], tail[64] = "";
        const char *near = soma__nn_suggest_word(p->t.word);
        if (near)
            snprintf(tail, sizeof tail, "; did you mean '%s'?", near);
        fail_at(p, p->t.at, tail, "unknown layer %s", shown(&p->t, text));
        return;
    }
    const char *at = p->t.at;
    advance(p);
    if (w->body == SOMA__BODY_REPEAT) {
        read_repeat(p, r, w);
        return;
    }
    if (w->body == SOMA__BODY_RESIDUAL) {
        read_container(p, r, w->word, soma_nn_residual_ex);
        return;
    }
    soma__nn_value v[SOMA__NN_MAX_ARGS] = {0};
    read_positional(p, w, v);
    while (!soma__failed() && p->t.kind == WORD && read_option(p, w, v)) {}
    if (!soma__failed())
        add_layer(p, r, w, v, at);
    if (soma__failed() || p->t.kind != WORD)
        return;
    const soma__nn_word *activation = soma__nn_find_word(p->t.word);
    if (!w->takes_activation || !activation || !activation->activation) {
        fail_option(p, w);
        return;
    }
    at = p->t.at;
    advance(p);
    soma__nn_value a[SOMA__NN_MAX_ARGS] = {0};
    read_positional(p, activation, a);
    if (!soma__failed() && p->t.kind == WORD)
        fail_option(p, activation);
    if (!soma__failed())
        add_layer(p, r, activation, a, at);
}

static void read_row(parser *p, row *r) {
    for (;;) {
        read_layer(p, r);
        if (soma__failed() || p->t.kind != COMMA)
            return;
        advance(p);
        if (p->t.kind == END || p->t.kind == CLOSE)
            return; /* a comma after the last layer does no harm */
    }
}

soma_module *soma_nn_parse(const char *text) {
    if (soma__failed())
        return NULL;
    if (!text) {
        soma_fail(SOMA_EINVAL, "soma_nn_parse: the text is NULL");
        return NULL;
    }
    if (strnlen(text, MAX_TEXT + 1) > MAX_TEXT) {
        soma_fail(SOMA_EFORMAT, "network description: longer than %d bytes", MAX_TEXT);
        return NULL;
    }
    parser p = {.text = text, .next = text};
    row r = {0};
    advance(&p);
    read_row(&p, &r);
    if (!soma__failed() && p.t.kind != END)
        fail_unexpected(&p, "',' or the end");
    if (soma__failed()) {
        row_free(&r);
        return NULL;
    }
    soma_module *m = soma_nn_seq_ex(r.n, r.list);
    soma__free(r.list);
    return m;
}
