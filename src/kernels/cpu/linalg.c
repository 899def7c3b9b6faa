/* The factorisations that linalg.h lists, in plain C. A build with SOMA_LAPACK has lapack.c in place of this file. */
#include "kernels/cpu/linalg.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SWEEPS = 60 };

/* ---- Rows ------------------------------------------------------------------------------------------------------------- */

static void add_row(double *restrict to, const double *restrict from, double factor, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        to[i] += factor * from[i];
}

/* (a, b) becomes (c a - s b, s a + c b). */
static void rotate(double *restrict a, double *restrict b, double c, double s, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const double x = a[i], y = b[i];
        a[i] = c * x - s * y;
        b[i] = s * x + c * y;
    }
}

static void swap_rows(double *restrict a, double *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const double x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

static void set_identity(double *a, int64_t n) {
    memset(a, 0, (size_t)(n * n) * sizeof *a);
    for (int64_t i = 0; i < n; i++)
        a[i * n + i] = 1;
}

/* ---- Triangles -------------------------------------------------------------------------------------------------------- */

int64_t soma__cholesky(double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < i; j++)
            a[i * n + j] = (a[i * n + j] - soma__dot(a + i * n, a + j * n, j)) / a[j * n + j];
        const double rest = a[i * n + i] - soma__dot(a + i * n, a + i * n, i);
        if (!(rest > 0))
            return i + 1;
        a[i * n + i] = sqrt(rest);
        for (int64_t j = i + 1; j < n; j++)
            a[i * n + j] = 0;
    }
    return 0;
}

int64_t soma__lu(double *a, int64_t n, int64_t *pivot) {
    int64_t zero = 0;
    for (int64_t k = 0; k < n; k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k]))
                best = i;
        pivot[k] = best;
        if (best != k)
            swap_rows(a + best * n, a + k * n, n);
        const double p = a[k * n + k];
        if (p == 0) {
            zero = zero ? zero : k + 1;
            continue;
        }
        for (int64_t i = k + 1; i < n; i++) {
            a[i * n + k] /= p;
            add_row(a + i * n + k + 1, a + k * n + k + 1, -a[i * n + k], n - k - 1);
        }
    }
    return zero;
}

void soma__solve_triangle(const double *a, int64_t n, bool upper, bool unit, double *b, int64_t k) {
    for (int64_t step = 0; step < n; step++) {
        const int64_t i = upper ? n - 1 - step : step;
        for (int64_t j = upper ? i + 1 : 0; j < (upper ? n : i); j++)
            add_row(b + i * k, b + j * k, -a[i * n + j], k);
        for (int64_t c = 0; c < k && !unit; c++)
            b[i * k + c] /= a[i * n + i];
    }
}

void soma__lu_solve(const double *lu, int64_t n, const int64_t *pivot, double *b, int64_t k) {
    for (int64_t i = 0; i < n; i++)
        if (pivot[i] != i)
            swap_rows(b + i * k, b + pivot[i] * k, k);
    soma__solve_triangle(lu, n, false, true, b, k);
    soma__solve_triangle(lu, n, true, false, b, k);
}

/* ---- Reflections (Householder 1958) ----------------------------------------------------------------------------------- */

/* x [n] in steps becomes (-sign(x0) |x|, v1 … ) with I - tau (1, v)(1, v)ᵀ mapping one to the other; scaled against overflow. */
static double reflector(double *x, int64_t n, int64_t step) {
    double top = 0, sum = 0;
    for (int64_t i = 1; i < n; i++)
        top = fmax(top, fabs(x[i * step]));
    if (top == 0)
        return 0;
    top = fmax(top, fabs(x[0]));
    for (int64_t i = 0; i < n; i++)
        sum += x[i * step] / top * (x[i * step] / top);
    const double beta = -copysign(top * sqrt(sum), x[0]), first = x[0];
    for (int64_t i = 1; i < n; i++)
        x[i * step] /= first - beta;
    x[0] = beta;
    return (beta - first) / beta;
}

/* Rows k … m-1 and columns from … n-1 of `a` by the reflection in column k of `v` (rows of `width`). */
static void reflect(const double *v, int64_t width, int64_t k, double tau, double *a, int64_t m, int64_t n, int64_t from, double *row) {
    if (tau == 0 || from >= n)
        return;
    memcpy(row, a + k * n + from, (size_t)(n - from) * sizeof *row);
    for (int64_t i = k + 1; i < m; i++)
        add_row(row, a + i * n + from, v[i * width + k], n - from);
    add_row(a + k * n + from, row, -tau, n - from);
    for (int64_t i = k + 1; i < m; i++)
        add_row(a + i * n + from, row, -tau * v[i * width + k], n - from);
}

