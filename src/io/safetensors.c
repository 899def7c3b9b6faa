/* safetensors (github.com/huggingface/safetensors, README "Format"): the header's length as a 64-bit little-endian
 * number, the header (JSON: name -> dtype, shape, data_offsets), the elements, row-major, little-endian. What the format
 * promises is checked before anything is believed: header at most 100 MB, names once, sizes that fit, elements without
 * overlap, holes or rest. */
#include "io/io.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

#define HEADER_LIMIT 100000000u
#define CHECKSUM_KEY "soma.sha256"

typedef struct entry {
    const char *name; /* in `header` */
    const char *type; /* as in the file */
    int dtype;        /* -1: one that soma does not have */
    int ndim;         /* may be more than SOMA_MAX_DIMS; then `shape` holds nothing */
    int64_t shape[SOMA_MAX_DIMS];
    size_t begin, end; /* in the elements' part */
} entry;

struct soma_tensor_file {
    char *name;
    soma_bytes bytes;
    const uint8_t *elements;
    size_t size; /* of the elements' part */
    json_t *header, *meta;
    int count;
    entry *entries;  /* in the order of their bytes */
    entry **by_name; /* sorted */
};

static const struct {
    const char *text;
    int dtype, width;
} types[] = {
    {"F32", SOMA_F32, 4}, {"F64", SOMA_F64, 8}, {"F16", SOMA_F16, 2}, {"BF16", SOMA_BF16, 2}, {"I64", SOMA_I64, 8},
    {"I32", SOMA_I32, 4}, {"I16", SOMA_I16, 2}, {"I8", SOMA_I8, 1},   {"U8", SOMA_U8, 1},     {"BOOL", SOMA_BOOL, 1},
    {"U16", -1, 2},       {"U32", -1, 4},       {"U64", -1, 8},       {"F8_E4M3", -1, 1},     {"F8_E5M2", -1, 1},
    {"F8_E8M0", -1, 1},   {"C64", -1, 8},
};

void soma_safetensors_free(soma_tensor_file *f) {
    if (f == NULL)
        return;
    json_decref(f->header);
    soma__free(f->entries);
    soma__free(f->by_name);
    soma__free(f->name);
    soma_bytes_free(&f->bytes);
    soma__free(f);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

static soma_status bad_entry(const soma_tensor_file *f, const char *tensor, const char *what) {
    char quoted[SOMA__QUOTE];
    return soma_fail(SOMA_EFORMAT, "%s: damaged header: tensor \"%s\": %s", f->name,
                     soma__quote(tensor, strlen(tensor), quoted), what);
}

/* dtype, shape and data_offsets of one tensor, and that they agree. */
static soma_status read_entry(const soma_tensor_file *f, entry *e, const json_t *value) {
    const json_t *type = json_object_get(value, "dtype"), *shape = json_object_get(value, "shape");
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (!json_is_string(type) || !json_is_array(shape) || !json_is_array(offsets))
        return bad_entry(f, e->name, "an object with dtype, shape and data_offsets was expected");
    e->type = json_string_value(type);
    size_t k = 0;
    while (k < SOMA_LEN(types) && strcmp(e->type, types[k].text) != 0)
        k++;
    if (k == SOMA_LEN(types))
        return bad_entry(f, e->name, "a dtype that the format does not have");
    e->dtype = types[k].dtype;
    int64_t bytes = types[k].width;
    bool empty = false;
    size_t ndim = json_array_size(shape);
    e->ndim = (int)SOMA_MIN(ndim, 1000u);
    for (size_t i = 0; i < ndim; i++) {
        const json_t *value_i = json_array_get(shape, i);
        int64_t size = json_integer_value(value_i);
        if (!json_is_integer(value_i) || !soma__mul_ok(bytes, size == 0 ? 1 : size, &bytes))
            return bad_entry(f, e->name, "a size that is negative, no whole number, or makes the tensor too large");
        empty = empty || size == 0;
        if (i < SOMA_MAX_DIMS)
            e->shape[i] = size;
    }
    if (empty)
        bytes = 0;
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return bad_entry(f, e->name, "data_offsets must be two whole numbers, the first not larger");
    e->begin = (size_t)json_integer_value(begin);
    e->end = (size_t)json_integer_value(end);
    if (e->end - e->begin != (uint64_t)bytes)
        return bad_entry(f, e->name, "data_offsets and shape do not agree");
    if (e->end > f->size)
        return bad_entry(f, e->name, "its elements lie behind the end of the file (truncated?)");
    return SOMA_OK;
}

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end != y->end ? (x->end < y->end ? -1 : 1) : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(entry *const *)a)->name, (*(entry *const *)b)->name);
}

