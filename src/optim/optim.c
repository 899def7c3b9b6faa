/* Optimisers: parameters in groups, their options and state, and the step, which runs one operator for each parameter.
 *
 * A step first makes all state that is missing, so that it either happens for every parameter or for none. */
#include "optim/optim.h"

#include <math.h>
#include <string.h>

/* ---- Making and freeing ---- */

soma_tensor *soma__optim_number(double value, soma_dtype dtype) {
    soma_ctx *ctx = soma__ctx();
    bool shapes = ctx->shapes_only;
    soma__recorder *recorder = ctx->recorder;
    ctx->shapes_only = false;
    ctx->recorder = NULL; /* made once, whatever step it is in */
    soma_owner owner = soma__owner_set(SOMA_OWNER_OPTIM);
    soma_scope scope = soma_scope_begin();
    soma_tensor *t = scope.depth < 0 ? NULL : soma_keep(soma_full(SOMA_SCALAR, value, dtype));
    soma_scope_end(scope);
    soma__owner_set(owner);
    ctx->shapes_only = shapes;
    ctx->recorder = recorder;
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
    soma__lbfgs_free(opt->lbfgs);
    soma__free(opt->names);
    soma__free(opt->params);
    soma__free(opt->groups);
    soma__free(opt);
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

static int attr_place(const soma_optim *opt, const char *name) {
    for (int i = 0; i < opt->n_attrs; i++)
        if (strcmp(opt->attrs[i].name, name) == 0)
            return i;
    return -1;
}

static void put_attr(soma_attr *attr, double v) {
    if (attr->kind == SOMA_ATTR_FLOAT)
        attr->value.f = v;
    else
        attr->value.i = (int64_t)v;
}

static double attr_value(const soma_attr *attr) { return attr->kind == SOMA_ATTR_FLOAT ? attr->value.f : (double)attr->value.i; }

double soma__attr_of(const soma_attr *attrs, int n, const char *name, double fallback) {
    for (int i = 0; i < n; i++)
        if (strcmp(attrs[i].name, name) == 0)
            return attr_value(&attrs[i]);
    return fallback;
}

static bool may_add(const soma_optim *opt, soma_tensor *const *params, int n, double decay, int decay_at) {
    const char *who = opt->kind->name;
    if (decay > 0 && decay_at < 0) {
        soma_fail(SOMA_EINVAL, "%s: has no weight_decay", who);
        return false;
    }
    if (!opt->op && opt->n_groups > 0) {
        soma_fail(SOMA_EUNSUPPORTED, "%s: takes one group of parameters only", who);
        return false;
    }
    if (decay >= 0 && !soma__optim_number_ok(who, "weight_decay", decay, 0, INFINITY))
        return false;
    for (int i = 0; i < n; i++)
        if (!may_join(opt, params, n, i))
            return false;
    return true;
}

/* `names` may be NULL; decay negative: the optimiser's. All checks and allocations come first, so that a failure changes nothing. */
static int add_group(soma_optim *opt, soma_tensor *const *params, const soma_named *names, int n, double lr, double decay) {
    int decay_at = attr_place(opt, "weight_decay");
    if (!soma__optim_number_ok(opt->kind->name, "lr", lr, 0, INFINITY) || !may_add(opt, params, n, decay, decay_at))
        return -1;
    void *list = opt->params, *groups = opt->groups;
    bool room = grow(&list, opt->n_params + n, &opt->room_params, sizeof *opt->params);
    opt->params = list;
    room = room && grow(&groups, opt->n_groups + 1, &opt->room_groups, sizeof *opt->groups);
    opt->groups = groups;
    soma__optim_group g = {0};
    memcpy(g.attrs, opt->attrs, sizeof g.attrs);
    if (decay >= 0 && decay_at >= 0)
        put_attr(&g.attrs[decay_at], decay);
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
    return add_group(opt, params, NULL, n, lr < 0 ? opt->lr : lr, weight_decay);
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
    ok = ok && add_group(opt, params, named, n, opt->lr, -1) == 0;
    soma__free(params);
    soma__free(named);
    return ok;
}

static bool options_fit(const soma__optim_kind *kind, const soma_optim *set) {
    const char *who = kind->name;
    if (soma__attr_of(set->attrs, set->n_attrs, "nesterov", 0) != 0 &&
        (!(soma__attr_of(set->attrs, set->n_attrs, "momentum", 0) > 0) || soma__attr_of(set->attrs, set->n_attrs, "dampening", 0) != 0)) {
        soma_fail(SOMA_EINVAL, "%s: nesterov needs a momentum above 0 and no dampening", who);
        return false;
    }
    double low = soma__attr_of(set->attrs, set->n_attrs, "step_size_min", 0), high = soma__attr_of(set->attrs, set->n_attrs, "step_size_max", INFINITY);
    if (!(low <= high))
        soma_fail(SOMA_EINVAL, "%s: step_size_min is %g and step_size_max %g", who, low, high);
    return low <= high;
}

/* The values come in the order of the table's options: lr, the attributes without the fixed one, maximize. */
static bool take_options(soma_optim *set, const soma_optim_info *info, const double *values) {
    const soma__optim_kind *kind = set->kind;
    const soma_attr_info *attrs = set->op ? set->op->attrs : kind->own;
    set->n_attrs = set->op ? set->op->n_attrs : kind->n_own;
    for (int i = 0; i < set->n_attrs; i++)
        set->attrs[i] = attrs[i].def;
    for (int i = 0; i < info->n_options; i++) {
        const soma_option_info *o = &info->options[i];
        double v = values[i] == SOMA__OPTIM_DEFAULT ? o->def : values[i];
        if (!soma__optim_option_ok(kind->name, o->name, v))
            return false;
        int at = attr_place(set, o->name);
        if (at >= 0)
            put_attr(&set->attrs[at], v);
        else if (i == 0)
            set->lr = v;
        else
            set->maximize = v != 0;
    }
    if (kind->fixed)
        put_attr(&set->attrs[attr_place(set, kind->fixed)], 1);
    return options_fit(kind, set);
}

soma_optim *soma__optim_make(const soma__optim_kind *kind, soma_module *net, const double *values, int n) {
    const soma_optim_info *info = soma_optim_find(kind->name);
    soma_optim set = {.kind = kind, .op = kind->op ? soma__op_find(kind->op, &(bool){false}) : NULL};
    if (n != info->n_options || !take_options(&set, info, values))
        return NULL;
    soma_optim *opt = soma__alloc(sizeof *opt);
    if (!opt)
        return NULL;
    *opt = set;
    opt->steps = soma__optim_number(0, SOMA_I64);
    if (!opt->steps || (net && !add_network(opt, net))) {
        soma_optim_free(opt);
        return NULL;
    }
    return opt;
}

/* ---- State: what the operator takes between gradient and lr ---- */

int soma__optim_n_states(const soma_optim *opt) { return opt->op ? opt->op->n_in - 4 : 0; }
const char *soma__optim_state_name(const soma_optim *opt, int k) { return opt->op->in[2 + k].name; }
bool soma__optim_state_is_number(const soma_optim *opt, int k) { return opt->op->in[2 + k].apart; }

bool soma__optim_has_state(const soma_optim *opt, int group, int k) {
    static const char *const options[][2] = {{"momentum_buffer", "momentum"}, {"grad_avg", "centered"}, {"max_exp_avg_sq", "amsgrad"}};
    for (size_t i = 0; opt->op->in[2 + k].optional && i < SOMA_LEN(options); i++)
        if (strcmp(options[i][0], soma__optim_state_name(opt, k)) == 0)
            return soma__attr_of(opt->groups[group].attrs, opt->n_attrs, options[i][1], 0) != 0;
    return true;
}

/* ---- The step ---- */

soma_tensor *soma__optim_zeros(const soma_tensor *t) {
    soma_owner owner = soma__owner_set(SOMA_OWNER_OPTIM);
    soma__recorder *recorder = soma__ctx()->recorder;
    soma__ctx()->recorder = NULL;
    soma_scope scope = soma_scope_begin();
    soma_tensor *z = scope.depth < 0 ? NULL : soma_keep(soma_zeros(soma_ndim(t), soma_shape(t), soma_dtype_of(t)));
    soma_scope_end(scope);
    soma__ctx()->recorder = recorder;
    soma__owner_set(owner);
    return z;
}

soma_status soma__optim_ready(soma_optim *opt, int i) {
    soma__optim_param *p = &opt->params[i];
    if (!p->step)
        p->step = soma__optim_number(0, SOMA_I64);
    for (int k = 0; k < soma__optim_n_states(opt); k++)
        if (!p->state[k] && soma__optim_has_state(opt, p->group, k))
            p->state[k] = soma__optim_state_is_number(opt, k) ? soma__optim_number(1, SOMA_F64) : soma__optim_zeros(p->tensor);
    return soma__ctx()->error;
}


/* Which states the options of a group want, a bit each. */
static unsigned states_of(const soma_optim *opt, int group) {
    unsigned mask = 0;
    for (int k = 0; k < soma__optim_n_states(opt); k++)
        mask |= (unsigned)soma__optim_has_state(opt, group, k) << k;
    return mask;
}

static bool ready(const soma_optim *opt, const soma__optim_param *p, unsigned states) {
    bool all = p->step != NULL;
    for (int k = 0; k < soma__optim_n_states(opt); k++)
        all = all && (p->state[k] || !(states & 1u << k));
    return all;
}

static soma_status update(soma_optim *opt, soma__optim_param *p, unsigned states) {
    const soma__optim_group *g = &opt->groups[p->group];
    soma_tensor *grad = soma_grad(p->tensor), *in[SOMA__OPTIM_STATES + 4] = {p->tensor, opt->maximize ? soma_neg(grad) : grad}, *out[1];
    int n = 2;
    for (int k = 0; k < soma__optim_n_states(opt); k++)
        in[n++] = states & 1u << k ? p->state[k] : NULL;
    in[n++] = g->lr;
    in[n++] = p->step;
    soma__count_up(p->step);
    soma__apply(opt->op, in, n, g->attrs, out, 0);
    return soma__ctx()->error;
}

soma_status soma_optim_step(soma_optim *opt) {
    soma_ctx *ctx = soma__ctx();
    if (ctx->error != SOMA_OK)
        return ctx->error;
    if (!opt)
        return soma_fail(SOMA_EINVAL, "soma_optim_step: the optimiser is NULL");
    if (!opt->op)
        return soma_fail(SOMA_ESTATE, "%s: evaluates the loss several times in a step; use soma_optim_step_closure", opt->kind->name);
    bool grad = soma_set_grad_enabled(false);
    unsigned states = 0;
    for (int pass = 0; pass < 2; pass++) {
        soma_scope scope = soma_scope_begin();
        for (int i = 0, group = -1; i < opt->n_params && ctx->error == SOMA_OK; i++) {
            soma__optim_param *p = &opt->params[i];
            if (!soma_grad(p->tensor))
                continue;
            if (p->group != group)
                states = states_of(opt, group = p->group);
            if (pass == 1)
                update(opt, p, states);
            else if (!ready(opt, p, states))
                soma__optim_ready(opt, i);
        }
        soma_scope_end(scope);
    }
    soma_set_grad_enabled(grad);
    if (ctx->error != SOMA_OK)
        return ctx->error;
    soma__count_up(opt->steps);
    soma_optim_zero_grad(opt);
    return SOMA_OK;
}

soma_status soma_optim_step_closure(soma_optim *opt, soma_closure fn, void *user, double *loss) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!opt || !fn)
        return soma_fail(SOMA_EINVAL, "soma_optim_step_closure: the optimiser or the closure is NULL");
    if (!opt->op)
        return soma__lbfgs_step(opt, fn, user, loss);
    soma_optim_zero_grad(opt);
    double value = fn(user);
    if (loss)
        *loss = value;
    return soma_optim_step(opt);
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
    if (!has_group(opt, group) || !soma__optim_number_ok(opt->kind->name, "lr", lr, 0, INFINITY))
        return;
    put(opt->groups[group].lr, lr);
    put(opt->groups[group].base_lr, lr);
}

