/* Matrix products: matmul as torch.matmul, linear with its bias inside. Operands are read through their strides, so neither
 * transposes nor broadcast batches are ever copied, and their gradients are matrix products over the same operands. */
#include "kernels/cpu/gemm.h"
#include "ops/fold.h"
#include "ops/elementwise.h"

#include <string.h>

/* ---- From tensors to one product -------------------------------------------------------------------------------------- */

/* A product and the batch dimensions around it; the innermost of them is in `g` itself. Strides in elements. */
typedef struct batched {
    soma__gemm g;
    int ndim;
    int64_t size[SOMA_MAX_DIMS], a[SOMA_MAX_DIMS], b[SOMA_MAX_DIMS], c[SOMA_MAX_DIMS];
} batched;

static int64_t stride_at(const soma_tensor *t, int ndim, int i) {
    const int from = i - (ndim - (t->ndim - 2)); /* batch dimensions line up at their ends */
    return from < 0 || t->shape[from] == 1 ? 0 : t->stride[from];
}

/* Joins neighbours that all three operands step through evenly. */
static void join_batches(batched *p) {
    int n = 0;
    for (int i = 0; i < p->ndim; i++) {
        if (p->size[i] == 1)
            continue;
        if (n > 0 && p->a[n - 1] == p->a[i] * p->size[i] && p->b[n - 1] == p->b[i] * p->size[i] &&
            p->c[n - 1] == p->c[i] * p->size[i]) {
            p->size[n - 1] *= p->size[i];
            p->a[n - 1] = p->a[i];
            p->b[n - 1] = p->b[i];
            p->c[n - 1] = p->c[i];
            continue;
        }
        p->size[n] = p->size[i];
        p->a[n] = p->a[i];
        p->b[n] = p->b[i];
        p->c[n++] = p->c[i];
    }
    p->ndim = n;
}

/* a [..., m, k] and b [..., k, n] (1-d ones count as a row and a column) into `out`, row-major. With `turned` b is [n, k]. */
static void plan(batched *p, const soma_args *args, const soma_tensor *a, const soma_tensor *b, const soma_tensor *out, bool turned) {
    soma__gemm *g = &p->g;
    *g = (soma__gemm){.dtype = (soma_dtype)a->dtype, .a = a->data, .b = b->data, .c = out->data, .batch = 1, .bf16 = args->bf16};
    g->k = a->shape[a->ndim - 1];
    g->a_col = a->stride[a->ndim - 1];
    g->m = a->ndim > 1 ? a->shape[a->ndim - 2] : 1;
    g->a_row = a->ndim > 1 ? a->stride[a->ndim - 2] : g->k;
    const int rows = turned ? b->ndim - 1 : b->ndim - 2, columns = turned ? b->ndim - 2 : b->ndim - 1;
    g->n = b->ndim > 1 ? b->shape[columns] : 1;
    g->b_row = b->ndim > 1 ? b->stride[rows] : b->stride[0];
    g->b_col = b->ndim > 1 ? b->stride[columns] : 1;
    g->c_row = g->n;
    p->ndim = SOMA_MAX(SOMA_MAX(a->ndim, b->ndim) - 2, 0);
    if (p->ndim == 0)
        return;
    int64_t step = g->m * g->n;
    for (int i = p->ndim - 1; i >= 0; i--) { /* the batch comes first in the output */
        p->size[i] = out->shape[i];
        p->a[i] = stride_at(a, p->ndim, i);
        p->b[i] = stride_at(b, p->ndim, i);
        p->c[i] = step;
        step *= p->size[i];
    }
    join_batches(p);
    int last = p->ndim - 1;
    if (last >= 0 && p->b[last] == 0 && (g->m == 1 || p->a[last] == g->m * g->a_row)) { /* one b for all: more rows of a */
        g->a_row = g->m == 1 ? p->a[last] : g->a_row;
        g->m *= p->size[last];
        p->ndim = last--;
    }
    if (last >= 0) {
        g->batch = p->size[last];
        g->a_batch = p->a[last];
        g->b_batch = p->b[last];
        g->c_batch = p->c[last];
        p->ndim = last;
    }
}

