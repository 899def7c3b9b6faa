/* IDX folders: the four files of MNIST, Fashion-MNIST and their relations.
 *
 * Names of classes are not in the files: classes.txt beside them (one name a line) has them; a folder that is called after
 * Fashion-MNIST gets its ten names; any other set is numbered. */
#include "data/dataset.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const soma__apparel_names[10] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                             "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

static const char *const forms[] = {"%s-%s-idx%d-ubyte", "%s-%s.idx%d-ubyte"};

static const char *prefix_of(soma_part part) { return part == SOMA_TEST ? "t10k" : "train"; }

bool soma__looks_idx(const soma__strings *files) {
    for (int64_t i = 0; i < files->n; i++) {
        const char *name = soma__strings_at(files, i);
        bool known = strncmp(name, "train-", 6) == 0 || strncmp(name, "t10k-", 5) == 0;
        if (known && (soma__ends_with(name, "idx3-ubyte") || soma__ends_with(name, "idx3-ubyte.gz")))
            return true;
    }
    return false;
}

/* The file that holds `what` ("images" or "labels"), .gz or not. NULL and an error with all names tried. */
static char *find_file(const char *folder, soma_part part, const char *what, int dims) {
    for (int form = 0; form < 2; form++)
        for (int gz = 0; gz < 2; gz++) {
            char name[64];
            int n = snprintf(name, sizeof name, forms[form], prefix_of(part), what, dims);
            if (gz)
                snprintf(name + n, sizeof name - (size_t)n, ".gz");
            char *path = soma__path_join(folder, name);
            if (!path || soma__is_file(path))
                return path;
            soma__free(path);
        }
    const char *p = prefix_of(part);
    soma_fail(SOMA_ENOTFOUND,
              "%s: no %s of the %s part: looked for %s-%s-idx%d-ubyte and %s-%s.idx%d-ubyte, with and without .gz", folder,
              what, part == SOMA_TEST ? "test" : "training", p, what, dims, p, what, dims);
    return NULL;
}

static soma_tensor *read_file(const char *folder, soma_part part, const char *what, int dims, char **path) {
    *path = find_file(folder, part, what, dims);
    return *path ? soma_idx_read(*path) : NULL;
}

/* Lines of classes.txt, when there is one. */
static soma_status names_from_file(const char *folder, soma__strings *names) {
    char *path = soma__path_join(folder, "classes.txt");
    if (!path)
        return SOMA_ENOMEM;
    soma_status status = SOMA_OK;
    soma_bytes bytes = {0};
    if (soma__is_file(path)) {
        status = soma_read_file(path, false, 1 << 20, &bytes);
        const char *at = (const char *)bytes.data, *end = at + bytes.size;
        while (status == SOMA_OK && at < end) {
            const char *eol = memchr(at, '\n', (size_t)(end - at));
            size_t n = (size_t)((eol ? eol : end) - at);
            at += n + (eol != NULL);
            char line[256];
            size_t k = SOMA_MIN(n, sizeof line - 1);
            memcpy(line, at - n - (eol != NULL), k);
            line[k] = 0;
            while (k > 0 && isspace((unsigned char)line[k - 1]))
                line[--k] = 0;
            if (k > 0 && !soma__strings_add(names, line))
                status = SOMA_ENOMEM;
        }
        soma_bytes_free(&bytes);
    }
    soma__free(path);
    return status;
}

static bool is_fashion(const char *folder) {
    char *real = realpath(folder, NULL);
    const char *path = real ? real : folder, *name = strrchr(path, '/');
    char lower[NAME_MAX + 1] = "";
    for (size_t i = 0; (name ? name + 1 : path)[i] && i < NAME_MAX; i++) {
        lower[i] = (char)tolower((unsigned char)(name ? name + 1 : path)[i]);
        lower[i + 1] = 0;
    }
    free(real);
    return strstr(lower, "fashion") != NULL;
}

