/* soma, the command-line tool: finds the subcommand and runs it. Results go to stdout and messages to stderr; a result that could
 * not be written in full is an error. Nothing here does work that a subcommand does not need, so that `soma --version` is quick. */
#include "options.h"

#include <soma/soma.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

extern const command cmd_train, cmd_fit, cmd_check, cmd_doctor, cmd_eval, cmd_predict, cmd_summary, cmd_data, cmd_plot, cmd_ops, cmd_layers, cmd_models, cmd_info, cmd_docs;
static const command cmd_help, cmd_version;

const command *const all_commands[] = {&cmd_train, &cmd_check, &cmd_doctor, &cmd_fit, &cmd_eval, &cmd_predict, &cmd_summary, &cmd_data, &cmd_plot,
                                       &cmd_ops,   &cmd_layers, &cmd_models, &cmd_info, &cmd_help, &cmd_version, &cmd_docs};
const int n_commands = (int)(sizeof all_commands / sizeof all_commands[0]);

const command *find_command(const char *name)
{
    for (int i = 0; i < n_commands; i++)
        if (!strcmp(all_commands[i]->name, name))
            return all_commands[i];
    return NULL;
}

static int no_such_command(const char *name)
{
    const char *names[32];
    int n = 0;
    for (int i = 0; i < n_commands && n < 32; i++)
        if (all_commands[i]->summary)
            names[n++] = all_commands[i]->name;
    const char *near = nearest_name(name, names, n);
    if (near)
        fprintf(stderr, "soma: '%s' is no soma command; did you mean '%s'?\n", name, near);
    else
        fprintf(stderr, "soma: '%s' is no soma command\n", name);
    fprintf(stderr, "See 'soma help'.\n");
    return 2;
}

static int run_help(args *a)
{
    if (a->n_rest > 1)
        return usage_error(a, "one command at a time, not %d", a->n_rest);
    if (a->n_rest == 0) {
        print_overview(stdout);
        return 0;
    }
    const command *cmd = find_command(a->rest[0]);
    if (!cmd)
        return no_such_command(a->rest[0]);
    print_help(stdout, cmd);
    return 0;
}

static const command cmd_help = {
    .name = "help",
    .summary = "show what a command does, with its options and an example",
    .usage = "[COMMAND]",
    .example = "soma help train",
    .run = run_help,
};

static int run_version(args *a)
{
    if (arg_flag(a, "json"))
        printf("{\"version\": \"%s\"}\n", soma_version());
    else
        printf("soma %s\n", soma_version());
    return 0;
}

static const command cmd_version = {
    .name = "version",
    .summary = "print the version",
    .usage = "",
    .example = "soma version",
    .run = run_version,
};

/* A closed standard descriptor would be handed to the next file opened, and results would land in a model file. */
static void open_missing_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            int got = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY); /* so that using it fails, as it should */
            if (got >= 0 && got != fd)
                close(got);
        }
    }
}

static int close_stdout(int code)
{
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) || failed || (close(STDOUT_FILENO) && errno != EBADF)) {
        fprintf(stderr, "soma: cannot write to standard output%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
        return code ? code : 1;
    }
    return code;
}

static int run_command(const command *cmd, int argc, char **argv)
{
    args a;
    int code = parse_args(cmd, argc, argv, &a);
    if (code == -1) {
        print_help(stdout, cmd);
        code = 0;
    } else if (code == 0 && arg_given(&a, "threads") && (arg_int(&a, "threads") < 1 || arg_int(&a, "threads") > 1024)) {
        code = usage_error(&a, "--threads takes 1 to 1024, not %lld", (long long)arg_int(&a, "threads"));
    } else if (code == 0) {
        if (arg_given(&a, "threads"))
            soma_set_threads((int)arg_int(&a, "threads"));
        if (arg_given(&a, "seed"))
            soma_seed(arg_seed(&a, "seed"));
        code = cmd->run(&a);
    }
    free_args(&a);
    return code;
}

static int run_main(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return 2;
    }
    const char *first = argv[1];
    if (!strcmp(first, "--version") || !strcmp(first, "-V"))
        first = "version";
    else if (!strcmp(first, "--help") || !strcmp(first, "-h"))
        first = "help";
    else if (first[0] == '-') {
        fprintf(stderr, "soma: unknown option '%s' before a command\nSee 'soma help'.\n", first);
        return 2;
    }
    const command *cmd = find_command(first);
    return cmd ? run_command(cmd, argc - 2, argv + 2) : no_such_command(first);
}

int main(int argc, char **argv)
{
    open_missing_descriptors();
    return close_stdout(run_main(argc, argv));
}
