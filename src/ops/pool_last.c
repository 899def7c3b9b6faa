/* Walks of channels-last pooling; pool_last.h says for whom. Every output is one task's alone, so cuts do not matter to bits. */
#include "ops/pool_last.h"

#include "ops/dense.h"

#include <string.h>

enum { GRAIN = 1 << 14, CHANNELS = 64 };

bool soma__pool_last(const soma_tensor *x) { return x->dtype == SOMA_F32 && soma__channels_last(x); }

void soma__pool_last_lay(const soma_tensor *x, bool wanted, soma_meta *out) {
    if (x->dtype == SOMA_F32 && (wanted || soma__channels_last(x)))
        soma__lay_channels_last(out);
}

size_t soma__pool_last_work(const soma_args *a) {
    size_t bytes = 0;
    for (int i = 0; i < a->n_in; i++)
        bytes += soma__turned_bytes(a->in[i]);
    return bytes;
}

typedef struct job {
    const soma__pool *p;
    const soma__pool_last_kernels *k;
    int64_t channels, block; /* block: channels of one task */
    const float *from;
    float *to;
    const int32_t *index_in;
    int32_t *index_out;
    bool is_max, is_2x2;
} job;

static job job_of(soma_args *a, const soma__pool *p) {
    char *room = a->work;
    job j = {.p = p, .k = soma__pool_last_pick(), .channels = a->in[0]->shape[1], .to = a->out[0]->data};
    j.from = soma__turn(a->in[0], &room);
    if (a->n_in > 1)
        j.index_in = soma__turn(a->in[1], &room);
    if (a->n_out > 1)
        j.index_out = a->out[1]->data;
    j.block = a->in[0]->shape[0] >= 8 ? j.channels : SOMA_MIN(CHANNELS, j.channels);
    return j;
}

/* A task is a row of outputs. */
static void rows(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const soma__pool *p = j->p;
    int64_t in = p->in[0] * p->in[1] * j->channels, line = p->out[1] * j->channels;
    for (int64_t t = begin; t < end; t++) {
        int64_t image = t / p->out[0], row = t % p->out[0];
        if (j->is_2x2)
            j->k->max2x2_backward(p, j->channels, row, j->from + t * line, j->index_in + t * line, j->to + image * in);
        else if (j->is_max)
            j->k->max(p, j->channels, row, j->from + image * in, j->to + t * line, j->index_out + t * line);
        else
            j->k->avg(p, j->channels, row, j->from + image * in, j->to + t * line);
    }
}

static void run_rows(job *j, int64_t images) {
    const soma__pool *p = j->p;
    int64_t each = p->in[0] * p->in[1] * j->channels / SOMA_MAX(1, p->out[0]);
    soma__parallel(images * p->out[0], SOMA_MAX(1, GRAIN / SOMA_MAX(1, each)), rows, j);
}

/* A task is a block of channels of an image. */
static void blocks(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const soma__pool *p = j->p;
    int64_t each = (j->channels + j->block - 1) / j->block, in = p->in[0] * p->in[1], out = p->out[0] * p->out[1];
    for (int64_t t = begin; t < end; t++) {
        int64_t image = t / each, c = t % each * j->block, n = SOMA_MIN(j->block, j->channels - c);
        const float *g = j->from + image * out * j->channels + c;
        float *gx = j->to + image * in * j->channels + c;
        if (!j->is_max) {
            j->k->avg_backward(p, j->channels, n, g, gx);
            continue;
        }
        const int32_t *index = j->index_in + image * out * j->channels + c;
        for (int64_t i = 0; i < in; i++)
            memset(gx + i * j->channels, 0, (size_t)n * sizeof *gx);
        for (int64_t i = 0; i < out; i++)
            for (int64_t k = 0; k < n; k++) {
                int64_t at = index[i * j->channels + k];
                if (at >= 0 && at < in)
                    gx[at * j->channels + k] += g[i * j->channels + k];
            }
    }
}

static void run_blocks(job *j, int64_t images) {
    const soma__pool *p = j->p;
    soma__parallel(images * ((j->channels + j->block - 1) / j->block), SOMA_MAX(1, GRAIN / (p->in[0] * p->in[1] * j->block)), blocks, j);
}

void soma__pool_last_max(soma_args *a, const soma__pool *p) {
    job j = job_of(a, p);
    j.is_max = true;
    run_rows(&j, a->in[0]->shape[0]);
}

void soma__pool_last_max_backward(soma_args *a, const soma__pool *p, bool is_2x2) {
    job j = job_of(a, p);
    j.is_max = true;
    j.is_2x2 = is_2x2;
    (is_2x2 ? run_rows : run_blocks)(&j, a->in[0]->shape[0]);
}

void soma__pool_last_avg(soma_args *a, const soma__pool *p) {
    job j = job_of(a, p);
    run_rows(&j, a->in[0]->shape[0]);
}

void soma__pool_last_avg_backward(soma_args *a, const soma__pool *p) {
    job j = job_of(a, p);
    run_blocks(&j, a->in[0]->shape[0]);
}
