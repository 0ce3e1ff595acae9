"""How each pair of the reference is called for the contract: shapes, options, hurtful values."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from visus.family import Family


class Case(NamedTuple):
    """Arguments by name; `step` of the differences; `tolerance` relative to the gradient's size."""

    args: dict[str, Any]
    options: dict[str, Any] = {}  # noqa: RUF012 (nobody writes into it)
    step: float = 1e-3
    tolerance: float = 1e-9


cases = Family("case")
rng = np.random.default_rng(0)


def of(name: str) -> list[Case]:
    """The cases of `name`, the same ones whichever tests ran before."""
    global rng
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return list(cases.make(name))


def spread(*shape: int) -> np.ndarray:
    """Distinct values, 0.1 apart and none near 0: no difference steps over a kink."""
    n = int(np.prod(shape))
    return (0.1 * (rng.permutation(n) - n // 2) + 0.05).reshape(shape)


def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape)


# ---- one case table: how each pair is called ------------------------------------------


@cases.member("convolution.convolution")
def _convolution() -> Iterator[Case]:
    for options, x, weight in [
        ({}, (2, 2, 5, 4), (3, 2, 3, 2)),
        ({"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1)}, (2, 2, 6, 5), (3, 2, 2, 3)),
        ({"groups": 3, "stride": 2, "padding": 3}, (1, 6, 5, 5), (3, 2, 3, 3)),
        ({"padding": 1}, (2, 3, 6), (2, 3, 3)),
        ({}, (2, 2, 1, 1), (3, 2, 1, 1)),
    ]:
        yield Case({"x": normal(*x), "weight": normal(*weight), "bias": normal(weight[0])}, options)
    x = 1e4 + normal(1, 1, 4, 4)
    yield Case({"x": x, "weight": normal(1, 1, 3, 3)}, step=2**-8, tolerance=1e-8)


for _name, _options in {
    "sigmoid": [{}],
    "tanh": [{}],
    "relu": [{}],
    "leaky_relu": [{}, {"slope": 0.3}],
    "elu": [{}, {"alpha": 0.4}],
    "maxout": [{"pieces": 2}, {"pieces": 3}],
}.items():

    @cases.member(f"activation.{_name}")
    def _activation(options: Any = _options) -> Iterator[Case]:
        for one in options:
            yield Case({"x": spread(3, 6, 2)}, one)
            yield Case({"x": 30 + spread(1, 6)}, one)


@cases.member("linear.linear")
def _linear() -> Iterator[Case]:
    yield Case({"x": normal(3, 4), "weight": normal(2, 4), "bias": normal(2)})
    yield Case({"x": normal(2, 3, 4), "weight": normal(5, 4)})
    yield Case({"x": normal(1, 1), "weight": normal(1, 1), "bias": normal(1)})


for _name in ("softmax", "log_softmax"):

    @cases.member(f"linear.{_name}")
    def _softmax() -> Iterator[Case]:
        yield Case({"x": normal(3, 4)})
        yield Case({"x": normal(2, 3, 2)}, {"axis": 1})
        yield Case({"x": 1e4 + 5 * normal(2, 3)}, step=2**-9, tolerance=1e-8)


def _norm(**more: Any) -> Iterator[Case]:
    for shape in [(3, 4, 3, 2), (2, 4, 5), (1, 4, 3, 3), (4, 4, 1, 1)]:
        args = {"x": normal(*shape), **_given(more), "gamma": normal(4), "beta": normal(4)}
        yield Case(args, {"eps": 1e-3}, 2e-4, 1e-8)
    x = np.full((2, 4, 3, 3), 3.0)
    yield Case({"x": x, **_given(more), "gamma": normal(4), "beta": normal(4)}, {"eps": 1.0})
    # Mean 10^4: the step is a power of two, so that x + step is exact.
    x = 1e4 + normal(3, 4, 3, 2)
    yield Case({"x": x, **_given(more), "gamma": normal(4)}, step=2**-10, tolerance=1e-7)
    yield Case({"x": normal(2, 4, 3, 3), **_given(more)})


def _given(more: dict[str, Any]) -> dict[str, Any]:
    return {name: make() if callable(make) else make for name, make in more.items()}


def rate() -> np.ndarray:
    return rng.uniform(0.1, 0.9, size=4)


FIXED = {"mean": lambda: normal(4), "var": lambda: rng.uniform(0.5, 2, size=4)}
MIXED = {"mean_weight": lambda: normal(3), "var_weight": lambda: normal(3)}
for _name, _more in {
    "normalization.batch_norm": {},
    "normalization.batch_norm_test": FIXED,
    "normalization.instance_norm": {},
    "normalization.layer_norm": {},
    "normalization.group_norm": {"groups": 2},
    "normalization.pixel_norm": {},
    "mixture.batch_instance_norm": {"rho": rate},
    "mixture.batch_instance_norm_test": {**FIXED, "rho": rate},
    "mixture.switch_norm": MIXED,
    "mixture.switch_norm_test": {**FIXED, **MIXED},
}.items():
    cases.member(_name)(lambda more=_more: _norm(**more))


@cases.member("pooling.max_pool")
def _max_pool() -> Iterator[Case]:
    for options in [
        {"kernel": 2},
        {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel": (2, 3), "stride": 1, "dilation": (2, 1)},
    ]:
        yield Case({"x": spread(2, 2, 6, 5)}, options)
    yield Case({"x": 1e4 + spread(1, 2, 7)}, {"kernel": 3, "padding": 1})


@cases.member("pooling.average_pool")
def _average_pool() -> Iterator[Case]:
    for options in [
        {"kernel": 2},
        {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel": (2, 3), "stride": 1, "padding": (1, 0), "count_include_pad": False},
    ]:
        yield Case({"x": normal(2, 2, 6, 5)}, options)


@cases.member("pooling.global_average_pool")
def _global_average_pool() -> Iterator[Case]:
    yield Case({"x": normal(2, 3, 4, 5)})
    yield Case({"x": normal(2, 3, 1, 1)})


def _signs(*shape: int) -> np.ndarray:
    return np.where(rng.uniform(size=shape) < 0.5, -1.0, 1.0)


def _reductions(args: Callable[[], dict[str, Any]], **options: Any) -> Iterator[Case]:
    for reduction in ("mean", "sum", "none"):
        yield Case(args(), {"reduction": reduction, **options})


@cases.member("loss.l2")
@cases.member("loss.l1")
def _differences() -> Iterator[Case]:
    yield from _reductions(lambda: {"x": spread(3, 4), "target": np.zeros((3, 4))})
    yield Case(
        {"x": spread(3, 4), "target": np.zeros((3, 4))}, {"weight": rng.uniform(size=(3, 4))}
    )


@cases.member("loss.smooth_l1")
def _smooth_l1() -> Iterator[Case]:
    for beta in (0.0, 0.3, 1.0):
        yield from _reductions(lambda: {"x": spread(3, 4), "target": np.zeros((3, 4))}, beta=beta)


@cases.member("loss.cross_entropy")
def _cross_entropy() -> Iterator[Case]:
    labels, soft = np.array([0, 2, -100, 1]), rng.dirichlet(np.ones(3), size=4)
    for target in (labels, soft):
        for options in ({}, {"label_smoothing": 0.2}, {"weight": np.array([0.5, 2.0, 0.0])}):
            yield from _reductions(lambda t=target: {"x": normal(4, 3), "target": t}, **options)
    yield Case({"x": normal(2, 3, 2), "target": np.array([[0, 1], [2, 2]])})
    yield Case({"x": normal(1, 1), "target": np.array([0])})


@cases.member("loss.logistic")
def _logistic() -> Iterator[Case]:
    yield from _reductions(lambda: {"x": normal(3, 4), "target": _signs(3, 4)})
    yield Case({"x": 30 * normal(3), "target": _signs(3)}, {"weight": np.array([1.0, 0.0, 2.0])})


@cases.member("loss.binary_logistic")
def _binary_logistic() -> Iterator[Case]:
    yield from _reductions(lambda: {"x": normal(3, 4), "target": rng.uniform(size=(3, 4))})
    yield Case(
        {"x": 30 * normal(3), "target": np.array([0.0, 1.0, 1.0])}, {"weight": np.ones(3) / 3}
    )


@cases.member("loss.kl")
def _kl() -> Iterator[Case]:
    for reduction in ("mean", "sum", "none", "batchmean"):
        target = rng.dirichlet(np.ones(4), size=3)
        yield Case({"x": normal(3, 4), "target": target}, {"reduction": reduction})


@cases.member("loss.margin_ranking")
def _margin_ranking() -> Iterator[Case]:
    yield from _reductions(lambda: {"x": spread(8), "other": np.zeros(8), "target": _signs(8)})
    yield Case({"x": spread(8), "other": np.zeros(8), "target": _signs(8)}, {"margin": 0.2})


@cases.member("regularization.l2_penalty")
@cases.member("regularization.l1_penalty")
def _penalty() -> Iterator[Case]:
    yield Case({"x": spread(3, 4)})
    yield Case({"x": spread(3, 4)}, {"strength": 0.3})


@cases.member("regularization.dropout")
def _dropout() -> Iterator[Case]:
    yield Case({"x": normal(3, 4), "mask": rng.integers(0, 2, size=(3, 4))}, {"rate": 0.3})
    yield Case({"x": normal(2, 4, 3), "mask": rng.integers(0, 2, size=(2, 4, 1))})


def _unit(outputs: int, inputs: int, kernel: int, norm: bool) -> dict[str, np.ndarray]:
    made = {"weight": normal(outputs, inputs, kernel, kernel)}
    # beta far from 0: with ReLU after it, no difference steps over the kink
    rest = {"gamma": 0.1 * normal(outputs), "beta": _signs(outputs)}
    return made | (rest if norm else {"bias": normal(outputs), "relu": False})


@cases.member("atrous.unit")
def _atrous_unit() -> Iterator[Case]:
    for norm in (False, True):
        yield Case(
            {"x": normal(2, 2, 4, 3), "parts": _unit(3, 2, 3, norm)}, {"rate": 2}, 1e-4, 1e-8
        )

    bare = {"weight": normal(3, 2, 1, 1), "bias": 9 * _signs(3)}
    yield Case({"x": normal(2, 2, 4, 3), "parts": bare}, {}, 1e-4, 1e-8)


@cases.member("atrous.aspp")
def _aspp() -> Iterator[Case]:
    for norm in (False, True):
        branches = [_unit(2, 2, k, norm) for k in (1, 3, 3)]
        args = {
            "x": normal(2, 2, 4, 3),
            "branches": branches,
            "project": _unit(2, 6 + norm, 1, norm),
        }
        args["image"] = _unit(1, 2, 1, norm) if norm else None
        yield Case(args, {"rates": (1, 1, 2)}, 1e-4, 1e-7)
