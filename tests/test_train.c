/* Metrics against figures worked out by hand; the fit loop: it learns, gives the same bits for any number of threads and after any
 * stop and resume, stops early, says where NaN came from, survives damaged checkpoints and want of memory. */
#include "check.h"

#include "train/train.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* ---- Temporary folders ---------------------------------------------------------------------------------------- */

static char folder[256];

static const char *new_folder(void) {
    const char *base = getenv("TMPDIR"), *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* fsync is slow on disks */
    snprintf(folder, sizeof folder, "%s/soma-train-XXXXXX", base ? base : memory);
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void remove_folder(const char *path) {
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' || strlen(e->d_name) > 2) unlinkat(dirfd(d), e->d_name, 0);
    if (d) closedir(d);
    rmdir(path);
}

static int count_files(const char *path, const char *start) {
    int n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) n += strncmp(e->d_name, start, strlen(start)) == 0;
    if (d) closedir(d);
    return n;
}

/* ---- Metrics ------------------------------------------------------------------------------------------------------ */

/* Worked out by hand. Classes 0, 1, 2 and one (3) that never occurs:
 *     truth     0 0 0 1 1 2 2 2
 *     predicted 0 0 1 1 2 2 2 0
 * class 0: precision 2/3, recall 2/3; class 1: 1/2, 1/2; class 2: 2/3, 2/3; F1 the same as both. */
static void test_metrics_classes(void **state) {
    const int64_t truth[] = {0, 0, 0, 1, 1, 2, 2, 2}, predicted[] = {0, 0, 1, 1, 2, 2, 2, 0};
    soma_metrics m;
    (void)state;
    assert_int_equal(soma_metrics_classes(truth, predicted, 8, 4, &m), SOMA_OK);
    assert_true(m.count == 8 && m.classes == 4);
    assert_float_equal(m.accuracy, 5.0 / 8, 1e-15);
    assert_int_equal(m.confusion[0 * 4 + 1], 1);
    assert_int_equal(m.confusion[2 * 4 + 0], 1);
    assert_int_equal(m.confusion[2 * 4 + 2], 2);
    assert_float_equal(m.precision[0], 2.0 / 3, 1e-15);
    assert_float_equal(m.recall[1], 0.5, 1e-15);
    assert_float_equal(m.f1[2], 2.0 / 3, 1e-15);
    assert_true(m.precision[3] == 0 && m.recall[3] == 0 && m.f1[3] == 0);
    assert_float_equal(m.macro_f1, (2.0 / 3 + 0.5 + 2.0 / 3) / 3, 1e-15); /* the class that never occurs does not count */
    assert_true(isnan(m.mae) && isnan(m.r2));
    soma_metrics_free(&m);
    const int64_t bad[] = {0, 4};
    assert_int_equal(soma_metrics_classes(bad, bad, 2, 4, &m), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "sample 1");
    assert_null(m.confusion);
}

/* truth 1 2 3 4, predicted 1 3 3 2: errors 0 1 0 -2; SSE 5, SST 5 (mean 2.5), so R² = 0; MAE 3/4, RMSE sqrt(5/4). */
static void test_metrics_values(void **state) {
    const double truth[] = {1, 2, 3, 4}, predicted[] = {1, 3, 3, 2}, same[] = {2, 2};
    soma_metrics m;
    (void)state;
    assert_int_equal(soma_metrics_values(truth, predicted, 4, &m), SOMA_OK);
    assert_float_equal(m.mae, 0.75, 1e-15);
    assert_float_equal(m.rmse, sqrt(1.25), 1e-15);
    assert_float_equal(m.r2, 0, 1e-15);
    assert_true(isnan(m.accuracy));
    soma_metrics_values(truth, truth, 4, &m);
    assert_true(m.r2 == 1 && m.mae == 0);
    soma_metrics_values(same, truth, 2, &m);
    assert_true(m.r2 == 0);
    assert_int_equal(soma_metrics_values(truth, predicted, 0, &m), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "no samples");
}

/* Six classes and scores 0 … 5 in this order: the best is class 5, class 0 is not among the first five. The loss is
 * log(sum exp(k)) - score(truth). */
