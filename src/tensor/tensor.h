/* The inside of a tensor, shape algebra, and the iterator that walks operands of any strides. No operators here. */
#ifndef SOMA_SRC_TENSOR_H
#define SOMA_SRC_TENSOR_H

#include <soma/tensor.h>

#include "base/base.h"

#include <stdatomic.h>

typedef struct soma_storage {
    _Atomic int32_t refs;
    _Atomic uint32_t version; /* counts writes in place; the tape compares it with what it saw when it saved a tensor */
    uint32_t slot;            /* its number in the recording during which it was made; 0: none */
    size_t bytes;
    void *data;
    void (*release)(void *user); /* foreign memory; NULL: `data` follows this struct */
    void *user;
} soma_storage;

struct soma_node;

/* A handle. The shape never changes after creation; `node` may, when an operator writes in place, and the order in memory of a tensor
 * whose order soma chose (`chosen`, layout.c) once, from that order to row-major. */
struct soma_tensor {
    _Atomic int32_t refs;
    uint8_t dtype, ndim;
    bool weak;          /* a number from C: takes part in promotion by its kind only */
    bool requires_grad; /* leaf that wants a gradient, or made by a recorded operator */
    bool retain_grad;
    bool is_view;       /* made by a view operator: shares storage with an older tensor */
    _Atomic bool chosen; /* the strides are soma's choice: to the user the tensor is row-major (soma__settle) */
    bool dead;          /* debug builds: released, kept for a while so that late use is noticed */
    uint16_t output;    /* which output of `node` */
    uint32_t version;   /* of the storage when this handle went on the tape */
    int64_t numel;
    void *data;         /* first element; NULL when only the shape is wanted */
    soma_storage *storage;
    soma_storage *home;       /* the block this handle lies in; NULL: a block of its own. Counted through `storage` while it is the same */
    struct soma_node *node;   /* the operator that made it, when recorded; counted */
    struct soma_tensor *grad; /* counted */
    const char *made_by;      /* operator's name, static; for messages */
    int64_t shape[SOMA_MAX_DIMS], stride[SOMA_MAX_DIMS]; /* strides in elements */
};

/* What a shape rule says of an output. */
typedef struct soma_meta {
    soma_dtype dtype;
    int ndim;
    int64_t shape[SOMA_MAX_DIMS];
    int64_t stride[SOMA_MAX_DIMS]; /* view rules, and where `laid`, in elements */
    int64_t offset;                /* view rules only, in elements from the input's first */
    bool laid;                     /* results of kernels: `stride` is the order in memory, dense; false: row-major */
} soma_meta;

/* What listens while a step is recorded (src/capture): all that a replay must know of, where it happens. */
struct soma_args;
struct soma__rows;
typedef struct soma__recorder {
    void (*made)(struct soma__recorder *r, soma_storage *s), (*gone)(struct soma__recorder *r, soma_storage *s);
    /* False, with an error that names `who`: the values belong to the step. */
    bool (*may_read)(struct soma__recorder *r, const soma_tensor *t, const char *who);
    bool (*call)(struct soma__recorder *r, struct soma_args *a, int kernel);   /* the kernel has run; false with an error */
    void (*rows)(struct soma__recorder *r, const struct soma__rows *rows);      /* inside a kernel: elementwise work */
    bool (*moved)(struct soma__recorder *r, soma_tensor *from, soma_tensor *to); /* values went to other memory without an operator */
    bool (*host)(struct soma__recorder *r, void (*fn)(soma_tensor *t), soma_tensor *t); /* fn(t) has run */
    bool (*leaf)(struct soma__recorder *r, soma_tensor *leaf, bool cleared);    /* its gradient is about to change; cleared: whatever it was */
} soma__recorder;
/* Whether values may be read on the host; false with an error while they belong to a step that is recorded. */
static inline bool soma__may_read(const soma_tensor *t, const char *who) {
    soma__recorder *r = soma__ctx()->recorder;
    return __builtin_expect(!r, 1) || r->may_read(r, t, who);
}
/* Adds one to an i64 that counts steps; a replay does so too. */
void soma__count_up(soma_tensor *t);
/* Storage of its own for `bytes`, one reference; what lies in front of the data is aligned. NULL with an error. */
soma_storage *soma__storage_new(size_t bytes);
void soma__storage_release(soma_storage *s);
/* A handle on `s`, `offset` bytes in, of the dtype, sizes and strides of `like`; off the tape, owned by the caller. */
soma_tensor *soma__tensor_on(soma_storage *s, const soma_tensor *like, int64_t offset);

