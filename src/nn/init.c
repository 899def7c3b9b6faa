/* Initialisers: fill tensors in place, without recording. Fans as PyTorch's: [out, in, window…]. What is drawn is a function of seed and
 * stream alone; where a distribution needs more than the library's uniform and normal draws, it is computed in f64, element by element. */
#include "nn/nn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static soma_tensor *filled(soma_tensor *t, bool grad) {
    soma_set_grad_enabled(grad);
    return soma__failed() ? NULL : t;
}

soma_tensor *soma_init_constant_(soma_tensor *t, double value) {
    bool grad = soma_set_grad_enabled(false);
    soma_fill_(t, value);
    return filled(t, grad);
}

soma_tensor *soma_init_uniform_(soma_tensor *t, double low, double high) {
    bool grad = soma_set_grad_enabled(false);
    soma_uniform_(t, low, high);
    return filled(t, grad);
}

soma_tensor *soma_init_normal_(soma_tensor *t, double mean, double std) {
    bool grad = soma_set_grad_enabled(false);
    soma_normal_(t, mean, std);
    return filled(t, grad);
}

/* ---- Values computed in f64 ---- */

/* The next stream of the seed, for draws that are not an operator's. */
static soma__random next_draw(void) {
    soma_ctx *ctx = soma__ctx();
    return soma__random_new(ctx->rng.seed, ctx->rng.stream++);
}

/* Puts `values`, row-major, into t, and frees them. */
static soma_tensor *take(soma_tensor *t, double *values) {
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    if (values && scope.depth >= 0)
        soma_copy_(t, soma_from_array(values, soma_ndim(t), soma_shape(t), SOMA_F64));
    soma_scope_end(scope);
    soma__free(values);
    return filled(t, grad);
}

static bool dims_ok(soma_tensor *t, const char *what, int least, int most) {
    if (soma__failed() || !t)
        return false;
    int ndim = soma_ndim(t);
    if (ndim >= least && ndim <= most)
        return true;
    char text[SOMA__SHAPE_TEXT];
    soma__shape_text(ndim, soma_shape(t), text, sizeof text);
    if (least == most)
        soma_fail(SOMA_ESHAPE, "%s needs %d dimensions, and this tensor is %s", what, least, text);
    else if (most >= SOMA_MAX_DIMS)
        soma_fail(SOMA_ESHAPE, "%s needs at least %d dimensions, and this tensor is %s", what, least, text);
    else
        soma_fail(SOMA_ESHAPE, "%s needs %d to %d dimensions, and this tensor is %s", what, least, most, text);
    return false;
}

/* Phi^-1, where the normal distribution has p below it: Abramowitz & Stegun 26.2.23, then three steps of Halley's method. */
static double normal_quantile(double p) {
    if (!(p > 0 && p < 1))
        return p <= 0 ? -INFINITY : INFINITY;
    double q = fmin(p, 1 - p), t = sqrt(-2 * log(q));
    double x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
    for (int i = 0; i < 3; i++) {
        double u = (0.5 * erfc(-x / M_SQRT2) - q) * sqrt(2 * M_PI) * exp(x * x / 2);
        x -= u / (1 + x * u / 2);
    }
    return p <= 0.5 ? x : -x;
}

soma_tensor *soma_init_trunc_normal_(soma_tensor *t, double mean, double std, double low, double high) {
    if (!dims_ok(t, "trunc_normal", 0, SOMA_MAX_DIMS))
        return NULL;
    double from = (low - mean) / std, to = (high - mean) / std;
    if (!(std > 0) || !(low < high) || !(from < 8) || !(to > -8)) {
        soma_fail(SOMA_EINVAL, "trunc_normal: needs a deviation above 0 and bounds around the mean or near it, not mean %g, std %g, from %g to %g",
                  mean, std, low, high);
        return NULL;
    }
    double a = 0.5 * erfc(-from / M_SQRT2), b = 0.5 * erfc(-to / M_SQRT2);
    int64_t n = soma_numel(t);
    soma__random draw = next_draw();
    double *values = soma__alloc((size_t)SOMA_MAX(n, 1) * sizeof *values);
    for (int64_t i = 0; values && i < n; i++)
        values[i] = fmin(fmax(mean + std * normal_quantile(a + (b - a) * soma__random_unit(&draw)), low), high);
    return take(t, values);
}

/* ---- Scaled by fans ---- */

static bool fans(soma_tensor *t, double *in, double *out) {
    if (!dims_ok(t, "a fan", 2, SOMA_MAX_DIMS))
        return false;
    double window = 1;
    for (int i = 2; i < soma_ndim(t); i++)
        window *= (double)soma_size(t, i);
    *out = (double)soma_size(t, 0) * window;
    *in = (double)soma_size(t, 1) * window;
    return true;
}

