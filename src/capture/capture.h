/* A captured step: the list of kernels that ran, over slots of memory that are bound anew at each replay.
 *
 * record.c listens to a step while it runs (tensor.h, soma__recorder) and writes the list; plan.c leaves out what nobody needs, joins
 * elementwise calls to chains and gives intermediates their places; replay.c binds and runs; capture.c keeps one list per signature. */
#ifndef SOMA_SRC_CAPTURE_H
#define SOMA_SRC_CAPTURE_H

#include "ops/elementwise.h"

#include <soma/capture.h>

/* Memory that calls refer to. */
typedef enum soma__slot_kind {
    SLOT_MADE,  /* made during the recording; no kernel has written it: values from the host */
    SLOT_INNER, /* written by kernels, gone after the step, or `kept` */
    SLOT_INPUT, /* that of an input: bound at each run */
    SLOT_GRAD,  /* that of a gradient that was there before */
    SLOT_OUTER  /* older than the step: parameters, state; and constants that the step made */
} soma__slot_kind;

typedef struct soma__view soma__view;

typedef struct soma__slot {
    soma__slot_kind kind;
    soma_storage *real;   /* while recording: NULL when it has gone. Afterwards outer ones only, counted */
    soma_storage place;   /* what the handles of a replay hang on, outer ones excepted */
    const char *made_by;
    soma__view *views;
    int64_t offset;       /* inputs: of its first element in its storage, in bytes, when it was recorded */
    int number;           /* of the input, of the leaf */
    int first, last;      /* calls */
    bool kept;            /* result or gradient: memory of its own that outlives the run */
    soma_storage *own;    /* of kept ones: counted */
    bool written, needed, planned;
    int64_t at;           /* of planned ones: place in the arena */
} soma__slot;

/* A handle on a slot. */
struct soma__view {
    soma_tensor t;
    int slot;
    int64_t offset;       /* in bytes, from the storage's data (inputs: from the input's first element) */
    soma__view *next;
};

enum { SOMA__CHAIN_ROOM = 12, SOMA__CHAIN_TILE = 1024 };

typedef struct soma__call {
    soma_args a;          /* in and out point to views; attrs are a copy */
    soma_kernel kernel;   /* NULL: `host` */
    void (*host)(soma_tensor *t);
    soma__row_fn row;     /* elementwise: what the kernel would run; NULL: something else */
    double params[SOMA__ROW_PARAMS];
    soma__view *operand[SOMA__ITER_MAX];
    int8_t buffer[SOMA__ITER_MAX]; /* in a chain: the tile's buffer instead of memory; -1: memory */
    int n;
    bool live;
    int chain;            /* how many calls from here on run together, tile by tile; 0: the kernel runs */
    int64_t work_at;      /* in the arena */
    int8_t touched[4];    /* inputs whose storage is older than the step and written here */
    int n_touched;
} soma__call;

/* A leaf whose gradient the step changes. */
typedef struct soma__leaf {
    soma_tensor *tensor;  /* counted; NULL: input `input` */
    int input;
    bool wanted, had, any; /* requires a gradient; there was one before; whatever was there does not matter */
    enum { LEAF_NONE, LEAF_SAME, LEAF_NEW, LEAF_FIXED } after;
    soma_tensor like;     /* the old gradient's sizes and strides */
    soma__view *grad;     /* LEAF_NEW */
    soma_tensor *fixed;   /* LEAF_FIXED: counted */
} soma__leaf;

/* What a result is: a view of a slot. */
typedef struct soma__result {
    soma__view *view;     /* NULL: no result */
} soma__result;

/* One recording: calls for inputs of one signature. */
typedef struct soma__tape {
    soma_tensor *inputs;  /* n_in: dtype, sizes, strides, requires_grad; `data` as it was bound last */
    int *same;            /* the first input in the same storage */
    int64_t *apart;       /* and how many bytes behind that one's first element */
    int n_in, n_out;
    bool no_grad, bf16;
    int threads;
    uint32_t setup;
    soma__slot *slots;
    soma__call *calls;
    soma__leaf *leaves;
    soma__result *results;
    int n_slots, room_slots, n_calls, room_calls, n_leaves, room_leaves;
    int64_t arena, inner; /* bytes; inner: had each intermediate memory of its own */
    int dropped;          /* calls that nobody needs */
    char *base, *bound;   /* the arena, NULL between runs; where it was when the views were bound */
    uint64_t used;        /* the run that used it last */
} soma__tape;

/* ---- record.c ---- */

/* Runs the step and writes down what it does. The results are in `out`, in the current scope; NULL with an error. */
soma__tape *soma__record(soma_step_fn step, void *user, soma_tensor *const *in, int n_in, soma_tensor **out, int n_out);
void soma__tape_free(soma__tape *t);

/* ---- plan.c ---- */

/* Dead calls, chains, places. False with an error. */
bool soma__plan(soma__tape *t);
/* Memory that is needed from call `first` to call `last`. */
typedef struct soma__span {
    int first, last;
    int64_t bytes, at;
} soma__span;
/* Gives each span its place; those that live at the same time do not overlap. Returns the bytes needed, -1 with an error. */
int64_t soma__plan_places(soma__span *s, int n);

/* ---- replay.c ---- */

bool soma__replay(soma__tape *t, soma_tensor *const *in, soma_tensor **out);
/* Whether the tape is for these inputs, in the context's and the leaves' present state. */
bool soma__tape_fits(const soma__tape *t, soma_tensor *const *in, int n_in);

#endif
