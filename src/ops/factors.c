/* Factorisations of matrices [..., m, n], one after the other over the leading dimensions, and their gradients, which are written in
 * operators. The operators here never fail on values: those that can fail have an output that says so, which the composites of linalg.c
 * turn into an error (PyTorch's cholesky_ex and so on). Gradients: Giles 2008; Murray 2016 (Cholesky); Walter & Lehmann 2018 (QR); Golub &
 * Pereyra 1973 (pseudo-inverse). */
#include "ops/linalg.h"

#include "kernels/cpu/linalg.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define MATRIX_DTYPES (SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64))

/* ---- Matrices in and out ---------------------------------------------------------------------------------------------- */

bool soma__is_matrix(const soma_tensor *x, const char *name) { return x && (x->ndim >= 2 || soma__expected(x, name, "[..., m, n]")); }
bool soma__is_square(const soma_tensor *x, const char *name) {
    return (x->ndim >= 2 && x->shape[x->ndim - 1] == x->shape[x->ndim - 2]) || soma__expected(x, name, "square matrices [..., n, n]");
}

static int64_t batch_of(const soma_tensor *x) { return soma__numel(x->ndim - 2, x->shape); }

/* Matrix `b` of x, row-major. */
static void load(const soma_tensor *x, int64_t b, double *to) {
    const int64_t size = (int64_t)soma_dtype_size((soma_dtype)x->dtype), m = soma__rows(x), n = soma__columns(x), rs = x->stride[x->ndim - 2],
                  cs = x->stride[x->ndim - 1];
    int64_t at = 0;
    for (int d = x->ndim - 3; d >= 0; b /= x->shape[d--])
        at += b % x->shape[d] * x->stride[d];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            const char *p = (const char *)x->data + (at + i * rs + j * cs) * size;
            to[i * n + j] = x->dtype == SOMA_F64 ? *(const double *)p : (double)*(const float *)p;
        }
}

/* n numbers to part `b` of a row-major result. */
static void store(soma_tensor *out, int64_t b, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (out->dtype == SOMA_F64)
            ((double *)out->data)[b * n + i] = from[i];
        else
            ((float *)out->data)[b * n + i] = (float)from[i];
}

/* x's leading dimensions, then `tail`. */
static void shape_with(const soma_tensor *x, int n_tail, int64_t first, int64_t second, soma_meta *out) {
    out->ndim = x->ndim - 2 + n_tail;
    memcpy(out->shape, x->shape, sizeof out->shape);
    if (n_tail > 0)
        out->shape[x->ndim - 2] = first;
    if (n_tail > 1)
        out->shape[x->ndim - 1] = second;
}
static void info_shape(const soma_tensor *x, soma_meta *out) {
    shape_with(x, 0, 0, 0, out);
    out->dtype = SOMA_I64;
}

static size_t doubles(int64_t n) { return (size_t)SOMA_MAX(n, 1) * sizeof(double); }
/* The lower triangle with half of the diagonal, and x + xᵀ over 2. */
static soma_tensor *half_tril(soma_tensor *x) { return soma_mul_scalar(soma_add(soma_tril(x, 0), soma_tril(x, -1)), 0.5); }
static soma_tensor *symmetric(soma_tensor *x) { return soma_mul_scalar(soma_add(x, soma__t(x)), 0.5); }
static soma_tensor *mm(soma_tensor *a, soma_tensor *b) { return soma_matmul(a, b); }
static soma_tensor *plus(soma_tensor *a, soma_tensor *b) { return a && b ? soma_add(a, b) : a ? a : b; }

/* ---- Triangular solve ------------------------------------------------------------------------------------------------- */

enum { T_UPPER, T_UNIT };

static bool pair_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0], *b = a->in[1];
    char have[SOMA__SHAPE_TEXT], want[SOMA__SHAPE_TEXT];
    if (!soma__is_square(x, "A") || !soma__is_matrix(b, "B"))
        return false;
    bool fits = x->ndim == b->ndim && soma__rows(b) == soma__rows(x);
    for (int d = 0; fits && d < x->ndim - 2; d++)
        fits = x->shape[d] == b->shape[d];
    if (!fits) {
        soma_fail(SOMA_ESHAPE, "%s: A is %s and B is %s, expected [..., n, n] and [..., n, k]", a->op->name, soma__tensor_text(x, have),
                  soma__tensor_text(b, want));
        return false;
    }
    shape_with(b, 2, soma__rows(b), soma__columns(b), &out[0]);
    if (a->op->outputs > 1)
        info_shape(x, &out[1]);
    return true;
}