static soma_status read_entries(soma_tensor_file *f) {
    const char *key;
    json_t *value;
    f->meta = json_object_get(f->header, "__metadata__");
    size_t n = json_object_size(f->header) - (f->meta != NULL);
    f->entries = soma__calloc(n, sizeof *f->entries);
    f->by_name = soma__calloc(n, sizeof *f->by_name);
    if (f->entries == NULL || f->by_name == NULL)
        return SOMA_ENOMEM;
    json_object_foreach(f->header, key, value) {
        if (value == f->meta)
            continue;
        entry *e = &f->entries[f->count++];
        e->name = key;
        soma_status status = read_entry(f, e, value);
        if (status != SOMA_OK)
            return status;
    }
    qsort(f->entries, n, sizeof *f->entries, by_place);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (f->entries[i].begin != at)
            return bad_entry(f, f->entries[i].name,
                             f->entries[i].begin < at ? "its elements overlap those of another tensor"
                                                      : "there is a hole before its elements");
        at = f->entries[i].end;
        f->by_name[i] = &f->entries[i];
    }
    if (at != f->size)
        return soma_fail(SOMA_EFORMAT, "%s: %zu bytes behind the last tensor belong to none", f->name, f->size - at);
    qsort(f->by_name, n, sizeof *f->by_name, by_name);
    return SOMA_OK;
}

static soma_status check_meta(const soma_tensor_file *f) {
    const char *key;
    json_t *value;
    if (f->meta == NULL)
        return SOMA_OK;
    if (!json_is_object(f->meta))
        return soma_fail(SOMA_EFORMAT, "%s: damaged header: __metadata__ must be an object of texts", f->name);
    json_object_foreach(f->meta, key, value) if (!json_is_string(value)) {
        char quoted[SOMA__QUOTE];
        return soma_fail(SOMA_EFORMAT, "%s: damaged header: __metadata__ \"%s\" is no text", f->name,
                         soma__quote(key, strlen(key), quoted));
    }
    const char *expected = soma_safetensors_meta(f, CHECKSUM_KEY);
    char found[65];
    if (expected == NULL)
        return SOMA_OK;
    soma__sha256_hex(f->elements, f->size, found);
    if (strcmp(found, expected) != 0)
        return soma_fail(SOMA_EFORMAT, "%s: the checksum does not agree with the contents: the file is damaged", f->name);
    return SOMA_OK;
}

/* What a file that is none may be instead. */
static const char *foreign_kind(const soma_bytes *b) {
    if (b->size >= 4 && memcmp(b->data, "PK\3\4", 4) == 0)
        return " (a zip archive, as PyTorch's .pt files are; in PyTorch, save with safetensors.torch.save_file)";
    if (b->size >= 2 && b->data[0] == 0x80 && b->data[1] >= 2 && b->data[1] <= 5)
        return " (a Python pickle; in PyTorch, save with safetensors.torch.save_file)";
    if (b->size >= 4 && memcmp(b->data, "\x89HDF", 4) == 0)
        return " (an HDF5 file)";
    if (b->size >= 4 && memcmp(b->data, "GGUF", 4) == 0)
        return " (a GGUF file)";
    return "";
}

