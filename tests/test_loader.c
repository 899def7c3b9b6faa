/* The loader: order and changes depend on the seed alone, whatever the workers do; every way to stop in the middle; transforms
 * against plain loops written from their description. */
#include "data_help.h"

#include <math.h>

static soma_dataset *pictures(int n, int c, int h, int w)
{
    uint8_t *pixels = malloc((size_t)(n * c * h * w));
    int64_t *labels = malloc((size_t)n * sizeof *labels);
    for (int i = 0; i < n * c * h * w; i++)
        pixels[i] = (uint8_t)(i * 37 + i / 251);
    for (int i = 0; i < n; i++)
        labels[i] = i % 7;
    soma_dataset *d = soma_data_images(pixels, labels, n, c, h, w);
    free(pixels);
    free(labels);
    assert_non_null(d);
    return d;
}

/* ---- Order ---- */

typedef struct record {
    int64_t n, samples[4096], y[4096];
    double sum; /* of all pixels, each times its place: any difference in bits shows */
    int64_t batches;
} record;

static void add_batch(record *r, const soma_batch *b)
{
    const float *x = soma_data(b->x);
    for (int64_t i = 0; i < soma_numel(b->x); i++)
        r->sum += (double)x[i] * (double)(1 + (r->batches * 31 + i) % 1009);
    for (int64_t i = 0; i < b->count; i++) {
        r->y[r->n] = ((int64_t *)soma_data(b->y))[i];
        r->samples[r->n++] = b->samples[i];
    }
    r->batches++;
}

static void run_epochs(soma_dataset *d, soma_loader_opts opts, int epochs, record *r)
{
    memset(r, 0, sizeof *r);
    opts.size = sizeof opts;
    soma_loader *l = soma_loader_new_ex(d, &opts);
    check_ok();
    for (int e = 0; e < epochs; e++)
        for (soma_batch b; soma_loader_next(l, &b);) {
            assert_int_equal(b.epoch, e);
            assert_int_equal(soma_size(b.x, 0), b.count);
            add_batch(r, &b);
        }
    check_ok();
    soma_loader_free(l);
}

static void test_order(void **state)
{
    (void)state;
    enum { N = 203 };
    soma_dataset *d = pictures(N, 3, 9, 8);
    soma_norm_stats s;
    assert_int_equal(soma_data_stats(d, &s), SOMA_OK);
    soma_loader_opts opts = {.batch_size = 16, .shuffle = true, .seed = 5, .workers = -1, .norm = &s,
                             .flip = true, .shift = 2, .crop = 1, .erase = 0.5};
    static record first, other;
    run_epochs(d, opts, 3, &first);
    assert_int_equal(first.n, 3 * N);
    assert_int_equal(first.batches, 3 * 13);
    for (int e = 0; e < 3; e++) { /* each sample once an epoch, with its label */
        bool seen[N] = {false};
        for (int i = 0; i < N; i++) {
            int64_t k = first.samples[e * N + i];
            assert_false(seen[k]);
            seen[k] = true;
            assert_int_equal(first.y[e * N + i], k % 7);
        }
    }
    assert_memory_not_equal(first.samples, first.samples + N, N * sizeof(int64_t));
    static const int workers[] = {0, 1, 2, 4, 9};
    for (size_t i = 0; i < SOMA_LEN(workers); i++) {
        opts.workers = workers[i];
        opts.prefetch = (int)i;
        run_epochs(d, opts, 3, &other);
        assert_memory_equal(first.samples, other.samples, sizeof first.samples);
        assert_memory_equal(&first.sum, &other.sum, sizeof first.sum);
    }
    opts.seed = 6;
    run_epochs(d, opts, 1, &other);
    assert_memory_not_equal(first.samples, other.samples, N * sizeof(int64_t));
    opts.shuffle = false;
    run_epochs(d, opts, 1, &other);
    for (int i = 0; i < N; i++)
        assert_int_equal(other.samples[i], i);
    soma_norm_stats_free(&s);
    soma_data_free(d);
}