static size_t pair_work(soma_args *a) {
    const int64_t n = soma__rows(a->in[0]);
    return doubles(n * n + n * soma__columns(a->in[1]) + n);
}

static const char *trsm_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0], *b = a->in[1];
    const int64_t n = soma__rows(x), k = soma__columns(b), batches = batch_of(x);
    double *m = a->work, *y = m + n * n;
    for (int64_t i = 0; i < batches && n * k > 0; i++) {
        load(x, i, m);
        load(b, i, y);
        soma__solve_triangle(m, n, soma__attr_int(a, T_UPPER) != 0, soma__attr_int(a, T_UNIT) != 0, y, k);
        store(a->out[0], i, y, n * k);
    }
    return NULL;
}

soma_tensor *soma__trsm(soma_tensor *a, soma_tensor *b, bool upper, bool unit) {
    const soma_attr attrs[] = {SOMA_BOOLEAN("upper", upper), SOMA_BOOLEAN("unitriangular", unit)};
    return a && b ? SOMA__RUN(&soma__trsm_op, attrs, a, b) : NULL;
}

/* gB = A⁻ᵀ g, gA = -gB Xᵀ in A's triangle. */
static void trsm_backward(soma_grad_args *g) {
    const bool upper = g->attrs[T_UPPER].value.i != 0, unit = g->attrs[T_UNIT].value.i != 0;
    if (!g->gout[0])
        return;
    soma_tensor *gb = soma__trsm(soma__t(g->in[0]), g->gout[0], !upper, unit);
    if (g->need[0]) {
        soma_tensor *ga = soma_neg(mm(gb, soma__t(g->out[0])));
        g->gin[0] = upper ? soma_triu(ga, unit) : soma_tril(ga, unit ? -1 : 0);
    }
    g->gin[1] = gb;
}

SOMA__LINES(trsm, "[3,3]@1:2 [3,2]", "s[2,3,3]@1:2 [2,3,1] upper=true", "[2,2] s[2,3] unitriangular=true", "[0,2,2] [0,2,1]", "[0,0] [0,2]",
            "[2,3] [2,2] !ESHAPE A is [2, 3] f32, expected square matrices [..., n, n]",
            "[2,2] [3,2] !ESHAPE A is [2, 2] f32 and B is [3, 2] f32")
const soma_op soma__trsm_op = {
    .name = "solve_triangular_matrix",
    .family = "linalg",
    .doc = "Solution of A X = B for triangular A [..., n, n] and B [..., n, k] of the same leading dimensions; see solve_triangular.",
    .in = {{.name = "A"}, {.name = "B"}},
    .n_in = 2,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("upper", false, "A is upper triangular"),
                        SOMA_DEF_BOOL("unitriangular", false, "the diagonal of A is taken as ones")),
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = pair_shape,
    .work = pair_work,
    .cpu = {trsm_kernel},
    .backward = trsm_backward,
    .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0),
    .internal = true,
    .samples = trsm_samples,
    .errors = trsm_errors,
};

/* ---- Cholesky --------------------------------------------------------------------------------------------------------- */

static bool square_info_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (!soma__is_square(x, "A"))
        return false;
    shape_with(x, 2, soma__rows(x), soma__rows(x), &out[0]);
    info_shape(x, &out[1]);
    return true;
}

static size_t square_work(soma_args *a) {
    const int64_t n = soma__rows(a->in[0]);
    return doubles(n * n + n);
}

static const char *cholesky_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const int64_t n = soma__rows(x), batches = batch_of(x);
    double *m = a->work;
    for (int64_t i = 0; i < batches; i++) {
        load(x, i, m);
        ((int64_t *)a->out[1]->data)[i] = soma__cholesky(m, n);
        store(a->out[0], i, m, n * n);
    }
    return NULL;
}

/* L⁻ᵀ Φ(Lᵀ g) L⁻¹ made symmetric; Φ takes the lower triangle with half of the diagonal. */
static void cholesky_backward(soma_grad_args *g) {
    soma_tensor *l = g->out[0], *lt = soma__t(l);
    if (!g->gout[0])
        return;
    soma_tensor *phi = half_tril(mm(lt, g->gout[0]));
    soma_tensor *right = soma__t(soma__trsm(lt, soma__t(phi), true, false)); /* Φ L⁻¹ = (L⁻ᵀ Φᵀ)ᵀ */
    g->gin[0] = symmetric(soma__trsm(lt, right, true, false));
}

