/* safetensors, npy and IDX: round trips in every dtype, real files, damaged ones with their messages, memory and disk
 * running out. */
#include "io_help.h"

#include "io/io.h"

#include <signal.h>
#include <sys/resource.h>

static soma_tensor *counted(soma_dtype dtype, int ndim, const int64_t *shape) {
    double values[1000];
    int64_t n = 1;
    for (int i = 0; i < ndim; i++)
        n *= shape[i];
    soma_tensor *t = soma_empty(ndim, shape, dtype);
    uint8_t *p = soma_data(t);
    for (int64_t i = 0; i < n; i++) { /* bytes of all kinds; exact values in all dtypes where they are numbers */
        values[i] = dtype == SOMA_BOOL ? (double)(i % 3 == 0) : (double)(i % 100) - (dtype == SOMA_U8 ? 0 : 50);
        double v = values[i];
        int64_t k = (int64_t)v;
        uint32_t bits;
        float f = (float)v;
        memcpy(&bits, &f, 4);
        switch (dtype) {
        case SOMA_F32: memcpy(p + 4 * i, &f, 4); break;
        case SOMA_F64: memcpy(p + 8 * i, &v, 8); break;
        case SOMA_F16: memcpy(p + 2 * i, &(uint16_t){(uint16_t)(0x3C00 + i % 5)}, 2); break;
        case SOMA_BF16: memcpy(p + 2 * i, &(uint16_t){(uint16_t)(bits >> 16)}, 2); break;
        case SOMA_I64: memcpy(p + 8 * i, &k, 8); break;
        case SOMA_I32: memcpy(p + 4 * i, &(int32_t){(int32_t)k}, 4); break;
        case SOMA_I16: memcpy(p + 2 * i, &(int16_t){(int16_t)k}, 2); break;
        default: p[i] = (uint8_t)k; break;
        }
    }
    return t;
}

static void check_same(soma_tensor *a, soma_tensor *b) {
    check_ok();
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(soma_dtype_of(a), soma_dtype_of(b));
    assert_int_equal(soma_ndim(a), soma_ndim(b));
    for (int i = 0; i < soma_ndim(a); i++)
        assert_int_equal(soma_size(a, i), soma_size(b, i));
    assert_memory_equal(soma_data(a), soma_data(b), (size_t)soma_numel(a) * soma_dtype_size(soma_dtype_of(a)));
}

/* A view of [2, 3] as [3, 2] through strides, which writers must put in order. */
static float transposed_data[] = {1, 2, 3, 4, 5, 6};
static soma_tensor *transposed(void) {
    return soma_from_memory(transposed_data, 2, (int64_t[]){3, 2}, (int64_t[]){1, 3}, SOMA_F32, NULL, NULL);
}

/* ---- safetensors -------------------------------------------------------------------------------------------------- */

