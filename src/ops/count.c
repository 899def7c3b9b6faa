/* Counting and searching: unique, bincount, histograms, searchsorted and their like. Results are built here, element by element, because their shape
 * or contents depend on values; none has a gradient. */
#include "ops/shape.h"
#include "ops/sort.h"

#include <math.h>
#include <string.h>

#define COUNTING .family = "count", .backward = SOMA_NONDIFF
#define INDEX_DTYPES (SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32))

/* Elements side by side as f64, or as i64 when they are not floats. */
typedef struct numbers {
    int64_t n;
    const double *f;
    const int64_t *i;
} numbers;

static bool numbers_of(soma_tensor *t, numbers *to) {
    bool floats = t && soma_dtype_is_float((soma_dtype)t->dtype);
    t = t ? soma_contiguous(soma_to(soma_detach(t), floats ? SOMA_F64 : SOMA_I64)) : NULL;
    if (!t)
        return false;
    *to = (numbers){.n = t->numel, .f = floats ? t->data : NULL, .i = floats ? NULL : t->data};
    return true;
}

/* ---- unique ---- */

/* Rows a and b of m numbers: -1, 0, 1; NaN comes last and equals nothing. */
static int compare_rows(const numbers *v, int64_t m, int64_t a, int64_t b) {
    for (int64_t k = 0; k < m; k++) {
        if (v->i) {
            int64_t x = v->i[a * m + k], y = v->i[b * m + k];
            if (x != y)
                return x < y ? -1 : 1;
            continue;
        }
        double x = v->f[a * m + k], y = v->f[b * m + k];
        if (!(x == y))
            return x < y || (y != y && x == x) ? -1 : 1;
    }
    return 0;
}

/* Stable merging from runs of 1 on; returns where the result is. */
static int64_t *merge_sort(const numbers *v, int64_t m, int64_t *order, int64_t *spare, int64_t n) {
    for (int64_t run = 1; run < n; run *= 2) {
        for (int64_t from = 0; from < n; from += 2 * run) {
            int64_t middle = SOMA_MIN(from + run, n), end = SOMA_MIN(from + 2 * run, n), i = from, k = middle, at = from;
            while (at < end)
                spare[at++] = k >= end || (i < middle && compare_rows(v, m, order[i], order[k]) <= 0) ? order[i++] : order[k++];
        }
        int64_t *swap = order;
        order = spare;
        spare = swap;
    }
    return order;
}

/* The rows of `v` in their order as groups of equals: gives the first row of each, then as wanted every row's group and the groups' sizes. */
static bool give_groups(soma_args *a, soma_tensor *x, int64_t dim, const numbers *v, int64_t m, const int64_t *order, int64_t n,
                        soma_tensor *inverse, bool counts) {
    soma_tensor *first = soma_empty(1, &n, SOMA_I64), *size = soma_empty(1, &n, SOMA_I64);
    int64_t groups = 0;
    if (!first || !size)
        return false;
    for (int64_t i = 0; i < n; i++) {
        bool fresh = i == 0 || compare_rows(v, m, order[i - 1], order[i]) != 0;
        if (fresh) {
            ((int64_t *)first->data)[groups] = order[i];
            ((int64_t *)size->data)[groups++] = 0;
        }
        ((int64_t *)size->data)[groups - 1]++;
        if (inverse)
            ((int64_t *)inverse->data)[order[i]] = groups - 1;
    }
    return soma__give(a, soma_index_select(x, dim, soma_slice(first, 0, 0, groups, 1))) && (!inverse || soma__give(a, inverse)) &&
           (!counts || soma__give(a, soma_clone(soma_slice(size, 0, 0, groups, 1))));
}

