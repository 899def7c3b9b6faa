/* Memory, errors, contexts, scopes, text. */
#include "check.h"

#include <pthread.h>
#include <stdio.h>

#include "base/base.h"

static void blocks_are_aligned_and_reused(void **state) {
    (void)state;
    soma_memory_trim();
    int64_t before = soma_memory_stats().current;
    for (size_t n = 0; n < 5000; n = n * 3 / 2 + 1) {
        char *p = soma__alloc(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_int_equal(soma__block_size(p), n);
        memset(p, 0xa5, n);
        soma__free(p);
        assert_ptr_equal(soma__alloc(n), p); /* the very same */
        soma__free(p);
    }
    assert_int_equal(soma_memory_stats().current, before);
    assert_true(soma_memory_stats().cached > 0);
    soma_memory_trim();
    assert_int_equal(soma_memory_stats().cached, 0);
}

static void counts_by_owner(void **state) {
    (void)state;
    soma_owner was = soma__owner_set(SOMA_OWNER_OPTIM);
    int64_t before = soma_memory_stats().owner_current[SOMA_OWNER_OPTIM];
    void *p = soma__alloc(1000);
    soma__owner_set(was);
    assert_int_equal(soma_memory_stats().owner_current[SOMA_OWNER_OPTIM], before + 1000);
    p = soma__realloc(p, 3000);
    assert_true(soma_memory_stats().owner_peak[SOMA_OWNER_OPTIM] >= before + 1000);
    soma__free(p);
    assert_int_equal(soma_memory_stats().owner_current[SOMA_OWNER_OPTIM], before);
}

static void failing_on_purpose(void **state) {
    (void)state;
    soma_memory_fail_at(2);
    void *first = soma__alloc(10), *second = soma__alloc(10);
    assert_int_equal(soma_memory_fail_at(0), 2);
    assert_non_null(first);
    assert_null(second);
    soma__free(first);
    check_error(SOMA_ENOMEM, "no memory for 10 bytes");
    assert_null(soma__alloc((size_t)1 << 60));
    check_error(SOMA_ENOMEM, "no memory");
    assert_null(soma__calloc((size_t)1 << 40, (size_t)1 << 40));
    check_error(SOMA_ENOMEM, "times");
}

static int logged;
static void log_it(void *user, soma_log_level level, const char *text) {
    (void)user;
    logged += level == SOMA_LOG_ERROR && strstr(text, "nobody reads") != NULL;
}

static void a_place(const void *of, char *out, size_t size) { snprintf(out, size, "%s", (const char *)of); }

static void first_error_stays(void **state) {
    (void)state;
    soma_fail(SOMA_EIO, "first %d", 1);
    soma_fail(SOMA_EINVAL, "second");
    check_error(SOMA_EIO, "first 1");
    assert_string_equal(soma_error_message(), "");
    soma_set_log(log_it, NULL);
    soma_fail(SOMA_EIO, "nobody reads this");
    soma_error_clear();
    soma_set_log(NULL, NULL);
    assert_int_equal(logged, 1);
    soma__path_push(a_place, "3.conv (Conv2d)");
    soma_fail(SOMA_ESHAPE, "x");
    soma__path_pop();
    check_error(SOMA_ESHAPE, "in 3.conv (Conv2d): x");
    for (int i = 0; i <= SOMA_ESTOPPED; i++)
        assert_int_equal(strncmp(soma_status_name((soma_status)i), "SOMA_", 5), 0);
    assert_string_equal(soma_status_name((soma_status)99), "unknown status");
}

static void *other_thread(void *arg) {
    soma_seed(5);
    soma_fail(SOMA_EIO, "of this thread");
    *(soma_ctx **)arg = soma_ctx_current();
    return soma_error() == SOMA_EIO ? arg : NULL;
}

static void contexts_are_apart(void **state) {
    (void)state;
    soma_ctx *theirs = NULL;
    pthread_t thread;
    void *result;
    soma_seed(4);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &theirs), 0);
    pthread_join(thread, &result);
    assert_non_null(result);
    assert_ptr_not_equal(theirs, soma_ctx_current());
    check_ok();
    assert_int_equal(soma_rng_get().seed, 4);
    soma_ctx *mine = soma_ctx_current(), *own = soma_ctx_new();
    assert_ptr_equal(soma_ctx_use(own), mine);
    soma_fail(SOMA_EIO, "here");
    soma_ones(SOMA_SHAPE(2), SOMA_F32);
    assert_ptr_equal(soma_ctx_use(NULL), own);
    check_ok();
    soma_ctx_free(own);
}

static void text(void **state) {
    (void)state;
    soma__text t = {0};
    for (int i = 0; i < 100; i++)
        soma__text_add(&t, "%d,", i);
    assert_int_equal(t.size, 290);
    char out[6];
    assert_int_equal(soma__text_take(&t, out, sizeof out), 290);
    assert_string_equal(out, "0,1,2");
    static const char *const names[] = {"conv", "linear", "relu"};
    assert_string_equal(soma__nearest("convv", names, 3), "conv");
    assert_string_equal(soma__nearest("liner", names, 3), "linear");
    assert_null(soma__nearest("softmax", names, 3));
    char shape[SOMA__SHAPE_TEXT];
    assert_string_equal(soma__shape_text(2, (const int64_t[]){2, -3}, shape, sizeof shape), "[2, -3]");
    assert_string_equal(soma__shape_text(0, NULL, shape, sizeof shape), "[]");
}

static void host_random(void **state) {
    (void)state;
    soma__random r = soma__random_new(1, 2);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[soma__random_below(&r, 7)]++;
    for (int i = 0; i < 7; i++) /* 10,000 expected, standard deviation 93: six of them */
        assert_true(counts[i] > 10000 - 560 && counts[i] < 10000 + 560);
    double sum = 0, squares = 0;
    for (int i = 0; i < 40000; i++) {
        double v = soma__random_normal(&r);
        sum += v;
        squares += v * v;
    }
    assert_float_equal(sum / 40000, 0, 6 / 200.0);         /* six standard errors: 1 / sqrt(40000) */
    assert_float_equal(squares / 40000, 1, 6 * 1.4143 / 200.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_reused), cmocka_unit_test(counts_by_owner), cmocka_unit_test(failing_on_purpose),
        cmocka_unit_test(first_error_stays), cmocka_unit_test(contexts_are_apart), cmocka_unit_test(text), cmocka_unit_test(host_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
