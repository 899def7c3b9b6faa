#!/usr/bin/env python3
"""Fits the polynomials of src/kernels/cpu/math.h: weighted least squares on Chebyshev points, which is within a few per cent of
minimax, then rounded to f32 from the highest coefficient down. Prints C constants and the largest relative error of each fit."""
import numpy as np
from math import erf, erfc, log, exp, sqrt, tanh, expm1, log1p


def fit(f, low, high, degree, weight=lambda x: 1.0, n=2000):
    x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(np.pi * (np.arange(n) + 0.5) / n)
    y = np.array([f(v) for v in x])
    w = np.array([weight(v) for v in x])
    c = np.zeros(degree + 1)
    fixed = np.zeros(degree + 1, bool)
    for k in range(degree + 1):  # the lowest coefficient matters most: round it, then fit the others to what is left
        free = [i for i in range(degree + 1) if not fixed[i]]
        rest = y - sum(c[i] * x**i for i in range(degree + 1) if fixed[i])
        a = np.stack([x**i for i in free], 1) * w[:, None]
        s, *_ = np.linalg.lstsq(a, rest * w, rcond=1e-17)
        c[free[0]] = np.float32(s[0])
        fixed[free[0]] = True
    e = np.max(np.abs((sum(c[i] * x**i for i in range(degree + 1)) - y) * w))
    return c, e


def show(name, ce):
    c, e = ce
    print(f"{name}: error {e:.2e}: " + ", ".join(f"{np.float32(v)!s}f" for v in c))


h = log(2) / 2
show("exp (e^r - 1 - r) / r^2", fit(lambda r: (expm1(r) - r) / r**2 if abs(r) > 1e-3 else 0.5 + r / 6 + r * r / 24, -h, h, 4,
                                    lambda r: r * r))
show("log (log(1+f) - f + f^2/2) / f^3", fit(lambda f: (log1p(f) - f + f * f / 2) / f**3 if abs(f) > 1e-2 else
     1 / 3 - f / 4 + f * f / 5 - f**3 / 6 + f**4 / 7 - f**5 / 8, sqrt(0.5) - 1, sqrt(2) - 1, 7, lambda f: max(abs(f), 1e-4)**2))
show("tanh (tanh(x) - x) / x^3, in z = x^2", fit(lambda z: (tanh(sqrt(z)) - sqrt(z)) / sqrt(z)**3 if z > 1e-4 else
     -1 / 3 + 2 * z / 15 - 17 * z * z / 315, 0, 0.25**2, 2, lambda z: max(z, 1e-4)))
show("erf erf(x) / x - 1, in z = x^2", fit(lambda z: erf(sqrt(z)) / sqrt(z) - 1 if z > 0 else 2 / sqrt(np.pi) - 1, 1e-12, 0.921875**2, 6))
show("erfc log(erfc(t)) + t^2, t in [0.92, 4]", fit(lambda t: log(erfc(t)) + t * t, 0.921875, 4.0, 9, lambda t: erfc(t) / erf(t)))
show("expm1 (e^r - 1 - r) / r^2, |r| <= 1/2", fit(lambda r: (expm1(r) - r) / r**2 if abs(r) > 1e-3 else 0.5 + r / 6 + r * r / 24, -0.5, 0.5, 5,
                                                  lambda r: max(abs(r), 1e-3)))
