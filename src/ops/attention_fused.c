/* Attention in blocks, without the matrix of scores: what scaled_dot_product_attention runs in f32 without mask and dropout. */
#include "kernels/cpu/attention.h"

#include "ops/attention.h"
#include "ops/dense.h"

#include <math.h>

enum { Q, K, V, OUT, LSE, GRAD };
enum { IS_CAUSAL, SCALE };
enum { CHUNK = 512 }; /* queries that one thread takes at least: keys are put in order for each of them anew */

/* ---- From tensors to heads ------------------------------------------------------------------------------------------------ */

typedef struct job {
    soma__attention head; /* without pointers */
    const soma_args *a;
    int64_t heads, chunks, slots;
    char *work;
    size_t room;
} job;

static int64_t size_at(const soma_tensor *t, int from_end) { return t->shape[t->ndim - from_end]; }

static job job_of(const soma_args *a, bool backward) {
    const soma_tensor *q = a->in[Q], *k = a->in[K], *v = a->in[V];
    job j = {.a = a, .heads = 1, .work = a->work};
    j.head = (soma__attention){.l = size_at(q, 2), .s = size_at(k, 2), .e = size_at(q, 1), .ev = size_at(v, 1),
                               .causal = a->attrs[IS_CAUSAL].value.i != 0, .scale = (float)a->attrs[SCALE].value.f};
    for (int d = 0; d < q->ndim - 2; d++)
        j.heads *= q->shape[d];
    j.chunks = backward ? 1 : (j.head.l + CHUNK - 1) / CHUNK;
    j.room = soma__attention_room(&j.head, backward);
    j.slots = SOMA_MIN(j.heads * j.chunks, soma_threads() > 1 ? 2 * (int64_t)soma_threads() : 1);
    return j;
}

/* Where head number `h` of t begins, in elements. */
static int64_t place(const soma_tensor *t, int64_t h) {
    int64_t at = 0;
    for (int d = t->ndim - 3; d >= 0; d--) {
        at += h % t->shape[d] * t->stride[d];
        h /= t->shape[d];
    }
    return at;
}

static soma__rows_at rows_at(const soma_tensor *t, int64_t h) {
    return (soma__rows_at){(const float *)t->data + place(t, h), t->stride[t->ndim - 2], t->stride[t->ndim - 1]};
}

static soma__rows_to to_rows(const soma_tensor *t, int64_t h) {
    return (soma__rows_to){(float *)t->data + place(t, h), t->stride[t->ndim - 2]};
}

static soma__attention head_of(const job *j, int64_t h) {
    soma__attention t = j->head;
    t.q = rows_at(j->a->in[Q], h);
    t.k = rows_at(j->a->in[K], h);
    t.v = rows_at(j->a->in[V], h);
    return t;
}

/* Slots share the units out evenly; each has a workspace of its own. */
static void forward_slots(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t slot = begin; slot < end; slot++)
        for (int64_t n = j->heads * j->chunks, u = n * slot / j->slots; u < n * (slot + 1) / j->slots; u++) {
            int64_t h = u / j->chunks, from = u % j->chunks * CHUNK;
            soma__attention t = head_of(j, h);
            t.out = (float *)j->a->out[0]->data + h * t.l * t.ev;
            t.lse = (float *)j->a->out[1]->data + h * t.l;
            soma__attention_forward(&t, from, SOMA_MIN(from + CHUNK, t.l), j->work + (size_t)slot * j->room);
        }
}

static void backward_slots(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    soma_tensor *const *in = j->a->in, **out = j->a->out;
    for (int64_t slot = begin; slot < end; slot++)
        for (int64_t h = j->heads * slot / j->slots; h < j->heads * (slot + 1) / j->slots; h++) {
            soma__attention t = head_of(j, h);
            t.g = rows_at(in[GRAD], h);
            t.out = (float *)in[OUT]->data + h * t.l * t.ev;
            t.lse = (float *)in[LSE]->data + h * t.l;
            t.gq = to_rows(out[0], h);
            t.gk = to_rows(out[1], h);
            t.gv = to_rows(out[2], h);
            soma__attention_backward(&t, j->work + (size_t)slot * j->room);
        }
}

static size_t forward_work(soma_args *a) {
    job j = job_of(a, false);
    return (size_t)j.slots * j.room;
}
static size_t backward_work(soma_args *a) {
    job j = job_of(a, true);
    return (size_t)j.slots * j.room;
}

