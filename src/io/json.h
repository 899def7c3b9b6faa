/* JSON from outside, through jansson: with limits on depth and on the number of values, no doubled keys, and errors that
 * name file, line and column. jansson's own memory comes from malloc: its allocation functions are the whole process's,
 * and the process belongs to the caller. */
#ifndef SOMA_SRC_IO_JSON_H
#define SOMA_SRC_IO_JSON_H

#include "base/base.h"

#include <jansson.h>

#define SOMA__JSON_DEPTH 64                 /* objects and arrays inside each other */
#define SOMA__JSON_VALUES ((size_t)2 << 20) /* values in all; each takes up to some 150 bytes of memory */

/* The value, to be freed with json_decref; NULL and SOMA_EFORMAT or SOMA_ENOMEM otherwise. */
json_t *soma__json_parse(const char *text, size_t size, const char *name);
json_t *soma__json_read(const char *path);

/* Fields of an object. `name` begins the message; a missing field, or one of another kind, is SOMA_EFORMAT. */
const char *soma__json_string(const json_t *object, const char *key, const char *name);
soma_status soma__json_int(const json_t *object, const char *key, const char *name, int64_t *out);
soma_status soma__json_number(const json_t *object, const char *key, const char *name,
                              double *out); /* also of a whole number */
soma_status soma__json_bool(const json_t *object, const char *key, const char *name, bool *out);

/* Writing: `text` in quotes, with everything escaped that JSON wants escaped. False when it is not UTF-8 (nothing is
 * added). */
bool soma__json_put_string(soma__text *t, const char *text);
/* A number so that reading gives the same bits; JSON has no NaN and no infinities: null. Never a decimal comma. */
void soma__json_put_number(soma__text *t, double v);

#endif
