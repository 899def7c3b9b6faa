/* soma: optimisers, learning-rate schedules, gradient clipping, averages of weights. Updates are operators; names, semantics and
 * defaults are those of torch.optim, where it has the optimiser or the schedule. */
#ifndef SOMA_OPTIM_H
#define SOMA_OPTIM_H

#include <soma/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct soma_optim soma_optim;

/* ---- Optimisers --------------------------------------------------------------------------------------------------------
 * Each trains all parameters of `net` (NULL: none yet, see soma_optim_add_group) and takes references to them, so the network must
 * be built: layers with open input sizes get theirs with soma_nn_build or a first forward. In the options 0 is the default; where a
 * default is not 0, a negative weight_decay or momentum means none. All take `maximize`: up the gradient instead of down.
 * What each is good for, its formula and its paper: soma_optim_find, `soma ops NAME`. */

typedef struct soma_sgd_opts {
    double lr;           /* 0: 1e-3 */
    double momentum, dampening, weight_decay;
    bool nesterov, maximize;
    size_t size;
} soma_sgd_opts;
#define soma_sgd(...) soma__sgd(__VA_ARGS__, .size = sizeof(soma_sgd_opts))
#define soma__sgd(net, ...) soma_sgd_ex((net), &(soma_sgd_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_sgd_ex(soma_module *net, const soma_sgd_opts *opts);

typedef struct soma_adam_opts {
    double lr;           /* 0: 1e-3 */
    double beta1, beta2; /* 0: 0.9, 0.999 */
    double eps;          /* 0: 1e-8 */
    double weight_decay; /* adam: added to the gradient; adamw: decoupled, 0: adam 0, adamw 0.01; negative: none */
    bool amsgrad, maximize;
    size_t size;
} soma_adam_opts;
#define soma_adam(...) soma__adam(__VA_ARGS__, .size = sizeof(soma_adam_opts))
#define soma__adam(net, ...) soma_adam_ex((net), &(soma_adam_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_adam_ex(soma_module *net, const soma_adam_opts *opts);   /* Kingma & Ba 2015 */
#define soma_adamw(...) soma__adamw(__VA_ARGS__, .size = sizeof(soma_adam_opts))
#define soma__adamw(net, ...) soma_adamw_ex((net), &(soma_adam_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_adamw_ex(soma_module *net, const soma_adam_opts *opts);  /* Loshchilov & Hutter 2019 */

typedef struct soma_adagrad_opts {
    double lr;           /* 0: 0.01 */
    double lr_decay, weight_decay, initial_accumulator_value;
    double eps;          /* 0: 1e-10 */
    bool maximize;
    size_t size;
} soma_adagrad_opts;
#define soma_adagrad(...) soma__adagrad(__VA_ARGS__, .size = sizeof(soma_adagrad_opts))
#define soma__adagrad(net, ...) soma_adagrad_ex((net), &(soma_adagrad_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_adagrad_ex(soma_module *net, const soma_adagrad_opts *opts); /* Duchi, Hazan, Singer 2011 */

typedef struct soma_adadelta_opts {
    double lr;           /* 0: 1 */
    double rho, eps;     /* 0: 0.9, 1e-6 */
    double weight_decay;
    bool maximize;
    size_t size;
} soma_adadelta_opts;
#define soma_adadelta(...) soma__adadelta(__VA_ARGS__, .size = sizeof(soma_adadelta_opts))
#define soma__adadelta(net, ...) soma_adadelta_ex((net), &(soma_adadelta_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_adadelta_ex(soma_module *net, const soma_adadelta_opts *opts); /* Zeiler 2012 */

typedef struct soma_rmsprop_opts {
    double lr;           /* 0: 0.01 */
    double alpha, eps;   /* 0: 0.99, 1e-8 */
    double weight_decay, momentum;
    bool centered, maximize;
    size_t size;
} soma_rmsprop_opts;
#define soma_rmsprop(...) soma__rmsprop(__VA_ARGS__, .size = sizeof(soma_rmsprop_opts))
#define soma__rmsprop(net, ...) soma_rmsprop_ex((net), &(soma_rmsprop_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_rmsprop_ex(soma_module *net, const soma_rmsprop_opts *opts); /* Hinton 2012, Graves 2013 */

