/* Linear algebra under torch.linalg's names, made of the factorisations in factors.c; the gradients are theirs. */
#include "ops/linalg.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MATRIX_DTYPES (SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64))

/* ---- Parts ------------------------------------------------------------------------------------------------------------ */

bool soma__check_info(const soma_tensor *info, const char *text) {
    for (int64_t i = 0; info && info->data && i < info->numel; i++) {
        const int64_t v = ((const int64_t *)info->data)[i];
        if (v == 0)
            continue;
        int64_t at[SOMA_MAX_DIMS], rest = i;
        for (int d = info->ndim - 1; d >= 0; rest /= info->shape[d--])
            at[d] = rest % info->shape[d];
        char where[SOMA__SHAPE_TEXT], what[160];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(what, sizeof what, text, (long long)v);
#pragma GCC diagnostic pop
        soma_fail(SOMA_EINVAL, "%s%s%s", what, info->ndim ? ", in batch " : "",
                  info->ndim ? soma__shape_text(info->ndim, at, where, sizeof where) : "");
        return false;
    }
    return info != NULL;
}

bool soma__same_batch(const char *op, soma_tensor **a, soma_tensor **b) {
    soma_meta m = {0};
    int64_t shape[SOMA_MAX_DIMS];
    const int na = (*a)->ndim - 2, nb = (*b)->ndim - 2, n = SOMA_MAX(na, nb);
    char one[SOMA__SHAPE_TEXT], two[SOMA__SHAPE_TEXT];
    for (int i = 1; i <= n; i++) {
        const int64_t p = i <= na ? (*a)->shape[na - i] : 1, q = i <= nb ? (*b)->shape[nb - i] : 1;
        if (p != q && p != 1 && q != 1) {
            soma_fail(SOMA_ESHAPE, "%s: the leading dimensions of %s and %s do not broadcast", op, soma__tensor_text(*a, one),
                      soma__tensor_text(*b, two));
            return false;
        }
        m.shape[n - i] = p == 1 ? q : p;
    }
    for (int i = 0; i < 2; i++) {
        soma_tensor **t = i ? b : a;
        memcpy(shape, m.shape, (size_t)n * sizeof *shape);
        memcpy(shape + n, (*t)->shape + (*t)->ndim - 2, 2 * sizeof *shape);
        if ((*t)->ndim != n + 2 || memcmp((*t)->shape, shape, (size_t)(n + 2) * sizeof *shape) != 0)
            *t = soma_expand(*t, n + 2, shape);
        if (!*t)
            return false;
    }
    return true;
}

static soma_tensor *eye_like(const soma_tensor *x) {
    if (!x)
        return NULL;
    const int64_t n = x->shape[x->ndim - 1];
    return soma_expand(soma_eye(n, n, (soma_dtype)x->dtype), x->ndim, x->shape);
}


/* All outputs of one of factors.c, the last of which is info. */
static bool factor(const soma_op *op, soma_tensor *a, soma_tensor *b, const soma_attr *attrs, const char *text, soma_tensor **out) {
    soma_tensor *const in[] = {a, b};
    return a && soma__apply(op, in, b ? 2 : 1, attrs, out, 0) && (!text || soma__check_info(out[op->outputs - 1], text));
}
#define SINGULAR "A is singular: pivot %lld of its LU factorisation is 0"
#define DIVERGED "no convergence (%lld): A may have NaN or infinite elements"

/* ---- Cholesky --------------------------------------------------------------------------------------------------------- */

static bool cholesky_compose(soma_args *a) {
    soma_tensor *out[SOMA_MAX_OUTPUTS], *x = a->in[0];
    const bool upper = soma__attr_int(a, 0) != 0;
    if (!soma__is_square(x, "A") || !factor(&soma__cholesky_ex_op, upper ? soma__t(x) : x, NULL, NULL,
                                            "A is not positive definite: its leading minor of order %lld is not positive", out))
        return false;
    return soma__return(a, upper ? soma__t(out[0]) : out[0]);
}

/* A = L Lᵀ or Uᵀ U. */
static soma_tensor *by_factor(soma_tensor *l, soma_tensor *b, bool upper) {
    return upper ? soma__trsm(l, soma__trsm(soma__t(l), b, false, false), true, false)
                 : soma__trsm(soma__t(l), soma__trsm(l, b, false, false), true, false);
}
static bool cholesky_solve_compose(soma_args *a) {
    soma_tensor *b = a->in[0], *l = a->in[1];
    return soma__is_matrix(b, "B") && soma__is_square(l, "L") && soma__same_batch("cholesky_solve", &b, &l) &&
           soma__return(a, by_factor(l, b, soma__attr_int(a, 0) != 0));
}
static bool cholesky_inverse_compose(soma_args *a) {
    soma_tensor *l = a->in[0];
    return soma__is_square(l, "L") && soma__return(a, by_factor(l, eye_like(l), soma__attr_int(a, 0) != 0));
}

