/* Distances and lengths of vectors, written in norm. */
#include "ops/shape.h"
#include "ops/sort.h"

#include <math.h>
#include <string.h>

#define TWO .in = {{.name = "x1"}, {.name = "x2"}}, .n_in = 2, .outputs = 1, .family = "reduce", .promote = SOMA_PROMOTE_SAME, .dtypes = SOMA_FLOATS, \
    .backward = SOMA_COMPOSED
#define ONE .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .family = "reduce", .promote = SOMA_PROMOTE_SAME, .dtypes = SOMA_FLOATS, .backward = SOMA_COMPOSED
#define ORDER SOMA_DEF_FLOAT("p", 2, "order of the norm; inf: largest difference")

static bool dist_compose(soma_args *a) { return soma__return(a, soma_norm_p(soma_sub(a->in[0], a->in[1]), soma__attr_float(a, 0), SOMA_ALL, false)); }
SOMA__LINES(dist, "[3,4] [3,4]@0.3:3", "s[3,4] [4]@0.3:3 p=1", "[2,3] [2,1]@0.3:3 p=3", "[] []@0.3:3", "[5] [5]@0.3:3 p=inf", "[0] [0]",
            "[3] [4] !ESHAPE do not broadcast")
static const soma_op dist_op = {SOMA__COMPOSITE(dist), TWO, .doc = "Norm of order p of x1 - x2, all elements together.", .attrs = SOMA_ATTRS(ORDER)};
soma_tensor *soma_dist(soma_tensor *x1, soma_tensor *x2, double p) {
    soma_attr attr = SOMA_FLOAT("p", p);
    return SOMA__RUN(&dist_op, &attr, x1, x2);
}

static bool cdist_compose(soma_args *a) {
    const soma_tensor *x = a->in[0], *y = a->in[1];
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    double p = soma__attr_float(a, 0);
    if (x->ndim < 2 || y->ndim < 2 || x->shape[x->ndim - 1] != y->shape[y->ndim - 1] || !(p >= 0)) {
        soma_fail(p >= 0 ? SOMA_ESHAPE : SOMA_EINVAL, "cdist: x1 is %s, x2 is %s, p is %g; expected [..., p, m], [..., r, m] and 0 or more",
                  soma__tensor_text(x, one), soma__tensor_text(y, two), p);
        return false;
    }
    if (x->shape[x->ndim - 1] == 0) { /* vectors without elements are all the same */
        soma_tensor *zero = soma_matmul(a->in[0], soma_transpose(a->in[1], -1, -2));
        return soma__return(a, zero);
    }
    return soma__return(a, soma_norm_p(soma_sub(soma_unsqueeze(a->in[0], -2), soma_unsqueeze(a->in[1], -3)), p, SOMA_DIMS(-1), false));
}
SOMA__LINES(cdist, "[3,4] [2,4]@0.3:3", "s[3,4] [5,4]@0.3:3 p=1", "[2,3,2] [2,4,2]@0.3:3 p=3", "[1,1] [1,1]@0.3:3", "[4,3] [2,3]@0.3:3 p=inf",
            "[0,3] [2,3]", "[2,3,2] [4,2]@0.3:3", "[3,4] [2,3] !ESHAPE cdist: x1 is [3, 4] f32, x2 is [2, 3] f32",
            "[3] [3] !ESHAPE expected [..., p, m]", "[2,2] [2,2] p=-1 !EINVAL p is -1")
static const soma_op cdist_op = {
    SOMA__COMPOSITE(cdist), TWO,
    .doc = "Distances of order p between all rows of x1 [..., p, m] and of x2 [..., r, m]: [..., p, r]. Computed from the differences, which takes p "
           "r m numbers of room and loses no digits.",
    .attrs = SOMA_ATTRS(ORDER),
};
soma_tensor *soma_cdist(soma_tensor *x1, soma_tensor *x2, double p) {
    soma_attr attr = SOMA_FLOAT("p", p);
    return SOMA__RUN(&cdist_op, &attr, x1, x2);
}

