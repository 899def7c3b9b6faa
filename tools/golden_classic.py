#!/usr/bin/env python3
"""Makes tests/golden/classic.txt: what scikit-learn fits to data that both sides make from the same formulas, for tests/test_classic.c.

Run with Debian's python3-sklearn (1.2): /usr/bin/python3 tools/golden_classic.py > tests/golden/classic.txt
A line is the model, its setting, and the fitted numbers (weights row by row, then intercepts). Iterative fits are run far beyond
scikit-learn's own tolerance, so that both sides sit at the optimum.
"""
import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.svm import LinearSVC

N, P, M = 60, 5, 2
i, j = np.meshgrid(np.arange(N), np.arange(P), indexing="ij")
X = np.sin(1 + 1.7 * i + 2.3 * j + 0.37 * i * j) + 0.5 * np.cos(0.9 * i * (j + 1)) + 0.2 * j
W = np.array([[1.5, -2.0, 0.0, 0.7, 0.0], [0.3, 0.0, 1.1, 0.0, -0.4]])
Y = X @ W.T + np.array([0.8, -1.2]) + 0.1 * np.sin(3.1 * i[:, :M] + j[:, :M])
score = X @ W[0] + 0.9 * np.sin(5.3 * np.arange(N))
C2 = (score > np.median(score)).astype(int)
C3 = np.digitize(score, np.quantile(score, [0.35, 0.7]))


def show(name, setting, *arrays):
    print(name, "%g" % setting, *("%.12g" % v for a in arrays for v in np.ravel(a)))


def linear(name, setting, model, y):
    model.fit(X, y)
    show(name, setting, model.coef_, model.intercept_)


linear("linear", 0, LinearRegression(), Y)
linear("linear_origin", 0, LinearRegression(fit_intercept=False), Y)
wide = X[:4]
m = LinearRegression().fit(wide, Y[:4])
show("linear_wide", 0, m.coef_, m.intercept_)
for alpha in (0.1, 1, 10):
    linear("ridge", alpha, Ridge(alpha=alpha, solver="svd"), Y)
for alpha in (0.01, 0.1, 0.5):
    linear("lasso", alpha, Lasso(alpha=alpha, tol=1e-13, max_iter=1000000), Y)
    linear("elastic_net", alpha, ElasticNet(alpha=alpha, l1_ratio=0.3, tol=1e-13, max_iter=1000000), Y)
for c in (0.1, 1, 100):
    linear("logistic", c, LogisticRegression(C=c, solver="newton-cg", tol=1e-13, max_iter=100000), C2)
    linear("softmax", c, LogisticRegression(C=c, solver="newton-cg", tol=1e-13, max_iter=100000), C3)
for c in (0.1, 1):
    linear("svm", c, LinearSVC(C=c, loss="hinge", tol=1e-9, max_iter=1000000, random_state=0), C2)
    linear("svm3", c, LinearSVC(C=c, loss="hinge", tol=1e-9, max_iter=1000000, random_state=0), C3)
k = KMeans(3, init=X[[0, 20, 40]], n_init=1, tol=1e-12).fit(X)
show("kmeans", 3, k.cluster_centers_, k.inertia_)
pca = PCA(3).fit(X)
components = pca.components_ * np.sign(pca.components_[np.arange(3), np.abs(pca.components_).argmax(1)])[:, None]
show("pca", 3, components, pca.mean_, pca.explained_variance_, pca.explained_variance_ratio_, pca.singular_values_)
