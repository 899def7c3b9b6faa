/* Random numbers: rand, randn, randint, bernoulli, randperm, and uniform_, normal_ in place.
 *
 * The recipe, complete, so that other programs can repeat it. Every operator takes the context's seed and its next stream.
 * Word k of (seed, stream) is output k mod 4 of Philox4x32-10 with the key (low, high half of seed) and the counter (low,
 * high half of floor(k / 4), low, high half of stream). Element i, counted row-major, of the result depends on i alone,
 * never on strides or threads. In exact arithmetic, with one rounding to f64 at each written operation and one to the
 * result's dtype at the end:
 *
 *   uniform, f32     u = (word i >> 8) / 2^24.  f16 and bf16 take their 11 and 8 highest bits: (word i >> 21) / 2^11, (word
 * i >> 24) / 2^8 uniform, f64     u = ((word 2i >> 5) 2^26 + (word 2i+1 >> 6)) / 2^53 result low + (high - low) u; what
 * would round up to `high` is the largest number below it normal           two at a time (Box & Muller 1958), for even i:
 * z[i] = r cos t, z[i+1] = r sin t, r = sqrt(-2 log(1 - u)), t = 2 pi v f32, f16, bf16: u and v are the f32 uniforms of
 * words i and i+1; f64: the f64 uniforms of words 2i … 2i+3 result mean + std z randint          x = word 2i * 2^32 + word
 * 2i+1; low + floor(x (high - low) / 2^64) bernoulli        1 if word i < round(p 2^32), else 0 randperm         Fisher &
 * Yates: for i = n-1 … 1 exchange elements i and j, j = x mod (i+1), x of two successive words as in randint; x below 2^64
 * mod (i+1) are passed over, so that all j are equally likely
 *
 * log, cos and sin are our own (kernels/cpu/isa/random.c): the same bits on every machine. */
#include "ops/shape.h"

#include "kernels/cpu/random.h"

#include <math.h>
#include <string.h>

/* ---- Numbers for a run of elements ------------------------------------------------------------------------------ */

enum {
    CHUNK = 256
}; /* elements at a time; a multiple of what one block makes */

typedef struct draw {
    const soma__random_kernels *k;
    soma_rng rng;
    soma_dtype dtype;
    double a, b; /* low and high - low; mean and std; p 2^32 */
    double top;  /* largest result of the dtype */
    int64_t low; /* randint */
    uint64_t range;
    void (*values)(const struct draw *d, uint64_t first, double *to); /* CHUNK of them; `first` is a multiple of CHUNK */
} draw;

/* CHUNK * per words from element `first` on. */
static void words_of(const draw *d, uint64_t first, int per, uint32_t *words) {
    d->k->words(d->rng.seed, d->rng.stream, first * (uint64_t)per / 4, CHUNK * per / 4, words);
}

static void uniform_values(const draw *d, uint64_t first, double *to) {
    uint32_t words[2 * CHUNK];
    if (d->dtype == SOMA_F64) {
        words_of(d, first, 2, words);
        d->k->unit53(words, CHUNK, to);
    } else {
        int drop = d->dtype == SOMA_F16 ? 21 : d->dtype == SOMA_BF16 ? 24 : 8;
        words_of(d, first, 1, words);
        for (int i = 0; i < CHUNK && drop > 8; i++)
            words[i] = words[i] >> drop << drop;
        d->k->unit24(words, CHUNK, to);
    }
    for (int i = 0; i < CHUNK; i++) {
        double v = d->a + d->b * to[i];
        to[i] = v > d->top ? d->top : v;
    }
}

