#!/usr/bin/env python3
"""Writes tests/golden/nn.txt: what PyTorch's layers give for networks of tests/test_nn.c.

Run with Debian's python3-torch: /usr/bin/python3 tools/golden_nn.py > tests/golden/nn.txt

For each network:
  net DESCRIPTION | input shape
  param NAME n sum(|gradient|) first(gradient)     for each parameter, of the sum of squares of the output in train mode
  train y0 … y5 | sum                              the first outputs in train mode
  eval y0 … y5 | sum                               then in eval mode
  buffer NAME b0 …                                 after both
Element i of the k-th parameter (from 0) is sin(k + 1 + 0.37 i) / 2, of the input sin(0.1 i), all in f64."""
import torch
from torch import nn

torch.set_default_dtype(torch.float64)


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


NETS = [
    ("conv 4 3 same relu, maxpool 2, flatten, linear 3", (2, 3, 6, 6),
     nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))),
    ("conv 3 2 same, conv 4 4x2 dilation 1x2 same nobias tanh, gap, flatten", (2, 2, 5, 6),
     nn.Sequential(nn.Conv2d(2, 3, 2, padding="same"), nn.Conv2d(3, 4, (4, 2), dilation=(1, 2), padding="same", bias=False), nn.Tanh(),
                   nn.AdaptiveAvgPool2d(1), nn.Flatten())),
    ("conv 4 3 stride 2x1 pad 1x0 groups 2, avgpool 3 stride 2 pad 1, adaptiveavgpool 2x1, flatten", (2, 4, 8, 7),
     nn.Sequential(nn.Conv2d(4, 4, 3, stride=(2, 1), padding=(1, 0), groups=2), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten())),
    ("conv 4 3 nobias, batchnorm relu, residual(conv 4 3 pad 1, batchnorm), flatten, linear 2", (3, 1, 5, 5),
     nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), Residual(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)),
                   nn.Flatten(), nn.Linear(36, 2))),
    ("linear 5 leakyrelu 0.2, batchnorm elu 0.7, layernorm, linear 4 gelu, linear 4 silu, linear 3 softplus, linear 3 sigmoid, linear 3 "
     "hardtanh -0.5 0.6, linear 3 logsoftmax", (4, 6),
     nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.2), nn.BatchNorm1d(5), nn.ELU(0.7), nn.LayerNorm(5), nn.Linear(5, 4), nn.GELU(),
                   nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 3),
                   nn.Hardtanh(-0.5, 0.6), nn.Linear(3, 3), nn.LogSoftmax(-1))),
    ("linear 3 nobias softmax 1", (2, 4), nn.Sequential(nn.Linear(4, 3, bias=False), nn.Softmax(1))),
]


def numbers(t):
    return " ".join(f"{v:.17g}" for v in t.flatten().tolist())


for text, shape, net in NETS:
    print("net", text, "|", *shape)
    for k, p in enumerate(net.parameters()):
        p.data = (torch.sin(k + 1 + 0.37 * torch.arange(p.numel())) / 2).reshape(p.shape)
    n = 1
    for s in shape:
        n *= s
    x = torch.sin(0.1 * torch.arange(n)).reshape(shape)
    y = net(x)
    (y * y).sum().backward()
    for name, p in net.named_parameters():
        print("param", name, p.numel(), f"{p.grad.abs().sum().item():.17g} {p.grad.flatten()[0].item():.17g}")
    print("train", numbers(y.flatten()[:6]), "|", numbers(y.sum()))
    net.eval()
    y = net(x)
    print("eval", numbers(y.flatten()[:6]), "|", numbers(y.sum()))
    for name, b in net.named_buffers():
        print("buffer", name, numbers(b))
