/* See choices.h. */
#include "choices.h"
#include "options.h"
#include "term.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 24 };
typedef struct choice {
    char text[512];           /* cut into words */
    const char *name;
    soma_attr attrs[MOST];
    int n;
} choice;

static void first_word(const char *text, char out[32])
{
    snprintf(out, 32, "%.*s", (int)strcspn(text, " "), text);
}

const soma_optim_info *chosen_optim(const char *text)
{
    char name[32];
    first_word(text, name);
    return soma_optim_find(name);
}

const soma_sched_info *chosen_sched(const char *text)
{
    char name[32];
    first_word(text, name);
    return soma_sched_find(name);
}

bool optim_has_option(const soma_optim_info *info, const char *option_name)
{
    for (int i = 0; i < info->n_options; i++)
        if (!strcmp(info->options[i].name, option_name))
            return true;
    return false;
}

static bool bad_value(const choice *c, const char *name, const char *value, const soma_option_info *info)
{
    double example = info && isfinite(info->def) && info->def != 0 ? info->def : info && info->steps ? 10 : 0.1;
    soma_fail(SOMA_EINVAL, "%s: %s is '%s', expected a number, such as %s=%g", c->name, name, value, name, example);
    return false;
}

/* One or several numbers with colons between them. */
static bool read_value(const choice *c, soma_attr *attr, const char *value, const soma_option_info *info, double scale)
{
    int64_t list[SOMA_MAX_DIMS];
    int n = 0;
    for (const char *at = value; *at || n == 0;) {
        char *end;
        double v = strtod(at, &end);
        if (end == at || (*end && *end != ':') || !isfinite(v) || fabs(v * scale) > 1e15 || n == SOMA_MAX_DIMS)
            return bad_value(c, attr->name, value, info);
        attr->kind = SOMA_ATTR_FLOAT;
        attr->value.f = scale == 1 ? v : round(v * scale);
        list[n++] = (int64_t)llround(v * scale);
        at = *end ? end + 1 : end;
    }
    if (n > 1) {
        attr->kind = SOMA_ATTR_INTS;
        attr->count = n;
        memcpy(attr->value.ints, list, (size_t)n * sizeof *list);
    }
    return true;
}

/* "name=value"; a name alone is a flag that is set. */
static bool add_option(choice *c, char *word, const soma_option_info *options, int n_options, int64_t steps_an_epoch)
{
    char *value = strchr(word, '=');
    const soma_option_info *info = NULL;
    if (c->n == MOST) {
        soma_fail(SOMA_EINVAL, "%s: more than %d options", c->name, MOST);
        return false;
    }
    if (value)
        *value++ = 0;
    for (int i = 0; i < n_options; i++)
        if (!strcmp(options[i].name, word))
            info = &options[i];
    soma_attr *attr = &c->attrs[c->n++];
    *attr = SOMA_BOOLEAN(word, 1);
    if (!value)
        return !info || info->kind == SOMA_ATTR_BOOL || bad_value(c, word, "", info);
    if (info && info->kind == SOMA_ATTR_STRING)
        *attr = SOMA_STRING(word, value);
    else if (!read_value(c, attr, value, info, info && info->steps ? (double)steps_an_epoch : 1))
        return false;
    if (info && info->kind == SOMA_ATTR_INTS && attr->kind != SOMA_ATTR_INTS)
        *attr = SOMA_INTS(word, (int64_t)attr->value.f);
    return true;
}

static bool read_choice(choice *c, const char *text, const soma_attr *own, int n, const soma_option_info *options, int n_options,
                        int64_t steps_an_epoch)
{
    for (c->n = 0; c->n < n; c->n++)
        c->attrs[c->n] = own[c->n];
    if (strlen(text) >= sizeof c->text) {
        soma_fail(SOMA_EINVAL, "\"%.40s…\" is too long", text);
        return false;
    }
    snprintf(c->text, sizeof c->text, "%s", text);
    char *rest = NULL;
    c->name = strtok_r(c->text, " ", &rest);
    c->name = c->name ? c->name : "";
    for (char *word; (word = strtok_r(NULL, " ", &rest)) != NULL;)
        if (!add_option(c, word, options, n_options, steps_an_epoch))
            return false;
    return true;
}

soma_optim *choose_optim(const char *text, soma_module *net, const soma_attr *own, int n)
{
    choice c;
    const soma_optim_info *info = chosen_optim(text);
    if (!read_choice(&c, text, own, n, info ? info->options : NULL, info ? info->n_options : 0, 1))
        return NULL;
    return soma_optim_by_name_ex(c.name, net, c.attrs, c.n);
}

soma_sched *choose_sched(const char *text, int64_t total, int64_t steps_an_epoch, const soma_attr *own, int n)
{
    choice c;
    const soma_sched_info *info = chosen_sched(text);
    if (!read_choice(&c, text, own, n, info ? info->options : NULL, info ? info->n_options : 0, steps_an_epoch))
        return NULL;
    return soma_sched_by_name(c.name, total, c.attrs, c.n);
}

/* ---- Lists ---------------------------------------------------------------------------------------------------------- */

enum { HELP_AT = 33 };                  /* the column of the options' help */

static int list_width(void)
{
    int width = term_width(stdout);
    return width > 110 ? 110 : width < 60 ? 60 : width;
}

static void print_options(const soma_option_info *options, int n, bool epochs)
{
    for (int i = 0; i < n; i++) {
        char value[32] = "", help[400];
        if (options[i].kind != SOMA_ATTR_BOOL && !isnan(options[i].def))
            snprintf(value, sizeof value, "=%g", options[i].def);
        else if (options[i].kind != SOMA_ATTR_BOOL)
            snprintf(value, sizeof value, "=...");
        int left = HELP_AT - 5 - (int)strlen(options[i].name);
        printf("    %s%-*s ", options[i].name, left > 0 ? left : 0, value);
        snprintf(help, sizeof help, "%s%s", options[i].help, epochs && options[i].steps ? " (in epochs)" : "");
        print_wrapped(stdout, help, HELP_AT, HELP_AT, list_width());
    }
}

static void print_entry(const char *name, const char *doc, const char *source)
{
    char text[800];
    snprintf(text, sizeof text, "%s%s%s%s", doc, *source ? " (" : "", source, *source ? ")" : "");
    printf("%s%s%s: ", term_style(stdout, TERM_BOLD), name, term_style(stdout, TERM_PLAIN));
    print_wrapped(stdout, text, (int)strlen(name) + 2, 4, list_width());
}

int list_optims(void)
{
    for (int i = 0; i < soma_optim_kind_count(); i++) {
        const soma_optim_info *info = soma_optim_kind_get(i);
        print_entry(info->name, info->doc, info->source);
        print_options(info->options, info->n_options, false);
    }
    return 0;
}

int list_scheds(void)
{
    for (int i = 0; i < soma_sched_kind_count(); i++) {
        const soma_sched_info *info = soma_sched_kind_get(i);
        print_entry(info->name, info->doc, info->source);
        print_options(info->options, info->n_options, true);
    }
    return 0;
}

int list_inits(void)
{
    for (int i = 0; i < soma_init_kind_count(); i++)
        print_entry(soma_init_kind_get(i)->name, soma_init_kind_get(i)->doc, soma_init_kind_get(i)->source);
    return 0;
}
