/* What the files of src/nn share: the module itself, layers that infer their input size, the words of descriptions. */
#ifndef SOMA_SRC_NN_H
#define SOMA_SRC_NN_H

#include "base/base.h"

#include <soma/io.h>
#include <soma/nn.h>

#define SOMA__NN_MAX_DEPTH 64           /* modules inside modules */
#define SOMA__NN_PATH 256               /* room for "3.0.conv (Conv2d)"; longer ones are cut */
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
    int place;              /* among the children of a container that is being made */
    bool training;
    soma__slot *slots;      /* parameters and buffers, in the order of their making */
    int n_slots, room_slots;
    soma_module **children;
    int n_children, room_children;
    soma_forward_hook hook;
    void *hook_user;
    const soma__probe *probe;
    char *shown_path;       /* what soma_nn_layers handed out */
    char **full_names;      /* what soma_nn_named handed out: parameters, then buffers */
    int n_full_names;
};

/* The tensor under `name` in the module itself, NULL when there is none (no error). */
soma_tensor *soma__nn_slot(const soma_module *m, const char *name);
/* "0.conv", "" for `top` itself; returns `out`. */
const char *soma__nn_path(const soma_module *m, const soma_module *top, char *out, size_t size);
/* False with an error recorded when a constructor's size is negative or too large. `open`: 0 is allowed. */
bool soma__nn_size_ok(const char *type, const char *what, int64_t value, bool open);
/* The module is training and really computes: what dropout and batch norm go by. */
bool soma__nn_learns(const soma_module *m);

/* ---- Layers ---------------------------------------------------------------------------------------------------------- */

/* The number of inputs and their dimensions are as the layer needs them (max_dims 0: any number), or the error says so. */
bool soma__nn_one_input(const soma_module *m, soma_tensor *const *in, int n, int min_dims, int max_dims);

typedef struct soma__nn_value {
    bool given;
    int64_t i[2];   /* whole numbers; both of a pair */
    double r;       /* reals */
} soma__nn_value;

enum { SOMA__NN_MAX_ARGS = 10 };

