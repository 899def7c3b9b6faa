/* soma's convolution and its gradients against oneDNN's:
 *     bench_conv [-j] [-t THREADS] [-s SECONDS] [NAME:BATCH,IC,IH,IW,OC,K,STRIDE,PAD …]
 * Both sides on channels-last images, and oneDNN twice more: on plain NCHW, and wholly in the layouts that it likes ("blocked"), without
 * counting what a conversion costs; its weights are always in the layout that it likes. GFLOP/s at the least time, padding's products counted; the
 * last columns are soma over each: channels-last, plain, blocked. */
#include "bench.h"

#include "base/base.h"
#include "kernels/cpu/conv.h"

#ifdef HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif

typedef struct shape {
    soma__conv c;
    float *x, *w, *y, *bias;
    void *work;
    size_t bytes;
} shape;

static void run_forward(void *arg) {
    shape *s = arg;
    soma__conv_forward(&s->c, s->x, s->w, NULL, false, s->y, s->work, s->bytes);
}
static void run_input(void *arg) {
    shape *s = arg;
    soma__conv_backward_input(&s->c, s->y, s->w, s->x, s->work, s->bytes);
}
static void run_weight(void *arg) {
    shape *s = arg;
    soma__conv_backward_weight(&s->c, s->x, s->y, s->w, s->work, s->bytes);
}

#if defined(HAVE_DNNL)
#if DNNL_VERSION_MAJOR < 3
typedef struct primitive {
    dnnl_primitive_t p;
    dnnl_exec_arg_t args[3];
    dnnl_primitive_desc_t pd;
} primitive;
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void run_dnnl(void *arg) {
    primitive *p = arg;
    dnnl_primitive_execute(p->p, stream, 3, p->args);
    dnnl_stream_wait(stream);
}
static void give(primitive *p, int i, int id, dnnl_query_t q) {
    void *data;
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(p->pd, q, 0);
    p->args[i].arg = id;
    dnnl_memory_create(&p->args[i].memory, md, engine, DNNL_MEMORY_ALLOCATE);
    dnnl_memory_get_data_handle(p->args[i].memory, &data);
    for (size_t f = 0; f < dnnl_memory_desc_get_size(md) / 4; f++)
        ((float *)data)[f] = 0.01f * (float)(f % 100);
}
static bool make(primitive *p, const soma__conv *c, int kind, dnnl_format_tag_t order) {
    dnnl_dims_t xd = {c->batch, c->in_channels, c->in_h, c->in_w}, yd = {c->batch, c->out_channels, c->out_h, c->out_w};
    dnnl_dims_t wd = {c->out_channels, c->in_channels, c->kernel[0], c->kernel[1]}, st = {c->stride[0], c->stride[1]};
    dnnl_dims_t pad = {c->padding[0], c->padding[1]};
    dnnl_memory_desc_t x, w, y;
    dnnl_memory_desc_init_by_tag(&x, 4, xd, dnnl_f32, order);
    dnnl_memory_desc_init_by_tag(&y, 4, yd, dnnl_f32, order);
    dnnl_memory_desc_init_by_tag(&w, 4, wd, dnnl_f32, dnnl_format_tag_any);
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t forward;
    dnnl_convolution_forward_desc_init(&d, dnnl_forward_training, dnnl_convolution_direct, &x, &w, NULL, &y, st, pad, pad);
    if (dnnl_primitive_desc_create(&forward, &d, NULL, engine, NULL) != dnnl_success)
        return false;
    p->pd = forward;
    if (kind == 1)
        dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &x, &w, &y, st, pad, pad);
    if (kind == 2)
        dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, &x, &w, NULL, &y, st, pad, pad);
    if (kind && dnnl_primitive_desc_create(&p->pd, &d, NULL, engine, forward) != dnnl_success)
        return false;
    give(p, 0, kind == 1 ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, kind == 1 ? dnnl_query_diff_src_md : dnnl_query_src_md);
    give(p, 1, kind == 2 ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
         kind == 2 ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    give(p, 2, kind ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST, kind ? dnnl_query_diff_dst_md : dnnl_query_dst_md);
    return dnnl_primitive_create(&p->p, p->pd) == dnnl_success;
}
static void unmake(primitive *p) {
    for (int i = 0; i < 3; i++)
        dnnl_memory_destroy(p->args[i].memory);
    dnnl_primitive_destroy(p->p);
}
#else
#undef HAVE_DNNL /* the interface of version 3 is another one */
#endif
#endif

static void print_row(const char *name, const char *kind, double flops, const contestant *c, int count, size_t work) {
    printf("%-20s %-8s %8.2f ms", name, kind, c[0].best * 1e3);
    for (int i = 0; i < count; i++)
        printf(" %8.1f", flops / c[i].best * 1e-9);
    for (int i = 1; i < count; i++)
        printf(" %7.0f %%", 100 * c[i].best / c[0].best);
    printf("   work %.1f MB\n", (double)work * 1e-6);
    fflush(stdout);
}