static void test_shapes(void **state)
{
    (void)state;
    soma_dataset *d = pictures(10, 1, 4, 5), *part = soma_data_subset(d, (int64_t[]){9, 3, 4, 4}, 4);
    soma_loader *l = soma_loader_new(d, .batch_size = 4);
    soma_batch b;
    assert_int_equal(soma_loader_batches(l), 3);
    assert_ptr_equal(soma_loader_dataset(l), d);
    for (int i = 0; i < 3; i++) {
        assert_true(soma_loader_next(l, &b));
        assert_int_equal(b.index, i);
        assert_int_equal(b.count, i < 2 ? 4 : 2);
        assert_int_equal(soma_ndim(b.x), 4);
        assert_int_equal(soma_size(b.x, 3), 5);
        assert_int_equal(soma_dtype_of(b.y), SOMA_I64);
        assert_int_equal(soma_ndim(b.y), 1);
    }
    assert_false(soma_loader_next(l, &b));
    assert_null(b.x);
    soma_loader_free(l);
    l = soma_loader_new(d, .batch_size = 4, .drop_last = true);
    assert_int_equal(soma_loader_batches(l), 2);
    for (int i = 0; i < 2; i++)
        assert_true(soma_loader_next(l, &b));
    assert_false(soma_loader_next(l, &b));
    soma_loader_free(l);
    l = soma_loader_new(d, .batch_size = 1000, .workers = -1);
    assert_true(soma_loader_next(l, &b));
    assert_int_equal(b.count, 10);
    soma_loader_free(l);
    l = soma_loader_new(d); /* one at a time, as PyTorch */
    assert_int_equal(soma_loader_batches(l), 10);
    soma_loader_free(l);
    l = soma_loader_new(part, .batch_size = 4);
    soma_data_free(d);
    soma_data_free(part); /* the loader keeps it */
    assert_true(soma_loader_next(l, &b));
    assert_int_equal(((int64_t *)soma_data(b.y))[0], 9 % 7);
    assert_int_equal(b.samples[0], 0); /* places in the part */
    assert_memory_equal((float *)soma_data(b.x) + 40, (float *)soma_data(b.x) + 60, 20 * sizeof(float));
    soma_loader_free(l);
}

