/* Every operator, from its own entry: complete, the same as the f64 reference for each dtype, the same for any strides and number of
 * threads, right gradients of first and second order, and its bad inputs refused with their messages. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/op.h"

/* Failures are gathered, so that one run shows all of them. */
static int complaints;
#define complain(...) (complaints++, print_error("    " __VA_ARGS__), print_error("\n"), soma_error_clear())

/* ---- Running a sample ---- */

enum { MOST_OUTPUTS = 64 }; /* of a sample */
typedef struct result {
    int n;
    soma_tensor *out[MOST_OUTPUTS];
} result;

static bool call_sample(const soma_op *op, const soma_sample *s, soma_tensor *const *in, result *r) {
    soma_status status = soma_call(op->name, in, s->n_in, s->attrs, s->n_attrs, r->out, op->many ? MOST_OUTPUTS : op->outputs);
    for (r->n = 0; r->n < MOST_OUTPUTS && (op->many ? r->out[r->n] != NULL : r->n < op->outputs);)
        r->n++;
    return status == SOMA_OK;
}

static bool run_sample(const soma_op *op, const soma_sample *s, soma_tensor *const *in, result *r) {
    soma_seed(11);
    return call_sample(op, s, in, r);
}

/* Inputs that the operator writes are given as copies, so that a sample can be run again. */
static void copy_inputs(const soma_op *op, const soma_sample *s, soma_tensor **in) {
    for (int i = 0; i < s->n_in; i++)
        in[i] = s->in[i] && op->writes & 1u << i ? soma_clone(s->in[i]) : s->in[i];
}

static bool get_sample(const soma_op *op, int i, soma_dtype dtype, soma_sample *s) {
    memset(s, 0, sizeof *s);
    bool have = op->samples(i, dtype, s);
    if (soma_error() != SOMA_OK)
        complain("%s, sample %d, %s: %s", op->name, i, soma_dtype_name(dtype), soma_error_message());
    return have;
}

/* SOMA_TEST_OPS="relu,conv" leaves only operators whose names start so: for work on them. */
static bool wanted(const soma_op *op) {
    const char *list = getenv("SOMA_TEST_OPS");
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(op->name, at, strcspn(at, ",")) == 0)
            return true;
    return !list;
}

static bool takes(const soma_op *op, soma_dtype dtype) { return op->dtypes & SOMA_BIT(dtype); }

/* ---- Entries ---- */

static void entries_are_complete(void **state) {
    (void)state;
    assert_true(soma__op_count() >= 60);
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        if (!wanted(op))
            continue;
        if (!op->doc || !op->family || (!op->shape && !op->compose) || !op->backward || !op->samples || !op->errors || !op->dtypes || op->outputs < 1)
            complain("%s: an entry needs doc, family, shape, backward (or SOMA_NONDIFF), samples, errors, dtypes, outputs", op->name);
        if (!op->cpu[0] && !op->view && !op->compose)
            complain("%s has no kernel", op->name);
        if (op->many && (!op->compose || op->outputs != 1))
            complain("%s: only a composite gives many outputs, and it says that there is 1 or more", op->name);
        if (op->compose && (op->shape || op->cpu[0] || op->saves || (op->backward != SOMA_COMPOSED && op->backward != SOMA_NONDIFF)))
            complain("%s: a composite has no shape rule, kernel, saved tensors or gradient rule of its own", op->name);
        for (int k = 0; k < op->n_attrs; k++)
            if (!op->attrs[k].help || !op->attrs[k].def.name)
                complain("%s: attribute %d lacks a name or a help text", op->name, k);
        soma_scope scope = soma_scope_begin();
        soma_sample s;
        int n = 0, any = 0;
        while (get_sample(op, n, SOMA_F32, &s))
            n++;
        for (int d = 0; d < SOMA_DTYPE_COUNT; d++)
            any += takes(op, (soma_dtype)d) && get_sample(op, 0, (soma_dtype)d, &s);
        if (!any || (takes(op, SOMA_F32) && n == 0))
            complain("%s brings no samples", op->name);
        memset(&s, 0, sizeof s);
        if (op->errors && !op->errors(0, takes(op, SOMA_F32) ? SOMA_F32 : (soma_dtype)__builtin_ctz(op->dtypes), &s))
            complain("%s brings no bad inputs", op->name);
        soma_error_clear();
        soma_scope_end(scope);
    }
    assert_int_equal(complaints, 0);
}