static void race(const char *text, double budget) {
    char name[80];
    int b, ic, ih, iw, oc, k, st, p;
    if (sscanf(text, "%63[^:]:%d,%d,%d,%d,%d,%d,%d,%d", name, &b, &ic, &ih, &iw, &oc, &k, &st, &p) != 9) {
        fprintf(stderr, "%s: expected NAME:BATCH,IC,IH,IW,OC,K,STRIDE,PAD\n", text);
        exit(2);
    }
    shape s = {.c = {.dtype = SOMA_F32,
                     .batch = b,
                     .groups = 1,
                     .x_last = true,
                     .y_last = true,
                     .in_channels = ic,
                     .in_h = ih,
                     .in_w = iw,
                     .out_channels = oc,
                     .out_h = (ih + 2 * p - k) / st + 1,
                     .out_w = (iw + 2 * p - k) / st + 1,
                     .kernel = {k, k},
                     .stride = {st, st},
                     .padding = {p, p},
                     .dilation = {1, 1}}};
    s.x = floats((int64_t)b * ic * ih * iw);
    s.w = floats((int64_t)oc * ic * k * k);
    s.y = floats((int64_t)b * oc * s.c.out_h * s.c.out_w);
    static const char *const kinds[] = {"forward", "input", "weight"};
    const size_t length = strlen(name);
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 1 && ic <= 3)
            continue; /* images need no gradient */
        s.bytes = kind == 0   ? soma__conv_forward_work(&s.c)
                  : kind == 1 ? soma__conv_backward_input_work(&s.c)
                              : soma__conv_backward_weight_work(&s.c);
        s.work = aligned_alloc(64, (s.bytes + 127) / 64 * 64);
        contestant c[4] = {{"soma", kind == 0 ? run_forward : kind == 1 ? run_input : run_weight, &s, 0}};
        int count = 1;
#ifdef HAVE_DNNL
        static const char *const names[] = {"onednn_last", "onednn_plain", "onednn_blocked"};
        const dnnl_format_tag_t orders[] = {dnnl_nhwc, dnnl_nchw, dnnl_format_tag_any};
        primitive other[3] = {0};
        for (int i = 0; i < 3; i++)
            if (make(&other[count - 1], &s.c, kind, orders[i])) {
                c[count] = (contestant){names[i], run_dnnl, &other[count - 1], 0};
                count++;
            }
#endif
        compete(c, count, budget);
        double flops = 2.0 * b * oc * (double)(s.c.out_h * s.c.out_w) * ic * k * k;
        if (bench_json) {
            snprintf(name + length, sizeof name - length, ".%s", kinds[kind]);
            json_line("conv.", name, soma_threads(), flops * 1e-9, c, count);
            name[length] = 0;
        } else {
            print_row(name, kinds[kind], flops, c, count, s.bytes);
        }
#ifdef HAVE_DNNL
        for (int i = 0; i < count - 1; i++)
            unmake(&other[i]);
#endif
        free(s.work);
    }
    free(s.x);
    free(s.w);
    free(s.y);
}

int main(int argc, char **argv) {
    static const char *const usual[] = {"lenet1_1-32_28:64,1,28,28,32,3,1,0",     "lenet2_32-64_26:64,32,26,26,64,3,1,0",
                                        "same_32-64_28:64,32,28,28,64,3,1,1",     "rn_cifar_64_32:32,64,32,32,64,3,1,1",
                                        "rn_cifar_128_16:32,128,16,16,128,3,1,1", "rn_cifar_256_8:32,256,8,8,256,3,1,1",
                                        "rn_cifar_512_4:32,512,4,4,512,3,1,1",    "rn_cifar_64-128_s2:32,64,32,32,128,3,2,1",
                                        "rn224_stem_7x7s2:8,3,224,224,64,7,2,3",  "rn224_64_56:8,64,56,56,64,3,1,1",
                                        "rn224_128_28:8,128,28,28,128,3,1,1",     "rn224_256_14:8,256,14,14,256,3,1,1",
                                        "rn224_512_7:8,512,7,7,512,3,1,1",        "rn224_64-128_1x1s2:8,64,56,56,128,1,2,0",
                                        "demo2_32-64_13:64,32,13,13,64,3,1,0"};
    double budget = 0.4;
    int shapes = 0;
    soma_set_threads(1);
#ifdef HAVE_DNNL
    dnnl_engine_create(&engine, dnnl_cpu, 0);
    dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
#endif
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-t") == 0 && i + 1 < argc) {
            soma_set_threads(atoi(argv[++i]));
            bench_clock = soma_threads() > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
        } else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc) {
            budget = atof(argv[++i]);
        } else if (strcmp(argv[i], "-j") == 0) {
            bench_json = 1;
        } else {
            race(argv[i], budget);
            shapes++;
        }
    }
    for (size_t i = 0; i < SOMA_LEN(usual) && !shapes; i++)
        race(usual[i], budget);
    return 0;
}
