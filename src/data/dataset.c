/* Data sets: making, reading, subsets, and the sources that hand over memory. What always holds: a root's lists (labels,
 * targets, ids, files) have one entry a sample, count is at least 1, and labels are in 0 … classes-1. */
#include "data/dataset.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int64_t soma__data_in_memory = (int64_t)4 << 30;

soma_data_opts soma__data_opts(const soma_data_opts *given) {
    soma_data_opts opts = {.size = sizeof opts};
    if (given)
        memcpy(&opts, given, given->size > 0 && given->size < sizeof opts ? given->size : sizeof opts);
    return opts;
}

/* ---- Life ---- */

soma_dataset *soma__dataset_new(const soma__data_kind *kind) {
    soma_dataset *d = soma__calloc(1, sizeof *d);
    if (!d)
        return NULL;
    atomic_init(&d->refs, 1);
    d->kind = kind;
    d->task = SOMA_UNLABELLED;
    d->target_numel = d->target_ndim = 1;
    d->target_shape[0] = 1;
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

void soma_data_free(soma_dataset *d) {
    if (!d || atomic_fetch_sub(&d->refs, 1) != 1)
        return;
    soma_data_free(d->source);
    soma__free(d->index);
    soma__free(d->describe);
    soma__free(d->block);
    soma__free(d->labels);
    soma__free(d->targets);
    soma__free(d->class_order);
    soma__free((void *)d->bad);
    soma__strings_free(&d->classes);
    soma__strings_free(&d->ids);
    soma__strings_free(&d->files);
    soma_release(d->keep_x);
    pthread_mutex_destroy(&d->lock);
    soma__free(d);
}

void soma__dataset_shape(soma_dataset *d, int ndim, const int64_t *shape) {
    d->ndim = ndim;
    d->numel = 1;
    for (int i = 0; i < ndim; i++)
        d->numel *= d->shape[i] = shape[i];
}

void soma__dataset_skip(soma_dataset *d, const char *message) {
    long long before = atomic_fetch_add(&d->skipped, 1);
    if (before < 10 && message)
        soma__log(SOMA_LOG_WARNING, "left out: %s", message);
    else if (before == 10)
        soma__log(SOMA_LOG_WARNING, "more than ten samples are left out; the rest is only counted");
}

void soma__dataset_drop(soma_dataset *d, const uint8_t *bad) {
    int64_t kept = 0, n = d->count;
    uint8_t *pixels = d->block && d->pixels == d->block ? d->block : NULL;
    float *values = d->block && (const void *)d->values == d->block ? d->block : NULL;
    for (int64_t i = 0; i < n; i++) {
        if (bad[i])
            continue;
        if (d->labels)
            d->labels[kept] = d->labels[i];
        if (d->targets)
            memmove(d->targets + kept * d->target_numel, d->targets + i * d->target_numel,
                    (size_t)d->target_numel * sizeof(float));
        if (pixels && kept != i)
            memcpy(pixels + kept * d->numel, pixels + i * d->numel, (size_t)d->numel);
        if (values && kept != i)
            memcpy(values + kept * d->numel, values + i * d->numel, (size_t)d->numel * sizeof(float));
        kept++;
    }
    if (d->ids.n == n)
        soma__strings_keep(&d->ids, bad);
    if (d->files.n == n)
        soma__strings_keep(&d->files, bad);
    d->count = kept;
}

static void describe_samples(const soma_dataset *d, soma__text *t) {
    const soma_dataset *root = soma__data_root(d);
    char shape[SOMA__SHAPE_TEXT] = "";
    if (root->image)
        snprintf(shape, sizeof shape, "%lld x %lld x %lld", (long long)root->shape[0], (long long)root->shape[1],
                 (long long)root->shape[2]);
    else
        soma__shape_text(root->ndim, root->shape, shape, sizeof shape);
    soma__text_add(t, "%lld %s of %s, ", (long long)d->count, root->image ? "images" : "samples", shape);
    char names[160];
    if (root->task == SOMA_CLASSIFY)
        soma__text_add(t, "%lld classes (%s)", (long long)root->classes.n,
                       soma__strings_show(&root->classes, 10, names, sizeof names));
    else if (root->task == SOMA_REGRESS)
        soma__text_add(t, root->target_numel == 1 ? "a number to predict" : "%lld numbers to predict",
                       (long long)root->target_numel);
    else
        soma__text_add(t, "no labels");
    if (atomic_load(&root->skipped) > 0 && root == d)
        soma__text_add(t, ", %lld left out", (long long)atomic_load(&root->skipped));
}

static bool describe(soma_dataset *d, const char *what, va_list args) {
    char head[768];
    vsnprintf(head, sizeof head, what, args);
    soma__text t = {0};
    soma__text_add(&t, "%s: ", head);
    describe_samples(d, &t);
    if (t.failed || !t.data) {
        soma__text_free(&t);
        soma_fail(SOMA_ENOMEM, "no memory for the description of %s", head);
        return false;
    }
    d->describe = t.data;
    return true;
}

soma_dataset *soma__dataset_finish(soma_dataset *d, const char *what, ...) {
    va_list args;
    va_start(args, what);
    bool ok = describe(d, what, args);
    va_end(args);
    if (ok)
        return d;
    soma_data_free(d);
    return NULL;
}

/* ---- Sources in memory ---- */

static soma_status memory_read(const soma_dataset *d, int64_t i, void *scratch, soma__sample *out) {
    (void)scratch;
    *out = (soma__sample){.u8 = d->pixels ? d->pixels + i * d->numel : NULL,
                          .f32 = d->values ? d->values + i * d->numel : NULL};
    return SOMA_OK;
}

const soma__data_kind soma__data_memory = {"memory", memory_read};

soma_dataset *soma_data_images(const uint8_t *pixels, const int64_t *labels, int64_t n, int c, int h, int w) {
    if (!pixels || n < 1 || c < 1 || h < 1 || w < 1) {
        soma_fail(SOMA_EINVAL, "soma_data_images: needs pixels and sizes of at least 1, got [%lld, %d, %d, %d]", (long long)n,
                  c, h, w);
        return NULL;
    }
    soma_data_opts opts = soma__data_opts(NULL);
    soma_dataset *d = soma__dataset_new(&soma__data_memory);
    if (!d)
        return NULL;
    if (soma__images_take(d, pixels, n, c, h, w, &opts, NULL) != SOMA_OK ||
        (labels && soma__label_numbers(d, labels, n, NULL, &opts, "soma_data_images") != SOMA_OK)) {
        soma_data_free(d);
        return NULL;
    }
    return soma__dataset_finish(d, "images in memory");
}

/* x as floats: in place when it is so already. */
static soma_status take_values(soma_dataset *d, soma_tensor *x) {
    if (soma_dtype_of(x) == SOMA_F32 && soma_is_contiguous(x)) {
        d->keep_x = soma_keep(x);
        d->values = soma_data(x);
        return SOMA_OK;
    }
    float *values = soma__alloc((size_t)soma_numel(x) * sizeof *values);
    if (!values)
        return SOMA_ENOMEM;
    d->block = values;
    d->values = values;
    return soma_to_array(x, values, soma_numel(x), SOMA_F32);
}

soma_status soma__dataset_numbers(soma_dataset *d, soma_tensor *y) {
    int64_t n = soma_numel(y);
    d->task = SOMA_REGRESS;
    d->target_numel = n / d->count;
    if (soma_ndim(y) > 1) {
        d->target_ndim = soma_ndim(y) - 1;
        memcpy(d->target_shape, soma_shape(y) + 1, (size_t)d->target_ndim * sizeof *d->target_shape);
    }
    d->targets = soma__alloc((size_t)n * sizeof *d->targets);
    return d->targets ? soma_to_array(y, d->targets, n, SOMA_F32) : SOMA_ENOMEM;
}

static soma_status take_targets(soma_dataset *d, soma_tensor *y) {
    int64_t n = soma_numel(y);
    if (!soma_dtype_is_float(soma_dtype_of(y))) {
        if (soma_ndim(y) != 1)
            return soma_fail(SOMA_ESHAPE,
                             "soma_data_tensors: y of whole numbers is classes and must have one dimension, got %d",
                             soma_ndim(y));
        int64_t *numbers = soma__alloc((size_t)n * sizeof *numbers);
        if (!numbers)
            return SOMA_ENOMEM;
        soma_data_opts opts = soma__data_opts(NULL);
        soma_status status = soma_to_array(y, numbers, n, SOMA_I64);
        if (status == SOMA_OK)
            status = soma__label_numbers(d, numbers, n, NULL, &opts, "soma_data_tensors: y");
        soma__free(numbers);
        return status;
    }
    return soma__dataset_numbers(d, y);
}

soma_dataset *soma_data_tensors(soma_tensor *x, soma_tensor *y) {
    if (!x || soma__failed()) {
        soma_fail(SOMA_EINVAL, "soma_data_tensors: x is NULL");
        return NULL;
    }
    if (soma_ndim(x) < 1 || soma_numel(x) < 1 ||
        (y && (soma_ndim(y) < 1 || soma_size(y, 0) != soma_size(x, 0) || soma_numel(y) < 1))) {
        char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT] = "none";
        soma__shape_text(soma_ndim(x), soma_shape(x), a, sizeof a);
        if (y)
            soma__shape_text(soma_ndim(y), soma_shape(y), b, sizeof b);
        soma_fail(SOMA_ESHAPE,
                  "soma_data_tensors: x must be [N, …] and y [N, …] with the same N of at least 1, got x %s and y %s", a, b);
        return NULL;
    }
    soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
    soma_dataset *d = soma__dataset_new(&soma__data_memory);
    if (d) {
        d->count = soma_size(x, 0);
        soma__dataset_shape(d, soma_ndim(x) - 1, soma_shape(x) + 1);
        if (take_values(d, x) != SOMA_OK || (y && take_targets(d, y) != SOMA_OK)) {
            soma_data_free(d);
            d = NULL;
        }
    }
    d = d ? soma__dataset_finish(d, "tensors") : NULL;
    soma__owner_set(was);
    return d;
}

