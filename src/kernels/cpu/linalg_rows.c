/* What the factorisations of linalg.c and of lapack.c share. */
#include "kernels/cpu/linalg.h"

#include <math.h>

double soma__dot(const double *a, const double *b, int64_t n) {
    double s[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++)
            s[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        s[0] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

void soma__largest_positive(double *x, int64_t n, int64_t step, double *with, int64_t n_with) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (fabs(x[i * step]) > fabs(x[best * step]))
            best = i;
    if (n == 0 || !(x[best * step] < 0))
        return;
    for (int64_t i = 0; i < n; i++)
        x[i * step] = -x[i * step];
    for (int64_t i = 0; i < n_with; i++)
        with[i] = -with[i];
}
