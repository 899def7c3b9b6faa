/* Handles and storage: making, sharing, reading and releasing tensors. */
#include "tensor/tensor.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void (*soma__node_release)(struct soma_node *node, soma_tensor *from);

enum { STORAGE_HEADER = 64 };
_Static_assert(sizeof(soma_storage) <= STORAGE_HEADER, "data must stay 64-byte aligned");

/* ---- Storage ---- */

/* `header` bytes before the data, of which the storage itself takes the first. */
static soma_storage *storage_new(size_t header, size_t bytes) {
    soma_storage *s = soma__alloc(header + bytes);
    if (!s)
        return NULL;
    *s = (soma_storage){.bytes = bytes, .data = (char *)s + header};
    atomic_init(&s->refs, 1);
    soma__recorder *r = soma__ctx()->recorder;
    if (r)
        r->made(r, s);
    return s;
}

soma_storage *soma__storage_new(size_t bytes) { return storage_new(STORAGE_HEADER, bytes); }

static void storage_release(soma_storage *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (s->slot && soma__ctx()->recorder)
        soma__ctx()->recorder->gone(soma__ctx()->recorder, s);
    if (s->release)
        s->release(s->user);
    soma__free(s);
}

void soma__storage_release(soma_storage *s) { storage_release(s); }

/* ---- Handles ---- */

static void release_object(void *t) { soma_release(t); }

/* Gives a fresh handle (one reference) to the scope; on failure frees it. */
static soma_tensor *into_scope(soma_tensor *t) {
    if (soma__scope_add(t, release_object))
        return t;
    soma_release(t);
    return NULL;
}

static void handle_init(soma_tensor *t, soma_dtype dtype, int ndim, const int64_t *shape, int64_t numel) {
    memset(t, 0, offsetof(soma_tensor, shape));
    atomic_init(&t->refs, 1);
    t->dtype = (uint8_t)dtype;
    t->ndim = (uint8_t)ndim;
    t->numel = numel;
    for (int i = 0; i < ndim; i++)
        t->shape[i] = shape[i];
}

static soma_tensor *handle_new(soma_dtype dtype, int ndim, const int64_t *shape) {
    soma_tensor *t = soma__alloc(sizeof *t);
    if (t)
        handle_init(t, dtype, ndim, shape, soma__numel(ndim, shape));
    return t;
}

#ifdef NDEBUG
/* The handle in front of the data, in the storage's block: a tensor costs one allocation. It holds the block (`home`) as long as it lives. */
enum { HOME_HEADER = (sizeof(soma_storage) + sizeof(soma_tensor) + 63) / 64 * 64 };

static soma_tensor *handle_with_storage(soma_dtype dtype, int ndim, const int64_t *shape, size_t bytes) {
    soma_storage *s = storage_new(HOME_HEADER, bytes);
    if (!s)
        return NULL;
    soma_tensor *t = (soma_tensor *)(s + 1);
    handle_init(t, dtype, ndim, shape, (int64_t)(bytes / soma_dtype_size(dtype)));
    t->storage = t->home = s;
    t->data = s->data;
    return t;
}
#else
/* Apart, since a handle outlives its data in debug builds. */
static soma_tensor *handle_with_storage(soma_dtype dtype, int ndim, const int64_t *shape, size_t bytes) {
    soma_tensor *t = handle_new(dtype, ndim, shape);
    if (!t)
        return NULL;
    t->storage = storage_new(STORAGE_HEADER, bytes);
    if (!t->storage) {
        soma_release(t);
        return NULL;
    }
    t->data = t->storage->data;
    return t;
}
#endif

