/* soma doctor: what a run's own records say about how it went, and the list of rules. */
#include "session.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const option options[] = {
    {"rules", 0, OPT_FLAG, NULL, "list all rules, with their thresholds and where these come from", NULL},
    {"silence", 0, OPT_TEXT, "RULES", "rules that are not applied, separated by commas", NULL},
    {"tune", 0, OPT_TEXT, "RULE=X", "other thresholds, separated by commas", NULL},
};

static void print_rule(const soma_rule_info *r)
{
    printf("%-28s%-9s%s\n", r->name, soma_severity_name(r->severity), r->what);
    if (!isnan(r->threshold))
        printf("%-37sthreshold %g %s (%s)\n", "", r->threshold, r->unit, r->source);
    else
        printf("%-37s(%s)\n", "", r->source);
}

static int list_rules(const args *a)
{
    json_t *all = json_array();
    for (int training = 0; training < 2; training++) {
        if (!arg_flag(a, "json"))
            printf("%s%s\n", training ? "\n" : "", training ? "While it trains" : "Before a training (soma check)");
        for (int i = 0; i < soma_rule_count(); i++) {
            const soma_rule_info *r = soma_rule_get(i);
            if (r->training != training)
                continue;
            if (arg_flag(a, "json"))
                json_array_append_new(all, json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s}", "name", r->name, "severity",
                                                     soma_severity_name(r->severity), "training", (int)r->training, "what", r->what, "why", r->why, "causes",
                                                     r->causes, "flag", r->flag, "code", r->code, "threshold", json_figure(r->threshold), "unit", r->unit,
                                                     "source", r->source));
            else
                print_rule(r);
        }
    }
    if (arg_flag(a, "json"))
        return print_json(a, all);
    json_decref(all);
    return 0;
}

static int read_run(session *s, const char *run)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/doctor.jsonl", run);
    if (access(path, F_OK))
        return work_error(s->a, "%s: the doctor has no records there (no doctor.jsonl): either it is no run, or it was trained with --no-doctor", run);
    return soma_doctor_read(s->doctor, path) == SOMA_OK ? 0 : library_error(s->a);
}

static int run_doctor(args *a)
{
    if (arg_flag(a, "rules"))
        return list_rules(a);
    if (a->n_rest != 1)
        return usage_error(a, a->n_rest ? "one run at a time" : "which run? Give its folder");
    session *s = calloc(1, sizeof *s);
    if (!s)
        return work_error(a, "no memory");
    s->a = a;
    int code = session_make_doctor(s);
    if (!code)
        code = read_run(s, a->rest[0]);
    if (!code && arg_flag(a, "json"))
        code = print_json(a, findings_json(s->doctor));
    else if (!code)
        findings_print(s->doctor, "all well: nothing found in the records of this run");
    session_free(s);
    free(s);
    return code;
}

const command cmd_doctor = {
    .name = "doctor",
    .summary = "say what went wrong in a training, why, and what to try",
    .usage = "RUN [options]\n--rules",
    .details = "Reads what the doctor noted while the run was trained: activations, gradients, updates and losses. Findings come in the order of how grave "
               "and how sure they are: errors will keep it from learning, warnings probably cost accuracy or time, hints could make it better.",
    .example = "soma doctor runs/a\nsoma doctor runs/a --tune dead-units=0.2 --json",
    OPTIONS(options),
    .run = run_doctor,
};