static void test_evaluate_scores(void **state) {
    const int64_t y[] = {5, 0, 1};
    float x[18];
    (void)state;
    for (int i = 0; i < 18; i++) x[i] = (float)(i % 6);
    soma_scope scope = soma_scope_begin();
    soma_dataset *d = soma_data_tensors(soma_from_array(x, SOMA_SHAPE(3, 6), SOMA_F32), soma_from_array(y, SOMA_SHAPE(3), SOMA_I64));
    soma_loader *l = soma_loader_new(d, .batch_size = 2, .workers = -1);
    soma_module *net = soma_nn_identity();
    soma_metrics m;
    soma_status status = soma_evaluate(net, l, NULL, NULL, &m);
    check_ok();
    assert_int_equal(status, SOMA_OK);
    double sum = 0;
    for (int k = 0; k < 6; k++) sum += exp(k);
    assert_float_equal(m.loss, log(sum) - 2, 1e-6); /* f32 losses of size 3: half a unit is 1.2e-7 */
    assert_float_equal(m.accuracy, 1.0 / 3, 1e-15);
    assert_float_equal(m.top5, 2.0 / 3, 1e-15);
    assert_int_equal(m.confusion[0 * 6 + 5], 1);
    assert_true(soma_nn_training(net));
    soma_metrics_free(&m);
    soma_nn_free(net);
    soma_loader_free(l);
    soma_data_free(d);
    soma_scope_end(scope);
}

static void test_loss_names(void **state) {
    (void)state;
    const char *names[] = {"cross_entropy", "nll", "mse", "l1", "bce_with_logits"};
    for (int i = 0; i < 5; i++) assert_non_null(soma_loss_by_name(names[i]));
    assert_null(soma_loss_by_name("cross_entrpy"));
    check_error(SOMA_ENOTFOUND, "did you mean \"cross_entropy\"");
    /* Two outputs against classes 0 and 1 as 1 0 and 0 1: squared errors 0, 0, 1, 1 on [[1,0],[1,0]]. */
    const int64_t classes[] = {0, 1};
    soma_scope scope = soma_scope_begin();
    soma_tensor *p = SOMA_TENSOR(SOMA_SHAPE(2, 2), 1, 0, 1, 0), *t = soma_from_array(classes, SOMA_SHAPE(2), SOMA_I64);
    assert_float_equal(soma_item(soma_loss_by_name("mse")(NULL, p, t)), 0.5, 0);
    soma_tensor *one = SOMA_TENSOR(SOMA_SHAPE(2, 1), 0.5f, 0.5f);
    assert_float_equal(soma_item(soma_loss_by_name("l1")(NULL, one, t)), 0.5, 0);
    check_ok();
    soma_scope_end(scope);
}

/* ---- A small training ----------------------------------------------------------------------------------------------- */

#define NET "conv 4 3 relu, maxpool 2, batchnorm, flatten, dropout 0.2, linear 10"

typedef struct job {
    soma_dataset *all, *train, *val;
    soma_module *net;
    soma_optim *opt;
    soma_sched *sched;
    soma_loader *loader, *val_loader;
} job;

/* 60 drawn silhouettes, 12 of them for validation; 6 steps an epoch. */
static job new_job(const char *text, uint64_t seed) {
    job j = {0};
    soma_seed(seed);
    j.all = soma_data_drawn(60, 7);
    check_ok();
    assert_int_equal(soma_data_split(j.all, 0.2, 1, false, &j.train, &j.val), SOMA_OK);
    j.net = soma_nn_parse(text);
    int64_t shape[] = {1, 1, 28, 28};
    soma_nn_build(j.net, 4, shape);
    check_ok();
    j.opt = soma_adam(j.net, .lr = 3e-3);
    j.sched = soma_sched_warmup(3, soma_sched_cosine(30, 0));
    j.loader = soma_loader_new(j.train, .batch_size = 8, .shuffle = true, .seed = seed, .flip = true, .shift = 1);
    j.val_loader = soma_loader_new(j.val, .batch_size = 8);
    check_ok();
    return j;
}