static void normal_values(const draw *d, uint64_t first, double *to) {
    uint32_t words[2 * CHUNK];
    double u[CHUNK / 2], v[CHUNK / 2];
    bool wide = d->dtype == SOMA_F64;
    words_of(d, first, wide ? 2 : 1, words);
    if (wide)
        d->k->unit53(words, CHUNK, to);
    else
        d->k->unit24(words, CHUNK, to);
    for (int i = 0; i < CHUNK / 2; i++) {
        u[i] = 1.0 - to[2 * i];
        v[i] = to[2 * i + 1];
    }
    d->k->normal(u, v, CHUNK / 2);
    for (int i = 0; i < CHUNK / 2; i++) {
        to[2 * i] = d->a + d->b * u[i];
        to[2 * i + 1] = d->a + d->b * v[i];
    }
}

static void bernoulli_values(const draw *d, uint64_t first, double *to) {
    uint32_t words[CHUNK];
    words_of(d, first, 1, words);
    for (int i = 0; i < CHUNK; i++)
        to[i] = (double)words[i] < d->a ? 1.0 : 0.0;
}

static void store_values(const draw *d, const double *from, char *p, int64_t stride, int64_t n) {
    if (d->dtype == SOMA_F32 && stride == (int64_t)sizeof(float)) {
        float *to = (float *)p;
        for (int64_t i = 0; i < n; i++)
            to[i] = (float)from[i];
        return;
    }
    for (int64_t i = 0; i < n; i++)
        soma__store(p + i * stride, d->dtype, from[i]);
}

static void draw_inner(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const draw *d = arg;
    double values[CHUNK];
    for (int64_t at = first, end = first + count; at < end;) {
        int64_t base = at / CHUNK * CHUNK, n = SOMA_MIN(base + CHUNK, end) - at;
        d->values(d, (uint64_t)base, values);
        store_values(d, values + (at - base), p[0] + (at - first) * stride[0], stride[0], n);
        at += n;
    }
}

static const char *run_draw(soma_args *a, draw *d, soma__inner_fn inner) {
    soma_tensor *out = a->out[0];
    soma__iter it;
    d->k = soma__random_table_pick();
    d->rng = a->rng;
    d->dtype = (soma_dtype)out->dtype;
    soma__iter_init(&it, out->ndim, out->shape, (soma_tensor *const[]){out}, 1);
    soma__iter_run(&it, inner, d);
    return NULL;
}

/* ---- rand, uniform_ --------------------------------------------------------------------------------------------- */

/* The largest number of the dtype below `high`; `low` when nothing lies between. */
static double below(double low, double high, soma_dtype dtype) {
    if (!(low < high))
        return low;
    double top = nextafter(high, -INFINITY);
    if (dtype == SOMA_F32 && (double)(float)top >= high)
        top = (double)nextafterf((float)high, -INFINITY);
    if (dtype == SOMA_F16 || dtype == SOMA_BF16) {
        uint16_t bits;
        soma__store(&bits, dtype, top);
        if (soma__load(&bits, dtype) >= high) /* one step towards minus infinity: magnitudes are ordered as their bits */
            bits = bits == 0 ? 0x8001 : bits >> 15 ? bits + 1 : bits - 1;
        top = soma__load(&bits, dtype);
    }
    return top < low ? low : top;
}

static const char *uniform_run(soma_args *a, double low, double high) {
    draw d = {.a = low, .b = high - low, .top = below(low, high, (soma_dtype)a->out[0]->dtype), .values = uniform_values};
    return run_draw(a, &d, draw_inner);
}

/* Shape rule of those without inputs: attributes shape and dtype stand last. */
static bool random_shape(soma_args *a, soma_meta *out) {
    if (!soma__shape_attr(a, a->op->n_attrs - 2, a->op->n_attrs - 1, out))
        return false;
    if (a->op->dtypes & SOMA_BIT(out->dtype))
        return true;
    soma_fail(SOMA_EDTYPE, "%s: there are no such numbers in %s", a->op->name, soma_dtype_name(out->dtype));
    return false;
}

/* The sizes at `at` and the dtype behind them. */
static bool random_case(soma_sample *s, soma_dtype dtype, int at, int ndim, const int64_t *shape) {
    s->n_in = 0;
    s->n_attrs = at + 2;
    s->no_gradcheck = true;
    s->attrs[at + 1] = SOMA_DTYPE("dtype", dtype);
    return soma__ints_attr(&s->attrs[at], "sample", "shape", ndim, shape);
}

