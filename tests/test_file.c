/* Whole files, gzip, atomic writing, SHA-256, JSON, text checks. */
#include "io_help.h"

#include "io/io.h"
#include "io/json.h"

#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <zlib.h>

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

static void test_read(void **state) {
    (void)state;
    const char *path = temporary("a");
    soma_bytes b;
    write_plain(path, "hello", 5);
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    assert_int_equal(b.size, 5);
    assert_string_equal((char *)b.data, "hello"); /* with a final 0 */
    soma_bytes_free(&b);
    assert_null(b.data);
    assert_int_equal(soma_read_file(path, false, 5, &b), SOMA_OK);
    soma_bytes_free(&b);
    assert_int_equal(soma_read_file(path, false, 4, &b), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "/a: larger than the 4 bytes");
    write_plain(path, "", 0);
    assert_int_equal(soma_read_file(path, true, 0, &b), SOMA_OK);
    assert_int_equal(b.size, 0);
    assert_non_null(b.data);
    soma_bytes_free(&b);
    assert_int_equal(soma_read_file(temporary("none"), false, 0, &b), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "/none: cannot open: No such file");
    assert_int_equal(soma_read_file(temporary_folder, false, 0, &b), SOMA_EIO);
    check_error(SOMA_EIO, ": is a folder");
    assert_int_equal(soma_read_file(NULL, false, 0, &b), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "no path");
    soma_bytes_free(NULL);
}

/* Sizes that the system does not tell: /proc says 0, a pipe nothing. */
static void test_read_unsized(void **state) {
    (void)state;
    soma_bytes b;
    if (access("/proc/self/status", R_OK) == 0) {
        assert_int_equal(soma_read_file("/proc/self/status", false, 0, &b), SOMA_OK);
        assert_true(b.size > 100);
        soma_bytes_free(&b);
    }
    const char *path = temporary("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    pid_t child = fork();
    if (child == 0) {
        static char block[300000];
        int fd = open(path, O_WRONLY);
        memset(block, 'x', sizeof block);
        _exit(write(fd, block, sizeof block) == (ssize_t)sizeof block ? 0 : 1);
    }
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    assert_int_equal(b.size, 300000);
    soma_bytes_free(&b);
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
}

static size_t gzip(const void *data, size_t n, uint8_t *out, size_t room) {
    z_stream z = {0};
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)(uintptr_t)data, z.avail_in = (uInt)n;
    z.next_out = out, z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static soma_status unpack(const void *data, size_t n, size_t limit, soma_bytes *out) {
    return soma__gunzip(data, n, limit, "z", out);
}

static void test_gzip(void **state) {
    (void)state;
    static char text[100000];
    static uint8_t packed[20000];
    soma_bytes b;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 7 + i / 1000 % 5);
    size_t n = gzip(text, sizeof text, packed, 9000);
    assert_int_equal(unpack(packed, n, sizeof text, &b), SOMA_OK);
    assert_int_equal(b.size, sizeof text);
    assert_memory_equal(b.data, text, sizeof text);
    soma_bytes_free(&b);
    /* two members, then a tape's zeros */
    memcpy(packed + n, packed, n);
    memset(packed + 2 * n, 0, 512);
    assert_int_equal(unpack(packed, 2 * n + 512, SIZE_MAX, &b), SOMA_OK);
    assert_int_equal(b.size, 2 * sizeof text);
    assert_memory_equal(b.data + sizeof text, text, sizeof text);
    soma_bytes_free(&b);
    assert_int_equal(unpack(packed, n, sizeof text - 1, &b), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "z: unpacks to more than the 99999 bytes");
    packed[n] = 'x';
    assert_int_equal(unpack(packed, n + 1, SIZE_MAX, &b), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "z: there are 1 bytes of something else");
    for (size_t cut = 3; cut < n; cut++) {
        assert_int_equal(unpack(packed, cut, SIZE_MAX, &b), SOMA_EFORMAT);
        check_error(SOMA_EFORMAT, "z: ends in the middle");
    }
    packed[n - 6] ^= 1; /* the CRC */
    assert_int_equal(unpack(packed, n, SIZE_MAX, &b), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "z: damaged gzip data (incorrect data check)");
    packed[n - 6] ^= 1;
    const char *path = temporary("a.gz");
    write_plain(path, packed, n);
    assert_int_equal(soma_read_file(path, true, 0, &b), SOMA_OK);
    assert_int_equal(b.size, sizeof text);
    soma_bytes_free(&b);
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    assert_int_equal(b.size, n);
    soma_bytes_free(&b);
}