static void run_batched(const batched *p, void *work, size_t bytes) {
    soma__gemm g = p->g;
    const size_t size = soma_dtype_size(g.dtype);
    int64_t index[SOMA_MAX_DIMS] = {0};
    for (;;) {
        int64_t a = 0, b = 0, c = 0;
        for (int i = 0; i < p->ndim; i++) {
            a += index[i] * p->a[i];
            b += index[i] * p->b[i];
            c += index[i] * p->c[i];
        }
        g.a = (const char *)p->g.a + a * (int64_t)size;
        g.b = (const char *)p->g.b + b * (int64_t)size;
        g.c = (char *)p->g.c + c * (int64_t)size;
        soma__gemm_run(&g, work, bytes);
        int i = p->ndim - 1;
        while (i >= 0 && ++index[i] == p->size[i])
            index[i--] = 0;
        if (i < 0)
            return;
    }
}

/* ---- The reference: one sum at a time, in double ---------------------------------------------------------------------- */

static void reference_one(const soma__gemm *g, int64_t q, int64_t i, int64_t j) {
    const size_t size = soma_dtype_size(g->dtype);
    const char *a = (const char *)g->a + (q * g->a_batch + i * g->a_row) * (int64_t)size;
    const char *b = (const char *)g->b + (q * g->b_batch + j * g->b_col) * (int64_t)size;
    char *c = (char *)g->c + (q * g->c_batch + i * g->c_row + j) * (int64_t)size;
    const int64_t a_step = g->a_col * (int64_t)size, b_step = g->b_row * (int64_t)size;
    if (!soma_dtype_is_float(g->dtype)) {
        uint64_t sum = 0;
        for (int64_t p = 0; p < g->k; p++)
            sum += (uint64_t)soma__load_int(a + p * a_step, g->dtype) * (uint64_t)soma__load_int(b + p * b_step, g->dtype);
        soma__store_int(c, g->dtype, (int64_t)sum);
        return;
    }
    double sum = g->bias_col ? soma__load((const char *)g->bias_col + j * (int64_t)size, g->dtype) : 0;
    for (int64_t p = 0; p < g->k; p++)
        sum += soma__load(a + p * a_step, g->dtype) * soma__load(b + p * b_step, g->dtype);
    soma__store(c, g->dtype, g->relu && sum <= 0 ? 0 : sum);
}

static void run_reference(const batched *p) {
    const int64_t size = (int64_t)soma_dtype_size(p->g.dtype);
    int64_t outer = 1;
    for (int i = 0; i < p->ndim; i++)
        outer *= p->size[i];
    for (int64_t o = 0; o < outer; o++) {
        soma__gemm g = p->g;
        int64_t rest = o;
        for (int i = p->ndim - 1; i >= 0; rest /= p->size[i--]) {
            g.a = (const char *)g.a + rest % p->size[i] * p->a[i] * size;
            g.b = (const char *)g.b + rest % p->size[i] * p->b[i] * size;
            g.c = (char *)g.c + rest % p->size[i] * p->c[i] * size;
        }
        for (int64_t q = 0; q < g.batch; q++)
            for (int64_t i = 0; i < g.m; i++)
                for (int64_t j = 0; j < g.n; j++)
                    reference_one(&g, q, i, j);
    }
}

/* ---- matmul
 * ----------------------------------------------------------------------------------------------------------------------------
 */

static bool matmul_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0], *y = a->in[1];
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (x->ndim == 0 || y->ndim == 0) {
        soma_fail(SOMA_ESHAPE, "matmul: both inputs need at least one dimension, got %s and %s; use mul for numbers",
                  soma__tensor_text(x, have), soma__tensor_text(y, want));
        return false;
    }
    const int64_t k = x->shape[x->ndim - 1], rows = y->shape[y->ndim > 1 ? y->ndim - 2 : 0];
    bool ok = k == rows;
    const int nx = SOMA_MAX(x->ndim - 2, 0), ny = SOMA_MAX(y->ndim - 2, 0), n = SOMA_MAX(nx, ny);
    for (int i = 1; ok && i <= n; i++) {
        const int64_t p = i <= nx ? x->shape[nx - i] : 1, q = i <= ny ? y->shape[ny - i] : 1;
        ok = p == q || p == 1 || q == 1;
        out->shape[n - i] = p == 1 ? q : p;
    }
    if (!ok) {
        soma_fail(SOMA_ESHAPE, "matmul: %s times %s: %s", soma__tensor_text(x, have), soma__tensor_text(y, want),
                  k != rows ? "the last size of the first must be the last but one of the second"
                            : "the batch sizes do not broadcast");
        return false;
    }
    out->ndim = n;
    if (x->ndim > 1)
        out->shape[out->ndim++] = x->shape[x->ndim - 2];
    if (y->ndim > 1)
        out->shape[out->ndim++] = y->shape[y->ndim - 1];
    return true;
}

