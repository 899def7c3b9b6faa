/* soma: operators. Each is one entry in a registry (soma_op_get lists them, soma_call calls any by name); the functions
 * below are the same operators with C types. Names, semantics and defaults are PyTorch's where it has the operator.
 *
 * All take tensors of any strides, broadcast where PyTorch does, and return a tensor of the current scope, or NULL with
 * the error recorded. `dim` may count from the end. "SOMA_ALL" as dims reduces over everything. */
#ifndef SOMA_OPS_H
#define SOMA_OPS_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The registry ---------------------------------------------------------------------------------------------- */

typedef enum soma_attr_kind {
    SOMA_ATTR_INT, SOMA_ATTR_FLOAT, SOMA_ATTR_BOOL, SOMA_ATTR_INTS, SOMA_ATTR_DTYPE, SOMA_ATTR_STRING
} soma_attr_kind;
/* An attribute by name. Build it with SOMA_INT("dim", 1), SOMA_INTS("stride", 2, 2) and so on. */
typedef struct soma_attr {
    const char *name;
    soma_attr_kind kind;
    int count; /* of ints */
    union {
        int64_t i;       /* INT, BOOL, DTYPE */
        double f;        /* FLOAT */
        const char *s;   /* STRING */
        int64_t ints[SOMA_MAX_DIMS];
    } value;
} soma_attr;
#define SOMA_INT(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_INT, .value.i = (v)})
#define SOMA_FLOAT(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_FLOAT, .value.f = (v)})
#define SOMA_BOOLEAN(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_BOOL, .value.i = (v)})
#define SOMA_DTYPE(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_DTYPE, .value.i = (v)})
#define SOMA_STRING(attr_name, v) ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_STRING, .value.s = (v)})
#define SOMA_INTS(attr_name, ...)                                                                                       \
    ((soma_attr){.name = (attr_name), .kind = SOMA_ATTR_INTS,                                                           \
                 .count = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .value.ints = {__VA_ARGS__}})

/* What an operator says of an attribute. Without `required`, `def` is used when it is not given. */
typedef struct soma_attr_info {
    soma_attr def;
    bool required;
    const char *help;
} soma_attr_info;
typedef struct soma_op_info {
    const char *name, *family, *doc, *onnx; /* onnx: NULL when ONNX has no such operator */
    int min_inputs, max_inputs, outputs;    /* outputs: at least so many when many_outputs */
    const char *const *input_names;         /* max_inputs of them; NULL for operators of any number of inputs */
    const soma_attr_info *attrs;
    int n_attrs;
    uint32_t dtypes;                        /* bit 1u << soma_dtype: dtypes that the inputs may have */
    bool differentiable;
    bool random;                            /* takes the next stream of the seed */
    bool in_place;                          /* name with a trailing "_" writes into the first input */
    bool internal;                          /* part of another operator's gradient; callable, but not meant for programs */
    bool many_outputs;                      /* their number depends on attributes or shapes, as split's */
} soma_op_info;
SOMA_API int soma_op_count(void);
/* The i-th operator, sorted by name; NULL when i is out of range. Static. */
SOMA_API const soma_op_info *soma_op_get(int i);
SOMA_API const soma_op_info *soma_op_find(const char *name); /* NULL when there is none; no error is recorded */
/* Runs an operator by name. `out` has room for n_out tensors; those that the operator does not make are set to NULL.
 * An optional input is given as NULL. "relu_" is relu in place. */
SOMA_API soma_status soma_call(const char *name, soma_tensor *const *in, int n_in, const soma_attr *attrs, int n_attrs,
                               soma_tensor **out, int n_out);

/* ---- Elementwise: one input ------------------------------------------------------------------------------------ */

