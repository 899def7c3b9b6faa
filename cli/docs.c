/* `soma docs`, a command for the build and for packagers: man pages, reference pages and shell completion from the tables of the commands, so that
 * they cannot differ from what the tool does. */
#include "options.h"
#include "reference.h"

#include <soma/soma.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool takes_file(const option *o)
{
    static const char *const names[] = {"FILE", "DIR", "PATH", "RUN", "MODEL", "TEXT|FILE", "PATH|FILE"};
    for (size_t i = 0; o->placeholder && i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(o->placeholder, names[i]))
            return true;
    return false;
}

/* The i-th option that `cmd` takes, its own and the common ones; NULL after the last. */
static const option *option_at(const command *cmd, int i)
{
    if (i < cmd->n_options)
        return &cmd->options[i];
    i -= cmd->n_options;
    for (int k = 0; k < n_common_options; k++)
        if (!is_hidden_common(cmd, &common_options[k]) && i-- == 0)
            return &common_options[k];
    return NULL;
}

/* ---- Man pages ------------------------------------------------------------------------------------------------------- */

/* The character that the UTF-8 at *text begins with; *text moves to its last byte. */
static unsigned decode(const char **text)
{
    unsigned char c = (unsigned char)**text;
    int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    unsigned code = c & (0x3Fu >> more);
    for (; more > 0 && ((unsigned char)(*text)[1] & 0xC0) == 0x80; more--)
        code = code << 6 | ((unsigned char)*++*text & 0x3F);
    return code;
}

/* Text as roff: backslashes and leading points and quotes do not mean commands, dashes stay dashes that can be copied. */
static void roff(FILE *f, const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", f);
        if (*text == '\\')
            fputs("\\e", f);
        else if (*text == '-')
            fputs("\\-", f);
        else if (text[0] == '\n' && text[1] == '\n') {
            fputs("\n.PP\n", f);
            text += strspn(text, "\n") - 1;
        } else if ((unsigned char)*text >= 0x80)
            fprintf(f, "\\[u%04X]", decode(&text));
        else
            fputc(*text, f);
        line_start = *text == '\n';
    }
}

static void man_option(FILE *f, const option *o)
{
    fputs(".TP\n", f);
    if (o->letter)
        fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", f);
    roff(f, o->name);
    fputs("\\fR", f);
    if (o->kind != OPT_FLAG) {
        fputs(" \\fI", f);
        roff(f, o->placeholder ? o->placeholder : "VALUE");
        fputs("\\fR", f);
    }
    fputc('\n', f);
    roff(f, o->help);
    if (o->def) {
        fputs(o->def[0] == '(' ? " " : ". Default: ", f);
        roff(f, o->def);
    }
    fputs(".\n", f);
}

static void man_lines(FILE *f, const char *text)
{
    fputs(".PP\n.nf\n.RS 4\n", f);
    roff(f, text);
    fputs("\n.RE\n.fi\n", f);
}

static void man_usage(FILE *f, const command *cmd)
{
    fputs(".SH SYNOPSIS\n.nf\n", f);
    const char *at = cmd->usage ? cmd->usage : "";
    do {
        size_t length = strcspn(at, "\n");
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)length, at);
        fprintf(f, "\\fBsoma %s\\fR ", cmd->name);
        roff(f, line);
        fputc('\n', f);
        at += length + (at[length] == '\n');
    } while (*at);
    fputs(".fi\n", f);
}

static const char exit_status[] = ".SH EXIT STATUS\n.TP\n0\nthe work was done\n.TP\n1\nthe work failed; standard error says why\n"
                                  ".TP\n2\nwrong usage\n";

static void man_command(FILE *f, const command *cmd)
{
    char upper[64];
    size_t n = strlen(cmd->name);
    for (size_t i = 0; i <= n; i++)
        upper[i] = (char)(cmd->name[i] >= 'a' && cmd->name[i] <= 'z' ? cmd->name[i] - 32 : cmd->name[i]);
    fprintf(f, ".TH SOMA\\-%s 1 \"\" \"soma %s\" \"soma manual\"\n.SH NAME\nsoma\\-%s \\- ", upper, soma_version(), cmd->name);
    roff(f, cmd->summary);
    fputc('\n', f);
    man_usage(f, cmd);
    fputs(".SH DESCRIPTION\n", f);
    roff(f, cmd->details ? cmd->details : cmd->summary);
    fputs("\n.SH OPTIONS\n", f);
    for (int i = 0; option_at(cmd, i); i++)
        man_option(f, option_at(cmd, i));
    fputs(exit_status, f);
    if (cmd->example) {
        fputs(".SH EXAMPLES\n", f);
        man_lines(f, cmd->example);
    }
    fputs(".SH SEE ALSO\n\\fBsoma\\fR(1)\n", f);
}

