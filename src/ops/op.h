/* What an operator is. One soma_op a name, with everything about it: shape rule, dtypes, kernels, gradient, samples, bad inputs,
 * text. apply.c is the only way an operator runs. docs/architecture.md, "Adding an operator", goes through an example. */
#ifndef SOMA_SRC_OP_H
#define SOMA_SRC_OP_H

#include <soma/autograd.h>
#include <soma/ops.h>

#include "tensor/tensor.h"

enum { SOMA_MAX_OUTPUTS = 8, SOMA_MAX_ATTRS = 12, SOMA_MAX_NAMED_INPUTS = 8, SOMA_MAX_IMPLS = 3 };

#define SOMA_BIT(dtype) (1u << (dtype))
#define SOMA_FLOATS (SOMA_BIT(SOMA_F32) | SOMA_BIT(SOMA_F64) | SOMA_BIT(SOMA_F16) | SOMA_BIT(SOMA_BF16))
#define SOMA_INTEGERS (SOMA_BIT(SOMA_I64) | SOMA_BIT(SOMA_I32) | SOMA_BIT(SOMA_I16) | SOMA_BIT(SOMA_I8) | SOMA_BIT(SOMA_U8))
#define SOMA_NUMBERS (SOMA_FLOATS | SOMA_INTEGERS)
#define SOMA_ANY (SOMA_NUMBERS | SOMA_BIT(SOMA_BOOL))

typedef struct soma_op soma_op;

/* One call: what shape rules, kernels and FLOP counts see. */
typedef struct soma_args {
    const soma_op *op;
    int n_in, n_out;               /* n_out: op->outputs; of a composite with `many` what soma__give has counted */
    soma_tensor *const *in;        /* converted to the common dtype; NULL for an optional one that is absent */
    soma_tensor **out;             /* kernels: made and empty, row-major unless the shape rule laid them otherwise (in place: the input) */
    int room;                      /* how many tensors fit into `out` */
    const soma_attr *attrs;        /* in the order of op->attrs, defaults filled in */
    soma_rng rng;                  /* random operators: the stream of this call */
    void *work;                    /* op->work(args) bytes, 64-byte aligned */
    size_t work_bytes;
    bool bf16;                     /* autocast: products of f32 round their operands to bf16 */
} soma_args;

/* One backward call. Fill gin[i] (a tensor of the current scope, of in_meta[i]'s shape and dtype) for each i with need[i]; NULL
 * means zero. Rules are written in operators. */
typedef struct soma_grad_args {
    const soma_op *op;
    const soma_attr *attrs;
    int n_in, n_out;
    soma_tensor *const *in, *const *out; /* those that op->saves names, on the tape; others NULL */
    soma_tensor *const *gout;            /* gradients of the outputs; NULL: none came (zero) */
    const soma_meta *in_meta, *out_meta; /* dtype, ndim, shape of all */
    const bool *need;
    soma_tensor **gin;
    bool create_graph;                   /* false: a fused kernel without a gradient of its own may be used */
} soma_grad_args;

typedef enum soma_promote {
    SOMA_PROMOTE_SAME,  /* inputs meet in torch.result_type */
    SOMA_PROMOTE_FLOAT, /* the same, integers and bool then become f32 */
    SOMA_PROMOTE_NONE   /* inputs stay as they are; the shape rule checks what must agree */
} soma_promote;

typedef struct soma_input {
    const char *name;
    uint32_t dtypes; /* 0: as op->dtypes */
    bool optional;
    bool apart;      /* stays out of promotion: indices, masks, running statistics */
} soma_input;

/* Test inputs that an entry brings along (samples.c has helpers to make them). */
typedef struct soma_sample {
    int n_in, n_attrs;
    soma_tensor *in[SOMA_MAX_NAMED_INPUTS];
    soma_attr attrs[SOMA_MAX_ATTRS];
    bool no_gradcheck;      /* not smooth here, or random */
    uint32_t symmetric;     /* bit i: input i is taken as symmetric; gradients are checked over symmetric changes of it */
    const char *error;      /* errors(): a part of the message that must come; samples(): NULL */
    soma_status status;     /* errors(): the status that must come */
} soma_sample;
/* Fills the i-th sample for `dtype` and returns true; false when there is none. */
typedef bool (*soma_sample_fn)(int i, soma_dtype dtype, soma_sample *s);

