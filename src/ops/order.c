/* Elements chosen by their rank along a dimension: max, min, argsort, kthvalue, median, mode, quantile, and running extremes. All find an index
 * (without a gradient) and gather there, so a gradient goes to the element that was chosen. */
#include "ops/shape.h"
#include "ops/sort.h"

#include <math.h>
#include <string.h>

#define ONE .in = {{.name = "x"}}, .n_in = 1, .family = "reduce", .promote = SOMA_PROMOTE_SAME
#define KEEP SOMA_DEF_BOOL("keepdim", false, "leave the dimension with size 1")

int64_t soma__optional_dim(const soma_args *a, int i) { return a->attrs[i].count ? a->attrs[i].value.ints[0] : SOMA_NO_DIM; }

bool soma__choose(soma_args *a, soma_tensor *x, int64_t dim, soma_tensor *index, bool keep) {
    soma_tensor *t = x->ndim ? soma_gather(x, dim, index) : x;
    if (x->ndim && !keep) {
        t = soma_squeeze(t, 1, &dim);
        index = soma_squeeze(index, 1, &dim);
    }
    a->out[0] = t;
    if (a->room > 1)
        a->out[1] = index;
    a->n_out = 2;
    return t && index;
}

static bool has_line(const soma_args *a, int64_t dim) {
    const soma_tensor *x = a->in[0];
    int d = soma__dim(a->op->name, dim, x->ndim);
    char text[SOMA__SHAPE_TEXT];
    if (d >= 0 && x->ndim && x->shape[d] == 0)
        soma_fail(SOMA_ESHAPE, "%s: dimension %d of %s has no elements", a->op->name, d, soma__tensor_text(x, text));
    return d >= 0 && !soma__failed();
}

/* ---- max, min, aminmax ---- */

static bool extreme(soma_args *a, bool smallest) {
    soma_tensor *x = a->in[0];
    int64_t dim = soma__optional_dim(a, 0);
    bool keep = soma__attr_int(a, 1) != 0;
    if (dim == SOMA_NO_DIM)
        return soma__give(a, (smallest ? soma_amin : soma_amax)(x, SOMA_ALL, false));
    soma_tensor *index = (smallest ? soma_argmin : soma_argmax)(x, dim, true);
    return index && soma__choose(a, x, dim, index, keep);
}
static bool max_compose(soma_args *a) { return extreme(a, false); }
static bool min_compose(soma_args *a) { return extreme(a, true); }
#define EXTREME_SAMPLES "[3,4]", "s[3,4] dim=0", "[2,3,4] dim=-1 keepdim=true", "[5] dim=0", "[] dim=0", "[]", "s[2,3,2] dim=1", \
    "[3]=nan,1,2 dim=0 ~", "[2,0] dim=0"
SOMA__LINES(max, EXTREME_SAMPLES, "[2,0] dim=1 !ESHAPE dimension 1 of [2, 0] has no elements", "[0] !ESHAPE no elements",
            "[3] dim=1 !ESHAPE dim 1 is out of range")
SOMA__LINES(min, EXTREME_SAMPLES, "[2,0] dim=1 !ESHAPE dimension 1 of [2, 0] has no elements", "[0] !ESHAPE no elements",
            "[3] dim=1 !ESHAPE dim 1 is out of range")
#define EXTREME_ATTRS SOMA_ATTRS(SOMA__DIM_OR_ALL("dimension; none: all elements, and no indices"), KEEP)
#define EXTREME ONE, .outputs = 1, .many = true, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED, .attrs = EXTREME_ATTRS
static const soma_op max_op = {
    SOMA__COMPOSITE(max), EXTREME,
    .doc = "Along a dimension the largest elements and their indices (i64), the first of equals; without one the largest of all, whose gradient "
           "equals share. NaN is largest. For two tensors see maximum, for several dimensions amax.",
};
static const soma_op min_op = {
    SOMA__COMPOSITE(min), EXTREME,
    .doc = "Along a dimension the smallest elements and their indices (i64), the first of equals; without one the smallest of all, whose gradient "
           "equals share. NaN is smallest. For two tensors see minimum, for several dimensions amin.",
};

