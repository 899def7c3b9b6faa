/* Grids and neighbourhoods: meshgrid, cartesian_prod, combinations; padding by reflection, replication and around; windows (unfold). */
#include "ops/shape.h"

#include <string.h>

/* ---- Grids ---- */

#define LIST .in = {{.name = "tensors"}}, .n_in = 1, .variadic = true, .outputs = 1, .family = "shape", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME, \
    .backward = SOMA_COMPOSED

/* Input i spread over the grid of all. */
static soma_tensor *spread(const soma_args *a, int i) {
    int64_t one[SOMA_MAX_DIMS], full[SOMA_MAX_DIMS];
    for (int d = 0; d < a->n_in; d++) {
        full[d] = a->in[d]->numel;
        one[d] = d == i ? full[d] : 1;
    }
    return soma_expand(soma_reshape(a->in[i], a->n_in, one), a->n_in, full);
}

static bool vectors(const soma_args *a, int most) {
    char text[SOMA__SHAPE_TEXT];
    if (a->n_in > SOMA_MAX_DIMS) {
        soma_fail(SOMA_ESHAPE, "%s: %d tensors, but a tensor has at most %d dimensions", a->op->name, a->n_in, SOMA_MAX_DIMS);
        return false;
    }
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i]->ndim > 1 || (most == 1 && a->in[i]->ndim == 0)) {
            soma_fail(SOMA_ESHAPE, "%s: input %d is %s, expected a vector", a->op->name, i, soma__tensor_text(a->in[i], text));
            return false;
        }
    return true;
}

static bool meshgrid_compose(soma_args *a) {
    const char *indexing = a->attrs[0].value.s;
    bool swap = strcmp(indexing, "xy") == 0, ok = vectors(a, 0);
    if (!swap && strcmp(indexing, "ij") != 0) {
        soma_fail(SOMA_EINVAL, "meshgrid: indexing is '%s', expected 'ij' or 'xy'", indexing);
        return false;
    }
    for (int i = 0; ok && i < a->n_in; i++) {
        soma_tensor *t = spread(a, i);
        ok = soma__give(a, swap && a->n_in > 1 ? soma_transpose(t, 0, 1) : t);
    }
    return ok;
}
SOMA__LINES(meshgrid, "[2] [3]", "s[3] [2] [1] indexing='xy'", "[4]", "[2] [] [3]", "[0] [2]", "[2] [3] [2] indexing='xy'", "[3] indexing='xy'",
            "[2] [2,2] !ESHAPE meshgrid: input 1 is [2, 2] f32, expected a vector",
            "[2] [3] indexing='yx' !EINVAL meshgrid: indexing is 'yx', expected 'ij' or 'xy'")
static const soma_op meshgrid_op = {
    SOMA__COMPOSITE(meshgrid), LIST, .many = true,
    .doc = "For vectors of n1, n2, … elements as many tensors [n1, n2, …], each with its vector along its own dimension: the coordinates of a grid. "
           "Views.",
    .attrs = SOMA_ATTRS(SOMA_DEF_STRING("indexing", "ij", "'ij': matrix order; 'xy': the first two dimensions exchanged, as in plots")),
};

static bool cartesian_prod_compose(soma_args *a) {
    soma_tensor *columns[SOMA_MAX_DIMS];
    bool ok = vectors(a, 1);
    for (int i = 0; ok && i < a->n_in; i++)
        ok = (columns[i] = soma_flatten(spread(a, i), 0, -1)) != NULL;
    return soma__return(a, !ok ? NULL : a->n_in == 1 ? a->in[0] : soma_stack(columns, a->n_in, 1));
}
SOMA__LINES(cartesian_prod, "[2] [3]", "s[3] [2] [2]", "[4]", "[0] [2]", "[1] [1]", "[3] [1]",
            "[2] [2,2] !ESHAPE cartesian_prod: input 1 is [2, 2] f32, expected a vector", "[] [2] !ESHAPE expected a vector")
static const soma_op cartesian_prod_op = {
    SOMA__COMPOSITE(cartesian_prod), LIST,
    .doc = "All ways to take one element of each vector, as rows: [n1 n2 …, number of vectors]; of one vector itself.",
};