SOMA__LINES(cholesky_ex, "p[3,3]", "sp[2,3,3]", "p[1,1]", "p[0,0]", "[2,3] !ESHAPE A is [2, 3] f32, expected square matrices")
const soma_op soma__cholesky_ex_op = {
    .name = "cholesky_ex",
    .family = "linalg",
    .doc = "cholesky, which says in info [...] where it failed (0: nowhere; k: the leading minor of order k is not positive) instead of "
           "with an error.",
    .in = {{.name = "A"}},
    .n_in = 1,
    .outputs = 2,
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = square_info_shape,
    .work = square_work,
    .cpu = {cholesky_kernel},
    .backward = cholesky_backward,
    .saves = SOMA_SAVE_OUT(0),
    .no_grad_out = 1u << 1,
    .internal = true,
    .samples = cholesky_ex_samples,
    .errors = cholesky_ex_errors,
};

/* ---- Solve ------------------------------------------------------------------------------------------------------------ */

static const char *solve_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0], *b = a->in[1];
    const int64_t n = soma__rows(x), k = soma__columns(b), batches = batch_of(x);
    double *m = a->work, *y = m + n * n;
    int64_t *pivot = (int64_t *)(y + n * k);
    for (int64_t i = 0; i < batches; i++) {
        load(x, i, m);
        load(b, i, y);
        ((int64_t *)a->out[1]->data)[i] = soma__lu(m, n, pivot);
        soma__lu_solve(m, n, pivot, y, k);
        store(a->out[0], i, y, n * k);
    }
    return NULL;
}

static soma_tensor *solve(soma_tensor *a, soma_tensor *b) { return a && b ? SOMA__RUN(&soma__solve_ex_op, NULL, a, b) : NULL; }

/* gB = A⁻ᵀ g, gA = -gB Xᵀ. */
static void solve_backward(soma_grad_args *g) {
    if (!g->gout[0])
        return;
    soma_tensor *gb = solve(soma__t(g->in[0]), g->gout[0]);
    g->gin[0] = g->need[0] ? soma_neg(mm(gb, soma__t(g->out[0]))) : NULL;
    g->gin[1] = gb;
}

SOMA__LINES(solve_ex, "p[3,3] [3,2]", "sp[2,3,3] [2,3,1]", "[1,1]@1:2 [1,1]", "[0,0] [0,2]",
            "[2,2] [3,2] !ESHAPE A is [2, 2] f32 and B is [3, 2] f32, expected [..., n, n] and [..., n, k]")
const soma_op soma__solve_ex_op = {
    .name = "solve_ex",
    .family = "linalg",
    .doc =
        "solve for matrices B of the same leading dimensions, which says in info [...] where A is singular (0: nowhere; k: pivot k is 0).",
    .in = {{.name = "A"}, {.name = "B"}},
    .n_in = 2,
    .outputs = 2,
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = pair_shape,
    .work = pair_work,
    .cpu = {solve_kernel},
    .backward = solve_backward,
    .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0),
    .no_grad_out = 1u << 1,
    .internal = true,
    .samples = solve_ex_samples,
    .errors = solve_ex_errors,
};

/* ---- Determinants ----------------------------------------------------------------------------------------------------- */

static bool numbers_shape(soma_args *a, soma_meta *out) {
    if (!soma__is_square(a->in[0], "A")) {
        soma__fail_prefix(a->op->name);
        return false;
    }
    for (int i = 0; i < a->op->outputs; i++)
        shape_with(a->in[0], 0, 0, 0, &out[i]);
    return true;
}

/* The sign, and the product of the pivots' magnitudes or its logarithm. */
static void determinant(double *m, int64_t n, int64_t *pivot, bool logarithm, double *sign, double *size) {
    soma__lu(m, n, pivot);
    *sign = 1;
    *size = logarithm ? 0 : 1;
    for (int64_t i = 0; i < n; i++) {
        const double p = m[i * n + i];
        *sign *= (p < 0 ? -1 : p == 0 ? 0 : 1) * (pivot[i] == i ? 1 : -1);
        *size = logarithm ? *size + log(fabs(p)) : *size * fabs(p);
    }
}

static const char *det_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const int64_t n = soma__rows(x), batches = batch_of(x);
    const bool logarithm = a->op->outputs == 2;
    double *m = a->work, sign, size;
    for (int64_t i = 0; i < batches; i++) {
        load(x, i, m);
        determinant(m, n, (int64_t *)(m + n * n), logarithm, &sign, &size);
        if (logarithm) {
            store(a->out[0], i, &sign, 1);
            store(a->out[1], i, &size, 1);
        } else {
            size *= sign < 0 ? -1 : 1;
            store(a->out[0], i, &size, 1);
        }
    }
    return NULL;
}