/* ---- QR, singular values, eigenvalues --------------------------------------------------------------------------------- */

static bool qr_compose(soma_args *a) {
    const char *mode = a->attrs[0].value.s;
    const bool complete = strcmp(mode, "complete") == 0, r_only = strcmp(mode, "r") == 0;
    soma_tensor *out[SOMA_MAX_OUTPUTS], *x = a->in[0];
    if (!complete && !r_only && strcmp(mode, "reduced") != 0) {
        soma_fail(SOMA_EINVAL, "qr: mode is '%s', expected reduced, complete or r", mode);
        return false;
    }
    const soma_attr attr = SOMA_BOOLEAN("complete", complete);
    if (!soma__is_matrix(x, "A") || !factor(&soma__qr_ex_op, x, NULL, &attr, NULL, out))
        return false;
    a->out[0] = r_only ? soma_empty(SOMA_SHAPE(0), (soma_dtype)x->dtype) : out[0];
    a->out[1] = out[1];
    return a->out[0] != NULL;
}

/* Columns that complete u [..., m, k] to an orthogonal matrix. They are arbitrary, and have no gradient. */
static soma_tensor *completed(soma_tensor *u) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    const soma_attr attr = SOMA_BOOLEAN("complete", true);
    if (!u || soma__rows(u) == soma__columns(u))
        return u;
    if (!factor(&soma__qr_ex_op, soma_detach(u), NULL, &attr, NULL, out))
        return NULL;
    return soma_cat((soma_tensor *[]){u, soma_slice(out[0], -1, soma__columns(u), soma__rows(u), 1)}, 2, -1);
}

static bool thin_svd(soma_tensor *x, soma_tensor **out) {
    return soma__is_matrix(x, "A") && factor(&soma__svd_ex_op, x, NULL, NULL, DIVERGED, out);
}

static bool svd_compose(soma_args *a) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    const bool full = soma__attr_int(a, 0) != 0;
    if (!thin_svd(a->in[0], out))
        return false;
    a->out[0] = full ? completed(out[0]) : out[0];
    a->out[1] = out[1];
    a->out[2] = full ? soma__t(completed(soma__t(out[2]))) : out[2];
    return a->out[0] && a->out[2];
}

static bool svdvals_compose(soma_args *a) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    return thin_svd(a->in[0], out) && soma__return(a, out[1]);
}

static bool eigh_compose(soma_args *a) {
    soma_tensor *out[SOMA_MAX_OUTPUTS], *x = a->in[0];
    const char *uplo = a->attrs[0].value.s;
    if (strcmp(uplo, "L") != 0 && strcmp(uplo, "U") != 0) {
        soma_fail(SOMA_EINVAL, "%s: UPLO is '%s', expected L or U", a->op->name, uplo);
        return false;
    }
    const soma_attr attr = SOMA_BOOLEAN("upper", uplo[0] == 'U');
    if (!soma__is_square(x, "A") || !factor(&soma__eigh_ex_op, x, NULL, &attr, DIVERGED, out))
        return false;
    a->out[0] = out[0];
    if (a->op->outputs > 1)
        a->out[1] = out[1];
    return true;
}
#define eigvalsh_compose eigh_compose

/* ---- Solutions -------------------------------------------------------------------------------------------------------- */

static bool inverse_compose(soma_args *a) {
    soma_tensor *out[SOMA_MAX_OUTPUTS], *x = a->in[0];
    return soma__is_square(x, "A") && factor(&soma__solve_ex_op, x, eye_like(x), NULL, SINGULAR, out) && soma__return(a, out[0]);
}

/* B is a vector, or has A's batch and no columns: PyTorch's rule. */
static bool is_vector(const soma_tensor *a, const soma_tensor *b) {
    return b->ndim == 1 || (a->ndim - 1 == b->ndim && memcmp(a->shape, b->shape, (size_t)b->ndim * sizeof *b->shape) == 0);
}

static bool solve_compose(soma_args *a) {
    soma_tensor *out[SOMA_MAX_OUTPUTS], *x = a->in[0], *b = a->in[1];
    const bool left = soma__attr_int(a, 0) != 0;
    if (!soma__is_square(x, "A"))
        return false;
    const bool vector = is_vector(x, b);
    if (b->ndim == 0 || (vector && !left))
        return soma__expected(b, "B", left ? "a vector or matrices" : "matrices, when left is false");
    if (vector)
        b = soma_unsqueeze(b, -1);
    if (!left) {
        x = soma__t(x);
        b = soma__t(b);
    }
    if (!x || !b || !soma__same_batch("solve", &x, &b) || !factor(&soma__solve_ex_op, x, b, NULL, SINGULAR, out))
        return false;
    return soma__return(a, vector ? soma_squeeze(out[0], SOMA_DIMS(-1)) : left ? out[0] : soma__t(out[0]));
}