/* The next choice of r places among n, in lexicographic order; false after the last. */
static bool next_choice(int64_t *c, int64_t r, int64_t n, bool again) {
    for (int64_t i = r - 1; i >= 0; i--) {
        if (c[i] + 1 > (again ? n - 1 : n - r + i))
            continue;
        c[i]++;
        for (int64_t k = i + 1; k < r; k++)
            c[k] = again ? c[i] : c[k - 1] + 1;
        return true;
    }
    return false;
}

static bool combinations_compose(soma_args *a) {
    int64_t r = soma__attr_int(a, 0), n = a->in[0]->numel, rows = 0, c[32];
    bool again = soma__attr_int(a, 1) != 0;
    char text[SOMA__SHAPE_TEXT];
    if (a->in[0]->ndim != 1 || r < 0 || r > 32) {
        soma_fail(a->in[0]->ndim != 1 ? SOMA_ESHAPE : SOMA_EINVAL, "combinations: r is %lld and x is %s, expected 0 to 32 elements of a vector",
                  (long long)r, soma__tensor_text(a->in[0], text));
        return false;
    }
    soma_tensor *places = NULL;
    bool any = r > 0 && (again ? n > 0 : n >= r);
    for (int pass = 0; pass < 2 && !soma__failed(); pass++) { /* counts, then writes */
        for (int64_t k = 0; k < r; k++)
            c[k] = again ? 0 : k;
        int64_t at = 0;
        bool more = any && (!places || places->data);
        for (; more; more = next_choice(c, r, n, again), at++)
            if (places)
                memcpy((int64_t *)places->data + at * r, c, (size_t)r * sizeof *c);
        rows = pass ? rows : at;
        places = pass ? places : soma_empty(1, (const int64_t[]){rows * r}, SOMA_I64);
    }
    if (!places)
        return false;
    if (r == 0)
        return soma__return(a, soma_slice(a->in[0], 0, 0, 0, 1));
    return soma__return(a, soma_reshape(soma_index_select(a->in[0], 0, places), 2, (const int64_t[]){rows, r}));
}
SOMA__LINES(combinations, "[4]", "s[4] r=3", "[3] r=2 with_replacement=true", "[2] r=3", "[0]", "[3] r=1", "[3] r=0",
            "[2,2] !ESHAPE combinations: r is 2 and x is [2, 2] f32", "[3] r=-1 !EINVAL r is -1")
static const soma_op combinations_op = {
    SOMA__COMPOSITE(combinations), .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .family = "shape", .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,
    .doc = "All choices of r elements of a vector, in order, as rows [choices, r], as itertools.combinations.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("r", 2, "how many elements"), SOMA_DEF_BOOL("with_replacement", false, "an element may be taken again")),
};

/* ---- Padding with what is there ---- */

typedef enum edge { REFLECT, REPLICATE, CIRCULAR } edge;

static int64_t inside(int64_t i, int64_t n, edge e) {
    if (e == REPLICATE)
        return i < 0 ? 0 : i >= n ? n - 1 : i;
    if (e == CIRCULAR)
        return i < 0 ? i + n : i >= n ? i - n : i;
    return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
}

static soma_tensor *pad_dim(soma_tensor *x, int dim, int64_t before, int64_t after, edge e) {
    if (e == CIRCULAR && (before < 0 || after < 0)) { /* what is cut off does not come round */
        x = soma_slice(x, dim, SOMA_MAX(-before, 0), SOMA_MAX(x->shape[dim] + SOMA_MIN(after, 0), 0), 1);
        return x ? pad_dim(x, dim, SOMA_MAX(before, 0), SOMA_MAX(after, 0), e) : NULL;
    }
    int64_t n = x->shape[dim], most = e == REFLECT ? n - 1 : e == CIRCULAR ? n : n > 0 ? INT32_MAX : 0;
    static const char *const limits[] = {"reflect needs less than the size", "replicate needs an element to repeat", "circular needs no more than the size"};
    if (before > most || after > most || before < -n || after < -n || n + before + after < 0) {
        soma_fail(SOMA_ESHAPE, "pad: %lld before and %lld after dimension %d of size %lld; %s", (long long)before, (long long)after, dim,
                  (long long)n, limits[e]);
        return NULL;
    }
    soma_tensor *places = soma_empty(1, (const int64_t[]){n + before + after}, SOMA_I64);
    for (int64_t i = 0; places && places->data && i < places->numel; i++)
        ((int64_t *)places->data)[i] = inside(i - before, n, e);
    return soma_index_select(x, dim, places);
}

