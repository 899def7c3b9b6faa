/* doctor.jsonl: what the doctor has seen in a training, a line of JSON each: looks, epochs, the first NaN. Reading it back feeds the same
 * rules. */
#include "doctor/course.h"

#include "data/dataset.h"
#include "io/io.h"
#include "io/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Writing ------------------------------------------------------------------------------------------------------------------------------ */

static void number(soma__text *t, const char *key, double v) {
    soma__text_add(t, ",\"%s\":", key);
    soma__json_put_number(t, v);
}

static void string(soma__text *t, const char *key, const char *v) {
    soma__text_add(t, "\"%s\":", key);
    if (!soma__json_put_string(t, v)) soma__json_put_string(t, "?");
}

static void put_layer(soma__text *t, const soma__layer_facts *f) {
    soma__text_add(t, "{");
    string(t, "path", f->path);
    soma__text_add(t, ",");
    string(t, "type", f->type);
    soma__text_add(t, ",\"kind\":%d,\"units\":%lld", (int)f->kind, (long long)f->units);
    number(t, "mean", f->mean);
    number(t, "std", f->std);
    number(t, "largest", f->largest);
    number(t, "zero", f->zero);
    number(t, "dead", f->dead);
    number(t, "saturated", f->saturated);
    soma__text_add(t, "}");
}

static void put_param(soma__text *t, const soma__param_facts *p) {
    soma__text_add(t, "{");
    string(t, "name", p->name);
    soma__text_add(t, ",\"ndim\":%d,\"n\":%lld", p->ndim, (long long)p->n);
    number(t, "weight", p->weight);
    number(t, "grad", p->grad);
    number(t, "update", p->update);
    soma__text_add(t, "}");
}

/* A record that is not written is worth a line in the log, not the training. */
static void write_line(soma_doctor *d, soma__text *t) {
    soma__text_add(t, "\n");
    size_t done = 0;
    while (d->fd >= 0 && !t->failed && done < t->size) {
        ssize_t n = write(d->fd, t->data + done, t->size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            soma__log(SOMA_LOG_WARNING, "%s: cannot write: %s; the doctor's records end here", d->log_path, strerror(errno));
            close(d->fd);
            d->fd = -1;
            break;
        }
        done += (size_t)n;
    }
    soma__text_free(t);
}

void soma__log_look(soma_doctor *d, const soma__look *l) {
    if (d->fd < 0) return;
    soma__text t = {0};
    soma__text_add(&t, "{\"kind\":\"look\",\"step\":%lld,\"epoch\":%lld,\"batch\":%lld,\"output\":%d", (long long)l->step, (long long)l->epoch, (long long)l->batch, l->output);
    number(&t, "loss", l->loss);
    number(&t, "spread", l->loss_spread);
    number(&t, "lr", l->lr);
    number(&t, "grad_norm", l->grad_norm);
    number(&t, "clip", l->clip);
    number(&t, "penalty", l->penalty);
    number(&t, "waiting", l->waiting);
    soma__text_add(&t, ",\"layers\":[");
    for (int i = 0; i < l->n_layers; i++) {
        if (i) soma__text_add(&t, ",");
        put_layer(&t, &l->layers[i]);
    }
    soma__text_add(&t, "],\"params\":[");
    for (int i = 0; i < l->n_params; i++) {
        if (i) soma__text_add(&t, ",");
        put_param(&t, &l->params[i]);
    }
    soma__text_add(&t, "]}");
    write_line(d, &t);
}

void soma__log_epoch_line(soma_doctor *d, const soma_epoch *e) {
    if (d->fd < 0) return;
    soma__text t = {0};
    soma__text_add(&t, "{\"kind\":\"epoch\",\"step\":%lld,\"epoch\":%lld", (long long)e->steps, (long long)e->epoch);
    number(&t, "train_loss", e->train_loss);
    number(&t, "val_loss", e->val_loss);
    soma__text_add(&t, "}");
    write_line(d, &t);
}

void soma__log_nan(soma_doctor *d, int64_t step, double lr, const char *where) {
    if (d->fd < 0) return;
    soma__text t = {0};
    soma__text_add(&t, "{\"kind\":\"nan\",\"step\":%lld", (long long)step);
    number(&t, "lr", lr);
    soma__text_add(&t, ",");
    string(&t, "where", where);
    soma__text_add(&t, "}");
    write_line(d, &t);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------------------------------ */

static double get(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void text(const json_t *o, const char *key, char *out, size_t size) {
    const char *v = json_string_value(json_object_get(o, key));
    snprintf(out, size, "%s", v ? v : "");
}

static int64_t whole(const json_t *o, const char *key) { return (int64_t)json_integer_value(json_object_get(o, key)); }

static void read_layers(soma__look *l, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        int64_t kind = whole(o, "kind");
        soma__layer_facts f = {.kind = kind >= 0 && kind <= SOMA__KIND_BLOCK ? (soma__kind)kind : SOMA__KIND_OTHER,
                               .from = -1, .units = whole(o, "units"), .mean = get(o, "mean"), .std = get(o, "std"), .largest = get(o, "largest"),
                               .zero = get(o, "zero"), .dead = get(o, "dead"), .saturated = get(o, "saturated")};
        text(o, "path", f.path, sizeof(f.path));
        text(o, "type", f.type, sizeof(f.type));
        if (soma__look_add_layer(l, &f) != SOMA_OK) return;
    }
}

static void read_params(soma__look *l, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        soma__param_facts p = {.ndim = (int)whole(o, "ndim"), .n = whole(o, "n"), .weight = get(o, "weight"), .grad = get(o, "grad"), .update = get(o, "update")};
        text(o, "name", p.name, sizeof(p.name));
        if (soma__look_add_param(l, &p) != SOMA_OK) return;
    }
}

