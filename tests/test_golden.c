/* Every operator that PyTorch has too, against PyTorch: outputs and gradients in f64 from tests/golden/ops/ (each file
 * made by the script of its name in tools/golden/). Both sides compute in f64 but in different orders, so they may differ by rounding: 1e-12 of the value and of the
 * largest element is thousands of roundings, and far below any mistake in a formula. */
#include "check.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>

#include "ops/op.h"

enum { MOST_OUTPUTS = 64 };
typedef struct golden {
    char op[64];
    int n_in, n_attrs, n_out, n_grad;
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *out[MOST_OUTPUTS], *grad[SOMA_MAX_NAMED_INPUTS];
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

/* "f64 2 3 4 1 2 …": dtype, dimensions, sizes, values. */
static soma_tensor *read_tensor(char *text) {
    char name[8];
    int used, ndim;
    int64_t shape[SOMA_MAX_DIMS] = {0};
    assert_int_equal(sscanf(text, "%7s %d%n", name, &ndim, &used), 2);
    text += used;
    for (int i = 0; i < ndim; i++)
        shape[i] = strtoll(text, &text, 10);
    soma_tensor *t = soma_empty(ndim, shape, SOMA_F64);
    check_ok();
    for (int64_t i = 0; i < soma_numel(t); i++) {
        char *end;
        ((double *)soma_data(t))[i] = strtod(text, &end);
        assert_ptr_not_equal(end, text);
        text = end;
    }
    return soma_to(t, dtype_of(name));
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

static void compare(const golden *g, int number, const char *what, int i, soma_tensor *got, soma_tensor *expected) {
    int64_t n = soma_numel(expected);
    double scale = 0;
    bool same = got && soma_ndim(got) == soma_ndim(expected) && soma_numel(got) == n;
    for (int d = 0; same && d < soma_ndim(got); d++)
        same = soma_size(got, d) == soma_size(expected, d);
    same = same && soma_dtype_of(got) == soma_dtype_of(expected);
    if (!same) {
        char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
        print_error("%s, case %d: %s %d is %s, PyTorch's is %s\n", g->op, number, what, i, soma__tensor_text(got, a), soma__tensor_text(expected, b));
        wrong++;
        return;
    }
    double *x = calloc((size_t)n + 1, sizeof *x), *y = calloc((size_t)n + 1, sizeof *y);
    assert_int_equal(soma_to_array(got, x, n, SOMA_F64), SOMA_OK);
    assert_int_equal(soma_to_array(expected, y, n, SOMA_F64), SOMA_OK);
    for (int64_t k = 0; k < n; k++)
        scale = isfinite(y[k]) ? fmax(scale, fabs(y[k])) : scale;
    for (int64_t k = 0; k < n; k++)
        if (!(x[k] == y[k] || (isnan(x[k]) && isnan(y[k])) || fabs(x[k] - y[k]) <= 1e-12 * (fabs(y[k]) + scale))) {
            print_error("%s, case %d: %s %d, element %lld is %.17g, PyTorch's is %.17g\n", g->op, number, what, i, (long long)k, x[k], y[k]);
            wrong++;
            break;
        }
    free(x);
    free(y);
}

/* The gradient of sum(out * w) as the generator defines it. */
static void backward(soma_tensor *const *out, int n) {
    soma_tensor *total = NULL;
    for (int i = 0; i < n; i++) {
        if (!soma_requires_grad(out[i]))
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
        if (g->grad[i])
            soma_requires_grad_(g->in[i], true);
    if (soma_call(g->op, g->in, g->n_in, g->attrs, g->n_attrs, out, g->n_out + 1) != SOMA_OK) {
        print_error("%s, case %d: %s\n", g->op, number, soma_error_message());
        soma_error_clear();
        wrong++;
        return;
    }
    for (int i = 0; i < g->n_out; i++)
        compare(g, number, "output", i, out[i], g->out[i]);
    bool in_place;
    const soma_op *op = soma__op_find(g->op, &in_place);
    if (op && op->many && out[g->n_out]) {
        print_error("%s, case %d: more than %d outputs\n", g->op, number, g->n_out);
        wrong++;
    }
    if (g->n_grad == 0)
        return;
    backward(out, g->n_out);
    check_ok();
    for (int i = 0; i < g->n_in; i++)
        if (g->grad[i])
            compare(g, number, "gradient", i, soma_grad(g->in[i]) ? soma_grad(g->in[i]) : soma_zeros(soma_ndim(g->in[i]), soma_shape(g->in[i]), SOMA_F64),
                    g->grad[i]);
}

static void take_line(golden *g, char *line) {
    if (strncmp(line, "op ", 3) == 0) {
        memset(g, 0, sizeof *g);
        assert_int_equal(sscanf(line + 3, "%63s", g->op), 1);
    } else if (strncmp(line, "attr ", 5) == 0) {
        read_attr(g, line + 5);
    } else if (strncmp(line, "none", 4) == 0) {
        g->in[g->n_in++] = NULL;
    } else if (strncmp(line, "in ", 3) == 0) {
        assert_true(g->n_in < SOMA_MAX_NAMED_INPUTS);
        g->in[g->n_in++] = read_tensor(line + 3);
    } else if (strncmp(line, "out ", 4) == 0) {
        assert_true(g->n_out < MOST_OUTPUTS);
        g->out[g->n_out++] = read_tensor(line + 4);
    } else if (strncmp(line, "grad ", 5) == 0) {
        char *rest;
        long i = strtol(line + 5, &rest, 10);
        assert_true(i >= 0 && i < g->n_in);
        g->grad[i] = read_tensor(rest);
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
    assert_true(cases >= 300);
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
    return op->internal; /* part of another operator's gradient, compared there */
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
