/* Pooling in plain C, for any window. Planes are divided among threads, and a plane is one thread's from its first element
 * to its last: gradients of windows that overlap are added in the order of the windows, whatever the number of threads. */
#include "kernels/cpu/pool.h"

#include <math.h>
#include <string.h>

enum {
    GRAIN_ELEMENTS = 1 << 14
};

typedef struct job {
    const soma__pool *p;
    soma_dtype dtype;
    const void *from;
    void *to;
    const int32_t *index_in;
    int32_t *index_out;
} job;

static void run(const job *j, soma__range_fn fn) {
    int64_t plane = SOMA_MAX(j->p->in[0] * j->p->in[1], j->p->out[0] * j->p->out[1]);
    soma__parallel(j->p->planes, SOMA_MAX(1, GRAIN_ELEMENTS / SOMA_MAX(1, plane)), fn, (void *)j);
}

/* ---- Maximum ---------------------------------------------------------------------------------------------------- */

#define MAX_PLANE(T, IS_NAN)                                                                                                \
    static void max_plane_##T(const soma__pool *p, const T *x, T *y, int32_t *index) {                                      \
        for (int64_t r = 0; r < p->out[0]; r++) {                                                                           \
            soma__window v = soma__pool_window(p, 0, r);                                                                    \
            for (int64_t c = 0; c < p->out[1]; c++) {                                                                       \
                soma__window h = soma__pool_window(p, 1, c);                                                                \
                int64_t best = v.start * p->in[1] + h.start;                                                                \
                T top = x[best];                                                                                            \
                for (int64_t i = v.start; i < v.end; i += p->dilation[0])                                                   \
                    for (int64_t k = h.start; k < h.end; k += p->dilation[1]) {                                             \
                        T value = x[i * p->in[1] + k];                                                                      \
                        if (value > top || IS_NAN(value)) {                                                                 \
                            top = value;                                                                                    \
                            best = i * p->in[1] + k;                                                                        \
                        }                                                                                                   \
                    }                                                                                                       \
                *y++ = top;                                                                                                 \
                *index++ = (int32_t)best;                                                                                   \
            }                                                                                                               \
        }                                                                                                                   \
    }
#define NEVER(v) false
MAX_PLANE(float, isnan)
MAX_PLANE(double, isnan)
MAX_PLANE(int64_t, NEVER)
MAX_PLANE(int32_t, NEVER)
MAX_PLANE(int16_t, NEVER)
MAX_PLANE(int8_t, NEVER)
MAX_PLANE(uint8_t, NEVER)

static void max_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1], size = (int64_t)soma_dtype_size(j->dtype);
    for (int64_t k = begin; k < end; k++) {
        const void *x = (const char *)j->from + k * in * size;
        void *y = (char *)j->to + k * out * size;
        int32_t *index = j->index_out + k * out;
        switch (j->dtype) {
        case SOMA_F32: max_plane_float(j->p, x, y, index); break;
        case SOMA_F64: max_plane_double(j->p, x, y, index); break;
        case SOMA_I64: max_plane_int64_t(j->p, x, y, index); break;
        case SOMA_I32: max_plane_int32_t(j->p, x, y, index); break;
        case SOMA_I16: max_plane_int16_t(j->p, x, y, index); break;
        case SOMA_I8: max_plane_int8_t(j->p, x, y, index); break;
        default: max_plane_uint8_t(j->p, x, y, index); break;
        }
    }
}

void soma__max_pool(const soma__pool *p, soma_dtype dtype, const void *x, void *y, int32_t *index) {
    job j = {.p = p, .dtype = dtype, .from = x, .to = y, .index_out = index};
    run(&j, max_range);
}

static void max_backward_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1], size = (int64_t)soma_dtype_size(j->dtype);
    for (int64_t k = begin; k < end; k++) {
        const int32_t *index = j->index_in + k * out;
        const char *g = (const char *)j->from + k * out * size;
        char *gx = (char *)j->to + k * in * size;
        memset(gx, 0, (size_t)(in * size));
        if (j->dtype == SOMA_F32) {
            for (int64_t i = 0; i < out; i++)
                if (index[i] >= 0 && index[i] < in)
                    ((float *)gx)[index[i]] += ((const float *)g)[i];
        } else {
            for (int64_t i = 0; i < out; i++)
                if (index[i] >= 0 && index[i] < in)
                    ((double *)gx)[index[i]] += ((const double *)g)[i];
        }
    }
}

void soma__max_pool_backward(const soma__pool *p, soma_dtype dtype, const void *g, const int32_t *index, void *gx) {
    job j = {.p = p, .dtype = dtype, .from = g, .to = gx, .index_in = index};
    run(&j, max_backward_range);
}

/* ---- Average ---------------------------------------------------------------------------------------------------- */

#define AVG_PLANE(T)                                                                                                        \
    static void avg_plane_##T(const soma__pool *p, const T *x, T *y) {                                                      \
        for (int64_t r = 0; r < p->out[0]; r++) {                                                                           \
            soma__window v = soma__pool_window(p, 0, r);                                                                    \
            for (int64_t c = 0; c < p->out[1]; c++) {                                                                       \
                soma__window h = soma__pool_window(p, 1, c);                                                                \
                T sum = 0;                                                                                                  \
                for (int64_t i = v.start; i < v.end; i++)                                                                   \
                    for (int64_t k = h.start; k < h.end; k++)                                                               \
                        sum += x[i * p->in[1] + k];                                                                         \
                *y++ = sum / (T)(v.count * h.count);                                                                        \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    static void avg_plane_back_##T(const soma__pool *p, const T *g, T *gx) {                                                \
        memset(gx, 0, sizeof(T) * (size_t)(p->in[0] * p->in[1]));                                                           \
        for (int64_t r = 0; r < p->out[0]; r++) {                                                                           \
            soma__window v = soma__pool_window(p, 0, r);                                                                    \
            for (int64_t c = 0; c < p->out[1]; c++) {                                                                       \
                soma__window h = soma__pool_window(p, 1, c);                                                                \
                T part = *g++ / (T)(v.count * h.count);                                                                     \
                for (int64_t i = v.start; i < v.end; i++)                                                                   \
                    for (int64_t k = h.start; k < h.end; k++)                                                               \
                        gx[i * p->in[1] + k] += part;                                                                       \
            }                                                                                                               \
        }                                                                                                                   \
    }
AVG_PLANE(float)
AVG_PLANE(double)

static void avg_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1];
    for (int64_t k = begin; k < end; k++)
        if (j->dtype == SOMA_F32)
            avg_plane_float(j->p, (const float *)j->from + k * in, (float *)j->to + k * out);
        else
            avg_plane_double(j->p, (const double *)j->from + k * in, (double *)j->to + k * out);
}

void soma__avg_pool(const soma__pool *p, soma_dtype dtype, const void *x, void *y) {
    job j = {.p = p, .dtype = dtype, .from = x, .to = y};
    run(&j, avg_range);
}

static void avg_backward_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    int64_t in = j->p->in[0] * j->p->in[1], out = j->p->out[0] * j->p->out[1];
    for (int64_t k = begin; k < end; k++)
        if (j->dtype == SOMA_F32)
            avg_plane_back_float(j->p, (const float *)j->from + k * out, (float *)j->to + k * in);
        else
            avg_plane_back_double(j->p, (const double *)j->from + k * out, (double *)j->to + k * in);
}

void soma__avg_pool_backward(const soma__pool *p, soma_dtype dtype, const void *g, void *gx) {
    job j = {.p = p, .dtype = dtype, .from = g, .to = gx};
    run(&j, avg_backward_range);
}
