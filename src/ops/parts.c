/* Tensors taken apart, put together and put in another order: composites of views, cat and index_select. Those that give
 * several tensors write as many as there are. */
#include "ops/shape.h"

#include <string.h>

#define ONE .in = {{.name = "x"}}, .n_in = 1, .family = "shape", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED
#define LIST .in = {{.name = "tensors"}}, .n_in = 1, .variadic = true, .family = "shape", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, \
    .backward = SOMA_COMPOSED

/* dim of x, which must have dimensions; -1 with the error recorded. */
static int dim_of(const char *op, const soma_tensor *x, int64_t dim) {
    if (x->ndim > 0)
        return soma__dim(op, dim, x->ndim);
    soma_fail(SOMA_ESHAPE, "%s: x has no dimensions", op);
    return -1;
}

static bool ints_are(const char *op, const soma_attr *a, int n) {
    if (a->count == n)
        return true;
    soma_fail(SOMA_EINVAL, "%s: attribute '%s' has %d numbers, expected %d", op, a->name, a->count, n);
    return false;
}

/* ---- Another shape ---- */

static bool view_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *t = soma_reshape(x, a->attrs[0].count, a->attrs[0].value.ints);
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (t && t->storage != x->storage) {
        soma_fail(SOMA_ESHAPE, "view: the elements of %s do not lie so that %s can share them; soma_reshape copies then",
                  soma__tensor_text(x, have), soma__shape_text(t->ndim, t->shape, want, sizeof want));
        return false;
    }
    return soma__return(a, t);
}
SOMA__LINES(view, "[3,4] shape=3,2,2", "[6] shape=-1,2", "[2,1,6] shape=2,1,2,-1", "[] shape=1,1", "[0,3] shape=3,0", "s[4,3] shape=2,2,3,1",
            "[5] shape=5,1", "s[3,4] shape=12, !ESHAPE view: the elements of [3, 4] f32 do not lie",
            "[3,4] shape=5,-1 !ESHAPE do not fit shape [5, -1]")
static const soma_op view_op = {
    SOMA__COMPOSITE(view), ONE, .outputs = 1, .onnx = "Reshape",
    .doc = "The same storage seen in another shape; one size may be -1. An error where that would need a copy: reshape makes one.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("shape", "sizes of the result; one may be -1")),
};

static bool ravel_compose(soma_args *a) { return soma__return(a, soma_flatten(a->in[0], 0, -1)); }
SOMA__LINES(ravel, "[3,4]", "s[3,4]", "[]", "[0,2]", "[2,1,3]", "[5]", "!EINVAL takes 1 input, got 0")
static const soma_op ravel_op = {SOMA__COMPOSITE(ravel), ONE, .outputs = 1, .onnx = "Reshape",
                                 .doc = "All elements in row-major order in one dimension. A view when the strides allow it."};

static bool unflatten_compose(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const soma_attr *sizes = &a->attrs[1];
    int64_t shape[2 * SOMA_MAX_DIMS], known = 1;
    int dim = dim_of("unflatten", x, soma__attr_int(a, 0)), n = 0, open = -1;
    if (dim < 0)
        return false;
    for (int d = 0; d < x->ndim; d++) {
        if (d != dim) {
            shape[n++] = x->shape[d];
            continue;
        }
        for (int k = 0; k < sizes->count; k++, n++) {
            shape[n] = sizes->value.ints[k];
            if (shape[n] == -1 && open < 0)
                open = n;
            else if (shape[n] < 0 || !soma__mul_ok(known, shape[n], &known))
                known = -1;
            known = known < 0 ? INT64_MIN : known;
        }
    }
    if (open >= 0 && known > 0)
        shape[open] = x->shape[dim] / known;
    bool fits = open >= 0 ? known > 0 && x->shape[dim] % known == 0 : known == x->shape[dim];
    char text[SOMA__SHAPE_TEXT];
    if (!fits || sizes->count == 0 || n > SOMA_MAX_DIMS) {
        soma_fail(SOMA_ESHAPE, "unflatten: dimension %d of size %lld does not fall into %s", dim, (long long)x->shape[dim],
                  soma__shape_text(sizes->count, sizes->value.ints, text, sizeof text));
        return false;
    }
    return soma__return(a, soma_reshape(a->in[0], n, shape));
}
SOMA__LINES(unflatten, "[6,2] dim=0 sizes=2,3", "s[3,4] dim=1 sizes=-1,2", "[2,6] dim=-1 sizes=3,1,2", "[4] dim=0 sizes=4,", "[0,3] dim=0 sizes=0,2",
            "[5] dim=0 sizes=5,1", "[6,2] dim=0 sizes=4,-1 !ESHAPE dimension 0 of size 6 does not fall into [4, -1]",
            "[6] dim=0 sizes=2,2 !ESHAPE does not fall into [2, 2]", "[6] dim=1 sizes=2,3 !ESHAPE dim 1 is out of range")