static soma_tensor *as_matrices(soma_tensor *numbers) { return soma_unsqueeze(soma_unsqueeze(numbers, -1), -1); }

static bool any_zero(const soma_tensor *t) {
    const int64_t size = (int64_t)soma_dtype_size((soma_dtype)t->dtype);
    for (int64_t i = 0; t->data && i < t->numel; i++)
        if (soma__load((const char *)t->data + i * size, (soma_dtype)t->dtype) == 0)
            return true;
    return false;
}

/* Cofactors by singular values: det(U) det(V) U diag(products of the others) Vᵀ, which a singular matrix has too. */
static soma_tensor *cofactors(soma_tensor *x) {
    soma_tensor *u, *s, *vh;
    if (soma_svd(x, false, &u, &s, &vh) != SOMA_OK)
        return NULL;
    const int64_t n = x->shape[x->ndim - 1];
    soma_tensor *eye = soma_eye(n, n, (soma_dtype)x->dtype),
                *others = soma_add(soma_mul(soma_unsqueeze(s, -2), soma_add_scalar(soma_neg(eye), 1)), eye);
    soma_tensor *minor = soma_prod(others, SOMA_DIMS(-1), false), *sign = as_matrices(soma_mul(soma_det(u), soma_det(vh)));
    return soma_mul(sign, mm(soma_mul(u, soma_unsqueeze(minor, -2)), vh));
}

/* det A⁻ᵀ, or the cofactors where A is singular. */
static void det_backward(soma_grad_args *g) {
    soma_tensor *x = g->in[0];
    if (!g->gout[0])
        return;
    const int64_t n = x->shape[x->ndim - 1];
    soma_tensor *of_a = any_zero(g->out[0])
                            ? cofactors(x)
                            : soma_mul(as_matrices(g->out[0]),
                                       solve(soma__t(x), soma_expand(soma_eye(n, n, (soma_dtype)x->dtype), x->ndim, x->shape)));
    g->gin[0] = soma_mul(as_matrices(g->gout[0]), of_a);
}

static void slogdet_backward(soma_grad_args *g) {
    soma_tensor *x = g->in[0];
    if (!g->gout[1])
        return;
    const int64_t n = x->shape[x->ndim - 1];
    g->gin[0] = soma_mul(as_matrices(g->gout[1]), solve(soma__t(x), soma_expand(soma_eye(n, n, (soma_dtype)x->dtype), x->ndim, x->shape)));
}

SOMA__LINES(det, "[3,3]", "s[2,3,3]", "[1,1]", "[0,0]", "p[4,4]", "[2,1,2,2]", "[2,2]=1,2,2,4 ~",
            "[3,2] !ESHAPE det: A is [3, 2] f32, expected square matrices [..., n, n]")
SOMA__LINES(slogdet, "[3,3]", "s[2,3,3]", "[1,1]", "[0,0]", "p[4,4]", "[2,1,2,2]", "[2,2]=1,2,2,4 ~",
            "[3] !ESHAPE A is [3] f32, expected square matrices")
static const soma_op det_op = {
    .name = "det",
    .family = "linalg",
    .onnx = "Det",
    .doc = "Determinants of square matrices [..., n, n]. For products of many factors slogdet neither overflows nor vanishes.",
    .in = {{.name = "A"}},
    .n_in = 1,
    .outputs = 1,
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = numbers_shape,
    .work = square_work,
    .cpu = {det_kernel},
    .backward = det_backward,
    .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0),
    .samples = det_samples,
    .errors = det_errors,
};
static const soma_op slogdet_op = {
    .name = "slogdet",
    .family = "linalg",
    .doc = "Sign (1, -1, or 0 for a singular matrix) and logarithm of the magnitude (then -inf) of determinants of [..., n, n]. The "
           "gradient of the "
           "logarithm is A⁻ᵀ.",
    .in = {{.name = "A"}},
    .n_in = 1,
    .outputs = 2,
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = numbers_shape,
    .work = square_work,
    .cpu = {det_kernel},
    .backward = slogdet_backward,
    .saves = SOMA_SAVE_IN(0),
    .no_grad_out = 1u,
    .samples = slogdet_samples,
    .errors = slogdet_errors,
};
soma_tensor *soma_det(soma_tensor *a) { return SOMA__RUN(&det_op, NULL, a); }
soma_status soma_slogdet(soma_tensor *a, soma_tensor **sign, soma_tensor **logabsdet) {
    soma_tensor *out[SOMA_MAX_OUTPUTS] = {0};
    bool ok = soma__apply(&slogdet_op, &a, 1, NULL, out, 0);
    *sign = ok ? out[0] : NULL;
    *logabsdet = ok ? out[1] : NULL;
    return soma__ctx()->error;
}

