/* Products of vectors and matrices beside matmul, under PyTorch's names: all are matmul or mul over rearranged inputs, with checks of rank
 * and size of their own so that a vector given for a matrix is an error and not another product. */
#include "ops/op.h"
#include "ops/shape.h"

#include <string.h>

static bool rank_is(soma_args *a, int i, int ndim, const char *what) {
    return a->in[i]->ndim == ndim || soma__expected(a->in[i], a->op->in[i].name, what);
}

static bool sizes_agree(soma_args *a, int i, int64_t m, int k, int64_t n) {
    if (m == n)
        return true;
    char x[SOMA__SHAPE_TEXT], y[SOMA__SHAPE_TEXT];
    soma_fail(SOMA_ESHAPE, "%s: %s is %s and %s is %s: sizes %lld and %lld must be equal", a->op->name, a->op->in[i].name,
              soma__tensor_text(a->in[i], x), a->op->in[k].name, soma__tensor_text(a->in[k], y), (long long)m, (long long)n);
    return false;
}

/* ---- Two tensors ------------------------------------------------------------------------------------------------------ */

static bool mm_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = a->in[1];
    return rank_is(a, 0, 2, "a matrix") && rank_is(a, 1, 2, "a matrix") && sizes_agree(a, 0, x->shape[1], 1, y->shape[0]) &&
           soma__return(a, soma_matmul(x, y));
}
static bool bmm_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = a->in[1];
    return rank_is(a, 0, 3, "matrices [b, n, m]") && rank_is(a, 1, 3, "matrices [b, m, p]") &&
           sizes_agree(a, 0, x->shape[0], 1, y->shape[0]) && sizes_agree(a, 0, x->shape[2], 1, y->shape[1]) && soma__return(a, soma_matmul(x, y));
}
static bool mv_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = a->in[1];
    return rank_is(a, 0, 2, "a matrix") && rank_is(a, 1, 1, "a vector") && sizes_agree(a, 0, x->shape[1], 1, y->shape[0]) &&
           soma__return(a, soma_matmul(x, y));
}
static bool dot_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = a->in[1];
    return rank_is(a, 0, 1, "a vector") && rank_is(a, 1, 1, "a vector") && sizes_agree(a, 0, x->shape[0], 1, y->shape[0]) &&
           soma__return(a, soma_matmul(x, y));
}
static bool inner_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = a->in[1];
    if (x->ndim == 0 || y->ndim == 0)
        return soma__return(a, soma_mul(x, y));
    const int64_t k = x->shape[x->ndim - 1];
    int64_t shape[SOMA_MAX_DIMS];
    if (!sizes_agree(a, 0, k, 1, y->shape[y->ndim - 1]))
        return false;
    if (x->ndim + y->ndim - 2 > SOMA_MAX_DIMS)
        return soma__expected(x, "a", "fewer dimensions: the result has more than 8");
    memcpy(shape, x->shape, sizeof shape);
    memcpy(shape + x->ndim - 1, y->shape, (size_t)(y->ndim - 1) * sizeof *shape);
    soma_tensor *rows = soma_reshape(x, 2, (const int64_t[]){soma__numel(x->ndim - 1, x->shape), k});
    soma_tensor *columns = soma_reshape(y, 2, (const int64_t[]){soma__numel(y->ndim - 1, y->shape), k});
    return soma__return(a, soma_reshape(soma_matmul(rows, soma_transpose(columns, 0, 1)), x->ndim + y->ndim - 2, shape));
}
static bool kron_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = a->in[1];
    const int n = SOMA_MAX(x->ndim, y->ndim);
    if (2 * n > SOMA_MAX_DIMS)
        return soma__expected(x->ndim == n ? x : y, x->ndim == n ? "a" : "b", "at most 4 dimensions");
    int64_t left[SOMA_MAX_DIMS], right[SOMA_MAX_DIMS], whole[SOMA_MAX_DIMS];
    for (int d = 0; d < n; d++) {
        const int64_t p = d < n - x->ndim ? 1 : x->shape[d - n + x->ndim], q = d < n - y->ndim ? 1 : y->shape[d - n + y->ndim];
        left[2 * d] = p;
        left[2 * d + 1] = right[2 * d] = 1;
        right[2 * d + 1] = q;
        whole[d] = p * q;
    }
    return soma__return(a, soma_reshape(soma_mul(soma_reshape(x, 2 * n, left), soma_reshape(y, 2 * n, right)), n, whole));
}

