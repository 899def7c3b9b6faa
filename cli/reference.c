/* Reference pages as Markdown: one a thing, and an index by kind. Everything comes from the library's tables, so a page cannot lack what an
 * entry has. tools/docs turns them into HTML. */
#include "reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "torch_names.h"

const char *attr_kind_name(soma_attr_kind kind)
{
    static const char *const names[] = {"int", "float", "bool", "ints", "dtype", "string"};
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : "?";
}

void attr_value_text(const soma_attr *v, char *out, size_t size)
{
    size_t n = 0;
    switch (v->kind) {
    case SOMA_ATTR_INT:
        if (v->value.i == INT64_MAX || v->value.i == INT64_MIN)
            snprintf(out, size, "%s", v->value.i > 0 ? "the largest" : "none");
        else
            snprintf(out, size, "%lld", (long long)v->value.i);
        break;
    case SOMA_ATTR_BOOL: snprintf(out, size, "%s", v->value.i ? "true" : "false"); break;
    case SOMA_ATTR_FLOAT: snprintf(out, size, "%g", v->value.f); break;
    case SOMA_ATTR_DTYPE: snprintf(out, size, "%s", soma_dtype_name((soma_dtype)v->value.i)); break;
    case SOMA_ATTR_STRING: snprintf(out, size, "\"%s\"", v->value.s ? v->value.s : ""); break;
    case SOMA_ATTR_INTS:
        n += (size_t)snprintf(out, size, "[");
        for (int i = 0; i < v->count && n < size; i++)
            n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? ", " : "", (long long)v->value.ints[i]);
        if (n < size)
            snprintf(out + n, size - n, "]");
        break;
    }
}

static bool any_number(const soma_op_info *op) { return op->max_inputs > 64; }

