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


class Shortcut(nn.Module):
    """residual ACTIVATION (row | downsample): the row's modules are children by their place."""

    def __init__(self, row, downsample, act=None):
        super().__init__()
        self.n = len(row)
        for i, layer in enumerate(row):
            self.add_module(str(i), layer)
        self.downsample = downsample
        self.act = act

    def forward(self, x):
        y = x
        for i in range(self.n):
            y = getattr(self, str(i))(y)
        y = y + self.downsample(x)
        return self.act(y) if self.act else y


class Parallel(nn.Sequential):
    def __init__(self, *branches, add=False, dim=1):
        super().__init__(*branches)
        self.add, self.dim = add, dim

    def forward(self, x):
        out = [branch(x) for branch in self]
        return sum(out[1:], out[0]) if self.add else torch.cat(out, self.dim)


class RMSNorm(nn.Module):
    """torch.nn.RMSNorm, which 1.13 does not have."""

    def __init__(self, shape, eps=None, affine=True):
        super().__init__()
        self.dims = tuple(range(-len(shape), 0))
        self.eps = torch.finfo(torch.float64).eps if eps is None else eps
        self.weight = nn.Parameter(torch.ones(shape)) if affine else None

    def forward(self, x):
        y = x * torch.rsqrt((x * x).mean(self.dims, keepdim=True) + self.eps)
        return y if self.weight is None else y * self.weight


class Reshape(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.sizes = sizes

    def forward(self, x):
        return x.reshape(x.shape[0], *self.sizes)


class NoBias(nn.Module):
    """LayerNorm without a bias, which 1.13 does not have."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return nn.functional.layer_norm(x, self.weight.shape, self.weight)


class TiedAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.code = nn.Linear(6, 4)
        self.decoder = nn.Module()
        self.decoder.bias = nn.Parameter(torch.zeros(6))

    def forward(self, x):
        return nn.functional.linear(torch.tanh(self.code(x)), self.code.weight.t(), self.decoder.bias)


class TiedConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.up = nn.Module()
        self.up.bias = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return nn.functional.conv_transpose2d(self.down(x), self.down.weight, self.up.bias, stride=2, padding=1, output_padding=1)


class Unpool(nn.Module):
    """Convolution, pooling with places, another convolution, unpooling."""

    def __init__(self, conv, pool, second, unpool):
        super().__init__()
        self.add_module("0", conv)
        self.pool = pool
        self.add_module("2", second)
        self.unpool = unpool

    def forward(self, x):
        x = getattr(self, "0")(x)
        y, places = self.pool(x)
        return self.unpool(getattr(self, "2")(y), places, x.shape)


class BasicBlock(nn.Module):
    """torchvision's block, which gives the tensors their names."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout)) if stride > 1 else None

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (self.downsample(x) if self.downsample else x))


class SmallResnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(BasicBlock(4, 4, 1), BasicBlock(4, 6, 2))
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = self.layer1(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class Circular(nn.Module):
    """nn.CircularPad2d, which 1.13 does not have."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def forward(self, x):
        return nn.functional.pad(x, (self.n,) * 4, mode="circular")


def S(*layers):
    return nn.Sequential(*layers)


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
    # Convolutions over one and three axes, transposed
    ("conv1d 4 3 stride 2 pad 1, conv1d 6 2 dilation 2 groups 2 nobias tanh, conv1d 2 3 same", (2, 3, 11),
     S(nn.Conv1d(3, 4, 3, 2, 1), nn.Conv1d(4, 6, 2, dilation=2, groups=2, bias=False), nn.Tanh(), nn.Conv1d(6, 2, 3, padding="same"))),
    ("conv3d 3 2x3x2 stride 1x2x1 pad 1x0x1, conv3d 2 3 same nobias tanh, conv3d 2 2 same", (2, 2, 3, 5, 4),
     S(nn.Conv3d(2, 3, (2, 3, 2), (1, 2, 1), (1, 0, 1)), nn.Conv3d(3, 2, 3, padding="same", bias=False), nn.Tanh(),
       nn.Conv3d(2, 2, 2, padding="same"))),
    ("convtranspose 4 3 stride 2x1 pad 1x0 outpad 1x0, convtranspose 2 2 groups 2 nobias dilation 1x2", (2, 3, 3, 4),
     S(nn.ConvTranspose2d(3, 4, 3, (2, 1), (1, 0), (1, 0)), nn.ConvTranspose2d(4, 2, 2, groups=2, bias=False, dilation=(1, 2)))),
    ("convtranspose1d 3 3 stride 3 pad 1 outpad 2 relu, convtranspose1d 2 2", (2, 2, 4),
     S(nn.ConvTranspose1d(2, 3, 3, 3, 1, 2), nn.ReLU(), nn.ConvTranspose1d(3, 2, 2))),
    ("convtranspose3d 2 2x2x3 stride 2x1x2 nobias", (1, 3, 2, 3, 2), S(nn.ConvTranspose3d(3, 2, (2, 2, 3), (2, 1, 2), bias=False))),
    # Pooling
    ("conv1d 4 1, maxpool1d 3 stride 2 pad 1, avgpool1d 2 stride 1 pad 1 excludepad, maxpool1d 2 dilation 2 ceil stride 3", (2, 2, 17),
     S(nn.Conv1d(2, 4, 1), nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(2, 1, 1, count_include_pad=False),
       nn.MaxPool1d(2, 3, dilation=2, ceil_mode=True))),
    ("conv 3 1, maxpool 3x2 stride 2x1 pad 1x0 ceil, avgpool 2x3 stride 2 ceil excludepad pad 0x1, adaptivemaxpool 2x3", (2, 2, 11, 9),
     S(nn.Conv2d(2, 3, 1), nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True), nn.AvgPool2d((2, 3), 2, (0, 1), True, False),
       nn.AdaptiveMaxPool2d((2, 3)))),
    ("conv 3 1, avgpool 2 divisor 3, maxpool 2 dilation 2 stride 1, gmp", (2, 2, 10, 9),
     S(nn.Conv2d(2, 3, 1), nn.AvgPool2d(2, divisor_override=3), nn.MaxPool2d(2, 1, dilation=2), nn.AdaptiveMaxPool2d(1))),
    ("conv3d 2 1, maxpool3d 2x3x2 stride 1 pad 1, avgpool3d 2 excludepad pad 1, adaptiveavgpool3d 2x1x2", (2, 2, 4, 5, 6),
     S(nn.Conv3d(2, 2, 1), nn.MaxPool3d((2, 3, 2), 1, 1), nn.AvgPool3d(2, None, 1, count_include_pad=False), nn.AdaptiveAvgPool3d((2, 1, 2)))),
    ("conv3d 3 1, adaptivemaxpool3d 2", (2, 2, 3, 5, 4), S(nn.Conv3d(2, 3, 1), nn.AdaptiveMaxPool3d(2))),
    ("conv1d 3 1, adaptiveavgpool1d 4, adaptivemaxpool1d 2", (2, 2, 9), S(nn.Conv1d(2, 3, 1), nn.AdaptiveAvgPool1d(4), nn.AdaptiveMaxPool1d(2))),
    ("conv 3 1, maxpool 3x2 stride 2 pad 1 places as pool, conv 3 1, maxunpool tied pool", (2, 2, 7, 6),
     Unpool(nn.Conv2d(2, 3, 1), nn.MaxPool2d((3, 2), 2, 1, return_indices=True), nn.Conv2d(3, 3, 1), nn.MaxUnpool2d((3, 2), 2, 1))),
    ("conv1d 3 1, maxpool1d 2 places as pool, conv1d 3 1, maxunpool tied pool", (2, 2, 7),
     Unpool(nn.Conv1d(2, 3, 1), nn.MaxPool1d(2, return_indices=True), nn.Conv1d(3, 3, 1), nn.MaxUnpool1d(2))),
    ("conv3d 3 1, maxpool3d 2x1x2 places as pool, conv3d 3 1, maxunpool tied pool", (2, 2, 4, 3, 4),
     Unpool(nn.Conv3d(2, 3, 1), nn.MaxPool3d((2, 1, 2), return_indices=True), nn.Conv3d(3, 3, 1), nn.MaxUnpool3d((2, 1, 2)))),
    ("conv 2 1 sigmoid, lppool 2 3x2 stride 2 ceil", (2, 2, 6, 7), S(nn.Conv2d(2, 2, 1), nn.Sigmoid(), nn.LPPool2d(2, (3, 2), 2, True))),
    ("conv1d 2 1 sigmoid, lppool1d 3 2", (2, 2, 8), S(nn.Conv1d(2, 2, 1), nn.Sigmoid(), nn.LPPool1d(3, 2))),
    # Normalisation
    ("conv 3 1, batchnorm eps 0.01 momentum 0.3, batchnorm noaffine, batchnorm notrack, batchnorm cumulative", (3, 2, 3, 4),
     S(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, 0.01, 0.3), nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, track_running_stats=False),
       nn.BatchNorm2d(3, momentum=None))),
    ("conv3d 3 1, batchnorm relu", (3, 2, 2, 3, 2), S(nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3), nn.ReLU())),
    ("conv 6 1, groupnorm 3 tanh, groupnorm 2 eps 0.1 noaffine, groupnorm 1", (2, 2, 3, 4),
     S(nn.Conv2d(2, 6, 1), nn.GroupNorm(3, 6), nn.Tanh(), nn.GroupNorm(2, 6, 0.1, False), nn.GroupNorm(1, 6))),
    ("conv 3 1, instancenorm, instancenorm affine track momentum 0.2, instancenorm affine eps 0.1 relu", (3, 2, 3, 4),
     S(nn.Conv2d(2, 3, 1), nn.InstanceNorm2d(3), nn.InstanceNorm2d(3, momentum=0.2, affine=True, track_running_stats=True),
       nn.InstanceNorm2d(3, 0.1, affine=True), nn.ReLU())),
    ("conv1d 3 1, instancenorm track", (2, 2, 5), S(nn.Conv1d(2, 3, 1), nn.InstanceNorm1d(3, track_running_stats=True))),
    ("linear 6, layernorm eps 0.1, linear 4, layernorm noaffine, linear 5, layernorm nobias, linear 4, layernorm dims 2", (2, 3, 4),
     S(nn.Linear(4, 6), nn.LayerNorm(6, 0.1), nn.Linear(6, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 5), NoBias(5),
       nn.Linear(5, 4), nn.LayerNorm((3, 4)))),
    ("linear 6, rmsnorm, linear 4, rmsnorm eps 0.1 noaffine, rmsnorm dims 2", (2, 3, 4),
     S(nn.Linear(4, 6), RMSNorm((6,)), nn.Linear(6, 4), RMSNorm((4,), 0.1, False), RMSNorm((3, 4)))),
    ("conv 5 1, localresponsenorm 3, localresponsenorm 2 alpha 0.5 beta 0.6 k 2", (2, 2, 3, 4),
     S(nn.Conv2d(2, 5, 1), nn.LocalResponseNorm(3), nn.LocalResponseNorm(2, 0.5, 0.6, 2.0))),
    # Shapes and resolutions
    ("linear 12, reshape 3x2x-1, flatten from 2, unflatten 2x2 dim 2, flatten to 1, flatten", (3, 5),
     S(nn.Linear(5, 12), Reshape(3, 2, -1), nn.Flatten(2), nn.Unflatten(2, (2, 2)), nn.Flatten(0, 1), nn.Flatten())),
    ("conv 8 1, pixelshuffle 2, conv 2 1, pixelunshuffle 2", (2, 3, 3, 4),
     S(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 2, 1), nn.PixelUnshuffle(2))),
    ("conv 2 1, upsample 2, upsample size 7x5 bilinear, upsample 1.5 bilinear align", (2, 2, 3, 4),
     S(nn.Conv2d(2, 2, 1), nn.Upsample(scale_factor=2), nn.Upsample((7, 5), mode="bilinear"),
       nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True))),
    ("conv1d 2 1, upsample 2 linear, upsample size 5 exact", (2, 2, 4),
     S(nn.Conv1d(2, 2, 1), nn.Upsample(scale_factor=2, mode="linear"), nn.Upsample(5, mode="nearest-exact"))),
    ("conv3d 2 1, upsample size 3x4x5 trilinear", (1, 2, 2, 3, 2), S(nn.Conv3d(2, 2, 1), nn.Upsample((3, 4, 5), mode="trilinear"))),
    ("conv 2 1, zeropad 1, zeropad 1x0x2x-1, zeropad 1 value 0.5, reflectionpad 2, replicationpad 1x2x0x1, circularpad 1", (2, 2, 5, 4),
     S(nn.Conv2d(2, 2, 1), nn.ZeroPad2d(1), nn.ZeroPad2d((1, 0, 2, -1)), nn.ConstantPad2d(1, 0.5), nn.ReflectionPad2d(2),
       nn.ReplicationPad2d((1, 2, 0, 1)), nn.CircularPad2d(1) if hasattr(nn, "CircularPad2d") else Circular(1))),
    # Blocks
    ("conv 4 3, residual relu (conv 6 3 stride 2 pad 1, batchnorm | conv 6 1 stride 2 nobias, batchnorm), residual tanh (conv 6 1 | batchnorm)",
     (2, 1, 7, 8),
     S(nn.Conv2d(1, 4, 3), Shortcut([nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6)], S(nn.Conv2d(4, 6, 1, 2, bias=False), nn.BatchNorm2d(6)), nn.ReLU()),
       Shortcut([nn.Conv2d(6, 6, 1)], nn.BatchNorm2d(6), nn.Tanh()))),
    ("parallel(conv 2 1 relu | conv 3 3 same, batchnorm | maxpool 3 stride 1 pad 1 | identity), parallel sum(conv 2 1 | conv 2 3 same), "
     "parallel dim -1(identity | relu)", (2, 2, 4, 5),
     S(Parallel(S(nn.Conv2d(2, 2, 1), nn.ReLU()), S(nn.Conv2d(2, 3, 3, padding="same"), nn.BatchNorm2d(3)), nn.MaxPool2d(3, 1, 1), nn.Identity()),
       Parallel(nn.Conv2d(9, 2, 1), nn.Conv2d(9, 2, 3, padding="same"), add=True), Parallel(nn.Identity(), nn.ReLU(), dim=-1))),
    ("linear 4 as code tanh, linear 6 tied code as decoder", (3, 6), TiedAutoencoder()),
    ("conv 3 3 stride 2 pad 1 as down, convtranspose 2 3 stride 2 pad 1 outpad 1 tied down as up", (2, 2, 6, 4), TiedConv()),
    ("conv 4 3 pad 1 nobias as conv1, batchnorm as bn1 relu, (residual relu as relu (conv 4 3 pad 1 nobias as conv1, batchnorm as bn1 relu, "
     "conv 4 3 pad 1 nobias as conv2, batchnorm as bn2), residual relu as relu (conv 6 3 stride 2 pad 1 nobias as conv1, batchnorm as bn1 relu, "
     "conv 6 3 pad 1 nobias as conv2, batchnorm as bn2 | conv 6 1 stride 2 nobias, batchnorm)) as layer1, gap, flatten, linear 3 as fc",
     (2, 1, 6, 6), SmallResnet()),
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