static bool rand_samples(int i, soma_dtype dtype, soma_sample *s) {
    return i < 3 && random_case(s, dtype, 0, i, (const int64_t[]){5, 7});
}

static bool rand_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = i ? "there are no such numbers in i32" : "shape [-5] makes no sense";
    s->status = i ? SOMA_EDTYPE : SOMA_ESHAPE;
    return i < 2 && random_case(s, i ? SOMA_I32 : dtype, 0, 1, (const int64_t[]){i ? 5 : -5});
}

#define SHAPE_AND_DTYPE(dtype)                                                                                              \
    SOMA_NEED_INTS("shape", "sizes of the result"), SOMA_DEF_DTYPE("dtype", dtype, "dtype of the result")
static const soma_attr_info shape_attrs[] = {SHAPE_AND_DTYPE(SOMA_F32)};

static const char *rand_kernel(soma_args *a) { return uniform_run(a, 0, 1); }

static const soma_op rand_op = {
    .name = "rand",
    .family = "random",
    .onnx = "RandomUniform",
    .doc = "Numbers uniform in [0, 1).",
    .outputs = 1,
    .attrs = shape_attrs,
    .n_attrs = (int)SOMA_LEN(shape_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = random_shape,
    .cpu = {rand_kernel},
    .backward = SOMA_NONDIFF,
    .random = true,
    .samples = rand_samples,
    .errors = rand_errors,
};

static soma_tensor *run_shape(const soma_op *op, soma_attr *attrs, int ndim, const int64_t *shape, soma_dtype dtype) {
    attrs[op->n_attrs - 1] = SOMA_DTYPE("dtype", dtype);
    return soma__ints_attr(&attrs[op->n_attrs - 2], op->name, "shape", ndim, shape) ? soma__run(op, NULL, 0, attrs) : NULL;
}
soma_tensor *soma_rand(int ndim, const int64_t *shape, soma_dtype dtype) {
    soma_attr attrs[2];
    return run_shape(&rand_op, attrs, ndim, shape, dtype);
}

static bool uniform_shape(soma_args *a, soma_meta *out) {
    double low = soma__attr_float(a, 0), high = soma__attr_float(a, 1);
    if (low <= high && isfinite(high - low))
        return soma__shape_same(a, out);
    soma_fail(SOMA_EINVAL, "uniform_: from %g to %g, expected finite bounds in rising order", low, high);
    return false;
}

static const char *uniform_kernel(soma_args *a) { return uniform_run(a, soma__attr_float(a, 0), soma__attr_float(a, 1)); }

/* In place, with two numbers. */
static bool fill_case(soma_sample *s, soma_dtype dtype, int i, const char *name0, double v0, const char *name1, double v1) {
    s->n_in = 1;
    s->n_attrs = 2;
    s->no_gradcheck = true;
    s->in[0] = soma__sample(dtype, -3, 3, 1, i, (const int64_t[]){5, 7});
    if (i == 2)
        s->in[0] = soma__strided(s->in[0]);
    s->attrs[0] = SOMA_FLOAT(name0, v0);
    s->attrs[1] = SOMA_FLOAT(name1, v1);
    return true;
}

static bool uniform_samples(int i, soma_dtype dtype, soma_sample *s) {
    return i < 3 && fill_case(s, dtype, i, "low", -2, "high", 3);
}

static bool uniform_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = "uniform_: from 3 to 2, expected finite bounds in rising order";
    s->status = SOMA_EINVAL;
    return i < 1 && fill_case(s, dtype, i, "low", 3, "high", 2);
}