/* Attributes from `first` on: return_inverse, return_counts, dim. */
static bool unique_of(soma_args *a, int first, bool sorted) {
    soma_tensor *x = a->in[0], *rows;
    bool all = a->attrs[first + 2].count == 0;
    int64_t dim = all ? 0 : a->attrs[first + 2].value.ints[0], zero = 0;
    if (!soma__has_values(a) || (!all && (dim = soma__dim(a->op->name, dim, x->ndim)) < 0))
        return false;
    if (all || x->ndim == 0)
        x = soma_flatten(x, 0, -1);
    rows = x ? soma_movedim(x, 1, &dim, &zero) : NULL;
    numbers v;
    if (!rows || !numbers_of(rows, &v))
        return false;
    int64_t n = rows->shape[0], m = n ? rows->numel / n : 0;
    soma_tensor *order = soma_empty(1, &n, SOMA_I64), *spare = soma_empty(1, &n, SOMA_I64), *inverse = NULL;
    if (soma__attr_int(a, first))
        inverse = all ? soma_empty(a->in[0]->ndim, a->in[0]->shape, SOMA_I64) : soma_empty(1, &n, SOMA_I64);
    if (!order || !spare || (soma__attr_int(a, first) && !inverse))
        return false;
    int64_t *o = order->data;
    for (int64_t i = 0; i < n; i++)
        o[i] = i;
    if (sorted && m == 1) {
        if (!soma__sorted(rows->ndim > 1 ? soma_flatten(rows, 0, -1) : rows, 0, false, NULL, &order))
            return false;
        o = order->data;
    } else if (sorted) {
        o = merge_sort(&v, m, o, spare->data, n);
    }
    return give_groups(a, x, dim, &v, m, o, n, inverse, soma__attr_int(a, first + 1));
}
static bool unique_compose(soma_args *a) { return unique_of(a, 1, true); }
static bool unique_consecutive_compose(soma_args *a) { return unique_of(a, 0, false); }
#define UNIQUE_SAMPLES "[7]=1,2,1,1,3,2,2", "s[2,3]=1,1,2,2,2,1 return_inverse=true", \
    "[3,2]=1,2,0,5,1,2 dim=0 return_inverse=true return_counts=true", "[2,4]=1,1,0,1,2,2,3,2 dim=1 return_counts=true", "[]", "[0]", \
    "[4]=nan,1,nan,1 return_counts=true", "[0,2] dim=0"
SOMA__LINES(unique, UNIQUE_SAMPLES, "[2] dim=1 !ESHAPE unique: dim 1 is out of range")
SOMA__LINES(unique_consecutive, UNIQUE_SAMPLES, "[2] dim=1 !ESHAPE unique_consecutive: dim 1 is out of range")
#define UNIQUE_ATTRS SOMA_DEF_BOOL("return_inverse", false, "also the number of each element's group"), \
    SOMA_DEF_BOOL("return_counts", false, "also the sizes of the groups"), \
                     SOMA_DEF_INTS("dim", "compare what lies along this dimension; none: all elements", 0, 0)
#define UNIQUE COUNTING, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .many = true, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME
static const soma_op unique_op = {
    SOMA__COMPOSITE(unique), UNIQUE, .onnx = "Unique",
    .doc = "The different elements (rows, columns … along dim), sorted; each NaN counts as different. As asked for also each element's group and the "
           "sizes of the groups.",
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("sorted", true, "always true"), UNIQUE_ATTRS),
};
static const soma_op unique_consecutive_op = {
    SOMA__COMPOSITE(unique_consecutive), UNIQUE,
    .doc = "The first element of each run of equals, in their order. As asked for also each element's run and the lengths of the runs.",
    .attrs = SOMA_ATTRS(UNIQUE_ATTRS),
};
static soma_status run_unique(const soma_op *op, soma_tensor *x, const soma_attr *attrs, soma_tensor **values, soma_tensor **inverse, soma_tensor **counts) {
    soma_tensor *out[3] = {0};
    soma__apply_many(op, &x, 1, attrs, out, 3);
    *values = out[0];
    if (inverse)
        *inverse = out[1];
    if (counts)
        *counts = out[inverse ? 2 : 1];
    return soma__ctx()->error;
}
soma_status soma_unique(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **inverse, soma_tensor **counts) {
    soma_attr attrs[] = {SOMA_BOOLEAN("sorted", true), SOMA_BOOLEAN("return_inverse", inverse != NULL),
                         SOMA_BOOLEAN("return_counts", counts != NULL), SOMA_INTS("dim", dim)};
    attrs[3].count = dim != SOMA_NO_DIM;
    return run_unique(&unique_op, x, attrs, values, inverse, counts);
}
soma_status soma_unique_consecutive(soma_tensor *x, int64_t dim, soma_tensor **values, soma_tensor **inverse, soma_tensor **counts) {
    soma_attr attrs[] = {SOMA_BOOLEAN("return_inverse", inverse != NULL), SOMA_BOOLEAN("return_counts", counts != NULL), SOMA_INTS("dim", dim)};
    attrs[2].count = dim != SOMA_NO_DIM;
    return run_unique(&unique_consecutive_op, x, attrs, values, inverse, counts);
}

