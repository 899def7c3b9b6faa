#!/usr/bin/env python3
"""Golden cases of the operators of the first release.

Operators that PyTorch does not have in this form (fused gradients, optimiser steps, random numbers) are not here: the first have
their own test against the operator they belong to, the second tests/golden/optim.txt, the third known values in tests/test_random.c.
"""
import math

import torch
import torch.nn.functional as F

from common import case, f, finish, flags, special, whole

# ---- Elementwise ----
unary = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "square": torch.square, "relu": F.relu, "floor": torch.floor, "ceil": torch.ceil,
    "round": torch.round, "exp": torch.exp, "expm1": torch.expm1, "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "erf": torch.erf,
    "sigmoid": torch.sigmoid, "gelu": F.gelu, "silu": F.silu, "softplus": lambda x: F.softplus(x, threshold=1e9),
    "isnan": torch.isnan, "isfinite": torch.isfinite, "logical_not": torch.logical_not,
}
for name, fn in unary.items():
    case(name, fn, [f(3, 5)])
    case(name, fn, [f(7).reshape(7, 1).expand(7, 2).transpose(0, 1)])
    case(name, fn, [f()])
    case(name, fn, [f(0, 3)])
    if name not in ("gelu", "silu", "softplus"):  # at infinity PyTorch's own formulas for these give NaN where the limit exists
        case(name, fn, [special], grad=False)
for name, fn in {"sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal, "log": torch.log, "log1p": torch.log1p}.items():
    case(name, fn, [f(3, 5, low=0.2, high=5)])
    case(name, fn, [f(4, low=0.01, high=0.5)])
    case(name, fn, [special], grad=False)
for lo, hi in ((-1.0, 1.0), (0.25, 0.75), (-math.inf, 0.5), (0.5, math.inf)):
    case("clamp", lambda x: torch.clamp(x, lo, hi), [f(3, 5)], min=lo, max=hi)
case("hardtanh", F.hardtanh, [f(3, 5)])
case("hardtanh", lambda x: F.hardtanh(x, -0.5, 1.5), [f(3, 5)], min=-0.5, max=1.5)
for slope in (0.01, 0.1, 0.5):
    case("leaky_relu", lambda x: F.leaky_relu(x, slope), [f(3, 5)], negative_slope=slope)
for alpha in (1.0, 0.3):
    case("elu", lambda x: F.elu(x, alpha), [f(3, 5)], alpha=alpha)
case("step", lambda x: (x >= 0.25).to(x.dtype), [f(3, 5)], grad=False, threshold=0.25)

binary = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum, "minimum": torch.minimum, "div": torch.div}
shapes = [((2, 3, 4), (2, 3, 4)), ((2, 1, 4), (3, 1)), ((4,), (2, 4)), ((), (3,)), ((0, 2), (2,))]
for name, fn in binary.items():
    for a, b in shapes:
        case(name, fn, [f(*a), f(*b, low=0.5, high=2)])
    case(name, fn, [special, special.flip(0)], grad=False)
    if name != "div":
        case(name, fn, [whole(9, 3, 4), whole(9, 4)])
case("maximum", torch.maximum, [torch.ones(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)])
for a, b in shapes:
    case("pow", torch.pow, [f(*a, low=0.3, high=2), f(*b)])
case("pow", torch.pow, [whole(5, 6), whole(4, 6)])
case("pow", torch.pow, [special, special.flip(0)], grad=False)
for name, fn in {"eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge,
                 "logical_and": torch.logical_and, "logical_or": torch.logical_or}.items():
    case(name, fn, [whole(3, 4, 5).double(), whole(3, 5).double()], grad=False)
    case(name, fn, [whole(3, 4, 5), whole(3, 4, 5)])
    case(name, fn, [special, special.flip(0)], grad=False)
case("where", torch.where, [flags(3, 4), f(3, 4), f(3, 4)])
case("where", torch.where, [flags(3, 1), f(4), f(3, 4)])

