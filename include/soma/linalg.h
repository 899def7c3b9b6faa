/* soma: linear algebra, torch.linalg's names and meanings. Matrices are the last two dimensions, [..., m, n], in f32 or f64; the others are batches, which
 * broadcast where two matrices meet. All is computed in f64 by our own code. Gradients of any order exist where the result is smooth.
 *
 * A matrix that will not do (singular, not positive definite) is SOMA_EINVAL with its place in the batch. */
#ifndef SOMA_LINALG_H
#define SOMA_LINALG_H

#include <soma/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A = L Lᵀ of a symmetric positive definite A, of which the lower triangle is read; upper: Lᵀ. And the solution of A X = B, and A⁻¹, by that factor. */
SOMA_API soma_tensor *soma_cholesky(soma_tensor *a, bool upper);
SOMA_API soma_tensor *soma_cholesky_solve(soma_tensor *b, soma_tensor *l, bool upper);
SOMA_API soma_tensor *soma_cholesky_inverse(soma_tensor *l, bool upper);
/* A = Q R, mode "reduced" (NULL), "complete" or "r" (*q is empty). */
SOMA_API soma_status soma_qr(soma_tensor *a, const char *mode, soma_tensor **q, soma_tensor **r);
/* A = U diag(S) Vh, S falling; without full_matrices U is [..., m, k] and Vh [..., k, n], k = min(m, n). In each pair of singular vectors the longer
 * has its largest element positive. */
SOMA_API soma_status soma_svd(soma_tensor *a, bool full_matrices, soma_tensor **u, soma_tensor **s, soma_tensor **vh);
SOMA_API soma_tensor *soma_svdvals(soma_tensor *a);
/* Eigenvalues in rising order, and eigenvectors in columns, of a symmetric A; uplo 'L' (or 0) or 'U': the triangle that is read. The largest element of
 * each vector is positive. */
SOMA_API soma_status soma_eigh(soma_tensor *a, char uplo, soma_tensor **values, soma_tensor **vectors);
SOMA_API soma_tensor *soma_eigvalsh(soma_tensor *a, char uplo);

SOMA_API soma_tensor *soma_inverse(soma_tensor *a);
/* X of A X = B (left) or X A = B; B [..., n, k] or a vector [n] (or vectors [..., n] with A's batch). */
SOMA_API soma_tensor *soma_solve(soma_tensor *a, soma_tensor *b, bool left);
SOMA_API soma_tensor *soma_solve_triangular(soma_tensor *a, soma_tensor *b, bool upper, bool left, bool unitriangular);
/* X with the least |A X - B|, and of those the least |X|. */
SOMA_API soma_tensor *soma_lstsq(soma_tensor *a, soma_tensor *b);
/* Moore's and Penrose's inverse; singular values up to rtol times the largest count as 0 (rtol < 0: epsilon times the larger size). */
SOMA_API soma_tensor *soma_pinv(soma_tensor *a, double rtol);

SOMA_API soma_tensor *soma_det(soma_tensor *a);
SOMA_API soma_tensor *soma_logdet(soma_tensor *a);                  /* NaN where the determinant is negative */
SOMA_API soma_status soma_slogdet(soma_tensor *a, soma_tensor **sign, soma_tensor **logabsdet);
/* Number of singular values above rtol times the largest (rtol < 0 as above), i64. */
SOMA_API soma_tensor *soma_matrix_rank(soma_tensor *a, double rtol);
/* ord "fro" (NULL), "nuc", "1", "-1", "2", "-2", "inf", "-inf". */
SOMA_API soma_tensor *soma_matrix_norm(soma_tensor *a, const char *ord, bool keepdim);
SOMA_API soma_tensor *soma_cond(soma_tensor *a, const char *ord);   /* NULL: "2" */
SOMA_API soma_tensor *soma_matrix_power(soma_tensor *a, int64_t n);
SOMA_API soma_tensor *soma_matrix_exp(soma_tensor *a);

#ifdef __cplusplus
}
#endif
#endif
