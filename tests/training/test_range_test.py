"""The range test leaves no trace and always answers inside its range, whatever the curve."""

from __future__ import annotations

import math

import pytest
import tiny_data
import torch
from torch import nn

from visus.training import Session, load_recipe
from visus.training.range_test import choose, range_test, smooth
from visus.training.state import undisturbed
from visus.training.steps import backward, steps

RATES = [1e-4 * 10 ** (i / 12) for i in range(60)]  # to about 8


def session(*sets: str, network: nn.Module | None = None) -> Session:
    base = ["model=cnn", "model.width=4", "model.dropout=0.1", "batch_size=8", "training.threads=1",
            "training.ema=0.9", "training.precision=float32"]  # fmt: skip
    return Session(load_recipe(None, [*base, *sets]), tiny_data.blobs(), model=network)


def trace(s: Session) -> dict[str, bytes]:
    """Everything that a range test might touch, as bytes."""
    found = {k: v.numpy().tobytes() for k, v in s.state.tensors().items()}
    found |= {f"grad{i}": b"" if w.grad is None else w.grad.numpy().tobytes()
              for i, w in enumerate(s.state.weights)}  # fmt: skip
    found["generator"] = torch.get_rng_state().numpy().tobytes()
    found["facts"] = repr(s.state.facts()).encode()
    found["modes"] = repr([m.training for m in s.model.modules()]).encode()
    found["rates"] = repr([g["lr"] for g in s.state.optimizer.param_groups]).encode()
    found["order"] = s.feed.indices(0).numpy().tobytes() + s.feed.indices(9).numpy().tobytes()
    found["keys"] = repr(sorted(map(str, s.state.tensors()))).encode()
    return found


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("warm", [0, 3])
def test_no_byte_changes(optimizer, warm):
    s = session(f"optimizer={optimizer}")
    loop = steps(s.state, s.feed, lambda at: 0.01)
    for _ in range(warm):
        next(loop)
    backward(s.state, *s.feed(0))  # gradients of the caller's are kept too
    s.model[0].eval() if isinstance(s.model, nn.Sequential) else None
    before = trace(s)
    found = range_test(s.state, s.feed, 0.1, count=20)
    assert trace(s) == before
    assert len(found.rates) == len(found.losses) and found.reason


def test_the_training_after_it_is_the_training_without_it():
    one, other = session(), session()
    range_test(one.state, one.feed, 0.1, count=10)
    loops = [steps(s.state, s.feed, lambda at: 0.05) for s in (one, other)]
    assert [next(loops[0]).loss for _ in range(5)] == [next(loops[1]).loss for _ in range(5)]


def test_an_interruption_leaves_no_trace_either():
    s = session()
    before = trace(s)
    with pytest.raises(KeyboardInterrupt), undisturbed(s.state):
        loop = steps(s.state, s.feed, lambda at: 0.5)
        next(loop)
        raise KeyboardInterrupt
    assert trace(s) == before


class Constant(nn.Module):
    """Nothing to learn: the output ignores the weights."""

    def __init__(self, scale: float):
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.ones(3)), scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * 0 + self.scale * torch.zeros(len(x), 3, device=x.device)


@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_a_flat_and_a_broken_network_get_a_rate(scale):
    s = session(network=Constant(scale))
    found = range_test(s.state, s.feed, 0.1, count=20)
    assert 0.1 / 1000 <= found.rate <= 0.1 * 30 and found.reason


def falls(rate: float, best: float = 0.5) -> float:
    """A usual curve: flat, falls, lowest at `best`, explodes."""
    x = math.log10(rate / best)
    return 2.3 - 1.2 * math.exp(-(x**2) * 2) + (10 ** min(3, x) if x > 0.2 else 0)


CURVES = {
    "usual": [falls(r) for r in RATES],
    "high": [falls(r, 5.0) for r in RATES],
    "low": [falls(r, 1e-3) for r in RATES],
    "flat": [2.3] * 60,
    "noise": [2.3 + 0.3 * math.sin(i * 12.9898) for i in range(60)],
    "noisy": [falls(r) + 0.1 * math.sin(i * 12.9898) for i, r in enumerate(RATES)],
    "at once": [2.3, 50.0],
    "none": [],
    "rises": [2.3 * 1.05**i for i in range(40)],
    "not finite": [float("nan")] * 10,
    "negative": [-1.0 - i / 30 for i in range(60)],
    "zero": [0.0] * 60,
    "huge": [1e30] * 60,
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("usual", [1e-9, 1e-3, 0.1, 1e9])
def test_every_curve_gives_a_rate_inside_the_range(name, usual):
    rate, reason = choose(RATES, CURVES[name], usual)
    assert RATES[0] <= rate <= RATES[-1] and math.isfinite(rate)
    assert reason and "\n" not in reason


def test_the_usual_rate_is_bounded_by_the_curve():
    assert choose(RATES, CURVES["usual"], 0.1)[0] == pytest.approx(0.1)
    assert choose(RATES, CURVES["low"], 0.1)[0] < 2e-3
    assert 0.05 < choose(RATES, CURVES["high"], 0.01)[0] < 0.5
    assert choose(RATES, CURVES["flat"], 0.1)[0] == pytest.approx(0.1)
    assert choose(RATES, CURVES["at once"], 0.1)[0] == RATES[0]


def test_smoothing_is_unbiased_from_the_start():
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smooth([float("nan"), 1.0]) == [1.0]
