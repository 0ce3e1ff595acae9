"""PyTorch's own table of module tests (`module_db`), with the class swapped for ours.

For each sample of the table: construction, state_dict, forward against torch.nn and the
table's reference function, gradients against torch.nn and finite differences, double
backward, non-contiguous input, pickling, and the inputs that must raise.
"""

from __future__ import annotations

import copy
import pickle
import sys
import types
import unittest
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from suites import Mismatch, NotOurs
from torch.autograd import gradcheck, gradgradcheck

TOLERANCE = {torch.float64: (1e-10, 1e-10), torch.float32: (2e-4, 2e-5)}


@cache
def database() -> dict[str, Any]:
    """The entries of `module_db` for plain torch.nn classes, by class name."""
    # common_utils wants this package for a base class that module_db never uses, and
    # freezes the torch.backends flags of the whole process, which other tests set.
    sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))  # type: ignore[arg-type]
    from torch.testing._internal import common_modules

    setattr(torch.backends, "__allow_nonbracketed_mutation_flag", True)
    entries = common_modules.module_db
    return {e.module_cls.__name__: e for e in entries if e.name.startswith("nn.")}


@dataclass(frozen=True)
class Case:
    """One sample of one entry, in one dtype and one mode."""

    entry: Any
    sample: Any
    dtype: torch.dtype
    training: bool
    place: int

    @property
    def name(self) -> str:
        mode = "train" if self.training else "eval"
        described = self.sample.desc or f"sample {self.place}"
        return f"{self.entry.name} {self.dtype} {mode} ({described})"

    @property
    def empty(self) -> bool:
        given = self.sample.forward_input
        return any(_tensor(a) and not a.numel() for a in (*given.args, *given.kwargs.values()))

    def module(self, cls: Any) -> torch.nn.Module:
        given = self.sample.constructor_input
        torch.manual_seed(0)
        return cls(*given.args, **given.kwargs).to(self.dtype).train(self.training)


def cases(name: str) -> list[Case]:
    """Every sample of the entry, in float64 and float32, in the modes that differ."""
    entry, found = database()[name], []
    for dtype in TOLERANCE:
        for training in (True, False) if entry.train_and_eval_differ else (True,):
            torch.manual_seed(1)
            samples = entry.module_inputs_func(entry, "cpu", dtype, True, training)
            found += [Case(entry, s, dtype, training, i) for i, s in enumerate(samples)]
    return found


def check(case: Case, nn: Any) -> None:
    """Raise where the class of the namespace `nn` differs from torch.nn's or the reference."""
    cls, theirs = own(nn, case.entry.module_cls), case.module(case.entry.module_cls)
    ours = case.module(cls)
    ours.load_state_dict(theirs.state_dict())
    if list(ours.state_dict()) != list(theirs.state_dict()):
        raise Mismatch(f"state_dict keys {list(ours.state_dict())}")
    ours = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
    reference_before = copy.deepcopy(ours)
    compare_runs(case, ours, theirs, case.sample.forward_input)
    compare_runs(case, ours, theirs, strided(case.sample.forward_input))
    against_reference(case, reference_before)
    if case.dtype == torch.float64:
        finite_differences(case, cls)


def own(nn: Any, cls: Any) -> Any:
    """Our class of that name, or the reason that there is none."""
    ours = getattr(nn, cls.__name__, None)
    if ours is None:
        raise NotOurs(f"visus.layers has no {cls.__name__}")
    return ours


def strided(given: Any) -> Any:
    """The same input, floating tensors as every second element of a larger one."""
    args = [
        torch.stack([a, a], dim=-1)[..., 0].detach().requires_grad_(a.requires_grad)
        if isinstance(a, torch.Tensor) and a.is_floating_point() and a.dim()
        else a
        for a in given.args
    ]
    return types.SimpleNamespace(args=tuple(args), kwargs=given.kwargs)


