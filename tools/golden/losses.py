#!/usr/bin/env python3
"""Golden cases of the losses, with many options each. What PyTorch does not have is written in plain expressions."""
import math

import torch
import torch.nn.functional as F

from common import case, finish, flags
import common



def f(*shape, low=-2.0, high=2.0):
    """Short numbers, so that the file stays small."""
    return torch.clamp(torch.round(common.f(*shape, low=low, high=high) * 128) / 128, low, high)


REDUCTION = {"mean": 0, "sum": 1, "none": 2, "batchmean": 3}
SHAPES = ((2, 3), (5,), (2, 2, 2), (), (3, 1), (0, 3))


def reduce(each, r):
    return each.mean() if r == "mean" else each.sum() if r == "sum" else each.sum() / (each.shape[0] if each.dim() else 1) if r == "batchmean" else each


def signs(*shape):
    return flags(*shape).double() * 2 - 1


def pairs(op, each, x, t, options=({},), shapes=SHAPES, names=None, grad=True):
    """An elementwise loss: every option with all reductions, every shape with some. `each` takes (x, t, **options), not reduced."""
    n = 0
    for o in options:
        for r, code in REDUCTION.items():
            shape = shapes[0] if r in ("mean", "batchmean") else shapes[n % len(shapes)]
            n += 1
            case(op, lambda a, b: reduce(each(a, b, **o), r), [x(*shape), t(*shape)], reduction=code, **{(names or {}).get(k, k): v for k, v in o.items()})
    for shape in shapes:
        case(op, lambda a, b: reduce(each(a, b, **options[-1]), "none"), [x(*shape), t(*shape)], reduction=2, **options[-1])


wide = lambda *s: f(*s, low=-3, high=3)
share = lambda *s: f(*s, low=0.02, high=0.98)
positive = lambda *s: f(*s, low=0.1, high=4)

# ---- Numbers ----
pairs("mse_loss", lambda x, t: F.mse_loss(x, t, reduction="none"), wide, wide)
for shape in ((2, 3), (5,)):
    case("mse_loss", lambda x, t: ((x - t) ** 2).sum() / (2 * shape[0]), [f(*shape), f(*shape)], reduction=4)
pairs("l1_loss", lambda x, t: F.l1_loss(x, t, reduction="none"), wide, wide)
pairs("huber_loss", lambda x, t, delta=1.0: F.huber_loss(x, t, reduction="none", delta=delta), wide, wide, ({}, {"delta": 0.3}, {"delta": 2.5}))
pairs("smooth_l1_loss", lambda x, t, beta=1.0: F.smooth_l1_loss(x, t, reduction="none", beta=beta), wide, wide, ({}, {"beta": 0.3}, {"beta": 0.0}, {"beta": 2.5}))
pairs("log_cosh_loss", lambda x, t: F.softplus(-2 * (x - t)) + (x - t) - math.log(2), wide, wide)
case("log_cosh_loss", lambda x, t: (x - t).abs() - math.log(2), [torch.tensor([800.0, -900.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)], reduction=2)
pairs("msle_loss", lambda x, t: (torch.log1p(x) - torch.log1p(t)) ** 2, positive, positive)
pairs("mape_loss", lambda x, t, eps=2.220446049250313e-16: (x - t).abs() / torch.maximum(t.abs(), torch.tensor(eps, dtype=torch.float64)), wide, wide, ({}, {"eps": 0.5}))
pairs("quantile_loss", lambda x, t, tau=0.5: torch.where(t > x, tau * (t - x), (1 - tau) * (x - t)), wide, wide, ({}, {"tau": 0.1}, {"tau": 0.9}))
for log_input in (True, False):
    for full in (True, False):
        for r in ("mean", "sum", "none"):
            t = torch.floor(f(2, 3, low=1, high=7)) if full else positive(2, 3)
            case("poisson_nll_loss", lambda x, y: F.poisson_nll_loss(x, y, log_input=log_input, full=full, reduction=r), [f(2, 3, low=0.2, high=2), t], log_input=log_input,
                 full=full, reduction=REDUCTION[r])
# A target of 0 with `full` gives PyTorch a NaN for the target's gradient, which is finite.
case("poisson_nll_loss", lambda x, y: F.poisson_nll_loss(x, y, full=True), [f(3), torch.tensor([0.0, 1, 2], dtype=torch.float64)], grad=False, full=True)
case("poisson_nll_loss", lambda x, y: F.poisson_nll_loss(x, y, log_input=False, eps=0.1), [f(6, low=0, high=2), positive(6)], log_input=False, eps=0.1)
for full in (True, False):
    for var in ((2, 3), (2, 1), (2,)):
        for r in ("mean", "sum", "none"):
            case("gaussian_nll_loss", lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=full, reduction=r), [wide(2, 3), wide(2, 3), f(*var, low=0.1, high=2)], full=full,
                 reduction=REDUCTION[r])