static const char *run(soma_args *a, bool backward) {
    if (a->in[Q]->dtype != SOMA_F32)
        return "it is not f32";
    if (backward && (!soma__contiguous(a->in[OUT]) || !soma__contiguous(a->in[LSE])))
        return "the result lies over strides";
    job j = job_of(a, backward);
    if (j.slots > 0)
        soma__parallel(j.slots, 1, backward ? backward_slots : forward_slots, &j);
    return NULL;
}
static const char *forward_kernel(soma_args *a) { return run(a, false); }
static const char *backward_kernel(soma_args *a) { return run(a, true); }

/* ---- The reference: a query after the other, in f64 ------------------------------------------------------------------------- */

static double value(const soma_tensor *t, int64_t h, int64_t i, int64_t j) {
    int64_t at = place(t, h) + i * t->stride[t->ndim - 2] + j * t->stride[t->ndim - 1];
    return soma__load((const char *)t->data + at * (int64_t)soma_dtype_size((soma_dtype)t->dtype), (soma_dtype)t->dtype);
}

static void add_at(soma_tensor *t, int64_t i, double v) {
    char *p = soma__element(t, i);
    soma__store(p, (soma_dtype)t->dtype, soma__load(p, (soma_dtype)t->dtype) + v);
}

static double dot(const soma_tensor *a, int64_t i, const soma_tensor *b, int64_t j, int64_t h) {
    double sum = 0;
    for (int64_t c = 0; c < size_at(a, 1); c++)
        sum += value(a, h, i, c) * value(b, h, j, c);
    return sum;
}

static void zero(soma_tensor *t) {
    for (int64_t i = 0; i < t->numel; i++)
        soma__store(soma__element(t, i), (soma_dtype)t->dtype, 0);
}

static const char *forward_reference(soma_args *a) {
    job j = job_of(a, false);
    const soma__attention *t = &j.head;
    const soma_tensor *q = a->in[Q], *k = a->in[K];
    double scale = a->attrs[SCALE].value.f;
    zero(a->out[0]);
    for (int64_t u = 0; u < j.heads * t->l; u++) {
        int64_t h = u / t->l, i = u % t->l, limit = t->causal ? SOMA_MIN(i + 1, t->s) : t->s;
        double most = -INFINITY, sum = 0;
        for (int64_t s = 0; s < limit; s++)
            most = fmax(most, dot(q, i, k, s, h) * scale);
        for (int64_t s = 0; s < limit; s++)
            sum += exp(dot(q, i, k, s, h) * scale - most);
        for (int64_t s = 0; s < limit; s++)
            for (int64_t c = 0; c < t->ev; c++)
                add_at(a->out[0], u * t->ev + c, exp(dot(q, i, k, s, h) * scale - most) / sum * value(a->in[V], h, s, c));
        soma__store(soma__element(a->out[1], u), (soma_dtype)a->out[1]->dtype, most + log(sum));
    }
    return NULL;
}

static const char *backward_reference(soma_args *a) {
    job j = job_of(a, true);
    const soma__attention *t = &j.head;
    const soma_tensor *q = a->in[Q], *k = a->in[K], *v = a->in[V], *g = a->in[GRAD], *lse = a->in[LSE];
    double scale = a->attrs[SCALE].value.f;
    for (int i = 0; i < 3; i++)
        zero(a->out[i]);
    for (int64_t u = 0; u < j.heads * t->l; u++) {
        int64_t h = u / t->l, i = u % t->l, limit = t->causal ? SOMA_MIN(i + 1, t->s) : t->s;
        double delta = dot(g, i, a->in[OUT], i, h), all = soma__load(soma__element(lse, u), (soma_dtype)lse->dtype);
        for (int64_t s = 0; s < limit; s++) {
            double p = exp(dot(q, i, k, s, h) * scale - all), gs = p * (dot(g, i, v, s, h) - delta) * scale;
            for (int64_t c = 0; c < t->e; c++) {
                add_at(a->out[0], u * t->e + c, gs * value(k, h, s, c));
                add_at(a->out[1], (h * t->s + s) * t->e + c, gs * value(q, h, i, c));
            }
            for (int64_t c = 0; c < t->ev; c++)
                add_at(a->out[2], (h * t->s + s) * t->ev + c, p * value(g, h, i, c));
        }
    }
    return NULL;
}

/* ---- Shapes, gradient -------------------------------------------------------------------------------------------------------- */