/* For Adamax, NAdam, RAdam, Lion and LAMB. */
typedef struct soma_moments_opts {
    double lr;           /* 0: adamax, nadam 0.002; radam, lamb 0.001; lion 1e-4 */
    double beta1, beta2; /* 0: 0.9, 0.999; lion 0.9, 0.99 */
    double eps;          /* 0: 1e-8; lamb 1e-6; lion has none */
    double weight_decay; /* lion, lamb: decoupled; lamb 0: 0.01; negative: none */
    double momentum_decay;       /* nadam only; 0: 4e-3 */
    bool decoupled_weight_decay; /* nadam, radam: as AdamW */
    bool maximize;
    size_t size;
} soma_moments_opts;
#define soma_adamax(...) soma__adamax(__VA_ARGS__, .size = sizeof(soma_moments_opts))
#define soma__adamax(net, ...) soma_adamax_ex((net), &(soma_moments_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_adamax_ex(soma_module *net, const soma_moments_opts *opts);  /* Kingma & Ba 2015 */
#define soma_nadam(...) soma__nadam(__VA_ARGS__, .size = sizeof(soma_moments_opts))
#define soma__nadam(net, ...) soma_nadam_ex((net), &(soma_moments_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_nadam_ex(soma_module *net, const soma_moments_opts *opts);   /* Dozat 2016 */
#define soma_radam(...) soma__radam(__VA_ARGS__, .size = sizeof(soma_moments_opts))
#define soma__radam(net, ...) soma_radam_ex((net), &(soma_moments_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_radam_ex(soma_module *net, const soma_moments_opts *opts);   /* Liu et al. 2020 */
#define soma_lion(...) soma__lion(__VA_ARGS__, .size = sizeof(soma_moments_opts))
#define soma__lion(net, ...) soma_lion_ex((net), &(soma_moments_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_lion_ex(soma_module *net, const soma_moments_opts *opts);    /* Chen et al. 2023 */
#define soma_lamb(...) soma__lamb(__VA_ARGS__, .size = sizeof(soma_moments_opts))
#define soma__lamb(net, ...) soma_lamb_ex((net), &(soma_moments_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_lamb_ex(soma_module *net, const soma_moments_opts *opts);    /* You et al. 2020 */

typedef struct soma_lars_opts {
    double lr;           /* 0: 1 */
    double momentum;     /* 0: 0.9 */
    double weight_decay;
    double trust_coefficient, eps; /* 0: 1e-3, 1e-8 */
    bool maximize;
    size_t size;
} soma_lars_opts;
#define soma_lars(...) soma__lars(__VA_ARGS__, .size = sizeof(soma_lars_opts))
#define soma__lars(net, ...) soma_lars_ex((net), &(soma_lars_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_lars_ex(soma_module *net, const soma_lars_opts *opts);       /* You, Gitman, Ginsburg 2017 */

typedef struct soma_rprop_opts {
    double lr;                           /* 0: 0.01, the first step size of every element; later rates count for nothing */
    double etaminus, etaplus;            /* 0: 0.5, 1.2 */
    double step_size_min, step_size_max; /* 0: 1e-6, 50 */
    bool maximize;
    size_t size;
} soma_rprop_opts;
#define soma_rprop(...) soma__rprop(__VA_ARGS__, .size = sizeof(soma_rprop_opts))
#define soma__rprop(net, ...) soma_rprop_ex((net), &(soma_rprop_opts){__VA_ARGS__})
SOMA_API soma_optim *soma_rprop_ex(soma_module *net, const soma_rprop_opts *opts);     /* Riedmiller & Braun 1993 */