static const soma_op uniform_op = {
    .name = "uniform_",
    .family = "random",
    .doc = "Fills x with numbers uniform in [low, high).",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs =
        SOMA_ATTRS(SOMA_DEF_FLOAT("low", 0, "lower bound, included"), SOMA_DEF_FLOAT("high", 1, "upper bound, excluded")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = uniform_shape,
    .cpu = {uniform_kernel},
    .backward = SOMA_NONDIFF,
    .writes = 1,
    .random = true,
    .samples = uniform_samples,
    .errors = uniform_errors,
};
soma_tensor *soma_uniform_(soma_tensor *x, double low, double high) {
    soma_attr attrs[] = {SOMA_FLOAT("low", low), SOMA_FLOAT("high", high)};
    return SOMA__RUN(&uniform_op, attrs, x);
}

/* ---- randn, normal_ --------------------------------------------------------------------------------------------- */

static const char *normal_run(soma_args *a, double mean, double std) {
    draw d = {.a = mean, .b = std, .values = normal_values};
    return run_draw(a, &d, draw_inner);
}

static const char *randn_kernel(soma_args *a) { return normal_run(a, 0, 1); }

static const soma_op randn_op = {
    .name = "randn",
    .family = "random",
    .onnx = "RandomNormal",
    .doc = "Numbers from the standard normal distribution.",
    .outputs = 1,
    .attrs = shape_attrs,
    .n_attrs = (int)SOMA_LEN(shape_attrs),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = random_shape,
    .cpu = {randn_kernel},
    .backward = SOMA_NONDIFF,
    .random = true,
    .samples = rand_samples,
    .errors = rand_errors,
};
soma_tensor *soma_randn(int ndim, const int64_t *shape, soma_dtype dtype) {
    soma_attr attrs[2];
    return run_shape(&randn_op, attrs, ndim, shape, dtype);
}

static bool normal_shape(soma_args *a, soma_meta *out) {
    double mean = soma__attr_float(a, 0), std = soma__attr_float(a, 1);
    if (isfinite(mean) && isfinite(std) && std >= 0)
        return soma__shape_same(a, out);
    soma_fail(SOMA_EINVAL, "normal_: mean %g and std %g, expected finite numbers and std of 0 or more", mean, std);
    return false;
}

static const char *normal_kernel(soma_args *a) { return normal_run(a, soma__attr_float(a, 0), soma__attr_float(a, 1)); }

static bool normal_samples(int i, soma_dtype dtype, soma_sample *s) {
    return i < 3 && fill_case(s, dtype, i, "mean", 1, "std", 0.5);
}

static bool normal_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = "expected finite numbers and std of 0 or more";
    s->status = SOMA_EINVAL;
    return i < 1 && fill_case(s, dtype, i, "mean", 0, "std", -1);
}

static const soma_op normal_op = {
    .name = "normal_",
    .family = "random",
    .doc = "Fills x with normal numbers of this mean and standard deviation.",
    .in = {{.name = "x"}},
    .n_in = 1,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_FLOAT("mean", 0, "mean"), SOMA_DEF_FLOAT("std", 1, "standard deviation")),
    .dtypes = SOMA_FLOATS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = normal_shape,
    .cpu = {normal_kernel},
    .backward = SOMA_NONDIFF,
    .writes = 1,
    .random = true,
    .samples = normal_samples,
    .errors = normal_errors,
};
soma_tensor *soma_normal_(soma_tensor *x, double mean, double std) {
    soma_attr attrs[] = {SOMA_FLOAT("mean", mean), SOMA_FLOAT("std", std)};
    return SOMA__RUN(&normal_op, attrs, x);
}

/* ---- randint ---------------------------------------------------------------------------------------------------- */

