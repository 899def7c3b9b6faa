/* Classes: their names and order, and labels as places in that order. The order is the model's when one is given, so that a label
 * means the same in training, evaluation and prediction; otherwise all that occur, numbers as numbers. */
#define _GNU_SOURCE /* qsort_r */
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b, void *classes) {
    int i = *(const int *)a, j = *(const int *)b;
    int order = strcmp(soma__strings_at(classes, i), soma__strings_at(classes, j));
    return order ? order : i - j;
}

/* Makes what soma__class_find needs from d->classes. */
static soma_status order_classes(soma_dataset *d) {
    int n = (int)d->classes.n;
    soma__free(d->class_order);
    d->class_order = soma__alloc((size_t)n * sizeof *d->class_order);
    if (!d->class_order)
        return SOMA_ENOMEM;
    d->classes_numeric = false;
    for (int i = 0; i < n; i++) {
        d->class_order[i] = i;
        d->classes_numeric |= soma__is_integer(soma__strings_at(&d->classes, i));
    }
    qsort_r(d->class_order, (size_t)n, sizeof *d->class_order, by_name, &d->classes);
    return SOMA_OK;
}

soma_status soma__classes_set(soma_dataset *d, const char *const *names, int64_t n) {
    soma__strings_free(&d->classes);
    for (int64_t i = 0; i < n; i++) {
        if (!names[i])
            return soma_fail(SOMA_EINVAL, "class name %lld is NULL", (long long)i);
        if (!soma__strings_add(&d->classes, names[i]))
            return SOMA_ENOMEM;
    }
    return order_classes(d);
}

soma_status soma__classes_numbered(soma_dataset *d, int64_t n) {
    char text[24];
    soma__strings_free(&d->classes);
    for (int64_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%lld", (long long)i);
        if (!soma__strings_add(&d->classes, text))
            return SOMA_ENOMEM;
    }
    return order_classes(d);
}

int64_t soma__class_find(const soma_dataset *d, const char *text) {
    int64_t low = 0, high = d->classes.n;
    while (low < high) {
        int64_t mid = (low + high) / 2;
        if (strcmp(soma__strings_at(&d->classes, d->class_order[mid]), text) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < d->classes.n && strcmp(soma__strings_at(&d->classes, d->class_order[low]), text) == 0)
        return d->class_order[low];
    if (!d->classes_numeric && soma__is_integer(text)) {
        long long number = atoll(text);
        if (number >= 0 && number < d->classes.n)
            return number;
    }
    return -1;
}

static soma_status unknown(const soma_dataset *d, const char *text, const char *place) {
    char names[300];
    return soma_fail(SOMA_EINVAL, "%s: label '%s' is none of the %lld classes (%s)", place, text, (long long)d->classes.n,
                     soma__strings_show(&d->classes, 20, names, sizeof names));
}

/* ---- From texts ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int by_number(const void *a, const void *b) {
    long long x = atoll(*(const char *const *)a), y = atoll(*(const char *const *)b);
    return x < y ? -1 : x > y ? 1 : by_text(a, b);
}

static soma_status derive_classes(soma_dataset *d, const char *const *texts, int64_t n) {
    const char **sorted = soma__alloc((size_t)n * sizeof *sorted);
    if (!sorted)
        return SOMA_ENOMEM;
    memcpy(sorted, texts, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_text);
    int64_t unique = 0;
    bool numbers = true;
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || strcmp(sorted[i], sorted[unique - 1]) != 0) {
            sorted[unique++] = sorted[i];
            numbers = numbers && soma__is_integer(sorted[i]);
        }
    if (numbers)
        qsort(sorted, (size_t)unique, sizeof *sorted, by_number);
    soma_status status = unique > INT32_MAX ? soma_fail(SOMA_EUNSUPPORTED, "%lld different labels", (long long)unique)
                                            : soma__classes_set(d, sorted, unique);
    soma__free(sorted);
    return status;
}

soma_status soma__label_texts(soma_dataset *d, const char *const *texts, int64_t n, const soma_data_opts *opts,
                              soma__place_fn place, const void *user) {
    char where[600];
    for (int64_t i = 0; i < n; i++)
        if (!texts[i][0])
            return soma_fail(SOMA_EFORMAT, "%s: the label is empty", place(user, i, where, sizeof where));
    soma_status status = SOMA_OK;
    if (opts->n_classes > 0)
        status = soma__classes_set(d, opts->classes, opts->n_classes);
    else if (d->classes.n == 0)
        status = derive_classes(d, texts, n);
    soma__free(d->labels);
    d->labels = status == SOMA_OK ? soma__alloc((size_t)n * sizeof *d->labels) : NULL;
    if (!d->labels)
        return status == SOMA_OK ? SOMA_ENOMEM : status;
    d->task = SOMA_CLASSIFY;
    for (int64_t i = 0; i < n; i++) {
        d->labels[i] = soma__class_find(d, texts[i]);
        if (d->labels[i] < 0)
            return unknown(d, texts[i], place(user, i, where, sizeof where));
    }
    return SOMA_OK;
}

/* ---- From numbers ---- */

/* The class of number k, which the data calls own[k]: by that name, else by the number. */
static int64_t class_of_number(const soma_dataset *d, int64_t k, const soma__strings *own, char *text, size_t size) {
    snprintf(text, size, "%lld", (long long)k);
    int64_t found = own ? soma__class_find(d, soma__strings_at(own, k)) : -1;
    return found >= 0 ? found : soma__class_find(d, text);
}

static soma_status map_numbers(soma_dataset *d, const int64_t *numbers, int64_t n, const soma__strings *own, const char *name) {
    char text[24], place[600];
    for (int64_t i = 0; i < n; i++) {
        d->labels[i] = class_of_number(d, numbers[i], own, text, sizeof text);
        if (d->labels[i] < 0) {
            snprintf(place, sizeof place, "%s: sample %lld", name, (long long)i);
            return unknown(d, own ? soma__strings_at(own, numbers[i]) : text, place);
        }
    }
    return SOMA_OK;
}

soma_status soma__label_numbers(soma_dataset *d, const int64_t *numbers, int64_t n, const soma__strings *own,
                                const soma_data_opts *opts, const char *name) {
    int64_t most = own ? own->n - 1 : (int64_t)1 << 24, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        if (numbers[i] < 0 || numbers[i] > most)
            return soma_fail(SOMA_EINVAL, "%s: label %lld of sample %lld is out of range; classes are 0 … %lld", name,
                             (long long)numbers[i], (long long)i, (long long)most);
        largest = SOMA_MAX(largest, numbers[i]);
    }
    soma_status status = SOMA_OK;
    if (opts->n_classes > 0)
        status = soma__classes_set(d, opts->classes, opts->n_classes);
    else if (!own)
        status = soma__classes_numbered(d, largest + 1);
    for (int64_t k = 0; own && opts->n_classes == 0 && k < own->n && status == SOMA_OK; k++)
        status = soma__strings_add(&d->classes, soma__strings_at(own, k)) ? SOMA_OK : SOMA_ENOMEM;
    if (status == SOMA_OK && own && opts->n_classes == 0)
        status = order_classes(d);
    soma__free(d->labels);
    d->labels = status == SOMA_OK ? soma__alloc((size_t)n * sizeof *d->labels) : NULL;
    if (!d->labels)
        return status == SOMA_OK ? SOMA_ENOMEM : status;
    d->task = SOMA_CLASSIFY;
    if (opts->n_classes > 0)
        return map_numbers(d, numbers, n, own, name);
    memcpy(d->labels, numbers, (size_t)n * sizeof *numbers);
    return SOMA_OK;
}
