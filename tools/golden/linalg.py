#!/usr/bin/env python3
"""Golden cases of matrix products, einsum and linear algebra."""
import torch

from common import case, f as uniform, finish, whole


def f(*shape, low=-2.0, high=2.0):
    """Sixteenths: sums and products of them are short in decimal, which keeps the file small."""
    return torch.round(uniform(*shape, low=low, high=high) * 16) / 16


# ---- Products ----
case("mm", torch.mm, [f(3, 4), f(4, 2)])
case("mm", torch.mm, [whole(9, 3, 4), whole(9, 4, 2)])
case("bmm", torch.bmm, [f(2, 3, 4), f(2, 4, 2)])
case("mv", torch.mv, [f(3, 4), f(4)])
case("dot", torch.dot, [f(5), f(5)])
case("vdot", torch.vdot, [f(5), f(5)])
for a, b in (((2, 3), (4, 3)), ((3,), (2, 2, 3)), ((), (2,)), ((3,), (3,)), ((2, 0), (3, 0))):
    case("inner", torch.inner, [f(*a), f(*b)])
for a, b in (((2, 3), (3, 2)), ((2,), (2, 1, 2)), ((), (2, 2)), ((2, 1, 2), (3,))):
    case("kron", torch.kron, [f(*a), f(*b)])
case("cross", lambda a, b: torch.cross(a, b, dim=1), [f(2, 3), f(2, 3)], dim=1)
case("cross", lambda a, b: torch.linalg.cross(a, b, dim=0), [f(3, 1, 2), f(3, 2, 1)], dim=0)
case("cross", lambda a, b: torch.cross(a, b, dim=0), [f(3, 3), f(3, 3)])
case("tensordot", lambda a, b: torch.tensordot(a, b, 2), [f(2, 3, 4), f(3, 4, 2)])
case("tensordot", lambda a, b: torch.tensordot(a, b, 0), [f(2, 3), f(2)], dims=0)
case("tensordot", lambda a, b: torch.tensordot(a, b, ([0, 2], [1, 0])), [f(2, 3, 4), f(4, 2, 3)], dims_a=[0, 2], dims_b=[1, 0])
for beta, alpha in ((1.0, 1.0), (0.5, 2.0), (0.0, 3.0)):
    a = dict(beta=beta, alpha=alpha)
    case("addmm", lambda x, m, n: torch.addmm(x, m, n, **a), [f(2, 4), f(2, 3), f(3, 4)], **a)
    case("addmm", lambda x, m, n: torch.addmm(x, m, n, **a), [f(4), f(2, 3), f(3, 4)], **a)
    case("addmv", lambda x, m, n: torch.addmv(x, m, n, **a), [f(2), f(2, 3), f(3)], **a)
    case("addr", lambda x, m, n: torch.addr(x, m, n, **a), [f(2, 3), f(2), f(3)], **a)
    case("baddbmm", lambda x, m, n: torch.baddbmm(x, m, n, **a), [f(2, 2, 4), f(2, 2, 3), f(2, 3, 4)], **a)
    case("addbmm", lambda x, m, n: torch.addbmm(x, m, n, **a), [f(2, 4), f(2, 2, 3), f(2, 3, 4)], **a)
case("multi_dot", lambda *t: torch.linalg.multi_dot(t), [f(3, 5), f(5, 1), f(1, 4)])
case("multi_dot", lambda *t: torch.linalg.multi_dot(t), [f(3), f(3, 4), f(4, 2), f(2)])
case("vander", lambda x: torch.stack([x**i for i in range(4)], -1), [f(4)], increasing=True)
case("vander", lambda x: torch.stack([x**i for i in (2, 1, 0)], -1), [f(2, 4)], N=3)
for equation, shapes in (("ij,jk->ik", ((2, 3), (3, 4))), ("bij,bjk", ((2, 2, 3), (2, 3, 2))), ("ii", ((3, 3),)), ("bii->ib", ((2, 3, 3),)), ("ij->ji", ((2, 3),)), ("ba", ((2, 3),)),
                         ("ij,kj,ik", ((2, 3), (4, 3), (2, 4))), ("...ij,...jk", ((2, 1, 3, 2), (3, 2, 3))), ("i,j->ij", ((2,), (3,))), ("ij,ij->", ((2, 3), (2, 3))), ("ijk->j", ((2, 3, 2),)),
                         ("ij,ij->i", ((2, 3), (1, 3))), ("iij,jk->ki", ((2, 2, 3), (3, 2))), ("...,...->...", ((2, 3), (3,))), ("bqhd,bkhd->bhqk", ((2, 3, 2, 4), (2, 2, 2, 4))), ("iji,jk", ((2, 3, 2), (3, 2))),
                         ("...a,a...->...", ((2, 3), (3, 2))), ("Aa,aB", ((2, 3), (3, 2))), ("i...->...", ((2, 3, 2),))):
    case("einsum", lambda *t: torch.einsum(equation, *t), [f(*s) for s in shapes], equation=equation)

finish()