/* dim, or the first of size 3. */
static int cross_dim(soma_args *a, const soma_tensor *x) {
    int64_t dim = soma__attr_int(a, 0);
    if (dim != SOMA_NO_INDEX)
        return soma__dim("cross", dim, x->ndim);
    for (int d = 0; d < x->ndim; d++)
        if (x->shape[d] == 3)
            return d;
    soma__expected(x, "a", "a dimension of size 3");
    return -1;
}
static bool cross_compose(soma_args *a) {
    soma_meta m;
    if (!soma__broadcast("cross", a->in, 2, &m))
        return false;
    soma_tensor *x = soma_expand(a->in[0], m.ndim, m.shape), *y = soma_expand(a->in[1], m.ndim, m.shape), *part[3];
    const int dim = x ? cross_dim(a, x) : -1;
    if (dim < 0)
        return false;
    if (m.shape[dim] != 3)
        return soma__expected(x, "a", "size 3 along dim");
    for (int i = 0; i < 3; i++) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        part[i] = soma_sub(soma_mul(soma_select(x, dim, j), soma_select(y, dim, k)),
                           soma_mul(soma_select(x, dim, k), soma_select(y, dim, j)));
    }
    return soma__return(a, soma_stack(part, 3, dim));
}

/* ---- tensordot -------------------------------------------------------------------------------------------------------- */

/* Order with `dims` first or last, and the sizes of both parts. */
static bool split_dims(const char *op, const soma_tensor *x, const soma_attr *dims, bool last, int64_t *order, int64_t *rest_shape,
                       int *n_rest) {
    uint32_t mask = 0;
    if (dims->count > 0 && !soma__dim_mask(op, dims->count, dims->value.ints, x->ndim, &mask))
        return false;
    int n = 0;
    *n_rest = 0;
    for (int pass = 0; pass < 2; pass++) {
        if ((pass == 1) == last)
            for (int i = 0; i < dims->count; i++)
                order[n++] = soma__dim(op, dims->value.ints[i], x->ndim);
        else
            for (int d = 0; d < x->ndim; d++)
                if (!(mask >> d & 1)) {
                    order[n++] = d;
                    rest_shape[(*n_rest)++] = x->shape[d];
                }
    }
    return true;
}

static bool tensordot_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = a->in[1];
    soma_attr dx = a->attrs[1], dy = a->attrs[2];
    const int64_t n = soma__attr_int(a, 0);
    int64_t ox[SOMA_MAX_DIMS], oy[SOMA_MAX_DIMS], shape[2 * SOMA_MAX_DIMS], back[SOMA_MAX_DIMS], k = 1;
    int nx, ny;
    if (dx.count == 0 && dy.count == 0) {
        if (n < 0 || n > x->ndim || n > y->ndim) {
            soma_fail(SOMA_EINVAL, "tensordot: dims is %lld, expected 0 to the dimensions of both, %d and %d", (long long)n, x->ndim,
                      y->ndim);
            return false;
        }
        for (dx.count = dy.count = 0; dx.count < n; dx.count++, dy.count++) {
            dx.value.ints[dx.count] = x->ndim - n + dx.count;
            dy.value.ints[dy.count] = dy.count;
        }
    }
    if (dx.count != dy.count) {
        soma_fail(SOMA_EINVAL, "tensordot: %d dims of a and %d of b, expected as many", dx.count, dy.count);
        return false;
    }
    if (!split_dims("tensordot", x, &dx, true, ox, shape, &nx) || !split_dims("tensordot", y, &dy, false, oy, back, &ny))
        return false;
    for (int i = 0; i < dx.count; i++) {
        if (!sizes_agree(a, 0, x->shape[ox[nx + i]], 1, y->shape[oy[i]]))
            return false;
        k *= x->shape[ox[nx + i]];
    }
    if (nx + ny > SOMA_MAX_DIMS)
        return soma__expected(x, "a", "fewer dimensions: the result has more than 8");
    memcpy(shape + nx, back, (size_t)ny * sizeof *shape);
    soma_tensor *rows = soma_reshape(soma_permute(x, x->ndim, ox), 2, (const int64_t[]){soma__numel(nx, shape), k});
    soma_tensor *columns = soma_reshape(soma_permute(y, y->ndim, oy), 2, (const int64_t[]){k, soma__numel(ny, back)});
    return soma__return(a, soma_reshape(soma_matmul(rows, columns), nx + ny, shape));
}

