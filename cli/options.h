/* The frame of the command line: what a subcommand is, its option table, and how it reads its arguments.
 *
 * One table per subcommand is the only place where its options stand: parsing, --help, the man page and shell completion all
 * read it. Habits are git's: --name value, --name=value, -n value, -nvalue, flags bundled as -ab, "--" ends the options, options
 * and positional arguments mix, and names are not abbreviated. Exit codes: 0, 1 (the work failed), 2 (wrong usage). */
#ifndef SOMA_CLI_OPTIONS_H
#define SOMA_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* FLAG takes no value. INT is an int64_t, NUMBER a double, SEED a uint64_t. */
typedef enum option_kind { OPT_FLAG, OPT_INT, OPT_NUMBER, OPT_TEXT, OPT_SEED } option_kind;

typedef struct option {
    const char *name;        /* without dashes */
    char letter;             /* 0: none */
    option_kind kind;
    /* The value's name in the help: "N", "RATE". FILE, DIR, PATH, RUN and MODEL complete to files. With bars and in lower case,
     * "sgd|adam|adamw", it lists the values allowed: others are refused, and completion offers them. */
    const char *placeholder;
    const char *help;        /* a phrase without a full stop; starts in lower case */
    const char *def;         /* the default, as text: parsed when the option is not given; NULL: 0, 0.0, NULL, false. A default in
                              * parentheses, "(the data's)", is only shown */
} option;

struct args;
typedef struct command {
    const char *name;
    const char *summary;     /* one phrase for the list of commands; NULL: not listed */
    const char *usage;       /* what follows "soma NAME": "--data PATH --net TEXT [options]"; several lines: one form each */
    const char *details;     /* paragraphs, parted by empty lines; wrapped when shown */
    const char *example;     /* lines of shell; shown as they are */
    const option *options;
    int n_options;
    int (*run)(struct args *a); /* the exit code */
} command;

#define OPTIONS(table) .options = (table), .n_options = (int)(sizeof(table) / sizeof((table)[0]))

/* Every command also takes --json, --quiet (-q), --seed, --threads and --help (-h), unless its own table has an option of that
 * name, which then counts. --threads and --seed are applied (soma_set_threads, soma_seed) before run is called. */
typedef struct args args;
struct args {
    const command *cmd;
    const char **rest;       /* positional arguments */
    int n_rest;
    struct arg_value *values; /* one for each option of the command, then of the common table */
};

/* Asking for a name that is in no table, or with the wrong kind, is a mistake in the program and aborts the tool. */
bool arg_flag(const args *a, const char *name);
int64_t arg_int(const args *a, const char *name);
uint64_t arg_seed(const args *a, const char *name);
double arg_number(const args *a, const char *name);
const char *arg_text(const args *a, const char *name); /* NULL when not given and without a default */
bool arg_given(const args *a, const char *name);       /* on the command line, rather than by default */

/* For run(): print one line to stderr, "soma train: …", and return the exit code. */
int usage_error(const args *a, const char *format, ...) __attribute__((format(printf, 2, 3))); /* 2, and points to --help */
int work_error(const args *a, const char *format, ...) __attribute__((format(printf, 2, 3)));  /* 1 */
int library_error(const args *a); /* soma's pending error; clears it; 1 */
/* A note on stderr, left out with --quiet. */
void note(const args *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints `root` to stdout, indented, and gives it back. NULL (memory was short while it was made): an error. Returns the exit code. */
struct json_t;
int print_json(const args *a, struct json_t *root);

/* ---- For the frame itself (main.c, help.c, docs.c) ------------------------------------------------------------------- */

extern const command *const all_commands[];
extern const int n_commands;
extern const option common_options[];
extern const int n_common_options;
const command *find_command(const char *name);

typedef struct arg_value {
    bool given;
    bool flag;
    int64_t i;
    uint64_t seed;
    double number;
    const char *text;
} arg_value;
/* Parses argv[0 … argc-1], what follows the command's name. 0; 2 after a message on stderr; -1 when --help was asked for. */
int parse_args(const command *cmd, int argc, char **argv, args *out);
void free_args(args *a);
/* The option of that name in the command's table or the common one; NULL when there is none. */
const option *find_option(const command *cmd, const char *name, size_t length, int *index);
bool has_choices(const option *o);
bool is_hidden_common(const command *cmd, const option *common); /* the command's own table has one of that name */

void print_help(FILE *out, const command *cmd);
void print_overview(FILE *out);
/* Wraps `text` to `width` with `indent` spaces before every line but the first, which starts at column `at`. */
void print_wrapped(FILE *out, const char *text, int at, int indent, int width);
/* The nearest of `n` names by edit distance; NULL when none is near enough to suggest. */
const char *nearest_name(const char *wanted, const char *const *names, int n);

#endif