static bool aminmax_compose(soma_args *a) {
    int64_t dim = soma__optional_dim(a, 0);
    int n = dim != SOMA_NO_DIM;
    a->out[0] = soma_amin(a->in[0], n, &dim, soma__attr_int(a, 1));
    a->out[1] = soma_amax(a->in[0], n, &dim, soma__attr_int(a, 1));
    return a->out[0] && a->out[1];
}
SOMA__LINES(aminmax, EXTREME_SAMPLES, "[2,0] dim=1 !ESHAPE has no elements", "[3] dim=1 !ESHAPE dim 1 is out of range")
static const soma_op aminmax_op = {
    SOMA__COMPOSITE(aminmax), ONE, .outputs = 2, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED,
    .doc = "The smallest and the largest element along a dimension, or of all.",
    .attrs = SOMA_ATTRS(SOMA__DIM_OR_ALL("dimension; none: all elements"), KEEP),
};

/* ---- argsort, msort, kthvalue ---- */

static bool argsort_compose(soma_args *a) {
    soma_tensor *index;
    return soma__sorted(a->in[0], soma__attr_int(a, 0), soma__attr_int(a, 1), NULL, &index) && soma__return(a, index);
}
SOMA__LINES(argsort, "[7]", "s[3,4] dim=0", "[2,3,4] dim=1 descending=true", "[]", "[0,3]", "[6]=1,2,1,2,1,0 descending=true",
            "[3,4] dim=2 !ESHAPE dim 2 is out of range")
static const soma_op argsort_op = {
    SOMA__COMPOSITE(argsort), ONE, .outputs = 1, .dtypes = SOMA_ANY, .backward = SOMA_NONDIFF,
    .doc = "The indices (i64) that sort x along a dimension; stable, NaN counts as the largest.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension"), SOMA_DEF_BOOL("descending", false, "largest first"),
                        SOMA_DEF_BOOL("stable", true, "always true")),
};
static bool msort_compose(soma_args *a) {
    soma_tensor *values;
    return soma__sorted(a->in[0], 0, false, &values, NULL) && soma__return(a, values);
}
SOMA__LINES(msort, "[7]", "s[3,4]", "[2,3,4]", "[]", "[0,3]", "[4,1]", "!EINVAL takes 1 input, got 0")
static const soma_op msort_op = {
    SOMA__COMPOSITE(msort), ONE, .outputs = 1, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED,
    .doc = "x sorted along its first dimension.",
};

static bool kthvalue_compose(soma_args *a) {
    int64_t k = soma__attr_int(a, 0), dim = soma__attr_int(a, 1);
    soma_tensor *x = a->in[0], *order;
    if (!has_line(a, dim))
        return false;
    int d = soma__dim("kthvalue", dim, x->ndim);
    int64_t n = x->ndim ? x->shape[d] : 1;
    if (k < 1 || k > n) {
        soma_fail(SOMA_EINVAL, "kthvalue: k is %lld, but dimension %d has %lld elements", (long long)k, d, (long long)n);
        return false;
    }
    return soma__sorted(soma_detach(x), dim, false, NULL, &order) && soma__choose(a, x, d, x->ndim ? soma_slice(order, d, k - 1, k, 1) : order,
                                                                                  soma__attr_int(a, 2));
}
SOMA__LINES(kthvalue, "[7] k=3", "s[3,4] k=1 dim=0", "[2,3,4] k=2 dim=1 keepdim=true", "[] k=1", "[3]=2,nan,1 k=2 ~", "[1,4] k=4", "[0,3] k=2",
            "[3] k=4 !EINVAL kthvalue: k is 4, but dimension 0 has 3 elements", "[3] k=0 !EINVAL k is 0", "[3] k=1 dim=1 !ESHAPE dim 1",
            "[2,0] k=1 !ESHAPE has no elements")
static const soma_op kthvalue_op = {
    SOMA__COMPOSITE(kthvalue), ONE, .outputs = 2, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED,
    .doc = "The k-th smallest element along a dimension (k from 1), and its index; the first of equals. NaN counts as the largest.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("k", "1: the smallest"), SOMA_DEF_INT("dim", -1, "dimension"), KEEP),
};

/* ---- median ---- */

static soma_tensor *count_nan(soma_tensor *x, int64_t dim) { return soma_to(soma_sum(soma_isnan(x), SOMA_DIMS(dim), true), SOMA_F64); }