static bool solve_triangular_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *b = a->in[1];
    const bool upper = soma__attr_int(a, 0) != 0, left = soma__attr_int(a, 1) != 0, unit = soma__attr_int(a, 2) != 0;
    if (!soma__is_square(x, "A") || !soma__is_matrix(b, "B"))
        return false;
    if (!left) {
        x = soma__t(x);
        b = soma__t(b);
    }
    if (!x || !b || !soma__same_batch("solve_triangular", &x, &b))
        return false;
    soma_tensor *y = soma__trsm(x, b, upper == left, unit);
    return soma__return(a, left ? y : soma__t(y));
}

static soma_tensor *pseudo_inverse(soma_tensor *x, double atol, double rtol) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    const soma_attr attrs[] = {SOMA_FLOAT("atol", atol), SOMA_FLOAT("rtol", rtol)};
    return factor(&soma__pinv_ex_op, x, NULL, attrs, DIVERGED, out) ? out[0] : NULL;
}
static bool pinv_compose(soma_args *a) {
    return soma__is_matrix(a->in[0], "A") && soma__return(a, pseudo_inverse(a->in[0], soma__attr_float(a, 0), soma__attr_float(a, 1)));
}

static bool lstsq_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *b = a->in[1];
    if (!soma__is_matrix(x, "A"))
        return false;
    const bool vector = b->ndim == 1 || (b->ndim == x->ndim - 1 && memcmp(x->shape, b->shape, (size_t)b->ndim * sizeof *b->shape) == 0);
    b = vector ? soma_unsqueeze(b, -1) : b;
    if (!b || b->ndim < 2 || soma__rows(b) != soma__rows(x))
        return b && soma__expected(b, "B", "as many rows as A");
    if (!soma__same_batch("lstsq", &x, &b))
        return false;
    soma_tensor *y = soma_matmul(pseudo_inverse(x, 0, soma__attr_float(a, 0)), b);
    return soma__return(a, vector ? soma_squeeze(y, SOMA_DIMS(-1)) : y);
}

/* ---- Numbers ---------------------------------------------------------------------------------------------------------- */

static bool logdet_compose(soma_args *a) {
    soma_tensor *sign, *size;
    if (soma_slogdet(a->in[0], &sign, &size) != SOMA_OK)
        return false;
    return soma__return(a, soma_where(soma_lt(sign, soma_scalar(0)), soma_scalar(NAN), size));
}

static bool matrix_rank_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *out[SOMA_MAX_OUTPUTS];
    const double atol = soma__attr_float(a, 0), given = soma__attr_float(a, 1);
    const soma_attr attr = SOMA_BOOLEAN("upper", false);
    const bool symmetric = soma__attr_int(a, 2) != 0;
    if (!(symmetric ? soma__is_square(x, "A") : soma__is_matrix(x, "A")))
        return false;
    if (symmetric ? !factor(&soma__eigh_ex_op, x, NULL, &attr, DIVERGED, out) : !thin_svd(x, out))
        return false;
    soma_tensor *s = symmetric ? soma_abs(out[0]) : out[1];
    if (s && soma__columns(x) * soma__rows(x) == 0) {
        return soma__return(a, soma_sum(soma_to(s, SOMA_I64), SOMA_DIMS(-1), false));
    }
    const double eps = x->dtype == SOMA_F64 ? DBL_EPSILON : FLT_EPSILON, rtol = given >= 0 ? given
                                                                                : atol > 0
                                                                                    ? 0
                                                                                    : eps * (double)SOMA_MAX(soma__rows(x), soma__columns(x));
    soma_tensor *bound = soma_maximum(soma_mul_scalar(soma_amax(s, SOMA_DIMS(-1), true), rtol), soma_scalar(atol));
    return soma__return(a, soma_sum(soma_to(soma_gt(s, bound), SOMA_I64), SOMA_DIMS(-1), false));
}

/* Of the last two dimensions; out [...] without them. */
static soma_tensor *norm_of(soma_tensor *x, const char *ord) {
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    if (strcmp(ord, "fro") == 0)
        return soma_norm(x, SOMA_DIMS(-2, -1), false);
    const bool low = ord[0] == '-';
    const char *kind = ord + low;
    if (strcmp(ord, "nuc") == 0 || strcmp(kind, "2") == 0) {
        if (!thin_svd(x, out))
            return NULL;
        return ord[0] == 'n' ? soma_sum(out[1], SOMA_DIMS(-1), false)
               : low         ? soma_amin(out[1], SOMA_DIMS(-1), false)
                             : soma_amax(out[1], SOMA_DIMS(-1), false);
    }
    if (strcmp(kind, "1") != 0 && strcmp(kind, "inf") != 0) {
        soma_fail(SOMA_EINVAL, "ord is '%s', expected fro, nuc, 1, -1, 2, -2, inf or -inf", ord);
        return NULL;
    }
    soma_tensor *sums = soma_sum(soma_abs(x), 1, (const int64_t[]){kind[0] == '1' ? -2 : -1}, false);
    return low ? soma_amin(sums, SOMA_DIMS(-1), false) : soma_amax(sums, SOMA_DIMS(-1), false);
}

