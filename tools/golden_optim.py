#!/usr/bin/env python3
"""Writes tests/golden/optim.txt.gz: what PyTorch's optimisers and schedules give, for tests/test_optim.c, test_optim_paths.c and
test_sched.c.

Run with Debian's python3-torch: /usr/bin/python3 tools/golden_optim.py | gzip -9n > tests/golden/optim.txt.gz

One line each:
  optim NAME STEP p0 … p5     parameters after STEP steps from START
  sched NAME T factor         factor on the base rate at step T
  clip norm before scaled …   torch.nn.utils.clip_grad_norm_; clipN: norm_type N
  path NAME STEP p0 … p7      every 20 of 200 steps on the second problem, below; lbfgs: every 2 of 20
The gradient of parameter i at step t (from 1) is  a_i p_i + 0.1 p_(i+1 mod 6) + sin(t (i + 1)) / 4  with a_i = 1 + i / 2."""
import math
import torch

START = [1.0, -0.5, 0.25, 2.0, -1.5, 0.75]
AT = (1, 2, 3, 10, 50, 200)


def gradient(p, t):
    return [(1 + i / 2) * p[i] + 0.1 * p[(i + 1) % 6] + math.sin(t * (i + 1)) / 4 for i in range(6)]


def run(name, make):
    p = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    opt = make([p])
    for t in range(1, 201):
        p.grad = torch.tensor(gradient(p.tolist(), t), dtype=torch.float64)
        opt.step()
        if t in AT:
            print("optim", name, t, *(f"{v:.17g}" for v in p.tolist()))


O = torch.optim
run("sgd", lambda p: O.SGD(p, lr=0.05))
run("sgd_decay", lambda p: O.SGD(p, lr=0.05, weight_decay=0.1))
run("sgd_momentum", lambda p: O.SGD(p, lr=0.02, momentum=0.9))
run("sgd_momentum_dampening_decay", lambda p: O.SGD(p, lr=0.02, momentum=0.9, dampening=0.3, weight_decay=0.01))
run("sgd_nesterov", lambda p: O.SGD(p, lr=0.02, momentum=0.8, nesterov=True))
run("sgd_nesterov_decay", lambda p: O.SGD(p, lr=0.02, momentum=0.8, nesterov=True, weight_decay=0.05))
run("adam", lambda p: O.Adam(p))
run("adam_options", lambda p: O.Adam(p, lr=0.03, betas=(0.8, 0.99), eps=1e-5))
run("adam_decay", lambda p: O.Adam(p, lr=0.01, weight_decay=0.1))
run("adamw", lambda p: O.AdamW(p))
run("adamw_options", lambda p: O.AdamW(p, lr=0.02, betas=(0.85, 0.98), eps=1e-7, weight_decay=0.2))
run("adamw_none", lambda p: O.AdamW(p, lr=0.02, weight_decay=0.0))


def schedule(name, make, steps, base=1.0):
    p = torch.zeros(1, requires_grad=True)
    opt = O.SGD([p], lr=base)
    sched = make(opt)
    for t in range(steps):
        print("sched", name, t, f"{opt.param_groups[0]['lr']:.15g}")
        opt.step()
        if t + 1 < steps:
            sched.step()


L = O.lr_scheduler
schedule("step", lambda o: L.StepLR(o, step_size=3, gamma=0.5), 12)
schedule("cosine", lambda o: L.CosineAnnealingLR(o, T_max=20), 21)
schedule("cosine_min", lambda o: L.CosineAnnealingLR(o, T_max=10, eta_min=0.1), 11)
schedule("one_cycle", lambda o: L.OneCycleLR(o, max_lr=1.0, total_steps=30), 30)
schedule("one_cycle_options", lambda o: L.OneCycleLR(o, max_lr=1.0, total_steps=17, pct_start=0.45, div_factor=10, final_div_factor=100), 17)
schedule("warmup_cosine", lambda o: L.SequentialLR(
    o, [L.LinearLR(o, start_factor=1 / 5, end_factor=1.0, total_iters=4), L.CosineAnnealingLR(o, T_max=10)], [5]), 15)

