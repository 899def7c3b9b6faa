"""Builds a PyTorch module from a network in soma's words: those words that bench/workloads.json uses, with the same order of parameters."""
import re

import torch
import torch.nn as nn
import torch.nn.functional as F

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelutanh": lambda: nn.GELU(approximate="tanh")}


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Recurrent(nn.Module):
    """The last state of an LSTM or GRU."""

    def __init__(self, kind, features, hidden):
        super().__init__()
        self.layer = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](features, hidden, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0][:, -1]


class Attention(nn.Module):
    """Causal self-attention; the fused operator where PyTorch has it (from 2.0 on)."""

    def __init__(self, steps, features, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * features, features))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * features))
        self.out_proj = nn.Linear(features, features)
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.register_buffer("mask", torch.full((steps, steps), float("-inf")).triu(1), persistent=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if hasattr(F, "scaled_dot_product_attention") and not torch.onnx.is_in_onnx_export():
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5 + self.mask[:t, :t]).softmax(-1) @ v
        return self.out_proj(y.transpose(1, 2).reshape(b, t, d))


class LearnedPosition(nn.Module):
    def __init__(self, steps, features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(steps, features) * 0.02)

    def forward(self, x):
        return x + self.weight[: x.shape[1]]


class Block(nn.Module):
    """ResNet's, with torchvision's names."""

    def __init__(self, into, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def resnet18(classes):
    parts, into = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)], 64
    for i, out in enumerate((64, 128, 256, 512)):
        parts += [Block(into, out, 2 if i else 1), Block(out, out, 1)]
        into = out
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class Builder:
    def __init__(self, text, shape):
        self.tokens = re.findall(r"[(),]|[^\s(),]+", text)
        self.shape = list(shape)  # of one sample, after the layers so far
        self.named = {}

    def sequence(self):
        layers = []
        while self.tokens and self.tokens[0] != ")":
            layers += self.layer()
            if self.tokens and self.tokens[0] == ",":
                self.tokens.pop(0)
        return layers

    def inside(self):
        assert self.tokens.pop(0) == "("
        layers = self.sequence()
        assert self.tokens.pop(0) == ")"
        return layers

    def layer(self):
        words = []
        while self.tokens and self.tokens[0] not in "(),":
            words.append(self.tokens.pop(0))
        kind, rest = words[0], words[1:]
        if kind == "residual":
            return [Residual(nn.Sequential(*self.inside()))]
        if kind == "repeat":
            start, layers = list(self.tokens), []
            for _ in range(int(rest[0])):
                self.tokens = list(start)
                layers += self.inside()
            return layers
        made = self.single(kind, rest)
        if "as" in rest:
            self.named[rest[rest.index("as") + 1]] = made
        if "tied" in rest:
            made.weight = self.named[rest[rest.index("tied") + 1]].weight
        return [made] + [ACTIVATIONS[w]() for w in rest if w in ACTIVATIONS]

    def single(self, kind, rest):
        shape, number = self.shape, [int(w) if w.isdigit() else w for w in rest]
        if kind == "linear":
            into, self.shape = shape[-1], shape[:-1] + [number[0]]
            return nn.Linear(into, number[0], bias="nobias" not in rest)
        if kind == "conv":
            pad = "same" if "same" in rest else 0
            less = 0 if pad else number[1] - 1
            self.shape = [number[0], shape[1] - less, shape[2] - less]
            return nn.Conv2d(shape[0], number[0], number[1], padding=pad, bias="nobias" not in rest)
        if kind == "maxpool":
            self.shape = [shape[0]] + [n // number[0] for n in shape[1:]]
            return nn.MaxPool2d(number[0])
        if kind == "flatten":
            self.shape = [shape[0] * shape[1] * shape[2]]
            return nn.Flatten()
        if kind == "embedding":
            self.shape = shape + [number[1]]
            return nn.Embedding(number[0], number[1])
        if kind in ("lstm", "gru"):
            self.shape = [number[0]]
            return Recurrent(kind, shape[-1], number[0])
        simple = {"batchnorm": lambda: nn.BatchNorm2d(shape[0]), "dropout": lambda: nn.Dropout(float(rest[0])), "layernorm": lambda: nn.LayerNorm(shape[-1]),
                  "learnedposition": lambda: LearnedPosition(number[0], shape[-1]), "attention": lambda: Attention(shape[0], shape[-1], number[0]),
                  "resnet18": lambda: resnet18(number[1])}
        return simple[kind]()


def build(text, shape):
    layers = Builder(text, shape).sequence()
    return nn.Sequential(*layers) if len(layers) > 1 else layers[0]
