/* Activations written in other operators, and step with its surrogate gradients. The hot ones are lines in elementwise.def. */
#include "ops/composed.h"

#include <math.h>
#include <string.h>

/* ---- Of each element alone ---- */

ONE(identity, "activation", NUMERIC, x, -3, 3, "Identity", "x itself: the linear activation, of outputs in regression. Between layers it adds nothing: "
    "linear layers in a row are one linear layer")
ONE(relu6, "activation", NUMERIC, soma_hardtanh(x, 0, 6), -3, 8, NULL,
    "min(max(0, x), 6). Range [0, 6]. relu for low precision (MobileNet): activations stay where 8 bits can hold them; no gradient below 0 and above 6")
/* The exact function on both sides: softplus' threshold would cut log(1 + e^x) off at x = 20. */
ONE(logsigmoid, "activation", FLOATING, soma_neg(soma_softplus_beta(soma_neg(x), 1, INFINITY)), -4, 4, NULL,
    "log(1 / (1 + e^-x)) without overflow. Range (-inf, 0). For losses of two classes, not between layers")
ONE(tanhshrink, "activation", FLOATING, soma_sub(x, soma_tanh(x)), -3, 3, NULL, "x - tanh(x). Range (-inf, inf). Sparse coding; nearly flat around 0")
ONE(hardshrink, "activation", SAME, soma_where(soma_le(soma_abs(x), soma_scalar(NUMBER(0))), soma_scalar(0), x), -3, 3, NULL,
    "x where |x| > lambd, else 0. Range (-inf, inf). Sparse coding; it jumps at +-lambd: softshrink does not",
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("lambd", 0.5, "half the width of what becomes 0")))

static soma_tensor *softshrink(soma_args *a, soma_tensor *x) {
    double lambd = NUMBER(0);
    if (lambd >= 0)
        return soma_sub(x, soma_clamp(x, -lambd, lambd));
    soma_fail(SOMA_EINVAL, "softshrink: lambd is %g, expected 0 or more", lambd);
    return NULL;
}
ONE(softshrink, "activation", SAME, softshrink(a, x), -3, 3, "Shrink",
    "x moved towards 0 by lambd, and 0 within it. Range (-inf, inf). The proximal step of L1 (ISTA, lasso)",
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("lambd", 0.5, "how far; not negative")))

/* ---- gelu ---- */

static bool gelu_compose(soma_args *a) {
    int form = soma__attr_choice(a, 0, "none|tanh");
    return soma__return(a, form < 0 ? NULL : form == 0 ? soma__gelu_exact(a->in[0]) : soma_gelu_tanh(a->in[0]));
}
static bool gelu_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_one(i / 2, dtype, -3, 3, s))
        return false;
    s->n_attrs = i % 2;
    s->attrs[0] = SOMA_STRING("approximate", "tanh");
    return true;
}
static bool gelu_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !soma__samples_one(0, dtype, -3, 3, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = SOMA_STRING("approximate", "sigmoid");
    s->status = SOMA_EINVAL;
    s->error = "gelu: approximate is 'sigmoid', expected one of none|tanh";
    return true;
}
static const soma_op gelu_op = {
    SOMA__COMPOSITE(gelu), .family = "activation", .onnx = "Gelu",
    .doc = "x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016); with approximate \"tanh\" "
           "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which GPT-2 and its like were trained with. Range [-0.17, inf), smooth. Transformers; "
           "dearer than relu; NaN at -inf, as PyTorch",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, KIND_FLOATING,
    .attrs = SOMA_ATTRS(SOMA_DEF_STRING("approximate", "none", "none: exact; tanh: the approximation")),
    .range = "[-3, 3]",
};

/* ---- Along a dimension ---- */

COMPOSE(softmin, soma_softmax(soma_neg(a->in[0]), soma__attr_int(a, 0)))