static bool pairwise_distance_compose(soma_args *a) {
    soma_tensor *t = soma_add_scalar(soma_sub(a->in[0], a->in[1]), soma__attr_float(a, 1));
    return soma__return(a, soma_norm_p(t, soma__attr_float(a, 0), SOMA_DIMS(-1), soma__attr_int(a, 2)));
}
SOMA__LINES(pairwise_distance, "[3,4] [3,4]@0.3:3", "s[3,4] [4]@0.3:3 p=1", "[2,3] [2,3]@0.3:3 p=3 keepdim=true", "[5] [5]@0.3:3",
            "[2,3,2] [3,2]@0.3:3 p=inf", "[0,3] [0,3]", "[3,4] [3,3] !ESHAPE do not broadcast")
static const soma_op pairwise_distance_op = {
    SOMA__COMPOSITE(pairwise_distance), TWO,
    .doc = "Norm of order p of x1 - x2 + eps along the last dimension.",
    .attrs = SOMA_ATTRS(ORDER, SOMA_DEF_FLOAT("eps", 1e-6, "added to the difference, so that it is not 0"),
                        SOMA_DEF_BOOL("keepdim", false, "leave the dimension with size 1")),
};
soma_tensor *soma_pairwise_distance(soma_tensor *x1, soma_tensor *x2, double p, double eps, bool keepdim) {
    soma_attr attrs[] = {SOMA_FLOAT("p", p), SOMA_FLOAT("eps", eps), SOMA_BOOLEAN("keepdim", keepdim)};
    return SOMA__RUN(&pairwise_distance_op, attrs, x1, x2);
}

static bool cosine_similarity_compose(soma_args *a) {
    soma_meta m;
    if (!soma__broadcast("cosine_similarity", a->in, 2, &m))
        return false;
    int64_t dim = soma__dim("cosine_similarity", soma__attr_int(a, 0), m.ndim);
    if (dim < 0)
        return false;
    soma_tensor *unit[2];
    if (m.ndim == 0)
        return soma__return(a, soma_mul(soma_div(a->in[0], soma_clamp(soma_abs(a->in[0]), soma__attr_float(a, 1), INFINITY)),
                                        soma_div(a->in[1], soma_clamp(soma_abs(a->in[1]), soma__attr_float(a, 1), INFINITY))));
    for (int i = 0; i < 2; i++) {
        soma_tensor *x = soma_expand(a->in[i], m.ndim, m.shape);
        unit[i] = soma_div(x, soma_clamp(soma_norm(x, 1, &dim, true), soma__attr_float(a, 1), INFINITY));
    }
    return soma__return(a, soma_sum(soma_mul(unit[0], unit[1]), 1, &dim, false));
}
SOMA__LINES(cosine_similarity, "[3,4] [3,4]@0.3:3", "s[3,4] [4]@0.3:3 dim=-1", "[2,3,2] [2,3,2]@0.3:3", "[5] [5]@0.3:3 dim=0",
            "[2,1,3] [4,3]@0.3:3 dim=2", "[0,3] [0,3]", "[3,4] [3,3] !ESHAPE do not broadcast", "[3] [3] !ESHAPE dim 1 is out of range")
static const soma_op cosine_similarity_op = {
    SOMA__COMPOSITE(cosine_similarity), TWO,
    .doc = "x1 · x2 / (max(|x1|, eps) max(|x2|, eps)) along a dimension: the cosine of the angle between them, in [-1, 1].",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", 1, "dimension of the vectors"), SOMA_DEF_FLOAT("eps", 1e-8, "least length to divide by")),
};
soma_tensor *soma_cosine_similarity(soma_tensor *x1, soma_tensor *x2, int64_t dim, double eps) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&cosine_similarity_op, attrs, x1, x2);
}

static bool normalize_compose(soma_args *a) {
    int64_t dim = soma__attr_int(a, 1);
    double eps = soma__attr_float(a, 2);
    eps = a->in[0]->dtype == SOMA_F16 ? SOMA_MAX(eps, 0x1p-24) : eps; /* below that f16 has only 0 */
    soma_tensor *length = soma_norm_p(a->in[0], soma__attr_float(a, 0), a->in[0]->ndim > 0, &dim, true);
    return soma__dim("normalize", dim, a->in[0]->ndim) >= 0 && soma__return(a, soma_div(a->in[0], soma_clamp(length, eps, INFINITY)));
}
SOMA__LINES(normalize, "[3,4]", "s[3,4] dim=0 p=1", "[2,3,2] p=3", "[5] dim=0", "[2,3] p=inf", "[0,3]", "[2,2]=0,0,1,2 ~",
            "[3] !ESHAPE dim 1 is out of range")