void soma__householder(double *a, int64_t m, int64_t n, double *tau, double *row) {
    for (int64_t k = 0; k < m && k < n; k++) {
        tau[k] = reflector(a + k * n + k, m - k, n);
        reflect(a, n, k, tau[k], a, m, n, k + 1, row);
    }
}

void soma__householder_q(const double *a, int64_t m, int64_t n, const double *tau, double *q, int64_t c, double *row) {
    memset(q, 0, (size_t)(m * c) * sizeof *q);
    for (int64_t i = 0; i < c; i++)
        q[i * c + i] = 1;
    for (int64_t k = (m < n ? m : n) - 1; k >= 0; k--)
        reflect(a, n, k, tau[k], q, m, c, k, row);
}

/* ---- Symmetric eigenvalues: tridiagonal by reflections, then QL with implicit shifts (Francis 1961; Wilkinson 1968) --------- */

/* d and e become the diagonal and what is beside it (e[i] between i and i + 1); v [n, n] the transposed product of the reflections. */
static void tridiagonal(double *a, int64_t n, double *d, double *e, double *v, double *p) {
    double *tau = e; /* tau[k] moves to e when it is no longer needed */
    for (int64_t k = 0; k + 1 < n; k++) {
        const int64_t m = n - k - 1;
        double *x = a + (k + 1) * n + k;
        tau[k] = reflector(x, m, n);
        d[k] = x[0]; /* beside the diagonal; kept here for a while */
        x[0] = 1;
        for (int64_t i = 0; i < m && tau[k] != 0; i++) {
            double s = 0;
            for (int64_t j = 0; j < m; j++)
                s += a[(k + 1 + i) * n + k + 1 + j] * x[j * n];
            p[i] = tau[k] * s;
        }
        double pv = 0;
        for (int64_t i = 0; i < m && tau[k] != 0; i++)
            pv += p[i] * x[i * n];
        for (int64_t i = 0; i < m && tau[k] != 0; i++)
            p[i] -= tau[k] / 2 * pv * x[i * n];
        for (int64_t i = 0; i < m && tau[k] != 0; i++)
            for (int64_t j = 0; j < m; j++)
                a[(k + 1 + i) * n + k + 1 + j] -= x[i * n] * p[j] + p[i] * x[j * n];
    }
    set_identity(v, n);
    for (int64_t k = n - 2; k >= 0; k--) /* v = Qᵀ = H(n-2) … H(0): columns k+1 … of v from the right */
        for (int64_t r = k + 1; r < n && tau[k] != 0; r++) {
            double s = 0;
            for (int64_t j = k + 1; j < n; j++)
                s += v[r * n + j] * a[j * n + k];
            for (int64_t j = k + 1; j < n; j++)
                v[r * n + j] -= tau[k] * s * a[j * n + k];
        }
    for (int64_t k = 0; k + 1 < n; k++) {
        e[k] = d[k];
        d[k] = a[k * n + k];
    }
    if (n > 0) {
        d[n - 1] = a[n * n - 1];
        e[n - 1] = 0;
    }
}

/* One QL step on rows l … m of the tridiagonal matrix; false when a part of it came apart on the way. */
static bool ql_step(double *d, double *e, int64_t l, int64_t m, double *v, int64_t n) {
    double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l] / (g + copysign(r, g));
    for (int64_t i = m - 1; i >= l; i--) {
        const double f = s * e[i], b = c * e[i];
        r = hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
            d[i + 1] -= p;
            e[m] = 0;
            return false;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        rotate(v + i * n, v + (i + 1) * n, c, s, n);
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
    return true;
}

/* Sorts values, rising or falling, with rows of `one` (and `two`, which may be NULL). */
static void sort_rows(double *w, int64_t n, bool falling, double *one, int64_t n_one, double *two, int64_t n_two) {
    for (int64_t i = 0; i < n; i++) {
        int64_t best = i;
        for (int64_t k = i + 1; k < n; k++)
            if (falling ? w[k] > w[best] : w[k] < w[best])
                best = k;
        if (best == i)
            continue;
        const double x = w[i];
        w[i] = w[best];
        w[best] = x;
        swap_rows(one + i * n_one, one + best * n_one, n_one);
        if (two)
            swap_rows(two + i * n_two, two + best * n_two, n_two);
    }
}