static bool glu_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    int dim = soma__dim("glu", soma__attr_int(a, 0), x->ndim);
    if (dim < 0)
        return false;
    int64_t size = x->shape[dim];
    if (size % 2) {
        char text[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "glu: x is %s, its dimension %d must have an even size to be halved", soma__tensor_text(x, text), dim);
        return false;
    }
    return soma__return(a, soma_mul(soma_slice(x, dim, 0, size / 2, 1), soma_sigmoid(soma_slice(x, dim, size / 2, size, 1))));
}

static bool dim_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; int64_t dim; bool strided; } cases[] = {
        {2, {3, 6}, -1, false},  {3, {2, 4, 3}, 1, true}, {1, {8}, 0, true}, {2, {4, 5}, 0, false}, {3, {2, 0, 4}, 2, false},
        {4, {2, 2, 3, 2}, 1, false}, {2, {6, 1}, 0, true},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = s->n_attrs = 1;
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i + 80, cases[i].ndim, cases[i].shape);
    if (cases[i].strided)
        s->in[0] = soma__strided(s->in[0]);
    s->attrs[0] = SOMA_INT("dim", cases[i].dim);
    return true;
}
static bool dim_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !dim_samples(0, dtype, s))
        return false;
    s->attrs[0] = SOMA_INT("dim", 2);
    s->status = SOMA_ESHAPE;
    s->error = "dim 2 is out of range";
    return true;
}
static bool glu_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i == 0)
        return dim_errors(i, dtype, s);
    if (i > 1 || !dim_samples(3, dtype, s))
        return false;
    s->attrs[0] = SOMA_INT("dim", 1);
    s->status = SOMA_ESHAPE;
    s->error = "glu: x is [4, 5] f32, its dimension 1 must have an even size to be halved";
    return true;
}
static const soma_op softmin_op = {
    .name = "softmin", .family = "softmax", .doc = "softmax(-x) along a dimension: positive, sums to 1, the smallest x gets most",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, KIND_SAME, .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension that sums to 1")),
    .compose = softmin_compose, .samples = dim_samples, .errors = dim_errors,
};
static const soma_op glu_op = {
    .name = "glu", .family = "activation",
    .doc = "a sigmoid(b), a and b the halves of x along dim (Dauphin et al. 2017). One half says how much of the other passes; the layer before it must "
           "be twice as wide. Gated convolutions and transformers' feed-forward parts",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, KIND_SAME, .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension that is halved")),
    .compose = glu_compose, .samples = dim_samples, .errors = glu_errors,
};

/* ---- prelu ---- */