static soma_status find_names(const char *folder, soma__strings *names) {
    soma_status status = names_from_file(folder, names);
    if (status == SOMA_OK && names->n == 0 && is_fashion(folder))
        for (int i = 0; i < 10 && status == SOMA_OK; i++)
            status = soma__strings_add(names, soma__apparel_names[i]) ? SOMA_OK : SOMA_ENOMEM;
    return status;
}

static soma_status take_images(soma_dataset *d, soma_tensor *x, const char *path, const soma_data_opts *opts) {
    int ndim = soma_ndim(x);
    if (soma_dtype_of(x) != SOMA_U8 || (ndim != 3 && ndim != 4) || soma_numel(x) == 0) {
        char shape[SOMA__SHAPE_TEXT];
        return soma_fail(SOMA_EFORMAT, "%s: images must be bytes [N, H, W] or [N, C, H, W], the file has %s of %s", path,
                         soma__shape_text(ndim, soma_shape(x), shape, sizeof shape), soma_dtype_name(soma_dtype_of(x)));
    }
    int64_t c = ndim == 4 ? soma_size(x, 1) : 1, h = soma_size(x, -2), w = soma_size(x, -1);
    if (c > 65535 || h > 65535 || w > 65535)
        return soma_fail(SOMA_EFORMAT, "%s: images of %lld x %lld x %lld", path, (long long)c, (long long)h, (long long)w);
    return soma__images_take(d, soma_data(x), soma_size(x, 0), (int)c, (int)h, (int)w, opts, x);
}

static soma_status take_labels(soma_dataset *d, soma_tensor *y, const char *images, const char *path, const char *folder,
                               const soma_data_opts *opts) {
    if (soma_dtype_is_float(soma_dtype_of(y)) || soma_ndim(y) != 1)
        return soma_fail(SOMA_EFORMAT, "%s: labels must be one row of whole numbers", path);
    if (soma_size(y, 0) != d->count)
        return soma_fail(SOMA_EFORMAT, "%s: %lld labels, but %s has %lld images", path, (long long)soma_size(y, 0), images,
                         (long long)d->count);
    int64_t *numbers = soma__alloc((size_t)d->count * sizeof *numbers);
    if (!numbers)
        return SOMA_ENOMEM;
    soma__strings names = {0};
    soma_status status = soma_to_array(y, numbers, d->count, SOMA_I64);
    if (status == SOMA_OK)
        status = find_names(folder, &names);
    if (status == SOMA_OK)
        status = soma__label_numbers(d, numbers, d->count, names.n ? &names : NULL, opts, path);
    soma__strings_free(&names);
    soma__free(numbers);
    return status;
}

soma_dataset *soma__open_idx(const char *folder, const soma_data_opts *opts) {
    soma_scope scope = soma_scope_begin();
    char *images = NULL, *labels = NULL;
    soma_dataset *d = NULL;
    soma_tensor *y = read_file(folder, opts->part, "labels", 1, &labels);
    soma_tensor *x = y ? read_file(folder, opts->part, "images", 3, &images) : NULL;
    d = x ? soma__dataset_new(&soma__data_memory) : NULL;
    if (d && (take_images(d, x, images, opts) != SOMA_OK || take_labels(d, y, images, labels, folder, opts) != SOMA_OK)) {
        soma_data_free(d);
        d = NULL;
    }
    if (d)
        d = soma__dataset_finish(d, "IDX files in %s (%s)", folder, opts->part == SOMA_TEST ? "test" : "train");
    soma__free(images);
    soma__free(labels);
    soma_scope_end(scope);
    return d;
}

soma_dataset *soma_data_idx(const char *folder, soma_part part) {
    if (soma__failed())
        return NULL;
    if (!folder || !soma__is_folder(folder)) {
        soma_fail(SOMA_ENOTFOUND, "%s: no such folder", folder ? folder : "soma_data_idx");
        return NULL;
    }
    soma_data_opts opts = soma__data_opts(&(soma_data_opts){.part = part, .size = sizeof(soma_data_opts)});
    soma_owner was = soma__owner_set(SOMA_OWNER_DATA);
    soma_dataset *d = soma__open_idx(folder, &opts);
    soma__owner_set(was);
    return d;
}