static size_t matmul_work(soma_args *a) {
    batched p;
    plan(&p, a, a->in[0], a->in[1], a->out[0], false);
    return a->out[0]->numel > 0 ? soma__gemm_work(&p.g) : 0;
}

static const char *matmul_packed(soma_args *a) {
    if (a->out[0]->numel > 0) {
        batched p;
        plan(&p, a, a->in[0], a->in[1], a->out[0], false);
        run_batched(&p, a->work, a->work_bytes);
    }
    return NULL;
}

static const char *matmul_plain(soma_args *a) {
    if (a->out[0]->numel > 0) {
        batched p;
        plan(&p, a, a->in[0], a->in[1], a->out[0], false);
        run_reference(&p);
    }
    return NULL;
}

static int64_t matmul_flops(soma_args *a) { return 2 * a->out[0]->numel * a->in[0]->shape[a->in[0]->ndim - 1]; }

static soma_tensor *rows_of(soma_tensor *t) { return t && t->ndim != 2 ? soma_flatten(t, 0, -2) : t; }

/* d/da = g bᵀ and d/db = aᵀ g, summed over broadcast batches; a vector is a row or a column. */
static void matmul_backward(soma_grad_args *g) {
    soma_tensor *go = g->gout[0];
    if (!go)
        return;
    const int na = g->in_meta[0].ndim, nb = g->in_meta[1].ndim;
    if (nb == 1)
        go = soma_unsqueeze(go, -1);
    if (na == 1)
        go = soma_unsqueeze(go, -2);
    if (g->need[0]) {
        soma_tensor *b = nb == 1 ? soma_unsqueeze(g->in[1], 0) : soma_transpose(g->in[1], -1, -2), *ga = soma_matmul(go, b);
        soma_meta row = g->in_meta[0];
        if (na == 1) {
            row.ndim = 2;
            row.shape[1] = row.shape[0];
            row.shape[0] = 1;
        }
        ga = soma__sum_to(ga, &row);
        g->gin[0] = na == 1 ? soma_reshape(ga, 1, g->in_meta[0].shape) : ga;
    }
    if (g->need[1]) {
        soma_tensor *a = na == 1 ? soma_unsqueeze(g->in[0], 0) : g->in[0];
        soma_meta column = g->in_meta[1];
        if (nb == 1) {
            column.ndim = 2;
            column.shape[1] = 1;
        }
        if (column.ndim == 2) { /* one b for all batches: their rows in one product instead of a sum of products */
            a = rows_of(a);
            go = rows_of(go);
        }
        soma_tensor *gb = soma__sum_to(soma_matmul(soma_transpose(a, -1, -2), go), &column);
        g->gin[1] = nb == 1 ? soma_reshape(gb, 1, g->in_meta[1].shape) : gb;
    }
}

typedef struct two_shapes {
    int na, nb;
    int64_t a[4], b[4];
    const char *error;
} two_shapes;

static bool two_sample(const two_shapes *c, int n, int i, soma_dtype dtype, soma_sample *s) {
    if (i >= n)
        return false;
    c += i;
    const double low = soma_dtype_is_float(dtype) ? -1 : -3, high = soma_dtype_is_float(dtype) ? 1 : 4;
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, low, high, 31 + (uint64_t)i, c->na, c->a);
    s->in[1] = soma__sample(dtype, low, high, 71 + (uint64_t)i, c->nb, c->b);
    if (i % 3 == 1 && !c->error)
        s->in[0] = soma__strided(s->in[0]);
    if (i % 3 == 2 && !c->error)
        s->in[1] = soma__strided(s->in[1]);
    s->error = c->error;
    s->status = SOMA_ESHAPE;
    return true;
}

