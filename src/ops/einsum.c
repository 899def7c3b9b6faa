/* einsum: sums of products named by letters. Each operand becomes a tensor with one dimension a letter (diagonals for repeated ones);
 * operands are then joined from left to right, and a letter that nothing to the right and not the result needs is summed away at the
 * earliest place, by a batched matrix product where both sides have it. */
#include "ops/op.h"

#include <string.h>

enum {
    OPERANDS = 16,
    LETTERS = 52,
    LABELS = LETTERS + SOMA_MAX_DIMS
}; /* labels behind the letters: dimensions under an ellipsis, from the right */

/* A tensor with the label of each of its dimensions. */
typedef struct term {
    soma_tensor *t;
    int n, label[2 * SOMA_MAX_DIMS];
} term;

typedef struct sum {
    const char *equation;
    int64_t size[LABELS];
    bool known[LABELS];
    int times[LABELS]; /* occurrences in the operands, for results that are not written */
} sum;

static int letter(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? 26 + c - 'a' : -1; }

static bool wrong(const sum *s, const char *at, const char *what) {
    if (at && *at)
        soma_fail(SOMA_EINVAL, "einsum: '%s', at '%c' (position %d): %s", s->equation, *at, (int)(at - s->equation), what);
    else
        soma_fail(SOMA_EINVAL, "einsum: '%s': %s", s->equation, what);
    return false;
}

/* ---- Operands --------------------------------------------------------------------------------------------------------- */

/* Notes the size of a label; sizes of 1 broadcast. */
static bool note(sum *s, int label, int64_t size, const char *at, int operand, int dim) {
    if (!s->known[label] || s->size[label] == 1)
        s->size[label] = size;
    s->known[label] = true;
    if (size == 1 || s->size[label] == size)
        return true;
    soma_fail(SOMA_ESHAPE, "einsum: '%s', at '%c' (position %d): operand %d has size %lld along dimension %d, where another has %lld",
              s->equation, *at, (int)(at - s->equation), operand, (long long)size, dim, (long long)s->size[label]);
    return false;
}

/* Reads labels up to a comma, an arrow or the end; *from stands behind them. `dots` are the dimensions under an ellipsis. */
static bool read_labels(const sum *s, const char **from, int dots, int *label, const char **where, int *n) {
    const char *at = *from;
    bool seen = false;
    *n = 0;
    for (; *at && *at != ',' && *at != '-'; at++) {
        if (*at == ' ')
            continue;
        if (strncmp(at, "...", 3) == 0) {
            if (seen)
                return wrong(s, at, "a second ellipsis");
            seen = true;
            for (int d = dots; d > 0 && *n < 2 * SOMA_MAX_DIMS; d--) {
                where[*n] = at;
                label[(*n)++] = LETTERS + d - 1;
            }
            at += 2;
            continue;
        }
        if (letter(*at) < 0)
            return wrong(s, at, "expected letters, an ellipsis of three dots, ',' or '->'");
        if (*n == 2 * SOMA_MAX_DIMS)
            return wrong(s, at, "more dimensions than a tensor can have");
        where[*n] = at;
        label[(*n)++] = letter(*at);
    }
    *from = at;
    return true;
}

static int letters_until_comma(const char *at, bool *dots) {
    int n = 0;
    *dots = false;
    for (; *at && *at != ',' && *at != '-'; at++) {
        n += letter(*at) >= 0;
        *dots |= *at == '.';
    }
    return n;
}

static bool read_operand(sum *s, const char **from, int number, soma_tensor *x, term *out, int *most_dots) {
    const char *where[2 * SOMA_MAX_DIMS];
    int label[2 * SOMA_MAX_DIMS], n;
    bool dots;
    const int letters = letters_until_comma(*from, &dots), under = dots ? x->ndim - letters : 0;
    char text[SOMA__SHAPE_TEXT];
    if (!read_labels(s, from, SOMA_MAX(under, 0), label, where, &n))
        return false;
    if (under < 0 || n != x->ndim) {
        soma_fail(SOMA_ESHAPE, "einsum: '%s': operand %d is %s, but has %d letter%s", s->equation, number, soma__tensor_text(x, text),
                  letters, letters == 1 ? "" : "s");
        return false;
    }
    *most_dots = SOMA_MAX(*most_dots, under);
    *out = (term){.t = x};
    for (int d = 0; d < n; d++) {
        if (!note(s, label[d], x->shape[d], where[d], number, d))
            return false;
        s->times[label[d]]++;
        int before = 0;
        while (before < out->n && out->label[before] != label[d])
            before++;
        if (before == out->n) {
            out->label[out->n++] = label[d];
            continue;
        }
        const int at = out->n; /* the dimensions that have been read are out->n; this one stands behind them */
        if (out->t->shape[before] != out->t->shape[at])
            return wrong(s, where[d], "a letter twice in one operand needs equal sizes");
        out->t = soma_diagonal(out->t, 0, before, at); /* the diagonal comes last; back to where the letter is */
        if (!out->t)
            return false;
        int64_t order[SOMA_MAX_DIMS], last = out->t->ndim - 1;
        for (int i = 0, k = 0; i <= last; i++)
            order[i] = i == before ? last : k++;
        out->t = soma_permute(out->t, out->t->ndim, order);
        if (!out->t)
            return false;
    }
    return true;
}

