/* Networks as text: the inverse of parse.c, and the manual's table of words. */
#include "nn/nn.h"

#include <stdio.h>
#include <string.h>

/* The word for a layer and the values it stands with; NULL when the class is not in the table. */
static const soma__nn_word *word_of(soma_module *m, soma__nn_value *values) {
    for (int i = 0; i < soma__nn_n_words; i++) {
        const soma__nn_word *w = &soma__nn_words[i];
        memset(values, 0, SOMA__NN_MAX_ARGS * sizeof *values);
        if (w->cls == m->cls && w->read && w->read(m, values))
            return w;
    }
    return NULL;
}

static void put_value(soma__text *text, const soma__nn_arg *arg, const soma__nn_value *v) {
    char real[40];
    if (arg->word)
        soma__text_add(text, " %s", arg->word);
    if (arg->kind == SOMA__ARG_REAL)
        soma__text_add(text, " %s", soma__nn_write_real(v->r, real));
    else if (arg->kind == SOMA__ARG_PAIR && v->i[0] != v->i[1])
        soma__text_add(text, " %lldx%lld", (long long)v->i[0], (long long)v->i[1]);
    else if (arg->kind != SOMA__ARG_FLAG)
        soma__text_add(text, " %lld", (long long)v->i[0]);
}

size_t soma__nn_describe_word(soma_module *m, char *out, size_t size) {
    soma__nn_value values[SOMA__NN_MAX_ARGS];
    soma__text text = {0};
    const soma__nn_word *w = word_of(m, values);
    if (w)
        soma__text_add(&text, "%s", w->word);
    for (int i = 0; w && i < SOMA__NN_MAX_ARGS && w->args[i].kind != SOMA__ARG_END; i++)
        if (values[i].given)
            put_value(&text, &w->args[i], &values[i]);
    return soma__text_take(&text, out, size);
}

/* Appends a module's own words; false when it has none. A row of layers inside a row stands in parentheses. */
static bool put_module(soma__text *text, soma_module *m) {
    if (m->cls == &soma__nn_sequential_class) {
        soma__text_add(text, "(");
        if (!soma__nn_describe_children(m, text))
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

bool soma__nn_describe_children(soma_module *m, soma__text *text) {
    const soma__nn_word *before = NULL;
    soma__nn_value values[SOMA__NN_MAX_ARGS];
    for (int i = 0; i < m->n_children; i++) {
        char place[16];
        snprintf(place, sizeof place, "%d", i);
        if (strcmp(m->children[i]->name, place) != 0)
            return false; /* a description cannot say this name */
        const soma__nn_word *word = word_of(m->children[i], values);
        if (i > 0)
            soma__text_add(text, "%s", word && word->activation && before && before->takes_activation ? " " : ", ");
        if (!put_module(text, m->children[i]))
            return false;
        before = word;
    }
    return m->n_children > 0 && !text->failed;
}

size_t soma_nn_describe(soma_module *m, char *out, size_t size) {
    if (size > 0)
        out[0] = 0;
    return m && m->cls->describe ? m->cls->describe(m, out, size) : 0;
}

/* ---- The manual ---- */

static void put_arg(soma__text *t, const soma__nn_arg *arg) {
    static const char *const shown[] = {[SOMA__ARG_END] = "", [SOMA__ARG_INT] = "", [SOMA__ARG_PAIR] = "[xWIDTH]",
                                        [SOMA__ARG_REAL] = "", [SOMA__ARG_FLAG] = ""};
    char upper[24];
    size_t n = SOMA_MIN(strlen(arg->name), sizeof upper - 1);
    for (size_t i = 0; i < n; i++)
        upper[i] = (char)(arg->name[i] - 'a' + 'A');
    upper[n] = 0;
    soma__text_add(t, " %s%s%s%s%s%s", arg->required ? "" : "[", arg->word ? arg->word : "", arg->word && n > 0 ? " " : "", upper,
                   shown[arg->kind], arg->required ? "" : "]");
}

void soma__nn_manual(soma__text *t) {
    soma__text_add(t, "| words | layer | what it does |\n|---|---|---|\n");
    for (int i = 0; i < soma__nn_n_words; i++) {
        const soma__nn_word *w = &soma__nn_words[i];
        soma__text_add(t, "| `%s", w->word);
        for (int k = 0; k < SOMA__NN_MAX_ARGS && w->args[k].kind != SOMA__ARG_END; k++)
            put_arg(t, &w->args[k]);
        soma__text_add(t, "%s%s` | %s | %s |\n", w->body ? " (…)" : "", w->takes_activation ? " [ACTIVATION]" : "",
                       w->cls ? w->cls->name : "", w->help);
    }
}