bool soma__eigh(double *a, int64_t n, double *w, double *v, double *room) {
    double *e = room;
    tridiagonal(a, n, w, e, v, room + n);
    for (int64_t l = 0; l < n; l++)
        for (int steps = 0;; steps++) {
            int64_t m = l;
            while (m + 1 < n && !(fabs(e[m]) <= DBL_EPSILON * (fabs(w[m]) + fabs(w[m + 1]))))
                m++;
            if (m == l)
                break;
            if (steps == SWEEPS)
                return false;
            ql_step(w, e, l, m, v, n);
        }
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(w[i]))
            return false;
    sort_rows(w, n, false, v, n, NULL, 0);
    for (int64_t i = 0; i < n; i++)
        soma__largest_positive(v + i * n, n, 1, NULL, 0);
    return true;
}

/* ---- Singular values: one-sided Jacobi on rows (Hestenes 1958) after two QR factorisations, the first with column pivoting (Drmač & Veselić 2008):
 * what is left is nearly diagonal and falls in size, so that few sweeps are needed, and small values keep their relative accuracy ---- */

enum { JACOBI_BLOCK = 32 }; /* rows that are turned against as many others while both lie in the cache */

/* Makes rows p and q of r orthogonal by a rotation, which turns the rows of w too (NULL: none); size: the rows' squared lengths. False: they were. */
static bool orthogonal_pair(double *r, double *w, double *size, int64_t n, int64_t p, int64_t q) {
    double *x = r + p * n, *y = r + q * n;
    const double xy = soma__dot(x, y, n), small = DBL_EPSILON * sqrt((double)n);
    if (!(fabs(xy) > small * sqrt(size[p]) * sqrt(size[q])) || fabs(xy) < DBL_MIN)
        return false;
    const double z = (size[q] - size[p]) / (2 * xy), t = copysign(1, z) / (fabs(z) + hypot(1, z)), c = 1 / hypot(1, t);
    rotate(x, y, c, c * t, n);
    if (w)
        rotate(w + p * n, w + q * n, c, c * t, n);
    size[p] = fmax(size[p] - t * xy, 0);
    size[q] += t * xy;
    return true;
}

/* Makes all rows of r [n, n] orthogonal. */
static bool orthogonal_rows(double *r, double *w, double *size, int64_t n) {
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool turned = false;
        for (int64_t i = 0; i < n; i++)
            size[i] = soma__dot(r + i * n, r + i * n, n);
        for (int64_t i = 0; i < n; i += JACOBI_BLOCK)
            for (int64_t j = i; j < n; j += JACOBI_BLOCK)
                for (int64_t p = i; p < n && p < i + JACOBI_BLOCK; p++)
                    for (int64_t q = j > p ? j : p + 1; q < n && q < j + JACOBI_BLOCK; q++)
                        turned |= orthogonal_pair(r, w, size, n, p, q);
        if (!turned)
            return true;
    }
    return false;
}

/* Row i becomes a unit vector that is orthogonal to the rows before it. */
static void complete_row(double *v, int64_t n, int64_t i) {
    for (int64_t axis = 0; axis < n; axis++) {
        double *x = v + i * n;
        memset(x, 0, (size_t)n * sizeof *x);
        x[axis] = 1;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t k = 0; k < i; k++)
                add_row(x, v + k * n, -soma__dot(x, v + k * n, n), n);
        const double size = sqrt(soma__dot(x, x, n));
        if (size > 0.5 / sqrt((double)n)) {
            for (int64_t k = 0; k < n; k++)
                x[k] /= size;
            return;
        }
    }
}

/* As soma__householder, and each reflection takes the longest column of what is left: column i of the result was column order[i]. left: room for n. */
static void householder_pivoted(double *a, int64_t m, int64_t n, double *tau, double *row, double *left, int64_t *order) {
    double trust = INFINITY; /* at or below it the columns' squared lengths, which are brought down step by step, are computed anew */
    for (int64_t j = 0; j < n; j++) {
        order[j] = j;
        left[j] = 0;
    }
    for (int64_t k = 0; k < n; k++) {
        int64_t best = k;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t j = k; j < n; j++)
                best = left[j] > left[best] ? j : best;
            if (pass > 0 || left[best] > trust)
                break;
            memset(left + k, 0, (size_t)(n - k) * sizeof *left);
            for (int64_t i = k; i < m; i++)
                for (int64_t j = k; j < n; j++)
                    left[j] += a[i * n + j] * a[i * n + j];
            trust = -1;
        }
        if (trust < 0)
            trust = left[best] * 1e-6;
        for (int64_t i = 0; i < m && best != k; i++) {
            const double x = a[i * n + k];
            a[i * n + k] = a[i * n + best];
            a[i * n + best] = x;
        }
        const int64_t was = order[k];
        order[k] = order[best];
        order[best] = was;
        left[best] = left[k];
        tau[k] = reflector(a + k * n + k, m - k, n);
        reflect(a, n, k, tau[k], a, m, n, k + 1, row);
        for (int64_t j = k + 1; j < n; j++)
            left[j] = fmax(left[j] - a[k * n + j] * a[k * n + j], 0);
    }
}

