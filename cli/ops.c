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
    if (op->n_attrs)
        printf("\nattributes\n");
    for (int i = 0; i < op->n_attrs; i++) {
        attr_value_text(&op->attrs[i].def, text, sizeof text);
        printf("  %-14s %-7s %-12s %s\n", op->attrs[i].def.name, attr_kind_name(op->attrs[i].def.kind),
               op->attrs[i].required ? "(required)" : text, op->attrs[i].help ? op->attrs[i].help : "");
    }
    char example[1200];
    op_example(op, example, sizeof example);
    printf("\nby name\n");
    for (const char *line = example; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n'))
        printf("  %.*s\n", (int)strcspn(line, "\n"), line);
}

static int no_such_op(const args *a, const char *name)
{
    int n = soma_op_count();
    const char **names = calloc((size_t)n + 1, sizeof *names);
    for (int i = 0; names && i < n; i++)
        names[i] = soma_op_get(i)->name;
    const char *near = names ? nearest_name(name, names, n) : NULL;
    free(names);
    if (near)
        return work_error(a, "there is no operator '%s'; did you mean '%s'?", name, near);
    return work_error(a, "there is no operator '%s'; 'soma ops' lists them", name);
}

static int compare_families(const void *x, const void *y)
{
    const soma_op_info *const *a = x, *const *b = y;
    int order = strcmp((*a)->family ? (*a)->family : "", (*b)->family ? (*b)->family : "");
    return order ? order : strcmp((*a)->name, (*b)->name);
}

static int list_ops(const args *a)
{
    int total = soma_op_count(), n = 0, width = term_width(stdout), widest = 0;
    bool all = arg_flag(a, "all");
    const soma_op_info **ops = calloc((size_t)total + 1, sizeof *ops);
    if (!ops)
        return work_error(a, "out of memory");
    for (int i = 0; i < total; i++) {
        const soma_op_info *op = soma_op_get(i);
        if (op->internal && !all)
            continue;
        ops[n++] = op;
        widest = (int)strlen(op->name) > widest ? (int)strlen(op->name) : widest;
    }
    qsort(ops, (size_t)n, sizeof *ops, compare_families);
    for (int i = 0; i < n; i++) {
        const char *family = ops[i]->family ? ops[i]->family : "other";
        if (i == 0 || strcmp(family, ops[i - 1]->family ? ops[i - 1]->family : "other"))
            printf("%s%s%s%s\n", i ? "\n" : "", term_style(stdout, TERM_BOLD), family, term_style(stdout, TERM_PLAIN));
        printf("  %-*s %s ", widest, ops[i]->name, ops[i]->differentiable ? "∂" : " ");
        print_wrapped(stdout, ops[i]->doc ? ops[i]->doc : "", widest + 5, widest + 5, width < 60 ? 60 : width > 120 ? 120 : width);
    }
    free(ops);
    printf("\n%d operators; ∂ marks those with a gradient. 'soma ops NAME' shows one in full.\n", n);
    if (n < total)
        printf("%d more are parts of gradients: --all lists them too.\n", total - n);
    return 0;
}

static int run_ops(args *a)
{
    json_t *list = arg_flag(a, "json") ? json_array() : NULL;
    for (int i = 0; i < a->n_rest; i++) {
        const soma_op_info *op = soma_op_find(a->rest[i]);
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
        return list_ops(a);
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
    .usage = "[NAME…] [--all] [--json]",
    .options = options,
    .n_options = 1,
    .details = "Without a name, lists all operators by family. With names, shows each in full: inputs, attributes with their defaults, "
               "dtypes, whether it has a gradient and its ONNX name. With --json, the same as a JSON list.",
    .example = "soma ops\nsoma ops conv2d\nsoma ops --json",
    .run = run_ops,
};