static void test_targets(void **state)
{
    (void)state;
    soma_scope scope = soma_scope_begin();
    soma_tensor *x = SOMA_TENSOR(SOMA_SHAPE(3, 2), 1, 2, 3, 4, 5, 6);
    soma_dataset *d = soma_data_tensors(x, SOMA_TENSOR(SOMA_SHAPE(3), .1f, .2f, .3f));
    soma_norm_stats s;
    assert_int_equal(soma_data_stats(d, &s), SOMA_OK);
    soma_loader *l = soma_loader_new(d, .batch_size = 2, .norm = &s);
    soma_norm_stats_free(&s); /* was copied */
    soma_batch b;
    assert_true(soma_loader_next(l, &b));
    assert_int_equal(soma_ndim(b.y), 2);
    assert_int_equal(soma_size(b.y, 1), 1);
    assert_true(((float *)soma_data(b.y))[1] == .2f);
    /* (1 - 3) / sqrt(8/3); two roundings of floats, 1e-7 each */
    assert_float_equal(((float *)soma_data(b.x))[0], -2 / sqrt(8.0 / 3), 5e-7);
    assert_float_equal(((float *)soma_data(b.x))[2], 0, 5e-7);
    soma_loader_free(l);
    soma_data_free(d);
    d = soma_data_tensors(x, SOMA_TENSOR(SOMA_SHAPE(3, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    l = soma_loader_new(d, .batch_size = 2, .workers = -1);
    assert_true(soma_loader_next(l, &b));
    assert_true(soma_loader_next(l, &b));
    assert_int_equal(soma_ndim(b.y), 3);
    assert_true(((float *)soma_data(b.y))[3] == 12);
    soma_loader_free(l);
    soma_data_free(d);
    d = soma_data_tensors(x, NULL);
    l = soma_loader_new(d, .batch_size = 2);
    assert_true(soma_loader_next(l, &b));
    assert_null(b.y);
    check_ok();
    soma_loader_free(l);
    soma_data_free(d);
    soma_scope_end(scope);
}

/* ---- Numbers ---- */

static void test_bytes(void **state)
{
    (void)state;
    uint8_t all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    soma_dataset *d = soma_data_images(all, NULL, 1, 1, 16, 16);
    soma_loader *l = soma_loader_new(d);
    soma_batch b;
    assert_true(soma_loader_next(l, &b));
    for (int i = 0; i < 256; i++)
        assert_true(((float *)soma_data(b.x))[i] == (float)i / 255.0f); /* to the last bit, as PyTorch's ToTensor */
    soma_loader_free(l);
    double mean = 0.2860, std = 0.3530;
    l = soma_loader_new(d, .norm = &(soma_norm_stats){1, &mean, &std});
    assert_true(soma_loader_next(l, &b));
    for (int i = 0; i < 256; i++) /* two roundings of a number below 4: 2 * 2^-23 */
        assert_float_equal(((float *)soma_data(b.x))[i], (i / 255.0 - mean) / std, 2.4e-7);
    soma_loader_free(l);
    soma_data_free(d);
}

/* What soma__sample_changed should give, written from its description. */
static float expected(const float *in, int g, int y, int x, int h, int w, const soma__change *c, float empty)
{
    if (y >= c->erase_y && y < c->erase_y + c->erase_h && x >= c->erase_x && x < c->erase_x + c->erase_w)
        return 0;
    int from_y = y + c->dy, from_x = x + c->dx;
    if (from_y < 0 || from_y >= h || from_x < 0 || from_x >= w)
        return empty;
    return in[(g * h + from_y) * w + (c->flip ? w - 1 - from_x : from_x)];
}

static void test_transforms(void **state)
{
    (void)state;
    enum { N = 60, C = 2, H = 7, W = 10 };
    soma_dataset *bytes = pictures(N, C, H, W);
    soma_tensor *x = soma_keep(soma_empty(SOMA_SHAPE(N, C, H, W), SOMA_F32));
    for (int i = 0; i < N; i++)
        assert_int_equal(soma_data_get(bytes, i, (float *)soma_data(x) + i * C * H * W, NULL), SOMA_OK);
    soma_dataset *floats = soma_data_tensors(x, NULL);
    double mean[C] = {0.4, 0.6}, std[C] = {0.25, 0.5};
    for (int kind = 0; kind < 2; kind++) {
        soma_loader *plain = soma_loader_new(kind ? floats : bytes, .batch_size = N, .norm = &(soma_norm_stats){C, mean, std});
        soma_loader *l = soma_loader_new(kind ? floats : bytes, .batch_size = N, .norm = &(soma_norm_stats){C, mean, std}, .seed = 3,
                                         .flip = true, .shift = 3, .crop = 9, .erase = 0.4);
        soma_batch a, b;
        assert_true(soma_loader_next(plain, &a));
        soma_tensor *want = soma_keep(a.x);
        soma__augment augment = {.flip = true, .shift = 3, .crop = 9, .erase = 0.4, .seed = 3};
        int flips = 0, erased = 0;
        for (int epoch = 0; epoch < 3; epoch++) {
            assert_true(soma_loader_next(l, &b));
            for (int i = 0; i < N; i++) {
                soma__change c = soma__augment_draw(&augment, epoch, i, H, W);
                flips += c.flip;
                erased += c.erase_w > 0;
                assert_in_range(c.dx + 12, 0, 24);
                for (int k = 0; k < C * H * W; k++) {
                    int g = k / (H * W);
                    float empty = (float)((0 - mean[g]) / std[g]);
                    float v = expected((float *)soma_data(want) + i * C * H * W, g, k / W % H, k % W, H, W, &c, empty);
                    /* `empty` is rounded here and there: one step of a float of about 1.6 */
                    if (fabsf(((float *)soma_data(b.x))[i * C * H * W + k] - v) > 1.2e-7f)
                        fail_msg("kind %d epoch %d sample %d element %d", kind, epoch, i, k);
                }
            }
            assert_false(soma_loader_next(l, &b));
        }
        /* 180 draws: within five standard deviations, sqrt(180 p (1-p)) = 6.7 and 6.6 */
        assert_in_range(flips, 90 - 33, 90 + 33);
        assert_in_range(erased, 72 - 33, 72 + 33);
        soma_release(want);
        soma_loader_free(plain);
        soma_loader_free(l);
    }
    soma_data_free(bytes);
    soma_data_free(floats);
    soma_release(x);
}

static void test_draws(void **state)
{
    (void)state;
    soma__augment a = {.flip = false, .shift = 2, .seed = 9};
    int count[5] = {0};
    for (int i = 0; i < 5000; i++)
        count[soma__augment_draw(&a, 0, i, 28, 28).dx + 2]++;
    for (int k = 0; k < 5; k++) /* 1000 each, standard deviation 28 */
        assert_in_range(count[k], 860, 1140);
    a = (soma__augment){.erase = 1, .seed = 9};
    for (int i = 0; i < 2000; i++) {
        soma__change c = soma__augment_draw(&a, 1, i, 28, 28);
        assert_true(c.erase_w > 0 && c.erase_h > 0);
        assert_true(c.erase_x + c.erase_w <= 28 && c.erase_y + c.erase_h <= 28);
        assert_in_range(c.erase_w * c.erase_h, 8, 310); /* 2 … 33 % of 784, sides rounded */
    }
}

/* ---- Stopping and going on ---- */

static void test_resume(void **state)
{
    (void)state;
    soma_dataset *d = pictures(37, 1, 6, 6);
    static record whole, rest;
    soma_loader_opts opts = {.batch_size = 5, .shuffle = true, .seed = 11, .workers = 2, .flip = true, .shift = 1, .size = sizeof opts};
    for (int stop = 0; stop <= 24; stop++) {
        memset(&whole, 0, sizeof whole);
        memset(&rest, 0, sizeof rest);
        int64_t epoch = 0, batch = 0;
        soma_loader *l = soma_loader_new_ex(d, &opts);
        soma_batch b;
        for (int calls = 0; calls < 27; calls++) { /* three epochs of 8 batches, and their ends */
            if (calls == stop)
                soma_loader_tell(l, &epoch, &batch);
            bool got = soma_loader_next(l, &b);
            assert_int_equal(got, calls % 9 != 8);
            if (got && calls >= stop)
                add_batch(&whole, &b);
        }
        soma_loader_free(l);
        l = soma_loader_new_ex(d, &opts);
        for (int i = 0; i < stop % 4; i++) /* it was somewhere else before */
            soma_loader_next(l, &b);
        assert_int_equal(soma_loader_seek(l, epoch, batch), SOMA_OK);
        for (int calls = stop; calls < 27; calls++)
            if (soma_loader_next(l, &b))
                add_batch(&rest, &b);
        soma_loader_free(l);
        assert_int_equal(whole.n, rest.n);
        assert_memory_equal(whole.samples, rest.samples, sizeof whole.samples);
        assert_memory_equal(&whole.sum, &rest.sum, sizeof whole.sum);
    }
    soma_loader *l = soma_loader_new_ex(d, &opts);
    assert_int_equal(soma_loader_seek(l, 0, 9), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "soma_loader_seek: epoch 0, batch 9; an epoch has 8 batches");
    soma_loader_free(l);
    soma_data_free(d);
}

static void test_scopes(void **state)
{
    (void)state;
    soma_dataset *d = pictures(64, 1, 8, 8);
    soma_scope outer = soma_scope_begin();
    soma_scope inner = soma_scope_begin(); /* the context's own lists are made now */
    soma_empty(SOMA_SHAPE(1), SOMA_F32);
    soma_scope_end(inner);
    soma_loader *l = soma_loader_new(d, .batch_size = 8, .workers = -1);
    int64_t before = soma_memory_stats().owner_current[SOMA_OWNER_TEMP];
    soma_batch b;
    int64_t most = 0;
    while (soma_loader_next(l, &b)) {
        assert_non_null(soma_empty(SOMA_SHAPE(1000), SOMA_F32)); /* goes with the next batch */
        most = soma_memory_stats().owner_current[SOMA_OWNER_TEMP] - before;
    }
    assert_in_range(most, 4000, 16000); /* one such tensor, not eight */
    if (BYTES_EXACT)
        assert_int_equal(soma_memory_stats().owner_current[SOMA_OWNER_TEMP], before);
    assert_true(soma_loader_next(l, &b));
    soma_tensor *kept = soma_keep(b.x);
    float first = ((float *)soma_data(kept))[5];
    for (int i = 0; i < 5; i++)
        assert_true(soma_loader_next(l, &b));
    soma_loader_free(l);
    assert_true(((float *)soma_data(kept))[5] == first); /* its memory is its own */
    soma_release(kept);
    soma_scope_end(outer);
    soma_data_free(d);
}

static void test_break(void **state)
{
    (void)state;
    soma_dataset *d = pictures(256, 3, 32, 32);
    int64_t before = soma_memory_stats().current;
    for (int i = 0; i < 60; i++) {
        soma_loader *l = soma_loader_new(d, .batch_size = 16, .shuffle = true, .workers = 1 + i % 4, .prefetch = i % 7, .flip = true);
        soma_batch b;
        for (int k = 0; k < i % 5; k++)
            assert_true(soma_loader_next(l, &b));
        if (i % 3 == 0)
            assert_int_equal(soma_loader_seek(l, i, i % 16), SOMA_OK);
        soma_loader_free(l); /* while the workers are busy */
    }
    check_ok();
    if (BYTES_EXACT)
        assert_int_equal(soma_memory_stats().current, before);
    soma_data_free(d);
    soma_loader_free(NULL);
}

static void test_pending(void **state)
{
    (void)state;
    soma_dataset *d = pictures(20, 1, 4, 4);
    soma_loader *l = soma_loader_new(d, .batch_size = 4);
    soma_batch b;
    assert_true(soma_loader_next(l, &b));
    soma_fail(SOMA_ENAN, "the loss");
    assert_false(soma_loader_next(l, &b));
    check_error(SOMA_ENAN, "the loss");
    assert_true(soma_loader_next(l, &b)); /* goes on where it was */
    assert_int_equal(b.index, 1);
    soma_loader_free(l);
    soma_data_free(d);
}

static void test_bad_options(void **state)
{
    (void)state;
    soma_dataset *d = pictures(20, 3, 4, 4);
    double one = 1, zero = 0;
    assert_null(soma_loader_new(NULL));
    check_error(SOMA_EINVAL, "the data set is NULL");
    assert_null(soma_loader_new(d, .batch_size = -2));
    check_error(SOMA_EINVAL, "batch_size is -2");
    assert_null(soma_loader_new(d, .batch_size = 64, .drop_last = true));
    check_error(SOMA_EINVAL, "drop_last leaves no batch: 20 samples, batch_size 64");
    assert_null(soma_loader_new(d, .shift = -1));
    check_error(SOMA_EINVAL, "shift -1");
    assert_null(soma_loader_new(d, .erase = 1.5));
    check_error(SOMA_EINVAL, "erase 1.5 a probability");
    assert_null(soma_loader_new(d, .norm = &(soma_norm_stats){2, (double[]){0, 0}, (double[]){1, 1}}));
    check_error(SOMA_ESHAPE, "2 means, but samples have 3 channels");
    assert_null(soma_loader_new(d, .norm = &(soma_norm_stats){1, &one, &zero}));
    check_error(SOMA_EINVAL, "standard deviation 0");
    soma_data_free(d);
    soma_scope scope = soma_scope_begin();
    d = soma_data_tensors(SOMA_TENSOR(SOMA_SHAPE(2, 3), 1, 2, 3, 4, 5, 6), NULL);
    assert_null(soma_loader_new(d, .flip = true));
    check_error(SOMA_ESHAPE, "are for images [C, H, W]; a sample here is [3]");
    soma_data_free(d);
    soma_scope_end(scope);
}

/* All of Fashion-MNIST once: normalised numbers have mean 0 and deviation 1, and each class comes 6000 times. */
static void test_fashion(void **state)
{
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/data/fashion-mnist", shared_data());
    if (access(path, R_OK) != 0) {
        print_message("skipped: no %s (set SOMA_SHARED)\n", path);
        skip();
    }
    soma_dataset *d = soma_data_open(path);
    soma_norm_stats s;
    assert_int_equal(soma_data_stats(d, &s), SOMA_OK);
    soma_loader *l = soma_loader_new(d, .batch_size = 64, .shuffle = true, .norm = &s, .workers = 2);
    double sum = 0, square = 0;
    int64_t count[10] = {0};
    for (soma_batch b; soma_loader_next(l, &b);) {
        const float *x = soma_data(b.x);
        for (int64_t i = 0; i < b.count * 784; i++) {
            sum += (double)x[i];
            square += (double)x[i] * (double)x[i];
        }
        for (int64_t i = 0; i < b.count; i++)
            count[((int64_t *)soma_data(b.y))[i]]++;
    }
    check_ok();
    double n = 60000.0 * 784;
    assert_float_equal(sum / n, 0, 1e-6); /* floats of about 1 with errors of 1e-7 that are far from all alike */
    assert_float_equal(square / n, 1, 1e-6);
    for (int k = 0; k < 10; k++)
        assert_int_equal(count[k], 6000);
    soma_norm_stats_free(&s);
    soma_loader_free(l);
    soma_data_free(d);
}

/* ---- Files that turn out damaged while loading ---- */

static soma_dataset *lazy_set(const char *folder, bool skip_bad)
{
    for (int i = 0; i < 12; i++)
        put_image(at("%s/%c/%02d.png", folder, 'a' + i % 2, i), 6, 6, 1, i);
    int64_t was = soma__data_in_memory;
    soma__data_in_memory = 0;
    soma_dataset *d = soma_data_open(at("%s", folder), .skip_bad = skip_bad);
    soma__data_in_memory = was;
    check_ok();
    assert_non_null(d->kind == &soma__data_files ? d : NULL);
    return d;
}

static void test_lazy(void **state)
{
    (void)state;
    static record lazy, ready;
    soma_dataset *d = lazy_set("lz", false), *e = soma_data_open(at("lz"));
    soma_loader_opts opts = {.batch_size = 5, .shuffle = true, .seed = 2, .workers = 3, .flip = true};
    run_epochs(d, opts, 2, &lazy);
    run_epochs(e, opts, 2, &ready);
    assert_memory_equal(&lazy, &ready, sizeof lazy);
    soma_data_free(e);
    cut(at("lz/a/04.png"), 60); /* the third sample */
    for (int workers = -1; workers <= 2; workers++) {
        soma_loader *l = soma_loader_new(d, .batch_size = 2, .workers = workers);
        soma_batch b;
        assert_true(soma_loader_next(l, &b));
        assert_false(soma_loader_next(l, &b));
        check_error(SOMA_EFORMAT, "a/04.png");
        assert_false(soma_loader_next(l, &b)); /* the same batch again */
        check_error(SOMA_EFORMAT, "a/04.png");
        put_image(at("lz/a/04.png"), 6, 6, 1, 4);
        assert_true(soma_loader_next(l, &b));
        assert_int_equal(b.index, 1);
        cut(at("lz/a/04.png"), 60);
        soma_loader_free(l);
    }
    soma_data_free(d);
}

static void test_lazy_skip(void **state)
{
    (void)state;
    soma_dataset *d = lazy_set("ls", true);
    cut(at("ls/a/04.png"), 60);
    cut(at("ls/b/01.png"), 60); /* samples 2, 6 and 7: a whole batch of two */
    cut(at("ls/b/03.png"), 60);
    soma_loader *l = soma_loader_new(d, .batch_size = 2, .workers = 2);
    log_begin();
    for (int epoch = 0; epoch < 2; epoch++) {
        int n = 0, batches = 0;
        for (soma_batch b; soma_loader_next(l, &b); batches++) {
            assert_int_equal(b.count, soma_size(b.x, 0));
            assert_int_equal(b.count, soma_numel(b.y));
            assert_int_not_equal(b.index, 3); /* nothing is left of it */
            n += (int)b.count;
        }
        check_ok();
        assert_int_equal(n, 9);
        assert_int_equal(batches, 5);
    }
    log_end();
    assert_int_equal(n_logged, 3); /* each once */
    check_text(logged, "a/04.png");
    assert_int_equal(soma_data_skipped(d), 3);
    soma_loader_free(l);
    soma_data_free(d);
}

/* ---- Memory ---- */

static bool load_all(void *arg)
{
    soma_dataset *d = ((void **)arg)[0];
    int workers = *(int *)((void **)arg)[1];
    double mean = 0.5, std = 0.5;
    soma_scope scope = soma_scope_begin();
    soma_loader *l = soma_loader_new(d, .batch_size = 8, .shuffle = true, .workers = workers, .flip = true,
                                     .norm = &(soma_norm_stats){1, &mean, &std});
    int batches = 0;
    for (soma_batch b; l && soma_loader_next(l, &b);)
        batches++;
    soma_loader_free(l);
    soma_scope_end(scope);
    return batches == 3;
}

static void test_allocations(void **state)
{
    (void)state;
    soma_dataset *d = pictures(20, 1, 5, 5), *lazy = lazy_set("la", true);
    static const int workers[] = {-1, 1, 2};
    for (size_t i = 0; i < SOMA_LEN(workers); i++) {
        int n = workers[i];
        fail_each_allocation(load_all, (void *[]){d, &n});
    }
    soma_dataset *twice = soma_data_subset(lazy, (int64_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4}, 17);
    int none = -1;
    fail_each_allocation(load_all, (void *[]){twice, &none}); /* no memory is no damage: nothing is left out */
    assert_int_equal(soma_data_skipped(lazy), 0);
    soma_data_free(twice);
    soma_data_free(lazy);
    soma_data_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),     cmocka_unit_test(test_shapes),      cmocka_unit_test(test_targets), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_transforms), cmocka_unit_test(test_draws),      cmocka_unit_test(test_resume),  cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_break),     cmocka_unit_test(test_pending),     cmocka_unit_test(test_bad_options), cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_lazy_skip), cmocka_unit_test(test_allocations), cmocka_unit_test(test_fashion),
    };
    return cmocka_run_group_tests(tests, NULL, tree_end);
}