static const soma_op unflatten_op = {
    SOMA__COMPOSITE(unflatten), ONE, .outputs = 1, .onnx = "Reshape", .doc = "One dimension as several; one of their sizes may be -1. The inverse of flatten.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dim", "dimension"), SOMA_NEED_INTS("sizes", "what it becomes; one may be -1")),
};

static bool movedim_compose(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const soma_attr *from = &a->attrs[0], *to = &a->attrs[1];
    int64_t order[SOMA_MAX_DIMS];
    uint32_t moved = 0, taken = 0;
    if (!ints_are("movedim", to, from->count) || (from->count && (!soma__dim_mask("movedim", from->count, from->value.ints, x->ndim, &moved) ||
                                                                 !soma__dim_mask("movedim", to->count, to->value.ints, x->ndim, &taken))))
        return false;
    for (int k = 0; k < from->count && x->ndim; k++)
        order[soma__dim("movedim", to->value.ints[k], x->ndim)] = soma__dim("movedim", from->value.ints[k], x->ndim);
    for (int d = 0, next = 0; d < x->ndim; d++) {
        if (taken >> d & 1)
            continue;
        while (moved >> next & 1)
            next++;
        order[d] = next++;
    }
    return soma__return(a, soma_permute(a->in[0], x->ndim, order));
}
SOMA__LINES(movedim, "[2,3,4] source=0, destination=2,", "s[2,3] source=-1, destination=0,", "[2,3,4] source=0,1 destination=2,0",
            "[2,1,3,2] source=3,0 destination=0,1", "[0,2] source=0, destination=1,", "[] source= destination=",
            "[2,3] source=0,1 destination=0, !EINVAL attribute 'destination' has 1 numbers, expected 2",
            "[2,3] source=2, destination=0, !ESHAPE dim 2 is out of range", "[2,3] source=0,0 destination=0,1 !ESHAPE named twice")
static const soma_op movedim_op = {
    SOMA__COMPOSITE(movedim), ONE, .outputs = 1, .onnx = "Transpose", .doc = "A view with some dimensions moved to other places; the others keep their order.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("source", "dimensions that move"), SOMA_NEED_INTS("destination", "their places in the result")),
};

static bool broadcast_to_compose(soma_args *a) { return soma__return(a, soma_expand(a->in[0], a->attrs[0].count, a->attrs[0].value.ints)); }
SOMA__LINES(broadcast_to, "[3,1] shape=3,4", "s[1,3] shape=2,4,3", "[] shape=2,3", "[1] shape=0,", "[2,3] shape=2,3", "[1,2,1] shape=3,2,2",
            "[3,4] shape=3,5 !ESHAPE does not expand to [3, 5]", "[3,4] shape=4, !ESHAPE does not expand to [4]")
static const soma_op broadcast_to_op = {
    SOMA__COMPOSITE(broadcast_to), ONE, .outputs = 1, .onnx = "Expand",
    .doc = "A view of x broadcast to a shape: sizes of 1 repeat, new dimensions come first.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("shape", "sizes of the result")),
};

/* 0-d to [1, 1, 1], [n] to [1, n, 1], [m, n] to [m, n, 1], cut to what is asked for. */
static soma_tensor *at_least(soma_tensor *x, int n) {
    if (x->ndim >= n)
        return x;
    int64_t size = x->ndim == 1 ? x->shape[0] : 1;
    if (x->ndim == 2)
        return soma_unsqueeze(x, 2);
    return n == 1 ? soma_reshape(x, 1, &size) : soma_reshape(x, n, (const int64_t[]){1, size, 1});
}
#define AT_LEAST(N, TO)                                                                                                                          \
    static bool atleast_##N##d_compose(soma_args *a) { return soma__return(a, at_least(a->in[0], N)); }                                         \
    SOMA__LINES(atleast_##N##d, "[]", "[4]", "s[2,3]", "[0]", "[2,3,2]", "[1]", "!EINVAL takes 1 input, got 0")                                  \
    static const soma_op atleast_##N##d_op = {SOMA__COMPOSITE(atleast_##N##d), ONE, .outputs = 1, .doc = "x with " #N " dimensions or more: " TO}; \
    soma_tensor *soma_atleast_##N##d(soma_tensor *x) { return SOMA__RUN(&atleast_##N##d_op, NULL, x); }
AT_LEAST(1, "0-d becomes [1]")
AT_LEAST(2, "0-d becomes [1, 1], [n] becomes [1, n]")
AT_LEAST(3, "0-d becomes [1, 1, 1], [n] becomes [1, n, 1], [m, n] becomes [m, n, 1]")

/* ---- Taking apart ---- */

static bool narrow_compose(soma_args *a) {
    const soma_tensor *x = a->in[0];
    int64_t start = soma__attr_int(a, 1), length = soma__attr_int(a, 2);
    int dim = dim_of("narrow", x, soma__attr_int(a, 0));
    if (dim < 0)
        return false;
    int64_t n = x->shape[dim], from = start < 0 ? start + n : start;
    if (start < -n || start > n || length < 0 || length > n - from) {
        soma_fail(SOMA_EINVAL, "narrow: start %lld and length %lld leave dimension %d of size %lld", (long long)start, (long long)length, dim, (long long)n);
        return false;
    }
    return soma__return(a, soma_slice(a->in[0], dim, from, from + length, 1));
}
SOMA__LINES(narrow, "[5,3] dim=0 start=1 length=3", "s[3,4] dim=-1 start=2 length=2", "[6] dim=0 start=-3 length=2", "[2,3,4] dim=1 start=0 length=3",
            "[0,4] dim=0 start=0 length=0", "[4] dim=0 start=4 length=0",
            "[5] dim=0 start=3 length=3 !EINVAL narrow: start 3 and length 3 leave dimension 0 of size 5",
            "[5] dim=0 start=-6 length=1 !EINVAL leave dimension 0", "[5] dim=1 start=0 length=1 !ESHAPE dim 1 is out of range",
            "[] dim=0 start=0 length=1 !ESHAPE no dimensions")
static const soma_op narrow_op = {
    SOMA__COMPOSITE(narrow), ONE, .outputs = 1, .onnx = "Slice",
    .doc = "A view of `length` indices from `start` on along one dimension.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dim", "dimension"), SOMA_NEED_INT("start", "first index; negative counts from the end"),
                        SOMA_NEED_INT("length", "how many")),
};

