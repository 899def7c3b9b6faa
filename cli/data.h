/* What the files of `soma data` share. */
#ifndef SOMA_CLI_DATA_H
#define SOMA_CLI_DATA_H

#include "options.h"

/* Downloads the set of that name into --to, unless it is there. The exit code. */
int download_set(const args *a, const char *name);

#endif
