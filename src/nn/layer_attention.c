/* MultiheadAttention: projections around scaled_dot_product_attention, PyTorch's masks, and keys and values remembered in decoding. */
#include "nn/sequence.h"

#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

/* ---- The output projection: a Linear whose bias starts as 0 -------------------------------------------------------- */

static bool out_made(soma_module *m) { return soma__nn_slot(m, "weight") != NULL; }

static bool out_sizes(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    (void)m;
    *in = ndim == 2 ? shape[1] : 0;
    return ndim == 2 && shape[0] == shape[1];
}

static soma_status out_make(soma_module *m, const int64_t *in) {
    soma__nn_linear_state *s = m->state;
    soma__nn_new_param(m, "weight", SOMA_SHAPE(in[0], in[0]));
    if (!s->no_bias)
        soma__nn_new_param(m, "bias", SOMA_SHAPE(in[0]));
    if (!soma__failed())
        s->in = s->out = in[0];
    return soma__ctx()->error;
}

static void out_reset(soma_module *m) {
    soma__nn_linear_class.reset(m);
    soma_tensor *bias = soma__nn_slot(m, "bias");
    if (bias)
        soma_init_constant_(bias, 0);
}

static soma_tensor *out_forward(soma_module *m, soma_tensor *const *in, int n) { return soma__nn_linear_class.forward(m, in, n); }

static const soma_module_class out_class = {
    .size = sizeof(soma_module_class), .name = "Linear", .state_bytes = sizeof(soma__nn_linear_state), .forward = out_forward, .reset = out_reset,
};
static const soma__nn_lazy out_lazy = {.cls = &out_class, .sizes_of = out_sizes, .make = out_make, .made = out_made};

/* ---- Parameters ------------------------------------------------------------------------------------------------------ */

static const char *const apart[] = {"q_proj_weight", "k_proj_weight", "v_proj_weight"};

static bool packed(const soma__nn_attention_state *s) { return s->o.kdim == 0 && s->o.vdim == 0; }

static bool made(soma_module *m) { return soma__nn_slot(m, packed(m->state) ? "in_proj_weight" : apart[2]) != NULL; }

static bool sizes_of(soma_module *m, int ndim, const int64_t *shape, int64_t *in) {
    *in = ndim == 2 ? shape[1] : 0;
    return ndim == 2 && shape[0] == (packed(m->state) ? 3 : 1) * shape[1];
}

static soma_status make(soma_module *m, const int64_t *in) {
    soma__nn_attention_state *s = m->state;
    int64_t e = in[0];
    if (e % s->heads != 0)
        return soma_fail(SOMA_ESHAPE, "%lld features cannot be divided among %lld heads", (long long)e, (long long)s->heads);
    if (s->o.rotary && e / s->heads % 2 != 0)
        return soma_fail(SOMA_ESHAPE, "rotary positions need an even number of features a head, not %lld", (long long)(e / s->heads));
    if (packed(s)) {
        soma__nn_new_param(m, "in_proj_weight", SOMA_SHAPE(3 * e, e));
    } else {
        const int64_t widths[] = {e, s->o.kdim ? s->o.kdim : e, s->o.vdim ? s->o.vdim : e};
        for (int i = 0; i < 3; i++)
            soma__nn_new_param(m, apart[i], SOMA_SHAPE(e, widths[i]));
    }
    if (!s->o.no_bias)
        soma__nn_new_param(m, "in_proj_bias", SOMA_SHAPE(3 * e));
    if (!soma__failed())
        s->embed = e;
    return soma__ctx()->error;
}

static void reset(soma_module *m) {
    for (int i = 0; i < m->n_slots; i++) {
        if (soma_ndim(m->slots[i].tensor) == 2)
            soma_init_xavier_uniform_(m->slots[i].tensor, 1);
        else
            soma_init_constant_(m->slots[i].tensor, 0);
    }
}

/* ---- Masks ------------------------------------------------------------------------------------------------------------ */

/* [L, S], true where step `from` + i must not see step j. */
static soma_tensor *future(int64_t from, int64_t l, int64_t s) {
    return soma_lt(soma_unsqueeze(soma_arange((double)from, (double)(from + l), 1, SOMA_I64), 1), soma_arange(0, (double)s, 1, SOMA_I64));
}