static soma_status read_header(soma_tensor_file *f) {
    const soma_bytes *b = &f->bytes;
    if (b->size < 8)
        return soma_fail(SOMA_EFORMAT, "%s: %zu bytes, too few for a safetensors file", f->name, b->size);
    uint64_t length = soma__read_le64(b->data);
    if (length > HEADER_LIMIT)
        return soma_fail(SOMA_EFORMAT, "%s: not a safetensors file%s", f->name, foreign_kind(b));
    if (length > b->size - 8)
        return soma_fail(SOMA_EFORMAT,
                         "%s: truncated, or not a safetensors file%s: a header of %llu bytes is announced and %zu follow",
                         f->name, foreign_kind(b), (unsigned long long)length, b->size - 8);
    if (length < 2 || b->data[8] != '{')
        return soma_fail(SOMA_EFORMAT, "%s: not a safetensors file%s: the header must begin with {", f->name,
                         foreign_kind(b));
    f->elements = b->data + 8 + length;
    f->size = b->size - 8 - (size_t)length;
    f->header = soma__json_parse((const char *)b->data + 8, (size_t)length, f->name);
    if (f->header == NULL)
        return SOMA_EFORMAT;
    soma_status status = read_entries(f);
    return status == SOMA_OK ? check_meta(f) : status;
}

/* Takes `bytes` over. */
static soma_tensor_file *file_of(soma_bytes bytes, const char *name) {
    soma_tensor_file *f = soma__calloc(1, sizeof *f);
    if (f == NULL) {
        soma_bytes_free(&bytes);
        return NULL;
    }
    f->bytes = bytes;
    f->name = soma__strdup(name);
    if (f->name == NULL || read_header(f) != SOMA_OK) {
        soma_safetensors_free(f);
        return NULL;
    }
    return f;
}

soma_tensor_file *soma_safetensors_read(const char *path) {
    soma_bytes bytes;
    if (soma_read_file(path, false, SIZE_MAX, &bytes) != SOMA_OK)
        return NULL;
    return file_of(bytes, path);
}

soma_tensor_file *soma_safetensors_parse(const void *data, size_t size, const char *name) {
    if ((data == NULL && size > 0) || name == NULL)
        return soma_fail(SOMA_EINVAL, "soma_safetensors_parse: no data or no name"), NULL;
    soma_bytes bytes = {.data = soma__alloc(size), .size = size};
    if (bytes.data == NULL)
        return NULL;
    if (size > 0)
        memcpy(bytes.data, data, size);
    return file_of(bytes, name);
}

int soma_safetensors_count(const soma_tensor_file *f) { return f != NULL ? f->count : 0; }

const char *soma_safetensors_name(const soma_tensor_file *f, int i) {
    return f != NULL && i >= 0 && i < f->count ? f->entries[i].name : NULL;
}

const char *soma_safetensors_meta(const soma_tensor_file *f, const char *key) {
    return f != NULL && key != NULL ? json_string_value(json_object_get(f->meta, key)) : NULL;
}

