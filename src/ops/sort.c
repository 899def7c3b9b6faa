/* Sorting along one dimension. Elements become unsigned keys of the same order (NaN above all, -0 equal to 0) that carry their index; short lines
 * are sorted by insertion, long ones by radix, a byte at a time from the lowest, which is stable: the result is the only one there is, so neither
 * threads nor instruction sets matter. Descending order turns the keys around, so that equals keep their order there too. */
#include "ops/sort.h"

#include "ops/fold.h"

#include <string.h>

enum { SHORT = 64, GROUPS = 64 };

typedef struct pair32 { uint32_t key, index; } pair32;
typedef struct pair64 { uint64_t key, index; } pair64;

/* ---- Keys ---- */

static inline uint32_t key_of_float(float v) {
    uint32_t u;
    v += 0.0f; /* -0 becomes 0 */
    memcpy(&u, &v, sizeof u);
    return v != v ? UINT32_MAX : u >> 31 ? ~u : u | 0x80000000u;
}
static inline uint64_t key_of_double(double v) {
    uint64_t u;
    v += 0.0;
    memcpy(&u, &v, sizeof u);
    return v != v ? UINT64_MAX : u >> 63 ? ~u : u | (uint64_t)1 << 63;
}

/* ---- One line ---- */

#define SORT(BITS, BYTES)                                                                                         \
    static void insertion##BITS(pair##BITS *p, int64_t n) {                                                       \
        for (int64_t i = 1; i < n; i++) {                                                                         \
            pair##BITS v = p[i];                                                                                  \
            int64_t k = i;                                                                                        \
            for (; k > 0 && p[k - 1].key > v.key; k--)                                                            \
                p[k] = p[k - 1];                                                                                  \
            p[k] = v;                                                                                             \
        }                                                                                                         \
    }                                                                                                             \
    /* Returns where the sorted pairs are: p or spare. A byte that all keys share is passed over. */             \
    static pair##BITS *sort##BITS(pair##BITS *p, pair##BITS *spare, int64_t n) {                                  \
        int64_t count[BYTES][256] = {{0}};                                                                        \
        if (n <= SHORT) {                                                                                         \
            insertion##BITS(p, n);                                                                                \
            return p;                                                                                             \
        }                                                                                                         \
        for (int64_t i = 0; i < n; i++)                                                                           \
            for (int b = 0; b < BYTES; b++)                                                                       \
                count[b][p[i].key >> 8 * b & 255]++;                                                              \
        for (int b = 0; b < BYTES; b++) {                                                                         \
            if (count[b][p[0].key >> 8 * b & 255] == n)                                                           \
                continue;                                                                                         \
            int64_t at = 0;                                                                                       \
            for (int k = 0; k < 256; k++) {                                                                       \
                int64_t c = count[b][k];                                                                          \
                count[b][k] = at;                                                                                 \
                at += c;                                                                                          \
            }                                                                                                     \
            for (int64_t i = 0; i < n; i++)                                                                       \
                spare[count[b][p[i].key >> 8 * b & 255]++] = p[i];                                                \
            pair##BITS *swap = p;                                                                                 \
            p = spare;                                                                                            \
            spare = swap;                                                                                         \
        }                                                                                                         \
        return p;                                                                                                 \
    }
SORT(32, 4)
SORT(64, 8)

/* ---- All lines ---- */

typedef struct sorting {
    const soma_tensor *x;
    soma__lines lines;
    bool wide, descending; /* wide: keys of 64 bits */
    char *values;
    int64_t *indices;
    char *work;
    int64_t groups;
} sorting;

static bool is_wide(soma_dtype dtype) { return dtype == SOMA_F64 || dtype == SOMA_I64; }

static void load32(const sorting *s, const char *p, pair32 *to) {
    union { float f[SOMA__STAGE]; int64_t l[SOMA__STAGE]; } v;
    bool floats = soma_dtype_is_float((soma_dtype)s->x->dtype);
    uint32_t turn = s->descending ? UINT32_MAX : 0;
    for (int64_t i = 0; i < s->lines.n; i += SOMA__STAGE) {
        int64_t n = SOMA_MIN(SOMA__STAGE, s->lines.n - i);
        soma__stage((soma_dtype)s->x->dtype, p + i * s->lines.step, s->lines.step, n, &v);
        for (int64_t k = 0; k < n; k++)
            to[i + k] = (pair32){(floats ? key_of_float(v.f[k]) : (uint32_t)v.l[k] ^ 0x80000000u) ^ turn, (uint32_t)(i + k)};
    }
}

static void load64(const sorting *s, const char *p, pair64 *to) {
    uint64_t turn = s->descending ? UINT64_MAX : 0;
    for (int64_t i = 0; i < s->lines.n; i++, p += s->lines.step) {
        uint64_t key;
        if (s->x->dtype == SOMA_F64) {
            double v;
            memcpy(&v, p, sizeof v);
            key = key_of_double(v);
        } else {
            memcpy(&key, p, sizeof key);
            key ^= (uint64_t)1 << 63;
        }
        to[i] = (pair64){key ^ turn, (uint64_t)i};
    }
}