static void read_look(soma_doctor *d, const json_t *o) {
    soma__look l = {.step = whole(o, "step"), .epoch = whole(o, "epoch"), .batch = whole(o, "batch"), .output = (int)whole(o, "output"), .loss = get(o, "loss"),
                    .loss_spread = get(o, "spread"), .lr = get(o, "lr"), .grad_norm = get(o, "grad_norm"), .clip = get(o, "clip"), .penalty = get(o, "penalty"),
                    .waiting = get(o, "waiting")};
    read_layers(&l, json_object_get(o, "layers"));
    read_params(&l, json_object_get(o, "params"));
    if (soma_error() == SOMA_OK) soma__course_look(d, &l);
    soma__look_free(&l);
}

static void read_finding(soma_doctor *d, const json_t *o) {
    char name[64], severity[16];
    text(o, "rule", name, sizeof(name));
    text(o, "severity", severity, sizeof(severity));
    soma_finding f = {.rule = soma_rule_find(name), .first = whole(o, "first"), .last = whole(o, "last"), .times = whole(o, "times"), .value = get(o, "value"),
                      .weight = get(o, "weight"), .size = sizeof(f)};
    for (f.severity = SOMA_FAULT; f.severity > SOMA_HINT && strcmp(severity, soma_severity_name(f.severity)) != 0; f.severity--) continue;
    text(o, "layer", f.layer, sizeof(f.layer));
    text(o, "evidence", f.evidence, sizeof(f.evidence));
    text(o, "picture", f.picture, sizeof(f.picture));
    text(o, "flag", f.flag, sizeof(f.flag));
    text(o, "code", f.code, sizeof(f.code));
    if (f.rule && isfinite(f.weight)) soma__found_again(d, &f);
}

static void read_line(soma_doctor *d, const json_t *o) {
    char kind[16], where[300];
    text(o, "kind", kind, sizeof(kind));
    if (!strcmp(kind, "look"))
        read_look(d, o);
    else if (!strcmp(kind, "epoch"))
        soma__course_epoch(d, &(soma_epoch){.epoch = whole(o, "epoch"), .steps = whole(o, "step"), .train_loss = get(o, "train_loss"), .val_loss = get(o, "val_loss")});
    else if (!strcmp(kind, "finding"))
        read_finding(d, o);
    else if (!strcmp(kind, "nan")) {
        text(o, "where", where, sizeof(where));
        soma__course_nan(d, whole(o, "step"), get(o, "lr"), where);
    }
}

/* Lines of steps up to `keep`; *end is where they end. A last line that a kill has cut short ends the file. */
static soma_status read_lines(soma_doctor *d, const char *path, const char *data, size_t size, int64_t keep, size_t *end) {
    int64_t number_of = 0;
    *end = 0;
    while (*end < size && soma_error() == SOMA_OK) {
        const char *line = data + *end, *stop = memchr(line, '\n', size - *end);
        char name[4200];
        if (!stop) return SOMA_OK;
        snprintf(name, sizeof(name), "%s, line %lld", path, (long long)++number_of);
        json_t *o = soma__json_parse(line, (size_t)(stop - line), name);
        if (!o) return soma_error();
        bool wanted = whole(o, "step") <= keep;
        if (wanted) read_line(d, o);
        json_decref(o);
        if (!wanted) return SOMA_OK;
        *end += (size_t)(stop - line) + 1;
    }
    return soma_error();
}

soma_status soma__doctor_read_bytes(soma_doctor *d, const char *name, const void *data, size_t size, int64_t keep, size_t *end) {
    if (!d->course && !(d->course = soma__course_new())) return soma_error();
    return read_lines(d, name, data, size, keep, end);
}

static soma_status read_file(soma_doctor *d, const char *path, int64_t keep, size_t *end) {
    soma_bytes b = {0};
    soma_status status = soma_read_file(path, false, (size_t)1 << 30, &b);
    if (status == SOMA_OK) status = soma__doctor_read_bytes(d, path, b.data, b.size, keep, end);
    soma_bytes_free(&b);
    return status;
}

soma_status soma_doctor_read(soma_doctor *d, const char *path) {
    size_t end;
    if (!d || !path) return soma_fail(SOMA_EINVAL, "soma_doctor_read: needs a doctor and a file");
    return read_file(d, path, INT64_MAX, &end);
}

/* What was found before the training goes first. */
static void log_findings(soma_doctor *d) {
    char line[4096];
    for (int i = 0; i < d->n && d->fd >= 0; i++) {
        soma__text t = {0};
        if (soma_finding_json(&d->found[i], line, sizeof(line)) < sizeof(line)) soma__text_add(&t, "%s", line);
        write_line(d, &t);
    }
}

soma_status soma__log_begin(soma_doctor *d, const char *run_dir, int64_t step) {
    size_t end = 0;
    if (d->fd >= 0) close(d->fd);
    d->fd = -1;
    soma__free(d->log_path);
    d->log_path = run_dir ? soma__path_join(run_dir, "doctor.jsonl") : NULL;
    if (!d->log_path) return soma_error();
    if (step > 0 && access(d->log_path, F_OK) == 0 && read_file(d, d->log_path, step, &end) != SOMA_OK) return soma_error();
    d->fd = open(d->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (d->fd < 0) return soma_fail(SOMA_EIO, "%s: cannot open: %s", d->log_path, strerror(errno));
    if (ftruncate(d->fd, (off_t)end) != 0) return soma_fail(SOMA_EIO, "%s: cannot cut: %s", d->log_path, strerror(errno));
    if (end == 0) log_findings(d);
    return SOMA_OK;
}
