/* Splits and statistics: what is computed from a whole set once, and must come out the same on every machine. */
#include "data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Splits ---- */

typedef struct group {
    int64_t count, take; /* samples, and how many go to the second part */
    double rest;         /* what rounding down left */
} group;

static void shuffle(int64_t *list, int64_t n, soma__random *r) {
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)soma__random_below(r, (uint64_t)i + 1), t = list[i];
        list[i] = list[j];
        list[j] = t;
    }
}

/* Largest remainders: every group gives its share rounded down, and the groups that lost most give one more until the total is
 * the share of the whole; of equals the first. */
static void share_out(group *groups, int64_t n_groups, int64_t total, double fraction) {
    int64_t left = total;
    for (int64_t g = 0; g < n_groups; g++) {
        double share = fraction * (double)groups[g].count;
        groups[g].take = SOMA_MIN((int64_t)floor(share + 1e-9), groups[g].count); /* 0.1 * 30 is 3, not 2 */
        groups[g].rest = share - (double)groups[g].take;
        left -= groups[g].take;
    }
    while (left > 0) {
        int64_t best = -1;
        for (int64_t g = 0; g < n_groups; g++)
            if (groups[g].take < groups[g].count && (best < 0 || groups[g].rest > groups[best].rest))
                best = g;
        if (best < 0)
            return;
        groups[best].take++;
        groups[best].rest -= 1;
        left--;
    }
}

/* Sorts the places 0 … n-1 by group into `order`, keeping their order inside; start[g] is where group g begins. */
static void sort_by_group(const soma_dataset *d, bool plain, const group *groups, int64_t n_groups, int64_t *start,
                          int64_t *order) {
    const soma_dataset *root = soma__data_root(d);
    int64_t at = 0;
    for (int64_t g = 0; g < n_groups; g++) {
        start[g] = at;
        at += groups[g].count;
    }
    for (int64_t i = 0; i < d->count; i++) {
        int64_t g = plain ? 0 : root->labels[soma__data_place(d, i)];
        order[start[g]++] = i;
    }
    for (int64_t g = 0; g < n_groups; g++)
        start[g] -= groups[g].count;
}

static soma_status make_parts(soma_dataset *d, const uint8_t *second_has, int64_t *places, soma_dataset **first,
                              soma_dataset **second) {
    int64_t a = 0, n = d->count;
    for (int64_t i = 0; i < n; i++)
        if (!second_has[i])
            places[a++] = i;
    int64_t b = a;
    for (int64_t i = 0; i < n; i++)
        if (second_has[i])
            places[b++] = i;
    *first = soma_data_subset(d, places, a);
    *second = *first ? soma_data_subset(d, places + a, n - a) : NULL;
    if (*second)
        return SOMA_OK;
    soma_data_free(*first);
    *first = NULL;
    return soma__ctx()->error;
}

static soma_status split(soma_dataset *d, int64_t total, double fraction, uint64_t seed, bool plain, soma_dataset **first,
                         soma_dataset **second) {
    const soma_dataset *root = soma__data_root(d);
    int64_t n = d->count, n_groups = plain ? 1 : root->classes.n;
    group *groups = soma__calloc((size_t)n_groups, sizeof *groups);
    int64_t *start = soma__alloc((size_t)n_groups * sizeof *start), *order = soma__alloc((size_t)n * sizeof *order);
    uint8_t *second_has = soma__calloc((size_t)n, 1);
    soma_status status = SOMA_ENOMEM;
    if (groups && start && order && second_has) {
        for (int64_t i = 0; i < n; i++)
            groups[plain ? 0 : root->labels[soma__data_place(d, i)]].count++;
        share_out(groups, n_groups, total, fraction);
        sort_by_group(d, plain, groups, n_groups, start, order);
        for (int64_t g = 0; g < n_groups; g++) {
            soma__random r = soma__random_new(seed, soma__stream(SOMA__STREAM_SPLIT, (uint64_t)g));
            shuffle(order + start[g], groups[g].count, &r);
            for (int64_t k = 0; k < groups[g].take; k++)
                second_has[order[start[g] + k]] = 1;
        }
        status = make_parts(d, second_has, order, first, second);
    }
    soma__free(groups);
    soma__free(start);
    soma__free(order);
    soma__free(second_has);
    return status;
}

soma_status soma_data_split(soma_dataset *d, double fraction, uint64_t seed, bool plain, soma_dataset **first,
                            soma_dataset **second) {
    *first = *second = NULL;
    if (!d)
        return soma_fail(SOMA_EINVAL, "soma_data_split: the data set is NULL");
    if (!(fraction > 0 && fraction < 1))
        return soma_fail(SOMA_EINVAL, "soma_data_split: the fraction must lie between 0 and 1, got %g", fraction);
    int64_t total = (int64_t)floor(fraction * (double)d->count + 0.5);
    if (total < 1 || total >= d->count)
        return soma_fail(SOMA_EINVAL, "soma_data_split: %g of %lld samples leaves one part empty", fraction,
                         (long long)d->count);
    return split(d, total, fraction, seed, plain || !soma__data_root(d)->labels, first, second);
}

