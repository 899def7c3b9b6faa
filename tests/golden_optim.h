/* The numbers of tools/golden_optim.py. */
#ifndef SOMA_TESTS_GOLDEN_OPTIM_H
#define SOMA_TESTS_GOLDEN_OPTIM_H

#include "check.h"

#include <zlib.h>

static inline gzFile golden_open(void) {
    gzFile f = gzopen("tests/golden/optim.txt.gz", "r");
    if (!f)
        fail_msg("tests/golden/optim.txt.gz is missing");
    return f;
}

#endif
