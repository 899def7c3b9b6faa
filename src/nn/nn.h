/* What the files of src/nn share: the module itself, layers that infer their input size, the words of descriptions. */
#ifndef SOMA_SRC_NN_H
#define SOMA_SRC_NN_H

#include "base/base.h"

#include <soma/io.h>
#include <soma/nn.h>

#define SOMA__NN_MAX_DEPTH 64           /* modules inside modules */
#define SOMA__NN_PATH 256               /* room for "3.0.conv (Conv2d)"; longer ones are cut */
#define SOMA__NN_MAX_BRANCHES 16        /* side by side */
#define SOMA__NN_MAX_SIZE 2147483648    /* features, channels, windows … */
#define SOMA__NN_MAX_BYTES (INT64_C(1) << 40) /* of one parameter */

/* ---- Modules (module.c) ----------------------------------------------------------------------------------------- */

typedef struct soma__slot {
    char *name;
    soma_tensor *tensor; /* a reference */
    bool buffer;
} soma__slot;

/* Called around every forward below the module that holds it, also for the module itself: the summary. */
typedef struct soma__probe {
    void (*before)(void *user, soma_module *m, const char *path, int depth, soma_tensor *const *in, int n);
    void (*after)(void *user, soma_module *m, soma_tensor *out, int64_t flops);
    void *user;
} soma__probe;

struct soma_module {
    const soma_module_class *cls;
    void *state;
    soma_module *parent;    /* owner; NULL for the outermost */
    char *name;             /* in the parent; NULL for the outermost */
    char *wish;             /* the name that the next parent shall give (soma_nn_as); NULL: its place */
    char *tied;             /* the layer whose weight this one uses (soma_nn_tie); NULL: it has its own */
    const struct soma__nn_lazy *lazy; /* how its parameters come from the input; NULL when they never wait */
    soma_dtype dtype;       /* of parameters that are still to be made */
    int place;              /* among the children of a container that is being made */
    bool training;
    void (*fill)(soma_module *m); /* how it fills the parameters of each module in it, after their own `reset`; NULL: leaves them so */
    soma__slot *slots;      /* parameters and buffers, in the order of their making */
    int n_slots, room_slots;
    soma_module **children;
    int n_children, room_children;
    struct soma__folded *folded; /* fuse.c */
    soma_forward_hook hook;
    void *hook_user;
    const soma__probe *probe;
    char *shown_path;       /* what soma_nn_layers handed out */
    char **full_names;      /* what soma_nn_named handed out: parameters, then buffers */
    int n_full_names;
};

/* The tensor under `name` in the module itself, NULL when there is none (no error). */
soma_tensor *soma__nn_slot(const soma_module *m, const char *name);
/* The child as a module of its own, the caller's from now on. */
soma_module *soma__nn_detach(soma_module *child);
void soma__nn_remove_slot(soma_module *m, const char *name);
/* "0.conv", "" for `top` itself; returns `out`. */
const char *soma__nn_path(const soma_module *m, const soma_module *top, char *out, size_t size);
/* False with an error recorded when a constructor's size is negative or too large. `open`: 0 is allowed. */
bool soma__nn_size_ok(const char *type, const char *what, int64_t value, bool open);
/* The module is training and really computes: what dropout and batch norm go by. */
bool soma__nn_learns(const soma_module *m);

/* ---- Layers ---------------------------------------------------------------------------------------------------------- */

/* Runs `n` children from `first` on one after another, the first on all inputs; a tensor of the caller's scope. */
soma_tensor *soma__nn_run_row(soma_module *m, int first, int n, soma_tensor *const *in, int n_in);
/* Nobody looks at what m and the modules that it is part of give. */
bool soma__nn_unseen(const soma_module *m);
/* Runs the children of m from the i-th on, before the one at `end`, together if they can be: how many they were, and *y what they give. */
int soma__nn_run_together(soma_module *m, int i, int end, soma_tensor *x, soma_tensor **y);
/* A batch norm layer, [+ add] and relu, for x of soma__norm_last. */
soma_tensor *soma__nn_batch_norm_relu(soma_module *m, soma_tensor *x, soma_tensor *add);
/* A Linear layer and relu. */
soma_tensor *soma__nn_linear_relu(soma_module *m, soma_tensor *x);
/* A Conv2d layer, with another weight and bias if `weight` is given, and relu behind it. */
soma_tensor *soma__nn_conv_relu(soma_module *m, soma_tensor *x, soma_tensor *weight, soma_tensor *bias, bool relu);
/* The convolution of Conv2d m with batch norm `norm` behind it, for evaluation off the tape: weights scaled once and kept with m until a
 * parameter changes (by an operator, or with soma_touch). *y is NULL with no error where that cannot be. */
