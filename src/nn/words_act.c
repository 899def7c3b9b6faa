/* Words of descriptions: activations. Those of one expression come from activations.def. */
#include "nn/nn.h"

static bool real_read(soma_module *m, soma__nn_value *v, double ordinary) {
    SOMA__STATE(act);
    v[0] = soma__nn_real(s->a != ordinary, s->a);
    return true;
}
static bool reals_read(soma_module *m, soma__nn_value *v, double ordinary, double ordinary2) {
    SOMA__STATE(act);
    bool given = s->a != ordinary || s->b != ordinary2;
    v[0] = soma__nn_real(given, s->a);
    v[1] = soma__nn_real(given, s->b);
    return true;
}
static bool dim_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    v[0] = soma__nn_int(s->dim != -1, s->dim);
    return true;
}

/* A constructor takes 0 for the default; a 0 that is written is meant. */
static soma_module *as_written(soma_module *m, const soma__nn_value *v) {
    if (m && v[0].given)
        ((soma__nn_act_state *)m->state)->a = v[0].r;
    return m;
}

#define ACT0(id, ...) SOMA__WORD_MAKE(id, soma_nn_##id())
#define ACT1(id, shown, word, number, ordinary, ...)         \
    SOMA__WORD_MAKE(id, as_written(soma_nn_##id(v[0].r), v)) \
    static bool id##_read(soma_module *m, soma__nn_value *v) { return real_read(m, v, ordinary); }
#define ACT2(id, shown, word, number, ordinary, number2, ordinary2, ...)                                                            \
    SOMA__WORD_MAKE(id, soma_nn_##id##_2(v[0].given ? v[0].r : (ordinary), v[1].given ? v[1].r : (ordinary2)))                      \
    static bool id##_read(soma_module *m, soma__nn_value *v) { return reals_read(m, v, ordinary, ordinary2); }
#define soma_nn_rrelu_2 soma_nn_rrelu
#define soma_nn_hardtanh_2 soma_nn_hardtanh
#define soma_nn_softplus_2 soma_nn_softplus_beta
#include "nn/activations.def"

SOMA__WORD_MAKE(identity, soma_nn_identity())
SOMA__WORD_MAKE(threshold, soma_nn_threshold(v[0].r, v[1].r))
SOMA__WORD_MAKE(softmax, soma_nn_softmax(v[0].given ? v[0].i[0] : -1))
SOMA__WORD_MAKE(softmin, soma_nn_softmin(v[0].given ? v[0].i[0] : -1))
SOMA__WORD_MAKE(logsoftmax, soma_nn_log_softmax(v[0].given ? v[0].i[0] : -1))
SOMA__WORD_MAKE(glu, soma_nn_glu(v[0].given ? v[0].i[0] : -1))
SOMA__WORD_MAKE(prelu, soma_nn_prelu(v[0].i[0], v[1].r))

static bool threshold_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    v[0] = soma__nn_real(true, s->a);
    v[1] = soma__nn_real(true, s->b);
    return true;
}
static bool prelu_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    v[0] = soma__nn_int(s->dim != 1, s->dim);
    v[1] = soma__nn_real(s->a != 0.25, s->a);
    return true;
}

/* The surrogates are flags, in the order of soma__nn_surrogates, "none" left out. */
enum { STEP_THRESHOLD, STEP_KIND, STEP_WIDTH = STEP_KIND + 6 };
static soma_module *step_make(const soma__nn_value *v) {
    int kind = 0, given = 0;
    for (int k = 0; k < 6; k++)
        if (v[STEP_KIND + k].given) {
            kind = k + 1;
            given++;
        }
    if (given > 1) {
        soma_fail(SOMA_EINVAL, "Step: one surrogate, not %d", given);
        return NULL;
    }
    return soma_nn_step_surrogate(v[STEP_THRESHOLD].r, soma__nn_surrogates[kind], v[STEP_WIDTH].r);
}
static bool step_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(act);
    v[STEP_THRESHOLD] = soma__nn_real(s->a != 0, s->a);
    if (s->dim > 0)
        v[STEP_KIND + s->dim - 1] = soma__nn_flag(true);
    v[STEP_WIDTH] = soma__nn_real(s->b != 1, s->b);
    return true;
}

