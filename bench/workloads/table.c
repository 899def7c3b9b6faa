/* Logistic regression on a table in memory: batches in order, or rows picked by a permutation. */
#include "workload.h"

typedef struct table {
    soma_module *module;
    soma_optim *opt;
    soma_tensor *x, *y, *order;
    int64_t rows, batch, at;
    bool shuffled;
} table;

static soma_tensor *loss_of_next(table *s) {
    s->at = (s->at + s->batch) % (s->rows - s->batch);
    soma_tensor *x, *y;
    if (s->shuffled) {
        soma_tensor *index = soma_narrow(s->order, 0, s->at, s->batch);
        x = soma_index_select(s->x, 0, index);
        y = soma_index_select(s->y, 0, index);
    } else {
        x = soma_narrow(s->x, 0, s->at, s->batch);
        y = soma_narrow(s->y, 0, s->at, s->batch);
    }
    return soma_bce_with_logits(soma_nn_forward(s->module, x), y);
}

static void step(workload *w) {
    table *s = w->state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *loss = loss_of_next(s);
    soma_backward(loss);
    soma_optim_step(s->opt);
    soma_scope_end(scope);
}

static void compare(workload *w, record *r, int steps) {
    table *s = w->state;
    record_add(r, "x", -1, s->x);
    record_add(r, "y", -1, s->y);
    record_add(r, "order", -1, s->order);
    record_add(r, "param", 0, soma_nn_get(s->module, "weight"));
    record_add(r, "param", 1, soma_nn_get(s->module, "bias"));
    for (int i = 0; i < steps && soma_error() == SOMA_OK; i++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *loss = loss_of_next(s);
        record_add(r, "loss", i, loss);
        soma_backward(loss);
        soma_optim_step(s->opt);
        soma_scope_end(scope);
    }
}

bool table_open(workload *w) {
    static table s;
    int64_t columns = spec_int(w, "columns", 0);
    s.batch = spec_int(w, "batch", 0);
    s.rows = w->check ? 10 * s.batch : spec_int(w, "rows", 0);
    s.shuffled = spec_int(w, "shuffled", 0);
    s.module = soma_nn_linear(columns, 1);
    s.opt = soma_sgd(s.module, .lr = json_number_value(json_object_get(w->spec, "lr")));
    s.x = soma_keep(soma_randn(SOMA_SHAPE(s.rows, columns), SOMA_F32));
    s.y = soma_keep(soma_bernoulli(0.5, SOMA_SHAPE(s.rows, 1), SOMA_F32));
    s.order = soma_keep(soma_randperm(s.rows));
    w->gflop = 4e-9 * (double)(s.batch * columns);
    w->mbytes = 4e-6 * (double)(s.batch * columns);
    w->state = &s;
    w->step = step;
    w->compare = compare;
    return soma_error() == SOMA_OK;
}
