/* The only way an operator runs: check inputs, promote, infer shapes, make outputs, pick a kernel, record. */
#include "ops/op.h"

#include "autograd/tape.h"

#include <stdio.h>
#include <string.h>

extern const soma_op soma__to_op;

_Atomic int soma__force_reference;

void soma__nondiff(soma_grad_args *g) { (void)g; }
void soma__composed(soma_grad_args *g) { (void)g; }

static const soma_input *input_info(const soma_op *op, int i) { return &op->in[SOMA_MIN(i, op->n_in - 1)]; }

static int required_inputs(const soma_op *op) {
    int n = op->n_in;
    while (n > 0 && op->in[n - 1].optional)
        n--;
    return n;
}

static bool check_inputs(const soma_op *op, soma_tensor *const *in, int n_in) {
    if (n_in < required_inputs(op) || (n_in > op->n_in && !op->variadic)) {
        soma_fail(SOMA_EINVAL, "%s: takes %d input%s%s, got %d", op->name, op->n_in, op->n_in == 1 ? "" : "s", op->variadic ? " or more" : "", n_in);
        return false;
    }
    for (int i = 0; i < n_in; i++) {
        const soma_input *info = input_info(op, i);
        if (!in[i]) {
            if (info->optional)
                continue;
            soma_fail(SOMA_EINVAL, "%s: input '%s' is NULL", op->name, info->name);
            return false;
        }
        if (in[i]->dead) {
            soma_fail(SOMA_ESTATE, "%s: input '%s' (made by %s) is used after its scope ended; soma_keep it, or soma_escape it", op->name,
                      info->name, in[i]->made_by ? in[i]->made_by : "the program");
            return false;
        }
        if (in[i]->is_view && in[i]->node && in[i]->storage &&
            in[i]->version != atomic_load_explicit(&in[i]->storage->version, memory_order_relaxed)) {
            soma_fail(SOMA_ESTATE, "%s: input '%s' is a view whose storage was written in place after it was made; make the view again",
                      op->name, info->name);
            return false;
        }
    }
    return true;
}

/* "f32, f64, f16 or bf16" */
static void dtype_list(uint32_t mask, char *out, size_t size) {
    size_t at = 0;
    int left = __builtin_popcount(mask);
    out[0] = 0;
    for (int d = 0; d < SOMA_DTYPE_COUNT && at < size; d++) {
        if (!(mask & 1u << d))
            continue;
        left--;
        at += (size_t)snprintf(out + at, size - at, "%s%s", soma_dtype_name((soma_dtype)d), left > 1 ? ", " : left == 1 ? " or " : "");
    }
}

static bool check_dtype(const soma_op *op, const soma_input *info, soma_dtype dtype) {
    uint32_t allowed = info->dtypes ? info->dtypes : op->dtypes;
    if (allowed & SOMA_BIT(dtype))
        return true;
    char list[128];
    dtype_list(allowed, list, sizeof list);
    soma_fail(SOMA_EDTYPE, "%s: input '%s' has dtype %s, expected %s", op->name, info->name, soma_dtype_name(dtype), list);
    return false;
}

static soma_tensor *convert(soma_tensor *t, soma_dtype dtype) {
    soma_attr attr = SOMA_DTYPE("dtype", dtype);
    return SOMA__RUN(&soma__to_op, &attr, t);
}

/* The usual case: inputs have one dtype already, and the operator takes it. */
static bool all_alike(const soma_op *op, soma_tensor *const *in, int n_in, soma_tensor **room, soma_dtype *common) {
    int dtype = -1;
    for (int i = 0; i < n_in; i++) {
        room[i] = in[i];
        if (!in[i])
            continue;
        const soma_input *info = input_info(op, i);
        if (!((info->dtypes ? info->dtypes : op->dtypes) & SOMA_BIT(in[i]->dtype)))
            return false;
        if (info->apart)
            continue;
        if (in[i]->weak || (dtype >= 0 && in[i]->dtype != dtype))
            return false;
        dtype = in[i]->dtype;
    }
    *common = (soma_dtype)dtype;
    return dtype >= 0 && (op->promote != SOMA_PROMOTE_FLOAT || soma_dtype_is_float(*common));
}