static void free_job(job *j) {
    soma_loader_free(j->loader);
    soma_loader_free(j->val_loader);
    soma_sched_free(j->sched);
    soma_optim_free(j->opt);
    soma_nn_free(j->net);
    soma_data_free(j->train);
    soma_data_free(j->val);
    soma_data_free(j->all);
}

/* All parameters and buffers one after another. */
static float *weights(soma_module *net, int64_t *n) {
    soma_named named[64];
    int count = soma_nn_named(net, true, named, 64);
    float *out = malloc(1 << 20);
    *n = 0;
    for (int i = 0; i < count; i++) {
        soma_to_array(named[i].tensor, out + *n, (1 << 18) - *n, SOMA_F32);
        *n += soma_numel(named[i].tensor);
    }
    check_ok();
    return out;
}

static void assert_same_weights(soma_module *a, soma_module *b) {
    int64_t n, m;
    float *x = weights(a, &n), *y = weights(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    free(x);
    free(y);
}

/* A whole file without what depends on the clock. */
static char *history_file(const char *dir) {
    char path[512];
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    soma_bytes b;
    assert_int_equal(soma_read_file(path, false, 0, &b), SOMA_OK);
    char *out = calloc(1, b.size + 1);
    size_t n = 0;
    for (size_t i = 0; i < b.size;) {
        size_t skip = 0;
        const char *keys[] = {",\"seconds\":", ",\"samples_per_second\":"};
        for (int k = 0; k < 2; k++)
            if (i + strlen(keys[k]) < b.size && memcmp(b.data + i, keys[k], strlen(keys[k])) == 0) {
                skip = strlen(keys[k]);
                while (b.data[i + skip] != ',' && b.data[i + skip] != '}') skip++;
            }
        if (skip)
            i += skip;
        else
            out[n++] = (char)b.data[i++];
    }
    soma_bytes_free(&b);
    return out;
}

static int stop_after;
static int stop_at_step(void *user, const soma_progress *p) {
    (void)user;
    return p->total_step == stop_after;
}

/* With `everything`: groups of 4 and 2 batches (4 steps in 2 epochs), mixing, noise, penalties and limits. */
static bool everything;
static soma_status fit_job(job *j, soma_history *h, const char *dir, bool resume, int64_t epochs) {
    soma_fit_opts o = {.epochs = epochs, .sched = j->sched, .clip_norm = 5, .run_dir = dir, .resume = resume, .log_every = 4,
                       .callbacks = {.on_step = stop_at_step}, .size = sizeof o};
    if (everything) {
        o.accumulate = 4, o.mixup = 0.4, o.grad_noise = 0.01, o.label_smoothing = 0.1, o.clip_value = 0.5;
        o.l1 = 1e-4, o.l2 = 1e-3, o.prox_l1 = 0.01, o.max_norm = 2, o.activity_l1 = 1e-4, o.log_every = 1;
    }
    soma_seed(17); /* dropout's numbers; a resumed run has them from the checkpoint */
    return soma_fit_ex(j->net, j->opt, j->loader, j->val_loader, h, &o);
}

static void test_fit_learns(void **state) {
    soma_history h;
    job j = new_job(NET, 3);
    (void)state;
    stop_after = -1;
    soma_status status = soma_fit(j.net, j.opt, j.loader, j.val_loader, &h, .epochs = 12);
    check_ok();
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(h.n, 12);
    assert_int_equal(h.epochs[11].steps, 72);
    assert_true(h.epochs[11].train_loss < 0.5 * h.epochs[0].train_loss);
    assert_true(h.epochs[11].train_accuracy > 0.7); /* one in ten by chance */
    assert_true(h.best >= 0 && h.epochs[h.best].best);
    for (int i = 0; i < h.n; i++) assert_true(h.epochs[i].val_accuracy <= h.epochs[h.best].val_accuracy);
    soma_history_free(&h);
    free_job(&j);
}

static void test_same_bits_for_threads(void **state) {
    const int threads[] = {1, 2, 3, 7};
    job first = {0};
    (void)state;
    stop_after = -1;
    for (int i = 0; i < 4; i++) {
        soma_set_threads(threads[i]);
        job j = new_job(NET, 3);
        soma_history h;
        assert_int_equal(fit_job(&j, &h, NULL, false, 2), SOMA_OK);
        soma_history_free(&h);
        if (i == 0) {
            first = j;
        } else {
            assert_same_weights(first.net, j.net);
            free_job(&j);
        }
    }
    soma_set_threads(0);
    free_job(&first);
}

/* Stopped after each of the steps in turn, in fresh objects resumed: the same weights, model file and history. */
static void stop_and_resume(int steps) {
    soma_history whole, h;
    char straight[256];
    snprintf(straight, sizeof straight, "%s", new_folder());
    stop_after = -1;
    job a = new_job(NET, 3);
    assert_int_equal(fit_job(&a, &whole, straight, false, 2), SOMA_OK);
    char *expected = history_file(straight);
    for (stop_after = 1; stop_after <= steps; stop_after++) {
        const char *dir = new_folder();
        job b = new_job(NET, 3);
        soma_status status = fit_job(&b, &h, dir, false, 2);
        if (stop_after < steps) {
            assert_int_equal(status, SOMA_ESTOPPED);
            check_error(SOMA_ESTOPPED, "resumed");
        }
        soma_history_free(&h);
        free_job(&b);
        int kept = stop_after;
        job c = new_job(NET, 99); /* other weights, another seed of the context: all must come from the checkpoint */
        soma_loader_free(c.loader);
        c.loader = soma_loader_new(c.train, .batch_size = 8, .shuffle = true, .seed = 3, .flip = true, .shift = 1);
        stop_after = -1;
        assert_int_equal(fit_job(&c, &h, dir, true, 2), SOMA_OK);
        stop_after = kept;
        check_ok();
        assert_same_weights(a.net, c.net);
        char *got = history_file(dir);
        assert_string_equal(got, expected);
        assert_int_equal(h.n, whole.n);
        assert_true(h.epochs[1].train_loss == whole.epochs[1].train_loss && h.best == whole.best);
        assert_in_range(count_files(dir, "checkpoint-"), 1, 2);
        free(got);
        soma_history_free(&h);
        free_job(&c);
        remove_folder(dir);
    }
    free(expected);
    soma_history_free(&whole);
    free_job(&a);
    remove_folder(straight);
}

static void test_resume(void **state) {
    (void)state;
    stop_and_resume(12);
}

/* A run that was computed in bf16 does not go on in f32 unnoticed. */
static void test_resume_in_other_precision(void **state) {
    (void)state;
    const char *dir = new_folder();
    soma_history h;
    job a = new_job(NET, 3);
    stop_after = 5;
    soma_set_autocast(SOMA_BF16);
    assert_int_equal(fit_job(&a, &h, dir, false, 2), SOMA_ESTOPPED);
    check_error(SOMA_ESTOPPED, "resumed");
    soma_history_free(&h);
    stop_after = -1;
    soma_set_autocast(SOMA_F32);
    assert_int_equal(fit_job(&a, &h, dir, true, 2), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "the run computed products in bf16, now it would be f32: call soma_set_autocast before");
    soma_history_free(&h);
    soma_set_autocast(SOMA_BF16);
    assert_int_equal(fit_job(&a, &h, dir, true, 2), SOMA_OK);
    soma_set_autocast(SOMA_F32);
    soma_history_free(&h);
    free_job(&a);
    remove_folder(dir);
}

static void test_resume_with_everything(void **state) {
    (void)state;
    everything = true;
    stop_and_resume(4);
    everything = false;
}

/* A run of 1 epoch, resumed with 2, equals one of 2: the schedule does not depend on the number of epochs here. */
static void test_more_epochs(void **state) {
    soma_history h;
    (void)state;
    stop_after = -1;
    job a = new_job(NET, 5), b = new_job(NET, 5);
    assert_int_equal(fit_job(&a, &h, NULL, false, 2), SOMA_OK);
    soma_history_free(&h);
    const char *dir = new_folder();
    assert_int_equal(fit_job(&b, &h, dir, false, 1), SOMA_OK);
    soma_history_free(&h);
    assert_int_equal(fit_job(&b, &h, dir, true, 2), SOMA_OK);
    assert_int_equal(h.n, 2);
    soma_history_free(&h);
    assert_same_weights(a.net, b.net);
    /* Nothing is left to do: the same again. */
    assert_int_equal(fit_job(&b, &h, dir, true, 2), SOMA_OK);
    assert_int_equal(h.n, 2);
    soma_history_free(&h);
    assert_same_weights(a.net, b.net);
    free_job(&a);
    free_job(&b);
    remove_folder(dir);
}

/* ---- Run folders and checkpoints ---------------------------------------------------------------------------------------- */

static int warnings;
static void count_warnings(void *user, soma_log_level level, const char *text) {
    (void)user;
    (void)text;
    warnings += level == SOMA_LOG_WARNING;
}

static void damage(const char *path) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, -100, SEEK_END); /* among the tensors' bytes: only the checksum can tell */
    int c = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(c ^ 1, f);
    fclose(f);
}