typedef struct soma_asgd_opts {
    double lr;                 /* 0: 0.01 */
    double lambd, alpha, t0;   /* 0: 1e-4, 0.75, 1e6 */
    double weight_decay;
    bool maximize;
    size_t size;
} soma_asgd_opts;
#define soma_asgd(...) soma__asgd(__VA_ARGS__, .size = sizeof(soma_asgd_opts))
#define soma__asgd(net, ...) soma_asgd_ex((net), &(soma_asgd_opts){__VA_ARGS__})
/* Polyak & Juditsky 1992. The mean of each parameter is its state "ax" (soma_optim_named). */
SOMA_API soma_optim *soma_asgd_ex(soma_module *net, const soma_asgd_opts *opts);

typedef struct soma_lbfgs_opts {
    double lr;                              /* 0: 1 */
    int64_t max_iter, max_eval;             /* in a step; 0: 20, 1.25 max_iter */
    double tolerance_grad, tolerance_change; /* 0: 1e-7, 1e-9 */
    int64_t history_size;                   /* 0: 100 */
    bool strong_wolfe;                      /* line search; without it a step of length lr is taken, as in PyTorch */
    bool maximize;
    size_t size;
} soma_lbfgs_opts;
#define soma_lbfgs(...) soma__lbfgs(__VA_ARGS__, .size = sizeof(soma_lbfgs_opts))
#define soma__lbfgs(net, ...) soma_lbfgs_ex((net), &(soma_lbfgs_opts){__VA_ARGS__})
/* Liu & Nocedal 1989; the line search of Nocedal & Wright, algorithms 3.5 and 3.6. One parameter group, whose parameters have one
 * dtype. A step evaluates the loss many times: soma_optim_step_closure. For gradients over all data. */
SOMA_API soma_optim *soma_lbfgs_ex(soma_module *net, const soma_lbfgs_opts *opts);

/* ---- Optimisers by name ---- */

/* An option of an optimiser, a schedule or an initialiser. `def` is the default; NaN: there is none, the option is required or
 * follows from others, as its help says. */
typedef struct soma_option_info {
    const char *name;
    soma_attr_kind kind; /* FLOAT, INT, BOOL or INTS */
    double def;
    const char *help;
    bool steps;          /* counts steps */
} soma_option_info;
typedef struct soma_optim_info {
    const char *name, *doc, *source; /* "rmsprop", one line, the paper */
    const char *op;                  /* the operator that makes a step: its doc has the formula; NULL: lbfgs */
    const soma_option_info *options; /* "lr" first */
    int n_options;
    bool closure;                    /* needs soma_optim_step_closure */
} soma_optim_info;
SOMA_API int soma_optim_kind_count(void);
SOMA_API const soma_optim_info *soma_optim_kind_get(int i);           /* NULL when i is out of range. Static */
SOMA_API const soma_optim_info *soma_optim_find(const char *name);    /* NULL when there is none; no error is recorded */
/* soma_optim_by_name("rmsprop", net, SOMA_FLOAT("lr", 0.01), SOMA_FLOAT("momentum", 0.9)). Numbers of any kind are taken. */
#define soma_optim_by_name(...) soma__optim_by_name(__VA_ARGS__, {0})
#define soma__optim_by_name(name, net, ...)                                                                              \
    soma_optim_by_name_ex((name), (net), (const soma_attr[]){__VA_ARGS__}, (int)(sizeof((soma_attr[]){__VA_ARGS__}) / sizeof(soma_attr)) - 1)
SOMA_API soma_optim *soma_optim_by_name_ex(const char *name, soma_module *net, const soma_attr *options, int n);

/* ---- Steps ---- */

SOMA_API void soma_optim_free(soma_optim *opt);
/* Updates every parameter that has a gradient, then clears the gradients. Refuses while an error is pending. */
SOMA_API soma_status soma_optim_step(soma_optim *opt);
/* Computes the loss and its gradients (soma_backward) and returns its value. */
typedef double (*soma_closure)(void *user);
/* The same for optimisers that evaluate the loss several times in a step; others call `fn` once. Gradients are cleared before each
 * call. `loss` (may be NULL) gets the value of the first call. */