/* ---- input plus a product --------------------------------------------------------------------------------------------- */

/* beta input + alpha product; a beta of 0 leaves input out, whatever is in it. */
static bool combine(soma_args *a, soma_tensor *product) {
    const double beta = soma__attr_float(a, 0), alpha = soma__attr_float(a, 1);
    soma_tensor *input = a->in[0];
    if (!product)
        return false;
    const bool whole = !soma_dtype_is_float((soma_dtype)product->dtype);
    soma_tensor *by_alpha = whole ? soma_scalar_int((int64_t)alpha) : soma_scalar(alpha),
                *by_beta = whole ? soma_scalar_int((int64_t)beta) : soma_scalar(beta);
    soma_meta m;
    if (!soma__broadcast(a->op->name, (soma_tensor *const[]){input, product}, 2, &m) || m.ndim != product->ndim ||
        soma__numel(m.ndim, m.shape) != product->numel)
        return soma_error() != SOMA_OK ? false : soma__expected(input, "input", "something that broadcasts to the product's shape");
    if (alpha != 1)
        product = soma_mul(product, by_alpha);
    if (beta == 0)
        return soma__return(a, product);
    return soma__return(a, soma_add(beta == 1 ? input : soma_mul(input, by_beta), product));
}

static bool addmm_compose(soma_args *a) {
    soma_tensor *x = a->in[1], *y = a->in[2];
    return rank_is(a, 1, 2, "a matrix") && rank_is(a, 2, 2, "a matrix") && sizes_agree(a, 1, x->shape[1], 2, y->shape[0]) &&
           combine(a, soma_matmul(x, y));
}
static bool batches(soma_args *a) {
    const soma_tensor *x = a->in[1], *y = a->in[2];
    return rank_is(a, 1, 3, "matrices [b, n, m]") && rank_is(a, 2, 3, "matrices [b, m, p]") &&
           sizes_agree(a, 1, x->shape[0], 2, y->shape[0]) && sizes_agree(a, 1, x->shape[2], 2, y->shape[1]);
}
static bool baddbmm_compose(soma_args *a) { return batches(a) && combine(a, soma_matmul(a->in[1], a->in[2])); }
static bool addbmm_compose(soma_args *a) {
    soma_tensor *x = a->in[1], *y = a->in[2];
    if (!batches(a))
        return false;
    const int64_t b = x->shape[0], n = x->shape[1], m = x->shape[2], p = y->shape[2]; /* the sum over batches is part of one product */
    return combine(a, soma_matmul(soma_reshape(soma_permute(x, SOMA_DIMS(1, 0, 2)), 2, (const int64_t[]){n, b * m}),
                                  soma_reshape(y, 2, (const int64_t[]){b * m, p})));
}
static bool addmv_compose(soma_args *a) {
    soma_tensor *x = a->in[1], *y = a->in[2];
    return rank_is(a, 1, 2, "a matrix") && rank_is(a, 2, 1, "a vector") && sizes_agree(a, 1, x->shape[1], 2, y->shape[0]) &&
           combine(a, soma_matmul(x, y));
}
static bool addr_compose(soma_args *a) {
    return rank_is(a, 1, 1, "a vector") && rank_is(a, 2, 1, "a vector") && combine(a, soma_outer(a->in[1], a->in[2]));
}

/* ---- multi_dot -------------------------------------------------------------------------------------------------------- */

enum { CHAIN = 24 };