/* ---- QR --------------------------------------------------------------------------------------------------------------- */

enum { Q_COMPLETE };

static bool qr_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (!soma__is_matrix(x, "A"))
        return false;
    const int64_t m = soma__rows(x), n = soma__columns(x), k = soma__attr_int(a, Q_COMPLETE) ? m : SOMA_MIN(m, n);
    shape_with(x, 2, m, k, &out[0]);
    shape_with(x, 2, k, n, &out[1]);
    return true;
}

static size_t qr_work(soma_args *a) {
    const int64_t m = soma__rows(a->in[0]), n = soma__columns(a->in[0]), wide = SOMA_MAX(m, n);
    return doubles(m * n + m * wide + wide + soma__householder_room(m, n));
}

static const char *qr_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const int64_t m = soma__rows(x), n = soma__columns(x), k = soma__columns(a->out[0]), batches = batch_of(x), wide = SOMA_MAX(m, n);
    double *r = a->work, *q = r + m * n, *tau = q + m * wide, *row = tau + wide;
    for (int64_t b = 0; b < batches; b++) {
        load(x, b, r);
        soma__householder(r, m, n, tau, row);
        soma__householder_q(r, m, n, tau, q, k, row);
        store(a->out[0], b, q, m * k);
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j < n && j < i; j++)
                r[i * n + j] = 0;
        store(a->out[1], b, r, k * n);
    }
    return NULL;
}

/* For n <= m: (gQ + Q copyltu(M)) R⁻ᵀ with M = R gRᵀ - gQᵀ Q; copyltu mirrors the lower triangle. */
static soma_tensor *qr_gradient(soma_tensor *q, soma_tensor *r, soma_tensor *gq, soma_tensor *gr) {
    soma_tensor *m = NULL;
    if (gr)
        m = mm(r, soma__t(gr));
    if (gq)
        m = plus(m, soma_neg(mm(soma__t(gq), q)));
    soma_tensor *whole = plus(gq, mm(q, soma_add(soma_tril(m, 0), soma__t(soma_tril(m, -1)))));
    return soma__t(soma__trsm(r, soma__t(whole), true, false));
}

/* A wide one is [X Y] = Q [U V]: V = Qᵀ Y adds to the gradient of Q, and Y's is Q gV. */
static void qr_backward(soma_grad_args *g) {
    soma_tensor *q = g->out[0], *r = g->out[1], *gq = g->gout[0], *gr = g->gout[1];
    const int nd = g->in_meta[0].ndim;
    const int64_t m = g->in_meta[0].shape[nd - 2], n = g->in_meta[0].shape[nd - 1];
    if (!gq && !gr)
        return;
    if (m > n && g->attrs[Q_COMPLETE].value.i) {
        soma_fail(SOMA_EUNSUPPORTED,
                  "qr: the gradient of mode complete needs no more rows than columns (%lld x %lld): the added columns of Q are arbitrary",
                  (long long)m, (long long)n);
        return;
    }
    if (m >= n) {
        g->gin[0] = qr_gradient(q, r, gq, gr);
        return;
    }
    soma_tensor *u = soma_slice(r, -1, 0, m, 1), *gu = NULL, *gv = NULL, *y = mm(q, soma_slice(r, -1, m, n, 1));
    if (gr) {
        gu = soma_slice(gr, -1, 0, m, 1);
        gv = soma_slice(gr, -1, m, n, 1);
        gq = plus(gq, mm(y, soma__t(gv)));
    }
    soma_tensor *gx = qr_gradient(q, u, gq, gu), *gy = gv ? mm(q, gv) : soma_mul_scalar(y, 0);
    g->gin[0] = soma_cat((soma_tensor *[]){gx, gy}, 2, -1);
}

