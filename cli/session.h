/* A training that is being set up from options: data, loaders, network, optimiser; what `soma train` and `soma check` share. */
#ifndef SOMA_CLI_SESSION_H
#define SOMA_CLI_SESSION_H

#include "model.h"
#include "options.h"
#include "recipe.h"
#include "term.h"

#include <limits.h>

typedef struct session {
    const args *a;
    recipe r;
    bool resume, reconstruct;
    char run[PATH_MAX];
    bool made_run;                  /* the folder is new: removed again when nothing came to be in it */
    soma_dataset *all, *train, *val;
    char described[1024];
    soma_norm_stats norm;
    soma_module *net;
    soma_optim *opt;
    soma_sched *sched;
    soma_loader *train_loader, *val_loader;
    json_t *keep;                   /* owns the texts of pairs */
    soma_pair pairs[MODEL_PAIRS];
    int n_pairs;
    char *config, *target;
    soma_history history;
    progress bar;
    double started, last_line;
    soma_doctor *doctor;            /* NULL: none */
    int told;                       /* findings that have been shown */
} session;

/* What is learnt: an autoencoder's targets are numbers, whatever labels the data has. */
soma_task task_of(const session *s);
/* The steps of setting up, in this order; each returns an exit code after a message. */
int session_open_data(session *s);
int session_make_network(session *s);
int session_make_doctor(session *s);   /* with --silence and --tune */
/* soma_check with the session's settings; the findings are the doctor's. `overfit`: also whether 16 samples can be learnt by heart. */
int session_check(session *s, bool overfit);
int session_rules(bool training);      /* how many rules there are for it */
void session_free(session *s);
/* Findings of this severity or a graver one, a line each on stderr. */
void findings_brief(const args *a, const soma_doctor *d, soma_severity least);
/* All of them in full on stdout, most important first; `all_well` when there are none. */
void findings_print(const soma_doctor *d, const char *all_well);
struct json_t *findings_json(const soma_doctor *d); /* NULL doctor: an empty list */

#endif