bool soma__attention_fuses(const soma_tensor *q, const soma_tensor *k, const soma_tensor *v) {
    bool ok = q->ndim >= 2 && k->ndim == q->ndim && v->ndim == q->ndim && size_at(q, 1) == size_at(k, 1) && size_at(k, 2) == size_at(v, 2);
    for (int d = 0; ok && d < q->ndim - 2; d++)
        ok = q->shape[d] == k->shape[d] && q->shape[d] == v->shape[d];
    return ok;
}

static bool fits(soma_args *a) {
    char q[SOMA__SHAPE_TEXT], k[SOMA__SHAPE_TEXT], v[SOMA__SHAPE_TEXT];
    if (soma__attention_fuses(a->in[Q], a->in[K], a->in[V]))
        return true;
    soma_fail(SOMA_ESHAPE, "%s: query is %s, key is %s, value is %s; expected [..., L, E], [..., S, E] and [..., S, V]", a->op->name,
              soma__tensor_text(a->in[Q], q), soma__tensor_text(a->in[K], k), soma__tensor_text(a->in[V], v));
    return false;
}

static bool forward_shape(soma_args *a, soma_meta *out) {
    if (!fits(a))
        return false;
    out[0] = out[1] = soma__meta_of(a->in[Q]);
    out[0].shape[out[0].ndim - 1] = size_at(a->in[V], 1);
    out[1].ndim--;
    return true;
}

/* [batch, heads, steps, features] of a projection lies as [batch, steps, heads, features]: the gradient does too. */
static void lay_steps_first(soma_meta *m, const soma_tensor *t) {
    m->laid = t->ndim == 4 && t->numel > 0 && t->shape[1] > 1 && t->shape[2] > 1 && t->stride[1] < t->stride[2];
    if (!m->laid)
        return;
    m->stride[3] = 1;
    m->stride[1] = t->shape[3];
    m->stride[2] = t->shape[1] * t->shape[3];
    m->stride[0] = t->shape[2] * m->stride[2];
}

static bool backward_shape(soma_args *a, soma_meta *out) {
    char g[SOMA__SHAPE_TEXT], y[SOMA__SHAPE_TEXT];
    if (!fits(a))
        return false;
    if (!soma__same_shape(a->in[GRAD], a->in[OUT]) || a->in[LSE]->ndim != a->in[Q]->ndim - 1) {
        soma_fail(SOMA_ESHAPE, "%s: grad is %s, out is %s; they must be equal", a->op->name, soma__tensor_text(a->in[GRAD], g),
                  soma__tensor_text(a->in[OUT], y));
        return false;
    }
    for (int i = 0; i < 3; i++) {
        out[i] = soma__meta_of(a->in[i]);
        lay_steps_first(&out[i], a->in[i]);
    }
    return true;
}

static const soma_op backward_op;

/* With p = softmax: gv = p^T g, gs = p (gp - sum(p gp)) for gp = g v^T, gq = gs k scale, gk = gs^T q scale. */
static void in_operators(soma_grad_args *g) {
    soma_tensor *q = g->in[Q], *k = g->in[K], *v = g->in[V], *grad = g->gout[0];
    int64_t last = -1;
    double scale = g->attrs[SCALE].value.f;
    soma_tensor *s = soma_mul_scalar(soma_matmul(q, soma_transpose(k, -1, -2)), scale);
    if (g->attrs[IS_CAUSAL].value.i)
        s = soma_masked_fill(s, soma__attention_later(0, size_at(q, 2), size_at(k, 2)), -INFINITY);
    soma_tensor *p = soma_softmax(s, -1), *gp = soma_matmul(grad, soma_transpose(v, -1, -2));
    soma_tensor *gs = soma_mul_scalar(soma_mul(p, soma_sub(gp, soma_sum(soma_mul(p, gp), 1, &last, true))), scale);
    g->gin[Q] = soma_matmul(gs, k);
    g->gin[K] = soma_matmul(soma_transpose(gs, -1, -2), q);
    g->gin[V] = soma_matmul(soma_transpose(p, -1, -2), grad);
}

static void gradient(soma_grad_args *g) {
    soma_tensor *in[] = {g->in[Q], g->in[K], g->in[V], g->out[0], g->out[1], g->gout[0]};
    if (!g->gout[0])
        return;
    if (g->create_graph)
        in_operators(g);
    else
        soma__apply(&backward_op, in, 6, g->attrs, g->gin, 0);
}