/* Matrices i … k in the order that costs the fewest multiplications (Cormen et al., 15.2). */
static soma_tensor *chain(soma_tensor *const *m, int (*cut)[CHAIN], int i, int k) {
    return i == k ? m[i] : soma_matmul(chain(m, cut, i, cut[i][k]), chain(m, cut, cut[i][k] + 1, k));
}
static bool multi_dot_compose(soma_args *a) {
    soma_tensor *m[CHAIN];
    double cost[CHAIN][CHAIN] = {{0}}, size[CHAIN + 1];
    int cut[CHAIN][CHAIN], n = a->n_in;
    char text[SOMA__SHAPE_TEXT];
    if (n < 2 || n > CHAIN) {
        soma_fail(SOMA_EINVAL, "multi_dot: %d tensors, expected 2 to %d", n, CHAIN);
        return false;
    }
    for (int i = 0; i < n; i++) {
        m[i] = a->in[i];
        const bool edge = i == 0 || i == n - 1;
        if (m[i]->ndim != 2 && !(edge && m[i]->ndim == 1))
            return soma__expected(m[i], "a tensor",
                                  edge ? "a matrix or a vector" : "a matrix (only the first and the last may be vectors)");
        if (m[i]->ndim == 1)
            m[i] = soma_unsqueeze(m[i], i == 0 ? 0 : 1);
        if (!m[i])
            return false;
        if (i > 0 && m[i]->shape[0] != m[i - 1]->shape[1]) {
            soma_fail(SOMA_ESHAPE, "multi_dot: tensor %d is %s, expected %lld rows", i, soma__tensor_text(a->in[i], text),
                      (long long)m[i - 1]->shape[1]);
            return false;
        }
        size[i] = (double)m[i]->shape[0];
        size[i + 1] = (double)m[i]->shape[1];
    }
    for (int length = 1; length < n; length++)
        for (int i = 0; i + length < n; i++) {
            const int k = i + length;
            cost[i][k] = -1;
            for (int j = i; j < k; j++) {
                const double c = cost[i][j] + cost[j + 1][k] + size[i] * size[j + 1] * size[k + 1];
                if (cost[i][k] < 0 || c < cost[i][k]) {
                    cost[i][k] = c;
                    cut[i][k] = j;
                }
            }
        }
    soma_tensor *y = chain(m, cut, 0, n - 1);
    if (a->in[n - 1]->ndim == 1)
        y = soma_squeeze(y, SOMA_DIMS(1));
    return soma__return(a, a->in[0]->ndim == 1 ? soma_squeeze(y, SOMA_DIMS(0)) : y);
}

/* ---- vander ----------------------------------------------------------------------------------------------------------- */

/* PyTorch's torch.vander takes vectors; more dimensions are linalg.vander's batches. */
static bool vander_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const int64_t given = soma__attr_int(a, 0);
    if (x->ndim < 1)
        return soma__expected(x, "x", "[..., n]");
    const int64_t n = given < 0 ? x->shape[x->ndim - 1] : given;
    if (n == 0 || x->ndim == SOMA_MAX_DIMS)
        return soma__expected(x, "x", "[..., n] and N of 1 or more");
    soma_tensor **column = soma__calloc((size_t)n, sizeof *column), *y = NULL;
    if (!column)
        return false;
    column[0] = soma_ones(x->ndim, x->shape, (soma_dtype)x->dtype);
    for (int64_t i = 1; i < n; i++)
        column[i] = i == 1 ? x : soma_mul(column[i - 1], x);
    if (soma_error() == SOMA_OK)
        y = soma_stack(column, (int)n, -1);
    soma__free(column);
    return soma__return(a, soma__attr_int(a, 1) ? y : soma_flip(y, SOMA_DIMS(-1)));
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

SOMA__LINES(mm, "[2,3] [3,4]", "s[3,2] s[2,2]", "[1,4] [4,1]", "[0,3] [3,2]", "[3,0] [0,2]", "[5,7] s[7,3]",
            "[2,3] [4,3] !ESHAPE mm: a is [2, 3] f32 and b is [4, 3] f32: sizes 3 and 4 must be equal",
            "[3] [3,2] !ESHAPE mm: a is [3] f32, expected a matrix")
SOMA__LINES(bmm, "[2,2,3] [2,3,2]", "s[3,2,2] s[3,2,1]", "[1,1,4] [1,4,1]", "[0,2,3] [0,3,2]", "[2,3,0] [2,0,2]", "[1,3,5] s[1,5,2]",
            "[2,2,3] [1,3,2] !ESHAPE sizes 2 and 1 must be equal", "[2,3] [2,3,2] !ESHAPE expected matrices [b, n, m]")
