/* CSV tables: RFC 4180 with all its line ends and quotes, damaged ones with their messages, numbers. */
#include "io_help.h"

#include <locale.h>
#include <math.h>

static soma_csv *parse(const char *text) { return soma_csv_parse(text, strlen(text), "t.csv"); }

static void check_cells(const char *text, int64_t rows, int columns, const char *const *cells) {
    soma_csv *c = parse(text);
    check_ok();
    assert_int_equal(soma_csv_rows(c), rows);
    assert_int_equal(soma_csv_columns(c), columns);
    for (int64_t r = -1; r < rows; r++)
        for (int k = 0; k < columns; k++)
            assert_string_equal(r < 0 ? soma_csv_header(c, k) : soma_csv_cell(c, r, k), cells[(r + 1) * columns + k]);
    soma_csv_free(c);
}
#define CELLS(...) ((const char *const[]){__VA_ARGS__})

static void test_forms(void **state) {
    (void)state;
    check_cells("a,b\n1,2\n", 1, 2, CELLS("a", "b", "1", "2"));
    check_cells("a,b\r\n1,2\r\n", 1, 2, CELLS("a", "b", "1", "2"));
    check_cells("a,b\r1,2\r", 1, 2, CELLS("a", "b", "1", "2"));
    check_cells("a,b\n1,2", 1, 2, CELLS("a", "b", "1", "2"));
    check_cells("\xEF\xBB\xBF"
                "a,b\n1,2",
                1, 2, CELLS("a", "b", "1", "2"));
    check_cells("a\n", 0, 1, CELLS("a"));
    check_cells("a", 0, 1, CELLS("a"));
    check_cells("a,b\n,\n\n\r\n1,\n", 2, 2, CELLS("a", "b", "", "", "1", ""));
    check_cells("a,\n1,", 1, 2, CELLS("a", "", "1", ""));
    check_cells("\"a\",\"b c\"\n\"1\",\"\"\n", 1, 2, CELLS("a", "b c", "1", ""));
    check_cells("a,b\n\"x,\"\"y\"\"\r\nz\",\"\"\"\"", 1, 2, CELLS("a", "b", "x,\"y\"\r\nz", "\""));
    check_cells("a,b\n 5\" , x \n", 1, 2, CELLS("a", "b", " 5\" ", " x "));
    check_cells("ä,€\n\"\"\"\"\"\",ü", 1, 2, CELLS("ä", "€", "\"\"", "ü"));
    check_cells("id\n\"\"\n7\n", 2, 1, CELLS("id", "", "7"));
}

#define check_parse_error(text, part) check_parse_error_n(text, sizeof(text) - 1, part)
static void check_parse_error_n(const char *text, size_t n, const char *part) {
    assert_null(soma_csv_parse(text, n, "t.csv"));
    check_error(SOMA_EFORMAT, part);
}

static void test_errors(void **state) {
    (void)state;
    check_parse_error("", "t.csv: empty");
    check_parse_error("\n\n", "t.csv: empty");
    check_parse_error("a,b\n1,2\n3\n", "t.csv:3: 1 cells, and the header has 2");
    check_parse_error("a,b\n1,2,3\n", "t.csv:2: 3 cells, and the header has 2");
    check_parse_error("a,b\n\"x\ny\",2\n3\n", "t.csv:4: 1 cells");
    check_parse_error("a\n\"x\ny", "t.csv:2: a quote is opened here");
    check_parse_error("a\n\"", "t.csv:2: a quote is opened here");
    check_parse_error("a\n\"x\"y\n", "t.csv:2: text behind the closing quote");
    check_parse_error("a\n\0\n", "t.csv:2: a zero byte");
    check_parse_error("a\nM\xFCller\n", "t.csv:2: byte 0xFC is not valid UTF-8");
    check_parse_error("\xFF\xFE"
                      "a\0",
                      "t.csv: UTF-16");
    assert_null(soma_csv_read(temporary("none.csv")));
    check_error(SOMA_ENOTFOUND, "none.csv");
    assert_null(soma_csv_parse(NULL, 3, "x"));
    check_error(SOMA_EINVAL, "");
}

static void test_access(void **state) {
    (void)state;
    soma_csv *c = parse("id,label\n\n5,x\n\"6\n\",y\n7,z\n");
    assert_int_equal(soma_csv_rows(c), 3);
    assert_int_equal(soma_csv_line(c, 0), 3);
    assert_int_equal(soma_csv_line(c, 1), 4);
    assert_int_equal(soma_csv_line(c, 2), 6);
    assert_int_equal(soma_csv_find(c, "label"), 1);
    assert_int_equal(soma_csv_find(c, "nothing"), -1);
    assert_null(soma_csv_cell(c, 3, 0));
    assert_null(soma_csv_cell(c, -1, 0));
    assert_null(soma_csv_cell(c, 0, 2));
    assert_null(soma_csv_header(c, -1));
    assert_int_equal(soma_csv_line(c, 3), 0);
    check_ok();
    soma_csv_free(c);
    soma_csv_free(NULL);
    assert_int_equal(soma_csv_rows(NULL), 0);
}

