/* Reads arguments by the option table of a command. Every message names the option, what was given and what was expected. */
#include "options.h"

#include <soma/soma.h>

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const option common_options[] = {
    {"json", 0, OPT_FLAG, NULL, "print results as JSON, for programs", NULL},
    {"quiet", 'q', OPT_FLAG, NULL, "no progress and no notes on standard error", NULL},
    {"seed", 0, OPT_SEED, "N", "seed of all random numbers", "0"},
    {"threads", 0, OPT_INT, "N", "threads to use; results do not depend on it", "(all that this process may use)"},
    {"help", 'h', OPT_FLAG, NULL, "show this help", NULL},
};
const int n_common_options = (int)(sizeof common_options / sizeof common_options[0]);

/* ---- Messages -------------------------------------------------------------------------------------------------------- */

static void say(const command *cmd, const char *format, va_list list)
{
    fflush(stdout); /* so that results and messages keep their order on a terminal */
    if (cmd)
        fprintf(stderr, "soma %s: ", cmd->name);
    else
        fprintf(stderr, "soma: ");
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

int usage_error(const args *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(a->cmd, format, list);
    va_end(list);
    fprintf(stderr, "See 'soma %s --help'.\n", a->cmd->name);
    return 2;
}

int work_error(const args *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(a->cmd, format, list);
    va_end(list);
    return 1;
}

int library_error(const args *a)
{
    int code = work_error(a, "%s", soma_error() == SOMA_OK ? "failed without saying why" : soma_error_message());
    soma_error_clear();
    return code;
}

void note(const args *a, const char *format, ...)
{
    if (arg_flag(a, "quiet"))
        return;
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

int print_json(const args *a, json_t *root)
{
    if (!root)
        return work_error(a, "out of memory");
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
    return 0; /* a write error is found when stdout is closed */
}

/* ---- Names ----------------------------------------------------------------------------------------------------------- */

static int least(int a, int b) { return a < b ? a : b; }

/* As a name is compared: LeakyReLU, leaky-relu and leaky_relu are the same. */
static void fold(const char *name, char out[64])
{
    int n = 0;
    for (; *name && n < 63; name++)
        if (*name != '_' && *name != '-')
            out[n++] = (char)tolower((unsigned char)*name);
    out[n] = 0;
}

/* Damerau-Levenshtein distance with neighbouring letters swapped; names longer than 63 letters count as far. */
static int distance(const char *a, const char *b)
{
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > 63 || m > 63)
        return 1000;
    int d[64][64];
    for (int i = 0; i <= n; i++) {
        for (int j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

const char *nearest_name(const char *wanted, const char *const *names, int n)
{
    const char *best = NULL;
    char word[64], name[64];
    fold(wanted, word);
    int length = (int)strlen(word), limit = 2 * (length <= 2 ? 1 : length <= 5 ? 2 : 3);
    for (int i = 0; i < n; i++) {
        fold(names[i], name);
        int d = 2 * distance(word, name);
        if (length >= 2 && strncmp(word, name, (size_t)length) == 0)
            d = least(d, 1); /* a beginning of the name is better than a slip of one letter */
        if (d <= limit) {
            limit = d - 1;
            best = names[i];
        }
    }
    return best;
}

bool is_hidden_common(const command *cmd, const option *common)
{
    for (int i = 0; i < cmd->n_options; i++)
        if (!strcmp(cmd->options[i].name, common->name))
            return true;
    return false;
}

const option *find_option(const command *cmd, const char *name, size_t length, int *index)
{
    for (int i = 0; i < cmd->n_options + n_common_options; i++) {
        const option *o = i < cmd->n_options ? &cmd->options[i] : &common_options[i - cmd->n_options];
        if (strlen(o->name) == length && !memcmp(o->name, name, length)) {
            if (index)
                *index = i;
            return o;
        }
    }
    return NULL;
}

static const option *find_letter(const command *cmd, char letter, int *index)
{
    for (int i = 0; i < cmd->n_options + n_common_options; i++) {
        const option *o = i < cmd->n_options ? &cmd->options[i] : &common_options[i - cmd->n_options];
        if (o->letter == letter && letter) {
            *index = i;
            return o;
        }
    }
    return NULL;
}

static int unknown_option(const args *a, const char *given, size_t length)
{
    const char *names[128];
    int n = 0;
    for (int i = 0; i < a->cmd->n_options && n < 100; i++)
        names[n++] = a->cmd->options[i].name;
    for (int i = 0; i < n_common_options; i++)
        names[n++] = common_options[i].name;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%.*s", (int)length, given);
    const char *near = nearest_name(wanted, names, n);
    if (near)
        return usage_error(a, "unknown option '--%.*s'; did you mean '--%s'?", (int)length, given, near);
    return usage_error(a, "unknown option '--%.*s'", (int)length, given);
}

/* ---- Values ---------------------------------------------------------------------------------------------------------- */

bool has_choices(const option *o)
{
    if (o->kind != OPT_TEXT || !o->placeholder || !strchr(o->placeholder, '|'))
        return false;
    for (const char *c = o->placeholder; *c; c++)
        if (isupper((unsigned char)*c))
            return false;
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = choices; length > 0;) {
        size_t part = strcspn(at, "|");
        if (part == length && !memcmp(at, text, length))
            return true;
        if (!at[part])
            return false;
        at += part + 1;
    }
    return false;
}

static bool read_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *out = v;
    return !errno && end != text && !*end && !isspace((unsigned char)*text);
}

static bool read_seed(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    *out = v;
    return !errno && isdigit((unsigned char)*text) && !*end;
}

static bool read_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end); /* the tool stays in the C locale: a point is a point */
    return end != text && !*end && !isspace((unsigned char)*text) && isfinite(*out);
}

