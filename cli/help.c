/* Help texts, made from the tables of the commands. */
#include "options.h"
#include "term.h"

#include <soma/soma.h>

#include <string.h>

/* Columns that `text` takes: bytes that begin a UTF-8 character. */
static int columns(const char *text, size_t length)
{
    int n = 0;
    for (size_t i = 0; i < length; i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

void print_wrapped(FILE *out, const char *text, int at, int indent, int width)
{
    bool first = true;
    while (*text) {
        if (*text == '\n' && text[1] == '\n') { /* a new paragraph */
            fprintf(out, "\n\n%*s", indent, "");
            at = indent;
            first = true;
            text += strspn(text, "\n ");
            continue;
        }
        if (*text == ' ' || *text == '\n') {
            text++;
            continue;
        }
        size_t length = strcspn(text, " \n");
        int word = columns(text, length);
        if (!first && at + 1 + word > width) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        fprintf(out, "%s%.*s", first ? "" : " ", (int)length, text);
        at += word + !first;
        first = false;
        text += length;
    }
    fputc('\n', out);
}

static int help_width(FILE *out)
{
    int width = term_width(out);
    return width > 100 ? 100 : width < 40 ? 40 : width;
}

static void print_option(FILE *out, const option *o, int width)
{
    char left[160], help[512];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name) : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->kind != OPT_FLAG)
        n += snprintf(left + n, sizeof left - (size_t)n, " %s", o->placeholder ? o->placeholder : "VALUE");
    fprintf(out, "%s%s%s", term_style(out, TERM_BOLD), left, term_style(out, TERM_PLAIN));
    if (o->def && o->def[0] == '(')
        snprintf(help, sizeof help, "%s %s", o->help, o->def);
    else
        snprintf(help, sizeof help, "%s%s%s%s", o->help, o->def ? " (" : "", o->def ? o->def : "", o->def ? ")" : "");
    int column = 28;
    if (n > column - 2)
        fprintf(out, "\n%*s", column, "");
    else
        fprintf(out, "%*s", column - n, "");
    print_wrapped(out, help, column, column, width);
}

static void print_heading(FILE *out, const char *text)
{
    fprintf(out, "%s%s%s\n", term_style(out, TERM_BOLD), text, term_style(out, TERM_PLAIN));
}

static void print_lines(FILE *out, const char *text, const char *before)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        fprintf(out, "%s%.*s\n", before, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

void print_help(FILE *out, const command *cmd)
{
    int width = help_width(out);
    char before[64];
    snprintf(before, sizeof before, "  soma %s%s", cmd->name, cmd->usage && *cmd->usage ? " " : "");
    if (cmd->summary)
        fprintf(out, "soma %s: %s\n\n", cmd->name, cmd->summary);
    print_heading(out, "Usage");
    if (cmd->usage && *cmd->usage)
        print_lines(out, cmd->usage, before);
    else
        fprintf(out, "%s\n", before);
    if (cmd->details) {
        fputc('\n', out);
        print_wrapped(out, cmd->details, 0, 0, width);
    }
    if (cmd->n_options) {
        fputc('\n', out);
        print_heading(out, "Options");
        for (int i = 0; i < cmd->n_options; i++)
            print_option(out, &cmd->options[i], width);
    }
    fputc('\n', out);
    print_heading(out, "Common options");
    for (int i = 0; i < n_common_options; i++)
        if (!is_hidden_common(cmd, &common_options[i]))
            print_option(out, &common_options[i], width);
    if (cmd->example) {
        fputc('\n', out);
        print_heading(out, strchr(cmd->example, '\n') ? "Examples" : "Example");
        print_lines(out, cmd->example, "  ");
    }
}

void print_overview(FILE *out)
{
    int width = help_width(out);
    fprintf(out, "soma %s: deep learning in C\n\n", soma_version());
    print_heading(out, "Usage");
    fprintf(out, "  soma COMMAND [options]\n\n");
    print_heading(out, "Commands");
    for (int i = 0; i < n_commands; i++) {
        const command *cmd = all_commands[i];
        if (!cmd->summary)
            continue;
        fprintf(out, "  %s%s%s%*s", term_style(out, TERM_BOLD), cmd->name, term_style(out, TERM_PLAIN), 12 - (int)strlen(cmd->name), "");
        print_wrapped(out, cmd->summary, 14, 14, width);
    }
    fprintf(out, "\n'soma help COMMAND' shows the options of a command, with an example.\n");
}