soma_tensor *soma_init_scaled_(soma_tensor *t, double gain, soma_fan mode, bool normal) {
    double in, out;
    if (!fans(t, &in, &out))
        return NULL;
    double fan = mode == SOMA_FAN_OUT ? out : mode == SOMA_FAN_AVG ? (in + out) / 2 : in;
    double std = gain / sqrt(fmax(fan, 1)), bound = sqrt(3) * std;
    return normal ? soma_init_normal_(t, 0, std) : soma_init_uniform_(t, -bound, bound);
}

static double or_one(double gain) { return gain == 0 ? 1 : gain; }
static double he(double a) { return sqrt(2 / (1 + a * a)); }

soma_tensor *soma_init_xavier_uniform_(soma_tensor *t, double gain) { return soma_init_scaled_(t, or_one(gain), SOMA_FAN_AVG, false); }
soma_tensor *soma_init_xavier_normal_(soma_tensor *t, double gain) { return soma_init_scaled_(t, or_one(gain), SOMA_FAN_AVG, true); }
soma_tensor *soma_init_kaiming_uniform_(soma_tensor *t, double a) { return soma_init_scaled_(t, he(a), SOMA_FAN_IN, false); }
soma_tensor *soma_init_kaiming_normal_(soma_tensor *t, double a) { return soma_init_scaled_(t, he(a), SOMA_FAN_IN, true); }
soma_tensor *soma_init_lecun_uniform_(soma_tensor *t) { return soma_init_scaled_(t, 1, SOMA_FAN_IN, false); }
soma_tensor *soma_init_lecun_normal_(soma_tensor *t) { return soma_init_scaled_(t, 1, SOMA_FAN_IN, true); }

double soma_init_gain(const char *nonlinearity, double param) {
    static const struct {
        const char *name;
        double gain;
    } gains[] = {{"linear", 1}, {"identity", 1}, {"sigmoid", 1}, {"softmax", 1}, {"tanh", 5.0 / 3}, {"hardtanh", 5.0 / 3}, {"softsign", 5.0 / 3},
                 {"selu", 0.75}, {"relu", M_SQRT2}, {"relu6", M_SQRT2}, {"elu", M_SQRT2}, {"celu", M_SQRT2}, {"gelu", M_SQRT2}, {"silu", M_SQRT2},
                 {"mish", M_SQRT2}, {"softplus", M_SQRT2}, {"hardswish", M_SQRT2}, {"leaky_relu", M_SQRT2}, {"prelu", M_SQRT2}, {"rrelu", M_SQRT2}};
    const char *names[SOMA_LEN(gains)];
    for (size_t i = 0; i < SOMA_LEN(gains); i++) {
        names[i] = gains[i].name;
        if (nonlinearity && strcmp(nonlinearity, names[i]) == 0)
            return strstr(names[i], "relu") ? he(strcmp(names[i], "leaky_relu") == 0 && param == 0 ? 0.01 : param) : gains[i].gain;
    }
    const char *near = nonlinearity ? soma__nearest(nonlinearity, names, (int)SOMA_LEN(gains)) : NULL;
    soma_fail(SOMA_ENOTFOUND, "soma_init_gain: unknown nonlinearity '%.40s'%s%s%s", nonlinearity ? nonlinearity : "", near ? "; did you mean '" : "",
              near ? near : "", near ? "'?" : "");
    return NAN;
}

/* ---- Orthogonal: rows (or columns, where there are fewer) of length `gain`, at right angles ---- */

enum { ROWS = 32 };

/* Modified Gram-Schmidt, twice, of `rows` rows of `n` numbers. The lengths stay positive, so that all rotations are equally likely. */
static void orthonormal_rows(double *q, int64_t rows, int64_t n) {
    for (int64_t i = 0; i < rows; i++) {
        double *x = q + i * n;
        for (int64_t k = 0; k < 2 * i; k++) {
            const double *y = q + k % i * n;
            double dot = 0;
            for (int64_t j = 0; j < n; j++)
                dot += x[j] * y[j];
            for (int64_t j = 0; j < n; j++)
                x[j] -= dot * y[j];
        }
        double square = 0;
        for (int64_t j = 0; j < n; j++)
            square += x[j] * x[j];
        for (int64_t j = 0; j < n; j++)
            x[j] /= sqrt(square);
    }
}