/* Of x [.., n, ..] the place of the lower median in sorted order: among all (that of the first NaN if there is one), or among what is not NaN. */
static soma_tensor *median_place(soma_tensor *x, int64_t dim, int64_t n, bool skip_nan) {
    soma_tensor *nans = count_nan(x, dim), *all = soma_scalar((double)n);
    soma_tensor *place = skip_nan ? soma_floor(soma_mul_scalar(soma_sub(soma_sub(all, nans), soma_scalar(1)), 0.5))
                                  : soma_where(soma_gt(nans, soma_scalar(0)), soma_sub(all, nans), soma_scalar((double)((n - 1) / 2)));
    return soma_to(soma_clamp(place, 0, INFINITY), SOMA_I64);
}

static bool median_of(soma_args *a, bool skip_nan) {
    soma_tensor *x = a->in[0], *order;
    int64_t dim = soma__optional_dim(a, 0);
    bool all = dim == SOMA_NO_DIM;
    if (all) {
        x = soma_flatten(x, 0, -1);
        dim = 0;
        if (x && x->numel == 0)
            return soma__give(a, soma_full(SOMA_SCALAR, (double)NAN, (soma_dtype)x->dtype));
    }
    if (!x || (!all && !has_line(a, dim)))
        return false;
    if (x->ndim == 0)
        return soma__choose(a, x, 0, soma_zeros(SOMA_SCALAR, SOMA_I64), true);
    int d = soma__dim(a->op->name, dim, x->ndim);
    soma_tensor *values = soma_detach(x);
    if (!soma__sorted(values, d, false, NULL, &order))
        return false;
    soma_tensor *index = soma_gather(order, d, median_place(values, d, x->shape[d], skip_nan));
    if (!index || !all)
        return index && soma__choose(a, x, d, index, soma__attr_int(a, 1));
    if (!soma_dtype_is_float((soma_dtype)x->dtype))
        return soma__give(a, soma_select(soma_gather(x, 0, index), 0, 0));
    soma_tensor *same = soma_eq(values, soma_gather(values, 0, index)); /* equals share the gradient, as PyTorch has it */
    same = soma_logical_or(same, soma_logical_and(soma_isnan(values), soma_isnan(soma_gather(values, 0, index))));
    return soma__give(a, soma_amax(soma_masked_fill(x, soma_logical_not(same), -INFINITY), SOMA_ALL, false));
}
static bool median_compose(soma_args *a) { return median_of(a, false); }
static bool nanmedian_compose(soma_args *a) { return median_of(a, true); }
#define MEDIAN_SAMPLES "[7]", "s[3,4] dim=0", "[2,3,4] dim=1 keepdim=true", "[]", "[6]", "[] dim=0", "[5]=2,nan,1,nan,5 dim=0 ~", "[0,3] dim=1", \
    "[5]=2,nan,1,nan,5 ~"
SOMA__LINES(median, MEDIAN_SAMPLES, "[2,0] dim=1 !ESHAPE median: dimension 1 of [2, 0] f32 has no elements",
            "[3] dim=1 !ESHAPE dim 1 is out of range")
SOMA__LINES(nanmedian, MEDIAN_SAMPLES, "[2,0] dim=1 !ESHAPE nanmedian: dimension 1 of [2, 0] f32 has no elements",
            "[3] dim=1 !ESHAPE dim 1 is out of range")
#define MEDIAN ONE, .outputs = 1, .many = true, .dtypes = SOMA_NUMBERS, .backward = SOMA_COMPOSED, \
    .attrs = SOMA_ATTRS(SOMA__DIM_OR_ALL("dimension; none: all elements, and no indices"), KEEP)
static const soma_op median_op = {
    SOMA__COMPOSITE(median), MEDIAN,
    .doc = "The element in the middle along a dimension and its index, or of all elements; the lower one of two (quantile 0.5 takes their mean). NaN "
           "if there is a NaN.",
};
static const soma_op nanmedian_op = {SOMA__COMPOSITE(nanmedian), MEDIAN, .doc = "As median, of the elements that are not NaN; NaN if there are none."};

/* ---- mode ---- */