/* The attribute that an option of a group is; NULL with an error. */
static soma_attr *group_attr(const soma_optim *opt, int group, const char *option) {
    if (!has_group(opt, group))
        return NULL;
    int at = option ? attr_place(opt, option) : -1;
    if (at >= 0 && !(opt->kind->fixed && strcmp(opt->kind->fixed, option) == 0))
        return &opt->groups[group].attrs[at];
    soma_fail(SOMA_ENOTFOUND, "%s: a group has no option '%.40s'", opt->kind->name, option ? option : "");
    return NULL;
}

double soma_optim_get(const soma_optim *opt, int group, const char *option) {
    if (option && strcmp(option, "lr") == 0)
        return soma_optim_lr(opt, group);
    const soma_attr *attr = group_attr(opt, group, option);
    return attr ? attr_value(attr) : NAN;
}

soma_status soma_optim_set(soma_optim *opt, int group, const char *option, double value) {
    if (option && strcmp(option, "lr") == 0) {
        soma_optim_set_lr(opt, group, value);
        return soma__ctx()->error;
    }
    soma_attr *attr = group_attr(opt, group, option);
    if (attr && soma__optim_option_ok(opt->kind->name, option, value)) {
        put_attr(attr, value);
        soma__setup_changed();
    }
    return soma__ctx()->error;
}