static bool matrix_norm_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    const soma_attr *dims = &a->attrs[1];
    if (!soma__is_matrix(x, "A"))
        return false;
    if (dims->count != 2) {
        soma_fail(SOMA_EINVAL, "matrix_norm: %d dims, expected two", dims->count);
        return false;
    }
    const int p = soma__dim("matrix_norm", dims->value.ints[0], x->ndim), q = soma__dim("matrix_norm", dims->value.ints[1], x->ndim);
    if (p < 0 || q < 0)
        return false;
    if (p == q) {
        soma_fail(SOMA_EINVAL, "matrix_norm: dim %d is named twice", p);
        return false;
    }
    int64_t order[SOMA_MAX_DIMS], n = 0;
    for (int d = 0; d < x->ndim; d++)
        if (d != p && d != q)
            order[n++] = d;
    order[n++] = p;
    order[n] = q;
    soma_tensor *y = norm_of(soma_permute(x, x->ndim, order), a->attrs[0].value.s);
    if (y && soma__attr_int(a, 2))
        y = soma_unsqueeze(soma_unsqueeze(y, SOMA_MIN(p, q)), SOMA_MAX(p, q));
    return soma__return(a, y);
}

static bool cond_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *out[SOMA_MAX_OUTPUTS];
    const char *ord = a->attrs[0].value.s;
    if (!soma__is_matrix(x, "A"))
        return false;
    if (strcmp(ord, "2") == 0 || strcmp(ord, "-2") == 0) {
        if (!thin_svd(x, out))
            return false;
        soma_tensor *top = soma_amax(out[1], SOMA_DIMS(-1), false), *low = soma_amin(out[1], SOMA_DIMS(-1), false);
        return soma__return(a, ord[0] == '-' ? soma_div(low, top) : soma_div(top, low));
    }
    if (!soma__is_square(x, "A") || !factor(&soma__solve_ex_op, x, eye_like(x), NULL, SINGULAR, out))
        return false;
    return soma__return(a, soma_mul(norm_of(x, ord), norm_of(out[0], ord)));
}

static bool matrix_power_compose(soma_args *a) {
    soma_tensor *x = a->in[0], *y = NULL, *out[SOMA_MAX_OUTPUTS];
    const int64_t given = soma__attr_int(a, 0);
    uint64_t n = given < 0 ? -(uint64_t)given : (uint64_t)given;
    if (!soma__is_square(x, "A"))
        return false;
    if (given < 0) {
        if (!factor(&soma__solve_ex_op, x, eye_like(x), NULL, SINGULAR, out))
            return false;
        x = out[0];
    }
    for (; n > 0; n >>= 1) {
        if (n & 1)
            y = y ? soma_matmul(y, x) : x;
        if (n > 1)
            x = soma_matmul(x, x);
    }
    return soma__return(a, y ? y : soma_clone(eye_like(x)));
}

/* Scaling and squaring with Taylor's sum of degree 16, whose rest is below rounding when the norm is at most 1/2 (Bader et al. 2019). */
static bool matrix_exp_compose(soma_args *a) {
    soma_tensor *x = a->in[0];
    if (!soma__is_square(x, "A"))
        return false;
    if (x->numel == 0) {
        a->out[0] = x;
        return true;
    }
    soma_tensor *top = soma_amax(soma_sum(soma_abs(soma_detach(x)), SOMA_DIMS(-2), false), SOMA_ALL, false);
    const double norm = top && top->data ? soma_item(top) : 0;
    int squarings = norm > 0.5 && isfinite(norm) ? (int)ceil(log2(norm)) + 1 : 0;
    soma_tensor *eye = eye_like(x), *s = soma_mul_scalar(x, ldexp(1, -squarings)), *y = eye;
    for (int k = 16; k > 0; k--)
        y = soma_add(eye, soma_mul_scalar(soma_matmul(s, y), 1.0 / k));
    while (squarings-- > 0)
        y = soma_matmul(y, y);
    return soma__return(a, y);
}

/* ---- Entries ---------------------------------------------------------------------------------------------------------- */

SOMA__LINES(cholesky, "p[3,3]", "sp[2,4,4]", "p[2,3,3] upper=true", "p[1,1]", "p[0,0]", "p[0,2,2]", "p[2,1,2,2]",
            "[2,2]=1,2,2,1 !EINVAL cholesky: A is not positive definite: its leading minor of order 2 is not positive",
            "[2,1,1]=1,-1 !EINVAL order 1 is not positive, in batch [1]",
            "[2,3] !ESHAPE cholesky: A is [2, 3] f32, expected square matrices")
