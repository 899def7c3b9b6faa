/* Initialisers for whole networks, by name. */
#include "nn/nn.h"

#include <string.h>

enum { DEFAULT, AUTO, ZEROS, ONES, UNIFORM, NORMAL, TRUNC_NORMAL, XAVIER, XAVIER_NORMAL, KAIMING, KAIMING_NORMAL, LECUN, LECUN_NORMAL, ORTHOGONAL,
       SPARSE, IDENTITY, KINDS };
static const soma_init_info kinds[KINDS] = {
    {"default", "each layer's own, as PyTorch's: uniform in 1 / sqrt(fan in) for linear and convolution", ""},
    {"auto", "by the activation that follows: Kaiming for the ReLU family, Xavier for tanh and sigmoid, LeCun for SELU and before the output", ""},
    {"zeros", "0 everywhere: nothing learns but biases, to see why", ""},
    {"ones", "1 everywhere: all units stay the same, to see why", ""},
    {"uniform", "uniform in 0.05", ""},
    {"normal", "normal with deviation 0.01", ""},
    {"trunc_normal", "normal with deviation 0.02, cut off at two of them, for transformers", ""},
    {"xavier", "uniform, by both fans: tanh, sigmoid", "Glorot & Bengio 2010"},
    {"xavier_normal", "normal, by both fans: tanh, sigmoid", "Glorot & Bengio 2010"},
    {"kaiming", "uniform, by the fan in: the ReLU family", "He et al. 2015"},
    {"kaiming_normal", "normal, by the fan in: the ReLU family", "He et al. 2015"},
    {"lecun", "uniform, by the fan in, gain 1: SELU", "LeCun et al. 1998; Klambauer et al. 2017"},
    {"lecun_normal", "normal, by the fan in, gain 1: SELU", "LeCun et al. 1998; Klambauer et al. 2017"},
    {"orthogonal", "random rotations: recurrent and very deep networks", "Saxe, McClelland, Ganguli 2014"},
    {"sparse", "matrices normal with deviation 0.01 and nine zeros of ten in each column; kernels as normal", "Martens 2010"},
    {"identity", "what comes in goes out: the identity for matrices, Dirac's for convolutions", "Le, Jaitly, Hinton 2015"},
};

int soma_init_kind_count(void) { return KINDS; }
const soma_init_info *soma_init_kind_get(int i) { return i >= 0 && i < KINDS ? &kinds[i] : NULL; }

static void fill(soma_tensor *t, int how) {
    bool matrix = soma_ndim(t) == 2;
    switch (how) {
    case ZEROS: soma_init_constant_(t, 0); break;
    case ONES: soma_init_constant_(t, 1); break;
    case UNIFORM: soma_init_uniform_(t, -0.05, 0.05); break;
    case TRUNC_NORMAL: soma_init_trunc_normal_(t, 0, 0.02, -0.04, 0.04); break;
    case XAVIER: soma_init_xavier_uniform_(t, 1); break;
    case XAVIER_NORMAL: soma_init_xavier_normal_(t, 1); break;
    case KAIMING: soma_init_kaiming_uniform_(t, 0); break;
    case KAIMING_NORMAL: soma_init_kaiming_normal_(t, 0); break;
    case LECUN: soma_init_lecun_uniform_(t); break;
    case LECUN_NORMAL: soma_init_lecun_normal_(t); break;
    case ORTHOGONAL: soma_init_orthogonal_(t, 1); break;
    case SPARSE: matrix ? soma_init_sparse_(t, 0.9, 0.01) : soma_init_normal_(t, 0, 0.01); break;
    case IDENTITY: matrix ? soma_init_eye_(t) : soma_init_dirac_(t, 1); break;
    default: soma_init_normal_(t, 0, 0.01); break;
    }
}

/* ---- By the activation that follows ---- */

static bool is_weighted(const soma_module *m) {
    return strcmp(m->cls->name, "Linear") == 0 || strncmp(m->cls->name, "Conv", 4) == 0;
}