static bool matmul_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const two_shapes c[] = {
        {2, 2, {3, 4}, {4, 5}, 0},
        {2, 2, {1, 7}, {7, 3}, 0},
        {1, 1, {6}, {6}, 0},
        {2, 1, {3, 5}, {5}, 0},
        {1, 2, {4}, {4, 3}, 0},
        {3, 3, {2, 3, 4}, {2, 4, 2}, 0},
        {3, 2, {2, 3, 4}, {4, 2}, 0},
        {2, 3, {3, 4}, {2, 4, 2}, 0},
        {4, 4, {2, 1, 2, 3}, {1, 3, 3, 2}, 0},
        {4, 3, {2, 3, 2, 3}, {3, 3, 2}, 0},
        {1, 3, {4}, {2, 4, 3}, 0},
        {3, 1, {2, 3, 4}, {4}, 0},
        {2, 2, {3, 0}, {0, 2}, 0},
        {3, 2, {0, 3, 4}, {4, 2}, 0},
        {2, 2, {17, 40}, {40, 19}, 0},
        {4, 4, {2, 2, 3, 2}, {2, 1, 2, 3}, 0},
    };
    return two_sample(c, (int)SOMA_LEN(c), i, dtype, s);
}

static bool matmul_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const two_shapes c[] = {
        {2,
         2,
         {3, 4},
         {5, 4},
         "matmul: [3, 4] f32 times [5, 4] f32: the last size of the first must be the last but one of the second"},
        {3, 3, {2, 3, 4}, {3, 4, 5}, "the batch sizes do not broadcast"},
        {0, 2, {0}, {5, 4}, "both inputs need at least one dimension"},
        {1, 1, {3}, {4}, "the last size of the first must be"},
    };
    return two_sample(c, (int)SOMA_LEN(c), i, dtype, s);
}

static const soma_op matmul_op = {
    .name = "matmul",
    .family = "matmul",
    .onnx = "MatMul",
    .doc = "Matrix product: [..., m, k] times [..., k, n], batches broadcast. A 1-d input is a row (first) or a column "
           "(second) whose "
           "dimension the result does not have. Integers wrap; f16 and bf16 are summed in f32.",
    .in = {{.name = "a"}, {.name = "b"}},
    .n_in = 2,
    .outputs = 1,
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_SAME,
    .shape = matmul_shape,
    .work = matmul_work,
    .cpu = {matmul_packed, matmul_plain},
    .backward = matmul_backward,
    .saves_if = {SOMA_SAVE_IN(1), SOMA_SAVE_IN(0)},
    .flops = matmul_flops,
    .samples = matmul_samples,
    .errors = matmul_errors,
};

soma_tensor *soma_matmul(soma_tensor *a, soma_tensor *b) { return a && b ? SOMA__RUN(&matmul_op, NULL, a, b) : NULL; }

/* ---- linear
 * ----------------------------------------------------------------------------------------------------------------------------
 */

static bool linear_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0], *w = a->in[1], *bias = a->in[2];
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    if (w->ndim != 2 || x->ndim == 0 || x->shape[x->ndim - 1] != w->shape[1]) {
        soma_fail(SOMA_ESHAPE, "linear: input is %s and weight is %s, expected [..., in] and [out, in]",
                  soma__tensor_text(x, one), soma__tensor_text(w, two));
        return false;
    }
    if (bias && (bias->ndim != 1 || bias->shape[0] != w->shape[0])) {
        soma_fail(SOMA_ESHAPE, "linear: bias is %s, expected [%lld] for weight %s", soma__tensor_text(bias, one),
                  (long long)w->shape[0], soma__tensor_text(w, two));
        return false;
    }
    out->ndim = x->ndim;
    memcpy(out->shape, x->shape, sizeof out->shape);
    out->shape[x->ndim - 1] = w->shape[0];
    return true;
}

static size_t linear_work(soma_args *a) {
    batched p;
    plan(&p, a, a->in[0], a->in[1], a->out[0], true);
    return a->out[0]->numel > 0 ? soma__gemm_work(&p.g) + soma__packed_bytes(a->in[2]) : 0;
}

static const soma_op linear_relu_op;

static void linear_plan(batched *p, soma_args *a) {
    plan(p, a, a->in[0], a->in[1], a->out[0], true);
    p->g.relu = a->op == &linear_relu_op;
    const soma_tensor *bias = a->in[2];
    if (!bias)
        return;
    p->g.bias_col = bias->data;
    if (soma__packed_bytes(bias) > 0) {
        const size_t size = soma_dtype_size((soma_dtype)bias->dtype);
        for (int64_t i = 0; i < bias->numel; i++)
            memcpy((char *)a->work + (size_t)i * size, (const char *)bias->data + i * bias->stride[0] * (int64_t)size, size);
        p->g.bias_col = a->work;
    }
}

