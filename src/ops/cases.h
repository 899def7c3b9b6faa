/* Samples and bad inputs of an operator as lines of text, which are shorter than structs and hold any mixture of inputs and attributes.
 *
 *   "[2,3,8] s[4,3,3] - stride=2 mode='mean'"     a sample
 *   "[2,3] [4] !ESHAPE expected two vectors"      a bad input: the status and a part of the message that must come
 *
 * Words: [sizes] is an input with random numbers from -1 to 1 (whole ones from -3 to 3), "-" an absent one, name=value an attribute
 * (2; 0.5; 2,1; true; 'text'), "~" says that gradients cannot be checked here. Before the bracket: s strided, i i64, I i32, b bool, y symmetric,
 * p symmetric with eigenvalues above 1. After it: @low:high for other bounds, <n for whole numbers below n, =1,2,3 for these values. */
#ifndef SOMA_SRC_CASES_H
#define SOMA_SRC_CASES_H

#include "ops/op.h"

/* The i-th line without (samples) or with (errors) an "!". `lines` ends with NULL. */
bool soma__text_case(const char *const *lines, bool errors, int i, soma_dtype dtype, soma_sample *s);

/* SOMA__LINES(name, lines…) defines name_samples and name_errors. */
#define SOMA__LINES(name, ...)                                                                              \
    static const char *const name##_lines[] = {__VA_ARGS__, NULL};                                          \
    static bool name##_samples(int i, soma_dtype dtype, soma_sample *s) {                                   \
        return soma__text_case(name##_lines, false, i, dtype, s);                                           \
    }                                                                                                       \
    static bool name##_errors(int i, soma_dtype dtype, soma_sample *s) {                                    \
        return soma__text_case(name##_lines, true, i, dtype, s);                                            \
    }

/* "input 'x' is [2, 3] f32, expected …" as SOMA_ESHAPE; returns false. */
bool soma__expected(const soma_tensor *t, const char *name, const char *what);
/* A row of i64 in the current scope, to be filled (NULL data while only shapes are wanted). */
soma_tensor *soma__index_row(int64_t n);

#endif
