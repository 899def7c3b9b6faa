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

typedef enum token_kind { END, WORD, NUMBER, COMMA, BAR, OPEN, CLOSE, OTHER } token_kind;
typedef struct token {
    token_kind kind;
    const char *at;
    size_t size;
    char word[32];  /* in small letters, cut */
} token;

/* A layer that is tied to another, and where that is said. */
typedef struct tie {
    soma_module *m;
    const char *at;
} tie;

typedef struct parser {
    const char *text, *next;
    token t;        /* the one to look at */
    int layers, nesting;
    size_t work;
    tie *ties;
    int n_ties, room_ties;
    bool model;     /* the only layer so far is a model by name: it is the network itself */
} parser;

typedef soma__nn_row row;

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

/* Adds the place to what a constructor said; hands on `m`. */
static soma_module *placed(const parser *p, soma_module *m, const char *at) {
    static const char prefix[] = "network description: "; /* of a model's own text */
    soma_ctx *ctx = soma__ctx();
    if (m || ctx->error == SOMA_ENOMEM || ctx->error == SOMA_OK)
        return m;
    char message[300];
    size_t skip = strncmp(ctx->message, prefix, sizeof prefix - 1) == 0 ? sizeof prefix - 1 : 0;
    snprintf(message, sizeof message, "%.299s", ctx->message + skip);
    char *inner = skip ? strstr(message, " at column ") : NULL; /* a place in a text that nobody wrote */
    if (inner)
        inner[inner > message && inner[-1] == ',' ? -1 : 0] = 0;
    ctx->error = SOMA_OK;
    fail_at(p, at, "", "%s,", message);
    return NULL;
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
        t->kind = *c == 0 ? END : *c == ',' ? COMMA : *c == '|' ? BAR : *c == '(' ? OPEN : *c == ')' ? CLOSE : OTHER;
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

static int most_ints(soma__nn_arg_kind kind) {
    return kind == SOMA__ARG_PAIR ? 2 : kind == SOMA__ARG_TRIPLE ? 3 : kind == SOMA__ARG_LIST ? SOMA_MAX_DIMS : 1;
}

static bool in_range(const soma__nn_arg *arg, const soma__nn_value *v) {
    if (arg->kind == SOMA__ARG_REAL)
        return v->r >= arg->min && v->r <= arg->max;
    for (int i = 0; i < v->n; i++)
        if ((double)v->i[i] < arg->min || (double)v->i[i] > arg->max)
            return false;
    return true;
}

/* "3", or "5x3x3" with as many numbers as the kind asks for; one number stands for all of a pair or triple. */
static bool read_ints(const char **at, soma__nn_arg_kind kind, soma__nn_value *v) {
    int most = most_ints(kind);
    v->n = 0;
    do {
        if (!read_int(at, &v->i[v->n++]))
            return false;
    } while (v->n < most && (**at == 'x' || **at == 'X') && (*at)++);
    if (v->n == 1 && kind != SOMA__ARG_LIST)
        for (; v->n < SOMA_MAX(most, 2); v->n++)
            v->i[v->n] = v->i[0];
    return kind == SOMA__ARG_LIST || v->n >= most;
}

static void read_value(parser *p, const soma__nn_word *w, const soma__nn_arg *arg, soma__nn_value *v) {
    const char *c = p->t.at, *end = p->t.at + p->t.size;
    bool ok = p->t.kind == NUMBER;
    if (ok)
        ok = arg->kind == SOMA__ARG_REAL ? soma__nn_read_real(c, &c, &v->r) : read_ints(&c, arg->kind, v);
    if (ok && c == end && in_range(arg, v)) {
        v->given = true;
        advance(p);
        return;
    }
    static const char *const kinds[] = {[SOMA__ARG_END] = "", [SOMA__ARG_INT] = "a whole number",
                                        [SOMA__ARG_PAIR] = "a whole number, or two as in 5x3,",
                                        [SOMA__ARG_TRIPLE] = "a whole number, or three as in 5x3x3,",
                                        [SOMA__ARG_LIST] = "whole numbers as in 5x3x3,", [SOMA__ARG_REAL] = "a number"};
    char text[48], low[40], high[40];
    fail_at(p, p->t.at, "", "%s: %s must be %s from %s to %s, not %s,", w->word, arg->name, kinds[arg->kind],
            soma__nn_write_real(arg->min, low), soma__nn_write_real(arg->max, high), shown(&p->t, text));
}

static void read_positional(parser *p, const soma__nn_word *w, soma__nn_value *v) {
    for (int i = 0; i < soma__nn_n_args(w) && !w->args[i].word && !soma__failed(); i++) {
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
    for (int i = 0; i < soma__nn_n_args(w); i++) {
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
    const char *names[SOMA__NN_MAX_ARGS + 96];
    int n = 0;
    if (w->may_tie)
        names[n++] = "tied";
    for (int i = 0; i < soma__nn_n_args(w); i++)
        if (w->args[i].word)
            names[n++] = w->args[i].word;
    const soma__nn_word *other;
    for (int i = 0; (w->takes_activation || w->inner_activation) && (other = soma__nn_word_at(i)) != NULL; i++)
        if (other->activation && n < (int)SOMA_LEN(names))
            names[n++] = other->word;
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

void soma__nn_rows_free(soma__nn_rows *rows) {
    for (int i = 0; i < rows->n; i++)
        row_free(&rows->row[i]);
    soma_nn_free(rows->activation);
    *rows = (soma__nn_rows){0};
}

soma_module *soma__nn_row_module(soma__nn_row *r, const char *name) {
    soma_module *m = r->n == 1 ? r->list[0] : soma_nn_seq_ex(r->n, r->list);
    soma__free(r->list);
    *r = (row){0};
    return m && name && !m->wish ? soma_nn_as(m, name) : m;
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

static bool one_more(parser *p, const char *at) {
    if (++p->layers <= MAX_LAYERS)
        return true;
    fail_at(p, at, "", "more than %d layers", MAX_LAYERS);
    return false;
}

static void read_row(parser *p, row *r);
static soma_module *parse_inside(const parser *outer, const char *text, int *layers);

/* "(" row { "|" row } ")" with at most `most` rows. The token is the opening parenthesis. */
static void read_rows(parser *p, soma__nn_rows *rows, int most, const char *what) {
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
    do {
        advance(p);
        if (rows->n == most) {
            fail_at(p, p->t.at, "", "%s takes at most %d branches, and one more begins", what, most);
            return;
        }
        read_row(p, &rows->row[rows->n++]);
    } while (!soma__failed() && p->t.kind == BAR && most > 1);
    if (!soma__failed() && p->t.kind != CLOSE)
        fail_unexpected(p, most > 1 ? "',', '|' or ')'" : "',' or ')'");
    if (!soma__failed())
        advance(p);
    p->nesting--;
}

/* The name after `as` or `tied`, as it is written. */
static bool read_name(parser *p, const char *after, char name[64]) {
    if (p->t.kind != WORD || p->t.size > 63) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "a name of at most 63 letters after '%s'", after);
        fail_unexpected(p, wanted);
        return false;
    }
    memcpy(name, p->t.at, p->t.size);
    name[p->t.size] = 0;
    advance(p);
    return true;
}

/* Gives `m` the name that may follow; none of the row may have it. Frees `m` on error. */
static soma_module *read_as(parser *p, soma_module *m, const row *r) {
    char name[64];
    if (p->t.kind != WORD || strcmp(p->t.word, "as") != 0)
        return m;
    const char *at = p->t.at;
    advance(p);
    bool ok = read_name(p, "as", name);
    for (int i = 0; ok && r && i < r->n; i++) {
        if (r->list[i]->wish && strcmp(r->list[i]->wish, name) == 0) {
            fail_at(p, at, "", "there is a layer '%s' in this row already,", name);
            ok = false;
        }
    }
    if (ok)
        return soma_nn_as(m, name);
    soma_nn_free(m);
    return NULL;
}

/* Adds a layer with what may be said of any: `tied NAME` (read already, may be empty) and `as NAME`. Owns `m`; NULL: nothing
 * to add. */
static void add_layer(parser *p, row *r, soma_module *m, const char *tied, const char *tied_at) {
    if (!m)
        return;
    m = read_as(p, m, r);
    bool ok = m != NULL;
    if (ok && tied && tied[0]) {
        ok = soma_nn_tie(m, tied) == SOMA_OK;
        if (ok && p->n_ties == p->room_ties) {
            int room = p->room_ties ? p->room_ties * 2 : 4;
            tie *ties = soma__realloc(p->ties, (size_t)room * sizeof *ties);
            ok = ties != NULL;
            p->ties = ok ? ties : p->ties;
            p->room_ties = ok ? room : p->room_ties;
        }
        if (ok)
            p->ties[p->n_ties++] = (tie){m, tied_at};
    }
    if (ok)
        row_add(r, m);
    else
        soma_nn_free(m);
}

static void read_group(parser *p, row *r) {
    soma__nn_rows inside = {0};
    const char *at = p->t.at;
    read_rows(p, &inside, 1, "the group");
    if (!soma__failed() && one_more(p, at)) {
        soma_module *m = soma_nn_seq_ex(inside.row[0].n, inside.row[0].list);
        inside.row[0].n = 0; /* taken */
        add_layer(p, r, m, NULL, NULL);
    }
    soma__nn_rows_free(&inside);
}

static void read_repeat(parser *p, row *r, const soma__nn_word *w) {
    soma__nn_value v[SOMA__NN_MAX_ARGS] = {0};
    read_positional(p, w, v);
    token open = p->t;
    const char *body = p->next;
    for (int64_t i = 0; i < v[0].i[0] && !soma__failed(); i++) {
        soma__nn_rows inside = {.row[0] = *r}; /* what is read is appended */
        p->t = open;
        p->next = body;
        read_rows(p, &inside, 1, w->word);
        *r = inside.row[0];
    }
}

/* The model that a name stands for: the layers that its description is written with. */
static soma_module *expand(parser *p, const soma__nn_word *w, const soma__nn_value *v) {
    soma__text text = {0};
    w->expand(v, &text);
    soma_module *m = NULL;
    if (!text.failed && !soma__failed())
        m = parse_inside(p, text.data, &p->layers);
    p->work += text.size;
    soma__text_free(&text);
    return m;
}

static const soma__nn_word *activation_here(const parser *p) {
    const soma__nn_word *w = p->t.kind == WORD ? soma__nn_find_word(p->t.word) : NULL;
    return w && w->activation ? w : NULL;
}

static soma_module *read_activation(parser *p, const char *at) {
    const soma__nn_word *w = soma__nn_find_word(p->t.word);
    soma__nn_value v[SOMA__NN_MAX_ARGS] = {0};
    advance(p);
    read_positional(p, w, v);
    while (!soma__failed() && p->t.kind == WORD && read_option(p, w, v)) {}
    return !soma__failed() && one_more(p, at) ? placed(p, w->make(v), at) : NULL;
}

static int modules_in(const soma_module *m) {
    int n = 1;
    for (int i = 0; i < m->n_children; i++)
        n += modules_in(m->children[i]);
    return n;
}

/* The layer of `w` and, if parentheses follow, the branches that make its inputs. */
static soma_module *read_made(parser *p, const soma__nn_word *w, const soma__nn_value *v, const char *at) {
    soma__nn_rows inside = {0};
    soma_module *branches[SOMA__NN_MAX_BRANCHES] = {0}, *m = one_more(p, at) ? placed(p, w->make(v), at) : NULL;
    if (m)
        p->layers += modules_in(m) / 16; /* a stack of layers in one word */
    if (!m || !w->inputs || p->t.kind != OPEN)
        return m;
    read_rows(p, &inside, w->inputs, w->word);
    if (!soma__failed() && inside.n < 2)
        fail_at(p, at, "", "%s needs 2 branches with '|' between them, not %d,", w->word, inside.n);
    int n = inside.n;
    for (int i = 0; i < n && !soma__failed(); i++)
        branches[i] = soma__nn_row_module(&inside.row[i], NULL);
    soma__nn_rows_free(&inside);
    if (!soma__failed() && one_more(p, at))
        return placed(p, soma_nn_branches_ex(m, n, branches), at);
    for (int i = 0; i < n; i++)
        soma_nn_free(branches[i]);
    soma_nn_free(m);
    return NULL;
}

/* What stands in the parentheses of `w`, made one layer. */
static soma_module *read_wrapped(parser *p, const soma__nn_word *w, const soma__nn_value *v, const char *at) {
    soma__nn_rows inside = {0};
    if (w->inner_activation && activation_here(p))
        inside.activation = read_activation(p, p->t.at);
    if (inside.activation)
        inside.activation = read_as(p, inside.activation, NULL);
    if (!soma__failed() && p->t.kind == WORD)
        fail_option(p, w);
    if (!soma__failed())
        read_rows(p, &inside, SOMA_MIN(w->max_rows, (int)SOMA_LEN(inside.row)), w->word);
    if (!soma__failed() && inside.n < w->min_rows)
        fail_at(p, at, "", "%s needs %d branches with '|' between them, not %d,", w->word, w->min_rows, inside.n);
    if (soma__failed() || !one_more(p, at)) {
        soma__nn_rows_free(&inside);
        return NULL;
    }
    return placed(p, w->wrap(v, &inside), at);
}

/* `w` with its numbers, options and parentheses; the name of the layer it is tied to goes to `tied`. */
static soma_module *read_module(parser *p, const soma__nn_word *w, const char *at, char tied[64], const char **tied_at) {
    soma__nn_value v[SOMA__NN_MAX_ARGS] = {0};
    read_positional(p, w, v);
    while (!soma__failed() && p->t.kind == WORD) {
        if (w->may_tie && strcmp(p->t.word, "tied") == 0) {
            if (tied[0]) {
                fail_at(p, p->t.at, "", "%s: 'tied' is given twice, again", w->word);
                return NULL;
            }
            advance(p);
            *tied_at = p->t.at;
            read_name(p, "tied", tied);
        } else if (!read_option(p, w, v)) {
            break;
        }
    }
    for (int i = 0; w->args && w->args[i].name && !soma__failed(); i++)
        if (w->args[i].required && w->args[i].word && !v[i].given)
            fail_at(p, at, "", "%s needs '%s' and a number,", w->word, w->args[i].word);
    if (!soma__failed() && w->must_tie && !tied[0])
        fail_unexpected(p, "'tied' and the name of a layer");
    if (soma__failed())
        return NULL;
    if (w->expand)
        return one_more(p, at) ? placed(p, expand(p, w, v), at) : NULL;
    if (w->body == SOMA__BODY_ROWS)
        return read_wrapped(p, w, v, at);
    return read_made(p, w, v, at);
}

static void fail_unknown(const parser *p) {
    char text[48], tail[64] = "";
    const char *near = soma__nn_suggest_word(p->t.word);
    if (near)
        snprintf(tail, sizeof tail, "; did you mean '%s'?", near);
    else
        snprintf(tail, sizeof tail, " ('soma layers' and 'soma models' list all)");
    fail_at(p, p->t.at, tail, "unknown layer %s", shown(&p->t, text));
}

static void read_layer(parser *p, row *r) {
    if (p->t.kind == OPEN) {
        read_group(p, r);
        return;
    }
    if (p->t.kind != WORD) {
        fail_unexpected(p, "a layer");
        return;
    }
    const soma__nn_word *w = soma__nn_find_word(p->t.word);
    if (!w) {
        fail_unknown(p);
        return;
    }
    const char *at = p->t.at, *tied_at = NULL;
    char tied[64] = "";
    advance(p);
    if (w->body == SOMA__BODY_REPEAT) {
        read_repeat(p, r, w);
        return;
    }
    p->model = w->expand && r->n == 0 && p->nesting == 0;
    soma_module *m = read_module(p, w, at, tied, &tied_at);
    add_layer(p, r, m, tied, tied_at);
    if (soma__failed() || p->t.kind != WORD)
        return;
    if (!w->takes_activation || !activation_here(p)) {
        fail_option(p, w);
        return;
    }
    w = activation_here(p);
    at = p->t.at;
    add_layer(p, r, read_activation(p, at), NULL, NULL);
    if (!soma__failed() && p->t.kind == WORD)
        fail_option(p, w);
}

static void read_row(parser *p, row *r) {
    for (;;) {
        read_layer(p, r);
        if (soma__failed() || p->t.kind != COMMA)
            return;
        advance(p);
        if (p->t.kind == END || p->t.kind == CLOSE || p->t.kind == BAR)
            return; /* a comma after the last layer does no harm */
    }
}

/* Every `tied NAME` must mean one layer. */
static void check_ties(const parser *p) {
    char why[200];
    for (int i = 0; i < p->n_ties && !soma__failed(); i++)
        if (!soma__nn_tied_source(p->ties[i].m, why, sizeof why))
            fail_at(p, p->ties[i].at, "", "%s,", why);
}

static soma_module *parse_all(parser *p) {
    row r = {0};
    advance(p);
    read_row(p, &r);
    if (!soma__failed() && p->t.kind != END)
        fail_unexpected(p, "',' or the end");
    soma_module *m = NULL;
    if (soma__failed()) {
        row_free(&r);
    } else if (p->model && r.n == 1 && !r.list[0]->wish) {
        m = r.list[0];
        soma__free(r.list);
    } else {
        m = soma_nn_seq_ex(r.n, r.list);
        soma__free(r.list);
    }
    if (m)
        check_ties(p);
    soma__free(p->ties);
    if (soma__failed()) {
        soma_nn_free(m);
        return NULL;
    }
    return m;
}

/* A text that is part of another: the limits count on. */
static soma_module *parse_inside(const parser *outer, const char *text, int *layers) {
    parser p = {.text = text, .next = text, .layers = outer->layers, .nesting = outer->nesting + 1};
    soma_module *m = parse_all(&p);
    *layers = p.layers;
    return m;
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
    soma__ctx()->parsing = true;
    soma_module *m = parse_all(&p);
    soma__ctx()->parsing = false;
    return m;
}
