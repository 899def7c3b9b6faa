#!/usr/bin/env python3
"""Writes tests/golden/optim.txt: what PyTorch's optimisers and schedules give, for tests/test_optim.c.

Run with Debian's python3-torch: /usr/bin/python3 tools/golden_optim.py > tests/golden/optim.txt

One line each:
  optim NAME STEP p0 … p5     parameters after STEP steps from START
  sched NAME T factor         factor on the base rate at step T
  clip norm before scaled …   torch.nn.utils.clip_grad_norm_
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
        print("sched", name, t, f"{opt.param_groups[0]['lr']:.17g}")
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

a = torch.zeros(3, dtype=torch.float64, requires_grad=True)
b = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
a.grad = torch.tensor([3.0, -4.0, 0.5], dtype=torch.float64)
b.grad = torch.tensor([[1.0, 2.0], [-7.0, 0.25]], dtype=torch.float64)
norm = torch.nn.utils.clip_grad_norm_([a, b], 2.5)
print("clip norm", *(f"{v:.17g}" for v in [norm.item(), *a.grad.tolist(), *b.grad.flatten().tolist()]))
