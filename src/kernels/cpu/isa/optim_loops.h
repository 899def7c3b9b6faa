/* The updates for one type: included with TYPE, NAME(x) and SQRT set. One pass over memory; conditions inside the loops do
 * not change in them, so that they become vectors. An option that is off costs no arithmetic that Inf would turn into NaN. */

static void NAME(sgd_plain)(TYPE lr, TYPE decay, TYPE *restrict p, const TYPE *restrict g, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        p[i] -= lr * (decay != 0 ? g[i] + decay * p[i] : g[i]);
}

static void NAME(sgd_first)(const soma__sgd_numbers *c, TYPE *restrict p, const TYPE *restrict g, TYPE *restrict b, int64_t n) {
    const TYPE lr = (TYPE)c->lr, decay = (TYPE)c->weight_decay, ahead = c->nesterov ? (TYPE)c->momentum : 0;
    for (int64_t i = 0; i < n; i++) {
        TYPE d = decay != 0 ? g[i] + decay * p[i] : g[i];
        b[i] = d;
        p[i] -= lr * (ahead != 0 ? d + ahead * d : d);
    }
}

static void NAME(sgd_momentum)(const soma__sgd_numbers *c, TYPE *restrict p, const TYPE *restrict g, TYPE *restrict b, int64_t n) {
    const TYPE lr = (TYPE)c->lr, decay = (TYPE)c->weight_decay, momentum = (TYPE)c->momentum, take = (TYPE)(1 - c->dampening);
    const TYPE ahead = c->nesterov ? momentum : 0;
    for (int64_t i = 0; i < n; i++) {
        TYPE d = decay != 0 ? g[i] + decay * p[i] : g[i];
        TYPE m = momentum * b[i] + take * d;
        b[i] = m;
        p[i] -= lr * (ahead != 0 ? d + ahead * m : m);
    }
}

static void NAME(sgd)(const soma__sgd_numbers *c, TYPE *p, const TYPE *g, TYPE *b, int64_t n) {
    if (!b)
        NAME(sgd_plain)((TYPE)c->lr, (TYPE)c->weight_decay, p, g, n);
    else if (c->first)
        NAME(sgd_first)(c, p, g, b, n);
    else
        NAME(sgd_momentum)(c, p, g, b, n);
}

static void NAME(adam)(const soma__adam_numbers *c, TYPE *restrict p, const TYPE *restrict g, TYPE *restrict m, TYPE *restrict v, int64_t n) {
    const TYPE beta1 = (TYPE)c->beta1, beta2 = (TYPE)c->beta2, take1 = (TYPE)(1 - c->beta1), take2 = (TYPE)(1 - c->beta2);
    const TYPE eps = (TYPE)c->eps, decay = (TYPE)c->weight_decay, keep = (TYPE)c->keep, size = (TYPE)c->step_size, root = (TYPE)c->root;
    const bool once = sizeof(TYPE) == 4; /* f32: one division for two, with root in rate and eps */
    const TYPE rate = (TYPE)(c->step_size * c->root), least = (TYPE)(c->eps * c->root);
    for (int64_t i = 0; i < n; i++) {
        TYPE x = p[i], d = decay != 0 ? g[i] + decay * x : g[i];
        x *= keep;
        m[i] = beta1 * m[i] + take1 * d;
        v[i] = beta2 * v[i] + take2 * d * d;
        p[i] = once ? x - rate * (m[i] / (SQRT(v[i]) + least)) : x - size * (m[i] / (SQRT(v[i]) / root + eps));
    }
}

static double NAME(squares)(const TYPE *g, int64_t n) {
    double sums[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++)
            sums[k] += (double)g[i + k] * (double)g[i + k];
    for (int k = 0; i + k < n; k++)
        sums[k] += (double)g[i + k] * (double)g[i + k];
    for (int half = 8; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            sums[k] += sums[k + half];
    return sums[0];
}

#undef TYPE
#undef NAME
#undef SQRT