static bool pad_compose(soma_args *a) {
    const soma_attr *pad = &a->attrs[0];
    const char *mode = a->attrs[1].value.s;
    static const char *const names[] = {"reflect", "replicate", "circular"};
    soma_tensor *x = a->in[0];
    char text[SOMA__SHAPE_TEXT];
    int e = 0;
    if (strcmp(mode, "constant") == 0)
        return soma__return(a, soma_pad(x, pad->count, pad->value.ints, soma__attr_float(a, 2)));
    while (e < 3 && strcmp(mode, names[e]) != 0)
        e++;
    if (e == 3) {
        soma_fail(SOMA_EINVAL, "pad: mode is '%s', expected 'constant', 'reflect', 'replicate' or 'circular'", mode);
        return false;
    }
    if (pad->count % 2 || pad->count / 2 > x->ndim) {
        soma_fail(SOMA_ESHAPE, "pad: %d amounts do not fit %s; expected before and after for some dimensions, the last one first", pad->count,
                  soma__tensor_text(x, text));
        return false;
    }
    for (int i = 0; x && i < pad->count / 2; i++)
        if (pad->value.ints[2 * i] || pad->value.ints[2 * i + 1])
            x = pad_dim(x, x->ndim - 1 - i, pad->value.ints[2 * i], pad->value.ints[2 * i + 1], (edge)e);
    return soma__return(a, x);
}
SOMA__LINES(pad, "[3,4] pad=1,2", "s[2,3,4] pad=1,0,0,2 value=1.5", "[2,3,4] pad=2,1 mode='reflect'", "s[3,4] pad=1,2,2,0 mode='replicate'",
            "[1,2,3] pad=3,1,1,2 mode='circular'", "[1,3,3] pad=1,1,1,1 mode='reflect'", "[3,4] pad=-1,2,1,-2", "[2,4] pad=-1,1 mode='circular'",
            "[0,3] pad=1,1 mode='replicate'", "[4] pad=2,2 mode='reflect'", "[3,4] pad=1, !ESHAPE pad: [1] does not fit [3, 4]",
            "[2,3] pad=3,0 mode='reflect' !ESHAPE pad: 3 before and 0 after dimension 1 of size 3; reflect needs less",
            "[2,3] pad=0,4 mode='circular' !ESHAPE circular needs no more", "[2,0] pad=1,0 mode='replicate' !ESHAPE replicate needs an element",
            "[2] pad=1,1 mode='mirror' !EINVAL mode is 'mirror'", "[2] pad=1,1,1,1 mode='reflect' !ESHAPE 4 amounts do not fit [2]")
static const soma_op pad_op = {
    SOMA__COMPOSITE(pad), .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .family = "shape", .onnx = "Pad", .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_SAME, .backward = SOMA_COMPOSED,
    .doc = "x with elements before and after it, from the last dimension backwards, as torch.nn.functional.pad: a constant; its own elements "
           "mirrored at the edge (reflect); the edge repeated (replicate); those of the other end (circular). Negative amounts cut off. Any "
           "dimensions may be padded in each mode, where PyTorch wants inputs of 2 to 5 dimensions.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INTS("pad", "before and after, from the last dimension backwards; at most 4 dimensions"),
                        SOMA_DEF_STRING("mode", "constant", "constant, reflect, replicate or circular"),
                        SOMA_DEF_FLOAT("value", 0, "the constant")),
};
soma_tensor *soma_pad_mode(soma_tensor *x, int n, const int64_t *pad, const char *mode) {
    soma_attr attrs[] = {{.name = "pad"}, SOMA_STRING("mode", mode ? mode : "constant"), SOMA_FLOAT("value", 0)};
    return soma__ints_attr(&attrs[0], "pad", "pad", n, pad) ? SOMA__RUN(&pad_op, attrs, x) : NULL;
}

/* ---- Windows ---- */

static bool unfold_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    int64_t size = soma__attr_int(a, 1), step = soma__attr_int(a, 2);
    int dim = soma__dim("unfold", soma__attr_int(a, 0), x->ndim);
    if (dim < 0)
        return false;
    int64_t n = x->ndim ? x->shape[dim] : 1;
    if (size < 0 || size > n || step < 1 || x->ndim == SOMA_MAX_DIMS) {
        soma_fail(SOMA_EINVAL, "unfold: windows of %lld every %lld along dimension %d of size %lld; expected windows no larger than that and a step "
                               "of 1 or more", (long long)size,
                  (long long)step, dim, (long long)n);
        return false;
    }
    *out = soma__meta_of(x);
    out->offset = 0;
    out->ndim = x->ndim + 1;
    out->shape[x->ndim] = size;
    out->stride[x->ndim] = x->ndim ? x->stride[dim] : 1;
    if (x->ndim) {
        out->shape[dim] = (n - size) / step + 1;
        out->stride[dim] = out->shape[dim] > 1 ? x->stride[dim] * step : x->stride[dim];
    }
    return true;
}