/* ---- Handles (tensor.c) ---- */

/* Row-major, uninitialised, in the current scope. Without data when ctx->shapes_only. */
soma_tensor *soma__tensor_new(soma_dtype dtype, int ndim, const int64_t *shape);
/* The same in meta's order (`meta.laid`); another one than row-major counts as soma's choice. */
soma_tensor *soma__tensor_new_laid(const soma_meta *meta);
/* Another handle on `of`'s storage with meta's shape, strides and offset, off the tape, in the current scope. */
soma_tensor *soma__tensor_alias(soma_tensor *of, const soma_meta *meta);
/* The same, of the whole tensor, owned by the caller instead of a scope. */
soma_tensor *soma__tensor_alias_owned(soma_tensor *of);
soma_meta soma__meta_of(const soma_tensor *t);
void soma__meta_put(soma_meta *m, const soma_tensor *t); /* what lies beyond ndim stays as it is */
/* Where the i-th element in row-major order lies. */
void *soma__element(const soma_tensor *t, int64_t i);
/* Puts t in place of what the slot held; either may be NULL. */
void soma__hold(soma_tensor **slot, soma_tensor *t);
static inline void soma__retain(soma_tensor *t) { atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed); }
bool soma__contiguous(const soma_tensor *t);
static inline void soma__touch(soma_tensor *t) {
    if (t->storage)
        atomic_fetch_add_explicit(&t->storage->version, 1, memory_order_relaxed);
}
/* Set by autograd: how to let go of a node. The tensor layer does not know it otherwise. */
extern void (*soma__node_release)(struct soma_node *node, soma_tensor *from);

/* Reads and writes one element at `p`. */
double soma__load(const void *p, soma_dtype dtype);
int64_t soma__load_int(const void *p, soma_dtype dtype);
void soma__store(void *p, soma_dtype dtype, double v);
void soma__store_int(void *p, soma_dtype dtype, int64_t v);
float soma__half_to_float(uint16_t h);
uint16_t soma__float_to_half(float f);      /* to nearest even */
static inline float soma__bf16_to_float(uint16_t h) {
    union { uint32_t u; float f; } v = {.u = (uint32_t)h << 16};
    return v.f;
}
uint16_t soma__float_to_bf16(float f);      /* to nearest even; NaN stays NaN */

/* ---- The order in memory (layout.c) ----------------------------------------------------------------------------------
 * Kernels may give results in another order than row-major where that is faster: convolutions channels-last, the operators that keep a
 * shape in their inputs' order. Such a tensor is `chosen`, and whatever shows memory to the user puts it into row-major order first. */

/* True when t is row-major to whoever looks from now on; false (no memory) with the error recorded. t gets storage of its own: what shares the
 * old one (tensors saved on the tape) keeps it. Two threads may call it at once; an operator must not read t meanwhile. */
