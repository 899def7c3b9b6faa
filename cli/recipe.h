/* Everything that decides how a training goes: the options of `soma train`, kept in the run's config.json, read back by --resume. */
#ifndef SOMA_CLI_RECIPE_H
#define SOMA_CLI_RECIPE_H

#include "options.h"

#include <soma/soma.h>

#include <jansson.h>

typedef struct recipe {
    const char *data, *val_data, *net, *optim, *schedule, *init, *loss, *target, *task, *size, *precision;
    double lr, momentum, weight_decay, clip, clip_value, val, erase, gamma; /* weight_decay, momentum, gamma NaN: the optimiser's or schedule's own default */
    double l1, l2, prox_l1, prox_l2, max_norm, label_smoothing, mixup, grad_noise, activity_l1, ema; /* as in soma_fit_opts */
    const char *activity_kl;    /* "RHO:WEIGHT" */
    double kl_rho, kl_weight;   /* read from it */
    int64_t accumulate, cutout, swa;
    int64_t batch;              /* 0: all samples */
    int64_t epochs, warmup, step_every, patience, checkpoint_every, channels, shift, crop, workers;
    bool nesterov, flip, no_normalise, skip_bad;
    uint64_t seed;
    int64_t height, width;      /* of --size; 0: as the data is */
    json_t *config;             /* owns the texts; see recipe_free */
} recipe;

/* 0, or an exit code after a message. */
int recipe_from_args(const args *a, recipe *r);
/* From RUN/config.json; options that may be given anew with --resume are taken from `a`, others given there are refused. */
int recipe_from_run(const args *a, const char *run, recipe *r);
void recipe_free(recipe *r);
/* The settings as config.json has them; NULL when memory is short. */
json_t *recipe_to_json(const recipe *r);

soma_dataset *recipe_open_data(const recipe *r, const char *path, soma_part part, soma_dataset *like);
soma_optim *recipe_optim(const recipe *r, soma_module *net);
soma_sched *recipe_sched(const recipe *r, int64_t steps_an_epoch);
/* The loss of soma_fit with its options in *opts, and of the other options those that settings decide. */
soma_loss_fn recipe_loss(const recipe *r, soma_loss_opts *opts);
void recipe_fit(const recipe *r, soma_fit_opts *o);

#endif