static const char *linear_packed(soma_args *a) {
    if (a->out[0]->numel == 0)
        return NULL;
    if (!soma_dtype_is_float((soma_dtype)a->in[0]->dtype) && a->in[2])
        return "the fused bias is for floats";
    batched p;
    linear_plan(&p, a);
    const size_t skip = soma__packed_bytes(a->in[2]);
    if (p.ndim == 0) {
        soma__gemm_run(&p.g, a->work ? (char *)a->work + skip : NULL, a->work_bytes - skip);
        return NULL;
    }
    if (skip)
        return "rows that do not lie evenly, with such a bias";
    run_batched(&p, a->work, a->work_bytes);
    return NULL;
}

static const char *linear_plain(soma_args *a) {
    if (a->out[0]->numel > 0) {
        batched p;
        linear_plan(&p, a);
        run_reference(&p);
    }
    return NULL;
}

static int64_t linear_flops(soma_args *a) {
    return 2 * a->out[0]->numel * a->in[1]->shape[1] + (a->in[2] ? a->out[0]->numel : 0);
}

static const soma_op linear_backward_op;

/* d/dx = g W; d/dW = gᵀ x over all rows; d/dbias: the sum of g's rows. */
static void linear_backward(soma_grad_args *g) {
    soma_tensor *go = g->gout[0];
    if (!go)
        return;
    const bool weight = g->need[1];
    if (!g->create_graph && go->ndim == 2) {
        soma_attr need = SOMA_INT("need", g->need[0] | weight << 1 | (g->n_in > 2 && g->need[2]) << 2);
        soma_tensor *in[3] = {go, weight ? g->in[0] : NULL, g->need[0] ? g->in[1] : NULL}, *out[3];
        if (soma__apply(&linear_backward_op, in, 3, &need, out, 0))
            for (int i = 0; i < g->n_in; i++)
                g->gin[i] = g->need[i] ? out[i] : NULL;
        return;
    }
    if (g->need[0])
        g->gin[0] = soma_matmul(go, g->in[1]);
    soma_tensor *rows = go->ndim == 1 ? soma_unsqueeze(go, 0) : rows_of(go);
    if (g->need[1]) {
        soma_tensor *x = g->in[0]->ndim == 1 ? soma_unsqueeze(g->in[0], 0) : rows_of(g->in[0]);
        g->gin[1] = soma_matmul(soma_transpose(rows, 0, 1), x);
    }
    if (g->n_in > 2 && g->need[2])
        g->gin[2] = soma_sum(rows, SOMA_DIMS(0), false);
}

static void linear_relu_backward(soma_grad_args *g) {
    soma_tensor *masked = g->gout[0] ? soma__relu_gradient(g->gout[0], g->out[0], g->create_graph) : NULL;
    soma_grad_args inner = *g;
    inner.gout = &masked;
    linear_backward(&inner);
}

/* All gradients that are wanted of a matrix of rows; those that are not are empty. */
enum { NEED_X = 1, NEED_WEIGHT = 2, NEED_BIAS = 4 };

static bool linear_backward_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *g = a->in[0], *x = a->in[1], *w = a->in[2];
    const int64_t need = a->attrs[0].value.i;
    if (g->ndim != 2 || (need & NEED_WEIGHT && (!x || x->ndim != 2 || x->shape[0] != g->shape[0])) ||
        (need & NEED_X && (!w || w->ndim != 2 || w->shape[0] != g->shape[1]))) {
        soma_fail(SOMA_ESHAPE, "linear_backward: the gradient does not fit input and weight");
        return false;
    }
    for (int i = 0; i < 3; i++) {
        out[i].ndim = 1;
        out[i].shape[0] = 0;
    }
    if (need & NEED_X)
        out[0].shape[(out[0].ndim = 2) - 1] = w->shape[1], out[0].shape[0] = g->shape[0];
    if (need & NEED_WEIGHT)
        out[1].shape[(out[1].ndim = 2) - 1] = x->shape[1], out[1].shape[0] = g->shape[1];
    if (need & NEED_BIAS)
        out[2].shape[0] = g->shape[1];
    return true;
}