SOMA__LINES(qr_ex, "[3,3]", "s[2,4,2]", "[2,3]", "[0,2]", "[4,2] complete=true ~", "[3] !ESHAPE A is [3] f32, expected [..., m, n]")
const soma_op soma__qr_ex_op = {
    .name = "qr_matrix",
    .family = "linalg",
    .doc = "qr in the reduced or complete form; see qr.",
    .in = {{.name = "A"}},
    .n_in = 1,
    .outputs = 2,
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("complete", false, "Q is square")),
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = qr_shape,
    .work = qr_work,
    .cpu = {qr_kernel},
    .backward = qr_backward,
    .saves = SOMA_SAVE_OUT(0) | SOMA_SAVE_OUT(1),
    .internal = true,
    .samples = qr_ex_samples,
    .errors = qr_ex_errors,
};

/* ---- Eigenvalues of symmetric matrices -------------------------------------------------------------------------------- */

enum { E_UPPER };

static bool eigh_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (!soma__is_square(x, "A"))
        return false;
    shape_with(x, 1, soma__rows(x), 0, &out[0]);
    shape_with(x, 2, soma__rows(x), soma__rows(x), &out[1]);
    info_shape(x, &out[2]);
    return true;
}

static size_t eigh_work(soma_args *a) {
    const int64_t n = soma__rows(a->in[0]);
    return doubles(2 * n * n + n + soma__eigh_room(n));
}

static const char *eigh_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const int64_t n = soma__rows(x), batches = batch_of(x);
    const bool upper = soma__attr_int(a, E_UPPER) != 0;
    double *m = a->work, *v = m + n * n, *w = v + n * n, *room = w + n;
    for (int64_t b = 0; b < batches; b++) {
        load(x, b, m);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < i; j++)
                if (upper)
                    m[i * n + j] = m[j * n + i];
                else
                    m[j * n + i] = m[i * n + j];
        ((int64_t *)a->out[2]->data)[b] = !soma__eigh(m, n, w, v, room);
        store(a->out[0], b, w, n);
        for (int64_t i = 0; i < n; i++) /* vectors are columns */
            for (int64_t j = 0; j < n; j++)
                m[j * n + i] = v[i * n + j];
        store(a->out[1], b, m, n * n);
    }
    return NULL;
}

/* Differences w_j - w_i, 1 on the diagonal. */
static soma_tensor *differences(soma_tensor *w) {
    if (!w)
        return NULL;
    const int64_t n = w->shape[w->ndim - 1];
    return soma_add(soma_sub(soma_unsqueeze(w, -2), soma_unsqueeze(w, -1)), soma_eye(n, n, (soma_dtype)w->dtype));
}
static soma_tensor *off_diagonal(soma_tensor *x) {
    if (!x)
        return NULL;
    const int64_t n = x->shape[x->ndim - 1];
    return soma_mul(x, soma_add_scalar(soma_neg(soma_eye(n, n, (soma_dtype)x->dtype)), 1));
}

/* V (diag(gw) + offdiag(Vᵀ gV) / (w_j - w_i)) Vᵀ made symmetric. Equal eigenvalues have no single vectors: infinite, as in PyTorch. */
static void eigh_backward(soma_grad_args *g) {
    soma_tensor *w = g->out[0], *v = g->out[1], *inner = NULL;
    if (g->gout[1])
        inner = soma_div(off_diagonal(mm(soma__t(v), g->gout[1])), differences(w));
    if (g->gout[0])
        inner = plus(inner, soma_diag_embed(g->gout[0], 0, -2, -1));
    if (inner)
        g->gin[0] = symmetric(mm(mm(v, inner), soma__t(v)));
}

SOMA__LINES(eigh_ex, "y[3,3]", "sy[2,3,3] upper=true", "y[1,1]", "y[0,0]", "[2,3] !ESHAPE A is [2, 3] f32, expected square matrices")
const soma_op soma__eigh_ex_op = {
    .name = "eigh_ex",
    .family = "linalg",
    .doc = "eigh, which says in info [...] where it did not converge (1) instead of with an error.",
    .in = {{.name = "A"}},
    .n_in = 1,
    .outputs = 3,
    .attrs = SOMA_ATTRS(SOMA_DEF_BOOL("upper", false, "read the upper triangle instead of the lower")),
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = eigh_shape,
    .work = eigh_work,
    .cpu = {eigh_kernel},
    .backward = eigh_backward,
    .saves = SOMA_SAVE_OUT(0) | SOMA_SAVE_OUT(1),
    .no_grad_out = 1u << 2,
    .internal = true,
    .samples = eigh_ex_samples,
    .errors = eigh_ex_errors,
};

/* ---- Singular values -------------------------------------------------------------------------------------------------- */

