#!/usr/bin/env python3
"""Writes tests/golden/sequence.txt.gz: what PyTorch's sequence modules give, for tests/test_sequence.c.

Run with Debian's python3-torch: /usr/bin/python3 tools/golden_sequence.py

Each case, all in f64:
  case NAME
  out y …           every output in row-major order, one line each
  in g …            gradient of the sum of output * w for each input that has one, w_i = 0.5 + 0.25 cos(1 + 1.7 i)
  param NAME g …    and for each parameter
Element i of the k-th parameter (from 1) is sin(k + 0.37 i) * 0.3, of the k-th input sin(0.1 i + k) (k from 0)."""
import gzip
import io
import os

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.set_default_dtype(torch.float64)
lines = []


def sines(shift, step, factor, shape):
    n = 1
    for s in shape:
        n *= s
    return (torch.sin(shift + step * torch.arange(n)) * factor).reshape(shape)


def given(k, *shape):
    return sines(k, 0.1, 1.0, shape).requires_grad_()


def row(word, t):
    lines.append(word + " " + " ".join("%.12g" % v for v in t.detach().flatten().tolist()))


def prepare(m):
    for k, p in enumerate(m.parameters()):
        p.data = sines(k + 1, 0.37, 0.3, tuple(p.shape))
    return m


def case(name, m, fn, *inputs):
    prepare(m)
    outs = fn(m, *inputs)
    outs = outs if isinstance(outs, tuple) else (outs,)
    lines.append("case " + name)
    total = 0
    for o in outs:
        row("out", o)
        i = torch.arange(o.numel())
        total = total + (o * (0.5 + 0.25 * torch.cos(1 + 1.7 * i)).reshape(o.shape)).sum()
    total.backward()
    for x in inputs:
        if x.requires_grad:
            row("in", x.grad)
    for n, p in m.named_parameters():
        row("param " + n, p.grad if p.grad is not None else torch.zeros_like(p))


# ---- Recurrent layers ----
LENGTHS = torch.tensor([5, 2, 4])
for kind in ("RNN", "LSTM", "GRU"):
    cls = getattr(nn, kind)

    def flat(o):
        y, h = o
        return (y,) + (tuple(h) if isinstance(h, tuple) else (h,))

    def states(n, batch, hidden):
        return [given(k + 1, n, batch, hidden) for k in range(2 if kind == "LSTM" else 1)]

    def pack(hs):
        return tuple(hs) if kind == "LSTM" else hs[0]

    case(kind + " plain", cls(3, 4), lambda m, x: flat(m(x)), given(0, 5, 2, 3))
    case(kind + " deep", cls(3, 4, num_layers=2, bidirectional=True, batch_first=True), lambda m, x, *h: flat(m(x, pack(h))), given(0, 3, 5, 3), *states(4, 3, 4))
    case(kind + " nobias", cls(3, 4, num_layers=2, bias=False), lambda m, x: flat(m(x)), given(0, 5, 2, 3))

    def packed(m, x, *h):
        y, last = m(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False), pack(h))
        return flat((pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], last))

    case(kind + " lengths", cls(3, 4, num_layers=2, bidirectional=True, batch_first=True), packed, given(0, 3, 5, 3), *states(4, 3, 4))
    case(kind + " unbatched", cls(3, 4), lambda m, x: flat(m(x)), given(0, 5, 3))
case("RNN relu", nn.RNN(3, 4, nonlinearity="relu"), lambda m, x: m(x), given(0, 5, 2, 3))
case("RNNCell", nn.RNNCell(3, 4), lambda m, x, h: m(x, h), given(0, 2, 3), given(1, 2, 4))
case("LSTMCell", nn.LSTMCell(3, 4), lambda m, x, h, c: m(x, (h, c)), given(0, 2, 3), given(1, 2, 4), given(2, 2, 4))
case("GRUCell", nn.GRUCell(3, 4), lambda m, x, h: m(x, h), given(0, 2, 3), given(1, 2, 4))

# ---- Embeddings ----
TOKENS = torch.tensor([[1, 0, 4], [2, 2, 0]])
case("Embedding", nn.Embedding(5, 3), lambda m: m(TOKENS))
case("Embedding pad", nn.Embedding(5, 3, padding_idx=2), lambda m: m(TOKENS))
case("Embedding max_norm", nn.Embedding(5, 3, max_norm=0.3), lambda m: m(TOKENS))
for mode in ("mean", "sum", "max"):
    case("EmbeddingBag " + mode, nn.EmbeddingBag(5, 3, mode=mode), lambda m: m(TOKENS))
    case("EmbeddingBag pad " + mode, nn.EmbeddingBag(5, 3, mode=mode, padding_idx=0), lambda m: m(TOKENS))
    case("EmbeddingBag offsets " + mode, nn.EmbeddingBag(5, 3, mode=mode), lambda m: m(TOKENS.flatten(), torch.tensor([0, 2, 2])))