static int64_t forward_flops(soma_args *a) {
    job j = job_of(a, false);
    return 2 * j.heads * j.head.l * j.head.s * (j.head.e + j.head.ev) / (j.head.causal ? 2 : 1);
}
static int64_t backward_flops(soma_args *a) { return forward_flops(a) / 2 * 5; }

/* ---- Samples, entries ---------------------------------------------------------------------------------------------------------- */

SOMA__LINES(flash_attention, "[2,4,3] [2,5,3] [2,5,2] scale=0.5", "[2,2,3,4] s[2,2,3,4] [2,2,3,4] is_causal=true scale=0.7", "[3,4] [5,4] s[5,4] is_causal=true",
            "[1,70,16] [1,300,16] [1,300,5] is_causal=true ~", "[50,3] s[260,3] [260,20] ~", "[2,0,4] [2,3,4] [2,3,4]", "s[5,2] [0,2] [0,3]",
            "[2,3] [2,4] [2,3] !ESHAPE expected [..., L, E], [..., S, E] and [..., S, V]")

static bool backward_samples(int i, soma_dtype dtype, soma_sample *s) {
    soma_tensor *made[2];
    if (!flash_attention_samples(i, dtype, s))
        return false;
    soma_attr attrs[] = {SOMA_BOOLEAN("is_causal", i >= 1 && i <= 3), SOMA_FLOAT("scale", 0.5)};
    s->n_attrs = 2;
    s->attrs[0] = attrs[0];
    s->attrs[1] = attrs[1];
    s->no_gradcheck = true;
    if (!soma__apply(soma__op_find("flash_attention", &(bool){false}), s->in, 3, attrs, made, 0))
        return true;
    s->n_in = 6;
    s->in[OUT] = made[0];
    s->in[LSE] = made[1];
    s->in[GRAD] = soma__sample(dtype, -1, 1, 9, made[0]->ndim, made[0]->shape);
    return true;
}

static bool backward_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !backward_samples(0, dtype, s))
        return false;
    s->in[GRAD] = soma__sample(dtype, -1, 1, 9, SOMA_SHAPE(2, 4, 3));
    s->status = SOMA_ESHAPE;
    s->error = "must be equal";
    return true;
}

#define ATTRS SOMA_ATTRS(SOMA_DEF_BOOL("is_causal", false, "query i sees keys 0 to i"), SOMA_DEF_FLOAT("scale", 1, "factor on the scores"))
#define FUSED .family = "attention", .attrs = ATTRS, .dtypes = SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64), .promote = SOMA_PROMOTE_SAME, .internal = true

static const soma_op forward_op = {
    .name = "flash_attention", FUSED,
    .doc = "softmax(query key^T scale) value, and the logarithm of each query's sum of exponentials, in blocks, without the matrix of scores "
           "(Dao et al. 2022)",
    .in = {{.name = "query"}, {.name = "key"}, {.name = "value"}}, .n_in = 3, .outputs = 2, .no_grad_out = 2, .shape = forward_shape,
    .work = forward_work, .cpu = {forward_kernel, forward_reference}, .backward = gradient,
    .saves = SOMA_SAVE_IN(Q) | SOMA_SAVE_IN(K) | SOMA_SAVE_IN(V) | SOMA_SAVE_OUT(0) | SOMA_SAVE_OUT(1), .flops = forward_flops,
    .samples = flash_attention_samples, .errors = flash_attention_errors,
};
static const soma_op backward_op = {
    .name = "flash_attention_backward", FUSED, .doc = "gradients of flash_attention for query, key and value",
    .in = {{.name = "query"}, {.name = "key"}, {.name = "value"}, {.name = "out"}, {.name = "lse"}, {.name = "grad"}}, .n_in = 6, .outputs = 3,
    .shape = backward_shape, .work = backward_work, .cpu = {backward_kernel, backward_reference}, .backward = SOMA_NONDIFF,
    .flops = backward_flops, .samples = backward_samples, .errors = backward_errors,
};

extern soma_op_list soma__attention_fused_ops;
soma_op_list soma__attention_fused_ops = {&forward_op, &backward_op, NULL};

soma_tensor *soma__attention_fused(soma_tensor *q, soma_tensor *k, soma_tensor *v, bool causal, double scale) {
    soma_attr attrs[] = {SOMA_BOOLEAN("is_causal", causal), SOMA_FLOAT("scale", scale)};
    return SOMA__RUN(&forward_op, attrs, q, k, v);
}
