/* Losses by name, in the form the fit loop calls them: prediction and target as the loader gives it. Losses that compare
 * numbers take classes as well: one output a sample is compared with the class number, several with a 1 in the place of the
 * class. The table is what `soma train --loss list` and the manual show. */
#include "nn/nn.h"
#include "train/train.h"

#include <soma/autograd.h>

#include <math.h>
#include <string.h>

/* ---- Targets ------------------------------------------------------------------------------------------- */

/* The target with the prediction's shape and dtype, for losses that compare numbers. */
static soma_tensor *as_numbers(soma_tensor *prediction, soma_tensor *target) {
    if (!prediction || !target) return NULL;
    if (soma_dtype_is_float(soma_dtype_of(target))) return target;
    int ndim = soma_ndim(prediction);
    if (soma_ndim(target) == 1 && ndim == 2) {
        int64_t outputs = soma_size(prediction, -1);
        target = outputs == 1 ? soma_unsqueeze(target, 1) : soma_one_hot(target, outputs);
    }
    return soma_to(target, soma_dtype_of(prediction));
}

/* The same with -1 for 0. Numbers in the data are signs already. */
static soma_tensor *as_signs(soma_tensor *prediction, soma_tensor *target) {
    soma_tensor *t = as_numbers(prediction, target);
    return t == target ? t : soma_add_scalar(soma_mul_scalar(t, 2), -1);
}

static soma_tensor *as_is(soma_tensor *prediction, soma_tensor *target) {
    (void)prediction;
    return target;
}

/* Of raw scores nll would fall without end and look like a good run. */
static bool are_log_probabilities(const char *loss, soma_tensor *prediction) {
    if (!prediction || soma_numel(prediction) == 0) return prediction != NULL;
    bool grad = soma_set_grad_enabled(false);
    double most = soma_item(soma_amax(prediction, SOMA_ALL, false));
    soma_set_grad_enabled(grad);
    if (!(most > 1e-2)) return soma_error() == SOMA_OK;
    soma_fail(SOMA_EINVAL, "the loss %s: the network's output has %g, expected log-probabilities, at most 0: let it end in logsoftmax, or use cross_entropy",
              loss, most);
    return false;
}

/* ---- The functions ------------------------------------------------------------------------------------- */

#define LOSS(name, call, form)                                                                  \
    static soma_tensor *name(void *user, soma_tensor *prediction, soma_tensor *target) {         \
        return call(prediction, form(prediction, target), user);                                 \
    }
LOSS(cross_entropy, soma_cross_entropy_ex, as_is)
LOSS(focal, soma_focal_loss_ex, as_is)
LOSS(multi_margin, soma_multi_margin_loss_ex, as_is)
LOSS(bce, soma_binary_cross_entropy_ex, as_numbers)
LOSS(bce_with_logits, soma_bce_with_logits_ex, as_numbers)
LOSS(sigmoid_focal, soma_sigmoid_focal_loss_ex, as_numbers)
LOSS(soft_margin, soma_soft_margin_loss_ex, as_signs)
LOSS(hinge, soma_hinge_loss_ex, as_signs)
LOSS(squared_hinge, soma_squared_hinge_loss_ex, as_signs)
LOSS(mse, soma_mse_loss_ex, as_numbers)
LOSS(l1, soma_l1_loss_ex, as_numbers)
LOSS(huber, soma_huber_loss_ex, as_numbers)
LOSS(smooth_l1, soma_smooth_l1_loss_ex, as_numbers)
LOSS(log_cosh, soma_log_cosh_loss_ex, as_numbers)
LOSS(quantile, soma_quantile_loss_ex, as_numbers)
LOSS(msle, soma_msle_loss_ex, as_numbers)
LOSS(mape, soma_mape_loss_ex, as_numbers)
LOSS(poisson_nll, soma_poisson_nll_loss_ex, as_numbers)

static soma_tensor *nll(void *user, soma_tensor *prediction, soma_tensor *target) {
    return are_log_probabilities("nll", prediction) ? soma_nll_loss_ex(prediction, target, user) : NULL;
}

static soma_tensor *half_mse(void *user, soma_tensor *prediction, soma_tensor *target) {
    (void)user;
    return soma_mse_loss(prediction, as_numbers(prediction, target), .reduction = SOMA_HALF);
}

/* kl_div's mean over classes too would be too small by their number. */
static soma_tensor *kl_div_batch(void *user, soma_tensor *prediction, soma_tensor *target) {
    (void)user;
    soma_loss_opts o = {.reduction = SOMA_BATCHMEAN, .size = sizeof(o)};
    return are_log_probabilities("kl_div", prediction) ? soma_kl_div_ex(prediction, as_numbers(prediction, target), &o) : NULL;
}