static void bad_inputs_are_refused(void **state) {
    (void)state;
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        if (!wanted(op))
            continue;
        soma_dtype dtype = takes(op, SOMA_F32) ? SOMA_F32 : (soma_dtype)__builtin_ctz(op->dtypes);
        for (int k = 0; op->errors; k++) {
            soma_scope scope = soma_scope_begin();
            soma_sample s = {0};
            bool have = op->errors(k, dtype, &s);
            if (have) {
                result r;
                call_sample(op, &s, s.in, &r);
                soma_status status = soma_error();
                if (status != s.status || !s.error || !strstr(soma_error_message(), s.error))
                    complain("%s, bad input %d: expected %s with \"%s\", got %s: %s", op->name, k, soma_status_name(s.status),
                             s.error ? s.error : "(no text)", soma_status_name(status), soma_error_message());
                soma_error_clear();
            }
            soma_scope_end(scope);
            if (!have)
                break;
        }
    }
    assert_int_equal(complaints, 0);
}

/* ---- Values ---- */

/* Half a unit in the last place of the dtype, times a small factor for the steps of one operator; sums over n elements may be off by
 * sqrt(n) of them more, and samples have at most a few hundred elements. */
static double relative_bound(soma_dtype d) {
    switch (d) {
    case SOMA_F64: return 64 * DBL_EPSILON;
    case SOMA_F32: return 64 * FLT_EPSILON;
    case SOMA_F16: return 4 * 0x1p-11;
    case SOMA_BF16: return 4 * 0x1p-8;
    default: return 0;
    }
}

static void compare(const soma_op *op, int sample, soma_dtype dtype, const char *what, soma_tensor *a, soma_tensor *b, double rel) {
    if (soma_numel(a) != soma_numel(b) || soma_ndim(a) != soma_ndim(b))
        complain("%s, sample %d, %s: %s changes the shape", op->name, sample, soma_dtype_name(dtype), what);
    int64_t n = soma_numel(a);
    double *x = calloc((size_t)n + 1, sizeof *x), *y = calloc((size_t)n + 1, sizeof *y), scale = 0;
    soma_to_array(a, x, n, SOMA_F64);
    soma_to_array(b, y, n, SOMA_F64);
    for (int64_t i = 0; i < n; i++)
        scale = isfinite(y[i]) ? fmax(scale, fabs(y[i])) : scale;
    for (int64_t i = 0; i < n; i++) {
        bool same = x[i] == y[i] || (isnan(x[i]) && isnan(y[i])) || fabs(x[i] - y[i]) <= rel * (fabs(y[i]) + scale);
        if (!same)
            complain("%s, sample %d, %s: %s gives %.9g instead of %.9g at element %lld", op->name, sample, soma_dtype_name(dtype), what, x[i],
                     y[i], (long long)i);
    }
    free(x);
    free(y);
}

static void each_sample(void (*check)(const soma_op *, int, soma_dtype, const soma_sample *)) {
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        for (int d = 0; d < SOMA_DTYPE_COUNT; d++) {
            if (!takes(op, (soma_dtype)d) || !wanted(op))
                continue;
            for (int k = 0;; k++) {
                soma_scope scope = soma_scope_begin();
                soma_sample s;
                bool have = get_sample(op, k, (soma_dtype)d, &s);
                if (have)
                    check(op, k, (soma_dtype)d, &s);
                if (soma_error() != SOMA_OK)
                    complain("%s, sample %d, %s: %s", op->name, k, soma_dtype_name((soma_dtype)d), soma_error_message());
                soma_scope_end(scope);
                if (!have)
                    break;
            }
        }
    }
}

/* The same call on f64 copies by the reference kernel. Random operators draw other numbers for another dtype, so they are compared with
 * their own reference; results that are not floats must be equal when their inputs are exact. */