static void test_damaged_checkpoint(void **state) {
    char path[512], older[512];
    soma_history h;
    (void)state;
    stop_after = 8;
    const char *dir = new_folder();
    job a = new_job(NET, 3);
    assert_int_equal(fit_job(&a, &h, dir, false, 2), SOMA_ESTOPPED);
    soma_error_clear();
    soma_history_free(&h);
    assert_int_equal(soma_checkpoint_newest(dir, path, sizeof path), SOMA_OK);
    assert_non_null(strstr(path, "checkpoint-000000008"));
    damage(path);
    soma_set_log(count_warnings, NULL);
    warnings = 0;
    assert_int_equal(soma_checkpoint_newest(dir, older, sizeof older), SOMA_OK);
    assert_non_null(strstr(older, "checkpoint-000000006"));
    assert_int_equal(warnings, 1);
    damage(older);
    assert_int_equal(soma_checkpoint_newest(dir, path, sizeof path), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "whole");
    damage(older); /* mended: the same bit again */
    stop_after = -1;
    job b = new_job(NET, 3), c = new_job(NET, 3);
    assert_int_equal(fit_job(&b, &h, dir, true, 2), SOMA_OK);
    soma_history_free(&h);
    assert_int_equal(fit_job(&c, &h, NULL, false, 2), SOMA_OK);
    soma_history_free(&h);
    assert_same_weights(b.net, c.net);
    soma_set_log(NULL, NULL);
    free_job(&a);
    free_job(&b);
    free_job(&c);
    remove_folder(dir);
}

