/* Transformer encoder and decoder layers and stacks of them (Vaswani et al. 2017), named as PyTorch's. */
#include "nn/sequence.h"

#include <stdio.h>
#include <string.h>

static soma_module *child(soma_module *m, const char *name) {
    for (int i = 0; i < m->n_children; i++)
        if (strcmp(m->children[i]->name, name) == 0)
            return m->children[i];
    return NULL;
}

/* ---- Layers ----------------------------------------------------------------------------------------------------------- */

static soma_tensor *drop(soma_module *m, soma_tensor *x) {
    const soma__nn_transformer_state *s = m->state;
    return soma_dropout(x, s->o.dropout, soma__nn_learns(m));
}

static soma_tensor *self_attention(soma_module *m, soma_tensor *x, const soma_nn_transform_opts *o) {
    return drop(m, soma_nn_attend(child(m, "self_attn"), x, .attn_mask = o->mask, .key_padding_mask = o->key_padding_mask, .is_causal = o->is_causal));
}

static soma_tensor *cross_attention(soma_module *m, soma_tensor *x, const soma_nn_transform_opts *o) {
    return drop(m, soma_nn_attend(child(m, "multihead_attn"), x, .key = o->memory, .attn_mask = o->memory_mask,
                                  .key_padding_mask = o->memory_key_padding_mask));
}

static soma_tensor *feed_forward(soma_module *m, soma_tensor *x, const soma_nn_transform_opts *o) {
    const soma__nn_transformer_state *s = m->state;
    (void)o;
    x = soma_nn_forward(child(m, "linear1"), x);
    x = s->o.gelu ? soma_gelu(x) : soma_relu(x);
    return drop(m, soma_nn_forward(child(m, "linear2"), drop(m, x)));
}

static soma_tensor *layer_run(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    const soma__nn_transformer_state *s = m->state;
    soma_nn_transform_opts o = *(const soma_nn_transform_opts *)arg;
    if (s->decoder && n == 2)
        o.memory = in[1];
    if (n < 1 || n > (s->decoder ? 2 : 1) || (s->decoder && !o.memory)) {
        soma_fail(SOMA_EINVAL, "%s takes %s", m->cls->name, s->decoder ? "x and memory" : "one input");
        return NULL;
    }
    if (soma_size(in[0], -1) != s->d) {
        char x[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "input %s does not have %lld features", soma__shape_text(soma_ndim(in[0]), soma_shape(in[0]), x, sizeof x), (long long)s->d);
        return NULL;
    }
    static soma_tensor *(*const parts[])(soma_module *, soma_tensor *, const soma_nn_transform_opts *) = {self_attention, cross_attention, feed_forward};
    static const char *const norms[] = {"norm1", "norm2", "norm3"};
    soma_tensor *x = in[0];
    for (int i = 0, norm = 0; i < 3 && x; i++) {
        if (i == 1 && !s->decoder)
            continue;
        soma_module *normal = child(m, norms[norm++]);
        if (s->o.norm_first)
            x = soma_add(x, parts[i](m, soma_nn_forward(normal, x), &o));
        else
            x = soma_nn_forward(normal, soma_add(x, parts[i](m, x, &o)));
    }
    return x;
}

static soma_tensor *layer_forward(soma_module *m, soma_tensor *const *in, int n) {
    soma_nn_transform_opts none = {0};
    return layer_run(m, in, n, &none);
}

const soma_module_class soma__nn_encoder_layer_class = {
    .size = sizeof(soma_module_class), .name = "TransformerEncoderLayer", .state_bytes = sizeof(soma__nn_transformer_state),
    .forward = layer_forward, .describe = soma__nn_describe_word,
};
const soma_module_class soma__nn_decoder_layer_class = {
    .size = sizeof(soma_module_class), .name = "TransformerDecoderLayer", .state_bytes = sizeof(soma__nn_transformer_state),
    .forward = layer_forward, .describe = soma__nn_describe_word,
};

static soma_nn_transformer_opts filled_in(const soma_nn_transformer_opts *opts) {
    soma_nn_transformer_opts o = opts ? *opts : (soma_nn_transformer_opts){0};
    o.dim_feedforward = o.dim_feedforward == 0 ? 2048 : o.dim_feedforward;
    o.dropout = o.dropout == 0 ? 0.1 : o.dropout < 0 ? 0 : o.dropout;
    return o;
}

