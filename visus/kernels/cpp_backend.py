"""Loads the C++ kernels and calls them: tensors in, addresses out."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visus.kernels import FLOATS, build, torch_backend
from visus.kernels.torch_backend import computing

DTYPES = {dtype: code for code, dtype in enumerate(FLOATS)}
ACTS = {name: code for code, name in enumerate(torch_backend.ACTIVATIONS)}
LEVELS = {"AVX512": "avx512", "AVX2": "avx2"}  # what torch calls them
PAST = 12 << 20  # bytes from which an output is written past the caches

# The fields of `NormArgs` in args.h.
FORM = struct.Struct("=26q4d")


def isa() -> str:
    """The vector instructions of this machine, as torch found them (and as ATEN_CPU_CAPABILITY)."""
    level = LEVELS.get(torch.backends.cpu.get_cpu_capability(), "plain")
    return level if level in build.isas() else "plain"


@cache
def _library() -> tuple[Any, str]:
    if os.environ.get("VISUS_KERNELS") == "torch":
        return None, "VISUS_KERNELS=torch"
    try:
        _share_threads()
        path = build.find_or_build(isa())
        return ctypes.CDLL(str(path)), f"C++ with {isa()} vectors, torch's threads ({path})"
    except OSError as error:
        return None, " ".join(str(error).split())


def _share_threads() -> None:
    # Our library leaves OpenMP's symbols open; torch's runtime, already loaded, must offer them.
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split()[-1]
        if any(name in Path(path).name for name in ("libgomp", "libiomp5", "libomp")):
            ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
            return
    raise OSError("torch brings no OpenMP runtime")


def missing() -> str | None:
    """Why this backend cannot serve, or None."""
    library, why = _library()
    return why if library is None else None


@cache
def function(name: str) -> Any:
    """The exported function `name`; it takes packed bytes."""
    found = getattr(_library()[0], name)
    found.argtypes, found.restype = [ctypes.c_char_p], None
    return found


def __getattr__(name: str) -> Any:
    if name == "ABOUT":
        return _library()[1]
    raise AttributeError(name)


def layout(x: Tensor) -> tuple[Tensor, int]:
    """`x` densely stored, and whether channels are its last axis in memory."""
    if x.dim() == 2:
        return x.contiguous(), 1
    if x.is_contiguous():
        return x, int(x.numel() == x.shape[0] * x.shape[1])
    if x.movedim(1, -1).is_contiguous():
        return x, 1
    return x.contiguous(), 0


def alike(g: Tensor, x: Tensor, last: int) -> Tensor:
    """`g` in the layout of `x`."""
    if g.dtype != x.dtype:
        g = g.to(x.dtype)
    if g.stride() == x.stride():
        return g
    return g.movedim(1, -1).contiguous().movedim(-1, 1) if last else g.contiguous()


def address(t: Tensor | None) -> int:
    """Where the numbers of `t` are; 0 for none."""
    return 0 if t is None else t.data_ptr()


def served(x: Tensor, tensors: Sequence[Tensor | None] = (), size: int = 0) -> bool:
    """Whether the C++ kernels take `x`, and `tensors` of `size` numbers each."""
    fit = all(t is None or t.numel() == size for t in tensors)
    return fit and x.is_cpu and x.numel() > 0 and _library()[0] is not None


# ---- the four passes ------------------------------------------------------------------

# The fields of `PassArgs` in passes.h.
PASS = struct.Struct("=22qd")
MOMENTS, APPLY, SUMS, WRITE = range(4)


def _pass(kind: int, x: Tensor, last: int, numbers: Sequence[Tensor], act: str | None, alpha: float, out: Sequence[Tensor], g: Tensor | None = None, y: Tensor | None = None) -> None:  # fmt: skip
    n, c = x.shape[:2]
    as_planes = [t.to(computing(x)).reshape(-1, c).expand(n, c).contiguous() for t in numbers]
    at = [*map(address, as_planes), *[0] * (7 - len(numbers))]
    function("visus_pass")(PASS.pack(
        DTYPES[x.dtype], last, n, c, x.numel() // (n * c), ACTS[act or "none"], kind,
        torch.get_num_threads(), y is not None and y.nbytes >= PAST, address(x), address(g), address(y),
        *at, *map(address, out), *[0] * (3 - len(out)), alpha,
    ))  # fmt: skip


def _small(x: Tensor, count: int) -> list[Tensor]:
    return [torch.empty(x.shape[:2], dtype=computing(x)) for _ in range(count)]


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `visus.kernels`; one reading."""
    (x, last), found = layout(x), _small(x, 3)
    _pass(MOMENTS, x, last, (), None, 0.0, found)
    return found[0], found[1], found[2]


def apply(x: Tensor, mean: Tensor, rest: Tensor, scale: Tensor, shift: Tensor, act: str | None = None, alpha: float = 0.0) -> Tensor:  # fmt: skip
    """See `visus.kernels`."""
    x, last = layout(x)
    y = torch.empty_like(x)
    _pass(APPLY, x, last, (mean, rest, scale, shift), act, alpha, (), y=y)
    return y


def sums(g: Tensor, x: Tensor, mean: Tensor, rest: Tensor, scale: Tensor, shift: Tensor, act: str | None = None, alpha: float = 0.0) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See `visus.kernels`."""
    (x, last), found = layout(x), _small(x, 2)
    _pass(SUMS, x, last, (mean, rest, scale, shift), act, alpha, found, alike(g, x, last))
    return found[0], found[1]


def write(g: Tensor, x: Tensor, mean: Tensor, rest: Tensor, scale: Tensor, shift: Tensor, p: Tensor, q: Tensor, r: Tensor, act: str | None = None, alpha: float = 0.0) -> Tensor:  # fmt: skip
    """See `visus.kernels`."""
    x, last = layout(x)
    dx = torch.empty_like(x)
    numbers = mean, rest, scale, shift, p, q, r
    _pass(WRITE, x, last, numbers, act, alpha, (), alike(g, x, last), dx)
    return dx