static void check_number(const char *text, double expected) {
    char table[200];
    double v = 0;
    snprintf(table, sizeof table, "x\n\"%s\"\n", text);
    soma_csv *c = parse(table);
    assert_int_equal(soma_csv_number(c, 0, 0, &v), SOMA_OK);
    if (memcmp(&v, &expected, sizeof v) != 0)
        fail_msg("\"%s\" is read as %.17g, expected %.17g", text, v, expected);
    soma_csv_free(c);
}

static void test_numbers(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0",
        "1",
        "-1",
        "+3",
        "0.5",
        ".5",
        "5.",
        "-0",
        "1e3",
        "1E-3",
        "123456789012345",
        "1234567890123456",
        "0.1",
        "0.3",
        "3.141592653589793",
        "2.2250738585072011e-308",
        "1.7976931348623157e308",
        "4.9e-324",
        "9007199254740993",
        "0.000000000000000000000000000123",
        "1e22",
        "1e23",
        "123456789012345e-22",
        "0000000000000000000000001.5",
        "1e-400",
        "8.5e+1",
        "179769313486231570000000000000000000000",
        "100000e-5",
    };
    static const char *const bad[] = {"abc", "1x",   "1,5", "e5",  "1e",    "1e+", ".",  "-",
                                      "--1", "0x10", "nan", "inf", "1e999", "1 2", "NA", "1.2.3"};
    char part[100];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_number(texts[i], strtod(texts[i], NULL));
    check_number(" 12\t", 12);
    for (int i = 0; i < 20000; i++) { /* printed and read again: the same bits, by both ways of conversion */
        uint64_t random = (uint64_t)i * 0x9E3779B97F4A7C15u;
        double v = (double)(int64_t)random / ldexp(1, (int)(random >> 11 & 63));
        snprintf(part, sizeof part, i % 2 ? "%.17g" : "%.9g", v);
        check_number(part, strtod(part, NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char table[100];
        double v;
        snprintf(table, sizeof table, "a,x y\n1,\"%s\"\n", bad[i]);
        snprintf(part, sizeof part, "t.csv:2: column 2 (x y): \"%s\" is not a finite number", bad[i]);
        soma_csv *c = parse(table);
        assert_int_equal(soma_csv_number(c, 0, 1, &v), SOMA_EFORMAT);
        check_error(SOMA_EFORMAT, part);
        soma_csv_free(c);
    }
    double v;
    soma_csv *c = parse("a,b\n,1\n");
    assert_int_equal(soma_csv_number(c, 0, 0, &v), SOMA_EFORMAT);
    check_error(SOMA_EFORMAT, "t.csv:2: column 1 (a) is empty");
    assert_int_equal(soma_csv_number(c, 1, 0, &v), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "row 1, column 0");
    soma_csv_free(c);
}

/* A program with a decimal comma in its locale reads the same numbers. */
static void test_locale(void **state) {
    (void)state;
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL && setlocale(LC_NUMERIC, "fr_FR.UTF-8") == NULL) {
        print_message("[  SKIPPED ] no locale with a decimal comma on this machine\n");
        skip();
    }
    check_number("0.5", 1 / 2.0);
    check_number("1.2345678901234567890", 1.2345678901234567890);
    setlocale(LC_NUMERIC, "C");
}

/* All texts of up to six bytes over the bytes that matter: never a crash, and each good table has its cells in order. */
static void test_small(void **state) {
    (void)state;
    static const char alphabet[] = "a,\"\r\n";
    for (int n = 0; n <= 6; n++) {
        int many = 1;
        for (int i = 0; i < n; i++)
            many *= 5;
        for (int code = 0; code < many; code++) {
            char *text = malloc((size_t)n + 1);
            for (int i = 0, rest = code; i < n; i++, rest /= 5)
                text[i] = alphabet[rest % 5];
            soma_csv *c = soma_csv_parse(text, (size_t)n, "t");
            if (c == NULL) {
                check_error(SOMA_EFORMAT, "t:");
            } else {
                for (int64_t r = 0; r < soma_csv_rows(c); r++)
                    for (int k = 0; k < soma_csv_columns(c); k++)
                        assert_true(strlen(soma_csv_cell(c, r, k)) <= (size_t)n);
            }
            soma_csv_free(c);
            free(text);
        }
    }
}

static bool try_parse(void *arg) {
    soma_csv *c = soma_csv_parse(arg, strlen(arg), "t");
    soma_csv_free(c);
    return c != NULL;
}

static void test_allocations(void **state) {
    (void)state;
    assert_int_equal(fail_each_allocation(try_parse, "a,b\n1,2\n"), 5);
    size_t n = 0;
    char *text = malloc(100000);
    n += (size_t)sprintf(text, "a,b\n");
    while (n < 90000)
        n += (size_t)sprintf(text + n, "%zu,%zu\n", n, n);
    assert_true(fail_each_allocation(try_parse, text) > 8);
    free(text);
}

static void test_file(void **state) {
    (void)state;
    const char *path = temporary("t.csv");
    write_plain(path, "a,b\n1,2", 7); /* the last cell ends with the file */
    soma_csv *c = soma_csv_read(path);
    check_ok();
    assert_string_equal(soma_csv_cell(c, 0, 1), "2");
    soma_csv_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),       cmocka_unit_test(test_errors), cmocka_unit_test(test_access),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_locale), cmocka_unit_test(test_small),
        cmocka_unit_test(test_allocations), cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests_name("csv", tests, NULL, temporary_end);
}
