/* Included by isa/softmax.c once per dtype, with T, NAME(name), EXP, LOG and the row folds ROW_SUM, ROW_MAX set. Short rows are done
 * many at once, so that their exponentials fill whole vectors. */

static T NAME(largest)(const T *x, int64_t n) {
    if (n >= 16)
        return (T)ROW_MAX(x, n, 0.0);
    T m = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        m = x[i] > m || x[i] != x[i] ? x[i] : m;
    return m;
}

static T NAME(total)(const T *x, int64_t n) {
    if (n >= 16)
        return (T)ROW_SUM(x, n, 0.0);
    T s = 0;
    for (int64_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

static void NAME(exponentials)(T *restrict e, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        e[i] = EXP(e[i]);
}

/* e = exp(x - m) for `rows` rows with their largest in m. */
static void NAME(shifted)(const T *restrict x, const T *restrict m, T *restrict e, int64_t rows, int64_t n) {
#ifdef EXP_LANES
    if (n >= 16) {
        for (int64_t r = 0; r < rows; r++, x += n, e += n) {
            T end[16] = {0};
            int64_t i = 0;
            for (; i + 16 <= n; i += 16)
                EXP_LANES(e + i, x + i, m[r]);
            if (i == n)
                continue;
            memcpy(end, x + i, (size_t)(n - i) * sizeof(T));
            EXP_LANES(end, end, m[r]);
            memcpy(e + i, end, (size_t)(n - i) * sizeof(T));
        }
        return;
    }
#endif
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++)
            e[r * n + i] = x[r * n + i] - m[r];
    NAME(exponentials)(e, rows * n);
}

/* log(sum(exp(x))) of one long row, a block at a time. */
static T NAME(log_total)(const T *x, int64_t n, T m) {
    T e[BLOCK];
    double s = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t k = n - i < BLOCK ? n - i : BLOCK;
        NAME(shifted)(x + i, &m, e, 1, k);
        s += (double)NAME(total)(e, k);
    }
    return LOG((T)s);
}

static int64_t NAME(batch)(int64_t rows, int64_t n) {
    int64_t most = n ? BLOCK / n : BLOCK;
    most = most < 1 ? 1 : most > MOST_ROWS ? MOST_ROWS : most;
    return rows < most ? rows : most;
}

/* Largest m and log(sum(exp(x - m))) of a batch of rows. */
static void NAME(batch_lse)(const T *x, T *m, T *l, int64_t rows, int64_t n) {
    T e[BLOCK];
    for (int64_t r = 0; r < rows; r++)
        m[r] = NAME(largest)(x + r * n, n);
    if (n > BLOCK) {
        l[0] = NAME(log_total)(x, n, m[0]);
        return;
    }
    NAME(shifted)(x, m, e, rows, n);
    for (int64_t r = 0; r < rows; r++)
        l[r] = NAME(total)(e + r * n, n);
    for (int64_t r = 0; r < rows; r++)
        l[r] = LOG(l[r]);
}

static void NAME(rows)(const T *x, T *y, int64_t rows, int64_t n, bool logarithm) {
    T m[MOST_ROWS], l[MOST_ROWS];
    for (int64_t at = 0, k; at < rows; at += k, x += k * n, y += k * n) {
        k = NAME(batch)(rows - at, n);
        if (logarithm) {
            NAME(batch_lse)(x, m, l, k, n);
            for (int64_t r = 0; r < k; r++)
                for (int64_t i = 0; i < n; i++)
                    y[r * n + i] = x[r * n + i] - m[r] - l[r];
            continue;
        }
        for (int64_t r = 0; r < k; r++)
            m[r] = NAME(largest)(x + r * n, n);
        NAME(shifted)(x, m, y, k, n);
        for (int64_t r = 0; r < k; r++) {
            T scale = 1 / NAME(total)(y + r * n, n);
            for (int64_t i = 0; i < n; i++)
                y[r * n + i] *= scale;
        }
    }
}

static void NAME(rows_lse)(const T *x, T *lse, int64_t rows, int64_t n) {
    T m[MOST_ROWS];
    for (int64_t at = 0, k; at < rows; at += k) {
        k = NAME(batch)(rows - at, n);
        NAME(batch_lse)(x + at * n, m, lse + at, k, n);
        for (int64_t r = 0; r < k; r++)
            lse[at + r] = m[r] + lse[at + r];
    }
}