/* In each sorted line the last element of the longest run of equals, the first of such runs. */
static void find_modes(const soma_tensor *equal, int64_t lines, int64_t n, int64_t *place) {
    const uint8_t *e = equal->data;
    for (int64_t line = 0; line < lines; line++, e += n - 1) {
        int64_t best = 0, run = 0;
        place[line] = 0;
        for (int64_t i = 1; i < n; i++) {
            run = e[i - 1] ? run + 1 : 0;
            if (run > best) {
                best = run;
                place[line] = i;
            }
        }
    }
}

static bool mode_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *values, *order;
    int64_t dim = soma__attr_int(a, 0), last = -1, shape[SOMA_MAX_DIMS];
    if (!has_line(a, dim))
        return false;
    if (x->ndim == 0)
        return soma__choose(a, x, 0, soma_zeros(SOMA_SCALAR, SOMA_I64), true);
    soma_tensor *turned = soma_movedim(soma_detach(x), 1, &dim, &last);
    if (!turned || !soma__sorted(turned, -1, false, &values, &order))
        return false;
    int64_t n = values->shape[x->ndim - 1];
    soma_tensor *equal = soma_contiguous(soma_eq(soma_slice(values, -1, 1, n, 1), soma_slice(values, -1, 0, n - 1, 1)));
    memcpy(shape, values->shape, sizeof shape);
    shape[x->ndim - 1] = 1;
    soma_tensor *place = soma_empty(x->ndim, shape, SOMA_I64);
    if (!equal || !place)
        return false;
    if (place->data)
        find_modes(equal, place->numel, n, place->data);
    return soma__choose(a, x, dim, soma_movedim(soma_gather(order, -1, place), 1, &last, &dim), soma__attr_int(a, 1));
}
SOMA__LINES(mode, "[5]=2,1,2,1,3 ~", "s[3,4] dim=0", "[2,3,4] dim=1 keepdim=true", "[] dim=0", "[6]=5,5,1,1,1,5 ~", "[0,3]", "[4,1]",
            "[2,0] !ESHAPE mode: dimension 1 of [2, 0] f32 has no elements", "[3] dim=1 !ESHAPE dim 1 is out of range")
static const soma_op mode_op = {
    SOMA__COMPOSITE(mode), ONE, .outputs = 2, .dtypes = SOMA_NUMBERS, .backward = SOMA_COMPOSED,
    .doc = "The most frequent element along a dimension, the smallest of several such, and the index of its last occurrence.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension"), KEEP),
};

/* ---- quantile ---- */

typedef enum between { LINEAR, LOWER, HIGHER, NEAREST, MIDPOINT, BETWEEN_COUNT } between;

static bool quantile_args(const soma_args *a, between *way) {
    static const char *const names[] = {"linear", "lower", "higher", "nearest", "midpoint"};
    const char *name = a->attrs[2].value.s;
    const soma_tensor *q = a->in[1];
    char text[SOMA__SHAPE_TEXT];
    for (*way = LINEAR; *way < BETWEEN_COUNT && strcmp(name, names[*way]) != 0;)
        ++*way;
    if (*way == BETWEEN_COUNT)
        soma_fail(SOMA_EINVAL, "%s: interpolation is '%s', expected linear, lower, higher, nearest or midpoint", a->op->name, name);
    else if (q->ndim > 1)
        soma_fail(SOMA_ESHAPE, "%s: q is %s, expected a number or a vector", a->op->name, soma__tensor_text(q, text));
    for (int64_t i = 0; q->data && i < q->numel && !soma__failed(); i++) {
        double v = soma__load((const char *)q->data + i * (q->ndim ? q->stride[0] : 0) * (int64_t)soma_dtype_size((soma_dtype)q->dtype), (soma_dtype)q->dtype);
        if (!(v >= 0 && v <= 1))
            soma_fail(SOMA_EINVAL, "%s: q is %g at position %lld, expected 0 to 1", a->op->name, v, (long long)i);
    }
    return !soma__failed();
}

/* sorted [.., n], rank [.., Q] in [0, n-1] to [.., Q]. */
static soma_tensor *at_rank(soma_tensor *sorted, soma_tensor *rank, between way) {
    bool was = soma_set_grad_enabled(false);
    soma_tensor *low = soma_floor(rank), *high = soma_ceil(rank);
    if (way == NEAREST)
        low = soma_round(rank);
    soma_tensor *low_index = soma_to(low, SOMA_I64), *high_index = soma_to(high, SOMA_I64);
    soma_set_grad_enabled(was);
    if (way == LOWER || way == NEAREST || way == HIGHER)
        return soma_gather(sorted, -1, way == HIGHER ? high_index : low_index);
    soma_tensor *below = soma_gather(sorted, -1, low_index), *above = soma_gather(sorted, -1, high_index);
    soma_tensor *weight = way == MIDPOINT ? soma_scalar(0.5) : soma_sub(rank, low);
    return soma_add(below, soma_mul(weight, soma_sub(above, below)));
}