static bool split_compose(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const soma_attr *sizes = &a->attrs[0];
    int dim = dim_of("split", x, soma__attr_int(a, 1));
    if (dim < 0)
        return false;
    int64_t n = x->shape[dim], total = 0;
    char text[SOMA__SHAPE_TEXT];
    for (int i = 0; i < sizes->count; i++)
        total = sizes->value.ints[i] < 0 || total < 0 ? -1 : total + sizes->value.ints[i];
    if (sizes->count == 1 ? total < 0 || (total == 0 && n > 0) : total != n) {
        soma_fail(SOMA_EINVAL, "split: dimension %d of size %lld does not fall into parts of %s", dim, (long long)n,
                  soma__shape_text(sizes->count, sizes->value.ints, text, sizeof text));
        return false;
    }
    if (sizes->count == 1) {
        int64_t at = 0, step = SOMA_MAX(total, 1);
        bool ok;
        do {
            ok = soma__give(a, soma_slice(a->in[0], dim, at, at + step, 1));
            at += step;
        } while (ok && at < n);
        return ok;
    }
    bool ok = true;
    for (int64_t i = 0, at = 0; ok && i < sizes->count; at += sizes->value.ints[i++])
        ok = soma__give(a, soma_slice(a->in[0], dim, at, at + sizes->value.ints[i], 1));
    return ok;
}
SOMA__LINES(split, "[7,3] split_size_or_sections=2", "s[4,6] split_size_or_sections=1,3,2 dim=1", "[5] split_size_or_sections=9",
            "[2,3,4] split_size_or_sections=2 dim=-1", "[0,2] split_size_or_sections=0", "[4,2] split_size_or_sections=0,4",
            "s[6] split_size_or_sections=4", "[7] split_size_or_sections=3,3 !EINVAL split: dimension 0 of size 7 does not fall into parts of [3, 3]",
            "[7] split_size_or_sections=0 !EINVAL does not fall", "[7] split_size_or_sections=2 dim=1 !ESHAPE dim 1 is out of range",
            "[] split_size_or_sections=1 !ESHAPE no dimensions")
static const soma_op split_op = {
    SOMA__COMPOSITE(split), ONE, .outputs = 1, .many = true, .onnx = "Split",
    .doc = "Views of parts that follow each other along one dimension. One number is the size of each part, the last may be smaller; a list "
           "gives all sizes (8 at most; soma_split_sizes takes any number).",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("split_size_or_sections", "size of each part, or all sizes"), SOMA_DEF_INT("dim", 0, "dimension")),
};

static bool chunk_compose(soma_args *a) {
    int64_t chunks = soma__attr_int(a, 0);
    int dim = dim_of("chunk", a->in[0], soma__attr_int(a, 1));
    if (dim < 0)
        return false;
    if (chunks < 1) {
        soma_fail(SOMA_EINVAL, "chunk: %lld chunks, expected 1 or more", (long long)chunks);
        return false;
    }
    int64_t n = a->in[0]->shape[dim], size = n / chunks + (n % chunks != 0);
    bool ok = true;
    for (int64_t at = 0, i = 0; ok && (n ? at < n : i < chunks); at += size, i++)
        ok = soma__give(a, soma_slice(a->in[0], dim, at, at + size, 1));
    return ok;
}
SOMA__LINES(chunk, "[7,3] chunks=3", "s[4,6] chunks=4 dim=1", "[5] chunks=9", "[2,3,4] chunks=2 dim=-1", "[0,2] chunks=3", "[4,2] chunks=1",
            "[7] chunks=0 !EINVAL chunk: 0 chunks, expected 1 or more", "[7] chunks=2 dim=1 !ESHAPE dim 1 is out of range",
            "[] chunks=1 !ESHAPE no dimensions")