static void test_folder_is_kept(void **state) {
    soma_history h;
    (void)state;
    stop_after = -1;
    const char *dir = new_folder();
    job a = new_job("flatten, linear 10", 3);
    assert_int_equal(fit_job(&a, &h, dir, false, 1), SOMA_OK);
    soma_history_free(&h);
    char *before = history_file(dir);
    assert_int_equal(fit_job(&a, &h, dir, false, 1), SOMA_ESTATE);
    check_error(SOMA_ESTATE, "holds a run already");
    char *after = history_file(dir);
    assert_string_equal(before, after);
    assert_int_equal(soma_fit(a.net, a.opt, a.loader, NULL, &h, .run_dir = dir, .overwrite = true), SOMA_OK);
    assert_int_equal(h.n, 1);
    assert_true(isnan(h.epochs[0].val_loss) && h.best == 0);
    soma_history_free(&h);
    free(before);
    free(after);
    free_job(&a);
    remove_folder(dir);
}

static void test_checkpoint_of_another(void **state) {
    char path[512];
    int64_t n, epoch, batch;
    (void)state;
    const char *dir = new_folder();
    snprintf(path, sizeof path, "%s/c.safetensors", dir);
    job a = new_job("flatten, linear 10", 3), b = new_job("flatten, linear 16 relu, linear 10", 4);
    soma_rng_set((soma_rng){UINT64_MAX, 12345678901234567890u});
    assert_int_equal(soma_loader_seek(a.loader, 4, 2), SOMA_OK);
    assert_int_equal(soma_checkpoint_save(path, a.net, a.opt, a.loader, NULL, 0), SOMA_OK);
    float *before = weights(b.net, &n);
    assert_int_not_equal(soma_checkpoint_load(path, b.net, b.opt, b.loader), SOMA_OK);
    soma_error_clear();
    float *after = weights(b.net, &n);
    assert_memory_equal(before, after, (size_t)n * sizeof *before);
    soma_optim *sgd = soma_sgd(a.net);
    assert_int_equal(soma_checkpoint_load(path, a.net, sgd, NULL), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "made with the optimiser adam");
    job c = new_job("flatten, linear 10", 8);
    soma_seed(1);
    assert_int_equal(soma_checkpoint_load(path, c.net, c.opt, c.loader), SOMA_OK);
    assert_same_weights(a.net, c.net);
    assert_true(soma_rng_get().seed == UINT64_MAX && soma_rng_get().stream == 12345678901234567890u);
    soma_loader_tell(c.loader, &epoch, &batch);
    assert_true(epoch == 4 && batch == 2);
    soma_optim_free(sgd);
    free(before);
    free(after);
    free_job(&a);
    free_job(&b);
    free_job(&c);
    remove_folder(dir);
}