static bool check_shape(soma_dtype dtype, int ndim, const int64_t *shape, int64_t *bytes) {
    if ((unsigned)dtype >= SOMA_DTYPE_COUNT) {
        soma_fail(SOMA_EDTYPE, "%d is not a dtype", (int)dtype);
        return false;
    }
    if (ndim < 0 || ndim > SOMA_MAX_DIMS || (ndim > 0 && !shape)) {
        soma_fail(SOMA_ESHAPE, "a tensor has 0 to %d dimensions, not %d", SOMA_MAX_DIMS, ndim);
        return false;
    }
    int64_t n = soma__numel(ndim, shape);
    if (n < 0 || !soma__mul_ok(n, (int64_t)soma_dtype_size(dtype), bytes) || *bytes > (int64_t)1 << 46) {
        char text[SOMA__SHAPE_TEXT];
        soma__shape_text(ndim, shape, text, sizeof text);
        for (int i = 0; i < ndim; i++)
            if (shape[i] < 0) {
                soma_fail(SOMA_ESHAPE, "shape %s has a negative size", text);
                return false;
            }
        soma_fail(SOMA_ENOMEM, "a tensor of shape %s is too large", text);
        return false;
    }
    return true;
}

static soma_tensor *tensor_new(soma_dtype dtype, int ndim, const int64_t *shape, const int64_t *stride) {
    int64_t bytes = 0;
    if (!check_shape(dtype, ndim, shape, &bytes))
        return NULL;
    soma_tensor *t = soma__ctx()->shapes_only ? handle_new(dtype, ndim, shape) : handle_with_storage(dtype, ndim, shape, (size_t)bytes);
    if (!t)
        return NULL;
    if (stride)
        memcpy(t->stride, stride, (size_t)ndim * sizeof *stride);
    else
        soma__row_major(ndim, shape, t->stride);
    return into_scope(t);
}

soma_tensor *soma__tensor_new(soma_dtype dtype, int ndim, const int64_t *shape) { return tensor_new(dtype, ndim, shape, NULL); }

soma_tensor *soma__tensor_new_laid(const soma_meta *meta) {
    soma_tensor *t = tensor_new(meta->dtype, meta->ndim, meta->shape, meta->laid ? meta->stride : NULL);
    if (t && meta->laid)
        t->chosen = !soma__contiguous(t);
    return t;
}

/* New storage, row-major; the lock is held. */
static bool settle(soma_tensor *t) {
    int64_t stride[SOMA_MAX_DIMS];
    soma__row_major(t->ndim, t->shape, stride);
    soma_storage *old = t->storage, *now = old ? storage_new(STORAGE_HEADER, (size_t)t->numel * soma_dtype_size((soma_dtype)t->dtype)) : NULL;
    if (now) {
        soma_tensor to = {.dtype = t->dtype, .ndim = t->ndim, .numel = t->numel, .data = now->data};
        memcpy(to.shape, t->shape, sizeof to.shape);
        memcpy(to.stride, stride, sizeof to.stride);
        soma__copy_memory(&to, t);
        atomic_store_explicit(&now->version, atomic_load_explicit(&old->version, memory_order_relaxed), memory_order_relaxed);
        to.storage = now;
        soma__recorder *r = soma__ctx()->recorder;
        if (r && !r->moved(r, t, &to)) {
            storage_release(now);
            return false;
        }
        t->storage = now;
        t->data = now->data;
    } else if (old) {
        return false;
    }
    memcpy(t->stride, stride, sizeof t->stride);
    atomic_store_explicit(&t->chosen, false, memory_order_release);
    if (old != t->home)
        storage_release(old);
    return true;
}

bool soma__settle(soma_tensor *t) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (!atomic_load_explicit(&t->chosen, memory_order_acquire))
        return true;
    pthread_mutex_lock(&lock);
    bool ok = !atomic_load_explicit(&t->chosen, memory_order_relaxed) || settle(t);
    pthread_mutex_unlock(&lock);
    return ok;
}

static soma_tensor *alias(soma_tensor *of, const soma_meta *meta) {
    soma_tensor *t = handle_new((soma_dtype)of->dtype, meta->ndim, meta->shape);
    if (!t)
        return NULL;
    for (int i = 0; i < meta->ndim; i++)
        t->stride[i] = meta->stride[i];
    t->weak = of->weak && meta->ndim == 0;
    t->is_view = true;
    t->chosen = of->chosen;
    t->made_by = of->made_by;
    if (of->storage) {
        atomic_fetch_add_explicit(&of->storage->refs, 1, memory_order_relaxed);
        t->storage = of->storage;
        t->data = (char *)of->data + meta->offset * (int64_t)soma_dtype_size((soma_dtype)of->dtype);
    }
    return t;
}