/* A kernel: NULL when done, else why it declines (the next is tried). Must not allocate, fail or touch globals. */
typedef const char *(*soma_kernel)(soma_args *a);

struct soma_op {
    const char *name, *family, *doc, *onnx;
    soma_input in[SOMA_MAX_NAMED_INPUTS];
    int n_in, outputs;
    bool variadic;                   /* any number of inputs like the last of `in`, 1 or more */
    bool many;                       /* composite: gives as many outputs as its attributes and shapes ask for, by soma__give; `outputs` is 1 */
    const soma_attr_info *attrs;
    int n_attrs;
    uint32_t dtypes;
    soma_promote promote;
    /* Fills out[0 … outputs-1].dtype/ndim/shape (dtype comes filled with the common one); false with an error recorded. */
    bool (*shape)(soma_args *a, soma_meta *out);
    /* View operators: fills out[0] with shape, strides, offset. False without an error: not possible here, use the kernel. */
    bool (*view)(soma_args *a, soma_meta *out);
    bool (*check)(soma_args *a);     /* looks at values (indices, classes) before the kernel; false with the error recorded */
    /* A composite: makes out[…] by calling other operators, which bring shape checks and gradients with them; such an entry has no shape
     * rule, kernel or gradient of its own (backward: SOMA_COMPOSED, or SOMA_NONDIFF). `in` is promoted, optional inputs may be NULL. What is
     * put into out[…] may be an input. False with the error recorded; apply.c puts the operator's name before it. */
    bool (*compose)(soma_args *a);
    size_t (*work)(soma_args *a);    /* workspace bytes; NULL: none */
    soma_kernel cpu[SOMA_MAX_IMPLS]; /* best first, the last is the plain reference and takes everything */
    void (*backward)(soma_grad_args *g);
    uint32_t saves;                  /* SOMA_SAVE_IN(i) | SOMA_SAVE_OUT(i): what the rule always needs */
    uint32_t saves_if[SOMA_MAX_NAMED_INPUTS]; /* and what it needs besides when input i wants a gradient */
    uint32_t no_grad_in;             /* bit i: input i never gets a gradient */
    uint32_t no_grad_out;            /* bit i: output i is for the rule or for reading (a mask, statistics) and carries no gradient */
    uint32_t writes;                 /* bit i: writes into input i; with bit 0 and outputs 1, input 0 is the output */
    bool in_place;                   /* may write its output over input 0 ("relu_") */
    bool keeps_order;                /* elementwise: outputs of the inputs' shape have the inputs' order in memory (soma__lay_as_inputs) */
    bool random;
    bool internal;                   /* part of another operator's gradient; listed, but not for users */
    int64_t (*flops)(soma_args *a);
    soma_sample_fn samples, errors;
    const char *range;               /* elementwise: text form of the test domain, for the documentation */
};

#define SOMA_SAVE_IN(i) (1u << (i))
#define SOMA_SAVE_OUT(i) (1u << (16 + (i)))
#define SOMA_ATTRS(...) (const soma_attr_info[]){__VA_ARGS__}, \
    .n_attrs = (int)(sizeof((const soma_attr_info[]){__VA_ARGS__}) / sizeof(soma_attr_info))
