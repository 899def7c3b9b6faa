/* `soma ops`: the operators, as the registry describes them. */
#include "options.h"
#include "reference.h"
#include "term.h"

#include <soma/soma.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *value_json(const soma_attr *v)
{
    json_t *list;
    switch (v->kind) {
    case SOMA_ATTR_INT: return json_integer(v->value.i);
    case SOMA_ATTR_BOOL: return json_boolean(v->value.i);
    case SOMA_ATTR_FLOAT: {
        json_t *number = json_real(v->value.f); /* NULL for infinities, which JSON lacks */
        return number ? number : json_string(v->value.f > 0 ? "inf" : v->value.f < 0 ? "-inf" : "nan");
    }
    case SOMA_ATTR_DTYPE: return json_string(soma_dtype_name((soma_dtype)v->value.i));
    case SOMA_ATTR_STRING: return json_string(v->value.s ? v->value.s : "");
    case SOMA_ATTR_INTS:
        list = json_array();
        for (int i = 0; i < v->count; i++)
            json_array_append_new(list, json_integer(v->value.ints[i]));
        return list;
    }
    return json_null();
}

static json_t *op_json(const soma_op_info *op)
{
    json_t *inputs = json_array(), *attrs = json_array(), *dtypes = json_array();
    for (int i = 0; op->input_names && i < op->max_inputs; i++)
        json_array_append_new(inputs, json_string(op->input_names[i]));
    for (int i = 0; i < op->n_attrs; i++) {
        const soma_attr_info *info = &op->attrs[i];
        json_array_append_new(attrs, json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", info->def.name, "type", attr_kind_name(info->def.kind),
                                               "required", (int)info->required, "default",
                                               info->required ? json_null() : value_json(&info->def), "help", info->help ? info->help : ""));
    }
    for (int d = 0; d < SOMA_DTYPE_COUNT; d++)
        if (op->dtypes >> d & 1)
            json_array_append_new(dtypes, json_string(soma_dtype_name((soma_dtype)d)));
    return json_pack("{s:s, s:s, s:s, s:s?, s:b, s:b, s:b, s:b, s:i, s:i, s:i, s:o, s:o, s:o}", "name", op->name, "family", op->family ? op->family : "",
                     "doc", op->doc ? op->doc : "", "onnx", op->onnx, "differentiable", (int)op->differentiable, "random", (int)op->random,
                     "in_place", (int)op->in_place, "internal", (int)op->internal, "min_inputs", op->min_inputs, "max_inputs", op->max_inputs, "outputs", op->outputs,
                     "inputs", inputs, "dtypes", dtypes, "attributes", attrs);
}

static const char *default_text(const soma_attr_info *info, char *out, size_t size)
{
    if (info->required)
        return "(required)";
    attr_value_text(&info->def, out, size);
    return out;
}

static void print_attributes(const soma_op_info *op)
{
    int name = 12, value = 10, page = term_width(stdout) > 110 ? 110 : term_width(stdout);
    char text[512];
    if (op->n_attrs)
        printf("\nattributes\n");
    for (int i = 0; i < op->n_attrs; i++) {
        int n = (int)strlen(op->attrs[i].def.name), v = (int)strlen(default_text(&op->attrs[i], text, sizeof text));
        name = n > name ? n : name;
        value = v > value ? v : value;
    }
    int at = 2 + name + 2 + 6 + 2 + value + 2;
    for (int i = 0; i < op->n_attrs; i++) {
        printf("  %-*s  %-6s  %-*s  ", name, op->attrs[i].def.name, attr_kind_name(op->attrs[i].def.kind), value,
               default_text(&op->attrs[i], text, sizeof text));
        print_wrapped(stdout, op->attrs[i].help ? op->attrs[i].help : "", at, at, page);
    }
}

static void print_op(const soma_op_info *op)
{
    char text[512];
    op_signature(op, text, sizeof text);
    printf("%s%s%s\n", term_style(stdout, TERM_BOLD), text, term_style(stdout, TERM_PLAIN));
    print_wrapped(stdout, op->doc ? op->doc : "", 0, 0, term_width(stdout) > 100 ? 100 : term_width(stdout));
    printf("\nfamily          %s\n", op->family ? op->family : "-");
    printf("differentiable  %s\n", op->differentiable ? "yes" : "no");
    printf("in place        ");
    printf(op->in_place ? "%s_\n" : "no\n", op->name);
    if (op->random)
        printf("random          takes the next stream of the seed\n");
    printf("outputs         %d%s\n", op->outputs, op->many_outputs ? " or more" : "");
    printf("dtypes         ");
    for (int d = 0; d < SOMA_DTYPE_COUNT; d++)
        if (op->dtypes >> d & 1)
            printf(" %s", soma_dtype_name((soma_dtype)d));
    const char *torch_name = op_torch_name(op->name);
    printf("\nPyTorch         %s\n", torch_name ? torch_name : "-");
    printf("ONNX            %s\n", op->onnx ? op->onnx : "-");
    print_attributes(op);
    char example[1200];
    op_example(op, example, sizeof example);
    printf("\nby name\n");
    for (const char *line = example; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n'))
        printf("  %.*s\n", (int)strcspn(line, "\n"), line);
}

/* The name with what may follow it, or names that have the word in them: "max_pool" is several. */
static int no_such_op(const args *a, const char *name)
{
    int total = soma_op_count(), n = 0, count = 0;
    const char **names = calloc((size_t)total + 1, sizeof *names);
    char list[400] = "";
    for (int i = 0; names && i < total; i++)
        if (!soma_op_get(i)->internal)
            names[n++] = soma_op_get(i)->name;
    for (int inside = 0; inside < 2; inside++) /* names that begin with the word first */
        for (int i = 0; i < n; i++) {
            const char *at = strlen(name) >= 3 ? strstr(names[i], name) : NULL;
            if (at && (at != names[i]) == inside && count++ < 12)
                snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "", names[i]);
        }
    const char *near = names ? nearest_name(name, names, n) : NULL;
    free(names);
    if (count > 1)
        return work_error(a, "there is no operator '%s'; there are %s%s", name, list, count > 12 ? " …" : "");
    if (near)
        return work_error(a, "there is no operator '%s'; did you mean '%s'?", name, near);
    return work_error(a, "there is no operator '%s'; 'soma ops' lists them, 'soma ops loss' those of a family", name);
}

