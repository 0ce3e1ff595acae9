"""Where each module of a model is called, and who alone reads what it returns.

`optimize` fuses an activation into the norm before it only where this is proven: every
`forward` that can be reached is traced with `torch.fx` on a structural copy of the model
(parameters shared, everything else copied, hooks left out), in both modes and with each
optional argument once at another value. A `forward` that cannot be traced proves nothing:
then its own norms stay alone, while the blocks below it are still traced by themselves.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
import io
import textwrap
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Site:
    """One call: `reader` names the one module that alone reads the result, or `why` says."""

    owner: str
    reader: str | None
    why: str = ""


@dataclass
class Sites:
    """What the traces saw: calls by module name, and the forwards that could not be traced."""

    calls: dict[str, list[Site]] = field(default_factory=dict)
    opaque: dict[str, str] = field(default_factory=dict)


def find(model: nn.Module) -> Sites:
    """Trace all that `model.forward` reaches. The model itself is not touched."""
    sites = Sites()
    try:
        twin = structural_copy(model)
    except Exception as error:
        return _without_copy(model, f"it cannot be copied ({_line(error)})")
    with _quiet():
        _Walk(twin, sites).visit("")
    return sites


def _without_copy(model: nn.Module, reason: str) -> Sites:
    # A wrapper that holds a process group or a lock cannot be copied; what it wraps can.
    sites = Sites(opaque={"": reason})
    for name, child in model.named_children():
        found = find(child)
        sites.opaque |= {_join(name, path): why for path, why in found.opaque.items()}
        for path, calls in found.calls.items():
            sites.calls[_join(name, path)] = [
                Site(_join(name, s.owner), s.reader and _join(name, s.reader), s.why) for s in calls
            ]
    return sites


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def structural_copy(model: nn.Module) -> nn.Module:
    """A copy that shares the parameters, owns its buffers and state, and has no hooks."""
    memo: dict[int, Any] = {id(p): p for p in model.parameters()}
    for module in model.modules():
        memo |= {id(module.__dict__[key]): OrderedDict() for key in HOOKS}
    return copy.deepcopy(model, memo)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # A traced forward may print, warn or draw random numbers: none of it may leave.
    sink = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sink),
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        yield


class _EachChildALeaf(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


class _Walk:
    """Visits forwards from the root along the calls that the traces see."""

    def __init__(self, root: nn.Module, sites: Sites):
        self.root, self.sites, self.seen = root, sites, set()
        self.names = {id(module): name for name, module in root.named_modules()}

    def visit(self, name: str) -> None:
        module = self.root.get_submodule(name)
        if name in self.seen or not any(True for _ in module.children()):
            return
        self.seen.add(name)
        try:
            graphs = list(self._graphs(module))
        except Exception as error:
            self._cannot(name, module, _line(error))
            return
        for graph in graphs:
            self._read(name, module, graph)

    def _graphs(self, module: nn.Module) -> Iterator[fx.Graph]:
        if "forward" in module.__dict__:
            raise TypeError("its forward is replaced on the instance")
        for training in (True, False):
            self.root.train(training)
            for arguments in _variants(type(module).forward):
                yield _EachChildALeaf().trace(module, arguments)

    def _read(self, owner: str, module: nn.Module, graph: fx.Graph) -> None:
        for node in graph.nodes:
            if node.op == "call_module":
                called = self._name(module, node)
                self.sites.calls.setdefault(called, []).append(self._site(owner, module, node))
                self.visit(called)

    def _name(self, module: nn.Module, node: fx.Node) -> str:
        return self.names[id(module.get_submodule(str(node.target)))]

    def _site(self, owner: str, module: nn.Module, node: fx.Node) -> Site:
        readers = list(node.users)
        if len(readers) != 1:
            return Site(owner, None, f"its output has {len(readers)} readers in '{owner}'")
        (reader,) = readers
        if reader.op == "output":
            return Site(owner, None, f"its output leaves '{owner or 'the model'}'")
        if reader.op != "call_module":
            return Site(owner, None, _function(reader, owner))
        if reader.args != (node,) or reader.kwargs:
            return Site(owner, None, f"'{reader.target}' reads more than its output")
        if type(module.get_submodule(str(reader.target))) is nn.Identity:
            return self._site(owner, module, reader)
        return Site(owner, self._name(module, reader))

    def _cannot(self, name: str, module: nn.Module, reason: str) -> None:
        self.sites.opaque[name] = reason
        for child_name, child in module.named_children():
            path = self.names[id(child)]
            if type(child) in CONTAINERS and not only_called(type(module), child_name):
                self._cannot(path, child, f"'{name or 'the model'}' may index it")
            else:
                self.visit(path)


def _variants(forward: Any) -> list[dict[str, Any]]:
    """Fixed values for the optional arguments: all defaults, then each one at another value."""
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    variants = [defaults]
    for name, value in defaults.items():
        others = {key: kept for key, kept in defaults.items() if key != name}
        variants.append({**others, name: not value} if isinstance(value, bool) else others)
    return variants


def _function(reader: fx.Node, owner: str) -> str:
    target = getattr(reader.target, "__name__", str(reader.target)).strip("_")
    if target in ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu"):
        return f"{target} is called as a function in '{owner}'; as a module it would be fused"
    return f"its output is read by {target}()"


def only_called(cls: type, attribute: str) -> bool:
    """True where the source of `cls` uses `self.attribute` for nothing but calling it."""
    try:
        return all(
            _only_called(ast.parse(textwrap.dedent(inspect.getsource(kind))), attribute)
            for kind in cls.__mro__[: cls.__mro__.index(nn.Module)]
        )
    except (OSError, TypeError, SyntaxError, ValueError):
        return False


INDIRECT = frozenset(
    [
        "getattr",
        "_modules",
        "children",
        "named_children",
        "modules",
        "named_modules",
        "get_submodule",
    ]
)


def _only_called(tree: ast.AST, attribute: str) -> bool:
    skipped = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
        for node in ast.walk(function)
    }
    nodes = [node for node in ast.walk(tree) if id(node) not in skipped]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        word = getattr(node, "attr", getattr(node, "id", None))
        if word in INDIRECT or (word == attribute and id(node) not in called):
            return False
    return True


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 90 else text[:87] + "..."