/* ---- Stopping ------------------------------------------------------------------------------------------------------------- */

/* A learning rate of 0 improves nothing: the first epoch sets the mark, and two more use up the patience. */
static void test_early_stopping(void **state) {
    soma_history h;
    (void)state;
    job j = new_job("flatten, linear 10", 3);
    soma_optim_set_lr(j.opt, 0, 0);
    assert_int_equal(soma_fit(j.net, j.opt, j.loader, j.val_loader, &h, .epochs = 10, .patience = 2), SOMA_OK);
    assert_int_equal(h.n, 3);
    assert_true(h.stopped_early);
    assert_int_equal(h.best, 0);
    soma_history_free(&h);
    free_job(&j);
}

static bool always(void *user) {
    (void)user;
    return true;
}

static void test_should_stop(void **state) {
    soma_history h;
    (void)state;
    job j = new_job("flatten, linear 10", 3);
    assert_int_equal(soma_fit(j.net, j.opt, j.loader, j.val_loader, &h, .callbacks = {.should_stop = always}), SOMA_ESTOPPED);
    check_error(SOMA_ESTOPPED, "step 1 of epoch 1");
    assert_int_equal(h.n, 0);
    soma_history_free(&h);
    free_job(&j);
}

/* ---- NaN --------------------------------------------------------------------------------------------------------------------- */

static soma_status fit_values(float *x, soma_module *net, double lr, double clip) {
    const int64_t y[] = {0, 1, 0, 1};
    soma_scope scope = soma_scope_begin();
    soma_dataset *d = soma_data_tensors(soma_from_array(x, SOMA_SHAPE(4, 2), SOMA_F32), soma_from_array(y, SOMA_SHAPE(4), SOMA_I64));
    soma_loader *l = soma_loader_new(d, .batch_size = 2, .workers = -1);
    soma_optim *opt = soma_sgd(net, .lr = lr);
    soma_status status = soma_fit(net, opt, l, NULL, NULL, .epochs = 50, .clip_norm = clip);
    soma_optim_free(opt);
    soma_loader_free(l);
    soma_data_free(d);
    soma_scope_end(scope);
    return status;
}

static soma_module *nan_net(void) {
    int64_t shape[] = {1, 2};
    soma_seed(1);
    soma_module *net = soma_nn_parse("linear 4 relu, linear 2");
    soma_nn_build(net, 2, shape);
    check_ok();
    return net;
}

