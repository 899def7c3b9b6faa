/* soma: optimisers, learning-rate schedules, gradient clipping. Updates are operators; names, semantics and defaults are
 * those of torch.optim. */
#ifndef SOMA_OPTIM_H
#define SOMA_OPTIM_H

#include <soma/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct soma_optim soma_optim;

typedef struct soma_sgd_opts {
    double lr;           /* 0: 1e-3 */
    double momentum, dampening, weight_decay;
    bool nesterov;
    size_t size;
} soma_sgd_opts;
#define soma_sgd(...) soma__sgd(__VA_ARGS__, .size = sizeof(soma_sgd_opts))
#define soma__sgd(net, ...) soma_sgd_ex((net), &(soma_sgd_opts){__VA_ARGS__})
/* Trains all parameters of `net` (NULL: none yet, see soma_optim_add_group). Takes references to them, so the network must be
 * built: layers with open input sizes get theirs with soma_nn_build or a first forward. */
SOMA_API soma_optim *soma_sgd_ex(soma_module *net, const soma_sgd_opts *opts);

typedef struct soma_adam_opts {
    double lr;           /* 0: 1e-3 */
    double beta1, beta2; /* 0: 0.9, 0.999 */
    double eps;          /* 0: 1e-8 */
    double weight_decay; /* adam: added to the gradient; adamw: decoupled, 0: adam 0, adamw 0.01; negative: none */
    size_t size;
} soma_adam_opts;
#define soma_adam(...) soma__adam(__VA_ARGS__, .size = sizeof(soma_adam_opts))
#define soma__adam(net, ...) soma_adam_ex((net), &(soma_adam_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_adam_ex(soma_module *net, const soma_adam_opts *opts);   /* Kingma & Ba 2015 */
#define soma_adamw(...) soma__adamw(__VA_ARGS__, .size = sizeof(soma_adam_opts))
#define soma__adamw(net, ...) soma_adamw_ex((net), &(soma_adam_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_adamw_ex(soma_module *net, const soma_adam_opts *opts);  /* Loshchilov & Hutter 2019 */

SOMA_API void soma_optim_free(soma_optim *opt);
/* Updates every parameter that has a gradient, then clears the gradients. Refuses while an error is pending. */
SOMA_API soma_status soma_optim_step(soma_optim *opt);
SOMA_API void soma_optim_zero_grad(soma_optim *opt);
SOMA_API int64_t soma_optim_steps(const soma_optim *opt);
SOMA_API const char *soma_optim_name(const soma_optim *opt); /* "sgd", "adam", "adamw" */

/* Parameter groups, each with its own learning rate and weight decay (either negative: as the optimiser's). Group 0 is what the
 * constructor was given. Returns the group's index, -1 on error. A parameter may be in one group only. */
SOMA_API int soma_optim_add_group(soma_optim *opt, soma_tensor *const *params, int n, double lr, double weight_decay);
SOMA_API int soma_optim_groups(const soma_optim *opt);
SOMA_API double soma_optim_lr(const soma_optim *opt, int group);
/* Also sets the base rate, which schedules multiply. */
SOMA_API void soma_optim_set_lr(soma_optim *opt, int group, double lr);
/* State as named tensors ("step", "group.0.lr", "0.exp_avg", "0.step" …), for checkpoints; as soma_nn_named. */
SOMA_API int soma_optim_named(soma_optim *opt, soma_named *out, int room);
/* Puts a value saved from soma_optim_named back. The optimiser makes the slot when it has not yet. */
SOMA_API soma_status soma_optim_load(soma_optim *opt, const char *name, soma_tensor *value);

/* Scales all gradients so that their common Euclidean norm is at most `max_norm`; returns the norm before. NaN or Inf in a
 * gradient gives SOMA_ENAN and changes nothing. */
SOMA_API double soma_clip_grad_norm(soma_optim *opt, double max_norm);
/* Limits every element of every gradient to ±limit. */
SOMA_API soma_status soma_clip_grad_value(soma_optim *opt, double limit);

/* ---- Schedules: pure functions of the step, applied to every group's own base rate ------------------------------------- */

typedef struct soma_sched soma_sched;
SOMA_API soma_sched *soma_sched_constant(void);
SOMA_API soma_sched *soma_sched_step(int64_t every, double gamma);                 /* lr * gamma^floor(t / every) */
SOMA_API soma_sched *soma_sched_cosine(int64_t total, double min_ratio);           /* Loshchilov & Hutter 2017, no restart */
/* Smith & Topin 2018 as torch.optim.lr_scheduler.OneCycleLR: from max/div up to max (the base rate) in pct_start of the
 * steps, down to start/final_div, by cosine. 0: 0.3, 25, 1e4. */
SOMA_API soma_sched *soma_sched_one_cycle(int64_t total, double pct_start, double div, double final_div);
/* Linear from 0 over `steps` (step t has (t+1)/steps), then `after` counted from there. Owns `after`. */
SOMA_API soma_sched *soma_sched_warmup(int64_t steps, soma_sched *after);
SOMA_API void soma_sched_free(soma_sched *sched);
/* The factor on the base rate at step t (from 0). */
SOMA_API double soma_sched_factor(const soma_sched *sched, int64_t t);
/* Sets every group's rate to base * factor(t); call before soma_optim_step with t = soma_optim_steps. */
SOMA_API void soma_sched_apply(const soma_sched *sched, soma_optim *opt, int64_t t);

#ifdef __cplusplus
}
#endif
#endif
