/* soma: classical models as one-liners, in scikit-learn's terms: linear, ridge, lasso and elastic-net regression, logistic and
 * softmax regression, a linear support-vector machine, k-means, principal components.
 *
 * Each takes x [n samples, p features] and computes in f64. The linear ones give a fitted Linear module (weight [outputs, p],
 * bias [outputs], of x's dtype), so that what holds for networks holds for them: soma_nn_forward predicts, soma_nn_save keeps,
 * soma_nn_open opens, training goes on from there. The caller frees it with soma_nn_free. NULL with the error recorded when
 * shapes do not fit, a value of x or y is not finite (the place is named), or a target is not what the model needs. */
#ifndef SOMA_CLASSIC_H
#define SOMA_CLASSIC_H

#include <soma/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct soma_classic_opts {
    double alpha;        /* ridge, lasso, elastic net: strength of the penalty; 0: 1; negative: none */
    double l1_ratio;     /* elastic net: share of L1; 0: 0.5 */
    double c;            /* logistic, SVM: inverse strength of the penalty; 0: 1; logistic: INFINITY is no penalty */
    bool no_intercept;
    int64_t max_iter;    /* 0: 10000 passes (lasso, elastic net, SVM), 1000 steps (logistic) */
    double tol;          /* 0: 1e-8; when to stop, relative to the start; see each model */
    size_t size;
} soma_classic_opts;
/* What the fit says of itself; any of these functions takes NULL for it. */
typedef struct soma_classic_report {
    int64_t iterations;  /* 0 for closed forms */
    bool converged;
    double objective;    /* of the fitted model, as the comment of the model writes it */
    int64_t zeros;       /* weights that are exactly 0 */
} soma_classic_report;

/* ---- Regression: y [n] or [n, m], numbers ---------------------------------------------------------------------------- */

/* Least squares: |y - x w - b|² / 2n. Of several solutions (p > n, dependent columns) the shortest. */
#define soma_linear_regression(...) soma__linear_regression(__VA_ARGS__, .size = sizeof(soma_classic_opts))
#define soma__linear_regression(x, y, ...) soma_linear_regression_ex((x), (y), &(soma_classic_opts){__VA_ARGS__}, NULL)
SOMA_API soma_module *soma_linear_regression_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report);
/* |y - x w - b|² + alpha |w|² (Hoerl & Kennard 1970); the intercept is not penalised. */
#define soma_ridge(...) soma__ridge(__VA_ARGS__, .size = sizeof(soma_classic_opts))
#define soma__ridge(x, y, ...) soma_ridge_ex((x), (y), &(soma_classic_opts){__VA_ARGS__}, NULL)
SOMA_API soma_module *soma_ridge_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report);
/* |y - x w - b|² / 2n + alpha |w|_1 (Tibshirani 1996), each target by itself, by coordinate descent until the duality gap is below tol
 * |y|² / n. Weights that do not help are exactly 0. */
#define soma_lasso(...) soma__lasso(__VA_ARGS__, .size = sizeof(soma_classic_opts))
#define soma__lasso(x, y, ...) soma_lasso_ex((x), (y), &(soma_classic_opts){__VA_ARGS__}, NULL)
SOMA_API soma_module *soma_lasso_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report);
/* |y - x w - b|² / 2n + alpha l1_ratio |w|_1 + alpha (1 - l1_ratio) |w|² / 2 (Zou & Hastie 2005), in the same way. */
#define soma_elastic_net(...) soma__elastic_net(__VA_ARGS__, .size = sizeof(soma_classic_opts))
#define soma__elastic_net(x, y, ...) soma_elastic_net_ex((x), (y), &(soma_classic_opts){__VA_ARGS__}, NULL)
SOMA_API soma_module *soma_elastic_net_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report);

/* ---- Classification: y [n], whole numbers 0 … K-1 ------------------------------------------------------------------------- */

