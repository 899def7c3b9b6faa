#!/usr/bin/env python3
"""Golden cases of elementwise mathematics and activations."""
import math

import torch
import torch.nn.functional as F

from common import case, f, finish, special, whole

T = torch.tensor

def i32(t):
    return t.to(torch.int32)

def u8(t):
    return t.to(torch.uint8)

def everywhere(name, fn, low=-3.0, high=3.0, specials=True, integers=True, grad=True, **attrs):
    """One input: matrix, transposed, a number, nothing, special values, whole numbers."""
    case(name, fn, [f(3, 5, low=low, high=high)], grad=grad, **attrs)
    case(name, fn, [f(4, 3, low=low, high=high).t()], grad=grad, **attrs)
    case(name, fn, [f(low=low, high=high)], grad=grad, **attrs)
    case(name, fn, [f(2, 0, 3, low=low, high=high)], grad=grad, **attrs)
    if specials:
        case(name, fn, [special], grad=False, **attrs)
    if integers:
        case(name, lambda x: fn(x), [whole(7, 2, 3) - 3], grad=False, **attrs)

# Where torch 1.13 itself is off, the formula stands in: in f64 it rounds hardsigmoid's 1/6, celu's 1 / alpha and ldexp's log 2 to f32 in
# backward, and its trigamma and erfinv near 1 are good for 10 digits only. softshrink(NaN) is 0 and i0(inf) is NaN there: NaN and inf here.
def celu(x, alpha):
    return torch.where(x > 0, x, alpha * torch.expm1(x / alpha))