static int set_value(const args *a, const option *o, arg_value *v, const char *text)
{
    const char *wanted = NULL;
    v->text = text;
    switch (o->kind) {
    case OPT_FLAG:
        v->flag = true;
        break;
    case OPT_INT:
        if (!read_int(text, &v->i))
            wanted = "a whole number";
        break;
    case OPT_SEED:
        if (!read_seed(text, &v->seed))
            wanted = "a whole number from 0 to 2^64 - 1";
        break;
    case OPT_NUMBER:
        if (!read_number(text, &v->number))
            wanted = "a number such as 0.001 or 1e-3";
        break;
    case OPT_TEXT:
        if (has_choices(o) && !is_choice(o->placeholder, text))
            return usage_error(a, "--%s takes one of %s, not '%s'", o->name, o->placeholder, text);
        break;
    }
    if (wanted)
        return usage_error(a, "--%s takes %s, not '%s'", o->name, wanted, text);
    return 0;
}

static int set_defaults(const args *a)
{
    for (int i = 0; i < a->cmd->n_options + n_common_options; i++) {
        const option *o = i < a->cmd->n_options ? &a->cmd->options[i] : &common_options[i - a->cmd->n_options];
        if (!o->def || o->def[0] == '(' || o->kind == OPT_FLAG)
            continue;
        int code = set_value(a, o, &a->values[i], o->def);
        if (code)
            return code;
    }
    return 0;
}

/* ---- The walk over argv ---------------------------------------------------------------------------------------------- */

typedef struct walk {
    int argc, at;
    char **argv;
} walk;

static int take_long(args *a, walk *w, const char *text)
{
    size_t length = strcspn(text, "=");
    int index;
    const option *o = find_option(a->cmd, text, length, &index);
    if (!o)
        return unknown_option(a, text, length);
    const char *value = text[length] ? text + length + 1 : NULL;
    if (o->kind == OPT_FLAG && value)
        return usage_error(a, "--%s takes no value", o->name);
    if (o->kind != OPT_FLAG && !value) {
        if (w->at >= w->argc)
            return usage_error(a, "--%s needs a value: --%s %s", o->name, o->name, o->placeholder ? o->placeholder : "VALUE");
        value = w->argv[w->at++];
    }
    a->values[index].given = true;
    return set_value(a, o, &a->values[index], value);
}

static int take_letters(args *a, walk *w, const char *text)
{
    for (; *text; text++) {
        int index;
        const option *o = find_letter(a->cmd, *text, &index);
        if (!o)
            return usage_error(a, "unknown option '-%c'", *text);
        a->values[index].given = true;
        if (o->kind == OPT_FLAG) {
            a->values[index].flag = true;
            continue;
        }
        const char *value = text[1] ? text + 1 : w->at < w->argc ? w->argv[w->at++] : NULL;
        if (!value)
            return usage_error(a, "-%c (--%s) needs a value: -%c %s", *text, o->name, *text, o->placeholder ? o->placeholder : "VALUE");
        return set_value(a, o, &a->values[index], value);
    }
    return 0;
}

int parse_args(const command *cmd, int argc, char **argv, args *out)
{
    *out = (args){.cmd = cmd};
    out->values = calloc((size_t)(cmd->n_options + n_common_options), sizeof *out->values);
    out->rest = calloc((size_t)argc + 1, sizeof *out->rest);
    if (!out->values || !out->rest)
        return work_error(out, "out of memory");
    int code = set_defaults(out);
    bool only_rest = false;
    for (walk w = {.argc = argc, .argv = argv}; !code && w.at < argc;) {
        const char *text = argv[w.at++];
        if (only_rest || text[0] != '-' || !text[1])
            out->rest[out->n_rest++] = text;
        else if (!strcmp(text, "--"))
            only_rest = true;
        else if (text[1] == '-')
            code = take_long(out, &w, text + 2);
        else
            code = take_letters(out, &w, text + 1);
    }
    if (code)
        return code;
    return arg_flag(out, "help") ? -1 : 0;
}

void free_args(args *a)
{
    free(a->values);
    free(a->rest);
    *a = (args){0};
}

/* ---- Reading --------------------------------------------------------------------------------------------------------- */

static const arg_value *value_of(const args *a, const char *name, int kind)
{
    int index;
    const option *o = find_option(a->cmd, name, strlen(name), &index);
    if (!o || (kind >= 0 && (int)o->kind != kind)) {
        fprintf(stderr, "soma: option '%s' of '%s' is asked for but not declared so\n", name, a->cmd->name);
        abort();
    }
    return &a->values[index];
}

bool arg_flag(const args *a, const char *name) { return value_of(a, name, OPT_FLAG)->flag; }
int64_t arg_int(const args *a, const char *name) { return value_of(a, name, OPT_INT)->i; }
uint64_t arg_seed(const args *a, const char *name) { return value_of(a, name, OPT_SEED)->seed; }
double arg_number(const args *a, const char *name) { return value_of(a, name, OPT_NUMBER)->number; }
const char *arg_text(const args *a, const char *name) { return value_of(a, name, OPT_TEXT)->text; }
bool arg_given(const args *a, const char *name) { return value_of(a, name, -1)->given; }
