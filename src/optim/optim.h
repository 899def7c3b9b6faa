/* What the files of src/optim share. */
#ifndef SOMA_SRC_OPTIM_H
#define SOMA_SRC_OPTIM_H

#include "nn/nn.h"
#include "ops/op.h"

#include <soma/optim.h>

#include <math.h>

enum { SOMA__OPTIM_STATES = 3, SOMA__OPTIM_OPTIONS = SOMA_MAX_ATTRS + 2 };

/* One row of the table of optimisers. Its options are lr, the attributes of the operator, and maximize; the state of a parameter is what
 * the operator takes between gradient and lr. */
typedef struct soma__optim_kind {
    const char *name, *doc, *source, *op;
    double lr, weight_decay; /* defaults; weight_decay NaN: the operator's */
    const char *fixed;       /* an attribute that is true and no option */
    const soma_attr_info *own; /* instead of an operator's: the options of L-BFGS */
    int n_own;
} soma__optim_kind;

typedef struct soma__optim_param {
    soma_tensor *tensor;                    /* a reference, as all tensors here */
    char *name;                             /* for messages; NULL when it is not known */
    int group;
    soma_tensor *step;                      /* i64, 0-d: its own steps; NULL before the first */
    soma_tensor *state[SOMA__OPTIM_STATES]; /* like the parameter, or one number; NULL before the first step and where not needed */
} soma__optim_param;

typedef struct soma__optim_group {
    soma_tensor *lr, *base_lr;              /* f64, 0-d */
    soma_attr attrs[SOMA_MAX_ATTRS];
} soma__optim_group;

struct soma_optim {
    const soma__optim_kind *kind;
    const soma_op *op;                      /* NULL: L-BFGS */
    double lr;                              /* what groups get that do not say, with attrs */
    soma_attr attrs[SOMA_MAX_ATTRS];        /* in the order of the operator's */
    int n_attrs;
    bool maximize;
    soma_tensor *steps;                     /* i64, 0-d */
    soma__optim_param *params;
    int n_params, room_params;
    soma__optim_group *groups;
    int n_groups, room_groups;
    char **names;                           /* what soma_optim_named handed out */
    int n_names;
    struct soma__lbfgs *lbfgs;
};

extern const soma__optim_kind soma__optim_kinds[];
extern const int soma__optim_n_kinds;
/* False with an error of `who` unless low <= v < below. */
bool soma__optim_number_ok(const char *who, const char *what, double v, double low, double below);
/* The ranges of all options by their names. */
bool soma__optim_option_ok(const char *who, const char *option, double v);
/* With the values of the options in their order. */
#define SOMA__OPTIM_DEFAULT (-INFINITY)
soma_optim *soma__optim_make(const soma__optim_kind *kind, soma_module *net, const double *values, int n);

/* A tensor of one number, in no scope; NULL with an error. */
soma_tensor *soma__optim_number(double value, soma_dtype dtype);
/* Zeros like `t` in the optimiser's account, in no scope. */
soma_tensor *soma__optim_zeros(const soma_tensor *t);
/* How many states the kind has, and whether a group's options want the k-th; its name. */
int soma__optim_n_states(const soma_optim *opt);
bool soma__optim_has_state(const soma_optim *opt, int group, int k);
const char *soma__optim_state_name(const soma_optim *opt, int k);
bool soma__optim_state_is_number(const soma_optim *opt, int k);
/* Makes the state of parameter `i` if there is none yet. */
soma_status soma__optim_ready(soma_optim *opt, int i);
void soma__optim_set_rate(soma_optim *opt, int group, double lr);
double soma__optim_base_lr(const soma_optim *opt, int group);
/* As soma_optim_load; with `only_check` nothing is changed. */
soma_status soma__optim_load(soma_optim *opt, const char *name, soma_tensor *value, bool only_check);
/* The value of an option in `attrs`, by name; `fallback` when there is none. */
double soma__attr_of(const soma_attr *attrs, int n, const char *name, double fallback);

/* As soma_average_load; with `only_check` nothing is changed. */
soma_status soma__average_load(soma_average *avg, const char *name, soma_tensor *value, bool only_check);

/* ---- L-BFGS (lbfgs.c) ---- */

soma_status soma__lbfgs_step(soma_optim *opt, soma_closure fn, void *user, double *loss);
void soma__lbfgs_free(struct soma__lbfgs *s);
/* Its state as named tensors, and back; `find` semantics of state.c: false when the name is not its own. */
int soma__lbfgs_named(soma_optim *opt, soma_named *out, int room);
bool soma__lbfgs_load(soma_optim *opt, const char *name, soma_tensor *value, bool only_check);

#endif