/* ---- Subsets ---- */

soma_dataset *soma_data_subset(soma_dataset *d, const int64_t *index, int64_t n) {
    if (!d || !index || n < 1) {
        soma_fail(SOMA_EINVAL, "soma_data_subset: needs a data set and at least one place in it");
        return NULL;
    }
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= d->count) {
            soma_fail(SOMA_EINVAL, "soma_data_subset: index[%lld] = %lld is not in 0 … %lld", (long long)i, (long long)index[i],
                      (long long)(d->count - 1));
            return NULL;
        }
    soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
    soma_dataset *s = soma__dataset_new(NULL);
    if (s) {
        s->source = d->source ? d->source : d;
        atomic_fetch_add(&s->source->refs, 1);
        s->count = n;
        s->index = soma__alloc((size_t)n * sizeof *s->index);
        for (int64_t i = 0; s->index && i < n; i++)
            s->index[i] = soma__data_place(d, index[i]);
        if (!s->index) {
            soma_data_free(s);
            s = NULL;
        }
    }
    if (s) {
        const char *what = s->source->describe;
        size_t head = strcspn(what, ":");
        const char *end = strstr(what, ": ");
        head = end ? (size_t)(end - what) : head;
        s = soma__dataset_finish(s, "part of %.*s", (int)SOMA_MIN(head, 700), what);
    }
    soma__owner_set(was);
    return s;
}