static void test_safetensors_round_trip(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("all.safetensors");
    const char *names[SOMA_DTYPE_COUNT + 3];
    soma_tensor *tensors[SOMA_DTYPE_COUNT + 3];
    int n = 0;
    for (; n < SOMA_DTYPE_COUNT; n++) {
        names[n] = soma_dtype_name((soma_dtype)n);
        tensors[n] = counted((soma_dtype)n, 3, (int64_t[]){2, 3, 5});
    }
    names[n] = "scalar", tensors[n++] = counted(SOMA_F32, 0, NULL);
    names[n] = "nothing ä \"\\\n", tensors[n++] = counted(SOMA_I64, 2, (int64_t[]){0, 4});
    names[n] = "transposed", tensors[n++] = transposed();
    soma_pair meta[] = {{"net", "linear 10"}, {"line", "a\nb"}};
    for (int checksum = 0; checksum < 2; checksum++) {
        assert_int_equal(soma_safetensors_write(path, names, tensors, n, meta, 2, checksum), SOMA_OK);
        soma_tensor_file *f = soma_safetensors_read(path);
        check_ok();
        assert_int_equal(soma_safetensors_count(f), n);
        for (int i = 0; i < n - 1; i++) {
            assert_string_equal(soma_safetensors_name(f, i), names[i]);
            check_same(soma_safetensors_get(f, names[i]), tensors[i]);
        }
        soma_tensor *t = soma_safetensors_get(f, "transposed");
        assert_memory_equal(soma_data(t), ((float[]){1, 4, 2, 5, 3, 6}), 24);
        assert_string_equal(soma_safetensors_meta(f, "net"), "linear 10");
        assert_string_equal(soma_safetensors_meta(f, "line"), "a\nb");
        assert_null(soma_safetensors_meta(f, "other"));
        assert_int_equal(soma_safetensors_meta(f, "soma.sha256") != NULL, checksum);
        check_ok();
        assert_null(soma_safetensors_get(f, "other"));
        check_error(SOMA_ENOTFOUND, "all.safetensors: has no tensor \"other\"");
        soma_safetensors_free(f);
    }
    assert_int_equal(soma_safetensors_write(path, NULL, NULL, 0, NULL, 0, false), SOMA_OK);
    soma_tensor_file *f = soma_safetensors_read(path);
    check_ok();
    assert_int_equal(soma_safetensors_count(f), 0);
    soma_safetensors_free(f);
    soma_safetensors_free(NULL);
    soma_scope_end(scope);
}

/* The bytes themselves, by the format's description: length, JSON, blanks up to 64, little-endian elements. */
static void test_safetensors_bytes(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("bytes.safetensors");
    soma_tensor *t = soma_from_array((int16_t[]){1, -2}, 1, (int64_t[]){2}, SOMA_I16);
    const char *name = "w";
    assert_int_equal(soma_safetensors_write(path, &name, &t, 1, NULL, 0, false), SOMA_OK);
    soma_bytes b;
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    const char *header = "{\"w\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
    assert_int_equal(b.size, 64 + 4);
    assert_memory_equal(b.data, "\x38\0\0\0\0\0\0\0", 8); /* 56 */
    assert_memory_equal(b.data + 8, header, strlen(header));
    for (size_t i = 8 + strlen(header); i < 64; i++)
        assert_int_equal(b.data[i], ' ');
    assert_memory_equal(b.data + 64, "\1\0\xFE\xFF", 4);
    soma_bytes_free(&b);
    soma_scope_end(scope);
}

static void test_safetensors_write_errors(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("errors.safetensors");
    soma_tensor *t = counted(SOMA_F32, 1, (int64_t[]){2}), *two[] = {t, t}, *none[] = {t, NULL};
    const char *same[] = {"a", "a"}, *reserved[] = {"__metadata__"}, *bad[] = {"\xFF"}, *names[] = {"a", "b"};
    assert_int_equal(soma_safetensors_write(path, same, two, 2, NULL, 0, false), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "the name \"a\" occurs twice");
    assert_int_equal(soma_safetensors_write(path, reserved, two, 1, NULL, 0, false), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "__metadata__");
    assert_int_equal(soma_safetensors_write(path, bad, two, 1, NULL, 0, false), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "UTF-8");
    assert_int_equal(soma_safetensors_write(path, names, none, 2, NULL, 0, false), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "tensor 2 of 2 to be saved has no value");
    soma_pair meta[] = {{"soma.sha256", "0"}, {"k", NULL}};
    assert_int_equal(soma_safetensors_write(path, names, two, 2, meta, 1, true), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "soma.sha256");
    assert_int_equal(soma_safetensors_write(path, names, two, 2, meta, 2, false), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "metadata 2 of 2");
    assert_int_equal(soma_safetensors_write(temporary("no/x"), names, two, 2, NULL, 0, true), SOMA_EIO);
    check_error(SOMA_EIO, "no/x");
    assert_int_equal(access(path, F_OK), -1); /* nothing was written by all that */
    soma_scope_end(scope);
}