SOMA__LINES(mv, "[2,3] [3]", "s[3,2] s[2]", "[1,4] [4]", "[0,3] [3]", "[3,0] [0]", "[5,7] s[7]",
            "[2,3] [2] !ESHAPE sizes 3 and 2 must be equal", "[2,3] [3,1] !ESHAPE b is [3, 1] f32, expected a vector")
SOMA__LINES(dot, "[3] [3]", "s[5] [5]", "[1] [1]", "[0] [0]", "[17] s[17]", "s[4] s[4]", "[3] [4] !ESHAPE sizes 3 and 4 must be equal",
            "[3,1] [3] !ESHAPE expected a vector")
#define vdot_lines dot_lines
SOMA__LINES(inner, "[2,3] [4,3]", "s[2,2,3] [3]", "[3] s[2,3]", "[] [2,3]", "[0,3] [2,3]", "[4] [4]", "[2,0] [3,0]",
            "[2,3] [3,2] !ESHAPE sizes 3 and 2 must be equal")
SOMA__LINES(kron, "[2,3] [3,2]", "s[2,2] [3]", "[] [2,2]", "[2] s[2,1,2]", "[0,2] [2,2]", "[1,2,2] s[2,1,3]",
            "[1,1,1,1,1] [2] !ESHAPE a is [1, 1, 1, 1, 1] f32, expected at most 4 dimensions")
SOMA__LINES(cross, "[2,3] [2,3]", "s[3,4] [3,4] dim=0", "[2,3] [3]", "[3,1,2] s[3,2,1] dim=0", "[0,3] [0,3]", "[3] s[3]",
            "[2,4] [2,4] !ESHAPE a is [2, 4] f32, expected a dimension of size 3", "[2,3] [2,3] dim=0 !ESHAPE expected size 3 along dim")
SOMA__LINES(tensordot, "[2,3,4] [3,4,2]", "s[2,3] [3,4] dims=1", "[2,3] [2,2] dims=0", "[2,3,4] s[4,2,3] dims_a=0,1 dims_b=1,2",
            "[3,2] [2,3] dims_a=-1,0 dims_b=0,1", "[0,3] [3,2] dims=1", "[2,3] [4,2] dims=1 !ESHAPE sizes 3 and 4 must be equal",
            "[2,3] [3,2] dims_a=0,1 dims_b=0 !EINVAL 2 dims of a and 1 of b",
            "[2,3] [3] dims=2 !EINVAL dims is 2, expected 0 to the dimensions of both")
SOMA__LINES(addmm, "[2,4] [2,3] [3,4]", "s[4] [3,2] s[2,4] beta=2 alpha=3", "[] [1,4] [4,1]", "[2,1] [2,2] [2,3] beta=0 ~",
            "[0,2] [0,3] [3,2]", "[3,2] [3,0] [0,2] alpha=2",
            "[2,4] [2,3] [4,4] !ESHAPE mat1 is [2, 3] f32 and mat2 is [4, 4] f32: sizes 3 and 4 must be equal",
            "[3,4] [2,3] [3,4] !ESHAPE shapes [3, 4] and [2, 4] do not broadcast",
            "[2,2,4] [2,3] [3,4] !ESHAPE expected something that broadcasts to the product's shape")
SOMA__LINES(addmv, "[2] [2,3] [3]", "s[3] s[3,2] [2] beta=2 alpha=3", "[] [1,4] [4]", "[1] [2,2] [2]", "[0] [0,3] [3]", "[3] [3,0] [0]",
            "[2] [2,3] [2] !ESHAPE mat is [2, 3] f32 and vec is [2] f32: sizes 3 and 2 must be equal")
SOMA__LINES(addr, "[2,3] [2] [3]", "s[3,2] s[3] [2] beta=2 alpha=3", "[] [1] [4]", "[2,1] [2] [2]", "[0,3] [0] [3]", "[3] [2] s[3]",
            "[2,3] [2,1] [3] !ESHAPE vec1 is [2, 1] f32, expected a vector")
SOMA__LINES(baddbmm, "[2,2,2] [2,2,3] [2,3,2]", "s[2,1] [3,2,2] s[3,2,1] beta=2 alpha=3", "[] [1,1,4] [1,4,1]", "[1,2,1] [2,2,2] [2,2,2]",
            "[0,2,2] [0,2,3] [0,3,2]", "[2,3,2] [2,3,0] [2,0,2]", "[2,2,2] [2,2,3] [1,3,2] !ESHAPE sizes 2 and 1 must be equal")
