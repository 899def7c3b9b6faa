/* Normalisations over other parts of [N, C, …] than batch_norm's and layer_norm's: groups of channels, single channels, neighbouring
 * channels, and by the root of the mean square. All are layer_norm or a few elementwise operators over another shape. */
#include "ops/op.h"

#include <float.h>
#include <string.h>

static bool has_channels(const soma_tensor *x, int least) {
    return x->ndim >= least || soma__expected(x, "x", least == 2 ? "[N, C, …]" : "[N, C, …] with at least three dimensions");
}

/* `t` [C] beside x [N, C, …]. */
static soma_tensor *beside(soma_tensor *t, const soma_tensor *x) {
    int64_t shape[SOMA_MAX_DIMS] = {x->shape[1], 1, 1, 1, 1, 1, 1, 1};
    return soma_reshape(t, x->ndim - 1, shape);
}

static bool is_row(const soma_tensor *t, const char *name, int64_t n) {
    if (!t || (t->ndim == 1 && t->shape[0] == n))
        return true;
    return soma__expected(t, name, "one number a channel of x");
}

static soma_tensor *affine(soma_tensor *y, const soma_tensor *x, soma_tensor *weight, soma_tensor *bias) {
    if (weight)
        y = soma_mul(y, beside(weight, x));
    return bias ? soma_add(y, beside(bias, x)) : y;
}

/* ---- group_norm ------------------------------------------------------------------------------------------------------- */

static bool group_norm_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int64_t groups = soma__attr_int(a, 0);
    if (!has_channels(x, 2) || !is_row(a->in[1], "weight", x->shape[1]) || !is_row(a->in[2], "bias", x->shape[1]))
        return false;
    if (groups < 1 || x->shape[1] % groups != 0) {
        soma_fail(SOMA_EINVAL, "group_norm: num_groups is %lld, expected a divisor of the %lld channels", (long long)groups,
                  (long long)x->shape[1]);
        return false;
    }
    const int64_t rows = x->shape[0] * groups;
    soma_tensor *y = rows == 0 || x->numel == 0 ? x
                                                : soma_layer_norm(soma_reshape(x, 2, (const int64_t[]){rows, x->numel / rows}), 1, NULL,
                                                                  NULL, soma__attr_float(a, 1));
    return soma__return(a, affine(soma_reshape(y, x->ndim, x->shape), x, a->in[1], a->in[2]));
}

/* ---- instance_norm ---------------------------------------------------------------------------------------------------- */

enum { USE_INPUT_STATS, MOMENTUM, EPS };
enum { X, RUNNING_MEAN, RUNNING_VAR, WEIGHT, BIAS };

/* Moves running statistics towards the mean over the batch of `batch` [N, C]. */
static void move_running(soma_tensor *running, soma_tensor *batch, double momentum) {
    soma_tensor *mean = soma_mean(batch, SOMA_DIMS(0), false);
    soma_copy_(running, soma_add(soma_mul_scalar(running, 1 - momentum), soma_mul_scalar(mean, momentum)));
}

static bool update_running(soma_args *a, soma_tensor *rows) {
    const double momentum = soma__attr_float(a, MOMENTUM);
    const bool was = soma_set_grad_enabled(false);
    if (a->in[RUNNING_MEAN])
        move_running(a->in[RUNNING_MEAN], soma_mean(rows, SOMA_DIMS(2), false), momentum);
    if (a->in[RUNNING_VAR])
        move_running(a->in[RUNNING_VAR], soma_var(rows, SOMA_DIMS(2), 1, false), momentum);
    soma_set_grad_enabled(was);
    return soma_error() == SOMA_OK;
}

static bool instance_norm_compose(soma_args *a) {
    soma_tensor *x = a->in[X], *y;
    const double eps = soma__attr_float(a, EPS);
    if (!has_channels(x, 3))
        return false;
    for (int i = RUNNING_MEAN; i <= BIAS; i++)
        if (!is_row(a->in[i], a->op->in[i].name, x->shape[1]))
            return false;
    const int64_t n = x->shape[0] * x->shape[1], inner = n == 0 ? 0 : x->numel / n;
    if (!soma__attr_int(a, USE_INPUT_STATS)) {
        if (!a->in[RUNNING_MEAN] || !a->in[RUNNING_VAR]) {
            soma_fail(SOMA_EINVAL, "instance_norm: needs running_mean and running_var when use_input_stats is false");
            return false;
        }
        return soma__return(a, soma_batch_norm(x, a->in[WEIGHT], a->in[BIAS], a->in[RUNNING_MEAN], a->in[RUNNING_VAR], false, 0, eps));
    }
    if (inner == 1)
        return soma__expected(x, "x", "more than one element a channel");
    soma_tensor *rows = soma_reshape(x, 3, (const int64_t[]){x->shape[0], x->shape[1], inner});
    if (!update_running(a, rows))
        return false;
    y = x->numel == 0 ? rows : soma_layer_norm(rows, 1, NULL, NULL, eps);
    return soma__return(a, affine(soma_reshape(y, x->ndim, x->shape), x, a->in[WEIGHT], a->in[BIAS]));
}

