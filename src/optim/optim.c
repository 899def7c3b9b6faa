/* Optimisers: parameters in groups, their state, and the step, which runs one operator for each parameter.
 *
 * A step first makes all state that is missing, so that it either happens for every parameter or for none. */
#include "optim/optim.h"

#include <math.h>
#include <string.h>

static const soma__optim_kind sgd_kind = {"sgd", "sgd_step", {"momentum_buffer", NULL}};
static const soma__optim_kind adam_kind = {"adam", "adam_step", {"exp_avg", "exp_avg_sq"}};
static const soma__optim_kind adamw_kind = {"adamw", "adam_step", {"exp_avg", "exp_avg_sq"}};

/* ---- Making and freeing ---- */

soma_tensor *soma__optim_number(double value, soma_dtype dtype) {
    soma_ctx *ctx = soma__ctx();
    bool shapes = ctx->shapes_only;
    ctx->shapes_only = false;
    soma_owner owner = soma__owner_set(SOMA_OWNER_OPTIM);
    soma_scope scope = soma_scope_begin();
    soma_tensor *t = scope.depth < 0 ? NULL : soma_keep(soma_full(SOMA_SCALAR, value, dtype));
    soma_scope_end(scope);
    soma__owner_set(owner);
    ctx->shapes_only = shapes;
    return t;
}

void soma_optim_free(soma_optim *opt) {
    if (!opt)
        return;
    for (int i = 0; i < opt->n_params; i++) {
        soma__optim_param *p = &opt->params[i];
        soma_release(p->tensor);
        soma__free(p->name);
        soma_release(p->step);
        for (int k = 0; k < SOMA__OPTIM_STATES; k++)
            soma_release(p->state[k]);
    }
    for (int i = 0; i < opt->n_groups; i++) {
        soma_release(opt->groups[i].lr);
        soma_release(opt->groups[i].base_lr);
    }
    for (int i = 0; i < opt->n_names; i++)
        soma__free(opt->names[i]);
    soma_release(opt->steps);
    soma__free(opt->names);
    soma__free(opt->params);
    soma__free(opt->groups);
    soma__free(opt);
}

static bool number_ok(const char *who, const char *what, double v, double low, double below) {
    if (v >= low && v < below)
        return true;
    soma_fail(SOMA_EINVAL, "%s: %s must be from %g to below %g, not %g", who, what, low, below, v);
    return false;
}

static bool grow(void **list, int needed, int *room, size_t item) {
    if (needed <= *room)
        return true;
    int wanted = SOMA_MAX(needed, *room * 2);
    void *larger = soma__realloc(*list, (size_t)wanted * item);
    if (!larger)
        return false;
    *list = larger;
    *room = wanted;
    return true;
}

static bool may_join(const soma_optim *opt, soma_tensor *const *params, int n, int i) {
    const char *who = opt->kind->name;
    if (!params[i]) {
        soma_fail(SOMA_EINVAL, "%s: parameter %d of the group is NULL", who, i);
        return false;
    }
    if (!soma_is_leaf(params[i]) || !soma_dtype_is_float(soma_dtype_of(params[i]))) {
        soma_fail(SOMA_EINVAL, "%s: parameter %d of the group is not a leaf of float dtype", who, i);
        return false;
    }
    bool twice = false;
    for (int k = 0; k < opt->n_params; k++)
        twice = twice || opt->params[k].tensor == params[i];
    for (int k = i + 1; k < n; k++)
        twice = twice || params[k] == params[i];
    if (twice)
        soma_fail(SOMA_EINVAL, "%s: parameter %d of the group is in a group already", who, i);
    return !twice;
}

/* `names` may be NULL. All checks and allocations come first, so that a failure changes nothing. */
static int add_group(soma_optim *opt, soma_tensor *const *params, const soma_named *names, int n, double lr, double decay) {
    if (!number_ok(opt->kind->name, "lr", lr, 0, INFINITY) || !number_ok(opt->kind->name, "weight_decay", decay, 0, INFINITY))
        return -1;
    for (int i = 0; i < n; i++)
        if (!may_join(opt, params, n, i))
            return -1;
    void *list = opt->params, *groups = opt->groups;
    bool room = grow(&list, opt->n_params + n, &opt->room_params, sizeof *opt->params);
    opt->params = list;
    room = room && grow(&groups, opt->n_groups + 1, &opt->room_groups, sizeof *opt->groups);
    opt->groups = groups;
    soma__optim_group g = {.weight_decay = decay};
    if (room && (g.lr = soma__optim_number(lr, SOMA_F64)) != NULL)
        g.base_lr = soma__optim_number(lr, SOMA_F64);
    int taken = 0;
    for (; g.base_lr && taken < n; taken++) {
        char *name = names ? soma__strdup(names[taken].name) : NULL;
        if (names && !name)
            break;
        opt->params[opt->n_params + taken] = (soma__optim_param){.tensor = soma_keep(params[taken]), .name = name, .group = opt->n_groups};
    }
    if (!g.base_lr || taken < n) {
        while (taken-- > 0) {
            soma__free(opt->params[opt->n_params + taken].name);
            soma_release(opt->params[opt->n_params + taken].tensor);
        }
        soma_release(g.lr);
        soma_release(g.base_lr);
        return -1;
    }
    opt->n_params += n;
    opt->groups[opt->n_groups] = g;
    return opt->n_groups++;
}