static bool quantile_of(soma_args *a, bool skip_nan) {
    soma_tensor *x = a->in[0], *q = a->in[1], *sorted;
    between way;
    int64_t dim = soma__optional_dim(a, 0), last = -1, first = 0, shape[SOMA_MAX_DIMS];
    bool keep = soma__attr_int(a, 1) != 0, all = dim == SOMA_NO_DIM;
    if (!quantile_args(a, &way) || (!all && !has_line(a, dim)))
        return false;
    int d = all ? 0 : soma__dim(a->op->name, dim, x->ndim), kept = 0;
    soma_tensor *lines = all || x->ndim == 0 ? soma_flatten(x, 0, -1) : soma_movedim(x, 1, (const int64_t[]){d}, &last);
    if (!lines || (lines->numel == 0 && all)) {
        soma_fail(SOMA_ESHAPE, "%s: x has no elements", a->op->name);
        return false;
    }
    int64_t n = lines->shape[lines->ndim - 1];
    soma_tensor *nans = soma_to(count_nan(soma_detach(lines), -1), (soma_dtype)x->dtype);
    soma_tensor *most = skip_nan ? soma_clamp(soma_sub(soma_scalar((double)n - 1), nans), 0, INFINITY) : soma_scalar((double)n - 1);
    soma_tensor *rank = soma_mul(most, soma_reshape(q, 1, (const int64_t[]){-1}));
    memcpy(shape, lines->shape, sizeof shape);
    shape[lines->ndim - 1] = q->numel;
    rank = soma_expand(rank, lines->ndim, shape);
    if (!skip_nan)
        rank = soma_masked_fill(rank, soma_gt(nans, soma_scalar(0)), (double)n - 1); /* NaN stands there */
    if (!rank || !soma__sorted(lines, -1, false, &sorted, NULL))
        return false;
    soma_tensor *t = soma_movedim(at_rank(sorted, rank, way), 1, &last, &first); /* [Q, others] */
    shape[kept++] = q->numel;
    for (int k = 0; k < x->ndim; k++)
        if (keep || (!all && k != d))
            shape[kept++] = all || k == d ? 1 : x->shape[k];
    if (!t || kept > SOMA_MAX_DIMS)
        return false;
    return soma__return(a, q->ndim ? soma_reshape(t, kept, shape) : soma_reshape(t, kept - 1, shape + 1));
}
static bool quantile_compose(soma_args *a) { return quantile_of(a, false); }
static bool nanquantile_compose(soma_args *a) { return quantile_of(a, true); }
#define QUANTILE_SAMPLES "[7] []=0.3", "s[3,4] [2]=0.1,0.9 dim=0", "[2,3,4] [3]=0.25,0.5,1 dim=1 keepdim=true interpolation='midpoint' ~", \
    "[5] [2]=0.3,0.6 interpolation='midpoint'", "[] []=0.5", "[6] [2]=0.15,0.33 interpolation='lower' ~", \
    "[6] [2]=0.15,0.33 interpolation='higher' ~", "[6] [2]=0.15,0.33 interpolation='nearest' ~", "[2,5] []=0.6 keepdim=true", \
    "[2,3] [2]=0.2,0.7 dim=-1", "[4]=nan,1,2,4 [2]=0.4,0.8 ~"
#define QUANTILE_ERRORS "[3] [2]=0.5,1.5 !EINVAL q is 1.5 at position 1, expected 0 to 1", \
    "[3] []=0.5 interpolation='cubic' !EINVAL interpolation is 'cubic'", "[3] [1,1]=0.5 !ESHAPE q is [1, 1] f32", \
    "[3] []=0.5 dim=1 !ESHAPE dim 1 is out of range", "[2,0] []=0.5 dim=1 !ESHAPE has no elements", "[0] []=0.5 !ESHAPE has no elements"
