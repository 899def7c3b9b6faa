/* Networks as text: the inverse of parse.c, and the manual's table of words. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

/* The word for a layer and the values it stands with; NULL when the class is not in the table. */
static const soma__nn_word *word_of(soma_module *m, soma__nn_value *values) {
    const soma__nn_word *w;
    for (int i = 0; (w = soma__nn_word_at(i)) != NULL; i++) {
        if (w->cls != m->cls || !w->read)
            continue;
        memset(values, 0, SOMA__NN_MAX_ARGS * sizeof *values);
        if (w->read(m, values))
            return w;
    }
    return NULL;
}

static void put_value(soma__text *text, const soma__nn_arg *arg, const soma__nn_value *v) {
    char real[40];
    int n = arg->kind == SOMA__ARG_PAIR ? 2 : arg->kind == SOMA__ARG_TRIPLE ? 3 : arg->kind == SOMA__ARG_LIST ? v->n : 1;
    bool equal = arg->kind != SOMA__ARG_LIST;
    for (int i = 1; i < n; i++)
        equal = equal && v->i[i] == v->i[0];
    if (arg->word)
        soma__text_add(text, " %s", arg->word);
    if (arg->kind == SOMA__ARG_REAL)
        soma__text_add(text, " %s", soma__nn_write_real(v->r, real));
    else if (arg->kind != SOMA__ARG_FLAG)
        for (int i = 0; i < (equal ? 1 : n); i++)
            soma__text_add(text, "%s%lld", i ? "x" : " ", (long long)v->i[i]);
}

size_t soma__nn_describe_word(soma_module *m, char *out, size_t size) {
    soma__nn_value values[SOMA__NN_MAX_ARGS];
    soma__text text = {0};
    const soma__nn_word *w = word_of(m, values);
    if (w)
        soma__text_add(&text, "%s", w->word);
    for (int i = 0, n = w ? soma__nn_n_args(w) : 0; i < n; i++)
        if (values[i].given)
            put_value(&text, &w->args[i], &values[i]);
    if (m->tied)
        soma__text_add(&text, " tied %s", m->tied);
    if (w && w->put_rows && !w->put_rows(m, &text))
        soma__text_free(&text);
    return soma__text_take(&text, out, size);
}

/* Appends a module's own words; false when it has none. A row of layers inside a row stands in parentheses. */
static bool put_module(soma__text *text, soma_module *m) {
    if (m->cls == &soma__nn_sequential_class) {
        soma__text_add(text, "(");
        if (!soma__nn_describe_row(m, 0, m->n_children, text))
            return false;
        soma__text_add(text, ")");
        return true;
    }
    size_t n = m->cls->describe ? m->cls->describe(m, NULL, 0) : 0;
    char *words = n > 0 ? soma__alloc(n + 1) : NULL;
    if (!words)
        return false;
    bool ok = m->cls->describe(m, words, n + 1) == n;
    soma__text_put(text, words, n);
    soma__free(words);
    return ok;
}

/* A name that the parser takes for one. */
static bool can_say(const char *name) {
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!letter && (c == name || *c < '0' || *c > '9'))
            return false;
    }
    return true;
}

/* The module and, unless it has the name that it would have anyway, " as NAME". */
static bool put_named(soma__text *text, soma_module *m, const char *ordinary) {
    if (!put_module(text, m))
        return false;
    if (strcmp(m->name, ordinary) == 0)
        return true;
    soma__text_add(text, " as %s", m->name);
    return can_say(m->name);
}

bool soma__nn_describe_row(soma_module *m, int first, int n, soma__text *text) {
    const soma__nn_word *before = NULL;
    soma__nn_value values[SOMA__NN_MAX_ARGS];
    for (int i = first; i < first + n; i++) {
        char place[16];
        snprintf(place, sizeof place, "%d", i - first);
        const soma__nn_word *word = word_of(m->children[i], values);
        if (i > first)
            soma__text_add(text, "%s", word && word->activation && before && before->takes_activation ? " " : ", ");
        if (!put_named(text, m->children[i], place))
            return false;
        before = word;
    }
    return n > 0 && !text->failed;
}

