#!/usr/bin/env python3
"""Golden cases of shape and index operators, sorting, ranks, counting, and reductions beside those of first.py."""
import math

import torch
import torch.nn.functional as F

from common import case, f, finish, flags, whole

nan, inf = math.nan, math.inf


def d(*values):
    return torch.tensor(values, dtype=torch.float64)


def i(*values):
    return torch.tensor(values, dtype=torch.int64)


# ---- Shape ----
case("view", lambda x: x.view(3, 2, 2), [f(3, 4)], shape=[3, 2, 2])
case("view", lambda x: x.view(-1, 2), [f(6)], shape=[-1, 2])
case("ravel", torch.ravel, [f(2, 3)])
case("ravel", torch.ravel, [f()])
case("unflatten", lambda x: x.unflatten(1, (2, -1)), [f(2, 6)], dim=1, sizes=[2, -1])
case("movedim", lambda x: torch.movedim(x, (0, 1), (2, 0)), [f(2, 3, 4)], source=[0, 1], destination=[2, 0])
case("movedim", lambda x: torch.movedim(x, -1, 0), [f(2, 3, 4)], source=[-1], destination=[0])
case("broadcast_to", lambda x: torch.broadcast_to(x, (2, 4, 3)), [f(1, 3)], shape=[2, 4, 3])
for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    for s in ((), (4,), (2, 3), (2, 3, 2)):
        case(name, getattr(torch, name), [f(*s)])
case("narrow", lambda x: torch.narrow(x, 1, 1, 2), [f(3, 4)], dim=1, start=1, length=2)
case("narrow", lambda x: torch.narrow(x, 0, -2, 2), [f(5)], dim=0, start=-2, length=2)
for n in (2, 3, 7, 9):
    case("split", lambda x: tuple(torch.split(x, n)), [f(7, 2)], split_size_or_sections=n)
    case("chunk", lambda x: tuple(torch.chunk(x, n, 1)), [f(2, 7)], chunks=n, dim=1)
    case("tensor_split", lambda x: tuple(torch.tensor_split(x, n)), [f(7, 2)], sections=n)
case("split", lambda x: tuple(torch.split(x, [1, 3, 2], 1)), [f(2, 6)], split_size_or_sections=[1, 3, 2], dim=1)
case("split", lambda x: tuple(torch.split(x, 0)), [f(0, 2)], split_size_or_sections=0)
case("chunk", lambda x: tuple(torch.chunk(x, 3)), [f(0, 2)], chunks=3)
case("tensor_split", lambda x: tuple(torch.tensor_split(x, (2, 4), 1)), [f(2, 5)], indices=[2, 4], dim=1)
case("tensor_split", lambda x: tuple(torch.tensor_split(x, (4, 2, -1))), [f(6)], indices=[4, 2, -1])
case("unbind", lambda x: tuple(torch.unbind(x)), [f(3, 2)])
case("unbind", lambda x: tuple(torch.unbind(x, -1)), [f(2, 3)], dim=-1)
case("hstack", lambda *t: torch.hstack(t), [f(2, 3), f(2, 1)])
case("hstack", lambda *t: torch.hstack(t), [f(3), f(2), f(1)])
case("hstack", lambda *t: torch.hstack(t), [f(), f()])
case("vstack", lambda *t: torch.vstack(t), [f(2, 3), f(1, 3)])
case("vstack", lambda *t: torch.vstack(t), [f(3), f(3)])
case("dstack", lambda *t: torch.dstack(t), [f(2, 3), f(2, 3)])
case("dstack", lambda *t: torch.dstack(t), [f(3), f(3)])
case("column_stack", lambda *t: torch.column_stack(t), [f(3), f(3, 2), f(3)])
case("repeat", lambda x: x.repeat(2, 3), [f(2, 2)], repeats=[2, 3])
case("repeat", lambda x: x.repeat(2, 1, 3), [f(2, 2)], repeats=[2, 1, 3])
case("tile", lambda x: torch.tile(x, (2,)), [f(2, 3)], dims=[2])
case("tile", lambda x: torch.tile(x, (2, 1, 2)), [f(2, 3)], dims=[2, 1, 2])
case("repeat_interleave", lambda x: torch.repeat_interleave(x, 2), [f(2, 2)], repeats=2)
case("repeat_interleave", lambda x: torch.repeat_interleave(x, 3, dim=1), [f(2, 2)], repeats=3, dim=[1])
case("repeat_interleave", lambda x, r: torch.repeat_interleave(x, r, dim=0), [f(3, 2), i(2, 0, 1)], dim=[0])
case("roll", lambda x: torch.roll(x, 2), [f(2, 3)], shifts=[2])
case("roll", lambda x: torch.roll(x, (1, -2), (0, 1)), [f(3, 4)], shifts=[1, -2], dims=[0, 1])
for k in range(-1, 4):
    case("rot90", lambda x: torch.rot90(x, k), [f(3, 2)], k=k)