static void test_nan(void **state) {
    (void)state;
    float x[8] = {1, 2, 3, 4, 5, NAN, 7, 8};
    soma_module *net = nan_net();
    assert_int_equal(fit_values(x, net, 0.1, 0), SOMA_ENAN);
    check_error(SOMA_ENAN, "in the input of sample 2");
    soma_nn_free(net);
    x[5] = 6;
    net = nan_net(); /* the weights explode within some steps */
    assert_int_equal(fit_values(x, net, 1e30, 0), SOMA_ENAN);
    check_error(SOMA_ENAN, "lower learning rate");
    soma_nn_free(net);
    net = nan_net(); /* 3e38 * 3e38 is not a float */
    soma_init_constant_(soma_nn_get(net, "0.weight"), 3e38);
    assert_int_equal(fit_values(x, net, 0.1, 0), SOMA_ENAN);
    check_error(SOMA_ENAN, "in the output of layer 0 (Linear)");
    soma_nn_free(net);
    net = nan_net(); /* a bad weight is found before the layers that use it */
    ((float *)soma_data(soma_nn_get(net, "2.bias")))[1] = INFINITY;
    assert_int_equal(fit_values(x, net, 0.1, 0), SOMA_ENAN);
    check_error(SOMA_ENAN, "in 2.bias");
    soma_nn_free(net);
}

/* sqrt at 0 has a finite value and an infinite slope: the loss is finite, the gradient of the weight is not. */
static soma_tensor *steep_loss(void *user, soma_tensor *p, soma_tensor *y) {
    (void)user;
    (void)y;
    return soma_sum(soma_sqrt(soma_relu(soma_mul_scalar(p, 0))), SOMA_ALL, false);
}

static void test_nan_gradient(void **state) {
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int64_t y[] = {0, 1, 0, 1};
    (void)state;
    for (int clip = 0; clip < 2; clip++) {
        soma_module *net = nan_net();
        soma_scope scope = soma_scope_begin();
        soma_dataset *d = soma_data_tensors(soma_from_array(x, SOMA_SHAPE(4, 2), SOMA_F32), soma_from_array(y, SOMA_SHAPE(4), SOMA_I64));
        soma_loader *l = soma_loader_new(d, .batch_size = 2, .workers = -1);
        soma_optim *opt = soma_sgd(net, .lr = 0.1);
        assert_int_equal(soma_fit(net, opt, l, NULL, NULL, .loss = steep_loss, .clip_norm = clip), SOMA_ENAN);
        if (clip)
            check_error(SOMA_ENAN, "in the gradient of 2.bias");
        else
            check_error(SOMA_ENAN, "after the update of step 1");
        soma_optim_free(opt);
        soma_loader_free(l);
        soma_data_free(d);
        soma_nn_free(net);
        soma_scope_end(scope);
    }
}

/* ---- Wrong use ------------------------------------------------------------------------------------------------------------------ */

static void test_outputs_and_classes(void **state) {
    (void)state;
    job j = new_job("flatten, linear 12", 3);
    assert_int_equal(soma_fit(j.net, j.opt, j.loader, NULL, NULL, .epochs = 1), SOMA_ESHAPE);
    check_error(SOMA_ESHAPE, "\"linear 10\"");
    free_job(&j);
    assert_int_equal(soma_fit(NULL, NULL, NULL, NULL, NULL, .epochs = 1), SOMA_EINVAL);
    soma_error_clear();
    j = new_job("flatten, linear 10", 3);
    assert_int_equal(soma_fit(j.net, j.opt, j.loader, NULL, NULL, .resume = true), SOMA_EINVAL);
    check_error(SOMA_EINVAL, "resume needs run_dir");
    assert_int_equal(soma_fit(j.net, j.opt, j.loader, NULL, NULL, .resume = true, .run_dir = "/nonexistent/run"), SOMA_ENOTFOUND);
    check_error(SOMA_ENOTFOUND, "/nonexistent/run");
    free_job(&j);
}