static void plan_weight(batched *p, soma_args *a) {
    soma_tensor turned = {.ndim = 2, .dtype = a->in[0]->dtype, .data = a->in[0]->data, .shape = {a->in[0]->shape[1], a->in[0]->shape[0]},
                          .stride = {a->in[0]->stride[1], a->in[0]->stride[0]}};
    plan(p, a, &turned, a->in[1], a->out[1], false);
}

static size_t linear_backward_work(soma_args *a) {
    size_t most = 0;
    if (a->out[0]->numel > 0) {
        batched p;
        plan(&p, a, a->in[0], a->in[2], a->out[0], false);
        most = soma__gemm_work(&p.g);
    }
    if (a->out[1]->numel > 0) {
        batched p;
        plan_weight(&p, a);
        most = SOMA_MAX(most, soma__gemm_work(&p.g));
    }
    if (a->out[2]->numel > 0) {
        soma__fold f;
        soma__fold_plan(&f, a->in[0], 1);
        most = SOMA_MAX(most, (size_t)f.outputs * sizeof(double) + soma__fold_work(&f));
    }
    return most;
}

static const char *run_linear_backward(soma_args *a, bool reference) {
    const size_t bytes = a->work_bytes;
    for (int i = 0; i < 2; i++) {
        if (a->out[i]->numel == 0)
            continue;
        batched p;
        if (i == 0)
            plan(&p, a, a->in[0], a->in[2], a->out[0], false);
        else
            plan_weight(&p, a);
        if (reference)
            run_reference(&p);
        else
            soma__gemm_run(&p.g, a->work, bytes);
    }
    if (a->out[2]->numel > 0) {
        soma__fold f;
        soma__fold_plan(&f, a->in[0], 1);
        double *sums = a->work;
        soma__fold_run(&f, SOMA__FOLD_SUM, a->in[0]->data, NULL, sums, sums + f.outputs);
        soma__unstage((soma_dtype)a->in[0]->dtype, sums, true, f.outputs, a->out[2]->data);
    }
    return NULL;
}
static const char *linear_backward_packed(soma_args *a) { return run_linear_backward(a, false); }
static const char *linear_backward_plain(soma_args *a) { return run_linear_backward(a, true); }

SOMA__LINES(linear_backward, "[3,4] [3,5] [4,5] need=7", "[2,3] - [3,7] need=5", "s[18,20] s[18,33] - need=6", "[0,4] [0,3] [4,3] need=7",
            "[6,3] s[6,2] s[3,2] need=3", "[3,4] [2,5] [4,5] need=7 !ESHAPE does not fit", "[3,4] - [4,5] need=3 !ESHAPE does not fit",
            "[4] - - need=4 !ESHAPE does not fit")

static const soma_op linear_backward_op = {
    .name = "linear_backward", .family = "matmul", .doc = "the gradients of linear in one call: for the input (need 1), weight (2) and bias (4)",
    .in = {{.name = "grad"}, {.name = "x", .optional = true}, {.name = "weight", .optional = true}}, .n_in = 3, .outputs = 3,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("need", "which are wanted; the others come out empty")), .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME,
    .shape = linear_backward_shape, .work = linear_backward_work, .cpu = {linear_backward_packed, linear_backward_plain},
    .backward = SOMA_NONDIFF, .internal = true, .samples = linear_backward_samples, .errors = linear_backward_errors,
};

static bool linear_sample(const two_shapes *c, int n, int i, soma_dtype dtype, soma_sample *s) {
    if (!two_sample(c, n, i, dtype, s))
        return false;
    if (i % 2 == 0) {
        s->n_in = 3;
        s->in[2] = soma__sample(dtype, -1, 1, 7, 1, c[i].b);
        if (i % 4 == 2 && !c[i].error)
            s->in[2] = soma__strided(s->in[2]);
    }
    return true;
}

static bool linear_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const two_shapes c[] = {
        {2, 2, {3, 4}, {5, 4}, 0}, {2, 2, {2, 7}, {3, 7}, 0},       {3, 2, {2, 3, 4}, {2, 4}, 0},
        {1, 2, {6}, {4, 6}, 0},    {4, 2, {2, 1, 2, 3}, {5, 3}, 0}, {2, 2, {0, 4}, {3, 4}, 0},
        {2, 2, {1, 5}, {3, 5}, 0}, {2, 2, {18, 33}, {20, 33}, 0},
    };
    return linear_sample(c, (int)SOMA_LEN(c), i, dtype, s);
}