schedule("linear", lambda o: L.LinearLR(o, start_factor=0.25, end_factor=0.75, total_iters=30), 200)
schedule("hold", lambda o: L.ConstantLR(o, factor=0.2, total_iters=17), 200)
schedule("step200", lambda o: L.StepLR(o, step_size=30, gamma=0.7), 200)
schedule("multi_step", lambda o: L.MultiStepLR(o, milestones=[10, 50, 51, 120], gamma=0.3), 200)
schedule("exponential", lambda o: L.ExponentialLR(o, gamma=0.97), 200)
schedule("polynomial", lambda o: L.PolynomialLR(o, total_iters=150, power=2.5), 200)
schedule("cosine200", lambda o: L.CosineAnnealingLR(o, T_max=200, eta_min=0.05), 200)
schedule("restarts", lambda o: L.CosineAnnealingWarmRestarts(o, T_0=20, T_mult=2, eta_min=0.01), 200)
schedule("restarts1", lambda o: L.CosineAnnealingWarmRestarts(o, T_0=33), 200)
schedule("one_cycle3", lambda o: L.OneCycleLR(o, max_lr=1.0, total_steps=200, pct_start=0.2, three_phase=True), 200)
schedule("one_cycle_linear", lambda o: L.OneCycleLR(o, max_lr=1.0, total_steps=200, anneal_strategy="linear"), 200)
schedule("one_cycle3_linear", lambda o: L.OneCycleLR(o, max_lr=1.0, total_steps=150, pct_start=0.45, anneal_strategy="linear",
                                                     three_phase=True), 150)
for mode in "triangular", "triangular2", "exp_range":
    schedule("cyclic_" + mode, lambda o: L.CyclicLR(o, base_lr=0.1, max_lr=1.0, step_size_up=15, step_size_down=22, mode=mode, gamma=0.995,
                                                    cycle_momentum=False), 200, base=0.1)
schedule("inverse_sqrt", lambda o: L.LambdaLR(o, lambda t: min((t + 1) / 12, (12 / (t + 1)) ** 0.5)), 200)
schedule("lambda", lambda o: L.LambdaLR(o, lambda t: 1 / (1 + 0.05 * t)), 200)
schedule("sequential", lambda o: L.SequentialLR(o, [L.ConstantLR(o, factor=0.1, total_iters=20), L.ExponentialLR(o, gamma=0.98),
                                                    L.StepLR(o, step_size=25, gamma=0.5)], [20, 90]), 200)
schedule("product", lambda o: L.ChainedScheduler([L.LinearLR(o, start_factor=0.5, total_iters=40), L.ExponentialLR(o, gamma=0.99)]), 200)