# ---- Reductions ----
for name, fn in {"sum": torch.sum, "mean": torch.mean, "amax": torch.amax, "amin": torch.amin, "logsumexp": torch.logsumexp}.items():
    for dims, keep in (([0], False), ([1, 2], True), ([-1], True), ([0, 1, 2], False)):
        case(name, lambda x: fn(x, dims, keepdim=keep), [f(2, 3, 4)], dims=dims, keepdim=keep)
case("amax", lambda x: torch.amax(x, [0]), [torch.tensor([[1.0, 2, 2], [1, 3, 2]], dtype=torch.float64)], dims=[0])
case("sum", lambda x: torch.sum(x, [0]), [whole(9, 3, 4)], dims=[0])
case("sum", lambda x: torch.sum(x, [0]), [f(0, 3)], dims=[0])
for dim, keep in ((0, False), (2, True)):
    case("prod", lambda x: torch.prod(x, dim, keepdim=keep), [f(2, 3, 4, low=0.5, high=2)], dims=[dim], keepdim=keep)
case("prod", lambda x: torch.prod(x, 0), [torch.tensor([[2.0, 0, 3], [5, 4, 0]], dtype=torch.float64)], dims=[0])
for name, fn in {"var": torch.var, "std": torch.std}.items():
    for dims, correction, keep in (([0], 1, False), ([1, 2], 0, True), ([0, 1, 2], 1, False)):
        case(name, lambda x: fn(x, dims, unbiased=bool(correction), keepdim=keep), [f(3, 3, 4)], dims=dims, correction=correction, keepdim=keep)
for dims, keep in (([0], False), ([1, 2], True)):
    case("norm", lambda x: torch.linalg.vector_norm(x, 2, dims, keepdim=keep), [f(2, 3, 4)], dims=dims, keepdim=keep)
for name, fn in {"any": torch.any, "all": torch.all}.items():
    case(name, lambda x: fn(x, 1), [flags(4, 3)], dims=[1])
    case(name, lambda x: fn(x, 0, keepdim=True), [whole(2, 4, 3)], dims=[0], keepdim=True)
for name, fn in {"argmax": torch.argmax, "argmin": torch.argmin}.items():
    for dim, keep in ((0, False), (-1, True)):
        case(name, lambda x: fn(x, dim, keepdim=keep), [f(4, 5)], grad=False, dim=dim, keepdim=keep)
for dim in (0, 1):
    case("cumsum", lambda x: torch.cumsum(x, dim), [f(3, 4)], dim=dim)
case("topk", lambda x: tuple(torch.topk(x, 2, 1)), [f(3, 5)], k=2, dim=1)
case("topk", lambda x: tuple(torch.topk(x, 3, 0)), [f(5, 2)], k=3, dim=0)

# ---- Shape ----
case("reshape", lambda x: x.reshape(4, 6), [f(2, 3, 4)], shape=[4, 6])
case("reshape", lambda x: x.reshape(-1, 2), [f(2, 3, 4)], shape=[-1, 2])
case("flatten", lambda x: torch.flatten(x, 1, 2), [f(2, 3, 4)], start_dim=1, end_dim=2)
case("permute", lambda x: x.permute(2, 0, 1), [f(2, 3, 4)], dims=[2, 0, 1])
case("transpose", lambda x: x.transpose(0, -1), [f(2, 3, 4)], dim0=0, dim1=-1)
case("expand", lambda x: x.expand(2, 3, 4), [f(3, 1)], shape=[2, 3, 4])
case("squeeze", lambda x: x.squeeze(1), [f(3, 1, 2)], dims=[1])
case("unsqueeze", lambda x: x.unsqueeze(-1), [f(3, 2)], dim=-1)
case("slice", lambda x: x[:, 1:6:2], [f(3, 7)], dim=1, start=1, end=6, step=2)
case("slice", lambda x: x[-2:], [f(5, 2)], dim=0, start=-2, end=5, step=1)
case("select", lambda x: x.select(1, -1), [f(3, 4)], dim=1, index=-1)
case("contiguous", lambda x: x.contiguous(), [f(3, 4).t()])
case("clone", lambda x: x.clone(), [f(3, 4)])
case("cat", lambda a, b, c: torch.cat((a, b, c), 1), [f(2, 3), f(2, 1), f(2, 2)], dim=1)
case("stack", lambda a, b: torch.stack((a, b), -1), [f(2, 3), f(2, 3)], dim=-1)
case("flip", lambda x: x.flip(0, 2), [f(2, 3, 4)], dims=[0, 2])
case("pad", lambda x: F.pad(x, (1, 2, 0, 1), value=0.5), [f(2, 3)], pad=[1, 2, 0, 1], value=0.5)
case("pad", lambda x: F.pad(x, (-1, 1)), [f(2, 3)], pad=[-1, 1])
for k in (-1, 0, 1):
    case("tril", lambda x: torch.tril(x, k), [f(3, 4)], diagonal=k)
    case("triu", lambda x: torch.triu(x, k), [f(2, 3, 3)], diagonal=k)