soma_tensor *soma__tensor_on(soma_storage *s, const soma_tensor *like, int64_t offset) {
    soma_tensor *t = handle_new((soma_dtype)like->dtype, like->ndim, like->shape);
    if (!t)
        return NULL;
    memcpy(t->stride, like->stride, (size_t)like->ndim * sizeof *t->stride);
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    t->storage = s;
    t->data = (char *)s->data + offset;
    return t;
}

soma_tensor *soma__tensor_alias(soma_tensor *of, const soma_meta *meta) {
    soma_tensor *t = alias(of, meta);
    return t ? into_scope(t) : NULL;
}

soma_tensor *soma__tensor_alias_owned(soma_tensor *of) {
    soma_meta meta;
    soma__meta_put(&meta, of);
    return alias(of, &meta);
}

void soma__meta_put(soma_meta *m, const soma_tensor *t) {
    m->dtype = (soma_dtype)t->dtype;
    m->ndim = t->ndim;
    m->offset = 0;
    m->laid = false;
    for (int i = 0; i < t->ndim; i++) {
        m->shape[i] = t->shape[i];
        m->stride[i] = t->stride[i];
    }
}

soma_meta soma__meta_of(const soma_tensor *t) {
    soma_meta m = {0};
    soma__meta_put(&m, t);
    return m;
}

#ifdef NDEBUG
static void bury(soma_tensor *t) { soma__free(t); }
#else
/* Debug builds keep the last handles for a while after their end, marked, so that their late use is found and named. */
enum { GRAVES = 4096 };
static _Atomic(soma_tensor *) graves[GRAVES];
static _Atomic uint32_t next_grave;

static void bury(soma_tensor *t) {
    t->dead = true;
    soma__uncount(t);
    t->storage = NULL;
    t->node = NULL;
    t->grad = NULL;
    t->data = NULL;
    soma__free(atomic_exchange(&graves[atomic_fetch_add(&next_grave, 1) % GRAVES], t));
}

__attribute__((destructor(103))) static void clear_graves(void) {
    for (int i = 0; i < GRAVES; i++)
        soma__free(atomic_exchange(&graves[i], NULL));
}
#endif

soma_tensor *soma_keep(soma_tensor *t) {
    if (t)
        soma__retain(t);
    return t;
}

void soma_release(soma_tensor *t) {
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (t->node)
        soma__node_release(t->node, t);
    soma_release(t->grad);
    soma_storage *home = t->home, *storage = t->storage;
    if (!home)
        bury(t);
    else if (home != storage)
        storage_release(home);
    storage_release(storage);
}

soma_tensor *soma_escape(soma_tensor *t) {
    if (t)
        soma__scope_escape(t);
    return t;
}

/* ---- From and to memory ---- */

soma_tensor *soma_empty(int ndim, const int64_t *shape, soma_dtype dtype) {
    return soma__failed() ? NULL : soma__tensor_new(dtype, ndim, shape);
}

soma_tensor *soma_from_array(const void *data, int ndim, const int64_t *shape, soma_dtype dtype) {
    soma_tensor *t = soma_empty(ndim, shape, dtype);
    if (t && t->data && t->numel > 0) {
        if (!data) {
            soma_fail(SOMA_EINVAL, "soma_from_array: data is NULL");
            return NULL;
        }
        memcpy(t->data, data, (size_t)t->numel * soma_dtype_size(dtype));
    }
    return t;
}

soma_tensor *soma__from_floats(const float *data, size_t n, int ndim, const int64_t *shape) {
    int64_t numel = ndim >= 0 && ndim <= SOMA_MAX_DIMS ? soma__numel(ndim, shape) : -1;
    if (numel != (int64_t)n) {
        char text[SOMA__SHAPE_TEXT];
        soma_fail(SOMA_ESHAPE, "%zu numbers do not fill shape %s", n, soma__shape_text(SOMA_MIN(ndim, SOMA_MAX_DIMS), shape, text, sizeof text));
        return NULL;
    }
    return soma_from_array(data, ndim, shape, SOMA_F32);
}