static bool prelu_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *weight = a->in[1];
    int64_t channels = x->ndim > 1 ? x->shape[1] : 1, shape[SOMA_MAX_DIMS];
    if (weight->ndim > 1 || (weight->numel != 1 && weight->numel != channels)) {
        char xs[SOMA__SHAPE_TEXT], ws[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "prelu: weight is %s, expected one number or one for each of the %lld channels (dimension 1) of x %s",
                  soma__tensor_text(weight, ws), (long long)channels, soma__tensor_text(x, xs));
        return false;
    }
    for (int d = 0; d < x->ndim; d++)
        shape[d] = d == 1 ? weight->numel : 1;
    weight = soma_reshape(weight, x->ndim, shape);
    /* min(x, 0) by clamp, whose gradient at 0 is 1: the derivative at 0 is the weight, as PyTorch's */
    return soma__return(a, soma_add(soma_relu(x), soma_mul(weight, soma_clamp(x, -INFINITY, 0))));
}
static bool prelu_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const struct { int ndim; int64_t shape[4]; int64_t weights; bool strided; } cases[] = {
        {2, {4, 3}, 3, false}, {4, {2, 3, 2, 4}, 3, true}, {3, {2, 5, 3}, 1, false}, {1, {7}, 1, true},
        {0, {0}, 1, false},    {3, {0, 2, 3}, 2, false},   {2, {5, 1}, 1, true},     {4, {1, 4, 3, 1}, 4, false},
    };
    if (i >= (int)SOMA_LEN(cases))
        return false;
    memset(s, 0, sizeof *s);
    s->n_in = 2;
    s->in[0] = soma__sample(dtype, -3, 3, (uint64_t)i + 90, cases[i].ndim, cases[i].shape);
    s->in[1] = soma__sample(dtype, 0.1, 0.9, (uint64_t)i + 95, 1, &cases[i].weights);
    if (cases[i].strided)
        s->in[0] = soma__strided(s->in[0]);
    return true;
}
static bool prelu_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !prelu_samples(0, dtype, s))
        return false;
    s->in[1] = soma__sample(dtype, 0, 1, 1, SOMA_SHAPE(4));
    s->status = SOMA_ESHAPE;
    s->error = "prelu: weight is [4] f32, expected one number or one for each of the 3 channels (dimension 1) of x [4, 3] f32";
    return true;
}
static const soma_op prelu_op = {
    SOMA__COMPOSITE(prelu), .family = "activation", .onnx = "PRelu",
    .doc = "x where x > 0, else weight x, the slope learnt: one, or one a channel of dimension 1 (He et al. 2015). Range (-inf, inf). Where leaky_relu's "
           "slope is worth finding; do not apply weight decay to it",
    .in = {{.name = "x"}, {.name = "weight"}}, .n_in = 2, .outputs = 1, KIND_SAME,
    .range = "[-3, 3]",
};

/* ---- rrelu ---- */

static bool rrelu_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    double lower = NUMBER(0), upper = NUMBER(1);
    if (!(lower <= upper && isfinite(lower) && isfinite(upper))) {
        soma_fail(SOMA_EINVAL, "rrelu: lower is %g and upper is %g, expected finite numbers in this order", lower, upper);
        return false;
    }
    if (!soma__attr_int(a, 2)) {
        return soma__return(a, soma_leaky_relu(x, (lower + upper) / 2));
    }
    soma_tensor *slope = soma_uniform_(soma_empty(x->ndim, x->shape, (soma_dtype)x->dtype), lower, upper);
    return soma__return(a, soma_mul(x, soma_where(soma_le(x, soma_scalar(0)), slope, soma_scalar(1))));
}
static bool rrelu_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_one(i / 2, dtype, -3, 3, s))
        return false;
    s->n_attrs = i % 2;
    s->attrs[0] = SOMA_BOOLEAN("training", true);
    return true;
}
static bool rrelu_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 0 || !soma__samples_one(0, dtype, -3, 3, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = SOMA_FLOAT("lower", 0.5);
    s->status = SOMA_EINVAL;
    s->error = "rrelu: lower is 0.5";
    return true;
}
static const soma_op rrelu_op = {
    SOMA__COMPOSITE(rrelu), .family = "activation",
    .doc = "x where x > 0, else r x; r is drawn from [lower, upper) for each element in training and is their mean otherwise (Xu et al. 2015). "
           "leaky_relu with noise against overfitting, for small data sets",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("lower", 1.0 / 8, "least slope"), SOMA_DEF_FLOAT("upper", 1.0 / 3, "largest slope"),
                        SOMA_DEF_BOOL("training", false, "draw the slopes")),
    .random = true, .range = "[-3, 3]",
};

/* ---- step ---- */

#define SURROGATES "none|straight_through|clipped|triangle|sigmoid|fast_sigmoid|arctan"
enum { NO_SURROGATE, STRAIGHT_THROUGH, CLIPPED, TRIANGLE, SIGMOID, FAST_SIGMOID, ARCTAN };