static void check_header(const char *json, size_t elements, const char *part) {
    uint8_t bytes[1000] = {0};
    size_t n = strlen(json);
    bytes[0] = (uint8_t)n, bytes[1] = (uint8_t)(n >> 8);
    memcpy(bytes + 8, json, n);
    soma_tensor_file *f = soma_safetensors_parse(bytes, 8 + n + elements, "s");
    if (part == NULL) {
        check_ok();
        assert_non_null(f);
        soma_safetensors_free(f);
        return;
    }
    assert_null(f);
    check_error(SOMA_EFORMAT, part);
}

static void test_safetensors_headers(void **state) {
    (void)state;
    check_header("{}", 0, NULL);
    check_header("{}   ", 0, NULL);
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL);
    check_header("{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
                 "\"data_offsets\":[0,8]}}",
                 9, NULL);
    check_header(" {}", 0, "must begin with {");
    check_header("[]", 0, "must begin with {");
    check_header("{", 0, "not a safetensors file");
    check_header("{]", 0, "damaged JSON");
    check_header("{}", 1, "1 bytes behind the last tensor");
    check_header("{\"a\":1}", 0, "tensor \"a\": an object with dtype, shape and data_offsets");
    check_header("{\"a\":{\"dtype\":\"X\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
                 "a dtype that the format does not have");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "a size that is negative");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4,
                 "a size that is negative, no whole number");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,4]}}", 4,
                 "makes the tensor too large");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4611686018427387904],\"data_offsets\":[0,0]}}", 0,
                 "makes the tensor too large");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
                 "damaged JSON");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "data_offsets must be");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets must be");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "do not agree");
    check_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
                 "behind the end of the file (truncated?)");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, "a hole before its elements");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],"
                 "\"data_offsets\":[1,3]}}",
                 3, "overlap");
    check_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"a\":{\"dtype\":\"U8\",\"shape\":[0],"
                 "\"data_offsets\":[0,0]}}",
                 0, "damaged JSON");
    check_header("{\"__metadata__\":{\"k\":1}}", 0, "__metadata__ \"k\" is no text");
    check_header("{\"__metadata__\":[]}", 0, "__metadata__ must be an object");
    check_header("{\"__metadata__\":{\"soma.sha256\":\"00\"}}", 0, "the checksum does not agree");
}

static void test_safetensors_unsupported(void **state) {
    (void)state;
    const char *json = "{\"a\":{\"dtype\":\"U32\",\"shape\":[],\"data_offsets\":[0,4]},"
                       "\"b\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[4,5]}}";
    uint8_t bytes[500] = {(uint8_t)strlen(json)};
    memcpy(bytes + 8, json, strlen(json));
    soma_tensor_file *f = soma_safetensors_parse(bytes, 8 + strlen(json) + 5, "s");
    check_ok();
    assert_null(soma_safetensors_get(f, "a"));
    check_error(SOMA_EUNSUPPORTED, "s: tensor \"a\" is of dtype U32, which soma does not have");
    assert_null(soma_safetensors_get(f, "b"));
    check_error(SOMA_EUNSUPPORTED, "s: tensor \"b\" has 9 dimensions");
    soma_safetensors_free(f);
    assert_null(soma_safetensors_parse("PK\3\4aaaaaaaaaaaaa", 17, "model.pt"));
    check_error(SOMA_EFORMAT, "model.pt: not a safetensors file (a zip archive");
    assert_null(soma_safetensors_parse("abc", 3, "s"));
    check_error(SOMA_EFORMAT, "s: 3 bytes");
}

/* Cut at every length, and each byte changed: never read as if nothing were. With the checksum, no change of an element
 * goes unseen. */