SOMA__LINES(cholesky_solve, "[3,2] [3,3]@0.5:2", "s[2,3,1] [3,3]@0.5:2 upper=true", "[2,2] s[2,2,2]@0.5:2", "[1,1] [1,1]@1:2",
            "[0,2] [0,0]", "[2,3,2] [2,3,3]@1:2", "[3,2] [3,2] !ESHAPE L is [3, 2] f32, expected square matrices",
            "[2,3,2] [3,3,3] !ESHAPE do not broadcast")
SOMA__LINES(cholesky_inverse, "[3,3]@0.5:2", "s[2,3,3]@0.5:2 upper=true", "[1,1]@1:2", "[0,0]", "[2,2,2,2]@1:2", "[4,4]@1:2",
            "[3,2] !ESHAPE L is [3, 2] f32, expected square matrices")
SOMA__LINES(qr, "[4,3]", "s[2,3,3]", "[2,4]", "[3,3] mode='complete'", "[4,2] mode='r'", "[0,3]", "[2,4,2] mode='reduced'",
            "s[3,5] mode='complete'", "[4,2] mode='complete' ~", "[3] !ESHAPE A is [3] f32, expected [..., m, n]",
            "[3,3] mode='thin' !EINVAL mode is 'thin', expected reduced, complete or r")
SOMA__LINES(svd, "[4,3] full_matrices=false", "s[2,3,3] full_matrices=false", "[2,4] full_matrices=false", "[1,1]", "[3,3]",
            "[0,2] full_matrices=false", "[4,2] ~", "[2,3] ~", "[3] !ESHAPE A is [3] f32, expected [..., m, n]",
            "[1,2]=nan,1 !EINVAL svd: no convergence (1): A may have NaN or infinite elements")
SOMA__LINES(svdvals, "[4,3]", "s[2,3,3]", "[2,4]", "[1,1]@1:2", "[0,2]", "[3,2,2]", "[3] !ESHAPE A is [3] f32, expected [..., m, n]")
SOMA__LINES(eigh, "y[3,3]", "sy[2,4,4]", "y[3,3] UPLO='U'", "y[1,1]", "y[0,0]", "y[0,2,2]", "y[2,1,2,2]",
            "[2,3] !ESHAPE A is [2, 3] f32, expected square matrices", "[2,2]=nan,1,1,2 !EINVAL eigh: no convergence",
            "y[2,2] UPLO='X' !EINVAL UPLO is 'X', expected L or U")
SOMA__LINES(eigvalsh, "y[3,3]", "sy[2,4,4]", "y[3,3] UPLO='U'", "y[1,1]", "y[0,0]", "y[2,1,2,2]",
            "[2,3] !ESHAPE A is [2, 3] f32, expected square matrices")
SOMA__LINES(inverse, "p[3,3]", "s[2,3,3]", "[1,1]@1:2", "[0,0]", "[0,2,2]", "p[2,1,2,2]",
            "[2,2]=1,2,2,4 !EINVAL inverse: A is singular: pivot 2 of its LU factorisation is 0",
            "[2,3] !ESHAPE A is [2, 3] f32, expected square", "[2,1,1]=0,1 !EINVAL pivot 1 of its LU factorisation is 0, in batch [0]")
SOMA__LINES(solve, "p[3,3] [3,2]", "sp[2,3,3] [3,1]", "p[3,3] [3]", "p[2,2,2] s[2,2]", "p[3,3] [2,3] left=false", "[0,0] [0,2]",
            "p[2,2] [3,2,2]", "[2,2]=1,2,2,4 [2] !EINVAL solve: A is singular: pivot 2",
            "[2,2] [3,2] !ESHAPE A is [2, 2] f32 and B is [3, 2] f32",
            "[3,2,2] [2,2,2] !ESHAPE the leading dimensions of [3, 2, 2] f32 and [2, 2, 2] f32 do not broadcast",
            "[2,2] [2] left=false !ESHAPE expected matrices, when left is false")
SOMA__LINES(solve_triangular, "[3,3]@1:2 [3,2] upper=true", "s[2,3,3]@1:2 [3,1] upper=false", "[2,2] s[2,3] upper=true unitriangular=true",
            "[3,3]@1:2 [2,3] upper=false left=false", "[0,0] [0,2] upper=true", "[2,2]@1:2 [2,2,2] upper=true left=false",
            "[2,3] [2,2] upper=true !ESHAPE A is [2, 3] f32, expected square matrices",
            "[2,2] [2] upper=true !ESHAPE B is [2] f32, expected [..., m, n]")
SOMA__LINES(pinv, "[3,3]", "s[2,4,2]", "[2,3]", "[1,1]@1:2", "[0,2]", "[2,2]=1,2,2,4 ~", "p[3,3] rtol=0.01",
            "[3] !ESHAPE A is [3] f32, expected [..., m, n]", "[1,1]=inf !EINVAL pinv: no convergence")
SOMA__LINES(lstsq, "[4,2] [4,3]", "s[2,4,2] [4,1]", "[2,3] [2,2]", "[3,2] [3]", "[2,3,2] s[2,3]", "[3,3] [2,3,1]",
            "[3,2] [2,2] !ESHAPE B is [2, 2] f32, expected as many rows as A", "[3] [3] !ESHAPE A is [3] f32, expected [..., m, n]")