int soma_optim_add_group(soma_optim *opt, soma_tensor *const *params, int n, double lr, double weight_decay) {
    if (soma__failed())
        return -1;
    if (!opt || n < 0 || (n > 0 && !params)) {
        soma_fail(SOMA_EINVAL, "soma_optim_add_group: the optimiser or the parameters are NULL");
        return -1;
    }
    return add_group(opt, params, NULL, n, lr < 0 ? opt->lr : lr, weight_decay < 0 ? opt->weight_decay : weight_decay);
}

/* Group 0: all parameters of the network. */
static bool add_network(soma_optim *opt, soma_module *net) {
    if (!soma__nn_all_made(net, opt->kind->name))
        return false;
    int n = soma_nn_named(net, false, NULL, 0);
    if (n == 0) {
        soma_fail(SOMA_EINVAL, "%s: the network has no parameters", opt->kind->name);
        return false;
    }
    soma_named *named = soma__calloc((size_t)n, sizeof *named);
    soma_tensor **params = soma__calloc((size_t)n, sizeof *params);
    bool ok = named && params && soma_nn_named(net, false, named, n) == n;
    for (int i = 0; ok && i < n; i++)
        params[i] = named[i].tensor;
    ok = ok && add_group(opt, params, named, n, opt->lr, opt->weight_decay) == 0;
    soma__free(params);
    soma__free(named);
    return ok;
}

static soma_optim *optim_new(const soma__optim_kind *kind, soma_module *net, const soma_optim *set) {
    soma_optim *opt = soma__alloc(sizeof *opt);
    if (!opt)
        return NULL;
    *opt = *set;
    opt->kind = kind;
    opt->steps = soma__optim_number(0, SOMA_I64);
    if (!opt->steps || (net && !add_network(opt, net))) {
        soma_optim_free(opt);
        return NULL;
    }
    return opt;
}

soma_optim *soma_sgd_ex(soma_module *net, const soma_sgd_opts *opts) {
    soma_sgd_opts o = opts ? *opts : (soma_sgd_opts){.size = sizeof o};
    if (soma__failed())
        return NULL;
    if (!number_ok("sgd", "lr", o.lr, 0, INFINITY) || !number_ok("sgd", "momentum", o.momentum, 0, INFINITY) ||
        !number_ok("sgd", "weight_decay", o.weight_decay, 0, INFINITY))
        return NULL;
    if (isnan(o.dampening) || (o.nesterov && (o.momentum <= 0 || o.dampening != 0))) {
        soma_fail(SOMA_EINVAL, "sgd: nesterov needs a momentum above 0 and no dampening");
        return NULL;
    }
    soma_optim set = {
        .n_states = o.momentum != 0, .lr = o.lr == 0 ? 1e-3 : o.lr, .weight_decay = o.weight_decay, .n_attrs = 4, .decay_at = 2,
        .attrs = {SOMA_FLOAT("momentum", o.momentum), SOMA_FLOAT("dampening", o.dampening), SOMA_FLOAT("weight_decay", 0),
                  SOMA_BOOLEAN("nesterov", o.nesterov)},
    };
    return optim_new(&sgd_kind, net, &set);
}

static soma_optim *adam_new(const soma__optim_kind *kind, soma_module *net, const soma_adam_opts *opts, bool decoupled) {
    soma_adam_opts o = opts ? *opts : (soma_adam_opts){.size = sizeof o};
    if (soma__failed())
        return NULL;
    double beta1 = o.beta1 == 0 ? 0.9 : o.beta1, beta2 = o.beta2 == 0 ? 0.999 : o.beta2, eps = o.eps == 0 ? 1e-8 : o.eps;
    double decay = o.weight_decay == 0 && decoupled ? 0.01 : o.weight_decay < 0 ? 0 : o.weight_decay;
    if (!number_ok(kind->name, "lr", o.lr, 0, INFINITY) || !number_ok(kind->name, "beta1", beta1, 0, 1) ||
        !number_ok(kind->name, "beta2", beta2, 0, 1) || !number_ok(kind->name, "eps", eps, 0, INFINITY) ||
        !number_ok(kind->name, "weight_decay", decay, 0, INFINITY))
        return NULL;
    soma_optim set = {
        .n_states = 2, .lr = o.lr == 0 ? 1e-3 : o.lr, .weight_decay = decay, .n_attrs = 5, .decay_at = 3,
        .attrs = {SOMA_FLOAT("beta1", beta1), SOMA_FLOAT("beta2", beta2), SOMA_FLOAT("eps", eps), SOMA_FLOAT("weight_decay", 0),
                  SOMA_BOOLEAN("decoupled", decoupled)},
    };
    return optim_new(kind, net, &set);
}

