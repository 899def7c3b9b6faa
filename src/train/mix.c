/* Mixup (Zhang et al. 2018): each sample of a batch becomes share * itself + (1 - share) * another, and so does what it should give.
 * Numbers are mixed; of classes both are kept, since share * loss(one) + (1 - share) * loss(other) is, of cross-entropy, the loss against
 * the mixed (soft) target, and has that target's gradient also with squares. What is drawn is a function of seed and stream. */
#include "train/train.h"

#include <soma/autograd.h>

#include <math.h>

/* Marsaglia & Tsang 2000, for shapes below 1 with their power of a uniform number. */
static double draw_gamma(soma__random *r, double shape) {
    double boost = shape < 1 ? pow(1 - soma__random_unit(r), 1 / shape) : 1, d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = soma__random_normal(r), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        if (log(1 - soma__random_unit(r)) < 0.5 * x * x + d - d * v + d * log(v)) return boost * d * v;
    }
}

/* From Beta(alpha, alpha), the larger of the share and the rest: which of two samples is the first is arbitrary. */
static double draw_share(soma__random *r, double alpha) {
    double a = draw_gamma(r, alpha), b = draw_gamma(r, alpha), share = a + b > 0 ? a / (a + b) : 1;
    return fmax(share, 1 - share);
}

static soma_tensor *draw_order(soma__random *r, int64_t n) {
    soma_tensor *order = soma_arange(0, (double)n, 1, SOMA_I64);
    int64_t *place = order ? soma_data(order) : NULL;
    for (int64_t i = n - 1; place && i > 0; i--) {
        int64_t k = (int64_t)soma__random_below(r, (uint64_t)i + 1), was = place[i];
        place[i] = place[k];
        place[k] = was;
    }
    return order;
}

static soma_tensor *blend(soma_tensor *t, soma_tensor *order, double share) {
    return soma_add(soma_mul_scalar(t, share), soma_mul_scalar(soma_index_select(t, 0, order), 1 - share));
}

soma_status soma__mix(const soma_batch *b, double alpha, soma__mixed *out) {
    soma_rng rng = soma_rng_get();
    soma__random r = soma__random_new(rng.seed, rng.stream++);
    soma_rng_set(rng);
    bool grad = soma_set_grad_enabled(false);
    out->share = draw_share(&r, alpha);
    soma_tensor *order = draw_order(&r, soma_size(b->x, 0));
    out->x = blend(b->x, order, out->share);
    if (b->y && soma_dtype_is_float(soma_dtype_of(b->y)))
        out->y = blend(b->y, order, out->share);
    else if (b->y)
        out->other = soma_index_select(b->y, 0, order);
    soma_set_grad_enabled(grad);
    return soma_error();
}
