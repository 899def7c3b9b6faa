/* Included once per dtype with T, TANH and SIGMOID set. */

/* Once each, not inlined: they are long, and rows are too. */
__attribute__((noinline)) static void tanhs(T *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = TANH(y[i]);
}

__attribute__((noinline)) static void sigmoids(T *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = SIGMOID(y[i]);
}

__attribute__((noinline)) static void sums(const T *restrict x, const T *restrict g, T *restrict y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] + g[i];
}

static void step_tanh(const T *x, const T *g, T *h, int64_t n) {
    sums(x, g, h, n);
    tanhs(h, n);
}

static void step_relu(const T *x, const T *g, T *h, int64_t n) {
    sums(x, g, h, n);
    for (int64_t i = 0; i < n; i++)
        h[i] = h[i] > 0 ? h[i] : h[i] != h[i] ? h[i] : 0;
}

static void step_lstm(const T *x, const T *g, const T *restrict c_before, T *restrict h, T *restrict c, T *restrict act, int64_t n) {
    sums(x, g, act, 4 * n);
    sigmoids(act, 2 * n);
    tanhs(act + 2 * n, n);
    sigmoids(act + 3 * n, n);
    for (int64_t i = 0; i < n; i++)
        h[i] = c[i] = act[n + i] * c_before[i] + act[i] * act[2 * n + i];
    tanhs(h, n);
    for (int64_t i = 0; i < n; i++)
        h[i] *= act[3 * n + i];
}

static void step_gru(const T *restrict x, const T *restrict g, const T *restrict h_before, T *restrict h, T *restrict act, int64_t n) {
    sums(x, g, act, 2 * n);
    sigmoids(act, 2 * n);
    for (int64_t i = 0; i < n; i++) {
        act[3 * n + i] = g[2 * n + i];
        act[2 * n + i] = x[2 * n + i] + act[i] * g[2 * n + i];
    }
    tanhs(act + 2 * n, n);
    for (int64_t i = 0; i < n; i++)
        h[i] = act[2 * n + i] + act[n + i] * (h_before[i] - act[2 * n + i]);
}

static void back_tanh(const T *restrict h, T *restrict dh, T *restrict dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        dx[i] = dh[i] * (1 - h[i] * h[i]);
        dh[i] = 0;
    }
}

static void back_relu(const T *restrict h, T *restrict dh, T *restrict dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        dx[i] = h[i] > 0 ? dh[i] : 0;
        dh[i] = 0;
    }
}

static void back_lstm(const T *restrict act, const T *restrict c_before, const T *restrict c, T *restrict dh, T *restrict dc,
                      T *restrict dx, int64_t n) {
    for (int64_t k = 0; k < n; k++)
        dx[k] = c[k];
    tanhs(dx, n);
    for (int64_t k = 0; k < n; k++) {
        T i = act[k], f = act[n + k], g = act[2 * n + k], o = act[3 * n + k], bent = dx[k];
        T d = dc[k] + dh[k] * o * (1 - bent * bent);
        dx[k] = d * g * i * (1 - i);
        dx[n + k] = d * c_before[k] * f * (1 - f);
        dx[2 * n + k] = d * i * (1 - g * g);
        dx[3 * n + k] = dh[k] * bent * o * (1 - o);
        dc[k] = d * f;
        dh[k] = 0;
    }
}

static void back_gru(const T *restrict act, const T *restrict h_before, T *restrict dh, T *restrict dx, T *restrict dg, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        T r = act[k], z = act[n + k], c = act[2 * n + k], lower = act[3 * n + k];
        T dn = dh[k] * (1 - z) * (1 - c * c), dz = dh[k] * (h_before[k] - c) * z * (1 - z), dr = dn * lower * r * (1 - r);
        dx[k] = dg[k] = dr;
        dx[n + k] = dg[n + k] = dz;
        dx[2 * n + k] = dn;
        dg[2 * n + k] = dn * r;
        dh[k] *= z;
    }
}

#define RNN_KERNELS {step_tanh, step_relu, step_lstm, step_gru, back_tanh, back_relu, back_lstm, back_gru}
