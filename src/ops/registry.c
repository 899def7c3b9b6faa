/* The registry: all families' lists, found by name; soma_call, which runs any of them with named attributes. */
#include "ops/op.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPS = 1024 };

#define FAMILIES(F) \
    F(unary) \
    F(binary) \
    F(functions) \
    F(math) \
    F(activation) \
    F(fill) \
    F(reduce) \
    F(order) \
    F(count) \
    F(sums) \
    F(distance) \
    F(softmax) \
    F(loss) \
    F(loss_values) \
    F(loss_binary) \
    F(loss_classes) \
    F(loss_pairs) \
    F(norm) \
    F(norm_last) \
    F(dropout) \
    F(shape) \
    F(slice) \
    F(join) \
    F(parts) \
    F(diagonal) \
    F(grid) \
    F(index) \
    F(advanced) \
    F(pool) \
    F(random) \
    F(draws) \
    F(create) \
    F(like) \
    F(matmul) \
    F(rnn) \
    F(attention) \
    F(attention_fused) \
    F(conv) \
    F(products) \
    F(einsum) \
    F(factors) \
    F(linalg) \
    F(conv_nd) \
    F(pool_nd) \
    F(embedding) \
    F(resample) \
    F(norm_nd) \
    F(optim) \
    F(optim_rule)
#define DECLARE(family) extern soma_op_list soma__##family##_ops ;
FAMILIES(DECLARE)
#define ENTRY(family) soma__##family##_ops,
static const soma_op *const *const families[] = {FAMILIES(ENTRY)};

static const soma_op *ops[MAX_OPS];
static soma_op_info infos[MAX_OPS];
static const char *input_names[MAX_OPS][SOMA_MAX_NAMED_INPUTS];
static uint32_t input_dtypes[MAX_OPS][SOMA_MAX_NAMED_INPUTS];
static int n_ops;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_name(const void *a, const void *b) {
    return strcmp((*(const soma_op *const *)a)->name, (*(const soma_op *const *)b)->name);
}

static void describe(int i) {
    const soma_op *op = ops[i];
    int least = op->n_in;
    while (least > 0 && op->in[least - 1].optional)
        least--;
    for (int k = 0; k < op->n_in; k++) {
        input_names[i][k] = op->in[k].name;
        input_dtypes[i][k] = op->in[k].dtypes;
    }
    infos[i] = (soma_op_info){
        .name = op->name, .family = op->family, .doc = op->doc, .onnx = op->onnx,
        .min_inputs = least, .max_inputs = op->variadic ? INT32_MAX : op->n_in, .outputs = op->outputs,
        .input_names = op->variadic ? NULL : input_names[i], .attrs = op->attrs, .n_attrs = op->n_attrs, .dtypes = op->dtypes,
        .differentiable = soma__differentiable(op), .random = op->random, .in_place = op->in_place,
        .internal = op->internal, .many_outputs = op->many,
        .input_dtypes = input_dtypes[i], .range = op->range,
    };
}

static void build(void) {
    for (size_t f = 0; f < SOMA_LEN(families); f++)
        for (const soma_op *const *op = families[f]; op && *op && n_ops < MAX_OPS; op++)
            ops[n_ops++] = *op;
    qsort(ops, (size_t)n_ops, sizeof *ops, by_name);
    for (int i = 0; i < n_ops; i++)
        describe(i);
}

int soma__op_count(void) {
    pthread_once(&once, build);
    return n_ops;
}

const soma_op *soma__op_at(int i) { return i >= 0 && i < soma__op_count() ? ops[i] : NULL; }
int soma_op_count(void) { return soma__op_count(); }
const soma_op_info *soma_op_get(int i) { return i >= 0 && i < soma__op_count() ? &infos[i] : NULL; }

static int find(const char *name) {
    int low = 0, high = soma__op_count() - 1;
    while (low <= high) {
        int middle = (low + high) / 2, order = strcmp(name, ops[middle]->name);
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle - 1;
        else
            low = middle + 1;
    }
    return -1;
}

const soma_op_info *soma_op_find(const char *name) {
    int i = name ? find(name) : -1;
    return i < 0 ? NULL : &infos[i];
}

const soma_op *soma__op_find(const char *name, bool *in_place) {
    *in_place = false;
    int i = find(name);
    if (i >= 0)
        return ops[i];
    size_t n = strlen(name);
    char plain[64];
    if (n < 2 || n > sizeof plain || name[n - 1] != '_')
        return NULL;
    memcpy(plain, name, n - 1);
    plain[n - 1] = 0;
    i = find(plain);
    *in_place = i >= 0 && ops[i]->in_place;
    return *in_place ? ops[i] : NULL;
}

