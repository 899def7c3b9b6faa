/* The vector functions of kernels/cpu/math.h against libm in double, over floats of every magnitude, for each instruction set that the machine
 * has. The bounds are what the header promises: 2 ULP, 2.5 where two functions are chained. */
#include "check.h"

#include <math.h>
#include <stdio.h>

#include "kernels/cpu/elementwise.h"

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }

static const struct {
    const char *name;
    int op;
    double (*truth)(double);
    double bound;
} functions[] = {
    {"exp", SOMA__U_exp, exp, 2},    {"expm1", SOMA__U_expm1, expm1, 2}, {"log", SOMA__U_log, log, 2},    {"log1p", SOMA__U_log1p, log1p, 2},
    {"tanh", SOMA__U_tanh, tanh, 2}, {"erf", SOMA__U_erf, erf, 2},       {"sigmoid", SOMA__U_sigmoid, sigmoid, 2.5},
    {"softplus", SOMA__U_softplus, softplus, 2.5}, {"sin", SOMA__U_sin, sin, 2}, {"cos", SOMA__U_cos, cos, 2},
};

/* In units of the last place of the true value; subnormal results in units of the smallest. */
static double ulps(float got, double truth) {
    if (isnan(truth))
        return isnan(got) ? 0 : INFINITY;
    if ((float)truth == got)
        return 0;
    if (isinf((float)truth) || isinf(got))
        return fabs(truth) > 3.4028235e38 * (1 - 0x1p-23) && isinf(got) ? 1 : INFINITY;
    int e;
    frexp(truth, &e);
    return fabs((double)got - truth) / fmax(ldexp(1, e - 24), 0x1p-149);
}

enum { BLOCK = 4096 };

static void within_bounds(void **state) {
    (void)state;
    static float x[BLOCK], y[BLOCK];
    static const double P[2] = {1, INFINITY}; /* softplus: beta, threshold */
    for (int level = 0; level <= soma__isa_best(); level++)
        for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
            double worst = 0;
            float at = 0;
            for (uint64_t start = 0; start < (uint64_t)1 << 32; start += (uint64_t)BLOCK * 6007) {
                for (int i = 0; i < BLOCK; i++) {
                    uint32_t bits = (uint32_t)(start + (uint64_t)i * 6007);
                    memcpy(&x[i], &bits, 4);
                }
                soma__elementwise_tables[level]->unary[functions[f].op]((char *const[]){(char *)y, (char *)x}, (const int64_t[]){4, 4}, BLOCK, P);
                for (int i = 0; i < BLOCK; i++) {
                    double u = ulps(y[i], functions[f].truth((double)x[i]));
                    if (u > worst) {
                        worst = u;
                        at = x[i];
                    }
                }
            }
            print_message("%s %s: %.2f ULP at %g\n", soma__isa_name(level), functions[f].name, worst, (double)at);
            if (!(worst <= functions[f].bound))
                fail_msg("%s on %s: %.2f ULP at %.9g, promised %g", functions[f].name, soma__isa_name(level), worst, (double)at, functions[f].bound);
        }
}

/* A value's bits must not depend on its place in a row: vectors and remainders do the same arithmetic. */
static void remainders_have_the_same_bits(void **state) {
    (void)state;
    static const double P[2] = {0.1, 2};
    float x[67], whole[67], part[67];
    for (int i = 0; i < 67; i++)
        x[i] = (float)i * 0.137f - 4;
    for (int level = 0; level <= soma__isa_best(); level++)
        for (int op = 0; op < SOMA__UNARY_COUNT; op++) {
            soma__row_fn row = soma__elementwise_tables[level]->unary[op];
            row((char *const[]){(char *)whole, (char *)x}, (const int64_t[]){4, 4}, 67, P);
            for (int i = 0; i < 67; i++)
                row((char *const[]){(char *)&part[i], (char *)&x[i]}, (const int64_t[]){4, 4}, 1, P);
            if (memcmp(whole, part, sizeof whole) != 0)
                fail_msg("operator %d on %s: other bits one by one", op, soma__isa_name(level));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(within_bounds), cmocka_unit_test(remainders_have_the_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