/* ---- Statistics ---- */

/* Bytes: sums are whole numbers, so their order does not matter and threads may add as they come. */
typedef struct byte_sums {
    const soma_dataset *d, *root;
    int64_t groups, inner;
    atomic_ullong *sum, *square;
    atomic_llong samples;
} byte_sums;

static soma_status add_bytes(void *arg, int64_t i, void *scratch) {
    byte_sums *s = arg;
    soma__sample sample;
    soma_status status = s->root->kind->read(s->root, soma__data_place(s->d, i), scratch, &sample);
    if (status != SOMA_OK && s->root->skip_bad && status != SOMA_ENOMEM) {
        soma__error_drop(); /* the loader leaves it out, too, and says so */
        return SOMA_OK;
    }
    if (status != SOMA_OK)
        return status;
    atomic_fetch_add(&s->samples, 1);
    for (int64_t g = 0; g < s->groups; g++) {
        const uint8_t *p = sample.u8 + g * s->inner;
        uint64_t sum = 0, square = 0;
        for (int64_t begin = 0; begin < s->inner; begin += 32768) { /* 32768 squares of bytes fit in 32 bits */
            uint32_t a = 0, b = 0;
            for (int64_t k = begin; k < SOMA_MIN(begin + 32768, s->inner); k++) {
                a += p[k];
                b += (uint32_t)p[k] * p[k];
            }
            sum += a;
            square += b;
        }
        atomic_fetch_add(&s->sum[g], sum);
        atomic_fetch_add(&s->square[g], square);
    }
    return SOMA_OK;
}

static soma_status byte_stats(const soma_dataset *d, soma_norm_stats *out, int64_t inner) {
    byte_sums s = {.d = d, .root = soma__data_root(d), .groups = out->n, .inner = inner};
    s.sum = soma__calloc((size_t)out->n, sizeof *s.sum);
    s.square = soma__calloc((size_t)out->n, sizeof *s.square);
    soma_status status = s.sum && s.square ? soma__work(d->count, (size_t)s.root->numel, add_bytes, &s, NULL, NULL)
                                           : SOMA_ENOMEM;
    long double n = (long double)atomic_load(&s.samples) * (long double)inner;
    if (status == SOMA_OK && n == 0)
        status = soma_fail(SOMA_EFORMAT, "no readable sample in %s", soma_data_describe(d));
    for (int g = 0; g < out->n && status == SOMA_OK; g++) {
        long double mean = (long double)s.sum[g] / n, variance = (long double)s.square[g] / n - mean * mean;
        out->mean[g] = (double)(mean / 255);
        out->std[g] = (double)(sqrtl(SOMA_MAX(variance, 0)) / 255);
    }
    soma__free((void *)s.sum);
    soma__free((void *)s.square);
    return status;
}

/* Floats: two passes in doubles, sample by sample. */
static soma_status float_stats(const soma_dataset *d, soma_norm_stats *out, int64_t inner) {
    const soma_dataset *root = soma__data_root(d);
    double n = (double)d->count * (double)inner;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < d->count; i++) {
            const float *x = root->values + soma__data_place(d, i) * root->numel;
            for (int g = 0; g < out->n; g++)
                for (int64_t k = 0; k < inner; k++) {
                    double v = (double)x[g * inner + k], off = v - out->mean[g];
                    if (pass == 0)
                        out->mean[g] += v;
                    else
                        out->std[g] += off * off;
                }
        }
        for (int g = 0; g < out->n && pass == 0; g++)
            out->mean[g] /= n;
    }
    for (int g = 0; g < out->n; g++)
        out->std[g] = sqrt(out->std[g] / n);
    return SOMA_OK;
}

soma_status soma_data_stats(const soma_dataset *d, soma_norm_stats *out) {
    *out = (soma_norm_stats){0};
    if (!d)
        return soma_fail(SOMA_EINVAL, "soma_data_stats: the data set is NULL");
    const soma_dataset *root = soma__data_root(d);
    int64_t groups = root->ndim > 0 ? root->shape[0] : 1;
    if (groups > 1 << 24)
        return soma_fail(SOMA_EUNSUPPORTED, "soma_data_stats: %lld features", (long long)groups);
    out->n = (int)groups;
    out->mean = soma__calloc((size_t)groups, sizeof *out->mean);
    out->std = soma__calloc((size_t)groups, sizeof *out->std);
    soma_status status = !out->mean || !out->std ? SOMA_ENOMEM
                         : root->values          ? float_stats(d, out, root->numel / groups)
                                                 : byte_stats(d, out, root->numel / groups);
    for (int64_t g = 0; g < groups && status == SOMA_OK; g++)
        if (!(out->std[g] > 1e-12 * fabs(out->mean[g])))
            out->std[g] = 1; /* all values equal: dividing by their spread would make noise of rounding */
    if (status != SOMA_OK)
        soma_norm_stats_free(out);
    return status;
}

void soma_norm_stats_free(soma_norm_stats *s) {
    if (!s)
        return;
    soma__free(s->mean);
    soma__free(s->std);
    *s = (soma_norm_stats){0};
}