case("rot90", lambda x: torch.rot90(x, 1, (1, 2)), [f(2, 3, 2)], k=1, dims=[1, 2])
case("fliplr", torch.fliplr, [f(2, 3)])
case("flipud", torch.flipud, [f(3)])
for o in (-1, 0, 2):
    case("diagonal", lambda x: torch.diagonal(x, o), [f(3, 4)], offset=o)
    case("diagonal", lambda x: torch.diagonal(x, o, 2, 0), [f(3, 2, 4)], offset=o, dim1=2, dim2=0)
    case("diag", lambda x: torch.diag(x, o), [f(3)], diagonal=o)
    case("diag", lambda x: torch.diag(x, o), [f(3, 4)], diagonal=o)
    case("diag_embed", lambda x: torch.diag_embed(x, o), [f(2, 3)], offset=o)
    case("diagflat", lambda x: torch.diagflat(x, o), [f(2, 2)], offset=o)
    case("diagonal_scatter", lambda x, s: torch.diagonal_scatter(x, s, o), [f(4, 4), f(4 - abs(o))], offset=o)
    case("tril_indices", lambda: torch.tril_indices(3, 4, o), [], row=3, col=4, offset=o)
    case("triu_indices", lambda: torch.triu_indices(4, 3, o), [], row=4, col=3, offset=o)
case("diag_embed", lambda x: torch.diag_embed(x, 1, 0, 2), [f(2, 3)], offset=1, dim1=0, dim2=2)
case("trace", torch.trace, [f(3, 4)])
case("trace", torch.trace, [whole(9, 3, 3)])
case("block_diag", lambda *t: torch.block_diag(*t), [f(2, 3), f(2), f(), f(1, 2)])
case("select_scatter", lambda x, s: torch.select_scatter(x, s, 1, -1), [f(3, 4), f(3)], dim=1, index=-1)
case("slice_scatter", lambda x, s: torch.slice_scatter(x, s, 0, 1, 6, 2), [f(7, 2), f(3, 2)], dim=0, start=1, end=6, step=2)
for way in ("ij", "xy"):
    case("meshgrid", lambda *t: tuple(torch.meshgrid(*t, indexing=way)), [f(2), f(3), f(4)], indexing=way)
case("cartesian_prod", lambda *t: torch.cartesian_prod(*t), [f(2), f(3), f(2)])
case("cartesian_prod", lambda *t: torch.cartesian_prod(*t), [f(4)])
case("combinations", torch.combinations, [f(4)])
case("combinations", lambda x: torch.combinations(x, 3, True), [f(3)], r=3, with_replacement=True)
for mode in ("reflect", "replicate", "circular"):
    case("pad", lambda x: F.pad(x, (2, 1), mode), [f(2, 3, 4)], pad=[2, 1], mode=mode)
    case("pad", lambda x: F.pad(x, (2, 1, 1, 2), mode), [f(1, 2, 3, 4)], pad=[2, 1, 1, 2], mode=mode)
    case("pad", lambda x: F.pad(x, (1, 1, 1, 0, 0, 1), mode), [f(1, 1, 2, 3, 2)], pad=[1, 1, 1, 0, 0, 1], mode=mode)