SOMA__LINES(quantile, QUANTILE_SAMPLES, QUANTILE_ERRORS)
SOMA__LINES(nanquantile, QUANTILE_SAMPLES, QUANTILE_ERRORS)
#define QUANTILE .in = {{.name = "x"}, {.name = "q"}}, .n_in = 2, .outputs = 1, .family = "reduce", .promote = SOMA_PROMOTE_SAME, \
    .dtypes = SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64), .backward = SOMA_COMPOSED, \
    .attrs = SOMA_ATTRS(SOMA__DIM_OR_ALL("dimension; none: all elements"), KEEP,                                                             \
                        SOMA_DEF_STRING("interpolation", "linear", "between two elements: linear, lower, higher, nearest or midpoint"))
static const soma_op quantile_op = {
    SOMA__COMPOSITE(quantile), QUANTILE,
    .doc = "The elements of rank q (n - 1) in sorted order, q in [0, 1], along a dimension or of all; between two by interpolation. A vector of q "
           "adds a first dimension. NaN if there is a NaN.",
};
static const soma_op nanquantile_op = {SOMA__COMPOSITE(nanquantile), QUANTILE, .doc = "As quantile, of the elements that are not NaN; NaN if there are none."};

/* ---- cummax, cummin ---- */

#define RUNNING(NAME, T, IS_NAN)                                                                                     \
    static void NAME(const T *x, int64_t lines, int64_t n, bool smallest, int64_t *index) {                          \
        for (int64_t line = 0; line < lines; line++, x += n, index += n)                                             \
            for (int64_t i = 0, best = 0; i < n; i++) {                                                              \
                bool reach = smallest ? x[i] <= x[best] : x[i] >= x[best];                                           \
                best = IS_NAN(x[i]) || (reach && !IS_NAN(x[best])) ? i : best;                                       \
                index[i] = best;                                                                                     \
            }                                                                                                        \
    }
#define NAN_FLOAT(v) ((v) != (v))
#define NAN_INT(v) false
RUNNING(running_double, double, NAN_FLOAT)
RUNNING(running_int, int64_t, NAN_INT)

static bool running(soma_args *a, bool smallest) {
    soma_tensor *x = a->in[0];
    int64_t dim = soma__attr_int(a, 0), last = -1;
    int d = soma__dim(a->op->name, dim, x->ndim);
    bool floats = soma_dtype_is_float((soma_dtype)x->dtype);
    if (d < 0)
        return false;
    if (x->ndim == 0)
        return soma__choose(a, x, 0, soma_zeros(SOMA_SCALAR, SOMA_I64), true);
    soma_tensor *turned = soma_contiguous(soma_to(soma_movedim(soma_detach(x), 1, &dim, &last), floats ? SOMA_F64 : SOMA_I64));
    soma_tensor *index = turned ? soma_empty(x->ndim, turned->shape, SOMA_I64) : NULL;
    if (!index)
        return false;
    int64_t n = turned->shape[x->ndim - 1], lines = n ? turned->numel / n : 0;
    if (index->data && floats)
        running_double(turned->data, lines, n, smallest, index->data);
    else if (index->data)
        running_int(turned->data, lines, n, smallest, index->data);
    return soma__choose(a, x, dim, soma_contiguous(soma_movedim(index, 1, &last, &dim)), true);
}
static bool cummax_compose(soma_args *a) { return running(a, false); }
static bool cummin_compose(soma_args *a) { return running(a, true); }
#define RUNNING_SAMPLES "[7]", "s[3,4] dim=0", "[2,3,4] dim=1", "[]", "[0,3]", "[3,0]", "[6]=1,1,nan,2,nan,0 ~", "[4,1] dim=-1"
SOMA__LINES(cummax, RUNNING_SAMPLES, "[3,4] dim=2 !ESHAPE cummax: dim 2 is out of range")
SOMA__LINES(cummin, RUNNING_SAMPLES, "[3,4] dim=2 !ESHAPE cummin: dim 2 is out of range")
#define CUM ONE, .outputs = 2, .dtypes = SOMA_ANY, .backward = SOMA_COMPOSED, .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension"))
static const soma_op cummax_op = {
    SOMA__COMPOSITE(cummax), CUM,
    .doc = "The largest element so far along a dimension, and its index, the last of equals. From a NaN on NaN.",
};
static const soma_op cummin_op = {
    SOMA__COMPOSITE(cummin), CUM,
    .doc = "The smallest element so far along a dimension, and its index, the last of equals. From a NaN on NaN.",
};

