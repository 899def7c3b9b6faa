/* soma: modules. A module has parameters, buffers, children and a forward; PyTorch's names for all of them.
 *
 * A container owns the modules it is given; soma_nn_free on the outermost frees all. Constructors return NULL with the
 * error recorded; a container given a NULL child frees the others and returns NULL, so calls nest without checks.
 * An input size of 0 is inferred at the first forward (or soma_nn_build), in any layer. */
#ifndef SOMA_NN_H
#define SOMA_NN_H

#include <soma/autograd.h>
#include <soma/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct soma_module soma_module;
struct soma_pair; /* <soma/io.h> */

/* ---- Running ------------------------------------------------------------------------------------------------------ */

SOMA_API soma_tensor *soma_nn_forward(soma_module *m, soma_tensor *x);
/* With several inputs: a Sequential gives all of them to its first layer, parallel branches to each branch; soma_nn_input picks one. */
SOMA_API soma_tensor *soma_nn_forward_n(soma_module *m, soma_tensor *const *in, int n);
/* Train mode (the default) or eval mode, for the module and all below: dropout, batch norm. */
SOMA_API void soma_nn_train(soma_module *m, bool training);
SOMA_API bool soma_nn_training(const soma_module *m);
SOMA_API void soma_nn_free(soma_module *m);
/* Infers the input sizes left open and makes all parameters, for inputs of this shape with the batch dimension first (any
 * size), without computing. An error names the layer that does not fit and both shapes. */
SOMA_API soma_status soma_nn_build(soma_module *m, int ndim, const int64_t *input_shape);
/* The same for inputs like these; only their shapes and dtypes matter. */
SOMA_API soma_status soma_nn_build_n(soma_module *m, soma_tensor *const *in, int n);

/* ---- Parameters and state -------------------------------------------------------------------------------------------- */

typedef struct soma_named {
    const char *name;    /* "0.weight"; owned by the module, until it gets or loses parameters */
    soma_tensor *tensor; /* owned by the module; soma_keep to hold on to it */
    bool buffer;         /* not trained: running statistics */
} soma_named;
/* Parameters, then with `buffers` the buffers too, in the order of the modules. Returns how many there are and writes at
 * most `room` of them; -1 when memory is short. */
SOMA_API int soma_nn_named(soma_module *m, bool buffers, soma_named *out, int room);
SOMA_API soma_tensor *soma_nn_get(soma_module *m, const char *name); /* NULL and SOMA_ENOTFOUND when there is none */
/* All floating parameters and buffers, also those still to be made, in this dtype. The tensors are new: make the optimiser afterwards. */
SOMA_API soma_status soma_nn_to(soma_module *m, soma_dtype dtype);
SOMA_API int64_t soma_nn_count(soma_module *m);                       /* numbers in all parameters */
SOMA_API void soma_nn_zero_grad(soma_module *m);
/* The module's parameters and buffers as one .safetensors file, with soma's version and, if all parts have one, the
 * description in its metadata. */
SOMA_API SOMA_MUST_CHECK soma_status soma_nn_save(soma_module *m, const char *path);
/* The same with `n` more pairs of metadata: class names, normalisation, whatever belongs to the model. */
SOMA_API SOMA_MUST_CHECK soma_status soma_nn_save_meta(soma_module *m, const char *path, const struct soma_pair *pairs, int n);
/* Reads tensors by name into a module of the same structure; every name and shape must fit, or nothing is changed. Input sizes
 * that are open come from the file. */
SOMA_API SOMA_MUST_CHECK soma_status soma_nn_load(soma_module *m, const char *path);
/* Builds the network that a model file describes, with its weights, in eval mode. */
SOMA_API soma_module *soma_nn_open(const char *path);

/* ---- Network descriptions --------------------------------------------------------------------------------------------- */

/* "conv 32 3 relu, maxpool 2, flatten, linear 128 relu, dropout 0.5, linear 10" (docs/network.md has the grammar). Errors
 * point at the word. Input sizes are left open. */
SOMA_API soma_module *soma_nn_parse(const char *text);
/* The module as such a text; returns the length, as snprintf. 0 (no error) when some part is of the caller's own class or has a
 * name that is neither its place nor a word. */
SOMA_API size_t soma_nn_describe(soma_module *m, char *out, size_t size);

