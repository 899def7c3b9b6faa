/* Included once per dtype with T, TANH and SIGMOID set. Rows are short (some vectors) and many: activations run over all rows at once. */

#define INLINE_ROW static inline __attribute__((always_inline))
#define ROW(pointer, stride) ((T *)(pointer) + b * (stride))
#define FROM(pointer, stride) ((const T *)(pointer) + b * (stride))

__attribute__((noinline)) static void tanhs(T *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = TANH(y[i]);
}

__attribute__((noinline)) static void sigmoids(T *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = SIGMOID(y[i]);
}

static void copy_rows(const soma__rnn_rows *r) {
    for (int64_t b = 0; b < r->rows; b++) {
        const T *restrict act = FROM(r->act[0], r->n);
        T *restrict h = ROW(r->h, r->h_row), *restrict copy = ROW(r->copy, r->copy_row);
        for (int64_t k = 0; k < r->n; k++)
            h[k] = copy[k] = act[k];
    }
}

static void step_tanh(const soma__rnn_rows *r) {
    tanhs(r->act[0], r->rows * r->n);
    copy_rows(r);
}

static void step_relu(const soma__rnn_rows *r) {
    T *h = r->act[0];
    for (int64_t i = 0; i < r->rows * r->n; i++)
        h[i] = h[i] > 0 ? h[i] : h[i] != h[i] ? h[i] : 0;
    copy_rows(r);
}

INLINE_ROW void lstm_row(const T *restrict i, const T *restrict f, const T *restrict g, const T *restrict before, T *restrict c,
                         T *restrict bent, int64_t n) {
    for (int64_t k = 0; k < n; k++)
        bent[k] = c[k] = f[k] * before[k] + i[k] * g[k];
}

INLINE_ROW void lstm_out(const T *restrict o, const T *restrict bent, T *restrict h, T *restrict copy, int64_t n) {
    for (int64_t k = 0; k < n; k++)
        h[k] = copy[k] = o[k] * bent[k];
}

static void step_lstm(const soma__rnn_rows *r) {
    const int64_t all = r->rows * r->n;
    T bent[SOMA__RNN_ROWS * SOMA__RNN_UNITS];
    sigmoids(r->act[0], all);
    sigmoids(r->act[1], all);
    tanhs(r->act[2], all);
    sigmoids(r->act[3], all);
    for (int64_t b = 0; b < r->rows; b++)
        lstm_row(FROM(r->act[0], r->n), FROM(r->act[1], r->n), FROM(r->act[2], r->n), FROM(r->before, r->before_row), ROW(r->c, r->c_row),
                 bent + b * r->n, r->n);
    tanhs(bent, all);
    for (int64_t b = 0; b < r->rows; b++)
        lstm_out(FROM(r->act[3], r->n), bent + b * r->n, ROW(r->h, r->h_row), ROW(r->copy, r->copy_row), r->n);
}

INLINE_ROW void gru_row(const T *restrict z, const T *restrict c, const T *restrict before, T *restrict h, T *restrict copy, int64_t n) {
    for (int64_t k = 0; k < n; k++)
        h[k] = copy[k] = c[k] + z[k] * (before[k] - c[k]);
}

static void step_gru(const soma__rnn_rows *r) {
    const int64_t all = r->rows * r->n;
    const T *restrict reset = r->act[0], *restrict lower = r->act[3];
    T *restrict c = r->act[2];
    sigmoids(r->act[0], all);
    sigmoids(r->act[1], all);
    for (int64_t k = 0; k < all; k++)
        c[k] += reset[k] * lower[k];
    tanhs(r->act[2], all);
    for (int64_t b = 0; b < r->rows; b++)
        gru_row(FROM(r->act[1], r->n), FROM(r->act[2], r->n), FROM(r->before, r->before_row), ROW(r->h, r->h_row), ROW(r->copy, r->copy_row),
                r->n);
}

/* What was written is in the cache still. Added up apart, so that long sequences lose no digits. */
__attribute__((noinline)) static void add_up(const soma__rnn_rows *r, int gates) {
    for (int q = 0; q < gates; q++) {
        T own[SOMA__RNN_UNITS] = {0}, *restrict sum = (T *)r->sum + q * r->dg_gate;
        for (int64_t b = 0; b < r->rows; b++) {
            const T *restrict dg = FROM(r->dg, r->dg_row) + q * r->dg_gate;
            for (int64_t k = 0; k < r->n; k++)
                own[k] += dg[k];
        }
        for (int64_t k = 0; k < r->n; k++)
            sum[k] += own[k];
    }
}