# ---- Indexing ----
case("index_select", lambda x, i: torch.index_select(x, 0, i), [f(4, 3), torch.tensor([3, 0, 0, 2])], dim=0)
case("index_select", lambda x, i: torch.index_select(x, 1, i), [f(4, 3), torch.tensor([1])], dim=1)
case("gather", lambda x, i: torch.gather(x, 1, i), [f(3, 4), whole(4, 3, 5)], dim=1)
case("scatter_add", lambda x, i, s: torch.scatter_add(x, 0, i, s), [f(4, 3), whole(4, 5, 3), f(5, 3)], dim=0)
case("index_add", lambda x, i, s: torch.index_add(x, 0, i, s), [f(4, 3), torch.tensor([1, 1, 3]), f(3, 3)], dim=0)
case("masked_fill", lambda x, m: x.masked_fill(m, 1.5), [f(3, 4), flags(4)], value=1.5)
case("one_hot", lambda x: F.one_hot(x, 5), [whole(5, 3, 2)], classes=5)

# ---- Matrices ----
for a, b in (((3, 4), (4, 5)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 2)), ((2, 1, 3, 4), (5, 4, 2)), ((2, 3, 4), (4, 5)), ((0, 4), (4, 2)), ((3, 0), (0, 2))):
    case("matmul", torch.matmul, [f(*a), f(*b)])
case("matmul", torch.matmul, [whole(9, 3, 4), whole(9, 4, 2)])
case("linear", F.linear, [f(6, 4), f(3, 4), f(3)])
case("linear", F.linear, [f(2, 3, 4), f(5, 4), None])
case("linear", F.linear, [f(4), f(2, 4), f(2)])