/* Brings inputs to their common dtype. `room` holds the converted list. */
static bool promote(const soma_op *op, soma_tensor *const *in, int n_in, soma_tensor **room, soma_dtype *common, bool in_place) {
    int n = 0;
    if (all_alike(op, in, n_in, room, common))
        return true;
    for (int i = 0; i < n_in; i++)
        if (in[i] && !input_info(op, i)->apart)
            room[n++] = in[i];
    *common = soma__result_type(room, n);
    if (op->promote == SOMA_PROMOTE_FLOAT && !soma_dtype_is_float(*common))
        *common = SOMA_F32;
    if (in_place && n > 0 && soma_dtype_is_float((soma_dtype)in[0]->dtype) >= soma_dtype_is_float(*common) && op->promote != SOMA_PROMOTE_NONE)
        *common = (soma_dtype)in[0]->dtype; /* x.add_(y) computes in x's dtype unless that would lose the fraction */
    for (int i = 0; i < n_in; i++) {
        const soma_input *info = input_info(op, i);
        room[i] = in[i];
        if (!in[i])
            continue;
        bool moves = op->promote != SOMA_PROMOTE_NONE && !info->apart;
        soma_dtype dtype = moves ? *common : (soma_dtype)in[i]->dtype;
        if (!check_dtype(op, info, dtype))
            return false;
        if (dtype != (soma_dtype)in[i]->dtype) {
            room[i] = convert(in[i], dtype);
            if (!room[i])
                return false;
        }
    }
    return true;
}

static bool wants_tape(const soma_op *op, soma_tensor *const *in, int n_in) {
    if (soma__ctx()->no_grad || !soma__differentiable(op))
        return false;
    for (int i = 0; i < n_in; i++)
        if (in[i] && in[i]->requires_grad && (op->variadic || !(op->no_grad_in & 1u << i)))
            return true;
    return false;
}

/* Rules for writing into a tensor that the tape may know. */
static bool check_write(const soma_op *op, soma_tensor *t, bool recorded) {
    if (soma__ctx()->no_grad)
        return true;
    if (t->requires_grad && !t->node) {
        soma_fail(SOMA_ESTATE, "%s in place: a leaf that requires a gradient must not be changed while gradients are recorded; switch "
                               "recording off with soma_set_grad_enabled(false)", op->name);
        return false;
    }
    if (t->is_view && (recorded || t->requires_grad)) {
        soma_fail(SOMA_ESTATE, "%s in place: writing into a view is not recorded; use soma_clone first, or write out of place", op->name);
        return false;
    }
    return true;
}

static bool check_in_place(const soma_op *op, const soma_tensor *t, const soma_meta *m) {
    bool same = m->ndim == t->ndim;
    for (int i = 0; i < m->ndim && same; i++)
        same = m->shape[i] == t->shape[i];
    if (same && m->dtype == (soma_dtype)t->dtype)
        return true;
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s in place: the result is %s %s, which does not fit %s", op->name,
              soma__shape_text(m->ndim, m->shape, want, sizeof want), soma_dtype_name(m->dtype), soma__tensor_text(t, have));
    return false;
}

static bool make_outputs(soma_args *a, const soma_meta *meta, bool over_input) {
    for (int i = 0; i < a->n_out; i++) {
        if (i == 0 && over_input) {
            a->out[0] = a->in[0];
            continue;
        }
        a->out[i] = soma__tensor_new_laid(&meta[i]);
        if (!a->out[i])
            return false;
        a->out[i]->made_by = a->op->name;
    }
    return true;
}

static bool run_kernel(soma_args *a) {
    const soma_op *op = a->op;
    size_t bytes = op->work ? op->work(a) : 0;
    if (bytes > 0) {
        soma_owner was = soma__owner_set(SOMA_OWNER_WORKSPACE);
        a->work = soma__alloc(bytes);
        soma__owner_set(was);
        if (!a->work)
            return false;
        a->work_bytes = bytes;
    }
    const char *why = "it has no kernel";
    int i = 0;
    if (__builtin_expect(atomic_load_explicit(&soma__force_reference, memory_order_relaxed), 0))
        for (int k = 1; k < SOMA_MAX_IMPLS && op->cpu[k]; k++)
            i = k;
    for (; i < SOMA_MAX_IMPLS && op->cpu[i] && why; i++)
        why = op->cpu[i](a);
    if (a->work)
        soma__free(a->work);
    a->work = NULL;
    if (why)
        soma_fail(SOMA_EUNSUPPORTED, "%s: no kernel takes these arguments: %s", op->name, why);
    soma__recorder *r = soma__ctx()->recorder;
    return !why && (__builtin_expect(!r, 1) || r->call(r, a, i - 1));
}