static void against_reference(const soma_op *op, int k, soma_dtype dtype, const soma_sample *s) {
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *wide[SOMA_MAX_NAMED_INPUTS];
    result r, ref;
    copy_inputs(op, s, in);
    bool widen = soma_dtype_is_float(dtype) && !op->random && dtype != SOMA_F64 && strcmp(op->name, "to") != 0;
    copy_inputs(op, s, wide);
    for (int i = 0; i < s->n_in; i++)
        if (wide[i] && widen && soma_dtype_is_float(soma_dtype_of(wide[i])))
            wide[i] = soma_to(wide[i], SOMA_F64);
    if (!run_sample(op, s, in, &r))
        return;
    soma__force_reference = 1;
    bool ok = run_sample(op, s, wide, &ref);
    soma__force_reference = 0;
    if (!ok)
        return;
    for (int i = 0; i < r.n; i++) {
        /* An index or a comparison may fall the other way only when the inputs were rounded differently: they were not. */
        double bound = soma_dtype_is_float(soma_dtype_of(r.out[i])) ? relative_bound(dtype) : 0;
        compare(op, k, dtype, "the kernel against the f64 reference", r.out[i], ref.out[i], bound);
    }
}

static void kernels_agree_with_the_reference(void **state) {
    (void)state;
    each_sample(against_reference);
    assert_int_equal(complaints, 0);
}

static void with_strides(const soma_op *op, int k, soma_dtype dtype, const soma_sample *s) {
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *odd[SOMA_MAX_NAMED_INPUTS];
    result r, other;
    copy_inputs(op, s, in);
    for (int i = 0; i < s->n_in; i++)
        odd[i] = s->in[i] ? soma__strided(soma_clone(s->in[i])) : NULL;
    if (!run_sample(op, s, in, &r) || !run_sample(op, s, odd, &other))
        return;
    for (int i = 0; i < r.n; i++)
        compare(op, k, dtype, "another layout", other.out[i], r.out[i], relative_bound(dtype)); /* sums may be cut elsewhere */
}

static void any_strides_will_do(void **state) {
    (void)state;
    each_sample(with_strides);
    assert_int_equal(complaints, 0);
}

static void with_threads(const soma_op *op, int k, soma_dtype dtype, const soma_sample *s) {
    static const int counts[] = {1, 2, 3, 7};
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS];
    result first, r;
    for (size_t t = 0; t < SOMA_LEN(counts); t++) {
        soma_set_threads(counts[t]);
        copy_inputs(op, s, in);
        bool ok = run_sample(op, s, in, t == 0 ? &first : &r);
        for (int i = 0; ok && t > 0 && i < r.n; i++) {
            soma_tensor *a = soma_contiguous(first.out[i]), *b = soma_contiguous(r.out[i]);
            size_t bytes = (size_t)soma_numel(a) * soma_dtype_size(soma_dtype_of(a));
            if (bytes && strncmp(op->name, "empty", 5) != 0 && memcmp(soma_data(a), soma_data(b), bytes) != 0)
                complain("%s, sample %d, %s: other bits with %d threads", op->name, k, soma_dtype_name(dtype), counts[t]);
        }
    }
    soma_set_threads(0);
}

static void any_threads_give_the_same_bits(void **state) {
    (void)state;
    each_sample(with_threads);
    assert_int_equal(complaints, 0);
}

/* Samples are too small to be shared out, so elementwise operators (the other families' own tests do the same) are run once more on
 * tensors of several pieces, as they are and transposed. */
static void large_ones_give_the_same_bits(void **state) {
    (void)state;
    static const int counts[] = {1, 2, 3, 7};
    int checked = 0;
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        if (!wanted(op) || op->internal || op->random || (strcmp(op->family, "elementwise") != 0 && strcmp(op->family, "comparison") != 0))
            continue;
        for (int turned = 0; turned < 2; turned++) {
            soma_scope scope = soma_scope_begin();
            soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *first = NULL, *out;
            for (int k = 0; k < op->n_in; k++) {
                bool flag = op->in[k].dtypes == SOMA_BIT(SOMA_BOOL);
                in[k] = soma__sample(flag ? SOMA_BOOL : SOMA_F32, 0.2, 1.5, (uint64_t)k + 70, 2, (const int64_t[]){311, 257});
                in[k] = turned ? soma__strided(in[k]) : in[k];
            }
            for (size_t t = 0; t < SOMA_LEN(counts); t++) {
                soma_set_threads(counts[t]);
                if (soma_call(op->name, in, op->n_in, NULL, 0, &out, 1) != SOMA_OK) {
                    complain("%s, large: %s", op->name, soma_error_message());
                    break;
                }
                first = first ? first : out;
                if (memcmp(soma_data(first), soma_data(out), (size_t)soma_numel(out) * soma_dtype_size(soma_dtype_of(out))) != 0)
                    complain("%s, large: other bits with %d threads", op->name, counts[t]);
                checked++;
            }
            soma_scope_end(scope);
        }
    }
    soma_set_threads(0);
    assert_true(checked >= 40 * 8 || getenv("SOMA_TEST_OPS"));
    assert_int_equal(complaints, 0);
}