/* c times the summed cross-entropy + |w|² / 2, the intercept free, by Newton's method with conjugate gradients until the gradient is below
 * tol of the first one. Two classes: one output, the logit of class 1; more: softmax regression with K outputs. */
#define soma_logistic_regression(...) soma__logistic_regression(__VA_ARGS__, .size = sizeof(soma_classic_opts))
#define soma__logistic_regression(x, y, ...) soma_logistic_regression_ex((x), (y), &(soma_classic_opts){__VA_ARGS__}, NULL)
SOMA_API soma_module *soma_logistic_regression_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report);
/* Linear support-vector machine: c times the summed hinge loss max(0, 1 - t (x w + b)) + (|w|² + b²) / 2, t = ±1 (Cortes & Vapnik
 * 1995; as LinearSVC(loss="hinge") the intercept is penalised), by dual coordinate descent (Hsieh et al. 2008) until the duality gap is
 * below tol of the objective. Two classes: one output, positive for class 1; more: K outputs, one against the rest. */
#define soma_linear_svm(...) soma__linear_svm(__VA_ARGS__, .size = sizeof(soma_classic_opts))
#define soma__linear_svm(x, y, ...) soma_linear_svm_ex((x), (y), &(soma_classic_opts){__VA_ARGS__}, NULL)
SOMA_API soma_module *soma_linear_svm_ex(soma_tensor *x, soma_tensor *y, const soma_classic_opts *opts, soma_classic_report *report);

/* ---- Without targets ---------------------------------------------------------------------------------------------------------- */

typedef struct soma_kmeans_opts {
    soma_tensor *start;  /* [k, p] first centres; NULL: k-means++ (Arthur & Vassilvitskii 2007) from the context's seed */
    int64_t runs;        /* 0: 10 (1 with `start`); the best is kept */
    int64_t max_iter;    /* 0: 300 */
    double tol;          /* 0: 1e-4; stops when the centres move less, relative to the variance of the features */
    size_t size;
} soma_kmeans_opts;
/* Tensors of the current scope. */
typedef struct soma_kmeans_result {
    soma_tensor *centers; /* [k, p], of x's dtype */
    soma_tensor *labels;  /* [n] i64 */
    double inertia;       /* sum of squared distances to the centres */
    int64_t iterations;
    size_t size;
} soma_kmeans_result;
/* Lloyd's algorithm. A cluster that gets empty takes the sample that is furthest from its centre. */
#define soma_kmeans(...) soma__kmeans(__VA_ARGS__, .size = sizeof(soma_kmeans_opts))
#define soma__kmeans(x, k, out, ...) soma_kmeans_ex((x), (k), (out), &(soma_kmeans_opts){__VA_ARGS__})
SOMA_API soma_status soma_kmeans_ex(soma_tensor *x, int64_t k, soma_kmeans_result *out, const soma_kmeans_opts *opts);
/* The nearest centre of each row of x [n, p] -> i64 [n]. */
SOMA_API soma_tensor *soma_kmeans_predict(soma_tensor *x, soma_tensor *centers);

/* Tensors of the current scope, of x's dtype. */
typedef struct soma_pca_result {
    soma_tensor *components;      /* [k, p], rows of length 1, the largest entry of each positive */
    soma_tensor *mean;            /* [p] */
    soma_tensor *variance;        /* [k]: explained by each component, divided by n - 1 */
    soma_tensor *ratio;           /* [k]: share of all variance */
    soma_tensor *singular_values; /* [k] of the centred x */
    size_t size;
} soma_pca_result;
/* Principal components by the singular value decomposition of the centred x; k = 0: all min(n, p). Pearson 1901. */
SOMA_API soma_status soma_pca(soma_tensor *x, int64_t k, soma_pca_result *out);
/* The projection (x - mean) componentsᵀ as a Linear module, and its inverse. */
SOMA_API soma_module *soma_pca_module(const soma_pca_result *pca);
SOMA_API soma_module *soma_pca_inverse_module(const soma_pca_result *pca);

#ifdef __cplusplus
}
#endif
#endif