SOMA__LINES(logdet, "p[3,3]", "sp[2,3,3]", "[1,1]@1:2", "[0,0]", "p[2,1,2,2]", "[2,2]=1,2,2,1 ~", "[2,2]=1,2,2,4 ~",
            "[2,3] !ESHAPE A is [2, 3] f32, expected square matrices")
SOMA__LINES(matrix_rank, "[4,3]", "s[2,3,3]", "[2,2]=1,2,2,4", "y[3,3] hermitian=true", "[0,2]", "[3,3] rtol=0.5", "[2,2] atol=10.0",
            "[3] !ESHAPE A is [3] f32, expected [..., m, n]")
SOMA__LINES(matrix_norm, "[4,3]", "s[2,3,3] ord='nuc'", "[2,4] ord='2' keepdim=true", "[3,2,3] ord='1' dims=0,2", "[2,3] ord='-inf'",
            "[2,3] ord='-2'", "[2,3] ord='inf'", "s[3,2] ord='-1'", "[3] !ESHAPE A is [3] f32, expected [..., m, n]",
            "[2,3] ord='3' !EINVAL ord is '3', expected fro", "[2,3] dims=0,0 !EINVAL dim 0 is named twice")
SOMA__LINES(cond, "[4,3]", "s[2,3,3]", "[3,3] ord='fro'", "p[2,2] ord='1'", "p[3,3] ord='-2'", "p[2,2] ord='inf'", "p[2,2] ord='nuc'",
            "[2,2]=1,2,2,4 ord='1' !EINVAL A is singular: pivot 2", "[2,3] ord='1' !ESHAPE expected square matrices")
SOMA__LINES(matrix_power, "[3,3] n=3", "s[2,3,3] n=2", "p[3,3] n=-2", "[2,2] n=0 ~", "[0,0] n=3", "[1,1] n=5", "[2,2] n=1",
            "[2,2]=1,2,2,4 n=-1 !EINVAL A is singular: pivot 2", "[2,3] n=2 !ESHAPE A is [2, 3] f32, expected square")
SOMA__LINES(matrix_exp, "[3,3]", "s[2,3,3]@-3:3", "[1,1]", "[0,0]", "[2,1,2,2]", "y[4,4]", "[2,3] !ESHAPE A is [2, 3] f32, expected square")

#define UPPER_ATTR SOMA_DEF_BOOL("upper", false, "an upper triangle instead of a lower")
#define ENTRY(NAME, OUTPUTS, ...)                                                                                                          \
    static const soma_op NAME##_op = {SOMA__COMPOSITE(NAME),                                                                                       \
                                      .family = "linalg",                                                                                  \
                                      .outputs = OUTPUTS,                                                                                  \
                                      .dtypes = MATRIX_DTYPES,                                                                             \
                                      .promote = SOMA_PROMOTE_SAME,                                                                        \
                                      __VA_ARGS__};
#define ONE .in = {{.name = "A"}}, .n_in = 1, .backward = SOMA_COMPOSED
#define TWO(A, B) .in = {{.name = A}, {.name = B}}, .n_in = 2, .backward = SOMA_COMPOSED
ENTRY(cholesky, 1, ONE, .attrs = SOMA_ATTRS(UPPER_ATTR),
      .doc = "L of A = L Lᵀ for symmetric positive definite matrices, whose lower triangle is read; upper: U of A = Uᵀ U from the "
             "upper one. The gradient is that over symmetric matrices.")
ENTRY(cholesky_solve, 1, TWO("B", "L"), .attrs = SOMA_ATTRS(UPPER_ATTR), .doc = "Solution of A X = B from A's Cholesky factor L.")
ENTRY(cholesky_inverse, 1, .in = {{.name = "L"}}, .n_in = 1, .backward = SOMA_COMPOSED, .attrs = SOMA_ATTRS(UPPER_ATTR),
      .doc = "A⁻¹ from A's Cholesky factor L.")
ENTRY(qr, 2, ONE,
      .attrs = SOMA_ATTRS(SOMA_DEF_STRING("mode", "reduced",
                                          "reduced: Q [m, k], R [k, n], k = min(m, n); complete: Q [m, m], R [m, n]; r: R alone")),
      .doc = "A = Q R with orthogonal columns Q and upper triangular R, by Householder's reflections (1958); LAPACK's signs. No gradient "
             "for complete with m > n.")
ENTRY(svd, 3, ONE, .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("full_matrices", true, "U and Vh are square")),
      .doc = "A = U diag(S) Vh with singular values S >= 0 in falling order, by one-sided Jacobi rotations, accurate also for small "
             "values. Signs are fixed: of each pair "
             "of vectors the longer one's largest element is positive. The gradient through U and Vh is infinite where values are equal; "
             "that of S is not (svdvals). "
             "The columns that full_matrices adds have no gradient.")
