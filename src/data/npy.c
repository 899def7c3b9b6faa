/* NumPy arrays: x.npy with x.labels.npy or y.npy beside it. Bytes with 3 or 4 dimensions are images ([N, H, W], [N, C, H, W], or
 * [N, H, W, C] with 1 or 3 channels last, as NumPy programs keep them); anything else is taken as numbers as they are. */
#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

/* The array of targets that belongs to `path`, or NULL when there is none (or no memory: an error is recorded). */
static char *labels_beside(const char *path) {
    size_t n = strlen(path) - 4; /* without .npy */
    soma__text t = {0};
    soma__text_add(&t, "%.*s.labels.npy", (int)n, path);
    if (!t.failed && soma__is_file(t.data))
        return t.data;
    soma__text_free(&t);
    const char *slash = strrchr(path, '/');
    t = (soma__text){0};
    soma__text_add(&t, "%.*sy.npy", slash ? (int)(slash - path + 1) : 0, path);
    if (!t.failed && strcmp(t.data, path) != 0 && soma__is_file(t.data))
        return t.data;
    soma__text_free(&t);
    return NULL;
}

static bool is_channels(int64_t n) { return n == 1 || n == 3; }

/* [H, W, C] to [C, H, W] for all images. */
static uint8_t *channels_first(const uint8_t *in, int64_t n, int64_t area, int64_t c) {
    uint8_t *out = soma__alloc((size_t)(n * area * c));
    for (int64_t i = 0; out && i < n; i++)
        for (int64_t k = 0; k < c; k++)
            for (int64_t p = 0; p < area; p++)
                out[(i * c + k) * area + p] = in[(i * area + p) * c + k];
    return out;
}

static soma_status take_images(soma_dataset *d, soma_tensor *x, const char *path, const soma_data_opts *opts) {
    const int64_t *s = soma_shape(x);
    bool last = soma_ndim(x) == 4 && is_channels(s[3]) && !is_channels(s[1]);
    int64_t c = soma_ndim(x) == 3 ? 1
                : last            ? s[3]
                                  : s[1],
            h = last || soma_ndim(x) == 3 ? s[1] : s[2], w = last || soma_ndim(x) == 3 ? s[2] : s[3];
    if (c > 65535 || h > 65535 || w > 65535)
        return soma_fail(SOMA_EFORMAT, "%s: images of %lld x %lld x %lld", path, (long long)c, (long long)h, (long long)w);
    if (!last || c == 1)
        return soma__images_take(d, soma_data(x), s[0], (int)c, (int)h, (int)w, opts, x);
    uint8_t *turned = channels_first(soma_data(x), s[0], h * w, c);
    soma_status status = turned ? soma__images_take(d, turned, s[0], (int)c, (int)h, (int)w, opts, NULL) : SOMA_ENOMEM;
    soma__free(turned);
    return status;
}

static soma_status take_values(soma_dataset *d, soma_tensor *x) {
    int64_t n = soma_numel(x);
    d->count = soma_size(x, 0);
    soma__dataset_shape(d, soma_ndim(x) - 1, soma_shape(x) + 1);
    float *values = soma__alloc((size_t)n * sizeof *values);
    d->block = values;
    d->values = values;
    return values ? soma_to_array(x, values, n, SOMA_F32) : SOMA_ENOMEM;
}

static soma_status take_targets(soma_dataset *d, soma_tensor *y, const char *x_path, const char *path,
                                const soma_data_opts *opts) {
    if (soma_ndim(y) < 1 || soma_size(y, 0) != d->count || soma_numel(y) == 0)
        return soma_fail(SOMA_EFORMAT, "%s: %lld targets, but %s has %lld samples", path,
                         (long long)(soma_ndim(y) > 0 ? soma_size(y, 0) : 1), x_path, (long long)d->count);
    int64_t n = soma_numel(y);
    if (soma_dtype_is_float(soma_dtype_of(y)) || (opts->task == SOMA_REGRESS && !opts->auto_task))
        return soma__dataset_numbers(d, y);
    if (n != d->count)
        return soma_fail(SOMA_EFORMAT, "%s: classes must be one whole number a sample", path);
    int64_t *numbers = soma__alloc((size_t)n * sizeof *numbers);
    soma_status status = numbers ? soma_to_array(y, numbers, n, SOMA_I64) : SOMA_ENOMEM;
    if (status == SOMA_OK)
        status = soma__label_numbers(d, numbers, n, NULL, opts, path);
    soma__free(numbers);
    return status;
}

static soma_status open_arrays(soma_dataset *d, const char *path, const char *labels, const soma_data_opts *opts) {
    soma_tensor *x = soma_npy_read(path), *y = x && labels ? soma_npy_read(labels) : NULL;
    if (!x || (labels && !y))
        return soma__ctx()->error;
    if (soma_ndim(x) < 1 || soma_numel(x) == 0)
        return soma_fail(SOMA_EFORMAT, "%s: an array of samples [N, …] was expected, and this one is empty or one number",
                         path);
    bool images = soma_dtype_of(x) == SOMA_U8 && (soma_ndim(x) == 3 || soma_ndim(x) == 4);
    soma_status status = images ? take_images(d, x, path, opts) : take_values(d, x);
    if (status == SOMA_OK && y)
        status = take_targets(d, y, path, labels, opts);
    else if (status == SOMA_OK && opts->n_classes > 0)
        status = soma__classes_set(d, opts->classes, opts->n_classes);
    return status;
}

soma_dataset *soma__open_npy(const char *path, const soma_data_opts *opts) {
    soma_scope scope = soma_scope_begin();
    bool labelled = opts->auto_task || opts->task != SOMA_UNLABELLED;
    char *labels = labelled ? labels_beside(path) : NULL;
    soma_dataset *d = soma__failed() ? NULL : soma__dataset_new(&soma__data_memory);
    if (d && open_arrays(d, path, labels, opts) != SOMA_OK) {
        soma_data_free(d);
        d = NULL;
    }
    if (d)
        d = soma__dataset_finish(d, labels ? "array %s with %s" : "array %s", path, labels);
    soma__free(labels);
    soma_scope_end(scope);
    return d;
}