static const soma_op chunk_op = {
    SOMA__COMPOSITE(chunk), ONE, .outputs = 1, .many = true, .onnx = "Split",
    .doc = "Views of parts of equal size along one dimension: `chunks` of them or fewer, each ceil(n / chunks) long, the last perhaps shorter. "
           "tensor_split gives exactly as many as asked for.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("chunks", "how many"), SOMA_DEF_INT("dim", 0, "dimension")),
};

static bool tensor_split_compose(soma_args *a) {
    const soma_attr *places = &a->attrs[1];
    int64_t sections = soma__attr_int(a, 0);
    int dim = dim_of("tensor_split", a->in[0], soma__attr_int(a, 2));
    if (dim < 0)
        return false;
    if (sections < 0 || (sections > 0 && places->count > 0)) {
        soma_fail(SOMA_EINVAL, "tensor_split: %lld sections and %d indices, expected one of them", (long long)sections, places->count);
        return false;
    }
    int64_t n = a->in[0]->shape[dim], at = 0;
    bool ok = true;
    for (int64_t i = 0; ok && i < sections; i++) {
        int64_t size = n / sections + (i < n % sections);
        ok = soma__give(a, soma_slice(a->in[0], dim, at, at + size, 1));
        at += size;
    }
    for (int64_t i = 0; ok && !sections && i <= places->count; i++) {
        int64_t end = i < places->count ? places->value.ints[i] : INT64_MAX;
        ok = soma__give(a, soma_slice(a->in[0], dim, at, end, 1));
        at = end;
    }
    return ok;
}
SOMA__LINES(tensor_split, "[7,3] sections=3", "s[4,6] indices=2,5 dim=1", "[5] sections=7", "[2,3,4] indices=1, dim=-1", "[0,2] sections=2",
            "[6] indices=4,2,-1", "[5] indices=", "[7] sections=-1 !EINVAL tensor_split: -1 sections and 0 indices",
            "[7] sections=2 indices=3,4 !EINVAL expected one of them", "[7] sections=2 dim=1 !ESHAPE dim 1 is out of range",
            "[] sections=1 !ESHAPE no dimensions")
static const soma_op tensor_split_op = {
    SOMA__COMPOSITE(tensor_split), ONE, .outputs = 1, .many = true,
    .doc = "Views of `sections` parts along one dimension, the first ones an element longer where they are not all equal; or of the parts between "
           "indices, as slices of Python (PyTorch's one argument indices_or_sections is two here).",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("sections", 0, "how many parts; 0: by indices"),
                        SOMA_DEF_INTS("indices", "where parts begin, the first left out", 0, 0), SOMA_DEF_INT("dim", 0, "dimension")),
};

static bool unbind_compose(soma_args *a) {
    int dim = dim_of("unbind", a->in[0], soma__attr_int(a, 0));
    bool ok = dim >= 0;
    for (int64_t i = 0; ok && i < a->in[0]->shape[dim]; i++)
        ok = soma__give(a, soma_select(a->in[0], dim, i));
    return ok;
}
SOMA__LINES(unbind, "[3,2]", "s[2,3] dim=1", "[4]", "[2,3,2] dim=-1", "[0,2] ~", "[3,0]", "[1,2]", "[3] dim=1 !ESHAPE dim 1 is out of range",
            "[] !ESHAPE no dimensions")
static const soma_op unbind_op = {
    SOMA__COMPOSITE(unbind), ONE, .outputs = 1, .many = true, .doc = "Views of all indices along one dimension, without that dimension: the inverse of stack.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", 0, "dimension that goes")),
};

/* ---- Putting together ---- */

/* Every input through `change`, then all joined along `dim`. */
static bool join(soma_args *a, soma_tensor *(*change)(soma_tensor *x), int64_t dim) {
    soma_tensor **list = soma__calloc((size_t)a->n_in, sizeof *list);
    for (int i = 0; list && i < a->n_in; i++)
        list[i] = change(a->in[i]);
    soma_tensor *t = list && !soma__failed() ? soma_cat(list, a->n_in, dim) : NULL;
    soma__free(list);
    return soma__return(a, t);
}
static soma_tensor *least_1(soma_tensor *x) { return at_least(x, 1); }
static soma_tensor *least_2(soma_tensor *x) { return at_least(x, 2); }
static soma_tensor *least_3(soma_tensor *x) { return at_least(x, 3); }
static soma_tensor *column(soma_tensor *x) { return x->ndim < 2 ? soma_reshape(x, 2, (const int64_t[]){x->numel, 1}) : x; }
#define STACK(ID, CHANGE, DIM, DOC)                                                                               \
    static bool ID##_compose(soma_args *a) { return join(a, CHANGE, DIM); }                                       \
    static const soma_op ID##_op = {SOMA__COMPOSITE(ID), LIST, .outputs = 1, .onnx = "Concat", .doc = DOC};       \
    soma_tensor *soma_##ID(soma_tensor *const *x, int n) { return soma__run(&ID##_op, x, n, NULL); }