case("constant_pad_nd", lambda x: torch.constant_pad_nd(x, (1, 2, -1, 1), 2.5), [f(2, 3)], pad=[1, 2, -1, 1], value=2.5)
case("unfold", lambda x: x.unfold(0, 3, 1), [f(6)], dimension=0, size=3, step=1)
case("unfold", lambda x: x.unfold(1, 2, 3), [f(2, 7, 2)], dimension=1, size=2, step=3)

# ---- Indexing ----
m = torch.tensor([[True, False, True], [False, True, True]])
case("index", lambda x, a: x[a], [f(4, 3), i(2, 0, -1)])
case("index", lambda x, a, b: x[a, b], [f(4, 3), i(2, 0, -1), i(1, 1, 0)])
case("index", lambda x, n, a: x[:, a], [f(2, 3, 4), None, whole(3, 2, 2)])
case("index", lambda x, n, a, b: x[:, a, b], [f(2, 3, 4), None, whole(3, 2, 2), whole(4, 2)])
case("index", lambda x, a, n, b: x[a, :, b], [f(2, 3, 4), i(1, 0), None, i(3, 1)])
case("index", lambda x, k: x[k], [f(2, 3), m])
case("index", lambda x, k: x[k], [f(2, 3, 2), m])
case("index", lambda x, n, k: x[:, k], [f(2, 3), None, torch.tensor([True, False, True])])
for acc in (False, True):
    # soma takes the values before the indices
    case("index_put", lambda x, v, a: x.index_put((a,), v, acc), [f(4, 3), f(2, 3), i(2, -4)], accumulate=acc)
    case("index_put", lambda x, v, a, b: x.index_put((a, b), v, acc), [f(4, 3), f(2), i(2, 0), i(1, -1)], accumulate=acc)
    case("index_put", lambda x, v, k: x.index_put((k,), v, acc), [f(2, 3), f(), m], accumulate=acc)
    case("put", lambda x, a, s: torch.Tensor.put(x, a, s, acc), [f(3, 4), i(0, 5, -1), f(3)], accumulate=acc)
case("index_put", lambda x, v, a: x.index_put((a,), v, True), [f(4, 3), f(3, 3), i(1, 1, 2)], accumulate=True)
case("index_fill", lambda x, a: torch.index_fill(x, 1, a, 1.5), [f(3, 4), i(2, 0)], dim=1, value=1.5)
case("index_copy", lambda x, a, s: torch.index_copy(x, 0, a, s), [f(4, 3), i(2, 0), f(2, 3)], dim=0)
case("take", lambda x, a: torch.take(x, a), [f(3, 4), torch.tensor([[0, 5], [-1, 5]])])
case("take_along_dim", lambda x, a: torch.take_along_dim(x, a, 1), [f(3, 4), whole(4, 3, 2)], dim=[1])
case("take_along_dim", lambda x, a: torch.take_along_dim(x, a, 0), [f(3, 4), whole(3, 2, 1)], dim=[0])
case("take_along_dim", lambda x, a: torch.take_along_dim(x, a), [f(2, 3), i(5, 0)])
case("scatter", lambda x, a, s: torch.scatter(x, 0, a, s), [f(4, 3), torch.stack([torch.randperm(4)[:2] for _ in range(3)], 1), f(2, 3)], dim=0)
case("scatter", lambda x, a: torch.scatter(x, 1, a, 2.5), [f(3, 4), whole(4, 3, 2)], dim=1, value=2.5)
for how in ("sum", "prod", "mean", "amax", "amin"):
    for own in (True, False):
        case("scatter_reduce", lambda x, a, s: torch.scatter_reduce(x, 0, a, s, how, include_self=own), [f(4, 3), whole(4, 5, 3), f(5, 3)], dim=0, reduce=how, include_self=own)
        case("scatter_reduce", lambda x, a, s: torch.scatter_reduce(x, 1, a, s, how, include_self=own), [whole(9, 3, 4), whole(4, 3, 6), whole(9, 3, 6)], dim=1, reduce=how, include_self=own)