SOMA__LINES(addbmm, "[2,2] [2,2,3] [2,3,2]", "s[2,1] [3,2,2] s[3,2,1] beta=2 alpha=3", "[] [1,1,4] [1,4,1]", "[2] [2,2,2] [2,2,2]",
            "[2,2] [0,2,3] [0,3,2]", "[3,2] [2,3,0] [2,0,2]", "[2,2] [2,2,3] [1,3,2] !ESHAPE sizes 2 and 1 must be equal")
SOMA__LINES(multi_dot, "[2,3] [3,4]", "s[2,5] [5,1] [1,3]", "[3] [3,2] [2,4] [4]", "[2,3] s[3,2] [2]", "[1,2] [2,3] [3,1] [1,4]",
            "[0,2] [2,3] [3,2]", "[2,3] [4,2] !ESHAPE tensor 1 is [4, 2] f32, expected 3 rows", "[2,3] !EINVAL 1 tensors, expected 2 to 24",
            "[2,3] [3] [3,2] !ESHAPE expected a matrix (only the first and the last may be vectors)")
SOMA__LINES(vander, "[4]", "s[3] N=5", "[3] N=2 increasing=true", "[2,3] N=4", "[1] N=1 increasing=true ~", "[0] N=2",
            "[3] N=0 !ESHAPE N of 1 or more", "[] !ESHAPE expected [..., n]")

#define PAIR(NAME, ...)                                                                                                                    \
    static const soma_op NAME##_op = {SOMA__COMPOSITE(NAME),                                                                                       \
                                      .family = "matmul",                                                                                  \
                                      .in = {{.name = "a"}, {.name = "b"}},                                                                \
                                      .n_in = 2,                                                                                           \
                                      .outputs = 1,                                                                                        \
                                      .dtypes = SOMA_NUMBERS,                                                                              \
                                      .promote = SOMA_PROMOTE_SAME,                                                                        \
                                      .backward = SOMA_COMPOSED,                                                                           \
                                      __VA_ARGS__};
#define PAIR_C(NAME)                                                                                                                       \
    soma_tensor *soma_##NAME(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&NAME##_op, NULL, a, b); }
PAIR(mm, .onnx = "MatMul", .doc = "Product of two matrices, a [n, m] and b [m, p]; nothing broadcasts (see matmul).")
PAIR(bmm, .onnx = "MatMul", .doc = "Products of matrices in pairs: a [b, n, m] and b [b, m, p]; nothing broadcasts (see matmul).")
PAIR(mv, .onnx = "MatMul", .doc = "Matrix a [n, m] times vector b [m].")
PAIR(dot, .onnx = "MatMul", .doc = "Sum of the products of two vectors' elements.")
#define vdot_compose dot_compose
#define vdot_samples dot_samples
#define vdot_errors dot_errors
PAIR(vdot, .onnx = "MatMul", .doc = "dot, for numbers that have no complex conjugate.")
PAIR(inner, .doc = "Sums of products along the last dimensions: a [..., k] with b [..., k], each row with each; a number multiplies.")
PAIR(kron, .doc = "Kronecker product: each element of a replaced by its multiple of b; shapes are filled up with ones in front.")
PAIR(cross, .doc = "Cross product of vectors of three elements along dim (not given: the first dimension of size 3); the others broadcast.",
     .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", SOMA_NO_INDEX, "dimension of the three elements; not given: the first of size 3")))
PAIR(tensordot,
     .doc = "Sum of products over several dimensions: the last `dims` of a with the first of b, or dims_a with dims_b in pairs; what is "
            "left of a, then of b.",
     .attrs = SOMA_ATTRS(SOMA_DEF_INT("dims", 2, "number of dimensions, when no lists are given"),
                         SOMA_DEF_INTS("dims_a", "dimensions of a", 0, 0), SOMA_DEF_INTS("dims_b", "those of b they meet", 0, 0)))
PAIR_C(mm)
PAIR_C(bmm)
PAIR_C(mv)
PAIR_C(dot)
PAIR_C(vdot)
PAIR_C(inner)
PAIR_C(kron)

#define SUM_OF(NAME, ONE, TWO, DOC)                                                                                                        \
    static const soma_op NAME##_op = {                                                                                                     \
        SOMA__COMPOSITE(NAME),                                                                                                            \
        .family = "matmul",                                                                                                                \
        .doc = DOC,                                                                                                                        \
        .in = {{.name = "input"}, {.name = ONE}, {.name = TWO}},                                                                           \
        .n_in = 3,                                                                                                                         \
        .outputs = 1,                                                                                                                      \
        .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("beta", 1, "factor of input; 0 leaves it out, NaN or not"),                                     \
                            SOMA_DEF_FLOAT("alpha", 1, "factor of the product")),                                                          \
        .dtypes = SOMA_NUMBERS,                                                                                                            \
        .promote = SOMA_PROMOTE_SAME,                                                                                                      \
        .backward = SOMA_COMPOSED,                                                                                                         \
    };                                                                                                                                     \
    soma_tensor *soma_##NAME(soma_tensor *input, soma_tensor *a, soma_tensor *b, double beta, double alpha) {                              \
        const soma_attr attrs[] = {SOMA_FLOAT("beta", beta), SOMA_FLOAT("alpha", alpha)};                                                  \
        return SOMA__RUN(&NAME##_op, attrs, input, a, b);                                                                                  \
    }