SOMA_API soma_tensor *soma_neg(soma_tensor *x);
SOMA_API soma_tensor *soma_abs(soma_tensor *x);
SOMA_API soma_tensor *soma_sign(soma_tensor *x);
SOMA_API soma_tensor *soma_square(soma_tensor *x);
SOMA_API soma_tensor *soma_sqrt(soma_tensor *x);
SOMA_API soma_tensor *soma_rsqrt(soma_tensor *x);
SOMA_API soma_tensor *soma_reciprocal(soma_tensor *x);
SOMA_API soma_tensor *soma_exp(soma_tensor *x);
SOMA_API soma_tensor *soma_expm1(soma_tensor *x);
SOMA_API soma_tensor *soma_log(soma_tensor *x);
SOMA_API soma_tensor *soma_log1p(soma_tensor *x);
SOMA_API soma_tensor *soma_sin(soma_tensor *x);
SOMA_API soma_tensor *soma_cos(soma_tensor *x);
SOMA_API soma_tensor *soma_tanh(soma_tensor *x);
SOMA_API soma_tensor *soma_erf(soma_tensor *x);
SOMA_API soma_tensor *soma_floor(soma_tensor *x);
SOMA_API soma_tensor *soma_ceil(soma_tensor *x);
SOMA_API soma_tensor *soma_round(soma_tensor *x);   /* halves to even */
SOMA_API soma_tensor *soma_isnan(soma_tensor *x);
SOMA_API soma_tensor *soma_isfinite(soma_tensor *x);
SOMA_API soma_tensor *soma_logical_not(soma_tensor *x);
SOMA_API soma_tensor *soma_sigmoid(soma_tensor *x);
SOMA_API soma_tensor *soma_relu(soma_tensor *x);
SOMA_API soma_tensor *soma_leaky_relu(soma_tensor *x, double negative_slope);
SOMA_API soma_tensor *soma_elu(soma_tensor *x, double alpha);
SOMA_API soma_tensor *soma_gelu(soma_tensor *x);    /* exact: x * Phi(x) */
SOMA_API soma_tensor *soma_silu(soma_tensor *x);
SOMA_API soma_tensor *soma_softplus(soma_tensor *x);
SOMA_API soma_tensor *soma_hardtanh(soma_tensor *x, double min, double max);
SOMA_API soma_tensor *soma_clamp(soma_tensor *x, double min, double max);   /* -INFINITY, INFINITY: no bound */
SOMA_API soma_tensor *soma_step(soma_tensor *x, double threshold);          /* 1 where x >= threshold, else 0; gradient 0 */
/* To another dtype; the same tensor when it has it already. */
SOMA_API soma_tensor *soma_to(soma_tensor *x, soma_dtype dtype);

/* ---- Elementwise: two inputs and more, broadcast ---------------------------------------------------------------- */

