/* Functions of mathematics that libm lacks, in f64, and the rounding rules of division. For operators that no loop is hot over
 * (ops/functions.def). NaN goes through all of them. */
#ifndef SOMA_SRC_KERNELS_SPECIAL_H
#define SOMA_SRC_KERNELS_SPECIAL_H

#include <stdint.h>

double soma__lgamma(double x);               /* log |Gamma(x)|, without libm's global sign */
double soma__digamma(double x);              /* derivative of lgamma */
double soma__zeta(double s, double q);       /* Hurwitz: sum over k >= 0 of (k + q)^-s */
double soma__erfinv(double y);
double soma__ndtri(double p);                /* quantile of the normal distribution */
double soma__bessel_i0e(double x);           /* e^-|x| I0(x) */
double soma__bessel_i1e(double x);
double soma__bessel_i0(double x);
double soma__bessel_i1(double x);
double soma__sinc(double x);                 /* sin(pi x) / (pi x) */
double soma__entr(double x);                 /* -x log x */
double soma__xlogy(double x, double y);      /* x log y, 0 where x is 0 and y no NaN */
double soma__xlog1py(double x, double y);
double soma__logaddexp(double a, double b);  /* log(e^a + e^b) */
double soma__logaddexp2(double a, double b); /* log2(2^a + 2^b) */

double soma__remainder(double a, double b);     /* sign of b */
double soma__floor_divide(double a, double b);
double soma__trunc_divide(double a, double b);

/* Whole numbers. b is not 0 in divisions; results wrap. */
int64_t soma__whole_fmod(int64_t a, int64_t b);
int64_t soma__whole_remainder(int64_t a, int64_t b);
int64_t soma__whole_floor_divide(int64_t a, int64_t b);
int64_t soma__whole_trunc_divide(int64_t a, int64_t b);
int64_t soma__gcd(int64_t a, int64_t b);
int64_t soma__lcm(int64_t a, int64_t b);
int64_t soma__and(int64_t a, int64_t b);
int64_t soma__or(int64_t a, int64_t b);
int64_t soma__xor(int64_t a, int64_t b);
int64_t soma__left_shift(int64_t a, int64_t b);
int64_t soma__right_shift(int64_t a, int64_t b);

#endif