# ---- Convolution and pooling ----
for n, c, h, w, out, k, s, p, d, g in ((2, 3, 7, 8, 4, (3, 3), (1, 1), (0, 0), (1, 1), 1), (1, 4, 9, 7, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2),
                                       (2, 4, 6, 6, 4, (3, 3), (1, 2), (1, 1), (2, 1), 4), (1, 2, 5, 5, 3, (1, 1), (1, 1), (0, 0), (1, 1), 1),
                                       (3, 1, 8, 8, 8, (5, 5), (1, 1), (2, 2), (1, 1), 1), (2, 6, 5, 5, 9, (2, 2), (2, 2), (0, 0), (1, 1), 3)):
    a = dict(stride=list(s), padding=list(p), dilation=list(d), groups=g)
    case("conv2d", lambda x, wt, b: F.conv2d(x, wt, b, s, p, d, g), [f(n, c, h, w), f(out, c // g, *k), f(out)], **a)
    case("conv2d", lambda x, wt: F.conv2d(x, wt, None, s, p, d, g), [f(n, c, h, w), f(out, c // g, *k)], **a)
for k, s, p, d, ceil in ((2, 2, 0, 1, False), (3, 2, 1, 1, False), (2, 1, 0, 2, False), (3, 2, 0, 1, True), (3, 3, 1, 1, True)):
    case("max_pool2d", lambda x: F.max_pool2d(x, k, s, p, d, ceil_mode=ceil), [f(2, 3, 8, 7)], kernel_size=[k, k], stride=[s, s], padding=[p, p],
         dilation=[d, d], ceil_mode=ceil)
    if d == 1:
        for exclude in (False, True):
            case("avg_pool2d", lambda x: F.avg_pool2d(x, k, s, p, ceil, not exclude), [f(2, 3, 8, 7)], kernel_size=[k, k], stride=[s, s],
                 padding=[p, p], ceil_mode=ceil, count_include_pad=not exclude)
for o in ((1, 1), (3, 2), (5, 5)):
    case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, o), [f(2, 3, 7, 5)], output_size=list(o))

# ---- Normalisation, softmax, losses ----
for shape in ((6, 3), (2, 3, 4), (2, 3, 4, 5)):
    case("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 1e-5), [f(*shape), f(3), f(3)], training=True)
    mean, var = f(3), f(3, low=0.5, high=2)
    case("batch_norm", lambda x, w, b, m, v: F.batch_norm(x, m.detach(), v.detach(), w, b, False, 0.1, 1e-5), [f(*shape), f(3), f(3), mean, var])
case("batch_norm", lambda x: F.batch_norm(x, None, None, None, None, True), [f(4, 3, 2)], training=True)
for shape, n in (((4, 5), 1), ((2, 3, 4), 2)):
    tail = shape[len(shape) - n:]
    case("layer_norm", lambda x, w, b: F.layer_norm(x, tail, w, b), [f(*shape), f(*tail), f(*tail)], n_dims=n)
    case("layer_norm", lambda x: F.layer_norm(x, tail), [f(*shape)], n_dims=n)
for name, fn in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
    for dim in (0, 1, -1):
        case(name, lambda x: fn(x, dim), [f(2, 3, 4)], dim=dim)
    case(name, lambda x: fn(x, -1), [torch.tensor([[1000.0, 0, -1000], [5, 5, 5]], dtype=torch.float64)], dim=-1)
REDUCTION = {"mean": 0, "sum": 1, "none": 2}
for r, code in REDUCTION.items():
    t = whole(5, 4)
    case("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction=r), [f(4, 5), t], reduction=code)
    w = f(5, low=0.5, high=2)
    case("cross_entropy", lambda x, y, wt: F.cross_entropy(x, y, weight=wt.detach(), reduction=r, label_smoothing=0.2), [f(4, 5), t, w],
         reduction=code, label_smoothing=0.2)
    t2 = whole(3, 2, 4)
    t2[0, 1] = t2[1, 3] = -100
    case("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction=r), [f(2, 3, 4), t2], reduction=code)
    case("nll_loss", lambda x, y, wt: F.nll_loss(x, y, weight=wt.detach(), reduction=r), [f(4, 5), t, w], reduction=code)
    case("nll_loss", lambda x, y: F.nll_loss(x, y, reduction=r), [f(2, 3, 4), t2], reduction=code)
    case("mse_loss", lambda x, y: F.mse_loss(x, y, reduction=r), [f(3, 4), f(3, 4)], reduction=code)
    case("l1_loss", lambda x, y: F.l1_loss(x, y, reduction=r), [f(3, 4), f(3, 4)], reduction=code)
    case("bce_with_logits", lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction=r), [f(3, 4, low=-8, high=8), f(3, 4, low=0, high=1)],
         reduction=code)
case("dropout", lambda x: F.dropout(x, 0.5, False), [f(3, 4)], p=0.5, training=False)
case("dropout", lambda x: F.dropout(x, 0.0, True), [f(3, 4)], p=0.0, training=True)

# ---- Creation ----
case("arange", lambda: torch.arange(1.0, 4.0, 0.5, dtype=torch.float64), [], start=1.0, end=4.0, step=0.5, dtype=1)
case("linspace", lambda: torch.linspace(-1, 2, 5, dtype=torch.float64), [], start=-1.0, end=2.0, steps=5, dtype=1)
case("eye", lambda: torch.eye(3, 4, dtype=torch.float64), [], n=3, m=4, dtype=1)
case("full", lambda: torch.full((2, 3), 2.5, dtype=torch.float64), [], shape=[2, 3], value=2.5, dtype=1)

finish()