/* Regression: y = 2 a - b + 1 without noise is learnt, and R² says so. */
static void test_regression(void **state) {
    float x[64], y[32];
    soma_history h;
    (void)state;
    soma_seed(2);
    for (int i = 0; i < 32; i++) {
        x[2 * i] = (float)((i * 7) % 32) / 16 - 1, x[2 * i + 1] = (float)((i * 11) % 32) / 16 - 1;
        y[i] = 2 * x[2 * i] - x[2 * i + 1] + 1;
    }
    soma_scope scope = soma_scope_begin();
    soma_dataset *d = soma_data_tensors(soma_from_array(x, SOMA_SHAPE(32, 2), SOMA_F32), soma_from_array(y, SOMA_SHAPE(32, 1), SOMA_F32));
    soma_loader *l = soma_loader_new(d, .batch_size = 8, .shuffle = true, .workers = -1), *v = soma_loader_new(d, .batch_size = 32, .workers = -1);
    soma_module *net = soma_nn_seq(soma_nn_linear(2, 1));
    soma_optim *opt = soma_sgd(net, .lr = 0.1);
    assert_int_equal(soma_fit(net, opt, l, v, &h, .epochs = 60), SOMA_OK);
    assert_true(h.epochs[59].val_accuracy > 0.9999); /* SGD on an exact line converges geometrically */
    soma_metrics m;
    assert_int_equal(soma_evaluate(net, v, NULL, NULL, &m), SOMA_OK);
    assert_float_equal(m.loss, m.rmse * m.rmse, 1e-6);
    soma_metrics_free(&m);
    soma_history_free(&h);
    soma_optim_free(opt);
    soma_nn_free(net);
    soma_loader_free(l);
    soma_loader_free(v);
    soma_data_free(d);
    soma_scope_end(scope);
}

/* Every allocation of a whole small run fails in turn: SOMA_ENOMEM, nothing lost, no broken file under a good name. */
static void test_memory_fails(void **state) {
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int64_t y[] = {0, 1, 0, 1};
    char path[512];
    bool done = false;
    (void)state;
    soma_seed(1);
    soma_scope outer = soma_scope_begin();
    soma_dataset *d = soma_data_tensors(soma_from_array(x, SOMA_SHAPE(4, 2), SOMA_F32), soma_from_array(y, SOMA_SHAPE(4), SOMA_I64));
    const char *dir = new_folder();
    for (int64_t k = 1; !done; k++) {
        int64_t before = soma_memory_stats().current;
        soma_module *net = nan_net();
        soma_optim *opt = soma_adam(net, .lr = 0.1);
        soma_loader *l = soma_loader_new(d, .batch_size = 2, .workers = -1);
        check_ok();
        soma_history h;
        soma_memory_fail_at(k);
        soma_status status = soma_fit(net, opt, l, l, &h, .epochs = 1, .run_dir = dir, .overwrite = true, .log_every = 1);
        int64_t asked = soma_memory_fail_at(0);
        done = status == SOMA_OK;
        assert_true(done ? asked < k : status == SOMA_ENOMEM);
        if (!done) assert_int_equal(soma_error(), SOMA_ENOMEM);
        soma_error_clear();
        soma_history_free(&h);
        soma_loader_free(l);
        soma_optim_free(opt);
        soma_nn_free(net);
        assert_int_equal(soma_memory_stats().current, before);
        if (count_files(dir, "checkpoint-")) assert_int_equal(soma_checkpoint_newest(dir, path, sizeof path), SOMA_OK);
        assert_int_equal(count_files(dir, ".soma-"), 0);
    }
    soma_data_free(d);
    soma_scope_end(outer);
    remove_folder(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_classes),
        cmocka_unit_test(test_metrics_values),
        cmocka_unit_test(test_evaluate_scores),
        cmocka_unit_test(test_loss_names),
        cmocka_unit_test(test_fit_learns),
        cmocka_unit_test(test_same_bits_for_threads),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_in_other_precision), cmocka_unit_test(test_resume_with_everything),
        cmocka_unit_test(test_more_epochs),
        cmocka_unit_test(test_damaged_checkpoint),
        cmocka_unit_test(test_folder_is_kept),
        cmocka_unit_test(test_checkpoint_of_another),
        cmocka_unit_test(test_early_stopping),
        cmocka_unit_test(test_should_stop),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_nan_gradient),
        cmocka_unit_test(test_outputs_and_classes),
        cmocka_unit_test(test_regression),
        cmocka_unit_test(test_memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