soma_optim *soma_adam_ex(soma_module *net, const soma_adam_opts *opts) { return adam_new(&adam_kind, net, opts, false); }
soma_optim *soma_adamw_ex(soma_module *net, const soma_adam_opts *opts) { return adam_new(&adamw_kind, net, opts, true); }

/* ---- The step ---- */

static soma_tensor *zeros_like(const soma_tensor *t) {
    soma_owner owner = soma__owner_set(SOMA_OWNER_OPTIM);
    soma_scope scope = soma_scope_begin();
    soma_tensor *z = scope.depth < 0 ? NULL : soma_keep(soma_zeros(soma_ndim(t), soma_shape(t), soma_dtype_of(t)));
    soma_scope_end(scope);
    soma__owner_set(owner);
    return z;
}

soma_status soma__optim_ready(soma_optim *opt, int i) {
    soma__optim_param *p = &opt->params[i];
    if (!p->step)
        p->step = soma__optim_number(0, SOMA_I64);
    for (int k = 0; k < opt->n_states; k++)
        if (!p->state[k])
            p->state[k] = zeros_like(p->tensor);
    return soma__ctx()->error;
}

static void count(soma_tensor *step) {
    ++*(int64_t *)soma_data(step);
    soma_touch(step);
}

static soma_status update(soma_optim *opt, soma__optim_param *p) {
    const soma__optim_group *g = &opt->groups[p->group];
    soma_tensor *in[6] = {p->tensor, soma_grad(p->tensor)}, *out[1];
    int n = 2, states = opt->kind->states[1] ? 2 : 1; /* inputs of the operator, also when they are absent */
    for (int k = 0; k < states; k++)
        in[n++] = p->state[k];
    in[n++] = g->lr;
    in[n++] = p->step;
    opt->attrs[opt->decay_at].value.f = g->weight_decay;
    count(p->step);
    return soma_call(opt->kind->op, in, n, opt->attrs, opt->n_attrs, out, 1);
}

soma_status soma_optim_step(soma_optim *opt) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->error != SOMA_OK)
        return ctx->error;
    if (!opt)
        return soma_fail(SOMA_EINVAL, "soma_optim_step: the optimiser is NULL");
    bool grad = soma_set_grad_enabled(false);
    for (int i = 0; i < opt->n_params && ctx->error == SOMA_OK; i++)
        if (soma_grad(opt->params[i].tensor))
            soma__optim_ready(opt, i);
    soma_scope scope = soma_scope_begin();
    for (int i = 0; i < opt->n_params && ctx->error == SOMA_OK; i++)
        if (soma_grad(opt->params[i].tensor))
            update(opt, &opt->params[i]);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    if (ctx->error != SOMA_OK)
        return ctx->error;
    count(opt->steps);
    soma_optim_zero_grad(opt);
    return SOMA_OK;
}

void soma_optim_zero_grad(soma_optim *opt) {
    for (int i = 0; opt && i < opt->n_params; i++)
        soma_set_grad(opt->params[i].tensor, NULL);
}

/* ---- Reading and setting ---- */

int64_t soma_optim_steps(const soma_optim *opt) { return opt ? *(const int64_t *)soma_data(opt->steps) : 0; }
const char *soma_optim_name(const soma_optim *opt) { return opt ? opt->kind->name : ""; }
int soma_optim_groups(const soma_optim *opt) { return opt ? opt->n_groups : 0; }

static bool has_group(const soma_optim *opt, int group) {
    if (opt && group >= 0 && group < opt->n_groups)
        return true;
    soma_fail(SOMA_EINVAL, "%s: there is no parameter group %d", opt ? opt->kind->name : "optimiser", group);
    return false;
}

static void put(soma_tensor *t, double v) {
    *(double *)soma_data(t) = v;
    soma_touch(t);
}

double soma_optim_lr(const soma_optim *opt, int group) {
    return has_group(opt, group) ? *(const double *)soma_data(opt->groups[group].lr) : NAN;
}

double soma__optim_base_lr(const soma_optim *opt, int group) { return *(const double *)soma_data(opt->groups[group].base_lr); }
void soma__optim_set_rate(soma_optim *opt, int group, double lr) { put(opt->groups[group].lr, lr); }

void soma_optim_set_lr(soma_optim *opt, int group, double lr) {
    if (!has_group(opt, group) || !number_ok(opt->kind->name, "lr", lr, 0, INFINITY))
        return;
    put(opt->groups[group].lr, lr);
    put(opt->groups[group].base_lr, lr);
}
