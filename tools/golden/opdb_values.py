"""Values of samples that take little room: rounded to a coarse grid, and drawn by a formula where the sample's own are plain random numbers.

op_db draws most inputs uniformly from a range; which numbers they are does not matter, their range, shape, dtype and ties do. So floats are
rounded to multiples of 1/64 (finer where that would make different numbers equal), inside the range of the original. Larger tensors
that look like plain random numbers are replaced by mix() of common.py over the same range. Everything with structure stays as it is:
indices, masks, whole numbers, sorted, symmetric, triangular, positive definite or normalised ones.
"""
import zlib

import numpy
import torch

from common import head, lines, mix, short, tensor

GRIDS = (64, 4096, 1 << 20)
DRAWN_FROM = 24  # elements


class Form:
    """How a tensor is written: ("of", q) or ("drawn", q, low, span, seed)."""

    def __init__(self, *parts):
        self.parts = parts


def on_grid(x, q):
    """x rounded to multiples of 1/q that stay between its least and its greatest value; None where that cannot be."""
    low, high = numpy.ceil(x.min() * q), numpy.floor(x.max() * q)
    if low > high:
        return None
    n = numpy.clip(numpy.rint(x * q), low, high) + 0.0  # -0 becomes 0
    return n if len(numpy.unique(n)) == len(numpy.unique(x)) else None


def plain_random(x, n, q):
    """Nothing in these numbers but that they are many, fill their range evenly and are different but for chance."""
    flat = n.reshape(-1)
    span = flat.max() - flat.min() + 1
    if flat.size < DRAWN_FROM or span < 2 or len(numpy.unique(flat)) < 0.6 * min(flat.size, span):
        return False
    if q > 1 and (span < 2 * flat.size ** 0.5 or numpy.all(flat == numpy.rint(flat / q) * q)):
        return False
    steps = numpy.diff(n, axis=-1) if n.ndim and n.shape[-1] > 2 else numpy.array([1.0, -1.0])
    if numpy.all(steps >= 0) or numpy.all(steps <= 0):
        return False
    if n.ndim >= 2 and n.shape[-1] == n.shape[-2] and n.shape[-1] > 1:
        t = n.swapaxes(-1, -2)
        if numpy.array_equal(n, t) or numpy.abs(numpy.tril(n, -1)).sum() == 0 or numpy.abs(numpy.triu(n, 1)).sum() == 0:
            return False
    for axis in range(n.ndim):
        sums = x.sum(axis)
        if sums.size > 1 and numpy.allclose(sums, sums.flat[0]):
            return False
    return True


def drawn_like(n, q, tag):
    """(numbers, how to draw them) over the range of n, all different if n's are; None when no seed of a few gives that."""
    low, span = int(n.min()), int(n.max() - n.min()) + 1
    distinct = len(numpy.unique(n)) == n.size
    for seed in range(8):
        seed = zlib.crc32(f"{tag} {seed}".encode()) % 100000
        drawn = (numpy.int64(low) + (mix(seed, n.size) % numpy.uint64(span)).astype(numpy.int64)).astype(numpy.float64)
        if not distinct or len(numpy.unique(drawn)) == n.size:
            return drawn.reshape(n.shape), Form("drawn", q, low, span, seed)
    return None


def simplify(t, keep, tag):
    """(a tensor that takes t's place, how to write it or None for its numbers)."""
    x = t.detach().to(torch.float64).numpy()
    if x.size == 0 or not numpy.isfinite(x).all() or numpy.abs(x).max() > 1e5 or (numpy.signbit(x) & (x == 0)).any():
        return t.detach().clone(), None
    for q in GRIDS if t.dtype.is_floating_point else (1,):
        n = on_grid(x, q)
        if n is None:
            continue
        form = Form("of", q) if q > 1 else None
        found = drawn_like(n, q, tag) if not keep and plain_random(x, n, q) else None
        n, form = found or (n, form)
        return torch.from_numpy(numpy.ascontiguousarray(n) / q).reshape(t.shape).to(t.dtype), form
    return t.detach().clone(), None


def write_input(t, form):
    if form is None:
        tensor("in", t)
    elif form.parts[0] == "drawn":
        lines.append(" ".join(head("in", t) + [str(p) for p in form.parts]))
    else:
        q = form.parts[1]
        lines.append(" ".join(head("in", t) + ["of", str(q)] + ["%d" % v for v in (t.to(torch.float64) * q).reshape(-1).tolist()]))