# ---- Activations ----
for name, fn in {"hardsigmoid": lambda x: F.hardtanh(x + 3, 0, 6) / 6, "selu": F.selu, "mish": F.mish, "softsign": F.softsign, "hardswish": F.hardswish,
                 "logsigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink, "silu": F.silu}.items():
    everywhere(name, fn, -4, 4, integers=False, specials=name not in ("silu",))
everywhere("relu6", F.relu6, -3, 9)
everywhere("identity", lambda x: x * 1)
for alpha in (1.0, 0.3, 2.5):
    everywhere("celu", lambda x: celu(x, alpha), integers=False, alpha=alpha)
    everywhere("elu", lambda x: F.elu(x, alpha), integers=False, alpha=alpha)
for form in ("none", "tanh"):
    everywhere("gelu", lambda x: F.gelu(x, approximate=form), integers=False, approximate=form)
for slope in (0.01, 0.1, -0.5):
    everywhere("leaky_relu", lambda x: F.leaky_relu(x, slope), integers=False, negative_slope=slope)
for beta, threshold in ((1.0, 20.0), (0.5, 1.0), (3.0, 2.0), (10.0, 20.0)):
    everywhere("softplus", lambda x: F.softplus(x, beta, threshold), integers=False, beta=beta, threshold=threshold)
for t, v in ((0.0, 0.0), (0.5, -2.0), (-1.0, 7.0)):
    everywhere("threshold", lambda x: F.threshold(x, t, v), threshold=t, value=v)
for lambd in (0.5, 0.0, 1.25):
    everywhere("hardshrink", lambda x: F.hardshrink(x, lambd), integers=False, lambd=lambd)
    everywhere("softshrink", lambda x: F.softshrink(x, lambd), integers=False, specials=False, lambd=lambd)
    case("softshrink", lambda x: F.softshrink(x, lambd), [special[:11]], grad=False, lambd=lambd)
for lower, upper in ((0.125, 1 / 3), (0.0, 0.5)):
    everywhere("rrelu", lambda x: F.rrelu(x, lower, upper, False), integers=False, lower=lower, upper=upper)
for shape, n in (((4, 3), 3), ((2, 3, 4), 3), ((2, 3, 4, 2), 1), ((5,), 1), ((), 1), ((2, 3, 0), 3), ((3, 1), 1)):
    case("prelu", F.prelu, [f(*shape), f(n, low=0.1, high=0.9)])
case("prelu", F.prelu, [special, T([0.25], dtype=torch.float64)], grad=False)
case("prelu", F.prelu, [T([0.0, -0.0, 1.0, -1.0], dtype=torch.float64), T([0.25], dtype=torch.float64)])
for shape, dim in (((3, 6), -1), ((2, 4, 3), 1), ((8,), 0), ((4, 5), 0), ((2, 0, 4), 2)):
    case("glu", lambda x: F.glu(x, dim), [f(*shape)], dim=dim)
    case("softmin", lambda x: F.softmin(x, dim), [f(*shape)], dim=dim)
for t in (0.0, 0.5):
    everywhere("step", lambda x: torch.where(x.isnan(), x, (x >= t).to(x.dtype)), grad=False, integers=False, threshold=t)
edges = T([-3.0, 3.0, 0.0, 6.0, 0.5, -0.5, 1.0, -1.0], dtype=torch.float64)
for name, fn in {"hardsigmoid": lambda x: F.hardtanh(x + 3, 0, 6) / 6, "hardswish": F.hardswish, "relu6": F.relu6, "hardshrink": F.hardshrink, "softshrink": F.softshrink,
                 "selu": F.selu, "celu": F.celu, "elu": F.elu, "leaky_relu": F.leaky_relu, "hardtanh": F.hardtanh, "relu": F.relu}.items():
    case(name, fn, [edges])

# ---- One input ----
for name, fn, low, high in (
        ("tan", torch.tan, -1.4, 1.4), ("asin", torch.asin, -0.9, 0.9), ("acos", torch.acos, -0.9, 0.9), ("atan", torch.atan, -3, 3),
        ("sinh", torch.sinh, -2, 2), ("cosh", torch.cosh, -2, 2), ("asinh", torch.asinh, -3, 3), ("acosh", torch.acosh, 1.2, 4),
        ("atanh", torch.atanh, -0.9, 0.9), ("exp2", torch.exp2, -3, 3), ("log2", torch.log2, 0.2, 4), ("log10", torch.log10, 0.2, 4),
        ("erfc", torch.erfc, -2, 5), ("erfinv", torch.erfinv, -0.99, 0.99), ("lgamma", torch.lgamma, -3.5, 6), ("digamma", torch.digamma, -3.5, 6),
        ("i0", torch.i0, -6, 6), ("i0e", torch.special.i0e, 0.1, 6), ("i1", torch.special.i1, -6, 6), ("i1e", torch.special.i1e, 0.1, 6),
        ("sinc", torch.sinc, -3, 3), ("ndtri", torch.special.ndtri, 0.01, 0.99), ("ndtr", torch.special.ndtr, -6, 6),
        ("entr", torch.special.entr, 0.1, 3), ("rad2deg", torch.rad2deg, -3, 3), ("deg2rad", torch.deg2rad, -200, 200)):
    everywhere(name, fn, low, high, integers=False, grad=name != "digamma", specials=name not in ("sinc", "i0", "i1", "i0e", "i1e"))
case("erfinv", torch.erfinv, [T([1e-9, 0.5, 0.9, -0.99, 1.0, -1.0, 1.5], dtype=torch.float64)], grad=False)
case("ndtri", torch.special.ndtri, [T([1e-300, 1e-10, 0.5, 0.25, 0.75, 1 - 1e-12, 0.0, 1.0, -1.0], dtype=torch.float64)], grad=False)
case("lgamma", torch.lgamma, [T([0.0, 1.0, 2.0, -1.0, 1e-8, 171.5, 1e10], dtype=torch.float64)], grad=False)
case("digamma", torch.digamma, [T([0.0, -0.0, 1.0, 1e-8, -0.5, 100.0, 1e10], dtype=torch.float64)], grad=False)
case("sinc", torch.sinc, [T([0.0, -0.0, 1e-9, 0.5], dtype=torch.float64)])
large = T([0.0, 1e-3, 15.0, 29.9, 30.1, 100.0, -100.0, 700.0], dtype=torch.float64)
for name, fn in {"i0": torch.i0, "i0e": torch.special.i0e, "i1": torch.special.i1, "i1e": torch.special.i1e}.items():
    case(name, fn, [large], grad=False)
for n in (0, 1, 2, 3, 5):
    fn = (lambda x: torch.special.zeta(2.0, x)) if n == 1 else lambda x: torch.polygamma(n, x)
    case("polygamma", fn, [f(3, 4, low=0.3, high=6)], grad=n > 0, n=n)
    case("polygamma", fn, [f(low=20, high=40)], grad=n > 0, n=n)
case("digamma", torch.digamma, [f(3, 4, low=0.3, high=6)], grad=False)
for p in (1, 2, 4):
    case("mvlgamma", lambda x: torch.mvlgamma(x, p), [f(3, 4, low=2, high=6)], p=p)
for name, fn in {"trunc": torch.trunc, "frac": torch.frac}.items():
    everywhere(name, fn, integers=False, specials=name == "trunc")
for name, fn in {"sgn": torch.sgn, "positive": torch.positive}.items():
    everywhere(name, fn)
for name, fn in {"isinf": torch.isinf, "isposinf": torch.isposinf, "isneginf": torch.isneginf, "signbit": torch.signbit}.items():
    everywhere(name, fn, grad=False)
everywhere("logit", torch.logit, 0.05, 0.95, integers=False)
for eps in (0.1, 1e-6):
    case("logit", lambda x: torch.logit(x, eps), [f(3, 5, low=-0.2, high=1.2)], eps=eps)
    case("logit", lambda x: torch.logit(x, eps), [special], grad=False, eps=eps)
everywhere("nan_to_num", torch.nan_to_num)
for nan, high, low in ((1.0, 2.0, -3.0), (0.5, math.inf, -9.0)):
    everywhere("nan_to_num", lambda x: torch.nan_to_num(x, nan, high, low), integers=False, nan=nan, posinf=high, neginf=low)
case("nan_to_num", lambda x: torch.nan_to_num(x, 1.0, 2.0, -3.0), [special], nan=1.0, posinf=2.0, neginf=-3.0)
for decimals in (0, 1, 3, -1):
    everywhere("round", lambda x: torch.round(x, decimals=decimals), -30, 30, integers=False, specials=False, decimals=decimals)
case("round", torch.round, [T([0.5, 1.5, 2.5, -0.5, -1.5, math.inf, math.nan], dtype=torch.float64)])
for low, high in ((-1.0, 1.0), (1.0, -1.0)):
    case("clamp", lambda x: torch.clamp(x, low, high), [f(3, 5)], min=low, max=high)
    case("clamp", lambda x: torch.clamp(x, low, high), [special], grad=False, min=low, max=high)
for dtype in (torch.int64, torch.int32, torch.uint8, torch.bool):
    case("bitwise_not", torch.bitwise_not, [whole(2 if dtype == torch.bool else 99, 3, 4).to(dtype)])
case("bitwise_not", torch.bitwise_not, [whole(99, 3, 4) - 50])

# ---- Two inputs ----
shapes = [((2, 3, 4), (2, 3, 4)), ((2, 1, 4), (3, 1)), ((4,), (2, 4)), ((), (3,)), ((0, 2), (2,)), ((), ())]

def pairs(name, fn, low=-3.0, high=3.0, low2=None, high2=None, specials=True, grad=True, **attrs):
    for a, b in shapes:
        case(name, fn, [f(*a, low=low, high=high), f(*b, low=low if low2 is None else low2, high=high if high2 is None else high2)], grad=grad, **attrs)
    if specials:
        case(name, fn, [special, special.flip(0)], grad=False, **attrs)
        case(name, fn, [special.reshape(12, 1), special], grad=False, **attrs)

for name, fn in {"atan2": torch.atan2, "hypot": torch.hypot, "copysign": torch.copysign, "logaddexp": torch.logaddexp, "logaddexp2": torch.logaddexp2,
                 "fmax": torch.fmax, "fmin": torch.fmin, "true_divide": torch.true_divide, "rsub": torch.rsub}.items():
    pairs(name, fn)
pairs("xlogy", torch.xlogy, -2, 2, 0.2, 3)
pairs("xlog1py", torch.special.xlog1py, -2, 2, -0.8, 3)
case("xlogy", torch.xlogy, [T([0.0, 0.0, 0.0, 2.0], dtype=torch.float64), T([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)])
case("zeta", lambda a, b: torch.special.zeta(a.detach(), b), [f(3, 4, low=1.5, high=5), f(4, low=0.3, high=5)], grad=False)
case("zeta", torch.special.zeta, [T([2.0, 3.0, 2.0, 4.0, 1.0, 0.5, 60.0], dtype=torch.float64), T([1.0, -0.5, -1.0, -2.5, 2.0, 1.0, 1.0], dtype=torch.float64)], grad=False)
pairs("fmod", torch.fmod, -5, 5, 0.5, 3)
pairs("remainder", torch.remainder, -5, 5, -3, -0.5)
pairs("floor_divide", torch.floor_divide, -9, 9, 0.5, 2, grad=False)
pairs("nextafter", torch.nextafter, grad=False)
pairs("float_power", torch.float_power, 0.3, 2, -2, 2)
pairs("ldexp", lambda a, b: a * torch.pow(T(2.0, dtype=torch.float64), b))
pairs("heaviside", torch.heaviside, grad=False, specials=False)
case("heaviside", torch.heaviside, [special, T([0.5], dtype=torch.float64).expand(12).contiguous()], grad=False)
pairs("clamp_min", torch.clamp_min)
pairs("clamp_max", torch.clamp_max)
ties = T([1.0, 2.0, -0.0, 3.0], dtype=torch.float64)
for name, fn in {"fmax": torch.fmax, "fmin": torch.fmin, "clamp_min": torch.clamp_min, "clamp_max": torch.clamp_max}.items():
    case(name, fn, [ties, ties.clone()])
    case(name, fn, [whole(9, 3, 4) - 4, whole(9, 4) - 4])
for alpha in (2.0, -0.5):
    pairs("rsub", lambda a, b: torch.rsub(a, b, alpha=alpha), specials=False, alpha=alpha)
case("rsub", lambda a, b: torch.rsub(a, b, alpha=2), [whole(9, 3, 4), whole(9, 4)], alpha=2)
for mode in ("none", "trunc", "floor"):
    how = None if mode == "none" else mode
    pairs("div_mode", lambda a, b: torch.div(a, b, rounding_mode=how), -9, 9, 0.5, 2, rounding_mode=mode)
    pairs("div_mode", lambda a, b: torch.div(a, b, rounding_mode=how), -9, 9, -2, -0.5, specials=False, rounding_mode=mode)
    case("div_mode", lambda a, b: torch.div(a.double() if how is None else a, b.double() if how is None else b, rounding_mode=how).to(torch.float32 if how is None else a.dtype),
         [T([8, -8, 6, -6, 0]), T([2, 2, -4, 4, 5])], rounding_mode=mode)
a, b = T([7, -7, 7, -7, 0, 9, -1]), T([3, 3, -3, -3, 5, 1, 60])
for name, fn in {"fmod": torch.fmod, "remainder": torch.remainder, "floor_divide": lambda a, b: torch.div(a, b, rounding_mode="floor")}.items():
    case(name, fn, [a, b])
    case(name, fn, [i32(a), i32(b)])
    case(name, fn, [u8(a.abs()), u8(b.abs())])
    case(name, fn, [a.reshape(7, 1), b])
for name, fn in {"gcd": torch.gcd, "lcm": torch.lcm}.items():
    case(name, fn, [whole(60, 4, 5) - 30, whole(60, 5) - 30])
    case(name, fn, [T([0, 0, 12, -8]), T([0, 5, 18, 12])])
    case(name, fn, [i32(whole(60, 6)), i32(whole(60, 6))])
for name, fn in {"bitwise_and": torch.bitwise_and, "bitwise_or": torch.bitwise_or, "bitwise_xor": torch.bitwise_xor}.items():
    case(name, fn, [whole(99, 3, 4) - 50, whole(99, 4) - 50])
    case(name, fn, [u8(whole(255, 3, 4)), u8(whole(255, 3, 4))])
    case(name, fn, [whole(2, 3, 4).bool(), whole(2, 4).bool()])
    case(name, fn, [i32(whole(99, 2, 1)), i32(whole(99))])
for name, fn in {"bitwise_left_shift": torch.bitwise_left_shift, "bitwise_right_shift": torch.bitwise_right_shift}.items():
    case(name, fn, [whole(99, 3, 4) - 50, whole(20, 4)])
    case(name, fn, [i32(whole(99, 3, 4) - 50), i32(whole(20, 3, 1))])
    case(name, fn, [u8(whole(255, 5)), u8(whole(8, 5))])
case("logical_xor", torch.logical_xor, [whole(3, 4, 5).double(), whole(3, 5).double()], grad=False)
case("logical_xor", torch.logical_xor, [whole(2, 4, 5).bool(), whole(2, 4, 5).bool()])
case("logical_xor", torch.logical_xor, [special, special.flip(0)], grad=False)
for rtol, atol, nan in ((1e-5, 1e-8, False), (1e-5, 1e-8, True), (0.0, 0.5, False), (0.5, 0.0, True)):
    near = f(12, low=-1e-5, high=1e-5) + special
    attrs = dict(rtol=rtol, atol=atol, equal_nan=nan)
    case("isclose", lambda a, b: torch.isclose(*[t.contiguous() for t in torch.broadcast_tensors(a, b)], **attrs), [near, special], grad=False, **attrs)
    case("isclose", lambda a, b: torch.isclose(*[t.contiguous() for t in torch.broadcast_tensors(a, b)], **attrs), [special.reshape(12, 1), special], grad=False, **attrs)
    case("isclose", lambda a, b: torch.isclose(*[t.contiguous() for t in torch.broadcast_tensors(a, b)], **attrs), [whole(9, 3, 4), whole(9, 4)], **attrs)
    case("allclose", lambda a, b: T(torch.allclose(a, b, **attrs)), [near, special], grad=False, **attrs)
    case("allclose", lambda a, b: T(torch.allclose(a, b, **attrs)), [near[:9], special[:9]], grad=False, **attrs)
x = f(3, 4)
for other in (x.clone(), x + 1, f(4), f(3, 4)):
    case("equal", lambda a, b: T(torch.equal(a, b)), [x, other], grad=False)
case("equal", lambda a, b: T(torch.equal(a, b)), [f(0, 3), f(0, 3)], grad=False)
case("equal", lambda a, b: T(torch.equal(a, b)), [special, special], grad=False)

# ---- Three inputs ----
def clamp(x, low, high):
    """torch 1.13 does not broadcast the bounds in backward."""
    x, low, high = torch.broadcast_tensors(x, low, high)
    return torch.clamp(x, low, high)


triples = [((2, 3), (2, 3), (2, 3)), ((2, 1), (3,), ()), ((), (), ()), ((0, 3), (3,), (1,)), ((4, 1), (1, 3), (4, 3))]
for a, b, c in triples:
    case("lerp", torch.lerp, [f(*a), f(*b), f(*c, low=-0.5, high=1.5)])
    for value in (1.0, -0.25):
        case("addcmul", lambda x, u, v: torch.addcmul(x, u, v, value=value), [f(*a), f(*b), f(*c)], value=value)
        case("addcdiv", lambda x, u, v: torch.addcdiv(x, u, v, value=value), [f(*a), f(*b), f(*c, low=0.5, high=2)], value=value)
    case("clamp_tensor", clamp, [f(*a), f(*b, low=-1, high=0.5), f(*c, low=-0.5, high=1)])
case("addcmul", lambda x, u, v: torch.addcmul(x, u, v, value=3), [whole(9, 2, 3), whole(9, 3), whole(9, 2, 1)], value=3)
case("lerp", torch.lerp, [special, special.flip(0), T(0.25, dtype=torch.float64)], grad=False)
case("clamp_tensor", lambda x, lo: torch.maximum(x, lo), [f(3, 4), f(4)])
case("clamp_tensor", lambda x, lo, hi: torch.minimum(x, hi), [f(3, 4), None, f(3, 1)])
case("clamp_tensor", clamp, [whole(9, 3, 4), whole(5, 4), whole(9, 3, 1)])
case("clamp_tensor", clamp, [special, special.flip(0), T(1.0, dtype=torch.float64)], grad=False)
finish()