/* The words of descriptions: layers, and models by name ("resnet18 classes 10 cifar"), which stand for their layers. */
typedef struct soma_nn_word_info {
    const char *word, *layer; /* "conv", "Conv2d"; "" for a model and for `repeat` */
    const char *help;
    bool model, activation;   /* an activation may follow some layers without a comma */
} soma_nn_word_info;
/* The i-th word, static; false from the end on. */
SOMA_API bool soma_nn_word_get(int i, soma_nn_word_info *out);
/* How it is written: "linear FEATURES [nobias] [tied NAME] [ACTIVATION]". Returns the length, as snprintf; 0 from the end on. */
SOMA_API size_t soma_nn_word_usage(int i, char *out, size_t size);

/* What one layer does to an input. Shapes include the batch dimension. */
typedef struct soma_layer_info {
    const char *path, *type;           /* "0", "Conv2d" */
    int depth;                         /* 0: the module itself, 1: its children … */
    int in_ndim, out_ndim;
    int64_t in_shape[SOMA_MAX_DIMS], out_shape[SOMA_MAX_DIMS];
    int64_t params, trainable;         /* numbers, children's included */
    int64_t flops;                     /* of one forward, a multiply-add counts 2 */
    int64_t activation_bytes;          /* of its output */
} soma_layer_info;
/* Runs the network without computing; returns how many layers there are and writes at most `room`. -1 on error. */
SOMA_API int soma_nn_layers(soma_module *m, int ndim, const int64_t *input_shape, soma_layer_info *out, int room);
/* The same as a table: layer, output shape, parameters, FLOPs; totals and memory for training below. Returns the length, as
 * snprintf. */
SOMA_API size_t soma_nn_summary(soma_module *m, int ndim, const int64_t *input_shape, char *out, size_t size);
/* Both for networks of several inputs, of which only shapes and dtypes matter; in_shape of a layer is that of its first. */
SOMA_API int soma_nn_layers_n(soma_module *m, soma_tensor *const *in, int n_in, soma_layer_info *out, int room);
SOMA_API size_t soma_nn_summary_n(soma_module *m, soma_tensor *const *in, int n_in, char *out, size_t size);

/* ---- Layers (defaults and initialisation as PyTorch's) ------------------------------------------------------------------- */

#define soma_nn_seq(...) \
    soma_nn_seq_ex((int)(sizeof((soma_module *[]){__VA_ARGS__}) / sizeof(soma_module *)), (soma_module *[]){__VA_ARGS__})
SOMA_API soma_module *soma_nn_seq_ex(int n, soma_module *const *children);
/* x + f(x), where f is the layers in a row; their output must have the input's shape. He et al. 2016. */
#define soma_nn_residual(...) \
    soma_nn_residual_ex((int)(sizeof((soma_module *[]){__VA_ARGS__}) / sizeof(soma_module *)), (soma_module *[]){__VA_ARGS__})
SOMA_API soma_module *soma_nn_residual_ex(int n, soma_module *const *children);
/* Adds to a Residual what changes x to the shape of f(x) (a projection shortcut, "downsample"), and an activation of the sum ("act");
 * either may be NULL. Returns the Residual; frees all three on error. */
SOMA_API soma_module *soma_nn_residual_with(soma_module *residual, soma_module *shortcut, soma_module *activation);

typedef struct soma_nn_parallel_opts {
    bool sum;       /* the branches' outputs are added; else they are joined along `dim` */
    bool dim_given; /* says that a `dim` of 0 is meant */
    int64_t dim;    /* 0: 1, the channels */
    size_t size;
} soma_nn_parallel_opts;
/* Branches that are all given the input. */
#define soma_nn_parallel(...)                                                                                                  \
    soma_nn_parallel_ex((int)(sizeof((soma_module *[]){__VA_ARGS__}) / sizeof(soma_module *)), (soma_module *[]){__VA_ARGS__}, \
                        (const soma_nn_parallel_opts *)0)
SOMA_API soma_module *soma_nn_parallel_ex(int n, soma_module *const *branches, const soma_nn_parallel_opts *opts);
/* A layer of several inputs, "layer", and the branches that make them, each given all inputs of the whole: soma_nn_branches(soma_nn_bilinear(0, 0, 5),
 * soma_nn_input(0), soma_nn_seq(soma_nn_input(1), soma_nn_linear(0, 8))). */
#define soma_nn_branches(layer, ...)                                                                                                    \
    soma_nn_branches_ex((layer), (int)(sizeof((soma_module *[]){__VA_ARGS__}) / sizeof(soma_module *)), (soma_module *[]){__VA_ARGS__})
