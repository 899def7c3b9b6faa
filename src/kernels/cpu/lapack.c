/* The factorisations that linalg.h lists, by LAPACK (Anderson et al. 1999); in builds with SOMA_LAPACK only.
 *
 * LAPACK's matrices are column-major: it sees the transpose of ours, so QR is its LQ, and a lower triangle an upper one. Only LU's pivoting knows rows
 * from columns, and is given a transpose. */
#include "kernels/cpu/linalg.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* Fortran's symbols; the lengths of strings come last. */
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
extern void dgetrf_(const int *m, const int *n, double *a, const int *lda, int *ipiv, int *info);
extern void dtrsm_(const char *side, const char *uplo, const char *trans, const char *diag, const int *m, const int *n, const double *alpha, const double *a,
                   const int *lda, double *b, const int *ldb, size_t, size_t, size_t, size_t);
extern void dgelqf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork, int *info);
extern void dorglq_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau, double *work, const int *lwork, int *info);
extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work, const int *lwork, int *iwork,
                    const int *liwork, int *info, size_t, size_t);
extern void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u, const int *ldu, double *vt,
                    const int *ldvt, double *work, const int *lwork, int *iwork, int *info, size_t);

enum { BLOCK = 64, QUERY = -1 };

static int clipped(int64_t n) { return (int)(n < INT_MAX ? n : INT_MAX); }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static bool all_finite(const double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(a[i]))
            return false;
    return true;
}
/* Room of so many ints, in doubles. */
static int64_t as_doubles(int64_t ints) { return ints / (int64_t)(sizeof(double) / sizeof(int)) + 1; }

int64_t soma__cholesky(double *a, int64_t n) {
    int size = clipped(n), info = 0;
    if (n > 0)
        dpotrf_("U", &size, a, &size, &info, 1);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++)
            a[i * n + j] = 0;
    for (int64_t i = 0; i < n && !info; i++)
        if (!(a[i * n + i] > 0)) /* NaN */
            return i + 1;
    return info;
}

static void transpose(double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            const double x = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = x;
        }
}

int64_t soma__lu(double *a, int64_t n, int64_t *pivot) {
    int size = clipped(n), info = 0, *rows = (int *)pivot; /* ints in the room of larger ones, spread from the end */
    if (n == 0)
        return 0;
    transpose(a, n);
    dgetrf_(&size, &size, a, &size, rows, &info);
    transpose(a, n);
    for (int64_t i = n - 1; i >= 0; i--) {
        int row;
        memcpy(&row, rows + i, sizeof row);
        pivot[i] = row - 1;
    }
    return info;
}

void soma__solve_triangle(const double *a, int64_t n, bool upper, bool unit, double *b, int64_t k) {
    const int size = clipped(n), columns = clipped(k);
    const double one = 1;
    if (n > 0 && k > 0)
        dtrsm_("R", upper ? "L" : "U", "N", unit ? "U" : "N", &columns, &size, &one, a, &size, b, &columns, 1, 1, 1, 1);
}

void soma__lu_solve(const double *lu, int64_t n, const int64_t *pivot, double *b, int64_t k) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < k && pivot[i] != i; c++) {
            const double x = b[i * k + c];
            b[i * k + c] = b[pivot[i] * k + c];
            b[pivot[i] * k + c] = x;
        }
    soma__solve_triangle(lu, n, false, true, b, k);
    soma__solve_triangle(lu, n, true, false, b, k);
}

int64_t soma__householder_room(int64_t m, int64_t n) { return BLOCK * larger(larger(m, n), 1); }

void soma__householder(double *a, int64_t m, int64_t n, double *tau, double *row) {
    const int rows = clipped(m), columns = clipped(n), room = clipped(soma__householder_room(m, n));
    int info;
    if (m > 0 && n > 0)
        dgelqf_(&columns, &rows, a, &columns, tau, row, &room, &info);
}

void soma__householder_q(const double *a, int64_t m, int64_t n, const double *tau, double *q, int64_t c, double *row) {
    const int64_t k = m < n ? m : n;
    const int rows = clipped(m), columns = clipped(c), vectors = clipped(k), room = clipped(soma__householder_room(m, n));
    int info;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < c; j++)
            q[i * c + j] = j < k && j < i ? a[i * n + j] : 0;
    if (m > 0 && c > 0)
        dorglq_(&columns, &rows, &vectors, q, &columns, tau, row, &room, &info);
}

/* Doubles, then ints. */
static int64_t eigh_doubles(int64_t n) { return larger(1 + 6 * n + 2 * n * n, BLOCK * n); }
int64_t soma__eigh_room(int64_t n) { return eigh_doubles(n) + as_doubles(3 + 5 * n); }

bool soma__eigh(double *a, int64_t n, double *w, double *v, double *room) {
    const int size = clipped(n), doubles = clipped(eigh_doubles(n)), ints = clipped(3 + 5 * n);
    int info = 0;
    if (!all_finite(a, n * n))
        return false;
    memcpy(v, a, (size_t)(n * n) * sizeof *v);
    if (n > 0)
        dsyevd_("V", "U", &size, v, &size, w, room, &doubles, (int *)(room + eigh_doubles(n)), &ints, &info, 1, 1);
    for (int64_t i = 0; i < n && !info; i++)
        soma__largest_positive(v + i * n, n, 1, NULL, 0);
    return !info;
}

/* a's transpose is V S Uᵀ: its left vectors, as columns, are our rows of v, and its right ones, as rows, our columns of u. */
static int64_t svd_doubles(int64_t m, int64_t n) {
    const int rows = clipped(m), columns = clipped(n), query = QUERY;
    int info = 0, none = 0;
    double best = 0, unused = 0;
    if (n > 0)
        dgesdd_("S", &columns, &rows, &unused, &columns, &unused, &unused, &columns, &unused, &columns, &best, &query, &none, &info, 1);
    return larger((int64_t)best, 4 * n * n + 7 * n + m + 1);
}
int64_t soma__svd_room(int64_t m, int64_t n) { return svd_doubles(m, n) + as_doubles(8 * n); }

bool soma__svd(double *a, int64_t m, int64_t n, double *u, double *s, double *v, double *room) {
    const int64_t doubles = svd_doubles(m, n);
    const int rows = clipped(m), columns = clipped(n), length = clipped(doubles);
    int info = 0;
    if (!all_finite(a, m * n))
        return false;
    if (n > 0)
        dgesdd_("S", &columns, &rows, a, &columns, s, v, &columns, u, &columns, room, &length, (int *)(room + doubles), &info, 1);
    for (int64_t i = 0; i < n && !info; i++)
        soma__largest_positive(u + i, m, n, v + i * n, n);
    return !info;
}
