/* soma check: what `soma train` with the same options would do is looked at, and not done. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

static const option options[] = {
#include "train_options.def"
    {"fast", 0, OPT_FLAG, NULL, "leave out whether the network can learn 16 samples by heart", NULL},
};

static int report(const session *s)
{
    int faults = 0;
    char well[128];
    for (int i = 0; i < soma_doctor_count(s->doctor); i++)
        faults += soma_doctor_get(s->doctor, i)->severity == SOMA_FAULT;
    snprintf(well, sizeof well, "all well: %d rules applied, nothing found", session_rules(false));
    if (arg_flag(s->a, "json"))
        print_json(s->a, json_pack("{s:i, s:i, s:o}", "rules", session_rules(false), "errors", faults, "findings", findings_json(s->doctor)));
    else
        findings_print(s->doctor, well);
    return faults ? 1 : 0;
}

static int look(session *s)
{
    int code = recipe_from_args(s->a, &s->r);
    if (!code)
        code = session_make_doctor(s);
    if (!code)
        code = session_open_data(s);
    if (!code)
        code = session_make_network(s);
    if (!code)
        note(s->a, "%s", s->described);
    if (!code)
        code = session_check(s, !arg_flag(s->a, "fast"));
    return code ? code : report(s);
}

static int run_check(args *a)
{
    if (a->n_rest > 0)
        return usage_error(a, "what is '%s'? The data goes after --data, the network after --net", a->rest[0]);
    if (arg_given(a, "resume"))
        return usage_error(a, "--resume goes on with a run: soma doctor RUN looks at one");
    session *s = calloc(1, sizeof *s);
    if (!s)
        return work_error(a, "no memory");
    s->a = a;
    session_begin(a);
    int code = look(s);
    session_free(s);
    free(s);
    return code;
}

const command cmd_check = {
    .name = "check",
    .summary = "look for faults in network, loss, settings and data before training",
    .usage = "--data PATH --net TEXT [options of soma train]",
    .details = "Takes the options of soma train and trains nothing: it looks at a sample of the data, at one batch going through the network and back, "
               "and at whether the network can learn 16 samples by heart. Each finding says what was seen, why it matters, the likely causes, and the "
               "smallest change to try. soma train does the same first, but for the learning by heart.\n\n"
               "The exit code is 1 when there is an error among the findings.",
    .example = "soma check --data fashion-mnist --net \"flatten, linear 128 relu, linear 10, softmax\"",
    OPTIONS(options),
    .run = run_check,
};