SOMA_API soma_module *soma_nn_branches_ex(soma_module *layer, int n, soma_module *const *branches);
/* Gives back the input of this number, counted from 0. */
SOMA_API soma_module *soma_nn_input(int64_t index);
/* The layer computes with the weight of the layer called `name` in the nearest block around it that has one: a Linear with the
 * transposed weight of another Linear (an autoencoder), else with the weight as it is. Its own weight is dropped. */
SOMA_API soma_status soma_nn_tie(soma_module *m, const char *name);
/* The name that the container which takes the module gives it, in place of its number: soma_nn_seq(soma_nn_as(m, "conv1"), …).
 * Returns `m`; frees it on error. */
SOMA_API soma_module *soma_nn_as(soma_module *m, const char *name);

typedef struct soma_nn_linear_opts {
    bool no_bias;
    size_t size;
} soma_nn_linear_opts;
#define soma_nn_linear(in, ...) soma__nn_linear(in, __VA_ARGS__, .size = sizeof(soma_nn_linear_opts))
#define soma__nn_linear(in, out, ...) soma_nn_linear_ex((in), (out), &(soma_nn_linear_opts){__VA_ARGS__})
/* weight [out, in], bias [out], both uniform in ±1/sqrt(in). */
SOMA_API soma_module *soma_nn_linear_ex(int64_t in, int64_t out, const soma_nn_linear_opts *opts);

/* x1 A x2 + b for two inputs [..., in1] and [..., in2] (soma_nn_forward_n): weight [out, in1, in2]. */
#define soma_nn_bilinear(in1, in2, ...) soma__nn_bilinear(in1, in2, __VA_ARGS__, .size = sizeof(soma_nn_linear_opts))
#define soma__nn_bilinear(in1, in2, out, ...) soma_nn_bilinear_ex((in1), (in2), (out), &(soma_nn_linear_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_bilinear_ex(int64_t in1, int64_t in2, int64_t out, const soma_nn_linear_opts *opts);

/* A variational autoencoder: decoder(z) with z = mu + exp(logvar / 2) noise in training and mu in eval mode; mu and logvar are
 * Linear layers of `latent` features upon the encoder. */
SOMA_API soma_module *soma_nn_variational(int64_t latent, soma_module *encoder, soma_module *decoder);
/* What the first Variational in `m` made of the last input: for the loss. The tensors belong to the module, until its next forward. */
SOMA_API soma_status soma_nn_latent(soma_module *m, soma_tensor **mu, soma_tensor **logvar);

typedef struct soma_nn_conv2d_opts {
    int64_t stride[2], padding[2], dilation[2], groups; /* as soma_conv2d_opts */
    bool padding_same;                                  /* stride 1: output as large as the input */
    bool no_bias;
    size_t size;
} soma_nn_conv2d_opts;
#define soma_nn_conv2d(in, out, ...) soma__nn_conv2d(in, out, __VA_ARGS__, .size = sizeof(soma_nn_conv2d_opts))
#define soma__nn_conv2d(in, out, kernel, ...) soma_nn_conv2d_ex((in), (out), (kernel), (kernel), &(soma_nn_conv2d_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_conv2d_ex(int64_t in, int64_t out, int64_t kh, int64_t kw, const soma_nn_conv2d_opts *opts);