static void sort_line(const sorting *s, int64_t line, char *room) {
    const soma__lines *l = &s->lines;
    const char *p = soma__line_start(l, line);
    int64_t size = (int64_t)soma_dtype_size((soma_dtype)s->x->dtype), at = soma__line_out(l, line, l->n);
    const pair32 *narrow = NULL;
    const pair64 *wide = NULL;
    if (s->wide) {
        load64(s, p, (pair64 *)room);
        wide = sort64((pair64 *)room, (pair64 *)room + l->n, l->n);
    } else {
        load32(s, p, (pair32 *)room);
        narrow = sort32((pair32 *)room, (pair32 *)room + l->n, l->n);
    }
    for (int64_t i = 0; i < l->n; i++) {
        int64_t from = wide ? (int64_t)wide[i].index : (int64_t)narrow[i].index;
        memcpy(s->values + (at + i * l->inner) * size, p + from * l->step, (size_t)size);
        s->indices[at + i * l->inner] = from;
    }
}

static int64_t room_of_line(const sorting *s) { return 2 * s->lines.n * (int64_t)(s->wide ? sizeof(pair64) : sizeof(pair32)); }

static void sort_groups(void *arg, int64_t begin, int64_t end) {
    const sorting *s = arg;
    for (int64_t g = begin; g < end; g++)
        for (int64_t line = g; line < s->lines.count; line += s->groups)
            sort_line(s, line, s->work + g * room_of_line(s));
}

static sorting plan(soma_args *a) {
    sorting s = {.x = a->in[0], .lines = soma__lines_of(a->op->name, a->in[0], soma__attr_int(a, 0)), .descending = soma__attr_int(a, 1) != 0, .work = a->work};
    s.wide = is_wide((soma_dtype)s.x->dtype);
    s.groups = SOMA_MIN(GROUPS, s.lines.count);
    return s;
}

static size_t sort_work(soma_args *a) {
    sorting s = plan(a);
    return (size_t)(s.groups * room_of_line(&s));
}

static const char *sort_kernel(soma_args *a) {
    sorting s = plan(a);
    if (s.lines.n > UINT32_MAX)
        return "a line has more than 2^32 elements";
    if (a->in[0]->numel == 0)
        return NULL;
    s.values = a->out[0]->data;
    s.indices = a->out[1]->data;
    soma__parallel(s.groups, s.x->numel <= 16384 ? s.groups : 1, sort_groups, &s);
    return NULL;
}

static bool sort_shape(soma_args *a, soma_meta *out) {
    const soma_tensor *x = a->in[0];
    if (soma__dim("sort", soma__attr_int(a, 0), x->ndim) < 0)
        return false;
    out[0] = out[1] = soma__meta_of(x);
    out[1].dtype = SOMA_I64;
    return true;
}

/* The gradient goes back to where the elements came from. */
void soma__chosen_backward(soma_grad_args *g, int64_t dim) {
    const soma_meta *x = &g->in_meta[0];
    if (g->gout[0])
        g->gin[0] = x->ndim ? soma_scatter_add(soma_zeros(x->ndim, x->shape, x->dtype), dim, g->out[1], g->gout[0]) : g->gout[0];
}
static void sort_backward(soma_grad_args *g) { soma__chosen_backward(g, g->attrs[0].value.i); }

static int64_t sort_flops(soma_args *a) { return a->in[0]->numel; }

SOMA__LINES(sort, "[7]", "s[3,4] dim=0", "[2,3,4] dim=1 descending=true", "[]", "[0,3]", "[3,0]", "[6]=1,2,1,2,1,0 descending=true ~", "[2,100]",
            "s[90,2] dim=0 descending=true", "[6]=nan,1,-inf,0,nan,inf ~ stable=true", "[3,4] dim=2 !ESHAPE sort: dim 2 is out of range")
const soma_op soma__sort_op = {
    .name = "sort", .family = "reduce", .in = {{.name = "x"}}, .n_in = 1, .outputs = 2, .dtypes = SOMA_ANY, .promote = SOMA_PROMOTE_SAME,
    .doc = "x sorted along one dimension, and the indices (i64) that its elements came from. NaN counts as the largest. Always stable: equal "
           "elements keep their order.",
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension to sort along"), SOMA_DEF_BOOL("descending", false, "largest first"),
                        SOMA_DEF_BOOL("stable", true, "always true; for PyTorch's callers")),
    .shape = sort_shape, .work = sort_work, .cpu = {sort_kernel}, .backward = sort_backward, .saves = SOMA_SAVE_OUT(1), .flops = sort_flops,
    .samples = sort_samples, .errors = sort_errors,
};

bool soma__sorted(soma_tensor *x, int64_t dim, bool descending, soma_tensor **values, soma_tensor **indices) {
    soma_attr attrs[] = {SOMA_INT("dim", dim), SOMA_BOOLEAN("descending", descending), SOMA_BOOLEAN("stable", true)};
    soma_tensor *out[SOMA_MAX_OUTPUTS];
    bool ok = soma__apply(&soma__sort_op, &x, 1, attrs, out, 0);
    if (values)
        *values = ok ? out[0] : NULL;
    if (indices)
        *indices = ok ? out[1] : NULL;
    return ok;
}
soma_status soma_sort(soma_tensor *x, int64_t dim, bool descending, soma_tensor **values, soma_tensor **indices) {
    soma__sorted(x, dim, descending, values, indices);
    return soma__ctx()->error;
}