/* ---- bincount ---- */

static bool bincount_compose(soma_args *a) {
    numbers v, w = {0};
    soma_tensor *x = a->in[0], *weights = a->in[1];
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    int64_t bins = soma__attr_int(a, 0);
    if (!soma__has_values(a) || !numbers_of(x, &v) || (weights && !numbers_of(soma_to(weights, SOMA_F64), &w)))
        return false;
    if (x->ndim != 1 || (weights && !soma__same_shape(x, weights)) || bins < 0) {
        soma_fail(SOMA_ESHAPE, "bincount: x is %s, weights %s, minlength %lld; expected a vector, weights like it and 0 or more",
                  soma__tensor_text(x, one), soma__tensor_text(weights, two), (long long)bins);
        return false;
    }
    for (int64_t i = 0; i < v.n; i++) {
        if (v.i[i] < 0 || v.i[i] > INT32_MAX) {
            soma_fail(SOMA_EINVAL, "bincount: %lld at position %lld, expected 0 to 2147483647", (long long)v.i[i], (long long)i);
            return false;
        }
        bins = SOMA_MAX(bins, v.i[i] + 1);
    }
    soma_tensor *t = soma_zeros(1, &bins, w.f ? SOMA_F64 : SOMA_I64);
    for (int64_t i = 0; t && i < v.n; i++)
        if (w.f)
            ((double *)t->data)[v.i[i]] += w.f[i];
        else
            ((int64_t *)t->data)[v.i[i]]++;
    return soma__return(a, w.f && weights->dtype == SOMA_F32 ? soma_to(t, SOMA_F32) : t);
}
SOMA__LINES(bincount, "i[5]=1,3,1,0,1", "i[2]=2,0 [2]=0.5,1.5", "I[9]<6 - minlength=8", "i[0]", "i[0] - minlength=3", "si[6]<4 [6]@0.3:3 minlength=2",
            "i[2]=1,-2 !EINVAL bincount: -2 at position 1", "i[2,2] !ESHAPE bincount: x is [2, 2] i64",
            "i[2]=1,2 [3] !ESHAPE expected a vector, weights like it")
static const soma_op bincount_op = {
    SOMA__COMPOSITE(bincount), COUNTING,
    .in = {{.name = "x", .apart = true, .dtypes = SOMA_INTEGERS}, {.name = "weights", .optional = true, .apart = true, .dtypes = SOMA_NUMBERS}},
    .n_in = 2, .outputs = 1, .dtypes = SOMA_INTEGERS, .promote = SOMA_PROMOTE_NONE,
    .doc = "How often each number from 0 on occurs in a vector of integers (i64), or the sum of the weights where it occurs (f32 for f32, else f64).",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("minlength", 0, "least size of the result")),
};
soma_tensor *soma_bincount(soma_tensor *x, soma_tensor *weights, int64_t minlength) {
    soma_attr attr = SOMA_INT("minlength", minlength);
    return SOMA__RUN(&bincount_op, &attr, x, weights);
}

/* ---- Histograms ---- */