/* ---- Joining ---------------------------------------------------------------------------------------------------------- */

static int place_of(const term *x, int label) {
    for (int i = 0; i < x->n; i++)
        if (x->label[i] == label)
            return i;
    return -1;
}

/* Sums the labels that `needed` does not have and `other` (NULL: nothing) has not either. */
static void sum_away(term *x, const bool *needed, const term *other) {
    int64_t dims[SOMA_MAX_DIMS];
    int n = 0, left = 0;
    for (int i = 0; i < x->n; i++)
        if (!needed[x->label[i]] && (!other || place_of(other, x->label[i]) < 0))
            dims[n++] = i;
        else
            x->label[left++] = x->label[i];
    x->n = left;
    if (n > 0)
        x->t = soma_to(soma_sum(x->t, n, dims, false), x->t ? (soma_dtype)x->t->dtype : SOMA_F32);
}

/* x as [batch, rows, inner]: labels of `order`, whose first `nb`, next `nr` and rest are joined; sizes of 1 grow to what they meet. */
static soma_tensor *as_matrix(const sum *s, const term *x, const int *order, int nb, int nr) {
    int64_t dims[SOMA_MAX_DIMS], shape[SOMA_MAX_DIMS], joined[3] = {1, 1, 1};
    for (int i = 0; i < x->n; i++) {
        dims[i] = place_of(x, order[i]);
        shape[i] = s->size[order[i]];
        joined[i < nb ? 0 : i < nb + nr ? 1 : 2] *= shape[i];
    }
    return soma_reshape(soma_expand(soma_permute(x->t, x->n, dims), x->n, shape), 3, joined);
}

static void join(const sum *s, term *x, term *y, const bool *needed) {
    int batch[LABELS], inner[LABELS], rows[LABELS], columns[LABELS], nb = 0, ni = 0, nr = 0, nc = 0, order[2 * SOMA_MAX_DIMS];
    int64_t shape[SOMA_MAX_DIMS];
    sum_away(x, needed, y);
    sum_away(y, needed, x);
    for (int i = 0; i < x->n; i++) {
        if (place_of(y, x->label[i]) < 0)
            rows[nr++] = x->label[i];
        else if (needed[x->label[i]])
            batch[nb++] = x->label[i];
        else
            inner[ni++] = x->label[i];
    }
    for (int i = 0; i < y->n; i++)
        if (place_of(x, y->label[i]) < 0)
            columns[nc++] = y->label[i];
    if (nb + nr + nc > SOMA_MAX_DIMS) {
        soma_fail(SOMA_EUNSUPPORTED, "einsum: '%s': a part of it has %d dimensions, more than %d", s->equation, nb + nr + nc,
                  SOMA_MAX_DIMS);
        x->t = NULL;
        return;
    }
    memcpy(order, batch, (size_t)nb * sizeof *order);
    memcpy(order + nb, rows, (size_t)nr * sizeof *order);
    memcpy(order + nb + nr, inner, (size_t)ni * sizeof *order);
    soma_tensor *left = as_matrix(s, x, order, nb, nr);
    memcpy(order + nb, columns, (size_t)nc * sizeof *order);
    memcpy(order + nb + nc, inner, (size_t)ni * sizeof *order);
    soma_tensor *right = soma_transpose(as_matrix(s, y, order, nb, nc), 1, 2);
    soma_tensor *z = ni == 0 ? soma_mul(left, right) : soma_matmul(left, right);
    x->n = 0;
    for (int part = 0; part < 3; part++)
        for (int i = 0; i < (part == 0 ? nb : part == 1 ? nr : nc); i++) {
            const int label = (part == 0 ? batch : part == 1 ? rows : columns)[i];
            shape[x->n] = s->size[label];
            x->label[x->n++] = label;
        }
    x->t = soma_reshape(z, x->n, shape);
}

/* ---- The operator ----------------------------------------------------------------------------------------------------- */

/* Labels of the result: those behind the arrow, or the ellipsis and then the letters that occur once, in alphabetical order. */
static bool read_result(const sum *s, const char *at, int dots, int *label, int *n) {
    const char *where[2 * SOMA_MAX_DIMS];
    if (*at == '-') {
        if (at[1] != '>')
            return wrong(s, at, "expected '->'");
        at += 2;
        if (!read_labels(s, &at, dots, label, where, n))
            return false;
        if (*at)
            return wrong(s, at, "nothing may follow the result");
        for (int i = 0; i < *n; i++) {
            if (!s->known[label[i]])
                return wrong(s, where[i], "the result's letter is in no operand");
            for (int k = 0; k < i; k++)
                if (label[k] == label[i])
                    return wrong(s, where[i], "the result has a letter twice");
        }
    } else {
        *n = 0;
        for (int d = dots; d > 0; d--)
            label[(*n)++] = LETTERS + d - 1;
        for (int l = 0; l < LETTERS; l++)
            if (s->times[l] == 1 && *n < 2 * SOMA_MAX_DIMS)
                label[(*n)++] = l;
    }
    return *n <= SOMA_MAX_DIMS || wrong(s, NULL, "the result has more than 8 dimensions");
}

