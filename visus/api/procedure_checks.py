"""The checks before training: baseline, first weights, one batch by heart. They leave no trace."""

from __future__ import annotations

from contextlib import ExitStack
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from visus.data import mirrored
from visus.doctor.probes.labels import smoothed
from visus.errors import NotFiniteError
from visus.training import Session
from visus.training.automatic import usual_rate
from visus.training.seeds import mix
from visus.training.state import undisturbed
from visus.training.steps import backward, steps
from visus.training.tasks import make_task

IMAGES, SIDE = 1500, 16  # of the linear baseline: images of train, pixels a side
SEEN = 64  # images that fresh weights are checked with
BATCH, STEPS = 16, 16  # of the batch that is learned by heart
_DRAW = -8  # the "step" from which the baseline draws its images


def baseline(dataset: Any, seed: int) -> tuple[str, dict[str, float]]:
    """Chance level and a linear model on coarse pixels: what every network must beat.

    The linear model is ridge regression on the classes, in closed form, on at most 1,500 images
    of train shrunk to 16 pixels a side; both errors are of validation.
    """
    task = make_task("auto", dataset)
    if task.name != "classification":
        return _baseline(dataset, task, seed)
    counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes)).double()
    share = counts / counts.sum()
    entropy = float(-(share * share.clamp_min(1e-12).log()).sum())
    facts = {"chance_loss": entropy, "images": float(len(dataset.train))}
    if not len(dataset.validation):
        return "no validation images: nothing to compare", facts
    majority = int(counts.argmax())
    facts["chance_error"] = float((dataset.validation.targets != majority).double().mean())
    facts["linear_error"] = _linear(dataset, seed)
    said = f"a linear model errs on {facts['linear_error']:.1%}, always the largest class on {facts['chance_error']:.1%}"
    seen = mirrored(dataset)
    if dataset.channels == 3 and seen and seen.directed:
        facts |= {"right": seen.plain, "right_mirrored": seen.mirrored}
        said += f"; mirror images look like other classes ({seen.plain:.0%} of images are known, {seen.mirrored:.0%} of their mirror images): the usual jitter leaves them out"
    return said, facts


def _baseline(dataset: Any, task: Any, seed: int) -> tuple[str, dict[str, float]]:
    """The same for other tasks: the best constant answer, and ridge regression on their targets."""
    facts = {"images": float(len(dataset.train))}
    goal = task.goal(dataset.train.targets[:0]) if task.output != "scores" else None
    if goal is None or not len(dataset.validation):
        return f"no linear model to compare a {task.name} with", facts
    x, targets = _coarse(dataset.train, seed)
    held, truth = _coarse(dataset.validation, seed)
    goal = task.goal(targets)
    answers = {"chance": goal.mean(0).expand(len(truth), -1), "linear": _ridge(x, goal, held)}
    for name, outputs in answers.items():
        seen = task.read(task.gather(outputs, truth), truth, [""] * len(truth), 0.0)
        facts[f"{name}_error"] = seen.error
    said = f"a linear model errs on {facts['linear_error']:.1%}, the best constant answer on {facts['chance_error']:.1%}"
    return f"{said} ({task.axis})", facts


def _linear(dataset: Any, seed: int) -> float:
    x, targets = _coarse(dataset.train, seed)
    held, truth = _coarse(dataset.validation, seed)
    goal = nn.functional.one_hot(targets, len(dataset.classes)).float()
    return float((_ridge(x, goal, held).argmax(1) != truth).double().mean())


def _ridge(x: Tensor, goal: Tensor, held: Tensor) -> Tensor:
    """What a ridge regression of `goal` on `x` says of `held`."""
    mean, std = x.mean(0), x.std(0).clamp_min(1e-3)
    x, held = (x - mean) / std, (held - mean) / std
    center = goal.mean(0)
    gram = x.T @ x + 0.1 * len(x) * torch.eye(x.shape[1])
    weights = torch.linalg.solve(gram, x.T @ (goal - center))
    return held @ weights + center