/* Edges from low to high; with low = high from the data's smallest to its largest, or `room` below and above where these are equal too. */
static bool limits(const char *op, const numbers *v, int64_t bins, double room, double *low, double *high) {
    if (bins < 1 || bins > INT32_MAX) {
        soma_fail(SOMA_EINVAL, "%s: %lld bins, expected 1 or more", op, (long long)bins);
        return false;
    }
    if (*low == *high && v->n > 0) {
        *low = *high = v->f[0];
        for (int64_t i = 1; i < v->n; i++) {
            *low = v->f[i] < *low || v->f[i] != v->f[i] ? v->f[i] : *low;
            *high = v->f[i] > *high || v->f[i] != v->f[i] ? v->f[i] : *high;
        }
    }
    if (*low == *high) {
        *low -= room;
        *high += room;
    }
    if (isfinite(*low) && isfinite(*high) && *low <= *high)
        return true;
    soma_fail(SOMA_EINVAL, "%s: the range from %g to %g makes no sense", op, *low, *high);
    return false;
}

static bool histc_compose(soma_args *a) {
    numbers v;
    int64_t bins = soma__attr_int(a, 0);
    double low = soma__attr_float(a, 1), high = soma__attr_float(a, 2);
    soma_tensor *t = soma_zeros(1, &bins, SOMA_F64);
    if (!t || soma__ctx()->shapes_only)
        return soma__return(a, soma_to(t, soma_dtype_of(a->in[0])));
    if (!numbers_of(a->in[0], &v) || !limits("histc", &v, bins, 1, &low, &high))
        return false;
    for (int64_t i = 0; i < v.n; i++)
        if (v.f[i] >= low && v.f[i] <= high) {
            int64_t at = (int64_t)((v.f[i] - low) / (high - low) * (double)bins);
            ((double *)t->data)[SOMA_MIN(at, bins - 1)]++;
        }
    return soma__return(a, soma_to(t, (soma_dtype)a->in[0]->dtype));
}
SOMA__LINES(histc, "[20]@-3:3 bins=4", "s[3,4]@-3:3 bins=3 min=-1 max=1", "[5]@-3:3 bins=2 min=0 max=0", "[3]=1,1,1 bins=3",
            "[5]=0,1,2,3,4 bins=4 min=0 max=4", "[]@-3:3 bins=1", "[0] bins=3", "[3] bins=0 !EINVAL histc: 0 bins",
            "[3] bins=2 min=3 max=1 !EINVAL the range from 3 to 1 makes no sense", "[2]=1,nan bins=2 !EINVAL makes no sense")
static const soma_op histc_op = {
    SOMA__COMPOSITE(histc), COUNTING, .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .dtypes = SOMA_FLOATS, .promote = SOMA_PROMOTE_SAME,
    .doc = "How many elements fall into each of `bins` equal parts between min and max (the data's own when both are 0), in x's dtype. Each part "
           "includes its lower edge, the last one both; others do not count.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("bins", 100, "number of parts"), SOMA_DEF_FLOAT("min", 0, "lower end"), SOMA_DEF_FLOAT("max", 0, "upper end")),
};
soma_tensor *soma_histc(soma_tensor *x, int64_t bins, double min, double max) {
    soma_attr attrs[] = {SOMA_INT("bins", bins), SOMA_FLOAT("min", min), SOMA_FLOAT("max", max)};
    return SOMA__RUN(&histc_op, attrs, x);
}

/* How many of the n sorted elements from `at` on come before value i of v: those below it, or with `right` not above it. NaN comes last. */
static int64_t place_of(const numbers *s, int64_t at, int64_t n, const numbers *v, int64_t i, bool right) {
    int64_t low = at, high = at + n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        bool stop = s->i ? (right ? s->i[middle] > v->i[i] : s->i[middle] >= v->i[i]) : (right ? s->f[middle] > v->f[i] : s->f[middle] >= v->f[i]);
        if (stop)
            high = middle;
        else
            low = middle + 1;
    }
    return low - at;
}

