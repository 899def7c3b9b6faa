/* A small GPT that learns to write: one byte of the text is one token. Reports bits per character on the last tenth of the text, which it
 * does not train on, beside a bigram model of the same text (what follows which character, counted), and exits with 0 when it is
 * better. Ends with a sample.
 *
 * usage: gpt [short] [TEXT FILE...]   (without a file: sentences about films if the shared data are there, else soma's own texts) */
#include <math.h>
#include <soma/soma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct corpus {
    int64_t *tokens, n, n_train;
    int classes;                /* bytes that occur in the part to train on, and one more for all others */
    unsigned char byte_of[257]; /* of each token */
} corpus;

typedef struct setting {
    int64_t context, batch;
    int features, layers, heads, steps;
    double lr;
} setting;

/* ---- The text ---- */

static bool append(char **text, size_t *n, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    char block[65536];
    for (size_t got; (got = fread(block, 1, sizeof block, f)) > 0; *n += got) {
        char *larger = realloc(*text, *n + got);
        if (!larger)
            break;
        *text = larger;
        memcpy(*text + *n, block, got);
    }
    fclose(f);
    printf("%s\n", path);
    return true;
}

static bool read_texts(char **text, size_t *n, int files, char **paths) {
    static const char *const shared[] = {"../shared", "../../../shared"}; /* from the source tree, and from where the examples are built */
    static const char *const own[] = {"README.md", "docs/network.md", "docs/architecture.md", "include/soma/nn.h", "include/soma/ops.h", "include/soma/data.h"};
    const char *film = "data/text/subjectivity/plot.tok.gt9.5000";
    char path[1024];
    for (int i = 0; i < files; i++)
        if (!append(text, n, paths[i])) {
            fprintf(stderr, "%s: cannot be read\n", paths[i]);
            return false;
        }
    for (size_t i = 0; i < 2 && *n == 0; i++) {
        const char *folder = getenv("SOMA_SHARED");
        snprintf(path, sizeof path, "%s/%s", folder ? folder : shared[i], film);
        append(text, n, path);
    }
    if (*n == 0)
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            append(text, n, own[i]);
    return *n > 0;
}

static corpus tokens_of(const char *text, size_t n) {
    corpus c = {.tokens = malloc((n + 1) * sizeof *c.tokens), .n = (int64_t)n, .n_train = (int64_t)(n - n / 10)};
    int token_of[256];
    memset(token_of, -1, sizeof token_of);
    for (int64_t i = 0; i < c.n && c.tokens; i++) {
        int *token = &token_of[(unsigned char)text[i]];
        if (*token < 0 && i < c.n_train) {
            *token = c.classes++;
            c.byte_of[*token] = (unsigned char)text[i];
        }
        c.tokens[i] = *token;
    }
    for (int64_t i = c.n_train; i < c.n && c.tokens; i++)
        c.tokens[i] = c.tokens[i] < 0 ? c.classes : c.tokens[i];
    c.byte_of[c.classes++] = '?';
    return c;
}

/* ---- The bigram model: (count of the pair + share of the character) / (count of the first + 1) ---- */

static double bigram_bits(const corpus *c) {
    size_t k = (size_t)c->classes;
    double *pairs = calloc(k * k, sizeof *pairs), *firsts = calloc(k, sizeof *firsts), *alone = calloc(k, sizeof *alone), bits = 0;
    for (int64_t i = 0; i < c->n_train; i++)
        alone[c->tokens[i]]++;
    for (int64_t i = 1; i < c->n_train; i++) {
        pairs[(size_t)c->tokens[i - 1] * k + (size_t)c->tokens[i]]++;
        firsts[c->tokens[i - 1]]++;
    }
    for (int64_t i = c->n_train + 1; i < c->n; i++) {
        size_t a = (size_t)c->tokens[i - 1], b = (size_t)c->tokens[i];
        double share = (alone[b] + 1) / ((double)c->n_train + (double)k);
        bits -= log2((pairs[a * k + b] + share) / (firsts[a] + 1));
    }
    free(pairs);
    free(firsts);
    free(alone);
    return bits / (double)(c->n - c->n_train - 1);
}

/* ---- The network ---- */

