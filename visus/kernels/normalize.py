"""One normalization as one operation: an algebra over plane moments, forward and backward.

An `Algebra` says how the moments of the planes become a scale and a shift for each plane; that
is all a norm has to say. From it follow the forward (two passes), the backward (two passes; the
gradients of the small numbers by autograd on `(N, C)` tensors), the second derivative (plain
differentiable PyTorch) and the operation that `torch.compile` sees. An algebra may name a kernel
that does all of it in one call where the C++ backend serves.

Gradient. With d = x - mean[n, c] over planes of S numbers and y = act(scale d + shift), where
scale and shift depend on mean and var, h = g act': dL/dscale = sum of h d, dL/dshift = sum of h,

    dx = scale h + (2 dL/dvar / S) d + (dL/dmean - scale sum of h) / S
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from visus import kernels
from visus.kernels import node, torch_backend
from visus.kernels.cpp_backend import ACTS

FLOATS = kernels.FLOATS
Tensors = list[Tensor | None]
Running = tuple[Tensor, Tensor, float] | None  # running mean and var, and the new one's share
ALGEBRAS: dict[str, type[Algebra]] = {}  # by class name, for the operation that compile sees


class Algebra:
    """How moments become scale and shift. A subclass takes plain numbers and defines `plane`.

    `takes` says how many tensors it has, `learns` how many of them, from the first, have gradients, `observes` how many
    tensors `observe` returns.
    """

    takes = 2
    learns = 2
    observes = 0
    native: Any = None  # the function of `visus.kernels.node`, once it was asked for

    def form(self) -> tuple[Any, ...] | None:
        """(rows, eps, gate or None, groups, axes) where the C++ kernels do it in one call."""
        return None

    def __init_subclass__(cls) -> None:
        ALGEBRAS[cls.__name__] = cls

    def __init__(self, *spec: Any):
        self.spec, self.text = spec, repr(spec)

    def plane(
        self, mean: Tensor, var: Tensor, size: int, tensors: Tensors
    ) -> tuple[Tensor, Tensor]:
        """`scale, shift (N, C)` of y = (x - mean) scale + shift, from float64 `mean, var (N, C)`."""
        raise NotImplementedError

    # ---- with any backend; a kernel that does it in one call overrides these -------------

    def forward(
        self, x: Tensor, tensors: Tensors, act: str, alpha: float, running: Running = None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """y, what was observed for the running moments (all updated already), what backward needs."""
        backend = kernels.serving(x)
        mean, rest, var = backend.moments(x)
        exact, size = fine(x), plane_size(x)
        fine_mean, fine_var = mean.to(exact) + rest.to(exact), var.to(exact)
        pair = self.plane(fine_mean, fine_var, size, tensors)
        scale, shift = (t.to(mean.dtype).expand_as(mean).contiguous() for t in pair)
        observed = self.observe(fine_mean, fine_var, size)
        update(running, observed)
        y = backend.apply(x, mean, rest, scale, shift, act, alpha)
        return y, [t.to(mean.dtype) for t in observed], [mean, rest, var]

    def observe(self, mean: Tensor, var: Tensor, size: int) -> list[Tensor]:
        """Mean and unbiased variance `(C,)` as running moments take them, or nothing."""
        return []

    def outputs_like(self, x: Tensor, tensors: Tensors) -> list[Tensor]:
        """Empty tensors as `forward` returns them: y, those observed, those saved."""
        kind = torch_backend.computing(x)
        channels = [x.new_empty(x.shape[1], dtype=kind) for _ in range(self.observes)]
        return [
            torch.empty_like(x),
            *channels,
            *(x.new_empty(x.shape[:2], dtype=kind) for _ in range(3)),
        ]

    def backward(
        self, g: Tensor, x: Tensor, tensors: Tensors, saved: list[Tensor], act: str, alpha: float
    ) -> tuple[Tensor, Tensors]:
        """dx and the gradients of `tensors`."""
        backend, (mean, rest, var) = kernels.serving(x), saved
        exact, size = fine(x), plane_size(x)
        with _recording():
            m = (mean.to(exact) + rest.to(exact)).requires_grad_()
            v = var.to(exact).requires_grad_()
            leaves = [None if t is None else t.detach().requires_grad_() for t in tensors]
            scale, shift = (t.expand_as(m) for t in self.plane(m, v, size, leaves))
        small = [t.detach().to(mean.dtype).contiguous() for t in (scale, shift)]
        sg, sgx = backend.sums(g, x, mean, rest, *small, act, alpha)
        wanted = [t for t in (m, v, *leaves) if t is not None]
        pairs = [(o, s.to(exact)) for o, s in ((scale, sgx), (shift, sg)) if o.requires_grad]
        outputs, given = (list(z) for z in zip(*pairs, strict=True)) if pairs else ([], [])
        grads = (
            torch.autograd.grad(outputs, wanted, given, allow_unused=True)
            if pairs
            else [None] * len(wanted)
        )
        dm, dv = (torch.zeros_like(m) if t is None else t for t in grads[:2])
        p, q, r = scale.detach(), 2 * dv / size, (dm - scale.detach() * sg) / size
        pqr = [t.to(mean.dtype).contiguous() for t in (p, q, r)]
        dx = backend.write(g, x, mean, rest, *small, *pqr, act, alpha)
        rest_of = iter(grads[2:])
        return dx, [None if t is None else next(rest_of) for t in tensors]

    def differentiable(self, x: Tensor, tensors: Tensors, act: str, alpha: float) -> Tensor:
        """The same in PyTorch operations: differentiable twice, traceable, for functorch."""
        v = x.to(torch_backend.computing(x))
        axes = tuple(range(2, x.dim()))
        mean = v.mean(axes, keepdim=True) if axes else v
        d = v - mean
        var = d.square().mean(axes) if axes else d.square()
        scale, shift = self.plane(mean.reshape(x.shape[:2]), var, plane_size(x), tensors)
        z = d * torch_backend.wide(scale, x) + torch_backend.wide(shift, x)
        return torch_backend.ACTIVATIONS[act][0](z, alpha).to(x.dtype)


def plane_size(x: Tensor) -> int:
    """S, the numbers of a plane."""
    return math.prod(x.shape[2:])


def update(running: Running, observed: list[Tensor]) -> None:
    """Move the running moments towards those observed by the factor, as torch does."""
    if running is not None and observed:
        *kept, factor = running
        with torch.no_grad():
            for old, new in zip(kept, observed, strict=True):
                old.lerp_(new.to(old.dtype), factor)


def fine(x: Tensor) -> torch.dtype:
    """The dtype of the small numbers: float64 but on devices without it."""
    return torch.float32 if x.device.type == "mps" else torch.float64


@contextlib.contextmanager
def _recording() -> Iterator[None]:
    """Autograd records here, within an operation that dispatch holds below autograd too."""
    inside = torch._C._dispatch_tls_local_include_set()
    outside = torch._C._dispatch_tls_local_exclude_set()
    for name in ("AutogradCPU", "AutogradCUDA", "AutogradOther", "ADInplaceOrView"):
        outside = outside.remove(getattr(torch._C.DispatchKey, name))
    with torch._C._ForceDispatchKeyGuard(inside, outside), torch.enable_grad():
        yield


_MADE: dict[Any, Any] = {}


def made(cls: type[Algebra], *spec: Any) -> Any:
    """The algebra `cls(*spec)`; in eager mode one object for each."""
    if torch.compiler.is_compiling():
        return cls(*spec)
    found = _MADE.get((cls, spec))
    if found is None:
        found = _MADE[cls, spec] = cls(*spec)
    return found


# ---- eager ----------------------------------------------------------------------------


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: tuple[Algebra, str, float, Running], x: Tensor, *tensors: Any) -> Tensor:  # fmt: skip
        algebra, act, alpha, running = job
        y, _, saved = algebra.forward(x, tensors, act, alpha, running)  # type: ignore[arg-type]
        ctx.save_for_backward(x, *tensors, *saved)
        ctx.job = job
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        algebra, act, alpha, _ = ctx.job
        x, *rest = ctx.saved_tensors
        tensors, saved = rest[: algebra.takes], rest[algebra.takes :]
        if torch.is_grad_enabled():  # create_graph: this gradient is differentiated again
            return None, *_again(algebra, g, x, tensors, act, alpha)
        dx, grads = algebra.backward(g, x, tensors, saved, act, alpha)
        return None, dx, *grads


# Without what Function.apply does for torch.func, whose live tensors do not come here: `watched`.
_apply = super(torch.autograd.Function, _Normalize).apply  # type: ignore[attr-defined]


def _again(algebra: Algebra, g: Tensor, x: Tensor, tensors: Tensors, act: str, alpha: float) -> Any:
    twice, given = torch.is_grad_enabled(), [x, *tensors]
    with torch.enable_grad():
        y = algebra.differentiable(x, tensors, act, alpha)
    leaves = [t for t in given if t is not None and t.requires_grad]
    found = iter(torch.autograd.grad(y, leaves, g, create_graph=twice, allow_unused=True))
    return [next(found) if t is not None and t.requires_grad else None for t in given]


def _native(algebra: Algebra) -> Any:
    """The algebra as a function of the C++ node, see `visus.kernels.node.call`."""
    names = list(ACTS)

    def again(g: Tensor, x: Tensor, tensors: Tensors, act: int, alpha: float) -> Any:
        return _again(algebra, g, x, tensors, names[act], alpha)

    algebra.native = node.call(algebra.form(), algebra.takes, algebra.learns, again)
    return algebra.native


def watched(x: Tensor) -> bool:
    """Whether something other than plain eager autograd looks at the operations on `x`."""
    return (
        type(x) not in (Tensor, torch.nn.Parameter)
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
        or x.is_meta
    )


def compiled() -> Any:
    """The module of opaque operations; it imports this one."""
    return sys.modules["visus.kernels.compiled"]


def exporting() -> bool:
    """Whether a graph of standard operations is wanted: torch.export and all that builds on it."""
    return torch.compiler.is_compiling() and torch.compiler.is_exporting()


def normalize(
    x: Tensor, algebra: Algebra, tensors: Tensors, act: str = "none", alpha: float = 0.0,
    running: Running = None, seen: bool = False,
) -> Tensor:  # fmt: skip
    """act of `x (N, C, *)` normalized by `algebra` with its small `tensors` (weights, buffers).

    `seen`: the caller knows that `x` is not `watched`.
    """
    if torch.compiler.is_compiling():
        if torch.compiler.is_exporting():
            return _traced(x, algebra, tensors, act, alpha, running)
        y, *more = compiled().call(x, algebra, tensors, act, alpha)
        update(running, more[: algebra.observes])
        return y
    if not seen and watched(x):
        return _traced(x, algebra, tensors, act, alpha, running)
    return eager(x, algebra, tensors, act, alpha, running)


def eager(x: Tensor, algebra: Algebra, tensors: Tensors, act: str, alpha: float, running: Running) -> Tensor:  # fmt: skip
    """By the C++ node where it has an answer, else by an autograd function in Python."""
    y = (algebra.native or _native(algebra))(x, ACTS[act], alpha, tensors, running)
    if y is not None:
        return y
    if not torch.is_grad_enabled():
        return algebra.forward(x, tensors, act, alpha, running)[0]
    alive = torch._C._functorch.unwrap_if_dead(x)  # type: ignore[attr-defined]
    return _apply((algebra, act, alpha, running), alive, *tensors)


def _traced(x: Tensor, algebra: Algebra, tensors: Tensors, act: str, alpha: float, running: Running) -> Tensor:  # fmt: skip
    if running is not None:
        v = (
            x.detach().to(torch_backend.computing(x)).flatten(2)
            if x.dim() > 2
            else x.detach()[..., None]
        )
        observed = algebra.observe(v.mean(2), v.var(2, correction=0), plane_size(x))
        update(running, observed)
    return algebra.differentiable(x, tensors, act, alpha)
