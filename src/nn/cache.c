/* Decoding step by step: what each module of a network remembers, the forward that uses it, and drawing tokens with it. */
#include "nn/sequence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct soma_cache {
    soma__nn_memory *list;
    int n, room;
    int64_t steps;
};

soma_cache *soma_nn_cache_new(void) { return soma__failed() ? NULL : soma__calloc(1, sizeof(soma_cache)); }

void soma_nn_cache_clear(soma_cache *cache) {
    for (int i = 0; cache && i < cache->n; i++) {
        soma_release(cache->list[i].a);
        soma_release(cache->list[i].b);
    }
    if (cache) {
        cache->n = 0;
        cache->steps = 0;
    }
}

void soma_nn_cache_free(soma_cache *cache) {
    if (!cache)
        return;
    soma_nn_cache_clear(cache);
    soma__free(cache->list);
    soma__free(cache);
}

int64_t soma_nn_cache_steps(const soma_cache *cache) { return cache ? cache->steps : 0; }

/* The list may move: a module asks once, and its children run before or after it uses the answer. */
soma__nn_memory *soma__nn_memory_of(const soma_module *m) {
    soma_cache *cache = soma__ctx()->decoding;
    if (!cache)
        return NULL;
    for (int i = 0; i < cache->n; i++)
        if (cache->list[i].m == m)
            return &cache->list[i];
    if (cache->n == cache->room) {
        int room = SOMA_MAX(16, cache->room * 2);
        soma__nn_memory *larger = soma__realloc(cache->list, (size_t)room * sizeof *larger);
        if (!larger)
            return NULL;
        cache->list = larger;
        cache->room = room;
    }
    cache->list[cache->n] = (soma__nn_memory){.m = m};
    return &cache->list[cache->n++];
}

soma_tensor *soma_nn_forward_cached(soma_module *m, soma_cache *cache, soma_tensor *x) {
    if (soma__failed())
        return NULL;
    if (!cache || !x || soma_ndim(x) < 2) {
        soma_fail(SOMA_EINVAL, "soma_nn_forward_cached: it needs a cache and an input [batch, steps, …]");
        return NULL;
    }
    soma_ctx *ctx = soma__ctx();
    void *outer = ctx->decoding;
    bool grad = soma_set_grad_enabled(false);
    ctx->decoding = cache;
    soma_tensor *y = soma_nn_forward(m, x);
    ctx->decoding = outer;
    soma_set_grad_enabled(grad);
    if (y)
        cache->steps += soma_size(x, 1);
    else
        soma_nn_cache_clear(cache); /* some modules went on, others did not */
    return y;
}

/* ---- Drawing tokens ----------------------------------------------------------------------------------------------------- */

typedef struct candidate {
    double p;
    int64_t token;
} candidate;

/* The likelier first, of equals the smaller token. */
static int by_probability(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : x->token < y->token ? -1 : 1;
}

/* A token by its logits; `u` is uniform in [0, 1). */
static int64_t draw(candidate *c, int64_t n, const soma_generate_opts *o, double u) {
    double temperature = o->temperature == 0 ? 1 : o->temperature, sum = 0, all = 0;
    qsort(c, (size_t)n, sizeof *c, by_probability);
    if (temperature < 0)
        return c[0].token;
    double largest = c[0].p;
    int64_t kept = o->top_k > 0 ? SOMA_MIN(n, o->top_k) : n, last = 0;
    for (int64_t i = 0; i < kept; i++)
        all += c[i].p = exp((c[i].p - largest) / temperature);
    for (; last < kept; last++) { /* top_p keeps the token that reaches it */
        sum += c[last].p;
        if (o->top_p > 0 && sum >= o->top_p * all)
            break;
    }
    kept = SOMA_MIN(last + 1, kept);
    u *= sum;
    for (int64_t i = 0; i < kept; i++) {
        u -= c[i].p;
        if (u < 0)
            return c[i].token;
    }
    return c[kept - 1].token;
}