/* The upper triangle of r can be divided by without loss: no row is much longer than its diagonal element. */
static bool well_scaled(const double *r, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(r[i * n + i]) > 0.01 * sqrt(soma__dot(r + i * n, r + i * n, n))) || fabs(r[i * n + i]) < DBL_MIN)
            return false;
    return true;
}

/* Rows of z become the solutions x of x R = z, R the upper triangle of r. */
static void divide_rows(const double *r, int64_t n, double *z) {
    for (double *x = z; x < z + n * n; x += n)
        for (int64_t j = 0; j < n; j++) {
            x[j] /= r[j * n + j];
            add_row(x + j + 1, r + j * n + j + 1, -x[j], n - j - 1);
        }
}

static void turn(const double *from, int64_t n, double *to) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            to[j * n + i] = from[i * n + j];
}

/* Rows of z and w in the falling order of the lengths of z's, which become s and 1. */
static void unit_rows(double *z, double *w, double *s, int64_t n, double top) {
    for (int64_t i = 0; i < n; i++)
        s[i] = sqrt(soma__dot(z + i * n, z + i * n, n));
    sort_rows(s, n, true, z, n, w, n);
    for (int64_t i = 0; i < n; i++) {
        if (s[i] > DBL_MIN)
            for (int64_t k = 0; k < n; k++)
                z[i * n + k] /= s[i];
        else
            complete_row(z, n, i);
        s[i] *= top;
    }
}

/* A P = Q R, Rᵀ = Q2 R2 and W R2 = S Z with orthogonal rows of Z: A = Q Zᵀ S W Q2ᵀ Pᵀ. W is gathered from the rotations, or S Z / R2. */
bool soma__svd(double *a, int64_t m, int64_t n, double *u, double *s, double *v, double *room) {
    double *w = room, *z = w + n * n, *tau = z + n * n, *tau2 = tau + n, *row = tau2 + n, top = 0;
    int64_t *order = (int64_t *)(row + n);
    for (int64_t i = 0; i < m * n; i++) {
        if (!isfinite(a[i]))
            return false;
        top = fmax(top, fabs(a[i]));
    }
    for (int64_t i = 0; i < m * n && top > 0; i++)
        a[i] /= top; /* squares neither overflow nor vanish */
    householder_pivoted(a, m, n, tau, row, s, order);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            v[i * n + j] = i < j ? 0 : a[j * n + i];
    soma__householder(v, n, n, tau2, row);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            z[i * n + j] = j < i ? 0 : v[i * n + j];
    const bool divide = well_scaled(z, n);
    if (!divide)
        set_identity(w, n);
    if (!orthogonal_rows(z, divide ? NULL : w, s, n))
        return false;
    if (divide) {
        memcpy(w, z, (size_t)(n * n) * sizeof *w);
        divide_rows(v, n, w);
    }
    unit_rows(z, w, s, n, top);
    for (int64_t i = 0; i < m; i++)
        for (int64_t k = 0; k < n; k++)
            u[i * n + k] = i < n ? z[k * n + i] : 0;
    for (int64_t k = n - 1; k >= 0; k--) /* u = Q Zᵀ */
        reflect(a, n, k, tau[k], u, m, n, 0, row);
    turn(w, n, z);
    for (int64_t k = n - 1; k >= 0; k--) /* z = Q2 Wᵀ */
        reflect(v, n, k, tau2[k], z, n, n, 0, row);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < n; k++)
            v[k * n + order[i]] = z[i * n + k];
    for (int64_t i = 0; i < n; i++)
        soma__largest_positive(u + i, m, n, v + i * n, n);
    return true;
}

int64_t soma__householder_room(int64_t m, int64_t n) { return m > n ? m : n; }
int64_t soma__eigh_room(int64_t n) { return 4 * n; }
int64_t soma__svd_room(int64_t m, int64_t n) {
    (void)m;
    return 2 * n * n + 5 * n;
}