static const soma_op normalize_op = {
    SOMA__COMPOSITE(normalize), ONE, .onnx = "LpNormalization", .doc = "x / max(|x|, eps) along a dimension: vectors of length 1 in the norm of order p.",
    .attrs = SOMA_ATTRS(ORDER, SOMA_DEF_INT("dim", 1, "dimension of the vectors"), SOMA_DEF_FLOAT("eps", 1e-12, "least length to divide by")),
};
soma_tensor *soma_normalize(soma_tensor *x, double p, int64_t dim, double eps) {
    soma_attr attrs[] = {SOMA_FLOAT("p", p), SOMA_INT("dim", dim), SOMA_FLOAT("eps", eps)};
    return SOMA__RUN(&normalize_op, attrs, x);
}

static bool renorm_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    double p = soma__attr_float(a, 0), most = soma__attr_float(a, 2);
    int64_t others[SOMA_MAX_DIMS];
    int n = 0, dim = x->ndim < 2 ? -1 : soma__dim("renorm", soma__attr_int(a, 1), x->ndim);
    if (x->ndim < 2 || !(p > 0) || !(most >= 0))
        soma_fail(x->ndim < 2 ? SOMA_ESHAPE : SOMA_EINVAL, "renorm: x has %d dimensions, p is %g, maxnorm is %g; expected two or more, above 0, and 0 "
                                                           "or more", x->ndim, p, most);
    if (dim < 0 || soma__failed())
        return false;
    for (int d = 0; d < x->ndim; d++)
        if (d != dim)
            others[n++] = d;
    soma_tensor *length = soma_norm_p(x, p, n, others, true);
    soma_tensor *factor = soma_div(soma_scalar(most), soma_add_scalar(length, 1e-7));
    return soma__return(a, soma_mul(x, soma_where(soma_gt(length, soma_scalar(most)), factor, soma_scalar(1))));
}
SOMA__LINES(renorm, "[3,4]@-3:3 p=2 dim=0 maxnorm=1.5", "s[3,4]@-3:3 p=1 dim=1 maxnorm=2.5", "[2,3,2]@-3:3 p=3 dim=-1 maxnorm=1.0",
            "[2,2]@-3:3 p=2 dim=0 maxnorm=100.0", "[0,3] p=2 dim=1 maxnorm=1", "[1,4]@-3:3 p=2 dim=0 maxnorm=0.5",
            "[3] p=2 dim=0 maxnorm=1 !ESHAPE renorm: x has 1 dimensions", "[2,2] p=0 dim=0 maxnorm=1 !EINVAL p is 0",
            "[2,2] p=2 dim=2 maxnorm=1 !ESHAPE dim 2 is out of range")
static const soma_op renorm_op = {
    SOMA__COMPOSITE(renorm), ONE,
    .doc = "Each part of x along dim scaled down to norm maxnorm where it is longer; the max-norm constraint on weights.",
    .attrs = SOMA_ATTRS(SOMA_NEED_FLOAT("p", "order of the norm"), SOMA_NEED_INT("dim", "dimension whose parts are measured"),
                        SOMA_NEED_FLOAT("maxnorm", "largest norm")),
};
soma_tensor *soma_renorm(soma_tensor *x, double p, int64_t dim, double maxnorm) {
    soma_attr attrs[] = {SOMA_FLOAT("p", p), SOMA_INT("dim", dim), SOMA_FLOAT("maxnorm", maxnorm)};
    return SOMA__RUN(&renorm_op, attrs, x);
}

soma_op_list soma__distance_ops = {&dist_op, &cdist_op, &pairwise_distance_op, &cosine_similarity_op, &normalize_op, &renorm_op, NULL};
