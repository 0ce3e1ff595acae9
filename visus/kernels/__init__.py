"""Passes over memory, and who makes them: C++ (CPU), Triton (GPU), PyTorch (anything).

A tensor `x (N, C, *spatial)` is seen as planes `x[n, c]` of S numbers. Each backend is a module
with the same four passes. Small numbers are `(N, C)`, or `(1, C)` / `(C,)` where all samples
share them, in float32 for half precision and float32 input, in float64 for float64:

    moments(x) -> mean, rest, var
        mean + rest is the mean of each plane in two floats, var its biased variance.
    apply(x, mean, rest, scale, shift, act=None, alpha=0.0) -> y
        y = act((x - mean - rest) scale + shift), in dtype and layout of x.
    sums(g, x, mean, rest, scale, shift, act, alpha) -> sg, sgx
        plane sums of h and of h (x - mean - rest), h = g act'((x - mean - rest) scale + shift).
    write(g, x, mean, rest, scale, shift, p, q, r, act, alpha) -> dx
        dx = p h + q (x - mean - rest) + r, in dtype and layout of x.

`act` is None or a key of `ACTS`; `alpha` is the slope of leaky-relu and the scale of elu. Which
backend serves a tensor is decided here and nowhere else; `info()` says who serves what and why.
A backend may also serve a whole normalization in one call (see `visus.kernels.cpp_norms`).
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch

ACTS = ("none", "relu", "leaky-relu", "elu", "sigmoid", "tanh")
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

# The backend table: device type -> backends in the order of preference.
TABLE = {"cpu": ("cpp", "torch"), "cuda": ("triton", "torch")}


@cache
def load(name: str) -> tuple[Any, str]:
    """The backend `name`, or None, and in a few words why."""
    try:
        module = importlib.import_module(f"visus.kernels.{name}_backend")
    except ImportError as error:
        return None, f"{error}"
    why_not = module.missing() if hasattr(module, "missing") else None
    return (None, why_not) if why_not else (module, getattr(module, "ABOUT", "ready"))


@cache
def _serving(device: str) -> Any:
    found = (load(name)[0] for name in TABLE.get(device, ("torch",)))
    return next(backend for backend in found if backend is not None)


def serving(x: torch.Tensor) -> Any:
    """The backend for `x`: the first of its device's row in the table that is there."""
    return _serving(x.device.type) if x.dtype in FLOATS and x.numel() else load("torch")[0]


def info() -> str:
    """Which backend serves which device and dtypes, and why, as lines for people."""
    lines = []
    for device, names in {**TABLE, "other": ("torch",)}.items():
        first = True
        for name in names:
            backend, why = load(name)
            place = (
                "serves" if backend is not None and first else "not used" if backend else "missing"
            )
            first = first and backend is None
            lines.append(f"{device:6s} {name:7s} {place:9s} {why}")
    there, why = importlib.import_module("visus.kernels.node").about()
    lines.insert(1, f"{'cpu':6s} {'node':7s} {'serves' if there else 'missing':9s} {why}")
    return "\n".join(lines)