/* The next token after the last row of logits [1, steps, classes]. */
static int64_t next_token(soma_tensor *logits, const soma_generate_opts *o) {
    int64_t n = soma_size(logits, 2);
    double *values = soma__alloc((size_t)n * sizeof *values);
    candidate *c = soma__alloc((size_t)n * sizeof *c);
    int64_t token = -1;
    if (values && c && soma_to_array(soma_select(soma_select(logits, 0, 0), 0, -1), values, n, SOMA_F64) == SOMA_OK) {
        bool real = true;
        for (int64_t i = 0; i < n; i++) {
            c[i] = (candidate){values[i], i};
            real = real && !isnan(values[i]);
        }
        soma_rng rng = soma_rng_get();
        soma__random random = soma__random_new(rng.seed, rng.stream++);
        soma_rng_set(rng);
        if (real)
            token = draw(c, n, o, soma__random_unit(&random));
        else
            soma_fail(SOMA_ENAN, "soma_nn_generate: a logit is NaN");
    }
    soma__free(values);
    soma__free(c);
    return token;
}

static bool generate(soma_module *m, soma_cache *cache, int64_t *tokens, int64_t have, int64_t n, const soma_generate_opts *o) {
    int64_t seen = 0; /* tokens that the cache knows of, from the beginning of the window */
    for (int64_t end = have + n; have < end; have++) {
        soma_scope scope = soma_scope_begin();
        int64_t from = have - 1;
        if (seen == 0 || (o->context > 0 && seen >= o->context)) { /* the window is full: half of it stays */
            soma_nn_cache_clear(cache);
            seen = o->context > 0 ? SOMA_MIN(have, SOMA_MAX(1, seen == 0 ? o->context : o->context / 2)) : have;
            from = have - seen;
        } else {
            seen++;
        }
        soma_tensor *x = soma_from_array(tokens + from, SOMA_SHAPE(1, have - from), SOMA_I64);
        soma_tensor *logits = soma_nn_forward_cached(m, cache, x);
        if (logits && (soma_ndim(logits) != 3 || soma_size(logits, 2) < 1))
            soma_fail(SOMA_ESHAPE, "soma_nn_generate: the network must give logits [batch, steps, classes]");
        tokens[have] = logits && !soma__failed() ? next_token(logits, o) : -1;
        soma_scope_end(scope);
        if (soma__failed())
            return false;
    }
    return true;
}

static void all_training(soma_module *m, bool *modes, int *at, bool store) {
    if (store)
        modes[*at] = m->training;
    else
        m->training = modes[*at];
    ++*at;
    for (int i = 0; i < m->n_children; i++)
        all_training(m->children[i], modes, at, store);
}

static int module_count(const soma_module *m) {
    int n = 1;
    for (int i = 0; i < m->n_children; i++)
        n += module_count(m->children[i]);
    return n;
}

soma_status soma_nn_generate_ex(soma_module *m, int64_t *tokens, int64_t n_prompt, int64_t n, const soma_generate_opts *opts) {
    soma_generate_opts o = opts ? *opts : (soma_generate_opts){0};
    if (soma__failed())
        return soma__ctx()->error;
    if (!m || !tokens || n_prompt < 1 || n < 0 || o.top_k < 0 || !(o.top_p >= 0 && o.top_p <= 1) || isnan(o.temperature) || o.context < 0)
        return soma_fail(SOMA_EINVAL, "soma_nn_generate: it needs a module, at least one token to begin with, top_k and context of at least 0 and "
                                      "top_p from 0 to 1");
    soma_cache *cache = soma_nn_cache_new();
    bool *modes = soma__alloc((size_t)module_count(m) * sizeof *modes);
    int at = 0;
    if (cache && modes) {
        all_training(m, modes, &at, true);
        soma_nn_train(m, false);
        generate(m, cache, tokens, n_prompt, n, &o);
        at = 0;
        all_training(m, modes, &at, false);
    }
    soma__free(modes);
    soma_nn_cache_free(cache);
    return soma__ctx()->error;
}
