/* Special functions: see special.h. Series and recurrences are the classical ones of Abramowitz & Stegun, Handbook of Mathematical
 * Functions (1964); the section is named at each. */
#include "kernels/cpu/special.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

/* ---- Gamma and its kin ---- */

double soma__lgamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

/* The asymptotic series (6.3.18) from 10 on, reached by psi(x) = psi(x + 1) - 1 / x; below 0 by reflection (6.3.7). */
double soma__digamma(double x) {
    static const double c[] = {1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12};
    if (x == 0)
        return copysign(INFINITY, -x);
    if (x < 0) {
        double part = x - floor(x);
        return part == 0 ? NAN : soma__digamma(1 - x) - pi / tan(pi * part);
    }
    double less = 0;
    for (; x < 10; x++)
        less += 1 / x;
    double z = 1 / (x * x), tail = 0;
    for (int k = (int)(sizeof c / sizeof *c) - 1; k >= 0; k--)
        tail = (tail + c[k]) * z;
    return x == INFINITY ? x : log(x) - 0.5 / x - tail - less;
}

/* Euler-Maclaurin (23.2.3 with 3.6.28): terms up to N, then the integral, half a term and derivatives with B_2k / (2k)!. */
double soma__zeta(double s, double q) {
    static const double c[] = {1.0 / 12, -1.0 / 720, 1.0 / 30240, -1.0 / 1209600, 1.0 / 47900160, -691.0 / 1307674368000.0,
                               1.0 / 74724249600.0, -3617.0 / 10670622842880000.0, 43867.0 / 5109094217170944000.0};
    if (s == 1)
        return INFINITY;
    if (s < 1 || s != s || q != q)
        return NAN;
    if (q <= 0 && q == floor(q))
        return INFINITY;
    if (q <= 0 && s != floor(s))
        return NAN;
    double sum = 0, a = q;
    for (int k = 0; k < 12 || a <= 12; k++, a++) {
        double term = pow(a, -s);
        sum += term;
        if (fabs(term) < DBL_EPSILON * 0.01 * fabs(sum) && a > 0)
            return sum;
    }
    double power = pow(a, -s);
    sum += power * a / (s - 1) + 0.5 * power;
    double factor = s * power / a;
    for (int k = 0; k < (int)(sizeof c / sizeof *c); k++) {
        double term = c[k] * factor;
        sum += term;
        if (fabs(term) < DBL_EPSILON * 0.01 * fabs(sum))
            break;
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / (a * a);
    }
    return sum;
}

/* ---- The normal distribution ---- */

/* The z with erfc(z) = t, 0 < t <= 1: from sqrt(-log) of the tail, by Halley's steps on erfc(z) / t - 1. */
static double erfc_inverse(double t) {
    double l = -2 * log(t * 0.5), r = sqrt(l);
    double z = (r - (2.30753 + 0.27061 * r) / (1 + r * (0.99229 + 0.04481 * r))) * 0.70710678118654752; /* 26.2.22 */
    for (int k = 0; k < 4; k++) {
        double slope = 1.1283791670955126 * exp(-z * z), off = erfc(z) - t;
        if (slope == 0)
            break;
        double step = off / slope;
        z += step / (1 + z * step);
    }
    return z;
}

double soma__erfinv(double y) {
    double t = fabs(y), z;
    if (!(t < 1))
        return t == 1 ? copysign(INFINITY, y) : NAN;
    if (t > 0.5)
        return copysign(erfc_inverse(1 - t), y);
    z = t * 0.88622692545275801;
    for (int k = 0; k < 5; k++) {
        double step = (erf(z) - t) / (1.1283791670955126 * exp(-z * z));
        z -= step / (1 + z * step);
    }
    return copysign(z, y);
}

double soma__ndtri(double p) {
    if (!(p > 0 && p < 1))
        return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
    if (p < 0.25)
        return -1.4142135623730951 * erfc_inverse(2 * p);
    return 1.4142135623730951 * soma__erfinv(2 * p - 1);
}

/* ---- Modified Bessel functions ---- */

/* e^-x I_n(x), x >= 0. Up to 30 the power series (9.6.10), whose terms are all positive; beyond, the asymptotic one (9.7.1). */
static double bessel_scaled(int n, double x) {
    double term = 1, sum = 1;
    if (x <= 30) {
        double z = x * x / 4;
        for (int k = 1; term > DBL_EPSILON * 0.1 * sum; k++) {
            term *= z / ((double)k * (k + n));
            sum += term;
        }
        return sum * exp(-x) * (n ? x / 2 : 1);
    }
    for (int k = 1; k < 30 && fabs(term) > DBL_EPSILON * 0.1; k++) {
        double odd = 2 * k - 1;
        term *= -(4.0 * n * n - odd * odd) / (k * 8 * x);
        sum += term;
    }
    return x == INFINITY ? 0 : sum / sqrt(2 * pi * x);
}