/* Attribute declarations: SOMA_ATTRS(SOMA_DEF_INT("dim", -1, "dimension that sums to one"), …) as value of .attrs. */
#define SOMA_DEF_INT(n, d, h) {.def = {.name = n, .kind = SOMA_ATTR_INT, .value.i = (d)}, .help = h}
#define SOMA_DEF_FLOAT(n, d, h) {.def = {.name = n, .kind = SOMA_ATTR_FLOAT, .value.f = (d)}, .help = h}
#define SOMA_DEF_BOOL(n, d, h) {.def = {.name = n, .kind = SOMA_ATTR_BOOL, .value.i = (d)}, .help = h}
#define SOMA_DEF_DTYPE(n, d, h) {.def = {.name = n, .kind = SOMA_ATTR_DTYPE, .value.i = (d)}, .help = h}
/* Default list of `c` ints, the rest of the arguments; a required one is SOMA_NEED_INTS. */
#define SOMA_DEF_INTS(n, h, c, ...) {.def = {.name = n, .kind = SOMA_ATTR_INTS, .count = (c), .value.ints = {__VA_ARGS__}}, .help = h}
#define SOMA_DEF_STRING(n, d, h) {.def = {.name = n, .kind = SOMA_ATTR_STRING, .value.s = (d)}, .help = h}
#define SOMA_NEED_STRING(n, h) {.def = {.name = n, .kind = SOMA_ATTR_STRING}, .required = true, .help = h}
#define SOMA_NEED_INT(n, h) {.def = {.name = n, .kind = SOMA_ATTR_INT}, .required = true, .help = h}
#define SOMA_NEED_FLOAT(n, h) {.def = {.name = n, .kind = SOMA_ATTR_FLOAT}, .required = true, .help = h}
#define SOMA_NEED_INTS(n, h) {.def = {.name = n, .kind = SOMA_ATTR_INTS}, .required = true, .help = h}

/* Said aloud: this operator has no gradient. */
void soma__nondiff(soma_grad_args *g);
#define SOMA_NONDIFF soma__nondiff
/* The gradient is that of the operators a composite calls. */
void soma__composed(soma_grad_args *g);
#define SOMA_COMPOSED soma__composed
static inline bool soma__differentiable(const soma_op *op) { return op->backward != SOMA_NONDIFF; }

/* ---- Running (apply.c) ---------------------------------------------------------------------------------------------------- */

enum { SOMA__IN_PLACE = 1 }; /* flags */
/* `attrs`: all of op->attrs in order (NULL when there are none). Writes op->outputs tensors to `out`. */
bool soma__apply(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs, soma_tensor **out, unsigned flags);
/* The same for operators with `many` (and all others): writes as many outputs as there are and fit, NULL into the rest of the room. Returns how
 * many there are, -1 on error. */
int soma__apply_many(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs, soma_tensor **out, int room);
/* In a composite with `many`: the next output. What does not fit is counted and dropped. False for NULL. */
bool soma__give(soma_args *a, soma_tensor *t);
/* In a composite whose result's shape depends on values: false, with an error, where there are only shapes. */
bool soma__has_values(const soma_args *a);
/* The common case: one output, returned; NULL on error. */
soma_tensor *soma__run(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs);
#define SOMA__RUN(op, attrs, ...)                                                                                          \
    soma__run((op), (soma_tensor *const[]){__VA_ARGS__}, (int)(sizeof((soma_tensor *const[]){__VA_ARGS__}) / sizeof(soma_tensor *)), (attrs))
/* For tests: 1 uses each operator's last kernel (the reference) only; 0 the best. */
extern _Atomic int soma__force_reference;

/* ---- The registry (registry.c) ---------------------------------------------------------------------------------------------- */

/* Each family file exports its entries as one NULL-terminated list; registry.c names the lists. */
typedef const soma_op *const soma_op_list[];
const soma_op *soma__op_find(const char *name, bool *in_place); /* "relu_" finds relu and sets *in_place */
int soma__op_count(void);
const soma_op *soma__op_at(int i);                              /* sorted by name */

/* ---- Shape rules that many share (rules.c) ------------------------------------------------------------------------------------ */

