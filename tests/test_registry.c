/* Every operator, from its own entry: complete, the same as the f64 reference for each dtype, the same for any strides and number of
 * threads, right gradients of first and second order, its bad inputs refused with their messages, and no allocation that may not fail.
 *
 * "test_registry 2/4" takes the second of four parts of the operators, so that ctest can run the parts side by side. SOMA_TEST_OPS="relu,conv" takes
 * those whose names start so. SOMA_TEST_LIST=1 lists what each operator was checked on. */
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

static unsigned part, parts = 1;

static bool wanted(const soma_op *op) {
    unsigned hash = 5381;
    for (const char *c = op->name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    if (hash / 7 % parts != part)
        return false;
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
    bool widen = soma_dtype_is_float(dtype) && !op->random && dtype != SOMA_F64 && takes(op, SOMA_F64) && strcmp(op->name, "to") != 0;
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

/* And with those of 4 dimensions channels-last, as soma gives them on. */
static void with_channels_last(const soma_op *op, int k, soma_dtype dtype, const soma_sample *s) {
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *turned[SOMA_MAX_NAMED_INPUTS];
    result r, other;
    bool any = false;
    copy_inputs(op, s, in);
    for (int i = 0; i < s->n_in; i++) {
        turned[i] = s->in[i] ? soma__turned(soma_clone(s->in[i])) : NULL;
        any |= turned[i] && turned[i]->chosen;
    }
    if (!any || !run_sample(op, s, in, &r) || !run_sample(op, s, turned, &other))
        return;
    for (int i = 0; i < r.n; i++)
        compare(op, k, dtype, "channels-last", other.out[i], r.out[i], relative_bound(dtype));
}

static void any_strides_will_do(void **state) {
    (void)state;
    each_sample(with_strides);
    each_sample(with_channels_last);
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
    assert_true(checked >= (int)(20 * 8 / parts) || getenv("SOMA_TEST_OPS"));
    assert_int_equal(complaints, 0);
}

/* ---- Memory ---- */

/* The operator and the gradient of all that it gives, with the k-th allocation failing. */
static soma_status fail_allocation(const soma_op *op, const soma_sample *s, soma_tensor **leaves, int n_leaves, int k) {
    soma_tensor *sum = NULL, *grads[SOMA_MAX_NAMED_INPUTS];
    result r = {0};
    soma_scope scope = soma_scope_begin();
    soma_memory_fail_at(k);
    run_sample(op, s, s->in, &r);
    for (int i = 0; n_leaves > 0 && i < r.n; i++)
        if (soma_requires_grad(r.out[i])) {
            soma_tensor *one = soma_sum(r.out[i], SOMA_ALL, false);
            sum = sum ? soma_add(sum, one) : one;
        }
    if (sum)
        soma_grad_of(sum, leaves, n_leaves, NULL, grads);
    soma_memory_fail_at(0);
    soma_status status = soma_error();
    soma_error_clear();
    soma_scope_end(scope);
    return status;
}

static void fail_each_allocation(const soma_op *op, int sample, soma_sample *s) {
    soma_tensor *leaves[SOMA_MAX_NAMED_INPUTS];
    int n = 0;
    copy_inputs(op, s, s->in);
    for (int i = 0; i < s->n_in && soma__differentiable(op) && !op->writes && !s->no_gradcheck; i++)
        if (s->in[i] && soma_dtype_is_float(soma_dtype_of(s->in[i])) && (op->variadic || !(op->no_grad_in & 1u << i)))
            leaves[n++] = soma_requires_grad_(s->in[i], true);
    soma_status status = SOMA_ENOMEM;
    for (int k = 1; status == SOMA_ENOMEM; k++) {
        int64_t before = soma_memory_stats().current;
        status = fail_allocation(op, s, leaves, n, k);
        int64_t after = soma_memory_stats().current;
        if ((status != SOMA_OK && status != SOMA_ENOMEM) || after != before)
            complain("%s, sample %d, allocation %d: %s, %lld bytes before and %lld after", op->name, sample, k, soma_status_name(status), (long long)before,
                     (long long)after);
    }
}

/* Each allocation fails in turn: an error that says so, and nothing is lost. */
static void each_allocation_may_fail(void **state) {
    (void)state;
    soma_scope wide = soma_scope_begin(); /* the scope's list grows once, here, and keeps its room */
    for (int i = 0; i < 4000; i++)
        soma_scalar(0);
    soma_scope_end(wide);
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        soma_dtype dtype = takes(op, SOMA_F16) ? SOMA_F16 : takes(op, SOMA_F32) ? SOMA_F32 : (soma_dtype)__builtin_ctz(op->dtypes); /* f16 takes room to work in f32 */
        bool have = wanted(op);
        for (int k = 0; have; k++) {
            soma_scope scope = soma_scope_begin();
            soma_sample s;
            have = get_sample(op, k, dtype, &s);
            if (have)
                fail_each_allocation(op, k, &s);
            soma_scope_end(scope);
        }
    }
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

enum { LEAST_INPUTS = 20, MOST_ROUNDS = 40 };

/* Inputs made from samples. A gradient must be checked on each kind that the operator takes. */
typedef enum input_kind { PLAIN, STRIDED, BROADCAST, EMPTY, SCALAR, KINDS } input_kind;
static const char *const kind_names[KINDS] = {"plain", "strided", "broadcast", "empty", "0-d"};

/* What the gradients of an operator were checked on. */
typedef struct tally {
    int first, second, skipped, of[KINDS];
    bool takes[KINDS];
    unsigned stretched; /* the inputs that were broadcast */
    char why[KINDS][256]; /* the operator takes none */
} tally;

/* Detached inputs of a sample, ready for a check; false when none wants a gradient. */
static bool leaves_of(const soma_op *op, const soma_sample *s, soma_tensor **in, bool *wants) {
    bool any = false;
    for (int i = 0; i < s->n_in; i++) {
        in[i] = s->in[i] ? soma_detach(s->in[i]) : NULL;
        wants[i] = in[i] && soma_dtype_of(in[i]) == SOMA_F64 && (op->variadic || !(op->no_grad_in & 1u << i));
        any |= wants[i];
    }
    return any;
}

/* Some outputs carry gradients: splitting nothing gives none. */
static bool gives_floats(const soma_op *op, const soma_sample *s) {
    result r;
    bool any = false, was = soma_set_grad_enabled(false);
    if (run_sample(op, s, s->in, &r))
        for (int i = 0; i < r.n; i++)
            any |= soma_dtype_of(r.out[i]) == SOMA_F64;
    soma_set_grad_enabled(was);
    return any || soma_error() != SOMA_OK;
}

/* The fused kernels of first derivatives and the rules in operators, which derivatives of any order go through, are the same function. */
static void check_both_forms(const soma_op *op, int k, const soma_sample *s, soma_tensor **in, const bool *wants) {
    soma_tensor *leaves[SOMA_MAX_NAMED_INPUTS], *fused[SOMA_MAX_NAMED_INPUTS], *ruled[SOMA_MAX_NAMED_INPUTS];
    int n = 0;
    for (int i = 0; i < s->n_in; i++)
        if (wants[i])
            leaves[n++] = in[i];
    for (int graph = 0; graph < 2; graph++) {
        soma_tensor *y = call_for_check(&(call){op, s}, in, s->n_in);
        soma_tensor *w = y ? soma__sample(SOMA_F64, 0.5, 1.5, 1000, soma_ndim(y), soma_shape(y)) : NULL;
        soma_backward_opts opts = {.create_graph = graph, .size = sizeof opts};
        if (y && soma_requires_grad(y))
            soma_grad_of(soma_sum(soma_mul(y, w), SOMA_ALL, false), leaves, n, &opts, graph ? ruled : fused);
        else
            n = 0;
    }
    for (int i = 0; i < n && soma_error() == SOMA_OK; i++)
        if (fused[i] && ruled[i])
            compare(op, k, SOMA_F64, "the fused gradient against the rule", fused[i], ruled[i], relative_bound(SOMA_F64));
}

/* Every element on its own. */
static void check_each_element(const soma_op *op, int k, input_kind kind, const soma_sample *s, tally *t) {
    const char *how = kind_names[kind];
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS];
    bool wants[SOMA_MAX_NAMED_INPUTS];
    call c = {op, s};
    if (!leaves_of(op, s, in, wants) || !gives_floats(op, s))
        return;
    for (int i = 0; i < s->n_in; i++)
        if (wants[i])
            soma_requires_grad_(in[i], true);
    if (soma_gradcheck(call_for_check, &c, in, s->n_in, NULL) != SOMA_OK)
        complain("%s, sample %d (%s), first order: %s", op->name, k, how, soma_error_message());
    t->first++;
    t->of[kind]++;
    if (op->internal)
        return;
    if (!op->compose && !op->random)
        check_both_forms(op, k, s, in, wants);
    if (soma_gradcheck(call_for_check, &c, in, s->n_in, &(soma_gradcheck_opts){.order = 2}) != SOMA_OK)
        complain("%s, sample %d (%s), second order: %s", op->name, k, how, soma_error_message());
    t->second++;
}

/* All elements at once: the operator at x + t v, differentiated by the number t. One element to check instead of all of x, so that many inputs are
 * cheap; a wrong gradient anywhere shows, because v is different everywhere. */
typedef struct line {
    const soma_op *op;
    const soma_sample *s;
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS], *v[SOMA_MAX_NAMED_INPUTS];
    bool strided, turned;
} line;

