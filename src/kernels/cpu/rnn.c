/* Steps of recurrent layers in f64, which serves checks and references: once for all instruction sets, with libm. */
#include "kernels/cpu/rnn.h"

#include <math.h>
#include <string.h>

static inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }

#define T double
#define TANH tanh
#define SIGMOID sigmoid
#include "kernels/cpu/rnn_template.h"

const soma__rnn_kernels soma__rnn_f64 = RNN_KERNELS;