case("EmbeddingBag weights", nn.EmbeddingBag(5, 3, mode="sum"), lambda m, w: m(TOKENS, per_sample_weights=w), given(0, 2, 3))

# ---- Attention ----
PAD = torch.tensor([[False, False, False, True, True], [False, False, False, False, True]])
CAUSAL = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
FLOAT = sines(0.5, 0.3, 1.0, (5, 5))
HEADS = torch.sin(torch.arange(2 * 2 * 4 * 5)).reshape(4, 4, 5) > 0.8
x, m_, v_ = (lambda: given(0, 2, 5, 6)), (lambda: given(1, 2, 5, 6)), (lambda: given(2, 2, 5, 6))
mha = lambda **o: nn.MultiheadAttention(6, 2, batch_first=True, **o)
case("MHA self", mha(), lambda m, q: m(q, q, q), x())
case("MHA first", nn.MultiheadAttention(6, 2), lambda m, q, k, v: m(q, k, v), given(0, 4, 2, 6), given(1, 5, 2, 6), given(2, 5, 2, 6))
case("MHA nobias", mha(bias=False), lambda m, q, k, v: m(q, k, v)[0], x(), m_(), v_())
case("MHA pad", mha(), lambda m, q: m(q, q, q, key_padding_mask=PAD), x())
case("MHA causal", mha(), lambda m, q: m(q, q, q, attn_mask=CAUSAL, key_padding_mask=PAD)[0], x())
case("MHA float", mha(), lambda m, q: m(q, q, q, attn_mask=FLOAT, key_padding_mask=PAD)[0], x())
case("MHA heads", mha(), lambda m, q, k, v: m(q, k, v, attn_mask=HEADS)[0], given(0, 2, 4, 6), m_(), v_())
case("MHA kdim", mha(kdim=3, vdim=4), lambda m, q, k, v: m(q, k, v)[0], x(), given(1, 2, 5, 3), given(2, 2, 5, 4))
case("MHA unbatched", mha(), lambda m, q: m(q, q, q), given(0, 5, 6))

# ---- Transformers ----
for norm_first in (False, True):
    tag = " normfirst" if norm_first else ""
    o = dict(dim_feedforward=7, dropout=0.0, batch_first=True, norm_first=norm_first)
    case("Encoder" + tag, nn.TransformerEncoderLayer(6, 2, activation="gelu", **o), lambda m, q: m(q, src_mask=CAUSAL, src_key_padding_mask=PAD), x())
    case("Decoder" + tag, nn.TransformerDecoderLayer(6, 2, **o), lambda m, q, k: m(q, k, tgt_mask=CAUSAL[:4, :4], memory_key_padding_mask=PAD), given(0, 2, 4, 6), m_())
o = dict(dim_feedforward=7, dropout=0.0)
case("Encoder stack", nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, **o), 2, nn.LayerNorm(6)), lambda m, q: m(q, mask=CAUSAL), given(0, 5, 2, 6))
case("Decoder stack", nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 2, **o), 2), lambda m, q, k: m(q, k), given(0, 4, 2, 6), given(1, 5, 2, 6))

case("Decoder alone", nn.TransformerDecoderLayer(6, 2, **o), lambda m, q, k: m(q, k), given(0, 4, 2, 6), given(1, 5, 2, 6))
case("Transformer", nn.Transformer(6, 2, 1, 2, 7, 0.0, batch_first=True), lambda m, q, k: m(q, k, tgt_mask=CAUSAL[:4, :4]), given(0, 2, 5, 6), given(1, 2, 4, 6))

# ---- Two inputs ----
case("Bilinear", nn.Bilinear(5, 6, 4), lambda m, a, b: m(a, b), given(0, 2, 3, 5), given(1, 2, 3, 6))

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "sequence.txt.gz")
out = io.BytesIO()
with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, mtime=0) as z:
    z.write(("\n".join(lines) + "\n").encode())
with open(path, "wb") as f:
    f.write(out.getvalue())
print(len(lines), "lines,", len(out.getvalue()), "bytes")
