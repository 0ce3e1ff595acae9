"""What every pair `f`, `f_backward` of the reference owes, over all that the package defines.

The pairs are found, not listed: a new function without a case here fails. Each case is a way to
call it; finite differences (fourth order, float64) are the oracle for its gradients.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import visus.reference

_spec = importlib.util.spec_from_file_location(
    "reference_cases", Path(__file__).with_name("reference_cases.py")
)
assert _spec is not None and _spec.loader is not None
table = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(table)
Case, cases = table.Case, table.cases


class Pair(NamedTuple):
    forward: Callable[..., Any]
    backward: Callable[..., Any]


def pairs() -> dict[str, Pair]:
    """All backward functions of the package with their forward ones, by `topic.name`."""
    found = {}
    for module in pkgutil.iter_modules(visus.reference.__path__):
        topic = importlib.import_module(f"visus.reference.{module.name}")
        for name, thing in vars(topic).items():
            own = inspect.isfunction(thing) and thing.__module__ == topic.__name__
            if own and name.endswith("_backward") and not name.startswith("_"):
                forward = getattr(topic, name.removesuffix("_backward"), None)
                assert forward is not None, f"{topic.__name__}.{name} has no forward function"
                found[f"{module.name}.{forward.__name__}"] = Pair(forward, thing)
    return found


# Steps inside a gradient that have another signature than layers have: tested through them.
PARTS = {"normalization.normalize", "normalization.affine", "loss.reduce"}
PAIRS = {name: pair for name, pair in pairs().items() if name not in PARTS}

# ---- the contract ---------------------------------------------------------------------


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays within nested dicts and lists, by their path."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from leaves(value, f"{path}/{key}")
        else:
            yield f"{path}/{key}", value


def difference(pair: Pair, case: Any, g: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """d(sum of g y)/d leaf by fourth-order central differences; `leaf` lies within the case."""
    found = np.zeros_like(leaf)
    for i in np.ndindex(*leaf.shape):
        at, values = leaf[i], {}
        for k in (-2, -1, 1, 2):
            leaf[i] = at + k * case.step
            values[k] = pair.forward(**case.args, **case.options)
        leaf[i] = at
        slope = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * case.step)
        found[i] = (g * slope).sum()
    return found


def gradients_agree(pair: Pair, case: Any) -> None:
    """Raise unless each gradient is the finite difference, and all arguments are as before."""
    before = {path: np.copy(leaf) for path, leaf in leaves(case.args) if leaf is not None}
    y = pair.forward(**case.args, **case.options)
    assert y.dtype == np.float64
    g = np.random.default_rng(1).normal(size=y.shape)
    gradients = dict(leaves(pair.backward(g, **case.args, **case.options)))
    assert "/x" in gradients, f"no gradient by x among {list(gradients)}"
    here = dict(leaves(case.args))
    for path, gradient in gradients.items():
        assert path in here, f"{path} is no argument"
        wanted = difference(pair, case, g, here[path])
        assert gradient.shape == wanted.shape, f"{path}: {gradient.shape}, not {wanted.shape}"
        worst = np.abs(gradient - wanted).max(initial=0) / max(1, np.abs(wanted).max(initial=0))
        assert worst < case.tolerance, f"{path}: {worst:.1e} off the finite difference"
    for path, leaf in before.items():
        assert np.array_equal(leaf, here[path]), f"{path} was changed"


def learns_all(case: Any, gradients: dict[str, Any]) -> None:
    """Raise unless whatever a network can learn has its gradient where it was given."""
    can = {"x", "weight", "bias", "gamma", "beta", "rho", "mean_weight", "var_weight", "other", "parts", "branches", "image", "project"}  # fmt: skip
    given = {name for name in can if case.args.get(name) is not None}
    assert given <= gradients.keys(), f"no gradient by {given - gradients.keys()}"


def signatures_agree(pair: Pair) -> None:
    """Raise unless backward takes g and the very parameters of forward."""
    first, *rest = inspect.signature(pair.backward).parameters.values()
    assert first.name == "g"
    assert rest == list(inspect.signature(pair.forward).parameters.values())


def documents(pair: Pair) -> None:
    """Raise unless the formula, its source and the derivation of the gradient are written."""
    said = inspect.getdoc(pair.forward) or ""
    assert "Formula" in said and "Source" in said, "no formula or no source"
    assert "Gradient" in (inspect.getdoc(pair.backward) or ""), "no derivation"


def test_every_pair_has_cases_and_no_case_is_an_orphan():
    assert set(cases) == set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_every_gradient_is_the_finite_difference(name):
    for case in table.of(name):
        gradients_agree(PAIRS[name], case)


@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_has_one_signature_and_its_derivation(name):
    signatures_agree(PAIRS[name])
    documents(PAIRS[name])


@pytest.mark.parametrize("name", PAIRS)
def test_all_that_learns_has_a_gradient(name):
    for case in table.of(name):
        y = PAIRS[name].forward(**case.args, **case.options)
        learns_all(case, PAIRS[name].backward(np.ones_like(y), **case.args, **case.options))


def test_every_public_function_says_its_formula_or_purpose():
    for module in pkgutil.iter_modules(visus.reference.__path__):
        topic = importlib.import_module(f"visus.reference.{module.name}")
        assert topic.__doc__, module.name
        for name, thing in vars(topic).items():
            if inspect.isfunction(thing) and not name.startswith("_"):
                assert thing.__doc__, f"{module.name}.{name} has no docstring"


# ---- broken members are seen ----------------------------------------------------------

batch = PAIRS["normalization.batch_norm"]


def _forgets_the_mean(g, x, gamma=None, beta=None, *, eps=1e-5):
    found = batch.backward(g, x, gamma, beta, eps=eps)
    return {**found, "x": found["x"] + np.mean(g) * 1e-3}


def _changes_x(g, x, gamma=None, beta=None, *, eps=1e-5):
    found = batch.backward(g, x, gamma, beta, eps=eps)
    x += 1
    return found


def _forgets_gamma(g, x, gamma=None, beta=None, *, eps=1e-5):
    return {"x": batch.backward(g, x, gamma, beta, eps=eps)["x"]}


def _naive_variance(x, gamma=None, beta=None, *, eps=1e-5):
    """E[x^2] - E[x]^2 in float32: the bug of design.md, section 1."""
    x = np.asarray(x, dtype=np.float32)
    mean, square = x.mean((0, 2, 3), keepdims=True), (x * x).mean((0, 2, 3), keepdims=True)
    return ((x - mean) / np.sqrt(np.abs(square - mean**2) + eps)).astype(np.float64)


def _first_case() -> Any:
    return table.of("normalization.batch_norm")[0]


def test_a_wrong_gradient_is_seen():
    gradients_agree(batch, _first_case())
    with pytest.raises(AssertionError, match="off the finite difference"):
        gradients_agree(Pair(batch.forward, _forgets_the_mean), _first_case())


def test_an_argument_changed_in_place_is_seen():
    with pytest.raises(AssertionError, match="was changed"):
        gradients_agree(Pair(batch.forward, _changes_x), _first_case())


def test_a_missing_gradient_is_seen():
    case = _first_case()
    with pytest.raises(AssertionError, match="no gradient by"):
        learns_all(case, _forgets_gamma(case.args["x"], **case.args, **case.options))


def test_the_naive_variance_is_seen():
    x = 4096 + np.random.default_rng(0).normal(size=(4, 3, 5, 5))
    with pytest.raises(AssertionError, match="off the finite difference"):
        gradients_agree(Pair(_naive_variance, batch.backward), Case({"x": x}, tolerance=1e-3))


def test_another_signature_and_a_missing_derivation_are_seen():
    broken = Pair(batch.forward, PAIRS["normalization.group_norm"].backward)
    with pytest.raises(AssertionError):
        signatures_agree(broken)
    with pytest.raises(AssertionError, match="no derivation"):
        documents(Pair(batch.forward, _forgets_gamma))
