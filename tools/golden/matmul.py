#!/usr/bin/env python3
"""Golden cases of products of vectors and matrices beside matmul."""
import torch

from common import case, f, finish, whole

for n, m in ((3, 4), (1, 5), (0, 3)):
    case("outer", torch.outer, [f(n), f(m)])
case("outer", torch.outer, [whole(9, 3), whole(9, 4)])
finish()
