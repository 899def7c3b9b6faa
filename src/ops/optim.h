/* What the updates of the optimisers share: they write the parameter and its state in place, in one pass. The learning rate and the
 * number of the step are inputs, so that a captured step can be replayed with other values.
 *
 * Inputs: parameter, gradient, state like the parameter (some of it optional), then numbers, the last two being lr and step. */
#ifndef SOMA_SRC_OPS_OPTIM_H
#define SOMA_SRC_OPS_OPTIM_H

#include "ops/op.h"

enum { SOMA__PARAM, SOMA__GRAD };
enum { SOMA__UPDATE_MOST = 5 };  /* parameter, gradient and state */

typedef struct soma__update {
    const void *numbers;
    soma_dtype dtype;
    int n;                       /* inputs like the parameter, those that are absent included */
    unsigned present;            /* bit i: input i is there */
    void (*f32)(const struct soma__update *u, float *const *p, int64_t n);
    void (*f64)(const struct soma__update *u, double *const *p, int64_t n);
    void (*one)(const struct soma__update *u, double *x); /* the reference, for one element in f64 */
} soma__update;

/* Gradient and state must be like the parameter: inputs 1 to n - 1; those from n on are single numbers. */
bool soma__optim_like(soma_args *a, int n);
/* Runs the update over all elements, from f32, f64 or, as `reference`, one by one in f64. Halves are computed in f32 and rounded once. */
const char *soma__optim_run(soma_args *a, soma__update *u, bool reference);
/* The value of a tensor of one number. */
double soma__optim_value(const soma_tensor *t);
/* For samples: a 0-d tensor. */
soma_tensor *soma__optim_one(double value, soma_dtype dtype);

#endif