static bool randint_shape(soma_args *a, soma_meta *out) {
    int64_t low = soma__attr_int(a, 0), high = soma__attr_int(a, 1);
    if (!random_shape(a, out))
        return false;
    if (low >= high) {
        soma_fail(SOMA_EINVAL, "randint: from %lld to below %lld leaves nothing; expected low < high", (long long)low,
                  (long long)high);
        return false;
    }
    uint64_t room = 0;
    soma__store_int(&room, out->dtype, low);
    bool fits = soma_dtype_is_float(out->dtype) || soma__load_int(&room, out->dtype) == low;
    soma__store_int(&room, out->dtype, high - 1);
    fits = fits && (soma_dtype_is_float(out->dtype) || soma__load_int(&room, out->dtype) == high - 1);
    if (!fits)
        soma_fail(SOMA_EINVAL, "randint: %lld to %lld do not fit in %s", (long long)low, (long long)(high - 1),
                  soma_dtype_name(out->dtype));
    return fits;
}

static void randint_inner(void *arg, char *const *p, const int64_t *stride, int64_t count, int64_t first) {
    const draw *d = arg;
    uint32_t words[2 * CHUNK];
    for (int64_t i = 0, at = -1; i < count; i++) {
        int64_t base = (first + i) / CHUNK * CHUNK;
        if (base != at)
            words_of(d, (uint64_t)base, 2, words);
        at = base;
        const uint32_t *w = words + 2 * (first + i - base);
        uint64_t x = (uint64_t)w[0] << 32 | w[1];
        uint64_t step = (uint64_t)((unsigned __int128)x * d->range >> 64);
        soma__store_int(p[0] + i * stride[0], d->dtype, (int64_t)((uint64_t)d->low + step));
    }
}

static const char *randint_kernel(soma_args *a) {
    draw d = {.low = soma__attr_int(a, 0), .range = (uint64_t)soma__attr_int(a, 1) - (uint64_t)soma__attr_int(a, 0)};
    return run_draw(a, &d, randint_inner);
}

static bool randint_case(soma_sample *s, soma_dtype dtype, int64_t low, int64_t high, int ndim) {
    s->attrs[0] = SOMA_INT("low", low);
    s->attrs[1] = SOMA_INT("high", high);
    return random_case(s, dtype, 2, ndim, (const int64_t[]){5, 7});
}

static bool randint_samples(int i, soma_dtype dtype, soma_sample *s) { return i < 3 && randint_case(s, dtype, 2, 12, i); }

static bool randint_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->error = i ? "randint: 100 to 299 do not fit in u8" : "randint: from 3 to below 3 leaves nothing";
    s->status = SOMA_EINVAL;
    return i < 2 && randint_case(s, i ? SOMA_U8 : dtype, i ? 100 : 3, i ? 300 : 3, 1);
}

static const soma_op randint_op = {
    .name = "randint",
    .family = "random",
    .doc = "Whole numbers in [low, high), all equally likely.",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_DEF_INT("low", 0, "smallest"), SOMA_NEED_INT("high", "one more than the largest"),
                        SHAPE_AND_DTYPE(SOMA_I64)),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_NONE,
    .shape = randint_shape,
    .cpu = {randint_kernel},
    .backward = SOMA_NONDIFF,
    .random = true,
    .samples = randint_samples,
    .errors = randint_errors,
};
soma_tensor *soma_randint(int64_t low, int64_t high, int ndim, const int64_t *shape, soma_dtype dtype) {
    soma_attr attrs[4] = {SOMA_INT("low", low), SOMA_INT("high", high)};
    return run_shape(&randint_op, attrs, ndim, shape, dtype);
}

/* ---- bernoulli -------------------------------------------------------------------------------------------------- */

static bool bernoulli_shape(soma_args *a, soma_meta *out) {
    double p = soma__attr_float(a, 0);
    if (p >= 0 && p <= 1)
        return random_shape(a, out);
    soma_fail(SOMA_EINVAL, "bernoulli: p is %g, expected a probability from 0 to 1", p);
    return false;
}

static const char *bernoulli_kernel(soma_args *a) {
    draw d = {.a = nearbyint(soma__attr_float(a, 0) * 0x1p32), .values = bernoulli_values};
    return run_draw(a, &d, draw_inner);
}

