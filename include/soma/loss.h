/* soma: losses. A loss compares what a network gives with what it should give; each is an operator of the registry ("mse_loss" …) with
 * PyTorch's name, and a function here that takes its options like keyword arguments: soma_huber_loss(x, y, .delta = 2).
 *
 * Prediction and target must have the same shape: a target is never broadcast (PyTorch warns and does it, and [64, 1] against [64]
 * then compares everything with everything). A target that makes no sense (a class out of range, a probability outside 0 … 1, a negative
 * count, a sign that is neither -1 nor 1) is SOMA_EINVAL with its place and value; a NaN in the prediction gives NaN. */
#ifndef SOMA_LOSS_H
#define SOMA_LOSS_H

#include <soma/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the single losses become one number. BATCHMEAN: the sum, divided by the size of dimension 0; HALF: half of that, the 1 / 2N of
 * textbooks (mse_loss only). */
typedef enum soma_reduction { SOMA_MEAN, SOMA_SUM, SOMA_NONE, SOMA_BATCHMEAN, SOMA_HALF } soma_reduction;

/* What a loss does not name below it does not read. 0 is the default; where that is not 0, a number below 0 means 0. */
typedef struct soma_loss_opts {
    soma_reduction reduction;
    soma_tensor *weight;      /* of classes [C] (cross_entropy, nll, multi_margin, multilabel_soft_margin, focal), of elements (bce) */
    double label_smoothing;   /* cross_entropy: share of the target that is spread over all classes */
    int64_t ignore_index;     /* cross_entropy, nll: targets that do not count; 0: -100, as PyTorch's default */
    soma_tensor *pos_weight;  /* bce_with_logits: factor on the loss of positives, [C] or as the target */
    double delta;             /* huber: where the square becomes a line; 0: 1 */
    double beta;              /* smooth_l1: the same, 0: 1; elbo: factor of the divergence, 0: 1 */
    double tau;               /* quantile: which; 0: 0.5, the median */
    double margin;            /* hinge, hinge_embedding, multi_margin, triplet, contrastive: 0: 1; margin_ranking, cosine_embedding: 0 */
    double p;                 /* multi_margin: 1 or 2, 0: 1; triplet: order of the norm, 0: 2 */
    double eps;               /* poisson_nll 0: 1e-8, gaussian_nll and triplet 0: 1e-6, mape 0: 2.2e-16 */
    double gamma;             /* focal: 0: 2 */
    double alpha;             /* sigmoid_focal: weight of positives, 0: 0.25; negative: none */
    double rho;               /* kl_sparsity: wanted mean activity, 0: 0.05 */
    int64_t likelihood;       /* elbo: 0 Bernoulli from scores, 1 Bernoulli from probabilities, 2 normal with variance 1 */
    bool full;                /* poisson_nll, gaussian_nll: with the terms that do not depend on the prediction */
    bool rate;                /* poisson_nll: the prediction is the rate itself, not its logarithm (PyTorch: log_input=False) */
    bool log_target;          /* kl_div: the target is a logarithm too */
    bool swap;                /* triplet: the harder of the two negatives */
    size_t size;
} soma_loss_opts;
#define soma__loss2(fn, a, b, ...) fn((a), (b), &(soma_loss_opts){__VA_ARGS__})
#define soma__loss3(fn, a, b, c, ...) fn((a), (b), (c), &(soma_loss_opts){__VA_ARGS__})
#define SOMA__LOSS_SIZE .size = sizeof(soma_loss_opts)

/* ---- Numbers: prediction x and target of one shape ---------------------------------------------------------------------- */