/* ---- What a data set is ---- */

int64_t soma_data_count(const soma_dataset *d) { return d ? d->count : 0; }
soma_task soma_data_task(const soma_dataset *d) { return d ? soma__data_root(d)->task : SOMA_UNLABELLED; }
int soma_data_ndim(const soma_dataset *d) { return d ? soma__data_root(d)->ndim : 0; }
const int64_t *soma_data_shape(const soma_dataset *d) { return d ? soma__data_root(d)->shape : NULL; }
int soma_data_classes(const soma_dataset *d) { return d ? (int)soma__data_root(d)->classes.n : 0; }
const char *soma_data_describe(const soma_dataset *d) { return d ? d->describe : ""; }
int64_t soma_data_skipped(const soma_dataset *d) { return d ? (int64_t)atomic_load(&soma__data_root(d)->skipped) : 0; }

const char *soma_data_class(const soma_dataset *d, int i) {
    if (!d || i < 0 || i >= soma_data_classes(d)) {
        soma_fail(SOMA_EINVAL, "soma_data_class: there is no class %d; the data set has %d", i, soma_data_classes(d));
        return NULL;
    }
    return soma__strings_at(&soma__data_root(d)->classes, i);
}

/* Numbers as ids, made for all samples when first asked for: the texts must live as long as the data set. */
static bool number_ids(soma_dataset *root) {
    soma__strings ids = {0};
    char text[24];
    bool ok = true;
    for (int64_t i = 0; i < root->count && ok; i++) {
        snprintf(text, sizeof text, "%lld", (long long)i);
        ok = soma__strings_add(&ids, text);
    }
    if (ok)
        root->ids = ids;
    else
        soma__strings_free(&ids);
    return ok;
}

const char *soma_data_id(const soma_dataset *d, int64_t i) {
    if (!d || i < 0 || i >= d->count) {
        soma_fail(SOMA_EINVAL, "soma_data_id: there is no sample %lld; the data set has %lld", (long long)i,
                  (long long)soma_data_count(d));
        return NULL;
    }
    soma_dataset *root = (soma_dataset *)(uintptr_t)soma__data_root(d); /* the ids are made behind a lock */
    pthread_mutex_lock(&root->lock);
    bool ok = root->ids.n > 0 || number_ids(root);
    pthread_mutex_unlock(&root->lock);
    return ok ? soma__strings_at(&root->ids, soma__data_place(d, i)) : NULL;
}

soma_status soma_data_get(const soma_dataset *d, int64_t i, float *x, double *y) {
    if (!d || i < 0 || i >= d->count)
        return soma_fail(SOMA_EINVAL, "soma_data_get: there is no sample %lld; the data set has %lld", (long long)i,
                         (long long)soma_data_count(d));
    const soma_dataset *root = soma__data_root(d);
    int64_t j = soma__data_place(d, i);
    if (y && root->task == SOMA_REGRESS && root->target_numel != 1)
        return soma_fail(SOMA_EUNSUPPORTED,
                         "soma_data_get: a sample has %lld targets, and y is one number; take them from a loader",
                         (long long)root->target_numel);
    if (y)
        *y = root->labels ? (double)root->labels[j] : root->targets ? (double)root->targets[j] : NAN;
    if (!x)
        return SOMA_OK;
    soma__sample sample;
    soma_status status = root->kind->read(root, j, x, &sample);
    if (status != SOMA_OK)
        return status;
    if (sample.f32) {
        memmove(x, sample.f32, (size_t)root->numel * sizeof *x);
        return SOMA_OK;
    }
    /* `sample` may lie in the first quarter of x: backwards, so that no byte is overwritten before it is read. */
    for (int64_t k = root->numel - 1; k >= 0; k--)
        x[k] = (float)sample.u8[k] / 255.0f;
    return SOMA_OK;
}