/* Channels-last, on the tape: x plus zeros of that order. */
static soma_tensor *turn(soma_tensor *x) {
    return soma_ndim(x) == 4 && soma_dtype_of(x) == SOMA_F64 ? soma_add(x, soma__turned(soma_zeros(4, soma_shape(x), SOMA_F64))) : x;
}

/* Each element twice, so that every second one is the vector. */
static soma_tensor *doubled(soma_tensor *x) {
    soma_tensor *two = soma_stack((soma_tensor *[]){x, x}, 2, 1);
    return soma_reshape(two, 1, (const int64_t[]){-1});
}

/* x + t v in row-major order, or as a view that steps through memory. */
static soma_tensor *point_on(const line *l, int i, soma_tensor *t) {
    soma_tensor *x = l->in[i], *v = l->v[i];
    int ndim = soma_ndim(x);
    if (!l->strided || ndim == 0 || soma_numel(x) == 0)
        return soma_add(x, soma_mul(v, t));
    if (ndim == 1)
        return soma_slice(soma_add(doubled(x), soma_mul(doubled(v), t)), 0, 0, 2 * soma_size(x, 0), 2);
    x = soma_contiguous(soma_transpose(x, -1, -2));
    v = soma_contiguous(soma_transpose(v, -1, -2));
    return soma_transpose(soma_add(x, soma_mul(v, t)), -1, -2);
}

