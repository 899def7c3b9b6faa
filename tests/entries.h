/* Checks that go through what an operator's entry brings along: its samples (gradients, second gradients, threads, strides) and
 * its bad inputs. */
#ifndef SOMA_TESTS_ENTRIES_H
#define SOMA_TESTS_ENTRIES_H
#include "check.h"

#include "ops/op.h"

typedef struct entry_call {
    const soma_op *op;
    soma_sample s;
    int place[SOMA_MAX_NAMED_INPUTS]; /* of the differentiated inputs */
} entry_call;

/* A number a float output that can be differentiated: sum of output times fixed weights, so that gradients are not all alike. */
static inline soma_tensor *entry_scalar(void *user, soma_tensor *const *inputs, int n) {
    entry_call *c = user;
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS] = {0}, *out[SOMA_MAX_OUTPUTS], *sum = NULL;
    for (int i = 0; i < c->s.n_in; i++)
        in[i] = c->s.in[i];
    for (int i = 0; i < n; i++)
        in[c->place[i]] = inputs[i];
    if (soma_call(c->op->name, in, c->s.n_in, c->s.attrs, c->s.n_attrs, out, c->op->outputs) != SOMA_OK)
        return NULL;
    for (int i = 0; i < c->op->outputs; i++) {
        if (!soma_dtype_is_float(soma_dtype_of(out[i])) || c->op->no_grad_out & 1u << i)
            continue;
        soma_tensor *w = soma__sample(SOMA_F64, 0.5, 1.5, 1000 + (uint64_t)i, out[i]->ndim, out[i]->shape);
        soma_tensor *part = soma_sum(soma_mul(out[i], w), SOMA_ALL, false);
        sum = sum ? soma_add(sum, part) : part;
    }
    return sum;
}

/* First and second derivatives of all samples against differences, whose own error in f64 is about 1e-9: steps of 1e-6 lose ten
 * digits to rounding and 1e-12 to curvature. */
static inline void check_entry_gradients(const char *name, int *checked) {
    bool in_place;
    const soma_op *op = soma__op_find(name, &in_place);
    assert_non_null(op);
    for (int i = 0;; i++) {
        soma_scope scope = soma_scope_begin();
        entry_call c = {.op = op};
        bool more = op->samples(i, SOMA_F64, &c.s);
        soma_tensor *inputs[SOMA_MAX_NAMED_INPUTS];
        int n = 0;
        for (int k = 0; more && k < c.s.n_in; k++)
            if (c.s.in[k] && soma_dtype_of(c.s.in[k]) == SOMA_F64 && !(op->no_grad_in & 1u << k)) {
                c.place[n] = k;
                inputs[n++] = soma_requires_grad_(soma_contiguous(c.s.in[k]), true);
            }
        if (more && !c.s.no_gradcheck && n > 0) {
            soma_gradcheck_opts opts = {.atol = 1e-7, .rtol = 1e-6, .order = 2, .size = sizeof opts};
            if (soma_gradcheck(entry_scalar, &c, inputs, n, &opts) != SOMA_OK)
                fail_msg("%s, sample %d: %s", name, i, soma_error_message());
            ++*checked;
        }
        check_ok();
        soma_scope_end(scope);
        if (!more)
            return;
    }
}

/* Every bad input gives its status and message, for every dtype that the operator takes. */
static inline void check_entry_errors(const char *name, int *checked) {
    bool in_place;
    const soma_op *op = soma__op_find(name, &in_place);
    assert_non_null(op);
    assert_non_null(op->errors);
    for (int i = 0;; i++) {
        soma_scope scope = soma_scope_begin();
        soma_sample s = {0};
        soma_tensor *out[SOMA_MAX_OUTPUTS];
        bool more = op->errors(i, SOMA_F32, &s);
        check_ok();
        if (more) {
            assert_int_not_equal(soma_call(name, s.in, s.n_in, s.attrs, s.n_attrs, out, op->outputs), SOMA_OK);
            check_error(s.status, s.error);
            ++*checked;
        }
        soma_scope_end(scope);
        if (!more)
            return;
    }
}

