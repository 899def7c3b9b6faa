/* Running scores: what the figures of an epoch or an evaluation are made of, batch by batch. Sums only, in double, always in
 * the order of the samples, so that they neither depend on threads nor on whether a checkpoint lay between. */
#include "train/train.h"

#include <math.h>
#include <string.h>

void soma__score_clear(soma__score *s) {
    soma__score fresh = {.task = s->task, .classes = s->classes, .confusion = s->confusion, .threshold = s->threshold};
    *s = fresh;
}

void soma__score_get(const soma__score *s, double out[SOMA__SCORE_NUMBERS]) {
    const double all[SOMA__SCORE_NUMBERS] = {s->count, s->loss_sum, s->correct, s->top5, s->values,
                                             s->mean,  s->m2,       s->sse,     s->sae};
    memcpy(out, all, sizeof(all));
}

void soma__score_set(soma__score *s, const double in[SOMA__SCORE_NUMBERS]) {
    s->count = in[0], s->loss_sum = in[1], s->correct = in[2], s->top5 = in[3];
    s->values = in[4], s->mean = in[5], s->m2 = in[6], s->sse = in[7], s->sae = in[8];
}

double soma__score_loss(const soma__score *s) {
    return s->count > 0 ? s->loss_sum / s->count : NAN;
}

/* 1 - SSE / SST. Targets that are all equal leave it undefined: 1 for exact predictions, else 0, as scikit-learn has it. */
double soma__r2(double sse, double sst) {
    if (sst > 0) return 1 - sse / sst;
    return sse > 0 ? 0 : 1;
}

double soma__score_accuracy(const soma__score *s) {
    if (s->count <= 0) return NAN;
    return s->task == SOMA_REGRESS ? soma__r2(s->sse, s->m2) : s->correct / s->count;
}

/* One sample's scores: the class called (the first of equals) and how many classes come before the true one. */
static int64_t rank_row(const float *row, int64_t classes, int64_t truth, int64_t *called) {
    int64_t best = 0, before = 0;
    float own = row[truth];
    for (int64_t c = 0; c < classes; c++) {
        if (row[c] > row[best]) best = c;
        before += row[c] > own || (row[c] == own && c < truth);
    }
    *called = best;
    return own == own ? before : classes; /* a NaN is never among the first */
}

static void count_classes(soma__score *s, const float *p, const int64_t *y, int64_t n, int64_t classes) {
    for (int64_t i = 0; i < n; i++) {
        int64_t called = 0, truth = y[i];
        if (classes == 1) {
            called = p[i] >= s->threshold;
            s->correct += called == truth;
            s->top5 += 1;
        } else if (truth >= 0 && truth < classes) {
            s->top5 += rank_row(p + i * classes, classes, truth, &called) < 5;
            s->correct += called == truth;
        }
        if (s->confusion && truth >= 0 && truth < s->classes && called < s->classes)
            s->confusion[truth * s->classes + called]++;
    }
}

static void count_values(soma__score *s, const float *p, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double error = (double)p[i] - y[i], delta = y[i] - s->mean;
        s->values += 1;
        s->mean += delta / s->values;
        s->m2 += delta * (y[i] - s->mean);
        s->sse += error * error;
        s->sae += fabs(error);
    }
}

static soma_status unfit(const char *what, const soma_tensor *prediction, const soma_tensor *target) {
    char a[SOMA__SHAPE_TEXT], b[SOMA__SHAPE_TEXT];
    return soma_fail(SOMA_ESHAPE, "%s: the network gives %s for targets %s", what,
                     soma__shape_text(soma_ndim(prediction), soma_shape(prediction), a, sizeof(a)),
                     soma__shape_text(soma_ndim(target), soma_shape(target), b, sizeof(b)));
}

soma_status soma__score_add(soma__score *s, soma_tensor *prediction, soma_tensor *target, double loss, int64_t count) {
    if (!prediction || !target) return soma_error();
    int64_t n = soma_numel(prediction), m = soma_numel(target);
    bool classify = s->task != SOMA_REGRESS;
    if (classify && (soma_ndim(prediction) < 2 || m != count || n % (m > 0 ? m : 1) || n == 0))
        return unfit("classification needs one row of scores a sample (is a \"flatten\" missing?)", prediction, target);
    if (!classify && n != m) return unfit("regression needs one output a target", prediction, target);
    s->count += (double)count;
    s->loss_sum += loss * (double)count;
    if (count == 0) return SOMA_OK;
    float *p = soma__alloc((size_t)n * sizeof(float));
    void *y = soma__alloc((size_t)m * (classify ? sizeof(int64_t) : sizeof(float)));
    soma_status status = p && y ? SOMA_OK : soma_error();
    if (status == SOMA_OK) status = soma_to_array(prediction, p, n, SOMA_F32);
    if (status == SOMA_OK) status = soma_to_array(target, y, m, classify ? SOMA_I64 : SOMA_F32);
    if (status == SOMA_OK && classify) count_classes(s, p, y, m, n / m);
    if (status == SOMA_OK && !classify) count_values(s, p, y, n);
    soma__free(p);
    soma__free(y);
    return status;
}