def metric(t):
    """A loss that falls in stairs, with noise."""
    return math.exp(-(t // 25) / 3) + 0.02 * math.sin(t * 1.7)


def plateau(name, **options):
    p = torch.zeros(1, requires_grad=True)
    opt = O.SGD([p], lr=1.0)
    sched = L.ReduceLROnPlateau(opt, **options)
    for t in range(200):
        sched.step(metric(t))
        print("plateau", name, t, f"{opt.param_groups[0]['lr']:.15g}")


plateau("plain")
plateau("patient", factor=0.5, patience=3, threshold=0.05, cooldown=4)
plateau("abs", factor=0.3, patience=5, threshold=0.01, threshold_mode="abs", min_lr=0.02)
plateau("max", mode="max", factor=0.8, patience=0, threshold=0.1, eps=1e-3)
plateau("max_abs", mode="max", factor=0.7, patience=8, threshold=0.1, threshold_mode="abs")

a = torch.zeros(3, dtype=torch.float64, requires_grad=True)
b = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
a.grad = torch.tensor([3.0, -4.0, 0.5], dtype=torch.float64)
b.grad = torch.tensor([[1.0, 2.0], [-7.0, 0.25]], dtype=torch.float64)
norm = torch.nn.utils.clip_grad_norm_([a, b], 2.5)
print("clip norm", *(f"{v:.17g}" for v in [norm.item(), *a.grad.tolist(), *b.grad.flatten().tolist()]))
for norm_type in (1, 3, math.inf):
    a.grad = torch.tensor([3.0, -4.0, 0.5], dtype=torch.float64)
    b.grad = torch.tensor([[1.0, 2.0], [-7.0, 0.25]], dtype=torch.float64)
    norm = torch.nn.utils.clip_grad_norm_([a, b], 2.5, norm_type=norm_type)
    print(f"clip{norm_type:g} norm", *(f"{v:.17g}" for v in [norm.item(), *a.grad.tolist(), *b.grad.flatten().tolist()]))

# ---- The second problem: a valley as Rosenbrock's in a, least squares in W, gradients by autograd --------------------------------

torch.set_default_dtype(torch.float64)  # ASGD and NAdam keep numbers in the default dtype
X = torch.tensor([[math.sin(1.7 * (3 * i + j)) for j in range(3)] for i in range(4)])
Y = torch.tensor([[math.cos(0.9 * (2 * i + j)) for j in range(2)] for i in range(4)])


def loss_of(a, w):
    x, y = a
    return (1 - x) ** 2 + 5 * (y - x * x) ** 2 + ((X @ w - Y) ** 2).mean()


class Lion(O.Optimizer):
    """Chen et al. 2023, algorithm 2."""
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                b1, b2 = g["betas"]
                update = (b1 * m + (1 - b1) * p.grad).sign()
                p.sub_(g["lr"] * (update + g["weight_decay"] * p))
                m.copy_(b2 * m + (1 - b2) * p.grad)


class LARS(O.Optimizer):
    """You, Gitman, Ginsburg 2017, algorithm 1, with eps in the denominator and the rate alone where a norm is 0."""
    def __init__(self, params, lr=1.0, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-8):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust_coefficient, eps=eps))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                v = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                wn, gn = p.norm().item(), p.grad.norm().item()
                local = g["trust"] * wn / (gn + g["weight_decay"] * wn + g["eps"]) if wn > 0 and gn > 0 else 1.0
                v.copy_(g["momentum"] * v + g["lr"] * local * (p.grad + g["weight_decay"] * p))
                p.sub_(v)


class LAMB(O.Optimizer):
    """You et al. 2020, algorithm 2, with the identity for phi."""
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                s = self.state[p]
                if not s:
                    s.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                s["t"] += 1
                b1, b2 = g["betas"]
                s["m"] = b1 * s["m"] + (1 - b1) * p.grad
                s["v"] = b2 * s["v"] + (1 - b2) * p.grad ** 2
                r = s["m"] / (1 - b1 ** s["t"]) / ((s["v"] / (1 - b2 ** s["t"])).sqrt() + g["eps"]) + g["weight_decay"] * p
                wn, rn = p.norm().item(), r.norm().item()
                p.sub_(g["lr"] * (wn / rn if wn > 0 and rn > 0 else 1.0) * r)


