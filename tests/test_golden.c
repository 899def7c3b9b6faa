/* Every operator that PyTorch has too, against PyTorch: outputs and gradients from tests/golden/ops/ (each file made by the script of its name
 * in tools/golden/; common.py there says what a line means). Both sides compute in f64 but in different orders, so they may differ by rounding:
 * 1e-12 of the value and of the largest element is thousands of roundings, and far below any mistake in a formula. Cases in a narrower dtype are
 * few and are there for its rules; for them it is some tens of the dtype's own roundings. */
#include "check.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>

#include "ops/op.h"

enum { MOST_INPUTS = 32, MOST_OUTPUTS = 64, N_SUMS = 3 };

/* What PyTorch gives: a tensor, or only its dtype and shape (values: f64 on meta's shape, never filled) and sums of its elements. */
typedef struct expected {
    soma_tensor *tensor;
    soma_dtype dtype;
    bool summed;
    double sums[N_SUMS];
} expected;

typedef struct golden {
    char op[64];
    int n_in, n_attrs, n_out, n_grad;
    bool more;     /* outputs that are not compared */
    double within; /* relative error of PyTorch's own numbers, 0: none */
    soma_tensor *in[MOST_INPUTS];
    expected out[MOST_OUTPUTS], grad[MOST_INPUTS];
    soma_attr attrs[SOMA_MAX_ATTRS];
    char names[SOMA_MAX_ATTRS][32], texts[SOMA_MAX_ATTRS][128];
} golden;

static soma_dtype dtype_of(const char *name) {
    for (int d = 0; d < SOMA_DTYPE_COUNT; d++)
        if (strcmp(soma_dtype_name((soma_dtype)d), name) == 0)
            return (soma_dtype)d;
    fail_msg("dtype %s", name);
    return SOMA_F32;
}