case("scatter_reduce", lambda x, a, s: torch.scatter_reduce(x, 0, a, s, "prod"), [d(2, 3, 4), i(0, 0, 1, 1), d(0, 5, 0, 0)], dim=0, reduce="prod")
case("masked_select", torch.masked_select, [f(3, 4), flags(3, 4)])
case("masked_select", torch.masked_select, [f(2, 3, 4), flags(4)])
case("masked_scatter", lambda x, k, s: torch.masked_scatter(x, k, s), [f(3, 4), flags(4), f(3, 5)])
for x in (whole(2, 3, 4), d(0, 1, nan, -0.0), torch.tensor(3.0), torch.tensor(0)):
    case("nonzero", torch.nonzero, [x], grad=False)
    case("argwhere", torch.argwhere, [x], grad=False)

# ---- Sorting and ranks ----
for dim, down in ((0, False), (1, True), (-1, False)):
    case("sort", lambda x: tuple(torch.sort(x, dim, down)), [f(4, 5)], dim=dim, descending=down)
    case("argsort", lambda x: torch.argsort(x, dim, down), [f(4, 5)], grad=False, dim=dim, descending=down)
case("sort", lambda x: tuple(torch.sort(x, stable=True)), [whole(4, 3, 90)])
case("sort", lambda x: tuple(torch.sort(x, stable=True, descending=True)), [whole(4, 3, 90)], descending=True)
case("sort", lambda x: tuple(torch.sort(x, stable=True)), [d(nan, 1, -inf, 0, nan, inf, -0.0)], grad=False)
case("sort", lambda x: tuple(torch.sort(x, stable=True, descending=True)), [d(nan, 1, -inf, 0, nan, inf, -0.0)], grad=False, descending=True)
case("sort", lambda x: tuple(torch.sort(x)), [f(2, 130, low=-1e6, high=1e6)])
case("msort", torch.msort, [f(4, 3)])
case("topk", lambda x: tuple(torch.topk(x, 2, 1, False)), [f(3, 5)], k=2, dim=1, largest=False)
case("topk", lambda x: tuple(torch.topk(x, 3, 0)), [d(1, nan, 3, 2)], k=3, dim=0, grad=False)
case("topk", lambda x: tuple(torch.topk(x, 3, 0, False)), [d(1, nan, 3, 2)], k=3, dim=0, largest=False, grad=False)
for name in ("max", "min", "median", "nanmedian"):
    fn = getattr(torch, name)
    case(name, fn, [f(3, 4)])
    case(name, fn, [d(1, 2, 2, 1, 2)])
    case(name, lambda x: tuple(fn(x, 1)), [f(3, 4)], dim=[1])
    case(name, lambda x: tuple(fn(x, 0, True)), [f(3, 4, 2)], dim=[0], keepdim=True)
    case(name, lambda x: tuple(fn(x, 1)), [torch.tensor([[1, nan, 3], [2, 5, 4.0]], dtype=torch.float64)], dim=[1], grad=False)
case("aminmax", lambda x: (torch.amin(x, (0, 1)), torch.amax(x, (0, 1))), [f(3, 4)])
case("aminmax", lambda x: (torch.amin(x, 1, True), torch.amax(x, 1, True)), [f(3, 4)], dim=[1], keepdim=True)
for name in ("argmax", "argmin"):
    case(name, getattr(torch, name), [f(3, 4)], grad=False)
    case(name, lambda x: getattr(torch, name)(x, dim=None, keepdim=True), [f(3, 4)], grad=False, keepdim=True) if torch.__version__ >= "2" else None
for k in (1, 3):
    case("kthvalue", lambda x: tuple(torch.kthvalue(x, k, 0)), [f(4, 5)], k=k, dim=0)