static soma_tensor *call_on_line(void *user, soma_tensor *const *t, int n) {
    const line *l = user;
    (void)n;
    soma_tensor *at[SOMA_MAX_NAMED_INPUTS];
    for (int i = 0; i < l->s->n_in; i++) {
        at[i] = l->v[i] ? point_on(l, i, t[0]) : l->in[i] && l->strided ? soma__strided(soma_clone(l->in[i])) : l->in[i];
        if (l->turned && at[i])
            at[i] = turn(at[i]);
    }
    return call_for_check(&(call){l->op, l->s}, at, l->s->n_in);
}

static void check_along_a_line(const soma_op *op, int k, int round, const soma_sample *s, tally *n) {
    line l = {.op = op, .s = s, .strided = round % 2, .turned = round / 2 % 2 == 1};
    bool wants[SOMA_MAX_NAMED_INPUTS];
    bool steps = false;
    if (!leaves_of(op, s, l.in, wants) || !gives_floats(op, s))
        return;
    for (int i = 0; i < s->n_in; i++)
        steps |= wants[i] && soma_numel(l.in[i]) > 1;
    for (int i = 0; i < s->n_in; i++)
        if (wants[i])
            l.v[i] = soma__sample(SOMA_F64, -1, 1, 900 + (uint64_t)i, soma_ndim(l.in[i]), soma_shape(l.in[i]));
    soma_tensor *t = soma_zeros(0, NULL, SOMA_F64);
    soma_requires_grad_(t, true);
    soma_gradcheck_opts opts = {.order = op->internal ? 1 : 2};
    if (soma_gradcheck(call_on_line, &l, &t, 1, &opts) != SOMA_OK)
        complain("%s, sample %d, drawn anew (%d%s): %s", op->name, k, round / 2, l.strided ? ", strided" : "", soma_error_message());
    n->first++;
    n->second += !op->internal;
    n->of[l.strided && steps ? STRIDED : PLAIN]++;
    n->takes[STRIDED] |= steps;
}

/* ---- Broadcast, empty and 0-d inputs made from a sample ---- */