static void man_overview(FILE *f)
{
    fprintf(f, ".TH SOMA 1 \"\" \"soma %s\" \"soma manual\"\n.SH NAME\nsoma \\- deep learning in C\n", soma_version());
    fputs(".SH SYNOPSIS\n\\fBsoma\\fR \\fICOMMAND\\fR [options]\n.SH DESCRIPTION\n"
          "Trains, judges and uses neural networks on images and tables, on the processor, without Python.\n"
          "Results go to standard output, progress and messages to standard error.\n.SH COMMANDS\n", f);
    for (int i = 0; i < n_commands; i++) {
        if (!all_commands[i]->summary)
            continue;
        fprintf(f, ".TP\n\\fBsoma\\-%s\\fR(1)\n", all_commands[i]->name);
        roff(f, all_commands[i]->summary);
        fputc('\n', f);
    }
    fputs(exit_status, f);
    fputs(".SH ENVIRONMENT\n.TP\n\\fBSOMA_THREADS\\fR\nthreads to use when \\-\\-threads is not given\n"
          ".TP\n\\fBSOMA_ISA\\fR\ninstruction set to use, when it is lower than the machine's best: sse2, avx2, avx512\n"
          ".TP\n\\fBNO_COLOR\\fR\nno colours when set\n"
          ".SH FILES\nA run is a folder: config.json, metrics.jsonl, model.safetensors (the best epoch), the last two\n"
          "checkpoint\\-*.safetensors and the plots.\n", f);
}

