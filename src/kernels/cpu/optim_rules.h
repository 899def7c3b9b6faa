/* Updates of the optimisers that are not SGD or Adam, once in all: they are bound by memory, and three copies would be wide. */
#ifndef SOMA_SRC_KERNELS_OPTIM_RULES_H
#define SOMA_SRC_KERNELS_OPTIM_RULES_H

#include <stdint.h>

enum { SOMA__RULE_NUMBERS = 10 };

/* p: parameter, gradient, then the state in the order of the operator's inputs, NULL where there is none; arrays without gaps.
 * c: the numbers of this step, see the loops. Every element goes through the same operations whatever range it is in. */
typedef struct soma__optim_rule {
    void (*f32)(const double *c, float *const *p, int64_t n);
    void (*f64)(const double *c, double *const *p, int64_t n);
} soma__optim_rule;

extern const soma__optim_rule soma__rule_amsgrad, soma__rule_adagrad, soma__rule_adadelta, soma__rule_rmsprop, soma__rule_adamax,
    soma__rule_nadam, soma__rule_radam, soma__rule_lion, soma__rule_rprop, soma__rule_asgd;

#endif