/* The other convolutions. In each list 0 is the default, a first number alone stands for all axes, and -1 beside others means 0. */
typedef struct soma_nn_conv_opts {
    int64_t stride[3], padding[3], dilation[3]; /* 0: 1, 0, 1 */
    int64_t output_padding[3];                  /* transposed only: rows more at the end */
    int64_t groups;
    bool padding_same;                          /* not transposed, stride 1: output as large as the input */
    bool no_bias;
    size_t size;
} soma_nn_conv_opts;
#define soma_nn_conv1d(in, out, ...) soma__nn_conv1d(in, out, __VA_ARGS__, .size = sizeof(soma_nn_conv_opts))
#define soma__nn_conv1d(in, out, kernel, ...) soma_nn_conv1d_ex((in), (out), (kernel), &(soma_nn_conv_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_conv1d_ex(int64_t in, int64_t out, int64_t kernel, const soma_nn_conv_opts *opts);
#define soma_nn_conv3d(in, out, ...) soma__nn_conv3d(in, out, __VA_ARGS__, .size = sizeof(soma_nn_conv_opts))
#define soma__nn_conv3d(in, out, kernel, ...) \
    soma_nn_conv3d_ex((in), (out), (kernel), (kernel), (kernel), &(soma_nn_conv_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_conv3d_ex(int64_t in, int64_t out, int64_t kd, int64_t kh, int64_t kw, const soma_nn_conv_opts *opts);
/* weight [in, out / groups, window…]. */
#define soma_nn_conv_transpose1d(in, out, ...) soma__nn_conv_transpose1d(in, out, __VA_ARGS__, .size = sizeof(soma_nn_conv_opts))
#define soma__nn_conv_transpose1d(in, out, kernel, ...) \
    soma_nn_conv_transpose1d_ex((in), (out), (kernel), &(soma_nn_conv_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_conv_transpose1d_ex(int64_t in, int64_t out, int64_t kernel, const soma_nn_conv_opts *opts);
#define soma_nn_conv_transpose2d(in, out, ...) soma__nn_conv_transpose2d(in, out, __VA_ARGS__, .size = sizeof(soma_nn_conv_opts))
#define soma__nn_conv_transpose2d(in, out, kernel, ...) \
    soma_nn_conv_transpose2d_ex((in), (out), (kernel), (kernel), &(soma_nn_conv_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_conv_transpose2d_ex(int64_t in, int64_t out, int64_t kh, int64_t kw, const soma_nn_conv_opts *opts);
#define soma_nn_conv_transpose3d(in, out, ...) soma__nn_conv_transpose3d(in, out, __VA_ARGS__, .size = sizeof(soma_nn_conv_opts))
#define soma__nn_conv_transpose3d(in, out, kernel, ...) \
    soma_nn_conv_transpose3d_ex((in), (out), (kernel), (kernel), (kernel), &(soma_nn_conv_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_conv_transpose3d_ex(int64_t in, int64_t out, int64_t kd, int64_t kh, int64_t kw,
                                                  const soma_nn_conv_opts *opts);

/* ---- Pooling ---- */

/* In each list 0 is the default, a first number alone stands for all axes, and -1 beside others means 0. */
typedef struct soma_nn_pool_opts {
    int64_t stride[3];        /* 0: the kernel */
    int64_t padding[3];       /* 0; at most half the kernel */
    int64_t dilation[3];      /* max pooling only; 0: 1 */
    bool ceil_mode;
    bool count_exclude_pad;   /* average pooling: divide by the elements inside only */
    int64_t divisor_override; /* average pooling over two or three axes: divide by this; 0: by the number of elements */
    bool return_indices;      /* max pooling: remember where the largest values were, for a MaxUnpool that is tied to this layer */
    size_t size;
} soma_nn_pool_opts;
/* [N, C, L], [N, C, H, W] or [N, C, D, H, W]; `kernel` has as many sizes as there are axes. */
#define soma_nn_max_pool1d(...) soma__nn_max_pool1d(__VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_max_pool1d(kernel, ...) \
    soma_nn_max_pool_ex(1, (const int64_t[]){(kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
#define soma_nn_max_pool2d(...) soma__nn_max_pool2d(__VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_max_pool2d(kernel, ...) \
    soma_nn_max_pool_ex(2, (const int64_t[]){(kernel), (kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
#define soma_nn_max_pool3d(...) soma__nn_max_pool3d(__VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_max_pool3d(kernel, ...) \
    soma_nn_max_pool_ex(3, (const int64_t[]){(kernel), (kernel), (kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_max_pool_ex(int dims, const int64_t *kernel, const soma_nn_pool_opts *opts);
#define soma_nn_avg_pool1d(...) soma__nn_avg_pool1d(__VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_avg_pool1d(kernel, ...) \
    soma_nn_avg_pool_ex(1, (const int64_t[]){(kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
#define soma_nn_avg_pool2d(...) soma__nn_avg_pool2d(__VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_avg_pool2d(kernel, ...) \
    soma_nn_avg_pool_ex(2, (const int64_t[]){(kernel), (kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
#define soma_nn_avg_pool3d(...) soma__nn_avg_pool3d(__VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_avg_pool3d(kernel, ...) \
    soma_nn_avg_pool_ex(3, (const int64_t[]){(kernel), (kernel), (kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_avg_pool_ex(int dims, const int64_t *kernel, const soma_nn_pool_opts *opts);
/* Puts values back where a max pooling layer found them, zeros elsewhere; as large as that layer's input. Which layer, soma_nn_tie
 * says: one with return_indices. PyTorch hands the places over by hand; here no other output is needed. */
SOMA_API soma_module *soma_nn_max_unpool(void);
/* (sum x^p)^(1/p) over windows; one or two axes. */
#define soma_nn_lp_pool1d(p, ...) soma__nn_lp_pool1d(p, __VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_lp_pool1d(p, kernel, ...) \
    soma_nn_lp_pool_ex(1, (p), (const int64_t[]){(kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
#define soma_nn_lp_pool2d(p, ...) soma__nn_lp_pool2d(p, __VA_ARGS__, .size = sizeof(soma_nn_pool_opts))
#define soma__nn_lp_pool2d(p, kernel, ...) \
    soma_nn_lp_pool_ex(2, (p), (const int64_t[]){(kernel), (kernel)}, &(soma_nn_pool_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_lp_pool_ex(int dims, double p, const int64_t *kernel, const soma_nn_pool_opts *opts);
/* Windows that divide the input into so many parts; 1 is global pooling. */
#define soma_nn_adaptive_avg_pool1d(out) soma_nn_adaptive_avg_pool_ex(1, (const int64_t[]){(out)})
#define soma_nn_adaptive_avg_pool2d(out_h, out_w) soma_nn_adaptive_avg_pool_ex(2, (const int64_t[]){(out_h), (out_w)})
#define soma_nn_adaptive_avg_pool3d(out_d, out_h, out_w) soma_nn_adaptive_avg_pool_ex(3, (const int64_t[]){(out_d), (out_h), (out_w)})
SOMA_API soma_module *soma_nn_adaptive_avg_pool_ex(int dims, const int64_t *size);
#define soma_nn_adaptive_max_pool1d(out) soma_nn_adaptive_max_pool_ex(1, (const int64_t[]){(out)})
#define soma_nn_adaptive_max_pool2d(out_h, out_w) soma_nn_adaptive_max_pool_ex(2, (const int64_t[]){(out_h), (out_w)})
#define soma_nn_adaptive_max_pool3d(out_d, out_h, out_w) soma_nn_adaptive_max_pool_ex(3, (const int64_t[]){(out_d), (out_h), (out_w)})
SOMA_API soma_module *soma_nn_adaptive_max_pool_ex(int dims, const int64_t *size);

/* ---- Other resolutions, padding ---- */

typedef struct soma_nn_upsample_opts {
    int64_t size[3];     /* of the result; one number stands for all axes; nothing: `scale` */
    double scale;        /* how many times as large, along all axes */
    const char *mode;    /* "nearest" (NULL), "nearest-exact", "linear", "bilinear", "trilinear", "bicubic" */
    bool align_corners;
    size_t size_of;
} soma_nn_upsample_opts;
#define soma_nn_upsample(...) soma_nn_upsample_ex(&(soma_nn_upsample_opts){__VA_ARGS__, .size_of = sizeof(soma_nn_upsample_opts)})
SOMA_API soma_module *soma_nn_upsample_ex(const soma_nn_upsample_opts *opts);
/* ConstantPad (ZeroPad with value 0), ReflectionPad, ReplicationPad, CircularPad: `n` is 2, 4 or 6 for as many axes, `pad` as soma_pad's:
 * before and after, from the last dimension backwards (left, right, top, bottom …). */
SOMA_API soma_module *soma_nn_constant_pad(int n, const int64_t *pad, double value);
SOMA_API soma_module *soma_nn_reflection_pad(int n, const int64_t *pad);
SOMA_API soma_module *soma_nn_replication_pad(int n, const int64_t *pad);
SOMA_API soma_module *soma_nn_circular_pad(int n, const int64_t *pad);

/* ---- Normalisation ---- */

typedef struct soma_nn_norm_opts {
    double eps;        /* 0: 1e-5; RMSNorm: the dtype's precision */
    double momentum;   /* share of the newest batch in the running statistics; 0: 0.1 */
    bool cumulative;   /* BatchNorm: the running statistics are the mean of all batches (PyTorch's momentum=None) */
    bool no_affine;    /* no weight and bias */
    bool no_bias;
    bool no_track;     /* BatchNorm: no running statistics; eval mode uses the batch's */
    bool affine, track; /* InstanceNorm, which has neither weight and bias nor running statistics unless asked for */
    int dims;          /* LayerNorm, RMSNorm: how many last dimensions; 0: 1. For more, `features` is 0: sizes come from the input */
    size_t size;
} soma_nn_norm_opts;
/* BatchNorm1d, 2d and 3d: x [N, C, …]. Ioffe & Szegedy 2015. */
#define soma_nn_batch_norm(...) soma__nn_batch_norm(__VA_ARGS__, .size = sizeof(soma_nn_norm_opts))
#define soma__nn_batch_norm(channels, ...) soma_nn_batch_norm_ex((channels), &(soma_nn_norm_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_batch_norm_ex(int64_t channels, const soma_nn_norm_opts *opts);
/* Each channel of each sample of [N, C, …] by itself. Ulyanov et al. 2016. */
#define soma_nn_instance_norm(...) soma__nn_instance_norm(__VA_ARGS__, .size = sizeof(soma_nn_norm_opts))
#define soma__nn_instance_norm(channels, ...) soma_nn_instance_norm_ex((channels), &(soma_nn_norm_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_instance_norm_ex(int64_t channels, const soma_nn_norm_opts *opts);
/* Channels of each sample of [N, C, …] in groups. Wu & He 2018. */
#define soma_nn_group_norm(groups, ...) soma__nn_group_norm(groups, __VA_ARGS__, .size = sizeof(soma_nn_norm_opts))
#define soma__nn_group_norm(groups, channels, ...) soma_nn_group_norm_ex((groups), (channels), &(soma_nn_norm_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_group_norm_ex(int64_t groups, int64_t channels, const soma_nn_norm_opts *opts);
/* Over the last dimensions. Ba et al. 2016. */
#define soma_nn_layer_norm(...) soma__nn_layer_norm(__VA_ARGS__, .size = sizeof(soma_nn_norm_opts))
#define soma__nn_layer_norm(features, ...) soma_nn_layer_norm_ex((features), &(soma_nn_norm_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_layer_norm_ex(int64_t features, const soma_nn_norm_opts *opts);
/* x / sqrt(mean(x^2) + eps) weight over the last dimensions. Zhang & Sennrich 2019. */
#define soma_nn_rms_norm(...) soma__nn_rms_norm(__VA_ARGS__, .size = sizeof(soma_nn_norm_opts))
#define soma__nn_rms_norm(features, ...) soma_nn_rms_norm_ex((features), &(soma_nn_norm_opts){__VA_ARGS__})
SOMA_API soma_module *soma_nn_rms_norm_ex(int64_t features, const soma_nn_norm_opts *opts);
/* x / (k + alpha mean(x^2 over `size` neighbouring channels))^beta; 0: alpha 1e-4, beta 0.75, k 1. Krizhevsky et al. 2012. */
SOMA_API soma_module *soma_nn_local_response_norm(int64_t size, double alpha, double beta, double k);

SOMA_API soma_module *soma_nn_dropout(double p);
/* Whole channels of [N, C, L], [N, C, H, W], [N, C, D, H, W] are left out. Tompson et al. 2015. */
SOMA_API soma_module *soma_nn_dropout1d(double p);
SOMA_API soma_module *soma_nn_dropout2d(double p);
SOMA_API soma_module *soma_nn_dropout3d(double p);
SOMA_API soma_module *soma_nn_alpha_dropout(double p);           /* keeps mean and variance after SELU. Klambauer et al. 2017 */
SOMA_API soma_module *soma_nn_feature_alpha_dropout(double p);   /* the same for whole channels */
SOMA_API soma_module *soma_nn_noise(double std);                 /* adds normal noise in training */
SOMA_API soma_module *soma_nn_flatten(void);                     /* all dimensions but the first */
SOMA_API soma_module *soma_nn_flatten_dims(int first, int last); /* those from `first` to `last`; negative counts from the end */
SOMA_API soma_module *soma_nn_reshape(int n, const int64_t *sizes); /* of all dimensions but the first; one may be -1 */
SOMA_API soma_module *soma_nn_unflatten(int dim, int n, const int64_t *sizes);
SOMA_API soma_module *soma_nn_pixel_shuffle(int64_t factor);     /* [N, C r r, H, W] to [N, C, H r, W r]. Shi et al. 2016 */
SOMA_API soma_module *soma_nn_pixel_unshuffle(int64_t factor);
SOMA_API soma_module *soma_nn_identity(void);
/* Activations: the formulas are at the operators (ops.h). A 0 stands for the default. */
SOMA_API soma_module *soma_nn_relu(void);
SOMA_API soma_module *soma_nn_relu6(void);
SOMA_API soma_module *soma_nn_leaky_relu(double negative_slope); /* 0.01 */
SOMA_API soma_module *soma_nn_prelu(int64_t slopes, double init); /* 1 slope, or one a channel; they start at 0.25 */
SOMA_API soma_module *soma_nn_rrelu(double lower, double upper); /* 1/8, 1/3 */
SOMA_API soma_module *soma_nn_elu(double alpha);                 /* 1 */
SOMA_API soma_module *soma_nn_selu(void);
SOMA_API soma_module *soma_nn_celu(double alpha);                /* 1 */
SOMA_API soma_module *soma_nn_gelu(void);
SOMA_API soma_module *soma_nn_gelu_tanh(void);
SOMA_API soma_module *soma_nn_silu(void);
SOMA_API soma_module *soma_nn_mish(void);
SOMA_API soma_module *soma_nn_hardswish(void);
SOMA_API soma_module *soma_nn_softplus(void);
SOMA_API soma_module *soma_nn_softplus_beta(double beta, double threshold); /* 0, 0: 1, 20 */
SOMA_API soma_module *soma_nn_softsign(void);
SOMA_API soma_module *soma_nn_sigmoid(void);
SOMA_API soma_module *soma_nn_hardsigmoid(void);
SOMA_API soma_module *soma_nn_logsigmoid(void);
SOMA_API soma_module *soma_nn_tanh(void);
SOMA_API soma_module *soma_nn_hardtanh(double min, double max);  /* 0, 0: -1, 1 */
SOMA_API soma_module *soma_nn_tanhshrink(void);
SOMA_API soma_module *soma_nn_hardshrink(double lambd);          /* 0.5 */
SOMA_API soma_module *soma_nn_softshrink(double lambd);          /* 0.5 */
SOMA_API soma_module *soma_nn_threshold(double threshold, double value);
SOMA_API soma_module *soma_nn_glu(int64_t dim);                  /* halves dim */
SOMA_API soma_module *soma_nn_step(double threshold);            /* 1 from the threshold on, else 0 */
SOMA_API soma_module *soma_nn_step_surrogate(double threshold, const char *surrogate, double width); /* as soma_step_surrogate */
SOMA_API soma_module *soma_nn_softmax(int64_t dim);
SOMA_API soma_module *soma_nn_softmin(int64_t dim);
SOMA_API soma_module *soma_nn_log_softmax(int64_t dim);

/* ---- Restricted Boltzmann machine --------------------------------------------------------------------------------------- */

/* Binary visible and hidden units with the energy E(v, h) = -b v - c h - h W v (Smolensky 1986, Hinton 2002): "weight" [hidden, visible]
 * (N(0, 0.01²) at first), "visible_bias" b, "hidden_bias" c. Inputs are [N, …] with `visible` numbers from 0 to 1 a sample. Its forward is the
 * reconstruction: the probabilities of the visible units given those of the hidden ones. */
SOMA_API soma_module *soma_nn_rbm(int64_t visible, int64_t hidden);
/* F(v) = -b v - Σ softplus(c + W v) -> [N]; p(v) is in proportion to exp(-F(v)). */
SOMA_API soma_tensor *soma_rbm_free_energy(soma_module *m, soma_tensor *v);
/* `steps` times: draws the hidden units, then the visible ones -> [N, visible] of 0 and 1, off the tape. */
SOMA_API soma_tensor *soma_rbm_gibbs(soma_module *m, soma_tensor *v, int64_t steps);
/* Contrastive divergence CD-k as a loss: mean F(v) - mean F(sample), the sample `steps` (0: 1) Gibbs steps from v. With `chain` the steps start
 * from *chain (NULL: from v) and *chain becomes the sample, a tensor of the current scope: persistent CD (Tieleman 2008). Its
 * value is no measure of how well the machine fits: look at the reconstruction. */
SOMA_API soma_tensor *soma_rbm_loss(soma_module *m, soma_tensor *v, int64_t steps, soma_tensor **chain);

/* ---- Initialisers (fill in place, without recording; return their argument) ------------------------------------------------ */

SOMA_API soma_tensor *soma_init_constant_(soma_tensor *t, double value);
SOMA_API soma_tensor *soma_init_uniform_(soma_tensor *t, double low, double high);
SOMA_API soma_tensor *soma_init_normal_(soma_tensor *t, double mean, double std);
/* Normal, drawn again where it would be below `low` or above `high`. */
SOMA_API soma_tensor *soma_init_trunc_normal_(soma_tensor *t, double mean, double std, double low, double high);
/* Fans are those of [out, in, window…]: in = size 1 times the window, out = size 0 times the window. */
typedef enum soma_fan { SOMA_FAN_IN, SOMA_FAN_OUT, SOMA_FAN_AVG } soma_fan;
/* Deviation gain / sqrt(fan), normal or uniform in ±sqrt(3) times that: all that follow are cases of it. */
SOMA_API soma_tensor *soma_init_scaled_(soma_tensor *t, double gain, soma_fan mode, bool normal);
/* As torch.nn.init.calculate_gain: "relu", "leaky_relu" (param: its slope, 0: 0.01), "tanh", "selu", "sigmoid", "linear" … and
 * sqrt(2) for the smooth relatives of ReLU, which it lacks. NaN with an error for others. */
SOMA_API double soma_init_gain(const char *nonlinearity, double param);
SOMA_API soma_tensor *soma_init_xavier_uniform_(soma_tensor *t, double gain);  /* Glorot & Bengio 2010; average fan; gain 0: 1 */
SOMA_API soma_tensor *soma_init_xavier_normal_(soma_tensor *t, double gain);
SOMA_API soma_tensor *soma_init_kaiming_uniform_(soma_tensor *t, double a);    /* He et al. 2015; fan in, leaky ReLU slope a */
SOMA_API soma_tensor *soma_init_kaiming_normal_(soma_tensor *t, double a);
SOMA_API soma_tensor *soma_init_lecun_uniform_(soma_tensor *t);                /* LeCun et al. 1998; fan in, gain 1 */
SOMA_API soma_tensor *soma_init_lecun_normal_(soma_tensor *t);
/* Rows, or columns where there are fewer, of length `gain` (0: 1) at right angles; dimensions from the second on count as one.
 * Saxe et al. 2014. */
SOMA_API soma_tensor *soma_init_orthogonal_(soma_tensor *t, double gain);
/* [out, in]: in each column the share `sparsity` of zeros, else normal with deviation `std` (0: 0.01). Martens 2010. */
SOMA_API soma_tensor *soma_init_sparse_(soma_tensor *t, double sparsity, double std);
SOMA_API soma_tensor *soma_init_eye_(soma_tensor *t);                          /* 2-d: the identity */
SOMA_API soma_tensor *soma_init_dirac_(soma_tensor *t, int64_t groups);        /* 3-d to 5-d: a convolution that changes nothing; 0: 1 */

/* Fills all weights of a network; biases become 0 except with "default". "auto" looks at the activation that follows each linear
 * layer and convolution, in the order in which a Sequential runs them; other layers keep their own filling. */
SOMA_API soma_status soma_nn_init(soma_module *m, const char *name);
typedef struct soma_init_info {
    const char *name, *doc, *source; /* "xavier", one line, the paper */
} soma_init_info;
SOMA_API int soma_init_kind_count(void);
SOMA_API const soma_init_info *soma_init_kind_get(int i);    /* NULL when i is out of range */

/* ---- Modules of your own ------------------------------------------------------------------------------------------------------ */

typedef struct soma_module_class {
    size_t size;                                            /* sizeof(soma_module_class) */
    const char *name;                                       /* "Linear"; shown in paths, summaries and errors */
    size_t state_bytes;                                     /* of the module's own data, zeroed; see soma_nn_state */
    /* `in` is n inputs; temporaries made here are released when it returns, the result excepted. Required. */
    soma_tensor *(*forward)(soma_module *self, soma_tensor *const *in, int n);
    /* Frees what the state holds besides parameters, buffers and children; may be NULL. */
    void (*destroy)(soma_module *self);
    /* Writes the module's words of a network description; returns the length, as snprintf. NULL: cannot be described. */
    size_t (*describe)(soma_module *self, char *out, size_t size);
    /* Fills parameters anew, as at creation; NULL: nothing to fill. */
    void (*reset)(soma_module *self);
} soma_module_class;
SOMA_API soma_module *soma_nn_module_new(const soma_module_class *cls);
SOMA_API const soma_module_class *soma_nn_class(const soma_module *m);
SOMA_API void *soma_nn_state(soma_module *m);
/* Registers `t` (the module takes a reference of its own) under `name` (copied) and returns it; a parameter is made to
 * require a gradient. Registering a name again replaces the tensor. NULL in, NULL out. */
SOMA_API soma_tensor *soma_nn_add_param(soma_module *m, const char *name, soma_tensor *t);
SOMA_API soma_tensor *soma_nn_add_buffer(soma_module *m, const char *name, soma_tensor *t);
/* Makes `child` part of `m`, which owns it from now on (also when this fails), and returns it. */
SOMA_API soma_module *soma_nn_add_child(soma_module *m, const char *name, soma_module *child);
SOMA_API int soma_nn_child_count(const soma_module *m);
SOMA_API soma_module *soma_nn_child(const soma_module *m, int i, const char **name); /* name may be NULL */
/* Called around every forward below `m`, for inspection; `after` gets the output. NULL removes. */
typedef void (*soma_forward_hook)(void *user, soma_module *m, const char *path, soma_tensor *const *in, int n, soma_tensor *out);
SOMA_API void soma_nn_set_hook(soma_module *m, soma_forward_hook after, void *user);

#ifdef __cplusplus
}
#endif

#include <soma/nn_sequence.h>

#endif