/* (x - target)^2. */
#define soma_mse_loss(x, ...) soma__loss2(soma_mse_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_mse_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* |x - target|. */
#define soma_l1_loss(x, ...) soma__loss2(soma_l1_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_l1_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Half the square up to .delta, a line beyond. Huber 1964. */
#define soma_huber_loss(x, ...) soma__loss2(soma_huber_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_huber_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Huber's with delta = .beta, divided by it. */
#define soma_smooth_l1_loss(x, ...) soma__loss2(soma_smooth_l1_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_smooth_l1_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* log(cosh(x - target)). */
#define soma_log_cosh_loss(x, ...) soma__loss2(soma_log_cosh_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_log_cosh_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* (log(1 + x) - log(1 + target))^2, target >= 0. */
#define soma_msle_loss(x, ...) soma__loss2(soma_msle_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_msle_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* |x - target| / max(|target|, .eps), a share, not percent. */
#define soma_mape_loss(x, ...) soma__loss2(soma_mape_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_mape_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* max(tau d, (tau - 1) d), d = target - x: x becomes the tau-quantile. Koenker & Bassett 1978. */
#define soma_quantile_loss(x, ...) soma__loss2(soma_quantile_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_quantile_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Counts (target >= 0): exp(x) - target x, or with .rate x - target log(x + eps). */
#define soma_poisson_nll_loss(x, ...) soma__loss2(soma_poisson_nll_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_poisson_nll_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* (log(var) + (x - target)^2 / var) / 2; var >= 0 as x, or without (or with 1 as) its last dimension. Nix & Weigend 1994. */
#define soma_gaussian_nll_loss(x, target, ...) soma__loss3(soma_gaussian_nll_loss_ex, x, target, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_gaussian_nll_loss_ex(soma_tensor *x, soma_tensor *target, soma_tensor *var, const soma_loss_opts *opts);

/* ---- Two classes: targets are probabilities 0 … 1, or signs -1 and 1 where it says so -------------------------------------- */

/* -t log(x) - (1 - t) log(1 - x) of probabilities x, logarithms not below -100. */
#define soma_binary_cross_entropy(x, ...) soma__loss2(soma_binary_cross_entropy_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_binary_cross_entropy_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* The same of raw scores, without overflow; the second name is the short one. */
#define soma_binary_cross_entropy_with_logits(x, ...) soma__loss2(soma_bce_with_logits_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
#define soma_bce_with_logits(x, ...) soma__loss2(soma_bce_with_logits_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_bce_with_logits_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Logistic loss of scores in which easy samples count less. Lin et al. 2017. */
#define soma_sigmoid_focal_loss(x, ...) soma__loss2(soma_sigmoid_focal_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_sigmoid_focal_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Scores [N, C] and labels [N, C]: the logistic loss, averaged over the C labels of a sample. */
#define soma_multilabel_soft_margin_loss(x, ...) soma__loss2(soma_multilabel_soft_margin_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_multilabel_soft_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* max(0, margin - t x), t -1 or 1: the support vector machine's. */
#define soma_hinge_loss(x, ...) soma__loss2(soma_hinge_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_hinge_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Its square. */
#define soma_squared_hinge_loss(x, ...) soma__loss2(soma_squared_hinge_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_squared_hinge_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* log(1 + exp(-t x)), t -1 or 1. */
#define soma_soft_margin_loss(x, ...) soma__loss2(soma_soft_margin_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_soft_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Distances x: x where t is 1, max(0, margin - x) where it is -1. */
#define soma_hinge_embedding_loss(x, ...) soma__loss2(soma_hinge_embedding_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_hinge_embedding_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);

/* ---- Classes: scores [N, C, …] or [C], targets whole numbers 0 … C-1 of [N, …] ---------------------------------------------- */

/* -log(softmax(logits)[target]); give raw scores. Targets of float dtype and the scores' shape are probabilities of the classes. */
#define soma_cross_entropy(logits, ...) soma__loss2(soma_cross_entropy_ex, logits, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_cross_entropy_ex(soma_tensor *logits, soma_tensor *target, const soma_loss_opts *opts);
/* The same after log_softmax. */
#define soma_nll_loss(logp, ...) soma__loss2(soma_nll_loss_ex, logp, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_nll_loss_ex(soma_tensor *logp, soma_tensor *target, const soma_loss_opts *opts);
/* -w[target] (1 - p)^gamma log(p), p = softmax(logits)[target]. Lin et al. 2017. */
#define soma_focal_loss(logits, ...) soma__loss2(soma_focal_loss_ex, logits, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_focal_loss_ex(soma_tensor *logits, soma_tensor *target, const soma_loss_opts *opts);
/* Multi-class hinge: sum over the other classes of max(0, margin - x[target] + x[c])^p, divided by C. Crammer & Singer 2001. */
#define soma_multi_margin_loss(x, ...) soma__loss2(soma_multi_margin_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_multi_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Several classes a sample: target [N, C] i64 lists them, ended by -1. */
#define soma_multilabel_margin_loss(x, ...) soma__loss2(soma_multilabel_margin_loss_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_multilabel_margin_loss_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);
/* Distributions: target (log(target) - x), x log-probabilities, target probabilities of the same shape. SOMA_BATCHMEAN is the divergence. */
#define soma_kl_div(x, ...) soma__loss2(soma_kl_div_ex, x, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_kl_div_ex(soma_tensor *x, soma_tensor *target, const soma_loss_opts *opts);

