/* The matrix kernels of one element type: included by gemm.c with T (the type) and F (the ending of vec.h's names) defined.
 *
 * A tile keeps up to ROWS x VECTORS vectors of C in registers while it runs along k: per step it loads VECTORS vectors of B
 * and multiplies each by one value of each row of A. One function per size, so that the compiler sees constants; each
 * element of C is one chain of multiply-adds along k, whatever the size of the tile around it. */

#define PASTE2(name, f) name##_##f
#define PASTE1(name, f) PASTE2(name, f)
#define FN(name) PASTE1(name, F)
#define V FN(vec)
#define LANES FN(LANES)

/* Bias, activation and the store; `rest` is the width of the last vector. */
INLINE void FN(finish)(const soma__tile *t, V acc[ROWS][VECTORS], const int m, const int nv, int rest) {
    T *c = t->c;
    if (t->add) {
        UNROLL for (int i = 0; i < m; i++) {
            UNROLL for (int v = 0; v < nv - 1; v++)
                acc[i][v] += FN(load)(c + i * t->c_row + v * LANES);
            acc[i][nv - 1] += FN(load_n)(c + i * t->c_row + (nv - 1) * LANES, rest);
        }
    }
    if (t->last) {
        V low = FN(set)(t->relu ? 0 : -(T)INFINITY);
        const T *row = t->bias_row, *col = t->bias_col;
        if (col) {
            UNROLL for (int v = 0; v < nv; v++) {
                V b = v < nv - 1 ? FN(load)(col + v * LANES) : FN(load_n)(col + v * LANES, rest);
                UNROLL for (int i = 0; i < m; i++)
                    acc[i][v] += b;
            }
        }
        UNROLL for (int i = 0; i < m; i++) {
            V b = FN(set)(row ? row[i] : 0);
            UNROLL for (int v = 0; v < nv; v++) {
                if (row)
                    acc[i][v] += b;
                acc[i][v] = FN(atleast)(low, acc[i][v]);
            }
        }
    }
    UNROLL for (int i = 0; i < m; i++) {
        UNROLL for (int v = 0; v < nv - 1; v++)
            FN(store)(c + i * t->c_row + v * LANES, acc[i][v]);
        if (rest == LANES)
            FN(store)(c + i * t->c_row + (nv - 1) * LANES, acc[i][nv - 1]);
        else
            FN(store_n)(c + i * t->c_row + (nv - 1) * LANES, acc[i][nv - 1], rest);
    }
}

/* B's rows are whole vectors in both cases unless `part`: then its last vector is read up to `rest`. */
INLINE void FN(tile_any)(const soma__tile *t, const int m, const int nv, const bool packed, const bool part,
                         const bool table) {
    V acc[ROWS][VECTORS];
    UNROLL for (int i = 0; i < m; i++)
        UNROLL for (int v = 0; v < nv; v++)
            acc[i][v] = FN(set)(0);
    const T *a = t->a, *b = t->b;
    const int64_t a_row = packed ? 1 : t->a_row, a_step = packed ? m : t->a_step, b_step = packed ? nv * LANES : t->b_step;
    const int rest = t->n - (nv - 1) * LANES;
    if (t->add) { /* C comes while the sum runs */
        UNROLL for (int i = 0; i < m; i++)
            UNROLL for (int v = 0; v < nv; v++)
                __builtin_prefetch((const T *)t->c + i * t->c_row + v * LANES, 1);
    }
    for (int64_t p = 0; p < t->k; p++) {
        V x[VECTORS];
        if (table)
            b = (const T *)t->b + t->b_at[p];
        UNROLL for (int v = 0; v < nv; v++)
            x[v] = part && v == nv - 1 ? FN(load_n)(b + v * LANES, rest) : FN(load)(b + v * LANES);
        UNROLL for (int i = 0; i < m; i++) {
            V y = FN(set)(a[i * a_row]);
            UNROLL for (int v = 0; v < nv; v++)
                acc[i][v] = FN(fma)(y, x[v], acc[i][v]);
        }
        a += a_step;
        if (!table)
            b += b_step;
    }
    FN(finish)(t, acc, m, nv, rest);
}