/* ---- The table ----------------------------------------------------------------------------------------- */

#define SCORES "raw scores, one a class: \"linear CLASSES\""
#define SCORE "a raw score, or one a class: \"linear 1\""
#define VALUE "a number a target: \"linear 1\""
static const soma_loss_info losses[] = {
    {"cross_entropy", "cross_entropy", "classification: the default", SCORES, "", true, false, true, SOMA_LINK_SOFTMAX, 0, cross_entropy},
    {"nll", "nll_loss", "classification, of a network that ends in logsoftmax", "log-probabilities, one a class: \"linear CLASSES, logsoftmax\"", "",
     true, false, true, SOMA_LINK_EXP, 0, nll},
    {"focal", "focal_loss", "classification with classes of very different frequency", SCORES, "gamma", true, false, true, SOMA_LINK_SOFTMAX, 0, focal},
    {"multi_margin", "multi_margin_loss", "classification as a support vector machine does it", SCORES, "margin p", true, false, true, SOMA_LINK_NONE, 0,
     multi_margin},
    {"kl_div", "kl_div", "distributions; of classes the same as nll", "log-probabilities, one a class: \"linear CLASSES, logsoftmax\"", "", true, false,
     true, SOMA_LINK_EXP, 0, kl_div_batch},
    {"bce", "binary_cross_entropy", "two classes, or each class yes or no, of a network that ends in sigmoid", "probabilities: \"linear 1, sigmoid\"", "",
     true, true, false, SOMA_LINK_NONE, 0.5, bce},
    {"bce_with_logits", "binary_cross_entropy_with_logits", "two classes, or each class yes or no", SCORE, "", true, true, false, SOMA_LINK_SIGMOID, 0,
     bce_with_logits},
    {"sigmoid_focal", "sigmoid_focal_loss", "the same with few positives among many negatives", SCORE, "alpha gamma", true, true, false, SOMA_LINK_SIGMOID,
     0, sigmoid_focal},
    {"soft_margin", "soft_margin_loss", "bce_with_logits for targets -1 and 1", SCORE, "", true, true, false, SOMA_LINK_SIGMOID, 0, soft_margin},
    {"hinge", "hinge_loss", "two classes as a linear support vector machine (with an L2 penalty)", SCORE, "margin", true, true, false, SOMA_LINK_NONE, 0,
     hinge},
    {"squared_hinge", "squared_hinge_loss", "the same, smooth", SCORE, "margin", true, true, false, SOMA_LINK_NONE, 0, squared_hinge},
    {"mse", "mse_loss", "regression: the default; leads to the mean", VALUE, "", true, true, false, SOMA_LINK_NONE, 0.5, mse},
    {"half_mse", "mse_loss", "the 1 / 2N form of textbooks", VALUE, "", true, true, false, SOMA_LINK_NONE, 0.5, half_mse},
    {"l1", "l1_loss", "regression with outliers (MAE); leads to the median", VALUE, "", true, true, false, SOMA_LINK_NONE, 0.5, l1},
    {"huber", "huber_loss", "regression with some outliers", VALUE, "delta", true, true, false, SOMA_LINK_NONE, 0.5, huber},
    {"smooth_l1", "smooth_l1_loss", "huber / beta, as detectors use it", VALUE, "beta", true, true, false, SOMA_LINK_NONE, 0.5, smooth_l1},
    {"log_cosh", "log_cosh_loss", "like huber, smooth everywhere", VALUE, "", true, true, false, SOMA_LINK_NONE, 0.5, log_cosh},
    {"quantile", "quantile_loss", "regression to a quantile", VALUE, "tau", true, true, false, SOMA_LINK_NONE, 0.5, quantile},
    {"msle", "msle_loss", "regression over orders of magnitude, targets 0 or more", "a number above -1: \"linear 1, softplus\"", "", true, true, false,
     SOMA_LINK_NONE, 0.5, msle},
    {"mape", "mape_loss", "regression by relative error, targets away from 0", VALUE, "eps", true, true, false, SOMA_LINK_NONE, 0.5, mape},
    {"poisson_nll", "poisson_nll_loss", "counts", "the logarithm of the rate: \"linear 1\"", "", false, true, false, SOMA_LINK_EXP, 0.5, poisson_nll},
};

int soma_loss_count(void) { return (int)SOMA_LEN(losses); }
const soma_loss_info *soma_loss_get(int i) { return i >= 0 && i < (int)SOMA_LEN(losses) ? &losses[i] : NULL; }