static soma_tensor *resized(soma_tensor *x, int64_t from) {
    int64_t shape[SOMA_MAX_DIMS];
    bool none = false;
    for (int d = 0; d < soma_ndim(x); d++) {
        shape[d] = soma_size(x, d) == from ? 0 : soma_size(x, d);
        none |= shape[d] == 0;
    }
    return none ? soma_empty(soma_ndim(x), shape, soma_dtype_of(x)) : x;
}

static soma_tensor *first_element(soma_tensor *x) {
    for (int d = soma_ndim(x); d > 0; d--)
        x = soma_select(x, 0, 0);
    return soma_clone(x);
}

/* `dim` of the first input becomes 0, and so do all dimensions of that size; dim < 0: every input becomes its first element. */
static bool derive(const soma_sample *s, int dim, soma_sample *made) {
    *made = *s;
    if (s->n_in == 0 || !s->in[0] || dim >= soma_ndim(s->in[0]))
        return false;
    for (int i = 0; i < s->n_in; i++) {
        if (!s->in[i])
            continue;
        if (soma_numel(s->in[i]) == 0)
            return false;
        made->in[i] = dim < 0 ? first_element(s->in[i]) : resized(s->in[i], soma_size(s->in[0], dim));
    }
    return soma_error() == SOMA_OK;
}

/* Whether the operator takes the inputs and gives finite numbers (the mean of nothing is NaN). */
static bool takes_sample(const soma_op *op, const soma_sample *s, char *why, size_t size) {
    result r;
    bool ok = run_sample(op, s, s->in, &r);
    if (!ok)
        snprintf(why, size, "%s", soma_error_message());
    soma_error_clear();
    for (int i = 0; ok && i < r.n; i++) {
        int64_t n = soma_numel(r.out[i]);
        double *x = calloc((size_t)n + 1, sizeof *x);
        soma_to_array(r.out[i], x, n, SOMA_F64);
        for (int64_t e = 0; e < n; e++)
            ok &= isfinite(x[e]) != 0;
        free(x);
        if (!ok)
            snprintf(why, size, "the result is not finite");
    }
    return ok;
}

/* The shapes that come out, from the shape rule alone; false when it refuses. */
static bool shapes_of(const soma_op *op, const soma_sample *s, result *r) {
    soma__ctx()->shapes_only = true;
    bool ok = run_sample(op, s, s->in, r);
    soma__ctx()->shapes_only = false;
    soma_error_clear();
    return ok;
}

static bool same_shapes(const result *a, const result *b) {
    bool same = a->n == b->n;
    for (int i = 0; same && i < a->n; i++) {
        same = soma_ndim(a->out[i]) == soma_ndim(b->out[i]);
        for (int d = 0; same && d < soma_ndim(a->out[i]); d++)
            same = soma_size(a->out[i], d) == soma_size(b->out[i], d);
    }
    return same;
}

/* Checks the sample `made` from sample k if the operator takes it; a sample that opts out of checks says only what it takes. */
static bool consider(const soma_op *op, int k, input_kind kind, const soma_sample *made, tally *t) {
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS];
    bool wants[SOMA_MAX_NAMED_INPUTS];
    if (!takes_sample(op, made, t->why[kind], sizeof t->why[kind]) || !leaves_of(op, made, in, wants) || !gives_floats(op, made))
        return false;
    t->takes[kind] = true;
    if (!made->no_gradcheck)
        check_each_element(op, k, kind, made, t);
    return !made->no_gradcheck;
}

/* Input i with `dim` of size 1, or without its first dimension (dim < 0), is broadcast if the other inputs make the same outputs of it. */
static bool stretch(const soma_op *op, const soma_sample *s, int i, int dim, soma_sample *made) {
    result as_is, now;
    soma_tensor *x = s->in[i];
    *made = *s;
    if (!x || soma_numel(x) == 0 || (dim < 0 ? soma_ndim(x) == 0 : soma_size(x, dim) == 1))
        return false;
    made->in[i] = soma_clone(dim < 0 ? soma_select(x, 0, 0) : soma_slice(x, dim, 0, 1, 1));
    return shapes_of(op, s, &as_is) && shapes_of(op, made, &now) && same_shapes(&as_is, &now);
}

