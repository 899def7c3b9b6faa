/* Factorisations of one dense matrix, row-major, in double: plain C, without allocation. Matrices of f32 are computed here too and rounded once, which
 * is more accurate than LAPACK's single precision. Loops run along rows, so that the compiler can use vectors. Sources are named at each.
 * With the build option SOMA_LAPACK the same functions call LAPACK; signs, order and errors are the same, bits and speed LAPACK's. */
#ifndef SOMA_SRC_LINALG_H
#define SOMA_SRC_LINALG_H

#include <stdbool.h>
#include <stdint.h>

/* Four sums side by side, joined at the end: a fixed order that vectors can keep. */
double soma__dot(const double *a, const double *b, int64_t n);
/* When the largest of x's n elements, `step` apart, is negative, all of them and `with`'s change their signs. */
void soma__largest_positive(double *x, int64_t n, int64_t step, double *with, int64_t n_with);
/* a [n, n] becomes its lower Cholesky factor L, a = L Lᵀ, with zeros above; only the lower triangle is read. Returns 0, or the order of the first
 * leading minor that is not positive. */
int64_t soma__cholesky(double *a, int64_t n);
/* a [n, n] becomes L (below, with ones on the diagonal that are not stored) and U of P a = L U by partial pivoting; row i was exchanged with pivot[i].
 * Returns 0, or the number of the first pivot that is exactly 0, from 1; the rest is factored all the same. */
int64_t soma__lu(double *a, int64_t n, int64_t *pivot);
/* b [n, k] becomes a⁻¹ b by that factorisation. */
void soma__lu_solve(const double *lu, int64_t n, const int64_t *pivot, double *b, int64_t k);
/* b [n, k] becomes the solution of a x = b for a triangular a [n, n]; unit: ones on the diagonal. */
void soma__solve_triangle(const double *a, int64_t n, bool upper, bool unit, double *b, int64_t k);
/* a [m, n] becomes R above and on the diagonal and Householder's vectors below (their first element, 1, is not stored); tau [min(m, n)], `row`
 * is room for soma__householder_room(m, n) numbers. Signs are LAPACK's: the diagonal of R is -sign(x) |x|. */
int64_t soma__householder_room(int64_t m, int64_t n);
void soma__householder(double *a, int64_t m, int64_t n, double *tau, double *row);
/* q [m, c] becomes the first c columns of the product of those reflections; c from min(m, n) to m. */
void soma__householder_q(const double *a, int64_t m, int64_t n, const double *tau, double *q, int64_t c, double *row);
/* Eigenvalues in rising order, w [n], and eigenvectors as rows of v [n, n] of a symmetric a [n, n], which is destroyed; the largest element of each vector is
 * positive. room: soma__eigh_room(n) numbers. False when it does not converge (NaN, infinity). */
int64_t soma__eigh_room(int64_t n);
bool soma__eigh(double *a, int64_t n, double *w, double *v, double *room);
/* a [m, n], m >= n, is U diag(s) V: columns of u [m, n], s falling, rows of v [n, n]; the largest element of each column of u is positive. a is destroyed.
 * room: soma__svd_room(m, n) numbers. */
int64_t soma__svd_room(int64_t m, int64_t n);
bool soma__svd(double *a, int64_t m, int64_t n, double *u, double *s, double *v, double *room);

#endif