class NAdam(O.Optimizer):
    """Dozat 2016 as in PyTorch from 2.0 on; 1.13 multiplies mu_product of the next step by mu once too often."""
    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, decoupled=False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, psi=momentum_decay, decoupled=decoupled))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                s = self.state[p]
                if not s:
                    s.update(t=0, mu=1.0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                s["t"] += 1
                t, (b1, b2), lr, d = s["t"], g["betas"], g["lr"], p.grad
                if g["decoupled"]:
                    p.mul_(1 - lr * g["weight_decay"])
                else:
                    d = d + g["weight_decay"] * p
                mu, after = (b1 * (1 - 0.5 * 0.96 ** (k * g["psi"])) for k in (t, t + 1))
                s["mu"] *= mu
                s["m"] = b1 * s["m"] + (1 - b1) * d
                s["v"] = b2 * s["v"] + (1 - b2) * d * d
                size = (s["v"] / (1 - b2 ** t)).sqrt() + g["eps"]
                p.sub_(lr * (1 - mu) / (1 - s["mu"]) * d / size + lr * after / (1 - s["mu"] * after) * s["m"] / size)


def path(name, make, steps=200, every=20):
    a = torch.tensor([-1.2, 1.0], requires_grad=True)
    w = torch.tensor([[0.1 * (i + 1) - 0.05 * j for j in range(2)] for i in range(3)], requires_grad=True)
    opt = make([a, w])

    def closure():
        opt.zero_grad()
        loss = loss_of(a, w)
        loss.backward()
        return loss

    for t in range(1, steps + 1):
        if isinstance(opt, O.LBFGS):
            opt.step(closure)
        else:
            closure()
            opt.step()
        if t % every == 0:
            print("path", name, t, *(f"{v:.15g}" for v in [*a.tolist(), *w.flatten().tolist()]))


path("sgd", lambda p: O.SGD(p, lr=0.002))
path("sgd_nesterov", lambda p: O.SGD(p, lr=0.002, momentum=0.9, nesterov=True, weight_decay=0.01))
path("sgd_maximize", lambda p: O.SGD(p, lr=1e-4, maximize=True))
path("adam", lambda p: O.Adam(p, lr=0.02))
path("adam_amsgrad", lambda p: O.Adam(p, lr=0.02, amsgrad=True, weight_decay=0.02))
path("adamw_amsgrad", lambda p: O.AdamW(p, lr=0.02, amsgrad=True, weight_decay=0.1))
path("adagrad", lambda p: O.Adagrad(p))
path("adagrad_options", lambda p: O.Adagrad(p, lr=0.2, lr_decay=0.01, weight_decay=0.03, initial_accumulator_value=0.1, eps=1e-6))
path("adadelta", lambda p: O.Adadelta(p))
path("adadelta_options", lambda p: O.Adadelta(p, lr=0.3, rho=0.8, eps=1e-4, weight_decay=0.02))
path("rmsprop", lambda p: O.RMSprop(p))
path("rmsprop_momentum", lambda p: O.RMSprop(p, lr=0.002, momentum=0.8, alpha=0.95, weight_decay=0.02))
path("rmsprop_centered", lambda p: O.RMSprop(p, lr=0.005, centered=True, eps=1e-3))
path("rmsprop_both", lambda p: O.RMSprop(p, lr=0.001, centered=True, momentum=0.9, eps=1e-2))
path("adamax", lambda p: O.Adamax(p))
path("adamax_options", lambda p: O.Adamax(p, lr=0.03, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.05))
path("nadam", lambda p: NAdam(p))
path("nadam_options", lambda p: NAdam(p, lr=0.02, betas=(0.85, 0.98), weight_decay=0.05, momentum_decay=0.01))
path("nadam_decoupled", lambda p: NAdam(p, lr=0.02, weight_decay=0.1, decoupled=True))
path("radam", lambda p: O.RAdam(p))
path("radam_options", lambda p: O.RAdam(p, lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05))
path("lion", lambda p: Lion(p))
path("lion_options", lambda p: Lion(p, lr=0.003, betas=(0.8, 0.95), weight_decay=0.1))
path("lars", lambda p: LARS(p))
path("lars_options", lambda p: LARS(p, lr=0.3, momentum=0.8, weight_decay=0.05, trust_coefficient=0.02, eps=1e-3))
path("lamb", lambda p: LAMB(p))
path("lamb_options", lambda p: LAMB(p, lr=0.02, betas=(0.8, 0.98), eps=1e-4, weight_decay=0.0))
path("rprop", lambda p: O.Rprop(p))
path("rprop_options", lambda p: O.Rprop(p, lr=0.05, etas=(0.4, 1.1), step_sizes=(1e-4, 0.1)))
path("asgd", lambda p: O.ASGD(p, lr=0.002))
path("asgd_options", lambda p: O.ASGD(p, lr=0.004, lambd=0.01, alpha=0.5, t0=50, weight_decay=0.02))
path("lbfgs", lambda p: O.LBFGS(p, lr=0.1, max_iter=4), 20, 2)
path("lbfgs_wolfe", lambda p: O.LBFGS(p, max_iter=2, line_search_fn="strong_wolfe"), 20, 2)
path("lbfgs_short", lambda p: O.LBFGS(p, max_iter=3, history_size=3, line_search_fn="strong_wolfe"), 20, 2)