static soma_module *layer_new(bool decoder, int64_t d, int64_t heads, const soma_nn_transformer_opts *opts) {
    const soma_module_class *cls = decoder ? &soma__nn_decoder_layer_class : &soma__nn_encoder_layer_class;
    soma_nn_transformer_opts o = filled_in(opts);
    if (!soma__nn_size_ok(cls->name, "d_model", d, false) || !soma__nn_size_ok(cls->name, "heads", heads, false) ||
        !soma__nn_size_ok(cls->name, "dim_feedforward", o.dim_feedforward, false))
        return NULL;
    if (!(o.dropout <= 1)) {
        soma_fail(SOMA_EINVAL, "%s: dropout must be at most 1, not %g", cls->name, o.dropout);
        return NULL;
    }
    soma_module *m = soma_nn_module_new(cls);
    if (!m)
        return NULL;
    *(soma__nn_transformer_state *)m->state = (soma__nn_transformer_state){d, heads, 1, decoder, false, o};
    soma_nn_attention_opts attention = {.dropout = o.dropout, .batch_first = o.batch_first, .size = sizeof attention}, own = attention;
    own.causal = o.causal;
    own.rotary = o.rotary;
    bool ok = soma_nn_add_child(m, "self_attn", soma_nn_attention_ex(d, heads, &own)) &&
              (!decoder || soma_nn_add_child(m, "multihead_attn", soma_nn_attention_ex(d, heads, &attention))) &&
              soma_nn_add_child(m, "linear1", soma_nn_linear_ex(d, o.dim_feedforward, NULL)) &&
              soma_nn_add_child(m, "linear2", soma_nn_linear_ex(o.dim_feedforward, d, NULL)) &&
              soma_nn_add_child(m, "norm1", soma_nn_layer_norm(d)) && soma_nn_add_child(m, "norm2", soma_nn_layer_norm(d)) &&
              (!decoder || soma_nn_add_child(m, "norm3", soma_nn_layer_norm(d)));
    if (ok)
        return m;
    soma_nn_free(m);
    return NULL;
}

soma_module *soma_nn_transformer_encoder_layer_ex(int64_t d, int64_t heads, const soma_nn_transformer_opts *opts) {
    return layer_new(false, d, heads, opts);
}
soma_module *soma_nn_transformer_decoder_layer_ex(int64_t d, int64_t heads, const soma_nn_transformer_opts *opts) {
    return layer_new(true, d, heads, opts);
}

/* ---- Stacks ------------------------------------------------------------------------------------------------------------- */

static soma_tensor *stack_run(soma_module *m, soma_tensor *const *in, int n, void *arg) {
    soma_nn_transform_opts o = *(const soma_nn_transform_opts *)arg;
    if (n == 2)
        o.memory = in[1];
    if (n < 1 || n > 2) {
        soma_fail(SOMA_EINVAL, "%s takes x, and a decoder memory too, not %d inputs", m->cls->name, n);
        return NULL;
    }
    soma_tensor *x = in[0];
    soma_module *layers = m->children[0], *norm = m->n_children > 1 ? m->children[1] : NULL;
    for (int i = 0; i < layers->n_children && x; i++)
        x = soma_nn_transform_ex(layers->children[i], x, &o);
    return x && norm ? soma_nn_forward(norm, x) : x;
}

static soma_tensor *stack_forward(soma_module *m, soma_tensor *const *in, int n) {
    soma_nn_transform_opts none = {0};
    return stack_run(m, in, n, &none);
}

const soma_module_class soma__nn_encoder_class = {
    .size = sizeof(soma_module_class), .name = "TransformerEncoder", .state_bytes = sizeof(soma__nn_transformer_state), .forward = stack_forward,
    .describe = soma__nn_describe_word,
};
const soma_module_class soma__nn_decoder_class = {
    .size = sizeof(soma_module_class), .name = "TransformerDecoder", .state_bytes = sizeof(soma__nn_transformer_state), .forward = stack_forward,
    .describe = soma__nn_describe_word,
};

static soma_tensor *list_forward(soma_module *m, soma_tensor *const *in, int n) {
    (void)in;
    (void)n;
    soma_fail(SOMA_EINVAL, "%s is a list of layers; run the module around it", m->cls->name);
    return NULL;
}
static const soma_module_class list_class = {.size = sizeof(soma_module_class), .name = "ModuleList", .forward = list_forward};