#define NO_INPUT "!EINVAL takes 1 input or more, got 0"
SOMA__LINES(hstack, "[2,3] s[2,1]", "[3] [2] [1]", "[] []", "[0,2] [0,1]", "[2,1,2] [2,3,2]", "[4]", "[2,3] [3,3] !ESHAPE does not fit input 0", NO_INPUT)
SOMA__LINES(vstack, "[2,3] s[1,3]", "[3] [3]", "[] []", "[0,2] [2]", "[2,1,2] [3,1,2]", "[4]", "[2,3] [2] !ESHAPE does not fit input 0", NO_INPUT)
SOMA__LINES(dstack, "[2,3] s[2,3]", "[3] [3]", "[] []", "[0,2] [0,2]", "[2,1,2] [2,1,3]", "[4]", "[2,3] [2] !ESHAPE does not fit input 0", NO_INPUT)
SOMA__LINES(column_stack, "[2,3] s[2,1]", "[3] [3]", "[] []", "[0,2] [0]", "[2,3] [2]", "[4]", "[2,3] [3] !ESHAPE does not fit input 0", NO_INPUT)
STACK(hstack, least_1, a->in[0]->ndim < 2 ? 0 : 1, "Tensors side by side: joined along dimension 1, vectors and 0-d ones along dimension 0.")
STACK(vstack, least_2, 0, "Tensors below each other: joined along dimension 0, vectors as rows.")
STACK(dstack, least_3, 2, "Tensors behind each other: joined along dimension 2, those of fewer dimensions seen as [m, n, 1].")
STACK(column_stack, column, 1, "Tensors side by side along dimension 1, vectors as columns.")

/* ---- Repeating ---- */

/* Every element of x along dim `times` times one after the other (each), or the whole of it. */
static soma_tensor *repeat_dim(soma_tensor *x, int dim, int64_t times, bool each) {
    int64_t before = 1, after = 1, shape[SOMA_MAX_DIMS];
    for (int d = 0; d < x->ndim; d++) {
        shape[d] = d == dim ? x->shape[d] * times : x->shape[d];
        *(d < dim || (d == dim && each) ? &before : &after) *= x->shape[d];
    }
    soma_tensor *wide = soma_expand(soma_reshape(x, 3, (const int64_t[]){before, 1, after}), 3, (const int64_t[]){before, times, after});
    return soma_reshape(wide, x->ndim, shape);
}

static bool check_times(const char *op, const soma_attr *r) {
    for (int i = 0; i < r->count; i++)
        if (r->value.ints[i] < 0) {
            soma_fail(SOMA_EINVAL, "%s: %lld repeats in place %d, expected 0 or more", op, (long long)r->value.ints[i], i);
            return false;
        }
    return true;
}

static bool repeat_all(soma_args *a, int lead) {
    const soma_attr *r = &a->attrs[0];
    soma_tensor *x = a->in[0];
    int n = SOMA_MAX(x->ndim, r->count);
    int64_t shape[SOMA_MAX_DIMS] = {0};
    if (!check_times(a->op->name, r))
        return false;
    for (int d = 0; d < n; d++)
        shape[d] = d < n - x->ndim ? 1 : x->shape[d - n + x->ndim];
    x = soma_reshape(x, n, shape);
    for (int d = 0; x && d < n; d++)
        if (d >= lead && r->value.ints[d - lead] != 1)
            x = repeat_dim(x, d, r->value.ints[d - lead], false);
    return soma__return(a, x == a->in[0] || (x && soma_shares_storage(x, a->in[0])) ? soma_clone(x) : x);
}

static bool repeat_compose(soma_args *a) {
    char text[SOMA__SHAPE_TEXT];
    if (a->attrs[0].count < a->in[0]->ndim) {
        soma_fail(SOMA_ESHAPE, "repeat: repeats has %d numbers, expected one for each dimension of %s or more", a->attrs[0].count,
                  soma__tensor_text(a->in[0], text));
        return false;
    }
    return repeat_all(a, 0);
}
static bool tile_compose(soma_args *a) { return repeat_all(a, SOMA_MAX(0, a->in[0]->ndim - a->attrs[0].count)); }
SOMA__LINES(repeat, "[2,3] repeats=2,1", "s[2,3] repeats=1,3", "[3] repeats=2,2", "[] repeats=4,", "[2] repeats=0,", "[1,2,1] repeats=2,1,3",
            "[0,2] repeats=2,2", "[2] repeats=1,",
            "[2,3] repeats=2, !ESHAPE repeat: repeats has 1 numbers, expected one for each dimension of [2, 3] f32",
            "[2] repeats=-1, !EINVAL -1 repeats in place 0")
static const soma_op repeat_op = {
    SOMA__COMPOSITE(repeat), ONE, .outputs = 1, .onnx = "Tile",
    .doc = "x repeated along each dimension, in a copy; more numbers than dimensions add some in front. expand repeats sizes of 1 without a copy.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("repeats", "how often, for each dimension")),
};
SOMA__LINES(tile, "[2,3] dims=2,", "s[2,3] dims=2,3", "[3] dims=2,2", "[] dims=4,", "[2] dims=0,", "[1,2,1] dims=2,1", "[0,2] dims=2,2", "[2] dims=",
            "[2] dims=-1, !EINVAL -1 repeats in place 0")