typedef enum soma__nn_arg_kind {
    SOMA__ARG_END,
    SOMA__ARG_INT,      /* 3 */
    SOMA__ARG_PAIR,     /* 3 or 5x3 */
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

/* Words that layers in parentheses follow. */
typedef enum soma__nn_body { SOMA__BODY_NONE, SOMA__BODY_RESIDUAL, SOMA__BODY_REPEAT } soma__nn_body;

/* One word of network descriptions: parsing, describing, docs/network.md and messages all come from here. */
typedef struct soma__nn_word {
    const char *word;
    const soma_module_class *cls;
    const char *help;
    bool activation;    /* may follow a layer that `takes_activation` without a comma */
    bool takes_activation;
    soma__nn_body body;
    soma__nn_arg args[SOMA__NN_MAX_ARGS]; /* by place first, then by word */
    soma_module *(*make)(const soma__nn_value *v);
    /* The inverse: fills the values of `m`; false when this word is not the one for it. */
    bool (*read)(soma_module *m, soma__nn_value *v);
} soma__nn_word;
extern const soma__nn_word soma__nn_words[];
extern const int soma__nn_n_words;
const soma__nn_word *soma__nn_find_word(const char *word);
/* The layer that people who write `word` mean ("dense", "convv"), NULL when there is no guess. */
const char *soma__nn_suggest_word(const char *word);
/* The describe function of all classes in the table. */
size_t soma__nn_describe_word(soma_module *m, char *out, size_t size);
/* The children of a container, as text. False when one of them cannot be described. */
bool soma__nn_describe_children(soma_module *m, soma__text *text);

/* Layers whose parameters depend on the input. */
typedef struct soma__nn_lazy {
    const soma_module_class *cls;
    /* The input size that a stored weight (named `weight`) speaks of, -1 when it cannot belong to this layer. */
    int64_t (*in_of_weight)(soma_module *m, int ndim, const int64_t *shape);
    /* Makes the parameters, not yet filled, for this input size. */
    soma_status (*make)(soma_module *m, int64_t in);
    /* Names the layer has by now; 0: the input size is still open. */
    bool (*made)(soma_module *m);
} soma__nn_lazy;
extern const soma__nn_lazy soma__nn_linear_lazy, soma__nn_conv2d_lazy, soma__nn_batch_norm_lazy, soma__nn_layer_norm_lazy;
/* The entry for a module's class, NULL when its parameters never wait. */
const soma__nn_lazy *soma__nn_lazy_of(const soma_module *m);
/* Makes the parameters for input size `in` (they are real also while only shapes are inferred), filled when `fill`. */
soma_status soma__nn_materialise(soma_module *m, const soma__nn_lazy *lazy, int64_t in, bool fill);
/* False with SOMA_ESTATE for `what` when a layer's input size is still open. */
bool soma__nn_all_made(soma_module *m, const char *what);
/* A new parameter of the layer, not filled; its bytes are checked first. */
soma_tensor *soma__nn_new_param(soma_module *m, const char *name, int ndim, const int64_t *shape);

extern const soma_module_class soma__nn_sequential_class, soma__nn_residual_class, soma__nn_linear_class, soma__nn_conv2d_class,
    soma__nn_max_pool2d_class, soma__nn_avg_pool2d_class, soma__nn_adaptive_avg_pool2d_class, soma__nn_batch_norm_class,
    soma__nn_layer_norm_class, soma__nn_dropout_class, soma__nn_flatten_class, soma__nn_identity_class, soma__nn_relu_class,
    soma__nn_leaky_relu_class, soma__nn_elu_class, soma__nn_gelu_class, soma__nn_silu_class, soma__nn_softplus_class,
    soma__nn_sigmoid_class, soma__nn_tanh_class, soma__nn_hardtanh_class, soma__nn_step_class, soma__nn_softmax_class,
    soma__nn_log_softmax_class;

/* State of the layers, as their words read it. */
typedef struct soma__nn_linear_state {
    int64_t in, out;
    bool no_bias;
} soma__nn_linear_state;
typedef struct soma__nn_conv2d_state {
    int64_t in, out, kernel[2];
    soma_nn_conv2d_opts o;      /* all sizes filled in */
} soma__nn_conv2d_state;
typedef struct soma__nn_pool_state {
    int64_t kernel, stride, padding;
} soma__nn_pool_state;
typedef struct soma__nn_out_state {
    int64_t out[2];
} soma__nn_out_state;
typedef struct soma__nn_features_state {
    int64_t features;
} soma__nn_features_state;
typedef struct soma__nn_act_state {
    double a, b;
    int64_t dim;
} soma__nn_act_state;

/* ---- Text ------------------------------------------------------------------------------------------------------------- */

/* The number at the start of `text`, independent of the locale; *end is the first byte that is not part of it. False when there is none. */
bool soma__nn_read_real(const char *text, const char **end, double *out);
/* The shortest text that reads back as `value`; `out` has room for 32 bytes. Returns `out`. */
const char *soma__nn_write_real(double value, char *out);
/* The table of words in docs/network.md, written from the table in words.c. */
void soma__nn_manual(soma__text *t);

/* ---- Files ---------------------------------------------------------------------------------------------------------------- */

/* As soma_nn_save, with `n` more pairs of metadata. */
soma_status soma__nn_save_meta(soma_module *m, const char *path, const soma_pair *pairs, int n);
/* As soma_nn_open and soma_nn_load, from a file that has been read; `name` is for messages. */
soma_module *soma__nn_open_file(soma_tensor_file *file, const char *name);
soma_status soma__nn_load_file(soma_module *m, soma_tensor_file *file, const char *name, const char *prefix);

#endif