static const entry *find(const soma_tensor_file *f, const char *name) {
    int low = 0, high = f->count;
    while (low < high) {
        int middle = low + (high - low) / 2, order = strcmp(name, f->by_name[middle]->name);
        if (order == 0)
            return f->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

soma_tensor *soma_safetensors_get(soma_tensor_file *f, const char *name) {
    char quoted[SOMA__QUOTE];
    if (f == NULL || name == NULL)
        return soma_fail(SOMA_EINVAL, "soma_safetensors_get: no file or no name"), NULL;
    const entry *e = find(f, name);
    soma__quote(name, strlen(name), quoted);
    if (e == NULL)
        return soma_fail(SOMA_ENOTFOUND, "%s: has no tensor \"%s\"", f->name, quoted), NULL;
    if (e->dtype < 0)
        return soma_fail(SOMA_EUNSUPPORTED, "%s: tensor \"%s\" is of dtype %s, which soma does not have", f->name, quoted,
                         e->type),
               NULL;
    if (e->ndim > SOMA_MAX_DIMS)
        return soma_fail(SOMA_EUNSUPPORTED, "%s: tensor \"%s\" has %d dimensions; at most %d are possible", f->name,
                         quoted, e->ndim, SOMA_MAX_DIMS),
               NULL;
    return soma__tensor_of_bytes(f->elements + e->begin, (soma_dtype)e->dtype, e->ndim, e->shape, false);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

/* What a save consists of. */
typedef struct save {
    const char *path;
    const char *const *names;
    soma_tensor *const *tensors;
    int n, n_meta;
    const soma_pair *meta;
} save;

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of both kinds: there, UTF-8, and each once. */
static soma_status check_names(const save *s) {
    const char **sorted = soma__calloc((size_t)(s->n + s->n_meta), sizeof *sorted);
    soma_status status = sorted != NULL ? SOMA_OK : SOMA_ENOMEM;
    char quoted[SOMA__QUOTE];
    for (int i = 0; i < s->n && status == SOMA_OK; i++) {
        if (s->names[i] == NULL || s->tensors[i] == NULL)
            status = soma_fail(SOMA_EINVAL, "%s: tensor %d of %d to be saved has no %s", s->path, i + 1, s->n,
                               s->names[i] == NULL ? "name" : "value");
        else if (strcmp(s->names[i], "__metadata__") == 0)
            status = soma_fail(SOMA_EINVAL, "%s: a tensor cannot be called __metadata__", s->path);
        else
            sorted[i] = s->names[i];
    }
    for (int i = 0; i < s->n_meta && status == SOMA_OK; i++) {
        if (s->meta[i].key == NULL || s->meta[i].value == NULL)
            status = soma_fail(SOMA_EINVAL, "%s: metadata %d of %d to be saved has no key or value", s->path, i + 1,
                               s->n_meta);
        else
            sorted[s->n + i] = s->meta[i].key;
    }
    if (status == SOMA_OK) {
        qsort(sorted, (size_t)s->n, sizeof *sorted, compare_names);
        qsort(sorted + s->n, (size_t)s->n_meta, sizeof *sorted, compare_names);
    }
    for (int i = 1; i < s->n + s->n_meta && status == SOMA_OK; i++)
        if (i != s->n && strcmp(sorted[i - 1], sorted[i]) == 0)
            status = soma_fail(SOMA_EINVAL, "%s: the name \"%s\" occurs twice", s->path,
                               soma__quote(sorted[i], strlen(sorted[i]), quoted));
    soma__free(sorted);
    return status;
}

/* The elements as they stand in the file. *copy is what the caller frees; NULL when the tensor's own memory serves. */
static soma_status elements_of(soma_tensor *t, const void **data, void **copy, size_t *bytes) {
    int64_t n = soma_numel(t);
    *bytes = (size_t)n * soma_dtype_size(soma_dtype_of(t));
    *copy = NULL;
    *data = soma_data(t);
    if (soma_is_contiguous(t) && !SOMA__BIG_ENDIAN)
        return SOMA_OK;
    *data = *copy = soma__alloc(*bytes);
    if (*copy == NULL)
        return SOMA_ENOMEM;
    soma_status status = soma_to_array(t, *copy, n, soma_dtype_of(t));
    if (status != SOMA_OK) {
        soma__free(*copy);
        *copy = NULL;
    } else if (SOMA__BIG_ENDIAN) {
        soma__swap_bytes(*copy, (size_t)n, soma_dtype_size(soma_dtype_of(t)));
    }
    return status;
}

/* Hands all elements to the writer, or to the checksum. */
static soma_status put_elements(const save *s, soma__writer *w, soma__sha256 *sum) {
    for (int i = 0; i < s->n; i++) {
        const void *data;
        void *copy;
        size_t bytes;
        soma_status status = elements_of(s->tensors[i], &data, &copy, &bytes);
        if (status == SOMA_OK && sum != NULL)
            soma__sha256_add(sum, data, bytes);
        if (status == SOMA_OK && w != NULL)
            status = soma__writer_put(w, data, bytes);
        soma__free(copy);
        if (status != SOMA_OK)
            return status;
    }
    return SOMA_OK;
}

static bool put_meta(const save *s, soma__text *t, const char *checksum) {
    bool ok = true;
    if (s->n_meta == 0 && checksum == NULL)
        return true;
    soma__text_add(t, "\"__metadata__\":{");
    for (int i = 0; i < s->n_meta && ok; i++) {
        ok = soma__json_put_string(t, s->meta[i].key);
        soma__text_put(t, ":", 1);
        ok = ok && soma__json_put_string(t, s->meta[i].value);
        if (i + 1 < s->n_meta || checksum != NULL)
            soma__text_put(t, ",", 1);
    }
    if (checksum != NULL)
        soma__text_add(t, "\"%s\":\"%s\"", CHECKSUM_KEY, checksum);
    soma__text_add(t, s->n > 0 ? "}," : "}");
    return ok;
}

/* The header with its length before it, filled up with blanks so that the elements begin at a multiple of 64. */
static soma_status put_header(const save *s, soma__text *t, const char *checksum) {
    size_t at = 0;
    soma__text_put(t, "\0\0\0\0\0\0\0\0{", 9);
    bool ok = put_meta(s, t, checksum);
    for (int i = 0; i < s->n && ok; i++) {
        soma_tensor *x = s->tensors[i];
        size_t k = 0, bytes = (size_t)soma_numel(x) * soma_dtype_size(soma_dtype_of(x));
        while (types[k].dtype != (int)soma_dtype_of(x))
            k++;
        ok = soma__json_put_string(t, s->names[i]);
        soma__text_add(t, ":{\"dtype\":\"%s\",\"shape\":[", types[k].text);
        for (int d = 0; d < soma_ndim(x); d++)
            soma__text_add(t, d > 0 ? ",%lld" : "%lld", (long long)soma_size(x, d));
        soma__text_add(t, "],\"data_offsets\":[%zu,%zu]}%s", at, at + bytes, i + 1 < s->n ? "," : "");
        at += bytes;
    }
    if (!ok)
        return soma_fail(SOMA_EINVAL, "%s: a tensor's name or a piece of metadata is not valid UTF-8", s->path);
    soma__text_put(t, "}", 1);
    soma__text_add(t, "%*s", (int)((64 - t->size % 64) % 64), "");
    if (t->failed)
        return SOMA_ENOMEM;
    uint64_t length = t->size - 8;
    if (length > HEADER_LIMIT)
        return soma_fail(SOMA_EINVAL, "%s: names and metadata take %llu bytes, and the format allows 100 MB", s->path,
                         (unsigned long long)length);
    for (int i = 0; i < 8; i++)
        t->data[i] = (char)(length >> (8 * i) & 255);
    return SOMA_OK;
}

soma_status soma_safetensors_write(const char *path, const char *const *names, soma_tensor *const *tensors, int n,
                                   const soma_pair *meta, int n_meta, bool checksum) {
    if (path == NULL || n < 0 || n_meta < 0 || (n > 0 && (names == NULL || tensors == NULL)) ||
        (n_meta > 0 && meta == NULL))
        return soma_fail(SOMA_EINVAL, "soma_safetensors_write: no path, names, tensors or metadata");
    save s = {.path = path, .names = names, .tensors = tensors, .n = n, .meta = meta, .n_meta = n_meta};
    soma_status status = check_names(&s);
    for (int i = 0; i < n_meta && checksum && status == SOMA_OK; i++)
        if (strcmp(meta[i].key, CHECKSUM_KEY) == 0)
            status = soma_fail(SOMA_EINVAL, "%s: the metadata key " CHECKSUM_KEY " is the checksum's", path);
    char hex[65] = "";
    if (status == SOMA_OK && checksum) {
        soma__sha256 sum;
        uint8_t digest[32];
        soma__sha256_start(&sum);
        status = put_elements(&s, NULL, &sum);
        soma__sha256_end(&sum, digest);
        soma__sha256_text(digest, hex);
    }
    soma__text header = {0};
    if (status == SOMA_OK)
        status = put_header(&s, &header, checksum ? hex : NULL);
    if (status == SOMA_OK) {
        soma__writer w;
        status = soma__writer_open(&w, path);
        if (status == SOMA_OK)
            status = soma__writer_put(&w, header.data, header.size);
        if (status == SOMA_OK)
            status = put_elements(&s, &w, NULL);
        if (status == SOMA_OK)
            status = soma__writer_close(&w);
        else
            soma__writer_abort(&w);
    }
    soma__text_free(&header);
    return status;
}