#define TILE(m, nv)                                                                                            \
    static void PASTE1(FN(packed_##m##x##nv), k)(const soma__tile *t) { FN(tile_any)(t, m, nv, true, false, false); } \
    static void PASTE1(FN(direct_##m##x##nv), k)(const soma__tile *t) { FN(tile_any)(t, m, nv, false, MASKS, false); } \
    static void PASTE1(FN(table_##m##x##nv), k)(const soma__tile *t) { FN(tile_any)(t, m, nv, true, MASKS, true); }
#define TILES(m) TILE(m, 1) TILE(m, 2) TILES3(m)
#define PACKED(m, nv) PASTE1(FN(packed_##m##x##nv), k)
#define DIRECT(m, nv) PASTE1(FN(direct_##m##x##nv), k)
#define TABLE(m, nv) PASTE1(FN(table_##m##x##nv), k)
#if VECTORS == 3
#define TILES3(m) TILE(m, 3)
#define NAMES(kind, m) {kind(m, 1), kind(m, 2), kind(m, 3)}
#else
#define TILES3(m)
#define NAMES(kind, m) {kind(m, 1), kind(m, 2)}
#endif
TILES(1) TILES(2) TILES(3) TILES(4)
#if ROWS > 4
TILES(5) TILES(6)
#endif
#if ROWS > 6
TILES(7) TILES(8)
#endif
#if ROWS == 4
#define ALL(kind) {NAMES(kind, 1), NAMES(kind, 2), NAMES(kind, 3), NAMES(kind, 4)}
#elif ROWS == 6
#define ALL(kind) {NAMES(kind, 1), NAMES(kind, 2), NAMES(kind, 3), NAMES(kind, 4), NAMES(kind, 5), NAMES(kind, 6)}
#else
#define ALL(kind)                                                                                                           \
    {                                                                                                                       \
        NAMES(kind, 1), NAMES(kind, 2), NAMES(kind, 3), NAMES(kind, 4), NAMES(kind, 5), NAMES(kind, 6), NAMES(kind, 7),     \
            NAMES(kind, 8)                                                                                                  \
    }
#endif
static void (*const FN(tiles)[3][ROWS][VECTORS])(const soma__tile *) = {ALL(DIRECT), ALL(PACKED), ALL(TABLE)};

static void FN(tile)(const soma__tile *t) { FN(tiles)[t->b_at ? 2 : t->packed][t->m - 1][(t->n - 1) / LANES](t); }

/* A product of any size straight from its operands, tile by tile; sizes that are no multiple are split evenly. Changes t
 * (a copy would have to wait for what was just written). */
static void FN(direct)(soma__tile *t) {
    const int m = t->m, n = t->n, vectors = (n + LANES - 1) / LANES;
    if (m <= ROWS && vectors <= VECTORS) {
        FN(tiles)[0][m - 1][vectors - 1](t);
        return;
    }
    const int panels = (vectors + VECTORS - 1) / VECTORS, strips = (m + ROWS - 1) / ROWS,
              broad = panels > 1 ? vectors % panels : 0, width = panels > 1 ? vectors / panels : vectors,
              tall = m % strips, height = m / strips;
    const T *a = t->a, *b = t->b, *row = t->bias_row, *col = t->bias_col;
    T *c = t->c;
    for (int s = 0, i = 0; s < strips; s++, i += t->m) {
        t->m = height + (s < tall);
        t->a = a + i * t->a_row;
        t->bias_row = row ? row + i : NULL;
        for (int q = 0, j = 0; q < panels; q++) {
            const int nv = width + (q < broad);
            t->n = n - j < nv * LANES ? n - j : nv * LANES;
            t->b = b + j;
            t->c = c + i * t->c_row + j;
            t->bias_col = col ? col + j : NULL;
            FN(tiles)[0][t->m - 1][nv - 1](t);
            j += nv * LANES;
        }
    }
}

/* ---- Packing ---------------------------------------------------------------------------------------------------------- */

static void FN(pack_a)(void *out, const void *from, int64_t row, int64_t col, int m, int64_t k) {
    T *dst = out;
    const T *src = from;
    int64_t p = 0;
    if (row == 1) {
        switch (m) { /* a copy of known size is an instruction or two */
#define COPY(n)                                \
    case n:                                    \
        for (; p < k; p++, dst += n, src += col) \
            memcpy(dst, src, n * sizeof(T));   \
        return;
            COPY(1) COPY(2) COPY(3) COPY(4) COPY(5) COPY(6) COPY(7) COPY(8)
#undef COPY
        }
    }
#ifdef TRANSPOSE
    if (col == 1) {
        for (; p + TRANSPOSE <= k; p += TRANSPOSE)
            FN(transpose_rows)(dst + p * m, m, src + p, row, m);
    }
#endif
    for (; p < k; p++)
        for (int i = 0; i < m; i++)
            dst[p * m + i] = src[i * row + p * col];
}

static void FN(pack_b)(void *out, const void *from, int64_t row, int64_t col, int n, int64_t k) {
    T *dst = out;
    const T *src = from;
    const int nv = (n + LANES - 1) / LANES, width = nv * LANES, rest = n - (nv - 1) * LANES;
    if (col == 1) {
        for (int64_t p = 0; p < k; p++, dst += width, src += row) {
            for (int v = 0; v < nv; v++) /* the next slice: its rows may be pages apart */
                __builtin_prefetch(src + k * row + v * LANES);
            for (int v = 0; v < nv - 1; v++)
                FN(store)(dst + v * LANES, FN(load)(src + v * LANES));
            FN(store)
            (dst + (nv - 1) * LANES,
             rest == LANES ? FN(load)(src + (nv - 1) * LANES) : FN(load_n)(src + (nv - 1) * LANES, rest));
        }
        return;
    }
    for (int v = 0; v < nv; v++) {
        const int wide = v < nv - 1 ? LANES : rest;
        const T *s = src + v * LANES * col;
        int64_t p = 0;
#ifdef TRANSPOSE_B
        for (; row == 1 && p + LANES <= k; p += LANES)
            FN(transpose_square)(dst + p * width + v * LANES, width, s + p, col, wide);
#endif
        for (; p < k; p++) {
            T *d = dst + p * width + v * LANES;
            for (int j = 0; j < wide; j++)
                d[j] = s[p * row + j * col];
            for (int j = wide; j < LANES; j++)
                d[j] = 0;
        }
    }
}

static void FN(turn)(void *to, int64_t dst_row, const void *from, int64_t src_row, int64_t rows, int64_t columns) {
    T *dst = to;
    const T *src = from;
    for (int64_t i = 0; i < rows; i += LANES)
        for (int64_t j = 0; j < columns; j += LANES) {
            const int64_t high = rows - i < LANES ? rows - i : LANES, wide = columns - j < LANES ? columns - j : LANES;
#ifdef TRANSPOSE_B
            if (high == LANES && wide == LANES) {
                FN(transpose_square)(dst + j * dst_row + i, dst_row, src + i * src_row + j, src_row, LANES);
                continue;
            }
#endif
            for (int64_t q = 0; q < wide; q++)
                for (int64_t r = 0; r < high; r++)
                    dst[(j + q) * dst_row + i + r] = src[(i + r) * src_row + j + q];
        }
}

/* ---- Dot products: both operands run along k -------------------------------------------------------------------------- */

static __attribute__((noinline)) V FN(gather)(const T *p, int64_t step, int n) {
    T t[LANES] = {0};
    for (int i = 0; i < n; i++)
        t[i] = p[i * step];
    return FN(load)(t);
}
static __attribute__((noinline)) void FN(scatter)(T *p, int64_t step, V v, int n) {
    T t[LANES];
    FN(store)(t, v);
    for (int i = 0; i < n; i++)
        p[i * step] = t[i];
}

/* Row i from column j on: n sums, C, bias and activation. */
INLINE void FN(finish_dots)(const soma__dots *d, int64_t i, int64_t j, int64_t n, const T *sum) {
    T *c = (T *)d->c + i * d->c_row + j * d->c_col;
    const T *col = d->bias_col ? (const T *)d->bias_col + j : NULL, row = d->bias_row ? ((const T *)d->bias_row)[i] : 0;
    const V low = FN(set)(d->relu ? 0 : -(T)INFINITY);
    for (int64_t q = 0; q < n; q += LANES, c += LANES * d->c_col) {
        const int wide = n - q < LANES ? (int)(n - q) : LANES;
        V x = FN(load)(sum + q);
        if (d->add)
            x += d->c_col == 1 ? FN(load_n)(c, wide) : FN(gather)(c, d->c_col, wide);
        if (d->bias_row)
            x += FN(set)(row);
        if (col)
            x += FN(load_n)(col + q, wide);
        x = FN(atleast)(low, x);
        if (d->c_col == 1)
            FN(store_n)(c, x, wide);
        else
            FN(scatter)(c, d->c_col, x, wide);
    }
}

/* m x n = LANES sums at once, each one chain per lane, to sum[r * step + q]; beyond the edges the last row and column are
 * taken again. */
INLINE void FN(dots_any)(const soma__dots *d, int64_t i, int64_t j, const int m, const int n, T *sum, const int step) {
    const T *a[LANES], *b[LANES];
    V acc[LANES];
    a[0] = (const T *)d->a + i * d->a_row;
    b[0] = (const T *)d->b + j * d->b_row;
    UNROLL for (int r = 1; r < m; r++)
        a[r] = a[r - 1] + (i + r < d->m ? d->a_row : 0);
    UNROLL for (int q = 1; q < n; q++)
        b[q] = b[q - 1] + (j + q < d->n ? d->b_row : 0);
    UNROLL for (int q = 0; q < LANES; q++)
        acc[q] = FN(set)(0);
    const int64_t rest = d->k % LANES, whole = d->k - rest;
    for (int64_t p = 0; p < whole; p += LANES) {
        V y[LANES];
        UNROLL for (int q = 0; q < n; q++)
            y[q] = FN(load)(b[q] + p);
        UNROLL for (int r = 0; r < m; r++) {
            V x = FN(load)(a[r] + p);
            HOLD(x); /* one load, not one for each use */
            UNROLL for (int q = 0; q < n; q++)
                acc[r * n + q] = FN(fma)(y[q], x, acc[r * n + q]);
        }
    }
    if (rest)
        UNROLL for (int r = 0; r < m; r++)
            UNROLL for (int q = 0; q < n; q++)
                acc[r * n + q] = FN(fma)(FN(load_n)(b[q] + whole, (int)rest), FN(load_n)(a[r] + whole, (int)rest), acc[r * n + q]);
    T all[LANES];
    FN(store)(all, FN(sums)(acc));
    UNROLL for (int r = 0; r < m; r++)
        memcpy(sum + r * step, all + r * n, (size_t)n * sizeof(T));
}

/* One row by LANES columns, column after column: B is read as it lies, which suits matrices that are far away. f32 in two
 * chains, so that one does not bound the speed. */
static void FN(dots_row)(const soma__dots *d, int64_t j) {
    const T *a = d->a;
    V acc[LANES];
    const int64_t rest = d->k % LANES, whole = d->k - rest;
    for (int q = 0; q < LANES; q++) {
        const T *b = (const T *)d->b + (j + q < d->n ? j + q : d->n - 1) * d->b_row;
        V sum = FN(set)(0), other = sum;
        int64_t p = 0;
        if (sizeof(T) == 4) {
            for (; p + 2 * LANES <= whole; p += 2 * LANES) {
                sum = FN(fma)(FN(load)(b + p), FN(load)(a + p), sum);
                other = FN(fma)(FN(load)(b + p + LANES), FN(load)(a + p + LANES), other);
            }
            sum += other;
        }
        for (; p < whole; p += LANES)
            sum = FN(fma)(FN(load)(b + p), FN(load)(a + p), sum);
        acc[q] = rest ? FN(fma)(FN(load_n)(b + whole, (int)rest), FN(load_n)(a + whole, (int)rest), sum) : sum;
    }
    T sum[LANES];
    FN(store)(sum, FN(sums)(acc));
    FN(finish_dots)(d, 0, j, d->n - j < LANES ? d->n - j : LANES, sum);
}

/* Of the two shapes of tiles the one that fewer of cover the product. */
static void FN(dots)(const soma__dots *d) {
    if (d->m == 1) {
        for (int64_t j = 0; j < d->n; j += LANES)
            FN(dots_row)(d, j);
        return;
    }
    enum { TALL = LANES / 2, FLAT = LANES > 2 ? LANES / 4 : 1, WIDE = LANES / FLAT, ROOM = 64 };
    const bool tall = soma__parts(d->m, TALL) * soma__parts(d->n, 2) < soma__parts(d->m, FLAT) * soma__parts(d->n, WIDE);
    const int high = tall ? TALL : FLAT;
    T sum[TALL * ROOM];
    for (int64_t i = 0; i < d->m; i += high)
        for (int64_t j0 = 0; j0 < d->n; j0 += ROOM) {
            const int n = d->n - j0 < ROOM ? (int)(d->n - j0) : ROOM;
            for (int j = 0; j < n; j += tall ? 2 : WIDE) {
                if (tall)
                    FN(dots_any)(d, i, j0 + j, TALL, 2, sum + j, ROOM);
                else
                    FN(dots_any)(d, i, j0 + j, FLAT, WIDE, sum + j, ROOM);
            }
            for (int r = 0; r < high && i + r < d->m; r++)
                FN(finish_dots)(d, i + r, j0, n, sum + r * ROOM);
        }
}

/* ---- One row: B is read along its rows, a broad band at a time -------------------------------------------------------- */

INLINE void FN(row_any)(const soma__dots *d, int64_t j, const int nv, int rest) {
    const T *a = d->a, *b = (const T *)d->b + j;
    T *c = (T *)d->c + j;
    V acc[16];
    UNROLL for (int v = 0; v < nv; v++)
        acc[v] = FN(set)(0);
    for (int64_t p = 0; p < d->k; p++, a += d->a_row, b += d->b_row) {
        V x = FN(set)(*a);
        if (nv == 16) /* bands are pieces of rows: nothing else foresees the next ones */
            UNROLL for (int v = 0; v < nv; v += 64 / (LANES * (int)sizeof(T)))
                __builtin_prefetch(b + 8 * d->b_row + v * LANES, 0, 2);
        UNROLL for (int v = 0; v < nv; v++) acc[v] =
            FN(fma)(x, v < nv - 1 || rest == LANES ? FN(load)(b + v * LANES) : FN(load_n)(b + v * LANES, rest), acc[v]);
    }
    const V low = FN(set)(d->relu ? 0 : -(T)INFINITY), bias = FN(set)(d->bias_row ? *(const T *)d->bias_row : 0);
    const T *col = d->bias_col ? (const T *)d->bias_col + j : NULL;
    UNROLL for (int v = 0; v < nv; v++) {
        const int n = v < nv - 1 ? LANES : rest;
        if (d->add)
            acc[v] += FN(load_n)(c + v * LANES, n);
        if (d->bias_row)
            acc[v] += bias;
        if (col)
            acc[v] += FN(load_n)(col + v * LANES, n);
        FN(store_n)(c + v * LANES, FN(atleast)(low, acc[v]), n);
    }
}

static void FN(row)(const soma__dots *d) {
    int64_t j = 0;
    for (; j + 16 * LANES <= d->n; j += 16 * LANES)
        FN(row_any)(d, j, 16, LANES);
    for (; j + 4 * LANES <= d->n; j += 4 * LANES)
        FN(row_any)(d, j, 4, LANES);
    for (; j + LANES <= d->n; j += LANES)
        FN(row_any)(d, j, 1, LANES);
    if (j < d->n)
        FN(row_any)(d, j, 1, (int)(d->n - j));
}

#undef PASTE2
#undef PASTE1
#undef FN
#undef V
#undef LANES
#undef TILE
#undef TILES
#undef TILES3
#undef PACKED
#undef DIRECT
#undef TABLE
#undef ALL
#undef NAMES