/* The length that a file claims costs nothing before its bytes are there. */
static void test_gzip_claim(void **state) {
    (void)state;
    uint8_t packed[64];
    soma_bytes b;
    size_t n = gzip("x", 1, packed, sizeof packed);
    memset(packed + n - 4, 0xFF, 4);
    soma_memory_reset_peak();
    int64_t before = soma_memory_stats().peak;
    assert_int_equal(unpack(packed, n, SIZE_MAX, &b), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "incorrect length check");
    assert_true(soma_memory_stats().peak - before < 200000);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static void check_contents(const char *path, const char *expected) {
    soma_bytes b;
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    assert_string_equal((char *)b.data, expected);
    soma_bytes_free(&b);
}

static void test_write(void **state) {
    (void)state;
    const char *path = temporary("w"), *link = temporary("w.link");
    int files = temporary_count();
    assert_int_equal(soma_write_file(path, "first", 5), SOMA_OK);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(soma_write_file(path, "second", 6), SOMA_OK);
    check_contents(path, "second");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640); /* kept */
    assert_int_equal(symlink("w", link), 0);
    assert_int_equal(soma_write_file(link, "third", 5), SOMA_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode)); /* the file was replaced, not the link */
    check_contents(path, "third");
    assert_int_equal(soma_write_file(path, NULL, 0), SOMA_OK);
    check_contents(path, "");
    assert_int_equal(temporary_count(), files + 2);
    assert_int_equal(soma_write_file("/dev/null", "x", 1), SOMA_OK);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode)); /* written to, not replaced */
}

static void test_write_errors(void **state) {
    (void)state;
    assert_int_equal(soma_write_file(temporary("no/such/file"), "x", 1), SOMA_EIO);
    check_error(SOMA_EIO, "no/such/file: cannot write: the folder does not exist");
    assert_int_equal(soma_write_file(temporary_folder, "x", 1), SOMA_EIO);
    check_error(SOMA_EIO, "Is a directory");
    assert_int_equal(soma_write_file("", "x", 1), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "no file name");
    assert_int_equal(soma_write_file(NULL, "x", 1), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "no path");
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(soma_write_file("/dev/full", "x", 1), SOMA_EIO);
        check_error(SOMA_EIO, "/dev/full: cannot write: No space left");
    }
    if (geteuid() != 0) { /* root may write anywhere */
        const char *path = temporary("readonly");
        write_plain(path, "old", 3);
        chmod(path, 0400);
        assert_int_equal(soma_write_file(path, "x", 1), SOMA_EIO);
        check_error(SOMA_EIO, "Permission denied");
        check_contents(path, "old");
    }
}

/* A full disk, by the limit on file sizes: the old file stays, the temporary one goes. */
static void test_disk_full(void **state) {
    (void)state;
    const char *path = temporary("full");
    static char large[100000];
    assert_int_equal(soma_write_file(path, "old", 3), SOMA_OK);
    int files = temporary_count();
    struct rlimit was, tiny;
    getrlimit(RLIMIT_FSIZE, &was);
    tiny = was;
    tiny.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tiny);
    soma_status status = soma_write_file(path, large, sizeof large);
    setrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, SOMA_EIO);
    check_error(SOMA_EIO, "/full: cannot write: File too large");
    check_contents(path, "old");
    assert_int_equal(temporary_count(), files);
}

