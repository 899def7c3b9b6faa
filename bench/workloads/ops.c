/* Single operations on arrays larger than the caches. */
#include "workload.h"

#include <string.h>

typedef struct op {
    soma_tensor *x, *y, *grad;   /* y: the second input, classes, or NULL; grad: the gradient of the result */
    soma_tensor *weight, *bias;  /* layer norm */
    soma_optim *opt;             /* Adam */
    soma_capture *fast;
    soma_tensor *(*run)(struct op *s);
    bool backward;
} op;

static soma_tensor *chain(op *s) {
    return soma_mul(soma_tanh(soma_add_scalar(soma_mul_scalar(s->x, 1.5), 0.25)), soma_sigmoid(s->x));
}
static soma_tensor *run_tanh(op *s) { return soma_tanh(s->x); }
static soma_tensor *run_relu(op *s) { return soma_relu(s->x); }
static soma_tensor *run_gelu(op *s) { return soma_gelu_tanh(s->x); }
static soma_tensor *run_add(op *s) { return soma_add(s->x, s->y); }
static soma_tensor *run_softmax(op *s) { return soma_softmax(s->x, -1); }
static soma_tensor *run_transpose(op *s) { return soma_contiguous(soma_transpose(s->x, 0, 1)); }
static soma_tensor *run_cross_entropy(op *s) { return soma_cross_entropy(s->x, s->y); }
static soma_tensor *run_layer_norm(op *s) { return soma_layer_norm(s->x, 1, s->weight, s->bias, 1e-5); }
static soma_tensor *run_adam(op *s) {
    soma_set_grad(s->x, s->grad); /* the step clears it */
    soma_optim_step(s->opt);
    return s->x;
}

static const struct {
    const char *name;
    soma_tensor *(*run)(op *s);
} kinds[] = {{"chain", chain},           {"tanh", run_tanh},           {"relu", run_relu}, {"gelu_tanh", run_gelu},
             {"add", run_add},           {"softmax", run_softmax},     {"adam", run_adam}, {"cross_entropy", run_cross_entropy},
             {"transpose", run_transpose}, {"layer_norm", run_layer_norm}};

static bool run_and_back(void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out) {
    op *s = user;
    (void)in, (void)n_in;
    soma_tensor *result = s->run(s);
    if (n_out > 0)
        out[0] = result;
    return result && (!s->backward || soma_backward(result, .grad = s->grad) == SOMA_OK);
}

/* The result belongs to the current scope. */
static soma_tensor *once(op *s) {
    soma_tensor *out = NULL;
    if (s->backward)
        soma_set_grad(s->x, NULL);
    if (s->fast)
        soma_capture_run(s->fast, NULL, 0, &out, 1);
    else
        run_and_back(s, NULL, 0, &out, 1);
    return out;
}

static void step(workload *w) {
    soma_scope scope = soma_scope_begin();
    once(w->state);
    soma_scope_end(scope);
}

static void compare(workload *w, record *r, int steps) {
    op *s = w->state;
    record_add(r, "x", -1, s->x);
    record_add(r, "y", -1, s->y);
    record_add(r, "grad", -1, s->grad);
    for (int i = 0; i < (s->opt ? steps : 1); i++)
        record_add(r, "out", i, once(s));
    if (s->backward)
        record_add(r, "x_grad", -1, soma_grad(s->x));
}

bool op_open(workload *w) {
    static op s;
    const char *name = spec_text(w, "op");
    int64_t shape[SOMA_MAX_DIMS];
    int ndim = spec_shape(w, "shape", 0, shape);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            s.run = kinds[i].run;
    if (!s.run) {
        soma_fail(SOMA_EINVAL, "no operation '%s'", name);
        return false;
    }
    s.backward = spec_int(w, "backward", 0);
    s.x = soma_keep(soma_randn(ndim, shape, SOMA_F32));
    if (s.run == run_add)
        s.y = soma_keep(soma_randn(ndim, shape, SOMA_F32));
    if (s.run == run_cross_entropy)
        s.y = soma_keep(soma_randint(0, shape[1], SOMA_SHAPE(shape[0]), SOMA_I64));
    if (s.run == run_layer_norm) {
        s.weight = soma_keep(soma_ones(SOMA_SHAPE(shape[1]), SOMA_F32));
        s.bias = soma_keep(soma_zeros(SOMA_SHAPE(shape[1]), SOMA_F32));
    }
    if ((s.backward && s.run != run_cross_entropy) || s.run == run_adam)
        s.grad = soma_keep(soma_randn(ndim, shape, SOMA_F32));
    if (s.backward || s.run == run_adam) {
        soma_requires_grad_(s.x, true);
        soma_requires_grad_(s.weight, s.weight != NULL);
        soma_requires_grad_(s.bias, s.bias != NULL);
    } else {
        soma_set_grad_enabled(false);
    }
    if (s.run == run_adam) {
        s.opt = soma_adam(NULL);
        soma_optim_add_group(s.opt, &s.x, 1, 1e-3, 0);
    }
    s.fast = w->captured ? soma_capture_new(run_and_back, &s) : NULL;
    w->mbytes = 4e-6 * (double)(soma_numel(s.x) * spec_int(w, "arrays", 1));
    w->state = &s;
    w->step = step;
    w->compare = compare;
    return soma_error() == SOMA_OK;
}