static void NAME(rows_scaled)(const T *x, const T *lse, const T *scale, T *y, int64_t rows, int64_t n) {
    for (int64_t at = 0, k; at < rows; at += k) {
        k = NAME(batch)(rows - at, n);
        NAME(shifted)(x + at * n, lse + at, y + at * n, k, n);
        for (int64_t r = at; r < at + k; r++)
            for (int64_t i = 0; i < n; i++)
                y[r * n + i] *= scale[r];
    }
}

static void NAME(rows_backward)(const T *restrict g, const T *restrict y, T *restrict gx, int64_t rows, int64_t n, bool logarithm) {
    for (int64_t r = 0; r < rows; r++, g += n, y += n, gx += n) {
        if (logarithm) {
            T s = NAME(total)(g, n);
            for (int64_t i = 0; i < n; i++)
                gx[i] = g[i] - EXP(y[i]) * s;
            continue;
        }
        for (int64_t i = 0; i < n; i++)
            gx[i] = g[i] * y[i];
        T s = NAME(total)(gx, n);
        for (int64_t i = 0; i < n; i++)
            gx[i] = y[i] * (g[i] - s);
    }
}

/* ---- Columns ----------------------------------------------------------------------------------------------------- */

static void NAME(columns_largest)(const T *restrict x, T *restrict m, int64_t n, int64_t stride, int64_t w) {
    for (int64_t j = 0; j < w; j++)
        m[j] = -INFINITY;
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j < w; j++) {
            T v = x[c * stride + j];
            m[j] = ((v > m[j]) | (v != v)) ? v : m[j];
        }
}

/* s = sum(exp(x - m)); the exponentials also go to y when it is there. */
static void NAME(columns_total)(const T *restrict x, const T *restrict m, T *restrict s, T *restrict y, int64_t n, int64_t stride,
                                int64_t w) {
    T e[SOMA__SOFTMAX_COLUMNS];
    for (int64_t j = 0; j < w; j++)
        s[j] = 0;
    for (int64_t c = 0; c < n; c++) {
        T *to = y ? y + c * stride : e;
        for (int64_t j = 0; j < w; j++)
            to[j] = EXP(x[c * stride + j] - m[j]);
        for (int64_t j = 0; j < w; j++)
            s[j] += to[j];
    }
}

static void NAME(columns)(const T *restrict x, T *restrict y, int64_t n, int64_t stride, int64_t w, bool logarithm) {
    T m[SOMA__SOFTMAX_COLUMNS], s[SOMA__SOFTMAX_COLUMNS];
    NAME(columns_largest)(x, m, n, stride, w);
    NAME(columns_total)(x, m, s, logarithm ? NULL : y, n, stride, w);
    for (int64_t j = 0; j < w; j++)
        s[j] = logarithm ? LOG(s[j]) : 1 / s[j];
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j < w; j++)
            y[c * stride + j] = logarithm ? x[c * stride + j] - m[j] - s[j] : y[c * stride + j] * s[j];
}

static void NAME(columns_lse)(const T *x, T *lse, int64_t n, int64_t stride, int64_t w) {
    T m[SOMA__SOFTMAX_COLUMNS], s[SOMA__SOFTMAX_COLUMNS];
    NAME(columns_largest)(x, m, n, stride, w);
    NAME(columns_total)(x, m, s, NULL, n, stride, w);
    for (int64_t j = 0; j < w; j++)
        lse[j] = m[j] + LOG(s[j]);
}

static void NAME(columns_scaled)(const T *restrict x, const T *restrict lse, const T *restrict scale, T *restrict y, int64_t n,
                                 int64_t stride, int64_t w) {
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j < w; j++)
            y[c * stride + j] = scale[j] * EXP(x[c * stride + j] - lse[j]);
}

static void NAME(columns_backward)(const T *restrict g, const T *restrict y, T *restrict gx, int64_t n, int64_t stride, int64_t w,
                                   bool logarithm) {
    T s[SOMA__SOFTMAX_COLUMNS];
    for (int64_t j = 0; j < w; j++)
        s[j] = 0;
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j < w; j++)
            s[j] += logarithm ? g[c * stride + j] : g[c * stride + j] * y[c * stride + j];
    for (int64_t c = 0; c < n; c++) {
        const T *gc = g + c * stride, *yc = y + c * stride;
        T *to = gx + c * stride;
        if (logarithm)
            for (int64_t j = 0; j < w; j++)
                to[j] = gc[j] - EXP(yc[j]) * s[j];
        else
            for (int64_t j = 0; j < w; j++)
                to[j] = yc[j] * (gc[j] - s[j]);
    }
}