/* The same as mix() of tools/golden/common.py: splitmix64's finaliser over (seed, i). */
static uint64_t mix(uint64_t seed, uint64_t i) {
    uint64_t z = seed * 0x9E3779B97F4A7C15u + (i + 1) * 0xD1B54A32D192ED03u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double next_number(char **text) {
    char *end;
    double v = strtod(*text, &end);
    assert_ptr_not_equal(end, *text);
    *text = end;
    return v;
}

static bool starts(char **text, const char *word) {
    size_t n = strlen(word);
    if (strncmp(*text, word, n) != 0)
        return false;
    *text += n;
    return true;
}

static void read_values(double *values, int64_t n, char *text) {
    if (starts(&text, " drawn")) {
        double q = next_number(&text), low = next_number(&text);
        uint64_t span = (uint64_t)next_number(&text), seed = (uint64_t)next_number(&text);
        for (int64_t i = 0; i < n; i++)
            values[i] = (low + (double)(mix(seed, (uint64_t)i) % span)) / q;
        return;
    }
    double q = starts(&text, " of") ? next_number(&text) : 1;
    for (int64_t i = 0; i < n; i++)
        values[i] = next_number(&text) / q;
}

/* "f64 2 3 4 1 2 …": dtype, dimensions, sizes, values. */
static expected read_expected(char *text) {
    char name[8];
    int used, ndim;
    int64_t shape[SOMA_MAX_DIMS] = {0};
    assert_int_equal(sscanf(text, "%7s %d%n", name, &ndim, &used), 2);
    assert_true(ndim <= SOMA_MAX_DIMS);
    text += used;
    for (int i = 0; i < ndim; i++)
        shape[i] = strtoll(text, &text, 10);
    expected e = {.tensor = soma_empty(ndim, shape, SOMA_F64), .dtype = dtype_of(name)};
    check_ok();
    e.summed = starts(&text, " sums");
    if (e.summed)
        for (int k = 0; k < N_SUMS; k++)
            e.sums[k] = next_number(&text);
    else
        read_values(soma_data(e.tensor), soma_numel(e.tensor), text);
    return e;
}

static soma_tensor *read_tensor(char *text) {
    expected e = read_expected(text);
    assert_false(e.summed);
    return soma_to(e.tensor, e.dtype);
}

static void read_attr(golden *g, char *text) {
    soma_attr *a = &g->attrs[g->n_attrs];
    char kind[8];
    int used;
    assert_int_equal(sscanf(text, "%31s %7s%n", g->names[g->n_attrs], kind, &used), 2);
    text += used;
    *a = (soma_attr){.name = g->names[g->n_attrs]};
    if (strcmp(kind, "float") == 0) {
        a->kind = SOMA_ATTR_FLOAT;
        a->value.f = strtod(text, NULL);
    } else if (strcmp(kind, "ints") == 0) {
        a->kind = SOMA_ATTR_INTS;
        for (char *end; a->count < SOMA_MAX_DIMS; text = end) {
            int64_t v = strtoll(text, &end, 10);
            if (end == text)
                break;
            a->value.ints[a->count++] = v;
        }
    } else if (strcmp(kind, "string") == 0) {
        text += *text == ' ';
        snprintf(g->texts[g->n_attrs], sizeof g->texts[0], "%s", text);
        a->kind = SOMA_ATTR_STRING;
        a->value.s = g->texts[g->n_attrs];
    } else {
        a->kind = kind[0] == 'b' ? SOMA_ATTR_BOOL : SOMA_ATTR_INT;
        a->value.i = strtoll(text, NULL, 10);
    }
    g->n_attrs++;
}

static int wrong;

/* Of the value, of the largest element, since a dot product's rounding is that of its largest term, and of 1: what is zero but for
 * rounding has no size of its own. */
static double tolerance(soma_dtype d) {
    switch (d) {
    case SOMA_F64: return 1e-12;
    case SOMA_F32: return 32 * 0x1p-24;
    case SOMA_F16: return 0x1p-11;
    case SOMA_BF16: return 0x1p-8;
    default: return 0;
    }
}

/* NaN and infinities count as numbers that common.py names, so that they have to be at the same places. */
static double counted(double x) { return isnan(x) ? 11 : isinf(x) ? x > 0 ? 13 : -17 : x; }

static bool sums_agree(const double *x, int64_t n, const expected *e, double bound, double *got, int *which) {
    for (int k = 0; k < N_SUMS; k++) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < n; i++) {
            double part = counted(x[i]) * (double)(mix((uint64_t)k, (uint64_t)i) % 1024 + 1) / 1024;
            sum += part;
            size += fabs(part);
        }
        *got = sum;
        *which = k;
        if (!(fabs(sum - e->sums[k]) <= 2 * fmax(bound, 1e-13) * (size + 1)))
            return false;
    }
    return true;
}

static void compare(const golden *g, int number, const char *what, int i, soma_tensor *got, const expected *e) {
    int64_t n = soma_numel(e->tensor);
    double scale = 0, sum, bound = fmax(tolerance(e->dtype), g->within);
    int which;
    bool same = got && soma_ndim(got) == soma_ndim(e->tensor) && soma_numel(got) == n;
    for (int d = 0; same && d < soma_ndim(got); d++)
        same = soma_size(got, d) == soma_size(e->tensor, d);
    same = same && soma_dtype_of(got) == e->dtype;
    if (!same) {
        char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
        print_error("%s, case %d: %s %d is %s, PyTorch's is %s (%s)\n", g->op, number, what, i, got ? soma__tensor_text(got, a) : "absent",
                    soma__tensor_text(e->tensor, b), soma_dtype_name(e->dtype));
        wrong++;
        return;
    }
    double *x = calloc((size_t)n + 1, sizeof *x);
    const double *y = soma_data(e->tensor);
    assert_int_equal(soma_to_array(got, x, n, SOMA_F64), SOMA_OK);
    if (e->summed && !sums_agree(x, n, e, bound, &sum, &which)) {
        print_error("%s, case %d: %s %d, sum %d is %.17g, PyTorch's is %.17g\n", g->op, number, what, i, which, sum, e->sums[which]);
        wrong++;
    }
    for (int64_t k = 0; k < n && !e->summed; k++)
        scale = isfinite(y[k]) ? fmax(scale, fabs(y[k])) : scale;
    for (int64_t k = 0; k < n && !e->summed; k++)
        if (!(x[k] == y[k] || (isnan(x[k]) && isnan(y[k])) || fabs(x[k] - y[k]) <= bound * (fabs(y[k]) + scale + 1))) {
            print_error("%s, case %d: %s %d, element %lld is %.17g, PyTorch's is %.17g\n", g->op, number, what, i, (long long)k, x[k], y[k]);
            wrong++;
            break;
        }
    free(x);
}

