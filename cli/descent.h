/* `soma plot descent`: paths of optimisers over a surface of two parameters. */
#ifndef SOMA_CLI_DESCENT_H
#define SOMA_CLI_DESCENT_H

#include <soma/soma.h>

enum { DESCENT_PATHS = 16, DESCENT_MINIMA = 25 };

typedef struct surface {
    const char *name, *what;
    const char *formula;             /* of x and y, as gnuplot reads it; %g: the condition */
    soma_tensor *(*value)(soma_tensor *x, soma_tensor *y, double condition);
    double start[2], low[2], high[2]; /* where paths begin, and what is drawn */
    double best;                     /* the lowest value */
    int n_minima, n_best;            /* the first n_best of the minima are the lowest */
    double minima[DESCENT_MINIMA][2];
    double span;                     /* from the lowest contour line to the highest */
    double lr;                       /* that does for plain gradient descent */
    bool saddle;                     /* at 0, 0 */
} surface;

typedef struct walk {
    char label[96];
    const soma_optim_info *info;
    double lr, momentum;             /* momentum NaN: has none */
    bool nesterov;
    double (*at)[3];                 /* x, y, value; the start first */
    int n;                           /* of them */
    int reached;                     /* step from which the value is within the tolerance of the best; -1: never */
    bool diverged;                   /* the last point is the last that is finite */
    int minimum;                     /* number of the minimum it ended in; -1: none */
} walk;

struct args;
int run_descent(struct args *a); /* the exit code */
/* A picture of all paths: BASE.{gp,svg,png}. */
soma_status descent_draw(const char *base, const surface *s, double condition, const double start[2], const walk *paths, int n);

#endif