SOMA_API soma_status soma_optim_step_closure(soma_optim *opt, soma_closure fn, void *user, double *loss);
SOMA_API void soma_optim_zero_grad(soma_optim *opt);
SOMA_API int64_t soma_optim_steps(const soma_optim *opt);
SOMA_API const char *soma_optim_name(const soma_optim *opt); /* "sgd", "adam", "adamw" … */

/* Parameter groups, each with its own options. Group 0 is what the constructor was given; a new one starts with the
 * constructor's options, but for a learning rate and a weight decay that are not negative. Returns the group's index, -1 on error.
 * A parameter may be in one group only. */
SOMA_API int soma_optim_add_group(soma_optim *opt, soma_tensor *const *params, int n, double lr, double weight_decay);
SOMA_API int soma_optim_groups(const soma_optim *opt);
SOMA_API double soma_optim_lr(const soma_optim *opt, int group);
/* Also sets the base rate, which schedules multiply. */
SOMA_API void soma_optim_set_lr(soma_optim *opt, int group, double lr);
/* Any option by its name ("momentum"); flags are 0 or 1. NaN with an error when there is no such option. */
SOMA_API double soma_optim_get(const soma_optim *opt, int group, const char *option);
SOMA_API soma_status soma_optim_set(soma_optim *opt, int group, const char *option, double value);
/* State as named tensors ("step", "group.0.lr", "0.exp_avg", "0.step" …; the last part is PyTorch's key), for checkpoints; as
 * soma_nn_named. */
SOMA_API int soma_optim_named(soma_optim *opt, soma_named *out, int room);
/* Puts a value saved from soma_optim_named back. The optimiser makes the slot when it has not yet. */
SOMA_API soma_status soma_optim_load(soma_optim *opt, const char *name, soma_tensor *value);

/* Scales all gradients so that their common Euclidean norm is at most `max_norm`; returns the norm before. NaN or Inf in a
 * gradient gives SOMA_ENAN and changes nothing. */
SOMA_API double soma_clip_grad_norm(soma_optim *opt, double max_norm);
/* The same for the norm of another order: 1, 2, any above 0, INFINITY for the largest element. */
SOMA_API double soma_clip_grad_norm_type(soma_optim *opt, double max_norm, double norm_type);
/* Limits every element of every gradient to ±limit. */
SOMA_API soma_status soma_clip_grad_value(soma_optim *opt, double limit);

/* ---- Regularisation of weights: parameters of two dimensions or more; biases and the scales of normalisation are left alone ---- */

/* l1 sum |w| + l2 / 2 sum w^2 over the weights of `net`, 0-d, to be added to the loss: lasso, ridge, both the elastic net. The gradient
 * of the second is that of a weight decay l2. Its weights come near 0 but not to it: see soma_proximal_step. */
SOMA_API soma_tensor *soma_penalty(soma_module *net, double l1, double l2);
/* After soma_optim_step: w becomes sign(w) max(|w| - lr l1, 0) / (1 + lr l2), lr that of the parameter's group: the proximal step of the
 * elastic net, apart from the gradient, which sets small weights to 0 exactly. ISTA: Daubechies et al. 2004; AdamW's decay is its l2 part. */
SOMA_API soma_status soma_proximal_step(soma_optim *opt, double l1, double l2);
/* Scales the weights of each unit (all but dimension 0) down to a norm of at most `limit`. Srebro et al. 2004; Srivastava et al. 2014. */
SOMA_API soma_status soma_max_norm(soma_optim *opt, double limit);
/* Adds normal noise to every gradient, from the context's random numbers. Neelakantan et al. 2015: std = sqrt(eta / (1 + t)^0.55). */
SOMA_API soma_status soma_add_grad_noise(soma_optim *opt, double std);

/* ---- Schedules: pure functions of the step, applied to every group's own base rate ------------------------------------------
 * A schedule is a factor on the base rate; where PyTorch has a rate of its own (eta_min, base_lr) there is a ratio. What is given to
 * a schedule belongs to it, also when it could not be made. All but lambda are in the table below, with their sources. */

