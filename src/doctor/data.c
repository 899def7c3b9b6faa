/* Rules about the data: a sample of each set as it is stored, and the first batches as the network will see them. */
#include "data/dataset.h"
#include "doctor/doctor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 2000, FEATURES = 4096, BATCHES = 8 };

/* A set's samples as numbers, spread evenly over it. */
typedef struct sample {
    int64_t n, features, count; /* samples taken, numbers each, samples in the set */
    float *x;
    double *y;
} sample;

static bool take(const soma_dataset *d, int64_t most, sample *s) {
    *s = (sample){.count = soma_data_count(d), .features = 1};
    for (int i = 0; i < soma_data_ndim(d); i++) s->features *= soma_data_shape(d)[i];
    /* at most some 64 MB, however large a sample is */
    s->n = SOMA_MIN(SOMA_MIN(s->count, most), SOMA_MAX(1, (16 << 20) / SOMA_MAX(s->features, 1)));
    s->x = soma__alloc((size_t)(s->n * s->features) * sizeof(float));
    s->y = soma__alloc((size_t)s->n * sizeof(double));
    for (int64_t i = 0; s->x && s->y && i < s->n; i++)
        if (soma_data_get(d, i * s->count / s->n, s->x + i * s->features, &s->y[i]) != SOMA_OK) {
            /* a damaged file: the loader's affair (skip_bad, or an error with its name) */
            soma_error_clear();
            memset(s->x + i * s->features, 0, (size_t)s->features * sizeof(float));
            s->y[i] = NAN;
        }
    return s->x && s->y;
}

static void drop(sample *s) {
    soma__free(s->x);
    soma__free(s->y);
}

/* ---- Values ---------------------------------------------------------------------------------------------------------------------- */

static void check_finite(soma__check *c, const soma_dataset *d, const sample *s, const char *part) {
    int64_t bad = 0, first = -1;
    for (int64_t i = 0; i < s->n; i++) {
        bool whole = c->task != SOMA_REGRESS || soma_loader_reconstructs(c->train) || isfinite(s->y[i]);
        for (int64_t k = 0; whole && k < s->features; k++) whole = isfinite(s->x[i * s->features + k]);
        if (whole) continue;
        if (!bad++) first = i * s->count / s->n;
    }
    if (bad <= (int64_t)soma__limit(c->d, SOMA__RULE_NAN_DATA)) return;
    const char *id = soma_data_id(d, first);
    soma__found(c->d, SOMA__RULE_NAN_DATA, &(soma__case){.value = (double)bad}, "%lld of %lld samples looked at in the %s set; the first is %s (number %lld)",
                (long long)bad, (long long)s->n, part, id ? id : "?", (long long)first);
}

static void check_constant(soma__check *c, const sample *s) {
    int64_t same = 0, first = -1;
    if (soma_data_ndim(soma_loader_dataset(c->train)) != 1 || s->n < 20 || s->features < 2) return; /* borders of images are constant */
    for (int64_t k = 0; k < s->features; k++) {
        bool equal = true;
        for (int64_t i = 1; equal && i < s->n; i++) equal = s->x[i * s->features + k] == s->x[k];
        if (!equal) continue;
        if (!same++) first = k;
    }
    if (same <= (int64_t)soma__limit(c->d, SOMA__RULE_CONSTANT)) return;
    soma__found(c->d, SOMA__RULE_CONSTANT, &(soma__case){.value = (double)same, .sure = (double)same / (double)s->features},
                "%lld of %lld features are equal in %lld samples; the first is number %lld, always %g", (long long)same, (long long)s->features,
                (long long)s->n, (long long)first + 1, (double)s->x[first]);
}

/* ---- Labels ------------------------------------------------------------------------------------------------------------------------- */

static void check_balance(soma__check *c, const sample *s, int64_t *counts) {
    int64_t most = 0, least = INT64_MAX, rare = 0, common = 0, present = 0;
    double bars[32];
    for (int64_t k = 0; k < c->classes; k++) {
        if (k < (int64_t)SOMA_LEN(bars)) bars[k] = (double)counts[k];
        if (counts[k] == 0) continue;
        present++;
        if (counts[k] > most) most = counts[common = k];
        if (counts[k] < least) least = counts[rare = k];
    }
    c->common = s->n ? (double)most / (double)s->n : 0;
    double limit = soma__limit(c->d, SOMA__RULE_IMBALANCE), times = present > 1 ? (double)most / (double)least : 1;
    if (times < limit || s->n < 50) return;
    char picture[128];
    soma__bars(bars, SOMA_MIN(c->classes, (int)SOMA_LEN(bars)), false, picture, sizeof(picture));
    const soma_dataset *d = soma_loader_dataset(c->train);
    soma__found(c->d, SOMA__RULE_IMBALANCE, &(soma__case){.value = times, .picture = picture}, "of %lld samples %lld are %s and %lld are %s: %.0f times as many",
                (long long)s->n, (long long)most, soma_data_class(d, (int)common), (long long)least, soma_data_class(d, (int)rare), times);
}