void op_signature(const soma_op_info *op, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s(", op->name);
    if (!op->input_names && op->max_inputs > 0 && n < size)
        n += (size_t)snprintf(out + n, size - n, "…");
    for (int i = 0; op->input_names && !any_number(op) && i < op->max_inputs && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s%s", i ? ", " : "", op->input_names[i], i >= op->min_inputs ? "?" : "");
    if (n < size)
        snprintf(out + n, size - n, ")");
}

/* In the order of a course: tensors, arithmetic, what networks are made of, what trains them. */
static const struct {
    const char *name, *about;
} families[] = {
    {"create", "new tensors"},
    {"random", "random numbers; a _ at the end: in place"},
    {"fill", "other dtypes, and writing into tensors"},
    {"shape", "views, joining, rearranging"},
    {"index", "picking and writing by index"},
    {"elementwise", "arithmetic and functions, element by element"},
    {"special", "special functions"},
    {"comparison", "comparisons and logic; bool"},
    {"close", "whole tensors compared"},
    {"integer", "bits and whole numbers"},
    {"reduce", "sums, means, largest, sorting, cumulative, distances"},
    {"count", "counting, histograms, sets"},
    {"matmul", "products of matrices and vectors"},
    {"linalg", "factorisations, solving, inverses"},
    {"activation", "see soma plot activation"},
    {"softmax", "numbers to probabilities"},
    {"conv", "convolutions"},
    {"pool", "pooling"},
    {"resample", "sizes of images, channels to pixels"},
    {"norm", "normalisation layers"},
    {"dropout", "dropout"},
    {"attention", "attention"},
    {"rnn", "recurrent layers and their cells"},
    {"loss", "losses and divergences"},
    {"optim", "steps of optimisers, in place"},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

static int family_rank(const char *family)
{
    int i = 0;
    while (i < FAMILIES && strcmp(families[i].name, family ? family : "") != 0)
        i++;
    return i;
}

const char *op_family_about(const char *family)
{
    int rank = family_rank(family);
    return rank < FAMILIES ? families[rank].about : "";
}

int compare_ops(const void *x, const void *y)
{
    const soma_op_info *const *a = x, *const *b = y;
    int order = family_rank((*a)->family) - family_rank((*b)->family);
    if (!order && family_rank((*a)->family) == FAMILIES)
        order = strcmp((*a)->family ? (*a)->family : "", (*b)->family ? (*b)->family : "");
    return order ? order : strcmp((*a)->name, (*b)->name);
}

/* A sentence ends at a full stop before a capital letter ("et al. 2016" goes on). */
void op_first_sentence(const char *doc, char *out, size_t size)
{
    size_t n = strlen(doc);
    for (size_t i = 0; i + 2 < n; i++)
        if (doc[i] == '.' && doc[i + 1] == ' ' && doc[i + 2] >= 'A' && doc[i + 2] <= 'Z') {
            n = i;
            break;
        }
    while (n > 0 && doc[n - 1] == '.')
        n--;
    snprintf(out, size, "%.*s", (int)n, doc);
}

/* Names of what torch_names.h, made from PyTorch's own list of samples, lacks. */
static const char *const more_torch_names[][2] = {
    {"bernoulli_", "torch.Tensor.bernoulli_"},
    {"bernoulli_tensor", "torch.bernoulli"},
    {"beta", "torch.distributions.Beta"},
    {"binomial", "torch.binomial"},
    {"cauchy_", "torch.Tensor.cauchy_"},
    {"clamp_tensor", "torch.clamp"},
    {"col2im", "torch.nn.functional.fold"},
    {"dirichlet", "torch.distributions.Dirichlet"},
    {"div_mode", "torch.div"},
    {"exponential_", "torch.Tensor.exponential_"},
    {"full_like", "torch.full_like"},
    {"gamma", "torch.distributions.Gamma"},
    {"geometric_", "torch.Tensor.geometric_"},
    {"gumbel_", "torch.distributions.Gumbel"},
    {"identity", "torch.nn.Identity"},
    {"laplace_", "torch.distributions.Laplace"},
    {"log_normal_", "torch.Tensor.log_normal_"},
    {"logspace", "torch.logspace"},
    {"max_unpool1d", "torch.nn.functional.max_unpool1d"},
    {"max_unpool2d", "torch.nn.functional.max_unpool2d"},
    {"max_unpool3d", "torch.nn.functional.max_unpool3d"},
    {"multinomial", "torch.multinomial"},
    {"normal", "torch.normal"},
    {"ones_like", "torch.ones_like"},
    {"poisson", "torch.poisson"},
    {"rand_like", "torch.rand_like"},
    {"randint_like", "torch.randint_like"},
    {"randn_like", "torch.randn_like"},
    {"random_", "torch.Tensor.random_"},
    {"rms_norm", "torch.nn.functional.rms_norm"},
    {"scaled_dot_product_attention", "torch.nn.functional.scaled_dot_product_attention"},
    {"trunc_normal_", "torch.nn.init.trunc_normal_"},
    {"zeros_like", "torch.zeros_like"},
    {"adadelta_step", "torch.optim.Adadelta"},
    {"adagrad_step", "torch.optim.Adagrad"},
    {"adam_step", "torch.optim.Adam"},
    {"adamax_step", "torch.optim.Adamax"},
    {"asgd_step", "torch.optim.ASGD"},
    {"nadam_step", "torch.optim.NAdam"},
    {"radam_step", "torch.optim.RAdam"},
    {"rmsprop_step", "torch.optim.RMSprop"},
    {"rprop_step", "torch.optim.Rprop"},
    {"sgd_step", "torch.optim.SGD"},
};

const char *op_torch_name(const char *name)
{
    for (size_t i = 0; i < sizeof more_torch_names / sizeof more_torch_names[0]; i++)
        if (!strcmp(more_torch_names[i][0], name))
            return more_torch_names[i][1];
    for (size_t i = 0; i < sizeof torch_names / sizeof torch_names[0]; i++)
        if (!strcmp(torch_names[i][0], name))
            return torch_names[i][1];
    return NULL;
}

static void example_value(const soma_attr_info *info, char *out, size_t size)
{
    const char *name = info->def.name;
    switch (info->def.kind) {
    case SOMA_ATTR_INT: snprintf(out, size, "SOMA_INT(\"%s\", 1)", name); break;
    case SOMA_ATTR_BOOL: snprintf(out, size, "SOMA_BOOLEAN(\"%s\", true)", name); break;
    case SOMA_ATTR_FLOAT: snprintf(out, size, "SOMA_FLOAT(\"%s\", 0.5)", name); break;
    case SOMA_ATTR_DTYPE: snprintf(out, size, "SOMA_DTYPE(\"%s\", SOMA_F32)", name); break;
    case SOMA_ATTR_STRING: snprintf(out, size, "SOMA_STRING(\"%s\", \"…\")", name); break;
    case SOMA_ATTR_INTS: snprintf(out, size, "SOMA_INTS(\"%s\", 2, 2)", name); break;
    }
}

void op_example(const soma_op_info *op, char *out, size_t size)
{
    char inputs[256] = "x, y", attrs[512] = "", value[128];
    int n_in = op->input_names && !any_number(op) ? op->min_inputs : 2, n_attrs = 0;
    size_t n = 0;
    if (op->max_inputs == 0)
        n_in = 0;
    for (int i = 0; op->input_names && !any_number(op) && i < n_in && n < sizeof inputs; i++)
        n += (size_t)snprintf(inputs + n, sizeof inputs - n, "%s%s", i ? ", " : "", op->input_names[i]);
    n = 0;
    for (int i = 0; i < op->n_attrs; i++) {
        if (!op->attrs[i].required)
            continue;
        example_value(&op->attrs[i], value, sizeof value);
        n += (size_t)snprintf(attrs + n, sizeof attrs - n, "%s%s", n_attrs++ ? ", " : "", value);
    }
    char given[320], with[560];
    snprintf(given, sizeof given, n_in ? "(soma_tensor *[]){%s}, %d" : "NULL, 0", inputs, n_in);
    snprintf(with, sizeof with, n_attrs ? "(soma_attr[]){%s}, %d" : "NULL, 0", attrs, n_attrs);
    snprintf(out, size, "soma_tensor *out[%d];\nsoma_call(\"%s\", %s, %s, out, %d);", op->outputs, op->name, given, with, op->outputs);
}

/* ---- Markdown ---------------------------------------------------------------------------------------------------------- */

static bool in_word(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Text in which nothing is markup, neither Markdown's nor Doxygen's (which shows numeric entities as they are written), but `code`. */
static void plain(FILE *f, const char *text)
{
    for (const char *start = text; *text; text++) {
        const char *close = *text == '`' ? strchr(text + 1, '`') : NULL;
        if (close) {
            fwrite(text, 1, (size_t)(close - text) + 1, f);
            text = close;
        } else if (*text == '<' || *text == '>' || *text == '&')
            fputs(*text == '<' ? "&lt;" : *text == '>' ? "&gt;" : "&amp;", f);
        else if (*text == '_' && text > start && in_word(text[-1]) && in_word(text[1]))
            fputc('_', f);
        else if (strchr("\\`*_[]#|@$%", *text))
            fprintf(f, "\\%c", *text);
        else
            fputc(*text == '\n' ? ' ' : *text, f);
    }
}

static FILE *page_open(const args *a, const char *dir, const char *name)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s.md", dir, name);
    FILE *f = fopen(path, "w");
    if (!f)
        work_error(a, "cannot write %s: %s", path, strerror(errno));
    return f;
}

static int page_close(const args *a, FILE *f, const char *dir)
{
    bool bad = ferror(f) != 0;
    if (fclose(f) || bad)
        return work_error(a, "cannot write into %s: %s", dir, strerror(errno));
    return 0;
}

static void row(FILE *f, const char *left, const char *right)
{
    fprintf(f, "| %s | ", left);
    plain(f, right);
    fputs(" |\n", f);
}

static void dtypes_text(uint32_t mask, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (int d = 0; d < SOMA_DTYPE_COUNT && n < size; d++)
        if (mask >> d & 1)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", soma_dtype_name((soma_dtype)d));
}

/* ---- Declarations from the headers ----------------------------------------------------------------------------------------- */

typedef struct headers {
    char *text; /* all of them, one after the other */
} headers;

static headers read_headers(const char *dir)
{
    static const char *const names[] = {"ops.h", "loss.h", "nn.h", "rnn.h", "attention.h", "optim.h", "init.h", "tensor.h"};
    headers h = {calloc(1, 1)};
    for (size_t i = 0; dir && h.text && i < sizeof names / sizeof names[0]; i++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        soma_bytes bytes;
        if (access(path, R_OK) || soma_read_file(path, false, 0, &bytes) != SOMA_OK)
            continue;
        size_t before = strlen(h.text);
        char *more = realloc(h.text, before + bytes.size + 2);
        if (more) {
            memcpy(more + before, bytes.data, bytes.size);
            strcpy(more + before + bytes.size, "\n");
            h.text = more;
        }
        soma_bytes_free(&bytes);
    }
    return h;
}

/* The declaration of soma_NAME at `at`: its line, those before that are its comment, and those after until it ends. */
static void print_declaration(FILE *f, const char *text, const char *at)
{
    const char *start = at;
    while (start > text && start[-1] != '\n')
        start--;
    const char *comment = start;
    if (comment - text > 3 && !strncmp(comment - 3, "*/\n", 3)) {
        while (comment > text && (comment[0] != '/' || comment[1] != '*' || comment[-1] != '\n'))
            comment--;
        if (!strncmp(comment, "/* ----", 7))
            comment = start;
    }
    const char *end = start;
    bool macro = *start == '#';
    for (;;) {
        const char *stop = strchr(end, '\n');
        if (!stop) {
            end += strlen(end);
            break;
        }
        bool more = macro ? stop > end && stop[-1] == '\\' : !memchr(end, ';', (size_t)(stop - end));
        end = stop + 1;
        if (!more)
            break;
    }
    fwrite(comment, 1, (size_t)(end - comment), f);
}

static void declarations(FILE *f, const headers *h, const char *name)
{
    static const char *const tails[] = {"(", "_ex("};
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        char wanted[128];
        snprintf(wanted, sizeof wanted, "soma_%s%s", name, tails[i]);
        for (const char *at = h->text; (at = strstr(at, wanted)) != NULL; at++) {
            const char *start = at;
            while (start > h->text && start[-1] != '\n')
                start--;
            bool api = !strncmp(start, "SOMA_API", 8), macro = !strncmp(start, "#define ", 8) && at == start + 8;
            if ((!api && !macro) || (at > h->text && (at[-1] == '_' || (at[-1] >= 'a' && at[-1] <= 'z'))))
                continue;
            fputs(any ? "" : "\n## C\n\n~~~{.c}\n", f);
            any = true;
            print_declaration(f, h->text, at);
            break;
        }
    }
    fputs(any ? "~~~\n" : "", f);
}

/* ---- Operators ---------------------------------------------------------------------------------------------------------------- */

static void op_inputs(FILE *f, const soma_op_info *op)
{
    char text[256];
    if (op->max_inputs == 0)
        return;
    fputs("\n## Inputs\n\n| input | dtypes |\n|---|---|\n", f);
    if (!op->input_names) {
        dtypes_text(op->dtypes, text, sizeof text);
        row(f, "any number of tensors", text);
    }
    for (int i = 0; op->input_names && i < op->max_inputs && (!any_number(op) || i < 8) && op->input_names[i]; i++) {
        char name[96];
        snprintf(name, sizeof name, "`%s`%s", op->input_names[i], i >= op->min_inputs && !any_number(op) ? " (optional)" : "");
        dtypes_text(op->input_dtypes[i] ? op->input_dtypes[i] : op->dtypes, text, sizeof text);
        row(f, name, text);
        if (any_number(op) && i + 1 >= op->min_inputs)
            break;
    }
    if (any_number(op) && op->input_names)
        fputs("\nThe last one may be given any number of times.\n", f);
}

static void op_attributes(FILE *f, const soma_op_info *op)
{
    if (!op->n_attrs)
        return;
    fputs("\n## Attributes\n\n| attribute | type | default | |\n|---|---|---|---|\n", f);
    for (int i = 0; i < op->n_attrs; i++) {
        const soma_attr_info *info = &op->attrs[i];
        char text[512];
        attr_value_text(&info->def, text, sizeof text);
        fprintf(f, "| `%s` | %s | ", info->def.name, attr_kind_name(info->def.kind));
        plain(f, info->required ? "required" : text);
        fputs(" | ", f);
        plain(f, info->help ? info->help : "");
        fputs(" |\n", f);
    }
}

static void op_facts(FILE *f, const soma_op_info *op)
{
    char text[64];
    fputs("\n## Facts\n\n| | |\n|---|---|\n", f);
    snprintf(text, sizeof text, op->many_outputs ? "%d or more" : "%d", op->outputs);
    row(f, "outputs", text);
    row(f, "gradient", op->differentiable ? "yes" : "no");
    snprintf(text, sizeof text, op->in_place ? "%s_" : "no", op->name);
    row(f, "in place", text);
    if (op->random)
        row(f, "random", "takes the next stream of the seed");
    if (op->range)
        row(f, "checked over", op->range);
    row(f, "PyTorch", op_torch_name(op->name) ? op_torch_name(op->name) : "nothing of this name");
    row(f, "ONNX", op->onnx ? op->onnx : "none");
}

static int op_page(const args *a, const char *dir, const headers *h, const soma_op_info *op)
{
    char name[128], text[1200], base[4200];
    snprintf(name, sizeof name, "op_%s", op->name);
    FILE *f = page_open(a, dir, name);
    if (!f)
        return 1;
    op_signature(op, text, sizeof text);
    fprintf(f, "# %s {#%s}\n\n`%s`\n\n", op->name, name, text);
    plain(f, op->doc);
    snprintf(base, sizeof base, "%s/%s", dir, name);
    if (draw_operator(op, base))
        fprintf(f, "\n\n![](%s.svg)", name);
    fputc('\n', f);
    op_inputs(f, op);
    op_attributes(f, op);
    op_facts(f, op);
    declarations(f, h, op->name);
    op_example(op, text, sizeof text);
    fprintf(f, "\n## By name\n\n~~~{.c}\n%s\n~~~\n", text);
    return page_close(a, f, dir);
}

static int op_pages(const args *a, const char *dir, const headers *h)
{
    int total = soma_op_count(), n = 0, code = 0;
    const soma_op_info **ops = calloc((size_t)total + 1, sizeof *ops);
    FILE *f = ops ? page_open(a, dir, "operators") : NULL;
    if (!f) {
        free(ops);
        return 1;
    }
    for (int i = 0; i < total; i++)
        if (!soma_op_get(i)->internal)
            ops[n++] = soma_op_get(i);
    qsort(ops, (size_t)n, sizeof *ops, compare_ops);
    fprintf(f, "# Operators {#operators}\n\n%d operators by family. In C each is soma_NAME, but for a few that only soma_call knows; "
               "soma_call can call all by name.\n", n);
    for (int i = 0; i < n && !code; i++) {
        if (i == 0 || strcmp(ops[i]->family, ops[i - 1]->family))
            fprintf(f, "\n## %s\n\n%s\n\n| operator | gradient | |\n|---|---|---|\n", ops[i]->family, op_family_about(ops[i]->family));
        fprintf(f, "| [%s](op_%s.md) | %s | ", ops[i]->name, ops[i]->name, ops[i]->differentiable ? "∂" : "");
        char first[1200];
        op_first_sentence(ops[i]->doc, first, sizeof first);
        plain(f, first);
        fputs(" |\n", f);
        code = op_page(a, dir, h, ops[i]);
    }
    free(ops);
    int closed = page_close(a, f, dir);
    return code ? code : closed;
}

/* ---- Layers, optimisers, schedules ------------------------------------------------------------------------------------------------ */

static int layer_pages(const args *a, const char *dir)
{
    FILE *f = page_open(a, dir, "layers");
    if (!f)
        return 1;
    fputs("# Layers and models {#layers}\n\nThe words of network descriptions (soma_nn_parse, `soma train --net`).\n\n"
          "| words | layer | |\n|---|---|---|\n", f);
    soma_nn_word_info w;
    int code = 0;
    for (int i = 0; soma_nn_word_get(i, &w) && !code; i++) {
        fprintf(f, "| [%s](layer_%s.md) | %s | ", w.word, w.word, w.model ? "a model" : w.layer);
        plain(f, w.help);
        fputs(" |\n", f);
        char name[128];
        snprintf(name, sizeof name, "layer_%s", w.word);
        FILE *page = page_open(a, dir, name);
        if (!page) {
            code = 1;
            break;
        }
        char usage[1024];
        soma_nn_word_usage(i, usage, sizeof usage);
        fprintf(page, "# %s {#%s}\n\n~~~\n%s\n~~~\n\n", w.word, name, usage);
        plain(page, w.help);
        fputs("\n\n## Facts\n\n| | |\n|---|---|\n", page);
        row(page, "kind", w.model ? "a model by name" : w.activation ? "an activation: may follow a layer without a comma" : "a layer");
        if (w.layer[0])
            row(page, "class", w.layer);
        code = page_close(a, page, dir);
    }
    int closed = page_close(a, f, dir);
    return code ? code : closed;
}

static void option_table(FILE *f, const soma_option_info *options, int n)
{
    fputs("\n\n## Options\n\n| option | type | default | |\n|---|---|---|---|\n", f);
    for (int i = 0; i < n; i++) {
        char def[32] = "";
        if (options[i].def == options[i].def)
            snprintf(def, sizeof def, options[i].kind == SOMA_ATTR_BOOL ? (options[i].def ? "true" : "false") : "%g", options[i].def);
        fprintf(f, "| `%s` | %s | %s | ", options[i].name, attr_kind_name(options[i].kind), def);
        plain(f, options[i].help);
        fputs(" |\n", f);
    }
}

typedef struct entry {
    const char *name, *doc, *source, *op;
    const soma_option_info *options;
    int n_options;
} entry;

static int entry_page(const args *a, const char *dir, const headers *h, const char *kind, const char *prefix, const entry *e)
{
    char name[160], declared[160];
    snprintf(name, sizeof name, "%s_%s", kind, e->name);
    FILE *f = page_open(a, dir, name);
    if (!f)
        return 1;
    fprintf(f, "# %s {#%s}\n\n", e->name, name);
    plain(f, e->doc);
    const soma_op_info *op = e->op ? soma_op_find(e->op) : NULL;
    if (op) {
        fprintf(f, "\n\nOne step, the operator [%s](op_%s.md): ", op->name, op->name);
        plain(f, op->doc);
    }
    if (e->source) {
        fputs("\n\nSource: ", f);
        plain(f, e->source);
    }
    option_table(f, e->options, e->n_options);
    snprintf(declared, sizeof declared, "%s%s", prefix, e->name);
    declarations(f, h, declared);
    return page_close(a, f, dir);
}

static int entry_pages(const args *a, const char *dir, const headers *h, bool schedules)
{
    const char *kind = schedules ? "schedule" : "optimiser";
    FILE *f = page_open(a, dir, schedules ? "schedules" : "optimisers");
    if (!f)
        return 1;
    fprintf(f, schedules ? "# Schedules {#schedules}\n\nFactors on the learning rate over the steps.\n" : "# Optimisers {#optimisers}\n");
    fprintf(f, "\n| %s | | source |\n|---|---|---|\n", kind);
    int code = 0, n = schedules ? soma_sched_kind_count() : soma_optim_kind_count();
    for (int i = 0; i < n && !code; i++) {
        const soma_optim_info *o = schedules ? NULL : soma_optim_kind_get(i);
        const soma_sched_info *s = schedules ? soma_sched_kind_get(i) : NULL;
        entry e = s ? (entry){s->name, s->doc, s->source, NULL, s->options, s->n_options}
                    : (entry){o->name, o->doc, o->source, o->op, o->options, o->n_options};
        fprintf(f, "| [%s](%s_%s.md) | ", e.name, kind, e.name);
        plain(f, e.doc);
        fputs(" | ", f);
        plain(f, e.source ? e.source : "");
        fputs(" |\n", f);
        code = entry_page(a, dir, h, kind, schedules ? "sched_" : "", &e);
    }
    int closed = page_close(a, f, dir);
    return code ? code : closed;
}

int write_reference(const args *a, const char *dir, const char *headers_dir)
{
    if (mkdir(dir, 0777) && errno != EEXIST)
        return work_error(a, "cannot make the folder %s: %s", dir, strerror(errno));
    headers h = read_headers(headers_dir);
    if (!h.text)
        return work_error(a, "out of memory");
    int code = op_pages(a, dir, &h);
    code = code ? code : layer_pages(a, dir);
    code = code ? code : entry_pages(a, dir, &h, false);
    code = code ? code : entry_pages(a, dir, &h, true);
    FILE *f = code ? NULL : page_open(a, dir, "reference");
    if (f) {
        fprintf(f, "# soma: reference {#reference}\n\nWhat the library's tables say of themselves; the headers have the C interface.\n\n- [Operators](operators.md), losses and activations among them\n- [Layers and models](layers.md)\n"
                   "- [Optimisers](optimisers.md)\n- [Schedules](schedules.md)\n");
        code = page_close(a, f, dir);
    }
    free(h.text);
    return code || !f ? 1 : 0;
}
