/* What the files of src/optim share. */
#ifndef SOMA_SRC_OPTIM_H
#define SOMA_SRC_OPTIM_H

#include "nn/nn.h"

#include <soma/optim.h>

enum { SOMA__OPTIM_STATES = 2 };

/* The kinds: which operator makes the step, and what it keeps for each parameter. */
typedef struct soma__optim_kind {
    const char *name, *op;
    const char *states[SOMA__OPTIM_STATES]; /* "exp_avg" …; NULL: none */
} soma__optim_kind;

typedef struct soma__optim_param {
    soma_tensor *tensor;                    /* a reference, as all tensors here */
    char *name;                             /* for messages; NULL when it is not known */
    int group;
    soma_tensor *step;                      /* i64, 0-d: its own steps; NULL before the first */
    soma_tensor *state[SOMA__OPTIM_STATES]; /* like the parameter; NULL before the first step */
} soma__optim_param;

typedef struct soma__optim_group {
    soma_tensor *lr, *base_lr;              /* f64, 0-d */
    double weight_decay;
} soma__optim_group;

struct soma_optim {
    const soma__optim_kind *kind;
    int n_states;                           /* that this one keeps: 0 for SGD without momentum */
    soma_attr attrs[5];                     /* of the operator; the weight decay is at `decay_at`, set for each group */
    int n_attrs, decay_at;
    double lr, weight_decay;                /* what groups get that do not say */
    soma_tensor *steps;                     /* i64, 0-d */
    soma__optim_param *params;
    int n_params, room_params;
    soma__optim_group *groups;
    int n_groups, room_groups;
    char **names;                           /* what soma_optim_named handed out */
    int n_names;
};

/* A tensor of one number, in no scope; NULL with an error. */
soma_tensor *soma__optim_number(double value, soma_dtype dtype);
/* Makes the state of parameter `i` if there is none yet. */
soma_status soma__optim_ready(soma_optim *opt, int i);
void soma__optim_set_rate(soma_optim *opt, int group, double lr);
double soma__optim_base_lr(const soma_optim *opt, int group);
/* As soma_optim_load; with `only_check` nothing is changed. */
soma_status soma__optim_load(soma_optim *opt, const char *name, soma_tensor *value, bool only_check);

#endif