ENTRY(svdvals, 1, ONE, .doc = "Singular values in falling order; their gradient is finite also where they are equal.")
#define UPLO_ATTR SOMA_DEF_STRING("UPLO", "L", "the triangle that is read: L or U")
ENTRY(
    eigh, 2, ONE, .attrs = SOMA_ATTRS(UPLO_ATTR),
    .doc =
        "Eigenvalues of symmetric matrices in rising order and eigenvectors in columns, the largest element of each positive. The gradient "
        "through vectors is infinite where values are equal.")
ENTRY(eigvalsh, 1, ONE, .attrs = SOMA_ATTRS(UPLO_ATTR), .doc = "Eigenvalues of symmetric matrices in rising order.")
ENTRY(inverse, 1, ONE, .doc = "A⁻¹ by LU factorisation. To solve an equation, solve is faster and more accurate.")
ENTRY(solve, 1, TWO("A", "B"), .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("left", true, "A X = B; else X A = B")),
      .doc = "Solution of A X = B by LU factorisation with partial pivoting; B [..., n, k], a vector [n], or vectors with A's leading "
             "dimensions.")
ENTRY(solve_triangular, 1, TWO("A", "B"),
      .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("upper", false, "A is upper triangular; the other triangle is not read"),
                          SOMA_DEF_BOOL("left", true, "A X = B; else X A = B"),
                          SOMA_DEF_BOOL("unitriangular", false, "the diagonal is taken as ones")),
      .doc = "Solution of A X = B for triangular A. Zeros on the diagonal give infinities, as in PyTorch.")
ENTRY(pinv, 1, ONE,
      .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("atol", 0, "singular values up to this count as 0"),
                          SOMA_DEF_FLOAT("rtol", -1, "and up to this much of the largest; -1: epsilon times the larger size")),
      .doc = "Moore-Penrose inverse, by singular values. The gradient holds where the rank does not change (Golub & Pereyra 1973).")
ENTRY(lstsq, 1, TWO("A", "B"),
      .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("rcond", -1,
                                         "singular values up to this much of the largest count as 0; -1: epsilon times the larger size")),
      .doc = "X with the least |A X - B|, of those the one with the least |X|, through the pseudo-inverse, so A may be of any rank. "
             "PyTorch's other outputs (residuals, rank, singular "
             "values) come from matrix_norm, matrix_rank and svdvals.")
ENTRY(logdet, 1, ONE, .doc = "Logarithm of the determinant: NaN where it is negative, -inf where it is 0.")
ENTRY(matrix_rank, 1, .in = {{.name = "A"}}, .n_in = 1, .backward = SOMA_NONDIFF,
      .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("atol", 0, "singular values up to this count as 0"),
                          SOMA_DEF_FLOAT("rtol", -1, "and up to this much of the largest; -1: epsilon times the larger size"),
                          SOMA_DEF_BOOL("hermitian", false, "A is symmetric: by eigenvalues")),
      .doc = "Number of singular values that are not 0 by the tolerances, i64.")
ENTRY(matrix_norm, 1, ONE,
      .attrs = SOMA_ATTRS(SOMA_DEF_STRING("ord", "fro",
                                          "fro: root of the sum of squares; nuc: sum of singular values; 2, -2: their largest, smallest; "
                                          "1, -1: of column sums; inf, -inf: of row sums"),
                          SOMA_DEF_INTS("dims", "the two dimensions of the matrices", 2, -2, -1),
                          SOMA_DEF_BOOL("keepdim", false, "leave them with size 1")),
      .doc = "Norms of matrices.")
ENTRY(cond, 1, ONE,
      .attrs = SOMA_ATTRS(SOMA_DEF_STRING("ord", "2", "norm, as of matrix_norm; 2 and -2 take any matrix, the others square ones")),
      .doc = "Condition number |A| |A⁻¹|: by how much solving multiplies relative errors.")
ENTRY(matrix_power, 1, ONE, .attrs = SOMA_ATTRS(SOMA_NEED_INT("n", "exponent; below 0 of the inverse")),
      .doc = "A multiplied with itself n times, by squaring.")
ENTRY(matrix_exp, 1, ONE, .doc = "The matrix exponential 1 + A + A²/2! + …, by scaling and squaring.")

soma_tensor *soma_cholesky(soma_tensor *a, bool upper) { return SOMA__RUN(&cholesky_op, &SOMA_BOOLEAN("upper", upper), a); }
soma_tensor *soma_cholesky_solve(soma_tensor *b, soma_tensor *l, bool upper) {
    return SOMA__RUN(&cholesky_solve_op, &SOMA_BOOLEAN("upper", upper), b, l);
}
soma_tensor *soma_cholesky_inverse(soma_tensor *l, bool upper) { return SOMA__RUN(&cholesky_inverse_op, &SOMA_BOOLEAN("upper", upper), l); }