soma_tensor *soma_from_memory(void *data, int ndim, const int64_t *shape, const int64_t *stride, soma_dtype dtype,
                              void (*release)(void *user), void *user) {
    int64_t bytes = 0;
    if (soma__failed() || !check_shape(dtype, ndim, shape, &bytes))
        return NULL;
    if (!data && bytes > 0) {
        soma_fail(SOMA_EINVAL, "soma_from_memory: data is NULL");
        return NULL;
    }
    soma_tensor *t = handle_new(dtype, ndim, shape);
    if (!t)
        return NULL;
    soma_storage *s = soma__alloc(sizeof *s);
    if (!s) {
        soma_release(t);
        return NULL;
    }
    *s = (soma_storage){.bytes = (size_t)bytes, .data = data};
    atomic_init(&s->refs, 1);
    t->storage = s;
    t->data = data;
    if (stride)
        memcpy(t->stride, stride, (size_t)ndim * sizeof *stride);
    else
        soma__row_major(ndim, shape, t->stride);
    if (!into_scope(t))
        return NULL;
    s->release = release;
    s->user = user;
    return t;
}

static void to_array_row(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const soma_dtype *dtype = arg; /* of out and in */
    bool whole = !soma_dtype_is_float(dtype[0]) && !soma_dtype_is_float(dtype[1]);
    (void)first;
    for (int64_t i = 0; i < count; i++) {
        char *out = p[0] + i * stride[0], *in = p[1] + i * stride[1];
        if (whole)
            soma__store_int(out, dtype[0], soma__load_int(in, dtype[1]));
        else
            soma__store(out, dtype[0], soma__load(in, dtype[1]));
    }
}

soma_status soma_to_array(const soma_tensor *t, void *out, int64_t n, soma_dtype dtype) {
    if (!t)
        return soma__failed() ? soma_error() : soma_fail(SOMA_EINVAL, "soma_to_array: the tensor is NULL");
    if (n < t->numel)
        return soma_fail(SOMA_EINVAL, "soma_to_array: room for %lld elements, the tensor has %lld", (long long)n, (long long)t->numel);
    if ((unsigned)dtype >= SOMA_DTYPE_COUNT)
        return soma_fail(SOMA_EDTYPE, "%d is not a dtype", (int)dtype);
    if (!soma__may_read(t, "soma_to_array"))
        return soma__ctx()->error;
    if (t->numel == 0)
        return SOMA_OK;
    if (!t->data)
        return soma_fail(SOMA_ESTATE, "soma_to_array: the tensor has a shape only, no data");
    soma_tensor target = {.dtype = (uint8_t)dtype, .ndim = t->ndim, .numel = t->numel, .data = out};
    memcpy(target.shape, t->shape, sizeof target.shape);
    soma__row_major(t->ndim, t->shape, target.stride);
    if (dtype == (soma_dtype)t->dtype) {
        soma__copy_memory(&target, t);
        return SOMA_OK;
    }
    soma_tensor *operands[2] = {&target, (soma_tensor *)(uintptr_t)t};
    soma_dtype dtypes[2] = {dtype, (soma_dtype)t->dtype};
    soma__iter it;
    soma__iter_init(&it, t->ndim, t->shape, operands, 2);
    soma__iter_run(&it, to_array_row, dtypes);
    return SOMA_OK;
}

/* ---- Looking ---- */