static const soma_op *find_or_fail(const char *name, bool *in_place) {
    const soma_op *op = name ? soma__op_find(name, in_place) : NULL;
    if (op)
        return op;
    const char *names[MAX_OPS];
    for (int i = 0; i < n_ops; i++)
        names[i] = ops[i]->name;
    const char *near = name ? soma__nearest(name, names, n_ops) : NULL;
    soma_fail(SOMA_ENOTFOUND, "there is no operator '%s'%s%s%s", name ? name : "", near ? "; did you mean '" : "", near ? near : "",
              near ? "'?" : "");
    return NULL;
}

static const char *kind_name(soma_attr_kind kind) {
    static const char *const names[] = {"a whole number", "a number", "true or false", "whole numbers", "a dtype", "a text"};
    return (unsigned)kind < SOMA_LEN(names) ? names[kind] : "an unknown kind";
}

/* A whole number may stand for a number, a flag, a dtype or a list of one; a list of one for a number is an error. */
static bool fit(const soma_op *op, const soma_attr *given, soma_attr *slot) {
    if (given->kind == slot->kind) {
        if (given->kind == SOMA_ATTR_INTS && (given->count < 0 || given->count > SOMA_MAX_DIMS)) {
            soma_fail(SOMA_EINVAL, "%s: attribute '%s' has %d numbers, at most %d fit", op->name, slot->name, given->count, SOMA_MAX_DIMS);
            return false;
        }
        const char *name = slot->name;
        *slot = *given;
        slot->name = name;
        return true;
    }
    if (given->kind == SOMA_ATTR_INT) {
        int64_t v = given->value.i;
        switch (slot->kind) {
        case SOMA_ATTR_FLOAT: slot->value.f = (double)v; return true;
        case SOMA_ATTR_BOOL: slot->value.i = v != 0; return true;
        case SOMA_ATTR_DTYPE: slot->value.i = v; return true;
        case SOMA_ATTR_INTS:
            slot->count = 1;
            slot->value.ints[0] = v;
            return true;
        default: break;
        }
    }
    soma_fail(SOMA_EINVAL, "%s: attribute '%s' is %s, got %s", op->name, slot->name, kind_name(slot->kind), kind_name(given->kind));
    return false;
}

static bool unknown_attr(const soma_op *op, const char *name) {
    const char *names[SOMA_MAX_ATTRS];
    for (int i = 0; i < op->n_attrs; i++)
        names[i] = op->attrs[i].def.name;
    const char *near = soma__nearest(name, names, op->n_attrs);
    soma_fail(SOMA_ENOTFOUND, "%s: there is no attribute '%s'%s%s%s", op->name, name, near ? "; did you mean '" : "", near ? near : "",
              near ? "'?" : "");
    return false;
}

static bool collect(const soma_op *op, const soma_attr *attrs, int n_attrs, soma_attr *all) {
    bool given[SOMA_MAX_ATTRS] = {false};
    for (int k = 0; k < op->n_attrs; k++)
        all[k] = op->attrs[k].def;
    for (int i = 0; i < n_attrs; i++) {
        int k = 0;
        while (k < op->n_attrs && (!attrs[i].name || strcmp(attrs[i].name, all[k].name) != 0))
            k++;
        if (k == op->n_attrs)
            return unknown_attr(op, attrs[i].name ? attrs[i].name : "");
        if (given[k]) {
            soma_fail(SOMA_EINVAL, "%s: attribute '%s' is given twice", op->name, all[k].name);
            return false;
        }
        given[k] = true;
        if (!fit(op, &attrs[i], &all[k]))
            return false;
    }
    for (int k = 0; k < op->n_attrs; k++)
        if (op->attrs[k].required && !given[k]) {
            soma_fail(SOMA_EINVAL, "%s: attribute '%s' is required (%s)", op->name, all[k].name, op->attrs[k].help);
            return false;
        }
    return true;
}

soma_status soma_call(const char *name, soma_tensor *const *in, int n_in, const soma_attr *attrs, int n_attrs, soma_tensor **out, int n_out) {
    for (int i = 0; i < n_out; i++)
        out[i] = NULL;
    if (soma__failed())
        return soma__ctx()->error;
    soma__op_count();
    bool in_place;
    const soma_op *op = find_or_fail(name, &in_place);
    soma_attr all[SOMA_MAX_ATTRS];
    if (!op || !collect(op, attrs, n_attrs, all))
        return soma__ctx()->error;
    soma_tensor *first[SOMA_MAX_OUTPUTS];
    bool ok = in_place ? soma__apply(op, in, n_in, all, first, SOMA__IN_PLACE) : soma__apply_many(op, in, n_in, all, out, n_out) >= 0;
    if (!ok)
        return soma__ctx()->error;
    if (in_place && n_out > 0)
        out[0] = first[0];
    return SOMA_OK;
}