typedef struct soma_sched soma_sched;
SOMA_API soma_sched *soma_sched_constant(void);
SOMA_API soma_sched *soma_sched_hold(double factor, int64_t total);                /* ConstantLR: factor until step `total`, then 1 */
SOMA_API soma_sched *soma_sched_linear(double start, double end, int64_t total);   /* LinearLR: from factor start to end */
SOMA_API soma_sched *soma_sched_step(int64_t every, double gamma);                 /* lr * gamma^floor(t / every) */
SOMA_API soma_sched *soma_sched_multi_step(int n, const int64_t *milestones, double gamma);
SOMA_API soma_sched *soma_sched_exponential(double gamma);                         /* lr * gamma^t */
SOMA_API soma_sched *soma_sched_polynomial(int64_t total, double power);           /* lr * (1 - t / total)^power */
SOMA_API soma_sched *soma_sched_cosine(int64_t total, double min_ratio);           /* Loshchilov & Hutter 2017, no restart */
/* The same with restarts: the first period has t_0 steps, each further one t_mult times as many (0: 1). */
SOMA_API soma_sched *soma_sched_cosine_restarts(int64_t t_0, int64_t t_mult, double min_ratio);
/* Smith & Topin 2018 as torch.optim.lr_scheduler.OneCycleLR: from max/div up to max (the base rate) in pct_start of the
 * steps, down to start/final_div, by cosine. 0: 0.3, 25, 1e4. */
SOMA_API soma_sched *soma_sched_one_cycle(int64_t total, double pct_start, double div, double final_div);
/* The same with three phases (down to the start in as many steps as up, then to the end), or with straight lines. */
SOMA_API soma_sched *soma_sched_one_cycle_phases(int64_t total, double pct_start, double div, double final_div, bool three_phase, bool linear);
typedef enum soma_cycle { SOMA_CYCLE_TRIANGULAR, SOMA_CYCLE_TRIANGULAR2, SOMA_CYCLE_EXP_RANGE } soma_cycle;
/* Smith 2017 as CyclicLR: from min_ratio up to 1 in `up` steps, down in `down` (0: as up), again and again; each cycle half as high
 * (triangular2) or gamma^t as high (exp_range). */
SOMA_API soma_sched *soma_sched_cyclic(double min_ratio, int64_t up, int64_t down, soma_cycle mode, double gamma);
/* Vaswani et al. 2017: linear up to the base rate in `warmup` steps, then with 1 / sqrt(t). */
SOMA_API soma_sched *soma_sched_inverse_sqrt(int64_t warmup);
/* Linear from 0 over `steps` (step t has (t+1)/steps), then `after` counted from there. Owns `after`. */
SOMA_API soma_sched *soma_sched_warmup(int64_t steps, soma_sched *after);
typedef double (*soma_sched_fn)(void *user, int64_t t);
SOMA_API soma_sched *soma_sched_lambda(soma_sched_fn factor, void *user);
/* scheds[i] from milestones[i - 1] on (n - 1 of them, rising), counted from there. Owns the n schedules, not the array. */
SOMA_API soma_sched *soma_sched_sequential(int n, soma_sched *const *scheds, const int64_t *milestones);
/* The product of n schedules (ChainedScheduler). */
SOMA_API soma_sched *soma_sched_product(int n, soma_sched *const *scheds);

typedef struct soma_plateau_opts {
    double factor;        /* 0: 0.1 */
    int64_t patience;     /* measurements without improvement before the rate falls; 0: 10; negative: none */
    double threshold;     /* 0: 1e-4 */
    bool threshold_abs;   /* an improvement is a difference, not a share */
    bool max;             /* the metric is to rise */
    int64_t cooldown;     /* measurements after a fall that do not count */
    double min_ratio;     /* smallest factor; PyTorch's min_lr over the base rate */
    double eps;           /* smaller changes of the factor are left out; 0: 1e-8 */
    size_t size;
} soma_plateau_opts;
/* torch.optim.lr_scheduler.ReduceLROnPlateau: the factor falls when the metric given to soma_sched_metric does not improve. It has
 * state, the only schedule that has; alone, or inside warmup, sequential and product. */