SUM_OF(addmm, "mat1", "mat2", "beta input + alpha (mat1 mat2); input broadcasts to the product [n, p].")
SUM_OF(addmv, "mat", "vec", "beta input + alpha (mat vec); input broadcasts to the product [n].")
SUM_OF(addr, "vec1", "vec2", "beta input + alpha (vec1 vec2ᵀ); input broadcasts to the product [n, m].")
SUM_OF(baddbmm, "batch1", "batch2", "beta input + alpha (batch1 batch2), matrices in pairs; input broadcasts to the products [b, n, p].")
SUM_OF(addbmm, "batch1", "batch2", "beta input + alpha times the sum of the products of matrices in pairs; input broadcasts to [n, p].")

static const soma_op multi_dot_op = {
    SOMA__COMPOSITE(multi_dot),
    .family = "matmul",
    .doc = "Product of a chain of matrices in the order that takes the fewest multiplications; the first and the last may be vectors.",
    .in = {{.name = "tensors"}},
    .n_in = 1,
    .variadic = true,
    .outputs = 1,
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};
static const soma_op vander_op = {
    SOMA__COMPOSITE(vander),
    .family = "matmul",
    .doc = "Powers of x's elements in columns (a Vandermonde matrix): x^(N-1) … x⁰, or rising. N < 0: as many as elements.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("N", -1, "columns; -1: as many as x has elements"),
                        SOMA_DEF_BOOL("increasing", false, "x⁰ comes first")),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};

soma_tensor *soma_cross(soma_tensor *a, soma_tensor *b, int64_t dim) {
    const soma_attr attr = SOMA_INT("dim", dim);
    return SOMA__RUN(&cross_op, &attr, a, b);
}
soma_tensor *soma_tensordot(soma_tensor *a, soma_tensor *b, int n_dims, const int64_t *dims_a, const int64_t *dims_b) {
    soma_attr attrs[3] = {SOMA_INT("dims", n_dims)};
    const int listed = dims_a && dims_b ? n_dims : 0;
    if (!soma__ints_attr(&attrs[1], "tensordot", "dims_a", listed, dims_a) ||
        !soma__ints_attr(&attrs[2], "tensordot", "dims_b", listed, dims_b))
        return NULL;
    return SOMA__RUN(&tensordot_op, attrs, a, b);
}
soma_tensor *soma_multi_dot(soma_tensor *const *tensors, int n) { return soma__run(&multi_dot_op, tensors, n, NULL); }
soma_tensor *soma_vander(soma_tensor *x, int64_t n, bool increasing) {
    const soma_attr attrs[] = {SOMA_INT("N", n), SOMA_BOOLEAN("increasing", increasing)};
    return SOMA__RUN(&vander_op, attrs, x);
}

soma_op_list soma__products_ops = {&mm_op,      &bmm_op,    &mv_op,        &dot_op,    &vdot_op,  &inner_op,
                                   &kron_op,    &cross_op,  &tensordot_op, &addmm_op,  &addmv_op, &addr_op,
                                   &baddbmm_op, &addbmm_op, &multi_dot_op, &vander_op, NULL};