static void check_labels(soma__check *c, const sample *s, bool train) {
    int64_t *counts = soma__calloc((size_t)SOMA_MAX(c->classes, 1), sizeof(*counts)), wrong = 0;
    double bad = NAN;
    for (int64_t i = 0; counts && i < s->n; i++) {
        if (isnan(s->y[i])) continue;
        if (s->y[i] >= 0 && s->y[i] < c->classes)
            counts[(int)s->y[i]]++;
        else if (!wrong++)
            bad = s->y[i];
    }
    if (wrong)
        soma__found(c->d, SOMA__RULE_LABEL_RANGE, &(soma__case){.value = bad}, "%lld of %lld samples of the %s set; the first is %g, and there are classes 0 to %d",
                    (long long)wrong, (long long)s->n, train ? "training" : "validation", bad, c->classes - 1);
    else if (counts && train)
        check_balance(c, s, counts);
    soma__free(counts);
}

static void note_targets(soma__check *c, const sample *s) {
    double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
    bool own = soma_loader_reconstructs(c->train);
    int64_t n = 0, all = own ? s->n * s->features : s->n;
    for (int64_t i = 0; i < all; i++) {
        double y = own ? (double)s->x[i] : s->y[i];
        if (!isfinite(y)) continue;
        n++;
        sum += y;
        squares += y * y;
        low = SOMA_MIN(low, y);
        high = SOMA_MAX(high, y);
    }
    c->target_mean = n ? sum / (double)n : NAN;
    c->target_std = n ? sqrt(SOMA_MAX(squares / (double)n - c->target_mean * c->target_mean, 0)) : NAN;
    c->target_low = n ? low : NAN;
    c->target_high = n ? high : NAN;
}

/* ---- The same samples in both sets --------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const float *x, int64_t n) { /* FNV-1a, 64 bits, by words */
    uint64_t h = 14695981039346656037u;
    for (int64_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, &x[i], sizeof(word));
        h = (h ^ word) * 1099511628211u;
        h ^= h >> 29;
    }
    return h;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Validation samples are looked for among all of the training set if that is not too large, else among a part: then a share of the overlap
 * is missed, which the estimate makes good. */
static void check_overlap(soma__check *c, const sample *val) {
    soma_dataset *d = soma_loader_dataset(c->train);
    int64_t most = SOMA_MIN(20000, SOMA_MAX(2000, (int64_t)4e7 / SOMA_MAX(val->features, 1)));
    sample train;
    bool ok = take(d, most, &train);
    uint64_t *seen = ok ? soma__alloc((size_t)train.n * sizeof(*seen)) : NULL;
    int64_t twice = 0;
    for (int64_t i = 0; seen && i < train.n; i++) seen[i] = hash_of(train.x + i * train.features, train.features);
    if (seen) qsort(seen, (size_t)train.n, sizeof(*seen), by_number);
    for (int64_t i = 0; seen && i < val->n && val->features == train.features; i++) {
        uint64_t h = hash_of(val->x + i * val->features, val->features);
        twice += bsearch(&h, seen, (size_t)train.n, sizeof(h), by_number) != NULL;
    }
    /* Tables of few different values have equal rows by nature. */
    int64_t different = 0;
    for (int64_t i = 0; seen && i < train.n; i++) different += i == 0 || seen[i] != seen[i - 1];
    double share = seen && val->n ? (double)twice / (double)val->n * (double)train.count / (double)train.n : 0;
    if (seen && share > soma__limit(c->d, SOMA__RULE_OVERLAP) && twice >= 2 && different * 10 >= train.n * 9)
        soma__found(c->d, SOMA__RULE_OVERLAP, &(soma__case){.value = SOMA_MIN(share, 1), .sure = SOMA_MIN(0.6 + share, 1)},
                    "%lld of %lld validation samples are among %lld training samples looked at", (long long)twice, (long long)val->n, (long long)train.n);
    soma__free(seen);
    drop(&train);
}

/* ---- Batches as they come -------------------------------------------------------------------------------------------------------------- */