SOMA_API soma_tensor *soma_add(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_sub(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_mul(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_div(soma_tensor *a, soma_tensor *b);             /* integers: true division, gives f32 */
SOMA_API soma_tensor *soma_pow(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_maximum(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_minimum(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_eq(soma_tensor *a, soma_tensor *b);              /* comparisons give bool */
SOMA_API soma_tensor *soma_ne(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_lt(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_le(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_gt(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_ge(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_logical_and(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_logical_or(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_where(soma_tensor *condition, soma_tensor *a, soma_tensor *b);
/* With a number: soma_add(x, soma_scalar(v)) and so on. */
SOMA_API soma_tensor *soma_add_scalar(soma_tensor *x, double v);
SOMA_API soma_tensor *soma_mul_scalar(soma_tensor *x, double v);
SOMA_API soma_tensor *soma_pow_scalar(soma_tensor *x, double v);

/* ---- In place (return their first argument) ---------------------------------------------------------------------- */

SOMA_API soma_tensor *soma_add_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_sub_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_mul_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_div_(soma_tensor *a, soma_tensor *b);
SOMA_API soma_tensor *soma_relu_(soma_tensor *x);
SOMA_API soma_tensor *soma_clamp_(soma_tensor *x, double min, double max);
SOMA_API soma_tensor *soma_copy_(soma_tensor *to, soma_tensor *from);       /* broadcasts and converts */
SOMA_API soma_tensor *soma_fill_(soma_tensor *x, double value);
SOMA_API soma_tensor *soma_uniform_(soma_tensor *x, double low, double high);
SOMA_API soma_tensor *soma_normal_(soma_tensor *x, double mean, double std);

/* ---- Reductions over dims; keepdim leaves them with size 1 ------------------------------------------------------- */

SOMA_API soma_tensor *soma_sum(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_mean(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_prod(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
/* `correction` 1 divides by n - 1 (PyTorch's default), 0 by n. */
SOMA_API soma_tensor *soma_var(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim);
SOMA_API soma_tensor *soma_std(soma_tensor *x, int n_dims, const int64_t *dims, int64_t correction, bool keepdim);
SOMA_API soma_tensor *soma_amax(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_amin(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_any(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_all(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_logsumexp(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
SOMA_API soma_tensor *soma_norm(soma_tensor *x, int n_dims, const int64_t *dims, bool keepdim);  /* Euclidean */
/* Indices (i64) of the largest and smallest along one dimension; the first of equals. */
SOMA_API soma_tensor *soma_argmax(soma_tensor *x, int64_t dim, bool keepdim);
SOMA_API soma_tensor *soma_argmin(soma_tensor *x, int64_t dim, bool keepdim);
SOMA_API soma_tensor *soma_cumsum(soma_tensor *x, int64_t dim);
/* The k largest along `dim`, in falling order, and their indices. */
SOMA_API soma_status soma_topk(soma_tensor *x, int64_t k, int64_t dim, soma_tensor **values, soma_tensor **indices);

/* ---- Shape: views where possible, as in PyTorch ------------------------------------------------------------------- */

SOMA_API soma_tensor *soma_reshape(soma_tensor *x, int ndim, const int64_t *shape);   /* one size may be -1 */
SOMA_API soma_tensor *soma_flatten(soma_tensor *x, int64_t start_dim, int64_t end_dim);
SOMA_API soma_tensor *soma_permute(soma_tensor *x, int n_dims, const int64_t *dims);
SOMA_API soma_tensor *soma_transpose(soma_tensor *x, int64_t dim0, int64_t dim1);
SOMA_API soma_tensor *soma_expand(soma_tensor *x, int ndim, const int64_t *shape);    /* -1 keeps a size */
SOMA_API soma_tensor *soma_squeeze(soma_tensor *x, int n_dims, const int64_t *dims);
SOMA_API soma_tensor *soma_unsqueeze(soma_tensor *x, int64_t dim);
/* start, start+step, … below end along dim; negative indices count from the end; beyond the end is clipped. */
SOMA_API soma_tensor *soma_slice(soma_tensor *x, int64_t dim, int64_t start, int64_t end, int64_t step);
SOMA_API soma_tensor *soma_select(soma_tensor *x, int64_t dim, int64_t index);        /* removes dim */
SOMA_API soma_tensor *soma_contiguous(soma_tensor *x);                                /* x itself when it is */
SOMA_API soma_tensor *soma_clone(soma_tensor *x);
SOMA_API soma_tensor *soma_cat(soma_tensor *const *x, int n, int64_t dim);
SOMA_API soma_tensor *soma_stack(soma_tensor *const *x, int n, int64_t dim);
SOMA_API soma_tensor *soma_flip(soma_tensor *x, int n_dims, const int64_t *dims);
/* Constant padding: before and after, from the last dimension backwards, as torch.nn.functional.pad. */
SOMA_API soma_tensor *soma_pad(soma_tensor *x, int n, const int64_t *pad, double value);
SOMA_API soma_tensor *soma_tril(soma_tensor *x, int64_t diagonal);
SOMA_API soma_tensor *soma_triu(soma_tensor *x, int64_t diagonal);

/* ---- Indexing ------------------------------------------------------------------------------------------------------ */

SOMA_API soma_tensor *soma_index_select(soma_tensor *x, int64_t dim, soma_tensor *index);   /* index: i64 [n] */
SOMA_API soma_tensor *soma_gather(soma_tensor *x, int64_t dim, soma_tensor *index);
SOMA_API soma_tensor *soma_scatter_add(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src);
SOMA_API soma_tensor *soma_index_add(soma_tensor *x, int64_t dim, soma_tensor *index, soma_tensor *src);
SOMA_API soma_tensor *soma_masked_fill(soma_tensor *x, soma_tensor *mask, double value);
SOMA_API soma_tensor *soma_one_hot(soma_tensor *x, int64_t classes);                        /* i64 in, i64 out, one dim more */

/* weight [rows, features], indices [...] -> [..., features]. padding_idx: a row that gets no gradient; SOMA_NO_INDEX: none. */
#define SOMA_NO_INDEX INT64_MIN
SOMA_API soma_tensor *soma_embedding(soma_tensor *weight, soma_tensor *indices, int64_t padding_idx);
/* Groups of rows reduced: indices [bags, n], or [n] with offsets [bags]; mode "sum", "mean" (NULL) or "max"; per_sample_weights or NULL. */
SOMA_API soma_tensor *soma_embedding_bag(soma_tensor *weight, soma_tensor *indices, soma_tensor *offsets, soma_tensor *per_sample_weights,
                                         const char *mode);

/* ---- Matrices ------------------------------------------------------------------------------------------------------ */

SOMA_API soma_tensor *soma_matmul(soma_tensor *a, soma_tensor *b);          /* as torch.matmul: 1-d, 2-d, batched */
SOMA_API soma_tensor *soma_outer(soma_tensor *a, soma_tensor *b);           /* [n], [m] -> [n, m] */
/* x [..., in] · weight[out, in]^T + bias [out] (NULL: none) -> [..., out]. */
SOMA_API soma_tensor *soma_linear(soma_tensor *x, soma_tensor *weight, soma_tensor *bias);

/* ---- Convolution, pooling: x [N, C, H, W] --------------------------------------------------------------------------- */

typedef struct soma_conv2d_opts {
    int64_t stride[2], padding[2], dilation[2]; /* 0: 1, 0, 1; a second entry of 0 repeats the first */
    int64_t groups;                             /* 0: 1 */
    size_t size;
} soma_conv2d_opts;
/* weight [out, in / groups, kh, kw], bias [out] or NULL -> [N, out, H', W'], H' = (H + 2p - d(kh-1) - 1) / s + 1. */
#define soma_conv2d(x, weight, ...) soma__conv2d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv2d_opts))
#define soma__conv2d(x, weight, bias, ...) soma_conv2d_ex((x), (weight), (bias), &(soma_conv2d_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv2d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv2d_opts *opts);
typedef struct soma_pool2d_opts {
    int64_t stride[2];      /* 0: the kernel */
    int64_t padding[2];     /* 0; a second entry of 0 repeats the first */
    int64_t dilation[2];    /* max pooling only; 0: 1 */
    bool ceil_mode;
    bool count_exclude_pad; /* average pooling: divide by the elements inside only */
    size_t size;
} soma_pool2d_opts;
#define soma_max_pool2d(x, ...) soma__max_pool2d(x, __VA_ARGS__, .size = sizeof(soma_pool2d_opts))
#define soma__max_pool2d(x, kh, kw, ...) soma_max_pool2d_ex((x), (kh), (kw), &(soma_pool2d_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_max_pool2d_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool2d_opts *opts);
#define soma_avg_pool2d(x, ...) soma__avg_pool2d(x, __VA_ARGS__, .size = sizeof(soma_pool2d_opts))
#define soma__avg_pool2d(x, kh, kw, ...) soma_avg_pool2d_ex((x), (kh), (kw), &(soma_pool2d_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_avg_pool2d_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_pool2d_opts *opts);
/* Averages over windows that divide the plane into out_h x out_w parts; 1, 1 is global average pooling. */
SOMA_API soma_tensor *soma_adaptive_avg_pool2d(soma_tensor *x, int64_t out_h, int64_t out_w);

/* The other convolutions. In each list a first number alone stands for all axes, and -1 means 0 beside others; weight [out, in / groups,
 * kernel …], for the transposed ones [in, out / groups, kernel …]; x without the batch dimension is taken too. */
typedef struct soma_conv_opts {
    int64_t stride[3], padding[3], dilation[3]; /* 0: 1, 0, 1 */
    int64_t output_padding[3];                  /* transposed only: rows more at the end */
    int64_t groups;                             /* 0: 1 */
    size_t size;
} soma_conv_opts;
#define soma_conv1d(x, weight, ...) soma__conv1d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv1d(x, weight, bias, ...) soma_conv1d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv1d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv3d(x, weight, ...) soma__conv3d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv3d(x, weight, bias, ...) soma_conv3d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv3d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv_transpose1d(x, weight, ...) soma__conv_transpose1d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv_transpose1d(x, weight, bias, ...) soma_conv_transpose1d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv_transpose1d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv_transpose2d(x, weight, ...) soma__conv_transpose2d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv_transpose2d(x, weight, bias, ...) soma_conv_transpose2d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv_transpose2d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
#define soma_conv_transpose3d(x, weight, ...) soma__conv_transpose3d(x, weight, __VA_ARGS__, .size = sizeof(soma_conv_opts))
#define soma__conv_transpose3d(x, weight, bias, ...) soma_conv_transpose3d_ex((x), (weight), (bias), &(soma_conv_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_conv_transpose3d_ex(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, const soma_conv_opts *opts);
/* Blocks of planes as columns and back: PyTorch's nn.functional.unfold and fold. */
typedef struct soma_im2col_opts {
    int64_t dilation[2], padding[2], stride[2]; /* 0: 1, 0, 1; a first number alone stands for both, -1 means 0 */
    size_t size;
} soma_im2col_opts;
#define soma_im2col(x, ...) soma__im2col(x, __VA_ARGS__, .size = sizeof(soma_im2col_opts))
#define soma__im2col(x, kh, kw, ...) soma_im2col_ex((x), (kh), (kw), &(soma_im2col_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_im2col_ex(soma_tensor *x, int64_t kh, int64_t kw, const soma_im2col_opts *opts);
#define soma_col2im(x, ...) soma__col2im(x, __VA_ARGS__, .size = sizeof(soma_im2col_opts))
#define soma__col2im(x, out_h, out_w, kh, kw, ...) soma_col2im_ex((x), (out_h), (out_w), (kh), (kw), &(soma_im2col_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_col2im_ex(soma_tensor *x, int64_t out_h, int64_t out_w, int64_t kh, int64_t kw, const soma_im2col_opts *opts);

/* ---- Normalisation, softmax, dropout --------------------------------------------------------------------------------- */

/* x [N, C, …]; weight, bias [C] or NULL; running_mean, running_var [C], written when training (momentum m: new = (1-m) old
 * + m batch; the variance with n - 1), read otherwise. Ioffe & Szegedy 2015. */
SOMA_API soma_tensor *soma_batch_norm(soma_tensor *x, soma_tensor *weight, soma_tensor *bias, soma_tensor *running_mean,
                                      soma_tensor *running_var, bool training, double momentum, double eps);
/* Over the last `n_dims` dimensions; weight and bias have their shape or are NULL. Ba et al. 2016. */
SOMA_API soma_tensor *soma_layer_norm(soma_tensor *x, int n_dims, soma_tensor *weight, soma_tensor *bias, double eps);
SOMA_API soma_tensor *soma_softmax(soma_tensor *x, int64_t dim);
SOMA_API soma_tensor *soma_log_softmax(soma_tensor *x, int64_t dim);
/* When training, zeroes each element with probability p and divides the rest by 1 - p; else x itself. Srivastava et al. 2014. */
SOMA_API soma_tensor *soma_dropout(soma_tensor *x, double p, bool training);

/* ---- Sequences: recurrence, attention ----------------------------------------------------------------------------------- */

/* One layer's weights in one direction, G gates of H units: weight_ih [G H, in], weight_hh [G H, H], biases [G H] or NULL. G is 1 (RNN),
 * 3 (GRU: r z n) or 4 (LSTM: i f g o). */
typedef struct soma_rnn_weights {
    soma_tensor *weight_ih, *weight_hh, *bias_ih, *bias_hh;
} soma_rnn_weights;
typedef struct soma_rnn_opts {
    soma_tensor *h0, *c0;   /* [batch, H]; NULL: zeros. c0: LSTM only */
    soma_tensor *lengths;   /* i64 [batch]: steps that count; beyond them the state stays and the output is 0. NULL: all */
    bool batch_first;       /* x and the output are [batch, steps, …], not [steps, batch, …] */
    bool reverse;           /* from the last step to the first */
    size_t size;
} soma_rnn_opts;
/* Whole sequences: one layer, one direction. Returns the output [steps, batch, H]; *hn, *cn (may be NULL) are the last states. Elman
 * 1990; Hochreiter & Schmidhuber 1997; Cho et al. 2014. Modules of more layers: soma_nn_lstm and so on. */
SOMA_API soma_tensor *soma_rnn_tanh_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn);
SOMA_API soma_tensor *soma_rnn_relu_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn);
SOMA_API soma_tensor *soma_lstm_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn, soma_tensor **cn);
SOMA_API soma_tensor *soma_gru_ex(soma_tensor *x, const soma_rnn_weights *w, const soma_rnn_opts *opts, soma_tensor **hn);
/* One step: x [batch, in], h and c [batch, H] or NULL -> the next h. */
SOMA_API soma_tensor *soma_rnn_tanh_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w);
SOMA_API soma_tensor *soma_rnn_relu_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w);
SOMA_API soma_tensor *soma_gru_cell(soma_tensor *x, soma_tensor *h, const soma_rnn_weights *w);
SOMA_API soma_tensor *soma_lstm_cell(soma_tensor *x, soma_tensor *h, soma_tensor *c, const soma_rnn_weights *w, soma_tensor **c_out);

typedef struct soma_attention_opts {
    soma_tensor *mask;  /* bool (true takes part) or float (added to the scores), broadcast to [..., L, S]; NULL: none */
    double dropout_p;   /* applied whenever above 0, as in PyTorch: give 0 outside training */
    bool is_causal;     /* query i sees keys 0 ... i; not together with a mask */
    double scale;       /* 0: 1 / sqrt(E) */
    bool enable_gqa;    /* fewer heads in key and value: each serves several of query's */
    size_t size;
} soma_attention_opts;
/* softmax(q k^T scale + mask) v; q [..., L, E], k [..., S, E], v [..., S, Ev] -> [..., L, Ev]. Vaswani et al. 2017. */
#define soma_scaled_dot_product_attention(q, k, ...) soma__scaled_dot_product_attention(q, k, __VA_ARGS__, .size = sizeof(soma_attention_opts))
#define soma__scaled_dot_product_attention(q, k, v, ...) soma_scaled_dot_product_attention_ex((q), (k), (v), &(soma_attention_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_scaled_dot_product_attention_ex(soma_tensor *q, soma_tensor *k, soma_tensor *v, const soma_attention_opts *opts);
/* Turns pairs of features of x [..., steps, E] by an angle that grows with the step: position `offset` + t, frequency
 * base^(-2 i / E) (base 0: 10000). Su et al. 2021. interleaved: pairs (0, 1), (2, 3) ...; else (0, E/2), (1, E/2 + 1) .... */
SOMA_API soma_tensor *soma_rotary_embedding(soma_tensor *x, int64_t offset, double base, bool interleaved);
/* The table [steps, features] of sines and cosines of Vaswani et al. 2017: sin at even, cos at odd features. */
SOMA_API soma_tensor *soma_sinusoidal_positions(int64_t steps, int64_t features, int64_t offset, double base, soma_dtype dtype);

/* ---- Losses ----------------------------------------------------------------------------------------------------------- */

typedef enum soma_reduction { SOMA_MEAN, SOMA_SUM, SOMA_NONE } soma_reduction;
typedef struct soma_loss_opts {
    soma_reduction reduction;
    soma_tensor *weight;      /* cross_entropy, nll_loss: a weight a class [C] */
    double label_smoothing;   /* cross_entropy */
    int64_t ignore_index;     /* cross_entropy, nll_loss: targets that do not count; 0: -100, as PyTorch's default */
    size_t size;
} soma_loss_opts;
/* logits [N, C, …], target i64 [N, …] with classes 0 … C-1. Softmax and logarithm are inside: give raw scores. A target
 * outside is an error that names its position. */
#define soma_cross_entropy(logits, ...) soma__cross_entropy(logits, __VA_ARGS__, .size = sizeof(soma_loss_opts))
#define soma__cross_entropy(logits, target, ...) soma_cross_entropy_ex((logits), (target), &(soma_loss_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_cross_entropy_ex(soma_tensor *logits, soma_tensor *target, const soma_loss_opts *opts);
/* The same after log_softmax. */
#define soma_nll_loss(logp, ...) soma__nll_loss(logp, __VA_ARGS__, .size = sizeof(soma_loss_opts))
#define soma__nll_loss(logp, target, ...) soma_nll_loss_ex((logp), (target), &(soma_loss_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_nll_loss_ex(soma_tensor *logp, soma_tensor *target, const soma_loss_opts *opts);
/* Mean of (x - target)^2 and of |x - target|. Shapes must be equal: a target is never broadcast. */
#define soma_mse_loss(x, ...) soma__mse_loss(x, __VA_ARGS__, .size = sizeof(soma_loss_opts))
#define soma__mse_loss(x, target, ...) soma_mse_loss_ex((x), (target), &(soma_loss_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_mse_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
#define soma_l1_loss(x, ...) soma__l1_loss(x, __VA_ARGS__, .size = sizeof(soma_loss_opts))
#define soma__l1_loss(x, target, ...) soma_l1_loss_ex((x), (target), &(soma_loss_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_l1_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Logistic loss of raw scores against targets in [0, 1], computed without overflow. */
#define soma_bce_with_logits(x, ...) soma__bce_with_logits(x, __VA_ARGS__, .size = sizeof(soma_loss_opts))
#define soma__bce_with_logits(x, target, ...) soma_bce_with_logits_ex((x), (target), &(soma_loss_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_bce_with_logits_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