/* Bytes of `text` that take at most `width` columns; *whole: all of it. */
static int fitting(const char *text, int width, bool *whole)
{
    int columns = 0, n = 0;
    for (; text[n]; n++)
        if (((unsigned char)text[n] & 0xC0) != 0x80 && columns++ == width)
            break;
    *whole = !text[n];
    return n;
}

static void print_line(const soma_op_info *op, int widest, int width)
{
    char text[1200];
    bool whole;
    op_first_sentence(op->doc ? op->doc : "", text, sizeof text);
    int name = (int)strlen(op->name), room = width - (name > widest ? name : widest) - 5, n = fitting(text, room, &whole);
    if (!whole) {
        n = fitting(text, room - 2, &whole);
        while (n > 20 && text[n] != ' ')
            n--;                      /* between words */
    }
    printf("  %-*s %s %.*s%s\n", widest, op->name, op->differentiable ? "∂" : " ", n, text, text[n] ? " …" : "");
}

/* All operators, or those of a family; 0 when there are none. */
static int gather(const soma_op_info **ops, const char *family, bool all)
{
    int n = 0;
    for (int i = 0; i < soma_op_count(); i++) {
        const soma_op_info *op = soma_op_get(i);
        if ((!op->internal || all) && (!family || (op->family && !strcmp(op->family, family))))
            ops[n++] = op;
    }
    qsort(ops, (size_t)n, sizeof *ops, compare_ops);
    return n;
}

static bool is_family(const char *name)
{
    for (int i = 0; i < soma_op_count(); i++)
        if (!soma_op_get(i)->internal && soma_op_get(i)->family && !strcmp(soma_op_get(i)->family, name))
            return true;
    return false;
}

static int list_ops(const args *a, const char *only)
{
    int total = soma_op_count(), width = term_width(stdout), widest = 0;
    bool all = arg_flag(a, "all");
    const soma_op_info **ops = calloc((size_t)total + 1, sizeof *ops);
    if (!ops)
        return work_error(a, "out of memory");
    int n = gather(ops, only, all);
    for (int i = 0; i < n; i++)
        widest = (int)strlen(ops[i]->name) > widest ? (int)strlen(ops[i]->name) : widest;
    widest = widest > 22 ? 22 : widest;  /* a few are longer: they move their text */
    for (int i = 0; i < n; i++) {
        const char *family = ops[i]->family ? ops[i]->family : "other";
        if (i == 0 || strcmp(family, ops[i - 1]->family ? ops[i - 1]->family : "other"))
            printf("%s%s%s%s: %s\n", i ? "\n" : "", term_style(stdout, TERM_BOLD), family, term_style(stdout, TERM_PLAIN), op_family_about(family));
        print_line(ops[i], widest, width < 60 ? 60 : width);
    }
    free(ops);
    printf("\n%d operators; ∂ marks those with a gradient. 'soma ops NAME' shows one in full%s.\nIn C: soma_NAME (<soma/ops.h>, loss.h, linalg.h), or "
           "soma_call by name.\n", n, only ? "" : ",\n'soma ops FAMILY' one family");
    if (n < total && !only)
        printf("%d more are parts of gradients: --all lists them too.\n", total - n);
    return 0;
}

static int run_ops(args *a)
{
    json_t *list = arg_flag(a, "json") ? json_array() : NULL;
    for (int i = 0; i < a->n_rest; i++) {
        const soma_op_info *op = soma_op_find(a->rest[i]);
        if (!op && !list && is_family(a->rest[i])) {
            list_ops(a, a->rest[i]);
            continue;
        }
        if (!op) {
            json_decref(list);
            return no_such_op(a, a->rest[i]);
        }
        if (list)
            json_array_append_new(list, op_json(op));
        else {
            if (i)
                putchar('\n');
            print_op(op);
        }
    }
    if (a->n_rest == 0 && !list)
        return list_ops(a, NULL);
    for (int i = 0; a->n_rest == 0 && i < soma_op_count(); i++)
        json_array_append_new(list, op_json(soma_op_get(i)));
    return list ? print_json(a, list) : 0;
}

static const option options[] = {
    {.name = "all", .letter = 'a', .kind = OPT_FLAG, .help = "list those too that are parts of other operators' gradients"},
};

const command cmd_ops = {
    .name = "ops",
    .summary = "list the operators, or show some in full",
    .usage = "[NAME|FAMILY…] [--all] [--json]",
    .options = options,
    .n_options = 1,
    .details = "Without a name, lists all operators by family, one line each; with a family's name, those of the family. With names, shows each in "
               "full: formula, range and use, inputs, attributes with their defaults, dtypes, whether it has a gradient, and its names in PyTorch and "
               "ONNX. With --json, the same as a JSON list.",
    .example = "soma ops\nsoma ops loss\nsoma ops conv2d\nsoma ops --json",
    .run = run_ops,
};
