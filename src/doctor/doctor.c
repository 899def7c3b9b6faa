/* The doctor: its rules with their thresholds, the list of findings, and findings as text. */
#include "doctor/doctor.h"

#include "io/json.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Rules ------------------------------------------------------------------------------------------------------------------------ */

static const soma_rule_info rules[] = {
#define RULE(id, ...) {__VA_ARGS__},
#include "doctor/rules.def"
#undef RULE
};

int soma_rule_count(void) { return SOMA__RULES; }
const soma_rule_info *soma_rule_get(int i) { return i >= 0 && i < SOMA__RULES ? &rules[i] : NULL; }

const soma_rule_info *soma_rule_find(const char *name) {
    for (int i = 0; name && i < SOMA__RULES; i++)
        if (strcmp(rules[i].name, name) == 0) return &rules[i];
    return NULL;
}

static int find_or_fail(const char *name) {
    const soma_rule_info *rule = soma_rule_find(name);
    if (rule) return (int)(rule - rules);
    const char *names[SOMA__RULES];
    char hint[SOMA__HINT];
    for (int i = 0; i < SOMA__RULES; i++) names[i] = rules[i].name;
    const char *near = soma__nearest(name ? name : "", names, SOMA__RULES);
    snprintf(hint, sizeof(hint), near ? "; did you mean '%s'?" : "; soma doctor --rules lists them%s", near ? near : "");
    soma_fail(SOMA_ENOTFOUND, "the doctor has no rule '%s'%s", name ? name : "", hint);
    return -1;
}

/* ---- The doctor ---------------------------------------------------------------------------------------------------------------------- */

soma_doctor *soma_doctor_new(void) {
    soma_doctor *d = soma__calloc(1, sizeof(*d));
    if (!d) return NULL;
    for (int i = 0; i < SOMA__RULES; i++) d->threshold[i] = NAN;
    d->fd = -1;
    return d;
}

void soma_doctor_free(soma_doctor *d) {
    if (!d) return;
    if (d->fd >= 0) close(d->fd);
    soma__course_free(d->course);
    soma__free(d->log_path);
    soma__free(d->found);
    soma__free(d);
}

soma_status soma_doctor_silence(soma_doctor *d, const char *rule) {
    int i = d ? find_or_fail(rule) : -1;
    if (i < 0) return d ? soma_error() : soma_fail(SOMA_EINVAL, "soma_doctor_silence: the doctor is NULL");
    d->silent[i] = true;
    return SOMA_OK;
}

soma_status soma_doctor_tune(soma_doctor *d, const char *rule, double threshold) {
    int i = d ? find_or_fail(rule) : -1;
    if (i < 0) return d ? soma_error() : soma_fail(SOMA_EINVAL, "soma_doctor_tune: the doctor is NULL");
    if (isnan(rules[i].threshold)) return soma_fail(SOMA_EINVAL, "the rule '%s' has no threshold: it is yes or no", rule);
    if (threshold < 0) return soma_fail(SOMA_EINVAL, "the threshold of '%s' is %g; it must be at least 0", rule, threshold);
    d->threshold[i] = threshold;
    return SOMA_OK;
}

void soma_doctor_on_finding(soma_doctor *d, soma_finding_fn fn, void *user) {
    if (!d) return;
    d->on_finding = fn;
    d->user = user;
}

int soma_doctor_count(const soma_doctor *d) { return d ? d->n : 0; }
const soma_finding *soma_doctor_get(const soma_doctor *d, int i) { return d && i >= 0 && i < d->n ? &d->found[i] : NULL; }
const char *soma_severity_name(soma_severity s) { return s == SOMA_FAULT ? "error" : s == SOMA_WARNING ? "warning" : "hint"; }
double soma__limit(const soma_doctor *d, soma__rule rule) { return isnan(d->threshold[rule]) ? rules[rule].threshold : d->threshold[rule]; }

/* ---- Findings ------------------------------------------------------------------------------------------------------------------------ */

/* What names a fault comes before what shows its effects, hints last; then the gravest first, then the surest. */
static int rank(const soma_finding *f) { return f->severity == SOMA_HINT ? 2 : f->rule->effect; }

static int by_weight(const void *a, const void *b) {
    const soma_finding *x = a, *y = b;
    if (rank(x) != rank(y)) return rank(x) - rank(y);
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    if (x->rule != y->rule) return x->rule < y->rule ? -1 : 1;
    return strcmp(x->layer, y->layer);
}

static soma_finding *known(soma_doctor *d, const soma_rule_info *rule, const char *layer) {
    for (int i = 0; i < d->n; i++)
        if (d->found[i].rule == rule && strcmp(d->found[i].layer, layer) == 0) return &d->found[i];
    return NULL;
}

static soma_finding *add(soma_doctor *d, const soma_rule_info *rule) {
    if (d->n == d->room) {
        int room = d->room ? d->room * 2 : 16;
        soma_finding *more = soma__realloc(d->found, (size_t)room * sizeof(*more));
        if (!more) return NULL;
        d->found = more;
        d->room = room;
    }
    d->found[d->n] = (soma_finding){.rule = rule, .value = NAN, .weight = -1, .size = sizeof(soma_finding)};
    return &d->found[d->n++];
}

