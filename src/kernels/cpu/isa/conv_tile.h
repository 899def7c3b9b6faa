/* The convolution kernels of one element type: included by conv.c with T (the type) and F (the ending of vec.h's names)
 * defined. */

#define PASTE2(name, f) name##_##f
#define PASTE1(name, f) PASTE2(name, f)
#define FN(name) PASTE1(name, F)
#define V FN(vec)
#define LANES FN(LANES)

/* ---- A tile of pixels by channels ------------------------------------------------------------------------------------- */

INLINE void FN(ctile_any)(const soma__ctile *t, const int m, const int nv) {
    V acc[CTILE_ROWS][CTILE_VECTORS];
    const T *row[CTILE_ROWS], *b = t->b;
    UNROLL for (int i = 0; i < m; i++) {
        row[i] = (const T *)t->a + t->a_at[i];
        UNROLL for (int v = 0; v < nv; v++) {
            if (t->fetch)
                __builtin_prefetch((const T *)t->c + t->c_at[i] + v * LANES, 1);
            acc[i][v] = FN(set)(0);
        }
    }
    for (int r = 0; r < t->n_runs; r++) {
        const int64_t end = t->runs[r].at + t->runs[r].count;
        for (int64_t p = t->runs[r].at; p < end; p++, b += nv * LANES) {
            V q[CTILE_VECTORS];
            UNROLL for (int v = 0; v < nv; v++)
                q[v] = FN(load)(b + v * LANES);
            UNROLL for (int i = 0; i < m; i++) {
                V x = FN(set)(row[i][p]);
                UNROLL for (int v = 0; v < nv; v++)
                    acc[i][v] = FN(fma)(x, q[v], acc[i][v]);
            }
        }
    }
    T *c[CTILE_ROWS];
    const int rest = t->n - (nv - 1) * LANES;
    UNROLL for (int i = 0; i < m; i++)
        c[i] = (T *)t->c + t->c_at[i];
    if (t->add) {
        UNROLL for (int i = 0; i < m; i++) {
            UNROLL for (int v = 0; v < nv - 1; v++)
                acc[i][v] += FN(load)(c[i] + v * LANES);
            acc[i][nv - 1] += FN(load_n)(c[i] + (nv - 1) * LANES, rest);
        }
    }
    if (t->last) {
        const V low = FN(set)(t->relu ? 0 : -(T)INFINITY);
        UNROLL for (int v = 0; v < nv; v++) {
            V bias = FN(set)(0);
            if (t->bias)
                bias = FN(load_n)((const T *)t->bias + v * LANES, v < nv - 1 ? LANES : rest);
            UNROLL for (int i = 0; i < m; i++)
                acc[i][v] = FN(atleast)(low, acc[i][v] + bias);
        }
    }
    UNROLL for (int i = 0; i < m; i++) {
        UNROLL for (int v = 0; v < nv - 1; v++)
            FN(store)(c[i] + v * LANES, acc[i][v]);
        if (rest == LANES)
            FN(store)(c[i] + (nv - 1) * LANES, acc[i][nv - 1]);
        else
            FN(store_n)(c[i] + (nv - 1) * LANES, acc[i][nv - 1], rest);
    }
}
static void FN(ctile)(const soma__ctile *t) {
    switch ((t->n + LANES - 1) / LANES) {
    case 1: FN(ctile_any)(t, CTILE_ROWS, 1); break;
    case 2: FN(ctile_any)(t, CTILE_ROWS, 2); break;
#if CTILE_VECTORS > 2
    case 3: FN(ctile_any)(t, CTILE_ROWS, 3); break;
    case 4: FN(ctile_any)(t, 6, 4); break;
#endif
    }
}

/* ---- Gradient of the weight ------------------------------------------------------------------------------------------- */