/* ---- rms_norm --------------------------------------------------------------------------------------------------------- */

static double epsilon_of(soma_dtype dtype) {
    switch (dtype) {
    case SOMA_F64: return DBL_EPSILON;
    case SOMA_F16: return 0x1p-10;
    case SOMA_BF16: return 0x1p-7;
    default: return FLT_EPSILON;
    }
}

static bool rms_norm_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *weight = a->in[1];
    const soma_dtype dtype = (soma_dtype)x->dtype;
    const int64_t n = soma__attr_int(a, 0);
    int64_t dims[SOMA_MAX_DIMS];
    double eps = soma__attr_float(a, 1);
    if (n < 1 || n > x->ndim) {
        soma_fail(SOMA_EINVAL, "rms_norm: n_dims is %lld, expected 1 to %d", (long long)n, x->ndim);
        return false;
    }
    bool fits = !weight || weight->ndim == n;
    for (int i = 0; i < n; i++) {
        dims[i] = i - n;
        fits = fits && (!weight || weight->shape[i] == x->shape[x->ndim - n + i]);
    }
    if (!fits)
        return soma__expected(weight, "weight", "the last n_dims sizes of x");
    if (eps == 0)
        eps = epsilon_of(dtype);
    soma_tensor *wide = soma_to(x, dtype == SOMA_F64 ? SOMA_F64 : SOMA_F32); /* squares of halves overflow */
    soma_tensor *y = soma_mul(wide, soma_rsqrt(soma_add_scalar(soma_mean(soma_square(wide), (int)n, dims, true), eps)));
    return soma__return(a, soma_to(weight ? soma_mul(y, weight) : y, dtype));
}

/* ---- local_response_norm ---------------------------------------------------------------------------------------------- */

static bool local_response_norm_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int64_t size = soma__attr_int(a, 0);
    if (!has_channels(x, 3))
        return false;
    if (size < 1) {
        soma_fail(SOMA_EINVAL, "local_response_norm: size is %lld, expected 1 or more channels", (long long)size);
        return false;
    }
    if (x->numel == 0) {
        a->out[0] = x;
        return true;
    }
    const int64_t n = x->shape[0], c = x->shape[1];
    soma_tensor *sq = soma_reshape(soma_square(x), 3, (const int64_t[]){n, c, x->numel / (n * c)});
    sq = soma_avg_pool2d(soma_pad(sq, 4, (const int64_t[]){0, 0, size / 2, (size - 1) / 2}, 0), size, 1, .stride = {1, 1});
    sq = soma_add_scalar(soma_mul_scalar(soma_reshape(sq, x->ndim, x->shape), soma__attr_float(a, 1)), soma__attr_float(a, 3));
    return soma__return(a, soma_div(x, soma_pow_scalar(sq, soma__attr_float(a, 2))));
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

SOMA__LINES(group_norm, "[2,4,3] [4] [4] num_groups=2", "s[1,6,2,2] - [6] num_groups=3", "[2,3,4] num_groups=1",
            "[3,4] [4] num_groups=2 eps=0.1", "[0,4,2] [4] [4] num_groups=2", "s[2,2,2,1,2] s[2] num_groups=2",
            "[2,4,3] num_groups=3 !EINVAL num_groups is 3, expected a divisor of the 4 channels",
            "[2,4,3] [3] num_groups=2 !ESHAPE weight is [3] f32, expected one number a channel",
            "[4] num_groups=2 !ESHAPE group_norm: x is [4] f32, expected [N, C, …]")
SOMA__LINES(instance_norm, "[2,3,4] - - [3] [3]", "s[1,2,3,2]", "[2,3,4] [3] [3]@0.5:2 [3] [3] use_input_stats=false",
            "[2,2,5] [2] [2]@0.5:2 - [2] momentum=0.3 ~", "[0,2,3] - - [2]", "s[2,2,2,2] - - s[2] eps=0.1",
            "[2,3] !ESHAPE expected [N, C, …] with at least three dimensions",
            "[2,3,4] use_input_stats=false !EINVAL needs running_mean and running_var",
            "[2,3,1] !ESHAPE expected more than one element a channel")
SOMA__LINES(rms_norm, "[2,5] [5] n_dims=1", "s[2,3,4] [3,4] n_dims=2", "[3,4] n_dims=1 eps=0.1", "[6] s[6] n_dims=1", "[0,3] [3] n_dims=1",
            "[2,2,3] n_dims=3", "[2,5] [4] n_dims=1 !ESHAPE weight is [4] f32, expected the last n_dims sizes of x",
            "[2,5] n_dims=3 !EINVAL n_dims is 3, expected 1 to 2")