static soma_tensor *as_float(soma_tensor *mask, soma_dtype dtype) {
    if (!mask || soma_dtype_of(mask) != SOMA_BOOL)
        return mask;
    return soma_masked_fill(soma_zeros(soma_ndim(mask), soma_shape(mask), dtype), mask, -INFINITY);
}

/* All that is left out, broadcastable to [N, heads, L, S]: bool when both are, else float. */
static soma_tensor *joined(soma_tensor *a, soma_tensor *b, soma_dtype dtype) {
    if (!a || !b)
        return a ? a : b;
    if (soma_dtype_of(a) == SOMA_BOOL && soma_dtype_of(b) == SOMA_BOOL)
        return soma_logical_or(a, b);
    return soma_add(as_float(a, dtype), as_float(b, dtype));
}

typedef struct sizes {
    int64_t n, l, s;
} sizes;

static bool fail_mask(const char *what, soma_tensor *mask, const char *expected) {
    char text[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s is %s, expected %s", what, soma__shape_text(soma_ndim(mask), soma_shape(mask), text, sizeof text), expected);
    return false;
}

/* *mask becomes what is left out, NULL when nothing is. */
static bool masks(const soma__nn_attention_state *s, const soma_nn_attend_opts *o, sizes z, soma_dtype dtype, soma_tensor **mask) {
    soma_tensor *attn = o->attn_mask, *pad = o->key_padding_mask;
    if (attn) {
        int nd = soma_ndim(attn);
        if ((nd != 2 && nd != 3) || soma_size(attn, -2) != z.l || soma_size(attn, -1) != z.s || (nd == 3 && soma_size(attn, 0) != z.n * s->heads))
            return fail_mask("attn_mask", attn, "[L, S] or [batch * heads, L, S]");
        if (nd == 3)
            attn = soma_reshape(attn, SOMA_SHAPE(z.n, s->heads, z.l, z.s));
    }
    if (pad) {
        if (soma_ndim(pad) == 1 && z.n == 1)
            pad = soma_unsqueeze(pad, 0);
        if (soma_ndim(pad) != 2 || soma_size(pad, 0) != z.n || soma_size(pad, 1) != z.s)
            return fail_mask("key_padding_mask", pad, "[batch, S]");
        pad = soma_unsqueeze(soma_unsqueeze(pad, 1), 1);
    }
    *mask = joined(attn, pad, dtype);
    return !soma__failed();
}

/* ---- Forward ---------------------------------------------------------------------------------------------------------- */

/* Projection i (query, key, value) of x [N, T, features], by heads: [N, heads, T, E / heads]. */
static soma_tensor *project(soma_module *m, int i, soma_tensor *x) {
    const soma__nn_attention_state *s = m->state;
    int64_t e = s->embed;
    soma_tensor *w = packed(s) ? soma_slice(soma__nn_slot(m, "in_proj_weight"), 0, i * e, (i + 1) * e, 1) : soma__nn_slot(m, apart[i]);
    soma_tensor *b = soma__nn_slot(m, "in_proj_bias");
    if (soma_size(x, -1) != soma_size(w, 1)) {
        soma__nn_fail_fit(x, w);
        return NULL;
    }
    soma_tensor *y = soma_linear(x, w, b ? soma_slice(b, 0, i * e, (i + 1) * e, 1) : NULL);
    return soma_transpose(soma_reshape(y, SOMA_SHAPE(soma_size(x, 0), soma_size(x, 1), s->heads, e / s->heads)), 1, 2);
}

/* All three of x by one product: views of [N, T, 3, heads, E / heads]. */
static void project_all(soma_module *m, soma_tensor *x, soma_tensor **q, soma_tensor **k, soma_tensor **v) {
    const soma__nn_attention_state *s = m->state;
    soma_tensor *w = soma__nn_slot(m, "in_proj_weight"), **parts[] = {q, k, v};
    if (soma_size(x, -1) != soma_size(w, 1)) {
        soma__nn_fail_fit(x, w);
        return;
    }
    soma_tensor *y = soma_linear(x, w, soma__nn_slot(m, "in_proj_bias"));
    y = soma_reshape(y, SOMA_SHAPE(soma_size(x, 0), soma_size(x, 1), 3, s->heads, s->embed / s->heads));
    for (int i = 0; i < 3; i++)
        *parts[i] = soma_transpose(soma_select(y, 2, i), 1, 2);
}

/* Puts t's steps behind those in *room [N, H, some, E], which grows by doubling; gives a view of all `steps` + new ones. */
static soma_tensor *append(soma_tensor **room, int64_t steps, soma_tensor *t) {
    int64_t n = soma_size(t, 2), have = *room ? soma_size(*room, 2) : 0;
    if (*room && (soma_size(*room, 0) != soma_size(t, 0) || soma_dtype_of(*room) != soma_dtype_of(t))) {
        soma_fail(SOMA_ESHAPE, "the batch changed from %lld to %lld rows in decoding", (long long)soma_size(*room, 0), (long long)soma_size(t, 0));
        return NULL;
    }
    if (steps + n > have) {
        soma_tensor *larger = soma_zeros(SOMA_SHAPE(soma_size(t, 0), soma_size(t, 1), SOMA_MAX(2 * have, SOMA_MAX(steps + n, 32)), soma_size(t, 3)),
                                         soma_dtype_of(t));
        if (steps > 0)
            soma_copy_(soma_slice(larger, 2, 0, steps, 1), soma_slice(*room, 2, 0, steps, 1));
        soma__hold(room, larger);
    }
    soma_copy_(soma_slice(*room, 2, steps, steps + n, 1), t);
    return soma_slice(*room, 2, 0, steps + n, 1);
}

/* [N, T, features] of an input that may have the steps first, or no batch. */
static soma_tensor *batched(const soma__nn_attention_state *s, soma_tensor *x) {
    if (soma_ndim(x) == 2)
        return soma_unsqueeze(x, 0);
    return s->o.batch_first ? x : soma_transpose(x, 0, 1);
}

static soma_tensor *weigh(soma_module *m, soma_tensor *q, soma_tensor *k, soma_tensor *v, soma_tensor *left_out, bool causal, soma_tensor **weights) {
    const soma__nn_attention_state *s = m->state;
    soma_attention_opts o = {.dropout_p = soma__nn_learns(m) ? s->o.dropout : 0, .is_causal = causal && !left_out, .size = sizeof o};
    if (causal && left_out)
        left_out = joined(left_out, future(0, soma_size(q, 2), soma_size(k, 2)), soma_dtype_of(q));
    o.mask = left_out && soma_dtype_of(left_out) == SOMA_BOOL ? soma_logical_not(left_out) : left_out;
    if (!weights)
        return soma_scaled_dot_product_attention_ex(q, k, v, &o);
    int64_t n = soma_size(k, 2), heads = 1;
    soma_tensor *all = soma_scaled_dot_product_attention_ex(q, k, soma_eye(n, n, soma_dtype_of(q)), &o);
    *weights = soma_mean(all, 1, &heads, false);
    return soma_matmul(all, v);
}

static soma_tensor *attend(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    const soma__nn_attention_state *s = m->state;
    const soma_nn_attend_opts *o = arg;
    if (n < 1 || n > 3) {
        soma_fail(SOMA_EINVAL, "MultiheadAttention takes x, query and memory, or query, key and value, not %d inputs", n);
        return NULL;
    }
    soma_tensor *query = in[0], *key = n > 1 ? in[1] : query, *value = n > 2 ? in[2] : key;
    int ndim = soma_ndim(query);
    int64_t features = soma_size(query, -1);
    if ((ndim != 2 && ndim != 3) || soma_ndim(key) != ndim || soma_ndim(value) != ndim) {
        soma_fail(SOMA_ESHAPE, "query, key and value need 3 dimensions each, or 2 without a batch; they have %d, %d and %d", ndim, soma_ndim(key),
                  soma_ndim(value));
        return NULL;
    }
    if (!soma__nn_ready(m, &features))
        return NULL;
    bool itself = key == query && value == query, causal = s->o.causal || o->is_causal;
    soma__nn_memory *memory = itself ? soma__nn_memory_of(m) : NULL;
    soma_tensor *q = NULL, *k = NULL, *v = NULL;
    if (itself && packed(s) && soma_dtype_of(query) == SOMA_F32) { /* f64 keeps its order of sums */
        project_all(m, batched(s, query), &q, &k, &v);
    } else {
        q = project(m, 0, batched(s, query));
        k = project(m, 1, batched(s, key));
        v = project(m, 2, batched(s, value));
    }
    if (!q || !k || !v)
        return NULL;
    int64_t before = memory ? memory->steps : 0;
    if (s->o.rotary) {
        q = soma_rotary_embedding(q, before, 0, false);
        k = soma_rotary_embedding(k, before, 0, false);
    }
    if (memory) {
        if (!causal) {
            soma_fail(SOMA_EUNSUPPORTED, "step by step attention must be causal");
            return NULL;
        }
        k = append(&memory->a, before, k);
        v = append(&memory->b, before, v);
        memory->steps += soma_size(q, 2);
    }
    soma_tensor *left_out = NULL;
    sizes z = {soma_size(q, 0), soma_size(q, 2), soma_size(k, 2)};
    if (soma__failed() || !masks(s, o, z, soma_dtype_of(q), &left_out))
        return NULL;
    if (memory) {
        causal = false;
        left_out = z.l > 1 ? joined(left_out, future(before, z.l, z.s), soma_dtype_of(q)) : left_out;
    }
    soma_tensor *y = weigh(m, q, k, v, left_out, causal, o->weights);
    y = y ? soma_nn_forward(m->children[0], soma_reshape(soma_transpose(y, 1, 2), SOMA_SHAPE(z.n, z.l, s->embed))) : NULL;
    if (ndim == 2) {
        if (o->weights)
            *o->weights = soma_select(*o->weights, 0, 0);
        return soma_select(y, 0, 0);
    }
    return s->o.batch_first ? y : soma_transpose(y, 0, 1);
}

static soma_tensor *forward(soma_module *m, soma_tensor *const *in, int n) {
    soma_nn_attend_opts none = {0};
    return attend(m, in, n, &none);
}

soma_tensor *soma_nn_attend_ex(soma_module *m, soma_tensor *query, const soma_nn_attend_opts *opts) {
    soma_nn_attend_opts o = opts ? *opts : (soma_nn_attend_opts){0};
    soma_tensor *weights = NULL, **wanted = o.weights, *in[3] = {query, o.key, o.value ? o.value : o.key};
    if (wanted)
        *wanted = NULL;
    if (m && m->cls != &soma__nn_attention_class) {
        soma_fail(SOMA_EINVAL, "soma_nn_attend: %s is not attention", m->cls->name);
        return NULL;
    }
    if (o.value && !o.key) {
        soma_fail(SOMA_EINVAL, "soma_nn_attend: a value needs a key");
        return NULL;
    }
    o.weights = wanted ? &weights : NULL;
    soma_tensor *y = soma__nn_run(m, in, o.key ? 3 : 1, attend, &o, &weights, 1);
    if (wanted)
        *wanted = y ? weights : NULL;
    return y;
}

const soma_module_class soma__nn_attention_class = {
    .size = sizeof(soma_module_class), .name = "MultiheadAttention", .state_bytes = sizeof(soma__nn_attention_state),
    .forward = forward, .describe = soma__nn_describe_word, .reset = reset,
};
static const soma__nn_lazy lazy = {
    .cls = &soma__nn_attention_class, .tell = {"in_proj_weight", "q_proj_weight"}, .sizes_of = sizes_of, .make = make, .made = made,
};

soma_module *soma_nn_attention_ex(int64_t embed, int64_t heads, const soma_nn_attention_opts *opts) {
    soma_nn_attention_opts o = opts ? *opts : (soma_nn_attention_opts){0};
    if (!soma__nn_size_ok("MultiheadAttention", "embed_dim", embed, true) || !soma__nn_size_ok("MultiheadAttention", "num_heads", heads, false) ||
        !soma__nn_size_ok("MultiheadAttention", "kdim", o.kdim, true) || !soma__nn_size_ok("MultiheadAttention", "vdim", o.vdim, true))
        return NULL;
    if (!(o.dropout >= 0 && o.dropout <= 1)) {
        soma_fail(SOMA_EINVAL, "MultiheadAttention: dropout must be from 0 to 1, not %g", o.dropout);
        return NULL;
    }
    if (embed > 0 && o.kdim == embed && (o.vdim == embed || o.vdim == 0))
        o.kdim = o.vdim = 0;
    soma_module *m = soma__nn_lazy_new(&lazy), *out = m ? soma__nn_lazy_new(&out_lazy) : NULL;
    if (out) {
        *(soma__nn_attention_state *)m->state = (soma__nn_attention_state){embed, heads, o};
        *(soma__nn_linear_state *)out->state = (soma__nn_linear_state){.in = embed, .out = embed, .no_bias = o.no_bias};
    }
    if (!out || !soma_nn_add_child(m, "out_proj", soma__nn_settled(out))) {
        soma_nn_free(m);
        return NULL;
    }
    return soma__nn_settled(m);
}