static soma_module *stack_new(bool decoder, int64_t count, int64_t d, int64_t heads, bool final_norm, const soma_nn_transformer_opts *opts) {
    soma_module *m = soma_nn_module_new(decoder ? &soma__nn_decoder_class : &soma__nn_encoder_class);
    if (m)
        *(soma__nn_transformer_state *)m->state = (soma__nn_transformer_state){d, heads, count, decoder, final_norm, filled_in(opts)};
    soma_module *list = m ? soma_nn_add_child(m, "layers", soma_nn_module_new(&list_class)) : NULL;
    bool ok = list != NULL;
    for (int64_t i = 0; i < count && ok; i++) {
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)i);
        ok = soma_nn_add_child(list, name, layer_new(decoder, d, heads, opts)) != NULL;
    }
    ok = ok && (!final_norm || soma_nn_add_child(m, "norm", soma_nn_layer_norm(d)));
    if (ok)
        return m;
    soma_nn_free(m);
    return NULL;
}

soma_module *soma_nn_transformer_encoder(int64_t layers, int64_t d, int64_t heads, bool final_norm, const soma_nn_transformer_opts *opts) {
    return stack_new(false, layers, d, heads, final_norm, opts);
}
soma_module *soma_nn_transformer_decoder(int64_t layers, int64_t d, int64_t heads, bool final_norm, const soma_nn_transformer_opts *opts) {
    return stack_new(true, layers, d, heads, final_norm, opts);
}

/* ---- Transformer: both stacks ------------------------------------------------------------------------------------------- */

static soma_tensor *both_forward(soma_module *m, soma_tensor *const *in, int n) {
    if (n != 2) {
        soma_fail(SOMA_EINVAL, "Transformer takes source and target, not %d inputs", n);
        return NULL;
    }
    soma_tensor *memory = soma_nn_forward(m->children[0], in[0]);
    return memory ? soma_nn_forward_n(m->children[1], (soma_tensor *[]){in[1], memory}, 2) : NULL;
}

/* All matrices by Glorot & Bengio 2010, as PyTorch does for the whole. */
static void both_fill(soma_module *m) {
    for (int i = 0; i < m->n_slots; i++)
        if (soma_ndim(m->slots[i].tensor) > 1)
            soma_init_xavier_uniform_(m->slots[i].tensor, 1);
}

static void fill_all(soma_module *m) {
    both_fill(m);
    for (int i = 0; i < m->n_children; i++)
        fill_all(m->children[i]);
}

const soma_module_class soma__nn_transformer_class = {
    .size = sizeof(soma_module_class), .name = "Transformer", .forward = both_forward, .describe = soma__nn_describe_word,
};

soma_module *soma_nn_transformer(int64_t d, int64_t heads, int64_t encoder_layers, int64_t decoder_layers, const soma_nn_transformer_opts *opts) {
    soma_module *m = soma_nn_module_new(&soma__nn_transformer_class);
    soma_nn_transformer_opts encode = opts ? *opts : (soma_nn_transformer_opts){0};
    encode.causal = false; /* the source is seen whole; `causal` is the target's */
    if (m && soma_nn_add_child(m, "encoder", stack_new(false, encoder_layers ? encoder_layers : 6, d, heads, true, &encode)) &&
        soma_nn_add_child(m, "decoder", stack_new(true, decoder_layers ? decoder_layers : 6, d, heads, true, opts))) {
        fill_all(m);
        m->fill = both_fill; /* for those that wait for their input */
        return m;
    }
    soma_nn_free(m);
    return NULL;
}

soma_tensor *soma_nn_transform_ex(soma_module *m, soma_tensor *x, const soma_nn_transform_opts *opts) {
    soma_nn_transform_opts o = opts ? *opts : (soma_nn_transform_opts){0};
    bool stack = m && (m->cls == &soma__nn_encoder_class || m->cls == &soma__nn_decoder_class);
    if (m && !stack && m->cls != &soma__nn_encoder_layer_class && m->cls != &soma__nn_decoder_layer_class) {
        soma_fail(SOMA_EINVAL, "soma_nn_transform: %s is not part of a transformer", m->cls->name);
        return NULL;
    }
    return soma__nn_run(m, &x, 1, stack ? stack_run : layer_run, &o, NULL, 0);
}