static void test_safetensors_damage(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("damage.safetensors"), *names[] = {"a", "b"};
    soma_tensor *tensors[] = {counted(SOMA_F32, 2, (int64_t[]){2, 3}), counted(SOMA_I8, 1, (int64_t[]){5})};
    assert_int_equal(soma_safetensors_write(path, names, tensors, 2, NULL, 0, true), SOMA_OK);
    soma_bytes b;
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    for (size_t n = 0; n < b.size; n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, b.data, n);
        assert_null(soma_safetensors_parse(cut, n, "cut"));
        check_error(SOMA_EFORMAT, "cut:");
        free(cut);
    }
    size_t elements = b.size - 29;
    for (size_t i = 0; i < b.size; i++) {
        b.data[i] ^= 0x10;
        soma_tensor_file *f = soma_safetensors_parse(b.data, b.size, "changed");
        if (i >= elements) {
            assert_null(f);
            check_error(SOMA_EFORMAT, "checksum");
        }
        soma_safetensors_free(f);
        soma_error_clear();
        b.data[i] ^= 0x10;
    }
    soma_bytes_free(&b);
    soma_scope_end(scope);
}

typedef struct trial {
    const char *path;
    soma_tensor *tensor, *other;
} trial;

static bool try_safetensors_write(void *arg) {
    trial *t = arg;
    const char *names[] = {"a", "b"};
    soma_tensor *tensors[] = {t->tensor, t->other};
    return soma_safetensors_write(t->path, names, tensors, 2, &(soma_pair){"k", "v"}, 1, true) == SOMA_OK;
}

static bool try_safetensors_read(void *arg) {
    soma_scope scope = soma_scope_begin();
    soma_tensor_file *f = soma_safetensors_read(((trial *)arg)->path);
    bool ok = f != NULL && soma_safetensors_get(f, "a") != NULL && soma_safetensors_get(f, "b") != NULL;
    soma_safetensors_free(f);
    soma_scope_end(scope);
    return ok;
}

static void test_safetensors_allocations(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s", temporary("memory.safetensors"));
    soma_scope scope = soma_scope_begin();
    trial t = {path, counted(SOMA_F64, 2, (int64_t[]){3, 4}), transposed()};
    int files = temporary_count();
    assert_true(fail_each_allocation(try_safetensors_write, &t) >= 6);
    assert_int_equal(temporary_count(), files + 1);
    assert_true(fail_each_allocation(try_safetensors_read, &t) >= 6);
    soma_scope_end(scope);
}

static void test_safetensors_disk_full(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("full.safetensors"), *name = "a";
    soma_tensor *small = counted(SOMA_F32, 1, (int64_t[]){3}), *large = soma_empty(1, (int64_t[]){100000}, SOMA_F32);
    memset(soma_data(large), 0, 400000);
    assert_int_equal(soma_safetensors_write(path, &name, &small, 1, NULL, 0, true), SOMA_OK);
    int files = temporary_count();
    struct rlimit was, tiny;
    getrlimit(RLIMIT_FSIZE, &was);
    tiny = was;
    tiny.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tiny);
    soma_status status = soma_safetensors_write(path, &name, &large, 1, NULL, 0, true);
    setrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, SOMA_EIO);
    check_error(SOMA_EIO, "File too large");
    assert_int_equal(temporary_count(), files);
    soma_tensor_file *f = soma_safetensors_read(path);
    check_same(soma_safetensors_get(f, "a"), small);
    soma_safetensors_free(f);
    soma_scope_end(scope);
}