soma_op_list soma__order_ops = {&soma__sort_op, &max_op, &min_op, &aminmax_op, &argsort_op, &msort_op, &kthvalue_op, &median_op, &nanmedian_op,
                                &mode_op, &quantile_op, &nanquantile_op,
                                &cummax_op, &cummin_op, NULL};

/* ---- The functions of ops.h ---- */

/* Runs an operator with values and indices. */
static soma_status pair(const soma_op *op, soma_tensor *x, const soma_attr *attrs, soma_tensor **values, soma_tensor **indices) {
    soma_tensor *out[2] = {0};
    soma__apply_many(op, &x, 1, attrs, out, 2);
    if (values)
        *values = out[0];
    if (indices)
        *indices = out[1];
    return soma__ctx()->error;
}
static soma_tensor *over_all(const soma_op *op, soma_tensor *x) {
    soma_attr attrs[] = {{.name = "dim", .kind = SOMA_ATTR_INTS}, SOMA_BOOLEAN("keepdim", false)};
    return SOMA__RUN(op, attrs, x);
}
#define ALONG(ID)                                                                                                                     \
    soma_status soma_##ID##_dim(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices) {             \
        soma_attr attrs[] = {SOMA_INTS("dim", dim), SOMA_BOOLEAN("keepdim", keepdim)};                                                \
        return pair(&ID##_op, x, attrs, values, indices);                                                                             \
    }                                                                                                                                 \
    soma_tensor *soma_##ID(soma_tensor *x) { return over_all(&ID##_op, x); }
ALONG(max)
ALONG(min)
ALONG(median)
ALONG(nanmedian)
soma_status soma_aminmax(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **min, soma_tensor **max) {
    soma_attr attrs[] = {SOMA_INTS("dim", dim), SOMA_BOOLEAN("keepdim", keepdim)};
    attrs[0].count = dim != SOMA_NO_DIM;
    return pair(&aminmax_op, x, attrs, min, max);
}
soma_tensor *soma_argsort(soma_tensor *x, int64_t dim, bool descending) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_BOOLEAN("descending", descending), SOMA_BOOLEAN("stable", true)};
    return SOMA__RUN(&argsort_op, attrs, x);
}
soma_tensor *soma_msort(soma_tensor *x) { return SOMA__RUN(&msort_op, NULL, x); }
soma_status soma_kthvalue(soma_tensor *x, int64_t k, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices) {
    soma_attr attrs[] = {SOMA_INT("k", k), SOMA_INT("dim", dim), SOMA_BOOLEAN("keepdim", keepdim)};
    return pair(&kthvalue_op, x, attrs, values, indices);
}
soma_status soma_mode(soma_tensor *x, int64_t dim, bool keepdim, soma_tensor **values, soma_tensor **indices) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_BOOLEAN("keepdim", keepdim)};
    return pair(&mode_op, x, attrs, values, indices);
}
static soma_tensor *run_quantile(const soma_op *op, soma_tensor *x, soma_tensor *q, int64_t dim, bool keepdim, const char *interpolation) {
    soma_attr attrs[] = {SOMA_INTS("dim", dim), SOMA_BOOLEAN("keepdim", keepdim), SOMA_STRING("interpolation", interpolation ? interpolation : "linear")};
    attrs[0].count = dim != SOMA_NO_DIM;
    return SOMA__RUN(op, attrs, x, q);
}
soma_tensor *soma_quantile(soma_tensor *x, soma_tensor *q, int64_t dim, bool keepdim, const char *interpolation) {
    return run_quantile(&quantile_op, x, q, dim, keepdim, interpolation);
}
soma_tensor *soma_nanquantile(soma_tensor *x, soma_tensor *q, int64_t dim, bool keepdim, const char *interpolation) {
    return run_quantile(&nanquantile_op, x, q, dim, keepdim, interpolation);
}
soma_status soma_cummax(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **indices) {
    soma_attr attr = SOMA_INT("dim", dim);
    return pair(&cummax_op, x, &attr, values, indices);
}
soma_status soma_cummin(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **indices) {
    soma_attr attr = SOMA_INT("dim", dim);
    return pair(&cummin_op, x, &attr, values, indices);
}