const soma_loss_info *soma_loss_find(const char *text) {
    size_t n = text ? strcspn(text, " ") : 0;
    for (size_t i = 0; i < SOMA_LEN(losses); i++)
        if (n > 0 && strlen(losses[i].name) == n && strncmp(text, losses[i].name, n) == 0) return &losses[i];
    return NULL;
}

static const soma_loss_info *find_or_fail(const char *text) {
    const soma_loss_info *info = soma_loss_find(text);
    if (info) return info;
    const char *names[SOMA_LEN(losses)];
    soma__text list = {0};
    for (size_t i = 0; i < SOMA_LEN(losses); i++) {
        names[i] = losses[i].name;
        soma__text_add(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = text ? soma__nearest(text, names, SOMA_LEN(names)) : NULL;
    if (!list.failed)
        soma_fail(SOMA_ENOTFOUND, "no loss is called \"%s\"%s%s%s; there are %s", text ? text : "", near ? ": did you mean \"" : "",
                  near ? near : "", near ? "\"?" : "", list.data);
    soma__text_free(&list);
    return NULL;
}

soma_loss_fn soma_loss_by_name(const char *name) {
    const soma_loss_info *info = find_or_fail(name);
    return info ? info->fn : NULL;
}

/* ---- Options in the text ------------------------------------------------------------------------------- */

static double *option_of(soma_loss_opts *o, const char *name, size_t n) {
    const struct {
        const char *name;
        double *at;
    } all[] = {
        {"delta", &o->delta}, {"beta", &o->beta},   {"tau", &o->tau},     {"margin", &o->margin},                   {"p", &o->p},
        {"eps", &o->eps},     {"gamma", &o->gamma}, {"alpha", &o->alpha},
    };
    for (size_t i = 0; i < SOMA_LEN(all); i++)
        if (strlen(all[i].name) == n && strncmp(name, all[i].name, n) == 0) return all[i].at;
    return NULL;
}

static bool lists(const char *words, const char *name, size_t n) {
    for (const char *at = words; *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (strcspn(at, " ") == n && strncmp(at, name, n) == 0) return true;
    return false;
}

soma_loss_fn soma_loss_parse(const char *text, soma_loss_opts *opts) {
    const soma_loss_info *info = find_or_fail(text);
    *opts = (soma_loss_opts){.size = sizeof(*opts)};
    if (!info) return NULL;
    for (const char *at = text + strlen(info->name); *(at += strspn(at, " "));) {
        size_t n = strcspn(at, "= "), value = at[n] == '=' ? n + 1 : n;
        double *option = lists(info->options, at, n) ? option_of(opts, at, n) : NULL;
        const char *end = at + value;
        double number = 0;
        bool read = at[n] == '=' && soma__nn_read_real(at + value, &end, &number) && (*end == ' ' || *end == 0) && isfinite(number);
        if (!option || !read) {
            soma_fail(SOMA_EINVAL, "loss \"%s\": \"%.*s\" %s; %s %s%s", text, (int)strcspn(at, " "), at,
                      option ? "lacks a number, as in \"delta=2\"" : "is not an option", info->name,
                      info->options[0] ? "has " : "has no options", info->options);
            return NULL;
        }
        *option = number == 0 ? -1 : number; /* 0 in the struct is the default */
        at = end;
    }
    return info->fn;
}

/* ---- For the fit loop ---------------------------------------------------------------------------------- */

const soma_loss_info *soma__loss_info(soma_loss_fn fn) {
    for (size_t i = 0; i < SOMA_LEN(losses); i++)
        if (losses[i].fn == fn) return &losses[i];
    return NULL;
}

double soma__loss_threshold(soma_loss_fn loss) {
    const soma_loss_info *info = soma__loss_info(loss);
    return info ? info->threshold : 0.5;
}

soma_loss_fn soma__loss_or_default(soma_loss_fn loss, soma_task task) {
    if (loss) return loss;
    return task == SOMA_REGRESS ? mse : cross_entropy;
}

bool soma__loss_needs_classes(soma_loss_fn loss) {
    const soma_loss_info *info = soma__loss_info(loss);
    return info && info->per_class;
}

soma_status soma__loss_fits(soma_loss_fn loss, soma_task task) {
    const soma_loss_info *info = soma__loss_info(loss);
    if (!info || (task == SOMA_REGRESS ? info->numbers : info->classes)) return SOMA_OK;
    return soma_fail(SOMA_EINVAL, "the loss %s needs %s as targets, but the data has %s: use %s", info->name,
                     task == SOMA_REGRESS ? "classes" : "numbers", task == SOMA_REGRESS ? "numbers" : "classes",
                     task == SOMA_REGRESS ? "mse, l1, huber or another for regression" : "cross_entropy or another for classification");
}