/* A view shares storage instead of running a kernel; NULL without an error: a copy is needed. Where the user may come to see it, what it
 * looks at must lie in memory as the user thinks. */
static soma_tensor *try_view(soma_args *a) {
    if (!a->op->view)
        return NULL;
    soma_meta meta = {.dtype = (soma_dtype)a->in[0]->dtype};
    if ((!soma__ctx()->in_rule && !soma__settle(a->in[0])) || !a->op->view(a, &meta))
        return NULL;
    soma_tensor *t = soma__tensor_alias(a->in[0], &meta);
    if (t)
        t->made_by = a->op->name;
    return t;
}

static bool compute(soma_args *a, const soma_meta *meta, bool over_input, soma_node **node, bool recorded) {
    soma_ctx *ctx = soma__ctx();
    const soma_op *op = a->op;
    a->out[0] = op->outputs == 1 && !over_input ? try_view(a) : NULL;
    bool viewed = a->out[0] != NULL;
    if (!viewed && (ctx->error != SOMA_OK || !make_outputs(a, meta, over_input)))
        return false;
    if (recorded) {
        *node = soma__tape_begin(op, a->in, a->n_in, a->attrs);
        if (!*node)
            return false;
    }
    if (ctx->shapes_only)
        ctx->flops += op->flops ? op->flops(a) : 0;
    else if (!viewed && ((op->check && !op->check(a)) || !run_kernel(a)))
        return false;
    if (op->writes || over_input)
        for (int i = 0; i < a->n_in; i++)
            if (a->in[i] && (op->writes & 1u << i || (i == 0 && over_input)))
                soma__touch(a->in[i]);
    return true;
}

/* A composite in place: its result is copied over the input, which is what the tape sees. */
static bool put_over(soma_args *a, soma_tensor *over) {
    soma_meta result = soma__meta_of(a->out[0]);
    if (!check_in_place(a->op, over, &result))
        return false;
    return soma__return(a, a->out[0] == over ? over : soma_copy_(over, a->out[0]));
}

/* The results leave the scope of the intermediate ones; an input that is handed on belongs elsewhere already. */
static bool run_composite(soma_args *a, soma_tensor *over) {
    const soma_op *op = a->op;
    bool grad = soma__differentiable(op), was = soma_grad_enabled();
    soma_scope scope = soma_scope_begin();
    soma_set_grad_enabled(was && grad);
    a->n_out = op->many ? 0 : op->outputs;
    for (int i = 0; i < a->n_in && i < SOMA_MAX_NAMED_INPUTS && !op->variadic; i++)
        if (a->in[i] && op->no_grad_in & 1u << i && a->in[i]->requires_grad)
            ((soma_tensor **)a->in)[i] = soma_detach(a->in[i]);
    bool ok = soma__ctx()->error == SOMA_OK && op->compose(a) && soma__ctx()->error == SOMA_OK;
    soma_set_grad_enabled(was);
    ok = ok && (!over || put_over(a, over));
    for (int i = 0; ok && i < SOMA_MIN(a->n_out, a->room); i++) {
        bool drop = i < SOMA_MAX_OUTPUTS && op->no_grad_out & 1u << i && a->out[i]->requires_grad;
        a->out[i] = soma_escape(drop ? soma_detach(a->out[i]) : a->out[i]);
    }
    soma_scope_end(scope);
    if (!ok)
        soma__fail_prefix(op->name);
    return ok;
}

bool soma__give(soma_args *a, soma_tensor *t) {
    if (t && a->n_out < a->room)
        a->out[a->n_out] = t;
    a->n_out += t != NULL;
    return t != NULL;
}