/* Equal bits for 1, 2, 3 and 7 threads. */
static inline void check_threads(const char *name, soma_tensor *const *in, int n_in, const soma_attr *attrs, int n_attrs) {
    static const int threads[] = {1, 2, 3, 7};
    bool in_place;
    const soma_op *op = soma__op_find(name, &in_place);
    assert_non_null(op);
    soma_tensor *first[SOMA_MAX_OUTPUTS], *out[SOMA_MAX_OUTPUTS];
    for (size_t t = 0; t < 4; t++) {
        soma_set_threads(threads[t]);
        soma_rng_set((soma_rng){.seed = 5, .stream = 9});
        soma_call(name, in, n_in, attrs, n_attrs, out, op->outputs);
        check_ok();
        for (int i = 0; i < op->outputs; i++) {
            if (t == 0)
                first[i] = out[i];
            else if (memcmp(soma_data(first[i]), soma_data(out[i]), (size_t)soma_numel(out[i]) * soma_dtype_size(soma_dtype_of(out[i]))) != 0)
                fail_msg("%s: output %d has other bits with %d threads", name, i, threads[t]);
        }
    }
    soma_set_threads(0);
}

/* All samples of all dtypes: a strided input gives what the same values give row-major, but for the order of sums (a rounding or
 * two in each dtype). */
static inline void check_entry_strides(const char *name) {
    bool in_place;
    const soma_op *op = soma__op_find(name, &in_place);
    assert_non_null(op);
    for (int d = 0; d < SOMA_DTYPE_COUNT; d++)
        for (int i = 0; op->dtypes & SOMA_BIT(d); i++) {
            soma_scope scope = soma_scope_begin();
            soma_sample s = {0};
            soma_tensor *a[SOMA_MAX_OUTPUTS], *b[SOMA_MAX_OUTPUTS], *in[SOMA_MAX_NAMED_INPUTS] = {0};
            bool more = op->samples(i, (soma_dtype)d, &s);
            check_ok();
            for (int k = 0; k < s.n_in; k++)
                in[k] = s.in[k] ? soma__strided(s.in[k]) : NULL;
            for (int k = 0; k < s.n_in; k++)
                if (s.in[k])
                    s.in[k] = soma_contiguous(s.in[k]);
            if (more) {
                soma_rng_set((soma_rng){.seed = 5, .stream = 9});
                soma_call(name, s.in, s.n_in, s.attrs, s.n_attrs, a, op->outputs);
                soma_rng_set((soma_rng){.seed = 5, .stream = 9});
                soma_call(name, in, s.n_in, s.attrs, s.n_attrs, b, op->outputs);
                check_ok();
                for (int k = 0; k < op->outputs; k++) {
                    int64_t n = soma_numel(a[k]);
                    double tolerance = d == SOMA_F16 ? 2e-3 : d == SOMA_BF16 ? 2e-2 : d == SOMA_F32 ? 1e-5 : 1e-12;
                    double *x = malloc((size_t)n * 2 * sizeof *x + 1), *y = x + n;
                    soma_to_array(a[k], x, n, SOMA_F64);
                    soma_to_array(b[k], y, n, SOMA_F64);
                    for (int64_t e = 0; e < n; e++) {
                        bool same = x[e] == y[e] || (x[e] != x[e] && y[e] != y[e]);
                        if (!same && !(__builtin_fabs(x[e] - y[e]) <= tolerance * (1 + __builtin_fabs(x[e]))))
                            fail_msg("%s %s, sample %d, output %d: %g, from strides %g", name, soma_dtype_name((soma_dtype)d), i, k,
                                     x[e], y[e]);
                    }
                    free(x);
                }
            }
            soma_scope_end(scope);
            if (!more)
                break;
        }
}
#endif
