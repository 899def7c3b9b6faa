/* See json.h. The text is looked over before jansson gets it, so that a small hostile file cannot take the stack or the
 * memory. */
#include "io/json.h"

#include "io/io.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Counts what could become a value: each comma and each bracket outside strings. */
static soma_status check_limits(const char *text, size_t size, const char *name) {
    size_t values = 1, depth = 0, line = 1;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '\n') {
            line++;
        } else if (c == '"') {
            for (i++; i < size && text[i] != '"'; i++)
                i += text[i] == '\\';
        } else if (c == '{' || c == '[') {
            values++;
            if (++depth > SOMA__JSON_DEPTH)
                return soma_fail(SOMA_EFORMAT, "%s:%zu: more than %d objects and arrays inside each other", name, line,
                                 SOMA__JSON_DEPTH);
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
    }
    if (values > SOMA__JSON_VALUES)
        return soma_fail(SOMA_EFORMAT, "%s: more than %zu values", name, SOMA__JSON_VALUES);
    return SOMA_OK;
}

json_t *soma__json_parse(const char *text, size_t size, const char *name) {
    json_error_t error;
    if (check_limits(text, size, name) != SOMA_OK)
        return NULL;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (value != NULL)
        return value;
    enum json_error_code code = json_error_code(&error);
    if (code == json_error_out_of_memory)
        soma_fail(SOMA_ENOMEM, "%s: no memory to read the JSON text", name);
    else if (size == 0)
        soma_fail(SOMA_EFORMAT, "%s: empty, and JSON was expected", name);
    else
        soma_fail(SOMA_EFORMAT, "%s:%d:%d: damaged JSON: %s", name, error.line, error.column, error.text);
    return NULL;
}

json_t *soma__json_read(const char *path) {
    soma_bytes bytes;
    if (soma_read_file(path, false, (size_t)1 << 28, &bytes) != SOMA_OK)
        return NULL;
    json_t *value = soma__json_parse((const char *)bytes.data, bytes.size, path);
    soma_bytes_free(&bytes);
    return value;
}

static soma_status wrong(const json_t *value, const char *key, const char *name, const char *expected) {
    static const char *const kinds[] = {"an object", "an array", "a text", "a whole number",
                                        "a number",  "true",     "false",  "null"};
    if (value == NULL)
        return soma_fail(SOMA_EFORMAT, "%s: the field \"%s\" is missing (%s)", name, key, expected);
    return soma_fail(SOMA_EFORMAT, "%s: the field \"%s\" is %s, and %s was expected", name, key,
                     kinds[json_typeof(value)], expected);
}

const char *soma__json_string(const json_t *object, const char *key, const char *name) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return wrong(value, key, name, "a text"), NULL;
    return json_string_value(value);
}

soma_status soma__json_int(const json_t *object, const char *key, const char *name, int64_t *out) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return wrong(value, key, name, "a whole number");
    *out = json_integer_value(value);
    return SOMA_OK;
}

soma_status soma__json_number(const json_t *object, const char *key, const char *name, double *out) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return wrong(value, key, name, "a number");
    *out = json_number_value(value);
    return SOMA_OK;
}

soma_status soma__json_bool(const json_t *object, const char *key, const char *name, bool *out) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value))
        return wrong(value, key, name, "true or false");
    *out = json_is_true(value);
    return SOMA_OK;
}

bool soma__json_put_string(soma__text *t, const char *text) {
    size_t n = strlen(text), from = 0;
    if (soma__utf8_check(text, n) != n)
        return false;
    soma__text_put(t, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7F)
            continue;
        soma__text_put(t, text + from, i - from);
        if (c == '"' || c == '\\')
            soma__text_add(t, "\\%c", c);
        else if (c == '\n')
            soma__text_put(t, "\\n", 2);
        else
            soma__text_add(t, "\\u%04x", c);
        from = i + 1;
    }
    soma__text_put(t, text + from, n - from);
    soma__text_put(t, "\"", 1);
    return true;
}

void soma__json_put_number(soma__text *t, double v) {
    char out[32];
    if (!isfinite(v)) {
        soma__text_put(t, "null", 4);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) { /* the fewest that read back to the same bits; 17 always do */
        snprintf(out, sizeof out, "%.*g", digits, v);
        double back;
        if (sscanf(out, "%lf", &back) == 1 && back == v)
            break;
    }
    for (char *c = out; *c != 0; c++) /* locales write a comma or something else */
        if ((*c < '0' || *c > '9') && *c != '-' && *c != '+' && *c != 'e')
            *c = '.';
    soma__text_put(t, out, strlen(out));
}