static const soma_op tile_op = {
    SOMA__COMPOSITE(tile), ONE, .outputs = 1, .onnx = "Tile",
    .doc = "x repeated along its last dimensions, as numpy.tile: fewer numbers than dimensions leave the first ones, more add some in front.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("dims", "how often, for the last dimensions")),
};

/* Which row each repeated one comes from. */
static soma_tensor *repeated_rows(soma_args *a, int64_t n) {
    soma_tensor *times = soma_to(soma_contiguous(soma_detach(a->in[1])), SOMA_I64);
    char text[SOMA__SHAPE_TEXT];
    if (!times || !soma__has_values(a))
        return NULL;
    const int64_t *t = times->data;
    if (times->ndim > 1 || (times->numel != n && times->numel != 1)) {
        soma_fail(SOMA_ESHAPE, "repeat_interleave: repeats is %s, expected [%lld]", soma__tensor_text(a->in[1], text), (long long)n);
        return NULL;
    }
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = t[times->numel == 1 ? 0 : i];
        if (v < 0 || !soma__add_ok(total, v, &total)) {
            soma_fail(SOMA_EINVAL, "repeat_interleave: repeats %lld at position %lld, expected 0 or more", (long long)v, (long long)i);
            return NULL;
        }
    }
    soma_tensor *rows = soma_empty(1, &total, SOMA_I64);
    for (int64_t i = 0, at = 0; rows && i < n; i++)
        for (int64_t k = t[times->numel == 1 ? 0 : i]; k > 0; k--)
            ((int64_t *)rows->data)[at++] = i;
    return rows;
}

static bool repeat_interleave_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const soma_attr *dims = &a->attrs[1];
    if (dims->count == 0)
        x = soma_flatten(x, 0, -1);
    int dim = dims->count == 0 ? 0 : x ? dim_of("repeat_interleave", x, dims->value.ints[0]) : -1;
    if (!x || dim < 0)
        return false;
    if (a->in[1]) {
        soma_tensor *rows = repeated_rows(a, x->shape[dim]);
        return soma__return(a, rows ? soma_index_select(x, dim, rows) : NULL);
    }
    if (soma__attr_int(a, 0) < 0) {
        soma_fail(SOMA_EINVAL, "repeat_interleave: neither a number of repeats from 0 on nor a tensor of them is given");
        return false;
    }
    return soma__return(a, repeat_dim(x, dim, soma__attr_int(a, 0), true));
}
SOMA__LINES(repeat_interleave, "[2,3] - repeats=2", "s[2,3] - repeats=3 dim=1", "[3] i[3]=2,0,1 dim=0", "[] - repeats=2", "[2,3] i[2]=2,1 dim=0",
            "[2,3] i[1]=2 dim=-1", "[0,2] - repeats=2 dim=0", "[2] - repeats=0", "[3] i[2]=1,2 dim=0 !ESHAPE repeats is [2] i64, expected [3]",
            "[2] i[2]=1,-2 dim=0 !EINVAL repeats -2 at position 1", "[3] !EINVAL neither a number",
            "[3] - repeats=1 dim=1 !ESHAPE dim 1 is out of range")
static const soma_op repeat_interleave_op = {
    SOMA__COMPOSITE(repeat_interleave), .outputs = 1, .family = "shape", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,
    .in = {{.name = "x"}, {.name = "repeats", .dtypes = SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32), .apart = true, .optional = true}}, .n_in = 2,
    .doc = "Every element (row, column …) repeated in its place: by one number, or by one for each in a tensor. Without dim all elements in one "
           "dimension.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("repeats", -1, "how often, when there is no tensor of repeats"),
                        SOMA_DEF_INTS("dim", "dimension; none: all elements", 0, 0)),
};

/* ---- Another order ---- */

static soma_tensor *roll_dim(soma_tensor *x, int dim, int64_t shift) {
    if (!x)
        return NULL;
    int64_t n = x->shape[dim];
    shift = n ? (shift % n + n) % n : 0;
    if (shift == 0)
        return x;
    soma_tensor *two[] = {soma_slice(x, dim, n - shift, n, 1), soma_slice(x, dim, 0, n - shift, 1)};
    return two[0] && two[1] ? soma_cat(two, 2, dim) : NULL;
}

static bool roll_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const soma_attr *shifts = &a->attrs[0], *dims = &a->attrs[1];
    if (!ints_are("roll", shifts, SOMA_MAX(dims->count, 1)))
        return false;
    if (dims->count == 0) {
        x = roll_dim(soma_flatten(x, 0, -1), 0, shifts->value.ints[0]);
        return soma__return(a, x ? soma_reshape(x, a->in[0]->ndim, a->in[0]->shape) : NULL);
    }
    for (int i = 0; x && i < dims->count; i++) {
        int dim = dim_of("roll", x, dims->value.ints[i]);
        x = dim < 0 ? NULL : roll_dim(x, dim, shifts->value.ints[i]);
    }
    return soma__return(a, x == a->in[0] ? soma_clone(x) : x);
}
SOMA__LINES(roll, "[5] shifts=2", "s[3,4] shifts=-1 dims=1", "[3,4] shifts=1,2 dims=0,1", "[2,3] shifts=4", "[] shifts=1", "[0,2] shifts=1 dims=0",
            "[2,3,2] shifts=-4,1 dims=1,-1", "[3,4] shifts=1,2 !EINVAL attribute 'shifts' has 2 numbers, expected 1",
            "[3,4] shifts=1 dims=2 !ESHAPE dim 2 is out of range")
