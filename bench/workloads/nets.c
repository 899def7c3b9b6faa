/* Training steps and inference of networks. */
#include "workload.h"

#include <stdlib.h>
#include <string.h>

typedef struct net {
    soma_module *module;
    soma_optim *opt;
    soma_tensor *x, *y;
    soma_capture *fast;
    bool mse;
} net;

static soma_tensor *loss_of(net *s, soma_tensor *x, soma_tensor *y) {
    soma_tensor *out = soma_nn_forward(s->module, x);
    if (s->mse)
        return soma_mse_loss(out, y);
    if (out && soma_ndim(out) == 3) /* a class for each step of a sequence */
        out = soma_flatten(out, 0, 1);
    return soma_cross_entropy(out, y);
}

static bool loss_and_update(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    net *s = user;
    (void)n_in, (void)n_out;
    out[0] = loss_of(s, in[0], in[1]);
    return soma_backward(out[0]) == SOMA_OK && soma_optim_step(s->opt) == SOMA_OK;
}

/* One training step; the loss is a tensor of the current scope. */
static soma_tensor *update(net *s) {
    soma_tensor *loss = NULL, *in[] = {s->x, s->y};
    if (s->fast)
        soma_capture_run(s->fast, in, 2, &loss, 1);
    else
        loss_and_update(s, in, 2, &loss, 1);
    return loss;
}

static void train_step(workload *w) {
    soma_scope scope = soma_scope_begin();
    update(w->state);
    soma_scope_end(scope);
}

static void infer_step(workload *w) {
    net *s = w->state;
    soma_scope scope = soma_scope_begin();
    soma_nn_forward(s->module, s->x);
    soma_scope_end(scope);
}

static void without_dropout(soma_module *m) {
    if (strcmp(soma_nn_class(m)->name, "Dropout") == 0)
        soma_nn_train(m, false);
    for (int i = 0; i < soma_nn_child_count(m); i++)
        without_dropout(soma_nn_child(m, i, NULL));
}

static void compare(workload *w, record *r, int steps) {
    net *s = w->state;
    soma_named named[RECORD_ROOM];
    int n = soma_nn_named(s->module, false, named, RECORD_ROOM);
    without_dropout(s->module);
    record_add(r, "x", -1, s->x);
    record_add(r, "y", -1, s->y);
    for (int i = 0; i < n && i < RECORD_ROOM; i++)
        record_add(r, "param", i, named[i].tensor);
    for (int i = 0; i < steps && soma_error() == SOMA_OK; i++) {
        soma_scope scope = soma_scope_begin();
        if (w->infer)
            record_add(r, "out", i, soma_nn_forward(s->module, s->x));
        else
            record_add(r, "loss", i, update(s));
        soma_scope_end(scope);
    }
}

/* 2 for each multiply-add; backward has twice those of forward, but the gradient of an image or a table is not wanted. */
static double gflop_of(const workload *w, soma_module *m, int ndim, const int64_t *shape) {
    soma_layer_info rows[200];
    int n = soma_nn_layers(m, ndim, shape, rows, 200);
    int64_t flops = n > 0 ? rows[0].flops : 0;
    if (w->infer)
        return (double)flops * 1e-9;
    flops *= 3;
    for (int i = 0; i < n && i < 200 && !spec_int(w, "tokens", 0); i++)
        if (strcmp(rows[i].type, "Linear") == 0 || strcmp(rows[i].type, "Conv2d") == 0) {
            flops -= rows[i].flops;
            break;
        }
    return (double)flops * 1e-9;
}

static soma_optim *optimiser(const workload *w, soma_module *m) {
    soma_attr options[8];
    int n = 0;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(w->spec, "options"), key, value) {
        if (n < 8)
            options[n++] = SOMA_FLOAT(key, json_number_value(value));
    }
    return soma_optim_by_name_ex(spec_text(w, "optimiser"), m, options, n);
}

bool net_open(workload *w) {
    static net s;
    int64_t batch = w->infer ? w->infer : spec_int(w, "batch", 1), shape[SOMA_MAX_DIMS], tokens = spec_int(w, "tokens", 0);
    int ndim = spec_shape(w, "input", batch, shape);
    s.module = soma_nn_parse(spec_text(w, "net"));
    s.mse = strcmp(spec_text(w, "loss"), "mse_loss") == 0;
    if (soma_nn_build(s.module, ndim, shape) != SOMA_OK)
        return false;
    if (s.mse) { /* the four cases of XOR */
        const float in[] = {0, 0, 0, 1, 1, 0, 1, 1}, out[] = {0, 1, 1, 0};
        s.x = soma_keep(soma_from_array(in, SOMA_SHAPE(4, 2), SOMA_F32));
        s.y = soma_keep(soma_from_array(out, SOMA_SHAPE(4, 1), SOMA_F32));
    } else {
        int64_t targets = spec_int(w, "each", 0) ? batch * shape[1] : batch;
        s.x = soma_keep(tokens ? soma_randint(0, tokens, ndim, shape, SOMA_I64) : soma_randn(ndim, shape, SOMA_F32));
        s.y = soma_keep(soma_randint(0, spec_int(w, "classes", 2), SOMA_SHAPE(targets), SOMA_I64));
    }
    w->gflop = gflop_of(w, s.module, ndim, shape);
    if (w->infer) {
        soma_nn_train(s.module, false);
        soma_set_grad_enabled(false);
    } else {
        s.opt = optimiser(w, s.module);
        s.fast = w->captured ? soma_capture_new(loss_and_update, &s) : NULL;
    }
    w->state = &s;
    w->step = w->infer ? infer_step : train_step;
    w->compare = compare;
    return soma_error() == SOMA_OK;
}