#define NUMBER(what) {SOMA__ARG_REAL, NULL, what, false, SOMA__REAL_ANY}
#define DIM .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "dim", false, -8, 7})
#define SURROGATE(word) {SOMA__ARG_FLAG, word, "", false, 0, 0}
const soma__nn_word soma__nn_words_act[] = {
#define ACT0(id, shown, name, operation, text) \
    {.word = name, .cls = &soma__nn_##id##_class, .make = id##_make, .read = soma__nn_nothing_read, .activation = true, .help = text},
#define ACT1(id, shown, name, number, ordinary, operation, text) \
    {.word = name, .cls = &soma__nn_##id##_class, .make = id##_make, .read = id##_read, .activation = true, .help = text, .args = SOMA__ARGS(NUMBER(number))},
#define ACT2(id, shown, name, number, ordinary, number2, ordinary2, operation, text)                                                 \
    {.word = name, .cls = &soma__nn_##id##_class, .make = id##_make, .read = id##_read, .activation = true, .help = text,            \
     .args = SOMA__ARGS(NUMBER(number), NUMBER(number2))},
#include "nn/activations.def"
    {.word = "prelu", .cls = &soma__nn_prelu_class, .make = prelu_make, .read = prelu_read, .activation = true,
     .help = "x, below 0 slope x with a learnt slope, or one for each of so many channels (starts at 0.25 unless given)",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "channels", false, SOMA__SIZE_FROM(1)}, {SOMA__ARG_REAL, "init", "slope", false, SOMA__REAL_ANY})},
    {.word = "threshold", .cls = &soma__nn_threshold_class, .make = threshold_make, .read = threshold_read, .activation = true,
     .help = "x above the threshold, else the value",
     .args = SOMA__ARGS({SOMA__ARG_REAL, NULL, "threshold", true, SOMA__REAL_ANY}, {SOMA__ARG_REAL, NULL, "value", true, SOMA__REAL_ANY})},
    {.word = "step", .cls = &soma__nn_step_class, .make = step_make, .read = step_read, .activation = true,
     .help = "1 from the threshold on (0 unless given), else 0; has no gradient unless a surrogate, of this width (1 unless given), stands in for it",
     .args = SOMA__ARGS(NUMBER("threshold"), SURROGATE("straightthrough"), SURROGATE("clipped"), SURROGATE("triangle"), SURROGATE("sigmoidal"),
              SURROGATE("fastsigmoid"), SURROGATE("arctan"), {SOMA__ARG_REAL, "width", "width", false, 1e-30, 1e30})},
    {.word = "glu", .cls = &soma__nn_glu_class, .make = glu_make, .read = dim_read, .activation = true,
     .help = "half of a dimension (the last unless given) times the sigmoid of the other half", DIM},
    {.word = "softmax", .cls = &soma__nn_softmax_class, .make = softmax_make, .read = dim_read, .activation = true,
     .help = "positive values with sum 1 along a dimension (the last unless given)", DIM},
    {.word = "softmin", .cls = &soma__nn_softmin_class, .make = softmin_make, .read = dim_read, .activation = true,
     .help = "softmax of -x", DIM},
    {.word = "logsoftmax", .cls = &soma__nn_log_softmax_class, .make = logsoftmax_make, .read = dim_read, .activation = true,
     .help = "logarithm of softmax", DIM},
    {.word = "identity", .cls = &soma__nn_identity_class, .make = identity_make, .read = soma__nn_nothing_read, .activation = true,
     .help = "x"},
    {.word = NULL},
};