def compare_runs(case: Case, ours: Any, theirs: Any, given: Any) -> None:
    """Outputs, buffers and gradients of both modules on the same input."""
    results = [outputs_and_gradients(module, given) for module in (ours, theirs)]
    rtol, atol = TOLERANCE[case.dtype]
    for what, mine, expected in zip(("output", "buffer", "gradient"), *results, strict=True):
        if len(mine) != len(expected):
            raise Mismatch(f"{what}: {len(mine)} tensors, expected {len(expected)}")
        for a, b in zip(mine, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol, equal_nan=True, msg=_say(what))


def _say(what: str) -> Any:
    return lambda message: f"{what}: " + " ".join(message.split())


def outputs_and_gradients(module: Any, given: Any) -> tuple[list, list, list]:
    """The flat outputs, the buffers afterwards, and the gradients of a fixed weighting."""
    args = [a.detach().clone().requires_grad_(a.requires_grad) if _tensor(a) else a for a in given.args]  # fmt: skip
    raw = module(*args, **given.kwargs)
    outputs = [y for y in (raw if isinstance(raw, (tuple, list)) else [raw]) if _tensor(y)]
    leaves = [t for t in (*args, *module.parameters()) if _tensor(t) and t.requires_grad]
    live = [y for y in outputs if y.requires_grad]
    weights = [torch.linspace(-1, 1.5, y.numel(), dtype=y.dtype).reshape(y.shape) for y in live]
    gradients = torch.autograd.grad(live, leaves, weights, allow_unused=True) if live and leaves else ()  # fmt: skip
    return outputs, list(module.buffers()), [g for g in gradients if g is not None]


def _tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def against_reference(case: Case, module: torch.nn.Module) -> None:
    """The output against the table's own reference function, where it brings one."""
    if case.sample.reference_fn is None:
        return
    given = case.sample.forward_input
    args = [a.detach() if _tensor(a) else a for a in given.args]
    with torch.no_grad():
        y = module(*args, **given.kwargs)
        expected = case.sample.reference_fn(module, *args, **given.kwargs)
    rtol, atol = TOLERANCE[case.dtype]
    torch.testing.assert_close(y, expected, rtol=rtol, atol=atol, check_dtype=False, equal_nan=True, msg=_say("reference"))  # fmt: skip


def finite_differences(case: Case, cls: Any) -> None:
    """First and second derivatives against finite differences, as PyTorch tests its own."""
    given, module = case.sample.forward_input, case.module(cls)
    leaves = [a for a in given.args if _tensor(a) and a.requires_grad]
    parameters = dict(module.named_parameters())
    inputs = tuple(a.detach().clone().requires_grad_() for a in (*leaves, *parameters.values()))

    def run(*values: torch.Tensor) -> Any:
        fresh, rest = iter(values), dict(zip(parameters, values[len(leaves) :], strict=True))
        args = [next(fresh) if _tensor(a) and a.requires_grad else a for a in given.args]
        buffers = {key: b.clone() for key, b in module.named_buffers()}
        return torch.func.functional_call(module, {**rest, **buffers}, tuple(args), given.kwargs)

    if not inputs or any(t.isnan().any() for t in inputs):  # the table's log of negative numbers
        return
    gradcheck(run, inputs, fast_mode=True, check_undefined_grad=False)
    if case.entry.supports_gradgrad:
        gradgradcheck(run, inputs, fast_mode=True, check_undefined_grad=False)


def refuses(name: str, nn: Any) -> int:
    """The inputs that must raise do raise, with the same type; returns how many there are."""
    entry = database()[name]
    if entry.module_error_inputs_func is None:
        return 0
    samples = list(entry.module_error_inputs_func(entry, "cpu", torch.float64, True, True))
    for sample in samples:
        made, given = (
            sample.module_error_input.constructor_input,
            sample.module_error_input.forward_input,
        )
        try:
            torch.set_default_dtype(torch.float64)
            own(nn, entry.module_cls)(*made.args, **made.kwargs)(*given.args, **given.kwargs)
        except sample.error_type:
            continue
        finally:
            torch.set_default_dtype(torch.float32)
        raise Mismatch(f"{name}: accepted what torch.nn refuses: {made.args} {sample.error_regex}")
    return len(samples)
