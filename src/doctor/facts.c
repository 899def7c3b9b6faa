/* Facts about layers and parameters: what a forward pass shows through a hook, what gradients there are. Of large outputs only the first
 * samples are measured, so that a look costs about the same for any network. */
#include "doctor/doctor.h"

#include "nn/nn.h"
#include "optim/optim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MEASURED = 1 << 16 }; /* values of one output that are looked at */

/* ---- Looks ---------------------------------------------------------------------------------------------------------------------- */

static bool grow(void **list, int n, int *room, size_t size) {
    if (n < *room) return true;
    int more = *room ? *room * 2 : 32;
    void *bigger = soma__realloc(*list, (size_t)more * size);
    if (!bigger) return false;
    *list = bigger;
    *room = more;
    return true;
}

soma_status soma__look_add_layer(soma__look *l, const soma__layer_facts *f) {
    if (!grow((void **)&l->layers, l->n_layers, &l->room_layers, sizeof(*l->layers))) return soma_error();
    l->layers[l->n_layers++] = *f;
    return SOMA_OK;
}

soma_status soma__look_add_param(soma__look *l, const soma__param_facts *f) {
    if (!grow((void **)&l->params, l->n_params, &l->room_params, sizeof(*l->params))) return soma_error();
    l->params[l->n_params++] = *f;
    return SOMA_OK;
}

void soma__look_free(soma__look *l) {
    soma__free(l->layers);
    soma__free(l->params);
    *l = (soma__look){.output = -1};
}

void soma__layer_name(const soma__layer_facts *f, char *out, size_t size) {
    if (f->path[0])
        snprintf(out, size, "%s (%s)", f->path, f->type);
    else
        snprintf(out, size, "%s", f->type);
}

/* ---- Kinds ---------------------------------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *list) {
    size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0)) return true;
    return false;
}

soma__kind soma__kind_of(const soma_module *m) {
    static const struct {
        soma__kind kind;
        const char *types;
    } table[] = {
        {SOMA__KIND_WEIGHTS, "Linear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d"},
        {SOMA__KIND_LINEAR, "Flatten Unflatten Reshape Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout AvgPool1d AvgPool2d "
                            "AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d Upsample ConstantPad PixelShuffle PixelUnshuffle "
                            "LearnedPosition SinusoidalPosition"},
        {SOMA__KIND_NORM, "BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d RMSNorm LocalResponseNorm"},
        {SOMA__KIND_RELU, "ReLU ReLU6"},
        {SOMA__KIND_SATURATES, "Sigmoid Tanh Hardtanh Hardsigmoid Softsign"},
        {SOMA__KIND_CURVE, "LeakyReLU RReLU PReLU ELU SELU CELU GELU SiLU Mish Hardswish Softplus GLU LogSigmoid Tanhshrink Hardshrink Softshrink Threshold Step"},
        {SOMA__KIND_SOFTMAX, "Softmax LogSoftmax Softmin"},
        {SOMA__KIND_EMBEDDING, "Embedding EmbeddingBag"},
        {SOMA__KIND_RECURRENT, "RNN LSTM GRU MultiheadAttention Transformer TransformerEncoder TransformerDecoder TransformerEncoderLayer TransformerDecoderLayer"},
        {SOMA__KIND_POOL, "MaxPool1d MaxPool2d MaxPool3d LPPool1d LPPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d"},
    };
    for (size_t i = 0; i < SOMA_LEN(table); i++)
        if (is_one_of(soma_nn_class(m)->name, table[i].types)) return table[i].kind;
    return soma_nn_child_count(m) > 0 ? SOMA__KIND_BLOCK : SOMA__KIND_OTHER;
}

/* ---- One output ------------------------------------------------------------------------------------------------------------------- */

/* Where the range of a saturating activation ends. */
static void ends_of(const char *type, double *low, double *high) {
    bool from_zero = !strcmp(type, "Sigmoid") || !strcmp(type, "Hardsigmoid");
    *low = from_zero ? 0 : -1;
    *high = 1;
}

typedef struct values {
    float *v;
    int64_t samples, units, inner, outer; /* [samples, outer, units, inner] */
} values;