/* Cross-entropy of `batch` windows that begin at `starts`, in nats a character. */
static soma_tensor *loss_of(soma_module *net, const corpus *c, const int64_t *starts, int64_t batch, int64_t context) {
    soma_tensor *x = soma_empty(SOMA_SHAPE(batch, context), SOMA_I64), *y = soma_empty(SOMA_SHAPE(batch * context), SOMA_I64);
    for (int64_t b = 0; b < batch && x && y; b++) {
        memcpy((int64_t *)soma_data(x) + b * context, c->tokens + starts[b], (size_t)context * sizeof(int64_t));
        memcpy((int64_t *)soma_data(y) + b * context, c->tokens + starts[b] + 1, (size_t)context * sizeof(int64_t));
    }
    return soma_cross_entropy(soma_flatten(soma_nn_forward(net, x), 0, 1), y);
}

/* Bits a character over the part that was kept apart, at most `most` windows of it. */
static double tested(soma_module *net, const corpus *c, const setting *s, int64_t most) {
    double sum = 0;
    int64_t n = 0;
    bool grad = soma_set_grad_enabled(false);
    soma_nn_train(net, false);
    for (int64_t at = c->n_train; at + s->context < c->n && n < most; at += s->context, n++) {
        soma_scope scope = soma_scope_begin();
        sum += soma_item(loss_of(net, c, &at, 1, s->context));
        soma_scope_end(scope);
    }
    soma_nn_train(net, true);
    soma_set_grad_enabled(grad);
    return sum / (double)n / log(2);
}

static void train(soma_module *net, const corpus *c, const setting *s) {
    soma_optim *opt = soma_adamw(net, .lr = s->lr, .beta2 = 0.99, .weight_decay = 0.05);
    soma_sched *schedule = soma_sched_warmup(s->steps / 20, soma_sched_cosine(s->steps, 0.1));
    int64_t starts[64];
    for (int step = 0; step < s->steps && soma_error() == SOMA_OK; step++) {
        soma_scope scope = soma_scope_begin();
        soma_to_array(soma_randint(0, c->n_train - s->context - 1, SOMA_SHAPE(s->batch), SOMA_I64), starts, 64, SOMA_I64);
        soma_tensor *loss = loss_of(net, c, starts, s->batch, s->context);
        soma_backward(loss);
        soma_clip_grad_norm(opt, 1);
        soma_sched_apply(schedule, opt, step);
        soma_optim_step(opt);
        double bits = soma_item(loss) / log(2);
        soma_scope_end(scope);
        if ((step + 1) % (s->steps / 10) == 0) {
            printf("step %4d  training %.3f  validation %.3f bits a character\n", step + 1, bits, tested(net, c, s, 50));
            fflush(stdout);
        }
    }
    soma_sched_free(schedule);
    soma_optim_free(opt);
}

static void sample(soma_module *net, const corpus *c, const setting *s) {
    int64_t text[301] = {0};
    for (int i = 0; i < c->classes; i++)
        if (c->byte_of[i] == '\n')
            text[0] = i;
    if (soma_nn_generate(net, text, 1, 300, .temperature = 0.8, .top_k = 20, .context = s->context) != SOMA_OK)
        return;
    printf("---- a sample ----\n");
    for (int i = 1; i <= 300; i++)
        putchar(c->byte_of[text[i]]);
    printf("\n------------------\n");
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "short") == 0;
    setting s = quick ? (setting){32, 16, 48, 2, 4, 400, 4e-3} : (setting){64, 32, 96, 3, 4, 1500, 3e-3};
    char *text = NULL, words[200];
    size_t n = 0;
    if (!read_texts(&text, &n, argc - 1 - quick, argv + 1 + quick) || n < 20000) {
        fprintf(stderr, "usage: gpt [short] TEXT FILE... (20,000 bytes at least)\n");
        free(text);
        return 2;
    }
    corpus c = tokens_of(text, n);
    free(text);
    soma_seed(1);
    snprintf(words, sizeof words, "gpt %d context %d features %d layers %d heads %d dropout 0", c.classes, (int)s.context, s.features, s.layers, s.heads);
    soma_module *net = soma_nn_parse(words);
    soma_nn_build(net, SOMA_SHAPE(1, s.context));
    double base = bigram_bits(&c);
    printf("%zu bytes, %d kinds; %lld weights; a bigram model needs %.3f bits a character\n", n, c.classes - 1, (long long)soma_nn_count(net), base);
    train(net, &c, &s);
    double bits = tested(net, &c, &s, INT64_MAX);
    sample(net, &c, &s);
    if (soma_error() != SOMA_OK)
        fprintf(stderr, "%s\n", soma_error_message());
    bool ok = soma_error() == SOMA_OK && bits < base;
    printf("GPT %.3f bits a character, bigram %.3f: %s\n", bits, base, ok ? "better" : "not better");
    soma_nn_free(net);
    free(c.tokens);
    return ok ? 0 : 1;
}
