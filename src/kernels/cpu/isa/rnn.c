/* Steps of recurrent layers in f32. */
#include "kernels/cpu/rnn.h"

#include "kernels/cpu/math.h"

#include <string.h>

#define T float
#define TANH soma__tanhf
#define SIGMOID soma__sigmoidf
#include "kernels/cpu/rnn_template.h"

const soma__rnn_kernels SOMA__ISA(soma__rnn) = RNN_KERNELS;