/* The gradient of sum(out * w) as the generator defines it. */
static void backward(soma_tensor *const *out, int n) {
    soma_tensor *total = NULL;
    for (int i = 0; i < n; i++) {
        if (!out[i] || !soma_requires_grad(out[i]) || soma_dtype_of(out[i]) != SOMA_F64)
            continue;
        soma_tensor *w = soma_empty(soma_ndim(out[i]), soma_shape(out[i]), soma_dtype_of(out[i]));
        for (int64_t k = 0; k < soma_numel(w); k++)
            ((double *)soma_data(w))[k] = 0.5 + 0.25 * cos(1 + 1.7 * (double)k);
        soma_tensor *part = soma_sum(soma_mul(out[i], w), SOMA_ALL, false);
        total = total ? soma_add(total, part) : part;
    }
    if (total)
        soma_backward(total);
}

static void check_case(golden *g, int number) {
    soma_tensor *out[MOST_OUTPUTS + 1]; /* one more than expected: there must be none */
    for (int i = 0; i < g->n_in; i++)
        if (g->grad[i].tensor)
            soma_requires_grad_(g->in[i], true);
    if (soma_call(g->op, g->in, g->n_in, g->attrs, g->n_attrs, out, g->n_out + 1) != SOMA_OK) {
        print_error("%s, case %d: %s\n", g->op, number, soma_error_message());
        soma_error_clear();
        wrong++;
        return;
    }
    for (int i = 0; i < g->n_out; i++)
        if (g->out[i].tensor)
            compare(g, number, "output", i, out[i], &g->out[i]);
        else
            out[i] = NULL; /* nor does it count in the gradient */
    bool in_place;
    const soma_op *op = soma__op_find(g->op, &in_place);
    if (op && op->many && !g->more && out[g->n_out]) {
        print_error("%s, case %d: more than %d outputs\n", g->op, number, g->n_out);
        wrong++;
    }
    if (g->n_grad == 0)
        return;
    backward(out, g->n_out);
    check_ok();
    for (int i = 0; i < g->n_in; i++)
        if (g->grad[i].tensor) {
            soma_tensor *none = soma_zeros(soma_ndim(g->in[i]), soma_shape(g->in[i]), SOMA_F64), *got = soma_grad(g->in[i]);
            compare(g, number, "gradient", i, got ? got : none, &g->grad[i]);
        }
}

static void take_line(golden *g, char *line) {
    if (strncmp(line, "op ", 3) == 0) {
        memset(g, 0, sizeof *g);
        assert_int_equal(sscanf(line + 3, "%63s", g->op), 1);
    } else if (strncmp(line, "attr ", 5) == 0) {
        read_attr(g, line + 5);
    } else if (strcmp(line, "skip") == 0) {
        assert_true(g->n_out < MOST_OUTPUTS);
        g->n_out++;
    } else if (strcmp(line, "more") == 0) {
        g->more = true;
    } else if (strncmp(line, "within ", 7) == 0) {
        g->within = strtod(line + 7, NULL);
    } else if (strncmp(line, "none", 4) == 0) {
        g->in[g->n_in++] = NULL;
    } else if (strncmp(line, "in ", 3) == 0) {
        assert_true(g->n_in < MOST_INPUTS);
        g->in[g->n_in++] = read_tensor(line + 3);
    } else if (strncmp(line, "out ", 4) == 0) {
        assert_true(g->n_out < MOST_OUTPUTS);
        g->out[g->n_out++] = read_expected(line + 4);
    } else if (strncmp(line, "grad ", 5) == 0) {
        char *rest;
        long i = strtol(line + 5, &rest, 10);
        assert_true(i >= 0 && i < g->n_in);
        g->grad[i] = read_expected(rest);
        g->n_grad++;
    } else {
        fail_msg("a line of the golden file makes no sense: %.40s", line);
    }
}

