/* The tape: one node per recorded operator call, hanging on the tensors that it made. Nodes are reference-counted, by the tensors
 * they made and by later nodes; they hold what the gradient rule declared and nothing else. */
#ifndef SOMA_SRC_TAPE_H
#define SOMA_SRC_TAPE_H

#include "ops/op.h"

typedef struct soma_node soma_node;

/* Where a gradient goes: to output `output` of `node`, or into the .grad of `leaf`. Neither: nowhere. */
typedef struct soma_edge {
    soma_node *node;
    soma_tensor *leaf;
    int output;
} soma_edge;

/* A tensor kept for the rule. `tensor` is a handle of the tape's own (a leaf itself, or an alias off the tape), `edge` where it
 * came from, so that it can be put back on the tape for second derivatives. `own_output`: made by the same node; the edge is not
 * counted then, or the node would hold itself. */
typedef struct soma_saved {
    soma_tensor *tensor;
    soma_edge edge;
    uint32_t version;
    bool own_output;
} soma_saved;

struct soma_node {
    _Atomic int32_t refs;
    bool consumed;            /* backward went through and freed what was saved */
    bool queued;
    bool bf16;                /* autocast was on: the gradient is computed so as well */
    const soma_op *op;
    uint64_t seq;             /* later calls have higher numbers: falling order is a topological order */
    int n_in, n_out, n_attrs, n_saved;
    soma_node *next_dying;
    soma_edge *edges;         /* n_in */
    soma_meta *in_meta, *out_meta;
    soma_attr *attrs;
    soma_saved *saved;        /* n_in + n_out slots; empty ones have tensor NULL */
    soma_tensor **pending;    /* n_out: gradients that have come so far */
    soma_tensor **retained;   /* n_out: handles that want to keep their gradient; not counted, cleared when they go */
};

/* Records a call. `in` and `out` as apply has them; in place, out[0] is in[0] and its handle changes node. False: no memory. */
bool soma__tape_record(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs, soma_tensor *const *out);
/* Saves what the rule needs of the inputs before an in-place kernel overwrites them: record in two halves. */
soma_node *soma__tape_begin(const soma_op *op, soma_tensor *const *in, int n_in, const soma_attr *attrs);
bool soma__tape_end(soma_node *node, soma_tensor *const *out);
void soma__node_unref(soma_node *node);
void soma__node_ref(soma_node *node);
/* Drops saved tensors and edges. */
void soma__node_consume(soma_node *node);

#endif
