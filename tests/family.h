/* Goes through the samples that the operators of one family bring along: gradients of first and second order, bad inputs, failing
 * allocations. */
#ifndef SOMA_TESTS_FAMILY_H
#define SOMA_TESTS_FAMILY_H

#include "check.h"

#include "ops/op.h"

#include <stdio.h>

typedef struct family_call {
    const soma_op *op;
    const soma_sample *s;
    int moving[SOMA_MAX_NAMED_INPUTS], n_moving; /* inputs that are floats and get gradients */
} family_call;

static soma_tensor *family_run(void *user, soma_tensor *const *inputs, int n) {
    const family_call *c = user;
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *out[SOMA_MAX_OUTPUTS];
    memcpy(in, c->s->in, sizeof in);
    for (int i = 0; i < n; i++)
        in[c->moving[i]] = inputs[i];
    soma_call(c->op->name, in, c->s->n_in, c->s->attrs, c->s->n_attrs, out, c->op->outputs);
    return out[0];
}

static void family_gradients(const soma_op *op) {
    soma_sample s = {0};
    for (int i = 0; op->samples && op->samples(i, SOMA_F64, &s); s = (soma_sample){0}, i++) {
        soma_scope scope = soma_scope_begin();
        check_ok();
        family_call c = {.op = op, .s = &s};
        soma_tensor *in[SOMA_MAX_NAMED_INPUTS];
        for (int k = 0; k < s.n_in; k++)
            if (s.in[k] && soma_dtype_is_float(soma_dtype_of(s.in[k])) && (op->variadic || !(op->no_grad_in >> k & 1))) {
                in[c.n_moving] = soma_requires_grad_(s.in[k], true);
                c.moving[c.n_moving++] = k;
            }
        if (c.n_moving > 0 && !s.no_gradcheck && soma__differentiable(op) &&
            soma_gradcheck(family_run, &c, in, c.n_moving,
                           &(soma_gradcheck_opts){.order = 2, .size = sizeof(soma_gradcheck_opts)}))
            fail_msg("%s, sample %d: %s", op->name, i, soma_error_message());
        soma_scope_end(scope);
    }
}

static void family_errors(const soma_op *op) {
    soma_sample s = {0};
    for (int i = 0; op->errors && op->errors(i, op->dtypes & SOMA_BIT(SOMA_F32) ? SOMA_F32 : SOMA_I64, &s);
         s = (soma_sample){0}, i++) {
        soma_tensor *out[SOMA_MAX_OUTPUTS];
        check_ok();
        soma_call(op->name, s.in, s.n_in, s.attrs, s.n_attrs, out, op->outputs);
        assert_null(out[0]);
        if (soma_error() != s.status || !strstr(soma_error_message(), s.error))
            fail_msg("%s, bad input %d: expected %s with \"%s\", got %s: %s", op->name, i, soma_status_name(s.status),
                     s.error, soma_status_name(soma_error()), soma_error_message());
        soma_error_clear();
    }
}

/* Runs the operator and its gradient with the k-th allocation failing, for every k: an error that says so, and nothing lost. */
static void family_memory(const soma_op *op) {
    soma_dtype dtype = op->dtypes & SOMA_BIT(SOMA_F16) ? SOMA_F16 : op->dtypes & SOMA_BIT(SOMA_I64) ? SOMA_I64 : SOMA_F32; /* f16 also needs room to work in f32 */
    soma_sample s = {0};
    soma_scope wide = soma_scope_begin(); /* the scope's list grows once, here, and keeps its room */
    for (int i = 0; i < 300; i++)
        soma_scalar(0);
    soma_scope_end(wide);
    for (int i = 0; op->samples && op->samples(i, dtype, &s); s = (soma_sample){0}, i++) {
        soma_scope scope = soma_scope_begin();
        soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *out[SOMA_MAX_OUTPUTS], *grads[SOMA_MAX_NAMED_INPUTS];
        int n = 0;
        for (int k = 0; k < s.n_in && soma__differentiable(op); k++)
            if (s.in[k] && soma_dtype_is_float(soma_dtype_of(s.in[k])) && (op->variadic || !(op->no_grad_in >> k & 1)))
                in[n++] = soma_requires_grad_(s.in[k], true);
        check_ok();
        soma_status status = SOMA_ENOMEM;
        for (int k = 1; status == SOMA_ENOMEM; k++) {
            int64_t before = soma_memory_stats().current;
            soma_scope inner = soma_scope_begin();
            soma_memory_fail_at(k);
            soma_call(op->name, s.in, s.n_in, s.attrs, s.n_attrs, out, op->outputs);
            if (n > 0 && soma_requires_grad(out[0]))
                soma_grad_of(soma_sum(out[0], SOMA_ALL, false), in, n, NULL, grads);
            soma_memory_fail_at(0);
            status = soma_error();
            soma_error_clear();
            soma_scope_end(inner);
            if ((status != SOMA_OK && status != SOMA_ENOMEM) || soma_memory_stats().current != before)
                fail_msg("%s, sample %d, allocation %d: %s, %lld bytes before and %lld after", op->name, i, k,
                         soma_status_name(status), (long long)before, (long long)soma_memory_stats().current);
        }
        soma_scope_end(scope);
    }
}

/* Returns how many operators it saw, so that a test notices an empty family. */
static inline int check_family(const char *family) {
    int seen = 0;
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        if (strcmp(op->family, family) != 0 || op->compose)
            continue;
        seen++;
        family_gradients(op);
        family_errors(op);
        family_memory(op);
    }
    return seen;
}

/* Composites have their gradients and bad inputs checked by test_registry.c; what is left is that no failing allocation is missed. */
static inline int check_composites(const char *family) {
    int seen = 0;
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        if (strcmp(op->family, family) != 0 || !op->compose)
            continue;
        seen++;
        family_memory(op);
    }
    return seen;
}

/* fn() must give the same bytes for 1, 2, 3 and 7 threads. */
static inline void check_threads(soma_tensor *(*fn)(void *user), void *user) {
    static const int counts[] = {1, 2, 3, 7};
    soma_tensor *first = NULL;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        soma_set_threads(counts[i]);
        soma_tensor *t = fn(user);
        check_ok();
        assert_true(soma_is_contiguous(t));
        if (first)
            assert_memory_equal(soma_data(first), soma_data(t), (size_t)soma_numel(t) * soma_dtype_size(soma_dtype_of(t)));
        else
            first = t;
    }
    soma_set_threads(0);
}

/* All elements of t, row-major, as expected. */
static inline void check_values(soma_tensor *t, const double *expected, int n) {
    double have[256];
    check_ok();
    assert_non_null(t);
    assert_int_equal(soma_numel(t), n);
    assert_int_equal(soma_to_array(t, have, 256, SOMA_F64), SOMA_OK);
    for (int i = 0; i < n; i++)
        if (have[i] != expected[i] && !(have[i] != have[i] && expected[i] != expected[i]))
            fail_msg("element %d is %.17g, expected %.17g", i, have[i], expected[i]);
}
#define CHECK_VALUES(t, ...)                                                                                                \
    check_values((t), (const double[]){__VA_ARGS__}, (int)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)))

static inline void check_shape(soma_tensor *t, int ndim, const int64_t *shape) {
    check_ok();
    assert_non_null(t);
    assert_int_equal(soma_ndim(t), ndim);
    for (int d = 0; d < ndim; d++)
        assert_int_equal(soma_size(t, d), shape[d]);
}
#endif