/* Units are channels (dimension 1) of images and convolved sequences, else the last dimension. */
static bool take_values(soma_tensor *t, bool channels, values *out) {
    int ndim = soma_ndim(t);
    int64_t all = soma_numel(t), rows = ndim ? soma_size(t, 0) : 0;
    if (rows < 1 || all < 1 || !soma_dtype_is_float(soma_dtype_of(t))) return false;
    int64_t each = all / rows, take = SOMA_MIN(rows, SOMA_MAX(1, MEASURED / each));
    int unit = ndim < 2 ? 0 : ndim >= 4 || channels ? 1 : ndim - 1;
    *out = (values){.samples = take, .units = ndim < 2 ? 1 : soma_size(t, unit), .inner = 1, .outer = 1};
    for (int i = unit + 1; i < ndim; i++) out->inner *= soma_size(t, i);
    for (int i = 1; i < unit; i++) out->outer *= soma_size(t, i);
    int64_t n = take * each;
    out->v = soma__alloc((size_t)n * sizeof(float));
    soma_scope scope = soma_scope_begin();
    bool grad = soma_set_grad_enabled(false);
    soma_tensor *part = take < rows ? soma_narrow(t, 0, 0, take) : t;
    if (out->v && (!part || soma_to_array(part, out->v, n, SOMA_F32) != SOMA_OK)) {
        soma__free(out->v);
        out->v = NULL;
    }
    soma_set_grad_enabled(grad);
    soma_scope_end(scope);
    return out->v != NULL;
}

static void measure_all(const values *x, soma__layer_facts *f) {
    int64_t n = x->samples * x->outer * x->units * x->inner, zero = 0, bad = 0, flat = 0;
    double sum = 0, squares = 0, low, high, largest = 0;
    ends_of(f->type, &low, &high);
    double margin = 0.025 * (high - low);
    float from = (float)(low + margin), to = (float)(high - margin);
    for (int64_t i = 0; i < n; i++) {
        float v = x->v[i];
        if (!isfinite(v)) {
            bad++;
            continue;
        }
        sum += (double)v;
        squares += (double)v * (double)v;
        largest = SOMA_MAX(largest, fabs((double)v));
        zero += v == 0;
        flat += v < from || v > to;
    }
    int64_t good = SOMA_MAX(n - bad, 1);
    f->mean = sum / (double)good;
    f->std = sqrt(SOMA_MAX(squares / (double)good - f->mean * f->mean, 0));
    f->largest = largest;
    f->zero = (double)zero / (double)n;
    f->saturated = f->kind == SOMA__KIND_SATURATES ? (double)flat / (double)n : 0;
    f->bad = bad;
}

static bool unit_lives(const values *x, int64_t unit) {
    for (int64_t row = 0; row < x->samples * x->outer; row++) {
        const float *v = x->v + (row * x->units + unit) * x->inner;
        for (int64_t i = 0; i < x->inner; i++)
            if (v[i] != 0) return true;
    }
    return false;
}

/* Looks since each unit was last seen alive, by layer. */
struct soma__unit_log {
    char path[96];
    int64_t units, looks;
    uint8_t *idle;
    struct soma__unit_log *next;
};

static struct soma__unit_log *log_of(struct soma__unit_log **first, const soma__layer_facts *f) {
    struct soma__unit_log *u = *first;
    while (u && (strcmp(u->path, f->path) != 0 || u->units != f->units)) u = u->next;
    if (u) return u;
    u = soma__calloc(1, sizeof(*u));
    uint8_t *idle = u ? soma__calloc((size_t)f->units, 1) : NULL;
    if (!idle) {
        soma__free(u);
        return NULL;
    }
    memcpy(u->path, f->path, sizeof(u->path));
    u->units = f->units;
    u->idle = idle;
    u->next = *first;
    return *first = u;
}

void soma__unit_log_free(struct soma__unit_log *first) {
    while (first) {
        struct soma__unit_log *next = first->next;
        soma__free(first->idle);
        soma__free(first);
        first = next;
    }
}

/* A unit that gave only zeros in three looks in a row, or, where no log is kept, in this one. */
static void measure_units(const values *x, struct soma__unit_log **logs, soma__layer_facts *f) {
    enum { LOOKS = 3 };
    struct soma__unit_log *log = logs ? log_of(logs, f) : NULL;
    int64_t dead = 0;
    if (logs && !log) return;
    if (log) log->looks++;
    for (int64_t u = 0; u < x->units; u++) {
        bool lives = unit_lives(x, u);
        if (log) log->idle[u] = lives ? 0 : (uint8_t)SOMA_MIN(log->idle[u] + 1, 255);
        dead += log ? log->idle[u] >= LOOKS : !lives;
    }
    f->dead = (double)dead / (double)x->units;
}

/* ---- The hook ---------------------------------------------------------------------------------------------------------------------- */

static bool of_channels(const soma__look *l, int from) {
    for (int i = from; i >= 0; i = l->layers[i].from)
        if (l->layers[i].kind == SOMA__KIND_WEIGHTS || l->layers[i].kind == SOMA__KIND_NORM) return strstr(l->layers[i].type, "1d") != NULL;
    return false;
}

/* The last leaf that made it, else the last block. */
static int maker_of(const soma__listener *s, const soma_tensor *t) {
    int block = -1;
    for (int i = s->look->n_layers - 1; t && i >= 0; i--)
        if (s->made[i] == t && s->look->layers[i].kind != SOMA__KIND_BLOCK)
            return i;
        else if (s->made[i] == t && block < 0)
            block = i;
    return block;
}