/* In blocks: what lies along the rows before is taken out by matrix products, twice. */
static soma_tensor *orthonormal(int64_t rows, int64_t n) {
    soma_tensor *q = soma_normal_(soma_zeros(SOMA_SHAPE(rows, n), SOMA_F64), 0, 1);
    for (int64_t i = 0; i < rows && !soma__failed(); i += ROWS) {
        int64_t count = SOMA_MIN((int64_t)ROWS, rows - i);
        soma_scope scope = soma_scope_begin();
        soma_tensor *block = soma_slice(q, 0, i, i + count, 1), *before = soma_slice(q, 0, 0, i, 1);
        for (int k = 0; k < 2 && i > 0; k++)
            soma_copy_(block, soma_sub(block, soma_matmul(soma_matmul(block, soma_transpose(before, 0, 1)), before)));
        soma_scope_end(scope);
        if (!soma__failed())
            orthonormal_rows((double *)soma_data(q) + i * n, count, n);
    }
    return q;
}

soma_tensor *soma_init_orthogonal_(soma_tensor *t, double gain) {
    if (!dims_ok(t, "orthogonal", 2, SOMA_MAX_DIMS))
        return NULL;
    int64_t rows = soma_size(t, 0), columns = 1;
    for (int i = 1; i < soma_ndim(t); i++)
        columns *= soma_size(t, i);
    if (soma_numel(t) == 0)
        return t;
    bool grad = soma_set_grad_enabled(false);
    soma_scope scope = soma_scope_begin();
    soma_tensor *q = orthonormal(SOMA_MIN(rows, columns), SOMA_MAX(rows, columns));
    if (rows > columns)
        q = soma_transpose(q, 0, 1);
    soma_copy_(t, soma_reshape(soma_mul_scalar(q, or_one(gain)), soma_ndim(t), soma_shape(t)));
    soma_scope_end(scope);
    return filled(t, grad);
}

/* ---- Sparse, identity, Dirac ---- */

typedef struct drawn {
    double key;
    int64_t row;
} drawn;

static int by_key(const void *a, const void *b) {
    const drawn *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->row > y->row) - (x->row < y->row);
}

soma_tensor *soma_init_sparse_(soma_tensor *t, double sparsity, double std) {
    if (!dims_ok(t, "sparse", 2, 2))
        return NULL;
    if (!(sparsity >= 0 && sparsity <= 1)) {
        soma_fail(SOMA_EINVAL, "sparse: the share of zeros must be from 0 to 1, not %g", sparsity);
        return NULL;
    }
    int64_t rows = soma_size(t, 0), columns = soma_size(t, 1), zeros = (int64_t)ceil(sparsity * (double)rows);
    soma__random draw = next_draw();
    double *values = soma__alloc((size_t)SOMA_MAX(rows * columns, 1) * sizeof *values);
    drawn *order = soma__alloc((size_t)SOMA_MAX(rows, 1) * sizeof *order);
    for (int64_t i = 0; values && i < rows * columns; i++)
        values[i] = (std == 0 ? 0.01 : std) * soma__random_normal(&draw);
    for (int64_t c = 0; values && order && c < columns; c++) {
        for (int64_t r = 0; r < rows; r++)
            order[r] = (drawn){soma__random_unit(&draw), r};
        qsort(order, (size_t)rows, sizeof *order, by_key);
        for (int64_t r = 0; r < zeros; r++)
            values[order[r].row * columns + c] = 0;
    }
    soma__free(order);
    return take(t, values);
}

soma_tensor *soma_init_eye_(soma_tensor *t) {
    if (!dims_ok(t, "eye", 2, 2))
        return NULL;
    double *values = soma__calloc((size_t)SOMA_MAX(soma_numel(t), 1), sizeof *values);
    for (int64_t i = 0; values && i < SOMA_MIN(soma_size(t, 0), soma_size(t, 1)); i++)
        values[i * soma_size(t, 1) + i] = 1;
    return take(t, values);
}

soma_tensor *soma_init_dirac_(soma_tensor *t, int64_t groups) {
    groups = groups == 0 ? 1 : groups;
    if (!dims_ok(t, "dirac", 3, 5))
        return NULL;
    int64_t out = soma_size(t, 0), in = soma_size(t, 1), window = 1, middle = 0;
    if (groups < 1 || out % groups != 0) {
        soma_fail(SOMA_EINVAL, "dirac: %lld output channels cannot be divided into %lld groups", (long long)out, (long long)groups);
        return NULL;
    }
    for (int i = 2; i < soma_ndim(t); i++) {
        window *= soma_size(t, i);
        middle = middle * soma_size(t, i) + soma_size(t, i) / 2;
    }
    double *values = soma__calloc((size_t)SOMA_MAX(soma_numel(t), 1), sizeof *values);
    for (int64_t g = 0; values && window > 0 && g < groups; g++)
        for (int64_t i = 0; i < SOMA_MIN(out / groups, in); i++)
            values[((g * (out / groups) + i) * in + i) * window + middle] = 1;
    return take(t, values);
}