static soma_tensor *edges_of(soma_args *a, const numbers *v) {
    soma_tensor *bins = a->in[1];
    char text[SOMA__SHAPE_TEXT];
    double low = soma__attr_float(a, 1), high = soma__attr_float(a, 2);
    if (low == high && v->n == 0) { /* PyTorch's for no data at all */
        low = 0;
        high = 1;
    }
    if (!bins)
        return limits("histogram", v, soma__attr_int(a, 0), 0.5, &low, &high) ? soma_linspace(low, high, soma__attr_int(a, 0) + 1, SOMA_F64) : NULL;
    if (bins->ndim != 1 || bins->numel < 2) {
        soma_fail(SOMA_ESHAPE, "histogram: bins is %s, expected a vector of two edges or more", soma__tensor_text(bins, text));
        return NULL;
    }
    bins = soma_contiguous(soma_to(soma_detach(bins), SOMA_F64));
    for (int64_t i = 1; bins && i < bins->numel; i++)
        if (!(((double *)bins->data)[i] > ((double *)bins->data)[i - 1])) {
            soma_fail(SOMA_EINVAL, "histogram: the edge %g at position %lld does not rise", ((double *)bins->data)[i], (long long)i);
            return NULL;
        }
    return bins;
}
static bool histogram_compose(soma_args *a) {
    numbers v, w = {0}, e;
    soma_tensor *x = a->in[0], *weight = a->in[2], *edges;
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    if (weight && !soma__same_shape(x, weight)) {
        soma_fail(SOMA_ESHAPE, "histogram: weight is %s, expected the shape of x, %s", soma__tensor_text(weight, one), soma__tensor_text(x, two));
        return false;
    }
    if (!soma__has_values(a) || !numbers_of(x, &v) || (weight && !numbers_of(weight, &w)) || !(edges = edges_of(a, &v)) || !numbers_of(edges, &e))
        return false;
    int64_t bins = e.n - 1;
    soma_tensor *hist = soma_zeros(1, &bins, SOMA_F64);
    double total = 0;
    for (int64_t i = 0; hist && i < v.n; i++) {
        if (!(v.f[i] >= e.f[0] && v.f[i] <= e.f[bins]))
            continue;
        int64_t at = SOMA_MIN(place_of(&e, 0, e.n, &v, i, true) - 1, bins - 1);
        ((double *)hist->data)[at] += w.f ? w.f[i] : 1;
        total += w.f ? w.f[i] : 1;
    }
    for (int64_t b = 0; hist && soma__attr_int(a, 3) && b < bins; b++)
        ((double *)hist->data)[b] /= total * (e.f[b + 1] - e.f[b]);
    a->out[0] = soma_to(hist, (soma_dtype)x->dtype);
    a->out[1] = soma_to(edges, (soma_dtype)x->dtype);
    return a->out[0] && a->out[1];
}
SOMA__LINES(histogram, "[20]@-3:3 - bins=4", "s[3,4]@-3:3 [4]=-2,0,0.5,2", "[5]@-3:3 - [5]@0.3:3 bins=2 density=true", "[3]=1,1,1 - bins=3",
            "[5]=0,1,2,3,4 - bins=4 range_min=0 range_max=4", "[]@-3:3 - bins=1", "[6]@-3:3 - bins=3 range_min=-1 range_max=2 density=true",
            "[3] - bins=0 !EINVAL histogram: 0 bins", "[3] [2]=1,1 !EINVAL the edge 1 at position 1 does not rise",
            "[3] [1]=1 !ESHAPE bins is [1] f32, expected a vector of two edges", "[3] - [2] !ESHAPE weight is [2] f32, expected the shape of x")
static const soma_op histogram_op = {
    SOMA__COMPOSITE(histogram), COUNTING, .in = {{.name = "x"}, {.name = "bins", .optional = true}, {.name = "weight", .optional = true}}, .n_in = 3,
    .outputs = 2, .dtypes = SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64), .promote = SOMA_PROMOTE_SAME,
    .doc = "How many elements (or how much weight) lie between neighbouring edges, and the edges: those given as a rising vector, or `bins` equal "
           "parts between range_min and range_max (PyTorch's range; the data's own when both are equal). Each part includes its lower edge, the last "
           "one both.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("bins", 100, "number of parts, when no edges are given"), SOMA_DEF_FLOAT("range_min", 0, "lower end"),
                        SOMA_DEF_FLOAT("range_max", 0, "upper end"), SOMA_DEF_BOOL("density", false, "divide by the total and by each width")),
};
soma_status soma_histogram(soma_tensor *x, soma_tensor *edges, int64_t bins, soma_tensor *weight, bool density, soma_tensor **hist, soma_tensor **bin_edges) {
    soma_attr attrs[] = {SOMA_INT("bins", bins), SOMA_FLOAT("range_min", 0), SOMA_FLOAT("range_max", 0), SOMA_BOOLEAN("density", density)};
    soma_tensor *out[2] = {0}, *in[] = {x, edges, weight};
    soma__apply_many(&histogram_op, in, 3, attrs, out, 2);
    *hist = out[0];
    if (bin_edges)
        *bin_edges = out[1];
    return soma__ctx()->error;
}