static bool linear_errors(int i, soma_dtype dtype, soma_sample *s) {
    static const two_shapes c[] = {
        {2, 2, {3, 4}, {4, 5}, "linear: input is [3, 4] f32 and weight is [4, 5] f32, expected [..., in] and [out, in]"},
        {2, 3, {3, 4}, {2, 5, 4}, "expected [..., in] and [out, in]"},
    };
    if (i == 2) {
        s->n_in = 3;
        s->in[0] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(3, 4));
        s->in[1] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(5, 4));
        s->in[2] = soma__sample(dtype, -1, 1, 1, SOMA_SHAPE(4));
        s->error = "linear: bias is [4] f32, expected [5] for weight [5, 4] f32";
        s->status = SOMA_ESHAPE;
        return true;
    }
    return i < 2 && linear_sample(c, (int)SOMA_LEN(c), i, dtype, s);
}

#define LINEAR                                                                                                                 \
    .family = "matmul", .in = {{.name = "x"}, {.name = "weight"}, {.name = "bias", .optional = true}}, .n_in = 3, .outputs = 1,  \
    .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .shape = linear_shape, .work = linear_work,                           \
    .cpu = {linear_packed, linear_plain}, .saves_if = {SOMA_SAVE_IN(1), SOMA_SAVE_IN(0)}, .flops = linear_flops,               \
    .samples = linear_samples, .errors = linear_errors
static const soma_op linear_op = {
    .name = "linear", LINEAR, .onnx = "Gemm", .backward = linear_backward,
    .doc = "x [..., in] times the transpose of weight [out, in], plus bias [out]: a fully connected layer.",
};
/* With relu behind it, which costs nothing there. */
static const soma_op linear_relu_op = {
    .name = "linear_relu", LINEAR, .backward = linear_relu_backward, .saves = SOMA_SAVE_OUT(0), .internal = true, .doc = "relu(linear)",
};

soma_tensor *soma_linear(soma_tensor *x, soma_tensor *weight, soma_tensor *bias) {
    return x && weight ? SOMA__RUN(&linear_op, NULL, x, weight, bias) : NULL;
}

soma_tensor *soma__linear_relu(soma_tensor *x, soma_tensor *weight, soma_tensor *bias) {
    return x && weight ? SOMA__RUN(&linear_relu_op, NULL, x, weight, bias) : NULL;
}

/* ---- Composites ------------------------------------------------------------------------------------------------------- */

static bool outer_compose(soma_args *a) {
    if (a->in[0]->ndim != 1 || a->in[1]->ndim != 1) {
        char x[SOMA__SHAPE_TEXT], y[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "outer: a is %s and b is %s, expected two vectors", soma__tensor_text(a->in[0], x), soma__tensor_text(a->in[1], y));
        return false;
    }
    return soma__return(a, soma_mul(soma_unsqueeze(a->in[0], 1), a->in[1]));
}

static bool outer_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const int64_t sizes[][2] = {{3, 4}, {1, 5}, {6, 1}, {0, 3}};
    if (i >= (int)SOMA_LEN(sizes))
        return false;
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, -2, 2, 1, 1, &sizes[i][0]);
    s->in[1] = soma__sample(dtype, -2, 2, 2, 1, &sizes[i][1]);
    return true;
}

static bool outer_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0)
        return false;
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, -2, 2, 1, SOMA_SHAPE(3, 2));
    s->in[1] = soma__sample(dtype, -2, 2, 2, SOMA_SHAPE(4));
    s->error = "expected two vectors";
    s->status = SOMA_ESHAPE;
    return true;
}

static const soma_op outer_op = {
    SOMA__COMPOSITE(outer), .family = "matmul", .doc = "a [n] times b [m], each with each: [n, m]",
    .in = {{.name = "a"}, {.name = "b"}}, .n_in = 2, .outputs = 1, .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};

soma_tensor *soma_outer(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&outer_op, NULL, a, b); }

const soma_op *const soma__matmul_ops[] = {&matmul_op, &linear_op, &linear_relu_op, &linear_backward_op, &outer_op, NULL};
