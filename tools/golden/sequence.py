#!/usr/bin/env python3
"""Golden cases of recurrent operators, attention and rotary positions. Attention and rotation are written out in plain expressions: torch 1.13
has no public function for them."""
import math

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common import case, f, finish, flags

SIZES = ((4, 2, 3, 4), (5, 1, 2, 2))
MODES = {"rnn_tanh": (torch.rnn_tanh, 1), "rnn_relu": (torch.rnn_relu, 1), "lstm": (torch.lstm, 4), "gru": (torch.gru, 3)}


def sequence(name, reverse=False, batch_first=False, lengths=None):
    fn, _ = MODES[name]
    steps = 1 if batch_first else 0

    def run(x, *rest):
        rest = list(rest)
        n = 2 if name == "lstm" else 1
        states = [h.unsqueeze(0) for h in rest[:n]]
        weights = rest[n:n + 4]
        if lengths is not None:
            packed = pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)
            order = packed.sorted_indices
            h = [s.index_select(1, order) for s in states]
            out = fn(packed.data, packed.batch_sizes, h if name == "lstm" else h[0], weights, True, 1, 0.0, False, False)
            y = pad_packed_sequence(torch.nn.utils.rnn.PackedSequence(out[0], packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices),
                                    batch_first=batch_first, total_length=x.shape[steps])[0]
            return (y,) + tuple(o.index_select(1, packed.unsorted_indices).squeeze(0) for o in out[1:])
        x = x.flip(steps) if reverse else x
        out = fn(x, states if name == "lstm" else states[0], weights, True, 1, 0.0, False, False, batch_first)
        y = out[0].flip(steps) if reverse else out[0]
        return (y,) + tuple(o.squeeze(0) for o in out[1:])

    return run


for name, (_, gates) in MODES.items():
    n = 2 if name == "lstm" else 1
    cell = getattr(torch, name + "_cell")
    for t, b, i, h in SIZES:
        for reverse in (False, True):
            for first in (False, True) if t == 5 else (reverse,):
                x = f(b, t, i) if first else f(t, b, i)
                rest = [f(b, h) for _ in range(n)] + [f(gates * h, i, low=-0.7, high=0.7), f(gates * h, h, low=-0.7, high=0.7), f(gates * h), f(gates * h)]
                case(name, sequence(name, reverse, first), [x] + rest, batch_first=first, reverse=reverse)
        rest = [f(b, h) for _ in range(n)] + [f(gates * h, i, low=-0.7, high=0.7), f(gates * h, h, low=-0.7, high=0.7), f(gates * h), f(gates * h)]
        case(name + "_cell", (lambda x, h0, c0, *w: cell(x, (h0, c0), *w)) if n == 2 else (lambda x, h0, *w: cell(x, h0, *w)), [f(b, i)] + rest)
        case(name + "_cell", (lambda x, h0, c0, *w: cell(x, (h0, c0), *w)) if n == 2 else (lambda x, h0, *w: cell(x, h0, *w)), [f(b, i)] + rest[:-2])
    lengths = torch.tensor([3, 5, 1])
    rest = [f(3, 4) for _ in range(n)] + [f(gates * 4, 2), f(gates * 4, 4), f(gates * 4), f(gates * 4)]
    run = sequence(name, lengths=lengths, batch_first=True)
    case(name, lambda *a: run(*a[:-1]), [f(3, 5, 2)] + rest + [lengths], batch_first=True)


def attention(q, k, v, mask=None, causal=False, scale=0.0):
    w = (q @ k.transpose(-1, -2)) * (scale or 1 / math.sqrt(q.shape[-1]))
    if causal:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    if mask is not None and mask.dtype == torch.bool:
        w = w.masked_fill(~mask, -math.inf)
    elif mask is not None:
        w = w + mask
    return torch.softmax(w, -1) @ v


for shape, s, ev in (((2, 3, 4), 5, 4), ((2, 2, 4, 3), 4, 3), ((5, 8), 5, 2), ((1, 2, 1, 4), 6, 4)):
    lead, l, e = shape[:-2], shape[-2], shape[-1]
    q, k, v = f(*shape), f(*lead, s, e), f(*lead, s, ev)
    keep = flags(l, s)
    keep[:, 0] = True
    case("scaled_dot_product_attention", attention, [q, k, v])
    case("scaled_dot_product_attention", attention, [q, k, v, keep])
    case("scaled_dot_product_attention", attention, [q, k, v, f(l, s)])
    case("scaled_dot_product_attention", lambda q, k, v: attention(q, k, v, causal=True, scale=0.3), [q, k, v], is_causal=True, scale=0.3)
q, k, v = f(2, 6, 3, 4), f(2, 2, 5, 4), f(2, 2, 5, 4)
case("scaled_dot_product_attention", lambda q, k, v: attention(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1)), [q, k, v], enable_gqa=True)

def rotary(x, offset, base, interleaved):
    t, n = x.shape[-2], x.shape[-1]
    angle = torch.arange(offset, offset + t, dtype=torch.float64)[:, None] * base ** (-torch.arange(0, n, 2, dtype=torch.float64) / n)
    c, s = torch.cos(angle), torch.sin(angle)
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., : n // 2], x[..., n // 2:])
    parts = (a * c - b * s, b * c + a * s)
    return torch.stack(parts, -1).reshape(x.shape) if interleaved else torch.cat(parts, -1)


for shape in ((5, 4), (2, 3, 6), (2, 2, 3, 8)):
    for offset, base, interleaved in ((0, 10000.0, False), (7, 100.0, True)):
        case("rotary_embedding", lambda x: rotary(x, offset, base, interleaved), [f(*shape)], offset=offset, base=base, interleaved=interleaved)
finish()
