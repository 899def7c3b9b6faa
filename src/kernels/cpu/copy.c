/* Strided copies, the fast way for each case: memcpy where both sides lie together, square tiles where the two run along
 * different dimensions (a transposition), plain loops else. Order does not matter to a copy, so dimensions are sorted and
 * joined at will. Element sizes are constants after inlining: memcpy of `size` bytes below becomes one load and one store.
 */
#include "kernels/cpu/copy.h"

#include "kernels/cpu/turn.h"

#include <stdint.h>
#include <string.h>

enum {
    TILE = 32,            /* rows and columns of a tile: both sides of one stay in the first-level cache */
    BAND = 64,            /* rows when the instruction set has a transposition: four lines of each column are read together */
    LARGE = 16 << 20,     /* bytes from which a transposition is written past the caches */
    UNIT = 1 << 14,       /* elements of a row that one unit of work copies at most */
    GRAIN_BYTES = 1 << 16 /* what one thread copies at least: less costs more to hand out than to do */
};
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct copy {
    size_t size;
    int ndim;   /* at least 1; sorted so that `to` runs fastest along the last */
    bool tiles; /* the last two dimensions are a transposition */
    bool past;  /* its results go past the caches */
    void (*turn)(void *, int64_t, const void *, int64_t, int64_t, int64_t, bool); /* NULL: tiles by themselves */
    int64_t shape[SOMA_MAX_DIMS], to_stride[SOMA_MAX_DIMS], from_stride[SOMA_MAX_DIMS];
    char *to;
    const char *from;
    int64_t cuts, cut; /* the last dimension (tiles: the one before) is cut into `cuts` pieces of `cut` */
} copy;

/* ---- One piece -------------------------------------------------------------------------------------------------- */

ALWAYS_INLINE void row_of(size_t size, int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step) {
    if (to_step == (int64_t)size && from_step == (int64_t)size) {
        memcpy(to, from, (size_t)n * size);
    } else if (to_step == (int64_t)size) {
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * (int64_t)size, from + i * from_step, size);
    } else {
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * to_step, from + i * from_step, size);
    }
}

static void row(size_t size, int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step) {
    switch (size) {
    case 1: row_of(1, n, to, to_step, from, from_step); break;
    case 2: row_of(2, n, to, to_step, from, from_step); break;
    case 4: row_of(4, n, to, to_step, from, from_step); break;
    default: row_of(8, n, to, to_step, from, from_step); break;
    }
}

typedef float quad __attribute__((vector_size(16)));

/* 4 x 4 elements of 4 bytes in registers: rows of `from` become columns of `to`. */
static inline void transpose_4x4(char *to, int64_t to_step, const char *from, int64_t from_step) {
    quad a, b, c, d;
    memcpy(&a, from, 16);
    memcpy(&b, from + from_step, 16);
    memcpy(&c, from + 2 * from_step, 16);
    memcpy(&d, from + 3 * from_step, 16);
    quad ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    quad cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
    memcpy(to, &a, 16);
    memcpy(to + to_step, &b, 16);
    memcpy(to + 2 * to_step, &c, 16);
    memcpy(to + 3 * to_step, &d, 16);
}

/* rows x cols elements; `to` lies together along columns and `from` along rows. They go through a buffer of their own: lines
 * of both sides are met once and whole, so strides of a power of two, which put all rows into the same few cache lines, do
 * no harm. */