/* Share of the most frequent class in a batch: expected from drawing `size` at random, about the share in the data and 1/sqrt(size). */
static void check_order(soma__check *c) {
    int64_t batches = SOMA_MIN(soma_loader_batches(c->train), BATCHES), looked = 0, size = 0;
    double share = 0;
    int64_t *counts = soma__alloc((size_t)SOMA_MAX(c->classes, 1) * sizeof(*counts));
    soma_batch b = {.size = sizeof(b)};
    for (int64_t i = 0; counts && i < batches && soma_loader_next(c->train, &b); i++) {
        int64_t most = 0;
        memset(counts, 0, (size_t)c->classes * sizeof(*counts));
        for (int64_t k = 0; k < b.count; k++) {
            double y = NAN;
            if (soma_data_get(soma_loader_dataset(c->train), b.samples[k], NULL, &y) == SOMA_OK && y >= 0 && y < c->classes)
                counts[(int)y]++;
        }
        for (int k = 0; k < c->classes; k++) most = SOMA_MAX(most, counts[k]);
        if (b.count < 4) continue;
        share += (double)most / (double)b.count;
        size = SOMA_MAX(size, b.count);
        looked++;
    }
    soma__free(counts);
    soma_error_clear();
    if (looked < 3 || c->classes < 2) return;
    double chance = SOMA_MAX(1.0 / c->classes, c->common) + 1 / sqrt((double)size);
    share /= (double)looked;
    if (share - chance > soma__limit(c->d, SOMA__RULE_UNSHUFFLED))
        soma__found(c->d, SOMA__RULE_UNSHUFFLED, &(soma__case){.value = share - chance},
                    "in the first %lld batches the most frequent class makes up %.0f %%; shuffled it would be about %.0f %%", (long long)looked, 100 * share,
                    100 * chance);
}

/* Columns of one batch; images channel by channel. */
static void check_scale(soma__check *c) {
    soma_batch b = {.size = sizeof(b)};
    if (!soma_loader_next(c->train, &b) || !b.x || !soma_dtype_is_float(soma_dtype_of(b.x))) {
        soma_error_clear();
        return;
    }
    int ndim = soma_ndim(b.x);
    int64_t n = soma_numel(b.x), rows = soma_size(b.x, 0), columns = ndim >= 2 ? soma_size(b.x, 1) : 1, inner = n / SOMA_MAX(rows * columns, 1);
    float *x = n > 0 && columns <= FEATURES ? soma__alloc((size_t)n * sizeof(float)) : NULL;
    if (!x || soma_to_array(b.x, x, n, SOMA_F32) != SOMA_OK) columns = 0;
    double worst = 0, worst_mean = 0, worst_std = 0, least = INFINITY;
    int64_t where = -1;
    for (int64_t k = 0; k < columns; k++) {
        double sum = 0, squares = 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < inner; i++) {
                double v = (double)x[(r * columns + k) * inner + i];
                sum += v;
                squares += v * v;
            }
        double mean = sum / (double)(rows * inner), std = sqrt(SOMA_MAX(squares / (double)(rows * inner) - mean * mean, 0));
        double size = SOMA_MAX(fabs(mean), std);
        if (std > 0) least = SOMA_MIN(least, std);
        if (size > worst) {
            worst = size;
            worst_mean = mean;
            worst_std = std;
            where = k;
        }
    }
    soma__free(x);
    soma_error_clear();
    if (where < 0 || worst <= soma__limit(c->d, SOMA__RULE_INPUT_SCALE)) return;
    soma__found(c->d, SOMA__RULE_INPUT_SCALE, &(soma__case){.value = worst, .sure = SOMA_MIN(0.5 + log10(worst) / 6, 1)},
                "%s %lld has mean %.3g and deviation %.3g in the first batch%s", inner > 1 ? "channel" : "feature", (long long)where + 1, worst_mean, worst_std,
                isfinite(least) && least * 100 < worst_std ? "; others vary a hundred times less" : "");
}

soma_status soma__check_data(soma__check *c) {
    int64_t most = c->o.samples > 0 ? c->o.samples : SAMPLES, epoch, batch;
    soma_dataset *d = soma_loader_dataset(c->train);
    sample s = {0}, v = {0};
    if (take(d, most, &s)) {
        check_finite(c, d, &s, "training");
        check_constant(c, &s);
        if (c->task == SOMA_CLASSIFY) check_labels(c, &s, true);
        note_targets(c, &s);
    }
    if (c->val && soma_error() == SOMA_OK && take(soma_loader_dataset(c->val), most, &v)) {
        check_finite(c, soma_loader_dataset(c->val), &v, "validation");
        if (c->task == SOMA_CLASSIFY) check_labels(c, &v, false);
        check_overlap(c, &v);
    }
    drop(&s);
    drop(&v);
    if (soma_error() != SOMA_OK) return soma_error();
    soma_loader_tell(c->train, &epoch, &batch);
    if (c->task == SOMA_CLASSIFY && !soma_loader_reconstructs(c->train)) check_order(c);
    soma_loader_seek(c->train, epoch, batch);
    check_scale(c);
    return soma__check_rewind(c, epoch, batch);
}