static const soma_op roll_op = {
    SOMA__COMPOSITE(roll), ONE, .outputs = 1,
    .doc = "The elements moved on along some dimensions; what leaves at the end comes in at the front. Without dims all elements in row-major order.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("shifts", "how far, for each of dims; negative: backwards"),
                        SOMA_DEF_INTS("dims", "dimensions; none: all elements in a row", 0, 0)),
};

static bool rot90_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int64_t *dims = a->attrs[1].value.ints;
    uint32_t mask;
    char text[SOMA__SHAPE_TEXT];
    if (!ints_are("rot90", &a->attrs[1], 2))
        return false;
    if (x->ndim < 2) {
        soma_fail(SOMA_ESHAPE, "rot90: x is %s, expected two dimensions or more", soma__tensor_text(x, text));
        return false;
    }
    if (!soma__dim_mask("rot90", 2, dims, x->ndim, &mask))
        return false;
    switch ((soma__attr_int(a, 0) % 4 + 4) % 4) {
    case 1: return soma__return(a, soma_transpose(soma_flip(x, 1, &dims[1]), dims[0], dims[1]));
    case 2: return soma__return(a, soma_flip(x, 2, dims));
    case 3: return soma__return(a, soma_transpose(soma_flip(x, 1, &dims[0]), dims[0], dims[1]));
    default: return soma__return(a, soma_clone(x));
    }
}
SOMA__LINES(rot90, "[3,4]", "s[3,4] k=2", "[2,3,2] k=-1 dims=1,2", "[2,3] k=4", "[0,2]", "[2,3,2] k=3 dims=2,0",
            "[3] !ESHAPE rot90: x is [3] f32, expected two dimensions", "[3,4] dims=0,0 !ESHAPE named twice",
            "[3,4] dims=0, !EINVAL has 1 numbers, expected 2")
static const soma_op rot90_op = {
    SOMA__COMPOSITE(rot90), ONE, .outputs = 1, .doc = "Turned by k times 90 degrees in the plane of two dimensions, from the first towards the second.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("k", 1, "how many times 90 degrees"), SOMA_DEF_INTS("dims", "the plane", 2, 0, 1)),
};

static bool flip_one(soma_args *a, int64_t dim) {
    char text[SOMA__SHAPE_TEXT];
    if (a->in[0]->ndim > dim)
        return soma__return(a, soma_flip(a->in[0], 1, &dim));
    soma_fail(SOMA_ESHAPE, "%s: x is %s, expected %lld dimensions or more", a->op->name, soma__tensor_text(a->in[0], text), (long long)dim + 1);
    return false;
}
static bool fliplr_compose(soma_args *a) { return flip_one(a, 1); }
static bool flipud_compose(soma_args *a) { return flip_one(a, 0); }
SOMA__LINES(fliplr, "[3,4]", "s[3,4]", "[2,3,2]", "[0,2]", "[1,1]", "[2,0]", "[3] !ESHAPE fliplr: x is [3] f32, expected 2 dimensions or more")
SOMA__LINES(flipud, "[3,4]", "s[3,4]", "[2,3,2]", "[0,2]", "[4]", "[2,0]", "[] !ESHAPE flipud: x is [] f32, expected 1 dimensions or more")
static const soma_op fliplr_op = {SOMA__COMPOSITE(fliplr), ONE, .outputs = 1, .doc = "The columns (dimension 1) in reverse order; a copy."};
static const soma_op flipud_op = {SOMA__COMPOSITE(flipud), ONE, .outputs = 1, .doc = "The rows (dimension 0) in reverse order; a copy."};

soma_op_list soma__parts_ops = {
    &view_op, &ravel_op, &unflatten_op, &movedim_op, &broadcast_to_op, &atleast_1d_op, &atleast_2d_op, &atleast_3d_op, &narrow_op, &split_op,
    &chunk_op, &tensor_split_op, &unbind_op, &hstack_op, &vstack_op, &dstack_op, &column_stack_op, &repeat_op, &tile_op, &repeat_interleave_op,
    &roll_op, &rot90_op, &fliplr_op, &flipud_op, NULL};

/* ---- The functions of ops.h ---- */