def _coarse(images: Any, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(mix(seed, _DRAW))
    rows = torch.randperm(len(images), generator=draw)[:IMAGES].sort().values
    return coarse(images, rows), images.targets[rows]


def coarse(images: Any, rows: Tensor) -> Tensor:
    """Pixels in [0, 1] of the images at `rows`, shrunk to at most 16 a side, `(n, D)`."""
    side = min(SIDE, *images.batch(rows[:1]).shape[2:])
    shrunk = [
        nn.functional.adaptive_avg_pool2d(images.batch(part).float() / 255, side)
        for part in rows.split(256)
    ]
    return torch.cat(shrunk).flatten(1)


def first_weights(session: Session) -> tuple[str, dict[str, Any]]:
    """Variance of the signal forward and of the gradient backward, by layer, before the first step."""
    forward: dict[str, float] = {}
    layers = {
        name: m
        for name, m in session.model.named_modules()
        if isinstance(m, (nn.Linear, nn.Conv2d))
    }
    with undisturbed(session.state), ExitStack() as hooks:
        for name, layer in layers.items():
            handle = layer.register_forward_hook(_note(forward, name))
            hooks.callback(handle.remove)
        session.model.train()
        images, targets = session.feed(0)
        backward(session.state, images[:SEEN], targets[:SEEN])
        found = {name: _rms(layer.weight.grad) for name, layer in layers.items()}
    names = {name: name.removeprefix("network.") for name in forward}
    evidence = {
        "forward": {names[k]: v for k, v in forward.items()},
        "backward": {names[k]: found[k] for k in forward},
    }
    return _judged(list(forward.values()), [found[k] for k in forward]), evidence


def _note(into: dict[str, float], name: str) -> Any:
    def hook(module: nn.Module, args: Any, out: Tensor) -> None:
        into.setdefault(name, float(out.detach().float().var()))

    return hook


def _rms(grad: Tensor | None) -> float:
    return float(grad.float().square().mean().sqrt()) if grad is not None else 0.0


def _judged(forward: list[float], back: list[float]) -> str:
    """Names the finding `init-too-small` or `init-too-large` where it is one."""
    hidden = forward[:-1] or forward
    if not forward or not all(v == v and v < 1e30 for v in forward):
        return "init-too-large: the signal is not finite"
    if max(back) == 0.0 or min(hidden) < 1e-6:
        return f"init-too-small: the variance of a layer's output is {min(hidden):.1g}"
    if max(forward) > 1e4:
        return f"init-too-large: the variance of a layer's output is {max(forward):.1g}"
    return f"variance of the outputs {min(forward):.2g} to {max(forward):.2g}: as it should be"


def least_loss(session: Session) -> float:
    """The loss below which nobody comes: the entropy of smoothed labels, else 0."""
    loss, k = session.recipe.loss, len(session.dataset.classes)
    s = getattr(loss, "label_smoothing", None) or 0.0
    if loss.name != "cross-entropy" or not s or k < 2:
        return 0.0
    return smoothed(s, k)


def one_batch(session: Session) -> tuple[str, dict[str, float]]:
    """Can the network learn 16 images by heart in 16 steps, with the recipe's loss and rate?"""
    state, recipe = session.state, session.recipe
    rate = recipe.optimizer.rate
    peak = usual_rate(recipe) if rate == "auto" else float(rate)
    drawn, rows = (
        session.feed.images,
        session.feed.indices(0)[: max(1, BATCH // session.world.size)],
    )
    pixels, targets = drawn.batch(rows), drawn.targets[rows].to(state.device)
    images = pixels.to(state.device).float() / 255
    losses: list[float] = []
    with undisturbed(state):
        state.model.train()
        try:
            for step in steps(state, lambda at: (images, targets), lambda at: peak):
                losses.append(step.loss)
                if len(losses) == STEPS:
                    break
        except NotFiniteError:
            return "the loss of one batch is not finite", {"steps": float(len(losses))}
    first, last, least = losses[0], min(losses[-3:]), least_loss(session)
    evidence = {"loss_first": first, "loss_last": last, "rate": peak, "images": float(len(images))}
    evidence |= {"loss_least": least} if least else {}
    blind = log(len(session.dataset.classes)) - least  # who says every class equally often
    learned = last - least < 0.7 * (first - least) or last - least < 0.35 * blind
    verb = "is being learned by heart" if learned else "cannot be learned by heart"
    return f"one batch {verb}: loss {first:.3g} to {last:.3g} in {STEPS} steps", evidence