static bool svd_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (!soma__is_matrix(x, "A"))
        return false;
    const int64_t m = soma__rows(x), n = soma__columns(x), k = SOMA_MIN(m, n);
    shape_with(x, 2, m, k, &out[0]);
    shape_with(x, 1, k, 0, &out[1]);
    shape_with(x, 2, k, n, &out[2]);
    info_shape(x, &out[3]);
    return true;
}

static size_t svd_work(soma_args *a) {
    const int64_t m = soma__rows(a->in[0]), n = soma__columns(a->in[0]), k = SOMA_MIN(m, n);
    return doubles(3 * m * n + k * k + k + soma__svd_room(SOMA_MAX(m, n), k));
}

static void turn(const double *from, int64_t m, int64_t n, double *to) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            to[j * m + i] = from[i * n + j];
}

/* Matrix b of x: u [m, k], s [k], vh [k, n]; a wide one as the transpose of a tall one. `room` is svd_work's. */
static bool decompose(const soma_tensor *x, int64_t b, double *room, double **u, double **s, double **vh) {
    const int64_t m = soma__rows(x), n = soma__columns(x), k = SOMA_MIN(m, n);
    double *a = room, *left = a + m * n, *right = left + m * n, *values = right + k * k, *rest = values + k, *spare = rest + soma__svd_room(SOMA_MAX(m, n), k);
    load(x, b, m < n ? spare : a);
    if (m < n)
        turn(spare, m, n, a);
    const bool ok = soma__svd(a, SOMA_MAX(m, n), k, left, values, right, rest);
    *u = left;
    *vh = right;
    *s = values;
    if (m < n) { /* A = (U S V)ᵀ */
        turn(left, n, k, spare);
        turn(right, k, k, left);
        *vh = spare;
    }
    return ok;
}

static const char *svd_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const int64_t m = soma__rows(x), n = soma__columns(x), k = SOMA_MIN(m, n), batches = batch_of(x);
    double *u, *s, *vh;
    for (int64_t b = 0; b < batches; b++) {
        ((int64_t *)a->out[3]->data)[b] = !decompose(x, b, a->work, &u, &s, &vh);
        store(a->out[0], b, u, m * k);
        store(a->out[1], b, s, k);
        store(a->out[2], b, vh, k * n);
    }
    return NULL;
}

static soma_tensor *skew(soma_tensor *x) { return soma_sub(x, soma__t(x)); }

/* U [(skew(Uᵀ gU) / E) S + S (skew(Vᵀ gV) / E) + diag(gS)] Vᵀ with E_ij = s_j² - s_i², and the parts outside of U and V. */
static void svd_backward(soma_grad_args *g) {
    soma_tensor *u = g->out[0], *s = g->out[1], *vh = g->out[2], *gu = g->gout[0], *gs = g->gout[1], *gvh = g->gout[2], *inner = NULL;
    const int nd = g->in_meta[0].ndim;
    const int64_t m = g->in_meta[0].shape[nd - 2], n = g->in_meta[0].shape[nd - 1];
    soma_tensor *across = soma_unsqueeze(s, -2), *down = soma_unsqueeze(s, -1), *e = gu || gvh ? differences(soma_square(s)) : NULL;
    if (gu)
        inner = soma_mul(soma_div(skew(mm(soma__t(u), gu)), e), across);
    if (gvh)
        inner = plus(inner, soma_mul(down, soma_div(skew(mm(vh, soma__t(gvh))), e)));
    if (gs)
        inner = plus(inner, soma_diag_embed(gs, 0, -2, -1));
    soma_tensor *all = inner ? mm(mm(u, inner), vh) : NULL;
    if (gu && m > n) {
        soma_tensor *outside = soma_div(gu, across);
        all = plus(all, mm(soma_sub(outside, mm(u, mm(soma__t(u), outside))), vh));
    }
    if (gvh && n > m) {
        soma_tensor *outside = soma_div(gvh, down);
        all = plus(all, mm(u, soma_sub(outside, mm(mm(outside, soma__t(vh)), vh))));
    }
    g->gin[0] = all;
}