SOMA__LINES(local_response_norm, "[2,5,3] size=3", "s[1,4,2,2] size=2 alpha=0.5 beta=0.6 k=2.0", "[2,3,4] size=5 alpha=0.1",
            "[1,1,2] size=1 alpha=1.0", "[0,2,3] size=2", "[1,4,1,2,1] size=4 alpha=0.3",
            "[2,3] size=2 !ESHAPE expected [N, C, …] with at least three dimensions",
            "[2,3,4] size=0 !EINVAL size is 0, expected 1 or more channels")

#define EPS_ATTR SOMA_DEF_FLOAT("eps", 1e-5, "added to the variance")
static const soma_op group_norm_op = {
    SOMA__COMPOSITE(group_norm),
    .family = "norm",
    .onnx = "GroupNormalization",
    .doc = "(x - mean) / sqrt(var + eps) weight + bias over num_groups groups of channels of x [N, C, …], each sample by itself; weight "
           "and bias [C]. "
           "Unlike batch_norm it does not depend on the batch, so it serves small batches (Wu & He 2018).",
    .in = {{.name = "x"}, {.name = "weight", .optional = true}, {.name = "bias", .optional = true}},
    .n_in = 3,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("num_groups", "groups of channels"), EPS_ATTR),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};
static const soma_op instance_norm_op = {
    SOMA__COMPOSITE(instance_norm),
    .family = "norm",
    .onnx = "InstanceNormalization",
    .doc = "(x - mean) / sqrt(var + eps) weight + bias over each channel of each sample of x [N, C, …]; running statistics, if given, move "
           "by momentum and "
           "are used instead when use_input_stats is false. For style transfer (Ulyanov et al. 2016).",
    .in = {{.name = "x"},
           {.name = "running_mean", .optional = true},
           {.name = "running_var", .optional = true},
           {.name = "weight", .optional = true},
           {.name = "bias", .optional = true}},
    .n_in = 5,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("use_input_stats", true, "statistics of x; else the running ones"),
                        SOMA_DEF_FLOAT("momentum", 0.1, "share of the new in running statistics"), EPS_ATTR),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
    .writes = 1u << 1 | 1u << 2,
    .no_grad_in = 1u << 1 | 1u << 2,
};
static const soma_op rms_norm_op = {
    SOMA__COMPOSITE(rms_norm),
    .family = "norm",
    .onnx = "RMSNormalization",
    .doc = "x / sqrt(mean(x²) + eps) weight over the last n_dims dimensions: layer_norm without the mean, as cheap and as good in "
           "transformers (Zhang & "
           "Sennrich 2019). eps 0 is the dtype's own epsilon; f16 and bf16 are computed in f32.",
    .in = {{.name = "x"}, {.name = "weight", .optional = true}},
    .n_in = 2,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("n_dims", 1, "dimensions that are normalised together, the last ones"),
                        SOMA_DEF_FLOAT("eps", 0, "added to the mean square; 0: the dtype's epsilon")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};
static const soma_op local_response_norm_op = {
    SOMA__COMPOSITE(local_response_norm),
    .family = "norm",
    .onnx = "LRN",
    .doc = "x / (k + alpha mean(x²))^beta, the mean over `size` neighbouring channels with zeros beyond the ends. From AlexNet (Krizhevsky "
           "et al. 2012); batch_norm "
           "has taken its place.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("size", "channels that are averaged"), SOMA_DEF_FLOAT("alpha", 1e-4, "factor of the mean square"),
                        SOMA_DEF_FLOAT("beta", 0.75, "exponent"), SOMA_DEF_FLOAT("k", 1, "added below")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};

soma_tensor *soma_group_norm(soma_tensor *x, int64_t num_groups, soma_tensor *weight, soma_tensor *bias, double eps) {
    const soma_attr attrs[] = {SOMA_INT("num_groups", num_groups), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&group_norm_op, attrs, x, weight, bias);
}
soma_tensor *soma_instance_norm(soma_tensor *x, soma_tensor *running_mean, soma_tensor *running_var, soma_tensor *weight, soma_tensor *bias,
                                bool use_input_stats, double momentum, double eps) {
    const soma_attr attrs[] = {SOMA_BOOLEAN("use_input_stats", use_input_stats), SOMA_FLOAT("momentum", momentum), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&instance_norm_op, attrs, x, running_mean, running_var, weight, bias);
}
soma_tensor *soma_rms_norm(soma_tensor *x, int64_t n_dims, soma_tensor *weight, double eps) {
    const soma_attr attrs[] = {SOMA_INT("n_dims", n_dims), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&rms_norm_op, attrs, x, weight);
}
soma_tensor *soma_local_response_norm(soma_tensor *x, int64_t size, double alpha, double beta, double k) {
    const soma_attr attrs[] = {SOMA_INT("size", size), SOMA_FLOAT("alpha", alpha), SOMA_FLOAT("beta", beta), SOMA_FLOAT("k", k)};
    return SOMA__RUN(&local_response_norm_op, attrs, x);
}

soma_op_list soma__norm_nd_ops = {&group_norm_op, &instance_norm_op, &rms_norm_op, &local_response_norm_op, NULL};
