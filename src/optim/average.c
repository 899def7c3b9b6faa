/* Averages of a module's weights: exponential (EMA) or plain (SWA). The average has the module's names, shapes and dtypes; values of
 * integers (counts of batches) are copied. */
#include "optim/optim.h"

#include <math.h>
#include <string.h>

typedef struct entry {
    char *name;
    soma_tensor *tensor, *average; /* references */
    bool averaged;                 /* else copied at each update */
} entry;

struct soma_average {
    bool plain, warmup;
    double decay;
    soma_tensor *updates;          /* i64, 0-d */
    entry *entries;
    int n;
};

void soma_average_free(soma_average *avg) {
    if (!avg)
        return;
    for (int i = 0; i < avg->n; i++) {
        soma__free(avg->entries[i].name);
        soma_release(avg->entries[i].tensor);
        soma_release(avg->entries[i].average);
    }
    soma_release(avg->updates);
    soma__free(avg->entries);
    soma__free(avg);
}

static bool add_entry(soma_average *avg, const soma_named *from, bool use_buffers) {
    entry *e = &avg->entries[avg->n];
    soma_scope scope = soma_scope_begin();
    *e = (entry){.name = soma__strdup(from->name), .averaged = soma_dtype_is_float(soma_dtype_of(from->tensor)) && (!from->buffer || use_buffers)};
    if (e->name && scope.depth >= 0)
        e->average = soma_keep(soma_clone(soma_detach(from->tensor)));
    if (e->average)
        e->tensor = soma_keep(from->tensor);
    avg->n++;
    soma_scope_end(scope);
    return e->average != NULL;
}

static soma_average *average_new(soma_module *net, const soma_average *set, bool use_buffers) {
    if (soma__failed())
        return NULL;
    if (!net) {
        soma_fail(SOMA_EINVAL, "soma_average: the network is NULL");
        return NULL;
    }
    int n = soma__nn_all_made(net, "soma_average") ? soma_nn_named(net, true, NULL, 0) : -1;
    soma_average *avg = n >= 0 ? soma__alloc(sizeof *avg) : NULL;
    if (!avg)
        return NULL;
    *avg = *set;
    soma_owner owner = soma__owner_set(SOMA_OWNER_OPTIM);
    bool grad = soma_set_grad_enabled(false);
    soma_named *named = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *named);
    avg->entries = soma__calloc((size_t)SOMA_MAX(n, 1), sizeof *avg->entries);
    avg->updates = soma__optim_number(0, SOMA_I64);
    bool ok = named && avg->entries && avg->updates && soma_nn_named(net, true, named, n) == n;
    for (int i = 0; ok && i < n; i++)
        ok = add_entry(avg, &named[i], use_buffers);
    soma__free(named);
    soma_set_grad_enabled(grad);
    soma__owner_set(owner);
    if (ok)
        return avg;
    soma_average_free(avg);
    return NULL;
}

soma_average *soma_ema_ex(soma_module *net, const soma_ema_opts *opts) {
    soma_ema_opts o = opts ? *opts : (soma_ema_opts){.size = sizeof o};
    double decay = o.decay == 0 ? 0.999 : o.decay;
    if (!soma__failed() && !soma__optim_number_ok("soma_ema", "decay", decay, 0, 1))
        return NULL;
    return average_new(net, &(soma_average){.decay = decay, .warmup = o.warmup}, o.use_buffers);
}

soma_average *soma_swa(soma_module *net) { return average_new(net, &(soma_average){.plain = true}, false); }

int64_t soma_average_updates(const soma_average *avg) { return avg ? *(const int64_t *)soma_data(avg->updates) : 0; }

/* What the new value counts for: 1 copies. */
static double weight(const soma_average *avg) {
    double t = (double)soma_average_updates(avg);
    if (avg->plain)
        return 1 / (t + 1);
    return 1 - (avg->warmup ? fmin(avg->decay, (1 + t) / (10 + t)) : avg->decay);
}

static bool ready(const soma_average *avg, const char *who) {
    if (!soma__failed() && !avg)
        soma_fail(SOMA_EINVAL, "%s: the average is NULL", who);
    return !soma__failed();
}

soma_status soma_average_update(soma_average *avg) {
    if (!ready(avg, "soma_average_update"))
        return soma__ctx()->error;
    bool grad = soma_set_grad_enabled(false);
    double w = weight(avg);
    for (int i = 0; i < avg->n && !soma__failed(); i++) {
        entry *e = &avg->entries[i];
        soma_scope scope = soma_scope_begin();
        if (e->averaged && w != 1)
            soma_add_(e->average, soma_mul_scalar(soma_sub(soma_detach(e->tensor), e->average), w));
        else
            soma_copy_(e->average, soma_detach(e->tensor));
        soma_scope_end(scope);
    }
    soma_set_grad_enabled(grad);
    if (!soma__failed())
        soma__count_up(avg->updates);
    return soma__ctx()->error;
}

soma_status soma_average_swap(soma_average *avg) {
    if (!ready(avg, "soma_average_swap"))
        return soma__ctx()->error;
    bool grad = soma_set_grad_enabled(false);
    for (int i = 0; i < avg->n && !soma__failed(); i++) {
        entry *e = &avg->entries[i];
        soma_scope scope = soma_scope_begin();
        soma_tensor *was = soma_clone(soma_detach(e->tensor));
        if (was && soma_copy_(e->tensor, e->average))
            soma_copy_(e->average, was);
        soma_scope_end(scope);
    }
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

soma_status soma_average_copy_to(soma_average *avg, soma_module *net) {
    if (!ready(avg, "soma_average_copy_to"))
        return soma__ctx()->error;
    if (!net)
        return soma_fail(SOMA_EINVAL, "soma_average_copy_to: the network is NULL");
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    for (int i = 0; i < avg->n && !soma__failed(); i++)
        soma_copy_(soma_nn_get(net, avg->entries[i].name), avg->entries[i].average);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

/* ---- For checkpoints ---- */

int soma_average_named(soma_average *avg, soma_named *out, int room) {
    if (!avg)
        return 0;
    for (int i = 0; out && i < room && i <= avg->n; i++)
        out[i] = i == 0 ? (soma_named){"updates", avg->updates, true} : (soma_named){avg->entries[i - 1].name, avg->entries[i - 1].average, true};
    return avg->n + 1;
}

soma_status soma__average_load(soma_average *avg, const char *name, soma_tensor *value, bool only_check) {
    if (!ready(avg, "soma_average_load"))
        return soma__ctx()->error;
    if (!name || !value)
        return soma_fail(SOMA_EINVAL, "soma_average_load: the name or the value is NULL");
    soma_tensor *slot = strcmp(name, "updates") == 0 ? avg->updates : NULL;
    for (int i = 0; !slot && i < avg->n; i++)
        slot = strcmp(name, avg->entries[i].name) == 0 ? avg->entries[i].average : NULL;
    if (!slot)
        return soma_fail(SOMA_ENOTFOUND, "the average has no '%.80s'", name);
    char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
    if (!soma__same_shape(slot, value) || soma_dtype_of(slot) != soma_dtype_of(value))
        return soma_fail(SOMA_ESHAPE, "the average of '%s' is %s, and %s is needed", name, soma__tensor_text(value, a), soma__tensor_text(slot, b));
    if (only_check)
        return SOMA_OK;
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    soma_copy_(slot, value);
    soma_scope_end(scope);
    soma_set_grad_enabled(grad);
    return soma__ctx()->error;
}

soma_status soma_average_load(soma_average *avg, const char *name, soma_tensor *value) { return soma__average_load(avg, name, value, false); }