bool soma__nn_conv_folded(soma_module *m, soma_module *norm, soma_tensor *x, bool relu, soma_tensor **y);
void soma__nn_folded_drop(soma_module *m);
/* What batch norm goes by when it is not training. */
bool soma__nn_batch_norm_still(soma_module *m, double *eps);
/* As soma_nn_forward_n with `run` in place of the class's forward: path, scope and hooks around it. What `run` puts into more[…] (NULL:
 * nothing) leaves its scope too. */
typedef soma_tensor *(*soma__nn_run_fn)(soma_module *m, soma_tensor *const *in, int n, void *arg);
soma_tensor *soma__nn_run(soma_module *m, soma_tensor *const *in, int n, soma__nn_run_fn run, void *arg, soma_tensor **more, int n_more);
/* The number of inputs and their dimensions are as the layer needs them (max_dims 0: any number), or the error says so. */
bool soma__nn_one_input(const soma_module *m, soma_tensor *const *in, int n, int min_dims, int max_dims);

typedef struct soma__nn_value {
    bool given;
    int64_t i[SOMA_MAX_DIMS]; /* whole numbers; one that is written once stands in all places of a pair or triple */
    double r;                 /* reals */
    int n;                    /* how many whole numbers of a list */
} soma__nn_value;

/* What `read` fills in; not `given`: the option need not be said. */
static inline soma__nn_value soma__nn_int(bool given, int64_t i) { return (soma__nn_value){.given = given, .i = {i, i, i}, .n = 1}; }
static inline soma__nn_value soma__nn_real(bool given, double r) { return (soma__nn_value){.given = given, .r = r}; }
static inline soma__nn_value soma__nn_flag(bool given) { return (soma__nn_value){.given = given}; }
/* `n` sizes, to be said unless all are `ordinary`. */
static inline soma__nn_value soma__nn_ints(int n, const int64_t *i, int64_t ordinary) {
    soma__nn_value v = {.n = n};
    for (int k = 0; k < n; k++) {
        v.i[k] = i[k];
        v.given = v.given || i[k] != ordinary;
    }
    return v;
}

enum { SOMA__NN_MAX_ARGS = 14 };

typedef enum soma__nn_arg_kind {
    SOMA__ARG_END,
    SOMA__ARG_INT,      /* 3 */
    SOMA__ARG_PAIR,     /* 3 or 5x3 */
    SOMA__ARG_TRIPLE,   /* 3 or 5x3x3 */
    SOMA__ARG_LIST,     /* 16x7x7: one to eight numbers, each for itself */
    SOMA__ARG_REAL,     /* 0.5 */
    SOMA__ARG_FLAG      /* the word alone */
} soma__nn_arg_kind;

/* An argument of a layer's word. Without a word of its own it is known by its place. */
typedef struct soma__nn_arg {
    soma__nn_arg_kind kind;
    const char *word;   /* "stride"; NULL: by place */
    const char *name;   /* for messages and the manual: "channels" */
    bool required;
    double min, max;
} soma__nn_arg;

/* What a word's parentheses hold. */
typedef enum soma__nn_body {
    SOMA__BODY_NONE,
    SOMA__BODY_ROWS,    /* rows of layers with `|` between them, for `wrap` */
    SOMA__BODY_REPEAT
} soma__nn_body;

/* One row of a body; who gets it owns the modules and the list. */
typedef struct soma__nn_row {
    soma_module **list;
    int n, room;
} soma__nn_row;

typedef struct soma__nn_rows {
    soma__nn_row row[SOMA__NN_MAX_BRANCHES];
    int n;
    soma_module *activation; /* of a word that has `inner_activation`; NULL when none is written */
} soma__nn_rows;
void soma__nn_rows_free(soma__nn_rows *rows);
/* The row as one module: a lone layer is that layer, several are a Sequential. Its name in the next parent is `name` unless the
 * description gives one. Takes the row's modules, also when it fails. */
soma_module *soma__nn_row_module(soma__nn_row *row, const char *name);

