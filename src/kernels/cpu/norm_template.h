/* Included by isa/norm.c once per dtype, with T, NAME(name), V, VANY (a vector at any place) and LANES set. */

static void NAME(affine)(const void *xv, void *yv, int64_t n, double mean, double scale, double shift) {
    const T *restrict x = xv, m = (T)mean, s = (T)scale, b = (T)shift;
    T *restrict y = yv;
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - m) * s + b;
}

static void NAME(affine_columns)(const void *xv, void *yv, int64_t n, const void *mean, const void *scale, const void *shift) {
    const T *restrict x = xv, *restrict m = mean, *restrict s = scale, *restrict b = shift;
    T *restrict y = yv;
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - m[i]) * s[i] + b[i];
}

static void NAME(affine_row)(const void *xv, void *yv, int64_t n, double mean, double rstd, const void *wv, const void *bv) {
    const T *restrict x = xv, *restrict w = wv, *restrict b = bv, m = (T)mean, r = (T)rstd;
    T *restrict y = yv;
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - m) * r * w[i] + b[i];
}

/* Lanes are added up in the row's own dtype for at most 4096 elements, and then in double. */
static void NAME(grad_sums)(const void *gv, const void *xv, const void *wv, int64_t n, double mean, double sums[2]) {
    const T *g = gv, *x = xv, *w = wv, m = (T)mean;
    for (int64_t from = 0; from < n; from += 4096) {
        int64_t i = from, to = n - from < 4096 ? n : from + 4096;
        V s[2] = {{0}, {0}}, p[2] = {{0}, {0}};
        for (; i + 2 * LANES <= to; i += 2 * LANES)
            for (int k = 0; k < 2; k++) {
                V a = *(const VANY *)(g + i + k * LANES), b = *(const VANY *)(x + i + k * LANES);
                if (w)
                    a *= *(const VANY *)(w + i + k * LANES);
                s[k] += a;
                p[k] += a * (b - m);
            }
        T sl[LANES], pl[LANES];
        *(VANY *)sl = s[0] + s[1];
        *(VANY *)pl = p[0] + p[1];
        for (int j = 0; i < to; i++, j = (j + 1) % LANES) {
            T a = w ? g[i] * w[i] : g[i];
            sl[j] += a;
            pl[j] += a * (x[i] - m);
        }
        for (int half = LANES / 2; half > 0; half /= 2)
            for (int j = 0; j < half; j++) {
                sl[j] += sl[j + half];
                pl[j] += pl[j + half];
            }
        sums[0] += (double)sl[0];
        sums[1] += (double)pl[0];
    }
}

static void NAME(grad_sums_columns)(const void *gv, const void *xv, int64_t n, const void *mean, double *restrict sum,
                                    double *restrict product) {
    const T *restrict g = gv, *restrict x = xv, *restrict m = mean;
    for (int64_t i = 0; i < n; i++) {
        sum[i] += (double)g[i];
        product[i] += (double)(g[i] * (x[i] - m[i]));
    }
}

static void NAME(grad)(const void *gv, const void *xv, void *out, int64_t n, double mean, double mg, double k2, double k1) {
    const T *restrict g = gv, *restrict x = xv, m = (T)mean, a = (T)mg, b = (T)k2, c = (T)k1;
    T *restrict gx = out;
    for (int64_t i = 0; i < n; i++)
        gx[i] = (g[i] - a - (x[i] - m) * b) * c;
}

static void NAME(grad_columns)(const void *gv, const void *xv, void *out, int64_t n, const void *mean, const void *mg, const void *k2,
                               const void *k1) {
    const T *restrict g = gv, *restrict x = xv, *restrict m = mean, *restrict a = mg, *restrict b = k2, *restrict c = k1;
    T *restrict gx = out;
    for (int64_t i = 0; i < n; i++)
        gx[i] = (g[i] - a[i] - (x[i] - m[i]) * b[i]) * c[i];
}

static void NAME(grad_row)(const void *gv, const void *xv, const void *wv, void *out, int64_t n, double mean, double mg, double k2,
                           double k1) {
    const T *restrict g = gv, *restrict x = xv, *restrict w = wv, m = (T)mean, a = (T)mg, b = (T)k2, c = (T)k1;
    T *restrict gx = out;
    for (int64_t i = 0; i < n; i++)
        gx[i] = (g[i] * w[i] - a - (x[i] - m) * b) * c;
}

/* f32: sums of four rows in f32, and then in double. */
static void NAME(grad_weights)(const void *gv, const void *xv, int64_t rows, int64_t n, const void *mean, const void *rstd, double *restrict gw,
                               double *restrict gb) {
    const T *restrict g = gv, *restrict x = xv, *m = mean, *r = rstd;
    if (sizeof(T) == 4 && rows == 4) {
        const T m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], r0 = r[0], r1 = r[1], r2 = r[2], r3 = r[3];
        for (int64_t i = 0; i < n; i++) {
            T a = g[i], b = g[i + n], c = g[i + 2 * n], d = g[i + 3 * n];
            gw[i] += (double)((a * ((x[i] - m0) * r0) + b * ((x[i + n] - m1) * r1)) +
                              (c * ((x[i + 2 * n] - m2) * r2) + d * ((x[i + 3 * n] - m3) * r3)));
            gb[i] += (double)((a + b) + (c + d));
        }
        return;
    }
    for (int64_t k = 0; k < rows; k++, g += n, x += n)
        for (int64_t i = 0; i < n; i++) {
            gw[i] += (double)(g[i] * ((x[i] - m[k]) * r[k]));
            gb[i] += (double)g[i];
        }
}