/* What an independent reader, in Python's standard library alone, finds in files written here. */
static void test_independent_reader(void **state) {
    (void)state;
    if (system("python3 -c pass >/dev/null 2>&1") != 0 || access("tools/check_files.py", R_OK) != 0) {
        print_message("[  SKIPPED ] no python3, or not started in the source folder\n");
        skip();
    }
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("seen.safetensors"), *names[] = {"w.ä", "b"};
    soma_tensor *tensors[] = {transposed(), counted(SOMA_BF16, 1, (int64_t[]){7})};
    soma_pair meta = {"net", "linear \"10\""};
    char command[1500], hex[2][65], expected[1000], found[1000];
    assert_int_equal(soma_safetensors_write(path, names, tensors, 2, &meta, 1, true), SOMA_OK);
    assert_int_equal(soma_npy_write(temporary("seen.npy"), tensors[0]), SOMA_OK);
    soma__sha256_hex((float[]){1, 4, 2, 5, 3, 6}, 24, hex[0]);
    soma__sha256_hex(soma_data(tensors[1]), 14, hex[1]);
    snprintf(expected, sizeof expected,
             "w.ä F32 [3, 2] %.16s\nb BF16 [7] %.16s\nchecksum right\nnet = 'linear \"10\"'\n<f4 C (3, 2) %.16s\n",
             hex[0], hex[1], hex[0]);
    snprintf(command, sizeof command,
             "PYTHONIOENCODING=utf-8 python3 tools/check_files.py %s/seen.safetensors %s/seen.npy 2>&1", temporary_folder,
             temporary_folder);
    FILE *f = popen(command, "r");
    size_t n = fread(found, 1, sizeof found - 1, f);
    found[n] = 0;
    assert_int_equal(pclose(f), 0);
    assert_string_equal(found, expected);
    soma_scope_end(scope);
}

/* ---- npy ---------------------------------------------------------------------------------------------------------- */

static void test_npy_round_trip(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("a.npy");
    static const int64_t shape[] = {2, 3, 1, 5};
    for (int ndim = 0; ndim <= 4; ndim++)
        for (int k = 0; k < SOMA_DTYPE_COUNT; k++) {
            soma_tensor *t = counted((soma_dtype)k, ndim, shape);
            assert_int_equal(soma_npy_write(path, t), SOMA_OK);
            soma_tensor *back = soma_npy_read(path);
            if (k != SOMA_BF16) {
                check_same(t, back);
                continue;
            }
            check_ok();
            assert_int_equal(soma_dtype_of(back), SOMA_F32); /* NumPy has no bf16 */
            for (int64_t i = 0; i < soma_numel(t); i++) {
                uint32_t bits;
                memcpy(&bits, (char *)soma_data(back) + 4 * i, 4);
                assert_int_equal(bits, (uint32_t)((uint16_t *)soma_data(t))[i] << 16);
            }
        }
    assert_int_equal(soma_npy_write(path, transposed()), SOMA_OK);
    soma_tensor *t = soma_npy_read(path);
    assert_memory_equal(soma_data(t), ((float[]){1, 4, 2, 5, 3, 6}), 24);
    assert_int_equal(soma_size(t, 0), 3);
    assert_int_equal(soma_npy_write(path, counted(SOMA_U8, 2, (int64_t[]){0, 7})), SOMA_OK);
    t = soma_npy_read(path);
    assert_int_equal(soma_size(t, 1), 7);
    assert_int_equal(soma_npy_write(path, NULL), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "no tensor");
    soma_scope_end(scope);
}

/* The file's first bytes as NumPy 1.24 writes them for numpy.zeros((2, 3), 'float32'). */
static void test_npy_bytes(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    const char *path = temporary("bytes.npy");
    const char *header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    soma_bytes b;
    assert_int_equal(soma_npy_write(path, counted(SOMA_F32, 2, (int64_t[]){2, 3})), SOMA_OK);
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    assert_int_equal(b.size, 128 + 24);
    assert_memory_equal(b.data, "\x93NUMPY\x01\x00\x76\x00", 10);
    assert_memory_equal(b.data + 10, header, strlen(header));
    assert_int_equal(b.data[126], ' ');
    assert_int_equal(b.data[127], '\n');
    soma_bytes_free(&b);
    soma_scope_end(scope);
}

static soma_tensor *npy(int version, const char *header, const void *data, size_t n) {
    uint8_t bytes[1000] = "\x93NUMPY";
    size_t length = strlen(header), at = 8;
    bytes[6] = (uint8_t)version;
    bytes[at++] = (uint8_t)length, bytes[at++] = (uint8_t)(length >> 8);
    if (version > 1)
        at += 2;
    memcpy(bytes + at, header, length);
    memcpy(bytes + at + length, data, n);
    return soma_npy_parse(bytes, at + length + n, "n");
}