soma_tensor *soma_view(soma_tensor *x, int ndim, const int64_t *shape) {
    soma_attr attr;
    return soma__ints_attr(&attr, "view", "shape", ndim, shape) ? SOMA__RUN(&view_op, &attr, x) : NULL;
}
soma_tensor *soma_ravel(soma_tensor *x) { return SOMA__RUN(&ravel_op, NULL, x); }
soma_tensor *soma_unflatten(soma_tensor *x, int64_t dim, int n, const int64_t *sizes) {
    soma_attr attrs[2] = {SOMA_INT("dim", dim)};
    return soma__ints_attr(&attrs[1], "unflatten", "sizes", n, sizes) ? SOMA__RUN(&unflatten_op, attrs, x) : NULL;
}
soma_tensor *soma_movedim(soma_tensor *x, int n, const int64_t *source, const int64_t *destination) {
    soma_attr attrs[2];
    return soma__ints_attr(&attrs[0], "movedim", "source", n, source) && soma__ints_attr(&attrs[1], "movedim", "destination", n, destination)
               ? SOMA__RUN(&movedim_op, attrs, x) : NULL;
}
soma_tensor *soma_broadcast_to(soma_tensor *x, int ndim, const int64_t *shape) {
    soma_attr attr;
    return soma__ints_attr(&attr, "broadcast_to", "shape", ndim, shape) ? SOMA__RUN(&broadcast_to_op, &attr, x) : NULL;
}
soma_tensor *soma_narrow(soma_tensor *x, int64_t dim, int64_t start, int64_t length) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_INT("start", start), SOMA_INT("length", length)};
    return SOMA__RUN(&narrow_op, attrs, x);
}
int soma_split(soma_tensor *x, int64_t split_size, int64_t dim, soma_tensor **out, int room) {
    soma_attr attrs[] = {SOMA_INTS("split_size_or_sections", split_size), SOMA_INT("dim", dim)};
    return soma__apply_many(&split_op, &x, 1, attrs, out, room);
}
soma_status soma_split_sizes(soma_tensor *x, int n, const int64_t *sizes, int64_t dim, soma_tensor **out) {
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        out[i] = soma_narrow(x, dim, at, sizes[i]);
        at += sizes[i];
    }
    if (x && !soma__failed() && at != soma_size(x, (int)dim))
        soma_fail(SOMA_EINVAL, "soma_split_sizes: the sizes add up to %lld, dimension %lld has %lld", (long long)at, (long long)dim,
                  (long long)soma_size(x, (int)dim));
    return soma__ctx()->error;
}
int soma_chunk(soma_tensor *x, int64_t chunks, int64_t dim, soma_tensor **out, int room) {
    soma_attr attrs[] = {SOMA_INT("chunks", chunks), SOMA_INT("dim", dim)};
    return soma__apply_many(&chunk_op, &x, 1, attrs, out, room);
}
int soma_tensor_split(soma_tensor *x, int64_t sections, int64_t dim, soma_tensor **out, int room) {
    soma_attr attrs[] = {SOMA_INT("sections", sections), {.name = "indices", .kind = SOMA_ATTR_INTS}, SOMA_INT("dim", dim)};
    return soma__apply_many(&tensor_split_op, &x, 1, attrs, out, room);
}
int soma_unbind(soma_tensor *x, int64_t dim, soma_tensor **out, int room) {
    soma_attr attrs[] = {SOMA_INT("dim", dim)};
    return soma__apply_many(&unbind_op, &x, 1, attrs, out, room);
}
soma_tensor *soma_repeat(soma_tensor *x, int n, const int64_t *repeats) {
    soma_attr attr;
    return soma__ints_attr(&attr, "repeat", "repeats", n, repeats) ? SOMA__RUN(&repeat_op, &attr, x) : NULL;
}
soma_tensor *soma_tile(soma_tensor *x, int n, const int64_t *dims) {
    soma_attr attr;
    return soma__ints_attr(&attr, "tile", "dims", n, dims) ? SOMA__RUN(&tile_op, &attr, x) : NULL;
}
soma_tensor *soma_repeat_interleave(soma_tensor *x, int64_t repeats, int64_t dim) {
    soma_attr attrs[] = {SOMA_INT("repeats", repeats), SOMA_INTS("dim", dim)};
    attrs[1].count = dim != SOMA_NO_DIM;
    return SOMA__RUN(&repeat_interleave_op, attrs, x, NULL);
}
soma_tensor *soma_roll(soma_tensor *x, int n, const int64_t *shifts, const int64_t *dims) {
    soma_attr attrs[2];
    return soma__ints_attr(&attrs[0], "roll", "shifts", n, shifts) && soma__ints_attr(&attrs[1], "roll", "dims", dims ? n : 0, dims)
               ? SOMA__RUN(&roll_op, attrs, x) : NULL;
}
soma_tensor *soma_rot90(soma_tensor *x, int64_t k, int64_t dim0, int64_t dim1) {
    soma_attr attrs[] = {SOMA_INT("k", k), SOMA_INTS("dims", dim0, dim1)};
    return SOMA__RUN(&rot90_op, attrs, x);
}
soma_tensor *soma_fliplr(soma_tensor *x) { return SOMA__RUN(&fliplr_op, NULL, x); }
soma_tensor *soma_flipud(soma_tensor *x) { return SOMA__RUN(&flipud_op, NULL, x); }
