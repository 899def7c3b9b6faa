/* The figures that tell how good predictions are. Definitions and edge cases are scikit-learn's: a precision, recall or F1
 * whose denominator is 0 is 0, and macro averages run over the classes that occur among truths or predictions. */
#include "train/train.h"

#include <math.h>
#include <string.h>

void soma_metrics_free(soma_metrics *m) {
    if (!m) return;
    soma__free(m->confusion);
    soma__free(m->precision);
    soma__free(m->recall);
    soma__free(m->f1);
    memset(m, 0, sizeof(*m));
}

static void metrics_clear(soma_metrics *m, soma_task task) {
    memset(m, 0, sizeof(*m));
    m->size = sizeof(*m);
    m->task = task;
    m->loss = m->accuracy = m->top5 = m->mae = m->rmse = m->r2 = NAN;
    m->macro_precision = m->macro_recall = m->macro_f1 = NAN;
}

static double ratio(double a, double b) {
    return b > 0 ? a / b : 0;
}

/* Accuracy and the figures of each class from the confusion matrix. */
static void from_confusion(soma_metrics *m) {
    int64_t diagonal = 0;
    int present = 0;
    double p = 0, r = 0, f = 0;
    for (int c = 0; c < m->classes; c++) {
        int64_t hit = m->confusion[(int64_t)c * m->classes + c], truth = 0, called = 0;
        for (int o = 0; o < m->classes; o++) {
            truth += m->confusion[(int64_t)c * m->classes + o];
            called += m->confusion[(int64_t)o * m->classes + c];
        }
        m->precision[c] = ratio((double)hit, (double)called);
        m->recall[c] = ratio((double)hit, (double)truth);
        m->f1[c] = ratio(2.0 * (double)hit, (double)(truth + called));
        diagonal += hit;
        if (truth + called == 0) continue;
        present++;
        p += m->precision[c], r += m->recall[c], f += m->f1[c];
    }
    m->accuracy = m->count ? (double)diagonal / (double)m->count : NAN;
    m->macro_precision = ratio(p, present);
    m->macro_recall = ratio(r, present);
    m->macro_f1 = ratio(f, present);
}

static soma_status room_for(soma_metrics *m, int classes) {
    int64_t cells = 0;
    if (classes <= 0 || !soma__mul_ok(classes, classes, &cells))
        return soma_fail(SOMA_EINVAL, "metrics: %d classes; there must be at least one", classes);
    m->classes = classes;
    m->confusion = soma__calloc((size_t)cells, sizeof(int64_t));
    m->precision = soma__calloc((size_t)classes, sizeof(double));
    m->recall = soma__calloc((size_t)classes, sizeof(double));
    m->f1 = soma__calloc((size_t)classes, sizeof(double));
    if (m->confusion && m->precision && m->recall && m->f1) return SOMA_OK;
    soma_metrics_free(m);
    return soma_error();
}

soma_status soma_metrics_classes(const int64_t *truth, const int64_t *predicted, int64_t n, int classes, soma_metrics *out) {
    metrics_clear(out, SOMA_CLASSIFY);
    soma_status status = room_for(out, classes);
    for (int64_t i = 0; i < n && status == SOMA_OK; i++) {
        int64_t t = truth[i], p = predicted[i];
        if (t < 0 || t >= classes || p < 0 || p >= classes)
            status = soma_fail(SOMA_EINVAL, "metrics: sample %lld has class %lld and prediction %lld; both must be 0 … %d",
                               (long long)i, (long long)t, (long long)p, classes - 1);
        else
            out->confusion[t * classes + p]++;
    }
    if (status != SOMA_OK) {
        soma_metrics_free(out);
        return status;
    }
    out->count = n;
    from_confusion(out);
    return SOMA_OK;
}

soma_status soma_metrics_values(const double *truth, const double *predicted, int64_t n, soma_metrics *out) {
    metrics_clear(out, SOMA_REGRESS);
    if (n <= 0) return soma_fail(SOMA_EINVAL, "metrics: no samples");
    double mean = 0, sst = 0, sse = 0, sae = 0;
    for (int64_t i = 0; i < n; i++) mean += truth[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        double error = predicted[i] - truth[i], off = truth[i] - mean;
        sst += off * off;
        sse += error * error;
        sae += fabs(error);
    }
    out->count = n;
    out->mae = sae / (double)n;
    out->rmse = sqrt(sse / (double)n);
    out->r2 = soma__r2(sse, sst);
    return SOMA_OK;
}

soma_status soma__score_metrics(const soma__score *s, soma_metrics *out) {
    metrics_clear(out, s->task);
    if (s->task != SOMA_REGRESS && s->confusion) {
        soma_status status = room_for(out, s->classes);
        if (status != SOMA_OK) return status;
        memcpy(out->confusion, s->confusion, (size_t)s->classes * (size_t)s->classes * sizeof(int64_t));
        out->count = (int64_t)s->count;
        from_confusion(out);
    }
    out->count = (int64_t)s->count;
    out->loss = soma__score_loss(s);
    if (s->task == SOMA_REGRESS) {
        out->mae = s->values > 0 ? s->sae / s->values : NAN;
        out->rmse = s->values > 0 ? sqrt(s->sse / s->values) : NAN;
        out->r2 = s->values > 0 ? soma__r2(s->sse, s->m2) : NAN;
    } else {
        out->accuracy = soma__score_accuracy(s);
        out->top5 = s->count > 0 ? s->top5 / s->count : NAN;
    }
    return SOMA_OK;
}
