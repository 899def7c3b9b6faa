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

/* ---- Dot products: few rows, both operands run along k ---------------------------------------------------------------- */

INLINE void FN(dots_any)(const soma__dots *d, int64_t i, int64_t j, const int m, const int n) {
    const T *a = (const T *)d->a + i * d->a_row, *b = (const T *)d->b + j * d->b_row;
    V acc[4][8];
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int q = 0; q < n; q++)
            acc[r][q] = FN(set)(0);
    int64_t p = 0, rest = d->k % LANES;
    for (; p < d->k - rest; p += LANES)
        UNROLL for (int q = 0; q < n; q++) {
            V y = FN(load)(b + q * d->b_row + p);
            UNROLL for (int r = 0; r < m; r++)
                acc[r][q] = FN(fma)(y, FN(load)(a + r * d->a_row + p), acc[r][q]);
        }
    if (rest)
        UNROLL for (int q = 0; q < n; q++) {
            V y = FN(load_n)(b + q * d->b_row + p, (int)rest);
            UNROLL for (int r = 0; r < m; r++)
                acc[r][q] = FN(fma)(y, FN(load_n)(a + r * d->a_row + p, (int)rest), acc[r][q]);
        }
    for (int r = 0; r < m; r++)
        for (int q = 0; q < n; q++) {
            T *c = (T *)d->c + (i + r) * d->c_row + (j + q) * d->c_col, x = FN(sum)(acc[r][q]);
            if (d->add)
                x += *c;
            if (d->bias_row)
                x += ((const T *)d->bias_row)[i + r];
            if (d->bias_col)
                x += ((const T *)d->bias_col)[j + q];
            *c = d->relu && x < 0 ? 0 : x;
        }
}

/* Wide along n for one row; two by four else (the sums stay the same: each is one chain per lane). */
static void FN(dots)(const soma__dots *d) {
    int64_t i = 0;
    for (; i + 2 <= d->m; i += 2) {
        int64_t j = 0;
        for (; j + 4 <= d->n; j += 4)
            FN(dots_any)(d, i, j, 2, 4);
        for (; j < d->n; j++)
            FN(dots_any)(d, i, j, 2, 1);
    }
    if (i < d->m) {
        int64_t j = 0;
        for (; j + 8 <= d->n; j += 8)
            FN(dots_any)(d, i, j, 1, 8);
        for (; j < d->n; j++)
            FN(dots_any)(d, i, j, 1, 1);
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
