/* A linear support-vector machine by dual coordinate descent (Hsieh et al. 2008): one multiplier a sample, each step exact, samples in a
 * new order at each pass. The intercept is a last feature of ones, penalised as the rest. */
#include "classic/classic.h"

#include <math.h>
#include <string.h>

typedef struct machine {
    int64_t n, p;          /* p counts the feature of ones */
    const double *x;       /* [n, p] */
    const int8_t *sign;    /* ±1 */
    double *square, *alpha, *w;
    int64_t *order;
    double c;
} machine;

static double dot(const double *a, const double *b, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

/* Fisher-Yates with the generator of the library at a fixed seed: the same fit for the same data. */
static void shuffle(int64_t *order, int64_t n, uint64_t stream) {
    for (int64_t i = n - 1; i > 0; i--) {
        uint32_t word[4];
        soma__philox(0x50564d, stream, (uint64_t)i, word);
        uint64_t wide = (uint64_t)word[0] << 32 | word[1];
        int64_t j = (int64_t)(wide % (uint64_t)(i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

static void pass(machine *m) {
    for (int64_t k = 0; k < m->n; k++) {
        int64_t i = m->order[k];
        const double *x = m->x + i * m->p;
        double t = m->sign[i], was = m->alpha[i];
        if (m->square[i] == 0)
            continue;
        double now = was - (t * dot(m->w, x, m->p) - 1) / m->square[i];
        now = now < 0 ? 0 : now > m->c ? m->c : now;
        m->alpha[i] = now;
        for (int64_t j = 0; now != was && j < m->p; j++)
            m->w[j] += (now - was) * t * x[j];
    }
}

/* Σ alpha - |w|² / 2 is below the optimum, the primal value above it. */
static double primal(const machine *m, double *dual) {
    double ww = dot(m->w, m->w, m->p), loss = 0, sum = 0;
    for (int64_t i = 0; i < m->n; i++) {
        double margin = m->sign[i] * dot(m->w, m->x + i * m->p, m->p);
        loss += margin < 1 ? 1 - margin : 0;
        sum += m->square[i] > 0 ? m->alpha[i] : m->c;
    }
    *dual = sum - 0.5 * ww;
    return 0.5 * ww + m->c * loss;
}

static void train(machine *m, const soma_classic_opts *o, soma_classic_report *r) {
    int64_t most = o->max_iter ? o->max_iter : 10000, i = 0;
    double dual, value = 0;
    bool done = false;
    for (int64_t k = 0; k < m->n; k++) {
        m->order[k] = k;
        m->alpha[k] = 0;
    }
    while (!done && i < most) {
        shuffle(m->order, m->n, (uint64_t)i);
        pass(m);
        i++;
        if (i % 10 == 0 || i == most) {
            value = primal(m, &dual);
            done = value - dual <= o->tol * fabs(value);
        }
    }
    r->iterations = SOMA_MAX(r->iterations, i);
    r->converged = r->converged && done;
    r->objective += value;
}

/* One machine a row of w. */
static bool train_all(const soma__classic *c, soma_tensor *x, soma_tensor *w, soma_classic_report *r) {
    int64_t n = c->n, p = soma_size(x, 1), outputs = soma_size(w, 0);
    soma_tensor *numbers = soma_empty(SOMA_SHAPE(2 * n), SOMA_F64), *order = soma_empty(SOMA_SHAPE(n), SOMA_I64);
    soma_tensor *sign = soma_empty(SOMA_SHAPE(n), SOMA_I8);
    if (soma__failed())
        return false;
    const int64_t *y = soma_data(c->y);
    machine m = {.n = n, .p = p, .x = soma_data(x), .sign = soma_data(sign), .square = soma_data(numbers), .order = soma_data(order), .c = c->o.c};
    m.alpha = m.square + n;
    for (int64_t i = 0; i < n; i++)
        m.square[i] = dot(m.x + i * p, m.x + i * p, p);
    *r = (soma_classic_report){.converged = true};
    for (int64_t k = 0; k < outputs; k++) {
        for (int64_t i = 0; i < n; i++)
            ((int8_t *)soma_data(sign))[i] = y[i] == (outputs == 1 ? 1 : k) ? 1 : -1;
        m.w = (double *)soma_data(w) + k * p;
        train(&m, &c->o, r);
    }
    return true;
}

soma_module *soma_linear_svm_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report) {
    soma_scope scope = soma_scope_begin();
    bool was = soma_set_grad_enabled(false);
    soma__classic c = {0};
    soma_classic_report r = {0};
    soma_module *m = NULL;
    if (soma__classic_classes(&c, "linear_svm", x, y, opts)) {
        int64_t extra = !c.o.no_intercept;
        soma_tensor *wide = extra ? soma_cat((soma_tensor *[]){c.x, soma_ones(SOMA_SHAPE(c.n, 1), SOMA_F64)}, 2, 1) : c.x;
        soma_tensor *w = soma_zeros(SOMA_SHAPE(c.m == 2 ? 1 : c.m, c.p + extra), SOMA_F64);
        if (wide && w && train_all(&c, wide, w, &r))
            m = soma__classic_module(&c, soma_slice(w, 1, 0, c.p, 1), extra ? soma_contiguous(soma_select(w, 1, c.p)) : NULL, &r);
    }
    if (report)
        *report = r;
    soma_set_grad_enabled(was);
    soma_scope_end(scope);
    return m;
}
