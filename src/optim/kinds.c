/* The table of optimisers, what is derived from it (options, by name), and the constructors with C types. */
#include "optim/optim.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

static const soma_attr_info lbfgs_options[] = {
    SOMA_DEF_INT("max_iter", 20, "most iterations in a step"),
    SOMA_DEF_INT("max_eval", 0, "most evaluations of the loss in a step; 0: 1.25 max_iter"),
    SOMA_DEF_FLOAT("tolerance_grad", 1e-7, "stop when no element of the gradient is larger"),
    SOMA_DEF_FLOAT("tolerance_change", 1e-9, "stop when parameters or loss change by less"),
    SOMA_DEF_INT("history_size", 100, "pairs of steps and changes of the gradient that are kept"),
    SOMA_DEF_BOOL("strong_wolfe", 0, "line search by the strong Wolfe conditions"),
};

const soma__optim_kind soma__optim_kinds[] = {
    {"sgd", "stochastic gradient descent, with momentum, dampening, Nesterov's momentum; the base line, often the best for convolutions",
     "Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013", "sgd_step", 1e-3, NAN, NULL, NULL, 0},
    {"adam", "steps by mean and root mean square of the gradient; works on most networks as it is", "Kingma & Ba 2015; AMSGrad: Reddi et al. 2018",
     "adam_step", 1e-3, NAN, NULL, NULL, 0},
    {"adamw", "Adam with weight decay apart from the gradient; the choice for transformers", "Loshchilov & Hutter 2019", "adam_step", 1e-3, 0.01,
     "decoupled", NULL, 0},
    {"adagrad", "rates that fall with the sum of squares; for sparse features", "Duchi, Hazan, Singer 2011", "adagrad_step", 0.01, NAN, NULL, NULL, 0},
    {"adadelta", "Adagrad with a window, in the parameter's own unit; hardly a rate to choose", "Zeiler 2012", "adadelta_step", 1, NAN, NULL, NULL, 0},
    {"rmsprop", "divides by the root mean square of the gradient; for recurrent networks and reinforcement learning",
     "Hinton 2012; centered: Graves 2013", "rmsprop_step", 0.01, NAN, NULL, NULL, 0},
    {"adamax", "Adam with the largest gradient for the mean square", "Kingma & Ba 2015", "adamax_step", 0.002, NAN, NULL, NULL, 0},
    {"nadam", "Adam with Nesterov's momentum", "Dozat 2016", "nadam_step", 0.002, NAN, NULL, NULL, 0},
    {"radam", "Adam that needs no warm-up", "Liu et al. 2020", "radam_step", 1e-3, NAN, NULL, NULL, 0},
    {"lion", "steps by the sign of a mean; half of Adam's memory", "Chen et al. 2023", "lion_step", 1e-4, NAN, NULL, NULL, 0},
    {"lars", "SGD with a rate for each tensor by its norm; for very large batches", "You, Gitman, Ginsburg 2017", "lars_step", 1, NAN, NULL, NULL, 0},
    {"lamb", "AdamW with a rate for each tensor by its norm; for very large batches", "You et al. 2020", "lamb_step", 1e-3, NAN, NULL, NULL, 0},
    {"rprop", "step sizes by the sign of the gradient alone; for gradients over all data", "Riedmiller & Braun 1993", "rprop_step", 0.01, NAN, NULL,
     NULL, 0},
    {"asgd", "SGD with the mean of the parameters beside it", "Polyak & Juditsky 1992", "asgd_step", 0.01, NAN, NULL, NULL, 0},
    {"lbfgs", "quasi-Newton with a short memory, and a line search; for small problems and gradients over all data",
     "Liu & Nocedal 1989; line search: Nocedal & Wright 2006", NULL, 1, NAN, NULL, lbfgs_options, (int)SOMA_LEN(lbfgs_options)},
};
enum { KINDS = (int)SOMA_LEN(soma__optim_kinds) };
const int soma__optim_n_kinds = KINDS;

/* ---- What can be asked about them ---- */

