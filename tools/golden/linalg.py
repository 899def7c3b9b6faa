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

# ---- Linear algebra ----
L = torch.linalg


def positive(*shape):
    x = f(*shape)
    return x @ x.mT + torch.eye(shape[-1], dtype=torch.float64)


def regular(*shape):
    return f(*shape) + 3 * torch.eye(shape[-1], dtype=torch.float64)


def symmetric(*shape):
    x = f(*shape)
    return x + x.mT


def turned(vectors, *more):
    """soma's signs: the largest element of each column of `vectors` is positive; the rows of `more` turn with them."""
    if vectors.numel() == 0:
        return (vectors, *more)
    top = vectors.detach().abs().argmax(-2, keepdim=True)
    sign = torch.sign(torch.gather(vectors.detach(), -2, top))
    return (vectors * sign, *[m * sign.mT for m in more])


def svd(x):
    u, s, vh = L.svd(x, full_matrices=False)
    if x.shape[-2] >= x.shape[-1]:
        u, vh = turned(u, vh)
    else:
        v, ut = turned(vh.mT, u.mT)
        u, vh = ut.mT, v.mT
    return u, s, vh


def eigh(x, uplo="L"):
    w, v = L.eigh(x, uplo)
    return w, turned(v)[0]


for shape in ((3, 3), (2, 4, 4), (0, 0)):
    case("cholesky", L.cholesky, [positive(*shape)])
    case("cholesky", lambda x: L.cholesky(x, upper=True), [positive(*shape)], upper=True)
    case("inverse", L.inv, [regular(*shape)])
    case("det", torch.det, [f(*shape)])
    case("slogdet", lambda x: tuple(L.slogdet(x)), [regular(*shape)])
    case("logdet", torch.logdet, [positive(*shape)])
    case("eigvalsh", L.eigvalsh, [symmetric(*shape)])
    case("eigh", eigh, [symmetric(*shape)])
    case("matrix_exp", torch.matrix_exp, [f(*shape)])
case("eigh", lambda x: eigh(x, "U"), [f(3, 3)], UPLO="U")
case("det", torch.det, [torch.tensor([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]], dtype=torch.float64)], grad=False)  # 1.13 gives 0 for the cofactors
case("logdet", torch.logdet, [torch.tensor([[1.0, 2], [2, 1]], dtype=torch.float64)], grad=False)
for upper in (False, True):
    l = regular(3, 3)
    case("cholesky_solve", lambda b, l: torch.cholesky_solve(b, l.triu() if upper else l.tril(), upper), [f(3, 2), l], upper=upper)
    case("cholesky_inverse", lambda l: torch.cholesky_inverse(l.triu() if upper else l.tril(), upper), [l], upper=upper)
    for left in (True, False):
        case("solve_triangular", lambda a, b: L.solve_triangular(a, b, upper=upper, left=left), [regular(2, 3, 3), f(3, 2) if left else f(2, 3)], upper=upper, left=left)
    case("solve_triangular", lambda a, b: L.solve_triangular(a, b, upper=upper, unitriangular=True), [f(3, 3), f(3, 2)], upper=upper, unitriangular=True)
for shape in ((4, 3), (2, 3, 3), (2, 4)):
    case("qr", lambda x: tuple(L.qr(x)), [f(*shape)])
    case("svd", svd, [f(*shape)], full_matrices=False)
    case("svdvals", L.svdvals, [f(*shape)])
    case("pinv", L.pinv, [f(*shape)])
    for o in ("fro", "nuc", 2, -2, 1, -1, float("inf"), -float("inf")):
        case("matrix_norm", lambda x: L.matrix_norm(x, o), [f(*shape)], ord=str(o))
    case("cond", L.cond, [f(*shape)])
case("qr", lambda x: tuple(L.qr(x, "complete")), [f(4, 2)], grad=False, mode="complete")
case("qr", lambda x: tuple(L.qr(x, "complete")), [f(2, 3)], mode="complete")
case("qr", lambda x: tuple(L.qr(x, "r")), [f(4, 2)], grad=False, mode="r")
case("pinv", L.pinv, [torch.tensor([[1.0, 2], [2, 4], [3, 6]], dtype=torch.float64)])
case("matrix_norm", lambda x: L.matrix_norm(x, "nuc", (0, 2), keepdim=True), [f(3, 2, 2)], ord="nuc", dims=[0, 2], keepdim=True)
for o in ("fro", "nuc", 1, -1, float("inf"), -2):
    by_inverse = lambda x: L.cond(x, o) if o == -2 else L.matrix_norm(x, o) * L.matrix_norm(L.inv(x), o)  # cond's own gradient fails in 1.13
    case("cond", by_inverse, [regular(3, 3)], ord=str(o))
for a, b, left in (((3, 3), (3, 2), True), ((2, 3, 3), (3, 1), True), ((3, 3), (3,), True), ((2, 2, 2), (2, 2), True), ((3, 3), (2, 3), False)):
    case("solve", lambda x, y: L.solve(x, y, left=left), [regular(*a), f(*b)], left=left)
for a, b in (((4, 2), (4, 3)), ((2, 3), (2, 2)), ((2, 3, 3), (2, 3, 1))):
    case("lstsq", lambda x, y: L.pinv(x) @ y, [f(*a), f(*b)])
case("lstsq", lambda x, y: L.lstsq(x, y).solution, [f(5, 3), f(5, 2)], grad=False)
case("matrix_rank", L.matrix_rank, [f(2, 3, 4)], grad=False)
case("matrix_rank", L.matrix_rank, [torch.tensor([[1.0, 2], [2, 4]], dtype=torch.float64)], grad=False)
case("matrix_rank", lambda x: L.matrix_rank(x, hermitian=True), [symmetric(3, 3)], grad=False, hermitian=True)
for n in (0, 1, 3, 6, -2):
    case("matrix_power", lambda x: torch.matrix_power(x, n), [regular(2, 2, 2)], n=n)

# ---- Made like another, or from nothing ----
case("zeros_like", torch.zeros_like, [f(2, 3)], grad=False)
case("ones_like", torch.ones_like, [f(2, 3)], grad=False)
case("full_like", lambda x: torch.full_like(x, 2.5), [f(2, 3)], grad=False, fill_value=2.5)
case("logspace", lambda: torch.logspace(-1, 2, 5, dtype=torch.float64), [], start=-1.0, end=2.0, steps=5, dtype=1)
case("logspace", lambda: torch.logspace(0, 3, 4, base=2, dtype=torch.float64), [], start=0.0, end=3.0, steps=4, base=2.0, dtype=1)

finish()