static bool bernoulli_samples(int i, soma_dtype dtype, soma_sample *s) {
    s->attrs[0] = SOMA_FLOAT("p", 0.3);
    return i < 3 && random_case(s, dtype, 1, i, (const int64_t[]){5, 7});
}

static bool bernoulli_errors(int i, soma_dtype dtype, soma_sample *s) {
    s->attrs[0] = SOMA_FLOAT("p", i ? -0.5 : 1.5);
    s->error = i ? "bernoulli: p is -0.5" : "bernoulli: p is 1.5, expected a probability from 0 to 1";
    s->status = SOMA_EINVAL;
    return i < 2 && random_case(s, dtype, 1, 1, (const int64_t[]){5});
}

static const soma_op bernoulli_op = {
    .name = "bernoulli",
    .family = "random",
    .onnx = "Bernoulli",
    .doc = "1 with probability p, else 0.",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_FLOAT("p", "probability of 1"), SHAPE_AND_DTYPE(SOMA_F32)),
    .dtypes = SOMA_ANY,
    .promote = SOMA_PROMOTE_NONE,
    .shape = bernoulli_shape,
    .cpu = {bernoulli_kernel},
    .backward = SOMA_NONDIFF,
    .random = true,
    .samples = bernoulli_samples,
    .errors = bernoulli_errors,
};
soma_tensor *soma_bernoulli(double p, int ndim, const int64_t *shape, soma_dtype dtype) {
    soma_attr attrs[3] = {SOMA_FLOAT("p", p)};
    return run_shape(&bernoulli_op, attrs, ndim, shape, dtype);
}

/* ---- randperm --------------------------------------------------------------------------------------------------- */

static bool randperm_shape(soma_args *a, soma_meta *out) {
    out->dtype = SOMA_I64;
    out->ndim = 1;
    out->shape[0] = soma__attr_int(a, 0);
    if (out->shape[0] >= 0)
        return true;
    soma_fail(SOMA_EINVAL, "randperm: n is %lld, expected 0 or more", (long long)out->shape[0]);
    return false;
}

static const char *randperm_kernel(soma_args *a) {
    int64_t *p = a->out[0]->data, n = a->out[0]->numel;
    soma__random r = soma__random_new(a->rng.seed, a->rng.stream);
    for (int64_t i = 0; i < n; i++)
        p[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)soma__random_below(&r, (uint64_t)i + 1), swap = p[i];
        p[i] = p[j];
        p[j] = swap;
    }
    return NULL;
}

static bool randperm_case(soma_sample *s, int64_t n) {
    s->n_in = 0;
    s->n_attrs = 1;
    s->no_gradcheck = true;
    s->attrs[0] = SOMA_INT("n", n);
    return true;
}

static bool randperm_samples(int i, soma_dtype dtype, soma_sample *s) {
    return dtype == SOMA_I64 && i < 2 && randperm_case(s, 10 * i);
}

static bool randperm_errors(int i, soma_dtype dtype, soma_sample *s) {
    (void)dtype;
    s->error = "randperm: n is -1, expected 0 or more";
    s->status = SOMA_EINVAL;
    return i < 1 && randperm_case(s, -1);
}

static const soma_op randperm_op = {
    .name = "randperm",
    .family = "random",
    .doc = "The numbers 0 to n - 1 in random order, all orders equally likely (i64).",
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_INT("n", "how many")),
    .dtypes = SOMA_BIT(SOMA_I64),
    .promote = SOMA_PROMOTE_NONE,
    .shape = randperm_shape,
    .cpu = {randperm_kernel},
    .backward = SOMA_NONDIFF,
    .random = true,
    .samples = randperm_samples,
    .errors = randperm_errors,
};
soma_tensor *soma_randperm(int64_t n) {
    soma_attr attr = SOMA_INT("n", n);
    return soma__run(&randperm_op, NULL, 0, &attr);
}

soma_op_list soma__random_ops = {&rand_op,     &randn_op,   &randint_op, &bernoulli_op,
                                 &randperm_op, &uniform_op, &normal_op,  NULL};