/* The stand-in for the derivative at u = (x - threshold) / width. */
static soma_tensor *surrogate(int64_t kind, soma_tensor *u, double width) {
    soma_tensor *size = soma_abs(u), *one = soma_scalar(1);
    switch (kind) {
    case CLIPPED: return soma_to(soma_le(size, one), soma_dtype_of(u));
    case TRIANGLE: return soma_mul_scalar(soma_relu(soma_sub(one, size)), 1 / width);
    case SIGMOID: return soma_mul_scalar(soma_mul(soma_sigmoid(u), soma_sigmoid(soma_neg(u))), 1 / width);
    case FAST_SIGMOID: return soma_mul_scalar(soma_reciprocal(soma_square(soma_add_scalar(size, 1))), 1 / width);
    default: return soma_mul_scalar(soma_reciprocal(soma_add_scalar(soma_square(soma_mul_scalar(u, 3.1415926535897931)), 1)), 1 / width);
    }
}

static const char *step_kernel(soma_args *a) {
    soma__step_rows(a, NUMBER(0));
    return NULL;
}
static void step_backward(soma_grad_args *g) {
    double threshold = g->attrs[0].value.f, width = g->attrs[2].value.f;
    int64_t kind = g->attrs[1].value.i;
    if (kind == STRAIGHT_THROUGH)
        g->gin[0] = g->gout[0];
    else if (kind != NO_SURROGATE)
        g->gin[0] = soma_mul(g->gout[0], surrogate(kind, soma_mul_scalar(soma_add_scalar(g->in[0], -threshold), 1 / width), width));
}
/* Kind 0 has the true gradient, 0, that the checks can measure; the others are by definition not the derivative (tests/test_elementwise.c). */
static bool surrogate_samples(int i, soma_dtype dtype, soma_sample *s) {
    if (!soma__samples_one(i, dtype, -3, 3, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = SOMA_INT("surrogate", i % 7);
    s->no_gradcheck = i % 7 != 0;
    return true;
}
static const soma_op step_surrogate_op = {
    .name = "step_surrogate", .family = "activation", .doc = "step with a gradient that stands in for its derivative", .in = {{.name = "x"}}, .n_in = 1,
    .outputs = 1, .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("threshold", 0, "from here on 1"), SOMA_DEF_INT("surrogate", 0, "place in the list of step"),
    SOMA_DEF_FLOAT("width", 1, "width of the surrogate")), .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME, .shape = soma__shape_same,
    .cpu = {step_kernel}, .backward = step_backward, .saves = SOMA_SAVE_IN(0), .internal = true, .samples = surrogate_samples, .errors = soma__errors_one,
};

static bool step_compose(soma_args *a) {
    int kind = soma__attr_choice(a, 1, SURROGATES);
    double threshold = NUMBER(0), width = NUMBER(2);
    if (kind < 0)
        return false;
    if (!(width > 0)) {
        soma_fail(SOMA_EINVAL, "step: width is %g, expected more than 0", width);
        return false;
    }
    soma_attr attrs[] = {SOMA_FLOAT("threshold", threshold), SOMA_INT("surrogate", kind), SOMA_FLOAT("width", width)};
    bool plain = kind == NO_SURROGATE || !soma_dtype_is_float(soma_dtype_of(a->in[0]));
    return soma__return(a, plain ? soma__step_plain(a->in[0], threshold) : SOMA__RUN(&step_surrogate_op, attrs, a->in[0]));
}
static bool step_samples(int i, soma_dtype dtype, soma_sample *s) {
    static const char *const kinds[] = {"none", "none", "straight_through", "none", "triangle", "none", "sigmoid", "fast_sigmoid", "arctan"};
    if (!soma__samples_one(i, dtype, -3, 3, s))
        return false;
    s->n_attrs = 2;
    s->attrs[0] = SOMA_FLOAT("threshold", i % 2 ? 0.25 : 0);
    s->attrs[1] = SOMA_STRING("surrogate", kinds[i]);
    s->no_gradcheck = strcmp(kinds[i], "none") != 0;
    return true;
}
static bool step_errors(int i, soma_dtype dtype, soma_sample *s) {
    if (i > 1 || !soma__samples_one(0, dtype, -3, 3, s))
        return false;
    s->n_attrs = 1;
    s->attrs[0] = i == 0 ? SOMA_STRING("surrogate", "relu") : SOMA_FLOAT("width", -1);
    s->status = SOMA_EINVAL;
    s->error = i == 0 ? "step: surrogate is 'relu', expected one of " SURROGATES : "step: width is -1, expected more than 0";
    return true;
}
static const soma_op step_op = {
    SOMA__COMPOSITE(step), .family = "activation",
    .doc = "the neuron's threshold (McCulloch & Pitts 1943): 1 where x >= threshold, else 0. Its derivative is 0, so descent learns nothing through it, "
           "unless a surrogate stands in for it in backward, of u = (x - threshold) / width: straight_through 1 (Bengio et al. 2013), clipped 1 for "
           "|u| <= 1 (Hubara et al. 2016), triangle max(0, 1 - |u|) / width (Bellec et al. 2018), sigmoid s(u) (1 - s(u)) / width, fast_sigmoid "
           "1 / (1 + |u|)^2 / width (Zenke & Ganguli 2018), arctan 1 / (1 + (pi u)^2) / width; Neftci et al. 2019 compares them. Binary and "
           "spiking networks; elsewhere sigmoid",
    .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, KIND_NUMERIC,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("threshold", 0, "from here on the unit fires"), SOMA_DEF_STRING("surrogate", "none", SURROGATES),
                        SOMA_DEF_FLOAT("width", 1, "width of the surrogate; its slope is 1 / width")),
    .range = "[-3, 3]",
};