/* One word of network descriptions: parsing, describing, docs/network.md and messages all come from here. */
typedef struct soma__nn_word {
    const char *word;
    const soma_module_class *cls;
    const char *help;
    bool activation;    /* may follow a layer that `takes_activation` without a comma */
    bool takes_activation;
    bool inner_activation; /* an activation may stand before the parentheses, and is part of the layer */
    bool may_tie;       /* knows `tied NAME` */
    bool must_tie;      /* is nothing without it */
    soma__nn_body body;
    int min_rows, max_rows; /* of SOMA__BODY_ROWS */
    int inputs;         /* a layer that `make` makes and that takes up to so many: "(a | b)" may follow, branches that make them; else 0 */
    const soma__nn_arg *args; /* SOMA__ARGS(…): by place first, then by word; NULL: none */
    soma_module *(*make)(const soma__nn_value *v);
    /* For SOMA__BODY_ROWS in place of `make`: takes all modules of `rows`, also when it fails. */
    soma_module *(*wrap)(const soma__nn_value *v, soma__nn_rows *rows);
    /* The inverse: fills the values of `m`; false when this word is not the one for it. */
    bool (*read)(soma_module *m, soma__nn_value *v);
    /* The inverse of the rest of `wrap`: writes " relu (row | row)"; false when it cannot be said. */
    bool (*put_rows)(soma_module *m, soma__text *text);
    /* A model by name: writes the description that the word stands for. The word has no class then. */
    void (*expand)(const soma__nn_value *v, soma__text *text);
} soma__nn_word;

/* Words by area, one file each; an entry without a word ends a table. words.c lists the tables. */
extern const soma__nn_word soma__nn_words_conv[], soma__nn_words_pool[], soma__nn_words_linear[], soma__nn_words_norm[],
    soma__nn_words_drop[], soma__nn_words_act[], soma__nn_words_shape[], soma__nn_words_resample[], soma__nn_words_block[],
    soma__nn_words_sequence[], soma__nn_words_model[];
/* All words in the order of the manual; NULL from the end on. */
const soma__nn_word *soma__nn_word_at(int i);
const soma__nn_word *soma__nn_find_word(const char *word);
/* The layer that people who write `word` mean ("dense", "convv"), NULL when there is no guess. */
const char *soma__nn_suggest_word(const char *word);
/* The describe function of all classes in the table. */
size_t soma__nn_describe_word(soma_module *m, char *out, size_t size);
/* `n` children of a container from `first` on, as text "a, b". False when one of them cannot be described. */
bool soma__nn_describe_row(soma_module *m, int first, int n, soma__text *text);
/* One child as a row of its own between `|`; `name` is the one it has unless the description gives another. */
bool soma__nn_describe_branch(soma_module *child, const char *name, soma__text *text);
/* The first `n` children, called by their places, as "(a | b)". */
bool soma__nn_describe_branches(soma_module *m, int n, soma__text *text);
bool soma__nn_nothing_read(soma_module *m, soma__nn_value *v); /* `read` of words without arguments */
#define SOMA__SIZE_FROM(low) .min = (low), .max = (double)SOMA__NN_MAX_SIZE
#define SOMA__REAL_ANY .min = -1e30, .max = 1e30
#define SOMA__ARGS(...) (const soma__nn_arg[]){__VA_ARGS__, {.kind = SOMA__ARG_END}}
int soma__nn_n_args(const soma__nn_word *w);
/* A `make` that needs no more than one call. */
#define SOMA__WORD_MAKE(id, call)                                                                                \
    static soma_module *id##_make(const soma__nn_value *v) {                                                     \
        (void)v;                                                                                                 \
        return call;                                                                                             \
    }
#define SOMA__STATE(type) const soma__nn_##type##_state *s = m->state

