"""The loop: what a step is, what it refuses, and that it depends on (seed, step) alone."""

from __future__ import annotations

import pytest
import tiny_data
import torch
from torch import nn

from visus.errors import NotFiniteError
from visus.training import Session, load_recipe
from visus.training.seeds import mix
from visus.training.steps import backward, guard, steps

SETS = [
    "model=mlp", "model.width=16", "batch_size=8", "epochs=2", "optimizer.rate=0.1",
    "training.threads=1", "training.precision=float32",
]  # fmt: skip


def session(*sets: str, network: nn.Module | None = None, data=None) -> Session:
    return Session(load_recipe(None, [*SETS, *sets]), data or tiny_data.blobs(), model=network)


def params(state) -> list[torch.Tensor]:
    return [p.detach().clone() for p in state.model.parameters()]


def run(state, feed, count: int, rate: float = 0.1) -> list[float]:
    loop = steps(state, feed, lambda at: rate)
    return [next(loop).loss for _ in range(count)]


def test_the_same_seed_gives_the_same_steps_and_another_does_not():
    losses = [run(s.state, s.feed, 5) for s in (session(), session(), session("seed=1"))]
    assert losses[0] == losses[1] != losses[2]


def test_a_step_does_not_depend_on_what_was_drawn_before():
    one, other = session("model.dropout=0.3"), session("model.dropout=0.3")
    first = run(one.state, one.feed, 4)
    again = []
    loop = steps(other.state, other.feed, lambda at: 0.1)
    for _ in range(4):
        torch.rand(17)
        again.append(next(loop).loss)
    assert first == again


def test_seeds_do_not_collide():
    found = {mix(seed, step) for seed in range(100) for step in range(-2, 300)}
    assert len(found) == 100 * 302 and all(0 <= s < 2**63 for s in found)


def test_accumulation_gives_the_gradient_of_the_whole_batch():
    found = []
    for parts in (1, 3, 8):
        s = session(f"training.accumulate={parts}", "model.norm=none")
        s.state.model.double()
        images, targets = s.feed(0)
        loss = backward(s.state, images.double(), targets)
        found.append([loss, *[p.grad.clone() for p in s.state.weights]])
    for part in found[1:]:
        for left, right in zip(found[0], part, strict=True):
            torch.testing.assert_close(left.float(), right.float(), rtol=1e-5, atol=1e-6)


def test_clipping_bounds_the_whole_gradient():
    s = session("training.clip=0.01")
    loss = backward(s.state, *s.feed(0))
    _, norm = guard(s.state, loss, 0.1)
    length = torch.cat([p.grad.flatten() for p in s.state.weights]).norm()
    assert norm > 0.01 and float(length) == pytest.approx(0.01, rel=1e-4)


def test_the_norm_is_that_of_torch():
    s = session()
    loss = backward(s.state, *s.feed(0))
    _, norm = guard(s.state, loss, 0.1)
    theirs = nn.utils.get_total_norm([p.grad for p in s.state.weights if p.grad is not None])
    assert norm == pytest.approx(float(theirs), rel=1e-5)


class Poison(nn.Module):
    """Right until its step `at`, then nan in the forward or inf in the backward pass."""

    def __init__(self, at: int, where: str):
        super().__init__()
        self.linear, self.norm = nn.Linear(64, 3), nn.BatchNorm1d(3)
        self.at, self.where, self.calls = at, where, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x.flatten(1))
        if self.training:
            self.calls += 1
        if self.calls > self.at and self.where == "forward":
            x = x * float("nan")
        x = self.norm(x)
        if self.calls > self.at and self.where == "backward" and x.requires_grad:
            x.register_hook(lambda g: g * float("inf"))
        return x


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_not_finite_never_reaches_the_weights(where, optimizer):
    s = session(f"optimizer={optimizer}", network=Poison(3, where))
    loop = steps(s.state, s.feed, lambda at: 0.25)
    for _ in range(3):
        next(loop)
    before = {k: v.clone() for k, v in s.state.tensors().items()}
    with pytest.raises(NotFiniteError) as caught:
        next(loop)
    text = str(caught.value)
    assert "step 4" in text and "rate 0.25" in text and "--set optimizer.rate" in text
    assert "\n" not in text
    after = s.state.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert s.state.step == 3


def test_a_run_that_explodes_ends_with_one_line_and_a_sound_checkpoint(tmp_path):
    recipe = load_recipe(
        None, [*SETS, "optimizer.rate=1e30", "schedule=constant", "model.norm=none"]
    )
    s = Session(recipe, tiny_data.blobs(), tmp_path)
    with pytest.raises(NotFiniteError):
        list(s.run())
    again = Session(None, tiny_data.blobs(), tmp_path)
    assert all(torch.isfinite(p).all() for p in again.model.parameters())


def test_mixed_targets_train():
    s = session("jitter.mixup={}")
    _, targets = s.feed(0)
    assert targets.shape == (8, 3)
    assert all(x == x for x in run(s.state, s.feed, 3))


def test_float16_skips_overflow_instead_of_stopping():
    s = session("training.precision=float16")
    s.state.set_precision("float16")
    before = params(s.state)
    losses = run(s.state, s.feed, 3)
    assert all(x == x for x in losses)
    assert any(not torch.equal(a, b) for a, b in zip(before, params(s.state), strict=True))