static void check_broadcast(const soma_op *op, int k, const soma_sample *s, tally *t) {
    soma_sample made;
    int tensors = 0;
    for (int i = 0; i < s->n_in; i++)
        tensors += s->in[i] != NULL;
    for (int i = 0; i < s->n_in && tensors > 1; i++)
        for (int dim = -1; s->in[i] && dim < soma_ndim(s->in[i]); dim++) {
            const unsigned which = 1u << (2 * i + (dim < 0));
            if (!(t->stretched & which) && stretch(op, s, i, dim, &made) && consider(op, k, BROADCAST, &made, t))
                t->stretched |= which;
        }
}

static void check_small(const soma_op *op, int k, const soma_sample *s, tally *t) {
    soma_sample made;
    if (!t->of[SCALAR] && derive(s, -1, &made))
        consider(op, k, SCALAR, &made, t);
    for (int d = 0; !t->of[EMPTY] && d < SOMA_MAX_DIMS; d++)
        if (derive(s, d, &made))
            consider(op, k, EMPTY, &made, t);
}

static void check_round(const soma_op *op, int round, tally *t) {
    soma__sample_redraw = (uint64_t)round / 2;
    for (int k = 0;; k++) {
        soma_scope scope = soma_scope_begin();
        soma_sample s;
        bool have = get_sample(op, k, SOMA_F64, &s);
        t->skipped += have && s.no_gradcheck;
        if (have && !s.no_gradcheck && round == 0)
            check_each_element(op, k, PLAIN, &s, t);
        else if (have && !s.no_gradcheck)
            check_along_a_line(op, k, round, &s, t);
        if (have && round == 1) {
            check_small(op, k, &s, t);
            check_broadcast(op, k, &s, t);
        }
        soma_scope_end(scope);
        if (!have)
            break;
    }
    soma__sample_redraw = 0;
}

static void list(const soma_op *op, const tally *t) {
    if (!getenv("SOMA_TEST_LIST"))
        return;
    print_message("%s: %d inputs, %d second order", op->name, t->first, t->second);
    for (int kind = STRIDED; kind < KINDS; kind++)
        print_message(", %d %s", t->of[kind], kind_names[kind]);
    print_message("\n");
    for (int kind = BROADCAST; kind < KINDS; kind++)
        if (!t->of[kind])
            print_message("    %s: %s\n", kind_names[kind], t->why[kind][0] ? t->why[kind] : "no input to be so");
}

static void gradients_are_right(void **state) {
    (void)state;
    int ops = 0, of[KINDS] = {0};
    tally all = {0};
    for (int i = 0; i < soma__op_count(); i++) {
        const soma_op *op = soma__op_at(i);
        if (!wanted(op) || !soma__differentiable(op) || !takes(op, SOMA_F64) || op->writes)
            continue;
        tally t = {0};
        for (int round = 0; round < 2 || (t.first > 0 && t.first < LEAST_INPUTS && round < MOST_ROUNDS); round++)
            check_round(op, round, &t);
        if (t.first < LEAST_INPUTS)
            complain("%s: its gradient is checked on %d inputs, not on %d (%d samples opt out)", op->name, t.first, LEAST_INPUTS, t.skipped / 2);
        for (int kind = STRIDED; kind < KINDS; kind++) {
            if (t.takes[kind] && !t.of[kind])
                complain("%s takes %s inputs, and its gradient is checked on none", op->name, kind_names[kind]);
            of[kind] += t.of[kind] > 0;
        }
        list(op, &t);
        ops++;
        all.first += t.first;
        all.second += t.second;
    }
    print_message("%d operators with a gradient: %d inputs of first order, %d of second; operators on strided inputs %d, broadcast %d, empty %d, 0-d %d\n", ops,
                  all.first, all.second, of[STRIDED], of[BROADCAST], of[EMPTY], of[SCALAR]);
    assert_int_equal(complaints, 0);
}

static int fresh(void **state) {
    (void)state;
    complaints = 0;
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && (sscanf(argv[1], "%u/%u", &part, &parts) != 2 || part < 1 || part > parts))
        return 2;
    part -= argc > 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(entries_are_complete, fresh), cmocka_unit_test_setup(bad_inputs_are_refused, fresh), cmocka_unit_test_setup(kernels_agree_with_the_reference, fresh),
        cmocka_unit_test_setup(any_strides_will_do, fresh), cmocka_unit_test_setup(any_threads_give_the_same_bits, fresh), cmocka_unit_test_setup(large_ones_give_the_same_bits, fresh),
        cmocka_unit_test_setup(each_allocation_may_fail, fresh), cmocka_unit_test_setup(gradients_are_right, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