/* Windows that overlap add up where they came from. */
static void unfold_backward(soma_grad_args *g) {
    const soma_meta *x = &g->in_meta[0], *y = &g->out_meta[0];
    int64_t dim = g->attrs[0].value.i, last = x->ndim, step = g->attrs[2].value.i, shape[SOMA_MAX_DIMS];
    dim += dim < 0 ? x->ndim : 0;
    if (!g->gout[0])
        return;
    if (x->ndim == 0) {
        g->gin[0] = soma_sum(g->gout[0], SOMA_ALL, false);
        return;
    }
    int64_t windows = y->shape[dim], size = y->shape[last], next = dim + 1;
    memcpy(shape, x->shape, sizeof shape);
    shape[dim] = windows * size;
    soma_tensor *flat = soma_reshape(soma_movedim(g->gout[0], 1, &last, &next), x->ndim, shape), *places = soma_empty(1, &shape[dim], SOMA_I64);
    for (int64_t i = 0; places && i < places->numel; i++)
        ((int64_t *)places->data)[i] = i / size * step + i % size;
    g->gin[0] = soma_index_add(soma_zeros(x->ndim, x->shape, x->dtype), dim, places, flat);
}
SOMA__LINES(unfold, "[7] dimension=0 size=3 step=1", "s[3,6] dimension=1 size=2 step=2", "[5,2] dimension=0 size=2 step=2",
            "[2,3,4] dimension=-2 size=3 step=1", "[4] dimension=0 size=4 step=9", "[] dimension=0 size=1 step=1", "[0,3] dimension=1 size=2 step=1",
            "[3] dimension=0 size=0 step=1", "[3] dimension=0 size=4 step=1 !EINVAL unfold: windows of 4 every 1 along dimension 0 of size 3",
            "[3] dimension=0 size=1 step=0 !EINVAL a step of 1 or more", "[3] dimension=1 size=1 step=1 !ESHAPE dim 1 is out of range")
static const soma_op unfold_op = {
    .name = "unfold", .in = {{.name = "x"}}, .n_in = 1, .outputs = 1, .family = "shape", .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME,
    .doc = "A view of all windows of `size` elements, `step` apart, along one dimension; a window's elements stand in a new last dimension. "
           "torch.Tensor.unfold; the patches of images are im2col's.",
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("dimension", "dimension"), SOMA_NEED_INT("size", "elements of a window"),
                        SOMA_NEED_INT("step", "distance of windows")),
    .shape = unfold_shape, .view = unfold_shape, .cpu = {soma__view_kernel}, .backward = unfold_backward, .samples = unfold_samples,
    .errors = unfold_errors,
};
soma_tensor *soma_unfold(soma_tensor *x, int64_t dim, int64_t size, int64_t step) {
    soma_attr attrs[] = {SOMA_INT("dimension", dim), SOMA_INT("size", size), SOMA_INT("step", step)};
    return SOMA__RUN(&unfold_op, attrs, x);
}

int soma_meshgrid(soma_tensor *const *x, int n, const char *indexing, soma_tensor **out) {
    soma_attr attr = SOMA_STRING("indexing", indexing ? indexing : "ij");
    return soma__apply_many(&meshgrid_op, x, n, &attr, out, n);
}
soma_tensor *soma_cartesian_prod(soma_tensor *const *x, int n) { return soma__run(&cartesian_prod_op, x, n, NULL); }
soma_tensor *soma_combinations(soma_tensor *x, int64_t r, bool with_replacement) {
    soma_attr attrs[] = {SOMA_INT("r", r), SOMA_BOOLEAN("with_replacement", with_replacement)};
    return SOMA__RUN(&combinations_op, attrs, x);
}

soma_op_list soma__grid_ops = {&meshgrid_op, &cartesian_prod_op, &combinations_op, &pad_op, &unfold_op, NULL};