#define soma_sched_plateau(...) soma_sched_plateau_ex(&(soma_plateau_opts){__VA_ARGS__})
SOMA_API soma_sched *soma_sched_plateau_ex(const soma_plateau_opts *opts);
/* A measurement, such as the validation loss after an epoch, for every plateau in the schedule. */
SOMA_API void soma_sched_metric(soma_sched *sched, double metric);
/* The state of all plateaus as numbers, for checkpoints. Returns how many there are, and writes at most `room`. */
SOMA_API int soma_sched_state(const soma_sched *sched, double *out, int room);
SOMA_API soma_status soma_sched_set_state(soma_sched *sched, const double *state, int n);

SOMA_API void soma_sched_free(soma_sched *sched);
/* The factor on the base rate at step t (from 0). */
SOMA_API double soma_sched_factor(const soma_sched *sched, int64_t t);
/* Sets every group's rate to base * factor(t); call before soma_optim_step with t = soma_optim_steps. */
SOMA_API void soma_sched_apply(const soma_sched *sched, soma_optim *opt, int64_t t);

typedef struct soma_sched_info {
    const char *name, *doc, *source;
    const soma_option_info *options;
    int n_options;
} soma_sched_info;
SOMA_API int soma_sched_kind_count(void);
SOMA_API const soma_sched_info *soma_sched_kind_get(int i);
SOMA_API const soma_sched_info *soma_sched_find(const char *name);
/* `total` stands for options named "total" that are not given: the steps of the whole training. */
SOMA_API soma_sched *soma_sched_by_name(const char *name, int64_t total, const soma_attr *options, int n);

/* ---- Averages of weights ------------------------------------------------------------------------------------------------------
 * A second set of parameters that follows the module's: exponential (EMA, Polyak & Juditsky 1992), which forgets, or a plain mean of
 * what it was shown (SWA, Izmailov et al. 2018). The average is for evaluation and for the final model; training goes on with the
 * module's own. The module must outlive it and keep its parameters. */

typedef struct soma_average soma_average;
typedef struct soma_ema_opts {
    double decay;         /* share of the average that stays; 0: 0.999 */
    bool use_buffers;     /* average buffers (running statistics) too; else they are copied as they are at each update */
    bool warmup;          /* the decay of update t is at most (1 + t) / (10 + t), so that the start is forgotten soon */
    size_t size;
} soma_ema_opts;
#define soma_ema(...) soma__ema(__VA_ARGS__, .size = sizeof(soma_ema_opts))
#define soma__ema(net, ...) soma_ema_ex((net), &(soma_ema_opts){__VA_ARGS__})
/* Starts with the module's values as they are. */
SOMA_API soma_average *soma_ema_ex(soma_module *net, const soma_ema_opts *opts);
/* The first update copies. Batch norm's statistics do not belong to the mean: soma_swa_update_bn (train.h) after the copy. */
SOMA_API soma_average *soma_swa(soma_module *net);
SOMA_API void soma_average_free(soma_average *avg);
/* After a step (EMA) or an epoch (SWA). */
SOMA_API soma_status soma_average_update(soma_average *avg);
SOMA_API int64_t soma_average_updates(const soma_average *avg);
/* Exchanges the module's values with the average; a second call undoes it. */
SOMA_API soma_status soma_average_swap(soma_average *avg);
SOMA_API soma_status soma_average_copy_to(soma_average *avg, soma_module *net);
/* "updates", then the values under the module's names; as soma_nn_named. */
SOMA_API int soma_average_named(soma_average *avg, soma_named *out, int room);
SOMA_API soma_status soma_average_load(soma_average *avg, const char *name, soma_tensor *value);

#ifdef __cplusplus
}
#endif
#endif
