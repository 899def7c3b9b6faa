/* Printing as PyTorch does: common width, fixed or scientific by magnitude, long tensors summarised. */
#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>

enum { PRECISION = 4, EDGE = 3, THRESHOLD = 1000, LINE = 80 };

typedef struct style {
    bool whole;      /* integers and bool */
    bool as_whole;   /* floats without fractions: "1." */
    bool scientific;
    int width;
} style;

typedef struct printer {
    const soma_tensor *t;
    style s;
    bool summary;
    soma__text out;
} printer;

static const char *element(const printer *p, int64_t offset) {
    return (const char *)p->t->data + offset * (int64_t)soma_dtype_size((soma_dtype)p->t->dtype);
}

static int write_value(const printer *p, const char *at, char *out, size_t size) {
    soma_dtype d = (soma_dtype)p->t->dtype;
    if (d == SOMA_BOOL)
        return snprintf(out, size, "%s", *at ? "True" : "False");
    if (p->s.whole)
        return snprintf(out, size, "%lld", (long long)soma__load_int(at, d));
    double v = soma__load(at, d);
    if (isnan(v))
        return snprintf(out, size, "nan");
    if (isinf(v))
        return snprintf(out, size, v < 0 ? "-inf" : "inf");
    if (p->s.scientific)
        return snprintf(out, size, "%.*e", PRECISION, v);
    return p->s.as_whole ? snprintf(out, size, "%.0f.", v) : snprintf(out, size, "%.*f", PRECISION, v);
}

/* Calls `visit` for each element that will be shown. */
static void each_shown(printer *p, int dim, int64_t offset, void (*visit)(printer *, const char *, void *), void *arg) {
    const soma_tensor *t = p->t;
    if (dim == t->ndim) {
        visit(p, element(p, offset), arg);
        return;
    }
    for (int64_t i = 0; i < t->shape[dim]; i++) {
        if (p->summary && t->shape[dim] > 2 * EDGE && i == EDGE)
            i = t->shape[dim] - EDGE;
        each_shown(p, dim + 1, offset + i * t->stride[dim], visit, arg);
    }
}

typedef struct range {
    double low, high; /* of the magnitudes other than 0 */
    bool fraction;
    int width;
} range;

static void see(printer *p, const char *at, void *arg) {
    range *r = arg;
    double v = fabs(soma__load(at, (soma_dtype)p->t->dtype));
    if (!isfinite(v))
        return;
    r->fraction |= v != floor(v);
    if (v > 0) {
        r->low = r->low == 0 ? v : fmin(r->low, v);
        r->high = fmax(r->high, v);
    }
}

static void measure(printer *p, const char *at, void *arg) {
    char text[64];
    int n = write_value(p, at, text, sizeof text);
    int *width = arg;
    if (!isfinite(soma__load(at, (soma_dtype)p->t->dtype)))
        return; /* PyTorch measures finite values only */
    *width = SOMA_MAX(*width, n);
}

/* torch._tensor_str: scientific when the largest is 1000 times the smallest or more, or beyond 1e8, or the smallest below 1e-4; whole
 * numbers only when they are beyond 1e8. */
static void choose_style(printer *p) {
    p->s.whole = !soma_dtype_is_float((soma_dtype)p->t->dtype);
    if (!p->s.whole) {
        range r = {0};
        each_shown(p, 0, 0, see, &r);
        p->s.as_whole = !r.fraction;
        p->s.scientific = r.high > 0 && (r.high > 1e8 || r.high / r.low > 1000.0);
        if (r.fraction)
            p->s.scientific |= r.high > 0 && r.low < 1e-4;
    }
    each_shown(p, 0, 0, measure, &p->s.width);
}

static void put_value(printer *p, int64_t offset) {
    char text[64];
    int n = write_value(p, element(p, offset), text, sizeof text);
    soma__text_add(&p->out, "%*s%s", SOMA_MAX(0, p->s.width - n), "", text);
}

static void put_row(printer *p, int indent, int64_t offset) {
    const soma_tensor *t = p->t;
    int64_t n = t->shape[t->ndim - 1], step = t->stride[t->ndim - 1];
    int per_line = SOMA_MAX(1, (LINE - indent) / (p->s.width + 2)), on_line = 0;
    soma__text_add(&p->out, "[");
    for (int64_t i = 0; i < n; i++) {
        bool gap = p->summary && n > 2 * EDGE && i == EDGE;
        if (i > 0)
            soma__text_add(&p->out, ",");
        if (on_line == per_line) {
            soma__text_add(&p->out, "\n%*s", indent + 1, "");
            on_line = 0;
        } else if (i > 0) {
            soma__text_add(&p->out, " ");
        }
        if (gap) {
            soma__text_add(&p->out, " ..., ");
            i = n - EDGE;
        }
        put_value(p, offset + i * step);
        on_line += gap ? 2 : 1;
    }
    soma__text_add(&p->out, "]");
}

static void put_block(printer *p, int dim, int indent, int64_t offset) {
    const soma_tensor *t = p->t;
    if (dim == t->ndim - 1) {
        put_row(p, indent, offset);
        return;
    }
    int64_t n = t->shape[dim];
    soma__text_add(&p->out, "[");
    for (int64_t i = 0; i < n; i++) {
        if (i > 0) {
            soma__text_add(&p->out, ",");
            for (int k = 0; k < t->ndim - dim - 1; k++)
                soma__text_add(&p->out, "\n");
            soma__text_add(&p->out, "%*s", indent + 1, "");
        }
        if (p->summary && n > 2 * EDGE && i == EDGE) {
            soma__text_add(&p->out, "...,");
            for (int k = 0; k < t->ndim - dim - 1; k++)
                soma__text_add(&p->out, "\n");
            soma__text_add(&p->out, "%*s", indent + 1, "");
            i = n - EDGE;
        }
        put_block(p, dim + 1, indent + 1, offset + i * t->stride[dim]);
    }
    soma__text_add(&p->out, "]");
}

size_t soma_format(const soma_tensor *t, char *out, size_t size) {
    printer p = {.t = t};
    char shape[SOMA__SHAPE_TEXT];
    if (!t) {
        soma__text_add(&p.out, "NULL");
        return soma__text_take(&p.out, out, size);
    }
    soma__text_add(&p.out, "tensor(");
    if (t->numel == 0 || !t->data || !soma__may_read(t, "soma_format")) {
        soma__text_add(&p.out, t->data && t->numel == 0 ? "[], shape=%s" : "no data, shape=%s", soma__shape_text(t->ndim, t->shape, shape, sizeof shape));
    } else {
        p.summary = t->numel > THRESHOLD;
        choose_style(&p);
        if (t->ndim == 0)
            put_value(&p, 0);
        else
            put_block(&p, 0, 7, 0);
    }
    soma_dtype d = (soma_dtype)t->dtype;
    if (d != SOMA_F32 && d != SOMA_I64 && d != SOMA_BOOL)
        soma__text_add(&p.out, ", dtype=%s", soma_dtype_name(d));
    if (t->requires_grad)
        soma__text_add(&p.out, t->node ? ", grad_fn=%s" : ", requires_grad=True%.0s", t->made_by ? t->made_by : "");
    soma__text_add(&p.out, ")");
    return soma__text_take(&p.out, out, size);
}
