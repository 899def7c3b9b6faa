/* What the rules about a training remember from look to look. */
#ifndef SOMA_SRC_DOCTOR_COURSE_H
#define SOMA_SRC_DOCTOR_COURSE_H

#include "doctor/doctor.h"

enum { RECENT = 24 };
typedef struct recent {
    double v[RECENT];
    int n;
} recent;
typedef struct tally {
    soma__rule rule;
    char layer[96];
    int count;
} tally;

struct soma__course {
    /* for the rules (course.c) */
    recent loss, spread, norm, clip, val, epochs;
    double first_loss, first_weight, first_train, best_val, best_train;
    int64_t best_epoch, first_step;
    tally *tallies;
    int n_tallies, room_tallies;
    /* for the look that is being taken (watch.c) */
    soma__look look;
    soma__listener ear;
    struct soma__unit_log *units;
    float *before;              /* samples of the weights before the step */
    int64_t n_before;
    double loss_sum, loss_squares, steps, seconds, waited; /* since the last look */
};

#endif
