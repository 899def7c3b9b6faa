/* The state of optimisers under names, for checkpoints:
 *   step                     steps made, i64
 *   group.0.lr, .base_lr     rate in use, and the rate that schedules multiply, f64
 *   0.step                   steps of parameter 0 (counted over all groups), i64
 *   0.exp_avg …              its state, like the parameter */
#include "optim/optim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct listing {
    soma_optim *opt;
    soma_named *out;
    int room, count;
    bool failed;
} listing;

/* Names stay as long as the list does not change. */
static const char *keep_name(soma_optim *opt, int at, const char *name) {
    if (at >= opt->n_names) {
        int wanted = SOMA_MAX(at + 1, SOMA_MAX(16, opt->n_names * 2));
        char **names = soma__realloc(opt->names, (size_t)wanted * sizeof *names);
        if (!names)
            return NULL;
        memset(names + opt->n_names, 0, (size_t)(wanted - opt->n_names) * sizeof *names);
        opt->names = names;
        opt->n_names = wanted;
    }
    if (opt->names[at] && strcmp(opt->names[at], name) == 0)
        return opt->names[at];
    char *copy = soma__strdup(name);
    if (!copy)
        return NULL;
    soma__free(opt->names[at]);
    return opt->names[at] = copy;
}

static void list(listing *l, soma_tensor *t, const char *format, int i, const char *what) {
    if (!t || l->failed)
        return;
    if (l->out && l->count < l->room) {
        char name[64];
        snprintf(name, sizeof name, format, i, what);
        const char *kept = keep_name(l->opt, l->count, name);
        l->failed = !kept;
        l->out[l->count] = (soma_named){kept, t, true};
    }
    l->count++;
}

int soma_optim_named(soma_optim *opt, soma_named *out, int room) {
    if (!opt)
        return 0;
    listing l = {.opt = opt, .out = out, .room = room};
    list(&l, opt->steps, "step", 0, "");
    for (int i = 0; i < opt->n_groups; i++) {
        list(&l, opt->groups[i].lr, "group.%d.%s", i, "lr");
        list(&l, opt->groups[i].base_lr, "group.%d.%s", i, "base_lr");
    }
    for (int i = 0; i < opt->n_params; i++) {
        list(&l, opt->params[i].step, "%d.%s", i, "step");
        for (int k = 0; k < soma__optim_n_states(opt); k++)
            list(&l, opt->params[i].state[k], "%d.%s", i, soma__optim_state_name(opt, k));
    }
    if (!l.failed && !opt->op) {
        int room_left = SOMA_MAX(room - l.count, 0), n = soma__lbfgs_named(opt, out && room_left ? out + l.count : NULL, room_left);
        l.failed = n < 0;
        l.count += SOMA_MAX(n, 0);
    }
    return l.failed ? -1 : l.count;
}

/* ---- Putting back ---- */

/* "12.rest" to 12 and the rest; -1 when there is no such number below `limit`. */
static int number_in(const char *name, int limit, const char **rest) {
    if (name[0] < '0' || name[0] > '9')
        return -1;
    char *end;
    long i = strtol(name, &end, 10);
    if (*end != '.' || i < 0 || i >= limit)
        return -1;
    *rest = end + 1;
    return (int)i;
}

/* Where `name` is kept. `like`: a tensor with the shape and dtype that a value must have, NULL: one number. */
static soma_tensor **find(soma_optim *opt, const char *name, int *param, const soma_tensor **like) {
    const char *rest;
    *param = -1;
    *like = NULL;
    if (strcmp(name, "step") == 0)
        return &opt->steps;
    if (strncmp(name, "group.", 6) == 0) {
        int g = number_in(name + 6, opt->n_groups, &rest);
        if (g >= 0 && strcmp(rest, "lr") == 0)
            return &opt->groups[g].lr;
        if (g >= 0 && strcmp(rest, "base_lr") == 0)
            return &opt->groups[g].base_lr;
        return NULL;
    }
    int i = number_in(name, opt->n_params, &rest);
    if (i < 0)
        return NULL;
    *param = i;
    if (strcmp(rest, "step") == 0)
        return &opt->params[i].step;
    for (int k = 0; k < soma__optim_n_states(opt); k++) {
        if (strcmp(rest, soma__optim_state_name(opt, k)) == 0 && soma__optim_has_state(opt, opt->params[i].group, k)) {
            *like = soma__optim_state_is_number(opt, k) ? NULL : opt->params[i].tensor;
            return &opt->params[i].state[k];
        }
    }
    return NULL;
}

static bool fits(const soma_optim *opt, const char *name, const soma_tensor *value, const soma_tensor *like, soma_dtype number) {
    soma_dtype dtype = like ? soma_dtype_of(like) : number;
    bool same = soma_ndim(value) == (like ? soma_ndim(like) : 0) && soma_dtype_of(value) == dtype;
    for (int i = 0; same && like && i < soma_ndim(like); i++)
        same = soma_size(value, i) == soma_size(like, i);
    if (same)
        return true;
    char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s: the state '%s' is %s %s, and %s %s is needed", opt->kind->name, name,
              soma__shape_text(soma_ndim(value), soma_shape(value), a, sizeof a), soma_dtype_name(soma_dtype_of(value)),
              soma__shape_text(like ? soma_ndim(like) : 0, like ? soma_shape(like) : NULL, b, sizeof b), soma_dtype_name(dtype));
    return false;
}

soma_status soma__optim_load(soma_optim *opt, const char *name, soma_tensor *value, bool only_check) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!opt || !name || !value)
        return soma_fail(SOMA_EINVAL, "soma_optim_load: the optimiser, the name or the value is NULL");
    if (!opt->op && soma__lbfgs_load(opt, name, value, only_check))
        return soma__ctx()->error;
    int param;
    const soma_tensor *like;
    soma_tensor **slot = find(opt, name, &param, &like);
    if (!slot)
        return soma_fail(SOMA_ENOTFOUND, "%s: there is no state '%.80s' (%d parameters in %d groups)", opt->kind->name, name, opt->n_params,
                         opt->n_groups);
    bool counts = strcmp(name, "step") == 0 || (strlen(name) > 5 && strcmp(name + strlen(name) - 5, ".step") == 0);
    if (!fits(opt, name, value, like, counts ? SOMA_I64 : SOMA_F64) || only_check)
        return soma__ctx()->error;
    if (param >= 0 && soma__optim_ready(opt, param) != SOMA_OK)
        return soma__ctx()->error;
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    soma_copy_(*slot, value);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

soma_status soma_optim_load(soma_optim *opt, const char *name, soma_tensor *value) { return soma__optim_load(opt, name, value, false); }