/* Runs an operator of several outputs; NULL where the caller wants none. */
static soma_status run_all(const soma_op *op, soma_tensor *a, const soma_attr *attrs, soma_tensor **const *to) {
    soma_tensor *out[SOMA_MAX_OUTPUTS] = {0};
    const bool ok = soma__apply(op, &a, 1, attrs, out, 0);
    for (int i = 0; i < op->outputs; i++)
        if (to[i])
            *to[i] = ok ? out[i] : NULL;
    return soma__ctx()->error;
}
soma_status soma_qr(soma_tensor *a, const char *mode, soma_tensor **q, soma_tensor **r) {
    return run_all(&qr_op, a, &SOMA_STRING("mode", mode ? mode : "reduced"), (soma_tensor * *const[]){q, r});
}
soma_status soma_svd(soma_tensor *a, bool full_matrices, soma_tensor **u, soma_tensor **s, soma_tensor **vh) {
    return run_all(&svd_op, a, &SOMA_BOOLEAN("full_matrices", full_matrices), (soma_tensor * *const[]){u, s, vh});
}
soma_tensor *soma_svdvals(soma_tensor *a) { return SOMA__RUN(&svdvals_op, NULL, a); }
static soma_attr uplo_attr(const char *letter) { return SOMA_STRING("UPLO", letter); }
soma_status soma_eigh(soma_tensor *a, char uplo, soma_tensor **values, soma_tensor **vectors) {
    const char letter[2] = {uplo ? uplo : 'L', 0};
    const soma_attr attr = uplo_attr(letter);
    return run_all(&eigh_op, a, &attr, (soma_tensor * *const[]){values, vectors});
}
soma_tensor *soma_eigvalsh(soma_tensor *a, char uplo) {
    const char letter[2] = {uplo ? uplo : 'L', 0};
    const soma_attr attr = uplo_attr(letter);
    return SOMA__RUN(&eigvalsh_op, &attr, a);
}
soma_tensor *soma_inverse(soma_tensor *a) { return SOMA__RUN(&inverse_op, NULL, a); }
soma_tensor *soma_solve(soma_tensor *a, soma_tensor *b, bool left) { return SOMA__RUN(&solve_op, &SOMA_BOOLEAN("left", left), a, b); }
soma_tensor *soma_solve_triangular(soma_tensor *a, soma_tensor *b, bool upper, bool left, bool unitriangular) {
    const soma_attr attrs[] = {SOMA_BOOLEAN("upper", upper), SOMA_BOOLEAN("left", left), SOMA_BOOLEAN("unitriangular", unitriangular)};
    return SOMA__RUN(&solve_triangular_op, attrs, a, b);
}
soma_tensor *soma_lstsq(soma_tensor *a, soma_tensor *b) { return SOMA__RUN(&lstsq_op, &SOMA_FLOAT("rcond", -1), a, b); }
soma_tensor *soma_pinv(soma_tensor *a, double rtol) {
    const soma_attr attrs[] = {SOMA_FLOAT("atol", 0), SOMA_FLOAT("rtol", rtol)};
    return SOMA__RUN(&pinv_op, attrs, a);
}
soma_tensor *soma_logdet(soma_tensor *a) { return SOMA__RUN(&logdet_op, NULL, a); }
soma_tensor *soma_matrix_rank(soma_tensor *a, double rtol) {
    const soma_attr attrs[] = {SOMA_FLOAT("atol", 0), SOMA_FLOAT("rtol", rtol), SOMA_BOOLEAN("hermitian", false)};
    return SOMA__RUN(&matrix_rank_op, attrs, a);
}
soma_tensor *soma_matrix_norm(soma_tensor *a, const char *ord, bool keepdim) {
    const soma_attr attrs[] = {SOMA_STRING("ord", ord ? ord : "fro"), SOMA_INTS("dims", -2, -1), SOMA_BOOLEAN("keepdim", keepdim)};
    return SOMA__RUN(&matrix_norm_op, attrs, a);
}
soma_tensor *soma_cond(soma_tensor *a, const char *ord) { return SOMA__RUN(&cond_op, &SOMA_STRING("ord", ord ? ord : "2"), a); }
soma_tensor *soma_matrix_power(soma_tensor *a, int64_t n) { return SOMA__RUN(&matrix_power_op, &SOMA_INT("n", n), a); }
soma_tensor *soma_matrix_exp(soma_tensor *a) { return SOMA__RUN(&matrix_exp_op, NULL, a); }

soma_op_list soma__linalg_ops = {
    &cholesky_op, &cholesky_solve_op, &cholesky_inverse_op, &qr_op,   &svd_op,   &svdvals_op, &eigh_op,        &eigvalsh_op,
    &inverse_op,  &solve_op,          &solve_triangular_op, &pinv_op, &lstsq_op, &logdet_op,  &matrix_rank_op, &matrix_norm_op,
    &cond_op,     &matrix_power_op,   &matrix_exp_op,       NULL};