static void test_abort(void **state) {
    (void)state;
    const char *path = temporary("aborted");
    assert_int_equal(soma_write_file(path, "old", 3), SOMA_OK);
    int files = temporary_count();
    soma__writer w;
    assert_int_equal(soma__writer_open(&w, path), SOMA_OK);
    assert_int_equal(soma__writer_put(&w, "new", 3), SOMA_OK);
    assert_int_equal(temporary_count(), files + 1);
    soma__writer_abort(&w);
    assert_int_equal(temporary_count(), files);
    check_contents(path, "old");
}

static bool try_write(void *arg) { return soma_write_file(arg, "x", 1) == SOMA_OK; }

static bool try_gunzip(void *arg) {
    soma_bytes b;
    if (soma_read_file(arg, true, 0, &b) != SOMA_OK)
        return false;
    soma_bytes_free(&b);
    return true;
}

static void test_allocations(void **state) {
    (void)state;
    char path[600];
    uint8_t packed[100];
    snprintf(path, sizeof path, "%s", temporary("memory"));
    assert_true(fail_each_allocation(try_write, path) >= 2);
    write_plain(path, packed, gzip("hello", 5, packed, sizeof packed));
    assert_true(fail_each_allocation(try_gunzip, path) >= 3); /* the file, the result, zlib's */
}

/* ---- SHA-256 ------------------------------------------------------------------------------------------------------ */