extern soma_op_list soma__activation_ops;
soma_op_list soma__activation_ops = {&identity_op, &relu6_op, &logsigmoid_op, &tanhshrink_op, &hardshrink_op, &softshrink_op, &gelu_op, &softmin_op,
                                     &glu_op, &prelu_op, &rrelu_op, &step_op, &step_surrogate_op, NULL};

/* ---- C functions ---- */

#define X1(n) \
    soma_tensor *soma_##n(soma_tensor *x) { return SOMA__RUN(&n##_op, NULL, x); }
X1(identity) X1(relu6) X1(logsigmoid) X1(tanhshrink)
#define X1F(n, attr) \
    soma_tensor *soma_##n(soma_tensor *x, double attr) { return SOMA__RUN(&n##_op, &SOMA_FLOAT(#attr, attr), x); }
X1F(hardshrink, lambd) X1F(softshrink, lambd)
#define X1D(n) \
    soma_tensor *soma_##n(soma_tensor *x, int64_t dim) { return SOMA__RUN(&n##_op, &SOMA_INT("dim", dim), x); }
X1D(softmin) X1D(glu)
soma_tensor *soma_gelu(soma_tensor *x) { return soma__gelu_exact(x); }
soma_tensor *soma_prelu(soma_tensor *x, soma_tensor *weight) { return SOMA__RUN(&prelu_op, NULL, x, weight); }
soma_tensor *soma_rrelu(soma_tensor *x, double lower, double upper, bool training) {
    soma_attr attrs[] = {SOMA_FLOAT("lower", lower), SOMA_FLOAT("upper", upper), SOMA_BOOLEAN("training", training)};
    return SOMA__RUN(&rrelu_op, attrs, x);
}
soma_tensor *soma_step_surrogate(soma_tensor *x, double threshold, const char *kind, double width) {
    soma_attr attrs[] = {SOMA_FLOAT("threshold", threshold), SOMA_STRING("surrogate", kind), SOMA_FLOAT("width", width == 0 ? 1 : width)};
    return SOMA__RUN(&step_op, attrs, x);
}
soma_tensor *soma_step(soma_tensor *x, double threshold) { return soma_step_surrogate(x, threshold, "none", 1); }