static void test_npy_forms(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    uint8_t eight[] = {0, 1, 2, 3, 4, 5, 6, 7};
    soma_tensor *t = npy(1, "{'descr': '>i2', 'fortran_order': False, 'shape': (4,), }\n", eight, 8);
    assert_memory_equal(soma_data(t), ((int16_t[]){0x0001, 0x0203, 0x0405, 0x0607}), 8);
    t = npy(2, "{'descr': '>i4', 'fortran_order': False, 'shape': (2,), }  \n", eight, 8);
    assert_memory_equal(soma_data(t), ((int32_t[]){0x00010203, 0x04050607}), 8);
    t = npy(3, "{\"shape\":(),\"fortran_order\":False,\"descr\":\">i8\"}", eight, 8);
    assert_int_equal(*(int64_t *)soma_data(t), 0x0001020304050607);
    assert_int_equal(soma_ndim(t), 0);
    /* columns first: [[0, 2, 4, 6], [1, 3, 5, 7]] */
    t = npy(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 4), }", eight, 8);
    assert_memory_equal(soma_data(t), ((uint8_t[]){0, 2, 4, 6, 1, 3, 5, 7}), 8);
    t = npy(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2, 2), }", eight, 8);
    assert_memory_equal(soma_data(t), ((uint8_t[]){0, 4, 2, 6, 1, 5, 3, 7}), 8);
    t = npy(1, "{'descr': '>u2', 'fortran_order': False, 'shape': (4L,)}", eight, 8);
    check_error(SOMA_EUNSUPPORTED, "n: elements of type '>u2'");
    t = npy(1, "{'descr': '>i2', 'fortran_order': True, 'shape': (2L, 2L)}", eight, 8);
    assert_memory_equal(soma_data(t), ((int16_t[]){0x0001, 0x0405, 0x0203, 0x0607}), 8);
    t = npy(1, "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", "\0\1\7", 3);
    assert_memory_equal(soma_data(t), "\0\1\1", 3);
    assert_int_equal(soma_dtype_of(t), SOMA_BOOL);
    t = npy(1, "{'descr': '<f2', 'fortran_order': True, 'shape': (3, 0), }", "", 0);
    assert_int_equal(soma_dtype_of(t), SOMA_F16);
    check_ok();
    soma_scope_end(scope);
}

static void test_npy_errors(void **state) {
    (void)state;
    static const struct {
        const char *header;
        soma_status status;
        const char *part;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", SOMA_EFORMAT,
         "n: too long: the header says [2] of f32, and 16 bytes follow"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", SOMA_EFORMAT,
         "n: truncated: the header says [5] of f32"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", SOMA_EFORMAT, "truncated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904)}", SOMA_EFORMAT, "truncated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", SOMA_EFORMAT, "a smaller size"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}", SOMA_EFORMAT, "a size was expected at character 52"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}", SOMA_EFORMAT, "a comma or )"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 4}", SOMA_EFORMAT, "the shape, a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,4)}", SOMA_EUNSUPPORTED,
         "more than 8 dimensions"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}", SOMA_EFORMAT, "True or False"},
        {"{'descr': '<f4', 'fortran_order': False}", SOMA_EFORMAT, "descr, fortran_order and shape were"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (4,)}", SOMA_EFORMAT, "each once"},
        {"{'descr': '<f4', 'other': False, 'shape': (4,)}", SOMA_EFORMAT, "each once"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,)}", SOMA_EUNSUPPORTED, "elements of type '<c8'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", SOMA_EUNSUPPORTED, "Python objects"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}", SOMA_EUNSUPPORTED, "structured"},
        {"{'descr': '<f4", SOMA_EFORMAT, "a closing quote"},
        {"{'descr' '<f4'}", SOMA_EFORMAT, "a colon"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,)} x", SOMA_EFORMAT, "the header's end"},
        {"", SOMA_EFORMAT, "{ was expected"},
    };
    soma_scope scope = soma_scope_begin();
    for (size_t i = 0; i < SOMA_LEN(cases); i++) {
        assert_null(npy(1, cases[i].header, (uint8_t[16]){0}, 16));
        check_error(cases[i].status, cases[i].part);
    }
    assert_null(npy(4, "", "", 0));
    check_error(SOMA_EUNSUPPORTED, "n: .npy format version 4.0");
    assert_null(soma_npy_parse("PK\3\4............", 16, "x.npz"));
    check_error(SOMA_EFORMAT, "x.npz: not a .npy file (a zip archive");
    const char *path = temporary("cut.npy");
    soma_bytes b;
    assert_int_equal(soma_npy_write(path, counted(SOMA_F32, 2, (int64_t[]){2, 3})), SOMA_OK);
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    for (size_t n = 0; n < b.size; n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, b.data, n);
        assert_null(soma_npy_parse(cut, n, "cut"));
        check_error(SOMA_EFORMAT, "cut:");
        free(cut);
    }
    soma_bytes_free(&b);
    soma_scope_end(scope);
}