static int man_page(const args *a, const char *dir, const command *cmd)
{
    char path[4096];
    if (cmd)
        snprintf(path, sizeof path, "%s/soma-%s.1", dir, cmd->name);
    else
        snprintf(path, sizeof path, "%s/soma.1", dir);
    FILE *f = fopen(path, "w");
    if (!f)
        return work_error(a, "cannot write %s: %s", path, strerror(errno));
    if (cmd)
        man_command(f, cmd);
    else
        man_overview(f);
    bool bad = ferror(f) != 0;
    if (fclose(f) || bad)
        return work_error(a, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

static int write_man(const args *a, const char *dir)
{
    if (mkdir(dir, 0777) && errno != EEXIST)
        return work_error(a, "cannot make the folder %s: %s", dir, strerror(errno));
    int code = man_page(a, dir, NULL);
    for (int i = 0; i < n_commands && !code; i++)
        if (all_commands[i]->summary)
            code = man_page(a, dir, all_commands[i]);
    return code;
}

/* ---- Completion ------------------------------------------------------------------------------------------------------ */

static const char *optim_name(int i) { return i < soma_optim_kind_count() ? soma_optim_kind_get(i)->name : NULL; }
static const char *sched_name(int i) { return i < soma_sched_kind_count() ? soma_sched_kind_get(i)->name : NULL; }
static const char *init_name(int i) { return i < soma_init_kind_count() ? soma_init_kind_get(i)->name : NULL; }
static const char *loss_name(int i) { return i < soma_loss_count() ? soma_loss_get(i)->name : NULL; }

/* Options whose words are in a table of the library. */
static const char *word_of(const option *o, int i)
{
    static const struct {
        const char *option_name;
        const char *(*name)(int i);
    } tables[] = {{"optim", optim_name}, {"schedule", sched_name}, {"init", init_name}, {"loss", loss_name}};
    for (size_t k = 0; o->placeholder && !strcmp(o->placeholder, "NAME") && k < sizeof tables / sizeof tables[0]; k++)
        if (!strcmp(tables[k].option_name, o->name))
            return tables[k].name(i);
    return NULL;
}

static bool has_words(const option *o) { return has_choices(o) || word_of(o, 0); }

static void print_words(const option *o)
{
    const char *word;
    for (const char *c = has_choices(o) ? o->placeholder : ""; *c; c++)
        putchar(*c == '|' ? ' ' : *c);
    for (int i = 0; !has_choices(o) && (word = word_of(o, i)) != NULL; i++)
        printf("%s%s", i ? " " : "", word);
}

/* Within single quotes of a shell; `special` characters get a backslash. */
static void quoted(const char *text, const char *special)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr(special, *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void bash_command(const command *cmd)
{
    printf("    %s)\n        options='", cmd->name);
    for (int i = 0; option_at(cmd, i); i++)
        printf("%s--%s", i ? " " : "", option_at(cmd, i)->name);
    printf("'\n        case $before in\n");
    for (int i = 0; option_at(cmd, i); i++) {
        const option *o = option_at(cmd, i);
        if (o->kind == OPT_FLAG)
            continue;
        printf("        --%s", o->name);
        if (o->letter)
            printf("|-%c", o->letter);
        fputs(") ", stdout);
        if (has_words(o)) {
            fputs("words='", stdout);
            print_words(o);
            fputs("' ;;\n", stdout);
        } else
            fputs(takes_file(o) ? ";;\n" : "words=' ' ;;\n", stdout);
    }
    fputs("        *) [[ $word == -* ]] && words=$options ;;\n        esac ;;\n", stdout);
}

static void complete_bash(void)
{
    fputs("# bash completion for soma\n_soma()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words='' options\n"
          "    COMPREPLY=()\n    if [[ $COMP_CWORD -eq 1 || $COMP_CWORD -eq 2 && ${COMP_WORDS[1]} == help ]]; then\n        words='", stdout);
    for (int i = 0; i < n_commands; i++)
        if (all_commands[i]->summary)
            printf("%s ", all_commands[i]->name);
    fputs("--help --version'\n    else\n    case ${COMP_WORDS[1]} in\n", stdout);
    for (int i = 0; i < n_commands; i++)
        if (all_commands[i]->summary)
            bash_command(all_commands[i]);
    fputs("    esac\n    fi\n    # shellcheck disable=SC2207\n    if [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "    else COMPREPLY=($(compgen -f -- \"$word\")); fi\n}\ncomplete -o filenames -F _soma soma\n", stdout);
}

static void zsh_command(const command *cmd)
{
    printf("    %s) _arguments", cmd->name);
    for (int i = 0; option_at(cmd, i); i++) {
        const option *o = option_at(cmd, i);
        printf(" \\\n        '--%s[", o->name);
        quoted(o->help, "[]:\\");
        fputs("]", stdout);
        if (has_words(o)) {
            fputs(":value:(", stdout);
            print_words(o);
            fputs(")", stdout);
        } else if (o->kind != OPT_FLAG)
            fputs(takes_file(o) ? ":file:_files" : ":value:", stdout);
        fputs("'", stdout);
    }
    fputs(" \\\n        '*:file:_files' ;;\n", stdout);
}

static void complete_zsh(void)
{
    fputs("#compdef soma\n_soma() {\n    if (( CURRENT == 2 )); then\n        local -a commands=(\n", stdout);
    for (int i = 0; i < n_commands; i++) {
        if (!all_commands[i]->summary)
            continue;
        printf("            '%s:", all_commands[i]->name);
        quoted(all_commands[i]->summary, ":\\");
        fputs("'\n", stdout);
    }
    fputs("        )\n        _describe command commands\n        return\n    fi\n    local name=$words[2]\n    shift words; (( CURRENT-- ))\n"
          "    case $name in\n", stdout);
    for (int i = 0; i < n_commands; i++)
        if (all_commands[i]->summary)
            zsh_command(all_commands[i]);
    fputs("    esac\n}\n_soma \"$@\"\n", stdout);
}

static void fish_command(const command *cmd)
{
    printf("complete -c soma -n __fish_use_subcommand -f -a %s -d '", cmd->name);
    quoted(cmd->summary, "\\");
    fputs("'\n", stdout);
    for (int i = 0; option_at(cmd, i); i++) {
        const option *o = option_at(cmd, i);
        printf("complete -c soma -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, o->name);
        if (o->letter)
            printf(" -s %c", o->letter);
        if (has_words(o)) {
            fputs(" -x -a '", stdout);
            print_words(o);
            fputs("'", stdout);
        } else if (o->kind != OPT_FLAG)
            fputs(takes_file(o) ? " -r" : " -x", stdout);
        fputs(" -d '", stdout);
        quoted(o->help, "\\");
        fputs("'\n", stdout);
    }
}

static void complete_fish(void)
{
    puts("# fish completion for soma");
    for (int i = 0; i < n_commands; i++)
        if (all_commands[i]->summary)
            fish_command(all_commands[i]);
}

static int run_docs(args *a)
{
    const char *what = a->n_rest > 0 ? a->rest[0] : "", *which = a->n_rest > 1 ? a->rest[1] : "";
    if (a->n_rest == 2 && !strcmp(what, "man"))
        return write_man(a, which);
    if ((a->n_rest == 2 || a->n_rest == 3) && !strcmp(what, "reference"))
        return write_reference(a, which, a->n_rest == 3 ? a->rest[2] : NULL);
    if (a->n_rest == 2 && !strcmp(what, "completion")) {
        if (!strcmp(which, "bash"))
            return complete_bash(), 0;
        if (!strcmp(which, "zsh"))
            return complete_zsh(), 0;
        if (!strcmp(which, "fish"))
            return complete_fish(), 0;
    }
    return usage_error(a, "expected 'man DIR', 'reference DIR [HEADERS]' or 'completion bash|zsh|fish'");
}

const command cmd_docs = {
    .name = "docs",
    .usage = "man DIR\nreference DIR [HEADERS]\ncompletion bash|zsh|fish",
    .details = "Writes the man pages into DIR, or the reference pages of operators, layers, optimisers and schedules as Markdown (with the C declarations when "
               "HEADERS is the folder of soma's headers), or prints a completion script for a shell.",
    .example = "soma docs man build/man\nsource <(soma docs completion bash)",
    .run = run_docs,
};
