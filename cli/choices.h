/* Optimisers, schedules and initialisations as they are written on the command line: "rmsprop alpha=0.9 centered", "cosine_restarts t_0=5
 * t_mult=2", from the library's tables. "list" instead of a name shows all. */
#ifndef SOMA_CLI_CHOICES_H
#define SOMA_CLI_CHOICES_H

#include <soma/soma.h>

/* NULL with the library's error. `own` options come first, so that those in the text count. */
soma_optim *choose_optim(const char *text, soma_module *net, const soma_attr *own, int n);
/* Options that count steps are given in epochs. */
soma_sched *choose_sched(const char *text, int64_t total, int64_t steps_an_epoch, const soma_attr *own, int n);
/* The entry of the text's first word; NULL when there is none. */
const soma_optim_info *chosen_optim(const char *text);
const soma_sched_info *chosen_sched(const char *text);
bool optim_has_option(const soma_optim_info *info, const char *option_name);

/* For "--optim list" and so on: prints the table; the exit code. */
int list_optims(void);
int list_scheds(void);
int list_inits(void);

#endif