static bool try_npy(void *arg) {
    trial *t = arg;
    soma_scope scope = soma_scope_begin();
    bool ok = soma_npy_write(t->path, t->other) == SOMA_OK && soma_npy_read(t->path) != NULL;
    soma_scope_end(scope);
    return ok;
}

static void test_npy_allocations(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s", temporary("memory.npy"));
    soma_scope scope = soma_scope_begin();
    trial t = {path, NULL, transposed()};
    assert_true(fail_each_allocation(try_npy, &t) >= 5);
    soma_scope_end(scope);
}

/* ---- IDX ---------------------------------------------------------------------------------------------------------- */

static void test_idx_forms(void **state) {
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *t = soma_idx_parse("\0\0\x08\1\0\0\0\3\1\2\xFF", 11, "i");
    assert_int_equal(soma_dtype_of(t), SOMA_U8);
    assert_memory_equal(soma_data(t), "\1\2\xFF", 3);
    t = soma_idx_parse("\0\0\x0B\2\0\0\0\2\0\0\0\1\1\2\xFF\xFE", 16, "i");
    assert_int_equal(soma_dtype_of(t), SOMA_I16);
    assert_memory_equal(soma_data(t), ((int16_t[]){258, -2}), 4);
    t = soma_idx_parse("\0\0\x0C\1\0\0\0\1\xFF\xFF\xFF\xFD", 12, "i");
    assert_int_equal(*(int32_t *)soma_data(t), -3);
    t = soma_idx_parse("\0\0\x0D\1\0\0\0\1\x3F\x80\0\0", 12, "i");
    assert_true(*(float *)soma_data(t) == 1.0f);
    t = soma_idx_parse("\0\0\x0E\1\0\0\0\1\x3F\xF0\0\0\0\0\0\0", 16, "i");
    assert_true(*(double *)soma_data(t) == 1.0);
    t = soma_idx_parse("\0\0\x09\1\0\0\0\0", 8, "i");
    assert_int_equal(soma_dtype_of(t), SOMA_I8);
    assert_int_equal(soma_numel(t), 0);
    check_ok();
    soma_scope_end(scope);
}

static void check_idx(const void *bytes, size_t n, const char *part) {
    assert_null(soma_idx_parse(bytes, n, "i"));
    check_error(SOMA_EFORMAT, part);
}