static bool einsum_compose(soma_args *a) {
    sum s = {.equation = a->attrs[0].value.s};
    term terms[OPERANDS];
    int result[2 * SOMA_MAX_DIMS], n_result, dots = 0;
    const char *at = s.equation;
    if (a->n_in > OPERANDS) {
        soma_fail(SOMA_EINVAL, "einsum: %d operands, at most %d", a->n_in, OPERANDS);
        return false;
    }
    for (int i = 0; i < a->n_in; i++) {
        if (!read_operand(&s, &at, i, a->in[i], &terms[i], &dots))
            return false;
        if (i + 1 < a->n_in && *at++ != ',')
            return wrong(&s, NULL, "names fewer operands than there are");
    }
    if (*at == ',')
        return wrong(&s, at, "names more operands than there are");
    if (!read_result(&s, at, dots, result, &n_result))
        return false;
    for (int i = 1; i <= a->n_in; i++) {
        bool needed[LABELS] = {false};
        for (int k = 0; k < n_result; k++)
            needed[result[k]] = true;
        for (int k = i + 1; k < a->n_in; k++)
            for (int d = 0; d < terms[k].n; d++)
                needed[terms[k].label[d]] = true;
        if (i < a->n_in)
            join(&s, &terms[0], &terms[i], needed);
        else
            sum_away(&terms[0], needed, NULL);
        if (!terms[0].t)
            return false;
    }
    int64_t order[SOMA_MAX_DIMS];
    for (int i = 0; i < n_result; i++)
        order[i] = place_of(&terms[0], result[i]);
    return soma__return(a, soma_permute(terms[0].t, n_result, order));
}

SOMA__LINES(einsum, "[2,3] [3,4] equation='ij,jk->ik'", "s[2,3,4] s[2,4,2] equation='bij,bjk->bik'", "[3,3] equation='ii'",
            "[2,3,3] equation='bii->bi'", "[2,3] equation='ij->ji'", "[2,3] [4,3] [2,4] equation='ij,kj,ik'",
            "[2,2,3] [1,3,2] equation='...ij,...jk'", "[3] [4] equation='i,j->ij'", "s[2,2,3] [3] equation=' ... j , j -> ... '",
            "[2,3] [2,3] equation='ij,ij->'", "[2,3,2] equation='ijk->j'", "[2,3] [1,3] equation='ij,ij->i'", "[] [3] equation=',i->i'",
            "[0,3] [3,2] equation='ij,jk->ik'", "[2,2,2] [2,2] equation='iij,jk->ki'", "[2,3,1,2] [3,4,2] equation='a...b,...b->...a'",
            "[2,3] [4,2] equation='ij,jk->ik' !ESHAPE at 'j' (position 3): operand 1 has size 4 along dimension 0, where another has 3",
            "[2,3] equation='ijk' !ESHAPE operand 0 is [2, 3] f32, but has 3 letters",
            "[2,3] equation='ij->ik' !EINVAL at 'k' (position 5): the result's letter is in no operand",
            "[2,3] equation='i1->i' !EINVAL at '1' (position 1): expected letters",
            "[2,3] equation='ij,jk->ik' !EINVAL at ',' (position 2): names more operands than there are",
            "[2,3] [3] equation='ij->ij' !EINVAL names fewer operands than there are",
            "[2,3] equation='ij->ii' !EINVAL at 'i' (position 5): the result has a letter twice",
            "[2,3] equation='ii' !ESHAPE at 'i' (position 1)", "[2,3] equation='ij-ij' !EINVAL expected '->'")

static const soma_op einsum_op = {
    SOMA__COMPOSITE(einsum),
    .family = "matmul",
    .onnx = "Einsum",
    .doc = "Sums of products named by letters (Einstein's notation): 'ij,jk->ik' is a matrix product, 'bii->b' traces, 'i,j->ij' an outer "
           "product, '...' stands for "
           "broadcast dimensions. A letter that the result lacks is summed over; without '->' the result has the letters that occur once, "
           "in alphabetical "
           "order (capitals first). Operands are joined from left to right: order them so that the parts stay small.",
    .in = {{.name = "operands"}},
    .n_in = 1,
    .variadic = true,
    .outputs = 1,
    .attrs = SOMA_ATTRS(SOMA_NEED_STRING("equation", "letters of each operand's dimensions, and of the result's")),
    .dtypes = SOMA_NUMBERS,
    .promote = SOMA_PROMOTE_SAME,
    .backward = SOMA_COMPOSED,
};

soma_tensor *soma_einsum(const char *equation, soma_tensor *const *operands, int n) {
    const soma_attr attr = SOMA_STRING("equation", equation ? equation : "");
    return soma__run(&einsum_op, operands, n, &attr);
}

soma_op_list soma__einsum_ops = {&einsum_op, NULL};
