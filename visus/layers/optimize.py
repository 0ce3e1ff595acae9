"""`optimize(model)`: the norms of any model on fused kernels, in place; `restore` undoes it.

A norm changes its class and nothing else: it stays the same object, with its parameters,
buffers, hooks, name, mode, dtype, device and memory format, so optimizers, references and
checkpoints go on. Where it is proven that a norm's output is read by one activation module
alone (`optimize_sites`), the norm computes both and the activation hands through what is
already activated; whether it is, is written on the tensor, so an activation that is also
called elsewhere (the `relu` of a residual block) still works there. Where a hook listens
between the two, both compute their own part as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from visus.layers import optimize_sites, optimize_swap


@dataclass(frozen=True)
class Row:
    """What happened to one module: `done` is "fused", "swapped" or "left"."""

    name: str
    kind: str
    done: str
    why: str


@dataclass(frozen=True)
class Report:
    """What `optimize` did: `rows`, one for each norm; `str()` is a table for people."""

    rows: tuple[Row, ...]

    def named(self, done: str) -> list[str]:
        """The names of the modules that were "fused", "swapped" or "left"."""
        return [row.name for row in self.rows if row.done == done]

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.named(d))} {d}" for d in ("fused", "swapped", "left"))
        table = [("module", "kind", "done", "why"), *map(_cells, self.rows)]
        widths = [max(len(row[i]) for row in table) for i in range(3)]
        lines = [
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]])
            for row in table
        ]
        return "\n".join([f"visus.optimize: {counts}", *(line.rstrip() for line in lines)])


def _cells(row: Row) -> tuple[str, str, str, str]:
    return row.name or "(the model)", row.kind, row.done, row.why


def optimize(model: nn.Module) -> Report:
    """Swap the torch.nn norms of `model` for the fused ones of visus.layers, in place.

    BatchNorm1d/2d/3d, InstanceNorm1d/2d/3d, GroupNorm and LayerNorm are swapped where they are
    exactly torch.nn's; subclasses and other kinds are left alone. A norm followed by an activation
    module of torch.nn is fused with it where a trace of every reachable `forward` proves that
    nothing else reads the norm's output. Weights are kept, the same Parameter objects.
    Calling it again changes nothing.

    The proof is about `forward`: a norm's output that another method of the model returns
    without its activation comes activated. Call `restore(model)` before using such a method.
    """
    return Report(tuple(_rows(model, optimize_sites.find(model))))


def restore(model: nn.Module) -> nn.Module:
    """Undo `optimize`: every module gets its class back and nothing of visus stays on it."""
    for module in model.modules():
        if optimize_swap.is_swapped(module):
            optimize_swap.unswap(module)
    return model


def _rows(model: nn.Module, sites: optimize_sites.Sites) -> Iterator[Row]:
    modules = dict(model.named_modules())
    for name, module in modules.items():
        kind = optimize_swap.kind_of(module)
        if kind is None:
            continue
        refusal = optimize_swap.refusal(module)
        if refusal:
            yield Row(name, kind, "left", refusal)
            continue
        reader, why = _reader(name, _all_names(model, module), modules, sites)
        alone = reader is not None and _alone(model, reader, modules, sites)
        optimize_swap.swap(module, reader, alone=alone)
        yield Row(name, kind, "fused" if reader else "swapped", why)


def _all_names(model: nn.Module, module: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules(remove_duplicate=False) if m is module]


def _alone(
    model: nn.Module, reader: nn.Module, modules: dict[str, nn.Module], sites: optimize_sites.Sites
) -> bool:
    """Whether all that `reader` ever reads is one norm."""
    if any(path.rpartition(".")[0] in sites.opaque for path in _all_names(model, reader)):
        return False
    (name,) = (n for n, m in modules.items() if m is reader)
    writers = [n for n, calls in sites.calls.items() if any(s.reader == name for s in calls)]
    return len(writers) == 1 and len(sites.calls[writers[0]]) == len(sites.calls[name])


def _reader(
    name: str, names: list[str], modules: dict[str, nn.Module], sites: optimize_sites.Sites
) -> tuple[nn.Module | None, str]:
    """The one activation that can be fused with the norm, and why it is it, or why none is."""
    for owner in (path.rpartition(".")[0] for path in names):
        if name and owner in sites.opaque:
            place = f"'{owner}'" if owner else "the model"
            return None, f"the forward of {place} cannot be traced: {sites.opaque[owner]}"
    calls = sites.calls.get(name, [])
    if not calls:
        return None, "no forward that was traced calls it"
    alone = next((site.why for site in calls if site.reader is None), None)
    if alone:
        return None, alone
    readers = sorted({site.reader for site in calls if site.reader})
    if len(readers) > 1:
        return None, f"it is read by {', '.join(readers)}"
    reader = modules[readers[0]]
    why = optimize_swap.cannot_hand_through(reader)
    if why:
        return None, f"'{readers[0]}' {why}"
    return reader, f"with '{readers[0]}' ({type(reader).__name__})"
