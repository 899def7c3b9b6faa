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
/* For modules of several inputs. */
SOMA_API soma_tensor *soma_nn_forward_n(soma_module *m, soma_tensor *const *in, int n);
/* Train mode (the default) or eval mode, for the module and all below: dropout, batch norm. */
SOMA_API void soma_nn_train(soma_module *m, bool training);
SOMA_API bool soma_nn_training(const soma_module *m);
SOMA_API void soma_nn_free(soma_module *m);
/* Infers the input sizes left open and makes all parameters, for inputs of this shape with the batch dimension first (any
 * size), without computing. An error names the layer that does not fit and both shapes. */
SOMA_API soma_status soma_nn_build(soma_module *m, int ndim, const int64_t *input_shape);

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

SOMA_API soma_module *soma_nn_max_pool2d(int64_t kernel, int64_t stride, int64_t padding); /* stride 0: the kernel */
SOMA_API soma_module *soma_nn_avg_pool2d(int64_t kernel, int64_t stride, int64_t padding);
SOMA_API soma_module *soma_nn_adaptive_avg_pool2d(int64_t out_h, int64_t out_w);
SOMA_API soma_module *soma_nn_batch_norm(int64_t channels);      /* BatchNorm1d and 2d: x [N, C, …]; momentum 0.1, eps 1e-5 */
SOMA_API soma_module *soma_nn_layer_norm(int64_t features);      /* over the last dimension; eps 1e-5 */
SOMA_API soma_module *soma_nn_dropout(double p);
SOMA_API soma_module *soma_nn_flatten(void);                     /* all dimensions but the first */
SOMA_API soma_module *soma_nn_identity(void);
SOMA_API soma_module *soma_nn_relu(void);
SOMA_API soma_module *soma_nn_leaky_relu(double negative_slope); /* 0: 0.01 */
SOMA_API soma_module *soma_nn_elu(double alpha);                 /* 0: 1 */
SOMA_API soma_module *soma_nn_gelu(void);
SOMA_API soma_module *soma_nn_silu(void);
SOMA_API soma_module *soma_nn_softplus(void);
SOMA_API soma_module *soma_nn_sigmoid(void);
SOMA_API soma_module *soma_nn_tanh(void);
SOMA_API soma_module *soma_nn_hardtanh(double min, double max);  /* 0, 0: -1, 1 */
SOMA_API soma_module *soma_nn_step(double threshold);            /* 1 from the threshold on, else 0 */
SOMA_API soma_module *soma_nn_softmax(int64_t dim);
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
SOMA_API soma_tensor *soma_init_xavier_uniform_(soma_tensor *t, double gain);  /* Glorot & Bengio 2010; gain 0: 1 */
SOMA_API soma_tensor *soma_init_xavier_normal_(soma_tensor *t, double gain);
SOMA_API soma_tensor *soma_init_kaiming_uniform_(soma_tensor *t, double a);    /* He et al. 2015; fan in, leaky ReLU slope a */
SOMA_API soma_tensor *soma_init_kaiming_normal_(soma_tensor *t, double a);
/* One of "default", "zeros", "xavier", "xavier_normal", "kaiming", "kaiming_normal", "normal" for all weights of a network;
 * biases become 0 except with "default". */
SOMA_API soma_status soma_nn_init(soma_module *m, const char *name);

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
#endif