int soma_ndim(const soma_tensor *t) { return t ? t->ndim : 0; }
soma_dtype soma_dtype_of(const soma_tensor *t) { return t ? (soma_dtype)t->dtype : SOMA_F32; }
int64_t soma_numel(const soma_tensor *t) { return t ? t->numel : 0; }
const int64_t *soma_shape(const soma_tensor *t) { return t ? t->shape : NULL; }
/* What soma chose is undone at the latest when somebody looks. */
void *soma_data(const soma_tensor *t) {
    return t && soma__may_read(t, "soma_data") && soma__settle((soma_tensor *)(uintptr_t)t) ? t->data : NULL;
}
bool soma_is_contiguous(const soma_tensor *t) { return t && (t->chosen || soma__contiguous(t)); }
bool soma_shares_storage(const soma_tensor *a, const soma_tensor *b) { return a && b && a->storage && a->storage == b->storage; }

void soma_touch(soma_tensor *t) {
    if (t)
        soma__touch(t);
}

int64_t soma_size(const soma_tensor *t, int dim) {
    int d = t ? soma__dim("soma_size", dim, t->ndim) : -1;
    return d < 0 || t->ndim == 0 ? 0 : t->shape[d];
}

int64_t soma_stride(const soma_tensor *t, int dim) {
    int d = t ? soma__dim("soma_stride", dim, t->ndim) : -1;
    int64_t stride[SOMA_MAX_DIMS];
    if (d < 0 || t->ndim == 0)
        return 0;
    soma__row_major(t->ndim, t->shape, stride);
    return t->chosen ? stride[d] : t->stride[d];
}

bool soma__contiguous(const soma_tensor *t) {
    int64_t step = 1;
    if (t->numel == 0)
        return true;
    for (int i = t->ndim - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != step)
            return false;
        step *= t->shape[i];
    }
    return true;
}

static const void *only_element(const soma_tensor *t, const char *who) {
    char text[SOMA__SHAPE_TEXT];
    if (!t) {
        if (!soma__failed())
            soma_fail(SOMA_EINVAL, "%s: the tensor is NULL", who);
        return NULL;
    }
    if (t->numel != 1 || !t->data) {
        soma_fail(SOMA_ESHAPE, "%s: %s has %lld elements, not one", who, soma__tensor_text(t, text), (long long)t->numel);
        return NULL;
    }
    return soma__may_read(t, who) ? t->data : NULL;
}

double soma_item(const soma_tensor *t) {
    const void *p = only_element(t, "soma_item");
    return p ? soma__load(p, (soma_dtype)t->dtype) : (double)NAN;
}

int64_t soma_item_int(const soma_tensor *t) {
    const void *p = only_element(t, "soma_item_int");
    return p ? soma__load_int(p, (soma_dtype)t->dtype) : 0;
}

double soma_at(const soma_tensor *t, int n, const int64_t *index) {
    char text[SOMA__SHAPE_TEXT];
    if (!t || !t->data || !soma__may_read(t, "soma_at"))
        return (double)NAN;
    if (n != t->ndim) {
        soma_fail(SOMA_ESHAPE, "soma_at: %d indices for %s", n, soma__tensor_text(t, text));
        return (double)NAN;
    }
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        int64_t k = index[i] < 0 ? index[i] + t->shape[i] : index[i];
        if (k < 0 || k >= t->shape[i]) {
            soma_fail(SOMA_EINVAL, "soma_at: index %lld is out of range in dimension %d of %s", (long long)index[i], i, soma__tensor_text(t, text));
            return (double)NAN;
        }
        at += k * t->stride[i];
    }
    return soma__load((const char *)t->data + at * (int64_t)soma_dtype_size((soma_dtype)t->dtype), (soma_dtype)t->dtype);
}

void *soma__element(const soma_tensor *t, int64_t i) {
    int64_t at = 0;
    for (int d = t->ndim - 1; d >= 0; d--) {
        at += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return (char *)t->data + at * (int64_t)soma_dtype_size((soma_dtype)t->dtype);
}

void soma__count_up(soma_tensor *t) {
    ++*(int64_t *)t->data;
    soma__touch(t);
    soma__recorder *r = soma__ctx()->recorder;
    if (r)
        r->host(r, soma__count_up, t);
}

void soma__hold(soma_tensor **slot, soma_tensor *t) {
    soma_tensor *old = *slot;
    *slot = t ? soma_keep(t) : NULL;
    soma_release(old);
}