/* What is to be known of the activations: the class, whose gain, and by which rule. */
static const struct {
    const char *cls, *gain;
    int how;
} activations[] = {
    {"ReLU", "relu", KAIMING}, {"ReLU6", "relu6", KAIMING}, {"LeakyReLU", "leaky_relu", KAIMING}, {"PReLU", "prelu", KAIMING},
    {"RReLU", "rrelu", KAIMING}, {"ELU", "elu", KAIMING}, {"CELU", "celu", KAIMING}, {"GELU", "gelu", KAIMING}, {"SiLU", "silu", KAIMING},
    {"Mish", "mish", KAIMING}, {"Softplus", "softplus", KAIMING}, {"Hardswish", "hardswish", KAIMING}, {"Tanh", "tanh", XAVIER},
    {"Hardtanh", "hardtanh", XAVIER}, {"Softsign", "softsign", XAVIER}, {"Sigmoid", "sigmoid", XAVIER}, {"Hardsigmoid", "sigmoid", XAVIER},
    {"LogSigmoid", "sigmoid", XAVIER}, {"SELU", "linear", LECUN_NORMAL},
};

/* The modules without children in the order in which they run; each weighted one waits for the first activation after it. */
typedef struct walk {
    soma_module *waiting;
} walk;

static void fill_weights(soma_module *m, int how, double gain) {
    for (int i = 0; i < m->n_slots && !soma__failed(); i++) {
        soma_tensor *t = m->slots[i].tensor;
        if (m->slots[i].buffer)
            continue;
        if (soma_ndim(t) < 2)
            soma_init_constant_(t, 0);
        else
            soma_init_scaled_(t, gain, how == XAVIER ? SOMA_FAN_AVG : SOMA_FAN_IN, how == LECUN_NORMAL);
    }
}

static void settle(walk *w, const soma_module *activation) {
    if (!w->waiting)
        return;
    int how = LECUN;
    double gain = 1;
    for (size_t i = 0; activation && i < SOMA_LEN(activations); i++) {
        if (strcmp(activation->cls->name, activations[i].cls) != 0)
            continue;
        bool leaky = strcmp(activations[i].cls, "LeakyReLU") == 0, learnt = strcmp(activations[i].cls, "PReLU") == 0;
        how = activations[i].how;
        gain = soma_init_gain(activations[i].gain, leaky ? ((const soma__nn_act_state *)activation->state)->a : learnt ? 0.25 : 0);
    }
    fill_weights(w->waiting, how, gain);
    w->waiting = NULL;
}

static bool is_activation(const soma_module *m) {
    for (size_t i = 0; i < SOMA_LEN(activations); i++)
        if (strcmp(m->cls->name, activations[i].cls) == 0)
            return true;
    return false;
}

static void fit(walk *w, soma_module *m) {
    if (is_activation(m)) {
        soma__nn_reset(m); /* a slope that is learnt */
        settle(w, m);
    } else if (is_weighted(m)) {
        settle(w, NULL);
        w->waiting = m;
    } else {
        soma__nn_reset(m);
    }
    for (int i = 0; i < m->n_children && !soma__failed(); i++)
        fit(w, m->children[i]);
}

/* ---- The same for all layers ---- */

/* Weights are the parameters with at least two dimensions; those of one are biases (0), except where the layer's own filling says
 * otherwise: the scale of a normalisation stays 1. */
static void init(soma_module *m, int how) {
    if (how == DEFAULT || (m->lazy && m->lazy->keeps_fill)) {
        soma__nn_reset(m);
    } else {
        for (int i = 0; i < m->n_slots && !soma__failed(); i++) {
            if (m->slots[i].buffer)
                continue;
            if (soma_ndim(m->slots[i].tensor) >= 2)
                fill(m->slots[i].tensor, how);
            else
                soma_init_constant_(m->slots[i].tensor, 0);
        }
    }
    for (int i = 0; i < m->n_children && !soma__failed(); i++)
        init(m->children[i], how);
}

soma_status soma_nn_init(soma_module *m, const char *name) {
    if (soma__failed())
        return soma__ctx()->error;
    if (!m || !name)
        return soma_fail(SOMA_EINVAL, "soma_nn_init: the module or the name is NULL");
    const char *names[KINDS];
    for (int how = 0; how < KINDS; how++) {
        names[how] = kinds[how].name;
        if (strcmp(names[how], name) != 0)
            continue;
        if (!soma__nn_all_made(m, "soma_nn_init"))
            return soma__ctx()->error;
        walk w = {0};
        if (how == AUTO)
            fit(&w, m);
        else
            init(m, how);
        settle(&w, NULL);
        return soma__ctx()->error;
    }
    const char *near = soma__nearest(name, names, KINDS);
    return soma_fail(SOMA_ENOTFOUND, "unknown initialisation '%.40s'; %s%s%s", name, near ? "did you mean '" : "there are ",
                     near ? near : "default, auto, zeros, xavier, kaiming, lecun, orthogonal and others", near ? "'?" : "");
}