static bool remember(soma__listener *s, soma_tensor *out) {
    if (!grow((void **)&s->made, s->look->n_layers, &s->room_made, sizeof(*s->made))) return false;
    s->made[s->look->n_layers] = soma_keep(out); /* so that its address is nobody else's during the pass */
    return true;
}

static void listen(void *user, soma_module *m, const char *path, soma_tensor *const *in, int n, soma_tensor *out) {
    soma__listener *s = user;
    if (s->before) s->before(s->before_user, m, path, in, n, out);
    if (s->failed || !out || soma_error() != SOMA_OK) return;
    soma__layer_facts f = {.kind = soma__kind_of(m), .module = m, .from = n == 1 ? maker_of(s, in[0]) : -1};
    snprintf(f.path, sizeof(f.path), "%s", path);
    snprintf(f.type, sizeof(f.type), "%s", soma_nn_class(m)->name);
    f.batch_norm = !strncmp(f.type, "BatchNorm", 9);
    values x = {0};
    if (f.kind != SOMA__KIND_BLOCK && take_values(out, of_channels(s->look, f.from), &x)) {
        f.units = x.units;
        f.per_unit = x.outer * x.inner;
        measure_all(&x, &f);
        if (f.kind == SOMA__KIND_RELU) measure_units(&x, s->units, &f);
    }
    soma__free(x.v);
    if (!remember(s, out))
        s->failed = true;
    else if (soma__look_add_layer(s->look, &f) != SOMA_OK) {
        soma_release((soma_tensor *)s->made[s->look->n_layers]);
        s->failed = true;
    }
    if (m == s->net) s->look->output = maker_of(s, out);
}

void soma__listen_begin(soma__listener *s, soma_module *net, soma__look *look) {
    struct soma__unit_log **units = s->units;
    *s = (soma__listener){.look = look, .net = net, .units = units};
    look->n_layers = 0;
    look->output = -1;
    s->before = net->hook;
    s->before_user = net->hook_user;
    soma_nn_set_hook(net, listen, s);
}

void soma__listen_end(soma__listener *s) {
    if (!s->net) return;
    soma_nn_set_hook(s->net, s->before, s->before_user);
    for (int i = 0; i < s->look->n_layers; i++) soma_release((soma_tensor *)s->made[i]);
    soma__free(s->made);
    s->net = NULL;
    s->made = NULL;
}

/* ---- Parameters ---------------------------------------------------------------------------------------------------------------------- */

/* Root mean square, and the deviation from the mean; of up to MEASURED values spread over the tensor. */
static double rms_of(const soma_tensor *t, double *spread) {
    int64_t n = soma_numel(t);
    double sum = 0, squares = 0;
    float *copy = n > 0 ? soma__alloc((size_t)n * sizeof(float)) : NULL;
    bool direct = soma_dtype_of(t) == SOMA_F32 && soma_is_contiguous(t);
    const float *v = direct ? soma_data(t) : copy;
    if (!v || (!direct && soma_to_array(t, copy, n, SOMA_F32) != SOMA_OK)) n = 0;
    int64_t step = SOMA_MAX(n / MEASURED, 1), taken = 0;
    for (int64_t i = 0; i < n; i += step, taken++) {
        sum += (double)v[i];
        squares += (double)v[i] * (double)v[i];
    }
    soma__free(copy);
    if (taken == 0) return NAN;
    double mean = sum / (double)taken;
    if (spread) *spread = sqrt(SOMA_MAX(squares / (double)taken - mean * mean, 0));
    return sqrt(squares / (double)taken);
}

static bool optimised(const soma_optim *opt, const soma_tensor *t) {
    for (int i = 0; opt && i < opt->n_params; i++)
        if (opt->params[i].tensor == t) return true;
    return !opt;
}

soma_status soma__look_params(soma__look *look, soma_module *net, soma_optim *opt) {
    int n = soma_nn_named(net, false, NULL, 0);
    soma_named *named = n > 0 ? soma__alloc((size_t)n * sizeof(*named)) : NULL;
    look->n_params = 0;
    if (named) n = soma_nn_named(net, false, named, n);
    for (int i = 0; named && i < n; i++) {
        soma_tensor *t = named[i].tensor, *grad = soma_grad(t);
        soma__param_facts p = {.ndim = soma_ndim(t), .n = soma_numel(t), .update = NAN, .grad = NAN};
        snprintf(p.name, sizeof(p.name), "%s", named[i].name);
        p.weight = rms_of(t, &p.spread);
        p.has_grad = grad != NULL;
        if (grad) p.grad = rms_of(grad, NULL);
        p.in_optim = optimised(opt, t);
        if (soma__look_add_param(look, &p) != SOMA_OK) break;
    }
    soma__free(named);
    return soma_error();
}