/* ---- Gradients ---- */

typedef struct call {
    const soma_op *op;
    const soma_sample *s;
} call;

/* All float outputs side by side in one vector. */
static soma_tensor *call_for_check(void *user, soma_tensor *const *in, int n) {
    const call *c = user;
    (void)n;
    result r;
    soma_tensor *flat[MOST_OUTPUTS];
    int m = 0;
    soma_tensor *given[SOMA_MAX_NAMED_INPUTS];
    for (int i = 0; i < c->s->n_in && i < SOMA_MAX_NAMED_INPUTS; i++)
        given[i] = c->s->symmetric & 1u << i ? soma_mul_scalar(soma_add(in[i], soma_transpose(in[i], -1, -2)), 0.5) : in[i];
    if (!run_sample(c->op, c->s, given, &r))
        return NULL;
    for (int i = 0; i < r.n; i++)
        if (soma_dtype_of(r.out[i]) == SOMA_F64 && !(i < SOMA_MAX_OUTPUTS && c->op->no_grad_out & 1u << i))
            flat[m++] = soma_reshape(r.out[i], 1, (const int64_t[]){-1});
    return m == 0 ? soma_zeros(SOMA_SHAPE(1), SOMA_F64) : m == 1 ? flat[0] : soma_cat(flat, m, 0);
}

static int checked_first, checked_second;

static void gradients_of_sample(const soma_op *op, int k, soma_dtype dtype, const soma_sample *s) {
    (void)dtype;
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS];
    bool any = false, empty = false;
    for (int i = 0; i < s->n_in; i++) {
        in[i] = s->in[i] ? soma_detach(s->in[i]) : NULL;
        bool wants = in[i] && soma_dtype_of(in[i]) == SOMA_F64 && (op->variadic || !(op->no_grad_in & 1u << i));
        if (wants)
            soma_requires_grad_(in[i], true);
        any |= wants && soma_numel(in[i]) > 0;
        empty |= in[i] && soma_numel(in[i]) == 0;
    }
    call c = {op, s};
    if (!any || empty)
        return;
    if (soma_gradcheck(call_for_check, &c, in, s->n_in, NULL) != SOMA_OK)
        complain("%s, sample %d, first order: %s", op->name, k, soma_error_message());
    checked_first++;
    if (op->internal)
        return;
    if (soma_gradcheck(call_for_check, &c, in, s->n_in, &(soma_gradcheck_opts){.order = 2}) != SOMA_OK)
        complain("%s, sample %d, second order: %s", op->name, k, soma_error_message());
    checked_second++;
}

static void gradients_are_right(void **state) {
    (void)state;
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        if (!wanted(op) || !soma__differentiable(op) || !takes(op, SOMA_F64) || op->writes)
            continue;
        int before = checked_first, skipped = 0;
        for (int k = 0;; k++) {
            soma_scope scope = soma_scope_begin();
            soma_sample s;
            bool have = get_sample(op, k, SOMA_F64, &s);
            skipped += have && s.no_gradcheck;
            if (have && !s.no_gradcheck)
                gradients_of_sample(op, k, SOMA_F64, &s);
            soma_scope_end(scope);
            if (!have)
                break;
        }
        if (checked_first == before)
            complain("%s says that it has a gradient, but no sample checks it (%d opt out)", op->name, skipped);
    }
    print_message("%d samples of first order, %d of second\n", checked_first, checked_second);
    assert_int_equal(complaints, 0);
}

static int fresh(void **state) {
    (void)state;
    complaints = 0;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(entries_are_complete, fresh), cmocka_unit_test_setup(bad_inputs_are_refused, fresh), cmocka_unit_test_setup(kernels_agree_with_the_reference, fresh),
        cmocka_unit_test_setup(any_strides_will_do, fresh), cmocka_unit_test_setup(any_threads_give_the_same_bits, fresh), cmocka_unit_test_setup(large_ones_give_the_same_bits, fresh),
        cmocka_unit_test_setup(gradients_are_right, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