case("kthvalue", lambda x: tuple(torch.kthvalue(x, 2, -1, True)), [f(4, 5)], k=2, dim=-1, keepdim=True)
case("mode", lambda x: tuple(torch.mode(x, 1)), [whole(3, 4, 9)], dim=1)
case("mode", lambda x: tuple(torch.mode(x, 0, True)), [whole(3, 9, 2).double()], dim=0, keepdim=True)
for name in ("quantile", "nanquantile"):
    fn = getattr(torch, name)
    for way in ("linear", "lower", "higher", "nearest", "midpoint"):
        case(name, lambda x, q: fn(x, q, interpolation=way), [f(3, 4), torch.tensor(0.37, dtype=torch.float64)], interpolation=way)
        case(name, lambda x, q: fn(x, q.detach(), dim=1, keepdim=True, interpolation=way), [f(3, 6), d(0.1, 0.52, 1)], dim=[1], keepdim=True, interpolation=way, grad=False)
    case(name, lambda x, q: fn(x, q, dim=0), [f(5, 2), d(0.15, 0.62)], dim=[0])
    case(name, lambda x, q: fn(x, q, dim=0), [torch.tensor([[1, nan], [2, 3], [nan, 5], [7, 4.0]], dtype=torch.float64), d(0.2, 0.7)], dim=[0], grad=False)
for name in ("cummax", "cummin"):
    for dim in (0, 1):
        case(name, lambda x: tuple(getattr(torch, name)(x, dim)), [f(4, 5)], dim=dim)
    case(name, lambda x: tuple(getattr(torch, name)(x, 0)), [d(1, 1, nan, 2, nan, 0)], dim=0, grad=False)
    case(name, lambda x: tuple(getattr(torch, name)(x, 1)), [whole(4, 2, 9)], dim=1)

# ---- Counting ----
t = whole(4, 3, 5)
case("unique", torch.unique, [t])
case("unique", lambda x: tuple(torch.unique(x, return_inverse=True, return_counts=True)), [t.double()], return_inverse=True, return_counts=True, grad=False)
case("unique", lambda x: tuple(torch.unique(x, return_counts=True)), [t], return_counts=True)
case("unique", lambda x: tuple(torch.unique(x, return_inverse=True, return_counts=True, dim=0)), [whole(2, 9, 2)], return_inverse=True, return_counts=True, dim=[0])
case("unique", lambda x: torch.unique(x, dim=1), [whole(2, 2, 9)], dim=[1])
case("unique_consecutive", lambda x: tuple(torch.unique_consecutive(x, return_inverse=True, return_counts=True)), [whole(2, 3, 5)], return_inverse=True, return_counts=True)
case("unique_consecutive", lambda x: torch.unique_consecutive(x, dim=1), [whole(2, 2, 9)], dim=[1])
case("bincount", torch.bincount, [whole(6, 20)])
case("bincount", lambda x, w: torch.bincount(x, w.detach(), 9), [whole(6, 20), f(20)], minlength=9, grad=False)
case("histc", lambda x: torch.histc(x, 5), [f(30)], bins=5, grad=False)
case("histc", lambda x: torch.histc(x, 4, -1, 1), [f(5, 6)], bins=4, min=-1.0, max=1.0, grad=False)
case("histogram", lambda x: tuple(torch.histogram(x, 5)), [f(30)], bins=5, grad=False)
case("histogram", lambda x, b: tuple(torch.histogram(x, b)), [f(30), d(-2, -1, 0.5, 1.5)], grad=False)
case("histogram", lambda x, n, w: tuple(torch.histogram(x, 4, range=(-1, 1.5), weight=w, density=True)), [f(30), None, f(30, low=0.1)], bins=4, range_min=-1.0, range_max=1.5, density=True, grad=False)
s = torch.sort(f(3, 6).mul(4).round())[0]
for right in (False, True):
    case("searchsorted", lambda a, v: torch.searchsorted(a, v, right=right), [s, f(3, 4).mul(4).round()], right=right, grad=False)
    case("searchsorted", lambda a, v: torch.searchsorted(a, v, right=right, out_int32=True), [s[0], f(2, 3).mul(4).round()], right=right, out_int32=True, grad=False)
    case("bucketize", lambda v, a: torch.bucketize(v, a, right=right), [f(2, 3).mul(4).round(), s[1]], right=right, grad=False)
    case("isin", lambda a, b: torch.isin(a, b, invert=right), [whole(9, 3, 4), whole(9, 4)], invert=right)

# ---- Reductions ----
for p in (0.0, 0.5, 1.0, 2.0, 3.0, -1.5, inf, -inf):
    case("norm", lambda x: torch.linalg.vector_norm(x, p), [f(3, 4)], p=p)
    case("norm", lambda x: torch.linalg.vector_norm(x, p, (0, 2), True), [f(3, 4, 2)], p=p, dims=[0, 2], keepdim=True)