static void test_sha256(void **state) {
    (void)state;
    /* FIPS 180-4 examples, and a million times "a" */
    static const char *const two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    char hex[65], other[65];
    uint8_t digest[32];
    for (int portable = 0; portable < 2; portable++) {
        soma__sha256_portable(portable);
        soma__sha256_hex("", 0, hex);
        assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        soma__sha256_hex("abc", 3, hex);
        assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        soma__sha256_hex(two, strlen(two), hex);
        assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        char *as = malloc(1000000);
        memset(as, 'a', 1000000);
        soma__sha256_hex(as, 1000000, hex);
        assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
        for (size_t step = 1; step < 200; step += 13) { /* in pieces, across the blocks' ends */
            soma__sha256 s;
            soma__sha256_start(&s);
            for (size_t at = 0; at < 1000; at += step)
                soma__sha256_add(&s, as + at, at + step > 1000 ? 1000 - at : step);
            soma__sha256_end(&s, digest);
            soma__sha256_text(digest, hex);
            soma__sha256_hex(as, 1000, other);
            assert_string_equal(hex, other);
        }
        free(as);
    }
    for (size_t n = 0; n < 300; n++) { /* both ways agree at every length */
        char data[300];
        memset(data, (int)n, sizeof data);
        soma__sha256_portable(1);
        soma__sha256_hex(data, n, hex);
        soma__sha256_portable(0);
        soma__sha256_hex(data, n, other);
        assert_string_equal(hex, other);
    }
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static void check_json_error(const char *text, const char *part) {
    assert_null(soma__json_parse(text, strlen(text), "j"));
    check_error(SOMA_EFORMAT, part);
}

static void test_json(void **state) {
    (void)state;
    const char *text = "{\"a\": 9007199254740993, \"b\": 0.5, \"c\": \"x\", \"d\": true}";
    json_t *j = soma__json_parse(text, strlen(text), "j");
    check_ok();
    int64_t i;
    double d;
    bool b;
    assert_int_equal(soma__json_int(j, "a", "j", &i), SOMA_OK);
    assert_int_equal(i, 9007199254740993); /* not a double */
    assert_int_equal(soma__json_number(j, "b", "j", &d), SOMA_OK);
    assert_true(d == 0.5);
    assert_string_equal(soma__json_string(j, "c", "j"), "x");
    assert_int_equal(soma__json_bool(j, "d", "j", &b), SOMA_OK);
    assert_true(b);
    assert_int_equal(soma__json_int(j, "b", "j", &i), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "j: the field \"b\" is a number, and a whole number was expected");
    assert_int_equal(soma__json_int(j, "e", "j", &i), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "j: the field \"e\" is missing");
    json_decref(j);
    check_json_error("", "j: empty");
    check_json_error("{\"a\":1,\n\"a\":2}", "j:2:");
    check_json_error("{\"a\":1,}", "damaged JSON");
    check_json_error("[1] x", "damaged JSON");
    check_json_error("[99999999999999999999]", "damaged JSON");
    check_json_error("[\"\xFF\"]", "damaged JSON");
    char deep[2 * SOMA__JSON_DEPTH + 3];
    memset(deep, '[', SOMA__JSON_DEPTH + 1);
    memset(deep + SOMA__JSON_DEPTH + 1, ']', SOMA__JSON_DEPTH + 1);
    deep[2 * SOMA__JSON_DEPTH + 2] = 0;
    check_json_error(deep, "j:1: more than 64 objects and arrays");
    deep[2 * SOMA__JSON_DEPTH + 1] = 0;
    json_decref(j = soma__json_parse(deep + 1, strlen(deep + 1), "j"));
    check_ok();
    char *many = malloc(2 * SOMA__JSON_VALUES + 5);
    many[0] = '[';
    for (size_t k = 0; k < SOMA__JSON_VALUES; k++)
        memcpy(many + 1 + 2 * k, "1,", 2);
    strcpy(many + 1 + 2 * SOMA__JSON_VALUES, "1]");
    check_json_error(many, "more than 2097152 values");
    free(many);
}

static void test_json_writing(void **state) {
    (void)state;
    static const double values[] = {0, 1, -2.5, 0.1, 1e300, 5e-324, 1.0 / 3, 123456789012345680.0};
    soma__text t = {0};
    assert_true(soma__json_put_string(&t, "a\"b\\c\nd\x01 ä"));
    assert_string_equal(t.data, "\"a\\\"b\\\\c\\nd\\u0001 ä\"");
    assert_false(soma__json_put_string(&t, "\xC3"));
    soma__text_free(&t);
    setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* a decimal comma where the machine has that locale */
    for (size_t i = 0; i < SOMA_LEN(values); i++) {
        soma__json_put_number(&t, values[i]);
        setlocale(LC_NUMERIC, "C");
        assert_null(strchr(t.data, ','));
        assert_true(strtod(t.data, NULL) == values[i]);
        setlocale(LC_NUMERIC, "de_DE.UTF-8");
        soma__text_free(&t);
    }
    setlocale(LC_NUMERIC, "C");
    soma__json_put_number(&t, NAN);
    soma__json_put_number(&t, 0.1);
    assert_string_equal(t.data, "null0.1");
    soma__text_free(&t);
}

static void test_utf8(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80",
        "\xC3", "\xE2\x82", "\xC3(",        "\xFF"};
    static const char *const good[] = {"", "abc", "ä", "€", "😀", "12345678ä12345678", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"};
    char quoted[SOMA__QUOTE];
    for (size_t i = 0; i < SOMA_LEN(bad); i++)
        assert_int_equal(soma__utf8_check(bad[i], strlen(bad[i])), 0);
    for (size_t i = 0; i < SOMA_LEN(good); i++)
        assert_int_equal(soma__utf8_check(good[i], strlen(good[i])), strlen(good[i]));
    assert_string_equal(soma__quote("a\nb\xFFä", 6, quoted), "a?b?ä");
    const char *longer = "ääääääääääääääääääääääääääääää";
    soma__quote(longer, strlen(longer), quoted);
    assert_true(strlen(quoted) < SOMA__QUOTE && soma__utf8_check(quoted, strlen(quoted)) == strlen(quoted));
    assert_non_null(strstr(quoted, "…"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),       cmocka_unit_test(test_read_unsized), cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_gzip_claim), cmocka_unit_test(test_write),        cmocka_unit_test(test_write_errors),
        cmocka_unit_test(test_disk_full),  cmocka_unit_test(test_abort),        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_sha256),     cmocka_unit_test(test_json),         cmocka_unit_test(test_json_writing),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, temporary_end);
}
