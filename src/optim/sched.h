/* A schedule, as sched.c computes it, plateau.c keeps its state and sched_kinds.c makes it by name. */
#ifndef SOMA_SRC_SCHED_H
#define SOMA_SRC_SCHED_H

#include "optim/optim.h"

typedef enum soma__sched_kind {
    SOMA__SCHED_CONSTANT, SOMA__SCHED_HOLD, SOMA__SCHED_LINEAR, SOMA__SCHED_STEP, SOMA__SCHED_MULTI_STEP, SOMA__SCHED_EXPONENTIAL,
    SOMA__SCHED_POLYNOMIAL, SOMA__SCHED_COSINE, SOMA__SCHED_RESTARTS, SOMA__SCHED_ONE_CYCLE, SOMA__SCHED_CYCLIC,
    SOMA__SCHED_INVERSE_SQRT, SOMA__SCHED_WARMUP, SOMA__SCHED_LAMBDA, SOMA__SCHED_SEQUENTIAL, SOMA__SCHED_PRODUCT, SOMA__SCHED_PLATEAU
} soma__sched_kind;

/* Lists behind a schedule are in its own block. */
struct soma_sched {
    soma__sched_kind kind;
    int64_t steps, more;        /* length of a stair, of a warm-up, in all …; CYCLIC: up and down, RESTARTS: t_0 and t_mult */
    double a, b, c;
    bool three, straight;       /* ONE_CYCLE */
    soma_cycle mode;
    soma_sched_fn fn;
    void *user;
    int n;                      /* of parts or milestones */
    soma_sched **parts;         /* owned */
    int64_t *milestones;
    soma_plateau_opts plateau;  /* with the defaults filled in */
    double best, factor;        /* of a plateau: its state */
    int64_t bad, cooling;
};

/* A copy of `set` with room for n parts and n milestones; NULL with an error. */
soma_sched *soma__sched_new(soma_sched set, int n);
void soma__plateau_measure(soma_sched *s, double metric);

#endif