bool soma__settle(soma_tensor *t);
/* Without gaps, in any order of dimensions. */
bool soma__packed(const soma_tensor *t);
/* A 4-d tensor [N, C, H, W] that lies as a dense [N, H, W, C] and not row-major at the same time. */
bool soma__channels_last(const soma_tensor *t);
/* The same, or both at the same time: it can be read as a dense [N, H, W, C]. */
bool soma__reads_channels_last(const soma_tensor *t);
/* soma__channels_last of a tensor that soma__meta_of has described, as gradient rules see it. */
bool soma__was_channels_last(const soma_meta *m);
/* For shape rules, of a result whose shape is filled in: its order is channels-last (of 4 dimensions; left row-major where both are one). */
void soma__lay_channels_last(soma_meta *m);
/* Its order is that of `t`, a tensor of the same shape, if that is packed. */
void soma__lay_like(soma_meta *m, const soma_tensor *t);
/* By the inputs of m's shape: the order that soma chose for one of them, else the one they share, else row-major. */
void soma__lay_as_inputs(soma_meta *m, soma_tensor *const *in, int n);
/* Copies between tensors of one shape and dtype; the kernels put a faster one in. */
extern void (*soma__copy_memory)(const soma_tensor *to, const soma_tensor *from);

/* ---- Shapes (shape.c) ---- */

/* Product of the sizes; -1 when a size is negative or the product, zeros left out, does not fit in 63 bits. */
int64_t soma__numel(int ndim, const int64_t *shape);
void soma__row_major(int ndim, const int64_t *shape, int64_t *stride);
/* dim in [-ndim, ndim) to [0, ndim); records an error for `op` and returns -1 otherwise. */
int soma__dim(const char *op, int64_t dim, int ndim);
/* Broadcasts `n` shapes by NumPy's rule into meta's shape. Records an error that names the shapes. NULL tensors are skipped. */
bool soma__broadcast(const char *op, soma_tensor *const *t, int n, soma_meta *out);
bool soma__same_shape(const soma_tensor *a, const soma_tensor *b);
/* A bit mask of dims; no dims means all. Records an error for doubles and out of range. */
bool soma__dim_mask(const char *op, int n, const int64_t *dims, int ndim, uint32_t *mask);
/* "[2, 3] f32" of a tensor into out[SOMA__SHAPE_TEXT]; "none" for NULL. */
const char *soma__tensor_text(const soma_tensor *t, char *out);

/* ---- Promotion (dtype.c) ---- */

/* As torch.result_type: tensors with dimensions count before 0-d ones, those before numbers; the later only by kind. */
soma_dtype soma__result_type(soma_tensor *const *t, int n);

/* ---- The iterator (iter.c) ---------------------------------------------------------------------------------------------
 * Walks up to SOMA__ITER_MAX operands over a common shape: broadcasts (stride 0), drops dimensions of size 1, joins dimensions
 * that lie together in all operands. The order of elements is row-major in the common shape, or, for soma__iter_init_any, that of the
 * first operand in memory. Inner loops get a row at a time. */
enum { SOMA__ITER_MAX = 6 };
typedef struct soma__iter {
    int n, ndim;                                       /* operands; dimensions after joining, at least 1 */
    int64_t shape[SOMA_MAX_DIMS];
    int64_t stride[SOMA__ITER_MAX][SOMA_MAX_DIMS];     /* in bytes */
    char *data[SOMA__ITER_MAX];
    int64_t numel;
} soma__iter;
/* Operands' shapes must broadcast to `shape`. */
void soma__iter_init(soma__iter *it, int ndim, const int64_t *shape, soma_tensor *const *operands, int n);
/* The same for work that asks neither for the order of elements nor for `first`. */
void soma__iter_init_any(soma__iter *it, int ndim, const int64_t *shape, soma_tensor *const *operands, int n);
/* For operands[0] with no more elements than a thread's share: the others are like it, all row-major, or single numbers where `scalars`. Fills in
 * pointers and byte strides of the one row that they are. */
bool soma__iter_one_row(soma_tensor *const *operands, int n, bool scalars, char **p, int64_t *stride);
/* inner(arg, pointers, byte strides, count, first): `count` elements of one row; `first` is the row-major number of the first one.
 * Rows are cut at multiples of a fixed number of elements, never by the number of threads. */
typedef void (*soma__inner_fn)(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first);
void soma__iter_run(const soma__iter *it, soma__inner_fn inner, void *arg);

#endif