/* Rows from t->m on repeat the last one, and write the same again. */
INLINE void FN(wtile_any)(const soma__wtile *t, const int m, const int nv) {
    V acc[CTILE_ROWS][CTILE_VECTORS];
    const T *row[CTILE_ROWS];
    T *c[CTILE_ROWS];
    UNROLL for (int i = 0; i < m; i++) {
        const int r = i < t->m ? i : t->m - 1;
        row[i] = (const T *)t->a + t->offset[r];
        c[i] = (T *)t->c + t->c_at[r];
        UNROLL for (int v = 0; v < nv; v++)
            acc[i][v] = FN(set)(0);
    }
    const T *b = t->b;
    const int rest = t->n - (nv - 1) * LANES;
    for (int64_t image = 0; image < t->images; image++)
        for (int64_t y = 0; y < t->h; y++) {
            int64_t at = image * t->a_image + y * t->a_y;
            for (int64_t x = 0; x < t->w; x++, at += t->a_x, b += t->b_step) {
                V q[CTILE_VECTORS];
                UNROLL for (int v = 0; v < nv - 1; v++)
                    q[v] = FN(load)(b + v * LANES);
                q[nv - 1] = MASKS ? FN(load_n)(b + (nv - 1) * LANES, rest) : FN(load)(b + (nv - 1) * LANES);
                UNROLL for (int i = 0; i < m; i++) {
                    V p = FN(set)(row[i][at]);
                    UNROLL for (int v = 0; v < nv; v++)
                        acc[i][v] = FN(fma)(p, q[v], acc[i][v]);
                }
            }
        }
    if (t->add) {
        UNROLL for (int i = 0; i < m; i++)
            UNROLL for (int v = 0; v < nv; v++)
                acc[i][v] += FN(load)(c[i] + v * LANES);
    }
    UNROLL for (int i = 0; i < m; i++)
        UNROLL for (int v = 0; v < nv; v++)
            FN(store)(c[i] + v * LANES, acc[i][v]);
}
/* Few sizes of m, for the sake of the code's size. */
INLINE void FN(wtile_wide)(const soma__wtile *t, const int most, const int nv) {
    if (t->m <= most / 2 - 1)
        FN(wtile_any)(t, most / 2 - 1, nv);
    else if (t->m <= most / 2 + 1)
        FN(wtile_any)(t, most / 2 + 1, nv);
    else
        FN(wtile_any)(t, most, nv);
}
static void FN(wtile)(const soma__wtile *t) {
    switch ((t->n + LANES - 1) / LANES) {
    case 1: FN(wtile_wide)(t, CTILE_ROWS, 1); break;
    case 2: FN(wtile_wide)(t, CTILE_ROWS, 2); break;
#if CTILE_VECTORS > 2
    case 3: FN(wtile_wide)(t, CTILE_ROWS, 3); break;
    case 4: FN(wtile_wide)(t, 6, 4); break;
#endif
    }
}

/* ---- Rows, for groups of a channel or two ----------------------------------------------------------------------------- */

static void FN(axpy)(void *to, int64_t dst_step, const void *from, int64_t src_step, double factor, int64_t n) {
    T *dst = to;
    const T *src = from;
    int64_t i = 0;
    if (dst_step == 1 && src_step == 1) {
        V f = FN(set)((T)factor);
        for (; i + LANES <= n; i += LANES)
            FN(store)(dst + i, FN(fma)(f, FN(load)(src + i), FN(load)(dst + i)));
        if (i < n)
            FN(store_n)
            (dst + i, FN(fma)(f, FN(load_n)(src + i, (int)(n - i)), FN(load_n)(dst + i, (int)(n - i))), (int)(n - i));
        return;
    }
    for (; i < n; i++)
        dst[i * dst_step] += (T)factor * src[i * src_step];
}

static double FN(dot)(const void *left, int64_t a_step, const void *right, int64_t n) {
    const T *a = left, *b = right;
    if (a_step == 1) {
        V sum = FN(set)(0);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
            sum = FN(fma)(FN(load)(a + i), FN(load)(b + i), sum);
        if (i < n)
            sum = FN(fma)(FN(load_n)(a + i, (int)(n - i)), FN(load_n)(b + i, (int)(n - i)), sum);
        return FN(sum)(sum);
    }
    T sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i * a_step] * b[i];
    return sum;
}

#undef PASTE2
#undef PASTE1
#undef FN
#undef V
#undef LANES
