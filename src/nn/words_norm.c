/* Words of descriptions: normalisation. */
#include "nn/nn.h"

/* The options of all words here; each word knows some of them, in this order. */
enum { EPS, MOMENTUM, AFFINE, BIAS, TRACK };

static soma_nn_norm_opts opts(const soma__nn_value *v) {
    return (soma_nn_norm_opts){.eps = v[EPS].given ? v[EPS].r : 0, .size = sizeof(soma_nn_norm_opts)};
}

static soma_module *batchnorm_make(const soma__nn_value *v) {
    soma_nn_norm_opts o = opts(v);
    o.momentum = v[MOMENTUM].given ? v[MOMENTUM].r : 0;
    o.no_affine = v[AFFINE].given;
    o.no_track = v[BIAS].given;
    o.cumulative = v[TRACK].given;
    return soma_nn_batch_norm_ex(0, &o);
}
static bool batchnorm_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(norm);
    v[EPS] = soma__nn_real(s->eps != 1e-5, s->eps);
    v[MOMENTUM] = soma__nn_real(s->momentum != 0.1, s->momentum);
    v[AFFINE].given = !s->affine;
    v[BIAS].given = !s->track;
    v[TRACK].given = s->cumulative;
    return s->affine == s->bias;
}

static soma_module *instancenorm_make(const soma__nn_value *v) {
    soma_nn_norm_opts o = opts(v);
    o.momentum = v[MOMENTUM].given ? v[MOMENTUM].r : 0;
    o.affine = v[AFFINE].given;
    o.track = v[BIAS].given;
    return soma_nn_instance_norm_ex(0, &o);
}
static bool instancenorm_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(norm);
    v[EPS] = soma__nn_real(s->eps != 1e-5, s->eps);
    v[MOMENTUM] = soma__nn_real(s->momentum != 0.1, s->momentum);
    v[AFFINE].given = s->affine;
    v[BIAS].given = s->track;
    return s->affine == s->bias;
}

enum { GROUPS };
static soma_module *groupnorm_make(const soma__nn_value *v) {
    soma_nn_norm_opts o = opts(v + 1);
    o.no_affine = v[2].given;
    return soma_nn_group_norm_ex(v[GROUPS].i[0], 0, &o);
}
static bool groupnorm_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(norm);
    v[GROUPS] = soma__nn_int(true, s->groups);
    v[1] = soma__nn_real(s->eps != 1e-5, s->eps);
    v[2].given = !s->affine;
    return s->affine == s->bias;
}

/* dims, eps, noaffine, nobias */
static soma_nn_norm_opts last_opts(const soma__nn_value *v) {
    soma_nn_norm_opts o = opts(v + 1);
    o.dims = v[0].given ? (int)v[0].i[0] : 1;
    o.no_affine = v[2].given;
    return o;
}
static soma_module *layernorm_make(const soma__nn_value *v) {
    soma_nn_norm_opts o = last_opts(v);
    o.no_bias = v[3].given;
    return soma_nn_layer_norm_ex(0, &o);
}
static soma_module *rmsnorm_make(const soma__nn_value *v) {
    soma_nn_norm_opts o = last_opts(v);
    return soma_nn_rms_norm_ex(0, &o);
}
static bool last_read(soma_module *m, soma__nn_value *v, double eps) {
    SOMA__STATE(norm);
    v[0] = soma__nn_int(s->dims != 1, s->dims);
    v[1] = soma__nn_real(s->eps != eps, s->eps);
    v[2].given = !s->affine;
    return true;
}
static bool layernorm_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(norm);
    v[3].given = s->affine && !s->bias;
    return last_read(m, v, 1e-5);
}
static bool rmsnorm_read(soma_module *m, soma__nn_value *v) { return last_read(m, v, 0); }

SOMA__WORD_MAKE(response, soma_nn_local_response_norm(v[0].i[0], v[1].r, v[2].r, v[3].r))
static bool response_read(soma_module *m, soma__nn_value *v) {
    SOMA__STATE(response);
    v[0] = soma__nn_int(true, s->size);
    v[1] = soma__nn_real(s->alpha != 1e-4, s->alpha);
    v[2] = soma__nn_real(s->beta != 0.75, s->beta);
    v[3] = soma__nn_real(s->k != 1, s->k);
    return true;
}

#define ARG_EPS {SOMA__ARG_REAL, "eps", "eps", false, 1e-30, 1e6}
#define ARG_MOMENTUM {SOMA__ARG_REAL, "momentum", "share", false, 1e-9, 1}
#define ARG_FLAG(word) {SOMA__ARG_FLAG, word, "", false, 0, 0}
#define ARG_DIMS {SOMA__ARG_INT, "dims", "number", false, 1, 8}

const soma__nn_word soma__nn_words_norm[] = {
    {.word = "batchnorm", .cls = &soma__nn_batch_norm_class, .make = batchnorm_make, .read = batchnorm_read, .takes_activation = true,
     .help = "batch normalisation of the channels, with running statistics (`momentum` 0.1 of the newest batch; `cumulative`: the mean of all "
             "batches)",
     .args = SOMA__ARGS(ARG_EPS, ARG_MOMENTUM, ARG_FLAG("noaffine"), ARG_FLAG("notrack"), ARG_FLAG("cumulative"))},
    {.word = "layernorm", .cls = &soma__nn_layer_norm_class, .make = layernorm_make, .read = layernorm_read,
     .help = "layer normalisation over the last dimension, or so many",
     .args = SOMA__ARGS(ARG_DIMS, ARG_EPS, ARG_FLAG("noaffine"), ARG_FLAG("nobias"))},
    {.word = "rmsnorm", .cls = &soma__nn_rms_norm_class, .make = rmsnorm_make, .read = rmsnorm_read,
     .help = "x divided by its root mean square over the last dimension, or so many (`eps` is the dtype's precision unless given)",
     .args = SOMA__ARGS(ARG_DIMS, ARG_EPS, ARG_FLAG("noaffine"))},
    {.word = "groupnorm", .cls = &soma__nn_group_norm_class, .make = groupnorm_make, .read = groupnorm_read, .takes_activation = true,
     .help = "normalisation of each sample's channels in groups; independent of the batch's size",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "groups", true, SOMA__SIZE_FROM(1)}, ARG_EPS, ARG_FLAG("noaffine"))},
    {.word = "instancenorm", .cls = &soma__nn_instance_norm_class, .make = instancenorm_make, .read = instancenorm_read,
     .takes_activation = true, .help = "normalisation of each channel of each sample; no weight and no running statistics unless asked for",
     .args = SOMA__ARGS(ARG_EPS, ARG_MOMENTUM, ARG_FLAG("affine"), ARG_FLAG("track"))},
    {.word = "localresponsenorm", .cls = &soma__nn_response_norm_class, .make = response_make, .read = response_read,
     .help = "x / (k + alpha mean(x^2 over SIZE neighbouring channels))^beta (alpha 1e-4, beta 0.75, k 1 unless given)",
     .args = SOMA__ARGS({SOMA__ARG_INT, NULL, "size", true, SOMA__SIZE_FROM(1)},
              {SOMA__ARG_REAL, "alpha", "alpha", false, 1e-30, 1e30},
              {SOMA__ARG_REAL, "beta", "beta", false, 1e-30, 1e30},
              {SOMA__ARG_REAL, "k", "k", false, 1e-30, 1e30})},
    {.word = NULL},
};