case("gaussian_nll_loss", lambda x, y, v: F.gaussian_nll_loss(x, y, v, eps=0.5), [wide(4), wide(4), f(4, low=0, high=1)], eps=0.5)

# ---- Two classes ----
pairs("binary_cross_entropy", lambda x, t: F.binary_cross_entropy(x, t, reduction="none"), share, share)
case("binary_cross_entropy", lambda x, t: F.binary_cross_entropy(x, t, reduction="none"), [torch.tensor([0.0, 1, 0, 1], dtype=torch.float64), torch.tensor([1.0, 0, 0, 1], dtype=torch.float64)],
     grad=False, reduction=2)
pairs("binary_cross_entropy_with_logits", lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"), lambda *s: f(*s, low=-8, high=8), lambda *s: f(*s, low=0, high=1))
for r in ("mean", "sum", "none"):
    for shape in ((3,), (2, 3), (2, 1)):
        w = f(*shape, low=0.2, high=2)
        case("binary_cross_entropy", lambda x, t, v: F.binary_cross_entropy(x, t, v.detach().expand(2, 3), reduction=r), [share(2, 3), share(2, 3), w], reduction=REDUCTION[r])
        case("binary_cross_entropy_with_logits", lambda x, t, v: F.binary_cross_entropy_with_logits(x, t, v.detach(), reduction=r), [wide(2, 3), share(2, 3), w], reduction=REDUCTION[r])
        case("binary_cross_entropy_with_logits", lambda x, t, v, p: F.binary_cross_entropy_with_logits(x, t, v.detach(), pos_weight=p.detach(), reduction=r),
             [wide(2, 3), share(2, 3), w, f(3, low=0.2, high=3)], reduction=REDUCTION[r])
    case("binary_cross_entropy_with_logits", lambda x, t, v, p: F.binary_cross_entropy_with_logits(x, t, pos_weight=p.detach(), reduction=r),
         [wide(2, 3) * 10, share(2, 3), None, f(3, low=0.2, high=3)], reduction=REDUCTION[r])
    for shape in ((2, 3), (5, 2)):
        case("multilabel_soft_margin_loss", lambda x, t: F.multilabel_soft_margin_loss(x, t, reduction=r), [wide(*shape), flags(*shape).double()], reduction=REDUCTION[r])
        case("multilabel_soft_margin_loss", lambda x, t, v: F.multilabel_soft_margin_loss(x, t, v.detach(), reduction=r), [wide(*shape), flags(*shape).double(), f(shape[1], low=0.2, high=2)],
             reduction=REDUCTION[r])


def focal(x, t, alpha=0.25, gamma=2.0):  # torchvision.ops.sigmoid_focal_loss
    p = torch.sigmoid(x)
    p_t = p * t + (1 - p) * (1 - t)
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** gamma
    return (alpha * t + (1 - alpha) * (1 - t)) * loss if alpha >= 0 else loss


pairs("sigmoid_focal_loss", focal, wide, share, ({}, {"gamma": 0.0}, {"alpha": -1.0}, {"alpha": 0.6, "gamma": 3.5}))


def sign_cases(op, each, options):
    for n, o in enumerate(options):
        for r, code in REDUCTION.items():
            shape = SHAPES[n % 3]
            t = signs(*shape)
            case(op, lambda x, y: reduce(each(x, t, **o), r), [wide(*shape), t.clone()], reduction=code, **o)
    for shape in SHAPES:
        t = signs(*shape)
        case(op, lambda x, y: each(x, t), [wide(*shape), t.clone()], reduction=2)


margins = ({}, {"margin": 0.5}, {"margin": 2.0})
sign_cases("hinge_loss", lambda x, t, margin=1.0: torch.relu(margin - t * x), margins)
sign_cases("squared_hinge_loss", lambda x, t, margin=1.0: torch.relu(margin - t * x) ** 2, margins)
sign_cases("soft_margin_loss", lambda x, t: F.soft_margin_loss(x, t, reduction="none") if x.numel() else x * 0, ({},))
sign_cases("hinge_embedding_loss", lambda x, t, margin=1.0: F.hinge_embedding_loss(x, t, margin, reduction="none"), margins)

# ---- Classes ----
for r in ("mean", "sum", "none"):
    code = REDUCTION[r]
    for shape, ts in (((3, 4), (3,)), ((2, 3, 2), (2, 2)), ((4,), ()), ((1, 2, 2, 2), (1, 2, 2))):
        c = shape[0] if len(shape) == 1 else shape[1]
        t = torch.randint(0, c, ts)
        probabilities = torch.softmax(wide(*shape), 0 if len(shape) == 1 else 1)
        w = f(c, low=0.3, high=2)
        for s in (0.0, 0.15):
            case("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction=r, label_smoothing=s), [wide(*shape), t], reduction=code, label_smoothing=s)
            case("cross_entropy", lambda x, y, v: F.cross_entropy(x, y, v.detach(), reduction=r, label_smoothing=s), [wide(*shape), t, w], reduction=code, label_smoothing=s)
            case("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction=r, label_smoothing=s), [wide(*shape), probabilities], reduction=code, label_smoothing=s)
            case("cross_entropy", lambda x, y, v: F.cross_entropy(x, y, v.detach(), reduction=r, label_smoothing=s), [wide(*shape), probabilities, w], reduction=code, label_smoothing=s)
            case("cross_entropy", lambda x, y: F.cross_entropy(x, y, reduction=r, label_smoothing=s, ignore_index=1), [wide(*shape), t], reduction=code, label_smoothing=s, ignore_index=1) \
                if (t != 1).any() else None
        case("nll_loss", lambda x, y, v: F.nll_loss(x, y, v.detach(), reduction=r, ignore_index=0), [wide(*shape), t.clamp(min=1), w], reduction=code, ignore_index=0) if c > 1 else None
        dim = 0 if len(shape) == 1 else 1
        for gamma in (2.0, 0.0, 1.5):
            def multi_focal(x, y, v=None):
                logp = F.log_softmax(x, dim).gather(dim, y.unsqueeze(dim)).squeeze(dim)
                loss = -((1 - logp.exp()) ** gamma) * logp
                return reduce(loss * v.detach()[y] if v is not None else loss, r)
            case("focal_loss", multi_focal, [wide(*shape), t], reduction=code, gamma=gamma)
            case("focal_loss", multi_focal, [wide(*shape), t, w], reduction=code, gamma=gamma)
    for shape, ts in (((3, 4), (3,)), ((6,), ()), ((1, 3), (1,))):
        t, w = torch.randint(0, shape[-1], ts), f(shape[-1], low=0.3, high=2)
        for p in (1, 2):
            for margin in (1.0, 0.4):
                case("multi_margin_loss", lambda x, y: F.multi_margin_loss(x, y, p, margin, reduction=r), [wide(*shape), t], p=float(p), margin=margin, reduction=code)
                case("multi_margin_loss", lambda x, y, v: F.multi_margin_loss(x, y, p, margin, v.detach(), reduction=r), [wide(*shape), t, w], p=float(p), margin=margin, reduction=code)
    for lists in ([[3, 0, -1, 1], [-1, 0, 0, 0], [0, 1, 2, 3], [2, -1, -1, -1]], [1, 3, -1, 0], [[1, 0, -1]]):
        t = torch.tensor(lists)
        case("multilabel_margin_loss", lambda x, y: F.multilabel_margin_loss(x, y, reduction=r), [f(*t.shape), t], reduction=code)
for r, code in REDUCTION.items():
    for shape in ((2, 4), (3,), (2, 2, 3)):
        logp, t = torch.log_softmax(wide(*shape), -1), torch.softmax(wide(*shape), -1)
        case("kl_div", lambda x, y: F.kl_div(x, y, reduction=r), [logp, t], reduction=code)
        case("kl_div", lambda x, y: F.kl_div(x, y, reduction=r, log_target=True), [logp, t.log()], reduction=code, log_target=True)
case("kl_div", lambda x, y: F.kl_div(x, y, reduction="none"), [torch.log_softmax(wide(4), 0), torch.tensor([0.0, 0.5, 0.5, 0], dtype=torch.float64)], grad=False, reduction=2)

# ---- Pairs and triplets ----
for r in ("mean", "sum", "none"):
    code = REDUCTION[r]
    for margin in (0.0, 0.5):
        for shape in ((6,), (2, 3), ()):
            t = signs(*shape)
            case("margin_ranking_loss", lambda a, b, y: F.margin_ranking_loss(a, b, t, margin, reduction=r), [wide(*shape), wide(*shape), t.clone()], margin=margin, reduction=code)
        for shape in ((3, 2), (4,)):
            t = signs(*shape[:-1])
            case("cosine_embedding_loss", lambda a, b, y: F.cosine_embedding_loss(a, b, t, margin, reduction=r), [wide(*shape), wide(*shape), t.clone()], margin=margin, reduction=code)
            same = (t + 1) / 2

            def contrastive(a, b, y, m=margin + 1):
                d = F.pairwise_distance(a, b)
                return reduce(torch.where(same > 0, d ** 2, torch.relu(m - d) ** 2) / 2, r)
            case("contrastive_loss", contrastive, [f(*shape), f(*shape), same.clone()], margin=margin + 1, reduction=code)
    for p in (2.0, 1.0, 3.0):
        for swap in (False, True):
            for margin in (1.0, 0.3):
                case("triplet_margin_loss", lambda a, b, c: F.triplet_margin_loss(a, b, c, margin, p, swap=swap, reduction=r), [f(3, 2), f(3, 2), f(3, 2)], margin=margin, p=p, swap=swap,
                     reduction=code)

# ---- Autoencoders ----
for rho in (0.05, 0.3):
    for shape in ((6, 4), (5,), (3, 2, 2)):
        def sparsity(x):
            m = x.mean(0)
            return (rho * (rho / m).log() + (1 - rho) * ((1 - rho) / (1 - m)).log()).sum()
        case("kl_sparsity", sparsity, [share(*shape)], rho=rho)


def rows(x):
    return x.reshape(x.shape[0], -1).sum(1)


for r in ("mean", "sum", "none"):
    for shape in ((4, 3), (2, 3, 2)):
        kl = lambda mu, logvar: rows(-0.5 * (1 + logvar - mu ** 2 - logvar.exp()))
        case("gaussian_kl", lambda mu, logvar: reduce(kl(mu, logvar), r), [wide(*shape), f(*shape)], reduction=REDUCTION[r])
        n = shape[0]
        for kind, each in enumerate((lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"), lambda x, t: F.binary_cross_entropy(x, t, reduction="none"), lambda x, t: (x - t) ** 2 / 2)):
            for beta in (1.0, 4.0):
                case("elbo_loss", lambda x, t, mu, logvar: reduce(rows(each(x, t)) + beta * kl(mu, logvar), r), [share(*shape), share(*shape), wide(n, 2), f(n, 2)], beta=beta, likelihood=kind,
                     reduction=REDUCTION[r])
finish()