static void test_idx_errors(void **state) {
    (void)state;
    check_idx("", 0, "i: 0 bytes");
    check_idx("\0\0\x08", 3, "i: 3 bytes");
    check_idx("abcd", 4, "i: not an IDX file: it begins with 61 62 63");
    check_idx("\0\0\x0A\1\0\0\0\0", 8, "not an IDX file");
    check_idx("\0\0\x08\0", 4, "i: 0 dimensions");
    check_idx("\0\0\x08\x09", 4, "i: 9 dimensions");
    check_idx("\0\0\x08\2\0\0\0\1", 8, "i: ends in the middle of its 2 sizes");
    check_idx("\0\0\x08\1\0\0\0\3\1\2", 10, "i: truncated: the header says [3] of u8, and 2 bytes follow");
    check_idx("\0\0\x08\1\0\0\0\1\1\2", 10, "i: too long: the header says [1] of u8, and 2 bytes follow");
    check_idx("\0\0\x0E\3\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16, "i: truncated");
    /* no elements, and strides that no number holds */
    check_idx("\0\0\x08\4\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 20, "i: truncated");
    check_idx("\x1F\x8B\x08", 3, "i: ends in the middle of its gzip data");
    assert_null(soma_idx_read(temporary("none")));
    check_error(SOMA_ENOTFOUND, "none");
}

/* The real files, whose first labels and sums are known. */
static void test_idx_real(void **state) {
    (void)state;
    char path[700];
    snprintf(path, sizeof path, "%s/data/fashion-mnist/t10k-labels-idx1-ubyte.gz", shared_data());
    if (access(path, R_OK) != 0) {
        print_message("[  SKIPPED ] no %s: set SOMA_SHARED to the folder with the test data\n", path);
        skip();
    }
    soma_scope scope = soma_scope_begin();
    soma_tensor *labels = soma_idx_read(path);
    check_ok();
    assert_int_equal(soma_numel(labels), 10000);
    int counts[10] = {0};
    for (int i = 0; i < 10000; i++)
        counts[((uint8_t *)soma_data(labels))[i] % 10]++;
    for (int i = 0; i < 10; i++)
        assert_int_equal(counts[i], 1000);
    snprintf(path, sizeof path, "%s/data/fashion-mnist/t10k-images-idx3-ubyte.gz", shared_data());
    soma_tensor *images = soma_idx_read(path);
    check_ok();
    assert_int_equal(soma_ndim(images), 3);
    assert_int_equal(soma_size(images, 0), 10000);
    assert_int_equal(soma_size(images, 1), 28);
    assert_int_equal(soma_size(images, 2), 28);
    assert_int_equal(soma_dtype_of(images), SOMA_U8);
    soma_scope_end(scope);
}

static bool try_idx(void *arg) {
    soma_scope scope = soma_scope_begin();
    bool ok = soma_idx_read(arg) != NULL;
    soma_scope_end(scope);
    return ok;
}

static void test_idx_allocations(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s", temporary("memory.idx"));
    write_plain(path, "\0\0\x08\1\0\0\0\3\1\2\xFF", 11);
    assert_true(fail_each_allocation(try_idx, path) >= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors_round_trip),
        cmocka_unit_test(test_safetensors_bytes),
        cmocka_unit_test(test_safetensors_write_errors),
        cmocka_unit_test(test_safetensors_headers),
        cmocka_unit_test(test_safetensors_unsupported),
        cmocka_unit_test(test_safetensors_damage),
        cmocka_unit_test(test_safetensors_allocations),
        cmocka_unit_test(test_safetensors_disk_full),
        cmocka_unit_test(test_independent_reader),
        cmocka_unit_test(test_npy_round_trip),
        cmocka_unit_test(test_npy_bytes),
        cmocka_unit_test(test_npy_forms),
        cmocka_unit_test(test_npy_errors),
        cmocka_unit_test(test_npy_allocations),
        cmocka_unit_test(test_idx_forms),
        cmocka_unit_test(test_idx_errors),
        cmocka_unit_test(test_idx_real),
        cmocka_unit_test(test_idx_allocations),
    };
    return cmocka_run_group_tests_name("tensor files", tests, NULL, temporary_end);
}
