/* The workloads of `make bench` as programs against soma's public headers. One workload is a step that is timed again and again, and a
 * record of what it computes, for the peers to compare with. */
#ifndef SOMA_WORKLOAD_H
#define SOMA_WORKLOAD_H

#include <jansson.h>
#include <soma/soma.h>

/* What a step computed, as named tensors that go to a .safetensors file. */
enum { RECORD_ROOM = 400, RECORD_NAME = 64 };
typedef struct record {
    char names[RECORD_ROOM][RECORD_NAME];
    soma_tensor *tensors[RECORD_ROOM];
    int n;
} record;
/* A copy of `t` (NULL: nothing) under the name, with number i behind it unless i is negative. */
void record_add(record *r, const char *name, int i, soma_tensor *t);

typedef struct workload {
    const json_t *spec;  /* its object in workloads.json */
    int64_t infer;       /* batch of an inference; 0: a training step */
    bool check;          /* results will be compared: dropout is off */
    bool captured;       /* the step is recorded once and replayed */
    const char *folder;  /* for files */
    double gflop;        /* arithmetic of a step, 0: does not matter */
    double mbytes;       /* what a step has to move through memory, 0: does not matter */
    void *state;
    void (*step)(struct workload *w);
    /* Records the inputs, runs `steps` of them, records what came out. */
    void (*compare)(struct workload *w, record *r, int steps);
} workload;

/* Each makes the workload's data; false with soma's error when that fails. What it makes lives as long as the process. */
bool net_open(workload *w);
bool table_open(workload *w);
bool op_open(workload *w);
bool files_open(workload *w);

/* Members of the workload's object; `def` when there is none. */
int64_t spec_int(const workload *w, const char *key, int64_t def);
const char *spec_text(const workload *w, const char *key);
/* The sizes in a list, with `first` before them unless 0; returns how many. */
int spec_shape(const workload *w, const char *key, int64_t first, int64_t *shape);

#endif
