/* The updates of optim_rules.h for both types. */
#include "kernels/cpu/optim_rules.h"

#include <math.h>

#define TYPE float
#define NAME(x) x##_f32
#define SQRT sqrtf
#define FABS fabsf
#include "optim_rules_loops.h"

#define TYPE double
#define NAME(x) x##_f64
#define SQRT sqrt
#define FABS fabs
#include "optim_rules_loops.h"

#define RULE(name) const soma__optim_rule soma__rule_##name = {name##_f32, name##_f64};
RULE(amsgrad)
RULE(adagrad)
RULE(adadelta)
RULE(rmsprop)
RULE(adamax)
RULE(nadam)
RULE(radam)
RULE(lion)
RULE(rprop)
RULE(asgd)