SOMA__LINES(svd_ex, "[3,3]", "s[2,4,2]", "[2,3]", "[1,1]", "[0,2]", "[3] !ESHAPE A is [3] f32, expected [..., m, n]")
const soma_op soma__svd_ex_op = {
    .name = "svd_ex",
    .family = "linalg",
    .doc = "The thin svd, which says in info [...] where it did not converge (1) instead of with an error.",
    .in = {{.name = "A"}},
    .n_in = 1,
    .outputs = 4,
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = svd_shape,
    .work = svd_work,
    .cpu = {svd_kernel},
    .backward = svd_backward,
    .saves = SOMA_SAVE_OUT(0) | SOMA_SAVE_OUT(1) | SOMA_SAVE_OUT(2),
    .no_grad_out = 1u << 3,
    .internal = true,
    .samples = svd_ex_samples,
    .errors = svd_ex_errors,
};

/* ---- Pseudo-inverse --------------------------------------------------------------------------------------------------- */

enum { P_ATOL, P_RTOL };

static bool pinv_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (!soma__is_matrix(x, "A"))
        return false;
    shape_with(x, 2, soma__columns(x), soma__rows(x), &out[0]);
    info_shape(x, &out[1]);
    return true;
}

static size_t pinv_work(soma_args *a) { return svd_work(a) + doubles(a->in[0]->ndim < 2 ? 0 : soma__rows(a->in[0]) * soma__columns(a->in[0])); }

static const char *pinv_kernel(soma_args *a) {
    const soma_tensor *x = a->in[0];
    const int64_t m = soma__rows(x), n = soma__columns(x), k = SOMA_MIN(m, n), batches = batch_of(x);
    const double atol = soma__attr_float(a, P_ATOL), given = soma__attr_float(a, P_RTOL);
    const double rtol = given >= 0 ? given : atol > 0 ? 0 : (double)SOMA_MAX(m, n) * (x->dtype == SOMA_F64 ? DBL_EPSILON : FLT_EPSILON);
    double *u, *s, *vh, *y = (double *)((char *)a->work + svd_work(a));
    for (int64_t b = 0; b < batches; b++) {
        ((int64_t *)a->out[1]->data)[b] = !decompose(x, b, a->work, &u, &s, &vh);
        memset(y, 0, (size_t)(m * n) * sizeof *y);
        for (int64_t r = 0; r < k && s[r] > fmax(atol, rtol * s[0]); r++)
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < m; j++)
                    y[i * m + j] += vh[r * n + i] / s[r] * u[j * k + r];
        store(a->out[0], b, y, m * n);
    }
    return NULL;
}

/* With P = A⁺: -Pᵀ g Pᵀ + (1 - A P) gᵀ P Pᵀ + Pᵀ P gᵀ (1 - P A), transposed where it must be. */
static void pinv_backward(soma_grad_args *g) {
    soma_tensor *a = g->in[0], *p = g->out[0], *go = g->gout[0];
    if (!go)
        return;
    soma_tensor *pt = soma__t(p), *gt = soma__t(go);
    soma_tensor *one = mm(gt, mm(p, pt)), *two = mm(mm(pt, p), gt);
    soma_tensor *sum = soma_neg(mm(mm(pt, go), pt));
    sum = soma_add(sum, soma_sub(one, mm(a, mm(p, one))));
    g->gin[0] = soma_add(sum, soma_sub(two, mm(mm(two, p), a)));
}

SOMA__LINES(pinv_ex, "[3,3]", "s[2,4,2]", "[2,3]", "[3,2]=1,2,2,4,3,6 ~", "[0,2]", "[3] !ESHAPE A is [3] f32, expected [..., m, n]")
const soma_op soma__pinv_ex_op = {
    .name = "pinv_ex",
    .family = "linalg",
    .doc = "pinv, which says in info [...] where it did not converge (1) instead of with an error.",
    .in = {{.name = "A"}},
    .n_in = 1,
    .outputs = 2,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("atol", 0, "singular values up to this count as 0"),
                        SOMA_DEF_FLOAT("rtol", -1, "and up to this much of the largest; -1: epsilon times the larger size")),
    .dtypes = MATRIX_DTYPES,
    .promote = SOMA_PROMOTE_SAME,
    .shape = pinv_shape,
    .work = pinv_work,
    .cpu = {pinv_kernel},
    .backward = pinv_backward,
    .saves = SOMA_SAVE_IN(0) | SOMA_SAVE_OUT(0),
    .no_grad_out = 1u << 1,
    .internal = true,
    .samples = pinv_ex_samples,
    .errors = pinv_ex_errors,
};

soma_op_list soma__factors_ops = {&soma__trsm_op,  &soma__cholesky_ex_op, &soma__solve_ex_op, &det_op,           &slogdet_op,
                                  &soma__qr_ex_op, &soma__eigh_ex_op,     &soma__svd_ex_op,   &soma__pinv_ex_op, NULL};