for p in (1.0, 2.0, 3.0, inf):
    case("dist", lambda a, b: torch.dist(a, b, p), [f(3, 4), f(4)], p=p)
    case("cdist", lambda a, b: torch.cdist(a, b, p, "donot_use_mm_for_euclid_dist"), [f(2, 3, 4), f(2, 5, 4)], p=p)
    case("pairwise_distance", lambda a, b: F.pairwise_distance(a, b, p, keepdim=True), [f(3, 4), f(3, 4)], p=p, keepdim=True)
    case("normalize", lambda x: F.normalize(x, p, 0), [f(3, 4)], p=p, dim=0)
    if p < 9:
        case("renorm", lambda x: torch.renorm(x, p, 1, 2.5), [f(3, 4, 2)], p=p, dim=1, maxnorm=2.5)
case("cosine_similarity", F.cosine_similarity, [f(3, 4), f(3, 4)])
case("cosine_similarity", lambda a, b: F.cosine_similarity(a, b, -1), [f(2, 1, 4), f(3, 4)], dim=-1)
holes = torch.tensor([[1, nan, 3], [nan, nan, 4.0]], dtype=torch.float64)
case("nansum", lambda x: torch.nansum(x, 0), [holes], dims=[0])
case("nansum", torch.nansum, [f(3, 4)])
case("nanmean", lambda x: torch.nanmean(x, 1, keepdim=True), [holes], dims=[1], keepdim=True)
case("nanmean", torch.nanmean, [f(3, 4)])
case("var_mean", lambda x: tuple(torch.var_mean(x, (0, 2), unbiased=False, keepdim=True)), [f(3, 4, 2)], dims=[0, 2], correction=0, keepdim=True)
case("std_mean", lambda x: tuple(torch.std_mean(x, 1)), [f(3, 4)], dims=[1])
case("count_nonzero", lambda x: torch.count_nonzero(x, 1), [whole(2, 3, 4)], dims=[1])
case("count_nonzero", torch.count_nonzero, [d(0, nan, 1, -0.0)], grad=False)
for dim in (0, 1):
    case("cumprod", lambda x: torch.cumprod(x, dim), [f(3, 6)], dim=dim)
    case("logcumsumexp", lambda x: torch.logcumsumexp(x, dim), [f(3, 6, low=-30, high=30)], dim=dim)
case("cumprod", lambda x: torch.cumprod(x, 0), [d(2, 0, 3, 0, 4)], dim=0)
case("cumprod", lambda x: torch.cumprod(x, 1), [whole(5, 2, 5)], dim=1)
case("diff", torch.diff, [f(3, 4)])
case("diff", lambda x: torch.diff(x, 2, 0), [f(5, 2)], n=2, dim=0)
case("diff", lambda x, a, b: torch.diff(x, 1, 1, a, b), [f(2, 3), f(2, 1), f(2, 2)], n=1, dim=1)
case("diff", torch.diff, [flags(3, 5)])
for name in ("trapezoid", "cumulative_trapezoid"):
    fn = getattr(torch, name)
    case(name, lambda y: fn(y, dx=0.5, dim=0), [f(4, 3)], dx=0.5, dim=0)
    case(name, lambda y, x: fn(y, x), [f(3, 4), f(4)])
    case(name, lambda y, x: fn(y, x), [f(3, 4), f(3, 4)])
case("cov", torch.cov, [f(3, 5)])
case("cov", torch.cov, [f(5)])
case("cov", lambda x, k, w: torch.cov(x, correction=0, fweights=k, aweights=w.detach()), [f(2, 4), i(1, 2, 1, 3), f(4, low=0.5, high=2)], correction=0, grad=False)
case("cov", lambda x, n, w: torch.cov(x, aweights=w), [f(2, 4), None, f(4, low=0.5, high=2)])
case("corrcoef", torch.corrcoef, [f(3, 6)])
case("corrcoef", torch.corrcoef, [f(5)])
finish()