/* Layers whose parameters depend on the input. The state begins with the `n_open` sizes that the input decides; 0: still open. */
typedef struct soma__nn_lazy {
    const soma_module_class *cls;
    int n_open;         /* 0 says 1 */
    const char *tell[2]; /* stored tensors that tell the sizes, the first that is there; none: "weight" */
    /* The sizes that such a stored tensor speaks of; false when it cannot belong to this layer. */
    bool (*sizes_of)(soma_module *m, int ndim, const int64_t *shape, int64_t *in);
    /* Makes the parameters, not yet filled, for these sizes. */
    soma_status (*make)(soma_module *m, const int64_t *in);
    /* All parameters are there. */
    bool (*made)(soma_module *m);
    bool keeps_fill;    /* soma_nn_init by name leaves the layer's own filling: the scale of a normalisation stays 1 */
} soma__nn_lazy;
/* A module of the entry's class, its parameters still open. */
soma_module *soma__nn_lazy_new(const soma__nn_lazy *lazy);
/* To be called when the state is complete: makes the parameters if all sizes are known already. NULL in, NULL out; frees on error. */
soma_module *soma__nn_settled(soma_module *m);
/* Makes the parameters for these input sizes (they are real also while only shapes are inferred), filled when `fill`. */
soma_status soma__nn_materialise(soma_module *m, const int64_t *in, bool fill);
/* Fills the parameters of `m` alone as its class and the modules around it want them, off the tape. */
void soma__nn_reset(soma_module *m);
/* The parameters stand, made now for input sizes `in` if they were open. */
bool soma__nn_ready(soma_module *m, const int64_t *in);
/* A tensor of this shape and the module's dtype, without data. */
soma_tensor *soma__nn_shape_of(soma_module *m, int ndim, const int64_t *shape);
/* False with SOMA_ESTATE for `what` when a layer's input size is still open. */
bool soma__nn_all_made(soma_module *m, const char *what);
/* A new parameter of the layer, not filled; its bytes are checked first. */
soma_tensor *soma__nn_new_param(soma_module *m, const char *name, int ndim, const int64_t *shape);
/* The weight a layer computes with: its own, or that of the layer it is tied to (*from, NULL for its own). NULL with an error
 * when there is none. */
soma_tensor *soma__nn_weight(soma_module *m, soma_module **from);
/* The layer that `m` is tied to. NULL with the reason in `why` when there is none. */
soma_module *soma__nn_tied_source(const soma_module *m, char *why, size_t size);
/* "5 x 3". Returns `out`. */
const char *soma__nn_by(int n, const int64_t *sizes, char out[80]);
/* "input [2, 3] does not fit weight [4, 5]", recorded. */
void soma__nn_fail_fit(soma_tensor *x, soma_tensor *weight);

extern const soma_module_class soma__nn_sequential_class, soma__nn_residual_class, soma__nn_parallel_class, soma__nn_branches_class,
    soma__nn_input_class, soma__nn_linear_class, soma__nn_bilinear_class, soma__nn_conv1d_class,
    soma__nn_conv2d_class, soma__nn_conv3d_class, soma__nn_conv_transpose1d_class, soma__nn_conv_transpose2d_class,
    soma__nn_conv_transpose3d_class,
    soma__nn_max_pool2d_class, soma__nn_avg_pool2d_class, soma__nn_adaptive_avg_pool2d_class, soma__nn_batch_norm_class,
    soma__nn_instance_norm_class, soma__nn_group_norm_class, soma__nn_rms_norm_class, soma__nn_response_norm_class,
    soma__nn_layer_norm_class, soma__nn_dropout_class, soma__nn_flatten_class, soma__nn_reshape_class,
    soma__nn_unflatten_class, soma__nn_shuffle_class, soma__nn_unshuffle_class, soma__nn_dropout1d_class, soma__nn_dropout2d_class,
    soma__nn_dropout3d_class, soma__nn_alpha_dropout_class, soma__nn_feature_alpha_dropout_class, soma__nn_noise_class,
    soma__nn_variational_class, soma__nn_rbm_class, soma__nn_identity_class,
    soma__nn_threshold_class, soma__nn_prelu_class, soma__nn_glu_class, soma__nn_step_class, soma__nn_softmax_class, soma__nn_softmin_class,
    soma__nn_log_softmax_class;
#define ACT0(id, ...) extern const soma_module_class soma__nn_##id##_class;
#define ACT1 ACT0
#define ACT2 ACT0
#include "nn/activations.def"
extern const char *const soma__nn_surrogates[]; /* of Step, by number; ends with NULL */

extern const soma_module_class soma__nn_max_pool1d_class, soma__nn_max_pool3d_class, soma__nn_avg_pool1d_class,
    soma__nn_avg_pool3d_class, soma__nn_lp_pool1d_class, soma__nn_lp_pool2d_class, soma__nn_adaptive_avg_pool1d_class,
    soma__nn_adaptive_avg_pool3d_class, soma__nn_adaptive_max_pool1d_class, soma__nn_adaptive_max_pool2d_class,
    soma__nn_adaptive_max_pool3d_class, soma__nn_upsample_class, soma__nn_constant_pad_class,
    soma__nn_reflection_pad_class, soma__nn_replication_pad_class, soma__nn_circular_pad_class;