bool soma__nn_describe_branch(soma_module *child, const char *name, soma__text *text) {
    if (child->cls == &soma__nn_sequential_class && child->n_children > 1 && strcmp(child->name, name) == 0)
        return soma__nn_describe_row(child, 0, child->n_children, text);
    return put_named(text, child, name);
}

bool soma__nn_describe_branches(soma_module *m, int n, soma__text *text) {
    char place[16];
    for (int i = 0; i < n; i++) {
        soma__text_add(text, i ? " | " : "(");
        snprintf(place, sizeof place, "%d", i);
        if (!soma__nn_describe_branch(m->children[i], place, text))
            return false;
    }
    soma__text_add(text, ")");
    return n > 0;
}

size_t soma_nn_describe(soma_module *m, char *out, size_t size) {
    if (size > 0)
        out[0] = 0;
    return m && m->cls->describe ? m->cls->describe(m, out, size) : 0;
}

/* ---- The manual ---- */

static void put_arg(soma__text *t, const soma__nn_arg *arg) {
    static const char *const shown[] = {[SOMA__ARG_END] = "", [SOMA__ARG_INT] = "", [SOMA__ARG_PAIR] = "[xWIDTH]",
                                        [SOMA__ARG_TRIPLE] = "[xHEIGHTxWIDTH]", [SOMA__ARG_LIST] = "[x…]", [SOMA__ARG_REAL] = "",
                                        [SOMA__ARG_FLAG] = ""};
    char upper[24];
    size_t n = SOMA_MIN(strlen(arg->name), sizeof upper - 1);
    for (size_t i = 0; i < n; i++)
        upper[i] = (char)(arg->name[i] >= 'a' && arg->name[i] <= 'z' ? arg->name[i] - 'a' + 'A' : arg->name[i]);
    upper[n] = 0;
    soma__text_add(t, " %s%s%s%s%s%s", arg->required ? "" : "[", arg->word ? arg->word : "", arg->word && n > 0 ? " " : "", upper,
                   shown[arg->kind], arg->required ? "" : "]");
}

static void put_usage(soma__text *t, const soma__nn_word *w) {
    soma__text_add(t, "%s", w->word);
    for (int k = 0; k < soma__nn_n_args(w); k++)
        put_arg(t, &w->args[k]);
    if (w->may_tie)
        soma__text_add(t, w->must_tie ? " tied NAME" : " [tied NAME]");
    if (w->takes_activation || w->inner_activation)
        soma__text_add(t, " [ACTIVATION]");
    if (w->body)
        soma__text_add(t, w->max_rows > 2 ? " (… | …)" : w->max_rows == 2 ? " (… [| …])" : " (…)");
    if (w->inputs)
        soma__text_add(t, w->inputs > 2 ? " [(… | … [| …])]" : " [(… | …)]");
}

bool soma_nn_word_get(int i, soma_nn_word_info *out) {
    const soma__nn_word *w = i < 0 ? NULL : soma__nn_word_at(i);
    if (w && out)
        *out = (soma_nn_word_info){w->word, w->cls ? w->cls->name : "", w->help, w->expand != NULL, w->activation};
    return w != NULL;
}

size_t soma_nn_word_usage(int i, char *out, size_t size) {
    const soma__nn_word *w = i < 0 ? NULL : soma__nn_word_at(i);
    soma__text text = {0};
    if (w)
        put_usage(&text, w);
    return soma__text_take(&text, out, size);
}

static void put_table(soma__text *t, bool models) {
    const soma__nn_word *w;
    for (int i = 0; (w = soma__nn_word_at(i)) != NULL; i++) {
        if (models != (w->expand != NULL))
            continue;
        soma__text_add(t, "| `");
        put_usage(t, w);
        if (models)
            soma__text_add(t, "` | %s |\n", w->help);
        else
            soma__text_add(t, "` | %s | %s |\n", w->cls ? w->cls->name : "", w->help);
    }
}

void soma__nn_manual(soma__text *t) {
    soma__text_add(t, "| words | layer | what it does |\n|---|---|---|\n");
    put_table(t, false);
}

void soma__nn_manual_models(soma__text *t) {
    soma__text_add(t, "| words | model |\n|---|---|\n");
    put_table(t, true);
}
