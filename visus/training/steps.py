"""The loop: one generator of steps, and the three things that make a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from visus.errors import NotFiniteError
from visus.training.optimizers import set_rate
from visus.training.seeds import reseed
from visus.training.state import State

Batch = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Step:
    """What one step was: its number from 1, its loss before the update, rate, gradient norm."""

    step: int
    loss: float
    rate: float
    norm: float
    images: int


def steps(state: State, batch: Batch, rate: Callable[[int], float]) -> Iterator[Step]:
    """Train `state` for ever, one step an item; the consumer stops, evaluates, saves or forks.

    Nothing lives in this iterator: the batch, the jitter and the dropout of a step are
    functions of (seed, step), so a loop started on a restored state goes on exactly where
    the state was taken. Raises `NotFiniteError` before a step that would spoil the weights.
    """
    while True:
        reseed(state.seed, state.step, state.world.rank)
        now = rate(state.step)
        set_rate(state.optimizer, now)
        images, targets = batch(state.step)
        loss = backward(state, images, targets)
        value, norm = guard(state, loss, now)
        state.penalty.apply()
        state.update()
        state.step += 1
        yield Step(state.step, value, now, norm, len(images))


def backward(state: State, images: Tensor, targets: Tensor) -> Tensor:
    """Put the gradient of the mean loss into the weights, in `state.accumulate` parts.

    Several ranks average loss and gradients. Returns the loss, not yet synchronized with the host. Norms see each part by itself.
    """
    state.optimizer.zero_grad(set_to_none=True)
    state.hold()
    total = torch.zeros((), device=state.device)
    parts = min(state.accumulate, len(images))
    for x, y in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
        with state.autocast():
            loss = state.criterion(state.model(x).float(), y) * (len(x) / len(images))
        state.scaler.scale(loss).backward()
        total += loss.detach()
    state.world.mean([total, *(w.grad for w in state.weights if w.grad is not None)])
    return total


def guard(state: State, loss: Tensor, rate: float) -> tuple[float, float]:
    """Loss and gradient norm as numbers; clips the gradient; raises where they are not finite.

    Under float16 an overflowing gradient is the scaler's business: it skips the step, until
    the scale has shrunk to nothing.
    """
    state.scaler.unscale_(state.optimizer)
    grads = [weight.grad for weight in state.weights if weight.grad is not None]
    norms = torch._foreach_norm(grads) if grads else [loss.new_zeros(())]
    length = torch.linalg.vector_norm(torch.stack(norms))
    value, norm = torch.stack([loss, length]).tolist()  # the one synchronization of the step
    if not isfinite(value):
        _refuse(state, "loss", value, rate)
    if not isfinite(norm) and not (state.scaler.is_enabled() and state.scaler.get_scale() > 1e-3):
        _refuse(state, "gradient", norm, rate)
    if state.clip is not None and norm > state.clip and isfinite(norm):
        torch._foreach_mul_(grads, state.clip / norm)
    return value, norm


def _refuse(state: State, what: str, value: float, rate: float) -> None:
    state.release()
    raise NotFiniteError(
        f"training: the {what} is {value} at step {state.step + 1} with rate {rate:.3g}; the model "
        f"is as before it; lower the rate with --set optimizer.rate={rate / 10:.1g} "
        "or clip the gradient with --set training.clip=1"
    )