static void back_tanh(const soma__rnn_rows *r) {
    for (int64_t b = 0; b < r->rows; b++) {
        const T *restrict h = FROM(r->act[0], r->n), *restrict gh = FROM(r->gh, r->gh_row);
        T *restrict dh = ROW(r->dh, r->n), *restrict dg = ROW(r->dg, r->dg_row);
        for (int64_t k = 0; k < r->n; k++) {
            dg[k] = (dh[k] + gh[k]) * (1 - h[k] * h[k]);
            dh[k] = 0;
        }
    }
    add_up(r, 1);
}

static void back_relu(const soma__rnn_rows *r) {
    for (int64_t b = 0; b < r->rows; b++) {
        const T *restrict h = FROM(r->act[0], r->n), *restrict gh = FROM(r->gh, r->gh_row);
        T *restrict dh = ROW(r->dh, r->n), *restrict dg = ROW(r->dg, r->dg_row);
        for (int64_t k = 0; k < r->n; k++) {
            dg[k] = h[k] > 0 ? dh[k] + gh[k] : 0;
            dh[k] = 0;
        }
    }
    add_up(r, 1);
}

INLINE_ROW void lstm_row_back(const T *restrict i, const T *restrict f, const T *restrict g, const T *restrict o, const T *restrict before,
                              const T *restrict bent, const T *restrict gh, const T *restrict gc, T *restrict dh, T *restrict dc, T *restrict di,
                              T *restrict df, T *restrict dn, T *restrict dout, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        T d = dh[k] + gh[k], e = dc[k] + gc[k] + d * o[k] * (1 - bent[k] * bent[k]);
        di[k] = e * g[k] * i[k] * (1 - i[k]);
        df[k] = e * before[k] * f[k] * (1 - f[k]);
        dn[k] = e * i[k] * (1 - g[k] * g[k]);
        dout[k] = d * bent[k] * o[k] * (1 - o[k]);
        dc[k] = e * f[k];
        dh[k] = 0;
    }
}

static void back_lstm(const soma__rnn_rows *r) {
    T bent[SOMA__RNN_ROWS * SOMA__RNN_UNITS];
    for (int64_t b = 0; b < r->rows; b++)
        memcpy(bent + b * r->n, FROM(r->c, r->c_row), (size_t)r->n * sizeof(T));
    tanhs(bent, r->rows * r->n);
    for (int64_t b = 0; b < r->rows; b++) {
        T *dg = ROW(r->dg, r->dg_row);
        lstm_row_back(FROM(r->act[0], r->n), FROM(r->act[1], r->n), FROM(r->act[2], r->n), FROM(r->act[3], r->n), FROM(r->before, r->before_row),
                      bent + b * r->n, FROM(r->gh, r->gh_row), FROM(r->gc, r->gc_row), ROW(r->dh, r->n), ROW(r->dc, r->n), dg,
                      dg + r->dg_gate, dg + 2 * r->dg_gate, dg + 3 * r->dg_gate, r->n);
    }
    add_up(r, 4);
}

INLINE_ROW void gru_row_back(const T *restrict reset, const T *restrict z, const T *restrict c, const T *restrict lower,
                             const T *restrict before, const T *restrict gh, T *restrict dh, T *restrict dlower, T *restrict dr,
                             T *restrict dz, T *restrict dn, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        T d = dh[k] + gh[k], e = d * (1 - z[k]) * (1 - c[k] * c[k]);
        dlower[k] = e * reset[k];
        dr[k] = e * lower[k] * reset[k] * (1 - reset[k]);
        dz[k] = d * (before[k] - c[k]) * z[k] * (1 - z[k]);
        dn[k] = e;
        dh[k] = d * z[k];
    }
}

static void back_gru(const soma__rnn_rows *r) {
    for (int64_t b = 0; b < r->rows; b++) {
        T *dg = ROW(r->dg, r->dg_row);
        gru_row_back(FROM(r->act[0], r->n), FROM(r->act[1], r->n), FROM(r->act[2], r->n), FROM(r->act[3], r->n), FROM(r->before, r->before_row),
                     FROM(r->gh, r->gh_row), ROW(r->dh, r->n), dg, dg + r->dg_gate, dg + 2 * r->dg_gate, dg + 3 * r->dg_gate, r->n);
    }
    add_up(r, 4);
}

#define RNN_KERNELS {{step_tanh, step_relu, step_lstm, step_gru}, {back_tanh, back_relu, back_lstm, back_gru}}