double soma__bessel_i0e(double x) { return x != x ? x : bessel_scaled(0, fabs(x)); }
double soma__bessel_i1e(double x) { return x != x ? x : copysign(bessel_scaled(1, fabs(x)), x); }
/* e^|x| in two halves: I overflows later than the exponential. */
static double grown(double scaled, double x) {
    double half = exp(fabs(x) / 2);
    return fabs(x) == INFINITY ? copysign(INFINITY, scaled) : scaled * half * half;
}
double soma__bessel_i0(double x) { return grown(soma__bessel_i0e(x), x); }
double soma__bessel_i1(double x) { return copysign(grown(soma__bessel_i1e(x), x), x); }

/* ---- Logarithms and the like ---- */

double soma__sinc(double x) { return x == 0 ? 1 : sin(pi * x) / (pi * x); }
double soma__entr(double x) { return x < 0 ? -INFINITY : x == 0 ? 0 : -x * log(x); }
double soma__xlogy(double x, double y) { return y != y ? y : x == 0 ? 0 : x * log(y); }
double soma__xlog1py(double x, double y) { return y != y ? y : x == 0 ? 0 : x * log1p(y); }

double soma__logaddexp(double a, double b) {
    if (a == b && isinf(a))
        return a;
    return (a > b ? a : b) + log1p(exp(-fabs(a - b)));
}

double soma__logaddexp2(double a, double b) {
    if (a == b && isinf(a))
        return a;
    return (a > b ? a : b) + 1.4426950408889634 * log1p(exp2(-fabs(a - b)));
}

/* ---- Division ---- */

double soma__remainder(double a, double b) {
    double r = fmod(a, b);
    return r != 0 && (b < 0) != (r < 0) ? r + b : r;
}

/* Through the remainder, so that a = b floor(a / b) + remainder(a, b) holds where a / b would round up to a whole number. */
double soma__floor_divide(double a, double b) {
    if (b == 0)
        return a / b;
    double r = fmod(a, b), d = (a - r) / b;
    if (r != 0 && (b < 0) != (r < 0))
        d -= 1;
    if (d == 0)
        return copysign(0, a / b);
    double whole = floor(d);
    return d - whole > 0.5 ? whole + 1 : whole;
}

double soma__trunc_divide(double a, double b) { return trunc(a / b); }

/* -2^63 / -1 does not fit; it wraps, as the other operations do. */
int64_t soma__whole_trunc_divide(int64_t a, int64_t b) { return b == -1 ? (int64_t)-(uint64_t)a : a / b; }
int64_t soma__whole_fmod(int64_t a, int64_t b) { return b == -1 ? 0 : a % b; }
int64_t soma__whole_remainder(int64_t a, int64_t b) {
    int64_t r = soma__whole_fmod(a, b);
    return r != 0 && (b < 0) != (r < 0) ? r + b : r;
}
int64_t soma__whole_floor_divide(int64_t a, int64_t b) {
    int64_t r = soma__whole_fmod(a, b);
    return (int64_t)((uint64_t)soma__whole_trunc_divide(a, b) - (r != 0 && (b < 0) != (r < 0)));
}

static uint64_t size_of(int64_t v) { return v < 0 ? -(uint64_t)v : (uint64_t)v; }

int64_t soma__gcd(int64_t a, int64_t b) {
    uint64_t x = size_of(a), y = size_of(b);
    while (y) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    return (int64_t)x;
}

int64_t soma__lcm(int64_t a, int64_t b) {
    uint64_t d = (uint64_t)soma__gcd(a, b);
    return d == 0 ? 0 : (int64_t)(size_of(a) / d * size_of(b));
}

int64_t soma__and(int64_t a, int64_t b) { return a & b; }
int64_t soma__or(int64_t a, int64_t b) { return a | b; }
int64_t soma__xor(int64_t a, int64_t b) { return a ^ b; }
/* Narrower dtypes are widened with their sign and cut off when stored, so one width serves all. */
int64_t soma__left_shift(int64_t a, int64_t b) { return b < 0 || b > 63 ? 0 : (int64_t)((uint64_t)a << b); }
int64_t soma__right_shift(int64_t a, int64_t b) { return a >> (b < 0 || b > 63 ? 63 : b); }
