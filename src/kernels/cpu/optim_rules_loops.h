/* The updates for one type: included with TYPE, NAME(x), SQRT and FABS set. `c[0]` is the rate, c[1] what is added of the parameter to
 * the gradient (0: nothing, also where the parameter is infinite), c[2] what the parameter is multiplied by first (decoupled decay). */

#define DECAYED(i) (decay != 0 ? g[i] + decay * x[i] : g[i])
#define COMMON                                                                                         \
    const TYPE rate = (TYPE)c[0], decay = (TYPE)c[1];                                                  \
    TYPE *restrict x = p[0];                                                                           \
    const TYPE *restrict g = p[1];

/* Adam with the largest of the mean squares so far. c: betas, eps, root of the second bias correction; the rate has the first. */
static void NAME(amsgrad)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE keep = (TYPE)c[2], b1 = (TYPE)c[3], t1 = (TYPE)(1 - c[3]), b2 = (TYPE)c[4], t2 = (TYPE)(1 - c[4]), eps = (TYPE)c[5];
    const TYPE root = (TYPE)c[6];
    TYPE *restrict m = p[2], *restrict v = p[3], *restrict most = p[4];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i);
        m[i] = b1 * m[i] + t1 * d;
        v[i] = b2 * v[i] + t2 * d * d;
        most[i] = most[i] > v[i] ? most[i] : v[i];
        x[i] = keep * x[i] - rate * (m[i] / (SQRT(most[i]) / root + eps));
    }
}

/* c: eps, start of the sum, whether this is the first step. */
static void NAME(adagrad)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE eps = (TYPE)c[3], start = (TYPE)c[4];
    const int first = c[5] != 0;
    TYPE *restrict sum = p[2];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i);
        sum[i] = (first ? start : sum[i]) + d * d;
        x[i] -= rate * (d / (SQRT(sum[i]) + eps));
    }
}

/* c: rho, eps. */
static void NAME(adadelta)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE rho = (TYPE)c[3], take = (TYPE)(1 - c[3]), eps = (TYPE)c[4];
    TYPE *restrict v = p[2], *restrict u = p[3];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i);
        v[i] = rho * v[i] + take * d * d;
        TYPE step = SQRT(u[i] + eps) / SQRT(v[i] + eps) * d;
        u[i] = rho * u[i] + take * step * step;
        x[i] -= rate * step;
    }
}

/* c: alpha, eps, momentum. p[3]: the mean gradient when centered, p[4]: the buffer of the momentum. */
static void NAME(rmsprop)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE alpha = (TYPE)c[3], take = (TYPE)(1 - c[3]), eps = (TYPE)c[4], momentum = (TYPE)c[5];
    TYPE *v = p[2], *mean = p[3], *buffer = p[4];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i), square = v[i] = alpha * v[i] + take * d * d;
        if (mean) {
            mean[i] = alpha * mean[i] + take * d;
            square -= mean[i] * mean[i];
        }
        TYPE step = d / (SQRT(square) + eps);
        if (buffer)
            step = buffer[i] = momentum * buffer[i] + step;
        x[i] -= rate * step;
    }
}

/* c: betas, eps; the rate has the bias correction. */
static void NAME(adamax)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE b1 = (TYPE)c[3], t1 = (TYPE)(1 - c[3]), b2 = (TYPE)c[4], eps = (TYPE)c[5];
    TYPE *restrict m = p[2], *restrict u = p[3];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i);
        m[i] = b1 * m[i] + t1 * d;
        TYPE old = b2 * u[i], size = FABS(d) + eps;
        u[i] = old > size ? old : size; /* a gradient that is NaN goes through m */
        x[i] -= rate * (m[i] / u[i]);
    }
}

/* c: betas, eps, root of the second bias correction, rate of the mean; c[0] is the rate of the gradient. */
static void NAME(nadam)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE keep = (TYPE)c[2], b1 = (TYPE)c[3], t1 = (TYPE)(1 - c[3]), b2 = (TYPE)c[4], t2 = (TYPE)(1 - c[4]), eps = (TYPE)c[5];
    const TYPE root = (TYPE)c[6], ahead = (TYPE)c[7];
    TYPE *restrict m = p[2], *restrict v = p[3];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i);
        m[i] = b1 * m[i] + t1 * d;
        v[i] = b2 * v[i] + t2 * d * d;
        TYPE size = SQRT(v[i]) / root + eps;
        x[i] = keep * x[i] - rate * (d / size) - ahead * (m[i] / size);
    }
}

/* c: betas, eps, whether the variance can be told yet; the rate has the corrections. */
static void NAME(radam)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE keep = (TYPE)c[2], b1 = (TYPE)c[3], t1 = (TYPE)(1 - c[3]), b2 = (TYPE)c[4], t2 = (TYPE)(1 - c[4]), eps = (TYPE)c[5];
    const int adaptive = c[6] != 0;
    TYPE *restrict m = p[2], *restrict v = p[3];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i);
        m[i] = b1 * m[i] + t1 * d;
        v[i] = b2 * v[i] + t2 * d * d;
        x[i] = keep * x[i] - rate * (adaptive ? m[i] / (SQRT(v[i]) + eps) : m[i]);
    }
}

/* c: betas. */
static void NAME(lion)(const double *c, TYPE *const *p, int64_t n) {
    const TYPE rate = (TYPE)c[0], keep = (TYPE)c[2], b1 = (TYPE)c[3], t1 = (TYPE)(1 - c[3]), b2 = (TYPE)c[4], t2 = (TYPE)(1 - c[4]);
    TYPE *restrict x = p[0], *restrict m = p[2];
    const TYPE *restrict g = p[1];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = b1 * m[i] + t1 * g[i], sign = d > 0 ? 1 : d < 0 ? -1 : d; /* NaN stays */
        m[i] = b2 * m[i] + t2 * g[i];
        x[i] = keep * x[i] - rate * sign;
    }
}

/* c: etaminus, etaplus, smallest and largest size, whether this is the first step. p[2]: the gradient before, p[3]: sizes. */
static void NAME(rprop)(const double *c, TYPE *const *p, int64_t n) {
    const TYPE rate = (TYPE)c[0], less = (TYPE)c[3], more = (TYPE)c[4], low = (TYPE)c[5], high = (TYPE)c[6];
    const int first = c[7] != 0;
    TYPE *restrict x = p[0], *restrict before = p[2], *restrict size = p[3];
    const TYPE *restrict g = p[1];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = g[i], same = d * before[i];
        TYPE s = (first ? rate : size[i]) * (same > 0 ? more : same < 0 ? less : 1);
        size[i] = s = s < low ? low : s > high ? high : s;
        d = same < 0 ? 0 : d; /* after a step too far the next one starts anew */
        before[i] = d;
        x[i] -= d > 0 ? s : d < 0 ? -s : d;
    }
}

/* c: share of the parameter that stays, weight in the mean. p[2]: the mean. */
static void NAME(asgd)(const double *c, TYPE *const *p, int64_t n) {
    COMMON
    const TYPE keep = (TYPE)c[2], weight = (TYPE)c[3];
    TYPE *restrict mean = p[2];
    for (int64_t i = 0; i < n; i++) {
        TYPE d = DECAYED(i);
        x[i] = keep * x[i] - rate * d;
        mean[i] = weight == 1 ? x[i] : mean[i] + (x[i] - mean[i]) * weight;
    }
}

#undef DECAYED
#undef COMMON
#undef TYPE
#undef NAME
#undef SQRT
#undef FABS