static char covered[1024][64];
static int n_covered;

static void note_covered(const char *op) {
    for (int i = 0; i < n_covered; i++)
        if (strcmp(covered[i], op) == 0)
            return;
    snprintf(covered[n_covered++], sizeof covered[0], "%s", op);
}

/* SOMA_TEST_OPS="relu,conv" leaves only operators whose names start so. */
static bool wanted(const char *name) {
    const char *list = getenv("SOMA_TEST_OPS");
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(name, at, strcspn(at, ",")) == 0)
            return true;
    return !list;
}

static int check_file(const char *path) {
    soma_bytes file;
    assert_int_equal(soma_read_file(path, true, 0, &file), SOMA_OK);
    char *text = malloc(file.size + 1), *end = text + file.size;
    memcpy(text, file.data, file.size);
    *end = 0;
    soma_bytes_free(&file);
    golden g = {0};
    int cases = 0, before = wrong;
    soma_scope scope = soma_scope_begin();
    for (char *line = text, *next; line < end; line = next) {
        next = strchr(line, '\n');
        *next++ = 0;
        if (strcmp(line, "end") != 0) {
            take_line(&g, line);
            continue;
        }
        note_covered(g.op);
        cases++;
        if (wanted(g.op))
            check_case(&g, cases);
        soma_scope_end(scope);
        scope = soma_scope_begin();
    }
    soma_scope_end(scope);
    free(text);
    if (wrong > before)
        print_error("%d wrong in %s\n", wrong - before, path);
    return cases;
}

static void as_pytorch(void **state) {
    (void)state;
    int cases = 0;
    DIR *folder = opendir("tests/golden/ops");
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder));) {
        char path[512];
        snprintf(path, sizeof path, "tests/golden/ops/%s", e->d_name);
        if (strstr(e->d_name, ".txt.gz"))
            cases += check_file(path);
    }
    closedir(folder);
    print_message("%d cases of %d operators\n", cases, n_covered);
    assert_true(cases >= 5000);
    assert_int_equal(wrong, 0);
}

/* What has no counterpart of its own in PyTorch, and where it is tested instead. */
static bool tested_elsewhere(const soma_op *op) {
    static const char *const names[] = {
        "to", "copy_", "fill_",                                  /* test_tensor.c */
        "rand", "randn", "randint", "randperm", "bernoulli", "uniform_", "normal_", /* test_random.c: known values */
        "sgd_step", "adam_step", "adagrad_step", "adadelta_step", "rmsprop_step", "adamax_step", "nadam_step", "radam_step",
        "lion_step", "rprop_step", "asgd_step", "lars_step", "lamb_step", /* test_optim.c: golden trajectories */
    };
    for (size_t i = 0; i < SOMA_LEN(names); i++)
        if (strcmp(op->name, names[i]) == 0)
            return true;
    return op->internal || strcmp(op->family, "random") == 0; /* part of another operator's gradient, compared there */
}

static void none_is_left_out(void **state) {
    (void)state;
    int missing = 0;
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        bool have = tested_elsewhere(op);
        for (int k = 0; k < n_covered && !have; k++)
            have = strcmp(covered[k], op->name) == 0;
        if (!have)
            print_error("%s has no golden case: add one to tools/golden/\n", op->name);
        missing += !have;
    }
    assert_int_equal(missing, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_pytorch), cmocka_unit_test(none_is_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