/* ---- Pairs and triplets: vectors [N, D] or [D], targets [N] or none ---------------------------------------------------------- */

/* max(0, margin - t (a - b)), t 1: a should be the larger, -1: b; all three of one shape. */
#define soma_margin_ranking_loss(a, b, ...) soma__loss3(soma_margin_ranking_loss_ex, a, b, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_margin_ranking_loss_ex(soma_tensor *a, soma_tensor *b, soma_tensor *target, const soma_loss_opts *opts);
/* 1 - cos(a, b) where t is 1, max(0, cos(a, b) - margin) where it is -1. */
#define soma_cosine_embedding_loss(a, b, ...) soma__loss3(soma_cosine_embedding_loss_ex, a, b, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_cosine_embedding_loss_ex(soma_tensor *a, soma_tensor *b, soma_tensor *target, const soma_loss_opts *opts);
/* d²/2 where t is 1 (the same), max(0, margin - d)²/2 where it is 0, d = |a - b|. Hadsell et al. 2006, who have t the other way round. */
#define soma_contrastive_loss(a, b, ...) soma__loss3(soma_contrastive_loss_ex, a, b, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_contrastive_loss_ex(soma_tensor *a, soma_tensor *b, soma_tensor *target, const soma_loss_opts *opts);
/* max(0, |anchor - positive| - |anchor - negative| + margin). */
#define soma_triplet_margin_loss(anchor, positive, ...) soma__loss3(soma_triplet_margin_loss_ex, anchor, positive, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_triplet_margin_loss_ex(soma_tensor *anchor, soma_tensor *positive, soma_tensor *negative,
                                                  const soma_loss_opts *opts);

/* ---- Autoencoders -------------------------------------------------------------------------------------------------------------- */

/* How far the mean activity of each unit (over dimension 0) of x in 0 … 1 is from .rho, as a Bernoulli divergence, summed over units. */
#define soma_kl_sparsity(...) soma__kl_sparsity(__VA_ARGS__, SOMA__LOSS_SIZE)
#define soma__kl_sparsity(x, ...) soma_kl_sparsity_ex((x), &(soma_loss_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_kl_sparsity_ex(soma_tensor *x, const soma_loss_opts *opts);
/* Divergence of N(mu, exp(logvar)) from N(0, 1), summed over all but dimension 0, whose mean is taken. Kingma & Welling 2014. */
#define soma_gaussian_kl(mu, ...) soma__loss2(soma_gaussian_kl_ex, mu, __VA_ARGS__, SOMA__LOSS_SIZE)
SOMA_API soma_tensor *soma_gaussian_kl_ex(soma_tensor *mu, soma_tensor *logvar, const soma_loss_opts *opts);
/* The variational autoencoder's loss: reconstruction + beta * gaussian_kl, a sum a sample, whose mean is taken (minus the bound). */
#define soma_elbo_loss(x, target, mu, ...) soma__elbo_loss(x, target, mu, __VA_ARGS__, SOMA__LOSS_SIZE)
#define soma__elbo_loss(x, target, mu, logvar, ...) soma_elbo_loss_ex((x), (target), (mu), (logvar), &(soma_loss_opts){__VA_ARGS__})
SOMA_API soma_tensor *soma_elbo_loss_ex(soma_tensor *x, soma_tensor *target, soma_tensor *mu, soma_tensor *logvar,
                                        const soma_loss_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