/* ---- searchsorted, bucketize, isin ---- */

/* `right` and `out_int32` are attributes 1 and 0. */
static bool search(soma_args *a, soma_tensor *sequence, soma_tensor *values, bool right) {
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    bool fits = sequence->ndim == 1 || (sequence->ndim == values->ndim && sequence->ndim > 0);
    for (int d = 0; fits && sequence->ndim > 1 && d < sequence->ndim - 1; d++)
        fits = sequence->shape[d] == values->shape[d];
    if (!fits) {
        soma_fail(SOMA_ESHAPE, "%s: the sequence is %s and the values are %s; expected a vector, or equal sizes but for the last", a->op->name,
                  soma__tensor_text(sequence, one), soma__tensor_text(values, two));
        return false;
    }
    numbers s, v;
    soma_tensor *t = soma_empty(values->ndim, values->shape, SOMA_I64);
    if (!t || !numbers_of(sequence, &s) || !numbers_of(values, &v))
        return false;
    int64_t n = sequence->shape[sequence->ndim - 1], k = values->ndim ? values->shape[values->ndim - 1] : 1;
    for (int64_t i = 0; t->data && i < v.n; i++)
        ((int64_t *)t->data)[i] = place_of(&s, sequence->ndim == 1 ? 0 : i / k * n, n, &v, i, right);
    return soma__return(a, soma__attr_int(a, 0) ? soma_to(t, SOMA_I32) : t);
}
static bool searchsorted_compose(soma_args *a) {
    const char *side = a->attrs[2].value.s;
    bool right = soma__attr_int(a, 1) || strcmp(side, "right") == 0;
    if ((*side && !right && strcmp(side, "left") != 0) || (soma__attr_int(a, 1) && strcmp(side, "left") == 0)) {
        soma_fail(SOMA_EINVAL, "searchsorted: side is '%s' and right is %s; expected 'left' or 'right', and no contradiction", side,
                  soma__attr_int(a, 1) ? "true" : "false");
        return false;
    }
    return search(a, a->in[0], a->in[1], right);
}
static bool bucketize_compose(soma_args *a) { return search(a, a->in[1], a->in[0], soma__attr_int(a, 1)); }
SOMA__LINES(searchsorted, "[4]=0,1,1,2 [4]=1,5,-1,2", "s[4]=0,1,1,2 s[2,3]@-3:3 right=true", "[2,3]=0,1,2,-1,0,1 [2,4]@-3:3 out_int32=true",
            "[3]=0,1,2 []@-3:3", "[0] [2]@-3:3", "[3]=0,1,2 [0] side='right'", "[3]=0,1,2 [2]=nan,1 side='left'",
            "[2,3] [3,2] !ESHAPE searchsorted: the sequence is [2, 3] f32 and the values are [3, 2] f32",
            "[3] [2] side='middle' !EINVAL side is 'middle'", "[3] [2] side='left' right=true !EINVAL no contradiction")
SOMA__LINES(bucketize, "[4]=1,5,-1,2 [4]=0,1,1,2", "s[2,3]@-3:3 s[4]=0,1,1,2 right=true", "[2,4]@-3:3 [2]=0,1 out_int32=true", "[]@-3:3 [3]=0,1,2",
            "[2]@-3:3 [0]", "[0] [3]=0,1,2", "[2] [2,2] !ESHAPE bucketize: the sequence is [2, 2] f32")