/* State of the layers, as their words read it. */
typedef struct soma__nn_residual_state {
    bool shortcut, activation; /* there is one, after the row */
} soma__nn_residual_state;
int soma__nn_residual_row(const soma_module *m); /* children that are the row */
typedef struct soma__nn_parallel_state {
    bool sum;
    int64_t dim;
} soma__nn_parallel_state;
typedef struct soma__nn_input_state {
    int64_t index;
} soma__nn_input_state;
typedef struct soma__nn_rbm_state {
    int64_t visible, hidden;
} soma__nn_rbm_state;
typedef struct soma__nn_linear_state {
    int64_t in, out;
    bool no_bias;
} soma__nn_linear_state;
typedef struct soma__nn_bilinear_state {
    int64_t in[2], out;
    bool no_bias;
} soma__nn_bilinear_state;
typedef struct soma__nn_conv_state {
    int64_t in, out;
    int64_t kernel[3], stride[3], padding[3], dilation[3], output_padding[3], groups; /* all filled in; the first `dims` count */
    int dims;
    bool transposed, same, no_bias;
} soma__nn_conv_state;
soma_module *soma__nn_conv_new(const soma__nn_conv_state *s);
typedef struct soma__nn_pool_state {
    int kind, dims;     /* layer_pool.c names the kinds */
    int64_t kernel[3], stride[3], padding[3], dilation[3], divisor; /* the first `dims` count; kernel: the size, of adaptive ones */
    double p;
    bool ceil, exclude_pad, places;
    soma_tensor *indices; /* `places`: where the last forward found the largest values (a reference), and in what shape */
    int in_ndim;
    int64_t in_shape[5];
} soma__nn_pool_state;
extern const soma_module_class soma__nn_max_unpool_class;
/* `m` is a max pooling layer that remembers places. */
bool soma__nn_has_places(const soma_module *m);
soma_module *soma__nn_pool_new(const soma__nn_pool_state *s);
typedef struct soma__nn_resample_state {
    int64_t size[3];    /* 0: scale */
    double scale;
    int mode;
    bool align;
} soma__nn_resample_state;
const char *soma__nn_upsample_mode(int mode);
typedef struct soma__nn_pad_state {
    int n;              /* twice the axes */
    int64_t pad[6];     /* from the last dimension backwards, as soma_pad */
    double value;
    const char *mode;
} soma__nn_pad_state;
typedef struct soma__nn_norm_state {
    int64_t sizes[SOMA_MAX_DIMS]; /* of weight and bias; the first `dims` count, 0: open */
    int64_t groups;
    double eps, momentum;
    int dims;
    bool affine, bias, track, cumulative;
} soma__nn_norm_state;
typedef struct soma__nn_response_state {
    int64_t size;
    double alpha, beta, k;
} soma__nn_response_state;
typedef struct soma__nn_drop_state {
    double a;
} soma__nn_drop_state;
typedef struct soma__nn_shape_state {
    int64_t first, last; /* dimensions, or a factor */
    int n;
    int64_t sizes[SOMA_MAX_DIMS];
} soma__nn_shape_state;
typedef struct soma__nn_variational_state {
    int64_t latent;
    soma_tensor *mu, *logvar; /* of the last forward; references */
} soma__nn_variational_state;
typedef struct soma__nn_act_state {
    double a, b;
    int64_t dim;
} soma__nn_act_state;

/* ---- Learning to give back the input (objective.c) ------------------------------------------------------------------- */

/* The first module of the class in the tree; NULL when there is none. */
soma_module *soma__nn_find(soma_module *m, const soma_module_class *cls);
/* What to differentiate when the last forward of `x` had `loss`: contrastive divergence for a network that is an RBM, the loss and the code's divergence
 * from N(0, 1) for one with a Variational (the negative ELBO, a number of the input), else the loss. */
soma_tensor *soma__nn_objective(soma_module *m, soma_tensor *x, soma_tensor *loss);

/* ---- Text ------------------------------------------------------------------------------------------------------------- */

/* The number at the start of `text`, independent of the locale; *end is the first byte that is not part of it. False when there is none. */
bool soma__nn_read_real(const char *text, const char **end, double *out);
/* The shortest text that reads back as `value`; `out` has room for 32 bytes. Returns `out`. */
const char *soma__nn_write_real(double value, char *out);
/* The tables of words in docs/network.md: layers, and models by name. */
void soma__nn_manual(soma__text *t);
void soma__nn_manual_models(soma__text *t);

/* ---- Files ---------------------------------------------------------------------------------------------------------------- */

/* As soma_nn_open and soma_nn_load, from a file that has been read; `name` is for messages. */
soma_module *soma__nn_open_file(soma_tensor_file *file, const char *name);
soma_status soma__nn_load_file(soma_module *m, soma_tensor_file *file, const char *name, const char *prefix);

#endif