bool soma__shape_same(soma_args *a, soma_meta *out);      /* as input 0, all outputs */
bool soma__shape_broadcast(soma_args *a, soma_meta *out); /* all inputs broadcast */
bool soma__attr_pair(const char *op, const soma_attr *attr, int64_t least, const int64_t *none, int64_t *to);
/* The same for n numbers. */
bool soma__attr_list(const char *op, const soma_attr *attr, int n, int64_t least, const int64_t *none, int64_t *to);
/* The option `v` of a C function as an attribute of one number an axis: with zeros behind the first it stands for all axes; 0 is `none`, -1 is 0. */
soma_attr soma__attr_axes(const char *name, int axes, const int64_t *v, const int64_t *none);
/* Gradient of something broadcast: sums `g` down to `meta`'s shape and dtype. */
soma_tensor *soma__sum_to(soma_tensor *g, const soma_meta *meta);
/* "weight is [2, 3] f32, expected …" as SOMA_ESHAPE; returns false. */
bool soma__expected(const soma_tensor *t, const char *name, const char *what);
/* f16 or bf16: sums are kept in f32. */
static inline bool soma__is_half(const soma_tensor *t) { return t->dtype == SOMA_F16 || t->dtype == SOMA_BF16; }
/* relu(linear), matmul.c. */
soma_tensor *soma__linear_relu(soma_tensor *x, soma_tensor *weight, soma_tensor *bias);
/* Workspace for a row-major copy of t in its own dtype; 0 when it is row-major already, or NULL. */
size_t soma__packed_bytes(const soma_tensor *t);
/* A row of i64 in the current scope, to be filled (NULL data while only shapes are wanted). */
soma_tensor *soma__index_row(int64_t n);
/* How composites end: the only output; false for NULL. */
static inline bool soma__return(soma_args *a, soma_tensor *t) { return (a->out[0] = t) != NULL; }
static inline int64_t soma__attr_int(const soma_args *a, int i) { return a->attrs[i].value.i; }
/* Which of `choices`, "none|tanh", a text attribute is; -1 with an error that lists them. NULL is the attribute's default. */
int soma__attr_choice(const soma_args *a, int i, const char *choices);
static inline double soma__attr_float(const soma_args *a, int i) { return a->attrs[i].value.f; }
/* Dispatches on dtype in kernels: SOMA_SWITCH_FLOATS(dtype, MACRO) calls MACRO(SOMA_F32, float) … in a switch. */

/* ---- Samples (samples.c) -------------------------------------------------------------------------------------------------------- */

/* A tensor of the current scope with reproducible values: floats uniform in [low, high), integers whole numbers there, bool coin
 * throws; `salt` tells samples apart. */
soma_tensor *soma__sample(soma_dtype dtype, double low, double high, uint64_t salt, int ndim, const int64_t *shape);
/* Added to the seed of soma__sample: the same samples with other values from the same ranges. */
extern uint64_t soma__sample_redraw;
/* The same values over non-contiguous strides (last two dimensions swapped in memory; 1-d: every second element). */
soma_tensor *soma__strided(soma_tensor *t);

/* The same values in an order in memory of soma's choice, channels-last; t itself when it has not 4 dimensions. */
soma_tensor *soma__turned(soma_tensor *t);

/* Samples and bad inputs as lines of text, words between blanks:
 *
 *   "[2,3,8] s[4,3,3] - stride=2 mode='mean'"     a sample
 *   "[2,3] [4] !ESHAPE expected two vectors"      a bad input: the status and a part of the message that must come
 *
 *   [2,3]     an input of these sizes ([] is 0-d) in the sample's dtype: floats in [-1, 1), whole numbers from -3 to 3
 *   before it: i i64, I i32, b bool; y symmetric, p symmetric with eigenvalues of 1 or more; s (first) over strides
 *   after it:  @0.3:3 numbers in [0.3, 3); <5 whole numbers from 0 to 4; =1,nan,2 these values (fewer than there are elements: the first)
 *   -         an optional input that is absent
 *   name=…    an attribute: 2; 0.5, inf; true; 'text'; a list 2,1 or 2, (of one) or nothing (of none)
 *   ~         not for gradient checks */
bool soma__text_case(const char *const *lines, bool errors, int i, soma_dtype dtype, soma_sample *s);
/* SOMA__LINES(name, lines…) defines name_samples and name_errors, the lines without and with an "!". */
#define SOMA__LINES(name, ...)                                                                              \
    static const char *const name##_lines[] = {__VA_ARGS__, NULL};                                          \
    static bool name##_samples(int i, soma_dtype dtype, soma_sample *s) {                                   \
        return soma__text_case(name##_lines, false, i, dtype, s);                                           \
    }                                                                                                       \
    static bool name##_errors(int i, soma_dtype dtype, soma_sample *s) {                                    \
        return soma__text_case(name##_lines, true, i, dtype, s);                                            \
    }
/* What the entries of composites with such samples have in common. */
#define SOMA__COMPOSITE(id) .name = #id, .compose = id##_compose, .samples = id##_samples, .errors = id##_errors

#endif