static soma_option_info options[KINDS][SOMA__OPTIM_OPTIONS];
static soma_optim_info infos[KINDS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void describe(const soma__optim_kind *k, soma_option_info *list, soma_optim_info *info) {
    const soma_op_info *op = k->op ? soma_op_find(k->op) : NULL;
    const soma_attr_info *attrs = op ? op->attrs : k->own;
    int n = 0, n_attrs = op ? op->n_attrs : k->n_own;
    list[n++] = (soma_option_info){.name = "lr", .kind = SOMA_ATTR_FLOAT, .def = k->lr, .help = "learning rate"};
    for (int i = 0; i < n_attrs; i++) {
        const soma_attr *def = &attrs[i].def;
        bool decay = strcmp(def->name, "weight_decay") == 0;
        if (strcmp(def->name, "decoupled") == 0)
            continue; /* what tells adamw from adam */
        list[n++] = (soma_option_info){.name = def->name, .kind = def->kind, .help = attrs[i].help,
                                       .def = decay && !isnan(k->weight_decay) ? k->weight_decay
                                              : def->kind == SOMA_ATTR_FLOAT   ? def->value.f
                                                                               : (double)def->value.i};
        if (decay && k->fixed)
            list[n - 1].help = "share of the parameter that is taken off it, times lr";
    }
    list[n++] = (soma_option_info){.name = "maximize", .kind = SOMA_ATTR_BOOL, .help = "go up the gradient"};
    *info = (soma_optim_info){.name = k->name, .doc = k->doc, .source = k->source, .op = k->op, .options = list, .n_options = n, .closure = !k->op};
}

static void build(void) {
    for (int i = 0; i < KINDS; i++)
        describe(&soma__optim_kinds[i], options[i], &infos[i]);
}

int soma_optim_kind_count(void) { return KINDS; }

const soma_optim_info *soma_optim_kind_get(int i) {
    pthread_once(&once, build);
    return i >= 0 && i < KINDS ? &infos[i] : NULL;
}

const soma_optim_info *soma_optim_find(const char *name) {
    for (int i = 0; name && i < KINDS; i++)
        if (strcmp(soma__optim_kinds[i].name, name) == 0)
            return soma_optim_kind_get(i);
    return NULL;
}

/* ---- Ranges ---- */

bool soma__optim_number_ok(const char *who, const char *what, double v, double low, double below) {
    if (v >= low && v < below)
        return true;
    soma_fail(SOMA_EINVAL, "%s: %s must be from %g to below %g, not %g", who, what, low, below, v);
    return false;
}

bool soma__optim_option_ok(const char *who, const char *option, double v) {
    static const struct {
        const char *name;
        double low, below;
    } ranges[] = {{"beta1", 0, 1},    {"beta2", 0, 1},    {"rho", 0, 1},          {"etaminus", 0, 1},
                  {"etaplus", 1, INFINITY}, {"dampening", -INFINITY, INFINITY}, {"max_iter", 1, 1e9}, {"history_size", 1, 1e6}};
    for (size_t i = 0; i < SOMA_LEN(ranges); i++)
        if (strcmp(ranges[i].name, option) == 0)
            return soma__optim_number_ok(who, option, v, ranges[i].low, ranges[i].below);
    return soma__optim_number_ok(who, option, v, 0, INFINITY);
}

/* ---- By name ---- */

static const soma__optim_kind *find_kind(const char *name) {
    const char *names[KINDS];
    for (int i = 0; i < KINDS; i++) {
        names[i] = soma__optim_kinds[i].name;
        if (strcmp(names[i], name) == 0)
            return &soma__optim_kinds[i];
    }
    char hint[SOMA__HINT];
    soma_fail(SOMA_ENOTFOUND, "unknown optimiser '%.40s'%s", name, soma__hint(name, names, KINDS, hint, sizeof hint));
    return NULL;
}

/* The place of an option; -1 with an error. */
static int place_of(const soma_optim_info *info, const char *name) {
    const char *names[SOMA__OPTIM_OPTIONS];
    for (int i = 0; i < info->n_options; i++) {
        names[i] = info->options[i].name;
        if (strcmp(names[i], name) == 0)
            return i;
    }
    char hint[SOMA__HINT];
    soma_fail(SOMA_ENOTFOUND, "%s has no option '%.40s'%s", info->name, name, soma__hint(name, names, info->n_options, hint, sizeof hint));
    return -1;
}

soma_optim *soma_optim_by_name_ex(const char *name, soma_module *net, const soma_attr *attrs, int n) {
    if (soma__failed())
        return NULL;
    const soma__optim_kind *kind = name ? find_kind(name) : NULL;
    if (!kind || n < 0 || (n > 0 && !attrs)) {
        soma_fail(SOMA_EINVAL, "soma_optim_by_name: the name or the options are NULL");
        return NULL;
    }
    const soma_optim_info *info = soma_optim_find(name);
    double values[SOMA__OPTIM_OPTIONS];
    for (int i = 0; i < info->n_options; i++)
        values[i] = SOMA__OPTIM_DEFAULT;
    for (int i = 0; i < n; i++) {
        int at = attrs[i].name ? place_of(info, attrs[i].name) : -1;
        if (at < 0)
            return NULL;
        values[at] = attrs[i].kind == SOMA_ATTR_FLOAT ? attrs[i].value.f : (double)attrs[i].value.i;
    }
    return soma__optim_make(kind, net, values, info->n_options);
}

/* ---- With C types: the values in the order of the table's options ---- */

/* Fields of 0 are the default. Of one that has another default, a negative value is none. */
static double set(double v) { return v == 0 ? SOMA__OPTIM_DEFAULT : v; }
static double set_or_none(double v) { return v == 0 ? SOMA__OPTIM_DEFAULT : v < 0 ? 0 : v; }

#define MAKE(at, opts, ...)                                                                            \
    do {                                                                                               \
        if (soma__failed())                                                                            \
            return NULL;                                                                               \
        const double values[] = {set((opts).lr), __VA_ARGS__, (opts).maximize};                        \
        return soma__optim_make(&soma__optim_kinds[at], net, values, (int)SOMA_LEN(values));           \
    } while (0)
#define OPTS(type, opts) const type o = (opts) ? *(opts) : (type){.size = sizeof(type)}

enum { SGD, ADAM, ADAMW, ADAGRAD, ADADELTA, RMSPROP, ADAMAX, NADAM, RADAM, LION, LARS, LAMB, RPROP, ASGD, LBFGS };

soma_optim *soma_sgd_ex(soma_module *net, const soma_sgd_opts *opts) {
    OPTS(soma_sgd_opts, opts);
    MAKE(SGD, o, o.momentum, o.dampening, o.weight_decay, o.nesterov);
}
soma_optim *soma_adam_ex(soma_module *net, const soma_adam_opts *opts) {
    OPTS(soma_adam_opts, opts);
    MAKE(ADAM, o, set(o.beta1), set(o.beta2), set(o.eps), set_or_none(o.weight_decay), o.amsgrad);
}
soma_optim *soma_adamw_ex(soma_module *net, const soma_adam_opts *opts) {
    OPTS(soma_adam_opts, opts);
    MAKE(ADAMW, o, set(o.beta1), set(o.beta2), set(o.eps), set_or_none(o.weight_decay), o.amsgrad);
}
soma_optim *soma_adagrad_ex(soma_module *net, const soma_adagrad_opts *opts) {
    OPTS(soma_adagrad_opts, opts);
    MAKE(ADAGRAD, o, o.lr_decay, o.weight_decay, o.initial_accumulator_value, set(o.eps));
}
soma_optim *soma_adadelta_ex(soma_module *net, const soma_adadelta_opts *opts) {
    OPTS(soma_adadelta_opts, opts);
    MAKE(ADADELTA, o, set(o.rho), set(o.eps), o.weight_decay);
}
soma_optim *soma_rmsprop_ex(soma_module *net, const soma_rmsprop_opts *opts) {
    OPTS(soma_rmsprop_opts, opts);
    MAKE(RMSPROP, o, set(o.alpha), set(o.eps), o.weight_decay, o.momentum, o.centered);
}
soma_optim *soma_adamax_ex(soma_module *net, const soma_moments_opts *opts) {
    OPTS(soma_moments_opts, opts);
    MAKE(ADAMAX, o, set(o.beta1), set(o.beta2), set(o.eps), o.weight_decay);
}
soma_optim *soma_nadam_ex(soma_module *net, const soma_moments_opts *opts) {
    OPTS(soma_moments_opts, opts);
    MAKE(NADAM, o, set(o.beta1), set(o.beta2), set(o.eps), o.weight_decay, set(o.momentum_decay), o.decoupled_weight_decay);
}
soma_optim *soma_radam_ex(soma_module *net, const soma_moments_opts *opts) {
    OPTS(soma_moments_opts, opts);
    MAKE(RADAM, o, set(o.beta1), set(o.beta2), set(o.eps), o.weight_decay, o.decoupled_weight_decay);
}
soma_optim *soma_lion_ex(soma_module *net, const soma_moments_opts *opts) {
    OPTS(soma_moments_opts, opts);
    MAKE(LION, o, set(o.beta1), set(o.beta2), o.weight_decay);
}
soma_optim *soma_lars_ex(soma_module *net, const soma_lars_opts *opts) {
    OPTS(soma_lars_opts, opts);
    MAKE(LARS, o, set_or_none(o.momentum), o.weight_decay, set(o.trust_coefficient), set(o.eps));
}
soma_optim *soma_lamb_ex(soma_module *net, const soma_moments_opts *opts) {
    OPTS(soma_moments_opts, opts);
    MAKE(LAMB, o, set(o.beta1), set(o.beta2), set(o.eps), set_or_none(o.weight_decay));
}
soma_optim *soma_rprop_ex(soma_module *net, const soma_rprop_opts *opts) {
    OPTS(soma_rprop_opts, opts);
    MAKE(RPROP, o, set(o.etaminus), set(o.etaplus), set(o.step_size_min), set(o.step_size_max));
}
soma_optim *soma_asgd_ex(soma_module *net, const soma_asgd_opts *opts) {
    OPTS(soma_asgd_opts, opts);
    MAKE(ASGD, o, set(o.lambd), set(o.alpha), set(o.t0), o.weight_decay);
}
soma_optim *soma_lbfgs_ex(soma_module *net, const soma_lbfgs_opts *opts) {
    OPTS(soma_lbfgs_opts, opts);
    MAKE(LBFGS, o, set((double)o.max_iter), set((double)o.max_eval), set(o.tolerance_grad), set(o.tolerance_change), set((double)o.history_size),
         o.strong_wolfe);
}
