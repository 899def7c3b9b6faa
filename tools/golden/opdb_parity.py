"""docs/parity.md: what of PyTorch's op_db was compared, what not and why."""
import os


def write_parity(tallies, without, ops, op_db, table):
    pass