#define SEARCH COUNTING, .n_in = 2, .outputs = 1, .dtypes = SOMA_NUMBERS, .promote = SOMA_PROMOTE_SAME
#define SEARCH_ATTRS SOMA_DEF_BOOL("out_int32", false, "i32 instead of i64"), SOMA_DEF_BOOL("right", false, "behind equals instead of before them")
static const soma_op searchsorted_op = {
    SOMA__COMPOSITE(searchsorted), SEARCH, .in = {{.name = "sorted_sequence"}, {.name = "values"}},
    .doc = "The places (i64) where values would have to be put in, for sequences along the last dimension to stay in order; before equals, with "
           "right behind them. One vector serves all values.",
    .attrs = SOMA_ATTRS(SEARCH_ATTRS,
                        SOMA_DEF_STRING("side", "", "'left' or 'right': the same as right, by name")),
};
static const soma_op bucketize_op = {
    SOMA__COMPOSITE(bucketize), SEARCH, .in = {{.name = "x"}, {.name = "boundaries"}},
    .doc = "The number (i64) of the bucket that each element falls into: i where boundaries[i-1] < x <= boundaries[i], with right where "
           "boundaries[i-1] <= x < boundaries[i].",
    .attrs = SOMA_ATTRS(SEARCH_ATTRS),
};
soma_tensor *soma_searchsorted(soma_tensor *sorted_sequence, soma_tensor *values, bool right) {
    soma_attr attrs[] = {SOMA_BOOLEAN("out_int32", false), SOMA_BOOLEAN("right", right), SOMA_STRING("side", "")};
    return SOMA__RUN(&searchsorted_op, attrs, sorted_sequence, values);
}
soma_tensor *soma_bucketize(soma_tensor *x, soma_tensor *boundaries, bool right) {
    soma_attr attrs[] = {SOMA_BOOLEAN("out_int32", false), SOMA_BOOLEAN("right", right)};
    return SOMA__RUN(&bucketize_op, attrs, x, boundaries);
}

static bool isin_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *set, *t = soma_empty(x->ndim, x->shape, SOMA_BOOL);
    bool invert = soma__attr_int(a, 1) != 0;
    numbers s, v;
    if (!t || !soma__sorted(soma_flatten(soma_detach(a->in[1]), 0, -1), 0, false, &set, NULL) || !numbers_of(set, &s) || !numbers_of(x, &v))
        return false;
    for (int64_t i = 0; t->data && i < v.n; i++) {
        int64_t at = place_of(&s, 0, s.n, &v, i, false);
        ((uint8_t *)t->data)[i] = (at < s.n && (s.i ? s.i[at] == v.i[i] : s.f[at] == v.f[i])) != invert;
    }
    return soma__return(a, t);
}
SOMA__LINES(isin, "[3]=1,2,3 [2]=2,5", "s[2,3]=0,1,2,0,1,2 [2,2]=1,0,9,9 invert=true", "[]@-3:3 [3]@-3:3", "[0] [2]@-3:3", "[3]@-3:3 [0]",
            "[2]=nan,1 [2]=nan,1", "[3] !EINVAL takes 2 inputs, got 1")
static const soma_op isin_op = {
    SOMA__COMPOSITE(isin), COUNTING, .in = {{.name = "elements"}, {.name = "test_elements"}}, .n_in = 2, .outputs = 1, .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME,
    .doc = "For each element whether it is one of test_elements (bool); NaN never is.",
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("assume_unique", false, "no matter here"), SOMA_DEF_BOOL("invert", false, "whether it is none of them")),
};
soma_tensor *soma_isin(soma_tensor *elements, soma_tensor *test_elements, bool invert) {
    soma_attr attrs[] = {SOMA_BOOLEAN("assume_unique", false), SOMA_BOOLEAN("invert", invert)};
    return SOMA__RUN(&isin_op, attrs, elements, test_elements);
}

soma_op_list soma__count_ops = {&unique_op, &unique_consecutive_op, &bincount_op, &histc_op, &histogram_op, &searchsorted_op, &bucketize_op, &isin_op, NULL};