ALWAYS_INLINE void tile_of(size_t size, int64_t rows, int64_t cols, char *to, int64_t to_step, const char *from,
                           int64_t from_step) {
    char buffer[TILE * TILE * 8];
    const int64_t e = (int64_t)size, pitch = TILE * (int64_t)size;
    for (int64_t j = 0; j < cols; j++)
        memcpy(buffer + j * pitch, from + j * from_step, (size_t)(rows * e));
    int64_t i = 0;
    if (size == 4)
        for (; i + 4 <= rows; i += 4) {
            int64_t j = 0;
            for (; j + 4 <= cols; j += 4)
                transpose_4x4(to + i * to_step + j * 4, to_step, buffer + i * 4 + j * pitch, pitch);
            for (; j < cols; j++)
                for (int64_t k = i; k < i + 4; k++)
                    memcpy(to + k * to_step + j * 4, buffer + k * 4 + j * pitch, 4);
        }
    for (; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            memcpy(to + i * to_step + j * e, buffer + i * e + j * pitch, size);
}

static void tile(size_t size, int64_t rows, int64_t cols, char *to, int64_t to_step, const char *from, int64_t from_step) {
    switch (size) {
    case 1: tile_of(1, rows, cols, to, to_step, from, from_step); break;
    case 2: tile_of(2, rows, cols, to, to_step, from, from_step); break;
    case 4: tile_of(4, rows, cols, to, to_step, from, from_step); break;
    default: tile_of(8, rows, cols, to, to_step, from, from_step); break;
    }
}

static void by_tiles(const copy *c, int64_t rows, int64_t cols, char *to, int64_t to_step, const char *from, int64_t from_step) {
    for (int64_t i = 0; i < rows; i += TILE)
        for (int64_t j = 0; j < cols; j += TILE)
            tile(c->size, SOMA_MIN(TILE, rows - i), SOMA_MIN(TILE, cols - j), to + i * to_step + j * (int64_t)c->size, to_step,
                 from + j * from_step + i * (int64_t)c->size, from_step);
}

static void turned(const copy *c, int64_t rows, int64_t cols, char *to, int64_t to_step, const char *from, int64_t from_step) {
    int64_t i = c->turn ? rows / SOMA__TURN * SOMA__TURN : 0, j = i ? cols / SOMA__TURN * SOMA__TURN : 0;
    if (j > 0)
        c->turn(to, to_step / 4, from, from_step / 4, j, i, c->past);
    by_tiles(c, i, cols - j, to + j * 4, to_step, from + j * from_step, from_step);
    by_tiles(c, rows - i, cols, to + i * to_step, to_step, from + i * (int64_t)c->size, from_step);
}

/* ---- All pieces ------------------------------------------------------------------------------------------------- */

/* Piece `number` counts the outer dimensions' elements, then the cuts of the inner ones. */
static void run(void *arg, int64_t begin, int64_t end) {
    const copy *c = arg;
    int inner = c->tiles ? 2 : 1, outer = c->ndim - inner, cut_dim = outer;
    int64_t index[SOMA_MAX_DIMS] = {0}, rest = begin / c->cuts, piece = begin % c->cuts;
    char *to = c->to;
    const char *from = c->from;
    for (int d = outer - 1; d >= 0; d--) {
        index[d] = rest % c->shape[d];
        rest /= c->shape[d];
        to += index[d] * c->to_stride[d];
        from += index[d] * c->from_stride[d];
    }
    for (int64_t number = begin; number < end; number++) {
        int64_t at = piece * c->cut, n = SOMA_MIN(c->cut, c->shape[cut_dim] - at);
        char *t = to + at * c->to_stride[cut_dim];
        const char *f = from + at * c->from_stride[cut_dim];
        if (!c->tiles)
            row(c->size, n, t, c->to_stride[cut_dim], f, c->from_stride[cut_dim]);
        else
            turned(c, n, c->shape[cut_dim + 1], t, c->to_stride[cut_dim], f, c->from_stride[cut_dim + 1]);
        if (++piece < c->cuts)
            continue;
        piece = 0;
        for (int d = outer - 1; d >= 0; d--) {
            to += c->to_stride[d];
            from += c->from_stride[d];
            if (++index[d] < c->shape[d])
                break;
            to -= index[d] * c->to_stride[d];
            from -= index[d] * c->from_stride[d];
            index[d] = 0;
        }
    }
}

static int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

/* Moves dimension `at` to `where`, shifting those between. */
static void move_dim(copy *c, int at, int where) {
    int64_t s = c->shape[at], t = c->to_stride[at], f = c->from_stride[at];
    for (int step = at < where ? 1 : -1; at != where; at += step) {
        c->shape[at] = c->shape[at + step];
        c->to_stride[at] = c->to_stride[at + step];
        c->from_stride[at] = c->from_stride[at + step];
    }
    c->shape[where] = s;
    c->to_stride[where] = t;
    c->from_stride[where] = f;
}

/* Sorts by `to`'s strides, largest first, and joins neighbours that lie together on both sides. */
static void sort_and_join(copy *c) {
    for (int d = 1; d < c->ndim; d++) {
        int where = d;
        while (where > 0 && distance(c->to_stride[where - 1]) < distance(c->to_stride[d]))
            where--;
        move_dim(c, d, where);
    }
    int n = 0;
    for (int d = 1; d < c->ndim; d++) {
        if (c->to_stride[n] == c->shape[d] * c->to_stride[d] && c->from_stride[n] == c->shape[d] * c->from_stride[d]) {
            c->shape[n] *= c->shape[d];
            c->to_stride[n] = c->to_stride[d];
            c->from_stride[n] = c->from_stride[d];
        } else {
            n++;
            c->shape[n] = c->shape[d];
            c->to_stride[n] = c->to_stride[d];
            c->from_stride[n] = c->from_stride[d];
        }
    }
    c->ndim = n + 1;
}

/* When `to` runs along the last dimension and `from` along another one, makes that the last but one. */
static void find_tiles(copy *c) {
    int64_t size = (int64_t)c->size;
    int last = c->ndim - 1;
    if (c->to_stride[last] != size || c->from_stride[last] == size || c->shape[last] < 2)
        return;
    for (int d = 0; d < last; d++)
        if (c->from_stride[d] == size) {
            move_dim(c, d, last - 1);
            c->tiles = true;
            return;
        }
}

void soma__copy_elements(size_t size, int ndim, const int64_t *shape, void *to, const int64_t *to_stride, const void *from,
                         const int64_t *from_stride) {
    copy c = {.size = size, .to = to, .from = from};
    for (int d = 0; d < ndim; d++) {
        if (shape[d] == 0)
            return;
        if (shape[d] == 1)
            continue;
        c.shape[c.ndim] = shape[d];
        c.to_stride[c.ndim] = to_stride[d] * (int64_t)size;
        c.from_stride[c.ndim++] = from_stride[d] * (int64_t)size;
    }
    if (c.ndim == 0) {
        memcpy(to, from, size);
        return;
    }
    sort_and_join(&c);
    find_tiles(&c);
    int cut_dim = c.ndim - (c.tiles ? 2 : 1);
    c.turn = c.tiles && size == 4 ? soma__turn_pick()->turn : NULL;
    c.cut = c.turn ? BAND : c.tiles ? TILE : UNIT;
    c.past = soma__numel(c.ndim, c.shape) * (int64_t)size >= LARGE && (uintptr_t)to % 64 == 0;
    for (int d = 0; d < c.ndim - 1; d++)
        c.past = c.past && c.to_stride[d] % 64 == 0;
    c.cuts = (c.shape[cut_dim] + c.cut - 1) / c.cut;
    int64_t pieces = c.cuts,
            bytes = SOMA_MIN(c.cut, c.shape[cut_dim]) * (c.tiles ? c.shape[cut_dim + 1] : 1) * (int64_t)size;
    for (int d = 0; d < cut_dim; d++)
        pieces *= c.shape[d];
    soma__parallel(pieces, SOMA_MAX(1, GRAIN_BYTES / bytes), run, &c);
}

void soma__copy_tensor(const soma_tensor *to, const soma_tensor *from) {
    soma__copy_elements(soma_dtype_size((soma_dtype)to->dtype), to->ndim, to->shape, to->data, to->stride, from->data,
                        from->stride);
}

__attribute__((constructor)) static void connect(void) { soma__copy_memory = soma__copy_tensor; }

/* ---- Between 16-bit floats and f32 ------------------------------------------------------------------------------ */

static void to_float(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    bool half = *(const soma_dtype *)arg == SOMA_F16;
    (void)first;
    for (int64_t i = 0; i < count; i++) {
        uint16_t v = *(const uint16_t *)(p[1] + i * stride[1]);
        *(float *)(p[0] + i * stride[0]) = half ? soma__half_to_float(v) : soma__bf16_to_float(v);
    }
}

static void from_float(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    bool half = *(const soma_dtype *)arg == SOMA_F16;
    (void)first;
    for (int64_t i = 0; i < count; i++) {
        float v = *(const float *)(p[1] + i * stride[1]);
        *(uint16_t *)(p[0] + i * stride[0]) = half ? soma__float_to_half(v) : soma__float_to_bf16(v);
    }
}

/* `floats` in the form that the iterator takes: row-major, t's shape. */
static soma_tensor floats_like(const soma_tensor *t, const float *floats) {
    soma_tensor f = {.dtype = SOMA_F32, .ndim = t->ndim, .numel = t->numel, .data = (void *)floats};
    memcpy(f.shape, t->shape, sizeof f.shape);
    soma__row_major(t->ndim, t->shape, f.stride);
    return f;
}

static void convert(const soma_tensor *to, const soma_tensor *from, soma__inner_fn inner, soma_dtype dtype) {
    soma__iter it;
    soma__iter_init_any(&it, to->ndim, to->shape, (soma_tensor *const[]){(soma_tensor *)to, (soma_tensor *)from}, 2);
    soma__iter_run(&it, inner, &dtype);
}

void soma__copy_to_floats(float *to, const soma_tensor *from) {
    soma_tensor f = floats_like(from, to);
    convert(&f, from, to_float, (soma_dtype)from->dtype);
}

void soma__copy_from_floats(const soma_tensor *to, const float *from) {
    soma_tensor f = floats_like(to, from);
    convert(to, &f, from_float, (soma_dtype)to->dtype);
}

/* ---- Filling ---------------------------------------------------------------------------------------------------- */

typedef struct fill {
    size_t size;
    char *to;
    const void *value;
} fill;

ALWAYS_INLINE void fill_of(size_t size, int64_t n, char *to, const void *value) {
    uint64_t bits = 0;
    memcpy(&bits, value, size);
    for (int64_t i = 0; i < n; i++)
        memcpy(to + i * (int64_t)size, &bits, size);
}

static void fill_range(void *arg, int64_t begin, int64_t end) {
    const fill *f = arg;
    char *to = f->to + begin * (int64_t)f->size;
    switch (f->size) {
    case 1: fill_of(1, end - begin, to, f->value); break;
    case 2: fill_of(2, end - begin, to, f->value); break;
    case 4: fill_of(4, end - begin, to, f->value); break;
    default: fill_of(8, end - begin, to, f->value); break;
    }
}

void soma__fill_elements(size_t size, void *to, int64_t n, const void *value) {
    fill f = {.size = size, .to = to, .value = value};
    soma__parallel(n, GRAIN_BYTES / (int64_t)size, fill_range, &f);
}