bool soma__has_values(const soma_args *a) {
    if (soma__ctx()->shapes_only)
        soma_fail(SOMA_EUNSUPPORTED, "%s: the shape of its result depends on values, and this is a run over shapes alone", a->op->name);
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i] && !soma__may_read(a->in[i], a->op->name))
            return false;
    return !soma__ctx()->shapes_only;
}

static bool run_prepared(soma_args *a, soma_tensor *const *in, soma_dtype common, bool over_input) {
    const soma_op *op = a->op;
    soma_meta meta[SOMA_MAX_OUTPUTS];
    for (int i = 0; i < op->outputs; i++) {
        meta[i].dtype = common;
        meta[i].ndim = 0;
        meta[i].laid = false;
    }
    if (!op->shape(a, meta))
        return false;
    for (int i = 0; op->keeps_order && i < op->outputs; i++)
        soma__lay_as_inputs(&meta[i], a->in, a->n_in);
    bool recorded = wants_tape(op, a->in, a->n_in);
    if (over_input && (!check_in_place(op, in[0], &meta[0]) || !check_write(op, in[0], recorded)))
        return false;
    if (over_input && a->in[0] != in[0]) {
        soma_fail(SOMA_EDTYPE, "%s in place: %s cannot hold the result", op->name, soma_dtype_name((soma_dtype)in[0]->dtype));
        return false;
    }
    soma_ctx *ctx = soma__ctx();
    if (op->random) {
        a->rng = ctx->rng;
        ctx->rng.stream += !ctx->shapes_only;
    }
    soma_node *node = NULL;
    bool ok = compute(a, meta, over_input, &node, recorded);
    if (node && !ok)
        soma__node_unref(node);
    else if (node)
        ok = soma__tape_end(node, a->out);
    return ok;
}

static bool run(soma_args *a, soma_tensor *const *in, soma_tensor **room, unsigned flags) {
    const soma_op *op = a->op;
    soma_dtype common;
    bool over_input = flags & SOMA__IN_PLACE || (op->writes & 1u && op->outputs == 1);
    a->in = room;
    if (!check_inputs(op, in, a->n_in) || !promote(op, in, a->n_in, room, &common, over_input))
        return false;
    return op->compose ? run_composite(a, flags & SOMA__IN_PLACE ? in[0] : NULL) : run_prepared(a, in, common, over_input);
}

static int apply(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs, soma_tensor **out, int n_room, unsigned flags) {
    soma_args a = {.op = op, .n_in = n_in, .n_out = op->outputs, .attrs = attrs, .out = out, .room = n_room, .bf16 = soma__ctx()->bf16};
    bool ok;
    for (int i = 0; i < n_room; i++)
        out[i] = NULL;
    if (soma__failed())
        return -1;
    if (n_in <= SOMA_MAX_NAMED_INPUTS) {
        /* Optional inputs that were left off count as absent. */
        soma_tensor *all[SOMA_MAX_NAMED_INPUTS] = {0}, *room[SOMA_MAX_NAMED_INPUTS] = {0};
        for (int i = 0; i < n_in; i++)
            all[i] = in[i];
        if (n_in >= required_inputs(op) && n_in < op->n_in)
            a.n_in = op->n_in;
        ok = run(&a, all, room, flags);
    } else {
        soma_tensor **room = soma__calloc((size_t)n_in, sizeof *room);
        ok = room && run(&a, in, room, flags);
        soma__free(room);
    }
    for (int i = 0; !ok && i < n_room; i++)
        out[i] = NULL;
    return ok ? a.n_out : -1;
}

bool soma__apply(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs, soma_tensor **out, unsigned flags) {
    return apply(op, in, n_in, attrs, out, op->outputs, flags) >= 0;
}

int soma__apply_many(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs, soma_tensor **out, int room) {
    if (op->many || room >= op->outputs)
        return apply(op, in, n_in, attrs, out, room, 0);
    soma_tensor *made[SOMA_MAX_OUTPUTS];
    int n = apply(op, in, n_in, attrs, made, op->outputs, 0);
    for (int i = 0; i < room; i++)
        out[i] = made[i];
    return n;
}

soma_tensor *soma__run(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    return soma__apply(op, in, n_in, attrs, out, 0) ? out[0] : NULL;
}
