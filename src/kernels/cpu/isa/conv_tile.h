/* The convolution kernels of one element type: included by conv.c with T (the type) and F (the ending of vec.h's names)
 * defined. */

#define PASTE2(name, f) name##_##f
#define PASTE1(name, f) PASTE2(name, f)
#define FN(name) PASTE1(name, F)
#define V FN(vec)
#define LANES FN(LANES)

/* At most a vector of one run for one tap: columns pos … pos + count - 1, of which [low, high) are inside of the image. */
typedef struct FN(piece) {
    int64_t offset; /* of the column `low` 0 would have */
    int pos, count, low, high;
} FN(piece);

INLINE void FN(copy_piece)(T *dst, const T *src, const FN(piece) * p, int64_t step) {
    dst += p->pos;
    src += p->offset;
    if (p->low == 0 && p->high == LANES && step == 1) {
        FN(store)(dst, FN(load)(src));
        return;
    }
    for (int j = 0; j < p->low; j++)
        dst[j] = 0;
    for (int j = p->low; j < p->high; j++)
        dst[j] = src[j * step];
    for (int j = p->high; j < p->count; j++)
        dst[j] = 0;
}

/* Cuts the runs into pieces for the tap (dy, dx). */
static int FN(cut)(const soma__unfold *u, int64_t dy, int64_t dx, FN(piece) * pieces) {
    int n = 0;
    for (int r = 0; r < u->n_runs; r++) {
        const soma__pixels *run = &u->runs[r];
        int64_t y = run->y + dy;
        for (int from = 0; from < run->count; from += LANES) {
            FN(piece) *p = &pieces[n++];
            int64_t x = run->x + dx + from * u->step, low = 0, high = 0;
            p->pos = run->pos + from;
            p->count = run->count - from < LANES ? run->count - from : LANES;
            if (y >= 0 && y < u->h) {
                low = x >= 0 ? 0 : (-x + u->step - 1) / u->step;
                high = x >= u->w ? 0 : (u->w - x + u->step - 1) / u->step;
                low = low < p->count ? low : p->count;
                high = high < low ? low : high < p->count ? high : p->count;
            }
            p->low = (int)low;
            p->high = (int)high;
            p->offset = low < high ? run->image * u->image + y * u->w + x : 0;
        }
    }
    return n;
}

static void FN(unfold)(const soma__unfold *u) {
#ifdef UNFOLD_MASKED
    if (u->step <= 2 && sizeof(T) == 4) {
        unfold_masked(u);
        return;
    }
#endif
    FN(piece) pieces[SOMA__PANEL_MAX];
    const T *src = u->src;
    for (int64_t t = 0; t < u->taps; t++) {
        const int n = FN(cut)(u, u->dy[t], u->dx[t], pieces);
        T *dst = (T *)u->dst + t * u->width;
        for (int64_t c = 0; c < u->channels; c++)
            for (int i = 0; i < n; i++)
                FN(copy_piece)(dst + c * u->taps * u->width, src + c * u->plane, &pieces[i], u->step);
    }
    if (u->n_runs == 0)
        return;
    const int used = u->runs[u->n_runs - 1].pos + u->runs[u->n_runs - 1].count;
    for (int64_t k = 0; k < u->channels * u->taps && used < u->width; k++)
        for (int j = used; j < u->width; j++)
            ((T *)u->dst)[k * u->width + j] = 0;
}

/* ---- Gradient of the weight ------------------------------------------------------------------------------------------- */

INLINE void FN(wtile_any)(const soma__wtile *t, const int m, const int nv) {
    V acc[ROWS][VECTORS];
    const T *row[ROWS];
    UNROLL for (int i = 0; i < m; i++) {
        row[i] = (const T *)t->a + t->offset[i];
        UNROLL for (int v = 0; v < nv; v++)
            acc[i][v] = FN(set)(0);
    }
    const T *b = t->b;
    for (int64_t image = 0; image < t->images; image++)
        for (int64_t y = 0; y < t->h; y++) {
            int64_t at = image * t->a_image + y * t->a_y;
            for (int64_t x = 0; x < t->w; x++, at += t->a_x, b += nv * LANES) {
                V q[VECTORS];
                UNROLL for (int v = 0; v < nv; v++)
                    q[v] = FN(load)(b + v * LANES);
                UNROLL for (int i = 0; i < m; i++) {
                    V p = FN(set)(row[i][at]);
                    UNROLL for (int v = 0; v < nv; v++)
                        acc[i][v] = FN(fma)(p, q[v], acc[i][v]);
                }
            }
        }
    T *c = t->c;
    UNROLL for (int i = 0; i < m; i++)
        UNROLL for (int v = 0; v < nv; v++) {
            T *d = c + i * t->c_row + v * LANES;
            FN(store)(d, t->add ? (V)(acc[i][v] + FN(load)(d)) : acc[i][v]);
        }
}

#define WTILE(m, nv) \
    static void PASTE1(FN(wtile_##m##x##nv), k)(const soma__wtile *t) { FN(wtile_any)(t, m, nv); }
#define WNAME(m, nv) PASTE1(FN(wtile_##m##x##nv), k)
#if VECTORS == 3
#define WTILES(m) WTILE(m, 1) WTILE(m, 2) WTILE(m, 3)
#define WNAMES(m) {WNAME(m, 1), WNAME(m, 2), WNAME(m, 3)}
#else
#define WTILES(m) WTILE(m, 1) WTILE(m, 2)
#define WNAMES(m) {WNAME(m, 1), WNAME(m, 2)}
#endif
WTILES(1) WTILES(2) WTILES(3) WTILES(4)
#if ROWS > 4
WTILES(5) WTILES(6)
#endif
#if ROWS > 6
WTILES(7) WTILES(8)
#endif
static void FN(wtile)(const soma__wtile *t) {
    static void (*const tiles[ROWS][VECTORS])(const soma__wtile *) = {
        WNAMES(1), WNAMES(2), WNAMES(3), WNAMES(4),
#if ROWS > 4
        WNAMES(5), WNAMES(6),
#endif
#if ROWS > 6
        WNAMES(7), WNAMES(8),
#endif
    };
    tiles[t->m - 1][t->vectors - 1](t);
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
#undef WTILE
#undef WNAME
#undef WTILES
#undef WNAMES