void soma__found(soma_doctor *d, soma__rule which, const soma__case *c, const char *format, ...) {
    const soma_rule_info *rule = &rules[which];
    if (d->silent[which]) return;
    soma_finding *f = known(d, rule, c->layer ? c->layer : "");
    bool fresh = !f;
    if (!f) f = add(d, rule);
    if (!f) return;
    soma_severity severity = c->weak && rule->severity > SOMA_HINT ? rule->severity - 1 : rule->severity;
    double weight = (double)severity + SOMA_MIN(c->sure > 0 ? c->sure : 1, 1);
    f->times++;
    f->last = c->step;
    if (weight <= f->weight) return; /* the clearest case stays */
    bool graver = !fresh && severity > f->severity;
    if (fresh) {
        f->first = c->step;
        snprintf(f->layer, sizeof(f->layer), "%s", c->layer ? c->layer : "");
    }
    f->severity = severity;
    f->weight = weight;
    f->value = c->value;
    snprintf(f->picture, sizeof(f->picture), "%s", c->picture ? c->picture : "");
    snprintf(f->flag, sizeof(f->flag), "%s", c->flag ? c->flag : rule->flag);
    snprintf(f->code, sizeof(f->code), "%s", c->code ? c->code : rule->code);
    va_list args;
    va_start(args, format);
    vsnprintf(f->evidence, sizeof(f->evidence), format, args);
    va_end(args);
    soma_finding told = *f;
    qsort(d->found, (size_t)d->n, sizeof(*d->found), by_weight);
    if ((fresh || graver) && d->on_finding) d->on_finding(d->user, &told);
}

void soma__found_again(soma_doctor *d, const soma_finding *f) {
    if (d->silent[f->rule - rules] || known(d, f->rule, f->layer)) return;
    soma_finding *own = add(d, f->rule);
    if (own) *own = *f;
    qsort(d->found, (size_t)d->n, sizeof(*d->found), by_weight);
}

/* ---- Text -------------------------------------------------------------------------------------------------------------------------------- */

void soma__bars(const double *values, int n, bool logs, char *out, size_t size) {
    static const char *const bar[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double low = INFINITY, high = -INFINITY;
    out[0] = 0;
    for (int i = 0; i < n; i++) {
        double v = logs ? log(SOMA_MAX(values[i], 1e-30)) : values[i];
        if (!isfinite(values[i])) continue;
        low = SOMA_MIN(low, v);
        high = SOMA_MAX(high, v);
    }
    if (!logs && low > 0) low = 0;
    for (int i = 0; i < n; i++) {
        double v = logs ? log(SOMA_MAX(values[i], 1e-30)) : values[i];
        int level = high > low ? (int)(7.999 * (v - low) / (high - low)) : 0;
        size_t at = strlen(out);
        if (at + 4 > size) return;
        snprintf(out + at, size - at, "%s", isfinite(values[i]) ? bar[SOMA_MAX(0, SOMA_MIN(level, 7))] : "!");
    }
}

static void put_when(soma__text *t, const soma_finding *f) {
    if (f->first <= 0) return;
    soma__text_add(t, f->last > f->first ? ", steps %lld to %lld" : ", step %lld", (long long)f->first, (long long)f->last);
}

static void put_causes(soma__text *t, const char *causes) {
    int number = 1;
    for (const char *at = causes; *at;) {
        const char *end = strstr(at, "; ");
        int length = (int)(end ? (size_t)(end - at) : strlen(at));
        soma__text_add(t, "%s%d. %.*s", number > 1 ? "   " : "", number, length, at);
        number++;
        at += length + (end ? 2 : 0);
    }
    soma__text_add(t, "\n");
}

size_t soma_finding_text(const soma_finding *f, bool brief, char *out, size_t size) {
    soma__text t = {0};
    soma__text_add(&t, "%s: %s", soma_severity_name(f->severity), f->rule->what);
    if (brief) {
        if (f->layer[0]) soma__text_add(&t, " (%s)", f->layer);
        soma__text_add(&t, ": %s; try %s [%s]", f->evidence, f->flag, f->rule->name);
        return soma__text_take(&t, out, size);
    }
    soma__text_add(&t, " [%s]\n  seen    ", f->rule->name);
    if (f->layer[0]) soma__text_add(&t, "%s", f->layer);
    if (f->layer[0] || f->first > 0) {
        if (!f->layer[0]) soma__text_add(&t, "network");
        put_when(&t, f);
        soma__text_add(&t, ": ");
    }
    soma__text_add(&t, "%s", f->evidence);
    if (f->picture[0]) soma__text_add(&t, "  %s", f->picture);
    soma__text_add(&t, "\n  why     %s\n  causes  ", f->rule->why);
    put_causes(&t, f->rule->causes);
    soma__text_add(&t, "  try     %s\n  in C    %s\n", f->flag, f->code);
    return soma__text_take(&t, out, size);
}

static void put_field(soma__text *t, const char *key, const char *value) {
    soma__text_add(t, ",\"%s\":", key);
    soma__json_put_string(t, value);
}

size_t soma_finding_json(const soma_finding *f, char *out, size_t size) {
    soma__text t = {0};
    soma__text_add(&t, "{\"kind\":\"finding\"");
    put_field(&t, "rule", f->rule->name);
    put_field(&t, "severity", soma_severity_name(f->severity));
    put_field(&t, "layer", f->layer);
    soma__text_add(&t, ",\"first\":%lld,\"last\":%lld,\"times\":%lld,\"value\":", (long long)f->first, (long long)f->last, (long long)f->times);
    soma__json_put_number(&t, f->value);
    soma__text_add(&t, ",\"threshold\":");
    soma__json_put_number(&t, f->rule->threshold);
    soma__text_add(&t, ",\"weight\":");
    soma__json_put_number(&t, f->weight);
    put_field(&t, "picture", f->picture);
    put_field(&t, "what", f->rule->what);
    put_field(&t, "evidence", f->evidence);
    put_field(&t, "why", f->rule->why);
    put_field(&t, "causes", f->rule->causes);
    put_field(&t, "flag", f->flag);
    put_field(&t, "code", f->code);
    put_field(&t, "source", f->rule->source);
    soma__text_add(&t, "}");
    return soma__text_take(&t, out, size);
}
